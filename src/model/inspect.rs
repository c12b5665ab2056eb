//! What can be told of a model file: what it says of itself, and how fast it scores here.
//!
//! [`rows_per_second`] runs the scorer as queries do, Arrow arrays in and out, on made-up rows: the same in every process, so
//! that two measurements differ by the machine alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{
    ArrayRef, BooleanArray, FixedSizeListArray, Float32Array, Float64Array, Int32Array, Int64Array, StringArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use arrow::error::ArrowError;

use super::{Input, Loaded, ModelError, trial};

/// The most values of made-up rows that are measured with: larger batches say nothing new, and fill the memory.
const MOST_VALUES: usize = 1 << 25;

/// Values that differ from row to row, the same in every process; numbers between -2 and 2, integers and BOOLEANs 0 and 1.
///
/// # Errors
/// If the type is none that a signature has.
pub fn made_up(input: &Input, rows: usize) -> Result<ArrayRef, ArrowError> {
    let many = rows * input.width;
    // Multiplied by an odd number and shifted: not random, only uneven.
    let uneven = (0..many as u64).map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as i32 % 2000);
    let values: ArrayRef = match &input.data_type {
        DataType::Float64 => Arc::new(uneven.map(|n| f64::from(n) / 500.0 - 2.0).collect::<Float64Array>()),
        DataType::Int64 => Arc::new(uneven.map(|n| i64::from(n % 2)).collect::<Int64Array>()),
        DataType::Int32 => Arc::new(uneven.map(|n| n % 2).collect::<Int32Array>()),
        DataType::Boolean => Arc::new(uneven.map(|n| Some(n % 2 == 1)).collect::<BooleanArray>()),
        DataType::Utf8 => Arc::new(uneven.map(|_| Some("")).collect::<StringArray>()),
        DataType::Float32 => Arc::new(uneven.map(|n| n as f32 / 500.0 - 2.0).collect::<Float32Array>()),
        other => cast(&(uneven.map(|n| n % 2).collect::<Int32Array>()), other)?,
    };
    if input.width == 1 {
        return Ok(values);
    }
    let width = i32::try_from(input.width).map_err(|e| ArrowError::InvalidArgumentError(e.to_string()))?;
    let field = Arc::new(Field::new_list_field(input.data_type.clone(), true));
    Ok(Arc::new(FixedSizeListArray::try_new(field, width, values, None)?))
}

/// Rows per second of one thread that scores batches of `batch` rows: of the fastest of several turns, since whatever else
/// the machine does can only make it slower. Takes about `time`.
///
/// # Errors
/// `Run` if the model fails on made-up rows, or these would have more than 32 million values.
pub fn rows_per_second(loaded: &Loaded, batch: usize, time: Duration) -> Result<f64, ModelError> {
    trial::within(|| measured(loaded, batch, time))
}

fn measured(loaded: &Loaded, batch: usize, time: Duration) -> Result<f64, ModelError> {
    let failed = |e: ArrowError| ModelError::Run { model: String::new(), reason: e.to_string() };
    let width: usize = loaded.signature.inputs.iter().map(|i| i.width).sum();
    if width.saturating_mul(batch) > MOST_VALUES {
        return Err(failed(ArrowError::ComputeError(format!("{batch} rows have more than {MOST_VALUES} values"))));
    }
    let features: Vec<ArrayRef> =
        loaded.signature.inputs.iter().map(|i| made_up(i, batch).map_err(failed)).collect::<Result<_, _>>()?;
    // The first call warms up, and says how many make a turn.
    let began = Instant::now();
    loaded.scorer.score(&features, batch)?;
    let once = began.elapsed().max(Duration::from_nanos(100));
    let turns = 16;
    let calls = (time.as_secs_f64() / f64::from(turns) / once.as_secs_f64()).clamp(1.0, 1e6) as u32;
    let (mut best, end) = (Duration::MAX, Instant::now() + time);
    for turn in 0..2 * turns {
        let began = Instant::now();
        for _ in 0..calls {
            std::hint::black_box(loaded.scorer.score(std::hint::black_box(&features), batch)?);
        }
        best = best.min(began.elapsed() / calls);
        if turn > 0 && Instant::now() >= end {
            break;
        }
    }
    Ok(batch as f64 / best.as_secs_f64().max(1e-9))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_rows_have_the_inputs_types() {
        for data_type in [DataType::Float32, DataType::Float64, DataType::Int64, DataType::Boolean, DataType::Utf8] {
            for width in [1, 3] {
                let input =
                    Input { name: "x".to_owned(), data_type: data_type.clone(), width, shape: vec![], takes_null: false };
                let array = made_up(&input, 5).unwrap();
                assert_eq!(array.len(), 5);
                let element = match array.data_type() {
                    DataType::FixedSizeList(field, 3) => field.data_type().clone(),
                    scalar => scalar.clone(),
                };
                assert_eq!(element, data_type);
            }
        }
    }
}
