//! Where in a statement an error belongs.   error + statement ─► the words it is about, and what was probably meant
//!
//! The planner knows some places itself. Else the error's text names what is wrong, in quotes or by its keyword, and those
//! words are looked for among the statement's; twice is too often to say which. A place also tells what the planner cannot:
//! that a name in double quotes was meant as a text, or that a column is only named behind the WHERE that reads it.

mod call;

use datafusion::functions_aggregate::all_default_aggregate_functions;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::error::{Error, ErrorKind, Position};
use crate::sql::types::{arrow_type, parse_type, sql_type};
use crate::sql::{MetadataColumn, Source};

/// What a running query refuses, by the begin of the text, and the words that ask for it.
const REFUSED: &[(&str, &[&str])] = &[
    ("ORDER BY", &["ORDER", "BY"]),
    ("GROUP BY", &["GROUP", "BY"]),
    ("HAVING", &["HAVING"]),
    ("WHERE ", &["WHERE"]),
    ("DISTINCT", &["DISTINCT"]),
    ("count(DISTINCT", &["DISTINCT"]),
    ("LIMIT", &["LIMIT"]),
    ("OVER", &["OVER"]),
    ("UNION without", &["UNION"]),
    ("WITH RECURSIVE", &["RECURSIVE"]),
    ("TOP", &["TOP"]),
    ("the queries of a UNION", &["UNION"]),
    ("a join", &["JOIN"]),
];

/// Functions without arguments, which are columns to the planner when their parentheses are missing.
const WITHOUT_ARGUMENTS: &[&str] = &["now", "random", "uuid", "today", "pi"];

/// `error` with the part of `statement` that it is about, or all of it; and with a better hint where the place tells more.
pub(super) fn placed(error: Error, statement: &Position) -> Error {
    if error.position().is_some() {
        return error;
    }
    let source = Source::of(statement);
    let tokens = source.tokens().unwrap_or_default();
    let inside = |place: &Position| statement.span.start <= place.span.start && place.span.end <= statement.span.end;
    let tokens: Vec<TokenWithSpan> = tokens.into_iter().filter(|t| inside(&source.of_span(t.span))).collect();
    if let Some((error, found)) = like(&error, &tokens) {
        return error.at(source.position(source.bytes(tokens[found.start].span).start..source.bytes(tokens[found.end - 1].span).end));
    }
    let Some(found) = find(&error, &source, &tokens) else { return error.at(statement.clone()) };
    let (first, last) = (found.start, found.end - 1);
    let place = source.position(source.bytes(tokens[first].span).start..source.bytes(tokens[last].span).end);
    match meant(&error, &tokens, first) {
        Some(hint) => error.hint(hint).at(place),
        None => error.at(place),
    }
}

/// The words that `error` is about, as a range of `tokens` that is not empty.
fn find(error: &Error, source: &Source, tokens: &[TokenWithSpan]) -> Option<std::ops::Range<usize>> {
    if !matches!(error.kind(), ErrorKind::User | ErrorKind::Data) {
        return None;
    }
    let message = error.message();
    // The planner's lines and columns may be those of another text, a view's: what stands there must be what the error says.
    if let Some(span) = error.span() {
        let bytes = source.bytes(span);
        let starts = |t: &TokenWithSpan| source.bytes(t.span).start;
        let first = tokens.iter().position(|t| starts(t) == bytes.start);
        let end = tokens.iter().rposition(|t| source.bytes(t.span).end == bytes.end);
        let names = |t: &TokenWithSpan| word(&t.token).is_some_and(|w| message.to_lowercase().contains(&w.to_lowercase()));
        if let (Some(first), Some(end)) = (first, end)
            && first <= end
            && names(&tokens[first])
        {
            return Some(first..end + 1);
        }
    }
    cast(message, tokens)
        .or_else(|| call::find(error, tokens))
        .or_else(|| named(message, tokens))
        .or_else(|| counted(message, tokens))
        .or_else(|| asked(message, tokens))
        .or_else(|| called(message, tokens))
        .or_else(|| operator(message, tokens))
}

