//! The embedded broker: topics in one SQLite file on a local disk, for one machine, without a server.
//!
//! ```text
//! Sink ─► encode ─► writer thread ─► one transaction: batches + positions ─► file ─► bell
//! Source ◄─ buffer (budget) ◄─ reader thread ◄─ short bounded reads ◄─ file ◄─ other processes
//! ```
//!
//! It keeps Kafka's meanings: partitions in order, keys, headers, tombstones, timestamps, groups' positions with metadata,
//! retention, compaction. Several processes use a file at once; a commit of one is seen by the others within a millisecond or
//! two. A batch of records is one row ([`layout`]), and a commit is one transaction, on the disk when it is acknowledged.
//!
//! Deliberately absent: replication, network file systems (SQLite's locks do not work there), a job in more than one process.
//! Damage is found by a checksum per batch and by SQLite's own checks; a torn end of the write-ahead log is, as SQLite has it,
//! a commit that never was. The file does not shrink; space that retention frees is used again.

mod cleaner;
mod config;
mod error;
mod group;
mod layout;
mod open;
mod reader;
mod shared;
mod sink;
mod source;
mod store;
mod watch;
mod writer;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use crate::connector::{Broker, NewTopic, OffsetAt, Position, Sink, SinkSpec, Source, SourceSpec, Topic, TopicError};
use crate::error::{Error, Result};
use group::Member;
use open::Site;
use reader::Place;
use sink::EmbeddedSink;
use source::EmbeddedSource;
use store::{Db, TopicRow};

pub use error::EmbeddedError;
pub use store::Settings;

/// More partitions than this make no sense on one machine.
const MOST_PARTITIONS: i32 = 10_000;

/// The embedded broker.
#[derive(Debug)]
pub struct Embedded {
    address: String,
    site: Arc<Site>,
}

impl Embedded {
    /// Opens the broker in directory `dir`, which is made when something is written; until then it has no topics.
    ///
    /// # Errors
    /// `External`, with the file: the directory cannot be looked into, the file is no broker, damaged, or newer than this
    /// program.
    pub fn open(dir: &Path) -> Result<Arc<dyn Broker>> {
        Self::open_with(dir, Settings::default())
    }

    /// As [`Embedded::open`], kept otherwise than usual. Within a process the settings of the first to open a directory count.
    ///
    /// # Errors
    /// As [`Embedded::open`].
    pub fn open_with(dir: &Path, settings: Settings) -> Result<Arc<dyn Broker>> {
        let site = Site::at(dir, settings)?;
        Ok(Arc::new(Self { address: format!("embedded:{}", dir.display()), site }))
    }
}

impl From<TopicRow> for Topic {
    fn from(row: TopicRow) -> Self {
        Self {
            name: row.name.to_string(),
            partitions: row.partitions,
            replication: 1,
            config: config::complete(&row.config),
        }
    }
}

#[async_trait]
impl Broker for Embedded {
    fn address(&self) -> &str {
        &self.address
    }

    async fn topics(&self) -> Result<Vec<Topic>> {
        let Some(open) = self.site.to_read().await? else { return Ok(Vec::new()) };
        open.read(|db| Ok(db.topics()?.into_iter().map(Topic::from).collect())).await
    }

    async fn topic(&self, name: &str) -> Result<Option<Topic>> {
        let Some(open) = self.site.to_read().await? else { return Ok(None) };
        let name = name.to_owned();
        open.read(move |db| Ok(db.topic(&name)?.map(Topic::from))).await
    }

    async fn create_topic(&self, topic: &NewTopic) -> Result<bool> {
        let topic = topic.clone();
        config::check_name(&topic.name)?;
        config::check(&topic.config)?;
        let partitions = topic.partitions.unwrap_or(1);
        if !(1..=MOST_PARTITIONS).contains(&partitions) {
            return Err(Error::user(format!("topic \"{}\" cannot have {partitions} partitions", topic.name))
                .hint(format!("Give it 1 to {MOST_PARTITIONS}.")));
        }
        if topic.replication.is_some_and(|copies| copies < 1 && copies != -1) {
            return Err(Error::user(format!("topic \"{}\" cannot have less than one copy", topic.name))
                .hint("Leave the replication away; the embedded broker always keeps one copy."));
        }
        let config = serde_json::to_string(&topic.config).map_err(|e| Error::internal(e.to_string()))?;
        let open = self.site.to_write().await?;
        open.write(move |writer, _| create(writer.db()?, &topic.name, partitions, &config)).await
    }

    async fn delete_topic(&self, name: &str) -> Result<bool> {
        let Some(open) = self.site.to_read().await? else { return Ok(false) };
        let name = name.to_owned();
        let done = open.write(move |writer, _| {
            let Some(topic) = delete(writer.db()?, &name)? else { return Ok(false) };
            writer.cleaner.forget((0..i64::from(topic.partitions)).map(|partition| topic.first_slot + partition));
            Ok(true)
        });
        let done = done.await?;
        open.bell.ring();
        Ok(done)
    }

