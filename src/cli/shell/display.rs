//! What becomes of rows in the shell.   rows ─► aligned or one column per line ─► screen │ pager │ where `\o` says
//!
//! An answer is gathered up to some thousand rows before it is laid out, and goes through the pager if it is longer than the
//! screen. Rows that are followed are appended as they come; nothing that was printed is drawn again.

use std::fs::File;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use arrow::record_batch::RecordBatch;
use futures::StreamExt;

use super::pager::Pager;
use crate::cli::args::OutputFormat;
use crate::cli::output::Output;
use crate::cli::render::{Layout, Printer, TABLE_ROWS};
use crate::cli::signals::Stop;
use crate::cli::{Context, stopped, ui};
use crate::engine::Rows;
use crate::error::{Error, ErrorKind, Result};

/// Nothing is said of how far an answer is before this time has passed.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it is said.
const REDRAW: Duration = Duration::from_millis(250);

/// When rows are printed one column per line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expanded {
    On,
    Off,
    /// Where a row is wider than the screen.
    Auto,
}

/// Where rows go.
enum Target {
    Screen(Output),
    /// What `\o` named.
    Elsewhere {
        name: String,
        out: Output<Box<dyn Write + Send>>,
        child: Option<Child>,
    },
}

/// How rows are shown, and where.
pub(super) struct Display {
    pub expanded: Expanded,
    pub timing: bool,
    pub pager: bool,
    target: Target,
    /// Whether a person sits before stdout.
    terminal: bool,
    /// How long the person has had the last rows in the pager.
    paged: Duration,
}

impl Display {
    /// Rows on stdout, which is a `terminal` or not.
    pub fn new(terminal: bool) -> Self {
        Self {
            expanded: if terminal { Expanded::Auto } else { Expanded::Off },
            timing: terminal,
            pager: true,
            target: Target::Screen(Output::stdout()),
            terminal,
            paged: Duration::ZERO,
        }
    }

    /// How long the rows that were shown last stood in the pager: a person's time, not the statement's.
    pub fn paged(&self) -> Duration {
        self.paged
    }

    /// How many characters fit beside each other where rows go; `None` where that is not for a person to read.
    pub fn width(&self) -> Option<usize> {
        self.on_terminal().then(ui::width)
    }

    /// Shows all of `rows`. Rows that are followed end with Ctrl-C, which is no error where a person presses it.
    ///
    /// # Errors
    /// Those of the query and of where rows go; `Interrupted` if a signal ended an answer.
    pub async fn show(&mut self, rows: Rows, cx: &Context, layout: Option<Layout>) -> Result<()> {
        self.paged = Duration::ZERO;
        let printer = Printer::new(OutputFormat::Table, &rows.schema)?;
        let printer = printer.laid_out(layout.unwrap_or_else(|| self.layout()));
        let outcome = if rows.follows { self.follow(rows, printer, cx).await } else { self.answer(rows, printer, cx).await };
        cx.ui.status(Vec::new());
        outcome
    }

    fn layout(&self) -> Layout {
        match self.expanded {
            Expanded::On => Layout::Expanded,
            Expanded::Auto if self.on_terminal() => Layout::Fitting(ui::width()),
            Expanded::Off | Expanded::Auto => Layout::Aligned,
        }
    }

    fn on_terminal(&self) -> bool {
        self.terminal && matches!(self.target, Target::Screen(_))
    }

    async fn answer(&mut self, mut rows: Rows, mut printer: Printer, cx: &Context) -> Result<()> {
        let began = Instant::now();
        let (mut waiting, mut gathered, mut pager): (Vec<RecordBatch>, usize, Option<Pager>) = (Vec::new(), 0, None);
        while let Some(batch) = next(&mut rows, cx, began, pager.is_none()).await? {
            gathered += batch.num_rows();
            waiting.push(batch);
            if gathered >= TABLE_ROWS {
                let text = text(&mut printer, &waiting, false)?;
                if !self.put(&text, &mut pager, cx)? {
                    self.leave(pager);
                    return Ok(()); // whoever left the pager has seen enough
                }
                waiting.clear();
                gathered = 0;
            }
        }
        let text = text(&mut printer, &waiting, true)?;
        let outcome = self.put(&text, &mut pager, cx).map(|_| ());
        self.leave(pager);
        outcome
    }

