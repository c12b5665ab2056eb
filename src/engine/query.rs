//! Queries that give rows: answers that end, and followers.
//!
//! Dropping the [`Rows`] of a follower stops it.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::{ExecutionPlan, displayable, execute_stream};
use futures::stream::{BoxStream, Stream, StreamExt};
use sqlparser::ast;
use tokio::sync::{mpsc, watch};

use crate::connector::OffsetAt;
use crate::error::{Error, Position, Result};
use crate::metrics::JobMetrics;
use crate::model::UseGuard;
use crate::sql::Emit;
use crate::sql::settings::OnError;
use crate::stream::driver::Driver;
use crate::stream::lane::Policy;
use crate::stream::scan::LeftOut;
use crate::stream::table::BadRecords;

use super::job::Reporter;
use super::notices::Notices;
use super::place::placed;
use super::plan::Mode;
use super::presence;
use super::run::{Inputs, lane_count, lanes, share_budget};
use super::session::Session;

/// Rows of a query, as they come.
pub struct Rows {
    /// Their columns, with the names that people see; two may be equal.
    pub schema: SchemaRef,
    /// Whether they go on until someone hangs up.
    pub follows: bool,
    /// What its scans have read so far.
    scans: Vec<Arc<LeftOut>>,
    /// Its scans of Parquet files, which DataFusion counts itself.
    parquet: Vec<Arc<dyn ExecutionPlan>>,
    stream: BoxStream<'static, Result<RecordBatch>>,
}

impl Rows {
    /// Rows that are at hand.
    #[must_use]
    pub fn of(batch: RecordBatch) -> Self {
        Self {
            schema: batch.schema(),
            follows: false,
            scans: Vec::new(),
            parquet: Vec::new(),
            stream: futures::stream::iter([Ok(batch)]).boxed(),
        }
    }
    /// The same rows; an error among them is said at its place in `statement`, if it has one: a record's error is the record's.
    pub(super) fn placed(mut self, statement: &Position) -> Self {
        let statement = statement.clone();
        let at_its_place = move |error: Error| {
            let found = placed(error.clone(), &statement);
            if found.position() == Some(&statement) { error } else { found }
        };
        self.stream = self.stream.map(move |batch| batch.map_err(&at_its_place)).boxed();
        self
    }
    /// How far the tables of an answer have been read: rows, and how much of how much (positions of topics, bytes of lines,
    /// rows of Parquet) where the ends are known. `None` if it reads none.
    #[must_use]
    pub fn progress(&self) -> Option<(u64, Option<(u64, u64)>)> {
        let scans = self.scans.iter().map(|scan| (scan.progress().rows(), scan.progress().positions()));
        let parquet = self.parquet.iter().map(|scan| {
            let rows = scan.metrics().and_then(|metrics| metrics.output_rows()).unwrap_or(0);
            let known = StatisticsContext::new().compute(scan.as_ref(), &StatisticsArgs::new()).ok();
            let all = known.and_then(|known| known.num_rows.get_value().copied());
            (rows as u64, all.filter(|all| *all > 0).map(|all| (rows.min(all) as u64, all as u64)))
        });
        let add = |(rows, part): (u64, Option<(u64, u64)>), (more, its): (u64, Option<(u64, u64)>)| {
            (rows + more, part.zip(its).map(|(part, its)| (part.0 + its.0, part.1 + its.1)))
        };
        let (rows, part) = scans.chain(parquet).fold((0, Some((0, 0))), add);
        (!self.scans.is_empty() || !self.parquet.is_empty()).then_some((rows, part))
    }
    /// All of them, in batches.
    ///
    /// # Errors
    /// The first error of the query.
    pub async fn collect(mut self) -> Result<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        while let Some(batch) = self.next().await {
            batches.push(batch?);
        }
        Ok(batches)
    }
}

impl Stream for Rows {
    type Item = Result<RecordBatch>;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.stream.poll_next_unpin(cx)
    }
}

