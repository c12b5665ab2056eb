//! The line editor, and who reads instead of it where the terminal can do nothing.   keys ─► reedline ─► text
//!
//! History with search (Ctrl-R) and hints, Tab for completion, colours, several lines up to a `;`. What jobs have to say while a
//! line is being typed goes above it through reedline's printer, as long as it is one line on the screen.

use std::borrow::Cow;
use std::fs::OpenOptions;
use std::io::{BufRead, IsTerminal};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use reedline::{
    ColumnarMenu, DefaultHinter, EditCommand, Emacs, ExternalPrinter, FileBackedHistory, HistoryItem, InputMode, KeyCode,
    KeyModifiers, MenuBuilder, Prompt, PromptEditMode, PromptHistorySearch, PromptHistorySearchStatus, Reedline,
    ReedlineError, ReedlineEvent, ReedlineMenu, Signal, ValidationResult, Validator, default_emacs_keybindings,
};
use tokio::runtime::Runtime;

use super::catalog::Catalog;
use super::complete::SqlCompleter;
use super::highlight::SqlHighlighter;
use super::plain::{Lines, PROMPT, Read, is_whole};
use crate::cli::Context;
use crate::cli::ui::Outlet;
use crate::error::{Error, Result};

/// So many entries of the history are kept.
const HISTORY: usize = 10_000;
/// So many lines may wait to be printed above the one that is typed.
const WAITING: usize = 100;
const MENU: &str = "names";

/// Where lines come from.
pub(super) enum Input {
    Editor(Box<Reedline>, Outlet),
    Plain(Lines),
}

impl Input {
    /// The line editor, or plain lines on a dumb terminal.
    ///
    /// # Errors
    /// `External` if the system gives no thread.
    pub fn open(cx: &Context, catalog: &Catalog) -> Result<Self> {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb" || term.is_empty());
        if dumb || !std::io::stderr().is_terminal() {
            return Lines::new().map(Self::Plain);
        }
        let one_line = Arc::new(AtomicBool::new(true));
        let printer = ExternalPrinter::new(WAITING);
        let outlet = Outlet { lines: printer.sender(), open: Arc::clone(&one_line) };
        let mut keys = default_emacs_keybindings();
        let complete = vec![ReedlineEvent::Menu(MENU.to_owned()), ReedlineEvent::MenuNext];
        keys.add_binding(KeyModifiers::NONE, KeyCode::Tab, ReedlineEvent::UntilFound(complete));
        keys.add_binding(KeyModifiers::SHIFT, KeyCode::BackTab, ReedlineEvent::MenuPrevious);
        // What stands behind the cursor tells as much as what stands before it: FROM comes last.
        let menu = ColumnarMenu::default().with_name(MENU).with_columns(1).with_marker("> ");
        let menu = menu.with_input_mode(InputMode::FullBuffer);
        let mut editor = Reedline::create()
            .with_validator(Box::new(Whole))
            .with_ansi_colors(cx.ui.colored())
            .with_highlighter(Box::new(SqlHighlighter { one_line }))
            .with_completer(Box::new(SqlCompleter { catalog: catalog.clone() }))
            .with_quick_completions(true)
            .with_partial_completions(true)
            .with_menu(ReedlineMenu::EngineCompleter(Box::new(menu)))
            .with_edit_mode(Box::new(Emacs::new(keys)))
            .with_external_printer(printer)
            .with_break_signal(cx.signals.terminated());
        // Without colours a hint could not be told from what was typed.
        if cx.ui.colored() {
            editor = editor.with_hinter(Box::new(DefaultHinter::default().with_min_chars(3)));
        }
        if let Some(path) = history_path() {
            match private(&path).and_then(|()| FileBackedHistory::with_file(HISTORY, path.clone())) {
                Ok(history) => editor = editor.with_history(Box::new(history)),
                Err(e) => cx.ui.warning(&format!("no history: cannot use file \"{}\": {e}", path.display())),
            }
        }
        Ok(Self::Editor(Box::new(editor), outlet))
    }

    /// Where lines go that shall stand above the one that is typed.
    pub fn outlet(&self) -> Option<Outlet> {
        match self {
            Self::Editor(_, outlet) => Some(outlet.clone()),
            Self::Plain(_) => None,
        }
    }

