//! Support vector machines: a kernel of each row with every support vector, then weighted sums of these.
//!
//! ```text
//! row ─► k(row, vector 0..n) ─► regressor: one sum
//!                            └► classifier: a sum per pair of classes ─► votes ─► winner
//!                                                                    └► probabilities (Platt, pairwise coupling)
//! ```
//!
//! Vectors are kept by feature, so that all kernels of a row are computed side by side.

use super::fused;
use super::linear::Linear;
use super::post::{Post, Second, logistic, winner};

/// How near two rows are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kernel {
    /// `a · b`
    Linear,
    /// `(gamma a · b + coef0) ^ degree`
    Poly {
        /// Factor.
        gamma: f32,
        /// Summand.
        coef0: f32,
        /// Exponent.
        degree: f32,
    },
    /// `exp(-gamma |a - b|²)`
    Rbf {
        /// Factor.
        gamma: f32,
    },
    /// `tanh(gamma a · b + coef0)`
    Sigmoid {
        /// Factor.
        gamma: f32,
        /// Summand.
        coef0: f32,
    },
}

/// The support vectors.
#[derive(Debug, Clone, PartialEq)]
pub struct Vectors {
    kernel: Kernel,
    /// By feature: the first number of every vector, then the second, ...
    by_feature: Vec<f32>,
    count: usize,
    features: usize,
}

impl Vectors {
    /// Of `count` vectors, one behind the other; none if they are not of one length.
    #[must_use]
    pub fn new(kernel: Kernel, vectors: &[f32], count: usize) -> Option<Self> {
        if count == 0 || vectors.is_empty() || !vectors.len().is_multiple_of(count) {
            return None;
        }
        let features = vectors.len() / count;
        let by_feature = (0..vectors.len()).map(|i| vectors[i % count * features + i / count]).collect();
        Some(Self { kernel, by_feature, count, features })
    }

    /// How many numbers a row has.
    #[must_use]
    pub fn features(&self) -> usize {
        self.features
    }

    /// The kernels of one row with all vectors.
    fn run(&self, row: &[f32], out: &mut [f32]) {
        out.fill(0.0);
        let features = row.iter().zip(self.by_feature.chunks_exact(self.count));
        if let Kernel::Rbf { gamma } = self.kernel {
            for (x, vectors) in features {
                out.iter_mut().zip(vectors).for_each(|(sum, v)| *sum += (x - v) * (x - v));
            }
            return out.iter_mut().for_each(|sum| *sum = exp(-gamma * *sum));
        }
        for (x, vectors) in features {
            out.iter_mut().zip(vectors).for_each(|(sum, v)| *sum = fused(*x, *v, *sum));
        }
        match self.kernel {
            Kernel::Linear | Kernel::Rbf { .. } => {}
            Kernel::Poly { gamma, coef0, degree } => {
                out.iter_mut().for_each(|k| *k = fused(gamma, *k, coef0));
                if degree == 2.0 {
                    out.iter_mut().for_each(|k| *k *= *k);
                } else if degree == 3.0 {
                    out.iter_mut().for_each(|k| *k = *k * *k * *k);
                } else {
                    out.iter_mut().for_each(|k| *k = k.powf(degree));
                }
            }
            Kernel::Sigmoid { gamma, coef0 } => out.iter_mut().for_each(|k| *k = tanh(fused(gamma, *k, coef0))),
        }
    }
}

/// To a few units in the last place, and so that a loop over it is vectorised.
fn exp(x: f32) -> f32 {
    /// Adding it leaves the nearest integer in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    // Below, the result is no number that a sum would notice; above, it is infinite.
    let x = x.clamp(-87.0, 88.0);
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let power = f32::from_bits((rounded.to_bits() << 23).wrapping_add(127 << 23));
    (p * r * r + r + 1.0) * power
}

/// A quotient of polynomials, to a few units in the last place; ONNX Runtime computes with the same.
#[allow(clippy::excessive_precision)] // Of one factor as many digits as of the others.
fn tanh(x: f32) -> f32 {
    const ODD: [f32; 7] =
        [-2.760_768_5e-16, 2.000_187_9e-13, -8.604_671_5e-11, 5.122_297e-8, 1.485_722_4e-5, 6.372_619_3e-4, 4.893_524_6e-3];
    const EVEN: [f32; 4] = [1.198_258_4e-6, 1.185_347_1e-4, 2.268_434_6e-3, 4.893_525e-3];
    let x = x.clamp(-9.0, 9.0);
    let polynomial = |factors: &[f32]| factors.iter().fold(0.0, |sum, factor| fused(sum, x * x, *factor));
    polynomial(&ODD) * x / polynomial(&EVEN)
}

