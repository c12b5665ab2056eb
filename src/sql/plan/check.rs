//! Checks a call against the model that it names, while the query is planned.
//!
//! A wrong number of features, a missing field or a string where a number belongs is then an error of the query, with the
//! model's inputs beside it, and not of its first row. Only a model that is named by a literal and that the present epoch's
//! view has can be checked; whoever plans makes the models of [`super::models_in`] ready before.

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};

use crate::error::Error;
use crate::model::answer;
use crate::model::features::bind;
use crate::model::{Check, Resolution};
use crate::sql::functions::score::check_arguments;
use crate::sql::plan::node::{Score, ScoreCall};
use crate::stream::operators::score::{Missing, ScoreConfig, features as features_of};

/// The model's name, if it is written as a literal.
#[must_use]
pub fn literal(model: &Expr) -> Option<&str> {
    match model {
        Expr::Literal(ScalarValue::Utf8(name) | ScalarValue::LargeUtf8(name) | ScalarValue::Utf8View(name), _) => {
            name.as_deref()
        }
        Expr::Cast(cast) => literal(&cast.expr),
        Expr::Alias(alias) => literal(&alias.expr),
        _ => None,
    }
}

/// Checks `call` over the columns of `input`.
///
/// # Errors
/// `User` if the features do not fit the model; if there is no such model, and its absence is an error of the query.
pub fn call(call: &ScoreCall, input: &DFSchema, config: &ScoreConfig) -> Result<()> {
    let types = call.args.iter().map(|arg| arg.get_type(input)).collect::<Result<Vec<_>>>()?;
    check_arguments(call.function, &types.iter().collect::<Vec<_>>())?;
    let (Some(name), Some(types)) = (call.args.first().and_then(literal), types.get(1..)) else { return Ok(()) };
    match config.cell.get().models.resolve(name) {
        Resolution::Live(live) => {
            let model = format!("{}:{}", live.name, live.version);
            let signature = &live.loaded.signature;
            answer::check(&model, call.function, signature).map_err(Error::from)?;
            bind(&model, &features_of(&call.names, types), signature).map_err(Error::from)?;
            Ok(())
        }
        // It may yet be loaded when the query runs.
        Resolution::Loading { .. } => Ok(()),
        absent => match (config.missing, absent.model()) {
            (Missing::Error, Err(error)) => Err(Error::from(error).into()),
            _ => Ok(()),
        },
    }
}

/// For each model that `plan` names by a literal: whether all calls of it fit a signature. A running query registers these
/// with the registry, so that a version it cannot use never goes live under it.
///
/// # Errors
/// Only what walking a plan can give.
pub fn checks_in(plan: &LogicalPlan) -> Result<Vec<(String, Check)>> {
    let mut checks: Vec<(String, Check)> = Vec::new();
    plan.apply_with_subqueries(|node| {
        let Some(score) = Score::of(node) else { return Ok(TreeNodeRecursion::Continue) };
        for call in score.calls() {
            let Some((model, features)) = call.args.split_first() else { continue };
            let Some(name) = literal(model) else { continue };
            let schema = score.input().schema();
            let types = features.iter().map(|feature| feature.get_type(schema)).collect::<Result<Vec<_>>>()?;
            let (features, function, model) = (features_of(&call.names, &types), call.function, name.to_owned());
            let check: Check = Box::new(move |signature| {
                let fits =
                    answer::check(&model, function, signature).and_then(|()| bind(&model, &features, signature).map(|_| ()));
                fits.map_err(|error| error.to_string())
            });
            checks.push((name.to_owned(), check));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(checks)
}
