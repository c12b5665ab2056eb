//! Files as tables: a file, a directory or a glob, of JSON lines, CSV or Parquet.   path ─► [`Files`] ─► source | table
//!
//! All files of a path are one partition, read in the order of their names; a row's offset is its number over all of them,
//! so a job goes on where it stopped as long as the files stay as they are. Lines are read by the same decoders as records of
//! topics: the same types, the same strictness. A file with a header is matched by name, one without by position.

mod find;
mod read;
mod seen;
#[cfg(test)]
mod tests;
mod write;

use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use tokio::sync::mpsc;

use super::{Assignment, Chunk, Connector, Cut, Event, Limit, Source};
use crate::config::{OptionSpec, Options};
use crate::error::{Error, Result, did_you_mean};
use crate::format::{CsvDialect, Format, Inferred, field_names, format, other_delimiter, twice, type_name};
pub use read::Lines;
use read::{Item, Reader, Shape, sample};
pub use seen::Seen;
pub use write::{Compression, FileWriter, WriteOptions, Written};

/// `connector = 'file'`.
#[derive(Debug)]
pub struct FileConnector;

impl Connector for FileConnector {
    fn name(&self) -> &'static str {
        "file"
    }
    fn options(&self) -> &'static [OptionSpec] {
        &[
            OptionSpec {
                name: "path",
                values: "a file, a directory or a glob (*, ?)",
                default: "",
                doc: "Where the rows are; files are read in the order of their names.",
            },
            OptionSpec {
                name: "format",
                values: "json, csv, parquet",
                default: "by the file's extension, else json",
                doc: "How the files are written; json: one object per line, or one array of objects.",
            },
            OptionSpec {
                name: "bad_records",
                values: "dead_letter, skip, fail",
                default: "dead_letter",
                doc: "What happens to a line that is no row.",
            },
        ]
    }
}

/// How many records of the first files suggest the columns.
const SAMPLE: usize = 1_000;

/// Files of one format, found and understood.
#[derive(Debug, Clone)]
pub struct Files {
    paths: Arc<[PathBuf]>,
    kind: Kind,
    /// The table's columns.
    schema: SchemaRef,
    options: Options,
    /// What the lines suggested, if the columns were not declared.
    inferred: Option<Inferred>,
    /// The fields of the first lines, if the columns were declared and lines are JSON.
    json_fields: Option<Arc<[String]>>,
}

#[derive(Debug, Clone)]
enum Kind {
    Parquet,
    Lines {
        format: &'static dyn Format,
        shape: Shape,
        /// All columns of a line.
        line: SchemaRef,
        /// Where the table's columns are among them.
        projection: Vec<usize>,
    },
}

impl Files {
    /// Finds the files at `path` and learns their columns, or checks that the `declared` ones are there. Reads `format`,
    /// `csv.*` and `bad_records` of `options`.
    ///
    /// # Errors
    /// `User` if there is no such file (with the nearest name), a column is missing or has another type, or an option is
    /// wrong; `External` if a file cannot be read; `Data` if the files are not in the format.
    pub async fn open(path: &str, options: &Options, declared: Option<SchemaRef>) -> Result<Self> {
        let (path, options) = (path.to_owned(), options.clone());
        let opened = tokio::task::spawn_blocking(move || Self::open_blocking(&path, options, declared)).await;
        opened.map_err(|e| Error::internal(format!("opening a file broke off: {e}")))?
    }

