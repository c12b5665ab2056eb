//! What stands in `WITH (...)`.   [`Options`] (text) ─► [`TableOptions`] (typed, checked against the columns)
//!
//! Each connector has one slice of its options; a name that is in none of its slices is an error with the nearest known one.
//! To add an option: a line in its slice, and a field that [`TableOptions::read`] fills.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, TimeUnit};

use super::definition::{MetadataColumn, TableDefinition};
use super::types::sql_type;
use crate::config::{OptionSpec, Options};
use crate::connector::{OffsetAt, Start};
use crate::error::{Error, Result};
use crate::format::infer::AnyKind;
use crate::stream::table::BadRecords;
use crate::stream::write::Partitioner;

/// The options of every table.
pub const COMMON: &[OptionSpec] = &[
    spec("connector", "kafka, generator, file", "kafka", "Where the rows come from and go to."),
    spec("format", "json, csv, raw; of files json, csv, parquet", "json", "How a row is written as bytes."),
    spec(
        "json.mixed",
        "names, separated by commas; * for all",
        "",
        "The columns in which a VARCHAR takes values of any kind, those that are no strings as their JSON text.",
    ),
    spec("csv.delimiter", "one character", ",", "What separates the fields of a line."),
    spec("csv.header", "true, false", "", "Whether the first line holds names; files: true, topics: false."),
    spec("csv.null", "text", "", "The field that means NULL; an empty one by default."),
];

/// The options of a table over a topic.
pub const KAFKA: &[OptionSpec] = &[
    spec("topic", "a topic's name", "", "The topic; the table's name by default."),
    spec("key.format", "none, raw, json", "none", "How the key of a record is written."),
    spec("key.columns", "names, separated by commas", "", "The columns in the key; the PRIMARY KEY by default."),
    spec(
        "scan.startup",
        "earliest, latest, timestamp:RFC3339, offsets:0=12,1=9",
        "",
        "Where a job begins that has no offsets yet.",
    ),
    spec("bad_records", "dead_letter, skip, fail", "dead_letter", "What becomes of a record that is not a row."),
    spec("partitioner", "murmur2_random, round_robin", "murmur2_random", "How rows written find their partition."),
    spec("compression", "lz4, zstd, gzip, snappy, none", "lz4", "How records written are compressed."),
    spec("topic.create", "true, false", "true", "Whether writing creates the topic."),
    spec(
        "topic.partitions",
        "a number",
        "",
        "How many partitions a topic that is created has; the broker's default if unset.",
    ),
    spec(
        "topic.replication",
        "a number",
        "",
        "How many copies of a topic that is created are kept; the broker's default if unset.",
    ),
    spec("kafka.*", "text", "", "Any property of librdkafka, for this table only."),
];

/// The options of a table over files.
pub const FILE: &[OptionSpec] = &[
    spec("path", "a file, a directory or a glob", "", "Where the files are."),
    spec("bad_records", "dead_letter, skip, fail", "dead_letter", "What becomes of a line that is not a row."),
];

/// The options of a table of made-up rows.
pub const GENERATOR: &[OptionSpec] = &[
    spec("rows", "a number", "", "How many rows; endless by default."),
    spec("rate", "rows per second", "", "How fast; 1000 when endless, else as fast as possible."),
];

/// All options with the connector that reads them; `""` stands for every connector.
pub const TABLE_OPTIONS: &[(&str, &[OptionSpec])] =
    &[("", COMMON), ("kafka", KAFKA), ("file", FILE), ("generator", GENERATOR)];

const fn spec(name: &'static str, values: &'static str, default: &'static str, doc: &'static str) -> OptionSpec {
    OptionSpec { name, values, default, doc }
}

/// The checked options of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableOptions {
    /// A topic.
    Kafka(Box<KafkaOptions>),
    /// Files.
    File(FileOptions),
    /// Made-up rows `n BIGINT, ts TIMESTAMP`.
    Generator(GeneratorOptions),
}

