//! What functions are called, and what is said of names that nothing has.

use serde_json::json;

use super::{PICKY, create, error, rows, source, vatic};
use crate::harness::Place;

#[test]
fn a_name_that_sql_has_a_meaning_for_is_refused() {
    let place = Place::new();
    let picky = source("picky.rs", PICKY);
    for (name, message) in [
        ("abs", "function \"abs\" is built in"),
        ("unnest", "function \"unnest\" is built in"),
        ("topic", "function \"topic\" is built in"),
        ("predict", "function \"predict\" is built in"),
        ("grouping", "function \"grouping\" is built in"),
        ("array_transform", "function \"array_transform\" is built in"),
        ("\"extract\"", "no function can be called \"extract\": the word has a meaning in SQL"),
        ("\"Cast\"", "no function can be called \"cast\": the word has a meaning in SQL"),
    ] {
        let (code, said) = error(&place, &create(name, &picky));
        assert!(
            code == 1 && said.contains(message) && said.contains("Choose another name: CREATE FUNCTION"),
            "{name}: {said}"
        );
    }
    for name in ["abs", "case", "score"] {
        let ended = vatic(&place, &["udf", "new", name]);
        assert!(
            ended.code == 1 && ended.err.contains(&format!("Choose another name: vatic udf new my_{name}")),
            "{ended:#?}"
        );
        assert!(!place.path(name).exists());
    }
}

#[test]
fn a_function_is_called_in_any_spelling() {
    let place = Place::new();
    let setup = create("\"Picky\"", &source("picky.rs", PICKY));
    let query = "SELECT \"Picky\"(1, 'x') AS a, picky(2, 'x') AS b, \"PICKY\"(3, 'x') AS c, PICKY(4, 'x') AS d";
    assert_eq!(rows(&place, &format!("{setup}{query}")), [json!({"a": 2, "b": 4, "c": 6, "d": 8})]);
    let view = "CREATE VIEW v AS SELECT \"Picky\"(n, 'x') AS a FROM (VALUES (5)) t (n); SELECT a FROM v WHERE \"Picky\"(a, 'x') > 0";
    assert_eq!(rows(&place, &format!("{setup}{view}")), [json!({"a": 10})]);
    assert_eq!(rows(&place, &format!("{setup} SELECT \"Picky\"(1, 'x')")), [json!({"Picky": 2})]);
    assert_eq!(rows(&place, &format!("{setup} DROP FUNCTION \"PICKY\"; SELECT 1 AS a")), [json!({"a": 1})]);
}

#[test]
fn the_nearest_name_is_told() {
    let place = Place::new();
    let setup = create("distance", &source("picky.rs", PICKY));
    let (code, said) = error(&place, &format!("{setup} SELECT distnce(1, 'x')"));
    assert!(code == 1 && said.contains("no function \"distnce\"") && said.contains("Did you mean \"distance\"?"), "{said}");
    place.produce("p", &["{}"]);
    let table = "CREATE TABLE p (who STRUCT<name VARCHAR, home STRUCT<city VARCHAR>>) WITH (topic = 'p');";
    for (field, near) in [("who.home.cty", "city"), ("p.who.nme", "name"), ("who['nam']", "name")] {
        let (code, said) = error(&place, &format!("{table} SELECT {field} FROM p"));
        assert!(code == 1 && said.contains(&format!("Did you mean \"{near}\"?")), "{field}: {said}");
    }
}
