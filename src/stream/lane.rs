//! One instance of a query's plan.   chunks ─► plan ─► batches ─► records, or: chunks ─► halves ─► ... ─► the one bad record
//!
//! An expression, a scorer or an encoder says only that *some* row of a batch is impossible. The lane then runs the plan on
//! halves until the records at fault stand alone; these follow their table's policy, the rest goes through. Each half is
//! executed like an epoch of its own, so nothing of the plan has to know about it.

use std::any::Any;
use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BinaryArray, RecordBatch};
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, execution_plan::reset_plan_states};
use futures::FutureExt;

use crate::config::Options;
use crate::connector::{Chunk, Output, Partition, Rows};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{Reason, Records, RecordsBuilder, format};
use crate::stream::fault::is_function_failure;
use crate::stream::operators::score::is_score_failure;
use crate::stream::scan::{EpochInput, offset_of};
use crate::stream::table::{BadRecords, bad_record_error, place};
use crate::stream::write::{RowError, TopicWriter};
use crate::time::Millis;

/// One instance of a query's plan, working on a group of partitions.
#[derive(Debug)]
pub struct Lane {
    plan: Arc<dyn ExecutionPlan>,
    inputs: Vec<Arc<EpochInput>>,
    context: Arc<TaskContext>,
    writer: Option<TopicWriter>,
    policy: Policy,
}

/// What is done with records at fault.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The job, as the dead letters' `vatic.job` names it.
    pub job: Arc<str>,
    /// The topic of dead letters; `None` where nothing may be written: records at fault are then left out and reported.
    pub dead_letters: Option<Arc<str>>,
    /// The largest record that the topic of dead letters takes, in bytes.
    pub largest_letter: usize,
    /// What is done where a scorer fails.
    pub score_errors: BadRecords,
    /// What is done where a function of the user's own fails.
    pub function_errors: BadRecords,
}

/// What an epoch of one lane gives.
#[derive(Debug, Default)]
pub struct LaneOutput {
    /// Rows for a follower; empty if the lane writes to a topic.
    pub batches: Vec<RecordBatch>,
    /// Records to write, dead letters included.
    pub outputs: Vec<Output>,
    /// How many rows the query gave.
    pub rows_out: u64,
    /// Records at fault, by reason (in the order of [`Reason::ALL`]).
    pub bad: [u64; Reason::ALL.len()],
    /// How many of them were written as dead letters.
    pub dead_letters: u64,
    /// Where and what the first fault was.
    pub first_bad: Option<String>,
}

impl Lane {
    /// A lane that runs `plan`, whose leaves read `inputs` (by index), and writes with `writer`, if with any.
    #[must_use]
    pub fn new(
        plan: Arc<dyn ExecutionPlan>,
        inputs: Vec<Arc<EpochInput>>,
        context: Arc<TaskContext>,
        writer: Option<TopicWriter>,
        policy: Policy,
    ) -> Self {
        Self { plan, inputs, context, writer, policy }
    }

    /// Runs the plan over `chunks`, in their order; `now` stamps what is written.
    ///
    /// # Errors
    /// What is no single record's fault, or a record at fault whose table says `fail`.
    pub async fn run(&mut self, chunks: Vec<Chunk>, now: Millis) -> Result<LaneOutput> {
        let mut done = LaneOutput::default();
        let mut letters = Letters::new(self.policy.clone(), self.twins());
        let mut waiting = vec![chunks];
        while let Some(chunks) = waiting.pop() {
            match self.attempt(&chunks, now, &mut done).await {
                Ok(()) => self.collect_unreadable(&mut done, &mut letters, now)?,
                Err(fault) if fault.error.kind() != ErrorKind::Data => return Err(fault.error),
                Err(fault) => match halves(&chunks) {
                    Some((first, second)) => waiting.extend([second, first]),
                    None => self.at_fault(&chunks, &fault, &mut done, &mut letters, now)?,
                },
            }
        }
        done.outputs.extend(letters.finish());
        Ok(done)
    }

    /// Whether a topic is read by several leaves, each of which finds the same records at fault.
    fn twins(&self) -> bool {
        let mut topics = BTreeSet::new();
        !self.inputs.iter().all(|input| topics.insert(Arc::clone(&input.table().topic)))
    }

