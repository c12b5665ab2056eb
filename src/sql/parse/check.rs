//! What a query may not have: parts that DataFusion's planner would pass over in silence, and statements inside of it.

use std::ops::ControlFlow;

use sqlparser::ast::{Query, Select, SetExpr, TableFactor, Visit, Visitor};

use crate::error::{Error, Result};

/// Checks that every part of `query` means something.
///
/// # Errors
/// `User` for the first part that does not.
pub fn check(query: &Query) -> Result<()> {
    match query.visit(&mut Check) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break((what, hint)) => Err(Error::user(format!("{what} is not available")).hint(hint)),
    }
}

struct Check;

type Flow = ControlFlow<(&'static str, &'static str)>;

fn refuse(found: bool, what: &'static str, hint: &'static str) -> Flow {
    if found { ControlFlow::Break((what, hint)) } else { ControlFlow::Continue(()) }
}

impl Visitor for Check {
    type Break = (&'static str, &'static str);

    fn pre_visit_query(&mut self, query: &Query) -> Flow {
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
