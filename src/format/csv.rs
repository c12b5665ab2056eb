//! Records that are lines of separated fields, by position.   line ─► split ─► fields ─► columns;   columns ─► line
//!
//! One record is one line (RFC 4180: fields in double quotes may hold the separator, line breaks, and quotes written twice).
//! A line has exactly one field per column of the table. The text `csv.null` (by default an empty field), not in quotes, is
//! NULL; in quotes nothing is NULL, so `""` is the empty string. Types are strict: ` 1`, `1.0` or `1e3` is no BIGINT.

#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::column::{Scalar, Value, scalar};
use super::infer::{Guess, schema as guessed_schema};
use super::text::{DAYS, Note, has_text, write_date, write_decimal, write_timestamp};
use super::{BadRecord, Decoded, Decoder, Encoder, Format, Inferred, Reason, Texts, project, type_name};
use crate::config::{OptionSpec, Options};
use crate::error::{Error, Result};

/// `format = 'csv'`.
#[derive(Debug)]
pub struct Csv;

/// The options of the format.
const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "csv.delimiter",
        values: "one ASCII character, or \\t",
        default: ",",
        doc: "What separates the fields of a line.",
    },
    OptionSpec {
        name: "csv.header",
        values: "true, false",
        default: "false for topics, true for files",
        doc: "Whether there is a line with the columns' names; in a topic it is a bad record wherever it stands.",
    },
    OptionSpec { name: "csv.null", values: "a text", default: "", doc: "The field, not in quotes, that means NULL." },
];

/// How lines are written.
#[derive(Debug, Clone)]
pub struct Dialect {
    /// Between two fields.
    pub delimiter: u8,
    /// Whether a line names the columns.
    pub header: bool,
    /// What stands for NULL.
    pub null: String,
}

impl Dialect {
    /// What the options say.
    ///
    /// # Errors
    /// `User` if one is wrong.
    pub fn new(options: &Options, header: bool) -> Result<Self> {
        let delimiter = match options.or("csv.delimiter", ",") {
            "\\t" => b'\t',
            text => match text.as_bytes() {
                [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r') => *byte,
                _ => {
                    let error = Error::user(format!("option \"csv.delimiter\" cannot be '{text}'"));
                    return Err(
                        error.hint("Write one ASCII character that is neither a quote nor a line break; \\t is a tab.")
                    );
                }
            },
        };
        let null = options.or("csv.null", "").to_owned();
        if null.contains(['"', '\n', '\r', delimiter as char]) {
            let error = Error::user(format!("option \"csv.null\" cannot be '{null}'"));
            return Err(error.hint("Write a text without quotes, line breaks and the delimiter."));
        }
        Ok(Self { delimiter, header: options.boolean("csv.header", header)?, null })
    }

    /// The fields of one line, as they would be without quotes; NULL as `None`.
    ///
    /// # Errors
    /// What is wrong with the line.
    pub fn fields(&self, line: &str) -> std::result::Result<Vec<Option<String>>, String> {
        let mut split = Split::default();
        split.line(line, self.delimiter)?;
        Ok((0..split.fields.len()).map(|i| split.field(line, i, &self.null).map(str::to_owned)).collect())
    }

    /// A line of `fields`, with its line break.
    pub fn line<'a>(&self, fields: impl Iterator<Item = &'a str>) -> Vec<u8> {
        let mut line = Vec::new();
        for (i, field) in fields.enumerate() {
            if i > 0 {
                line.push(self.delimiter);
            }
            quote(field.as_bytes(), self.delimiter, self.null.as_bytes(), &mut line);
        }
        line.push(b'\n');
        line
    }
}

/// The character, as `csv.delimiter` has it, that seems to divide a first line of one field.
#[must_use]
pub fn other_delimiter<S: AsRef<str>>(first: &[S]) -> Option<&'static str> {
    let [only] = first else { return None };
    [(';', ";"), ('\t', "\\t"), ('|', "|"), (',', ",")]
        .into_iter()
        .find(|(sign, _)| only.as_ref().contains(*sign))
        .map(|(_, text)| text)
}

