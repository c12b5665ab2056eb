//! Answers: from a scorer's outputs to what `score`, `classify` and `predict` return.
//!
//! | kind | `score` DOUBLE | `classify` VARCHAR |
//! |---|---|---|
//! | regression | the value (the first of several) | refused |
//! | two classes | probability of the second | the class |
//! | more classes | probability of the predicted one | the class |
//! | anomaly | the decision score | the label, `1` or `-1` |
//! | clustering | distance to the chosen cluster | the cluster |
//!
//! A model that gives probabilities and no label predicts the class with the largest, the first of equals; one that names
//! no classes has `0`, `1`, ... for names. [`score_batch`] is the whole way for a batch: features, scorer, answers; if the
//! model fails, it is run on halves until the rows that it fails on are known.

use std::ops::Range;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeListArray, Float64Array, Int64Array, ListArray, MapArray, StringArray,
    StructArray, UInt32Array, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{cast, concat, nullif, take};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Float64Type};
use arrow::error::ArrowError;

use super::features::Binding;
use super::{Function, Kind, Loaded, ModelError, Signature, guard};

/// Which version answers: what `predict` tells about it.
#[derive(Debug, Clone, Copy)]
pub struct ModelIdentity<'a> {
    /// The model's name.
    pub name: &'a str,
    /// Its version.
    pub version: u64,
    /// The hash of its bytes, in hex.
    pub sha256: &'a str,
    /// Where its descriptor lies on the model topic.
    pub offset: i64,
}

impl ModelIdentity<'_> {
    /// `name:version`, as errors have it.
    #[must_use]
    pub fn reference(&self) -> String {
        format!("{}:{}", self.name, self.version)
    }
}

/// What `function` returns.
#[must_use]
pub fn return_type(function: Function) -> DataType {
    match function {
        Function::Score => DataType::Float64,
        Function::Classify => DataType::Utf8,
        Function::Predict => predict_type(),
    }
}

/// What `predict` returns: `STRUCT<score DOUBLE, label VARCHAR, probabilities MAP<VARCHAR, DOUBLE>, outputs MAP<VARCHAR,
/// DOUBLE[]>, model VARCHAR, version BIGINT, sha256 VARCHAR, registry_offset BIGINT>`.
#[must_use]
pub fn predict_type() -> DataType {
    DataType::Struct(PREDICTION.clone())
}

static PREDICTION: LazyLock<Fields> = LazyLock::new(|| {
    let map = |value: DataType| DataType::Map(entries(value), false);
    Fields::from(vec![
        Field::new("score", DataType::Float64, true),
        Field::new("label", DataType::Utf8, true),
        Field::new("probabilities", map(DataType::Float64), true),
        Field::new("outputs", map(DataType::List(item())), true),
        Field::new("model", DataType::Utf8, true),
        Field::new("version", DataType::Int64, true),
        Field::new("sha256", DataType::Utf8, true),
        Field::new("registry_offset", DataType::Int64, true),
    ])
});

/// The element of a list of DOUBLE.
fn item() -> FieldRef {
    Arc::new(Field::new_list_field(DataType::Float64, true))
}

/// The entries of a map from VARCHAR.
fn entries(value: DataType) -> FieldRef {
    let fields = Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", value, true)]);
    Arc::new(Field::new("entries", DataType::Struct(fields), false))
}

/// Whether `function` means something on a model; to be asked when a query is planned.
///
/// # Errors
/// `Features` for `classify` on a model without classes, and for `score` on one that only gives labels.
pub fn check(model: &str, function: Function, signature: &Signature) -> Result<(), ModelError> {
    let wrong = |difference: &str, hint: &str| {
        let (model, difference, hint) = (model.to_owned(), difference.to_owned(), hint.to_owned());
        Err(ModelError::Features { model, difference, hint, argument: None })
    };
    match (function, signature.kind) {
        (Function::Classify, Kind::Regression { .. } | Kind::Anomaly { label: None, .. }) => {
            wrong("has no classes", "Use score(...), or predict(...), which works on every model.")
        }
        (Function::Score, Kind::Classification { probabilities: None, .. }) => {
            wrong("gives no probabilities", "Use classify(...), or predict(...), which works on every model.")
        }
        _ => Ok(()),
    }
}

