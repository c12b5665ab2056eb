//! Async functions.   rows ─► sent one by one, `allowed_in_flight` at once ─► answers as they come ─► one column in the order of rows
//!
//! ```text
//! a row has not answered in `timeout`   that row has failed; the others go on, beside what still runs of it: `allowed_in_flight` in all
//! the runtime takes nothing any more    a function blocks its thread: what was sent has failed, the rest goes to a new runtime
//! the runtime has died (a panic)        what was on its way is tried again in halves, in new runtimes, until the row stands alone
//! ```
//!
//! A runtime is a thread of the library; it serves one batch at a time and then waits for the next, so that connections stay open. One
//! that a row got stuck in is given up. Answers have to be asked for: once a millisecond while some are outstanding.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Array, ArrayRef, new_empty_array, new_null_array};
use arrow::compute::interleave;
use arrow::datatypes::{DataType, FieldRef};
use async_trait::async_trait;
use datafusion::common::{Result as DfResult, internal_err};
use datafusion::logical_expr::async_udf::{AsyncScalarUDF, AsyncScalarUDFImpl};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature as Accepted, Volatility,
};

use crate::error::{Error, Result};

use super::arguments::Arguments;
use super::call::{AsyncCalls, CallError, Runtime};
use super::error::UdfError;
use super::function::{Bound, OnError, Version};
use super::head::Head;
use super::scalar::panicked;
use super::signature::{AsyncOptions, Kind, Signature};

/// An async function in a query.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Lookup(Head);

impl Lookup {
    pub fn udf(bound: Arc<Bound>, signature: Signature) -> ScalarUDF {
        // DataFusion's wrapper does not ask for coercions: anything is accepted here, checked with the result's field, and cast
        // before it is sent.
        let accepted = Accepted::variadic_any(Volatility::Volatile);
        AsyncScalarUDF::new(Arc::new(Self(Head::new(bound, signature, accepted)))).into_scalar_udf()
    }
}

impl ScalarUDFImpl for Lookup {
    fn name(&self) -> &str {
        self.0.name()
    }
    fn signature(&self) -> &Accepted {
        &self.0.accepted
    }
    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(self.0.returns())
    }
    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        self.0.field(args.arg_fields)
    }
    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        internal_err!("{}() is async and was called as if it were not", self.name())
    }
}

#[async_trait]
impl AsyncScalarUDFImpl for Lookup {
    async fn invoke_async_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let Head { bound, signature, .. } = &self.0;
        let version = bound.version();
        let Arguments { columns, unfit } = Arguments::of(bound, signature, &args.args, args.number_rows)?;
        // The options are the version's: a replacement may have others.
        let (Some(calls), Kind::Async(options)) = (version.library.asynchronous, version.signature.kind) else {
            return internal_err!("library \"{}\" has no __start", version.path.display());
        };
        let mut batch = Batch {
            bound,
            version: &version,
            calls,
            options,
            columns,
            answers: Answers { failed: unfit, ..Answers::default() },
        };
        Ok(ColumnarValue::Array(batch.compute(args.number_rows).await?))
    }
}

/// What came back so far.
#[derive(Default)]
struct Answers {
    /// Columns as the library gave them.
    parts: Vec<ArrayRef>,
    /// For each row that has answered: part and place in it.
    places: BTreeMap<usize, (usize, usize)>,
    /// Rows that failed, and why.
    failed: BTreeMap<usize, String>,
}

impl Answers {
    fn open(&self, row: usize) -> bool {
        !self.places.contains_key(&row) && !self.failed.contains_key(&row)
    }
}

struct Batch<'a> {
    bound: &'a Bound,
    version: &'a Version,
    calls: AsyncCalls,
    options: AsyncOptions,
    columns: Vec<ArrayRef>,
    answers: Answers,
}

/// How a group of rows ended.
enum End {
    /// Every row has answered or failed.
    All,
    /// The runtime hangs, or is full of rows that are late: these were not sent yet.
    Stuck(Vec<usize>),
    /// The runtime died of a panic, with some rows on their way, while others were not sent yet.
    Died { suspects: Vec<usize>, unsent: Vec<usize>, said: String },
}

