//! What the engine tells people beside results: where a job begins, what was created, what is probably wrong.

use std::fmt;
use std::sync::Arc;

/// How much a notice matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Good to know.
    Info,
    /// Legal, and probably not meant.
    Warning,
}

/// A line for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// How much it matters.
    pub level: Level,
    /// The line: lower case, no full stop.
    pub text: String,
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
        (self.0)(Notice { level: Level::Info, text: text.into() });
    }
    /// Legal, and probably not meant.
    pub fn warning(&self, text: impl Into<String>) {
        (self.0)(Notice { level: Level::Warning, text: text.into() });
    }
}

impl fmt::Debug for Notices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notices")
    }
}
