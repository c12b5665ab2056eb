//! Readers with ends on a real Kafka: what librdkafka makes of a partition's end, and what we make of that.

use std::time::Duration;

use vatic::connector::Commit;

use super::cluster;
use crate::conformance::{ALL, EARLIEST, drain, name, output, read_all, reading, sink, topic, values, write};

/// librdkafka's call for many messages stands one behind an end that it told of; from there it would go on after a pause.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_after_an_early_end_skips_no_record() {
    let Some(cluster) = cluster::shared() else { return };
    let broker = cluster.open();
    let input = topic(&broker, 2, &[]).await;
    let lines = |count: usize| values((0..count).map(|n| format!("{n:>100}")));
    // Both partitions are at their ends and not where they are to be read to.
    let spec = vatic::connector::SourceSpec { budget: 2 << 10, ..reading(&input, EARLIEST, Some(vec![5, 40])) };
    let mut source = broker.source(spec).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    // More than the buffer holds: after half a second nothing is fetched any more, of either.
    write(&broker, vec![output(&input, 1, lines(40))]).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    write(&broker, vec![output(&input, 0, lines(5))]).await;
    let read = tokio::time::timeout(Duration::from_secs(60), drain(&mut source, ALL)).await.expect("all is read");
    let offsets = |partition: i32| read[&partition].iter().map(|record| record.offset).collect::<Vec<_>>();
    assert_eq!((offsets(0), offsets(1)), ((0..5).collect(), (0..40).collect()));
}

/// A commit is answered before its markers are in the log, and until then the stable end stands before its records.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_process_has_committed_is_within_the_ends_that_it_asks_for_next() {
    let Some(cluster) = cluster::shared() else { return };
    let broker = cluster.open();
    let target = topic(&broker, 8, &[]).await;
    let mut writer = sink(&broker, Some(&name("group"))).await;
    for round in 1..=20 {
        let outputs = (0..8).map(|partition| output(&target, partition, values(["x"]))).collect();
        writer.commit(Commit { outputs, ..Commit::default() }).await.unwrap();
        let read = read_all(&broker, &target).await;
        assert_eq!(read.values().map(Vec::len).sum::<usize>(), 8 * round, "after commit {round}");
    }
}