/// The one word or string that is a name in quotes in the text; of several, the column: `column "a" of table "t"` begins with
/// it, `table "t" has no column "a"` ends with it.
fn named(message: &str, tokens: &[TokenWithSpan]) -> Option<std::ops::Range<usize>> {
    let quoted: Vec<&str> = message.split('"').skip(1).step_by(2).collect();
    let (exact, other) = match (quoted.first(), quoted.last()) {
        (first, last) if message.starts_with("column") || message.starts_with("no column") => (first, last),
        (first, last) => (last, first),
    };
    let names = exact.into_iter().chain(other).copied();
    let names = names.chain(message.split('\'').skip(1).step_by(2));
    names.filter(|name| !name.is_empty()).find_map(|name| {
        // A model's version is the registry's addition, if it was not written.
        let bare = name.split_once(':').map_or(name, |(bare, _)| bare);
        [name, bare].iter().find_map(|name| {
            let is = |t: &TokenWithSpan| match &t.token {
                Token::Word(w) if w.quote_style.is_none() => w.value.eq_ignore_ascii_case(name),
                Token::Word(w) => w.value == *name,
                Token::SingleQuotedString(text) => text == name,
                Token::Number(digits, _) => digits == name,
                Token::Placeholder(parameter) => parameter.strip_prefix('$').unwrap_or(parameter) == *name,
                _ => false,
            };
            only(tokens, is)
        })
    })
}

/// `LIMIT is below 0: -1`: the only such clause, with its value if that is short.
fn counted(message: &str, tokens: &[TokenWithSpan]) -> Option<std::ops::Range<usize>> {
    let clause = ["LIMIT", "OFFSET"].into_iter().find(|clause| message.starts_with(&format!("{clause} is ")))?;
    let found = only(tokens, |t| word(&t.token).is_some_and(|w| w.eq_ignore_ascii_case(clause)))?;
    let length = match tokens.get(found.end).map(|t| &t.token) {
        Some(Token::Minus) => 2,
        Some(Token::Number(..) | Token::SingleQuotedString(_) | Token::Word(_) | Token::Placeholder(_)) => 1,
        _ => 0,
    };
    Some(found.start..(found.end + length).min(tokens.len()))
}

/// The keyword of a part of a query that is refused, or of the aggregate function that is.
fn asked(message: &str, tokens: &[TokenWithSpan]) -> Option<std::ops::Range<usize>> {
    if message.starts_with("an aggregate function") {
        let aggregates = all_default_aggregate_functions();
        let is = |name: &str| aggregates.iter().any(|f| f.name() == name || f.aliases().iter().any(|alias| alias == name));
        return (0..tokens.len()).find_map(|at| {
            let name = word(&tokens[at].token)?.to_lowercase();
            (tokens.get(at + 1)?.token == Token::LParen && is(&name)).then_some(at..at + 1)
        });
    }
    let (_, words) = REFUSED.iter().find(|(begin, _)| message.starts_with(begin))?;
    let found = (0..tokens.len()).filter(|&at| {
        let here = words.iter().enumerate().map(|(n, wanted)| (tokens.get(at + n), wanted));
        here.into_iter().all(|(t, wanted)| t.and_then(|t| word(&t.token)).is_some_and(|w| w.eq_ignore_ascii_case(wanted)))
    });
    // Of several any is refused.
    found.map(|at| at..at + words.len()).next()
}

/// The call that a text is about: `score() has no features`.
fn called(message: &str, tokens: &[TokenWithSpan]) -> Option<std::ops::Range<usize>> {
    let name = message.split(' ').find_map(|w| w.strip_suffix("()")).filter(|name| !name.is_empty())?;
    let at = only(tokens, |t| word(&t.token).is_some_and(|w| w.eq_ignore_ascii_case(name)))?;
    (tokens.get(at.end)?.token == Token::LParen).then_some(at)
}

