//! The interactive shell.   line editor ─► statements ─► rows on stdout, the rest on stderr;   jobs go on in the background
//!
//! A statement may span lines and ends with `;`. Ctrl-C clears the line or ends the query that runs; Ctrl-D, `\q`, `exit`
//! and `quit` leave. What jobs have to say waits until a line is entered. Without a terminal, stdin is a script.

use std::borrow::Cow;
use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::sync::Arc;

use reedline::{
    FileBackedHistory, Prompt, PromptEditMode, PromptHistorySearch, Reedline, Signal, ValidationResult, Validator,
};
use tokio::runtime::Runtime;

use super::args::OutputFormat;
use super::output::Output;
use super::script::{Script, stop_all};
use super::status::{self, Jobs};
use super::{Context, render, run, stopped};
use crate::engine::{Job, JobStatus, Outcome, UntilEnd};
use crate::error::{Error, ErrorKind, Result};
use crate::sql::{self, Parsed};

/// So many entries of the history are kept.
const HISTORY: usize = 10_000;

const HELP: &str = r#"A statement ends with ";" and may span lines.

  SELECT ...                        answers and ends: topics are read to their present end
  SELECT ... EMIT CHANGES           follows new rows until Ctrl-C or LIMIT
  INSERT INTO t SELECT ...          runs in the background as a job, with offsets that survive it
  CREATE TABLE t (...) WITH (...)   names a topic, a file or a generator as a table, for this session
  SHOW TABLES, TOPICS, JOBS, FUNCTIONS, ALL;   DESCRIBE t;   EXPLAIN SELECT ...;   STOP JOB name

  SELECT * FROM topic('payments') LIMIT 5;      any topic, without a CREATE TABLE
  SELECT name, version, status FROM models;     the models there are; publish one with: vatic publish NAME FILE

  Ctrl-C ends a query or clears the line.   \? or help: this help.   \q, exit, quit or Ctrl-D: leave."#;

/// Runs the shell, or the script on stdin.
///
/// # Errors
/// Opening the engine; in a script as [`run::text`]. Interactively errors are printed, and the shell goes on.
pub(crate) fn shell(cx: &Context, runtime: &Runtime) -> Result<()> {
    if !std::io::stdin().is_terminal() {
        return runtime.block_on(async {
            let text = cx.until_signal(read_stdin()).await?;
            run::text(cx, &text, Some("stdin"), OutputFormat::Table).await
        });
    }
    let engine = runtime.block_on(cx.until_signal(cx.sql_engine()))?;
    let mut script = Script::new(cx, &engine, Jobs::default(), OutputFormat::Table, UntilEnd::No);
    runtime.block_on(cx.until_signal(script.init()))?;
    let mut shell = Shell { cx, script, out: Output::stdout(), reported: Vec::new() };
    if !cx.ui.is_quiet() {
        let (version, address) = (env!("CARGO_PKG_VERSION"), engine.broker().address());
        cx.ui.say(&format!("vatic {version} on {address}. Type help for help, \\q to leave."));
    }
    shell.read(runtime)
}

/// The script on stdin. A thread reads it, since a read cannot be called off and must not keep a Ctrl-C waiting.
async fn read_stdin() -> Result<String> {
    let (sender, text) = tokio::sync::oneshot::channel();
    let read = move || {
        let mut text = String::new();
        // Nobody waits any more if this fails.
        let _ = sender.send(std::io::stdin().read_to_string(&mut text).map(|_| text));
    };
    let unreadable = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::InvalidData => Error::user("the script on stdin is not UTF-8 text"),
        _ => Error::external("cannot read stdin").source(e),
    };
    std::thread::Builder::new().name("vatic-stdin".to_owned()).spawn(read).map_err(unreadable)?;
    text.await.map_err(|_| Error::internal("the thread that reads stdin ended"))?.map_err(unreadable)
}

struct Shell<'a> {
    cx: &'a Context,
    script: Script<'a>,
    out: Output,
    /// Jobs whose end was told.
    reported: Vec<Arc<Job>>,
}

