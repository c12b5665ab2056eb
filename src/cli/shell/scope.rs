//! What a query can name at the cursor.   words of its statement, cursor ─► [`scope`]: relations of FROM, named parts of WITH
//!
//! A query sees what its own FROM names, then what the queries around it do, and the parts of WITH that stand before it. A part
//! or a query in brackets has the columns that its SELECT lists, as far as its words tell: by alias, by name, by `*`. The types
//! come from the [`Names`], and with them the fields of columns that are structs.

use sqlparser::tokenizer::Token;

use super::catalog::{ColumnName, Names};
use super::lex::Lexeme;
use super::words;
use crate::model::answer::predict_type;
use crate::sql::types::sql_type;

/// Queries within queries are followed so deep.
const DEPTH: usize = 16;

/// A relation that a query reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Relation {
    /// Its name, or the topic's of `topic('...')`; nothing for a query in brackets.
    pub name: String,
    pub alias: Option<String>,
    pub origin: Origin,
}

/// Where the columns of a relation come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// A table or a view.
    Table,
    /// `topic('...')`
    Topic,
    /// A part of WITH, or a query in brackets.
    Query(Query),
}

/// What is known of a query that others read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Query {
    pub outputs: Vec<Output>,
    pub relations: Vec<Relation>,
}

/// An item of a SELECT list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Output {
    /// `*`, or that of one relation.
    All(Option<String>),
    /// A column, and what it is: a path of names, or the function that is called.
    Column { name: String, path: Vec<String>, call: Option<String> },
}

/// What can be named at one place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Scope {
    /// The query's own first.
    pub relations: Vec<Relation>,
    /// The parts of WITH.
    pub parts: Vec<Relation>,
    /// Behind GROUP BY and ORDER BY the query's own outputs, which have names there.
    pub outputs: Vec<String>,
}

impl Relation {
    /// Whether `qualifier.` means it.
    fn is_called(&self, qualifier: &str) -> bool {
        self.alias.as_deref().unwrap_or(&self.name).eq_ignore_ascii_case(qualifier)
    }

    /// The topics whose columns it has.
    pub fn topics(&self) -> Vec<&str> {
        match &self.origin {
            Origin::Table => Vec::new(),
            Origin::Topic => vec![&self.name],
            Origin::Query(query) => query.relations.iter().flat_map(Relation::topics).collect(),
        }
    }

    /// Its columns, as far as they are known.
    pub fn columns(&self, names: &Names) -> Vec<ColumnName> {
        match &self.origin {
            Origin::Table => names.table(&self.name).map(|table| table.columns.clone()).unwrap_or_default(),
            Origin::Topic => names.topic_columns.get(&self.name).cloned().unwrap_or_default(),
            Origin::Query(query) => query.columns(names),
        }
    }
}

impl Query {
    fn columns(&self, names: &Names) -> Vec<ColumnName> {
        let mut columns = Vec::new();
        for output in &self.outputs {
            match output {
                Output::All(of) => {
                    let wanted = |it: &&Relation| of.as_deref().is_none_or(|of| it.is_called(of));
                    columns.extend(self.relations.iter().filter(wanted).flat_map(|it| it.columns(names)));
                }
                Output::Column { name, path, call } => {
                    let sql_type = match call {
                        Some(function) => type_of_call(function, names),
                        None => column_at(path, &self.relations, names).map(|it| it.sql_type).unwrap_or_default(),
                    };
                    columns.push(ColumnName { name: name.clone(), sql_type });
                }
            }
        }
        columns
    }
}

/// What may follow `path` and a dot: the columns of a relation, or the fields of a struct.
pub(super) fn members(path: &[String], relations: &[Relation], names: &Names) -> Vec<ColumnName> {
    let [first, rest @ ..] = path else { return Vec::new() };
    let called: Vec<&Relation> = relations.iter().filter(|it| it.is_called(first)).collect();
    if rest.is_empty() && !called.is_empty() {
        return called.iter().flat_map(|it| it.columns(names)).collect();
    }
    column_at(path, relations, names).map(|column| fields(&column.sql_type)).unwrap_or_default()
}

