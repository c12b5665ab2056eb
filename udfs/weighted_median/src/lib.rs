//! The weighted median: the value below which half of the weight lies; what an average is too easily pulled away from.

use arroyo_udf_plugin::udf;

/// The lower weighted median. Rows where either is NULL do not count; no rows, or no weight, give NULL.
#[udf]
fn weighted_median(values: Vec<Option<f64>>, weights: Vec<Option<f64>>) -> Option<f64> {
    let pairs = values.iter().zip(&weights).filter_map(|(value, weight)| value.zip(*weight));
    let mut pairs: Vec<(f64, f64)> = pairs.filter(|(_, weight)| *weight > 0.0).collect();
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
    let half: f64 = pairs.iter().map(|(_, weight)| weight).sum::<f64>() / 2.0;
    let mut below = 0.0;
    pairs
        .iter()
        .find(|(_, weight)| {
            below += weight;
            below >= half
        })
        .map(|(value, _)| *value)
}