/// Whether a line break lies inside of a field, for those who cut a file into lines: `false` at the start of a record, then fed
/// line by line.
#[derive(Debug, Default)]
pub struct OpenQuote {
    inside: bool,
}

impl OpenQuote {
    /// Takes the next line, with its line break; says whether the record goes on behind it.
    pub fn feed(&mut self, line: &[u8], delimiter: u8) -> bool {
        let mut field_begins = !self.inside;
        let mut bytes = line.iter().peekable();
        while let Some(byte) = bytes.next() {
            match (self.inside, *byte) {
                // A quote written twice is one of the field's characters.
                (true, b'"') if bytes.next_if_eq(&&b'"').is_none() => self.inside = false,
                (false, b'"') if field_begins => self.inside = true,
                _ => {}
            }
            field_begins = !self.inside && *byte == delimiter;
        }
        self.inside
    }
}

impl Format for Csv {
    fn name(&self) -> &'static str {
        "csv"
    }
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }
    fn decoder(&self, schema: SchemaRef, projection: &[usize], options: &Options) -> Result<Box<dyn Decoder>> {
        let dialect = Dialect::new(options, false)?;
        let wanted = project(&schema, projection)?;
        let columns = wanted.fields().iter().zip(projection).map(|(field, position)| {
            let values = scalar(field.data_type()).ok_or_else(|| refuse(field.name(), field.data_type()))?;
            let expected = type_name(field.data_type());
            Ok(Column { position: *position, name: field.name().clone(), nullable: field.is_nullable(), expected, values })
        });
        Ok(Box::new(CsvDecoder {
            columns: columns.collect::<Result<_>>()?,
            width: schema.fields().len(),
            header: dialect.header.then(|| schema.fields().iter().map(|f| f.name().clone()).collect()),
            dialect,
            split: Split::default(),
        }))
    }
    fn encoder(&self, schema: SchemaRef, options: &Options) -> Result<Box<dyn Encoder>> {
        let mut encoder = CsvEncoder { dialect: Dialect::new(options, false)? };
        for field in schema.fields() {
            if field.data_type().is_nested() {
                return Err(refuse(field.name(), field.data_type()));
            }
        }
        encoder.encode(&RecordBatch::new_empty(schema))?;
        Ok(Box::new(encoder))
    }
    fn infer(&self, values: &[&[u8]], options: &Options) -> Result<Inferred> {
        let dialect = Dialect::new(options, false)?;
        let mut lines = values.iter().filter_map(|v| std::str::from_utf8(v).ok()).filter_map(|l| dialect.fields(l).ok());
        let Some(first) = lines.next() else {
            let error = Error::data(format!("none of {} values is a line of separated fields", values.len()));
            return Err(error.hint("Declare the columns, or name another format: json or raw."));
        };
        let width = first.len();
        let fields: Vec<&str> = first.iter().flatten().map(String::as_str).collect();
        let notes = other_delimiter(&fields).map(|other| {
            format!("the first line has one field, {:?}: if '{other}' divides it, set csv.delimiter = '{other}'", fields[0])
        });
        let notes = notes.map(super::infer::Note::of_all).into_iter().collect();
        let (names, first) = if dialect.header { (Some(first), None) } else { (None, Some(first)) };
        let name = |i: usize| match names.as_ref().and_then(|n| n.get(i)).and_then(Option::as_deref) {
            Some(name) => name.to_owned(),
            None => format!("column{}", i + 1),
        };
        let mut guesses: Vec<_> = (0..width).map(|i| (name(i), Guess::Nothing)).collect();
        let names: Vec<&str> = guesses.iter().map(|(name, _)| name.as_str()).collect();
        if let Some(error) = twice(&names, |_, _| true) {
            return Err(error);
        }
        for line in first.into_iter().chain(lines).filter(|line| line.len() == width) {
            for ((_, guess), field) in guesses.iter_mut().zip(line) {
                let seen = field.map_or(Guess::Nothing, |f| Guess::of_field(&f));
                *guess = std::mem::replace(guess, Guess::Nothing).merge(seen);
            }
        }
        // A field is text anyway: nothing is mixed.
        Ok(Inferred { notes, ..Inferred::plain(Arc::new(guessed_schema(&guesses))) })
    }
}