/// The fields of what a call of `function` gives.
pub(super) fn fields_of_call(function: &str, names: &Names) -> Vec<ColumnName> {
    fields(&type_of_call(function, names))
}

/// The column or field that a path of names leads to.
fn column_at(path: &[String], relations: &[Relation], names: &Names) -> Option<ColumnName> {
    let [first, rest @ ..] = path else { return None };
    let qualified = relations.iter().filter(|it| it.is_called(first)).find_map(|it| descend(it.columns(names), rest));
    qualified.or_else(|| relations.iter().find_map(|it| descend(it.columns(names), path)))
}

/// Down from `columns` into the fields of structs.
fn descend(columns: Vec<ColumnName>, path: &[String]) -> Option<ColumnName> {
    let [first, rest @ ..] = path else { return None };
    let found = columns.into_iter().find(|column| column.name.eq_ignore_ascii_case(first))?;
    if rest.is_empty() { Some(found) } else { descend(fields(&found.sql_type), rest) }
}

/// The type behind the arrow of a function's signature.
fn type_of_call(function: &str, names: &Names) -> String {
    if function.eq_ignore_ascii_case("predict") {
        return sql_type(&predict_type());
    }
    let found = names.functions.iter().find(|own| own.name.eq_ignore_ascii_case(function));
    found.and_then(|own| own.signature.split_once("-> ")).map_or(String::new(), |(_, result)| result.to_owned())
}

/// The fields of a type as SQL writes it: `STRUCT<a BIGINT, "the b" STRUCT<c DOUBLE>>`; of other types none.
fn fields(sql_type: &str) -> Vec<ColumnName> {
    let Some(inside) = sql_type.strip_prefix("STRUCT<").and_then(|rest| rest.strip_suffix('>')) else { return Vec::new() };
    let (mut found, mut begin, mut depth, mut quoted) = (Vec::new(), 0, 0i32, false);
    for (at, c) in inside.char_indices().chain([(inside.len(), ',')]) {
        match c {
            '"' => quoted = !quoted,
            '<' | '(' if !quoted => depth += 1,
            '>' | ')' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                found.extend(inside.get(begin..at).and_then(field));
                begin = at + 1;
            }
            _ => {}
        }
    }
    found
}

/// `"the b" STRUCT<c DOUBLE>`
fn field(text: &str) -> Option<ColumnName> {
    let text = text.trim();
    let (name, sql_type) = match text.strip_prefix('"') {
        Some(rest) => {
            let end = rest.rfind("\" ")?;
            (rest.get(..end)?.replace("\"\"", "\""), rest.get(end + 2..)?)
        }
        None => text.split_once(' ').map(|(name, sql_type)| (name.to_owned(), sql_type))?,
    };
    Some(ColumnName { name, sql_type: sql_type.trim().to_owned() })
}

/// What can be named before the word `at` of a statement (which may be their number); `words` have no blanks among them.
pub(super) fn scope(words: &[Lexeme], at: usize) -> Scope {
    let mut opens = Vec::new();
    for (index, it) in words.iter().enumerate().take(at) {
        match it.token {
            Token::LParen => opens.push(index),
            Token::RParen => drop(opens.pop()),
            _ => {}
        }
    }
    let mut scope = Scope::default();
    if opens.first() == Some(&3) && words.first().is_some_and(|it| it.is("INSERT")) {
        // The list of the columns that it writes.
        let table = relation(words, 2, &[], 0).map(|it| Relation { alias: None, ..it });
        return Scope { relations: table.into_iter().collect(), ..scope };
    }
    let mut regions = vec![(0, words.len())];
    regions.extend(opens.iter().map(|open| (open + 1, closing(words, *open))));
    for (begin, end) in regions.into_iter().take(DEPTH) {
        let region = words.get(begin..end).unwrap_or_default();
        let is_query = begin == 0 || region.first().is_some_and(|first| first.is("SELECT") || first.is("WITH"));
        if !is_query {
            continue;
        }
        // What stands in FROM, or in WITH, does not see what stands beside it.
        let before = words.get(..begin.saturating_sub(1)).unwrap_or_default();
        let listed = |it: &Lexeme| it.token == Token::Comma && in_from(&before[..before.len() - 1]);
        if before.last().is_some_and(|it| ["FROM", "JOIN", "AS"].iter().any(|word| it.is(word)) || listed(it)) {
            scope.relations.clear();
        }
        let body = begin + parts_of(region, &mut scope.parts, 0);
        let (begin, end) = branch(words, body.min(end), end, at);
        let region = words.get(begin..end).unwrap_or_default();
        let own = relations(region, &scope.parts, 0);
        scope.relations.splice(0..0, own);
        let typed = words.get(begin..at.clamp(begin, end)).unwrap_or_default();
        scope.outputs = if top_level(typed).any(|(_, it)| it.is("BY")) { aliases(region) } else { Vec::new() };
    }
    scope
}

