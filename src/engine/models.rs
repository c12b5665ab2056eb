//! The model topic and the registry.   topic ─► feed ─► registry;   file ─► [`Models::publish`] ─► topic
//!
//! One task per engine follows the model topic and hands every record to the registry, in log order. It is started by the
//! first statement that needs models. The topic need not exist yet: the feed waits for it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, BinaryArray};
use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{Notify, watch};

use crate::connector::{
    Broker, Chunk, Commit, Event, Limit, NewTopic, OffsetAt, Output, Rows, SinkSpec, SourceSpec, Start, Topic, TopicSource,
};
use crate::error::{Error, Result};
use crate::format::RecordsBuilder;
use crate::model::descriptor::Descriptor;
use crate::model::registry::{Settings, VersionInfo};
use crate::model::{Fetch, Loader, ModelRef, Numbering, Registry};
use crate::time;

/// The largest record of the model topic, in bytes.
pub const MAX_MODEL_BYTES: usize = 64 << 20;

/// The model topic of one engine, and what it says.
pub struct Models {
    broker: Arc<dyn Broker>,
    topic: String,
    registry: Arc<Registry>,
    feed: tokio::task::JoinHandle<()>,
    /// What keeps the feed from reading, while something does.
    trouble: watch::Receiver<Option<Error>>,
    /// Rings when the topic was seen to be there.
    made: Arc<Notify>,
}

/// A published version, as `vatic publish` prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The model's name.
    pub name: String,
    /// The version.
    pub version: u64,
    /// The format's name.
    pub format: String,
    /// The file's size in bytes.
    pub size: usize,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
    /// The offset of its record.
    pub offset: i64,
    /// Whether the version is new; not if the newest one had the same bytes.
    pub new: bool,
}

/// How a model is published.
#[derive(Debug, Clone, Default)]
pub struct PublishOptions {
    /// Publish it even if it cannot be used.
    pub force: bool,
    /// For the registry's `description`.
    pub description: String,
}

impl Models {
    /// Follows the model topic `topic`; `loader` makes models of its records.
    ///
    /// # Errors
    /// `User` if the topic has several partitions; whatever the broker says.
    pub async fn open(broker: Arc<dyn Broker>, topic: &str, loader: Loader) -> Result<Arc<Self>> {
        let found = broker.topic(topic).await?;
        if let Some(found) = &found {
            check_partitions(found)?;
        }
        let fetch = Arc::new(TopicFetch { broker: Arc::clone(&broker), topic: topic.into() });
        let numbering = found.as_ref().map_or(Numbering::Dense, |topic| Numbering::of(&topic.config));
        let settings = Settings { loader, ..Settings::default() };
        let registry = Registry::with(topic, numbering, fetch, settings);
        let (tell, trouble) = watch::channel(None);
        let made = Arc::new(Notify::new());
        let (held, rung) = (Arc::clone(&registry), Arc::clone(&made));
        let feed = tokio::spawn(follow(Arc::clone(&broker), topic.to_owned(), held, tell, rung));
        Ok(Arc::new(Self { broker, topic: topic.to_owned(), registry, feed, trouble, made }))
    }

    /// The registry.
    #[must_use]
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// The topic's name.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Waits until the registry knows everything that the topic held when this was called.
    ///
    /// # Errors
    /// Whatever the broker says.
    pub async fn caught_up(&self) -> Result<()> {
        let Some(found) = self.broker.topic(&self.topic).await? else { return Ok(()) };
        check_partitions(&found)?;
        self.made.notify_one();
        match self.broker.offsets(&self.topic, OffsetAt::Latest).await?.first() {
            Some(end) => self.read_to(*end).await,
            None => Ok(()),
        }
    }

    /// Waits until the feed has read everything below `end`, or cannot.
    async fn read_to(&self, end: i64) -> Result<()> {
        let mut trouble = self.trouble.clone();
        tokio::select! {
            biased;
            () = self.registry.wait_until(end) => Ok(()),
            found = trouble.wait_for(Option::is_some) => {
                let cause = found.ok().and_then(|found| found.clone()).unwrap_or_else(|| Error::internal("the feed has ended"));
                Err(cause.context(format_args!("model topic \"{}\" cannot be read", self.topic)))
            }
        }
    }

