//! A value out of a JSON text, for columns that hold JSON as text.

use arroyo_udf_plugin::udf;
use serde_json::Value;

/// What stands at `path` (`$.items[0].name`, or without `$.`): a text as it is, anything else as JSON; NULL if there is nothing.
#[udf]
fn json_path(json: &str, path: &str) -> Option<String> {
    let document: Value = serde_json::from_str(json).ok()?;
    let pointer: String = path.trim_start_matches('$').replace('[', ".").replace(']', "");
    let mut at = &document;
    for step in pointer.split('.').filter(|step| !step.is_empty()) {
        at = match step.parse::<usize>() {
            Ok(index) if at.is_array() => at.get(index)?,
            _ => at.get(step)?,
        };
    }
    match at {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}
