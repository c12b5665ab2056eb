//! The interactive shell.   line editor ─► [`Runner`]: statements, commands ─► rows on stdout, the rest on stderr;   jobs go on
//!
//! A statement may span lines and ends with `;`; a command begins with a backslash and ends with its line. Ctrl-C clears the line
//! or ends the query that runs, never the shell; Ctrl-D, `\q`, `exit` and `quit` leave. Without a terminal, stdin is a script.
//! The modules: `lex`, `words`, `pieces`, `commands` say what was typed; `place`, `scope`, `complete`, `catalog`,
//! `highlight` help to type it;
//! `editor`, `plain` read it; `execute`, `describe`, `functions`, `watch`, `edit`, `params`, `samples` do it; `display`, `pager`, `jobs`, `banner` show it.

mod banner;
mod catalog;
mod commands;
mod complete;
mod describe;
mod display;
mod edit;
mod editor;
mod execute;
mod functions;
mod highlight;
mod jobs;
mod lex;
mod pager;
mod params;
mod pieces;
mod place;
mod plain;
mod samples;
mod scope;
mod watch;
mod words;

use std::io::{IsTerminal, Read as _};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;

use super::args::OutputFormat;
use super::script::{Script, stop_all, supervise};
use super::status::Jobs;
use super::{Context, run, stopped};
use crate::engine::{Engine, UntilEnd};
use crate::error::{Error, ErrorKind, Result};

use editor::Input;
use execute::{Flow, Runner};
use plain::Read;

/// So long the first prompt waits for what is on the broker.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs the shell, or the script on stdin.
///
/// # Errors
/// Opening the engine; in a script as [`run::text`]. Interactively errors are printed, and the shell goes on.
pub(crate) fn shell(cx: &Context, runtime: &Runtime) -> Result<()> {
    if !std::io::stdin().is_terminal() {
        return runtime.block_on(async {
            let text = cx.until_signal(read_stdin()).await?;
            if pieces::read(&text).commands.is_empty() {
                return run::text(cx, &text, Some("stdin"), OutputFormat::Table).await;
            }
            piped(cx, &text).await
        });
    }
    let engine = runtime.block_on(cx.until_signal(cx.sql_engine()))?;
    let script = Script::new(cx, &engine, Jobs::default(), OutputFormat::Table, UntilEnd::No);
    let mut runner = Runner::new(cx, Arc::clone(&engine), script, true, None);
    runtime.block_on(cx.until_signal(runner.script.init()))?;
    cx.signals.be_patient();
    runtime.block_on(runner.catalog.refresh(&mut runner.script.session))?;
    let asking = runtime.spawn(runner.catalog.clone().keep(Arc::clone(&engine)));
    if !cx.ui.is_quiet() {
        runtime.block_on(greet(cx, &engine, &runner));
    }
    let outcome = converse(&mut runner, runtime);
    asking.abort();
    runtime.block_on(leave(&runner));
    outcome
}

/// Says where the shell is and what is there.
async fn greet(cx: &Context, engine: &Engine, runner: &Runner<'_>) {
    let asked = tokio::time::timeout(PATIENCE, runner.catalog.asked()).await;
    if let Ok(Err(error)) = &asked {
        cx.ui.error(error);
    }
    let answered = matches!(asked, Ok(Ok(())));
    cx.ui.say(&banner::banner(engine.broker().address(), &runner.catalog.names(), answered));
}

/// Executes the script on stdin, which has commands in it.
async fn piped(cx: &Context, text: &str) -> Result<()> {
    let engine = cx.until_signal(cx.sql_engine()).await?;
    let jobs = Jobs::default();
    let script = Script::new(cx, &engine, jobs.clone(), OutputFormat::Table, UntilEnd::No);
    let mut runner = Runner::new(cx, Arc::clone(&engine), script, false, Some(jobs.clone()));
    let work = async {
        runner.script.init().await?;
        runner.text(text, Some("stdin")).await.map(|_| ())
    };
    supervise(cx, &jobs, work).await
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

/// Reads and executes, until somebody has enough.
fn converse(runner: &mut Runner<'_>, runtime: &Runtime) -> Result<()> {
    let cx = runner.cx;
    let mut input = Input::open(cx, &runner.catalog)?;
    let mut begun = String::new();
    loop {
        runtime.block_on(runner.reports.tell(runner.script.session.jobs()));
        cx.ui.hold(input.outlet());
        let watching = runtime.spawn(runner.reports.clone().watch(runner.script.session.jobs().to_vec()));
        let read = input.read(cx, runtime, &std::mem::take(&mut begun));
        watching.abort();
        cx.ui.release();
        let mut text = match read? {
            Read::Text(text) => text,
            Read::Nothing => continue,
            Read::End => return Ok(()),
            Read::Stop => return Err(stopped()),
        };
        loop {
            // A Ctrl-C that came too late for the last statement is not for this one.
            cx.signals.clear();
            let flow = runtime.block_on(runner.text(&text, None));
            match flow {
                Ok(Flow::Go) => {}
                Ok(Flow::Leave) => return Ok(()),
                Ok(Flow::Type(rest)) => begun = rest,
                Ok(Flow::Edited(edited)) => {
                    cx.ui.say(edited.trim_end());
                    if !plain::is_whole(&edited) {
                        begun = edited.trim_end().to_owned();
                    } else {
                        input.remember(&edited);
                        text = edited;
                        continue;
                    }
                }
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted if cx.signals.received() == Some(super::signals::Stop::Terminate) => {
                        return Err(error);
                    }
                    ErrorKind::Interrupted => {
                        cx.ui.end_line();
                        cx.ui.info("cancelled");
                    }
                    _ => cx.ui.error(&error),
                },
            }
            break;
        }
        cx.signals.clear();
        // Names are for completion only: what is wrong with them is told where it matters.
        let _ = runtime.block_on(runner.catalog.refresh(&mut runner.script.session));
    }
}

async fn leave(runner: &Runner<'_>) {
    let jobs = runner.script.session.jobs().iter().filter(|job| !job.status().ended()).cloned().collect::<Vec<_>>();
    if jobs.is_empty() {
        return;
    }
    stop_all(runner.cx, &jobs).await;
    runner.cx.ui.info(
        "Jobs end with the shell; their offsets are kept.\nTo keep them running, save the statements and: vatic run FILE",
    );
}
