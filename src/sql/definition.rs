//! What a table is: its columns, its clock, its key, its options.   `CREATE TABLE` ─► [`TableDefinition`] ─► schema, DDL
//!
//! Metadata columns come from the record around the value: topic, partition, offset, timestamp, key, headers. A definition
//! without columns is one whose columns are still to be found: in the first records, or in the query of CREATE TABLE AS.
//! To add a metadata column: a variant of [`MetadataColumn`] and its line in each of that type's functions.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::types::{arrow_type, map, parse_type, sql_type};
use crate::config::Options;
use crate::error::{Error, Result, did_you_mean};
use crate::format::Inferred;

/// A table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableDefinition {
    /// Its name as typed.
    pub name: String,
    /// Its columns, in order; empty where they are still to be found.
    pub columns: Vec<Column>,
    /// How far its clock lags behind its rows.
    pub watermark: Option<Watermark>,
    /// The columns that tell its rows apart, as the columns are spelled.
    pub primary_key: Vec<String>,
    /// `WITH (...)`, as given.
    pub options: Options,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name: the name of the field in the record.
    pub name: String,
    /// Its type.
    pub data_type: DataType,
    /// Whether it may be NULL.
    pub nullable: bool,
    /// What of the record it is, if it is no part of the value.
    pub metadata: Option<MetadataColumn>,
    /// What people wrote about it.
    pub comment: Option<String>,
}

impl Column {
    /// A column of the value that may be NULL.
    pub fn new(name: impl Into<String>, data_type: DataType) -> Self {
        Self { name: name.into(), data_type, nullable: true, metadata: None, comment: None }
    }
    /// Its type in SQL.
    #[must_use]
    pub fn sql_type(&self) -> String {
        sql_type(&self.data_type)
    }
    /// It as an Arrow field.
    #[must_use]
    pub fn field(&self) -> Field {
        Field::new(&self.name, self.data_type.clone(), self.nullable)
    }
}

/// `WATERMARK FOR column AS column - INTERVAL '...'`: rows up to `delay_ms` out of order are waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watermark {
    /// The column with the event time, as it is spelled.
    pub column: String,
    /// How far behind the latest row the clock stands, in milliseconds; not negative.
    pub delay_ms: i64,
}

/// A part of a record that is not its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MetadataColumn {
    /// The name of its topic: VARCHAR.
    Topic,
    /// Its partition: INT.
    Partition,
    /// Its offset: BIGINT.
    Offset,
    /// Its timestamp: TIMESTAMP(3), with or without time zone. A sink may set it.
    Timestamp,
    /// Its key: BYTEA or VARCHAR. A sink may set it.
    Key,
    /// Its headers: MAP<VARCHAR, BYTEA>. A sink may set them.
    Headers,
}

impl MetadataColumn {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Topic, Self::Partition, Self::Offset, Self::Timestamp, Self::Key, Self::Headers];

    /// Its name in `METADATA FROM '...'`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Partition => "partition",
            Self::Offset => "offset",
            Self::Timestamp => "timestamp",
            Self::Key => "key",
            Self::Headers => "headers",
        }
    }
    /// The types a column of it can have; the first is the usual one.
    #[must_use]
    pub fn types(self) -> Vec<DataType> {
        let millis = TimeUnit::Millisecond;
        match self {
            Self::Topic => vec![DataType::Utf8],
            Self::Partition => vec![DataType::Int32],
            Self::Offset => vec![DataType::Int64],
            Self::Timestamp => {
                vec![DataType::Timestamp(millis, None), DataType::Timestamp(millis, Some(super::types::UTC.into()))]
            }
            Self::Key => vec![DataType::Binary, DataType::Utf8],
            Self::Headers => vec![map(DataType::Utf8, DataType::Binary)],
        }
    }
    /// Whether a sink can set it.
    #[must_use]
    pub fn writable(self) -> bool {
        matches!(self, Self::Timestamp | Self::Key | Self::Headers)
    }
    /// The one called `name`, in any case.
    ///
    /// # Errors
    /// `User`, with the names there are.
    pub fn find(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|m| m.name().eq_ignore_ascii_case(name)).ok_or_else(|| {
            let error = Error::user(format!("unknown metadata \"{name}\""));
            match did_you_mean(name, "metadata", Self::ALL.map(Self::name)) {
                Some(hint) => error.hint(hint),
                None => error,
            }
        })
    }
    /// Checks the type of a column of it.
    ///
    /// # Errors
    /// `User`, with the type to use.
    pub fn check(self, column: &str, data_type: &DataType) -> Result<()> {
        let types = self.types();
        if types.contains(data_type) {
            return Ok(());
        }
        let names: Vec<_> = types.iter().map(sql_type).collect();
        let error = Error::user(format!(
            "column \"{column}\" is {}, but the {} of a record is {}",
            sql_type(data_type),
            self.name(),
            names.join(" or ")
        ));
        Err(error.hint(format!("Write \"{column} {} METADATA\".", names.first().map_or("", String::as_str))))
    }
}

impl TableDefinition {
    /// All columns as an Arrow schema.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.columns.iter().map(Column::field).collect::<Vec<_>>()))
    }
    /// The columns that the record's value holds (and its key, if the key has a format): all but metadata.
    #[must_use]
    pub fn value_schema(&self) -> SchemaRef {
        let columns = self.columns.iter().filter(|c| c.metadata.is_none());
        Arc::new(Schema::new(columns.map(Column::field).collect::<Vec<_>>()))
    }
    /// The column called `name`, spelled exactly.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name)
    }
    /// The same table with these columns: those found in records, or those of a query.
    #[must_use]
    pub fn with_columns(mut self, schema: &Schema) -> Self {
        let fields = schema.fields().iter();
        self.columns = fields
            .map(|f| Column { nullable: f.is_nullable(), ..Column::new(f.name(), column_type(f.data_type())) })
            .collect();
        self
    }
}

impl TableDefinition {
    /// The same table with the columns, and the options, that records suggest.
    #[must_use]
    pub fn with_inferred(mut self, inferred: &Inferred) -> Self {
        inferred.options.iter().for_each(|(name, value)| self.options.set(name, value));
        self.with_columns(&inferred.schema)
    }
}

/// The type that a column has if values of `data_type` are kept in it: what its SQL name means, where it has one.
fn column_type(data_type: &DataType) -> DataType {
    let parsed = parse_type(&sql_type(data_type));
    parsed.ok().and_then(|ast| arrow_type(&ast).ok()).unwrap_or_else(|| data_type.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_has_its_types() {
        assert!(MetadataColumn::Key.check("k", &DataType::Utf8).is_ok());
        let error = MetadataColumn::Offset.check("o", &DataType::Int32).unwrap_err();
        assert_eq!(error.message(), "column \"o\" is INT, but the offset of a record is BIGINT");
        let error = MetadataColumn::find("ofset").unwrap_err();
        assert_eq!((error.message(), error.get_hint()), ("unknown metadata \"ofset\"", Some("Did you mean \"offset\"?")));
    }

    #[test]
    fn columns_of_a_query_become_columns_of_the_table() {
        let schema = Schema::new(vec![Field::new("a", DataType::Utf8View, false), Field::new("b", DataType::UInt64, true)]);
        let table = TableDefinition::default().with_columns(&schema);
        assert_eq!(table.columns[0].field(), Field::new("a", DataType::Utf8, false));
        // There is no unsigned column: the type stays, and the sink's check names it.
        assert_eq!(table.columns[1].data_type, DataType::UInt64);
    }
}
