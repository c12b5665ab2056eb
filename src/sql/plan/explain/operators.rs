//! DataFusion's own operators in SQL's words.   operator + its inputs' columns ─► a line, and what its columns are called
//!
//! To say another operator in words: an arm in [`said`]. One without an arm is told by its name and its expressions.

use std::sync::Arc;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{JoinSide, JoinType};
use datafusion::logical_expr::WindowFrame;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::window::{SlidingAggregateWindowExpr, WindowExpr};
use datafusion::physical_expr::{PhysicalExpr, PhysicalExprRef};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::async_func::AsyncFuncExec;
use datafusion::physical_plan::joins::utils::{JoinFilter, build_join_schema};
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec};
use datafusion::physical_plan::limit::GlobalLimitExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::union::{InterleaveExec, UnionExec};
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::windows::{
    BoundedWindowAggExec, PlainAggregateWindowExpr, StandardWindowExpr, WindowAggExec, WindowUDFExpr,
};

use super::Step;
use super::render::{Scope, Subquery, Title};

/// The planner's column with the number of the set of groups that a row is of.
const SET_NUMBER: &str = "__grouping_id";

/// A line for an operator, and the columns it gives.
pub struct Said {
    pub step: Step,
    pub titles: Vec<Title>,
}

/// What an operator is told from.
pub struct Told<'a> {
    pub plan: &'a Arc<dyn ExecutionPlan>,
    /// The columns of each of its inputs.
    pub given: &'a [Vec<Title>],
    pub subqueries: &'a [Subquery],
    /// The calls of the other half of an aggregate, which sees the rows.
    pub calls: Option<Vec<String>>,
}

impl<'a> Told<'a> {
    /// The columns of the first input.
    fn first(&self) -> &'a [Title] {
        self.given.first().map_or(&[], Vec::as_slice)
    }
    /// Expressions over the first input.
    pub fn scope(&self) -> Scope<'a> {
        Scope { titles: self.first(), among: self.first(), qualified: false, subqueries: self.subqueries }
    }
}

/// An operator in words.
pub fn said(told: &Told, inputs: Vec<Step>) -> Said {
    let (plan, scope) = (told.plan, told.scope());
    let same = |step: Step| Said { step, titles: told.first().to_vec() };
    if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        return aggregated(told, aggregate, inputs);
    }
    if let Some(sort) = plan.downcast_ref::<SortExec>() {
        let keys: Vec<String> = sort.expr().iter().map(|key| scope.sort_key(key)).collect();
        let first = sort.fetch().map_or(String::new(), |n| format!(", the first {n}"));
        return same(Step::new("sort", format!("{}{first}", keys.join(", ")), inputs).fact("by", keys));
    }
    if let Some(limit) = plan.downcast_ref::<GlobalLimitExec>() {
        return same(limited(limit.fetch(), limit.skip(), inputs));
    }
    if let Some(join) = joined(told) {
        return join.said(told, inputs);
    }
    let windows = plan.downcast_ref::<BoundedWindowAggExec>().map(|window| window.window_expr());
    if let Some(calls) = windows.or_else(|| plan.downcast_ref::<WindowAggExec>().map(|window| window.window_expr())) {
        let texts: Vec<String> = calls.iter().map(|call| windowed(call, &scope)).collect();
        let made = calls.iter().zip(&texts).map(|(call, text)| Title::whole(call.name(), text.clone()));
        let titles = told.first().iter().cloned().chain(made).collect();
        return Said { step: Step::new("window", texts.join(", "), inputs).fact("calls", texts), titles };
    }
    if plan.downcast_ref::<AsyncFuncExec>().is_some() {
        let calls = expressions(plan);
        let made = calls.iter().map(|call| Title::of("", call, &scope));
        let titles = told.first().iter().cloned().chain(made).collect();
        let texts: Vec<String> = calls.iter().map(|call| scope.sql(call)).collect();
        return Said { step: Step::new("call", texts.join(", "), inputs).fact("calls", texts), titles };
    }
    if let Some(unnest) = plan.downcast_ref::<UnnestExec>() {
        let lists: Vec<usize> = unnest.list_column_indices().iter().map(|list| list.index_in_input_schema).collect();
        let all = lists.iter().chain(unnest.struct_column_indices());
        let columns: Vec<String> = all.filter_map(|&at| told.first().get(at)).map(|title| title.text.clone()).collect();
        let mut titles = told.first().to_vec();
        for &at in &lists {
            if let Some(title) = titles.get_mut(at) {
                *title = Title::whole(&title.name, format!("unnest({})", title.text));
            }
        }
        if !unnest.struct_column_indices().is_empty() {
            titles.clear();
        }
        let text = format!("a row for each element of {}", columns.join(", "));
        return Said { step: Step::new("unnest", text, inputs).fact("columns", columns), titles };
    }
    if plan.downcast_ref::<UnionExec>().is_some() || plan.downcast_ref::<InterleaveExec>().is_some() {
        let text = format!("the rows of {} inputs", told.given.len());
        return Said { step: Step::new("union", text, inputs), titles: Vec::new() };
    }
    if let Some(query) = plan.downcast_ref::<RecursiveQueryExec>() {
        let text = format!("\"{}\", again and again, until there are no new rows", query.name());
        return Said { step: Step::new("recursion", text, inputs), titles: Vec::new() };
    }
    let name = plan.name().trim_end_matches("Exec").to_lowercase();
    Said { step: Step::new(&name, scope.list(&expressions(plan)), inputs), titles: Vec::new() }
}

