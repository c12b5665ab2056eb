//! Retention, compaction and rubbish, in pieces of a few milliseconds between commits.
//!
//! | chore | what it lets go |
//! |---|---|
//! | retain | the oldest batches, past `retention.ms` or `retention.bytes`; never one that a reader of this process still needs |
//! | compact | records that a newer one of their key replaces, and old tombstones; offsets stay, so gaps appear |
//! | slot | all of a deleted topic's partition |
//! | blob | the pieces of a large record that nothing points to |
//!
//! Every few minutes one process looks through the whole file; a commit looks at the partitions that it wrote. Trouble in a
//! chore (the lock is taken, the disk is full) puts it off to the next look: what it would have removed stays, and no more.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::compute::filter;
use twox_hash::XxHash64;

use super::layout::{self, Assembler};
use super::reader::{Blob, Place};
use super::shared::Shared;
use super::store::{Db, MAX_OFFSET, PIECE_BITS, PartitionRow, Result, TopicRow, base_of, batch_id};
use crate::format::Records;
use crate::time::{Millis, now};

/// What one step touches at most, in bytes and in batches.
const STEP_BYTES: i64 = 4 << 20;
const STEP_BATCHES: i64 = 256;
/// So many pieces are about `STEP_BYTES`.
const STEP_PIECES: i64 = 16;
/// A large record that did not become visible for so long never will.
const FORGOTTEN_MS: Millis = 3_600_000;
/// A pass of compaction learns at most so many keys: about 20 MB.
const KEYS: usize = 500_000;
/// Below this a partition is compacted only when the whole file is looked through.
const WORTH: i64 = 1 << 20;

/// What is to be cleaned, and when to look for more.
#[derive(Debug)]
pub(super) struct Cleaner {
    every: Duration,
    due: Instant,
    chores: VecDeque<Chore>,
}

#[derive(Debug)]
enum Chore {
    Retain(i64, Arc<TopicRow>),
    Compact(Box<Pass>),
    Slot(i64),
    Blob(i64),
}

impl Cleaner {
    pub(super) fn new(every: Duration) -> Self {
        Self { every, due: Instant::now(), chores: VecDeque::new() }
    }
    /// Whether a step would do something now.
    pub(super) fn has_work(&self) -> bool {
        !self.chores.is_empty()
    }
    /// How long until the next look.
    pub(super) fn rest(&self) -> Duration {
        self.due.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
    }
    /// A topic was deleted.
    pub(super) fn forget(&mut self, slots: impl Iterator<Item = i64>) {
        self.chores.extend(slots.map(Chore::Slot));
    }
    /// A commit wrote to a partition: it may be too large now, or hold enough that is replaced.
    pub(super) fn look_at(&mut self, row: &PartitionRow, topic: &Arc<TopicRow>) {
        let policy = &topic.policy;
        if policy.delete && policy.retention_bytes >= 0 && row.bytes > policy.retention_bytes {
            self.retain(row.slot, topic);
        }
        if policy.compact && row.bytes >= WORTH {
            self.compact(row, topic);
        }
    }

    fn retain(&mut self, slot: i64, topic: &Arc<TopicRow>) {
        if !self.chores.iter().any(|chore| matches!(chore, Chore::Retain(known, _) if *known == slot)) {
            self.chores.push_back(Chore::Retain(slot, Arc::clone(topic)));
        }
    }

    fn compact(&mut self, row: &PartitionRow, topic: &Arc<TopicRow>) {
        let dirty = (row.bytes - row.clean_bytes).max(0) as f64;
        let worth = row.next > row.clean && dirty >= topic.policy.dirty_ratio * row.bytes as f64;
        if worth && !self.chores.iter().any(|chore| matches!(chore, Chore::Compact(pass) if pass.place.slot == row.slot)) {
            self.chores.push_back(Chore::Compact(Box::new(Pass::new(row, topic))));
        }
    }

    /// Does a few milliseconds of work, if there is any.
    pub(super) fn step(&mut self, db: &Db, shared: &Shared) {
        if Instant::now() >= self.due {
            self.due = Instant::now() + self.every;
            // See above: what fails is done at the next look.
            let _ = self.look_around(db);
        }
        let Some(mut chore) = self.chores.pop_front() else { return };
        let more = match &mut chore {
            Chore::Retain(slot, topic) => retain(db, shared, *slot, topic),
            Chore::Compact(pass) => pass.step(db),
            Chore::Slot(slot) => clear_slot(db, *slot),
            Chore::Blob(blob) => clear_blob(db, *blob),
        };
        match more {
            Ok((more, dead)) => {
                self.chores.extend(dead.into_iter().map(Chore::Blob));
                if more {
                    self.chores.push_back(chore);
                }
            }
            Err(_) => drop(chore),
        }
    }

