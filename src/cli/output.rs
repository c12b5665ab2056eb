//! Stdout: results only. A reader that leaves (`vatic ... | head`) ends the command quietly, with exit code 0.

use std::io::{BufWriter, Stdout, Write};

use crate::error::{Error, ErrorKind, Result};

/// Buffered stdout (in tests, something to look at).
#[derive(Debug)]
pub struct Output<W: Write = Stdout> {
    inner: BufWriter<W>,
}

impl Output {
    /// The process's stdout.
    #[must_use]
    pub fn stdout() -> Self {
        Self::over(std::io::stdout())
    }
}

impl<W: Write> Output<W> {
    /// What writes to `inner`. Lines are flushed by whoever knows that no more are at hand.
    pub fn over(inner: W) -> Self {
        Self { inner: BufWriter::with_capacity(64 << 10, inner) }
    }
    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// `Interrupted` if nobody reads any more; `External` for anything else.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.inner.write_all(bytes).map_err(|e| failed(&e))
    }
    /// Writes a line.
    ///
    /// # Errors
    /// As [`Output::write`].
    pub fn line(&mut self, text: &str) -> Result<()> {
        self.write(text.as_bytes())?;
        self.write(b"\n")
    }
    /// Hands over what is buffered.
    ///
    /// # Errors
    /// As [`Output::write`].
    pub fn flush(&mut self) -> Result<()> {
        self.inner.flush().map_err(|e| failed(&e))
    }
}

fn failed(error: &std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::BrokenPipe => Error::new(ErrorKind::Interrupted, "nobody reads the output any more"),
        _ => Error::external(format!("cannot write to stdout: {error}")),
    }
}
