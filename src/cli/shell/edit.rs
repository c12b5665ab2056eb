//! Other programs at the terminal: the person's editor for `\e`, the system's shell for `\!`.

use std::io::Write;
use std::process::Command;

use crate::error::{Error, Result};

/// Lets the person edit `text`, or the file `path` if one is named; gives what it holds then.
///
/// # Errors
/// `User` if the editor cannot be started, or ends badly; `External` from the disk.
pub(super) fn edit(path: &str, text: &str) -> Result<String> {
    let unwritable = |e| Error::external("cannot write a temporary file for the editor").source(e);
    if !path.is_empty() {
        open(path)?;
        let unreadable = |e| Error::user(format!("cannot read file \"{path}\"")).source(e);
        return std::fs::read_to_string(path).map_err(unreadable);
    }
    let mut file = tempfile::Builder::new().prefix("vatic-").suffix(".sql").tempfile().map_err(unwritable)?;
    let end = if text.is_empty() { "" } else { ";\n" };
    file.write_all(format!("{}{end}", text.trim_end().trim_end_matches(';')).as_bytes()).map_err(unwritable)?;
    file.flush().map_err(unwritable)?;
    open(&file.path().display().to_string())?;
    // An editor may put a new file in the place of the old one, so it is read by its name.
    let unreadable = |e| Error::external("cannot read what the editor wrote").source(e);
    std::fs::read_to_string(file.path()).map_err(unreadable)
}

fn open(path: &str) -> Result<()> {
    let said = ["VATIC_EDITOR", "VISUAL", "EDITOR"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|it| !it.is_empty()));
    let editor = said.unwrap_or_else(|| "vi".to_owned());
    // EDITOR may hold arguments; the path goes beside them, whatever is in it.
    let started = Command::new("sh").args(["-c", &format!("{editor} \"$1\""), "sh", path]).status();
    match started {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(Error::user(format!("editor \"{editor}\" ended with an error"))
            .hint("Set EDITOR to the editor you want, then try \\e again.")),
        Err(e) => Err(Error::external("cannot start a shell").source(e)),
    }
}

/// Runs a command of the system's shell, or the shell itself.
///
/// # Errors
/// `External` if there is no shell.
pub(super) fn system(command: &str) -> Result<()> {
    let failed = |e| Error::external("cannot start a shell").source(e);
    if command.is_empty() {
        let shell = std::env::var("SHELL").ok().filter(|it| !it.is_empty()).unwrap_or_else(|| "sh".to_owned());
        return Command::new(shell).status().map(|_| ()).map_err(failed);
    }
    Command::new("sh").args(["-c", command]).status().map(|_| ()).map_err(failed)
}
