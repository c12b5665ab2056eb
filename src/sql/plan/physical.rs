//! DataFusion's physical rules, kept from computing for rows that a filter drops, and from computing twice.
//!
//! ```text
//! Projection(10 / (a - 13)) over Filter(a <> 13)          stays so: below the filter, row 13 would be an error
//! Filter(y > 2) over Projection(f(a) AS y) over Filter    stays so: inside the lower filter, f would be called again, and first
//! Filter over a scan                                      the scan gets it, for pruning
//! ```
//!
//! The two rules do not ask whether an expression can fail, costs a call, or is volatile. The logical rules that did the same before
//! them do ask.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::{ProjectionExec, remove_unnecessary_projections, try_embed_projection};

type Rule = Arc<dyn PhysicalOptimizerRule + Send + Sync>;

/// The default rules, with ours in the places of `ProjectionPushdown` and `FilterPushdown`. That of dynamic filters is left out: there
/// are none.
#[must_use]
pub fn rules() -> Vec<Rule> {
    let ours = |rule: Rule| match rule.name() {
        "ProjectionPushdown" => Some(Arc::new(Projections) as Rule),
        "FilterPushdown" => Some(Arc::new(Filters(rule)) as Rule),
        "FilterPushdown(Post)" => None,
        _ => Some(rule),
    };
    PhysicalOptimizer::new().rules.into_iter().filter_map(ours).collect()
}

/// Moves projections towards the scans; one that computes stays above a filter, which then hands up only what it needs.
#[derive(Debug)]
struct Projections;

impl PhysicalOptimizerRule for Projections {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_down(|plan| {
            let Some(projection) = plan.downcast_ref::<ProjectionExec>() else { return Ok(Transformed::no(plan)) };
            let computes = projection.expr().iter().any(|made| !made.expr.is::<Column>());
            match projection.input().downcast_ref::<FilterExec>() {
                Some(filter) if computes => {
                    let narrowed = try_embed_projection(projection, filter)?;
                    Ok(narrowed.map_or_else(|| Transformed::no(plan), Transformed::yes))
                }
                _ => remove_unnecessary_projections(plan),
            }
        })
        .data()
    }
    fn name(&self) -> &'static str {
        "ProjectionPushdown"
    }
    fn schema_check(&self) -> bool {
        true
    }
}

/// Hands a filter to the scan right below it.
#[derive(Debug)]
struct Filters(Rule);

impl PhysicalOptimizerRule for Filters {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|plan| {
            let over_scan = plan.downcast_ref::<FilterExec>().is_some_and(|filter| filter.input().children().is_empty());
            if over_scan { self.0.optimize(plan, config).map(Transformed::yes) } else { Ok(Transformed::no(plan)) }
        })
        .data()
    }
    fn name(&self) -> &'static str {
        "FilterPushdown"
    }
    fn schema_check(&self) -> bool {
        true
    }
}
