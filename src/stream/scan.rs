//! The leaves of a plan.   epoch: slot ─► [`EpochScanExec`] ─► batches;   plain SELECT: source ─► [`BoundedScanExec`] ─► batches
//!
//! The driver fills an [`EpochInput`] before each execution; the leaf empties it. A plain SELECT instead opens a source whose
//! ends were captured when the statement began and reads until every position is there. Both decode with a
//! [`RowReader`], and both leave aside the records that are no rows: the driver sends them where the table says, the plain
//! SELECT counts them.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, ReplaceChildrenOptions};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::future::BoxFuture;

use crate::connector::file::Files;
use crate::connector::{Chunk, Event, Limit, Rows, Source};
use crate::error::{Error, Result};
use crate::format::BadRecord;
use crate::stream::progress::Progress;
use crate::stream::table::{BadRecords, RowReader, TopicTable, bad_record_error, place};

/// Rows of one batch: enough for columnar work, little enough for the cache.
pub const BATCH_ROWS: usize = 8192;

/// What one leaf of one lane reads in the present epoch, and what it could not read.
#[derive(Debug)]
pub struct EpochInput {
    reader: Mutex<RowReader>,
    slot: Mutex<Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    chunks: Vec<Chunk>,
    bad: Vec<BadChunk>,
}

/// The records of one chunk that are no rows.
#[derive(Debug)]
pub struct BadChunk {
    /// The chunk's records.
    pub rows: Rows,
    /// The partition.
    pub partition: i32,
    /// Which of them, and why.
    pub bad: Vec<BadRecord>,
}

impl EpochInput {
    /// An input that reads with `reader`.
    #[must_use]
    pub fn new(reader: RowReader) -> Arc<Self> {
        Arc::new(Self { reader: Mutex::new(reader), slot: Mutex::default() })
    }
    /// Gives the leaf its rows for the next execution.
    pub fn fill(&self, chunks: Vec<Chunk>) {
        let mut slot = lock(&self.slot);
        slot.chunks = chunks;
        slot.bad.clear();
    }
    /// Takes what the execution could not read.
    pub fn take_bad(&self) -> Vec<BadChunk> {
        std::mem::take(&mut lock(&self.slot).bad)
    }
    /// The table that is read.
    #[must_use]
    pub fn table(&self) -> Arc<TopicTable> {
        Arc::clone(lock(&self.reader).table())
    }
    fn schema(&self) -> SchemaRef {
        lock(&self.reader).schema()
    }
    /// Decodes everything in the slot. Small chunks are joined: operators and scorers work on whole batches.
    fn read(&self) -> Result<Vec<RecordBatch>> {
        let chunks = std::mem::take(&mut lock(&self.slot).chunks);
        let mut reader = lock(&self.reader);
        let mut joined = Joiner::new(reader.schema());
        for chunk in chunks {
            let read = reader.read(chunk.partition, &chunk.rows)?;
            if !read.bad.is_empty() {
                lock(&self.slot).bad.push(BadChunk { rows: chunk.rows, partition: chunk.partition, bad: read.bad });
            }
            joined.push(read.batch)?;
        }
        joined.finish()
    }
}

/// Joins batches until they are worth an operator's while.
struct Joiner {
    schema: SchemaRef,
    waiting: Vec<RecordBatch>,
    rows: usize,
    done: Vec<RecordBatch>,
}

impl Joiner {
    fn new(schema: SchemaRef) -> Self {
        Self { schema, waiting: Vec::new(), rows: 0, done: Vec::new() }
    }
    fn push(&mut self, batch: RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        if self.rows + batch.num_rows() > BATCH_ROWS {
            self.flush()?;
        }
        self.rows += batch.num_rows();
        self.waiting.push(batch);
        Ok(())
    }
    fn flush(&mut self) -> Result<()> {
        let batch = match self.waiting.len() {
            0 => return Ok(()),
            1 => self.waiting.swap_remove(0),
            _ => arrow::compute::concat_batches(&self.schema, &self.waiting).map_err(|e| Error::internal(e.to_string()))?,
        };
        self.waiting.clear();
        self.rows = 0;
        self.done.push(batch);
        Ok(())
    }
    fn finish(mut self) -> Result<Vec<RecordBatch>> {
        self.flush()?;
        Ok(self.done)
    }
}

/// The leaf of a query that runs in epochs. One partition; each execution reads what the driver put into its input.
#[derive(Debug)]
pub struct EpochScanExec {
    /// Which of the query's inputs this is.
    pub index: usize,
    input: Arc<EpochInput>,
    properties: Arc<PlanProperties>,
}

