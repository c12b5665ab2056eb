//! `ScoreExec`: runs models over batches.
//!
//! ```text
//! batch ─► model's name, features (expressions) ─► group rows by model ─► bind features to its signature
//!       ─► scorer, once per model and batch ─► score, label, prediction ─► rows in their old order, one column per call
//! ```
//!
//! Names mean what the epoch's view says, for the whole execution. Calls of several functions on the same model and features
//! share one run of the scorer. A NULL name or a NULL feature (where the model has no treatment for it) gives NULL. What a
//! missing model and a failing row give is decided by [`ScoreConfig`]; nothing is ever made up.
//! The scorer runs on the thread that polls the stream: it is the work of that thread, not something to wait for.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StringArray, UInt32Array, new_null_array};
use arrow::compute::{interleave, take};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{CardinalityEffect, ReplaceChildrenOptions};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, RecordOutput};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
};
use futures::StreamExt;

use crate::error::Error;
use crate::model::answer::{ModelIdentity, check, return_type, score_batch};
use crate::model::features::{Binding, Feature, bind};
use crate::model::{Function, LiveModel, ModelError, Registry, Resolution};
use crate::stream::epoch_context::{EpochCell, EpochContext};

/// What a name without a usable model gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// NULL, and it is said once.
    Null,
    /// An error.
    Error,
}

/// What a row that its model fails on gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// An error that [`is_score_failure`] recognises; the driver finds the row and puts its record aside.
    DeadLetter,
    /// NULL, and it is said once per model version.
    Null,
    /// An error, which ends the query.
    Fail,
}

/// How a query scores.
#[derive(Debug)]
pub struct ScoreConfig {
    /// The query's present epoch, whose view says what names mean.
    pub cell: Arc<EpochCell>,
    /// Loads models that are named by a column and were not wanted before; without it such a name counts as missing.
    pub registry: Option<Arc<Registry>>,
    /// For a name that is a literal in the query. (Waiting for it is the driver's business, before an epoch.)
    pub missing: Missing,
    /// For a name that comes from a column.
    pub missing_in_column: Missing,
    /// For a row that its model fails on.
    pub on_error: OnError,
    /// Told what people should know.
    pub notices: Notices,
}

/// Says each thing once in a query's life.
pub struct Notices {
    said: Mutex<BTreeSet<String>>,
    say: Say,
}

/// Takes a line and what to do about it.
type Say = Box<dyn Fn(&str, Option<String>) + Send + Sync>;

impl Notices {
    /// Notices that go to `say`: a line, lower case, without a full stop, and what to do about it.
    #[must_use]
    pub fn new(say: impl Fn(&str, Option<String>) + Send + Sync + 'static) -> Self {
        Self { said: Mutex::default(), say: Box::new(say) }
    }
    /// Says that the scores of `name` are NULL, unless that was said before.
    pub fn missing(&self, name: &str, error: &crate::model::ModelError) {
        let hint = || crate::error::Explain::hint(error);
        self.once(format!("missing {name}"), || (format!("{error}: its scores are NULL"), hint()));
    }
    /// Says `text` unless something was said under `key` before. After 1,000 keys it is silent: names may come from data.
    fn once(&self, key: String, text: impl FnOnce() -> (String, Option<String>)) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() < 1_000 && said.insert(key) {
            let (text, hint) = text();
            (self.say)(&text, hint);
        }
    }
}

impl fmt::Debug for Notices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notices")
    }
}

/// The mark on an error that is a model's and not an expression's: reason `score` of a dead letter.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct ScoreFailure {
    /// `name:version`.
    pub model: String,
    /// What the model said.
    pub reason: String,
}

/// Whether `error` came from scoring a row.
#[must_use]
pub fn is_score_failure(error: &DataFusionError) -> bool {
    let DataFusionError::External(inner) = error.find_root() else { return false };
    let source = inner.downcast_ref::<Error>().and_then(std::error::Error::source);
    source.is_some_and(|source| source.is::<ScoreFailure>())
}

fn failure(model: &LiveModel, error: &ModelError) -> DataFusionError {
    let model = format!("{}:{}", model.name, model.version);
    Error::data(error.to_string()).source(ScoreFailure { model, reason: error.to_string() }).into()
}

/// What the features of a call are, for binding them.
#[must_use]
pub fn features(names: &[Option<String>], types: &[DataType]) -> Vec<Feature> {
    names.iter().zip(types).map(|(name, data_type)| Feature { name: name.clone(), data_type: data_type.clone() }).collect()
}