    /// Creates the model topic if there is none; whether it did.
    ///
    /// # Errors
    /// `User` if there is one with several partitions; whatever the broker says.
    pub async fn ensure_topic(&self) -> Result<bool> {
        if let Some(found) = self.broker.topic(&self.topic).await? {
            check_partitions(&found)?;
            self.made.notify_one();
            return Ok(false);
        }
        let config = [
            ("cleanup.policy", "delete".to_owned()),
            ("retention.ms", "-1".to_owned()),
            ("retention.bytes", "-1".to_owned()),
            ("max.message.bytes", MAX_MODEL_BYTES.to_string()),
        ];
        let config: BTreeMap<String, String> = config.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        let topic = NewTopic { name: self.topic.clone(), partitions: Some(1), replication: None, config };
        let created = self.broker.create_topic(&topic).await?;
        self.made.notify_one();
        Ok(created)
    }

    /// Publishes the model file `bytes` as a new version of `name`, unless the newest version has the same bytes.
    ///
    /// # Errors
    /// `User` for a name that is none; `Data` if the file cannot be used (with `force` it is published all the same);
    /// whatever the broker says.
    pub async fn publish(&self, name: &str, bytes: Bytes, options: &PublishOptions) -> Result<Published> {
        let reference = ModelRef::parse(name)?;
        if reference.version.is_some() {
            return Err(Error::user(format!("\"{name}\" is not a model's name"))
                .hint("Leave out the version: it is assigned by the topic."));
        }
        let (file, registry) = (bytes.clone(), Arc::clone(&self.registry));
        let loaded = tokio::task::spawn_blocking(move || registry.load_bytes(&file))
            .await
            .map_err(|e| Error::internal(format!("the check of the model ended early: {e}")))?;
        let format = match loaded {
            Ok((format, _)) => format,
            Err(error) if options.force => {
                let _unusable_but_wanted = error;
                "unknown"
            }
            Err(error) => {
                let error = Error::from(error).context(format!("model \"{name}\" was not published"));
                return Err(if error.get_hint().is_some() {
                    error
                } else {
                    error.hint("Publish it all the same with --force: it will be a failed row of the table models.")
                });
            }
        };
        self.ensure_topic().await?;
        self.caught_up().await?;
        let descriptor = Descriptor::new(name, bytes.clone(), format, &options.description)?;
        let published = |it: VersionInfo, new| Published {
            name: name.to_owned(),
            version: it.version,
            format: format.to_owned(),
            size: bytes.len(),
            sha256: it.sha256.unwrap_or_default(),
            offset: it.offset,
            new,
        };
        if let Some(same) = self.registry.same_as_newest(name, &bytes) {
            return Ok(published(same, false));
        }
        let record = descriptor.encode();
        if record.len() + name.len() + 128 > MAX_MODEL_BYTES {
            let size = bytes.len();
            return Err(Error::data(format!("model \"{name}\" has {size} bytes: a record has room for {MAX_MODEL_BYTES}")));
        }
        let offset = self.append(name.as_bytes(), &record).await?;
        self.read_to(offset + 1).await?;
        self.registry.at_offset(offset).map(|it| published(it, true)).ok_or_else(|| {
            Error::internal(format!(
                "model \"{name}\" was written at offset {offset} of topic \"{}\" and is not known",
                self.topic
            ))
        })
    }

    async fn append(&self, key: &[u8], value: &[u8]) -> Result<i64> {
        let mut records = RecordsBuilder::with_capacity(1);
        records.push(0, time::now(), Some(key), Some(value), []);
        let mut sink = self.broker.sink(SinkSpec::default()).await?;
        let output = Output { topic: self.topic.as_str().into(), partition: 0, records: records.finish() };
        let committed = sink.commit(Commit { outputs: vec![output], ..Commit::default() }).await?;
        committed.offsets.first().copied().ok_or_else(|| Error::internal("a commit of one output gave no offset"))
    }
}

impl fmt::Debug for Models {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Models").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl Drop for Models {
    fn drop(&mut self) {
        self.feed.abort();
    }
}

fn check_partitions(topic: &Topic) -> Result<()> {
    // They decide how versions are numbered.
    topic.need_settings()?;
    if topic.partitions == 1 {
        return Ok(());
    }
    Err(Error::user(format!(
        "model topic \"{}\" has {} partitions: versions have no order there",
        topic.name, topic.partitions
    ))
    .hint("Use a topic with one partition: SET models.topic = 'other'."))
}