/// The words outside of inner brackets, with their places.
fn top_level(words: &[Lexeme]) -> impl Iterator<Item = (usize, &Lexeme)> {
    let mut depth = 0usize;
    words.iter().enumerate().filter(move |(_, it)| {
        match it.token {
            Token::LParen => depth += 1,
            Token::RParen => {
                depth = depth.saturating_sub(1);
                return false;
            }
            _ => {}
        }
        depth == 0
    })
}

/// The bracket that closes the one at `open`, or the end of `words`.
fn closing(words: &[Lexeme], open: usize) -> usize {
    let mut depth = 0usize;
    for (at, it) in words.iter().enumerate().skip(open) {
        match it.token {
            Token::LParen => depth += 1,
            Token::RParen if depth <= 1 => return at,
            Token::RParen => depth -= 1,
            _ => {}
        }
    }
    words.len()
}

/// The part of `words[begin..end]` that `at` is in, between UNION and its like.
fn branch(words: &[Lexeme], begin: usize, end: usize, at: usize) -> (usize, usize) {
    let region = words.get(begin..end).unwrap_or_default();
    let cuts = top_level(region).filter(|(_, it)| ["UNION", "EXCEPT", "INTERSECT"].iter().any(|word| it.is(word)));
    let (mut from, mut to) = (begin, end);
    for cut in cuts.map(|(index, _)| begin + index) {
        if cut < at {
            from = cut + 1;
        } else {
            to = to.min(cut);
        }
    }
    (from, to)
}

/// Adds the named parts of the WITH in `region` to `parts`; where the query behind them begins.
fn parts_of(region: &[Lexeme], parts: &mut Vec<Relation>, depth: usize) -> usize {
    // A table's WITH has options in its bracket and no name before it.
    let begins = |at: &usize| region.get(at + 1).is_some_and(|next| matches!(next.token, Token::Word(_)));
    let mut withs = top_level(region).filter(|(_, it)| it.is("WITH")).map(|(at, _)| at);
    let Some(with) = withs.find(begins) else { return 0 };
    let mut at = with + 1 + usize::from(region.get(with + 1).is_some_and(|it| it.is("RECURSIVE")));
    while let Some(name) = region.get(at).map(name_of).filter(|name| !name.is_empty()) {
        at += 1;
        let (columns, next) = column_list(region, at);
        at = next;
        if !region.get(at).is_some_and(|it| it.is("AS")) || region.get(at + 1).map(|it| &it.token) != Some(&Token::LParen) {
            return at.min(region.len());
        }
        let end = closing(region, at + 1);
        let query = query(region.get(at + 2..end).unwrap_or_default(), parts, depth + 1).renamed(columns);
        parts.push(Relation { name, alias: None, origin: Origin::Query(query) });
        at = end + 1;
        if region.get(at).map(|it| &it.token) != Some(&Token::Comma) {
            break;
        }
        at += 1;
    }
    at.min(region.len())
}

/// `(a, b)` at `at`, and what is behind it.
fn column_list(words: &[Lexeme], at: usize) -> (Vec<String>, usize) {
    if words.get(at).map(|it| &it.token) != Some(&Token::LParen) {
        return (Vec::new(), at);
    }
    let end = closing(words, at);
    let inside = words.get(at + 1..end).unwrap_or_default();
    (inside.iter().map(name_of).filter(|name| !name.is_empty()).collect(), end + 1)
}