/// One call, over the columns of the input.
#[derive(Debug, Clone)]
pub struct PhysicalCall {
    /// Which function.
    pub function: Function,
    /// The model's name: VARCHAR.
    pub model: Arc<dyn PhysicalExpr>,
    /// The features.
    pub features: Vec<Arc<dyn PhysicalExpr>>,
    /// The name of the column that each feature is, if it is one.
    pub names: Vec<Option<String>>,
    /// The name of the column that the call makes.
    pub column: String,
}

/// Calls of one model with the same features: one run of the scorer.
#[derive(Debug)]
struct Run {
    model: Arc<dyn PhysicalExpr>,
    features: Vec<Arc<dyn PhysicalExpr>>,
    types: Vec<Feature>,
    /// What is wanted of it, and which of the made columns that is.
    wanted: Vec<(Function, usize)>,
}

/// The operator; see the module. Its output is the input's columns and then one per call, in the order of the calls.
#[derive(Debug, Clone)]
pub struct ScoreExec {
    input: Arc<dyn ExecutionPlan>,
    calls: Arc<[PhysicalCall]>,
    work: Arc<Work>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl ScoreExec {
    /// An operator that makes `calls` over `input`.
    ///
    /// # Errors
    /// If an expression does not fit the input.
    pub fn try_new(input: Arc<dyn ExecutionPlan>, calls: Vec<PhysicalCall>, config: Arc<ScoreConfig>) -> Result<Self> {
        let schema = input.schema();
        let mut runs: Vec<Run> = Vec::new();
        for (column, call) in calls.iter().enumerate() {
            let same = runs.iter_mut().find(|run| run.model.eq(&call.model) && run.features == call.features);
            match same {
                // Twins that are still here are so because their arguments are volatile.
                Some(run) if !call.features.iter().chain([&call.model]).any(is_volatile) => {
                    run.wanted.push((call.function, column));
                }
                _ => {
                    let types = call.features.iter().map(|f| f.data_type(&schema)).collect::<Result<Vec<_>>>()?;
                    runs.push(Run {
                        model: Arc::clone(&call.model),
                        features: call.features.clone(),
                        types: features(&call.names, &types),
                        wanted: vec![(call.function, column)],
                    });
                }
            }
        }
        let made = calls.iter().map(|call| Arc::new(Field::new(&call.column, return_type(call.function), true)));
        let fields: Vec<_> = schema.fields().iter().cloned().chain(made).collect();
        let output = Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()));
        let work = Work { runs, calls: calls.len(), schema: output, config, bindings: Mutex::default() };
        let properties = properties(&input, &work.schema)?;
        Ok(Self { input, calls: calls.into(), work: Arc::new(work), properties, metrics: ExecutionPlanMetricsSet::new() })
    }
    /// Its calls.
    #[must_use]
    pub fn calls(&self) -> &[PhysicalCall] {
        &self.calls
    }
    /// How it scores.
    #[must_use]
    pub fn config(&self) -> &Arc<ScoreConfig> {
        &self.work.config
    }
}

fn is_volatile(expr: &Arc<dyn PhysicalExpr>) -> bool {
    datafusion::physical_expr_common::physical_expr::is_volatile(expr)
}

/// Rows keep their partitions and order; the made columns depend on nothing that the planner could use.
fn properties(input: &Arc<dyn ExecutionPlan>, schema: &SchemaRef) -> Result<Arc<PlanProperties>> {
    let mut equivalences = EquivalenceProperties::new(Arc::clone(schema));
    let orderings =
        input.equivalence_properties().oeq_class().iter().cloned().map(|ordering| ordering.into_iter().collect::<Vec<_>>());
    equivalences.add_orderings(orderings);
    Ok(Arc::new(PlanProperties::new(
        equivalences,
        input.output_partitioning().clone(),
        input.pipeline_behavior(),
        input.boundedness(),
    )))
}

impl DisplayAs for ScoreExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScoreExec: ")?;
        for (i, call) in self.calls.iter().enumerate() {
            let args: Vec<String> = [&call.model].into_iter().chain(&call.features).map(ToString::to_string).collect();
            let separator = if i == 0 { "" } else { ", " };
            write!(f, "{separator}{}({}) AS {}", call.function.name(), args.join(", "), call.column)?;
        }
        Ok(())
    }
}

