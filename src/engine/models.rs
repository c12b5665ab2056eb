//! The model topic and the registry.   topic ─► feed ─► registry;   file ─► [`Models::publish`] ─► topic
//!
//! One task per engine follows the model topic and hands every record to the registry, in log order. It is started by the
//! first statement that needs models. The topic need not exist yet: the feed waits for it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::connector::{
    Broker, Commit, Event, Limit, NewTopic, OffsetAt, Output, Rows, SinkSpec, SourceSpec, Start, Topic, TopicSource,
};
use crate::error::{Error, Result};
use crate::format::{Records, RecordsBuilder};
use crate::model::descriptor::Descriptor;
use crate::model::registry::VersionInfo;
use crate::model::{Fetch, ModelRef, Numbering, Registry, load_any};
use crate::time;

/// The largest record of the model topic, in bytes.
pub const MAX_MODEL_BYTES: usize = 64 << 20;

/// The model topic of one engine, and what it says.
pub struct Models {
    broker: Arc<dyn Broker>,
    topic: String,
    registry: Arc<Registry>,
    feed: tokio::task::JoinHandle<()>,
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
    /// Follows the model topic `topic`.
    ///
    /// # Errors
    /// `User` if the topic has several partitions; whatever the broker says.
    pub async fn open(broker: Arc<dyn Broker>, topic: &str) -> Result<Arc<Self>> {
        let found = broker.topic(topic).await?;
        if let Some(found) = &found {
            check_partitions(found)?;
        }
        let fetch = Arc::new(TopicFetch { broker: Arc::clone(&broker), topic: topic.into() });
        let numbering = found.as_ref().map_or(Numbering::Dense, |topic| Numbering::of(&topic.config));
        let registry = Registry::new(topic, numbering, fetch);
        let feed = tokio::spawn(follow(Arc::clone(&broker), topic.to_owned(), Arc::clone(&registry)));
        Ok(Arc::new(Self { broker, topic: topic.to_owned(), registry, feed }))
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
        if self.broker.topic(&self.topic).await?.is_none() {
            return Ok(());
        }
        if let Some(end) = self.broker.offsets(&self.topic, OffsetAt::Latest).await?.first() {
            self.registry.wait_until(*end).await;
        }
        Ok(())
    }

    /// Creates the model topic if there is none; whether it did.
    ///
    /// # Errors
    /// `User` if there is one with several partitions; whatever the broker says.
    pub async fn ensure_topic(&self) -> Result<bool> {
        if let Some(found) = self.broker.topic(&self.topic).await? {
            check_partitions(&found)?;
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
        self.broker.create_topic(&topic).await
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
        let file = bytes.clone();
        let loaded = tokio::task::spawn_blocking(move || load_any(&file))
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
        self.registry.wait_until(offset + 1).await;
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
async fn follow(broker: Arc<dyn Broker>, topic: String, registry: Arc<Registry>) {
    let mut next = 0;
    loop {
        match broker.topic(&topic).await {
            Ok(Some(found)) => {
                registry.set_numbering(Numbering::of(&found.config));
                // The error is seen by whoever waits for the registry, or comes again.
                let _ = read(&broker, &topic, &registry, &mut next).await;
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Ok(None) | Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn read(broker: &Arc<dyn Broker>, topic: &str, registry: &Arc<Registry>, next: &mut i64) -> Result<()> {
    let start = if *next == 0 { Start::At(OffsetAt::Earliest) } else { Start::Offsets(BTreeMap::from([(0, *next)])) };
    let mut source = broker.source(one_topic(topic, start, None)).await?;
    loop {
        match source.next(Limit { rows: 256, bytes: MAX_MODEL_BYTES }).await? {
            Event::Cut(cut) => {
                for chunk in cut.chunks {
                    if let Rows::Records(records) = &chunk.rows {
                        for row in 0..records.len() {
                            let value = value_of(records, row);
                            registry.apply(records.offsets[row], records.timestamps[row], key_of(records, row), value);
                        }
                    }
                    *next = chunk.next_offset;
                    registry.reached(chunk.next_offset);
                }
            }
            Event::Assigned(_) | Event::Revoked(_) | Event::Lost(_) => {}
            Event::Finished => return Ok(()),
        }
    }
}

fn one_topic(topic: &str, start: Start, ends: Option<Vec<i64>>) -> SourceSpec {
    let topic = TopicSource { topic: topic.into(), start, ends, partitions: None };
    SourceSpec { topics: vec![topic], group: None, budget: MAX_MODEL_BYTES, ..SourceSpec::default() }
}

fn key_of(records: &Records, row: usize) -> Option<&[u8]> {
    use arrow::array::Array;
    (!records.keys.is_null(row)).then(|| records.keys.value(row))
}

fn value_of(records: &Records, row: usize) -> Option<&[u8]> {
    use arrow::array::Array;
    (!records.values.is_null(row)).then(|| records.values.value(row))
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
                            return Ok(value_of(records, row).map(Bytes::copy_from_slice));
                        }
                    }
                }
                Event::Finished => return Ok(None),
                Event::Assigned(_) | Event::Revoked(_) | Event::Lost(_) => {}
            }
        }
    }
}