/// `limit`, with the rows that are passed over.
pub fn limited(most: Option<usize>, skip: usize, inputs: Vec<Step>) -> Step {
    let text = most.map_or("all rows".to_owned(), |n| format!("{n} row{}", if n == 1 { "" } else { "s" }));
    let behind = if skip == 0 { String::new() } else { format!(", behind the first {skip}") };
    Step::new("limit", format!("{text}{behind}"), inputs).fact("rows_at_most", most).fact("skip", skip)
}

/// The expressions of an operator.
fn expressions(plan: &Arc<dyn ExecutionPlan>) -> Vec<Arc<dyn PhysicalExpr>> {
    let mut found = Vec::new();
    let seen = plan.apply_expressions(&mut |expr| {
        found.push(Arc::clone(expr));
        Ok(TreeNodeRecursion::Continue)
    });
    if seen.is_ok() { found } else { Vec::new() }
}

/// The calls of an aggregate over the rows that it sees.
pub fn aggregate_calls(aggregate: &AggregateExec, scope: &Scope) -> Vec<String> {
    let filters = aggregate.filter_expr().iter().map(Option::as_ref);
    aggregate.aggr_expr().iter().zip(filters).map(|(call, filter)| scope.aggregate(call, filter)).collect()
}

/// The columns that an aggregate groups by, under the names that people know.
pub fn group_titles(aggregate: &AggregateExec, scope: &Scope) -> Vec<Title> {
    aggregate.group_expr().expr().iter().map(|(expr, name)| Title::of(name, expr, scope)).collect()
}

fn aggregated(told: &Told, aggregate: &AggregateExec, inputs: Vec<Step>) -> Said {
    let scope = told.scope();
    let mut titles = group_titles(aggregate, &scope);
    // With several sets of groups, the second half groups by the number of the set, too.
    let keys = aggregate.group_expr().expr().iter().filter(|(_, name)| name != SET_NUMBER);
    let keys: Vec<String> = keys.map(|(expr, _)| scope.sql(expr)).collect();
    // The second half sees what the first one made of the rows.
    let second = matches!(aggregate.mode(), AggregateMode::Final | AggregateMode::FinalPartitioned);
    let calls = told.calls.clone().filter(|_| second).unwrap_or_else(|| aggregate_calls(aggregate, &scope));
    let sets = aggregate.group_expr().has_grouping_set() || keys.len() < aggregate.group_expr().expr().len();
    let by = match keys.as_slice() {
        [] => "all rows".to_owned(),
        keys if sets => format!("by {}, in several groupings", keys.join(", ")),
        keys => format!("by {}", keys.join(", ")),
    };
    if aggregate.group_expr().has_grouping_set() {
        titles.push(Title::whole("", "the grouping".to_owned()));
    }
    titles.extend(calls.iter().map(|call| Title::whole("", call.clone())));
    let of = if calls.is_empty() { String::new() } else { format!(": {}", calls.join(", ")) };
    Said { step: Step::new("aggregate", format!("{by}{of}"), inputs).fact("by", keys).fact("calls", calls), titles }
}

