//! Distances of rows from points: what nearest neighbours and Gaussian processes begin with.

/// How distance is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// The sum of squared differences.
    Squared,
    /// The root of it.
    Euclidean,
    /// The sum of absolute differences.
    Manhattan,
}

/// A number that has a distance.
pub trait Real: Copy + Default + std::ops::Sub<Output = Self> + std::ops::Mul<Output = Self> + std::ops::AddAssign {
    /// Without its sign.
    fn size(self) -> Self;
    /// Its square root.
    fn root(self) -> Self;
}

macro_rules! real {
    ($($kind:ty)*) => {$(
        impl Real for $kind {
            fn size(self) -> Self {
                self.abs()
            }
            fn root(self) -> Self {
                self.sqrt()
            }
        }
    )*};
}
real!(f32 f64);

/// Points that rows are measured from, laid out for it once.
#[derive(Debug)]
pub struct Points<T> {
    count: usize,
    width: usize,
    /// By feature, so that the distances of a row from all points are computed side by side.
    by_feature: Vec<T>,
}

impl<T: Real> Points<T> {
    /// Points of `width` numbers each, one behind the other. A width of 0 has no points.
    #[must_use]
    pub fn new(points: &[T], width: usize) -> Self {
        let count = points.len().checked_div(width).unwrap_or(0);
        let by_feature = (0..count * width).map(|i| points[i % count * width + i / count]).collect();
        Self { count, width, by_feature }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// How many numbers a point has.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// The distances `[rows, points]` of rows as wide as the points.
    #[must_use]
    pub fn distances(&self, metric: Metric, rows: &[T]) -> Vec<T> {
        if self.count == 0 {
            return vec![];
        }
        let mut out = vec![T::default(); rows.len() / self.width * self.count];
        for (row, out) in rows.chunks_exact(self.width).zip(out.chunks_exact_mut(self.count)) {
            for (x, points) in row.iter().zip(self.by_feature.chunks_exact(self.count)) {
                if metric == Metric::Manhattan {
                    out.iter_mut().zip(points).for_each(|(sum, p)| *sum += (*x - *p).size());
                } else {
                    out.iter_mut().zip(points).for_each(|(sum, p)| *sum += (*x - *p) * (*x - *p));
                }
            }
            if metric == Metric::Euclidean {
                out.iter_mut().for_each(|d| *d = d.root());
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_metric_measures_its_own() {
        let (rows, points) = ([0.0, 0.0, 3.0, -4.0], Points::new(&[3.0, 4.0, 0.0, 1.0, 3.0, -4.0], 2));
        assert_eq!((points.count(), points.width()), (3, 2));
        assert_eq!(points.distances(Metric::Squared, &rows), [25.0, 1.0, 25.0, 64.0, 34.0, 0.0]);
        assert_eq!(points.distances(Metric::Euclidean, &rows[..2]), [5.0, 1.0, 5.0]);
        assert_eq!(points.distances(Metric::Manhattan, &rows), [7.0, 1.0, 7.0, 8.0, 8.0, 0.0]);
        assert!(Points::<f32>::new(&[], 1).distances(Metric::Squared, &[1.0]).is_empty());
    }
}
