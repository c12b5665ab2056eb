//! Scalar functions.   arguments ─► one call for the whole batch; if it panics: halves ─► ... ─► the row at fault
//!
//! Nothing is done per row on this side. A function that panics says only that some row of the batch cannot be computed, so the batch
//! is tried in halves; rows may be computed several times then.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{Array, ArrayRef, new_empty_array, new_null_array};
use arrow::compute::concat;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result as DfResult, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature as Accepted, Volatility,
};

use crate::error::{Error, Result};

use super::call::{CallError, Run};
use super::error::UdfError;
use super::function::{Bound, OnError, Version};
use super::head::Head;
use super::signature::Signature;

/// A scalar function in a query.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Scalar(Head);

impl Scalar {
    /// Volatile, as in Arroyo: it is never computed while planning, and may be another one in the next epoch.
    pub fn udf(bound: Arc<Bound>, signature: Signature) -> ScalarUDF {
        let accepted = Accepted::user_defined(Volatility::Volatile);
        ScalarUDF::new_from_impl(Self(Head::new(bound, signature, accepted)))
    }
}

impl ScalarUDFImpl for Scalar {
    fn name(&self) -> &str {
        self.0.name()
    }
    fn signature(&self) -> &Accepted {
        &self.0.accepted
    }
    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(self.0.returns())
    }
    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        self.0.field(args.arg_fields)
    }
    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        Ok(Bound::coerced(&self.0.signature, types))
    }
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let Head { bound, signature, .. } = &self.0;
        let columns = Bound::columns(signature, &args.args, args.number_rows)?;
        let version = bound.version();
        let Some(run) = version.library.run else { return exec_err!("library \"{}\" has no __run", version.path.display()) };
        let calls = Calls { bound, version: &version, run };
        Ok(ColumnarValue::Array(calls.batch(&columns, args.number_rows)?))
    }
}

/// Calls of one version.
pub struct Calls<'a> {
    pub bound: &'a Bound,
    pub version: &'a Version,
    pub run: Run,
}

impl Calls<'_> {
    fn batch(&self, columns: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        if rows == 0 {
            return Ok(new_empty_array(&self.version.signature.returns));
        }
        let mut parts = Vec::new();
        self.part(columns, rows, &mut parts)?;
        match parts.as_slice() {
            [one] => Ok(Arc::clone(one)),
            several => {
                let several: Vec<&dyn Array> = several.iter().map(AsRef::as_ref).collect();
                concat(&several).map_err(|e| Error::internal(e.to_string()))
            }
        }
    }

    /// Computes `rows` rows, in halves if need be, and adds what they give to `parts`.
    fn part(&self, columns: &[ArrayRef], rows: usize, parts: &mut Vec<ArrayRef>) -> Result<()> {
        let Some(why) = self.once(columns, rows, rows, parts)? else { return Ok(()) };
        if rows == 1 {
            self.bound.function.counters.error();
            if self.bound.limits.on_error == OnError::Error {
                return Err(self.bound.failure(&self.version.signature, columns, &why));
            }
            parts.push(new_null_array(&self.version.signature.returns, 1));
            return Ok(());
        }
        let half = rows / 2;
        for (begin, length) in [(0, half), (half, rows - half)] {
            let columns: Vec<ArrayRef> = columns.iter().map(|column| column.slice(begin, length)).collect();
            self.part(&columns, length, parts)?;
        }
        Ok(())
    }

    /// One call, which gives `wanted` rows; what it panicked with, if it did.
    pub fn once(
        &self,
        columns: &[ArrayRef],
        rows: usize,
        wanted: usize,
        parts: &mut Vec<ArrayRef>,
    ) -> Result<Option<String>> {
        let started = Instant::now();
        let signature = &self.version.signature;
        let called = self.run.call(columns, &signature.returns);
        self.bound.function.counters.call(rows, started);
        let wrong = |got: String| {
            let wanted = format!("{wanted} of {}", (self.bound.limits.type_name)(&signature.returns));
            UdfError::Result { function: self.bound.function.name.clone(), got, wanted }
        };
        match called {
            Ok(array) if array.len() == wanted => {
                parts.push(array);
                Ok(None)
            }
            Ok(array) => Err(wrong(format!("{} rows", array.len())).into()),
            Err(CallError::Border(got)) => Err(wrong(got).into()),
            Err(CallError::Panic) => Ok(Some(panicked(self.version.library.shim.and_then(|shim| shim.here())))),
        }
    }
}

/// `panicked at src/lib.rs:3:5: words`
pub fn panicked(told: Option<(String, String)>) -> String {
    match told {
        Some((place, said)) if said.is_empty() => format!("panicked at {place}"),
        Some((place, said)) => format!("panicked at {place}: {said}"),
        // A library that was built elsewhere prints its panics itself.
        None => "panicked".to_owned(),
    }
}
