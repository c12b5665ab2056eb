//! Dead letters: for each reason the original exactly once, with the facts in headers, in the commit of its epoch.

use prost::Message;
use serde_json::{Value, json};
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension::Value as Dim};
use tract_onnx::pb::type_proto::{Tensor, Value as Kind};
use tract_onnx::pb::{
    GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
};

use crate::harness::Place;

const LETTERS: &str = "vatic-dead-letters";

/// A model that looks its one INT64 feature up in a table of four: any other number is a scoring error.
pub fn lookup_model() -> Vec<u8> {
    let dim = |value| Dimension { value: Some(value), ..Dimension::default() };
    let matrix = |name: &str, kind: DataType| {
        let shape = TensorShapeProto { dim: vec![dim(Dim::DimParam("N".to_owned())), dim(Dim::DimValue(1))] };
        let tensor = Tensor { elem_type: kind as i32, shape: Some(shape) };
        ValueInfoProto {
            name: name.to_owned(),
            r#type: Some(TypeProto { value: Some(Kind::TensorType(tensor)), ..TypeProto::default() }),
            ..ValueInfoProto::default()
        }
    };
    let table = TensorProto {
        name: "table".to_owned(),
        data_type: DataType::Float as i32,
        dims: vec![4],
        float_data: vec![0.5, 1.5, 2.5, 3.5],
        ..TensorProto::default()
    };
    let gather = NodeProto {
        op_type: "Gather".to_owned(),
        input: vec!["table".to_owned(), "x".to_owned()],
        output: vec!["y".to_owned()],
        ..NodeProto::default()
    };
    let graph = GraphProto {
        name: "lookup".to_owned(),
        node: vec![gather],
        initializer: vec![table],
        input: vec![matrix("x", DataType::Int64)],
        output: vec![matrix("y", DataType::Float)],
        ..GraphProto::default()
    };
    let model = ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 17 }],
        graph: Some(graph),
        ..ModelProto::default()
    };
    model.encode_to_vec()
}

