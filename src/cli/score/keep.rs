//! Columns of the input that are copied.   lines ─► [`Keeper`] ─► one array per column, a value per line
//!
//! They are decoded apart from the features: what is wrong with one says nothing of the score. Where CSV is written, each
//! value is its text and nothing can be wrong with it; JSON keeps its type, and what is of another one becomes NULL there.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::super::args::OutputFormat;
use super::input::{places, spread_out};
use crate::config::Options;
use crate::error::Result;
use crate::format::{Decoder, Format};

/// All columns as they are copied into rows that are `written` so.
pub(super) fn copied(columns: &SchemaRef, written: OutputFormat) -> SchemaRef {
    if written != OutputFormat::Csv {
        return Arc::clone(columns);
    }
    let text = |field: &Arc<Field>| Field::new(field.name(), DataType::Utf8, true);
    Arc::new(Schema::new(columns.fields().iter().map(text).collect::<Vec<_>>()))
}

/// Decodes the columns to copy.
pub(super) struct Keeper {
    /// All of them at once.
    all: Box<dyn Decoder>,
    /// One by one, for lines in which one of them is wrong.
    each: Vec<Box<dyn Decoder>>,
}

/// What became of the columns to copy.
pub(super) struct Kept {
    /// A value per line, NULL where it is wrong.
    pub(super) columns: Vec<ArrayRef>,
    /// The lines with such a value, each with the first reason.
    pub(super) wrong: Vec<(usize, String)>,
}

impl Keeper {
    /// For the columns of `schema` at `kept`.
    ///
    /// # Errors
    /// `User` if the format cannot carry a type.
    pub(super) fn new(format: &dyn Format, schema: &SchemaRef, kept: &[usize], options: &Options) -> Result<Self> {
        let mut options = options.clone();
        // A VARCHAR may be told from the first lines only; JSON of another kind is copied as its text.
        options.set("json.mixed", "*");
        let decoder = |columns: &[usize]| format.decoder(Arc::clone(schema), columns, &options);
        Ok(Self { all: decoder(kept)?, each: kept.iter().map(|column| decoder(&[*column])).collect::<Result<_>>()? })
    }

    /// The columns of all lines.
    ///
    /// # Errors
    /// Only what putting arrays together can give.
    pub(super) fn read(&mut self, lines: &BinaryArray) -> Result<Kept> {
        let decoded = self.all.decode(lines);
        let wrong: Vec<(usize, String)> = decoded.bad.into_iter().map(|bad| (bad.index, bad.error)).collect();
        if wrong.is_empty() {
            return Ok(Kept { columns: decoded.columns, wrong });
        }
        let rows = lines.len();
        let mut columns = Vec::with_capacity(self.each.len());
        for decoder in &mut self.each {
            let decoded = decoder.decode(lines);
            let places = places(rows, decoded.bad.iter().map(|bad| bad.index));
            for column in &decoded.columns {
                columns.push(spread_out(column, places.as_ref())?);
            }
        }
        Ok(Kept { columns, wrong })
    }
}