    async fn offsets(&self, topic: &str, at: OffsetAt) -> Result<Vec<i64>> {
        let Some(open) = self.site.to_read().await? else { return Err(no_topic(topic)) };
        let name = topic.to_owned();
        let read = move |db: &Db| {
            let topic = db.need_topic(&name)?;
            // All ends in one short read: a commit over several partitions is in all of them or in none.
            let rows = db.partitions(&topic)?;
            if rows.len() < usize::try_from(topic.partitions).unwrap_or(0) {
                return Err(TopicError::Deleted { topic: name }.into());
            }
            let offset = |(partition, row): (i32, &store::PartitionRow)| match at {
                OffsetAt::Earliest => Ok(row.earliest),
                OffsetAt::Latest => Ok(row.next),
                OffsetAt::Timestamp(time) => {
                    let place = Place { topic: Arc::clone(&topic.name), partition, slot: row.slot };
                    Ok(place.offset_at(db, time)?)
                }
            };
            (0..).zip(&rows).map(offset).collect()
        };
        open.read(read).await
    }

    async fn positions(&self, group: &str, topics: &[String]) -> Result<Vec<Position>> {
        let Some(open) = self.site.to_read().await? else { return Ok(Vec::new()) };
        let (group, topics) = (group.to_owned(), topics.to_vec());
        let read = move |db: &Db| {
            let sql =
                "SELECT topic, partition, position, metadata FROM positions WHERE of_group = ?1 ORDER BY topic, partition";
            let all = db.all(sql, [&group], |row| {
                let topic: Arc<str> = row.get::<_, String>(0)?.into();
                Ok(Position { topic, partition: row.get(1)?, offset: row.get(2)?, metadata: row.get(3)? })
            })?;
            Ok(all.into_iter().filter(|p| topics.is_empty() || topics.iter().any(|topic| **topic == *p.topic)).collect())
        };
        open.read(read).await
    }

    async fn reset_group(&self, group: &str, topics: &[String]) -> Result<bool> {
        let Some(open) = self.site.to_read().await? else { return Ok(false) };
        let (group, topics) = (group.to_owned(), topics.to_vec());
        let dir = open.dir.clone();
        let reset = move |writer: &mut writer::Writer, _: &dyn Fn() -> bool| {
            let _alone = Member::shut_out(&dir, &group)?;
            let forgotten = writer.db()?.write(|db| {
                let mut forgotten = 0;
                if topics.is_empty() {
                    forgotten += db.run("DELETE FROM positions WHERE of_group = ?1", [&group])?;
                }
                for topic in &topics {
                    forgotten += db.run("DELETE FROM positions WHERE of_group = ?1 AND topic = ?2", [&group, topic])?;
                }
                Ok(forgotten)
            })?;
            Ok(forgotten > 0)
        };
        open.write(reset).await
    }

    async fn source(&self, spec: SourceSpec) -> Result<Box<dyn Source>> {
        let open = match (self.site.to_read().await?, spec.topics.first()) {
            (Some(open), _) => open,
            (None, Some(read)) => return Err(no_topic(&read.topic)),
            (None, None) => self.site.to_write().await?,
        };
        Ok(Box::new(EmbeddedSource::open(open, spec).await?))
    }

    async fn sink(&self, spec: SinkSpec) -> Result<Box<dyn Sink>> {
        Ok(Box::new(EmbeddedSink::open(self.site.to_write().await?, spec).await?))
    }
}

/// The error for a topic of a broker that nobody has written to.
fn no_topic(topic: &str) -> Error {
    TopicError::NoTopic { topic: topic.to_owned(), known: Vec::new() }.into()
}

/// Creates a topic; `false` if there is one of that name.
fn create(db: &Db, name: &str, partitions: i32, config: &str) -> Result<bool> {
    let twin = |other: &str| other != name && other.replace('.', "_") == name.replace('.', "_");
    let topics: BTreeMap<Arc<str>, i32> = db.topics()?.into_iter().map(|topic| (topic.name, topic.partitions)).collect();
    if !topics.contains_key(name)
        && let Some(other) = topics.keys().find(|other| twin(other))
    {
        return Err(Error::user(format!("topic \"{name}\" collides with topic \"{other}\""))
            .hint("Choose another name: as in Kafka, \".\" and \"_\" count as the same."));
    }
    let created = db.write(|db| {
        if db.topic(name)?.is_some() {
            return Ok(false);
        }
        let slot = db.take_slots(partitions)?;
        db.run(
            "INSERT INTO topics (name, partitions, first_slot, config) VALUES (?1, ?2, ?3, ?4)",
            (name, partitions, slot, config),
        )?;
        let topic = db.one("SELECT id FROM topics WHERE name = ?1", [name], |row| row.get::<_, i64>(0))?;
        for partition in 0..i64::from(partitions) {
            db.run("INSERT INTO partitions VALUES (?1, ?2, 0, 0, 0, ?3, 0, 0)", [slot + partition, topic, i64::MIN])?;
        }
        Ok(true)
    })?;
    Ok(created)
}

/// Deletes a topic and what was committed of it; its records go later, in small pieces.
fn delete(db: &Db, name: &str) -> Result<Option<TopicRow>> {
    let deleted = db.write(|db| {
        let Some(topic) = db.topic(name)? else { return Ok(None) };
        let last = topic.first_slot + i64::from(topic.partitions) - 1;
        db.run("INSERT INTO garbage SELECT slot FROM partitions WHERE slot BETWEEN ?1 AND ?2", [topic.first_slot, last])?;
        db.run("DELETE FROM partitions WHERE slot BETWEEN ?1 AND ?2", [topic.first_slot, last])?;
        db.run("DELETE FROM positions WHERE topic = ?1", [name])?;
        db.run("DELETE FROM topics WHERE name = ?1", [name])?;
        Ok(Some(topic))
    })?;
    Ok(deleted)
}