/// The letters' (reason, value), ordered.
fn reasons(place: &Place) -> Vec<(String, String)> {
    let mut reasons: Vec<_> = place
        .records(LETTERS)
        .iter()
        .map(|letter| (text(&letter["headers"]["vatic.reason"]), text(&letter["value"])))
        .collect();
    reasons.sort();
    reasons
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn number(line: &str) -> i64 {
    serde_json::from_str::<Value>(line).unwrap()["n"].as_i64().unwrap()
}

#[test]
fn every_reason_has_its_letter_exactly_once() {
    let place = Place::new();
    place.file("lookup.onnx", lookup_model());
    place.ok(&["publish", "lookup", "lookup.onnx"]);
    place.ok(&["topic", "create", "src", "--partitions", "3"]);
    place.ok(&["topic", "create", "dst", "--config", "max.message.bytes=2000"]);
    let large = format!("{{\"n\":2,\"d\":1,\"t\":\"{}\"}}", "x".repeat(2500));
    let bad = [
        ("decode", "not JSON at all"),
        ("decode", r#"{"n":1,"d":1,"t":7}"#),
        ("decode", r#"{"n":1.5,"d":1}"#),
        ("null", r#"{"d":1,"t":"no n"}"#),
        ("expression", r#"{"n":1,"d":0,"t":"1/0"}"#),
        ("score", r#"{"n":99,"d":1,"t":"not in the table"}"#),
        ("too_large", large.as_str()),
    ];
    let mut lines = Vec::new();
    for round in 0..40 {
        lines.push(format!("k{round}|{{\"n\":{},\"d\":1,\"t\":\"good {round}\"}}", round % 4));
        if let Some((_, value)) = bad.get(round / 5).filter(|_| round % 5 == 0) {
            lines.push(format!("bad{round}|{value}"));
        }
    }
    let produced = place.piped(&["produce", "src", "--key-separator", "|"], &(lines.join("\n") + "\n"));
    assert_eq!(produced.code, 0, "{produced:#?}");
    place.file(
        "q.sql",
        "CREATE TABLE src (n BIGINT NOT NULL, d BIGINT, t VARCHAR);
         CREATE TABLE dst (n BIGINT, q BIGINT, p DOUBLE, t VARCHAR);
         INSERT INTO dst SELECT n, n / d AS q, score('lookup', n) AS p, t FROM src;",
    );
    let ended = place.vatic(&["run", "--until-end", "q.sql"]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert!(ended.err.contains("job \"q.dst\" finished: 47 rows in, 40 out, 7 dead letters"), "{ended:#?}");
    let mut expected: Vec<_> = bad.iter().map(|(reason, value)| ((*reason).to_owned(), (*value).to_owned())).collect();
    expected.sort();
    assert_eq!(reasons(&place), expected);

    // The good ones, each once, scored; in the order of their partition.
    let values = place.values("dst");
    let mut good: Vec<String> = values.iter().map(|v| text(&serde_json::from_str::<Value>(v).unwrap()["t"])).collect();
    good.sort();
    let mut wanted: Vec<String> = (0..40).map(|round| format!("good {round}")).collect();
    wanted.sort();
    assert_eq!(good, wanted);
    assert!(values.iter().all(|v| serde_json::from_str::<Value>(v).unwrap()["p"] == json!(number(v) as f64 + 0.5)));

    // Each letter tells where its original was, and the original is there: key, value and time.
    let originals = place.records("src");
    for letter in place.records(LETTERS) {
        let headers = letter["headers"].as_object().unwrap();
        let names: Vec<&str> = headers.keys().map(String::as_str).collect();
        let all = [
            "vatic.job",
            "vatic.topic",
            "vatic.partition",
            "vatic.offset",
            "vatic.timestamp",
            "vatic.reason",
            "vatic.error",
        ];
        assert_eq!(names, all);
        assert_eq!((&headers["vatic.job"], &headers["vatic.topic"]), (&json!("q.dst"), &json!("src")));
        assert_ne!(headers["vatic.error"], "");
        let place_of = |name: &str| text(&headers[name]).parse::<i64>().unwrap();
        let original = originals
            .iter()
            .find(|r| r["partition"] == place_of("vatic.partition") && r["offset"] == place_of("vatic.offset"))
            .unwrap();
        assert_eq!((&original["key"], &original["value"]), (&letter["key"], &letter["value"]));
        assert_eq!(original["timestamp"], place_of("vatic.timestamp"));
    }
    let topic = place.ok(&["topic", "describe", LETTERS]);
    assert!(topic.starts_with("topic \"vatic-dead-letters\": partitions 1,"), "{topic}");
    assert!(topic.contains("604800000") && topic.contains("67108864"), "{topic}");

    // Read again, they are not judged again.
    assert_eq!(place.vatic(&["run", "--until-end", "q.sql"]).code, 0);
    assert_eq!((reasons(&place).len(), place.records("dst").len()), (7, 40));
}

#[test]
fn a_letter_keeps_key_value_and_headers_as_they_were() {
    let place = Place::new();
    place.file("bytes", b"\xff\x01|\xfe{\n");
    place.ok(&["produce", "src", "bytes", "--key-separator", "|"]);
    let sql = "CREATE TABLE src (n VARCHAR, h MAP<VARCHAR, BYTEA> METADATA FROM 'headers');
               INSERT INTO src (n, h) VALUES ('not a number', MAP {'trace': X'00ff', 'vatic.reason': X'41'})";
    place.ok(&["sql", sql]);
    place.file("q.sql", "CREATE TABLE src (n BIGINT); CREATE TABLE dst (n BIGINT); INSERT INTO dst SELECT n FROM src;");
    assert_eq!(place.vatic(&["run", "--until-end", "q.sql"]).code, 0);
    let letters = place.records(LETTERS);
    assert_eq!(letters.len(), 2);
    assert_eq!((&letters[0]["key"], &letters[0]["value"]), (&json!({"base64": "/wE="}), &json!({"base64": "/ns="})));
    assert_eq!(letters[1]["headers"]["trace"], json!({"base64": "AP8="}));
    assert_eq!(letters[1]["headers"]["vatic.reason"], json!(["A", "decode"]));
}

#[test]
fn bad_records_are_skipped_or_end_the_job_where_the_table_says() {
    let place = Place::new();
    place.produce("src", &[r#"{"n":1}"#, "bad", r#"{"n":0}"#, r#"{"n":2}"#]);
    let job = |policy: &str| {
        format!(
            "CREATE TABLE src (n BIGINT) WITH (bad_records = '{policy}');
             CREATE TABLE {policy} (n BIGINT); INSERT INTO {policy} SELECT 2 / n AS n FROM src;"
        )
    };
    place.file("skip.sql", job("skip"));
    let skipped = place.vatic(&["run", "--until-end", "skip.sql"]);
    assert_eq!(skipped.code, 0, "{skipped:#?}");
    assert!(skipped.err.contains("4 rows in, 2 out, 0 dead letters"), "{skipped:#?}");
    assert!(!place.ok(&["topic", "list"]).contains(LETTERS), "a job that writes no letters makes no topic");

    place.file("fail.sql", job("fail"));
    for _ in 0..2 {
        let failed = place.vatic(&["run", "--until-end", "fail.sql"]);
        assert_eq!(failed.code, 1, "{failed:#?}");
        assert!(failed.err.contains("job \"fail.fail\"") && failed.err.contains("partition 0 offset 1"), "{failed:#?}");
        assert_eq!(place.records("fail").len(), 0, "its epoch is not committed");
    }
    // Without --until-end it ends as well, with the same code.
    assert_eq!(place.vatic(&["run", "fail.sql"]).code, 1);
    assert!(!place.ok(&["topic", "list"]).contains(LETTERS));
}

#[test]
fn a_scoring_error_does_what_the_setting_says() {
    let place = Place::new();
    place.file("lookup.onnx", lookup_model());
    place.ok(&["publish", "lookup", "lookup.onnx"]);
    place.produce("src", &[r#"{"n":1}"#, r#"{"n":-7}"#, r#"{"n":3}"#]);
    let run = |setting: &str| {
        let file = format!("{setting}.sql");
        let text = format!(
            "SET score.on_error = '{setting}'; CREATE TABLE src (n BIGINT); CREATE TABLE {setting}_out (n BIGINT, p DOUBLE);
             INSERT INTO {setting}_out SELECT n, score('lookup', n) AS p FROM src;"
        );
        place.file(&file, text);
        place.vatic(&["run", "--until-end", &file])
    };
    assert_eq!(run("null").code, 0);
    let with_null = [r#"{"n":1,"p":1.5}"#, r#"{"n":-7,"p":null}"#, r#"{"n":3,"p":3.5}"#];
    assert_eq!(place.values("null_out"), with_null);
    let failed = run("fail");
    assert_eq!(failed.code, 1, "{failed:#?}");
    assert!(failed.err.contains("offset 1"), "{failed:#?}");
    assert_eq!(place.records("fail_out").len(), 0);
    assert_eq!(run("dead_letter").code, 0);
    assert_eq!(place.values("dead_letter_out"), [with_null[0], with_null[2]]);
    assert_eq!(reasons(&place), [("score".to_owned(), r#"{"n":-7}"#.to_owned())]);
}
