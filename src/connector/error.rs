//! What goes wrong with topics on every broker: one that is not there, an offset that it does not hold, a record that it does not take.

use super::Partition;
use crate::error::{ErrorKind, Explain, did_you_mean, nearest};

/// A topic, a partition or an offset that is not there, or a record that the topic does not take.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// Nobody created the topic, or somebody deleted it.
    #[error("no topic \"{topic}\"")]
    NoTopic {
        /// As asked for.
        topic: String,
        /// The topics there are.
        known: Vec<String>,
    },
    /// A source's topic was deleted under it.
    #[error("topic \"{topic}\" was deleted while it was read")]
    Deleted {
        /// The topic.
        topic: String,
    },
    /// The topic has fewer partitions.
    #[error("topic \"{topic}\" has partitions 0 to {last}, not {partition}")]
    NoPartition {
        /// The topic.
        topic: String,
        /// Its last partition.
        last: Partition,
        /// As asked for.
        partition: Partition,
    },
    /// A record is larger than its topic allows.
    #[error("a record of {size} bytes is too large for topic \"{topic}\", which takes {limit}")]
    TooLarge {
        /// The topic.
        topic: String,
        /// The record as Kafka counts it: key, value, headers, overhead.
        size: usize,
        /// `max.message.bytes`.
        limit: usize,
    },
    /// A compacted topic cannot keep a record without a key.
    #[error("topic \"{topic}\" is compacted and takes no record without a key")]
    NoKey {
        /// The topic.
        topic: String,
    },
    /// A position was asked for that the topic does not hold.
    #[error("topic \"{topic}\" partition {partition} holds offsets {earliest} to {end}, and {what} {offset}")]
    OutOfRange {
        /// The topic.
        topic: String,
        /// The partition.
        partition: Partition,
        /// Its oldest offset.
        earliest: i64,
        /// Its end.
        end: i64,
        /// Whose position: `group "vatic-x" committed`, `the query asked for`, `the reader stood at`.
        what: String,
        /// The position.
        offset: i64,
        /// The group, if it is a committed position.
        group: Option<String>,
        /// Whether the query itself named the offset.
        asked: bool,
    },
}

impl Explain for TopicError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoTopic { .. } | Self::NoPartition { .. } | Self::OutOfRange { asked: true, .. } => ErrorKind::User,
            Self::OutOfRange { .. } | Self::TooLarge { .. } | Self::NoKey { .. } => ErrorKind::Data,
            Self::Deleted { .. } => ErrorKind::External,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoTopic { topic, known } => {
                let create = format!("Create it: vatic topic create {topic}");
                match nearest(topic, known.iter().map(String::as_str)) {
                    Some(_) => {
                        let near = did_you_mean(topic, "topics", known.iter().map(String::as_str)).unwrap_or_default();
                        format!("{near} {create}")
                    }
                    None => create,
                }
            }
            Self::Deleted { .. } => {
                "Create the topic again and start the query again; RESET JOB forgets a job's positions in the old one."
                    .to_owned()
            }
            Self::NoPartition { last, .. } => format!("Name partitions from 0 to {last}."),
            Self::TooLarge { limit, .. } => {
                format!(
                    "Write smaller records, or to a topic created with --config max.message.bytes=N (more than {limit})."
                )
            }
            Self::NoKey { .. } => "Set a key, or use a topic with cleanup.policy=delete.".to_owned(),
            Self::OutOfRange { group: Some(group), .. } => {
                let job = group.strip_prefix("vatic-").unwrap_or(group);
                format!("Run RESET JOB \"{job}\"; it then begins where scan.startup says.")
            }
            Self::OutOfRange { asked: true, earliest, end, .. } => format!("Begin at an offset from {earliest} to {end}."),
            Self::OutOfRange { .. } => {
                "Read again from the earliest offset, or keep records longer (retention.ms).".to_owned()
            }
        })
    }
}
