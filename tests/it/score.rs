//! `vatic score` and `vatic inspect`: files through models, without a broker.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use datafusion::parquet::arrow::ArrowWriter;
use serde_json::Value;

use crate::models::{constant_model, picking_model};

fn model(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found: Vec<PathBuf> =
        ["tests/models", "queries/models"].iter().map(|f| root.join(f).join(format!("{name}.onnx"))).collect();
    found.into_iter().find(|p| p.exists()).unwrap().to_str().unwrap().to_owned()
}

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vatic"));
    command.args(args).current_dir(dir).env_remove("VATIC_BROKER").env("HOME", dir);
    command
}

/// `vatic args...` with `input` on stdin.
fn vatic(dir: &Path, args: &[&str], input: &str) -> Output {
    let mut command = command(dir, args);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Who refuses to start does not read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The output of a command that works.
fn lines(dir: &Path, args: &[&str], input: &str) -> Vec<String> {
    let output = vatic(dir, args, input);
    assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    text(&output.stdout).lines().map(str::to_owned).collect()
}

fn objects(dir: &Path, args: &[&str], input: &str) -> Vec<Value> {
    lines(dir, args, input).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn scores_are_those_of_a_query_and_no_broker_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let rows = "{\"id\":1,\"amount\":900.5,\"hour\":3,\"distance_km\":80,\"tx_last_hour\":9}\n\
                {\"id\":2,\"amount\":3,\"hour\":15,\"distance_km\":1.5,\"tx_last_hour\":0}\n";
    std::fs::write(dir.join("rows.jsonl"), rows).unwrap();
    let fraud = model("fraud_v1");
    let scored = objects(dir, &["score", &fraud, "rows.jsonl", "--format", "json", "--keep", "id"], "");
    assert!(!dir.join(".vatic").exists());
    lines(dir, &["publish", "fraud", &fraud], "");
    lines(dir, &["produce", "t", "rows.jsonl"], "");
    let sql = "SELECT id, predict('fraud', amount, hour, distance_km, tx_last_hour) AS p FROM topic('t') ORDER BY id";
    let asked = objects(dir, &["sql", "--format", "json", sql], "");
    for (row, asked) in scored.iter().zip(&asked) {
        assert_eq!(row["id"], asked["id"]);
        assert_eq!(row["score"], asked["p"]["score"]);
        assert_eq!(row["label"], asked["p"]["label"]);
        assert_eq!(row["p_1"], asked["p"]["probabilities"]["1"]);
    }
    assert_eq!((scored.len(), asked.len()), (2, 2));
}

const FEATURES: &str = "\"amount\":3,\"hour\":15,\"distance_km\":1.5,\"tx_last_hour\":0";

#[test]
fn a_column_that_is_copied_never_costs_a_score() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let fraud = model("fraud_v1");
    // What the first thousand lines suggest does not hold for the last ones.
    let mut rows: Vec<String> =
        (0..1_001).map(|n| format!("{{{FEATURES},\"id\":{n},\"who\":\"n{n}\",\"at\":{{\"x\":1}}}}")).collect();
    rows.push(format!("{{{FEATURES},\"id\":\"x-1\",\"who\":5,\"at\":\"here\"}}"));
    rows.push(format!("{{{FEATURES},\"id\":7,\"who\":null,\"at\":{{\"x\":2}}}}"));
    std::fs::write(dir.join("rows.jsonl"), rows.join("\n")).unwrap();
    let csv = vatic(dir, &["score", &fraud, "rows.jsonl", "--keep", "id,who,at"], "");
    assert_eq!(text(&csv.stderr), "");
    let csv = text(&csv.stdout);
    let lines: Vec<&str> = csv.lines().collect();
    let begins: Vec<&str> = lines[1001..].iter().map(|line| line.split(",0.").next().unwrap()).collect();
    assert_eq!(begins, ["1000,n1000,\"{\"\"x\"\":1}\"", "x-1,5,here", "7,,\"{\"\"x\"\":2}\""]);
    let json = vatic(dir, &["score", &fraud, "rows.jsonl", "--keep", "id,who,at", "--format", "json"], "");
    assert_eq!(
        text(&json.stderr),
        "warning: 1 of 1003 rows lack a column of --keep that has another type there; the first: line 1002: column \"id\": \
         expected BIGINT, found \"x-1\"\nhint: Write CSV, which copies every value as its text: --format csv.\n"
    );
    let json: Vec<Value> = text(&json.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(json.iter().all(|row| row["score"].is_f64()), "every row has its score");
    let odd = &json[1001];
    assert_eq!((&odd["id"], &odd["who"], &odd["at"]), (&Value::Null, &Value::from("5"), &Value::Null));
    assert_eq!((&json[1002]["id"], &json[1002]["at"]["x"]), (&Value::from(7), &Value::from(2)));
}

#[test]
fn columns_that_are_not_used_are_warned_of_and_arrays_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let fraud = model("fraud_v1");
    let told = |input: &str, args: &[&str]| {
        let output = vatic(dir, &[&["score", &fraud, "-"], args].concat(), input);
        assert!(output.status.success(), "{}", text(&output.stderr));
        (text(&output.stdout), text(&output.stderr))
    };
    let (_, said) = told("a,b,c,d,e\n3,15,1.5,0,7\n", &["--quiet"]);
    assert_eq!(
        said,
        "warning: features by position: a, b, c, d; not used: e\nhint: The model takes amount FLOAT, hour BIGINT, distance_km \
         FLOAT, tx_last_hour BIGINT: name the columns so, or take those that are no features out with --keep, which copies them.\n"
    );
    let (kept, said) = told("id,a,b,c,d\n7,3,15,1.5,0\n", &["--keep", "id"]);
    assert_eq!(said, "features by position: a, b, c, d\n");
    // By name nothing is left to chance.
    let (named, said) = told("id,amount,hour,distance_km,tx_last_hour\n7,3,15,1.5,0\n", &[]);
    assert_eq!(said, "");
    assert_eq!(kept.lines().nth(1).unwrap(), format!("7,{}", named.lines().nth(1).unwrap()));
    for array in [format!("[{{{FEATURES}}}]"), format!(" [\n  {{{FEATURES}}}\n]\n"), format!("{{{FEATURES}}}\n")] {
        assert_eq!(told(&array, &[]), (named.clone(), String::new()), "{array}");
    }
}

