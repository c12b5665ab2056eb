//! What jobs do, as lines for people.   jobs ─► every second (terminal) or ten (log) ─► [`Ui`]
//!
//! In a log each line begins with the time (UTC), and so does what is told between such lines.
//!
//! ```text
//! alerts.alerts: 1204001 rows in, 3310 out, 52004 rows/s, lag 12, epoch p99 1.9 ms, 0 dead letters, fraud:8
//! ```

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::ui::Ui;
use crate::engine::{Job, JobStatus};
use crate::metrics::JobCounts;

const REDRAW: Duration = Duration::from_secs(1);
const LOG: Duration = Duration::from_secs(10);

/// The jobs that one command has started, as far as they are shown.
#[derive(Debug, Clone, Default)]
pub struct Jobs(Arc<Mutex<Vec<Arc<Job>>>>);

impl Jobs {
    /// One more.
    pub fn add(&self, job: Arc<Job>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(job);
    }
    /// All of them, in the order of their start.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Job>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Shows what the jobs do, until dropped.
pub async fn show(jobs: Jobs, ui: Arc<Ui>) {
    let _clear = Clear(Arc::clone(&ui));
    let mut seen: HashMap<String, (u64, Instant)> = HashMap::new();
    let mut ticks = tokio::time::interval(if ui.terminal { REDRAW } else { LOG });
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await; // the first comes at once
    loop {
        ticks.tick().await;
        let mut lines = Vec::new();
        for job in jobs.all() {
            let (status, metrics, now) = (job.status(), job.metrics(), Instant::now());
            let before = seen.insert(job.name().to_owned(), (metrics.rows_in, now));
            let (rows, at) = before.unwrap_or((0, job.started()));
            let rate = metrics.rows_in.saturating_sub(rows) as f64 / now.duration_since(at).as_secs_f64().max(1e-3);
            if ui.terminal || !status.ended() {
                lines.push(line(job.name(), &status, &metrics, rate));
            }
        }
        if ui.terminal {
            ui.status(lines);
        } else if !lines.is_empty() {
            // It goes on for a while: what is told from now on is a log.
            ui.stamp(true);
            lines.iter().for_each(|line| ui.info(line));
        }
    }
}

struct Clear(Arc<Ui>);

impl Drop for Clear {
    fn drop(&mut self) {
        self.0.status(Vec::new());
    }
}

/// One job in one line; `rate` is rows in per second.
#[must_use]
pub fn line(name: &str, status: &JobStatus, metrics: &JobCounts, rate: f64) -> String {
    let mut text = match status {
        JobStatus::Running => format!("{name}: {}", counts(metrics)),
        other => format!("{name}: {other}; {}", counts(metrics)),
    };
    // A `String` takes all that is written to it.
    let _ = write!(text, ", {rate:.0} rows/s");
    if let Some(lag) = metrics.lag {
        let _ = write!(text, ", lag {lag}");
    }
    let _ = write!(text, ", epoch p99 {:.1} ms, {}", metrics.epoch_p99_us as f64 / 1e3, dead_letters(metrics));
    if !metrics.models.is_empty() {
        let _ = write!(text, ", {}", metrics.models_text());
    }
    text
}

/// The last word on a job.
#[must_use]
pub fn ended(name: &str, status: &JobStatus, metrics: &JobCounts) -> String {
    format!("job \"{name}\" {status}: {}, {}", counts(metrics), dead_letters(metrics))
}

fn counts(metrics: &JobCounts) -> String {
    format!("{} rows in, {} out", metrics.rows_in, metrics.rows_out)
}

fn dead_letters(metrics: &JobCounts) -> String {
    match metrics.dead_letters {
        1 => "1 dead letter".to_owned(),
        n => format!("{n} dead letters"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_one_line() {
        let metrics = JobCounts {
            rows_in: 1_204_001,
            rows_out: 3_310,
            lag: Some(12),
            epoch_p99_us: 1_900,
            dead_letters: 1,
            models: [("fraud".to_owned(), 8)].into(),
            ..JobCounts::default()
        };
        assert_eq!(
            line("a.alerts", &JobStatus::Running, &metrics, 52_004.4),
            "a.alerts: 1204001 rows in, 3310 out, 52004 rows/s, lag 12, epoch p99 1.9 ms, 1 dead letter, fraud:8"
        );
    }
}
