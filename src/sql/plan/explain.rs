//! A plan as people read it: where rows come from, what is thrown away before the score, what is scored by which version,
//! what is thrown away after, what comes out.   physical plan + [`Facts`] ─► tree of [`Step`]s ─► lines, or JSON
//!
//! ```text
//! read     topic "payments", 8 partitions, json; decodes id, amount, hour (3 of 5 columns)
//! filter   amount > 10
//! score    score('fraud', amount, hour) by fraud:3, onnx
//! kernel   dense 3 x 16, relu, dense 16 x 1, sigmoid; 0.21 µs a row
//! filter   score('fraud', amount, hour) > 0.9
//! output   id, score('fraud', amount, hour) AS risk
//! ```
//!
//! The lines stand in the order in which a row meets them; the inputs of a union or a join come before it, one after another.
//! What an operator counted while it ran goes with its step; operators without a line add their time to the next one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr_common::physical_expr::fmt_sql;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::limit::GlobalLimitExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{ExecutionPlan, displayable};
use serde_json::{Map, Value, json};

use crate::error::sql_types;
use crate::model::{LiveModel, Resolution};
use crate::stream::operators::score::ScoreExec;
use crate::stream::scan::{BoundedScanExec, EpochScanExec};
use crate::stream::table::TopicTable;

/// What a plan cannot tell by itself.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// How many partitions each topic has.
    pub partitions: BTreeMap<String, i32>,
    /// What one row costs, by model and version, in nanoseconds.
    pub costs: BTreeMap<(Arc<str>, u64), f64>,
    /// Whether a missing model is waited for, or gives NULL.
    pub waits: bool,
}

/// One step of a plan, behind those that feed it.
#[derive(Debug, Clone)]
pub struct Step {
    /// `read`, `filter`, `score`, `output`, or an operator's name in lower case.
    pub name: String,
    /// What it does, in one line.
    pub text: String,
    /// The same for programs.
    pub facts: Map<String, Value>,
    /// What it counted, if it ran and counts.
    pub rows: Option<u64>,
    /// How long it worked, over all threads, if it ran.
    pub time: Option<Duration>,
    /// The steps whose rows it takes.
    pub inputs: Vec<Step>,
}

impl Step {
    /// A step without facts for programs.
    #[must_use]
    pub fn new(name: &str, text: impl Into<String>, inputs: Vec<Step>) -> Self {
        Self { name: name.to_owned(), text: text.into(), facts: Map::new(), rows: None, time: None, inputs }
    }
    fn fact(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.facts.insert(name.to_owned(), value.into());
        self
    }
    /// All steps, those that feed others first.
    pub fn in_order(&self) -> Vec<&Step> {
        let mut steps: Vec<&Step> = self.inputs.iter().flat_map(Step::in_order).collect();
        steps.push(self);
        steps
    }
    /// The step and its inputs as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        let mut object = Map::from_iter([("step".to_owned(), json!(self.name)), ("text".to_owned(), json!(self.text))]);
        object.extend(self.facts.clone());
        if let Some(rows) = self.rows {
            object.insert("rows".to_owned(), json!(rows));
        }
        if let Some(time) = self.time {
            object.insert("time_ms".to_owned(), json!((time.as_secs_f64() * 1e6).round() / 1e3));
        }
        if !self.inputs.is_empty() {
            object.insert("inputs".to_owned(), self.inputs.iter().map(Step::json).collect());
        }
        Value::Object(object)
    }
}

/// `plan` as a tree of steps, whose root is what comes out.
#[must_use]
pub fn explain(plan: &Arc<dyn ExecutionPlan>, facts: &Facts) -> Step {
    let mut walk = Walk { facts, hidden: Duration::ZERO };
    let (mut steps, names) = walk.steps(plan, true);
    let spare = walk.hidden;
    let mut root = match steps.pop() {
        Some(root) if steps.is_empty() && root.name == "output" => root,
        last => {
            steps.extend(last);
            let fields: Vec<String> = plan.schema().fields().iter().map(|f| written(f.name(), &names)).collect();
            let rows = steps.last().and_then(|step| step.rows);
            let mut root = Step::new("output", fields.join(", "), steps).fact("columns", fields);
            root.rows = rows;
            root
        }
    };
    if spare > Duration::ZERO {
        root.time = Some(root.time.unwrap_or_default() + spare);
    }
    root
}