#[test]
fn every_kind_of_input_gives_the_same_scores() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let csv = "hour,amount,distance_km,tx_last_hour,id\n3,900.5,80,9,7\n15,3.0,1.5,0,8\n";
    let json = "{\"id\":7,\"amount\":900.5,\"hour\":3,\"distance_km\":80,\"tx_last_hour\":9}\n\
                {\"id\":8,\"amount\":3,\"hour\":15,\"distance_km\":1.5,\"tx_last_hour\":0}\n";
    std::fs::write(dir.join("rows.csv"), csv).unwrap();
    std::fs::write(dir.join("rows.tsv"), csv.replace(',', "\t")).unwrap();
    for name in ["rows.json", "rows.jsonl", "rows.ndjson", "without_extension"] {
        std::fs::write(dir.join(name), json).unwrap();
    }
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from(vec![7, 8]))),
        ("amount", Arc::new(Float64Array::from(vec![900.5, 3.0]))),
        ("hour", Arc::new(Int64Array::from(vec![3, 15]))),
        ("tx_last_hour", Arc::new(Int64Array::from(vec![9, 0]))),
        ("distance_km", Arc::new(Float64Array::from(vec![80.0, 1.5]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer =
        ArrowWriter::try_new(std::fs::File::create(dir.join("rows.parquet")).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();

    let fraud = model("fraud_v1");
    let wanted = lines(dir, &["score", &fraud, "rows.csv", "--keep", "id"], "");
    assert_eq!(wanted[0], "id,score,label,p_0,p_1");
    assert!(wanted[1].starts_with("7,0.") && wanted[1].split(',').nth(2) == Some("1"), "{wanted:?}");
    assert!(wanted[2].starts_with("8,0.") && wanted.len() == 3, "{wanted:?}");
    let files = ["rows.tsv", "rows.json", "rows.jsonl", "rows.ndjson", "without_extension", "rows.parquet"];
    for file in files {
        assert_eq!(lines(dir, &["score", &fraud, file, "--keep", "id"], ""), wanted, "{file}");
    }
    for input in [csv, json] {
        assert_eq!(lines(dir, &["score", &fraud, "--keep", "id"], input), wanted);
        assert_eq!(lines(dir, &["score", &fraud, "-", "--keep", "id"], input), wanted);
    }
}

#[test]
fn a_tensor_takes_columns_by_position_or_a_list() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let iris = model("iris_species");
    let csv = "id,a,b,c,d,species\n1,5.1,3.5,1.4,0.2,setosa\n2,6.3,3.3,6.0,2.5,virginica\n";
    let output = vatic(dir, &["score", &iris, "--keep", "id,species"], csv);
    let (out, told) = (text(&output.stdout), text(&output.stderr));
    let rows: Vec<Vec<&str>> = out.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows[0], ["id", "species", "score", "label", "p_setosa", "p_versicolor", "p_virginica"]);
    assert_eq!((rows[1][1], rows[1][3]), ("setosa", "setosa"));
    assert_eq!((rows[2][1], rows[2][3]), ("virginica", "virginica"));
    assert_eq!(told, "features by position: a, b, c, d\n");
    // Quiet about it, if asked to be.
    assert_eq!(text(&vatic(dir, &["score", "-q", &iris, "--keep", "id,species"], csv).stderr), "");
    let list = "{\"v\":[5.1,3.5,1.4,0.2],\"id\":1}\n{\"v\":[6.3,3.3,6,2.5],\"id\":2}\n";
    let listed = objects(dir, &["score", &iris, "--format", "json", "--keep", "id"], list);
    let difference = listed[1]["p_virginica"].as_f64().unwrap() - rows[2][6].parse::<f64>().unwrap();
    assert!(difference.abs() < 1e-12, "{listed:?}");
    // Too few, and text where numbers are taken.
    let few = vatic(dir, &["score", &iris], "a,b\n1,2\n");
    assert_eq!(few.status.code(), Some(1));
    assert!(text(&few.stderr).contains("takes 4 features, 2 were given"), "{}", text(&few.stderr));
    assert!(text(&few.stderr).contains("the input has the columns a, b"), "{}", text(&few.stderr));
    let words = vatic(dir, &["score", &iris], "a,b,c,d\nx,1,2,3\ny,1,2,3\n");
    assert_eq!(words.status.code(), Some(1));
    assert!(text(&words.stderr).contains("\"a\" VARCHAR was given"), "{}", text(&words.stderr));
}

#[test]
fn a_bad_row_keeps_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let header = "id,amount,hour,distance_km,tx_last_hour";
    let csv = format!("{header}\n007,1,2,3,4\nb,oops,2,3,4\nc,,2,3,4\nd,1,2,3\ne,1,2,3,4\n");
    let output = vatic(dir, &["score", &model("fraud_v1"), "--keep", "id"], &csv);
    let out = text(&output.stdout);
    let rows: Vec<Vec<&str>> = out.lines().skip(1).map(|line| line.split(',').collect()).collect();
    // As it was written, with its zeros; the short line has no id that could be known.
    assert_eq!(rows.iter().map(|r| r[0]).collect::<Vec<_>>(), ["007", "b", "c", "", "e"]);
    assert_eq!(rows.iter().map(|r| r[1].is_empty()).collect::<Vec<_>>(), [false, true, true, true, false]);
    let told = text(&output.stderr);
    assert!(told.starts_with("warning: 2 of 5 rows have no score because of an error; the first: line 3: "), "{told}");
    assert!(told.contains("column \"amount\": expected DOUBLE, found \"oops\""), "{told}");
    assert_eq!(output.status.code(), Some(0));
    // A row that the model refuses.
    std::fs::write(dir.join("pick.onnx"), picking_model(&[10.0, 20.0])).unwrap();
    let picked = vatic(dir, &["score", "pick.onnx", "--format", "json"], "{\"i\":1}\n{\"i\":9}\n{\"i\":0}\n{\"i\":null}\n");
    assert_eq!(text(&picked.stdout), "{\"score\":20.0}\n{\"score\":null}\n{\"score\":10.0}\n{\"score\":null}\n");
    assert!(text(&picked.stderr).contains("1 of 4 rows"), "{}", text(&picked.stderr));
    assert!(text(&picked.stderr).contains("line 2"), "{}", text(&picked.stderr));
    let none = vatic(dir, &["score", "pick.onnx"], "i\n7\n8\n");
    assert_eq!((none.status.code(), text(&none.stdout)), (Some(1), "score\n\"\"\n\"\"\n".replace("\"\"", "")));
    assert!(text(&none.stderr).contains("none of 2 rows could be scored"), "{}", text(&none.stderr));
}