    /// Looks through the whole file, unless some process did so lately.
    fn look_around(&mut self, db: &Db) -> Result<()> {
        let every = i64::try_from(self.every.as_millis()).unwrap_or(i64::MAX);
        let lately = |db: &Db| -> Result<bool> {
            let swept: Millis = db.one("SELECT value FROM meta WHERE name = 'swept'", [], |row| row.get(0))?;
            Ok((0..every).contains(&(now() - swept)))
        };
        if lately(db)? {
            return Ok(());
        }
        let ours = db.write(|db| {
            let taken = lately(db)?;
            if !taken {
                db.run("UPDATE meta SET value = ?1 WHERE name = 'swept'", [now()])?;
            }
            Ok(!taken)
        })?;
        if !ours {
            return Ok(());
        }
        for topic in db.topics()?.into_iter().map(Arc::new) {
            for row in db.partitions(&topic)? {
                if topic.policy.delete && row.bytes > 0 {
                    self.retain(row.slot, &topic);
                }
                if topic.policy.compact {
                    self.compact(&row, &topic);
                }
            }
        }
        self.chores.extend(db.all("SELECT slot FROM garbage", [], |row| row.get(0).map(Chore::Slot))?);
        let dead = "SELECT id FROM blobs WHERE pending IS NOT NULL AND pending < ?1";
        self.chores.extend(db.all(dead, [now() - FORGOTTEN_MS], |row| row.get(0).map(Chore::Blob))?);
        Ok(())
    }
}

/// Whether there is more to do, and blobs that nothing points to any more.
type Step = Result<(bool, Vec<i64>)>;

/// Deletes batches `first..=last` of which `bytes` and `dead` blobs were counted.
fn delete(db: &Db, first: i64, last: i64, dead: &[i64]) -> Result<()> {
    db.run("DELETE FROM batches WHERE id BETWEEN ?1 AND ?2", [first, last])?;
    for blob in dead {
        db.run("UPDATE blobs SET pending = 0 WHERE id = ?1", [blob])?;
    }
    Ok(())
}

fn retain(db: &Db, shared: &Shared, slot: i64, topic: &TopicRow) -> Step {
    let policy = &topic.policy;
    db.write(|db| {
        let Some(row) = db.partition(slot)? else { return Ok((false, Vec::new())) };
        let floor = shared.holds.floor(slot);
        let oldest = now().saturating_sub(policy.retention_ms);
        let (mut bytes, mut last, mut dead, mut seen) = (0, None, Vec::new(), 0);
        let sql = "SELECT id, next, newest, size, blob FROM batches WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT ?3";
        db.each(sql, [batch_id(slot, 0), batch_id(slot, MAX_OFFSET), STEP_BATCHES], |batch| {
            let get = |column| batch.get::<_, i64>(column).map_err(|e| db.wrap(e));
            let (id, next, newest, size) = (get(0)?, get(1)?, get(2)?, get(3)?);
            let old = policy.retention_ms >= 0 && newest < oldest;
            let much = policy.retention_bytes >= 0 && row.bytes - bytes - size >= policy.retention_bytes;
            if next > floor || !(old || much) || bytes > STEP_BYTES {
                return Ok(false);
            }
            bytes += size;
            last = Some((id, next));
            seen += 1;
            dead.extend(batch.get::<_, Option<i64>>(4).map_err(|e| db.wrap(e))?);
            Ok(true)
        })?;
        let Some((last, next)) = last else { return Ok((false, dead)) };
        delete(db, batch_id(slot, 0), last, &dead)?;
        let sql = "UPDATE partitions SET earliest = ?2, bytes = bytes - ?3, clean_bytes = max(0, clean_bytes - ?3) WHERE slot = ?1";
        db.run(sql, [slot, next, bytes])?;
        Ok((seen == STEP_BATCHES || bytes > STEP_BYTES, dead))
    })
}

fn clear_slot(db: &Db, slot: i64) -> Step {
    db.write(|db| {
        let (mut bytes, mut last, mut dead) = (0, None, Vec::new());
        let sql = "SELECT id, size, blob FROM batches WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT ?3";
        db.each(sql, [batch_id(slot, 0), batch_id(slot, MAX_OFFSET), STEP_BATCHES], |batch| {
            let get = |column| batch.get::<_, i64>(column).map_err(|e| db.wrap(e));
            last = Some(get(0)?);
            bytes += get(1)?;
            dead.extend(batch.get::<_, Option<i64>>(2).map_err(|e| db.wrap(e))?);
            Ok(bytes <= STEP_BYTES)
        })?;
        match last {
            Some(last) => delete(db, batch_id(slot, 0), last, &dead)?,
            None => _ = db.run("DELETE FROM garbage WHERE slot = ?1", [slot])?,
        }
        Ok((last.is_some(), dead))
    })
}

