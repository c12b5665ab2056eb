//! A file of client properties, as kcat's and Kafka's own tools take one.   `key=value` lines ─► properties, beneath those of `-X`
//!
//! What stands on a command line stands in the machine's list of processes; a file can be kept from others, so passwords go here.

use std::path::Path;

use super::args::parse_property;
use crate::error::{Error, Result};

/// The properties in a file: one `key=value` per line; empty lines and lines that begin with `#` or `!` do not count.
///
/// # Errors
/// The file cannot be read, or a line is no property; the line's content is not repeated, it may be a password.
pub(super) fn read(path: &Path) -> Result<Vec<(String, String)>> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|e| {
        Error::user(format!("cannot read the properties in \"{shown}\"")).source(e).hint("Name a file of key=value lines.")
    })?;
    let lines = text.lines().map(str::trim).enumerate();
    let counted = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with(['#', '!']));
    let property = |(at, line): (usize, &str)| {
        let wrong = || Error::user(format!("line {} of \"{shown}\" is no property", at + 1)).hint("Write it as key=value.");
        parse_property(line).map(|(key, value)| (key, value.trim_start().to_owned())).map_err(|_| wrong())
    };
    counted.map(property).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_lines_of_properties() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("client.properties");
        std::fs::write(&file, "# ours\n\nsasl.username = vatic\r\nsasl.password=a=b #c \n! not\n").unwrap();
        let of = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(read(&file).unwrap(), [of("sasl.username", "vatic"), of("sasl.password", "a=b #c")]);
        std::fs::write(&file, "a=1\nhunter2\n").unwrap();
        let error = read(&file).unwrap_err().to_string();
        assert!(error.contains("line 2 of") && !error.contains("hunter2"), "{error}");
        let error = read(&dir.path().join("none")).unwrap_err().to_string();
        assert!(error.contains("cannot read the properties"), "{error}");
    }
}
