//! Rows to score: lines of CSV or JSON from a file or from stdin, or a Parquet file.   bytes ─► [`Input`] ─► [`Rows`] ─► [`Batch`]
//!
//! The first lines say which columns there are and of which types. A feature is then read in the type that the model takes,
//! so that no later line can surprise it; a kept column of CSV stays the text it is where CSV is written. Features and kept
//! columns are decoded apart: a row with a bad feature keeps its id.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryArray, BinaryBuilder, RecordBatch, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use tokio::runtime::Handle;

use super::super::args::OutputFormat;
use super::super::unreadable;
use super::columns::Taken;
use super::keep::{Keeper, Kept, copied};
use crate::config::Options;
use crate::connector::file::{Files, Lines, lines_hint};
use crate::connector::{Event, Limit, Source};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{CsvDialect, Decoded, Decoder, Format, format};
use crate::model::Signature;
use crate::model::features::Feature;

/// Rows of one batch, at most.
const BATCH_ROWS: usize = 8_192;
/// Bytes of lines in one batch, about.
const BATCH_BYTES: usize = 1 << 20;
/// So many lines say which columns there are.
const SAMPLE_LINES: usize = 1_000;
/// And so many bytes of them, about.
const SAMPLE_BYTES: usize = 8 << 20;

/// An input whose columns are known.
pub(super) struct Input {
    columns: SchemaRef,
    kind: Kind,
}

enum Kind {
    Lines(Sampled),
    Parquet(String),
}

/// Lines, of which the first are read.
struct Sampled {
    lines: Lines<Box<dyn Read>>,
    /// The lines behind the header, with their numbers.
    first: VecDeque<(Vec<u8>, u64)>,
    format: &'static dyn Format,
    options: Options,
    /// Whether lines come as they are made.
    live: bool,
}

impl Input {
    /// Opens a file, or stdin if it is `-`, and learns its columns.
    ///
    /// # Errors
    /// `User` if there is no such file; `Data` if it is not in its format; `External` if it cannot be read.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let live = path.as_os_str() == "-";
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
        if matches!(extension.as_str(), "parquet" | "pq") {
            let path = path.to_string_lossy().into_owned();
            let files =
                Handle::current().block_on(Files::open(&path, &parquet(), None)).map_err(|error| match error.kind() {
                    ErrorKind::Data => error.hint(read_as("Parquet", true)),
                    _ => error,
                })?;
            return Ok(Self { columns: Arc::clone(files.schema()), kind: Kind::Parquet(path) });
        }
        let named = if live { Path::new("<stdin>") } else { path };
        let mut input = BufReader::with_capacity(1 << 17, if live { Box::new(std::io::stdin()) } else { file(path)? });
        let (json, by_name) = match extension.as_str() {
            "json" | "jsonl" | "ndjson" => (true, true),
            "csv" | "tsv" | "txt" => (false, true),
            _ => (begins_like_json(&mut input).map_err(|e| unreadable(named, e))?, false),
        };
        let mut options = Options::default();
        if !json {
            options.set("csv.header", "true");
            if extension == "tsv" {
                options.set("csv.delimiter", "\\t");
            }
        }
        let format = format(if json { "json" } else { "csv" })?;
        let delimiter = if json { None } else { Some(CsvDialect::new(&options, true)?.delimiter) };
        let mut lines = Lines::over(named, input, delimiter)?;
        let (mut first, mut bytes) = (VecDeque::new(), 0);
        while first.len() <= SAMPLE_LINES && bytes < SAMPLE_BYTES && lines.next()? {
            bytes += lines.line().len();
            first.push_back((lines.line().to_vec(), lines.number()));
        }
        if first.is_empty() && !json {
            let error = Error::data(format!("file \"{}\" is empty", named.display()));
            return Err(error.hint("CSV begins with a line of column names."));
        }
        let columns = if first.is_empty() {
            Arc::new(Schema::empty())
        } else {
            let sample: Vec<&[u8]> = first.iter().map(|(line, _)| line.as_slice()).collect();
            let found = format.infer(&sample, &options).map_err(|error| {
                let hint = match lines_hint(format, &sample) {
                    Some(hint) => hint,
                    // The names of columns are the file's own business.
                    None if error.message().starts_with("columns ") => error.get_hint().unwrap_or_default().to_owned(),
                    None => read_as(if json { "JSON" } else { "CSV" }, by_name),
                };
                error.context(format!("file \"{}\"", named.display())).hint(hint)
            })?;
            found.options.iter().for_each(|(name, value)| options.set(name, value));
            found.schema
        };
        if !json {
            first.pop_front();
            // The header is taken out, so the decoder never meets one.
            options.set("csv.header", "false");
        }
        Ok(Self { columns, kind: Kind::Lines(Sampled { lines, first, format, options, live }) })
    }

    /// The columns, in the types that the first rows suggest.
    pub(super) fn columns(&self) -> &SchemaRef {
        &self.columns
    }

    /// The rows: `features` for the model, `kept` to copy into rows written as `written`.
    ///
    /// # Errors
    /// As [`Input::open`].
    pub(super) fn read(
        self,
        features: &[Taken],
        signature: &Signature,
        kept: &[usize],
        written: OutputFormat,
    ) -> Result<Rows> {
        let columns = self.columns;
        let taken: Vec<usize> = features.iter().map(|t| t.column).collect();
        match self.kind {
            Kind::Parquet(path) => {
                let mut wanted: Vec<usize> = taken.iter().chain(kept).copied().collect();
                wanted.sort_unstable();
                wanted.dedup();
                let declared = Arc::new(columns.project(&wanted).map_err(|e| Error::internal(e.to_string()))?);
                let files = Handle::current().block_on(Files::open(&path, &parquet(), Some(declared)))?;
                let place = |index: &usize| wanted.iter().position(|w| w == index).unwrap_or(0);
                let source = Origin::Parquet {
                    rows: files.source(0)?,
                    features: taken.iter().map(place).collect(),
                    kept: kept.iter().map(place).collect(),
                    before: 0,
                };
                Ok(Rows::new(&columns, &taken, &columns, kept, source))
            }
            Kind::Lines(sampled) => {
                let typed = sampled.feature_types(&columns, features, signature)?;
                let texts = copied(&columns, written);
                let Sampled { lines, first, format, options, live } = sampled;
                let source = Origin::Lines(Box::new(LineSource {
                    lines,
                    first,
                    live,
                    decoder: format.decoder(Arc::clone(&typed), &taken, &options)?,
                    keeper: if kept.is_empty() { None } else { Some(Keeper::new(format, &texts, kept, &options)?) },
                }));
                Ok(Rows::new(&typed, &taken, &texts, kept, source))
            }
        }
    }
}