/// The answer of `function` for all rows of `outputs`, which are as [`super::Scorer::score`] returned them; NULL where
/// `nulls` says so.
///
/// # Errors
/// `Run` if the outputs are not those of the signature.
pub fn answer(
    function: Function,
    model: &ModelIdentity,
    signature: &Signature,
    outputs: &[ArrayRef],
    nulls: Option<&NullBuffer>,
) -> Result<ArrayRef, ModelError> {
    let array = match function {
        Function::Score => scores(signature, outputs).map(|a| Arc::new(a) as ArrayRef),
        Function::Classify => labels(signature, outputs).map(|a| Arc::new(a) as ArrayRef),
        Function::Predict => predictions(model, signature, outputs, nulls),
    };
    array.and_then(|a| masked(a, nulls)).map_err(|e| ModelError::Run { model: model.reference(), reason: e.to_string() })
}

pub(super) fn masked(array: ArrayRef, nulls: Option<&NullBuffer>) -> Result<ArrayRef, ArrowError> {
    match nulls {
        Some(nulls) if nulls.null_count() > 0 => nullif(&array, &BooleanArray::new(!nulls.inner(), None)),
        _ => Ok(array),
    }
}

fn output(outputs: &[ArrayRef], index: usize) -> Result<&ArrayRef, ArrowError> {
    outputs.get(index).ok_or_else(|| ArrowError::InvalidArgumentError(format!("the model gave no output {index}")))
}

/// An output's numbers as DOUBLE, and how many a row has.
pub(super) fn numbers(array: &ArrayRef) -> Result<(Float64Array, usize), ArrowError> {
    let (values, width) = match array.as_fixed_size_list_opt() {
        Some(list) => (list.values().clone(), usize::try_from(list.value_length()).unwrap_or(0)),
        None => (array.clone(), 1),
    };
    Ok((cast(&values, &DataType::Float64)?.as_primitive::<Float64Type>().clone(), width))
}

/// What `score` returns for each row; NULL where the model gives no such number.
///
/// # Errors
/// If the outputs are not those of the signature.
pub fn scores(signature: &Signature, outputs: &[ArrayRef]) -> Result<Float64Array, ArrowError> {
    let rows = outputs.first().map_or(0, |o| o.len());
    match signature.kind {
        Kind::Regression { value } | Kind::Anomaly { value, .. } => {
            let (values, width) = numbers(output(outputs, value)?)?;
            Ok(if width == 1 { values } else { every(&values, width, |_| 0) })
        }
        Kind::Classification { probabilities: None, .. } | Kind::Clustering { distances: None, .. } => {
            Ok(Float64Array::new_null(rows))
        }
        Kind::Classification { probabilities: Some(index), .. } => {
            let (values, width) = numbers(output(outputs, index)?)?;
            match width {
                1 => Ok(values),
                2 => Ok(every(&values, 2, |_| 1)),
                _ => {
                    let predicted = predicted(signature, outputs)?;
                    Ok(every(&values, width, |row| predicted[row] as usize))
                }
            }
        }
        Kind::Clustering { label, distances: Some(index) } => {
            let (values, width) = numbers(output(outputs, index)?)?;
            let (clusters, _) = numbers(output(outputs, label)?)?;
            let chosen = |row: usize| clusters.value(row) as usize;
            let known = (0..rows).map(|row| (chosen(row) < width).then(|| values.value(row * width + chosen(row))));
            Ok(known.collect())
        }
    }
}

/// One number of each row.
pub(super) fn every(values: &Float64Array, width: usize, which: impl Fn(usize) -> usize) -> Float64Array {
    let rows = values.values().chunks_exact(width);
    rows.enumerate().map(|(row, numbers)| numbers.get(which(row)).copied()).collect()
}

