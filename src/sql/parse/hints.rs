//! What was probably meant: hints for common mistakes, and for statements of other databases.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::super::quote::is_reserved;
use crate::error::{Error, nearest};

/// The words that begin our statements.
pub const STATEMENTS: &[&str] =
    &["SELECT", "WITH", "VALUES", "INSERT", "CREATE", "DROP", "SHOW", "DESCRIBE", "SET", "RESET", "STOP", "COPY", "EXPLAIN"];

/// The words that begin the clauses of a query.
const CLAUSES: &[&str] = &[
    "FROM", "WHERE", "GROUP", "ORDER", "HAVING", "LIMIT", "OFFSET", "UNION", "JOIN", "LEFT", "INNER", "WITH", "EMIT",
    "VALUES",
];

/// The clauses of a query in the order in which they are written.
const ORDER: &[&str] = &["FROM", "WHERE", "GROUP", "HAVING", "ORDER", "LIMIT"];

/// Statements of other databases: the words they begin with, and what vatic has instead.
const ELSEWHERE: &[(&str, &str)] = &[
    ("UPDATE", "Records of a topic never change: write new ones with INSERT INTO ... SELECT."),
    ("DELETE", "Records of a topic never change: leave rows out with WHERE."),
    ("MERGE", "Records of a topic never change: write new ones with INSERT INTO ... SELECT."),
    ("TRUNCATE", "Delete and create the topic with \"vatic topic\"."),
    ("ALTER", "Tables belong to a session: write CREATE OR REPLACE TABLE with the definition you want."),
    ("CREATE INDEX", "There are no indexes: a topic is read from its start."),
    ("CREATE UNIQUE INDEX", "There are no indexes: a topic is read from its start."),
    ("CREATE DATABASE", "There are no databases: choose where topics live with --broker."),
    ("CREATE SCHEMA", "There are no schemas: give tables names of one part."),
    ("CREATE MATERIALIZED VIEW", "Write CREATE TABLE ... WITH (...) AS SELECT ..., which keeps running."),
    ("CREATE TEMP", "Tables belong to a session anyway: write CREATE TABLE."),
    ("CREATE TEMPORARY", "Tables and views belong to a session anyway: write CREATE TABLE or CREATE VIEW."),
    ("CREATE EXTERNAL TABLE", "Write CREATE TABLE ... WITH (connector = 'file', path = '...')."),
    ("CREATE STREAM", "Write CREATE TABLE ... WITH (topic = '...')."),
    ("CREATE SOURCE", "Write CREATE TABLE ... WITH (topic = '...')."),
    ("CREATE SINK", "Write CREATE TABLE ... WITH (topic = '...') AS SELECT ...."),
    ("CREATE MODEL", "Publish it with \"vatic publish NAME FILE\"."),
    ("CREATE TOPIC", "Write \"vatic topic create NAME\", or let a job create it."),
    ("CREATE CATALOG", "There are no catalogs: choose where topics live with --broker."),
    ("DROP TOPIC", "Write \"vatic topic delete NAME\"."),
    ("DROP MODEL", "Models are versions on a topic and stay there."),
    ("DROP JOB", "Write STOP JOB name, then RESET JOB name to forget its offsets."),
    ("EMIT", "Write EMIT CHANGES at the end of a SELECT."),
    ("LOAD", "Write INSERT INTO ... SELECT from a table with connector = 'file'."),
    ("BEGIN", "Each job commits its epochs by itself: leave it out."),
    ("START TRANSACTION", "Each job commits its epochs by itself: leave it out."),
    ("COMMIT", "Each job commits its epochs by itself: leave it out."),
    ("ROLLBACK", "Each job commits its epochs by itself: leave it out."),
    ("USE", "There are no databases: choose where topics live with --broker."),
    ("GRANT", "Access is the broker's business."),
    ("REVOKE", "Access is the broker's business."),
    ("PREPARE", "Write $name where a value belongs, and give it with --param name=VALUE."),
    ("EXECUTE", "Write the statement itself."),
    ("PAUSE", "Write STOP JOB name; started again, it goes on where it stopped."),
    ("KILL", "Write STOP JOB name."),
    ("TERMINATE", "Write STOP JOB name."),
    ("PRINT", "Write SELECT * FROM topic('...') EMIT CHANGES."),
    ("TABLE", "Write SELECT * FROM the table."),
];