impl EpochScanExec {
    /// A leaf for the query's input `index`.
    #[must_use]
    pub fn new(index: usize, input: Arc<EpochInput>) -> Self {
        let properties = properties(input.schema(), 1);
        Self { index, input, properties }
    }
    /// What it reads.
    #[must_use]
    pub fn input(&self) -> &Arc<EpochInput> {
        &self.input
    }
}

impl DisplayAs for EpochScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        describe(f, "EpochScanExec", &self.input.table(), &self.input.schema())
    }
}

fn describe(f: &mut fmt::Formatter<'_>, node: &str, table: &TopicTable, schema: &SchemaRef) -> fmt::Result {
    let columns: Vec<&str> = schema.fields().iter().map(|c| c.name().as_str()).collect();
    write!(f, "{node}: table={}, topic={}, columns=[{}]", table.name, table.topic, columns.join(", "))
}

/// The parts of [`ExecutionPlan`] that are the same for every leaf.
macro_rules! leaf {
    ($name:literal) => {
        fn name(&self) -> &str {
            $name
        }
        fn properties(&self) -> &Arc<PlanProperties> {
            &self.properties
        }
        fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
            Vec::new()
        }
        fn apply_expressions(
            &self,
            _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DfResult<TreeNodeRecursion>,
        ) -> DfResult<TreeNodeRecursion> {
            Ok(TreeNodeRecursion::Continue)
        }
        fn replace_children(
            self: Arc<Self>,
            _: Vec<Arc<dyn ExecutionPlan>>,
            _: ReplaceChildrenOptions,
        ) -> DfResult<Arc<dyn ExecutionPlan>> {
            Ok(self)
        }
        fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> DfResult<Arc<dyn ExecutionPlan>> {
            Ok(self)
        }
    };
}

impl ExecutionPlan for EpochScanExec {
    leaf!("EpochScanExec");

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let input = Arc::clone(&self.input);
        let batches = futures::stream::once(async move { input.read() });
        let batches = futures::TryStreamExt::try_flatten(futures::TryStreamExt::map_ok(batches, |batches| {
            futures::stream::iter(batches.into_iter().map(Ok::<_, Error>))
        }));
        let batches = futures::TryStreamExt::map_err(batches, DataFusionError::from);
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }
}

/// Opens the source of one partition of a bounded scan.
pub type OpenSource = Arc<dyn Fn(usize) -> BoxFuture<'static, Result<Box<dyn Source>>> + Send + Sync>;

/// What a plain SELECT left out: how many records, and the first trouble; and how far it has read.
#[derive(Debug, Default)]
pub struct LeftOut(Mutex<(u64, Option<String>)>, AtomicU64, Progress);

impl LeftOut {
    fn add(&self, count: usize) {
        lock(&self.0).0 += count as u64;
    }
    fn knows_first(&self) -> bool {
        lock(&self.0).1.is_some()
    }
    fn first(&self, trouble: String) {
        lock(&self.0).1.get_or_insert(trouble);
    }
    /// How far the scan has read.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        &self.2
    }
    /// Counts records that were read, rows or not.
    fn read(&self, records: usize) {
        self.1.fetch_add(records as u64, Relaxed);
    }
    /// How many records were read, those left out with them.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.1.load(Relaxed)
    }
    /// How many records, and where and what the first trouble was; `None` if nothing was left out.
    #[must_use]
    pub fn report(&self) -> Option<(u64, String)> {
        let inner = lock(&self.0);
        inner.1.clone().map(|first| (inner.0, first))
    }
}

/// The leaf of a plain SELECT over a topic or a generator.
pub struct BoundedScanExec {
    table: Arc<TopicTable>,
    projection: Vec<usize>,
    open: OpenSource,
    left_out: Arc<LeftOut>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl BoundedScanExec {
    /// A leaf of `partitions` streams, the i-th of which reads what `open(i)` opens.
    #[must_use]
    pub fn new(
        table: Arc<TopicTable>,
        projection: Vec<usize>,
        partitions: usize,
        open: OpenSource,
        left_out: Arc<LeftOut>,
    ) -> Self {
        let properties = properties(table.schema_of(&projection), partitions.max(1));
        Self { table, projection, open, left_out, properties, metrics: ExecutionPlanMetricsSet::new() }
    }
    /// The table that is read.
    #[must_use]
    pub fn table(&self) -> &Arc<TopicTable> {
        &self.table
    }
}

impl fmt::Debug for BoundedScanExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundedScanExec").field("table", &self.table.name).finish_non_exhaustive()
    }
}

impl DisplayAs for BoundedScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        describe(f, "BoundedScanExec", &self.table, &self.schema())
    }
}

