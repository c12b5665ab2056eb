//! A real Kafka, and the same saved queries on it.
//!
//! ```text
//! jars ─► cluster     Maven's jars, brokers on free loopback ports
//! outside             Kafka's own Java clients, certificates
//! cli, measure        what people see on the command line; `vatic bench`
//! reading             where readers with ends stand
//! absence             what followers say while the broker is away
//! budget              memory with a backlog on many partitions
//! limits              large records, deleted topics, at least once
//! members             whose partitions are whose
//! registry            the model topic, and other publishers
//! security            TLS, passwords, rights
//! sharing             what processes of one job cannot share
//! trial ─► trouble    a job whose processes and brokers are killed: each row once
//!       ─► points     a job that dies or fails before and after every step of a commit
//!       ─► witness    Kafka's own consumer reads what came out ─► verdict
//!       ─► brokers    brokers that die, stand still, have no room; topics that are deleted, cut off, grown
//! ```
//!
//! The seed of a trouble is printed; `VATIC_SEED` gives another, `VATIC_KILLS` how often something happens to a process,
//! `VATIC_BROKER_KILLS` how often to a broker, `VATIC_TEST_PAUSE` how many seconds one stands still. `VATIC_TEST_KAFKA=off` leaves
//! out all that needs Java and Maven.
//! To add a subject: a file here and its `mod` line.

mod absence;
mod brokers;
mod budget;
mod cli;
pub mod cluster;
mod jars;
mod limits;
mod measure;
mod members;
mod outside;
#[cfg(debug_assertions)]
mod points;
mod reading;
mod registry;
mod security;
mod sharing;
mod trial;
mod trouble;
mod verdict;
mod witness;

use std::time::Duration;

use crate::harness::{Place, Running};

/// What is promised within ten seconds (eight of waiting, the rest for the program) comes within this on a machine that is busy,
/// and nothing that hangs does.
const SOON: Duration = Duration::from_secs(40);

/// `vatic --broker ADDRESS args...` in the background.
pub fn start(place: &Place, address: &str, args: &[&str]) -> Running {
    place.start(&[&["--broker", address], args].concat())
}

/// The same to its end, which must be good; what it prints.
pub fn ok(place: &Place, address: &str, args: &[&str]) -> String {
    let ended = start(place, address, args).end();
    assert_eq!(ended.code, 0, "{args:?}: {ended:#?}");
    ended.out
}
