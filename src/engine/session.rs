//! One conversation: its tables, views, settings and jobs, and what each statement does.
//!
//! Nothing of a session is stored: a saved query file holds its DDL. Statements are executed one at a time, in order.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::Fields;
use sqlparser::ast;

use crate::error::{Error, Result, did_you_mean};
use crate::sql::{ObjectKind, Params, Parsed, Settings, Statement};

use super::functions::Functions;
use super::job::{EpochHook, Job};
use super::query::Rows;
use super::run::group_of;
use super::tables::Table;
use super::{Engine, resolve};

/// What a statement gives.
pub enum Outcome {
    /// It is done; the text is psql's kind of tag: `CREATE TABLE`, `INSERT 3`.
    Done(String),
    /// Rows, as they come.
    Rows(Rows),
    /// A job that runs from now on; with [`UntilEnd`] it ends by itself, and whoever executes waits for that before the next
    /// statement.
    Job(Arc<Job>),
}

/// Whether jobs stop at the ends that their inputs had when they started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UntilEnd {
    /// They go on.
    #[default]
    No,
    /// They stop there, and leave open windows in their state.
    Leave,
    /// They stop there, and close open windows.
    Final,
}

/// A view.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub name: String,
    pub query: ast::Query,
    pub fields: Fields,
    pub text: String,
}

/// One conversation with the engine.
pub struct Session {
    engine: Arc<Engine>,
    settings: Settings,
    pub(super) tables: BTreeMap<String, Arc<Table>>,
    pub(super) views: BTreeMap<String, View>,
    pub(super) functions: Functions,
    pub(super) jobs: Vec<Arc<Job>>,
    pub(super) base: PathBuf,
    pub(super) stem: Option<String>,
    pub(super) until_end: UntilEnd,
    pub(super) hook: Option<EpochHook>,
    pub(super) params: Params,
    /// What was told of columns that were inferred: each note once.
    pub(super) told: std::sync::Mutex<std::collections::BTreeSet<String>>,
    /// What is probably not meant in the present statement, found while it was executed.
    pub(super) advice: Vec<Error>,
    /// Whether a condition of the present statement was folded to false.
    pub(super) never_true: bool,
}

