//! The embedded broker's [`Source`].   file ─► reader thread ─► buffer (at most `budget` bytes) ─► [`Source::next`] ─► cut
//!
//! The thread reads ahead while the engine decodes and scores. It goes around the partitions, a MiB each, so that none waits
//! behind another; at the end of all of them it waits for the bell.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

use super::error::EmbeddedError;
use super::group::Member;
use super::open::Open;
use super::reader::Place;
use super::shared::{Hold, Shared};
use super::store::{Db, Result, TopicRow};
use super::watch::lock;
use super::writer::{fitting, size_of, slot_of};
use crate::connector::{
    Assignment, Chunk, Cut, Event, Limit, OffsetAt, Partition, Rows, Source, SourceSpec, Start, TopicError, TopicSource,
};
use crate::format::Records;

/// What one visit to a partition reads at most, and at least (a batch is read whole, so the budget may be passed by one).
const VISIT: usize = 1 << 20;
const SMALL_VISIT: usize = 64 << 10;
/// Without a bell, a look now and then: other processes' commits are seen even if the watcher is in trouble.
const LOOK: Duration = Duration::from_millis(250);

/// A source of the embedded broker.
#[derive(Debug)]
pub(super) struct EmbeddedSource {
    assigned: Option<Vec<Assignment>>,
    buffer: Arc<Buffer>,
    /// Keeps the file open, so that later users in this process share its bell.
    open: Arc<Open>,
    hold: u64,
    _member: Option<Member>,
}

/// One partition, as the reader's thread sees it.
#[derive(Debug)]
struct Lane {
    input: usize,
    place: Place,
    topic: Arc<TopicRow>,
    /// The next offset to be read.
    position: i64,
    /// Where reading ends, if it does.
    end: Option<i64>,
    committed: Option<String>,
}

impl Lane {
    fn is_done(&self) -> bool {
        self.end.is_some_and(|end| self.position >= end)
    }
}

/// Between the thread and the source.
#[derive(Debug)]
struct Buffer {
    budget: usize,
    state: Mutex<State>,
    room: Condvar,
    filled: Notify,
}

#[derive(Debug, Default)]
struct State {
    queues: Vec<VecDeque<Waiting>>,
    bytes: usize,
    /// The partition that comes first in the next cut.
    turn: usize,
    finished: bool,
    error: Option<crate::Error>,
    closed: bool,
}

#[derive(Debug)]
struct Waiting {
    input: usize,
    partition: Partition,
    records: Records,
    next: i64,
    end: i64,
}

impl EmbeddedSource {
    pub(super) async fn open(open: Arc<Open>, spec: SourceSpec) -> crate::Result<Self> {
        let opening = Arc::clone(&open);
        open.read(move |db| Self::open_blocking(db, &opening, spec)).await
    }

    fn open_blocking(db: &Db, open: &Arc<Open>, spec: SourceSpec) -> crate::Result<Self> {
        let shared: &Arc<Shared> = open;
        let member = match &spec.group {
            Some(group) => Some(Member::join(&shared.dir, group)?),
            None => None,
        };
        shared.watch()?;
        let mut lanes = Vec::new();
        for (input, topic) in spec.topics.iter().enumerate() {
            lanes_of(db, input, topic, &mut lanes)?;
        }
        // Everything is held until it is known where reading begins, so that retention cannot come between.
        let needs = lanes.iter().map(|lane| ((Arc::clone(&lane.place.topic), lane.place.partition), (lane.place.slot, 0)));
        let hold = Hold { group: spec.group.clone(), needs: needs.collect() };
        let hold = shared.holds.add(hold);
        let opened = begin(db, &spec, &mut lanes);
        let source = Self {
            assigned: Some(lanes.iter().map(assignment).collect()),
            buffer: Arc::new(Buffer {
                budget: spec.budget,
                state: Mutex::new(State { queues: lanes.iter().map(|_| VecDeque::new()).collect(), ..State::default() }),
                room: Condvar::new(),
                filled: Notify::new(),
            }),
            open: Arc::clone(open),
            hold,
            _member: member,
        };
        opened?; // after `source` is whole, whose drop lets the hold go
        for lane in &lanes {
            shared.holds.set(hold, &lane.place.topic, lane.place.partition, lane.position);
        }
        let reader = Reader {
            shared: Arc::clone(shared),
            buffer: Arc::clone(&source.buffer),
            lanes,
            hold: spec.group.is_none().then_some(hold),
        };
        let started = std::thread::Builder::new().name("vatic-read".to_owned()).spawn(move || reader.work());
        started.map_err(|e| EmbeddedError::Open { file: shared.file.display().to_string(), source: Box::new(e) })?;
        Ok(source)
    }
}

