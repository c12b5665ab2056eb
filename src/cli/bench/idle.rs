//! What a job over many partitions uses while nothing comes.   some records ─► quiet ─► meter on ─► 20 s ─► meter off

use std::time::Duration;

use serde_json::json;

use super::cases::{fill, score_sql};
use super::lab::Lab;
use super::measure::{Meter, Report};
use crate::cli::Context;
use crate::engine::UntilEnd;
use crate::error::{Error, Result};

/// How many partitions the input has.
const PARTITIONS: i32 = 1_000;
/// How long it is looked at.
const IDLE: Duration = Duration::from_secs(20);
/// What the last records set in motion has ended after this time.
const QUIET: Duration = Duration::from_secs(3);

/// `rows` records, spread over the partitions, go through the job; then it is idle.
pub(super) async fn idle(cx: &Context, lab: &Lab, rows: u64) -> Result<Report> {
    lab.publish(1).await?;
    fill(lab, rows, PARTITIONS).await?;
    let job = lab.job(&score_sql(lab), UntilEnd::No, None).await?;
    while job.metrics().rows_out < rows {
        if job.status().ended() {
            job.wait().await?;
            return Err(Error::internal("the job ended by itself"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(QUIET).await;
    cx.ui.info(&format!("a job over {PARTITIONS} partitions is idle for {} s", IDLE.as_secs()));
    let (commits, meter) = (job.metrics().commits, Meter::start());
    tokio::time::sleep(IDLE).await;
    let mut report = meter.stop(rows, &job.metrics());
    if job.metrics().commits != commits {
        return Err(Error::internal("the job was not idle"));
    }
    job.stop();
    job.wait().await?;
    report.set("partitions", json!(PARTITIONS));
    report.set("core_percent", json!(report.share_of_a_core()));
    Ok(report)
}
