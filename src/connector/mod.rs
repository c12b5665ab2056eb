//! Where rows come from and go to.   [`Broker`] ─► [`Source`] ─► cuts;   outputs + positions ─► [`Sink`] ─► one commit
//!
//! A broker holds topics: Apache Kafka, or the embedded one. Both do the same things, and one conformance suite tests both.
//! A job has one source for all its topics and one sink for everything it writes: outputs, dead letters, state and input
//! positions become visible together or not at all. Files and generators are sources without a broker; their positions
//! are committed under a name of their own (`file:...`, `generator:...`) beside the topics'.
//! To add a connector: write `connector/<name>.rs`, then add one line to [`CONNECTORS`].

pub mod embedded;
mod error;
pub mod file;
pub mod generator;
pub mod kafka;
mod topic;

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;

use crate::config::{OptionSpec, Options};
use crate::error::{Error, Result};
use crate::format::Records;
use crate::time::Millis;

pub use error::TopicError;

/// What `connector = '...'` can name.
pub const CONNECTORS: &[&dyn Connector] = &[&topic::Topic, &generator::GeneratorConnector, &file::FileConnector];

/// A kind of table: what it is called and which options it reads.
pub trait Connector: Debug + Sync {
    /// Its name in `connector = '...'`.
    fn name(&self) -> &'static str;
    /// The options it reads, beside `connector` and those of its format.
    fn options(&self) -> &'static [OptionSpec];
}

/// A partition's number.
pub type Partition = i32;

/// A topic as its broker describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// How many partitions; their numbers are `0..partitions`.
    pub partitions: i32,
    /// How many copies the broker keeps (1 on the embedded one).
    pub replication: i16,
    /// Its settings, as Kafka names them, defaults included: `cleanup.policy`, `retention.ms`, `max.message.bytes`, ... Empty where
    /// the broker does not let us know them; see [`Topic::need_settings`].
    pub config: BTreeMap<String, String>,
}

impl Topic {
    /// For whoever would do something wrong without the settings; reading records needs none.
    ///
    /// # Errors
    /// `External` if the broker keeps them from us.
    pub fn need_settings(&self) -> Result<()> {
        if !self.config.is_empty() {
            return Ok(());
        }
        let name = &self.name;
        let error = Error::external(format!("the broker does not allow vatic to read the settings of topic \"{name}\""));
        Err(error.hint(format!(
            "It needs DescribeConfigs on topic \"{name}\"; whoever may can grant it: \
             kafka-acls --add --allow-principal User:... --operation DescribeConfigs --topic {name}"
        )))
    }
    /// The largest record (key, value, headers and Kafka's own overhead) it takes, in bytes.
    #[must_use]
    pub fn max_message_bytes(&self) -> usize {
        self.config.get("max.message.bytes").and_then(|v| v.parse().ok()).unwrap_or(1_048_588)
    }
}

/// A topic to be created.
#[derive(Debug, Clone, Default)]
pub struct NewTopic {
    /// Its name: 1 to 249 of `[A-Za-z0-9._-]`.
    pub name: String,
    /// How many partitions; the broker's default if `None` (the embedded broker's: 1).
    pub partitions: Option<i32>,
    /// How many copies; the broker's default if `None`.
    pub replication: Option<i16>,
    /// Settings that differ from the broker's defaults.
    pub config: BTreeMap<String, String>,
}

/// A point in every partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OffsetAt {
    /// The oldest record that is still there.
    Earliest,
    /// Behind the newest record that is committed (the last stable offset).
    Latest,
    /// The first record with this timestamp or a later one; behind the newest where there is none.
    Timestamp(Millis),
}

/// A committed position of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The topic, or the name of a source without a broker.
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: Partition,
    /// The offset of the next record to read.
    pub offset: i64,
    /// What the writer stored beside it: the epoch record, as JSON. At most 4,096 bytes (Kafka's `offset.metadata.max.bytes`).
    pub metadata: String,
}

