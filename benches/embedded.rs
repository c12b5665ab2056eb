//! Records per second of processor time through the embedded broker: `cargo bench --bench embedded`.
//!
//! 140-byte values, one writer, 1, 100 and 8,192 records per commit, each commit on the disk; then one reader. Prints the
//! median and the 99th percentile of a commit, from call to answer.

#![allow(clippy::expect_used)]

use std::time::{Duration, Instant};

use vatic::connector::{
    Commit, Event, Limit, NewTopic, OffsetAt, Output, SinkSpec, SourceSpec, Start, TopicSource, embedded::Embedded,
};
use vatic::format::{Records, RecordsBuilder};

/// User and system time of this process.
fn cpu() -> Duration {
    use nix::sys::resource::{UsageWho, getrusage};
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("a process can ask for its own usage");
    let time = |t: nix::sys::time::TimeVal| Duration::new(t.tv_sec() as u64, t.tv_usec() as u32 * 1000);
    time(usage.user_time()) + time(usage.system_time())
}

fn records(count: usize) -> Records {
    let mut builder = RecordsBuilder::with_capacity(count);
    let now = vatic::time::now();
    (0..count).for_each(|i| builder.push(0, now + i as i64 % 3, None, Some(&[b'x'; 140]), []));
    builder.finish()
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> vatic::Result<()> {
    let dir = tempfile::Builder::new().prefix("vatic-bench").tempdir_in(".").expect("the working directory can be written");
    let broker = Embedded::open(dir.path())?;
    println!("records/commit  write records/cpu-s  commit p50 us  p99 us  read records/cpu-s");
    for (rows, commits) in [(1, 5_000), (100, 5_000), (8192, 500)] {
        let topic = format!("t{rows}");
        broker.create_topic(&NewTopic { name: topic.clone(), ..NewTopic::default() }).await?;
        let batch = records(rows);
        let mut sink = broker.sink(SinkSpec { group: Some(topic.clone()), ..SinkSpec::default() }).await?;
        let mut took = Vec::with_capacity(commits);
        let before = cpu();
        for _ in 0..commits {
            let outputs = vec![Output { topic: topic.as_str().into(), partition: 0, records: batch.clone() }];
            let begun = Instant::now();
            sink.commit(Commit { outputs, ..Commit::default() }).await?;
            took.push(begun.elapsed());
        }
        let write = cpu() - before;
        took.sort();
        let ends = broker.offsets(&topic, OffsetAt::Latest).await?;
        let source = TopicSource {
            topic: topic.as_str().into(),
            start: Start::At(OffsetAt::Earliest),
            ends: Some(ends),
            partitions: None,
        };
        let before = cpu();
        let mut source =
            broker.source(SourceSpec { topics: vec![source], budget: 16 << 20, ..SourceSpec::default() }).await?;
        let mut read = 0;
        loop {
            match source.next(Limit { rows: 65_536, bytes: 16 << 20 }).await? {
                Event::Cut(cut) => read += cut.chunks.iter().map(|chunk| chunk.rows.len()).sum::<usize>(),
                Event::Finished => break,
                _ => {}
            }
        }
        assert_eq!(read, rows * commits);
        let rate = |time: Duration| (rows * commits) as f64 / time.as_secs_f64();
        let at = |part: usize| took[commits * part / 100].as_micros();
        println!("{rows:14}  {:19.0}  {:13}  {:6}  {:18.0}", rate(write), at(50), at(99), rate(cpu() - before));
    }
    Ok(())
}