impl Query {
    /// The same with these names for its columns, if they are all named.
    fn renamed(mut self, columns: Vec<String>) -> Self {
        for (output, new) in self.outputs.iter_mut().zip(columns) {
            match output {
                Output::Column { name, .. } => *name = new,
                Output::All(_) => break, // how many columns that is is not known here
            }
        }
        self
    }
}

/// The query of these words; of a UNION its first branch, which names the columns.
fn query(words: &[Lexeme], parts: &[Relation], depth: usize) -> Query {
    if depth > DEPTH {
        return Query::default();
    }
    let mut parts = parts.to_vec();
    let body = parts_of(words, &mut parts, depth);
    let (begin, end) = branch(words, body, words.len(), body);
    let branch = words.get(begin..end).unwrap_or_default();
    Query {
        outputs: items(branch).iter().filter_map(|item| output(item)).collect(),
        relations: relations(branch, &parts, depth),
    }
}

/// What a query of these words reads, in FROM and JOIN.
fn relations(words: &[Lexeme], parts: &[Relation], depth: usize) -> Vec<Relation> {
    const ENDS: &[&str] = &["SELECT", "WHERE", "GROUP", "ORDER", "HAVING", "LIMIT", "ON", "USING", "EMIT"];
    let (mut found, mut in_from) = (Vec::new(), false);
    for (at, it) in top_level(words) {
        if it.is("FROM") || it.is("JOIN") || (it.token == Token::Comma && in_from) {
            in_from = true;
            let shown = at.checked_sub(1).and_then(|before| words.get(before)).is_some_and(|before| before.is("COLUMNS"));
            found.extend(relation(words, at + 1, parts, depth).filter(|_| !shown));
        } else if ENDS.iter().any(|word| it.is(word)) {
            in_from = false;
        }
    }
    found
}

/// Whether a comma behind `head` goes on with a list of FROM.
pub(super) fn in_from(head: &[Lexeme]) -> bool {
    let mut depth = 0usize;
    for it in head.iter().rev() {
        match it.token {
            Token::RParen => depth += 1,
            Token::LParen if depth == 0 => return false,
            Token::LParen => depth -= 1,
            _ if depth > 0 => {}
            _ if it.is("FROM") || it.is("JOIN") => return true,
            _ if ["SELECT", "WHERE", "BY", "ON", "USING", "HAVING"].iter().any(|word| it.is(word)) => return false,
            _ => {}
        }
    }
    false
}

/// The relation that begins at `at`.
fn relation(words: &[Lexeme], at: usize, parts: &[Relation], depth: usize) -> Option<Relation> {
    let it = words.get(at)?;
    let opens = |at: usize| words.get(at).is_some_and(|it| it.token == Token::LParen);
    let (name, origin, end) = match &it.token {
        Token::LParen => {
            let end = closing(words, at);
            let inside = words.get(at + 1..end)?;
            let is_query = inside.first().is_some_and(|first| first.is("SELECT") || first.is("WITH"));
            let query = is_query.then(|| query(inside, parts, depth + 1))?;
            (String::new(), Origin::Query(query), end + 1)
        }
        Token::Word(_) if it.is("topic") && opens(at + 1) => match words.get(at + 2).map(|it| &it.token) {
            Some(Token::SingleQuotedString(topic)) => (topic.clone(), Origin::Topic, at + 4),
            _ => return None,
        },
        Token::Word(word) => {
            let part = parts.iter().rev().find(|part| part.name.eq_ignore_ascii_case(&word.value));
            (word.value.clone(), part.map_or(Origin::Table, |part| part.origin.clone()), at + 1)
        }
        _ => return None,
    };
    let alias_at = end + usize::from(words.get(end).is_some_and(|it| it.is("AS")));
    let is_alias = |it: &&Lexeme| it.word().is_none_or(|word| !words::is_keyword(word));
    let alias = words.get(alias_at).filter(is_alias).map(name_of).filter(|alias| !alias.is_empty());
    let (columns, _) = if alias.is_some() { column_list(words, alias_at + 1) } else { (Vec::new(), 0) };
    let origin = match origin {
        Origin::Query(query) => Origin::Query(query.renamed(columns)),
        other => other,
    };
    Some(Relation { name, alias, origin })
}

