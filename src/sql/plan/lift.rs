//! Takes every call of `score`, `classify` and `predict` out of its expression and makes it a column of a [`Score`] node.
//!
//! ```text
//! SELECT id, score(m, a) AS risk               Projection: id, __score_0 AS risk
//! FROM t                                         Filter: __score_0 > 0.9
//! WHERE score(m, a) > 0.9 AND a > 10     ─►        Score: score(m, a) AS __score_0
//!                                                    Filter: a > 10
//!                                                      TableScan: t
//! ```
//!
//! The same call is made once, also across the nodes above one another: a node that passes its rows on hands the calls that
//! are made below it (`Made`) to the node above. What a query returns does not change by this: neither its columns nor their
//! names. A call inside CASE, AND or OR is made for every row that reaches its node, for a column has a value in each row;
//! only whole conditions of WHERE that hold no call are checked before. A call whose arguments are volatile, such as
//! `score('m', random())`, is not the same as its twin.
//!
//! Calls are also checked here against the model that they name, if the present epoch's view has it.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType, Result};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    Aggregate, Distinct, DistinctOn, Expr, Filter, GroupingSet, Join, Limit, LogicalPlan, Projection, Sort, SubqueryAlias,
    Window,
};
use datafusion::optimizer::AnalyzerRule;

use crate::error::Error;
use crate::model::Function;
use crate::sql::functions::score::as_call;
use crate::sql::plan::check;
use crate::sql::plan::node::{COLUMN_PREFIX, Score, ScoreCall};
use crate::stream::operators::score::ScoreConfig;

/// The analyzer rule; runs after type coercion, so that equal calls are equal expressions.
#[derive(Debug)]
pub struct LiftScores {
    /// Where the view is that calls are checked against, and what a missing model means.
    pub config: Arc<ScoreConfig>,
}

impl AnalyzerRule for LiftScores {
    fn name(&self) -> &str {
        "lift_scores"
    }
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        if !has_calls(&plan)? {
            return Ok(plan);
        }
        let mut lift = Lift { next: columns_made(&plan)?, config: &self.config };
        lift.closed(plan)
    }
}

