//! What a job is made of, so that it can be made again.   plan + tables + settings ─► [`Blueprint`] ─► [`Driver`], each attempt anew
//!
//! A job outlives brokers that go away, rebalances that take its partitions, commits without an answer. After each it is put
//! together again: new sources, which begin at what is committed, a new sink, which ends what the old one left, new lanes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use tokio::sync::watch;

use crate::connector::{Broker, OffsetAt, SinkSpec};
use crate::error::{Error, Result};
use crate::metrics::JobMetrics;
use crate::model::Registry;
use crate::sql::table::Leaf;
use crate::stream::driver::Driver;
use crate::stream::epoch_context::EpochCell;
use crate::stream::lane::Policy;
use crate::stream::write::WriteSpec;

use super::job::{EpochHook, Reporter};
use super::notices::Notices;
use super::run::{Inputs, Opened, lane_count, lanes, share_budget};
use super::tables::Table;

/// Everything that an attempt of a job needs.
pub struct Blueprint {
    /// Where it runs.
    pub broker: Arc<dyn Broker>,
    /// The job's name.
    pub name: String,
    /// The tables that the leaves of the plan read.
    pub tables: Vec<Arc<Table>>,
    /// The plan.
    pub physical: Arc<dyn ExecutionPlan>,
    /// Its leaves.
    pub leaves: Vec<Leaf>,
    /// What it is executed with.
    pub context: Arc<TaskContext>,
    /// The cell that its operators read the epoch from.
    pub cell: Arc<EpochCell>,
    /// The models that it must have.
    pub needs: BTreeSet<String>,
    /// The registry, if it scores.
    pub registry: Option<Arc<Registry>>,
    /// How it writes.
    pub write: WriteSpec,
    /// What it does with records at fault.
    pub policy: Policy,
    /// What it commits with; holds the group.
    pub sink: SinkSpec,
    /// `memory.budget`, in bytes.
    pub budget: usize,
    /// `epoch.max_rows`
    pub max_rows: usize,
    /// Where each topic ends, if the job stops there.
    pub ends: Option<Vec<(Arc<str>, Vec<i64>)>>,
    /// Where each topic began at the job's first start, if nothing was committed.
    pub begins: Vec<(Arc<str>, Vec<i64>)>,
    /// The query's fingerprint.
    pub fingerprint: String,
    /// Its counters, which go on counting.
    pub metrics: Arc<JobMetrics>,
    /// Turns true when it shall end.
    pub stop: watch::Receiver<bool>,
    /// The ear.
    pub notices: Notices,
    /// Hears of epochs.
    pub hook: Option<EpochHook>,
}

impl Blueprint {
    /// A driver over inputs that are open.
    ///
    /// # Errors
    /// Whatever keeps the sink from being opened.
    pub async fn driver(&self, opened: Opened) -> Result<Driver> {
        let count = lane_count(opened.partitions);
        let (_, limit, pending_bytes) = share_budget(self.budget, self.max_rows);
        Ok(Driver {
            lanes: lanes(count, &self.physical, &self.leaves, &self.context, Some(&self.write), &self.policy)?,
            inputs: opened.inputs,
            sink: Some(self.broker.sink(self.sink.clone()).await?),
            follower: None,
            registry: self.registry.clone(),
            cell: Arc::clone(&self.cell),
            metrics: Arc::clone(&self.metrics),
            needs: self.needs.clone(),
            fingerprint: self.fingerprint.clone(),
            limit,
            pending_bytes,
            stop: self.stop.clone(),
            observer: Arc::new(Reporter {
                job: Some(self.name.clone()),
                starts: opened.starts,
                notices: self.notices.clone(),
                hook: self.hook.clone(),
            }),
        })
    }

    /// Another attempt, from what is committed.
    ///
    /// # Errors
    /// Whatever keeps sources or sink from being opened.
    pub async fn again(&self) -> Result<Driver> {
        let inputs = self.tables.iter().filter_map(|table| table.kafka()).map(|kafka| &*kafka.topic);
        for topic in inputs.chain([&*self.write.table.topic]) {
            self.still_there(topic).await?;
        }
        if self.policy.dead_letters.is_some() {
            super::insert::ensure_dead_letters(&self.broker).await?;
        }
        let inputs = Inputs {
            tables: self.tables.clone(),
            group: self.sink.group.clone(),
            unset: OffsetAt::Earliest,
            until_end: self.ends.is_some(),
            ends: self.ends.clone().unwrap_or_default(),
            begins: self.begins.clone(),
            budget: share_budget(self.budget, 0).0,
            notices: self.notices.clone(),
        };
        self.driver(inputs.open(&self.broker).await?).await
    }

    /// Fails if a topic was deleted under the job. A broker that has just come back may not know of all topics yet, so that is not
    /// believed at once.
    async fn still_there(&self, topic: &str) -> Result<()> {
        const LOOKS: u32 = 10;
        for look in 0..LOOKS {
            if look > 0 {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            if self.broker.topic(topic).await?.is_some() {
                return Ok(());
            }
        }
        let error = Error::external(format!("topic \"{topic}\" was deleted while the job ran"));
        Err(error.hint("Create the topic again and start the job again; RESET JOB forgets its positions in the old one."))
    }
}
