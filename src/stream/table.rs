//! How records of a topic become rows of a table.   records ─► [`RowReader`] ─► batch + bad records
//!
//! A column is a field of the value, a field of the key, or metadata of the record. Only the columns that a query reads are
//! decoded, and a record is judged by these alone: a query that reads nothing of the value accepts every record.

use std::sync::Arc;

use arrow::array::{Array, MapArray, new_null_array};
use arrow::array::{ArrayRef, BooleanArray, Int32Array, Int64Array, StringArray, TimestampMillisecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use crate::config::Options;
use crate::connector::file::Files;
use crate::connector::{Partition, Rows};
use crate::error::{Error, Result};
use crate::format::{BadRecord, Decoder, Format, Reason, Records};

/// What is done with a record that cannot be a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BadRecords {
    /// It goes to the dead-letter topic.
    #[default]
    DeadLetter,
    /// It is counted and left out.
    Skip,
    /// It ends the query.
    Fail,
}

/// A fact about a record that is not in its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Metadata {
    /// The topic's name: VARCHAR.
    Topic,
    /// The partition: INT.
    Partition,
    /// The offset: BIGINT.
    Offset,
    /// The record's timestamp: TIMESTAMP(3).
    Timestamp,
    /// The key: BYTEA, or VARCHAR if it is text.
    Key,
    /// The headers: MAP<VARCHAR, BYTEA>.
    Headers,
}

/// Where a column's values are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnSource {
    /// In the record's value, under the column's name.
    Value,
    /// In the record's key, under the column's name.
    Key,
    /// Beside the record.
    Metadata(Metadata),
}

/// A declared table over a topic (or over a source that yields rows: then every column's source is `Value`).
#[derive(Debug, Clone)]
pub struct TopicTable {
    /// The table's name, for messages.
    pub name: Arc<str>,
    /// The topic, or the name of the source.
    pub topic: Arc<str>,
    /// All columns, in the order of the DDL.
    pub schema: SchemaRef,
    /// Where each column's values are found.
    pub sources: Vec<ColumnSource>,
    /// The format of the value.
    pub format: &'static dyn Format,
    /// The format of the key, if columns are in it.
    pub key_format: Option<&'static dyn Format>,
    /// The options of the formats.
    pub options: Options,
    /// What is done with bad records.
    pub bad_records: BadRecords,
    /// The files, if the rows come from files: they know how their lines are decoded.
    pub files: Option<Files>,
}

impl TopicTable {
    /// The columns found in `source`, as (index in the table, name, ...) in DDL order.
    #[must_use]
    pub fn columns_from(&self, source: ColumnSource) -> Vec<usize> {
        (0..self.sources.len()).filter(|&i| self.sources[i] == source).collect()
    }
    /// The schema of the columns at `indices`.
    #[must_use]
    pub fn schema_of(&self, indices: &[usize]) -> SchemaRef {
        Arc::new(Schema::new(indices.iter().map(|&i| self.schema.field(i).clone()).collect::<Vec<_>>()))
    }
}

/// Rows of one read, and the records that are none.
#[derive(Debug)]
pub struct Read {
    /// The rows, in the projection's schema.
    pub batch: RecordBatch,
    /// The records that are no rows, by rising index into the records given.
    pub bad: Vec<BadRecord>,
}

/// Reads the columns of a projection. One reader serves one thread.
#[derive(Debug)]
pub struct RowReader {
    table: Arc<TopicTable>,
    projection: Vec<usize>,
    schema: SchemaRef,
    value: Option<Part>,
    key: Option<Part>,
}

/// The columns that come from one decoder: their places in the projection.
#[derive(Debug)]
struct Part {
    decoder: Box<dyn Decoder>,
    places: Vec<usize>,
}

