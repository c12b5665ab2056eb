//! An engine in the test's own process.   [`Rig`] = broker + engine + one session + everything that was said
//!
//! The broker may be a [`Scripted`] one: the embedded broker behind sources that cut and fail, and sinks that wait and fail, as a
//! [`Script`] says.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::Value;
use vatic::connector::{
    Broker, Commit, Committed, Event, Limit, NewTopic, OffsetAt, Position, Sink, SinkSpec, Source, SourceSpec, Topic,
};
use vatic::engine::{Engine, Job, Notices, Outcome, PublishOptions, Session, UntilEnd};
use vatic::error::{Error, Result};

use crate::conformance::{Record, output, read_all, values, write};

/// Far longer than anything takes, even on a loaded machine.
pub const DEADLINE: Duration = Duration::from_secs(90);

/// An engine, a session on it, and what was said.
pub struct Rig {
    pub broker: Arc<dyn Broker>,
    pub engine: Arc<Engine>,
    pub session: Session,
    said: Arc<Mutex<Vec<String>>>,
}

impl Rig {
    /// An engine over `broker`, as a new process would open it.
    pub fn over(broker: Arc<dyn Broker>) -> Self {
        let said: Arc<Mutex<Vec<String>>> = Arc::default();
        let ear = Arc::clone(&said);
        let told =
            |notice: vatic::engine::Notice| [Some(notice.text), notice.hint].into_iter().flatten().collect::<Vec<_>>();
        let notices = Notices::new(move |notice| ear.lock().unwrap().push(told(notice).join("\nhint: ")));
        let engine = Engine::over(Arc::clone(&broker), notices);
        let session = engine.session();
        Self { broker, engine, session, said }
    }

    /// Jobs stop at the present ends of their inputs.
    pub fn until_end(mut self) -> Self {
        self.session.set_until_end(UntilEnd::Leave);
        self
    }

    /// Executes statements; what the last one gives.
    pub async fn sql(&mut self, text: &str) -> Result<Outcome> {
        let mut last = Outcome::Done(String::new());
        for statement in self.session.parse(text, None)? {
            last = self.session.execute(&statement).await?;
        }
        Ok(last)
    }

    /// Executes statements, the last of which starts a job.
    pub async fn job(&mut self, text: &str) -> Arc<Job> {
        match self.sql(text).await.unwrap() {
            Outcome::Job(job) => job,
            _ => panic!("no job: {text}"),
        }
    }

