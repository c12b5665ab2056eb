//! Columns of scalars that are filled value by value and can be cut back when a record turns out bad.   [`Value`] ─► [`Scalar`]
//!
//! A format scans its text into values (it knows what was written: a number, a string, a bare CSV field); the column decides
//! whether that *is* one of its type. Nothing is coerced: text is never a number in JSON, a number never text.
//! To carry another type: write a [`Convert`] for it, then add one line to [`scalar`].

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, BooleanBufferBuilder, NullBufferBuilder, PrimitiveArray, StringArray,
};
use arrow::buffer::{Buffer, OffsetBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::text::{Note, Number, OUT_OF_RANGE, per_second, read_date, read_timestamp};

/// A scalar as a format found it.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number<'a>),
    /// A string.
    Text(&'a str),
    /// A field that may be anything, as in CSV.
    Field(&'a str),
}

/// A column under construction. A refused value leaves it as it was.
pub trait Scalar: Debug + Send {
    /// Appends a value.
    ///
    /// # Errors
    /// A note if the value is none of the column's type.
    fn push(&mut self, value: Value<'_>) -> Result<(), Note>;
    /// Appends NULL.
    fn null(&mut self);
    /// How many values there are.
    fn len(&self) -> usize;
    /// Cuts back to the first `len` values.
    fn truncate(&mut self, len: usize);
    /// The array; the column is empty afterwards.
    fn finish(&mut self) -> ArrayRef;
}

/// An empty column of a scalar type; `None` for types that are no scalars or not carried.
#[must_use]
pub fn scalar(data_type: &DataType) -> Option<Box<dyn Scalar>> {
    fn fixed<T: ArrowPrimitiveType + Debug>(
        data_type: &DataType,
        convert: impl Convert<T::Native> + 'static,
    ) -> Option<Box<dyn Scalar>> {
        Some(Box::new(Fixed::<T, _> {
            values: Vec::new(),
            nulls: NullBufferBuilder::new(0),
            data_type: data_type.clone(),
            convert,
        }))
    }
    match data_type {
        DataType::Boolean => {
            Some(Box::new(Booleans { values: BooleanBufferBuilder::new(0), nulls: NullBufferBuilder::new(0) }))
        }
        DataType::Int8 => fixed::<Int8Type>(data_type, Integer),
        DataType::Int16 => fixed::<Int16Type>(data_type, Integer),
        DataType::Int32 => fixed::<Int32Type>(data_type, Integer),
        DataType::Int64 => fixed::<Int64Type>(data_type, Integer),
        DataType::UInt8 => fixed::<UInt8Type>(data_type, Integer),
        DataType::UInt16 => fixed::<UInt16Type>(data_type, Integer),
        DataType::UInt32 => fixed::<UInt32Type>(data_type, Integer),
        DataType::UInt64 => fixed::<UInt64Type>(data_type, Integer),
        DataType::Float32 => fixed::<Float32Type>(data_type, Float),
        DataType::Float64 => fixed::<Float64Type>(data_type, Float),
        DataType::Decimal128(precision, scale) => {
            fixed::<Decimal128Type>(data_type, Decimal { precision: *precision, scale: *scale })
        }
        DataType::Date32 => fixed::<Date32Type>(data_type, Date),
        DataType::Timestamp(unit, _) => match unit {
            TimeUnit::Second => fixed::<TimestampSecondType>(data_type, Time(*unit)),
            TimeUnit::Millisecond => fixed::<TimestampMillisecondType>(data_type, Time(*unit)),
            TimeUnit::Microsecond => fixed::<TimestampMicrosecondType>(data_type, Time(*unit)),
            TimeUnit::Nanosecond => fixed::<TimestampNanosecondType>(data_type, Time(*unit)),
        },
        DataType::Utf8 => Some(Box::new(Variable::new(Kind::Text))),
        DataType::Binary => Some(Box::new(Variable::new(Kind::Base64))),
        _ => None,
    }
}

/// Whether and how a value is one of a type with values of a fixed size.
pub trait Convert<N>: Debug + Send {
    /// The value in Arrow's form.
    ///
    /// # Errors
    /// A note if it is none.
    fn convert(&self, value: Value<'_>) -> Result<N, Note>;
}

/// A number or a field that is one.
fn as_number(value: Value<'_>) -> Result<Number<'_>, Note> {
    match value {
        Value::Number(number) => Ok(number),
        Value::Field(field) => Number::whole(field).ok_or(""),
        Value::Bool(_) | Value::Text(_) => Err(""),
    }
}

#[derive(Debug)]
struct Integer;

impl<N: TryFrom<i128>> Convert<N> for Integer {
    fn convert(&self, value: Value<'_>) -> Result<N, Note> {
        N::try_from(as_number(value)?.to_integer()?).map_err(|_| OUT_OF_RANGE)
    }
}

#[derive(Debug)]
struct Float;

/// CSV has words for what JSON cannot say.
fn not_finite(value: Value<'_>) -> Option<f64> {
    let Value::Field(field) = value else { return None };
    match field.to_ascii_lowercase().as_str() {
        "nan" => Some(f64::NAN),
        "inf" | "infinity" => Some(f64::INFINITY),
        "-inf" | "-infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

impl Convert<f64> for Float {
    fn convert(&self, value: Value<'_>) -> Result<f64, Note> {
        as_number(value).and_then(Number::to_f64).or_else(|note| not_finite(value).ok_or(note))
    }
}

impl Convert<f32> for Float {
    fn convert(&self, value: Value<'_>) -> Result<f32, Note> {
        as_number(value).and_then(Number::to_f32).or_else(|note| not_finite(value).map(|v| v as f32).ok_or(note))
    }
}

#[derive(Debug)]
struct Decimal {
    precision: u8,
    scale: i8,
}

impl Convert<i128> for Decimal {
    fn convert(&self, value: Value<'_>) -> Result<i128, Note> {
        as_number(value)?.to_decimal(self.precision, self.scale)
    }
}

#[derive(Debug)]
struct Date;

impl Convert<i32> for Date {
    fn convert(&self, value: Value<'_>) -> Result<i32, Note> {
        match value {
            Value::Text(text) | Value::Field(text) => read_date(text).ok_or(""),
            Value::Bool(_) | Value::Number(_) => Err(""),
        }
    }
}

/// A timestamp in this unit. As a number it is whole *milliseconds*, whatever the unit.
#[derive(Debug)]
struct Time(TimeUnit);

impl Time {
    fn millis(&self, number: Number<'_>) -> Result<i64, Note> {
        let millis = i64::try_from(number.to_integer()?).map_err(|_| OUT_OF_RANGE)?;
        match self.0 {
            TimeUnit::Second => Ok(millis.div_euclid(1_000)),
            unit => millis.checked_mul(per_second(unit) / 1_000).ok_or(OUT_OF_RANGE),
        }
    }
}

impl Convert<i64> for Time {
    fn convert(&self, value: Value<'_>) -> Result<i64, Note> {
        match value {
            Value::Number(number) => self.millis(number),
            Value::Text(text) => read_timestamp(text).ok_or("")?.in_unit(self.0).ok_or(OUT_OF_RANGE),
            Value::Field(text) => match read_timestamp(text) {
                Some(moment) => moment.in_unit(self.0).ok_or(OUT_OF_RANGE),
                None => self.millis(Number::whole(text).ok_or("")?),
            },
            Value::Bool(_) => Err(""),
        }
    }
}

/// Values of one size.
#[derive(Debug)]
struct Fixed<T: ArrowPrimitiveType, C> {
    values: Vec<T::Native>,
    nulls: NullBufferBuilder,
    data_type: DataType,
    convert: C,
}

impl<T: ArrowPrimitiveType + Debug, C: Convert<T::Native>> Scalar for Fixed<T, C> {
    fn push(&mut self, value: Value<'_>) -> Result<(), Note> {
        self.values.push(self.convert.convert(value)?);
        self.nulls.append_non_null();
        Ok(())
    }
    fn null(&mut self) {
        self.values.push(T::Native::default());
        self.nulls.append_null();
    }
    fn len(&self) -> usize {
        self.values.len()
    }
    fn truncate(&mut self, len: usize) {
        self.values.truncate(len);
        self.nulls.truncate(len);
    }
    fn finish(&mut self) -> ArrayRef {
        // The next batch is probably as large as this one.
        let next = Vec::with_capacity(self.values.len());
        let values = std::mem::replace(&mut self.values, next);
        Arc::new(PrimitiveArray::<T>::new(values.into(), self.nulls.finish()).with_data_type(self.data_type.clone()))
    }
}

#[derive(Debug)]
struct Booleans {
    values: BooleanBufferBuilder,
    nulls: NullBufferBuilder,
}

impl Scalar for Booleans {
    fn push(&mut self, value: Value<'_>) -> Result<(), Note> {
        let value = match value {
            Value::Bool(value) => value,
            Value::Field(text) if text.eq_ignore_ascii_case("true") => true,
            Value::Field(text) if text.eq_ignore_ascii_case("false") => false,
            _ => return Err(""),
        };
        self.values.append(value);
        self.nulls.append_non_null();
        Ok(())
    }
    fn null(&mut self) {
        self.values.append(false);
        self.nulls.append_null();
    }
    fn len(&self) -> usize {
        self.values.len()
    }
    fn truncate(&mut self, len: usize) {
        self.values.truncate(len);
        self.nulls.truncate(len);
    }
    fn finish(&mut self) -> ArrayRef {
        Arc::new(BooleanArray::new(self.values.finish(), self.nulls.finish()))
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// UTF-8.
    Text,
    /// Bytes, written in base64.
    Base64,
}

/// Values of any size.
#[derive(Debug)]
struct Variable {
    kind: Kind,
    bytes: Vec<u8>,
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl Variable {
    fn new(kind: Kind) -> Self {
        Self { kind, bytes: Vec::new(), offsets: vec![0], nulls: NullBufferBuilder::new(0) }
    }
    fn end(&self) -> usize {
        self.offsets.last().map_or(0, |end| usize::try_from(*end).unwrap_or(0))
    }
}

impl Scalar for Variable {
    fn push(&mut self, value: Value<'_>) -> Result<(), Note> {
        let (Value::Text(text) | Value::Field(text)) = value else { return Err("") };
        match self.kind {
            Kind::Text => self.bytes.extend_from_slice(text.as_bytes()),
            Kind::Base64 => {
                if STANDARD.decode_vec(text, &mut self.bytes).is_err() {
                    self.bytes.truncate(self.end());
                    return Err("not base64");
                }
            }
        }
        let Ok(end) = i32::try_from(self.bytes.len()) else {
            self.bytes.truncate(self.end());
            return Err("more than 2 GiB of text in one batch");
        };
        self.offsets.push(end);
        self.nulls.append_non_null();
        Ok(())
    }
    fn null(&mut self) {
        self.offsets.push(self.offsets.last().copied().unwrap_or(0));
        self.nulls.append_null();
    }
    fn len(&self) -> usize {
        self.offsets.len() - 1
    }
    fn truncate(&mut self, len: usize) {
        self.offsets.truncate(len + 1);
        self.bytes.truncate(self.end());
        self.nulls.truncate(len);
    }
    fn finish(&mut self) -> ArrayRef {
        let mut next = Vec::with_capacity(self.offsets.len());
        next.push(0);
        let offsets = OffsetBuffer::new(std::mem::replace(&mut self.offsets, next).into());
        let room = Vec::with_capacity(self.bytes.len());
        let bytes = Buffer::from_vec(std::mem::replace(&mut self.bytes, room));
        match self.kind {
            Kind::Text => Arc::new(StringArray::new(offsets, bytes, self.nulls.finish())),
            Kind::Base64 => Arc::new(BinaryArray::new(offsets, bytes, self.nulls.finish())),
        }
    }
}
