//! Models that are not there, rows that their model fails on, and what the table `models` says of all of them.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use vatic::connector::Broker;
use vatic::connector::embedded::Embedded;
use vatic::engine::{JobStatus, Outcome};
use vatic::error::ErrorKind;

use crate::models::{constant_model, picking_model};
use crate::rig::{Rig, header, until};

async fn rig() -> (Rig, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let broker: Arc<dyn Broker> = Embedded::open(dir.path()).unwrap();
    let rig = Rig::over(broker);
    rig.topic("t", 1).await;
    (rig, dir)
}

/// A session of its own on the same broker and engine.
fn again(rig: &Rig) -> Rig {
    Rig::over(Arc::clone(&rig.broker))
}

const T: &str = "CREATE TABLE t (id BIGINT, m VARCHAR, x DOUBLE, i BIGINT) WITH (connector = 'kafka');";

fn column(rows: &[Value], name: &str) -> Vec<Value> {
    rows.iter().map(|row| row[name].clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_waits_for_its_model_and_reads_nothing() {
    let (mut rig, _dir) = rig().await;
    rig.publish("fraud", constant_model(1.0, 1)).await;
    rig.produce("t", 0, ["{\"id\": 1, \"x\": 1}"]).await;
    let job =
        rig.job(&format!("{T} CREATE TABLE out WITH (connector = 'kafka') AS SELECT score('fruad', x) AS s FROM t")).await;
    until("it waits", async || matches!(job.status(), JobStatus::Waiting(_))).await;
    assert_eq!(rig.said_times("\"fruad\""), 1, "{:?}", rig.said());
    assert_eq!(rig.said_times("Did you mean \"fraud\"?"), 1, "{:?}", rig.said());
    // Other models come and go, and it goes on waiting, without another word.
    rig.publish("other", constant_model(1.0, 1)).await;
    // One that does not fit, and one that is none, do not wake it either.
    rig.publish("fruad", constant_model(2.0, 3)).await;
    rig.publish("fruad", "broken").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(matches!(job.status(), JobStatus::Waiting(_)), "{:?}", job.status());
    assert!(rig.broker.positions("vatic-out", &[]).await.unwrap().is_empty());
    assert_eq!(rig.said_times("reads nothing"), 1, "{:?}", rig.said());
    rig.publish("fruad", constant_model(3.0, 1)).await;
    until("the row", async || rig.values("out").await.len() == 1).await;
    assert_eq!(rig.values("out").await, [json!({"s": 3.0})]);
    assert!(matches!(job.status(), JobStatus::Running));
    job.stop();
    job.wait().await.unwrap();
    // A job that waits can be stopped.
    let job = rig.job("SET job.name = 'second'; INSERT INTO out SELECT score('nothing', x) FROM t").await;
    until("it waits", async || matches!(job.status(), JobStatus::Waiting(_))).await;
    job.stop();
    job.wait().await.unwrap();
    assert!(matches!(job.status(), JobStatus::Stopped));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_missing_model_gives_can_be_chosen() {
    let (mut rig, _dir) = rig().await;
    rig.publish("fraud", constant_model(1.0, 1)).await;
    rig.produce("t", 0, ["{\"id\": 1, \"m\": \"none\", \"x\": 1}", "{\"id\": 2, \"m\": \"fraud\", \"x\": 1}"]).await;
    let score = "SELECT id, score('none', x) AS s FROM t";
    let by_column = "SELECT id, score(m, x) AS s FROM t ORDER BY id";

    // A plain SELECT fails, and says what there is.
    let error = rig.rows(&format!("{T} {score}")).await.unwrap_err();
    assert_eq!(error.kind().to_owned(), ErrorKind::User, "{error:?}");
    assert!(error.get_hint().unwrap().contains("fraud"), "{error:?}");
    assert_eq!(column(&rig.rows(by_column).await.unwrap(), "s"), [Value::Null, json!(1.0)]);
    let nulls = rig.rows(&format!("SET score.missing = 'null'; {score} ORDER BY id")).await.unwrap();
    assert_eq!(column(&nulls, "s"), [Value::Null, Value::Null]);
    let error = rig.rows(&format!("SET score.missing = 'error'; {by_column}")).await.unwrap_err();
    assert!(error.message().contains("\"none\""), "{error:?}");

    // A job until the end: an error, unless told otherwise; also where a job that goes on would wait.
    let mut job = again(&rig).until_end();
    let into = |name: &str| format!("{T} CREATE TABLE {name} WITH (connector = 'kafka') AS {score}");
    let error = job.sql(&into("a")).await.err().unwrap();
    assert!(error.message().contains("\"none\""), "{error:?}");
    assert!(rig.broker.topic("a").await.unwrap().is_none());
    let error = again(&rig).sql(&format!("SET score.missing = 'error'; {}", into("b"))).await.err().unwrap();
    assert_eq!(error.exit_code(), 1);
    let mut job = again(&rig).until_end();
    job.job(&format!("SET score.missing = 'null'; {}", into("c"))).await.wait().await.unwrap();
    assert_eq!(column(&rig.values("c").await, "s"), [Value::Null, Value::Null]);
    assert_eq!(job.said_times("\"none\""), 1, "{:?}", job.said());
    let mut waiting = again(&rig).until_end();
    let job = waiting.job(&format!("SET score.missing = 'wait'; {}", into("d"))).await;
    until("it waits", async || matches!(job.status(), JobStatus::Waiting(_))).await;
    rig.publish("none", constant_model(7.0, 1)).await;
    job.wait().await.unwrap();
    assert_eq!(column(&rig.values("d").await, "s"), [json!(7.0), json!(7.0)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_select_can_wait_too() {
    let (mut rig, _dir) = rig().await;
    rig.produce("t", 0, ["{\"id\": 1, \"x\": 1}"]).await;
    let publisher = again(&rig);
    let publish = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        publisher.publish("late", constant_model(5.0, 1)).await;
    };
    let select = format!("{T} SET score.missing = 'wait'; SELECT score('late', x) AS s FROM t");
    let (rows, ()) = tokio::join!(rig.rows(&select), publish);
    assert_eq!(rows.unwrap(), [json!({"s": 5.0})]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_gives_null_and_says_so_once() {
    let (mut rig, _dir) = rig().await;
    rig.produce("t", 0, (0..20).map(|n| json!({"id": n, "x": n}).to_string())).await;
    let rows = rig
        .rows(
            "CREATE TABLE t (id BIGINT, x DOUBLE) WITH (connector = 'kafka', \"scan.startup\" = 'earliest');
             SET epoch.max_rows = 3;
             SELECT id, score('none', x) AS s FROM t EMIT CHANGES LIMIT 20",
        )
        .await
        .unwrap();
    assert!(rows.len() == 20 && rows.iter().all(|row| row["s"].is_null()), "{rows:?}");
    assert_eq!(rig.said_times("\"none\""), 1, "{:?}", rig.said());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_their_model_fails_on() {
    let (rig, _dir) = rig().await;
    rig.publish("pick", picking_model(&[10.0, 20.0, 30.0])).await;
    // 0, 1, 2 are in the table; NULL is no failure.
    let numbers = [Some(0), Some(7), Some(1), None, Some(2), Some(99), Some(1)];
    let lines = numbers.iter().zip(0..).map(|(i, id)| json!({"id": id, "i": i}).to_string());
    rig.produce("t", 0, lines.collect::<Vec<_>>()).await;
    let into = |name: &str| {
        format!("{T} CREATE TABLE {name} WITH (connector = 'kafka') AS SELECT id, score('pick', i) AS s FROM t")
    };

    let mut job = again(&rig).until_end();
    job.job(&into("a")).await.wait().await.unwrap();
    let rows = rig.values("a").await;
    assert_eq!(column(&rows, "id"), [0, 2, 3, 4, 6]);
    assert_eq!(column(&rows, "s"), [json!(10.0), json!(20.0), Value::Null, json!(30.0), json!(20.0)]);
    let letters = rig.records("vatic-dead-letters").await;
    let told: Vec<_> = letters.iter().map(|(_, l)| (header(l, "vatic.offset"), header(l, "vatic.reason"))).collect();
    assert_eq!(told, [("1".to_owned(), "score".to_owned()), ("5".to_owned(), "score".to_owned())]);

    let mut job = again(&rig).until_end();
    job.job(&format!("SET score.on_error = 'null'; {}", into("b"))).await.wait().await.unwrap();
    let expected = [json!(10.0), Value::Null, json!(20.0), Value::Null, json!(30.0), Value::Null, json!(20.0)];
    assert_eq!(column(&rig.values("b").await, "s"), expected);
    assert_eq!(job.said_times("pick"), 1, "{:?}", job.said());

    let mut job = again(&rig).until_end();
    let failed = job.job(&format!("SET score.on_error = 'fail'; {}", into("c"))).await;
    let error = failed.wait().await.unwrap_err();
    assert_eq!(error.exit_code(), 1);
    assert!(error.message().contains("offset 1"), "{error:?}");
    assert!(rig.values("c").await.is_empty());
    assert_eq!(rig.records("vatic-dead-letters").await.len(), 2);

    // A plain SELECT fails, unless NULL is wanted.
    let select = format!("{T} SELECT id, score('pick', i) AS s FROM t ORDER BY id");
    assert_eq!(again(&rig).rows(&select).await.unwrap_err().exit_code(), 1);
    let rows = again(&rig).rows(&format!("SET score.on_error = 'null'; {select}")).await.unwrap();
    assert_eq!(column(&rows, "s"), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_models() {
    let (mut rig, _dir) = rig().await;
    rig.produce("t", 0, (0..5).map(|n| json!({"id": n, "x": n}).to_string())).await;
    rig.publish("m", constant_model(1.0, 1)).await;
    rig.publish("m", "broken").await;
    rig.publish("m", constant_model(3.0, 1)).await;
    rig.publish("n", constant_model(3.0, 2)).await;
    // The same bytes again are no new version.
    assert_eq!(rig.publish("m", constant_model(3.0, 1)).await, 3);
    let rows = rig.rows(&format!("{T} SELECT score('m', x) AS s FROM t")).await.unwrap();
    assert_eq!(rows.len(), 5);
    let select = "SELECT name, version, status, rows, errors, error, inputs, \"offset\" FROM models ORDER BY name, version";
    let models = rig.rows(select).await.unwrap();
    assert_eq!(column(&models, "name"), ["m", "m", "m", "n"]);
    assert_eq!(column(&models, "version"), [1, 2, 3, 1]);
    assert_eq!(column(&models, "status"), ["ready", "failed", "live", "live"]);
    assert_eq!(column(&models, "rows"), [Value::Null, Value::Null, json!(5), Value::Null]);
    assert_eq!(column(&models, "errors"), [Value::Null, Value::Null, json!(0), Value::Null]);
    assert_eq!(column(&models, "offset"), [0, 1, 2, 3]);
    assert!(models[1]["error"].as_str().is_some() && models[0]["error"].is_null());
    assert!(models[3]["inputs"].as_str().unwrap().contains('2'), "{}", models[3]["inputs"]);
    // A running query cannot read it.
    let Err(error) = rig.sql("SELECT name FROM models EMIT CHANGES").await.map(|_: Outcome| ()) else {
        panic!("it was followed")
    };
    assert_eq!(error.kind(), ErrorKind::User);
}

/// `vatic args...`, to its end; the command line itself bounds none of these.
fn vatic(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vatic"));
    command.args(args).current_dir(dir).env_remove("VATIC_BROKER").env("HOME", dir).stdin(Stdio::null());
    command.output().unwrap()
}

#[test]
fn exit_codes_and_words() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    std::fs::write(dir.join("fraud.onnx"), constant_model(0.5, 1)).unwrap();
    std::fs::write(dir.join("broken.onnx"), "broken").unwrap();
    std::fs::write(dir.join("rows.json"), "{\"x\": 1}\n").unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(vatic(dir, &["publish", "fraud", "fraud.onnx"]).status.success());
    assert!(vatic(dir, &["produce", "t", "rows.json"]).status.success());
    let refused = vatic(dir, &["publish", "fraud", "broken.onnx"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("was not published"), "{}", text(&refused.stderr));
    let forced = vatic(dir, &["publish", "fraud", "broken.onnx", "--force"]);
    assert!(text(&forced.stdout).starts_with("fraud:2 "), "{forced:?}");

    let scored = vatic(dir, &["sql", "--format", "json", "SELECT score('fraud', x) AS s FROM topic('t')"]);
    assert_eq!(text(&scored.stdout).trim(), "{\"s\":0.5}", "{scored:?}");
    let missing = vatic(dir, &["sql", "SELECT score('fruad', x) AS s FROM topic('t')"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("Did you mean \"fraud\"?"), "{}", text(&missing.stderr));
    let wrong = vatic(dir, &["sql", "SELECT score('fraud', x, x) AS s FROM topic('t')"]);
    assert_eq!(wrong.status.code(), Some(1));

    let job = |model: &str| {
        format!(
            "CREATE TABLE t (x DOUBLE) WITH (connector = 'kafka');
             CREATE TABLE out WITH (connector = 'kafka') AS SELECT score('{model}', x) AS s FROM t;"
        )
    };
    std::fs::write(dir.join("missing.sql"), job("fruad")).unwrap();
    let missing = vatic(dir, &["run", "missing.sql", "--until-end"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("fruad"), "{}", text(&missing.stderr));
    std::fs::write(dir.join("there.sql"), job("fraud")).unwrap();
    let done = vatic(dir, &["run", "there.sql", "--until-end"]);
    assert!(done.status.success(), "{done:?}");
    assert_eq!(text(&vatic(dir, &["consume", "out"]).stdout).trim(), "{\"s\":0.5}");
}
