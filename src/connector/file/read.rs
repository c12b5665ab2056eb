//! Files, one after the other, on a thread of their own.   bytes ─► lines ─► (decoded) rows ─► channel
//!
//! The thread is at most a few batches ahead of who reads; when that one is gone it ends. Blank lines are no rows. A CSV field
//! in quotes may hold line breaks. A byte order mark is passed over. JSON may also be one array: its elements are the lines.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, BinaryBuilder};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tokio::sync::mpsc;

use super::find::unreadable;
use crate::connector::Rows;
use crate::error::{Error, Result};
use crate::format::{BadRecord, CsvDialect, Decoder, OpenQuote, Records};
use crate::time::now;

/// Rows of one batch, at most.
const BATCH_ROWS: usize = 8_192;
/// Bytes of lines in one batch, about.
const BATCH_BYTES: usize = 1 << 20;
/// The longest line.
const MAX_LINE: usize = if cfg!(test) { 1 << 20 } else { 64 << 20 };
/// Batches that wait.
const AHEAD: usize = 2;

/// Some rows.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) rows: Rows,
    /// The offset behind each row.
    pub(super) ends: Vec<i64>,
    /// The offset behind all of them, and behind what was left out at their end.
    pub(super) end: i64,
    /// How many bytes of all files are behind them, about; of lines only.
    pub(super) bytes: u64,
}

/// How lines are cut.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    /// For CSV.
    pub(super) csv: Option<CsvDialect>,
    /// The names that every file's header must have.
    pub(super) header: Option<Vec<String>>,
}

/// What is read, and how.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) paths: Arc<[PathBuf]>,
    /// The columns of the batches.
    pub(super) schema: SchemaRef,
    /// `None`: Parquet.
    pub(super) shape: Option<Shape>,
    /// Of lines; `None`: they stay records.
    pub(super) decoder: Option<Box<dyn Decoder>>,
    /// Whether lines that are no rows are left out, and not an error.
    pub(super) skip_bad: bool,
    /// The first row wanted.
    pub(super) start: i64,
}

/// The reader on the other side is gone; nobody is to be told.
struct Gone;

type Sender = mpsc::Sender<Result<Item>>;

impl Reader {
    /// Starts reading.
    ///
    /// # Errors
    /// `External` if there is no thread to be had.
    pub(super) fn spawn(mut self) -> Result<mpsc::Receiver<Result<Item>>> {
        let (sender, receiver) = mpsc::channel(AHEAD);
        let run = move || {
            let read = if self.shape.is_some() { self.lines(&sender) } else { self.parquet(&sender) };
            if let Err(Some(error)) = read.map_err(Stop::into_error) {
                // Nobody to tell it to: nobody reads any more.
                let _ = sender.blocking_send(Err(error));
            }
        };
        let thread = std::thread::Builder::new().name("vatic-file".to_owned());
        thread.spawn(run).map_err(|e| Error::external(format!("cannot start a thread that reads files: {e}")))?;
        Ok(receiver)
    }

    fn lines(&mut self, sender: &Sender) -> std::result::Result<(), Stop> {
        let Some(shape) = self.shape.clone() else { return Ok(()) };
        let (mut offset, mut bytes) = (0, 0);
        for path in Arc::clone(&self.paths).iter() {
            let mut lines = Lines::open(path, &shape)?;
            let mut batch = Batch::default();
            let end = bytes + lines.input.get_ref().metadata().map_or(0, |meta| meta.len());
            while lines.next()? {
                offset += 1;
                // With a line break; blank lines and what is between the elements of an array do not count.
                bytes = (bytes + lines.line.len() as u64 + 1).min(end);
                if offset <= self.start {
                    continue;
                }
                batch.values.append_value(&lines.line);
                batch.numbers.push(lines.first);
                batch.bytes += lines.line.len();
                if batch.numbers.len() == BATCH_ROWS || batch.bytes >= BATCH_BYTES {
                    send(sender, self.item(path, &mut batch, offset, bytes)?)?;
                }
            }
            bytes = end;
            if !batch.numbers.is_empty() {
                send(sender, self.item(path, &mut batch, offset, bytes)?)?;
            }
        }
        Ok(())
    }

