//! Statements that write: `INSERT INTO`, `CREATE TABLE ... AS`.   query ─► columns of the target ─► job, or one commit
//!
//! A query that reads a topic, a generator or a file becomes a job; one over constant rows is computed, written and done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::DataType;
use datafusion::physical_plan::collect;
use sha2::{Digest, Sha256};
use sqlparser::ast;
use tokio::sync::watch;

use crate::config::Options;
use crate::connector::{Broker, Commit, Delivery, NewTopic, OffsetAt, SinkSpec, Topic};
use crate::error::{Error, Result, did_you_mean};
use crate::metrics::JobMetrics;
use crate::model::{ModelRef, Registry, Resolution};
use crate::sql::options::KafkaOptions;
use crate::sql::params::{count_outputs, settle_outputs};
use crate::sql::settings::{Missing, OnError};
use crate::sql::{Column, Name, TableDefinition};
use crate::stream::lane::Policy;
use crate::stream::table::BadRecords;
use crate::stream::write::TopicWriter;
use crate::time;

use super::blueprint::Blueprint;
use super::job::{Job, JobSpec, JobStatus, start};
use super::plan::{Draft, Mode, Planned, doubled};
use super::run::{Inputs, group_of, share_budget};
use super::session::{Outcome, Session, UntilEnd, done};
use super::tables::{Table, existing, writable};

/// Where records at fault go.
pub const DEAD_LETTERS: &str = "vatic-dead-letters";

impl Session {
    /// `INSERT INTO target (columns) query`
    pub(super) async fn insert(&mut self, target: &Name, columns: &[Name], query: &ast::Query) -> Result<Outcome> {
        let (table, draft) = self.insert_draft(target, columns, query).await?;
        if draft.reads_streams() {
            return self.start_job(&table, draft).await.map(Outcome::Job);
        }
        self.write_once(&table, draft).await
    }

    /// What an INSERT writes, and where to.
    pub(super) async fn insert_draft(
        &mut self,
        target: &Name,
        columns: &[Name],
        query: &ast::Query,
    ) -> Result<(Arc<Table>, Draft)> {
        let table = Arc::clone(self.table(&target.text)?);
        sink_options(&table)?;
        let query = &self.with_parameters(query, &table.definition, columns)?;
        let draft = self.draft(query, Mode::Job).await?;
        let to = targets(&table.definition, columns, draft.names.len())?;
        // One that reads nothing that goes on is planned as what it is: an answer that is written.
        let draft = if draft.reads_streams() { draft } else { self.draft(query, Mode::Answer).await? };
        let draft = draft.into_columns(&table.definition.name, &to)?;
        Ok((table, draft))
    }

    /// The query of an INSERT, whose parameters have the types of the columns they go into.
    fn with_parameters(&self, query: &ast::Query, table: &TableDefinition, columns: &[Name]) -> Result<ast::Query> {
        let mut query = query.clone();
        let Some(count) = count_outputs(&query) else {
            settle_outputs(&mut query, &self.params, &[])?;
            return Ok(query);
        };
        // What is wrong with the columns is told once the query is known to be right.
        let to = targets(table, columns, count).unwrap_or_default();
        let mut types: Vec<(usize, DataType)> =
            to.iter().filter_map(|(column, from)| Some(((*from)?, column.data_type.clone()))).collect();
        types.sort_by_key(|(from, _)| *from);
        settle_outputs(&mut query, &self.params, &types.into_iter().map(|(_, data_type)| data_type).collect::<Vec<_>>())?;
        Ok(query)
    }

    /// `CREATE TABLE name WITH (...) AS query`
    pub(super) async fn create_table_as(&mut self, definition: TableDefinition, query: &ast::Query) -> Result<Outcome> {
        let (table, draft) = self.create_draft(definition, query).await?;
        let outcome = if draft.reads_streams() {
            self.start_job(&table, draft).await.map(Outcome::Job)?
        } else {
            self.write_once(&table, draft).await?
        };
        let key = table.definition.name.to_lowercase();
        self.replace(&key, |session, key| drop(session.tables.insert(key, table)));
        Ok(outcome)
    }

    /// What a CREATE TABLE ... AS writes, and the table it would create.
    pub(super) async fn create_draft(
        &mut self,
        definition: TableDefinition,
        query: &ast::Query,
    ) -> Result<(Arc<Table>, Draft)> {
        let draft = self.draft(query, Mode::Job).await?;
        if let Some(name) = doubled(&draft.names) {
            let error = Error::user(format!("two columns of table \"{}\" are called \"{name}\"", definition.name));
            return Err(error.hint("Give one of them another name with AS."));
        }
        let definition = if definition.columns.is_empty() {
            let schema = super::query::visible(draft.logical.schema().as_arrow(), &draft.names);
            definition.with_columns(&schema)
        } else {
            definition
        };
        let table = Arc::new(Table::new(definition, self.base()).await?);
        let to = targets(&table.definition, &[], draft.names.len())?;
        let draft = if draft.reads_streams() { draft } else { self.draft(query, Mode::Answer).await? };
        let draft = draft.into_columns(&table.definition.name, &to)?;
        Ok((table, draft))
    }