/// One sum of kernels, or without vectors a linear model.
#[derive(Debug, Clone, PartialEq)]
pub struct SvmRegressor {
    form: Form,
    one_class: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Form {
    Vectors { vectors: Vectors, coefficients: Vec<f32>, rho: f32 },
    Linear(Linear),
}

impl SvmRegressor {
    /// With `one_class` the result is 1 (inside) or -1. None if there is not one coefficient per vector.
    #[must_use]
    pub fn new(vectors: Option<Vectors>, coefficients: &[f32], rho: f32, one_class: bool) -> Option<Self> {
        let form = match vectors {
            Some(vectors) if vectors.count != coefficients.len() => return None,
            Some(vectors) => Form::Vectors { vectors, coefficients: coefficients.to_vec(), rho },
            None => Form::Linear(Linear::new(coefficients, &[rho])?),
        };
        Some(Self { form, one_class })
    }

    /// How many numbers a row has.
    #[must_use]
    pub fn features(&self) -> usize {
        match &self.form {
            Form::Vectors { vectors, .. } => vectors.features,
            Form::Linear(linear) => linear.features(),
        }
    }

    /// One number per row of `x`.
    #[must_use]
    pub fn run(&self, x: &[f32]) -> Vec<f32> {
        let mut out = vec![];
        match &self.form {
            Form::Linear(linear) => linear.run(x, &mut out),
            Form::Vectors { vectors, coefficients, rho } => {
                let mut kernels = vec![0.0; vectors.count];
                out.extend(x.chunks_exact(vectors.features).map(|row| {
                    vectors.run(row, &mut kernels);
                    super::linear::dot(&kernels, coefficients) + rho
                }));
            }
        }
        if self.one_class {
            out.iter_mut().for_each(|y| *y = if *y > 0.0 { 1.0 } else { -1.0 });
        }
        out
    }
}

/// A class for each row, by votes of all pairs of classes, or without vectors by a linear model.
#[derive(Debug, Clone, PartialEq)]
pub struct SvmClassifier {
    classes: usize,
    post: Post,
    positive: bool,
    probabilities: Vec<(f32, f32)>,
    form: Pairs,
}

#[derive(Debug, Clone, PartialEq)]
enum Pairs {
    /// `starts` are where each class's vectors begin, and where the last end; coefficients `[classes - 1, vectors]`.
    Vectors {
        vectors: Vectors,
        starts: Vec<usize>,
        coefficients: Vec<f32>,
        rho: Vec<f32>,
    },
    Linear(Linear),
}

/// What a classifier is made of.
#[derive(Debug, Clone)]
pub struct SvmParts<'a> {
    /// How many classes.
    pub classes: usize,
    /// The vectors and how many of them each class has; none for a linear model.
    pub vectors: Option<(Vectors, &'a [usize])>,
    /// `[classes - 1, vectors]`, or `[classes, features]`.
    pub coefficients: &'a [f32],
    /// One per pair of classes, or one.
    pub rho: &'a [f32],
    /// Platt's A and B per pair of classes, or none.
    pub probabilities: Vec<(f32, f32)>,
    /// What becomes of the scores.
    pub post: Post,
}

impl SvmClassifier {
    /// # Errors
    /// What does not fit together.
    pub fn new(parts: SvmParts) -> Result<Self, &'static str> {
        let SvmParts { classes, vectors, coefficients, rho, probabilities, post } = parts;
        let pairs = classes * classes.saturating_sub(1) / 2;
        let positive = coefficients.iter().all(|c| *c >= 0.0);
        let form = match vectors {
            Some((vectors, per_class)) => {
                let fits = classes >= 2
                    && per_class.len() == classes
                    && per_class.iter().sum::<usize>() == vectors.count
                    && coefficients.len() == (classes - 1) * vectors.count
                    && rho.len() >= pairs
                    && (probabilities.is_empty() || probabilities.len() >= pairs);
                if !fits {
                    return Err("vectors, coefficients and classes do not fit together");
                }
                if classes == 2 && probabilities.is_empty() && post == Post::Probit {
                    return Err("PROBIT of one score for two classes leaves the other undefined");
                }
                let starts = per_class.iter().scan(0, |next, n| Some(std::mem::replace(next, *next + n)));
                let starts = starts.chain([vectors.count]).collect();
                Pairs::Vectors { vectors, starts, coefficients: coefficients.to_vec(), rho: rho.to_vec() }
            }
            None => {
                let [rho, ..] = rho else { return Err("there is no rho") };
                let linear = Linear::new(coefficients, &vec![*rho; classes]);
                Pairs::Linear(linear.ok_or("the coefficients are not those of the classes")?)
            }
        };
        Ok(Self { classes, post, positive, probabilities, form })
    }

