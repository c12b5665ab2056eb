//! A running query that writes: its handle, and the task that drives it.
//!
//! The handle outlives the task; whoever holds one can ask how the job is, stop it after its epoch, or wait for its end.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::connector::{Assignment, OffsetAt, Start};
use crate::error::{Error, Result};
use crate::metrics::{JobCounts, JobMetrics};
use crate::model::UseGuard;
use crate::stream::driver::{Driver, End, EpochReport, Observer};
use crate::udf::Function;

use super::blueprint::Blueprint;
use super::lookout;
use super::notices::Notices;

/// How a job is.
#[derive(Debug, Clone)]
pub enum JobStatus {
    /// It reads and writes.
    Running,
    /// It reads nothing until what it waits for is there.
    Waiting(String),
    /// Its inputs have ended and everything is committed.
    Finished,
    /// It was stopped; everything it took is committed.
    Stopped,
    /// It ended with an error.
    Failed(Error),
}

impl JobStatus {
    /// Whether it has ended, in whichever way.
    #[must_use]
    pub fn ended(&self) -> bool {
        !matches!(self, Self::Running | Self::Waiting(_))
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running => f.write_str("running"),
            Self::Waiting(what) => write!(f, "waiting: {what}"),
            Self::Finished => f.write_str("finished"),
            Self::Stopped => f.write_str("stopped"),
            Self::Failed(error) => write!(f, "failed: {error}"),
        }
    }
}

/// A job of this process.
#[derive(Debug)]
pub struct Job {
    name: String,
    /// The topics it reads.
    pub inputs: Vec<Arc<str>>,
    /// The topic it writes.
    pub output: Arc<str>,
    /// The functions of the user's own that it calls.
    functions: Vec<Arc<Function>>,
    metrics: Arc<JobMetrics>,
    started: Instant,
    status: watch::Receiver<JobStatus>,
    stop: watch::Sender<bool>,
}

impl Job {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
    /// How it is.
    #[must_use]
    pub fn status(&self) -> JobStatus {
        let status = self.status.borrow().clone();
        match (&status, self.metrics.commit_waits()) {
            // The loop is well; what it waits for is not.
            (JobStatus::Running, Some(waited)) if waited >= lookout::SHOWN => {
                JobStatus::Waiting(lookout::waiting_text(waited))
            }
            _ => status,
        }
    }
    /// What it has counted.
    #[must_use]
    pub fn metrics(&self) -> JobCounts {
        self.metrics.counts()
    }
    /// Whether it calls `function`.
    #[must_use]
    pub fn calls(&self, function: &Arc<Function>) -> bool {
        self.functions.iter().any(|own| Arc::ptr_eq(own, function))
    }
    /// When it was started in this process.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.started
    }
    /// Tells it to stop after its epoch, with everything committed. Returns at once; see [`Job::wait`].
    pub fn stop(&self) {
        // Fails only if the task has ended, and then there is nothing to stop.
        let _ = self.stop.send(true);
    }
    /// Waits for its end.
    ///
    /// # Errors
    /// The error that ended it.
    pub async fn wait(&self) -> Result<()> {
        let mut status = self.status.clone();
        let ended = status.wait_for(JobStatus::ended).await.map(|s| s.clone());
        match ended {
            Ok(JobStatus::Failed(error)) => Err(error),
            Ok(_) => Ok(()),
            Err(_) => Err(Error::internal(format!("job \"{}\" ended without a word", self.name))),
        }
    }
}

/// What a job needs before it reads anything: returns when it is there, telling what it waits for meanwhile.
pub type Ready = futures::future::BoxFuture<'static, Result<()>>;

/// Everything about a job that is not its driver.
pub struct JobSpec {
    /// Its name.
    pub name: String,
    /// The topics it reads.
    pub inputs: Vec<Arc<str>>,
    /// The topic it writes.
    pub output: Arc<str>,
    /// The functions of the user's own that it calls.
    pub functions: Vec<Arc<Function>>,
    /// Its counters, shared with the driver.
    pub metrics: Arc<JobMetrics>,
}

/// Runs a job through troubles that pass by themselves: each time it is put together again and goes on from what is committed.
async fn persist(
    mut driver: Driver,
    blueprint: &Blueprint,
    status: &watch::Sender<JobStatus>,
    mut stopped: watch::Receiver<bool>,
) -> Result<End> {
    const FIRST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(2);
    let mut pause = FIRST;
    loop {
        let began = Instant::now();
        let mut error = match driver.run().await {
            Err(error) if error.is_transient() => error,
            end => return end,
        };
        blueprint.notices.warning(format!("job \"{}\": {}; it goes on by itself", blueprint.name, error.chain()));
        if began.elapsed() > LONGEST {
            pause = FIRST;
        }
        driver = loop {
            status.send_replace(JobStatus::Waiting(error.chain()));
            let attempt = async {
                tokio::time::sleep(pause).await;
                blueprint.again().await
            };
            // Trouble that comes again is met more slowly.
            let made = tokio::select! {
                biased;
                _ = stopped.wait_for(|stop| *stop) => return Ok(End::Stopped),
                made = attempt => made,
            };
            pause = LONGEST.min(pause * 2);
            match made {
                Ok(driver) => break driver,
                Err(again) if again.is_transient() => error = again,
                Err(error) => return Err(error),
            }
        };
        status.send_replace(JobStatus::Running);
        blueprint.notices.info(format!("job \"{}\" goes on", blueprint.name));
    }
}

