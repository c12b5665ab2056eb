//! The model topic on a real Kafka: as it is created, with large models, with other publishers, and as it should not be.

use serde_json::Value;

use super::cluster::{self, Cluster};
use super::outside::Outside;
use super::{ok, start};
use crate::conformance::name;
use crate::harness::{Place, model, until};
use crate::models::constant_model;

/// The model that always answers `value`, with a note of `padding` bytes in it, which compression does not make smaller.
fn padded(value: f32, padding: usize) -> Vec<u8> {
    let mut bytes = constant_model(value, 1);
    let mut noise = 1_u64;
    let mut letter = || {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        b'0' + u8::try_from(noise >> 58).unwrap()
    };
    let note: Vec<u8> = (0..padding).map(|_| letter()).collect();
    field(&mut bytes, 6, &note); // ModelProto.doc_string
    bytes
}

/// Appends a field of bytes to a protobuf message.
fn field(to: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    to.push(number << 3 | 2);
    varint(to, bytes.len());
    to.extend_from_slice(bytes);
}

fn varint(to: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        to.push(u8::try_from(number & 0x7f).unwrap() | 0x80);
        number >>= 7;
    }
    to.push(u8::try_from(number).unwrap());
}

/// A descriptor as publishers in the field write it: the name only in the key if `name` is empty; `modeltype` in whatever dialect.
fn foreign(name: &str, modeltype: u8, model: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    if !name.is_empty() {
        field(&mut bytes, 1, name.as_bytes());
    }
    field(&mut bytes, 2, b"from elsewhere");
    field(&mut bytes, 3, b"records");
    bytes.extend([4 << 3, modeltype]);
    field(&mut bytes, 5, model);
    bytes
}

fn rows(place: &Place, cluster: &Cluster, sql: &str) -> Vec<Value> {
    let out = ok(place, &cluster.address(), &["sql", "--format", "json", sql]);
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_model_topic_takes_models_of_twenty_megabytes() {
    let Some(cluster) = cluster::shared() else { return };
    let (place, topic) = (Place::new(), name("models"));
    let large = place.file("large.onnx", padded(4.0, 20 << 20)).display().to_string();
    let said = ok(&place, &cluster.address(), &["publish", "large", &large, "--topic", &topic, "--json"]);
    let published: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&published["version"], published["size"].as_u64() > Some(20 << 20)), (&Value::from(1), true), "{said}");
    // Kafka's own tool sees the topic as it was promised.
    let told = cluster.tool("org.apache.kafka.tools.TopicCommand", &["--describe", "--topic", &topic]);
    assert!(told.contains("PartitionCount: 1\t"), "{told}");
    for setting in ["cleanup.policy=delete", "retention.ms=-1", "retention.bytes=-1", "max.message.bytes=67108864"] {
        assert!(told.contains(setting), "no {setting} in {told}");
    }
    let score = format!("SET models.topic = '{topic}'; SELECT score('large', 1.0) AS s");
    assert_eq!(rows(&place, cluster, &score), [serde_json::json!({"s": 4.0})]);
    // What no record has room for is told before it is read.
    let huge = place.file("huge.onnx", padded(5.0, 64 << 20)).display().to_string();
    let ended = start(&place, &cluster.address(), &["publish", "huge", &huge, "--topic", &topic]).end();
    assert_eq!(ended.code, 1, "{ended:#?}");
    assert!(ended.err.contains("huge.onnx\" is larger than a model may be: 67108864 bytes"), "{}", ended.err);
}

