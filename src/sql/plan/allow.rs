//! What a query that goes on may consist of: a list of plan nodes, and nothing else.
//!
//! A job and EMIT CHANGES run their plan once per epoch over the rows that are new. Row by row that is what the query says;
//! but a GROUP BY, DISTINCT, LIMIT or OVER would silently be one per epoch. So nodes are allowed by name, and a node that
//! nobody has thought of is refused. [`check_logical`] runs on the plan as written and speaks of SQL; [`check_physical`] runs
//! on what is executed and is the guard behind it. To allow an operator with state of its own: add it to both.

use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{JoinType, NullEquality};
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan};
use datafusion::physical_plan::ExecutionPlan;

use crate::error::{Error, Result};
use crate::sql::plan::node::Score;

/// Names of physical nodes that give the same rows, whether they are executed once or epoch by epoch. All of them work on the
/// task that polls them: one that spawned others (CoalescePartitionsExec) could leave them behind, reading, after an error.
const ALLOWED: &[&str] = &[
    "EpochScanExec",   // the epoch's new rows
    "ProjectionExec",  // row by row
    "FilterExec",      // row by row
    "ScoreExec",       // row by row
    "UnnestExec",      // rows from a row
    "UnionExec",       // both inputs' new rows
    "async_func",      // row by row; an async function of the user's own
    "CooperativeExec", // yields only
    "EmptyExec",       // never a row
];

const RUN_AS_SELECT: &str =
    "Run it as a plain SELECT, which ends: without INSERT INTO, CREATE TABLE ... AS and EMIT CHANGES.";

/// Checks the plan of a job or EMIT CHANGES as it was written, before or after the optimizer.
///
/// # Errors
/// `User`, for the first node that is not allowed, with what to do instead.
pub fn check_logical(plan: &LogicalPlan) -> Result<()> {
    let mut refusal = None;
    plan.apply(|node| {
        refusal = refuse(node).or_else(|| node.expressions().iter().find_map(refuse_expression));
        Ok(if refusal.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    refusal.map_or(Ok(()), Err)
}

fn not_yet(what: &str, hint: &str) -> Option<Error> {
    Some(Error::user(format!("{what} is not available in a running query yet")).hint(hint))
}

fn refuse(node: &LogicalPlan) -> Option<Error> {
    match node {
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::TableScan(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Union(_)
        | LogicalPlan::Unnest(_) => None,
        LogicalPlan::Extension(_) if Score::of(node).is_some() => None,
        LogicalPlan::EmptyRelation(empty) if !empty.produce_one_row => None,
        LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_) => {
            let text = "a running query cannot read constant rows, which would come again in every epoch";
            Some(Error::user(text).hint("Read from a topic; single rows are written by INSERT INTO ... VALUES."))
        }
        LogicalPlan::Aggregate(node) if node.aggr_expr.is_empty() => not_yet("GROUP BY", RUN_AS_SELECT),
        LogicalPlan::Aggregate(node) if node.group_expr.is_empty() => not_yet("an aggregate function", RUN_AS_SELECT),
        LogicalPlan::Aggregate(_) => not_yet("GROUP BY", RUN_AS_SELECT),
        LogicalPlan::Window(_) => not_yet("OVER", RUN_AS_SELECT),
        LogicalPlan::Distinct(Distinct::All(input)) if matches!(input.as_ref(), LogicalPlan::Union(_)) => {
            not_yet("UNION without ALL", "Write UNION ALL, which keeps equal rows.")
        }
        LogicalPlan::Distinct(_) => not_yet("DISTINCT", RUN_AS_SELECT),
        LogicalPlan::Sort(_) => {
            not_yet("ORDER BY", "Leave it out: rows keep their order within a partition. Or run a plain SELECT, which ends.")
        }
        LogicalPlan::Limit(_) => not_yet(
            "LIMIT in a job or a subquery",
            "Leave it out, or follow the query instead: SELECT ... EMIT CHANGES LIMIT n ends after n rows.",
        ),
        // INTERSECT and EXCEPT are planned as joins in which NULLs are equal.
        LogicalPlan::Join(join)
            if matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti)
                && join.null_equality == NullEquality::NullEqualsNull =>
        {
            not_yet("INTERSECT or EXCEPT", RUN_AS_SELECT)
        }
        LogicalPlan::Join(_) => not_yet("a join", RUN_AS_SELECT),
        LogicalPlan::RecursiveQuery(_) => not_yet("WITH RECURSIVE", RUN_AS_SELECT),
        LogicalPlan::Subquery(_) => not_yet("a lateral subquery", RUN_AS_SELECT),
        other => {
            let name = other.display().to_string();
            let name = name.split(':').next().unwrap_or_default();
            not_yet(&format!("{} in a query's plan", name.trim()), RUN_AS_SELECT)
        }
    }
}

fn refuse_expression(expr: &Expr) -> Option<Error> {
    let mut refusal = None;
    let walked = expr.apply(|expr| {
        refusal = match expr {
            Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_) => {
                not_yet("a subquery in an expression", RUN_AS_SELECT)
            }
            Expr::OuterReferenceColumn(..) => not_yet("a correlated subquery", RUN_AS_SELECT),
            Expr::AggregateFunction(_) => not_yet("an aggregate function", RUN_AS_SELECT),
            Expr::WindowFunction(_) => not_yet("OVER", RUN_AS_SELECT),
            Expr::Placeholder(placeholder) => {
                let text = format!("parameter \"{}\" has no value", placeholder.id);
                Some(Error::user(text).hint("Write the value in its place."))
            }
            _ => None,
        };
        Ok(if refusal.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    match walked {
        Ok(_) => refusal,
        Err(error) => Some(error.into()),
    }
}

/// Checks the plan that a job or EMIT CHANGES executes.
///
/// # Errors
/// `User`, for the first node that is not allowed.
pub fn check_physical(plan: &Arc<dyn ExecutionPlan>) -> Result<()> {
    if !ALLOWED.contains(&plan.name()) {
        let text = format!("plan node \"{}\" cannot run epoch by epoch", plan.name());
        return Err(Error::user(text).hint(RUN_AS_SELECT));
    }
    plan.children().into_iter().try_for_each(check_physical)
}
