//! Brings calls of async functions to where they can wait: DataFusion calls them in SELECT lists and conditions only, and not inside one
//! another.
//!
//! ```text
//! Sort: f(a)                     Projection: a
//!   TableScan: t        ─►         Sort: __waits_0
//!                                    Projection: a, f(a) AS __waits_0
//!                                      TableScan: t
//! Filter: a > 1 AND f(a) > 2 ─►  Filter: f(a) > 2 over Filter: a > 1      a row that is dropped is not sent
//! ```
//!
//! Works on the plan that the optimizer leaves: before, it would put the projections together again. What each node gives, columns and
//! names, does not change.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType, Result};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    EmptyRelation, Expr, ExprSchemable, Filter, GroupingSet, Join, LogicalPlan, LogicalPlanBuilder, Projection, Sort, Union,
    Values, cast, lit,
};

use crate::error::Error;

/// What names of columns made by calls begin with; a number follows.
const COLUMN_PREFIX: &str = "__waits_";

/// `plan`, optimized, with its calls of async functions where they can be made; `None` if it has none.
///
/// # Errors
/// `User` for a call that cannot be made at all: inside a lambda, over both sides of an outer join.
pub fn place_async_calls(plan: &LogicalPlan) -> Result<Option<LogicalPlan>> {
    let mut any = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            any |= waits(expr);
            Ok(if any { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })
    })?;
    if !any {
        return Ok(None);
    }
    let mut placing = Placing { next: 0 };
    plan.apply_with_subqueries(|node| {
        // A user's own column may be called so.
        let taken = node.schema().fields().iter().filter_map(|field| field.name().strip_prefix(COLUMN_PREFIX)?.parse().ok());
        placing.next = taken.map(|number: usize| number.saturating_add(1)).fold(placing.next, usize::max);
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(Some(plan.clone().transform_up_with_subqueries(|node| placing.node(node))?.data))
}

/// Refuses what the optimizer cannot take: it computes what a correlated scalar subquery gives for no row, while it plans.
///
/// # Errors
/// `User`, with the function.
pub fn refuse_in_scalars(plan: &LogicalPlan) -> Result<()> {
    let gives = |node: &LogicalPlan| {
        let gives = matches!(node, LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_));
        node.expressions().into_iter().find(|expr| gives && waits(expr))
    };
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                let Expr::ScalarSubquery(inner) = expr else { return Ok(TreeNodeRecursion::Continue) };
                let mut found = None;
                if !inner.outer_ref_columns.is_empty() {
                    inner.subquery.apply(|node| {
                        found = found.take().or_else(|| gives(node));
                        Ok(TreeNodeRecursion::Continue)
                    })?;
                }
                let Some(call) = found else { return Ok(TreeNodeRecursion::Continue) };
                let name = name_in(&call);
                let text =
                    format!("async function \"{name}\" cannot be called in a subquery that reads the query around it");
                let hint =
                    format!("Let the subquery give the argument, and call the function outside: {name}((SELECT ...)).");
                Err(Error::user(text).hint(hint).into())
            })
        })
    })?;
    Ok(())
}

/// The name of the async function that `expr` calls, if it is a call of one.
fn called(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::ScalarFunction(call) if call.func.as_async().is_some() => Some(call.func.name()),
        _ => None,
    }
}

fn waits(expr: &Expr) -> bool {
    expr.exists(|e| Ok(called(e).is_some())).unwrap_or(false)
}

/// Whether an argument of a call waits itself.
fn nests(expr: &Expr) -> bool {
    let inside = |e: &Expr| match e {
        Expr::ScalarFunction(call) if call.func.as_async().is_some() => call.args.iter().any(waits),
        _ => false,
    };
    expr.exists(|e| Ok(inside(e))).unwrap_or(false)
}

/// A call, whose arguments may be columns of others, and the column that it becomes.
type Made = (Expr, Column);

struct Placing {
    next: usize,
}

