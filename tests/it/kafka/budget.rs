//! Memory stays within the budget while a large backlog on many partitions waits and nothing can be committed.
//!
//! As `crate::budget`, with a real Kafka: records wait in librdkafka, too, which has limits of its own per partition.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use vatic::config::Options;
use vatic::connector::Commit;
use vatic::connector::kafka::Kafka;

use super::cluster;
use crate::conformance::{output, sink, topic, values};
use crate::rig::{Rig, Script, Scripted, until};

/// The variables that turn this test binary into the process under test.
const ADDRESS: &str = "VATIC_TEST_BUDGET_KAFKA";
const TOPIC: &str = "VATIC_TEST_BUDGET_TOPIC";
const PARTITIONS: i32 = 60;
/// Small records: what librdkafka needs beside them counts most.
const ROWS: usize = 600_000;
const BUDGET: usize = 16 << 20;
/// What the process may need beside its budget, of memory that is its own: the program's code is not counted, of which a debug
/// build has several times as much.
const BESIDE: usize = 50 << 20;
/// How long nothing is committed, and all that can be read ahead is.
const STALL: Duration = Duration::from_secs(6);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_on_many_partitions_does_not_fill_the_memory() {
    let Some(cluster) = cluster::shared() else { return };
    let broker = cluster.open();
    let input = topic(&broker, PARTITIONS, &[]).await;
    let mut writer = sink(&broker, None).await;
    let each = ROWS / usize::try_from(PARTITIONS).unwrap();
    for partition in 0..PARTITIONS {
        let first = usize::try_from(partition).unwrap() * each;
        let lines = (first..first + each).map(|n| format!("{{\"id\":{n},\"s\":\"{}\"}}", "x".repeat(100)));
        let outputs = vec![output(&input, partition, values(lines))];
        writer.commit(Commit { outputs, ..Commit::default() }).await.unwrap();
    }
    drop(writer);

    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kafka::budget::child", "--nocapture"])
        .env(ADDRESS, cluster.address())
        .env(TOPIC, &input)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > STALL + Duration::from_secs(180) {
            child.kill().unwrap();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stdout).into_owned() + &String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success() && said.contains("MB at most"), "{said}");
    println!("{said}");
}

/// Not a test by itself: the process that the test above starts.
#[test]
fn child() {
    let (Ok(address), Ok(input)) = (std::env::var(ADDRESS), std::env::var(TOPIC)) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(run(&address, &input));
}

async fn run(address: &str, input: &str) {
    let broker = Kafka::open(address, &Options::default()).unwrap();
    let script = Arc::new(Script::default());
    let scripted = Scripted { broker, script: Arc::clone(&script) };
    let mut rig = Rig::over(Arc::new(scripted)).until_end();
    script.held.store(true, Ordering::SeqCst);
    let job = rig
        .job(&format!(
            "SET memory.budget = '16MB'; SET job.name = '{input}';
             CREATE TABLE i (id BIGINT, s VARCHAR) WITH (connector = 'kafka', topic = '{input}');
             CREATE TABLE o WITH (connector = 'kafka', topic = '{input}-out', \"topic.partitions\" = '2')
             AS SELECT id, s FROM i"
        ))
        .await;
    until("a commit has begun", async || script.begun.load(Ordering::SeqCst) == 1).await;
    let (begun, mut most) = (Instant::now(), 0);
    while begun.elapsed() < STALL {
        most = most.max(resident());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let read = job.metrics().rows_in;
    assert!(read < ROWS as u64, "everything was read: the budget did not hold it up");
    script.held.store(false, Ordering::SeqCst);
    while !job.status().ended() {
        most = most.max(resident());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    job.wait().await.unwrap();
    assert_eq!(job.metrics().rows_out, ROWS as u64);
    println!("{} MB at most; {read} rows read while nothing was committed", most >> 20);
    assert!(most < BUDGET + BESIDE, "{} MB resident", most >> 20);
}

/// This process's anonymous resident memory in bytes.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}
