//! SQL types and Arrow types.   `DECIMAL(10, 2)` ◄─► `Decimal128(10, 2)`
//!
//! One name means one type everywhere: in a table's columns, in CAST, in `TIMESTAMP '...'` ([`Types`] tells DataFusion).
//! `TIMESTAMP` without a precision counts milliseconds, as Kafka's record timestamps do; the precisions 0, 3, 6 and 9 are
//! seconds to nanoseconds. `WITH TIME ZONE` is an instant, kept in UTC. Elements, map values and fields may be NULL.
//! To add a type: a line in [`arrow_type`] and one in [`sql_type`].

use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, FieldRef, Fields, TimeUnit};
use datafusion::logical_expr::planner::TypePlanner;
use sqlparser::ast::{ArrayElemTypeDef, DataType as Ast, ExactNumberInfo, TimezoneInfo};

use super::quote::quote_name;
use crate::error::{Error, Result, nearest};
use crate::format::type_name;

/// The time zone of `WITH TIME ZONE`.
pub const UTC: &str = "UTC";

/// The precision of `DECIMAL` without one, as in DataFusion.
const DECIMAL_DEFAULT: (u8, i8) = (38, 10);

/// The names people can use, for errors.
pub const KNOWN: &[&str] = &[
    "BOOLEAN",
    "TINYINT",
    "SMALLINT",
    "INT",
    "INTEGER",
    "BIGINT",
    "REAL",
    "FLOAT",
    "DOUBLE",
    "DECIMAL",
    "NUMERIC",
    "VARCHAR",
    "TEXT",
    "STRING",
    "CHAR",
    "BYTEA",
    "BYTES",
    "BINARY",
    "VARBINARY",
    "DATE",
    "TIMESTAMP",
    "ARRAY",
    "STRUCT",
    "ROW",
    "MAP",
];

/// The Arrow type of a SQL type.
///
/// # Errors
/// `User` for a type that vatic does not have, with the one to use.
pub fn arrow_type(sql: &Ast) -> Result<DataType> {
    Ok(match sql {
        Ast::Boolean | Ast::Bool => DataType::Boolean,
        Ast::TinyInt(_) => DataType::Int8,
        Ast::SmallInt(_) | Ast::Int2(_) => DataType::Int16,
        Ast::Int(_) | Ast::Integer(_) | Ast::Int4(_) => DataType::Int32,
        Ast::BigInt(_) | Ast::Int8(_) => DataType::Int64,
        Ast::Real | Ast::Float4 | Ast::Float(ExactNumberInfo::None) => DataType::Float32,
        // As in PostgreSQL: the precision of FLOAT(p) is in bits.
        Ast::Float(ExactNumberInfo::Precision(bits)) if *bits <= 24 => DataType::Float32,
        Ast::Float(ExactNumberInfo::Precision(bits)) if *bits <= 53 => DataType::Float64,
        Ast::Double(ExactNumberInfo::None) | Ast::DoublePrecision | Ast::Float8 => DataType::Float64,
        Ast::Decimal(info) | Ast::Numeric(info) | Ast::Dec(info) => decimal(info)?,
        Ast::Varchar(_) | Ast::CharVarying(_) | Ast::CharacterVarying(_) | Ast::Text | Ast::String(_) => DataType::Utf8,
        Ast::Char(_) | Ast::Character(_) => DataType::Utf8,
        Ast::Bytea | Ast::Bytes(_) | Ast::Binary(_) | Ast::Varbinary(_) => DataType::Binary,
        Ast::Date => DataType::Date32,
        Ast::Timestamp(precision, zone) => {
            timestamp(*precision, matches!(zone, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone))?
        }
        Ast::TimestampNtz(precision) => timestamp(*precision, false)?,
        Ast::Array(ArrayElemTypeDef::AngleBracket(item) | ArrayElemTypeDef::Parenthesis(item)) => list(item)?,
        // A size is no promise, as in PostgreSQL.
        Ast::Array(ArrayElemTypeDef::SquareBracket(item, _)) => list(item)?,
        Ast::Map(key, value) => map(arrow_type(key)?, arrow_type(value)?),
        Ast::Struct(fields, _) => {
            let mut named: Vec<FieldRef> = Vec::with_capacity(fields.len());
            for field in fields {
                let Some(name) = &field.field_name else {
                    return Err(Error::user("a field of a STRUCT has no name").hint("Write STRUCT<name TYPE, ...>."));
                };
                if named.iter().any(|other| other.name() == &name.value) {
                    return Err(Error::user(format!("field \"{}\" of a STRUCT is given twice", name.value)));
                }
                named.push(Arc::new(Field::new(&name.value, arrow_type(&field.field_type)?, true)));
            }
            DataType::Struct(Fields::from(named))
        }
        Ast::Custom(name, modifiers) => match (name.to_string().to_ascii_uppercase().as_str(), modifiers.as_slice()) {
            ("TIMESTAMP_LTZ", []) => timestamp(None, true)?,
            ("TIMESTAMP_LTZ", [precision]) => timestamp(Some(precision.parse().unwrap_or(u64::MAX)), true)?,
            _ => return Err(unknown(sql)),
        },
        _ => return Err(unknown(sql)),
    })
}