/// A place that holds topics. All of its methods may be called at once from many tasks; none blocks the executor's thread.
#[async_trait]
pub trait Broker: Debug + Send + Sync + 'static {
    /// What was typed behind `--broker`: `embedded:.vatic`, `localhost:9092`.
    fn address(&self) -> &str;
    /// All topics, by name.
    async fn topics(&self) -> Result<Vec<Topic>>;
    /// The topic called `name`; `None` if there is none.
    async fn topic(&self, name: &str) -> Result<Option<Topic>>;
    /// How many partitions the topic called `name` has; `None` if there is none. For those who look again and again: it is asked
    /// once, and not for long.
    async fn partitions(&self, name: &str) -> Result<Option<Partition>> {
        Ok(self.topic(name).await?.map(|topic| topic.partitions))
    }
    /// The longest time between two looks for something that is not there yet, or may have changed: cheap questions are asked
    /// often, those over a network seldom.
    fn look_again(&self) -> Duration {
        Duration::from_millis(50)
    }
    /// Creates a topic; `false` if there is one of that name (which is left as it is).
    ///
    /// # Errors
    /// `User` for a bad name or setting; `External` from the broker.
    async fn create_topic(&self, topic: &NewTopic) -> Result<bool>;
    /// Deletes a topic and its records; `false` if there is none of that name.
    async fn delete_topic(&self, name: &str) -> Result<bool>;
    /// One offset per partition, by partition.
    ///
    /// # Errors
    /// `User` if there is no such topic.
    async fn offsets(&self, topic: &str, at: OffsetAt) -> Result<Vec<i64>>;
    /// What `group` committed, of all topics.
    async fn positions(&self, group: &str, topics: &[String]) -> Result<Vec<Position>>;
    /// Forgets what `group` committed; `false` if that was nothing.
    ///
    /// # Errors
    /// `User` while a process is a member of it.
    async fn reset_group(&self, group: &str, topics: &[String]) -> Result<bool>;
    /// Opens a source. With a group, membership begins here and ends when the source is dropped.
    ///
    /// # Errors
    /// `External` if another process holds the group and the broker cannot share it (naming the process's id);
    /// `User` if a topic is missing, or a start lies outside what the topic still holds.
    async fn source(&self, spec: SourceSpec) -> Result<Box<dyn Source>>;
    /// The topic of one partition whose reader, among a job's processes, reads what they cannot share: files and generators. `None`
    /// where a job has one process at a time.
    async fn lease(&self) -> Result<Option<String>> {
        Ok(None)
    }
    /// Opens a sink. One with a `group` fences every older sink of that group.
    async fn sink(&self, spec: SinkSpec) -> Result<Box<dyn Sink>>;
}

/// What a source reads.
#[derive(Debug, Clone, Default)]
pub struct SourceSpec {
    /// The topics; a cut's chunk names its topic by the index here.
    pub topics: Vec<TopicSource>,
    /// The job's consumer group. Its committed positions come before each topic's `start`.
    pub group: Option<String>,
    /// How many bytes of records may wait, read ahead, over all partitions.
    pub budget: usize,
    /// Properties of the client, for brokers that have one (`kafka.*` of the tables).
    pub properties: Options,
}

/// How one topic is read.
#[derive(Debug, Clone)]
pub struct TopicSource {
    /// Its name.
    pub topic: Arc<str>,
    /// Where partitions without a committed position begin.
    pub start: Start,
    /// Where each partition ends, by partition: the source stops delivering once the *position* is there. `None`: it follows.
    pub ends: Option<Vec<i64>>,
    /// The partitions to read; `None`: all, with new ones as they are found.
    pub partitions: Option<Vec<Partition>>,
}

/// Where reading begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// At a point that the broker knows.
    At(OffsetAt),
    /// At these offsets, by partition; a partition that is not named begins at the earliest.
    Offsets(BTreeMap<Partition, i64>),
}

/// How much one call may return. At least one record is returned, whatever its size, unless none is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// At most so many rows.
    pub rows: usize,
    /// At most so many bytes of records.
    pub bytes: usize,
}

impl Limit {
    /// No record, and no end either: only partitions that come and go, which must be answered at all times.
    pub const NONE: Self = Self { rows: 0, bytes: 0 };

    /// Whether no record is wanted.
    #[must_use]
    pub fn is_none(self) -> bool {
        self.rows == 0
    }
}

/// An input of a query: topics of one group, a file, a generator.
#[async_trait]
pub trait Source: Debug + Send {
    /// Waits for the next thing to do. Records are returned as soon as there are any, as many as are at hand within `limit`.
    /// Cancel-safe: a call that is dropped while it waits loses nothing.
    ///
    /// # Errors
    /// `External` when the broker is lost for good; `Data` when a position lies outside what the topic holds (never a silent reset).
    ///
    /// A member of a group may be asked on after [`Event::Finished`], which it says once: partitions still come and go.
    async fn next(&mut self, limit: Limit) -> Result<Event>;
    /// Says that what [`Event::Revoked`] named is committed, and lets it go.
    async fn release(&mut self) -> Result<()> {
        Ok(())
    }
}

