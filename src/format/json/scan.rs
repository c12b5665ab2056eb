//! JSON's grammar (RFC 8259) over the text of one record: a cursor that is strict about everything it passes.
//!
//! Values that nobody asked for are passed over, but they must be JSON: a record is either a JSON object or bad.

use crate::format::Reason;
use crate::format::text::{Note, Number};

/// How deep arrays and objects that nobody asked for may be nested.
const MAX_DEPTH: usize = 128;
/// How much of a wrong value a message shows, in characters.
const SHOWN: usize = 40;

/// Why a record is bad.
#[derive(Debug)]
pub(super) struct Fault(Box<Inner>);

#[derive(Debug)]
struct Inner {
    reason: Reason,
    /// Whether it is about the text as such, wherever in it, and not about a column.
    syntax: bool,
    /// The field's name, with those around it: `user.tags[]`; empty for the record itself.
    path: String,
    message: String,
}

impl Fault {
    fn new(reason: Reason, syntax: bool, message: String) -> Self {
        Self(Box::new(Inner { reason, syntax, path: String::new(), message }))
    }
    /// The text is not JSON.
    fn syntax(message: String) -> Self {
        Self::new(Reason::Decode, true, message)
    }
    /// A value of another type than the column's.
    pub(super) fn mismatch(expected: &str, found: &str, note: Note) -> Self {
        let shown: String = found.chars().take(SHOWN).collect();
        let more = if shown.len() < found.len() { "..." } else { "" };
        let note = if note.is_empty() { String::new() } else { format!(" ({note})") };
        Self::new(Reason::Decode, false, format!("expected {expected}, found {shown}{more}{note}"))
    }
    /// NULL, or nothing, for NOT NULL.
    pub(super) fn null(found: &str) -> Self {
        Self::new(Reason::Null, false, format!("is NOT NULL, found {found}"))
    }
    /// The same fault, seen from the field `name` around it.
    pub(super) fn inside(mut self, name: &str) -> Self {
        let dot = if self.0.path.is_empty() || self.0.path.starts_with('[') { "" } else { "." };
        self.0.path = format!("{name}{dot}{}", self.0.path);
        self
    }
    /// What the dead letter says.
    pub(super) fn into_parts(self) -> (Reason, String) {
        let Inner { reason, syntax, path, message } = *self.0;
        match (syntax || path.is_empty(), reason) {
            (true, _) => (reason, message),
            (false, Reason::Null) => (reason, format!("column \"{path}\" {message}")),
            (false, _) => (reason, format!("column \"{path}\": {message}")),
        }
    }
}

/// A string of the text: as it stands there, or, if it has escapes, in the cursor's scratch space.
#[derive(Debug, Clone, Copy)]
pub(super) enum Text<'a> {
    Plain(&'a str),
    Escaped,
}

/// A place in the text of one record.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
    /// The last string that had escapes.
    pub(super) scratch: String,
}

