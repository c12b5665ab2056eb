//! The words of a line that is still being typed.   text ─► [`lex`] ─► lexemes with their bytes, and where a quote is open
//!
//! sqlparser's tokenizer reads as far as it can: what it could not read is a string, a quoted name or a comment that is not
//! closed yet, which is what most lines are most of the time. Highlighting, completion and the split into statements and
//! commands all read the same lexemes.

use std::ops::Range;

use sqlparser::tokenizer::{Token, Tokenizer, Whitespace};

use crate::sql::{Source, VaticDialect};

/// A word or sign, a blank or a comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lexeme {
    pub token: Token,
    /// Its bytes in the text.
    pub span: Range<usize>,
}

impl Lexeme {
    /// Whether it is a blank or a comment.
    pub fn is_blank(&self) -> bool {
        matches!(self.token, Token::Whitespace(_))
    }

    /// Whether it is a comment.
    pub fn is_comment(&self) -> bool {
        matches!(self.token, Token::Whitespace(Whitespace::SingleLineComment { .. } | Whitespace::MultiLineComment(_)))
    }

    /// Its text if it is a word without quotes.
    pub fn word(&self) -> Option<&str> {
        match &self.token {
            Token::Word(word) if word.quote_style.is_none() => Some(&word.value),
            _ => None,
        }
    }

    /// Whether it is this word, in any case.
    pub fn is(&self, word: &str) -> bool {
        self.word().is_some_and(|own| own.eq_ignore_ascii_case(word))
    }
}

/// The lexemes of a text, without a gap between them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Lexed {
    pub lexemes: Vec<Lexeme>,
    /// The byte where a string, a quoted name or a comment begins that is not closed.
    pub open: Option<usize>,
}

/// Reads `text` as far as it can be read.
pub(super) fn lex(text: &str) -> Lexed {
    let source = Source::new(text, None);
    let mut tokens = Vec::new();
    let complete = Tokenizer::new(&VaticDialect, text).tokenize_with_location_into_buf(&mut tokens).is_ok();
    let lexemes: Vec<Lexeme> = tokens
        .into_iter()
        .filter(|t| t.token != Token::EOF)
        .map(|t| Lexeme { span: source.bytes(t.span), token: t.token })
        .collect();
    let open = if complete { None } else { Some(lexemes.last().map_or(0, |last| last.span.end)) };
    Lexed { lexemes, open }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_begins_where_the_words_end() {
        for (text, open) in [
            ("SELECT 1", None),
            ("SELECT 'ab", Some(7)),
            ("SELECT ä, \"b", Some(11)),
            ("a /* b", Some(2)),
            ("'", Some(0)),
            ("", None),
        ] {
            assert_eq!(lex(text).open, open, "{text}");
        }
        let lexed = lex("SELECT 'é' , x -- done");
        let texts: Vec<&str> = lexed.lexemes.iter().map(|l| &"SELECT 'é' , x -- done"[l.span.clone()]).collect();
        assert_eq!(texts, ["SELECT", " ", "'é'", " ", ",", " ", "x", " ", "-- done"]);
        assert!(lexed.lexemes[8].is_comment() && lexed.lexemes[0].is("select") && !lexed.lexemes[2].is_blank());
    }
}
