//! Places in a text, and where its statements end.   line, column (sqlparser) ─► bytes ([`Position`])
//!
//! sqlparser counts lines and columns from 1, columns in characters; errors point at bytes.

use std::ops::Range;
use std::sync::Arc;

use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer, TokenizerError};

use super::dialect::VaticDialect;
use crate::error::{Error, Position, Result};

/// A text with the places of its lines.
#[derive(Debug, Clone)]
pub struct Source {
    file: Option<Arc<str>>,
    text: Arc<str>,
    /// The byte that each line begins with.
    lines: Vec<usize>,
    /// Its columns are bytes: they need no counting, which for each word of a long line would take the square of its length.
    ascii: bool,
}

impl Source {
    /// A text, and the path of the file it came from.
    #[must_use]
    pub fn new(text: &str, file: Option<&str>) -> Self {
        Self::from_parts(text.into(), file.map(Arc::from))
    }
    /// The text that a position is in.
    #[must_use]
    pub fn of(position: &Position) -> Self {
        Self::from_parts(Arc::clone(&position.text), position.file.clone())
    }
    fn from_parts(text: Arc<str>, file: Option<Arc<str>>) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { file, lines, ascii: text.is_ascii(), text }
    }
    /// The whole text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
    /// Some bytes of the text.
    #[must_use]
    pub fn position(&self, span: Range<usize>) -> Position {
        Position { file: self.file.clone(), text: Arc::clone(&self.text), span }
    }
    /// What an AST node covers; the begin of the text for a node without a place.
    #[must_use]
    pub fn of_span(&self, span: Span) -> Position {
        self.position(self.bytes(span))
    }
    /// The bytes of a span.
    #[must_use]
    pub fn bytes(&self, span: Span) -> Range<usize> {
        let start = self.offset(span.start);
        start..self.offset(span.end).max(start)
    }
    /// The byte at a place; past the end of a line or of the text it is that end.
    #[must_use]
    pub fn offset(&self, at: Location) -> usize {
        let Some(line) = usize::try_from(at.line).ok().and_then(|line| line.checked_sub(1)) else { return 0 };
        let Some(start) = self.lines.get(line).copied() else { return self.text.len() };
        let columns = usize::try_from(at.column.saturating_sub(1)).unwrap_or(usize::MAX);
        let rest = self.text.get(start..).unwrap_or_default();
        if self.ascii {
            return start + columns.min(rest.len());
        }
        rest.char_indices().nth(columns).map_or(self.text.len(), |(bytes, _)| start + bytes)
    }
    /// The words and signs of the text, without blanks and comments.
    ///
    /// # Errors
    /// `User` for a string, name or comment that is not closed.
    pub fn tokens(&self) -> Result<Vec<TokenWithSpan>> {
        let tokens = Tokenizer::new(&VaticDialect, &self.text).tokenize_with_location().map_err(|e| self.lexical(&e))?;
        Ok(tokens.into_iter().filter(|t| !matches!(t.token, Token::Whitespace(_) | Token::EOF)).collect())
    }
    fn lexical(&self, error: &TokenizerError) -> Error {
        let start = self.offset(error.location);
        let length = self.text.get(start..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
        let (what, hint) = match error.message.as_str() {
            m if m.contains("dollar") => {
                ("this dollar-quoted string is not closed", "Close it with the mark it begins with.")
            }
            m if m.contains("string") => ("this string is not closed", "Close it with a single quote."),
            m if m.contains("comment") => ("a comment is not closed", "Close it with */."),
            m if m.contains("close delimiter") => {
                ("this quoted name is not closed", "Close it with the quote it begins with.")
            }
            other => return Error::user(format!("syntax error: {other}")).at(self.position(start..start + length)),
        };
        Error::user(format!("syntax error: {what}")).hint(hint).at(self.position(start..start + length))
    }
}

/// Whether more is to be typed before `text` is a whole statement: there is something, and it does not end with `;`, or a
/// string, a quoted name or a comment is open. For the shell.
#[must_use]
pub fn incomplete(text: &str) -> bool {
    let mut rest = text;
    // What was last seen outside of comments and blanks: nothing, a `;`, or something else.
    let mut ended = true;
    while !rest.is_empty() {
        let Some((length, meaning)) = part(rest) else { return true };
        ended = match meaning {
            Meaning::Blank => ended,
            Meaning::End => true,
            Meaning::Word => false,
        };
        rest = &rest[length..];
    }
    !ended
}

