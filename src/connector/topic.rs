//! `connector = 'kafka'`: a topic of the session's broker, Apache Kafka or the embedded one, as a table.
//!
//! Only its options stand here; who reads them is the catalog (how the table is read and written) and the broker (`kafka.*`).

use super::Connector;
use crate::config::OptionSpec;

/// A topic of the broker.
#[derive(Debug)]
pub struct Topic;

impl Connector for Topic {
    fn name(&self) -> &'static str {
        "kafka"
    }
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec { name: "topic", values: "a topic's name", default: "the table's name", doc: "The topic." },
    OptionSpec { name: "format", values: "json, csv, raw", default: "json", doc: "How values are written." },
    OptionSpec {
        name: "key.format",
        values: "none, raw, json",
        default: "none",
        doc: "How keys are written; with raw and json, key.columns says from which columns.",
    },
    OptionSpec {
        name: "key.columns",
        values: "columns, separated by commas",
        default: "",
        doc: "The columns that make the key.",
    },
    OptionSpec {
        name: "scan.startup",
        values: "earliest, latest, timestamp:RFC3339, offsets:0=12,1=9",
        default: "",
        doc: "Where a job or EMIT CHANGES begins that has no committed offsets; unset: jobs earliest, EMIT CHANGES latest.",
    },
    OptionSpec {
        name: "bad_records",
        values: "dead_letter, skip, fail",
        default: "dead_letter",
        doc: "What happens to a record that is no row.",
    },
    OptionSpec {
        name: "partitioner",
        values: "murmur2_random, round_robin",
        default: "murmur2_random",
        doc: "Which partition a record goes to; rows from one input to one output partition keep their order.",
    },
    OptionSpec {
        name: "compression",
        values: "lz4, zstd, gzip, snappy, none",
        default: "lz4",
        doc: "How batches of records are compressed.",
    },
    OptionSpec {
        name: "topic.create",
        values: "true, false",
        default: "true",
        doc: "Whether writing creates the topic if there is none; reading never does.",
    },
    OptionSpec {
        name: "topic.partitions",
        values: "a number",
        default: "the broker's",
        doc: "How many partitions a topic that is created gets.",
    },
    OptionSpec {
        name: "topic.replication",
        values: "a number",
        default: "the broker's",
        doc: "How many copies a topic that is created gets.",
    },
    OptionSpec {
        name: "kafka.*",
        values: "as librdkafka takes them",
        default: "",
        doc: "A librdkafka property, for this table only.",
    },
];
