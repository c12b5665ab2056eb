//! Kafka's [`Sink`].   commit ─► writer thread ─► one transaction: records, positions of the group ─► all of it or nothing
//!
//! Exactly once: begin, hand all records to librdkafka, put the positions into the transaction, commit. The positions carry the
//! member's place in its group, so a broker refuses those of a process that lost its partitions meanwhile (KIP-447); the
//! transactional id (`instance.rs`) fences an older writer of this process's own. A rebalance that leaves us our partitions makes
//! the broker refuse the old place too: the transaction is then aborted and made again with the new one.
//! At least once: records acknowledged first, then positions committed. Without a group: records acknowledged.
//! After any other failure the producer is never used again: librdkafka does not know what brokers made of it (KIP-890).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray, BinaryArray};
use async_trait::async_trait;
use rdkafka::types::RDKafkaErrorCode as Code;
use tokio::sync::oneshot;

use super::admin::{Admin, list};
use super::error::KafkaError;
use super::failpoint::{Step, step};
use super::ffi::{Client, Failure, GroupMetadata, Handle, Kind, lock};
use super::moves::Moves;
use super::properties::{self, Properties};
use super::rights::Right;
use super::source::{Leavers, Member};
use super::{instance, positions, security};
use crate::connector::{Commit, Committed, Delivery, Output, Position, Sink, SinkSpec, TopicError};
use crate::error::Result;
use crate::format::Records;

type Answer<T> = std::result::Result<T, KafkaError>;

/// How long an unanswered commit may take, unless the sink's spec says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How much longer the writer's thread may take than its commit. librdkafka keeps no limit while it looks for a group's coordinator:
/// if the broker that was asked dies, `rd_kafka_send_offsets_to_transaction` waits until some broker connects, perhaps for ever
/// (`rd_kafka_coord_req_fsm` never looks at its own deadline). Such a thread is left behind; the next writer fences it.
const GRACE: Duration = Duration::from_secs(2);
/// After this time a broker aborts a transaction whose process died on another machine. Ours are open for milliseconds.
const TRANSACTION: Duration = Duration::from_secs(15);
/// How often answers to committed positions are looked for while nothing is to be written.
const LISTEN: Duration = Duration::from_millis(50);
/// librdkafka puts at most so many bytes into one batch (`batch.size`), a batch being what a topic's limit is about.
const BATCH: usize = 1_000_000;

struct Work {
    commit: Commit,
    answer: oneshot::Sender<Result<Committed>>,
}

/// What the writer's thread does next.
enum Next {
    Work(Work),
    /// Nothing came; it has looked after positions meanwhile.
    Later,
    /// The sink was dropped.
    End,
}

/// A sink of Kafka topics.
#[derive(Debug)]
pub(super) struct KafkaSink {
    work: mpsc::Sender<Work>,
    failed: bool,
    address: String,
    /// How long the thread may take for one commit.
    patience: Duration,
    /// The writer's thread, and where it is left when this is dropped: a process must not end while librdkafka works in it.
    thread: Option<std::thread::JoinHandle<()>>,
    to: Leavers,
}

impl Drop for KafkaSink {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            let mut leavers = lock(&self.to);
            leavers.retain(|(_, thread)| !thread.is_finished());
            leavers.push((Some("a writer".to_owned()), thread));
        }
    }
}

