//! Files that are named on the command line, and what is said of those that cannot be read.

use std::io::ErrorKind;
use std::path::Path;

use tokio::io::AsyncReadExt;

use crate::engine::MAX_MODEL_BYTES;
use crate::error::{Error, Result, did_you_mean};

/// Reads a file that was named on the command line.
///
/// # Errors
/// As [`unreadable`] says.
pub(super) async fn read_file(path: &Path) -> Result<Vec<u8>> {
    tokio::fs::read(path).await.map_err(|e| unreadable(path, e))
}

/// Reads a model file that was named on the command line; not more of it than a model may have.
///
/// # Errors
/// `Data` if it is larger; else as [`unreadable`] says.
pub(super) async fn read_model(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = MAX_MODEL_BYTES as u64;
    let read = async { tokio::fs::File::open(path).await?.take(most + 1).read_to_end(&mut bytes).await };
    match read.await.map_err(|e| unreadable(path, e))? {
        length if length > MAX_MODEL_BYTES => {
            let error = Error::data(format!("file \"{}\" is larger than a model may be: {most} bytes", path.display()));
            Err(error.hint("Check that it is the model's file; a model of that size has to be made smaller."))
        }
        _ => Ok(bytes),
    }
}

/// Why a file cannot be read, and what to name in its place.
pub(super) fn unreadable(path: &Path, error: std::io::Error) -> Error {
    let name = path.display();
    match error.kind() {
        ErrorKind::NotFound => missing(path),
        ErrorKind::IsADirectory => {
            let inside = files_in(path);
            let error = Error::user(format!("\"{name}\" is a directory, not a file"));
            match inside.as_slice() {
                [] => error.hint("Name a file."),
                _ => error.hint(format!("Name a file in it: {}.", some(&inside))),
            }
        }
        ErrorKind::PermissionDenied => Error::external(format!("file \"{name}\" cannot be read"))
            .source(error)
            .hint("Give this user the right to read it."),
        _ => Error::external(format!("cannot read file \"{name}\"")).source(error),
    }
}

fn missing(path: &Path) -> Error {
    let error = Error::user(format!("there is no file \"{}\"", path.display()));
    let text = path.to_string_lossy();
    if text.contains(' ') && text.split_whitespace().next().is_some_and(begins_a_statement) {
        return error.hint("Statements on the command line are for another command: vatic sql \"SELECT ...\".");
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !directory.is_dir() {
        return error.hint(format!("Check the path: there is no directory \"{}\" either.", directory.display()));
    }
    let known = files_in(directory);
    let wanted = path.file_name().unwrap_or_default().to_string_lossy();
    match did_you_mean(&wanted, "files there", known.iter().map(String::as_str)) {
        Some(hint) => error.hint(hint),
        None => error.hint("Check the path: there are no files in that directory."),
    }
}

/// Whether a statement may begin with `word`.
pub(super) fn begins_a_statement(word: &str) -> bool {
    const FIRST: &[&str] = &[
        "SELECT", "WITH", "VALUES", "INSERT", "CREATE", "COPY", "DROP", "SHOW", "DESCRIBE", "SET", "RESET", "STOP",
        "EXPLAIN",
    ];
    FIRST.iter().any(|first| first.eq_ignore_ascii_case(word))
}

/// The files of a directory, by name, hidden ones left out.
fn files_in(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let files = entries.filter(|entry| entry.path().is_file()).map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = files.filter(|name| !name.starts_with('.')).collect();
    names.sort();
    names
}

fn some(names: &[String]) -> String {
    const SHOWN: usize = 10;
    let list = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN { format!("{list}, ... ({} in all)", names.len()) } else { list }
}