fn clear_blob(db: &Db, blob: i64) -> Step {
    db.write(|db| {
        // From here on its writer cannot make it visible any more.
        if db.run("UPDATE blobs SET pending = 0 WHERE id = ?1 AND pending IS NOT NULL", [blob])? == 0 {
            return Ok((false, Vec::new()));
        }
        let first = blob << PIECE_BITS;
        let sql = "DELETE FROM pieces WHERE id IN (SELECT id FROM pieces WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT ?3)";
        let deleted = db.run(sql, [first, first + (1 << PIECE_BITS) - 1, STEP_PIECES])?;
        let more = i64::try_from(deleted).is_ok_and(|n| n == STEP_PIECES);
        if !more {
            db.run("DELETE FROM blobs WHERE id = ?1", [blob])?;
        }
        Ok((more, Vec::new()))
    })
}

/// One pass of compaction over a partition: learn the newest offset of each key that was written since the last pass, then go
/// through all batches up to there and rewrite those that hold replaced records. That a record is replaced never becomes
/// untrue, so two processes may do this at once.
#[derive(Debug)]
struct Pass {
    place: Place,
    topic: Arc<TopicRow>,
    seeds: [u64; 2],
    newest: HashMap<u128, i64>,
    /// Where the next step begins.
    at: i64,
    /// Where the pass ends.
    upto: i64,
    /// What was compacted before; tombstones below may go.
    clean: i64,
    rewriting: bool,
}

impl Pass {
    fn new(row: &PartitionRow, topic: &Arc<TopicRow>) -> Self {
        let partition = i32::try_from(row.slot - topic.first_slot).unwrap_or(0);
        // Seeds that differ from pass to pass, so that no two keys meet for ever.
        let seed = now().unsigned_abs();
        Self {
            place: Place { topic: Arc::clone(&topic.name), partition, slot: row.slot },
            topic: Arc::clone(topic),
            seeds: [seed, !seed],
            newest: HashMap::new(),
            at: row.clean.max(row.earliest),
            upto: row.next,
            clean: row.clean,
            rewriting: false,
        }
    }

    fn hash(&self, key: &[u8]) -> u128 {
        let [high, low] = self.seeds.map(|seed| u128::from(XxHash64::oneshot(seed, key)));
        high << 64 | low
    }

    fn step(&mut self, db: &Db) -> Step {
        if self.rewriting { self.rewrite(db) } else { self.learn(db).map(|()| (true, Vec::new())) }
    }

    fn learn(&mut self, db: &Db) -> Result<()> {
        let taken = self.place.take(db, self.at, self.upto, 1 << 20, true)?;
        if let Some(records) = &taken.records {
            let youngest = now().saturating_sub(self.topic.policy.compaction_lag_ms);
            for (row, offset) in records.offsets.iter().enumerate() {
                if self.topic.policy.compaction_lag_ms > 0 && records.timestamps[row] > youngest {
                    self.upto = *offset; // what follows is too young to be compacted
                    break;
                }
                if records.keys.is_valid(row) {
                    let hash = self.hash(records.keys.value(row));
                    self.newest.insert(hash, *offset);
                }
            }
        }
        self.at = taken.next;
        if self.newest.len() >= KEYS {
            self.upto = self.upto.min(self.at);
        }
        if self.at >= self.upto {
            self.at = self.place.row(db)?.earliest;
            self.rewriting = true;
        }
        Ok(())
    }

