//! Colours for the line that is being typed.   line ─► lexemes ─► words of SQL, strings, numbers, comments, commands
//!
//! The editor asks with each key, so this also notes whether the line is one line on the screen: only then is there room above
//! it for what jobs have to say (`editor.rs`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reedline::{Color, Highlighter, StyledText};
use sqlparser::tokenizer::Token;

use super::lex::{Lexeme, lex};
use super::pieces;
use super::words;

/// So many characters fit beside the prompt on any screen.
const ONE_LINE: usize = 60;

/// The highlighter of the line editor.
pub(super) struct SqlHighlighter {
    /// Whether what is typed is one line on the screen.
    pub one_line: Arc<AtomicBool>,
}

impl Highlighter for SqlHighlighter {
    fn highlight(&self, line: &str, _: usize) -> StyledText {
        let one_line = !line.contains('\n') && line.chars().count() <= ONE_LINE;
        self.one_line.store(one_line, Ordering::Relaxed);
        let mut styled = StyledText::new();
        for (kind, text) in parts(line) {
            let style = match kind {
                Kind::Plain => Color::Default.normal(),
                Kind::Keyword => Color::Blue.bold(),
                Kind::Text => Color::Green.normal(),
                Kind::Number => Color::Cyan.normal(),
                Kind::Comment => Color::DarkGray.normal(),
                Kind::Function => Color::Magenta.normal(),
                Kind::Command => Color::Yellow.normal(),
            };
            styled.push((style, text.to_owned()));
        }
        styled
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Keyword,
    Text,
    Number,
    Comment,
    Function,
    Command,
}

/// All of `line`, in pieces of one kind.
fn parts(line: &str) -> Vec<(Kind, &str)> {
    let pieces = pieces::read(line);
    let mut parts: Vec<(Kind, &str)> = Vec::new();
    let mut at = 0;
    for piece in &pieces.commands {
        add(&mut parts, line, at, piece.span.start);
        parts.push((Kind::Command, line.get(piece.span.clone()).unwrap_or_default()));
        at = piece.span.end;
    }
    add(&mut parts, line, at, line.len());
    parts
}

/// The pieces of the SQL in `line[from..to]`.
fn add<'a>(parts: &mut Vec<(Kind, &'a str)>, line: &'a str, from: usize, to: usize) {
    let sql = line.get(from..to).unwrap_or_default();
    let lexed = lex(sql);
    for (at, it) in lexed.lexemes.iter().enumerate() {
        let called = lexed.lexemes.get(at + 1).is_some_and(|next| next.token == Token::LParen);
        parts.push((kind(it, called), sql.get(it.span.clone()).unwrap_or_default()));
    }
    if let Some(open) = lexed.open {
        let rest = sql.get(open..).unwrap_or_default();
        parts.push((if rest.starts_with("/*") { Kind::Comment } else { Kind::Text }, rest));
    }
}

fn kind(it: &Lexeme, called: bool) -> Kind {
    match &it.token {
        Token::Word(word) if word.quote_style.is_some() => Kind::Plain,
        Token::Word(word) if words::is_keyword(&word.value) => Kind::Keyword,
        Token::Word(_) if called => Kind::Function,
        Token::Number(..) => Kind::Number,
        Token::SingleQuotedString(_) | Token::EscapedStringLiteral(_) | Token::DollarQuotedString(_) => Kind::Text,
        _ if it.is_comment() => Kind::Comment,
        _ => Kind::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_line_is_lost_whatever_is_typed() {
        for line in ["SELECT a, 'b' FROM t -- c", "SELECT 'a", "\\d t\nSELECT 1", "ä /* é", "\"", "$$a", "", "\\"] {
            let all: String = parts(line).into_iter().map(|(_, text)| text).collect();
            assert_eq!(all, line);
        }
    }

    #[test]
    fn kinds_are_told_apart() {
        let kinds: Vec<(Kind, &str)> =
            parts("SELECT score('x', 1) -- y").into_iter().filter(|(kind, _)| *kind != Kind::Plain).collect();
        let expected = [
            (Kind::Keyword, "SELECT"),
            (Kind::Function, "score"),
            (Kind::Text, "'x'"),
            (Kind::Number, "1"),
            (Kind::Comment, "-- y"),
        ];
        assert_eq!(kinds, expected);
    }
}
