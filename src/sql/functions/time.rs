//! `now()`, `current_timestamp`, `current_date` and `current_time` of queries that go on: the epoch's time.
//!
//! DataFusion's own are replaced by a literal while planning, which in a running query would stand still for ever. These
//! have the same names, aliases and types, are registered over them, and are Volatile so that nothing folds them; all calls
//! in an epoch still return one instant, that of its [`EpochCell`]. All are in UTC.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use crate::stream::EpochCell;
use crate::time::Millis;

const MILLIS_PER_DAY: i64 = 86_400_000;
const NANOS_PER_MILLI: i64 = 1_000_000;

/// What part of the epoch's time a function returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// `now()`, `current_timestamp`: TIMESTAMP in nanoseconds, without a zone.
    Timestamp,
    /// `current_date`, `today()`: DATE.
    Date,
    /// `current_time`: TIME in nanoseconds.
    Time,
}

/// The function as DataFusion registers it, reading `cell` at each call.
#[must_use]
pub fn udf(part: Part, cell: &Arc<EpochCell>) -> ScalarUDF {
    let aliases = match part {
        Part::Timestamp => vec!["current_timestamp".to_owned()],
        Part::Date => vec!["today".to_owned()],
        Part::Time => vec![],
    };
    let signature = Signature::nullary(Volatility::Volatile);
    ScalarUDF::new_from_impl(EpochTime { part, cell: Arc::clone(cell), signature, aliases })
}

#[derive(Debug)]
struct EpochTime {
    part: Part,
    cell: Arc<EpochCell>,
    signature: Signature,
    aliases: Vec<String>,
}

/// Two are the same function if they return the same part of the same query's epoch.
impl PartialEq for EpochTime {
    fn eq(&self, other: &Self) -> bool {
        self.part == other.part && Arc::ptr_eq(&self.cell, &other.cell)
    }
}
impl Eq for EpochTime {}
impl Hash for EpochTime {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.part.hash(state);
        Arc::as_ptr(&self.cell).hash(state);
    }
}

impl ScalarUDFImpl for EpochTime {
    fn name(&self) -> &str {
        match self.part {
            Part::Timestamp => "now",
            Part::Date => "current_date",
            Part::Time => "current_time",
        }
    }
    fn aliases(&self) -> &[String] {
        &self.aliases
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.part {
            Part::Timestamp => DataType::Timestamp(TimeUnit::Nanosecond, None),
            Part::Date => DataType::Date32,
            Part::Time => DataType::Time64(TimeUnit::Nanosecond),
        })
    }
    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(value(self.part, self.cell.get().time)))
    }
}

fn value(part: Part, time: Millis) -> ScalarValue {
    match part {
        Part::Timestamp => ScalarValue::TimestampNanosecond(time.checked_mul(NANOS_PER_MILLI), None),
        Part::Date => ScalarValue::Date32(i32::try_from(time.div_euclid(MILLIS_PER_DAY)).ok()),
        Part::Time => ScalarValue::Time64Nanosecond(Some(time.rem_euclid(MILLIS_PER_DAY) * NANOS_PER_MILLI)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_time_are_in_utc_also_before_1970() {
        let time = 2 * MILLIS_PER_DAY + 1;
        assert_eq!(value(Part::Date, time), ScalarValue::Date32(Some(2)));
        assert_eq!(value(Part::Time, time), ScalarValue::Time64Nanosecond(Some(1_000_000)));
        assert_eq!(value(Part::Timestamp, time), ScalarValue::TimestampNanosecond(Some(time * 1_000_000), None));
        assert_eq!(value(Part::Date, -1), ScalarValue::Date32(Some(-1)));
        assert_eq!(value(Part::Time, -1), ScalarValue::Time64Nanosecond(Some((MILLIS_PER_DAY - 1) * 1_000_000)));
    }
}