/// What a row is sent under that only finds out whether the runtime lives.
const PROBE: u64 = u64::MAX;
const PAUSE: Duration = Duration::from_millis(1);
/// How long after a panic it is asked whether the runtime lives: it is counted before its thread unwinds, and ends only then.
const AFTER_PANIC: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(10), Duration::from_millis(100), Duration::from_secs(1)];

impl Batch<'_> {
    async fn compute(&mut self, rows: usize) -> Result<ArrayRef> {
        let signature = &self.version.signature;
        if rows == 0 {
            return Ok(new_empty_array(&signature.returns));
        }
        let started = Instant::now();
        // Arroyo's wrapper does not look for NULL where the function takes none; so these rows are not sent.
        let needed: Vec<&ArrayRef> = self
            .columns
            .iter()
            .zip(&signature.arguments)
            .filter(|(_, argument)| !argument.nullable)
            .map(|(c, _)| c)
            .collect();
        let asked = |row: &usize| self.answers.open(*row) && needed.iter().all(|column| column.is_valid(*row));
        let sent: Vec<usize> = (0..rows).filter(asked).collect();
        // An error has the epoch tried again in parts: one that holds a row that has failed fails at once.
        let again = self.bound.limits.on_error == OnError::Error;
        if again && let Some((row, why)) = self.bound.failed_before(&self.columns, rows)? {
            return Err(self.bound.failure(signature, &self.row(row), &why));
        }
        let (count, known) = (sent.len(), self.answers.failed.len());
        let mut waiting = vec![sent];
        while let Some(group) = waiting.pop() {
            match self.group(&group).await? {
                End::All => {}
                End::Stuck(unsent) => waiting.push(unsent),
                End::Died { mut suspects, unsent, said } => {
                    waiting.push(unsent);
                    if let [row] = suspects.as_slice() {
                        self.answers.failed.insert(*row, said);
                    } else {
                        let second = suspects.split_off(suspects.len() / 2);
                        waiting.extend([second, suspects]);
                    }
                }
            }
        }
        let counters = &self.bound.function.counters;
        if count > 0 {
            counters.call(started);
        }
        if let (true, Some((row, why))) = (again, self.answers.failed.first_key_value()) {
            // The others are tried again with their part of the epoch, and are counted there.
            self.bound.note_failed(&self.columns, &self.answers.failed, rows)?;
            return Err(self.bound.failure(signature, &self.row(*row), why));
        }
        counters.rows(count);
        (known..self.answers.failed.len()).for_each(|_| counters.error());
        let null = new_null_array(&signature.returns, 1);
        let mut parts: Vec<&dyn Array> = self.answers.parts.iter().map(AsRef::as_ref).collect();
        parts.push(null.as_ref());
        let nothing = (parts.len() - 1, 0);
        let places: Vec<(usize, usize)> =
            (0..rows).map(|row| self.answers.places.get(&row).copied().unwrap_or(nothing)).collect();
        interleave(&parts, &places).map_err(|e| Error::internal(e.to_string()))
    }

    fn row(&self, row: usize) -> Vec<ArrayRef> {
        self.columns.iter().map(|column| column.slice(row, 1)).collect()
    }

    fn border(&self, got: String) -> Error {
        let wanted = (self.bound.limits.type_name)(&self.version.signature.returns);
        UdfError::Result { function: self.bound.function.name.clone(), got, wanted }.into()
    }

    /// Sends `rows` and takes their answers, in one runtime.
    async fn group(&mut self, rows: &[usize]) -> Result<End> {
        if rows.is_empty() {
            return Ok(End::All);
        }
        let shim = self.version.library.shim;
        let mut panics = shim.map(super::call::ShimCalls::count);
        // When it is asked whether the runtime lives; and once more before the first row is given up as late, if it may have died
        // of a panic. A library without our shim does not tell of any. Asking calls the function, so others' panics are no reason.
        let (mut probes, mut doubtful) = (VecDeque::<Instant>::new(), shim.is_none());
        let mut said = None;
        let runtime = self.version.idle.take().unwrap_or_else(|| self.calls.start());
        // Rows that are late and perhaps still on their way.
        let (mut next, mut late, mut lost) = (0, false, 0);
        let most = self.options.allowed_in_flight;
        // Rows on their way in the order in which they were sent, which is that of their deadlines.
        let mut on_way: VecDeque<(usize, Instant)> = VecDeque::new();
        let died = |batch: &Self, next: usize, said: Option<(String, String)>| {
            let sent = rows.get(..next).unwrap_or_default();
            let suspects = sent.iter().copied().filter(|row| batch.answers.open(*row)).collect();
            let said = panicked(shim.and_then(|shim| shim.of(&runtime)).or(said));
            Ok(End::Died { suspects, unsent: rows.get(next..).unwrap_or_default().to_vec(), said })
        };
        loop {
            while let Some(row) = rows.get(next).copied().filter(|_| on_way.len() + lost < most) {
                next += 1;
                match tokio::time::timeout(self.options.timeout, runtime.send(row as u64, &self.row(row))).await {
                    Ok(Ok(true)) => on_way.push_back((row, Instant::now() + self.options.timeout)),
                    Ok(Ok(false) | Err(CallError::Panic)) => return died(self, next, said),
                    Ok(Err(CallError::Border(got))) => return Err(self.border(got)),
                    Err(_) => {
                        // The runtime takes nothing any more: a function blocks its thread. What was sent before is late, too; this
                        // row was not, unless it is the first: it is tried in another.
                        self.take(&runtime)?;
                        let (sent, unsent) = rows.split_at((next - 1).clamp(1, rows.len()));
                        for row in sent {
                            self.late(*row);
                        }
                        return Ok(End::Stuck(unsent.to_vec()));
                    }
                }
            }
            if !self.take(&runtime)? {
                return died(self, next, said);
            }
            on_way.retain(|(row, _)| self.answers.open(*row));
            let now = Instant::now();
            let overdue = on_way.front().is_some_and(|(_, deadline)| *deadline <= now);
            let count = shim.map(super::call::ShimCalls::count);
            if count != panics {
                panics = count;
                if let Some(own) = shim.and_then(|shim| shim.of(&runtime)) {
                    (said, doubtful) = (Some(own), true);
                    probes = AFTER_PANIC.iter().map(|after| now + *after).collect();
                }
            }
            if overdue && std::mem::take(&mut doubtful) {
                probes.push_front(now);
            }
            if let (Some((row, _)), Some(_)) = (on_way.front(), probes.pop_front_if(|at| *at <= now)) {
                let row = self.row(*row);
                let probe = runtime.send(PROBE, &row);
                if let Ok(Ok(false)) = tokio::time::timeout(self.options.timeout, probe).await {
                    self.take(&runtime)?;
                    return died(self, next, said);
                }
                late = true; // the probe's own answer may still come
            }
            while let Some((row, _)) = on_way.front().copied().filter(|(_, deadline)| *deadline <= now) {
                on_way.pop_front();
                (late, lost) = (true, lost + 1);
                self.late(row);
            }
            if on_way.is_empty() && (next >= rows.len() || lost >= most) {
                break;
            }
            if !on_way.is_empty() {
                tokio::time::sleep(PAUSE).await;
            }
        }
        if !late {
            self.version.idle.give(runtime);
        }
        let unsent = rows.get(next..).unwrap_or_default();
        Ok(if unsent.is_empty() { End::All } else { End::Stuck(unsent.to_vec()) })
    }

    fn late(&mut self, row: usize) {
        if self.answers.open(row) {
            self.answers.failed.insert(row, format!("gave no answer in {:?}", self.options.timeout));
        }
    }

    /// Takes what is ready; false if the runtime has died with its list locked.
    fn take(&mut self, runtime: &Runtime) -> Result<bool> {
        match runtime.drain(&self.version.signature.returns) {
            Ok(None) => Ok(true),
            Ok(Some((ids, values))) => {
                let part = self.answers.parts.len();
                for (place, id) in ids.into_iter().enumerate().filter(|(_, id)| *id != PROBE) {
                    let row = usize::try_from(id).unwrap_or(usize::MAX);
                    if self.answers.open(row) {
                        self.answers.places.insert(row, (part, place));
                    }
                }
                self.answers.parts.push(values);
                Ok(true)
            }
            Err(CallError::Panic) => Ok(false),
            Err(CallError::Border(got)) => Err(self.border(got)),
        }
    }
}
