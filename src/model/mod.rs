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
pub mod features;
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
mod snapshot;
mod stats;
pub mod table;
pub mod tree;
mod trial;
mod versions;
mod view;

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

pub use guard::guard;
pub use load::{load_any, sniff};
pub use reference::{ModelRef, is_name};
pub use registry::{Fetch, Loader, Registry, UseGuard};
pub use sandbox::Sandbox;
pub use snapshot::{LiveModel, Resolution, Snapshot};
pub use stats::{Stats, StatsReading};
pub use versions::{Applied, Change, Check, Numbering, Status};
pub use view::View;

use crate::error::{BoxError, ErrorKind, Explain, nearest};

/// All formats of models, in the order in which their `sniff` is asked.
pub const MODEL_FORMATS: &[&dyn ModelFormat] = &[&onnx::Onnx];

/// A kind of model file.
pub trait ModelFormat: Debug + Sync {
    /// Its name in the `models` table: `onnx`.
    fn name(&self) -> &'static str;
    /// Whether `bytes` look like it; cheap.
    fn sniff(&self, bytes: &[u8]) -> bool;
    /// Parses, checks, optimises and warms a model, from memory only. Takes up to seconds: call it off the hot path.
    ///
    /// # Errors
    /// `Load` with the true reason. Must not panic, hang or exhaust memory on any bytes.
    fn load(&self, bytes: &[u8]) -> Result<Loaded, ModelError>;
    /// What the file says of itself; cheap, and as much as can be read of a file that cannot be used. Must not panic.
    fn facts(&self, _bytes: &[u8]) -> inspect::Facts {
        inspect::Facts::default()
    }
}

/// A model ready to score.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What goes in and comes out.
    pub signature: Signature,
    /// What does the work.
    pub scorer: Arc<dyn Scorer>,
}

/// One loaded model version. Immutable and shared; a new version is a new `Scorer`.
pub trait Scorer: Debug + Send + Sync {
    /// `features` are the signature's inputs in its order, one Arrow array each, all `rows` long (may be 0), already of the
    /// signature's types: a scalar input is an array of its type; one of width w > 1 is a FixedSizeList of w. Nulls have been
    /// replaced (see [`Input::takes_null`]).
    /// Returns one array per output of the signature, `rows` long, in row order; a probability is `0.0..=1.0`.
    ///
    /// # Errors
    /// `Run` if the runtime fails, and then no row of the batch is scored. Must not panic on any value.
    fn score(&self, features: &[ArrayRef], rows: usize) -> Result<Vec<ArrayRef>, ModelError>;
    /// What does the work, in the order of its steps, for people: `dense 11 x 32, relu`.
    fn kernels(&self) -> Vec<String> {
        Vec::new()
    }
}

/// What a model takes and gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Signature {
    /// Inputs, in the model's order.
    pub inputs: Vec<Input>,
    /// Outputs, in the model's order, as [`Scorer::score`] returns them.
    pub outputs: Vec<Output>,
    /// What the model is for, and so what `score` and `classify` mean on it.
    pub kind: Kind,
    /// The classes' names in the order of the probabilities; empty if the model names none.
    pub classes: Vec<String>,
}

/// One input.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// Its name in the model.
    pub name: String,
    /// The type of one element: `Float32`, `Float64`, `Int64`, `Int32`, `Boolean`, `Utf8`, ...
    pub data_type: DataType,
    /// How many elements a row has: 1 for a column, n for a tensor of shape `[batch, n]` (or more dimensions, flattened).
    pub width: usize,
    /// The dimensions behind the batch, as the scorer needs them: `[]` or `[n]` or `[28, 28]`.
    pub shape: Vec<usize>,
    /// Whether the model itself treats missing values, which reach it as NaN (numbers) or the empty string.
    pub takes_null: bool,
}

/// One output.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// Its name in the model.
    pub name: String,
    /// The type of its array: a scalar type, or `FixedSizeList` of one.
    pub data_type: DataType,
}

