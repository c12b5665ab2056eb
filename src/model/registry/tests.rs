//! The registry against a topic in memory and a model format of three words: `ok:N` takes N features, `slow:N` does so after
//! a moment, anything else cannot be loaded.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMillisecondType};
use async_trait::async_trait;
use bytes::Bytes;

use super::*;
use crate::error::Error;
use crate::model::descriptor::Descriptor;
use crate::model::table::{models_batch, models_schema};
use crate::model::{Input, Kind, Output, Scorer};

#[derive(Debug)]
struct Nothing;

impl Scorer for Nothing {
    fn score(&self, _: &[ArrayRef], _: usize) -> Result<Vec<ArrayRef>, ModelError> {
        Ok(Vec::new())
    }
}

fn load(bytes: &[u8]) -> Result<(&'static str, Loaded), ModelError> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let (word, number) = text.split_once(':').unwrap_or((&text, "1"));
    match word {
        "slow" => std::thread::sleep(Duration::from_millis(20)),
        "panic" => panic!("a format's mistake"),
        "ok" => {}
        _ => return Err(ModelError::Load { reason: format!("\"{text}\" is broken"), source: None }),
    }
    let inputs: usize = number.split('#').next().and_then(|n| n.parse().ok()).unwrap_or(1);
    let input =
        |n| Input { name: format!("f{n}"), data_type: DataType::Float32, width: 1, shape: vec![], takes_null: false };
    let signature = Signature {
        inputs: (0..inputs).map(input).collect(),
        outputs: vec![Output { name: "y".into(), data_type: DataType::Float64 }],
        kind: Kind::Regression { value: 0 },
        classes: vec![],
    };
    Ok(("fake", Loaded { signature, scorer: Arc::new(Nothing) }))
}

/// The topic: records by offset, and how often they were read again.
#[derive(Debug, Default)]
struct Log {
    records: Mutex<BTreeMap<i64, Bytes>>,
    reads: AtomicU64,
    trouble: AtomicU64,
}

#[async_trait]
impl Fetch for Log {
    async fn fetch(&self, offset: i64) -> crate::Result<Option<Bytes>> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        if self.trouble.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok() {
            return Err(Error::external("the broker is away"));
        }
        Ok(self.records.lock().unwrap().get(&offset).cloned())
    }
}

struct Topic {
    registry: Arc<Registry>,
    log: Arc<Log>,
}

impl Topic {
    fn new() -> Self {
        Self::with(Numbering::Dense, 1 << 20)
    }
    fn with(numbering: Numbering, memory: u64) -> Self {
        let log = Arc::new(Log::default());
        let settings = Settings { loader: Arc::new(load), memory };
        Self { registry: Registry::with("models", numbering, Arc::clone(&log) as Arc<dyn Fetch>, settings), log }
    }
    fn publish(&self, name: &str, model: &str) -> Applied {
        let offset = self.log.records.lock().unwrap().last_key_value().map_or(0, |(last, _)| last + 1);
        self.publish_at(offset, name, model)
    }
    fn publish_at(&self, offset: i64, name: &str, model: &str) -> Applied {
        let descriptor = Descriptor::new(name, Bytes::from(model.to_owned()), "fake", "a model").unwrap();
        let value = Bytes::from(descriptor.encode());
        self.log.records.lock().unwrap().insert(offset, value.clone());
        self.registry.apply(offset, 1_000 + offset, Some(name.as_bytes()), Some(&value))
    }
    async fn ready(&self, reference: &str) -> Resolution {
        self.registry.ready(&ModelRef::parse(reference).unwrap()).await
    }
    fn status(&self, name: &str, version: u64) -> (&'static str, String) {
        let found = self.registry.versions().into_iter().find(|v| &*v.name == name && v.version == version).unwrap();
        (found.status.as_str(), found.error.map(|e| e.to_string()).unwrap_or_default())
    }
}

fn version(name: &str, version: u64) -> Applied {
    Applied::Version { name: name.into(), version }
}

fn live(resolution: &Resolution) -> u64 {
    resolution.model().map(|m| m.version).unwrap_or_else(|error| panic!("{error}"))
}

fn takes(wanted: usize) -> Check {
    Box::new(move |signature| match signature.inputs.len() {
        n if n == wanted => Ok(()),
        n => Err(format!("takes {n} features, {wanted} were given")),
    })
}

