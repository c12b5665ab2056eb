//! Bytes to Arrow and back.   values ─► [`Decoder`] ─► columns + bad records;   columns ─► [`Encoder`] ─► values
//!
//! A format knows nothing of topics. It gets one value per record (null = a tombstone) and the fields wanted, and says of
//! each record whether it became a row. Nothing is coerced silently: a value of the wrong type is a bad record.
//! To add a format: write `format/<name>.rs`, then add one line to [`FORMATS`].

mod column;
mod csv;
pub mod infer;
mod json;
pub mod partition;
pub mod plain;
mod raw;
mod records;
mod text;
mod types;

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use crate::config::{OptionSpec, Options};
use crate::error::{Error, Result};

pub use csv::{Csv, Dialect as CsvDialect, OpenQuote, other_delimiter, twice};
pub use infer::{Inferred, Note};
pub use json::{Json, field_names};
pub use raw::Raw;
pub use records::{Records, RecordsBuilder};
pub use types::type_name;

/// All formats of records.
pub const FORMATS: &[&dyn Format] = &[&Json, &Csv, &Raw];

/// The format called `name`.
///
/// # Errors
/// `User`, with the names there are.
pub fn format(name: &str) -> Result<&'static dyn Format> {
    FORMATS.iter().find(|f| f.name().eq_ignore_ascii_case(name)).copied().ok_or_else(|| {
        let known: Vec<_> = FORMATS.iter().map(|f| f.name()).collect();
        Error::user(format!("unknown format \"{name}\"")).hint(format!("Known formats: {}.", known.join(", ")))
    })
}

/// A way to write rows as bytes.
pub trait Format: Debug + Sync {
    /// Its name in `format = '...'`.
    fn name(&self) -> &'static str;
    /// The options it reads beside `format`.
    fn options(&self) -> &'static [OptionSpec];
    /// A decoder of some fields of `schema`: those at the indices `projection`, each at most once, in that order. `schema` is
    /// the whole record's, since a format may go by position (CSV); records are judged by the projected fields alone. A field
    /// that is not nullable refuses NULL.
    ///
    /// # Errors
    /// `User` if the format cannot carry one of the types, or an option is wrong.
    fn decoder(&self, schema: SchemaRef, projection: &[usize], options: &Options) -> Result<Box<dyn Decoder>>;
    /// An encoder of batches of `schema`.
    ///
    /// # Errors
    /// As [`Format::decoder`].
    fn encoder(&self, schema: SchemaRef, options: &Options) -> Result<Box<dyn Encoder>>;
    /// The columns that the first values of a topic suggest; every one nullable. Values that are not in this format are
    /// left out: they will be bad records.
    ///
    /// # Errors
    /// `Data` if none of them is, with what is wrong with the first.
    fn infer(&self, values: &[&[u8]], options: &Options) -> Result<Inferred>;
}

/// Turns values into columns. One decoder serves one thread; it may keep scratch space and what it learnt of the data.
pub trait Decoder: Debug + Send {
    /// Decodes one value per record. A null value (a tombstone) is a row of NULLs, or a bad record where a field refuses NULL.
    /// Never fails as a whole: a record that is not a row is in `bad`.
    fn decode(&mut self, values: &BinaryArray) -> Decoded;
}

/// What became of some records.
#[derive(Debug)]
pub struct Decoded {
    /// One array per projected field, in the projection's order, each with a row for every record that is not in `bad`, in order.
    pub columns: Vec<ArrayRef>,
    /// The records that are no rows, by rising index.
    pub bad: Vec<BadRecord>,
}

/// A record that is not a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRecord {
    /// Its index in the values given.
    pub index: usize,
    /// The class of the trouble.
    pub reason: Reason,
    /// What is wrong, with the field's name: `column "amount": expected DOUBLE, found "abc"`.
    pub error: String,
}

impl BadRecord {
    fn not_utf8(index: usize) -> Self {
        Self { index, reason: Reason::Decode, error: "the value is not UTF-8".to_owned() }
    }
}

/// Why a record is bad; `as_str` is what the dead letter's header and the metrics say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The bytes are not in the format, or a value has the wrong type.
    Decode,
    /// NULL for a NOT NULL column.
    Null,
    /// An expression of the query failed on it: a cast, a division by zero.
    Expression,
    /// The model failed on it.
    Score,
    /// The output would be larger than its topic allows.
    TooLarge,
    /// It is behind the watermark.
    Late,
    /// A function of the user's own failed on it.
    Udf,
}

impl Reason {
    /// All reasons, in the order of the discriminants.
    pub const ALL: [Reason; 7] =
        [Reason::Decode, Reason::Null, Reason::Expression, Reason::Score, Reason::TooLarge, Reason::Late, Reason::Udf];

    /// The word for it in headers and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Decode => "decode",
            Reason::Null => "null",
            Reason::Expression => "expression",
            Reason::Score => "score",
            Reason::TooLarge => "too_large",
            Reason::Late => "late",
            Reason::Udf => "udf",
        }
    }
}

/// Turns rows into values.
pub trait Encoder: Debug + Send {
    /// One value per row of `batch`, whose schema is the encoder's. A value is null (a tombstone) only where the format has no
    /// other way to write NULL: `raw`.
    ///
    /// # Errors
    /// `Data` if a value cannot be written; then no row is.
    fn encode(&mut self, batch: &RecordBatch) -> Result<BinaryArray>;
}

/// The fields at `projection`, in its order.
///
/// # Errors
/// `Internal` if there is no such field.
fn project(schema: &SchemaRef, projection: &[usize]) -> Result<SchemaRef> {
    let projected = schema.project(projection);
    projected.map(Arc::new).map_err(|e| Error::internal(format!("a decoder was asked for a field that is not there: {e}")))
}

/// Values as text: checked at once for all, which is the usual case and faster, or else one by one.
#[derive(Debug)]
struct Texts<'a> {
    values: &'a BinaryArray,
    /// The bytes of all values, if all of them together are UTF-8. A slice's are only its own part of the buffer.
    all: Option<&'a str>,
    /// Where that part begins in the buffer.
    base: usize,
}

impl<'a> Texts<'a> {
    fn new(values: &'a BinaryArray) -> Self {
        let place = |offset: Option<&i32>| offset.and_then(|o| usize::try_from(*o).ok()).unwrap_or(0);
        let offsets = values.value_offsets();
        let base = place(offsets.first());
        let bytes = values.value_data().get(base..place(offsets.last())).unwrap_or_default();
        Self { values, all: std::str::from_utf8(bytes).ok(), base }
    }
    /// The value at `index` (not null, below the length) as text; `None` if it is not UTF-8.
    fn get(&self, index: usize) -> Option<&'a str> {
        match self.all {
            Some(all) => {
                let end = |i: usize| {
                    self.values.value_offsets().get(i).and_then(|o| usize::try_from(*o).ok()?.checked_sub(self.base))
                };
                // Also `None` where a character is cut in two by the values' border.
                all.get(end(index)?..end(index + 1)?)
            }
            None => std::str::from_utf8(self.values.value(index)).ok(),
        }
    }
}
