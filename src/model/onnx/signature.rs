//! What an ONNX graph takes and gives, read off the graph itself.
//!
//! What the model is for follows from where its outputs come from: a label that an `ArgMin` chose is a cluster, a row of
//! numbers behind `Softmax` or beside a label are probabilities, a label beside one number `scores` is an anomaly; a
//! single row of other numbers is a regression with several targets, whose first is the value.

use std::collections::HashMap;

use arrow::datatypes::DataType;
use tract_onnx::pb::tensor_proto::DataType as OnnxType;
use tract_onnx::pb::tensor_shape_proto::dimension::Value as Dim;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto, ValueInfoProto, type_proto};

use super::super::{Input, Kind, ModelError, Output, Signature};
use super::operators::attribute;
use super::refuse;

/// The most rows that a file may say a batch always has.
const MAX_BATCH: usize = 1 << 16;

/// The inputs, and how many rows the file says a batch has, if it says.
#[derive(Debug)]
pub(super) struct Inputs {
    pub(super) inputs: Vec<Input>,
    /// The rank in the graph: 1 for `[batch]`, 2 for `[batch, n]`.
    pub(super) ranks: Vec<usize>,
    pub(super) batch: Option<usize>,
}

/// The inputs of a graph, without those that have constant values.
///
/// # Errors
/// `Load` for a type or shape that cannot come from columns.
pub(super) fn inputs(graph: &GraphProto) -> Result<Inputs, ModelError> {
    let trace = Trace::new(graph);
    let mut found = Inputs { inputs: vec![], ranks: vec![], batch: None };
    for info in graph.input.iter().filter(|i| !trace.constants.contains_key(i.name.as_str())) {
        let name = &info.name;
        let tensor = tensor_type(info).ok_or_else(|| refuse(format!("input \"{name}\" is not a tensor")))?;
        let data_type = match OnnxType::try_from(tensor.elem_type) {
            Ok(OnnxType::Float) => DataType::Float32,
            Ok(OnnxType::Double) => DataType::Float64,
            Ok(OnnxType::Int64) => DataType::Int64,
            Ok(OnnxType::Int32) => DataType::Int32,
            Ok(OnnxType::Int16) => DataType::Int16,
            Ok(OnnxType::Int8) => DataType::Int8,
            Ok(OnnxType::Uint64) => DataType::UInt64,
            Ok(OnnxType::Uint32) => DataType::UInt32,
            Ok(OnnxType::Uint16) => DataType::UInt16,
            Ok(OnnxType::Uint8) => DataType::UInt8,
            Ok(OnnxType::Bool) => DataType::Boolean,
            Ok(OnnxType::String) => DataType::Utf8,
            Ok(other) => {
                return Err(refuse(format!("input \"{name}\" of type {} is not supported yet", other.as_str_name())));
            }
            Err(_) => return Err(refuse(format!("input \"{name}\" has no known type"))),
        };
        let dims = &tensor.shape.as_ref().ok_or_else(|| refuse(format!("input \"{name}\" has no shape")))?.dim;
        let Some((batch, rest)) = dims.split_first() else {
            return Err(refuse(format!("input \"{name}\" has no dimension for the rows")));
        };
        let fixed = |dim: &Option<Dim>| match dim {
            Some(Dim::DimValue(n)) if *n > 0 => usize::try_from(*n).ok(),
            _ => None,
        };
        if let Some(rows) = fixed(&batch.value) {
            if found.batch.is_some_and(|known| known != rows) {
                return Err(refuse("the inputs have different numbers of rows"));
            }
            if rows > MAX_BATCH {
                return Err(refuse(format!(
                    "a batch has {rows} rows, more than {MAX_BATCH}; export the model with a free number of rows"
                )));
            }
            found.batch = Some(rows);
        }
        let shape = rest.iter().map(|dim| fixed(&dim.value)).collect::<Option<Vec<_>>>().ok_or_else(|| {
            refuse(format!("input \"{name}\" has no fixed width; export the model with a known number of features"))
        })?;
        let width = shape
            .iter()
            .try_fold(1usize, |product, dim| product.checked_mul(*dim).filter(|p| *p <= 1 << 24))
            .ok_or_else(|| refuse(format!("input \"{name}\" is too wide")))?;
        let takes_null = (data_type.is_floating() && trace.only_imputed(name, 0)) || trace.only_keys(name);
        found.ranks.push(dims.len());
        let shape = if width == 1 { vec![] } else { shape };
        found.inputs.push(Input { name: name.clone(), data_type, width, shape, takes_null });
    }
    if found.inputs.is_empty() { Err(refuse("the model has no input")) } else { Ok(found) }
}

fn tensor_type(info: &ValueInfoProto) -> Option<&type_proto::Tensor> {
    match info.r#type.as_ref()?.value.as_ref()? {
        type_proto::Value::TensorType(tensor) => Some(tensor),
    }
}

