//! A table as the statement that makes it: SHOW CREATE TABLE, and the DDL printed for inferred columns.
//!
//! What is printed can be pasted: parsing it gives the same [`TableDefinition`]; but for passwords, which are not printed.

use std::fmt::Write;

use super::definition::{Column, TableDefinition};
use super::quote::{quote_name, quote_text};
use crate::config::is_secret;

impl TableDefinition {
    /// The statement that makes this table, without a semicolon.
    #[must_use]
    pub fn to_sql(&self) -> String {
        let mut text = format!("CREATE TABLE {}", quote_name(&self.name));
        let mut lines: Vec<String> = self.columns.iter().map(Column::to_sql).collect();
        if let Some(watermark) = &self.watermark {
            let name = quote_name(&watermark.column);
            let delay = match watermark.delay_ms {
                0 => String::new(),
                ms if ms % 1000 == 0 => format!(" - INTERVAL '{} seconds'", ms / 1000),
                ms => format!(" - INTERVAL '{ms} milliseconds'"),
            };
            lines.push(format!("WATERMARK FOR {name} AS {name}{delay}"));
        }
        if !self.primary_key.is_empty() {
            let names: Vec<_> = self.primary_key.iter().map(|n| quote_name(n)).collect();
            lines.push(format!("PRIMARY KEY ({})", names.join(", ")));
        }
        if !lines.is_empty() {
            // Writing to a String cannot fail.
            let _ = write!(text, " (\n  {}\n)", lines.join(",\n  "));
        }
        let shown = |name: &str, value: &str| if is_secret(name) { quote_text("***") } else { quote_text(value) };
        let options: Vec<_> = self.options.iter().map(|(k, v)| format!("{} = {}", option_name(k), shown(k, v))).collect();
        if !options.is_empty() {
            let _ = write!(text, " WITH (\n  {}\n)", options.join(",\n  "));
        }
        text
    }
}

/// An option's name as typed: words joined by dots, or in single quotes.
fn option_name(name: &str) -> String {
    let plain = name.split('.').all(|word| {
        word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    });
    if plain { name.to_owned() } else { quote_text(name) }
}

impl Column {
    /// The column as it stands in CREATE TABLE.
    #[must_use]
    pub fn to_sql(&self) -> String {
        let mut text = format!("{} {}", quote_name(&self.name), self.sql_type());
        if !self.nullable {
            text.push_str(" NOT NULL");
        }
        if let Some(metadata) = self.metadata {
            text.push_str(" METADATA");
            if metadata.name() != self.name {
                let _ = write!(text, " FROM '{}'", metadata.name());
            }
        }
        if let Some(comment) = &self.comment {
            let _ = write!(text, " COMMENT {}", quote_text(comment));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::super::statement::Statement;

    #[test]
    fn what_is_printed_can_be_pasted() {
        let text = "CREATE TABLE \"my table\" (
  id BIGINT NOT NULL,
  \"order\" DECIMAL(10, 2) COMMENT 'it''s',
  payload STRUCT<userId BIGINT, tags ARRAY<VARCHAR>>,
  at TIMESTAMP(3) METADATA FROM 'timestamp',
  headers MAP<VARCHAR, BYTEA> METADATA,
  WATERMARK FOR at AS at - INTERVAL '1500 milliseconds',
  PRIMARY KEY (id, \"order\")
) WITH (
  connector = 'kafka',
  kafka.client.id = 'it''s',
  'kafka.odd-name' = '1',
  topic = 'payments'
)";
        let definition = |text: &str| match super::super::parse(text, None).unwrap().remove(0).statement {
            Statement::CreateTable { definition, .. } => *definition,
            other => unreachable!("{other:?}"),
        };
        let first = definition(text);
        assert_eq!(first.to_sql(), text);
        assert_eq!(definition(&first.to_sql()), first);
        let secret = definition("CREATE TABLE t WITH (kafka.sasl.password = 'hush', kafka.sasl.username = 'me')");
        assert_eq!(
            secret.to_sql(),
            "CREATE TABLE t WITH (\n  kafka.sasl.password = '***',\n  kafka.sasl.username = 'me'\n)"
        );
        let bare = definition("CREATE TABLE t WITH (topic = 'x')");
        assert_eq!(bare.to_sql(), "CREATE TABLE t WITH (\n  topic = 'x'\n)");
    }
}