impl RowReader {
    /// A reader of the columns `projection` (indices into the table's schema) in that order.
    ///
    /// # Errors
    /// `User` if the format cannot carry a column's type.
    pub fn new(table: Arc<TopicTable>, projection: &[usize]) -> Result<Self> {
        let part = |source: ColumnSource, format: &'static dyn Format| -> Result<Option<Part>> {
            let places: Vec<usize> = (0..projection.len()).filter(|&p| table.sources[projection[p]] == source).collect();
            if places.is_empty() {
                return Ok(None);
            }
            // The value holds the key's columns too, which matters to a format that goes by position.
            let all = match source {
                ColumnSource::Value => {
                    (0..table.sources.len()).filter(|&i| !matches!(table.sources[i], ColumnSource::Metadata(_))).collect()
                }
                source => table.columns_from(source),
            };
            let wanted: Vec<usize> = places.iter().filter_map(|&p| all.iter().position(|&c| c == projection[p])).collect();
            let decoder = match &table.files {
                None => format.decoder(table.schema_of(&all), &wanted, &table.options)?,
                Some(files) => match files.decoder(&wanted)? {
                    Some(decoder) => decoder,
                    // Parquet: rows come decoded.
                    None => return Ok(None),
                },
            };
            Ok(Some(Part { decoder, places }))
        };
        let value = part(ColumnSource::Value, table.format)?;
        let key = match table.key_format {
            Some(format) => part(ColumnSource::Key, format)?,
            None => None,
        };
        let schema = table.schema_of(projection);
        Ok(Self { projection: projection.to_vec(), schema, value, key, table })
    }

    /// The schema of what [`RowReader::read`] returns.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The table read.
    #[must_use]
    pub fn table(&self) -> &Arc<TopicTable> {
        &self.table
    }

    /// Reads rows of one partition.
    ///
    /// # Errors
    /// `Internal` if a connector or decoder broke its contract; a bad record is no error.
    pub fn read(&mut self, partition: Partition, rows: &Rows) -> Result<Read> {
        match rows {
            Rows::Batch(batch) => Ok(Read { batch: self.project(batch)?, bad: Vec::new() }),
            Rows::Records(records) => self.read_records(partition, records),
        }
    }

    /// Rows that came decoded: the wanted columns by name, cast to the declared types.
    fn project(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let columns = self.schema.fields().iter().map(|field| {
            let column = batch.column_by_name(field.name()).ok_or_else(|| {
                Error::internal(format!("table \"{}\": the source has no column \"{}\"", self.table.name, field.name()))
            })?;
            if column.data_type() == field.data_type() {
                Ok(Arc::clone(column))
            } else {
                Ok(cast(column, field.data_type()).map_err(internal)?)
            }
        });
        self.batch(columns.collect::<Result<_>>()?, batch.num_rows())
    }

    fn read_records(&mut self, partition: Partition, records: &Records) -> Result<Read> {
        let rows = records.len();
        let mut bad: Vec<BadRecord> = Vec::new();
        let mut decoded: Vec<(&[usize], Vec<ArrayRef>, Vec<usize>)> = Vec::with_capacity(2);
        for (part, values) in [(&mut self.value, &records.values), (&mut self.key, &records.keys)] {
            let Some(part) = part else { continue };
            let result = part.decoder.decode(values);
            let missing = result.bad.iter().map(|b| b.index).collect();
            bad.extend(result.bad);
            decoded.push((&part.places, result.columns, missing));
        }
        bad.sort_by_key(|b| b.index);
        bad.dedup_by_key(|b| b.index);

        let mut columns: Vec<Option<ArrayRef>> = vec![None; self.projection.len()];
        for (places, arrays, missing) in decoded {
            for (&place, array) in places.iter().zip(arrays) {
                // With two decoders, each must also drop what only the other could not read.
                columns[place] =
                    Some(if missing.len() == bad.len() { array } else { drop_rows(&array, &missing, &bad, rows)? });
            }
        }
        let keep = (!bad.is_empty()).then(|| keep_mask(rows, &bad));
        for (place, column) in columns.iter_mut().enumerate() {
            if column.is_some() {
                continue;
            }
            let index = self.projection[place];
            let array = match self.table.sources[index] {
                ColumnSource::Metadata(metadata) => {
                    self.metadata(metadata, partition, records, self.table.schema.field(index).data_type())?
                }
                // Neither decoder was asked: the key has no format.
                ColumnSource::Value | ColumnSource::Key => new_null_array(self.table.schema.field(index).data_type(), rows),
            };
            *column = Some(match &keep {
                Some(mask) => arrow::compute::filter(&array, mask).map_err(internal)?,
                None => array,
            });
        }
        let batch = self.batch(columns.into_iter().flatten().collect(), rows - bad.len())?;
        Ok(Read { batch, bad })
    }

    fn metadata(&self, what: Metadata, partition: Partition, records: &Records, wanted: &DataType) -> Result<ArrayRef> {
        let rows = records.len();
        let array: ArrayRef = match what {
            Metadata::Topic => Arc::new(StringArray::from_iter_values(std::iter::repeat_n(self.table.topic.as_ref(), rows))),
            Metadata::Partition => Arc::new(Int32Array::from_value(partition, rows)),
            Metadata::Offset => Arc::new(Int64Array::new(records.offsets.clone(), None)),
            Metadata::Timestamp => Arc::new(TimestampMillisecondArray::new(records.timestamps.clone(), None)),
            Metadata::Key => Arc::new(records.keys.clone()),
            Metadata::Headers => match &records.headers {
                Some(headers) => rename_map(headers, wanted)?,
                None => return Ok(new_null_array(wanted, rows)),
            },
        };
        if array.data_type() == wanted { Ok(array) } else { cast(&array, wanted).map_err(internal) }
    }

    fn batch(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options).map_err(internal)
    }
}