fn assignment(lane: &Lane) -> Assignment {
    let Lane { input, place, position, committed, .. } = lane;
    Assignment { input: *input, partition: place.partition, offset: *position, committed: committed.clone() }
}

/// The partitions of one topic that are read.
fn lanes_of(db: &Db, input: usize, spec: &TopicSource, lanes: &mut Vec<Lane>) -> Result<()> {
    let topic = Arc::new(db.need_topic(&spec.topic)?);
    let partitions: Vec<Partition> = match &spec.partitions {
        None => (0..topic.partitions).collect(),
        Some(wanted) => wanted.clone(),
    };
    if let Start::Offsets(offsets) = &spec.start {
        for partition in offsets.keys() {
            slot_of(&topic, *partition)?;
        }
    }
    for partition in partitions {
        let place = Place { topic: Arc::clone(&spec.topic), partition, slot: slot_of(&topic, partition)? };
        let end = match &spec.ends {
            None => None,
            Some(ends) => {
                let end = usize::try_from(partition).ok().and_then(|index| ends.get(index));
                Some(*end.ok_or_else(|| EmbeddedError::Misuse(format!("no end is given for partition {partition}")))?)
            }
        };
        lanes.push(Lane { input, place, topic: Arc::clone(&topic), position: 0, end, committed: None });
    }
    Ok(())
}

/// Where each partition begins: at what the group committed, else where the topic's start says.
fn begin(db: &Db, spec: &SourceSpec, lanes: &mut [Lane]) -> Result<()> {
    for lane in lanes {
        let row = lane.place.row(db)?;
        let out_of_range = |what: String, offset: i64, group: Option<String>| TopicError::OutOfRange {
            topic: lane.place.topic.to_string(),
            partition: lane.place.partition,
            earliest: row.earliest,
            end: row.next,
            what,
            offset,
            asked: group.is_none(),
            group,
        };
        let holds = row.earliest..=row.next;
        if let Some(group) = &spec.group {
            let committed = db.maybe(
                "SELECT position, metadata FROM positions WHERE of_group = ?1 AND topic = ?2 AND partition = ?3",
                (group, &*lane.place.topic, lane.place.partition),
                |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)),
            )?;
            if let Some((position, metadata)) = committed {
                if !holds.contains(&position) {
                    return Err(out_of_range(format!("group \"{group}\" committed"), position, Some(group.clone())).into());
                }
                (lane.position, lane.committed) = (position, Some(metadata));
                continue;
            }
        }
        lane.position = match spec.topics.get(lane.input).map(|topic| &topic.start) {
            None | Some(Start::At(OffsetAt::Earliest)) => row.earliest,
            Some(Start::At(OffsetAt::Latest)) => row.next,
            Some(Start::At(OffsetAt::Timestamp(at))) => lane.place.offset_at(db, *at)?,
            Some(Start::Offsets(offsets)) => match offsets.get(&lane.place.partition) {
                None => row.earliest,
                Some(offset) if holds.contains(offset) => *offset,
                Some(offset) => return Err(out_of_range("the query asked for".to_owned(), *offset, None).into()),
            },
        };
    }
    Ok(())
}