impl ExecutionPlan for ScoreExec {
    fn name(&self) -> &'static str {
        "ScoreExec"
    }
    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }
    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }
    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }
    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        let mut recursion = TreeNodeRecursion::Continue;
        for expr in self.calls.iter().flat_map(|call| [&call.model].into_iter().chain(&call.features)) {
            recursion = f(expr)?;
            if recursion == TreeNodeRecursion::Stop {
                break;
            }
        }
        Ok(recursion)
    }
    /// What was bound stays: the columns of a plan do not change their types.
    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (Some(input), true) = (children.pop(), children.is_empty()) else {
            return internal_err!("ScoreExec has one input");
        };
        let properties = match options.children_properties {
            ChildrenPropertiesMode::Keep => Arc::clone(&self.properties),
            ChildrenPropertiesMode::Recompute => properties(&input, &self.work.schema)?,
        };
        Ok(Arc::new(Self { input, properties, metrics: ExecutionPlanMetricsSet::new(), ..Self::clone(&self) }))
    }
    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }
    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let work = Arc::clone(&self.work);
        // One context for the whole execution: the epoch's, even if the cell is set again before the stream is read.
        let epoch = self.work.config.cell.get();
        let scored = input.then(move |batch| {
            let (work, epoch, metrics) = (Arc::clone(&work), Arc::clone(&epoch), metrics.clone());
            async move {
                let batch = batch?;
                let time = metrics.elapsed_compute().clone();
                let _timer = time.timer();
                work.score(&batch, &epoch).await.record_output(&metrics)
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.work.schema), scored)))
    }
    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
    fn supports_limit_pushdown(&self) -> bool {
        true
    }
    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }
}

/// What is shared by all executions of the plan.
#[derive(Debug)]
struct Work {
    runs: Vec<Run>,
    calls: usize,
    schema: SchemaRef,
    config: Arc<ScoreConfig>,
    bindings: Mutex<Bindings>,
}

/// Bindings by run, model and version.
type Bindings = HashMap<(usize, Arc<str>, u64), Arc<Binding>>;
/// So many bindings are worth keeping; names may come from data.
const MOST_BINDINGS: usize = 1_000;

impl Work {
    async fn score(&self, batch: &RecordBatch, epoch: &EpochContext) -> Result<RecordBatch> {
        let mut made: Vec<Option<ArrayRef>> = vec![None; self.calls];
        for (number, run) in self.runs.iter().enumerate() {
            let answers = self.run(number, run, batch, epoch).await?;
            for ((_, column), answer) in run.wanted.iter().zip(answers) {
                if let Some(slot) = made.get_mut(*column) {
                    *slot = Some(answer);
                }
            }
        }
        let columns = batch.columns().iter().cloned().chain(made.into_iter().flatten()).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }

    /// The answers of one run, one array per function wanted of it.
    async fn run(&self, number: usize, run: &Run, batch: &RecordBatch, epoch: &EpochContext) -> Result<Vec<ArrayRef>> {
        let rows = batch.num_rows();
        if rows == 0 {
            return Ok(Group { number, run, features: Vec::new(), rows }.nulls());
        }
        let features = run.features.iter().map(|feature| feature.evaluate(batch)?.into_array(rows));
        let features = features.collect::<Result<Vec<_>>>()?;
        let group = Group { number, run, features, rows };
        match run.model.evaluate(batch)? {
            ColumnarValue::Scalar(ScalarValue::Utf8(Some(name))) => {
                self.group(&name, self.config.missing, group, epoch).await
            }
            ColumnarValue::Scalar(name) if name.is_null() => Ok(group.nulls()),
            ColumnarValue::Array(names) => self.by_name(names.as_string::<i32>(), group, epoch).await,
            ColumnarValue::Scalar(name) => internal_err!("a model's name is not VARCHAR but {}", name.data_type()),
        }
    }

