//! Rows to records.   batch ─► value, key, timestamp, headers ─► partition ─► outputs
//!
//! Rows that go from one input to one output partition keep their order: a batch is split, never sorted.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Int64Array, MapArray, RecordBatch, UInt32Array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, SchemaRef, TimeUnit, TimestampMillisecondType};

use crate::config::Options;
use crate::connector::{Output, Partition};
use crate::error::{Error, Result};
use crate::format::partition::partition_for_key;
use crate::format::{Encoder, Format, Reason, Records};
use crate::stream::table::{ColumnSource, Metadata, TopicTable};
use crate::time::Millis;

/// How records without a key are spread, and with a key too where it says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Partitioner {
    /// Java's: murmur2 of the key; without a key the batches go round.
    #[default]
    Murmur2Random,
    /// Batch by batch to the next partition, whatever the key.
    RoundRobin,
}

/// How many partitions a topic has, as far as is known: more may be added while it is written. Clones share the number.
#[derive(Debug, Clone)]
pub struct Partitions(Arc<AtomicI32>);

impl Partitions {
    /// As many as were counted when the job began.
    #[must_use]
    pub fn new(count: Partition) -> Self {
        Self(Arc::new(AtomicI32::new(count)))
    }
    /// How many; at least 1.
    #[must_use]
    pub fn get(&self) -> Partition {
        self.0.load(Ordering::Relaxed).max(1)
    }
    /// Notes that there are `count`; whether that is more than before. A topic never has fewer.
    pub fn grow(&self, count: Partition) -> bool {
        self.0.fetch_max(count, Ordering::Relaxed) < count
    }
}

/// What a writer needs to know of its topic.
#[derive(Debug, Clone)]
pub struct WriteSpec {
    /// The table written to: its columns are those of every batch, by position.
    pub table: Arc<TopicTable>,
    /// The columns that make up the key (`key.columns`); they stay in the value too.
    pub key_columns: Vec<usize>,
    /// The key's format.
    pub key_format: Option<&'static dyn Format>,
    /// How many partitions the topic has. From the batch on that follows a growth, rows go to the new ones too.
    pub partitions: Partitions,
    /// How rows are spread over them.
    pub partitioner: Partitioner,
    /// The largest record the topic takes, in bytes.
    pub max_message_bytes: usize,
}

/// Encodes batches for one topic. One writer serves one thread.
#[derive(Debug)]
pub struct TopicWriter {
    spec: WriteSpec,
    value_columns: Vec<usize>,
    value_schema: SchemaRef,
    value: Box<dyn Encoder>,
    key: Option<(SchemaRef, Box<dyn Encoder>)>,
    next_partition: Partition,
}

/// Room for a record's own fields and its batch's head, taken off the topic's limit: what any broker counts, and a little more.
const OVERHEAD: usize = 128;

impl TopicWriter {
    /// A writer for `spec`.
    ///
    /// # Errors
    /// `User` if a format cannot carry a column's type.
    pub fn new(spec: WriteSpec) -> Result<Self> {
        let table = &spec.table;
        let value_columns: Vec<usize> =
            (0..table.sources.len()).filter(|&i| !matches!(table.sources[i], ColumnSource::Metadata(_))).collect();
        let value_schema = table.schema_of(&value_columns);
        let value = table.format.encoder(Arc::clone(&value_schema), &table.options)?;
        let key = match spec.key_format {
            Some(format) if !spec.key_columns.is_empty() => {
                let schema = table.schema_of(&spec.key_columns);
                Some((Arc::clone(&schema), format.encoder(schema, &Options::default())?))
            }
            _ => None,
        };
        Ok(Self { value_columns, value_schema, value, key, next_partition: 0, spec })
    }

    /// The topic written to.
    #[must_use]
    pub fn topic(&self) -> &Arc<str> {
        &self.spec.table.topic
    }

    /// Encodes `batch`, whose columns are the table's, into records stamped `now` unless a column sets the timestamp.
    ///
    /// # Errors
    /// If a value cannot be written, a NOT NULL column is NULL, or a record is larger than the topic takes; then nothing is.
    pub fn encode(&mut self, batch: &RecordBatch, now: Millis) -> Result<Vec<Output>, RowError> {
        let rows = batch.num_rows();
        if rows == 0 {
            return Ok(Vec::new());
        }
        self.check_nulls(batch)?;
        let values = self.value.encode(&self.part(batch, &self.value_columns, &self.value_schema)?)?;
        let keys = match &mut self.key {
            Some((schema, encoder)) => {
                let columns = self.spec.key_columns.iter().map(|&i| Arc::clone(batch.column(i))).collect();
                encoder.encode(&RecordBatch::try_new(Arc::clone(schema), columns).map_err(internal)?)?
            }
            None => match self.metadata(batch, Metadata::Key) {
                Some(column) => cast(column, &DataType::Binary).map_err(internal)?.as_binary::<i32>().clone(),
                None => BinaryArray::new_null(rows),
            },
        };
        let timestamps = match self.metadata(batch, Metadata::Timestamp) {
            Some(column) => {
                let millis = cast(column, &DataType::Timestamp(TimeUnit::Millisecond, None)).map_err(internal)?;
                let millis = millis.as_primitive::<TimestampMillisecondType>();
                (0..rows).map(|i| if millis.is_null(i) { now } else { millis.value(i) }).collect()
            }
            None => vec![now; rows],
        };
        let headers = self.metadata(batch, Metadata::Headers).and_then(|column| column.as_map_opt().cloned());
        let records = Records { offsets: vec![0_i64; rows].into(), timestamps: timestamps.into(), keys, values, headers };
        self.check_sizes(&records)?;
        Ok(self.split(records)?)
    }

