//! Epochs are invisible: however the input is cut, spread, interrupted and taken up again, a job writes what the same query
//! answers over the whole topic, each row once, and puts aside exactly the bad records.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use vatic::connector::Broker;
use vatic::connector::embedded::Embedded;
use vatic::engine::JobStatus;
use vatic::error::ErrorKind;

use crate::rig::{Rig, Script, Scripted, header, until};

/// One record of the input.
#[derive(Debug, Clone)]
enum Line {
    Good {
        a: Option<i64>,
        s: Option<i64>,
    },
    /// `100 / a` fails.
    Zero,
    /// `CAST(s AS BIGINT)` fails.
    NoNumber,
    /// `a` is text.
    WrongType,
    /// No `id`, which is NOT NULL.
    NoId,
    NoJson,
}

impl Line {
    fn text(&self, id: usize) -> String {
        match self {
            Line::Good { a, s } => json!({"id": id, "a": a, "s": s.map(|s| s.to_string())}).to_string(),
            Line::Zero => json!({"id": id, "a": 0, "s": "1"}).to_string(),
            Line::NoNumber => json!({"s": "1x", "id": id, "a": 7}).to_string(),
            Line::WrongType => json!({"id": id, "a": "seven"}).to_string(),
            Line::NoId => json!({"a": 1, "s": "2"}).to_string(),
            Line::NoJson => format!("{{\"id\": {id}, oops"),
        }
    }
}

/// A query over `t (id BIGINT NOT NULL, a BIGINT, s VARCHAR)`, and the reason why it cannot use a line.
struct Query {
    sql: &'static str,
    reads_a: bool,
    divides: fn(usize) -> bool,
    casts: fn(usize) -> bool,
}

const QUERIES: &[Query] = &[
    Query { sql: "SELECT id, a, s FROM t", reads_a: true, divides: |_| false, casts: |_| false },
    Query { sql: "SELECT id, 100 / a AS q FROM t", reads_a: true, divides: |_| true, casts: |_| false },
    Query {
        sql: "SELECT id, CAST(s AS BIGINT) AS c FROM t WHERE id % 3 <> 1",
        reads_a: false,
        divides: |_| false,
        casts: |id| id % 3 != 1,
    },
    Query { sql: "SELECT id, 100 / a AS q FROM t WHERE a <> 0", reads_a: true, divides: |_| false, casts: |_| false },
    Query { sql: "SELECT id FROM t WHERE 100 / a > 3", reads_a: true, divides: |_| true, casts: |_| false },
    // One topic, two leaves: what is bad for both is put aside once.
    Query {
        sql: "SELECT id, 100 / a AS q FROM t WHERE id % 2 = 0 UNION ALL SELECT id, 50 / a AS q FROM t WHERE id % 2 = 1",
        reads_a: true,
        divides: |_| true,
        casts: |_| false,
    },
];

impl Query {
    fn fault(&self, line: &Line, id: usize) -> Option<&'static str> {
        match line {
            Line::NoJson => Some("decode"),
            Line::NoId => Some("null"),
            Line::WrongType if self.reads_a => Some("decode"),
            Line::Zero if (self.divides)(id) => Some("expression"),
            Line::NoNumber if (self.casts)(id) => Some("expression"),
            // Its `s` is missing, which casts to NULL.
            _ => None,
        }
    }
}

/// How one run of the job is disturbed.
#[derive(Debug, Clone)]
enum Trouble {
    CommitFails { number: usize, made: bool },
    SourceFails { after: usize },
    Stop { after: usize },
}

#[derive(Debug, Clone)]
struct Case {
    query: usize,
    /// By partition, what each commit of the producer holds.
    input: Vec<Vec<Vec<Line>>>,
    targets: i32,
    cuts: Vec<usize>,
    waits: u64,
    troubles: Vec<Trouble>,
}

fn line() -> impl Strategy<Value = Line> {
    let number = || prop::option::weighted(0.9, prop_oneof![1_i64..100, -100_i64..-1]);
    prop_oneof![
        14 => (number(), number()).prop_map(|(a, s)| Line::Good { a, s }),
        2 => Just(Line::Zero),
        2 => Just(Line::NoNumber),
        1 => Just(Line::WrongType),
        1 => Just(Line::NoId),
        1 => Just(Line::NoJson),
    ]
}

