//! DictVectorizer and CastMap, whose input is a map: a row's map becomes one column per key that the operator asks for.
//!
//! ```text
//! map input d ─► DictVectorizer(vocabulary a, b)      becomes      inputs a, b ─► DictVectorizer
//! ```
//!
//! So `score('m', {'a': 1.5, 'b': 2})` finds its features by name like with any other model. A key that a row does not
//! have is NULL there, and means what a missing key means to the operator: 0, or the empty text.

use std::collections::HashSet;

use prost::Message as _;
use tract_onnx::model::OnnxOpRegister;
use tract_onnx::pb::tensor_proto::DataType as OnnxType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension::Value as Dim};
use tract_onnx::pb::type_proto::{Tensor as TensorType, Value};
use tract_onnx::pb::{ModelProto, NodeProto, TensorShapeProto, TypeProto, ValueInfoProto};
use tract_onnx::tract_hir::internal::*;

use super::{Batch, Built, Fact, batch, integer, integers, slice, text, texts};
use crate::model::ModelError;
use crate::model::onnx::refuse;

/// The most keys of all maps of a model: each is an input of its own.
const MAX_KEYS: usize = 1000;

pub(super) fn register(operators: &mut OnnxOpRegister) {
    operators.insert("DictVectorizer", |_, _| batch(Columns { to: None }));
    operators.insert("CastMap", |_, node| cast_map(node));
}

// What of a file says that an input is a map; tract's own types leave it out.
#[derive(Clone, PartialEq, prost::Message)]
struct ModelOfMaps {
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphOfMaps>,
}
#[derive(Clone, PartialEq, prost::Message)]
struct GraphOfMaps {
    #[prost(message, repeated, tag = "11")]
    input: Vec<InputOfMaps>,
}
#[derive(Clone, PartialEq, prost::Message)]
struct InputOfMaps {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    kind: Option<TypeOfMap>,
}
#[derive(Clone, PartialEq, prost::Message)]
struct TypeOfMap {
    #[prost(message, optional, tag = "5")]
    map: Option<MapType>,
}
#[derive(Clone, PartialEq, prost::Message)]
struct MapType {
    #[prost(message, optional, tag = "2")]
    value: Option<ValueOfMap>,
}
#[derive(Clone, PartialEq, prost::Message)]
struct ValueOfMap {
    #[prost(message, optional, tag = "1")]
    tensor: Option<ElementOfMap>,
}
#[derive(Clone, PartialEq, prost::Message)]
struct ElementOfMap {
    #[prost(int32, tag = "1")]
    element: i32,
}

/// Puts one input per key in the place of each input of a model that is a map. `bytes` are the model's own.
///
/// # Errors
/// If something else than DictVectorizer and CastMap uses a map, or a key cannot be an input.
pub(in crate::model::onnx) fn to_columns(model: &mut ModelProto, bytes: &[u8]) -> Result<(), ModelError> {
    let Some(graph) = &mut model.graph else { return Ok(()) };
    if graph.input.iter().all(|i| i.r#type.as_ref().is_some_and(|t| t.value.is_some())) {
        return Ok(());
    }
    let types = ModelOfMaps::decode(bytes).ok().and_then(|m| m.graph).map(|g| g.input).unwrap_or_default();
    let mut taken: HashSet<String> = graph.initializer.iter().map(|t| t.name.clone()).collect();
    taken.extend(graph.node.iter().flat_map(|n| n.output.iter().cloned()));
    taken.extend(graph.input.iter().map(|i| i.name.clone()));
    for input in types {
        let name = &input.name;
        let Some(value) = input.kind.and_then(|k| k.map).and_then(|m| m.value).and_then(|v| v.tensor) else { continue };
        let Some(place) = graph.input.iter().position(|i| i.name == *name) else { continue };
        let mut columns: Vec<String> = vec![];
        let mut known = HashSet::new();
        for node in graph.node.iter_mut().filter(|n| n.input.contains(name)) {
            let keys = keys(node)?;
            for key in &keys {
                if known.insert(key.clone()) {
                    columns.push(key.clone());
                }
            }
            node.input = keys;
        }
        if columns.is_empty() || columns.len() > MAX_KEYS {
            return Err(refuse(format!(
                "input \"{name}\" is a map of {} keys; 1 to {MAX_KEYS} are supported",
                columns.len()
            )));
        }
        if let Some(key) = columns.iter().find(|key| key.is_empty() || (taken.contains(*key) && *key != name)) {
            return Err(refuse(format!("key \"{key}\" of input \"{name}\" cannot be the name of an input")));
        }
        taken.extend(columns.iter().cloned());
        graph.input.splice(place..=place, columns.into_iter().map(|key| column(key, value.element)));
    }
    Ok(())
}

