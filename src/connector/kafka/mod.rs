//! Apache Kafka as a [`Broker`], through librdkafka.   `--broker host:port,...`
//!
//! ```text
//! admin     topics, offsets, groups               blocking questions, each on a blocking thread
//! source    consumer ─► reader thread ─► cuts     one consumer per source; a job's is a member of its group
//! sink      commits ─► writer thread ─► producer  one transaction per commit (exactly once)
//! moves     positions ─► consumer                 those that no transaction holds (at least once)
//! security  properties of TLS and SASL ─► client  what is wrong with them, within 10 s
//! failpoint tests make a step of a commit fail    debug builds only
//! ffi       librdkafka's C functions              all that is unsafe
//! ```
//!
//! What is promised, which settings decide it and what happens when something fails stands in `docs/kafka.md`.
//! Positions of files and generators are kept in a topic of their own (`positions.rs`).

mod admin;
mod begin;
mod error;
mod failpoint;
mod ffi;
mod instance;
mod moves;
mod positions;
mod properties;
mod reader;
mod rights;
mod security;
mod sink;
mod source;

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::Notify;

use self::admin::Admin;
use self::begin::Undecided;
use self::ffi::{Kind, Queue, lock};
use self::reader::Reader;
use self::rights::Right;
use self::sink::KafkaSink;
use self::source::{KafkaSource, Leavers, Leaving, Shared, State};
use super::{Broker, NewTopic, OffsetAt, Partition, Position, Sink, SinkSpec, Source, SourceSpec, Start, Topic, TopicError};
use crate::config::Options;
use crate::error::Result;

pub use self::error::KafkaError;
#[cfg(debug_assertions)]
pub use self::failpoint::STEPS;
pub use self::rights::Right as KafkaRight;

/// How long a process that ends waits until its groups know.
const LEAVING: Duration = Duration::from_secs(5);

/// Apache Kafka, or what speaks its protocol.
#[derive(Debug)]
pub struct Kafka {
    admin: Arc<Admin>,
    leavers: Leavers,
}

impl Kafka {
    /// Connects to the brokers at `address` (`host:port`, several with commas). `properties` are librdkafka's, as given with `-X`;
    /// they hold for every client. Blocks until a broker answers, at most 10 s.
    ///
    /// # Errors
    /// `User` for an unknown property (with the nearest), a value that does not fit, or one that vatic sets itself; `External` if
    /// nobody answers or the credentials are refused, naming the address.
    pub fn open(address: &str, properties: &Options) -> Result<Arc<dyn Broker>> {
        let given = properties::given(properties)?;
        ffi::tame_memory();
        Ok(Arc::new(Self { admin: Arc::new(Admin::connect(address, given)?), leavers: Leavers::default() }))
    }

    /// Asks a question where it may block.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Arc<Admin>) -> std::result::Result<T, KafkaError> + Send + 'static,
    ) -> Result<T> {
        let admin = Arc::clone(&self.admin);
        match tokio::task::spawn_blocking(move || question(&admin)).await {
            Ok(answer) => Ok(answer?),
            Err(e) => Err(KafkaError::Start(e.to_string()).into()),
        }
    }
}

#[async_trait]
impl Broker for Kafka {
    fn address(&self) -> &str {
        &self.admin.address
    }

    async fn topics(&self) -> Result<Vec<Topic>> {
        self.ask(|admin| admin.topics()).await
    }

    async fn topic(&self, name: &str) -> Result<Option<Topic>> {
        let name = name.to_owned();
        self.ask(move |admin| admin.topic(&name)).await
    }

    async fn partitions(&self, name: &str) -> Result<Option<Partition>> {
        let name = name.to_owned();
        self.ask(move |admin| admin.glance(&name)).await
    }

    fn look_again(&self) -> Duration {
        Duration::from_secs(2)
    }

    async fn create_topic(&self, topic: &NewTopic) -> Result<bool> {
        let topic = topic.clone();
        self.ask(move |admin| admin.create(&topic)).await
    }

