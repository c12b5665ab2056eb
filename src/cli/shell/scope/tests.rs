//! Words to scopes; what Tab makes of them is in `complete/tests.rs`.

use super::*;
use crate::cli::shell::lex::lex;

fn at(marked: &str) -> Scope {
    let words = |text: &str| lex(text).lexemes.into_iter().filter(|it| !it.is_blank()).collect::<Vec<_>>();
    let (before, behind) = marked.split_once('|').unwrap();
    let mut all = words(before);
    let here = all.len();
    all.extend(words(behind));
    scope(&all, here)
}

#[test]
fn relations_are_known_with_their_aliases() {
    let relation = |name: &str, origin, alias: Option<&str>| Relation {
        name: name.to_owned(),
        origin,
        alias: alias.map(str::to_owned),
    };
    assert_eq!(
        at("SELECT | FROM payments p JOIN topic('cards') AS c ON p.card = c.id WHERE a").relations,
        [relation("payments", Origin::Table, Some("p")), relation("cards", Origin::Topic, Some("c"))]
    );
    let two = [relation("x", Origin::Table, None), relation("y", Origin::Table, None)];
    assert_eq!(at("SELECT a FROM x, y WHERE |").relations, two);
    assert_eq!(at("SHOW COLUMNS FROM |x").relations, []);
    assert_eq!(at("SELECT extract(hour FROM ts), | FROM x").relations, two[..1]);
}

#[test]
fn whatever_is_typed_has_a_scope() {
    for text in
        ["|", "WITH|", "WITH a|", "WITH a AS|", "WITH a AS (|", "WITH a (|", "SELECT FROM (|", ")|", "SELECT (((|", "FROM|,"]
    {
        assert_eq!(at(text).relations, [], "{text}");
    }
    let deep = format!("SELECT * FROM {}|", "(SELECT * FROM ".repeat(100));
    assert!(at(&deep).relations.len() <= 1);
}

#[test]
fn fields_are_read_from_a_type() {
    let named = |sql_type: &str| fields(sql_type).into_iter().map(|it| (it.name, it.sql_type)).collect::<Vec<_>>();
    let field = |name: &str, sql_type: &str| (name.to_owned(), sql_type.to_owned());
    assert_eq!(
        named("STRUCT<a BIGINT, \"b, \"\"c\" MAP<VARCHAR, DOUBLE>, d STRUCT<e DECIMAL(9, 2)>>"),
        [field("a", "BIGINT"), field("b, \"c", "MAP<VARCHAR, DOUBLE>"), field("d", "STRUCT<e DECIMAL(9, 2)>")]
    );
    assert_eq!(named("BIGINT"), []);
    assert_eq!(named("STRUCT<>"), []);
}