/// How a topic is read and written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaOptions {
    /// The topic's name.
    pub topic: String,
    /// The format of values: `json`, `csv`, `raw`.
    pub format: &'static str,
    /// The format of keys: `raw`, `json`; `None` if rows have no key.
    pub key_format: Option<&'static str>,
    /// The columns in the key, as the table spells them; empty without a key.
    pub key_columns: Vec<String>,
    /// Where reading begins without committed offsets; `None`: jobs at the earliest, EMIT CHANGES at the latest.
    pub startup: Option<Start>,
    /// What becomes of records that are no rows.
    pub bad_records: BadRecords,
    /// How rows find their partition.
    pub partitioner: Partitioner,
    /// `lz4`, `zstd`, `gzip`, `snappy`, `none`; `None` leaves it to the clients, whose default is `lz4`.
    pub compression: Option<&'static str>,
    /// Whether writing creates the topic.
    pub create: bool,
    /// Partitions of a topic that is created.
    pub partitions: Option<i32>,
    /// Copies of a topic that is created.
    pub replication: Option<i16>,
    /// Properties of the client: the `kafka.*` options without that prefix.
    pub properties: Options,
}

/// Which files are read, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOptions {
    /// A file, a directory or a glob, as given.
    pub path: String,
    /// `json`, `csv`, `parquet`; unless given, what the path's ending says.
    pub format: &'static str,
    /// What becomes of lines that are no rows.
    pub bad_records: BadRecords,
}

/// How many rows are made up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneratorOptions {
    /// How many; `None`: endless.
    pub rows: Option<u64>,
    /// Rows per second; `None`: as fast as possible.
    pub rate: Option<u64>,
}

impl TableOptions {
    /// Checks `table`'s options, also against its columns where those are known already.
    ///
    /// # Errors
    /// `User` for an unknown option, a value that is none of its values, or one that the columns do not fit.
    pub fn read(table: &TableDefinition) -> Result<Self> {
        let options = &table.options;
        let connector = options.choice("connector", &["kafka", "generator", "file"])?;
        let own = TABLE_OPTIONS.iter().find(|(name, _)| *name == connector).map_or(COMMON, |(_, specs)| *specs);
        check_names(options, connector, own)?;
        let delimiter = options.or("csv.delimiter", ",");
        if delimiter.len() != 1 {
            let error = Error::user(format!("option \"csv.delimiter\" = '{delimiter}' is not one ASCII character"));
            return Err(error.hint("Write csv.delimiter = ';', for example."));
        }
        options.boolean("csv.header", false)?;
        check_mixed(table)?;
        match connector {
            "file" => FileOptions::read(table).map(Self::File),
            "generator" => GeneratorOptions::read(table).map(Self::Generator),
            _ => KafkaOptions::read(table).map(|o| Self::Kafka(Box::new(o))),
        }
    }
    /// The connector's name.
    #[must_use]
    pub fn connector(&self) -> &'static str {
        match self {
            Self::Kafka(_) => "kafka",
            Self::File(_) => "file",
            Self::Generator(_) => "generator",
        }
    }
}

/// `json.mixed` names columns that have a VARCHAR in them, as far as the columns are known.
fn check_mixed(table: &TableDefinition) -> Result<()> {
    let columns: Vec<_> = table.columns.iter().map(|c| (c.name.as_str(), &c.data_type)).collect();
    let any = AnyKind::of(&table.options);
    let Some(name) = any.wrong(&columns).filter(|_| !columns.is_empty()) else { return Ok(()) };
    let Some((known, data_type)) = columns.iter().find(|(known, _)| known.to_lowercase() == name) else {
        return Err(unknown_column(table, name, "of json.mixed"));
    };
    let error = Error::user(format!("column \"{known}\" of json.mixed is {}", sql_type(data_type)));
    Err(error.hint("Name columns that are VARCHAR, or have VARCHAR in them."))
}

/// An option of another connector is told apart from one that does not exist.
fn check_names(options: &Options, connector: &str, own: &'static [OptionSpec]) -> Result<()> {
    for (name, value) in options.iter() {
        let one: Options = [(name.to_owned(), value.to_owned())].into_iter().collect();
        let Err(error) = one.check(&[COMMON, own]) else { continue };
        let elsewhere = TABLE_OPTIONS.iter().find(|(_, specs)| one.check(&[specs]).is_ok());
        return Err(match elsewhere {
            Some((other, _)) => Error::user(format!("option \"{name}\" is not one of connector \"{connector}\""))
                .hint(format!("Leave it out, or write connector = '{other}'.")),
            None => error,
        });
    }
    Ok(())
}

