//! Planning one statement's query.   AST ─► names resolved ─► providers ─► logical plan ─► models ready ─► physical plan
//!
//! The same steps serve an answer (bounded scans, `cores` streams) and a query that goes on (epoch scans, one stream per
//! lane); the [`Mode`] decides which leaves are planned and what a missing model means.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use arrow::datatypes::DataType;
use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::TreeNode;
use datafusion::datasource::{MemTable, ViewTable};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, lit};
use datafusion::optimizer::AnalyzerRule;
use datafusion::optimizer::analyzer::type_coercion::TypeCoercion;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;
use datafusion::scalar::ScalarValue;
use datafusion::sql::parser::Statement as DfStatement;
use sqlparser::ast;

use crate::error::{Error, Result};
use crate::model::table::models_batch;
use crate::model::{ModelRef, Registry, Resolution, Snapshot, UseGuard, View};
use crate::sql::Column;
use crate::sql::params::bind;
use crate::sql::plan::allow::{check_logical, check_physical};
use crate::sql::plan::check::checks_in;
use crate::sql::plan::waits::refuse_in_scalars;
use crate::sql::plan::{ModelsCalled, models_in, session_state};
use crate::sql::settings::{Missing as MissingSetting, OnError as OnErrorSetting};
use crate::sql::table::{Leaf, Leaves, Reading, StreamTable};
use crate::sql::types::sql_type;
use crate::stream::epoch_context::{EpochCell, EpochContext};
use crate::stream::operators::score::{Missing, Notices as ScoreNotices, OnError, ScoreConfig};
use crate::stream::scan::{LeftOut, lock};
use crate::time;
use crate::udf::Function;

use super::insert::wait_for;
use super::resolve::Reads;
use super::session::Session;
use super::tables::Table;

/// What a query is planned for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It answers and ends.
    Answer,
    /// It follows and shows rows.
    Follow,
    /// It is a job.
    Job,
}

/// A planned query.
pub struct Planned {
    /// What it is executed with.
    pub state: SessionState,
    /// The cell that its operators read the epoch from.
    pub cell: Arc<EpochCell>,
    /// As DataFusion optimised it.
    pub logical: LogicalPlan,
    /// What is executed.
    pub physical: Arc<dyn ExecutionPlan>,
    /// The names of its columns for people; two may be equal.
    pub names: Vec<String>,
    /// The leaves of a query that goes on.
    pub leaves: Vec<Leaf>,
    /// The tables that these read.
    pub tables: Vec<Arc<Table>>,
    /// What an answer's scans leave out.
    pub left_out: Vec<Arc<LeftOut>>,
    /// The registry, if the query scores.
    pub registry: Option<Arc<Registry>>,
    /// The models it calls.
    pub called: ModelsCalled,
    /// The functions of the user's own that it calls.
    pub functions: Vec<Arc<Function>>,
    /// Its say over which versions may go live, if it goes on: for as long as it runs.
    pub uses: Vec<UseGuard>,
}

/// A query before its physical plan: what a sink may still wrap.
pub struct Draft {
    state: SessionState,
    scoring: Arc<ScoreConfig>,
    /// As written.
    pub logical: LogicalPlan,
    /// The names of its columns for people.
    pub names: Vec<String>,
    leaves: Leaves,
    used: Vec<Arc<Table>>,
    left_out: Vec<Arc<LeftOut>>,
    mode: Mode,
    reads_models: bool,
    functions: Vec<Arc<Function>>,
}

impl Draft {
    /// Whether it reads anything that goes on: a topic, a generator, a file.
    #[must_use]
    pub fn reads_streams(&self) -> bool {
        !self.used.is_empty()
    }

