//! The one error people see, and how a module's own errors become it.
//!
//! Each module has a `thiserror` enum whose variants hold facts; it implements [`Explain`], and `?` turns it into an
//! [`Error`] at the module's border. `kind` says who must act and so decides the exit code; `hint` is an order that can be
//! followed. Texts are lower case, without a full stop, with names in double quotes behind the word for what they are.

mod foreign;

pub use foreign::sql_types;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use datafusion::error::DataFusionError;
use sqlparser::tokenizer::Span;

/// Any error as a cause.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// A result with vatic's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Who must act on an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The command line is wrong: exit code 2.
    Usage,
    /// The query is wrong: exit code 1.
    User,
    /// The data or a model is wrong; its producer must act: exit code 1.
    Data,
    /// Something outside (broker, disk, network) failed; trying again may help: exit code 3.
    External,
    /// A mistake of vatic's own: exit code 1.
    Internal,
    /// Stopped by a signal, cleanly.
    Interrupted,
}

impl ErrorKind {
    /// In one word, for programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::User => "user",
            Self::Data => "data",
            Self::External => "external",
            Self::Internal => "internal",
            Self::Interrupted => "interrupted",
        }
    }
}

/// A place in a text that was given to vatic: a statement in a file, a `-e` argument, a line of the shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The file's path as given, or `None` for text that has no file.
    pub file: Option<Arc<str>>,
    /// The whole text that was given.
    pub text: Arc<str>,
    /// The bytes of `text` that the error is about.
    pub span: Range<usize>,
}

impl Position {
    /// Line and column of the start, both counted from 1, the column in characters.
    #[must_use]
    pub fn line_column(&self) -> (usize, usize) {
        let start = self.span.start.min(self.text.len());
        let before = self.text.get(..start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (line, column)
    }
}

/// What a module's error enum tells about itself, beyond its text.
pub trait Explain: std::error::Error + Send + Sync + 'static {
    /// Who must act.
    fn kind(&self) -> ErrorKind;
    /// What to do next, as an order that can be followed; a sentence with a capital letter and a full stop.
    fn hint(&self) -> Option<String> {
        None
    }
    /// Which feature of a model's call it is about, from 0.
    fn argument(&self) -> Option<usize> {
        None
    }
    /// Whether it passes by itself: a job then goes on from what was committed, as soon as it can.
    fn is_transient(&self) -> bool {
        false
    }
}

/// An error as people meet it: on a terminal, in JSON, as a SQLSTATE.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    position: Option<Position>,
    span: Option<Span>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
    transient: bool,
    argument: Option<usize>,
}

impl Error {
    /// An error of `kind` with a text (lower case, no full stop).
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            hint: None,
            position: None,
            span: None,
            source: None,
            transient: false,
            argument: None,
        }))
    }
    /// The command line is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }
    /// The query is wrong.
    pub fn user(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::User, message)
    }
    /// The data or a model is wrong.
    pub fn data(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Data, message)
    }
    /// Something outside failed.
    pub fn external(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::External, message)
    }
    /// A mistake of vatic's own.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }
    /// With what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }
    /// With its cause.
    #[must_use]
    pub fn source(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into().into());
        self
    }
    /// With the place it is about, unless one is known already: the innermost place is the most exact.
    #[must_use]
    pub fn at(mut self, position: Position) -> Self {
        self.0.position.get_or_insert(position);
        self
    }
    /// One that passes by itself (see [`Explain::is_transient`]).
    #[must_use]
    pub fn transient(mut self) -> Self {
        self.0.transient = true;
        self
    }
    /// Whether it passes by itself.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.0.transient
    }
    /// With the lines and columns it is about, of a text that only the caller knows: see [`Error::span`].
    #[must_use]
    pub fn spanned(mut self, span: Span) -> Self {
        self.0.span.get_or_insert(span);
        self
    }
    /// The lines and columns it is about, for whoever holds the text and can make a [`Position`] of them.
    #[must_use]
    pub fn span(&self) -> Option<Span> {
        self.0.span
    }
    /// With the feature of a model's call that it is about, from 0.
    #[must_use]
    pub fn about_argument(mut self, argument: usize) -> Self {
        self.0.argument = Some(argument);
        self
    }
    /// The feature of a model's call that it is about, from 0.
    #[must_use]
    pub fn argument(&self) -> Option<usize> {
        self.0.argument
    }
    /// With words before its text: `job "a.b": ...`.
    #[must_use]
    pub fn context(mut self, prefix: impl fmt::Display) -> Self {
        self.0.message = format!("{prefix}: {}", self.0.message);
        self
    }
    /// Who must act.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }
    /// The text, without hint and causes.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }
    /// What to do next.
    #[must_use]
    pub fn get_hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
    /// The place it is about.
    #[must_use]
    pub fn position(&self) -> Option<&Position> {
        self.0.position.as_ref()
    }
    /// The text of the error and of its causes, outermost first, joined by `: `; a cause that only repeats is left out.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.0.message.clone();
        let mut next = std::error::Error::source(self);
        while let Some(cause) = next {
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text.push_str(": ");
                text.push_str(&cause_text);
            }
            next = cause.source();
        }
        text
    }
    /// The SQLSTATE, for programs: what kind of thing is wrong, in the codes that PostgreSQL uses.
    #[must_use]
    pub fn sqlstate(&self) -> &'static str {
        let begins = |text: &str| self.0.message.starts_with(text);
        match self.0.kind {
            ErrorKind::Usage => "22023",
            ErrorKind::User if begins("syntax error") => "42601",
            ErrorKind::User if begins("no table") => "42P01",
            ErrorKind::User if begins("no column") => "42703",
            ErrorKind::User if begins("no function") => "42883",
            ErrorKind::User
                if self.0.message.contains("is not available")
                    || self.0.message.contains("is not supported")
                    || begins("vatic has no") =>
            {
                "0A000"
            }
            ErrorKind::User => "42000",
            ErrorKind::Data if begins("division by zero") => "22012",
            ErrorKind::Data => "22000",
            ErrorKind::External => "58000",
            ErrorKind::Internal => "XX000",
            ErrorKind::Interrupted => "57014",
        }
    }
    /// The process's exit code for this error (a signal's own codes are the command line's business).
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.0.kind {
            ErrorKind::Usage => 2,
            ErrorKind::External => 3,
            ErrorKind::Interrupted => 130,
            ErrorKind::User | ErrorKind::Data | ErrorKind::Internal => 1,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} error: {}", self.0.kind, self.chain())?;
        self.0.hint.as_ref().map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|e| e as _)
    }
}

