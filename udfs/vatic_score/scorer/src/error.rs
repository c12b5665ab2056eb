//! What the scorer's files need of vatic's `src/error.rs`, which itself needs DataFusion.

#![allow(dead_code)] // what vatic asks of it besides

/// Any error as a cause.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Who must act on an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Whoever writes the call.
    User,
    /// Whoever made the data or the model.
    Data,
}

/// What an error tells beyond its text.
pub trait Explain: std::error::Error {
    /// Who must act.
    fn kind(&self) -> ErrorKind;
    /// What to do next.
    fn hint(&self) -> Option<String>;
    /// Which argument of the call it is about.
    fn argument(&self) -> Option<usize> {
        None
    }
}

/// vatic looks for a name that may have been meant; here features have no names.
pub fn nearest<'a>(_: &str, _: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    None
}