    /// How many numbers a row has.
    #[must_use]
    pub fn features(&self) -> usize {
        match &self.form {
            Pairs::Vectors { vectors, .. } => vectors.features,
            Pairs::Linear(linear) => linear.features(),
        }
    }

    /// How many scores a row gets: one per class, or without probabilities one per pair of classes (two for two).
    #[must_use]
    pub fn outputs(&self) -> usize {
        match &self.form {
            Pairs::Vectors { .. } if self.probabilities.is_empty() && self.classes > 2 => {
                self.classes * (self.classes - 1) / 2
            }
            _ => self.classes,
        }
    }

    /// Each row's class and scores.
    #[must_use]
    pub fn run(&self, x: &[f32]) -> (Vec<u32>, Vec<f32>) {
        match &self.form {
            Pairs::Linear(linear) => self.run_linear(linear, x),
            Pairs::Vectors { vectors, starts, coefficients, rho } => {
                let rows = x.len() / vectors.features;
                let mut winners = Vec::with_capacity(rows);
                let mut scores = Vec::with_capacity(rows * self.outputs());
                let mut kernels = vec![0.0; vectors.count];
                let mut pairs = vec![];
                let mut coupling = Coupling::new(self.classes);
                let mut votes = vec![0.0; self.classes];
                for row in x.chunks_exact(vectors.features) {
                    vectors.run(row, &mut kernels);
                    votes.fill(0.0);
                    pairs.clear();
                    for i in 0..self.classes - 1 {
                        for j in i + 1..self.classes {
                            let sum = weighted(&kernels, &coefficients[(j - 1) * vectors.count..], starts[i]..starts[i + 1])
                                + weighted(&kernels, &coefficients[i * vectors.count..], starts[j]..starts[j + 1])
                                + f64::from(rho[pairs.len()]);
                            votes[if sum > 0.0 { i } else { j }] += 1.0;
                            pairs.push(sum as f32);
                        }
                    }
                    winners.push(winner(&votes));
                    if self.probabilities.is_empty() {
                        scores.extend_from_slice(&pairs);
                    } else {
                        scores.extend_from_slice(coupling.run(&pairs, &self.probabilities));
                    }
                }
                (winners, self.transformed(scores))
            }
        }
    }

    /// The scores behind the post transform; two of one where there are two classes.
    fn transformed(&self, mut scores: Vec<f32>) -> Vec<f32> {
        if self.classes == 2 && self.probabilities.is_empty() {
            let second = match self.post {
                Post::None => Second::Opposite,
                Post::Logistic => Second::Logistic,
                _ => Second::Complement,
            };
            return second.expand(&scores);
        }
        let width = self.outputs();
        self.post.apply(&mut scores, width);
        scores
    }

    fn run_linear(&self, linear: &Linear, x: &[f32]) -> (Vec<u32>, Vec<f32>) {
        let mut scores = vec![];
        linear.run(x, &mut scores);
        let chosen = |row: &[f32]| {
            let best = winner(row);
            let largest = row[best as usize];
            // Of two classes the second wins on any score that says yes, even if the first says it louder.
            let second = self.classes == 2
                && self.probabilities.is_empty()
                && if self.positive { largest >= 0.5 } else { largest > 0.0 };
            if second { 1 } else { best }
        };
        let winners = scores.chunks_exact(self.classes).map(chosen).collect();
        self.post.apply(&mut scores, self.classes);
        (winners, scores)
    }
}

/// The sum of some kernels, each times its coefficient.
fn weighted(kernels: &[f32], coefficients: &[f32], range: std::ops::Range<usize>) -> f64 {
    kernels[range.clone()].iter().zip(&coefficients[range]).map(|(k, c)| f64::from(k * c)).sum()
}