/// A type's text as sqlparser's tree.
///
/// # Errors
/// `Internal` for a text that is no type.
pub fn parse_type(text: &str) -> Result<Ast> {
    let parsed = sqlparser::parser::Parser::new(&super::dialect::VaticDialect)
        .try_with_sql(text)
        .and_then(|mut parser| parser.parse_data_type());
    parsed.map_err(|e| Error::internal(format!("\"{text}\" is not a type")).source(e))
}

fn unknown(sql: &Ast) -> Error {
    let text = sql.to_string();
    let error = Error::user(format!("unknown type \"{text}\""));
    let word = text.split(['(', '<', ' ', '[']).next().unwrap_or_default().to_ascii_uppercase();
    let hint = match word.as_str() {
        "DATETIME" | "DATETIME64" => "Use TIMESTAMP.".to_owned(),
        "TIME" | "INTERVAL" => "Keep it as VARCHAR, or as a number of milliseconds in BIGINT.".to_owned(),
        "JSON" | "JSONB" => "Use STRUCT<name TYPE, ...>, MAP<VARCHAR, TYPE> or VARCHAR.".to_owned(),
        "UUID" | "ENUM" | "CLOB" => "Use VARCHAR.".to_owned(),
        "BLOB" => "Use BYTEA.".to_owned(),
        "MEDIUMINT" => "Use INT.".to_owned(),
        _ if text.to_ascii_uppercase().contains("UNSIGNED") => {
            "Use the next larger signed type: INT, BIGINT, DECIMAL(20, 0).".to_owned()
        }
        _ => match nearest(&word, KNOWN.iter().copied()) {
            Some(name) => format!("Did you mean \"{name}\"?"),
            None => format!("Known types: {}.", KNOWN.join(", ")),
        },
    };
    error.hint(hint)
}

fn decimal(info: &ExactNumberInfo) -> Result<DataType> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => (i64::from(DECIMAL_DEFAULT.0), i64::from(DECIMAL_DEFAULT.1)),
        ExactNumberInfo::Precision(precision) => (i64::try_from(*precision).unwrap_or(i64::MAX), 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (i64::try_from(*precision).unwrap_or(i64::MAX), *scale),
    };
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(p @ 1..=DECIMAL128_MAX_PRECISION), Ok(s)) if s >= 0 && i64::from(s) <= precision => {
            Ok(DataType::Decimal128(p, s))
        }
        _ => Err(Error::user(format!("DECIMAL({precision}, {scale}) does not exist"))
            .hint(format!("Use a precision of 1 to {DECIMAL128_MAX_PRECISION} and a scale of 0 to the precision."))),
    }
}

fn timestamp(precision: Option<u64>, zone: bool) -> Result<DataType> {
    let unit = match precision {
        Some(0) => TimeUnit::Second,
        None | Some(3) => TimeUnit::Millisecond,
        Some(6) => TimeUnit::Microsecond,
        Some(9) => TimeUnit::Nanosecond,
        Some(other) => {
            let error = Error::user(format!("TIMESTAMP({other}) does not exist"));
            return Err(error.hint("Use a precision of 0, 3, 6 or 9 digits."));
        }
    };
    Ok(DataType::Timestamp(unit, zone.then(|| UTC.into())))
}

fn list(item: &Ast) -> Result<DataType> {
    Ok(DataType::List(Arc::new(Field::new_list_field(arrow_type(item)?, true))))
}

/// A map with the names of fields that DataFusion's own maps have.
#[must_use]
pub fn map(key: DataType, value: DataType) -> DataType {
    let entry = Fields::from(vec![Field::new("key", key, false), Field::new("value", value, true)]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entry), false)), false)
}

/// The SQL name of an Arrow type, as DESCRIBE and printed DDL have it; [`arrow_type`] reads it back to the same type, if the
/// type is one that a column can have.
#[must_use]
pub fn sql_type(data_type: &DataType) -> String {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) | DataType::ListView(item) => {
            format!("ARRAY<{}>", sql_type(item.data_type()))
        }
        DataType::Struct(fields) => {
            let fields: Vec<_> =
                fields.iter().map(|f| format!("{} {}", quote_name(f.name()), sql_type(f.data_type()))).collect();
            format!("STRUCT<{}>", fields.join(", "))
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) if pair.len() == 2 => {
                format!("MAP<{}, {}>", sql_type(pair[0].data_type()), sql_type(pair[1].data_type()))
            }
            other => format!("MAP<{other}>"),
        },
        DataType::Dictionary(_, value) => sql_type(value),
        scalar => type_name(scalar),
    }
}