impl KafkaOptions {
    fn read(table: &TableDefinition) -> Result<Self> {
        let options = &table.options;
        let topic = options.or("topic", &table.name).to_owned();
        check_topic(&topic)?;
        let format = options.choice("format", &["json", "csv", "raw"])?;
        if format == "raw" {
            check_raw(table)?;
        }
        let (key_format, key_columns) = read_key(table)?;
        for column in &table.columns {
            if let Some(metadata) = column.metadata {
                metadata.check(&column.name, &column.data_type)?;
                if metadata == MetadataColumn::Key && key_format.is_some() {
                    let error = Error::user(format!("column \"{}\" and key.format both stand for the key", column.name));
                    return Err(error.hint("Leave out one of them."));
                }
            }
        }
        let partitions = options.number("topic.partitions", 1)?.map(i32::try_from).transpose();
        let replication = options.number("topic.replication", 1)?.map(i16::try_from).transpose();
        Ok(Self {
            topic,
            format,
            key_format,
            key_columns,
            startup: options.get("scan.startup").map(parse_startup).transpose()?,
            bad_records: read_bad_records(options)?,
            partitioner: match options.choice("partitioner", &["murmur2_random", "round_robin"])? {
                "round_robin" => Partitioner::RoundRobin,
                _ => Partitioner::Murmur2Random,
            },
            compression: match options.get("compression") {
                Some(_) => Some(options.choice("compression", &["lz4", "zstd", "gzip", "snappy", "none"])?),
                None => None,
            },
            create: options.boolean("topic.create", true)?,
            partitions: partitions.map_err(|_| Error::user("option \"topic.partitions\" is too large"))?,
            replication: replication.map_err(|_| Error::user("option \"topic.replication\" is too large"))?,
            properties: options
                .iter()
                .filter_map(|(name, value)| Some((name.strip_prefix("kafka.")?.to_owned(), value.to_owned())))
                .collect(),
        })
    }
}

/// Checks a topic's name as Kafka does.
///
/// # Errors
/// `User` for a name that no topic can have.
pub fn check_topic(topic: &str) -> Result<()> {
    let legal = topic.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    if legal && (1..=249).contains(&topic.len()) && topic != "." && topic != ".." {
        return Ok(());
    }
    let error = Error::user(format!("topic \"{topic}\" cannot exist"));
    Err(error.hint("Use 1 to 249 of the characters A-Z, a-z, 0-9, \".\", \"_\" and \"-\"."))
}

/// `raw` is the bytes as they are: one column of the value.
fn check_raw(table: &TableDefinition) -> Result<()> {
    if table.columns.is_empty() {
        return Ok(());
    }
    let values: Vec<_> = table.columns.iter().filter(|c| c.metadata.is_none()).collect();
    match values.as_slice() {
        [one] if matches!(one.data_type, DataType::Binary | DataType::Utf8) => Ok(()),
        [one] => {
            Err(Error::user(format!("format \"raw\" cannot hold column \"{}\", which is {}", one.name, one.sql_type()))
                .hint("Make it BYTEA or VARCHAR, or use another format."))
        }
        many => Err(Error::user(format!("format \"raw\" holds one column, and the table has {}", many.len()))
            .hint("Keep one column of type BYTEA or VARCHAR, or use another format.")),
    }
}

