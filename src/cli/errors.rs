//! Errors as people see them, always in one shape:
//!
//! ```text
//! error: no column "amout" in table "payments"
//!  --> alerts.sql:3:8
//!   |
//! 3 | SELECT amout FROM payments
//!   |        ^^^^^
//! hint: Did you mean "amount"?
//! ```
//!
//! Warnings have the same shape. Programs get both as JSON, one object on a line ([`json`], [`warning_json`]).

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use serde_json::{Value, json};

use super::secrets;
use crate::engine::Notice;
use crate::error::{Error, ErrorKind, Position};

/// Escape sequences, or nothing, by whether colours are wanted.
#[derive(Debug, Clone, Copy)]
pub struct Paint(pub bool);

impl Paint {
    /// `text` in bold and the colour with this SGR number.
    #[must_use]
    pub fn bold(self, color: u8, text: &str) -> String {
        if self.0 { format!("\x1b[1;{color}m{text}\x1b[0m") } else { text.to_owned() }
    }
    /// `hint` and everything that helps.
    #[must_use]
    pub fn help(self, text: &str) -> String {
        self.bold(36, text)
    }
    /// `warning`.
    #[must_use]
    pub fn warning(self, text: &str) -> String {
        self.bold(33, text)
    }
}

/// The error with its place and its hint, without a line end.
#[must_use]
pub fn render(error: &Error, paint: Paint) -> String {
    draw(Level::ERROR, &error.chain(), error.position(), hint_of(error), paint)
}

/// The warning with its place and its hint, without a line end.
#[must_use]
pub fn warning(notice: &Notice, paint: Paint) -> String {
    draw(Level::WARNING, &notice.text, notice.position.as_ref(), notice.hint.as_deref(), paint)
}

/// What to do about an error; one of our own is reported.
fn hint_of(error: &Error) -> Option<&str> {
    let report = "This is a mistake in vatic itself: please report it with the statement.";
    error.get_hint().or((error.kind() == ErrorKind::Internal).then_some(report))
}

fn draw(level: Level<'_>, title: &str, position: Option<&Position>, hint: Option<&str>, paint: Paint) -> String {
    let about = position.map_or("", |position| &*position.text);
    let title = printable(&secrets::without(title, about));
    let source = secrets::starred(about);
    let mut group = Group::with_title(level.primary_title(title.as_str()));
    if let Some(position) = position {
        let mut snippet = Snippet::source(source.as_str()).annotation(AnnotationKind::Primary.span(clamped(position)));
        if let Some(file) = &position.file {
            snippet = snippet.path(&**file);
        }
        group = group.element(snippet);
    }
    let renderer = if paint.0 { Renderer::styled() } else { Renderer::plain() };
    let mut text = renderer.render(&[group]).trim_end().to_owned();
    if let Some(hint) = hint {
        text.push('\n');
        text.push_str(&format!("{}: {}", paint.help("hint"), printable(&secrets::without(hint, about))));
    }
    text
}

/// The error for programs: `error`, `kind` (who must act), `code` (SQLSTATE), `at` and `hint`; what there is not is null.
#[must_use]
pub fn json(error: &Error) -> Value {
    let about = error.position().map_or("", |position| &*position.text);
    json!({
        "error": secrets::without(&error.chain(), about),
        "kind": error.kind().name(),
        "code": error.sqlstate(),
        "at": error.position().map(place),
        "hint": hint_of(error).map(|hint| secrets::without(hint, about)),
    })
}

/// The warning for programs: `warning`, `at` and `hint`.
#[must_use]
pub fn warning_json(notice: &Notice) -> Value {
    let about = notice.position.as_ref().map_or("", |position| &*position.text);
    json!({
        "warning": secrets::without(&notice.text, about),
        "at": notice.position.as_ref().map(place),
        "hint": notice.hint.as_ref().map(|hint| secrets::without(hint, about)),
    })
}

/// Line and column from 1, in characters as the length, and the text there; the file if the statement is of one.
fn place(position: &Position) -> Value {
    let (line, column) = position.line_column();
    let span = clamped(position);
    let text = secrets::starred(&position.text).get(span).unwrap_or_default().to_owned();
    json!({
        "file": position.file.as_deref(),
        "line": line,
        "column": column,
        "length": text.chars().count(),
        "text": text,
    })
}