    /// The query with its columns cast and named as `columns`, in order; a column without an expression is NULL.
    ///
    /// # Errors
    /// `User` if a type does not fit its column.
    pub fn into_columns(mut self, table: &str, columns: &[(&Column, Option<usize>)]) -> Result<Self> {
        let schema = Arc::clone(self.logical.schema());
        let mut exprs = Vec::with_capacity(columns.len());
        for (column, from) in columns {
            let expr = match from {
                None if !column.nullable && column.metadata.is_none() => {
                    let error = Error::user(format!(
                        "column \"{}\" of table \"{table}\" is NOT NULL and gets no value",
                        column.name
                    ));
                    return Err(error.hint("Name it among the columns, and give it a value in the query."));
                }
                None => lit(ScalarValue::try_from(&column.data_type)?),
                Some(index) => {
                    let (qualifier, field) = schema.qualified_field(*index);
                    let expr = Expr::from((qualifier, field));
                    if field.data_type() == &column.data_type {
                        expr
                    } else if assignable(field.data_type(), &column.data_type) {
                        cast(expr, column.data_type.clone())
                    } else {
                        let (wanted, given) = (sql_type(&column.data_type), sql_type(field.data_type()));
                        let name = &column.name;
                        let error = Error::user(format!(
                            "column \"{name}\" of table \"{table}\" is {wanted}, the query gives {given}"
                        ));
                        // Values have no names.
                        let hint = match self.logical {
                            LogicalPlan::Values(_) => format!("Write a value of type {wanted}, or CAST(... AS {wanted})."),
                            _ => format!("Write CAST(... AS {wanted}) AS {name}."),
                        };
                        return Err(error.hint(hint));
                    }
                }
            };
            exprs.push(expr.alias(&column.name));
        }
        self.logical = LogicalPlanBuilder::from(self.logical).project(exprs)?.build()?;
        self.names = columns.iter().map(|(column, _)| column.name.clone()).collect();
        Ok(self)
    }
}

