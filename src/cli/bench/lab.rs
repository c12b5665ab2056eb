//! A place for one case: an embedded broker in a temporary directory, and sessions on it.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::input;
use crate::cli::Context;
use crate::config::Options;
use crate::connector::Broker;
use crate::engine::{Engine, EngineConfig, EpochHook, Job, Notices, Outcome, PublishOptions, UntilEnd};
use crate::error::{Error, Result};

/// The model that all cases use.
pub(super) const MODEL: &str = "mlp";

/// A broker of its own for one case. The directory goes with it.
pub(super) struct Lab {
    engine: Arc<Engine>,
    dir: TempDir,
}

impl Lab {
    /// Opens an empty one.
    pub(super) async fn new(cx: &Context) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("vatic-bench-").tempdir();
        let dir = dir.map_err(|e| Error::external("no temporary directory could be made").source(e))?;
        let config = EngineConfig { broker: address(dir.path()), properties: Options::default(), ..cx.config.clone() };
        let ui = Arc::clone(&cx.ui);
        let warnings = Notices::new(move |notice| {
            if notice.level == crate::engine::Level::Warning {
                ui.warning(&notice.text);
            }
        });
        Ok(Self { engine: Engine::open(config, warnings).await?, dir })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }
    /// What stands behind `--broker`.
    pub(super) fn address(&self) -> String {
        address(self.dir.path())
    }
    /// The broker.
    pub(super) fn broker(&self) -> &Arc<dyn Broker> {
        self.engine.broker()
    }

    /// Publishes the network as version `number`.
    pub(super) async fn publish(&self, number: u8) -> Result<u64> {
        let options = PublishOptions::default();
        Ok(self.engine.publish("models", MODEL, input::network(number), &options).await?.version)
    }

    /// Loads what is published, which the first query would otherwise have to wait for.
    pub(super) async fn warm(&self) -> Result<()> {
        let mut session = self.engine.session();
        for statement in session.parse("SELECT count(*) FROM models WHERE status IN ('live', 'ready')", None)? {
            if let Outcome::Rows(rows) = session.execute(&statement).await? {
                rows.collect().await?;
            }
        }
        Ok(())
    }

    /// Executes `sql` up to its job, which is returned running.
    pub(super) async fn job(&self, sql: &str, until_end: UntilEnd, hook: Option<EpochHook>) -> Result<Arc<Job>> {
        let mut session = self.engine.session();
        session.set_until_end(until_end);
        if let Some(hook) = hook {
            session.set_epoch_hook(hook);
        }
        for statement in session.parse(sql, None)? {
            if let Outcome::Job(job) = session.execute(&statement).await? {
                return Ok(job);
            }
        }
        Err(Error::internal("a benchmark's query is no job"))
    }
}

fn address(dir: &Path) -> String {
    format!("embedded:{}", dir.display())
}

/// The file of the running program.
pub(super) fn this_program() -> Result<PathBuf> {
    std::env::current_exe().map_err(|e| Error::external("the program's own file was not found").source(e))
}

/// A process of ours, which ends with us at the latest.
pub(super) struct Child(std::process::Child);

impl Child {
    /// Starts `command` without input, and with our stderr.
    pub(super) fn spawn(command: &mut Command) -> Result<Self> {
        command.stdin(Stdio::null()).stderr(Stdio::inherit()).spawn().map(Self).map_err(process_failed)
    }
    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.0.try_wait().map_err(process_failed)
    }
    /// Waits for its end.
    pub(super) async fn wait(&mut self) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    /// What it wrote to a piped stdout, after its end.
    pub(super) fn said(&mut self) -> Result<String> {
        let mut text = String::new();
        if let Some(out) = &mut self.0.stdout {
            out.read_to_string(&mut text).map_err(process_failed)?;
        }
        Ok(text)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Both fail only if it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn process_failed(error: std::io::Error) -> Error {
    Error::external("a process of the benchmark could not be run").source(error)
}