/// The index of each row's class among the probabilities: that of the label, else that of the largest.
fn predicted(signature: &Signature, outputs: &[ArrayRef]) -> Result<Vec<u32>, ArrowError> {
    let Kind::Classification { label, probabilities: Some(probabilities) } = signature.kind else {
        return Err(ArrowError::InvalidArgumentError("the model gives no probabilities".to_owned()));
    };
    let (values, width) = numbers(output(outputs, probabilities)?)?;
    let rows = values.values().chunks_exact(width.max(1));
    let largest = |row: &[f64]| {
        let best =
            row.iter().enumerate().fold((0, f64::NEG_INFINITY), |best, (i, p)| if *p > best.1 { (i, *p) } else { best });
        best.0 as u32
    };
    let Some(label) = label.filter(|_| signature.classes.len() == width) else { return Ok(rows.map(largest).collect()) };
    let labels = output(outputs, label)?;
    let index = |class: &str| signature.classes.iter().position(|c| c == class).map(|i| i as u32);
    if let Some(labels) = labels.as_string_opt::<i32>() {
        let known = |i: usize, row: &[f64]| {
            labels.is_valid(i).then(|| index(labels.value(i))).flatten().unwrap_or_else(|| largest(row))
        };
        return Ok(rows.enumerate().map(|(i, row)| known(i, row)).collect());
    }
    // Labels that are numbers are compared as numbers.
    let labels = cast(labels, &DataType::Int64)?;
    let labels = labels.as_primitive::<arrow::datatypes::Int64Type>();
    let classes: Vec<Option<i64>> = signature.classes.iter().map(|c| c.parse().ok()).collect();
    let index = |class: i64| classes.iter().position(|c| *c == Some(class)).map(|i| i as u32);
    Ok(rows.zip(labels.values()).map(|(row, label)| index(*label).unwrap_or_else(|| largest(row))).collect())
}

/// The name of class `index`.
pub(super) fn class_name(signature: &Signature, index: usize) -> String {
    signature.classes.get(index).cloned().unwrap_or_else(|| index.to_string())
}

/// What `classify` returns for each row; NULL on a model without classes.
///
/// # Errors
/// If the outputs are not those of the signature.
pub fn labels(signature: &Signature, outputs: &[ArrayRef]) -> Result<StringArray, ArrowError> {
    let label = match signature.kind {
        Kind::Classification { label, .. } | Kind::Anomaly { label, .. } => label,
        Kind::Clustering { label, .. } => Some(label),
        Kind::Regression { .. } => None,
    };
    if let Some(label) = label {
        return Ok(cast(output(outputs, label)?, &DataType::Utf8)?.as_string::<i32>().clone());
    }
    let Kind::Classification { probabilities: Some(probabilities), .. } = signature.kind else {
        return Ok(StringArray::new_null(outputs.first().map_or(0, |o| o.len())));
    };
    let (_, width) = numbers(&output(outputs, probabilities)?.slice(0, 0))?;
    let names: StringArray = (0..width).map(|i| Some(class_name(signature, i))).collect();
    let chosen = UInt32Array::from(predicted(signature, outputs)?);
    Ok(take(&names, &chosen, None)?.as_string::<i32>().clone())
}

/// Each row's probabilities by class; `None` on a model that gives no row of them.
fn probabilities(signature: &Signature, outputs: &[ArrayRef]) -> Result<Option<MapArray>, ArrowError> {
    let Kind::Classification { probabilities: Some(index), .. } = signature.kind else { return Ok(None) };
    let (values, width) = numbers(output(outputs, index)?)?;
    if width < 2 {
        return Ok(None);
    }
    let rows = values.len() / width;
    let names: StringArray = (0..width).map(|i| Some(class_name(signature, i))).collect();
    let order: UInt32Array = (0..rows).flat_map(|_| 0..width as u32).collect();
    let keys = take(&names, &order, None)?;
    map(keys, Arc::new(values), width, rows).map(Some)
}

/// A map per row, each of `each` entries.
fn map(keys: ArrayRef, values: ArrayRef, each: usize, rows: usize) -> Result<MapArray, ArrowError> {
    let field = entries(values.data_type().clone());
    let DataType::Struct(fields) = field.data_type().clone() else {
        return Err(ArrowError::SchemaError("a map's entries are a struct".to_owned()));
    };
    let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(each, rows));
    MapArray::try_new(field, offsets, StructArray::try_new(fields, vec![keys, values], None)?, None, false)
}