impl KafkaSink {
    /// Starts the writer's thread and waits until older writers are fenced.
    pub(super) async fn open(admin: Arc<Admin>, spec: SinkSpec, leavers: &Leavers) -> Result<Self> {
        let given = properties::given(&spec.properties)?;
        let (work, works) = mpsc::channel::<Work>();
        let (ready, is_ready) = oneshot::channel();
        let (address, patience) = (admin.address.clone(), spec.timeout.unwrap_or(TIMEOUT) + GRACE);
        let run = move || match Writer::open(admin, spec, &given) {
            Ok(mut writer) => {
                if ready.send(Ok(())).is_ok() {
                    loop {
                        let Work { commit, answer } = match writer.next(&works) {
                            Next::Work(work) => work,
                            Next::Later => continue,
                            Next::End => break,
                        };
                        let outcome = writer.commit(&commit).map_err(crate::Error::from);
                        let failed = outcome.is_err();
                        // Nobody waits any more when the call was dropped; the commit stands all the same.
                        let _ = answer.send(outcome);
                        if failed {
                            break;
                        }
                    }
                }
            }
            Err(error) => {
                let _ = ready.send(Err(error));
            }
        };
        let thread = std::thread::Builder::new().name("vatic-kafka-write".to_owned()).spawn(run);
        let thread = thread.map_err(|e| KafkaError::Start(e.to_string()))?;
        let sink = Self { work, failed: false, address, patience, thread: Some(thread), to: Arc::clone(leavers) };
        is_ready.await.map_err(|_| KafkaError::Start("its thread ended".to_owned()))??;
        Ok(sink)
    }
}

#[async_trait]
impl Sink for KafkaSink {
    async fn commit(&mut self, commit: Commit) -> Result<Committed> {
        let over = || KafkaError::Misuse("the sink has failed before".to_owned());
        let (answer, answered) = oneshot::channel();
        if self.failed || self.work.send(Work { commit, answer }).is_err() {
            return Err(over().into());
        }
        self.failed = true; // unless an answer comes: a dropped call leaves the outcome open
        let outcome = match tokio::time::timeout(self.patience, answered).await {
            Ok(answer) => answer.map_err(|_| over())?,
            Err(_) => {
                let reason = format!("no answer within {:?}", self.patience);
                return Err(KafkaError::Commit { address: self.address.clone(), reason }.into());
            }
        };
        self.failed = outcome.is_err();
        outcome
    }
}

/// A topic that is written to.
#[derive(Debug)]
struct Known {
    handle: Handle,
    partitions: i32,
    limit: usize,
    compacted: bool,
}

/// The thread's state.
#[derive(Debug)]
struct Writer {
    // Handles hold the client, so their order does not matter.
    topics: HashMap<Arc<str>, Known>,
    client: Arc<Client>,
    admin: Arc<Admin>,
    group: Option<String>,
    /// The transactional id.
    id: Option<String>,
    transactional: bool,
    timeout: Duration,
    /// Positions that are committed without a transaction.
    moves: Moves,
}

impl Writer {
    fn open(admin: Arc<Admin>, spec: SinkSpec, given: &Properties) -> Answer<Self> {
        let timeout = spec.timeout.unwrap_or(TIMEOUT);
        let id = match (&spec.group, spec.delivery) {
            (Some(group), Delivery::ExactlyOnce) => Some(instance::transactional_id(&admin.address, group)),
            _ => None,
        };
        let all = [&admin.given, given];
        let limit = if id.is_some() { timeout.min(TRANSACTION) } else { timeout };
        let made = properties::producer(&admin.address, &all, id.as_deref(), limit);
        let client = Arc::new(security::client(Kind::Producer, &made)?);
        if security::differs(given) {
            security::greet(&client, &admin.address, &made)?;
        }
        if let Some(id) = &id {
            // A transaction that is being ended for a dead process takes a moment.
            step(&admin.address, Step::Open, || {
                let outcome = client.init_transactions(Instant::now() + timeout);
                let request = (format!("begin transactions as \"{id}\""), Right::transactional_id(id));
                outcome.map_err(|failure| KafkaError::of(&admin.address, request, failure))
            })?;
            client.is_let_in();
        }
        let transactional = id.is_some();
        Ok(Self {
            topics: HashMap::new(),
            client,
            admin,
            group: spec.group,
            id,
            transactional,
            timeout,
            moves: Moves::default(),
        })
    }