    fn open_blocking(path: &str, mut options: Options, declared: Option<SchemaRef>) -> Result<Self> {
        options.choice("bad_records", &["dead_letter", "skip", "fail"])?;
        let (name, paths) = find::files(path, options.get("format"))?;
        if name == "parquet" {
            let found = read::parquet_schema(&paths[0])?;
            let schema = match declared {
                Some(declared) => matched(&found, &declared, &paths[0])?,
                None => found,
            };
            let kind = Kind::Parquet;
            return Ok(Self { paths: paths.into(), kind, schema, options, inferred: None, json_fields: None });
        }
        if name == "raw" {
            return Err(Error::user("files cannot have format 'raw'").hint("Use json, csv or parquet."));
        }
        let format = format(name)?;
        let mut shape = Shape { csv: None, header: None };
        if name == "csv" {
            if options.get("csv.delimiter").is_none() && find::has_extension(&paths[0], &["tsv"]) {
                options.set("csv.delimiter", "\\t");
            }
            let dialect = CsvDialect::new(&options, true)?;
            options.set("csv.header", if dialect.header { "true" } else { "false" });
            shape.csv = Some(dialect);
        }
        let lines = sample(&paths, &shape, SAMPLE)?;
        if let (Some(dialect), Some(first)) = (shape.csv.as_ref().filter(|d| d.header), lines.first()) {
            let fields = std::str::from_utf8(first).map_err(|e| e.to_string()).and_then(|l| dialect.fields(l));
            let names = fields.map_err(|e| Error::data(format!("file \"{}\", line 1: {e}", paths[0].display())))?;
            let names = names.into_iter().enumerate().map(|(i, n)| n.unwrap_or_else(|| format!("column{}", i + 1)));
            shape.header = Some(names.collect());
        }
        let declared_json = format.name() == "json" && declared.is_some();
        let json_fields = declared_json.then(|| field_names(lines.iter().map(Vec::as_slice)).into());
        let mut inferred = None;
        let (line, schema) = match (declared, &shape.header) {
            (None, _) => {
                let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
                let found = format.infer(&lines, &options).map_err(|error| {
                    let hint = lines_hint(format, &lines);
                    let error = error.context(format!("file \"{}\"", paths[0].display()));
                    hint.map_or(error.clone(), |hint| error.hint(hint))
                })?;
                found.options.iter().for_each(|(name, value)| options.set(name, value));
                let schema = Arc::clone(&inferred.insert(found).schema);
                (Arc::clone(&schema), schema)
            }
            (Some(declared), Some(names)) => {
                let all: Vec<&str> = names.iter().map(String::as_str).collect();
                if let Some(error) = twice(&all, |a, b| a == b && declared.field_with_name(a).is_ok()) {
                    return Err(error.context(format!("file \"{}\"", paths[0].display())));
                }
                let fields = names.iter().map(|name| match declared.field_with_name(name) {
                    Ok(field) => field.clone(),
                    Err(_) => Field::new(name, DataType::Utf8, true),
                });
                let line = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
                let columns = matched(&line, &declared, &paths[0]).map_err(|error| {
                    if let Some(other) = other_delimiter(names) {
                        let first = names.join(", ");
                        let hint = format!("The first line has one field, {first:?}: set csv.delimiter = '{other}'.");
                        return error.hint(hint);
                    }
                    let none = !names.iter().any(|name| declared.field_with_name(name).is_ok());
                    let near = error.get_hint().is_some_and(|hint| hint.starts_with("Did you mean"));
                    if near || !none {
                        return error;
                    }
                    let first = names.join(", ");
                    error.hint(format!(
                        "The first line is: {first}. Put the columns' names there, or set csv.header = false."
                    ))
                })?;
                (line, columns)
            }
            (Some(declared), None) => (Arc::clone(&declared), declared),
        };
        let index = |field: &Arc<Field>| line.index_of(field.name()).map_err(|e| Error::internal(e.to_string()));
        let projection = schema.fields().iter().map(index).collect::<Result<Vec<_>>>()?;
        // The reader takes the header lines out, so the decoder never meets one.
        options.set("csv.header", "false");
        let kind = Kind::Lines { format, shape, line, projection };
        let files = Self { paths: paths.into(), kind, schema, options, inferred, json_fields };
        // What the decoder refuses is told now, not at the first row.
        files.reader(0, false)?;
        Ok(files)
    }

