//! What the cases read: records like `{"id":17,"f0":-1.25,"f1":0.314,...,"f10":0.5}`, about 140 bytes, and the network.
//!
//! Values depend on the id alone: every run of every machine reads the same bytes.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;

use crate::connector::{Broker, Commit, OffsetAt, Output, Sink, SinkSpec};
use crate::error::Result;
use crate::format::{Records, RecordsBuilder};
use crate::time;

/// How many partitions the output has, and the input of most cases.
pub(super) const PARTITIONS: i32 = 8;
/// How many numbers the network takes.
pub(super) const FEATURES: u64 = 11;
/// Records of one commit when the input is prepared: not so many that preparing it needs more memory than the case.
const AT_ONCE: u64 = 8_192;

const NETWORK: &[u8] = include_bytes!("../../../tests/models/mlp_11_32_16_1.onnx");

/// The network's file as version `number`: ONNX's `model_version` (field 5, a varint) is said once more at the end, and
/// protobuf's last word counts. So every version has bytes of its own and the same weights.
pub(super) fn network(number: u8) -> Bytes {
    let mut file = NETWORK.to_vec();
    file.extend([5 << 3, number & 0x7f]);
    file.into()
}

/// What writes to a topic.
pub(super) struct Producer {
    topic: Arc<str>,
    partitions: i32,
    sink: Box<dyn Sink>,
    next: u64,
}

impl Producer {
    /// Writes to a topic that exists.
    pub(super) async fn new(broker: &Arc<dyn Broker>, topic: &str) -> Result<Self> {
        let partitions = i32::try_from(broker.offsets(topic, OffsetAt::Earliest).await?.len()).unwrap_or(PARTITIONS);
        Ok(Self { topic: topic.into(), partitions, sink: broker.sink(SinkSpec::default()).await?, next: 0 })
    }

    /// Writes the next `rows` records, dealt to all partitions in equal parts, in one commit.
    pub(super) async fn write(&mut self, rows: u64) -> Result<()> {
        let (first, last) = (self.next, self.next + rows);
        self.next = last;
        let lanes = self.partitions.unsigned_abs().into();
        let share = |index: u64| (first + index..last).step_by(self.partitions.unsigned_abs() as usize);
        let outputs = (0..self.partitions)
            .zip(0..rows.min(lanes))
            .map(|(spin, index)| {
                // One record at a time must not always meet the same partition.
                let partition = (spin + i32::try_from(first % lanes).unwrap_or(0)) % self.partitions;
                Output { topic: Arc::clone(&self.topic), partition, records: records(share(index)) }
            })
            .collect();
        self.sink.commit(Commit { outputs, ..Commit::default() }).await.map(|_| ())
    }

    /// Writes `rows` records in commits of moderate size.
    pub(super) async fn fill(&mut self, rows: u64) -> Result<()> {
        let end = self.next + rows;
        while self.next < end {
            self.write(AT_ONCE.min(end - self.next)).await?;
        }
        Ok(())
    }
}

fn records(ids: impl Iterator<Item = u64>) -> Records {
    let now = time::now();
    let mut builder = RecordsBuilder::with_capacity(ids.size_hint().0);
    let mut text = Vec::with_capacity(160);
    for id in ids {
        text.clear();
        record(id, &mut text);
        builder.push(0, now, None, Some(&text), []);
    }
    builder.finish()
}

/// The text of one record.
pub(super) fn record(id: u64, out: &mut Vec<u8>) {
    // A `Vec` takes all that is written to it.
    let _ = write!(out, "{{\"id\":{id}");
    for feature in 0..FEATURES {
        let _ = write!(out, ",\"f{feature}\":{:.3}", uneven(id * FEATURES + feature));
    }
    out.push(b'}');
}

/// A number between -3 and 3 that depends on `seed` alone (splitmix64).
fn uneven(seed: u64) -> f64 {
    let mut z = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64 * 6.0 - 3.0
}

/// The columns of the input as SQL declares them.
pub(super) fn columns() -> String {
    let features: Vec<String> = (0..FEATURES).map(|feature| format!("f{feature} REAL")).collect();
    format!("id BIGINT NOT NULL, {}", features.join(", "))
}

/// The features as arguments of `score`.
pub(super) fn features() -> String {
    (0..FEATURES).map(|feature| format!("f{feature}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::load_any;

    #[test]
    fn records_are_json_of_about_140_bytes() {
        let mut sizes = 0;
        for id in 500_000..500_100 {
            let mut text = Vec::new();
            record(id, &mut text);
            let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(value["id"], id);
            assert_eq!(value.as_object().unwrap().len() as u64, 1 + FEATURES);
            sizes += text.len();
        }
        assert!((13_000..15_000).contains(&sizes), "{sizes}");
    }

    #[test]
    fn versions_differ_in_their_bytes_and_load() {
        assert_ne!(network(1), network(2));
        for number in [1, 127] {
            assert!(load_any(&network(number)).is_ok());
        }
    }
}
