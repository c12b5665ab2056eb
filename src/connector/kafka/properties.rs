//! librdkafka's properties.   our settings + `-X` + the table's `kafka.*` ─► what a client is made with
//!
//! People may set any property but those in [`OWN`], which decide what is promised. Ours below are defaults: theirs win.
//! Times are in milliseconds. To change a default: edit the table of its kind of client, and say why beside it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::error::KafkaError;
use super::ffi::BadProperty;
use crate::config::{Options, is_secret};

/// Properties by name.
pub(super) type Properties = BTreeMap<String, String>;

/// Properties that only vatic sets.
const OWN: &[&str] = &[
    "auto.offset.reset",
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "isolation.level",
    "metadata.broker.list",
    "partition.assignment.strategy",
    "transactional.id",
];

/// Every client.
const ALL: &[(&str, &str)] = &[
    ("client.id", "vatic"),
    // A broker closes idle connections; that is no news.
    ("log.connection.close", "false"),
    ("socket.keepalive.enable", "true"),
    // Small requests follow each other: none waits until the one before it is acknowledged.
    ("socket.nagle.disable", "true"),
    ("reconnect.backoff.max.ms", "2000"),
    // New partitions are found within this time.
    ("topic.metadata.refresh.interval.ms", "5000"),
    // Models may be large; librdkafka's own limits are below a topic's.
    ("message.max.bytes", "100000000"),
    ("receive.message.max.bytes", "1000000000"),
];

/// Those that ask.
const ADMIN: &[(&str, &str)] = &[
    // Any broker can answer most questions: one that stands still is given up soon, and another one is asked.
    ("socket.timeout.ms", "5000"),
];

/// Those that read.
const CONSUMER: &[(&str, &str)] = &[
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "error"),
    ("isolation.level", "read_committed"),
    // KIP-848 groups stall before librdkafka 2.15.
    ("group.protocol", "classic"),
    ("partition.assignment.strategy", "cooperative-sticky"),
    // A killed process's partitions are taken over after this time: the least that brokers allow by default.
    ("session.timeout.ms", "6000"),
    ("heartbeat.interval.ms", "1500"),
    // Once prefetch is full, fetch again as soon as there is room, not a second later.
    ("fetch.queue.backoff.ms", "2"),
];

/// Those that write.
const PRODUCER: &[(&str, &str)] = &[
    ("enable.idempotence", "true"),
    ("acks", "all"),
    ("compression.type", "lz4"),
    ("linger.ms", "2"),
    ("batch.num.messages", "10000"),
    // A record costs some 250 bytes beside its own while librdkafka has it: at most so many of a commit at once.
    ("queue.buffering.max.messages", "20000"),
    // With the default of 100 ms each transaction that follows another waits so long for the other's markers (`docs/kafka.md`).
    ("retry.backoff.ms", "1"),
    ("retry.backoff.max.ms", "5"),
];

/// What people set, under librdkafka's names.
///
/// # Errors
/// `User` for one of ours.
pub(super) fn given(options: &Options) -> Result<Properties, KafkaError> {
    let name = |name: &str| match name.strip_prefix("kafka.").unwrap_or(name) {
        // librdkafka's aliases: of two names for one property it would take the one that happens to be set last.
        "compression" | "compression.codec" => "compression.type".to_owned(),
        "sasl.mechanism" => "sasl.mechanisms".to_owned(),
        "delivery.timeout.ms" => "message.timeout.ms".to_owned(),
        other => other.to_owned(),
    };
    let given: Properties = options.iter().map(|(n, value)| (name(n), value.to_owned())).collect();
    match given.keys().find(|name| OWN.contains(&name.as_str())) {
        Some(name) => Err(KafkaError::OwnProperty { name: name.clone() }),
        None => Ok(given),
    }
}

