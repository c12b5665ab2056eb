//! What a job counts about itself. Cheap to add to, read by the status line, `SHOW JOBS` and the benchmark.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// Counters of one job, from its start in this process.
#[derive(Debug)]
pub struct JobMetrics {
    rows_in: AtomicU64,
    rows_out: AtomicU64,
    epochs: AtomicU64,
    commits: AtomicU64,
    /// When the commit that is on its way began, and what had been counted by then.
    committing: Mutex<Option<(Instant, Rows)>>,
    /// What had been counted when the last commit that was made began.
    committed: Mutex<Rows>,
    bad: Mutex<BTreeMap<&'static str, u64>>,
    /// The first record at fault, and why.
    first_bad: OnceLock<String>,
    dead_letters: AtomicU64,
    /// `None` only if the histogram's constant bounds were refused.
    epoch_us: Mutex<Option<Histogram<u64>>>,
    lag: Mutex<BTreeMap<(usize, usize, i32), u64>>,
    models: Mutex<BTreeMap<String, u64>>,
}

impl Default for JobMetrics {
    fn default() -> Self {
        Self {
            rows_in: AtomicU64::new(0),
            rows_out: AtomicU64::new(0),
            epochs: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            committing: Mutex::default(),
            committed: Mutex::default(),
            bad: Mutex::default(),
            first_bad: OnceLock::new(),
            dead_letters: AtomicU64::new(0),
            // Microseconds from 1 to a minute, to two digits; longer ones count as a minute.
            epoch_us: Mutex::new(Histogram::new_with_bounds(1, 60_000_000, 2).ok()),
            lag: Mutex::default(),
            models: Mutex::default(),
        }
    }
}

