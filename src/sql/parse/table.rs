//! `CREATE TABLE`.   columns, clock, key ─► options ─► query;   checked as a whole once it is read
//!
//! The words that are no SQL elsewhere (METADATA, WATERMARK) mean something only at their places here, so they stay usable
//! as names of columns.

use sqlparser::ast::{DataType as Ast, Ident};
use sqlparser::tokenizer::Token;

use super::super::definition::{Column, MetadataColumn, TableDefinition, Watermark};
use super::super::names::Name;
use super::super::options::{TableOptions, unknown_column};
use super::super::statement::Statement;
use super::super::types::arrow_type;
use super::cursor::Cursor;
use crate::config::Options;
use crate::error::{Error, Position, Result, nearest};

/// Reads what follows `CREATE TABLE [IF NOT EXISTS]`.
pub fn create_table(c: &mut Cursor, if_not_exists: bool, or_replace: bool) -> Result<Statement> {
    let name = c.name("table")?.text;
    if c.sees(0, "LIKE") {
        let error = Error::user("vatic has no CREATE TABLE ... LIKE").at(c.here());
        return Err(error.hint("Write the columns; SHOW CREATE TABLE prints those of a table."));
    }
    let mut table = TableDefinition { name, ..TableDefinition::default() };
    if c.take_token(&Token::LParen) {
        structs(c);
        elements(c, &mut table)?;
    }
    if c.sees(0, "PARTITIONED") || (c.sees(0, "PARTITION") && c.sees(1, "BY")) {
        let error = Error::user("vatic has no PARTITION BY for tables").at(c.here());
        return Err(error.hint("Write key.columns and key.format in WITH: rows of one key go to one partition."));
    }
    let start = c.index();
    let mut places = Vec::new();
    if c.take(&["WITH"]) {
        table.options = options(c, &mut places)?;
    }
    let with = c.since(start);
    if let Err(error) = TableOptions::read(&table) {
        // The error names the option that it is about, if it is about one.
        let named = places.iter().find(|(option, _)| error.message().contains(&format!("\"{option}\"")));
        return Err(error.at(named.map_or(with, |(_, place)| place.clone())));
    }
    let query = if c.take(&["AS"]) { Some(c.query()?) } else { None };
    if query.is_some() && !table.columns.is_empty() {
        let error = Error::user("CREATE TABLE ... AS takes its columns from the query").at(c.since(start));
        return Err(error.hint("Leave out the list of columns, or write CREATE TABLE and then INSERT INTO."));
    }
    Ok(Statement::CreateTable { definition: Box::new(table), if_not_exists, or_replace, query })
}

/// `ROW(a INT)` and `STRUCT(a INT)` are `STRUCT<a INT>`: the words of the list of columns are changed to what sqlparser reads.
fn structs(c: &mut Cursor) {
    let (mut at, mut depth) = (0, 1);
    // For each open parenthesis whether it is a struct's.
    let mut open: Vec<bool> = Vec::new();
    while depth > 0 {
        let index = c.index() + at;
        match c.peek(at) {
            Some(Token::LParen) => {
                let is_struct = at > 0 && (c.sees(at - 1, "ROW") || c.sees(at - 1, "STRUCT"));
                if is_struct {
                    c.replace(index - 1, Token::make_keyword("STRUCT"));
                    c.replace(index, Token::Lt);
                }
                open.push(is_struct);
                depth += 1;
            }
            Some(Token::RParen) => {
                if open.pop() == Some(true) {
                    c.replace(index, Token::Gt);
                }
                depth -= 1;
            }
            None => break,
            _ => {}
        }
        at += 1;
    }
}

