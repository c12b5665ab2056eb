//! The thread behind a source.   messages ─► columns ─► buffers;   rebalances ─► positions, ranges ─► events
//!
//! It waits in librdkafka for messages and wakes when the source wants something. With a full buffer it stops taking; if that
//! lasts, it pauses fetching and goes on answering the group, so that a slow sink never costs the membership.
//! A partition's life: assigned (its start looked up and checked first) ─► read ─► at its end, or revoked (waits for the engine's
//! commit), or lost. Positions come from records, and from the event at a partition's end, which counts transaction markers too.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::types::RDKafkaErrorCode as Code;

use super::admin::{Admin, put, ranges};
use super::begin::{Begin, Undecided, begin};
use super::error::KafkaError;
use super::ffi::{Batch, Client, Entry, Failure, Message, Queue, Rebalance, lock};
use super::rights::Right;
use super::security;
use super::source::{Lane, Place, Shared, singly};
use crate::connector::{Assignment, Cut, Event, SourceSpec, TopicError, TopicSource};
use crate::format::RecordsBuilder;

type Result<T> = std::result::Result<T, KafkaError>;

/// How many messages are taken at once.
const MOST: usize = 8192;
/// How long one wait may take, if nobody wakes it.
const WAIT: Duration = Duration::from_millis(250);
/// A buffer that is full for so long pauses fetching.
const FULL: Duration = Duration::from_millis(500);
/// How often a source without a group looks for new partitions, and whether its topics are still there.
const GROWTH: Duration = Duration::from_secs(5);

/// One partition as the thread sees it.
#[derive(Debug)]
struct Reading {
    builder: RecordsBuilder,
    /// The next offset to be read.
    next: i64,
    end: Option<i64>,
    /// It is waited for that the engine lets it go.
    revoked: bool,
}

impl Reading {
    fn is_done(&self) -> bool {
        self.end.is_some_and(|end| self.next >= end)
    }
}

/// The thread's state.
#[derive(Debug)]
pub(super) struct Reader {
    pub admin: Arc<Admin>,
    pub spec: SourceSpec,
    pub shared: Arc<Shared>,
    pub queue: Arc<Queue>,
    /// How many partitions each topic had when the source was opened; later ones are read from their beginning.
    pub known: Vec<i32>,
    readings: BTreeMap<Place, Reading>,
    inputs: HashMap<Arc<str>, usize>,
    /// Numbers assignments.
    assignments: u64,
    /// Revocations that the engine was told of, the oldest first, each with its number.
    revoking: Vec<TopicPartitionList>,
    answered: u64,
    joined: bool,
    /// When the group was asked for other members' positions.
    asked: Option<Instant>,
    paused: bool,
    /// Messages are taken one by one.
    singly: bool,
}

impl Reader {
    pub(super) fn new(admin: Arc<Admin>, spec: SourceSpec, shared: Arc<Shared>, queue: Arc<Queue>, known: Vec<i32>) -> Self {
        let inputs = spec.topics.iter().enumerate().map(|(input, t)| (Arc::clone(&t.topic), input)).collect();
        let singly = singly(&spec);
        Self {
            admin,
            spec,
            shared,
            queue,
            known,
            readings: BTreeMap::new(),
            inputs,
            assignments: 0,
            revoking: Vec::new(),
            answered: 0,
            joined: false,
            asked: None,
            paused: false,
            singly,
        }
    }

    fn client(&self) -> &Arc<Client> {
        self.queue.client()
    }

    /// Reads until the source is dropped or something is wrong.
    pub(super) fn work(mut self) {
        if let Err(error) = self.read() {
            let mut state = lock(&self.shared.state);
            (state.error, state.failed) = (Some(error.into()), true);
            drop(state);
            self.shared.filled.notify_one();
        }
        if self.spec.group.is_some() {
            // Should it fail, whoever goes on repeats some rows, as at-least-once allows.
            let _ = self.shared.make_sure(|_, _| true);
            // What waits for an answer would keep the group from letting us go.
            for list in std::mem::take(&mut self.revoking) {
                let _ = self.client().unassign(&list);
            }
            self.client().close();
        }
        *lock(&self.shared.owned) = Arc::default();
    }