#[async_trait]
impl Source for EmbeddedSource {
    async fn next(&mut self, limit: Limit) -> crate::Result<Event> {
        if let Some(assigned) = self.assigned.take() {
            return Ok(Event::Assigned(assigned));
        }
        if limit.is_none() {
            return std::future::pending().await;
        }
        loop {
            {
                let mut state = lock(&self.buffer.state);
                if let Some(cut) = state.cut(limit) {
                    self.buffer.room.notify_one();
                    return Ok(Event::Cut(cut));
                }
                if let Some(error) = state.error.take() {
                    return Err(error);
                }
                if state.finished {
                    return Ok(Event::Finished);
                }
                if state.closed {
                    return Err(EmbeddedError::Misuse("the source has failed before".to_owned()).into());
                }
            }
            // A notification between the look above and this line is kept.
            self.buffer.filled.notified().await;
        }
    }
}

impl Drop for EmbeddedSource {
    fn drop(&mut self) {
        lock(&self.buffer.state).closed = true;
        self.buffer.room.notify_one();
        self.open.bell.ring();
        self.open.holds.remove(self.hold);
    }
}

impl State {
    /// Takes what is at hand within `limit`, each partition its share of what is left of it.
    fn cut(&mut self, limit: Limit) -> Option<Cut> {
        let lanes = self.queues.len();
        let mut filled = self.queues.iter().filter(|queue| !queue.is_empty()).count();
        if filled == 0 {
            return None;
        }
        let (mut rows, mut bytes) = (limit.rows.max(1), limit.bytes);
        let mut cut = Cut::default();
        let first = self.turn % lanes.max(1);
        for index in (first..lanes).chain(0..first) {
            if self.queues.get(index).is_none_or(VecDeque::is_empty) {
                continue;
            }
            let (mut share_rows, mut share_bytes) = (rows.div_ceil(filled), bytes / filled);
            filled -= 1;
            while share_rows > 0
                && let Some(chunk) = self.take(index, share_rows, share_bytes, cut.chunks.is_empty())
            {
                let (took_rows, took_bytes) = (chunk.rows.len(), chunk.rows.bytes());
                (rows, bytes) = (rows.saturating_sub(took_rows), bytes.saturating_sub(took_bytes));
                (share_rows, share_bytes) = (share_rows.saturating_sub(took_rows), share_bytes.saturating_sub(took_bytes));
                cut.chunks.push(chunk);
            }
            if rows == 0 {
                break;
            }
        }
        self.turn = first + 1;
        Some(cut)
    }

    /// The front of one queue, as much of it as fits; nothing if not one record does, unless one is due.
    fn take(&mut self, index: usize, rows: usize, bytes: usize, due: bool) -> Option<Chunk> {
        let queue = self.queues.get_mut(index)?;
        let front = queue.front_mut()?;
        let whole = front.records.len();
        let mut count = fitting(&front.records, 0, bytes).min(rows);
        if count == 1 && !due && size_of(&front.records.slice(0, 1)) > bytes {
            count = 0;
        }
        if count == 0 {
            return None;
        }
        let chunk = |records: Records, next_offset: i64, front: &Waiting| Chunk {
            input: front.input,
            partition: front.partition,
            next_offset,
            end: Some(front.end),
            rows: Rows::Records(records),
        };
        if count == whole {
            let front = queue.pop_front()?;
            self.bytes = self.bytes.saturating_sub(size_of(&front.records));
            return Some(chunk(front.records.clone(), front.next, &front));
        }
        let taken = front.records.slice(0, count);
        let before = size_of(&front.records);
        front.records = front.records.slice(count, whole - count);
        self.bytes = self.bytes.saturating_sub(before - size_of(&front.records).min(before));
        let next = taken.offsets.last().map_or(0, |last| last + 1);
        Some(chunk(taken, next, front))
    }
}

/// The thread that reads ahead.
struct Reader {
    shared: Arc<Shared>,
    buffer: Arc<Buffer>,
    lanes: Vec<Lane>,
    /// Our hold on retention, if reading moves it (a group's is moved by its commits).
    hold: Option<u64>,
}