impl ExecutionPlan for BoundedScanExec {
    leaf!("BoundedScanExec");

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> DfResult<SendableRecordBatchStream> {
        let reader = RowReader::new(Arc::clone(&self.table), &self.projection)?;
        let state =
            Bounded { source: None, open: Arc::clone(&self.open), partition, reader, left_out: Arc::clone(&self.left_out) };
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let batches = futures::stream::try_unfold((state, metrics), |(mut state, metrics)| async move {
            let began = Instant::now();
            let batches = state.next().await.map_err(DataFusionError::from)?;
            // Reading and waiting for what is read are one.
            metrics.elapsed_compute().add_duration(began.elapsed());
            metrics.record_output(batches.iter().flatten().map(RecordBatch::num_rows).sum());
            let state = (state, metrics);
            Ok::<_, DataFusionError>(batches.map(|b| (futures::stream::iter(b.into_iter().map(Ok)), state)))
        });
        let batches = futures::TryStreamExt::try_flatten(batches);
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }
}

/// One stream of a bounded scan.
struct Bounded {
    source: Option<Box<dyn Source>>,
    open: OpenSource,
    partition: usize,
    reader: RowReader,
    left_out: Arc<LeftOut>,
}

impl Bounded {
    async fn next(&mut self) -> Result<Option<Vec<RecordBatch>>> {
        let source = match &mut self.source {
            Some(source) => source,
            none => none.insert((self.open)(self.partition).await?),
        };
        loop {
            match source.next(Limit { rows: BATCH_ROWS, bytes: 8 << 20 }).await? {
                Event::Cut(cut) => {
                    let mut joined = Joiner::new(self.reader.schema());
                    for chunk in cut.chunks {
                        let rows = chunk.rows.len();
                        let begin = match offset_of(&chunk.rows, 0) {
                            -1 => chunk.next_offset - i64::try_from(rows).unwrap_or(0),
                            offset => offset,
                        };
                        // Files tell themselves how far they are: in bytes.
                        if self.reader.table().files.is_none() {
                            self.left_out.progress().add(chunk.partition, rows, begin, chunk.next_offset);
                        }
                        let read = self.reader.read(chunk.partition, &chunk.rows)?;
                        self.left_out.read(chunk.rows.len());
                        if let Some(first) = read.bad.first() {
                            note_bad(self.reader.table(), &chunk, first, read.bad.len(), &self.left_out).await?;
                        }
                        joined.push(read.batch)?;
                    }
                    return joined.finish().map(Some);
                }
                Event::Finished => return Ok(None),
                Event::Assigned(_) | Event::Revoked(_) | Event::Lost(_) => {}
            }
        }
    }
}

/// Counts records that were left out, or makes them the query's error where the table says so.
async fn note_bad(table: &TopicTable, chunk: &Chunk, first: &BadRecord, count: usize, left_out: &LeftOut) -> Result<()> {
    let fails = table.bad_records == BadRecords::Fail;
    if fails || !left_out.knows_first() {
        let offset = offset_of(&chunk.rows, first.index);
        let line = match &table.files {
            Some(files) => line_of(files, offset).await,
            None => None,
        };
        match line {
            Some(line) if fails => {
                let error = Error::data(format!("{line}: {}", first.error));
                return Err(error.hint("Correct the line, or leave out bad_records = 'fail' in the table's WITH."));
            }
            None if fails => {
                return Err(bad_record_error(&table.topic, chunk.partition, offset, first.reason, &first.error));
            }
            line => {
                let at = line.unwrap_or_else(|| place(&table.topic, chunk.partition, offset));
                left_out.first(format!("{at}: {}", first.error));
            }
        }
    }
    left_out.add(count);
    Ok(())
}

/// `file "a.csv", line 7`: people look a line up by its number, and rows are counted without headers and blank lines.
async fn line_of(files: &Files, offset: i64) -> Option<String> {
    let files = files.clone();
    let place = tokio::task::spawn_blocking(move || files.place_of(offset)).await.ok()?.ok()??;
    Some(format!("file \"{}\", line {}", place.0.display(), place.1))
}

/// The offset of a row; -1 where rows have none.
#[must_use]
pub fn offset_of(rows: &Rows, index: usize) -> i64 {
    match rows {
        Rows::Records(records) => records.offsets.get(index).copied().unwrap_or(-1),
        Rows::Batch(_) => -1,
    }
}

fn properties(schema: SchemaRef, partitions: usize) -> Arc<PlanProperties> {
    Arc::new(PlanProperties::new(
        EquivalenceProperties::new(schema),
        Partitioning::UnknownPartitioning(partitions),
        EmissionType::Incremental,
        Boundedness::Bounded,
    ))
}

/// The lock's content, also after a panic elsewhere: every holder leaves it whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
