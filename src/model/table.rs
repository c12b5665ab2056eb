//! The table `models`: one row per version.   registry ─► [`models_batch`]
//!
//! The first columns say what the model topic says, and are the same in every process; the others (`status`, `inputs`,
//! `outputs`, `live_since`, `rows`, `errors`, `p50_us`, `p99_us`, `error`) say what this process made of the version. What
//! was not used here has NULL there. Sizes are bytes, times milliseconds since the Unix epoch (UTC), latencies microseconds
//! per batch call. Call [`Registry::load_all`] first: a version that nobody looked at has no status yet.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;

use super::registry::{Registry, VersionInfo};
use super::{Input, Output};
use crate::error::{Error, Result};

/// The table's columns.
#[must_use]
pub fn models_schema() -> SchemaRef {
    let time = || DataType::Timestamp(TimeUnit::Millisecond, None);
    Arc::new(Schema::new(vec![
        Field::new("name", DataType::Utf8, false),
        Field::new("version", DataType::Int64, false),
        Field::new("format", DataType::Utf8, true),
        Field::new("size", DataType::Int64, true),
        Field::new("sha256", DataType::Utf8, true),
        Field::new("description", DataType::Utf8, true),
        Field::new("published_at", time(), true),
        Field::new("offset", DataType::Int64, false),
        Field::new("status", DataType::Utf8, false),
        Field::new("inputs", DataType::Utf8, true),
        Field::new("outputs", DataType::Utf8, true),
        Field::new("live_since", time(), true),
        Field::new("rows", DataType::Int64, true),
        Field::new("errors", DataType::Int64, true),
        Field::new("p50_us", DataType::Float64, true),
        Field::new("p99_us", DataType::Float64, true),
        Field::new("error", DataType::Utf8, true),
    ]))
}

/// The table as it is now, by name and version.
///
/// # Errors
/// `Internal`, if a column were not what the schema says.
pub fn models_batch(registry: &Registry) -> Result<RecordBatch> {
    let versions = registry.versions();
    let text =
        |f: &dyn Fn(&VersionInfo) -> Option<String>| Arc::new(StringArray::from_iter(versions.iter().map(f))) as ArrayRef;
    let number = |f: &dyn Fn(&VersionInfo) -> Option<u64>| {
        Arc::new(Int64Array::from_iter(versions.iter().map(|v| f(v).map(signed)))) as ArrayRef
    };
    let time = |f: &dyn Fn(&VersionInfo) -> Option<i64>| {
        Arc::new(TimestampMillisecondArray::from_iter(versions.iter().map(f))) as ArrayRef
    };
    let float =
        |f: &dyn Fn(&VersionInfo) -> Option<f64>| Arc::new(Float64Array::from_iter(versions.iter().map(f))) as ArrayRef;
    let used = |v: &VersionInfo, value: u64| v.stats.used().then_some(value);
    let columns = vec![
        text(&|v| Some(v.name.to_string())),
        number(&|v| Some(v.version)),
        text(&|v| v.format.clone()),
        number(&|v| v.size),
        text(&|v| v.sha256.clone()),
        text(&|v| Some(v.description.clone()).filter(|d| !d.is_empty())),
        time(&|v| v.published_at),
        number(&|v| u64::try_from(v.offset).ok()),
        text(&|v| Some(v.status.as_str().to_owned())),
        text(&|v| v.signature.as_ref().map(|s| list(s.inputs.iter().map(input_text)))),
        text(&|v| v.signature.as_ref().map(|s| list(s.outputs.iter().map(output_text)))),
        time(&|v| v.stats.live_since),
        number(&|v| used(v, v.stats.rows)),
        number(&|v| used(v, v.stats.errors)),
        float(&|v| v.stats.p50_us),
        float(&|v| v.stats.p99_us),
        text(&|v| v.error.as_ref().map(ToString::to_string)),
    ];
    RecordBatch::try_new(models_schema(), columns).map_err(|e| Error::internal(format!("table \"models\": {e}")))
}

/// SQL's BIGINT has a sign.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn list(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

fn named(name: &str, type_name: &str) -> String {
    format!("{name} {type_name}")
}

/// `amount FLOAT`; a tensor of width 11: `x FLOAT[11]`, of 28 by 28: `x FLOAT[28][28]`.
#[must_use]
pub fn input_text(input: &Input) -> String {
    let dimensions: String = match input.shape.as_slice() {
        [] if input.width == 1 => String::new(),
        [] => format!("[{}]", input.width),
        shape => shape.iter().map(|n| format!("[{n}]")).collect(),
    };
    named(&input.name, &format!("{}{dimensions}", type_name(&input.data_type)))
}

/// `label BIGINT`, `probabilities FLOAT[3]`.
#[must_use]
pub fn output_text(output: &Output) -> String {
    named(&output.name, &type_name(&output.data_type))
}

/// A type as SQL names it.
#[must_use]
pub fn type_name(data_type: &DataType) -> String {
    let name = match data_type {
        DataType::Boolean => "BOOLEAN",
        DataType::Int8 => "TINYINT",
        DataType::Int16 => "SMALLINT",
        DataType::Int32 => "INT",
        DataType::Int64 => "BIGINT",
        DataType::UInt8 => "TINYINT UNSIGNED",
        DataType::UInt16 => "SMALLINT UNSIGNED",
        DataType::UInt32 => "INT UNSIGNED",
        DataType::UInt64 => "BIGINT UNSIGNED",
        DataType::Float16 | DataType::Float32 => "FLOAT",
        DataType::Float64 => "DOUBLE",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "VARCHAR",
        DataType::FixedSizeList(element, n) => return format!("{}[{n}]", type_name(element.data_type())),
        DataType::List(element) => return format!("{}[]", type_name(element.data_type())),
        other => return other.to_string(),
    };
    name.to_owned()
}