    /// The table's columns: those declared, else those found.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// What the lines suggested, if columns were not declared and lines have to suggest them.
    #[must_use]
    pub fn inferred(&self) -> Option<&Inferred> {
        self.inferred.as_ref()
    }

    /// The names of the fields of the first lines, if the columns were declared and lines are JSON.
    #[must_use]
    pub fn json_fields(&self) -> Option<&[String]> {
        self.json_fields.as_deref()
    }

    /// The file of the row at `offset`, and the number of its line there, counted from 1; `None` for Parquet, and for a row that
    /// is not there any more. Reads up to that row: for the few that people are told of.
    ///
    /// # Errors
    /// `External` if a file cannot be read.
    pub fn place_of(&self, offset: i64) -> Result<Option<(PathBuf, u64)>> {
        match &self.kind {
            Kind::Parquet => Ok(None),
            Kind::Lines { shape, .. } => read::place_of(&self.paths, shape, offset),
        }
    }

    /// The rows from offset `start` on, as batches of [`Files::schema`]; then it is finished. A line that is no row ends the
    /// source with an error that names it, or is left out if `bad_records` is `skip`.
    ///
    /// # Errors
    /// `User` if the format cannot carry a type.
    pub fn source(&self, start: i64) -> Result<Box<dyn Source>> {
        Ok(Box::new(FileSource::new(self.reader(start, false)?.spawn()?, start, None)))
    }

    /// The lines from offset `start` on as records (without key, stamped with the present), for who decodes them
    /// ([`Files::decoder`]) and can do more with a bad one; `seen` hears how far it is. Parquet has no lines: it gives batches.
    ///
    /// # Errors
    /// As [`Files::source`].
    pub fn records(&self, start: i64, seen: Option<Seen>) -> Result<Box<dyn Source>> {
        Ok(Box::new(FileSource::new(self.reader(start, true)?.spawn()?, start, seen)))
    }

    /// A decoder of [`Files::records`] into the columns of [`Files::schema`] at `projection`; `None` for Parquet.
    ///
    /// # Errors
    /// `User` if the format cannot carry a type.
    pub fn decoder(&self, projection: &[usize]) -> Result<Option<Box<dyn crate::format::Decoder>>> {
        let Kind::Lines { format, line, projection: all, .. } = &self.kind else { return Ok(None) };
        let projection: Vec<usize> = projection.iter().filter_map(|i| all.get(*i).copied()).collect();
        format.decoder(Arc::clone(line), &projection, &self.options).map(Some)
    }

    /// How many bytes the files have, if they are lines: what [`Seen`] counts up to.
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        let size = |path: &PathBuf| std::fs::metadata(path).map_or(0, |meta| meta.len());
        matches!(self.kind, Kind::Lines { .. }).then(|| self.paths.iter().map(size).sum())
    }

    /// Parquet files as a table for plain SELECT, read by DataFusion's own scan; `None` where rows are lines, which are read
    /// as records ([`Files::records`]).
    ///
    /// # Errors
    /// `Internal` if DataFusion refuses the paths.
    pub fn table(&self) -> Result<Option<Arc<dyn TableProvider>>> {
        if matches!(self.kind, Kind::Lines { .. }) {
            return Ok(None);
        }
        let urls =
            self.paths.iter().map(|path| Ok(ListingTableUrl::parse(find::url(path)?)?)).collect::<Result<Vec<_>>>()?;
        let listing = ListingOptions::new(Arc::new(ParquetFormat::default())).with_file_extension("");
        let config = ListingTableConfig::new_with_multi_paths(urls);
        let config = config.with_listing_options(listing).with_schema(Arc::clone(&self.schema));
        Ok(Some(Arc::new(ListingTable::try_new(config)?)))
    }

    fn reader(&self, start: i64, records: bool) -> Result<Reader> {
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        let skip_bad = self.options.get("bad_records") == Some("skip");
        let shape = match &self.kind {
            Kind::Lines { shape, .. } => Some(shape.clone()),
            Kind::Parquet => None,
        };
        let decoder = if records { None } else { self.decoder(&all)? };
        Ok(Reader {
            paths: Arc::clone(&self.paths),
            schema: Arc::clone(&self.schema),
            shape,
            decoder,
            skip_bad,
            start: start.max(0),
        })
    }
}