impl Placing {
    fn node(&mut self, node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        let exprs = node.expressions();
        if !exprs.iter().any(waits) {
            return Ok(Transformed::no(node));
        }
        exprs.iter().try_for_each(refuse_lambdas)?;
        let schema = Arc::clone(node.schema());
        let placed = match node {
            LogicalPlan::Projection(node) if !exprs.iter().any(nests) => LogicalPlan::Projection(node),
            LogicalPlan::Filter(Filter { predicate, input, .. }) => {
                let input = Arc::unwrap_or_clone(input);
                self.filtered(input, split_conjunction_owned(predicate))?
            }
            LogicalPlan::Join(node) => self.join(node)?,
            LogicalPlan::Values(node) => self.values(node)?,
            node => match node.inputs().as_slice() {
                [input] => {
                    let named =
                        matches!(node, LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) | LogicalPlan::Window(_));
                    let input = (*input).clone();
                    let (input, exprs) = self.extract(input, exprs, named)?;
                    node.with_new_exprs(exprs, vec![input])?
                }
                _ => return Err(nowhere(&exprs).into()),
            },
        };
        closed(placed, &schema).map(Transformed::yes)
    }

    /// Conditions that wait for nothing go below the others.
    fn filtered(&mut self, input: LogicalPlan, conditions: Vec<Expr>) -> Result<LogicalPlan> {
        let (waiting, plain): (Vec<Expr>, Vec<Expr>) = conditions.into_iter().partition(waits);
        let input = filter(input, plain)?;
        let (input, waiting) =
            if waiting.iter().any(nests) { self.extract(input, waiting, false)? } else { (input, waiting) };
        filter(input, waiting)
    }

    /// A call that reads one side only is made there, once per row of it and not once per pair.
    fn join(&mut self, node: Join) -> Result<LogicalPlan> {
        let Join { left, right, on, filter, join_type, join_constraint, null_equality, null_aware, .. } = node;
        let (left_keys, right_keys): (Vec<Expr>, Vec<Expr>) = on.into_iter().unzip();
        let (left, left_keys) = self.extract(Arc::unwrap_or_clone(left), left_keys, false)?;
        let (right, right_keys) = self.extract(Arc::unwrap_or_clone(right), right_keys, false)?;
        let (mut of_left, mut of_right): (Vec<Made>, Vec<Made>) = (Vec::new(), Vec::new());
        let replaced = filter.map(|filter| {
            filter.transform_up(|expr| {
                if called(&expr).is_none() {
                    return Ok(Transformed::no(expr));
                }
                let columns = expr.column_refs();
                let all_in = |schema: &DFSchema, made: &[Made]| {
                    columns.iter().all(|c| schema.has_column(c) || made.iter().any(|(_, column)| column == *c))
                };
                let side = if all_in(left.schema(), &of_left) {
                    &mut of_left
                } else if all_in(right.schema(), &of_right) {
                    &mut of_right
                } else {
                    return Ok(Transformed::no(expr));
                };
                Ok(Transformed::yes(Expr::Column(self.column(side, expr))))
            })
        });
        let conditions = replaced.transpose()?.map(|filter| split_conjunction_owned(filter.data)).unwrap_or_default();
        let (above, within): (Vec<Expr>, Vec<Expr>) = conditions.into_iter().partition(waits);
        if let Some(expr) = above.first().filter(|_| join_type != JoinType::Inner) {
            return Err(over_both_sides(name_in(expr), join_type).into());
        }
        let (left, right) = (Arc::new(below(left, of_left)?), Arc::new(below(right, of_right)?));
        let keys = left_keys.into_iter().zip(right_keys).collect();
        let within = conjunction(within);
        let join = Join::try_new(left, right, keys, within, join_type, join_constraint, null_equality, null_aware)?;
        self.filtered(LogicalPlan::Join(join), above)
    }

    /// Rows with calls become a SELECT each, those between them stay together; a number keeps their order.
    fn values(&mut self, Values { schema, values }: Values) -> Result<LogicalPlan> {
        if let [_] = values.as_slice() {
            let row = values.into_iter().flatten().collect();
            return self.one_row(row, &schema, None);
        }
        let number = format!("{COLUMN_PREFIX}{}", self.next);
        self.next += 1;
        let mut parts: Vec<Arc<LogicalPlan>> = Vec::new();
        let mut together: Vec<Vec<Expr>> = Vec::new();
        for (at, row) in values.into_iter().enumerate() {
            let place = lit(i64::try_from(at).unwrap_or(i64::MAX));
            if row.iter().any(waits) {
                parts.extend(numbered(std::mem::take(&mut together), &schema, &number)?.map(Arc::new));
                parts.push(Arc::new(self.one_row(row, &schema, Some((place, &number)))?));
            } else {
                together.push(row.into_iter().chain([place]).collect());
            }
        }
        parts.extend(numbered(together, &schema, &number)?.map(Arc::new));
        let rows = match parts.as_slice() {
            [only] => Arc::clone(only),
            _ => Arc::new(LogicalPlan::Union(Union::try_new_with_loose_types(parts)?)),
        };
        let order = vec![Expr::Column(Column::new_unqualified(number)).sort(true, false)];
        Ok(LogicalPlan::Sort(Sort { expr: order, input: rows, fetch: None }))
    }

    fn one_row(&mut self, row: Vec<Expr>, schema: &DFSchema, number: Option<(Expr, &str)>) -> Result<LogicalPlan> {
        let one = LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: true, schema: Arc::new(DFSchema::empty()) });
        let exprs = row.into_iter().zip(schema.fields()).map(|(expr, field)| {
            let same = expr.get_type(one.schema())? == *field.data_type();
            let expr = if same { expr } else { cast(expr, field.data_type().clone()) };
            Ok(expr.alias(field.name()))
        });
        let exprs = exprs.chain(number.map(|(place, name)| Ok(place.alias(name)))).collect::<Result<Vec<_>>>()?;
        let (one, exprs) = if exprs.iter().any(nests) { self.extract(one, exprs, false)? } else { (one, exprs) };
        Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(one))?))
    }

    /// Replaces the calls in `exprs`, which are over the columns of `input`, by columns that are made on top of `input`; `named`
    /// expressions keep their names.
    fn extract(&mut self, input: LogicalPlan, exprs: Vec<Expr>, named: bool) -> Result<(LogicalPlan, Vec<Expr>)> {
        let mut made = Vec::new();
        let replaced = exprs.into_iter().map(|expr| match expr {
            // A grouping set is no value, so its parts are replaced one by one, each under its own name.
            Expr::GroupingSet(set) => {
                let mut replace = |list: Vec<Expr>| -> Result<Vec<Expr>> {
                    list.into_iter().map(|expr| self.replaced(expr, &mut made, named)).collect()
                };
                Ok(Expr::GroupingSet(match set {
                    GroupingSet::Rollup(list) => GroupingSet::Rollup(replace(list)?),
                    GroupingSet::Cube(list) => GroupingSet::Cube(replace(list)?),
                    GroupingSet::GroupingSets(lists) => {
                        GroupingSet::GroupingSets(lists.into_iter().map(replace).collect::<Result<_>>()?)
                    }
                }))
            }
            expr => self.replaced(expr, &mut made, named),
        });
        let replaced = replaced.collect::<Result<Vec<_>>>()?;
        Ok((below(input, made)?, replaced))
    }

    fn replaced(&mut self, expr: Expr, made: &mut Vec<Made>, named: bool) -> Result<Expr> {
        if !waits(&expr) {
            return Ok(expr);
        }
        let name = named.then(|| NamePreserver::new_for_projection().save(&expr));
        let expr = expr.transform_up(|expr| match called(&expr) {
            Some(_) => Ok(Transformed::yes(Expr::Column(self.column(made, expr)))),
            None => Ok(Transformed::no(expr)),
        });
        Ok(match name {
            Some(name) => name.restore(expr?.data),
            None => expr?.data,
        })
    }

    /// The column of a call; the same call in one node is made once.
    fn column(&mut self, made: &mut Vec<Made>, call: Expr) -> Column {
        if let Some((_, column)) = made.iter().find(|(known, _)| *known == call) {
            return column.clone();
        }
        let column = Column::new_unqualified(format!("{COLUMN_PREFIX}{}", self.next));
        self.next += 1;
        made.push((call, column.clone()));
        column
    }
}