    /// Waits for work; while an answer is missing, not for long.
    fn next(&mut self, works: &mpsc::Receiver<Work>) -> Next {
        if !self.moves.are_open() {
            return works.recv().map_or(Next::End, Next::Work);
        }
        match works.recv_timeout(LISTEN) {
            Ok(work) => Next::Work(work),
            Err(mpsc::RecvTimeoutError::Disconnected) => Next::End,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                self.moves.settle();
                Next::Later
            }
        }
    }

    fn commit(&mut self, commit: &Commit) -> Answer<Committed> {
        let (of_topics, of_others): (Vec<&Position>, Vec<&Position>) =
            commit.positions.iter().partition(|position| positions::is_topic(&position.topic));
        for output in &commit.outputs {
            self.check(output)?;
        }
        let others = self.others(&of_others)?;
        let member = match &commit.membership {
            None => None,
            Some(membership) => match Arc::clone(membership).downcast::<Member>() {
                Ok(member) => Some(member),
                Err(_) => return Err(KafkaError::Misuse("the membership is another broker's".to_owned())),
            },
        };
        let deadline = Instant::now() + self.timeout;
        let mut offsets = if self.transactional {
            let outputs: Vec<&Output> = commit.outputs.iter().chain(&others).collect();
            self.transact(&outputs, &of_topics, member.as_deref(), deadline)?
        } else {
            let offsets = self.write(&commit.outputs.iter().collect::<Vec<_>>(), deadline)?;
            // Their leaders are others': a position must not be there before the rows that it stands behind.
            if !others.is_empty() {
                self.write(&others.iter().collect::<Vec<_>>(), deadline)?;
            }
            let address = self.admin.address.clone();
            step(&address, Step::Positions, || self.move_on(&of_topics, member.as_ref()))?;
            offsets
        };
        offsets.truncate(commit.outputs.len());
        Ok(Committed { offsets })
    }

    /// The records of positions that no group can hold.
    fn others(&mut self, of: &[&Position]) -> Answer<Vec<Output>> {
        let Some(group) = self.group.clone().filter(|_| !of.is_empty()) else { return Ok(Vec::new()) };
        let output = Output {
            topic: positions::TOPIC.into(),
            partition: 0,
            records: positions::records(&group, of.iter().map(|position| (*position, true)))?,
        };
        if !self.topics.contains_key(&output.topic) {
            positions::create(&self.admin)?;
        }
        self.check(&output)?;
        Ok(vec![output])
    }

    /// Everything of a commit in one transaction.
    fn transact(
        &self,
        outputs: &[&Output],
        positions: &[&Position],
        member: Option<&Member>,
        deadline: Instant,
    ) -> Answer<Vec<i64>> {
        let group = self.group.as_deref().unwrap_or_default();
        if outputs.iter().all(|output| output.records.is_empty()) && positions.is_empty() {
            return Ok(vec![-1; outputs.len()]);
        }
        let asked = list(positions.iter().copied())?;
        let begun = Instant::now();
        loop {
            let place = match member {
                _ if positions.is_empty() => None,
                Some(member) => match member.now(group, positions.iter().map(|p| (&p.topic, p.partition)))? {
                    Some(place) => Some(place),
                    None => {
                        self.pause(begun, deadline)?;
                        continue;
                    }
                },
                None => GroupMetadata::of_group(group),
            };
            self.step(Step::Begin, || self.client.begin().map_err(|failure| self.failed(failure)))?;
            let written = self.step(Step::Write, || self.hand_over(outputs, deadline)).and_then(|()| match &place {
                None => Ok(true),
                Some(place) => self.step(Step::Positions, || match self.client.send_positions(&asked, place, deadline) {
                    Ok(()) => Ok(true),
                    // The group moves on. If our partitions stay ours, so does the commit.
                    Err(failure) if member.is_some() && is_old_place(failure.code) => Ok(false),
                    Err(failure) => Err(self.failed(failure)),
                }),
            });
            let settled = |sent| match sent {
                true => self.step(Step::Settle, || self.settle(deadline)).map(Some),
                false => Ok(None),
            };
            match written.and_then(settled) {
                Ok(Some(offsets)) => {
                    self.step(Step::Commit, || self.client.commit(deadline).map_err(|failure| self.failed(failure)))?;
                    for (output, offset) in outputs.iter().zip(&offsets) {
                        self.admin.note_written(&output.topic, output.partition, *offset);
                    }
                    return Ok(offsets);
                }
                Ok(None) => {
                    self.step(Step::Abort, || self.client.abort(deadline).map_err(|failure| self.failed(failure)))?;
                    self.pause(begun, deadline)?;
                }
                Err(error) => {
                    // Whether this succeeds or not, nothing was committed, and the next writer begins by aborting it.
                    let until = Instant::now() + Duration::from_secs(2);
                    let _ = self.step(Step::Abort, || self.client.abort(until).map_err(|failure| self.failed(failure)));
                    return Err(error);
                }
            }
        }
    }

    /// Does a step of a commit; a test may make it fail.
    fn step<T>(&self, of: Step, work: impl FnOnce() -> Answer<T>) -> Answer<T> {
        step(&self.admin.address, of, work)
    }

    /// Gives the group time to settle.
    fn pause(&self, begun: Instant, deadline: Instant) -> Answer<()> {
        if Instant::now() > deadline {
            let reason = format!("the group did not settle within {:?}", begun.elapsed());
            return Err(KafkaError::Commit { address: self.admin.address.clone(), reason });
        }
        std::thread::sleep(Duration::from_millis(20));
        Ok(())
    }

    /// Records without a transaction.
    fn write(&self, outputs: &[&Output], deadline: Instant) -> Answer<Vec<i64>> {
        let written = self.step(Step::Write, || self.hand_over(outputs, deadline));
        let outcome = written.and_then(|()| self.step(Step::Settle, || self.settle(deadline)));
        if outcome.is_err() {
            self.client.purge();
        }
        outcome
    }

    /// Commits positions after the records: whoever dies between the two repeats some.
    fn move_on(&mut self, positions: &[&Position], member: Option<&Arc<Member>>) -> Answer<()> {
        let Some(group) = self.group.as_deref().filter(|_| !positions.is_empty()) else { return Ok(()) };
        match member {
            // Not waited for: the next one covers it, and the last one is made sure of when the partition goes.
            Some(member) => {
                // Brokers ask only whether we are a member: of a partition that is another's now, the position would go back.
                member.now(group, positions.iter().map(|p| (&p.topic, p.partition)))?;
                member.note_unsure(positions.iter().copied());
                self.moves.send(&self.admin.address, member, positions)
            }
            None => self.admin.set_committed(group, positions),
        }
    }

    /// Gives all records to librdkafka.
    fn hand_over(&self, outputs: &[&Output], deadline: Instant) -> Answer<()> {
        self.client.expect(outputs.len());
        for (index, output) in outputs.iter().enumerate() {
            let Some(known) = self.topics.get(&output.topic) else {
                return Err(KafkaError::Misuse(format!(
                    "topic \"{}\" was not looked at before writing to it",
                    output.topic
                )));
            };
            let rows = output.records.len();
            let mut from = 0;
            while from < rows {
                // A batch is refused as a whole, so where a topic takes less than librdkafka puts into one, less is sent at once.
                let to = if known.limit >= BATCH { rows } else { piece(&output.records, from, known.limit) };
                while from < to {
                    let produced = self.client.produce(&known.handle, output.partition, &output.records, (from, to), index);
                    from = produced.map_err(|failure| self.refused(output, failure))?;
                    if from < to {
                        if Instant::now() > deadline {
                            return Err(self.late());
                        }
                        self.client.poll(Duration::from_millis(5));
                    }
                }
                if from < rows && !self.client.flush(deadline.saturating_duration_since(Instant::now())) {
                    return Err(self.late());
                }
            }
        }
        Ok(())
    }

    /// Waits until every record is acknowledged.
    fn settle(&self, deadline: Instant) -> Answer<Vec<i64>> {
        let all = self.client.flush(deadline.saturating_duration_since(Instant::now()));
        let delivered = self.client.delivered();
        match delivered.failure {
            Some((topic, failure)) => Err(self.undelivered(&topic, failure)),
            None if !all => Err(self.late()),
            None => Ok(delivered.first),
        }
    }

    fn late(&self) -> KafkaError {
        let because = self.client.note().map_or_else(String::new, |note| format!(" ({})", super::admin::tidy(&note)));
        let reason = format!("no answer within {:?}{because}", self.timeout);
        KafkaError::Commit { address: self.admin.address.clone(), reason }
    }

    fn failed(&self, failure: Failure) -> KafkaError {
        let failure = self.client.fatal().or_else(|| self.root(&failure)).unwrap_or(failure);
        let failure = Failure { text: super::admin::tidy(&failure.text), ..failure };
        match (failure.code, &self.group) {
            (Code::ProducerFenced | Code::InvalidProducerEpoch | Code::Fenced, Some(group)) => {
                KafkaError::Fenced { group: group.clone(), reason: failure.text }
            }
            (Code::TransactionalIdAuthorizationFailed, _) => {
                let id = self.id.clone().unwrap_or_default();
                KafkaError::of(&self.admin.address, ("commit", Right::transactional_id(id)), failure)
            }
            (Code::GroupAuthorizationFailed, group) => {
                let group = group.clone().unwrap_or_default();
                KafkaError::of(
                    &self.admin.address,
                    (format!("commit offsets of group \"{group}\""), Right::group("Read", group)),
                    failure,
                )
            }
            (Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed, _) => match self.forbidden_topic() {
                Some(topic) => self.may_not_write(&topic, failure),
                None => KafkaError::of(&self.admin.address, "commit", failure),
            },
            _ => KafkaError::Commit { address: self.admin.address.clone(), reason: failure.text },
        }
    }

    /// Why the transaction failed, where `failure` only says that it had.
    fn root(&self, failure: &Failure) -> Option<Failure> {
        let follows = matches!(failure.code, Code::State | Code::PurgeQueue | Code::PurgeInflight);
        // In a transaction that has failed, and only there, librdkafka answers this with the reason; it begins nothing.
        let reason = if self.transactional && follows { self.client.begin().err()? } else { return None };
        (reason.code != Code::State).then_some(reason)
    }

    /// The topic that brokers kept out of the transaction; librdkafka tells its name in words only.
    fn forbidden_topic(&self) -> Option<String> {
        let about = |note: &String| {
            // Others of the same request are only said to be left alone.
            let (_, rest) =
                note.contains("authorization failed").then_some(note)?.split_once("Failed to add partition \"")?;
            Some(rest.split_once('"')?.0.to_owned())
        };
        self.client.notes().iter().rev().find_map(about)
    }

    fn may_not_write(&self, topic: &str, failure: Failure) -> KafkaError {
        let request = (format!("write topic \"{topic}\""), Right::topic("Write", topic));
        KafkaError::of(&self.admin.address, request, failure)
    }

    fn refused(&self, output: &Output, failure: Failure) -> KafkaError {
        self.undelivered(&output.topic, failure)
    }

    fn undelivered(&self, topic: &str, failure: Failure) -> KafkaError {
        match failure.code {
            Code::TopicAuthorizationFailed => self.may_not_write(topic, failure),
            Code::MessageSizeTooLarge
            | Code::InvalidMessage
            | Code::InvalidMessageSize
            | Code::InvalidRecord
            | Code::InvalidTimestamp
            | Code::UnsupportedCompressionType
            | Code::PolicyViolation => KafkaError::Rejected { topic: topic.to_owned(), reason: failure.text },
            // A record was purged because the transaction had failed: its own reason is the one to tell.
            _ if let Some(cause) = self.client.fatal().or_else(|| self.root(&failure)) => match cause.code {
                // Who may write nothing at all gets no producer's id either.
                Code::ClusterAuthorizationFailed => self.may_not_write(topic, cause),
                _ => self.failed(failure),
            },
            _ => {
                let reason = format!("topic \"{topic}\": {}", failure.text);
                KafkaError::Commit { address: self.admin.address.clone(), reason }
            }
        }
    }

    /// What Kafka would refuse, before anything is written.
    fn check(&mut self, output: &Output) -> Answer<()> {
        let Output { topic, partition, records } = output;
        // A partition that is not there may have been added since.
        if self.topics.get(topic).is_none_or(|known| *partition >= known.partitions) {
            let found = match self.admin.need_topic(topic) {
                // It was there when the job began: whoever makes the job anew finds out what that means.
                Err(gone @ KafkaError::Topic(TopicError::NoTopic { .. })) if self.group.is_some() => {
                    return Err(KafkaError::Commit { address: self.admin.address.clone(), reason: gone.to_string() });
                }
                found => found?,
            };
            if found.config.is_empty() {
                return Err(self.admin.hides_settings(topic));
            }
            let known = Known {
                handle: Handle::new(&self.client, topic).map_err(|failure| self.failed(failure))?,
                partitions: found.partitions,
                limit: found.max_message_bytes(),
                compacted: found.config.get("cleanup.policy").is_some_and(|policy| policy.contains("compact")),
            };
            self.topics.insert(Arc::clone(topic), known);
        }
        let Some(known) = self.topics.get(topic) else { return Ok(()) };
        if !(0..known.partitions).contains(partition) {
            let (topic, last) = (topic.to_string(), known.partitions - 1);
            return Err(TopicError::NoPartition { topic, last, partition: *partition }.into());
        }
        if let Some(size) = above(records, known.limit) {
            return Err(TopicError::TooLarge { topic: topic.to_string(), size, limit: known.limit }.into());
        }
        if known.compacted && records.keys.null_count() > 0 {
            return Err(TopicError::NoKey { topic: topic.to_string() }.into());
        }
        Ok(())
    }
}

