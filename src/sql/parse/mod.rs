//! Text to statements.   text ─► words ─► split at `;` ─► [`Cursor`] ─► [`Statement`]
//!
//! sqlparser reads words, queries, expressions and types; the statements around them are read here. All of a text is read before
//! anything runs. To add a statement: an arm in [`statement`], with a function if it is more than a line.

mod check;
mod copy;
mod cursor;
mod hints;
mod table;

pub use hints::STATEMENTS;

use sqlparser::ast::{Expr, LimitClause, Query, SetExpr, Value};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use self::cursor::Cursor;
use super::names::topic_table;
use super::params::{Params, parameter};
use super::settings::Settings;
use super::statement::{Emit, Explaining, ObjectKind, Parsed, Show, Statement};
use super::text::Source;
use crate::error::{Error, Position, Result};

/// Reads all statements of a text without parameters; `file` is the path of the file it came from, for errors.
///
/// # Errors
/// `User` for the first mistake, with its place.
pub fn parse(text: &str, file: Option<&str>) -> Result<Vec<Parsed>> {
    parse_with(text, file, &Params::default())
}

/// Reads all statements of a text whose parameters have the values `params`.
///
/// # Errors
/// As [`parse`]; also for a parameter without a value.
pub fn parse_with(text: &str, file: Option<&str>, params: &Params) -> Result<Vec<Parsed>> {
    read_all(text, file, Some(params))
}

/// Without `params`, parameters stay what they are.
fn read_all(text: &str, file: Option<&str>, params: Option<&Params>) -> Result<Vec<Parsed>> {
    let source = Source::new(text, file);
    let tokens = source.tokens()?;
    tokens
        .split(|t| t.token == Token::SemiColon)
        .filter(|words| !words.is_empty())
        .map(|words| {
            let position = whole(&source, words);
            let text = text.get(position.span.clone()).unwrap_or_default().to_owned();
            Ok(Parsed { statement: read(&source, words, params)?, position, text })
        })
        .collect()
}

/// Reads a text that is one query, such as a view's; its parameters stay.
///
/// # Errors
/// As [`parse`]; also if it is another statement, or several.
pub fn parse_query(text: &str) -> Result<Box<Query>> {
    match read_all(text, None, None)?.as_mut_slice() {
        [Parsed { statement: Statement::Query { query, emit: None }, .. }] => Ok(query.clone()),
        _ => Err(Error::user("expected one query")),
    }
}

/// The place of all `words`.
fn whole(source: &Source, words: &[TokenWithSpan]) -> Position {
    let start = words.first().map_or(0, |t| source.bytes(t.span).start);
    source.position(start..words.last().map_or(start, |t| source.bytes(t.span).end))
}

/// Reads one statement; `EMIT CHANGES` at its end is taken off first, so that EMIT never becomes an alias.
fn read(source: &Source, words: &[TokenWithSpan], params: Option<&Params>) -> Result<Statement> {
    let is = |at: usize, word: &str| matches!(words.get(at).map(|t| &t.token), Some(Token::Word(w)) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word));
    if let Some(at) = hints::too_deep(words) {
        let error = Error::user("the type nests too deeply").hint("Nest types at most 32 deep.");
        return Err(error.at(whole(source, &words[at..=at])));
    }
    if let Some(params) = params {
        for word in words {
            if let Some(name) = parameter(&word.token)
                && params.get(name).is_none()
            {
                return Err(params.missing(name).at(whole(source, std::slice::from_ref(word))));
            }
        }
    }
    let n = words.len();
    let (body, emit) = if n > 2 && is(n - 2, "EMIT") && is(n - 1, "CHANGES") {
        (&words[..n - 2], Some(Emit { limit: None }))
    } else if n > 4 && is(n - 4, "EMIT") && is(n - 3, "CHANGES") && is(n - 2, "LIMIT") {
        let limit = match &words[n - 1].token {
            Token::Number(digits, _) => digits.parse().ok(),
            token => params.zip(parameter(token)).and_then(|(params, name)| params.get(name)?.parse().ok()),
        };
        if limit.is_none() {
            return Err(Error::user("the LIMIT of EMIT CHANGES is not a whole number").at(whole(source, &words[n - 1..])));
        }
        (&words[..n - 4], Some(Emit { limit }))
    } else {
        (words, None)
    };
    let emit_place = emit.is_some().then(|| whole(source, &words[body.len()..]));
    let mut cursor = Cursor::new(source, body.to_vec(), params);
    let mut read = statement(&mut cursor, body)?;
    cursor.expect_end()?;
    if let (Some(emit), Some(place)) = (emit, emit_place) {
        follow(&mut read, emit, place)?;
    }
    Ok(read)
}