/// The operator between types that do not go together, or that there is not; the only one that divides.
fn operator(message: &str, tokens: &[TokenWithSpan]) -> Option<std::ops::Range<usize>> {
    if message == "division by zero" {
        return only(tokens, |t| matches!(t.token, Token::Div | Token::Mod));
    }
    if let Some(sign) = message.strip_prefix("operator ").and_then(|rest| rest.strip_suffix(" is not supported")) {
        return only(tokens, |t| t.token.to_string().eq_ignore_ascii_case(sign));
    }
    if let Some((operator, _)) = message.split_once(" takes texts, not ") {
        return only(tokens, |t| word(&t.token).is_some_and(|w| operator.starts_with(&w.to_ascii_uppercase())));
    }
    let types = message.strip_prefix("there is no ")?;
    let sign = types.split(' ').find(|w| w.chars().all(|c| "+-*/%=<>!|".contains(c)))?;
    let sign = if sign == "!=" { "<>" } else { sign };
    only(tokens, |t| t.token.to_string() == sign)
}

/// The place of the only token that `is` holds of.
fn only(tokens: &[TokenWithSpan], is: impl Fn(&TokenWithSpan) -> bool) -> Option<std::ops::Range<usize>> {
    let mut found = tokens.iter().enumerate().filter(|(_, t)| is(t)).map(|(at, _)| at);
    match (found.next(), found.next()) {
        (Some(at), None) => Some(at..at + 1),
        _ => None,
    }
}

/// The only CAST to the type that a value is none of; or just the value, if that is what stands in it.
fn cast(message: &str, tokens: &[TokenWithSpan]) -> Option<std::ops::Range<usize>> {
    let (value, wanted) = message.split_once(" is not a").or_else(|| message.split_once(" does not fit"))?;
    let wanted = wanted.trim_start_matches('n').trim_start();
    let is_wanted = |tokens: &[TokenWithSpan]| {
        let text: Vec<String> = tokens.iter().map(|t| t.token.to_string()).collect();
        let known = parse_type(&text.join(" ")).and_then(|parsed| arrow_type(&parsed));
        known.is_ok_and(|known| sql_type(&known).split('(').next() == wanted.split('(').next())
    };
    let mut found = (0..tokens.len()).filter_map(|at| {
        let (inside, whole) = cast_at(tokens, at)?;
        is_wanted(&tokens[inside]).then_some(whole)
    });
    let (Some(whole), None) = (found.next(), found.next()) else { return None };
    let is = |t: &TokenWithSpan| matches!(&t.token, Token::SingleQuotedString(text) if value.trim_matches('\'') == text);
    let literal = only(&tokens[whole.clone()], is).map(|at| whole.start + at.start..whole.start + at.end);
    Some(literal.unwrap_or(whole))
}

/// The words of the type, and of all of it, if a CAST or `::` stands at `at`.
fn cast_at(tokens: &[TokenWithSpan], at: usize) -> Option<(std::ops::Range<usize>, std::ops::Range<usize>)> {
    let opens = |at: usize| tokens.get(at).is_some_and(|t| t.token == Token::LParen);
    if word(&tokens[at].token).is_some_and(|w| w.eq_ignore_ascii_case("CAST")) && opens(at + 1) {
        let end = closing(tokens, at + 1)?;
        let is_as = |at: &usize| word(&tokens[*at].token).is_some_and(|w| w.eq_ignore_ascii_case("AS"));
        let before_type = (at + 2..end).rev().find(is_as)?;
        return Some((before_type + 1..end, at..end + 1));
    }
    if tokens[at].token != Token::DoubleColon || at == 0 {
        return None;
    }
    let end = if opens(at + 2) { closing(tokens, at + 2)? + 1 } else { (at + 2).min(tokens.len()) };
    let mut start = at - 1;
    if tokens[start].token == Token::RParen {
        start = (0..start).rev().find(|&open| opens(open) && closing(tokens, open) == Some(at - 1))?;
        if start > 0 && word(&tokens[start - 1].token).is_some_and(|w| !crate::sql::quote::is_reserved(w)) {
            start -= 1;
        }
    }
    while start > 1 && tokens[start - 1].token == Token::Period {
        start -= 2;
    }
    Some((at + 1..end, start..end))
}

