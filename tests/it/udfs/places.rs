//! Where async functions may be called.

use serde_json::{Value, json};

use super::{create, error, rows, source};
use crate::harness::Place;

/// Minus `x`, after a while.
const LATER: &str = r#"/*
[dependencies]
tokio = { version = "1", features = ["time"] }
*/
use arroyo_udf_plugin::udf;
#[udf(unordered, allowed_in_flight = 16, timeout = "10m")]
async fn minus(x: i64) -> i64 {
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    -x
}
"#;

#[test]
fn an_async_function_is_called_wherever_an_expression_may_stand() {
    let place = Place::new();
    let setup = create("minus", &source("minus.rs", LATER));
    place.ok(&["publish", "forest", &crate::harness::model("tree_forest.onnx")]);
    let t = "(VALUES (1, 10), (2, 20), (3, 30), (4, 40)) t (a, b)";
    let u = "(VALUES (-2), (-3)) u (c)";
    let column = |values: &[i64]| values.iter().map(|a| json!({"a": a})).collect::<Vec<Value>>();
    for (query, expected) in [
        (format!("SELECT a FROM {t} ORDER BY minus(a)"), column(&[4, 3, 2, 1])),
        (format!("SELECT a FROM {t} ORDER BY minus(minus(b)) DESC, minus(a) LIMIT 2"), column(&[4, 3])),
        (
            format!("SELECT a FROM (SELECT minus(x) AS a FROM (SELECT minus(a) AS x FROM {t}) s) r WHERE a > 2 ORDER BY a"),
            column(&[3, 4]),
        ),
        (format!("SELECT row_number() OVER (ORDER BY minus(a)) AS a FROM {t} ORDER BY b"), column(&[4, 3, 2, 1])),
        (
            format!("SELECT sum(minus(b)) OVER (PARTITION BY minus(a % 2) ORDER BY a) AS a FROM {t} ORDER BY b"),
            column(&[-10, -20, -40, -60]),
        ),
        (format!("SELECT minus(a % 2) AS a FROM {t} GROUP BY minus(a % 2) ORDER BY 1"), column(&[-1, 0])),
        (format!("SELECT a % 2 AS a FROM {t} GROUP BY 1 HAVING minus(sum(b)) < -40"), column(&[0])),
        (
            format!(
                "SELECT grouping(minus(a % 2)) * 100 + count(*) AS a FROM {t} GROUP BY ROLLUP (minus(a % 2)) ORDER BY 1"
            ),
            column(&[2, 2, 104]),
        ),
        (
            format!(
                "SELECT sum(minus(a)) AS s, max(minus(b)) AS m, count(*) FILTER (WHERE minus(a) < -2) AS f, array_agg(a ORDER BY minus(a)) AS l FROM {t}"
            ),
            vec![json!({"s": -10, "m": -10, "f": 2, "l": [4, 3, 2, 1]})],
        ),
        (format!("SELECT DISTINCT ON (minus(a % 2)) a FROM {t} ORDER BY minus(a % 2), a"), column(&[1, 2])),
        (format!("SELECT a FROM {t} JOIN {u} ON minus(minus(minus(a))) = c ORDER BY a"), column(&[2, 3])),
        (format!("SELECT a FROM {t} JOIN {u} ON minus(a) > c ORDER BY a"), column(&[1, 1, 2])),
        (format!("SELECT a FROM {t} JOIN {u} ON minus(a + minus(minus(c))) = 0 AND b < 25 ORDER BY a"), column(&[2])),
        (
            format!("SELECT coalesce(c, a) AS a FROM {t} LEFT JOIN {u} ON minus(a) = c AND minus(b) < -20 ORDER BY b"),
            column(&[1, 2, -3, 4]),
        ),
        (format!("SELECT a FROM {t} WHERE a IN (SELECT minus(c) FROM {u}) ORDER BY a"), column(&[2, 3])),
        (format!("SELECT a FROM {t} WHERE a > 3 OR minus(minus(a)) = 1 ORDER BY a"), column(&[1, 4])),
        (format!("SELECT CASE WHEN a > 2 THEN minus(a) ELSE 0 END AS a FROM {t} ORDER BY b"), column(&[0, 0, -3, -4])),
        (
            "SELECT a FROM (VALUES (minus(1)), (3), (minus(minus(5))), (NULL)) t (a) WHERE a < 9 ORDER BY a".to_owned(),
            column(&[-1, 3, 5]),
        ),
        ("VALUES (minus(1))".to_owned(), vec![json!({"column1": -1})]),
        (
            "WITH RECURSIVE r (a) AS (SELECT 1 UNION ALL SELECT 1 - minus(a) FROM r WHERE a < 4) SELECT a FROM r ORDER BY minus(a)".to_owned(),
            column(&[4, 3, 2, 1]),
        ),
        // Below a score, and above one.
        (
            format!("SELECT a FROM {t} WHERE score('forest', minus(minus(a)), 1, 2, 3) >= 0 ORDER BY minus(score('forest', 1, 1, 2, 3)::BIGINT), a"),
            column(&[1, 2, 3, 4]),
        ),
        (
            format!("SELECT minus(a) AS \"__waits_0\" FROM {t} WHERE a > 2 ORDER BY minus(minus(b))"),
            vec![json!({"__waits_0": -3}), json!({"__waits_0": -4})],
        ),
        // What the query returns keeps its names.
        (format!("SELECT count(minus(a)), max(b) FROM {t}"), vec![json!({"count": 4, "max": 40})]),
    ] {
        assert_eq!(rows(&place, &format!("{setup}{query}")), expected, "{query}");
    }
    // A call over both sides of a join has a place above it, unless rows without a partner come from there as well.
    let outer = format!("SELECT a FROM {t} LEFT JOIN {u} ON minus(a + c) = 0");
    let (code, said) = error(&place, &format!("{setup}{outer}"));
    let message = "a call of async function \"minus\" in ON reads both sides of a LEFT join";
    assert!(code == 1 && said.contains(message) && said.contains("Make it an inner join"), "{said}");
}