/// Tells DataFusion's planner what our types are: give it to `SessionStateBuilder::with_type_planner`. Types that no column can
/// have but an expression can (`INTERVAL`, `TIME`, unsigned numbers) stay DataFusion's.
#[derive(Debug, Default, Clone, Copy)]
pub struct Types;

impl TypePlanner for Types {
    fn plan_type_field(&self, sql: &Ast) -> datafusion::error::Result<Option<FieldRef>> {
        match arrow_type(sql) {
            Ok(data_type) => Ok(Some(Arc::new(Field::new("", data_type, true)))),
            Err(error) => match sql {
                Ast::Struct(..) | Ast::Map(..) | Ast::Array(_) | Ast::Custom(..) | Ast::Timestamp(..) | Ast::Decimal(_) => {
                    Err(error.into())
                }
                _ => Ok(None),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use sqlparser::parser::Parser;

    use super::super::dialect::VaticDialect;
    use super::*;

    fn read(text: &str) -> Result<DataType> {
        let ast = Parser::new(&VaticDialect).try_with_sql(text).unwrap().parse_data_type().unwrap();
        arrow_type(&ast)
    }

    #[test]
    fn every_type_is_read_and_written_back() {
        for (text, canonical) in [
            ("bool", "BOOLEAN"),
            ("TINYINT", "TINYINT"),
            ("SMALLINT", "SMALLINT"),
            ("INTEGER", "INT"),
            ("BIGINT", "BIGINT"),
            ("FLOAT", "REAL"),
            ("FLOAT(53)", "DOUBLE"),
            ("REAL", "REAL"),
            ("DOUBLE PRECISION", "DOUBLE"),
            ("DOUBLE", "DOUBLE"),
            ("DECIMAL", "DECIMAL(38, 10)"),
            ("NUMERIC(10)", "DECIMAL(10, 0)"),
            ("DECIMAL(10,2)", "DECIMAL(10, 2)"),
            ("TEXT", "VARCHAR"),
            ("VARCHAR(20)", "VARCHAR"),
            ("STRING", "VARCHAR"),
            ("CHARACTER VARYING", "VARCHAR"),
            ("BYTES", "BYTEA"),
            ("VARBINARY", "BYTEA"),
            ("DATE", "DATE"),
            ("TIMESTAMP", "TIMESTAMP(3)"),
            ("TIMESTAMP(0)", "TIMESTAMP(0)"),
            ("TIMESTAMP(9)", "TIMESTAMP(9)"),
            ("TIMESTAMPTZ", "TIMESTAMP(3) WITH TIME ZONE"),
            ("TIMESTAMP(6) WITH TIME ZONE", "TIMESTAMP(6) WITH TIME ZONE"),
            ("TIMESTAMP_LTZ(6)", "TIMESTAMP(6) WITH TIME ZONE"),
            ("INT[]", "ARRAY<INT>"),
            ("ARRAY<ARRAY<DOUBLE>>", "ARRAY<ARRAY<DOUBLE>>"),
            ("STRUCT<userId BIGINT, \"a b\" ARRAY<TEXT>>", "STRUCT<userId BIGINT, \"a b\" ARRAY<VARCHAR>>"),
            ("MAP<VARCHAR, STRUCT<x INT>>", "MAP<VARCHAR, STRUCT<x INT>>"),
        ] {
            let data_type = read(text).unwrap();
            assert_eq!(sql_type(&data_type), canonical);
            assert_eq!(read(canonical).unwrap(), data_type, "{canonical}");
        }
    }

    #[test]
    fn a_type_that_is_not_there_says_what_to_use() {
        for (text, message, hint) in [
            ("BIGIT", "unknown type \"BIGIT\"", "Did you mean \"BIGINT\"?"),
            (
                "INT UNSIGNED",
                "unknown type \"INT UNSIGNED\"",
                "Use the next larger signed type: INT, BIGINT, DECIMAL(20, 0).",
            ),
            ("TIMESTAMP(2)", "TIMESTAMP(2) does not exist", "Use a precision of 0, 3, 6 or 9 digits."),
            (
                "DECIMAL(50, 2)",
                "DECIMAL(50, 2) does not exist",
                "Use a precision of 1 to 38 and a scale of 0 to the precision.",
            ),
            ("JSONB", "unknown type \"JSONB\"", "Use STRUCT<name TYPE, ...>, MAP<VARCHAR, TYPE> or VARCHAR."),
        ] {
            let error = read(text).unwrap_err();
            assert_eq!((error.message(), error.get_hint()), (message, Some(hint)));
        }
    }
}
