//! From producing a record to seeing its score, at one record per millisecond.
//!
//! ```text
//! embedded   feed ─► broker ─► job ─► broker ─► follower     all in this process, which is measured
//! Kafka      probe ─► broker ─► job ─► broker ─► probe       the probe is another process, a plain client without our code
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::MissedTickBehavior;

use super::cases::score_sql;
use super::input::{PARTITIONS, Producer};
use super::lab::Lab;
use super::measure::{Meter, Report, quantile_us};
use super::outputs::{next_ids, reader};
use crate::cli::Context;
use crate::connector::Delivery;
use crate::engine::UntilEnd;
use crate::error::{Error, Result};

/// The first second warms up: threads, caches and pages that every long-running process has.
pub(super) fn warm_up(rows: u64) -> u64 {
    (rows / 10).min(1_000)
}

/// How long rows took, in microseconds.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Latencies {
    p50: u64,
    p99: u64,
    max: u64,
}

impl Latencies {
    pub(super) fn of(all: &mut [Duration]) -> Self {
        Self { p50: quantile_us(all, 0.5), p99: quantile_us(all, 0.99), max: quantile_us(all, 1.0) }
    }
    /// One line.
    pub(super) fn json(&self) -> String {
        json!(self).to_string()
    }
}

/// One record per millisecond; from the call that produces it to the moment when a reader of the output holds its score.
pub(super) async fn latency(cx: &Context, lab: &Lab, rows: u64, delivery: Delivery) -> Result<Report> {
    lab.publish(1).await?;
    lab.warm().await?;
    lab.topics(PARTITIONS).await?;
    let delivery = match delivery {
        Delivery::ExactlyOnce => "exactly_once",
        Delivery::AtLeastOnce => "at_least_once",
    };
    cx.ui.info(&format!("one record per millisecond for {} s", rows / 1_000));
    let meter = Meter::start();
    let job = lab.job(&format!("SET delivery = '{delivery}'; {}", score_sql(lab)), UntilEnd::No, None).await?;
    let watching = async {
        match lab.is_kafka() {
            true => elsewhere(lab, rows).await,
            false => here(lab, rows).await,
        }
    };
    let latencies = tokio::select! {
        latencies = watching => latencies?,
        // A job that ends by itself has failed, and nothing would come any more.
        ended = job.wait() => return Err(ended.err().unwrap_or_else(|| Error::internal("the job ended by itself"))),
    };
    job.stop();
    job.wait().await?;
    let mut report = meter.stop(rows, &job.metrics());
    report.set("latency_p50_us", json!(latencies.p50));
    report.set("latency_p99_us", json!(latencies.p99));
    report.set("latency_max_us", json!(latencies.max));
    Ok(report)
}

/// Fed and watched by another process.
async fn elsewhere(lab: &Lab, rows: u64) -> Result<Latencies> {
    let said = lab.part(&["probe", &lab.input(), &lab.output(), &rows.to_string()])?.result().await?;
    serde_json::from_str(&said).map_err(|e| Error::internal(format!("the probe said: {said}")).source(e))
}

/// Fed and watched by this process.
async fn here(lab: &Lab, rows: u64) -> Result<Latencies> {
    let producer = Producer::new(lab.broker(), &lab.input()).await?;
    let mut source = reader(lab, true).await?;
    let sent = Sent::new(rows);
    let feeding = tokio::spawn(feed(producer, rows, Arc::clone(&sent)));
    let mut latencies = Vec::new();
    let mut there = 0;
    while there < rows
        && let Some(ids) = next_ids(source.as_mut()).await?
    {
        there += ids.len() as u64;
        latencies.extend(ids.into_iter().filter(|id| *id >= warm_up(rows)).filter_map(|id| sent.since(id)));
    }
    feeding.await.map_err(|e| Error::internal(format!("the producer ended early: {e}")))??;
    Ok(Latencies::of(&mut latencies))
}

/// Writes `rows` records, one per millisecond, each in a commit of its own; notes when each was handed over.
async fn feed(mut producer: Producer, rows: u64, sent: Arc<Sent>) -> Result<()> {
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for id in 0..rows {
        ticks.tick().await;
        sent.note(id);
        producer.write(1).await?;
    }
    Ok(())
}

/// When each record was handed to its broker, by id, in nanoseconds since the case began.
pub(super) struct Sent {
    began: Instant,
    at: Vec<AtomicU64>,
}

impl Sent {
    pub(super) fn new(rows: u64) -> Arc<Self> {
        Arc::new(Self { began: Instant::now(), at: (0..rows).map(|_| AtomicU64::new(0)).collect() })
    }
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
    pub(super) fn note(&self, id: u64) {
        if let Some(at) = usize::try_from(id).ok().and_then(|index| self.at.get(index)) {
            at.store(self.now(), Relaxed);
        }
    }
    /// How long ago a record was handed over.
    pub(super) fn since(&self, id: u64) -> Option<Duration> {
        let at = self.at.get(usize::try_from(id).ok()?)?.load(Relaxed);
        Some(Duration::from_nanos(self.now().saturating_sub(at)))
    }
}
