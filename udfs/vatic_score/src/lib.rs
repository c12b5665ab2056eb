//! A model as a function: the way out, for a query that scores in vatic and moves to Arroyo.
//!
//! `model.onnx` is compiled in and scored by vatic's own scorer, row by row, so the scores are those of `score('model', ...)`. To take
//! another model: put its file in the place of this one, and name its features as arguments (`vatic inspect model.onnx` lists them):
//! `Option` of f64, f32, i64, i32 or &str. NULL gives what it gives in vatic.

use std::sync::LazyLock;

use arroyo_udf_plugin::udf;
use vatic_scorer::Model;

static MODEL: LazyLock<Model> =
    LazyLock::new(|| Model::new(include_bytes!("../model.onnx")).unwrap_or_else(|e| panic!("model.onnx: {e}")));

/// The risk of a payment. A row that the model fails on panics, which is its error in vatic and ends the pipeline in Arroyo:
/// `unwrap_or(None)` makes it NULL.
#[udf]
fn vatic_score(amount: Option<f64>, hour: Option<i64>, distance_km: Option<f64>, tx_last_hour: Option<i64>) -> Option<f64> {
    let row = [amount.into(), hour.into(), distance_km.into(), tx_last_hour.into()];
    MODEL.score(&row).unwrap_or_else(|e| panic!("{e}"))
}
