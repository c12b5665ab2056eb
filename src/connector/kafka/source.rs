//! Kafka's [`Source`].   librdkafka ─► reader thread ─► buffers per partition (half the budget) ─► [`Source::next`] ─► cut
//!
//! The thread (`reader.rs`) turns messages into columns and answers the group's rebalances; this side hands out what is there, each
//! partition its share. The other half of the budget is librdkafka's own prefetch.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex};

use async_trait::async_trait;
use tokio::sync::Notify;

use super::admin::list;
use super::error::KafkaError;
use super::ffi::{Client, GroupMetadata, Outcome, Queue, lock};
use crate::connector::{Chunk, Cut, Event, Limit, Membership, Partition, Position, Rows, Source, SourceSpec};
use crate::error::Result;
use crate::format::Records;

/// A partition of one of the source's topics.
pub(super) type Place = (usize, Partition);
/// Which partitions a member has, and with which of its assignments each came. Replaced whole, so a cut keeps the one it saw.
pub(super) type Owned = Arc<BTreeMap<(Arc<str>, Partition), u64>>;

/// Whether the source must know of partitions' ends: not of those before which there is nothing.
pub(super) fn has_ends(spec: &SourceSpec) -> bool {
    spec.topics.iter().any(|topic| topic.ends.iter().flatten().any(|end| *end > 0))
}

/// Whether messages are taken one by one, see [`Queue::take`]: where some partitions are followed past ends that are told of.
pub(super) fn singly(spec: &SourceSpec) -> bool {
    has_ends(spec) && spec.topics.iter().any(|topic| topic.ends.is_none())
}

/// A source of Kafka topics.
#[derive(Debug)]
pub(super) struct KafkaSource {
    pub(super) shared: Arc<Shared>,
    pub(super) queue: Arc<Queue>,
    /// Joined when the broker is dropped, so that a process that ends has left its groups.
    pub(super) leaving: Option<Leaving>,
}

/// The threads of sources and sinks that were dropped, readers by their groups.
pub(super) type Leavers = Arc<Mutex<Vec<(Option<String>, std::thread::JoinHandle<()>)>>>;

/// What [`KafkaSource`] leaves behind.
#[derive(Debug)]
pub(super) struct Leaving {
    pub group: Option<String>,
    pub thread: std::thread::JoinHandle<()>,
    pub to: Leavers,
}

/// Between the thread and the source.
#[derive(Debug)]
pub(super) struct Shared {
    pub group: Option<String>,
    pub state: Mutex<State>,
    /// Rings when there is room, when partitions may go, and at the end.
    pub room: Condvar,
    pub filled: Notify,
    pub owned: Mutex<Owned>,
    /// Positions that librdkafka was told to commit and nobody waited for; the newest of each partition.
    pub unsure: Mutex<BTreeMap<(Arc<str>, Partition), Position>>,
    pub client: Arc<Client>,
}

impl Shared {
    /// The place in the group as it is now.
    pub(super) fn membership(self: &Arc<Self>) -> Membership {
        let owned = Arc::clone(&lock(&self.owned));
        let member: Arc<dyn Any + Send + Sync> = Arc::new(Member { shared: Arc::clone(self), owned });
        member
    }