/// The keys that an operator asks a map for, in its order.
fn keys(node: &NodeProto) -> Result<Vec<String>, ModelError> {
    let damaged = |_| refuse("the file is damaged");
    match node.op_type.as_str() {
        "DictVectorizer" => {
            let words = texts(node, "string_vocabulary").map_err(damaged)?;
            let numbers = integers(node, "int64_vocabulary").iter().map(i64::to_string);
            Ok(if words.is_empty() { numbers.collect() } else { words })
        }
        "CastMap" => {
            let form = text(node, "map_form", "DENSE").map_err(damaged)?;
            if form != "SPARSE" {
                return Err(refuse("operator CastMap (ai.onnx.ml) of form DENSE makes rows of no fixed width"));
            }
            let most = usize::try_from(integer(node, "max_map", 1)).unwrap_or(0).min(MAX_KEYS + 1);
            Ok((0..most).map(|key| key.to_string()).collect())
        }
        other => Err(refuse(format!("operator {other} of a map is not supported"))),
    }
}

fn column(name: String, elements: i32) -> ValueInfoProto {
    let dim = |value| Dimension { value: Some(value), ..Dimension::default() };
    let shape = TensorShapeProto { dim: vec![dim(Dim::DimParam("rows".to_owned())), dim(Dim::DimValue(1))] };
    let value = Value::TensorType(TensorType { elem_type: elements, shape: Some(shape) });
    ValueInfoProto {
        name,
        r#type: Some(TypeProto { value: Some(value), ..TypeProto::default() }),
        ..ValueInfoProto::default()
    }
}

fn cast_map(node: &NodeProto) -> Built {
    batch(Columns {
        to: Some(match text(node, "cast_to", "TO_FLOAT")? {
            "TO_FLOAT" => OnnxType::Float,
            "TO_INT64" => OnnxType::Int64,
            "TO_STRING" => OnnxType::String,
            other => bail!("cast_to {other} is not known"),
        }),
    })
}

/// Columns side by side, cast by a CastMap. NaN stands for NULL, and that for a key that is not there.
#[derive(Debug)]
struct Columns {
    to: Option<OnnxType>,
}

impl Columns {
    fn kind(&self, given: DatumType) -> DatumType {
        match self.to {
            None => given,
            Some(OnnxType::Float) => f32::datum_type(),
            Some(OnnxType::Int64) => i64::datum_type(),
            Some(_) => String::datum_type(),
        }
    }

    fn of(&self, column: &Tensor) -> TractResult<Tensor> {
        let shape = column.shape().to_vec();
        let (given, wanted) = (column.datum_type(), self.kind(column.datum_type()));
        let column = match given {
            DatumType::F32 => {
                tensor1(&slice::<f32>(column)?.iter().map(|x| if x.is_nan() { 0.0 } else { *x }).collect::<Vec<_>>())
            }
            DatumType::F64 => {
                tensor1(&slice::<f64>(column)?.iter().map(|x| if x.is_nan() { 0.0 } else { *x }).collect::<Vec<_>>())
            }
            _ => column.clone(),
        };
        let cast = if given == wanted {
            column
        } else if given == String::datum_type() {
            let number = |text: &String| {
                if text.is_empty() {
                    Ok(0.0)
                } else {
                    text.trim().parse::<f64>().with_context(|| format!("\"{text}\" is no number"))
                }
            };
            let numbers = slice::<String>(&column)?.iter().map(number).collect::<TractResult<Vec<f64>>>()?;
            tensor1(&numbers).cast_to_dt(wanted)?.into_owned()
        } else if wanted == String::datum_type() {
            let numbers = column.cast_to::<f64>()?;
            tensor1(&slice::<f64>(&numbers)?.iter().map(|x| format!("{x:.6}")).collect::<Vec<_>>())
        } else {
            column.cast_to_dt(wanted)?.into_owned()
        };
        cast.into_shape(&shape)
    }
}

impl Batch for Columns {
    fn name(&self) -> &'static str {
        if self.to.is_some() { "CastMap" } else { "DictVectorizer" }
    }
    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        let (kind, shape) = inputs.first().context("a map without keys is not supported")?;
        let same = |f: &Fact| f.0 == *kind && f.1.len() == 2 && f.1[0] == shape[0] && f.1[1] == 1.to_dim();
        ensure!(shape.len() == 2 && inputs.iter().all(same), "a {} takes a map", self.name());
        Ok(tvec!((self.kind(*kind), tvec!(shape[0].clone(), inputs.len().to_dim()))))
    }
    fn run(&self, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let columns = inputs.iter().map(|i| self.of(i)).collect::<TractResult<Vec<Tensor>>>()?;
        let columns: Vec<&Tensor> = columns.iter().collect();
        Ok(tvec!(Tensor::stack_tensors(1, &columns)?.into_tvalue()))
    }
}