/// Each row's outputs by name, as lists of DOUBLE; outputs that are not numbers are left out.
fn all_outputs(signature: &Signature, outputs: &[ArrayRef]) -> Result<MapArray, ArrowError> {
    let rows = outputs.first().map_or(0, |o| o.len());
    let mut names = vec![];
    let mut columns = vec![];
    for (output, array) in signature.outputs.iter().zip(outputs) {
        let element = match array.data_type() {
            DataType::FixedSizeList(field, _) => field.data_type(),
            scalar => scalar,
        };
        if element.is_numeric() || *element == DataType::Boolean {
            names.push(output.name.as_str());
            columns.push(numbers(array)?);
        }
    }
    let row_width: usize = columns.iter().map(|(_, width)| *width).sum();
    let mut values = Vec::with_capacity(rows * row_width);
    for row in 0..rows {
        for (numbers, width) in &columns {
            values.extend_from_slice(&numbers.values()[row * width..(row + 1) * width]);
        }
    }
    let lengths = (0..rows).flat_map(|_| columns.iter().map(|(_, width)| *width));
    let lists = ListArray::try_new(item(), OffsetBuffer::from_lengths(lengths), Arc::new(Float64Array::from(values)), None)?;
    let order: UInt32Array = (0..rows).flat_map(|_| 0..names.len() as u32).collect();
    let keys = take(&StringArray::from(names.clone()), &order, None)?;
    map(keys, Arc::new(lists), names.len(), rows)
}

fn predictions(
    model: &ModelIdentity,
    signature: &Signature,
    outputs: &[ArrayRef],
    nulls: Option<&NullBuffer>,
) -> Result<ArrayRef, ArrowError> {
    let rows = outputs.first().map_or(0, |o| o.len());
    let text = |value: &str| Arc::new(StringArray::from_iter_values(std::iter::repeat_n(value, rows))) as ArrayRef;
    let number = |value: i64| Arc::new(Int64Array::from_value(value, rows)) as ArrayRef;
    let probabilities: ArrayRef = match probabilities(signature, outputs)? {
        Some(map) => Arc::new(map),
        None => new_null_array(PREDICTION[2].data_type(), rows),
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(scores(signature, outputs)?),
        Arc::new(labels(signature, outputs)?),
        probabilities,
        Arc::new(all_outputs(signature, outputs)?),
        text(model.name),
        number(i64::try_from(model.version).unwrap_or(i64::MAX)),
        text(model.sha256),
        number(model.offset),
    ];
    // A field taken out of a NULL struct must be NULL too, also for readers that do not look at the struct's own nulls.
    let columns = columns.into_iter().map(|c| masked(c, nulls)).collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(StructArray::try_new(PREDICTION.clone(), columns, None)?))
}

/// The answers for a batch.
#[derive(Debug)]
pub struct Scored {
    /// One array per function asked for, in that order; NULL where a feature is NULL or the row failed.
    pub answers: Vec<ArrayRef>,
    /// The rows that have no answer because of an error, in row order.
    pub failures: Vec<(usize, ModelError)>,
}

/// Scores a batch once, for all of `functions`. `args` are the arguments that `binding` was made for.
///
/// # Errors
/// Only what concerns the whole batch; what concerns a row is in [`Scored::failures`].
pub fn score_batch(
    loaded: &Loaded,
    model: &ModelIdentity,
    binding: &Binding,
    functions: &[Function],
    args: &[ArrayRef],
) -> Result<Scored, ModelError> {
    let ran = run_batch(loaded, model, binding, args)?;
    let rows = args.first().map_or(0, |a| a.len());
    if rows > 0 && ran.nulls.as_ref().is_some_and(|n| n.null_count() == rows) {
        let answers = functions.iter().map(|f| new_null_array(&return_type(*f), rows)).collect();
        return Ok(Scored { answers, failures: ran.failures });
    }
    let answers = functions
        .iter()
        .map(|f| answer(*f, model, &loaded.signature, &ran.outputs, ran.nulls.as_ref()))
        .collect::<Result<_, _>>()?;
    Ok(Scored { answers, failures: ran.failures })
}

/// What a model said of a batch.
#[derive(Debug)]
pub struct Ran {
    /// One array per output of the signature; what stands in a row that has no answer means nothing.
    pub outputs: Vec<ArrayRef>,
    /// The rows that have no answer.
    pub nulls: Option<NullBuffer>,
    /// The rows that have none because of an error, in row order.
    pub failures: Vec<(usize, ModelError)>,
}

