//! Records of JSON to columns.   values ─► text (one check of UTF-8 for all) ─► [`Object`], row by row ─► arrays
//!
//! A record either becomes a row of every column or leaves none: after a fault all columns are cut back.

use arrow::array::{Array, BinaryArray};
use arrow::datatypes::SchemaRef;

use super::node::Object;
use super::scan::{Cursor, Fault};
use crate::error::Result;
use crate::format::infer::AnyKind;
use crate::format::{BadRecord, Decoded, Decoder, Texts};

/// Decodes the fields of one schema.
#[derive(Debug)]
pub(super) struct JsonDecoder {
    columns: Object,
    /// Memory for strings with escapes.
    scratch: String,
}

impl JsonDecoder {
    pub(super) fn new(wanted: &SchemaRef, any: &AnyKind) -> Result<Self> {
        Ok(Self { columns: Object::new(wanted.fields(), |name| any.holds(name))?, scratch: String::new() })
    }

    fn record(&mut self, text: &str, row: usize) -> std::result::Result<(), Fault> {
        let mut cursor = Cursor::new(text, std::mem::take(&mut self.scratch));
        let read =
            cursor.expect_object().and_then(|()| self.columns.read(&mut cursor, row)).and_then(|()| cursor.expect_end());
        self.scratch = std::mem::take(&mut cursor.scratch);
        read
    }
}

impl Decoder for JsonDecoder {
    fn decode(&mut self, values: &BinaryArray) -> Decoded {
        let texts = Texts::new(values);
        let mut bad = Vec::new();
        let mut rows = 0;
        for index in 0..values.len() {
            let read = if values.is_null(index) {
                self.columns.null()
            } else {
                match texts.get(index) {
                    Some(text) => self.record(text, rows),
                    None => {
                        bad.push(BadRecord::not_utf8(index));
                        continue;
                    }
                }
            };
            match read {
                Ok(()) => rows += 1,
                Err(fault) => {
                    self.columns.truncate(rows);
                    let (reason, error) = fault.into_parts();
                    bad.push(BadRecord { index, reason, error });
                }
            }
        }
        Decoded { columns: self.columns.finish(), bad }
    }
}
