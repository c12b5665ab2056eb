//! Several processes of one job, and what they cannot share: files, generators, the end of a run, a beginning that is nowhere written.

use nix::sys::signal::Signal;
use serde_json::Value;

use super::trial::QUICK;
use super::{cluster, ok, start};
use crate::conformance::name;
use crate::harness::{Place, Running, until};
use crate::models::constant_model;

/// `vatic run ...` with sessions that end soon.
fn run(place: &Place, address: &str, args: &[&str]) -> Running {
    start(place, address, &[&QUICK[..], &["run"], args].concat())
}

/// How many rows a topic has, and how many different ones.
fn counted(place: &Place, address: &str, topic: &str) -> (i64, i64) {
    let sql = format!("SELECT count(*) AS all, count(DISTINCT n) AS one FROM topic('{topic}')");
    let out = ok(place, address, &["sql", "--format", "json", &sql]);
    let row: Value = serde_json::from_str(&out).unwrap();
    (row["all"].as_i64().unwrap(), row["one"].as_i64().unwrap())
}

#[test]
fn a_generator_is_read_by_one_process_at_a_time() {
    let Some(cluster) = cluster::shared() else { return };
    let (place, address, target) = (Place::new(), cluster.address(), name("out"));
    ok(&place, &address, &["topic", "create", &target, "--partitions", "2"]);
    place.file(
        "job.sql",
        format!(
            "SET job.name = '{target}';
             CREATE TABLE g (n BIGINT, ts TIMESTAMP) WITH (connector = 'generator', rows = '6000', rate = '500');
             CREATE TABLE o (n BIGINT) WITH (topic = '{target}');
             INSERT INTO o SELECT n FROM g;"
        ),
    );
    let mut first = run(&place, &address, &["job.sql", "--until-end"]);
    first.says("reads \"generator:");
    let mut second = run(&place, &address, &["job.sql", "--until-end"]);
    second.says("is read by another process of this job");
    until("some rows", || counted(&place, &address, &target).0 > 0);
    // One that is killed is followed by the other; one that stood still for longer than its session finds its commit refused.
    first.signal(Signal::SIGSTOP);
    second.says("from its committed offsets");
    first.signal(Signal::SIGCONT);
    first.says("goes on by itself");
    let (first, second) = (first.end(), second.end());
    assert_eq!((first.code, second.code), (0, 0), "{first:#?}\n{second:#?}");
    assert_eq!(counted(&place, &address, &target), (6000, 6000));
}

#[test]
fn a_run_until_the_end_waits_for_the_other_processes_of_its_job() {
    let Some(cluster) = cluster::shared() else { return };
    let (place, address, input, target) = (Place::new(), cluster.address(), name("in"), name("out"));
    const ROWS: i64 = 20_000;
    ok(&place, &address, &["topic", "create", &input, "--partitions", "2"]);
    ok(&place, &address, &["topic", "create", &target, "--partitions", "1"]);
    let lines: String = (0..ROWS).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    place.file("lines", lines);
    ok(&place, &address, &["produce", &input, "lines"]);
    place.file(
        "job.sql",
        format!(
            "SET job.name = '{target}'; SET epoch.max_rows = '500';
             CREATE TABLE i (n BIGINT) WITH (topic = '{input}');
             CREATE TABLE o (n BIGINT) WITH (topic = '{target}');
             INSERT INTO o SELECT n FROM i;"
        ),
    );
    let mut first = run(&place, &address, &["job.sql", "--until-end"]);
    first.says("reads \"");
    // It holds partitions, and does nothing for a while: whoever joins now gets nothing at first.
    first.signal(Signal::SIGSTOP);
    let second = run(&place, &address, &["job.sql", "--until-end"]).end();
    assert_eq!(second.code, 0, "{second:#?}");
    assert_eq!(counted(&place, &address, &target), (ROWS, ROWS), "{second:#?}");
    first.signal(Signal::SIGCONT);
    let first = first.end();
    assert_eq!(first.code, 0, "{first:#?}");
    assert_eq!(counted(&place, &address, &target), (ROWS, ROWS));
}

