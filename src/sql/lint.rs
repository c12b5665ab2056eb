//! What is legal and probably not meant, as far as the statement's text tells it.   statement ─► advice, each with its place
//!
//! A filter that is never true is found by planning (`engine/plan.rs`); here is what folding cannot see or cannot place:
//! comparisons with NULL, an empty BETWEEN, a text as what rows are ordered by, columns of a WITH that nobody reads, an EMIT
//! that became a name.
//! To add one: a function that pushes to the list, and a line in [`lint`].

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Expr, GroupByExpr, Ident, OrderByKind, Query, Select, SelectItem, SetExpr, Spanned, Value, Visit,
    Visitor, visit_expressions,
};
use sqlparser::tokenizer::{Span, Token};

use super::quote::quote_name;
use super::statement::{Parsed, Statement};
use super::text::Source;
use crate::error::Error;

/// What is worth a second look in `statement`, in the order of the text.
#[must_use]
pub fn lint(parsed: &Parsed) -> Vec<Error> {
    let Some(query) = query_of(&parsed.statement) else { return Vec::new() };
    let source = Source::of(&parsed.position);
    let mut found = Vec::new();
    comparisons(query, &mut found);
    let _ = query.visit(&mut ConstantKeys { source: &source, found: &mut found });
    unused(query, &mut found);
    let mut advice: Vec<(usize, Error)> = found
        .into_iter()
        .map(|Advice { text, hint, span }| {
            let place = source.of_span(span);
            let known = span != Span::empty() && parsed.position.span.contains(&place.span.start);
            let place = if known { place } else { parsed.position.clone() };
            (place.span.start, Error::user(text).hint(hint).at(place))
        })
        .collect();
    advice.extend(lone_emit(parsed, &source).map(|error| (usize::MAX, error)));
    advice.sort_by_key(|(at, _)| *at);
    advice.into_iter().map(|(_, error)| error).collect()
}

struct Advice {
    text: String,
    hint: String,
    span: Span,
}

fn query_of(statement: &Statement) -> Option<&Query> {
    match statement {
        Statement::Query { query, .. } | Statement::Insert { query, .. } | Statement::CreateView { query, .. } => {
            Some(query)
        }
        Statement::CreateTable { query, .. } => query.as_deref(),
        Statement::Explain { statement, .. } => query_of(statement),
        _ => None,
    }
}

fn is_null(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if value.value == Value::Null)
}

fn number(expr: &Expr) -> Option<f64> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

/// Conditions that are never true, whatever the rows hold.
fn comparisons(query: &Query, found: &mut Vec<Advice>) {
    let _: ControlFlow<()> = visit_expressions(query, |expr| {
        let span = expr.span();
        match expr {
            Expr::BinaryOp { left, op, right } if is_null(left) || is_null(right) => {
                let is = match op {
                    BinaryOperator::Eq => "IS NULL",
                    BinaryOperator::NotEq => "IS NOT NULL",
                    BinaryOperator::Lt | BinaryOperator::LtEq | BinaryOperator::Gt | BinaryOperator::GtEq => {
                        "IS NULL or IS NOT NULL"
                    }
                    _ => return ControlFlow::Continue(()),
                };
                let text = format!("{expr} is never true: nothing is equal to NULL, nor different from it");
                found.push(Advice { text, hint: format!("Write {is}."), span });
            }
            Expr::InList { list, negated: true, .. } if list.iter().any(is_null) => {
                let text = "NOT IN with a NULL in its list is never true".to_owned();
                found.push(Advice {
                    text,
                    hint: "Leave NULL out of the list; write AND column IS NOT NULL.".to_owned(),
                    span,
                });
            }
            Expr::Between { low, high, negated: false, .. } => {
                if let (Some(from), Some(to)) = (number(low), number(high))
                    && from > to
                {
                    let text = format!("BETWEEN {low} AND {high} is never true: the smaller number comes first");
                    found.push(Advice { text, hint: format!("Write BETWEEN {high} AND {low}."), span });
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    });
}

/// What rows are ordered or grouped by, and is the same in all of them: a text, or a parameter that became one.
struct ConstantKeys<'a> {
    source: &'a Source,
    found: &'a mut Vec<Advice>,
}

impl Visitor for ConstantKeys<'_> {
    type Break = std::convert::Infallible;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        if let Some(OrderByKind::Expressions(keys)) = query.order_by.as_ref().map(|by| &by.kind) {
            keys.iter().for_each(|key| self.look_at("ORDER BY", &key.expr));
        }
        ControlFlow::Continue(())
    }
    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Self::Break> {
        if let GroupByExpr::Expressions(keys, _) = &select.group_by {
            keys.iter().for_each(|key| self.look_at("GROUP BY", key));
        }
        ControlFlow::Continue(())
    }
}

