//! What a query may not have: parts that DataFusion's planner would pass over in silence, and statements inside of it.

use std::borrow::Cow;
use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Query, Select, SetExpr, TableFactor, Visit, Visitor};

use crate::error::{Error, Result};

/// How many operators an expression may chain: each makes its tree one deeper, and everything that walks a tree takes stack
/// for its depth.
const CHAIN: usize = 256;

/// How many SELECTs may be united.
const UNITED: usize = 128;

/// Checks that every part of `query` means something, and that it is not too deep to be walked.
///
/// # Errors
/// `User` for the first part that does not.
pub fn check(query: Box<Query>) -> Result<Box<Query>> {
    let mut check = Check { depth: 0, too_deep: false };
    match query.visit(&mut check) {
        ControlFlow::Continue(()) => Ok(query),
        ControlFlow::Break((what, hint)) if check.too_deep => {
            // To drop it takes as much stack as to walk it.
            std::mem::forget(query);
            Err(Error::user(what).hint(hint))
        }
        ControlFlow::Break((what, hint)) => Err(Error::user(format!("{what} is not available")).hint(hint)),
    }
}

struct Check {
    /// How many expressions are around the present one.
    depth: usize,
    too_deep: bool,
}

/// What is not available, and what to do instead.
type Refused = (&'static str, Cow<'static, str>);
type Flow = ControlFlow<Refused>;

fn refuse(found: bool, what: &'static str, hint: &'static str) -> Flow {
    if found { ControlFlow::Break((what, Cow::Borrowed(hint))) } else { ControlFlow::Continue(()) }
}

impl Visitor for Check {
    type Break = Refused;

    fn pre_visit_expr(&mut self, _: &Expr) -> Flow {
        self.depth += 1;
        self.too_deep |= self.depth > CHAIN;
        refuse(
            self.too_deep,
            "an expression chains too many operators",
            "Write x IN (...) for many ORs, or split it in a view.",
        )
    }
    fn post_visit_expr(&mut self, _: &Expr) -> Flow {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
    fn pre_visit_query(&mut self, query: &Query) -> Flow {
        let (mut united, mut body) = (0, query.body.as_ref());
        while let SetExpr::SetOperation { left, .. } = body {
            united += 1;
            body = left;
        }
        self.too_deep |= united > UNITED;
        refuse(self.too_deep, "too many queries are united", "Unite some of them in a view.")?;
        if let Some(fetch) = &query.fetch {
            let rows = fetch.quantity.as_ref().map_or("1".to_owned(), ToString::to_string);
            return ControlFlow::Break(("FETCH", Cow::Owned(format!("Write LIMIT {rows}."))));
        }
        refuse(!query.locks.is_empty(), "FOR UPDATE", "Leave it out: reading locks nothing.")?;
        refuse(query.for_clause.is_some(), "FOR XML or FOR JSON", "Use --format json.")?;
        refuse(!query.pipe_operators.is_empty(), "|>", "Write the query in clauses.")?;
        refuse(
            matches!(query.body.as_ref(), SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_)),
            "writing inside a query",
            "Write INSERT INTO ... SELECT, with WITH behind INSERT INTO.",
        )
    }
    fn pre_visit_select(&mut self, select: &Select) -> Flow {
        refuse(select.into.is_some(), "SELECT INTO", "Write CREATE TABLE ... AS SELECT.")?;
        refuse(select.top.is_some(), "TOP", "Write LIMIT.")?;
        refuse(!select.lateral_views.is_empty(), "LATERAL VIEW", "Write UNNEST.")?;
        refuse(select.prewhere.is_some(), "PREWHERE", "Write WHERE.")?;
        refuse(!select.connect_by.is_empty(), "CONNECT BY", "Write WITH RECURSIVE.")
    }
    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> Flow {
        match factor {
            TableFactor::Table { with_hints, version, partitions, sample, index_hints, json_path, .. } => {
                refuse(sample.is_some(), "TABLESAMPLE", "Write WHERE random() < 0.1, for example.")?;
                refuse(
                    version.is_some(),
                    "a table as of some time",
                    "Use scan.startup in EMIT CHANGES or a job, or WHERE.",
                )?;
                let extra =
                    !with_hints.is_empty() || !partitions.is_empty() || !index_hints.is_empty() || json_path.is_some();
                refuse(extra, "a hint behind a table", "Leave it out.")
            }
            TableFactor::Derived { sample, .. } => {
                refuse(sample.is_some(), "TABLESAMPLE", "Write WHERE random() < 0.1, for example.")
            }
            _ => ControlFlow::Continue(()),
        }
    }
}
