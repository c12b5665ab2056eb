//! What brokers know: topics, offsets, groups.   question ─► librdkafka's admin client ─► answer or [`KafkaError`]
//!
//! Everything here blocks, so it runs on threads of its own (`Kafka` sees to that). An answer that only says "not yet" (a leader
//! is being elected, a coordinator loads, a transaction is undecided) is asked for again until [`PATIENCE`] is over.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};

use super::begin::Undecided;
use super::error::KafkaError;
use super::ffi::{Client, Entry, Failure, Kind, Outcome, TopicMetadata, lock};
use super::properties::{self, Properties};
use super::rights::{Request, Right};
use super::security;
use crate::connector::{NewTopic, OffsetAt, Partition, Position, Topic, TopicError};

type Result<T> = std::result::Result<T, KafkaError>;

/// How long one question may take.
const WAIT: Duration = Duration::from_secs(10);
/// How long the first try at a question to one certain broker (a leader, a coordinator) may take; each further one twice as long.
/// One that has died is waited for in vain until then, and its successor is found by asking anew.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// How long a glance may take.
const GLANCE: Duration = Duration::from_secs(2);
/// How long the same question is asked again.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a topic that was created may be unknown to some broker.
const NEW: Duration = Duration::from_secs(3);
/// How long a group's undecided transaction is waited for: brokers end it after its timeout, and look every 10 s.
const UNDECIDED: Duration = Duration::from_secs(90);
/// So long are markers of this process's own transactions waited for.
const MARKERS: Duration = Duration::from_secs(5);

/// Topics of Kafka's own, which no list shows.
const INTERNAL: &[&str] = &["__consumer_offsets", "__share_group_state", "__transaction_state", "__cluster_metadata"];

/// What a group committed.
#[derive(Debug, Default)]
pub(super) struct Found<'n> {
    pub positions: Vec<Position>,
    /// Partitions whose newest commit is not decided yet.
    pub undecided: Vec<(&'n str, Partition)>,
}

/// The admin client of one address.
#[derive(Debug)]
pub(super) struct Admin {
    pub address: String,
    /// What people set with `-X`.
    pub given: Properties,
    client: Client,
    /// Where this process's newest transactions have records, by topic and partition.
    written: Mutex<HashMap<Arc<str>, BTreeMap<Partition, i64>>>,
}

impl Admin {
    /// Connects, which shows within 10 s whether there is a broker that lets us in.
    pub(super) fn connect(address: &str, given: Properties) -> Result<Self> {
        let made = properties::admin(address, &given);
        let client = security::client(Kind::Admin, &made)?;
        security::greet(&client, address, &made)?;
        Ok(Self { address: address.to_owned(), given, client, written: Mutex::default() })
    }

    fn failed(&self, request: impl Into<Request>, failure: Failure) -> KafkaError {
        self.client.poll(Duration::ZERO);
        security::refusal(&self.client, &self.address).unwrap_or_else(|| KafkaError::of(&self.address, request, failure))
    }

    fn metadata(&self) -> Result<Vec<TopicMetadata>> {
        retry(PATIENCE, || self.client.topics(WAIT)).map_err(|failure| self.failed("list its topics", failure))
    }

    /// How many partitions a topic has.
    pub(super) fn partitions(&self, topic: &str) -> Result<i32> {
        let all = self.metadata()?;
        match all.iter().find(|t| t.name == topic) {
            Some(found) => Ok(found.partitions),
            None => {
                self.is_hidden(topic)?;
                Err(no_topic(topic, &all))
            }
        }
    }

    /// Whether the brokers show us a topic of that name.
    pub(super) fn is_listed(&self, name: &str) -> Result<bool> {
        Ok(self.metadata()?.iter().any(|topic| topic.name == name))
    }

