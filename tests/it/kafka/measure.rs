//! `vatic bench` on a real Kafka: the cases run there, count each row, and leave nothing behind.

use nix::sys::signal::Signal;
use serde_json::Value;

use super::{cluster, ok, start};
use crate::harness::{Place, until};

/// The benchmark's topics that are there.
fn left(place: &Place, address: &str) -> Vec<String> {
    let list = ok(place, address, &["topic", "list"]);
    list.split_whitespace().filter(|word| word.starts_with("vatic-bench-")).map(str::to_owned).collect()
}

// One after the other: each looks for what the benchmark left.
#[test]
fn jobs_are_measured_on_kafka_and_nothing_is_left_there() {
    let Some(cluster) = cluster::shared() else { return };
    let (place, address) = (Place::new(), cluster.address());
    for (case, rows) in [("mlp", 20_000), ("latency", 300), ("latency-at-least-once", 300)] {
        // Fails unless each row that went in came out once.
        let text = ok(&place, &address, &["bench", case, "--rows", &rows.to_string(), "--json"]);
        let report: Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!((&report["case"], &report["rows"]), (&case.into(), &rows.into()), "{report}");
        assert!(report["rows_per_cpu_s"].as_u64() > Some(0) && report["epoch_p50_us"].as_u64() > Some(0), "{report}");
        if case != "mlp" {
            assert!(report["latency_p50_us"].as_u64() > Some(0), "{report}");
            assert!(report["latency_max_us"].as_u64() >= report["latency_p99_us"].as_u64(), "{report}");
        }
        assert_eq!(left(&place, &address), [""; 0], "after {case}");
    }
    // Nor by one that is interrupted.
    let bench = start(&place, &address, &["bench", "latency", "--rows", "60000"]);
    until("the benchmark has topics", || !left(&place, &address).is_empty());
    assert_eq!(bench.stop(Signal::SIGTERM).code, 143);
    assert_eq!(left(&place, &address), [""; 0]);
    let groups = cluster.tool("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", &["--list"]);
    assert!(!groups.contains("vatic-bench-"), "{groups}");
}
