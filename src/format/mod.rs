//! Bytes to Arrow and back.   values ─► [`Decoder`] ─► columns + bad records;   columns ─► [`Encoder`] ─► values
//!
//! A format knows nothing of topics. It gets one value per record (null = a tombstone) and the fields wanted, and says of
//! each record whether it became a row. Nothing is coerced silently: a value of the wrong type is a bad record.
//! To add a format: write `format/<name>.rs`, then add one line to [`FORMATS`].

mod records;

use std::fmt::Debug;

use arrow::array::{ArrayRef, BinaryArray};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use crate::config::{OptionSpec, Options};
use crate::error::Result;

pub use records::{Records, RecordsBuilder};

/// All formats of records.
pub const FORMATS: &[&dyn Format] = &[];

/// The format called `name`.
///
/// # Errors
/// `User`, with the names there are.
pub fn format(name: &str) -> Result<&'static dyn Format> {
    FORMATS.iter().find(|f| f.name().eq_ignore_ascii_case(name)).copied().ok_or_else(|| {
        let known: Vec<_> = FORMATS.iter().map(|f| f.name()).collect();
        crate::error::Error::user(format!("unknown format \"{name}\"")).hint(format!("Known formats: {}.", known.join(", ")))
    })
}

/// A way to write rows as bytes.
pub trait Format: Debug + Sync {
    /// Its name in `format = '...'`.
    fn name(&self) -> &'static str;
    /// The options it reads beside `format`.
    fn options(&self) -> &'static [OptionSpec];
    /// A decoder of the fields of `schema`, by name, in its order. A field that is not nullable refuses NULL.
    ///
    /// # Errors
    /// `User` if the format cannot carry one of the types, or an option is wrong.
    fn decoder(&self, schema: SchemaRef, options: &Options) -> Result<Box<dyn Decoder>>;
    /// An encoder of batches of `schema`.
    ///
    /// # Errors
    /// As [`Format::decoder`].
    fn encoder(&self, schema: SchemaRef, options: &Options) -> Result<Box<dyn Encoder>>;
    /// The schema that the first values of a topic suggest; every field nullable.
    ///
    /// # Errors
    /// `Data` if they are not in this format, with the index of the first that is not.
    fn infer(&self, values: &[&[u8]], options: &Options) -> Result<SchemaRef>;
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
    /// One array per field of the schema, each with a row for every record that is not in `bad`, in order.
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
}

impl Reason {
    /// All reasons, in the order of the discriminants.
    pub const ALL: [Reason; 6] =
        [Reason::Decode, Reason::Null, Reason::Expression, Reason::Score, Reason::TooLarge, Reason::Late];

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
        }
    }
}

/// Turns rows into values.
pub trait Encoder: Debug + Send {
    /// One value per row of `batch`, whose schema is the encoder's; never null.
    ///
    /// # Errors
    /// `Data` if a value cannot be written; then no row is.
    fn encode(&mut self, batch: &RecordBatch) -> Result<BinaryArray>;
}