impl ConstantKeys<'_> {
    fn look_at(&mut self, clause: &str, key: &Expr) {
        let Expr::Value(value) = key else { return };
        let Value::SingleQuotedString(text) = &value.value else { return };
        let typed = self.source.text().get(self.source.bytes(value.span)).unwrap_or_default();
        let (text, hint) = match typed.strip_prefix('$') {
            Some(name) => {
                let same = format!("parameter \"{name}\" is the text '{text}', the same for every row");
                let hint = "Write the column's name into the statement: a parameter is a value, never a name.";
                (format!("{clause} {typed} does nothing: {same}"), hint.to_owned())
            }
            None => {
                let hint = format!("Write the column's name without quotes: {clause} {}.", quote_name(text));
                (format!("{clause} '{text}' does nothing: it is a text, the same for every row"), hint)
            }
        };
        self.found.push(Advice { text, hint, span: value.span });
    }
}

/// Queries of a WITH that nobody reads, and columns of theirs.
fn unused(query: &Query, found: &mut Vec<Advice>) {
    let Some(with) = &query.with else { return };
    for (index, cte) in with.cte_tables.iter().enumerate() {
        let name = &cte.alias.name;
        // What may read it: the other queries of the WITH, and the query itself.
        let mut words = Words::default();
        for (other, cte) in with.cte_tables.iter().enumerate() {
            if other != index {
                let _ = cte.query.visit(&mut words);
            }
        }
        let _ = query.body.visit(&mut words);
        for part in [query.order_by.visit(&mut words), query.limit_clause.visit(&mut words)] {
            let ControlFlow::Continue(()) = part;
        }
        if !words.tables.contains(&name.value.to_lowercase()) {
            let text = format!("nothing reads \"{}\" of WITH", name.value);
            found.push(Advice { text, hint: "Leave it out, or name it behind FROM.".to_owned(), span: name.span });
            continue;
        }
        if words.everything {
            continue;
        }
        let columns = columns(cte);
        let (read, unread): (Vec<&Ident>, Vec<&Ident>) =
            columns.into_iter().partition(|column| words.names.contains(&column.value.to_lowercase()));
        // If none is read, the rows are what matters: they are counted, or looked for.
        for column in unread.into_iter().filter(|_| !read.is_empty()) {
            let text = format!("nothing reads column \"{}\" of \"{}\"", column.value, name.value);
            found.push(Advice { text, hint: "Leave it out of the WITH.".to_owned(), span: column.span });
        }
    }
}

/// The names of the columns of a WITH, as far as they are written and could be left out: where rows are made distinct or
/// grouped, a column that nobody reads still decides how many there are.
fn columns(cte: &sqlparser::ast::Cte) -> Vec<&Ident> {
    let SetExpr::Select(select) = cte.query.body.as_ref() else { return Vec::new() };
    let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(keys, _) if keys.is_empty());
    if select.distinct.is_some() || grouped {
        return Vec::new();
    }
    if !cte.alias.columns.is_empty() {
        return cte.alias.columns.iter().map(|column| &column.name).collect();
    }
    select.projection.iter().filter_map(named).collect()
}

/// The name of a column of a SELECT list, if it is written.
fn named(item: &SelectItem) -> Option<&Ident> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(alias),
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(name),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last(),
        _ => None,
    }
}

/// The names that a query reads, in lower case.
#[derive(Default)]
struct Words {
    names: BTreeSet<String>,
    tables: BTreeSet<String>,
    /// It has a `*`, or joins by names, or takes columns by their place: any column may be meant.
    everything: bool,
}

impl Visitor for Words {
    type Break = std::convert::Infallible;

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
        match expr {
            Expr::Identifier(name) => drop(self.names.insert(name.value.to_lowercase())),
            Expr::CompoundIdentifier(parts) => self.names.extend(parts.iter().map(|part| part.value.to_lowercase())),
            _ => {}
        }
        ControlFlow::Continue(())
    }
    fn pre_visit_relation(&mut self, relation: &sqlparser::ast::ObjectName) -> ControlFlow<Self::Break> {
        self.tables.extend(relation.0.iter().filter_map(|part| Some(part.as_ident()?.value.to_lowercase())));
        ControlFlow::Continue(())
    }
    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Self::Break> {
        let star = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
        self.everything |= select.projection.iter().any(star);
        // USING names columns that are no expressions, NATURAL none at all; an alias with a list gives other names.
        let text = select.from.iter().map(ToString::to_string).collect::<String>().to_uppercase();
        self.everything |= text.contains(" USING") || text.contains("NATURAL ") || text.contains(" AS ");
        ControlFlow::Continue(())
    }
}