impl Reader {
    fn work(mut self) {
        let done = Db::open(&self.shared.file, &self.shared.settings).and_then(|db| self.read(&db));
        let mut state = lock(&self.buffer.state);
        match done {
            Ok(finished) => state.finished = finished,
            Err(error) => state.error = Some(error.into()),
        }
        state.closed = true;
        drop(state);
        self.buffer.filled.notify_one();
    }

    /// Reads until all ends are reached (true) or the source is dropped (false).
    fn read(&mut self, db: &Db) -> Result<bool> {
        let mut first = 0;
        let visit = (self.buffer.budget / (2 * self.lanes.len().max(1))).clamp(SMALL_VISIT, VISIT);
        loop {
            if self.lanes.iter().all(Lane::is_done) {
                return Ok(true);
            }
            let seen = self.shared.bell.rings();
            let ends = self.ends(db)?;
            let lanes = self.lanes.len();
            let mut progress = false;
            for index in (first..lanes).chain(0..first) {
                let (Some(lane), Some(known)) = (self.lanes.get_mut(index), ends.get(index)) else { continue };
                let to = lane.end.unwrap_or(i64::MAX).min(*known);
                if lane.position >= to {
                    continue;
                }
                progress = true;
                let Some((room, mut alone)) = self.buffer.wait_for_room(visit) else { return Ok(false) };
                let mut taken = lane.place.take(db, lane.position, to, room, alone)?;
                while taken.too_large && !alone {
                    let Some(empty) = self.buffer.wait_for_room(usize::MAX) else { return Ok(false) };
                    alone = empty.1;
                    taken = lane.place.take(db, lane.position, to, room, alone)?;
                }
                lane.position = taken.next;
                if let Some(hold) = self.hold {
                    self.shared.holds.set(hold, &lane.place.topic, lane.place.partition, lane.position);
                }
                if let Some(records) = taken.records {
                    let (input, partition) = (lane.input, lane.place.partition);
                    self.buffer.push(index, Waiting { input, partition, records, next: taken.next, end: taken.end });
                }
            }
            first = (first + 1) % lanes.max(1);
            if lock(&self.buffer.state).closed {
                return Ok(false);
            }
            if !progress {
                self.shared.bell.wait(seen, LOOK);
            }
        }
    }

    /// The present end of each lane's partition, in one short read per topic.
    fn ends(&self, db: &Db) -> Result<Vec<i64>> {
        let mut ends = Vec::with_capacity(self.lanes.len());
        let mut known: Option<(&Arc<TopicRow>, Vec<_>)> = None;
        for lane in &self.lanes {
            let rows = match &known {
                Some((topic, rows)) if Arc::ptr_eq(topic, &lane.topic) => rows,
                _ => &known.insert((&lane.topic, db.partitions(&lane.topic)?)).1,
            };
            let row = rows.iter().find(|row| row.slot == lane.place.slot);
            ends.push(row.ok_or_else(|| TopicError::Deleted { topic: lane.place.topic.to_string() })?.next);
        }
        Ok(ends)
    }
}

impl Buffer {
    /// Waits until `bytes` more fit, or nothing is waiting; how many bytes may come, and whether nothing is waiting. `None` when
    /// the source was dropped.
    fn wait_for_room(&self, bytes: usize) -> Option<(usize, bool)> {
        let full = |state: &mut State| !state.closed && state.bytes > 0 && state.bytes.saturating_add(bytes) > self.budget;
        let waited = self.room.wait_while(lock(&self.state), full);
        let state = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
        (!state.closed).then(|| (self.budget.saturating_sub(state.bytes).min(bytes).min(VISIT), state.bytes == 0))
    }

    fn push(&self, index: usize, waiting: Waiting) {
        let mut state = lock(&self.state);
        state.bytes += size_of(&waiting.records);
        if let Some(queue) = state.queues.get_mut(index) {
            queue.push_back(waiting);
        }
        drop(state);
        self.filled.notify_one();
    }
}
