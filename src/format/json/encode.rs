//! Rows to records of JSON, through arrow-json's encoders, with our own where it writes another text than SQL promises.
//!
//! Own: TIMESTAMP and DATE (fixed digits, years 0001 to 9999 only), DECIMAL, BYTEA (base64; arrow-json: hexadecimal).
//! A batch is written into one buffer; there is no allocation per row.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BinaryArray, StructArray};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, FieldRef, Int64Type, SchemaRef, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow_json::writer::{NullableEncoder, make_encoder};
use arrow_json::{EncoderFactory, EncoderOptions};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::error::{Error, Result};
use crate::format::Encoder;
use crate::format::text::{DAYS, has_text, write_date, write_decimal, write_timestamp};

/// Encodes batches of one schema.
#[derive(Debug)]
pub(super) struct JsonEncoder {
    row: FieldRef,
    options: EncoderOptions,
    /// How many bytes a row had so far, for the next buffer's size.
    row_bytes: usize,
}

impl JsonEncoder {
    /// # Errors
    /// `User` if a type has no JSON form.
    pub(super) fn new(schema: &SchemaRef) -> Result<Self> {
        let options = EncoderOptions::default().with_explicit_nulls(true).with_encoder_factory(Arc::new(SqlTexts));
        let row = Arc::new(Field::new_struct("row", schema.fields().clone(), false));
        let mut encoder = Self { row, options, row_bytes: 64 };
        match encoder.encode(&RecordBatch::new_empty(Arc::clone(schema))) {
            Ok(_) => Ok(encoder),
            Err(error) => Err(Error::user(format!("format json cannot carry these columns: {}", error.message()))),
        }
    }
}

impl Encoder for JsonEncoder {
    fn encode(&mut self, batch: &RecordBatch) -> Result<BinaryArray> {
        let failed = |error: ArrowError| match error {
            ArrowError::JsonError(text) | ArrowError::InvalidArgumentError(text) => Error::data(text),
            other => Error::data(other.to_string()),
        };
        let rows = StructArray::from(batch.clone());
        let mut encoder = make_encoder(&self.row, &rows, &self.options).map_err(failed)?;
        let mut text = Vec::with_capacity(batch.num_rows() * (self.row_bytes + self.row_bytes / 8));
        let mut offsets = Vec::with_capacity(batch.num_rows() + 1);
        offsets.push(0_i32);
        for row in 0..batch.num_rows() {
            encoder.encode(row, &mut text);
            offsets.push(i32::try_from(text.len()).map_err(|_| Error::data("a batch has more than 2 GiB of JSON"))?);
        }
        if let Some(mean) = text.len().checked_div(batch.num_rows()) {
            self.row_bytes = mean;
        }
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        Ok(BinaryArray::new(offsets, Buffer::from_vec(text), None))
    }
}

/// The encoders that differ from arrow-json's.
#[derive(Debug)]
struct SqlTexts;

impl EncoderFactory for SqlTexts {
    fn make_default_encoder<'a>(
        &self,
        field: &'a FieldRef,
        array: &'a dyn Array,
        _options: &'a EncoderOptions,
    ) -> std::result::Result<Option<NullableEncoder<'a>>, ArrowError> {
        let encoder: Box<dyn arrow_json::Encoder + 'a> = match array.data_type() {
            DataType::Timestamp(unit, zone) => {
                let values = match unit {
                    TimeUnit::Second => array.as_primitive::<TimestampSecondType>().reinterpret_cast::<Int64Type>(),
                    TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().reinterpret_cast(),
                    TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().reinterpret_cast(),
                    TimeUnit::Nanosecond => array.as_primitive::<TimestampNanosecondType>().reinterpret_cast(),
                };
                if let Some(value) = values.iter().flatten().find(|v| !has_text(*v, *unit)) {
                    return Err(beyond_years(field, value));
                }
                let (unit, zone) = (*unit, zone.is_some());
                let values = values.values().clone();
                quoted(move |i, out| write_timestamp(values[i], unit, zone, b'T', out))
            }
            DataType::Date32 => {
                let array = array.as_primitive::<Date32Type>();
                if let Some(value) = array.iter().flatten().find(|v| !DAYS.contains(&i64::from(*v))) {
                    return Err(beyond_years(field, value.into()));
                }
                quoted(|i, out| write_date(i64::from(array.value(i)), out))
            }
            DataType::Decimal128(_, scale) => {
                let (array, scale) = (array.as_primitive::<Decimal128Type>(), *scale);
                Box::new(Write(move |i, out: &mut Vec<u8>| write_decimal(array.value(i), scale, out)))
            }
            DataType::Binary => {
                let array = array.as_binary::<i32>();
                quoted(|i, out| write_base64(array.value(i), out))
            }
            DataType::LargeBinary => {
                let array = array.as_binary::<i64>();
                quoted(|i, out| write_base64(array.value(i), out))
            }
            DataType::BinaryView => {
                let array = array.as_binary_view();
                quoted(|i, out| write_base64(array.value(i), out))
            }
            DataType::FixedSizeBinary(_) => {
                let array = array.as_fixed_size_binary();
                quoted(|i, out| write_base64(array.value(i), out))
            }
            _ => return Ok(None),
        };
        Ok(Some(NullableEncoder::new(encoder, array.nulls().cloned())))
    }
}

/// Appends `bytes` in base64.
pub(crate) fn write_base64(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let length = bytes.len().div_ceil(3) * 4;
    out.resize(start + length, 0);
    // The room is exact, the only thing that can be wrong.
    let written = STANDARD.encode_slice(bytes, &mut out[start..]).unwrap_or(0);
    out.truncate(start + written);
}

fn beyond_years(field: &Field, value: i64) -> ArrowError {
    ArrowError::JsonError(format!("column \"{}\": time {value} lies outside the years 0001 to 9999", field.name()))
}

/// A function as an encoder.
struct Write<F>(F);

impl<F: FnMut(usize, &mut Vec<u8>)> arrow_json::Encoder for Write<F> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        (self.0)(row, out);
    }
}

/// An encoder of text that needs no escapes, in quotes.
fn quoted<'a>(mut write: impl FnMut(usize, &mut Vec<u8>) + 'a) -> Box<dyn arrow_json::Encoder + 'a> {
    Box::new(Write(move |row, out: &mut Vec<u8>| {
        out.push(b'"');
        write(row, out);
        out.push(b'"');
    }))
}