fn with(address: &str, defaults: &[&[(&str, &str)]], given: &[&Properties]) -> Properties {
    let defaults = defaults.iter().flat_map(|table| table.iter());
    let mut all: Properties = defaults.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    all.insert("bootstrap.servers".to_owned(), address.to_owned());
    all.extend(given.iter().flat_map(|properties| properties.iter().map(|(n, v)| (n.clone(), v.clone()))));
    all
}

/// For metadata and administration.
pub(super) fn admin(address: &str, given: &Properties) -> Properties {
    let mut all = with(address, &[ALL, ADMIN], &[given]);
    all.remove("fetch.max.bytes"); // it reads nothing, and the limit would have to fit that of messages
    all.insert("group.id".to_owned(), "vatic-admin".to_owned()); // never joined
    // That a listener hangs up is all that shows a client with the wrong protocol.
    all.insert("log.connection.close".to_owned(), "true".to_owned());
    all
}

/// For a consumer whose fetched records may take `budget` bytes, whatever the number of partitions. With `ends` it is told when a
/// partition's end is reached: ends are positions, and only that event tells of those behind the last record.
pub(super) fn consumer(address: &str, given: &[&Properties], group: &str, budget: usize, ends: bool) -> Properties {
    let mut all = with(address, &[ALL, CONSUMER], &[]);
    all.insert("enable.partition.eof".to_owned(), ends.to_string());
    // One consumer queue for all partitions: the limit holds for all together. It counts a record's own bytes, beside which
    // librdkafka needs some 400, and is passed by one answer, whose records take twice or thrice its bytes once decompressed:
    // small ones of 140 bytes take about the whole budget so.
    let set = |all: &mut Properties, name: &str, value: String| all.insert(name.to_owned(), value);
    set(&mut all, "queued.max.messages.kbytes", (budget / 8 / 1024).clamp(64, 2_000_000).to_string());
    set(&mut all, "queued.min.messages", "1000000".to_owned());
    let fetch = (budget / 16).clamp(64 << 10, 50 << 20);
    set(&mut all, "fetch.max.bytes", fetch.to_string());
    set(&mut all, "fetch.message.max.bytes", fetch.min(4 << 20).to_string());
    all.extend(given.iter().flat_map(|properties| properties.iter().map(|(n, v)| (n.clone(), v.clone()))));
    // Of a consumer: the least that `fetch.max.bytes` may be. It writes nothing.
    let fetch = all.get("fetch.max.bytes").cloned().unwrap_or_default();
    all.insert("message.max.bytes".to_owned(), fetch);
    all.insert("group.id".to_owned(), group.to_owned());
    all
}

/// For a producer; with an id, a transactional one.
pub(super) fn producer(address: &str, given: &[&Properties], id: Option<&str>, timeout: Duration) -> Properties {
    let mut all = with(address, &[ALL, PRODUCER], &[]);
    let timeout = timeout.as_millis().to_string();
    if let Some(id) = id {
        all.insert("transactional.id".to_owned(), id.to_owned());
        all.insert("transaction.timeout.ms".to_owned(), timeout);
    } else {
        all.insert("message.timeout.ms".to_owned(), timeout);
    }
    all.extend(given.iter().flat_map(|properties| properties.iter().map(|(n, v)| (n.clone(), v.clone()))));
    all
}

