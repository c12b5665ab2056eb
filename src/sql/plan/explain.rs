//! A plan as people read it: where rows come from, what is thrown away before the score, what is scored by which version,
//! what is thrown away after, what comes out.
//!
//! ```text
//! read     EpochScanExec: topic "payments", 8 partitions, columns id, amount, hour
//! filter   amount > 10
//! score    score('fraud', amount, hour) by fraud:3
//! filter   score('fraud', amount, hour) > 0.9
//! output   id, score('fraud', amount, hour) AS risk
//! ```
//!
//! The lines stand in the order in which a row meets them; the inputs of a union or a join come before it, one after another.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr_common::physical_expr::fmt_sql;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::{ExecutionPlan, displayable};

use crate::model::Resolution;
use crate::stream::operators::score::ScoreExec;

/// `plan` as pairs of a heading (`read`, `filter`, `score`, `output`, or a node's name) and a text of one line.
#[must_use]
pub fn explain(plan: &Arc<dyn ExecutionPlan>) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    let names = walk(plan, &mut lines, true);
    if lines.last().is_none_or(|(heading, _)| heading != "output") {
        let fields: Vec<String> = plan.schema().fields().iter().map(|f| written(f.name(), &names)).collect();
        lines.push(("output".to_owned(), fields.join(", ")));
    }
    lines
}

/// What made columns stand for, by their names.
type Names = BTreeMap<String, String>;

fn walk(plan: &Arc<dyn ExecutionPlan>, lines: &mut Vec<(String, String)>, top: bool) -> Names {
    let passes = is_plumbing(plan.name());
    let mut names = Names::new();
    for child in plan.children() {
        names.extend(walk(child, lines, top && passes));
    }
    if let Some(score) = plan.downcast_ref::<ScoreExec>() {
        for call in score.calls() {
            let args: Vec<String> = [&call.model].into_iter().chain(&call.features).map(|arg| sql(arg, &names)).collect();
            let text = format!("{}({})", call.function.name(), args.join(", "));
            lines.push(("score".to_owned(), format!("{text} by {}", version(score, &call.model))));
            names.insert(call.column.clone(), text);
        }
    } else if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        lines.push(("filter".to_owned(), sql(filter.predicate(), &names)));
    } else if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        let mut made = Names::new();
        let mut columns = Vec::new();
        let mut computes = top;
        for column in projection.expr() {
            let text = sql(&column.expr, &names);
            let is_column = column.expr.downcast_ref::<Column>().is_some_and(|c| c.name() == column.alias);
            computes |= !is_column;
            if is_column && names.contains_key(&column.alias) {
                made.insert(column.alias.clone(), text.clone());
            }
            columns.push(if text == column.alias || !top && is_column {
                text
            } else {
                format!("{text} AS {}", column.alias)
            });
        }
        // One that only picks columns says nothing: the scan has only those that are needed.
        if computes {
            lines.push((if top { "output" } else { "project" }.to_owned(), columns.join(", ")));
        }
        names = made;
    } else if plan.children().is_empty() {
        lines.push(("read".to_owned(), one_line(plan)));
    } else if !passes {
        lines.push((plan.name().trim_end_matches("Exec").to_lowercase(), after_colon(&one_line(plan))));
    }
    names
}

/// Nodes that move rows and do not change them.
fn is_plumbing(name: &str) -> bool {
    matches!(name, "CoalescePartitionsExec" | "CooperativeExec" | "RepartitionExec")
}

/// The version that a call would be made with now.
fn version(score: &ScoreExec, model: &Arc<dyn PhysicalExpr>) -> String {
    let Some(name) = model.downcast_ref::<Literal>().and_then(|l| l.value().try_as_str().flatten()) else {
        return "the model that each row names".to_owned();
    };
    match score.config().cell.get().models.resolve(name) {
        Resolution::Live(live) => format!("{}:{}", live.name, live.version),
        Resolution::Loading { version, .. } => format!("{name}:{version}, still loading"),
        Resolution::Missing { .. } => format!("no model \"{name}\" yet"),
        Resolution::Unusable { .. } => format!("no usable version of \"{name}\" yet"),
    }
}

/// An expression as SQL, with calls in the place of the columns that they became.
fn sql(expr: &Arc<dyn PhysicalExpr>, names: &Names) -> String {
    let text = literals(expr).unwrap_or_else(|| fmt_sql(expr.as_ref()).to_string());
    written(&text, names)
}

/// A lone literal in SQL's quotes, which `fmt_sql` leaves out.
fn literals(expr: &Arc<dyn PhysicalExpr>) -> Option<String> {
    let literal = expr.downcast_ref::<Literal>()?;
    literal.value().try_as_str().flatten().map(|text| format!("'{}'", text.replace('\'', "''")))
}

/// `text` with the names of made columns replaced by what they stand for, the longest first: `__score_1` begins `__score_10`.
fn written(text: &str, names: &Names) -> String {
    let mut text = text.to_owned();
    let mut by_length: Vec<_> = names.iter().collect();
    by_length.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    for (name, call) in by_length {
        text = text.replace(name.as_str(), call);
    }
    text
}

fn one_line(plan: &Arc<dyn ExecutionPlan>) -> String {
    displayable(plan.as_ref()).one_line().to_string().trim().to_owned()
}

fn after_colon(line: &str) -> String {
    line.split_once(": ").map_or(String::new(), |(_, rest)| rest.to_owned())
}
