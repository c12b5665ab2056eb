//! Rows that nobody sent, for a model to be tried with.
//!
//! Numbers are uneven: not random, and the same in every process. A category has to be one that the model knows, or all
//! rows would be alike: so what encoders of the graph look their inputs up in is what these inputs get.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use tract_onnx::pb::{GraphProto, NodeProto};

use super::super::Input;
use super::super::inspect;
use super::operators::attribute;
use super::signature;

/// The most categories of an input that are used.
const MOST: usize = 64;

/// What encoders know of one input.
#[derive(Debug, Default)]
struct Categories {
    texts: Vec<String>,
    integers: Vec<i64>,
}

/// `rows` rows of each input of a graph.
///
/// # Errors
/// If an input's type is none that a signature has.
pub(super) fn rows(graph: &GraphProto, inputs: &[Input], rows: usize) -> Result<Vec<ArrayRef>, ArrowError> {
    let mut users: HashMap<&str, Vec<&NodeProto>> = HashMap::new();
    for node in &graph.node {
        for input in &node.input {
            users.entry(input).or_default().push(node);
        }
    }
    inputs.iter().map(|input| column(&users, input, rows)).collect()
}

fn column(users: &HashMap<&str, Vec<&NodeProto>>, input: &Input, rows: usize) -> Result<ArrayRef, ArrowError> {
    let plain = inspect::made_up(input, rows)?;
    let mut known = Categories::default();
    let only_encoded = collect(users, &input.name, 0, &mut known);
    let many = rows * input.width;
    let uneven = (0..many as u64).map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as usize);
    let values: ArrayRef = match &input.data_type {
        DataType::Utf8 if !known.texts.is_empty() => {
            // One that is unknown is among them.
            known.texts.push(String::new());
            std::sync::Arc::new(uneven.map(|n| known.texts.get(n % known.texts.len())).collect::<StringArray>())
        }
        // An integer may be an index too, and then a category is out of range.
        kind if kind.is_numeric() && only_encoded && !known.integers.is_empty() => {
            let integers = uneven.map(|n| known.integers.get(n % known.integers.len()).copied()).collect::<Int64Array>();
            let cast = cast(&integers, kind)?;
            if cast.null_count() > 0 {
                return Ok(plain);
            }
            cast
        }
        _ => return Ok(plain),
    };
    match plain.data_type() {
        DataType::FixedSizeList(field, width) => {
            let nulls = plain.as_fixed_size_list().nulls().cloned();
            let list = arrow::array::FixedSizeListArray::try_new(field.clone(), *width, values, nulls)?;
            Ok(std::sync::Arc::new(list))
        }
        _ => Ok(values),
    }
}

/// Gathers what encoders know of `name`; whether nothing else uses it.
fn collect(users: &HashMap<&str, Vec<&NodeProto>>, name: &str, depth: usize, known: &mut Categories) -> bool {
    let Some(users_of_name) = users.get(name).filter(|_| depth < 20) else { return false };
    let mut only = true;
    for node in users_of_name {
        only &= match node.op_type.as_str() {
            "OneHotEncoder" | "LabelEncoder" | "CategoryMapper" => {
                keys(node, known);
                true
            }
            "Cast"
            | "Concat"
            | "Flatten"
            | "Identity"
            | "Reshape"
            | "Slice"
            | "Split"
            | "Squeeze"
            | "Transpose"
            | "Unsqueeze"
            | "ArrayFeatureExtractor"
            | "Gather"
                if node.input.iter().skip(1).all(|i| i != name) || node.op_type == "Concat" =>
            {
                // Every output, and each of them asked.
                node.output.iter().filter(|output| !collect(users, output, depth + 1, known)).count() == 0
            }
            _ => false,
        };
    }
    only
}

/// The keys that a node looks up.
fn keys(node: &NodeProto, known: &mut Categories) {
    for name in ["cats_strings", "keys_strings", "classes_strings"] {
        let texts = attribute(node, name).map_or(&[][..], |a| &a.strings);
        let room = MOST.saturating_sub(known.texts.len());
        known.texts.extend(texts.iter().take(room).map(|text| String::from_utf8_lossy(text).into_owned()));
    }
    for name in ["cats_int64s", "keys_int64s"] {
        let integers = attribute(node, name).map_or(&[][..], |a| &a.ints);
        let room = MOST.saturating_sub(known.integers.len());
        known.integers.extend(integers.iter().take(room));
    }
    for key in attribute(node, "keys_tensor").and_then(|a| a.t.as_ref()).map(signature::texts).unwrap_or_default() {
        match key.parse() {
            Ok(integer) if known.integers.len() < MOST => known.integers.push(integer),
            Err(_) if known.texts.len() < MOST => known.texts.push(key),
            _ => {}
        }
    }
}