/// The error for a header in which two columns have one name, or names that differ only in case: unquoted references could not
/// tell them apart. Only pairs that `matter` count.
pub fn twice(names: &[&str], matter: impl Fn(&str, &str) -> bool) -> Option<Error> {
    let lower: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
    let pair = |later: usize| {
        let first = (0..later).find(|at| lower[*at] == lower[later] && matter(names[*at], names[later]))?;
        Some((first, later))
    };
    let (first, second) = (0..names.len()).find_map(pair)?;
    let (a, b) = (names[first], names[second]);
    let called = if a == b { format!("both called \"{a}\"") } else { format!("called \"{a}\" and \"{b}\"") };
    let differ = if a == b { "" } else { ", which differ only in case" };
    let error = Error::data(format!("columns {} and {} are {called}{differ}", first + 1, second + 1));
    Some(error.hint("Give one of them another name in the header."))
}

fn refuse(name: &str, data_type: &DataType) -> Error {
    let error = Error::user(format!("format csv cannot carry column \"{name}\" of type {}", type_name(data_type)));
    error.hint("Use format json, which carries nested values.")
}

/// Where the fields of one line are.
#[derive(Debug, Default)]
struct Split {
    fields: Vec<Field>,
    /// Fields in quotes that had doubled quotes in them, as they would be without.
    unescaped: String,
}

#[derive(Debug)]
struct Field {
    /// In the line, or in `unescaped`.
    range: Range<usize>,
    quoted: bool,
    escaped: bool,
}

impl Split {
    /// Splits `line`, which may end in a line break.
    fn line(&mut self, line: &str, delimiter: u8) -> std::result::Result<(), String> {
        self.fields.clear();
        self.unescaped.clear();
        let line = line.strip_suffix('\n').unwrap_or(line);
        let line = line.strip_suffix('\r').unwrap_or(line);
        let bytes = line.as_bytes();
        let mut at = 0;
        loop {
            if bytes.get(at) == Some(&b'"') {
                at = self.quoted(line, at + 1)?;
            } else {
                let start = at;
                let length = bytes[start..].iter().position(|b| *b == delimiter).unwrap_or(bytes.len() - start);
                at += length;
                let range = start..at;
                if let Some(quote) = line[range.clone()].find('"') {
                    return Err(format!("a quote inside of field {} at byte {}", self.fields.len() + 1, start + quote));
                }
                self.fields.push(Field { range, quoted: false, escaped: false });
            }
            match bytes.get(at) {
                None => return Ok(()),
                Some(byte) if *byte == delimiter => at += 1,
                Some(_) => return Err(format!("text behind the quotes of field {} at byte {at}", self.fields.len())),
            }
        }
    }
    /// Takes a field whose opening quote stands before `start`; returns the place behind the closing one.
    fn quoted(&mut self, line: &str, start: usize) -> std::result::Result<usize, String> {
        let from = self.unescaped.len();
        let mut at = start;
        let mut escaped = false;
        loop {
            let rest = line.get(at..).unwrap_or_default();
            let Some(length) = rest.find('"') else {
                return Err(format!("field {} has an opening quote and no closing one", self.fields.len() + 1));
            };
            let end = at + length;
            let doubled = line.as_bytes().get(end + 1) == Some(&b'"');
            if doubled || escaped {
                self.unescaped.push_str(&line[at..end]);
            }
            if doubled {
                self.unescaped.push('"');
                escaped = true;
                at = end + 2;
                continue;
            }
            let range = if escaped { from..self.unescaped.len() } else { start..end };
            self.fields.push(Field { range, quoted: true, escaped });
            return Ok(end + 1);
        }
    }
    /// Field `i` of the line that was split; `None` is NULL.
    fn field<'a>(&'a self, line: &'a str, i: usize, null: &str) -> Option<&'a str> {
        let field = self.fields.get(i)?;
        let source = if field.escaped { self.unescaped.as_str() } else { line };
        source.get(field.range.clone()).filter(|text| field.quoted || *text != null)
    }
}

#[derive(Debug)]
struct CsvDecoder {
    columns: Vec<Column>,
    /// How many fields a line has.
    width: usize,
    /// The names that a header line has, if there may be one.
    header: Option<Vec<String>>,
    dialect: Dialect,
    split: Split,
}

