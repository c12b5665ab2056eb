//! What a call is given, in exactly the declared types: anything else would abort the process in the library.
//!
//! ```text
//! values as the query has them ─► cast ─► columns, NULL where a value does not fit ─► the rows that fit are called
//!                                                                                ╰─► the others have failed, as if the call had
//! ```
//!
//! The casts are made here and not by the plan, whose errors know neither the function nor the argument, and not `udf.on_error`.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::compute::{CastOptions, cast_with_options, filter};
use arrow::datatypes::DataType;
use arrow::util::display::array_value_to_string;
use datafusion::common::Result as DfResult;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::ColumnarValue;

use crate::error::{Error, Result};

use super::function::{Bound, OnError};
use super::signature::{Argument, Signature};

/// The arguments of one batch.
pub struct Arguments {
    /// A column of exactly the declared type for each argument.
    pub columns: Vec<ArrayRef>,
    /// Rows with a value that does not fit, and why.
    pub unfit: BTreeMap<usize, String>,
}

impl Arguments {
    /// `args` as `signature` wants them.
    ///
    /// # Errors
    /// Where a value does not fit and that is not to be NULL: the error of the first such row.
    pub fn of(bound: &Bound, signature: &Signature, args: &[ColumnarValue], rows: usize) -> DfResult<Self> {
        let (mut columns, mut unfit) = (Vec::with_capacity(args.len()), BTreeMap::new());
        for (arg, argument) in args.iter().zip(&signature.arguments) {
            let wrong = match arg {
                ColumnarValue::Array(array) => {
                    let (column, wrong) = fit(array, &argument.data_type)?;
                    columns.push(column);
                    wrong.into_iter().map(|row| (row, does_not_fit(bound, argument, array, row))).collect()
                }
                // Cast once, for however many rows.
                ColumnarValue::Scalar(value) => {
                    let one = value.to_array()?;
                    let (column, wrong) = fit(&one, &argument.data_type)?;
                    columns.push(ScalarValue::try_from_array(&column, 0)?.to_array_of_size(rows)?);
                    let why = |_: &usize| does_not_fit(bound, argument, &one, 0);
                    wrong.first().map(why).map_or_else(Vec::new, |why| (0..rows).map(|row| (row, why.clone())).collect())
                }
            };
            for (row, why) in wrong {
                unfit.entry(row).or_insert(why);
            }
        }
        let given = Self { columns, unfit };
        if let (OnError::Error, Some((row, why))) = (bound.limits.on_error, given.unfit.first_key_value()) {
            let shown = args.iter().map(|arg| Ok(arg.to_array(rows)?.slice(*row, 1))).collect::<DfResult<Vec<_>>>()?;
            return Err(refused(bound, signature, &shown, why, rows).into());
        }
        (0..given.unfit.len()).for_each(|_| bound.function.counters.failed_row());
        Ok(given)
    }

    /// The columns without the rows that do not fit.
    pub fn fitting(&self, rows: usize) -> Result<Vec<ArrayRef>> {
        let mask: BooleanArray = (0..rows).map(|row| Some(!self.unfit.contains_key(&row))).collect();
        let fitting = self.columns.iter().map(|column| filter(column, &mask)).collect::<std::result::Result<Vec<_>, _>>();
        fitting.map_err(|e| Error::internal(e.to_string()))
    }
}

/// The error of a row with a value that does not fit, of a batch of `among`.
pub fn refused(bound: &Bound, signature: &Signature, row: &[ArrayRef], why: &str, among: usize) -> Error {
    let error = bound.failure(signature, row, why);
    bound.note(error.message().as_bytes(), why, among);
    error
}

/// `takes BIGINT for "n", and 18446744073709551615 does not fit`
pub fn does_not_fit(bound: &Bound, argument: &Argument, array: &ArrayRef, row: usize) -> String {
    let value = array_value_to_string(array, row).unwrap_or_default();
    format!("takes {} for \"{}\", and {value} does not fit", (bound.limits.type_name)(&argument.data_type), argument.name)
}

/// `array` as `data_type`, with NULL for values that do not fit, and the rows of these.
pub fn fit(array: &ArrayRef, data_type: &DataType) -> DfResult<(ArrayRef, Vec<usize>)> {
    if array.data_type() == data_type {
        return Ok((ArrayRef::clone(array), Vec::new()));
    }
    let cast = |safe| cast_with_options(array, data_type, &CastOptions { safe, ..CastOptions::default() });
    let error = match cast(false) {
        Ok(column) => return Ok((column, Vec::new())),
        Err(error) => error,
    };
    let column = cast(true)?;
    let wrong: Vec<usize> = (0..array.len()).filter(|row| array.is_valid(*row) && column.is_null(*row)).collect();
    if wrong.is_empty() { Err(error.into()) } else { Ok((column, wrong)) }
}
