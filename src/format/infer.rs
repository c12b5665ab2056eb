//! What the first records of a topic suggest: the narrowest type that holds all values seen.   value ─► [`Guess`] ─► Field
//!
//! Two guesses merge to the narrowest that holds both: BIGINT and DOUBLE to DOUBLE, structs field by field, anything else that
//! differs to VARCHAR. NULL fits all; what was only NULL becomes VARCHAR. Every field is nullable.

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use serde_json::{Map, Value};

use super::text::{Number, read_date, read_timestamp};

/// A type, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Guess {
    /// Only NULL, or nothing, was seen.
    Nothing,
    Boolean,
    Bigint,
    Double,
    Date,
    /// With the finest unit seen, at least milliseconds.
    Timestamp(TimeUnit),
    Text,
    Array(Box<Guess>),
    /// Fields in the order they were first seen in.
    Struct(Vec<(String, Guess)>),
}

impl Guess {
    /// Of a JSON value.
    pub(super) fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Nothing,
            Value::Bool(_) => Self::Boolean,
            Value::Number(number) if number.is_i64() => Self::Bigint,
            Value::Number(_) => Self::Double,
            Value::String(text) => Self::of_text(text),
            Value::Array(items) => Self::Array(Box::new(items.iter().map(Self::of).fold(Self::Nothing, Self::merge))),
            Value::Object(object) => Self::of_object(object),
        }
    }
    /// Of a JSON object.
    pub(super) fn of_object(object: &Map<String, Value>) -> Self {
        Self::Struct(object.iter().map(|(name, value)| (name.clone(), Self::of(value))).collect())
    }
    /// Of a CSV field that is not NULL.
    pub(super) fn of_field(field: &str) -> Self {
        if field.eq_ignore_ascii_case("true") || field.eq_ignore_ascii_case("false") {
            return Self::Boolean;
        }
        match Number::whole(field) {
            // Postcodes and card numbers keep their zeros.
            Some(number) if number.integer && number.digits > 1 && field.trim_start_matches(['+', '-']).starts_with('0') => {
                Self::Text
            }
            Some(number) if number.integer => match number.to_integer().map(i64::try_from) {
                Ok(Ok(_)) => Self::Bigint,
                _ => Self::Text,
            },
            Some(number) if number.to_f64().is_ok() => Self::Double,
            _ => Self::of_text(field),
        }
    }
    fn of_text(text: &str) -> Self {
        match read_timestamp(text) {
            Some(moment) if moment.digits <= 3 => Self::Timestamp(TimeUnit::Millisecond),
            Some(moment) if moment.digits <= 6 => Self::Timestamp(TimeUnit::Microsecond),
            Some(_) => Self::Timestamp(TimeUnit::Nanosecond),
            None if read_date(text).is_some() => Self::Date,
            None => Self::Text,
        }
    }
    /// The narrowest guess that holds both.
    pub(super) fn merge(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, guess) | (guess, Self::Nothing) => guess,
            (Self::Bigint, Self::Double) | (Self::Double, Self::Bigint) => Self::Double,
            (Self::Timestamp(a), Self::Timestamp(b)) => Self::Timestamp(a.max(b)),
            (Self::Array(a), Self::Array(b)) => Self::Array(Box::new(a.merge(*b))),
            (Self::Struct(mut fields), Self::Struct(more)) => {
                for (position, (name, guess)) in more.into_iter().enumerate() {
                    // Nearly always at the place where it was before.
                    let at = match fields.get(position) {
                        Some((known, _)) if *known == name => Some(position),
                        _ => fields.iter().position(|(known, _)| *known == name),
                    };
                    match at.and_then(|at| fields.get_mut(at)) {
                        Some((_, known)) => *known = std::mem::replace(known, Self::Nothing).merge(guess),
                        None => fields.push((name, guess)),
                    }
                }
                Self::Struct(fields)
            }
            (a, b) if a == b => a,
            _ => Self::Text,
        }
    }
    fn data_type(&self) -> DataType {
        match self {
            Self::Nothing | Self::Text => DataType::Utf8,
            Self::Boolean => DataType::Boolean,
            Self::Bigint => DataType::Int64,
            Self::Double => DataType::Float64,
            Self::Date => DataType::Date32,
            Self::Timestamp(unit) => DataType::Timestamp(*unit, None),
            Self::Array(item) => DataType::new_list(item.data_type(), true),
            Self::Struct(fields) => DataType::Struct(schema(fields).fields),
        }
    }
}

/// The columns guessed; every one is nullable.
pub(super) fn schema(fields: &[(String, Guess)]) -> Schema {
    Schema::new(fields.iter().map(|(name, guess)| Field::new(name, guess.data_type(), true)).collect::<Vec<_>>())
}
