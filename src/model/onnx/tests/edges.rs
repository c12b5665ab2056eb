//! What trials, outputs and checks make of models whose values `tests/models/edges.py` writes.

use arrow::array::{Float32Array, Int64Array};
use tract_onnx::pb::{AttributeProto, ModelProto, OperatorSetIdProto};

use super::made::matrix_of;
use super::*;
use crate::model::answer;

fn wide(values: Vec<f32>, width: i32) -> ArrayRef {
    let field = Arc::new(Field::new_list_field(DataType::Float32, true));
    Arc::new(FixedSizeListArray::new(field, width, Arc::new(Float32Array::from(values)), None))
}

#[test]
fn an_unknown_category_is_an_error_of_its_row_and_not_of_the_model() {
    let loaded = load("sklearn_edge_hot_integers");
    let score = |values: Vec<i64>| {
        let field = Arc::new(Field::new_list_field(DataType::Int64, true));
        let x: ArrayRef = Arc::new(FixedSizeListArray::new(field, 2, Arc::new(Int64Array::from(values)), None));
        loaded.scorer.score(&[x], 1).map(|_| ()).map_err(|e| e.to_string())
    };
    assert_eq!(score(vec![10, 30]), Ok(()));
    assert!(score(vec![10, 31]).unwrap_err().contains("a value is none of the categories"));
    // Measuring is a trial, too, and knows no categories.
    assert!(crate::model::inspect::rows_per_second(&loaded, 4, std::time::Duration::from_millis(1)).is_ok());
}

#[test]
fn made_up_rows_have_the_categories_of_the_encoders() {
    for name in ["sklearn_edge_hot_integers", "sklearn_edge_hot_floats", "sklearn_edge_hot_words"] {
        let graph = scan::decode(&bytes(name)).unwrap().graph.unwrap();
        let inputs = signature::inputs(&graph).unwrap().inputs;
        let rows = made_up::rows(&graph, &inputs, 40).unwrap();
        let texts = cast(rows[0].as_fixed_size_list().values(), &DataType::Utf8).unwrap();
        let known: std::collections::BTreeSet<&str> = texts.as_string::<i32>().iter().flatten().collect();
        let wanted: &[&str] = match name {
            "sklearn_edge_hot_integers" => &["10", "20", "30"],
            "sklearn_edge_hot_floats" => &["10.0", "20.0", "30.0"],
            _ => &["", "blue", "green", "red"],
        };
        assert_eq!(known.into_iter().collect::<Vec<_>>(), wanted, "{name}");
    }
    // What is used in another way too keeps its numbers: an index must not be a category.
    let mut both = scan::decode(&bytes("sklearn_edge_hot_integers")).unwrap().graph.unwrap();
    let input = both.input[0].name.clone();
    both.node.push(node("Gather", &["table", &input], "more"));
    let inputs = signature::inputs(&both).unwrap().inputs;
    let rows = made_up::rows(&both, &inputs, 40).unwrap();
    let rows = rows[0].as_fixed_size_list().values().clone();
    assert!(rows.as_primitive::<arrow::datatypes::Int64Type>().values().iter().all(|n| *n == 0 || *n == 1));
}

#[test]
fn probabilities_in_columns_are_one_output_again() {
    for (name, classes) in [
        ("sklearn_option_columns", &["setosa", "versicolor", "virginica"][..]),
        ("sklearn_option_columns_tree", &["0", "1", "2"]),
        ("sklearn_option_columns_two", &["0", "1"]),
    ] {
        let loaded = load(name);
        assert_eq!(loaded.signature.kind, Kind::Classification { label: Some(0), probabilities: Some(1) }, "{name}");
        assert_eq!(loaded.signature.classes, classes, "{name}");
        assert!(
            matches!(loaded.signature.outputs[1].data_type, DataType::FixedSizeList(_, w) if w as usize == classes.len())
        );
    }
    // Of two classes the score is the second's: a virginica is none of the first.
    let loaded = load("sklearn_option_columns_two");
    let outputs = loaded.scorer.score(&[wide(vec![6.3, 3.3, 6.0, 2.5], 4)], 1).unwrap();
    assert!(answer::scores(&loaded.signature, &outputs).unwrap().value(0) > 0.99);
}

#[test]
fn a_constant_is_no_output() {
    let signature = load("sklearn_option_class_labels").signature;
    assert_eq!(signature.outputs.len(), 2);
    assert_eq!(signature.kind, Kind::Classification { label: Some(0), probabilities: Some(1) });
    assert_eq!(signature.classes, ["setosa", "versicolor", "virginica"]);
}

#[test]
fn a_gap_reaches_the_imputers_behind_a_column_transformer() {
    assert!(load("sklearn_edge_gaps").signature.inputs[0].takes_null);
    // An index is no place for NaN.
    let graph = |operator: &str, inputs: &[&str]| {
        let imputer = NodeProto {
            domain: "ai.onnx.ml".to_owned(),
            attribute: vec![float("replaced_value_float", f32::NAN)],
            ..node("Imputer", &["picked"], "y")
        };
        let graph = GraphProto {
            node: vec![node(operator, inputs, "picked"), imputer],
            input: vec![matrix("x", 2)],
            output: vec![matrix("y", 2)],
            ..GraphProto::default()
        };
        signature::inputs(&graph).unwrap().inputs[0].takes_null
    };
    assert!(graph("Gather", &["x", "columns"]));
    assert!(!graph("Gather", &["table", "x"]));
    assert!(!graph("Relu", &["x"]));
}