/// Makes the query of `statement` follow.
fn follow(statement: &mut Statement, mut emit: Emit, place: Position) -> Result<()> {
    match statement {
        Statement::Explain { statement, .. } => follow(statement, emit, place),
        Statement::Query { query, emit: slot } => {
            let wrong = |what: &str, hint: &str| Err(Error::user(what).hint(hint).at(place.clone()));
            match query.limit_clause.take() {
                None => {}
                Some(LimitClause::LimitOffset { limit: Some(Expr::Value(value)), offset: None, limit_by })
                    if limit_by.is_empty() && emit.limit.is_none() =>
                {
                    emit.limit = match &value.value {
                        Value::Number(digits, _) => digits.parse().ok(),
                        _ => None,
                    };
                    if emit.limit.is_none() {
                        return wrong("the LIMIT of EMIT CHANGES is not a whole number", "Write LIMIT 10, for example.");
                    }
                }
                Some(_) if emit.limit.is_some() => return wrong("LIMIT is given twice", "Leave out one of them."),
                Some(_) => {
                    return wrong(
                        "EMIT CHANGES takes only a LIMIT with a number",
                        "Leave out OFFSET, and write LIMIT 10, for example.",
                    );
                }
            }
            *slot = Some(emit);
            Ok(())
        }
        Statement::Insert { .. } | Statement::CreateTable { .. } => {
            Err(Error::user("EMIT CHANGES is not for jobs, which run anyway").hint("Leave it out.").at(place))
        }
        Statement::CreateView { .. } => Err(Error::user("EMIT CHANGES is not part of a view")
            .hint("Leave it out, and write it behind the SELECT that reads the view.")
            .at(place)),
        _ => Err(Error::user("EMIT CHANGES is only for queries").hint("Leave it out.").at(place)),
    }
}

/// Reads a statement.
fn statement(c: &mut Cursor, words: &[TokenWithSpan]) -> Result<Statement> {
    let begins_query = c.sees(0, "SELECT") || c.sees(0, "WITH") || c.sees(0, "VALUES") || c.peek(0) == Some(&Token::LParen);
    if begins_query {
        Ok(Statement::Query { query: c.query()?, emit: None })
    } else if c.take(&["INSERT"]) {
        insert(c)
    } else if c.sees(0, "CREATE") {
        create(c, words)
    } else if c.take(&["DROP", "TABLE"]) {
        drop_object(c, ObjectKind::Table)
    } else if c.take(&["DROP", "VIEW"]) {
        drop_object(c, ObjectKind::View)
    } else if c.take(&["DROP", "FUNCTION"]) {
        drop_object(c, ObjectKind::Function)
    } else if c.sees(0, "DROP") {
        let error = hints::unknown_statement(words);
        if error.message().starts_with("vatic has no") {
            return Err(error.at(c.here()));
        }
        c.skip(1);
        Err(c.expected("TABLE, VIEW or FUNCTION"))
    } else if c.take(&["SHOW"]) {
        show(c).map(Statement::Show)
    } else if c.take(&["DESCRIBE"]) || c.take(&["DESC"]) {
        let _ = c.take(&["TABLE"]) || c.take(&["VIEW"]);
        Ok(Statement::Describe(relation(c)?))
    } else if c.take(&["SET"]) {
        set(c)
    } else if c.sees(0, "RESET") && c.sees(1, "JOB") && c.peek(2) != Some(&Token::Period) {
        c.skip(2);
        job_name(c).map(Statement::ResetJob)
    } else if c.sees(0, "RESET") && c.is_like(1, "JOB") && c.peek(2).is_some_and(|next| *next != Token::Period) {
        c.skip(1);
        Err(c.expected("JOB"))
    } else if c.take(&["RESET"]) {
        setting_name(c).map(Statement::Reset)
    } else if c.take(&["STOP"]) {
        c.expect(&["JOB"])?;
        job_name(c).map(Statement::StopJob)
    } else if c.take(&["COPY"]) {
        copy::copy(c)
    } else if c.take(&["EXPLAIN"]) {
        let how = explaining(c)?;
        if c.at_end() || c.sees(0, "EXPLAIN") {
            return Err(c.expected("a query"));
        }
        let start = c.index();
        let inner = statement(c, words.get(start..).unwrap_or_default())?;
        if !matches!(
            inner,
            Statement::Query { .. } | Statement::Insert { .. } | Statement::CreateTable { query: Some(_), .. }
        ) {
            let error = Error::user("EXPLAIN takes a query, an INSERT or a CREATE TABLE ... AS");
            return Err(error.hint("Leave out EXPLAIN.").at(c.since(start)));
        }
        Ok(Statement::Explain { how, statement: Box::new(inner) })
    } else {
        Err(hints::unknown_statement(words).at(c.here()))
    }
}

