//! Streams as epochs: what an epoch knows, and the operators that run in it.
//!
//! ```text
//! driver ─► EpochCell::set(time, models) ─► execute the compiled plan once ─► commit ─► next epoch
//!                      └──────────────► read by now() and ScoreExec while the epoch runs
//! ```
//!
//! To add an operator: write `operators/<name>.rs`, then add its `mod` line to `operators/mod.rs`.

pub mod driver;
pub mod epoch_context;
pub mod fault;
pub mod lane;
pub mod operators;
pub mod progress;
pub mod scan;
pub mod table;
pub mod write;

pub use epoch_context::{EpochCell, EpochContext};
