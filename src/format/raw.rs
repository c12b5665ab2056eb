//! Records whose value is one column as it is: BYTEA, or VARCHAR if it is UTF-8. No byte is copied on the way in.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::{BadRecord, Decoded, Decoder, Encoder, Format, Inferred, Reason, Texts, type_name};
use crate::config::{OptionSpec, Options};
use crate::error::{Error, Result};

/// `format = 'raw'`.
#[derive(Debug)]
pub struct Raw;

/// The only field there may be.
fn only_field(schema: &SchemaRef) -> Result<&Field> {
    let refuse = |text: String| Err(Error::user(text).hint("Declare exactly one column, of type BYTEA or VARCHAR."));
    match schema.fields().as_ref() {
        [field] => match field.data_type() {
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Ok(field),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Ok(field),
            other => refuse(format!("format raw cannot carry column \"{}\" of type {}", field.name(), type_name(other))),
        },
        fields => refuse(format!("format raw carries one column, found {}", fields.len())),
    }
}

impl Format for Raw {
    fn name(&self) -> &'static str {
        "raw"
    }
    fn options(&self) -> &'static [OptionSpec] {
        &[]
    }
    fn decoder(&self, schema: SchemaRef, projection: &[usize], _options: &Options) -> Result<Box<dyn Decoder>> {
        let field = only_field(&schema)?;
        if !matches!(field.data_type(), DataType::Binary | DataType::Utf8) {
            return Err(Error::internal(format!("format raw cannot decode into {}", field.data_type())));
        }
        super::project(&schema, projection)?;
        Ok(Box::new(RawDecoder {
            name: field.name().clone(),
            text: field.data_type() == &DataType::Utf8,
            nullable: field.is_nullable(),
            copies: projection.len(),
        }))
    }
    fn encoder(&self, schema: SchemaRef, _options: &Options) -> Result<Box<dyn Encoder>> {
        only_field(&schema)?;
        Ok(Box::new(RawEncoder))
    }
    fn infer(&self, values: &[&[u8]], _options: &Options) -> Result<Inferred> {
        // Text is shown as text; what is none keeps its bytes.
        let text = values.iter().all(|value| std::str::from_utf8(value).is_ok());
        let data_type = if text { DataType::Utf8 } else { DataType::Binary };
        Ok(Inferred::plain(Arc::new(Schema::new(vec![Field::new("value", data_type, true)]))))
    }
}

#[derive(Debug)]
struct RawDecoder {
    name: String,
    text: bool,
    nullable: bool,
    /// How often the column is wanted: once, or not at all.
    copies: usize,
}

impl RawDecoder {
    fn bad(&self, values: &BinaryArray) -> Vec<BadRecord> {
        // A record is judged by the columns that are read.
        if self.copies == 0 || (!self.text && (self.nullable || values.null_count() == 0)) {
            return Vec::new();
        }
        let texts = Texts::new(values);
        let judge = |index| {
            if values.is_null(index) {
                let error = || format!("column \"{}\" is NOT NULL, found a tombstone", self.name);
                return (!self.nullable).then(|| BadRecord { index, reason: Reason::Null, error: error() });
            }
            (self.text && texts.get(index).is_none()).then(|| BadRecord::not_utf8(index))
        };
        (0..values.len()).filter_map(judge).collect()
    }
}

impl Decoder for RawDecoder {
    fn decode(&mut self, values: &BinaryArray) -> Decoded {
        let bad = self.bad(values);
        let good = if bad.is_empty() {
            values.clone()
        } else {
            let mut bad = bad.iter().map(|b| b.index).peekable();
            (0..values.len())
                .filter(|i| bad.next_if_eq(i).is_none())
                .map(|i| values.is_valid(i).then(|| values.value(i)))
                .collect()
        };
        let column: ArrayRef = if self.text { as_text(good) } else { Arc::new(good) };
        Decoded { columns: vec![column; self.copies], bad }
    }
}

/// The same bytes as VARCHAR; they were found to be UTF-8, but for the slots of nulls, which may hold anything.
fn as_text(values: BinaryArray) -> ArrayRef {
    let copy = |values: &BinaryArray| -> StringArray {
        (0..values.len())
            .map(|i| values.is_valid(i).then(|| std::str::from_utf8(values.value(i)).unwrap_or_default()))
            .collect()
    };
    match StringArray::try_from_binary(values.clone()) {
        Ok(text) => Arc::new(text),
        Err(_) => Arc::new(copy(&values)),
    }
}

#[derive(Debug)]
struct RawEncoder;

impl Encoder for RawEncoder {
    fn encode(&mut self, batch: &RecordBatch) -> Result<BinaryArray> {
        let column = batch.columns().first().ok_or_else(|| Error::internal("format raw was given no column"))?;
        let bytes = cast(column, &DataType::Binary).map_err(|e| Error::data(e.to_string()))?;
        Ok(bytes.as_binary::<i32>().clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(data_type: DataType, nullable: bool, values: &BinaryArray) -> Decoded {
        let schema = Arc::new(Schema::new(vec![Field::new("v", data_type, nullable)]));
        Raw.decoder(schema, &[0], &Options::default()).unwrap().decode(values)
    }

    #[test]
    fn bytes_pass_as_they_are_and_text_must_be_utf8() {
        let values = BinaryArray::from_opt_vec(vec![Some(b"a"), Some(b"\xff"), None, Some(b"")]);
        let bytes = decode(DataType::Binary, true, &values);
        assert!(bytes.bad.is_empty());
        assert_eq!(bytes.columns[0].as_binary::<i32>(), &values);
        let text = decode(DataType::Utf8, true, &values);
        assert_eq!(text.bad, vec![BadRecord::not_utf8(1)]);
        assert_eq!(text.columns[0].as_string::<i32>(), &StringArray::from(vec![Some("a"), None, Some("")]));
        let strict = decode(DataType::Utf8, false, &values);
        assert_eq!(
            strict.bad.iter().map(|b| (b.index, b.reason)).collect::<Vec<_>>(),
            [(1, Reason::Decode), (2, Reason::Null)]
        );
        assert_eq!(strict.columns[0].len(), 2);
    }

    #[test]
    fn null_is_written_as_a_tombstone() {
        let schema = Arc::new(Schema::new(vec![Field::new("v", DataType::Utf8, true)]));
        let batch =
            RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(StringArray::from(vec![Some("x"), None]))]).unwrap();
        let values = Raw.encoder(schema, &Options::default()).unwrap().encode(&batch).unwrap();
        assert_eq!(values, BinaryArray::from_opt_vec(vec![Some(b"x"), None]));
    }

    #[test]
    fn one_column_of_bytes_or_text() {
        let two = Schema::new(vec![Field::new("a", DataType::Utf8, true), Field::new("b", DataType::Utf8, true)]);
        let error = Raw.decoder(Arc::new(two), &[0], &Options::default()).unwrap_err();
        assert_eq!(error.message(), "format raw carries one column, found 2");
        let number = Schema::new(vec![Field::new("a", DataType::Int64, true)]);
        let error = Raw.encoder(Arc::new(number), &Options::default()).unwrap_err();
        assert_eq!(error.message(), "format raw cannot carry column \"a\" of type BIGINT");
    }
}