/// Reads `ANALYZE VERBOSE`, or `(ANALYZE, VERBOSE, FORMAT JSON)`.
fn explaining(c: &mut Cursor) -> Result<Explaining> {
    let mut how = Explaining::default();
    let query_follows = ["SELECT", "WITH", "VALUES"].iter().any(|word| c.sees(1, word)) || c.peek(1) == Some(&Token::LParen);
    if c.peek(0) != Some(&Token::LParen) || query_follows {
        how.analyze = c.take(&["ANALYZE"]);
        how.verbose = c.take(&["VERBOSE"]);
        return Ok(how);
    }
    c.skip(1);
    loop {
        let at = c.here();
        let option = c.ident("an option of EXPLAIN")?.value.to_ascii_lowercase();
        match option.as_str() {
            "analyze" | "verbose" => {
                let on = !(c.take(&["FALSE"]) || c.take(&["OFF"]));
                let _ = on && (c.take(&["TRUE"]) || c.take(&["ON"]));
                *(if option == "analyze" { &mut how.analyze } else { &mut how.verbose }) = on;
            }
            "format" => {
                let at = c.here();
                let form = c.ident("json or text")?.value.to_ascii_lowercase();
                how.json = match form.as_str() {
                    "json" => true,
                    "text" => false,
                    _ => {
                        let error = Error::user(format!("EXPLAIN has no FORMAT {form}")).at(at);
                        return Err(error.hint("Write FORMAT JSON, or FORMAT TEXT."));
                    }
                };
            }
            _ => {
                let error = Error::user(format!("EXPLAIN has no option \"{option}\"")).at(at);
                return Err(match crate::error::did_you_mean(&option, "options", ["analyze", "verbose", "format"]) {
                    Some(hint) => error.hint(hint),
                    None => error,
                });
            }
        }
        if !c.take_token(&Token::Comma) {
            break;
        }
    }
    c.expect_token(&Token::RParen)?;
    Ok(how)
}

fn insert(c: &mut Cursor) -> Result<Statement> {
    c.expect(&["INTO"])?;
    let _ = c.take(&["TABLE"]);
    let target = c.name("table")?;
    let mut columns = Vec::new();
    // `INSERT INTO t (SELECT ...)` has no list of columns.
    let query_follows = ["SELECT", "WITH", "VALUES"].iter().any(|word| c.sees(1, word)) || c.peek(1) == Some(&Token::LParen);
    if c.peek(0) == Some(&Token::LParen) && !query_follows {
        c.skip(1);
        loop {
            let at = c.here();
            let column = super::names::Name::from(&c.ident("a column")?);
            if columns.contains(&column) {
                return Err(Error::user(format!("column \"{}\" is given twice", column.text)).at(at));
            }
            columns.push(column);
            if !c.take_token(&Token::Comma) {
                break;
            }
        }
        c.expect_token(&Token::RParen)?;
    }
    let query = c.inserted()?;
    let values = matches!(query.body.as_ref(), SetExpr::Values(_));
    Ok(Statement::Insert { target, columns, query, values })
}

fn create(c: &mut Cursor, words: &[TokenWithSpan]) -> Result<Statement> {
    let start = c.here();
    c.expect(&["CREATE"])?;
    let or_replace = c.take(&["OR", "REPLACE"]);
    let (table, view) = (c.take(&["TABLE"]), c.sees(0, "VIEW"));
    if table {
        let if_not_exists = c.take(&["IF", "NOT", "EXISTS"]);
        return table::create_table(c, if_not_exists, or_replace);
    }
    if c.take(&["FUNCTION"]) {
        return create_function(c, or_replace);
    }
    if !view {
        let error = hints::unknown_statement(words);
        let known = error.message().starts_with("vatic has no");
        return Err(if known { error.at(start) } else { c.expected("TABLE, VIEW or FUNCTION") });
    }
    c.expect(&["VIEW"])?;
    let if_not_exists = c.take(&["IF", "NOT", "EXISTS"]);
    let name = c.name("view")?.text;
    let mut columns: Vec<String> = Vec::new();
    if c.take_token(&Token::LParen) {
        loop {
            let at = c.here();
            let column = c.ident("a column")?.value;
            if columns.contains(&column) {
                return Err(Error::user(format!("column \"{column}\" is given twice")).at(at));
            }
            columns.push(column);
            if !c.take_token(&Token::Comma) {
                break;
            }
        }
        c.expect_token(&Token::RParen)?;
    }
    c.expect(&["AS"])?;
    let text = c.text_from(c.index()).to_owned();
    Ok(Statement::CreateView { name, columns, if_not_exists, or_replace, query: c.query()?, text })
}

fn create_function(c: &mut Cursor, or_replace: bool) -> Result<Statement> {
    let if_not_exists = c.take(&["IF", "NOT", "EXISTS"]);
    let name = c.name("function")?.text;
    c.expect(&["FROM"])?;
    let path = c.string().ok_or_else(|| c.expected("a path in single quotes"))?;
    Ok(Statement::CreateFunction { name, path, if_not_exists, or_replace })
}

