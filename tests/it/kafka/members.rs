//! What a member of a group may still commit after its partitions went to another one.

use std::collections::BTreeMap;
use std::sync::Arc;

use vatic::connector::{
    Broker, Commit, Delivery, Event, Limit, Membership, Position, SinkSpec, Source, SourceSpec, Start, TopicSource,
};
use vatic::connector::{OffsetAt, Partition};

use super::cluster;
use crate::conformance::{name, output, topic, values, write};
use crate::rig::until;

const RECORDS: i64 = 100;

/// A member, and how far it has read.
struct Member {
    source: Box<dyn Source>,
    membership: Option<Membership>,
    /// Where it stands in each partition.
    at: BTreeMap<Partition, i64>,
}

impl Member {
    async fn join(broker: &Arc<dyn Broker>, topic: &str, group: &str) -> Self {
        let start = Start::At(OffsetAt::Earliest);
        let topics = vec![TopicSource { topic: topic.into(), start, ends: None, partitions: None }];
        let spec = SourceSpec { topics, group: Some(group.to_owned()), budget: 8 << 20, ..SourceSpec::default() };
        Self { source: broker.source(spec).await.unwrap(), membership: None, at: BTreeMap::new() }
    }

    /// Does the next thing; gives up its partitions when told to.
    async fn step(&mut self) {
        match self.source.next(Limit { rows: 10_000, bytes: 1 << 20 }).await.unwrap() {
            Event::Cut(mut cut) => {
                self.at.extend(cut.chunks.iter().map(|chunk| (chunk.partition, chunk.next_offset)));
                self.membership = cut.membership.take();
            }
            Event::Revoked(_) => self.source.release().await.unwrap(),
            Event::Assigned(_) => {}
            other => panic!("{other:?}"),
        }
    }

    fn commit(&self, topic: &str, of: impl Fn(Partition) -> bool, offset: i64) -> Commit {
        let position =
            |partition: &Partition| Position { topic: topic.into(), partition: *partition, offset, metadata: String::new() };
        let positions = self.at.keys().filter(|partition| of(**partition)).map(position).collect();
        Commit { positions, membership: self.membership.clone(), ..Commit::default() }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn positions_of_a_partition_that_went_away_are_not_taken_back() {
    let Some(cluster) = cluster::shared() else { return };
    let broker = cluster.open();
    for delivery in [Delivery::ExactlyOnce, Delivery::AtLeastOnce] {
        let (input, group) = (topic(&broker, 4, &[]).await, format!("vatic-{}", name("members")));
        let lines: Vec<String> = (0..RECORDS).map(|n| n.to_string()).collect();
        write(&broker, (0..4).map(|p| output(&input, p, values(&lines))).collect()).await;
        let sink = async || {
            let spec = SinkSpec { group: Some(group.clone()), delivery, ..SinkSpec::default() };
            broker.sink(spec).await.unwrap()
        };
        // The first reads everything and has committed nothing when the second comes.
        let mut first = Member::join(&broker, &input, &group).await;
        while first.at.len() < 4 || first.at.values().any(|at| *at < RECORDS) {
            first.step().await;
        }
        let mut second = Member::join(&broker, &input, &group).await;
        while second.at.len() < 2 || second.at.values().any(|at| *at < RECORDS) {
            tokio::select! {
                () = first.step() => {}
                () = second.step() => {}
            }
        }
        let held = async |offset: i64, partitions: &[Partition]| {
            let found = broker.positions(&group, std::slice::from_ref(&input)).await.unwrap();
            partitions.iter().all(|p| found.iter().any(|f| f.partition == *p && f.offset == offset))
        };
        let theirs: Vec<Partition> = second.at.keys().copied().collect();
        sink().await.commit(second.commit(&input, |_| true, RECORDS)).await.unwrap();
        until("the second's positions", async || held(RECORDS, &theirs).await).await;
        // What it read of them before is not the first's to commit any more, and says so.
        let stale = first.commit(&input, |partition| theirs.contains(&partition), 1);
        let error = sink().await.commit(stale).await.unwrap_err();
        assert!(error.message().contains("went to another process"), "{delivery:?}: {error:?}");
        assert!(error.is_transient());
        // Its own still are, and that commit comes behind whatever the one before did.
        let own: Vec<Partition> = first.at.keys().copied().filter(|p| !theirs.contains(p)).collect();
        sink().await.commit(first.commit(&input, |p| own.contains(&p), RECORDS - 1)).await.unwrap();
        until("the first's positions", async || held(RECORDS - 1, &own).await).await;
        assert!(held(RECORDS, &theirs).await, "{delivery:?}: positions went back");
    }
}
