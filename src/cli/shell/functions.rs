//! What `\df` shows.   rows of SHOW FUNCTIONS ─► a line for each │ everything, with `+` or of one alone
//!
//! A line has the signature, which begins with the name, and what it does; on a screen both are cut to fit, which an ellipsis
//! shows. What is counted of calls is counted of the session's own functions only, and shown of these.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use std::sync::Arc;

use crate::cli::render::Layout;
use crate::error::{Error, Result};

/// What is shown of a function that is built in, if all of it is asked for.
const BUILT_IN: &[usize] = &[0, 1, 2, 3];
/// A signature gets so many characters, even if the descriptions could use them.
const LEAST: usize = 30;

/// The rows of SHOW FUNCTIONS as they are shown, `more` of them with a `+`, on a screen of `width` characters; and their layout.
///
/// # Errors
/// Never, as long as SHOW FUNCTIONS gives texts.
pub(super) fn listed(found: &RecordBatch, more: bool, width: Option<usize>) -> Result<(RecordBatch, Option<Layout>)> {
    if found.num_rows() == 1 || more {
        let own = found.column_by_name("path").is_some_and(|path| path.null_count() < path.len());
        let shown = if own { Ok(found.clone()) } else { found.project(BUILT_IN) };
        return Ok((shown.map_err(internal)?, None));
    }
    let texts = |column: usize| -> Result<StringArray> {
        let column = cast(found.column(column), &DataType::Utf8).map_err(internal)?;
        Ok(column.as_string::<i32>().clone())
    };
    let (names, signatures, descriptions) = (texts(0)?, texts(1)?, texts(2)?);
    // What has no signature is called as it is.
    let signatures: Vec<&str> = names.iter().zip(&signatures).map(|(name, own)| own.or(name).unwrap_or_default()).collect();
    let longest = signatures.iter().map(|text| text.chars().count()).max().unwrap_or(0);
    // Blanks around each column and the line between them take 4 characters; the last blank is not drawn.
    let room = width.map_or(usize::MAX, |width| width.saturating_sub(4));
    let left = longest.min((room / 2).max(LEAST));
    let left: StringArray = signatures.into_iter().map(|text| Some(cut(text, left))).collect();
    let right = room.saturating_sub(longest.min((room / 2).max(LEAST)));
    let right: StringArray = descriptions.iter().map(|text| text.map(|text| cut(text, right))).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![("function", Arc::new(left)), ("what it does", Arc::new(right))];
    let columns = columns.into_iter().map(|(name, column)| (name, column, true));
    Ok((RecordBatch::try_from_iter_with_nullable(columns).map_err(internal)?, Some(Layout::Aligned)))
}

/// `text` in at most `width` characters.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

#[allow(clippy::needless_pass_by_value)] // what map_err calls
fn internal(error: arrow::error::ArrowError) -> Error {
    Error::internal(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(rows: &[[Option<&str>; 5]]) -> RecordBatch {
        let names = ["name", "signature", "description", "kind", "path"];
        let column = |at: usize| -> ArrayRef { Arc::new(rows.iter().map(|row| row[at]).collect::<StringArray>()) };
        let columns = names.iter().enumerate().map(|(at, name)| (*name, column(at), true));
        RecordBatch::try_from_iter_with_nullable(columns).unwrap()
    }

    #[test]
    fn a_line_for_each_fits_the_screen() {
        let long = "what is said of it in many words that nobody reads in a list of three hundred functions";
        let signature = "regexp_replace(str, regexp, replacement[, flags])";
        let found = shown(&[
            [Some("abs"), Some("abs(x)"), Some(long), Some("built in"), None],
            [Some("r"), Some(signature), None, Some("built in"), None],
        ]);
        let lines = |width| {
            let (listed, layout) = listed(&found, false, width).unwrap();
            assert_eq!(layout, Some(Layout::Aligned));
            let text = |column: usize, row: usize| {
                let column = listed.column(column).as_string::<i32>();
                column.is_valid(row).then(|| column.value(row).to_owned())
            };
            [text(0, 0), text(1, 0), text(0, 1), text(1, 1)].map(Option::unwrap_or_default)
        };
        let narrow = lines(Some(80));
        assert_eq!(narrow[0], "abs(x)");
        assert_eq!(narrow[1], "what is said of it in many words that…");
        assert_eq!(narrow[2], "regexp_replace(str, regexp, replaceme…");
        assert_eq!(narrow[3], "");
        assert_eq!(lines(None), ["abs(x)", long, signature, ""]);
        assert_eq!(listed(&found, true, Some(80)).unwrap().0.num_columns(), BUILT_IN.len());
    }

    #[test]
    fn counts_are_for_what_is_counted() {
        let built_in = shown(&[[Some("abs"), Some("abs(x)"), None, Some("built in"), None]]);
        let own = shown(&[[Some("mine"), Some("mine(x)"), None, Some("scalar"), Some("mine.rs")]]);
        assert_eq!(listed(&own, false, Some(80)).unwrap().0.num_columns(), 5);
        assert_eq!(listed(&built_in, false, Some(80)).unwrap().0.num_columns(), BUILT_IN.len());
    }
}
