//! A real Kafka, and the same saved queries on it.
//!
//! ```text
//! jars ─► cluster     Maven's jars, brokers on free loopback ports
//! cli, measure        what people see on the command line; `vatic bench`
//! reading             where readers with ends stand
//! budget              memory with a backlog on many partitions
//! trial ─► trouble    a job whose processes and brokers are killed: each row once
//! ```
//!
//! The seed of a trouble is printed; `VATIC_SEED` gives another, `VATIC_KILLS` how often something happens to a process,
//! `VATIC_BROKER_KILLS` how often to a broker. `VATIC_TEST_KAFKA=off` leaves out all that needs Java and Maven.
//! To add a subject: a file here and its `mod` line.

mod budget;
mod cli;
pub mod cluster;
mod jars;
mod measure;
mod reading;
mod trial;
mod trouble;

use crate::harness::{Place, Running};

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