/// Reads the model topic for as long as the engine lives. Trouble with the broker is waited out: versions that are loaded go
/// on serving.
async fn follow(
    broker: Arc<dyn Broker>,
    topic: String,
    registry: Arc<Registry>,
    trouble: watch::Sender<Option<Error>>,
    made: Arc<Notify>,
) {
    const FIRST: Duration = Duration::from_millis(50);
    let (mut next, mut pause) = (0, FIRST);
    loop {
        match broker.topic(&topic).await {
            Ok(Some(found)) => {
                pause = FIRST;
                registry.set_numbering(Numbering::of(&found.config));
                let done = match check_partitions(&found) {
                    Ok(()) => read(&broker, &topic, &registry, &mut next, &trouble).await,
                    refused => refused,
                };
                if let Err(error) = done {
                    trouble.send_replace(Some(error));
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Ok(None) => {
                // Whoever makes the topic in this process says so; another process's is found a little later.
                let _ = tokio::time::timeout(pause, made.notified()).await;
                pause = broker.look_again().min(pause * 2);
            }
            Err(error) => {
                trouble.send_replace(Some(error));
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    }
}

async fn read(
    broker: &Arc<dyn Broker>,
    topic: &str,
    registry: &Arc<Registry>,
    next: &mut i64,
    trouble: &watch::Sender<Option<Error>>,
) -> Result<()> {
    let start = if *next == 0 { Start::At(OffsetAt::Earliest) } else { Start::Offsets(BTreeMap::from([(0, *next)])) };
    let mut source = broker.source(one_topic(topic, start, None)).await?;
    trouble.send_if_modified(|trouble| trouble.take().is_some());
    loop {
        match source.next(Limit { rows: 256, bytes: MAX_MODEL_BYTES }).await? {
            Event::Cut(cut) => {
                for chunk in cut.chunks {
                    let behind = chunk.next_offset;
                    let registry = Arc::clone(registry);
                    // Models are large, and each is hashed.
                    tokio::task::spawn_blocking(move || apply(&registry, &chunk))
                        .await
                        .map_err(|e| Error::internal(format!("a model's record was not applied: {e}")))?;
                    *next = behind;
                }
            }
            Event::Assigned(_) | Event::Revoked(_) | Event::Lost(_) => {}
            Event::Finished => return Ok(()),
        }
    }
}

fn apply(registry: &Arc<Registry>, chunk: &Chunk) {
    if let Rows::Records(records) = &chunk.rows {
        for row in 0..records.len() {
            let (key, value) = (bytes_at(&records.keys, row), bytes_at(&records.values, row));
            registry.apply(records.offsets[row], records.timestamps[row], key, value);
        }
    }
    registry.reached(chunk.next_offset);
}

fn one_topic(topic: &str, start: Start, ends: Option<Vec<i64>>) -> SourceSpec {
    let topic = TopicSource { topic: topic.into(), start, ends, partitions: None };
    SourceSpec { topics: vec![topic], group: None, budget: MAX_MODEL_BYTES, ..SourceSpec::default() }
}

fn bytes_at(array: &BinaryArray, row: usize) -> Option<&[u8]> {
    (!array.is_null(row)).then(|| array.value(row))
}

/// Reads single records of the model topic again, so that the registry need not keep the bytes of every version.
struct TopicFetch {
    broker: Arc<dyn Broker>,
    topic: String,
}

#[async_trait]
impl Fetch for TopicFetch {
    async fn fetch(&self, offset: i64) -> Result<Option<Bytes>> {
        let start = Start::Offsets(BTreeMap::from([(0, offset)]));
        let mut source = self.broker.source(one_topic(&self.topic, start, Some(vec![offset + 1]))).await?;
        loop {
            match source.next(Limit { rows: 1, bytes: MAX_MODEL_BYTES }).await? {
                Event::Cut(cut) => {
                    for chunk in cut.chunks {
                        if let Rows::Records(records) = &chunk.rows
                            && let Some(row) = records.offsets.iter().position(|o| *o == offset)
                        {
                            return Ok(bytes_at(&records.values, row).map(Bytes::copy_from_slice));
                        }
                    }
                }
                Event::Finished => return Ok(None),
                Event::Assigned(_) | Event::Revoked(_) | Event::Lost(_) => {}
            }
        }
    }
}
