//! What comes in front of a model: scaling, filling gaps, normalising. By column or by row, in place.

/// `(x - offset) * scale`, by column, or the same for all.
#[derive(Debug, Clone, PartialEq)]
pub struct Scaler {
    /// One per column, or one.
    pub offset: Vec<f32>,
    /// As many.
    pub scale: Vec<f32>,
}

impl Scaler {
    /// Rows of `f32`.
    pub fn run(&self, x: &mut [f32], width: usize) {
        if let ([offset], [scale]) = (self.offset.as_slice(), self.scale.as_slice()) {
            return x.iter_mut().for_each(|x| *x = (*x - offset) * scale);
        }
        for row in x.chunks_exact_mut(width) {
            row.iter_mut().zip(&self.offset).zip(&self.scale).for_each(|((x, offset), scale)| *x = (*x - offset) * scale);
        }
    }

    /// Rows of `f64`, computed as such and rounded at the end.
    #[must_use]
    pub fn run_double(&self, x: &[f64]) -> Vec<f32> {
        let columns = self.offset.iter().zip(&self.scale).cycle();
        x.iter().zip(columns).map(|(x, (offset, scale))| ((x - f64::from(*offset)) * f64::from(*scale)) as f32).collect()
    }
}

/// Puts a value in the place of `missing`, by column, or the same everywhere.
#[derive(Debug, Clone, PartialEq)]
pub struct Imputer<T> {
    /// One per column, or one.
    pub values: Vec<T>,
    /// What is replaced; NaN for NaN.
    pub missing: T,
}

impl<T: Copy + PartialEq> Imputer<T> {
    /// Rows of `width` numbers. With as many values as columns each has its own; else the first is for all.
    pub fn run(&self, x: &mut [T], width: usize) {
        let values = if self.values.len() == width { &self.values } else { &self.values[..1] };
        #[allow(clippy::eq_op)] // of a type that need not have NaN: only NaN differs from itself
        let is_nan = |x: T| x != x;
        let replaces_nan = is_nan(self.missing);
        for (x, value) in x.iter_mut().zip(values.iter().cycle()) {
            if *x == self.missing || (replaces_nan && is_nan(*x)) {
                *x = *value;
            }
        }
    }
}

/// What a row is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Norm {
    /// Its largest value (not of the absolute ones).
    Max,
    /// The sum of absolute values.
    L1,
    /// The root of the sum of squares.
    L2,
}

/// A number that [`Norm`] takes.
pub trait Measured: Copy {
    /// As `f32`.
    fn single(self) -> f32;
    /// Its absolute value, rounded afterwards.
    fn size(self) -> f32;
    /// Its square, rounded afterwards.
    fn square(self) -> f32;
}

macro_rules! measured {
    ($($kind:ty: $square:expr;)*) => {$(
        impl Measured for $kind {
            fn single(self) -> f32 {
                self as f32
            }
            fn size(self) -> f32 {
                self.single().abs()
            }
            fn square(self) -> f32 {
                let square: fn($kind) -> $kind = $square;
                square(self) as f32
            }
        }
    )*};
}
measured! {
    f32: |x| x * x;
    f64: |x| x * x;
    i32: |x| x.wrapping_mul(x);
    i64: |x| x.wrapping_mul(x);
}

impl Norm {
    /// Appends the normalised rows of `x` to `out`. A row whose norm is 0 stays as it is.
    pub fn run<T: Measured>(self, x: &[T], width: usize, out: &mut Vec<f32>) {
        out.reserve(x.len());
        for row in x.chunks_exact(width) {
            let norm = match self {
                Self::Max => row.iter().fold(f32::MIN, |best, x| if best < x.single() { x.single() } else { best }),
                Self::L1 => row.iter().map(|x| x.size()).sum(),
                Self::L2 => row.iter().map(|x| x.square()).sum(),
            };
            if norm == 0.0 {
                out.extend(row.iter().map(|x| x.single()));
            } else if self == Self::L2 {
                out.extend(row.iter().map(|x| {
                    let part = (x.square() / norm).sqrt();
                    if x.single() < 0.0 { -part } else { part }
                }));
            } else {
                out.extend(row.iter().map(|x| x.single() / norm));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_filled_by_column() {
        let mut x = [f32::NAN, 1.0, 2.0, f32::NAN];
        Imputer { values: vec![8.0, 9.0], missing: f32::NAN }.run(&mut x, 2);
        assert_eq!(x, [8.0, 1.0, 2.0, 9.0]);
        let mut x = [0, 1, -1, 0];
        Imputer { values: vec![5], missing: 0 }.run(&mut x, 2);
        assert_eq!(x, [5, 1, -1, 5]);
    }

    #[test]
    fn norms_leave_zero_rows() {
        let mut out = vec![];
        Norm::L2.run(&[3.0f32, -4.0, 0.0, 0.0], 2, &mut out);
        assert_eq!(out, [0.6, -0.8, 0.0, 0.0]);
        out.clear();
        Norm::Max.run(&[-2i64, -4, 1, 4], 2, &mut out);
        assert_eq!(out, [1.0, 2.0, 0.25, 1.0]);
    }

    #[test]
    fn doubles_are_rounded_last() {
        let scaler = Scaler { offset: vec![1.0, 0.0], scale: vec![1e8, 1.0] };
        assert_eq!(scaler.run_double(&[1.000_000_01, 0.5]), [1.000_000_01f64.mul_add(1e8, -1e8) as f32, 0.5]);
    }
}