    fn read(&mut self) -> Result<()> {
        let (mut batch, mut full_since, mut grown) = (Batch::default(), None::<Instant>, Instant::now());
        let high = (self.spec.budget / 2).max(1);
        loop {
            {
                let mut state = lock(&self.shared.state);
                // Taking stops while the buffer is full, for a while; then fetching does, and the group is served on.
                while state.bytes >= high && !state.closed && state.released == self.answered && !self.paused {
                    let since = *full_since.get_or_insert_with(Instant::now);
                    let left = FULL.saturating_sub(since.elapsed());
                    if left.is_zero() {
                        break;
                    }
                    state = self.shared.room.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
                }
                if state.closed {
                    return Ok(());
                }
                let full = state.bytes >= high;
                drop(state);
                if full && !self.paused {
                    self.pause(true)?;
                } else if !full {
                    full_since = None;
                    if self.paused && lock(&self.shared.state).bytes < high / 2 + 1 {
                        self.pause(false)?;
                    }
                }
            }
            self.answer_releases()?;
            self.queue.take(WAIT, MOST, self.singly, &mut batch);
            while let Some(rebalance) = self.client().rebalance() {
                self.rebalance(rebalance)?;
            }
            self.convert(&batch)?;
            self.finish();
            if grown.elapsed() > GROWTH {
                grown = Instant::now();
                self.client().revive();
                if self.spec.group.is_none() {
                    self.grow()?;
                }
            }
            if let Some(failure) = self.client().fatal() {
                return Err(KafkaError::of(&self.admin.address, "keep the group", failure));
            }
            if let Some(error) = security::refusal(self.client(), &self.admin.address) {
                return Err(error);
            }
        }
    }

    /// Begins to read without a group.
    pub(super) fn start(&mut self, begin: Begin) -> Result<()> {
        self.take_over(begin);
        self.joined = true;
        self.read_all()?;
        self.finish();
        Ok(())
    }

    /// Tells librdkafka all partitions that are not done, each from where it is.
    fn read_all(&mut self) -> Result<()> {
        let places: Vec<Place> =
            self.readings.iter().filter(|(_, reading)| !reading.is_done()).map(|(place, _)| *place).collect();
        let list = self.list(&places)?;
        self.client().read(&list).map_err(|failure| KafkaError::of(&self.admin.address, "begin to read", failure))
    }

    /// Partitions with the offsets that are next.
    fn list(&self, places: &[Place]) -> Result<TopicPartitionList> {
        let mut list = TopicPartitionList::with_capacity(places.len());
        for place in places {
            let Some(topic) = self.spec.topics.get(place.0) else { continue };
            let next = self.readings.get(place).map_or(0, |reading| reading.next);
            put(&mut list, &topic.topic, place.1, next, "")?;
        }
        Ok(list)
    }

    /// Puts partitions where the source sees them, and says so.
    fn take_over(&mut self, begin: Begin) {
        self.assignments += 1;
        let mut state = lock(&self.shared.state);
        let mut owned = (**lock(&self.shared.owned)).clone();
        for assignment in &begin.places {
            let place = (assignment.input, assignment.partition);
            let Some(topic) = self.spec.topics.get(place.0) else { continue };
            // One that was added after the ends were taken holds nothing before them.
            let end_of = |ends: &Vec<i64>| usize::try_from(place.1).ok().and_then(|p| ends.get(p).copied());
            let end = topic.ends.as_ref().map(|ends| end_of(ends).unwrap_or(assignment.offset));
            let known_end = end.or_else(|| begin.ends.get(&place).copied()).unwrap_or(assignment.offset);
            state.lanes.insert(place, Lane::at(assignment.offset, known_end));
            owned.insert((Arc::clone(&topic.topic), place.1), self.assignments);
            let reading =
                Reading { builder: RecordsBuilder::with_capacity(64), next: assignment.offset, end, revoked: false };
            self.readings.insert(place, reading);
        }
        *lock(&self.shared.owned) = Arc::new(owned);
        if !begin.places.is_empty() {
            state.events.push_back(Event::Assigned(begin.places));
            if self.shared.group.is_some() {
                state.events.push_back(Event::Cut(Cut { chunks: Vec::new(), membership: Some(self.shared.membership()) }));
            }
        }
        drop(state);
        self.shared.filled.notify_one();
    }

    /// Throws away what waits of partitions that are not ours any longer.
    fn drop_lanes(&mut self, places: &[Place]) {
        let mut state = lock(&self.shared.state);
        for place in places {
            if let Some(lane) = state.lanes.remove(place) {
                state.bytes = state.bytes.saturating_sub(lane.bytes());
            }
        }
    }