/// What a part of a text is to its statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// A blank or a comment.
    Blank,
    /// A `;`, outside of quotes and comments.
    End,
    /// Anything else.
    Word,
}

/// The part that `text` begins with, which is not empty: a comment, a blank, something in quotes, a word, or one other
/// character. Its length in bytes and what it is; `None` if it is not closed.
#[must_use]
pub fn part(text: &str) -> Option<(usize, Meaning)> {
    let first = text.chars().next()?;
    if text.starts_with("--") {
        return Some((text.find('\n').unwrap_or(text.len()), Meaning::Blank));
    }
    if text.starts_with("/*") {
        return comment_length(text).map(|length| (length, Meaning::Blank));
    }
    if first.is_whitespace() {
        return Some((first.len_utf8(), Meaning::Blank));
    }
    let length = match first {
        '\'' | '"' | '`' => text[1..].find(first).map(|at| at + 2),
        '$' => dollar_length(text),
        'e' | 'E' if text[1..].starts_with('\'') => escaped_length(text),
        // A word is passed as a whole: its end may look like the begin of `E'...'` or of `$$`.
        c if c.is_alphanumeric() || c == '_' => {
            Some(text.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '$').unwrap_or(text.len()))
        }
        other => Some(other.len_utf8()),
    };
    length.map(|length| (length, if first == ';' { Meaning::End } else { Meaning::Word }))
}

/// The length of the comment that `text` begins with; comments nest.
fn comment_length(text: &str) -> Option<usize> {
    let (mut depth, mut at) = (0usize, 0);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return Some(at);
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    None
}

/// The length of the `$tag$...$tag$` that `text` begins with; 1 if its `$` begins none.
fn dollar_length(text: &str) -> Option<usize> {
    let tag_end = text[1..].find(|c: char| !c.is_alphanumeric() && c != '_').map(|at| at + 1);
    match tag_end {
        Some(end) if text[end..].starts_with('$') => {
            let mark = &text[..=end];
            text[end + 1..].find(mark).map(|at| end + 1 + at + mark.len())
        }
        _ => Some(1),
    }
}

/// The length of the `E'...'` that `text` begins with.
fn escaped_length(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(2) {
        match c {
            '\'' if !escaped => return Some(at + 1),
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_complete_at_its_semicolon() {
        for whole in [
            "",
            "  ",
            "-- only a comment",
            "SELECT 1;",
            "SELECT ';' ; -- done",
            "SELECT $$a;b$$;",
            "/* a /* b */ */",
            "SELECT E'it\\'s';",
        ] {
            assert!(!incomplete(whole), "{whole}");
        }
        for part in [
            "SELECT 1",
            "SELECT ';",
            "SELECT \"a;",
            "SELECT $$a;",
            "SELECT $t$a$$;",
            "SELECT 1 /* ; ",
            "SELECT 1; SELECT",
            "SELECT 'it''s",
            "SELECT 1 -- ;",
            "SELECT E'\\';",
            "SELECT `a;",
        ] {
            assert!(incomplete(part), "{part}");
        }
    }

    #[test]
    fn columns_are_characters_and_positions_bytes() {
        let source = Source::new("ä\nSELECT 'é', x", None);
        let at = source.offset(Location { line: 2, column: 13 });
        assert_eq!(&source.text()[at..], "x");
        assert_eq!(source.offset(Location { line: 9, column: 1 }), source.text().len());
        assert_eq!(source.offset(Location { line: 0, column: 0 }), 0);
    }

    #[test]
    fn what_is_not_closed_is_named() {
        let error = Source::new("SELECT 1;\n  'abc", None).tokens().unwrap_err();
        assert_eq!(error.message(), "syntax error: this string is not closed");
        assert_eq!(error.position().map(Position::line_column), Some((2, 3)));
        let error = Source::new("SELECT \"abc", None).tokens().unwrap_err();
        assert_eq!(error.message(), "syntax error: this quoted name is not closed");
        let error = Source::new("SELECT 1 /* abc", None).tokens().unwrap_err();
        assert_eq!(error.message(), "syntax error: a comment is not closed");
        let error = Source::new("SELECT $a$ abc", None).tokens().unwrap_err();
        assert_eq!(error.message(), "syntax error: this dollar-quoted string is not closed");
    }
}