    fn rewrite(&mut self, db: &Db) -> Step {
        if self.at >= self.upto {
            let sql = "UPDATE partitions SET clean = max(clean, ?2), clean_bytes = bytes WHERE slot = ?1";
            db.write(|db| db.run(sql, [self.place.slot, self.upto]))?;
            return Ok((false, Vec::new()));
        }
        let range = [batch_id(self.place.slot, self.at), batch_id(self.place.slot, self.upto - 1)];
        // A large record is looked at without holding the lock.
        let front = "SELECT id, next, size, blob FROM batches WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT 1";
        let get = |row: &rusqlite::Row<'_>| {
            let blob = row.get::<_, Option<i64>>(3)?;
            Ok(blob.map(|id| Blob {
                id,
                base: base_of(row.get(0).unwrap_or(0)),
                next: row.get(1).unwrap_or(0),
                size: row.get(2).unwrap_or(0),
            }))
        };
        if let Some(Some(blob)) = db.maybe(front, range, get)? {
            return self.rewrite_blob(db, blob);
        }
        self.at = db.write(|db| {
            let mut changes = Vec::new();
            let (mut at, mut bytes, mut seen) = (self.upto, 0, 0);
            let sql = "SELECT id, next, size, blob, data FROM batches WHERE id BETWEEN ?1 AND ?2 ORDER BY id";
            db.each(sql, range, |row| {
                let get = |column| row.get::<_, i64>(column).map_err(|e| db.wrap(e));
                let (id, next, size) = (get(0)?, get(1)?, get(2)?);
                if bytes > STEP_BYTES / 4 || seen == STEP_BATCHES || row.get_ref(4).is_ok_and(|data| data.as_blob().is_err())
                {
                    at = base_of(id);
                    return Ok(false);
                }
                (bytes, seen) = (bytes + size, seen + 1);
                let data = row.get_ref(4).map_err(|e| db.wrap(e))?;
                let data = data.as_blob().map_err(|_| db.damaged("a batch has no data"))?;
                if let Some(left) = self.filtered(db, base_of(id), data)? {
                    changes.push((id, next, size, left));
                }
                Ok(true)
            })?;
            let mut freed = 0;
            for (id, _, size, left) in changes {
                let new = i64::try_from(left.as_ref().map_or(0, Vec::len)).unwrap_or(0);
                freed += size - new;
                match left {
                    Some(data) => db.run("UPDATE batches SET data = ?2, size = ?3 WHERE id = ?1", (id, data, new))?,
                    None => db.run("DELETE FROM batches WHERE id = ?1", [id])?,
                };
            }
            db.run("UPDATE partitions SET bytes = bytes - ?2 WHERE slot = ?1", [self.place.slot, freed])?;
            Ok(at)
        })?;
        Ok((true, Vec::new()))
    }

    fn rewrite_blob(&mut self, db: &Db, blob: Blob) -> Step {
        let mut dead = Vec::new();
        if let Some(data) = blob.load(db)?
            && let Some(None) = self.filtered(db, blob.base, &data)?
        {
            db.write(|db| {
                let id = batch_id(self.place.slot, blob.base);
                if db.run("DELETE FROM batches WHERE id = ?1 AND blob = ?2", [id, blob.id])? == 1 {
                    db.run("UPDATE blobs SET pending = 0 WHERE id = ?1", [blob.id])?;
                    db.run("UPDATE partitions SET bytes = bytes - ?2 WHERE slot = ?1", [self.place.slot, blob.size])?;
                    dead.push(blob.id);
                }
                Ok(())
            })?;
        }
        self.at = blob.next;
        Ok((true, dead))
    }

    /// What is left of a batch: `None` = all of it, `Some(None)` = nothing, else its new bytes.
    fn filtered(&self, db: &Db, base: i64, data: &[u8]) -> Result<Option<Option<Vec<u8>>>> {
        let mut assembler = Assembler::new();
        let read = assembler.append(base, data, 0, i64::MAX).and_then(|()| assembler.finish());
        let records = read.map_err(|reason| db.damaged(reason))?;
        let dead_before = now().saturating_sub(self.topic.policy.delete_retention_ms);
        let stays = |row: usize| {
            let (offset, time) = (records.offsets[row], records.timestamps[row]);
            if offset >= self.upto || records.keys.is_null(row) {
                return true;
            }
            let newest = self.newest.get(&self.hash(records.keys.value(row))).copied().unwrap_or(offset);
            let dead = records.values.is_null(row) && offset < self.clean && time < dead_before;
            newest <= offset && !dead
        };
        let mask: BooleanArray = (0..records.len()).map(|row| Some(stays(row))).collect();
        if mask.true_count() == records.len() {
            return Ok(None);
        }
        if mask.true_count() == 0 {
            return Ok(Some(None));
        }
        let left = only(&records, &mask).map_err(|e| db.damaged(&e.to_string()))?;
        Ok(Some(Some(layout::encode(&left, None, Some(base)).map_err(|reason| db.damaged(reason))?)))
    }
}

/// The records where `mask` is true.
fn only(records: &Records, mask: &BooleanArray) -> std::result::Result<Records, arrow::error::ArrowError> {
    let kept = |column: &[i64]| mask.values().set_indices().map(|row| column[row]).collect::<Vec<_>>().into();
    Ok(Records {
        offsets: kept(&records.offsets),
        timestamps: kept(&records.timestamps),
        keys: filter(&records.keys, mask)?.as_binary::<i32>().clone(),
        values: filter(&records.values, mask)?.as_binary::<i32>().clone(),
        headers: match &records.headers {
            None => None,
            Some(headers) => Some(filter(headers, mask)?.as_map().clone()),
        },
    })
}