/// Runs a model on a batch: what [`score_batch`] does before it makes answers of the outputs.
///
/// # Errors
/// Only what concerns the whole batch.
pub fn run_batch(loaded: &Loaded, model: &ModelIdentity, binding: &Binding, args: &[ArrayRef]) -> Result<Ran, ModelError> {
    let columns = binding.columns(args)?;
    let rows = args.first().map_or(0, |a| a.len());
    if rows > 0 && columns.nulls.as_ref().is_some_and(|n| n.null_count() == rows) {
        let failures = columns.failed.into_iter().map(|(row, reason)| (row, run(model, reason))).collect();
        let outputs = loaded.signature.outputs.iter().map(|o| placeholder(&o.data_type, rows)).collect();
        return Ok(Ran { outputs, nulls: columns.nulls, failures });
    }
    let mut pieces = vec![];
    let mut failures: Vec<(usize, ModelError)> = vec![];
    halves(loaded, model, &columns.inputs, 0..rows, &mut pieces, &mut failures);
    let outputs = match pieces.len() {
        1 => pieces.remove(0),
        _ => joined(&loaded.signature, &pieces).map_err(|e| run(model, e.to_string()))?,
    };
    // A row without features was run on placeholders: that the model refuses these says nothing.
    failures.retain(|(row, _)| columns.nulls.as_ref().is_none_or(|n| n.is_valid(*row)));
    let failed_in_model = !failures.is_empty();
    failures.extend(columns.failed.into_iter().map(|(row, reason)| (row, run(model, reason))));
    failures.sort_by_key(|(row, _)| *row);
    let nulls = if failed_in_model {
        let mut good = vec![true; rows];
        failures.iter().for_each(|(row, _)| good[*row] = false);
        NullBuffer::union(columns.nulls.as_ref(), Some(&NullBuffer::from(good)))
    } else {
        columns.nulls
    };
    Ok(Ran { outputs, nulls, failures })
}

fn run(model: &ModelIdentity, reason: String) -> ModelError {
    ModelError::Run { model: model.reference(), reason }
}

/// Scores `rows`; if that fails, each half by itself. Every piece of output covers the rows behind those before it.
fn halves(
    loaded: &Loaded,
    model: &ModelIdentity,
    inputs: &[ArrayRef],
    rows: Range<usize>,
    pieces: &mut Vec<Vec<ArrayRef>>,
    failures: &mut Vec<(usize, ModelError)>,
) {
    let part: Vec<ArrayRef> = inputs.iter().map(|i| i.slice(rows.start, rows.len())).collect();
    let scored = guard(|| loaded.scorer.score(&part, rows.len())).unwrap_or_else(|panic| Err(run(model, panic)));
    let complete = |outputs: &Vec<ArrayRef>| {
        outputs.len() == loaded.signature.outputs.len() && outputs.iter().all(|o| o.len() == rows.len())
    };
    let reason = match scored {
        Ok(outputs) if complete(&outputs) => return pieces.push(outputs),
        Ok(_) => "it did not give one result per row".to_owned(),
        Err(ModelError::Run { reason, .. }) => reason,
        Err(other) => other.to_string(),
    };
    if rows.len() > 1 {
        let middle = rows.start + rows.len() / 2;
        halves(loaded, model, inputs, rows.start..middle, pieces, failures);
        halves(loaded, model, inputs, middle..rows.end, pieces, failures);
        return;
    }
    let nothing = loaded.signature.outputs.iter().map(|o| placeholder(&o.data_type, rows.len())).collect();
    pieces.push(nothing);
    failures.extend(rows.map(|row| (row, run(model, reason.clone()))));
}

/// Rows that will be masked: NULL, with as many elements per row as the type says.
fn placeholder(data_type: &DataType, rows: usize) -> ArrayRef {
    match data_type {
        DataType::FixedSizeList(field, width) => {
            let values = new_null_array(field.data_type(), rows * usize::try_from(*width).unwrap_or(0));
            let list = FixedSizeListArray::try_new(field.clone(), *width, values, None);
            list.map_or_else(|_| new_null_array(data_type, rows), |list| Arc::new(list) as ArrayRef)
        }
        scalar => new_null_array(scalar, rows),
    }
}

fn joined(signature: &Signature, pieces: &[Vec<ArrayRef>]) -> Result<Vec<ArrayRef>, ArrowError> {
    (0..signature.outputs.len())
        .map(|output| concat(&pieces.iter().map(|piece| piece[output].as_ref()).collect::<Vec<&dyn Array>>()))
        .collect()
}

#[cfg(test)]
mod tests;