#[test]
fn rows_are_scored_while_more_are_coming() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("one.onnx"), constant_model(0.5, 1)).unwrap();
    let mut command = command(dir.path(), &["score", "one.onnx", "--format", "json", "--keep", "n"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let rows: String = (0..3_000).map(|n| format!("{{\"n\":{n},\"x\":{n}.5}}\n")).collect();
    input.write_all(rows.as_bytes()).unwrap();
    input.flush().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    for n in 0..3_000 {
        assert_eq!(output.next().unwrap().unwrap(), format!("{{\"n\":{n},\"score\":0.5}}"));
    }
    input.write_all(b"{\"n\":-1,\"x\":0}\n").unwrap();
    assert_eq!(output.next().unwrap().unwrap(), "{\"n\":-1,\"score\":0.5}");
    drop(input);
    assert!(output.next().is_none());
    assert!(child.wait().unwrap().success());
}

#[test]
fn wrong_usage_and_wrong_files_have_their_exit_codes() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let fraud = model("fraud_v1");
    std::fs::write(dir.join("rows.csv"), "amount,hour,distance_km,tx_last_hour\n").unwrap();
    std::fs::write(dir.join("empty.csv"), "").unwrap();
    let code = |args: &[&str]| vatic(dir, args, "").status.code().unwrap();
    assert_eq!(code(&["score", &fraud, "rows.csv", "--format", "table"]), 2);
    assert_eq!(code(&["score"]), 2);
    assert_eq!(code(&["inspect"]), 2);
    assert_eq!(code(&["score", &fraud, "rows.csv"]), 0);
    assert_eq!(lines(dir, &["score", &fraud, "rows.csv"], ""), ["score,label,p_0,p_1"]);
    assert_eq!(code(&["score", &fraud, "empty.csv"]), 1);
    assert_eq!(code(&["score", &fraud, "none.csv"]), 1);
    assert_eq!(code(&["score", "none.onnx", "rows.csv"]), 1);
    assert_eq!(code(&["score", &model("broken"), "rows.csv"]), 1);
    let kept = vatic(dir, &["score", &fraud, "rows.csv", "--keep", "amuont"], "");
    assert_eq!(kept.status.code(), Some(1));
    assert!(text(&kept.stderr).contains("Did you mean \"amount\"?"), "{}", text(&kept.stderr));
    assert!(!dir.join(".vatic").exists());
}