/// Probabilities of classes from those of pairs: the second method of Wu, Lin and Weng (2004), in single precision and
/// stopping as early as ONNX Runtime, whose digits depend on both.
struct Coupling {
    classes: usize,
    /// `[i, j]`: the probability of i against j.
    pairwise: Vec<f32>,
    q: Vec<f32>,
    qp: Vec<f32>,
    p: Vec<f32>,
}

impl Coupling {
    fn new(classes: usize) -> Self {
        let square = vec![0.0; classes * classes];
        Self { classes, pairwise: square.clone(), q: square, qp: vec![0.0; classes], p: vec![0.0; classes] }
    }

    fn run(&mut self, pairs: &[f32], platt: &[(f32, f32)]) -> &[f32] {
        let n = self.classes;
        let r = &mut self.pairwise;
        let mut next = pairs.iter().zip(platt);
        for i in 0..n - 1 {
            for j in i + 1..n {
                let Some((score, (a, b))) = next.next() else { continue };
                let probability = (1.0 - logistic(score * a + b)).clamp(1e-7, 1.0 - 1e-7);
                r[i * n + j] = probability;
                r[j * n + i] = 1.0 - probability;
            }
        }
        self.q.fill(0.0);
        for i in 0..n {
            self.p[i] = 1.0 / n as f32;
            for j in (0..n).filter(|j| *j != i) {
                self.q[i * n + i] += r[j * n + i] * r[j * n + i];
                self.q[i * n + j] = if j < i { self.q[j * n + i] } else { -r[j * n + i] * r[i * n + j] };
            }
        }
        let (q, qp, p) = (&self.q, &mut self.qp, &mut self.p);
        let enough = 0.005 / n as f32;
        for _ in 0..100 {
            let mut whole = 0.0;
            for i in 0..n {
                qp[i] = (0..n).fold(0.0, |sum, j| sum + q[i * n + j] * p[j]);
                whole += p[i] * qp[i];
            }
            let error =
                qp.iter().fold(0.0f32, |most, part| if (part - whole).abs() > most { (part - whole).abs() } else { most });
            if error < enough {
                break;
            }
            for i in 0..n {
                let step = (-qp[i] + whole) / q[i * n + i];
                p[i] += step;
                whole = (whole + step * (step * q[i * n + i] + 2.0 * qp[i])) / (1.0 + step) / (1.0 + step);
                for j in 0..n {
                    qp[j] = (qp[j] + step * q[i * n + j]) / (1.0 + step);
                    p[j] /= 1.0 + step;
                }
            }
        }
        p
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_near_enough() {
        for i in -8000..800 {
            let x = i as f32 / 100.0;
            let wanted = x.exp();
            assert!((exp(x) - wanted).abs() <= 4.0 * f32::EPSILON * wanted, "{x}: {} {wanted}", exp(x));
        }
        assert!(exp(f32::NAN).is_nan() && exp(-1e9) < 1e-37 && exp(0.0) == 1.0);
    }

    #[test]
    fn tanh_is_near_enough() {
        for i in -1200..1200 {
            let x = i as f32 / 100.0;
            assert!((tanh(x) - x.tanh()).abs() <= 1e-6, "{x}: {} {}", tanh(x), x.tanh());
        }
        assert!(tanh(f32::NAN).is_nan());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(Vectors::new(Kernel::Linear, &[1.0, 2.0, 3.0], 2).is_none());
        let vectors = Vectors::new(Kernel::Linear, &[1.0, 2.0, 3.0, 4.0], 2).unwrap();
        assert!(SvmRegressor::new(Some(vectors.clone()), &[1.0], 0.0, false).is_none());
        let parts = |per_class| SvmParts {
            classes: 2,
            vectors: Some((vectors.clone(), per_class)),
            coefficients: &[1.0, -1.0],
            rho: &[0.0],
            probabilities: vec![],
            post: Post::None,
        };
        assert!(SvmClassifier::new(parts(&[1, 1])).is_ok());
        assert!(SvmClassifier::new(parts(&[2, 1])).is_err());
        assert!(SvmClassifier::new(SvmParts { rho: &[], ..parts(&[1, 1]) }).is_err());
        assert!(SvmClassifier::new(SvmParts { post: Post::Probit, ..parts(&[1, 1]) }).is_err());
    }
}
