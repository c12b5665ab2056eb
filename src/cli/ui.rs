//! Everything that goes to stderr: notices, errors, and the status lines of running jobs, which redraw in place.
//!
//! ```text
//! created topic "alerts"                                      notices scroll by
//! alerts.alerts: 1,204,001 rows in, 3,310 out, ...            status lines stay at the bottom of a terminal
//! ```
//!
//! One lock orders all writers: a notice removes the status lines, prints itself and draws them again below it.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use comfy_table::Table;

use super::args::ColorChoice;
use super::errors::{self, Paint, printable, render};
use crate::engine::{Level, Notice, Notices};
use crate::error::Error;

/// The way to the person at the terminal (or to the log).
#[derive(Debug)]
pub struct Ui {
    quiet: bool,
    /// Whether errors are for programs.
    json: bool,
    /// Whether warnings are, too.
    json_warnings: bool,
    paint: Paint,
    /// Whether stderr is a terminal, and so status lines redraw.
    pub terminal: bool,
    /// Whether stdout is a terminal, and so rows and status lines meet on it.
    shared: bool,
    /// Whether notices begin with the time: they go to a log that somebody reads later.
    stamps: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The status lines on the screen.
    status: Vec<String>,
    /// While a line is being typed: what waits to be printed.
    held: Option<Vec<String>>,
    /// While a line is being typed: the way past it.
    outlet: Option<Outlet>,
}

/// A line editor that prints lines above the one that is being typed.
#[derive(Debug, Clone)]
pub struct Outlet {
    /// Takes them.
    pub lines: SyncSender<String>,
    /// Whether there is room now.
    pub open: Arc<AtomicBool>,
}