/// Starts the job's task. `ready` gets a sender for what the job waits for; `stop` is the driver's; `blueprint` makes it anew; `uses` are held until it ends.
pub fn start(
    spec: JobSpec,
    ready: impl FnOnce(watch::Sender<JobStatus>) -> Ready,
    driver: Driver,
    blueprint: Blueprint,
    stop: watch::Sender<bool>,
    uses: Vec<UseGuard>,
) -> Arc<Job> {
    let (status, status_seen) = watch::channel(JobStatus::Running);
    let ready = ready(status.clone());
    let mut stopped = stop.subscribe();
    let name = spec.name.clone();
    tokio::spawn(async move {
        let work = async {
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stop| *stop) => return Ok(End::Stopped),
                ready = ready => ready?,
            }
            status.send_replace(JobStatus::Running);
            tokio::select! {
                end = persist(driver, &blueprint, &status, stopped) => end,
                never = lookout::keep(&blueprint) => match never {},
            }
        };
        // They hold for as long as the query runs.
        let uses = uses;
        // A panic in the task must not leave others waiting: the status is sent whatever happens.
        let result = futures::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(work)).await;
        drop(uses);
        if result.is_ok() {
            lookout::tell_of_faults(&blueprint);
        }
        status.send_replace(match result {
            Ok(Ok(End::Finished)) => JobStatus::Finished,
            Ok(Ok(End::Stopped)) => JobStatus::Stopped,
            Ok(Err(error)) => JobStatus::Failed(error.context(format_args!("job \"{name}\""))),
            Err(_) => JobStatus::Failed(Error::internal(format!("job \"{name}\" ended by a panic"))),
        });
    });
    Arc::new(Job {
        name: spec.name,
        inputs: spec.inputs,
        output: spec.output,
        functions: spec.functions,
        metrics: spec.metrics,
        started: Instant::now(),
        status: status_seen,
        stop,
    })
}

/// Hears about one epoch; for benchmarks and the demo.
pub type EpochHook = Arc<dyn Fn(&EpochReport<'_>) + Send + Sync>;

/// Tells people what a query's driver says.
pub struct Reporter {
    /// The job's name, or `None` for a follower.
    pub job: Option<String>,
    /// Where positions without a commit begin, by topic.
    pub starts: Vec<(Arc<str>, Start)>,
    /// The ear.
    pub notices: Notices,
    /// Hears of epochs.
    pub hook: Option<EpochHook>,
}

impl Observer for Reporter {
    fn assigned(&self, topics: &[Arc<str>], assignments: &[Assignment]) {
        let Some(job) = &self.job else { return };
        for (index, topic) in topics.iter().enumerate() {
            let here: Vec<_> = assignments.iter().filter(|a| a.input == index).collect();
            if here.is_empty() {
                continue;
            }
            let list = |wanted: bool| -> Option<String> {
                let parts: Vec<String> = here
                    .iter()
                    .filter(|a| a.committed.is_some() == wanted)
                    .map(|a| format!("{}={}", a.partition, a.offset))
                    .collect();
                (!parts.is_empty()).then(|| parts.join(","))
            };
            if let Some(parts) = list(true) {
                self.notices.info(format!("job \"{job}\" reads \"{topic}\" from its committed offsets {parts}"));
            }
            if let Some(parts) = list(false) {
                let start =
                    self.starts.iter().find(|(name, _)| name == topic).map_or("the beginning", |(_, start)| why(start));
                self.notices.info(format!("job \"{job}\" reads \"{topic}\" from {parts} ({start}; nothing was committed)"));
            }
        }
    }

    fn waiting(&self, what: &str) {
        if let Some(job) = &self.job {
            self.notices.warning(format!("job \"{job}\" reads nothing for now: {what}"));
        }
    }

    fn changed_query(&self) {
        if let Some(job) = &self.job {
            let text = format!("job \"{job}\" was another query when it last ran; it goes on from where that one stopped");
            let hint = format!("To begin anew instead, stop it and execute RESET JOB \"{job}\"; outputs stay.");
            self.notices.warn(text, Some(hint));
        }
    }

    fn bad_records(&self, count: u64, first: &str) {
        if self.job.is_none() {
            self.notices
                .warning(format!("left out {count} record{}; the first: {first}", if count == 1 { "" } else { "s" }));
        }
    }

    fn epoch(&self, report: &EpochReport<'_>) {
        if let Some(hook) = &self.hook {
            hook(report);
        }
    }
}

fn why(start: &Start) -> &'static str {
    match start {
        Start::At(OffsetAt::Earliest) => "the earliest record",
        Start::At(OffsetAt::Latest) => "the present end",
        Start::At(OffsetAt::Timestamp(_)) => "the timestamp of scan.startup",
        Start::Offsets(_) => "the offsets of scan.startup",
    }
}