fn case() -> impl Strategy<Value = Case> {
    let commit = prop::collection::vec(line(), 1..40);
    let partition = prop::collection::vec(commit, 0..4);
    let trouble = prop_oneof![
        (0_usize..4, any::<bool>()).prop_map(|(number, made)| Trouble::CommitFails { number, made }),
        (0_usize..6).prop_map(|after| Trouble::SourceFails { after }),
        (0_usize..4).prop_map(|after| Trouble::Stop { after }),
    ];
    (
        0..QUERIES.len(),
        prop::collection::vec(partition, 1..5),
        prop_oneof![2 => Just(1), 1 => 2..4_i32],
        prop::collection::vec(1_usize..50, 0..4),
        0_u64..4,
        prop::collection::vec(trouble, 0..4),
    )
        .prop_map(|(query, input, targets, cuts, waits, troubles)| Case {
            query,
            input,
            targets,
            cuts,
            waits,
            troubles,
        })
}

const COLUMNS: &str = "(id BIGINT NOT NULL, a BIGINT, s VARCHAR)";

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn however_it_is_cut_and_interrupted(case in case()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async { tokio::time::timeout(Duration::from_secs(120), check(&case)).await.expect("timed out") });
    }
}

async fn check(case: &Case) {
    let query = &QUERIES[case.query];
    let dir = tempfile::tempdir().unwrap();
    let embedded: Arc<dyn Broker> = Embedded::open(dir.path()).unwrap();
    let rig = Rig::over(Arc::clone(&embedded));
    let partitions = i32::try_from(case.input.len()).unwrap();
    rig.topic("t", partitions).await;
    rig.topic("good", partitions).await;
    let mut bad = BTreeSet::new();
    for (partition, commits) in (0..).zip(&case.input) {
        let mut offset = 0;
        for lines in commits {
            let at = |i: usize| usize::try_from(partition).unwrap() * 10_000 + offset + i;
            let texts: Vec<String> = lines.iter().enumerate().map(|(i, line)| line.text(at(i))).collect();
            assert_eq!(rig.produce("t", partition, &texts).await, i64::try_from(offset).unwrap());
            let mut good = Vec::new();
            for (i, (line, text)) in lines.iter().zip(&texts).enumerate() {
                match query.fault(line, at(i)) {
                    None => good.push(text),
                    Some(reason) => {
                        bad.insert(("t".to_owned(), partition.to_string(), (offset + i).to_string(), reason.to_owned()));
                    }
                }
            }
            if !good.is_empty() {
                rig.produce("good", partition, good).await;
            }
            offset += lines.len();
        }
    }
    // What it should be: one answer over the good records.
    let mut whole = Rig::over(Arc::clone(&embedded));
    let declare = format!("CREATE TABLE t {COLUMNS} WITH (connector = 'kafka', topic = 'good');");
    let expected = whole.rows(&format!("{declare} {}", query.sql)).await.unwrap();

    // What it is: as many runs as there is trouble, and one to the end.
    for trouble in case.troubles.iter().map(Some).chain([None]) {
        run(case, query, trouble, &embedded).await;
    }

    let records = rig.records("out").await;
    let written: Vec<Value> =
        records.iter().map(|(_, r)| serde_json::from_slice(r.value.as_ref().unwrap()).unwrap()).collect();
    let sorted = |rows: &[Value]| {
        let mut rows: Vec<String> = rows.iter().map(Value::to_string).collect();
        rows.sort();
        rows
    };
    assert_eq!(sorted(&written), sorted(&expected), "{}", query.sql);
    let mut last: BTreeMap<(i32, i64), i64> = BTreeMap::new();
    for ((to, _), row) in records.iter().zip(&written) {
        let id = row["id"].as_i64().unwrap();
        // Two leaves of one plan are two ways: each keeps its order.
        let way = if query.sql.contains("UNION") { id % 2 * 100 } else { 0 };
        if let Some(before) = last.insert((*to, id / 10_000 + way), id) {
            assert!(before < id, "{before} before {id} in partition {to}");
        }
    }
    let letters = rig.records("vatic-dead-letters").await;
    let mut told = BTreeSet::new();
    for (_, letter) in &letters {
        let [topic, partition, offset, reason] =
            ["vatic.topic", "vatic.partition", "vatic.offset", "vatic.reason"].map(|name| header(letter, name));
        let (line, offset_number) =
            (usize::try_from(partition.parse::<i32>().unwrap()).unwrap(), offset.parse::<usize>().unwrap());
        let original = case.input[line].iter().flatten().nth(offset_number).unwrap().text(line * 10_000 + offset_number);
        assert_eq!(letter.value.as_deref(), Some(original.as_bytes()));
        assert_eq!(header(letter, "vatic.job"), "out");
        assert!(told.insert((topic, partition, offset, reason)), "twice: {:?}", letter.headers);
    }
    assert_eq!(told, bad, "{}", query.sql);
}

