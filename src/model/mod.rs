//! Models: what the model topic says, what is loaded, and how rows are scored.
//!
//! ```text
//! model topic ─► descriptor ─► registry (versions) ─► verify, load, warm (off the hot path) ─► snapshot
//! epoch ─► view of one snapshot ─► each name resolved once ─► features bound to the signature ─► scorer ─► score, label, ...
//! ```
//!
//! A version is immutable; what moves is which version a name means. Scorers are columnar: Arrow arrays in, Arrow arrays
//! out, nothing per row. To add a model format: write `model/<name>.rs`, then add one line to [`MODEL_FORMATS`].

pub mod answer;
pub mod columns;
pub mod descriptor;
mod error;
pub mod features;
mod format;
mod fused;
mod guard;
pub mod inspect;
pub mod kernel;
mod ledger;
mod load;
pub mod onnx;
mod reference;
pub mod registry;
pub mod sandbox;
mod signature;
mod snapshot;
mod stats;
pub mod table;
pub mod tree;
mod trial;
mod versions;
mod view;

pub use error::ModelError;
pub use format::{Facts, Loaded, ModelFormat, Scorer};
pub use guard::guard;
pub use load::{load_any, sniff};
pub use reference::{ModelRef, is_name};
pub use registry::{Fetch, Loader, Registry, UseGuard};
pub use sandbox::Sandbox;
pub use signature::{Function, Input, Kind, Output, Signature};
pub use snapshot::{LiveModel, Resolution, Snapshot};
pub use stats::{Stats, StatsReading};
pub use versions::{Applied, Change, Check, Numbering, Status};
pub use view::View;

/// All formats of models, in the order in which their `sniff` is asked.
pub const MODEL_FORMATS: &[&dyn ModelFormat] = &[&onnx::Onnx];
