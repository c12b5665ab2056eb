//! What Tab offers at `|`.

use super::*;
use crate::cli::shell::catalog::{FunctionName, ModelName, TableName};

fn names() -> Names {
    let column = |name: &str, sql_type: &str| ColumnName { name: name.to_owned(), sql_type: sql_type.to_owned() };
    let function = |name: &str, signature: &str| FunctionName {
        name: name.to_owned(),
        signature: signature.to_owned(),
        doc: "what it does".to_owned(),
        own: name == "haversine",
    };
    Names {
        tables: vec![
            TableName {
                name: "payments".to_owned(),
                kind: "table".to_owned(),
                columns: vec![column("id", "BIGINT"), column("amount", "DOUBLE"), column("order", "INT")],
            },
            TableName {
                name: "visits".to_owned(),
                kind: "table".to_owned(),
                columns: vec![
                    column("at", "TIMESTAMP"),
                    column("shop", "STRUCT<city VARCHAR, \"the place\" STRUCT<lat DOUBLE, lon DECIMAL(9, 6)>>"),
                ],
            },
            TableName { name: "cards".to_owned(), kind: "view".to_owned(), columns: vec![column("card", "VARCHAR")] },
        ],
        functions: vec![
            function("score", "score(model VARCHAR, feature, ...) -> DOUBLE"),
            function("abs", "abs(x)"),
            function("haversine", "haversine(a DOUBLE) -> DOUBLE"),
        ]
        .into(),
        jobs: vec!["alerts.alerts".to_owned()],
        topics: vec!["payments".to_owned(), "orders".to_owned()],
        models: vec![ModelName { name: "fraud".to_owned(), versions: vec![1, 2] }],
        params: vec![("limit".to_owned(), "5".to_owned())],
        topic_columns: [("orders".to_owned(), vec![column("sku", "VARCHAR")])].into(),
        ..Names::default()
    }
}

/// What would be typed for each choice at `|`.
fn offered(marked: &str) -> Vec<String> {
    let cursor = marked.find('|').unwrap();
    let mut completer = SqlCompleter { catalog: Catalog::of(names()) };
    let result = completer.complete(&marked.replacen('|', "", 1), cursor);
    result.suggestions().iter().map(|suggestion| suggestion.value.clone()).collect()
}

#[test]
fn columns_come_from_the_tables_in_from() {
    assert_eq!(offered("SELECT am| FROM payments"), ["amount"]);
    assert_eq!(offered("SELECT o| FROM payments"), ["\"order\""]);
    assert_eq!(offered("SELECT p.| FROM payments p"), ["id", "amount", "\"order\""]);
    assert_eq!(offered("SELECT c.| FROM payments p JOIN cards c"), ["card"]);
    assert_eq!(offered("SELECT payments.a| FROM payments"), ["amount"]);
    assert_eq!(offered("SELECT s| FROM topic('orders')"), ["sku", "score(", "select"]);
    assert_eq!(offered("SELECT ca| FROM payments"), ["case", "cast"]);
    assert_eq!(offered("SELECT AB|"), ["abs("]);
}

#[test]
fn aliases_have_the_columns_of_what_they_stand_for() {
    assert_eq!(offered("SELECT * FROM payments AS p JOIN cards AS c ON p.id = c.|"), ["card"]);
    assert_eq!(offered("SELECT q.| FROM (SELECT id AS ident, amount FROM payments) q"), ["ident", "amount"]);
    assert_eq!(
        offered("SELECT q.| FROM (SELECT p.*, abs(amount) FROM payments p) AS q"),
        ["id", "amount", "\"order\"", "abs"]
    );
    assert_eq!(offered("SELECT x.| FROM payments p"), [""]);
    // A query in brackets sees its own FROM, and what is around it only in a condition.
    assert_eq!(offered("SELECT * FROM (SELECT am| FROM cards) c, payments p"), ["am"]);
    assert_eq!(offered("SELECT * FROM payments WHERE id IN (SELECT card FROM cards WHERE am|)"), ["amount"]);
    assert_eq!(offered("SELECT card FROM cards UNION ALL SELECT am| FROM payments"), ["amount"]);
    assert_eq!(offered("SELECT amount * 2 AS twice FROM payments ORDER BY tw|"), ["twice"]);
    assert_eq!(offered("INSERT INTO payments (id, am|) SELECT card FROM cards"), ["amount"]);
    assert_eq!(offered("INSERT INTO payments (id) SELECT ca| FROM cards"), ["card", "case", "cast"]);
    assert_eq!(offered("INSERT INTO payments SELECT am| FROM cards"), ["am"]);
}

#[test]
fn parts_of_with_are_tables_with_columns() {
    let with = "WITH big AS (SELECT id, amount AS much FROM payments), b2 (x, y) AS (SELECT * , 1 AS one FROM big)";
    assert_eq!(offered(&format!("{with} SELECT * FROM b|")), ["big", "b2"]);
    assert_eq!(offered(&format!("{with} SELECT mu| FROM big")), ["much"]);
    assert_eq!(offered(&format!("{with} SELECT b.| FROM b2 AS b")), ["id", "much", "one"]);
    assert_eq!(offered("WITH a (x, y) AS (SELECT id, amount FROM payments) SELECT a.| FROM a"), ["x", "y"]);
    // Its columns are those it lists, not those of what it reads.
    assert_eq!(offered(&format!("{with} SELECT big.am| FROM big")), ["am"]);
    assert_eq!(offered("WITH a AS (SELECT sk| FROM topic('orders'))"), ["sku"]);
    assert_eq!(
        offered("CREATE TABLE t WITH (topic = 'x') AS WITH a AS (SELECT card FROM cards) SELECT c| FROM a")[0],
        "card"
    );
}