#[tokio::test]
async fn versions_are_dense_per_name_and_the_same_bytes_are_no_new_one() {
    let topic = Topic::new();
    assert_eq!(topic.publish("fraud", "ok:1"), version("fraud", 1));
    assert_eq!(topic.publish("churn", "ok:1"), version("churn", 1));
    assert_eq!(topic.publish("fraud", "broken"), version("fraud", 2));
    assert_eq!(topic.publish("fraud", "broken"), Applied::Same { name: "fraud".into(), version: 2 });
    // Equal to an older one only: a new version.
    assert_eq!(topic.publish("fraud", "ok:1"), version("fraud", 3));
    assert_eq!(topic.registry.same_as_newest("fraud", b"ok:1").map(|v| (v.version, v.offset)), Some((3, 4)));
    assert!(topic.registry.same_as_newest("fraud", b"broken").is_none());
    assert_eq!(topic.registry.at_offset(3).map(|v| v.version), Some(2));
    // What the feed reads twice changes nothing.
    assert_eq!(topic.publish_at(2, "fraud", "ok:9"), Applied::Again);
    assert_eq!(topic.registry.versions().len(), 4);
}

#[tokio::test]
async fn on_a_topic_that_is_cut_the_version_is_the_offset() {
    let config = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let for_ever = [("cleanup.policy", "delete"), ("retention.ms", "-1"), ("retention.bytes", "-1")];
    assert_eq!(Numbering::of(&config(&for_ever)), Numbering::Dense);
    assert_eq!(Numbering::of(&config(&[("cleanup.policy", "compact"), ("retention.ms", "-1")])), Numbering::Offset);
    assert_eq!(Numbering::of(&config(&[("retention.ms", "604800000")])), Numbering::Offset);
    assert_eq!(Numbering::of(&config(&[("retention.ms", "-1"), ("retention.bytes", "1000")])), Numbering::Offset);
    assert_eq!(Numbering::of(&BTreeMap::new()), Numbering::Offset, "Kafka's default is a week");

    let topic = Topic::with(Numbering::Offset, 1 << 20);
    assert_eq!(topic.publish_at(17, "fraud", "ok:1"), version("fraud", 17));
    assert_eq!(topic.publish_at(40, "fraud", "ok:1"), Applied::Same { name: "fraud".into(), version: 17 });
    assert_eq!(topic.publish_at(41, "fraud", "ok:2"), version("fraud", 41));
    assert_eq!(live(&topic.ready("fraud").await), 41);
    assert_eq!(live(&topic.ready("fraud:17").await), 17);
}

#[tokio::test]
async fn a_bad_version_never_takes_a_good_ones_place() {
    let topic = Topic::new();
    topic.registry.want("fraud");
    let mut changes = topic.registry.changes();
    topic.publish("fraud", "ok:1");
    assert_eq!(live(&topic.ready("fraud").await), 1);
    topic.publish("fraud", "broken");
    topic.publish("fraud", "panic");
    assert_eq!(live(&topic.ready("fraud").await), 1);
    assert_eq!(topic.status("fraud", 1), ("live", String::new()));
    assert_eq!(topic.status("fraud", 2), ("failed", "\"broken\" is broken".into()));
    assert_eq!(topic.status("fraud", 3), ("failed", "its format's loader failed on it (a panic)".into()));
    topic.publish("fraud", "ok:2");
    assert_eq!(live(&topic.ready("fraud").await), 4);
    assert_eq!(topic.status("fraud", 1).0, "ready");
    let mut seen = Vec::new();
    while let Ok(change) = changes.try_recv() {
        seen.push((change.version, change.status.as_str()));
    }
    seen.sort_unstable();
    assert_eq!(seen, [(1, "live"), (2, "failed"), (3, "failed"), (4, "live")]);
    assert_eq!(topic.log.reads.load(Ordering::SeqCst), 0, "fresh bytes are not read again");
}

#[tokio::test]
async fn a_name_begins_with_the_newest_version_that_loads() {
    let topic = Topic::new();
    for model in ["ok:1", "ok:2", "broken", "worse"] {
        topic.publish("fraud", model);
    }
    assert_eq!(live(&topic.ready("fraud").await), 2);
    assert_eq!(topic.status("fraud", 1).0, "loading", "nobody needs it");
    assert_eq!(topic.log.reads.load(Ordering::SeqCst), 3);
    let Err(error) = topic.ready("fraud:3").await.model().cloned() else { panic!("version 3 is broken") };
    assert!(error.to_string().contains("\"broken\" is broken"), "{error}");
}

