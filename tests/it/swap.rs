//! Models change under running queries: every row is scored by exactly one version, versions never go back, and a version that
//! cannot be used never displaces one that can.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use vatic::connector::Broker;
use vatic::connector::embedded::Embedded;

use crate::conformance::{output, sink, values};
use crate::models::constant_model;
use crate::rig::{Rig, until};

fn embedded() -> (Arc<dyn Broker>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (Embedded::open(dir.path()).unwrap(), dir)
}

const PARTITIONS: i32 = 8;

/// Writes small batches to every partition until told to stop; how many rows each partition got.
async fn produce(broker: Arc<dyn Broker>, stop: Arc<AtomicBool>) -> i64 {
    let mut sink = sink(&broker, None).await;
    let mut rows = 0;
    while !stop.load(Ordering::SeqCst) {
        let lines: Vec<String> = (rows..rows + 5).map(|n| json!({"x": n}).to_string()).collect();
        let outputs = (0..PARTITIONS).map(|p| output("t", p, values(&lines))).collect();
        sink.commit(vatic::connector::Commit { outputs, ..Default::default() }).await.unwrap();
        rows += 5;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    rows
}

const JOB: &str = "
    CREATE TABLE t (x DOUBLE, p INT METADATA FROM 'partition', o BIGINT METADATA FROM 'offset') WITH (connector = 'kafka');
    CREATE TABLE out WITH (connector = 'kafka') AS
      SELECT p, o, predict('m', x).version AS v, score('m', x) AS s FROM t WHERE score('m', x) > 0";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_versions_while_rows_flow() {
    let (broker, _dir) = embedded();
    let publisher = Rig::over(Arc::clone(&broker));
    publisher.topic("t", PARTITIONS).await;
    // Version -> what it answers. Broken versions answer nothing.
    let mut answers = BTreeMap::new();
    answers.insert(publisher.publish("m", constant_model(1.0, 1)).await, 1.0);

    let stop = Arc::new(AtomicBool::new(false));
    let producer = tokio::spawn(produce(Arc::clone(&broker), Arc::clone(&stop)));
    let mut rig = Rig::over(Arc::clone(&broker));
    let mut job = rig.job(JOB).await;
    for n in 2..=50_u16 {
        if n % 10 == 0 {
            publisher.publish("m", format!("no model at all, {n}")).await;
        }
        let answer = f32::from(n);
        let version = publisher.publish("m", constant_model(answer, 1)).await;
        answers.insert(version, f64::from(answer));
        if n == 25 {
            job.stop();
            job.wait().await.unwrap();
            drop(rig);
            rig = Rig::over(Arc::clone(&broker)); // a new process: its registry starts from nothing
            job = rig.job(JOB).await;
        }
        if n % 4 == 0 || n == 50 {
            let live = version as i64;
            until("the version is used", async || {
                let newest = rig.rows("SELECT max(v) AS v FROM topic('out')").await;
                newest.is_ok_and(|rows| rows[0]["v"].as_i64() >= Some(live))
            })
            .await;
        }
    }
    stop.store(true, Ordering::SeqCst);
    let rows = producer.await.unwrap();
    job.stop();
    job.wait().await.unwrap();
    drop(rig);
    let mut rest = Rig::over(Arc::clone(&broker)).until_end();
    rest.job(JOB).await.wait().await.unwrap();

    let mut seen = BTreeSet::new();
    let mut last: BTreeMap<i64, (i64, u64)> = BTreeMap::new();
    for row in rest.values("out").await {
        let (p, o, v) = (row["p"].as_i64().unwrap(), row["o"].as_i64().unwrap(), row["v"].as_u64().unwrap());
        assert_eq!(row["s"].as_f64(), answers.get(&v).copied(), "{row}");
        let (offset, version) = last.insert(p, (o, v)).unwrap_or((-1, 0));
        assert_eq!(o, offset + 1, "a row lost or twice in partition {p}");
        assert!(v >= version, "version {v} after {version} in partition {p}");
        seen.insert(v);
    }
    assert_eq!(last.len(), usize::try_from(PARTITIONS).unwrap());
    assert!(last.values().all(|(o, _)| o + 1 == rows), "{rows}: {last:?}");
    assert!(seen.len() >= 10, "{seen:?}");
    assert_eq!(seen.last(), answers.keys().last());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_successor_waits_for_the_version_of_its_predecessor() {
    let (broker, _dir) = embedded();
    let mut rig = Rig::over(Arc::clone(&broker));
    rig.topic("t", 2).await;
    for n in 1..=3 {
        rig.publish("m", constant_model(n as f32, 1)).await;
    }
    rig.produce("t", 0, ["{\"x\": 1}"]).await;
    let job = rig.job(JOB).await;
    until("the first row", async || rig.values("out").await.len() == 1).await;
    job.stop();
    job.wait().await.unwrap();
    // The newest version is a broken one now, and the one before fits still.
    rig.publish("m", "broken").await;
    drop(rig);
    for partition in 0..2 {
        let writer = Rig::over(Arc::clone(&broker));
        writer.produce("t", partition, ["{\"x\": 1}"]).await;
    }
    let mut rig = Rig::over(Arc::clone(&broker)).until_end();
    rig.job(JOB).await.wait().await.unwrap();
    let versions: Vec<Value> = rig.values("out").await.iter().map(|row| row["v"].clone()).collect();
    assert_eq!(versions, [3, 3, 3]);
    let positions = broker.positions("vatic-out", &[]).await.unwrap();
    assert_eq!(positions.len(), 2);
    for position in positions {
        let record: Value = serde_json::from_str(&position.metadata).unwrap();
        assert_eq!(record["models"], json!({"m": 3}));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_from_a_column_and_pinned_versions() {
    let (broker, _dir) = embedded();
    let mut rig = Rig::over(Arc::clone(&broker));
    rig.topic("t", 1).await;
    rig.publish("a", constant_model(1.0, 1)).await;
    rig.publish("b", constant_model(10.0, 1)).await;
    let job = rig
        .job(
            "CREATE TABLE t (id BIGINT, m VARCHAR, x DOUBLE) WITH (connector = 'kafka');
             CREATE TABLE out WITH (connector = 'kafka') AS
               SELECT id, score(m, x) AS s, score('a:1', x) AS pinned, score('a', x) AS newest FROM t",
        )
        .await;
    let lines = |from: i64| {
        let names = ["a", "b", "a:1", "zzz", "no name at all!"];
        let mut lines: Vec<String> =
            (from..).zip(names).map(|(id, m)| json!({"id": id, "m": m, "x": 0.5}).to_string()).collect();
        lines.push(json!({"id": from + 5, "m": null, "x": 0.5}).to_string());
        lines
    };
    rig.produce("t", 0, lines(0)).await;
    until("six rows", async || rig.values("out").await.len() == 6).await;
    rig.publish("a", constant_model(2.0, 1)).await;
    until("version 2 is live", async || {
        let rows = rig.rows("SELECT status FROM models WHERE name = 'a' AND version = 2").await.unwrap();
        rows[0]["status"] == "live"
    })
    .await;
    rig.produce("t", 0, lines(6)).await;
    until("twelve rows", async || rig.values("out").await.len() == 12).await;
    job.stop();
    job.wait().await.unwrap();
    let rows = rig.values("out").await;
    let column = |name: &str| rows.iter().map(|row| row[name].as_f64()).collect::<Vec<_>>();
    let first = [Some(1.0), Some(10.0), Some(1.0), None, None, None];
    let second = [Some(2.0), Some(10.0), Some(1.0), None, None, None];
    assert_eq!(column("s"), [first, second].concat());
    assert_eq!(column("pinned"), [Some(1.0); 12]);
    assert_eq!(column("newest"), [[Some(1.0); 6], [Some(2.0); 6]].concat());
    // Said once, however often it is met.
    assert_eq!(rig.said_times("zzz"), 1, "{:?}", rig.said());
    assert_eq!(rig.said_times("no name at all!"), 1, "{:?}", rig.said());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_does_not_fit_is_rejected() {
    let (broker, _dir) = embedded();
    let mut rig = Rig::over(Arc::clone(&broker));
    rig.topic("t", 1).await;
    rig.publish("m", constant_model(1.0, 1)).await;
    let job = rig
        .job(
            "CREATE TABLE t (x DOUBLE) WITH (connector = 'kafka');
             CREATE TABLE out WITH (connector = 'kafka') AS SELECT score('m', x) AS s FROM t",
        )
        .await;
    let statuses = async |rig: &mut Rig| -> Vec<String> {
        let rows = rig.rows("SELECT version, status FROM models WHERE name = 'm' ORDER BY version").await.unwrap();
        rows.iter().map(|row| row["status"].as_str().unwrap().to_owned()).collect()
    };
    rig.publish("m", constant_model(2.0, 3)).await;
    rig.publish("m", "broken").await;
    assert_eq!(statuses(&mut rig).await, ["live", "rejected", "failed"]);
    let rows = rig.rows("SELECT error FROM models WHERE name = 'm' AND version = 2").await.unwrap();
    assert!(rows[0]["error"].as_str().unwrap().contains('3'), "{rows:?}");
    rig.produce("t", 0, ["{\"x\": 1}"]).await;
    until("a row", async || rig.values("out").await.len() == 1).await;
    // One that fits goes live, past the others.
    rig.publish("m", constant_model(4.0, 1)).await;
    until("version 4 is live", async || statuses(&mut rig).await == ["ready", "rejected", "failed", "live"]).await;
    rig.produce("t", 0, ["{\"x\": 1}"]).await;
    until("two rows", async || rig.values("out").await.len() == 2).await;
    let scores: Vec<Value> = rig.values("out").await.iter().map(|row| row["s"].clone()).collect();
    assert_eq!(scores, [json!(1.0), json!(4.0)]);
    // The job said what became of each.
    for (version, why) in [(2, "is not used (rejected): "), (3, "is not used (failed): ")] {
        assert_eq!(rig.said_times(&format!("version {version} of model \"m\" {why}")), 1, "{:?}", rig.said());
    }
    assert_eq!(rig.said_times("model \"m\" goes on as version 4"), 1, "{:?}", rig.said());
    job.stop();
    job.wait().await.unwrap();
    // Nobody objects any more.
    assert_eq!(statuses(&mut rig).await[1], "ready");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newest_version_that_does_not_fit_keeps_no_job_from_beginning() {
    let (broker, _dir) = embedded();
    let rig = Rig::over(Arc::clone(&broker));
    rig.topic("t", 1).await;
    rig.publish("m", constant_model(1.0, 1)).await;
    rig.publish("m", constant_model(2.0, 3)).await;
    // A process that begins, or begins again after a crash, finds both.
    let mut rig = Rig::over(Arc::clone(&broker));
    let table = "CREATE TABLE t (x DOUBLE) WITH (connector = 'kafka');";
    let job =
        rig.job(&format!("{table} CREATE TABLE out WITH (connector = 'kafka') AS SELECT score('m', x) AS s FROM t")).await;
    assert_eq!(rig.said_times("version 2 of model \"m\" is not used (rejected): "), 1, "{:?}", rig.said());
    assert_eq!(rig.said_times("the query begins with version 1"), 1, "{:?}", rig.said());
    rig.produce("t", 0, ["{\"x\": 1}"]).await;
    until("a row", async || rig.values("out").await.len() == 1).await;
    rig.publish("m", constant_model(3.0, 1)).await;
    until("version 3 is live", async || rig.said_times("goes on as version 3") == 1).await;
    rig.produce("t", 0, ["{\"x\": 1}"]).await;
    until("two rows", async || rig.values("out").await.len() == 2).await;
    let scores: Vec<Value> = rig.values("out").await.iter().map(|row| row["s"].clone()).collect();
    assert_eq!(scores, [json!(1.0), json!(3.0)]);
    job.stop();
    job.wait().await.unwrap();
    // Where no version fits, the newest one says why.
    let mut rig = Rig::over(Arc::clone(&broker));
    let wide = format!("{table} CREATE TABLE wide WITH (connector = 'kafka') AS SELECT score('m', x, x) AS s FROM t");
    let error = rig.rows(&wide).await.unwrap_err();
    assert!(error.message().contains("m:3") && error.message().contains('2'), "{error:?}");
}
