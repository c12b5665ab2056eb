//! The integration tests: one binary, one module per subject. To add one: `tests/it/<name>.rs`, then a line here.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bench;
mod budget;
mod cli;
mod conformance;
mod crash;
mod demo;
mod docs;
mod embedded;
mod epochs;
mod harness;
mod jobs;
mod kafka;
mod letters;
mod lookout;
mod mistakes;
mod models;
mod models_cli;
mod mutants;
mod pipes;
mod progress;
mod psql;
mod queries;
mod readme;
mod rig;
mod sandbox;
mod score;
mod shell;
mod structure;
mod swap;
mod terminal;
mod udfs;
