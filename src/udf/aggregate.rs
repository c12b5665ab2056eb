//! Aggregates.   rows of a group ─► lists, one per argument ─► one call at the end ─► one value
//!
//! Arroyo's aggregates see a whole group at once, so its rows are kept: at most `udf.group_rows` of them. The state between partial and
//! final aggregation is those lists, one column of lists per argument.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::common::{Result as DfResult, ScalarValue, exec_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature as Accepted, Volatility};

use crate::error::{Error, Result};

use super::arguments::{does_not_fit, fit, refused};
use super::error::UdfError;
use super::function::{Bound, OnError};
use super::head::Head;
use super::scalar::Calls;
use super::signature::Signature;

/// An aggregate in a query.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Aggregate(Head);

impl Aggregate {
    pub fn udf(bound: Arc<Bound>, signature: Signature) -> AggregateUDF {
        let accepted = Accepted::user_defined(Volatility::Volatile);
        AggregateUDF::new_from_impl(Self(Head::new(bound, signature, accepted)))
    }
}

impl AggregateUDFImpl for Aggregate {
    fn name(&self) -> &str {
        self.0.name()
    }
    fn signature(&self) -> &Accepted {
        &self.0.accepted
    }
    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(self.0.returns())
    }
    fn return_field(&self, fields: &[FieldRef]) -> DfResult<FieldRef> {
        self.0.field(fields)
    }
    /// As they are: the accumulator casts them, and knows what to say of a value that does not fit.
    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        Ok(types.to_vec())
    }
    fn state_fields(&self, args: StateFieldsArgs) -> DfResult<Vec<FieldRef>> {
        let signature = &self.0.signature;
        let fields = signature.arguments.iter().enumerate().map(|(index, argument)| {
            let list = DataType::List(signature.list_item(index));
            Arc::new(Field::new(format_state_name(args.name, &argument.name), list, true))
        });
        Ok(fields.collect())
    }
    fn accumulator(&self, args: AccumulatorArgs) -> DfResult<Box<dyn Accumulator>> {
        if args.is_distinct {
            let error = Error::user(format!("{}() does not take DISTINCT", self.name()));
            return Err(error
                .hint("Take the distinct rows in a subquery: SELECT f(a) FROM (SELECT DISTINCT a FROM t).")
                .into());
        }
        if !args.order_bys.is_empty() {
            let error =
                Error::user(format!("{}() does not take ORDER BY: it gets the rows of a group in any order", self.name()));
            return Err(error
                .hint("Hand over what to sort by as an argument of its own, and let the function sort.")
                .into());
        }
        let Head { bound, signature, .. } = &self.0;
        Ok(Box::new(Group {
            bound: Arc::clone(bound),
            signature: Arc::clone(signature),
            pieces: vec![Vec::new(); signature.arguments.len()],
            rows: 0,
            bytes: 0,
        }))
    }
    fn create_sliding_accumulator(&self, _: AccumulatorArgs) -> DfResult<Box<dyn Accumulator>> {
        let error = Error::user(format!(
            "{}() does not take OVER with a frame whose begin moves: no row can leave it again",
            self.name()
        ));
        Err(error.hint("Let the frame begin at UNBOUNDED PRECEDING, or group by a column.").into())
    }
}

/// The rows of one group so far.
#[derive(Debug)]
struct Group {
    bound: Arc<Bound>,
    signature: Arc<Signature>,
    /// For each argument its values, in pieces that shrink from first to last.
    pieces: Vec<Vec<ArrayRef>>,
    rows: usize,
    bytes: usize,
}

