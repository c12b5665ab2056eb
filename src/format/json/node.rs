//! Columns of any shape, filled straight from JSON text.   object ─► [`Object`] ─► one [`Node`] per field ─► Arrow
//!
//! There is no tree in between: the schema drives the scan, and what it does not name is passed over. Records of a topic have
//! nearly always the same keys in the same order, so an object expects the keys of the one before, as bytes; only an
//! unexpected key is read as a string and looked up.
//! After a fault a node may be one row too long; the decoder cuts it back ([`Node::truncate`]).

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray, MapArray, NullBufferBuilder, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Fields};

use super::scan::{Cursor, Fault, Text};
use crate::error::{Error, Result};
use crate::format::column::{Scalar, Value, scalar};
use crate::format::types::type_name;

/// How many keys in a row an object remembers.
const REMEMBERED_KEYS: usize = 1_024;

/// A column under construction.
#[derive(Debug)]
pub(super) enum Node {
    /// Of a type without parts, with its SQL name for messages.
    Scalar(Box<dyn Scalar>, String),
    /// Of text that takes values of any kind: a string as it is, others as they are written.
    Any(Box<dyn Scalar>),
    Struct(Box<StructNode>),
    List(Box<ListNode>),
    Map(Box<MapNode>),
}

impl Node {
    /// An empty column for `field`; whether text in it takes values of `any` kind.
    ///
    /// # Errors
    /// `User` if JSON cannot carry its type.
    pub(super) fn new(field: &Field, any: bool) -> Result<Self> {
        let refuse = || {
            let error =
                Error::user(format!("format json cannot carry column \"{}\" of type {}", field.name(), field.data_type()));
            error
                .hint("Use BOOLEAN, integers, REAL, DOUBLE, DECIMAL, VARCHAR, BYTEA, DATE, TIMESTAMP, ARRAY, STRUCT or MAP.")
        };
        if let Some(column) = scalar(field.data_type()) {
            if any && field.data_type() == &DataType::Utf8 {
                return Ok(Self::Any(column));
            }
            return Ok(Self::Scalar(column, type_name(field.data_type())));
        }
        match field.data_type() {
            DataType::Struct(fields) => Ok(Self::Struct(Box::new(StructNode {
                object: Object::new(fields, |_| any)?,
                fields: fields.clone(),
                nulls: NullBufferBuilder::new(0),
            }))),
            DataType::List(item) => Ok(Self::List(Box::new(ListNode {
                items: Node::new(item, any)?,
                item: Arc::clone(item),
                offsets: Offsets::default(),
            }))),
            DataType::Map(entries, _) => match entries.data_type() {
                DataType::Struct(kv) if kv.len() == 2 && kv[0].data_type() == &DataType::Utf8 => {
                    Ok(Self::Map(Box::new(MapNode {
                        keys: scalar(&DataType::Utf8).ok_or_else(refuse)?,
                        values: Node::new(&kv[1], any)?,
                        entries: Arc::clone(entries),
                        fields: kv.clone(),
                        offsets: Offsets::default(),
                        hashes: Vec::new(),
                        hasher: RandomState::new(),
                    })))
                }
                _ => {
                    let error = Error::user(format!(
                        "format json cannot carry column \"{}\": its keys are not VARCHAR",
                        field.name()
                    ));
                    Err(error.hint("Declare it as MAP<VARCHAR, ...>."))
                }
            },
            _ => Err(refuse()),
        }
    }

    /// Appends the value at the cursor, which may be `null` if the column is `nullable`.
    fn read(&mut self, cursor: &mut Cursor<'_>, nullable: bool) -> std::result::Result<(), Fault> {
        if cursor.peek() == Some(b'n') {
            cursor.literal("null")?;
            if !nullable {
                return Err(Fault::null("null"));
            }
            self.null();
            return Ok(());
        }
        match self {
            Self::Scalar(column, expected) => read_scalar(column.as_mut(), expected, cursor),
            Self::Any(column) if cursor.peek() == Some(b'"') => read_scalar(column.as_mut(), "VARCHAR", cursor),
            Self::Any(column) => {
                let start = cursor.at();
                cursor.skip()?;
                let text = cursor.since(start);
                column.push(Value::Text(text)).map_err(|note| Fault::mismatch("VARCHAR", text, note))
            }
            Self::Struct(node) => node.read(cursor),
            Self::List(node) => node.read(cursor),
            Self::Map(node) => node.read(cursor),
        }
    }