fn read_key(table: &TableDefinition) -> Result<(Option<&'static str>, Vec<String>)> {
    let options = &table.options;
    let format = options.choice("key.format", &["none", "raw", "json"])?;
    let given: Vec<&str> = options.or("key.columns", "").split(',').map(str::trim).filter(|c| !c.is_empty()).collect();
    if format == "none" {
        if given.is_empty() {
            return Ok((None, Vec::new()));
        }
        let error = Error::user("option \"key.columns\" needs a key.format");
        return Err(error.hint("Add key.format = 'json', or 'raw' for a single VARCHAR or BYTEA column."));
    }
    let mut columns = Vec::with_capacity(given.len());
    for name in given {
        // Before the columns are known the name stands as it was typed.
        let all = &table.columns;
        let found = all.iter().find(|c| c.name == name).or_else(|| all.iter().find(|c| c.name.eq_ignore_ascii_case(name)));
        match found {
            Some(column) if column.metadata.is_some() => {
                return Err(
                    Error::user(format!("column \"{name}\" of key.columns is METADATA")).hint("Name a column of the value.")
                );
            }
            Some(column) => columns.push(column.name.clone()),
            None if all.is_empty() => columns.push(name.to_owned()),
            None => return Err(unknown_column(table, name, "of key.columns")),
        }
    }
    if columns.is_empty() {
        columns.clone_from(&table.primary_key);
    }
    if columns.is_empty() {
        let error = Error::user(format!("key.format = '{format}' needs the columns of the key"));
        return Err(error.hint("Add key.columns = 'a,b', or a PRIMARY KEY."));
    }
    if format == "raw" {
        let fits =
            |name: &String| table.column(name).is_none_or(|c| matches!(c.data_type, DataType::Binary | DataType::Utf8));
        if columns.len() != 1 || !columns.iter().all(fits) {
            let error = Error::user(format!("key.format = 'raw' cannot hold {}", columns.join(", ")));
            return Err(error.hint("Name one column of type VARCHAR or BYTEA, or use key.format = 'json'."));
        }
    }
    Ok((Some(format), columns))
}

