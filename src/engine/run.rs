//! From a planned query to one that runs: sources, lanes, sink.   plan + tables ─► inputs ─► [`Driver`]
//!
//! All topics of a query come from one source (one consumer group); each generator or file is a source of its own. A topic
//! that several leaves read is read once.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use futures::FutureExt;
use tokio::sync::watch;

use crate::config::Options;
use crate::connector::{Broker, Limit, OffsetAt, Position, Source, SourceSpec, Start, TopicSource};
use crate::error::{Error, Result};
use crate::sql::TableOptions;
use crate::sql::table::{Leaf, instantiate};
use crate::stream::driver::{Input, Lease};
use crate::stream::lane::{Lane, Policy};
use crate::stream::write::{TopicWriter, WriteSpec};

use super::leased::Leased;
use super::notices::Notices;
use super::tables::{Table, endless, existing};

/// A query's inputs, before they are opened.
pub struct Inputs {
    /// The tables that the leaves of the plan read, in their order.
    pub tables: Vec<Arc<Table>>,
    /// The job's group; `None` for a follower.
    pub group: Option<String>,
    /// Where topics begin that say nothing and have no committed offsets.
    pub unset: OffsetAt,
    /// Whether to stop at the ends of now.
    pub until_end: bool,
    /// The ends to stop at, where they were taken before: those of a job's first start, not of its next attempt.
    pub ends: Vec<(Arc<str>, Vec<i64>)>,
    /// Where each topic began then: what has no committed offsets yet begins there again, and not at a later "latest".
    pub begins: Vec<(Arc<str>, Vec<i64>)>,
    /// How many bytes may wait, read ahead.
    pub budget: usize,
    /// The ear.
    pub notices: Notices,
}

/// A table that has a source of its own, with the leaves that read it: together, so that it has one position.
struct Other<'a> {
    table: &'a Arc<Table>,
    /// What its position is committed under.
    name: Arc<str>,
    leaves: Vec<usize>,
}

impl<'a> Other<'a> {
    /// `table`, which none of `others` is; another one over the same file has a position of its own.
    fn new(table: &'a Arc<Table>, leaf: usize, others: &[Other<'a>]) -> Self {
        let name = &table.rows.topic;
        let taken = others.iter().any(|other| other.name == *name);
        let name = if taken { format!("{name}#{}", table.definition.name).into() } else { Arc::clone(name) };
        Self { table, name, leaves: vec![leaf] }
    }
}

/// The `kafka.*` properties of all topics' tables, which one client reads; each with the table that set it first.
#[derive(Default)]
struct Properties<'t>(BTreeMap<&'t str, (&'t str, &'t str)>);

impl<'t> Properties<'t> {
    fn add(&mut self, table: &'t str, properties: &'t Options) -> Result<()> {
        for (name, value) in properties.iter() {
            let (first, known) = *self.0.entry(name).or_insert((table, value));
            if known != value {
                let (first, table) = (first.min(table), first.max(table));
                let error = Error::user(format!(
                    "tables \"{first}\" and \"{table}\" set the Kafka property \"{name}\" to different values, and one client reads both"
                ));
                return Err(
                    error.hint("Set it to one value in both, or for every client with -X; or read them in two jobs.")
                );
            }
        }
        Ok(())
    }

    fn all(&self) -> Options {
        self.0.iter().map(|(name, (_, value))| ((*name).to_owned(), (*value).to_owned())).collect()
    }
}

/// Opened inputs.
pub struct Opened {
    /// The sources.
    pub inputs: Vec<Input>,
    /// The most partitions that any topic has.
    pub partitions: usize,
    /// Where each topic begins without committed offsets.
    pub starts: Vec<(Arc<str>, Start)>,
    /// Where each topic's partitions begin if nothing is committed: `payments from 0=12,1=9`.
    pub begins: Vec<(Arc<str>, Vec<i64>)>,
    /// Where each topic's partitions ended when it was opened.
    pub ends: Vec<(Arc<str>, Vec<i64>)>,
}

