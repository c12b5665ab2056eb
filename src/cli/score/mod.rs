//! `vatic score MODEL_FILE [DATA|-]`: a file of rows becomes a file of scores, through the code that scores in queries.
//!
//! ```text
//! lines or Parquet ─► batch (input.rs) ─► features bound to the signature (columns.rs) ─► run_batch ─► answers ─► stdout
//! ```
//!
//! No broker is opened. One thread, batch after batch, so memory does not grow with the file. One line of output per row of
//! input: a row that cannot be read or scored has no score, and how many these are is told at the end.

mod columns;
mod input;
mod keep;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{ArrayRef, new_null_array};
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use self::columns::{choose, kept};
use self::input::{Batch, Input, Rows};
use super::args::{FileFormat, OutputFormat, ScoreArgs};
use super::output::Output;
use super::render::Printer;
use super::ui::Ui;
use super::{Context, read_model, stopped};
use crate::engine::{Level, Notice};
use crate::error::{Error, Explain, Result};
use crate::model::answer::{ModelIdentity, run_batch};
use crate::model::columns::Answers;
use crate::model::features::{Binding, bind};
use crate::model::{Loaded, Loader, ModelError};

/// Scores all rows, and says what could not be scored.
///
/// # Errors
/// `Data` if the model cannot be used, or no row can be scored; `User` if the columns do not fit it, or there is no such file.
pub(crate) async fn score(cx: &Context, args: &ScoreArgs) -> Result<()> {
    let bytes = read_model(&args.model).await?;
    let job = Job {
        model: args.model.display().to_string(),
        data: args.data.clone(),
        keep: args.keep.clone(),
        format: match args.format {
            FileFormat::Csv => OutputFormat::Csv,
            FileFormat::Json => OutputFormat::Json,
        },
        ui: Arc::clone(&cx.ui),
        stop: Arc::default(),
        loader: cx.loader(),
    };
    let stop = Arc::clone(&job.stop);
    // Not a task of the executor: it computes, and waits for stdin.
    let mut work = tokio::task::spawn_blocking(move || job.run(&bytes));
    let ended = tokio::select! {
        ended = &mut work => ended,
        _ = cx.signals.wait() => {
            // It ends behind the batch at hand; if it waits for stdin, nothing is half written and nothing to wait for.
            stop.store(true, Ordering::Relaxed);
            let _ = tokio::time::timeout(std::time::Duration::from_millis(500), &mut work).await;
            return Err(stopped());
        }
    };
    ended.map_err(|e| Error::internal(format!("scoring broke off: {e}")))?
}

/// What is to be done.
struct Job {
    /// The model file, as typed.
    model: String,
    data: PathBuf,
    keep: Vec<String>,
    format: OutputFormat,
    ui: Arc<Ui>,
    stop: Arc<AtomicBool>,
    loader: Loader,
}

impl Job {
    fn run(&self, bytes: &[u8]) -> Result<()> {
        let (_, loaded) = (self.loader)(bytes).map_err(|error| {
            let told = Error::data(format!("model file \"{}\" cannot be used: {error}", self.model));
            error.hint().map_or(told.clone(), |hint| told.hint(hint))
        })?;
        let opened = Input::open(&self.data)?;
        let columns = Arc::clone(opened.columns());
        let kept = kept(&self.keep, &columns)?;
        let choice = choose(&loaded.signature, &columns, &kept);
        let mut input = opened.read(&choice.features, &loaded.signature, &kept, self.format)?;
        let binding = bind(&self.model, input.features(), &loaded.signature).map_err(|e| choice.explain(e.into()))?;
        match (&choice.note, choice.advice(&loaded.signature)) {
            (Some(note), Some(hint)) => self.warn(note.clone(), hint),
            (Some(note), None) => self.ui.info(note),
            (None, _) => {}
        }
        let scorer = Scoring::new(self, &loaded, &binding, input.kept())?;
        scorer.all(&mut input)
    }
}

impl Job {
    fn warn(&self, text: String, hint: String) {
        self.ui.warn(&Notice { level: Level::Warning, text, hint: Some(hint), position: None });
    }
}

/// A model at work on one input.
struct Scoring<'a> {
    job: &'a Job,
    loaded: &'a Loaded,
    binding: &'a Binding,
    answers: Answers,
    schema: SchemaRef,
}