#[derive(Debug)]
struct Column {
    position: usize,
    name: String,
    nullable: bool,
    expected: String,
    values: Box<dyn Scalar>,
}

impl CsvDecoder {
    fn record(&mut self, line: &str) -> std::result::Result<(), (Reason, String)> {
        self.split.line(line, self.dialect.delimiter).map_err(|error| (Reason::Decode, format!("not CSV: {error}")))?;
        let found = self.split.fields.len();
        if found != self.width {
            return Err((Reason::Decode, format!("expected {} fields, found {found}", self.width)));
        }
        let (split, null) = (&self.split, self.dialect.null.as_str());
        if self.header.as_ref().is_some_and(|names| (0..found).all(|i| split.field(line, i, null) == Some(&names[i]))) {
            return Err((Reason::Decode, "a header line, not a row".to_owned()));
        }
        for column in &mut self.columns {
            match split.field(line, column.position, null) {
                Some(field) => column.values.push(Value::Field(field)).map_err(|note| column.mismatch(field, note))?,
                None if column.nullable => column.values.null(),
                None => return Err((Reason::Null, format!("column \"{}\" is NOT NULL, found NULL", column.name))),
            }
        }
        Ok(())
    }
}

impl Column {
    fn mismatch(&self, found: &str, note: Note) -> (Reason, String) {
        let shown: String = found.chars().take(40).collect();
        let more = if shown.len() < found.len() { "..." } else { "" };
        let note = if note.is_empty() { String::new() } else { format!(" ({note})") };
        (Reason::Decode, format!("column \"{}\": expected {}, found \"{shown}\"{more}{note}", self.name, self.expected))
    }
}

impl Decoder for CsvDecoder {
    fn decode(&mut self, values: &BinaryArray) -> Decoded {
        let texts = Texts::new(values);
        let mut bad = Vec::new();
        let mut rows = 0;
        for index in 0..values.len() {
            let read = if values.is_null(index) {
                match self.columns.iter().find(|c| !c.nullable) {
                    Some(column) => {
                        Err((Reason::Null, format!("column \"{}\" is NOT NULL, found a tombstone", column.name)))
                    }
                    None => {
                        self.columns.iter_mut().for_each(|c| c.values.null());
                        Ok(())
                    }
                }
            } else {
                match texts.get(index) {
                    Some(line) => self.record(line),
                    None => {
                        bad.push(BadRecord::not_utf8(index));
                        continue;
                    }
                }
            };
            match read {
                Ok(()) => rows += 1,
                Err((reason, error)) => {
                    self.columns.iter_mut().for_each(|c| c.values.truncate(rows));
                    bad.push(BadRecord { index, reason, error });
                }
            }
        }
        Decoded { columns: self.columns.iter_mut().map(|c| c.values.finish()).collect(), bad }
    }
}

#[derive(Debug)]
struct CsvEncoder {
    dialect: Dialect,
}

/// Writes the value of one row, without quotes.
type WriteField<'a> = Box<dyn Fn(usize, &mut Vec<u8>) + 'a>;

