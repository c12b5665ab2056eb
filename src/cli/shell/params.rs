//! `\\set` and `\\unset`: values for `$name`, as `--param` gives them.   `\\set limit 5` ─► [`Params`](crate::sql::Params) of the session
//!
//! A value is all that stands behind the name and never becomes text of a statement: `sql/params.rs` says what it is where.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};

use crate::engine::{Rows, Session};
use crate::error::{Error, Result};

/// Gives a parameter of `session` a value; without an argument all of them with their values.
///
/// # Errors
/// `User` for a name that is none, or without a value.
pub(super) fn set(session: &mut Session, argument: &str) -> Result<Option<Rows>> {
    if argument.is_empty() {
        return list(session).map(Some);
    }
    let (name, value) = argument.split_once(char::is_whitespace).unwrap_or((argument, ""));
    let value = value.trim();
    if value.is_empty() {
        let error = Error::user(format!("\\set {name} has no value"));
        return Err(error.hint(format!("Write \\set {name} VALUE, \\set {name} '' for an empty text, or \\unset {name}")));
    }
    let mut params = session.params().clone();
    // psql's people may write the name as they will use it.
    params.replace(name.strip_prefix(['$', ':']).unwrap_or(name), value)?;
    session.set_params(params);
    Ok(None)
}

/// Takes the value of a parameter away.
///
/// # Errors
/// `User` if it has none.
pub(super) fn unset(session: &mut Session, argument: &str) -> Result<()> {
    if argument.is_empty() {
        return Err(
            Error::user("\\unset needs a name").hint("Write \\unset limit, for example; \\set lists the names there are.")
        );
    }
    let mut params = session.params().clone();
    params.remove(argument.strip_prefix(['$', ':']).unwrap_or(argument))?;
    session.set_params(params);
    Ok(())
}

fn list(session: &Session) -> Result<Rows> {
    let (names, values): (Vec<&str>, Vec<&str>) = session.params().iter().unzip();
    let columns: [(&str, ArrayRef); 2] =
        [("name", Arc::new(StringArray::from(names))), ("value", Arc::new(StringArray::from(values)))];
    let batch = RecordBatch::try_from_iter(columns).map_err(|e| Error::internal(e.to_string()))?;
    Ok(Rows::of(batch))
}