#[tokio::test]
async fn what_is_not_there_is_missing_and_what_cannot_be_used_says_why() {
    let topic = Topic::new();
    topic.publish("fraud", "broken");
    topic.publish("churn", "ok:1");
    let error = topic.ready("fruad").await.model().cloned().unwrap_err();
    assert_eq!(error.to_string(), "no model \"fruad\" on topic \"models\"");
    assert_eq!(crate::error::Explain::hint(&error).as_deref(), Some("Did you mean \"fraud\"? There are: churn, fraud."));
    let error = topic.ready("churn:2").await.model().cloned().unwrap_err();
    assert_eq!(crate::error::Explain::hint(&error).as_deref(), Some("Did you mean \"churn:1\"?"));
    let error = topic.ready("fraud").await.model().cloned().unwrap_err();
    assert_eq!(error.to_string(), "no version of model \"fraud\" can be used; version 1: \"broken\" is broken");
    // Being asked for does not make a name known, and a query may wait for one.
    topic.registry.want("later");
    assert!(matches!(topic.ready("later").await, Resolution::Missing { .. }));
    topic.publish("later", "slow:1");
    assert_eq!(live(&topic.ready("later").await), 1);
}

#[tokio::test]
async fn a_version_that_running_queries_cannot_use_is_rejected_until_they_end() {
    let topic = Topic::new();
    let reference = ModelRef::parse("fraud").unwrap();
    let guard = topic.registry.use_model(&reference, takes(2));
    topic.publish("fraud", "ok:2");
    topic.publish("fraud", "ok:3");
    assert_eq!(live(&topic.ready("fraud").await), 1);
    assert_eq!(topic.status("fraud", 2), ("rejected", "takes 3 features, 2 were given".into()));
    assert_eq!(live(&topic.ready("fraud:2").await), 2, "a query may insist on it");
    topic.publish("fraud", "ok:2#better");
    assert_eq!(live(&topic.ready("fraud").await), 3);
    topic.publish("fraud", "ok:4");
    assert_eq!(live(&topic.ready("fraud").await), 3);
    drop(guard);
    assert_eq!(live(&topic.ready("fraud").await), 4);
    assert_eq!(topic.status("fraud", 2), ("ready", String::new()));
}

#[tokio::test]
async fn a_view_never_goes_below_what_earlier_epochs_used() {
    let topic = Topic::new();
    topic.publish("fraud", "ok:1");
    topic.publish("fraud", "ok:2");
    topic.publish("fraud", "broken");
    topic.ready("fraud").await;
    topic.ready("fraud:1").await;
    let floors = |floor: u64| BTreeMap::from([("fraud".to_owned(), floor)]);
    let view = |floor| View::new(topic.registry.snapshot(), floors(floor));
    assert_eq!(live(&view(0).resolve("fraud")), 2);
    let at_floor = view(2);
    assert_eq!((live(&at_floor.resolve("fraud")), live(&at_floor.resolve("fraud:1"))), (2, 1));
    assert!(matches!(at_floor.resolve("no name"), Resolution::Missing { .. }));
    assert_eq!(at_floor.used(), [("fraud".to_owned(), 2), ("fraud:1".to_owned(), 1)]);
    let text = |view: &View| view.resolve("fraud").model().cloned().unwrap_err().to_string();
    assert!(text(&view(3)).ends_with("version 3: \"broken\" is broken"), "{}", text(&view(3)));
    assert!(text(&view(4)).ends_with("but the topic ends at version 3"), "{}", text(&view(4)));
    // The registry moves on, the epoch does not; the next one does.
    topic.publish("fraud", "ok:4");
    topic.ready("fraud").await;
    assert_eq!(live(&at_floor.resolve("fraud")), 2);
    assert_eq!(live(&view(3).resolve("fraud")), 4);
}

#[tokio::test]
async fn an_epoch_can_wait_for_a_name_from_a_column() {
    let topic = Topic::new();
    topic.publish("fraud", "slow:1");
    let view = View::new(topic.registry.snapshot(), BTreeMap::new());
    assert!(matches!(view.resolve("fraud"), Resolution::Loading { version: 1, .. }));
    let (a, b) = tokio::join!(topic.registry.resolve(&view, "fraud"), topic.registry.resolve(&view, "fraud"));
    assert_eq!((live(&a), live(&b)), (1, 1));
    topic.publish("fraud", "ok:2");
    topic.ready("fraud").await;
    assert_eq!(live(&topic.registry.resolve(&view, "fraud").await), 1, "this epoch has its version");
    assert!(matches!(topic.registry.resolve(&view, "fr aud").await, Resolution::Missing { .. }));
    assert_eq!(view.used(), [("fraud".to_owned(), 1)]);
}