/// Rows that wait for nothing, whose last column is their number.
fn numbered(rows: Vec<Vec<Expr>>, schema: &DFSchema, number: &str) -> Result<Option<LogicalPlan>> {
    if rows.is_empty() {
        return Ok(None);
    }
    let values = LogicalPlanBuilder::values(rows)?.build()?;
    let names = schema.fields().iter().map(|field| (field.name().as_str(), Some(field.data_type())));
    let columns = values.schema().columns().into_iter().map(Expr::Column).zip(names.chain([(number, None)]));
    let columns = columns.map(|(column, (name, wanted))| match wanted {
        Some(wanted) if column.get_type(values.schema())? != *wanted => Ok(cast(column, wanted.clone()).alias(name)),
        _ => Ok(column.alias(name)),
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    Ok(Some(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(values))?)))
}

/// `input` with a column for each of `made`; where one call's result is an argument of another, in several projections.
fn below(mut input: LogicalPlan, mut made: Vec<Made>) -> Result<LogicalPlan> {
    while !made.is_empty() {
        let open: Vec<Column> = made.iter().map(|(_, column)| column.clone()).collect();
        let (now, later): (Vec<Made>, Vec<Made>) =
            made.into_iter().partition(|(call, _)| !call.column_refs().iter().any(|c| open.contains(c)));
        let mut columns: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
        columns.extend(now.into_iter().map(|(call, column)| call.alias(column.name)));
        input = LogicalPlan::Projection(Projection::try_new(columns, Arc::new(input))?);
        made = later;
    }
    Ok(input)
}

/// `plan` with exactly the columns of `schema`.
fn closed(plan: LogicalPlan, schema: &DFSchema) -> Result<LogicalPlan> {
    if plan.schema().columns() == schema.columns() {
        return Ok(plan);
    }
    let columns = schema.columns().into_iter().map(Expr::Column).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(plan))?))
}