impl Group {
    fn add(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let rows = columns.first().map_or(0, |column| column.len());
        if rows == 0 {
            return Ok(());
        }
        self.rows += rows;
        let limit = self.bound.limits.group_rows;
        if self.rows > limit {
            return Err(UdfError::TooManyRows { function: self.bound.function.name.clone(), limit }.into());
        }
        for (pieces, column) in self.pieces.iter_mut().zip(columns) {
            self.bytes += column.to_data().get_slice_memory_size().unwrap_or(0);
            pieces.push(Arc::clone(column));
            // A value is copied as often as its piece doubles; and what stays a slice of a large batch is few.
            while let [.., before, last] = pieces.as_slice()
                && last.len() >= before.len()
            {
                let merged = join(&[Arc::clone(before), Arc::clone(last)])?;
                pieces.truncate(pieces.len() - 2);
                pieces.push(merged);
            }
        }
        Ok(())
    }

    fn columns(&self) -> Result<Vec<ArrayRef>> {
        self.pieces.iter().map(|pieces| join(pieces)).collect()
    }
}

fn join(pieces: &[ArrayRef]) -> Result<ArrayRef> {
    let pieces: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
    concat(&pieces).map_err(|e| Error::internal(e.to_string()))
}

impl Accumulator for Group {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        let columns = values.iter().zip(&self.signature.arguments).map(|(value, argument)| {
            let (column, unfit) = fit(value, &argument.data_type)?;
            match unfit.first() {
                Some(row) if self.bound.limits.on_error == OnError::Error => {
                    let why = does_not_fit(&self.bound, argument, value, *row);
                    let shown: Vec<ArrayRef> = values.iter().map(|value| value.slice(*row, 1)).collect();
                    Err(refused(&self.bound, &self.signature, &shown, &why, value.len()).into())
                }
                // NULL in its row.
                _ => Ok(column),
            }
        });
        Ok(self.add(&columns.collect::<DfResult<Vec<_>>>()?)?)
    }
    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        let columns = states.iter().map(|state| {
            let Some(lists) = state.as_list_opt::<i32>() else {
                return exec_err!("the state of {}() is no list", self.bound.function.name);
            };
            let (first, last) = (lists.value_offsets().first(), lists.value_offsets().last());
            let place = |offset: Option<&i32>| usize::try_from(offset.copied().unwrap_or(0)).unwrap_or(0);
            Ok(lists.values().slice(place(first), place(last) - place(first)))
        });
        Ok(self.add(&columns.collect::<DfResult<Vec<_>>>()?)?)
    }
    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        let lists = (0..self.pieces.len()).map(|index| {
            let item = self.signature.list_item(index);
            let values = match self.pieces.get(index) {
                Some(pieces) if !pieces.is_empty() => join(pieces)?,
                _ => arrow::array::new_empty_array(item.data_type()),
            };
            Ok(SingleRowListArrayBuilder::new(values).with_field(&item).build_list_scalar())
        });
        lists.collect()
    }
    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        let null = ScalarValue::try_from(&self.signature.returns)?;
        if self.rows == 0 {
            return Ok(null); // as SQL's own aggregates over no rows
        }
        let version = self.bound.version();
        let Some(run) = version.library.run else { return exec_err!("library \"{}\" has no __run", version.path.display()) };
        let (columns, mut results) = (self.columns()?, Vec::new());
        let calls = Calls { bound: &self.bound, version: &version, run };
        let counters = &self.bound.function.counters;
        counters.rows(1);
        match calls.once(&columns, 1, &mut results)? {
            None => results.first().map_or(Ok(null), |result| ScalarValue::try_from_array(result, 0)),
            Some(why) => {
                counters.error();
                if self.bound.limits.on_error == OnError::Null {
                    return Ok(null);
                }
                let why =
                    format!("{why} (over {} row{}; the first is shown)", self.rows, if self.rows == 1 { "" } else { "s" });
                let first: Vec<ArrayRef> = columns.iter().map(|column| column.slice(0, 1)).collect();
                Err(self.bound.failure(&self.signature, &first, &why).into())
            }
        }
    }
    fn size(&self) -> usize {
        size_of::<Self>() + self.bytes
    }
}
