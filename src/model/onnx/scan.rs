//! What is checked of an ONNX file before tract sees it: hostile bytes end here, with a reason.
//!
//! First the bytes are walked without decoding them, adding up what decoding would cost in memory (a two-byte field can
//! become a structure of a kilobyte); then the decoded graph is checked: operators, order of nodes, tensors as long as
//! their shapes say, and growth (a chain of `Concat(x, x)` doubles thirty times). What no check of sizes can find, such
//! as a graph that is slow to optimise, is bounded by [`MAX_NODES`].

use std::collections::{HashMap, HashSet};

use prost::Message as _;
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};
use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};

use super::super::ModelError;
use super::{MAX_BYTES, refuse};

/// Nodes of all graphs of a model together.
const MAX_NODES: usize = 10_000;
/// Bytes that the decoded file may need.
const MAX_DECODED: usize = 512 << 20;
/// Elements that one tensor may have, constants and, for one row, intermediate results.
const MAX_ELEMENTS: u64 = 1 << 26;
/// Graphs inside graphs.
const MAX_DEPTH: usize = 8;
/// The newest version of the standard operators whose meaning is that of the tested ones.
const MAX_OPSET: i64 = 23;

/// The versions of the operators of `ai.onnx.ml` that there are.
const CLASSICAL_OPSETS: std::ops::RangeInclusive<i64> = 1..=5;

/// Standard operators that run. Left out on purpose: `Loop` (may not end), random ones (a score must be repeatable),
/// and what has not been compared with ONNX Runtime in `tests/models`: a test holds this list to that. Sorted.
const STANDARD: &[&str] = &[
    "Abs",
    "Acos",
    "Acosh",
    "Add",
    "And",
    "ArgMax",
    "ArgMin",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "AveragePool",
    "BatchNormalization",
    "Cast",
    "CastLike",
    "Ceil",
    "Celu",
    "Clip",
    "Concat",
    "Constant",
    "ConstantOfShape",
    "Conv",
    "ConvTranspose",
    "Cos",
    "Cosh",
    "CumSum",
    "DepthToSpace",
    "Div",
    "Dropout",
    "Einsum",
    "Elu",
    "Equal",
    "Erf",
    "Exp",
    "Expand",
    "Flatten",
    "Floor",
    "GRU",
    "Gather",
    "GatherElements",
    "Gelu",
    "Gemm",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Greater",
    "GreaterOrEqual",
    "HardSigmoid",
    "HardSwish",
    "Hardmax",
    "Identity",
    "InstanceNormalization",
    "IsInf",
    "IsNaN",
    "LRN",
    "LSTM",
    "LayerNormalization",
    "LeakyRelu",
    "Less",
    "LessOrEqual",
    "Log",
    "LogSoftmax",
    "LpNormalization",
    "MatMul",
    "Max",
    "MaxPool",
    "Mean",
    "Min",
    "Mish",
    "Mod",
    "Mul",
    "Neg",
    "Not",
    "OneHot",
    "Or",
    "PRelu",
    "Pad",
    "Pow",
    "RNN",
    "Range",
    "Reciprocal",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
    "Relu",
    "Reshape",
    "Resize",
    "Round",
    "Scan",
    "Selu",
    "SequenceConstruct",
    "Shape",
    "Shrink",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinh",
    "Size",
    "Slice",
    "Softmax",
    "Softplus",
    "Softsign",
    "SpaceToDepth",
    "Split",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Sum",
    "Tan",
    "Tanh",
    "ThresholdedRelu",
    "Tile",
    "TopK",
    "Transpose",
    "Trilu",
    "Unsqueeze",
    "Where",
    "Xor",
];

/// Operators of `ai.onnx.ml` that run, each compared with ONNX Runtime. Sorted.
const CLASSICAL: &[&str] = &[
    "ArrayFeatureExtractor",
    "Binarizer",
    "CastMap",
    "CategoryMapper",
    "DictVectorizer",
    "FeatureVectorizer",
    "Imputer",
    "LabelEncoder",
    "LinearClassifier",
    "LinearRegressor",
    "Normalizer",
    "OneHotEncoder",
    "SVMClassifier",
    "SVMRegressor",
    "Scaler",
    "TreeEnsemble",
    "TreeEnsembleClassifier",
    "TreeEnsembleRegressor",
    "ZipMap",
];