    /// Appends NULL; below a NULL struct also to columns that are NOT NULL, where nobody sees it.
    fn null(&mut self) {
        match self {
            Self::Scalar(column, _) | Self::Any(column) => column.null(),
            Self::Struct(node) => {
                node.object.fields.iter_mut().for_each(|f| f.node.null());
                node.nulls.append_null();
            }
            Self::List(node) => node.offsets.close(node.items.len(), false),
            Self::Map(node) => node.offsets.close(node.keys.len(), false),
        }
    }

    /// How many rows are complete.
    fn len(&self) -> usize {
        match self {
            Self::Scalar(column, _) | Self::Any(column) => column.len(),
            Self::Struct(node) => node.nulls.len(),
            Self::List(node) => node.offsets.nulls.len(),
            Self::Map(node) => node.offsets.nulls.len(),
        }
    }

    /// Cuts back to the first `len` rows, and what a fault left behind them.
    fn truncate(&mut self, len: usize) {
        match self {
            Self::Scalar(column, _) | Self::Any(column) => column.truncate(len),
            Self::Struct(node) => {
                node.object.truncate(len);
                node.nulls.truncate(len);
            }
            Self::List(node) => {
                let items = node.offsets.truncate(len);
                node.items.truncate(items);
            }
            Self::Map(node) => {
                let entries = node.offsets.truncate(len);
                node.keys.truncate(entries);
                node.values.truncate(entries);
            }
        }
    }

    /// The array; the column is empty afterwards.
    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Scalar(column, _) | Self::Any(column) => column.finish(),
            Self::Struct(node) => {
                let (len, columns, nulls) = (node.nulls.len(), node.object.finish(), node.nulls.finish());
                if columns.is_empty() {
                    return Arc::new(StructArray::new_empty_fields(len, nulls));
                }
                Arc::new(StructArray::new(node.fields.clone(), columns, nulls))
            }
            Self::List(node) => {
                let (offsets, nulls) = node.offsets.finish();
                Arc::new(ListArray::new(Arc::clone(&node.item), offsets, node.items.finish(), nulls))
            }
            Self::Map(node) => {
                let (offsets, nulls) = node.offsets.finish();
                let columns = vec![node.keys.finish(), node.values.finish()];
                let entries = StructArray::new(node.fields.clone(), columns, None);
                Arc::new(MapArray::new(Arc::clone(&node.entries), offsets, entries, nulls, false))
            }
        }
    }
}

/// Scans one value without parts and hands it to its column.
fn read_scalar(column: &mut dyn Scalar, expected: &str, cursor: &mut Cursor<'_>) -> std::result::Result<(), Fault> {
    let start = cursor.at();
    let pushed = match cursor.peek() {
        Some(b'"') => match cursor.string()? {
            Text::Plain(text) => column.push(Value::Text(text)),
            Text::Escaped => column.push(Value::Text(&cursor.scratch)),
        },
        Some(b'-' | b'0'..=b'9') => column.push(Value::Number(cursor.number()?)),
        Some(b't') => cursor.literal("true").map(|()| column.push(Value::Bool(true)))?,
        Some(b'f') => cursor.literal("false").map(|()| column.push(Value::Bool(false)))?,
        _ => {
            cursor.skip()?;
            Err("")
        }
    };
    pushed.map_err(|note| Fault::mismatch(expected, cursor.since(start), note))
}

/// The fields of a record or struct.
#[derive(Debug)]
pub(super) struct Object {
    fields: Vec<ObjectField>,
    index: HashMap<String, usize>,
    /// The keys of the objects before, in their order, in quotes and as written; with the field of each that is wanted.
    seen: Vec<(Box<str>, Option<usize>)>,
}

#[derive(Debug)]
struct ObjectField {
    name: String,
    nullable: bool,
    node: Node,
}

impl Object {
    /// Empty columns for `fields`; `any` says of which of them text takes values of any kind.
    pub(super) fn new(fields: &Fields, any: impl Fn(&str) -> bool) -> Result<Self> {
        let index = fields.iter().enumerate().map(|(i, f)| (f.name().clone(), i)).collect();
        let fields = fields.iter().map(|f| {
            let node = Node::new(f, any(f.name()))?;
            Ok(ObjectField { name: f.name().clone(), nullable: f.is_nullable(), node })
        });
        Ok(Self { fields: fields.collect::<Result<_>>()?, index, seen: Vec::new() })
    }