/// What all joins have.
struct Join<'a> {
    kind: JoinType,
    /// Without a condition, every row with every row.
    crosses: bool,
    on: &'a [(PhysicalExprRef, PhysicalExprRef)],
    filter: Option<&'a JoinFilter>,
    projection: Option<&'a [usize]>,
}

fn joined<'a>(told: &Told<'a>) -> Option<Join<'a>> {
    if let Some(join) = told.plan.downcast_ref::<HashJoinExec>() {
        let (kind, projection) = (*join.join_type(), join.projection.as_deref());
        return Some(Join { kind, crosses: false, on: join.on(), filter: join.filter(), projection });
    }
    if let Some(join) = told.plan.downcast_ref::<SortMergeJoinExec>() {
        let filter = join.filter().as_ref();
        return Some(Join { kind: join.join_type(), crosses: false, on: join.on(), filter, projection: None });
    }
    if let Some(join) = told.plan.downcast_ref::<NestedLoopJoinExec>() {
        let (kind, filter) = (*join.join_type(), join.filter());
        return Some(Join { kind, crosses: filter.is_none(), on: &[], filter, projection: join.projection().as_deref() });
    }
    told.plan.downcast_ref::<CrossJoinExec>()?;
    Some(Join { kind: JoinType::Inner, crosses: true, on: &[], filter: None, projection: None })
}

impl Join<'_> {
    fn said(&self, told: &Told, inputs: Vec<Step>) -> Said {
        let (left, right) = match told.given {
            [left, right] => (left.as_slice(), right.as_slice()),
            _ => (told.first(), [].as_slice()),
        };
        let both: Vec<Title> = left.iter().chain(right).cloned().collect();
        let scope = Scope { titles: left, among: &both, qualified: true, subqueries: told.subqueries };
        let of_right = Scope { titles: right, ..scope };
        let equal = |(l, r): &(_, _)| format!("{} = {}", scope.sql(l), of_right.sql(r));
        let on: Vec<String> = self.on.iter().map(equal).collect();
        let filter = self.filter.map(|filter| {
            let seen = filter.column_indices().iter().zip(filter.schema().fields());
            let seen: Vec<Title> = seen
                .map(|(at, field)| {
                    let side = if at.side == JoinSide::Left { left } else { right };
                    let title = side.get(at.index).filter(|_| at.side != JoinSide::None);
                    title.map_or_else(|| Title::column(field.name(), None), |t| t.clone().known_as(field.name()))
                })
                .collect();
            Scope { titles: &seen, among: &both, qualified: true, subqueries: told.subqueries }.sql(filter.expression())
        });
        let said: Vec<&str> = on.iter().chain(&filter).map(String::as_str).collect();
        let text = match (self.kind, said.join(" AND ")) {
            (JoinType::Inner, _) if self.crosses => "every row with every row".to_owned(),
            (kind, condition) if condition.is_empty() => kind_of(kind).to_owned(),
            (kind, condition) => format!("{} on {condition}", kind_of(kind)),
        };
        let mut step = Step::new("join", text, inputs).fact("kind", self.kind.to_string()).fact("on", on);
        if let Some(filter) = filter {
            step = step.fact("filter", filter);
        }
        Said { step, titles: self.titles(told, left, right) }
    }

    /// The columns that come out, as DataFusion puts them.
    fn titles(&self, told: &Told, left: &[Title], right: &[Title]) -> Vec<Title> {
        let [l, r] = told.plan.children()[..] else { return Vec::new() };
        let (schema, from) = build_join_schema(&l.schema(), &r.schema(), &self.kind);
        let title = |(at, column): (usize, &datafusion::physical_plan::joins::utils::ColumnIndex)| match column.side {
            JoinSide::Left => left.get(column.index).cloned(),
            JoinSide::Right => right.get(column.index).cloned(),
            JoinSide::None => Some(Title::whole(schema.field(at).name(), "a match is there".to_owned())),
        };
        let Some(all) = from.iter().enumerate().map(title).collect::<Option<Vec<Title>>>() else { return Vec::new() };
        match self.projection {
            Some(kept) => kept.iter().filter_map(|&at| all.get(at).cloned()).collect(),
            None => all,
        }
    }
}

