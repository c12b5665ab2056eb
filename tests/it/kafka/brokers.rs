//! What jobs do when brokers are in trouble, and what topics do to jobs.
//!
//! ```text
//! three brokers   a coordinator dies, one stands still        ─► the job goes on
//! the only one    stands still, its disk is full              ─► the job says so, waits, goes on
//! topics          deleted, cut off, forbidden, grown          ─► an error that names them; new partitions are read and written
//! ```
//!
//! A pause lasts `VATIC_TEST_PAUSE` seconds (12; 30 is what `docs/kafka.md` promises).

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, Producer};
use vatic::connector::{Commit, Position};

use super::cluster::{self, Cluster};
use super::trial::{PATIENCE, Trial, number};
use super::{SOON, ok, start};
use crate::conformance::{output, sink, topic, values, write};
use crate::harness::{Ended, Place, until};

fn pause() -> Duration {
    Duration::from_secs(number("VATIC_TEST_PAUSE", 12))
}

/// Waits until `begun` is a pause ago.
async fn rest_of_pause(begun: Instant) {
    tokio::time::sleep(pause().saturating_sub(begun.elapsed())).await;
}

/// The number (from 0) of the broker that coordinates the transactions of a job.
fn of_transactions(cluster: &Cluster, job: &str) -> (usize, String) {
    let table = cluster.tool("org.apache.kafka.tools.TransactionsCommand", &["list"]);
    let row = table.lines().find(|line| line.starts_with(&format!("vatic-{job}-"))).unwrap_or_else(|| panic!("{table}"));
    let mut columns = row.split_whitespace();
    let id = columns.next().unwrap().to_owned();
    (columns.next().unwrap().parse::<usize>().unwrap() - 1, id)
}

/// The number (from 0) of the broker that coordinates the group of a job.
fn of_group(cluster: &Cluster, job: &str) -> usize {
    let class = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
    let table = cluster.tool(class, &["--describe", "--state", "--group", &format!("vatic-{job}")]);
    let row = table.lines().find(|line| line.contains('(') && line.contains("127.0.0.1:"));
    let row = row.unwrap_or_else(|| panic!("{table}"));
    let id = row.split_once('(').unwrap().1.split_once(')').unwrap().0;
    id.parse::<usize>().unwrap() - 1
}

/// Waits until every copy of every partition is in sync.
fn in_sync(cluster: &Cluster) {
    let begun = Instant::now();
    loop {
        let behind = cluster.tool("org.apache.kafka.tools.TopicCommand", &["--describe", "--under-replicated-partitions"]);
        if behind.trim().is_empty() {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "still behind:\n{behind}");
    }
}

/// Lets a topic forget the records of partition 0 below `offset`, as retention would.
fn cut_off(cluster: &Cluster, place: &Place, topic: &str, offset: i64) {
    let list = format!("{{\"partitions\":[{{\"topic\":\"{topic}\",\"partition\":0,\"offset\":{offset}}}],\"version\":1}}");
    let file = place.file("cut.json", list);
    let class = "org.apache.kafka.tools.DeleteRecordsCommand";
    let said = cluster.tool(class, &["--offset-json-file", file.to_str().unwrap()]);
    assert!(said.contains(&format!("low_watermark: {offset}")), "{said}");
}

/// A job that copies ids from `input` to `target`.
fn copy(place: &Place, input: &str, target: &str) {
    place.file(
        &format!("{target}.sql"),
        format!(
            "SET job.name = '{target}';
             CREATE TABLE i (id BIGINT) WITH (connector = 'kafka', topic = '{input}', format = 'json');
             CREATE TABLE o (id BIGINT) WITH (connector = 'kafka', topic = '{target}', format = 'json');
             INSERT INTO o SELECT id FROM i;"
        ),
    );
}

fn ids(range: std::ops::Range<i64>) -> vatic::format::Records {
    values(range.map(|id| format!("{{\"id\":{id}}}")))
}

