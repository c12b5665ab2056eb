//! The words of one statement, one after the other, and errors that point at them.
//!
//! Queries and types are sqlparser's business; the cursor lends it the same words and takes it up where it stopped.

use std::ops::Range;

use sqlparser::ast::{DataType, Ident, Query};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Span, Token, TokenWithSpan};

use super::super::dialect::VaticDialect;
use super::super::names::Name;
use super::super::params::{Params, parameter, settle, settle_but_outputs};
use super::super::text::Source;
use super::check::check;
use super::hints;
use crate::error::{Error, Position, Result, nearest};

static DIALECT: VaticDialect = VaticDialect;

/// How deep expressions may nest.
const DEPTH: usize = 100;

/// A place between two words of a statement.
pub struct Cursor<'a> {
    source: &'a Source,
    parser: Parser<'static>,
    /// The words; blanks and comments are left out.
    tokens: Vec<TokenWithSpan>,
    /// The byte behind the last word.
    end: usize,
    /// The values of parameters; without them a parameter stays one.
    params: Option<&'a Params>,
}

impl<'a> Cursor<'a> {
    pub fn new(source: &'a Source, mut tokens: Vec<TokenWithSpan>, params: Option<&'a Params>) -> Self {
        fields_are_names(&mut tokens);
        let end = tokens.last().map_or(0, |t| source.bytes(t.span).end);
        let parser = Parser::new(&DIALECT).with_recursion_limit(DEPTH).with_tokens_with_locations(tokens.clone());
        Self { source, parser, tokens, end, params }
    }
    /// The word `n` places ahead; 0 is the next one.
    pub fn peek(&self, n: usize) -> Option<&Token> {
        self.tokens.get(self.parser.index() + n).map(|t| &t.token)
    }
    /// Where the next word is in the list of words.
    pub fn index(&self) -> usize {
        self.parser.index()
    }
    /// Whether all words are read.
    pub fn at_end(&self) -> bool {
        self.index() >= self.tokens.len()
    }
    /// The bytes of the word at `index`; behind the last word, an empty range there.
    pub fn bytes(&self, index: usize) -> Range<usize> {
        self.tokens.get(index).map_or(self.end..self.end, |t| self.source.bytes(t.span))
    }
    /// The word at `index` of the list of words, if it is one without quotes.
    pub fn word(&self, index: usize) -> Option<&str> {
        match self.tokens.get(index).map(|t| &t.token) {
            Some(Token::Word(word)) if word.quote_style.is_none() => Some(&word.value),
            _ => None,
        }
    }
    /// The next word's place.
    pub fn here(&self) -> Position {
        self.source.position(self.bytes(self.index()))
    }
    /// The next word's lines and columns.
    pub fn here_in_lines(&self) -> Option<Span> {
        self.tokens.get(self.index()).map(|t| t.span)
    }
    /// The place of everything read since the word at `start`.
    pub fn since(&self, start: usize) -> Position {
        let first = self.bytes(start).start;
        let last = self.bytes(self.index().saturating_sub(1).max(start)).end;
        self.source.position(first..last)
    }
    /// The only place since the word at `start` of the words that `FETCH is not available` begins with; FETCH with all that
    /// belongs to it.
    fn asked(&self, start: usize, message: &str) -> Option<Position> {
        let words: Vec<&str> = message.split_once(" is ")?.0.split(' ').collect();
        let is = |at: usize, word: &str| self.tokens.get(at).is_some_and(|t| t.token.to_string().eq_ignore_ascii_case(word));
        let mut found = (start..self.index()).filter(|at| words.iter().enumerate().all(|(n, word)| is(at + n, word)));
        let (Some(first), None) = (found.next(), found.next()) else { return None };
        let mut last = first + words.len() - 1;
        if words == ["FETCH"] {
            let end = (first..self.index()).find(|&at| is(at, "ONLY") || is(at, "TIES"));
            last = end.unwrap_or(last);
        }
        Some(self.source.position(self.bytes(first).start..self.bytes(last).end))
    }
    /// The text from the word at `start` to the end of the statement.
    pub fn text_from(&self, start: usize) -> &str {
        self.source.text().get(self.bytes(start).start..self.end).unwrap_or_default()
    }
    /// Whether the word `n` places ahead is `word`, in any case and without quotes.
    pub fn sees(&self, n: usize, word: &str) -> bool {
        matches!(self.peek(n), Some(Token::Word(w)) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
    }
    /// Whether the word `n` places ahead looks like `word` with a typing error.
    pub fn is_like(&self, n: usize, word: &str) -> bool {
        matches!(self.peek(n), Some(Token::Word(w)) if w.quote_style.is_none() && nearest(&w.value, [word]).is_some())
    }
    /// Reads `words` if they come next, else nothing.
    pub fn take(&mut self, words: &[&str]) -> bool {
        let found = words.iter().enumerate().all(|(n, word)| self.sees(n, word));
        if found {
            self.skip(words.len());
        }
        found
    }
    /// Reads `token` if it comes next, else nothing.
    pub fn take_token(&mut self, token: &Token) -> bool {
        let found = self.peek(0) == Some(token);
        if found {
            self.skip(1);
        }
        found
    }
    /// Goes `n` words on.
    pub fn skip(&mut self, n: usize) {
        for _ in 0..n {
            self.parser.advance_token();
        }
    }
    /// Reads `words`, which must come next.
    pub fn expect(&mut self, words: &[&str]) -> Result<()> {
        for word in words {
            if !self.take(&[word]) {
                return Err(self.expected(word));
            }
        }
        Ok(())
    }
    /// Reads `token`, which must come next.
    pub fn expect_token(&mut self, token: &Token) -> Result<()> {
        if self.take_token(token) { Ok(()) } else { Err(self.expected(&token.to_string())) }
    }
    /// Checks that all words are read.
    pub fn expect_end(&self) -> Result<()> {
        if self.at_end() { Ok(()) } else { Err(self.expected("end of statement")) }
    }
    /// Reads a name: any word, quoted or not.
    pub fn ident(&mut self, what: &str) -> Result<Ident> {
        match self.tokens.get(self.index()) {
            Some(TokenWithSpan { token: Token::Word(word), span }) => {
                let ident = word.to_ident(*span);
                self.skip(1);
                Ok(ident)
            }
            _ => Err(self.expected(what)),
        }
    }
    /// Reads the name of a table or view: one word, for there are no schemas; or `topic('...')`, where that may stand.
    pub fn name(&mut self, what: &str) -> Result<Name> {
        let ident = self.ident(what)?;
        if self.peek(0) == Some(&Token::Period) {
            let error = Error::user(format!("{what} \"{}\" cannot have a name of several parts", ident.value));
            return Err(error
                .hint("Leave out the part before the dot, or put the whole name in double quotes.")
                .at(self.here()));
        }
        Ok(Name::from(&ident))
    }
    /// Reads a string in single (or dollar) quotes if one comes next, or a parameter.
    pub fn string(&mut self) -> Option<String> {
        let text = match self.peek(0)? {
            token @ Token::Placeholder(_) => self.params?.text(parameter(token)?)?,
            Token::SingleQuotedString(s) | Token::EscapedStringLiteral(s) => s.clone(),
            Token::DollarQuotedString(s) => s.value.clone(),
            _ => return None,
        };
        self.skip(1);
        Some(text)
    }
    /// Reads words joined by dots, or one string.
    pub fn dotted(&mut self, what: &str) -> Result<String> {
        if let Some(name) = self.string() {
            return Ok(name);
        }
        let mut name = self.ident(what)?.value;
        while self.take_token(&Token::Period) {
            name.push('.');
            name.push_str(&self.ident(what)?.value);
        }
        Ok(name)
    }
    /// Reads a query, and checks that nothing in it would be ignored.
    pub fn query(&mut self) -> Result<Box<Query>> {
        let start = self.index();
        let query = self.parser.parse_query();
        let query = query.map_err(|e| self.syntax(&e))?;
        let mut query = check(query).map_err(|e| {
            let place = self.asked(start, e.message()).unwrap_or_else(|| self.since(start));
            e.at(place)
        })?;
        if let Some(params) = self.params {
            settle(&mut query, params);
        }
        Ok(query)
    }
    /// Reads the query of an INSERT: parameters that are output columns stay, since the table's columns decide on their types.
    pub fn inserted(&mut self) -> Result<Box<Query>> {
        let params = self.params.take();
        let query = self.query();
        self.params = params;
        let mut query = query?;
        if let Some(params) = self.params {
            settle_but_outputs(&mut query, params);
        }
        Ok(query)
    }
    /// Reads a type.
    pub fn data_type(&mut self) -> Result<DataType> {
        let data_type = self.parser.parse_data_type();
        data_type.map_err(|e| self.syntax(&e))
    }
    /// Puts other words in the place of those at `at..`, one for one.
    pub fn replace(&mut self, at: usize, token: Token) {
        if let Some(it) = self.tokens.get_mut(at) {
            it.token = token;
        }
        let index = self.index();
        self.parser = Parser::new(&DIALECT).with_recursion_limit(DEPTH).with_tokens_with_locations(self.tokens.clone());
        self.skip(index);
    }
    /// The error for a next word that is not `what`.
    pub fn expected(&self, what: &str) -> Error {
        self.expected_at(self.index(), what)
    }
    /// The error for the word at `index` that is not `what`.
    fn expected_at(&self, index: usize, what: &str) -> Error {
        let what = match what {
            "end of statement" => "the end of the statement".to_owned(),
            "identifier" => "a name".to_owned(),
            sign if sign.chars().all(|c| !c.is_alphanumeric()) => format!("\"{sign}\""),
            other => other.to_owned(),
        };
        let found = match self.tokens.get(index) {
            Some(_) => format!("found \"{}\"", self.source.text().get(self.bytes(index)).unwrap_or_default()),
            None => "found the end of the statement".to_owned(),
        };
        let error =
            Error::user(format!("syntax error: expected {what}, {found}")).at(self.source.position(self.bytes(index)));
        match hints::hint(&self.tokens, index, &what) {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
    /// sqlparser's error as ours: `Expected: x, found: y at Line: 1, Column: 2`.
    fn syntax(&self, error: &ParserError) -> Error {
        let (ParserError::ParserError(text) | ParserError::TokenizerError(text)) = error else {
            return Error::user("the statement nests too deeply").hint("Split it up, with views or WITH.").at(self.since(0));
        };
        let (text, place) = text.split_once(" at Line: ").map_or((text.as_str(), None), |(text, place)| (text, Some(place)));
        let at = place.and_then(|place| {
            let (line, column) = place.split_once(", Column: ")?;
            let (line, column) = (line.trim().parse::<u64>().ok()?, column.trim().parse::<u64>().ok()?);
            self.tokens.iter().position(|t| t.span.start.line == line && t.span.start.column == column)
        });
        match text.strip_prefix("Expected: ").and_then(|rest| rest.split_once(", found:")) {
            Some((expected, _)) => self.expected_at(at.unwrap_or(self.tokens.len()), expected.trim_start_matches("one of ")),
            None => {
                let at = at.unwrap_or_else(|| self.index().min(self.tokens.len().saturating_sub(1)));
                let text = text.trim_end_matches(['.', ':', ',', ' ']);
                let mut chars = text.chars();
                let lower = chars.next().map(|c| c.to_lowercase().chain(chars).collect::<String>());
                Error::user(format!("syntax error: {}", lower.unwrap_or_default())).at(self.source.position(self.bytes(at)))
            }
        }
    }
}

/// `payload.user.id`: sqlparser takes `user` and its like for a call without parentheses, which has no fields. Beside a dot or
/// a bracket they are names as others are.
fn fields_are_names(tokens: &mut [TokenWithSpan]) {
    const CALLS: &[Keyword] = &[Keyword::USER, Keyword::CURRENT_USER, Keyword::SESSION_USER, Keyword::CURRENT_CATALOG];
    for at in 0..tokens.len() {
        let after_dot = at.checked_sub(1).and_then(|before| tokens.get(before)).is_some_and(|t| t.token == Token::Period);
        let has_fields = tokens.get(at + 1).is_some_and(|t| matches!(t.token, Token::Period | Token::LBracket));
        if let Some(Token::Word(word)) = tokens.get_mut(at).map(|t| &mut t.token)
            && (after_dot || has_fields)
            && CALLS.contains(&word.keyword)
        {
            word.keyword = Keyword::NoKeyword;
        }
    }
}