    /// Appends the object at the cursor as row `row` of every column. Of two equal keys the last one counts, as in PostgreSQL.
    pub(super) fn read(&mut self, cursor: &mut Cursor<'_>, row: usize) -> std::result::Result<(), Fault> {
        let mut position = 0;
        cursor.members(b'}', |cursor| {
            let target = match self.seen.get(position) {
                Some((key, target)) if cursor.take(key) => *target,
                _ => self.unexpected(position, cursor)?,
            };
            position += 1;
            cursor.blanks();
            cursor.expect(b':')?;
            cursor.blanks();
            let Some(field) = target.and_then(|i| self.fields.get_mut(i)) else { return cursor.skip() };
            if field.node.len() > row {
                field.node.truncate(row);
            }
            field.node.read(cursor, field.nullable).map_err(|fault| fault.inside(&field.name))
        })?;
        for field in &mut self.fields {
            if field.node.len() == row {
                if !field.nullable {
                    return Err(Fault::null("no such field").inside(&field.name));
                }
                field.node.null();
            }
        }
        Ok(())
    }

    /// Appends a row of NULLs, for a record without a value.
    pub(super) fn null(&mut self) -> std::result::Result<(), Fault> {
        if let Some(field) = self.fields.iter().find(|f| !f.nullable) {
            return Err(Fault::null("a tombstone").inside(&field.name));
        }
        self.fields.iter_mut().for_each(|f| f.node.null());
        Ok(())
    }

    /// Reads a key that was not expected at this position, and expects it there from now on.
    fn unexpected(&mut self, position: usize, cursor: &mut Cursor<'_>) -> std::result::Result<Option<usize>, Fault> {
        let start = cursor.at();
        let target = match cursor.string()? {
            Text::Plain(key) => self.index.get(key).copied(),
            Text::Escaped => self.index.get(cursor.scratch.as_str()).copied(),
        };
        let seen = (Box::from(cursor.since(start)), target);
        match self.seen.get_mut(position) {
            Some(slot) => *slot = seen,
            None if position < REMEMBERED_KEYS => self.seen.push(seen),
            None => {}
        }
        Ok(target)
    }

    /// Cuts every column back to `len` rows.
    pub(super) fn truncate(&mut self, len: usize) {
        self.fields.iter_mut().for_each(|f| f.node.truncate(len));
    }

    /// The arrays, in the order of the fields.
    pub(super) fn finish(&mut self) -> Vec<ArrayRef> {
        self.fields.iter_mut().map(|f| f.node.finish()).collect()
    }
}

/// Rows with parts.
#[derive(Debug)]
pub(super) struct StructNode {
    object: Object,
    fields: Fields,
    nulls: NullBufferBuilder,
}

impl StructNode {
    fn read(&mut self, cursor: &mut Cursor<'_>) -> std::result::Result<(), Fault> {
        expect_open(cursor, b'{', || type_name(&DataType::Struct(self.fields.clone())))?;
        self.object.read(cursor, self.nulls.len())?;
        self.nulls.append_non_null();
        Ok(())
    }
}

/// Rows of any number of values.
#[derive(Debug)]
pub(super) struct ListNode {
    items: Node,
    item: FieldRef,
    offsets: Offsets,
}

impl ListNode {
    fn read(&mut self, cursor: &mut Cursor<'_>) -> std::result::Result<(), Fault> {
        expect_open(cursor, b'[', || type_name(&DataType::List(Arc::clone(&self.item))))?;
        let nullable = self.item.is_nullable();
        cursor.members(b']', |cursor| self.items.read(cursor, nullable).map_err(|fault| fault.inside("[]")))?;
        self.offsets.close(self.items.len(), true);
        Ok(())
    }
}

/// Rows of any number of keys with values.
#[derive(Debug)]
pub(super) struct MapNode {
    keys: Box<dyn Scalar>,
    values: Node,
    entries: FieldRef,
    fields: Fields,
    offsets: Offsets,
    /// Of the keys of the row that is being read.
    hashes: Vec<u64>,
    hasher: RandomState,
}

