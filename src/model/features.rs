//! Features: from the arguments of `score(model, ...)` to the arrays of a signature.
//!
//! ```text
//! score('fraud', amount, hour)        arguments in order   ┐             ┌ one array per input: a column,
//! score('fraud', [10.5, 14])          one list             ├─ Binding ─► ┤ or a FixedSizeList where the input
//! score('fraud', {'hour': 14, ...})   one struct, by name  ┘             └ is a tensor of width > 1
//! ```
//!
//! [`bind`] judges number, names and types once, at plan time; [`Binding::columns`] then moves whole columns. Numbers
//! become the input's type where nothing is lost silently (an integer or a DECIMAL may become a FLOAT, a DOUBLE never a
//! BIGINT, a string never a number; BOOLEAN counts as 0 and 1). A row with a NULL feature has no score unless the model
//! treats missing values itself; a row whose value or list does not fit is an error of that row.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Datum, FixedSizeListArray, Float32Array, Float64Array, PrimitiveArray, Scalar,
    StringArray, UInt64Array, new_null_array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{CastOptions, cast, cast_with_options, interleave, is_not_null, take};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Field, Float32Type, Float64Type, Int32Type, Int64Type};
use arrow::error::ArrowError;

use super::{Input, ModelError, Signature};
use crate::error::nearest;

/// One argument behind the model's name.
#[derive(Debug, Clone, PartialEq)]
pub struct Feature {
    /// What it is called in the query (a column's name), if it has a name: only for messages.
    pub name: Option<String>,
    /// Its type.
    pub data_type: DataType,
}

impl Feature {
    /// A feature with a name.
    pub fn named(name: impl Into<String>, data_type: DataType) -> Self {
        Self { name: Some(name.into()), data_type }
    }
}

/// How arguments become the inputs of a signature; made once per query and model version.
#[derive(Debug, Clone)]
pub struct Binding {
    model: String,
    inputs: Vec<Bound>,
}

/// One input and where its values come from.
#[derive(Debug, Clone)]
struct Bound {
    input: Input,
    from: From,
}

#[derive(Debug, Clone)]
enum From {
    /// As many columns as the input is wide.
    Columns(Vec<Source>),
    /// Elements `start..start + width` of lists that must have `total` elements.
    List { source: Source, start: usize, total: usize },
}

/// A column: an argument, or a field of the struct that is the first argument.
#[derive(Debug, Clone, Copy)]
enum Source {
    Argument(usize),
    Field(usize),
}

/// The features of a batch.
#[derive(Debug, Clone)]
pub struct Columns {
    /// One array per input of the signature, without nulls, as [`super::Scorer::score`] takes them.
    pub inputs: Vec<ArrayRef>,
    /// Rows without a score: a feature is NULL, or the row failed. What the inputs hold there is a placeholder.
    pub nulls: Option<NullBuffer>,
    /// Rows whose values do not fit, in row order, with the reason.
    pub failed: Vec<(usize, String)>,
}