/// What to do about rows that are not in the format they were read in.
fn read_as(format: &str, by_name: bool) -> String {
    if by_name {
        format!("It is read as {format} because of its name: call it .csv, .jsonl or .parquet after what is in it.")
    } else {
        format!(
            "It is read as {format}: without .csv, .jsonl or .parquet in its name it is JSON if it begins with {{, else CSV."
        )
    }
}

fn parquet() -> Options {
    let mut options = Options::default();
    options.set("format", "parquet");
    options
}

fn file(path: &Path) -> Result<Box<dyn Read>> {
    let open = || -> std::io::Result<File> {
        let file = File::open(path)?;
        if file.metadata()?.is_dir() { Err(std::io::ErrorKind::IsADirectory.into()) } else { Ok(file) }
    };
    Ok(Box::new(open().map_err(|e| unreadable(path, e))?))
}

/// Whether it begins, blanks and a byte order mark passed over, as an object does, or an array of objects.
fn begins_like_json(input: &mut BufReader<Box<dyn Read>>) -> std::io::Result<bool> {
    use std::io::BufRead;
    let start = input.fill_buf()?;
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    Ok(match start.trim_ascii_start() {
        [b'{', ..] => true,
        [b'[', items @ ..] => matches!(items.trim_ascii_start().first(), Some(b'{') | None),
        _ => false,
    })
}

impl Sampled {
    /// The columns, those that are features in types that the model takes.
    fn feature_types(&self, columns: &SchemaRef, features: &[Taken], signature: &Signature) -> Result<SchemaRef> {
        let mut fields: Vec<Field> = columns.fields().iter().map(|f| f.as_ref().clone()).collect();
        for Taken { column, input } in features {
            let Some(takes) = signature.inputs.get(*input) else { continue };
            let found = fields[*column].data_type().clone();
            let wanted = readable_as(&found, &takes.data_type);
            if wanted != found && (found != DataType::Utf8 || self.some_are(columns, *column, &wanted)?) {
                fields[*column] = fields[*column].clone().with_data_type(wanted);
            }
        }
        Ok(Arc::new(Schema::new(fields)))
    }