impl MapNode {
    fn read(&mut self, cursor: &mut Cursor<'_>) -> std::result::Result<(), Fault> {
        expect_open(cursor, b'{', || type_name(&DataType::Map(Arc::clone(&self.entries), false)))?;
        let (start, entries) = (cursor.at(), self.keys.len());
        self.read_but(&HashSet::new(), cursor)?;
        // Equal keys have equal hashes; the few that only look equal cost a second look.
        self.hashes.sort_unstable();
        if self.hashes.windows(2).any(|pair| pair[0] == pair[1]) {
            self.keys.truncate(entries);
            self.values.truncate(entries);
            cursor.back_to(start);
            let doubled = Self::doubled(cursor)?;
            self.read_but(&doubled, cursor)?;
        }
        self.offsets.close(self.keys.len(), true);
        Ok(())
    }

    /// Appends the entries at the cursor, but for those at the positions `skipped`.
    fn read_but(&mut self, skipped: &HashSet<usize>, cursor: &mut Cursor<'_>) -> std::result::Result<(), Fault> {
        let nullable = self.fields[1].is_nullable();
        let mut position = 0;
        self.hashes.clear();
        cursor.members(b'}', |cursor| {
            let wanted = !skipped.contains(&position);
            position += 1;
            if wanted {
                let key = match cursor.string()? {
                    Text::Plain(key) => key,
                    Text::Escaped => cursor.scratch.as_str(),
                };
                self.hashes.push(self.hasher.hash_one(key));
                self.keys.push(Value::Text(key)).map_err(|note| Fault::mismatch("VARCHAR", "a key", note))?;
            } else {
                cursor.skip()?;
            }
            cursor.blanks();
            cursor.expect(b':')?;
            cursor.blanks();
            if !wanted {
                return cursor.skip();
            }
            self.values.read(cursor, nullable).map_err(|fault| fault.inside("[]"))
        })
    }

    /// The positions of keys that come again later: of two equal keys the last one counts.
    fn doubled(cursor: &mut Cursor<'_>) -> std::result::Result<HashSet<usize>, Fault> {
        let start = cursor.at();
        let mut last: HashMap<Box<str>, usize> = HashMap::new();
        let mut doubled = HashSet::new();
        let mut position = 0;
        cursor.members(b'}', |cursor| {
            let key = match cursor.string()? {
                Text::Plain(key) => Box::from(key),
                Text::Escaped => Box::from(cursor.scratch.as_str()),
            };
            doubled.extend(last.insert(key, position));
            position += 1;
            cursor.blanks();
            cursor.expect(b':')?;
            cursor.blanks();
            cursor.skip()
        })?;
        cursor.back_to(start);
        Ok(doubled)
    }
}

/// Anything but an opening `bracket` is a value of another type.
fn expect_open(cursor: &mut Cursor<'_>, bracket: u8, expected: impl Fn() -> String) -> std::result::Result<(), Fault> {
    if cursor.peek() == Some(bracket) {
        return Ok(());
    }
    let start = cursor.at();
    cursor.skip()?;
    Err(Fault::mismatch(&expected(), cursor.since(start), ""))
}

/// Where the rows of a list or map end among its values.
#[derive(Debug)]
struct Offsets {
    /// The end of each row, behind a leading zero.
    ends: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl Default for Offsets {
    fn default() -> Self {
        Self { ends: vec![0], nulls: NullBufferBuilder::new(0) }
    }
}

impl Offsets {
    /// Ends a row behind value `end`. A batch that large (its text is below 2 GiB, a value needs two bytes) does not exist.
    fn close(&mut self, end: usize, valid: bool) {
        self.ends.push(i32::try_from(end).unwrap_or(i32::MAX));
        self.nulls.append(valid);
    }
    /// Cuts back to `len` rows; returns how many values they have.
    fn truncate(&mut self, len: usize) -> usize {
        self.ends.truncate(len + 1);
        self.nulls.truncate(len);
        self.ends.last().map_or(0, |end| usize::try_from(*end).unwrap_or(0))
    }
    fn finish(&mut self) -> (OffsetBuffer<i32>, Option<arrow::buffer::NullBuffer>) {
        let ends = std::mem::replace(&mut self.ends, vec![0]);
        (OffsetBuffer::new(ends.into()), self.nulls.finish())
    }
}