/// Whether a value of type `from` is stored in a column of type `to` without a CAST: numbers, and times of other precision.
fn assignable(from: &DataType, to: &DataType) -> bool {
    let number = |t: &DataType| t.is_numeric();
    let text = |t: &DataType| matches!(t, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let bytes = |t: &DataType| matches!(t, DataType::Binary | DataType::LargeBinary | DataType::BinaryView);
    let time = |t: &DataType| matches!(t, DataType::Timestamp(..));
    let nested = |t: &DataType| t.is_nested();
    matches!(from, DataType::Null)
        || (number(from) && number(to))
        || (text(from) && text(to))
        || (bytes(from) && bytes(to))
        || (time(from) && time(to))
        || (nested(from) && nested(to) && datafusion::common::nested_struct::requires_nested_struct_cast(from, to))
        || from.equals_datatype(to)
}

impl Session {
    /// Plans a query up to the point where a sink may wrap it.
    ///
    /// # Errors
    /// `User` for whatever is wrong with the query.
    pub(super) async fn draft(&mut self, query: &ast::Query, mode: Mode) -> Result<Draft> {
        let resolved = self.resolve(query).await?;
        let drafted = self.drafted(&resolved, mode).await;
        drafted.map_err(|error| self.with_near_field(error, &resolved))
    }

    async fn drafted(&mut self, resolved: &Reads, mode: Mode) -> Result<Draft> {
        let scoring = self.scoring(&resolved.text, mode).await?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let state = session_state(&scoring, mode != Mode::Answer, cores);
        let context = SessionContext::new_with_state(state.clone());
        let functions = self.bind_functions(&context, &scoring.cell, &resolved.text);
        let leaves: Leaves = Arc::new(Mutex::default());
        let (mut used, mut left_out) = (Vec::new(), Vec::new());
        for (name, table) in &resolved.tables {
            if let Some(kafka) = table.kafka().filter(|kafka| kafka.partitions.is_some())
                && let Some(topic) = self.engine().broker().topic(&kafka.topic).await?
            {
                self.tell_partitions(kafka, &topic);
            }
            let provider = self.provider(table, mode, &leaves, &mut left_out, cores).await?;
            context.register_table(datafusion::common::TableReference::bare(name.as_str()), provider)?;
            used.push(Arc::clone(table));
        }
        if resolved.models {
            let models = self.engine().models(&self.settings().models_topic).await?;
            models.caught_up().await?;
            models.registry().load_all().await;
            let batch = models_batch(models.registry())?;
            context.register_table("models", Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?))?;
        }
        for (name, view) in &resolved.views {
            let plan = bind(context.state().statement_to_plan(statement(view)).await?, &self.params)?;
            context.register_table(
                datafusion::common::TableReference::bare(name.as_str()),
                Arc::new(ViewTable::new(plan, None)),
            )?;
        }
        let logical = context.state().statement_to_plan(statement(&resolved.query)).await?;
        let logical = bind(logical, &self.params)?;
        // What is written, and a view's columns, have the types that the branches of a UNION agree on, not the first one's.
        let logical = TypeCoercion::new().analyze(logical, context.state().config_options())?;
        let names = resolved.output_names(&logical);
        let reads_models = resolved.models;
        Ok(Draft { state: context.state(), scoring, logical, names, leaves, used, left_out, mode, reads_models, functions })
    }

    /// Makes the models ready that a draft calls, and plans it to the end.
    ///
    /// # Errors
    /// `User` for whatever is wrong with the query; for a model that is missing where that is an error.
    pub(super) async fn finish(&mut self, draft: Draft) -> Result<Planned> {
        let called = models_in(&draft.logical)?;
        let registry = draft.scoring.registry.clone();
        let streaming = draft.mode != Mode::Answer;
        let mut claims = Vec::new();
        if let Some(registry) = &registry {
            if streaming {
                claims = claims_of(&draft, registry);
            }
            for name in &called.literal {
                if draft.mode != Mode::Job && self.settings().score_missing == Some(MissingSetting::Wait) {
                    let say = |text: &str, hint: Option<String>| self.engine().notices().warn(text, hint);
                    wait_for(registry, name, "the query", |_| (), say).await?;
                }
                let resolution = self.ready(registry, name, &mut claims).await?;
                if draft.scoring.missing == Missing::Error {
                    resolution.model()?;
                }
                // A follower says at once what its first row would find.
                if draft.mode == Mode::Follow
                    && !matches!(resolution, Resolution::Loading { .. })
                    && let Err(absent) = resolution.model()
                {
                    draft.scoring.notices.missing(name, &absent);
                }
            }
            let view = Arc::new(View::new(registry.snapshot(), BTreeMap::new()));
            draft.scoring.cell.set(EpochContext { time: time::now(), models: view });
        }
        if streaming && draft.reads_models {
            return Err(
                Error::user("table \"models\" cannot be read by a running query").hint("Read it with a plain SELECT.")
            );
        }
        if streaming {
            check_logical(&draft.logical)?;
        }
        refuse_in_scalars(&draft.logical)?;
        let logical = draft.state.optimize(&draft.logical)?;
        self.never_true |= folds_to_nothing(&draft.logical, &logical)?;
        let physical = draft.state.query_planner().create_physical_plan(&logical, &draft.state).await?;
        if streaming {
            check_physical(&physical)?;
        }
        // Those of the draft are let go of when these are there.
        let uses = if streaming { uses(registry.as_ref(), &logical)? } else { Vec::new() };
        let leaves = lock(&draft.leaves).clone();
        let tables = leaves
            .iter()
            .map(|leaf| draft.used.iter().find(|t| Arc::ptr_eq(&t.rows, &leaf.table)).cloned())
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| Error::internal("a leaf of the plan reads no table of the statement"))?;
        Ok(Planned {
            cell: Arc::clone(&draft.scoring.cell),
            state: draft.state,
            logical,
            physical,
            names: draft.names,
            leaves,
            tables,
            left_out: draft.left_out,
            registry,
            called,
            functions: draft.functions,
            uses,
        })
    }

    /// What `name` means, loaded. If no version passes `claims`, what it means without them: planning says what is wrong.
    async fn ready(&self, registry: &Arc<Registry>, name: &str, claims: &mut Vec<UseGuard>) -> Result<Resolution> {
        let reference = ModelRef::parse(name)?;
        let resolution = registry.ready(&reference).await;
        let claimed = claims.len();
        match resolution.model() {
            Ok(live) => {
                if let Some((version, why)) = registry.refused_above(&live.name, live.version) {
                    self.engine().notices().warning(format!(
                        "version {version} of model \"{name}\" is not used (rejected): {why}; the query begins with version {}",
                        live.version
                    ));
                }
                Ok(resolution)
            }
            Err(_) => {
                claims.retain(|claim| claim.name() != reference.name.as_str());
                if claims.len() < claimed { Ok(registry.ready(&reference).await) } else { Ok(resolution) }
            }
        }
    }

    /// How the query scores: what missing models and failing rows mean here.
    async fn scoring(&mut self, text: &str, mode: Mode) -> Result<Arc<ScoreConfig>> {
        let scores = crate::model::Function::ALL.iter().any(|function| calls(text, function.name()));
        let registry = if scores {
            let models = self.engine().models(&self.settings().models_topic).await?;
            models.caught_up().await?;
            Some(Arc::clone(models.registry()))
        } else {
            None
        };
        let snapshot = registry.as_ref().map_or_else(Snapshot::empty, |r| r.snapshot());
        let cell =
            EpochCell::new(EpochContext { time: time::now(), models: Arc::new(View::new(snapshot, BTreeMap::new())) });
        let settings = self.settings();
        // Waiting comes before the first row. A name from a column cannot be known before.
        let of = |setting: MissingSetting| match setting {
            MissingSetting::Error => Missing::Error,
            MissingSetting::Null | MissingSetting::Wait => Missing::Null,
        };
        let default = if mode == Mode::Answer { MissingSetting::Error } else { MissingSetting::Null };
        let missing = of(settings.score_missing.unwrap_or(default));
        let missing_in_column = of(settings.score_missing.unwrap_or(MissingSetting::Null));
        let notices = self.engine().notices().clone();
        Ok(Arc::new(ScoreConfig {
            cell,
            registry,
            missing,
            missing_in_column,
            on_error: match (settings.score_on_error, mode) {
                (OnErrorSetting::Null, _) => OnError::Null,
                (OnErrorSetting::Fail, _) | (_, Mode::Answer) => OnError::Fail,
                (OnErrorSetting::DeadLetter, _) => OnError::DeadLetter,
            },
            notices: ScoreNotices::new(move |text, hint| notices.warn(text, hint)),
        }))
    }

    async fn provider(
        &self,
        table: &Arc<Table>,
        mode: Mode,
        leaves: &Leaves,
        left_out: &mut Vec<Arc<LeftOut>>,
        cores: usize,
    ) -> Result<Arc<dyn TableProvider>> {
        if mode == Mode::Answer
            && let Some(parquet) = table.parquet_table()?
        {
            return Ok(parquet);
        }
        let reading = match mode {
            Mode::Answer => {
                let (reading, left) = table.bounded(self.engine().broker(), cores).await?;
                left_out.push(left);
                reading
            }
            Mode::Follow | Mode::Job => Reading::Epochs(Arc::clone(leaves)),
        };
        Ok(Arc::new(StreamTable::new(Arc::clone(&table.rows), reading)))
    }
}

