//! Columns that no record has.   declared columns + first records ─► advice, each with the field that was probably meant
//!
//! A field that is missing is NULL, so a misspelt column is NULL in every row, and nothing ever says so. CREATE TABLE therefore
//! looks at the first records, if there are any. A field may well be rare, so a column is told of only if a field that nobody
//! declared has nearly its name, or if none of the columns has a field at all. Looking is cheap, and never an error.

use std::sync::Arc;
use std::time::Duration;

use crate::connector::Broker;
use crate::error::{Error, nearest};
use crate::format::field_names;
use crate::sql::TableOptions;
use crate::stream::table::ColumnSource;

use super::tables::{Table, sample};

/// How many of a topic's records are looked at.
const LOOKED_AT: usize = 100;

/// A broker that answers later is not waited for: the statement is a declaration.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is probably wrong with the columns of `table`, by what is there to be read now.
pub(super) async fn advice(broker: &Arc<dyn Broker>, table: &Table) -> Vec<Error> {
    let Some((records, fields)) = fields(broker, table).await else { return Vec::new() };
    let sources = table.definition.columns.iter().zip(&table.rows.sources);
    let columns = sources.filter(|(_, source)| **source == ColumnSource::Value).map(|(column, _)| column.name.as_str());
    compare(&records, &table.definition.name, &columns.collect::<Vec<_>>(), &fields)
}

/// What the records are called, and the names of their fields; `None` if they are no JSON objects, or none are at hand.
async fn fields(broker: &Arc<dyn Broker>, table: &Table) -> Option<(String, Vec<String>)> {
    let (records, fields) = match &table.options {
        TableOptions::Kafka(kafka) if kafka.format == "json" => {
            let look = async {
                broker.topic(&kafka.topic).await.ok()??;
                sample(broker, &kafka.topic, &kafka.properties, LOOKED_AT).await.ok()
            };
            let values = tokio::time::timeout(PATIENCE, look).await.ok()??;
            (format!("record of topic \"{}\"", kafka.topic), field_names(values.iter().map(Vec::as_slice)))
        }
        TableOptions::File(file) => {
            let fields = table.rows.files.as_ref()?.json_fields()?;
            (format!("line of file \"{}\"", file.path), fields.to_vec())
        }
        TableOptions::Kafka(_) | TableOptions::Generator(_) => return None,
    };
    (!fields.is_empty()).then_some((records, fields))
}

fn compare(records: &str, table: &str, columns: &[&str], fields: &[String]) -> Vec<Error> {
    let has = |name: &str| fields.iter().any(|field| field == name);
    let missing: Vec<&str> = columns.iter().copied().filter(|column| !has(column)).collect();
    let unused = || fields.iter().map(String::as_str).filter(|field| !columns.contains(field));
    let near: Vec<Error> = missing
        .iter()
        .filter_map(|column| {
            let field = nearest(column, unused())?;
            let told = Error::user(format!("no {records} looked at has a field \"{column}\""));
            Some(told.hint(format!("Did you mean \"{field}\"?")))
        })
        .collect();
    if !near.is_empty() || columns.is_empty() || missing.len() < columns.len() {
        return near;
    }
    const SHOWN: usize = 20;
    let more = if fields.len() > SHOWN { format!(", ... ({} in all)", fields.len()) } else { String::new() };
    let list = fields.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    let told = Error::user(format!("no {records} looked at has any field of table \"{table}\""));
    vec![told.hint(format!("Call the columns as the fields are called: {list}{more}."))]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(columns: &[&str], fields: &[&str]) -> Vec<(String, String)> {
        let fields: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
        let told = compare("record of topic \"p\"", "t", columns, &fields);
        told.iter().map(|e| (e.message().to_owned(), e.get_hint().unwrap_or_default().to_owned())).collect()
    }

    #[test]
    fn a_misspelt_column_is_told_of_and_a_rare_one_is_not() {
        let amout = || {
            ("no record of topic \"p\" looked at has a field \"amout\"".to_owned(), "Did you mean \"amount\"?".to_owned())
        };
        assert_eq!(told(&["id", "amout"], &["id", "amount"]), [amout()]);
        // Nothing is near; or what is near is another column.
        assert_eq!(told(&["id", "coupon"], &["id", "amount"]), []);
        assert_eq!(told(&["amount", "amout"], &["id", "amount"]), []);
        assert_eq!(told(&["id"], &["id", "amount"]), []);
        assert_eq!(told(&["Id"], &["id"]).len(), 1);
        let none = "no record of topic \"p\" looked at has any field of table \"t\"".to_owned();
        assert_eq!(
            told(&["a", "b"], &["id", "x y"]),
            [(none, "Call the columns as the fields are called: id, x y.".to_owned())]
        );
        assert_eq!(told(&[], &["id"]), []);
        // What is near says more than that nothing fits.
        assert_eq!(told(&["amout", "zebra"], &["id", "amount"]), [amout()]);
    }
}