    /// One execution; on an error nothing has been added to `done`.
    async fn attempt(&mut self, chunks: &[Chunk], now: Millis, done: &mut LaneOutput) -> Result<(), RowError> {
        for (index, input) in self.inputs.iter().enumerate() {
            input.fill(chunks.iter().filter(|c| c.input == index).cloned().collect());
        }
        self.plan = reset_plan_states(Arc::clone(&self.plan)).map_err(Error::from)?;
        // A function that panics on a value concerns that value's record, and not the job.
        let run = AssertUnwindSafe(execute(Arc::clone(&self.plan), Arc::clone(&self.context))).catch_unwind();
        let batches = run.await.map_err(panicked)?.map_err(row_error)?;
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        match &mut self.writer {
            None => done.batches.extend(batches.into_iter().filter(|b| b.num_rows() > 0)),
            Some(writer) => {
                let mut outputs = Vec::new();
                for batch in &batches {
                    outputs.extend(writer.encode(batch, now)?);
                }
                done.outputs.extend(outputs);
            }
        }
        done.rows_out += rows as u64;
        Ok(())
    }

    /// Records that the scans could not read.
    fn collect_unreadable(&self, done: &mut LaneOutput, letters: &mut Letters, now: Millis) -> Result<()> {
        for input in &self.inputs {
            for chunk in input.take_bad() {
                let table = input.table();
                for bad in &chunk.bad {
                    let fault = Fault { reason: bad.reason, error: &bad.error, policy: table.bad_records };
                    letters.add(&table.topic, chunk.partition, &chunk.rows, bad.index, &fault, done, now)?;
                }
            }
        }
        Ok(())
    }

    /// The one record of `chunks` cannot be computed.
    fn at_fault(
        &self,
        chunks: &[Chunk],
        fault: &RowError,
        done: &mut LaneOutput,
        letters: &mut Letters,
        now: Millis,
    ) -> Result<()> {
        for chunk in chunks.iter().filter(|c| !c.rows.is_empty()) {
            let Some(input) = self.inputs.get(chunk.input) else { continue };
            let table = input.table();
            let policy = match fault.reason {
                Reason::Score => self.policy.score_errors,
                Reason::Udf => self.policy.function_errors,
                _ => table.bad_records,
            };
            let fault = Fault { reason: fault.reason, error: &fault.error.chain(), policy };
            letters.add(&table.topic, chunk.partition, &chunk.rows, 0, &fault, done, now)?;
        }
        Ok(())
    }
}

/// All rows of one execution. The branches of a UNION ALL run one after the other, on this task: an attempt that fails
/// leaves nothing behind that could touch the inputs of the next, and the order is the same every time.
async fn execute(plan: Arc<dyn ExecutionPlan>, context: Arc<TaskContext>) -> Result<Vec<RecordBatch>, DataFusionError> {
    let mut batches = Vec::new();
    for partition in 0..plan.output_partitioning().partition_count() {
        let stream = plan.execute(partition, Arc::clone(&context))?;
        batches.extend(datafusion::physical_plan::common::collect(stream).await?);
    }
    Ok(batches)
}

fn row_error(error: DataFusionError) -> RowError {
    let reason = match &error {
        error if is_score_failure(error) => Reason::Score,
        error if is_function_failure(error) => Reason::Udf,
        _ => Reason::Expression,
    };
    // What libraries throw through DataFusion (a pattern that is no regular expression) is about the values they were given.
    let foreign = matches!(error.find_root(), DataFusionError::External(inner) if !inner.is::<Error>());
    let error = Error::from(error);
    RowError { reason, error: if foreign { Error::data(error.chain()) } else { error } }
}

fn panicked(panic: Box<dyn Any + Send>) -> RowError {
    let said = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    Error::data(format!("an expression failed on it (a panic: {})", said.unwrap_or("without a word"))).into()
}

/// The first and the second half of the rows; `None` if there is only one.
fn halves(chunks: &[Chunk]) -> Option<(Vec<Chunk>, Vec<Chunk>)> {
    let total: usize = chunks.iter().map(|c| c.rows.len()).sum();
    if total < 2 {
        return None;
    }
    let (mut first, mut second) = (Vec::new(), Vec::new());
    let mut room = total / 2;
    for chunk in chunks {
        let here = room.min(chunk.rows.len());
        room -= here;
        if here > 0 {
            first.push(Chunk { rows: chunk.rows.slice(0, here), ..chunk.clone() });
        }
        if here < chunk.rows.len() {
            second.push(Chunk { rows: chunk.rows.slice(here, chunk.rows.len() - here), ..chunk.clone() });
        }
    }
    Some((first, second))
}

/// An error's text, cut where it repeats the data: it goes into a header and onto a screen.
fn shortened(text: &str) -> String {
    const ENOUGH: usize = 2_000;
    match text.char_indices().nth(ENOUGH) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}

/// More than a broker counts for a header and for a record beside its own bytes.
const HEADER_BYTES: usize = 10;
const LETTER_BYTES: usize = 256;