    /// Whether a column of texts has values of the type among them, or no values at all: then the texts are bad rows, else it
    /// is the wrong column.
    fn some_are(&self, columns: &SchemaRef, column: usize, wanted: &DataType) -> Result<bool> {
        let mut fields: Vec<Field> = columns.fields().iter().map(|f| f.as_ref().clone()).collect();
        fields[column] = fields[column].clone().with_data_type(wanted.clone());
        let mut decoder = self.format.decoder(Arc::new(Schema::new(fields)), &[column], &self.options)?;
        let values = BinaryArray::from_iter_values(self.first.iter().map(|(line, _)| line));
        let decoded = decoder.decode(&values);
        Ok(decoded.bad.is_empty() || decoded.columns.iter().any(|c| c.null_count() < c.len()))
    }
}

/// The type in which a column that looks like `found` is read for an input of type `takes`.
fn readable_as(found: &DataType, takes: &DataType) -> DataType {
    match (found, takes) {
        (DataType::List(item), _) => DataType::new_list(readable_as(item.data_type(), takes), true),
        (DataType::Boolean, _) => DataType::Boolean,
        (_, DataType::Float32 | DataType::Float64) => DataType::Float64,
        (_, takes) if takes.is_integer() => DataType::Int64,
        (_, DataType::Utf8) => DataType::Utf8,
        _ => found.clone(),
    }
}

/// The rows of an input, batch after batch.
pub(super) struct Rows {
    features: Vec<Feature>,
    kept: Vec<Field>,
    source: Origin,
}

enum Origin {
    Lines(Box<LineSource>),
    Parquet { rows: Box<dyn Source>, features: Vec<usize>, kept: Vec<usize>, before: u64 },
}

struct LineSource {
    lines: Lines<Box<dyn Read>>,
    first: VecDeque<(Vec<u8>, u64)>,
    live: bool,
    decoder: Box<dyn Decoder>,
    keeper: Option<Keeper>,
}

impl Rows {
    fn new(typed: &Schema, taken: &[usize], texts: &Schema, kept: &[usize], source: Origin) -> Self {
        let feature = |i: &usize| Feature::named(typed.field(*i).name().as_str(), typed.field(*i).data_type().clone());
        let kept = kept.iter().map(|i| texts.field(*i).clone().with_nullable(true)).collect();
        Self { features: taken.iter().map(feature).collect(), kept, source }
    }

    /// The features as they come, for binding.
    pub(super) fn features(&self) -> &[Feature] {
        &self.features
    }

    /// The columns that are copied.
    pub(super) fn kept(&self) -> &[Field] {
        &self.kept
    }

    /// The next rows, at least one; `None` at the end.
    ///
    /// # Errors
    /// `External` if the input cannot be read; `Data` if it is damaged.
    pub(super) fn next(&mut self) -> Result<Option<Batch>> {
        match &mut self.source {
            Origin::Lines(lines) => lines.next(),
            Origin::Parquet { rows, features, kept, before } => {
                let Some(batch) = next_batch(rows.as_mut())? else { return Ok(None) };
                let columns = |of: &[usize]| of.iter().map(|i| Arc::clone(batch.column(*i))).collect();
                let count = batch.num_rows();
                let numbers = (*before + 1..).take(count).collect();
                *before += count as u64;
                Ok(Some(Batch {
                    place: "row",
                    numbers,
                    features: columns(features),
                    spread: None,
                    good: None,
                    kept: columns(kept),
                    bad: Vec::new(),
                    unkept: Vec::new(),
                }))
            }
        }
    }
}

fn next_batch(rows: &mut dyn Source) -> Result<Option<RecordBatch>> {
    let limit = Limit { rows: BATCH_ROWS, bytes: usize::MAX };
    loop {
        match Handle::current().block_on(rows.next(limit))? {
            Event::Cut(cut) => {
                for chunk in cut.chunks {
                    if let crate::connector::Rows::Batch(batch) = chunk.rows
                        && batch.num_rows() > 0
                    {
                        return Ok(Some(batch)); // a file's cut is one chunk
                    }
                }
            }
            Event::Finished => return Ok(None),
            _ => {}
        }
    }
}

