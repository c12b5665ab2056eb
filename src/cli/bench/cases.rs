//! The cases.   prepare (not measured) ─► meter on ─► a job, as SQL ─► meter off ─► report
//!
//! A case measures a job as a user writes it: SQL in, the engine's own sources and sinks, exactly once, on the disk. What is
//! measured is this process: on an embedded broker `latency` and `swap` therefore include what feeds them.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;

use super::input::{self, PARTITIONS, Producer};
use super::lab::{Child, Lab, MODEL};
use super::measure::{Meter, Report, quantile_us};
use super::outputs;
use crate::cli::Context;
use crate::connector::OffsetAt;
use crate::engine::{EpochHook, UntilEnd};
use crate::error::{Error, Result};

/// The tables, and a job that fills the output with `select` of the input.
fn job_sql(lab: &Lab, select: &str) -> String {
    let (columns, input, output, bad_records) = (input::columns(), lab.input(), lab.output(), lab.bad_records());
    format!(
        "CREATE TABLE input ({columns}) WITH (connector = 'kafka', topic = '{input}', format = 'json'{bad_records});
         CREATE TABLE output WITH (connector = 'kafka', topic = '{output}', format = 'json') AS SELECT {select} FROM input;"
    )
}

/// The job of most cases: what comes is scored.
pub(super) fn score_sql(lab: &Lab) -> String {
    job_sql(lab, &format!("id, score('{MODEL}', {}) AS score", input::features()))
}

/// JSON to JSON without a model.
pub(super) async fn pass_through(cx: &Context, lab: &Lab, rows: u64) -> Result<Report> {
    backlog(cx, lab, rows, &job_sql(lab, "*")).await
}

/// JSON to the network to JSON.
pub(super) async fn mlp(cx: &Context, lab: &Lab, rows: u64) -> Result<Report> {
    lab.publish(1).await?;
    lab.warm().await?;
    backlog(cx, lab, rows, &score_sql(lab)).await
}

/// Fills the input: on Kafka from another process, for a client keeps memory.
pub(super) async fn fill(lab: &Lab, rows: u64, partitions: i32) -> Result<()> {
    lab.topics(partitions).await?;
    if lab.is_kafka() {
        return lab.part(&["fill", &lab.input(), &rows.to_string()])?.result().await.map(|_| ());
    }
    Producer::new(lab.broker(), &lab.input()).await?.fill(rows).await
}

/// A job over `rows` that are there already, from its SQL to its last commit.
async fn backlog(cx: &Context, lab: &Lab, rows: u64, sql: &str) -> Result<Report> {
    cx.ui.info(&format!("producing {rows} records on {}", lab.broker().address()));
    fill(lab, rows, PARTITIONS).await?;
    cx.ui.info("running the job");
    let meter = Meter::start();
    let job = lab.job(sql, UntilEnd::Leave, None).await?;
    job.wait().await?;
    let report = meter.stop(rows, &job.metrics());
    outputs::each_once(lab, rows).await?;
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
pub(super) async fn swap(cx: &Context, lab: &Lab, rows: u64) -> Result<Report> {
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
    let job = lab.job(&generated_sql(lab, rows), UntilEnd::No, Some(hook)).await?;
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
fn generated_sql(lab: &Lab, rows: u64) -> String {
    let output = lab.output();
    let features: Vec<String> = (0..input::FEATURES).map(|salt| format!("uniform(n, {salt})")).collect();
    format!(
        "CREATE TABLE input (n BIGINT, ts TIMESTAMP) WITH (connector = 'generator', rows = '{rows}', rate = '{SWAP_RATE}');
         CREATE TABLE output WITH (connector = 'kafka', topic = '{output}', format = 'json',
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

/// How often the start is measured.
const STARTS: usize = 7;

/// From the start of a process that runs a saved query to its first row in the output, as another process sees it.
pub(super) async fn start(lab: &Lab, rows: u64) -> Result<Report> {
    lab.publish(1).await?;
    fill(lab, rows, PARTITIONS).await?;
    let meter = Meter::start();
    let mut times = Vec::with_capacity(STARTS);
    for number in 0..STARTS {
        let file = lab.path().join(format!("start{number}.sql"));
        let sql = lab.preamble(&format!("start{number}")) + &score_sql(lab);
        let written = tokio::fs::write(&file, sql).await;
        written.map_err(|e| Error::external(format!("cannot write \"{}\"", file.display())).source(e))?;
        times.push(first_row(lab, &file).await?);
    }
    let mut report = meter.stop(rows * STARTS as u64, &Default::default());
    report.set("starts", json!(STARTS));
    report.set("first_row_p50_ms", json!(quantile_us(&mut times, 0.5) as f64 / 1e3));
    report.set("first_row_max_ms", json!(quantile_us(&mut times, 1.0) as f64 / 1e3));
    Ok(report)
}

async fn first_row(lab: &Lab, file: &std::path::Path) -> Result<Duration> {
    let output = lab.output();
    let ends = || async { Ok::<i64, Error>(lab.broker().offsets(&output, OffsetAt::Latest).await?.iter().sum()) };
    let before = ends().await?;
    let mut command = lab.command(&["run", &file.to_string_lossy(), "--until-end", "--quiet"])?;
    let begun = Instant::now();
    let mut child = Child::spawn(command.stdout(Stdio::null()))?;
    let first = loop {
        if ends().await? > before {
            break begun.elapsed();
        }
        if child.ended()?.is_some_and(|status| !status.success()) {
            return Err(Error::external("the query failed").hint("Its own words stand above."));
        }
        // Asking Kafka takes time of the machine that is measured.
        tokio::time::sleep(Duration::from_millis(if lab.is_kafka() { 5 } else { 1 })).await;
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
}
