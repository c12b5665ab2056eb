//! Keeps conditions whose value changes from call to call where they were written: `random() < 0.5`, a function of the user's own.
//!
//! ```text
//! Filter: f(a) AND a > 1              Sift: f(a)                                             Filter: f(a)
//!   Inner Join: t.a = u.a   ─►  Filter: a > 1          ─► [DataFusion's rules] ─►    Inner Join: t.a = u.a
//!                                 Inner Join: t.a = u.a                                    Filter: a > 1 ...
//! ```
//!
//! DataFusion's `push_down_filter` asks whether a condition is volatile before it goes into a table only. It copies one on a key of a join
//! to the other side, and puts it below GROUP BY, DISTINCT, windows and UNNEST: it is computed for other rows then, or twice. A node of
//! our own is no filter to its rules; conditions that are not volatile still go below it.
//! So a function of the user's own is not called with a row that another condition of the same WHERE drops, wherever that is written.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchemaRef, JoinType, Result, internal_err};
use datafusion::logical_expr::utils::{conjunction, split_conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Extension, Filter, Join, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion::optimizer::AnalyzerRule;

use super::node::Score;
use super::waits::filter;

/// A filter that stays where it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd)]
struct Sift {
    input: Arc<LogicalPlan>,
    predicate: Expr,
}

impl UserDefinedLogicalNodeCore for Sift {
    fn name(&self) -> &str {
        "Sift"
    }
    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }
    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }
    fn expressions(&self) -> Vec<Expr> {
        vec![self.predicate.clone()]
    }
    /// A condition above that does not change from call to call may as well drop the row below.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        HashSet::new()
    }
    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sift: {}", self.predicate)
    }
    fn with_exprs_and_inputs(&self, mut exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        let (Some(input), true, Some(predicate), true) = (inputs.pop(), inputs.is_empty(), exprs.pop(), exprs.is_empty())
        else {
            return internal_err!("a Sift node has one input and one expression");
        };
        Ok(Self { input: Arc::new(input), predicate: predicate.unalias() })
    }
    /// The columns that the condition reads are added by the caller.
    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![output_columns.to_vec()])
    }
}

/// Makes [`Sift`] nodes, before the optimizer.
#[derive(Debug, Default)]
pub struct SiftVolatile;

impl AnalyzerRule for SiftVolatile {
    fn name(&self) -> &str {
        "sift_volatile"
    }
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let sifted = plan.transform_up(|node| {
            Ok(match node {
                LogicalPlan::Filter(Filter { predicate, input, .. })
                    if any_stays(&predicate) && (others_first(&predicate) || moves(&input)) =>
                {
                    let (staying, rest) = parted(predicate);
                    let input = filter(Arc::unwrap_or_clone(input), rest)?;
                    Transformed::yes(sift(input, staying))
                }
                // In an outer join a condition does not drop rows of one side; it stays in ON.
                LogicalPlan::Join(join)
                    if join.join_type == JoinType::Inner && join.filter.as_ref().is_some_and(any_stays) =>
                {
                    let (staying, rest) = join.filter.clone().map(parted).unwrap_or_default();
                    let join = Join { filter: conjunction(rest), ..join };
                    Transformed::yes(sift(LogicalPlan::Join(join), staying))
                }
                node => Transformed::no(node),
            })
        });
        Ok(sifted?.data)
    }
}

/// `plan` with filters where [`Sift`] nodes are, after the optimizer; `None` if it has none.
///
/// # Errors
/// None of its own.
pub fn as_filters(plan: &LogicalPlan) -> Result<Option<LogicalPlan>> {
    if !plan.exists(|node| Ok(of(node).is_some()))? {
        return Ok(None);
    }
    let filters = plan.clone().transform_up(|node| {
        Ok(match of(&node) {
            Some(Sift { input, predicate }) => {
                Transformed::yes(LogicalPlan::Filter(Filter::new(predicate.clone(), Arc::clone(input))))
            }
            None => Transformed::no(node),
        })
    });
    Ok(Some(filters?.data))
}

fn of(plan: &LogicalPlan) -> Option<&Sift> {
    let LogicalPlan::Extension(extension) = plan else { return None };
    extension.node.as_any().downcast_ref()
}

fn sift(input: LogicalPlan, staying: Vec<Expr>) -> LogicalPlan {
    match conjunction(staying) {
        Some(predicate) => LogicalPlan::Extension(Extension { node: Arc::new(Sift { input: Arc::new(input), predicate }) }),
        None => input,
    }
}

/// What must stay, and what may move. A subquery is for DataFusion's rules, which know filters only.
fn parted(predicate: Expr) -> (Vec<Expr>, Vec<Expr>) {
    split_conjunction_owned(predicate).into_iter().partition(stays)
}

fn any_stays(predicate: &Expr) -> bool {
    split_conjunction(predicate).into_iter().any(stays)
}

/// Whether there are other conditions beside those that stay: what they drop is not computed.
fn others_first(predicate: &Expr) -> bool {
    !split_conjunction(predicate).into_iter().all(stays)
}

fn stays(expr: &Expr) -> bool {
    expr.is_volatile() && !asks(expr)
}

/// Whether it holds a subquery, of which DataFusion makes a join, or is part of one.
fn asks(expr: &Expr) -> bool {
    let subquery = |e: &Expr| {
        matches!(e, Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::SetComparison(_))
            || matches!(e, Expr::OuterReferenceColumn(..))
    };
    expr.exists(|e| Ok(subquery(e))).unwrap_or(true)
}

/// Whether there is something below a filter that it must not pass.
fn moves(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::TableScan(_) | LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_) => false,
        LogicalPlan::Filter(filter) => asks(&filter.predicate) || moves(&filter.input),
        LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Sort(_) => {
            plan.inputs().into_iter().any(moves)
        }
        node if Score::of(node).is_some() => node.inputs().into_iter().any(moves),
        _ => true,
    }
}
