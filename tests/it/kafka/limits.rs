//! What does not fit, what is not there, and what is promised when a row may come twice.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use vatic::connector::{Event, Limit, OffsetAt, SourceSpec};
use vatic::error::ErrorKind;

use super::cluster;
use super::{ok, start};
use crate::conformance::{EARLIEST, name, output, reading, topic, values, write};
use crate::harness::{Place, until};

/// The dead letters from `input`, as `consume --json` prints them, once there are `count`.
fn letters(place: &Place, address: &str, input: &str, count: usize) -> Vec<Value> {
    let mut ours: Vec<Value> = Vec::new();
    // Another test's killed process may hold the topic's stable end back until its transaction times out.
    until("the dead letters", || {
        let all = ok(place, address, &["consume", "vatic-dead-letters", "--json"]);
        let all = all.lines().filter(|line| line.contains(input)).map(|line| serde_json::from_str::<Value>(line).unwrap());
        ours = all.filter(|letter| letter["headers"]["vatic.topic"] == input).collect();
        ours.len() >= count
    });
    ours
}

#[test]
fn records_that_are_too_large_are_told_with_their_sizes() {
    let Some(cluster) = cluster::shared() else { return };
    let (place, address, input, target) = (Place::new(), cluster.address(), name("in"), name("out"));
    let run = |args: &[&str]| ok(&place, &address, args);
    run(&["topic", "create", &input, "--partitions", "1", "--config", "max.message.bytes=100000000"]);
    run(&["topic", "create", &target, "--partitions", "1", "--config", "max.message.bytes=2000"]);
    // Row 2 is doubled beyond the target's limit. Row 3 is no row, and too large for the dead letters as it is.
    let huge = "x".repeat((64 << 20) + 1);
    let medium = "m".repeat(1500);
    place.file(
        "lines",
        format!("{{\"id\":1,\"s\":\"a\"}}\n{{\"id\":2,\"s\":\"{medium}\"}}\n{huge}\n{{\"id\":4,\"s\":\"b\"}}\n"),
    );
    run(&["produce", &input, "lines"]);
    place.file(
        "job.sql",
        format!(
            "SET job.name = '{target}';
             CREATE TABLE i (id BIGINT, s VARCHAR) WITH (topic = '{input}');
             CREATE TABLE o WITH (topic = '{target}') AS SELECT id, s || s AS s FROM i;"
        ),
    );
    run(&["run", "job.sql", "--until-end"]);
    assert_eq!(run(&["consume", &target]), "{\"id\":1,\"s\":\"aa\"}\n{\"id\":4,\"s\":\"bb\"}\n");
    let mut ours = letters(&place, &address, &input, 2);
    ours.sort_by_key(|letter| letter["headers"]["vatic.offset"].to_string());
    let header = |letter: usize, header: &str| ours[letter]["headers"][header].as_str().unwrap_or_default().to_owned();
    assert_eq!((header(0, "vatic.offset"), header(0, "vatic.reason")), ("1".to_owned(), "too_large".to_owned()));
    let error = header(0, "vatic.error");
    assert!(error.contains("a record of 3015 bytes") && error.contains("which takes 2000"), "{error}");
    assert_eq!(ours[0]["value"], format!("{{\"id\":2,\"s\":\"{medium}\"}}"));
    // The letter tells of a record that does not fit into it.
    assert_eq!((header(1, "vatic.offset"), header(1, "vatic.reason")), ("2".to_owned(), "decode".to_owned()));
    assert_eq!((&ours[1]["value"], &ours[1]["key"]), (&Value::from(""), &Value::Null));
    assert!(header(1, "vatic.left_out").contains("value (67108865 bytes)"), "{}", header(1, "vatic.left_out"));
    assert_eq!(ours.len(), 2);
}

#[test]
fn a_line_that_is_too_large_is_named() {
    let Some(cluster) = cluster::shared() else { return };
    let (place, address, target) = (Place::new(), cluster.address(), name("small"));
    ok(&place, &address, &["topic", "create", &target, "--partitions", "1"]);
    place.file("lines", format!("one\n{}\nthree\n", "x".repeat(1_100_000)));
    let ended = start(&place, &address, &["produce", &target, "lines"]).end();
    assert_eq!(ended.code, 1, "{ended:#?}");
    let message = format!("line 2: a record of 1100082 bytes is too large for topic \"{target}\", which takes 1048588");
    assert!(ended.err.contains(&message) && ended.err.contains("max.message.bytes"), "{}", ended.err);
    // The broker's own limit is what a topic has that says nothing.
    let described = ok(&place, &address, &["topic", "describe", &target]);
    assert!(described.lines().any(|line| line.contains("max.message.bytes") && line.contains("1048588")), "{described}");
}