/// The items of the SELECT list of a query without parts.
fn items(words: &[Lexeme]) -> Vec<&[Lexeme]> {
    const ENDS: &[&str] = &["FROM", "WHERE", "GROUP", "ORDER", "HAVING", "LIMIT", "EMIT"];
    let Some(select) = top_level(words).find(|(_, it)| it.is("SELECT")).map(|(at, _)| at) else { return Vec::new() };
    let mut begin = select + 1;
    begin += usize::from(words.get(begin).is_some_and(|it| it.is("DISTINCT") || it.is("ALL")));
    let rest = words.get(begin..).unwrap_or_default();
    let end = top_level(rest).find(|(_, it)| ENDS.iter().any(|word| it.is(word))).map_or(rest.len(), |(at, _)| at);
    let list = rest.get(..end).unwrap_or_default();
    let mut items = Vec::new();
    let mut from = 0;
    for to in top_level(list).filter(|(_, it)| it.token == Token::Comma).map(|(at, _)| at).chain([list.len()]) {
        items.push(list.get(from..to).unwrap_or_default());
        from = to + 1;
    }
    items
}

/// The outputs of a query that were given names of their own.
fn aliases(words: &[Lexeme]) -> Vec<String> {
    let named = items(words).into_iter().filter_map(|item| split_alias(item).1);
    named.collect()
}

/// An item without its alias, and the alias.
fn split_alias(item: &[Lexeme]) -> (&[Lexeme], Option<String>) {
    let [expression @ .., last] = item else { return (item, None) };
    let name = Some(name_of(last)).filter(|name| !name.is_empty() && matches!(last.token, Token::Word(_)));
    match expression {
        [inner @ .., before] if before.is("AS") => (inner, name),
        [.., before] => {
            let ends = match &before.token {
                Token::RParen | Token::RBracket | Token::Number(..) | Token::SingleQuotedString(_) => true,
                Token::Word(_) => before.is("END") || before.word().is_none_or(|word| !words::is_keyword(word)),
                _ => false,
            };
            let is_name = last.word().is_none_or(|word| !words::is_keyword(word));
            if ends && is_name && name.is_some() { (expression, name) } else { (item, None) }
        }
        [] => (item, None),
    }
}

fn output(item: &[Lexeme]) -> Option<Output> {
    if item.last().is_some_and(|last| last.token == Token::Mul) {
        return match item {
            [_] => Some(Output::All(None)),
            [.., of, dot, _] if dot.token == Token::Period => Some(Output::All(Some(name_of(of)))),
            _ => None,
        };
    }
    let (expression, alias) = split_alias(item);
    // A cast is called like its column.
    let expression = match expression.iter().position(|it| it.token == Token::DoubleColon) {
        Some(cast) => expression.get(..cast)?,
        None => expression,
    };
    let path: Vec<String> = expression.iter().step_by(2).map(name_of).collect();
    let is_path = expression.iter().enumerate().all(|(at, it)| match &it.token {
        Token::Word(_) => at % 2 == 0,
        Token::Period => at % 2 == 1,
        _ => false,
    });
    if is_path && let Some(last) = path.last() {
        return Some(Output::Column { name: alias.unwrap_or_else(|| last.clone()), path, call: None });
    }
    let calls =
        expression.get(1).is_some_and(|it| it.token == Token::LParen) && closing(expression, 1) + 1 == expression.len();
    let function = expression.first().filter(|_| calls).and_then(Lexeme::word);
    let function = function.filter(|word| !words::is_keyword(word)).map(str::to_owned);
    let name = alias.or_else(|| function.clone())?;
    Some(Output::Column { name, path: Vec::new(), call: function })
}

fn name_of(it: &Lexeme) -> String {
    match &it.token {
        Token::Word(word) => word.value.clone(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests;
