//! The cases.   prepare (not measured) ─► meter on ─► a job, as SQL ─► meter off ─► report
//!
//! A case measures a job as a user writes it: SQL in, the engine's own sources and sinks, exactly once, on the disk. What is
//! measured is this process: `latency` and `swap` therefore include what feeds them.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::MissedTickBehavior;

use super::input::{self, PARTITIONS, Producer};
use super::lab::{Child, Lab, MODEL, this_program};
use super::measure::{Meter, Report, quantile_us};
use crate::cli::Context;
use crate::connector::{Event, Limit, OffsetAt, Rows, Source, SourceSpec, Start, TopicSource};
use crate::engine::{EpochHook, UntilEnd};
use crate::error::{Error, Result};

const INPUT: &str = "bench-input";
const OUTPUT: &str = "bench-output";

/// The tables, and a job that fills the output with `select` of the input.
fn job_sql(select: &str) -> String {
    let columns = input::columns();
    format!(
        "CREATE TABLE input ({columns}) WITH (connector = 'kafka', topic = '{INPUT}', format = 'json');
         CREATE TABLE output WITH (connector = 'kafka', topic = '{OUTPUT}', format = 'json',
                                   topic.partitions = '{PARTITIONS}') AS SELECT {select} FROM input;"
    )
}

fn score_sql() -> String {
    job_sql(&format!("id, score('{MODEL}', {}) AS score", input::features()))
}

/// JSON to JSON without a model.
pub(super) async fn pass_through(cx: &Context, rows: u64) -> Result<Report> {
    let lab = Lab::new(cx).await?;
    backlog(cx, &lab, rows, &job_sql("*")).await
}

/// JSON to the network to JSON.
pub(super) async fn mlp(cx: &Context, rows: u64) -> Result<Report> {
    let lab = Lab::new(cx).await?;
    lab.publish(1).await?;
    lab.warm().await?;
    backlog(cx, &lab, rows, &score_sql()).await
}

/// A job over `rows` that are there already, from its SQL to its last commit.
async fn backlog(cx: &Context, lab: &Lab, rows: u64, sql: &str) -> Result<Report> {
    cx.ui.info(&format!("producing {rows} records in {}", lab.path().display()));
    Producer::new(lab.broker(), INPUT).await?.fill(rows).await?;
    cx.ui.info("running the job");
    let meter = Meter::start();
    let job = lab.job(sql, UntilEnd::Leave, None).await?;
    job.wait().await?;
    let report = meter.stop(rows, &job.metrics());
    let there: i64 = lab.broker().offsets(OUTPUT, OffsetAt::Latest).await?.iter().sum();
    if u64::try_from(there).ok() != Some(rows) {
        return Err(Error::internal(format!("{rows} rows went in and {there} came out")));
    }
    Ok(report)
}

/// How many rows per second are scored while versions are swapped.
const SWAP_RATE: u64 = 100_000;
/// Between two publications. Half of it is for measuring the same without a swap.
const SWAP_EVERY: Duration = Duration::from_millis(2_400);
/// How long after a swap (and, for comparison, without one) the longest gap is looked for.
const WINDOW: Duration = Duration::from_secs(1);

/// New versions go live while rows are scored at a steady rate. The rows come from the generator, so that what is seen is the
/// query's own rhythm and not that of a producer's commits.
///
/// A pause is the longest gap between two epochs' ends from the moment a version is published (it is then checked and
/// loaded, beside the job) to a second after it went live, minus the median gap. `quiet_` says what the same is in a second
/// without a swap: the noise of the machine and the disk.
pub(super) async fn swap(cx: &Context, rows: u64) -> Result<Report> {
    let lab = Lab::new(cx).await?;
    let mut version = lab.publish(1).await?;
    lab.warm().await?;
    let seen: Arc<Mutex<Vec<(Instant, u64)>>> = Arc::default();
    let hook: EpochHook = {
        let seen = Arc::clone(&seen);
        Arc::new(move |report| {
            let version = report.models.get(MODEL).copied().unwrap_or(0);
            seen.lock().unwrap_or_else(PoisonError::into_inner).push((report.ended, version));
        })
    };
    let took = Duration::from_secs_f64(rows as f64 / SWAP_RATE as f64);
    cx.ui.info(&format!("scoring {SWAP_RATE} rows/s for {:.0} s, a new version every {SWAP_EVERY:?}", took.as_secs_f64()));
    let meter = Meter::start();
    let job = lab.job(&generated_sql(rows), UntilEnd::No, Some(hook)).await?;
    let mut published = BTreeMap::new();
    tokio::time::sleep(SWAP_EVERY / 2).await;
    while job.started().elapsed() + SWAP_EVERY / 2 < took && version < 100 && !job.status().ended() {
        let at = Instant::now();
        version = lab.publish(u8::try_from(version + 1).unwrap_or(0)).await?;
        published.insert(version, at);
        tokio::time::sleep(SWAP_EVERY.saturating_sub(at.elapsed())).await;
    }
    job.wait().await?;
    let mut report = meter.stop(rows, &job.metrics());
    let epochs = std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner));
    let (mut pauses, mut quiet) = pauses(&epochs, &published);
    if pauses.is_empty() {
        let least = SWAP_RATE * 3;
        return Err(Error::usage(format!("{rows} rows are too few for a swap")).hint(format!("Take at least {least}.")));
    }
    report.set("swaps", json!(pauses.len()));
    report.set("pause_p50_us", json!(quantile_us(&mut pauses, 0.5)));
    report.set("pause_p99_us", json!(quantile_us(&mut pauses, 0.99)));
    report.set("quiet_p50_us", json!(quantile_us(&mut quiet, 0.5)));
    report.set("quiet_p99_us", json!(quantile_us(&mut quiet, 0.99)));
    Ok(report)
}