impl Inputs {
    /// Opens them. With a group, this is where the job takes its place.
    ///
    /// # Errors
    /// `User` for a missing topic or a table without an end; `External` if the job runs elsewhere already.
    pub async fn open(self, broker: &Arc<dyn Broker>) -> Result<Opened> {
        let mut topics: Vec<TopicSource> = Vec::new();
        let mut feeds: Vec<Vec<usize>> = Vec::new();
        let mut properties = Properties::default();
        let (mut starts, mut begins, mut ends_seen, mut partitions) = (Vec::new(), Vec::new(), Vec::new(), 1);
        let mut others: Vec<Other<'_>> = Vec::new();
        for (leaf, table) in self.tables.iter().enumerate() {
            let Some(kafka) = table.kafka() else {
                match others.iter_mut().find(|other| Arc::ptr_eq(other.table, table)) {
                    Some(other) => other.leaves.push(leaf),
                    None => others.push(Other::new(table, leaf, &others)),
                }
                continue;
            };
            properties.add(&table.definition.name, &kafka.properties)?;
            if let Some(known) = topics.iter().position(|t| *t.topic == *kafka.topic) {
                feeds[known].push(leaf);
                continue;
            }
            let topic = existing(broker, &kafka.topic).await?;
            let ends = match self.ends.iter().find(|(name, _)| **name == *topic.name) {
                Some((_, ends)) => ends.clone(),
                None => broker.offsets(&topic.name, OffsetAt::Latest).await?,
            };
            partitions = partitions.max(ends.len());
            let name: Arc<str> = topic.name.as_str().into();
            let known = self.begins.iter().find(|(name, _)| **name == *topic.name);
            let wanted = match (table.start(self.unset.clone()), known) {
                (Start::At(OffsetAt::Latest), Some((_, begin))) => {
                    Start::Offsets((0..).zip(begin.iter().copied()).collect())
                }
                (wanted, _) => wanted,
            };
            let begin = match &wanted {
                Start::At(OffsetAt::Latest) => ends.clone(),
                Start::At(at) => broker.offsets(&topic.name, at.clone()).await?,
                Start::Offsets(offsets) => {
                    let mut begin = broker.offsets(&topic.name, OffsetAt::Earliest).await?;
                    for (place, offset) in (0..).zip(&mut begin) {
                        *offset = offsets.get(&place).copied().unwrap_or(*offset);
                    }
                    begin
                }
            };
            // What begins at "latest" begins at the very offsets that are printed.
            let start = match &wanted {
                Start::At(OffsetAt::Latest) => Start::Offsets((0..).zip(begin.iter().copied()).collect()),
                start => start.clone(),
            };
            starts.push((Arc::clone(&name), wanted));
            begins.push((Arc::clone(&name), begin));
            ends_seen.push((Arc::clone(&name), ends.clone()));
            topics.push(TopicSource { topic: name, start, ends: self.until_end.then_some(ends), partitions: None });
            feeds.push(vec![leaf]);
        }
        let anchored: Vec<bool> = starts.iter().map(|(_, start)| matches!(start, Start::At(OffsetAt::Latest))).collect();
        let leased = self.group.is_some() && !others.is_empty();
        let lease = if leased { broker.lease().await? } else { None }.map(|name| {
            // Nothing of it is wanted but the right to read it.
            let (start, ends) = (Start::At(OffsetAt::Earliest), Some(vec![0]));
            topics.push(TopicSource { topic: name.as_str().into(), start, ends, partitions: None });
            feeds.push(Vec::new());
            Lease { topic: topics.len() - 1, gate: watch::Sender::new(false) }
        });
        let gate = lease.as_ref().map(|lease| lease.gate.subscribe());
        let names: Vec<Arc<str>> = topics.iter().map(|t| Arc::clone(&t.topic)).collect();
        let mut inputs = Vec::new();
        if !topics.is_empty() || self.group.is_some() {
            let spec = SourceSpec { topics, group: self.group.clone(), budget: self.budget, properties: properties.all() };
            let finished = spec.topics.is_empty();
            let source = broker.source(spec).await?;
            inputs.push(Input { source, topics: names, feeds, committed: None, finished, anchored, lease });
        }
        // Not before the job's place is taken: until then another process may move them.
        let committed = if gate.is_some() { Vec::new() } else { self.committed(broker, &others).await? };
        for Other { table, name, leaves } in others {
            if let TableOptions::Generator(generator) = &table.options
                && generator.rows.is_none()
                && self.until_end
            {
                return Err(endless(&table.definition.name));
            }
            let position = committed.iter().find(|p| p.topic == name);
            let committed = position.map(|p| p.metadata.clone());
            let source = match (&gate, &self.group) {
                (Some(gate), Some(group)) => {
                    let (broker, group, table, name) =
                        (Arc::clone(broker), group.clone(), Arc::clone(table), Arc::clone(&name));
                    let (shown, notices) = (table.definition.name.clone(), self.notices.clone());
                    let open = move || {
                        let (broker, group, table) = (Arc::clone(&broker), group.clone(), Arc::clone(&table));
                        own_source(broker, group, table, name.to_string()).boxed()
                    };
                    Box::new(Leased::new(gate.clone(), shown, notices, open))
                }
                _ => table.own_source(position.map_or(0, |p| p.offset))?,
            };
            let (topics, feeds, anchored) = (vec![name], vec![leaves], Vec::new());
            inputs.push(Input { source, topics, feeds, committed, finished: false, anchored, lease: None });
        }
        Ok(Opened { inputs, partitions, starts, begins, ends: ends_seen })
    }

