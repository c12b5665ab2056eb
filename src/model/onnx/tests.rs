//! Scores of the models in `tests/models` against ONNX Runtime's, and what is refused.

use std::path::{Path, PathBuf};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::array::{
    BooleanArray, FixedSizeListArray, Float32Array, Float64Array, Int32Array, Int64Array, StringArray, new_empty_array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type};
use serde_json::Value;
use tract_onnx::pb::{GraphProto, NodeProto, StringStringEntryProto, TensorProto};

use super::*;
use crate::model::{Input, Kind};

#[path = "../../../tests/it/models.rs"]
#[allow(dead_code)] // The integration tests use more of it.
mod made;
use made::{constant_model, encoded, ints, matrix, node};

mod edges;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models")
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(format!("{name}.onnx"))).unwrap()
}

fn load(name: &str) -> Loaded {
    Onnx.load(&bytes(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn reason(bytes: &[u8]) -> String {
    Onnx.load(bytes).map(|l| format!("{:?}", l.signature)).unwrap_err().to_string()
}

/// An input of a case, repeated until there are `rows`.
fn input(case: &Value, input: &Input, rows: usize) -> ArrayRef {
    let given = case["inputs"].as_array().unwrap().iter().find(|i| i["name"] == input.name.as_str()).unwrap();
    let values = given["values"].as_array().unwrap().iter().cycle().take(rows * input.width);
    let array: ArrayRef = match input.data_type {
        DataType::Float32 => Arc::new(values.map(|v| Some(number(v) as f32)).collect::<Float32Array>()),
        DataType::Float64 => Arc::new(values.map(|v| Some(number(v))).collect::<Float64Array>()),
        DataType::Int64 => Arc::new(values.map(Value::as_i64).collect::<Int64Array>()),
        DataType::Int32 => Arc::new(values.map(|v| Some(number(v) as i32)).collect::<Int32Array>()),
        DataType::Boolean => Arc::new(values.map(Value::as_bool).collect::<BooleanArray>()),
        ref other if other.is_integer() => cast(&values.map(Value::as_i64).collect::<Int64Array>(), other).unwrap(),
        _ => Arc::new(values.map(Value::as_str).collect::<StringArray>()),
    };
    if input.width == 1 {
        return array;
    }
    let field = Arc::new(Field::new_list_field(input.data_type.clone(), true));
    Arc::new(FixedSizeListArray::try_new(field, input.width as i32, array, None).unwrap())
}

/// A reference's number; BOOLEAN counts as 0 and 1, and null is NaN.
fn number(value: &Value) -> f64 {
    match value.as_str() {
        Some(infinite) => infinite.parse().unwrap(),
        None => value.as_bool().map(|b| f64::from(u8::from(b))).or_else(|| value.as_f64()).unwrap_or(f64::NAN),
    }
}

/// Compares with the reference at several batch sizes; `Err` says where they differ.
fn compare(loaded: &Loaded, case: &Value) -> Result<f64, String> {
    let mut largest = 0f64;
    for rows in [0, 1, 7, 64, 1024, 1100] {
        let features: Vec<ArrayRef> = loaded.signature.inputs.iter().map(|i| input(case, i, rows)).collect();
        let outputs = loaded.scorer.score(&features, rows).map_err(|e| format!("{rows} rows: {e}"))?;
        for (output, array) in loaded.signature.outputs.iter().zip(&outputs) {
            if array.len() != rows || array.data_type() != &output.data_type {
                return Err(format!(
                    "{}: {} rows of {}, not {rows} of {}",
                    output.name,
                    array.len(),
                    array.data_type(),
                    output.data_type
                ));
            }
            let (values, width) = match array.as_fixed_size_list_opt() {
                Some(list) => (list.values().clone(), list.value_length() as usize),
                None => (array.clone(), 1),
            };
            let wanted = case["outputs"].as_array().unwrap().iter().find(|o| o["name"] == output.name.as_str()).unwrap();
            let wanted: Vec<&Value> = wanted["values"].as_array().unwrap().iter().collect();
            if wanted.len() != case["rows"].as_u64().unwrap() as usize * width {
                return Err(format!("{}: {width} per row", output.name));
            }
            let texts = values.as_string_opt::<i32>();
            let numbers = cast(&values, &DataType::Float64).unwrap_or_else(|_| new_empty_array(&DataType::Float64));
            let numbers = numbers.as_primitive::<Float64Type>();
            for (at, wanted) in wanted.iter().cycle().take(rows * width).enumerate() {
                if let Some(texts) = texts {
                    if Some(texts.value(at)) != wanted.as_str() {
                        return Err(format!("{} at {at}: \"{}\", not {wanted}", output.name, texts.value(at)));
                    }
                    continue;
                }
                let (given, wanted) = (numbers.value(at), number(wanted));
                let difference = (given - wanted).abs() / wanted.abs().max(1.0);
                if !(difference <= 1e-5 || given == wanted || (given.is_nan() && wanted.is_nan())) {
                    return Err(format!("{rows} rows, {} at {at}: {given}, not {wanted}", output.name));
                }
                largest = largest.max(if difference.is_nan() { 0.0 } else { difference });
            }
        }
    }
    Ok(largest)
}

#[test]
fn scores_are_those_of_onnx_runtime() {
    let mut cases = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.extension().is_none_or(|e| e != "json") || name.starts_with("tree_") {
            continue;
        }
        let case: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        compare(&load(&name), &case).unwrap_or_else(|e| panic!("{name}: {e}"));
        cases += 1;
    }
    assert!(cases >= 100, "{cases} cases");
}

/// For models of your own: `VATIC_MODELS=DIR cargo test --lib a_folder_of_models -- --ignored --nocapture` compares each
/// `NAME.onnx` with its `NAME.json`, which is as `tests/models/train.py` writes it.
#[test]
#[ignore = "needs a folder of models"]
fn a_folder_of_models_is_compared() {
    let folder = PathBuf::from(std::env::var("VATIC_MODELS").unwrap());
    let mut names: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    names.retain(|path| path.extension().is_some_and(|e| e == "onnx"));
    names.sort();
    let mut equal = 0;
    for path in &names {
        let name = path.file_stem().unwrap().to_string_lossy();
        let case = std::fs::read(path.with_extension("json")).ok().map(|b| serde_json::from_slice::<Value>(&b).unwrap());
        let result = match (Onnx.load(&std::fs::read(path).unwrap()), case) {
            (Err(error), _) => format!("REFUSED {error}"),
            (Ok(loaded), None) => format!("LOADS without a reference, {:?}", loaded.signature.kind),
            (Ok(loaded), Some(case)) => match compare(&loaded, &case) {
                Err(difference) => format!("DIFFERS {difference}"),
                Ok(largest) => {
                    equal += 1;
                    format!("equal {largest:.0e} {:?} {:?}", loaded.signature.kind, loaded.signature.classes)
                }
            },
        };
        println!("{name:24} {result}");
    }
    println!("{equal} of {} are equal", names.len());
}

#[test]
fn trees_are_those_of_onnx_runtime_to_the_last_digits() {
    let (mut cases, mut largest) = (0, 0f64);
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if name.starts_with("tree_") && path.extension().is_some_and(|e| e == "json") {
            let case: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            let difference = compare(&load(&name), &case).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(difference <= 1e-6, "{name}: {difference}");
            (cases, largest) = (cases + 1, largest.max(difference));
        }
    }
    assert!(cases >= 23, "{cases} cases, {largest}");
}

#[test]
fn every_operator_that_is_let_through_was_compared() {
    let mut seen = std::collections::BTreeSet::new();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "onnx") && path.with_extension("json").exists() {
            let model = scan::decode(&std::fs::read(&path).unwrap()).unwrap();
            seen.extend(model.graph.unwrap().node.iter().map(scan::operator_name));
        }
    }
    let missing: Vec<String> = scan::operators().filter(|o| !seen.contains(o)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn signatures_are_read_off_the_graph() {
    let of = |name: &str| load(name).signature;
    let names = |s: &crate::model::Signature| s.inputs.iter().map(|i| i.name.clone()).collect::<Vec<_>>();

    let fraud = of("fraud_v1");
    assert_eq!(names(&fraud), ["amount", "hour", "distance_km", "tx_last_hour"]);
    assert_eq!(fraud.inputs[1].data_type, DataType::Int64);
    assert!(fraud.inputs.iter().all(|i| i.width == 1 && i.shape.is_empty() && !i.takes_null));
    assert_eq!(fraud.kind, Kind::Classification { label: Some(0), probabilities: Some(1) });

    let mlp = of("mlp_11_32_16_1");
    assert_eq!((mlp.inputs[0].width, mlp.inputs[0].shape.as_slice()), (11, &[11][..]));
    assert_eq!((mlp.kind, mlp.outputs[0].data_type.clone()), (Kind::Regression { value: 0 }, DataType::Float32));

    let species = ["setosa", "versicolor", "virginica"];
    assert_eq!(of("iris_species").classes, species);
    assert_eq!(of("iris_mlp").classes, species);
    assert_eq!(of("iris_zipmap").classes, ["0", "1", "2"]);
    assert_eq!(of("iris_softmax").kind, Kind::Classification { label: None, probabilities: Some(0) });
    assert!(of("iris_softmax").classes.is_empty());
    assert_eq!(of("iris_clusters").kind, Kind::Clustering { label: 0, distances: Some(1) });
    assert_eq!(of("diabetes").kind, Kind::Regression { value: 0 });

    let mixed = of("mixed");
    assert_eq!(names(&mixed), ["size", "weight", "colour", "level"]);
    // The imputer treats missing numbers; categories have no such treatment.
    assert_eq!(mixed.inputs.iter().map(|i| i.takes_null).collect::<Vec<_>>(), [true, true, false, false]);
    assert_eq!(mixed.inputs[2].data_type, DataType::Utf8);
}

#[test]
fn what_a_model_is_for_follows_from_its_graph() {
    let of = |name: &str| load(name).signature;
    for name in ["sklearn_one_class_rbf", "sklearn_sgd_one_class", "sklearn_outliers"] {
        assert_eq!(of(name).kind, Kind::Anomaly { label: Some(0), value: 1 }, "{name}");
    }
    assert_eq!(of("sklearn_scaled_clusters").kind, Kind::Clustering { label: 0, distances: Some(1) });
    assert_eq!(of("sklearn_svr").kind, Kind::Regression { value: 0 });
    let two = of("sklearn_two_targets");
    assert_eq!(two.kind, Kind::Regression { value: 0 });
    assert!(matches!(two.outputs[0].data_type, DataType::FixedSizeList(_, 2)));
    // Several labels per row: no one class, but the numbers of each target, the rows first.
    let several = of("sklearn_knn_several");
    assert_eq!(several.kind, Kind::Regression { value: 1 });
    assert!(matches!(several.outputs[1].data_type, DataType::FixedSizeList(_, 4)));
    for name in ["sklearn_svc_rbf", "sklearn_gaussian_nb", "sklearn_one_vs_rest", "sklearn_knn_manhattan"] {
        assert_eq!(of(name).classes, ["setosa", "versicolor", "virginica"], "{name}");
    }
    assert_eq!(of("classical_zip_words").classes, ["b", "a", "d", "c"]);
    assert_eq!(of("classical_zip_numbers").classes, ["4", "-1", "2", "3"]);
    let types = of("classical_types").inputs.into_iter().map(|i| i.data_type).collect::<Vec<_>>();
    assert!(types.contains(&DataType::UInt8) && types.contains(&DataType::Int16) && types.contains(&DataType::UInt64));
}

#[test]
fn a_map_is_given_by_the_names_of_its_keys() {
    use crate::model::features::{Feature, bind};
    let loaded = load("classical_map_dict");
    let names: Vec<&str> = loaded.signature.inputs.iter().map(|i| i.name.as_str()).collect();
    assert_eq!(names, ["age", "city=Paris", "weight"]);
    let fields: Vec<Field> = ["weight", "age", "city=Paris"].map(|n| Field::new(n, DataType::Float64, true)).to_vec();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Float64Array::from(vec![Some(1.5), None])),
        Arc::new(Float64Array::from(vec![None, Some(40.0)])),
        Arc::new(Float64Array::from(vec![None, Some(1.0)])),
    ];
    let row = arrow::array::StructArray::new(fields.clone().into(), columns, None);
    let feature = Feature::named("row", DataType::Struct(fields.into()));
    let features = bind("m:1", &[feature], &loaded.signature).unwrap().columns(&[Arc::new(row)]).unwrap();
    // A key that is not there is no reason to have no score.
    assert!(features.nulls.is_none());
    let outputs = loaded.scorer.score(&features.inputs, 2).unwrap();
    let values = outputs[0].as_fixed_size_list().values().clone();
    assert_eq!(values.as_ref(), &Float32Array::from(vec![0.0, 0.0, 1.5, 40.0, 1.0, 0.0]) as &dyn Array);
}