/// What a source has to say.
#[derive(Debug)]
pub enum Event {
    /// Partitions that it reads from now on, and where each begins. Comes before their first records.
    Assigned(Vec<Assignment>),
    /// Partitions that another member takes over once [`Source::release`] is called: finish and commit what is in flight.
    Revoked(Vec<(usize, Partition)>),
    /// Partitions that another member has already: throw away what is in flight.
    Lost(Vec<(usize, Partition)>),
    /// Records; none, if only the membership changed.
    Cut(Cut),
    /// Every partition has reached its end; nothing more will come.
    Finished,
}

/// A partition and where its reading begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The index of its topic in [`SourceSpec::topics`].
    pub input: usize,
    /// The partition.
    pub partition: Partition,
    /// The first offset to be read.
    pub offset: i64,
    /// What was committed with it; `None` if nothing was, and the topic's `start` decided.
    pub committed: Option<String>,
}

/// What a source took at once: the inputs of one epoch, or a part of them.
#[derive(Debug, Default)]
pub struct Cut {
    /// By input and partition; several chunks of one partition follow each other in offset order.
    pub chunks: Vec<Chunk>,
    /// The group's state when the cut was made; goes unchanged into the commit of these positions.
    pub membership: Option<Membership>,
}

/// The state of a consumer group at one moment, known only to its broker. A commit with an outdated one is refused, which is
/// what keeps a member that was thought dead from writing twice.
pub type Membership = Arc<dyn Any + Send + Sync>;

/// Some rows of one partition. Cloning copies no rows.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// The index of its topic in [`SourceSpec::topics`]; 0 for a source without a broker.
    pub input: usize,
    /// The partition.
    pub partition: Partition,
    /// The position behind these rows: what is committed once they are done.
    pub next_offset: i64,
    /// The partition's end as far as it is known, for the lag; `None` if it has none.
    pub end: Option<i64>,
    /// The rows.
    pub rows: Rows,
}

/// Rows, as bytes still or decoded already.
#[allow(clippy::large_enum_variant)] // the large one is the usual one
#[derive(Debug, Clone)]
pub enum Rows {
    /// Records of a topic; the scan decodes them.
    Records(Records),
    /// Rows of a file or a generator, in the source's schema.
    Batch(RecordBatch),
}

impl Rows {
    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Rows::Records(records) => records.len(),
            Rows::Batch(batch) => batch.num_rows(),
        }
    }
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// `length` rows from `start`, without copying them.
    #[must_use]
    pub fn slice(&self, start: usize, length: usize) -> Self {
        match self {
            Rows::Records(records) => Rows::Records(records.slice(start, length)),
            Rows::Batch(batch) => Rows::Batch(batch.slice(start, length)),
        }
    }
    /// About how many bytes of memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Rows::Records(records) => records.bytes(),
            Rows::Batch(batch) => batch.get_array_memory_size(),
        }
    }
}

/// What is promised of a job's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Delivery {
    /// Outputs, positions, dead letters and state become visible together, once.
    #[default]
    ExactlyOnce,
    /// Outputs are acknowledged before positions are committed; a crash may repeat some.
    AtLeastOnce,
}

/// What a sink is for.
#[derive(Debug, Clone, Default)]
pub struct SinkSpec {
    /// The job's consumer group, whose positions it commits; `None` for a writer without one.
    pub group: Option<String>,
    /// What is promised.
    pub delivery: Delivery,
    /// How long an unanswered commit may take before it is an error.
    pub timeout: Option<Duration>,
    /// Properties of the client, for brokers that have one (`compression`, `kafka.*` of the tables).
    pub properties: Options,
}

/// An output of a job: everything it writes.
#[async_trait]
pub trait Sink: Debug + Send {
    /// Makes all of `commit` visible, or none of it. Commits of one sink happen in the order of the calls.
    ///
    /// # Errors
    /// After any error the outcome is unknown: drop this sink, open another (which fences this one and ends what it began),
    /// read the group's positions again and go on from there.
    async fn commit(&mut self, commit: Commit) -> Result<Committed>;
}

/// What becomes visible at once.
#[derive(Debug, Default)]
pub struct Commit {
    /// Records to write: outputs, dead letters, state changelog. Those of one topic and partition keep their order.
    pub outputs: Vec<Output>,
    /// Positions of the group.
    pub positions: Vec<Position>,
    /// From the cut that the newest of the positions belongs to.
    pub membership: Option<Membership>,
}

/// Records for one partition of one topic; their `offsets` are ignored.
#[derive(Debug, Clone)]
pub struct Output {
    /// The topic, which must exist.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: Partition,
    /// What to write.
    pub records: Records,
}

/// What a commit did.
#[derive(Debug, Default)]
pub struct Committed {
    /// The offset of the first record of each output, in the commit's order.
    pub offsets: Vec<i64>,
}
