//! What a name in SQL stands for: a [`Function`], whose [`Version`] may change between epochs.
//!
//! ```text
//! CREATE FUNCTION f          Function f ─► Version 1
//! a query that calls f       Bound: at the first call of an epoch it takes the present version, and keeps it to the epoch's end
//! CREATE OR REPLACE ...      Function f ─► Version 2, for whatever epoch begins next
//! ```

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;

use crate::error::{Error, Result};
use crate::stream::epoch_context::{EpochCell, EpochContext};
use crate::stream::fault::FunctionFailure;

use super::build::{Built, build};
use super::call::Idle;
use super::error::UdfError;
use super::failed::{Failed, keys};
use super::library::{Library, load};
use super::signature::Signature;

/// One build of a function.
#[derive(Debug)]
pub struct Version {
    /// The path that it was made from, as given.
    pub path: PathBuf,
    /// What its source declares.
    pub signature: Signature,
    /// The first 12 hex digits of the library's SHA-256.
    pub hash: String,
    pub(super) library: Arc<Library>,
    /// Runtimes of an async function that wait for work.
    pub(super) idle: Idle,
}

impl Version {
    /// Builds and loads the function at `path`. Takes as long as cargo takes.
    ///
    /// # Errors
    /// Whatever keeps it from being built or loaded.
    pub fn open(path: &Path, shown: &Path) -> std::result::Result<Self, UdfError> {
        let Built { source, library, hash } = build(path, false)?;
        let library = load(&library, source.signature.kind)?;
        Ok(Self { path: shown.to_owned(), signature: source.signature, hash, library, idle: Idle::default() })
    }
}

/// A function of the user's own under its name in SQL.
#[derive(Debug)]
pub struct Function {
    /// Its name, in lower case.
    pub name: String,
    present: RwLock<Arc<Version>>,
    pub(super) counters: Counters,
}

/// What was counted since the function was created in this session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Calls of the library: one per batch, and those in which a row that fails was looked for.
    pub calls: u64,
    /// Rows that have a result or have failed, however often they were tried; of an aggregate, groups.
    pub rows: u64,
    /// Those of them that failed.
    pub errors: u64,
    /// The time spent in the library or waiting for it.
    pub time: Duration,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    calls: AtomicU64,
    rows: AtomicU64,
    errors: AtomicU64,
    nanos: AtomicU64,
}

impl Counters {
    /// One call of the library that began at `started`.
    pub fn call(&self, started: Instant) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }
    /// So many rows have what they are going to have.
    pub fn rows(&self, rows: usize) {
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
    }
    /// One of the rows that are counted otherwise has failed.
    pub fn error(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }
    /// A row has failed that nothing else counts.
    pub fn failed_row(&self) {
        self.rows(1);
        self.error();
    }
}

impl Function {
    /// A function called `name` that is `version` for now.
    #[must_use]
    pub fn new(name: &str, version: Version) -> Arc<Self> {
        let name = name.to_lowercase();
        Arc::new(Self { name, present: RwLock::new(Arc::new(version)), counters: Counters::default() })
    }
    /// What it is at present.
    #[must_use]
    pub fn present(&self) -> Arc<Version> {
        Arc::clone(&self.present.read().unwrap_or_else(PoisonError::into_inner))
    }
    /// Becomes `version` from the next epoch of every query on; false, and nothing is changed, if it is called otherwise: plans
    /// rely on the types.
    #[must_use]
    pub fn replace(&self, version: Version) -> bool {
        let mut present = self.present.write().unwrap_or_else(PoisonError::into_inner);
        let (old, new) = (&present.signature, &version.signature);
        let same_kind = old.kind.name() == new.kind.name();
        let same = same_kind && old.types() == new.types() && old.returns == new.returns;
        if same {
            *present = Arc::new(version);
        }
        same
    }
    /// What was counted.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let get = |n: &AtomicU64| n.load(Ordering::Relaxed);
        let Counters { calls, rows, errors, nanos } = &self.counters;
        Counts { calls: get(calls), rows: get(rows), errors: get(errors), time: Duration::from_nanos(get(nanos)) }
    }
}

/// What becomes of a row that a function fails on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// An error, which ends the query or makes its record a dead letter; that is for the query to say.
    Error,
    /// NULL.
    Null,
}

/// What a query allows its functions.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// What becomes of a row that fails.
    pub on_error: OnError,
    /// How many rows an aggregate may keep of one group.
    pub group_rows: usize,
    /// How a type is called in errors.
    pub type_name: fn(&DataType) -> String,
}

/// A function in a query.
#[derive(Debug)]
pub struct Bound {
    pub(super) function: Arc<Function>,
    pub(super) limits: Limits,
    cell: Arc<EpochCell>,
    taken: Mutex<Option<Taken>>,
}

/// What holds for one epoch.
#[derive(Debug)]
struct Taken {
    of: Arc<EpochContext>,
    version: Arc<Version>,
    failed: Failed,
}

/// Two of them are equal if they call the same function: a query has one set of limits.
impl PartialEq for Bound {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.function, &other.function) && Arc::ptr_eq(&self.cell, &other.cell)
    }
}
impl Eq for Bound {}
impl Hash for Bound {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.name.hash(state);
    }
}