    /// Waits until the person leaves the pager.
    fn leave(&mut self, pager: Option<Pager>) {
        let began = Instant::now();
        drop(pager);
        self.paged += began.elapsed();
    }

    async fn follow(&mut self, mut rows: Rows, mut printer: Printer, cx: &Context) -> Result<()> {
        if self.on_terminal() {
            printer = printer.with_room(ui::width());
        }
        let stop = loop {
            let batch = tokio::select! {
                biased;
                stop = cx.signals.wait() => break Some(stop),
                batch = rows.next() => batch,
            };
            let Some(batch) = batch else { break None };
            let text = text(&mut printer, &[batch?], false)?;
            self.print(&text, cx)?;
        };
        if stop.is_some() && !self.terminal {
            return Err(stopped());
        }
        if stop.is_some() {
            cx.ui.end_line();
        }
        let end = text(&mut printer, &[], true)?;
        self.print(&end, cx)?;
        if stop == Some(Stop::Terminate) { Err(stopped()) } else { Ok(()) }
    }

    /// Prints a part of an answer, through the pager from where it is longer than the screen; `false` once nobody reads.
    fn put(&mut self, text: &[u8], pager: &mut Option<Pager>, cx: &Context) -> Result<bool> {
        cx.ui.make_room();
        if pager.is_none() && self.pager && self.on_terminal() && cx.ui.terminal && is_long(text) {
            cx.ui.status(Vec::new());
            *pager = Pager::open();
        }
        let Some(pager) = pager else { return self.print(text, cx).map(|()| true) };
        // A pager takes more when the person has seen enough of what it holds.
        let began = Instant::now();
        let reads = pager.write(text);
        self.paged += began.elapsed();
        reads
    }

    /// Prints `text` where rows go.
    ///
    /// # Errors
    /// Those of the file or the command.
    pub fn print(&mut self, text: &[u8], cx: &Context) -> Result<()> {
        cx.ui.make_room();
        let (name, error) = match &mut self.target {
            Target::Screen(out) => return out.write(text).and_then(|()| out.flush()),
            Target::Elsewhere { name, out, .. } => match out.write(text).and_then(|()| out.flush()) {
                Ok(()) => return Ok(()),
                Err(error) => (name.clone(), error),
            },
        };
        self.back_to_screen();
        let error = match error.kind() {
            // Nobody interrupted anything: the command ended.
            ErrorKind::Interrupted => Error::user(format!("\"{name}\" takes no more rows: it has ended")),
            _ => Error::external(format!("cannot write to \"{name}\"")).source(error),
        };
        Err(error.hint("Rows go to the screen again; \\o FILE sends them elsewhere."))
    }

    /// Sends rows to a file, to a command behind `|`, or back to the screen.
    ///
    /// # Errors
    /// `User` if the file cannot be made or the command not be started.
    pub fn send_to(&mut self, to: &str) -> Result<()> {
        self.back_to_screen();
        if to.is_empty() {
            return Ok(());
        }
        let (out, child): (Box<dyn Write + Send>, _) = match to.strip_prefix('|') {
            Some(command) => {
                let failed = |e| Error::user(format!("cannot start \"{}\"", command.trim())).source(e);
                let mut child = Command::new("sh").args(["-c", command]).stdin(Stdio::piped()).spawn().map_err(failed)?;
                let to = child.stdin.take().ok_or_else(|| Error::internal("a command has no stdin"))?;
                (Box::new(to), Some(child))
            }
            None => {
                let failed = |e: std::io::Error| {
                    let hint = match e.kind() {
                        std::io::ErrorKind::IsADirectory => {
                            format!("Name a file in it: \\o {}/rows.txt", to.trim_end_matches('/'))
                        }
                        std::io::ErrorKind::NotFound => "Make its directory first, or name another.".to_owned(),
                        _ => "Name another file.".to_owned(),
                    };
                    Error::user(format!("cannot write to file \"{to}\"")).source(e).hint(hint)
                };
                (Box::new(File::create(to).map_err(failed)?), None)
            }
        };
        self.target = Target::Elsewhere { name: to.to_owned(), out: Output::over(out), child };
        Ok(())
    }