/// The whole signature; `outputs` are as the scorer returns them.
pub(super) fn signature(graph: &GraphProto, inputs: Inputs, outputs: Vec<Output>) -> Signature {
    let trace = Trace::new(graph);
    let (kind, classes) = kind(&trace, &outputs);
    Signature { inputs: inputs.inputs, outputs, kind, classes }
}

fn width(output: &Output) -> usize {
    match &output.data_type {
        DataType::FixedSizeList(_, width) => usize::try_from(*width).unwrap_or(1),
        _ => 1,
    }
}

fn is_float(output: &Output) -> bool {
    let element = match &output.data_type {
        DataType::FixedSizeList(field, _) => field.data_type(),
        scalar => scalar,
    };
    matches!(element, DataType::Float32 | DataType::Float64)
}

fn kind(trace: &Trace, outputs: &[Output]) -> (Kind, Vec<String>) {
    let named = |index: &usize, part: &str| outputs[*index].name.to_lowercase().contains(part);
    // The one whose name says it, else the first.
    let choose = |candidates: Vec<usize>, part: &str| {
        candidates.iter().copied().find(|i| named(i, part)).or_else(|| candidates.first().copied())
    };
    let pick = |test: &dyn Fn(&Output) -> bool| (0..outputs.len()).filter(|i| test(&outputs[*i])).collect::<Vec<_>>();
    let scalars = pick(&|o| width(o) == 1 && matches!(o.data_type, DataType::Int64 | DataType::Int32 | DataType::Utf8));
    let label = choose(scalars, "label");
    let wide = choose(pick(&|o| is_float(o) && width(o) > 1), "prob");
    let single = choose(pick(&|o| is_float(o) && width(o) == 1), "prob");
    let origin = label.map(|l| trace.origin(&outputs[l].name)).unwrap_or_default();
    let columns = wide.map(|w| trace.origin(&outputs[w].name)).unwrap_or_default();
    let classes = [origin.classes, columns.classes]
        .into_iter()
        .find(|c| !c.is_empty() && wide.is_none_or(|w| width(&outputs[w]) == c.len()))
        .unwrap_or_default();
    let kind = match (label, wide, single) {
        (Some(label), distances, _) if origin.operator == "ArgMin" => Kind::Clustering { label, distances },
        (Some(label), Some(wide), _) => Kind::Classification { label: Some(label), probabilities: Some(wide) },
        (Some(label), None, Some(value)) if named(&value, "score") => Kind::Anomaly { label: Some(label), value },
        (Some(label), None, Some(single)) => Kind::Classification { label: Some(label), probabilities: Some(single) },
        (Some(label), None, None) => {
            let chosen = outputs[label].data_type == DataType::Utf8
                || matches!(origin.operator, "ArgMax" | "ArrayFeatureExtractor" | "Gather")
                || origin.operator.ends_with("Classifier");
            if chosen {
                Kind::Classification { label: Some(label), probabilities: None }
            } else {
                Kind::Regression { value: label }
            }
        }
        (None, Some(wide), _)
            if matches!(columns.operator, "Softmax" | "ZipMap") || columns.operator.ends_with("Classifier") =>
        {
            Kind::Classification { label: None, probabilities: Some(wide) }
        }
        (None, _, _) => Kind::Regression { value: pick(&|o| is_float(o)).first().copied().unwrap_or(0) },
    };
    let classes = if matches!(kind, Kind::Classification { .. } | Kind::Clustering { .. }) { classes } else { vec![] };
    (kind, classes)
}

/// The classes that the label `name` of a graph is one of; none if the graph does not say.
pub(super) fn classes_of(graph: &GraphProto, name: &str) -> Vec<String> {
    Trace::new(graph).origin(name).classes
}

/// Who makes and who uses each name of a graph.
struct Trace<'a> {
    makers: HashMap<&'a str, &'a NodeProto>,
    users: HashMap<&'a str, Vec<&'a NodeProto>>,
    constants: HashMap<&'a str, &'a TensorProto>,
}

/// The operator that decided a value, and the classes that it or what follows it names.
#[derive(Debug, Default)]
struct Origin<'a> {
    operator: &'a str,
    classes: Vec<String>,
}

impl<'a> Trace<'a> {
    fn new(graph: &'a GraphProto) -> Self {
        let mut users: HashMap<&str, Vec<&NodeProto>> = HashMap::new();
        for node in &graph.node {
            for input in &node.input {
                users.entry(input).or_default().push(node);
            }
        }
        Self {
            makers: graph.node.iter().flat_map(|node| node.output.iter().map(move |o| (o.as_str(), node))).collect(),
            users,
            constants: graph.initializer.iter().map(|t| (t.name.as_str(), t)).collect(),
        }
    }