/// Whether a broker refuses a commit only because the group has changed since the member's place was looked up.
fn is_old_place(code: Code) -> bool {
    matches!(code, Code::IllegalGeneration | Code::RebalanceInProgress | Code::UnknownMemberId)
}

/// Kafka's overhead of a batch, and at most of a record in it.
const BATCH_HEAD: usize = 61;
const FIELDS: usize = 21;

/// A record's size as Kafka counts it: key, value, names and values of headers, and the overhead of a batch with one record.
fn size(records: &Records, row: usize) -> usize {
    let length = |array: &BinaryArray| usize::try_from(array.value_length(row)).unwrap_or(0);
    let headers = records.headers.as_ref().map_or(0, |map| {
        let offsets = map.value_offsets();
        let at = |row: usize| offsets.get(row).map_or(0, |offset| usize::try_from(*offset).unwrap_or(0));
        let span = |offsets: &[i32]| match (offsets.get(at(row)), offsets.get(at(row + 1))) {
            (Some(low), Some(high)) => usize::try_from(high - low).unwrap_or(0),
            _ => 0,
        };
        let names = map.keys().as_string_opt::<i32>().map_or(0, |names| span(names.value_offsets()));
        let values = map.values().as_binary_opt::<i32>().map_or(0, |values| span(values.value_offsets()));
        names + values + 4 * (at(row + 1) - at(row))
    });
    BATCH_HEAD + FIELDS + length(&records.keys) + length(&records.values) + headers
}

/// The size of the first record above `limit`, if there is one. The usual batch has none and costs two passes over lengths.
fn above(records: &Records, limit: usize) -> Option<usize> {
    let longest = |array: &BinaryArray| {
        let offsets = array.value_offsets();
        offsets.iter().zip(offsets.iter().skip(1)).map(|(from, to)| to - from).max().unwrap_or(0).unsigned_abs() as usize
    };
    if records.headers.is_none() && BATCH_HEAD + FIELDS + longest(&records.keys) + longest(&records.values) <= limit {
        return None;
    }
    (0..records.len()).map(|row| size(records, row)).find(|size| *size > limit)
}

/// The row before which a batch of at most `limit` bytes ends; at least one behind `from`.
fn piece(records: &Records, from: usize, limit: usize) -> usize {
    let mut bytes = 0;
    let fits = |row: &usize| {
        bytes += size(records, *row);
        bytes <= limit
    };
    from + (from..records.len()).take_while(fits).count().max(1)
}

#[cfg(test)]
mod tests;
