//! What was typed, taken apart.   text ─► [`read`] ─► the SQL in it (commands blanked out, so that places stay) and the commands
//!
//! As in psql, a backslash outside of strings and comments begins a command, which ends with its line. `\g`, `\gx`, `\watch` and
//! `\e` take the SQL before them that has no `;` yet; before any other command it waits for its rest.

use std::ops::Range;

use super::commands;
use crate::sql::{Meaning, part};

/// A command in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// Its bytes, from the backslash to the end of its line.
    pub span: Range<usize>,
    /// Whether the SQL before it ends here and is handed to it.
    pub takes: bool,
    /// Where the statement begins that it stands in, or behind.
    pub begin: usize,
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

/// Takes `text` apart, in one pass however many commands there are.
pub(super) fn read(text: &str) -> Pieces {
    let mut pieces = Pieces { sql: text.to_owned(), ..Pieces::default() };
    if !text.contains('\\') {
        return pieces;
    }
    // Where the statement begins that stands at `at`, and whether it has words and no end yet.
    let (mut at, mut begin, mut unended) = (0, 0, false);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if !rest.starts_with('\\') {
            let Some((length, meaning)) = part(rest) else {
                unended = true; // a quote or a comment is open: all behind it is in it
                break;
            };
            at += length;
            match meaning {
                Meaning::Blank => {}
                Meaning::Word => unended = true,
                Meaning::End => (begin, unended) = (at, false),
            }
            continue;
        }
        let end = rest.find('\n').map_or(text.len(), |length| at + length);
        let takes = unended && commands::takes_sql(text.get(at..end).unwrap_or_default());
        let mut blank = " ".repeat(end - at);
        if takes {
            blank.replace_range(..1, ";");
        }
        pieces.sql.replace_range(at..end, &blank);
        pieces.commands.push(Piece { span: at..end, takes, begin });
        if takes {
            (begin, unended) = (at + 1, false);
        }
        at = end;
    }
    let ends = pieces.commands.last().is_some_and(|last| text.get(last.span.end..).unwrap_or_default().trim().is_empty());
    if ends && unended {
        pieces.rest = Some(begin);
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

/// `sql` with blanks in the place of all that is outside of `part`, so that places stay.
pub(super) fn only(sql: &str, part: Range<usize>) -> String {
    let blank = |text: &str| text.split('\n').map(|line| " ".repeat(line.len())).collect::<Vec<_>>().join("\n");
    let get = |range: Range<usize>| sql.get(range).unwrap_or_default();
    format!("{}{}{}", blank(get(0..part.start)), get(part.clone()), blank(get(part.end..sql.len())))
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
    fn a_script_of_many_commands_is_read_in_one_pass() {
        // Read anew behind each command this would be a gigabyte.
        let script = "SELECT 'a;\\b', $$\\c$$ -- it's\n;\n\\echo a line of a script\n".repeat(10_000);
        let pieces = read(&script);
        assert_eq!((pieces.commands.len(), pieces.sql.len(), pieces.rest), (10_000, script.len(), None));
        assert!(!pieces.sql.contains("echo") && pieces.commands.iter().all(|piece| !piece.takes));
        assert_eq!(pieces.commands.last().map(|last| &script[last.begin..last.span.start]), Some("\n"));
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