/// The network over made-up features, at [`SWAP_RATE`].
fn generated_sql(rows: u64) -> String {
    let features: Vec<String> = (0..input::FEATURES).map(|salt| format!("uniform(n, {salt})")).collect();
    format!(
        "CREATE TABLE input (n BIGINT, ts TIMESTAMP) WITH (connector = 'generator', rows = '{rows}', rate = '{SWAP_RATE}');
         CREATE TABLE output WITH (connector = 'kafka', topic = '{OUTPUT}', format = 'json',
                                   topic.partitions = '{PARTITIONS}') AS
         SELECT n AS id, score('{MODEL}', {}) AS score FROM input;",
        features.join(", ")
    )
}

/// The pause of each swap, and of the seconds before each publication, where nothing happened.
fn pauses(epochs: &[(Instant, u64)], published: &BTreeMap<u64, Instant>) -> (Vec<Duration>, Vec<Duration>) {
    let gaps: Vec<(Instant, Instant, u64)> = epochs.windows(2).map(|pair| (pair[0].0, pair[1].0, pair[1].1)).collect();
    let mut lengths: Vec<Duration> = gaps.iter().map(|(from, to, _)| *to - *from).collect();
    let median = Duration::from_micros(quantile_us(&mut lengths, 0.5));
    let longest = |from: Instant, to: Instant| {
        // A gap belongs to the second in which it ends: one that a publication falls into is no quiet one.
        let within = gaps.iter().filter(|(_, ended, _)| *ended > from && *ended <= to);
        within.map(|(began, ended, _)| *ended - *began).max().map(|gap| gap.saturating_sub(median))
    };
    let mut pauses = Vec::new();
    let mut quiet = Vec::new();
    for (version, at) in published {
        if let Some((_, live, _)) = gaps.iter().find(|(_, _, used)| used == version) {
            pauses.extend(longest(*at, *live + WINDOW));
            quiet.extend(at.checked_sub(WINDOW).and_then(|from| longest(from, *at)));
        }
    }
    (pauses, quiet)
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

async fn finished(task: tokio::task::JoinHandle<Result<()>>) -> Result<()> {
    task.await.map_err(|e| Error::internal(format!("the producer ended early: {e}")))?
}

/// When each record was handed to its broker, by id, in nanoseconds since the case began.
struct Sent {
    began: Instant,
    at: Vec<AtomicU64>,
}

impl Sent {
    fn new(rows: u64) -> Arc<Self> {
        Arc::new(Self { began: Instant::now(), at: (0..rows).map(|_| AtomicU64::new(0)).collect() })
    }
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
    fn note(&self, id: u64) {
        if let Some(at) = usize::try_from(id).ok().and_then(|index| self.at.get(index)) {
            at.store(self.now(), Relaxed);
        }
    }
    /// How long ago a record was handed over.
    fn since(&self, id: u64) -> Option<Duration> {
        let at = self.at.get(usize::try_from(id).ok()?)?.load(Relaxed);
        Some(Duration::from_nanos(self.now().saturating_sub(at)))
    }
}

/// One record per millisecond; from the call that produces it to the moment when a follower of the output holds its score.
pub(super) async fn latency(cx: &Context, rows: u64) -> Result<Report> {
    let lab = Lab::new(cx).await?;
    lab.publish(1).await?;
    lab.warm().await?;
    // The first second warms up: threads, caches and pages that every long-running process has.
    let warm_up = (rows / 10).min(1_000);
    let producer = Producer::new(lab.broker(), INPUT).await?;
    cx.ui.info(&format!("one record per millisecond for {} s", rows / 1_000));
    let meter = Meter::start();
    let job = lab.job(&score_sql(), UntilEnd::No, None).await?;
    let follower = TopicSource { topic: OUTPUT.into(), start: Start::At(OffsetAt::Latest), ends: None, partitions: None };
    let spec = SourceSpec { topics: vec![follower], budget: 8 << 20, ..SourceSpec::default() };
    let mut source = lab.broker().source(spec).await?;
    let sent = Sent::new(rows);
    let feeding = tokio::spawn(feed(producer, rows, Arc::clone(&sent)));
    let mut latencies = Vec::new();
    let mut there = 0;
    while there < rows {
        let ids = next_ids(source.as_mut()).await?;
        there += ids.len() as u64;
        latencies.extend(ids.into_iter().filter(|id| *id >= warm_up).filter_map(|id| sent.since(id)));
    }
    finished(feeding).await?;
    job.stop();
    job.wait().await?;
    let mut report = meter.stop(rows, &job.metrics());
    report.set("latency_p50_us", json!(quantile_us(&mut latencies, 0.5)));
    report.set("latency_p99_us", json!(quantile_us(&mut latencies, 0.99)));
    report.set("latency_max_us", json!(quantile_us(&mut latencies, 1.0)));
    Ok(report)
}

/// The ids of the rows that come next.
async fn next_ids(source: &mut dyn Source) -> Result<Vec<u64>> {
    loop {
        let Event::Cut(cut) = source.next(Limit { rows: 8_192, bytes: 1 << 20 }).await? else { continue };
        let mut ids = Vec::new();
        for chunk in cut.chunks {
            let Rows::Records(records) = &chunk.rows else { continue };
            ids.extend(records.values.iter().flatten().filter_map(id_of));
        }
        if !ids.is_empty() {
            return Ok(ids);
        }
    }
}

/// The id of an output row, `{"id":17,...`.
fn id_of(value: &[u8]) -> Option<u64> {
    let digits = value.strip_prefix(b"{\"id\":")?;
    let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}

/// How often the start is measured.
const STARTS: usize = 7;

/// From the start of a process that runs a saved query to its first row in the output, as another process sees it.
pub(super) async fn start(cx: &Context, rows: u64) -> Result<Report> {
    let lab = Lab::new(cx).await?;
    lab.publish(1).await?;
    Producer::new(lab.broker(), INPUT).await?.fill(rows).await?;
    let meter = Meter::start();
    let mut times = Vec::with_capacity(STARTS);
    for number in 0..STARTS {
        let file = lab.path().join(format!("start{number}.sql"));
        let written = tokio::fs::write(&file, score_sql()).await;
        written.map_err(|e| Error::external(format!("cannot write \"{}\"", file.display())).source(e))?;
        times.push(first_row(&lab, &file).await?);
    }
    let mut report = meter.stop(rows * STARTS as u64, &Default::default());
    report.set("starts", json!(STARTS));
    report.set("first_row_p50_ms", json!(quantile_us(&mut times, 0.5) as f64 / 1e3));
    report.set("first_row_max_ms", json!(quantile_us(&mut times, 1.0) as f64 / 1e3));
    Ok(report)
}

async fn first_row(lab: &Lab, file: &std::path::Path) -> Result<Duration> {
    let ends = || async {
        match lab.broker().topic(OUTPUT).await? {
            Some(_) => Ok(lab.broker().offsets(OUTPUT, OffsetAt::Latest).await?.iter().sum::<i64>()),
            None => Ok::<_, Error>(0),
        }
    };
    let before = ends().await?;
    let mut command = Command::new(this_program()?);
    command.arg("run").arg(file).args(["--until-end", "--quiet", "--broker", &lab.address()]);
    let begun = Instant::now();
    let mut child = Child::spawn(command.stdout(Stdio::null()))?;
    let first = loop {
        if ends().await? > before {
            break begun.elapsed();
        }
        if child.ended()?.is_some_and(|status| !status.success()) {
            return Err(Error::external("the query failed").hint("Its own words stand above."));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    child.wait().await?;
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_the_longest_gap_around_a_swap_less_the_median() {
        let begin = Instant::now();
        let at = |ms: u64| begin + Duration::from_millis(ms);
        // An epoch each 10 ms for 6 s; one of 35 ms when version 2 comes, one of 60 ms long after.
        let mut epochs = Vec::new();
        let mut now = 0;
        while now < 6_000 {
            now += if epochs.len() == 300 {
                35
            } else if epochs.len() == 500 {
                60
            } else {
                10
            };
            epochs.push((at(now), if epochs.len() >= 301 { 2 } else { 1 }));
        }
        let published = BTreeMap::from([(2, at(3_005))]);
        let (pauses, quiet) = pauses(&epochs, &published);
        assert_eq!((pauses, quiet), (vec![Duration::from_millis(25)], vec![Duration::ZERO]));
    }

    #[test]
    fn the_id_is_read_from_the_output() {
        assert_eq!(id_of(b"{\"id\":170,\"score\":0.5}"), Some(170));
        assert_eq!(id_of(b"{\"score\":0.5}"), None);
    }
}
