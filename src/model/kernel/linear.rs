//! Linear models: `scores = x · coefficients + intercepts`, and for a classifier who wins.

use super::post::{Post, Second, winner};

/// Up to so many outputs, each is a dot product; more are computed side by side.
const NARROW: usize = 8;
/// Sums of a dot product that are kept apart, so that they need not wait for each other.
const LANES: usize = 8;

/// A matrix product and an addition.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    /// By output if there are few, else by feature.
    weights: Vec<f32>,
    intercepts: Vec<f32>,
    features: usize,
}

impl Linear {
    /// Of `coefficients` by output (`outputs * features`) and one of `intercepts` per output; none if they do not fit.
    #[must_use]
    pub fn new(coefficients: &[f32], intercepts: &[f32]) -> Option<Self> {
        let outputs = intercepts.len();
        if outputs == 0 || coefficients.is_empty() || !coefficients.len().is_multiple_of(outputs) {
            return None;
        }
        let features = coefficients.len() / outputs;
        let weights = if outputs <= NARROW {
            coefficients.to_vec()
        } else {
            (0..coefficients.len()).map(|i| coefficients[i % outputs * features + i / outputs]).collect()
        };
        Some(Self { weights, intercepts: intercepts.to_vec(), features })
    }

    /// How many numbers a row has.
    #[must_use]
    pub fn features(&self) -> usize {
        self.features
    }

    /// How many scores a row gets.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.intercepts.len()
    }

    /// The scores of all rows of `x`, appended to `scores`.
    pub fn run(&self, x: &[f32], scores: &mut Vec<f32>) {
        scores.reserve(x.len() / self.features * self.outputs());
        for row in x.chunks_exact(self.features) {
            if self.outputs() <= NARROW {
                let outputs = self.weights.chunks_exact(self.features).zip(&self.intercepts);
                scores.extend(outputs.map(|(weights, intercept)| dot(row, weights) + intercept));
            } else {
                let start = scores.len();
                scores.extend_from_slice(&self.intercepts);
                for (x, weights) in row.iter().zip(self.weights.chunks_exact(self.outputs())) {
                    scores[start..].iter_mut().zip(weights).for_each(|(score, weight)| *score += x * weight);
                }
            }
        }
    }
}

/// The sum of products of two equally long slices.
#[must_use]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a_blocks, a_rest) = a.as_chunks::<LANES>();
    let (b_blocks, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

/// A linear model whose scores are those of classes.
#[derive(Debug, Clone, PartialEq)]
pub struct LinearClassifier {
    linear: Linear,
    post: Post,
    second: bool,
}

impl LinearClassifier {
    /// With `second`, one score decides between two classes: above 0 it is the second.
    #[must_use]
    pub fn new(linear: Linear, post: Post, second: bool) -> Self {
        Self { linear, post, second }
    }

    /// The model behind it.
    #[must_use]
    pub fn linear(&self) -> &Linear {
        &self.linear
    }

    /// How many scores a row gets in the end.
    #[must_use]
    pub fn outputs(&self) -> usize {
        if self.second { 2 } else { self.linear.outputs() }
    }

    /// Each row's class (0 or 1 where there is one score) by its raw scores, and the scores behind `post`.
    #[must_use]
    pub fn run(&self, x: &[f32]) -> (Vec<u32>, Vec<f32>) {
        let mut scores = vec![];
        self.linear.run(x, &mut scores);
        let outputs = self.linear.outputs();
        let winners = if outputs == 1 {
            scores.iter().map(|s| u32::from(*s > 0.0)).collect()
        } else {
            scores.chunks_exact(outputs).map(winner).collect()
        };
        if self.second {
            return (winners, Second::Complement.expand(&scores));
        }
        self.post.apply(&mut scores, outputs);
        (winners, scores)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_and_many_outputs_are_computed_alike() {
        let value = |i: usize| ((i * 37 % 101) as f32 - 50.0) / 25.0;
        for (features, outputs) in [(1, 1), (13, 3), (30, 8), (30, 9), (7, 40)] {
            let coefficients: Vec<f32> = (0..features * outputs).map(value).collect();
            let intercepts: Vec<f32> = (0..outputs).map(|i| value(i + 5)).collect();
            let x: Vec<f32> = (0..features * 5).map(|i| value(i + 11)).collect();
            let linear = Linear::new(&coefficients, &intercepts).unwrap();
            let mut scores = vec![];
            linear.run(&x, &mut scores);
            assert_eq!(scores.len(), 5 * outputs);
            for (at, score) in scores.iter().enumerate() {
                let (row, output) = (&x[at / outputs * features..][..features], at % outputs);
                let wanted: f32 = row.iter().zip(&coefficients[output * features..]).map(|(a, b)| a * b).sum();
                assert!((score - wanted - intercepts[output]).abs() < 1e-4, "{features} x {outputs} at {at}");
            }
        }
        assert!(Linear::new(&[1.0, 2.0, 3.0], &[0.0, 0.0]).is_none() && Linear::new(&[1.0], &[]).is_none());
    }
}
