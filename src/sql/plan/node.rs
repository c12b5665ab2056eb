//! `Score`, the logical node that runs models: its input's columns, then one column per call.
//!
//! ```text
//! Score: score('fraud', amount, hour) AS __score_0        id, amount, hour, __score_0
//!   ...                                                   id, amount, hour
//! ```
//!
//! To the optimizer it shows the arguments of its calls as expressions, never the calls: so there is nothing volatile to be
//! careful about and nothing that could be folded, merged or copied. Filters on other columns and limits pass it, columns
//! that nobody needs are pruned below it, and [`PruneScores`] drops calls whose column nobody reads.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, DFSchemaRef, Result, internal_err};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use crate::model::Function;
use crate::model::answer::return_type;

/// What names of columns made by calls begin with; a number follows.
pub const COLUMN_PREFIX: &str = "__score_";

/// One call, whose result is one column.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd)]
pub struct ScoreCall {
    /// Which function.
    pub function: Function,
    /// The model's name (VARCHAR), then the features; over the input's columns, with no call inside.
    pub args: Vec<Expr>,
    /// For each feature the name of the column that it is, for matching by name and for errors.
    pub names: Vec<Option<String>>,
    /// The name of the column that it makes.
    pub column: String,
}

impl fmt::Display for ScoreCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let args: Vec<String> = self.args.iter().map(ToString::to_string).collect();
        write!(f, "{}({}) AS {}", self.function.name(), args.join(", "), self.column)
    }
}

/// Runs models over its input; see the module.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Score {
    input: Arc<LogicalPlan>,
    calls: Vec<ScoreCall>,
    schema: DFSchemaRef,
}

impl Score {
    /// A node that makes one column per call.
    ///
    /// # Errors
    /// If a call's column has the name of a column of the input.
    pub fn try_new(input: Arc<LogicalPlan>, calls: Vec<ScoreCall>) -> Result<Self> {
        let mut fields: Vec<_> = input.schema().iter().map(|(q, f)| (q.cloned(), Arc::clone(f))).collect();
        let made = calls.iter().map(|call| (None, Arc::new(Field::new(&call.column, return_type(call.function), true))));
        fields.extend(made);
        let schema = DFSchema::new_with_metadata(fields, input.schema().metadata().clone())?;
        Ok(Self { input, calls, schema: Arc::new(schema) })
    }
    /// Its calls, in the order of their columns.
    #[must_use]
    pub fn calls(&self) -> &[ScoreCall] {
        &self.calls
    }
    /// What it scores.
    #[must_use]
    pub fn input(&self) -> &Arc<LogicalPlan> {
        &self.input
    }
    /// It as a plan.
    #[must_use]
    pub fn into_plan(self) -> LogicalPlan {
        LogicalPlan::Extension(Extension { node: Arc::new(self) })
    }
    /// The node in `plan`, if it is one.
    #[must_use]
    pub fn of(plan: &LogicalPlan) -> Option<&Self> {
        let LogicalPlan::Extension(extension) = plan else { return None };
        extension.node.as_any().downcast_ref()
    }
}

/// The schema follows from the rest and has no order.
impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match self.input.partial_cmp(&other.input) {
            Some(Ordering::Equal) => self.calls.partial_cmp(&other.calls),
            unequal => unequal,
        }
    }
}

impl UserDefinedLogicalNodeCore for Score {
    fn name(&self) -> &str {
        "Score"
    }
    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }
    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }
    fn expressions(&self) -> Vec<Expr> {
        self.calls.iter().flat_map(|call| call.args.iter().cloned()).collect()
    }
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        self.calls.iter().map(|call| call.column.clone()).collect()
    }
    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls: Vec<String> = self.calls.iter().map(ToString::to_string).collect();
        write!(f, "Score: {}", calls.join(", "))
    }
    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        let wanted: usize = self.calls.iter().map(|call| call.args.len()).sum();
        let (Some(input), true, true) = (inputs.pop(), inputs.is_empty(), exprs.len() == wanted) else {
            return internal_err!("a Score node has one input and {wanted} expressions");
        };
        // Rules keep an expression's name by an alias, which means nothing here.
        let mut exprs = exprs.into_iter().map(Expr::unalias);
        let mut calls = self.calls.clone();
        for call in &mut calls {
            call.args = exprs.by_ref().take(call.args.len()).collect();
        }
        Self::try_new(Arc::new(input), calls)
    }
    /// Columns of the input that are passed on; those that the calls read are added by the caller from `expressions`.
    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let width = self.input.schema().fields().len();
        Some(vec![output_columns.iter().copied().filter(|column| *column < width).collect()])
    }
    /// Rows go through one by one: a limit above may as well stand below.
    fn supports_limit_pushdown(&self) -> bool {
        true
    }
}

/// Drops calls whose column nobody reads, as in `SELECT id FROM (SELECT id, score('fraud', amount) FROM payments)`.
///
/// DataFusion prunes columns of its own nodes; of ours it can only be told which columns of the *input* are needed.
#[derive(Debug, Default)]
pub struct PruneScores;

impl OptimizerRule for PruneScores {
    fn name(&self) -> &str {
        "prune_scores"
    }
    fn supports_rewrite(&self) -> bool {
        true
    }
    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        prune(plan, None)
    }
}

/// `needed` are the columns of `plan` that are read above it; `None` stands for all.
fn prune(plan: LogicalPlan, needed: Option<&HashSet<Column>>) -> Result<Transformed<LogicalPlan>> {
    let mut below: Option<HashSet<Column>> = match &plan {
        // What they pass up they compute: below, only their own expressions count.
        LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) => Some(HashSet::new()),
        // Their schema is their input's, so it may lose a column.
        LogicalPlan::Filter(_) | LogicalPlan::Sort(_) | LogicalPlan::Limit(_) => needed.cloned(),
        _ if Score::of(&plan).is_some() => needed.cloned(),
        _ => None,
    };
    let mut dropped = false;
    let mut plan = plan;
    if let (Some(score), Some(needed)) = (Score::of(&plan), needed) {
        let read = |call: &&ScoreCall| needed.contains(&Column::new_unqualified(&call.column));
        let kept: Vec<ScoreCall> = score.calls.iter().filter(read).cloned().collect();
        if kept.len() < score.calls.len() {
            dropped = true;
            let input = Arc::clone(&score.input);
            if kept.is_empty() {
                let rest = prune(Arc::unwrap_or_clone(input), Some(needed))?;
                return Ok(Transformed::yes(rest.data));
            }
            plan = Score::try_new(input, kept)?.into_plan();
        }
    }
    if let Some(below) = &mut below {
        for expr in plan.expressions() {
            below.extend(expr.column_refs().into_iter().cloned());
        }
    }
    let plan = plan.map_subqueries(|subquery| prune(subquery, None))?;
    let mut changed = dropped || plan.transformed;
    let plan = plan.data.map_children(|child| prune(child, below.as_ref()))?;
    changed |= plan.transformed;
    Ok(Transformed::new_transformed(plan.data, changed))
}
