//! Models made in the test itself, where a file would hide what matters: what they answer.

use prost::Message;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension::Value as Dim};
use tract_onnx::pb::type_proto::{Tensor, Value};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, attribute_proto::AttributeType,
};

/// An ONNX model that takes `inputs` FLOATs (one tensor `x`) and always answers `value` (output `y`).
pub fn constant_model(value: f32, inputs: usize) -> Vec<u8> {
    let constant = |name: &str, value: f32| TensorProto {
        name: name.to_owned(),
        data_type: DataType::Float as i32,
        dims: vec![1, 1],
        float_data: vec![value],
        ..TensorProto::default()
    };
    let graph = GraphProto {
        name: "constant".to_owned(),
        node: vec![
            node("Mul", &["x", "zero"], "nothing"),
            NodeProto { attribute: vec![ints("axes", &[1])], ..node("ReduceMean", &["nothing"], "row") },
            node("Add", &["row", "value"], "y"),
        ],
        initializer: vec![constant("zero", 0.0), constant("value", value)],
        input: vec![matrix("x", inputs)],
        output: vec![matrix("y", 1)],
        ..GraphProto::default()
    };
    encoded(graph)
}

/// An ONNX model that takes one BIGINT `i` and answers `values[i]`; an `i` beyond them is an error of its row.
pub fn picking_model(values: &[f32]) -> Vec<u8> {
    let table = TensorProto {
        name: "table".to_owned(),
        data_type: DataType::Float as i32,
        dims: vec![values.len() as i64],
        float_data: values.to_vec(),
        ..TensorProto::default()
    };
    let graph = GraphProto {
        name: "picking".to_owned(),
        node: vec![node("Gather", &["table", "i"], "y")],
        initializer: vec![table],
        input: vec![matrix_of("i", DataType::Int64, 1)],
        output: vec![matrix("y", 1)],
        ..GraphProto::default()
    };
    encoded(graph)
}

/// A model of one FLOAT `x` and these nodes, the last of which makes `y`.
pub fn chain(node: Vec<NodeProto>) -> Vec<u8> {
    let (input, output) = (vec![matrix("x", 1)], vec![matrix("y", 1)]);
    encoded(GraphProto { name: "chain".to_owned(), node, input, output, ..GraphProto::default() })
}

/// The file that holds `graph`.
pub fn encoded(graph: GraphProto) -> Vec<u8> {
    let model = ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 17 }],
        producer_name: "test".to_owned(),
        graph: Some(graph),
        ..ModelProto::default()
    };
    model.encode_to_vec()
}

/// A node of one output.
pub fn node(operator: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: operator.to_owned(),
        input: inputs.iter().map(|i| (*i).to_owned()).collect(),
        output: vec![output.to_owned()],
        ..NodeProto::default()
    }
}

/// An attribute of integers.
pub fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Ints as i32,
        ints: values.to_vec(),
        ..AttributeProto::default()
    }
}

/// A FLOAT input or output of shape `[N, columns]`.
pub fn matrix(name: &str, columns: usize) -> ValueInfoProto {
    matrix_of(name, DataType::Float, columns)
}

/// An input or output of shape `[N, columns]`.
pub fn matrix_of(name: &str, elements: DataType, columns: usize) -> ValueInfoProto {
    let dim = |value| Dimension { value: Some(value), ..Dimension::default() };
    let shape = TensorShapeProto { dim: vec![dim(Dim::DimParam("N".to_owned())), dim(Dim::DimValue(columns as i64))] };
    let tensor = Tensor { elem_type: elements as i32, shape: Some(shape) };
    let kind = TypeProto { value: Some(Value::TensorType(tensor)), ..TypeProto::default() };
    ValueInfoProto { name: name.to_owned(), r#type: Some(kind), ..ValueInfoProto::default() }
}
