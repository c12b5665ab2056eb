//! What the first records of a topic suggest: the narrowest type that holds all values seen.   value ─► [`Guess`] ─► Field
//!
//! Two guesses merge to the narrowest that holds both: BIGINT and DOUBLE to DOUBLE, structs field by field, texts of several kinds
//! to VARCHAR. Values of kinds that no type holds are mixed: VARCHAR, too, and the JSON format then takes whatever comes as its
//! text ([`Inferred::options`] says so). So does what was only NULL, since nobody knows what will come. Every field is nullable.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use serde_json::{Map, Value};

use super::text::{Number, read_date, read_timestamp};
use crate::config::Options;

/// The option with the columns that take values of any kind.
pub const MIXED: &str = "json.mixed";

/// Deeper than this, objects and arrays are kept as their text: types nest 32 deep, and someone may put more around them.
const DEPTH: usize = 24;

/// What records suggest.
#[derive(Debug, Clone, PartialEq)]
pub struct Inferred {
    /// The columns.
    pub schema: SchemaRef,
    /// The options that belong to them.
    pub options: Options,
    /// What people should know of the choice.
    pub notes: Vec<Note>,
}

/// What people should know of a column that was chosen, or of all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The column it is about: only who reads that wants to know.
    pub column: Option<String>,
    /// What is said.
    pub text: String,
}

impl Note {
    /// A note for whoever reads any of the columns.
    #[must_use]
    pub fn of_all(text: String) -> Self {
        Self { column: None, text }
    }
}

impl PartialEq<String> for Note {
    fn eq(&self, text: &String) -> bool {
        self.text == *text
    }
}

impl Inferred {
    /// Columns that need nothing more.
    #[must_use]
    pub fn plain(schema: SchemaRef) -> Self {
        Self { schema, options: Options::default(), notes: Vec::new() }
    }

    /// Columns of JSON objects; those that `given` names take any kind, whatever was seen in them.
    pub(super) fn of_objects(fields: Vec<(String, Guess)>, given: &AnyKind) -> Self {
        let mut notes = Vec::new();
        let mut kept: Vec<(String, Guess)> = Vec::with_capacity(fields.len());
        for (name, guess) in fields {
            let lower = name.to_lowercase();
            if let Some((other, _)) = kept.iter().find(|(known, _)| known.to_lowercase() == lower) {
                // A table cannot have both: unquoted references could not tell them apart.
                let text = format!("field \"{name}\" is left out: it differs from \"{other}\" only in case");
                notes.push(Note { column: Some(other.clone()), text });
            } else if name.is_empty() {
                notes.push(Note::of_all("a field without a name is left out".to_owned()));
            } else {
                let guess = guess.settled(0);
                let widened = !given.all && given.holds(&name) && !has_text(&guess.data_type());
                kept.push((name, if widened { Guess::Mixed(guess.kinds()) } else { guess }));
            }
        }
        let mut any = Vec::new();
        for (name, guess) in &kept {
            let mut kinds = Vec::new();
            guess.find_mixed(name, &mut kinds);
            for (path, kinds) in &kinds {
                if let Some(kinds) = kinds {
                    let text =
                        format!("column \"{path}\" holds {kinds}: it is VARCHAR, with the JSON text of what is no string");
                    notes.push(Note { column: Some(name.clone()), text });
                }
            }
            if !kinds.is_empty() || given.holds(name) {
                any.push(name.as_str());
            }
        }
        // A name that no column has stays in the list, for whoever checks it.
        let known = |wanted: &&String| !kept.iter().any(|(name, _)| name.to_lowercase() == **wanted);
        any.extend(given.names.iter().filter(|_| !given.all).filter(known).map(String::as_str));
        let mut options = Options::default();
        if given.all || any.iter().any(|name| name.contains(',') || name.trim() != *name || *name == "*") {
            options.set(MIXED, "*"); // such a name cannot stand in the list
        } else if !any.is_empty() {
            options.set(MIXED, any.join(","));
        }
        Self { schema: Arc::new(schema(&kept)), options, notes }
    }
}

/// Kinds of JSON values, as bits.
pub(super) type Kinds = u8;

const KINDS: [(Kinds, &str); 5] = [(1, "text"), (2, "numbers"), (4, "booleans"), (8, "objects"), (16, "arrays")];

/// `numbers and text`
fn words(kinds: Kinds) -> String {
    let words: Vec<&str> = KINDS.iter().filter(|(bit, _)| kinds & bit != 0).map(|(_, word)| *word).collect();
    match words.as_slice() {
        [all @ .., last] if !all.is_empty() => format!("{} and {last}", all.join(", ")),
        other => other.join(""),
    }
}