impl<E: Explain> From<E> for Error {
    fn from(error: E) -> Self {
        let mut it = Self::new(error.kind(), error.to_string());
        it.0.hint = error.hint();
        it.0.transient = error.is_transient();
        it.0.argument = error.argument();
        // The text stands in `message` already; only the causes below it are kept.
        it.0.source = error.source().map(|cause| BoxError::from(chain_of(cause)).into());
        it
    }
}

fn chain_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

/// DataFusion carries our errors through its operators as `External`; the way back finds them again.
impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        foreign::translate(error)
    }
}

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        DataFusionError::External(Box::new(error))
    }
}

/// The known name nearest to `wanted`, if one is near enough to be meant.
pub fn nearest<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted_lower = wanted.to_lowercase();
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&wanted_lower, &name.to_lowercase()), name))
        .filter(|(distance, name)| {
            let shorter = name.chars().count().min(wanted.chars().count());
            // One letter for another is no resemblance.
            *distance <= 1 + shorter / 4 && (*distance < shorter || *distance == 0)
        })
        .min()
        .map(|(_, name)| name)
}

/// `Did you mean "x"?`, or what there is, or nothing to say.
pub fn did_you_mean<'a>(wanted: &str, what: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let known: Vec<&str> = known.into_iter().collect();
    match nearest(wanted, known.iter().copied()) {
        Some(name) => Some(format!("Did you mean \"{name}\"?")),
        None if known.is_empty() => None,
        None if known.len() > 20 => Some(format!("Known {what}: {}, ... ({} in all).", known[..20].join(", "), known.len())),
        None => Some(format!("Known {what}: {}.", known.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_the_way_through_datafusion() {
        let ours = Error::data("no version 7").hint("Publish it.");
        let back = Error::from(DataFusionError::Context("x".into(), Box::new(ours.into())));
        assert_eq!((back.kind(), back.message(), back.get_hint()), (ErrorKind::Data, "no version 7", Some("Publish it.")));
        let shared = DataFusionError::Shared(Arc::new(Error::data("no version 7").into()));
        let twin = match &shared {
            DataFusionError::Shared(inner) => DataFusionError::Shared(Arc::clone(inner)),
            _ => unreachable!(),
        };
        assert_eq!(Error::from(twin).message(), "no version 7");
        drop(shared);
    }

    #[test]
    fn nearest_names_only_what_is_near() {
        assert_eq!(nearest("fruad", ["fraud", "churn"]), Some("fraud"));
        assert_eq!(nearest("zebra", ["fraud", "churn"]), None);
        assert_eq!(nearest("AMOUNT", ["amount"]), Some("amount"));
        assert_eq!(nearest("x", ["p"]), None);
        assert_eq!(nearest("P", ["p"]), Some("p"));
    }
}
