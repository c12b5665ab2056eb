//! `vatic bench`: every case runs and says what it promises. How fast is not asked here: that is the benchmark's own business.

use serde_json::Value;

use super::harness::{Place, Running};

const ALWAYS: [&str; 9] =
    ["case", "rows", "wall_s", "rows_per_s", "cpu_s", "rows_per_cpu_s", "peak_rss_mb", "epoch_p50_us", "epoch_p99_us"];

/// Runs one case with `rows`; its report has the usual fields, then `more`.
fn case(name: &str, rows: &str, more: &[&str]) -> Value {
    let place = Place::new();
    let text = place.ok(&["bench", name, "--rows", rows, "--json"]);
    let report: Value = serde_json::from_str(text.trim()).unwrap();
    let fields: Vec<&str> = report.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, [&ALWAYS[..], more].concat());
    assert_eq!(report["case"], name);
    assert!(!place.path(".vatic").exists(), "it works in a directory of its own");
    report
}

#[test]
fn throughput_counts_rows_and_time() {
    for name in ["pass-through", "mlp"] {
        let report = case(name, "20000", &[]);
        assert_eq!(report["rows"], 20_000);
        for measured in ["wall_s", "rows_per_s", "cpu_s", "rows_per_cpu_s", "peak_rss_mb", "epoch_p50_us", "epoch_p99_us"] {
            assert!(report[measured].as_f64().unwrap() > 0.0, "{measured}: {report}");
        }
    }
}

#[test]
fn latency_and_start_have_their_own_numbers() {
    let report = case("latency", "200", &["latency_p50_us", "latency_p99_us", "latency_max_us"]);
    assert!(
        report["latency_p50_us"].as_u64() > Some(0)
            && report["latency_max_us"].as_u64() >= report["latency_p50_us"].as_u64()
    );
    let report = case("latency-at-least-once", "200", &["latency_p50_us", "latency_p99_us", "latency_max_us"]);
    assert!(report["latency_p50_us"].as_u64() > Some(0), "{report}");
    let report = case("start", "100", &["starts", "first_row_p50_ms", "first_row_max_ms"]);
    assert!(report["first_row_p50_ms"].as_f64() > Some(0.0), "{report}");
}

#[test]
fn versions_are_swapped_under_load() {
    let more = ["swaps", "pause_p50_us", "pause_p99_us", "quiet_p50_us", "quiet_p99_us"];
    assert!(case("swap", "600000", &more)["swaps"].as_u64() >= Some(1));
}

#[test]
fn an_idle_job_is_looked_at() {
    let report = case("idle", "1000", &["partitions", "core_percent"]);
    assert_eq!((&report["rows"], &report["partitions"]), (&1000.into(), &1000.into()));
    assert!(report["core_percent"].as_f64() > Some(0.0), "{report}");
}

/// Somebody may have set it for other work.
#[test]
fn a_broker_in_the_environment_is_not_measured() {
    let place = Place::new();
    let mut command = place.command(&["bench", "pass-through", "--rows", "1000"]);
    let ended = Running::spawn(command.env("VATIC_BROKER", "127.0.0.1:1")).end();
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(place.vatic(&["bench", "mlp", "--rows", "1000", "--broker", "127.0.0.1:1"]).code, 3);
}

#[test]
fn without_json_it_is_a_table_and_nonsense_is_refused() {
    let place = Place::new();
    let text = place.ok(&["bench", "pass-through", "--rows", "1000"]);
    let words: Vec<&str> = text.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(words, ALWAYS);
    assert!(text.lines().nth(1).unwrap().starts_with("pass-through  1000"), "{text}");
    assert_eq!(place.vatic(&["bench", "warp"]).code, 2);
    assert_eq!(place.vatic(&["bench", "mlp", "--rows", "0"]).code, 2);
}
