//! Functions of one number that compile to vector instructions: no branches, no tables, no calls.
//!
//! Relative errors against the exact value stay below 4e-7 (a test looks at them); NaN stays NaN. Use them in loops over
//! slices, inside of [`super::super::tree::vectorized`].

#![allow(clippy::excessive_precision)] // coefficients as they are published, or found

/// `a * b + c`, in one instruction where the machine has one.
#[inline(always)]
pub(super) fn mul_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// The exponential of a number, held within the range of normal numbers: about 1.2e-38 below -87.3, 2.4e38 above 88.3.
#[inline(always)]
pub(super) fn exp<const FMA: bool>(x: f32) -> f32 {
    // Comparisons, not `clamp`, so that NaN stays.
    let x = if x > 88.3 { 88.3 } else { x };
    let x = if x < -87.3 { -87.3 } else { x };
    // Adding 1.5 * 2^23 rounds to an integer and leaves it in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let shifted = mul_add::<FMA>(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    // ln 2 in two parts, the first exact when multiplied by n.
    let r = mul_add::<FMA>(n, -0.693_359_4, x);
    let r = mul_add::<FMA>(n, 2.121_944_4e-4, r);
    let mut p = 1.987_569_1e-4;
    p = mul_add::<FMA>(p, r, 1.398_199_9e-3);
    p = mul_add::<FMA>(p, r, 8.333_452e-3);
    p = mul_add::<FMA>(p, r, 4.166_579_6e-2);
    p = mul_add::<FMA>(p, r, 1.666_666_5e-1);
    p = mul_add::<FMA>(p, r, 5.000_000_1e-1);
    p = mul_add::<FMA>(p, r * r, r) + 1.0;
    // 2^n by its exponent's bits.
    let power = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    p * power
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(super) fn sigmoid<const FMA: bool>(x: f32) -> f32 {
    1.0 / (1.0 + exp::<FMA>(-x))
}

/// The hyperbolic tangent.
#[inline(always)]
pub(super) fn tanh<const FMA: bool>(x: f32) -> f32 {
    let a = x.abs();
    // Near 0 the difference below would lose all digits: x + x^3 p(x^2).
    let z = x * x;
    let mut p = -5.704_988_7e-3;
    p = mul_add::<FMA>(p, z, 2.063_908_9e-2);
    p = mul_add::<FMA>(p, z, -5.373_971_6e-2);
    p = mul_add::<FMA>(p, z, 1.333_144_2e-1);
    p = mul_add::<FMA>(p, z, -3.333_328_2e-1);
    let small = mul_add::<FMA>(p * z, x, x);
    let large = (1.0 - 2.0 / (exp::<FMA>(a + a) + 1.0)).copysign(x);
    if a < 0.625 { small } else { large }
}

/// `e^x - 1`, for x below 0.
#[inline(always)]
pub(super) fn exp_minus_one<const FMA: bool>(x: f32) -> f32 {
    // Taylor's series up to x^7 near 0, where the difference would lose its digits.
    let mut p = 1.0 / 5040.0;
    p = mul_add::<FMA>(p, x, 1.0 / 720.0);
    p = mul_add::<FMA>(p, x, 1.0 / 120.0);
    p = mul_add::<FMA>(p, x, 1.0 / 24.0);
    p = mul_add::<FMA>(p, x, 1.0 / 6.0);
    p = mul_add::<FMA>(p, x, 0.5);
    let small = mul_add::<FMA>(p * x, x, x);
    let large = exp::<FMA>(x) - 1.0;
    if x > -0.35 { small } else { large }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest relative error over numbers from `from` to `to`.
    fn worst(from: f32, to: f32, given: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64) -> f64 {
        let steps = 200_000;
        (0..=steps).map(|i| from + (to - from) * i as f32 / steps as f32).fold(0.0, |worst: f64, x| {
            let wanted = exact(f64::from(x));
            let error = (f64::from(given(x)) - wanted).abs() / wanted.abs().max(1e-37);
            worst.max(error)
        })
    }

    #[test]
    fn errors_are_those_of_rounding() {
        assert!(worst(-87.0, 88.0, exp::<false>, f64::exp) < 4e-7);
        assert!(worst(-87.0, 88.0, exp::<true>, f64::exp) < 4e-7);
        assert!(worst(-80.0, 80.0, sigmoid::<true>, |x| 1.0 / (1.0 + (-x).exp())) < 4e-7);
        for (from, to) in [(-12.0, 12.0), (-1.0, 1.0), (-1e-3, 1e-3)] {
            assert!(worst(from, to, tanh::<true>, f64::tanh) < 4e-7, "{from}");
            assert!(worst(from, to, tanh::<false>, f64::tanh) < 4e-7, "{from}");
        }
        for (from, to) in [(-50.0, 0.0), (-1.0, 0.0), (-1e-3, 0.0)] {
            assert!(worst(from, to, exp_minus_one::<true>, f64::exp_m1) < 4e-7, "{from}");
        }
    }

    #[test]
    fn what_is_no_number_stays_so_and_the_far_ends_are_right() {
        for f in [exp::<true>, sigmoid::<true>, tanh::<true>, exp_minus_one::<true>] {
            assert!(f(f32::NAN).is_nan());
        }
        assert_eq!((tanh::<true>(f32::INFINITY), tanh::<true>(f32::NEG_INFINITY)), (1.0, -1.0));
        assert_eq!(sigmoid::<true>(f32::INFINITY), 1.0);
        assert!(sigmoid::<true>(f32::NEG_INFINITY) < 1e-37);
        assert!(exp::<true>(f32::NEG_INFINITY) < 1e-37);
    }
}