/// What a model is for. Indices point into [`Signature::outputs`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One number.
    Regression {
        /// The output that holds it.
        value: usize,
    },
    /// A class, with probabilities where the model gives them.
    Classification {
        /// The predicted class (a scalar output), if the model gives one.
        label: Option<usize>,
        /// The probabilities, a `FixedSizeList` in the order of the classes, or for two classes perhaps one column.
        probabilities: Option<usize>,
    },
    /// A decision score, low where a row is strange.
    Anomaly {
        /// The output with 1 (normal) or -1, if any.
        label: Option<usize>,
        /// The decision score.
        value: usize,
    },
    /// A cluster and the distances to all of them.
    Clustering {
        /// The chosen cluster.
        label: usize,
        /// The distances.
        distances: Option<usize>,
    },
}

/// What the three SQL functions return.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Function {
    /// `score(...)`: DOUBLE.
    Score,
    /// `classify(...)`: VARCHAR.
    Classify,
    /// `predict(...)`: STRUCT, the same for every model.
    Predict,
}

impl Function {
    /// All of them.
    pub const ALL: [Function; 3] = [Function::Score, Function::Classify, Function::Predict];
    /// Its name in SQL.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Function::Score => "score",
            Function::Classify => "classify",
            Function::Predict => "predict",
        }
    }
}

/// What goes wrong with models.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// No format knows the bytes.
    #[error("not a model: {found}")]
    Unknown {
        /// What the bytes look like.
        found: String,
    },
    /// The bytes cannot be used.
    #[error("{reason}")]
    Load {
        /// The true reason, fit for the registry's `error` column.
        reason: String,
        /// Its cause, if a library gave one.
        source: Option<BoxError>,
    },
    /// The runtime failed while scoring.
    #[error("model \"{model}\" failed: {reason}")]
    Run {
        /// `name:version`, or the file.
        model: String,
        /// What the runtime said.
        reason: String,
    },
    /// The features do not fit.
    #[error("model \"{model}\" {difference}")]
    Features {
        /// `name:version`, or the file.
        model: String,
        /// What was given and what it takes.
        difference: String,
        /// How to give them.
        hint: String,
        /// Which of them does not fit, from 0, if it is one.
        argument: Option<usize>,
    },
    /// The name is not that of a model.
    #[error("\"{name}\" is not a model's name")]
    BadName {
        /// As given.
        name: String,
    },
    /// Nobody published the model, or not that version.
    #[error("no model \"{name}\" on topic \"{topic}\"")]
    Missing {
        /// As asked for: `fraud`, `fraud:7`.
        name: String,
        /// The model topic.
        topic: String,
        /// What there is.
        known: Vec<String>,
    },
    /// There are versions, and none of them can be used.
    #[error("no version of model \"{name}\" can be used; version {version}: {reason}")]
    Unusable {
        /// As asked for.
        name: String,
        /// The newest.
        version: u64,
        /// Why.
        reason: String,
    },
}

impl Explain for ModelError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Features { .. } | Self::BadName { .. } | Self::Missing { .. } => ErrorKind::User,
            Self::Unknown { .. } | Self::Load { .. } | Self::Run { .. } | Self::Unusable { .. } => ErrorKind::Data,
        }
    }
    fn argument(&self) -> Option<usize> {
        match self {
            Self::Features { argument, .. } => *argument,
            _ => None,
        }
    }
    fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { .. } => Some("Export the model to ONNX.".to_owned()),
            Self::Features { hint, .. } => Some(hint.clone()),
            Self::BadName { .. } => {
                Some("Use letters, digits, \"_\", \".\" and \"-\"; a version follows a colon: 'fraud:7'.".to_owned())
            }
            Self::Missing { name, known, .. } if known.is_empty() => Some(format!("Publish it: vatic publish {name} FILE")),
            Self::Missing { name, known, .. } => {
                let near = nearest(name, known.iter().map(String::as_str)).map(|n| format!("Did you mean \"{n}\"?"));
                Some(match (near, known.as_slice()) {
                    (Some(near), [_]) => near,
                    (near, _) => {
                        format!("{} There are: {}.", near.unwrap_or_default(), known.join(", ")).trim_start().to_owned()
                    }
                })
            }
            Self::Unusable { .. } => Some("Publish a version that loads; SELECT * FROM models shows them all.".to_owned()),
            Self::Load { .. } | Self::Run { .. } => None,
        }
    }
}
