//! Outputs as a query wants them, before the graph is built.
//!
//! Constants leave: skl2onnx's `output_class_labels` makes an output of the classes, which has no row per row. And the
//! probabilities of `zipmap: 'columns'`, an output per class, become the tensor again that they were cut from, so that
//! `score` and `predict` know which class is which.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::tensor_proto::DataType as OnnxType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension::Value as Dim};
use tract_onnx::pb::type_proto::{Tensor as TensorType, Value};
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto};

use super::operators::attribute;
use super::signature;

/// Changes the outputs of `graph`; the graph itself stays.
pub(super) fn arrange(graph: &mut GraphProto) {
    drop_constants(graph);
    if let Some((source, many)) = columns(graph) {
        let first = graph.output.iter().position(is_float).unwrap_or(0);
        graph.output.retain(|output| !is_float(output));
        graph.output.insert(first.min(graph.output.len()), matrix(source, many));
    }
}

/// Takes constants out of the outputs, if something else is left.
fn drop_constants(graph: &mut GraphProto) {
    let mut constant: HashSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
    for node in &graph.node {
        if node.input.iter().all(|input| input.is_empty() || constant.contains(input.as_str())) {
            constant.extend(node.output.iter().map(String::as_str));
        }
    }
    let keep: Vec<bool> = graph.output.iter().map(|output| !constant.contains(output.name.as_str())).collect();
    if keep.contains(&true) {
        let mut keep = keep.into_iter();
        graph.output.retain(|_| keep.next().unwrap_or(true));
    }
}

fn element(output: &ValueInfoProto) -> Option<OnnxType> {
    let Value::TensorType(tensor) = output.r#type.as_ref()?.value.as_ref()?;
    OnnxType::try_from(tensor.elem_type).ok()
}

fn is_float(output: &ValueInfoProto) -> bool {
    element(output) == Some(OnnxType::Float)
}

/// The tensor that the outputs of FLOAT are the columns of, and how many: a label beside one column per class, in order.
fn columns(graph: &GraphProto) -> Option<(String, usize)> {
    let (floats, others): (Vec<_>, Vec<_>) = graph.output.iter().partition(|output| is_float(output));
    let [label] = others.as_slice() else { return None };
    let many = floats.len();
    if many < 2 || signature::classes_of(graph, &label.name).len() != many {
        return None;
    }
    let makers: HashMap<&str, &NodeProto> =
        graph.node.iter().flat_map(|node| node.output.iter().map(move |o| (o.as_str(), node))).collect();
    let constants: HashMap<&str, &TensorProto> = graph.initializer.iter().map(|t| (t.name.as_str(), t)).collect();
    let mut source = None;
    for (index, output) in floats.into_iter().enumerate() {
        let mut node = *makers.get(output.name.as_str())?;
        while matches!(node.op_type.as_str(), "Reshape" | "Squeeze" | "Flatten" | "Identity") {
            node = makers.get(node.input.first()?.as_str())?;
        }
        let of = node.input.first()?;
        if column(node, &constants)? != index as i64 || source.is_some_and(|known| known != of) {
            return None;
        }
        source = Some(of);
    }
    Some((source?.clone(), many))
}

/// The column that a node picks.
fn column(node: &NodeProto, constants: &HashMap<&str, &TensorProto>) -> Option<i64> {
    let one = |index: usize| {
        let numbers = signature::texts(constants.get(node.input.get(index)?.as_str())?);
        if let [number] = numbers.as_slice() { number.parse::<i64>().ok() } else { None }
    };
    match node.op_type.as_str() {
        "Slice" => {
            let (start, end) = (one(1)?, one(2)?);
            (end == start + 1 && one(3)? == 1 && node.input.len() == 4).then_some(start)
        }
        "ArrayFeatureExtractor" => one(1),
        "Gather" if attribute(node, "axis").is_some_and(|a| a.i == 1) => one(1),
        _ => None,
    }
}

fn matrix(name: String, many: usize) -> ValueInfoProto {
    let dim = |value| Dimension { value: Some(value), ..Dimension::default() };
    let shape = TensorShapeProto { dim: vec![dim(Dim::DimParam("rows".to_owned())), dim(Dim::DimValue(many as i64))] };
    let value = Value::TensorType(TensorType { elem_type: OnnxType::Float as i32, shape: Some(shape) });
    ValueInfoProto {
        name,
        r#type: Some(TypeProto { value: Some(value), ..TypeProto::default() }),
        ..ValueInfoProto::default()
    }
}