#[test]
fn rows_of_values_keep_their_order() {
    let place = Place::new();
    let setup = create("minus", &source("minus.rs", LATER));
    let values =
        "VALUES (minus(-1), 'a'), (2, NULL), (minus(-3), 'c'), (4, 'd'), (5, 'e'), (minus(-6), 'f'), (7, 'g'), (NULL, 'h')";
    let numbers: Vec<Value> =
        rows(&place, &format!("{setup}{values}")).into_iter().map(|mut row| row["column1"].take()).collect();
    assert_eq!(json!(numbers), json!([1, 2, 3, 4, 5, 6, 7, null]));
}

#[test]
fn a_subquery_that_reads_around_it_is_refused_and_its_way_out_works() {
    let place = Place::new();
    let setup = create("minus", &source("minus.rs", LATER));
    let tables = "FROM (VALUES (1), (2)) t (a)";
    let inner = "FROM (VALUES (-1), (-2)) u (c) WHERE c = -t.a";
    let (code, said) = error(&place, &format!("{setup} SELECT a, (SELECT minus(max(c)) {inner}) AS x {tables}"));
    let message = "async function \"minus\" cannot be called in a subquery that reads the query around it";
    assert!(code == 1 && said.contains(message) && said.contains("minus((SELECT ...))"), "{said}");
    let found = rows(&place, &format!("{setup} SELECT a, minus((SELECT max(c) {inner})) AS x {tables} ORDER BY a"));
    assert_eq!(found, [json!({"a": 1, "x": 1}), json!({"a": 2, "x": 2})]);
}

#[test]
fn a_row_that_another_condition_drops_is_not_sent() {
    let place = Place::new();
    let setup = create("minus", &source("minus.rs", LATER));
    let (t, u) = ("(VALUES (1), (2), (3), (4)) t (a)", "(VALUES (-4), (-9)) u (c)");
    for query in [
        format!("SELECT count(*) AS n FROM {t} WHERE minus(a) < 0 AND a > 3"),
        format!("SELECT count(*) AS n FROM {t}, {u} WHERE a = -c AND minus(a) < 0"),
        format!("SELECT count(*) AS n FROM {t} JOIN {u} ON a = -c AND minus(a) < c + 1"),
        format!("SELECT count(*) AS n FROM {t} WHERE a IN (SELECT -c FROM {u}) AND minus(a) < 0"),
        format!("SELECT count(*) AS n FROM {t} WHERE EXISTS (SELECT 1 FROM {u} WHERE a = -c) AND minus(a) < 0"),
    ] {
        let listed = rows(&place, &format!("{setup}{query}; SHOW FUNCTIONS"));
        let minus = listed.iter().find(|row| row["name"] == "minus").unwrap();
        assert_eq!(minus["rows"], "1", "{query}: {minus}");
    }
}

#[test]
fn a_job_calls_async_functions_inside_one_another() {
    let place = Place::new();
    place.produce("t", &["{\"a\":1}", "{\"a\":2}", "{\"a\":3}"]);
    let job = format!(
        "{} CREATE TABLE t (a BIGINT) WITH (topic = 't'); CREATE TABLE o (a BIGINT, x BIGINT) WITH (topic = 'o');
         INSERT INTO o SELECT a, minus(minus(a) + 1) FROM t WHERE a > 1 AND minus(a) > -3; INSERT INTO o VALUES (minus(7), minus(minus(8)));",
        create("minus", &source("minus.rs", LATER))
    );
    let ended = super::vatic(&place, &["run", "--until-end", place.file("job.sql", job).to_str().unwrap()]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(place.values("o"), ["{\"a\":2,\"x\":1}", "{\"a\":-7,\"x\":8}"]);
}
