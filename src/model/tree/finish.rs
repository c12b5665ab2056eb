//! From the sums of a row to its scores and its class, as ONNX Runtime computes them.
//!
//! Sums and base values have the ensemble's precision; `exp` and its kin are computed in `f32`, whatever the precision.

use super::super::kernel::post::{Post, logistic, probit};
use super::ensemble::{Aggregate, Head};
use super::number::Number;

/// What is done to each row's sums.
#[derive(Debug)]
pub(super) struct Finish<T> {
    pub(super) aggregate: Aggregate,
    pub(super) trees: T,
    pub(super) base: Vec<T>,
    pub(super) head: Head,
}

impl<T: Number> Finish<T> {
    /// Scores and class of one row; `has` says which targets a leaf of the row spoke for. `sums` are used up.
    pub(super) fn row<O: Number>(&self, sums: &mut [T], has: &[bool], scores: &mut [O]) -> u32 {
        let heard = |k: usize| has.get(k).copied().unwrap_or(true);
        match self.head {
            Head::Values(post) => {
                let several = sums.len() > 1;
                for (k, sum) in sums.iter_mut().enumerate() {
                    if self.aggregate == Aggregate::Average {
                        *sum = sum.over(self.trees);
                    }
                    match self.base.get(k) {
                        // One of several targets that no leaf spoke for is 0, whatever its base value.
                        Some(_) if several && !heard(k) => *sum = T::default(),
                        Some(base) => *sum = sum.plus(*base),
                        None => {}
                    }
                }
                write(post, sums, scores);
                0
            }
            Head::Classes(post) => {
                let mut best: Option<usize> = None;
                for k in 0..sums.len() {
                    if let Some(base) = self.base.get(k) {
                        sums[k] = sums[k].plus(*base);
                    } else if !heard(k) {
                        sums[k] = T::default();
                        continue;
                    }
                    if best.is_none_or(|best| sums[k] > sums[best]) {
                        best = Some(k);
                    }
                }
                write(post, sums, scores);
                best.unwrap_or(0) as u32
            }
            Head::Pair { post, single, positive } => self.pair(post, single, positive, sums, [heard(0), heard(1)], scores),
            Head::Sign(post) => {
                let sum = sums[0].plus(self.base.first().copied().unwrap_or_default());
                scores[0] = O::from_f64(if post == Post::Probit { f64::from(probit(sum.single())) } else { sum.double() });
                u32::from(sum > T::default())
            }
        }
    }

    /// Two classes. A score that only one class has may be for either of them, and which it is decides what becomes of it.
    fn pair<O: Number>(
        &self,
        post: Post,
        single: bool,
        positive: bool,
        sums: &mut [T],
        has: [bool; 2],
        scores: &mut [O],
    ) -> u32 {
        let mut pair = [sums[0], sums[1]];
        match *self.base.as_slice() {
            [_, second] if has[1] => {
                pair[1] = second.plus(pair[0]);
                pair[0] = pair[1].negative();
            }
            [first, second] => pair = [pair[0].plus(first), pair[1].plus(second)],
            [first] => pair[0] = pair[0].plus(first),
            _ => {}
        }
        // With two base values both scores are kept, whether or not a leaf spoke for the second class.
        let both = has[1] || self.base.len() == 2;
        let decisive = match has {
            [_, true] => pair[1],
            [true, false] => pair[0],
            [false, false] => T::default(),
        };
        let above = if single && positive { decisive.double() > 0.5 } else { decisive > T::default() };
        if both {
            for k in 0..2 {
                sums[k] = if has[k] { pair[k] } else { T::default() };
            }
            write(post, sums, scores);
            return u32::from(above);
        }
        let score = if has[0] { pair[0] } else { T::default() };
        let complement = single && positive;
        // ONNX Runtime leaves the second score unwritten here.
        let unknown = [score.double(), f64::NAN];
        let [first, second] = match post {
            Post::Probit => [f64::from(probit(score.single())), f64::NAN],
            _ if !single && !self.base.is_empty() => unknown,
            Post::Logistic => [f64::from(logistic(-score.single())), f64::from(logistic(score.single()))],
            _ if complement => [T::from_f64(1.0).plus(score.negative()).double(), score.double()],
            _ => [score.negative().double(), score.double()],
        };
        scores[0] = O::from_f64(first);
        scores[1] = O::from_f64(second);
        u32::from(above)
    }
}

/// Computes a row's scores in place and writes them.
fn write<T: Number, O: Number>(post: Post, sums: &mut [T], scores: &mut [O]) {
    match post {
        Post::None => {}
        Post::Logistic => sums.iter_mut().for_each(|x| *x = T::from_f32(logistic(x.single()))),
        Post::Probit => sums.iter_mut().for_each(|x| *x = T::from_f32(probit(x.single()))),
        Post::Softmax => {
            let largest = largest(sums);
            let sum = exponentials(sums, |x| Some((x - largest).exp()));
            sums.iter_mut().for_each(|x| *x = T::from_f32(x.single() / sum));
        }
        Post::SoftmaxZero => {
            let largest = largest(sums);
            // Zero stays zero, for its exponential would be a probability; so does what is nearly zero.
            let sum = exponentials(sums, |x| (!(-1e-7..=1e-7).contains(&x)).then(|| (x - largest).exp()));
            sums.iter_mut().for_each(|x| *x = x.over(T::from_f32(sum)));
        }
    }
    scores.iter_mut().zip(sums).for_each(|(score, sum)| *score = O::from_f64(sum.double()));
}

/// The largest, not NaN.
fn largest<T: Number>(sums: &[T]) -> f32 {
    sums.iter().fold(f32::MIN, |most, x| if x.single() > most { x.single() } else { most })
}

/// Puts `exp` of each in its place, where it says one, and returns their sum; others become almost zero.
fn exponentials<T: Number>(sums: &mut [T], exp: impl Fn(f32) -> Option<f32>) -> f32 {
    let scale = (-largest(sums)).exp();
    let mut sum = 0.0;
    for x in sums {
        match exp(x.single()) {
            Some(e) => {
                *x = T::from_f32(e);
                sum += e;
            }
            None => *x = T::from_f32(x.single() * scale),
        }
    }
    sum
}
