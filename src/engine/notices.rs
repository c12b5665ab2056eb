//! What the engine tells people beside results: where a job begins, what was created, what is probably wrong.

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Position};

/// How much a notice matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Good to know.
    Info,
    /// The statement is legal, and probably not what was meant. Whoever wants quiet does not hear it.
    Advice,
    /// Something happened that is not in the results: rows were left out, a broker does not answer.
    Warning,
}

/// A line for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// How much it matters.
    pub level: Level,
    /// The line: lower case, no full stop.
    pub text: String,
    /// What to do about it, an order that can be followed.
    pub hint: Option<String>,
    /// The part of a statement that it is about.
    pub position: Option<Position>,
}

/// Where notices go; called from any thread.
#[derive(Clone)]
pub struct Notices(Arc<dyn Fn(Notice) + Send + Sync>);

impl Notices {
    /// Notices that go to `ear`.
    pub fn new(ear: impl Fn(Notice) + Send + Sync + 'static) -> Self {
        Self(Arc::new(ear))
    }
    /// Notices that nobody hears.
    #[must_use]
    pub fn none() -> Self {
        Self::new(|_| ())
    }
    /// Good to know.
    pub fn info(&self, text: impl Into<String>) {
        self.tell(Level::Info, text.into(), None);
    }
    /// Something happened that is not in the results.
    pub fn warning(&self, text: impl Into<String>) {
        self.tell(Level::Warning, text.into(), None);
    }
    /// The same, and what to do about it.
    pub fn warn(&self, text: impl Into<String>, hint: Option<String>) {
        self.tell(Level::Warning, text.into(), hint);
    }
    /// Legal, and probably not meant: text, hint and place of what would be an error elsewhere.
    pub fn advise(&self, advice: &Error) {
        (self.0)(Notice {
            level: Level::Advice,
            text: advice.message().to_owned(),
            hint: advice.get_hint().map(str::to_owned),
            position: advice.position().cloned(),
        });
    }
    fn tell(&self, level: Level, text: String, hint: Option<String>) {
        (self.0)(Notice { level, text, hint, position: None });
    }
}

impl fmt::Debug for Notices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notices")
    }
}