/// Reads the list in parentheses, to its end, and checks it.
fn elements(c: &mut Cursor, table: &mut TableDefinition) -> Result<()> {
    let mut watermark: Option<(Ident, i64, Position)> = None;
    let mut keys: Option<Vec<(Name, Position)>> = None;
    loop {
        let start = c.index();
        if c.take(&["WATERMARK", "FOR"]) {
            let (column, delay) = watermark_clause(c)?;
            if watermark.replace((column, delay, c.since(start))).is_some() {
                return Err(Error::user("WATERMARK is given twice").hint("Leave out one of them.").at(c.since(start)));
            }
        } else if (c.sees(0, "PRIMARY") && c.sees(1, "KEY")) || (c.sees(0, "CONSTRAINT") && c.sees(2, "PRIMARY")) {
            if c.take(&["CONSTRAINT"]) {
                c.ident("the name of a constraint")?;
            }
            c.expect(&["PRIMARY", "KEY"])?;
            let names = key_clause(c)?;
            if keys.replace(names).is_some() {
                return Err(Error::user("PRIMARY KEY is given twice").hint("Leave out one of them.").at(c.since(start)));
            }
        } else if ["UNIQUE", "CHECK", "FOREIGN"]
            .iter()
            .any(|w| c.sees(0, w) && (c.sees(1, "KEY") || c.peek(1) == Some(&Token::LParen)))
        {
            let error = Error::user("vatic checks no constraints but NOT NULL").at(c.here());
            return Err(error.hint("Leave it out, and filter with WHERE."));
        } else {
            let is_key = column(c, table)?;
            if is_key && let Some(name) = table.columns.last().map(|c| Name::exact(c.name.clone())) {
                if keys.is_some() {
                    let error = Error::user("PRIMARY KEY is given twice").at(c.since(start));
                    return Err(error.hint("Write PRIMARY KEY (a, b) for a key of several columns."));
                }
                keys = Some(vec![(name, c.since(start))]);
            }
        }
        if !c.take_token(&Token::Comma) {
            break;
        }
    }
    c.expect_token(&Token::RParen)?;
    for (name, place) in keys.unwrap_or_default() {
        let Some(found) = name.find(table.columns.iter().map(|c| c.name.as_str())).map(str::to_owned) else {
            return Err(unknown_column(table, &name.text, "of PRIMARY KEY").at(place));
        };
        if table.primary_key.contains(&found) {
            return Err(Error::user(format!("column \"{found}\" is twice in PRIMARY KEY")).at(place));
        }
        table.primary_key.push(found);
    }
    if let Some((column, delay_ms, place)) = watermark {
        let name = Name::from(&column).find(table.columns.iter().map(|c| c.name.as_str())).map(str::to_owned);
        let Some(found) = name.and_then(|name| table.column(&name)) else {
            return Err(unknown_column(table, &column.value, "of WATERMARK").at(place));
        };
        if !matches!(found.data_type, arrow::datatypes::DataType::Timestamp(..)) {
            let error = Error::user(format!("column \"{}\" of WATERMARK is {}", found.name, found.sql_type())).at(place);
            return Err(error.hint("Name a column of type TIMESTAMP."));
        }
        table.watermark = Some(Watermark { column: found.name.clone(), delay_ms });
    }
    Ok(())
}