impl Shell<'_> {
    fn read(&mut self, runtime: &Runtime) -> Result<()> {
        let mut editor = editor(self.cx);
        let outcome = loop {
            runtime.block_on(self.report());
            self.cx.ui.hold();
            let line = editor.read_line(&VaticPrompt);
            self.cx.ui.release();
            let text = match line {
                Ok(Signal::Success(text)) => text,
                Ok(Signal::CtrlD) => break Ok(()),
                Ok(Signal::ExternalBreak(_)) => {
                    self.cx.ui.say(""); // ends the line with the prompt
                    break Err(stopped());
                }
                Ok(_) => continue, // Ctrl-C cleared the line
                Err(e) => break Err(Error::external("cannot read from the terminal").source(e)),
            };
            match command(&text) {
                Typed::Nothing => {}
                Typed::Leave => break Ok(()),
                Typed::Help => self.cx.ui.say(HELP),
                Typed::Unknown(name) => {
                    let error = Error::user(format!("unknown command \"{name}\""));
                    self.cx.ui.error(&error.hint("Type help for what there is."));
                }
                Typed::Statements => {
                    if let Err(error) = runtime.block_on(self.execute(&text)) {
                        if self.cx.signals.received() == Some(super::signals::Stop::Terminate) {
                            break Err(error);
                        }
                        match error.kind() {
                            ErrorKind::Interrupted => self.cx.ui.info("cancelled"),
                            _ => self.cx.ui.error(&error),
                        }
                    }
                    self.cx.signals.clear();
                }
            }
        };
        runtime.block_on(self.leave());
        outcome
    }

    async fn execute(&mut self, text: &str) -> Result<()> {
        // A last statement without `;` cannot come from the editor, so it is complete.
        let statements = self.script.session.parse(text, None)?;
        for statement in &statements {
            self.cx.until_signal(one(self.cx, &mut self.script, &mut self.out, statement)).await?;
        }
        Ok(())
    }

    /// Tells which jobs have ended since the last prompt.
    async fn report(&mut self) {
        for job in self.script.session.jobs() {
            let status = job.status();
            if !status.ended() || self.reported.iter().any(|told| Arc::ptr_eq(told, job)) {
                continue;
            }
            self.reported.push(Arc::clone(job));
            match status {
                JobStatus::Failed(_) => {
                    if let Err(error) = job.wait().await {
                        self.cx.ui.error(&error);
                    }
                }
                _ => self.cx.ui.info(&status::ended(job.name(), &status, &job.metrics())),
            }
        }
    }

    async fn leave(&mut self) {
        let jobs = self.script.session.jobs().iter().filter(|job| !job.status().ended()).cloned().collect::<Vec<_>>();
        if jobs.is_empty() {
            return;
        }
        stop_all(self.cx, &jobs).await;
        self.cx.ui.info(
            "Jobs end with the shell; their offsets are kept. To keep them running, save the statements and: vatic run FILE",
        );
    }
}

async fn one(cx: &Context, script: &mut Script<'_>, out: &mut Output, statement: &Parsed) -> Result<()> {
    match script.session.execute(statement).await? {
        Outcome::Done(tag) => cx.ui.info(&tag),
        Outcome::Rows(rows) => {
            render::print(rows, OutputFormat::Table, out, &cx.ui).await?;
        }
        Outcome::Job(job) => {
            let name = job.name();
            cx.ui.info(&format!("job \"{name}\" runs in the background: SHOW JOBS shows it, STOP JOB {name} stops it"));
        }
    }
    Ok(())
}

/// What was typed.
#[derive(Debug, PartialEq, Eq)]
enum Typed<'a> {
    Nothing,
    Leave,
    Help,
    Unknown(&'a str),
    Statements,
}

fn command(text: &str) -> Typed<'_> {
    let word = text.trim().trim_end_matches(';').trim_end();
    match word.to_ascii_lowercase().as_str() {
        "" => Typed::Nothing,
        "\\q" | "exit" | "quit" => Typed::Leave,
        "\\?" | "help" => Typed::Help,
        _ if word.starts_with('\\') => Typed::Unknown(word.split_whitespace().next().unwrap_or(word)),
        _ => Typed::Statements,
    }
}

fn editor(cx: &Context) -> Reedline {
    let editor = Reedline::create()
        .with_validator(Box::new(Complete))
        .with_ansi_colors(cx.ui.colored())
        .with_break_signal(cx.signals.terminated());
    let Some(path) = history_path() else { return editor };
    match FileBackedHistory::with_file(HISTORY, path.clone()) {
        Ok(history) => editor.with_history(Box::new(history)),
        Err(e) => {
            cx.ui.warning(&format!("no history: cannot use file \"{}\": {e}", path.display()));
            editor
        }
    }
}

fn history_path() -> Option<PathBuf> {
    let var = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let state = var("XDG_STATE_HOME").map(|dir| dir.join("vatic").join("history"));
    state.or_else(|| var("HOME").map(|home| home.join(".vatic_history")))
}

/// Enter ends the input if it is a command, or statements up to a `;`.
struct Complete;

impl Validator for Complete {
    fn validate(&self, line: &str) -> ValidationResult {
        match command(line) {
            Typed::Statements if sql::incomplete(line) => ValidationResult::Incomplete,
            _ => ValidationResult::Complete,
        }
    }
}

struct VaticPrompt;

impl Prompt for VaticPrompt {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        Cow::Borrowed("vatic")
    }
    fn render_prompt_right(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }
    fn render_prompt_indicator(&self, _: PromptEditMode) -> Cow<'_, str> {
        Cow::Borrowed("> ")
    }
    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        Cow::Borrowed("  ...> ")
    }
    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        Cow::Owned(format!("(history: {}) ", search.term))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_from_statements() {
        assert_eq!(command("  \n"), Typed::Nothing);
        assert_eq!(command("EXIT;"), Typed::Leave);
        assert_eq!(command("\\q"), Typed::Leave);
        assert_eq!(command("help"), Typed::Help);
        assert_eq!(command("\\dt t"), Typed::Unknown("\\dt"));
        assert_eq!(command("SELECT 1;"), Typed::Statements);
    }
}
