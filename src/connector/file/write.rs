//! A file of rows, all of it or nothing.   batches ─► [`FileWriter`] ─► temporary file beside it ─► renamed at the end
//!
//! Whoever looks meanwhile sees what was there before; whatever goes wrong before [`FileWriter::finish`] leaves it as it was, and
//! the temporary file is removed. The three formats are those that a table with `connector = 'file'` reads.

use std::fs::Permissions;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression as Codec, ZstdLevel};
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::properties::WriterProperties;
use tempfile::{NamedTempFile, TempPath};

use crate::config::Options;
use crate::error::{Error, Result};
use crate::format::plain::{flat_batch, flat_schema, plain_batch, plain_schema};
use crate::format::{CsvDialect, Encoder, format};

/// What a file is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// Parquet.
    Parquet,
    /// RFC 4180.
    Csv,
    /// One object per line.
    Json,
}

impl Written {
    /// Its name in SQL.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv => "csv",
            Self::Json => "json",
        }
    }
}

/// How the pages of a Parquet file are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Fast, and known to every reader.
    Snappy,
    /// Smaller.
    Zstd,
    /// Not at all.
    None,
}

/// How a file is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteOptions {
    /// As what.
    pub format: Written,
    /// Of a Parquet file.
    pub compression: Compression,
    /// `csv.header`, `csv.delimiter`, `csv.null`
    csv: Options,
}

impl WriteOptions {
    /// Checks the options of CSV (`csv.*`, as tables have them).
    ///
    /// # Errors
    /// `User` if one is wrong.
    pub fn new(format: Written, csv: &Options, compression: Compression) -> Result<Self> {
        CsvDialect::new(csv, true)?;
        Ok(Self { format, compression, csv: csv.clone() })
    }
}

/// A file that is being written.
#[derive(Debug)]
pub struct FileWriter {
    path: PathBuf,
    /// Removed when dropped, unless it became the file.
    temporary: TempPath,
    schema: SchemaRef,
    body: Body,
    rows: u64,
}

type File = BufWriter<std::fs::File>;

enum Body {
    Parquet(Box<ArrowWriter<File>>),
    /// `flat` where nested values become texts.
    Lines {
        encoder: Box<dyn Encoder>,
        file: File,
        flat: Option<SchemaRef>,
    },
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Body")
    }
}

impl FileWriter {
    /// Begins a file at `path` for batches of `schema`.
    ///
    /// # Errors
    /// `User` if there is no such folder, something else than a file stands there, or the format cannot carry a type; `External`
    /// from the disk.
    pub fn new(path: &Path, schema: &SchemaRef, options: &WriteOptions) -> Result<Self> {
        if path.exists() && !path.is_file() {
            let error = Error::user(format!("\"{}\" is not a file that could be replaced", path.display()));
            return Err(error.hint("Name a file; to write to a pipe, use vatic sql --format csv."));
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !folder.is_dir() {
            return Err(Error::user(format!("there is no folder \"{}\"", folder.display())).hint("Create it."));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = beside(folder, &name).map_err(|e| {
            let error = Error::external(format!("cannot write into folder \"{}\"", folder.display())).source(e);
            error.hint("Write to a folder where you may create files.")
        })?;
        let (file, temporary) = temporary.into_parts();
        let file = BufWriter::with_capacity(1 << 18, file);
        let schema = plain_schema(schema);
        let failed = |e: ParquetError| unwritable(path, &e);
        let body = match options.format {
            Written::Parquet => {
                let codec = match options.compression {
                    Compression::Snappy => Codec::SNAPPY,
                    Compression::Zstd => Codec::ZSTD(ZstdLevel::default()),
                    Compression::None => Codec::UNCOMPRESSED,
                };
                let properties = WriterProperties::builder().set_compression(codec).build();
                let writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties)).map_err(failed)?;
                Body::Parquet(Box::new(writer))
            }
            Written::Json => {
                let encoder = format("json")?.encoder(Arc::clone(&schema), &Options::default())?;
                Body::Lines { encoder, file, flat: None }
            }
            Written::Csv => {
                let (flat, dialect) = (flat_schema(&schema), CsvDialect::new(&options.csv, true)?);
                let encoder = format("csv")?.encoder(Arc::clone(&flat), &options.csv)?;
                let mut file = file;
                if dialect.header {
                    let line = dialect.line(schema.fields().iter().map(|f| f.name().as_str()));
                    file.write_all(&line).map_err(|e| unwritable(path, &e))?;
                }
                Body::Lines { encoder, file, flat: Some(flat) }
            }
        };
        Ok(Self { path: path.to_owned(), temporary, schema, body, rows: 0 })
    }

    /// Appends rows.
    ///
    /// # Errors
    /// `Data` if a value cannot be written; `External` from the disk.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let path = &self.path;
        self.rows += batch.num_rows() as u64;
        let batch = plain_batch(batch, &self.schema)?;
        match &mut self.body {
            Body::Parquet(writer) => writer.write(&batch).map_err(|e| unwritable(path, &e)),
            Body::Lines { encoder, file, flat } => {
                let values = match flat {
                    Some(flat) => encoder.encode(&flat_batch(&batch, flat)?)?,
                    None => encoder.encode(&batch)?,
                };
                let mut lines = values.iter().map(Option::unwrap_or_default);
                let written = lines.try_for_each(|line| file.write_all(line).and_then(|()| file.write_all(b"\n")));
                written.map_err(|e| unwritable(path, &e))
            }
        }
    }

    /// Puts the file in its place, and says how many rows it has.
    ///
    /// # Errors
    /// `External` from the disk; then the place is as it was.
    pub fn finish(self) -> Result<u64> {
        let Self { path, temporary, body, rows, .. } = self;
        let file = match body {
            Body::Parquet(writer) => writer.into_inner().map_err(|e| unwritable(&path, &e))?,
            Body::Lines { file, .. } => file,
        };
        let file = file.into_inner().map_err(|e| unwritable(&path, e.error()))?;
        file.sync_all().map_err(|e| unwritable(&path, &e))?;
        temporary.persist(&path).map_err(|e| unwritable(&path, &e.error))?;
        Ok(rows)
    }
}

/// A temporary file that no glob for the real one finds, with the rights that a new file has.
fn beside(folder: &Path, name: &str) -> std::io::Result<NamedTempFile> {
    use std::os::unix::fs::PermissionsExt;
    let mut builder = tempfile::Builder::new();
    let prefix = format!(".{name}.");
    builder.prefix(&prefix).suffix(".part").permissions(Permissions::from_mode(0o666));
    builder.tempfile_in(folder)
}

fn unwritable(path: &Path, error: &(dyn std::error::Error + 'static)) -> Error {
    let error = Error::external(format!("cannot write file \"{}\": {error}", path.display()));
    error.hint("See whether the disk is full; the file is as it was before.")
}