    /// Lines as rows; `end` is the offset behind them, and `bytes` what was read of all files.
    fn item(&mut self, path: &Path, batch: &mut Batch, end: i64, bytes: u64) -> Result<Item> {
        let Batch { mut values, numbers, .. } = std::mem::take(batch);
        let (values, count) = (values.finish(), numbers.len());
        let first = end - i64::try_from(count).unwrap_or(0);
        let Some(decoder) = &mut self.decoder else {
            let rows = Rows::Records(Records {
                offsets: (first..end).collect(),
                timestamps: std::iter::repeat_n(now(), count).collect(),
                keys: BinaryArray::new_null(count),
                values,
                headers: None,
            });
            return Ok(Item { rows, ends: (first + 1..=end).collect(), end, bytes });
        };
        let decoded = decoder.decode(&values);
        if let (Some(bad), false) = (decoded.bad.first(), self.skip_bad) {
            return Err(bad_line(path, &numbers, bad));
        }
        let mut bad = decoded.bad.iter().map(|b| b.index).peekable();
        let ends: Vec<i64> =
            (0..count).zip(first + 1..).filter(|(i, _)| bad.next_if_eq(i).is_none()).map(|(_, end)| end).collect();
        Ok(Item { rows: Rows::Batch(self.batch(decoded.columns, ends.len())?), ends, end, bytes })
    }

    fn batch(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(|e| Error::data(e.to_string()))
    }

    fn parquet(&mut self, sender: &Sender) -> std::result::Result<(), Stop> {
        // Rows of the files before.
        let mut before = 0_i64;
        for path in Arc::clone(&self.paths).iter() {
            let builder = parquet_builder(path)?;
            let rows = builder.metadata().file_metadata().num_rows();
            let skipped = (self.start - before).clamp(0, rows);
            let mut offset = before + skipped;
            before += rows;
            if skipped == rows {
                continue;
            }
            let damaged = |e: &dyn std::fmt::Display| Error::data(format!("file \"{}\": {e}", path.display()));
            let builder = builder.with_batch_size(BATCH_ROWS).with_offset(usize::try_from(skipped).unwrap_or(0));
            for batch in builder.build().map_err(|e| damaged(&e))? {
                let batch = batch.map_err(|e| damaged(&e))?;
                let columns = self.schema.fields().iter().map(|field| {
                    let column = batch.column_by_name(field.name());
                    let column = column.ok_or_else(|| damaged(&format!("there is no column \"{}\"", field.name())))?;
                    let strict = CastOptions { safe: false, ..CastOptions::default() };
                    cast_with_options(column, field.data_type(), &strict)
                        .map_err(|e| damaged(&format!("column \"{}\": {e}", field.name())))
                });
                let rows = self.batch(columns.collect::<Result<_>>()?, batch.num_rows()).map_err(|e| damaged(&e))?;
                let first = offset;
                offset += i64::try_from(rows.num_rows()).unwrap_or(0);
                let ends = (first + 1..=offset).collect();
                send(sender, Item { rows: Rows::Batch(rows), ends, end: offset, bytes: 0 })?;
            }
        }
        Ok(())
    }
}

/// Why reading ends early.
enum Stop {
    Failed(Error),
    Gone,
}

impl Stop {
    fn into_error(self) -> Option<Error> {
        match self {
            Stop::Failed(error) => Some(error),
            Stop::Gone => None,
        }
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Failed(error)
    }
}

impl From<Gone> for Stop {
    fn from(_: Gone) -> Self {
        Stop::Gone
    }
}

fn send(sender: &Sender, item: Item) -> std::result::Result<(), Gone> {
    sender.blocking_send(Ok(item)).map_err(|_| Gone)
}

fn bad_line(path: &Path, numbers: &[u64], bad: &BadRecord) -> Error {
    let line = numbers.get(bad.index).copied().unwrap_or(0);
    let error = Error::data(format!("file \"{}\", line {line}: {}", path.display(), bad.error));
    error.hint("Correct the line, or set bad_records = 'skip' in the table's WITH.")
}

#[derive(Default)]
struct Batch {
    values: BinaryBuilder,
    /// The number of each line in its file.
    numbers: Vec<u64>,
    bytes: usize,
}

/// Lines of text, those of CSV with the line breaks that lie in quotes.
#[derive(Debug)]
pub struct Lines<R> {
    path: PathBuf,
    input: BufReader<R>,
    delimiter: Option<u8>,
    /// The present line, without its line break.
    line: Vec<u8>,
    /// The number of its first line of text; lines count from 1.
    first: u64,
    /// How many lines of text were read.
    read: u64,
    /// Whether what comes next is an element of an array of JSON; `None`: not known yet, for nothing of it was read.
    in_array: Option<bool>,
    /// Whether the array has had an element.
    begun: bool,
}

impl Lines<File> {
    /// The lines of one file, behind its header.
    fn open(path: &Path, shape: &Shape) -> Result<Self> {
        let file = File::open(path).map_err(|e| unreadable(path, e))?;
        let mut lines = Self::over(path, BufReader::with_capacity(1 << 17, file), shape.csv.as_ref().map(|d| d.delimiter))?;
        if let (Some(dialect), Some(names)) = (&shape.csv, &shape.header)
            && lines.next()?
        {
            let header = std::str::from_utf8(&lines.line).ok().and_then(|l| dialect.fields(l).ok()).unwrap_or_default();
            let same =
                header.len() == names.len() && header.iter().zip(names).all(|(h, n)| h.as_ref().is_none_or(|h| h == n));
            if !same {
                let error = Error::data(format!("file \"{}\" has another header than the first file", path.display()));
                return Err(error.hint(format!("Expected the columns: {}.", names.join(", "))));
            }
        }
        Ok(lines)
    }
}

