//! How `COPY ... TO` writes a file.   path + options (text) ─► [`WriteOptions`]
//!
//! To add an option: a line in [`COPY_OPTIONS`] and a field that [`read`] fills.

use crate::config::{OptionSpec, Options};
use crate::connector::file::{Compression, WriteOptions, Written};
use crate::error::{Error, Result};

/// The options of `COPY ... TO 'path' (...)`.
pub const COPY_OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "format",
        values: "parquet, csv, json",
        default: "",
        doc: "How rows are written; by default what the path's ending says.",
    },
    OptionSpec {
        name: "header",
        values: "true, false",
        default: "true",
        doc: "csv: whether a first line names the columns.",
    },
    OptionSpec {
        name: "delimiter",
        values: "one ASCII character, or \\t",
        default: ",",
        doc: "csv: what separates fields.",
    },
    OptionSpec { name: "null", values: "a text", default: "", doc: "csv: what stands for NULL; an empty field by default." },
    OptionSpec {
        name: "compression",
        values: "snappy, zstd, none",
        default: "snappy",
        doc: "parquet: how pages are compressed.",
    },
];

/// The formats, with the endings that mean them.
const ENDINGS: &[(&str, Written)] = &[
    ("parquet", Written::Parquet),
    ("csv", Written::Csv),
    ("tsv", Written::Csv),
    ("json", Written::Json),
    ("jsonl", Written::Json),
    ("ndjson", Written::Json),
];

/// Checks the options for a file at `path`.
///
/// # Errors
/// `User` for an option that is unknown, wrong, or of another format; for a path whose ending names no format.
pub fn read(path: &str, options: &Options) -> Result<WriteOptions> {
    options.check(&[COPY_OPTIONS])?;
    let format = match options.get("format") {
        Some(_) => match options.choice("format", &["parquet", "csv", "json"])? {
            "csv" => Written::Csv,
            "json" => Written::Json,
            _ => Written::Parquet,
        },
        None => {
            let ending = path.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map(|(_, ending)| ending);
            let found = ending.and_then(|ending| ENDINGS.iter().find(|(known, _)| known.eq_ignore_ascii_case(ending)));
            let Some((_, format)) = found else {
                let error = Error::user(format!("the ending of \"{path}\" says no format"));
                return Err(error.hint("End it with .parquet, .csv or .json, or add (FORMAT csv)."));
            };
            *format
        }
    };
    for (name, of) in
        [("header", Written::Csv), ("delimiter", Written::Csv), ("null", Written::Csv), ("compression", Written::Parquet)]
    {
        if options.get(name).is_some() && of != format {
            let error = Error::user(format!("option \"{name}\" is not one of format {}", format.name()));
            return Err(error.hint(format!("Leave it out, or write (FORMAT {}).", of.name())));
        }
    }
    let mut csv = Options::default();
    if path.to_ascii_lowercase().ends_with(".tsv") && format == Written::Csv {
        // As a table over the file expects it.
        csv.set("csv.delimiter", "\\t");
    }
    for name in ["header", "delimiter", "null"] {
        if let Some(value) = options.get(name) {
            csv.set(format!("csv.{name}"), value);
        }
    }
    let compression = match options.choice("compression", &["snappy", "zstd", "none"])? {
        "zstd" => Compression::Zstd,
        "none" => Compression::None,
        _ => Compression::Snappy,
    };
    WriteOptions::new(format, &csv, compression)
}