    fn back_to_screen(&mut self) {
        let before = std::mem::replace(&mut self.target, Target::Screen(Output::stdout()));
        if let Target::Elsewhere { out, child, .. } = before {
            drop(out); // a command ends when its input does
            if let Some(mut child) = child {
                // It was started here, so it can be waited for.
                let _ = child.wait();
            }
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        self.back_to_screen();
    }
}

/// The next rows of an answer; says meanwhile how far it is, if nothing else is on the screen.
async fn next(rows: &mut Rows, cx: &Context, began: Instant, says: bool) -> Result<Option<RecordBatch>> {
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + REDRAW, REDRAW);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            _ = cx.signals.wait() => return Err(stopped()),
            _ = ticks.tick() => {
                if let Some((read, part)) = rows.progress().filter(|_| says && cx.ui.terminal && began.elapsed() >= PATIENCE) {
                    cx.ui.status(vec![progress(read, part, began.elapsed())]);
                }
            }
            batch = rows.next() => return batch.transpose(),
        }
    }
}

/// `12,000,000 rows read, 1,500,000 rows/s, 42 %, 8 s`
fn progress(rows: u64, part: Option<(u64, u64)>, elapsed: Duration) -> String {
    let rate = rows as f64 / elapsed.as_secs_f64().max(1e-3);
    let part = part.map_or(String::new(), |(done, all)| format!(", {} %", 100 * done / all.max(1)));
    format!("{} rows read, {} rows/s{part}, {} s", grouped(rows), grouped(rate as u64), elapsed.as_secs())
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `batches` as text, with the footer at their `end`.
fn text(printer: &mut Printer, batches: &[RecordBatch], end: bool) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    let mut out = Output::over(&mut text);
    printer.write(batches, &mut out)?;
    if end {
        printer.finish(&mut out)?;
    }
    out.flush()?;
    drop(out);
    Ok(text)
}

/// Whether `text` is longer than the screen; the prompt needs a line, too.
fn is_long(text: &[u8]) -> bool {
    let (Some(height), width) = (ui::height(), ui::width()) else { return false };
    let text = String::from_utf8_lossy(text);
    let lines: usize = text.lines().map(|line| line.chars().count().div_ceil(width).max(1)).sum();
    lines >= height
}

/// `Time: 12.3 ms`
pub(super) fn time(elapsed: Duration) -> String {
    match elapsed.as_secs_f64() {
        s if s < 1.0 => format!("Time: {:.1} ms", s * 1e3),
        s if s < 60.0 => format!("Time: {s:.2} s"),
        s => format!("Time: {:.0} min {:02.0} s", (s / 60.0).floor(), (s % 60.0).floor()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_progress_are_for_people() {
        assert_eq!(time(Duration::from_micros(12_340)), "Time: 12.3 ms");
        assert_eq!(time(Duration::from_millis(3_210)), "Time: 3.21 s");
        assert_eq!(time(Duration::from_secs(125)), "Time: 2 min 05 s");
        assert_eq!(
            progress(12_000_000, Some((84, 200)), Duration::from_secs(8)),
            "12,000,000 rows read, 1,500,000 rows/s, 42 %, 8 s"
        );
        assert_eq!(progress(999, None, Duration::from_secs(1)), "999 rows read, 999 rows/s, 1 s");
    }
}