#[test]
fn distances_are_one_operator_and_no_loop() {
    for name in ["sklearn_knn_manhattan", "sklearn_gaussian_process", "iris_neighbours"] {
        let mut model = scan::decode(&bytes(name)).unwrap();
        let operators = |model: &tract_onnx::pb::ModelProto| {
            rewrite::rewritten(model).graph.unwrap().node.into_iter().map(|n| n.op_type).collect::<Vec<_>>()
        };
        assert!(operators(&model).contains(&operators::DISTANCES.to_owned()), "{name}");
        assert!(!operators(&model).contains(&"Scan".to_owned()), "{name}");
        // Something else in the loop is left to it.
        let nodes = &mut model.graph.as_mut().unwrap().node;
        let scan = nodes.iter_mut().find(|n| n.op_type == "Scan").unwrap();
        let body = scan.attribute.iter_mut().find_map(|a| a.g.as_mut()).unwrap();
        body.node.iter_mut().find(|n| n.op_type == "Sub").unwrap().op_type = "Add".to_owned();
        assert!(operators(&model).contains(&"Scan".to_owned()), "{name}");
    }
}

#[test]
fn what_cannot_be_right_is_refused_with_the_reason() {
    assert_eq!(reason(&bytes("broken")), "the file is damaged");
    assert_eq!(reason(&bytes("across_rows")), "rows of a batch influence each other, so a row has no score of its own");
    assert_eq!(reason(&vec![8; MAX_BYTES + 1]), format!("the file has {} bytes, more than {MAX_BYTES}", MAX_BYTES + 1));

    let graph = |nodes: Vec<NodeProto>| GraphProto {
        node: nodes,
        input: vec![matrix("x", 2)],
        output: vec![matrix("y", 2)],
        ..GraphProto::default()
    };
    let of = |graph: GraphProto| reason(&encoded(graph));
    assert_eq!(of(graph(vec![node("RandomNormalLike", &["x"], "y")])), "operator RandomNormalLike is not supported yet");
    let mut back = node("LSTM", &["x", "x", "x"], "y");
    back.attribute.push(tract_onnx::pb::AttributeProto {
        name: "direction".to_owned(),
        s: b"reverse".to_vec(),
        ..Default::default()
    });
    assert_eq!(of(graph(vec![back])), "operator LSTM with direction reverse is not supported yet");
    assert!(of(graph(vec![node("Loop", &["x"], "y")])).starts_with("operator Loop is not supported, for it might not end"));
    assert!(of(graph(vec![node("StringNormalizer", &["x"], "y")])).ends_with("vectorise texts before they are scored"));
    let classical = |operator: &str| NodeProto { domain: "ai.onnx.ml".to_owned(), ..node(operator, &["x"], "y") };
    let lacking = |operator: &str, reason: &str| {
        let said = of(graph(vec![classical(operator)]));
        assert!(said.contains(reason), "{operator}: {said}");
    };
    lacking("LinearRegressor", "0 coefficients for 1 targets do not fit");
    lacking("SVMRegressor", "there is no rho");
    lacking("Scaler", "offset and scale are not of one length");
    lacking("Imputer", "needs values either of numbers or of integers");
    lacking("LabelEncoder", "needs keys");
    lacking("OneHotEncoder", "needs either numbers or strings as categories");
    lacking("ZipMap", "needs class labels");
    lacking("DictVectorizer", "a DictVectorizer takes a map");
    let foreign = NodeProto { domain: "com.microsoft".to_owned(), ..node("Gelu", &["x"], "y") };
    assert_eq!(of(graph(vec![foreign])), "operator Gelu (com.microsoft) is not supported yet");
    assert_eq!(of(graph(vec![node("Relu", &["z"], "y")])), "operator Relu uses \"z\", which nothing before it makes");
    assert_eq!(of(graph(vec![node("Relu", &["x"], "z")])), "nothing makes output \"y\"");
    assert_eq!(of(GraphProto { input: vec![], ..graph(vec![]) }), "nothing makes output \"y\"");

    let tensor =
        TensorProto { name: "w".to_owned(), data_type: 1, dims: vec![2], float_data: vec![1.0], ..TensorProto::default() };
    let with = |tensor: TensorProto| GraphProto { initializer: vec![tensor], ..graph(vec![node("Add", &["x", "w"], "y")]) };
    assert_eq!(of(with(tensor.clone())), "constant \"w\" does not have the 2 values of its shape");
    let huge = TensorProto { dims: vec![1 << 40, 1 << 40], ..tensor.clone() };
    assert!(of(with(huge)).starts_with("constant \"w\" has a shape of more than"));
    let location = StringStringEntryProto { key: "location".to_owned(), value: "/etc/passwd".to_owned() };
    let outside = TensorProto { float_data: vec![], external_data: vec![location], data_location: Some(1), ..tensor };
    assert_eq!(of(with(outside)), "constant \"w\" is kept in another file; save the model as one file");

    let doubling = |n: usize| node("Concat", &[&format!("c{n}"), &format!("c{n}")], &format!("c{}", n + 1));
    let mut nodes = vec![node("Identity", &["x"], "c0")];
    nodes.extend((0..40).map(|n| NodeProto { attribute: vec![ints("axis", &[1])], ..doubling(n) }));
    nodes.push(node("Identity", &["c40"], "y"));
    assert!(of(graph(nodes)).starts_with("operator Concat would make more than"));
    let chain = (0..20_000).map(|n| node("Relu", &[&format!("c{n}")], &format!("c{}", n + 1)));
    assert_eq!(
        of(graph(std::iter::once(node("Relu", &["x"], "c0")).chain(chain).collect())),
        "the model has more than 10000 nodes"
    );
}