/// The error for a statement that is none of ours.
pub fn unknown_statement(tokens: &[TokenWithSpan]) -> Error {
    let words: Vec<String> = tokens.iter().take(3).map(|t| t.token.to_string().to_ascii_uppercase()).collect();
    let begins = |phrase: &str| phrase.split(' ').enumerate().all(|(n, word)| words.get(n).is_some_and(|w| w == word));
    if let Some((phrase, hint)) = ELSEWHERE.iter().find(|(phrase, _)| begins(phrase)) {
        return Error::user(format!("vatic has no {phrase}")).hint(*hint);
    }
    let first = tokens.first().map(|t| t.token.to_string()).unwrap_or_default();
    if first.eq_ignore_ascii_case("ANALYSE") {
        let error = Error::user(format!("syntax error: expected a statement, found \"{first}\""));
        return error.hint(format!("Did you mean ANALYZE instead of \"{first}\"?"));
    }
    let error = Error::user(format!("syntax error: no statement begins with \"{first}\""));
    if first.eq_ignore_ascii_case("FROM") {
        let table = tokens.get(1).map_or("...".to_owned(), |t| t.token.to_string());
        return error.hint(format!("Begin with SELECT: SELECT * FROM {table}."));
    }
    match nearest(&first, STATEMENTS.iter().copied()) {
        Some(word) => error.hint(format!("Did you mean \"{word}\"?")),
        None => error.hint(format!("Statements begin with {}.", STATEMENTS.join(", "))),
    }
}

/// What to do about the word at `index`, where `expected` was expected.
pub fn hint(tokens: &[TokenWithSpan], index: usize, expected: &str) -> Option<String> {
    let token = |at: usize| tokens.get(at).map(|t| &t.token);
    let found = token(index);
    let before = index.checked_sub(1).and_then(token);
    let is = |t: Option<&Token>, keyword: Keyword| matches!(t, Some(Token::Word(w)) if w.keyword == keyword);
    // `WHERE EMIT CHANGES ...` and the like.
    let emits =
        tokens.windows(2).any(|pair| word(&pair[0].token) == Some("EMIT") && word(&pair[1].token) == Some("CHANGES"));
    if emits && matches!(found.and_then(word), Some("CHANGES" | "EMIT")) {
        return Some("Write EMIT CHANGES at the end of the statement.".to_owned());
    }
    if before.and_then(word) == Some("EMIT") || found.and_then(word) == Some("EMIT") {
        return Some("Write EMIT CHANGES at the end of the statement.".to_owned());
    }
    let found_word = found.and_then(word);
    if let Some(hint) = missing_sign(tokens, index, expected) {
        return Some(hint);
    }
    if let Some(found) = found_word
        && let Some(meant) = nearest(found, expected.split(|c: char| !c.is_ascii_uppercase()).filter(|word| word.len() > 1))
        && !meant.eq_ignore_ascii_case(found)
    {
        return Some(format!("Did you mean {meant} instead of \"{found}\"?"));
    }
    let ends = expected.contains("end of the statement");
    if let Some(clause) = found_word.map(str::to_ascii_uppercase).filter(|_| ends)
        && let Some(place) = ORDER.iter().position(|name| *name == clause)
        && let Some(later) = tokens[..index]
            .iter()
            .filter_map(|t| word(&t.token))
            .find_map(|earlier| ORDER[place + 1..].iter().find(|name| name.eq_ignore_ascii_case(earlier)))
    {
        let by = |name: &str| if matches!(name, "ORDER" | "GROUP") { format!("{name} BY") } else { name.to_owned() };
        return Some(format!("Write {} before {}.", by(&clause), by(later)));
    }
    if ends
        && let Some(found) = found_word
        && let Some(begin) = STATEMENTS.iter().find(|begin| begin.eq_ignore_ascii_case(found) && **begin != "WITH")
    {
        return Some(format!("Put a semicolon before {begin} if another statement begins there."));
    }
    let next_is_by = is(token(index + 1), Keyword::BY);
    if let (Some(Token::Comma), Some(found)) = (before, found_word)
        && CLAUSES.contains(&found.to_ascii_uppercase().as_str())
        && (next_is_by || !matches!(found.to_ascii_uppercase().as_str(), "ORDER" | "GROUP"))
    {
        return Some(format!("Leave out the comma before {}.", found.to_ascii_uppercase()));
    }
    if let (Some(Token::Comma), Some(Token::RParen)) = (before, found) {
        return Some("Leave out the comma before \")\".".to_owned());
    }
    // A clause's word with a typing error is read as an alias; the error comes one word later.
    for at in [before, found] {
        if let Some(Token::Word(w)) = at
            && w.quote_style.is_none()
            && let Some(clause) = nearest(&w.value, CLAUSES.iter().copied())
            && !clause.eq_ignore_ascii_case(&w.value)
            && w.keyword == Keyword::NoKeyword
        {
            return Some(format!("Did you mean {clause} instead of \"{}\"?", w.value));
        }
    }
    if (expected.contains("expression") || expected.contains("identifier") || expected.contains("name"))
        && let Some(word) = found_word
        && is_reserved(word)
    {
        return Some(format!("\"{word}\" is a word of SQL: put it in double quotes to use it as a name."));
    }
    let in_list = expected.contains("end of the statement") || expected.contains("\")\"");
    let item = |t: Option<&Token>| {
        matches!(t, Some(Token::Word(_) | Token::Number(..) | Token::SingleQuotedString(_) | Token::RParen))
    };
    if in_list
        && item(before)
        && item(found)
        && !matches!(found, Some(Token::RParen))
        && found_word.is_none_or(|w| !is_reserved(w))
    {
        let text = found.map(ToString::to_string).unwrap_or_default();
        return Some(format!("Put a comma before \"{text}\" if it is the next item of a list."));
    }
    // Nothing is left: what came last wants to go on.
    match (found, before) {
        (None, Some(Token::Comma)) => Some("Leave out the comma at the end, or write the next item.".to_owned()),
        (None, Some(last @ (Token::Eq | Token::Lt | Token::Gt | Token::Plus | Token::Minus))) => {
            Some(format!("Write what belongs behind {last}, or leave it out."))
        }
        (None, Some(Token::Word(w))) if w.quote_style.is_none() && w.keyword != Keyword::NoKeyword => {
            let or = if index > 1 { ", or leave it out" } else { "" };
            Some(format!("Write what belongs behind {}{or}.", w.value))
        }
        _ => None,
    }
}

