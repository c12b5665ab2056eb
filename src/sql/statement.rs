//! What a text can ask for: the statements, as data.
//!
//! Queries are sqlparser's AST as typed; [`resolve`](super::resolve) has still to find the spelling of their names.

use sqlparser::ast::Query;

use super::definition::TableDefinition;
use super::names::Name;
use crate::connector::file::WriteOptions;
use crate::error::Position;

/// One statement of a text.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// What it asks for.
    pub statement: Statement,
    /// Where it stands in the text that was parsed, without its semicolon.
    pub position: Position,
    /// Its own text.
    pub text: String,
}

/// A statement.
#[derive(Debug, Clone, PartialEq)]
pub enum Statement {
    /// `SELECT`, `VALUES`, `WITH ... SELECT`: answers and ends, or follows.
    Query {
        /// The query; with `emit`, without its LIMIT.
        query: Box<Query>,
        /// `EMIT CHANGES`: it follows.
        emit: Option<Emit>,
    },
    /// `INSERT INTO target (columns) ...`
    Insert {
        /// The table written to.
        target: Name,
        /// The columns named, in their order; empty: all.
        columns: Vec<Name>,
        /// What is written.
        query: Box<Query>,
        /// Whether the query is a plain `VALUES`: it writes and ends, and is no job.
        values: bool,
    },
    /// `CREATE TABLE ...`, with a query `CREATE TABLE ... AS ...`: a job.
    CreateTable {
        /// The table; without columns where they come from the query or from the first records.
        definition: Box<TableDefinition>,
        /// Do nothing if there is a table of this name.
        if_not_exists: bool,
        /// Take the place of a table of this name.
        or_replace: bool,
        /// What is written to it.
        query: Option<Box<Query>>,
    },
    /// `CREATE VIEW name AS query`
    CreateView {
        /// Its name as typed.
        name: String,
        /// Names for its columns; empty: the query's.
        columns: Vec<String>,
        /// Do nothing if there is one of this name.
        if_not_exists: bool,
        /// Take the place of one of this name.
        or_replace: bool,
        /// Its query.
        query: Box<Query>,
        /// The query's text.
        text: String,
    },
    /// `CREATE FUNCTION name FROM 'path'`: a function written for Arroyo.
    CreateFunction {
        /// Its name as typed.
        name: String,
        /// A .rs file, a crate's folder, or a library beside its source.
        path: String,
        /// Do nothing if there is one of this name.
        if_not_exists: bool,
        /// Take the place of one of this name, in running jobs, too.
        or_replace: bool,
    },
    /// `DROP TABLE name`, `DROP VIEW name`, `DROP FUNCTION name`: forgets it; a topic is never deleted.
    Drop {
        /// What is dropped.
        kind: ObjectKind,
        /// Its name.
        name: Name,
        /// Do nothing if there is none.
        if_exists: bool,
    },
    /// `SHOW ...`
    Show(Show),
    /// `DESCRIBE table`: its columns.
    Describe(Name),
    /// `SET name = value`; name and value are valid.
    Set {
        /// The setting, as it is spelled in the list of settings.
        name: &'static str,
        /// The value as text.
        value: String,
    },
    /// `RESET name`: the setting's default.
    Reset(&'static str),
    /// `STOP JOB name`: cleanly, after its epoch.
    StopJob(String),
    /// `RESET JOB name`: forget its offsets and state.
    ResetJob(String),
    /// `COPY query TO 'path' (options)`: an answer, written to a file.
    Copy {
        /// What is written.
        query: Box<Query>,
        /// The file, as typed.
        path: String,
        /// How it is written.
        options: WriteOptions,
    },
    /// `EXPLAIN statement`: the plan of a query or a job.
    Explain {
        /// What is shown, and how.
        how: Explaining,
        /// A [`Statement::Query`], [`Statement::Insert`] or [`Statement::CreateTable`] with a query.
        statement: Box<Statement>,
    },
}

/// What EXPLAIN shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Explaining {
    /// Run it, too, and show what each step did.
    pub analyze: bool,
    /// With DataFusion's plans.
    pub verbose: bool,
    /// One JSON object.
    pub json: bool,
}

/// `EMIT CHANGES`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Emit {
    /// End after so many rows of the whole statement.
    pub limit: Option<u64>,
}

/// What can be dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    /// A table.
    Table,
    /// A view.
    View,
    /// A function of the user's own.
    Function,
}

/// What `SHOW` shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Show {
    /// The session's tables.
    Tables,
    /// The session's views.
    Views,
    /// The broker's topics.
    Topics,
    /// The models of the model topic.
    Models,
    /// The session's jobs.
    Jobs,
    /// The functions.
    Functions,
    /// The formats.
    Formats,
    /// The connectors.
    Connectors,
    /// All settings.
    All,
    /// One setting, as it is spelled in the list of settings.
    Setting(&'static str),
    /// `SHOW CREATE TABLE name`: its DDL.
    CreateTable(Name),
    /// `SHOW CREATE VIEW name`: its DDL.
    CreateView(Name),
    /// `SHOW COLUMNS FROM name`.
    Columns(Name),
}
