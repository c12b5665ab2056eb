//! The writer's thread: one commit after the other, and between them a little cleaning.
//!
//! ```text
//! outputs ─► encode (no lock held) ─► BEGIN IMMEDIATE ─► fence, batches, ends, positions ─► COMMIT ─► bell
//! ```
//! A commit is one transaction: everything in it is visible at once or never. Records above [`LARGE`] bytes were written before,
//! in pieces (see [`write_blob`]); the commit only points to them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray};

use super::cleaner::Cleaner;
use super::config::Policy;
use super::error::EmbeddedError;
use super::layout;
use super::shared::Shared;
use super::store::{Db, MAX_OFFSET, PIECE_BITS, PartitionRow, Result, Settings, TopicRow, batch_id};
use crate::connector::{Partition, Position, TopicError};
use crate::format::Records;
use crate::time::{Millis, now};

/// Batches are cut so that their bytes stay below this.
pub(super) const BATCH: usize = 1 << 20;
/// Records above this size go in pieces.
pub(super) const LARGE: usize = 1 << 20;
/// The size of a piece: at most a millisecond of the file's lock.
const PIECE: usize = 256 << 10;
/// Between two pieces.
const BREATH: Duration = Duration::from_micros(400);
/// Under load, a small piece of cleaning at most this often.
const CLEAN_EVERY: Duration = Duration::from_millis(20);

/// Something for the writer's thread to do.
pub(super) type Task = Box<dyn FnOnce(&mut Writer) + Send>;

/// The thread's state.
#[derive(Debug)]
pub(super) struct Writer {
    db: Option<Db>,
    shared: Weak<Shared>,
    file: Arc<Path>,
    settings: Settings,
    topics: HashMap<Arc<str>, Arc<TopicRow>>,
    pub cleaner: Cleaner,
}

/// A commit, ready for the thread.
#[derive(Debug)]
pub(super) struct Batches {
    /// The group, and the number of the sink that writes for it.
    pub group: Option<(String, i64)>,
    pub parts: Vec<Part>,
    pub positions: Vec<Position>,
    /// How many outputs the parts belong to.
    pub outputs: usize,
}

/// Records for one partition.
#[derive(Debug)]
pub(super) struct Part {
    /// Which of the commit's outputs they belong to.
    pub output: usize,
    pub topic: Arc<str>,
    pub partition: Partition,
    pub body: Body,
}

/// Records themselves, or one record that was written ahead.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // the large one is the usual one
pub(super) enum Body {
    Records(Records),
    Blob { blob: i64, time: Millis, size: i64 },
}

/// A batch as it goes into the table.
struct Batch {
    records: i64,
    newest: Millis,
    size: i64,
    blob: Option<i64>,
    data: Option<Vec<u8>>,
}

impl Writer {
    pub(super) fn new(shared: Weak<Shared>, file: Arc<Path>, settings: Settings) -> Self {
        let cleaner = Cleaner::new(settings.sweep_every);
        Self { db: None, shared, file, settings, topics: HashMap::new(), cleaner }
    }

