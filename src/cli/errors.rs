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

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::secrets;
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
    let about = error.position().map_or("", |position| &*position.text);
    let title = printable(&secrets::without(&error.chain(), about));
    let text = secrets::starred(about);
    let mut group = Group::with_title(Level::ERROR.primary_title(title.as_str()));
    if let Some(position) = error.position() {
        let mut snippet = Snippet::source(text.as_str()).annotation(AnnotationKind::Primary.span(clamped(position)));
        if let Some(file) = &position.file {
            snippet = snippet.path(&**file);
        }
        group = group.element(snippet);
    }
    let renderer = if paint.0 { Renderer::styled() } else { Renderer::plain() };
    let mut text = renderer.render(&[group]).trim_end().to_owned();
    let report = "This is a mistake in vatic itself: please report it with the statement.";
    if let Some(hint) = error.get_hint().or((error.kind() == ErrorKind::Internal).then_some(report)) {
        text.push('\n');
        text.push_str(&format!("{}: {}", paint.help("hint"), printable(&secrets::without(hint, about))));
    }
    text
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
