//! Declared tables made ready for one statement.   definition ─► [`TopicTable`] ─► provider, sources, writer
//!
//! A session keeps definitions as typed. A statement that reads a table opens it here in one of two ways: to its present
//! ends (a plain SELECT), or as an input that goes on (jobs and EMIT CHANGES).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use datafusion::catalog::TableProvider;

use crate::config::Options;
use crate::connector::file::{Files, Seen};
use crate::connector::generator::Generator;
use crate::connector::{Broker, Event, Limit, NewTopic, OffsetAt, Rows, Source, SourceSpec, Start, Topic, TopicSource};
use crate::error::{Error, Result, did_you_mean};
use crate::format::format;
use crate::sql::options::KafkaOptions;
use crate::sql::table::Reading;
use crate::sql::{MetadataColumn, TableDefinition, TableOptions};
use crate::stream::scan::{LeftOut, OpenSource};
use crate::stream::table::{BadRecords, ColumnSource, Metadata, TopicTable};
use crate::stream::write::{Partitions, WriteSpec};

/// A table with its options read.
#[derive(Debug, Clone)]
pub struct Table {
    /// As declared, columns known.
    pub definition: TableDefinition,
    /// Its options.
    pub options: TableOptions,
    /// How its rows are found.
    pub rows: Arc<TopicTable>,
}

impl Table {
    /// Reads the options of a definition whose columns are known.
    ///
    /// # Errors
    /// `User` for what is wrong in the definition.
    pub async fn new(definition: TableDefinition, base: &Path) -> Result<Self> {
        let options = TableOptions::read(&definition)?;
        let files = match &options {
            TableOptions::File(file) => {
                let path = resolve_path(base, &file.path);
                Some(Files::open(&path, &definition.options, Some(definition.schema())).await?)
            }
            TableOptions::Kafka(_) | TableOptions::Generator(_) => None,
        };
        let (format_name, key_format, topic, bad_records) = match &options {
            TableOptions::Kafka(kafka) => {
                (kafka.format, kafka.key_format.map(format).transpose()?, kafka.topic.clone(), kafka.bad_records)
            }
            TableOptions::File(file) => ("json", None, format!("file:{}", file.path), file.bad_records),
            TableOptions::Generator(_) => ("json", None, format!("generator:{}", definition.name), BadRecords::default()),
        };
        // Key columns are written to key and value, and read from the key: it is there in tombstones too.
        let key_columns = match &options {
            TableOptions::Kafka(kafka) => kafka.key_columns.as_slice(),
            TableOptions::File(_) | TableOptions::Generator(_) => &[],
        };
        let sources = definition.columns.iter().map(|column| match column.metadata {
            Some(it) => ColumnSource::Metadata(metadata(it)),
            None if key_columns.contains(&column.name) => ColumnSource::Key,
            None => ColumnSource::Value,
        });
        let rows = TopicTable {
            name: definition.name.as_str().into(),
            topic: topic.into(),
            schema: definition.schema(),
            sources: sources.collect(),
            format: format(format_name)?,
            key_format,
            options: definition.options.clone(),
            bad_records,
            files,
        };
        Ok(Self { rows: Arc::new(rows), definition, options })
    }

    /// The options of a table over a topic.
    #[must_use]
    pub fn kafka(&self) -> Option<&KafkaOptions> {
        match &self.options {
            TableOptions::Kafka(kafka) => Some(kafka),
            TableOptions::File(_) | TableOptions::Generator(_) => None,
        }
    }

    /// A table over Parquet files as DataFusion reads it in a plain SELECT; `None` for all others.
    ///
    /// # Errors
    /// `Internal` if DataFusion refuses it.
    pub fn parquet_table(&self) -> Result<Option<Arc<dyn TableProvider>>> {
        self.rows.files.as_ref().map_or(Ok(None), |files| files.table())
    }

    /// Where a job or a follower begins without committed offsets.
    #[must_use]
    pub fn start(&self, unset: OffsetAt) -> Start {
        self.kafka().and_then(|k| k.startup.clone()).unwrap_or(Start::At(unset))
    }

