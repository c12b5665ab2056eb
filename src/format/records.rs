//! Records as columns: what connectors deliver and take. Values stay bytes until a [`super::Decoder`] reads them.

use arrow::array::{Array, BinaryArray, BinaryBuilder, MapArray, MapBuilder, MapFieldNames, StringBuilder};
use arrow::buffer::ScalarBuffer;

use crate::time::Millis;

/// Records of one partition of one topic, in offset order (with gaps where markers or compaction leave them), or records
/// about to be written, where offsets mean nothing yet. All columns are of one length. Cloning and slicing copy no bytes.
#[derive(Debug, Clone)]
pub struct Records {
    /// Kafka offsets.
    pub offsets: ScalarBuffer<i64>,
    /// Record timestamps in milliseconds since the Unix epoch.
    pub timestamps: ScalarBuffer<Millis>,
    /// Keys; null where a record has none.
    pub keys: BinaryArray,
    /// Values; null is a tombstone.
    pub values: BinaryArray,
    /// Headers as MAP<VARCHAR, BYTEA> (names may repeat, values may be null); `None` when no record has any.
    pub headers: Option<MapArray>,
}

impl Records {
    /// How many records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// `length` records from `start`; no bytes are copied.
    #[must_use]
    pub fn slice(&self, start: usize, length: usize) -> Self {
        Self {
            offsets: self.offsets.slice(start, length),
            timestamps: self.timestamps.slice(start, length),
            keys: self.keys.slice(start, length),
            values: self.values.slice(start, length),
            headers: self.headers.as_ref().map(|h| h.slice(start, length)),
        }
    }
    /// About how much memory they need: the bytes of keys, values and headers, and the fixed columns.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let data = |array: &BinaryArray| {
            let offsets = array.value_offsets();
            match (offsets.first(), offsets.last()) {
                (Some(first), Some(last)) => usize::try_from(last - first).unwrap_or(0) + 4 * offsets.len(),
                _ => 0,
            }
        };
        let headers = self.headers.as_ref().map_or(0, |h| h.entries().len() * 32);
        data(&self.keys) + data(&self.values) + headers + 16 * self.len()
    }
}

/// Builds [`Records`] one by one.
#[derive(Debug)]
pub struct RecordsBuilder {
    offsets: Vec<i64>,
    timestamps: Vec<Millis>,
    keys: BinaryBuilder,
    values: BinaryBuilder,
    headers: MapBuilder<StringBuilder, BinaryBuilder>,
    any_header: bool,
}

impl RecordsBuilder {
    /// A builder with room for `records`.
    #[must_use]
    pub fn with_capacity(records: usize) -> Self {
        Self {
            offsets: Vec::with_capacity(records),
            timestamps: Vec::with_capacity(records),
            keys: BinaryBuilder::with_capacity(records, 0),
            values: BinaryBuilder::with_capacity(records, records * 64),
            headers: MapBuilder::new(Some(header_names()), StringBuilder::new(), BinaryBuilder::new()),
            any_header: false,
        }
    }
    /// Appends a record; `headers` in order, a header's value may be absent.
    pub fn push<'h>(
        &mut self,
        offset: i64,
        timestamp: Millis,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl IntoIterator<Item = (&'h str, Option<&'h [u8]>)>,
    ) {
        self.offsets.push(offset);
        self.timestamps.push(timestamp);
        self.keys.append_option(key);
        self.values.append_option(value);
        for (name, value) in headers {
            self.headers.keys().append_value(name);
            self.headers.values().append_option(value);
            self.any_header = true;
        }
        // Keys and values grow together above, so the builder's only complaint cannot arise.
        let _ = self.headers.append(true);
    }
    /// How many records were appended.
    #[must_use]
    pub fn len(&self) -> usize {
        self.offsets.len()
    }
    /// Whether none was appended.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }
    /// The records; the builder is empty afterwards.
    pub fn finish(&mut self) -> Records {
        let headers = self.headers.finish();
        Records {
            offsets: std::mem::take(&mut self.offsets).into(),
            timestamps: std::mem::take(&mut self.timestamps).into(),
            keys: self.keys.finish(),
            values: self.values.finish(),
            headers: std::mem::take(&mut self.any_header).then_some(headers),
        }
    }
}

/// The names of a map's fields as DataFusion's own maps have them.
fn header_names() -> MapFieldNames {
    MapFieldNames { entry: "entries".into(), key: "key".into(), value: "value".into() }
}
