//! Bounded reads of one partition.   (slot, offsets, bytes) ─► one short transaction ─► [`Records`] + where the next read begins

use std::sync::Arc;

use super::layout::Assembler;
use super::store::{Db, PIECE_BITS, PartitionRow, Result, base_of, batch_id};
use crate::connector::{Partition, TopicError};
use crate::format::Records;
use crate::time::Millis;

/// A partition, with what errors call it.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub topic: Arc<str>,
    pub partition: Partition,
    pub slot: i64,
}

/// What one read brought.
#[derive(Debug)]
pub(super) struct Taken {
    /// The records; none where compaction left none, or with `too_large`.
    pub records: Option<Records>,
    /// Where the next read begins: behind the records and the gap that follows them.
    pub next: i64,
    /// The partition's end when it was read.
    pub end: i64,
    /// The next record alone is larger than allowed, and was left.
    pub too_large: bool,
}

impl Place {
    /// What the partition holds.
    ///
    /// # Errors
    /// `Deleted`, if its topic is gone.
    pub(super) fn row(&self, db: &Db) -> Result<PartitionRow> {
        db.partition(self.slot)?.ok_or_else(|| TopicError::Deleted { topic: self.topic.to_string() }.into())
    }

    /// Reads from offset `from`, up to but without `to`, about `bytes` bytes: at least one batch, except that one record larger
    /// than `bytes` is read only if `large` says so.
    ///
    /// # Errors
    /// `OutOfRange` if retention went beyond `from`, `Deleted`, `Damaged` with the place.
    pub(super) fn take(&self, db: &Db, from: i64, to: i64, bytes: usize, large: bool) -> Result<Taken> {
        loop {
            let mut position = from;
            let read = db.read(|db| self.take_batches(db, &mut position, to, bytes));
            let (mut taken, blob) = read.map_err(|e| e.at(&self.topic, self.partition, position))?;
            let Some(blob) = blob else { return Ok(taken) };
            if taken.records.is_some() {
                return Ok(taken);
            }
            if usize::try_from(blob.size).is_ok_and(|size| size > bytes) && !large {
                taken.too_large = true;
                return Ok(taken);
            }
            if let Some(records) = self.load(db, &blob, from, to)? {
                return Ok(Taken { records: (!records.is_empty()).then_some(records), next: blob.next.min(to), ..taken });
            }
            // It was deleted between the two reads; the next look says what there is now.
        }
    }

    fn take_batches(&self, db: &Db, position: &mut i64, to: i64, bytes: usize) -> Result<(Taken, Option<Blob>)> {
        let from = *position;
        let row = self.row(db)?;
        if from < row.earliest || from > row.next {
            return Err(TopicError::OutOfRange {
                topic: self.topic.to_string(),
                partition: self.partition,
                earliest: row.earliest,
                end: row.next,
                what: "the reader stood at".to_owned(),
                offset: from,
                group: None,
                asked: false,
            }
            .into());
        }
        let to = to.min(row.next);
        // The batch that holds `from` may begin before it.
        let floor = batch_id(self.slot, 0);
        let first = db.one(
            "SELECT coalesce(max(id), ?1) FROM batches WHERE id BETWEEN ?1 AND ?2",
            [floor, batch_id(self.slot, from)],
            |row| row.get::<_, i64>(0),
        )?;
        let mut assembler = Assembler::new();
        let mut total = 0;
        let mut blob = None;
        let mut more = false;
        let sql = "SELECT id, next, size, blob, data FROM batches WHERE id BETWEEN ?1 AND ?2 ORDER BY id";
        if from < to {
            db.each(sql, [first, batch_id(self.slot, to - 1)], |row| {
                let get = |column| row.get::<_, i64>(column).map_err(|e| db.wrap(e));
                let (base, next, size) = (base_of(get(0)?), get(1)?, get(2)?);
                if next <= from {
                    return Ok(true);
                }
                if let Some(id) = row.get::<_, Option<i64>>(3).map_err(|e| db.wrap(e))? {
                    blob = Some(Blob { id, base, next, size });
                    more = true;
                    return Ok(false);
                }
                if !assembler.is_empty() && total + size > i64::try_from(bytes).unwrap_or(i64::MAX) {
                    more = true;
                    return Ok(false);
                }
                let data = row.get_ref(4).map_err(|e| db.wrap(e))?;
                let data = data.as_blob().map_err(|_| db.damaged("a batch has no data"))?;
                assembler.append(base, data, from, to).map_err(|reason| db.damaged(reason))?;
                total += size;
                *position = next.min(to);
                Ok(true)
            })?;
        }
        let records =
            if assembler.is_empty() { None } else { Some(assembler.finish().map_err(|reason| db.damaged(reason))?) };
        let next = if more { *position } else { to.max(from) };
        Ok((Taken { records, next, end: row.next, too_large: false }, blob))
    }

