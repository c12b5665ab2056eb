//! SQL over Kafka with live machine-learning models.
//!
//! Kafka topics are streaming tables in DataFusion; SQL calls `score(model, features)`; models arrive on a topic and go live
//! in running queries at the next epoch. `docs/architecture.md` follows one row through the modules below, which stand on
//! floors: each imports its own floor or those below it.

pub mod config;
pub mod error;
pub mod metrics;
pub mod time;

pub mod format;

pub mod model;

pub mod connector;

pub mod stream;

pub mod udf;

pub mod sql;

pub mod engine;

pub mod cli;

pub use error::{Error, ErrorKind, Result};