/// One record's fault and what its table wants done.
struct Fault<'a> {
    reason: Reason,
    error: &'a str,
    policy: BadRecords,
}

/// Dead letters of one epoch: the original key, value and headers, and the reason in headers of their own.
struct Letters {
    policy: Policy,
    records: RecordsBuilder,
    /// The records at fault so far, where one may be met twice.
    seen: Option<BTreeSet<(String, Partition, i64)>>,
}

impl Letters {
    fn new(policy: Policy, twins: bool) -> Self {
        Self { policy, records: RecordsBuilder::with_capacity(0), seen: twins.then(BTreeSet::new) }
    }

    #[allow(clippy::too_many_arguments)] // One record and everything that is known of it.
    fn add(
        &mut self,
        topic: &str,
        partition: Partition,
        rows: &Rows,
        index: usize,
        fault: &Fault<'_>,
        done: &mut LaneOutput,
        now: Millis,
    ) -> Result<()> {
        let offset = offset_of(rows, index);
        if fault.policy == BadRecords::Fail {
            return Err(bad_record_error(topic, partition, offset, fault.reason, fault.error));
        }
        if let Some(seen) = &mut self.seen
            && offset >= 0
            && !seen.insert((topic.to_owned(), partition, offset))
        {
            return Ok(());
        }
        done.bad[fault.reason as usize] += 1;
        done.first_bad.get_or_insert_with(|| format!("{}: {}", place(topic, partition, offset), shortened(fault.error)));
        if fault.policy == BadRecords::Skip || self.policy.dead_letters.is_none() {
            return Ok(());
        }
        done.dead_letters += 1;
        let original = match rows {
            Rows::Records(records) => records.slice(index, 1),
            Rows::Batch(batch) => as_record(&batch.slice(index, 1), now)?,
        };
        let timestamp = original.timestamps.first().copied().unwrap_or(now);
        let facts = [
            ("vatic.job", self.policy.job.to_string()),
            ("vatic.topic", topic.to_owned()),
            ("vatic.partition", partition.to_string()),
            ("vatic.offset", offset.to_string()),
            ("vatic.timestamp", timestamp.to_string()),
            ("vatic.reason", fault.reason.as_str().to_owned()),
            ("vatic.error", shortened(fault.error)),
        ];
        let entries = original.headers.as_ref().map(|h| h.value(0));
        let own = entries.iter().flat_map(|entries| {
            let (names, values) = (entries.column(0).as_string::<i32>(), entries.column(1).as_binary::<i32>());
            (0..entries.len()).map(move |i| (names.value(i), (!values.is_null(i)).then(|| values.value(i))))
        });
        let added = facts.iter().map(|(name, value)| (*name, Some(value.as_bytes())));
        let (key, value) = (first(&original.keys), first(&original.values));
        let headers: Vec<(&str, Option<&[u8]>)> = own.collect();
        let added: Vec<_> = added.collect();
        let size = |value: Option<&[u8]>| value.map_or(0, <[u8]>::len);
        let together = |headers: &[(&str, Option<&[u8]>)]| -> usize {
            headers.iter().map(|(name, value)| name.len() + size(*value) + HEADER_BYTES).sum()
        };
        let whole = size(key) + size(value) + together(&headers) + together(&added) + LETTER_BYTES;
        if whole <= self.policy.largest_letter {
            self.records.push(0, now, key, value, headers.into_iter().chain(added));
            return Ok(());
        }
        // Where not even the letter fits, it tells of the record, which its topic still has.
        let left_out =
            format!("key ({} bytes), value ({} bytes) and headers ({} bytes)", size(key), size(value), together(&headers));
        let left_out = std::iter::once(("vatic.left_out", Some(left_out.as_bytes())));
        self.records.push(0, now, None, Some(b""), added.into_iter().chain(left_out));
        Ok(())
    }

    fn finish(mut self) -> Option<Output> {
        let topic = self.policy.dead_letters?;
        (!self.records.is_empty()).then(|| Output { topic, partition: 0, records: self.records.finish() })
    }
}

fn first(array: &BinaryArray) -> Option<&[u8]> {
    (!array.is_null(0)).then(|| array.value(0))
}

/// A row of a file or a generator as a JSON record, for want of an original.
fn as_record(row: &RecordBatch, now: Millis) -> Result<Records> {
    let values = format("json")?.encoder(row.schema(), &Options::default())?.encode(row)?;
    let mut builder = RecordsBuilder::with_capacity(1);
    builder.push(0, now, None, Some(values.value(0)), []);
    Ok(builder.finish())
}