impl Session {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        let functions = engine.functions_mut().clone();
        Self {
            engine,
            functions,
            settings: Settings::default(),
            tables: BTreeMap::new(),
            views: BTreeMap::new(),
            jobs: Vec::new(),
            base: PathBuf::from("."),
            stem: None,
            until_end: UntilEnd::No,
            hook: None,
            params: Params::default(),
            told: std::sync::Mutex::default(),
            advice: Vec::new(),
            never_true: false,
        }
    }

    /// The engine.
    #[must_use]
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }
    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
    /// Where relative paths begin, and what jobs are called after: the file's folder and its stem.
    pub fn set_base(&mut self, dir: impl Into<PathBuf>, stem: Option<String>) {
        self.base = dir.into();
        self.stem = stem;
    }
    /// Whether jobs stop at the present ends.
    pub fn set_until_end(&mut self, until_end: UntilEnd) {
        self.until_end = until_end;
    }
    /// Lets `hook` hear of every epoch of the jobs started from now on.
    pub fn set_epoch_hook(&mut self, hook: EpochHook) {
        self.hook = Some(hook);
    }
    /// Gives the parameters of the statements parsed from now on their values.
    pub fn set_params(&mut self, params: Params) {
        self.params = params;
    }
    /// The parameters of the statements parsed from now on.
    #[must_use]
    pub fn params(&self) -> &Params {
        &self.params
    }
    /// The functions of its own, by name, each with the hash of its library: another one after each change.
    #[must_use]
    pub fn own_function_versions(&self) -> Vec<(String, String)> {
        self.functions.values().map(|function| (function.name.clone(), function.present().hash.clone())).collect()
    }
    /// The jobs started here, in their order.
    #[must_use]
    pub fn jobs(&self) -> &[Arc<Job>] {
        &self.jobs
    }

    /// Reads a text into statements. Nothing is executed.
    ///
    /// # Errors
    /// `User`, with the place.
    pub fn parse(&self, text: &str, file: Option<&str>) -> Result<Vec<Parsed>> {
        crate::sql::parse_with(text, file, &self.params)
    }

    /// Executes one statement.
    ///
    /// # Errors
    /// Whatever is wrong with it, with its place.
    pub async fn execute(&mut self, statement: &Parsed) -> Result<Outcome> {
        self.never_true = false;
        self.advice.clear();
        let outcome = self.run(&statement.statement).await;
        let outcome = outcome.map_err(|error| super::place::placed(error, &statement.position))?;
        let mut advice = crate::sql::lint(statement);
        if self.never_true && advice.is_empty() {
            let never = Error::user("WHERE is never true: no row can come through");
            let never = never.hint("Check the values that it compares.");
            advice.push(super::place::placed(never, &statement.position));
        }
        let found = std::mem::take(&mut self.advice).into_iter();
        advice.extend(found.map(|found| super::place::placed(found, &statement.position)));
        advice.iter().for_each(|advice| self.engine.notices().advise(advice));
        Ok(match outcome {
            Outcome::Rows(rows) => Outcome::Rows(rows.placed(&statement.position)),
            other => other,
        })
    }

    async fn run(&mut self, statement: &Statement) -> Result<Outcome> {
        match statement {
            Statement::Query { query, emit: None } => self.answer(query).await.map(Outcome::Rows),
            Statement::Query { query, emit: Some(emit) } => self.follow(query, *emit).await.map(Outcome::Rows),
            Statement::Insert { target, columns, query, .. } => self.insert(target, columns, query).await,
            Statement::CreateTable { definition, if_not_exists, or_replace, query } => {
                if self.taken(&definition.name, *if_not_exists, *or_replace)? {
                    return Ok(done("CREATE TABLE"));
                }
                match query {
                    None => self.create_table((**definition).clone()).await,
                    Some(query) => self.create_table_as((**definition).clone(), query).await,
                }
            }
            Statement::CreateView { name, columns, if_not_exists, or_replace, query, text } => {
                if self.taken(name, *if_not_exists, *or_replace)? {
                    return Ok(done("CREATE VIEW"));
                }
                let query = resolve::with_column_names(query, columns)?;
                // Planned now, so that a mistake is an error of this statement and not of the first that reads the view.
                let draft = self.draft(&query, super::plan::Mode::Follow).await?;
                if let Some(column) = super::plan::doubled(&draft.names) {
                    let error = Error::user(format!("two columns of view \"{name}\" are called \"{column}\""));
                    return Err(error.hint("Give one of them another name with AS."));
                }
                let fields = resolve::fields_of(draft.logical.schema().as_arrow(), &draft.names);
                let view = View { name: name.clone(), query, fields, text: text.clone() };
                self.replace(&name.to_lowercase(), |session, key| drop(session.views.insert(key, view)));
                Ok(done("CREATE VIEW"))
            }
            Statement::CreateFunction { name, path, if_not_exists, or_replace } => {
                self.create_function(name, path, *if_not_exists, *or_replace).await
            }
            Statement::Drop { kind, name, if_exists } => self.drop_object(*kind, &name.text, *if_exists),
            Statement::Show(show) => self.show(show).await.map(Outcome::Rows),
            Statement::Describe(name) => self.describe(&name.text).await.map(Outcome::Rows),
            Statement::Set { name, value } => {
                self.settings.set(name, value)?;
                Ok(done("SET"))
            }
            Statement::Reset(name) => {
                self.settings.reset(name)?;
                Ok(done("RESET"))
            }
            Statement::StopJob(name) => {
                let job = self.job(name)?;
                job.stop();
                // How it ended otherwise is its own news; this statement asked for the end only.
                let _ = job.wait().await;
                Ok(done("STOP JOB"))
            }
            Statement::ResetJob(name) => self.reset_job(name).await,
            Statement::Copy { query, path, options } => self.copy(query, path, options).await,
            Statement::Explain { how, statement } => self.explain(statement, *how).await.map(Outcome::Rows),
        }
    }

    /// Whether there is something of this name and nothing is to be done.
    pub(super) fn taken(&mut self, name: &str, if_not_exists: bool, or_replace: bool) -> Result<bool> {
        let key = name.to_lowercase();
        let what = match (self.tables.contains_key(&key), self.views.contains_key(&key)) {
            (true, _) => "table",
            (_, true) => "view",
            _ if key == "models" => "table",
            _ => return Ok(false),
        };
        if if_not_exists {
            return Ok(true);
        }
        if or_replace && key != "models" {
            // What was there goes only when its successor is known to work.
            self.check_unused(&key, name)?;
            return Ok(false);
        }
        if key == "models" {
            return Err(Error::user("table \"models\" exists in every session").hint("Choose another name."));
        }
        Err(Error::user(format!("{what} \"{name}\" exists already"))
            .hint(format!("Choose another name, or DROP {} {name};", what.to_uppercase())))
    }

    /// Refuses to let go of a table that a job uses.
    fn check_unused(&self, key: &str, name: &str) -> Result<()> {
        if let Some(table) = self.tables.get(key) {
            let topic = &table.rows.topic;
            let user =
                self.jobs.iter().find(|job| !job.status().ended() && (job.output == *topic || job.inputs.contains(topic)));
            if let Some(job) = user {
                let error = Error::user(format!("table \"{name}\" is used by job \"{}\"", job.name()));
                return Err(error.hint(format!("Stop it first: STOP JOB '{}';", job.name())));
            }
        }
        Ok(())
    }

    /// Forgets what is called `key`, and lets `add` take the place.
    pub(super) fn replace(&mut self, key: &str, add: impl FnOnce(&mut Self, String)) {
        self.tables.remove(key);
        self.views.remove(key);
        add(self, key.to_owned());
    }

    fn drop_object(&mut self, kind: ObjectKind, name: &str, if_exists: bool) -> Result<Outcome> {
        let key = name.to_lowercase();
        let (what, there, names): (&str, bool, Vec<String>) = match kind {
            ObjectKind::Table => {
                ("table", self.tables.contains_key(&key), self.tables.values().map(|t| t.definition.name.clone()).collect())
            }
            ObjectKind::View => {
                ("view", self.views.contains_key(&key), self.views.values().map(|v| v.name.clone()).collect())
            }
            ObjectKind::Function => {
                ("function", self.functions.contains_key(&key), self.functions.keys().cloned().collect())
            }
        };
        if there && kind == ObjectKind::Function {
            // A query that runs keeps what it calls.
            self.functions.remove(&key);
        } else if there {
            self.check_unused(&key, name)?;
            self.replace(&key, |_, _| ());
        } else if let Some(error) = self.other_kind(&key, name, kind) {
            return Err(error);
        } else if !if_exists {
            let error = Error::user(format!("no {what} \"{name}\""));
            return Err(match did_you_mean(name, &format!("{what}s"), names.iter().map(String::as_str)) {
                Some(hint) => error.hint(hint),
                None => error,
            });
        }
        Ok(done(&format!("DROP {}", what.to_uppercase())))
    }

    /// The error of a DROP that names the wrong kind of thing.
    fn other_kind(&self, key: &str, name: &str, kind: ObjectKind) -> Option<Error> {
        match kind {
            ObjectKind::Table if self.views.contains_key(key) => {
                Some(Error::user(format!("\"{name}\" is a view")).hint(format!("Write DROP VIEW {name};")))
            }
            ObjectKind::View if self.tables.contains_key(key) => {
                Some(Error::user(format!("\"{name}\" is a table")).hint(format!("Write DROP TABLE {name};")))
            }
            _ if key == "models" && kind != ObjectKind::Function => Some(
                Error::user("table \"models\" exists in every session").hint("Leave it: it is read from the model topic."),
            ),
            _ => None,
        }
    }

    fn job(&self, name: &str) -> Result<Arc<Job>> {
        self.jobs.iter().rev().find(|j| j.name() == name).cloned().ok_or_else(|| {
            let error = Error::user(format!("no job \"{name}\" in this session"));
            let hint = did_you_mean(name, "jobs", self.jobs.iter().map(|j| j.name()));
            error.hint(hint.unwrap_or_else(|| "A job of another process is stopped there, with Ctrl-C.".to_owned()))
        })
    }

    async fn reset_job(&mut self, name: &str) -> Result<Outcome> {
        if let Some(job) = self.jobs.iter().find(|j| j.name() == name && !j.status().ended()) {
            let error = Error::user(format!("job \"{}\" is running", job.name()));
            return Err(error.hint(format!("Stop it first: STOP JOB '{name}';")));
        }
        if self.engine.broker().reset_group(&group_of(name), &[]).await? {
            self.engine.notices().info(format!("job \"{name}\" forgot its positions and begins anew when it starts"));
        } else {
            let hint = "Check the name: it is SET job.name, else the saved file's name, a dot and the target's.";
            self.engine.notices().warn(format!("no job \"{name}\" has committed anything"), Some(hint.to_owned()));
        }
        Ok(done("RESET JOB"))
    }

    /// A table of this session.
    ///
    /// # Errors
    /// `User`, with the nearest name.
    pub(super) fn table(&self, name: &str) -> Result<&Arc<Table>> {
        let key = name.to_lowercase();
        self.tables.get(&key).ok_or_else(|| {
            if self.views.contains_key(&key) {
                return Error::user(format!("\"{name}\" is a view")).hint("Name a table.");
            }
            if key == "models" {
                let error = Error::user("table \"models\" cannot be written or shown: it is read from the model topic");
                return error.hint("Publish a model: vatic publish NAME FILE");
            }
            let error = Error::user(format!("no table \"{name}\""));
            let names =
                self.tables.values().map(|t| t.definition.name.as_str()).chain(self.views.values().map(|v| v.name.as_str()));
            match did_you_mean(name, "tables", names) {
                Some(hint) => error.hint(hint),
                None => error.hint(format!("Declare it: CREATE TABLE {name} (column TYPE, ...) WITH (topic = '...').")),
            }
        })
    }

    /// Changes a setting's holder: the name for the next job is used up by it.
    pub(super) fn take_job_name(&mut self) -> Option<String> {
        self.settings.take_job_name()
    }

    pub(super) fn base(&self) -> &Path {
        &self.base
    }
}

pub(super) fn done(tag: &str) -> Outcome {
    Outcome::Done(tag.to_owned())
}
