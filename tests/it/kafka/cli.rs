//! What people see on the command line with a real Kafka.

use std::time::{Duration, Instant};

use super::cluster;
use super::{SOON, ok, start};
use crate::conformance::name;
use crate::harness::Place;

#[test]
fn a_wrong_address_is_named_within_ten_seconds() {
    let begun = Instant::now();
    let ended = start(&Place::new(), "127.0.0.1:1", &["topic", "list"]).end();
    assert!(begun.elapsed() < SOON, "it took {:?}", begun.elapsed());
    assert_eq!((ended.code, ended.out.as_str()), (3, ""));
    assert!(ended.err.contains("no Kafka broker answers at \"127.0.0.1:1\""), "{}", ended.err);
    let ended = start(&Place::new(), "127.0.0.1:1", &["-X", "lingr.ms=1", "topic", "list"]).end();
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("unknown Kafka property \"lingr.ms\"") && ended.err.contains("linger.ms"), "{}", ended.err);
}

#[test]
fn what_works_embedded_works_on_kafka() {
    let Some(cluster) = cluster::shared() else { return };
    let (place, address) = (Place::new(), cluster.address());
    let (input, target) = (name("orders"), name("big"));
    let run = |args: &[&str]| ok(&place, &address, args);
    run(&["topic", "create", &input, "--partitions", "4"]);
    place.file("one.jsonl", "{\"id\":1,\"v\":10}\n{\"id\":2,\"v\":20}\nnonsense\n");
    place.file("two.jsonl", "{\"id\":3,\"v\":30}\n");
    run(&["produce", &input, "one.jsonl"]);
    place.file(
        "big.sql",
        format!(
            "CREATE TABLE orders (id BIGINT, v BIGINT) WITH (connector = 'kafka', topic = '{input}', format = 'json');
             CREATE TABLE big WITH (connector = 'kafka', topic = '{target}', format = 'json')
             AS SELECT id, v * 2 AS w FROM orders WHERE v > 10;"
        ),
    );
    run(&["run", "big.sql", "--until-end"]);
    run(&["produce", &input, "two.jsonl"]);
    run(&["run", "big.sql", "--until-end"]);
    run(&["run", "big.sql", "--until-end"]);
    let mut lines: Vec<String> = run(&["consume", &target]).lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["{\"id\":2,\"w\":40}", "{\"id\":3,\"w\":60}"]);
    let select = format!("SELECT count(*) AS n, sum(w) AS s FROM topic('{target}')");
    assert_eq!(run(&["sql", "--format", "json", &select]).trim(), "{\"n\":2,\"s\":100}");
    // Another test's killed process may hold the topic's stable end back until its transaction times out.
    let begun = Instant::now();
    let ours = loop {
        let letters = run(&["consume", "vatic-dead-letters", "--json"]);
        let ours: Vec<String> = letters.lines().filter(|line| line.contains(&input)).map(str::to_owned).collect();
        if !ours.is_empty() || begun.elapsed() > Duration::from_secs(90) {
            break ours;
        }
        std::thread::sleep(Duration::from_millis(500));
    };
    assert!(ours.len() == 1 && ours[0].contains("nonsense") && ours[0].contains("\"vatic.reason\":\"decode\""), "{ours:?}");
    // A generator's position is kept too, though it is no topic.
    let counted = name("counted");
    place.file(
        "count.sql",
        format!(
            "CREATE TABLE g (n BIGINT, ts TIMESTAMP) WITH (connector = 'generator', rows = 1000);
             CREATE TABLE c WITH (connector = 'kafka', topic = '{counted}', format = 'json') AS SELECT n FROM g;"
        ),
    );
    run(&["run", "count.sql", "--until-end"]);
    run(&["run", "count.sql", "--until-end"]);
    assert_eq!(run(&["consume", &counted]).lines().count(), 1000);
    // Forgotten, the job begins again.
    run(&["sql", "RESET JOB \"count.c\""]);
    run(&["run", "count.sql", "--until-end"]);
    assert_eq!(run(&["consume", &counted]).lines().count(), 2000);
}