/// Whether `plan` or a subquery in it has a call that is not lifted yet.
fn has_calls(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found = found || node.expressions().iter().any(contains_call);
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// How many columns of calls there are: a plan that was lifted before keeps their names.
fn columns_made(plan: &LogicalPlan) -> Result<usize> {
    let mut next = 0;
    plan.apply_with_subqueries(|node| {
        for call in Score::of(node).map(Score::calls).unwrap_or_default() {
            let number = call.column.strip_prefix(COLUMN_PREFIX).and_then(|n| n.parse::<usize>().ok());
            next = next.max(number.map_or(0, |n| n + 1));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(next)
}

fn contains_call(expr: &Expr) -> bool {
    expr.exists(|e| Ok(as_call(e).is_some())).unwrap_or(false)
}

/// A call that is a column of a plan.
#[derive(Debug, Clone)]
struct Made {
    function: Function,
    args: Vec<Expr>,
    column: Column,
}

/// A plan without calls. Beside the columns of the plan that it was made from it may have those of `made`.
struct Lifted {
    plan: LogicalPlan,
    made: Vec<Made>,
}

impl Lifted {
    fn input(&self) -> Arc<LogicalPlan> {
        Arc::new(self.plan.clone())
    }
}

struct Lift<'a> {
    next: usize,
    config: &'a ScoreConfig,
}

impl Lift<'_> {
    /// `plan` without calls and with exactly its schema.
    fn closed(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let schema = Arc::clone(plan.schema());
        let lifted = self.lift(plan)?.plan;
        if lifted.schema().columns() == schema.columns() {
            return Ok(lifted);
        }
        let columns = schema.columns().into_iter().map(Expr::Column).collect();
        Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(lifted))?))
    }

    fn lift(&mut self, plan: LogicalPlan) -> Result<Lifted> {
        let plan = plan.map_subqueries(|subquery| self.closed(subquery).map(Transformed::yes))?.data;
        match plan {
            LogicalPlan::Projection(node) => self.projection(node),
            LogicalPlan::Filter(node) => self.filter(node),
            LogicalPlan::Sort(node) => self.sort(node),
            LogicalPlan::Window(node) => self.window(node),
            LogicalPlan::Aggregate(node) => self.aggregate(node),
            LogicalPlan::Join(node) => self.join(node),
            LogicalPlan::SubqueryAlias(node) => self.alias(node),
            LogicalPlan::Distinct(Distinct::On(node)) => self.distinct_on(node),
            LogicalPlan::Limit(Limit { skip, fetch, input }) => {
                refuse_calls(skip.iter().chain(&fetch).map(AsRef::as_ref), "LIMIT and OFFSET")?;
                let Lifted { plan, made } = self.lift(Arc::unwrap_or_clone(input))?;
                Ok(Lifted { plan: LogicalPlan::Limit(Limit { skip, fetch, input: Arc::new(plan) }), made })
            }
            other => {
                let plan = other.map_children(|child| self.closed(child).map(Transformed::yes))?.data;
                refuse_calls(plan.expressions().iter(), plan.display().to_string().split(':').next().unwrap_or_default())?;
                Ok(Lifted { plan, made: Vec::new() })
            }
        }
    }

    fn projection(&mut self, node: Projection) -> Result<Lifted> {
        let Projection { expr, input, .. } = node;
        let input = self.lift(Arc::unwrap_or_clone(input))?;
        let (input, mut exprs) = self.extract_named(input, expr)?;
        let mut made = Vec::new();
        for call in &input.made {
            // A call goes on to the nodes above if all that it reads does.
            let kept = rename(call, |column| {
                let passed = exprs.iter().find(|e| matches!((*e).clone().unalias(), Expr::Column(c) if c == *column))?;
                let (relation, name) = passed.qualified_name();
                Some(Column::new(relation, name))
            });
            if let Some(kept) = kept {
                exprs.push(Expr::Column(call.column.clone()));
                made.push(kept);
            }
        }
        let plan = LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input.plan))?);
        Ok(Lifted { plan, made })
    }

    /// Conditions without a call go below the calls, so that a row that they reject is never scored.
    fn filter(&mut self, node: Filter) -> Result<Lifted> {
        let mut input = self.lift(Arc::unwrap_or_clone(node.input))?;
        let (scored, plain): (Vec<Expr>, Vec<Expr>) =
            split_conjunction_owned(node.predicate).into_iter().partition(contains_call);
        input.plan = filtered(input.plan, plain)?;
        let (input, scored) = self.extract(input, scored)?;
        Ok(Lifted { plan: filtered(input.plan, scored)?, made: input.made })
    }

    fn sort(&mut self, node: Sort) -> Result<Lifted> {
        let Sort { mut expr, input, fetch } = node;
        let input = self.lift(Arc::unwrap_or_clone(input))?;
        let (input, keys) = self.extract(input, expr.iter().map(|e| e.expr.clone()).collect())?;
        for (sort, key) in expr.iter_mut().zip(keys) {
            sort.expr = key;
        }
        Ok(Lifted { plan: LogicalPlan::Sort(Sort { expr, input: input.input(), fetch }), made: input.made })
    }

    fn window(&mut self, node: Window) -> Result<Lifted> {
        let input = self.lift(Arc::unwrap_or_clone(node.input))?;
        let (input, exprs) = self.extract_named(input, node.window_expr)?;
        Ok(Lifted { plan: LogicalPlan::Window(Window::try_new(exprs, input.input())?), made: input.made })
    }

    fn aggregate(&mut self, node: Aggregate) -> Result<Lifted> {
        let Aggregate { input, group_expr, aggr_expr, .. } = node;
        let mut input = self.lift(Arc::unwrap_or_clone(input))?;
        let mut groups = Vec::with_capacity(group_expr.len());
        for expr in group_expr {
            // A grouping set is no value, so its parts are replaced one by one, each under its own name.
            let expr = match expr {
                Expr::GroupingSet(set) => {
                    let mut replace = |list: Vec<Expr>| -> Result<Vec<Expr>> {
                        let given = Lifted { plan: input.plan.clone(), made: input.made.clone() };
                        let (lifted, list) = self.extract_named(given, list)?;
                        input = lifted;
                        Ok(list)
                    };
                    Expr::GroupingSet(match set {
                        GroupingSet::Rollup(list) => GroupingSet::Rollup(replace(list)?),
                        GroupingSet::Cube(list) => GroupingSet::Cube(replace(list)?),
                        GroupingSet::GroupingSets(lists) => {
                            GroupingSet::GroupingSets(lists.into_iter().map(replace).collect::<Result<_>>()?)
                        }
                    })
                }
                expr => {
                    let (lifted, mut replaced) = self.extract_named(input, vec![expr])?;
                    input = lifted;
                    groups.append(&mut replaced);
                    continue;
                }
            };
            groups.push(expr);
        }
        let (input, aggregates) = self.extract_named(input, aggr_expr)?;
        let plan = LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(input.plan), groups, aggregates)?);
        Ok(Lifted { plan, made: Vec::new() })
    }

    fn distinct_on(&mut self, node: DistinctOn) -> Result<Lifted> {
        let DistinctOn { on_expr, select_expr, sort_expr, input, .. } = node;
        let input = self.lift(Arc::unwrap_or_clone(input))?;
        let (input, on) = self.extract(input, on_expr)?;
        let (input, select) = self.extract_named(input, select_expr)?;
        let mut sort = sort_expr.unwrap_or_default();
        let (input, keys) = self.extract(input, sort.iter().map(|e| e.expr.clone()).collect())?;
        for (sort, key) in sort.iter_mut().zip(keys) {
            sort.expr = key;
        }
        let sort = (!sort.is_empty()).then_some(sort);
        let node = DistinctOn::try_new(on, select, sort, Arc::new(input.plan))?;
        Ok(Lifted { plan: LogicalPlan::Distinct(Distinct::On(node)), made: Vec::new() })
    }

    /// All columns get another qualifier, and so do the calls'.
    fn alias(&mut self, node: SubqueryAlias) -> Result<Lifted> {
        let input = self.lift(Arc::unwrap_or_clone(node.input))?;
        let plan = SubqueryAlias::try_new(input.input(), node.alias)?;
        let renamed = |column: &Column| {
            let index = input.plan.schema().maybe_index_of_column(column)?;
            Some(Column::from(plan.schema.qualified_field(index)))
        };
        let made =
            input.made.iter().filter_map(|call| Some(Made { column: renamed(&call.column)?, ..rename(call, renamed)? }));
        let made = made.collect();
        Ok(Lifted { plan: LogicalPlan::SubqueryAlias(plan), made })
    }

    /// A call that reads one side only is made there, once per row of it and not once per pair. In an inner join the others
    /// are made above the join, as a filter.
    fn join(&mut self, node: Join) -> Result<Lifted> {
        let Join { left, right, on, filter, join_type, join_constraint, null_equality, null_aware, .. } = node;
        let left = self.lift(Arc::unwrap_or_clone(left))?;
        let right = self.lift(Arc::unwrap_or_clone(right))?;
        let (left_keys, right_keys): (Vec<Expr>, Vec<Expr>) = on.into_iter().unzip();
        let (left, left_keys) = self.extract(left, left_keys)?;
        let (right, right_keys) = self.extract(right, right_keys)?;

        let (mut of_left, mut of_right) = (Vec::new(), Vec::new());
        if let Some(filter) = &filter {
            filter.apply(|expr| {
                if as_call(expr).is_none() {
                    return Ok(TreeNodeRecursion::Continue);
                }
                let columns = expr.column_refs();
                let all_in = |schema: &DFSchema| columns.iter().all(|column| schema.has_column(column));
                if all_in(left.plan.schema()) {
                    of_left.push(expr.clone());
                } else if all_in(right.plan.schema()) {
                    of_right.push(expr.clone());
                } else {
                    return Ok(TreeNodeRecursion::Continue);
                }
                Ok(TreeNodeRecursion::Jump)
            })?;
        }
        let (left, left_columns) = self.extract(left, of_left.clone())?;
        let (right, right_columns) = self.extract(right, of_right.clone())?;
        let calls: Vec<(Expr, Expr)> =
            of_left.into_iter().zip(left_columns).chain(of_right.into_iter().zip(right_columns)).collect();
        let replaced = filter
            .map(|filter| {
                filter.transform_down(|expr| match calls.iter().find(|(call, _)| *call == expr) {
                    Some((_, column)) => Ok(Transformed::new(column.clone(), true, TreeNodeRecursion::Jump)),
                    None => Ok(Transformed::no(expr)),
                })
            })
            .transpose()?
            .map(|filter| filter.data);
        let (above, within): (Vec<Expr>, Vec<Expr>) =
            replaced.map(split_conjunction_owned).unwrap_or_default().into_iter().partition(contains_call);
        if !above.is_empty() && join_type != JoinType::Inner {
            let text =
                format!("a call of a model in ON reads both sides of a {} join", join_type.to_string().to_uppercase());
            let hint = "Make it an inner join, or call the model in a subquery over the joined rows.";
            return Err(Error::user(text).hint(hint).into());
        }

        let (left_made, right_made) = (left.made.clone(), right.made.clone());
        let keys = left_keys.into_iter().zip(right_keys).collect();
        let (left, right) = (Arc::new(left.plan), Arc::new(right.plan));
        let filter = conjunction(within);
        let join = Join::try_new(left, right, keys, filter, join_type, join_constraint, null_equality, null_aware)?;
        // Calls of a side whose rows the join fills up with NULLs are not what they were.
        let made = match join_type {
            JoinType::Inner => left_made.into_iter().chain(right_made).collect(),
            JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti => left_made,
            JoinType::Right | JoinType::RightSemi | JoinType::RightAnti => right_made,
            _ => Vec::new(),
        };
        let (joined, above) = self.extract(Lifted { plan: LogicalPlan::Join(join), made }, above)?;
        Ok(Lifted { plan: filtered(joined.plan, above)?, made: joined.made })
    }

    /// [`Lift::extract`] for expressions whose names are those of columns.
    fn extract_named(&mut self, input: Lifted, exprs: Vec<Expr>) -> Result<(Lifted, Vec<Expr>)> {
        let names = NamePreserver::new_for_projection();
        let saved: Vec<_> = exprs.iter().map(|e| contains_call(e).then(|| names.save(e))).collect();
        let (input, exprs) = self.extract(input, exprs)?;
        let restored = saved.into_iter().zip(exprs).map(|(saved, expr)| match saved {
            Some(name) => name.restore(expr),
            None => expr,
        });
        Ok((input, restored.collect()))
    }

    /// Replaces the calls in `exprs`, which are over the columns of `input`, by columns; those that are not made yet are made
    /// on top of `input`, in one node, or in several where one call's result is an argument of another.
    fn extract(&mut self, input: Lifted, exprs: Vec<Expr>) -> Result<(Lifted, Vec<Expr>)> {
        if !exprs.iter().any(contains_call) {
            return Ok((input, exprs));
        }
        let Lifted { mut plan, mut made } = input;
        let known = made.len();
        let exprs: Vec<Expr> = exprs
            .into_iter()
            .map(|expr| {
                expr.transform_up(|expr| {
                    refuse_in_lambda(&expr)?;
                    let Some((function, args)) = as_call(&expr) else { return Ok(Transformed::no(expr)) };
                    let args: Vec<Expr> = args.iter().cloned().map(Expr::unalias).collect();
                    let column = self.column(&mut made, function, args)?;
                    Ok(Transformed::yes(Expr::Column(column)))
                })
                .map(|expr| expr.data)
            })
            .collect::<Result<_>>()?;

        let mut waiting: Vec<Made> = made.get(known..).unwrap_or_default().to_vec();
        while !waiting.is_empty() {
            let open: Vec<Column> = waiting.iter().map(|call| call.column.clone()).collect();
            let (now, later): (Vec<Made>, Vec<Made>) = waiting
                .into_iter()
                .partition(|call| !call.args.iter().any(|arg| arg.column_refs().iter().any(|column| open.contains(column))));
            plan = self.node(plan, &now)?;
            waiting = later;
        }
        Ok((Lifted { plan, made }, exprs))
    }

    /// The column of a call, new if the call is.
    fn column(&mut self, made: &mut Vec<Made>, function: Function, args: Vec<Expr>) -> Result<Column> {
        for arg in &args {
            if arg.contains_outer() {
                let text = format!("{}() cannot read a column of the query around its subquery", function.name());
                return Err(Error::user(text).hint("Write the subquery as a join, and call the model above it.").into());
            }
        }
        let same = made.iter().find(|call| call.function == function && call.args == args);
        if let Some(same) = same
            && !args.iter().any(Expr::is_volatile)
        {
            return Ok(same.column.clone());
        }
        let column = Column::new_unqualified(format!("{COLUMN_PREFIX}{}", self.next));
        self.next += 1;
        made.push(Made { function, args, column: column.clone() });
        Ok(column)
    }

    fn node(&self, input: LogicalPlan, calls: &[Made]) -> Result<LogicalPlan> {
        let (input, correlated) = without_correlated(input)?;
        let mut made = Vec::with_capacity(calls.len());
        for call in calls {
            let names = call.args.iter().skip(1).map(column_name).collect();
            let call =
                ScoreCall { function: call.function, args: call.args.clone(), names, column: call.column.name.clone() };
            check::call(&call, input.schema(), self.config)?;
            made.push(call);
        }
        // A subquery as an argument is computed below, by a node for which the optimizer knows what to do with it.
        let (mut input, mut below) = (input, Vec::new());
        for arg in made.iter_mut().flat_map(|call| &mut call.args) {
            if arg.exists(|e| {
                Ok(matches!(e, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_)))
            })? {
                let name = format!("{COLUMN_PREFIX}{}_arg_{}", made_first(calls), below.len());
                below.push(std::mem::replace(arg, Expr::Column(Column::new_unqualified(&name))).alias(name));
            }
        }
        if !below.is_empty() {
            let mut columns: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
            columns.append(&mut below);
            input = LogicalPlan::Projection(Projection::try_new(columns, Arc::new(input))?);
        }
        filtered(Score::try_new(Arc::new(input), made)?.into_plan(), correlated)
    }
}

