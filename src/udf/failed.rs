//! Rows that have failed in an epoch, by their arguments.
//!
//! A failed row has the epoch tried again in parts, until its record stands alone. It is known then, so that the function is not called,
//! or waited for, with it again. It is counted once; so is each of several with the same arguments.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef};
use arrow::row::{RowConverter, Rows, SortField};

use crate::error::{Error, Result};

/// Rows that have failed in an epoch, by their arguments.
#[derive(Debug, Default)]
pub struct Failed(HashMap<Box<[u8]>, Failure>);

/// What is known of rows with the same arguments.
#[derive(Debug)]
struct Failure {
    why: String,
    /// So many of them were counted before they stood alone: they are not counted again then.
    ahead: usize,
}

impl Failed {
    /// Whether none has.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first of the rows `keys` that has failed before, and why.
    pub fn first(&self, keys: &Rows) -> Option<(usize, String)> {
        keys.iter().enumerate().find_map(|(row, key)| Some((row, self.0.get(key.data())?.why.clone())))
    }

    /// Remembers a row with the arguments `key` that has failed in a batch of `among` rows. Whether it counts: it does when it is first
    /// seen, and when another one stands alone.
    pub fn note(&mut self, key: &[u8], why: &str, among: usize) -> bool {
        let Some(known) = self.0.get_mut(key) else {
            self.0.insert(key.into(), Failure { why: why.to_owned(), ahead: usize::from(among > 1) });
            return true;
        };
        let counted = among > 1 || known.ahead > 0;
        if among == 1 {
            known.ahead = known.ahead.saturating_sub(1);
        }
        !counted
    }
}

/// The arguments of each row as bytes.
pub fn keys(columns: &[ArrayRef]) -> Result<Rows> {
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    let rows = RowConverter::new(fields).and_then(|converter| converter.convert_columns(columns));
    rows.map_err(|e| Error::internal(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failed_row_counts_once_however_often_it_is_tried() {
        let mut failed = Failed::default();
        // Three rows that are equal, among eight: the first is found, then each of them stands alone.
        let counted = [8, 4, 2, 1, 1, 2, 1].map(|among| failed.note(b"13", "panicked", among));
        assert_eq!(counted, [true, false, false, false, true, false, true]);
        // Two of one batch that are found together.
        let counted = [2, 2, 1, 1].map(|among| failed.note(b"7", "panicked", among));
        assert_eq!(counted, [true, false, false, true]);
        // One that was alone from the beginning, twice.
        let counted = [1, 1].map(|among| failed.note(b"5", "panicked", among));
        assert_eq!(counted, [true, true]);
    }
}
