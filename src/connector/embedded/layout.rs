//! How a batch of records lies in the file.   [`Records`] ─► [`encode`] ─► bytes ─► [`Assembler`] ─► [`Records`]
//!
//! Columnar, so that both ways are a few copies per column. All integers are little-endian.
//!
//! ```text
//! 0  u8 layout (1)    u8 flags    u8 mode of keys    u8 mode of values    u8 mode of header values    3 bytes 0
//! 8  u64 xxHash64 of all that follows, seeded with the first 8 bytes
//! 16 u32 records, u32 bytes of keys, of values;  u32 headers, u32 bytes of header names, of header values
//! 40 timestamps      i64 each, or one for all (flag CONSTANT_TIME)
//!    offsets         u32 each, behind the base offset; only where compaction left gaps (flag GAPS)
//!    keys            [bitmap] u32 end of each, bytes
//!    values          [bitmap] u32 end of each, bytes
//!    headers         u32 end of each record's; names: u32 end of each, bytes; values: [bitmap] u32 end of each, bytes
//! ```
//! A column's mode says whether it has no nulls, a bitmap (1 = there), or nothing but nulls (then nothing is stored).

use std::hash::Hasher;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, MapArray, NullBufferBuilder, StringArray, StructArray};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields};
use twox_hash::XxHash64;

use crate::format::Records;
use crate::time::Millis;

const LAYOUT: u8 = 1;
const HEAD: usize = 40;

const CONSTANT_TIME: u8 = 1;
const GAPS: u8 = 2;
const HEADERS: u8 = 4;

const NO_NULLS: u8 = 0;
const BITMAP: u8 = 1;
const ALL_NULL: u8 = 2;

/// Why bytes are not a batch.
pub(super) type Damage = &'static str;

/// One batch's bytes. With `stamp` every record gets that time; with `base` the records' own offsets are kept, which rise
/// from `base`; without it they are taken to follow each other.
///
/// # Errors
/// What about the records cannot be stored: more than 4 GiB of keys, values or headers, or headers of other types.
pub(super) fn encode(records: &Records, stamp: Option<Millis>, base: Option<i64>) -> Result<Vec<u8>, Damage> {
    let headers = records.headers.as_ref().filter(|map| map.value_offsets().first() != map.value_offsets().last());
    let constant = match stamp {
        Some(_) => true,
        None => records.timestamps.windows(2).all(|pair| pair.first() == pair.last()),
    };
    let mut out = Vec::with_capacity(HEAD + records.bytes() + records.len() / 4 + 64);
    out.resize(HEAD, 0);
    match (stamp, constant) {
        (Some(time), _) => out.extend_from_slice(&time.to_le_bytes()),
        (None, true) => out.extend_from_slice(&records.timestamps.first().copied().unwrap_or_default().to_le_bytes()),
        (None, false) => out.extend(records.timestamps.iter().flat_map(|t| t.to_le_bytes())),
    }
    if let Some(base) = base {
        for offset in &records.offsets {
            let behind = u32::try_from(offset - base).map_err(|_| "offsets lie too far apart")?;
            out.extend_from_slice(&behind.to_le_bytes());
        }
    }
    let (key_mode, key_bytes) = put_binary(&mut out, &records.keys)?;
    let (value_mode, value_bytes) = put_binary(&mut out, &records.values)?;
    let (mut header_mode, mut header_count, mut name_bytes, mut header_bytes) = (NO_NULLS, 0, 0, 0);
    if let Some(map) = headers {
        let ends = map.value_offsets();
        let (first, last) = (ends.first().copied().unwrap_or(0), ends.last().copied().unwrap_or(0));
        put_ends(&mut out, ends);
        let entries = map.entries().slice(first as usize, (last - first) as usize);
        let names = entries.column(0).as_string_opt::<i32>().ok_or("headers' names are not VARCHAR")?;
        let values = entries.column(1).as_binary_opt::<i32>().ok_or("headers' values are not BYTEA")?;
        header_count = entries.len();
        put_ends(&mut out, names.value_offsets());
        name_bytes = put_data(&mut out, names.value_offsets(), names.value_data());
        (header_mode, header_bytes) = put_binary(&mut out, values)?;
    }
    let flag = |on: bool, bit: u8| if on { bit } else { 0 };
    let flags = flag(constant, CONSTANT_TIME) | flag(base.is_some(), GAPS) | flag(headers.is_some(), HEADERS);
    out[..8].copy_from_slice(&[LAYOUT, flags, key_mode, value_mode, header_mode, 0, 0, 0]);
    for (i, n) in [records.len(), key_bytes, value_bytes, header_count, name_bytes, header_bytes].into_iter().enumerate() {
        let n = u32::try_from(n).map_err(|_| "the batch is larger than 4 GiB")?;
        out[16 + 4 * i..20 + 4 * i].copy_from_slice(&n.to_le_bytes());
    }
    let sum = checksum(&out);
    out[8..16].copy_from_slice(&sum.to_le_bytes());
    Ok(out)
}