#[test]
fn structs_have_fields() {
    assert_eq!(offered("SELECT shop.| FROM visits"), ["city", "\"the place\""]);
    assert_eq!(offered("SELECT v.shop.ci| FROM visits v"), ["city"]);
    assert_eq!(offered("SELECT shop.\"the place\".| FROM visits"), ["lat", "lon"]);
    assert_eq!(offered("SELECT at.| FROM visits"), [""]);
    assert_eq!(offered("SELECT s.c| FROM (SELECT shop AS s FROM visits) q"), ["city"]);
    assert_eq!(offered("SELECT predict('fraud', id).la| FROM payments"), ["label"]);
    assert_eq!(offered("SELECT p.sc| FROM (SELECT predict('fraud', id) AS p FROM payments) q"), ["score"]);
    assert_eq!(offered("SELECT * FROM payments LIMIT $|"), ["limit"]);
}

#[test]
fn words_of_sql_follow_the_hand_that_types() {
    assert_eq!(offered("sel|"), ["select"]);
    assert_eq!(offered("SEL|"), ["SELECT"]);
    assert_eq!(offered("SELECT * FR|"), ["FROM"]);
    assert_eq!(offered("select * from payments gr|"), ["group by"]);
    assert_eq!(offered("SELECT * FROM payments EM|"), ["EMIT CHANGES"]);
    assert_eq!(offered("SHOW TO|"), ["TOPICS"]);
}

#[test]
fn what_is_written_or_dropped_is_what_the_session_declares() {
    assert_eq!(offered("INSERT INTO |"), ["payments", "visits"]);
    assert_eq!(offered("DROP TABLE |"), ["payments", "visits"]);
    assert_eq!(offered("DROP VIEW |"), ["cards"]);
    assert_eq!(offered("DROP FUNCTION |"), ["haversine"]);
    assert_eq!(offered("DROP FU|"), ["FUNCTION"]);
    assert_eq!(offered("create func|"), ["function"]);
    assert_eq!(offered("EXPLAIN AN|"), ["ANALYZE"]);
    assert_eq!(offered("EXPLAIN ANALYZE SE|"), ["SELECT"]);
    assert_eq!(offered("CREATE FUNCTION h FROM 'Cargo.to|"), ["Cargo.toml'"]);
    assert_eq!(offered("SELECT hav| FROM payments"), ["haversine("]);
}

#[test]
fn names_are_closed_inside_their_strings() {
    assert_eq!(offered("SELECT * FROM topic('pa|"), ["payments'"]);
    assert_eq!(offered("SELECT * FROM topic('pa|')"), ["payments"]);
    assert_eq!(offered("SELECT * FROM topic(|"), ["'payments'", "'orders'"]);
    assert_eq!(offered("SELECT score('fr|"), ["fraud'", "fraud:2'", "fraud:1'"]);
    assert_eq!(offered("SELECT score('fraud:|', id)"), ["fraud:2", "fraud:1"]);
    assert_eq!(offered("SELECT * FROM p|"), ["payments"]);
    assert_eq!(offered("SELECT * FROM to|"), ["topic('"]);
}

#[test]
fn options_and_settings_come_from_their_tables() {
    assert_eq!(offered("CREATE TABLE t WITH (conn|"), ["connector = "]);
    assert_eq!(offered("CREATE TABLE t WITH (connector = 'generator', r|"), ["rows = ", "rate = "]);
    assert_eq!(offered("CREATE TABLE t WITH (connector = 'generator', top|"), ["top"]); // what stands there
    assert_eq!(offered("CREATE TABLE t WITH (connector = '|"), ["kafka'", "generator'", "file'"]);
    assert_eq!(offered("CREATE TABLE t WITH (compression = l|"), ["'lz4'"]);
    assert_eq!(offered("CREATE TABLE t WITH (topic = 'or|"), ["orders'"]);
    assert_eq!(offered("CREATE TABLE t WITH (scan.startup = 'time|"), ["timestamp:'"]);
    assert_eq!(offered("CREATE TABLE t WITH (csv.del|"), ["csv.delimiter = "]);
    assert_eq!(offered("SET deliv|"), ["delivery"]);
    assert_eq!(offered("SET delivery = at|"), ["'at_least_once'"]);
    assert_eq!(offered("STOP JOB |"), ["\"alerts.alerts\""]);
}

#[test]
fn commands_offer_themselves_and_their_arguments() {
    assert_eq!(offered("\\tim|"), ["\\timing"]);
    assert_eq!(offered("\\x a|"), ["auto"]);
    assert_eq!(offered("\\d pa|"), ["payments"]);
    assert_eq!(offered("\\l o|"), ["orders"]);
    assert_eq!(offered("\\dm fraud|"), ["fraud", "fraud:2", "fraud:1"]);
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("alerts.sql"), "").unwrap();
    let path = dir.path().display();
    assert_eq!(offered(&format!("\\i {path}/al|")), [format!("{path}/alerts.sql")]);
}

#[test]
fn every_value_offered_is_one_that_the_parser_takes() {
    use crate::sql::Settings;
    for spec in SETTINGS {
        for value in values(spec, true) {
            Settings::default().set(spec.name, &value.name).unwrap();
        }
    }
}