/// Operators of ONNX Runtime's own that exporters use.
const CONTRIBUTED: &[&str] = &["CDist"];

/// All operators that run, by [`operator_name`].
#[cfg(test)]
pub(super) fn operators() -> impl Iterator<Item = String> {
    let classical = CLASSICAL.iter().map(|o| format!("{o} (ai.onnx.ml)"));
    let contributed = CONTRIBUTED.iter().map(|o| format!("{o} (com.microsoft)"));
    STANDARD.iter().map(|o| (*o).to_owned()).chain(classical).chain(contributed)
}

/// The words for an operator: `LinearRegressor (ai.onnx.ml)`.
pub(super) fn operator_name(node: &NodeProto) -> String {
    match node.domain.as_str() {
        "" | "ai.onnx" => node.op_type.clone(),
        domain => format!("{} ({domain})", node.op_type),
    }
}

/// Whether the top-level fields are those of an ONNX model; cheap, and true for a file that is cut off in its graph.
pub(super) fn looks_like_onnx(bytes: &[u8]) -> bool {
    // The version of the format comes first, then names and versions, then the graph, which no other model file has at 7.
    if bytes.first() != Some(&0x08) {
        return false;
    }
    let mut rest = bytes;
    while !rest.is_empty() {
        let Some((field, wire, after)) = tag(rest) else { return false };
        if field == 7 && wire == 2 {
            return true;
        }
        let Some((_, after)) = value(wire, after) else { return false };
        rest = after;
    }
    false
}

/// Decodes and checks a model.
///
/// # Errors
/// `Load` with what is wrong or not supported.
pub(super) fn decode(bytes: &[u8]) -> Result<ModelProto, ModelError> {
    if bytes.len() > MAX_BYTES {
        return Err(refuse(format!("the file has {} bytes, more than {MAX_BYTES}", bytes.len())));
    }
    let mut budget = MAX_DECODED;
    walk(Kind::Model, bytes, &mut budget, 0)?;
    let model = ModelProto::decode(bytes)
        .map_err(|e| ModelError::Load { reason: "the file is damaged".to_owned(), source: Some(Box::new(e)) })?;
    let opset = model.opset_import.iter().find(|o| o.domain.is_empty() || o.domain == "ai.onnx").map_or(0, |o| o.version);
    if opset > MAX_OPSET {
        return Err(refuse(format!("operator set {opset} is newer than {MAX_OPSET}, the newest that is supported")));
    }
    check_versions(&model)?;
    let graph = model.graph.as_ref().ok_or_else(|| refuse("the file holds no graph"))?;
    let mut nodes = 0;
    check_graph(graph, &HashSet::new(), &mut nodes)?;
    check_growth(graph)?;
    Ok(model)
}

/// Whether a file says one version of each set of operators, and one that there is of `ai.onnx.ml`. Some writers say it twice.
fn check_versions(model: &ModelProto) -> Result<(), ModelError> {
    let mut versions: HashMap<&str, i64> = HashMap::new();
    for opset in &model.opset_import {
        let domain = if opset.domain.is_empty() { "ai.onnx" } else { opset.domain.as_str() };
        if versions.insert(domain, opset.version).is_some_and(|other| other != opset.version) {
            return Err(refuse(format!("the file names two versions of the operator set {domain}")));
        }
    }
    match versions.get("ai.onnx.ml").filter(|version| !CLASSICAL_OPSETS.contains(version)) {
        Some(version) => Err(refuse(format!("operator set ai.onnx.ml {version} is not supported; 1 to 5 are"))),
        None => Ok(()),
    }
}

/// The messages of a file whose parts matter.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    /// Small messages inside which nothing is distinguished.
    Leaf,
}

