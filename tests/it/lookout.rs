//! What is said of a job that waits, and how often is asked for what is not there.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt;
use vatic::connector::embedded::Embedded;
use vatic::engine::Outcome;

use crate::rig::{Rig, Script, Scripted, until};

const COPY: &str = "CREATE TABLE i (id BIGINT); CREATE TABLE o (id BIGINT); INSERT INTO o SELECT id FROM i";

fn rig(script: Script) -> (Rig, Arc<Script>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let script = Arc::new(script);
    let broker = Embedded::open(dir.path()).unwrap();
    (Rig::over(Arc::new(Scripted { broker, script: Arc::clone(&script) })), script, dir)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_without_an_answer_is_told_of() {
    let (mut rig, script, _dir) = rig(Script::default());
    rig.topic("i", 1).await;
    let job = rig.job(COPY).await;
    script.held.store(true, Ordering::SeqCst);
    rig.produce("i", 0, ["{\"id\":1}"]).await;
    let waits = "waiting: the broker has not answered a commit for ";
    until("the status to say so", async || job.status().to_string().starts_with(waits)).await;
    until("a notice", async || rig.said_times("job \"o\" waits: the broker has not answered a commit for 5 s") == 1).await;
    assert_eq!(rig.said_times("goes on: "), 0);
    let jobs = rig.rows("SHOW JOBS").await.unwrap();
    assert!(jobs[0]["status"].as_str().unwrap().starts_with(waits), "{jobs:?}");
    script.held.store(false, Ordering::SeqCst);
    until("a notice", async || rig.said_times("job \"o\" goes on: the broker has answered the commit") == 1).await;
    assert_eq!((job.status().to_string().as_str(), rig.said_times("has not answered")), ("running", 1));
    job.stop();
    job.wait().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn lag_is_that_of_the_partitions_a_process_has() {
    // One row of each partition is read, then partition 0 goes to another process.
    let script = Script { cuts: vec![2], revokes_after: Some(1), ..Script::default() };
    let (mut rig, _script, _dir) = rig(script);
    rig.topic("i", 2).await;
    for partition in 0..2 {
        let rows = if partition == 0 { 100 } else { 10 };
        rig.produce("i", partition, (0..rows).map(|id| format!("{{\"id\":{id}}}"))).await;
    }
    let job = rig.job(COPY).await;
    until("the lag of partition 1 alone", async || job.metrics().lag == Some(9)).await;
    job.stop();
    job.wait().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_topic_that_is_not_there_is_asked_for_ever_less_often() {
    let (mut rig, script, _dir) = rig(Script { look_again: Duration::from_secs(60), ..Script::default() });
    // Whoever asks for models starts to follow their topic.
    assert!(rig.rows("SELECT name FROM models").await.unwrap().is_empty());
    let before = script.asked.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let asked = script.asked.load(Ordering::SeqCst) - before;
    assert!(asked <= 6, "it was asked {asked} times in 2 s");
    // The process that makes the topic need not wait for the next look.
    let model = std::fs::read(crate::harness::model("fraud_v1.onnx")).unwrap();
    assert_eq!(rig.publish("fraud", model).await, 1);
    assert_eq!(rig.rows("SELECT version FROM models").await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_tells_that_the_broker_is_away_and_that_it_is_back() {
    let (mut rig, script, _dir) = rig(Script::default());
    rig.topic("i", 1).await;
    let followed = rig.sql("CREATE TABLE i (id BIGINT); SELECT id FROM i EMIT CHANGES").await.unwrap();
    let Outcome::Rows(mut rows) = followed else { panic!("a follower has rows") };
    let away = format!("broker \"{}\" has not answered for ", rig.broker.address());
    script.away.store(true, Ordering::SeqCst);
    until("a warning", async || rig.said_times(&away) == 1).await;
    assert_eq!(
        rig.said_times("waiting for topic \"i\"\nhint: It goes on by itself once the broker is back; Ctrl-C ends it."),
        1
    );
    assert_eq!(rig.said_times("answers again"), 0);
    script.away.store(false, Ordering::SeqCst);
    until("a notice", async || rig.said_times("answers again, after ") == 1).await;
    rig.produce("i", 0, ["{\"id\":1}"]).await;
    assert_eq!(rows.next().await.unwrap().unwrap().num_rows(), 1);
    assert_eq!(rig.said_times(&away), 1);
}
