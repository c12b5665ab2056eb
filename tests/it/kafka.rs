//! The same saved queries on a real Kafka: what people see, and that each row comes out once whatever is killed.
//!
//! ```text
//! producer ─► IN (8 partitions, poison among it) ─► vatic run, two processes ─► OUT, dead letters ─► counted by a reader outside
//!                                                       ▲ kill -9, SIGTERM, SIGSTOP and SIGCONT, brokers that die
//! ```
//!
//! The seed of the trouble is printed; `VATIC_SEED` gives another, `VATIC_KILLS` how often something happens to a process,
//! `VATIC_BROKER_KILLS` how often to the broker. Without `VATIC_TEST_KAFKA=on` what needs Kafka is left out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use vatic::connector::Broker;

use crate::conformance::{name, output, read_all, sink, texts, topic, values, write};
use crate::harness::{Place, Running};
use crate::kafka_harness::{self, Cluster};

/// Sessions that end soon, so that a dead process's partitions are taken over within the test's patience.
const QUICK: [&str; 4] = ["-X", "session.timeout.ms=2000", "-X", "heartbeat.interval.ms=300"];
const PATIENCE: Duration = Duration::from_secs(90);

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Numbers that come again with the same seed.
struct Random(u64);

impl Random {
    fn new(what: &str) -> Self {
        let now = u64::try_from(vatic::time::now()).unwrap();
        let seed = number("VATIC_SEED", now % 1_000_000);
        println!("{what}: VATIC_SEED={seed}");
        Self(seed.wrapping_mul(2).wrapping_add(1))
    }
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// `vatic --broker ADDRESS args...` in the background.
fn start(place: &Place, address: &str, args: &[&str]) -> Running {
    place.start(&[&["--broker", address], args].concat())
}

/// The same to its end, which must be good; what it prints.
fn ok(place: &Place, address: &str, args: &[&str]) -> String {
    let ended = start(place, address, args).end();
    assert_eq!(ended.code, 0, "{args:?}: {ended:#?}");
    ended.out
}

#[test]
fn a_wrong_address_is_named_within_ten_seconds() {
    let begun = Instant::now();
    let ended = start(&Place::new(), "127.0.0.1:1", &["topic", "list"]).end();
    assert!(begun.elapsed() < Duration::from_secs(10), "it took {:?}", begun.elapsed());
    assert_eq!((ended.code, ended.out.as_str()), (3, ""));
    assert!(ended.err.contains("no Kafka broker answers at \"127.0.0.1:1\""), "{}", ended.err);
    let ended = start(&Place::new(), "127.0.0.1:1", &["-X", "lingr.ms=1", "topic", "list"]).end();
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("unknown Kafka property \"lingr.ms\"") && ended.err.contains("linger.ms"), "{}", ended.err);
}

#[test]
fn what_works_embedded_works_on_kafka() {
    let Some(cluster) = kafka_harness::shared() else { return };
    let (place, address) = (Place::new(), cluster.address());
    let (input, target) = (name("orders"), name("big"));
    let run = |args: &[&str]| ok(&place, &address, args);
    run(&["topic", "create", &input, "--partitions", "4"]);
    place.file("one.jsonl", "{\"id\":1,\"v\":10}\n{\"id\":2,\"v\":20}\nnonsense\n");
    place.file("two.jsonl", "{\"id\":3,\"v\":30}\n");
    run(&["produce", &input, "one.jsonl"]);
    place.file(
        "big.sql",
        format!(
            "CREATE TABLE orders (id BIGINT, v BIGINT) WITH (connector = 'kafka', topic = '{input}', format = 'json');
             CREATE TABLE big WITH (connector = 'kafka', topic = '{target}', format = 'json')
             AS SELECT id, v * 2 AS w FROM orders WHERE v > 10;"
        ),
    );
    run(&["run", "big.sql", "--until-end"]);
    run(&["produce", &input, "two.jsonl"]);
    run(&["run", "big.sql", "--until-end"]);
    run(&["run", "big.sql", "--until-end"]);
    let mut lines: Vec<String> = run(&["consume", &target]).lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["{\"id\":2,\"w\":40}", "{\"id\":3,\"w\":60}"]);
    let select = format!("SELECT count(*) AS n, sum(w) AS s FROM topic('{target}')");
    assert_eq!(run(&["sql", "--format", "json", &select]).trim(), "{\"n\":2,\"s\":100}");
    // Another test's killed process may hold the topic's stable end back until its transaction times out.
    let begun = Instant::now();
    let ours = loop {
        let letters = run(&["consume", "vatic-dead-letters", "--json"]);
        let ours: Vec<String> = letters.lines().filter(|line| line.contains(&input)).map(str::to_owned).collect();
        if !ours.is_empty() || begun.elapsed() > Duration::from_secs(90) {
            break ours;
        }
        std::thread::sleep(Duration::from_millis(500));
    };
    assert!(ours.len() == 1 && ours[0].contains("nonsense") && ours[0].contains("\"vatic.reason\":\"decode\""), "{ours:?}");
    // A generator's position is kept too, though it is no topic.
    let counted = name("counted");
    place.file(
        "count.sql",
        format!(
            "CREATE TABLE g (n BIGINT, ts TIMESTAMP) WITH (connector = 'generator', rows = 1000);
             CREATE TABLE c WITH (connector = 'kafka', topic = '{counted}', format = 'json') AS SELECT n FROM g;"
        ),
    );
    run(&["run", "count.sql", "--until-end"]);
    run(&["run", "count.sql", "--until-end"]);
    assert_eq!(run(&["consume", &counted]).lines().count(), 1000);
    // Forgotten, the job begins again.
    run(&["sql", "RESET JOB \"count.c\""]);
    run(&["run", "count.sql", "--until-end"]);
    assert_eq!(run(&["consume", &counted]).lines().count(), 2000);
}

