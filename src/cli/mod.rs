//! The command line: `vatic run`, `sql`, `shell`, `publish`, `score`, `inspect`, `produce`, `consume`, `topic`, `demo`,
//! `udf`, `bench`, `completions`, `man`.
//!
//! ```text
//! args ─► Context (engine's config, ui, signals) ─► one module per subcommand ─► Result ─► exit code
//! stdout: results only (output.rs, render.rs);   stderr: everything else (ui.rs, errors.rs, status.rs)
//! ```
//!
//! Exit codes: 0 done; 1 the query, its data or a model is wrong; 2 usage; 3 outside trouble; 130 and 143 after a clean
//! stop by Ctrl-C and SIGTERM. How to add a subcommand stands in [`args`].

pub mod args;
pub mod bench;
mod consume;
mod demo;
mod errors;
mod files;
mod inspect;
mod man;
mod output;
mod produce;
mod properties;
mod publish;
mod render;
mod run;
mod score;
mod script;
mod secrets;
mod shell;
mod signals;
mod status;
mod topic;
mod udf;
mod ui;
mod usage;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::CommandFactory;
use tokio::runtime::Runtime;

use args::{Cli, Command};
use files::{read_file, read_model, unreadable};
use output::Output;
use signals::Signals;
use ui::Ui;

use crate::engine::{Engine, EngineConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::model::registry::Settings;
use crate::model::{Loader, Sandbox, sandbox};

/// What every subcommand works with.
#[derive(Debug)]
pub(crate) struct Context {
    /// The broker and its clients' properties.
    config: EngineConfig,
    /// Whether the broker was named on the command line.
    broker_named: bool,
    /// The way to the person.
    ui: Arc<Ui>,
    /// Ctrl-C and SIGTERM.
    signals: Signals,
    /// Statements to run first in every session.
    init: Option<PathBuf>,
    /// The folder of functions to load.
    udfs: Option<PathBuf>,
}

impl Context {
    /// Opens the engine on the broker that was asked for.
    pub(crate) async fn engine(&self) -> Result<Arc<Engine>> {
        Engine::open(self.config.clone(), self.ui.notices()).await
    }

    /// The engine with the functions of `--udfs`, for whoever executes SQL.
    pub(crate) async fn sql_engine(&self) -> Result<Arc<Engine>> {
        let engine = self.engine().await?;
        if let Some(dir) = &self.udfs {
            engine.load_functions(dir).await?;
        }
        Ok(engine)
    }

    /// Makes models of files, tried in a child process first.
    pub(crate) fn loader(&self) -> Loader {
        self.config.sandbox.clone().map_or_else(|| Settings::default().loader, Sandbox::loader)
    }

    /// Does `work` unless a signal comes first, which is an error of kind `Interrupted`.
    pub(crate) async fn until_signal<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            outcome = work => outcome,
            _ = self.signals.wait() => Err(stopped()),
        }
    }
}

/// The error of work that a signal ended: nothing is printed for it, and the signal decides the exit code.
fn stopped() -> Error {
    Error::new(ErrorKind::Interrupted, "stopped by a signal")
}

/// The process's whole life. Wrong usage, `--help` and `--version` are answered by clap.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(answer) => return usage::answer(&answer),
    };
    if let Some(Command::TryModel { memory, cpu_s }) = cli.command {
        return sandbox::child(memory, cpu_s);
    }
    let ui = Ui::new(cli.global.quiet, cli.global.color);
    let ui = Arc::new(ui.with_json(cli.errors_in_json(), cli.global.errors == args::ErrorsAs::Json));
    match start(cli, &ui) {
        Ok(code) => code,
        Err(error) => {
            ui.error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

fn start(cli: Cli, ui: &Arc<Ui>) -> Result<ExitCode> {
    // These need no broker, and are the definitions themselves in another form.
    let from_definitions = match &cli.command {
        Some(Command::Completions { shell }) => Some(completions(*shell)),
        Some(Command::Man { dir }) => Some(man::man(ui, dir.as_deref())),
        _ => None,
    };
    if let Some(outcome) = from_definitions {
        return Ok(outcome.map_or_else(|error| conclude(ui, None, &error), |()| ExitCode::SUCCESS));
    }
    let mut given = cli.global.properties_file.as_deref().map_or_else(|| Ok(Vec::new()), properties::read)?;
    // Of a property that is given twice the last one counts.
    given.extend(cli.global.properties);
    let cx = Context {
        broker_named: cli.global.broker_named,
        config: EngineConfig {
            broker: cli.global.broker,
            properties: given.into_iter().collect(),
            sandbox: Sandbox::this_program(),
        },
        ui: Arc::clone(ui),
        signals: Signals::install()?,
        init: cli.global.init,
        udfs: cli.global.udfs,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("vatic")
        .thread_stack_size(8 << 20) // planning deep expressions recurses
        .build()
        .map_err(|e| Error::external("cannot start threads").source(e))?;
    let outcome = dispatch(&cx, &runtime, cli.command.unwrap_or(Command::Shell));
    // Whatever must be finished is; a thread that still waits for stdin or a broker need not end.
    runtime.shutdown_timeout(Duration::from_millis(500));
    Ok(match outcome {
        Ok(()) => cx.signals.received().map_or(ExitCode::SUCCESS, |stop| ExitCode::from(stop.exit_code())),
        Err(error) => conclude(ui, Some(&cx.signals), &error),
    })
}

fn completions(shell: clap_complete::Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "vatic", &mut script);
    let mut out = Output::stdout();
    out.write(&script)?;
    out.flush()
}

fn dispatch(cx: &Context, runtime: &Runtime, command: Command) -> Result<()> {
    match command {
        Command::Shell => shell::shell(cx, runtime),
        Command::Run(args) => runtime.block_on(run::run(cx, &args)),
        Command::Sql(args) => runtime.block_on(run::sql(cx, &args)),
        Command::Publish(args) => runtime.block_on(cx.until_signal(publish::publish(cx, &args))),
        Command::Score(args) => runtime.block_on(score::score(cx, &args)),
        Command::Inspect(args) => runtime.block_on(cx.until_signal(inspect::inspect(cx, &args))),
        Command::Produce(args) => runtime.block_on(produce::produce(cx, &args)),
        Command::Consume(args) => runtime.block_on(cx.until_signal(async {
            tokio::select! {
                outcome = consume::consume(cx, &args) => outcome,
                error = output::reader_left() => Err(error),
            }
        })),
        Command::Udf(command) => runtime.block_on(cx.until_signal(udf::udf(command))),
        Command::Topic(command) => runtime.block_on(cx.until_signal(topic::topic(cx, command))),
        Command::Demo(args) => runtime.block_on(demo::demo(cx, &args)),
        Command::Bench(args) => runtime.block_on(bench::bench(cx, &args)),
        Command::BenchPart(part) => runtime.block_on(cx.until_signal(bench::part(cx, &part))),
        Command::Completions { .. } | Command::Man { .. } | Command::TryModel { .. } => Ok(()), // answered before anything was opened
    }
}

/// Prints an error and gives its exit code. Work that was interrupted ends quietly: by a signal with its code, by a reader
/// that left with 0.
fn conclude(ui: &Ui, signals: Option<&Signals>, error: &Error) -> ExitCode {
    if error.kind() == ErrorKind::Interrupted {
        let stop = signals.and_then(Signals::received);
        return stop.map_or(ExitCode::SUCCESS, |stop| ExitCode::from(stop.exit_code()));
    }
    ui.error(error);
    ExitCode::from(error.exit_code())
}