    /// Writes the rows of a query that reads nothing.
    async fn write_once(&mut self, table: &Arc<Table>, draft: Draft) -> Result<Outcome> {
        let kafka = sink_options(table)?.clone();
        let planned = self.finish(draft).await?;
        let broker = Arc::clone(self.engine().broker());
        let topic = self.target_topic(&kafka).await?;
        let mut writer = TopicWriter::new(table.write_spec(&kafka, &topic)?)?;
        let batches = collect(planned.physical, planned.state.task_ctx()).await?;
        let rows: usize = batches.iter().map(|b| b.num_rows()).sum();
        let now = time::now();
        let mut commit = Commit::default();
        for batch in &batches {
            commit.outputs.extend(writer.encode(batch, now).map_err(|fault| fault.error)?);
        }
        if rows > 0 {
            let spec = SinkSpec { properties: client_properties(&kafka), ..SinkSpec::default() };
            broker.sink(spec).await?.commit(commit).await?;
        }
        Ok(done(&format!("INSERT {rows}")))
    }

    async fn start_job(&mut self, table: &Arc<Table>, draft: Draft) -> Result<Arc<Job>> {
        let kafka = sink_options(table)?.clone();
        let fingerprint = fingerprint(&draft.logical.display_indent().to_string());
        let name = self.job_name(&table.definition.name)?;
        let planned = self.finish(draft).await?;
        let topics: Vec<Arc<str>> = planned.tables.iter().map(|t| Arc::clone(&t.rows.topic)).collect();
        self.refuse_loop(&name, &topics, &table.rows.topic)?;
        if self.writes_dead_letters(&planned) && topics.iter().any(|topic| **topic == *DEAD_LETTERS) {
            let error = Error::user(format!("job \"{name}\" would read what it writes: its own dead letters"));
            return Err(
                error.hint("Give the table over the dead letters bad_records = 'skip', and SET score.on_error = 'null' and udf.on_error = 'null'.")
            );
        }
        let settings = self.settings().clone();
        let default = if self.until_end == UntilEnd::No { Missing::Wait } else { Missing::Error };
        let missing = settings.score_missing.unwrap_or(default);
        let wait = missing == Missing::Wait;
        if missing == Missing::Error {
            present(planned.registry.as_ref(), &planned.called.literal).await?;
        }
        let broker = Arc::clone(self.engine().broker());
        let inputs = Inputs {
            tables: planned.tables.clone(),
            group: Some(group_of(&name)),
            unset: OffsetAt::Earliest,
            until_end: self.until_end != UntilEnd::No,
            ends: Vec::new(),
            begins: Vec::new(),
            budget: share_budget(settings.memory_budget, 0).0,
            notices: self.engine().notices().clone(),
        };
        let opened = inputs.open(&broker).await?;
        let topic = self.target_topic(&kafka).await?;
        let policy = self.policy(&name, &planned).await?;
        if planned.registry.is_some() {
            let models = self.engine().models(&settings.models_topic).await?;
            if models.ensure_topic().await? {
                self.engine().notices().info(format!("created topic \"{}\"", models.topic()));
            }
        }
        let sink = SinkSpec {
            group: Some(group_of(&name)),
            delivery: settings.delivery,
            timeout: None,
            properties: client_properties(&kafka),
        };
        if settings.delivery == Delivery::AtLeastOnce {
            self.engine().notices().info(format!("job \"{name}\" delivers at least once: a crash may repeat rows"));
        }
        let (stop, stopped) = watch::channel(false);
        let metrics = Arc::new(JobMetrics::default());
        let notices = self.engine().notices().clone();
        let blueprint = Blueprint {
            broker,
            name: name.clone(),
            tables: planned.tables.clone(),
            physical: Arc::clone(&planned.physical),
            leaves: planned.leaves,
            context: planned.state.task_ctx(),
            cell: planned.cell,
            needs: if missing == Missing::Null { BTreeSet::new() } else { planned.called.literal.clone() },
            registry: planned.registry.clone(),
            write: table.write_spec(&kafka, &topic)?,
            policy,
            sink,
            budget: settings.memory_budget,
            max_rows: settings.epoch_max_rows,
            ends: (self.until_end != UntilEnd::No).then(|| opened.ends.clone()),
            begins: opened.begins.clone(),
            fingerprint,
            metrics: Arc::clone(&metrics),
            stop: stopped,
            notices: notices.clone(),
            hook: self.hook.clone(),
        };
        let driver = blueprint.driver(opened).await?;
        let job = JobSpec {
            name: name.clone(),
            inputs: topics,
            output: Arc::clone(&table.rows.topic),
            functions: planned.functions,
            metrics,
        };
        let (registry, names) = (planned.registry, if wait { planned.called.literal } else { BTreeSet::new() });
        let ready = move |status: watch::Sender<JobStatus>| -> super::job::Ready {
            Box::pin(async move {
                let Some(registry) = registry else { return Ok(()) };
                for name in &names {
                    let waiting = |text: &str| drop(status.send_replace(JobStatus::Waiting(text.to_owned())));
                    wait_for(&registry, name, "the job", waiting, |text, hint| notices.warn(text, hint)).await?;
                }
                Ok(())
            })
        };
        let job = start(job, ready, driver, blueprint, stop, planned.uses);
        self.jobs.push(Arc::clone(&job));
        Ok(job)
    }