/// What a length-delimited field holds.
enum Part {
    Message(Kind),
    /// Numbers of at least one byte each that take so many in memory.
    Numbers(usize),
    Bytes,
    Refused(&'static str),
}

fn part(kind: Kind, field: u64) -> Part {
    use Part::{Bytes, Message, Numbers, Refused};
    match (kind, field) {
        (Kind::Model, 7) => Message(Kind::Graph),
        (Kind::Model, 8 | 14) => Message(Kind::Leaf),
        (Kind::Model, 20) => Refused("training information is not supported"),
        (Kind::Model, 25) => Refused("functions of the model's own are not supported yet"),
        (Kind::Graph, 1) => Message(Kind::Node),
        (Kind::Graph, 5) => Message(Kind::Tensor),
        (Kind::Graph, 11..=14) => Message(Kind::Leaf),
        (Kind::Graph, 15) | (Kind::Attribute, 22 | 23) => Refused("sparse tensors are not supported yet"),
        (Kind::Node, 5) => Message(Kind::Attribute),
        (Kind::Attribute, 5 | 10) => Message(Kind::Tensor),
        (Kind::Attribute, 6 | 11) => Message(Kind::Graph),
        (Kind::Attribute, 15) | (Kind::Tensor, 3 | 13) => Message(Kind::Leaf),
        (Kind::Attribute, 8) | (Kind::Tensor, 1 | 7 | 11) => Numbers(8),
        (Kind::Tensor, 5) => Numbers(4),
        _ => Bytes,
    }
}

/// Takes from `budget` what decoding a message would need at most.
fn walk(kind: Kind, bytes: &[u8], budget: &mut usize, depth: usize) -> Result<(), ModelError> {
    let mut take = |cost: usize| match budget.checked_sub(cost) {
        Some(left) => {
            *budget = left;
            Ok(())
        }
        None => Err(refuse(format!("the file would need more than {MAX_DECODED} bytes of memory"))),
    };
    // No structure of the decoded file is larger than this.
    take(1024)?;
    if kind == Kind::Leaf {
        return take(bytes.len().saturating_mul(64));
    }
    let damaged = || refuse("the file is damaged");
    let mut rest = bytes;
    while !rest.is_empty() {
        let (field, wire, after) = tag(rest).ok_or_else(damaged)?;
        let (payload, after) = value(wire, after).ok_or_else(damaged)?;
        rest = after;
        let mut take = |cost: usize| match budget.checked_sub(cost) {
            Some(left) => {
                *budget = left;
                Ok(())
            }
            None => Err(refuse(format!("the file would need more than {MAX_DECODED} bytes of memory"))),
        };
        if wire != 2 {
            take(16)?;
            continue;
        }
        match part(kind, field) {
            Part::Message(child) => {
                let depth = if child == Kind::Graph { depth + 1 } else { depth };
                if depth > MAX_DEPTH {
                    return Err(refuse(format!("graphs are nested more than {MAX_DEPTH} deep")));
                }
                walk(child, payload, budget, depth)?;
            }
            Part::Numbers(size) => take(payload.len().saturating_mul(size))?,
            Part::Bytes => take(payload.len() + 48)?,
            Part::Refused(reason) => return Err(refuse(reason)),
        }
    }
    Ok(())
}

/// A field's number and wire type, and what is behind them.
pub(super) fn tag(bytes: &[u8]) -> Option<(u64, u64, &[u8])> {
    let (tag, rest) = varint(bytes)?;
    (tag >> 3 != 0).then_some((tag >> 3, tag & 7, rest))
}

/// A field's bytes (empty for a number), and what is behind them.
pub(super) fn value(wire: u64, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    match wire {
        0 => varint(bytes).map(|(_, rest)| (&[][..], rest)),
        1 => Some((&[], bytes.get(8..)?)),
        5 => Some((&[], bytes.get(4..)?)),
        2 => {
            let (length, rest) = varint(bytes)?;
            rest.split_at_checked(usize::try_from(length).ok()?)
        }
        _ => None,
    }
}

pub(super) fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((number, &bytes[index + 1..]));
        }
    }
    None
}

