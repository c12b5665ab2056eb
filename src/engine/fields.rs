//! Fields of structs that are not there.   `no field "cty" in the struct` + the tables that are read ─► the nearest field
//!
//! The planner says only which field there is not; whichever struct was meant, it is of a table that the query reads, or a model's answer.

use arrow::datatypes::{DataType, FieldRef};

use crate::error::{Error, nearest};
use crate::model::Function;
use crate::model::answer::return_type;

/// `error`, with the nearest field of the structs in `columns` if it is about a field that no struct has.
pub(super) fn with_nearest_field<'a>(error: Error, columns: impl IntoIterator<Item = &'a FieldRef>) -> Error {
    let wanted = error.message().strip_prefix("no field \"").and_then(|rest| rest.split('"').next());
    let Some(wanted) = wanted.filter(|_| error.get_hint().is_none()) else { return error };
    let mut known = Vec::new();
    columns.into_iter().for_each(|column| collect(column.data_type(), &mut known));
    collect(&return_type(Function::Predict), &mut known);
    match nearest(wanted, known.iter().map(String::as_str)) {
        Some(near) => {
            let hint = format!("Did you mean \"{near}\"?");
            error.hint(hint)
        }
        None => error,
    }
}

fn collect(data_type: &DataType, known: &mut Vec<String>) {
    match data_type {
        DataType::Struct(fields) => {
            for field in fields {
                known.push(field.name().clone());
                collect(field.data_type(), known);
            }
        }
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            collect(item.data_type(), known);
        }
        DataType::Map(entries, _) => {
            if let DataType::Struct(entry) = entries.data_type()
                && let Some(value) = entry.get(1)
            {
                collect(value.data_type(), known);
            }
        }
        _ => {}
    }
}
