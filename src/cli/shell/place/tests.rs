//! What may be typed at `|`.

use super::*;

fn at(marked: &str) -> At {
    let cursor = marked.find('|').unwrap();
    place(&marked.replacen('|', "", 1), cursor)
}

#[track_caller]
fn is(marked: &str, place: Place, word: &str) {
    let found = at(marked);
    let text = marked.replacen('|', "", 1);
    assert_eq!((found.place, &text[found.span]), (place, word), "{marked}");
}

#[test]
fn statements_begin_with_their_words() {
    is("|", Place::Start, "");
    is("sel|", Place::Start, "sel");
    is("SELECT 1; cre|", Place::Start, "cre");
    is("EXPLAIN ANALYZE sel|", Place::Explain { alone: true }, "sel");
    is("EXPLAIN an|", Place::Explain { alone: false }, "an");
    let made = ["TABLE", "VIEW", "FUNCTION", "OR REPLACE TABLE", "OR REPLACE VIEW", "OR REPLACE FUNCTION"];
    assert!(matches!(at("CREATE |").place, Place::OneOf(words) if *words == made));
    is("CREATE OR |", Place::OneOf(&["REPLACE TABLE", "REPLACE VIEW", "REPLACE FUNCTION"]), "");
    is("CREATE FUNCTION h FROM 'a|", Place::File, "a");
    is("CREATE OR REPLACE FUNCTION h FROM 'a|", Place::File, "a");
    is("CREATE FUNCTION IF NOT EXISTS h |", Place::OneOf(&["FROM"]), "");
    is("CREATE FUNCTION h FROM |", Place::Nothing, "");
    is("CREATE FUNCTION h FROM 'a' |", Place::Nothing, "");
    is("COPY (SELECT 1) TO 'a|", Place::File, "a");
    is("STOP JOB d|", Place::Job, "d");
    is("DROP TABLE IF EXISTS p|", Place::Declared("table"), "p");
    is("DROP FUNCTION h|", Place::Declared("function"), "h");
    is("DESCRIBE p|", Place::Object, "p");
    is("SHOW t|", Place::Show, "t");
    is("INSERT INTO a|", Place::Declared("table"), "a");
}

#[test]
fn queries_have_relations_operands_and_clauses() {
    is("SELECT * FROM pa|", Place::Relation, "pa");
    is("SELECT a FROM t JOIN |", Place::Relation, "");
    is("SELECT a FROM t, |", Place::Relation, "");
    is("SELECT am| FROM payments", Place::Operand, "am");
    is("SELECT a, | FROM payments", Place::Operand, "");
    is("SELECT * fr|", Place::Clause, "fr");
    is("SELECT a fr|", Place::Clause, "fr");
    is("SELECT 2 * a|", Place::Operand, "a");
    is("SELECT count(a|", Place::Operand, "a");
    is("SELECT a FROM t WHERE |", Place::Operand, "");
    is("SELECT a FROM t WHERE a > 1 |", Place::Clause, "");
    is("SELECT a FROM t ORDER BY a|", Place::Operand, "a");
    is("SELECT p.am| FROM payments p", Place::Member(vec!["p".to_owned()]), "am");
    is("SELECT p.| FROM payments p", Place::Member(vec!["p".to_owned()]), "");
    is("SELECT 'a|", Place::Nothing, "a");
    is("SELECT 1 -- a|", Place::Nothing, "");
    is("SELECT /* a|", Place::Nothing, "");
    is("SELECT 12|", Place::Nothing, "");
}

#[test]
fn topics_and_models_stand_in_their_strings() {
    is("SELECT * FROM topic('pa|", Place::Topic, "pa");
    is("SELECT * FROM topic(|", Place::Topic, "");
    is("SELECT score('fr|", Place::Model, "fr");
    is("SELECT score('fr|', amount) FROM t", Place::Model, "fr");
    is("SELECT score('fraud', am|", Place::Operand, "am");
    assert!(at("SELECT score('fr|").in_string && !at("SELECT score(|").in_string);
}

#[test]
fn options_and_settings_have_names_and_values() {
    let given = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Vec<_>>();
    is("CREATE TABLE t WITH (con|", Place::Option(Vec::new()), "con");
    is("CREATE TABLE t (a INT) WITH (connector = 'file', csv.de|", Place::Option(given(&[("connector", "file")])), "csv.de");
    is("CREATE TABLE t WITH (format = 'js|", Place::OptionValue("format".to_owned()), "js");
    is("CREATE TABLE t WITH (key.format = |", Place::OptionValue("key.format".to_owned()), "");
    is("CREATE TABLE t WITH (topic = 'p|')", Place::OptionValue("topic".to_owned()), "p");
    is("SET score.mi|", Place::Setting, "score.mi");
    is("SET score.missing = 'w|", Place::SettingValue("score.missing".to_owned()), "w");
    is("SET delivery = |", Place::SettingValue("delivery".to_owned()), "");
    is("CREATE TABLE t (a |", Place::OneOf(words::TYPES), "");
    is("CREATE TABLE t WITH (topic = 'x') AS SELECT a FROM s WHERE |", Place::Operand, "");
}

#[test]
fn commands_have_arguments_of_their_kind() {
    is("\\d|", Place::Command, "\\d");
    is("\\d pay|", Place::Object, "pay");
    is("\\i que|", Place::File, "que");
    is("\\x |", Place::OneOf(&["on", "off", "auto"]), "");
    is("\\l pa|", Place::Topic, "pa");
    is("\\q |", Place::Nothing, "");
    is("SELECT 1;\n\\df sc|", Place::Function, "sc");
}

#[test]
fn paths_and_calls_have_members_and_parameters_follow_their_sign() {
    let path = |names: &[&str]| Place::Member(names.iter().map(|name| (*name).to_owned()).collect());
    is("SELECT p.place.ci| FROM payments p", path(&["p", "place"]), "ci");
    is("SELECT predict('fraud', amount).la|", Place::FieldOf("predict".to_owned()), "la");
    is("SELECT (a + b).|", Place::Nothing, "");
    is("INSERT INTO payments (id, am|", path(&["payments"]), "am");
    is("INSERT INTO payments SELECT am|", Place::Operand, "am");
    is("SELECT a FROM t WHERE a > $li|", Place::Parameter, "li");
    is("\\unset li|", Place::Parameter, "li");
}