impl<'a> Cursor<'a> {
    /// At the start of `text`; `scratch` lends its memory.
    pub(super) fn new(text: &'a str, scratch: String) -> Self {
        Self { text, at: 0, scratch }
    }
    /// Where it is, in bytes.
    pub(super) fn at(&self) -> usize {
        self.at
    }
    /// Back to a place where it was.
    pub(super) fn back_to(&mut self, at: usize) {
        self.at = at;
    }
    /// The text from `start` to here.
    pub(super) fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }
    /// The next byte, if there is one.
    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
    /// Passes over blanks.
    pub(super) fn blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }
    /// Passes over `raw` if it comes next.
    pub(super) fn take(&mut self, raw: &str) -> bool {
        let next = self.text.as_bytes().get(self.at..).is_some_and(|rest| rest.starts_with(raw.as_bytes()));
        if next {
            self.at += raw.len();
        }
        next
    }
    /// Passes over one byte, which must be `wanted`.
    pub(super) fn expect(&mut self, wanted: u8) -> Result<(), Fault> {
        if self.peek() == Some(wanted) {
            self.at += 1;
            return Ok(());
        }
        Err(self.fault(&format!("\"{}\"", wanted as char)))
    }
    /// The text is not JSON here.
    pub(super) fn fault(&self, wanted: &str) -> Fault {
        let found = match self.rest().chars().next() {
            Some(c) => format!("{c:?}"),
            None if self.text.is_empty() => return Fault::syntax("the value is empty".to_owned()),
            None => "the end".to_owned(),
        };
        Fault::syntax(format!("not JSON: expected {wanted} at byte {}, found {found}", self.at))
    }
    /// The record is to be an object, and begins with something else.
    pub(super) fn expect_object(&mut self) -> Result<(), Fault> {
        self.blanks();
        if self.peek() == Some(b'{') {
            return Ok(());
        }
        let start = self.at;
        self.skip()?;
        Err(Fault::mismatch("a JSON object", self.since(start), ""))
    }
    /// Nothing but blanks may follow.
    pub(super) fn expect_end(&mut self) -> Result<(), Fault> {
        self.blanks();
        if self.at == self.text.len() { Ok(()) } else { Err(self.fault("the end of the record")) }
    }
    /// Passes over `null`, `true` or `false`.
    pub(super) fn literal(&mut self, word: &str) -> Result<(), Fault> {
        if self.take(word) { Ok(()) } else { Err(self.fault("a value")) }
    }
    /// Reads a number.
    pub(super) fn number(&mut self) -> Result<Number<'a>, Fault> {
        let number = Number::json(self.rest()).ok_or_else(|| self.fault("a number"))?;
        self.at += number.text.len();
        Ok(number)
    }
    /// Reads a string.
    pub(super) fn string(&mut self) -> Result<Text<'a>, Fault> {
        self.expect(b'"')?;
        let start = self.at;
        self.plain()?;
        if self.peek() == Some(b'"') {
            let text = self.since(start);
            self.at += 1;
            return Ok(Text::Plain(text));
        }
        self.scratch.clear();
        self.scratch.push_str(self.text.get(start..self.at).unwrap_or_default());
        while self.peek() == Some(b'\\') {
            self.at += 1;
            let c = self.escape()?;
            self.scratch.push(c);
            let start = self.at;
            self.plain()?;
            self.scratch.push_str(self.text.get(start..self.at).unwrap_or_default());
        }
        self.expect(b'"')?;
        Ok(Text::Escaped)
    }
    /// Passes over a string's characters up to a quote or a backslash.
    fn plain(&mut self) -> Result<(), Fault> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|b| matches!(b, b'"' | b'\\' | 0..0x20)).unwrap_or(rest.len());
        self.at += length;
        match self.peek() {
            Some(b'"' | b'\\') => Ok(()),
            _ => Err(self.fault("the rest of a string")),
        }
    }
    /// Reads what follows a backslash.
    fn escape(&mut self) -> Result<char, Fault> {
        let c = match self.peek() {
            Some(c @ (b'"' | b'\\' | b'/')) => c as char,
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return Err(self.fault("an escape")),
        };
        self.at += 1;
        Ok(c)
    }
    fn unicode(&mut self) -> Result<char, Fault> {
        let high = self.hex()?;
        let code = if (0xd800..0xdc00).contains(&high) && self.peek() == Some(b'\\') {
            self.at += 1;
            let low = if self.peek() == Some(b'u') { self.hex()? } else { 0 };
            if (0xdc00..0xe000).contains(&low) { 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00) } else { high }
        } else {
            high
        };
        char::from_u32(code).ok_or_else(|| self.fault("the other half of a surrogate pair"))
    }
    /// Reads `uXXXX`.
    fn hex(&mut self) -> Result<u32, Fault> {
        let digits = self.text.as_bytes().get(self.at + 1..self.at + 5).unwrap_or_default();
        let code = digits.iter().try_fold(0, |n, b| Some(n * 16 + (*b as char).to_digit(16)?));
        match code {
            Some(code) if digits.len() == 4 => {
                self.at += 5;
                Ok(code)
            }
            _ => Err(self.fault("four hexadecimal digits")),
        }
    }
    /// Passes over one value of any kind.
    pub(super) fn skip(&mut self) -> Result<(), Fault> {
        self.skip_at(0)
    }
    fn skip_at(&mut self, depth: usize) -> Result<(), Fault> {
        match self.peek() {
            Some(b'"') => self.skip_string(),
            Some(b'-' | b'0'..=b'9') => self.number().map(|_| ()),
            Some(b't') => self.literal("true"),
            Some(b'f') => self.literal("false"),
            Some(b'n') => self.literal("null"),
            Some(b'{' | b'[') if depth == MAX_DEPTH => Err(Fault::syntax(format!("nested deeper than {MAX_DEPTH} levels"))),
            Some(b'{') => self.members(b'}', |c| {
                c.skip_string()?;
                c.blanks();
                c.expect(b':')?;
                c.blanks();
                c.skip_at(depth + 1)
            }),
            Some(b'[') => self.members(b']', |c| c.skip_at(depth + 1)),
            _ => Err(self.fault("a value")),
        }
    }
    fn skip_string(&mut self) -> Result<(), Fault> {
        self.expect(b'"')?;
        self.plain()?;
        while self.peek() == Some(b'\\') {
            self.at += 1;
            self.escape()?;
            self.plain()?;
        }
        self.expect(b'"')
    }
    /// Reads the members of an array or object, from its opening to its closing bracket, separated by exactly one comma.
    pub(super) fn members(&mut self, close: u8, mut each: impl FnMut(&mut Self) -> Result<(), Fault>) -> Result<(), Fault> {
        self.at += 1;
        self.blanks();
        if self.peek() == Some(close) {
            self.at += 1;
            return Ok(());
        }
        loop {
            each(self)?;
            self.blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b) if b == close => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.fault(&format!("\",\" or \"{}\"", close as char))),
            }
            self.blanks();
        }
    }
}