impl LineSource {
    fn next(&mut self) -> Result<Option<Batch>> {
        let (mut values, mut numbers, mut bytes) = (BinaryBuilder::new(), Vec::new(), 0);
        while numbers.len() < BATCH_ROWS && bytes < BATCH_BYTES {
            if let Some((line, number)) = self.first.pop_front() {
                values.append_value(&line);
                numbers.push(number);
                bytes += line.len();
                continue;
            }
            // What is at hand need not wait for what is long in coming.
            if self.live && !numbers.is_empty() && !self.lines.at_hand() || !self.lines.next()? {
                break;
            }
            values.append_value(self.lines.line());
            numbers.push(self.lines.number());
            bytes += self.lines.line().len();
        }
        if numbers.is_empty() {
            return Ok(None);
        }
        let (values, rows) = (values.finish(), numbers.len());
        let Decoded { columns: features, bad } = self.decoder.decode(&values);
        let bad: Vec<(usize, String)> = bad.into_iter().map(|b| (b.index, b.error)).collect();
        let spread = places(rows, bad.iter().map(|(row, _)| *row));
        let good = spread.as_ref().map(|places| (0..rows).filter(|row| places.is_valid(*row)).collect());
        let Kept { columns: kept, wrong: mut unkept } = match &mut self.keeper {
            Some(keeper) => keeper.read(&values)?,
            None => Kept { columns: Vec::new(), wrong: Vec::new() },
        };
        // Of a line that is no row at all it is enough to be told once.
        unkept.retain(|(row, _)| bad.binary_search_by_key(row, |(row, _)| *row).is_err());
        Ok(Some(Batch { place: "line", numbers, features, spread, good, kept, bad, unkept }))
    }
}

/// For each row which of the good rows it is; `None` if all are good.
pub(super) fn places(rows: usize, bad: impl Iterator<Item = usize>) -> Option<UInt64Array> {
    let mut bad = bad.peekable();
    bad.peek()?;
    let mut next = 0;
    let place = |row: usize| {
        if bad.next_if_eq(&row).is_some() {
            return None;
        }
        next += 1;
        Some(next - 1)
    };
    Some((0..rows).map(place).collect())
}

pub(super) fn spread_out(array: &ArrayRef, places: Option<&UInt64Array>) -> Result<ArrayRef> {
    match places {
        Some(places) => take(array, places, None).map_err(|e| Error::internal(e.to_string())),
        None => Ok(Arc::clone(array)),
    }
}

/// Some rows.
pub(super) struct Batch {
    /// What the numbers count.
    place: &'static str,
    /// The line, or the row of the file, of each row; from 1.
    numbers: Vec<u64>,
    /// Of the rows that could be read.
    features: Vec<ArrayRef>,
    /// For each row which of those it is; `None` if all could be read.
    spread: Option<UInt64Array>,
    /// The rows that could be read; `None` if all could.
    good: Option<Vec<usize>>,
    kept: Vec<ArrayRef>,
    /// Rows that could not be read, with the reason, in row order.
    bad: Vec<(usize, String)>,
    /// Rows that could be read, with a copied column that could not.
    unkept: Vec<(usize, String)>,
}

impl Batch {
    /// How many rows there are, bad ones too.
    pub(super) fn rows(&self) -> usize {
        self.numbers.len()
    }
    /// How many have features.
    pub(super) fn scorable(&self) -> usize {
        self.good.as_ref().map_or(self.rows(), Vec::len)
    }
    /// The features of the rows that have them.
    pub(super) fn features(&self) -> &[ArrayRef] {
        &self.features
    }
    /// The row that the `index`th of those is.
    pub(super) fn scored_row(&self, index: usize) -> usize {
        self.good.as_ref().map_or(index, |good| good.get(index).copied().unwrap_or(index))
    }
    /// What was made of the features, for all rows: NULL where there were none.
    pub(super) fn spread(&self, array: &ArrayRef) -> Result<ArrayRef> {
        spread_out(array, self.spread.as_ref())
    }
    /// The copied columns, of all rows.
    pub(super) fn kept(&self) -> &[ArrayRef] {
        &self.kept
    }
    /// The rows that could not be read, with the reason, in row order.
    pub(super) fn bad(&self) -> &[(usize, String)] {
        &self.bad
    }
    /// Rows that lack a copied column, with the reason, in row order.
    pub(super) fn unkept(&self) -> &[(usize, String)] {
        &self.unkept
    }
    /// Where a row stands, for people: `line 7`.
    pub(super) fn place(&self, row: usize) -> String {
        format!("{} {}", self.place, self.numbers.get(row).copied().unwrap_or(0))
    }
}