    fn disown(&mut self, places: &[Place]) {
        let mut owned = (**lock(&self.shared.owned)).clone();
        for place in places {
            self.readings.remove(place);
            if let Some(topic) = self.spec.topics.get(place.0) {
                let at = (Arc::clone(&topic.topic), place.1);
                owned.remove(&at);
                // Whoever has it by now commits it; ours would set that back.
                lock(&self.shared.unsure).remove(&at);
            }
        }
        *lock(&self.shared.owned) = Arc::new(owned);
    }

    fn places(&self, entries: &[Entry]) -> Vec<Place> {
        let place = |entry: &Entry| Some((*self.inputs.get(entry.topic.as_str())?, entry.partition));
        let set: BTreeSet<Place> = entries.iter().filter_map(place).collect();
        set.into_iter().collect()
    }

    fn rebalance(&mut self, rebalance: Rebalance) -> Result<()> {
        let failed = |this: &Self, failure: Failure| KafkaError::of(&this.admin.address, "share partitions", failure);
        match rebalance {
            Rebalance::Assign(entries) => {
                let places = self.places(&entries);
                let begin = begin(&self.admin, &self.spec, &self.known, &places, Undecided::Waited)?;
                self.take_over(begin);
                let list = self.list(&places)?;
                self.client().assign(&list).map_err(|failure| failed(self, failure))?;
                self.joined = true;
                self.client().is_let_in();
                if self.paused {
                    self.client().pause(&list);
                }
            }
            Rebalance::Revoke(entries) => {
                let places = self.places(&entries);
                self.drop_lanes(&places);
                let list = self.list(&places)?;
                let held: Vec<Place> = places.iter().copied().filter(|place| self.readings.contains_key(place)).collect();
                for place in &held {
                    if let Some(reading) = self.readings.get_mut(place) {
                        reading.revoked = true;
                    }
                }
                if held.is_empty() {
                    self.client().unassign(&list).map_err(|failure| failed(self, failure))?;
                } else {
                    self.revoking.push(list);
                    lock(&self.shared.state).events.push_back(Event::Revoked(held));
                    self.shared.filled.notify_one();
                }
            }
            Rebalance::Lost(entries) => {
                let places = self.places(&entries);
                self.drop_lanes(&places);
                self.disown(&places);
                let list = self.list(&places)?;
                lock(&self.shared.state).events.push_back(Event::Lost(places));
                self.shared.filled.notify_one();
                self.client().unassign(&list).map_err(|failure| failed(self, failure))?;
            }
        }
        Ok(())
    }

    /// Gives back what the engine has let go.
    fn answer_releases(&mut self) -> Result<()> {
        let released = lock(&self.shared.state).released;
        while self.answered < released {
            self.answered += 1;
            if self.revoking.is_empty() {
                continue;
            }
            let list = self.revoking.remove(0);
            // As at the end; nobody else may begin there before the brokers know.
            let _ = self.shared.make_sure(|topic, partition| list.find_partition(topic, partition).is_some());
            let elements = list.elements();
            let place = |topic: &str, partition| Some((*self.inputs.get(topic)?, partition));
            let places: Vec<Place> = elements.iter().filter_map(|e| place(e.topic(), e.partition())).collect();
            drop(elements);
            self.disown(&places);
            let outcome = self.client().unassign(&list);
            outcome.map_err(|failure| KafkaError::of(&self.admin.address, "give partitions back", failure))?;
        }
        Ok(())
    }

    /// Turns messages into columns and hands them over.
    fn convert(&mut self, batch: &Batch) -> Result<()> {
        // Messages come in runs of one partition, so its reading is looked up once per run.
        let mut run: Option<((usize, i32), Place)> = None;
        let mut touched: Vec<Place> = Vec::new();
        let mut astray: BTreeSet<Place> = BTreeSet::new();
        for message in batch.iter() {
            if let Some(failure) = message.failure() {
                let place = self.inputs.get(message.topic()).map(|input| (*input, message.partition()));
                // The call for many messages takes an event for a record, and librdkafka stands one behind it.
                if self.trouble(message, failure, &mut touched)? || !self.singly {
                    astray.extend(place);
                }
                continue;
            }
            let mark = (message.topic_mark(), message.partition());
            let place = match run {
                Some((same, place)) if same == mark => place,
                _ => {
                    let Some(input) = self.inputs.get(message.topic()) else { continue };
                    let place = (*input, message.partition());
                    run = Some((mark, place));
                    if !touched.contains(&place) {
                        touched.push(place);
                    }
                    place
                }
            };
            let Some(reading) = self.readings.get_mut(&place).filter(|reading| !reading.revoked) else { continue };
            let offset = message.offset();
            if offset < reading.next {
                continue;
            }
            reading.next = offset + 1;
            if reading.end.is_some_and(|end| offset >= end) {
                continue;
            }
            reading.builder.push(offset, message.timestamp(), message.key(), message.value(), message.headers());
        }
        self.hand_over(&touched);
        self.again(astray)
    }

