//! What sqllogictest compares: rows as text, errors with their kind, place and hint.

use std::fmt;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use sqllogictest::{DBOutput, DefaultColumnType};
use vatic::error::{Error, Position};

/// An error as the files show it.
#[derive(Debug, Clone)]
pub struct Failure(String);

impl Failure {
    /// `error`, with its place if that is less than `statement`.
    pub fn of(error: Error, statement: Option<&Position>) -> Self {
        let kind = format!("{:?}", error.kind()).to_lowercase();
        let mut text = format!("{kind}: {}", error.chain());
        if let Some(at) = error.position()
            && Some(&at.span) != statement.map(|s| &s.span)
        {
            let part = at.text.get(at.span.clone()).unwrap_or_default();
            text.push_str(&format!("\nat: {}", if part.is_empty() { "the end" } else { part }));
        }
        if let Some(hint) = error.get_hint() {
            text.push_str(&format!("\nhint: {hint}"));
        }
        // Two empty lines would end the text in a file.
        while text.contains("\n\n") {
            text = text.replace("\n\n", "\n");
        }
        Self(text)
    }
}

impl Failure {
    /// With `DIR` in the place of the folder that is another one each time.
    pub fn without(self, dir: &str) -> Self {
        Self(self.0.replace(dir, "DIR"))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::of(error, None)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

/// The number in a tag such as `INSERT 3`.
pub fn count(tag: &str) -> u64 {
    tag.rsplit(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

fn column_type(data_type: &DataType) -> DefaultColumnType {
    match data_type {
        t if t.is_integer() => DefaultColumnType::Integer,
        t if t.is_floating() || t.is_decimal() => DefaultColumnType::FloatingPoint,
        _ => DefaultColumnType::Text,
    }
}

/// Rows as text: NULL is `NULL`, an empty text `(empty)`, a line break `\n`.
pub fn rows(schema: &Schema, batches: &[RecordBatch]) -> DBOutput<DefaultColumnType> {
    let options = FormatOptions::default().with_null("NULL").with_timestamp_format(Some("%Y-%m-%dT%H:%M:%S%.f"));
    let options = options.with_timestamp_tz_format(Some("%Y-%m-%dT%H:%M:%S%.fZ"));
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<_> = batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
        rows.extend((0..batch.num_rows()).map(|row| columns.iter().map(|c| value(&c.value(row).to_string())).collect()));
    }
    DBOutput::Rows { types: schema.fields().iter().map(|f| column_type(f.data_type())).collect(), rows }
}

/// Rows of text.
pub fn texts(columns: usize, rows: Vec<Vec<String>>) -> DBOutput<DefaultColumnType> {
    let rows = rows.into_iter().map(|row| row.iter().map(|text| value(text)).collect()).collect();
    DBOutput::Rows { types: vec![DefaultColumnType::Text; columns], rows }
}

fn value(text: &str) -> String {
    if text.is_empty() { "(empty)".to_owned() } else { text.replace('\n', "\\n") }
}