/// Versions arrive while lanes open views: each view has one version, and no lane ever sees it go back.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn views_are_consistent_while_versions_arrive() {
    let topic = Topic::new();
    topic.publish("fraud", "ok:1#0");
    topic.ready("fraud").await;
    let done = Arc::new(AtomicBool::new(false));
    let lane = || {
        let (registry, done) = (Arc::clone(&topic.registry), Arc::clone(&done));
        std::thread::spawn(move || {
            let (mut last, mut seen) = (0, 0);
            while !done.load(Ordering::SeqCst) || last < 50 {
                let view = View::new(registry.snapshot(), BTreeMap::from([("fraud".to_owned(), last)]));
                let first = view.resolve("fraud").model().cloned().unwrap();
                for _ in 0..10 {
                    assert!(Arc::ptr_eq(&first, view.resolve("fraud").model().unwrap()));
                }
                assert!(first.version >= last, "{} after {last}", first.version);
                assert_eq!(view.used(), [("fraud".to_owned(), first.version)]);
                seen += u64::from(first.version > last);
                last = first.version;
            }
            seen
        })
    };
    let lanes = [lane(), lane(), lane()];
    for n in 1..50 {
        topic.publish("fraud", &format!("ok:1#{n}"));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(live(&topic.ready("fraud").await), 50);
    done.store(true, Ordering::SeqCst);
    for lane in lanes {
        let seen = lane.join().unwrap();
        assert!(seen >= 10, "{seen} versions");
    }
    assert!(topic.registry.versions().iter().all(|v| matches!(v.status, Status::Live | Status::Ready)));
}

#[tokio::test]
async fn models_nobody_runs_on_stay_within_the_budget() {
    // Each model has 4 bytes: two idle ones fit.
    let topic = Topic::with(Numbering::Dense, 8);
    for n in 1..=5 {
        topic.publish("fraud", &format!("ok:{n}"));
        topic.ready("fraud").await;
    }
    assert_eq!(topic.log.reads.load(Ordering::SeqCst), 1, "only the first had not been wanted when it came");
    let held = |v: u64| {
        matches!(
            topic.registry.snapshot().resolve(&ModelRef { name: "fraud".into(), version: Some(v) }, 0),
            Resolution::Live(_)
        )
    };
    assert_eq!((1..=5).map(held).collect::<Vec<_>>(), [false, false, true, true, true]);
    assert_eq!(topic.status("fraud", 1).0, "ready", "it loads, though it is not in memory");
    // Asked for again, it comes back; what was asked for longest ago goes.
    assert_eq!(live(&topic.ready("fraud:1").await), 1);
    assert_eq!((1..=5).map(held).collect::<Vec<_>>(), [true, false, false, true, true]);
    topic.registry.want_version("fraud", 2);
    topic.ready("fraud:2").await;
    for n in [3, 4, 1] {
        topic.ready(&format!("fraud:{n}")).await;
    }
    assert!(held(2) && held(5), "what is wanted stays");
}