/// Of a batch with at least a whole head.
fn checksum(bytes: &[u8]) -> u64 {
    let seed = bytes.first_chunk::<8>().map_or(0, |head| u64::from_le_bytes(*head));
    let mut hasher = XxHash64::with_seed(seed);
    hasher.write(bytes.get(16..).unwrap_or_default());
    hasher.finish()
}

fn put_binary(out: &mut Vec<u8>, column: &BinaryArray) -> Result<(u8, usize), Damage> {
    let mode = match column.null_count() {
        0 => NO_NULLS,
        n if n == column.len() => return Ok((ALL_NULL, 0)),
        _ => BITMAP,
    };
    if let (BITMAP, Some(nulls)) = (mode, column.nulls()) {
        let bits = nulls.inner().sliced();
        out.extend_from_slice(bits.get(..column.len().div_ceil(8)).ok_or("the bitmap is too short")?);
    }
    put_ends(out, column.value_offsets());
    Ok((mode, put_data(out, column.value_offsets(), column.value_data())))
}

/// Arrow's offsets as ends that count from 0.
fn put_ends(out: &mut Vec<u8>, offsets: &[i32]) {
    if let Some((first, ends)) = offsets.split_first() {
        out.extend(ends.iter().flat_map(|end| (end - first).to_le_bytes()));
    }
}

fn put_data(out: &mut Vec<u8>, offsets: &[i32], data: &[u8]) -> usize {
    let at = |end: Option<&i32>| end.map_or(0, |n| usize::try_from(*n).unwrap_or(0));
    let bytes = data.get(at(offsets.first())..at(offsets.last())).unwrap_or_default();
    out.extend_from_slice(bytes);
    bytes.len()
}

/// Takes bytes from the front.
struct Cursor<'b>(&'b [u8]);

impl<'b> Cursor<'b> {
    fn take(&mut self, bytes: usize) -> Result<&'b [u8], Damage> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or("it ends too early")?;
        self.0 = rest;
        Ok(taken)
    }
    fn binary(&mut self, mode: u8, count: usize, bytes: usize) -> Result<Stored<'b>, Damage> {
        match mode {
            ALL_NULL => Ok(Stored { bitmap: None, ends: &[], data: &[], count, all_null: true }),
            NO_NULLS | BITMAP => {
                let bitmap = if mode == BITMAP { Some(self.take(count.div_ceil(8))?) } else { None };
                Ok(Stored { bitmap, ends: self.take(4 * count)?, data: self.take(bytes)?, count, all_null: false })
            }
            _ => Err("a column's mode is unknown"),
        }
    }
}

/// A column as it lies in the bytes.
struct Stored<'b> {
    bitmap: Option<&'b [u8]>,
    ends: &'b [u8],
    data: &'b [u8],
    count: usize,
    all_null: bool,
}

fn u32_at(bytes: &[u8], index: usize) -> usize {
    bytes.get(4 * index..4 * index + 4).and_then(|b| b.first_chunk::<4>()).map_or(0, |b| u32::from_le_bytes(*b) as usize)
}

/// The end before element `index`.
fn start_of(ends: &[u8], index: usize) -> usize {
    index.checked_sub(1).map_or(0, |before| u32_at(ends, before))
}

