//! EXPLAIN: a statement's plan as it runs, per epoch if it goes on.   plan + broker + models ─► steps ─► rows, or JSON
//!
//! The heading says why the statement ends, follows or runs; then come the steps in the order in which a row meets them. The
//! cost of a row is measured while EXPLAIN runs, with the model that would score now, on made-up rows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::physical_plan::{displayable, execute_stream};
use futures::TryStreamExt;
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::model::LiveModel;
use crate::model::inspect::rows_per_second;
use crate::sql::options::KafkaOptions;
use crate::sql::plan::explain::{Facts, Step, explain, models_in, scans_in, topics_in};
use crate::sql::settings::Missing;
use crate::sql::{Explaining, Statement, TableOptions};

use super::plan::{Mode, Planned};
use super::query::{LeftOutNotice, Rows};
use super::session::{Session, UntilEnd};
use super::tables::existing;

/// So many rows are in a batch that costs are measured with, and so long it takes.
const BATCH: usize = 1_024;
const MEASURING: Duration = Duration::from_millis(20);
/// A model that scores fewer rows in a second, one by one, is measured with single rows.
const SLOW: f64 = 10_000.0;

/// What a statement does with its rows, and until when.
struct Heading {
    kind: &'static str,
    text: String,
    /// What is written, if it is known before the job runs.
    target: Option<(String, Option<KafkaOptions>)>,
}

impl Session {
    pub(super) async fn explain(&mut self, statement: &Statement, how: Explaining) -> Result<Rows> {
        let mode = match statement {
            Statement::Query { emit: None, .. } => Mode::Answer,
            Statement::Query { emit: Some(_), .. } => Mode::Follow,
            _ => Mode::Job,
        };
        if how.analyze && mode != Mode::Answer {
            return Err(
                Error::user("EXPLAIN ANALYZE runs the statement, and this one does not end").hint("Leave out ANALYZE.")
            );
        }
        let (planned, runs) = self.plan_for(statement, mode).await?;
        let heading = self.heading(statement, runs)?;
        let facts = self.facts(&planned, mode == Mode::Job).await?;
        let ran = if how.analyze { Some(run(&planned, self).await?) } else { None };
        let mut root = explain(&planned.physical, &facts);
        if let Some((name, options)) = &heading.target {
            root = write(root, name, options.as_ref());
        }
        let plans = if how.verbose { plans(&planned, how.analyze) } else { Vec::new() };
        if how.json { as_json(&heading, &root, ran, &plans) } else { as_table(&heading, &root, ran, plans) }
    }

    /// The plan as it would run, and whether it would run as a job.
    async fn plan_for(&mut self, statement: &Statement, mode: Mode) -> Result<(Planned, bool)> {
        let draft = match statement {
            Statement::Query { query, .. } => self.draft(query, mode).await?,
            Statement::Insert { target, columns, query, .. } => self.insert_draft(target, columns, query).await?.1,
            Statement::CreateTable { definition, if_not_exists, or_replace, query: Some(query) } => {
                self.taken(&definition.name, *if_not_exists, *or_replace)?;
                self.create_draft((**definition).clone(), query).await?.1
            }
            _ => return Err(Error::user("there is no plan to explain: the statement has no query")),
        };
        let runs = mode == Mode::Job && draft.reads_streams();
        Ok((self.finish(draft).await?, runs))
    }

    fn heading(&self, statement: &Statement, runs: bool) -> Result<Heading> {
        let (name, options) = match statement {
            Statement::Query { emit: None, .. } => {
                let text = "answers and ends: topics are read to their present ends".to_owned();
                return Ok(Heading { kind: "answers", text, target: None });
            }
            Statement::Query { emit: Some(emit), .. } => {
                let limit = emit.limit.map_or(String::new(), |n| format!(" or {n} rows"));
                let text = format!("follows, epoch by epoch, until Ctrl-C{limit}");
                return Ok(Heading { kind: "follows", text, target: None });
            }
            Statement::Insert { target, .. } => {
                let table = self.table(&target.text)?;
                (table.definition.name.clone(), table.kafka().cloned())
            }
            Statement::CreateTable { definition, .. } => {
                let options = match TableOptions::read(definition) {
                    Ok(TableOptions::Kafka(kafka)) => Some(*kafka),
                    _ => None,
                };
                (definition.name.clone(), options)
            }
            _ => return Err(Error::internal("a statement without a query was explained")),
        };
        let (kind, text) = match (runs, self.until_end) {
            (false, _) => ("writes", format!("writes to table \"{name}\" and ends: it reads no topic")),
            (true, UntilEnd::No) => {
                ("runs", format!("runs as a job, epoch by epoch, into table \"{name}\", until it is stopped"))
            }
            (true, _) => {
                ("runs", format!("runs as a job, epoch by epoch, into table \"{name}\", to the present ends of its inputs"))
            }
        };
        Ok(Heading { kind, text, target: Some((name, options)) })
    }