/// The topics that the leaves of a plan read.
#[must_use]
pub fn topics_in(plan: &Arc<dyn ExecutionPlan>) -> Vec<Arc<str>> {
    let mut topics: Vec<Arc<str>> = plan.children().into_iter().flat_map(topics_in).collect();
    topics.extend(leaf_table(plan).filter(|table| is_topic(table)).map(|table| Arc::clone(&table.topic)));
    topics
}

/// The versions that a plan would score with now.
#[must_use]
pub fn models_in(plan: &Arc<dyn ExecutionPlan>) -> Vec<Arc<LiveModel>> {
    let mut models: Vec<Arc<LiveModel>> = plan.children().into_iter().flat_map(models_in).collect();
    if let Some(score) = plan.downcast_ref::<ScoreExec>() {
        for call in score.calls() {
            if let Some((_, Resolution::Live(live))) = resolution(score, &call.model)
                && !models.iter().any(|model| Arc::ptr_eq(model, &live))
            {
                models.push(live);
            }
        }
    }
    models
}

/// What made columns stand for, by their names.
type Names = BTreeMap<String, String>;

struct Walk<'a> {
    facts: &'a Facts,
    /// The time of operators without a line that have run since the last step.
    hidden: Duration,
}

impl Walk<'_> {
    /// The steps that the rows of `plan` have behind them: one, unless a union or a join follows.
    fn steps(&mut self, plan: &Arc<dyn ExecutionPlan>, top: bool) -> (Vec<Step>, Names) {
        let passes = is_plumbing(plan);
        let mut names = Names::new();
        let mut inputs = Vec::new();
        for child in plan.children() {
            let (steps, made) = self.steps(child, top && passes);
            inputs.extend(steps);
            names.extend(made);
        }
        let step = if let Some(score) = plan.downcast_ref::<ScoreExec>() {
            self.score(score, inputs, &mut names)
        } else if let Some(filter) = plan.downcast_ref::<FilterExec>() {
            let condition = sql(filter.predicate(), &names);
            Some(Step::new("filter", condition.as_str(), inputs).fact("condition", condition))
        } else if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
            match projected(projection, top, &mut names) {
                Some(columns) => {
                    let name = if top { "output" } else { "project" };
                    Some(Step::new(name, columns.join(", "), inputs).fact("columns", columns))
                }
                None => return (self.pass(plan, inputs), names),
            }
        } else if plan.children().is_empty() {
            Some(self.read(plan))
        } else if passes {
            return (self.pass(plan, inputs), names);
        } else {
            Some(other(plan, &names, inputs))
        };
        let Some(mut step) = step else { return (Vec::new(), names) };
        let metrics = plan.metrics().unwrap_or_default();
        // The kernel is what works, the score is what counts.
        let by_kernel = step.name == "kernel" && !step.inputs.is_empty();
        let counted = if by_kernel { &mut step.inputs[0] } else { &mut step };
        counted.rows = metrics.output_rows().map(|rows| rows as u64);
        counted.time =
            metrics.elapsed_compute().map(|ns| Duration::from_nanos(ns as u64) + std::mem::take(&mut self.hidden));
        (vec![step], names)
    }

    /// An operator without a line; its time is the next one's.
    fn pass(&mut self, plan: &Arc<dyn ExecutionPlan>, inputs: Vec<Step>) -> Vec<Step> {
        self.hidden += Duration::from_nanos(plan.metrics().and_then(|m| m.elapsed_compute()).unwrap_or(0) as u64);
        inputs
    }

    fn score(&self, score: &ScoreExec, mut inputs: Vec<Step>, names: &mut Names) -> Option<Step> {
        let mut last = None;
        for call in score.calls() {
            let args: Vec<String> = [&call.model].into_iter().chain(&call.features).map(|arg| sql(arg, names)).collect();
            let text = format!("{}({})", call.function.name(), args.join(", "));
            inputs.extend(last.take());
            let step = Step::new("score", "", std::mem::take(&mut inputs)).fact("call", text.as_str());
            last = Some(self.by(step, &text, score, &call.model));
            names.insert(call.column.clone(), text);
        }
        last
    }

    /// What the call would be made with now: version, kernels, cost.
    fn by(&self, mut step: Step, call: &str, score: &ScoreExec, model: &Arc<dyn PhysicalExpr>) -> Step {
        let Some((name, resolution)) = resolution(score, model) else {
            step.text = format!("{call} by the model that each row names");
            return step;
        };
        let until = if self.facts.waits { "the job waits for it" } else { "its scores are NULL" };
        match resolution {
            Resolution::Live(live) => {
                step.text = format!("{call} by {}:{}, {}", live.name, live.version, live.format);
                let kernels = live.loaded.scorer.kernels();
                let cost = self.facts.costs.get(&(Arc::clone(&live.name), live.version)).copied();
                step = step.fact("model", &*live.name).fact("version", live.version).fact("format", live.format);
                step = step.fact("kernels", kernels.clone());
                if let Some(cost) = cost {
                    step = step.fact("ns_per_row", cost.round());
                }
                let mut by = kernels.join("; ");
                if let Some(cost) = cost {
                    let separator = if by.is_empty() { "" } else { "; " };
                    by.push_str(&format!("{separator}{} a row", nanoseconds(cost)));
                }
                if by.is_empty() { step } else { Step::new("kernel", by, vec![step]) }
            }
            Resolution::Loading { version, .. } => {
                step.text = format!("{call} by {name}:{version}, still loading");
                step.fact("model", name).fact("version", version)
            }
            Resolution::Missing { .. } => {
                step.text = format!("{call}; no model \"{name}\" yet: {until}");
                step.fact("model", name)
            }
            Resolution::Unusable { .. } => {
                step.text = format!("{call}; no usable version of \"{name}\" yet: {until}");
                step.fact("model", name)
            }
        }
    }

    fn read(&self, plan: &Arc<dyn ExecutionPlan>) -> Step {
        let columns: Vec<String> = plan.schema().fields().iter().map(|c| c.name().clone()).collect();
        let list = if columns.is_empty() { "no column".to_owned() } else { columns.join(", ") };
        let Some(table) = leaf_table(plan) else {
            return Step::new("read", unknown_leaf(plan, &list), Vec::new()).fact("columns", columns);
        };
        let all = table.schema.fields().len();
        let of = if columns.len() == all { String::new() } else { format!(" ({} of {all} columns)", columns.len()) };
        let step = Step::new("read", "", Vec::new()).fact("table", &*table.name);
        let (text, step) = if is_topic(&table) {
            let format = table.format.name();
            let over = if table.name == table.topic { String::new() } else { format!("table \"{}\" over ", table.name) };
            let mut text = format!("{over}topic \"{}\"", table.topic);
            let mut step = step.fact("topic", &*table.topic);
            if let Some(count) = self.facts.partitions.get(&*table.topic) {
                text.push_str(&format!(", {count} partition{}", if *count == 1 { "" } else { "s" }));
                step = step.fact("partitions", *count);
            }
            (format!("{text}, {format}; decodes {list}{of}"), step.fact("format", format))
        } else if let Some(path) = table.topic.strip_prefix("file:") {
            (format!("table \"{}\" over file \"{path}\"; reads {list}{of}", table.name), step.fact("path", path))
        } else {
            (format!("table \"{}\", a generator; makes {list}{of}", table.name), step)
        };
        Step { text, ..step.fact("columns", columns) }
    }
}