impl<R: Read> Lines<R> {
    /// The lines of `input`, which errors call `path`; with a delimiter those of CSV.
    ///
    /// # Errors
    /// `External` if it cannot be read.
    pub fn over(path: &Path, input: BufReader<R>, delimiter: Option<u8>) -> Result<Self> {
        // CSV is never an array.
        let in_array = delimiter.map(|_| false);
        let mut lines =
            Self { path: path.to_owned(), input, delimiter, line: Vec::new(), first: 0, read: 0, in_array, begun: false };
        if lines.input.fill_buf().map_err(|e| unreadable(path, e))?.starts_with(b"\xef\xbb\xbf") {
            lines.input.consume(3);
        }
        Ok(lines)
    }

    /// The present line, without its line break.
    #[must_use]
    pub fn line(&self) -> &[u8] {
        &self.line
    }

    /// The number of its first line of text; lines count from 1.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.first
    }

    /// Whether there is another line without waiting for one.
    #[must_use]
    pub fn at_hand(&self) -> bool {
        let end = if self.in_array == Some(true) { b'}' } else { b'\n' };
        self.input.buffer().contains(&end)
    }

    /// Reads the next line that is not blank; `false` at the end.
    ///
    /// # Errors
    /// `Data` for a line that is too long; `External` if the input cannot be read.
    #[allow(clippy::should_implement_trait)] // It lends its line.
    pub fn next(&mut self) -> Result<bool> {
        loop {
            self.line.clear();
            if self.in_array.is_none() {
                let first = self.skip_blanks()?;
                self.in_array = first.map(|byte| byte == b'[');
                if self.in_array == Some(true) {
                    self.input.consume(1);
                    self.begun = false;
                }
            }
            if self.in_array == Some(true) {
                if self.element()? {
                    return Ok(true);
                }
                // Behind one array there may be another, or lines.
                self.in_array = None;
                continue;
            }
            self.first = self.read + 1;
            let mut quote = OpenQuote::default();
            loop {
                let from = self.line.len();
                // One byte more than allowed, to notice.
                let room = u64::try_from(MAX_LINE + 1 - from).unwrap_or(0);
                let mut limited = std::io::Read::take(&mut self.input, room);
                let count = limited.read_until(b'\n', &mut self.line).map_err(|e| unreadable(&self.path, e))?;
                if self.line.len() > MAX_LINE {
                    return Err(self.too_long());
                }
                if count == 0 {
                    break;
                }
                self.read += 1;
                if !self.delimiter.is_some_and(|d| quote.feed(&self.line[from..], d)) {
                    break;
                }
            }
            if self.line.is_empty() {
                return Ok(false);
            }
            for end in [b'\n', b'\r'] {
                if self.line.last() == Some(&end) {
                    self.line.pop();
                }
            }
            // A line of tabs may be a row of NULLs in CSV.
            let blank = if self.delimiter.is_some() { self.line.is_empty() } else { self.line.trim_ascii().is_empty() };
            if !blank {
                return Ok(true);
            }
        }
    }
}

impl<R: Read> Lines<R> {
    fn too_long(&self) -> Error {
        let (path, line) = (self.path.display(), self.first);
        let error = Error::data(format!("file \"{path}\", line {line}: longer than {} MiB", MAX_LINE >> 20));
        error.hint("Look for a quote that is never closed.")
    }

    /// Passes over blanks and line breaks; the byte behind them, which stays, or `None` at the end.
    fn skip_blanks(&mut self) -> Result<Option<u8>> {
        loop {
            let bytes = self.input.fill_buf().map_err(|e| unreadable(&self.path, e))?;
            let blanks = bytes.iter().position(|b| !b.is_ascii_whitespace()).unwrap_or(bytes.len());
            let (next, at_end) = (bytes.get(blanks).copied(), bytes.is_empty());
            self.read += lines_in(&bytes[..blanks]);
            self.input.consume(blanks);
            if next.is_some() || at_end {
                return Ok(next);
            }
        }
    }