/// Whether a condition was folded to false: the plan reads nothing where the query asked for rows.
fn folds_to_nothing(written: &LogicalPlan, optimized: &LogicalPlan) -> Result<bool> {
    let nothing = |node: &LogicalPlan| matches!(node, LogicalPlan::EmptyRelation(empty) if !empty.produce_one_row);
    let filters = |node: &LogicalPlan| matches!(node, LogicalPlan::Filter(_) | LogicalPlan::Join(_));
    // LIMIT 0 asks for nothing.
    let limits = |node: &LogicalPlan| matches!(node, LogicalPlan::Limit(_));
    let has = |plan: &LogicalPlan, of: &dyn Fn(&LogicalPlan) -> bool| plan.exists(|node| Ok(of(node)));
    Ok(has(optimized, &nothing)? && !has(written, &nothing)? && has(written, &filters)? && !has(written, &limits)?)
}

fn statement(query: &ast::Query) -> DfStatement {
    DfStatement::Statement(Box::new(ast::Statement::Query(Box::new(query.clone()))))
}

/// The names of `plan`'s columns that stand more than once.
#[must_use]
pub fn doubled(names: &[String]) -> Option<&String> {
    let mut seen = BTreeSet::new();
    names.iter().find(|name| !seen.insert(name.as_str()))
}

/// Whether `text`, a query as printed, may call `function`.
pub(super) fn calls(text: &str, function: &str) -> bool {
    let text = text.to_lowercase();
    let ends_word = |before: &str| !before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
    text.match_indices(function).any(|(at, _)| {
        let behind = &text[at + function.len()..];
        ends_word(&text[..at]) && behind.trim_start_matches('"').trim_start().starts_with('(')
    })
}

/// The query's say over which versions may go live, before any of them is loaded for it: a newest version that it cannot use
/// would keep it from beginning, though a running query goes on with the older one. None, if it cannot be planned yet.
fn claims_of(draft: &Draft, registry: &Arc<Registry>) -> Vec<UseGuard> {
    let planned = draft.state.optimize(&draft.logical).map_err(Error::from);
    planned.and_then(|logical| uses(Some(registry), &logical)).unwrap_or_default()
}

/// Keeps the query's say over which versions may go live, for as long as it runs.
///
/// # Errors
/// `User` for a name that is none.
fn uses(registry: Option<&Arc<Registry>>, plan: &LogicalPlan) -> Result<Vec<UseGuard>> {
    let Some(registry) = registry else { return Ok(Vec::new()) };
    let mut uses = Vec::new();
    for (name, check) in checks_in(plan)? {
        let reference = ModelRef::parse(&name)?;
        // A version may have gone live since the query was planned; the check decides only about those to come.
        let unfit = match registry.snapshot().resolve(&reference, 0) {
            Resolution::Live(model) => check(&model.loaded.signature).err(),
            _ => None,
        };
        if let Some(difference) = unfit {
            return Err(
                Error::user(difference).hint("SELECT name, version, inputs FROM models; shows what each version takes.")
            );
        }
        uses.push(registry.use_model(&reference, check));
    }
    Ok(uses)
}
