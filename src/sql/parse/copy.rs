//! `COPY (query) TO 'path' [(options)]`, also `COPY table TO ...`; options as PostgreSQL has them, `FORMAT csv, HEADER false`.

use std::ops::ControlFlow;

use sqlparser::ast::{ObjectNamePart, visit_relations_mut};
use sqlparser::tokenizer::Token;

use super::super::copy::{COPY_OPTIONS, read};
use super::super::quote::{quote_name, quote_text};
use super::super::statement::Statement;
use super::cursor::Cursor;
use super::{parse_query, table};
use crate::config::Options;
use crate::error::{Error, Result};

/// Reads what follows `COPY`.
pub fn copy(c: &mut Cursor) -> Result<Statement> {
    let query = if c.take_token(&Token::LParen) {
        if !["SELECT", "WITH", "VALUES"].iter().any(|word| c.sees(0, word)) && c.peek(0) != Some(&Token::LParen) {
            return Err(c.expected("a query"));
        }
        let query = c.query()?;
        if c.sees(0, "CHANGES") || c.sees(0, "EMIT") {
            let error = Error::user("COPY writes an answer, which ends").at(c.here());
            return Err(error.hint("Leave out EMIT CHANGES."));
        }
        c.expect_token(&Token::RParen)?;
        query
    } else {
        whole_table(c)?
    };
    if c.sees(0, "FROM") {
        let error = Error::user("vatic has no COPY ... FROM").at(c.here());
        return Err(
            error.hint("Write CREATE TABLE f WITH (connector = 'file', path = '...'), then INSERT INTO ... SELECT FROM f.")
        );
    }
    c.expect(&["TO"])?;
    let at = c.index();
    if c.sees(0, "STDOUT") {
        let error = Error::user("COPY writes files").at(c.here());
        return Err(error.hint("Leave COPY out and write the query: vatic sql --format csv \"SELECT ...\""));
    }
    let Some(path) = c.string() else { return Err(c.expected("the path of a file in single quotes")) };
    let (place, start) = (c.since(at), c.index());
    let options = options(c)?;
    let place = if c.index() > start { c.since(start) } else { place };
    Ok(Statement::Copy { query, options: read(&path, &options).map_err(|e| e.at(place))?, path })
}

/// Reads a table or `topic('name')`: all of its rows.
fn whole_table(c: &mut Cursor) -> Result<Box<sqlparser::ast::Query>> {
    let mut place = None;
    let from = if c.sees(0, "TOPIC") && c.peek(1) == Some(&Token::LParen) {
        c.skip(2);
        let topic = c.string().ok_or_else(|| c.expected("a topic's name in single quotes"))?;
        c.expect_token(&Token::RParen)?;
        format!("topic({})", quote_text(&topic))
    } else {
        place = c.here_in_lines();
        let name = c.name("table")?;
        if c.peek(0) == Some(&Token::LParen) {
            let error = Error::user("COPY takes a table or a query").at(c.here());
            return Err(error.hint(format!("Write COPY (SELECT a, b FROM {name}) TO '...'.")));
        }
        if name.exact { format!("\"{}\"", name.text.replace('"', "\"\"")) } else { quote_name(&name.text) }
    };
    let mut query = parse_query(&format!("SELECT * FROM {from}"))?;
    if let Some(place) = place {
        // Errors about the table point at what was typed.
        let _ = visit_relations_mut(&mut query, |name| {
            for part in &mut name.0 {
                if let ObjectNamePart::Identifier(ident) = part {
                    ident.span = place;
                }
            }
            ControlFlow::<()>::Continue(())
        });
    }
    Ok(query)
}

/// Reads `[WITH] (name [=] value, ...)`, if it is there; a name without a value is true.
fn options(c: &mut Cursor) -> Result<Options> {
    let mut options = Options::default();
    if c.take(&["WITH"]) && c.peek(0) != Some(&Token::LParen) {
        return Err(c.expected("("));
    }
    if !c.take_token(&Token::LParen) {
        return Ok(options);
    }
    loop {
        let start = c.index();
        let name = c.dotted("an option")?.to_ascii_lowercase();
        let _ = c.take_token(&Token::Eq);
        let ends = matches!(c.peek(0), Some(Token::Comma | Token::RParen));
        let value = if ends { "true".to_owned() } else { table::option_value(c)? };
        let one: Options = [(name.clone(), value.clone())].into_iter().collect();
        one.check(&[COPY_OPTIONS]).map_err(|e| e.at(c.since(start)))?;
        if options.get(&name).is_some() {
            return Err(Error::user(format!("option \"{name}\" is given twice"))
                .hint("Leave out one of them.")
                .at(c.since(start)));
        }
        options.set(name, value);
        if !c.take_token(&Token::Comma) {
            break;
        }
    }
    c.expect_token(&Token::RParen)?;
    Ok(options)
}