#[test]
fn topics_are_made_shown_and_deleted() {
    let Some(cluster) = cluster::shared() else { return };
    let (place, address, made) = (Place::new(), cluster.address(), name("made"));
    let fails = |args: &[&str], code: i32, message: &str, hint: &str| {
        let ended = start(&place, &address, args).end();
        assert_eq!(ended.code, code, "{ended:#?}");
        assert!(ended.err.contains(message) && ended.err.contains(hint), "{}", ended.err);
    };
    let create = ["topic", "create", &made, "--partitions", "3", "--replication", "1", "--config", "retention.ms=12345678"];
    ok(&place, &address, &create);
    fails(&create, 1, &format!("topic \"{made}\" exists already"), &format!("vatic topic describe {made}"));
    let described = ok(&place, &address, &["topic", "describe", &made]);
    assert!(described.contains(&format!("topic \"{made}\": partitions 3, replication 1")), "{described}");
    assert!(described.lines().any(|line| line.contains("retention.ms") && line.contains("12345678")), "{described}");
    place.file("line", "{\"a\":1}\n");
    ok(&place, &address, &["produce", &made, "line"]);
    let listed = ok(&place, &address, &["topic", "list"]);
    let line = listed.lines().find(|line| line.contains(&made)).unwrap();
    assert_eq!(line.split_whitespace().collect::<Vec<_>>()[2..], ["3", "|", "1"], "{listed}");
    assert!(!listed.contains("__"), "Kafka's own topics are not listed: {listed}");
    let near = made.replace("made", "mad");
    fails(&["topic", "delete", &near], 1, &format!("no topic \"{near}\""), &format!("Did you mean \"{made}\"?"));
    let other = name("other");
    let copies = ["topic", "create", &other, "--replication", "5"];
    fails(&copies, 1, &format!("topic \"{other}\" cannot be created"), "replication");
    let wrong = ["topic", "create", &other, "--config", "retention.sm=1"];
    fails(&wrong, 1, &format!("topic \"{other}\" cannot be created"), "retention.sm");
    // A job whose topics are not there says so before it starts, and does not hang as a producer would.
    let job = |from: &str, to: &str, options: &str| {
        format!(
            "CREATE TABLE i (a BIGINT) WITH (topic = '{from}'); CREATE TABLE o (a BIGINT) WITH (topic = '{to}'{options});
             INSERT INTO o SELECT a FROM i;"
        )
    };
    fails(&["sql", &job(&near, &other, "")], 1, &format!("no topic \"{near}\""), &format!("vatic topic create {near}"));
    let no_target = job(&made, &other, ", topic.create = 'false'");
    fails(&["sql", &no_target], 1, &format!("no topic \"{other}\""), &format!("vatic topic create {other}"));
    assert!(!ok(&place, &address, &["topic", "list"]).contains(&other));
    // Tables that share a client cannot want it to be different.
    let both = |first: &str, second: &str| {
        format!(
            "SET job.name = '{other}';
             CREATE TABLE a (a BIGINT) WITH (topic = '{made}'{first}); CREATE TABLE b (a BIGINT) WITH (topic = '{made}'{second});
             CREATE TABLE o (a BIGINT) WITH (topic = '{other}'); INSERT INTO o SELECT a FROM a UNION ALL SELECT a FROM b;"
        )
    };
    let (some, more) = (", kafka.fetch.wait.max.ms = '10'", ", kafka.fetch.wait.max.ms = '20'");
    let message = "tables \"a\" and \"b\" set the Kafka property \"fetch.wait.max.ms\" to different values";
    fails(&["sql", &both(some, more)], 1, message, "with -X");
    let agreed = both(some, &format!("{some}, kafka.check.crcs = 'true'"));
    place.file("agreed.sql", agreed);
    ok(&place, &address, &["run", "agreed.sql", "--until-end"]);
    assert_eq!(ok(&place, &address, &["consume", &other]), "{\"a\":1}\n{\"a\":1}\n");
    ok(&place, &address, &["topic", "delete", &made]);
    assert!(!ok(&place, &address, &["topic", "list"]).contains(&made));
}