#[test]
fn chains_are_run_by_kernels_of_our_own() {
    let kernels = |name: &str| load(name).scorer.kernels().join("; ");
    assert_eq!(kernels("mlp_11_32_16_1"), "dense 11 x 32, relu; dense 32 x 16, relu; dense 16 x 1, sigmoid");
    assert_eq!(kernels("iris_species"), "dense 4 x 3; softmax; normalize; winner's class");
    for name in ["diabetes", "iris_mlp", "iris_softmax", "iris_zipmap"] {
        assert!(!kernels(name).contains("tract"), "{name}: {}", kernels(name));
    }
    // Trees too, alone and with a chain in front or behind.
    for name in ["iris_tree", "tree_xgboost", "tree_lightgbm", "tree_catboost"] {
        assert!(kernels(name).contains("trees ("), "{name}: {}", kernels(name));
        assert!(!kernels(name).contains("tract"), "{name}: {}", kernels(name));
    }
    // Strings, a loop, a distance, and columns put together behind a layer are for tract.
    for name in ["mixed", "standard_recurrent", "iris_neighbours", "fraud_v1"] {
        assert!(kernels(name).contains("tract"), "{name}: {}", kernels(name));
    }
}

/// A constant of small uneven numbers.
fn constant(name: &str, dims: &[i64]) -> TensorProto {
    let many = dims.iter().product::<i64>() as usize;
    let values = (0..many).map(|i| ((i * 37 + name.len() * 11) % 19) as f32 / 10.0 - 0.85);
    TensorProto {
        name: name.to_owned(),
        data_type: 1,
        dims: dims.to_vec(),
        float_data: values.collect(),
        ..TensorProto::default()
    }
}