    fn hand_over(&mut self, touched: &[Place]) {
        let mut done = Vec::new();
        for place in touched {
            let (Some(reading), Some(topic)) = (self.readings.get_mut(place), self.spec.topics.get(place.0)) else {
                continue;
            };
            let records = reading.builder.finish();
            let (next, end) = (reading.next, reading.end);
            if reading.is_done() {
                done.push(*place);
            }
            let high = end.unwrap_or_else(|| self.queue.client().high(&topic.topic, place.1));
            let mut state = lock(&self.shared.state);
            if !records.is_empty() {
                state.push(*place, records, end.map_or(next, |end| next.min(end.max(0))), high);
            } else if let Some(lane) = state.lanes.get_mut(place) {
                lane.next = lane.next.max(end.map_or(next, |end| next.min(end)));
            }
        }
        if !touched.is_empty() {
            self.shared.filled.notify_one();
        }
        if !done.is_empty() {
            // Nothing beyond the end is fetched for nothing.
            if let Ok(list) = self.list(&done) {
                self.client().pause(&list);
            }
        }
    }

    /// An event about a partition, or an error. Answers whether the partition is to be read again from where it stands.
    fn trouble(&mut self, message: Message<'_>, failure: Failure, touched: &mut Vec<Place>) -> Result<bool> {
        let place = self.inputs.get(message.topic()).map(|input| (*input, message.partition()));
        let topic = message.topic().to_owned();
        match failure.code {
            Code::PartitionEOF => {
                if let Some((place, reading)) = place.and_then(|place| Some((place, self.readings.get_mut(&place)?))) {
                    reading.next = reading.next.max(message.offset());
                    if !touched.contains(&place) {
                        touched.push(place);
                    }
                }
                Ok(false)
            }
            Code::AutoOffsetReset | Code::OffsetOutOfRange => {
                let offset = place.and_then(|place| self.readings.get(&place)).map_or(message.offset(), |r| r.next);
                let held = ranges(&self.admin, &[(&topic, message.partition())])?;
                let (earliest, end) = held.into_values().next().unwrap_or_default();
                if (earliest..=end).contains(&offset) {
                    // A leader that lags behind after an election says so for a moment; we stay where we are.
                    return Ok(true);
                }
                Err(TopicError::OutOfRange {
                    topic,
                    partition: message.partition(),
                    earliest,
                    end,
                    what: "the reader stood at".to_owned(),
                    offset,
                    group: self.spec.group.clone(),
                    asked: false,
                }
                .into())
            }
            Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => {
                // After an election the metadata may be behind; a deleted topic stays away.
                if !topic.is_empty() && self.admin.is_gone(&topic)? {
                    return Err(TopicError::Deleted { topic }.into());
                }
                Ok(false)
            }
            // librdkafka would go on behind records that cannot be read.
            Code::BadMessage | Code::BadCompression | Code::NotImplemented => {
                let what = format!("read topic \"{topic}\" at partition {}", message.partition());
                Err(KafkaError::of(&self.admin.address, what, failure))
            }
            Code::TopicAuthorizationFailed => {
                let request = (format!("read topic \"{topic}\""), Right::topic("Read", topic));
                Err(KafkaError::of(&self.admin.address, request, failure))
            }
            Code::GroupAuthorizationFailed if self.spec.group.is_some() => {
                let group = self.spec.group.clone().unwrap_or_default();
                Err(KafkaError::of(&self.admin.address, super::joining(&group), failure))
            }
            // The broker does not take us as we are, and will not later.
            Code::InvalidSessionTimeout
            | Code::InconsistentGroupProtocol
            | Code::InvalidGroupId
            | Code::GroupMaxSizeReached
            | Code::FencedInstanceId
            | Code::UnsupportedVersion
                if self.spec.group.is_some() =>
            {
                let group = self.spec.group.clone().unwrap_or_default();
                Err(KafkaError::of(&self.admin.address, format!("take us into group \"{group}\""), failure))
            }
            Code::Fatal => {
                let failure = self.client().fatal().unwrap_or(failure);
                Err(KafkaError::of(&self.admin.address, "keep the group", failure))
            }
            // Everything else passes: brokers come back, leaders are elected, coordinators move.
            _ => Ok(false),
        }
    }

