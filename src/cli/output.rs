//! Stdout: results only. A reader that leaves (`vatic ... | head`) ends the command quietly, with exit code 0.

use std::io::{BufWriter, Stdout, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::error::{Error, ErrorKind, Result};

/// How often a reader that left is noticed by a command that has nothing to write.
const LOOK: Duration = Duration::from_millis(100);

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

/// Ends when stdout is a pipe that nobody reads any more. A command that has nothing to write would not notice otherwise:
/// `... EMIT CHANGES | head -1` would wait for a second row.
pub(crate) async fn reader_left() -> Error {
    loop {
        tokio::time::sleep(LOOK).await;
        let stdout = std::io::stdout();
        let mut polled = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
        let known = poll(&mut polled, PollTimeout::ZERO).is_ok();
        if known && polled[0].revents().is_some_and(|events| events.contains(PollFlags::POLLERR)) {
            return left();
        }
    }
}

fn left() -> Error {
    Error::new(ErrorKind::Interrupted, "nobody reads the output any more")
}

fn failed(error: &std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::BrokenPipe => left(),
        _ => Error::external(format!("cannot write to stdout: {error}")),
    }
}