impl CsvEncoder {
    /// How the values of `column` are written.
    fn field<'a>(column: &'a ArrayRef, name: &str) -> Result<WriteField<'a>> {
        let beyond = |v: i64| Error::data(format!("column \"{name}\": time {v} lies outside the years 0001 to 9999"));
        Ok(match column.data_type() {
            DataType::Utf8 => {
                let array = column.as_string::<i32>();
                Box::new(|i, out: &mut Vec<u8>| out.extend_from_slice(array.value(i).as_bytes()))
            }
            DataType::Binary => {
                let array = column.as_binary::<i32>();
                Box::new(|i, out: &mut Vec<u8>| super::json::write_base64(array.value(i), out))
            }
            DataType::Date32 => {
                let array = column.as_primitive::<Date32Type>();
                if let Some(day) = array.iter().flatten().find(|d| !DAYS.contains(&i64::from(*d))) {
                    return Err(beyond(day.into()));
                }
                Box::new(|i, out: &mut Vec<u8>| write_date(array.value(i).into(), out))
            }
            DataType::Decimal128(_, scale) => {
                let (array, scale) = (column.as_primitive::<Decimal128Type>(), *scale);
                Box::new(move |i, out: &mut Vec<u8>| write_decimal(array.value(i), scale, out))
            }
            DataType::Timestamp(unit, zone) => {
                let (unit, zone) = (*unit, zone.is_some());
                let values = timestamps(column, unit);
                if let Some(i) = (0..column.len()).find(|i| column.is_valid(*i) && !has_text(values[*i], unit)) {
                    return Err(beyond(values[i]));
                }
                Box::new(move |i, out: &mut Vec<u8>| write_timestamp(values[i], unit, zone, b' ', out))
            }
            _ => {
                let options = FormatOptions::new();
                let formatter = ArrayFormatter::try_new(column, &options).map_err(|e| Error::data(e.to_string()))?;
                let write = move |i: usize, out: &mut Vec<u8>| {
                    use std::io::Write;
                    // Writing to memory does not fail.
                    let _ = write!(out, "{}", formatter.value(i));
                };
                Box::new(write)
            }
        })
    }
}

fn timestamps(column: &ArrayRef, unit: TimeUnit) -> ScalarBuffer<i64> {
    use arrow::datatypes::{
        TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    };
    match unit {
        TimeUnit::Second => column.as_primitive::<TimestampSecondType>().values().clone(),
        TimeUnit::Millisecond => column.as_primitive::<TimestampMillisecondType>().values().clone(),
        TimeUnit::Microsecond => column.as_primitive::<TimestampMicrosecondType>().values().clone(),
        TimeUnit::Nanosecond => column.as_primitive::<TimestampNanosecondType>().values().clone(),
    }
}

impl Encoder for CsvEncoder {
    fn encode(&mut self, batch: &RecordBatch) -> Result<BinaryArray> {
        // DataFusion has several forms of text and bytes; the writers below know one of each.
        let columns = batch.columns().iter().map(|column| match column.data_type() {
            DataType::LargeUtf8 | DataType::Utf8View => cast(column, &DataType::Utf8),
            DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => cast(column, &DataType::Binary),
            DataType::Dictionary(_, value) => cast(column, value),
            _ => Ok(Arc::clone(column)),
        });
        let columns: Vec<ArrayRef> =
            columns.collect::<std::result::Result<_, _>>().map_err(|e| Error::data(e.to_string()))?;
        let schema = batch.schema();
        let writers = columns.iter().zip(schema.fields()).map(|(column, field)| Self::field(column, field.name()));
        let writers: Vec<_> = writers.collect::<Result<_>>()?;
        let Dialect { delimiter, null, .. } = &self.dialect;
        let mut text = Vec::with_capacity(batch.num_rows() * batch.num_columns() * 8);
        let mut offsets = Vec::with_capacity(batch.num_rows() + 1);
        offsets.push(0_i32);
        let mut field = Vec::new();
        for row in 0..batch.num_rows() {
            for (i, (column, write)) in columns.iter().zip(&writers).enumerate() {
                if i > 0 {
                    text.push(*delimiter);
                }
                if column.is_null(row) {
                    text.extend_from_slice(null.as_bytes());
                } else {
                    // Any field may need quotes: the delimiter can be a minus sign, NULL can be written as 0.
                    field.clear();
                    write(row, &mut field);
                    quote(&field, *delimiter, null.as_bytes(), &mut text);
                }
            }
            offsets.push(i32::try_from(text.len()).map_err(|_| Error::data("a batch has more than 2 GiB of CSV"))?);
        }
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        Ok(BinaryArray::new(offsets, Buffer::from_vec(text), None))
    }
}

/// Appends `field`, in quotes if it would be read as something else without.
fn quote(field: &[u8], delimiter: u8, null: &[u8], out: &mut Vec<u8>) {
    if field != null && !field.iter().any(|b| matches!(b, b'"' | b'\n' | b'\r') || *b == delimiter) {
        out.extend_from_slice(field);
        return;
    }
    out.push(b'"');
    for byte in field {
        if *byte == b'"' {
            out.push(b'"');
        }
        out.push(*byte);
    }
    out.push(b'"');
}
