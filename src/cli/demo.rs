//! `vatic demo`: SQL scores a stream of payments while a better model goes live in it.
//!
//! ```text
//! payments.sql ─► topic payments ─┬─► scored.sql ─► topic scored ─► a few rows per second on stdout
//!                                 └─► alerts.sql ─► topic alerts     then: the swap, lost and doubled rows, the registry
//! ```
//!
//! Everything is real and in this process: an embedded broker in a directory of its own, the saved queries of `queries/`, two
//! ONNX models (`tests/models/train.py` trained them), and counts that are read back from the topics. To show another query:
//! add it to `queries/` and to [`Demo::play`].

mod report;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, Int32Type, Int64Type};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use futures::StreamExt;
use futures::future::join_all;

use super::args::DemoArgs;
use super::errors::Paint;
use super::output::Output;
use super::{Context, stopped};
use crate::config::Options;
use crate::engine::{Engine, EngineConfig, Job, JobStatus, Notices, Outcome, PublishOptions, Rows, Session};
use crate::error::{Error, Result};

use report::{Epoch, grouped};

const PAYMENTS: &str = include_str!("../../queries/payments.sql");
const SCORED: &str = include_str!("../../queries/scored.sql");
const ALERTS: &str = include_str!("../../queries/alerts.sql");
const FRAUD_V1: &[u8] = include_bytes!("../../queries/models/fraud_v1.onnx");
const FRAUD_V2: &[u8] = include_bytes!("../../queries/models/fraud_v2.onnx");

/// How many payments `payments.sql` makes.
const ROWS: usize = 16_000;
/// So many payments are scored by the first version before the second is published.
const SWAP: usize = ROWS / 2;
/// One payment is printed each time: by turns the newest and the riskiest of those not shown yet.
const SHOW: Duration = Duration::from_millis(300);
/// With all payments made, and no scored one for so long, there is nothing more to wait for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Reads what `scored.sql` writes; the alerts are those of `alerts.sql`.
const FOLLOW: &str = "
    CREATE TABLE scored (id BIGINT, card VARCHAR, amount DOUBLE, hour INT, distance_km DOUBLE, tx_last_hour INT, risk DOUBLE,
                         version BIGINT)
    WITH (connector = 'kafka', topic = 'scored', format = 'json', scan.startup = 'earliest');
    SELECT id, card, amount, hour, distance_km, tx_last_hour, risk, version FROM scored EMIT CHANGES;";

/// Runs the demo.
///
/// # Errors
/// `User` if the directory of `--keep` is in use; `Data` if a row was lost or doubled; `Interrupted` after a signal.
pub(crate) async fn demo(cx: &Context, args: &DemoArgs) -> Result<()> {
    let home = Home::make(args.keep.as_deref())?;
    let broker = format!("embedded:{}", home.path().display());
    // What the jobs have to say is in the demo's own words; warnings are not.
    let ui = Arc::clone(&cx.ui);
    let notices = Notices::new(move |notice| {
        if notice.level == crate::engine::Level::Warning {
            ui.warning(&notice.text);
        }
    });
    let engine =
        Engine::open(EngineConfig { broker: broker.clone(), properties: Options::default(), ..cx.config.clone() }, notices)
            .await?;
    let paint = Paint(cx.ui.colored() && std::io::stdout().is_terminal());
    let mut demo =
        Demo { engine, out: Output::stdout(), paint, began: Instant::now(), jobs: Vec::new(), epochs: Arc::default() };
    let outcome = tokio::select! {
        outcome = demo.play() => outcome,
        _ = cx.signals.wait() => Err(stopped()),
    };
    demo.jobs.iter().for_each(|job| job.stop());
    // How a job ended is in the outcome already, or the outcome is worse.
    let _ = join_all(demo.jobs.iter().map(|job| job.wait())).await;
    outcome?;
    report::next_steps(&mut demo.out, &broker)?;
    home.keep();
    report::verdict(&demo.engine).await
}

/// Where the demo's topics live: what `--keep` says, or a temporary directory that goes unless the demo comes to its end.
enum Home {
    Kept(PathBuf),
    Temporary(tempfile::TempDir),
}

