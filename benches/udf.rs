//! A function of the user's own against the same expression in SQL: `cargo bench --bench udf`.
//!
//! Batches of 1,024 rows of DOUBLE, evaluated as DataFusion does; the median time of a batch, and the ratio. The first run on a machine
//! compiles arrow 51 for the functions.

#![allow(clippy::expect_used)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Float64Array, RecordBatch};
use datafusion::common::DFSchema;
use datafusion::prelude::SessionContext;
use vatic::model::{Snapshot, View};
use vatic::sql::types::sql_type;
use vatic::stream::{EpochCell, EpochContext};
use vatic::udf::{Bound, Callable, Function, Limits, OnError, Version};

const ROWS: usize = 1_024;
const CHEAP: &str = "use arroyo_udf_plugin::udf;\n#[udf]\nfn weigh(a: f64, b: f64) -> f64 { a * b + 1.0 }\n";
const LOGISTIC: &str = "use arroyo_udf_plugin::udf;\n#[udf]\nfn logistic(a: f64, b: f64) -> f64 { 1.0 / (1.0 + (-(0.03 * a - 0.02 * b + 0.5)).exp()) }\n";
const HAVERSINE: &str = "2 * 6371.0088 * asin(least(1.0, sqrt(power(sin(radians(c - a) / 2), 2)
     + cos(radians(a)) * cos(radians(c)) * power(sin(radians(d - b) / 2), 2))))";

fn main() -> vatic::Result<()> {
    let dir = tempfile::tempdir().expect("there is a temporary directory");
    let [weigh, logistic] = [("weigh.rs", CHEAP), ("logistic.rs", LOGISTIC)].map(|(name, text)| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("the temporary directory can be written");
        path
    });
    let haversine = Path::new(env!("CARGO_MANIFEST_DIR")).join("udfs/haversine");
    let epoch = EpochContext { time: 0, models: Arc::new(View::new(Snapshot::empty(), Default::default())) };
    let cell = EpochCell::new(epoch);
    let context = SessionContext::new();
    let limits = Limits { on_error: OnError::Error, group_rows: 1, type_name: sql_type };
    for path in [&weigh, &logistic, &haversine] {
        let version = Version::open(path, path)?;
        let function = Function::new(&version.signature.name.clone(), version);
        if let Callable::Scalar(udf) = Callable::of(Bound::new(&function, &cell, limits)) {
            context.register_udf(udf);
        }
    }
    let column = |shift: f64| Arc::new((0..ROWS).map(|i| (i as f64 + shift) % 90.0).collect::<Float64Array>()) as ArrayRef;
    let columns = [("a", column(0.5)), ("b", column(7.0)), ("c", column(31.0)), ("d", column(60.25))];
    let batch = RecordBatch::try_from_iter(columns).expect("the columns are of one length");
    let schema = DFSchema::try_from(batch.schema())?;
    let median = |sql: &str| -> vatic::Result<Duration> {
        let expr = context.parse_sql_expr(sql, &schema)?;
        let expr = context.create_physical_expr(expr, &schema)?;
        let mut took = Vec::new();
        for _ in 0..5_000 {
            let started = Instant::now();
            std::hint::black_box(expr.evaluate(&batch)?);
            took.push(started.elapsed());
        }
        took.sort();
        Ok(took[took.len() / 2])
    };
    println!("{:<12} {:>14} {:>14} {:>7}", "expression", "function ns", "built in ns", "ratio");
    for (name, own, built_in) in [
        ("a * b + 1", "weigh(a, b)", "a * b + 1.0"),
        ("logistic", "logistic(a, b)", "1.0 / (1.0 + exp(-(0.03 * a - 0.02 * b + 0.5)))"),
        ("haversine", "haversine(a, b, c, d)", HAVERSINE),
    ] {
        let (own, built_in) = (median(own)?, median(built_in)?);
        let ratio = own.as_secs_f64() / built_in.as_secs_f64();
        println!("{name:<12} {:>14} {:>14} {ratio:>7.2}", own.as_nanos(), built_in.as_nanos());
    }
    Ok(())
}
