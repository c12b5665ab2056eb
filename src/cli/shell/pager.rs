//! Long results in the person's pager.   text ─► [`Pager`] ─► `$PAGER`, or `less` where there is one
//!
//! A pager that is left before the end ends the reading, not the shell.

use std::process::{Child, ChildStdin, Command, Stdio};

use crate::cli::output::Output;
use crate::error::{ErrorKind, Result};

/// A pager that runs.
pub(super) struct Pager {
    child: Child,
    to: Option<Output<ChildStdin>>,
}

impl Pager {
    /// Starts what `VATIC_PAGER` or `PAGER` says, else `less`; `None` where there is none, or it says nothing.
    pub fn open() -> Option<Self> {
        let said = ["VATIC_PAGER", "PAGER"].into_iter().find_map(|name| std::env::var(name).ok());
        let mut command = match said.as_deref().map(str::trim) {
            Some("") => return None,
            Some(said) => {
                let mut command = Command::new("sh");
                command.args(["-c", said]);
                command
            }
            None => Command::new("less"),
        };
        if std::env::var_os("LESS").is_none() {
            // Short results stay on the screen, long lines are not broken.
            command.env("LESS", "FRSX");
        }
        let mut child = command.stdin(Stdio::piped()).spawn().ok()?;
        let to = child.stdin.take().map(Output::over);
        Some(Self { child, to })
    }

    /// Shows more; `false` once nobody reads any more.
    ///
    /// # Errors
    /// `External` if it cannot be written to.
    pub fn write(&mut self, text: &[u8]) -> Result<bool> {
        let Some(to) = &mut self.to else { return Ok(false) };
        match to.write(text).and_then(|()| to.flush()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                self.close();
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn close(&mut self) {
        // What it still holds goes nowhere, since its reader has gone.
        drop(self.to.take());
    }
}

impl Drop for Pager {
    /// Waits until the person leaves it.
    fn drop(&mut self) {
        self.close();
        // It was started here, so it can be waited for; how it ended is its own business.
        let _ = self.child.wait();
    }
}
