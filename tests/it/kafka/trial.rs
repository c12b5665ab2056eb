//! A job under trouble, and what it must have done in the end.
//!
//! ```text
//! producer ─► IN (8 partitions, poison among it) ─► vatic run, several processes ─► OUT, dead letters ─► witness ─► verdict
//!                                                     ▲ versions of a model, published meanwhile
//! ```
//!
//! Each input is told apart by its id, and the id says what must become of it ([`fate`]). The verdict (`verdict.rs`) rests on what
//! Kafka's own console consumer reads (`witness.rs`); while a trial waits, it looks at the group's committed positions.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use vatic::connector::{Broker, Commit, OffsetAt, Output, Position, SinkSpec};
use vatic::engine::{Engine, Notices, PublishOptions};

use super::cluster::Cluster;
use super::verdict::{self, Fate, fate};
use super::{start, witness};
use crate::conformance::{name, output, read_all, texts, topic, values, write};
use crate::harness::{Place, Running};
use crate::models::constant_model;

/// Sessions that end soon, so that a dead process's partitions are taken over within the test's patience.
pub const QUICK: [&str; 4] = ["-X", "session.timeout.ms=2000", "-X", "heartbeat.interval.ms=300"];
pub const PATIENCE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(50);

pub fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Numbers that come again with the same seed.
pub struct Random(u64);

impl Random {
    pub fn new(what: &str) -> Self {
        let now = u64::try_from(vatic::time::now()).unwrap();
        let seed = number("VATIC_SEED", now % 1_000_000);
        println!("{what}: VATIC_SEED={seed}");
        Self(seed.wrapping_mul(2).wrapping_add(1))
    }
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
    /// A time below `end` milliseconds.
    pub fn millis(&mut self, end: u64) -> Duration {
        Duration::from_millis(self.below(end))
    }
}

/// A job under trouble, and what it must have done in the end.
pub struct Trial {
    pub place: Place,
    pub address: String,
    pub broker: Arc<dyn Broker>,
    pub input: String,
    /// The topic it writes, and the name of its job.
    pub target: String,
    pub models: Arc<Models>,
    /// Each row must come once only.
    pub once: bool,
    pub produced: Arc<AtomicU64>,
    /// So many ids may be produced by now.
    pub allowed: Arc<AtomicU64>,
    pub enough: Arc<AtomicBool>,
    pub producer: Option<tokio::task::JoinHandle<()>>,
}

impl Trial {
    pub async fn new(cluster: &Cluster) -> Self {
        let (broker, address) = (cluster.open(), cluster.address());
        let input = topic(&broker, 8, &[]).await;
        let target = topic(&broker, 3, &[]).await;
        let models = Arc::new(Models::new(Arc::clone(&broker)));
        models.publish().await;
        let trial = Self {
            place: Place::new(),
            address,
            broker,
            input,
            target,
            models,
            once: true,
            produced: Arc::default(),
            allowed: Arc::new(AtomicU64::new(u64::MAX)),
            enough: Arc::default(),
            producer: None,
        };
        trial.job(&trial.target, "job.sql", "");
        trial
    }

    /// Writes a file with a job of that name, `settings` before it. All jobs of a trial write to its one target.
    pub fn job(&self, job: &str, file: &str, settings: &str) {
        let Self { input, target, models, .. } = self;
        let model = &models.name;
        self.place.file(
            file,
            format!(
                "{settings}
                 SET job.name = '{job}';
                 CREATE TABLE i (id BIGINT, p INT METADATA FROM 'partition', o BIGINT METADATA FROM 'offset')
                   WITH (connector = 'kafka', topic = '{input}', format = 'json');
                 CREATE TABLE o (id BIGINT, job VARCHAR, p INT, o BIGINT, q BIGINT, v BIGINT, s DOUBLE)
                   WITH (connector = 'kafka', topic = '{target}', format = 'json');
                 INSERT INTO o SELECT id, '{job}', p, o, 1000 / (id % 997 - 50),
                     predict('{model}', CAST(id AS DOUBLE)).version, score('{model}', CAST(id AS DOUBLE))
                   FROM i WHERE id % 10 <> 3;"
            ),
        );
    }

