//! From what was typed to a list of files: one file, the files of a directory, or those that a glob matches; by name.

use std::fmt::Write;
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, Result, did_you_mean};

/// The formats of files with their extensions.
const EXTENSIONS: &[(&str, &[&str])] =
    &[("json", &["json", "jsonl", "ndjson"]), ("csv", &["csv", "tsv", "txt"]), ("parquet", &["parquet", "pq"])];

/// The format (the one given, else by extension, else json) and the files, at least one.
pub(super) fn files<'a>(path: &str, format: Option<&'a str>) -> Result<(&'a str, Vec<PathBuf>)> {
    let at = Path::new(path);
    let mut found = match std::fs::metadata(at) {
        Ok(meta) if meta.is_dir() => in_directory(at, format)?,
        Ok(_) => vec![at.to_owned()],
        Err(_) if path.contains(['*', '?']) => glob(at)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(missing(at)),
        Err(error) => return Err(unreadable(at, error)),
    };
    found.sort();
    let Some(first) = found.first() else {
        let error = Error::user(format!("path \"{path}\" names no file"));
        return Err(error.hint("Check the directory, or the pattern."));
    };
    let by_extension = EXTENSIONS.iter().find(|(_, extensions)| has_extension(first, extensions)).map(|(name, _)| *name);
    let format = format.or(by_extension).unwrap_or("json");
    let known = EXTENSIONS.iter().map(|(name, _)| *name).chain(["raw"]).find(|name| name.eq_ignore_ascii_case(format));
    match known {
        Some(name) => Ok((name, found)),
        None => Err(Error::user(format!("unknown format \"{format}\" of files")).hint("Known formats: json, csv, parquet.")),
    }
}

pub(super) fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    path.extension().and_then(|e| e.to_str()).is_some_and(|e| extensions.iter().any(|known| known.eq_ignore_ascii_case(e)))
}

/// The files of a directory, not of those in it; hidden ones left out. If some have an extension of the format, only those.
fn in_directory(directory: &Path, format: Option<&str>) -> Result<Vec<PathBuf>> {
    let files: Vec<PathBuf> = entries(directory)?.into_iter().filter(|path| path.is_file()).collect();
    let wanted = |name: &str| format.is_none_or(|f| f.eq_ignore_ascii_case(name));
    let fits = |path: &Path| EXTENSIONS.iter().any(|(name, extensions)| wanted(name) && has_extension(path, extensions));
    let fitting: Vec<PathBuf> = files.iter().filter(|path| fits(path)).cloned().collect();
    Ok(if fitting.is_empty() { files } else { fitting })
}

/// What is in a directory, hidden entries (`.x`, `_x`) left out.
fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    let failed = |error| unreadable(directory, error);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.file_name().and_then(|n| n.to_str()).is_some_and(|name| !name.starts_with(['.', '_'])) {
            found.push(path);
        }
    }
    Ok(found)
}

/// The files that a pattern matches; `*` and `?` stand within one component.
fn glob(pattern: &Path) -> Result<Vec<PathBuf>> {
    let mut matched = vec![PathBuf::new()];
    for component in pattern.components() {
        let Component::Normal(text) = component else {
            matched.iter_mut().for_each(|path| path.push(component));
            continue;
        };
        let wild = text.to_str().filter(|text| text.contains(['*', '?']));
        let Some(wild) = wild else {
            matched.iter_mut().for_each(|path| path.push(text));
            matched.retain(|path| path.exists());
            continue;
        };
        let mut next = Vec::new();
        for directory in matched {
            let listed = if directory.as_os_str().is_empty() { Path::new(".") } else { directory.as_path() };
            if !listed.is_dir() {
                continue;
            }
            for entry in entries(listed)? {
                let name = entry.file_name().unwrap_or_default();
                if name.to_str().is_some_and(|name| matches(wild.as_bytes(), name.as_bytes())) {
                    next.push(directory.join(name));
                }
            }
        }
        matched = next;
    }
    matched.retain(|path| path.is_file());
    Ok(matched)
}

/// Whether `name` fits `pattern`, in which `*` stands for any bytes and `?` for one. At most |pattern| x |name| steps.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    // The last star, and how much of the name it has taken.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match (pattern.get(p), star) {
            (Some(b'*'), _) => {
                star = Some((p, n));
                p += 1;
            }
            (Some(wanted), _) if *wanted == b'?' || *wanted == name[n] => {
                p += 1;
                n += 1;
            }
            (_, Some((at, taken))) => {
                star = Some((at, taken + 1));
                p = at + 1;
                n = taken + 1;
            }
            (_, None) => return false,
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

fn missing(path: &Path) -> Error {
    let error = Error::user(format!("there is no file \"{}\"", path.display()));
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let Ok(siblings) = entries(directory) else {
        return error.hint(format!("Check the path: there is no directory \"{}\" either.", directory.display()));
    };
    let mut names: Vec<&str> = siblings.iter().filter_map(|p| p.file_name()?.to_str()).collect();
    names.sort_unstable();
    match did_you_mean(&path.file_name().unwrap_or_default().to_string_lossy(), "files there", names) {
        Some(hint) => error.hint(hint),
        None => error.hint(format!("Directory \"{}\" is empty: check the path.", directory.display())),
    }
}

/// A file or directory that is there and cannot be read.
pub(super) fn unreadable(path: &Path, error: std::io::Error) -> Error {
    Error::external(format!("cannot read \"{}\": {error}", path.display())).source(error)
}

/// The URL of a file, with everything escaped that a URL or DataFusion's glob would read as something else.
pub(super) fn url(path: &Path) -> Result<String> {
    let absolute = std::path::absolute(path).map_err(|e| unreadable(path, e))?;
    let mut url = "file://".to_owned();
    for byte in absolute.to_string_lossy().bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' | b'~' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => url.push(byte as char),
            // Writing to a string does not fail.
            _ => drop(write!(url, "%{byte:02X}")),
        }
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_whole_names() {
        for (pattern, name, fits) in [
            ("*.csv", "a.csv", true),
            ("*.csv", "a.csv2", false),
            ("a*b*c", "aXbYbc", true),
            ("a*b*c", "aXbYb", false),
            ("?", "", false),
            ("?", "x", true),
            ("**", "", true),
            ("a?c", "abc", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), fits, "{pattern} {name}");
        }
    }
}
