//! vatic's `src/model/`, as far as it scores: the files themselves, and what `src/model/mod.rs` says of them.

#![allow(dead_code, unused_imports)] // what vatic uses them for besides

#[path = "../../../../src/model/answer.rs"]
pub mod answer;
#[path = "../../../../src/model/error.rs"]
mod error;
#[path = "../../../../src/model/features.rs"]
pub mod features;
#[path = "../../../../src/model/format.rs"]
mod format;
#[path = "../../../../src/model/fused/mod.rs"]
mod fused;
#[path = "../../../../src/model/guard.rs"]
mod guard;
#[path = "../../../../src/model/inspect.rs"]
pub mod inspect;
#[path = "../../../../src/model/kernel/mod.rs"]
pub mod kernel;
#[path = "../../../../src/model/load.rs"]
mod load;
#[path = "../../../../src/model/onnx/mod.rs"]
pub mod onnx;
#[path = "../../../../src/model/signature.rs"]
mod signature;
#[path = "../../../../src/model/tree/mod.rs"]
pub mod tree;
#[path = "../../../../src/model/trial.rs"]
mod trial;

pub use error::ModelError;
pub use format::{Facts, Loaded, ModelFormat, Scorer};
pub use guard::guard;
pub use load::{load_any, sniff};
pub use signature::{Function, Input, Kind, Output, Signature};

/// All formats of models.
pub const MODEL_FORMATS: &[&dyn ModelFormat] = &[&onnx::Onnx];