    /// How far the job got in sources that are no topics.
    async fn committed(&self, broker: &Arc<dyn Broker>, others: &[Other<'_>]) -> Result<Vec<Position>> {
        let Some(group) = self.group.as_ref().filter(|_| !others.is_empty()) else { return Ok(Vec::new()) };
        let names: Vec<String> = others.iter().map(|other| other.name.to_string()).collect();
        broker.positions(group, &names).await
    }
}

/// A table's own source, at what the group committed.
async fn own_source(
    broker: Arc<dyn Broker>,
    group: String,
    table: Arc<Table>,
    name: String,
) -> Result<(Box<dyn Source>, Option<String>)> {
    let position = broker.positions(&group, &[name]).await?.pop();
    let source = table.own_source(position.as_ref().map_or(0, |p| p.offset))?;
    Ok((source, position.map(|p| p.metadata)))
}

/// Makes `count` lanes of a plan.
///
/// # Errors
/// `User` if a format cannot carry a column's type.
pub fn lanes(
    count: usize,
    plan: &Arc<dyn ExecutionPlan>,
    leaves: &[Leaf],
    context: &Arc<TaskContext>,
    writer: Option<&WriteSpec>,
    policy: &Policy,
) -> Result<Vec<Lane>> {
    (0..count.max(1))
        .map(|_| {
            let (plan, inputs) = instantiate(plan, leaves)?;
            let writer = writer.cloned().map(TopicWriter::new).transpose()?;
            Ok(Lane::new(plan, inputs, Arc::clone(context), writer, policy.clone()))
        })
        .collect()
}

/// How many lanes a query over `partitions` gets: no more than there are cores.
#[must_use]
pub fn lane_count(partitions: usize) -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(partitions).max(1)
}

/// How a budget of bytes is shared: what is read ahead, what one epoch takes, what waits for a commit.
///
/// As much as waits for a commit may be in one that is on its way, and a broker's client may hold a copy of it. The rest is room for what epochs make of their rows: columns, features, scores.
#[must_use]
pub fn share_budget(budget: usize, rows: usize) -> (usize, Limit, usize) {
    (budget / 4, Limit { rows, bytes: (budget / 16).max(64 << 10) }, budget / 8)
}

/// The consumer group of a job: characters that a group cannot have become `-`.
#[must_use]
pub fn group_of(job: &str) -> String {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    format!("vatic-{}", job.chars().map(|c| if legal(c) { c } else { '-' }).collect::<String>())
}
