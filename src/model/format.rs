//! What a format of models has to do, and what it makes of a file: a [`Scorer`], columns in and columns out.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::ArrayRef;

use super::{ModelError, Signature};

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
    fn facts(&self, _bytes: &[u8]) -> Facts {
        Facts::default()
    }
}

/// What a file says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The version of its format: `IR version 8`.
    pub format_version: Option<String>,
    /// The program that wrote it.
    pub producer: Option<String>,
    /// That program's version.
    pub producer_version: Option<String>,
    /// The sets of operators it uses, with their versions.
    pub opsets: Vec<(String, i64)>,
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
    /// replaced (see [`Input::takes_null`](super::Input::takes_null)).
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