    /// What the plan cannot tell: partitions of topics, costs of models.
    async fn facts(&self, planned: &Planned, job: bool) -> Result<Facts> {
        let plan = &planned.physical;
        let missing = self.settings().score_missing;
        let waits = missing == Some(Missing::Wait) || (missing.is_none() && job && self.until_end == UntilEnd::No);
        let (names, scans) = (planned.names.clone(), scans_in(&planned.logical));
        let mut facts = Facts { waits, names, scans, ..Facts::default() };
        for topic in topics_in(plan) {
            let found = existing(self.engine().broker(), &topic).await?;
            facts.partitions.insert(found.name.to_string(), found.partitions);
        }
        let models = models_in(plan);
        let measured =
            tokio::task::spawn_blocking(move || models.iter().filter_map(|model| cost(model)).collect::<Vec<_>>());
        facts.costs.extend(measured.await.map_err(|e| Error::internal(format!("measuring broke off: {e}")))?);
        Ok(facts)
    }
}

/// What a row costs, in nanoseconds; `None` for a model that fails on made-up rows.
fn cost(model: &LiveModel) -> Option<((Arc<str>, u64), f64)> {
    // A large model would make people wait for a whole batch, and gains little by it.
    let alone = rows_per_second(&model.loaded, 1, Duration::from_millis(1)).ok()?;
    let speed = if alone < SLOW { alone } else { rows_per_second(&model.loaded, BATCH, MEASURING).ok()? };
    Some(((Arc::clone(&model.name), model.version), 1e9 / speed))
}

/// Runs an answer and lets its rows go: their number, and how long it took.
async fn run(planned: &Planned, session: &Session) -> Result<(u64, Duration)> {
    let began = Instant::now();
    let mut rows = 0;
    let mut stream = execute_stream(Arc::clone(&planned.physical), planned.state.task_ctx())?;
    while let Some(batch) = stream.try_next().await? {
        rows += batch.num_rows() as u64;
    }
    LeftOutNotice { left_out: planned.left_out.clone(), notices: session.engine().notices().clone() }.tell();
    Ok((rows, began.elapsed()))
}

/// The step behind the last one: where the rows go.
fn write(root: Step, table: &str, options: Option<&KafkaOptions>) -> Step {
    let mut facts = Map::from_iter([("table".to_owned(), json!(table))]);
    let text = match options {
        Some(kafka) => {
            facts.insert("topic".to_owned(), json!(kafka.topic));
            facts.insert("format".to_owned(), json!(kafka.format));
            let key =
                if kafka.key_columns.is_empty() { String::new() } else { format!(", key {}", kafka.key_columns.join(", ")) };
            let over = if kafka.topic == table { String::new() } else { format!("table \"{table}\" over ") };
            format!("{over}topic \"{}\", {}{key}", kafka.topic, kafka.format)
        }
        None => format!("table \"{table}\""),
    };
    Step { facts, ..Step::new("write", text, vec![root]) }
}

/// DataFusion's own plans.
fn plans(planned: &Planned, ran: bool) -> Vec<(String, String)> {
    let physical = if ran {
        DisplayableExecutionPlan::with_metrics(planned.physical.as_ref()).indent(true).to_string()
    } else {
        displayable(planned.physical.as_ref()).indent(true).to_string()
    };
    let logical = planned.logical.display_indent().to_string();
    vec![("logical".to_owned(), logical.trim_end().to_owned()), ("plan".to_owned(), physical.trim_end().to_owned())]
}

fn as_json(heading: &Heading, root: &Step, ran: Option<(u64, Duration)>, plans: &[(String, String)]) -> Result<Rows> {
    let mut object = Map::from_iter([
        ("statement".to_owned(), json!(heading.kind)),
        ("text".to_owned(), json!(heading.text)),
        ("plan".to_owned(), root.json()),
    ]);
    if let Some((rows, time)) = ran {
        object.insert("rows".to_owned(), json!(rows));
        object.insert("time_ms".to_owned(), json!((time.as_secs_f64() * 1e6).round() / 1e3));
    }
    object.extend(plans.iter().map(|(name, text)| (format!("datafusion_{name}"), json!(text))));
    rows(vec![("plan", Arc::new(StringArray::from(vec![Value::Object(object).to_string()])))])
}

fn as_table(heading: &Heading, root: &Step, ran: Option<(u64, Duration)>, plans: Vec<(String, String)>) -> Result<Rows> {
    let mut steps = vec!["statement".to_owned()];
    let mut texts = vec![heading.text.clone()];
    let mut counts = vec![ran.map(|(rows, _)| rows)];
    let mut times = vec![ran.map(|(_, time)| milliseconds(time))];
    for step in root.in_order() {
        steps.push(step.name.clone());
        texts.push(step.text.clone());
        counts.push(step.rows);
        times.push(step.time.map(milliseconds));
    }
    for (name, text) in plans {
        steps.push(name);
        texts.push(text);
        counts.push(None);
        times.push(None);
    }
    let mut columns: Vec<(&str, ArrayRef)> =
        vec![("step", Arc::new(StringArray::from(steps))), ("plan", Arc::new(StringArray::from(texts)))];
    if ran.is_some() {
        columns.push(("rows", Arc::new(UInt64Array::from(counts))));
        columns.push(("time", Arc::new(StringArray::from(times))));
    }
    rows(columns)
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

fn rows(columns: Vec<(&str, ArrayRef)>) -> Result<Rows> {
    let nullable = |name: &str| matches!(name, "rows" | "time");
    let fields = columns.iter().map(|(name, array)| Field::new(*name, DataType::clone(array.data_type()), nullable(name)));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let batch = RecordBatch::try_new(schema, columns.into_iter().map(|(_, array)| array).collect());
    Ok(Rows::of(batch.map_err(|e| Error::internal(e.to_string()))?))
}