/// One run of the job: a process's worth.
async fn run(case: &Case, query: &Query, trouble: Option<&Trouble>, embedded: &Arc<dyn Broker>) {
    let mut script =
        Script { cuts: case.cuts.clone(), commit_waits: Duration::from_millis(case.waits), ..Script::default() };
    match trouble {
        Some(Trouble::CommitFails { number, made }) => script.commit_fails = Some((*number, *made)),
        Some(Trouble::SourceFails { after }) => script.source_fails = Some(*after),
        Some(Trouble::Stop { .. }) | None => {}
    }
    let script = Arc::new(script);
    let broker = Scripted { broker: Arc::clone(embedded), script: Arc::clone(&script) };
    let mut rig = Rig::over(Arc::new(broker)).until_end();
    let job = rig
        .job(&format!(
            "CREATE TABLE t {COLUMNS} WITH (connector = 'kafka');
             CREATE TABLE out WITH (connector = 'kafka', \"topic.partitions\" = '{}') AS {}",
            case.targets, query.sql
        ))
        .await;
    if let Some(Trouble::Stop { after }) = trouble {
        until("commits", async || script.ended.load(Ordering::SeqCst) >= *after || job.status().ended()).await;
        job.stop();
    }
    match job.wait().await {
        Ok(()) => {}
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::External, "{error:?}");
            assert!(error.message().contains("the script ends"), "{error:?}");
            assert!(matches!(trouble, Some(Trouble::CommitFails { .. } | Trouble::SourceFails { .. })), "{error:?}");
        }
    }
    assert_eq!(script.begun.load(Ordering::SeqCst), script.ended.load(Ordering::SeqCst), "a commit outlived its job");
}