/// A job under trouble, and what it must have done in the end.
struct Trial {
    place: Place,
    address: String,
    broker: Arc<dyn Broker>,
    input: String,
    target: String,
    produced: Arc<AtomicU64>,
    enough: Arc<AtomicBool>,
    producer: Option<tokio::task::JoinHandle<()>>,
}

impl Trial {
    async fn new(cluster: &Cluster) -> Self {
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
    fn produce(&mut self) {
        let (broker, input) = (Arc::clone(&self.broker), self.input.clone());
        let (produced, enough) = (Arc::clone(&self.produced), Arc::clone(&self.enough));
        self.producer = Some(tokio::spawn(async move {
            let mut writer = sink(&broker, None).await;
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

    fn run(&self) -> Running {
        start(&self.place, &self.address, &[&QUICK[..], &["run", "job.sql"]].concat())
    }

    /// Stops producing, waits until everything has come out, and counts.
    async fn check(&mut self, jobs: &[Running]) {
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

    async fn came(&self) -> BTreeMap<u64, u64> {
        let mut came = BTreeMap::new();
        for text in read_all(&self.broker, &self.target).await.values().flat_map(|records| texts(records)) {
            let id = text.trim_start_matches("{\"id\":").trim_end_matches('}').parse().unwrap();
            *came.entry(id).or_insert(0) += 1;
        }
        came
    }

    async fn letters(&self) -> BTreeMap<u64, u64> {
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
    async fn goes_on(&self, jobs: &[Running]) {
        let before: usize = self.came().await.len();
        let begun = Instant::now();
        while self.came().await.len() <= before {
            let said: Vec<String> = jobs.iter().map(|job| job.err()).collect();
            assert!(begun.elapsed() < PATIENCE, "the job does not go on; it said:\n{}", said.join("\n--\n"));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_row_comes_out_once_whatever_happens_to_its_processes() {
    let Some(cluster) = kafka_harness::shared() else { return };
    let mut random = Random::new("processes");
    let mut trial = Trial::new(cluster).await;
    trial.produce();
    let mut jobs = vec![trial.run(), trial.run()];
    for job in &mut jobs {
        job.says("reads");
    }
    for round in 0..number("VATIC_KILLS", 6) {
        trial.goes_on(&jobs).await;
        tokio::time::sleep(Duration::from_millis(random.below(700))).await;
        let which = usize::try_from(random.below(2)).unwrap();
        // The first rounds show each kind; then it is chance.
        match if round < 3 { round } else { random.below(3) } {
            0 => jobs[which].signal(Signal::SIGKILL),
            1 => jobs[which].signal(Signal::SIGTERM),
            _ => {
                // Taken for dead, it wakes up again with a commit in its hands.
                jobs[which].signal(Signal::SIGSTOP);
                tokio::time::sleep(Duration::from_millis(3_500)).await;
                jobs[which].signal(Signal::SIGCONT);
                continue;
            }
        }
        jobs[which] = trial.run();
    }
    trial.check(&jobs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_dies_and_comes_back_costs_nothing() {
    if !kafka_harness::wanted() {
        return;
    }
    let mut cluster = tokio::task::spawn_blocking(|| Cluster::start(1)).await.unwrap();
    let mut random = Random::new("brokers");
    let mut trial = Trial::new(&cluster).await;
    // All of the input first: a producer of ours would be in trouble too.
    for block in 0..40_u64 {
        let outputs = (0..8_u64).map(|partition| {
            let ids = (block * 800..(block + 1) * 800).filter(|id| id % 8 == partition);
            let text = |id| if id % 37 == 5 { format!("poison {id}") } else { format!("{{\"id\":{id}}}") };
            output(&trial.input, i32::try_from(partition).unwrap(), values(ids.map(text)))
        });
        write(&trial.broker, outputs.collect()).await;
    }
    trial.produced.store(40 * 800, Ordering::Relaxed);
    trial.producer = Some(tokio::spawn(async {}));
    // Small epochs, so that there is something to interrupt.
    let file = std::fs::read_to_string(trial.place.path("job.sql")).unwrap();
    trial.place.file("job.sql", format!("SET epoch.max_rows = 50;\n{file}"));
    let mut job = trial.run();
    job.says("reads");
    for _ in 0..number("VATIC_BROKER_KILLS", 2) {
        tokio::time::sleep(Duration::from_millis(random.below(500))).await;
        cluster.kill(0);
        tokio::time::sleep(Duration::from_millis(random.below(2_000))).await;
        cluster.run(0);
        cluster = tokio::task::spawn_blocking(move || {
            cluster.wait();
            cluster
        })
        .await
        .unwrap();
    }
    trial.check(std::slice::from_ref(&job)).await;
    job.signal(Signal::SIGTERM);
    assert_eq!(job.end().code, 143);
}
