//! kill -9 at random moments.   produce ─► src (8 partitions) ─► job, killed again and again ─► dst, dead letters
//!
//! Afterwards the job runs to the end in peace, and a second job does the same work undisturbed: both must have written the
//! same, each input exactly once, to its output or to the dead letters. `VATIC_KILLS` says how often (50), `VATIC_SEED`
//! repeats the moments of a run (its seed is printed).

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{Place, Running};
use crate::letters::lookup_model;

const PARTITIONS: i64 = 8;
/// Lines of input for each kill.
const LINES: u64 = 200;
/// No more lines.
const THE_END: u64 = u64::MAX;

/// Steele, Lea and Flood's SplitMix64: numbers that look random and repeat.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().unwrap())
}

/// One input line. About one in sixty is poison: to the decoder, to an expression or to the model.
fn line(id: u64) -> String {
    let (n, d) = (id % 4, id % 7 + 1);
    match id % 197 {
        13 => format!("{id}|{{\"id\":{id},\"n\":\"poison\""),
        41 => format!("{id}|{{\"id\":{id},\"n\":{n},\"d\":0}}"),
        77 => format!("{id}|{{\"id\":{id},\"n\":{},\"d\":{d}}}", id + 4),
        _ => format!("{id}|{{\"id\":{id},\"n\":{n},\"d\":{d}}}"),
    }
}

fn query(target: &str) -> String {
    format!(
        "CREATE TABLE src (id BIGINT, n BIGINT, d BIGINT, part INT METADATA FROM 'partition', off BIGINT METADATA FROM 'offset');
         CREATE TABLE {target} (id BIGINT, q BIGINT, p DOUBLE, part INT, off BIGINT)
           WITH (key.format = 'json', key.columns = 'id', topic.partitions = 3);
         INSERT INTO {target} SELECT id, 1000 / d AS q, score('lookup', n) AS p, part, off FROM src;"
    )
}

/// What became of an input: its output's value, or the reason of its dead letter.
type Fates = BTreeMap<(i64, i64), String>;

/// What a job has written, by partition and offset of the input.
fn fates(place: &Place, target: &str) -> Fates {
    let mut fates = Fates::new();
    let mut last = BTreeMap::new();
    let mut add = |input: (i64, i64), fate: String| {
        let other = fates.insert(input, fate);
        assert_eq!(other, None, "input {input:?} was written twice to {target}");
    };
    for record in place.records(target) {
        let value: Value = serde_json::from_str(record["value"].as_str().unwrap()).unwrap();
        let (partition, offset) = (value["part"].as_i64().unwrap(), value["off"].as_i64().unwrap());
        add((partition, offset), value.to_string());
        // Rows that go from one input to one output partition keep their order.
        let before = last.insert((partition, record["partition"].as_i64()), offset);
        assert!(before.is_none_or(|before| before < offset), "{target}: offset {offset} behind {before:?}");
    }
    for letter in place.records("vatic-dead-letters") {
        let header = |name: &str| letter["headers"][name].as_str().unwrap();
        if header("vatic.job") == format!("{target}.{target}") {
            let input = (header("vatic.partition").parse().unwrap(), header("vatic.offset").parse().unwrap());
            add(input, format!("{}: {}", header("vatic.reason"), letter["value"].as_str().unwrap()));
        }
    }
    fates
}

#[test]
fn a_job_killed_at_any_moment_writes_each_input_exactly_once() {
    let kills = number("VATIC_KILLS", 50);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = number("VATIC_SEED", now);
    println!("VATIC_SEED={seed} VATIC_KILLS={kills}");
    let mut random = Random(seed);

    let place = Place::new();
    place.file("lookup.onnx", lookup_model());
    place.ok(&["publish", "lookup", "lookup.onnx"]);
    place.ok(&["topic", "create", "src", "--partitions", &PARTITIONS.to_string()]);
    place.file("dst.sql", query("dst"));
    place.file("calm.sql", query("calm"));

    // So many lines may be produced by now: a few for each kill, or on a slow machine they would pile up.
    let allowed = AtomicU64::new(LINES);
    let (mut progress, mut killed) = (BTreeSet::new(), 0);
    let sent = std::thread::scope(|scope| {
        let allowed = &allowed;
        let mut command = place.command(&["produce", "src", "--key-separator", "|"]);
        let mut producer = command.stdin(Stdio::piped()).spawn().unwrap();
        let producing = scope.spawn(move || {
            let mut lines = producer.stdin.take().unwrap();
            let mut sent = 0;
            loop {
                match allowed.load(Ordering::Relaxed) {
                    THE_END => break,
                    allowed if sent < allowed => {
                        let batch: String = (sent..sent + 10).map(|id| line(id) + "\n").collect();
                        lines.write_all(batch.as_bytes()).unwrap();
                        sent += 10;
                    }
                    _ => {}
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            drop(lines);
            assert!(producer.wait().unwrap().success());
            sent
        });
        // Whatever goes wrong here, the producer must be told to end.
        let finish = Finish(allowed);
        for kill in 0..kills {
            allowed.fetch_add(LINES, Ordering::Relaxed);
            let written = if kill % 5 == 4 { place.records("dst").len() } else { 0 };
            let mut job: Running = place.start(&["run", "dst.sql"]);
            // Two of five are killed while they start, two when they have begun to read; the fifth gets as far as a commit, or
            // on a slow machine none would ever get that far.
            if kill % 5 > 1 {
                job.says("job \"dst.dst\" reads \"src\"");
            }
            if kill % 5 == 4 {
                place.await_records("dst", written + 1);
            }
            std::thread::sleep(Duration::from_micros(random.below(300_000)));
            let ended = job.stop(Signal::SIGKILL);
            assert_eq!(ended.code, -9, "killed, not ended by itself: {ended:#?}");
            killed += 1;
            progress.extend(ended.err.lines().filter(|line| line.contains("committed offsets")).map(str::to_owned));
        }
        drop(finish);
        producing.join().unwrap()
    });
    // It was killed in the middle of its work: several of its successors began at different places.
    assert_eq!(killed, kills);
    assert!(
        kills < 20 || progress.len() as u64 > kills / 10,
        "hardly anything was committed between the kills: {progress:#?}"
    );

    let begun = Instant::now();
    for file in ["dst.sql", "calm.sql"] {
        let ended = place.vatic(&["run", "--until-end", file]);
        assert_eq!(ended.code, 0, "{ended:#?}");
    }
    println!("{sent} records, the rest of them in {:?}", begun.elapsed());
    let (stormy, calm) = (fates(&place, "dst"), fates(&place, "calm"));
    let inputs: BTreeMap<_, _> = place
        .records("src")
        .iter()
        .map(|r| ((r["partition"].as_i64().unwrap(), r["offset"].as_i64().unwrap()), r["key"].clone()))
        .collect();
    assert_eq!(inputs.len() as u64, sent, "what was produced is there");
    assert!(calm.keys().eq(inputs.keys()), "each input has one fate");
    let differing: Vec<_> = inputs.keys().filter(|input| stormy.get(input) != calm.get(input)).take(5).collect();
    assert!(stormy == calm, "the killed job differs at {differing:?}");
    let letters = |reason: &str| calm.values().filter(|fate| fate.starts_with(reason)).count() as u64;
    for reason in ["decode: ", "expression: ", "score: "] {
        assert!(letters(reason) >= sent / 197, "{reason}{}", letters(reason));
    }
}

/// Ends the production, also when the test fails.
struct Finish<'a>(&'a AtomicU64);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.0.store(THE_END, Ordering::Relaxed);
    }
}