/// `SELECT ... FROM t EMIT`: an EMIT without CHANGES names the table.
fn lone_emit(parsed: &Parsed, source: &Source) -> Option<Error> {
    if !matches!(parsed.statement, Statement::Query { emit: None, .. }) {
        return None;
    }
    let tokens = source.tokens().ok()?;
    let last = tokens.iter().rfind(|t| parsed.position.span.contains(&source.bytes(t.span).start))?;
    match &last.token {
        Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case("EMIT") => {
            let error = Error::user("EMIT at the end is another name for what stands before it");
            Some(error.hint("Write EMIT CHANGES to follow new rows.").at(source.of_span(last.span)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Text, hint and the text under the caret of each advice.
    fn advice(text: &str) -> Vec<(String, String, String)> {
        let mut params = crate::sql::Params::default();
        params.set("by", "card").unwrap();
        params.set("place", "1").unwrap();
        let parsed = crate::sql::parse_with(text, None, &params).unwrap();
        let told = parsed.iter().flat_map(lint).map(|error| {
            let place = error.position().map(|p| p.text[p.span.clone()].to_owned()).unwrap_or_default();
            (error.message().to_owned(), error.get_hint().unwrap_or_default().to_owned(), place)
        });
        told.collect()
    }

    #[test]
    fn what_is_probably_not_meant_is_told_with_its_place() {
        for (text, message, hint, place) in [
            (
                "SELECT 1; SELECT a FROM t WHERE b = NULL",
                "b = NULL is never true: nothing is equal to NULL, nor different from it",
                "Write IS NULL.",
                "b = NULL",
            ),
            (
                "SELECT a FROM t WHERE NULL <> b EMIT CHANGES",
                "NULL <> b is never true: nothing is equal to NULL, nor different from it",
                "Write IS NOT NULL.",
                "NULL <> b",
            ),
            (
                "INSERT INTO u SELECT a FROM t WHERE a NOT IN (1, NULL)",
                "NOT IN with a NULL in its list is never true",
                "Leave NULL out of the list; write AND column IS NOT NULL.",
                "a NOT IN (1, NULL",
            ),
            (
                "SELECT a FROM t WHERE a BETWEEN 10 AND 5",
                "BETWEEN 10 AND 5 is never true: the smaller number comes first",
                "Write BETWEEN 5 AND 10.",
                "a BETWEEN 10 AND 5",
            ),
            (
                "WITH x AS (SELECT a, b FROM t) SELECT a FROM x",
                "nothing reads column \"b\" of \"x\"",
                "Leave it out of the WITH.",
                "b",
            ),
            (
                "WITH x AS (SELECT a FROM t) SELECT 1",
                "nothing reads \"x\" of WITH",
                "Leave it out, or name it behind FROM.",
                "x",
            ),
            (
                "WITH x AS (SELECT a, b FROM t) SELECT count(a) FROM x",
                "nothing reads column \"b\" of \"x\"",
                "Leave it out of the WITH.",
                "b",
            ),
            (
                "SELECT a FROM t ORDER BY 'a' DESC",
                "ORDER BY 'a' does nothing: it is a text, the same for every row",
                "Write the column's name without quotes: ORDER BY a.",
                "'a'",
            ),
            (
                "SELECT count(*) FROM t GROUP BY $by",
                "GROUP BY $by does nothing: parameter \"by\" is the text 'card', the same for every row",
                "Write the column's name into the statement: a parameter is a value, never a name.",
                "$by",
            ),
            (
                "SELECT a FROM t EMIT",
                "EMIT at the end is another name for what stands before it",
                "Write EMIT CHANGES to follow new rows.",
                "EMIT",
            ),
        ] {
            let told = advice(text);
            assert_eq!(told, [(message.to_owned(), hint.to_owned(), place.to_owned())], "{text}");
        }
    }

    #[test]
    fn what_may_be_meant_is_left_alone() {
        for text in [
            "SELECT a FROM t WHERE b IS NULL AND c IN (1, NULL)",
            "SELECT a IS NOT DISTINCT FROM NULL FROM t",
            "WITH x AS (SELECT a, b FROM t) SELECT * FROM x",
            "WITH x AS (SELECT a, b FROM t), y AS (SELECT b FROM x) SELECT a FROM x JOIN y ON x.b = y.b",
            "WITH x(p, q) AS (SELECT a, b FROM t) SELECT p FROM x ORDER BY q",
            "WITH x AS (SELECT DISTINCT a FROM t) SELECT count(*) FROM x",
            "WITH x AS (SELECT a FROM t GROUP BY a) SELECT count(*) FROM x",
            "WITH x(p) AS (SELECT a FROM t UNION SELECT b FROM t) SELECT count(*) FROM x",
            "WITH x AS (SELECT a, b FROM t) SELECT a FROM x JOIN u USING (b)",
            "WITH x AS (SELECT a FROM t WHERE a > 1) SELECT count(*) FROM x",
            "WITH x AS (SELECT a, b FROM t) SELECT c FROM u WHERE EXISTS (SELECT 1 FROM x)",
            "SELECT a FROM t ORDER BY 1, a, upper('b'), $place",
            "WITH x AS (SELECT a FROM t) SELECT a FROM (SELECT a FROM x) y WHERE a IN (SELECT a FROM X)",
            "SELECT a FROM t WHERE a BETWEEN 5 AND 10 AND b NOT BETWEEN 9 AND 1",
            "SELECT a FROM t EMIT CHANGES",
            "SELECT a AS \"EMIT\" FROM t",
            "SHOW TABLES",
        ] {
            assert_eq!(advice(text), [], "{text}");
        }
    }
}
