//! A place for one case, and sessions on it.
//!
//! ```text
//! embedded   a broker of its own in a temporary directory, which goes with it
//! Kafka      topics and groups with names of their own, which are deleted at the end
//! ```
//!
//! On Kafka, what feeds and watches the job is another process ([`Lab::part`]): what is measured is the job's alone.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::sync::RwLock;

use super::input::{PARTITIONS, network};
use crate::cli::Context;
use crate::cli::ui::Ui;
use crate::config::Options;
use crate::connector::{Broker, NewTopic};
use crate::engine::{Engine, EngineConfig, EpochHook, Job, Notices, Outcome, PublishOptions, UntilEnd};
use crate::error::{Error, ErrorKind, Result};

/// The model that all cases use.
pub(super) const MODEL: &str = "mlp";
/// Longer than brokers wait for a member that says nothing.
const SESSION: Duration = Duration::from_secs(20);

/// A place for one case.
pub(super) struct Lab {
    engine: Arc<Engine>,
    /// Files of the case, and the embedded broker's.
    dir: TempDir,
    /// What stands behind `--broker` and `-X`.
    config: EngineConfig,
    ui: Arc<Ui>,
    kafka: bool,
    /// In front of every name on Kafka; empty on a broker of our own.
    prefix: String,
    jobs: Mutex<Vec<Arc<Job>>>,
    groups: Mutex<Vec<String>>,
    /// Shared by what makes something on a broker of others; closing takes it for itself.
    making: RwLock<()>,
    /// From here on nothing that is said matters: topics go away under those who follow them.
    closing: Arc<AtomicBool>,
}

