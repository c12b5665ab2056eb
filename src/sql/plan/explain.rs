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
//! What an operator counted while it ran goes with its step; operators without a line add their time to the next one. Beside
//! the steps go the columns' [`Title`]s: what people call the columns, which the plan knows by their places only.

mod operators;
mod render;
mod scans;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::DataType;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::scalar_subquery::ScalarSubqueryExpr;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::scalar_subquery::ScalarSubqueryExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{ExecutionPlan, displayable};
use serde_json::{Map, Value, json};

pub use self::scans::{Scan, scans_in};

use self::operators::{Said, Told, aggregate_calls, group_titles, limited, projected, said};
use self::render::{Scope, Subquery, Title};
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
    /// The names of the columns that come out, for people; those of the plan where they are missing.
    pub names: Vec<String>,
    /// The tables that are read, under the names that the query gives them: [`scans_in`].
    pub scans: Vec<Scan>,
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
    let scans = facts.scans.clone();
    let mut walk = Walk { facts, scans, hidden: Duration::ZERO, subqueries: Vec::new(), calls: None };
    let (mut steps, titles) = walk.steps(plan, true);
    let spare = walk.hidden;
    let mut root = match steps.pop() {
        Some(mut root) if root.name == "output" => {
            root.inputs.splice(0..0, steps);
            root
        }
        last => {
            steps.extend(last);
            let fields: Vec<String> = output(plan, &titles, &facts.names);
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

/// The columns that come out of `plan` as they are.
fn output(plan: &Arc<dyn ExecutionPlan>, titles: &[Title], names: &[String]) -> Vec<String> {
    let scope = Scope { titles, among: titles, qualified: false, subqueries: &[] };
    let schema = plan.schema();
    let texts = schema.fields().iter().enumerate().map(|(at, field)| {
        let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(field.name(), at));
        let text = scope.sql(&column);
        let name = names.get(at).unwrap_or(field.name());
        let same = text == *name || titles.get(at).is_some_and(|title| title.text == *name);
        // Without names, a column is called after what it is.
        if same || names.is_empty() { text } else { format!("{text} AS {name}") }
    });
    texts.collect()
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

struct Walk<'a> {
    facts: &'a Facts,
    /// The tables whose leaves have not been met.
    scans: Vec<Scan>,
    /// The time of operators without a line that have run since the last step.
    hidden: Duration,
    subqueries: Vec<Subquery>,
    /// The calls of the half of an aggregate that sees the rows, for the other half.
    calls: Option<Vec<String>>,
}

/// The steps that rows have behind them: one, unless a union or a join follows; and the columns that the rows then have.
type Way = (Vec<Step>, Vec<Title>);

impl Walk<'_> {
    fn steps(&mut self, plan: &Arc<dyn ExecutionPlan>, top: bool) -> Way {
        if let Some(values) = plan.downcast_ref::<ScalarSubqueryExec>() {
            return self.with_subqueries(values, top);
        }
        let limit = limit_of(plan);
        let passes = limit.is_none() && is_plumbing(plan);
        let (mut inputs, mut given) = (Vec::new(), Vec::new());
        for child in plan.children() {
            let (steps, titles) = self.steps(child, top && passes);
            inputs.extend(steps);
            given.push(titles);
        }
        let (calls, subqueries) = (self.calls.take(), self.subqueries.clone());
        let told = Told { plan, given: &given, subqueries: &subqueries, calls };
        let scope = told.scope();
        let (step, titles) = if let Some(score) = plan.downcast_ref::<ScoreExec>() {
            let (step, made) = self.score(score, &scope, inputs);
            let titles = scope.titles.iter().cloned().chain(made).collect();
            let Some(step) = step else { return (Vec::new(), titles) };
            (step, titles)
        } else if let Some(filter) = plan.downcast_ref::<FilterExec>() {
            let condition = scope.sql(filter.predicate());
            let first = filter.fetch().map_or(String::new(), |n| format!(", the first {n}"));
            let kept = filter.projection().as_deref();
            let titles = match kept {
                Some(kept) => kept.iter().filter_map(|&at| scope.titles.get(at).cloned()).collect(),
                None => scope.titles.to_vec(),
            };
            (Step::new("filter", format!("{condition}{first}"), inputs).fact("condition", condition), titles)
        } else if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
            match projected(projection, top.then_some(self.facts.names.as_slice()), &scope) {
                (Some(columns), titles) => {
                    let name = if top { "output" } else { "project" };
                    (Step::new(name, columns.join(", "), inputs).fact("columns", columns), titles)
                }
                (None, titles) => return (self.pass(plan, inputs), fitting(plan, titles)),
            }
        } else if plan.children().is_empty() {
            self.read(plan)
        } else if let Some(most) = limit {
            (limited(Some(most), 0, inputs), scope.titles.to_vec())
        } else if let (Some(aggregate), true) = (plan.downcast_ref::<AggregateExec>(), passes) {
            let calls = aggregate_calls(aggregate, &scope);
            let titles = group_titles(aggregate, &scope);
            self.calls = Some(calls);
            return (self.pass(plan, inputs), padded(plan, titles));
        } else if passes {
            let titles = fitting(plan, scope.titles.to_vec());
            // What is between the halves of an aggregate hands its calls on.
            self.calls = told.calls;
            return (self.pass(plan, inputs), titles);
        } else {
            let Said { step, titles } = said(&told, inputs);
            (step, titles)
        };
        let mut step = step;
        let metrics = plan.metrics().unwrap_or_default();
        // The kernel is what works, the score is what counts.
        let by_kernel = step.name == "kernel" && !step.inputs.is_empty();
        let counted = if by_kernel { &mut step.inputs[0] } else { &mut step };
        counted.rows = metrics.output_rows().map(|rows| rows as u64);
        counted.time =
            metrics.elapsed_compute().map(|ns| Duration::from_nanos(ns as u64) + std::mem::take(&mut self.hidden));
        (vec![step], fitting(plan, titles))
    }

    /// Subqueries that are values are computed first; then the rows go their way.
    fn with_subqueries(&mut self, values: &ScalarSubqueryExec, top: bool) -> Way {
        let mut steps = Vec::new();
        for link in values.subqueries() {
            let (inputs, titles) = self.steps(&link.plan, false);
            let gives = titles.into_iter().next().map_or_else(|| "a value".to_owned(), |t| t.made_of.unwrap_or(t.text));
            let mut step = Step::new("subquery", format!("one value: {gives}"), inputs).fact("value", gives.as_str());
            step.rows = step.inputs.last().and_then(|input| input.rows);
            steps.push(step);
            // Equal to the expressions that stand for it: they are told apart by their place in the results.
            let place = ScalarSubqueryExpr::new(DataType::Null, true, link.index, values.results().clone());
            self.subqueries.push((Arc::new(place), gives));
        }
        let (rows, titles) = self.steps(values.input(), top);
        steps.extend(rows);
        (steps, titles)
    }

    /// An operator without a line; its time is the next one's. One that ends a sort over several streams has the rows of it.
    fn pass(&mut self, plan: &Arc<dyn ExecutionPlan>, mut inputs: Vec<Step>) -> Vec<Step> {
        let metrics = plan.metrics().unwrap_or_default();
        self.hidden += Duration::from_nanos(metrics.elapsed_compute().unwrap_or(0) as u64);
        if let (Some(_), Some(rows), [step]) = (plan.fetch(), metrics.output_rows(), inputs.as_mut_slice()) {
            sorted(step, rows as u64);
        }
        inputs
    }

    fn score(&self, score: &ScoreExec, scope: &Scope, mut inputs: Vec<Step>) -> (Option<Step>, Vec<Title>) {
        let (mut last, mut made) = (None, Vec::new());
        for call in score.calls() {
            let text = format!("{}({})", call.function.name(), scope.list([&call.model].into_iter().chain(&call.features)));
            inputs.extend(last.take());
            let step = Step::new("score", "", std::mem::take(&mut inputs)).fact("call", text.as_str());
            last = Some(self.by(step, &text, score, &call.model));
            made.push(Title::whole(&call.column, text));
        }
        (last, made)
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

    fn read(&mut self, plan: &Arc<dyn ExecutionPlan>) -> (Step, Vec<Title>) {
        let columns: Vec<String> = plan.schema().fields().iter().map(|c| c.name().clone()).collect();
        let list = if columns.is_empty() { "no column".to_owned() } else { columns.join(", ") };
        let read = leaf_table(plan);
        let table = scans::take(&mut self.scans, read.as_deref(), &columns);
        let titles = columns.iter().map(|name| Title::column(name, table.clone())).collect();
        let Some(table) = read else {
            return (Step::new("read", unknown_leaf(plan, &list), Vec::new()).fact("columns", columns), titles);
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
        (Step { text, ..step.fact("columns", columns) }, titles)
    }
}

/// `titles` under the names that the columns of `plan` have; those names, if the titles are not of these columns.
fn fitting(plan: &Arc<dyn ExecutionPlan>, titles: Vec<Title>) -> Vec<Title> {
    let schema = plan.schema();
    let fields = schema.fields().iter().map(|field| field.name());
    if titles.len() == schema.fields().len() {
        fields.zip(titles).map(|(name, title)| title.known_as(name)).collect()
    } else {
        fields.map(|name| Title::column(name, None)).collect()
    }
}

/// The groups of the first half of an aggregate; behind them stands what no query names.
fn padded(plan: &Arc<dyn ExecutionPlan>, mut titles: Vec<Title>) -> Vec<Title> {
    let schema = plan.schema();
    let rest = schema.fields().iter().skip(titles.len()).map(|field| Title::column(field.name(), None));
    titles.extend(rest);
    fitting(plan, titles)
}

/// How many rows an operator without a line lets through, unless that is said by the sort below it.
fn limit_of(plan: &Arc<dyn ExecutionPlan>) -> Option<usize> {
    let joins_streams = matches!(plan.name(), "CoalescePartitionsExec" | "SortPreservingMergeExec");
    let most = plan.fetch().filter(|_| joins_streams)?;
    let mut below = plan.children();
    while let [child] = below[..] {
        if let Some(sort) = child.downcast_ref::<SortExec>() {
            return (sort.fetch() != Some(most)).then_some(most);
        }
        let keeps = child.downcast_ref::<ProjectionExec>().is_some()
            || child.downcast_ref::<ScoreExec>().is_some()
            || is_plumbing(child) && child.downcast_ref::<AggregateExec>().is_none();
        if !keeps {
            break;
        }
        below = child.children();
    }
    Some(most)
}

/// Each stream sorts its own rows and keeps the first few of them; where the streams come together, fewer are left.
fn sorted(step: &mut Step, rows: u64) {
    if step.rows.is_some() {
        step.rows = Some(rows);
    }
    if matches!(step.name.as_str(), "output" | "project" | "score" | "kernel")
        && let [input] = step.inputs.as_mut_slice()
    {
        sorted(input, rows);
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

/// A leaf that is none of ours.
fn unknown_leaf(plan: &Arc<dyn ExecutionPlan>, columns: &str) -> String {
    match plan.name() {
        "PlaceholderRowExec" => "one row, from no table".to_owned(),
        "EmptyExec" => "nothing: a condition is never true".to_owned(),
        "DataSourceExec" if one_line(plan).contains("file_type=parquet") => format!("Parquet files; decodes {columns}"),
        "DataSourceExec" => format!("rows at hand: {columns}"),
        "LazyMemoryExec" => format!("rows made by a function: {columns}"),
        "WorkTableExec" => "the rows that the recursion gave last".to_owned(),
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

fn one_line(plan: &Arc<dyn ExecutionPlan>) -> String {
    displayable(plan.as_ref()).one_line().to_string().trim().to_owned()
}