    /// Reads partitions from where they stand, after librdkafka gave them up, unless nothing more is wanted of them: giving a revoked
    /// one back, which this does for a moment, would be the answer to the group before the engine has committed.
    fn again(&mut self, mut places: BTreeSet<Place>) -> Result<()> {
        places.retain(|place| self.readings.get(place).is_some_and(|reading| !reading.is_done() && !reading.revoked));
        if places.is_empty() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
        let list = self.list(&places.into_iter().collect::<Vec<_>>())?;
        if self.spec.group.is_none() {
            self.read_all()?;
        } else {
            let failed = |failure| KafkaError::of(&self.admin.address, "go on reading", failure);
            self.client().unassign(&list).and_then(|()| self.client().assign(&list)).map_err(failed)?;
        }
        if self.paused {
            self.pause(true)?;
        }
        Ok(())
    }

    /// Says that all is read, once it is: by the whole group, for a partition on its way from one member to another is nobody's, and
    /// who leaves meanwhile would leave it unread.
    fn finish(&mut self) {
        let bounded = self.spec.topics.iter().all(|topic| topic.ends.is_some());
        let ours = bounded && self.joined && self.readings.values().all(Reading::is_done);
        let done = ours && (lock(&self.shared.state).finished || self.others_are_done());
        let mut state = lock(&self.shared.state);
        if state.finished != done {
            (state.finished, state.told_finished) = (done, false);
            drop(state);
            self.shared.filled.notify_one();
        }
    }

    /// Whether the group has committed all partitions that are not ours up to their ends; asked now and then.
    fn others_are_done(&mut self) -> bool {
        let ends = |(input, topic): (usize, &TopicSource)| {
            let ends = topic.ends.clone().unwrap_or_default();
            (0..).zip(ends).map(move |(partition, end)| ((input, partition), end))
        };
        let ends = self.spec.topics.iter().enumerate().flat_map(ends);
        let others: BTreeMap<Place, i64> = ends.filter(|(place, _)| !self.readings.contains_key(place)).collect();
        if self.spec.group.is_none() || others.is_empty() {
            return true;
        }
        if self.asked.is_some_and(|asked| asked.elapsed() < WAIT) {
            return false;
        }
        self.asked = Some(Instant::now());
        let places: Vec<Place> = others.keys().copied().collect();
        // Without an answer nothing is known; it is asked again.
        let Ok(begin) = begin(&self.admin, &self.spec, &self.known, &places, Undecided::LeftOut) else { return false };
        let reached = |a: &Assignment| others.get(&(a.input, a.partition)).is_some_and(|end| a.offset >= *end);
        begin.places.len() == places.len() && begin.places.iter().all(reached)
    }

    /// Stops or resumes fetching.
    fn pause(&mut self, pause: bool) -> Result<()> {
        let places: Vec<Place> =
            self.readings.iter().filter(|(_, reading)| !reading.is_done()).map(|(place, _)| *place).collect();
        let list = self.list(&places)?;
        if pause {
            self.client().pause(&list);
        } else {
            self.client().resume(&list);
        }
        self.paused = pause;
        Ok(())
    }

    /// Looks for partitions that were added, if the source follows, and for topics that are gone, for a source without a group.
    fn grow(&mut self) -> Result<()> {
        let mut new = Vec::new();
        for (input, topic) in self.spec.topics.iter().enumerate() {
            let ended = |(place, reading): (&Place, &Reading)| place.0 != input || reading.is_done();
            if topic.ends.is_some() && self.readings.iter().all(ended) {
                continue;
            }
            // librdkafka may go on asking for a deleted topic for ever.
            let partitions = match self.admin.glance(&topic.topic) {
                Ok(Some(partitions)) => partitions,
                Ok(None) => match self.admin.is_gone(&topic.topic) {
                    Ok(true) => return Err(TopicError::Deleted { topic: topic.topic.to_string() }.into()),
                    Ok(false) | Err(_) => return Ok(()),
                },
                Err(_) => return Ok(()), // the broker is away; it is asked again later
            };
            if topic.ends.is_some() || topic.partitions.is_some() {
                continue;
            }
            new.extend((0..partitions).map(|p| (input, p)).filter(|place| !self.readings.contains_key(place)));
        }
        if new.is_empty() {
            return Ok(());
        }
        let begin = begin(&self.admin, &self.spec, &self.known, &new, Undecided::Waited)?;
        self.take_over(begin);
        self.read_all()
    }
}