/// What to do about lines of JSON that are parts of an object: somebody wrote it for people, over several lines.
#[must_use]
pub fn lines_hint(format: &dyn Format, lines: &[&[u8]]) -> Option<String> {
    let first = lines.first().filter(|_| format.name() == "json")?;
    let cut = first.trim_ascii_start().starts_with(b"{")
        && serde_json::from_slice::<serde::de::IgnoredAny>(first).is_err_and(|error| error.is_eof());
    cut.then(|| "Write each object on one line: jq -c . FILE does it.".to_owned())
}

/// The columns of `declared` as they are in `found`, by name.
///
/// # Errors
/// `User` if one is missing or has another type.
fn matched(found: &SchemaRef, declared: &SchemaRef, path: &std::path::Path) -> Result<SchemaRef> {
    for field in declared.fields() {
        let name = field.name();
        let Ok(there) = found.field_with_name(name) else {
            let error = Error::user(format!("file \"{}\" has no column \"{name}\"", path.display()));
            let known = found.fields().iter().map(|f| f.name().as_str());
            return Err(match did_you_mean(name, "columns", known) {
                Some(hint) => error.hint(hint),
                None => error,
            });
        };
        if !read::same_family(there.data_type(), field.data_type()) {
            let (is, wanted) = (type_name(there.data_type()), type_name(field.data_type()));
            let error = Error::user(format!("file \"{}\": column \"{name}\" is {is}, declared {wanted}", path.display()));
            return Err(error.hint(format!("Declare it as {is}.")));
        }
    }
    Ok(Arc::clone(declared))
}

/// Rows of files as an input of a job.
#[derive(Debug)]
struct FileSource {
    items: mpsc::Receiver<Result<Item>>,
    /// The offset behind what was returned.
    position: i64,
    /// What was read and not yet returned, from this row on.
    rest: Option<(Item, usize)>,
    assigned: bool,
    seen: Option<Seen>,
}

impl FileSource {
    fn new(items: mpsc::Receiver<Result<Item>>, start: i64, seen: Option<Seen>) -> Self {
        Self { items, position: start.max(0), rest: None, assigned: false, seen }
    }
}

#[async_trait]
impl Source for FileSource {
    async fn next(&mut self, limit: Limit) -> Result<Event> {
        if !self.assigned {
            self.assigned = true;
            return Ok(Event::Assigned(vec![Assignment { input: 0, partition: 0, offset: self.position, committed: None }]));
        }
        if limit.is_none() {
            return std::future::pending().await;
        }
        let (item, done) = match self.rest.take() {
            Some(rest) => rest,
            // Nothing was taken out of `self` before this wait, so a dropped call loses nothing.
            None => match self.items.recv().await {
                Some(item) => {
                    let item = item?;
                    if let Some(seen) = &self.seen {
                        seen.tell(item.rows.len(), item.bytes);
                    }
                    (item, 0)
                }
                None => return Ok(Event::Finished),
            },
        };
        let left = item.rows.len() - done;
        let row_bytes = (item.rows.bytes() / item.rows.len().max(1)).max(1);
        let take = left.min(limit.rows.min(limit.bytes / row_bytes).max(1));
        let rows = item.rows.slice(done, take);
        let next_offset = if take == left { item.end } else { item.ends.get(done + take - 1).copied().unwrap_or(item.end) };
        if take < left {
            self.rest = Some((item, done + take));
        }
        self.position = next_offset;
        let chunk = Chunk { input: 0, partition: 0, next_offset, end: None, rows };
        Ok(Event::Cut(Cut { chunks: vec![chunk], membership: None }))
    }
}