    /// What writing to the table needs, for a topic of `topic`'s shape.
    ///
    /// # Errors
    /// `User` if a key column does not exist.
    pub fn write_spec(&self, kafka: &KafkaOptions, topic: &Topic) -> Result<WriteSpec> {
        let index = |name: &String| {
            self.definition.columns.iter().position(|c| c.name == *name || c.name.eq_ignore_ascii_case(name)).ok_or_else(
                || {
                    Error::user(format!(
                        "column \"{name}\" of key.columns does not exist in table \"{}\"",
                        self.definition.name
                    ))
                },
            )
        };
        Ok(WriteSpec {
            table: Arc::clone(&self.rows),
            key_columns: kafka.key_columns.iter().map(index).collect::<Result<_>>()?,
            key_format: kafka.key_format.map(format).transpose()?,
            partitions: Partitions::new(topic.partitions),
            partitioner: kafka.partitioner,
            max_message_bytes: topic.max_message_bytes(),
        })
    }

    /// Opens the source of a table that is no topic, `start` rows from its begin.
    ///
    /// # Errors
    /// `User` if the file is missing or the table is a topic; `External` from the disk.
    pub fn own_source(&self, start: i64) -> Result<Box<dyn Source>> {
        match (&self.options, &self.rows.files) {
            (TableOptions::Generator(_), _) => Generator::new(&self.definition.options, start),
            (_, Some(files)) => files.records(start, None),
            _ => Err(Error::internal(format!("table \"{}\" is a topic", self.definition.name))),
        }
    }

    /// How a plain SELECT reads it: topics to the ends of now, generators to their last row.
    ///
    /// # Errors
    /// `User` if the topic is missing, or the table never ends.
    pub async fn bounded(&self, broker: &Arc<dyn Broker>, streams: usize) -> Result<(Reading, Arc<LeftOut>)> {
        let left_out = Arc::new(LeftOut::default());
        let (open, partitions): (OpenSource, usize) = match &self.options {
            TableOptions::Kafka(kafka) => {
                let ends = broker.offsets(&existing(broker, &kafka.topic).await?.name, OffsetAt::Latest).await?;
                let groups = ends.len().clamp(1, streams.max(1));
                left_out.progress().set_ends(ends.clone());
                (open_topic(Arc::clone(broker), kafka, ends, groups), groups)
            }
            TableOptions::Generator(generator) => {
                let Some(rows) = generator.rows else { return Err(endless(&self.definition.name)) };
                left_out.progress().set_ends(vec![i64::try_from(rows).unwrap_or(i64::MAX)]);
                (self.open_own(), 1)
            }
            TableOptions::File(_) => (self.open_files(&left_out), 1),
        };
        Ok((Reading::Bounded { open, partitions, left_out: Arc::clone(&left_out) }, left_out))
    }

    /// Lines of files, whose bytes are how far the scan is.
    fn open_files(&self, left_out: &Arc<LeftOut>) -> OpenSource {
        let Some(files) = self.rows.files.clone() else { return self.open_own() };
        let bytes = files.bytes().and_then(|bytes| i64::try_from(bytes).ok());
        bytes.into_iter().for_each(|bytes| left_out.progress().set_ends(vec![bytes]));
        let scan = Arc::clone(left_out);
        let seen = Seen::new(move |rows, bytes| {
            scan.progress().add(0, rows, 0, i64::try_from(bytes).unwrap_or(i64::MAX));
        });
        Arc::new(move |_| {
            let (files, seen) = (files.clone(), seen.clone());
            Box::pin(async move { files.records(0, Some(seen)) })
        })
    }

    fn open_own(&self) -> OpenSource {
        let table = self.clone();
        Arc::new(move |_| {
            let table = table.clone();
            Box::pin(async move { table.own_source(0) })
        })
    }
}

/// Streams over the partitions of a topic, each of every `groups`-th partition.
fn open_topic(broker: Arc<dyn Broker>, kafka: &KafkaOptions, ends: Vec<i64>, groups: usize) -> OpenSource {
    const READ_AHEAD: usize = 16 << 20;
    let (topic, properties): (Arc<str>, Options) = (kafka.topic.as_str().into(), kafka.properties.clone());
    Arc::new(move |group| {
        let (broker, topic, ends, properties) = (Arc::clone(&broker), Arc::clone(&topic), ends.clone(), properties.clone());
        Box::pin(async move {
            let partitions =
                (0..).zip(&ends).map(|(p, _)| p).filter(|p| usize::try_from(*p).is_ok_and(|p| p % groups == group));
            let read = TopicSource {
                topic,
                start: Start::At(OffsetAt::Earliest),
                partitions: Some(partitions.collect()),
                ends: Some(ends),
            };
            let budget = READ_AHEAD / groups;
            broker.source(SourceSpec { topics: vec![read], group: None, budget, properties }).await
        })
    })
}