#[test]
fn inspect_tells_what_a_file_is() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let found = &objects(dir, &["inspect", &model("iris_species"), "--json"], "")[0];
    assert_eq!((&found["usable"], &found["error"], &found["format"]), (&true.into(), &Value::Null, &"onnx".into()));
    assert_eq!(found["producer"], "skl2onnx");
    assert_eq!(found["opsets"]["ai.onnx.ml"], 1);
    assert_eq!((found["size"].as_u64(), found["sha256"].as_str().map(str::len)), (Some(540), Some(64)));
    assert_eq!(found["kind"], "classification");
    assert_eq!(found["classes"], serde_json::json!(["setosa", "versicolor", "virginica"]));
    let input = serde_json::json!({"name": "X", "type": "FLOAT", "shape": [null, 4], "width": 4, "takes_null": false});
    assert_eq!(found["inputs"], serde_json::json!([input]));
    assert_eq!(
        found["outputs"][1],
        serde_json::json!({"name": "probabilities", "type": "FLOAT", "shape": [null, 3], "width": 3})
    );
    assert!(!found["kernels"].as_array().unwrap().is_empty());
    for batch in ["1", "64", "1024"] {
        assert!(found["rows_per_s"][batch].as_f64().unwrap() > 0.0, "{found}");
    }
    let shown = lines(dir, &["inspect", &model("fraud_v1")], "");
    assert!(shown.iter().any(|l| l == "input    amount FLOAT"), "{shown:?}");
    assert!(shown.iter().any(|l| l == "kind     classification"), "{shown:?}");

    let broken = vatic(dir, &["inspect", &model("broken"), "--json"], "");
    assert_eq!(broken.status.code(), Some(1));
    let told: Value = serde_json::from_slice(&broken.stdout).unwrap();
    assert_eq!((&told["usable"], &told["error"]), (&false.into(), &"the file is damaged".into()));
    assert_eq!((&told["format"], &told["inputs"]), (&"onnx".into(), &Value::Null));
    assert!(text(&broken.stderr).contains("the file is damaged"), "{}", text(&broken.stderr));
    let other = vatic(dir, &["inspect", "/etc/hostname"], "");
    assert_eq!(other.status.code(), Some(1));
    assert!(text(&other.stderr).contains("not a model"), "{}", text(&other.stderr));
    assert_eq!(vatic(dir, &["inspect", "none.onnx"], "").status.code(), Some(1));
    assert!(!dir.join(".vatic").exists());
}
