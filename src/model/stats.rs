//! What one model version has done in this process: rows, errors, and how long a scoring call takes.
//!
//! Latency is of a *batch call* (one call of the scorer, whatever its number of rows), in nanoseconds inside and in
//! microseconds outside. Writers are the lanes of running queries: two atomic adds and a short lock per call, never per row.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::time::Millis;

/// The longest latency told apart from longer ones: one minute.
const LONGEST_NS: u64 = 60_000_000_000;

/// Counters of one version, shared by all who score with it.
#[derive(Debug, Default)]
pub struct Stats {
    rows: AtomicU64,
    errors: AtomicU64,
    /// 0: never live here.
    live_since: AtomicI64,
    /// Made at the first call: most versions of a long topic are never used, and a histogram has tens of kilobytes.
    latency: Mutex<Option<Histogram<u64>>>,
}

/// [`Stats`] at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct StatsReading {
    /// Rows scored.
    pub rows: u64,
    /// Rows that the model failed on.
    pub errors: u64,
    /// When the version first went live in this process, milliseconds since the Unix epoch.
    pub live_since: Option<Millis>,
    /// Median latency of a batch call in microseconds; `None` before the first call.
    pub p50_us: Option<f64>,
    /// 99th percentile of the same.
    pub p99_us: Option<f64>,
}

impl StatsReading {
    /// Whether anything was scored with the version here.
    #[must_use]
    pub fn used(&self) -> bool {
        self.rows > 0 || self.errors > 0
    }
}

impl Stats {
    /// One scorer call that scored `rows` rows in `took`.
    pub fn scored(&self, rows: usize, took: Duration) {
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(LONGEST_NS);
        let mut latency = self.latency.lock().unwrap_or_else(PoisonError::into_inner);
        if latency.is_none() {
            *latency = Histogram::new_with_bounds(1, LONGEST_NS, 2).ok();
        }
        if let Some(histogram) = latency.as_mut() {
            histogram.saturating_record(nanoseconds.max(1));
        }
    }
    /// `rows` rows that the model failed on.
    pub fn failed(&self, rows: usize) {
        self.errors.fetch_add(rows as u64, Ordering::Relaxed);
    }
    /// The version went live; only the first time counts.
    pub fn went_live(&self, now: Millis) {
        // Ordering does not matter: nothing else is published by it. An error means that it was set before.
        let _ = self.live_since.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
    }
    /// All of it, now.
    #[must_use]
    pub fn read(&self) -> StatsReading {
        let latency = self.latency.lock().unwrap_or_else(PoisonError::into_inner);
        let quantile = |q: f64| latency.as_ref().map(|h| h.value_at_quantile(q) as f64 / 1_000.0);
        StatsReading {
            rows: self.rows.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            live_since: Some(self.live_since.load(Ordering::Relaxed)).filter(|since| *since != 0),
            p50_us: quantile(0.5),
            p99_us: quantile(0.99),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_known_before_the_first_call() {
        let reading = Stats::default().read();
        assert_eq!(reading, StatsReading::default());
        assert!(!reading.used());
    }

    #[test]
    fn latency_is_per_call_in_microseconds() {
        let stats = Stats::default();
        for call in 1..=100 {
            stats.scored(64, Duration::from_micros(call));
        }
        stats.failed(3);
        stats.went_live(17);
        stats.went_live(18);
        let reading = stats.read();
        assert_eq!((reading.rows, reading.errors, reading.live_since), (6_400, 3, Some(17)));
        let near = |value: Option<f64>, wanted: f64| value.is_some_and(|v| (v - wanted).abs() <= wanted * 0.01 + 0.01);
        assert!(near(reading.p50_us, 50.0) && near(reading.p99_us, 99.0), "{reading:?}");
        stats.scored(1, Duration::from_secs(1 << 40)); // Longer than the histogram knows: counted, not lost.
        assert_eq!(stats.read().rows, 6_401);
    }
}
