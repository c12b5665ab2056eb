//! Which table a column is of, under the name that the query gives it.   logical plan ─► [`Scan`]s, for the leaves to take
//!
//! The physical plan has forgotten `FROM payments a JOIN payments b`: a leaf knows its table and its columns. The logical plan
//! remembers, and its scans are found again by just these. Of scans that read the same, the first is taken first.

use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan};

use crate::sql::names::topic_table;
use crate::stream::table::TopicTable;

/// A table that a query reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    /// The table's name in the plan.
    pub table: String,
    /// What the query calls it, or the query in FROM that reads it alone.
    pub called: Arc<str>,
    /// The columns that are read.
    pub columns: Vec<String>,
}

/// The tables that `plan` reads, in its order.
#[must_use]
pub fn scans_in(plan: &LogicalPlan) -> Vec<Scan> {
    let mut scans = Vec::new();
    collect(plan, None, &mut scans);
    scans
}

fn collect(plan: &LogicalPlan, called: Option<&str>, scans: &mut Vec<Scan>) {
    // A subquery that is a value has names of its own.
    let _ = plan.apply_expressions(|expr| {
        expr.apply(|expr| {
            if let Expr::ScalarSubquery(subquery) = expr {
                collect(&subquery.subquery, None, scans);
            }
            Ok(TreeNodeRecursion::Continue)
        })
    });
    if let LogicalPlan::TableScan(scan) = plan {
        let table = scan.table_name.table();
        let columns = scan.projected_schema.fields().iter().map(|field| field.name().clone()).collect();
        scans.push(Scan { table: table.to_owned(), called: called.unwrap_or(table).into(), columns });
        return;
    }
    let inputs = plan.inputs();
    let outer = match plan {
        // The outermost name is what the columns are known by above; the planner's own names nobody knows.
        LogicalPlan::SubqueryAlias(alias) => called.or(Some(alias.alias.table()).filter(|name| !name.starts_with("__"))),
        _ if inputs.len() > 1 => None,
        _ => called,
    };
    for input in inputs {
        collect(input, outer, scans);
    }
}

/// The name of the table that a leaf with these `columns` reads, if the query has one; it is taken from `scans`.
pub fn take(scans: &mut Vec<Scan>, leaf: Option<&TopicTable>, columns: &[String]) -> Option<Arc<str>> {
    let is = |scan: &Scan| {
        let same = leaf.is_none_or(|leaf| scan.table == *leaf.name || scan.table == topic_table(&leaf.topic));
        same && !columns.is_empty()
            && scan.columns.len() == columns.len()
            && columns.iter().all(|column| scan.columns.contains(column))
    };
    let at = scans.iter().position(is)?;
    Some(scans.remove(at).called)
}
