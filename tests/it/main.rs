//! The integration tests: one binary, one module per subject. To add one: `tests/it/<name>.rs`, then a line here.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cli;
mod conformance;
mod docs;
mod embedded;
mod harness;
mod jobs;
mod kafka;
mod kafka_harness;
mod structure;