impl Home {
    fn make(keep: Option<&Path>) -> Result<Self> {
        let failed = |what: &Path, e| Error::external(format!("cannot create directory \"{}\"", what.display())).source(e);
        let Some(dir) = keep else {
            let made = tempfile::Builder::new().prefix("vatic-demo-").tempdir();
            return made.map(Self::Temporary).map_err(|e| failed(&std::env::temp_dir(), e));
        };
        std::fs::create_dir_all(dir).map_err(|e| failed(dir, e))?;
        if std::fs::read_dir(dir).map_err(|e| failed(dir, e))?.next().is_some() {
            return Err(Error::user(format!("directory \"{}\" is not empty", dir.display()))
                .hint("Name a new one: the demo counts every row in its topics."));
        }
        Ok(Self::Kept(dir.to_owned()))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Kept(dir) => dir,
            Self::Temporary(dir) => dir.path(),
        }
    }

    fn keep(self) {
        if let Self::Temporary(dir) = self {
            let _path = dir.keep();
        }
    }
}

struct Demo {
    engine: Arc<Engine>,
    out: Output,
    paint: Paint,
    began: Instant,
    /// All jobs, in the order of their start.
    jobs: Vec<Arc<Job>>,
    /// The epochs of the job that scores.
    epochs: Arc<Mutex<Vec<Epoch>>>,
}

impl Demo {
    async fn play(&mut self) -> Result<()> {
        self.out
            .line(&format!("{} card payments, 2,000 per second, scored by SQL while the model changes.\n", grouped(ROWS)))?;
        self.publish(FRAUD_V1, "a logistic regression").await?;
        self.start("payments", PAYMENTS, "to topic payments, 4 partitions").await?;
        self.start("scored", SCORED, "predict(...) each one, to topic scored").await?;
        self.start("alerts", ALERTS, "risk > 0.5, amount >= 20, to topic alerts").await?;
        self.watch().await?;
        for job in self.jobs.iter().skip(1) {
            job.stop(); // the generator's has ended
            job.wait().await?;
        }
        let epochs = std::mem::take(&mut *self.epochs.lock().unwrap_or_else(PoisonError::into_inner));
        report::report(&self.engine, &epochs, &mut self.out).await
    }

    /// Executes a saved query file, whose last statement is its job.
    async fn start(&mut self, name: &str, text: &str, what: &str) -> Result<()> {
        let mut session = self.engine.session();
        session.set_base("queries", Some(name.to_owned()));
        if name == "scored" {
            let epochs = Arc::clone(&self.epochs);
            session.set_epoch_hook(Arc::new(move |epoch| {
                let version = epoch.models.get("fraud").copied();
                epochs.lock().unwrap_or_else(PoisonError::into_inner).push(Epoch { ended: epoch.ended, version });
            }));
        }
        if let Outcome::Job(job) = last(&mut session, text, &format!("queries/{name}.sql")).await? {
            self.jobs.push(job);
        }
        self.say(&format!("run     {:<21} {what}", format!("queries/{name}.sql")))
    }

    async fn publish(&mut self, model: &'static [u8], what: &str) -> Result<()> {
        let published = publish(&self.engine, model).await?;
        self.say(&format!("publish {:<21} {what}, {} bytes of ONNX", published, grouped(model.len())))
    }