/// Checks a graph and those inside it; `outer` are the names that it may use from around it.
fn check_graph(graph: &GraphProto, outer: &HashSet<&str>, nodes: &mut usize) -> Result<(), ModelError> {
    *nodes += graph.node.len();
    if *nodes > MAX_NODES {
        return Err(refuse(format!("the model has more than {MAX_NODES} nodes")));
    }
    // Operators first: "not supported yet" tells more than a detail that only such an operator would understand.
    for node in &graph.node {
        check_operator(node)?;
    }
    let mut known = outer.clone();
    known.extend(graph.input.iter().map(|i| i.name.as_str()));
    for tensor in &graph.initializer {
        check_tensor(tensor, &tensor.name)?;
        known.insert(&tensor.name);
    }
    for node in &graph.node {
        if let Some(missing) = node.input.iter().find(|i| !i.is_empty() && !known.contains(i.as_str())) {
            return Err(refuse(format!(
                "operator {} uses \"{missing}\", which nothing before it makes",
                operator_name(node)
            )));
        }
        for attribute in &node.attribute {
            check_numbers(node, attribute)?;
            for tensor in attribute.t.iter().chain(&attribute.tensors) {
                check_tensor(tensor, &attribute.name)?;
            }
            for inner in attribute.g.iter().chain(&attribute.graphs) {
                check_graph(inner, &known, nodes)?;
            }
        }
        known.extend(node.output.iter().filter(|o| !o.is_empty()).map(String::as_str));
    }
    if graph.output.is_empty() {
        return Err(refuse("the model has no output"));
    }
    match graph.output.iter().find(|o| !known.contains(o.name.as_str())) {
        Some(missing) => Err(refuse(format!("nothing makes output \"{}\"", missing.name))),
        None => Ok(()),
    }
}

/// Whether an operator runs.
fn check_operator(node: &NodeProto) -> Result<(), ModelError> {
    let known = match node.domain.as_str() {
        "" | "ai.onnx" => STANDARD.binary_search(&node.op_type.as_str()).is_ok(),
        "ai.onnx.ml" => CLASSICAL.binary_search(&node.op_type.as_str()).is_ok(),
        "com.microsoft" => CONTRIBUTED.contains(&node.op_type.as_str()),
        _ => false,
    };
    if !known {
        let name = operator_name(node);
        return Err(refuse(match name.as_str() {
            "Loop" => "operator Loop is not supported, for it might not end; unroll recurrent layers or use LSTM".to_owned(),
            "StringNormalizer" | "TfIdfVectorizer" | "Tokenizer (com.microsoft)" => {
                format!("operator {name} is not supported: vectorise texts before they are scored")
            }
            _ => format!("operator {name} is not supported yet"),
        }));
    }
    // tract takes the shape and computes with the pads of another.
    if node.op_type == "ConvTranspose" && node.attribute.iter().any(|a| a.name == "output_shape") {
        return Err(refuse("operator ConvTranspose with output_shape is not supported yet; give pads and output_padding"));
    }
    if matches!(node.op_type.as_str(), "LSTM" | "GRU" | "RNN") {
        return check_recurrent(node);
    }
    Ok(())
}

/// Whether the integers of a standard operator are some that it can mean: an axis far out, or a huge stride, makes tract count to it.
fn check_numbers(node: &NodeProto, attribute: &AttributeProto) -> Result<(), ModelError> {
    let most = match attribute.name.as_str() {
        _ if !matches!(node.domain.as_str(), "" | "ai.onnx") => return Ok(()),
        // Values, and ends that stand for "to the end".
        "value_int" | "value_ints" | "starts" | "ends" => return Ok(()),
        "axis" | "axes" | "perm" => 64,
        _ => 1 << 31,
    };
    match std::iter::once(&attribute.i).chain(&attribute.ints).find(|number| number.unsigned_abs() > most) {
        Some(number) => {
            Err(refuse(format!("operator {} with {} {number} is not supported", operator_name(node), attribute.name)))
        }
        None => Ok(()),
    }
}

/// tract runs a reversed layer forwards, and knows nothing of the rarer options.
fn check_recurrent(node: &NodeProto) -> Result<(), ModelError> {
    let of = |what: &str| Err(refuse(format!("operator {} with {what} is not supported yet", operator_name(node))));
    for attribute in &node.attribute {
        match attribute.name.as_str() {
            "hidden_size" | "linear_before_reset" => {}
            "direction" if attribute.s == b"reverse" => return of("direction reverse"),
            "direction" => {}
            "layout" | "input_forget" if attribute.i == 0 => {}
            "activations" if usual(&node.op_type, &attribute.strings) => {}
            other => return of(other),
        }
    }
    if node.input.get(4).is_some_and(|lengths| !lengths.is_empty()) { of("sequence_lens") } else { Ok(()) }
}

