//! What becomes of raw scores: `post_transform` of the ONNX operators, and the second of two classes.
//!
//! Rows lie one behind the other, `width` scores each, and are changed in place.

/// What is done with a row of raw scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Post {
    /// They stay.
    None,
    /// Each by itself to `0.0..=1.0`.
    Logistic,
    /// The row to probabilities that add up to 1.
    Softmax,
    /// The same, but scores of 0 (not seen) stay 0.
    SoftmaxZero,
    /// Each through the inverse of the normal distribution.
    Probit,
}

impl Post {
    /// The transform that ONNX calls `name`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "NONE" => Self::None,
            "LOGISTIC" => Self::Logistic,
            "SOFTMAX" => Self::Softmax,
            "SOFTMAX_ZERO" => Self::SoftmaxZero,
            "PROBIT" => Self::Probit,
            _ => return None,
        })
    }

    /// Transforms rows of `width` scores. A single score per row only ever goes through PROBIT: that is what ONNX Runtime
    /// does, which holds all the others for a matter of several classes.
    pub fn apply(self, scores: &mut [f32], width: usize) {
        match self {
            Self::None => {}
            Self::Probit => scores.iter_mut().for_each(|s| *s = probit(*s)),
            _ if width < 2 => {}
            Self::Logistic => scores.iter_mut().for_each(|s| *s = logistic(*s)),
            Self::Softmax => scores.chunks_exact_mut(width).for_each(softmax),
            Self::SoftmaxZero => scores.chunks_exact_mut(width).for_each(softmax_zero),
        }
    }
}

/// How a model of two classes that computes one score makes two of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Second {
    /// `1 - s` and `s`: the score is as good as a probability.
    Complement,
    /// `-s` and `s`: it is a distance.
    Opposite,
    /// Both of these through [`logistic`].
    Logistic,
}

impl Second {
    /// Rows of one score become rows of two.
    #[must_use]
    pub fn expand(self, scores: &[f32]) -> Vec<f32> {
        let both = |s: f32| match self {
            Self::Complement => [1.0 - s, s],
            Self::Opposite => [-s, s],
            Self::Logistic => [logistic(-s), logistic(s)],
        };
        scores.iter().flat_map(|s| both(*s)).collect()
    }
}

/// Without overflow, and 0 or 1 far out.
#[must_use]
pub fn logistic(x: f32) -> f32 {
    let p = 1.0 / (1.0 + (-x.abs()).exp());
    if x < 0.0 { 1.0 - p } else { p }
}

/// One row to probabilities.
pub fn softmax(row: &mut [f32]) {
    let largest = largest(row);
    let mut sum = 0.0;
    for x in row.iter_mut() {
        *x = (*x - largest).exp();
        sum += *x;
    }
    row.iter_mut().for_each(|x| *x /= sum);
}

/// The largest of a row; NaN never is.
fn largest(row: &[f32]) -> f32 {
    row.iter().copied().fold(f32::MIN, |best, x| if x > best { x } else { best })
}

/// What lies within a ten-millionth of 0 counts as 0, and stays.
fn softmax_zero(row: &mut [f32]) {
    let largest = largest(row);
    let unseen = (-largest).exp();
    let mut sum = 0.0;
    for x in row.iter_mut() {
        if *x > 0.000_000_1 || *x < -0.000_000_1 {
            *x = (*x - largest).exp();
            sum += *x;
        } else {
            *x *= unseen;
        }
    }
    row.iter_mut().for_each(|x| *x /= sum);
}

/// The approximation of Winitzki, with the constants that ONNX Runtime computes with.
#[must_use]
pub fn probit(p: f32) -> f32 {
    let x = 2.0 * p - 1.0;
    let sign = if x < 0.0 { -1.0 } else { 1.0 };
    let log = ((1.0 - x) * (1.0 + x)).ln();
    let v = (2.0 / (std::f64::consts::PI * 0.147)) as f32 + 0.5 * log;
    // Near a half nearly everything cancels: the order of these steps decides about the fourth digit.
    std::f32::consts::SQRT_2 * (sign * (-v + (v * v - (1.0 / 0.147) * log).sqrt()).sqrt())
}

/// The index of the largest score, the first of equals; NaN never wins but against nothing.
#[must_use]
pub fn winner(row: &[f32]) -> u32 {
    let mut best = 0;
    for (index, score) in row.iter().enumerate().skip(1) {
        if *score > row[best] {
            best = index;
        }
    }
    best as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_out_scores_neither_overflow_nor_lose_their_sum() {
        assert_eq!((logistic(200.0), logistic(-200.0), logistic(0.0)), (1.0, 0.0, 0.5));
        let mut row = [1000.0, 999.0, -1000.0];
        Post::Softmax.apply(&mut row, 3);
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6 && row[0] > row[1] && row[2] == 0.0, "{row:?}");
        let mut row = [0.0, 2.0, 0.0];
        Post::SoftmaxZero.apply(&mut row, 3);
        assert_eq!(row, [0.0, 1.0, 0.0]);
    }

    #[test]
    fn one_score_is_left_alone_but_by_probit() {
        for post in [Post::None, Post::Logistic, Post::Softmax, Post::SoftmaxZero] {
            let mut scores = [0.25, -3.0];
            post.apply(&mut scores, 1);
            assert_eq!(scores, [0.25, -3.0], "{post:?}");
        }
        let mut half = [0.5];
        Post::Probit.apply(&mut half, 1);
        assert!(half[0].abs() < 1e-6);
        assert!((probit(0.975) - 1.96).abs() < 0.01 && (probit(0.025) + 1.96).abs() < 0.01);
    }

    #[test]
    fn the_first_of_equals_wins() {
        assert_eq!(winner(&[1.0, 3.0, 3.0]), 1);
        assert_eq!(winner(&[f32::NAN, 3.0]), 0);
        assert_eq!(Second::Complement.expand(&[0.25, 2.0]), [0.75, 0.25, -1.0, 2.0]);
        assert_eq!(Second::Opposite.expand(&[0.25]), [-0.25, 0.25]);
        assert_eq!(Second::Logistic.expand(&[0.0]), [0.5, 0.5]);
    }
}