    /// Shows scored payments as they come, publishes the second version half-way, and ends when all are scored.
    async fn watch(&mut self) -> Result<()> {
        self.out.line("\nScored payments from topic scored, by turns the newest and the riskiest:\n")?;
        self.out.line("   time payment  card       amount  hour distance  recent   risk  model")?;
        self.out.flush()?;
        let mut session = self.engine.session();
        let Outcome::Rows(mut rows) = last(&mut session, FOLLOW, "demo").await? else {
            return Err(Error::internal("a SELECT gave no rows"));
        };
        let mut ticks = tokio::time::interval(SHOW);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut seen, mut version, mut riskiest, mut newest, mut turn) = (0, 1, None, None, false);
        let (mut last_seen, mut publication) = (Instant::now(), None);
        loop {
            tokio::select! {
                batch = rows.next() => {
                    let Some(batch) = batch else { return Err(Error::internal("what follows a topic ended")) };
                    let batch = batch?;
                    (seen, last_seen) = (seen + batch.num_rows(), Instant::now());
                    for payment in (0..batch.num_rows()).map(|row| Payment::read(&batch, row)) {
                        if payment.version > version {
                            version = payment.version;
                            self.mark(&format!("fraud:{version} is live, with payment {}", payment.id))?;
                            riskiest = None;
                        }
                        if riskiest.as_ref().is_none_or(|r: &Payment| payment.risk > r.risk) {
                            riskiest = Some(payment.clone());
                        }
                        newest = Some(payment);
                    }
                    if seen >= SWAP && publication.is_none() {
                        let engine = Arc::clone(&self.engine);
                        publication = Some(tokio::spawn(async move { publish(&engine, FRAUD_V2).await }));
                        self.mark(&format!("publishing a neural network, {} bytes of ONNX", grouped(FRAUD_V2.len())))?;
                    }
                }
                _ = ticks.tick() => {
                    turn = !turn;
                    let (newest, riskiest) = (newest.take(), if turn { None } else { riskiest.take() });
                    if let Some(payment) = riskiest.or(newest) {
                        let line = payment.line(self.began.elapsed(), self.paint);
                        self.out.line(&line)?;
                        self.out.flush()?;
                    }
                    for job in &self.jobs {
                        if let JobStatus::Failed(error) = job.status() {
                            return Err(error);
                        }
                    }
                    let made = self.jobs.first().is_none_or(|job| job.status().ended());
                    let read = self.jobs.iter().all(|job| job.metrics().rows_in >= ROWS as u64);
                    if made && ((seen >= ROWS && read) || last_seen.elapsed() > PATIENCE) {
                        break;
                    }
                }
            }
        }
        match publication {
            Some(task) => task.await.map_err(|e| Error::internal(format!("publishing ended early: {e}")))?.map(|_| ()),
            None => Ok(()),
        }
    }

    fn say(&mut self, text: &str) -> Result<()> {
        self.out.line(&format!("{} {text}", clock(self.began.elapsed())))?;
        self.out.flush()
    }

    /// A line that stands out among the payments.
    fn mark(&mut self, text: &str) -> Result<()> {
        let line = self.paint.help(&format!("{:-<66}", format!("-- {text} ")));
        self.say(&format!(" {line}"))
    }
}

/// Executes the statements of `text`; gives what the last one gave.
async fn last(session: &mut Session, text: &str, file: &str) -> Result<Outcome> {
    let mut outcome = Outcome::Done(String::new());
    for statement in session.parse(text, Some(file))? {
        outcome = session.execute(&statement).await?;
    }
    Ok(outcome)
}

/// The rows of the last statement of `text`.
async fn query(engine: &Arc<Engine>, text: &str) -> Result<Rows> {
    match last(&mut engine.session(), text, "demo").await? {
        Outcome::Rows(rows) => Ok(rows),
        Outcome::Done(_) | Outcome::Job(_) => Err(Error::internal("a SELECT gave no rows")),
    }
}

async fn publish(engine: &Arc<Engine>, model: &'static [u8]) -> Result<String> {
    let it = engine.publish("models", "fraud", Bytes::from_static(model), &PublishOptions::default()).await?;
    Ok(format!("{}:{}", it.name, it.version))
}

/// Seconds since the demo began, 7 characters wide.
fn clock(elapsed: Duration) -> String {
    format!("{:>5.1} s", elapsed.as_secs_f64())
}

/// A scored payment.
#[derive(Debug, Clone)]
struct Payment {
    id: i64,
    card: String,
    amount: f64,
    hour: i32,
    distance_km: f64,
    tx_last_hour: i32,
    risk: f64,
    version: i64,
}

impl Payment {
    /// Reads a row of [`FOLLOW`].
    fn read(batch: &RecordBatch, row: usize) -> Self {
        let long = |i: usize| batch.column(i).as_primitive::<Int64Type>().value(row);
        let int = |i: usize| batch.column(i).as_primitive::<Int32Type>().value(row);
        let double = |i: usize| batch.column(i).as_primitive::<Float64Type>().value(row);
        Self {
            id: long(0),
            card: batch.column(1).as_string_view_opt().map_or_else(
                || batch.column(1).as_string_opt::<i32>().map_or_else(String::new, |a| a.value(row).to_owned()),
                |a| a.value(row).to_owned(),
            ),
            amount: double(2),
            hour: int(3),
            distance_km: double(4),
            tx_last_hour: int(5),
            risk: double(6),
            version: long(7),
        }
    }

    fn line(&self, at: Duration, paint: Paint) -> String {
        let risk = format!("{:>5.3}", self.risk);
        let (risk, alert) = if self.risk > 0.5 {
            (paint.warning(&risk), format!("  {}", paint.warning("alert")))
        } else {
            (risk, String::new())
        };
        format!(
            "{} {:>7}  {:<8} {:>8.2}  {:>2} h  {:>4.0} km  {:>6}  {risk}  fraud:{}{alert}",
            clock(at),
            self.id,
            self.card,
            self.amount,
            self.hour,
            self.distance_km,
            self.tx_last_hour,
            self.version
        )
    }
}