/// `schema` under the names that people see.
pub(super) fn visible(schema: &Schema, names: &[String]) -> SchemaRef {
    let fields = schema.fields().iter().enumerate().map(|(i, field)| {
        let name = names.get(i).map_or(field.name().as_str(), String::as_str);
        field.as_ref().clone().with_name(name)
    });
    Arc::new(Schema::new(fields.collect::<Vec<Field>>()))
}

/// `batch` under the names that people see. The names inside the plan differ where two columns are called alike.
fn renamed(batch: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let wrong = |_| Error::internal("the query's columns are not those that were planned");
    let own = batch.schema();
    let named = own.fields().iter().zip(schema.fields()).map(|(own, seen)| own.as_ref().clone().with_name(seen.name()));
    let named = Arc::new(Schema::new_with_metadata(named.collect::<Vec<Field>>(), own.metadata().clone()));
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let batch = RecordBatch::try_new_with_options(named, batch.columns().to_vec(), &options).map_err(wrong)?;
    batch.with_schema(Arc::clone(schema)).map_err(wrong)
}

impl Session {
    /// A plain SELECT.
    pub(super) async fn answer(&mut self, query: &ast::Query) -> Result<Rows> {
        let draft = self.draft(query, Mode::Answer).await?;
        let compared = super::casts::compared(&draft.logical);
        let planned = self.finish(draft).await?;
        let schema = visible(&planned.physical.schema(), &planned.names);
        let context = planned.state.task_ctx();
        let parquet = parquet_scans(&planned.physical);
        let stream = execute_stream(planned.physical, context)?;
        let out = Arc::clone(&schema);
        let rows = stream.map(move |batch: Result<RecordBatch, DataFusionError>| {
            let batch = batch.map_err(|error| super::casts::explained(Error::from(error), &compared))?;
            renamed(batch, &out)
        });
        let scans = planned.left_out.clone();
        let end = LeftOutNotice { left_out: planned.left_out, notices: self.engine().notices().clone() };
        let rows = rows.chain(futures::stream::once(async move { end.tell() }).filter_map(|()| async { None }));
        Ok(Rows { schema, follows: false, scans, parquet, stream: rows.boxed() })
    }

    /// `SELECT ... EMIT CHANGES`.
    pub(super) async fn follow(&mut self, query: &ast::Query, emit: Emit) -> Result<Rows> {
        let draft = self.draft(query, Mode::Follow).await?;
        if !draft.reads_streams() {
            return Err(
                Error::user("EMIT CHANGES follows a topic, and the query reads none").hint("Leave out EMIT CHANGES.")
            );
        }
        let planned = self.finish(draft).await?;
        let schema = visible(&planned.physical.schema(), &planned.names);
        let settings = self.settings().clone();
        let inputs = Inputs {
            tables: planned.tables.clone(),
            group: None,
            unset: OffsetAt::Latest,
            until_end: false,
            ends: Vec::new(),
            begins: Vec::new(),
            budget: share_budget(settings.memory_budget, 0).0,
            notices: self.engine().notices().clone(),
        };
        let opened = inputs.open(self.engine().broker()).await?;
        for (topic, begins) in &opened.begins {
            let list: Vec<String> = begins.iter().enumerate().map(|(p, offset)| format!("{p}={offset}")).collect();
            self.engine().notices().info(format!("following {topic} from {}", list.join(",")));
        }
        let count = lane_count(opened.partitions);
        let (_, limit, pending_bytes) = share_budget(settings.memory_budget, settings.epoch_max_rows);
        let context: Arc<TaskContext> = planned.state.task_ctx();
        let score_errors = if settings.score_on_error == OnError::Fail { BadRecords::Fail } else { BadRecords::Skip };
        let function_errors = if settings.udf_on_error == OnError::Fail { BadRecords::Fail } else { BadRecords::Skip };
        let policy = Policy { job: "".into(), dead_letters: None, largest_letter: 0, score_errors, function_errors };
        let lanes = lanes(count, &planned.physical, &planned.leaves, &context, None, &policy)?;
        let (follower, rows) = mpsc::channel(16);
        let (stop, stopped) = watch::channel(false);
        let driver = Driver {
            lanes,
            inputs: opened.inputs,
            sink: None,
            follower: Some(follower),
            registry: planned.registry,
            cell: planned.cell,
            metrics: Arc::new(JobMetrics::default()),
            needs: BTreeSet::new(),
            fingerprint: String::new(),
            limit,
            pending_bytes,
            stop: stopped,
            observer: Arc::new(Reporter {
                job: None,
                starts: Vec::new(),
                notices: self.engine().notices().clone(),
                hook: self.hook.clone(),
            }),
        };
        let task = tokio::spawn(driver.run());
        let watched = opened.begins.first().map(|(topic, _)| topic);
        let watching = watched.map(|topic| presence::watching(self.engine().broker(), topic, self.engine().notices()));
        let following = Following {
            rows,
            task: Some(task),
            _stop: StopOnDrop(stop),
            _uses: planned.uses,
            _watching: watching,
            left: emit.limit,
        };
        let out = Arc::clone(&schema);
        let stream = futures::stream::try_unfold(following, Following::next).map(move |batch| renamed(batch?, &out));
        Ok(Rows { schema, follows: true, scans: Vec::new(), parquet: Vec::new(), stream: stream.boxed() })
    }
}