async fn scripted(script: Script) -> (Rig, Arc<Script>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let script = Arc::new(script);
    let broker = Scripted { broker: Embedded::open(dir.path()).unwrap(), script: Arc::clone(&script) };
    (Rig::over(Arc::new(broker)), script, dir)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_waits_for_the_commit_that_is_on_its_way() {
    let (rig, script, _dir) = scripted(Script { cuts: vec![1], source_fails: Some(2), ..Script::default() }).await;
    // Until the source has failed.
    script.held.store(true, Ordering::SeqCst);
    rig.topic("t", 1).await;
    rig.produce("t", 0, ["{\"id\": 1}", "{\"id\": 2}", "{\"id\": 3}"]).await;
    let mut rig = rig.until_end();
    let job = rig
        .job("CREATE TABLE t (id BIGINT) WITH (connector = 'kafka'); CREATE TABLE out WITH (connector = 'kafka') AS SELECT * FROM t")
        .await;
    assert_eq!(job.wait().await.unwrap_err().kind(), ErrorKind::External);
    // The first row's commit was begun before the source failed, and has ended before the job.
    assert_eq!((script.begun.load(Ordering::SeqCst), script.ended.load(Ordering::SeqCst)), (1, 1));
    assert_eq!(rig.values("out").await, [json!({"id": 1})]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_finishes_the_epoch_and_commits_it() {
    let (rig, script, _dir) = scripted(Script { cuts: vec![3], ..Script::default() }).await;
    script.held.store(true, Ordering::SeqCst);
    rig.topic("t", 2).await;
    for partition in 0..2 {
        rig.produce("t", partition, (0..50).map(|n| format!("{{\"id\": {}}}", partition * 100 + n))).await;
    }
    let mut rig = rig;
    let statements = "CREATE TABLE t (id BIGINT) WITH (connector = 'kafka'); CREATE TABLE out WITH (connector = 'kafka') AS SELECT * FROM t";
    let job = rig.job(statements).await;
    until("a commit has begun", async || script.begun.load(Ordering::SeqCst) == 1).await;
    job.stop();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!job.status().ended(), "it was stopped with a commit on its way");
    script.held.store(false, Ordering::SeqCst);
    job.wait().await.unwrap();
    assert!(matches!(job.status(), JobStatus::Stopped));
    // What it took is committed, and the next run gives the rest: each row once.
    let broker = Arc::clone(&rig.broker);
    drop(rig);
    let mut rig = Rig::over(broker).until_end();
    rig.job(statements).await.wait().await.unwrap();
    let mut ids: Vec<i64> = rig.values("out").await.iter().map(|row| row["id"].as_i64().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..50).chain(100..150).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sources_without_a_broker_go_on_where_they_stopped() {
    // Two leaves read one generator, and two tables one file.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("lines.json");
    std::fs::write(&file, (0..200).map(|n| format!("{{\"id\": {n}, \"s\": \"f\"}}\n")).collect::<String>()).unwrap();
    let embedded: Arc<dyn Broker> = Embedded::open(&dir.path().join("broker")).unwrap();
    let path = file.display();
    let statements = format!(
        "CREATE TABLE g WITH (connector = 'generator', rows = '3000');
         CREATE TABLE f (id BIGINT) WITH (connector = 'file', path = '{path}');
         CREATE TABLE f2 (id BIGINT, s VARCHAR) WITH (connector = 'file', path = '{path}');
         SET epoch.max_rows = 100;
         CREATE TABLE out WITH (connector = 'kafka') AS
           SELECT 'even' AS w, n AS id FROM g WHERE n % 2 = 0
           UNION ALL SELECT 'odd' AS w, n AS id FROM g WHERE n % 2 = 1
           UNION ALL SELECT 'file' AS w, id FROM f
           UNION ALL SELECT s AS w, id FROM f2"
    );
    let mut runs = 0;
    for commit in [0, 1, 2, usize::MAX] {
        let script = Script { commit_fails: Some((commit, commit == 1)), ..Script::default() };
        let broker = Scripted { broker: Arc::clone(&embedded), script: Arc::new(script) };
        let mut rig = Rig::over(Arc::new(broker)).until_end();
        runs += usize::from(rig.job(&statements).await.wait().await.is_ok());
    }
    assert!(runs >= 1);
    let rig = Rig::over(embedded);
    let mut rows: Vec<(String, i64)> = rig
        .values("out")
        .await
        .iter()
        .map(|row| (row["w"].as_str().unwrap().to_owned(), row["id"].as_i64().unwrap()))
        .collect();
    rows.sort();
    let mut expected: Vec<(String, i64)> =
        (0..3000).map(|n| (if n % 2 == 0 { "even" } else { "odd" }.to_owned(), n)).collect();
    expected.extend((0..200).flat_map(|n| [("file".to_owned(), n), ("f".to_owned(), n)]));
    expected.sort();
    assert_eq!(rows.len(), expected.len());
    assert_eq!(rows, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_source_does_not_hide_others() {
    let (rig, script, _dir) = scripted(Script { cuts: vec![1], ..Script::default() }).await;
    rig.topic("t", 1).await;
    rig.produce("t", 0, (0..20_000).map(|n| format!("{{\"id\": {n}}}"))).await;
    let mut rig = rig.until_end();
    let job = rig
        .job(
            "CREATE TABLE t (id BIGINT) WITH (connector = 'kafka');
             CREATE TABLE g WITH (connector = 'generator', rows = '10');
             CREATE TABLE out WITH (connector = 'kafka') AS
               SELECT id, 't' AS w FROM t UNION ALL SELECT n AS id, 'g' AS w FROM g",
        )
        .await;
    until("the generator's rows", async || rig.values("out").await.iter().filter(|row| row["w"] == "g").count() == 10).await;
    assert!(rig.values("out").await.len() < 20_000, "the topic's rows came first");
    job.stop();
    job.wait().await.unwrap();
    drop(script);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_gives_exactly_as_many_rows_as_asked_for() {
    let (mut rig, _script, _dir) = scripted(Script::default()).await;
    rig.topic("t", 3).await;
    for partition in 0..3 {
        rig.produce("t", partition, (0..500).map(|n| format!("{{\"id\": {n}}}"))).await;
    }
    let declare = "CREATE TABLE IF NOT EXISTS t (id BIGINT) WITH (connector = 'kafka', \"scan.startup\" = 'earliest');";
    for limit in [0, 1, 499, 1000] {
        let rows = rig.rows(&format!("{declare} SELECT id FROM t EMIT CHANGES LIMIT {limit}")).await.unwrap();
        assert_eq!(rows.len(), limit);
    }
}
