//! What every broker must do, tested the same way on each.   `conformance!(module, fn() -> Bench)` makes one test per case.
//!
//! Topics, groups and jobs have names of their own per case, so a broker may be shared by all of them. Several processes are
//! this test binary again, told by an environment variable what to do (see [`child`]).
//! To test another broker: say in [`open`] how its address is opened, then add one `conformance!` line.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray};
use vatic::config::Options;
use vatic::connector::{
    Broker, Commit, Cut, Event, Limit, NewTopic, OffsetAt, Output, Position, Rows, Sink, SinkSpec, Source, SourceSpec,
    Start, TopicSource, embedded::Embedded, kafka::Kafka,
};
use vatic::error::ErrorKind;
use vatic::format::{Records, RecordsBuilder};

use crate::kafka::cluster;

/// A broker under test, and what must live as long as it does.
pub struct Bench {
    pub broker: Arc<dyn Broker>,
    /// A commit of a group leaves a marker, so offsets have gaps.
    pub markers: bool,
    pub _keep: Option<tempfile::TempDir>,
}

/// Opens the broker at `address`, as another process does.
fn open(address: &str) -> Arc<dyn Broker> {
    match address.strip_prefix("embedded:") {
        Some(dir) => Embedded::open(dir.as_ref()).unwrap(),
        None => Kafka::open(address, &Options::default()).unwrap(),
    }
}

fn embedded() -> Option<Bench> {
    let dir = tempfile::tempdir().unwrap();
    Some(Bench { broker: Embedded::open(dir.path()).unwrap(), markers: false, _keep: Some(dir) })
}

fn kafka() -> Option<Bench> {
    Some(Bench { broker: cluster::shared()?.open(), markers: true, _keep: None })
}

macro_rules! conformance {
    ($module:ident, $bench:path: $($case:ident),+ $(,)?) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let Some(bench) = $bench() else { return };
                    tokio::time::timeout(std::time::Duration::from_secs(120), super::$case(&bench)).await.expect("timed out");
                }
            )+
        }
    };
}

conformance!(on_embedded, super::embedded:
    records_come_back_as_they_were, partitions_keep_their_order_apart, offsets_are_found_by_time, reading_begins_where_told,
    positions_commit_with_outputs, a_failed_commit_leaves_nothing, a_dropped_commit_is_whole_or_nothing, reading_ends_at_the_ends,
    a_follower_waits_and_loses_nothing, an_older_writer_is_fenced, a_group_is_forgotten, topics_are_made_and_deleted,
    topics_and_settings_are_checked, limits_are_kept_and_partitions_share, large_records_hold_nobody_up,
    processes_write_and_read_at_once, a_killed_writer_leaves_whole_commits, positions_out_of_range_are_told,
    compaction_keeps_the_newest_of_each_key,
);

conformance!(on_kafka, super::kafka:
    records_come_back_as_they_were, partitions_keep_their_order_apart, offsets_are_found_by_time, reading_begins_where_told,
    positions_commit_with_outputs, a_failed_commit_leaves_nothing, a_dropped_commit_is_whole_or_nothing, reading_ends_at_the_ends,
    a_follower_waits_and_loses_nothing, an_older_writer_is_fenced, a_group_is_forgotten, topics_are_made_and_deleted,
    topics_and_settings_are_checked, limits_are_kept_and_partitions_share, large_records_hold_nobody_up,
    processes_write_and_read_at_once, a_killed_writer_leaves_whole_commits, positions_out_of_range_are_told,
    compaction_keeps_the_newest_of_each_key,
);

// ---- helpers, also for the tests of one broker -------------------------------------------------------------------------------