    /// Reads a large record, a piece per statement; `None` if it is not there any more.
    fn load(&self, db: &Db, blob: &Blob, from: i64, to: i64) -> Result<Option<Records>> {
        let damaged = |db: &Db, reason: &str| db.damaged(reason).at(&self.topic, self.partition, blob.base);
        let data = match blob.load(db).map_err(|e| e.at(&self.topic, self.partition, blob.base))? {
            Some(data) => data,
            None => {
                let id = batch_id(self.slot, blob.base);
                let there = db.maybe("SELECT 1 FROM batches WHERE id = ?1 AND blob = ?2", [id, blob.id], |_| Ok(()))?;
                return if there.is_some() { Err(damaged(db, "pieces of a large record are missing")) } else { Ok(None) };
            }
        };
        let mut assembler = Assembler::new();
        assembler.append(blob.base, &data, from, to).map_err(|reason| damaged(db, reason))?;
        Ok(Some(assembler.finish().map_err(|reason| damaged(db, reason))?))
    }

    /// The first offset whose record has time `at` or a later one; the end where there is none.
    pub(super) fn offset_at(&self, db: &Db, at: Millis) -> Result<i64> {
        let row = self.row(db)?;
        // The latest time so far never falls from batch to batch: the first batch that reaches `at` is found by halving.
        let (mut low, mut high, mut found) = (row.earliest, row.next, row.next);
        while low < high {
            let middle = low + (high - low) / 2;
            let batch = db.maybe(
                "SELECT id, newest_so_far FROM batches WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT 1",
                [batch_id(self.slot, middle), batch_id(self.slot, high - 1)],
                |row| Ok((base_of(row.get(0)?), row.get::<_, i64>(1)?)),
            )?;
            match batch {
                Some((base, so_far)) if so_far < at => low = base + 1,
                Some((base, _)) => (high, found) = (middle, base),
                None => high = middle,
            }
        }
        // That time may have been reached by a batch that retention took; so from here on each batch's own time counts.
        while found < row.next {
            let batch = db.maybe(
                "SELECT id, next FROM batches WHERE id BETWEEN ?1 AND ?2 AND newest >= ?3 ORDER BY id LIMIT 1",
                [batch_id(self.slot, found), batch_id(self.slot, row.next - 1), at],
                |row| Ok((base_of(row.get(0)?), row.get::<_, i64>(1)?)),
            )?;
            let Some((base, next)) = batch else { break };
            if let Some(records) = self.take(db, base, next, 0, true)?.records
                && let Some(index) = records.timestamps.iter().position(|time| *time >= at)
            {
                return Ok(records.offsets[index]);
            }
            // Compaction took that record.
            found = next;
        }
        Ok(row.next)
    }
}

/// A batch that lies in pieces.
#[derive(Debug, Clone, Copy)]
pub(super) struct Blob {
    pub id: i64,
    pub base: i64,
    pub next: i64,
    pub size: i64,
}

impl Blob {
    /// Its bytes; `None` if pieces are missing.
    pub(super) fn load(&self, db: &Db) -> Result<Option<Vec<u8>>> {
        let size = usize::try_from(self.size).unwrap_or(0);
        let mut data = Vec::new();
        let mut number = self.id << PIECE_BITS;
        while data.len() < size {
            let piece = db.maybe("SELECT data FROM pieces WHERE id = ?1", [number], |row| row.get::<_, Vec<u8>>(0))?;
            let Some(piece) = piece else { return Ok(None) };
            if data.is_empty() {
                data.reserve_exact(size.min(2 << 30));
            }
            data.extend_from_slice(&piece);
            number += 1;
        }
        Ok(Some(data))
    }
}
