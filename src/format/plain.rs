//! Rows as they leave SQL.   columns of any type that a query can make ─► columns of the types that formats carry
//!
//! DataFusion has several forms of text, bytes and lists, and types that no format carries: times of day, intervals. What leaves
//! as text on stdout or into a file goes through here first.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use arrow::util::display::{ArrayFormatter, DurationFormat, FormatOptions};

use super::format;
use crate::config::Options;
use crate::error::{Error, Result};

/// How values without a form of their own are written as text.
pub const FORMAT: FormatOptions<'static> = FormatOptions::new().with_duration_format(DurationFormat::Pretty);

/// `schema` in plain types.
#[must_use]
pub fn plain_schema(schema: &Schema) -> SchemaRef {
    Arc::new(Schema::new(schema.fields().iter().map(plain_field).collect::<Vec<FieldRef>>()))
}

/// `batch` as one of `schema`, which is [`plain_schema`]'s of its own.
///
/// # Errors
/// `Data` if a value has no such form.
pub fn plain_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch.columns().iter().zip(schema.fields()).map(|(array, field)| plain_array(array, field));
    with_columns(batch, schema, columns.collect::<Result<_>>()?)
}

/// `schema`, plain, with texts in the place of nested values.
#[must_use]
pub fn flat_schema(schema: &Schema) -> SchemaRef {
    let flat = |field: &FieldRef| match field.data_type().is_nested() {
        true => Arc::new(Field::new(field.name(), DataType::Utf8, true)),
        false => Arc::clone(field),
    };
    Arc::new(Schema::new(schema.fields().iter().map(flat).collect::<Vec<FieldRef>>()))
}

/// `batch`, plain, with the JSON text of nested values; `schema` is [`flat_schema`]'s of its own.
///
/// # Errors
/// `User` if JSON cannot carry a value.
pub fn flat_batch(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch.columns().iter().zip(batch.schema_ref().fields()).map(|(array, field)| {
        if !field.data_type().is_nested() {
            return Ok(Arc::clone(array));
        }
        // An object with the value under an empty name, whose name is cut off again.
        let object = Arc::new(Schema::new(vec![Field::new("", field.data_type().clone(), true)]));
        let rows = RecordBatch::try_new(Arc::clone(&object), vec![Arc::clone(array)]);
        let rows = rows.map_err(|e| Error::internal("a column does not fit its own type").source(e))?;
        let objects = format("json")?.encoder(object, &Options::default())?.encode(&rows)?;
        let text = |row: usize| {
            let object = std::str::from_utf8(objects.value(row)).ok()?;
            object.strip_prefix("{\"\":")?.strip_suffix('}')
        };
        let texts = (0..array.len()).map(|row| if array.is_null(row) { None } else { text(row) });
        Ok(Arc::new(texts.collect::<StringArray>()) as ArrayRef)
    });
    with_columns(batch, schema, columns.collect::<Result<_>>()?)
}

fn with_columns(batch: &RecordBatch, schema: &SchemaRef, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .map_err(|e| Error::internal("rows do not fit their own schema").source(e))
}

/// The type as which a column leaves.
fn plain_type(data_type: &DataType) -> DataType {
    match data_type {
        // A column of NULLs alone is of no type; as text it is NULL in every format.
        DataType::Utf8View | DataType::LargeUtf8 | DataType::Null => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary | DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::Dictionary(_, values) => plain_type(values),
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::FixedSizeList(field, _) => DataType::List(plain_field(field)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(plain_field).collect()),
        DataType::Map(entries, sorted) => DataType::Map(plain_entries(entries), *sorted),
        // Types that only queries make, and no format carries.
        DataType::Time32(_) | DataType::Time64(_) | DataType::Interval(_) | DataType::Duration(_) => DataType::Utf8,
        other => other.clone(),
    }
}

/// A map's entries; the keys of one that a query made may claim to be nullable, which arrow does not let a map be.
fn plain_entries(entries: &FieldRef) -> FieldRef {
    let entries = plain_field(entries);
    match entries.data_type() {
        DataType::Struct(pair) if pair.len() == 2 => {
            let key = Arc::new(pair[0].as_ref().clone().with_nullable(false));
            Arc::new(entries.as_ref().clone().with_data_type(DataType::Struct(vec![key, Arc::clone(&pair[1])].into())))
        }
        _ => entries,
    }
}

fn plain_field(field: &FieldRef) -> FieldRef {
    let plain = plain_type(field.data_type());
    // What is printed is not checked for NOT NULL again.
    let nullable = field.is_nullable() || !plain.is_nested();
    if &plain == field.data_type() && nullable == field.is_nullable() {
        return Arc::clone(field);
    }
    Arc::new(Field::new(field.name(), plain, nullable))
}

fn plain_array(array: &ArrayRef, field: &FieldRef) -> Result<ArrayRef> {
    if array.data_type() == field.data_type() {
        return Ok(Arc::clone(array));
    }
    let unprintable = |e| Error::data(format!("column \"{}\" cannot be shown", field.name())).source(e);
    match array.data_type() {
        DataType::Interval(_) | DataType::Duration(_) => {
            let formatter = ArrayFormatter::try_new(array.as_ref(), &FORMAT).map_err(unprintable)?;
            let texts = (0..array.len()).map(|row| (!array.is_null(row)).then(|| formatter.value(row).to_string()));
            Ok(Arc::new(texts.collect::<arrow::array::StringArray>()))
        }
        _ => cast(array, field.data_type()).map_err(unprintable),
    }
}
