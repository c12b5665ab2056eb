//! The steps of a fused chain, each over a block of columns of `R` rows.

use super::dense::Dense;
use super::math::{exp, exp_minus_one, mul_add, sigmoid, tanh};

/// A function of one number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    /// x
    None,
    /// x above 0, else 0.
    Relu,
    /// x above 0, else x times this.
    LeakyRelu(f32),
    /// x above 0, else (e^x - 1) times this.
    Elu(f32),
    /// 1 / (1 + e^-x)
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// At least and at most this.
    Clip(f32, f32),
}

impl Activation {
    #[inline(always)]
    pub(super) fn apply<const FMA: bool>(self, values: &mut [f32]) {
        match self {
            Self::None => {}
            // NaN is not below 0, so it stays.
            Self::Relu => values.iter_mut().for_each(|x| *x = if *x < 0.0 { 0.0 } else { *x }),
            Self::LeakyRelu(slope) => values.iter_mut().for_each(|x| *x = if *x < 0.0 { *x * slope } else { *x }),
            Self::Elu(alpha) => values.iter_mut().for_each(|x| {
                let below = alpha * exp_minus_one::<FMA>(*x);
                *x = if *x < 0.0 { below } else { *x };
            }),
            Self::Sigmoid => values.iter_mut().for_each(|x| *x = sigmoid::<FMA>(*x)),
            Self::Tanh => values.iter_mut().for_each(|x| *x = tanh::<FMA>(*x)),
            Self::Clip(low, high) => values.iter_mut().for_each(|x| {
                let above = if *x < low { low } else { *x };
                *x = if above > high { high } else { above };
            }),
        }
    }

    fn name(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Relu => Some("relu"),
            Self::LeakyRelu(_) => Some("leaky relu"),
            Self::Elu(_) => Some("elu"),
            Self::Sigmoid => Some("sigmoid"),
            Self::Tanh => Some("tanh"),
            Self::Clip(..) => Some("clip"),
        }
    }
}

/// What every row of a column does with the column's constant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    /// x + c
    Add,
    /// x - c
    Subtract,
    /// c - x
    SubtractFrom,
    /// x * c
    Multiply,
    /// x / c
    Divide,
    /// c / x
    DivideInto,
}

/// By what a row is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Norm {
    /// The largest value.
    Max,
    /// The sum of the absolute values.
    L1,
    /// The root of the sum of squares.
    L2,
}

/// A step. Columns have one constant each, or all of them the only one.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Makes new columns.
    Dense(Dense),
    /// Picks columns, any of them any number of times.
    Pick(Vec<usize>),
    /// `(x - offset) * scale`
    Scale {
        /// Subtracted first.
        offset: Vec<f32>,
        /// Multiplied then.
        scale: Vec<f32>,
    },
    /// With a constant.
    Arithmetic(Arithmetic, Vec<f32>),
    /// `missing` (perhaps NaN) becomes the column's value.
    Impute {
        /// What stands for it.
        values: Vec<f32>,
        /// What is missing.
        missing: f32,
    },
    /// Each row by its norm.
    Normalize(Norm),
    /// One function for all.
    Activate(Activation),
    /// Each row becomes probabilities.
    Softmax,
}

impl Step {
    /// How many columns it makes of `width`.
    #[must_use]
    pub fn width(&self, width: usize) -> usize {
        match self {
            Self::Dense(dense) => dense.outputs(),
            Self::Pick(columns) => columns.len(),
            _ => width,
        }
    }

    /// Whether it may overwrite its input.
    #[must_use]
    pub fn in_place(&self) -> bool {
        !matches!(self, Self::Dense(_) | Self::Pick(_))
    }

