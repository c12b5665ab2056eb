//! The types of numbers that rows, sums and scores have.

/// A number of a row.
pub trait Value: Copy + Send + Sync {
    /// As `f32`, rounded.
    fn single(self) -> f32;
    /// As `f64`, rounded.
    fn double(self) -> f64;
}

macro_rules! value {
    ($($kind:ty)*) => {$(
        impl Value for $kind {
            fn single(self) -> f32 {
                self as f32
            }
            fn double(self) -> f64 {
                self as f64
            }
        }
    )*};
}
value!(f32 f64 i32 i64);

/// `f32` or `f64`.
pub trait Number: Value + Default + PartialOrd + std::fmt::Debug + 'static {
    /// The nearest of this type.
    fn from_f64(value: f64) -> Self;
    /// The nearest of this type.
    fn from_f32(value: f32) -> Self;
    /// The sum, rounded to this type.
    #[must_use]
    fn plus(self, other: Self) -> Self;
    /// The quotient, rounded to this type.
    #[must_use]
    fn over(self, other: Self) -> Self;
    /// With the other sign.
    #[must_use]
    fn negative(self) -> Self;
}

macro_rules! number {
    ($($kind:ty)*) => {$(
        impl Number for $kind {
            fn from_f64(value: f64) -> Self {
                value as $kind
            }
            fn from_f32(value: f32) -> Self {
                value as $kind
            }
            fn plus(self, other: Self) -> Self {
                self + other
            }
            fn over(self, other: Self) -> Self {
                self / other
            }
            fn negative(self) -> Self {
                -self
            }
        }
    )*};
}
number!(f32 f64);