    async fn delete_topic(&self, name: &str) -> Result<bool> {
        let name = name.to_owned();
        self.ask(move |admin| admin.delete(&name)).await
    }

    async fn offsets(&self, topic: &str, at: OffsetAt) -> Result<Vec<i64>> {
        let topic = topic.to_owned();
        self.ask(move |admin| {
            let partitions = admin.partitions(&topic)?;
            if at == OffsetAt::Latest {
                return admin.stable_ends(&topic, partitions);
            }
            let wanted: Vec<(&str, Partition)> = (0..partitions).map(|partition| (topic.as_str(), partition)).collect();
            admin.offsets(&wanted, &at)
        })
        .await
    }

    async fn positions(&self, group: &str, topics: &[String]) -> Result<Vec<Position>> {
        let (group, topics) = (group.to_owned(), topics.to_vec());
        self.ask(move |admin| {
            // Asked for by name: a partition whose only position is in a transaction that ends just now is waited for.
            let mut names: Vec<(&str, Partition)> = Vec::new();
            for topic in topics.iter().filter(|topic| positions::is_topic(topic)) {
                match admin.partitions(topic) {
                    Ok(partitions) => names.extend((0..partitions).map(|partition| (topic.as_str(), partition))),
                    Err(KafkaError::Topic(TopicError::NoTopic { .. })) => {}
                    Err(error) => return Err(error),
                }
            }
            let mut all =
                if names.is_empty() { Vec::new() } else { admin.committed(&group, &names, Undecided::Waited)?.positions };
            if topics.iter().any(|topic| !positions::is_topic(topic)) {
                all.extend(positions::read(admin, &group)?);
            }
            all.retain(|position| topics.iter().any(|topic| **topic == *position.topic));
            Ok(all)
        })
        .await
    }

    async fn reset_group(&self, group: &str, _topics: &[String]) -> Result<bool> {
        let (name, leavers) = (group.to_owned(), Arc::clone(&self.leavers));
        let (known, others) = self
            .ask(move |admin| {
                join(&leavers, |group| group == Some(name.as_str()));
                let known = admin.forget(&name)?;
                // Everything: whoever resets a job may not know the names of its files and generators.
                let others = positions::read(admin, &name)?;
                let records = match others.is_empty() {
                    true => None,
                    false => Some(positions::records(&name, others.iter().map(|position| (position, false)))?),
                };
                Ok((known, records))
            })
            .await?;
        if let Some(records) = others {
            let mut sink = KafkaSink::open(Arc::clone(&self.admin), SinkSpec::default(), &self.leavers).await?;
            let output = super::Output { topic: positions::TOPIC.into(), partition: 0, records };
            sink.commit(super::Commit { outputs: vec![output], ..super::Commit::default() }).await?;
            return Ok(true);
        }
        Ok(known)
    }

    async fn source(&self, spec: SourceSpec) -> Result<Box<dyn Source>> {
        let leavers = Arc::clone(&self.leavers);
        let source = self.ask(move |admin| open_source(admin, spec, leavers)).await?;
        Ok(Box::new(source))
    }

    async fn lease(&self) -> Result<Option<String>> {
        self.ask(|admin| {
            if !admin.is_listed(positions::TOPIC)? {
                positions::create(admin)?;
                admin.need_topic(positions::TOPIC)?;
            }
            Ok(Some(positions::TOPIC.to_owned()))
        })
        .await
    }

    async fn sink(&self, spec: SinkSpec) -> Result<Box<dyn Sink>> {
        Ok(Box::new(KafkaSink::open(Arc::clone(&self.admin), spec, &self.leavers).await?))
    }
}

