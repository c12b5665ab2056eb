//! Clocks, counters, and what is printed of them.   [`Meter`] ─► [`Report`] ─► one JSON object, or a row of the table

use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use serde_json::{Map, Value, json};

use crate::metrics::JobCounts;

/// What this process uses from a moment on.
pub(super) struct Meter {
    began: Instant,
    cpu: Duration,
}

impl Meter {
    /// Begins now; the peak of memory too, where the system lets us (Linux).
    pub(super) fn start() -> Self {
        // Refused elsewhere; the peak is then that of the whole process.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        Self { began: Instant::now(), cpu: cpu() }
    }

    /// Ends now.
    pub(super) fn stop(self, rows: u64, counts: &JobCounts) -> Report {
        let (wall, cpu) = (self.began.elapsed().as_secs_f64(), (cpu().saturating_sub(self.cpu)).as_secs_f64());
        let per = |seconds: f64| (rows as f64 / seconds.max(1e-9)).round() as u64;
        let mut report = Report::default();
        report.set("rows", json!(rows));
        report.set("wall_s", json!(rounded(wall)));
        report.set("rows_per_s", json!(per(wall)));
        report.set("cpu_s", json!(rounded(cpu)));
        report.set("rows_per_cpu_s", json!(per(cpu)));
        report.set("peak_rss_mb", json!(rounded(peak_rss_mib())));
        report.set("epoch_p50_us", json!(counts.epoch_p50_us));
        report.set("epoch_p99_us", json!(counts.epoch_p99_us));
        report
    }
}

fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

/// User and system time of all threads of this process so far.
fn cpu() -> Duration {
    let time = |value: TimeVal| {
        Duration::new(value.tv_sec().unsigned_abs(), 0) + Duration::from_micros(value.tv_usec().unsigned_abs())
    };
    getrusage(UsageWho::RUSAGE_SELF).map_or(Duration::ZERO, |usage| time(usage.user_time()) + time(usage.system_time()))
}

/// The largest resident set since [`Meter::start`].
fn peak_rss_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kib.map_or_else(|| most_ever() / 1024.0 / 1024.0, |kib| kib / 1024.0)
}

/// In bytes, over the process's whole life.
fn most_ever() -> f64 {
    let unit = if cfg!(target_os = "macos") { 1.0 } else { 1024.0 };
    getrusage(UsageWho::RUSAGE_SELF).map_or(0.0, |usage| usage.max_rss() as f64 * unit)
}

/// The value that `share` (0 to 1) of `values` do not exceed, in microseconds.
pub(super) fn quantile_us(values: &mut [Duration], share: f64) -> u64 {
    values.sort_unstable();
    let index = (values.len() as f64 * share).ceil() as usize;
    let value = values.get(index.max(1) - 1).copied().unwrap_or_default();
    u64::try_from(value.as_micros()).unwrap_or(u64::MAX)
}

/// What one case measured: names and numbers, in their order.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Report(Map<String, Value>);

impl Report {
    /// Adds a number.
    pub(super) fn set(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }
    /// How much of one core was used, in percent.
    pub(super) fn share_of_a_core(&self) -> f64 {
        let number = |name: &str| self.0.get(name).and_then(Value::as_f64).unwrap_or(0.0);
        rounded(number("cpu_s") / number("wall_s").max(1e-9) * 100.0)
    }
    /// The same with the case's name in front.
    pub(super) fn named(self, case: &str) -> Self {
        let mut all = Map::from_iter([("case".to_owned(), json!(case))]);
        all.extend(self.0);
        Self(all)
    }
    /// One line of JSON.
    pub(super) fn json(&self) -> String {
        Value::Object(self.0.clone()).to_string()
    }
    /// What [`Report::json`] wrote.
    pub(super) fn parse(line: &str) -> Option<Self> {
        serde_json::from_str(line.trim()).ok().map(Self)
    }
    fn text(&self, name: &str) -> String {
        self.0.get(name).map_or_else(String::new, plain)
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// What every case has.
const COLUMNS: [&str; 9] =
    ["case", "rows", "wall_s", "rows_per_s", "cpu_s", "rows_per_cpu_s", "peak_rss_mb", "epoch_p50_us", "epoch_p99_us"];

/// Cases in rows, and below them what only some have.
pub(super) fn table(reports: &[Report]) -> String {
    let mut rows = vec![COLUMNS.map(str::to_owned)];
    rows.extend(reports.iter().map(|report| COLUMNS.map(|name| report.text(name))));
    let widths: Vec<usize> = (0..COLUMNS.len()).map(|i| rows.iter().map(|row| row[i].len()).max().unwrap_or(0)).collect();
    let line = |row: &[String; 9]| {
        let cell = |(i, text): (usize, &String)| {
            if i == 0 { format!("{text:<width$}", width = widths[i]) } else { format!("{text:>width$}", width = widths[i]) }
        };
        row.iter().enumerate().map(cell).collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let more = reports.iter().filter_map(|report| {
        let own = report.0.iter().filter(|(name, _)| !COLUMNS.contains(&name.as_str()));
        let own: Vec<String> = own.map(|(name, value)| format!("{name} {}", plain(value))).collect();
        (!own.is_empty()).then(|| format!("{}: {}", report.text("case"), own.join(", ")))
    });
    rows.iter().map(line).chain(more).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_occurred() {
        let mut values: Vec<Duration> = (1..=100).rev().map(Duration::from_micros).collect();
        assert_eq!((quantile_us(&mut values, 0.5), quantile_us(&mut values, 0.99)), (50, 99));
        assert_eq!(quantile_us(&mut [Duration::from_micros(7)], 0.99), 7);
        assert_eq!(quantile_us(&mut [], 0.5), 0);
    }

    #[test]
    fn a_report_is_read_as_it_was_written_and_its_own_numbers_stand_below_the_table() {
        let mut report = Meter::start().stop(10, &JobCounts { epoch_p50_us: 5, ..JobCounts::default() });
        report.set("pause_p50_us", json!(12));
        let report = report.named("swap");
        assert_eq!(Report::parse(&report.json()), Some(report.clone()));
        let text = table(&[report]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("case  rows"), "{text}");
        assert!(lines[1].starts_with("swap    10"), "{text}");
        assert_eq!(lines[2], "swap: pause_p50_us 12");
    }
}