/// Takes off the conditions on top of a subquery that read the query around it. They must stay above the score: DataFusion
/// makes joins of them, and looks for them only above nodes that are not its own.
fn without_correlated(mut plan: LogicalPlan) -> Result<(LogicalPlan, Vec<Expr>)> {
    let (mut correlated, mut others) = (Vec::new(), Vec::new());
    while let LogicalPlan::Filter(filter) = plan {
        let (outer, own): (Vec<Expr>, Vec<Expr>) =
            split_conjunction_owned(filter.predicate).into_iter().partition(Expr::contains_outer);
        correlated.extend(outer);
        others.extend(own);
        plan = Arc::unwrap_or_clone(filter.input);
    }
    Ok((filtered(plan, others)?, correlated))
}

/// The number of the first call, which makes names unique.
fn made_first(calls: &[Made]) -> &str {
    calls.first().and_then(|call| call.column.name.strip_prefix(COLUMN_PREFIX)).unwrap_or_default()
}

/// `call` with other columns; `None` if it reads one that `to` does not have.
fn rename(call: &Made, to: impl Fn(&Column) -> Option<Column>) -> Option<Made> {
    let mut args = Vec::with_capacity(call.args.len());
    for arg in &call.args {
        let mut lost = false;
        let renamed = arg.clone().transform(|expr| match expr {
            Expr::Column(column) => match to(&column) {
                Some(new) => Ok(Transformed::yes(Expr::Column(new))),
                None => {
                    lost = true;
                    Ok(Transformed::no(Expr::Column(column)))
                }
            },
            other => Ok(Transformed::no(other)),
        });
        args.push(renamed.ok().filter(|_| !lost)?.data);
    }
    Some(Made { function: call.function, args, column: call.column.clone() })
}