/// A name that no other case uses.
pub fn name(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{what}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

pub async fn topic(broker: &Arc<dyn Broker>, partitions: i32, config: &[(&str, &str)]) -> String {
    let name = name("topic");
    let config = config.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let new = NewTopic { name: name.clone(), partitions: Some(partitions), replication: None, config };
    assert!(broker.create_topic(&new).await.unwrap());
    name
}

pub fn values<V: AsRef<[u8]>>(values: impl IntoIterator<Item = V>) -> Records {
    let mut builder = RecordsBuilder::with_capacity(8);
    let now = vatic::time::now();
    values.into_iter().for_each(|value| builder.push(0, now, None, Some(value.as_ref()), []));
    builder.finish()
}

pub fn output(topic: &str, partition: i32, records: Records) -> Output {
    Output { topic: topic.into(), partition, records }
}

pub async fn sink(broker: &Arc<dyn Broker>, group: Option<&str>) -> Box<dyn Sink> {
    broker.sink(SinkSpec { group: group.map(str::to_owned), ..SinkSpec::default() }).await.unwrap()
}

/// Writes outputs in one commit; the offsets of their first records.
pub async fn write(broker: &Arc<dyn Broker>, outputs: Vec<Output>) -> Vec<i64> {
    let commit = Commit { outputs, ..Commit::default() };
    sink(broker, None).await.commit(commit).await.unwrap().offsets
}

pub const ALL: Limit = Limit { rows: usize::MAX, bytes: 1 << 30 };

pub fn reading(topic: &str, start: Start, ends: Option<Vec<i64>>) -> SourceSpec {
    let topics = vec![TopicSource { topic: topic.into(), start, ends, partitions: None }];
    SourceSpec { topics, budget: 8 << 20, ..SourceSpec::default() }
}

pub const EARLIEST: Start = Start::At(OffsetAt::Earliest);

/// Reads a topic to its present end: what each partition holds, in order.
pub async fn read_all(broker: &Arc<dyn Broker>, topic: &str) -> BTreeMap<i32, Vec<Record>> {
    let ends = broker.offsets(topic, OffsetAt::Latest).await.unwrap();
    let mut source = broker.source(reading(topic, EARLIEST, Some(ends))).await.unwrap();
    drain(&mut source, ALL).await
}

/// Reads until the source has finished.
pub async fn drain(source: &mut Box<dyn Source>, limit: Limit) -> BTreeMap<i32, Vec<Record>> {
    let mut read: BTreeMap<i32, Vec<Record>> = BTreeMap::new();
    loop {
        match source.next(limit).await.unwrap() {
            Event::Assigned(_) => {}
            Event::Cut(cut) => take(&cut, &mut read),
            Event::Finished => return read,
            other => panic!("{other:?}"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub offset: i64,
    pub time: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

pub fn take(cut: &Cut, into: &mut BTreeMap<i32, Vec<Record>>) {
    for chunk in &cut.chunks {
        let Rows::Records(records) = &chunk.rows else { panic!("records were expected") };
        assert!(!records.is_empty());
        assert!(chunk.next_offset > records.offsets[records.len() - 1]);
        assert!(chunk.end.unwrap() >= chunk.next_offset);
        let all = into.entry(chunk.partition).or_default();
        for row in 0..records.len() {
            let bytes = |array: &arrow::array::BinaryArray| array.is_valid(row).then(|| array.value(row).to_vec());
            let headers = records.headers.as_ref().map_or_else(Vec::new, |map| {
                let entries = map.value(row);
                let (names, values) = (entries.column(0).as_string::<i32>(), entries.column(1).as_binary::<i32>());
                let header = |i: usize| (names.value(i).to_owned(), values.is_valid(i).then(|| values.value(i).to_vec()));
                (0..entries.len()).map(header).collect()
            });
            let (offset, time) = (records.offsets[row], records.timestamps[row]);
            all.push(Record { offset, time, key: bytes(&records.keys), value: bytes(&records.values), headers });
        }
    }
}

pub fn texts(records: &[Record]) -> Vec<String> {
    records.iter().map(|r| String::from_utf8(r.value.clone().unwrap()).unwrap()).collect()
}

async fn next_cut(source: &mut Box<dyn Source>, limit: Limit) -> Cut {
    loop {
        match source.next(limit).await.unwrap() {
            // One without records tells of the membership.
            Event::Cut(cut) if cut.chunks.is_empty() => {}
            Event::Cut(cut) => return cut,
            Event::Assigned(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn position(topic: &str, partition: i32, offset: i64, metadata: &str) -> Position {
    Position { topic: topic.into(), partition, offset, metadata: metadata.to_owned() }
}

/// This binary again, as another process that does `what` (see [`child`]).
pub fn spawn(what: &[&str]) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "conformance::child", "--nocapture", "--test-threads=1"]);
    command.env("VATIC_IT_CHILD", what.join("\n")).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()
}

/// What other processes do; as a test of its own it does nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Ok(what) = std::env::var("VATIC_IT_CHILD") else { return };
    let what: Vec<&str> = what.lines().collect();
    let broker = open(what[1]);
    match what[0] {
        // Commits `commits` times `rows` values "writer/commit/row", spread over the topic's partitions.
        "write" => {
            let (topic, writer) = (what[2], what[3]);
            let (commits, rows) = (what[4].parse::<usize>().unwrap(), what[5].parse::<usize>().unwrap());
            let partitions = broker.topic(topic).await.unwrap().unwrap().partitions;
            let group = format!("group-{topic}-{writer}");
            let mut sink = sink(&broker, Some(&group)).await;
            for commit in 0..commits {
                let of_partition = |partition: i32| {
                    let rows = (0..rows).filter(|row| *row as i32 % partitions == partition);
                    output(topic, partition, values(rows.map(|row| format!("{writer}/{commit}/{row}"))))
                };
                let outputs = (0..partitions).map(of_partition).collect();
                let positions = vec![position(topic, 0, commit as i64 + 1, "done")];
                sink.commit(Commit { outputs, positions, membership: None }).await.unwrap();
            }
        }
        // Is a member of a group until it is killed.
        "hold" => {
            let spec = SourceSpec { group: Some(what[3].to_owned()), ..reading(what[2], EARLIEST, None) };
            let _source = broker.source(spec).await.unwrap();
            println!("holding");
            std::thread::sleep(Duration::from_secs(60));
        }
        other => panic!("a child cannot {other}"),
    }
}

// ---- the cases ---------------------------------------------------------------------------------------------------------------

async fn records_come_back_as_they_were(bench: &Bench) {
    let broker = &bench.broker;
    let topic = topic(broker, 1, &[]).await;
    let time = vatic::time::now();
    let rows: Vec<Record> = (0..100)
        .map(|i: i64| Record {
            offset: i,
            time: time + i % 7,
            key: (i % 3 != 0).then(|| format!("key {i}").into_bytes()),
            value: (i % 4 != 0).then(|| if i % 5 == 0 { Vec::new() } else { vec![i as u8; i as usize] }),
            headers: match i % 6 {
                0 => vec![("trace".into(), Some(vec![1, 2])), ("trace".into(), None), (String::new(), Some(Vec::new()))],
                1 => vec![("ü".into(), Some(b"x".to_vec()))],
                _ => Vec::new(),
            },
        })
        .collect();
    let mut builder = RecordsBuilder::with_capacity(rows.len());
    for r in &rows {
        let headers = r.headers.iter().map(|(n, v)| (n.as_str(), v.as_deref()));
        builder.push(0, r.time, r.key.as_deref(), r.value.as_deref(), headers);
    }
    let all = builder.finish();
    // In slices of different commits, so that columns begin in the middle of their buffers.
    for (start, length) in [(0, 1), (1, 30), (31, 69)] {
        assert_eq!(write(broker, vec![output(&topic, 0, all.slice(start, length))]).await, [start as i64]);
    }
    assert_eq!(read_all(broker, &topic).await.remove(&0).unwrap(), rows);
}

async fn partitions_keep_their_order_apart(bench: &Bench) {
    let broker = &bench.broker;
    let topic = topic(broker, 3, &[]).await;
    let text = |n: i32| format!("{n}");
    // Two outputs of one partition in one commit keep their order; the answer says where each begins.
    let outputs = vec![
        output(&topic, 2, values((0..5).map(text))),
        output(&topic, 0, values((5..6).map(text))),
        output(&topic, 2, values((6..9).map(text))),
    ];
    assert_eq!(write(broker, outputs).await, [0, 0, 5]);
    assert_eq!(write(broker, vec![output(&topic, 2, values(["9"]))]).await, [8]);
    let read = read_all(broker, &topic).await;
    assert_eq!(texts(&read[&2]), ["0", "1", "2", "3", "4", "6", "7", "8", "9"]);
    assert_eq!(read[&2].iter().map(|r| r.offset).collect::<Vec<_>>(), (0..9).collect::<Vec<_>>());
    assert_eq!(texts(&read[&0]), ["5"]);
    assert_eq!(broker.offsets(&topic, OffsetAt::Latest).await.unwrap(), [1, 0, 9]);
    assert_eq!(broker.offsets(&topic, OffsetAt::Earliest).await.unwrap(), [0, 0, 0]);
}

async fn offsets_are_found_by_time(bench: &Bench) {
    let broker = &bench.broker;
    let topic = topic(broker, 2, &[]).await;
    let zero = vatic::time::now();
    // Times that go back and forth, over several commits.
    let times: Vec<i64> = vec![10, 20, 15, 30, 5, 5, 40, 35, 60, 50];
    for commit in times.chunks(3) {
        let mut builder = RecordsBuilder::with_capacity(3);
        commit.iter().for_each(|t| builder.push(0, zero + t, None, Some(b"x"), []));
        write(broker, vec![output(&topic, 1, builder.finish())]).await;
    }
    for at in 0..70 {
        let wanted = times.iter().position(|t| *t >= at).unwrap_or(times.len()) as i64;
        let found = broker.offsets(&topic, OffsetAt::Timestamp(zero + at)).await.unwrap();
        assert_eq!(found, [0, wanted], "at {at}");
    }
}

async fn reading_begins_where_told(bench: &Bench) {
    let broker = &bench.broker;
    let topic = topic(broker, 2, &[]).await;
    let zero = vatic::time::now();
    for partition in 0..2 {
        let mut builder = RecordsBuilder::with_capacity(9);
        (0..10).for_each(|i| builder.push(0, zero + i, None, Some(b"x"), []));
        write(broker, vec![output(&topic, partition, builder.finish())]).await;
    }
    let named = Start::Offsets(BTreeMap::from([(1, 10)]));
    for (start, wanted) in [
        (EARLIEST, [0, 0]),
        (Start::At(OffsetAt::Latest), [10, 10]),
        (Start::At(OffsetAt::Timestamp(zero + 4)), [4, 4]),
        (Start::At(OffsetAt::Timestamp(zero + 99)), [10, 10]),
        (named, [0, 10]),
    ] {
        let mut source = broker.source(reading(&topic, start.clone(), Some(vec![10, 10]))).await.unwrap();
        let Event::Assigned(assigned) = source.next(ALL).await.unwrap() else { panic!("the assignment comes first") };
        assert_eq!(assigned.iter().map(|a| a.partition).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(assigned.iter().map(|a| a.offset).collect::<Vec<_>>(), wanted, "{start:?}");
        assert!(assigned.iter().all(|a| a.committed.is_none()));
        let read = drain(&mut source, ALL).await;
        for (partition, first) in wanted.iter().enumerate() {
            let offsets: Vec<i64> =
                read.get(&(partition as i32)).map_or_else(Vec::new, |r| r.iter().map(|r| r.offset).collect());
            assert_eq!(offsets, (*first..10).collect::<Vec<_>>());
        }
    }
    // One partition of two.
    let mut spec = reading(&topic, EARLIEST, Some(vec![10, 10]));
    spec.topics[0].partitions = Some(vec![1]);
    let read = drain(&mut broker.source(spec).await.unwrap(), ALL).await;
    assert_eq!(read.into_keys().collect::<Vec<_>>(), [1]);
}

async fn positions_commit_with_outputs(bench: &Bench) {
    let broker = &bench.broker;
    let input = topic(broker, 2, &[]).await;
    let out = topic(broker, 1, &[]).await;
    let group = name("group");
    write(broker, vec![output(&input, 0, values(["a", "b", "c"])), output(&input, 1, values(["d"]))]).await;
    let mut sink = sink(broker, Some(&group)).await;
    let positions = vec![position(&input, 0, 2, "{\"epoch\":1}"), position("file:x.csv", 0, 77, "")];
    sink.commit(Commit { outputs: vec![output(&out, 0, values(["A", "B"]))], positions, membership: None }).await.unwrap();
    sink.commit(Commit { positions: vec![position(&input, 1, 1, "m")], ..Commit::default() }).await.unwrap();
    let topics = [input.clone(), "file:x.csv".to_owned()];
    let stored = broker.positions(&group, &topics).await.unwrap();
    assert_eq!(stored.len(), 3);
    assert!(stored.contains(&position(&input, 0, 2, "{\"epoch\":1}")), "{stored:?}");
    assert!(stored.contains(&position("file:x.csv", 0, 77, "")), "{stored:?}");
    assert!(broker.positions(&name("group"), &topics).await.unwrap().is_empty());
    // Who comes next goes on from there, and gets back what was stored.
    let spec = SourceSpec { group: Some(group.clone()), ..reading(&input, Start::At(OffsetAt::Latest), Some(vec![3, 1])) };
    let mut source = broker.source(spec).await.unwrap();
    let Event::Assigned(assigned) = source.next(ALL).await.unwrap() else { panic!("the assignment comes first") };
    let begins: Vec<_> = assigned.iter().map(|a| (a.partition, a.offset, a.committed.as_deref())).collect();
    assert_eq!(begins, [(0, 2, Some("{\"epoch\":1}")), (1, 1, Some("m"))]);
    let read = drain(&mut source, ALL).await;
    assert_eq!((texts(&read[&0]), read.len()), (vec!["c".to_owned()], 1));
}

async fn a_failed_commit_leaves_nothing(bench: &Bench) {
    let broker = &bench.broker;
    let topic = topic(broker, 2, &[("max.message.bytes", "2000")]).await;
    let group = name("group");
    for bad in [
        output(&topic, 1, values([vec![7; 3000]])),
        output(&name("missing"), 0, values(["x"])),
        output(&topic, 9, values(["x"])),
    ] {
        let mut sink = sink(broker, Some(&group)).await;
        let outputs = vec![output(&topic, 0, values(["x"])), bad];
        let commit = Commit { outputs, positions: vec![position(&topic, 0, 1, "")], membership: None };
        assert!(sink.commit(commit).await.is_err());
    }
    assert_eq!(broker.offsets(&topic, OffsetAt::Latest).await.unwrap(), [0, 0]);
    assert!(broker.positions(&group, std::slice::from_ref(&topic)).await.unwrap().is_empty());
    let error = sink(broker, None)
        .await
        .commit(Commit { outputs: vec![output(&topic, 0, values([vec![7; 3000]]))], ..Commit::default() })
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.message().contains(&format!("too large for topic \"{topic}\", which takes 2000")), "{error:?}");
}

async fn a_dropped_commit_is_whole_or_nothing(bench: &Bench) {
    let broker = &bench.broker;
    let topic = topic(broker, 2, &[]).await;
    let group = name("group");
    // A new producer on Kafka takes a second, a commit some milliseconds.
    let (rounds, step) = if bench.markers { (15, 1_300) } else { (60, 20) };
    for round in 0..rounds {
        let mut sink = sink(broker, Some(&group)).await;
        let outputs = (0..2).map(|p| output(&topic, p, values((0..50).map(|i| format!("{round}/{i}"))))).collect();
        let commit = Commit { outputs, positions: vec![position(&topic, 0, round as i64, "")], membership: None };
        let committed = tokio::time::timeout(Duration::from_micros(step * round), sink.commit(commit)).await;
        // The next writer ends what this one began: from here on the outcome stands.
        let next = broker.sink(SinkSpec { group: Some(group.clone()), ..SinkSpec::default() }).await.unwrap();
        let there = texts(&read_all(broker, &topic).await.remove(&1).unwrap_or_default()).contains(&format!("{round}/49"));
        let position = broker.positions(&group, std::slice::from_ref(&topic)).await.unwrap();
        assert_eq!(there, position.first().is_some_and(|p| p.offset == round as i64), "{position:?}");
        assert!(there || committed.is_err());
        drop(next);
    }
    let read = read_all(broker, &topic).await;
    assert_eq!(read.get(&0).map(|r| texts(r)), read.get(&1).map(|r| texts(r)));
}

async fn reading_ends_at_the_ends(bench: &Bench) {
    let broker = &bench.broker;
    let topic = topic(broker, 2, &[]).await;
    write(broker, vec![output(&topic, 0, values(["a", "b", "c"]))]).await;
    // An end in the middle of a batch; what comes later is not read; an empty partition ends at once.
    let mut source = broker.source(reading(&topic, EARLIEST, Some(vec![2, 0]))).await.unwrap();
    write(broker, vec![output(&topic, 1, values(["late"]))]).await;
    let read = drain(&mut source, ALL).await;
    assert_eq!((texts(&read[&0]), read.len()), (vec!["a".to_owned(), "b".to_owned()], 1));
    assert!(matches!(source.next(ALL).await.unwrap(), Event::Finished));
}

async fn a_follower_waits_and_loses_nothing(bench: &Bench) {
    let broker = &bench.broker;
    let topic = topic(broker, 2, &[]).await;
    let mut source = broker.source(reading(&topic, Start::At(OffsetAt::Latest), None)).await.unwrap();
    assert!(matches!(source.next(ALL).await.unwrap(), Event::Assigned(_)));
    let writer = Arc::clone(broker);
    let written = topic.clone();
    let writing = tokio::spawn(async move {
        let mut sink = sink(&writer, None).await;
        for i in 0..200 {
            let outputs = vec![output(&written, i % 2, values([format!("{i}")]))];
            sink.commit(Commit { outputs, ..Commit::default() }).await.unwrap();
            tokio::time::sleep(Duration::from_micros(300)).await;
        }
    });
    // Calls are dropped all the time, at any point.
    let mut read = BTreeMap::new();
    while read.values().map(Vec::len).sum::<usize>() < 200 {
        if let Ok(event) = tokio::time::timeout(Duration::from_micros(200), source.next(ALL)).await {
            let Event::Cut(cut) = event.unwrap() else { panic!("a follower never ends") };
            take(&cut, &mut read);
        }
    }
    writing.await.unwrap();
    for partition in 0..2 {
        let wanted: Vec<String> = (0..200).filter(|i| i % 2 == partition).map(|i| i.to_string()).collect();
        assert_eq!(texts(&read[&partition]), wanted);
    }
}

async fn an_older_writer_is_fenced(bench: &Bench) {
    let broker = &bench.broker;
    let topic = topic(broker, 1, &[]).await;
    let group = name("group");
    let commit = |text: &str| Commit {
        outputs: vec![output(&topic, 0, values([text]))],
        positions: vec![position(&topic, 0, 0, text)],
        membership: None,
    };
    let mut old = sink(broker, Some(&group)).await;
    old.commit(commit("1")).await.unwrap();
    let mut new = sink(broker, Some(&group)).await;
    let mut other = sink(broker, Some(&name("group"))).await;
    assert!(old.commit(commit("2")).await.is_err());
    new.commit(commit("3")).await.unwrap();
    other.commit(commit("4")).await.unwrap();
    assert!(old.commit(commit("5")).await.is_err());
    assert_eq!(texts(&read_all(broker, &topic).await[&0]), ["1", "3", "4"]);
    assert_eq!(broker.positions(&group, std::slice::from_ref(&topic)).await.unwrap(), [position(&topic, 0, 0, "3")]);
}

async fn a_group_is_forgotten(bench: &Bench) {
    let broker = &bench.broker;
    let topic = topic(broker, 1, &[]).await;
    let group = name("group");
    write(broker, vec![output(&topic, 0, values(["a", "b"]))]).await;
    let mut sink = sink(broker, Some(&group)).await;
    sink.commit(Commit { positions: vec![position(&topic, 0, 1, "")], ..Commit::default() }).await.unwrap();
    let spec = || SourceSpec { group: Some(group.clone()), ..reading(&topic, EARLIEST, None) };
    let mut source = broker.source(spec()).await.unwrap();
    assert_eq!(
        texts(&{
            let mut read = BTreeMap::new();
            take(&next_cut(&mut source, ALL).await, &mut read);
            read.remove(&0).unwrap()
        }),
        ["b"]
    );
    let error = broker.reset_group(&group, std::slice::from_ref(&topic)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::User, "{error:?}");
    drop(source);
    broker.reset_group(&group, std::slice::from_ref(&topic)).await.unwrap();
    assert!(broker.positions(&group, std::slice::from_ref(&topic)).await.unwrap().is_empty());
    let mut source = broker.source(spec()).await.unwrap();
    let Event::Assigned(assigned) = source.next(ALL).await.unwrap() else { panic!("the assignment comes first") };
    assert_eq!((assigned[0].offset, &assigned[0].committed), (0, &None));
}

async fn topics_are_made_and_deleted(bench: &Bench) {
    let broker = &bench.broker;
    let topic = topic(broker, 2, &[("retention.ms", "-1")]).await;
    let found = broker.topic(&topic).await.unwrap().unwrap();
    assert_eq!(
        (found.partitions, found.config["retention.ms"].as_str(), found.config["cleanup.policy"].as_str()),
        (2, "-1", "delete")
    );
    assert!(broker.topics().await.unwrap().contains(&found));
    let again = NewTopic { name: topic.clone(), partitions: Some(5), ..NewTopic::default() };
    assert!(!broker.create_topic(&again).await.unwrap());
    assert_eq!(broker.topic(&topic).await.unwrap().unwrap().partitions, 2);
    write(broker, vec![output(&topic, 1, values(["x"]))]).await;
    assert!(broker.delete_topic(&topic).await.unwrap());
    assert!(!broker.delete_topic(&topic).await.unwrap());
    assert!(broker.topic(&topic).await.unwrap().is_none());
    for error in [
        broker.offsets(&topic, OffsetAt::Latest).await.unwrap_err(),
        broker.source(reading(&topic, EARLIEST, None)).await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.message()), (ErrorKind::User, format!("no topic \"{topic}\"").as_str()));
        assert!(error.get_hint().unwrap().contains(&format!("vatic topic create {topic}")), "{error:?}");
    }
    // A new topic of the old name begins empty.
    assert!(broker.create_topic(&again).await.unwrap());
    assert_eq!(broker.offsets(&topic, OffsetAt::Latest).await.unwrap(), [0; 5]);
    assert_eq!(write(broker, vec![output(&topic, 1, values(["y"]))]).await, [0]);
}

async fn topics_and_settings_are_checked(bench: &Bench) {
    let broker = &bench.broker;
    let new = |name: &str, config: &[(&str, &str)]| NewTopic {
        name: name.to_owned(),
        config: config.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        ..NewTopic::default()
    };
    for bad in [
        new("a b", &[]),
        new("", &[]),
        new(&name("t"), &[("retention.msec", "1")]),
        new(&name("t"), &[("retention.ms", "x")]),
    ] {
        assert_eq!(broker.create_topic(&bad).await.unwrap_err().kind(), ErrorKind::User, "{bad:?}");
    }
}

async fn limits_are_kept_and_partitions_share(bench: &Bench) {
    let broker = &bench.broker;
    let topic = topic(broker, 4, &[]).await;
    for partition in 0..4 {
        write(broker, vec![output(&topic, partition, values((0..1000).map(|i| format!("{i:04}"))))]).await;
    }
    let begun = Instant::now();
    let (mut source, cut) = loop {
        let spec = SourceSpec { budget: 1 << 20, ..reading(&topic, EARLIEST, Some(vec![1000; 4])) };
        let mut source = broker.source(spec).await.unwrap();
        assert!(matches!(source.next(ALL).await.unwrap(), Event::Assigned(_)));
        tokio::time::sleep(Duration::from_millis(200)).await;
        let cut = next_cut(&mut source, Limit { rows: 100, bytes: 1 << 20 }).await;
        // Not all four partitions were at hand yet: once more.
        if cut.chunks.len() == 4 || begun.elapsed() > Duration::from_secs(60) {
            break (source, cut);
        }
    };
    let mut read = BTreeMap::new();
    assert_eq!(cut.chunks.iter().map(|c| (c.rows.len(), c.next_offset)).collect::<Vec<_>>(), [(25, 25); 4]);
    take(&cut, &mut read);
    // At least one record comes, however small the limit.
    let cut = next_cut(&mut source, Limit { rows: 100, bytes: 0 }).await;
    assert_eq!(cut.chunks.iter().map(|c| c.rows.len()).sum::<usize>(), 1);
    take(&cut, &mut read);
    let cut = next_cut(&mut source, Limit { rows: 1 << 20, bytes: 4000 }).await;
    assert!(cut.chunks.iter().map(|c| c.rows.bytes()).sum::<usize>() <= 4000 && cut.chunks.len() == 4);
    take(&cut, &mut read);
    for (partition, rest) in drain(&mut source, Limit { rows: 333, bytes: 1 << 20 }).await {
        read.get_mut(&partition).unwrap().extend(rest);
    }
    let wanted: Vec<String> = (0..1000).map(|i| format!("{i:04}")).collect();
    assert!((0..4).all(|partition| texts(&read[&partition]) == wanted));
}

async fn large_records_hold_nobody_up(bench: &Bench) {
    let broker = &bench.broker;
    let models = topic(broker, 1, &[("max.message.bytes", "67108864")]).await;
    let small = topic(broker, 1, &[]).await;
    let model: Vec<u8> = (0..40_u32 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut sink = sink(broker, None).await;
    // Were it one transaction, a commit would wait for nearly all of it, each time; a busy machine's pause comes once.
    let mut told = Vec::new();
    let held_up = loop {
        let (writer, written, bytes) = (Arc::clone(broker), models.clone(), model.clone());
        let published = Instant::now();
        let publishing = tokio::spawn(async move {
            write(&writer, vec![output(&written, 0, values([&b"before"[..], &bytes, b"after"]))]).await
        });
        let (mut commits, mut slowest) = (0, Duration::ZERO);
        while !publishing.is_finished() {
            let begun = Instant::now();
            sink.commit(Commit { outputs: vec![output(&small, 0, values(["x"]))], ..Commit::default() }).await.unwrap();
            (commits, slowest) = (commits + 1, slowest.max(begun.elapsed()));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let first = publishing.await.unwrap();
        assert!(!told.is_empty() || first == [0], "{first:?}");
        let whole = published.elapsed();
        told.push((commits, slowest, whole));
        // A real broker's own pauses are not ours.
        let held_up = commits <= 10 || (!bench.markers && slowest >= whole / 3);
        if !held_up || told.len() == 4 {
            break held_up;
        }
    };
    assert!(!held_up, "commits, the slowest, the whole: {told:?}");
    // A budget far below the record's size does not keep it out.
    let spec = SourceSpec { budget: 1 << 20, ..reading(&models, EARLIEST, Some(vec![3])) };
    let read = drain(&mut broker.source(spec).await.unwrap(), Limit { rows: 1, bytes: 1 << 20 }).await;
    let sizes: Vec<usize> = read[&0].iter().map(|r| r.value.as_ref().unwrap().len()).collect();
    assert_eq!(sizes, [6, model.len(), 5]);
    assert!(read[&0][1].value.as_ref().unwrap() == &model);
}

async fn processes_write_and_read_at_once(bench: &Bench) {
    let broker = &bench.broker;
    let topic = topic(broker, 2, &[]).await;
    let (writers, commits, rows) = (3, 60, 20);
    let mut source = broker.source(reading(&topic, EARLIEST, None)).await.unwrap();
    let children: Vec<Child> = (0..writers)
        .map(|w| spawn(&["write", broker.address(), &topic, &w.to_string(), &commits.to_string(), &rows.to_string()]))
        .collect();
    let mut read = BTreeMap::new();
    while read.values().map(Vec::len).sum::<usize>() < writers * commits * rows {
        take(&next_cut(&mut source, Limit { rows: 500, bytes: 1 << 20 }).await, &mut read);
    }
    for child in children {
        assert!(child.wait_with_output().unwrap().status.success());
    }
    assert!(tokio::time::timeout(Duration::from_millis(50), source.next(ALL)).await.is_err(), "more came than was written");
    assert_eq!(read_all(broker, &topic).await, read);
    for (partition, records) in &read {
        assert!(bench.markers || records.iter().enumerate().all(|(i, r)| r.offset == i as i64));
        let all = texts(records);
        for writer in 0..writers {
            let of_writer: Vec<&String> = all.iter().filter(|v| v.starts_with(&format!("{writer}/"))).collect();
            let wanted: Vec<String> = (0..commits)
                .flat_map(|c| {
                    (0..rows).filter(|row| *row as i32 % 2 == *partition).map(move |row| format!("{writer}/{c}/{row}"))
                })
                .collect();
            assert!(of_writer.into_iter().eq(wanted.iter()), "writer {writer}, partition {partition}");
        }
    }
}

async fn a_killed_writer_leaves_whole_commits(bench: &Bench) {
    let broker = &bench.broker;
    let rows = 40;
    let mut most = 0;
    for round in 0..8 {
        let topic = topic(broker, 2, &[]).await;
        let mut child = spawn(&["write", broker.address(), &topic, "w", "1000000", &rows.to_string()]);
        // The first commit has begun, in every other round the third or a later one; then at some moment the end comes.
        let there = if round % 2 == 0 { 0 } else { 2 * rows as i64 };
        let begun = Instant::now();
        while broker.offsets(&topic, OffsetAt::Latest).await.unwrap()[0] <= there {
            assert!(begun.elapsed() < Duration::from_secs(90), "the writer writes nothing");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        tokio::time::sleep(Duration::from_micros(3_700 * round)).await;
        child.kill().unwrap(); // SIGKILL
        child.wait().unwrap();
        // The next writer ends what this one began.
        let group = format!("group-{topic}-w");
        drop(sink(broker, Some(&group)).await);
        let read = read_all(broker, &topic).await;
        let (even, odd) = (texts(&read[&0]), texts(&read[&1]));
        let commits = even.len() / (rows / 2);
        most = most.max(commits);
        for (partition, all) in [(0, even), (1, odd)] {
            let wanted = (0..commits)
                .flat_map(|c| (0..rows).filter(|row| row % 2 == partition).map(move |row| format!("w/{c}/{row}")));
            assert!(all.into_iter().eq(wanted), "round {round}: part of a commit, or one twice");
        }
        let stored = broker.positions(&group, std::slice::from_ref(&topic)).await.unwrap();
        assert_eq!(stored, [position(&topic, 0, commits as i64, "done")]);
    }
    assert!(most > 1, "no writer came further than its first commit");
}

async fn positions_out_of_range_are_told(bench: &Bench) {
    let broker = &bench.broker;
    let topic = topic(broker, 1, &[]).await;
    write(broker, vec![output(&topic, 0, values(["a", "b"]))]).await;
    let error = broker.source(reading(&topic, Start::Offsets(BTreeMap::from([(0, 3)])), None)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::User);
    assert!(error.message().contains("holds offsets 0 to 2") && error.message().ends_with('3'), "{error:?}");
    let job = name("job");
    let group = format!("vatic-{job}");
    sink(broker, Some(&group))
        .await
        .commit(Commit { positions: vec![position(&topic, 0, 7, "")], ..Commit::default() })
        .await
        .unwrap();
    let spec = SourceSpec { group: Some(group.clone()), ..reading(&topic, EARLIEST, None) };
    let error = broker.source(spec).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert_eq!(
        error.message(),
        format!("topic \"{topic}\" partition 0 holds offsets 0 to 2, and group \"{group}\" committed 7")
    );
    assert!(error.get_hint().unwrap().contains(&format!("RESET JOB \"{job}\"")), "{error:?}");
}

async fn compaction_keeps_the_newest_of_each_key(bench: &Bench) {
    // That records do go is shown per broker; what must hold on each, whenever it cleans, is what a reader sees last per key.
    let broker = &bench.broker;
    let topic = topic(broker, 1, &[("cleanup.policy", "compact")]).await;
    let mut wanted = BTreeMap::new();
    for round in 0..20 {
        let mut builder = RecordsBuilder::with_capacity(8);
        for i in 0..50 {
            let key = format!("k{}", (i * 7 + round) % 30).into_bytes();
            let value = ((i + round) % 5 != 0).then(|| format!("{round}/{i}").into_bytes());
            builder.push(0, vatic::time::now(), Some(&key), value.as_deref(), []);
            wanted.insert(key, value);
        }
        write(broker, vec![output(&topic, 0, builder.finish())]).await;
    }
    let error = sink(broker, None)
        .await
        .commit(Commit { outputs: vec![output(&topic, 0, values(["x"]))], ..Commit::default() })
        .await;
    assert!(error.is_err(), "a compacted topic takes no record without a key");
    let read = read_all(broker, &topic).await.remove(&0).unwrap();
    assert!(read.windows(2).all(|pair| pair[0].offset < pair[1].offset));
    let last: BTreeMap<_, _> = read.into_iter().map(|r| (r.key.unwrap(), r.value)).collect();
    assert_eq!(last, wanted);
}