fn failed(ended: &Ended, code: i32, texts: &[&str]) {
    assert_eq!(ended.code, code, "{ended:#?}");
    for text in texts {
        assert!(ended.err.contains(text), "{text:?} is missing:\n{}", ended.err);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_three_brokers_dies_or_stands_still() {
    if !cluster::wanted() {
        return;
    }
    // How soon the others notice that one is gone: Kafka's default at full length.
    let settings = if pause() < Duration::from_secs(30) { "broker.session.timeout.ms=4000" } else { "" };
    let mut cluster = Cluster::start_with(3, settings);
    let mut trial = Trial::new(&cluster).await;
    trial.produce();
    let mut jobs = [trial.run()];
    jobs[0].says("reads");
    trial.goes_on(&jobs).await;
    for coordinator in ["transactions", "the group"] {
        let which = match coordinator {
            "transactions" => of_transactions(&cluster, &trial.target).0,
            _ => of_group(&cluster, &trial.target),
        };
        cluster.kill(which);
        let begun = Instant::now();
        trial.goes_on(&jobs).await;
        let (of, took) = (cluster.count(), begun.elapsed());
        println!("one of {of} brokers, which coordinates {coordinator}, was killed: rows came again after {took:.1?}");
        cluster.run(which);
        cluster.wait();
        trial.goes_on(&jobs).await;
        // Were the next one killed before this one has caught up, two of three copies would be gone, and Kafka would wait too.
        in_sync(&cluster);
    }
    let which = of_transactions(&cluster, &trial.target).0;
    cluster.signal(which, Signal::SIGSTOP);
    let begun = Instant::now();
    trial.goes_on(&jobs).await;
    println!("broker {which} stood still: rows came again after {:.1?}", begun.elapsed());
    rest_of_pause(begun).await;
    cluster.signal(which, Signal::SIGCONT);
    trial.goes_on(&jobs).await;
    trial.check(&jobs).await;
    let [job] = jobs;
    let ended = job.stop(Signal::SIGTERM);
    assert_eq!(ended.code, 143, "{ended:#?}");
    println!("the job said:\n{}", ended.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_only_broker_stands_still() {
    if !cluster::wanted() {
        return;
    }
    let cluster = Cluster::start(1);
    let mut trial = Trial::new(&cluster).await;
    trial.produce();
    let mut busy = trial.run();
    // A job without anything to commit learns of it through its group.
    let quiet_input = topic(&trial.broker, 1, &[]).await;
    let quiet_target = topic(&trial.broker, 1, &[]).await;
    copy(&trial.place, &quiet_input, &quiet_target);
    let mut quiet = start(&trial.place, &trial.address, &["run", &format!("{quiet_target}.sql")]);
    busy.says("reads");
    quiet.says("reads");
    let jobs = [busy];
    trial.goes_on(&jobs).await;

    cluster.signal(0, Signal::SIGSTOP);
    let begun = Instant::now();
    let [mut busy] = jobs;
    busy.says("waits: the broker has not answered a commit for 5 s; it goes on by itself once there is an answer");
    println!("the busy job said so after {:.1?}", begun.elapsed());
    quiet.says("lost sight of each other");
    println!("the quiet job said so after {:.1?}", begun.elapsed());
    busy.says("waiting: the broker has not answered a commit for");
    rest_of_pause(begun).await;
    cluster.signal(0, Signal::SIGCONT);
    let resumed = Instant::now();
    busy.says(&format!("job \"{}\" goes on", trial.target));
    println!("the busy job went on after {:.1?}", resumed.elapsed());
    quiet.says(&format!("job \"{quiet_target}\" goes on"));
    println!("the quiet job went on after {:.1?}", resumed.elapsed());
    write(&trial.broker, vec![output(&quiet_input, 0, ids(0..3))]).await;
    trial.place_values(&quiet_target, 3);
    let jobs = [busy];
    trial.goes_on(&jobs).await;
    trial.check(&jobs).await;
    let [busy] = jobs;
    println!("the busy job said:\n{}\nthe quiet one:\n{}", busy.err(), quiet.err());
    assert_eq!(quiet.stop(Signal::SIGTERM).code, 143);

    // Another producer with the same transactional id ends what the job began; the job begins again.
    let (_, id) = of_transactions(&cluster, &trial.target);
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &trial.address).set("transactional.id", &id);
    let thief: BaseProducer = config.create().unwrap();
    let mut jobs = [busy];
    thief.init_transactions(Duration::from_secs(30)).unwrap();
    write(&trial.broker, vec![output(&trial.input, 0, ids(0..1))]).await;
    jobs[0].says("has taken over");
    let before = trial.came().await[&0];
    until("the row to come", || {
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(trial.came()))[&0] > before || before == 2
    });

    // The topic of dead letters is ours: without it, it is made again.
    assert!(trial.broker.delete_topic("vatic-dead-letters").await.unwrap());
    write(&trial.broker, vec![output(&trial.input, 0, values(["poison 5"]))]).await;
    let [mut job] = jobs;
    let begun = Instant::now();
    while !start(&trial.place, &trial.address, &["consume", "vatic-dead-letters"]).end().out.contains("poison 5") {
        assert!(!job.has_ended() && begun.elapsed() < PATIENCE, "no dead letter came; the job said:\n{}", job.err());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    println!("after all that the job had said:\n{}", job.err());
    assert_eq!(job.stop(Signal::SIGTERM).code, 143);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_of_the_broker_is_waited_for() {
    if !cluster::wanted() {
        return;
    }
    let Some(disk) = SmallDisk::new(48) else {
        eprintln!("left out: a disk of the broker's own cannot be mounted (mount -t tmpfs needs root)");
        return;
    };
    let mut cluster = Cluster::start_with(1, &format!("log.dirs={}", disk.path("data")));
    let mut trial = Trial::new(&cluster).await;
    trial.produce();
    let mut jobs = [trial.run()];
    jobs[0].says("reads");
    trial.goes_on(&jobs).await;
    disk.fill();
    jobs[0].says("goes on by itself");
    until("the broker to end", || cluster.has_ended(0));
    disk.make_room();
    cluster.kill(0);
    cluster.run(0);
    cluster.wait();
    jobs[0].says(&format!("job \"{}\" goes on", trial.target));
    trial.goes_on(&jobs).await;
    trial.check(&jobs).await;
    let [job] = jobs;
    println!("the job said:\n{}", job.err());
    assert_eq!(job.stop(Signal::SIGTERM).code, 143);
    drop(cluster);
}

/// A file system of a few megabytes, gone when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None` where the system does not let us mount one.
    fn new(megabytes: u32) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let size = format!("size={megabytes}m");
        let mounted =
            std::process::Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(directory.path()).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(directory))
    }
    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }
    /// Leaves not a byte.
    fn fill(&self) {
        use std::io::Write;
        let mut ballast = std::fs::File::create(self.path("ballast")).unwrap();
        for size in [1 << 20, 4 << 10, 1] {
            while ballast.write(&vec![0; size]).is_ok_and(|wrote| wrote == size) {}
        }
    }
    fn make_room(&self) {
        std::fs::remove_file(self.path("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offset_out_of_range_is_an_error_with_a_way_out() {
    let Some(cluster) = cluster::shared() else { return };
    let (place, address, broker) = (Place::new(), cluster.address(), cluster.open());
    let (input, target) = (topic(&broker, 1, &[]).await, topic(&broker, 1, &[]).await);
    copy(&place, &input, &target);
    let file = format!("{target}.sql");
    let reset = format!("RESET JOB \"{target}\"");
    let hint = format!("Run {reset}; it then begins where scan.startup says.");
    write(&broker, vec![output(&input, 0, ids(0..10))]).await;
    ok(&place, &address, &["run", &file, "--until-end"]);

    // At the start: what the job had not read is gone.
    write(&broker, vec![output(&input, 0, ids(10..30))]).await;
    cut_off(cluster, &place, &input, 20);
    let text = format!("topic \"{input}\" partition 0 holds offsets 20 to 30, and group \"vatic-{target}\" committed 10");
    for args in [&["run", &file][..], &["run", &file, "--until-end"]] {
        failed(&start(&place, &address, args).end(), 1, &[&text, &hint]);
    }
    ok(&place, &address, &["sql", &reset]);
    ok(&place, &address, &["run", &file, "--until-end"]);
    assert_eq!(ok(&place, &address, &["consume", &target]).lines().count(), 20);

    // At the start: what the job has read is not there any more, as after an election that lost records.
    let position = Position { topic: input.as_str().into(), partition: 0, offset: 77, metadata: String::new() };
    let commit = Commit { positions: vec![position], ..Commit::default() };
    sink(&broker, Some(&format!("vatic-{target}"))).await.commit(commit).await.unwrap();
    let text = format!("topic \"{input}\" partition 0 holds offsets 20 to 30, and group \"vatic-{target}\" committed 77");
    failed(&start(&place, &address, &["run", &file]).end(), 1, &[&text, &hint]);

    // While it runs: the topic is cut off faster than the job reads.
    ok(&place, &address, &["sql", &reset]);
    let mut job = start(&place, &address, &["run", &file]);
    job.says("reads");
    until("the rows to come", || ok(&place, &address, &["consume", &target]).lines().count() == 30);
    job.signal(Signal::SIGSTOP);
    // The broker answers what was asked before, with nothing; no question comes after it.
    tokio::time::sleep(Duration::from_secs(1)).await;
    write(&broker, vec![output(&input, 0, ids(30..50))]).await;
    cut_off(cluster, &place, &input, 45);
    job.signal(Signal::SIGCONT);
    let ended = job.end();
    // It notices by itself, or its group has given it up meanwhile and it begins again.
    let text = format!("topic \"{input}\" partition 0 holds offsets 45 to 50, and ");
    failed(&ended, 1, &[&text, " 30", &hint]);
    println!("cut off under it, the job said:\n{}", ended.err);
    assert_eq!(ok(&place, &address, &["consume", &target]).lines().count(), 30, "{}", ended.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_deleted_under_a_job_ends_it() {
    let Some(cluster) = cluster::shared() else { return };
    let (place, address, broker) = (Place::new(), cluster.address(), cluster.open());
    for which in ["input", "target"] {
        let (input, target) = (topic(&broker, 2, &[]).await, topic(&broker, 2, &[]).await);
        copy(&place, &input, &target);
        write(&broker, vec![output(&input, 0, ids(0..5))]).await;
        let mut job = start(&place, &address, &["run", &format!("{target}.sql")]);
        job.says("reads");
        until("the rows to come", || ok(&place, &address, &["consume", &target]).lines().count() == 5);
        let deleted = if which == "input" { &input } else { &target };
        let begun = Instant::now();
        assert!(broker.delete_topic(deleted).await.unwrap());
        if which == "target" {
            write(&broker, vec![output(&input, 0, ids(5..6))]).await;
        }
        let ended = job.end();
        println!("the {which} was deleted: the job ended after {:.1?} with\n{}", begun.elapsed(), ended.err);
        failed(&ended, 3, &[&format!("topic \"{deleted}\" was deleted"), "Create the topic again", "RESET JOB"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_are_added_are_read_and_written() {
    let Some(cluster) = cluster::shared() else { return };
    let (place, address, broker) = (Place::new(), cluster.address(), cluster.open());
    let (input, target) = (topic(&broker, 1, &[]).await, topic(&broker, 1, &[]).await);
    copy(&place, &input, &target);
    write(&broker, vec![output(&input, 0, ids(0..1))]).await;
    let mut job = start(&place, &address, &["run", &format!("{target}.sql")]);
    let query = format!("SELECT id FROM topic('{input}') EMIT CHANGES LIMIT 2");
    let mut follower = start(&place, &address, &["sql", "--format", "json", &query]);
    job.says("reads");
    follower.says("following");
    let begun = Instant::now();
    for name in [&input, &target] {
        cluster.tool("org.apache.kafka.tools.TopicCommand", &["--alter", "--topic", name, "--partitions", "3"]);
    }
    write(&broker, vec![output(&input, 1, ids(1..2)), output(&input, 2, ids(2..3))]).await;
    let ended = follower.end();
    assert_eq!(ended.code, 0, "{ended:#?}");
    println!("the follower had both after {:.1?}", begun.elapsed());
    let mut lines: Vec<&str> = ended.out.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["{\"id\":1}", "{\"id\":2}"]);
    job.says(&format!("writes to 3 partitions of topic \"{target}\" from now on"));
    println!("the job wrote to them after {:.1?}", begun.elapsed());
    until("the rows to come", || ok(&place, &address, &["consume", &target]).lines().count() == 3);
    println!("the job had read them after {:.1?}", begun.elapsed());
    // Without a key, batch by batch to the next.
    let mut next = 3;
    until("rows in every partition", || {
        tokio::task::block_in_place(|| {
            let more = vec![output(&input, 2, ids(next..next + 1))];
            next += 1;
            tokio::runtime::Handle::current().block_on(write(&broker, more))
        });
        let records = ok(&place, &address, &["consume", &target, "--json"]);
        (0..3).all(|partition| records.contains(&format!("\"partition\":{partition}")))
    });
    assert_eq!(job.stop(Signal::SIGTERM).code, 143);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_living_broker_of_several_addresses_is_enough() {
    let Some(cluster) = cluster::shared() else { return };
    let (place, broker) = (Place::new(), cluster.open());
    let input = topic(&broker, 1, &[]).await;
    let target = topic(&broker, 1, &[]).await;
    copy(&place, &input, &target);
    write(&broker, vec![output(&input, 0, ids(0..7))]).await;
    let address = format!("127.0.0.1:1,{},127.0.0.1:2", cluster.address());
    ok(&place, &address, &["run", &format!("{target}.sql"), "--until-end"]);
    assert_eq!(ok(&place, &address, &["consume", &target]).lines().count(), 7);
    let begun = Instant::now();
    let ended = start(&place, "127.0.0.1:1,127.0.0.1:2", &["topic", "list"]).end();
    assert!(begun.elapsed() < SOON, "it took {:?}", begun.elapsed());
    failed(&ended, 3, &["no Kafka broker answers at \"127.0.0.1:1,127.0.0.1:2\""]);
}

impl Trial {
    /// Waits until a topic holds `count` records.
    fn place_values(&self, topic: &str, count: usize) {
        until(&format!("{count} rows in {topic}"), || {
            ok(&self.place, &self.address, &["consume", topic]).lines().count() == count
        });
    }
}