    /// Some ids as outputs: partition is id modulo 8.
    fn outputs(input: &str, ids: std::ops::Range<u64>) -> Vec<Output> {
        let of = |partition: u64| {
            let ids = ids.clone().filter(|id| id % 8 == partition);
            let text = |id| if fate(id) == Fate::Decode { format!("poison {id}") } else { format!("{{\"id\":{id}}}") };
            output(input, i32::try_from(partition).unwrap(), values(ids.map(text)))
        };
        (0..8).map(of).collect()
    }

    /// Writes input all the time, as far as is allowed: ids in order.
    pub fn produce(&mut self) {
        let (broker, input) = (Arc::clone(&self.broker), self.input.clone());
        let (produced, allowed, enough) = (Arc::clone(&self.produced), Arc::clone(&self.allowed), Arc::clone(&self.enough));
        self.producer = Some(tokio::spawn(async move {
            // It outlives what is done to brokers.
            let patient = SinkSpec { timeout: Some(Duration::from_secs(120)), ..SinkSpec::default() };
            let mut writer = broker.sink(patient).await.unwrap();
            let mut next = 0;
            while !enough.load(Ordering::Relaxed) {
                let rows = allowed.load(Ordering::Relaxed).saturating_sub(next).min(200);
                if rows > 0 {
                    let commit = Commit { outputs: Self::outputs(&input, next..next + rows), ..Commit::default() };
                    writer.commit(commit).await.unwrap();
                    next += rows;
                    produced.store(next, Ordering::Relaxed);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }));
    }

    /// Writes so many ids at once.
    pub async fn write(&self, count: u64) {
        let from = self.produced.load(Ordering::Relaxed);
        write(&self.broker, Self::outputs(&self.input, from..from + count)).await;
        self.produced.store(from + count, Ordering::Relaxed);
    }

    /// Lets the producer go on by so many ids.
    pub fn allow(&self, more: u64) {
        let next = |allowed: u64| Some(allowed.saturating_add(more));
        let _ = self.allowed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
    }

    pub fn run(&self) -> Running {
        start(&self.place, &self.address, &[&QUICK[..], &["run", "job.sql"]].concat())
    }

    /// The same, and sooner or later Kafka gives no answer at some step of a commit (in a debug build).
    pub fn run_badly(&self, random: &mut Random) -> Running {
        const STEPS: [&str; 6] = ["begin", "write", "positions", "settle", "commit", "abort"];
        let step = STEPS[usize::try_from(random.below(6)).unwrap()];
        let side = if random.below(2) == 0 { "before" } else { "after" };
        let points = format!("{step}:{side}:{}:error", 1 + random.below(20));
        let args = [&["--broker", &self.address][..], &QUICK, &["run", "job.sql"]].concat();
        Running::spawn(self.place.command(&args).env("VATIC_FAIL_POINT", points))
    }

    /// What the job committed of its input, as soon as the broker tells.
    async fn positions(&self) -> Vec<Position> {
        let (group, topics) = (format!("vatic-{}", self.target), [self.input.clone()]);
        loop {
            if let Ok(positions) = self.broker.positions(&group, &topics).await {
                return positions;
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until the committed positions are as wanted; tells what the processes said if that does not come.
    async fn until(&self, what: &str, jobs: &[Running], is_so: impl AsyncFn(&[Position]) -> bool) {
        let begun = Instant::now();
        loop {
            let positions = self.positions().await;
            if is_so(&positions).await {
                return;
            }
            let offsets: Vec<(i32, i64)> = positions.iter().map(|p| (p.partition, p.offset)).collect();
            let ended = jobs.iter().position(has_ended);
            assert!(ended.is_none(), "process {ended:?} has ended; they said:\n{}", said(jobs));
            assert!(begun.elapsed() < PATIENCE, "{what} does not come; at {offsets:?}; they said:\n{}", said(jobs));
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until the job has committed more than it had.
    pub async fn goes_on(&self, jobs: &[Running]) {
        let sum = |positions: &[Position]| positions.iter().map(|position| position.offset).sum::<i64>();
        let before = sum(&self.positions().await);
        self.allow(400);
        self.until("another commit", jobs, async |positions| sum(positions) > before).await;
    }

    /// Waits until the newest version of the model is in use, with input for it.
    pub async fn uses_newest(&self, jobs: &[Running]) {
        let (newest, name) = (self.models.newest(), &self.models.name);
        let used = |position: &Position| {
            let record: Value = serde_json::from_str(&position.metadata).unwrap_or_default();
            record["models"][name.as_str()].as_u64()
        };
        self.until("the newest version", jobs, async |positions| {
            let is_used = positions.iter().any(|position| used(position) == Some(newest));
            match self.producer {
                _ if is_used => {}
                Some(_) => self.allow(400),
                None => self.write(400).await,
            }
            is_used
        })
        .await;
    }

    /// Waits until everything that was produced is committed.
    pub async fn is_done(&self, jobs: &[Running]) {
        let ends = self.broker.offsets(&self.input, OffsetAt::Latest).await.unwrap();
        self.until("the end of the input", jobs, async |positions| {
            let at: BTreeMap<i32, i64> = positions.iter().map(|p| (p.partition, p.offset)).collect();
            at.len() == ends.len() && ends.iter().eq(at.values())
        })
        .await;
    }

    /// Stops producing, waits until everything is committed, and judges what the job has written.
    pub async fn check(&mut self, jobs: &[Running]) {
        self.enough.store(true, Ordering::Relaxed);
        if let Some(producer) = self.producer.take() {
            producer.await.unwrap();
        }
        self.is_done(jobs).await;
        self.judge(&[(self.target.as_str(), self.once)], &said(jobs)).await;
    }

    /// Judges what jobs have written (by name, and whether each row must have come once only), by what an outside consumer reads.
    pub async fn judge(&self, jobs: &[(&str, bool)], said: &str) {
        let rows = witness::read(&self.broker, &self.address, &self.target).await;
        let letters = witness::read(&self.broker, &self.address, "vatic-dead-letters").await;
        let ids = self.produced.load(Ordering::Relaxed);
        let answers = self.models.answers.lock().unwrap().clone();
        let ours: u64 = self.came().await.values().sum();
        assert_eq!(ours, rows.len() as u64, "rows, as vatic reads them and as the console consumer does");
        for (job, once) in jobs {
            match verdict::of(job, *once, ids, &rows, &letters, &answers) {
                Ok(verdict) => println!("{verdict}"),
                Err(wrong) => panic!("job {job}: {wrong}\nthe jobs said:\n{said}"),
            }
        }
    }

    /// How often each id is in the target, as vatic itself reads it.
    pub async fn came(&self) -> BTreeMap<u64, u64> {
        let mut came = BTreeMap::new();
        for text in read_all(&self.broker, &self.target).await.values().flat_map(|records| texts(records)) {
            // A mark is no row.
            let Ok(row) = serde_json::from_str::<Value>(&text) else { continue };
            *came.entry(row["id"].as_u64().unwrap()).or_insert(0) += 1;
        }
        came
    }
}

/// Versions of a trial's model: each answers its own number, whatever it is asked.
pub struct Models {
    engine: Arc<Engine>,
    pub name: String,
    /// What each version answers.
    pub answers: Mutex<BTreeMap<u64, f64>>,
    next: AtomicU64,
}

impl Models {
    fn new(broker: Arc<dyn Broker>) -> Self {
        let engine = Engine::over(broker, Notices::new(|_| {}));
        Self { engine, name: name("model"), answers: Mutex::default(), next: AtomicU64::new(1) }
    }

    pub fn newest(&self) -> u64 {
        *self.answers.lock().unwrap().keys().last().unwrap()
    }

    /// Publishes another version. A broker that is away is asked again; the same bytes twice are one version.
    pub async fn publish(&self) {
        let answer = self.next.fetch_add(1, Ordering::Relaxed);
        let model = constant_model(answer as f32, 1);
        let begun = Instant::now();
        loop {
            let options = PublishOptions::default();
            match self.engine.publish("models", &self.name, model.clone().into(), &options).await {
                Ok(published) => {
                    let other = self.answers.lock().unwrap().insert(published.version, answer as f64);
                    assert_eq!(other, None, "version {} was given twice", published.version);
                    return;
                }
                Err(error) => {
                    assert!(begun.elapsed() < PATIENCE, "it cannot be published: {error:?}");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }

    /// The same a little later, beside whatever happens then.
    pub fn publish_in(self: &Arc<Self>, wait: Duration) -> tokio::task::JoinHandle<()> {
        let models = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            models.publish().await;
        })
    }
}

/// What processes said so far.
pub fn said(jobs: &[Running]) -> String {
    jobs.iter().map(Running::err).collect::<Vec<_>>().join("\n--\n")
}

/// Whether a process has ended, waited for or not.
fn has_ended(job: &Running) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{}/stat", job.id())).unwrap_or_default();
    state.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with('Z'))
}