    /// Reads one text; `begun` stands there already.
    ///
    /// # Errors
    /// `External` if the terminal cannot be read.
    pub fn read(&mut self, cx: &Context, runtime: &Runtime, begun: &str) -> Result<Read> {
        let (editor, outlet) = match self {
            Self::Plain(lines) => return runtime.block_on(lines.read(&cx.signals, begun)),
            Self::Editor(editor, outlet) => (editor, outlet),
        };
        let mut begun = Cow::Borrowed(begun);
        if begun.is_empty() {
            match ahead()? {
                Ahead::Nothing => {}
                Ahead::Begun(text) => begun = Cow::Owned(text),
                Ahead::Whole(text) => {
                    cx.ui.say(&format!("{PROMPT}{text}"));
                    if !text.is_empty() {
                        self.remember(&text);
                    }
                    return Ok(Read::Text(text));
                }
                Ahead::End => return Ok(Read::End),
            }
        }
        outlet.open.store(begun.is_empty(), std::sync::atomic::Ordering::Relaxed);
        if !begun.is_empty() {
            editor.run_edit_commands(&[EditCommand::InsertString(begun.into_owned())]);
        }
        let signal =
            editor.read_line(&VaticPrompt).map_err(|e| Error::external("cannot read from the terminal").source(e))?;
        // Another shell may want to search it; that it cannot be written was told at the start.
        let _ = editor.sync_history();
        Ok(match signal {
            Signal::Success(text) => Read::Text(text),
            Signal::CtrlD => Read::End,
            Signal::ExternalBreak(_) => {
                cx.ui.say(""); // ends the line with the prompt
                Read::Stop
            }
            _ => Read::Nothing, // Ctrl-C cleared the line
        })
    }

    /// Adds to the history what was not typed at the prompt.
    pub fn remember(&mut self, text: &str) {
        if let Self::Editor(editor, _) = self {
            // A history that cannot be written was told of at the start.
            let _ = editor.history_mut().save(HistoryItem::from_command_line(text.trim()));
            let _ = editor.sync_history();
        }
    }
}

/// What was typed while a statement ran.
enum Ahead {
    Nothing,
    /// Not all of a text: it goes on in the editor.
    Begun(String),
    /// What Enter would execute.
    Whole(String),
    /// Ctrl-D
    End,
}

/// Takes the lines that were ended with Enter before the editor had the terminal. The terminal has made line feeds of their ends, of which
/// the editor takes the first and drops what stands behind it.
fn ahead() -> Result<Ahead> {
    let unreadable = |e: std::io::Error| Error::external("cannot read from the terminal").source(e);
    let mut stdin = std::io::stdin().lock();
    let mut text = String::new();
    loop {
        let mut ready = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ready, PollTimeout::ZERO).unwrap_or(0) == 0 {
            break;
        }
        // One line: more is not given at once as long as the terminal edits lines.
        let line = match stdin.fill_buf() {
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            line => line.map_err(unreadable)?,
        };
        if line.is_empty() {
            return Ok(if text.is_empty() { Ahead::End } else { Ahead::Begun(text) });
        }
        let (length, line) = (line.len(), String::from_utf8_lossy(line).into_owned());
        stdin.consume(length);
        let odd = |c: char| c.is_control() && !c.is_whitespace();
        text.extend(line.chars().filter(|c| !odd(*c)));
        // Keys such as arrows mean something to the editor only: what came of them is shown, and not executed.
        if line.contains(odd) {
            text.truncate(text.trim_end().len());
            return Ok(Ahead::Begun(text));
        }
        if is_whole(&text) {
            text.truncate(text.trim_end().len());
            return Ok(Ahead::Whole(text));
        }
    }
    Ok(if text.is_empty() { Ahead::Nothing } else { Ahead::Begun(text) })
}

/// Makes the file of the history if there is none: for its owner alone, since statements may hold passwords.
fn private(path: &Path) -> std::result::Result<(), ReedlineError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => Err(e.into()),
        _ => Ok(()),
    }
}

/// The file of the history.
fn history_path() -> Option<PathBuf> {
    let var = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let state = var("XDG_STATE_HOME").map(|dir| dir.join("vatic").join("history"));
    state.or_else(|| var("HOME").map(|home| home.join(".vatic_history")))
}

/// Enter ends the input if it is a command, or statements up to a `;`.
struct Whole;

impl Validator for Whole {
    fn validate(&self, line: &str) -> ValidationResult {
        if is_whole(line) { ValidationResult::Complete } else { ValidationResult::Incomplete }
    }
}

struct VaticPrompt;

impl Prompt for VaticPrompt {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        Cow::Borrowed("vatic")
    }
    fn render_prompt_right(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }
    fn render_prompt_indicator(&self, _: PromptEditMode) -> Cow<'_, str> {
        Cow::Borrowed("> ")
    }
    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        Cow::Borrowed("  ...> ")
    }
    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        let failed = matches!(search.status, PromptHistorySearchStatus::Failing);
        Cow::Owned(format!(" ({}history: {}) ", if failed { "not in " } else { "" }, search.term))
    }
}