/// Reads a column; says whether PRIMARY KEY stands behind it.
fn column(c: &mut Cursor, table: &mut TableDefinition) -> Result<bool> {
    let start = c.index();
    let name = c.ident("a column")?;
    if let Some(other) = table.columns.iter().find(|other| other.name.to_lowercase() == name.value.to_lowercase()) {
        let error = Error::user(format!("column \"{}\" is given twice", name.value)).at(c.since(start));
        // In records they would be two fields; unquoted references could not tell them apart.
        let differ = other.name != name.value;
        return Err(if differ { error.hint("Names that differ only in case are the same.") } else { error });
    }
    let at = c.index();
    if c.at_end() || matches!(c.peek(0), Some(Token::Comma | Token::RParen)) {
        return Err(c.expected(&format!("the type of column \"{}\"", name.value)));
    }
    let sql: Ast = c.data_type()?;
    let data_type = arrow_type(&sql).map_err(|e| match clause_meant(c, start) {
        Some(hint) => e.hint(hint).at(c.since(start)),
        None => e.at(c.since(at)),
    })?;
    let mut column = Column::new(name.value, data_type);
    let mut key = false;
    loop {
        if c.take(&["NOT", "NULL"]) {
            column.nullable = false;
        } else if c.take(&["NULL"]) {
            column.nullable = true;
        } else if c.take(&["PRIMARY", "KEY"]) {
            let _ = c.take(&["NOT", "ENFORCED"]);
            key = true;
        } else if c.take(&["COMMENT"]) {
            column.comment = Some(c.string().ok_or_else(|| c.expected("a text in single quotes"))?);
        } else if c.sees(0, "METADATA") {
            let at = c.index();
            c.skip(1);
            let from = if c.take(&["FROM"]) {
                Some(c.string().ok_or_else(|| c.expected("the name of the metadata in single quotes"))?)
            } else {
                None
            };
            let metadata = MetadataColumn::find(from.as_deref().unwrap_or(&column.name)).map_err(|e| e.at(c.since(at)))?;
            metadata.check(&column.name, &column.data_type).map_err(|e| e.at(c.since(start)))?;
            if let Some(other) = table.columns.iter().find(|other| other.metadata == Some(metadata)) {
                let error = Error::user(format!(
                    "columns \"{}\" and \"{}\" are both the {}",
                    other.name,
                    column.name,
                    metadata.name()
                ));
                return Err(error.hint("Leave out one of them.").at(c.since(start)));
            }
            column.metadata = Some(metadata);
        } else if let Some(word) =
            ["DEFAULT", "GENERATED", "CHECK", "UNIQUE", "REFERENCES", "AS", "AUTO_INCREMENT", "AUTOINCREMENT", "IDENTITY"]
                .iter()
                .find(|w| c.sees(0, w))
        {
            let error = Error::user(format!("vatic has no {word} for columns")).at(c.here());
            return Err(error.hint("Leave it out, and compute the column in a query or a view."));
        } else if matches!(c.peek(0), Some(Token::Comma | Token::RParen)) {
            break;
        } else {
            let meant = ["METADATA", "COMMENT", "PRIMARY"].into_iter().find(|word| c.is_like(0, word));
            return Err(match meant {
                Some(word) => c.expected(&format!("{word}, \",\" or \")\"")),
                None => c.expected("\",\" or \")\""),
            });
        }
    }
    table.columns.push(column);
    Ok(key)
}

/// The clause that was meant by what was read as a column from the word at `start` on: `WATERMRK FOR ...`, `PRIMARY KY (...)`.
fn clause_meant(c: &Cursor, start: usize) -> Option<String> {
    let is_like = |at: usize, word: &str| match c.word(at) {
        Some(found) => nearest(found, [word]).is_some(),
        None => false,
    };
    if is_like(start, "WATERMARK") {
        return Some("Write WATERMARK FOR column AS column - INTERVAL '5 seconds'.".to_owned());
    }
    (is_like(start, "PRIMARY") && is_like(start + 1, "KEY")).then(|| "Write PRIMARY KEY (column, ...).".to_owned())
}

/// Reads `column AS column [- INTERVAL '5 seconds']`; the delay is in milliseconds.
fn watermark_clause(c: &mut Cursor) -> Result<(Ident, i64)> {
    let column = c.ident("a column")?;
    c.expect(&["AS"])?;
    let at = c.index();
    let same = c.ident("the same column")?;
    if !same.value.eq_ignore_ascii_case(&column.value) {
        let error =
            Error::user(format!("WATERMARK FOR \"{}\" is computed from \"{}\"", column.value, same.value)).at(c.since(at));
        return Err(error.hint(format!("Write WATERMARK FOR {0} AS {0} - INTERVAL '5 seconds'.", column.value)));
    }
    if !c.take_token(&Token::Minus) {
        return Ok((column, 0));
    }
    let at = c.index();
    c.expect(&["INTERVAL"])?;
    let number = match (c.string(), c.peek(0)) {
        (Some(text), _) => text,
        (None, Some(Token::Number(digits, _))) => {
            let digits = digits.clone();
            c.skip(1);
            digits
        }
        _ => return Err(c.expected("an interval such as '5 seconds'")),
    };
    // `INTERVAL '5' SECOND` names its unit behind the number.
    let unit = match c.peek(0) {
        Some(Token::Word(word)) => {
            let unit = word.value.clone();
            c.skip(1);
            unit
        }
        _ => String::new(),
    };
    interval_ms(&number, &unit).map(|ms| (column, ms)).ok_or_else(|| {
        let error = Error::user("the INTERVAL of a WATERMARK is not a constant number of time units").at(c.since(at));
        error.hint("Write INTERVAL '5 seconds', for example; months and years have no fixed length.")
    })
}