    /// The rows of the last of some statements, as JSON.
    pub async fn rows(&mut self, text: &str) -> Result<Vec<Value>> {
        let Outcome::Rows(rows) = self.sql(text).await? else { panic!("no rows: {text}") };
        let mut lines = Vec::new();
        let builder = arrow::json::WriterBuilder::new().with_explicit_nulls(true);
        let mut writer = builder.build::<_, arrow::json::writer::LineDelimited>(&mut lines);
        for batch in rows.collect().await? {
            writer.write(&batch).unwrap();
        }
        writer.finish().unwrap();
        drop(writer);
        Ok(String::from_utf8(lines).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }

    /// Appends values to one partition; the offset of the first.
    pub async fn produce<V: AsRef<[u8]>>(&self, topic: &str, partition: i32, lines: impl IntoIterator<Item = V>) -> i64 {
        write(&self.broker, vec![output(topic, partition, values(lines))]).await[0]
    }

    pub async fn topic(&self, name: &str, partitions: i32) {
        let new = NewTopic { name: name.to_owned(), partitions: Some(partitions), ..NewTopic::default() };
        assert!(self.broker.create_topic(&new).await.unwrap());
    }

    /// All records of a topic, by partition and offset; none if it does not exist.
    pub async fn records(&self, topic: &str) -> Vec<(i32, Record)> {
        if self.broker.topic(topic).await.unwrap().is_none() {
            return Vec::new();
        }
        let all = read_all(&self.broker, topic).await;
        all.into_iter().flat_map(|(partition, records)| records.into_iter().map(move |r| (partition, r))).collect()
    }

    /// All values of a topic, as JSON.
    pub async fn values(&self, topic: &str) -> Vec<Value> {
        let records = self.records(topic).await;
        records.iter().map(|(_, r)| serde_json::from_slice(r.value.as_ref().unwrap()).unwrap()).collect()
    }

    /// Publishes a model, also one that cannot be used; its version.
    pub async fn publish(&self, name: &str, model: impl Into<bytes::Bytes>) -> u64 {
        let options = PublishOptions { force: true, ..PublishOptions::default() };
        self.engine.publish("models", name, model.into(), &options).await.unwrap().version
    }

    /// What was said so far.
    pub fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    /// How many of the things said contain `text`.
    pub fn said_times(&self, text: &str) -> usize {
        self.said().iter().filter(|line| line.contains(text)).count()
    }
}

/// Waits until `is_so`.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < DEADLINE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A header of a record, as text.
pub fn header(record: &Record, name: &str) -> String {
    let value = record.headers.iter().find(|(n, _)| n == name).and_then(|(_, value)| value.clone());
    String::from_utf8(value.unwrap_or_default()).unwrap()
}

/// What a [`Scripted`] broker does to jobs. Sources and sinks without a group are left alone.
#[derive(Debug, Default)]
pub struct Script {
    /// So many rows each cut takes at most, in turn; none: as many as asked for.
    pub cuts: Vec<usize>,
    /// After so many cuts a source fails.
    pub source_fails: Option<usize>,
    /// The commit, counted from 0, that fails, and whether it was made all the same.
    pub commit_fails: Option<(usize, bool)>,
    /// How long each commit waits before it is made.
    pub commit_waits: Duration,
    /// While this is set, commits wait.
    pub held: AtomicBool,
    /// Commits that were begun.
    pub begun: AtomicUsize,
    /// Commits that ended.
    pub ended: AtomicUsize,
    /// After so many cuts another process takes partition 0 of the first topic, and nothing more comes.
    pub revokes_after: Option<usize>,
    /// How often it was asked for a topic.
    pub asked: AtomicUsize,
    /// While this is set, nobody answers how many partitions a topic has.
    pub away: AtomicBool,
    /// As [`Broker::look_again`]; zero: the embedded broker's.
    pub look_again: Duration,
}

/// A broker whose jobs suffer as a script says.
#[derive(Debug)]
pub struct Scripted {
    pub broker: Arc<dyn Broker>,
    pub script: Arc<Script>,
}

#[async_trait]
impl Broker for Scripted {
    fn address(&self) -> &str {
        self.broker.address()
    }
    async fn topics(&self) -> Result<Vec<Topic>> {
        self.broker.topics().await
    }
    async fn topic(&self, name: &str) -> Result<Option<Topic>> {
        self.script.asked.fetch_add(1, Ordering::SeqCst);
        self.broker.topic(name).await
    }
    async fn partitions(&self, name: &str) -> Result<Option<i32>> {
        if self.script.away.load(Ordering::SeqCst) {
            return Err(Error::external("the script hides the broker"));
        }
        Ok(self.topic(name).await?.map(|topic| topic.partitions))
    }
    fn look_again(&self) -> Duration {
        if self.script.look_again.is_zero() { self.broker.look_again() } else { self.script.look_again }
    }
    async fn create_topic(&self, topic: &NewTopic) -> Result<bool> {
        self.broker.create_topic(topic).await
    }
    async fn delete_topic(&self, name: &str) -> Result<bool> {
        self.broker.delete_topic(name).await
    }
    async fn offsets(&self, topic: &str, at: OffsetAt) -> Result<Vec<i64>> {
        self.broker.offsets(topic, at).await
    }
    async fn positions(&self, group: &str, topics: &[String]) -> Result<Vec<Position>> {
        self.broker.positions(group, topics).await
    }
    async fn reset_group(&self, group: &str, topics: &[String]) -> Result<bool> {
        self.broker.reset_group(group, topics).await
    }
    async fn source(&self, spec: SourceSpec) -> Result<Box<dyn Source>> {
        let of_job = spec.group.is_some();
        let inner = self.broker.source(spec).await?;
        Ok(if of_job { Box::new(ScriptedSource { inner, script: Arc::clone(&self.script), made: 0 }) } else { inner })
    }
    async fn sink(&self, spec: SinkSpec) -> Result<Box<dyn Sink>> {
        let of_job = spec.group.is_some();
        let inner = self.broker.sink(spec).await?;
        Ok(if of_job { Box::new(ScriptedSink { inner, script: Arc::clone(&self.script) }) } else { inner })
    }
}

#[derive(Debug)]
struct ScriptedSource {
    inner: Box<dyn Source>,
    script: Arc<Script>,
    made: usize,
}

#[async_trait]
impl Source for ScriptedSource {
    async fn next(&mut self, limit: Limit) -> Result<Event> {
        if self.script.source_fails.is_some_and(|after| self.made >= after) {
            // What waited for this may go on.
            self.script.held.store(false, Ordering::SeqCst);
            return Err(Error::external("the script ends the source"));
        }
        match self.script.revokes_after {
            Some(after) if self.made == after => {
                self.made += 1;
                return Ok(Event::Revoked(vec![(0, 0)]));
            }
            Some(after) if self.made > after => return std::future::pending().await,
            _ => {}
        }
        let rows = match self.script.cuts.as_slice() {
            [] => limit.rows,
            cuts => cuts[self.made % cuts.len()].min(limit.rows),
        };
        let event = self.inner.next(Limit { rows, ..limit }).await?;
        self.made += usize::from(matches!(event, Event::Cut(_)));
        Ok(event)
    }
    async fn release(&mut self) -> Result<()> {
        self.inner.release().await
    }
}

#[derive(Debug)]
struct ScriptedSink {
    inner: Box<dyn Sink>,
    script: Arc<Script>,
}

#[async_trait]
impl Sink for ScriptedSink {
    async fn commit(&mut self, commit: Commit) -> Result<Committed> {
        let number = self.script.begun.fetch_add(1, Ordering::SeqCst);
        while self.script.held.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(self.script.commit_waits).await;
        let result = match self.script.commit_fails {
            Some((fails, made)) if fails == number => {
                if made {
                    self.inner.commit(commit).await?;
                }
                Err(Error::external("the script ends the commit"))
            }
            _ => self.inner.commit(commit).await,
        };
        self.script.ended.fetch_add(1, Ordering::SeqCst);
        result
    }
}
