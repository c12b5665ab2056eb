//! Linear models: `scores = x · coefficients + intercepts`, and for a classifier who wins.

use super::fused;
use super::post::{Post, Second, winner};

/// Up to so many outputs, each is a dot product; more are computed side by side.
const NARROW: usize = 8;
/// Rows whose dot products are computed side by side.
const ROWS: usize = 8;

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
        let outputs = self.outputs();
        scores.reserve(x.len() / self.features * outputs);
        if outputs > NARROW {
            for row in x.chunks_exact(self.features) {
                let start = scores.len();
                scores.resize(start + outputs, 0.0);
                let sums = &mut scores[start..];
                for (x, weights) in row.iter().zip(self.weights.chunks_exact(outputs)) {
                    sums.iter_mut().zip(weights).for_each(|(sum, weight)| *sum = fused(*x, *weight, *sum));
                }
                sums.iter_mut().zip(&self.intercepts).for_each(|(sum, intercept)| *sum += intercept);
            }
            return;
        }
        let blocks = x.chunks(self.features * ROWS);
        for block in blocks {
            let rows = block.len() / self.features;
            let start = scores.len();
            scores.resize(start + rows * outputs, 0.0);
            let outputs_of = self.weights.chunks_exact(self.features).zip(&self.intercepts).enumerate();
            for (output, (weights, intercept)) in outputs_of {
                let sums = self.sums(block, weights);
                for (row, sum) in sums.iter().enumerate().take(rows) {
                    scores[start + row * outputs + output] = sum + intercept;
                }
            }
        }
    }

    /// The sums of products of up to [`ROWS`] rows with one output's weights, each in the order of the features.
    fn sums(&self, block: &[f32], weights: &[f32]) -> [f32; ROWS] {
        let mut sums = [0.0; ROWS];
        if block.len() == self.features * ROWS {
            for (feature, weight) in weights.iter().enumerate() {
                // Rows beside each other, for a sum must wait for itself.
                for (row, sum) in sums.iter_mut().enumerate() {
                    *sum = fused(block[row * self.features + feature], *weight, *sum);
                }
            }
        } else {
            for (row, sum) in block.chunks_exact(self.features).zip(&mut sums) {
                *sum = dot(row, weights);
            }
        }
        sums
    }
}

/// The sum of products of two equally long slices, in their order.
#[must_use]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).fold(0.0, |sum, (a, b)| fused(*a, *b, sum))
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
            let second = if self.post == Post::Logistic { Second::Logistic } else { Second::Complement };
            return (winners, second.expand(&scores));
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
            let x: Vec<f32> = (0..features * 21).map(|i| value(i + 11)).collect();
            let linear = Linear::new(&coefficients, &intercepts).unwrap();
            let mut scores = vec![];
            linear.run(&x, &mut scores);
            assert_eq!(scores.len(), 21 * outputs);
            for (at, score) in scores.iter().enumerate() {
                let (row, output) = (&x[at / outputs * features..][..features], at % outputs);
                let wanted: f32 = row.iter().zip(&coefficients[output * features..]).map(|(a, b)| a * b).sum();
                assert!((score - wanted - intercepts[output]).abs() < 1e-4, "{features} x {outputs} at {at}");
            }
        }
        assert!(Linear::new(&[1.0, 2.0, 3.0], &[0.0, 0.0]).is_none() && Linear::new(&[1.0], &[]).is_none());
    }
}
