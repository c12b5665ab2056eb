//! What marks an error as a function's of the user's own, for the policy of `udf.on_error`.

use datafusion::error::DataFusionError;

use crate::error::Error;

/// The mark: reason `udf` of a dead letter.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct FunctionFailure {
    /// The function's name in SQL.
    pub function: String,
    /// What it failed with, and on what.
    pub reason: String,
}

/// Whether `error` came from a function of the user's own failing on a row.
#[must_use]
pub fn is_function_failure(error: &DataFusionError) -> bool {
    let DataFusionError::External(inner) = error.find_root() else { return false };
    let source = inner.downcast_ref::<Error>().and_then(std::error::Error::source);
    source.is_some_and(|source| source.is::<FunctionFailure>())
}