/// The inputs as people read them: `amount FLOAT, hour BIGINT`, `pixels FLOAT[64]`.
#[must_use]
pub fn describe(inputs: &[Input]) -> String {
    let one = |input: &Input| match input.width {
        1 => format!("{} {}", input.name, sql_name(&input.data_type)),
        width => format!("{} {}[{width}]", input.name, sql_name(&input.data_type)),
    };
    inputs.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Matches arguments to a signature. `model` is its `name:version`.
///
/// # Errors
/// `Features` if number, names or types do not fit; the hint says what the model takes.
pub fn bind(model: &str, features: &[Feature], signature: &Signature) -> Result<Binding, ModelError> {
    let inputs = &signature.inputs;
    let about = |argument: Option<usize>, difference: String| {
        let (model, hint) = (model.to_owned(), hint(inputs));
        ModelError::Features { model, difference, hint, argument }
    };
    let first = |difference| about(Some(0), difference);
    let total: usize = inputs.iter().map(|i| i.width).sum();
    let from = match features {
        [one] if matches!(one.data_type, DataType::Struct(_)) => by_name(one, inputs).map_err(first)?,
        [one] if element(&one.data_type).is_some() => {
            if let DataType::FixedSizeList(_, length) = &one.data_type
                && usize::try_from(*length).ok() != Some(total)
            {
                return Err(first(format!("takes {}, the list has {length}", count(total))));
            }
            let starts = inputs.iter().scan(0, |next, i| Some(std::mem::replace(next, *next + i.width)));
            starts.map(|start| From::List { source: Source::Argument(0), start, total }).collect()
        }
        many if many.len() == inputs.len() && many.iter().any(|f| element(&f.data_type).is_some()) => many
            .iter()
            .zip(inputs)
            .enumerate()
            .map(|(index, (feature, input))| match (element(&feature.data_type), input.width) {
                (Some(_), width) => Ok(From::List { source: Source::Argument(index), start: 0, total: width }),
                (None, 1) => Ok(From::Columns(vec![Source::Argument(index)])),
                (None, width) => {
                    let difference = format!("takes a list of {width} for \"{}\", {} was given", input.name, given(feature));
                    Err(about(Some(index), difference))
                }
            })
            .collect::<Result<_, _>>()?,
        many if many.len() == total => {
            let mut next = (0..total).map(Source::Argument);
            inputs.iter().map(|input| From::Columns(next.by_ref().take(input.width).collect())).collect()
        }
        many => {
            let were = if many.len() == 1 { "was" } else { "were" };
            return Err(about(None, format!("takes {}, {} {were} given", count(total), many.len())));
        }
    };
    let inputs: Vec<Bound> = inputs.iter().zip(from).map(|(input, from)| Bound { input: input.clone(), from }).collect();
    for bound in &inputs {
        bound.check(features).map_err(|(argument, difference)| {
            let error = about(Some(argument), difference);
            match (error, bound.cast_hint(features)) {
                (ModelError::Features { model, difference, hint, argument }, Some(cast)) => {
                    ModelError::Features { model, difference, hint: format!("{cast} {hint}"), argument }
                }
                (error, _) => error,
            }
        })?;
    }
    Ok(Binding { model: model.to_owned(), inputs })
}

/// `1 feature`, `11 features`.
fn count(features: usize) -> String {
    if features == 1 { "1 feature".to_owned() } else { format!("{features} features") }
}

fn hint(inputs: &[Input]) -> String {
    match inputs {
        [one] if one.width > 1 => {
            format!("Give {} values in the model's order, as arguments or as one list: {}.", one.width, describe(inputs))
        }
        _ => format!("Give them in this order, or a struct with these names: {}.", describe(inputs)),
    }
}

fn given(feature: &Feature) -> String {
    let kind = sql_name(&feature.data_type);
    feature.name.as_ref().map_or_else(|| kind.clone(), |name| format!("\"{name}\" {kind}"))
}

/// The fields for each input, or what is missing.
fn by_name(feature: &Feature, inputs: &[Input]) -> Result<Vec<From>, String> {
    let DataType::Struct(fields) = &feature.data_type else { return Err("takes a struct".to_owned()) };
    let find = |input: &Input| {
        // An exact name wins over one that differs in case.
        let exact = fields.iter().position(|f| *f.name() == input.name);
        let index = exact.or_else(|| fields.iter().position(|f| f.name().eq_ignore_ascii_case(&input.name)));
        let Some(index) = index else {
            let near = nearest(&input.name, fields.iter().map(|f| f.name().as_str()));
            let near = near.map_or(String::new(), |n| format!(" (\"{n}\" is near)"));
            return Err(format!("takes \"{}\", which the struct does not have{near}", input.name));
        };
        let source = Source::Field(index);
        match element(fields[index].data_type()) {
            Some(_) => Ok(From::List { source, start: 0, total: input.width }),
            None if input.width == 1 => Ok(From::Columns(vec![source])),
            None => Err(format!("takes a list of {} for \"{}\"", input.width, input.name)),
        }
    };
    inputs.iter().map(find).collect()
}

/// The type of a list's elements.
fn element(data_type: &DataType) -> Option<&DataType> {
    match data_type {
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => Some(field.data_type()),
        _ => None,
    }
}

/// Whether every value of `given` means the same as a `wanted`, or is out of its range.
fn fits(given: &DataType, wanted: &DataType) -> bool {
    let text = |t: &DataType| matches!(t, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    match (given, wanted) {
        (DataType::Null, _) => true,
        (DataType::Dictionary(_, value), _) => fits(value, wanted),
        (given, DataType::Utf8) => text(given),
        (DataType::Boolean, _) => true,
        (_, DataType::Boolean) => false,
        (given, DataType::Float32 | DataType::Float64) => given.is_numeric(),
        (DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale), _) => *scale <= 0,
        (given, _) => given.is_integer(),
    }
}

/// How a column of texts becomes the number that is wanted.
fn number_of(column: &str, found: &DataType, wanted: &DataType) -> Option<String> {
    let text = matches!(found, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let to = if wanted.is_floating() { "DOUBLE" } else { "BIGINT" };
    let plain = !column.is_empty() && column.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let column = if plain { column.to_owned() } else { format!("\"{}\"", column.replace('"', "\"\"")) };
    (text && wanted.is_numeric()).then(|| format!("Write TRY_CAST({column} AS {to}) if its texts are numbers."))
}

impl Bound {
    /// How a column of texts becomes the number that this input takes, if one was given.
    fn cast_hint(&self, features: &[Feature]) -> Option<String> {
        let From::Columns(sources) = &self.from else { return None };
        sources.iter().find_map(|source| {
            let Source::Argument(index) = source else { return None };
            let feature = features.get(*index)?;
            number_of(feature.name.as_deref()?, &feature.data_type, &self.input.data_type)
        })
    }
    /// Checks the types of what it is made of; says which argument does not fit, and why.
    fn check(&self, features: &[Feature]) -> Result<(), (usize, String)> {
        let (sources, list) = match &self.from {
            From::Columns(sources) => (sources.as_slice(), false),
            From::List { source, .. } => (std::slice::from_ref(source), true),
        };
        for source in sources {
            let feature = match (source, features.first().map(|f| &f.data_type)) {
                (Source::Field(index), Some(DataType::Struct(fields))) => {
                    fields.get(*index).map(|f| Feature::named(f.name().as_str(), f.data_type().clone()))
                }
                (Source::Argument(index) | Source::Field(index), _) => features.get(*index).cloned(),
            };
            let argument = match source {
                Source::Argument(index) => *index,
                Source::Field(_) => 0,
            };
            let Some(feature) = feature else { return Err((argument, "lacks a feature".to_owned())) };
            let data_type =
                if list { element(&feature.data_type).unwrap_or(&feature.data_type) } else { &feature.data_type };
            if !fits(data_type, &self.input.data_type) {
                let (wanted, name) = (sql_name(&self.input.data_type), &self.input.name);
                return Err((argument, format!("takes {wanted} for \"{name}\", {} was given", given(&feature))));
            }
        }
        Ok(())
    }
}

/// What a batch's rows turn out to be while its columns are made.
#[derive(Debug, Default)]
struct Verdict {
    nulls: Option<NullBuffer>,
    failed: BTreeMap<usize, String>,
}

impl Verdict {
    fn also(&mut self, nulls: Option<&NullBuffer>) {
        self.nulls = NullBuffer::union(self.nulls.as_ref(), nulls);
    }
}

impl Binding {
    /// The features of a batch. `args` are the arguments given to [`bind`], all of one length.
    ///
    /// # Errors
    /// `Run` if the arrays are not of the types that were bound.
    pub fn columns(&self, args: &[ArrayRef]) -> Result<Columns, ModelError> {
        let rows = args.first().map_or(0, |a| a.len());
        let mut verdict = Verdict::default();
        let inputs = self
            .inputs
            .iter()
            .map(|bound| bound.column(args, rows, &mut verdict))
            .collect::<Result<_, _>>()
            .map_err(|e| ModelError::Run { model: self.model.clone(), reason: e.to_string() })?;
        if !verdict.failed.is_empty() {
            let good = BooleanBuffer::collect_bool(rows, |row| !verdict.failed.contains_key(&row));
            verdict.also(Some(&NullBuffer::new(good)));
        }
        let nulls = verdict.nulls.filter(|n| n.null_count() > 0);
        Ok(Columns { inputs, nulls, failed: verdict.failed.into_iter().collect() })
    }
}

impl Source {
    fn array(self, args: &[ArrayRef], verdict: &mut Verdict) -> Result<ArrayRef, ArrowError> {
        let missing = || ArrowError::InvalidArgumentError("a feature is missing".to_owned());
        match self {
            Source::Argument(index) => args.get(index).cloned().ok_or_else(missing),
            Source::Field(index) => {
                let parent = args.first().and_then(|a| a.as_struct_opt()).ok_or_else(missing)?;
                // A struct that is NULL has no fields, whatever their arrays hold.
                verdict.also(parent.nulls());
                parent.columns().get(index).cloned().ok_or_else(missing)
            }
        }
    }
}

impl Bound {
    fn column(&self, args: &[ArrayRef], rows: usize, verdict: &mut Verdict) -> Result<ArrayRef, ArrowError> {
        match &self.from {
            From::Columns(sources) => {
                let columns = sources
                    .iter()
                    .map(|source| {
                        let array = source.array(args, verdict)?;
                        let array = self.cast(&array, verdict)?;
                        self.without_nulls(array, 1, verdict)
                    })
                    .collect::<Result<Vec<_>, ArrowError>>()?;
                match columns.as_slice() {
                    [one] => Ok(one.clone()),
                    many => self.tensor(transpose(many, &self.input.data_type, rows)?),
                }
            }
            From::List { source, start, total } => {
                let lists = source.array(args, verdict)?;
                let values = self.elements(&lists, rows, *start, *total, verdict)?;
                let values = self.without_nulls(values, self.input.width, verdict)?;
                if self.input.width == 1 { Ok(values) } else { self.tensor(values) }
            }
        }
    }

    /// Casts a column; a value that the type cannot hold fails its row.
    fn cast(&self, array: &ArrayRef, verdict: &mut Verdict) -> Result<ArrayRef, ArrowError> {
        if array.data_type() == &self.input.data_type {
            return Ok(array.clone());
        }
        let cast = cast_with_options(array, &self.input.data_type, &CastOptions { safe: true, ..Default::default() })?;
        if cast.null_count() > missing(array) {
            let given = array.logical_nulls();
            for row in (0..array.len()).filter(|r| cast.is_null(*r) && given.as_ref().is_none_or(|g| g.is_valid(*r))) {
                verdict.failed.entry(row).or_insert_with(|| self.out_of_range());
            }
        }
        Ok(cast)
    }

    fn out_of_range(&self) -> String {
        format!("feature \"{}\" is out of the range of {}", self.input.name, sql_name(&self.input.data_type))
    }

    /// The elements of all rows' lists that belong to this input, `width` per row; NULL where the row has none.
    fn elements(
        &self,
        lists: &ArrayRef,
        rows: usize,
        start: usize,
        total: usize,
        verdict: &mut Verdict,
    ) -> Result<ArrayRef, ArrowError> {
        let width = self.input.width;
        let (values, bounds) = list_parts(lists)?;
        let row_of = |row: usize| bounds(row);
        for row in (0..rows).filter(|r| lists.is_valid(*r)) {
            let length = row_of(row).1;
            if length != total {
                verdict
                    .failed
                    .entry(row)
                    .or_insert_with(|| format!("the model takes {}, the list has {length}", count(total)));
            }
        }
        // Lists that lie one behind the other need no copy.
        let first = if rows > 0 { row_of(0).0 } else { 0 };
        let dense =
            width == total && lists.null_count() == 0 && (0..rows).all(|row| row_of(row) == (first + row * total, total));
        let picked = if dense {
            values.slice(first, rows * width)
        } else {
            let indices: UInt64Array = (0..rows)
                .flat_map(|row| {
                    let (from, length) = row_of(row);
                    let usable = lists.is_valid(row) && length == total;
                    (0..width).map(move |column| usable.then_some((from + start + column) as u64))
                })
                .collect();
            take(&values, &indices, None)?
        };
        if picked.data_type() == &self.input.data_type {
            return Ok(picked);
        }
        let cast = cast_with_options(&picked, &self.input.data_type, &CastOptions { safe: true, ..Default::default() })?;
        if cast.null_count() > missing(&picked) {
            let given = picked.logical_nulls();
            for at in (0..picked.len()).filter(|at| cast.is_null(*at) && given.as_ref().is_none_or(|g| g.is_valid(*at))) {
                verdict.failed.entry(at / width).or_insert_with(|| self.out_of_range());
            }
        }
        Ok(cast)
    }

    /// Replaces nulls: by "missing" where the model treats it, else by nothing in particular, and the row has no score.
    fn without_nulls(&self, values: ArrayRef, width: usize, verdict: &mut Verdict) -> Result<ArrayRef, ArrowError> {
        let Some(nulls) = values.logical_nulls().filter(|n| n.null_count() > 0) else { return Ok(values) };
        let treated = self.input.takes_null;
        if !treated && width == 1 {
            verdict.also(Some(&nulls));
        } else if !treated {
            let rows = nulls.len() / width;
            let good = BooleanBuffer::collect_bool(rows, |row| nulls.slice(row * width, width).null_count() == 0);
            verdict.also(Some(&NullBuffer::new(good)));
        }
        let missing: ArrayRef = match &self.input.data_type {
            DataType::Float32 => Arc::new(Float32Array::from(vec![if treated { f32::NAN } else { 0.0 }])),
            DataType::Float64 => Arc::new(Float64Array::from(vec![if treated { f64::NAN } else { 0.0 }])),
            whole if whole.is_integer() => cast(&PrimitiveArray::<Int64Type>::from(vec![0]), whole)?,
            DataType::Boolean => Arc::new(BooleanArray::from(vec![false])),
            DataType::Utf8 => Arc::new(StringArray::from(vec![""])),
            other => new_null_array(other, 1),
        };
        let values = if values.nulls().is_some() { values } else { new_null_array(&self.input.data_type, values.len()) };
        let scalar = Scalar::new(missing);
        let filled = zip(&is_not_null(&values)?, &values, &scalar as &dyn Datum)?;
        Ok(filled)
    }

    fn tensor(&self, values: ArrayRef) -> Result<ArrayRef, ArrowError> {
        let field = Arc::new(Field::new_list_field(self.input.data_type.clone(), true));
        let width = i32::try_from(self.input.width).map_err(|e| ArrowError::InvalidArgumentError(e.to_string()))?;
        Ok(Arc::new(FixedSizeListArray::try_new(field, width, values, None)?))
    }
}

/// A list array's elements and, for each row, its first element and length.
#[allow(clippy::type_complexity)] // Named, it would be read twice.
fn list_parts(lists: &ArrayRef) -> Result<(ArrayRef, Box<dyn Fn(usize) -> (usize, usize) + '_>), ArrowError> {
    if let Some(list) = lists.as_list_opt::<i32>() {
        let offsets = list.value_offsets();
        return Ok((list.values().clone(), Box::new(move |row| span(offsets[row], offsets[row + 1]))));
    }
    if let Some(list) = lists.as_list_opt::<i64>() {
        let offsets = list.value_offsets();
        return Ok((list.values().clone(), Box::new(move |row| span(offsets[row], offsets[row + 1]))));
    }
    match lists.as_fixed_size_list_opt() {
        Some(list) => {
            let width = usize::try_from(list.value_length()).unwrap_or(0);
            // `values` starts at the list's own first row.
            Ok((list.values().clone(), Box::new(move |row| (row * width, width))))
        }
        None => Err(ArrowError::InvalidArgumentError(format!("{} is not a list", lists.data_type()))),
    }
}

fn span<T: Copy + TryInto<usize>>(from: T, to: T) -> (usize, usize) {
    let from = from.try_into().unwrap_or(0);
    (from, to.try_into().unwrap_or(from) - from)
}

/// How many values are NULL, behind a dictionary too. (`logical_null_count` is newer than the arrow of `udfs/vatic_score/scorer`, which
/// compiles this file as well.)
fn missing(array: &ArrayRef) -> usize {
    array.logical_nulls().map_or(0, |nulls| nulls.null_count())
}

/// Columns to rows, one row behind the other.
fn transpose(columns: &[ArrayRef], data_type: &DataType, rows: usize) -> Result<ArrayRef, ArrowError> {
    match data_type {
        DataType::Float32 => transpose_numbers::<Float32Type>(columns, rows),
        DataType::Float64 => transpose_numbers::<Float64Type>(columns, rows),
        DataType::Int64 => transpose_numbers::<Int64Type>(columns, rows),
        DataType::Int32 => transpose_numbers::<Int32Type>(columns, rows),
        _ => {
            let arrays: Vec<&dyn Array> = columns.iter().map(|c| c.as_ref() as &dyn Array).collect();
            let order: Vec<(usize, usize)> =
                (0..rows).flat_map(|row| (0..columns.len()).map(move |column| (column, row))).collect();
            interleave(&arrays, &order)
        }
    }
}

fn transpose_numbers<T: ArrowPrimitiveType>(columns: &[ArrayRef], rows: usize) -> Result<ArrayRef, ArrowError> {
    let width = columns.len();
    let mut out = vec![T::Native::default(); rows * width];
    // By blocks, so that what is written stays in the nearest cache while each column passes over it.
    const BLOCK: usize = 256;
    for start in (0..rows).step_by(BLOCK) {
        let end = rows.min(start + BLOCK);
        let block = &mut out[start * width..end * width];
        for (column, array) in columns.iter().enumerate() {
            let numbers = array.as_primitive_opt::<T>().filter(|a| a.len() == rows);
            let numbers =
                numbers.ok_or_else(|| ArrowError::InvalidArgumentError("columns of several lengths or types".to_owned()))?;
            let targets = block.iter_mut().skip(column).step_by(width);
            targets.zip(&numbers.values()[start..end]).for_each(|(target, number)| *target = *number);
        }
    }
    Ok(Arc::new(PrimitiveArray::<T>::new(out.into(), None)))
}

/// A type's name in SQL.
fn sql_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Int8 => "TINYINT".to_owned(),
        DataType::Int16 => "SMALLINT".to_owned(),
        DataType::Int32 => "INTEGER".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => {
            format!("UNSIGNED {}", signed(data_type))
        }
        DataType::Float32 => "FLOAT".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Decimal128(p, s) | DataType::Decimal256(p, s) => format!("DECIMAL({p}, {s})"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "VARCHAR".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "BYTEA".to_owned(),
        DataType::Date32 | DataType::Date64 => "DATE".to_owned(),
        DataType::Timestamp(_, _) => "TIMESTAMP".to_owned(),
        DataType::Null => "NULL".to_owned(),
        DataType::Struct(_) => "STRUCT".to_owned(),
        DataType::Map(_, _) => "MAP".to_owned(),
        other => match element(other) {
            Some(inner) => format!("{}[]", sql_name(inner)),
            None => other.to_string().to_uppercase(),
        },
    }
}

/// The name of the type of as many bits that has a sign.
fn signed(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::UInt8 => "TINYINT",
        DataType::UInt16 => "SMALLINT",
        DataType::UInt32 => "INTEGER",
        _ => "BIGINT",
    }
}

#[cfg(test)]
mod tests;