    /// Reads the next element of the array into `line`, with the line breaks in it; `false` behind the last one. That elements
    /// are JSON is for the decoder to say: here only quotes and brackets count.
    fn element(&mut self) -> Result<bool> {
        let open = |lines: &Self| {
            let error = Error::data(format!("file \"{}\": the array is not closed", lines.path.display()));
            error.hint("Look at its end: the file was cut off, or a ] is missing.")
        };
        let Some(next) = self.skip_blanks()? else { return Err(open(self)) };
        self.first = self.read + 1;
        if next == b']' && !self.begun {
            self.input.consume(1);
            return Ok(false);
        }
        self.begun = true;
        let mut text = Nesting::default();
        loop {
            let bytes = self.input.fill_buf().map_err(|e| unreadable(&self.path, e))?;
            if bytes.is_empty() {
                return Err(open(self));
            }
            let end = bytes.iter().position(|byte| text.ends(*byte));
            let part = &bytes[..end.unwrap_or(bytes.len())];
            self.read += lines_in(part);
            self.line.extend_from_slice(part);
            let (count, closes) = (part.len(), end.is_some_and(|end| bytes[end] == b']'));
            // The bracket stays: the next call finds it in the place of an element, and no comma before it.
            self.input.consume(count + usize::from(end.is_some() && !closes));
            if self.line.len() > MAX_LINE {
                return Err(self.too_long());
            }
            if end.is_some() {
                self.begun = !closes;
                return Ok(true);
            }
        }
    }
}

fn lines_in(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// Where one is in the text of an element.
#[derive(Debug, Default)]
struct Nesting {
    depth: usize,
    quoted: bool,
    escaped: bool,
}

impl Nesting {
    /// Takes the next byte; says whether the element ends before it.
    fn ends(&mut self, byte: u8) -> bool {
        match (self.quoted, byte) {
            (true, _) if self.escaped => self.escaped = false,
            (true, b'\\') => self.escaped = true,
            (_, b'"') => self.quoted = !self.quoted,
            (true, _) => {}
            (false, b'{' | b'[') => self.depth += 1,
            (false, b',' | b']') if self.depth == 0 => return true,
            (false, b'}' | b']') => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        false
    }
}

/// The first lines over all files, with the first file's header.
pub(super) fn sample(paths: &[PathBuf], shape: &Shape, count: usize) -> Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    // The header is not known yet; that of the first file is a line like any other.
    let header = shape.csv.as_ref().is_some_and(|d| d.header);
    let shape = Shape { csv: shape.csv.clone(), header: None };
    for (index, path) in paths.iter().enumerate() {
        let mut lines = Lines::open(path, &shape)?;
        if index > 0 && header {
            lines.next()?;
        }
        while found.len() < count + usize::from(header) && lines.next()? {
            found.push(std::mem::take(&mut lines.line));
        }
    }
    Ok(found)
}

/// The file and the line of the row at `offset`, as [`Reader`] counts them.
pub(super) fn place_of(paths: &[PathBuf], shape: &Shape, offset: i64) -> Result<Option<(PathBuf, u64)>> {
    let mut left = offset;
    for path in paths {
        let mut lines = Lines::open(path, shape)?;
        while lines.next()? {
            if left == 0 {
                return Ok(Some((path.clone(), lines.first)));
            }
            left -= 1;
        }
    }
    Ok(None)
}

fn parquet_builder(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    let file = File::open(path).map_err(|e| unreadable(path, e))?;
    ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| {
        Error::data(format!("file \"{}\" is not Parquet: {e}", path.display())).hint("Set format to what it is.")
    })
}

/// The columns of a Parquet file, in the types that vatic's tables have.
pub(super) fn parquet_schema(path: &Path) -> Result<SchemaRef> {
    let found = Arc::clone(parquet_builder(path)?.schema());
    let fields = found.fields().iter().map(|f| f.as_ref().clone().with_data_type(plain(f.data_type())));
    Ok(Arc::new(Schema::new(fields.collect::<Vec<Field>>())))
}

/// One of the several forms that Arrow has for text, bytes and lists.
fn plain(data_type: &DataType) -> DataType {
    let inner = |field: &Arc<Field>| Arc::new(field.as_ref().clone().with_data_type(plain(field.data_type())));
    match data_type {
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::Dictionary(_, value) => plain(value),
        DataType::List(item) | DataType::LargeList(item) => DataType::List(inner(item)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inner).collect()),
        DataType::Map(entries, sorted) => DataType::Map(inner(entries), *sorted),
        other => other.clone(),
    }
}

/// Whether values of one type can be read as the other without becoming something else.
pub(super) fn same_family(found: &DataType, declared: &DataType) -> bool {
    let both = |is: fn(&DataType) -> bool| is(found) && is(declared);
    found == declared
        || both(DataType::is_integer)
        || both(DataType::is_floating)
        || both(DataType::is_decimal)
        || both(|t| matches!(t, DataType::Timestamp(..)))
        || both(DataType::is_nested) && std::mem::discriminant(found) == std::mem::discriminant(declared)
}