    /// Fails if a topic that is not listed may be there all the same: brokers do not tell of one that we may not describe.
    fn is_hidden(&self, name: &str) -> Result<()> {
        match retry(PATIENCE, || self.client.describe_topic(name, WAIT)) {
            Err(failure) if failure.code == Code::TopicAuthorizationFailed => {
                let request = (format!("see topic \"{name}\", if there is one"), Right::topic("Describe", name));
                Err(self.failed(request, failure))
            }
            // It is not there, or its name cannot be one.
            _ => Ok(()),
        }
    }

    /// How many partitions a topic has, for those who look again and again: one question, not repeated, with an early end.
    pub(super) fn glance(&self, topic: &str) -> Result<Option<i32>> {
        let all = self.client.topics(GLANCE).map_err(|failure| self.failed("list its topics", failure))?;
        Ok(all.iter().find(|t| t.name == topic).map(|found| found.partitions))
    }

    /// Whether a topic is gone. A broker that has just come back may not know of all topics yet, so one look is not believed.
    pub(super) fn is_gone(&self, topic: &str) -> Result<bool> {
        const LOOKS: u32 = 10;
        for look in 0..LOOKS {
            if look > 0 {
                std::thread::sleep(Duration::from_millis(300));
            }
            if self.glance(topic)?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// All topics but Kafka's own, by name.
    pub(super) fn topics(&self) -> Result<Vec<Topic>> {
        let mut all = self.metadata()?;
        all.retain(|topic| !INTERNAL.contains(&topic.name.as_str()));
        all.sort_by(|a, b| a.name.cmp(&b.name));
        self.describe(&all)
    }

    /// The topic of that name.
    pub(super) fn topic(&self, name: &str) -> Result<Option<Topic>> {
        let all = self.metadata()?;
        let found: Vec<_> = all.into_iter().filter(|topic| topic.name == name).collect();
        if found.is_empty() {
            self.is_hidden(name)?;
        }
        Ok(self.describe(&found)?.pop())
    }

    /// The topic of that name, which whoever writes to it has just found or created, or an error that names the nearest. Brokers
    /// learn of a new topic one after the other, so one that is not there is asked for again.
    pub(super) fn need_topic(&self, name: &str) -> Result<Topic> {
        let begun = Instant::now();
        loop {
            match self.topic(name)? {
                Some(topic) => return Ok(topic),
                None if begun.elapsed() < NEW => std::thread::sleep(Duration::from_millis(50)),
                None => return Err(no_topic(name, &self.metadata()?)),
            }
        }
    }

    /// Why a topic's settings are not known.
    pub(super) fn hides_settings(&self, topic: &str) -> KafkaError {
        let request = (format!("read the settings of topic \"{topic}\""), Right::topic("DescribeConfigs", topic));
        let failure = Failure::new(Code::TopicAuthorizationFailed, "Topic authorization failed");
        self.failed(request, failure)
    }

    fn describe(&self, topics: &[TopicMetadata]) -> Result<Vec<Topic>> {
        let names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
        let mut settings = retry(PATIENCE, || self.client.settings(&names, WAIT))
            .map_err(|failure| self.failed("describe its topics", failure))?;
        let topic = |found: &TopicMetadata| {
            let config = settings.remove(&found.name)?;
            Some(Topic { name: found.name.clone(), partitions: found.partitions, replication: found.replication, config })
        };
        Ok(topics.iter().filter_map(topic).collect())
    }

    /// Creates a topic and waits until every partition has a leader; `false` if there is one of that name.
    pub(super) fn create(&self, new: &NewTopic) -> Result<bool> {
        let created =
            retry(PATIENCE, || self.client.create_topic(&new.name, new.partitions, new.replication, &new.config, WAIT));
        match created {
            Ok(()) => {}
            Err(failure) if failure.code == Code::TopicAlreadyExists => return Ok(false),
            // Brokers look at the right first, and only then whether there is anything to be created.
            Err(failure)
                if matches!(failure.code, Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed)
                    && self.is_listed(&new.name)? =>
            {
                return Ok(false);
            }
            Err(Failure {
                code:
                    Code::InvalidTopic
                    | Code::InvalidConfig
                    | Code::InvalidPartitions
                    | Code::InvalidReplicationFactor
                    | Code::InvalidArgument
                    | Code::InvalidRequest
                    | Code::PolicyViolation,
                text,
                ..
            }) => return Err(KafkaError::BadTopic { topic: new.name.clone(), reason: tidy(&text) }),
            Err(failure) => {
                let request = (format!("create topic \"{}\"", new.name), Right::topic("Create", &new.name));
                return Err(self.failed(request, failure));
            }
        }
        // One that we may create and not describe is never listed.
        if self.is_hidden(&new.name).is_ok() {
            self.until(|all| all.iter().any(|topic| topic.name == new.name && topic.ready))?;
        }
        Ok(true)
    }

    /// Deletes a topic and waits until it is gone; `false` if there is none.
    pub(super) fn delete(&self, name: &str) -> Result<bool> {
        match retry(PATIENCE, || self.client.delete_topic(name, WAIT)) {
            Ok(()) => {}
            Err(failure) if matches!(failure.code, Code::UnknownTopicOrPartition | Code::UnknownTopic) => return Ok(false),
            Err(failure) => {
                let request = (format!("delete topic \"{name}\""), Right::topic("Delete", name));
                return Err(self.failed(request, failure));
            }
        }
        lock(&self.written).remove(name);
        self.until(|all| all.iter().all(|topic| topic.name != name))?;
        Ok(true)
    }

    /// Waits until the metadata are so; brokers learn of changes a little later than the one that made them.
    fn until(&self, done: impl Fn(&[TopicMetadata]) -> bool) -> Result<()> {
        let begun = Instant::now();
        while !done(&self.metadata()?) && begun.elapsed() < WAIT {
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// One offset per partition of `wanted`, in its order.
    pub(super) fn offsets(&self, wanted: &[(&str, Partition)], at: &OffsetAt) -> Result<Vec<i64>> {
        self.offsets_of(wanted, at, true)
    }

    fn offsets_of(&self, wanted: &[(&str, Partition)], at: &OffsetAt, committed: bool) -> Result<Vec<i64>> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let spec = match at {
            OffsetAt::Earliest => -2,
            OffsetAt::Latest => -1,
            OffsetAt::Timestamp(time) => (*time).max(0),
        };
        let mut asked = TopicPartitionList::with_capacity(wanted.len());
        for (topic, partition) in wanted {
            put(&mut asked, topic, *partition, spec, "")?;
        }
        let mut wait = FIRST_WAIT;
        let answers = retry(PATIENCE, || {
            let answers = self.client.offsets(&asked, committed, longer(&mut wait))?;
            answered(settled(answers)?, matches!(at, OffsetAt::Timestamp(_)))
        })
        .map_err(|failure| self.failed("tell the offsets of its topics", failure))?;
        let mut found: BTreeMap<(&str, Partition), i64> =
            answers.iter().map(|entry| ((entry.topic.as_str(), entry.partition), entry.offset)).collect();
        if matches!(at, OffsetAt::Timestamp(_)) {
            // No record is as young: behind the newest.
            let late: Vec<_> = wanted.iter().copied().filter(|at| found.get(at).is_none_or(|offset| *offset < 0)).collect();
            let ends = self.offsets(&late, &OffsetAt::Latest)?;
            found.extend(late.into_iter().zip(ends));
        }
        wanted.iter().map(|at| found.get(at).copied().ok_or_else(|| self.silent(at.0))).collect()
    }

    /// Notes that a transaction with a record at this offset was committed.
    pub(super) fn note_written(&self, topic: &Arc<str>, partition: Partition, offset: i64) {
        let mut written = lock(&self.written);
        written.entry(Arc::clone(topic)).or_default().insert(partition, offset);
    }

    /// The ends of what is committed in a topic, once what this process committed is visible: a commit is answered before its
    /// markers are in the log, and a statement must see what the one before it wrote.
    pub(super) fn stable_ends(&self, topic: &str, partitions: Partition) -> Result<Vec<i64>> {
        let wanted: Vec<(&str, Partition)> = (0..partitions).map(|partition| (topic, partition)).collect();
        let begun = Instant::now();
        loop {
            let ends = self.offsets(&wanted, &OffsetAt::Latest)?;
            let ours = lock(&self.written).get(topic).cloned().unwrap_or_default();
            let seen = (0..).zip(&ends).all(|(partition, end)| ours.get(&partition).is_none_or(|offset| offset < end));
            // Another writer's open transaction may hold the end back for long.
            if seen {
                return Ok(ends);
            }
            if begun.elapsed() > MARKERS {
                lock(&self.written).remove(topic);
                return Ok(ends);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The end of a partition, once all is decided that its log held when this was asked: also what a process began to commit that is
    /// dead by now.
    pub(super) fn decided_end(&self, topic: &str, partition: Partition) -> Result<i64> {
        let of = [(topic, partition)];
        let end = |committed| -> Result<i64> {
            self.offsets_of(&of, &OffsetAt::Latest, committed)?.first().copied().ok_or_else(|| self.silent(topic))
        };
        let (all, begun) = (end(false)?, Instant::now());
        loop {
            let decided = end(true)?;
            if decided >= all {
                return Ok(decided);
            }
            if begun.elapsed() > UNDECIDED {
                let reason = format!("a transaction on it is open for more than {UNDECIDED:?}");
                let failure = Failure::new(Code::OperationTimedOut, reason);
                return Err(self.failed(format!("tell the end of topic \"{topic}\""), failure));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn silent(&self, topic: &str) -> KafkaError {
        let failure = Failure::new(Code::UnknownPartition, "it left partitions out of its answer");
        self.failed(format!("tell the offsets of topic \"{topic}\""), failure)
    }

    /// What a group committed of these partitions.
    pub(super) fn committed<'n>(&self, group: &str, of: &[(&'n str, Partition)], undecided: Undecided) -> Result<Found<'n>> {
        let mut asked = TopicPartitionList::with_capacity(of.len());
        of.iter().try_for_each(|(topic, partition)| put(&mut asked, topic, *partition, 0, ""))?;
        let is_open = |entry: &Entry| entry.failure.as_ref().is_some_and(|f| f.code == Code::UnstableOffsetCommit);
        let mut open = Vec::new();
        let answer = self.ask_coordinator(UNDECIDED, |client, wait| match client.committed(group, &asked, wait) {
            // Taken for "nothing committed", an answer with a hole would make a job begin again.
            Ok(entries) if entries.len() < of.len() => Err(unanswered("some partitions")),
            Ok(entries) if undecided == Undecided::LeftOut => {
                let (left_out, rest): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(is_open);
                open = left_out;
                settled(rest)
            }
            Ok(entries) => settled(entries),
            Err(failure) if failure.code == Code::GroupIdNotFound => Ok(Vec::new()),
            Err(failure) => Err(failure),
        });
        let entries = answer.map_err(|failure| {
            let request = (format!("tell the offsets of group \"{group}\""), Right::group("Describe", group));
            self.failed(request, failure)
        })?;
        let position = |entry: Entry| Position {
            topic: entry.topic.into(),
            partition: entry.partition,
            offset: entry.offset,
            metadata: entry.metadata,
        };
        let is_one = |name: &&(&str, Partition)| open.iter().any(|e| (e.topic.as_str(), e.partition) == **name);
        let undecided = of.iter().filter(is_one).copied().collect();
        Ok(Found { positions: entries.into_iter().filter(|entry| entry.offset >= 0).map(position).collect(), undecided })
    }

    /// Asks a group's coordinator. librdkafka remembers for two minutes who that is and asks nobody else meanwhile, though it be dead
    /// (`rd_kafka_coord_req_fsm` waits for its connection to come up); a client that remembers nothing finds the new one.
    fn ask_coordinator<T>(&self, patience: Duration, mut ask: impl FnMut(&Client, Duration) -> Outcome<T>) -> Outcome<T> {
        let (mut wait, mut fresh) = (FIRST_WAIT, None::<Client>);
        retry(patience, || {
            let answer = ask(fresh.as_ref().unwrap_or(&self.client), longer(&mut wait));
            if answer.as_ref().is_err_and(|failure| matches!(failure.code, Code::OperationTimedOut | Code::RequestTimedOut))
            {
                fresh = security::client(Kind::Admin, &properties::admin(&self.address, &self.given)).ok();
            }
            answer
        })
    }

    /// Sets positions of a group that has no members.
    pub(super) fn set_committed(&self, group: &str, positions: &[&Position]) -> Result<()> {
        let list = list(positions.iter().copied())?;
        let set = |client: &Client, wait| client.set_committed(group, &list, wait).and_then(settled);
        self.ask_coordinator(PATIENCE, set).map(|_| ()).map_err(|failure| {
            let request = (format!("commit offsets of group \"{group}\""), Right::group("Read", group));
            self.failed(request, failure)
        })
    }

    /// Forgets a group; `false` if there is none. One that a process of ours just left may have a member for a moment.
    pub(super) fn forget(&self, group: &str) -> Result<bool> {
        match self.ask_coordinator(PATIENCE, |client, wait| client.delete_group(group, wait)) {
            Ok(()) => Ok(true),
            Err(failure) if failure.code == Code::GroupIdNotFound => Ok(false),
            Err(failure) if failure.code == Code::NonEmptyGroup => Err(KafkaError::GroupBusy { group: group.to_owned() }),
            Err(failure) => Err(self.failed((format!("forget group \"{group}\""), Right::group("Delete", group)), failure)),
        }
    }
}

/// `no topic "x"`, with the topics there are.
fn no_topic(name: &str, all: &[TopicMetadata]) -> KafkaError {
    let known = all.iter().map(|topic| topic.name.clone()).filter(|name| !INTERNAL.contains(&name.as_str())).collect();
    TopicError::NoTopic { topic: name.to_owned(), known }.into()
}

/// The entries, unless one of them failed.
fn settled(entries: Vec<Entry>) -> Outcome<Vec<Entry>> {
    match entries.iter().find_map(|entry| entry.failure.clone()) {
        None => Ok(entries),
        Some(failure) => Err(failure),
    }
}

/// This wait, the next being twice as long.
fn longer(wait: &mut Duration) -> Duration {
    std::mem::replace(wait, WAIT.min(*wait * 2))
}

/// The entries, unless one of them is no answer: librdkafka lets a place-holder stand, without an error, where the connection to
/// the leader broke before it answered. Only for a time is there an offset below zero that says something: no record is as young.
fn answered(entries: Vec<Entry>, by_time: bool) -> Outcome<Vec<Entry>> {
    match entries.iter().find(|entry| entry.offset < 0 && !(by_time && entry.offset == -1)) {
        None => Ok(entries),
        Some(Entry { topic, partition, .. }) => Err(unanswered(&format!("topic \"{topic}\" partition {partition}"))),
    }
}

/// No answer yet.
fn unanswered(what: &str) -> Failure {
    Failure::new(Code::OffsetNotAvailable, format!("the connection broke before it answered for {what}"))
}

/// Asks again while the answer is "not yet".
fn retry<T>(patience: Duration, mut ask: impl FnMut() -> Outcome<T>) -> Outcome<T> {
    let begun = Instant::now();
    loop {
        match ask() {
            Err(failure) if is_transient(failure.code) && begun.elapsed() < patience => {
                std::thread::sleep(Duration::from_millis(20));
            }
            outcome => return outcome,
        }
    }
}

fn is_transient(code: Code) -> bool {
    matches!(
        code,
        Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator
            | Code::NotController
            | Code::UnstableOffsetCommit
            | Code::OffsetNotAvailable
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::ReplicaNotAvailable
            | Code::RequestTimedOut
            | Code::BrokerTransportFailure
            | Code::WaitingForCoordinator
            | Code::OperationTimedOut
    )
}

/// One more partition of a list.
pub(super) fn put(
    list: &mut TopicPartitionList,
    topic: &str,
    partition: Partition,
    offset: i64,
    metadata: &str,
) -> Result<()> {
    let misuse = |e: rdkafka::error::KafkaError| KafkaError::Misuse(format!("topic \"{topic}\" cannot be listed: {e}"));
    if topic.contains('\0') || metadata.contains('\0') {
        return Err(KafkaError::Misuse(format!("topic {topic:?} or its metadata holds a zero byte")));
    }
    let mut element = list.add_partition(topic, partition);
    // Times, -1 and -2 stand where offsets do; `Offset` would translate the logical ones, so these go as they are.
    element.set_offset(raw(offset)).map_err(misuse)?;
    if !metadata.is_empty() {
        element.set_metadata(metadata);
    }
    Ok(())
}

/// The offset that librdkafka stores as this number.
fn raw(offset: i64) -> Offset {
    match offset {
        -1 => Offset::End,
        -2 => Offset::Beginning,
        other => Offset::Offset(other),
    }
}

/// Positions as librdkafka takes them.
pub(super) fn list<'p>(positions: impl Iterator<Item = &'p Position>) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for position in positions {
        put(&mut list, &position.topic, position.partition, position.offset, &position.metadata)?;
    }
    Ok(list)
}

/// A complaint of librdkafka's without the client's names before it and the counts behind it.
pub(super) fn tidy(text: &str) -> String {
    let text = text.trim();
    let text = text.split_once("]: ").map_or(text, |(before, after)| if before.starts_with('[') { after } else { text });
    let text = match text.rfind(" (after ") {
        Some(at) => text.get(..at).unwrap_or(text),
        None => text,
    };
    text.trim_end_matches('.').to_owned()
}

/// Where each partition's records begin and end now.
pub(super) fn ranges(admin: &Arc<Admin>, of: &[(&str, Partition)]) -> Result<BTreeMap<(String, Partition), (i64, i64)>> {
    let earliest = admin.offsets(of, &OffsetAt::Earliest)?;
    let latest = admin.offsets(of, &OffsetAt::Latest)?;
    let names = of.iter().map(|(topic, partition)| ((*topic).to_owned(), *partition));
    Ok(names.zip(earliest.into_iter().zip(latest)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_lose_their_wrapping() {
        let text = "[thrd:localhost:1/bootstrap]: localhost:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused \
                    (after 0ms in state CONNECT)";
        assert_eq!(tidy(text), "localhost:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused");
        assert_eq!(tidy("plain."), "plain");
    }

    #[test]
    fn a_placeholder_is_no_offset() {
        let entries = |offsets: &[i64]| -> Vec<Entry> {
            let entry = |(partition, offset): (i32, &i64)| Entry {
                topic: "t".to_owned(),
                partition,
                offset: *offset,
                metadata: String::new(),
                failure: None,
            };
            (0..).zip(offsets).map(entry).collect()
        };
        assert!(answered(entries(&[0, 7]), false).is_ok() && answered(entries(&[3, -1]), true).is_ok());
        for (offsets, by_time) in [([5, -1001], false), ([5, -1001], true), ([5, -1], false)] {
            let failure = answered(entries(&offsets), by_time).unwrap_err();
            assert!(is_transient(failure.code), "asked again");
            assert_eq!(failure.text, "the connection broke before it answered for topic \"t\" partition 1");
        }
    }
}