    /// For people: `dense 11 x 32, relu`.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Dense(dense) => {
                let activation = dense.activation().name().map(|a| format!(", {a}")).unwrap_or_default();
                format!("dense {} x {}{activation}", dense.inputs(), dense.outputs())
            }
            Self::Pick(columns) => format!("pick {} columns", columns.len()),
            Self::Scale { .. } | Self::Arithmetic(..) => "scale".to_owned(),
            Self::Impute { .. } => "impute".to_owned(),
            Self::Normalize(_) => "normalize".to_owned(),
            Self::Activate(activation) => activation.name().unwrap_or("nothing").to_owned(),
            Self::Softmax => "softmax".to_owned(),
        }
    }

    /// From `x` to `y`, columns of `R` rows.
    #[inline(always)]
    pub(super) fn run<const R: usize, const FMA: bool>(&self, x: &[f32], y: &mut [f32]) {
        match self {
            Self::Dense(dense) => dense.run::<R, FMA>(x, y),
            Self::Pick(columns) => {
                for (y, column) in y.chunks_exact_mut(R).zip(columns) {
                    if let Some(x) = x.get(column * R..(column + 1) * R) {
                        y.copy_from_slice(x);
                    }
                }
            }
            _ => {
                y.copy_from_slice(&x[..y.len()]);
                self.run_in_place::<R, FMA>(y);
            }
        }
    }

    /// Over `x`, columns of `R` rows.
    #[inline(always)]
    pub(super) fn run_in_place<const R: usize, const FMA: bool>(&self, x: &mut [f32]) {
        match self {
            Self::Dense(_) | Self::Pick(_) => {}
            Self::Scale { offset, scale } => {
                for ((x, offset), scale) in columns::<R>(x).zip(offset.iter().cycle()).zip(scale.iter().cycle()) {
                    x.iter_mut().for_each(|x| *x = (*x - offset) * scale);
                }
            }
            Self::Arithmetic(operation, constants) => {
                for (x, c) in columns::<R>(x).zip(constants.iter().cycle()) {
                    match operation {
                        Arithmetic::Add => x.iter_mut().for_each(|x| *x += c),
                        Arithmetic::Subtract => x.iter_mut().for_each(|x| *x -= c),
                        Arithmetic::SubtractFrom => x.iter_mut().for_each(|x| *x = c - *x),
                        Arithmetic::Multiply => x.iter_mut().for_each(|x| *x *= c),
                        Arithmetic::Divide => x.iter_mut().for_each(|x| *x /= c),
                        Arithmetic::DivideInto => x.iter_mut().for_each(|x| *x = c / *x),
                    }
                }
            }
            Self::Impute { values, missing } => {
                for (x, value) in columns::<R>(x).zip(values.iter().cycle()) {
                    if missing.is_nan() {
                        x.iter_mut().for_each(|x| *x = if x.is_nan() { *value } else { *x });
                    } else {
                        x.iter_mut().for_each(|x| *x = if *x == *missing { *value } else { *x });
                    }
                }
            }
            Self::Normalize(norm) => normalize::<R, FMA>(*norm, x),
            Self::Activate(activation) => columns::<R>(x).for_each(|x| activation.apply::<FMA>(x)),
            Self::Softmax => softmax::<R, FMA>(x),
        }
    }
}

/// The columns of a block, with their length known to the compiler.
#[inline(always)]
fn columns<const R: usize>(x: &mut [f32]) -> impl Iterator<Item = &mut [f32; R]> {
    x.as_chunks_mut::<R>().0.iter_mut()
}

#[inline(always)]
fn softmax<const R: usize, const FMA: bool>(x: &mut [f32]) {
    let mut largest = [f32::NEG_INFINITY; R];
    for x in columns::<R>(x) {
        largest.iter_mut().zip(x).for_each(|(largest, x)| *largest = if *x > *largest { *x } else { *largest });
    }
    let mut sum = [0f32; R];
    for x in columns::<R>(x) {
        for ((x, largest), sum) in x.iter_mut().zip(&largest).zip(&mut sum) {
            *x = exp::<FMA>(*x - largest);
            *sum += *x;
        }
    }
    sum.iter_mut().for_each(|sum| *sum = 1.0 / *sum);
    for x in columns::<R>(x) {
        x.iter_mut().zip(&sum).for_each(|(x, sum)| *x *= sum);
    }
}

/// As ONNX Runtime: the largest value (not of the absolute ones); a row whose norm is 0 stays as it is.
#[inline(always)]
fn normalize<const R: usize, const FMA: bool>(norm: Norm, x: &mut [f32]) {
    let mut by = [if norm == Norm::Max { f32::MIN } else { 0.0 }; R];
    for x in columns::<R>(x) {
        for (by, x) in by.iter_mut().zip(x) {
            *by = match norm {
                Norm::Max => by.max(*x),
                Norm::L1 => *by + x.abs(),
                Norm::L2 => mul_add::<FMA>(*x, *x, *by),
            };
        }
    }
    for by in &mut by {
        *by = if *by == 0.0 { 1.0 } else { *by };
        *by = if norm == Norm::L2 { by.sqrt() } else { *by };
    }
    for x in columns::<R>(x) {
        x.iter_mut().zip(&by).for_each(|(x, by)| *x /= by);
    }
}