impl Ui {
    /// As the global options say.
    #[must_use]
    pub fn new(quiet: bool, color: ColorChoice) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|v| v == "dumb");
        let paint = Paint(match color {
            ColorChoice::Auto => terminal && !no_color && !dumb,
            ColorChoice::Always => true,
            ColorChoice::Never => false,
        });
        let shared = terminal && std::io::stdout().is_terminal();
        Self {
            quiet,
            json: false,
            json_warnings: false,
            paint,
            terminal: terminal && !dumb,
            shared,
            stamps: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    /// The same, with errors, and perhaps warnings, as JSON.
    #[must_use]
    pub fn with_json(self, errors: bool, warnings: bool) -> Self {
        Self { json: errors, json_warnings: warnings, ..self }
    }

    /// A function that prints what the engine has to say.
    #[must_use]
    pub fn notices(self: &Arc<Self>) -> Notices {
        let ui = Arc::clone(self);
        Notices::new(move |notice: Notice| match notice.level {
            Level::Info => ui.info(&notice.text),
            Level::Advice if ui.quiet => {}
            Level::Advice | Level::Warning => ui.warn(&notice),
        })
    }

    /// Whether only results, warnings and errors are wanted.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Whether colours are wanted.
    #[must_use]
    pub fn colored(&self) -> bool {
        self.paint.0
    }

    /// Whether notices and warnings begin with the time (UTC) from now on.
    pub fn stamp(&self, on: bool) {
        self.stamps.store(on, Ordering::Relaxed);
    }

    fn stamped(&self, text: String) -> String {
        if !self.stamps.load(Ordering::Relaxed) {
            return text;
        }
        format!("{} {text}", chrono::Utc::now().format("%Y-%m-%dT%H:%M:%SZ"))
    }

    /// A line for people; not with `--quiet`.
    pub fn info(&self, text: &str) {
        if !self.quiet {
            self.line(self.stamped(printable(text)));
        }
    }

    /// An answer to what was asked.
    pub fn say(&self, text: &str) {
        self.line(printable(text));
    }

    /// `warning: ...`
    pub fn warning(&self, text: &str) {
        self.warn(&Notice { level: Level::Warning, text: text.to_owned(), hint: None, position: None });
    }

    /// `warning: ...` with place and hint.
    pub fn warn(&self, notice: &Notice) {
        self.line(if self.json_warnings {
            errors::warning_json(notice).to_string()
        } else {
            self.stamped(errors::warning(notice, self.paint))
        });
    }

    /// `error: ...` with place and hint.
    pub fn error(&self, error: &Error) {
        self.line(if self.json { errors::json(error).to_string() } else { render(error, self.paint) });
    }

    /// Draws `lines` over the last status lines; none removes them. Only on a terminal.
    pub fn status(&self, lines: Vec<String>) {
        if !self.terminal || self.quiet {
            return;
        }
        let mut state = self.lock();
        let width = width().saturating_sub(1);
        let mut text = erase(&state.status);
        state.status = lines.into_iter().map(|line| line.chars().take(width).collect()).collect();
        draw(&mut text, &state.status);
        write(&text);
    }

    /// Removes the status lines before rows are printed, if both go to one terminal.
    pub fn make_room(&self) {
        if self.shared {
            self.status(Vec::new());
        }
    }

    /// Ends the line that a `^C` stands on.
    pub fn end_line(&self) {
        if self.terminal {
            write("\n");
        }
    }

    /// Keeps notices back while a line is being typed, unless the editor has room for them above it.
    pub fn hold(&self, outlet: Option<Outlet>) {
        let mut state = self.lock();
        state.held.get_or_insert_default();
        state.outlet = outlet;
    }

    /// Prints what was kept back.
    pub fn release(&self) {
        let mut state = self.lock();
        state.outlet = None;
        let held = state.held.take();
        drop(state);
        for line in held.into_iter().flatten() {
            self.line(line);
        }
    }

    fn line(&self, line: String) {
        let mut state = self.lock();
        let State { held, outlet, .. } = &mut *state;
        if let Some(held) = held {
            // What waits already comes first.
            let outlet = outlet.as_ref().filter(|outlet| held.is_empty() && outlet.open.load(Ordering::Relaxed));
            if outlet.is_some_and(|outlet| outlet.lines.try_send(line.clone()).is_ok()) {
                return;
            }
            // A job that complains endlessly must not fill the memory while nobody presses Enter.
            if held.len() < 1_000 {
                held.push(line);
            }
            return;
        }
        let mut text = erase(&state.status);
        text.push_str(&line);
        text.push('\n');
        draw(&mut text, &state.status);
        write(&text);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The width of the terminal in characters.
#[must_use]
pub fn width() -> usize {
    Table::new().use_stderr().width().filter(|width| *width > 0).map_or(80, usize::from)
}

/// How many lines the terminal shows; `None` without one.
#[must_use]
pub fn height() -> Option<usize> {
    terminal_size::terminal_size().map(|(_, height)| usize::from(height.0)).filter(|height| *height > 0)
}

fn erase(status: &[String]) -> String {
    if status.is_empty() { String::new() } else { format!("\x1b[{}F\x1b[J", status.len()) }
}

fn draw(text: &mut String, status: &[String]) {
    for line in status {
        text.push_str(line);
        text.push('\n');
    }
}

/// Writes to stderr at once. Nobody can be told that it is gone.
pub(super) fn write(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes());
    let _ = stderr.flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_log_begin_with_the_time() {
        let ui = Ui::new(false, ColorChoice::Never);
        ui.hold(None);
        ui.info("before");
        ui.stamp(true);
        ui.info("one");
        ui.warning("two");
        ui.say("an answer");
        ui.stamp(false);
        ui.info("the end");
        let held = ui.lock().held.clone().unwrap();
        let behind = |line: &str| {
            let (time, text) = line.split_once("Z ").unwrap();
            chrono::NaiveDateTime::parse_from_str(time, "%Y-%m-%dT%H:%M:%S").unwrap();
            text.to_owned()
        };
        assert_eq!((held[0].as_str(), held[3].as_str(), held[4].as_str()), ("before", "an answer", "the end"));
        assert_eq!((behind(&held[1]), behind(&held[2])), ("one".to_owned(), "warning: two".to_owned()));
    }

    #[test]
    fn held_lines_wait_and_status_lines_are_erased_by_their_number() {
        let ui = Ui::new(false, ColorChoice::Never);
        ui.hold(None);
        ui.info("one");
        ui.warning("two");
        assert_eq!(ui.lock().held.as_deref(), Some(&["one".to_owned(), "warning: two".to_owned()][..]));
        let (lines, printed) = std::sync::mpsc::sync_channel(1);
        let ui = Ui::new(false, ColorChoice::Never);
        let open = Arc::new(AtomicBool::new(false));
        ui.hold(Some(Outlet { lines, open: Arc::clone(&open) }));
        open.store(true, Ordering::Relaxed);
        ui.info("past the line");
        ui.info("no room");
        ui.info("behind it");
        assert_eq!(printed.try_recv().as_deref(), Ok("past the line"));
        assert_eq!(ui.lock().held.as_deref(), Some(&["no room".to_owned(), "behind it".to_owned()][..]));
        assert_eq!(erase(&["a".to_owned(), "b".to_owned()]), "\x1b[2F\x1b[J");
        assert_eq!(erase(&[]), "");
    }
}
