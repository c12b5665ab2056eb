//! Scalar functions.   arguments ─► one call for the whole batch; if it panics: halves ─► ... ─► the row at fault
//!
//! Nothing is done per row on this side. A function that panics says only that some row of the batch cannot be computed, so the batch
//! is tried in halves; rows may be computed several times then.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{Array, ArrayRef, new_empty_array, new_null_array};
use arrow::compute::{concat, interleave};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result as DfResult, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature as Accepted, Volatility,
};

use crate::error::{Error, Result};

use super::arguments::Arguments;
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
    /// As they are: [`Arguments`] casts them, and knows what to say of a value that does not fit.
    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        Ok(types.to_vec())
    }
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let Head { bound, signature, .. } = &self.0;
        let version = bound.version();
        let given = Arguments::of(bound, signature, &args.args, args.number_rows)?;
        let Some(run) = version.library.run else { return exec_err!("library \"{}\" has no __run", version.path.display()) };
        let calls = Calls { bound, version: &version, run };
        if given.unfit.is_empty() {
            return Ok(ColumnarValue::Array(calls.batch(&given.columns, args.number_rows)?));
        }
        // The function never sees the rows that do not fit.
        let rows = args.number_rows;
        let computed = calls.batch(&given.fitting(rows)?, rows - given.unfit.len())?;
        let null = new_null_array(&version.signature.returns, 1);
        let mut fitting = 0..;
        let places: Vec<(usize, usize)> = (0..rows)
            .map(|row| if given.unfit.contains_key(&row) { (1, 0) } else { (0, fitting.next().unwrap_or_default()) })
            .collect();
        Ok(ColumnarValue::Array(interleave(&[computed.as_ref(), null.as_ref()], &places)?))
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
        if self.bound.limits.on_error == OnError::Error
            && let Some((row, why)) = self.bound.failed_before(columns, rows)?
        {
            let row: Vec<ArrayRef> = columns.iter().map(|column| column.slice(row, 1)).collect();
            return Err(self.bound.failure(&self.version.signature, &row, &why));
        }
        let mut parts = Vec::new();
        self.part(columns, rows, rows, &mut parts)?;
        self.bound.function.counters.rows(rows);
        match parts.as_slice() {
            [one] => Ok(Arc::clone(one)),
            several => {
                let several: Vec<&dyn Array> = several.iter().map(AsRef::as_ref).collect();
                concat(&several).map_err(|e| Error::internal(e.to_string()))
            }
        }
    }

    /// Computes `rows` rows of a batch of `among`, in halves if need be, and adds what they give to `parts`.
    fn part(&self, columns: &[ArrayRef], rows: usize, among: usize, parts: &mut Vec<ArrayRef>) -> Result<()> {
        let Some(why) = self.once(columns, rows, parts)? else { return Ok(()) };
        if rows == 1 {
            if self.bound.limits.on_error == OnError::Error {
                let error = self.bound.failure(&self.version.signature, columns, &why);
                self.bound.note_failed(columns, &BTreeMap::from([(0, why)]), among)?;
                return Err(error);
            }
            self.bound.function.counters.error();
            parts.push(new_null_array(&self.version.signature.returns, 1));
            return Ok(());
        }
        let half = rows / 2;
        for (begin, length) in [(0, half), (half, rows - half)] {
            let columns: Vec<ArrayRef> = columns.iter().map(|column| column.slice(begin, length)).collect();
            self.part(&columns, length, among, parts)?;
        }
        Ok(())
    }

    /// One call, which gives `wanted` rows; what it panicked with, if it did.
    pub fn once(&self, columns: &[ArrayRef], wanted: usize, parts: &mut Vec<ArrayRef>) -> Result<Option<String>> {
        let started = Instant::now();
        let signature = &self.version.signature;
        let called = self.run.call(columns, &signature.returns);
        self.bound.function.counters.call(started);
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
