//! What goes into a model and comes out, and what SQL's three functions make of it.

use arrow::datatypes::DataType;

/// What a model takes and gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Signature {
    /// Inputs, in the model's order.
    pub inputs: Vec<Input>,
    /// Outputs, in the model's order, as [`Scorer::score`](super::Scorer::score) returns them.
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