fn kind_of(kind: JoinType) -> &'static str {
    match kind {
        JoinType::Inner => "inner",
        JoinType::Left => "left",
        JoinType::Right => "right",
        JoinType::Full => "full",
        JoinType::LeftSemi => "left rows with a match",
        JoinType::RightSemi => "right rows with a match",
        JoinType::LeftAnti => "left rows without a match",
        JoinType::RightAnti => "right rows without a match",
        JoinType::LeftMark => "left rows, marked if there is a match",
        JoinType::RightMark => "right rows, marked if there is a match",
    }
}

/// `row_number() OVER (PARTITION BY card ORDER BY amount DESC)`; the frame only if it is not SQL's own choice.
fn windowed(call: &Arc<dyn WindowExpr>, scope: &Scope) -> String {
    let any = call.as_any();
    let plain = any.downcast_ref::<PlainAggregateWindowExpr>().map(PlainAggregateWindowExpr::get_aggregate_expr);
    let sliding = any.downcast_ref::<SlidingAggregateWindowExpr>().map(SlidingAggregateWindowExpr::get_aggregate_expr);
    let own = any.downcast_ref::<StandardWindowExpr>().map(StandardWindowExpr::get_standard_func_expr);
    let own = own.and_then(|function| function.as_any().downcast_ref::<WindowUDFExpr>());
    let function = match (plain.or(sliding), own) {
        (Some(aggregate), _) => scope.aggregate(aggregate, None),
        (None, Some(function)) => format!("{}({})", function.fun().name(), scope.list(function.args())),
        (None, None) => call.name().split('(').next().unwrap_or_default().to_owned() + "()",
    };
    let mut over = Vec::new();
    if !call.partition_by().is_empty() {
        over.push(format!("PARTITION BY {}", scope.list(call.partition_by())));
    }
    let keys: Vec<String> = call.order_by().iter().map(|key| scope.sort_key(key)).collect();
    if !keys.is_empty() {
        over.push(format!("ORDER BY {}", keys.join(", ")));
    }
    // A function that looks at places, not at a frame, is given one all the same.
    let usual = [None, Some(false), Some(true)].map(|order| WindowFrame::new(order).to_string());
    let frame = call.get_window_frame().to_string();
    if own.is_none() && !usual.contains(&frame) {
        over.push(frame);
    }
    format!("{function} OVER ({})", over.join(" "))
}

/// The columns that a projection computes, or gives at the top, and what they are called above it; no texts for one that only
/// picks columns, for the scan has only those that are needed. `names` are those that people see at the top.
pub fn projected(projection: &ProjectionExec, top: Option<&[String]>, scope: &Scope) -> (Option<Vec<String>>, Vec<Title>) {
    let mut computes = top.is_some();
    let (mut texts, mut titles) = (Vec::new(), Vec::new());
    for (at, column) in projection.expr().iter().enumerate() {
        let text = scope.sql(&column.expr);
        let title = Title::of(&column.alias, &column.expr, scope);
        let picked = column.expr.downcast_ref::<Column>();
        let passes = picked.is_some_and(|picked| picked.name() == column.alias);
        computes |= !passes;
        let alias = top.and_then(|names| names.get(at)).unwrap_or(&column.alias);
        let same = passes && top.is_none() || text == *alias || title.text == *alias;
        let said = top.is_some() || is_name(alias);
        texts.push(if same || !said { text } else { format!("{text} AS {alias}") });
        // What the planner calls after its expression is still that expression.
        titles.push(if passes || !is_name(&column.alias) { title } else { title.renamed(&column.alias) });
    }
    (computes.then_some(texts), titles)
}

/// Whether a column was named by people: the planner's own names are expressions, or begin with two underscores.
fn is_name(name: &str) -> bool {
    !name.starts_with("__") && name.chars().all(|c| c.is_alphanumeric() || c == '_')
}