fn filtered(plan: LogicalPlan, conditions: Vec<Expr>) -> Result<LogicalPlan> {
    Ok(match conjunction(conditions) {
        Some(predicate) => LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(plan))?),
        None => plan,
    })
}

/// The name of the column that `expr` is, perhaps cast; a field of a struct has the field's name.
fn column_name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Column(column) if column.name.starts_with(COLUMN_PREFIX) => None,
        Expr::Column(column) => Some(column.name.clone()),
        Expr::Alias(alias) => Some(alias.name.clone()),
        Expr::Cast(cast) => column_name(&cast.expr),
        Expr::TryCast(cast) => column_name(&cast.expr),
        Expr::ScalarFunction(call) if call.func.name() == "get_field" => match call.args.last() {
            Some(Expr::Literal(value, _)) => value.try_as_str().flatten().map(str::to_owned),
            _ => None,
        },
        _ => None,
    }
}

fn refuse_calls<'a>(mut exprs: impl Iterator<Item = &'a Expr>, place: &str) -> Result<()> {
    match exprs.find(|expr| contains_call(expr)) {
        None => Ok(()),
        Some(_) => {
            let text = format!("a model cannot be called in {}", place.to_uppercase());
            Err(Error::user(text).hint("Call it in the SELECT list or in WHERE.").into())
        }
    }
}

fn refuse_in_lambda(expr: &Expr) -> Result<()> {
    match expr {
        Expr::Lambda(lambda) if contains_call(&lambda.body) || has_made_column(&lambda.body) => {
            let hint = "UNNEST the list, call the model for each row, and gather the results.";
            Err(Error::user("a model cannot be called inside a lambda").hint(hint).into())
        }
        _ => Ok(()),
    }
}

/// A call inside a lambda's body has been replaced by the time that the lambda is seen.
fn has_made_column(expr: &Expr) -> bool {
    expr.column_refs().iter().any(|column| column.name.starts_with(COLUMN_PREFIX))
}