    /// Rows with the same name are scored together, and put back where they were.
    async fn by_name(&self, names: &StringArray, all: Group<'_>, epoch: &EpochContext) -> Result<Vec<ArrayRef>> {
        let mut order: Vec<&str> = Vec::new();
        let mut rows_of: HashMap<&str, Vec<u32>> = HashMap::new();
        // Where each row's answer will be: (part, row in it). Part 0 is one NULL.
        let mut places: Vec<(usize, usize)> = Vec::with_capacity(all.rows);
        for (row, name) in names.iter().enumerate() {
            let Some(name) = name else {
                places.push((0, 0));
                continue;
            };
            let rows = rows_of.entry(name).or_insert_with(|| {
                order.push(name);
                Vec::new()
            });
            places.push((0, rows.len()));
            rows.push(u32::try_from(row).map_err(|e| DataFusionError::Execution(e.to_string()))?);
        }
        let missing = self.config.missing_in_column;
        match (order.as_slice(), names.null_count()) {
            ([], _) => return Ok(all.nulls()),
            ([name], 0) => return self.group(name, missing, all, epoch).await,
            _ => {}
        }
        let mut parts: Vec<Vec<ArrayRef>> = vec![Group { rows: 1, ..all.clone() }.nulls()];
        for name in order {
            let rows = UInt32Array::from(rows_of.remove(name).unwrap_or_default());
            for row in rows.values() {
                places[*row as usize].0 = parts.len();
            }
            let features = all.features.iter().map(|feature| take(feature, &rows, None)).collect::<Result<_, _>>()?;
            let group = Group { features, rows: rows.len(), ..all.clone() };
            parts.push(self.group(name, missing, group, epoch).await?);
        }
        let answer = |wanted: usize| {
            let arrays: Vec<&dyn Array> = parts.iter().filter_map(|part| Some(part.get(wanted)?.as_ref())).collect();
            Ok(interleave(&arrays, &places)?)
        };
        (0..all.run.wanted.len()).map(answer).collect()
    }

    /// Scores rows that all name the same model.
    async fn group(&self, name: &str, missing: Missing, group: Group<'_>, epoch: &EpochContext) -> Result<Vec<ArrayRef>> {
        let mut resolution = epoch.models.resolve(name);
        if let (Resolution::Loading { .. }, Some(registry)) = (&resolution, &self.config.registry) {
            resolution = registry.resolve(&epoch.models, name).await;
        }
        let model = match resolution.model() {
            Ok(model) => model,
            // Not the row's fault, whatever the reason is that there is no model: nothing to be put aside.
            Err(error) if missing == Missing::Error => {
                let told = Error::user(error.to_string());
                let hint = crate::error::Explain::hint(&error);
                return Err(hint.map_or(told.clone(), |hint| told.hint(hint)).into());
            }
            Err(error) => {
                self.config.notices.missing(name, &error);
                return Ok(group.nulls());
            }
        };
        let began = Instant::now();
        let scored = self.binding(&group, model).and_then(|binding| {
            let identity = ModelIdentity::from(model.as_ref());
            let functions: Vec<Function> = group.run.wanted.iter().map(|(function, _)| *function).collect();
            score_batch(&model.loaded, &identity, &binding, &functions, &group.features)
        });
        let (answers, failed, first) = match scored {
            Ok(scored) => {
                (scored.answers, scored.failures.len(), scored.failures.into_iter().next().map(|(_, error)| error))
            }
            // What concerns the batch concerns each of its rows.
            Err(error) => (group.nulls(), group.rows, Some(error)),
        };
        model.stats.scored(group.rows - failed.min(group.rows), began.elapsed());
        let Some(error) = first.filter(|_| failed > 0) else { return Ok(answers) };
        model.stats.failed(failed);
        if self.config.on_error != OnError::Null {
            return Err(failure(model, &error));
        }
        let key = format!("failed {}:{}", model.name, model.version);
        self.config.notices.once(key, || (format!("{error}: the scores of such rows are NULL"), None));
        Ok(answers)
    }

    /// How the run's features become the model's inputs: looked up, or bound now.
    fn binding(&self, group: &Group<'_>, model: &LiveModel) -> Result<Arc<Binding>, ModelError> {
        let key = (group.number, Arc::clone(&model.name), model.version);
        if let Some(binding) = self.bindings().get(&key) {
            return Ok(Arc::clone(binding));
        }
        let reference = format!("{}:{}", model.name, model.version);
        for (function, _) in &group.run.wanted {
            check(&reference, *function, &model.loaded.signature)?;
        }
        let binding = Arc::new(bind(&reference, &group.run.types, &model.loaded.signature)?);
        let mut bindings = self.bindings();
        if bindings.len() >= MOST_BINDINGS {
            bindings.clear();
        }
        bindings.insert(key, Arc::clone(&binding));
        Ok(binding)
    }

    fn bindings(&self) -> MutexGuard<'_, Bindings> {
        self.bindings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Rows of a batch, to be scored by one run.
#[derive(Clone)]
struct Group<'a> {
    number: usize,
    run: &'a Run,
    features: Vec<ArrayRef>,
    rows: usize,
}

impl Group<'_> {
    /// NULL for each row.
    fn nulls(&self) -> Vec<ArrayRef> {
        self.run.wanted.iter().map(|(function, _)| new_null_array(&return_type(*function), self.rows)).collect()
    }
}
