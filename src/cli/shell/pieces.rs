//! What was typed, taken apart.   text ─► [`read`] ─► the SQL in it (commands blanked out, so that places stay) and the commands
//!
//! As in psql, a backslash outside of strings and comments begins a command, which ends with its line. `\g`, `\gx`, `\watch` and
//! `\e` take the SQL before them that has no `;` yet; before any other command it waits for its rest.

use std::ops::Range;

use super::commands;
use super::lex::{Lexed, lex};
use crate::sql;

/// A command in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// Its bytes, from the backslash to the end of its line.
    pub span: Range<usize>,
    /// Whether the SQL before it ends here and is handed to it.
    pub takes: bool,
}

/// A text, taken apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Pieces {
    /// The text with blanks in the place of commands, as long as the text.
    pub sql: String,
    /// The commands, in their order.
    pub commands: Vec<Piece>,
    /// Where SQL begins that has no end, behind which a command stands: what goes on being typed.
    pub rest: Option<usize>,
}

/// Takes `text` apart.
pub(super) fn read(text: &str) -> Pieces {
    let mut pieces = Pieces { sql: text.to_owned(), ..Pieces::default() };
    if !text.contains('\\') {
        return pieces;
    }
    let mut at = 0;
    while let Some(start) = next(text, at) {
        let end = text.get(start..).and_then(|rest| rest.find('\n')).map_or(text.len(), |length| start + length);
        let before = pieces.sql.get(..start).unwrap_or_default();
        let unended = sql::incomplete(before);
        let takes = unended && commands::takes_sql(text.get(start..end).unwrap_or_default());
        let mut blank = " ".repeat(end - start);
        if takes {
            blank.replace_range(..1, ";");
        }
        pieces.sql.replace_range(start..end, &blank);
        pieces.commands.push(Piece { span: start..end, takes });
        at = end;
    }
    let ends = pieces.commands.last().is_some_and(|last| text.get(last.span.end..).unwrap_or_default().trim().is_empty());
    if ends && sql::incomplete(&pieces.sql) {
        pieces.rest = Some(last_statement(&pieces.sql));
    }
    pieces
}

/// Whether `text` ends with a command, and so is complete.
pub(super) fn ends_with_command(text: &str) -> bool {
    let trimmed = text.trim_end();
    read(trimmed).commands.last().is_some_and(|last| last.span.end == trimmed.len())
}

/// The command whose line holds the byte `at`.
pub(super) fn command_at(text: &str, at: usize) -> Option<Range<usize>> {
    read(text).commands.into_iter().map(|piece| piece.span).find(|span| span.start < at && at <= span.end)
}

/// The next backslash outside of strings and comments, from the byte `at`.
fn next(text: &str, at: usize) -> Option<usize> {
    use sqlparser::tokenizer::Token;
    let Lexed { lexemes, .. } = lex(text.get(at..)?);
    lexemes.into_iter().find(|it| it.token == Token::Backslash).map(|it| at + it.span.start)
}

/// Where the statement begins that the byte `at` is in, or behind.
pub(super) fn begin_of_last(sql: &str, at: usize) -> usize {
    last_statement(sql.get(..at).unwrap_or_default())
}

/// `sql` with blanks in the place of all that is outside of `part`, so that places stay.
pub(super) fn only(sql: &str, part: Range<usize>) -> String {
    let blank = |text: &str| text.split('\n').map(|line| " ".repeat(line.len())).collect::<Vec<_>>().join("\n");
    let get = |range: Range<usize>| sql.get(range).unwrap_or_default();
    format!("{}{}{}", blank(get(0..part.start)), get(part.clone()), blank(get(part.end..sql.len())))
}

/// Where the last statement of `sql` begins.
fn last_statement(sql: &str) -> usize {
    use sqlparser::tokenizer::Token;
    let Lexed { lexemes, .. } = lex(sql);
    lexemes.iter().rev().find(|it| it.token == Token::SemiColon).map_or(0, |it| it.span.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(text: &str) -> Vec<(&str, bool)> {
        read(text).commands.into_iter().map(|piece| (&text[piece.span], piece.takes)).collect()
    }

    #[test]
    fn commands_are_found_outside_of_strings_and_comments() {
        assert_eq!(commands("SELECT '\\x'; -- \\q\n/* \\d */"), []);
        assert_eq!(commands("\\d t\nSELECT 1;\n\\o it's.txt\nSELECT 2;"), [("\\d t", false), ("\\o it's.txt", false)]);
        assert_eq!(commands("SELECT 1 \\gx"), [("\\gx", true)]);
        assert_eq!(commands("SELECT 1; \\watch 3"), [("\\watch 3", false)]);
        assert_eq!(commands("SELECT E'a\\'b' \\g"), [("\\g", true)]);
    }

    #[test]
    fn the_sql_keeps_its_places() {
        let text = "\\x on\nSELECT ä \\gx\nSELECT 2;";
        let pieces = read(text);
        assert_eq!(pieces.sql, "     \nSELECT ä ;  \nSELECT 2;");
        assert_eq!((pieces.sql.len(), pieces.rest), (text.len(), None));
    }

    #[test]
    fn what_has_no_end_waits_behind_other_commands() {
        assert_eq!(read("SELECT 1;SELECT 2\n\\dt").rest, Some(9));
        assert_eq!(read("\\dt").rest, None);
        assert!(ends_with_command("SELECT 1\n\\dt ") && ends_with_command("\\x") && ends_with_command("SELECT 1 \\g"));
        assert!(!ends_with_command("SELECT 1") && !ends_with_command("\\dt\nSELECT"));
        assert_eq!(command_at("SELECT 1;\n\\d pay", 15), Some(10..16));
        assert_eq!(command_at("SELECT 1;\n\\d pay", 5), None);
    }
}