/// What an attempt of a job counts that another one counts again, unless it was committed.
#[derive(Debug, Clone, Default)]
struct Rows {
    read: u64,
    written: u64,
    bad: BTreeMap<&'static str, u64>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A job's counters at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobCounts {
    /// Rows read.
    pub rows_in: u64,
    /// Rows written (or shown).
    pub rows_out: u64,
    /// Epochs run.
    pub epochs: u64,
    /// Commits made.
    pub commits: u64,
    /// Records at fault by reason, whatever became of them.
    pub bad: BTreeMap<&'static str, u64>,
    /// Records in the dead-letter topic.
    pub dead_letters: u64,
    /// Half of the epochs took at most this long, in microseconds; 0 before the first.
    pub epoch_p50_us: u64,
    /// 99 of 100 epochs took at most this long, in microseconds; 0 before the first.
    pub epoch_p99_us: u64,
    /// Records not read yet, over all partitions; `None` where no input has an end.
    pub lag: Option<u64>,
    /// The version last used of each model.
    pub models: BTreeMap<String, u64>,
}

impl JobCounts {
    /// The models used, for people: `churn:3, fraud:8`.
    #[must_use]
    pub fn models_text(&self) -> String {
        // A pinned reference says its version itself.
        let text =
            |(name, version): (&String, &u64)| if name.contains(':') { name.clone() } else { format!("{name}:{version}") };
        self.models.iter().map(text).collect::<Vec<_>>().join(", ")
    }
}

impl JobMetrics {
    /// Counts an epoch.
    pub fn epoch(&self, rows_in: u64, rows_out: u64, took: Duration) {
        self.rows_in.fetch_add(rows_in, Relaxed);
        self.rows_out.fetch_add(rows_out, Relaxed);
        self.epochs.fetch_add(1, Relaxed);
        if let Some(histogram) = lock(&self.epoch_us).as_mut() {
            histogram.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1));
        }
    }
    /// Counts records at fault.
    pub fn bad(&self, reason: &'static str, count: u64) {
        *lock(&self.bad).entry(reason).or_default() += count;
    }
    /// Notes a record at fault and why, if it is the first.
    pub fn first_bad(&self, what: &str) {
        self.first_bad.get_or_init(|| what.to_owned());
    }
    /// The first record at fault, and why.
    #[must_use]
    pub fn get_first_bad(&self) -> Option<&str> {
        self.first_bad.get().map(String::as_str)
    }
    /// Counts records written as dead letters.
    pub fn dead_letters(&self, written: u64) {
        self.dead_letters.fetch_add(written, Relaxed);
    }
    /// Notes that a commit is on its way.
    pub fn commit_begins(&self) {
        let bad = lock(&self.bad).clone();
        let rows = Rows { read: self.rows_in.load(Relaxed), written: self.rows_out.load(Relaxed), bad };
        *lock(&self.committing) = Some((Instant::now(), rows));
    }
    /// Notes that the commit on its way has ended, and counts it if it was made.
    pub fn commit_ends(&self, made: bool) {
        if let Some((_, rows)) = lock(&self.committing).take().filter(|_| made) {
            *lock(&self.committed) = rows;
        }
        self.commits.fetch_add(u64::from(made), Relaxed);
    }
    /// How long the commit on its way has had no answer; `None` if there is none.
    #[must_use]
    pub fn commit_waits(&self) -> Option<Duration> {
        lock(&self.committing).as_ref().map(|(began, _)| began.elapsed())
    }
    /// Notes how far a partition (source, topic, partition) is behind its end.
    pub fn lag(&self, partition: (usize, usize, i32), records: u64) {
        lock(&self.lag).insert(partition, records);
    }
    /// Forgets a partition (source, topic, partition) that another process reads from now on.
    pub fn let_go(&self, partition: (usize, usize, i32)) {
        lock(&self.lag).remove(&partition);
    }
    /// A new attempt begins: without partitions, and it will count once more what the last one did not commit.
    pub fn begin_again(&self) {
        lock(&self.lag).clear();
        let rows = lock(&self.committed).clone();
        self.rows_in.store(rows.read, Relaxed);
        self.rows_out.store(rows.written, Relaxed);
        *lock(&self.bad) = rows.bad;
    }
    /// Notes the versions that an epoch used.
    pub fn models<'a>(&self, used: impl IntoIterator<Item = (&'a String, &'a u64)>) {
        let mut models = lock(&self.models);
        for (name, version) in used {
            if models.get(name) != Some(version) {
                models.insert(name.clone(), *version);
            }
        }
    }
    /// All counters.
    #[must_use]
    pub fn counts(&self) -> JobCounts {
        let epoch_us = lock(&self.epoch_us);
        let quantile = |q: f64| epoch_us.as_ref().filter(|h| !h.is_empty()).map_or(0, |h| h.value_at_quantile(q));
        let lag = lock(&self.lag);
        JobCounts {
            rows_in: self.rows_in.load(Relaxed),
            rows_out: self.rows_out.load(Relaxed),
            epochs: self.epochs.load(Relaxed),
            commits: self.commits.load(Relaxed),
            bad: lock(&self.bad).clone(),
            dead_letters: self.dead_letters.load(Relaxed),
            epoch_p50_us: quantile(0.50),
            epoch_p99_us: quantile(0.99),
            lag: (!lag.is_empty()).then(|| lag.values().sum()),
            models: lock(&self.models).clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_committed_is_not_counted_twice() {
        let metrics = JobMetrics::default();
        let epoch = |rows| {
            metrics.epoch(rows, rows, Duration::from_millis(1));
            metrics.bad("decode", 1);
        };
        let counted = || (metrics.counts().rows_in, metrics.counts().rows_out, metrics.counts().bad.clone());
        epoch(10);
        metrics.commit_begins();
        epoch(5);
        metrics.commit_ends(true);
        epoch(7);
        metrics.commit_begins();
        metrics.commit_ends(false);
        assert_eq!(counted(), (22, 22, BTreeMap::from([("decode", 3)])));
        metrics.begin_again();
        assert_eq!(counted(), (10, 10, BTreeMap::from([("decode", 1)])));
    }
}