/// `5 seconds`, `1 minute 30 seconds`, `1.5 seconds`, `0.25` with a unit; in milliseconds.
fn interval_ms(text: &str, unit: &str) -> Option<i64> {
    let text = format!("{text} {unit}");
    let mut words = text.split_whitespace();
    let mut total = 0_f64;
    let mut any = false;
    while let Some(number) = words.next() {
        let split = number.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(number.len());
        let (digits, glued) = number.split_at(split);
        let unit = if glued.is_empty() { words.next()? } else { glued };
        let factor = match unit.to_ascii_lowercase().trim_end_matches('s') {
            // "ms" and "s" lose their s above.
            "m" if unit.eq_ignore_ascii_case("ms") => 1.0,
            "millisecond" => 1.0,
            "" | "sec" | "second" => 1e3,
            "min" | "minute" => 60e3,
            "h" | "hour" => 3_600e3,
            "d" | "day" => 86_400e3,
            "week" => 604_800e3,
            _ => return None,
        };
        total += digits.parse::<f64>().ok()? * factor;
        any = true;
    }
    // Ten thousand years: beyond that it is a typing error, and f64 is exact below it.
    #[expect(clippy::cast_possible_truncation)]
    (any && total < 3.2e14).then(|| total.round() as i64)
}

/// Reads `(a, b) [NOT ENFORCED]`.
fn key_clause(c: &mut Cursor) -> Result<Vec<(Name, Position)>> {
    c.expect_token(&Token::LParen)?;
    let mut names = Vec::new();
    loop {
        let start = c.index();
        let name = Name::from(&c.ident("a column")?);
        names.push((name, c.since(start)));
        if !c.take_token(&Token::Comma) {
            break;
        }
    }
    c.expect_token(&Token::RParen)?;
    let _ = c.take(&["NOT", "ENFORCED"]) || c.take(&["ENFORCED"]);
    Ok(names)
}

/// Reads `(name = value, ...)`; `places` gets where each option stands.
fn options(c: &mut Cursor, places: &mut Vec<(String, Position)>) -> Result<Options> {
    let mut options = Options::default();
    c.expect_token(&Token::LParen)?;
    if c.take_token(&Token::RParen) {
        return Ok(options);
    }
    loop {
        let start = c.index();
        let name = c.dotted("an option")?;
        c.expect_token(&Token::Eq)?;
        let value = option_value(c)?;
        if options.get(&name).is_some() {
            let error = Error::user(format!("option \"{name}\" is given twice")).at(c.since(start));
            return Err(error.hint("Leave out one of them."));
        }
        places.push((name.clone(), c.since(start)));
        options.set(name, value);
        if !c.take_token(&Token::Comma) {
            break;
        }
    }
    c.expect_token(&Token::RParen)?;
    Ok(options)
}

/// Reads a string, a number, true, false, or another bare word.
pub(super) fn option_value(c: &mut Cursor) -> Result<String> {
    if let Some(text) = c.string() {
        return Ok(text);
    }
    let sign = if c.take_token(&Token::Minus) { "-" } else { "" };
    let value = match c.peek(0) {
        Some(Token::Number(digits, _)) => format!("{sign}{digits}"),
        Some(Token::Word(word)) if sign.is_empty() => match word.quote_style {
            None => word.value.clone(),
            Some(_) => {
                let value = word.value.replace('\'', "''");
                return Err(c.expected("a value").hint(format!("Put values in single quotes: '{value}'.")));
            }
        },
        _ => return Err(c.expected("a value in single quotes")),
    };
    c.skip(1);
    Ok(value)
}