/// A graph as a chain and as tract runs it.
fn both(graph: GraphProto) -> (Option<direct::DirectScorer>, scorer::OnnxScorer, Vec<crate::model::Output>) {
    let model = scan::decode(&encoded(graph)).unwrap();
    let graph = model.graph.as_ref().unwrap();
    let inputs = signature::inputs(graph).unwrap();
    let (general, outputs) = scorer::OnnxScorer::build(&model, &inputs, 0).unwrap();
    let direct = chain::matched(graph, &inputs).map(|m| direct::DirectScorer::new(m, &inputs.inputs));
    (direct, general, outputs)
}

fn float(name: &str, value: f32) -> tract_onnx::pb::AttributeProto {
    tract_onnx::pb::AttributeProto { name: name.to_owned(), f: value, r#type: 1, ..Default::default() }
}

fn int(name: &str, value: i64) -> tract_onnx::pb::AttributeProto {
    tract_onnx::pb::AttributeProto { name: name.to_owned(), i: value, r#type: 2, ..Default::default() }
}

#[test]
fn every_step_of_a_chain_gives_what_tract_gives() {
    let with = |node: NodeProto, attribute| NodeProto { attribute: vec![attribute], ..node };
    let cases: Vec<(&str, Vec<NodeProto>)> = vec![
        ("add, before and behind", vec![node("Add", &["x", "row"], "a"), node("Add", &["one", "a"], "y")]),
        ("sub", vec![node("Sub", &["x", "row"], "a"), node("Sub", &["row", "a"], "y")]),
        ("mul and div", vec![node("Mul", &["x", "row"], "a"), node("Div", &["a", "row"], "y")]),
        ("divide into", vec![node("Exp", &["x"], "a"), node("Div", &["one", "a"], "y")]),
        ("a layer", vec![node("MatMul", &["x", "square"], "a"), node("Add", &["row", "a"], "b"), node("Relu", &["b"], "y")]),
        ("gemm", vec![with(node("Gemm", &["x", "square", "row"], "a"), int("transB", 1)), node("Tanh", &["a"], "y")]),
        (
            "gemm with factors",
            vec![NodeProto {
                attribute: vec![float("alpha", 0.5), float("beta", 2.0)],
                ..node("Gemm", &["x", "square", "row"], "y")
            }],
        ),
        (
            "wide",
            vec![node("MatMul", &["x", "wide"], "a"), node("Sigmoid", &["a"], "b"), node("MatMul", &["b", "tall"], "y")],
        ),
        (
            "activation twice",
            vec![node("MatMul", &["x", "square"], "a"), node("Relu", &["a"], "b"), node("Tanh", &["b"], "y")],
        ),
        ("leaky", vec![with(node("LeakyRelu", &["x"], "y"), float("alpha", 0.2))]),
        ("elu", vec![with(node("Elu", &["x"], "y"), float("alpha", 1.5))]),
        ("sigmoid", vec![node("Sigmoid", &["x"], "y")]),
        ("softmax", vec![with(node("Softmax", &["x"], "y"), int("axis", 1))]),
        ("clip", vec![node("Clip", &["x", "low", "one"], "y")]),
        ("normalisation", vec![node("BatchNormalization", &["x", "row", "row", "row", "positive"], "y")]),
        (
            "needed twice",
            vec![
                node("Tanh", &["x"], "a"),
                node("Identity", &["a"], "b"),
                node("Mul", &["b", "row"], "y"),
                node("Identity", &["a"], "z"),
            ],
        ),
        (
            "reshaped",
            vec![
                node("Relu", &["x"], "a"),
                with(node("Flatten", &["a"], "b"), int("axis", 1)),
                node("Reshape", &["b", "shape"], "y"),
            ],
        ),
        (
            "picked",
            vec![
                with(node("Gather", &["x", "order"], "a"), int("axis", 1)),
                node("Relu", &["a"], "b"),
                with(node("Gather", &["b", "order"], "y"), int("axis", 1)),
            ],
        ),
    ];
    for (name, nodes) in cases {
        let known = |n: &NodeProto| n.op_type != "Exp";
        let fused = nodes.iter().all(known);
        let twice = nodes.iter().any(|n| n.output[0] == "z");
        let integers = |name: &str, values: &[i64]| TensorProto {
            name: name.to_owned(),
            data_type: 7,
            dims: vec![values.len() as i64],
            int64_data: values.to_vec(),
            ..TensorProto::default()
        };
        let mut positive = constant("positive", &[5]);
        positive.float_data.iter_mut().for_each(|x| *x = x.abs() + 0.5);
        let low = TensorProto { float_data: vec![-1.0], ..constant("low", &[]) };
        let one = TensorProto { float_data: vec![1.25], ..constant("one", &[]) };
        let graph = GraphProto {
            node: nodes,
            initializer: vec![
                constant("row", &[5]),
                constant("square", &[5, 5]),
                constant("wide", &[5, 21]),
                constant("tall", &[21, 5]),
                integers("shape", &[-1, 5]),
                integers("order", &[4, 0, 2, 1, 3]),
                positive,
                low,
                one,
            ],
            input: vec![matrix("x", 5)],
            output: if twice { vec![matrix("y", 5), matrix("z", 5)] } else { vec![matrix("y", 5)] },
            ..GraphProto::default()
        };
        let (direct, general, outputs) = both(graph);
        assert_eq!(direct.is_some(), fused, "{name}");
        assert!(direct.is_none_or(|d| d.agrees(&general, &outputs)), "{name}");
    }
}

#[test]
fn a_chain_that_gives_something_else_is_not_used() {
    let graph = |operator: &str| GraphProto {
        node: vec![node(operator, &["x"], "y")],
        input: vec![matrix("x", 3)],
        output: vec![matrix("y", 3)],
        ..GraphProto::default()
    };
    let (direct, general, outputs) = both(graph("Sigmoid"));
    let direct = direct.unwrap();
    assert!(direct.agrees(&general, &outputs));
    let (_, other, _) = both(graph("Tanh"));
    assert!(!direct.agrees(&other, &outputs));
}

#[test]
fn a_layer_that_is_too_wide_for_a_block_is_left_to_tract() {
    let graph = |width: i64| GraphProto {
        node: vec![node("MatMul", &["x", "a"], "h"), node("Relu", &["h"], "r"), node("MatMul", &["r", "b"], "y")],
        input: vec![matrix("x", 2)],
        output: vec![matrix("y", 1)],
        initializer: vec![constant("a", &[2, width]), constant("b", &[width, 1])],
        ..GraphProto::default()
    };
    assert!(both(graph(1 << 10)).0.is_some());
    assert!(both(graph(1 << 15)).0.is_none());
}

#[test]
fn damaged_bytes_are_errors_and_never_panics() {
    for name in ["fraud_v2", "mixed", "operators", "iris_mlp"] {
        let good = bytes(name);
        for cut in (0..good.len()).step_by(97) {
            assert!(Onnx.load(&good[..cut]).is_err(), "{name} cut at {cut}");
        }
        for at in (0..good.len()).step_by(41) {
            let mut bad = good.clone();
            bad[at] ^= 0x15;
            // Whatever this makes of the file, loading it returns.
            let _ = Onnx.load(&bad);
        }
    }
    // A million empty nodes in two bytes each would decode to gigabytes.
    let mut bomb = vec![0x08, 8, 0x3a];
    let nodes = [0x0a, 0x00].repeat(1 << 20);
    prost::encoding::encode_varint(nodes.len() as u64, &mut bomb);
    bomb.extend(nodes);
    assert!(reason(&bomb).contains("bytes of memory"));
}

#[test]
fn onnx_is_told_from_other_files() {
    assert!(Onnx.sniff(&bytes("fraud_v1")));
    assert!(Onnx.sniff(&bytes("broken")));
    // A TensorFlow SavedModel, a frozen graph, XML, nothing, and a JPEG.
    for other in
        [&[0x08, 1, 0x12, 3, 0x0a, 1, 0x0a][..], &[0x0a, 2, 0x0a, 0], b"<?xml version=\"1.0\"?>", b"", &[0xff, 0xd8, 0xff]]
    {
        assert!(!Onnx.sniff(other), "{other:?}");
    }
}

#[test]
fn a_constant_model_answers_its_constant() {
    for inputs in [1, 3] {
        let loaded = Onnx.load(&constant_model(0.25, inputs)).unwrap();
        assert_eq!(loaded.signature.inputs[0].width, inputs);
        for rows in [1, 64, 200] {
            let values: ArrayRef = Arc::new(Float32Array::from(vec![3.5; rows * inputs]));
            let field = Arc::new(Field::new_list_field(DataType::Float32, true));
            let x: ArrayRef =
                if inputs == 1 { values } else { Arc::new(FixedSizeListArray::new(field, inputs as i32, values, None)) };
            let outputs = loaded.scorer.score(&[x], rows).unwrap();
            assert_eq!(outputs[0].as_ref(), &Float32Array::from(vec![0.25; rows]) as &dyn Array);
        }
    }
}

#[test]
fn several_threads_share_one_scorer() {
    let loaded = load("mlp_11_32_16_1");
    let case: Value = serde_json::from_slice(&std::fs::read(folder().join("mlp_11_32_16_1.json")).unwrap()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| compare(&loaded, &case).unwrap());
        }
    });
}