/// What became of the rows.
#[derive(Default)]
struct Tally {
    rows: u64,
    failed: u64,
    first: Option<String>,
    /// Rows that lack a copied column, and the first of them.
    unkept: u64,
    first_unkept: Option<String>,
}

impl<'a> Scoring<'a> {
    fn new(job: &'a Job, loaded: &'a Loaded, binding: &'a Binding, kept: &[Field]) -> Result<Self> {
        let answers = Answers::new(&loaded.signature);
        if let Some(twice) = kept.iter().find(|k| answers.fields().any(|a| a.name() == k.name())) {
            let error = Error::user(format!("column \"{}\" is kept, and made by the model too", twice.name()));
            return Err(error.hint("Rename it in the input."));
        }
        let schema = Schema::new(kept.iter().chain(answers.fields()).cloned().collect::<Vec<_>>());
        Ok(Self { job, loaded, binding, answers, schema: Arc::new(schema) })
    }

    fn all(&self, input: &mut Rows) -> Result<()> {
        let mut out = Output::stdout();
        let mut printer = Printer::new(self.job.format, &self.schema)?;
        let mut tally = Tally::default();
        while let Some(batch) = input.next()? {
            let rows = self.batch(&batch, &mut tally)?;
            printer.write(&[rows], &mut out)?;
            out.flush()?;
            if self.job.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
        }
        printer.finish(&mut out)?;
        out.flush()?;
        let Tally { rows, failed, unkept, .. } = tally;
        if let Some(first) = tally.first {
            if failed == rows {
                return Err(Error::data(format!("none of {rows} rows could be scored; the first: {first}")));
            }
            self.job.ui.warning(&format!("{failed} of {rows} rows have no score because of an error; the first: {first}"));
        }
        if let Some(first) = tally.first_unkept {
            let (lack, hint) = (
                "lack a column of --keep that has another type there",
                "Write CSV, which copies every value as its text: --format csv.",
            );
            self.job.warn(format!("{unkept} of {rows} rows {lack}; the first: {first}"), hint.to_owned());
        }
        Ok(())
    }

    /// The rows of output for a batch, one per row of it.
    fn batch(&self, batch: &Batch, tally: &mut Tally) -> Result<RecordBatch> {
        let mut failed: Vec<(usize, String)> = batch.bad().to_vec();
        let made = if batch.scorable() == 0 {
            self.answers.fields().map(|field| new_null_array(field.data_type(), batch.rows())).collect()
        } else {
            let identity = ModelIdentity { name: &self.job.model, version: 0, sha256: "", offset: -1 };
            let ran = run_batch(self.loaded, &identity, self.binding, batch.features())?;
            failed.extend(ran.failures.iter().map(|(row, error)| (batch.scored_row(*row), reason(error))));
            let unlike = |e| Error::internal("the model's outputs are not those of its signature").source(e);
            let made = self.answers.of(&ran).map_err(unlike)?;
            made.iter().map(|array| batch.spread(array)).collect::<Result<Vec<ArrayRef>>>()?
        };
        tally.add(batch, failed);
        let columns = batch.kept().iter().cloned().chain(made).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(|e| Error::internal("scores do not fit their columns").source(e))
    }
}

/// Why a row failed; that it was this model's is known.
fn reason(error: &ModelError) -> String {
    match error {
        ModelError::Run { reason, .. } => reason.clone(),
        other => other.to_string(),
    }
}

impl Tally {
    fn add(&mut self, batch: &Batch, mut failed: Vec<(usize, String)>) {
        failed.sort_by_key(|(row, _)| *row);
        failed.dedup_by_key(|(row, _)| *row);
        if let (None, Some((row, reason))) = (&self.first, failed.first()) {
            self.first = Some(format!("{}: {reason}", batch.place(*row)));
        }
        if let (None, Some((row, reason))) = (&self.first_unkept, batch.unkept().first()) {
            self.first_unkept = Some(format!("{}: {reason}", batch.place(*row)));
        }
        self.unkept += batch.unkept().len() as u64;
        self.rows += batch.rows() as u64;
        self.failed += failed.len() as u64;
    }
}
