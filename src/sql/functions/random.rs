//! `uniform(n, salt)` and `normal(n, salt)`: numbers that look random and are always the same for the same arguments.
//!
//! ```text
//! n, salt ─► splitmix64(n + mixed salt) ─► 53 bits ─► [0, 1)      two of those ─► Box-Muller ─► mean 0, deviation 1
//! ```
//!
//! The values are a promise: saved queries and their expected outputs rely on them. A NULL argument gives NULL.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Result, ScalarValue, exec_err, internal_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use crate::error::Error;

/// How the numbers are distributed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Distribution {
    /// Evenly over `[0, 1)`.
    Uniform,
    /// Normally, with mean 0 and standard deviation 1.
    Normal,
}

impl Distribution {
    fn value(self, n: i64, salt: u64) -> f64 {
        match self {
            Self::Uniform => uniform(n, salt),
            Self::Normal => normal(n, salt),
        }
    }
}

/// The function as DataFusion registers it.
#[must_use]
pub fn udf(distribution: Distribution) -> ScalarUDF {
    ScalarUDF::new_from_impl(Random { distribution, signature: Signature::user_defined(Volatility::Immutable) })
}

/// The 64 bits of splitmix64's step after `x`: a bijection that mixes every bit into every other.
fn splitmix64(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// A number in `[0, 1)` from the upper 53 bits.
#[allow(clippy::cast_precision_loss)] // 53 bits fit into a double exactly
fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

fn uniform(n: i64, salt: u64) -> f64 {
    unit(splitmix64(n.cast_unsigned() ^ salt))
}

fn normal(n: i64, salt: u64) -> f64 {
    let first = splitmix64(n.cast_unsigned() ^ salt);
    // 1 - [0, 1) is never 0, whose logarithm is infinite.
    let radius = (-2.0 * (1.0 - unit(first)).ln()).sqrt();
    radius * (std::f64::consts::TAU * unit(splitmix64(first))).cos()
}

/// A salt's bits. Mixed, for salts are small numbers and would only shift n.
fn salt_of_number(salt: i64) -> u64 {
    splitmix64(salt.cast_unsigned() ^ 0x5A17_5A17_5A17_5A17)
}

/// FNV-1a over the bytes, mixed.
fn salt_of_text(salt: &str) -> u64 {
    let hash = salt.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01B3));
    splitmix64(hash)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Random {
    distribution: Distribution,
    signature: Signature,
}

impl Random {
    fn rows(&self, n: &Int64Array, salt: impl Fn(usize) -> Option<u64>) -> ArrayRef {
        let rows = n.iter().enumerate().map(|(row, n)| Some(self.distribution.value(n?, salt(row)?)));
        Arc::new(rows.collect::<Float64Array>())
    }
}

impl ScalarUDFImpl for Random {
    fn name(&self) -> &str {
        match self.distribution {
            Distribution::Uniform => "uniform",
            Distribution::Normal => "normal",
        }
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let name = self.name();
        let wrong = |what: &str| {
            let error = Error::user(format!("{name}(n, salt) {what}"));
            Err(error.hint(format!("Write {name}(n, 1), with another salt for each column.")).into())
        };
        match types {
            [n, _] if !(n.is_integer() || n.is_null()) => wrong(&format!("makes numbers from an integer, not from {n}")),
            [_, salt] if !(salt.is_integer() || salt.is_null() || salt.is_string()) => {
                wrong(&format!("takes a salt that is an integer or text, not {salt}"))
            }
            [_, _] => Ok(DataType::Float64),
            _ => wrong(&format!("takes two arguments, {} were given", types.len())),
        }
    }
    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let coerced = |t: &DataType| match t {
            t if t.is_integer() || t.is_null() => DataType::Int64,
            t if t.is_string() => DataType::Utf8,
            t => t.clone(), // refused by `return_type`, with words
        };
        Ok(types.iter().map(coerced).collect())
    }
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [n, salt] = args.args.as_slice() else { return exec_err!("{}() takes two arguments", self.name()) };
        let n = n.to_array(args.number_rows)?;
        let Some(n) = n.as_primitive_opt::<Int64Type>() else { return internal_err!("n was not coerced to BIGINT") };
        let values = match salt {
            ColumnarValue::Scalar(ScalarValue::Int64(salt)) => {
                let salt = salt.map(salt_of_number);
                self.rows(n, |_| salt)
            }
            ColumnarValue::Scalar(ScalarValue::Utf8(salt)) => {
                let salt = salt.as_deref().map(salt_of_text);
                self.rows(n, |_| salt)
            }
            ColumnarValue::Array(salts) => match (salts.as_primitive_opt::<Int64Type>(), salts.as_string_opt::<i32>()) {
                (Some(salts), _) => self.rows(n, |row| salts.is_valid(row).then(|| salt_of_number(salts.value(row)))),
                (_, Some(salts)) => self.rows(n, |row| salts.is_valid(row).then(|| salt_of_text(salts.value(row)))),
                _ => return internal_err!("the salt was not coerced"),
            },
            ColumnarValue::Scalar(other) => return internal_err!("the salt was not coerced but is {}", other.data_type()),
        };
        Ok(ColumnarValue::Array(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_are_a_promise() {
        let uniform: Vec<f64> = (0..3).map(|n| Distribution::Uniform.value(n, salt_of_number(1))).collect();
        assert_eq!(uniform, UNIFORM_0_1_2_SALT_1);
        assert_ne!(Distribution::Uniform.value(0, salt_of_number(2)), uniform[0]);
        assert_ne!(Distribution::Uniform.value(0, salt_of_text("1")), uniform[0]);
    }
    const UNIFORM_0_1_2_SALT_1: [f64; 3] = [0.307_897_186_166_015_7, 0.926_497_688_317_652_6, 0.170_268_671_676_392_6];

    #[test]
    fn they_are_distributed_as_they_say() {
        for salt in [salt_of_number(0), salt_of_number(7), salt_of_text("amount")] {
            let n = 100_000_i64;
            let uniform: Vec<f64> = (0..n).map(|n| Distribution::Uniform.value(n, salt)).collect();
            assert!(uniform.iter().all(|u| (0.0..1.0).contains(u)));
            let mean = uniform.iter().sum::<f64>() / n as f64;
            assert!((mean - 0.5).abs() < 0.005, "{mean}");
            let normal: Vec<f64> = (0..n).map(|n| Distribution::Normal.value(n, salt)).collect();
            let mean = normal.iter().sum::<f64>() / n as f64;
            let variance = normal.iter().map(|v| v * v).sum::<f64>() / n as f64;
            assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03, "{mean} {variance}");
            let within = normal.iter().filter(|v| v.abs() < 1.0).count() as f64 / n as f64;
            assert!((within - 0.6827).abs() < 0.01, "{within}");
        }
    }
}
