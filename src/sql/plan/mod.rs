//! From a logical plan to one that scores, follows and explains itself.
//!
//! ```text
//! SQL ─► DataFusion's planner ─► [models_in: names to load] ─► analyzer: types, then calls lifted into Score nodes (lift, check)
//!     ─► conditions that change from call to call are kept from moving (sift)
//!     ─► optimizer: filters below the score, unused columns and calls pruned (node) ─► Score becomes ScoreExec
//!     ─► calls of async functions brought to where they can wait (waits)
//!     ─► physical rules, none of which computes for a row that is filtered out (physical)
//! jobs and EMIT CHANGES: allow-list before and after (allow)          EXPLAIN: the physical plan as people read it (explain)
//! ```

pub mod allow;
pub mod check;
pub mod explain;
pub mod lift;
pub mod node;
pub mod physical;
pub mod sift;
pub mod waits;

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::Result as DataFusionResult;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNode};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};
use datafusion::prelude::SessionConfig;

use crate::error::Result;
use crate::sql::functions::FUNCTIONS;
use crate::sql::functions::score::as_call;
use crate::sql::plan::lift::LiftScores;
use crate::sql::plan::node::{PruneScores, Score};
use crate::sql::types::Types;
use crate::stream::operators::score::{PhysicalCall, ScoreConfig, ScoreExec};

/// Rows per batch, where an operator decides it.
pub const BATCH_ROWS: usize = 8_192;

/// How queries of a session are planned: ours on top of DataFusion's defaults.
///
/// `scoring` holds the cell whose epoch the functions and the score operator read, so a state is made per statement.
/// `streaming` is true for jobs and EMIT CHANGES, whose plan is executed again for each epoch, and in one partition;
/// a plain SELECT uses `partitions` of them.
#[must_use]
pub fn session_state(scoring: &Arc<ScoreConfig>, streaming: bool, partitions: usize) -> SessionState {
    let functions = FUNCTIONS.iter().filter(|function| streaming || !function.only_streaming);
    let functions = functions.map(|function| Arc::new((function.build)(&scoring.cell)));
    let mut builder = SessionStateBuilder::new_with_default_features()
        .with_config(session_config(streaming, partitions))
        .with_analyzer_rule(Arc::new(LiftScores { config: Arc::clone(scoring) }))
        .with_analyzer_rule(Arc::new(sift::SiftVolatile))
        .with_optimizer_rule(Arc::new(PruneScores))
        .with_physical_optimizer_rules(physical::rules())
        .with_query_planner(Arc::new(Planner { scoring: Arc::clone(scoring) }))
        // CAST means the same types as DDL.
        .with_type_planner(Arc::new(Types));
    // After the defaults, whose functions of the same names they replace.
    builder.scalar_functions().get_or_insert_with(Vec::new).extend(functions);
    builder.build()
}

/// The options behind [`session_state`].
#[must_use]
pub fn session_config(streaming: bool, partitions: usize) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_target_partitions(if streaming { 1 } else { partitions.max(1) })
        .with_batch_size(BATCH_ROWS)
        .with_information_schema(false)
        // It would mix the rows of Kafka's partitions.
        .with_round_robin_repartition(false);
    let options = config.options_mut();
    // Names are resolved before, by `sql::names`, to the spelling of the DDL.
    options.sql_parser.enable_ident_normalization = false;
    options.sql_parser.collect_spans = true;
    options.sql_parser.map_string_types_to_utf8view = false;
    options.optimizer.allow_symmetric_joins_without_pruning = false;
    // A dynamic filter outlives the epoch that made it, and loses rows of the next.
    options.optimizer.enable_dynamic_filter_pushdown = false;
    options.optimizer.enable_join_dynamic_filter_pushdown = false;
    options.optimizer.enable_aggregate_dynamic_filter_pushdown = false;
    options.optimizer.enable_topk_dynamic_filter_pushdown = false;
    if streaming {
        // Statistics of one epoch say nothing about the next.
        options.execution.collect_statistics = false;
        options.optimizer.repartition_joins = false;
        options.optimizer.repartition_aggregations = false;
        options.optimizer.repartition_sorts = false;
        options.optimizer.repartition_windows = false;
        options.optimizer.repartition_file_scans = false;
    }
    config
}

/// The models that a plan calls.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelsCalled {
    /// Names written as literals, as they stand there: `fraud`, `fraud:7`.
    pub literal: BTreeSet<String>,
    /// Whether a name comes from a column, so that any model may be called.
    pub from_column: bool,
}

/// Finds the models that `plan` calls, in subqueries too; before or after the analyzer. What they name must be ready
/// in the epoch's view before the plan is analyzed, or the calls are not checked against them.
///
/// # Errors
/// Only what walking a plan can give.
pub fn models_in(plan: &LogicalPlan) -> Result<ModelsCalled> {
    let mut called = ModelsCalled::default();
    let mut note = |model: &Expr| match check::literal(model) {
        Some(name) => {
            called.literal.insert(name.to_owned());
        }
        None => called.from_column = true,
    };
    plan.apply_with_subqueries(|node| {
        if let Some(score) = Score::of(node) {
            score.calls().iter().filter_map(|call| call.args.first()).for_each(&mut note);
        }
        for expr in node.expressions() {
            use datafusion::common::tree_node::TreeNode;
            expr.apply(|expr| {
                if let Some((_, [model, ..])) = as_call(expr) {
                    note(model);
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(called)
}

/// DataFusion's planner, and [`Score`] becomes [`ScoreExec`].
#[derive(Debug)]
struct Planner {
    scoring: Arc<ScoreConfig>,
}

#[async_trait]
impl QueryPlanner for Planner {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let extension = Arc::new(ScorePlanner { scoring: Arc::clone(&self.scoring) });
        let filtered = sift::as_filters(plan)?;
        let plan = filtered.as_ref().unwrap_or(plan);
        let placed = waits::place_async_calls(plan)?;
        let plan = placed.as_ref().unwrap_or(plan);
        DefaultPhysicalPlanner::with_extension_planners(vec![extension]).create_physical_plan(plan, session).await
    }
}

struct ScorePlanner {
    scoring: Arc<ScoreConfig>,
}

#[async_trait]
impl ExtensionPlanner for ScorePlanner {
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        context: &PhysicalPlanningContext,
    ) -> DataFusionResult<Option<Arc<dyn ExecutionPlan>>> {
        let Some(score) = node.as_any().downcast_ref::<Score>() else { return Ok(None) };
        let (Some(logical), Some(input)) = (logical_inputs.first(), physical_inputs.first()) else { return Ok(None) };
        let mut calls = Vec::with_capacity(score.calls().len());
        for call in score.calls() {
            let mut args = call.args.iter().map(|arg| planner.create_physical_expr(arg, logical.schema(), session, context));
            let Some(model) = args.next().transpose()? else { continue };
            calls.push(PhysicalCall {
                function: call.function,
                model,
                features: args.collect::<DataFusionResult<_>>()?,
                names: call.names.clone(),
                column: call.column.clone(),
            });
        }
        Ok(Some(Arc::new(ScoreExec::try_new(Arc::clone(input), calls, Arc::clone(&self.scoring))?)))
    }
}

#[cfg(test)]
mod tests;