#[test]
fn a_job_that_began_at_the_end_of_then_loses_nothing_by_being_killed() {
    let Some(cluster) = cluster::shared() else { return };
    let (place, address, input, target) = (Place::new(), cluster.address(), name("in"), name("out"));
    ok(&place, &address, &["topic", "create", &input, "--partitions", "3"]);
    place.file("old", "{\"n\":1}\n{\"n\":2}\n");
    ok(&place, &address, &["produce", &input, "old"]);
    ok(&place, &address, &["topic", "create", &target, "--partitions", "1"]);
    place.file(
        "job.sql",
        format!(
            "SET job.name = '{target}';
             CREATE TABLE i (n BIGINT) WITH (topic = '{input}', scan.startup = 'latest');
             CREATE TABLE o (n BIGINT) WITH (topic = '{target}');
             INSERT INTO o SELECT n FROM i;"
        ),
    );
    let mut job = run(&place, &address, &["job.sql"]);
    job.says("nothing was committed");
    let broker = cluster.open();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (group, topics) = (format!("vatic-{target}"), vec![input.clone()]);
    until("the beginning to be committed", || runtime.block_on(broker.positions(&group, &topics)).unwrap().len() == 3);
    job.stop(Signal::SIGKILL);
    place.file("new", (10..60).map(|n| format!("{{\"n\":{n}}}\n")).collect::<String>());
    ok(&place, &address, &["produce", &input, "new"]);
    let ended = run(&place, &address, &["job.sql", "--until-end"]).end();
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(counted(&place, &address, &target), (50, 50), "{ended:#?}");
}

#[test]
fn a_process_that_waits_for_a_model_lets_its_partitions_go() {
    let Some(cluster) = cluster::shared() else { return };
    let (place, address, input, target, models) = (Place::new(), cluster.address(), name("in"), name("out"), name("models"));
    ok(&place, &address, &["topic", "create", &input, "--partitions", "2"]);
    ok(&place, &address, &["topic", "create", &target, "--partitions", "1"]);
    let files = [1.0, 2.0].map(|value| place.file(&format!("{value}.onnx"), constant_model(value, 1)).display().to_string());
    let publish = |version: usize| ok(&place, &address, &["publish", "m", &files[version - 1], "--topic", &models]);
    // Keys, so that either partition has some.
    let produce = |from: i64| {
        place.file("lines", (from..from + 50).map(|n| format!("{n}|{{\"n\":{n}}}\n")).collect::<String>());
        ok(&place, &address, &["produce", &input, "lines", "--key-separator", "|"]);
    };
    place.file(
        "job.sql",
        format!(
            "SET models.topic = '{models}'; SET job.name = '{target}';
             CREATE TABLE i (n BIGINT) WITH (topic = '{input}');
             CREATE TABLE o (n BIGINT, s DOUBLE) WITH (topic = '{target}');
             INSERT INTO o SELECT n, score('m', CAST(n AS DOUBLE)) FROM i;"
        ),
    );
    publish(1);
    publish(2);
    produce(0);
    let ended = run(&place, &address, &["job.sql", "--until-end"]).end();
    assert_eq!(ended.code, 0, "{ended:#?}");
    // Only an older version is there now.
    ok(&place, &address, &["topic", "delete", &models]);
    publish(1);
    let mut first = run(&place, &address, &["job.sql"]);
    first.says("version 2 of model \"m\" was used before and is not there now");
    // It gets a partition only if the first lets one go, and waits in its turn.
    let mut second = run(&place, &address, &["job.sql"]);
    second.says("version 2 of model \"m\" was used before and is not there now");
    produce(50);
    publish(2);
    until("the rest", || counted(&place, &address, &target).0 >= 100);
    for process in [first, second] {
        let ended = process.stop(Signal::SIGTERM);
        assert_eq!(ended.code, 143, "{ended:#?}");
    }
    assert_eq!(counted(&place, &address, &target), (100, 100));
}