/// Ends of elements `low..high` of the stored column, counted from `shift` instead of the first one's start, appended to `out`.
fn append_ends(out: &mut Vec<i32>, ends: &[u8], low: usize, high: usize, shift: usize) -> Result<(), Damage> {
    let from = start_of(ends, low);
    let top = shift + u32_at(ends, high.max(1) - 1).saturating_sub(from);
    if i32::try_from(top).is_err() {
        return Err("its columns are larger than 2 GiB");
    }
    // Wrapping, for what is damaged beyond the checksum is found by the check of order below.
    let delta = (shift as u32).wrapping_sub(from as u32);
    let begin = out.len();
    let wanted = ends.get(4 * low..4 * high).ok_or("it ends too early")?;
    out.extend(wanted.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b).wrapping_add(delta) as i32));
    let new = out.get(begin.saturating_sub(1)..).unwrap_or_default();
    if new.iter().zip(new.iter().skip(1)).all(|(a, b)| a <= b) { Ok(()) } else { Err("its ends do not rise") }
}

/// A column that grows by whole batches.
#[derive(Debug)]
struct Column {
    offsets: Vec<i32>,
    data: Vec<u8>,
    nulls: NullBufferBuilder,
}

impl Column {
    fn new() -> Self {
        Self { offsets: vec![0], data: Vec::new(), nulls: NullBufferBuilder::new(0) }
    }

    fn append(&mut self, stored: &Stored<'_>, low: usize, high: usize) -> Result<(), Damage> {
        let rows = high - low;
        if stored.all_null {
            self.nulls.append_n_nulls(rows);
            let last = self.offsets.last().copied().unwrap_or(0);
            self.offsets.resize(self.offsets.len() + rows, last);
            return Ok(());
        }
        match stored.bitmap {
            Some(bits) => {
                let bits = BooleanBuffer::new(Buffer::from(bits), 0, stored.count).slice(low, rows);
                self.nulls.append_buffer(&NullBuffer::new(bits));
            }
            None => self.nulls.append_n_non_nulls(rows),
        }
        append_ends(&mut self.offsets, stored.ends, low, high, self.data.len())?;
        let (from, to) = (start_of(stored.ends, low), start_of(stored.ends, high));
        self.data.extend_from_slice(stored.data.get(from..to).ok_or("it ends too early")?);
        Ok(())
    }

    fn finish(&mut self) -> Result<BinaryArray, Damage> {
        let offsets = OffsetBuffer::new(std::mem::replace(&mut self.offsets, vec![0]).into());
        let data = Buffer::from_vec(std::mem::take(&mut self.data));
        BinaryArray::try_new(offsets, data, self.nulls.finish()).map_err(|_| "a column does not fit together")
    }
}

#[derive(Debug)]
struct HeaderColumns {
    /// Of each record, in entries.
    offsets: Vec<i32>,
    names: Column,
    values: Column,
}

/// Puts batches of one partition together to [`Records`].
#[derive(Debug)]
pub(super) struct Assembler {
    offsets: Vec<i64>,
    timestamps: Vec<Millis>,
    keys: Column,
    values: Column,
    headers: Option<HeaderColumns>,
}