    /// `SET job.name`, else `<file stem>.<target>`, else the target; no second job of this name may run here.
    fn job_name(&mut self, target: &str) -> Result<String> {
        let name = self.take_job_name().unwrap_or_else(|| match &self.stem {
            Some(stem) => format!("{stem}.{target}"),
            None => target.to_owned(),
        });
        if self.jobs.iter().any(|j| group_of(j.name()) == group_of(&name) && !j.status().ended()) {
            let error = Error::user(format!("job \"{name}\" is running already"));
            return Err(error.hint("Give this one a name of its own: SET job.name = 'other';"));
        }
        Ok(name)
    }

    /// A job must not read what it writes, not even by way of this session's other jobs.
    fn refuse_loop(&self, name: &str, inputs: &[Arc<str>], output: &Arc<str>) -> Result<()> {
        let mut reached = BTreeSet::from([Arc::clone(output)]);
        loop {
            let before = reached.len();
            for job in self.jobs.iter().filter(|job| !job.status().ended()) {
                if job.inputs.iter().any(|topic| reached.contains(topic)) {
                    reached.insert(Arc::clone(&job.output));
                }
            }
            if let Some(topic) = inputs.iter().find(|topic| reached.contains(*topic)) {
                let error = Error::user(format!("job \"{name}\" would read what it writes: topic \"{topic}\""));
                return Err(error.hint("Write to another topic."));
            }
            if reached.len() == before {
                return Ok(());
            }
        }
    }

    async fn target_topic(&self, kafka: &KafkaOptions) -> Result<crate::connector::Topic> {
        let (topic, created) = writable(self.engine().broker(), kafka).await?;
        if created {
            let s = if topic.partitions == 1 { "" } else { "s" };
            self.engine().notices().info(format!("created topic \"{}\" with {} partition{s}", topic.name, topic.partitions));
        } else {
            self.tell_partitions(kafka, &topic);
        }
        Ok(topic)
    }

    fn writes_dead_letters(&self, planned: &Planned) -> bool {
        let scores = planned.registry.is_some() && self.settings().score_on_error == OnError::DeadLetter;
        let calls = !planned.functions.is_empty() && self.settings().udf_on_error == OnError::DeadLetter;
        scores || calls || planned.tables.iter().any(|t| t.rows.bad_records == BadRecords::DeadLetter)
    }

    /// What becomes of records at fault; the dead-letter topic is there from the job's start.
    async fn policy(&self, name: &str, planned: &Planned) -> Result<Policy> {
        let on_error = |setting: OnError| match setting {
            OnError::Fail => BadRecords::Fail,
            OnError::DeadLetter | OnError::Null => BadRecords::DeadLetter,
        };
        let (score_errors, function_errors) =
            (on_error(self.settings().score_on_error), on_error(self.settings().udf_on_error));
        let needed = self.writes_dead_letters(planned);
        let largest_letter = if needed { ensure_dead_letters(self.engine().broker()).await?.max_message_bytes() } else { 0 };
        Ok(Policy {
            job: name.into(),
            dead_letters: needed.then(|| DEAD_LETTERS.into()),
            largest_letter,
            score_errors,
            function_errors,
        })
    }
}

/// The topic of dead letters, created where there is none.
pub(super) async fn ensure_dead_letters(broker: &Arc<dyn Broker>) -> Result<Topic> {
    let week = Duration::from_secs(7 * 24 * 3600).as_millis();
    let config = BTreeMap::from([
        ("retention.ms".to_owned(), week.to_string()),
        ("max.message.bytes".to_owned(), super::models::MAX_MODEL_BYTES.to_string()),
    ]);
    let topic = NewTopic { name: DEAD_LETTERS.to_owned(), partitions: Some(1), replication: None, config };
    broker.create_topic(&topic).await?;
    let topic = existing(broker, DEAD_LETTERS).await?;
    topic.need_settings()?;
    Ok(topic)
}