#[tokio::test]
async fn reading_models_loads_everything_and_keeps_nothing() {
    let topic = Topic::new();
    topic.publish("churn", "ok:2");
    topic.publish("fraud", "ok:1");
    topic.publish("fraud", "broken");
    topic.registry.load_all().await;
    let away = ["fraud", "fraud:1", "churn"];
    let snapshot = topic.registry.snapshot();
    assert!(away.iter().all(|r| matches!(snapshot.resolve(&ModelRef::parse(r).unwrap(), 0), Resolution::Loading { .. })));

    let batch = models_batch(&topic.registry).unwrap();
    assert_eq!((batch.schema(), batch.num_rows()), (models_schema(), 3));
    let text = |column: &str, row: usize| {
        let array = batch.column_by_name(column).unwrap().as_string::<i32>();
        array.is_valid(row).then(|| array.value(row).to_owned())
    };
    let all = |column: &str| (0..3).map(|row| text(column, row).unwrap_or_default()).collect::<Vec<_>>();
    assert_eq!(all("name"), ["churn", "fraud", "fraud"]);
    assert_eq!(all("status"), ["live", "live", "failed"]);
    assert_eq!(all("format"), ["fake", "fake", "fake"]);
    assert_eq!(all("inputs"), ["f0 FLOAT, f1 FLOAT", "f0 FLOAT", ""]);
    assert_eq!(all("outputs"), ["y DOUBLE", "y DOUBLE", ""]);
    assert_eq!(all("error"), ["", "", "\"broken\" is broken"]);
    assert_eq!(text("sha256", 0).map(|hash| hash.len()), Some(64));
    let numbers = |column: &str| batch.column_by_name(column).unwrap().as_primitive::<Int64Type>().values().to_vec();
    assert_eq!((numbers("version"), numbers("offset"), numbers("size")), (vec![1, 1, 2], vec![0, 1, 2], vec![4, 4, 6]));
    let published = batch.column_by_name("published_at").unwrap().as_primitive::<TimestampMillisecondType>();
    assert_eq!(published.values().to_vec(), [1_000, 1_001, 1_002]);
    for unused in ["live_since", "rows", "errors", "p50_us", "p99_us"] {
        assert_eq!(batch.column_by_name(unused).unwrap().null_count(), 3, "{unused} before first use");
    }

    // Now one is used.
    let resolution = topic.ready("fraud").await;
    resolution.model().unwrap().stats.scored(64, Duration::from_micros(10));
    let batch = models_batch(&topic.registry).unwrap();
    let rows = batch.column_by_name("rows").unwrap().as_primitive::<Int64Type>();
    assert_eq!((rows.is_null(0), rows.value(1), rows.is_null(2)), (true, 64, true));
    assert!((batch.column_by_name("p50_us").unwrap().as_primitive::<Float64Type>().value(1) - 10.0).abs() < 0.1);
    assert!(batch.column_by_name("live_since").unwrap().is_valid(1));
}

#[tokio::test]
async fn what_the_topic_holds_besides_models_is_left_out_and_counted() {
    let topic = Topic::new();
    let apply = |offset, key: Option<&[u8]>, value: Option<&[u8]>| topic.registry.apply(offset, 0, key, value);
    assert!(matches!(apply(0, Some(b"fraud"), None), Applied::Ignored(note) if note.contains("tombstone")));
    assert!(matches!(apply(1, Some(b"fraud"), Some(b"{\"x\": 1}")), Applied::Ignored(_)));
    assert!(matches!(apply(2, Some(b"no name"), Some(b"")), Applied::Ignored(_)));
    let (count, last) = topic.registry.ignored();
    assert_eq!((count, last.as_deref()), (3, Some("\"no name\" is not a model's name")));
    // A decodable descriptor takes a number, whatever becomes of it.
    let located = Descriptor {
        content: Content::Location("/m.onnx".into()),
        sha256: None,
        ..Descriptor::new("fraud", Bytes::new(), "onnx", "").unwrap()
    };
    assert_eq!(apply(3, None, Some(&located.encode())), version("fraud", 1));
    assert_eq!(topic.status("fraud", 1), ("failed", "locations are not allowed here".into()));
    assert_eq!(apply(4, None, Some(&located.encode())), Applied::Same { name: "fraud".into(), version: 1 });
    let lying = Descriptor {
        sha256: Some(vec![7; 32]),
        ..Descriptor::new("fraud", Bytes::from_static(b"ok:1"), "onnx", "").unwrap()
    };
    assert_eq!(apply(5, None, Some(&lying.encode())), version("fraud", 2));
    assert!(topic.status("fraud", 2).1.contains("its descriptor says 0707"));
}

#[tokio::test]
async fn one_can_wait_for_an_offset() {
    let topic = Topic::new();
    topic.registry.wait_until(0).await;
    let waiting = tokio::spawn({
        let registry = Arc::clone(&topic.registry);
        async move { registry.wait_until(12).await }
    });
    topic.publish_at(3, "fraud", "ok:1");
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert!(!waiting.is_finished());
    topic.registry.reached(12); // A transaction's marker and a gap lie between.
    waiting.await.unwrap();
    topic.registry.reached(5);
    topic.registry.wait_until(12).await;
}

#[tokio::test]
async fn a_broker_that_is_away_for_a_moment_fails_no_model() {
    let topic = Topic::new();
    topic.publish("fraud", "ok:1");
    topic.log.trouble.store(2, Ordering::SeqCst);
    assert_eq!(live(&topic.ready("fraud").await), 1);
    assert_eq!(topic.log.reads.load(Ordering::SeqCst), 3);
    // A record that is gone is another matter.
    topic.publish("churn", "ok:1");
    topic.log.records.lock().unwrap().clear();
    let error = topic.ready("churn").await.model().cloned().unwrap_err();
    assert!(error.to_string().ends_with("its record is no longer on topic \"models\""), "{error}");
}