    /// Goes back from `name` over what does not change which class is meant.
    fn origin(&self, name: &str) -> Origin<'a> {
        let mut classes = vec![];
        let mut name = name;
        // Nodes are in order, so this ends; the bound is for the eye.
        for _ in 0..1000 {
            let Some(node) = self.makers.get(name).copied() else { break };
            let labels = ["classlabels_int64s", "classlabels_ints", "classlabels_strings"];
            let named = labels.iter().find_map(|l| attribute(node, l)).map(|a| {
                let strings = a.strings.iter().map(|s| String::from_utf8_lossy(s).into_owned());
                strings.chain(a.ints.iter().map(i64::to_string)).collect::<Vec<_>>()
            });
            if let Some(named) = named.filter(|_| classes.is_empty()) {
                classes = named;
            }
            let first = node.input.first().map_or("", String::as_str);
            match node.op_type.as_str() {
                "Cast" | "Identity" | "Reshape" | "Squeeze" | "Unsqueeze" | "Flatten" | "Normalizer" => name = first,
                "ZipMap" if self.makers.contains_key(first) => name = first,
                "LabelEncoder"
                    if attribute(node, "keys_int64s").is_some_and(|a| a.ints.iter().copied().eq(0..a.ints.len() as i64)) =>
                {
                    let texts = attribute(node, "values_strings").map_or(&[][..], |a| &a.strings);
                    if classes.is_empty() {
                        classes = texts.iter().map(|s| String::from_utf8_lossy(s).into_owned()).collect();
                    }
                    name = first;
                }
                "ArrayFeatureExtractor" | "Gather" => {
                    if let Some(constant) = self.constants.get(first).filter(|_| classes.is_empty()) {
                        classes = texts(constant);
                    }
                    return Origin { operator: &node.op_type, classes };
                }
                _ => return Origin { operator: &node.op_type, classes },
            }
        }
        Origin { operator: "", classes }
    }

    /// Whether all that uses `name` has a place for NaN: an imputer that replaces it, or trees that were trained with it.
    fn only_imputed(&self, name: &str, depth: usize) -> bool {
        let Some(users) = self.users.get(name).filter(|_| depth < 20) else { return false };
        users.iter().all(|node| match node.op_type.as_str() {
            "Imputer" => attribute(node, "replaced_value_float").is_some_and(|a| a.f.is_nan()),
            "TreeEnsemble" | "TreeEnsembleClassifier" | "TreeEnsembleRegressor" => {
                attribute(node, "nodes_missing_value_tracks_true").is_some_and(|a| a.ints.iter().any(|i| *i != 0))
            }
            // NaN comes out of these as it went in.
            "Identity" | "Concat" | "FeatureVectorizer" | "Scaler" => self.only_imputed_behind(node, depth),
            // And out of these, if it is not what says where or how.
            "ArrayFeatureExtractor" | "Gather" | "Reshape" | "Squeeze" | "Unsqueeze" | "Flatten" => {
                node.input.iter().skip(1).all(|i| i != name) && self.only_imputed_behind(node, depth)
            }
            "Cast" => {
                let to =
                    attribute(node, "to").and_then(|a| i32::try_from(a.i).ok()).and_then(|t| OnnxType::try_from(t).ok());
                matches!(to, Some(OnnxType::Float | OnnxType::Double)) && self.only_imputed_behind(node, depth)
            }
            _ => false,
        })
    }

    /// The same of what a node makes.
    fn only_imputed_behind(&self, node: &NodeProto, depth: usize) -> bool {
        node.output.first().is_some_and(|o| self.only_imputed(o, depth + 1))
    }

    /// Whether `name` is a key of a map, which a row need not have.
    fn only_keys(&self, name: &str) -> bool {
        let keys = |node: &&NodeProto| matches!(node.op_type.as_str(), "CastMap" | "DictVectorizer");
        self.users.get(name).is_some_and(|users| users.iter().all(keys))
    }
}

/// The values of a constant of integers or strings as texts; none for other types.
pub(super) fn texts(tensor: &TensorProto) -> Vec<String> {
    let strings = tensor.string_data.iter().map(|s| String::from_utf8_lossy(s).into_owned());
    let long = tensor.int64_data.iter().map(i64::to_string);
    let short = tensor.int32_data.iter().map(i32::to_string);
    let raw = &tensor.raw_data;
    let packed: Vec<String> = match OnnxType::try_from(tensor.data_type) {
        Ok(OnnxType::Int64) => raw.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b).to_string()).collect(),
        Ok(OnnxType::Int32) => raw.as_chunks::<4>().0.iter().map(|b| i32::from_le_bytes(*b).to_string()).collect(),
        _ => vec![],
    };
    strings.chain(long).chain(short).chain(packed).collect()
}