/// What to do where one sign or one word of a form is missing.
fn missing_sign(tokens: &[TokenWithSpan], index: usize, expected: &str) -> Option<String> {
    let found = tokens.get(index).map(|t| &t.token);
    let before = index.checked_sub(1).and_then(|at| tokens.get(at)).map(|t| &t.token);
    let before_is = |text: &str| matches!(before, Some(Token::Word(w)) if w.value.eq_ignore_ascii_case(text));
    match (expected, found) {
        ("\"=\"", Some(value @ (Token::SingleQuotedString(_) | Token::Number(..) | Token::Word(_)))) => {
            Some(format!("Write {} = {value}.", before?))
        }
        ("\"(\"", Some(Token::Word(_))) if before_is("WITH") => {
            Some("Put options in parentheses: WITH (name = 'value', ...).".to_owned())
        }
        (_, None) if expected.contains("\")\"") => Some("Write \")\" where the part in parentheses ends.".to_owned()),
        ("INTERVAL", Some(Token::Number(..) | Token::SingleQuotedString(_))) => {
            Some("Write INTERVAL '5 seconds', for example.".to_owned())
        }
        ("TO", Some(found)) if word(found).is_some_and(|w| w.eq_ignore_ascii_case("INTO")) => {
            Some("Write TO: COPY (SELECT ...) TO 'file.parquet'.".to_owned())
        }
        ("JOB", Some(Token::Word(name))) if nearest(&name.value, ["JOB"]).is_none() => {
            Some(format!("Write {} JOB {name}.", before.and_then(word)?.to_ascii_uppercase()))
        }
        (_, Some(found)) if word(found).is_some_and(|w| w.eq_ignore_ascii_case("PRIMARY")) => {
            Some("Write PRIMARY KEY.".to_owned())
        }
        _ => expected.strip_prefix("the type of column \"").map(|rest| {
            let name = rest.trim_end_matches('"');
            format!("Write a type behind it: {name} BIGINT, or {name} VARCHAR.")
        }),
    }
}

/// The text of a word without quotes.
fn word(token: &Token) -> Option<&str> {
    match token {
        Token::Word(w) if w.quote_style.is_none() => Some(match w.keyword {
            _ if w.value.eq_ignore_ascii_case("EMIT") => "EMIT",
            Keyword::CHANGES => "CHANGES",
            _ => w.value.as_str(),
        }),
        _ => None,
    }
}

/// How deep types may nest.
const TYPE_DEPTH: usize = 32;

/// The first word at which types nest too deeply: sqlparser reads types without a limit of its own.
pub fn too_deep(tokens: &[TokenWithSpan]) -> Option<usize> {
    // Every open bracket, and whether a type is in it.
    let mut open: Vec<(&Token, bool)> = Vec::new();
    let mut depth = 0;
    for (at, it) in tokens.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| word(&tokens[at].token)).unwrap_or_default().to_ascii_uppercase();
        let is_type = matches!(before.as_str(), "ARRAY" | "STRUCT" | "ROW" | "MAP");
        let closes = match it.token {
            Token::LParen => {
                open.push((&it.token, is_type));
                depth += usize::from(is_type);
                0
            }
            Token::Lt if is_type => {
                open.push((&it.token, true));
                depth += 1;
                0
            }
            Token::Gt => 1,
            Token::ShiftRight => 2,
            Token::RParen => {
                while let Some((bracket, is_type)) = open.pop() {
                    depth -= usize::from(is_type);
                    if *bracket == Token::LParen {
                        break;
                    }
                }
                0
            }
            _ => 0,
        };
        for _ in 0..closes {
            if matches!(open.last(), Some((Token::Lt, _))) {
                open.pop();
                depth -= 1;
            }
        }
        if depth > TYPE_DEPTH {
            return Some(at);
        }
    }
    None
}
