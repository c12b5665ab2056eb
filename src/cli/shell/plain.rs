//! Lines from a terminal that can do nothing else.   stdin ─► a thread, a line at a time ─► [`Lines`]
//!
//! `TERM=dumb`, or stderr is no terminal: no escape sequence is written, the terminal itself edits the line. The thread reads only
//! when asked, so that an editor or a pager can have the terminal between two lines.

use std::io::BufRead;
use std::sync::mpsc::{Sender, channel};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::{commands, pieces};
use crate::cli::signals::{Signals, Stop};
use crate::cli::ui;
use crate::error::{Error, Result};
use crate::sql;

/// Where a line is typed without an editor, or was typed before there was one.
pub(super) const PROMPT: &str = "vatic> ";

/// What came of asking for a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// A text to execute.
    Text(String),
    /// Ctrl-C: what was typed is forgotten.
    Nothing,
    /// Ctrl-D.
    End,
    /// SIGTERM.
    Stop,
}

/// Lines of stdin.
pub(super) struct Lines {
    ask: Sender<()>,
    lines: UnboundedReceiver<std::io::Result<Option<String>>>,
    /// Whether the thread still waits for the line that was asked for last.
    asked: bool,
}

impl Lines {
    /// Starts the thread, which ends with the process or with stdin.
    ///
    /// # Errors
    /// `External` if the system gives no thread.
    pub fn new() -> Result<Self> {
        let (ask, asked) = channel::<()>();
        let (answer, lines) = unbounded_channel();
        let read = move || {
            while asked.recv().is_ok() {
                let mut line = String::new();
                let read = std::io::stdin().lock().read_line(&mut line).map(|n| (n > 0).then_some(line));
                if answer.send(read).is_err() {
                    return;
                }
            }
        };
        let failed = |e| Error::external("cannot start a thread for stdin").source(e);
        std::thread::Builder::new().name("vatic-lines".to_owned()).spawn(read).map_err(failed)?;
        Ok(Self { ask, lines, asked: false })
    }

    /// Asks for lines until they are whole statements or a command; `begun` stands there already.
    ///
    /// # Errors
    /// `External` if stdin cannot be read.
    pub async fn read(&mut self, signals: &Signals, begun: &str) -> Result<Read> {
        let mut text = begun.to_owned();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n'); // what the terminal gives is lines
        }
        loop {
            ui::write(if text.is_empty() { PROMPT } else { "  ...> " });
            if !self.asked {
                let gone = |_| Error::internal("the thread that reads stdin ended");
                self.ask.send(()).map_err(gone)?;
                self.asked = true;
            }
            let line = tokio::select! {
                biased;
                stop = signals.wait() => {
                    ui::write("\n");
                    signals.clear();
                    return Ok(if stop == Stop::Interrupt { Read::Nothing } else { Read::Stop });
                }
                line = self.lines.recv() => line,
            };
            self.asked = false;
            let unreadable = |e| Error::external("cannot read from the terminal").source(e);
            match line.transpose().map_err(unreadable)?.flatten() {
                None => {
                    ui::write("\n");
                    return Ok(Read::End);
                }
                Some(line) => text.push_str(&line),
            }
            if is_whole(&text) {
                return Ok(Read::Text(text));
            }
        }
    }
}

/// Whether a text is for the shell to deal with: nothing, a command, statements up to a `;`, or a word that wants out.
pub(super) fn is_whole(text: &str) -> bool {
    commands::spelling(text).is_some()
        || pieces::ends_with_command(text)
        || !sql::incomplete(text)
        || commands::stuck(text).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_whole_at_its_semicolon_or_its_command() {
        for whole in [
            "",
            "\n",
            "SELECT 1;\n",
            "help\n",
            "EXIT",
            "\\dt\n",
            "SELECT 1 \\gx\n",
            ".tables",
            "SELECT '\n;' ;",
            "SELECT 1\nquit\n",
        ] {
            assert!(is_whole(whole), "{whole}");
        }
        for part in ["SELECT 1\n", "SELECT '\\q", "SELECT ';\n", "SELECT 1 -- \\g\n", "quit me"] {
            assert!(!is_whole(part), "{part}");
        }
    }
}