/// Where the parenthesis closes that opens at `open`.
fn closing(tokens: &[TokenWithSpan], open: usize) -> Option<usize> {
    let mut depth = 0usize;
    (open..tokens.len()).find(|&at| {
        match tokens[at].token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0
    })
}

/// `LIKE takes texts, not BIGINT` with the column that is none, and how it becomes one.
fn like(error: &Error, tokens: &[TokenWithSpan]) -> Option<(Error, std::ops::Range<usize>)> {
    let (operator, found) = error.message().split_once(" takes texts, not ")?;
    let begin = operator.split(' ').next().unwrap_or_default();
    let at = only(tokens, |t| word(&t.token).is_some_and(|w| w.eq_ignore_ascii_case(begin)))?.start;
    let not = at > 0 && word(&tokens[at - 1].token).is_some_and(|w| w.eq_ignore_ascii_case("NOT"));
    let last = at.checked_sub(if not { 2 } else { 1 })?;
    let column = word(&tokens[last].token)?;
    let mut first = last;
    while first > 1 && tokens[first - 1].token == Token::Period {
        first -= 2;
    }
    let end = at + operator.split(' ').count();
    let pattern = tokens.get(end).filter(|t| matches!(t.token, Token::SingleQuotedString(_)))?;
    let typed: String = tokens[first..=last].iter().map(|t| t.token.to_string()).collect();
    let not = if not { "NOT " } else { "" };
    let said = Error::user(format!("{operator} takes texts, and \"{column}\" is {found}"))
        .hint(format!("Write CAST({typed} AS VARCHAR) {not}{operator} {}.", pattern.token));
    Some((said, first..end + 1))
}

fn word(token: &Token) -> Option<&str> {
    match token {
        Token::Word(w) => Some(w.value.as_str()),
        _ => None,
    }
}

/// Whether the word at `at` stands where a value is compared or listed.
fn is_value(tokens: &[TokenWithSpan], at: usize) -> bool {
    let token = |at: usize| tokens.get(at).map(|t| &t.token);
    let compares = |t: Option<&Token>| {
        matches!(t, Some(Token::Eq | Token::DoubleEq | Token::Neq | Token::Lt | Token::LtEq | Token::Gt | Token::GtEq))
    };
    let is = |t: Option<&Token>, words: &[&str]| {
        t.and_then(word).is_some_and(|w| words.iter().any(|wanted| w.eq_ignore_ascii_case(wanted)))
    };
    let before = at.checked_sub(1).and_then(token);
    if compares(before) || is(before, &["LIKE", "ILIKE"]) {
        return true;
    }
    // On the left, too, unless a number is on the right: then a column was meant.
    if compares(token(at + 1)) {
        return !matches!(token(at + 2), Some(Token::Number(..) | Token::Minus));
    }
    // A list: `IN ("a", "b")`, `VALUES (1, "a")`.
    let item = |t: &Token| matches!(t, Token::Comma | Token::Word(_) | Token::Number(..) | Token::SingleQuotedString(_));
    let open = tokens[..at].iter().rposition(|t| !item(&t.token));
    open.is_some_and(|open| {
        let of = open.checked_sub(1).and_then(token);
        // Of VALUES also those behind its first row: `VALUES (1, "a"), (2, "b")`.
        let rows = || matches!(of, Some(Token::Comma)) && tokens[..open].iter().any(|t| is(Some(&t.token), &["VALUES"]));
        token(open) == Some(&Token::LParen) && (is(of, &["IN", "VALUES"]) || rows())
    })
}

/// What of a record other databases call by `name`: `_offset`, `ROWTIME`.
fn metadata(name: &str) -> Option<MetadataColumn> {
    let bare = name.trim_start_matches('_').to_ascii_lowercase();
    let bare = match bare.strip_prefix("kafka_").unwrap_or(&bare) {
        "rowtime" | "event_time" | "ts" | "time" if name.starts_with('_') || name.eq_ignore_ascii_case("rowtime") => {
            "timestamp"
        }
        "rowpartition" => "partition",
        "rowoffset" => "offset",
        "header" => "headers",
        bare => bare,
    };
    MetadataColumn::ALL.into_iter().find(|column| column.name() == bare)
}