/// A type, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Guess {
    /// Only NULL, or nothing, was seen.
    Nothing,
    Boolean,
    Bigint,
    /// Integers of 64 bits without a sign: as a DOUBLE they would lose digits.
    Unsigned,
    Double,
    Date,
    /// With the finest unit seen, at least milliseconds.
    Timestamp(TimeUnit),
    Text,
    Array(Box<Guess>),
    /// Fields in the order they were first seen in.
    Struct(Vec<(String, Guess)>),
    /// Values of several kinds.
    Mixed(Kinds),
}

impl Guess {
    /// Of a JSON value.
    pub(super) fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Nothing,
            Value::Bool(_) => Self::Boolean,
            Value::Number(number) if number.is_i64() => Self::Bigint,
            Value::Number(number) if number.is_u64() => Self::Unsigned,
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
            (Self::Bigint, Self::Unsigned) | (Self::Unsigned, Self::Bigint) => Self::Unsigned,
            (Self::Bigint | Self::Unsigned, Self::Double) | (Self::Double, Self::Bigint | Self::Unsigned) => Self::Double,
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
            (a, b) if a.kinds() | b.kinds() == Self::Text.kinds() => Self::Text,
            (a, b) => Self::Mixed(a.kinds() | b.kinds()),
        }
    }
    fn kinds(&self) -> Kinds {
        match self {
            Self::Nothing => 0,
            Self::Date | Self::Timestamp(_) | Self::Text => 1,
            Self::Bigint | Self::Unsigned | Self::Double => 2,
            Self::Boolean => 4,
            Self::Struct(_) => 8,
            Self::Array(_) => 16,
            Self::Mixed(kinds) => *kinds,
        }
    }
    /// The same, with text in the place of what no type can be written for: objects without a field, and what nests too deeply.
    fn settled(self, depth: usize) -> Self {
        match self {
            Self::Array(_) | Self::Struct(_) if depth == DEPTH => Self::Mixed(self.kinds()),
            Self::Struct(fields) if fields.is_empty() => Self::Mixed(Self::Struct(Vec::new()).kinds()),
            Self::Struct(fields) if fields.iter().any(|(name, _)| name.is_empty()) => Self::Mixed(8),
            Self::Array(item) => Self::Array(Box::new(item.settled(depth + 1))),
            Self::Struct(fields) => {
                Self::Struct(fields.into_iter().map(|(name, guess)| (name, guess.settled(depth + 1))).collect())
            }
            other => other,
        }
    }
    /// The places in `self`, which is at `path`, that take values of any kind; with the kinds seen, if any were.
    fn find_mixed(&self, path: &str, found: &mut Vec<(String, Option<String>)>) {
        match self {
            Self::Nothing => found.push((path.to_owned(), None)),
            Self::Mixed(kinds) => found.push((path.to_owned(), Some(words(*kinds)))),
            Self::Array(item) => item.find_mixed(&format!("{path}[]"), found),
            Self::Struct(fields) => {
                fields.iter().for_each(|(name, guess)| guess.find_mixed(&format!("{path}.{name}"), found))
            }
            _ => {}
        }
    }
    fn data_type(&self) -> DataType {
        match self {
            Self::Nothing | Self::Text | Self::Mixed(_) => DataType::Utf8,
            Self::Boolean => DataType::Boolean,
            Self::Bigint => DataType::Int64,
            Self::Unsigned => DataType::Decimal128(20, 0),
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

/// Which columns take values of any kind where they are VARCHAR, as [`MIXED`] says.
#[derive(Debug, Clone, Default)]
pub struct AnyKind {
    all: bool,
    /// In lower case.
    names: Vec<String>,
}

impl AnyKind {
    /// What the options say.
    #[must_use]
    pub fn of(options: &Options) -> Self {
        let text = options.or(MIXED, "").trim();
        let names = text.split(',').map(|name| name.trim().to_lowercase()).filter(|name| !name.is_empty());
        Self { all: text == "*", names: names.collect() }
    }
    /// Whether the column called `name` does.
    #[must_use]
    pub fn holds(&self, name: &str) -> bool {
        self.all || (!self.names.is_empty() && self.names.contains(&name.to_lowercase()))
    }
    /// The names that are none of `columns`, or of a column without a VARCHAR in it.
    pub fn wrong<'a>(&'a self, columns: &'a [(&'a str, &'a DataType)]) -> Option<&'a str> {
        let fits = |name: &String| columns.iter().any(|(column, kind)| column.to_lowercase() == *name && has_text(kind));
        if self.all { None } else { self.names.iter().find(|name| !fits(name)).map(String::as_str) }
    }
}

fn has_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 => true,
        DataType::List(item) => has_text(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_text(field.data_type())),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) if pair.len() == 2 => has_text(pair[1].data_type()),
            _ => false,
        },
        _ => false,
    }
}