/// The properties of a writing client; one that is given as `kafka.*` comes before the option of the same meaning.
fn client_properties(kafka: &KafkaOptions) -> Options {
    let mut properties = Options::default();
    if let Some(compression) = kafka.compression {
        properties.set("compression.type", compression);
    }
    for (name, value) in kafka.properties.iter() {
        properties.set(name, value);
    }
    properties
}

/// The options of a table that can be written.
fn sink_options(table: &Arc<Table>) -> Result<&KafkaOptions> {
    table.kafka().ok_or_else(|| {
        let error = Error::user(format!("table \"{}\" cannot be written: only topics can", table.definition.name));
        error.hint("Write to a table with connector = 'kafka'.")
    })
}

/// The table's columns, each with the query's column that fills it.
fn targets<'t>(table: &'t TableDefinition, named: &[Name], given: usize) -> Result<Vec<(&'t Column, Option<usize>)>> {
    let name = &table.name;
    let columns = || table.columns.iter();
    let find = |wanted: &Name| {
        columns()
            .position(|c| c.name == wanted.text || (!wanted.exact && c.name.eq_ignore_ascii_case(&wanted.text)))
            .ok_or_else(|| {
                let error = Error::user(format!("table \"{name}\" has no column \"{}\"", wanted.text));
                match did_you_mean(&wanted.text, "columns", columns().map(|c| c.name.as_str())) {
                    Some(hint) => error.hint(hint),
                    None => error,
                }
            })
    };
    let chosen: Vec<usize> = if named.is_empty() {
        let all = |with_metadata: bool| -> Vec<usize> {
            let fits = |c: &Column| c.metadata.is_none_or(|m| with_metadata && m.writable());
            (0..table.columns.len()).filter(|&i| fits(&table.columns[i])).collect()
        };
        // Metadata that a sink may set can be left out as a whole.
        let (values, writable) = (all(false), all(true));
        if given == writable.len() { writable } else { values }
    } else {
        named.iter().map(find).collect::<Result<_>>()?
    };
    if chosen.len() != given {
        let names: Vec<&str> = chosen.iter().map(|&i| table.columns[i].name.as_str()).collect();
        let s = if given == 1 { "" } else { "s" };
        let error =
            Error::user(format!("table \"{name}\" takes {} columns, the query gives {given} column{s}", chosen.len()));
        return Err(error.hint(format!("The columns are, in order: {}.", names.join(", "))));
    }
    if let Some(fixed) = chosen.iter().map(|&i| &table.columns[i]).find(|c| c.metadata.is_some_and(|m| !m.writable())) {
        return Err(
            Error::user(format!("column \"{}\" of table \"{name}\" is set by the broker", fixed.name)).hint("Leave it out.")
        );
    }
    let from = |index: usize| chosen.iter().position(|&c| c == index);
    Ok(columns().enumerate().map(|(index, column)| (column, from(index))).collect())
}

/// What makes a query the same as it was; short, for it is kept with every position.
fn fingerprint(plan: &str) -> String {
    Sha256::digest(plan.as_bytes()).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// Fails if one of the models has no usable version.
async fn present(registry: Option<&Arc<Registry>>, names: &BTreeSet<String>) -> Result<()> {
    let Some(registry) = registry else { return Ok(()) };
    for name in names {
        registry.ready(&ModelRef::parse(name)?).await.model()?;
    }
    Ok(())
}

/// Waits until `name` has a version that can be used. Says that `who` waits, once, and tells `waiting` each time it looked.
///
/// # Errors
/// `User` for a name that is none.
pub(super) async fn wait_for(
    registry: &Arc<Registry>,
    name: &str,
    who: &str,
    waiting: impl Fn(&str),
    say: impl Fn(&str, Option<String>),
) -> Result<()> {
    let reference = ModelRef::parse(name)?;
    let mut changes = registry.watch();
    let mut said = false;
    loop {
        let resolution: Resolution = registry.ready(&reference).await;
        let Err(absent) = resolution.model().map(|_| ()) else { return Ok(()) };
        let absent = Error::from(absent);
        let text = format!("{}; {who} reads nothing until there is one", absent.message());
        if !said {
            say(&text, absent.get_hint().map(str::to_owned));
            said = true;
        }
        waiting(&text);
        // Looking is itself a change of the registry, so a pause comes first; a change that falls into it is seen after it.
        changes.borrow_and_update();
        tokio::time::sleep(Duration::from_millis(50)).await;
        if let Ok(Err(_)) = tokio::time::timeout(Duration::from_secs(1), changes.changed()).await {
            return Err(absent);
        }
    }
}