/// Checks topics and starts, then joins the group or begins to read.
fn open_source(admin: &Arc<Admin>, spec: SourceSpec, leavers: Leavers) -> std::result::Result<KafkaSource, KafkaError> {
    let given = properties::given(&spec.properties)?;
    let (mut known, mut places) = (Vec::new(), Vec::new());
    for (input, topic) in spec.topics.iter().enumerate() {
        let partitions = admin.partitions(&topic.topic)?;
        let outside = |partition: Partition| TopicError::NoPartition {
            topic: topic.topic.to_string(),
            last: partitions - 1,
            partition,
        };
        let named: Vec<Partition> = match &topic.start {
            Start::Offsets(offsets) => offsets.keys().copied().collect(),
            Start::At(_) => Vec::new(),
        };
        let wanted = topic.partitions.clone().unwrap_or_else(|| (0..partitions).collect());
        if let Some(bad) = wanted.iter().chain(&named).find(|partition| !(0..partitions).contains(*partition)) {
            return Err(outside(*bad).into());
        }
        let ends = topic.ends.as_ref().map_or(usize::MAX, Vec::len);
        // Of partitions that nobody named, those without an end were added since.
        let mut named = topic.partitions.iter().flatten();
        if let Some(bad) = named.find(|partition| usize::try_from(**partition).is_ok_and(|p| p >= ends)) {
            return Err(KafkaError::Misuse(format!("no end is given for partition {bad} of topic \"{}\"", topic.topic)));
        }
        places.extend(wanted.into_iter().map(|partition| (input, partition)));
        known.push(partitions);
    }
    // With a group too: what is out of range is told now, by whoever starts the job. What a dead writer left open is not waited for:
    // the job's own writer, which comes next, ends it.
    let begin = begin::begin(admin, &spec, &known, &places, Undecided::LeftOut)?;
    let group = spec.group.clone();
    let name = group.clone().unwrap_or_else(|| format!("vatic-reader-{}", std::process::id()));
    let made =
        properties::consumer(&admin.address, &[&admin.given, &given], &name, spec.budget / 2, source::has_ends(&spec));
    let client = Arc::new(security::client(Kind::Consumer, &made)?);
    if security::differs(&given) {
        security::greet(&client, &admin.address, &made)?;
    }
    let queue = Queue::of(&client).ok_or_else(|| KafkaError::Start("it has no queue".to_owned()))?;
    let (queue, topics) = (Arc::new(queue), spec.topics.clone());
    let shared = Arc::new(Shared {
        group: group.clone(),
        state: Mutex::new(State::default()),
        room: Condvar::new(),
        filled: Notify::new(),
        owned: Mutex::default(),
        unsure: Mutex::default(),
        client,
    });
    let mut reader = Reader::new(Arc::clone(admin), spec, Arc::clone(&shared), Arc::clone(&queue), known);
    match &group {
        None => reader.start(begin)?,
        Some(group) => {
            let mut list = rdkafka::TopicPartitionList::new();
            topics.iter().for_each(|topic| {
                list.add_topic_unassigned(&topic.topic);
            });
            let joined = shared.client.subscribe(&list);
            joined.map_err(|failure| KafkaError::of(&admin.address, joining(group), failure))?;
        }
    }
    let thread = std::thread::Builder::new().name("vatic-kafka-read".to_owned()).spawn(move || reader.work());
    let thread = thread.map_err(|e| KafkaError::Start(e.to_string()))?;
    Ok(KafkaSource { shared, queue, leaving: Some(Leaving { group, thread, to: leavers }) })
}

/// What a member asks of its group.
fn joining(group: &str) -> (String, Right) {
    (format!("join group \"{group}\""), Right::group("Read", group))
}

/// Waits for the threads of dropped sources, so that what they leave is left; not for ever.
fn join(leavers: &Leavers, of: impl Fn(Option<&str>) -> bool) {
    let begun = Instant::now();
    loop {
        {
            let mut leavers = lock(leavers);
            leavers.retain(|(_, thread)| !thread.is_finished());
            if leavers.iter().all(|(group, _)| !of(group.as_deref())) {
                return;
            }
        }
        if begun.elapsed() > LEAVING {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        // A member that ends without a word keeps its partitions until the session times out; and OpenSSL, which the end of a process
        // takes down, must not be in use by then.
        join(&self.leavers, |group| group.is_some());
    }
}