    /// Commits once more, and waits, what was committed without waiting, of partitions that are `leaving`.
    pub(super) fn make_sure(&self, leaving: impl Fn(&str, Partition) -> bool) -> Outcome<()> {
        let gone: BTreeMap<(Arc<str>, Partition), Position> = {
            let mut unsure = lock(&self.unsure);
            let (gone, stay) =
                std::mem::take(&mut *unsure).into_iter().partition(|((topic, partition), _)| leaving(topic, *partition));
            *unsure = stay;
            gone
        };
        match list(gone.values()) {
            Ok(list) if !gone.is_empty() => self.client.commit_now(&list),
            _ => Ok(()),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub lanes: BTreeMap<Place, Lane>,
    pub events: VecDeque<Event>,
    /// Of all lanes.
    pub bytes: usize,
    /// The partition that comes first in the next cut.
    turn: Option<Place>,
    pub finished: bool,
    /// The engine knows that it has finished.
    pub told_finished: bool,
    pub error: Option<crate::Error>,
    pub failed: bool,
    /// The source was dropped.
    pub closed: bool,
    /// How often partitions were let go.
    pub released: u64,
}

/// What waits of one partition.
#[derive(Debug, Default)]
pub(super) struct Lane {
    waiting: VecDeque<Records>,
    /// The position behind all that waits: behind markers too, where it is known.
    pub next: i64,
    /// The end as far as it is known.
    pub end: i64,
}

impl Lane {
    pub(super) fn at(next: i64, end: i64) -> Self {
        Self { waiting: VecDeque::new(), next, end }
    }
    pub(super) fn bytes(&self) -> usize {
        self.waiting.iter().map(Records::bytes).sum()
    }
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl State {
    /// Appends records of one partition, `next` being the position behind them.
    pub(super) fn push(&mut self, place: Place, records: Records, next: i64, end: i64) {
        let Some(lane) = self.lanes.get_mut(&place) else { return };
        self.bytes += records.bytes();
        (lane.next, lane.end) = (next, end.max(next));
        // Small pieces are put together, each as often as its size doubles: a slow topic does not give a chunk per record.
        let mut records = records;
        while let Some(last) = lane.waiting.pop_back_if(|last| last.len() <= records.len() && last.len() < 4096) {
            let before = last.bytes() + records.bytes();
            records = match together(&last, &records) {
                Some(one) => one,
                None => {
                    lane.waiting.push_back(last);
                    break;
                }
            };
            self.bytes = (self.bytes + records.bytes()).saturating_sub(before);
        }
        lane.waiting.push_back(records);
    }

    /// Takes what is at hand within `limit`, each partition its share of what is left of it.
    fn cut(&mut self, limit: Limit) -> Vec<Chunk> {
        let mut chunks: Vec<Chunk> = Vec::new();
        let filled: Vec<Place> = self.lanes.iter().filter(|(_, lane)| !lane.is_empty()).map(|(place, _)| *place).collect();
        let first = self.turn.map_or(0, |turn| filled.partition_point(|place| *place < turn)) % filled.len().max(1);
        let (mut rows, mut bytes, mut left) = (limit.rows.max(1), limit.bytes, filled.len());
        for place in filled.iter().cycle().skip(first).take(filled.len()) {
            let Some(lane) = self.lanes.get_mut(place) else { continue };
            let (mut share_rows, mut share_bytes) = (rows.div_ceil(left), bytes / left);
            left -= 1;
            while share_rows > 0
                && let Some((records, next)) = lane.take(share_rows, share_bytes, chunks.is_empty())
            {
                let (took, size) = (records.len(), records.bytes());
                (rows, share_rows) = (rows.saturating_sub(took), share_rows.saturating_sub(took));
                (bytes, share_bytes) = (bytes.saturating_sub(size), share_bytes.saturating_sub(size));
                self.bytes = self.bytes.saturating_sub(size);
                let end = Some(lane.end.max(next));
                chunks.push(Chunk {
                    input: place.0,
                    partition: place.1,
                    next_offset: next,
                    end,
                    rows: Rows::Records(records),
                });
            }
            if rows == 0 {
                break;
            }
        }
        self.turn = filled.get((first + 1) % filled.len().max(1)).copied();
        chunks
    }
}

impl Lane {
    /// The front, as much of it as fits, and the position behind it; nothing if not one record does, unless one is due.
    fn take(&mut self, rows: usize, bytes: usize, due: bool) -> Option<(Records, i64)> {
        let front = self.waiting.front_mut()?;
        let whole = front.len();
        let mut count = fitting(front, bytes).min(rows);
        if count == 0 && due {
            count = 1;
        }
        if count == 0 {
            return None;
        }
        let taken = if count == whole {
            self.waiting.pop_front()?
        } else {
            let taken = front.slice(0, count);
            *front = front.slice(count, whole - count);
            taken
        };
        let behind = taken.offsets.last().map_or(self.next, |last| last + 1);
        Some((taken, if self.waiting.is_empty() { self.next.max(behind) } else { behind }))
    }
}

/// How many records of the front have at most `bytes` together.
fn fitting(records: &Records, bytes: usize) -> usize {
    let fits = |count: usize| records.slice(0, count).bytes() <= bytes;
    if fits(records.len()) {
        return records.len();
    }
    let (mut low, mut high) = (0, records.len());
    while low < high {
        let middle = (low + high).div_ceil(2);
        if fits(middle) { low = middle } else { high = middle - 1 }
    }
    low
}

/// Two pieces as one; `None` if they cannot be (their columns would pass 2 GiB).
fn together(first: &Records, second: &Records) -> Option<Records> {
    use arrow::array::{Array, ArrayRef, AsArray, MapArray};
    use arrow::compute::concat;
    // A piece without headers has none to put beside the other's.
    let headers = match (&first.headers, &second.headers) {
        (None, None) => None,
        (Some(one), Some(two)) => {
            let both: ArrayRef = concat(&[one as &dyn Array, two as &dyn Array]).ok()?;
            Some(both.as_any().downcast_ref::<MapArray>()?.clone())
        }
        _ => return None,
    };
    let binary = |one: &dyn Array, two: &dyn Array| Some(concat(&[one, two]).ok()?.as_binary_opt::<i32>()?.clone());
    let numbers = |one: &[i64], two: &[i64]| [one, two].concat().into();
    Some(Records {
        offsets: numbers(&first.offsets, &second.offsets),
        timestamps: numbers(&first.timestamps, &second.timestamps),
        keys: binary(&first.keys, &second.keys)?,
        values: binary(&first.values, &second.values)?,
        headers,
    })
}

/// A member's place in its group when a cut was made.
#[derive(Debug)]
pub(super) struct Member {
    shared: Arc<Shared>,
    owned: Owned,
}

impl Member {
    /// The member's place as its broker knows it now, if it still has all of these partitions since the cut; `None` while it is
    /// between two places.
    ///
    /// The order matters: first the place is looked up, then the partitions. Were one lost after that, the group has moved on and
    /// its broker refuses the place. Looking the place up at the cut alone would be refused after every rebalance, and so would the
    /// very commit that a revoked partition waits for.
    pub(super) fn now<'p>(
        &self,
        group: &str,
        mut positions: impl Iterator<Item = (&'p Arc<str>, Partition)>,
    ) -> std::result::Result<Option<GroupMetadata>, KafkaError> {
        let place = self.shared.client.group_metadata();
        let owned = Arc::clone(&lock(&self.shared.owned));
        let lost = positions.find(|(topic, partition)| {
            let at = (Arc::clone(topic), *partition);
            let then = self.owned.get(&at);
            then.is_none() || then != owned.get(&at)
        });
        match lost {
            None => Ok(place),
            Some((topic, partition)) => {
                Err(KafkaError::NotOurs { group: group.to_owned(), topic: topic.to_string(), partition })
            }
        }
    }

    /// Notes positions that are about to be committed without waiting: whoever lets a partition go makes sure of them.
    pub(super) fn note_unsure<'p>(&self, positions: impl Iterator<Item = &'p Position>) {
        let mut unsure = lock(&self.shared.unsure);
        unsure.extend(positions.map(|p| ((Arc::clone(&p.topic), p.partition), p.clone())));
    }

    /// Whether it still has this partition since the cut.
    pub(super) fn holds(&self, at: &(Arc<str>, Partition)) -> bool {
        let now = Arc::clone(&lock(&self.shared.owned));
        self.owned.get(at).is_some_and(|then| now.get(at) == Some(then))
    }

    /// The consumer, to commit through it.
    pub(super) fn client(&self) -> &Arc<Client> {
        &self.shared.client
    }
}

#[async_trait]
impl Source for KafkaSource {
    async fn next(&mut self, limit: Limit) -> Result<Event> {
        loop {
            {
                let mut state = lock(&self.shared.state);
                if let Some(event) = state.events.pop_front() {
                    return Ok(event);
                }
                let chunks = if limit.is_none() { Vec::new() } else { state.cut(limit) };
                if !chunks.is_empty() {
                    self.shared.room.notify_one();
                    let membership = self.shared.group.as_ref().map(|_| self.shared.membership());
                    return Ok(Event::Cut(Cut { chunks, membership }));
                }
                if let Some(error) = state.error.take() {
                    return Err(error);
                }
                if state.failed {
                    return Err(KafkaError::Misuse("the source has failed before".to_owned()).into());
                }
                if state.finished && !limit.is_none() {
                    let told = std::mem::replace(&mut state.told_finished, true);
                    if !told || self.shared.group.is_none() {
                        return Ok(Event::Finished);
                    }
                }
            }
            // A notification between the look above and this line is kept.
            self.shared.filled.notified().await;
        }
    }

    async fn release(&mut self) -> Result<()> {
        lock(&self.shared.state).released += 1;
        self.shared.room.notify_one();
        self.queue.wake();
        Ok(())
    }
}

impl Drop for KafkaSource {
    fn drop(&mut self) {
        lock(&self.shared.state).closed = true;
        // A commit that comes after this is not this member's any more.
        *lock(&self.shared.owned) = Owned::default();
        self.shared.room.notify_one();
        self.queue.wake();
        if let Some(Leaving { group, thread, to }) = self.leaving.take() {
            let mut leavers = lock(&to);
            leavers.retain(|(_, thread)| !thread.is_finished());
            leavers.push((group, thread));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::RecordsBuilder;

    fn records(offsets: std::ops::Range<i64>) -> Records {
        let mut builder = RecordsBuilder::with_capacity(8);
        offsets.for_each(|offset| builder.push(offset, 0, None, Some(b"0123456789"), []));
        builder.finish()
    }

    fn filled(partitions: i32, each: i64) -> State {
        let mut state = State::default();
        for partition in 0..partitions {
            state.lanes.insert((0, partition), Lane::at(0, 0));
            state.push((0, partition), records(0..each), each, each + 5);
        }
        state
    }

    #[test]
    fn partitions_share_and_take_turns() {
        let mut state = filled(3, 10);
        let of = |chunks: &[Chunk]| chunks.iter().map(|c| (c.partition, c.next_offset)).collect::<Vec<_>>();
        let limit = Limit { rows: 4, bytes: 1 << 20 };
        assert_eq!(of(&state.cut(limit)), [(0, 2), (1, 1), (2, 1)]);
        assert_eq!(of(&state.cut(limit)), [(1, 3), (2, 2), (0, 3)]);
        // One record comes whatever the limit; nothing else does.
        assert_eq!(of(&state.cut(Limit { rows: 9, bytes: 0 })), [(2, 3)]);
        let rest: usize = state.cut(Limit { rows: 1000, bytes: 1 << 20 }).iter().map(|c| c.rows.len()).sum();
        assert_eq!((rest, state.bytes), (30 - 4 - 4 - 1, 0));
    }

    #[test]
    fn small_pieces_become_one_chunk_and_markers_are_passed() {
        let mut state = filled(1, 1);
        for offset in 1..100 {
            state.push((0, 0), records(offset..offset + 1), offset + 1, 0);
        }
        let lane = state.lanes.get_mut(&(0, 0)).unwrap();
        assert!(lane.waiting.len() < 8, "{} pieces", lane.waiting.len());
        lane.next = 102; // behind a marker
        let bytes: usize = lane.bytes();
        assert_eq!(bytes, state.bytes);
        let chunks = state.cut(Limit { rows: 1000, bytes: 1 << 20 });
        let Rows::Records(last) = &chunks.last().unwrap().rows else { unreachable!() };
        assert_eq!((last.offsets.last(), chunks.last().unwrap().next_offset), (Some(&99), 102));
        assert_eq!(chunks.iter().map(|c| c.rows.len()).sum::<usize>(), 100);
    }
}