impl Assembler {
    pub(super) fn new() -> Self {
        Self { offsets: Vec::new(), timestamps: Vec::new(), keys: Column::new(), values: Column::new(), headers: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// Appends the records of one batch that begins at `base`, those with offsets in `from..to`.
    ///
    /// # Errors
    /// What does not fit; the assembler is of no use afterwards.
    pub(super) fn append(&mut self, base: i64, bytes: &[u8], from: i64, to: i64) -> Result<(), Damage> {
        let head: &[u8; HEAD] = bytes.first_chunk().ok_or("it ends too early")?;
        if head[0] != LAYOUT {
            return Err("its layout is unknown");
        }
        if head[8..16] != checksum(bytes).to_le_bytes() {
            return Err("its checksum does not match");
        }
        let [_, flags, key_mode, value_mode, header_mode, ..] = *head;
        let number = |i: usize| u32_at(&head[16..], i);
        let count = number(0);
        let mut rest = Cursor(&bytes[HEAD..]);
        let times = rest.take(if flags & CONSTANT_TIME != 0 { 8 } else { 8 * count })?;
        let behind = if flags & GAPS != 0 { Some(rest.take(4 * count)?) } else { None };
        let keys = rest.binary(key_mode, count, number(1))?;
        let values = rest.binary(value_mode, count, number(2))?;

        let (low, high) = match behind {
            Some(behind) => {
                let behind = behind.as_chunks::<4>().0;
                let at = |limit: i64| behind.partition_point(|b| base + i64::from(u32::from_le_bytes(*b)) < limit);
                let (low, high) = (at(from), at(to));
                let wanted = behind.get(low..high.max(low)).unwrap_or_default();
                self.offsets.extend(wanted.iter().map(|b| base + i64::from(u32::from_le_bytes(*b))));
                (low, high.max(low))
            }
            None => {
                let at = |limit: i64| usize::try_from(limit.saturating_sub(base)).unwrap_or(0).min(count);
                let (low, high) = (at(from), at(to).max(at(from)));
                self.offsets.extend(base + low as i64..base + high as i64);
                (low, high)
            }
        };
        if low == high {
            return Ok(());
        }
        let time_of = |b: &[u8; 8]| Millis::from_le_bytes(*b);
        if flags & CONSTANT_TIME != 0 {
            let time = times.first_chunk::<8>().map_or(0, time_of);
            self.timestamps.resize(self.timestamps.len() + high - low, time);
        } else {
            self.timestamps.extend(times.get(8 * low..8 * high).unwrap_or_default().as_chunks::<8>().0.iter().map(time_of));
        }
        self.keys.append(&keys, low, high)?;
        self.values.append(&values, low, high)?;
        if flags & HEADERS != 0 {
            self.append_headers(rest, count, number(3), number(4), number(5), header_mode, low..high)?;
        } else if let Some(headers) = &mut self.headers {
            let last = headers.offsets.last().copied().unwrap_or(0);
            headers.offsets.resize(headers.offsets.len() + high - low, last);
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments)] // The parts of one batch, each a cursor of its own.
    fn append_headers(
        &mut self,
        mut rest: Cursor<'_>,
        count: usize,
        headers: usize,
        name_bytes: usize,
        value_bytes: usize,
        mode: u8,
        rows: std::ops::Range<usize>,
    ) -> Result<(), Damage> {
        let ends = rest.take(4 * count)?;
        let names = rest.binary(NO_NULLS, headers, name_bytes)?;
        let values = rest.binary(mode, headers, value_bytes)?;
        // Records that came before the first one with headers have none.
        let before = self.offsets.len() - rows.len();
        let into = self.headers.get_or_insert_with(|| HeaderColumns {
            offsets: vec![0; before + 1],
            names: Column::new(),
            values: Column::new(),
        });
        let shift = into.names.offsets.len() - 1;
        append_ends(&mut into.offsets, ends, rows.start, rows.end, shift)?;
        let (low, high) = (start_of(ends, rows.start), start_of(ends, rows.end));
        if low > high || high > headers {
            return Err("its headers do not fit");
        }
        if low < high {
            into.names.append(&names, low, high)?;
            into.values.append(&values, low, high)?;
        }
        Ok(())
    }

    /// The records so far; the assembler is empty afterwards.
    ///
    /// # Errors
    /// If the columns do not fit together, for example names of headers that are not UTF-8.
    pub(super) fn finish(&mut self) -> Result<Records, Damage> {
        let headers = match self.headers.take() {
            None => None,
            Some(mut headers) => Some(map_array(
                OffsetBuffer::new(std::mem::take(&mut headers.offsets).into()),
                headers.names.finish()?,
                headers.values.finish()?,
            )?),
        };
        Ok(Records {
            offsets: std::mem::take(&mut self.offsets).into(),
            timestamps: std::mem::take(&mut self.timestamps).into(),
            keys: self.keys.finish()?,
            values: self.values.finish()?,
            headers,
        })
    }
}

/// Headers in the type that `RecordsBuilder` gives them.
fn map_array(offsets: OffsetBuffer<i32>, names: BinaryArray, values: BinaryArray) -> Result<MapArray, Damage> {
    let names = StringArray::try_from_binary(names).map_err(|_| "a header's name is not UTF-8")?;
    let fields = Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Binary, true)]);
    let columns: Vec<ArrayRef> = vec![Arc::new(names), Arc::new(values)];
    let entries = StructArray::try_new(fields, columns, None).map_err(|_| "headers do not fit together")?;
    let field = Arc::new(Field::new("entries", entries.data_type().clone(), false));
    MapArray::try_new(field, offsets, entries, None, false).map_err(|_| "headers do not fit together")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::RecordsBuilder;
    use proptest::prelude::*;

    type Header = (String, Option<Vec<u8>>);
    type Row = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<Header>);

    fn build(rows: &[Row], base: i64) -> Records {
        let mut builder = RecordsBuilder::with_capacity(rows.len());
        for (i, (time, key, value, headers)) in rows.iter().enumerate() {
            let headers = headers.iter().map(|(n, v)| (n.as_str(), v.as_deref()));
            builder.push(base + i as i64, *time, key.as_deref(), value.as_deref(), headers);
        }
        builder.finish()
    }

    fn same(a: &Records, b: &Records) {
        assert_eq!(a.offsets, b.offsets);
        assert_eq!(a.timestamps, b.timestamps);
        assert_eq!(a.keys, b.keys);
        assert_eq!(a.values, b.values);
        match (&a.headers, &b.headers) {
            (Some(a), Some(b)) => assert_eq!(a, b),
            (None, None) => {}
            (Some(one), None) | (None, Some(one)) => assert_eq!(one.value_offsets().first(), one.value_offsets().last()),
        }
    }

    fn row() -> impl Strategy<Value = Row> {
        let bytes = || proptest::option::weighted(0.7, proptest::collection::vec(any::<u8>(), 0..9));
        (0i64..4, bytes(), bytes(), proptest::collection::vec(("[a-c]{0,3}", bytes()), 0..3))
    }

    proptest! {
        #[test]
        fn what_is_stored_comes_back(rows in proptest::collection::vec(row(), 1..40), cut in 0usize..40, from in 0i64..50, to in 0i64..50) {
            let all = build(&rows, 10);
            // Two batches, of slices, put together again; then only a part of them.
            let cut = cut.min(rows.len());
            let (a, b) = (all.slice(0, cut), all.slice(cut, rows.len() - cut));
            let mut whole = Assembler::new();
            let mut part = Assembler::new();
            for (records, base) in [(a, 10), (b, 10 + cut as i64)] {
                if !records.is_empty() {
                    let bytes = encode(&records, None, None).unwrap();
                    whole.append(base, &bytes, 0, i64::MAX).unwrap();
                    part.append(base, &bytes, from, to).unwrap();
                }
            }
            same(&whole.finish().unwrap(), &all);
            let low = (from - 10).clamp(0, rows.len() as i64);
            let high = (to - 10).clamp(low, rows.len() as i64);
            same(&part.finish().unwrap(), &all.slice(low as usize, (high - low) as usize));
        }

        #[test]
        fn any_flipped_bit_is_noticed(rows in proptest::collection::vec(row(), 1..10), at in any::<proptest::sample::Index>(), bit in 0u8..8) {
            let mut bytes = encode(&build(&rows, 0), None, None).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(Assembler::new().append(0, &bytes, 0, i64::MAX).is_err());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = bytes;
            if bytes.len() >= HEAD {
                // Past the checksum, so that the checks behind it work too.
                bytes[0] = LAYOUT;
                for count in bytes[16..HEAD].chunks_mut(4) { count[1..].fill(0); }
                let sum = checksum(&bytes);
                bytes[8..16].copy_from_slice(&sum.to_le_bytes());
            }
            let mut assembler = Assembler::new();
            if assembler.append(0, &bytes, 0, i64::MAX).is_ok() {
                let _ = assembler.finish();
            }
        }
    }

    #[test]
    fn gaps_are_kept() {
        let rows: Vec<Row> = (0..5).map(|i| (i, None, Some(vec![i as u8]), Vec::new())).collect();
        let mut records = build(&rows, 100);
        records.offsets = vec![100, 103, 104, 110, 112].into();
        let bytes = encode(&records, None, Some(100)).unwrap();
        let mut assembler = Assembler::new();
        assembler.append(100, &bytes, 101, 111).unwrap();
        let part = assembler.finish().unwrap();
        assert_eq!(part.offsets.to_vec(), [103, 104, 110]);
        assert_eq!(part.values.value(2), [3]);
    }

    #[test]
    fn headers_have_the_builders_type() {
        let rows: Vec<Row> = vec![(1, None, None, vec![("a".into(), None), ("a".into(), Some(vec![1]))])];
        let records = build(&rows, 0);
        let mut assembler = Assembler::new();
        assembler.append(0, &encode(&records, Some(7), None).unwrap(), 0, 9).unwrap();
        let back = assembler.finish().unwrap();
        assert_eq!(back.headers.unwrap().data_type(), records.headers.unwrap().data_type());
        assert_eq!(back.timestamps.to_vec(), [7]);
    }
}
