//! The names that completion offers.   session (after each statement) ┐
//!                                      broker (in the background)     ┴─► [`Catalog`] ─► a snapshot per key press
//!
//! What SHOW and DESCRIBE print is what is offered, so the two cannot differ. A key press only takes the present snapshot: the
//! broker is asked by a task of its own, after each statement and from time to time, and a broker that does not answer leaves
//! the names as they were.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::{Array, RecordBatch};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use tokio::sync::{Notify, watch};

use crate::engine::{Engine, Notices, Outcome, Rows, Session};
use crate::error::{Error, Result};
use crate::sql::quote::{quote_name, quote_text};
use crate::sql::types::sql_type;

/// The broker is asked this often while nothing happens.
const REFRESH: Duration = Duration::from_secs(30);
/// A broker that takes longer is asked again later.
const PATIENCE: Duration = Duration::from_secs(10);

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ColumnName {
    pub name: String,
    pub sql_type: String,
}

/// A table or a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TableName {
    pub name: String,
    /// `table` or `view`.
    pub kind: String,
    pub columns: Vec<ColumnName>,
}

/// A function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FunctionName {
    pub name: String,
    pub signature: String,
    pub doc: String,
    /// Whether a CREATE FUNCTION made it.
    pub own: bool,
}

/// A model and its versions, newest last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ModelName {
    pub name: String,
    pub versions: Vec<u64>,
}

/// All names at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Names {
    pub tables: Vec<TableName>,
    /// Ours first.
    pub functions: Arc<[FunctionName]>,
    pub jobs: Vec<String>,
    pub topics: Vec<String>,
    pub models: Vec<ModelName>,
    /// The columns of topics that a statement read without a table.
    pub topic_columns: BTreeMap<String, Vec<ColumnName>>,
    pub models_topic: String,
    /// Parameters with their values.
    pub params: Vec<(String, String)>,
}

impl Names {
    /// The topic that models are published on.
    pub fn models_topic(&self) -> &str {
        if self.models_topic.is_empty() { "models" } else { &self.models_topic }
    }
    /// The table or view of this name.
    pub fn table(&self, name: &str) -> Option<&TableName> {
        self.tables.iter().find(|table| table.name.eq_ignore_ascii_case(name))
    }
}

/// The names, kept up to date. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Catalog(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    names: Mutex<Arc<Names>>,
    /// The session's own functions and their versions when they were listed.
    own: Mutex<Option<Vec<(String, String)>>>,
    /// Topics whose columns somebody asked for.
    wanted: Mutex<BTreeSet<String>>,
    ring: Notify,
    asked: watch::Sender<Option<Result<()>>>,
}

impl Catalog {
    /// The present names.
    pub fn names(&self) -> Arc<Names> {
        Arc::clone(&self.0.names.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks for the columns of `topic`; they are there some key presses later.
    pub fn want(&self, topic: &str) {
        let new = self.0.wanted.lock().unwrap_or_else(PoisonError::into_inner).insert(topic.to_owned());
        if new {
            self.0.ring.notify_one();
        }
    }

    /// Waits until the broker was asked once.
    ///
    /// # Errors
    /// Why it did not answer.
    pub async fn asked(&self) -> Result<()> {
        let mut asked = self.0.asked.subscribe();
        let first = asked.wait_for(Option::is_some).await.map(|first| first.clone());
        first.ok().flatten().unwrap_or(Ok(()))
    }

    /// Takes over what `session` has, and lets the broker be asked.
    ///
    /// # Errors
    /// Never, as long as SHOW works.
    pub async fn refresh(&self, session: &mut Session) -> Result<()> {
        let mut tables = Vec::new();
        for row in texts(session, "SHOW TABLES").await? {
            let [Some(name), Some(kind), ..] = row.as_slice() else { continue };
            tables.push(TableName { name: name.clone(), kind: kind.clone(), columns: columns(session, name).await? });
        }
        tables.push(TableName {
            name: "models".to_owned(),
            kind: "the models there are".to_owned(),
            columns: columns(session, "models").await?,
        });
        // Those of the session come and go; to list all of them each time would keep the prompt waiting.
        let own = session.own_function_versions();
        let known = self.0.own.lock().unwrap_or_else(PoisonError::into_inner).replace(own.clone());
        if known.is_none_or(|known| known != own) {
            let functions = functions(session).await?;
            self.change(|names| names.functions = functions);
        }
        let jobs: BTreeSet<String> = session.jobs().iter().map(|job| job.name().to_owned()).collect();
        let models_topic = session.settings().models_topic.clone();
        let params = session.params().iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        self.change(|names| {
            names.tables = tables;
            names.params = params;
            names.jobs = jobs.into_iter().collect();
            names.models_topic = models_topic;
        });
        self.0.ring.notify_one();
        Ok(())
    }

    /// Takes over what `session` and the broker have now.
    ///
    /// # Errors
    /// Whatever the broker says.
    pub async fn ask_now(&self, engine: &Arc<Engine>, session: &mut Session) -> Result<()> {
        self.refresh(session).await?;
        self.ask(engine, engine).await
    }

    /// Asks the broker again and again, until dropped.
    pub async fn keep(self, engine: Arc<Engine>) {
        // Looking for names is nobody's news.
        let quiet = Engine::over(Arc::clone(engine.broker()), Notices::none());
        loop {
            let asked = match tokio::time::timeout(PATIENCE, self.ask(&engine, &quiet)).await {
                Ok(asked) => asked,
                Err(_) => Err(Error::external(format!("{} has not answered", engine.broker().address()))),
            };
            self.0.asked.send_replace(Some(asked));
            // Rung or not, it is time to ask again.
            let _ = tokio::time::timeout(REFRESH, self.0.ring.notified()).await;
        }
    }

    async fn ask(&self, engine: &Arc<Engine>, quiet: &Arc<Engine>) -> Result<()> {
        let topics: Vec<String> = engine.broker().topics().await?.into_iter().map(|topic| topic.name).collect();
        let models_topic = self.names().models_topic().to_owned();
        let has_models = topics.contains(&models_topic);
        self.change(|names| names.topics = topics);
        if has_models {
            let models = engine.models(&models_topic).await?;
            models.caught_up().await?;
            let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
            for version in models.registry().versions() {
                found.entry(version.name.to_string()).or_default().push(version.version);
            }
            let found = found.into_iter().map(|(name, versions)| ModelName { name, versions }).collect();
            self.change(|names| names.models = found);
        }
        let wanted = self.0.wanted.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for topic in wanted {
            let names = self.names();
            if names.topic_columns.contains_key(&topic) || !names.topics.contains(&topic) {
                continue;
            }
            // A topic without columns is asked for again only when it is named again.
            let columns = topic_columns(quiet, &topic).await.unwrap_or_default();
            self.0.wanted.lock().unwrap_or_else(PoisonError::into_inner).remove(&topic);
            if !columns.is_empty() {
                self.change(|names| drop(names.topic_columns.insert(topic, columns)));
            }
        }
        Ok(())
    }

    fn change(&self, change: impl FnOnce(&mut Names)) {
        let mut names = self.0.names.lock().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut names));
    }

