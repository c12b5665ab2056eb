//! Positions in what is no topic.   `file:...`, `generator:...` ─► compacted topic [`TOPIC`] ─► back when the job starts again
//!
//! A consumer group commits offsets of topics only. A job's position in a file or a generator is a record of [`TOPIC`] instead:
//! key = group, name and partition, value = offset and metadata, both JSON. It is written in the transaction of the outputs, so it
//! moves with them or not at all; compaction keeps the newest. Names of topics never hold a colon, these always do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::admin::{Admin, put};
use super::error::KafkaError;
use super::ffi::{Batch, Kind, Queue};
use super::rights::Right;
use super::{properties, security};
use crate::connector::{NewTopic, OffsetAt, Partition, Position};
use crate::format::{Records, RecordsBuilder};

/// The topic of these positions: 1 partition, compacted.
pub(super) const TOPIC: &str = "vatic-positions";

/// How long reading it may take.
const WAIT: Duration = Duration::from_secs(60);

#[derive(Debug, Serialize, Deserialize)]
struct Key {
    group: String,
    name: String,
    partition: Partition,
}

#[derive(Debug, Serialize, Deserialize)]
struct Value {
    offset: i64,
    metadata: String,
}

/// Whether a group can commit positions of it.
pub(super) fn is_topic(name: &str) -> bool {
    !name.contains(':')
}

/// Creates [`TOPIC`] if there is none.
pub(super) fn create(admin: &Admin) -> Result<(), KafkaError> {
    let config = [("cleanup.policy", "compact"), ("segment.bytes", "16777216"), ("min.cleanable.dirty.ratio", "0.1")];
    let config = config.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    admin.create(&NewTopic { name: TOPIC.to_owned(), partitions: Some(1), replication: None, config }).map(|_| ())
}

/// The records that say so; `None` in place of a position forgets it.
pub(super) fn records<'p>(
    group: &str,
    positions: impl Iterator<Item = (&'p Position, bool)>,
) -> Result<Records, KafkaError> {
    let mut builder = RecordsBuilder::with_capacity(1);
    let misuse = |e: serde_json::Error| KafkaError::Misuse(format!("a position cannot be written: {e}"));
    for (position, keep) in positions {
        let Position { topic, partition, offset, metadata } = position;
        let key = Key { group: group.to_owned(), name: topic.to_string(), partition: *partition };
        let value = Value { offset: *offset, metadata: metadata.clone() };
        let (key, value) = (serde_json::to_vec(&key).map_err(misuse)?, serde_json::to_vec(&value).map_err(misuse)?);
        builder.push(0, crate::time::now(), Some(&key), keep.then_some(&value), []);
    }
    Ok(builder.finish())
}

/// What a group committed of such sources.
pub(super) fn read(admin: &Arc<Admin>, group: &str) -> Result<Vec<Position>, KafkaError> {
    if !admin.is_listed(TOPIC)? {
        return Ok(Vec::new());
    }
    let of = [(TOPIC, 0)];
    let begin = admin.offsets(&of, &OffsetAt::Earliest)?.first().copied().unwrap_or(0);
    let end = admin.decided_end(TOPIC, 0)?;
    let mut found: BTreeMap<(String, Partition), Value> = BTreeMap::new();
    if begin < end {
        let made = properties::consumer(&admin.address, &[&admin.given], "vatic-positions-reader", 8 << 20, true);
        let client = Arc::new(security::client(Kind::Consumer, &made)?);
        let mut wanted = rdkafka::TopicPartitionList::new();
        put(&mut wanted, TOPIC, 0, begin, "")?;
        let failed = |failure| {
            let request = (format!("read topic \"{TOPIC}\""), Right::topic("Read", TOPIC));
            KafkaError::of(&admin.address, request, failure)
        };
        client.read(&wanted).map_err(failed)?;
        let queue = Queue::of(&client).ok_or_else(|| KafkaError::Start("it has no queue".to_owned()))?;
        let (mut batch, mut at, begun) = (Batch::default(), begin, Instant::now());
        while at < end {
            if begun.elapsed() > WAIT {
                return Err(failed(super::ffi::Failure::new(
                    rdkafka::types::RDKafkaErrorCode::OperationTimedOut,
                    format!("no end after {WAIT:?}"),
                )));
            }
            queue.take(Duration::from_millis(100), 1000, true, &mut batch);
            for message in batch.iter() {
                match message.failure() {
                    // The event at the end carries the position, behind the marker of the last transaction.
                    Some(failure) if failure.code == rdkafka::types::RDKafkaErrorCode::PartitionEOF => {
                        at = at.max(message.offset());
                    }
                    Some(failure) if failure.code == rdkafka::types::RDKafkaErrorCode::TopicAuthorizationFailed => {
                        return Err(failed(failure));
                    }
                    Some(_) => {}
                    None => {
                        at = message.offset() + 1;
                        let key = message.key().and_then(|key| serde_json::from_slice::<Key>(key).ok());
                        let Some(key) = key.filter(|key| key.group == group) else { continue };
                        match message.value().and_then(|value| serde_json::from_slice::<Value>(value).ok()) {
                            Some(value) => found.insert((key.name, key.partition), value),
                            None => found.remove(&(key.name, key.partition)),
                        };
                    }
                }
            }
        }
    }
    let position = |((name, partition), value): ((String, Partition), Value)| Position {
        topic: name.into(),
        partition,
        offset: value.offset,
        metadata: value.metadata,
    };
    Ok(found.into_iter().map(position).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_sources_are_told_from_topics() {
        assert!(is_topic("a.b-c_d") && !is_topic("file:x.csv") && !is_topic("generator:g"));
    }

    #[test]
    fn a_position_is_a_record_and_a_tombstone_forgets_it() {
        let position = Position { topic: "file:x".into(), partition: 3, offset: 7, metadata: "m".to_owned() };
        let records = records("g", [(&position, true), (&position, false)].into_iter()).unwrap();
        use arrow::array::Array;
        assert_eq!(records.keys.value(0), br#"{"group":"g","name":"file:x","partition":3}"#);
        assert_eq!(records.values.value(0), br#"{"offset":7,"metadata":"m"}"#);
        assert!(records.values.is_null(1) && records.keys.value(0) == records.keys.value(1));
    }
}