impl Bound {
    /// `function` in a query whose epochs `cell` tells.
    #[must_use]
    pub fn new(function: &Arc<Function>, cell: &Arc<EpochCell>, limits: Limits) -> Arc<Self> {
        Arc::new(Self { function: Arc::clone(function), limits, cell: Arc::clone(cell), taken: Mutex::default() })
    }
    /// The version of the present epoch: the same from its first call to its end, in all lanes.
    pub(super) fn version(&self) -> Arc<Version> {
        let epoch = self.cell.get();
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match &*taken {
            Some(taken) if Arc::ptr_eq(&taken.of, &epoch) => Arc::clone(&taken.version),
            _ => {
                let version = self.function.present();
                *taken = Some(Taken { of: epoch, version: Arc::clone(&version), failed: Failed::default() });
                version
            }
        }
    }
    /// The first of `rows` rows that has failed before in the epoch of [`Bound::version`], and why.
    pub(super) fn failed_before(&self, columns: &[ArrayRef], rows: usize) -> Result<Option<(usize, String)>> {
        if columns.is_empty() || self.failed(|failed| failed.is_empty()) {
            return Ok(None);
        }
        let keys = keys(columns)?;
        let found = self.failed(|failed| failed.first(&keys));
        if let Some((row, why)) = &found {
            self.note(keys.row(*row).data(), why, rows);
        }
        Ok(found)
    }
    /// Remembers and counts the rows of `columns` that have failed, of a batch of `among`.
    pub(super) fn note_failed(&self, columns: &[ArrayRef], failed: &BTreeMap<usize, String>, among: usize) -> Result<()> {
        if !columns.is_empty() {
            let keys = keys(columns)?;
            failed.iter().for_each(|(row, why)| self.note(keys.row(*row).data(), why, among));
        }
        Ok(())
    }
    /// Remembers and counts a row of a batch of `among` that has failed with the arguments `key`.
    pub(super) fn note(&self, key: &[u8], why: &str, among: usize) {
        if self.failed(|failed| failed.note(key, why, among)) {
            self.function.counters.failed_row();
        }
    }
    fn failed<T>(&self, work: impl FnOnce(&mut Failed) -> T) -> T {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        work(taken.as_mut().map_or(&mut Failed::default(), |taken| &mut taken.failed))
    }
    /// Checks number and types of arguments, with words of our own.
    pub(super) fn check(&self, signature: &Signature, given: &[DataType]) -> std::result::Result<(), UdfError> {
        let (name, type_name) = (&self.function.name, self.limits.type_name);
        let usage = signature.text(name, type_name);
        let wrong = |text: String| Err(UdfError::Arguments { text, usage: usage.clone() });
        if given.len() != signature.arguments.len() {
            let (n, s) = (signature.arguments.len(), if signature.arguments.len() == 1 { "" } else { "s" });
            return wrong(format!("{name}() takes {n} argument{s}, {} were given", given.len()));
        }
        for (argument, given) in signature.arguments.iter().zip(given) {
            if !fits(given, &argument.data_type) {
                let (wanted, given) = (type_name(&argument.data_type), type_name(given));
                return wrong(format!("{name}() takes {wanted} for \"{}\", {given} was given", argument.name));
            }
        }
        Ok(())
    }
    /// The error of one row.
    pub(super) fn failure(&self, signature: &Signature, row: &[ArrayRef], why: &str) -> Error {
        let name = &self.function.name;
        let values = signature.arguments.iter().zip(row).map(|(argument, value)| {
            let text = match (value.is_empty(), value.data_type()) {
                (true, _) => "?".to_owned(),
                (_, DataType::Binary) => format!("{} bytes", arrow::array::AsArray::as_binary::<i32>(value).value(0).len()),
                _ if value.is_null(0) => "NULL".to_owned(),
                (_, data_type) => {
                    let text = arrow::util::display::array_value_to_string(value, 0).unwrap_or_default();
                    let text = if text.chars().count() > 200 {
                        text.chars().take(200).chain("...".chars()).collect()
                    } else {
                        text
                    };
                    if is_text(data_type) { format!("'{text}'") } else { text }
                }
            };
            format!("{} = {text}", argument.name)
        });
        let values: Vec<String> = values.collect();
        let text = format!("function \"{name}\" {why}, called with {}", values.join(", "));
        Error::data(text.clone()).source(FunctionFailure { function: name.clone(), reason: text })
    }
}

/// Whether a value of type `from` is passed as a `to` without a CAST in the query: numbers, texts, bytes and times among themselves,
/// but nothing whose decimals would be lost.
fn fits(from: &DataType, to: &DataType) -> bool {
    let text = is_text;
    let bytes = |t: &DataType| matches!(t, DataType::Binary | DataType::LargeBinary | DataType::BinaryView);
    let time = |t: &DataType| matches!(t, DataType::Timestamp(..));
    let whole = |t: &DataType| {
        t.is_integer() || matches!(t, DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) if *scale <= 0)
    };
    matches!(from, DataType::Null)
        || from == to
        || (from.is_numeric() && to.is_numeric() && (whole(from) || !to.is_integer()))
        || (text(from) && text(to))
        || (bytes(from) && bytes(to))
        || (time(from) && time(to))
        || matches!((from, to), (DataType::Interval(_) | DataType::Duration(_), DataType::Duration(_)))
        || matches!(from, DataType::Dictionary(_, values) if fits(values, to))
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}