/// The span inside the text, on character borders, of at least one character where there is one.
fn clamped(position: &Position) -> Range<usize> {
    let text = &*position.text;
    let start = floor_char(text, position.span.start);
    let end = floor_char(text, position.span.end).max(start);
    if end > start {
        return start..end;
    }
    let next = text.get(start..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
    start..start + next
}

fn floor_char(text: &str, index: usize) -> usize {
    let mut index = index.min(text.len());
    while !text.is_char_boundary(index) {
        index -= 1;
    }
    index
}

/// Text that may quote foreign bytes, without those that a terminal would obey.
#[must_use]
pub fn printable(text: &str) -> String {
    if !text.chars().any(|c| c.is_control() && c != '\n') {
        return text.to_owned();
    }
    text.chars().flat_map(|c| if c.is_control() && c != '\n' { c.escape_default().collect() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Paint = Paint(false);

    fn at(text: &str, span: Range<usize>, file: Option<&str>) -> Error {
        Error::user("no column \"amout\"").at(Position { file: file.map(Into::into), text: text.into(), span })
    }

    #[test]
    fn the_caret_stands_under_the_place() {
        let error = at("SELECT 1;\nSELECT amout FROM t", 17..22, Some("q.sql")).hint("Did you mean \"amount\"?");
        assert_eq!(
            render(&error, PLAIN),
            "error: no column \"amout\"\n --> q.sql:2:8\n  |\n2 | SELECT amout FROM t\n  |        ^^^^^\nhint: Did you mean \"amount\"?"
        );
    }

    #[test]
    fn programs_get_an_object() {
        let error = at("SELECT 1;\nSELECT ämout FROM t", 17..23, Some("q.sql")).hint("Did you mean \"amount\"?");
        assert_eq!(
            json(&error).to_string(),
            r#"{"error":"no column \"amout\"","kind":"user","code":"42703","at":{"file":"q.sql","line":2,"column":8,"length":5,"text":"ämout"},"hint":"Did you mean \"amount\"?"}"#
        );
        let error = Error::external("the broker is gone").source(std::io::Error::other("refused"));
        assert_eq!(
            json(&error).to_string(),
            r#"{"error":"the broker is gone: refused","kind":"external","code":"58000","at":null,"hint":null}"#
        );
        let secret = "WITH (kafka.sasl.password = 'open sesame')";
        let error = Error::user("no option 'open sesame'").at(Position { file: None, text: secret.into(), span: 6..41 });
        assert!(!json(&error).to_string().contains("sesame"));
    }

    #[test]
    fn a_warning_has_the_shape_of_an_error() {
        let position = Position { file: None, text: "SELECT a FROM t WHERE b = NULL".into(), span: 22..30 };
        let notice = Notice {
            level: crate::engine::Level::Advice,
            text: "b = NULL is never true".to_owned(),
            hint: Some("Write IS NULL.".to_owned()),
            position: Some(position),
        };
        assert_eq!(
            warning(&notice, PLAIN),
            "warning: b = NULL is never true\n  |\n1 | SELECT a FROM t WHERE b = NULL\n  |                       ^^^^^^^^\nhint: Write IS NULL."
        );
        assert_eq!(warning_json(&notice)["at"]["column"], 23);
    }

    #[test]
    fn any_span_is_drawn() {
        for (text, span) in [("", 0..0), ("a", 5..9), ("äöü", 1..2), ("x\n", 2..2), ("ab", Range { start: 2, end: 1 })] {
            assert!(render(&at(text, span, None), PLAIN).starts_with("error: no column"));
        }
    }

    #[test]
    fn causes_and_hints_follow_and_nothing_reaches_the_terminal_raw() {
        let cause = std::io::Error::other("disk \x1b[2J gone");
        let error = Error::external("cannot write").source(cause).hint("Free some space.");
        assert_eq!(render(&error, PLAIN), "error: cannot write: disk \\u{1b}[2J gone\nhint: Free some space.");
        assert!(render(&error, Paint(true)).contains("\x1b["));
    }
}