impl Lab {
    /// Opens one: on Kafka if the command line names it, else on an embedded broker that is empty.
    pub(super) async fn new(cx: &Context) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("vatic-bench-").tempdir();
        let dir = dir.map_err(|e| Error::external("no temporary directory could be made").source(e))?;
        let kafka = on_kafka(cx);
        let config = if kafka {
            cx.config.clone()
        } else {
            let broker = format!("embedded:{}", dir.path().display());
            EngineConfig { broker, properties: Options::default(), ..cx.config.clone() }
        };
        let prefix =
            if kafka { format!("vatic-bench-{:x}-{}-", crate::time::now(), std::process::id()) } else { String::new() };
        let (ui, closing) = (Arc::clone(&cx.ui), Arc::<AtomicBool>::default());
        let (over, told) = (Arc::clone(&closing), Arc::clone(&ui));
        let warnings = Notices::new(move |notice| {
            if notice.level == crate::engine::Level::Warning && !over.load(Relaxed) {
                told.warning(&notice.text);
            }
        });
        let engine = Engine::open(config.clone(), warnings).await?;
        let (jobs, groups, making) = (Mutex::default(), Mutex::default(), RwLock::default());
        Ok(Self { engine, dir, config, ui, kafka, prefix, jobs, groups, making, closing })
    }

    /// `work` on this lab, up to its end or a signal. What is being made when the signal comes is made first: a request that has left
    /// cannot be called back, and what it makes would stay behind.
    pub(super) async fn until_signal<T>(&self, cx: &Context, work: impl Future<Output = Result<T>>) -> Result<T> {
        let mut work = pin!(work);
        let stopped = tokio::select! {
            outcome = &mut work => return outcome,
            stopped = cx.until_signal(std::future::pending::<Result<T>>()) => stopped,
        };
        tokio::select! {
            _ = &mut work => {}
            // Waits for those who make, and is served before those who ask next.
            _ = self.making.write() => {}
        }
        stopped
    }

    /// Ends what runs and takes everything away that was made on a broker of others.
    pub(super) async fn close(self) {
        self.closing.store(true, Relaxed);
        let jobs = std::mem::take(&mut *self.jobs.lock().unwrap_or_else(PoisonError::into_inner));
        for job in jobs {
            job.stop();
            // How a job ends does not matter any more; one that waits for a broker must not hold us up.
            let _ = tokio::time::timeout(Duration::from_secs(5), job.wait()).await;
        }
        if !self.kafka {
            return;
        }
        let groups = std::mem::take(&mut *self.groups.lock().unwrap_or_else(PoisonError::into_inner));
        for group in groups {
            if let Err(error) = self.forget(&group).await {
                self.ui.warning(&format!("group \"{group}\" stays: {error}"));
            }
        }
        for topic in [self.input(), self.output(), self.models()] {
            if let Err(error) = self.broker().delete_topic(&topic).await {
                self.ui.warning(&format!("topic \"{topic}\" stays: {error}"));
            }
        }
    }

    /// Deletes a group. A member that was stopped while it joined is one until its session is over, so a busy group is asked again.
    async fn forget(&self, group: &str) -> Result<()> {
        let begun = Instant::now();
        loop {
            match self.broker().reset_group(group, &[]).await {
                Err(error) if error.kind() == ErrorKind::User && begun.elapsed() < SESSION => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                outcome => return outcome.map(|_| ()),
            }
        }
    }

    /// Where files of the case can stand.
    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }
    /// Whether it is on Kafka.
    pub(super) fn is_kafka(&self) -> bool {
        self.kafka
    }
    /// The broker.
    pub(super) fn broker(&self) -> &Arc<dyn Broker> {
        self.engine.broker()
    }
    /// The topic that the job reads.
    pub(super) fn input(&self) -> String {
        if self.kafka { format!("{}input", self.prefix) } else { "bench-input".to_owned() }
    }
    /// The topic that the job writes.
    pub(super) fn output(&self) -> String {
        if self.kafka { format!("{}output", self.prefix) } else { "bench-output".to_owned() }
    }
    fn models(&self) -> String {
        format!("{}models", self.prefix)
    }

    /// Creates the topics of the case, the input with so many partitions.
    pub(super) async fn topics(&self, partitions: i32) -> Result<()> {
        let _making = self.making.read().await;
        for (name, partitions) in [(self.input(), partitions), (self.output(), PARTITIONS)] {
            self.broker().create_topic(&NewTopic { name, partitions: Some(partitions), ..NewTopic::default() }).await?;
        }
        Ok(())
    }

    /// What stands before the statements of a job: on Kafka, names that are nobody else's, and no topic for dead letters (there
    /// will be none, and it would stay).
    pub(super) fn preamble(&self, job: &str) -> String {
        if !self.kafka {
            return String::new();
        }
        let name = format!("{}{job}", self.prefix);
        self.groups.lock().unwrap_or_else(PoisonError::into_inner).push(format!("vatic-{name}"));
        format!("SET job.name = '{name}'; SET models.topic = '{}'; SET score.on_error = 'fail';", self.models())
    }
    /// What a table of the input says about bad records.
    pub(super) fn bad_records(&self) -> &'static str {
        if self.kafka { ", bad_records = 'fail'" } else { "" }
    }

    /// Publishes the network as version `number`.
    pub(super) async fn publish(&self, number: u8) -> Result<u64> {
        let _making = self.making.read().await;
        let options = PublishOptions::default();
        Ok(self.engine.publish(&self.models(), MODEL, network(number), &options).await?.version)
    }

    /// Loads what is published, which the first query would otherwise have to wait for.
    pub(super) async fn warm(&self) -> Result<()> {
        let mut session = self.engine.session();
        let sql =
            format!("SET models.topic = '{}'; SELECT count(*) FROM models WHERE status IN ('live', 'ready')", self.models());
        for statement in session.parse(&sql, None)? {
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
        let _making = self.making.read().await;
        for statement in session.parse(&(self.preamble("job") + sql), None)? {
            if let Outcome::Job(job) = session.execute(&statement).await? {
                self.jobs.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&job));
                return Ok(job);
            }
        }
        Err(Error::internal("a benchmark's query is no job"))
    }

    /// `vatic args... --broker ...`, on this broker.
    pub(super) fn command(&self, args: &[&str]) -> Result<Command> {
        command(&self.config, args)
    }

    /// Starts `vatic bench-part args...` on this broker.
    pub(super) fn part(&self, args: &[&str]) -> Result<Child> {
        let mut command = self.command(&[&["bench-part", "--quiet"], args].concat())?;
        Child::spawn(command.stdout(Stdio::piped()))
    }
}

/// Whether cases run on Kafka: only if the command line says so. `VATIC_BROKER` may be set for other work on other people's machines.
pub(super) fn on_kafka(cx: &Context) -> bool {
    cx.broker_named && !cx.config.broker.starts_with("embedded")
}

/// `vatic args...` with a broker and its properties.
pub(super) fn command(config: &EngineConfig, args: &[&str]) -> Result<Command> {
    let mut command = Command::new(this_program()?);
    command.args(args).args(["--broker", &config.broker]);
    config.properties.iter().for_each(|(name, value)| {
        command.args(["-X", &format!("{name}={value}")]);
    });
    Ok(command)
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
    /// Waits for its end, which must be good; what it wrote to a piped stdout.
    pub(super) async fn result(&mut self) -> Result<String> {
        let status = self.wait().await?;
        if status.success() {
            return self.said();
        }
        Err(Error::external(format!("a process of the benchmark ended with {status}")).hint("Its own words stand above."))
    }
    /// Asks it to end, and gives it time to clean up.
    pub(super) async fn stop(&mut self) {
        if let Ok(pid) = i32::try_from(self.0.id())
            && self.ended().is_ok_and(|ended| ended.is_none())
        {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            let _ = tokio::time::timeout(Duration::from_secs(15), self.wait()).await;
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