fn drop_object(c: &mut Cursor, kind: ObjectKind) -> Result<Statement> {
    let if_exists = c.take(&["IF", "EXISTS"]);
    let name = c.name(match kind {
        ObjectKind::Table => "table",
        ObjectKind::View => "view",
        ObjectKind::Function => "function",
    })?;
    Ok(Statement::Drop { kind, name, if_exists })
}

/// Reads the name of a table or view, or `topic('name')`.
fn relation(c: &mut Cursor) -> Result<super::names::Name> {
    if c.sees(0, "TOPIC") && c.peek(1) == Some(&Token::LParen) {
        c.skip(2);
        let topic = c.string().ok_or_else(|| c.expected("a topic's name in single quotes"))?;
        c.expect_token(&Token::RParen)?;
        return Ok(super::names::Name::exact(topic_table(&topic)));
    }
    c.name("table")
}

/// What SHOW lists, by its word.
pub const LISTS: &[(&str, Show)] = &[
    ("TABLES", Show::Tables),
    ("VIEWS", Show::Views),
    ("TOPICS", Show::Topics),
    ("MODELS", Show::Models),
    ("JOBS", Show::Jobs),
    ("FUNCTIONS", Show::Functions),
    ("FORMATS", Show::Formats),
    ("CONNECTORS", Show::Connectors),
    ("ALL", Show::All),
    ("SETTINGS", Show::All),
];

fn show(c: &mut Cursor) -> Result<Show> {
    if c.take(&["CREATE", "TABLE"]) {
        return relation(c).map(Show::CreateTable);
    }
    if c.take(&["CREATE", "VIEW"]) {
        return c.name("view").map(Show::CreateView);
    }
    if c.take(&["COLUMNS"]) {
        if !c.take(&["IN"]) {
            c.expect(&["FROM"])?;
        }
        return relation(c).map(Show::Columns);
    }
    if c.peek(1).is_none() {
        if let Some((_, show)) = LISTS.iter().find(|(word, _)| c.sees(0, word)) {
            c.skip(1);
            return Ok(show.clone());
        }
        // A single word that is no setting was probably meant to be one of the lists.
        if let Some(Token::Word(word)) = c.peek(0)
            && Settings::find(&word.value).is_err()
        {
            let names = LISTS.iter().map(|(name, _)| *name).chain(["CREATE TABLE", "COLUMNS FROM"]);
            let error = Error::user(format!("there is no SHOW {}", word.value)).at(c.here());
            return Err(match crate::error::did_you_mean(&word.value, "lists", names) {
                Some(hint) => error.hint(hint),
                None => error,
            });
        }
    }
    setting_name(c).map(Show::Setting)
}

/// Reads `a.b`, the name of a setting.
fn setting_name(c: &mut Cursor) -> Result<&'static str> {
    let start = c.index();
    let name = c.dotted("a setting")?;
    Ok(Settings::find(&name).map_err(|e| e.at(c.since(start)))?.name)
}

fn set(c: &mut Cursor) -> Result<Statement> {
    let name = setting_name(c)?;
    if !c.take_token(&Token::Eq) && !c.take(&["TO"]) {
        return Err(c.expected("= or TO"));
    }
    let start = c.index();
    let value = match c.string() {
        Some(text) => text,
        None if c.at_end() => return Err(c.expected("a value")),
        None => bare(c, "a value in single quotes")?,
    };
    // The value is tried now: a mistake is known before anything runs.
    Settings::default().set(name, &value).map_err(|e| e.at(c.since(start)))?;
    Ok(Statement::Set { name, value })
}

/// Reads the rest of the statement as the text of one value: words, numbers, and signs that names and numbers have.
fn bare(c: &mut Cursor, what: &str) -> Result<String> {
    if let (Some(Token::Word(word)), None) = (c.peek(0), c.peek(1)) {
        let text = word.value.clone();
        c.skip(1);
        return Ok(text);
    }
    let text = c.text_from(c.index()).to_owned();
    while let Some(token) = c.peek(0) {
        match token {
            Token::Word(w) if w.quote_style.is_none() => {}
            Token::Number(..) | Token::Period | Token::Minus | Token::Plus => {}
            _ => return Err(c.expected(what)),
        }
        c.skip(1);
    }
    Ok(text)
}

/// Reads the name of a job: a string, a quoted name, or bare words with dots and dashes.
fn job_name(c: &mut Cursor) -> Result<String> {
    match c.string() {
        Some(name) => Ok(name),
        None if c.at_end() => Err(c.expected("the name of a job")),
        None => bare(c, "the name of a job in single quotes"),
    }
}

#[cfg(test)]
mod tests;
