//! Rows that fail: why, whose, and how they are counted.

use serde_json::{Value, json};
use vatic::connector::embedded::Embedded;

use super::{LETTERS, PICKY, create, error, rows, source, vatic};
use crate::harness::Place;
use crate::rig::{Rig, header};

/// Panics on what can be divided by 30.
const PANICS: &str = r#"use arroyo_udf_plugin::udf;
#[udf(unordered, allowed_in_flight = 16, timeout = "10m")]
async fn panics(n: i64) -> i64 {
    if n % 30 == 0 { panic!("not {n}") }
    n * 2
}
"#;

const TOTAL: &str = "use arroyo_udf_plugin::udf;\n#[udf]\nfn total(v: Vec<i64>) -> i64 {\n    v.iter().sum()\n}\n";

#[test]
fn an_argument_that_does_not_fit_is_the_functions_error() {
    let place = Place::new();
    let setup = create("picky", &source("picky.rs", PICKY))
        + &create("panics", &source("panics.rs", PANICS))
        + &create("total", &source("total.rs", TOTAL));
    let lines = [1, 2, u64::MAX, 4].map(|n| json!({"n": n}).to_string());
    place.produce("t", &lines.each_ref().map(String::as_str));
    let table = "CREATE TABLE t (n DECIMAL(20, 0)) WITH (topic = 't');";
    for (call, values) in [
        ("picky(n, 'x')", "called with n = 18446744073709551615, name = 'x'"),
        ("panics(n)", "called with n = 18446744073709551615"),
    ] {
        let name = call.split('(').next().unwrap();
        let run = |set: &str, topic: &str| {
            let job = format!(
                "{set} {setup} {table} CREATE TABLE o (n DECIMAL(20, 0), d BIGINT) WITH (topic = '{topic}'); INSERT INTO o SELECT n, {call} FROM t;"
            );
            vatic(&place, &["run", "--until-end", place.file(&format!("{topic}.sql"), job).to_str().unwrap()])
        };
        let letters = format!("{name}_letters");
        let ended = run("", &letters);
        assert_eq!(ended.code, 0, "{ended:#?}");
        let doubled = |n: u64| format!("{{\"n\":{n},\"d\":{}}}", n * 2);
        assert_eq!(place.values(&letters), [1, 2, 4].map(doubled));
        let letter = place.records(LETTERS).pop().unwrap();
        let (reason, said) = (&letter["headers"]["vatic.reason"], letter["headers"]["vatic.error"].as_str().unwrap());
        let wanted = format!("function \"{name}\" takes BIGINT for \"n\", and 18446744073709551615 does not fit, {values}");
        assert!(reason == "udf" && said.contains(&wanted), "{letter}");
        let nulls = format!("{name}_nulls");
        let ended = run("SET udf.on_error = 'null';", &nulls);
        assert_eq!(ended.code, 0, "{ended:#?}");
        let null = "{\"n\":18446744073709551615,\"d\":null}".to_owned();
        assert_eq!(place.values(&nulls), [doubled(1), doubled(2), null, doubled(4)]);
        let (code, said) = error(&place, &format!("{setup}{table} SELECT {call} FROM t"));
        assert!(code == 1 && said.contains(&wanted), "{said}");
    }
    let literal = "SELECT panics(CAST('18446744073709551615' AS DECIMAL(20, 0))) AS x, picky(CAST('18446744073709551615' AS DECIMAL(20, 0)), 'x') AS y";
    let (code, said) = error(&place, &format!("{setup}{literal}"));
    assert!(code == 1 && said.contains("takes BIGINT for \"n\", and 18446744073709551615 does not fit"), "{said}");
    let nulls = format!("{setup} SET udf.on_error = 'null'; {literal}");
    assert_eq!(rows(&place, &nulls), [json!({"x": null, "y": null})]);
    // In an aggregate the value is NULL.
    let total = "SELECT total(n) AS s FROM t";
    let (code, said) = error(&place, &format!("{setup}{table}{total}"));
    assert!(
        code == 1 && said.contains("function \"total\" takes BIGINT for \"v\", and 18446744073709551615 does not"),
        "{said}"
    );
    assert_eq!(rows(&place, &format!("{setup}{table} SET udf.on_error = 'null'; {total}")), [json!({"s": 7})]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_row_is_counted_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::over(Embedded::open(dir.path()).unwrap()).until_end();
    rig.topic("t", 1).await;
    rig.produce("t", 0, [1, 2, 13, 4, 13, 30, 7, 30].map(|n| json!({"n": n}).to_string())).await;
    let setup = create("picky", &source("picky.rs", PICKY)) + &create("panics", &source("panics.rs", PANICS));
    rig.sql(&format!("{setup} CREATE TABLE t (n BIGINT) WITH (topic = 't')")).await.unwrap();
    for (name, call) in [("picky", "picky(n, 'x')"), ("panics", "panics(n)")] {
        let job = rig.job(&format!("CREATE TABLE o_{name} WITH (topic = 'o_{name}') AS SELECT {call} AS x FROM t")).await;
        job.wait().await.unwrap();
        assert_eq!(rig.values(&format!("o_{name}")).await.len(), 6);
        let listed = rig.rows("SHOW FUNCTIONS").await.unwrap();
        let function = listed.iter().find(|row| row["name"] == name).unwrap();
        let count = |what: &str| function[what].as_str().unwrap().parse::<u64>().unwrap();
        assert_eq!((count("rows"), count("errors")), (8, 2), "{function}");
        // One for all rows, some to find the two, which are equal, and one for each part of the epoch without them.
        assert!(count("calls") <= 16, "{function}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lanes_that_panic_at_the_same_time_know_their_own_words() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::over(Embedded::open(dir.path()).unwrap()).until_end();
    rig.topic("t", 2).await;
    for partition in 0..2 {
        let numbers = (0..600).map(|n| json!({"n": 1 + 2 * n + partition}).to_string());
        rig.produce("t", partition, numbers).await;
    }
    let setup = create("panics", &source("panics_15.rs", &PANICS.replace("30", "15")));
    let job = format!(
        "{setup} CREATE TABLE t (n BIGINT) WITH (topic = 't'); CREATE TABLE o WITH (topic = 'o') AS SELECT panics(n) AS x FROM t"
    );
    rig.job(&job).await.wait().await.unwrap();
    let letters = rig.records(LETTERS).await;
    assert_eq!((letters.len(), rig.values("o").await.len()), (80, 1120));
    for (_, letter) in &letters {
        let value: Value = serde_json::from_slice(letter.value.as_ref().unwrap()).unwrap();
        let (said, n) = (header(letter, "vatic.error"), &value["n"]);
        assert!(said.contains(&format!("not {n}, called with n = {n}")), "{value}: {said}");
    }
}

#[test]
fn a_row_that_another_condition_drops_is_no_error() {
    let place = Place::new();
    let text = "use arroyo_udf_plugin::udf;\n#[udf]\nfn share(a: i64, b: i64) -> i64 { a / b }\n";
    let setup = create("share", &source("share.rs", text));
    let table = "(VALUES (1, 0), (5, 1), (6, 2)) t (a, b)";
    for condition in ["b <> 0 AND share(a, b) > 3", "share(a, b) > 3 AND b <> 0", "share(a, b) > 3 AND b IN (SELECT 1)"] {
        let found = rows(&place, &format!("{setup} SELECT a FROM {table} WHERE {condition}"));
        assert_eq!(found, [json!({"a": 5})], "{condition}");
    }
}

#[test]
fn a_panic_that_unwinds_slowly_fails_its_row_alone() {
    let place = Place::new();
    // The panic is heard of long before its thread, and with it the runtime, has come to an end.
    let text = r#"use arroyo_udf_plugin::udf;
struct Tidies;
impl Drop for Tidies {
    fn drop(&mut self) { std::thread::sleep(std::time::Duration::from_millis(150)); }
}
#[udf(ordered, allowed_in_flight = 64, timeout = "60s")]
async fn unwinds(n: i64) -> i64 {
    let _tidies = (n == 5).then_some(Tidies);
    assert!(n != 5, "no fives");
    n * 2
}
"#;
    let create = create("unwinds", &source("unwinds.rs", text));
    let query = "SELECT n, unwinds(n) AS d FROM (VALUES (1), (5), (2), (3)) t (n)";
    let rows = rows(&place, &format!("{create} SET udf.on_error = 'null'; {query}"));
    let wanted = [json!({"n": 1, "d": 2}), json!({"n": 5, "d": null}), json!({"n": 2, "d": 4}), json!({"n": 3, "d": 6})];
    assert_eq!(rows, wanted);
    let ended = vatic(&place, &["sql", &format!("{create} {query}")]);
    assert!(ended.err.contains("unwinds.rs:") && ended.err.contains("no fives"), "{ended:#?}");
}

#[test]
fn a_panic_beside_it_calls_no_row_twice() {
    let place = Place::new();
    let text = r#"use arroyo_udf_plugin::udf;
#[udf(unordered, allowed_in_flight = 1, timeout = "10m")]
async fn waits(path: &str, n: i64) -> i64 {
    assert!(n >= 0, "below 0");
    use std::io::Write;
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    file.unwrap().write_all(b"called\n").unwrap();
    let end = std::time::Instant::now() + std::time::Duration::from_millis(1500);
    std::future::poll_fn(|cx| {
        if std::time::Instant::now() >= end {
            return std::task::Poll::Ready(());
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
    n
}
"#;
    let (setup, log) = (create("waits", &source("waits.rs", text)), place.path("log"));
    let call = |n: i64| format!("SELECT waits('{}', n) AS n FROM (VALUES ({n})) t (n)", log.display());
    let sql = format!("{setup} SET udf.on_error = 'null'; {} UNION ALL {}", call(1), call(-1));
    let mut found = rows(&place, &sql);
    found.sort_by_key(|row| row["n"].as_i64());
    assert_eq!(found, [json!({"n": null}), json!({"n": 1})]);
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "called\n");
}

#[test]
fn a_header_that_asks_for_another_series_is_refused_before_it_is_compiled() {
    let place = Place::new();
    let text = "/*\n[dependencies]\narroyo-udf-plugin = \"0.1\"\n*/\nuse arroyo_udf_plugin::udf;\n#[udf]\nfn old(a: i64) -> i64 { a }\n";
    let (code, said) = error(&place, &format!("CREATE FUNCTION old FROM '{}';", source("old.rs", text).display()));
    assert!(code == 1 && said.contains("its header asks for arroyo-udf-plugin 0.1"), "{said}");
    assert!(said.contains("hint: Take arroyo-udf-plugin = \"0.2\""), "{said}");
}
