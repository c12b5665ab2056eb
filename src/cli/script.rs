//! Statements in order, and what becomes of each.   parsed ─► session ─► rows: stdout │ job: beside the rest │ done
//!
//! `run`, `sql` and a piped script share this; [`supervise`] keeps their jobs, signals and status lines together.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use futures::stream::{FuturesUnordered, StreamExt};

use super::args::OutputFormat;
use super::output::{self, Output};
use super::render::Layout;
use super::status::{self, Jobs};
use super::{Context, read_file, render, stopped};
use crate::engine::{Engine, Job, JobStatus, Outcome, Session, UntilEnd};
use crate::error::{Error, Position, Result};
use crate::sql::{Parsed, Show, Statement};

/// How often a job that fails beside a long statement is noticed.
const WATCH: Duration = Duration::from_millis(100);

/// One session that executes statements and prints their rows.
pub(crate) struct Script<'a> {
    cx: &'a Context,
    pub(crate) session: Session,
    jobs: Jobs,
    format: OutputFormat,
    until_end: UntilEnd,
    out: Output,
}

impl<'a> Script<'a> {
    /// A session whose relative paths begin in the working directory; with `--init`'s statements parsed but not executed.
    pub(crate) fn new(cx: &'a Context, engine: &Arc<Engine>, jobs: Jobs, format: OutputFormat, until_end: UntilEnd) -> Self {
        let mut session = engine.session();
        session.set_base(PathBuf::from("."), None);
        session.set_until_end(until_end);
        Self { cx, session, jobs, format, until_end, out: Output::stdout() }
    }

    /// Executes the file of `--init`, if there is one; jobs that it starts are jobs like others.
    pub(crate) async fn init(&mut self) -> Result<()> {
        let Some(path) = &self.cx.init else { return Ok(()) };
        let (text, name) = (read_text(path).await?, path.display().to_string());
        let statements = self.session.parse(&text, Some(&name))?;
        self.set_file(path);
        let outcome = self.all(&statements).await;
        self.session.set_base(PathBuf::from("."), None);
        outcome
    }

    /// Relative paths begin beside this file, and jobs are named after it.
    pub(crate) fn set_file(&mut self, path: &Path) {
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        self.session.set_base(dir.to_owned(), stem);
    }

    /// Executes all of `statements`; stops at the first error.
    pub(crate) async fn all(&mut self, statements: &[Parsed]) -> Result<()> {
        for statement in statements {
            let layout = if shows_ddl(statement) { Layout::Text } else { Layout::Aligned };
            let outcome = match self.session.execute(statement).await {
                Ok(outcome) => self.take(outcome, layout).await,
                Err(error) => Err(error),
            };
            outcome.map_err(|error| placed(error, &statement.position))?;
        }
        Ok(())
    }

    async fn take(&mut self, outcome: Outcome, layout: Layout) -> Result<()> {
        match outcome {
            Outcome::Done(_) => Ok(()),
            Outcome::Rows(rows) => tokio::select! {
                printed = render::print(rows, self.format, layout, &mut self.out, &self.cx.ui) => printed.map(|_| ()),
                error = output::reader_left() => Err(error),
            },
            Outcome::Job(job) => {
                self.jobs.add(Arc::clone(&job));
                match self.until_end {
                    UntilEnd::No => Ok(()),
                    UntilEnd::Leave | UntilEnd::Final => job.wait().await,
                }
            }
        }
    }
}

/// Whether a statement answers with a statement, which people paste elsewhere: no table around it.
pub(crate) fn shows_ddl(statement: &Parsed) -> bool {
    matches!(statement.statement, Statement::Show(Show::CreateTable(_) | Show::CreateView(_)))
}

/// Does `work`, then waits for the jobs it started. A signal, an error or a job that fails stops all jobs after their
/// epochs; what became of each is said.
pub(crate) async fn supervise(cx: &Context, jobs: &Jobs, work: impl Future<Output = Result<()>>) -> Result<()> {
    let outcome = tokio::select! {
        outcome = async { work.await?; wait_all(&jobs.all()).await } => outcome,
        error = failure(jobs) => Err(error),
        _ = cx.signals.wait() => Err(stopped()),
        () = status::show(jobs.clone(), Arc::clone(&cx.ui)) => Ok(()),
    };
    stop_all(cx, &jobs.all()).await;
    outcome
}

/// Stops `jobs` after their epochs and says what became of each.
pub(crate) async fn stop_all(cx: &Context, jobs: &[Arc<Job>]) {
    // The last words on a job are the same however long it ran.
    cx.ui.stamp(false);
    let running: Vec<_> = jobs.iter().filter(|job| !job.status().ended()).collect();
    running.iter().for_each(|job| job.stop());
    for outcome in join_all(running.iter().map(|job| job.wait())).await {
        if let Err(error) = outcome {
            cx.ui.error(&error);
        }
    }
    for job in jobs {
        let status = job.status();
        if !matches!(status, JobStatus::Failed(_)) {
            cx.ui.info(&status::ended(job.name(), &status, &job.metrics()));
        }
    }
}

async fn wait_all(jobs: &[Arc<Job>]) -> Result<()> {
    let mut ends: FuturesUnordered<_> = jobs.iter().map(|job| job.wait()).collect();
    while let Some(end) = ends.next().await {
        end?;
    }
    Ok(())
}

/// Ends with the error of the first job that fails.
async fn failure(jobs: &Jobs) -> Error {
    loop {
        tokio::time::sleep(WATCH).await;
        for job in jobs.all() {
            if matches!(job.status(), JobStatus::Failed(_))
                && let Err(error) = job.wait().await
            {
                return error;
            }
        }
    }
}

/// An error that knows no place gets the first line of its statement, unless that is all there is to see anyway.
pub(crate) fn placed(error: Error, statement: &Position) -> Error {
    if statement.file.is_none() && !statement.text.trim().contains('\n') {
        return error;
    }
    let span = &statement.span;
    let line = statement.text.get(span.clone()).and_then(|text| text.lines().next()).map_or(0, str::len);
    let mut place = statement.clone();
    place.span = span.start..span.start + line;
    error.at(place)
}

/// Reads a text file that was named on the command line.
pub(crate) async fn read_text(path: &Path) -> Result<String> {
    if path.as_os_str() == "-" && !path.exists() {
        let error = Error::user("there is no file \"-\"");
        return Err(error.hint("To run what comes from a pipe: vatic run /dev/stdin, or vatic < FILE."));
    }
    String::from_utf8(read_file(path).await?).map_err(|e| {
        let error = Error::user(format!("file \"{}\" is not UTF-8 text", path.display()));
        error.hint(format!("Look at byte {}.", e.utf8_error().valid_up_to()))
    })
}