fn is_file(name: &str) -> bool {
    const ENDINGS: &[&str] = &[".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet"];
    let name = name.to_ascii_lowercase();
    ENDINGS.iter().any(|ending| name.ends_with(ending)) || name.contains('/')
}

fn read_file(path: &str) -> String {
    format!("A file becomes a table: CREATE TABLE f WITH (connector = 'file', path = '{path}'); then read it FROM f.")
}

/// A better hint than the error's own, from the words around the place.
fn meant(error: &Error, tokens: &[TokenWithSpan], at: usize) -> Option<String> {
    let message = error.message();
    let own = error.get_hint().unwrap_or_default();
    let near = own.strip_prefix("Did you mean \"").and_then(|rest| rest.split('"').next());
    let token = |at: Option<usize>| at.and_then(|at| tokens.get(at)).map(|t| &t.token);
    let before = token(at.checked_sub(1));
    if let Some(name) = message.strip_prefix("no column \"").and_then(|rest| rest.strip_suffix('"')) {
        let Some(Token::Word(here)) = token(Some(at)) else { return None };
        let function = token(at.checked_sub(2)).and_then(word).unwrap_or_default().to_ascii_lowercase();
        if before == Some(&Token::LParen) && matches!(function.as_str(), "score" | "classify" | "predict") {
            return Some(format!("A model's name stands in single quotes: {function}('{name}', ...)."));
        }
        if function == "topic" {
            return None;
        }
        let compared = match before {
            Some(Token::Eq | Token::DoubleEq | Token::Neq) => true,
            Some(Token::Word(w)) => matches!(w.value.to_ascii_uppercase().as_str(), "LIKE" | "ILIKE"),
            _ => false,
        };
        // One letter is a slip; more is another name.
        let slip = near.is_some_and(|near| strsim::damerau_levenshtein(&near.to_lowercase(), &name.to_lowercase()) <= 1);
        if here.quote_style == Some('"') && !slip && is_value(tokens, at) {
            let known = if near.is_some() { "" } else { own };
            return Some(format!("A text stands in single quotes: '{name}'. {known}").trim_end().to_owned());
        }
        if near.is_none() && (here.quote_style.is_some() || compared) {
            return Some(format!("If it is a text, put it in single quotes: '{name}'. {own}").trim_end().to_owned());
        }
        let aliased = tokens.windows(2).any(|pair| {
            word(&pair[0].token).is_some_and(|w| w.eq_ignore_ascii_case("AS"))
                && word(&pair[1].token).is_some_and(|w| w.eq_ignore_ascii_case(name))
        });
        let in_where = tokens[..at].iter().rev().find_map(|t| {
            let w = word(&t.token)?.to_ascii_uppercase();
            matches!(w.as_str(), "WHERE" | "SELECT" | "GROUP" | "HAVING" | "ORDER" | "ON").then_some(w)
        });
        if near.is_none() && aliased && in_where.as_deref() == Some("WHERE") {
            return Some(format!(
                "WHERE comes before \"{name}\" is named: repeat its expression there. A score that is written twice runs once."
            ));
        }
        if near.is_none()
            && let Some(metadata) = metadata(name)
        {
            let kind = metadata.types().first().map(sql_type).unwrap_or_default();
            let column = metadata.name();
            return Some(format!(
                "The {column} of a record is a column that is declared: CREATE TABLE t (..., \"{column}\" {kind} METADATA) WITH (...)."
            ));
        }
        if WITHOUT_ARGUMENTS.contains(&name.to_ascii_lowercase().as_str()) {
            return Some(format!("Write {name}() to call the function."));
        }
        return None;
    }
    let called = |kind: &str| message.strip_prefix(kind).and_then(|rest| rest.strip_suffix('"'));
    if let Some(path) = called("no table \"").filter(|path| is_file(path) && !own.contains("topic('")) {
        return Some(read_file(path));
    }
    if let (Some(function), Some(Token::SingleQuotedString(path))) = (called("no table function \""), token(Some(at + 2)))
        && ["csv", "json", "parquet"].iter().any(|format| function.to_ascii_lowercase().contains(format))
    {
        return Some(read_file(path));
    }
    if let Some(table) = message.strip_prefix("no table \"").and_then(|rest| rest.strip_suffix("\" in FROM")) {
        let word_at = |at: usize| tokens.get(at).and_then(|t| word(&t.token));
        let called = (0..tokens.len()).find_map(|at| {
            let is_table = word_at(at).is_some_and(|w| w.eq_ignore_ascii_case(table));
            let alias = match word_at(at + 1)? {
                second if second.eq_ignore_ascii_case("AS") => word_at(at + 2)?,
                second => second,
            };
            (is_table && !crate::sql::quote::is_reserved(alias)).then_some(alias)
        });
        return called.map(|alias| format!("FROM calls it \"{alias}\": write {alias} before the dot."));
    }
    if let (Some(Token::SingleQuotedString(text)), Some((value, wanted))) =
        (token(Some(at)), message.split_once("' is not a"))
    {
        let hint = match wanted.trim_start_matches('n').trim_start() {
            kind if kind.starts_with("TIMESTAMP") => "Write it as '2026-11-21 04:40:49'.",
            "DATE" => "Write it as '2026-11-21'.",
            "BOOLEAN" => "Write true or false.",
            _ => {
                let compares = |at: Option<usize>| match token(at) {
                    Some(Token::Eq | Token::DoubleEq | Token::Neq | Token::Lt | Token::LtEq | Token::Gt | Token::GtEq) => {
                        true
                    }
                    Some(Token::LParen | Token::Comma) => in_list(tokens, at),
                    Some(Token::Word(w)) => matches!(w.value.to_ascii_uppercase().as_str(), "BETWEEN" | "AND"),
                    _ => false,
                };
                if !compares(at.checked_sub(1)) && !compares(Some(at + 1)) {
                    return None;
                }
                "Compare with a number, without quotes."
            }
        };
        return (value.trim_start_matches('\'') == text).then(|| hint.to_owned());
    }
    if message.starts_with("topic() takes") {
        let Some(Token::Word(name)) = token(Some(at + 2)) else { return None };
        return Some(format!("Put the name in single quotes: topic('{}').", name.value));
    }
    None
}

