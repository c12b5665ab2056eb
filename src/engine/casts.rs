//! Texts that are compared with numbers.   plan ─► comparisons; error of a cast ─► the comparison written so that it holds
//!
//! `temperature > 50` over a VARCHAR casts the column to the number's type, BIGINT, and ends at the first text that is none, be
//! it `n/a` or `52.1`. The cast does not say which column it was; the plan does.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Between, BinaryExpr, Expr, LogicalPlan, Operator};

use crate::error::{Error, sql_types};
use crate::sql::quote::quote_name;
use crate::sql::types::sql_type;

/// The operators that compare.
const COMPARISONS: &[Operator] =
    &[Operator::Eq, Operator::NotEq, Operator::Lt, Operator::LtEq, Operator::Gt, Operator::GtEq];

/// A column of texts in a comparison that makes a number of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Compared {
    /// The type that is made of the texts, in SQL.
    wanted: String,
    /// The comparison with TRY_CAST.
    instead: String,
}

/// The comparisons of `plan`, as planned and not yet optimized, in which a column of texts is cast to a number.
pub(super) fn compared(plan: &LogicalPlan) -> Vec<Compared> {
    let mut found = Vec::new();
    // Nothing here breaks off.
    let _ = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                found.extend(comparison(expr));
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    found
}

fn comparison(expr: &Expr) -> Option<Compared> {
    let text = |expr: &Expr| match expr {
        Expr::Column(column) => quote_name(&column.name),
        other => sql_types(&other.to_string()),
    };
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if COMPARISONS.contains(op) => {
            let (wanted, instead) = match (text_cast(left), text_cast(right)) {
                (Some((cast, wanted)), None) => (wanted, format!("{cast} {op} {}", text(right))),
                (None, Some((cast, wanted))) => (wanted, format!("{} {op} {cast}", text(left))),
                _ => return None,
            };
            Some(Compared { wanted, instead })
        }
        Expr::Between(Between { expr, negated, low, high }) => {
            let (cast, wanted) = text_cast(expr)?;
            let not = if *negated { "NOT " } else { "" };
            Some(Compared { wanted, instead: format!("{cast} {not}BETWEEN {} AND {}", text(low), text(high)) })
        }
        _ => None,
    }
}

/// For a column that is cast to a number: `TRY_CAST(column AS DOUBLE)`, and the number's type. Whole numbers become DOUBLE:
/// the literal decided for BIGINT, not the texts, which may have a point.
fn text_cast(expr: &Expr) -> Option<(String, String)> {
    let Expr::Cast(cast) = expr else { return None };
    let (Expr::Column(column), wanted) = (cast.expr.as_ref(), cast.field.data_type()) else { return None };
    let to = if wanted.is_integer() { DataType::Float64 } else { wanted.clone() };
    let name = quote_name(&column.name);
    wanted.is_numeric().then(|| (format!("TRY_CAST({name} AS {})", sql_type(&to)), sql_type(wanted)))
}

/// `error` of a running query; if it is that of a text that is no number, with what to write in the place of the comparison.
pub(super) fn explained(error: Error, compared: &[Compared]) -> Error {
    let Some((_, wanted)) = error.message().split_once("' is not a") else { return error };
    let wanted = wanted.trim_start_matches('n').trim_start();
    let mut fitting = compared.iter().filter(|it| it.wanted == wanted);
    match fitting.next() {
        Some(first) if fitting.all(|other| other == first) => {
            let hint = format!("Write {}: a text that is no number is NULL then.", first.instead);
            error.hint(hint)
        }
        // Several: whose text it was nobody knows.
        Some(first) => {
            let hint = format!("Write TRY_CAST for NULL in its place, as in {}.", first.instead);
            error.hint(hint)
        }
        None => error,
    }
}
