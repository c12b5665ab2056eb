//! The two types of numbers that rows, sums and scores have.

/// `f32` or `f64`.
pub trait Number: Copy + Default + PartialOrd + Send + Sync + std::fmt::Debug + 'static {
    /// The nearest of this type.
    fn from_f64(value: f64) -> Self;
    /// The nearest of this type.
    fn from_f32(value: f32) -> Self;
    /// As `f32`, rounded.
    fn single(self) -> f32;
    /// As `f64`.
    fn double(self) -> f64;
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

impl Number for f32 {
    fn from_f64(value: f64) -> Self {
        value as f32
    }
    fn from_f32(value: f32) -> Self {
        value
    }
    fn single(self) -> f32 {
        self
    }
    fn double(self) -> f64 {
        f64::from(self)
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

impl Number for f64 {
    fn from_f64(value: f64) -> Self {
        value
    }
    fn from_f32(value: f32) -> Self {
        f64::from(value)
    }
    fn single(self) -> f32 {
        self as f32
    }
    fn double(self) -> f64 {
        self
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