/// Whether the parenthesis or comma at `at` is one of `IN (...)`.
fn in_list(tokens: &[TokenWithSpan], at: Option<usize>) -> bool {
    let Some(at) = at else { return false };
    let open = (0..=at)
        .rev()
        .find(|&open| tokens[open].token == Token::LParen && closing(tokens, open).is_none_or(|close| close > at));
    let before = open.and_then(|open| open.checked_sub(1)).and_then(|before| word(&tokens[before].token));
    before.is_some_and(|w| w.eq_ignore_ascii_case("IN"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text under the caret, and the hint.
    fn put(error: Error, statement: &str) -> (String, String) {
        let text = format!("SELECT 'x'; {statement}");
        let position = Position { file: None, text: text.as_str().into(), span: 12..text.len() };
        let error = placed(error, &position);
        let place = error.position().map_or(String::new(), |p| p.text[p.span.clone()].to_owned());
        (place, error.get_hint().unwrap_or_default().to_owned())
    }

    #[test]
    fn the_words_that_an_error_names_are_its_place() {
        for (message, statement, place) in [
            ("no model \"fruad\" on topic \"models\"", "SELECT score('fruad', a) FROM t", "'fruad'"),
            ("model \"fraud:1\" takes 2 features, 1 was given", "SELECT score('fraud', a) FROM t", "'fraud'"),
            ("ORDER BY is not available in a running query yet", "INSERT INTO a SELECT b FROM t ORDER BY b", "ORDER BY"),
            ("a join is not available in a running query yet", "SELECT 1 FROM a JOIN b USING (x) EMIT CHANGES", "JOIN"),
            ("an aggregate function is not available", "SELECT id, Count(*) FROM t EMIT CHANGES", "Count"),
            ("table \"t\" has no column \"nam\"", "INSERT INTO t (id, nam) VALUES (1, 2)", "nam"),
            ("column \"id\" of table \"t\" is set by the broker", "INSERT INTO t (id) VALUES (1)", "id"),
            ("score() has no features", "SELECT score('a') FROM t", "score"),
            ("there is no TIMESTAMP(9) - BIGINT", "SELECT now() - 5", "-"),
            ("'10x' is not a DOUBLE", "SELECT a FROM t WHERE b > '10x'", "'10x'"),
            ("no model \"x\" on topic \"models\"", "SELECT score('x', a) FROM t WHERE score('x', a) > 1", "'x'"),
            ("model \"x:1\" takes 2 features, 1 was given", "SELECT score('x', a, b), score('x', a) FROM t", "'x'"),
            ("the first argument of score() is not a model's name but BIGINT", "SELECT score('x', a), score(1, a)", "1"),
            ("\"a b\" is not a model's name", "SELECT score('a b', c), score('a b', d)", "'a b'"),
            ("'x' is not an INT", "SELECT card::int, CAST(id AS VARCHAR) FROM t WHERE card <> 'x'", "card::int"),
            ("'x' is not an INT", "SELECT CAST(trim(card) AS INTEGER), id::bigint FROM t", "CAST(trim(card) AS INTEGER)"),
            ("'x' is not a TIMESTAMP", "SELECT upper(t.card)::timestamp(3) FROM t", "upper(t.card)::timestamp(3)"),
            ("300 does not fit TINYINT", "SELECT 1, t.id::TINYINT FROM t", "t.id::TINYINT"),
            ("'x' is not an INT", "SELECT CAST('x' AS INT)", "'x'"),
            // Either may have failed.
            ("'x' is not an INT", "SELECT a::int, b::int FROM t", "SELECT a::int, b::int FROM t"),
            ("division by zero", "SELECT 1 / n FROM t", "/"),
            ("operator && is not supported", "SELECT a && b FROM t", "&&"),
            ("LIKE takes texts, not BIGINT", "SELECT a FROM t WHERE t.id NOT LIKE '1%'", "t.id NOT LIKE '1%'"),
            ("LIKE takes texts, not BIGINT", "SELECT a FROM t WHERE card LIKE 1", "LIKE"),
            // Twice is too often to say which; what stands in another statement is not looked at.
            ("no topic \"x\"", "SELECT x FROM x", "SELECT x FROM x"),
            ("'x' is not a BIGINT", "SELECT 1", "SELECT 1"),
        ] {
            assert_eq!(put(Error::user(message), statement).0, place, "{message}");
        }
        let wrong = |text: &str, argument: usize| Error::user(text).about_argument(argument);
        for (error, statement, place) in [
            (
                wrong("model \"x:1\" takes FLOAT for \"a\", \"card\" VARCHAR was given", 1),
                "SELECT card, score('x', 1, p.card) FROM t p",
                "p.card",
            ),
            (
                wrong("model \"x:1\" takes FLOAT for \"a\", VARCHAR was given", 0),
                "SELECT a, score('x', upper(b), 2), score('x', upper(b), 2) FROM t",
                "upper(b)",
            ),
            (
                wrong("model \"x:1\" takes FLOAT for \"a\", \"c\" DATE was given", 0),
                "SELECT score('x', b), score('x', c)",
                "c",
            ),
            (wrong("model \"x:1\" takes BIGINT for \"h\", DOUBLE[] was given", 0), "SELECT score('x', [a, h])", "[a, h]"),
        ] {
            assert_eq!(put(error, statement).0, place, "{statement}");
        }
        assert_eq!(put(Error::external("topic \"t\" is gone"), "SELECT 1 FROM t").0, "SELECT 1 FROM t");
    }

    #[test]
    fn the_place_tells_what_was_meant() {
        let known = "Known columns: id.";
        for (error, statement, hint) in [
            (
                Error::user("no column \"a\"").hint(known),
                "SELECT * FROM t WHERE card = \"a\"",
                "A text stands in single quotes: 'a'. Known columns: id.",
            ),
            (
                Error::user("no column \"fraud\"").hint(known),
                "SELECT score(fraud, id) FROM t",
                "A model's name stands in single quotes: score('fraud', ...).",
            ),
            (
                Error::user("no column \"risk\"").spanned(span(36, 4)).hint(known),
                "SELECT id + 1 AS risk FROM t WHERE risk > 1",
                "WHERE comes before \"risk\" is named: repeat its expression there. A score that is written twice runs once.",
            ),
            (Error::user("no column \"now\""), "SELECT now", "Write now() to call the function."),
            (
                Error::user("no table \"t\" in FROM").spanned(span(8, 1)),
                "SELECT t.id FROM t p",
                "FROM calls it \"p\": write p before the dot.",
            ),
            (Error::data("'x' is not a DATE"), "SELECT DATE 'x'", "Write it as '2026-11-21'."),
            // Two letters more are not the column.
            (
                Error::user("no column \"card-1\"").hint("Did you mean \"card\"?"),
                "SELECT * FROM t WHERE card IN ('b', \"card-1\")",
                "A text stands in single quotes: 'card-1'.",
            ),
            (
                Error::user("no column \"cart\"").hint("Did you mean \"card\"?"),
                "SELECT * FROM t WHERE id = \"cart\"",
                "Did you mean \"card\"?",
            ),
            (
                Error::user("no column \"b\""),
                "INSERT INTO t VALUES (1, 'a'), (2, \"b\")",
                "A text stands in single quotes: 'b'.",
            ),
            (
                Error::user("no column \"b\"").hint(known),
                "SELECT \"b\" FROM t",
                "If it is a text, put it in single quotes: 'b'. Known columns: id.",
            ),
            (
                Error::user("no column \"_offset\"").hint(known),
                "SELECT _offset FROM t",
                "The offset of a record is a column that is declared: CREATE TABLE t (..., \"offset\" BIGINT METADATA) WITH (...).",
            ),
            (
                Error::user("no table \"a.csv\"").hint("Declare it."),
                "SELECT * FROM 'a.csv'",
                "A file becomes a table: CREATE TABLE f WITH (connector = 'file', path = 'a.csv'); then read it FROM f.",
            ),
            (
                Error::user("no table function \"read_csv\"").hint("Write topic('name') to read a topic that has no table."),
                "SELECT * FROM read_csv('a.csv')",
                "A file becomes a table: CREATE TABLE f WITH (connector = 'file', path = 'a.csv'); then read it FROM f.",
            ),
            (Error::data("'x' is not an INT").hint("TRY"), "SELECT CAST('x' AS INT)", "TRY"),
            (Error::data("'x' is not an INT").hint("TRY"), "SELECT 'x'::INT", "TRY"),
            (Error::data("'x' is not an INT"), "SELECT a IN (1, 'x')", "Compare with a number, without quotes."),
            (
                Error::user("LIKE takes texts, not BIGINT"),
                "SELECT a FROM t WHERE t.id NOT LIKE '1%'",
                "Write CAST(t.id AS VARCHAR) NOT LIKE '1%'.",
            ),
            // A near name is the better guess.
            (Error::user("no column \"ID\"").hint("Did you mean \"id\"?"), "SELECT \"ID\" FROM t", "Did you mean \"id\"?"),
        ] {
            assert_eq!(put(error, statement).1, hint, "{statement}");
        }
    }

    /// A word at a column of the statement, which stands behind another.
    fn span(column: u64, length: u64) -> sqlparser::tokenizer::Span {
        use sqlparser::tokenizer::{Location, Span};
        Span::new(Location::new(1, 12 + column), Location::new(1, 12 + column + length))
    }
}