/// The error for a column that `table` does not have.
pub(super) fn unknown_column(table: &TableDefinition, name: &str, place: &str) -> Error {
    let error = Error::user(format!("column \"{name}\" {place} does not exist"));
    match crate::error::did_you_mean(name, "columns", table.columns.iter().map(|c| c.name.as_str())) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

impl FileOptions {
    fn read(table: &TableDefinition) -> Result<Self> {
        let Some(path) = table.options.get("path").filter(|p| !p.is_empty()) else {
            return Err(Error::user("connector \"file\" needs option \"path\"").hint("Add path = 'data.csv', for example."));
        };
        const FORMATS: &[&str] = &["json", "csv", "parquet"];
        let format = match table.options.get("format") {
            Some(_) => table.options.choice("format", FORMATS)?,
            None => match path.rsplit('.').next().unwrap_or_default().to_ascii_lowercase().as_str() {
                "csv" | "tsv" | "txt" => "csv",
                "parquet" => "parquet",
                _ => "json",
            },
        };
        no_metadata(table, "file")?;
        Ok(Self { path: path.to_owned(), format, bad_records: read_bad_records(&table.options)? })
    }
}

fn read_bad_records(options: &Options) -> Result<BadRecords> {
    Ok(match options.choice("bad_records", &["dead_letter", "skip", "fail"])? {
        "skip" => BadRecords::Skip,
        "fail" => BadRecords::Fail,
        _ => BadRecords::DeadLetter,
    })
}

impl GeneratorOptions {
    fn read(table: &TableDefinition) -> Result<Self> {
        no_metadata(table, "generator")?;
        for column in &table.columns {
            let fits = match column.name.as_str() {
                "n" => column.data_type == DataType::Int64,
                "ts" => column.data_type == DataType::Timestamp(TimeUnit::Millisecond, None),
                _ => false,
            };
            if !fits {
                let (name, its_type) = (&column.name, sql_type(&column.data_type));
                return Err(Error::user(format!("connector \"generator\" has no column \"{name} {its_type}\""))
                    .hint("Its columns are n BIGINT and ts TIMESTAMP; make others in a query or a view."));
            }
        }
        let rows = table.options.number("rows", 0)?;
        let rate = table.options.number("rate", 1)?;
        Ok(Self { rows, rate: rate.or(if rows.is_none() { Some(1000) } else { None }) })
    }
}

fn no_metadata(table: &TableDefinition, connector: &str) -> Result<()> {
    match table.columns.iter().find(|c| c.metadata.is_some()) {
        None => Ok(()),
        Some(column) => Err(Error::user(format!(
            "column \"{}\" is METADATA, and rows of connector \"{connector}\" have none",
            column.name
        ))
        .hint("Leave it out.")),
    }
}

/// `earliest`, `latest`, `timestamp:2026-11-21T00:00:00Z`, `offsets:0=12,1=9`.
fn parse_startup(text: &str) -> Result<Start> {
    let wrong = |what: String| {
        Err(Error::user(format!("option \"scan.startup\" cannot be '{text}'{what}"))
            .hint("Write earliest, latest, timestamp:2026-11-21T00:00:00Z or offsets:0=12,1=9."))
    };
    match text.split_once(':').map_or((text.trim(), None), |(kind, rest)| (kind.trim(), Some(rest.trim()))) {
        ("earliest", None) => Ok(Start::At(OffsetAt::Earliest)),
        ("latest", None) => Ok(Start::At(OffsetAt::Latest)),
        ("timestamp", Some(time)) => match chrono::DateTime::parse_from_rfc3339(time) {
            Ok(time) => Ok(Start::At(OffsetAt::Timestamp(time.timestamp_millis()))),
            Err(_) => wrong(format!(": '{time}' is not a time with a date and a zone")),
        },
        ("offsets", Some(list)) => {
            let mut offsets = BTreeMap::new();
            for pair in list.split(',') {
                let parsed = pair.split_once('=').and_then(|(p, o)| {
                    let (partition, offset) = (p.trim().parse::<i32>().ok()?, o.trim().parse::<i64>().ok()?);
                    (partition >= 0 && offset >= 0).then_some((partition, offset))
                });
                match parsed {
                    Some((partition, offset)) if offsets.insert(partition, offset).is_none() => {}
                    Some((partition, _)) => return wrong(format!(": partition {partition} is given twice")),
                    None => return wrong(format!(": '{}' is not a partition and its offset", pair.trim())),
                }
            }
            Ok(Start::Offsets(offsets))
        }
        _ => wrong(String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::definition::Column;
    use super::*;

    fn table(columns: &[(&str, DataType)], options: &[(&str, &str)]) -> TableDefinition {
        TableDefinition {
            name: "payments".to_owned(),
            columns: columns.iter().map(|(n, t)| Column::new(*n, t.clone())).collect(),
            options: options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            ..TableDefinition::default()
        }
    }
    fn kafka(options: &[(&str, &str)]) -> Result<KafkaOptions> {
        let columns = [("id", DataType::Int64), ("card", DataType::Utf8)];
        match TableOptions::read(&table(&columns, options))? {
            TableOptions::Kafka(it) => Ok(*it),
            other => unreachable!("{other:?}"),
        }
    }
    fn refused(table: &TableDefinition) -> (String, String) {
        let error = TableOptions::read(table).unwrap_err();
        (error.message().to_owned(), error.get_hint().unwrap_or_default().to_owned())
    }

    #[test]
    fn without_options_a_table_is_the_topic_of_its_name_in_json() {
        let it = kafka(&[]).unwrap();
        assert_eq!((it.topic.as_str(), it.format, it.key_format, it.startup), ("payments", "json", None, None));
        assert_eq!(
            (it.bad_records, it.partitioner, it.compression),
            (BadRecords::DeadLetter, Partitioner::Murmur2Random, None)
        );
        assert_eq!((it.create, it.partitions, it.replication), (true, None, None));
    }

    #[test]
    fn values_are_typed() {
        let it = kafka(&[
            ("topic", "a.b-c"),
            ("key.format", "json"),
            ("key.columns", "ID, card"),
            ("bad_records", "skip"),
            ("partitioner", "round_robin"),
            ("compression", "zstd"),
            ("topic.create", "false"),
            ("topic.partitions", "8"),
            ("topic.replication", "3"),
            ("kafka.fetch.max.bytes", "9"),
            ("scan.startup", "offsets:0=12, 1=9"),
        ])
        .unwrap();
        assert_eq!(it.key_columns, ["id", "card"]);
        assert_eq!(it.startup, Some(Start::Offsets([(0, 12), (1, 9)].into_iter().collect())));
        assert_eq!(
            (it.bad_records, it.partitioner, it.compression),
            (BadRecords::Skip, Partitioner::RoundRobin, Some("zstd"))
        );
        assert_eq!((it.create, it.partitions, it.replication), (false, Some(8), Some(3)));
        assert_eq!(it.properties.get("fetch.max.bytes"), Some("9"));
    }

    #[test]
    fn startup_is_read() {
        assert_eq!(parse_startup("latest").unwrap(), Start::At(OffsetAt::Latest));
        assert_eq!(parse_startup("timestamp:1970-01-01T00:00:01.5Z").unwrap(), Start::At(OffsetAt::Timestamp(1500)));
        for (text, what) in [
            ("newest", ""),
            ("timestamp:2026-11-21", ": '2026-11-21' is not a time with a date and a zone"),
            ("offsets:0=1,0=2", ": partition 0 is given twice"),
            ("offsets:0", ": '0' is not a partition and its offset"),
            ("offsets:-1=3", ": '-1=3' is not a partition and its offset"),
        ] {
            let error = parse_startup(text).unwrap_err();
            assert_eq!(error.message(), format!("option \"scan.startup\" cannot be '{text}'{what}"));
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let columns = [("id", DataType::Int64)];
        for (options, message, hint) in [
            (&[("fromat", "json")][..], "unknown option \"fromat\"", "Did you mean \"format\"?"),
            (
                &[("rows", "5")],
                "option \"rows\" is not one of connector \"kafka\"",
                "Leave it out, or write connector = 'generator'.",
            ),
            (&[("format", "xml")], "option \"format\" cannot be 'xml'", "It is one of: json, csv, raw."),
            (
                &[("topic", "a b")],
                "topic \"a b\" cannot exist",
                "Use 1 to 249 of the characters A-Z, a-z, 0-9, \".\", \"_\" and \"-\".",
            ),
            (
                &[("format", "raw")],
                "format \"raw\" cannot hold column \"id\", which is BIGINT",
                "Make it BYTEA or VARCHAR, or use another format.",
            ),
            (
                &[("key.columns", "id")],
                "option \"key.columns\" needs a key.format",
                "Add key.format = 'json', or 'raw' for a single VARCHAR or BYTEA column.",
            ),
            (
                &[("key.format", "json")],
                "key.format = 'json' needs the columns of the key",
                "Add key.columns = 'a,b', or a PRIMARY KEY.",
            ),
            (
                &[("key.format", "json"), ("key.columns", "idd")],
                "column \"idd\" of key.columns does not exist",
                "Did you mean \"id\"?",
            ),
            (
                &[("key.format", "raw"), ("key.columns", "id")],
                "key.format = 'raw' cannot hold id",
                "Name one column of type VARCHAR or BYTEA, or use key.format = 'json'.",
            ),
            (&[("connector", "file")], "connector \"file\" needs option \"path\"", "Add path = 'data.csv', for example."),
            (
                &[("connector", "generator")],
                "connector \"generator\" has no column \"id BIGINT\"",
                "Its columns are n BIGINT and ts TIMESTAMP; make others in a query or a view.",
            ),
            (
                &[("connector", "kafak")],
                "option \"connector\" cannot be 'kafak'",
                "Did you mean 'kafka'? It is one of: kafka, generator, file.",
            ),
            (
                &[("topic.partitions", "0")],
                "option \"topic.partitions\" = '0' is not a whole number of at least 1",
                "Write a whole number: topic.partitions = 8.",
            ),
        ] {
            assert_eq!(refused(&table(&columns, options)), (message.to_owned(), hint.to_owned()));
        }
        let two = [("a", DataType::Utf8), ("b", DataType::Utf8)];
        assert_eq!(refused(&table(&two, &[("format", "raw")])).0, "format \"raw\" holds one column, and the table has 2");
    }

    #[test]
    fn files_say_their_format_and_generators_their_rate() {
        let file = |path: &str| match TableOptions::read(&table(&[], &[("connector", "file"), ("path", path)])) {
            Ok(TableOptions::File(it)) => it.format,
            other => unreachable!("{other:?}"),
        };
        assert_eq!(["a.csv", "b.PARQUET", "c/*.jsonl", "dir"].map(file), ["csv", "parquet", "json", "json"]);
        let generator = |options: &[(&str, &str)]| {
            let mut all = vec![("connector", "generator")];
            all.extend_from_slice(options);
            match TableOptions::read(&table(&[], &all)) {
                Ok(TableOptions::Generator(it)) => (it.rows, it.rate),
                other => unreachable!("{other:?}"),
            }
        };
        assert_eq!(generator(&[]), (None, Some(1000)));
        assert_eq!(generator(&[("rows", "5")]), (Some(5), None));
        assert_eq!(generator(&[("rows", "5"), ("rate", "2")]), (Some(5), Some(2)));
    }
}