/// `input` without the rows that one of `conditions` drops.
pub(super) fn filter(input: LogicalPlan, conditions: Vec<Expr>) -> Result<LogicalPlan> {
    Ok(match conjunction(conditions) {
        Some(predicate) => LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(input))?),
        None => input,
    })
}

fn refuse_lambdas(expr: &Expr) -> Result<()> {
    let mut refused = Ok(());
    expr.apply(|expr| {
        if let Expr::Lambda(lambda) = expr
            && waits(&lambda.body)
        {
            let text = format!("async function \"{}\" cannot be called inside a lambda", name_in(&lambda.body));
            let hint = "UNNEST the list, call the function for each row, and gather the results.";
            refused = Err(Error::user(text).hint(hint).into());
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    refused
}

fn over_both_sides(name: String, join_type: JoinType) -> Error {
    match join_type {
        JoinType::Left | JoinType::Right | JoinType::Full => Error::user(format!(
            "a call of async function \"{name}\" in ON reads both sides of a {} join",
            join_type.to_string().to_uppercase()
        ))
        .hint("Make it an inner join, or call the function in a subquery over the joined rows."),
        _ => Error::user(format!(
            "a call of async function \"{name}\" in a subquery of WHERE reads the query around it and the subquery's own table"
        ))
        .hint("Call it over the rows of a join of the two, in a query of its own."),
    }
}

fn nowhere(exprs: &[Expr]) -> Error {
    let name = exprs.iter().find(|expr| waits(expr)).map(name_in).unwrap_or_default();
    let text = format!("async function \"{name}\" cannot be called here");
    Error::user(text).hint(format!("Call it in a subquery: SELECT ... FROM (SELECT *, {name}(...) AS s FROM t)."))
}

/// The name of the first async function that `expr` calls.
fn name_in(expr: &Expr) -> String {
    let mut name = String::new();
    // Nothing here breaks off.
    let _ = expr.apply(|expr| {
        name = called(expr).unwrap_or_default().to_owned();
        Ok(if name.is_empty() { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::DataType;
    use async_trait::async_trait;
    use datafusion::logical_expr::async_udf::{AsyncScalarUDF, AsyncScalarUDFImpl};
    use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
    use datafusion::prelude::{SessionConfig, SessionContext};

    /// `f(x)`, which is only planned here.
    #[derive(Debug, PartialEq, Eq, Hash)]
    struct F(Signature);

    impl ScalarUDFImpl for F {
        fn name(&self) -> &'static str {
            "f"
        }
        fn signature(&self) -> &Signature {
            &self.0
        }
        fn return_type(&self, _: &[DataType]) -> Result<DataType> {
            Ok(DataType::Int64)
        }
        fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
            unreachable!("nothing is executed")
        }
    }

    #[async_trait]
    impl AsyncScalarUDFImpl for F {
        async fn invoke_async_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
            unreachable!("nothing is executed")
        }
    }

    async fn placed(sql: &str) -> Result<Option<String>> {
        let context =
            SessionContext::new_with_config(SessionConfig::new().set_str("datafusion.sql_parser.dialect", "duckdb"));
        let f = F(Signature::any(1, Volatility::Volatile));
        context.register_udf(AsyncScalarUDF::new(Arc::new(f)).into_scalar_udf());
        let plan = context.state().create_logical_plan(sql).await?;
        Ok(place_async_calls(&plan)?.map(|plan| plan.display_indent().to_string()))
    }

    #[tokio::test]
    async fn calls_are_made_below_what_needs_them() {
        let from = "FROM (VALUES (1, 2)) t (a, b)";
        let sorted = placed(&format!("SELECT a {from} ORDER BY f(f(b))")).await.unwrap().unwrap();
        let lines: Vec<&str> = sorted.lines().map(str::trim).collect();
        let wanted = [
            "Sort: __waits_1 ASC NULLS LAST",
            "Projection: t.a, t.b, __waits_0, f(__waits_0) AS __waits_1",
            "Projection: t.a, t.b, f(t.b) AS __waits_0",
        ];
        let places = wanted.map(|line| lines.iter().position(|l| *l == line));
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{sorted}");
        assert_eq!(placed(&format!("SELECT a {from} ORDER BY b")).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_call_inside_a_lambda_is_refused() {
        let error = placed("SELECT array_transform([1, 2], x -> f(x) + 1)").await.unwrap_err();
        let error = Error::from(error);
        assert_eq!(error.message(), "async function \"f\" cannot be called inside a lambda");
        assert!(error.get_hint().unwrap().starts_with("UNNEST the list"));
    }
}
