//! Memory stays within the budget while nothing can be committed.
//!
//! The job runs in a process of its own (this test binary again), so that its memory is its own; its sink stands still for a
//! few seconds (`VATIC_TEST_STALL` says how many, 30 for the full proof) while far more input waits than fits.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use vatic::connector::embedded::Embedded;
use vatic::connector::{Broker, Commit, OffsetAt};

use crate::conformance::{output, sink, values};
use crate::rig::{Rig, Script, Scripted, until};

/// The variable that turns this test binary into the process under test: the broker's directory.
const CHILD: &str = "VATIC_TEST_BUDGET_DIR";
const ROWS: usize = 160_000;
const BATCH: usize = 1_000;
/// `memory.budget`, and what the process may need beside it.
const BUDGET: usize = 64 << 20;
const BESIDE: usize = 100 << 20;

fn stall() -> Duration {
    let seconds = std::env::var("VATIC_TEST_STALL").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(5))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_stands_still_does_not_fill_the_memory() {
    let dir = tempfile::tempdir().unwrap();
    let broker: Arc<dyn Broker> = Embedded::open(dir.path()).unwrap();
    Rig::over(Arc::clone(&broker)).topic("t", 4).await;
    let mut writer = sink(&broker, None).await;
    let padding = "x".repeat(500);
    for batch in 0..ROWS / BATCH {
        let lines = (batch * BATCH..(batch + 1) * BATCH).map(|n| format!("{{\"id\":{n},\"s\":\"{padding}\"}}"));
        let outputs = vec![output("t", i32::try_from(batch % 4).unwrap(), values(lines))];
        writer.commit(Commit { outputs, ..Commit::default() }).await.unwrap();
    }
    drop((writer, broker));

    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "budget::child", "--nocapture"])
        .env(CHILD, dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > stall() + Duration::from_secs(180) {
            child.kill().unwrap();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stdout).into_owned() + &String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success() && said.contains("rows delivered"), "{said}");
    println!("{said}");
}

/// Not a test by itself: the process that [`a_sink_that_stands_still_does_not_fill_the_memory`] starts.
#[test]
fn child() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(run(Path::new(&dir)));
}

async fn run(dir: &Path) {
    let broker: Arc<dyn Broker> = Embedded::open(dir).unwrap();
    let script = Arc::new(Script::default());
    let scripted = Scripted { broker: Arc::clone(&broker), script: Arc::clone(&script) };
    let mut rig = Rig::over(Arc::new(scripted)).until_end();
    let before = resident();
    script.held.store(true, Ordering::SeqCst);
    let job = rig
        .job(
            "SET memory.budget = '64MB';
             CREATE TABLE t (id BIGINT, s VARCHAR) WITH (connector = 'kafka');
             CREATE TABLE out WITH (connector = 'kafka', \"topic.partitions\" = '2') AS SELECT id, s FROM t",
        )
        .await;
    until("a commit has begun", async || script.begun.load(Ordering::SeqCst) == 1).await;
    let begun = Instant::now();
    let mut most = 0;
    while begun.elapsed() < stall() {
        most = most.max(resident());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(script.begun.load(Ordering::SeqCst), 1, "a second commit was begun");
    let (read, still) = (job.metrics().rows_in, most);
    assert!(read < ROWS as u64, "everything was read: the budget did not hold it up");
    script.held.store(false, Ordering::SeqCst);
    while !job.status().ended() {
        most = most.max(resident());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    job.wait().await.unwrap();
    let delivered: i64 = broker.offsets("out", OffsetAt::Latest).await.unwrap().iter().sum();
    assert_eq!(delivered, ROWS as i64);
    let ids = rig.rows("SELECT count(DISTINCT id) AS n FROM topic('out')").await.unwrap();
    assert_eq!(ids[0]["n"], ROWS);
    let used = [before, still, most].map(|bytes| bytes >> 20);
    println!("rows delivered; {read} read while standing still; MB before, while it stood still, at most: {used:?}");
    assert!(still < BUDGET + BESIDE, "MB resident: {used:?}");
}

/// This process's resident memory in bytes.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = text.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4096
}
