//! Records that are JSON objects.   text ─► scan ─► node ─► columns;   columns ─► encode ─► text
//!
//! Field names are matched exactly; a missing field is NULL, an unknown one is passed over, a value of another type makes the
//! record bad; only the columns of `json.mixed` take any. Decoding is our own: arrow-json coerces (`docs/reference/json.md` lists where), stops a whole batch at one bad
//! value, and is four times slower. Encoding is arrow-json's, with SQL's texts.

mod decode;
mod encode;
mod node;
mod scan;
#[cfg(test)]
mod tests;

use arrow::datatypes::SchemaRef;
use serde_json::{Map, Value};

use super::infer::{AnyKind, Guess, MIXED};
use super::{Decoder, Encoder, Format, Inferred, project};
use crate::config::{OptionSpec, Options};
use crate::error::{Error, Result};

pub(super) use encode::write_base64;

/// `format = 'json'`.
#[derive(Debug)]
pub struct Json;

/// The options of the format.
const OPTIONS: &[OptionSpec] = &[OptionSpec {
    name: MIXED,
    values: "names of columns, separated by commas; * for all",
    default: "",
    doc: "The columns in which a VARCHAR takes values of any kind: a string as it is, others as their JSON text.",
}];

/// The names of the fields of all JSON objects among `values`, in the order in which they come.
#[must_use]
pub fn field_names<'v>(values: impl Iterator<Item = &'v [u8]>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for object in values.filter_map(|value| serde_json::from_slice::<Map<String, Value>>(value).ok()) {
        for (position, (name, _)) in object.into_iter().enumerate() {
            // Nearly always at the place where it was before.
            if names.get(position) != Some(&name) && !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

impl Format for Json {
    fn name(&self) -> &'static str {
        "json"
    }
    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }
    fn decoder(&self, schema: SchemaRef, projection: &[usize], options: &Options) -> Result<Box<dyn Decoder>> {
        Ok(Box::new(decode::JsonDecoder::new(&project(&schema, projection)?, &AnyKind::of(options))?))
    }
    fn encoder(&self, schema: SchemaRef, _options: &Options) -> Result<Box<dyn Encoder>> {
        Ok(Box::new(encode::JsonEncoder::new(&schema)?))
    }
    fn infer(&self, values: &[&[u8]], options: &Options) -> Result<Inferred> {
        let mut guess = Guess::Nothing;
        let mut first_error = None;
        for (index, value) in values.iter().enumerate() {
            match serde_json::from_slice(value) {
                Ok(serde_json::Value::Object(object)) => guess = guess.merge(Guess::of_object(&object)),
                Ok(_) => drop(first_error.get_or_insert((index, "it is JSON, but not an object".to_owned()))),
                Err(error) => drop(first_error.get_or_insert((index, error.to_string()))),
            }
        }
        match (guess, first_error) {
            (Guess::Struct(fields), _) => Ok(Inferred::of_objects(fields, &AnyKind::of(options))),
            (_, Some((index, why))) => {
                let error = Error::data(format!("none of {} values is a JSON object; value {index}: {why}", values.len()));
                Err(error.hint("Declare the columns, or name another format: csv or raw."))
            }
            (_, None) => Err(Error::data("there is no value to infer columns from").hint("Declare the columns.")),
        }
    }
}