    /// Works until nobody is left to give it tasks.
    pub(super) fn work(mut self, tasks: &Receiver<Task>) {
        let mut cleaned = Instant::now();
        loop {
            let task = if self.cleaner.has_work() {
                match tasks.try_recv() {
                    Ok(task) => Some(task),
                    Err(TryRecvError::Empty) => None,
                    Err(TryRecvError::Disconnected) => return,
                }
            } else {
                // Before the first task there is no connection to clean with.
                let rest = if self.db.is_some() { self.cleaner.rest() } else { Duration::from_secs(1) };
                match tasks.recv_timeout(rest) {
                    Ok(task) => Some(task),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            };
            let idle = task.is_none();
            if let Some(task) = task {
                task(&mut self);
            }
            let Some(shared) = self.shared.upgrade() else { return };
            if shared.log.too_long.swap(false, Ordering::Relaxed)
                && let Some(db) = &self.db
            {
                let _ = db.checkpoint(true);
            }
            if (idle || cleaned.elapsed() > CLEAN_EVERY)
                && let Some(db) = &self.db
            {
                self.cleaner.step(db, &shared);
                cleaned = Instant::now();
            }
        }
    }

    /// The thread's connection.
    pub(super) fn db(&mut self) -> Result<&Db> {
        let db = match self.db.take() {
            Some(db) => db,
            None => Db::open(&self.file, &self.settings)?,
        };
        Ok(self.db.insert(db))
    }

    fn topic(&mut self, name: &Arc<str>) -> Result<Arc<TopicRow>> {
        if let Some(topic) = self.topics.get(name) {
            return Ok(Arc::clone(topic));
        }
        let topic = Arc::new(self.db()?.need_topic(name)?);
        self.topics.insert(Arc::clone(name), Arc::clone(&topic));
        Ok(topic)
    }

    /// Writes a commit; the offset of the first record of each output.
    pub(super) fn commit(&mut self, batches: &Batches, given_up: &dyn Fn() -> bool) -> Result<Vec<i64>> {
        let done = match self.try_commit(batches, given_up) {
            // The topic was deleted since we looked, and perhaps made anew.
            Err(EmbeddedError::Topic(TopicError::Deleted { .. })) => {
                self.topics.clear();
                self.try_commit(batches, given_up)
            }
            done => done,
        };
        done.inspect_err(|_| self.topics.clear())
    }

    fn try_commit(&mut self, batches: &Batches, given_up: &dyn Fn() -> bool) -> Result<Vec<i64>> {
        // All that needs no lock comes first.
        let mut ready = Vec::with_capacity(batches.parts.len());
        let mut written = 0;
        for part in &batches.parts {
            let topic = self.topic(&part.topic)?;
            let slot = slot_of(&topic, part.partition)?;
            let cut = match &part.body {
                Body::Records(records) => cut(records, &topic)?,
                Body::Blob { blob, time, size } => {
                    vec![Batch { records: 1, newest: *time, size: *size, blob: Some(*blob), data: None }]
                }
            };
            written += cut.iter().map(|batch| batch.size.unsigned_abs()).sum::<u64>();
            ready.push((part.output, topic, part.partition, slot, cut));
        }
        let mut touched: Vec<(PartitionRow, usize)> = Vec::new();
        let offsets = self.db()?.write(|db| {
            if let Some((group, writer)) = &batches.group {
                let newest = db.maybe("SELECT writer FROM groups WHERE name = ?1", [group], |row| row.get::<_, i64>(0))?;
                if newest != Some(*writer) {
                    return Err(EmbeddedError::Fenced { group: group.clone() });
                }
            }
            let mut offsets = vec![None; batches.outputs];
            for (index, (output, topic, partition, slot, cut)) in ready.iter().enumerate() {
                let at = match touched.iter().position(|(row, _)| row.slot == *slot) {
                    Some(at) => at,
                    None => {
                        let row = db.partition(*slot)?;
                        let row = row.ok_or_else(|| TopicError::Deleted { topic: topic.name.to_string() })?;
                        touched.push((row, index));
                        touched.len() - 1
                    }
                };
                let row = &mut touched[at].0;
                offsets[*output].get_or_insert(row.next);
                for batch in cut {
                    insert(db, row, batch, topic, *partition)?;
                }
            }
            for (row, _) in &touched {
                db.run(
                    "UPDATE partitions SET next = ?2, bytes = ?3, newest = ?4 WHERE slot = ?1",
                    (row.slot, row.next, row.bytes, row.newest),
                )?;
            }
            if let Some((group, _)) = &batches.group {
                for position in &batches.positions {
                    db.run(
                        "INSERT INTO positions (of_group, topic, partition, position, metadata) VALUES (?1, ?2, ?3, ?4, ?5)
                         ON CONFLICT DO UPDATE SET position = excluded.position, metadata = excluded.metadata",
                        (group, &*position.topic, position.partition, position.offset, &position.metadata),
                    )?;
                }
            }
            if given_up() { Err(EmbeddedError::Cancelled) } else { Ok(offsets) }
        })?;
        if let Some(shared) = self.shared.upgrade() {
            if let Some((group, _)) = &batches.group {
                shared.holds.committed(group, &batches.positions);
            }
            if !touched.is_empty() {
                shared.bell.ring();
            }
            shared.wrote(written);
        }
        for (row, index) in &touched {
            self.cleaner.look_at(row, &ready[*index].1);
        }
        Ok(offsets.into_iter().map(Option::unwrap_or_default).collect())
    }
}

/// The slot of a partition.
pub(super) fn slot_of(topic: &TopicRow, partition: Partition) -> Result<i64> {
    let none = || TopicError::NoPartition { topic: topic.name.to_string(), last: topic.partitions - 1, partition };
    Ok(topic.slot(partition).ok_or_else(none)?)
}

fn insert(db: &Db, row: &mut PartitionRow, batch: &Batch, topic: &TopicRow, partition: Partition) -> Result<()> {
    let next = row.next + batch.records;
    if next > MAX_OFFSET {
        return Err(EmbeddedError::Exhausted { topic: topic.name.to_string(), partition });
    }
    row.newest = row.newest.max(batch.newest);
    db.run(
        "INSERT INTO batches (id, next, newest, newest_so_far, size, blob, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        (batch_id(row.slot, row.next), next, batch.newest, row.newest, batch.size, batch.blob, &batch.data),
    )?;
    if let Some(blob) = batch.blob {
        let shown = db.run("UPDATE blobs SET pending = NULL WHERE id = ?1 AND pending > 0", [blob])?;
        if shown != 1 {
            return Err(EmbeddedError::Forgotten);
        }
    }
    row.next = next;
    row.bytes += batch.size;
    Ok(())
}

/// Cuts records into batches below [`BATCH`] bytes, encoded.
fn cut(records: &Records, topic: &TopicRow) -> Result<Vec<Batch>> {
    check(records, topic)?;
    let mut batches = Vec::with_capacity(1);
    let mut start = 0;
    while start < records.len() {
        let left = records.len() - start;
        let count = fitting(records, start, BATCH);
        let piece = if count == left && start == 0 { records.clone() } else { records.slice(start, count) };
        let (newest, data) = encode(&piece, &topic.policy)?;
        let size = i64::try_from(data.len()).unwrap_or(i64::MAX);
        batches.push(Batch { records: count as i64, newest, size, blob: None, data: Some(data) });
        start += count;
    }
    Ok(batches)
}

/// The latest time in a batch, and its bytes.
fn encode(records: &Records, policy: &Policy) -> Result<(Millis, Vec<u8>)> {
    let stamp = policy.append_time.then(now);
    let newest = stamp.or_else(|| records.timestamps.iter().copied().max()).unwrap_or(i64::MIN);
    let data = layout::encode(records, stamp, None).map_err(|e| EmbeddedError::Misuse(format!("records: {e}")))?;
    Ok((newest, data))
}

/// How many records from `start` on have at most `bytes` bytes together; at least 1.
pub(super) fn fitting(records: &Records, start: usize, bytes: usize) -> usize {
    let left = records.len() - start;
    let fits = |count: usize| size_of(&records.slice(start, count)) <= bytes;
    if fits(left) {
        return left;
    }
    let (mut low, mut high) = (1, left);
    while low < high {
        let middle = (low + high).div_ceil(2);
        if fits(middle) { low = middle } else { high = middle - 1 }
    }
    low
}

/// Bytes of keys, values and headers, and the fixed columns.
pub(super) fn size_of(records: &Records) -> usize {
    records.bytes() + header_bytes(records, 0, records.len())
}

/// Bytes of the headers of records `low..high`.
fn header_bytes(records: &Records, low: usize, high: usize) -> usize {
    let span = |offsets: &[i32], low: usize, high: usize| match (offsets.get(low), offsets.get(high)) {
        (Some(low), Some(high)) => usize::try_from(high - low).unwrap_or(0),
        _ => 0,
    };
    let Some(map) = &records.headers else { return 0 };
    let at = |row: usize| map.value_offsets().get(row).map_or(0, |n| usize::try_from(*n).unwrap_or(0));
    let (low, high) = (at(low), at(high));
    let names = map.keys().as_string_opt::<i32>().map_or(0, |names| span(names.value_offsets(), low, high));
    let values = map.values().as_binary_opt::<i32>().map_or(0, |values| span(values.value_offsets(), low, high));
    names + values
}

/// Kafka's overhead of a batch, and at most of a record in it.
const BATCH_HEAD: usize = 61;
const FIELDS: usize = 21;

/// A record's size as Kafka counts it: key, value, names and values of headers, and the overhead of a batch with one record.
fn record_size(records: &Records, row: usize) -> usize {
    let length = |array: &arrow::array::BinaryArray| usize::try_from(array.value_length(row)).unwrap_or(0);
    let headers = records.headers.as_ref().map_or(0, |map| usize::try_from(map.value_length(row)).unwrap_or(0));
    let header_bytes = if headers > 0 { header_bytes(records, row, row + 1) + 4 * headers } else { 0 };
    BATCH_HEAD + FIELDS + length(&records.keys) + length(&records.values) + header_bytes
}

/// Where the first record above `bytes` is, if there is one. The usual batch has none and is done in two passes over lengths.
pub(super) fn first_above(records: &Records, bytes: usize) -> Option<usize> {
    let longest = |array: &arrow::array::BinaryArray| {
        let offsets = array.value_offsets();
        offsets.iter().zip(offsets.iter().skip(1)).map(|(from, to)| to - from).max().unwrap_or(0).unsigned_abs() as usize
    };
    if records.headers.is_none() && BATCH_HEAD + FIELDS + longest(&records.keys) + longest(&records.values) <= bytes {
        return None;
    }
    (0..records.len()).find(|row| record_size(records, *row) > bytes)
}

/// What Kafka would refuse.
pub(super) fn check(records: &Records, topic: &TopicRow) -> Result<()> {
    let limit = topic.policy.max_message_bytes;
    if let Some(row) = first_above(records, limit) {
        return Err(TopicError::TooLarge { topic: topic.name.to_string(), size: record_size(records, row), limit }.into());
    }
    if topic.policy.compact && records.keys.null_count() > 0 {
        return Err(TopicError::NoKey { topic: topic.name.to_string() }.into());
    }
    Ok(())
}

/// Writes one large record ahead of its commit, in small transactions that other writers' commits go between; each is synced, or
/// the next small commit would have to wait until all of it is on the disk. It is invisible
/// until a commit points to it; what never becomes visible is cleaned away after an hour.
pub(super) fn write_blob(db: &Db, shared: &Arc<Shared>, record: &Records, topic: &TopicRow) -> Result<Body> {
    check(record, topic)?;
    let (time, data) = encode(record, &topic.policy)?;
    let blob = db.write(|db| {
        db.one("INSERT INTO blobs (pending) VALUES (?1) RETURNING id", [now().max(1)], |row| row.get::<_, i64>(0))
    })?;
    for (number, piece) in data.chunks(PIECE).enumerate() {
        let id = (blob << PIECE_BITS) | number as i64;
        db.write(|db| db.run("INSERT INTO pieces (id, data) VALUES (?1, ?2)", (id, piece)))?;
        shared.wrote(piece.len() as u64);
        // Longer than other writers sleep between two tries, so that each that waits gets its turn.
        std::thread::sleep(BREATH);
    }
    Ok(Body::Blob { blob, time, size: i64::try_from(data.len()).unwrap_or(i64::MAX) })
}
