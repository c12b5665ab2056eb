//! The language, tested as people use it: `tests/sql/<area>/*.slt`, run by sqllogictest against the engine.
//!
//! ```text
//! file.slt ─► records ─► session on a fresh embedded broker (a temporary folder per file) ─► rows or an error, compared
//! ```
//!
//! One record is one behaviour. Jobs run until the ends of their inputs, so an `INSERT ... SELECT` is done before the next
//! record. An error is compared whole: `kind: text`, `at: ` the part of the statement it points at (if that is not all of it),
//! `hint: ` the hint. Beside SQL a record may be a command of the test's own; see `command.rs` for the list.
//!
//! `VATIC_SLT_UPDATE=1 cargo test --workspace --test sql` writes what came out into the files: read the diff before it is
//! committed. To add an area: a folder, and a line in [`areas`].

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod command;
mod fuzz;
#[allow(dead_code)] // shared with the other tests, which use more of it
#[path = "../it/models.rs"]
mod models;
mod render;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner};
use vatic::engine::{Engine, EngineConfig, Notices, Outcome, Session, UntilEnd};

use self::render::Failure;

/// No statement of these tests is slow; one that takes so long hangs.
const DEADLINE: Duration = Duration::from_secs(120);

/// One file's database: an engine on a broker of its own.
struct Vatic {
    engine: Arc<Engine>,
    session: Session,
    heard: Arc<Mutex<Vec<String>>>,
    dir: tempfile::TempDir,
}

impl Vatic {
    async fn open() -> Result<Self, Failure> {
        let dir = tempfile::tempdir().unwrap();
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let ear = Arc::clone(&heard);
        let home = dir.path().display().to_string();
        let notices =
            Notices::new(move |notice| ear.lock().unwrap().push(notice.text.replace('\n', " ").replace(&home, "DIR")));
        let files = dir.path().join("files");
        std::fs::create_dir(&files).unwrap();
        let broker = format!("embedded:{}", dir.path().join("broker").display());
        let engine = Engine::open(EngineConfig { broker, ..EngineConfig::default() }, notices).await?;
        let mut session = engine.session();
        session.set_base(files, None);
        session.set_until_end(UntilEnd::Leave);
        Ok(Self { engine, session, heard, dir })
    }

    /// Executes all statements of `sql`; the outcome is the last one's.
    async fn execute(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Failure> {
        if let Some(command) = sql.strip_prefix('\\') {
            return self.command(command).await;
        }
        let mut output = DBOutput::StatementComplete(0);
        for statement in self.session.parse(sql, None)? {
            let in_statement = |error| Failure::of(error, Some(&statement.position));
            output = match self.session.execute(&statement).await.map_err(in_statement)? {
                Outcome::Done(tag) => DBOutput::StatementComplete(render::count(&tag)),
                Outcome::Job(job) => {
                    job.wait().await.map_err(in_statement)?;
                    DBOutput::StatementComplete(job.metrics().rows_out)
                }
                Outcome::Rows(rows) => {
                    let schema = Arc::clone(&rows.schema);
                    render::rows(&schema, &rows.collect().await.map_err(in_statement)?)
                }
            };
        }
        Ok(output)
    }
}

#[async_trait::async_trait]
impl AsyncDB for Vatic {
    type Error = Failure;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Failure> {
        match tokio::time::timeout(DEADLINE, self.execute(sql)).await {
            Ok(outcome) => outcome.map_err(|error| error.without(&self.dir.path().display().to_string())),
            Err(_) => panic!("still running after {DEADLINE:?}: {sql}"),
        }
    }

    async fn shutdown(&mut self) {}

    fn engine_name(&self) -> &str {
        "vatic"
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sql")
}

/// The folders beside this file.
fn folders() -> Vec<String> {
    let entries = std::fs::read_dir(root()).unwrap().map(Result::unwrap).filter(|e| e.path().is_dir());
    let mut names: Vec<String> = entries.map(|e| e.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Runs every file of an area, and reports all that fail.
fn run(area: &str) {
    let entries = std::fs::read_dir(root().join(area)).unwrap().map(|e| e.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|p| p.extension().is_some_and(|e| e == "slt")).collect();
    files.sort();
    assert!(!files.is_empty(), "no files in area {area}");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut failed = Vec::new();
    for file in &files {
        let mut runner = Runner::new(Vatic::open);
        runner.with_column_validator(sqllogictest::strict_column_validator);
        if std::env::var_os("VATIC_SLT_UPDATE").is_some() {
            let update = runner.update_test_file(
                file,
                " ",
                sqllogictest::default_validator,
                sqllogictest::default_normalizer,
                sqllogictest::strict_column_validator,
            );
            runtime.block_on(update).unwrap();
        } else if let Err(error) = runtime.block_on(runner.run_file_async(file)) {
            failed.push(error.display(false).to_string());
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

/// A test for each area.
macro_rules! areas {
    ($($area:ident)*) => {
        $(#[test]
        fn $area() {
            run(stringify!($area).trim_start_matches("r#"));
        })*

        #[test]
        fn every_folder_is_an_area() {
            let mut listed = vec![$(stringify!($area)),*];
            listed.sort_unstable();
            assert_eq!(listed, folders());
        }
    };
}

areas! { ddl errors explain insert jobs score select settings types }