/// The scans of Parquet files in a plan.
fn parquet_scans(plan: &Arc<dyn ExecutionPlan>) -> Vec<Arc<dyn ExecutionPlan>> {
    if plan.name() == "DataSourceExec" && displayable(plan.as_ref()).one_line().to_string().contains("file_type=parquet") {
        return vec![Arc::clone(plan)];
    }
    plan.children().into_iter().flat_map(parquet_scans).collect()
}

/// A follower's rows, and the task that makes them.
struct Following {
    rows: mpsc::Receiver<RecordBatch>,
    task: Option<tokio::task::JoinHandle<Result<crate::stream::driver::End>>>,
    _stop: StopOnDrop,
    /// The query's say over which versions may go live.
    _uses: Vec<UseGuard>,
    /// Who tells when the broker is away.
    _watching: Option<presence::Watching>,
    left: Option<u64>,
}

struct StopOnDrop(watch::Sender<bool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

impl Following {
    /// The next rows; at the end of the task its error, if that is how it ended.
    async fn next(mut self) -> Result<Option<(RecordBatch, Self)>> {
        if self.left == Some(0) {
            return Ok(None);
        }
        let Some(mut batch) = self.rows.recv().await else {
            return match self.task.take() {
                Some(task) => {
                    task.await.map_err(|e| Error::internal(format!("the query ended early: {e}")))??;
                    Ok(None)
                }
                None => Ok(None),
            };
        };
        if let Some(left) = &mut self.left {
            let rows = usize::try_from(*left).unwrap_or(usize::MAX).min(batch.num_rows());
            batch = batch.slice(0, rows);
            *left -= rows as u64;
        }
        Ok(Some((batch, self)))
    }
}

/// `3 of 200 records (1.5 %)`, if that is more than one in a hundred.
pub(super) fn too_many(bad: u64, all: u64) -> Option<String> {
    let part = bad as f64 / all.max(1) as f64;
    let s = if all == 1 { "" } else { "s" };
    (part > 0.01).then(|| format!("{bad} of {all} record{s} ({} %)", (part * 1e3).round() / 10.0))
}

/// Says at the end of an answer what it left out.
pub(super) struct LeftOutNotice {
    pub left_out: Vec<Arc<LeftOut>>,
    pub notices: Notices,
}

impl LeftOutNotice {
    pub fn tell(&self) {
        for (left, (count, first)) in self.left_out.iter().filter_map(|left| Some((left, left.report()?))) {
            let records = if count == 1 { "record" } else { "records" };
            let text = format!("left out {count} {records} that could not be read; the first: {first}");
            let hint = too_many(count, left.seen()).map(|part| {
                let shown = if first.starts_with("file ") { "" } else { ", which \"vatic consume\" shows" };
                format!("{part} could not be read: compare the table's columns with the records{shown}.")
            });
            self.notices.warn(text, hint);
        }
    }
}
