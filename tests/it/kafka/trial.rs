//! A job under trouble, and what it must have done in the end.
//!
//! ```text
//! producer ─► IN (8 partitions, poison among it) ─► vatic run, several processes ─► OUT, dead letters ─► counted
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use vatic::connector::{Broker, SinkSpec};

use super::cluster::Cluster;
use super::start;
use crate::conformance::{output, read_all, texts, topic, values};
use crate::harness::{Place, Running};

/// Sessions that end soon, so that a dead process's partitions are taken over within the test's patience.
const QUICK: [&str; 4] = ["-X", "session.timeout.ms=2000", "-X", "heartbeat.interval.ms=300"];
pub const PATIENCE: Duration = Duration::from_secs(90);

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
}

/// A job under trouble, and what it must have done in the end.
pub struct Trial {
    pub place: Place,
    pub address: String,
    pub broker: Arc<dyn Broker>,
    pub input: String,
    pub target: String,
    pub produced: Arc<AtomicU64>,
    pub enough: Arc<AtomicBool>,
    pub producer: Option<tokio::task::JoinHandle<()>>,
}

impl Trial {
    pub async fn new(cluster: &Cluster) -> Self {
        let (broker, address) = (cluster.open(), cluster.address());
        let input = topic(&broker, 8, &[]).await;
        let target = topic(&broker, 3, &[]).await;
        let place = Place::new();
        place.file(
            "job.sql",
            format!(
                "SET job.name = '{target}';
                 CREATE TABLE i (id BIGINT) WITH (connector = 'kafka', topic = '{input}', format = 'json');
                 CREATE TABLE o (id BIGINT) WITH (connector = 'kafka', topic = '{target}', format = 'json');
                 INSERT INTO o SELECT id FROM i WHERE id % 10 <> 3;"
            ),
        );
        let (produced, enough) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        Self { place, address, broker, input, target, produced, enough, producer: None }
    }

    /// Writes input all the time: ids in order, each 37th record poison.
    pub fn produce(&mut self) {
        let (broker, input) = (Arc::clone(&self.broker), self.input.clone());
        let (produced, enough) = (Arc::clone(&self.produced), Arc::clone(&self.enough));
        self.producer = Some(tokio::spawn(async move {
            // It outlives what is done to brokers.
            let patient = SinkSpec { timeout: Some(Duration::from_secs(120)), ..SinkSpec::default() };
            let mut writer = broker.sink(patient).await.unwrap();
            let mut next = 0;
            while !enough.load(Ordering::Relaxed) {
                let outputs = (0..8).map(|partition| {
                    let ids = (next..next + 200).filter(|id| id % 8 == partition);
                    let text = |id| if id % 37 == 5 { format!("poison {id}") } else { format!("{{\"id\":{id}}}") };
                    output(&input, i32::try_from(partition).unwrap(), values(ids.map(text)))
                });
                let commit = vatic::connector::Commit { outputs: outputs.collect(), ..Default::default() };
                writer.commit(commit).await.unwrap();
                next += 200;
                produced.store(next, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }));
    }

    pub fn run(&self) -> Running {
        start(&self.place, &self.address, &[&QUICK[..], &["run", "job.sql"]].concat())
    }

    /// Stops producing, waits until everything has come out, and counts.
    pub async fn check(&mut self, jobs: &[Running]) {
        self.enough.store(true, Ordering::Relaxed);
        self.producer.take().unwrap().await.unwrap();
        let ids = self.produced.load(Ordering::Relaxed);
        let (poison, wanted): (Vec<u64>, Vec<u64>) = (0..ids).partition(|id| id % 37 == 5);
        let wanted: Vec<u64> = wanted.into_iter().filter(|id| id % 10 != 3).collect();
        let begun = Instant::now();
        loop {
            let (came, letters) = (self.came().await, self.letters().await);
            // Too many are wrong at once; too few may come yet.
            let doubled = |all: &BTreeMap<u64, u64>| all.iter().find(|(_, count)| **count > 1).map(|(id, n)| (*id, *n));
            assert_eq!((doubled(&came), doubled(&letters)), (None, None), "doubled (id, times)");
            if came.keys().copied().eq(wanted.iter().copied()) && letters.keys().copied().eq(poison.iter().copied()) {
                println!("{ids} in: {} out, {} dead letters, each once", came.len(), letters.len());
                return;
            }
            let said: Vec<String> = jobs.iter().map(|job| job.err()).collect();
            let missing = wanted.iter().filter(|id| !came.contains_key(id)).count();
            let unread = poison.iter().filter(|id| !letters.contains_key(id)).count();
            let what =
                format!("{missing} of {} rows and {unread} of {} dead letters are missing", wanted.len(), poison.len());
            if begun.elapsed() > PATIENCE {
                let ids: Vec<u64> = wanted.iter().copied().filter(|id| !came.contains_key(id)).take(40).collect();
                panic!("{what}: {ids:?}; the jobs said:\n{}", said.join("\n--\n"));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    pub async fn came(&self) -> BTreeMap<u64, u64> {
        let mut came = BTreeMap::new();
        for text in read_all(&self.broker, &self.target).await.values().flat_map(|records| texts(records)) {
            let id = text.trim_start_matches("{\"id\":").trim_end_matches('}').parse().unwrap();
            *came.entry(id).or_insert(0) += 1;
        }
        came
    }

    pub async fn letters(&self) -> BTreeMap<u64, u64> {
        let mut came = BTreeMap::new();
        for record in read_all(&self.broker, "vatic-dead-letters").await.into_values().flatten() {
            let from = record.headers.iter().find(|(name, _)| name == "vatic.topic").and_then(|(_, topic)| topic.clone());
            if from.as_deref() == Some(self.input.as_bytes()) {
                let text = String::from_utf8(record.value.unwrap()).unwrap();
                *came.entry(text.trim_start_matches("poison ").parse().unwrap()).or_insert(0) += 1;
            }
        }
        came
    }

    /// Waits until the job has written something beyond `before` rows.
    pub async fn goes_on(&self, jobs: &[Running]) {
        let before: usize = self.came().await.len();
        let begun = Instant::now();
        while self.came().await.len() <= before {
            let said: Vec<String> = jobs.iter().map(|job| job.err()).collect();
            assert!(begun.elapsed() < PATIENCE, "the job does not go on; it said:\n{}", said.join("\n--\n"));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