#[test]
fn versions_of_other_publishers_go_live_in_a_running_job() {
    let Some(cluster) = cluster::shared() else { return };
    let (place, topic, input, target) = (Place::new(), name("models"), name("in"), name("out"));
    let address = cluster.address();
    let mut outside = Outside::start(&address);
    let first = place.file("first.onnx", constant_model(1.0, 1)).display().to_string();
    ok(&place, &address, &["publish", "m", &first, "--topic", &topic]);
    ok(&place, &address, &["topic", "create", &input]);
    let sql = format!(
        "SET models.topic = '{topic}'; SET job.name = '{target}';
         CREATE TABLE i (x DOUBLE) WITH (topic = '{input}');
         CREATE TABLE o WITH (topic = '{target}') AS
         SELECT predict('m', x).version AS v, predict('m', x).score AS s FROM i;"
    );
    place.file("job.sql", sql);
    let mut job = start(&place, &address, &["run", "job.sql"]);
    job.says("reads");
    place.file("line", "{\"x\":1}\n");
    let mut count = 0;
    let mut next_row = || {
        ok(&place, &address, &["produce", &input, "line"]);
        count += 1;
        let mut rows = String::new();
        until("the row", || {
            rows = ok(&place, &address, &["consume", &target]);
            rows.lines().count() >= count
        });
        rows.lines().last().unwrap().to_owned()
    };
    assert_eq!(next_row(), "{\"v\":1,\"s\":1.0}");
    // PMML is 1 in one dialect and 2 in the other, where 1 is a SavedModel; 0 is TensorFlow in both, 9 nothing at all. All of them
    // are ONNX, as their bytes say. The second has its name in the key alone.
    for (version, (name, modeltype)) in (2_u8..).zip([("m", 1), ("", 2), ("m", 0), ("m", 9)]) {
        let file = place.file("foreign", foreign(name, modeltype, &padded(f32::from(version), 1)));
        let offset = outside.order(&format!("put {topic} m {}", file.display()));
        assert_eq!(offset, format!("0 {}", version - 1));
        until("the new version", || next_row() == format!("{{\"v\":{version},\"s\":{version}.0}}"));
    }
    // What is no descriptor stops nothing.
    let junk = place.file("junk", "{\"name\": \"m\"}");
    outside.order(&format!("put {topic} m {}", junk.display()));
    assert_eq!(next_row(), "{\"v\":5,\"s\":5.0}");
    let listed = rows(
        &place,
        cluster,
        &format!("SET models.topic = '{topic}'; SELECT version, format, description FROM models ORDER BY version"),
    );
    let of = |name: &str| listed.iter().map(|row| row[name].clone()).collect::<Vec<_>>();
    assert_eq!(of("version"), [1, 2, 3, 4, 5]);
    assert_eq!(of("format"), ["onnx"; 5]);
    assert_eq!(of("description")[1..], ["from elsewhere"; 4]);
    assert!(!job.has_ended(), "{}", job.err());
    let ended = job.stop(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(ended.code, 143, "{ended:#?}");
}

#[test]
fn a_topic_that_is_cut_numbers_by_offsets_and_one_with_partitions_is_refused() {
    let Some(cluster) = cluster::shared() else { return };
    let (place, address) = (Place::new(), cluster.address());
    let files: Vec<String> = [1.0, 2.0]
        .iter()
        .map(|value| place.file(&format!("{value}.onnx"), constant_model(*value, 1)).display().to_string())
        .collect();
    for config in ["retention.ms=86400000", "cleanup.policy=compact", "retention.bytes=1000000000"] {
        let topic = name("models");
        ok(
            &place,
            &address,
            &["topic", "create", &topic, "--partitions", "1", "--config", config, "--config", "max.message.bytes=67108864"],
        );
        let publish = |name: &str, file: &str| {
            let said = ok(&place, &address, &["publish", name, file, "--topic", &topic, "--json"]);
            let said: Value = serde_json::from_str(&said).unwrap();
            (said["version"].as_i64().unwrap(), said["offset"].as_i64().unwrap())
        };
        assert_eq!(publish("other", &files[0]), (0, 0), "{config}");
        assert_eq!(publish("m", &files[0]), (1, 1), "{config}");
        assert_eq!(publish("m", &files[1]), (2, 2), "{config}");
        let sql = format!("SET models.topic = '{topic}'; SELECT score('m', 1.0) AS s, score('m:1', 1.0) AS first");
        assert_eq!(rows(&place, cluster, &sql), [serde_json::json!({"s": 2.0, "first": 1.0})], "{config}");
    }
    let several = name("models");
    ok(&place, &address, &["topic", "create", &several, "--partitions", "3"]);
    let score = format!("SET models.topic = '{several}'; SELECT score('m', 1.0)");
    for args in [&["publish", "m", &model("iris_species.onnx"), "--topic", &several][..], &["sql", &score]] {
        let ended = start(&place, &address, args).end();
        assert_eq!(ended.code, 1, "{ended:#?}");
        let message = format!("model topic \"{several}\" has 3 partitions: versions have no order there");
        assert!(ended.err.contains(&message) && ended.err.contains("SET models.topic"), "{}", ended.err);
    }
}
