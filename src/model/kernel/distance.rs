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

/// The distances `[rows, points]` of rows and points of `width` numbers each (at least one).
#[must_use]
pub fn distances<T: Real>(metric: Metric, rows: &[T], points: &[T], width: usize) -> Vec<T> {
    let count = points.len() / width;
    // By feature, so that the distances of a row from all points are computed side by side.
    let by_feature: Vec<T> = (0..count * width).map(|i| points[i % count * width + i / count]).collect();
    let mut out = vec![T::default(); rows.len() / width * count];
    if count == 0 {
        return out;
    }
    for (row, out) in rows.chunks_exact(width).zip(out.chunks_exact_mut(count)) {
        for (x, points) in row.iter().zip(by_feature.chunks_exact(count)) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_metric_measures_its_own() {
        let (rows, points) = ([0.0, 0.0, 3.0, -4.0], [3.0, 4.0, 0.0, 1.0, 3.0, -4.0]);
        assert_eq!(distances(Metric::Squared, &rows, &points, 2), [25.0, 1.0, 25.0, 64.0, 34.0, 0.0]);
        assert_eq!(distances(Metric::Euclidean, &rows[..2], &points, 2), [5.0, 1.0, 5.0]);
        assert_eq!(distances(Metric::Manhattan, &rows, &points, 2), [7.0, 1.0, 7.0, 8.0, 8.0, 0.0]);
        assert!(distances::<f32>(Metric::Squared, &[1.0], &[], 1).is_empty());
    }
}