#[test]
fn at_least_once_loses_nothing_and_keeps_its_place() {
    let Some(cluster) = cluster::shared() else { return };
    let (place, address, input, target) = (Place::new(), cluster.address(), name("in"), name("out"));
    let run = |args: &[&str]| ok(&place, &address, args);
    run(&["topic", "create", &input, "--partitions", "2"]);
    run(&["topic", "create", &target, "--partitions", "1"]);
    // Long enough that no pause of a busy machine is taken for a death: what comes twice then is right, but not what is looked at.
    let quick = ["-X", "session.timeout.ms=10000", "-X", "heartbeat.interval.ms=1000"];
    place.file(
        "job.sql",
        format!(
            "SET job.name = '{target}'; SET delivery = 'at_least_once'; SET epoch.max_rows = 100;
             CREATE TABLE i (id BIGINT) WITH (topic = '{input}'); CREATE TABLE o (id BIGINT) WITH (topic = '{target}');
             INSERT INTO o SELECT id FROM i;"
        ),
    );
    let produce = |ids: std::ops::Range<u32>| {
        let lines: String =
            ids.map(|id| if id % 100 == 7 { format!("poison {id}\n") } else { format!("{{\"id\":{id}}}\n") }).collect();
        place.file("lines", lines);
        run(&["produce", &input, "lines"]);
    };
    let came = || -> Vec<u32> {
        let text = run(&["consume", &target]);
        let mut ids: Vec<u32> =
            text.lines().map(|line| line.trim_start_matches("{\"id\":").trim_end_matches('}').parse().unwrap()).collect();
        ids.sort_unstable();
        ids
    };
    let wanted = |end: u32| (0..end).filter(|id| id % 100 != 7).collect::<Vec<u32>>();
    let job = || start(&place, &address, &[&quick[..], &["run", "job.sql"]].concat());

    // Stopped cleanly it has committed what it wrote: nothing comes twice.
    produce(0..500);
    let mut first = job();
    first.says("delivers at least once");
    first.says("(the earliest record; nothing was committed)");
    // A second process takes a partition over, and gives it back.
    let mut beside = job();
    beside.says(" reads ");
    produce(500..1000);
    until("the first rows", || came().len() >= 990);
    assert_eq!(beside.stop(Signal::SIGTERM).code, 143);
    assert_eq!(first.stop(Signal::SIGTERM).code, 143);
    produce(1000..2000);
    let mut second = job();
    second.says("from its committed offsets");
    until("the second rows", || came().len() >= 1980);
    assert_eq!(came(), wanted(2000), "nothing is lost, and after a clean stop nothing comes twice");

    // Killed at any moment it repeats some rows and loses none.
    produce(2000..12_000);
    until("some more rows", || came().len() >= 2500);
    second.signal(Signal::SIGKILL);
    let third = job();
    until("all rows", || {
        let mut ids = came();
        ids.dedup();
        ids == wanted(12_000)
    });
    // Positions are where Kafka's own tools look for them. What came may be the killed process's, further on than this one is.
    let positions = || -> Vec<(i64, i64)> {
        let told = cluster.tool(
            "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
            &["--describe", "--group", &format!("vatic-{target}")],
        );
        let number = |word: Option<&&str>| word.and_then(|word| word.parse().ok()).unwrap_or(-1);
        let words =
            told.lines().filter(|line| line.contains(&input)).map(|line| line.split_whitespace().collect::<Vec<_>>());
        words.map(|words| (number(words.get(3)), number(words.get(5)))).collect()
    };
    let whole = |all: &[(i64, i64)]| all.len() == 2 && all.iter().map(|at| at.0).sum::<i64>() == 12_000;
    until("the whole input to be behind it", || whole(&positions()));
    let ended = third.stop(Signal::SIGTERM);
    assert_eq!(ended.code, 143, "{ended:#?}");
    let mut bad: Vec<String> =
        letters(&place, &address, &input, 120).iter().map(|letter| letter["value"].as_str().unwrap().to_owned()).collect();
    bad.sort();
    bad.dedup();
    assert_eq!(bad.len(), 120);
    let after = positions();
    assert!(whole(&after) && after.iter().all(|at| at.1 == 0), "{after:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_deleted_under_a_bounded_read_ends_it() {
    let Some(cluster) = tokio::task::spawn_blocking(cluster::shared).await.unwrap() else { return };
    let broker = cluster.open();
    let topic = topic(&broker, 2, &[]).await;
    // Noise, so that compression does not make one fetch of it.
    let mut noise = 1_u64;
    let mut record = || -> Vec<u8> {
        let next = |n: &mut u64| {
            *n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (*n >> 33) as u8
        };
        (0..100_000).map(|_| next(&mut noise)).collect()
    };
    for partition in 0..2 {
        for _ in 0..4 {
            let records: Vec<Vec<u8>> = (0..10).map(|_| record()).collect();
            write(&broker, vec![output(&topic, partition, values(records))]).await;
        }
    }
    let ends = broker.offsets(&topic, OffsetAt::Latest).await.unwrap();
    assert_eq!(ends, [40, 40]);
    // A little is read ahead; the rest would have to be fetched.
    let spec = SourceSpec { budget: 256 << 10, ..reading(&topic, EARLIEST, Some(ends)) };
    let mut source = broker.source(spec).await.unwrap();
    let limit = Limit { rows: 1, bytes: 1 << 20 };
    while !matches!(source.next(limit).await.unwrap(), Event::Cut(_)) {}
    assert!(broker.delete_topic(&topic).await.unwrap());
    let begun = Instant::now();
    let error = loop {
        match tokio::time::timeout(Duration::from_secs(60), source.next(limit)).await.expect("it hangs") {
            Ok(Event::Finished) => panic!("it ends as if everything had been read"),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(
        (error.kind(), error.message()),
        (ErrorKind::External, &*format!("topic \"{topic}\" was deleted while it was read"))
    );
    assert!(error.get_hint().unwrap().contains("Create the topic again"), "{error:?}");
    println!("told after {:?}", begun.elapsed());
}

#[test]
fn records_are_produced_and_consumed_whole() {
    let Some(cluster) = cluster::shared() else { return };
    let (place, address, made) = (Place::new(), cluster.address(), name("whole"));
    ok(&place, &address, &["topic", "create", &made, "--partitions", "1"]);
    place.file("lines", b"k|v|w\nno key\n|empty key\n\xff|\x00\xff\n");
    ok(&place, &address, &["produce", &made, "lines", "--key-separator", "|"]);
    // A tombstone and headers, by way of SQL.
    let insert = format!(
        "CREATE TABLE t (v BYTEA, k VARCHAR METADATA FROM 'key', at TIMESTAMP METADATA FROM 'timestamp',
                         h MAP<VARCHAR, BYTEA> METADATA FROM 'headers') WITH (topic = '{made}', format = 'raw');
         INSERT INTO t (v, k, at, h) VALUES (NULL, 'gone', TIMESTAMP '2026-11-21T04:40:49.123', MAP(['a'], [CAST('b' AS BYTEA)]));"
    );
    ok(&place, &address, &["sql", &insert]);
    let mut follower = start(&place, &address, &["consume", &made, "--follow", "--json"]);
    follower.prints(5);
    place.file("more", "later\n");
    ok(&place, &address, &["produce", &made, "more"]);
    follower.prints(6);
    let ended = follower.stop(Signal::SIGINT);
    assert_eq!(ended.code, 130, "{ended:#?}");
    let records: Vec<Value> = ended.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |name: &str| records.iter().map(|record| record[name].clone()).collect::<Vec<_>>();
    let bytes = |text: &str| serde_json::json!({ "base64": text });
    assert_eq!(of("key"), ["k".into(), Value::Null, "".into(), bytes("/w=="), "gone".into(), Value::Null]);
    assert_eq!(of("value"), ["v|w".into(), "no key".into(), "empty key".into(), bytes("AP8="), Value::Null, "later".into()]);
    assert_eq!(
        (&records[4]["timestamp"], &records[4]["headers"]),
        (&1_795_236_049_123_i64.into(), &serde_json::json!({"a": "b"}))
    );
    assert_eq!(of("offset"), [0, 1, 2, 3, 4, 5]);
    assert_eq!(ok(&place, &address, &["consume", &made]).lines().count(), 6);
}