/// The same map under the field names of `wanted`.
fn rename_map(map: &MapArray, wanted: &DataType) -> Result<ArrayRef> {
    let data = map.to_data();
    if data.data_type() == wanted { Ok(Arc::new(map.clone())) } else { cast(map, wanted).map_err(internal) }
}

/// `array` lacks the rows `missing`; drops those that `bad` names beyond these.
fn drop_rows(array: &ArrayRef, missing: &[usize], bad: &[BadRecord], rows: usize) -> Result<ArrayRef> {
    let mut missing = missing.iter().copied().peekable();
    let mut bad = bad.iter().map(|b| b.index).peekable();
    let mut mask = Vec::with_capacity(array.len());
    for row in 0..rows {
        let is_bad = bad.next_if_eq(&row).is_some();
        if missing.next_if_eq(&row).is_none() {
            mask.push(!is_bad);
        }
    }
    arrow::compute::filter(array, &BooleanArray::from(mask)).map_err(internal)
}

fn keep_mask(rows: usize, bad: &[BadRecord]) -> BooleanArray {
    let mut mask = vec![true; rows];
    for record in bad {
        mask[record.index] = false;
    }
    BooleanArray::from(mask)
}

fn internal(error: arrow::error::ArrowError) -> Error {
    Error::internal(error.to_string()).source(error)
}

/// A record as an error names it: `topic "payments" partition 3 offset 41`.
#[must_use]
pub fn place(topic: &str, partition: Partition, offset: i64) -> String {
    match topic.split_once(':') {
        // A topic's name has no colon: this is a source of its own.
        Some((kind, name)) => format!("{kind} \"{name}\" row {offset}"),
        None => format!("topic \"{topic}\" partition {partition} offset {offset}"),
    }
}

/// The error that a bad record is where bad records end the query.
#[must_use]
pub fn bad_record_error(topic: &str, partition: Partition, offset: i64, reason: Reason, error: &str) -> Error {
    let error = Error::data(format!("{}: {error} ({})", place(topic, partition, offset), reason.as_str()));
    error.hint(match reason {
        Reason::Score => "SET score.on_error = 'dead_letter' keeps such records aside; 'null' gives them NULL.",
        Reason::Udf => {
            "Correct the function; SET udf.on_error = 'dead_letter' keeps such records aside, 'null' gives them NULL."
        }
        Reason::TooLarge => "Raise the topic's max.message.bytes, write fewer columns, or set bad_records = 'dead_letter'.",
        _ => "Correct the record's producer, or set bad_records = 'dead_letter' to keep such records aside.",
    })
}