    /// A catalog of these names, which nobody changes.
    #[cfg(test)]
    pub fn of(names: Names) -> Self {
        let catalog = Self::default();
        catalog.change(|own| *own = names);
        catalog
    }
}

/// What a statement that is no job answers.
///
/// # Errors
/// Those of the statement.
pub(super) async fn rows(session: &mut Session, statement: &str) -> Result<Rows> {
    let parsed = session.parse(statement, None)?;
    let [statement] = parsed.as_slice() else { return Err(Error::internal("expected one statement")) };
    match session.execute(statement).await? {
        Outcome::Rows(rows) => Ok(rows),
        Outcome::Done(_) | Outcome::Job(_) => Err(Error::internal("a question gave no rows")),
    }
}

/// The values of a statement's rows, as text.
async fn texts(session: &mut Session, statement: &str) -> Result<Vec<Vec<Option<String>>>> {
    let mut texts = Vec::new();
    for batch in rows(session, statement).await?.collect().await? {
        texts.append(&mut batch_texts(&batch)?);
    }
    Ok(texts)
}

fn batch_texts(batch: &RecordBatch) -> Result<Vec<Vec<Option<String>>>> {
    let options = FormatOptions::new();
    let formatters = batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options));
    let formatters = formatters.collect::<Result<Vec<_>, _>>().map_err(|e| Error::internal(e.to_string()))?;
    let row = |row: usize| {
        let values = formatters.iter().zip(batch.columns());
        values.map(|(f, column)| (!column.is_null(row)).then(|| f.value(row).to_string())).collect()
    };
    Ok((0..batch.num_rows()).map(row).collect())
}

/// All functions, the session's own first.
async fn functions(session: &mut Session) -> Result<Arc<[FunctionName]>> {
    let batches = rows(session, "SHOW FUNCTIONS").await?.collect().await?;
    let mut functions = Vec::new();
    for batch in &batches {
        let path = batch.column_by_name("path");
        for (at, row) in batch_texts(batch)?.into_iter().enumerate() {
            let [Some(name), signature, doc, ..] = row.as_slice() else { continue };
            functions.push(FunctionName {
                name: name.clone(),
                signature: signature.clone().unwrap_or_default(),
                doc: doc.clone().unwrap_or_default(),
                own: path.is_some_and(|path| path.is_valid(at)),
            });
        }
    }
    Ok(functions.into())
}

async fn columns(session: &mut Session, table: &str) -> Result<Vec<ColumnName>> {
    let rows = texts(session, &format!("DESCRIBE {}", quote_name(table))).await?;
    let column = |row: Vec<Option<String>>| {
        let mut row = row.into_iter().flatten();
        Some(ColumnName { name: row.next()?, sql_type: row.next().unwrap_or_default() })
    };
    Ok(rows.into_iter().filter_map(column).collect())
}

/// The columns that a query without a table would find in `topic`. Nothing is read beyond the sample.
async fn topic_columns(engine: &Arc<Engine>, topic: &str) -> Result<Vec<ColumnName>> {
    let mut session = engine.session();
    let found = rows(&mut session, &format!("SELECT * FROM topic({}) LIMIT 0", quote_text(topic))).await?;
    let column = |field: &Arc<arrow::datatypes::Field>| ColumnName {
        name: field.name().clone(),
        sql_type: sql_type(field.data_type()),
    };
    Ok(found.schema.fields().iter().map(column).collect())
}