/// Whether these activations, of one direction or two, are those that a layer has without them.
fn usual(layer: &str, activations: &[Vec<u8>]) -> bool {
    let usual: &[&str] = match layer {
        "LSTM" => &["Sigmoid", "Tanh", "Tanh"],
        "GRU" => &["Sigmoid", "Tanh"],
        _ => &["Tanh"],
    };
    activations.iter().map(Vec::as_slice).eq(usual.iter().cycle().map(|a| a.as_bytes()).take(activations.len()))
}

/// Whether a constant has as many values as its shape says, and not too many.
fn check_tensor(tensor: &TensorProto, name: &str) -> Result<(), ModelError> {
    if tensor.data_location == Some(DataLocation::External as i32) || !tensor.external_data.is_empty() {
        return Err(refuse(format!("constant \"{name}\" is kept in another file; save the model as one file")));
    }
    let elements = tensor
        .dims
        .iter()
        .try_fold(1u64, |product, dim| product.checked_mul(u64::try_from(*dim).ok()?))
        .filter(|elements| *elements <= MAX_ELEMENTS)
        .ok_or_else(|| refuse(format!("constant \"{name}\" has a shape of more than {MAX_ELEMENTS} elements")))?;
    let unsupported = || refuse(format!("constant \"{name}\" has a type that is not supported"));
    let (size, listed) = match DataType::try_from(tensor.data_type).map_err(|_| unsupported())? {
        DataType::Float => (4, tensor.float_data.len()),
        DataType::Double => (8, tensor.double_data.len()),
        DataType::Int64 => (8, tensor.int64_data.len()),
        DataType::Int32 => (4, tensor.int32_data.len()),
        DataType::Int16 | DataType::Uint16 => (2, tensor.int32_data.len()),
        DataType::Int8 | DataType::Uint8 | DataType::Bool => (1, tensor.int32_data.len()),
        DataType::String => (0, tensor.string_data.len()),
        _ => return Err(unsupported()),
    };
    let fits = if tensor.raw_data.is_empty() {
        listed as u64 == elements
    } else {
        size > 0 && elements.checked_mul(size) == Some(tensor.raw_data.len() as u64)
    };
    if fits { Ok(()) } else { Err(refuse(format!("constant \"{name}\" does not have the {elements} values of its shape"))) }
}

/// Bounds how large results can get, for one row: exact where operators add up or repeat, the largest input elsewhere.
fn check_growth(graph: &GraphProto) -> Result<(), ModelError> {
    let constants: HashMap<&str, &TensorProto> = graph.initializer.iter().map(|t| (t.name.as_str(), t)).collect();
    let count = |tensor: &TensorProto| tensor.dims.iter().fold(1u64, |n, d| n.saturating_mul(d.unsigned_abs()));
    let mut sizes: HashMap<&str, u64> = constants.iter().map(|(name, tensor)| (*name, count(tensor))).collect();
    for node in &graph.node {
        let of = |index: usize| node.input.get(index).and_then(|i| sizes.get(i.as_str())).copied().unwrap_or(1);
        let largest = (0..node.input.len()).map(of).max().unwrap_or(1);
        // The product of the numbers in a constant, where it says a shape or how often to repeat.
        let product = |index: usize| {
            let tensor = node.input.get(index).and_then(|i| constants.get(i.as_str()));
            let raw =
                tensor.map(|t| t.raw_data.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b))).into_iter().flatten();
            let listed = tensor.map(|t| t.int64_data.iter().copied()).into_iter().flatten();
            raw.chain(listed).fold(1u64, |n, d| n.saturating_mul(d.unsigned_abs().max(1)))
        };
        let size = match node.op_type.as_str() {
            "Concat" | "Sum" => (0..node.input.len()).map(of).fold(0, u64::saturating_add),
            "ConstantOfShape" => product(0),
            "Expand" => largest.max(product(1)),
            "Tile" => largest.saturating_mul(product(1)),
            "Pad" => largest.saturating_add(product(1)),
            "Constant" => node.attribute.iter().find_map(|a| a.t.as_ref()).map_or(1, count),
            _ => largest,
        };
        if size > MAX_ELEMENTS {
            return Err(refuse(format!("operator {} would make more than {MAX_ELEMENTS} elements", operator_name(node))));
        }
        for output in &node.output {
            sizes.insert(output, size);
        }
    }
    Ok(())
}