/// A count of nanoseconds for people.
fn nanoseconds(count: f64) -> String {
    match count {
        n if n < 100.0 => format!("{n:.0} ns"),
        n if n < 1e5 => format!("{:.2} µs", n / 1e3),
        n => format!("{:.2} ms", n / 1e6),
    }
}

/// The columns that a projection computes, or gives at the top; one that only picks columns says nothing, for the scan has
/// only those that are needed.
fn projected(projection: &ProjectionExec, top: bool, names: &mut Names) -> Option<Vec<String>> {
    let mut made = Names::new();
    let mut columns = Vec::new();
    let mut computes = top;
    for column in projection.expr() {
        let text = sql(&column.expr, names);
        let is_column = column.expr.downcast_ref::<Column>().is_some_and(|c| c.name() == column.alias);
        computes |= !is_column;
        if is_column && names.contains_key(&column.alias) {
            made.insert(column.alias.clone(), text.clone());
        }
        columns.push(if text == column.alias || !top && is_column { text } else { format!("{text} AS {}", column.alias) });
    }
    *names = made;
    computes.then_some(columns)
}

/// Operators of DataFusion's own, said in SQL's words as far as they are known here.
fn other(plan: &Arc<dyn ExecutionPlan>, names: &Names, inputs: Vec<Step>) -> Step {
    if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        let keys: Vec<String> = aggregate.group_expr().expr().iter().map(|(_, name)| written(name, names)).collect();
        let calls: Vec<String> = aggregate.aggr_expr().iter().map(|call| plain(&written(call.name(), names))).collect();
        let by = if keys.is_empty() { "all rows".to_owned() } else { format!("by {}", keys.join(", ")) };
        let of = if calls.is_empty() { String::new() } else { format!(": {}", calls.join(", ")) };
        return Step::new("aggregate", format!("{by}{of}"), inputs).fact("by", keys).fact("calls", calls);
    }
    if let Some(sort) = plan.downcast_ref::<SortExec>() {
        let keys: Vec<String> = sort.expr().iter().map(|key| plain(&without_indices(&key.to_string()))).collect();
        let first = sort.fetch().map_or(String::new(), |n| format!(", the first {n}"));
        return Step::new("sort", format!("{}{first}", written(&keys.join(", "), names)), inputs).fact("by", keys);
    }
    if let Some(limit) = plan.downcast_ref::<GlobalLimitExec>() {
        let most = limit.fetch().map_or("all rows".to_owned(), |n| format!("{n} row{}", if n == 1 { "" } else { "s" }));
        let skip = if limit.skip() == 0 { String::new() } else { format!(", behind the first {}", limit.skip()) };
        return Step::new("limit", format!("{most}{skip}"), inputs)
            .fact("rows_at_most", limit.fetch())
            .fact("skip", limit.skip());
    }
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        let on: Vec<String> = join.on().iter().map(|(l, r)| format!("{} = {}", sql(l, names), sql(r, names))).collect();
        let kind = join.join_type().to_string();
        return Step::new("join", format!("{} on {}", kind.to_lowercase(), on.join(" AND ")), inputs)
            .fact("kind", kind)
            .fact("on", on);
    }
    let name = plan.name().trim_end_matches("Exec").to_lowercase();
    let text = without_indices(&one_line(plan));
    Step::new(&name, text.split_once(": ").map_or("", |(_, rest)| rest), inputs)
}