    fn check_nulls(&self, batch: &RecordBatch) -> Result<(), RowError> {
        for (field, column) in self.spec.table.schema.fields().iter().zip(batch.columns()) {
            if !field.is_nullable() && column.null_count() > 0 {
                let (column, table) = (field.name(), &self.spec.table.name);
                let error = Error::data(format!("NULL for column \"{column}\" of table \"{table}\", which is NOT NULL"));
                return Err(RowError { reason: Reason::Null, error });
            }
        }
        Ok(())
    }

    fn part(&self, batch: &RecordBatch, columns: &[usize], schema: &SchemaRef) -> Result<RecordBatch> {
        let columns = columns.iter().map(|&i| Arc::clone(batch.column(i))).collect();
        RecordBatch::try_new(Arc::clone(schema), columns).map_err(internal)
    }

    fn metadata<'b>(&self, batch: &'b RecordBatch, what: Metadata) -> Option<&'b ArrayRef> {
        let index = self.spec.table.sources.iter().position(|s| *s == ColumnSource::Metadata(what))?;
        Some(batch.column(index))
    }

    /// One comparison for the whole batch where even all of it together is small enough.
    fn check_sizes(&self, records: &Records) -> Result<(), RowError> {
        let limit = self.spec.max_message_bytes.saturating_sub(OVERHEAD);
        let headers = records.headers.as_ref().map_or(0, |headers| headers.entries().get_array_memory_size());
        if records.bytes() + headers <= limit {
            return Ok(());
        }
        for row in 0..records.len() {
            let headers = records.headers.as_ref().map_or(0, |h| header_bytes(h, row));
            let size = length(&records.keys, row) + length(&records.values, row) + headers;
            if size > limit {
                let (topic, limit) = (self.topic(), self.spec.max_message_bytes);
                let error =
                    Error::data(format!("a record of {size} bytes is too large for topic \"{topic}\", which takes {limit}"))
                        .hint(format!("Raise the topic's max.message.bytes above {size}, or write fewer columns."));
                return Err(RowError { reason: Reason::TooLarge, error });
            }
        }
        Ok(())
    }

    fn split(&mut self, records: Records) -> Result<Vec<Output>> {
        let topic = Arc::clone(self.topic());
        let partitions = self.spec.partitions.get();
        if partitions == 1 {
            return Ok(vec![Output { topic, partition: 0, records }]);
        }
        let sticky = self.next_partition % partitions;
        self.next_partition = (sticky + 1) % partitions;
        let by_key = self.spec.partitioner == Partitioner::Murmur2Random && records.keys.null_count() < records.len();
        if !by_key {
            return Ok(vec![Output { topic, partition: sticky, records }]);
        }
        let mut rows: Vec<Vec<u32>> = vec![Vec::new(); usize::try_from(partitions).unwrap_or(1)];
        for row in 0..records.len() {
            let partition =
                if records.keys.is_null(row) { sticky } else { partition_for_key(records.keys.value(row), partitions) };
            rows[usize::try_from(partition).unwrap_or(0)].push(u32::try_from(row).unwrap_or(u32::MAX));
        }
        let mut outputs = Vec::with_capacity(rows.len());
        for (partition, rows) in (0..).zip(rows) {
            if !rows.is_empty() {
                outputs.push(Output {
                    topic: Arc::clone(&topic),
                    partition,
                    records: take_records(&records, &rows.into())?,
                });
            }
        }
        Ok(outputs)
    }
}

/// The records at `rows`, in that order.
fn take_records(records: &Records, rows: &UInt32Array) -> Result<Records> {
    let bytes = |array: &BinaryArray| Ok::<_, Error>(take(array, rows, None).map_err(internal)?.as_binary::<i32>().clone());
    let timestamps = Int64Array::new(records.timestamps.clone(), None);
    let timestamps = take(&timestamps, rows, None).map_err(internal)?;
    let headers = match &records.headers {
        Some(headers) => Some(take(headers, rows, None).map_err(internal)?.as_map().clone()),
        None => None,
    };
    Ok(Records {
        offsets: vec![0_i64; rows.len()].into(),
        timestamps: timestamps.as_primitive::<arrow::datatypes::Int64Type>().values().clone(),
        keys: bytes(&records.keys)?,
        values: bytes(&records.values)?,
        headers,
    })
}

fn length(array: &BinaryArray, row: usize) -> usize {
    if array.is_null(row) { 0 } else { usize::try_from(array.value_length(row)).unwrap_or(0) }
}

fn header_bytes(headers: &MapArray, row: usize) -> usize {
    const LENGTHS: usize = 10;
    let entries = headers.value(row);
    let size = |i| entries.column(0).as_string::<i32>().value(i).len() + length(entries.column(1).as_binary(), i) + LENGTHS;
    (0..entries.len()).map(size).sum()
}

/// Why some row of a batch cannot be written or computed; which one, only trying smaller batches can tell.
#[derive(Debug)]
pub struct RowError {
    /// The class of the trouble.
    pub reason: Reason,
    /// The trouble. One of kind `Data` is the row's; any other is not.
    pub error: Error,
}

impl From<Error> for RowError {
    fn from(error: Error) -> Self {
        Self { reason: Reason::Expression, error }
    }
}

fn internal(error: arrow::error::ArrowError) -> Error {
    Error::internal(error.to_string()).source(error)
}