impl From<BadProperty> for KafkaError {
    fn from(bad: BadProperty) -> Self {
        match bad {
            BadProperty::Unknown(name, known) => Self::UnknownProperty { name, known },
            BadProperty::Value { name, value, reason } => {
                // librdkafka's text may call it by another name. What it says of the values it takes is kept.
                let range = reason.split_once("allowed range ").map(|(_, range)| format!(": it takes {}", range.trim_end()));
                let bool = || reason.starts_with("Expected bool").then(|| ": it takes true and false".to_owned());
                let takes = range.or_else(bool).unwrap_or_default();
                let value = if is_secret(&name) { "what was given".to_owned() } else { format!("\"{value}\"") };
                Self::BadValue { name, value, takes }
            }
            BadProperty::Invalid(reason) => Self::BadProperty { reason },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::kafka::ffi::{Client, Kind};
    use crate::error::Error;

    fn options(pairs: &[(&str, &str)]) -> Options {
        pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn every_default_is_known_to_librdkafka() {
        let none = Properties::new();
        let consumer = consumer("127.0.0.1:1", &[&none], "g", 64 << 20, true);
        Client::new(Kind::Consumer, &consumer).unwrap();
        Client::new(Kind::Producer, &producer("127.0.0.1:1", &[], Some("id"), Duration::from_secs(9))).unwrap();
        Client::new(Kind::Producer, &producer("127.0.0.1:1", &[], None, Duration::from_secs(9))).unwrap();
        Client::new(Kind::Admin, &admin("127.0.0.1:1", &none)).unwrap();
    }

    #[test]
    fn the_table_s_properties_win_and_ours_are_refused() {
        let broker = given(&options(&[("linger.ms", "7"), ("acks", "1")])).unwrap();
        let table = given(&options(&[("kafka.linger.ms", "9"), ("compression", "zstd")])).unwrap();
        let all = producer("a:1", &[&broker, &table], None, Duration::from_secs(1));
        assert_eq!((all["linger.ms"].as_str(), all["acks"].as_str()), ("9", "1"));
        assert_eq!(all["compression.type"], "zstd");
        let error = Error::from(given(&options(&[("kafka.group.id", "x")])).unwrap_err());
        assert_eq!(error.message(), "the Kafka property \"group.id\" is set by vatic");
    }

    #[test]
    fn answers_may_be_smaller_than_messages() {
        let given = given(&options(&[("fetch.max.bytes", "100000")])).unwrap();
        Client::new(Kind::Admin, &admin("127.0.0.1:1", &given)).unwrap();
        Client::new(Kind::Consumer, &consumer("127.0.0.1:1", &[&given], "g", 64 << 20, true)).unwrap();
        Client::new(Kind::Producer, &producer("127.0.0.1:1", &[&given], None, Duration::from_secs(9))).unwrap();
        for budget in [0, 1 << 20, 1 << 40] {
            Client::new(Kind::Consumer, &consumer("127.0.0.1:1", &[], "g", budget, true)).unwrap();
        }
    }

    #[test]
    fn a_value_that_does_not_fit_is_told_under_the_name_that_was_given() {
        for (name, value, told) in [
            ("linger.ms", "abc", "the Kafka property \"linger.ms\" cannot be \"abc\""),
            ("acks", "most", "the Kafka property \"acks\" cannot be \"most\""),
            ("batch.size", "-5", "the Kafka property \"batch.size\" cannot be \"-5\": it takes 1..2147483647"),
            (
                "enable.ssl.certificate.verification",
                "maybe",
                "the Kafka property \"enable.ssl.certificate.verification\" cannot be \"maybe\": it takes true and false",
            ),
        ] {
            let given = given(&options(&[(name, value)])).unwrap();
            let error = Client::new(Kind::Producer, &producer("127.0.0.1:1", &[&given], None, Duration::from_secs(9)));
            assert_eq!(Error::from(KafkaError::from(error.unwrap_err())).message(), told);
        }
        let bad = BadProperty::Value { name: "ssl.key.pem".into(), value: "secret".into(), reason: "secret".into() };
        let told = Error::from(KafkaError::from(bad));
        assert_eq!(told.message(), "the Kafka property \"ssl.key.pem\" cannot be what was given");
    }

    #[test]
    fn an_unknown_property_names_the_nearest() {
        let given = given(&options(&[("lingr.ms", "7")])).unwrap();
        let error = Client::new(Kind::Admin, &admin("127.0.0.1:1", &given)).unwrap_err();
        let error = Error::from(KafkaError::from(error));
        assert_eq!(
            (error.message(), error.get_hint()),
            ("unknown Kafka property \"lingr.ms\"", Some("Did you mean \"linger.ms\"?"))
        );
    }
}