#[test]
fn what_would_be_wrong_at_an_edge_is_refused() {
    assert_eq!(
        reason(&bytes("across_rows_of_texts")),
        "rows of a batch influence each other, so a row has no score of its own"
    );
    let graph = |nodes: Vec<NodeProto>, initializer: Vec<TensorProto>| GraphProto {
        node: nodes,
        initializer,
        input: vec![matrix("x", 1)],
        output: vec![matrix("y", 1)],
        ..GraphProto::default()
    };
    let with = |node: NodeProto, attribute: Vec<AttributeProto>| NodeProto { attribute, ..node };
    let integers = |name: &str, dims: &[i64], values: &[i64]| TensorProto {
        name: name.to_owned(),
        data_type: 7,
        dims: dims.to_vec(),
        int64_data: values.to_vec(),
        ..TensorProto::default()
    };

    // A row's value says how many numbers there are.
    let nodes = vec![
        with(node("Cast", &["x"], "i"), vec![int("to", 7)]),
        node("Reshape", &["i", "none"], "limit"),
        node("Range", &["zero", "limit", "one"], "numbers"),
        with(node("ReduceSum", &["numbers"], "sum"), vec![int("keepdims", 0)]),
        node("Reshape", &["sum", "square"], "whole"),
        with(node("Cast", &["whole"], "y"), vec![int("to", 1)]),
    ];
    let constants = vec![
        integers("none", &[0], &[]),
        integers("zero", &[], &[0]),
        integers("one", &[], &[1]),
        integers("square", &[2], &[-1, 1]),
    ];
    let said = reason(&encoded(graph(nodes, constants)));
    assert!(said.contains("a value decides how large the result of Range"), "{said}");

    let shaped = with(node("ConvTranspose", &["x", "x"], "y"), vec![ints("output_shape", &[4])]);
    assert!(reason(&encoded(graph(vec![shaped], vec![]))).starts_with("operator ConvTranspose with output_shape"));

    let scaled = |scale: f32| {
        let scales = TensorProto {
            name: "scales".to_owned(),
            data_type: 1,
            dims: vec![3],
            float_data: vec![1.0, 1.0, scale],
            ..TensorProto::default()
        };
        let mode = |name: &str, value: &[u8]| AttributeProto {
            name: name.to_owned(),
            s: value.to_vec(),
            r#type: 3,
            ..AttributeProto::default()
        };
        let modes = vec![mode("mode", b"linear"), mode("coordinate_transformation_mode", b"align_corners")];
        let nodes = vec![
            node("Reshape", &["x", "line"], "image"),
            with(node("Resize", &["image", "", "scales"], "larger"), modes),
            with(node("ReduceMean", &["larger"], "y"), vec![ints("axes", &[1]), int("keepdims", 0)]),
        ];
        let graph = GraphProto {
            input: vec![matrix("x", 6)],
            output: vec![matrix("y", 9)],
            ..graph(nodes, vec![scales, integers("line", &[3], &[-1, 1, 6])])
        };
        Onnx.load(&encoded(graph)).map(|_| ()).map_err(|e| e.to_string())
    };
    assert_eq!(scaled(1.5), Ok(()));
    assert!(scaled(1.25).unwrap_err().contains("a Resize with aligned corners to a length of 7.5"));

    // Two versions of a set of operators, and versions that there are not.
    let versions = |opsets: &[(&str, i64)]| {
        let opset = |(domain, version): &(&str, i64)| OperatorSetIdProto { domain: (*domain).to_owned(), version: *version };
        let model = ModelProto {
            ir_version: 8,
            opset_import: opsets.iter().map(opset).collect(),
            graph: Some(graph(vec![node("Relu", &["x"], "y")], vec![])),
            ..ModelProto::default()
        };
        Onnx.load(&prost::Message::encode_to_vec(&model)).map(|_| ()).map_err(|e| e.to_string())
    };
    assert_eq!(versions(&[("", 13), ("ai.onnx", 13), ("ai.onnx.ml", 5)]), Ok(()));
    let said = versions(&[("", 13), ("ai.onnx", 11)]).unwrap_err();
    assert_eq!(said, "the file names two versions of the operator set ai.onnx");
    for version in [0, 6] {
        let said = versions(&[("", 13), ("ai.onnx.ml", version)]).unwrap_err();
        assert_eq!(said, format!("operator set ai.onnx.ml {version} is not supported; 1 to 5 are"));
    }
}

#[test]
fn rows_that_a_model_has_no_result_for_do_not_stand_for_it() {
    // One entry, and made-up indices are 0 and 1.
    let loaded = Onnx.load(&super::made::picking_model(&[0.5])).unwrap();
    assert!(loaded.scorer.score(&[Arc::new(Int64Array::from(vec![0]))], 1).is_ok());
    assert!(loaded.scorer.score(&[Arc::new(Int64Array::from(vec![1]))], 1).is_err());
    // None at all is a reason.
    let graph = GraphProto {
        node: vec![node("Gather", &["table", "far"], "y")],
        initializer: vec![TensorProto { float_data: vec![1.0; 2], ..constant("table", &[2]) }],
        input: vec![matrix_of("i", tract_onnx::pb::tensor_proto::DataType::Int64, 1)],
        output: vec![matrix("y", 1)],
        ..GraphProto::default()
    };
    let mut far = graph;
    far.initializer.push(TensorProto {
        name: "offset".to_owned(),
        data_type: 7,
        dims: vec![1],
        int64_data: vec![1000],
        ..TensorProto::default()
    });
    far.node.insert(0, node("Add", &["i", "offset"], "far"));
    assert!(reason(&encoded(far)).starts_with("a trial run failed"));
}