/// `count(Int64(1))`, as DataFusion calls it, as it was written.
fn plain(text: &str) -> String {
    sql_types(text).replace("count(1)", "count(*)")
}

/// `amount@2 DESC` without the place of the column.
fn without_indices(text: &str) -> String {
    let mut parts = text.split('@');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.trim_start_matches(|c: char| c.is_ascii_digit()))
}

/// A leaf that is none of ours.
fn unknown_leaf(plan: &Arc<dyn ExecutionPlan>, columns: &str) -> String {
    match plan.name() {
        "PlaceholderRowExec" => "one row, from no table".to_owned(),
        "EmptyExec" => "nothing: a condition is never true".to_owned(),
        "DataSourceExec" if one_line(plan).contains("file_type=parquet") => format!("Parquet files; decodes {columns}"),
        "DataSourceExec" => format!("rows at hand: {columns}"),
        _ => one_line(plan),
    }
}

/// The table that a leaf of ours reads.
fn leaf_table(plan: &Arc<dyn ExecutionPlan>) -> Option<Arc<TopicTable>> {
    let bounded = plan.downcast_ref::<BoundedScanExec>().map(|scan| Arc::clone(scan.table()));
    bounded.or_else(|| plan.downcast_ref::<EpochScanExec>().map(|scan| scan.input().table()))
}

/// Whether a table's rows come from a topic: names of topics have no colon.
fn is_topic(table: &TopicTable) -> bool {
    !table.topic.contains(':')
}

/// Nodes that move rows and do not change them, and those whose other half has the line.
fn is_plumbing(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let half =
        plan.downcast_ref::<AggregateExec>().is_some_and(|aggregate| matches!(aggregate.mode(), AggregateMode::Partial));
    let moves = matches!(
        plan.name(),
        "CoalescePartitionsExec" | "CooperativeExec" | "RepartitionExec" | "SortPreservingMergeExec" | "LocalLimitExec"
    );
    half || moves
}

/// What a model's name means now; `None` if the rows name it.
fn resolution(score: &ScoreExec, model: &Arc<dyn PhysicalExpr>) -> Option<(String, Resolution)> {
    let name = model.downcast_ref::<Literal>()?.value().try_as_str().flatten()?.to_owned();
    let resolution = score.config().cell.get().models.resolve(&name);
    Some((name, resolution))
}

/// An expression as SQL, with calls in the place of the columns that they became.
fn sql(expr: &Arc<dyn PhysicalExpr>, names: &Names) -> String {
    let text = literals(expr).unwrap_or_else(|| plain(&fmt_sql(expr.as_ref()).to_string()));
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