fn metadata(column: MetadataColumn) -> Metadata {
    match column {
        MetadataColumn::Topic => Metadata::Topic,
        MetadataColumn::Partition => Metadata::Partition,
        MetadataColumn::Offset => Metadata::Offset,
        MetadataColumn::Timestamp => Metadata::Timestamp,
        MetadataColumn::Key => Metadata::Key,
        MetadataColumn::Headers => Metadata::Headers,
    }
}

/// The error for a statement that would never end.
#[must_use]
pub fn endless(table: &str) -> Error {
    Error::user(format!("table \"{table}\" makes rows without end, and this statement waits for the end"))
        .hint("Give it an end, rows = 1000 in its WITH; or follow it: SELECT ... EMIT CHANGES.")
}

/// A path of a statement, from the folder of the file it stands in.
#[must_use]
pub fn resolve_path(base: &Path, path: &str) -> String {
    // People read it in errors as they typed it.
    if Path::new(path).is_absolute() || base == Path::new(".") {
        return path.to_owned();
    }
    base.join(path).to_string_lossy().into_owned()
}

/// The topic called `name`.
///
/// # Errors
/// `User` if there is none, with the nearest names and the command that creates it.
pub async fn existing(broker: &Arc<dyn Broker>, name: &str) -> Result<Topic> {
    if let Some(topic) = broker.topic(name).await? {
        return Ok(topic);
    }
    let topics = broker.topics().await?;
    let near = match topics.as_slice() {
        [] => super::absent::nowhere(broker.address()),
        topics => did_you_mean(name, "topics", topics.iter().map(|t| t.name.as_str())),
    };
    let create = format!("Create it: vatic topic create {name}");
    Err(Error::user(format!("no topic \"{name}\" on {}", broker.address()))
        .hint(near.map_or_else(|| create.clone(), |near| format!("{near} {create}"))))
}

/// The topic that `kafka` writes to, created if its options allow that; whether it was created.
///
/// # Errors
/// `User` if there is none and it may not be created; whatever the broker says.
pub async fn writable(broker: &Arc<dyn Broker>, kafka: &KafkaOptions) -> Result<(Topic, bool)> {
    if let Some(topic) = broker.topic(&kafka.topic).await? {
        topic.need_settings()?;
        return Ok((topic, false));
    }
    if !kafka.create {
        return existing(broker, &kafka.topic).await.map(|topic| (topic, false));
    }
    let topic = NewTopic {
        name: kafka.topic.clone(),
        partitions: kafka.partitions,
        replication: kafka.replication,
        config: BTreeMap::new(),
    };
    let created = broker.create_topic(&topic).await?;
    Ok((existing(broker, &kafka.topic).await?, created))
}

/// How many of a topic's first records inference looks at.
pub const SAMPLE: usize = 1_000;

/// The values of the first `count` records of a topic, about; `properties` are the reading client's.
///
/// # Errors
/// `User` if the topic is missing.
pub async fn sample(broker: &Arc<dyn Broker>, topic: &str, properties: &Options, count: usize) -> Result<Vec<Vec<u8>>> {
    let ends = broker.offsets(&existing(broker, topic).await?.name, OffsetAt::Latest).await?;
    let read = TopicSource { topic: topic.into(), start: Start::At(OffsetAt::Earliest), ends: Some(ends), partitions: None };
    let bytes = count << 12;
    let spec = SourceSpec { topics: vec![read], group: None, budget: bytes, properties: properties.clone() };
    let mut source = broker.source(spec).await?;
    let mut values = Vec::new();
    while values.len() < count {
        match source.next(Limit { rows: count - values.len(), bytes }).await? {
            Event::Cut(cut) => {
                for chunk in cut.chunks {
                    if let Rows::Records(records) = chunk.rows {
                        values.extend(records.values.iter().flatten().map(<[u8]>::to_vec));
                    }
                }
            }
            Event::Finished => break,
            Event::Assigned(_) | Event::Revoked(_) | Event::Lost(_) => {}
        }
    }
    Ok(values)
}
