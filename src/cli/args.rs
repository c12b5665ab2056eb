//! What can be typed behind `vatic`: subcommands, options, their defaults and help texts.
//!
//! Wrong usage ends with exit code 2 before anything is opened. To add a subcommand: add a variant to [`Command`], a struct
//! for its arguments, a module that does it, and one line to the dispatch in [`super`].

use std::path::PathBuf;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "vatic", version, about, long_about = LONG, after_help = EXAMPLES, max_term_width = 110)]
pub struct Cli {
    /// What every subcommand takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do; the shell if nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
}

const LONG: &str = "SQL over Kafka with live machine-learning models.

SELECT answers and ends; SELECT ... EMIT CHANGES follows; INSERT INTO and CREATE TABLE ... AS run as jobs, whose offsets \
survive them. Results go to stdout, everything else to stderr.";

const EXAMPLES: &str = "Examples:
  vatic produce payments payments.jsonl         fill a topic from a file, one record per line
  vatic sql \"SELECT * FROM topic('payments')\"   ask it something
  vatic publish fraud fraud.onnx                publish a model for score('fraud', ...)
  vatic run alerts.sql                          run a saved query until Ctrl-C
  vatic                                         the interactive shell

Exit codes: 0 done; 1 the query, its data or a model is wrong; 2 usage;
3 outside trouble (broker, disk); 130 after Ctrl-C, 143 after SIGTERM, both after a clean stop.";

impl Cli {
    /// Reads the command line.
    ///
    /// # Errors
    /// clap's answer to wrong usage, `--help` and `--version`.
    pub fn read() -> Result<Self, clap::Error> {
        let matches = Self::command().try_get_matches()?;
        let mut cli = Self::from_arg_matches(&matches)?;
        cli.global.broker_named = matches.value_source("broker") == Some(clap::parser::ValueSource::CommandLine);
        Ok(cli)
    }
}

/// Options of every subcommand.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Where topics live: embedded[:DIR] (files in DIR, for one machine) or HOST:PORT[,...] (Apache Kafka).
    #[arg(long, global = true, env = "VATIC_BROKER", default_value = "embedded:.vatic", value_name = "BROKER")]
    #[arg(value_parser = parse_broker)]
    pub broker: String,
    /// Whether the broker was named on the command line, and not by the environment or the default.
    #[arg(skip)]
    pub broker_named: bool,
    /// Any librdkafka property, as -X security.protocol=SSL; may be repeated.
    #[arg(short = 'X', global = true, value_name = "KEY=VALUE", value_parser = parse_property)]
    pub properties: Vec<(String, String)>,
    /// A file of such properties, one key=value per line: the place for passwords. -X counts more.
    #[arg(long = "properties", global = true, env = "VATIC_PROPERTIES", value_name = "FILE")]
    pub properties_file: Option<PathBuf>,
    /// Statements to run first, in every session.
    #[arg(long, global = true, value_name = "FILE")]
    pub init: Option<PathBuf>,
    /// Load the functions in this folder (crates and .rs files written for Arroyo), or one of them, into every session.
    #[arg(long, global = true, value_name = "DIR")]
    pub udfs: Option<PathBuf>,
    /// Say nothing but results, errors and warnings of what happened: no notices, no advice on statements.
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Errors as text, or, with warnings, as JSON, one object per line; auto: errors as JSON if the results are.
    #[arg(long, global = true, env = "VATIC_ERRORS", value_enum, default_value_t = ErrorsAs::Auto, value_name = "FORM")]
    #[arg(hide_env_values = true)]
    pub errors: ErrorsAs,
    /// Colours on stderr.
    #[arg(long, global = true, value_enum, default_value_t = ColorChoice::Auto, value_name = "WHEN")]
    pub color: ColorChoice,
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How errors are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ErrorsAs {
    /// As JSON if the command's results are: --format json, --json.
    Auto,
    /// For people.
    Text,
    /// For programs.
    Json,
}

impl Cli {
    /// Whether errors are for programs.
    #[must_use]
    pub fn errors_in_json(&self) -> bool {
        match self.global.errors {
            ErrorsAs::Text => false,
            ErrorsAs::Json => true,
            ErrorsAs::Auto => match &self.command {
                Some(Command::Sql(args)) => args.format == OutputFormat::Json,
                Some(Command::Score(args)) => args.format == FileFormat::Json,
                Some(Command::Publish(args)) => args.json,
                Some(Command::Inspect(args)) => args.json,
                Some(Command::Consume(args)) => args.json,
                Some(Command::Bench(args)) => args.json,
                _ => false,
            },
        }
    }
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The interactive shell (the default); reads a script from a pipe: vatic < file.sql
    Shell,
    /// Run saved query files in the foreground; Ctrl-C stops cleanly after the epoch.
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Execute statements given on the command line.
    #[command(after_help = SQL_EXAMPLES)]
    Sql(SqlArgs),
    /// Publish a model version.
    #[command(after_help = PUBLISH_EXAMPLES)]
    Publish(PublishArgs),
    /// Score a file with a model file; no broker is opened.
    #[command(after_help = SCORE_EXAMPLES)]
    Score(ScoreArgs),
    /// Show what a model file is, what it takes and gives, and how fast it scores here; or why it cannot be used.
    #[command(after_help = INSPECT_EXAMPLES)]
    Inspect(InspectArgs),
    /// Write one record per line to a topic.
    #[command(after_help = PRODUCE_EXAMPLES)]
    Produce(ProduceArgs),
    /// Print a topic's values, one per line, to its present end.
    #[command(after_help = CONSUME_EXAMPLES)]
    Consume(ConsumeArgs),
    /// List, create, describe and delete topics.
    #[command(subcommand)]
    Topic(TopicCommand),
    /// Build, check and begin functions of your own, written as for Arroyo.
    #[command(subcommand)]
    Udf(UdfCommand),
    /// Watch SQL score a stream while a better model goes live in it; takes some ten seconds.
    #[command(after_help = DEMO_EXAMPLES)]
    Demo(DemoArgs),
    /// Measure this machine: throughput, latency, and the pause when a model is swapped.
    #[command(after_help = BENCH_EXAMPLES)]
    Bench(BenchArgs),
    /// A process of `vatic bench`.
    #[command(subcommand, hide = true)]
    BenchPart(BenchPart),
    /// Print a completion script for a shell.
    #[command(after_help = "Example:\n  vatic completions bash > ~/.local/share/bash-completion/completions/vatic")]
    Completions {
        /// The shell to complete for.
        shell: Shell,
    },
    /// Print the manual page, or write the pages of all commands into a directory.
    #[command(after_help = MAN_EXAMPLES)]
    Man {
        /// Where to write them: vatic.1, vatic-run.1, ...; what is there is replaced.
        dir: Option<PathBuf>,
    },
    /// Try the model on stdin, within limits; what a broken one does then, it does to this process only.
    #[command(name = crate::model::sandbox::COMMAND, hide = true)]
    TryModel {
        /// Address space, in bytes.
        memory: u64,
        /// CPU time, in seconds.
        cpu_s: u64,
    },
}

const RUN_EXAMPLES: &str = "Statements are executed in order; jobs run beside later ones. After the last statement vatic
stays until the jobs end. Several files run at once, each in a session of its own.

Examples:
  vatic run queries/alerts.sql
  vatic run --until-end backfill.sql      read what there is, then end
  vatic run --param limit=0.9 risky.sql   the file says: WHERE risk > $limit
  vatic run a.sql b.sql --broker localhost:9092";

const SQL_EXAMPLES: &str = "Examples:
  vatic sql \"SELECT count(*) FROM topic('payments')\"
  vatic sql --format json \"SELECT * FROM models\" | jq .
  vatic sql \"COPY (SELECT * FROM topic('payments')) TO 'payments.parquet'\"
  vatic sql \"SELECT * FROM topic('payments') EMIT CHANGES\"    follow new rows until Ctrl-C";

const PUBLISH_EXAMPLES: &str = "Prints NAME:VERSION format=... size=... sha256=... offset=...

Examples:
  vatic publish fraud fraud.onnx
  vatic publish fraud fraud.onnx --description 'trained on October' --json";

const SCORE_EXAMPLES: &str = "Input columns are the model's features by name if all are there, else by position.

Examples:
  vatic score churn.onnx customers.csv --keep customer_id > scores.csv
  vatic score churn.onnx customers.parquet --format json
  head -5 rows.jsonl | vatic score churn.onnx";

const INSPECT_EXAMPLES: &str = "Exit code 1 if the file cannot be used.

Examples:
  vatic inspect churn.onnx
  vatic inspect churn.onnx --json | jq .inputs";

const PRODUCE_EXAMPLES: &str =
    "Every line is a record, an empty line one with an empty value. A topic that does not exist is created.

Examples:
  vatic produce payments payments.jsonl
  generate | vatic produce payments --key-separator '|'      card-7|{\"amount\": 3.5}";

const CONSUME_EXAMPLES: &str = "Examples:
  vatic consume payments | head
  vatic consume payments --follow --json";

const MAN_EXAMPLES: &str = "Examples:
  vatic man | man -l -
  vatic man ~/.local/share/man/man1";

const DEMO_EXAMPLES: &str =
    "The demo has an embedded broker of its own, whatever --broker says. At its end it prints commands
that look into its topics.

Examples:
  vatic demo
  vatic demo --keep ./payments-demo";

/// `vatic demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Keep the demo's topics in this directory, which must be new or empty [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
}

const BENCH_EXAMPLES: &str =
    "Works in a temporary directory (TMPDIR says where) with an embedded broker of its own, unless --broker on the
command line names Apache Kafka: then on topics with names of their own there, which are deleted at the end.

Examples:
  vatic bench                  every case, as a table
  vatic bench mlp --rows 4000000 --json
  vatic bench latency --broker localhost:9092";

/// `vatic bench-part`: what feeds and watches a case on Kafka, in a process of its own.
#[derive(Debug, Subcommand)]
pub enum BenchPart {
    /// Writes the input.
    Fill {
        /// The topic, which exists.
        topic: String,
        /// How many records.
        rows: u64,
    },
    /// Writes a record per millisecond and says when its score is seen.
    Probe {
        /// The topic that is written.
        input: String,
        /// The topic that is read.
        output: String,
        /// How many records.
        rows: u64,
    },
}

/// `vatic run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Saved query files.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Each job reads to its inputs' present end, then the next statement begins; open windows stay in the saved state.
    #[arg(long)]
    pub until_end: bool,
    /// As --until-end, and open windows are closed.
    #[arg(long = "final")]
    pub close: bool,
    /// How rows are printed; json is one object per line.
    #[arg(long, value_enum, default_value_t = OutputFormat::Table)]
    pub format: OutputFormat,
    /// The value of $NAME in the files; may be repeated.
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parse_property)]
    pub params: Vec<(String, String)>,
}

/// `vatic sql`.
#[derive(Debug, Args)]
pub struct SqlArgs {
    /// One or more statements, separated by semicolons.
    #[arg(value_name = "STATEMENTS")]
    pub statements: String,
    /// How rows are printed; json is one object per line.
    #[arg(long, value_enum, default_value_t = OutputFormat::Table)]
    pub format: OutputFormat,
    /// The value of $NAME in the statements; may be repeated.
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parse_property)]
    pub params: Vec<(String, String)>,
}

/// How rows are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// Aligned columns, for people.
    Table,
    /// RFC 4180 with a header line; NULL is an empty field, an empty text is "".
    Csv,
    /// One object per line.
    Json,
}

/// `vatic publish`.
#[derive(Debug, Args)]
pub struct PublishArgs {
    /// The model's name: letters, digits, "_", "." and "-".
    pub name: String,
    /// The model file.
    pub file: PathBuf,
    /// The model topic.
    #[arg(long, default_value = "models")]
    pub topic: String,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
    /// Publish even if the file cannot be used here.
    #[arg(long)]
    pub force: bool,
    /// A note for people, shown in the table "models".
    #[arg(long, default_value = "")]
    pub description: String,
}

/// `vatic score`.
#[derive(Debug, Args)]
pub struct ScoreArgs {
    /// The model file.
    #[arg(value_name = "MODEL_FILE")]
    pub model: PathBuf,
    /// The rows: a file (.csv with a header line, .json, .jsonl or .ndjson, .parquet); "-" is stdin, JSON if it begins with {,
    /// else CSV.
    #[arg(default_value = "-", hide_default_value = true)]
    pub data: PathBuf,
    /// How the scores are written.
    #[arg(long, value_enum, default_value_t = FileFormat::Csv)]
    pub format: FileFormat,
    /// Columns of the input to copy, in front of the scores.
    #[arg(long, value_name = "COLUMN,...", value_delimiter = ',')]
    pub keep: Vec<String>,
}

/// How rows are written to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FileFormat {
    /// RFC 4180 with a header line; NULL is an empty field, an empty text is "".
    Csv,
    /// One object per line.
    Json,
}

/// `vatic inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// The model file.
    #[arg(value_name = "MODEL_FILE")]
    pub model: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
    /// The sizes of batches to measure.
    #[arg(long, value_name = "ROWS,...", value_delimiter = ',', default_values_t = [1, 64, 1024])]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub batch: Vec<u32>,
}

/// `vatic produce`.
#[derive(Debug, Args)]
pub struct ProduceArgs {
    /// The topic.
    pub topic: String,
    /// The file to read; "-" is stdin.
    #[arg(default_value = "-", hide_default_value = true)]
    pub file: PathBuf,
    /// What ends the key in a line; the first occurrence counts, a line without it has no key.
    #[arg(long, value_name = "C", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub key_separator: Option<String>,
}

/// `vatic consume`.
#[derive(Debug, Args)]
pub struct ConsumeArgs {
    /// The topic.
    pub topic: String,
    /// Go on with new records until Ctrl-C.
    #[arg(short, long)]
    pub follow: bool,
    /// Print objects with topic, partition, offset, timestamp (ms), key, value and headers.
    #[arg(long)]
    pub json: bool,
}

/// What `vatic bench` measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Case {
    /// JSON to JSON, twelve columns, no model.
    PassThrough,
    /// JSON to a neural network (11-32-16-1) to JSON.
    Mlp,
    /// New versions of the network go live while 100,000 rows per second are scored.
    Swap,
    /// From producing a record to seeing its score, at 1,000 records per second, exactly once.
    Latency,
    /// The same with at-least-once delivery.
    LatencyAtLeastOnce,
    /// From the start of a `vatic run` to its first scored row.
    Start,
    /// What a job over 1,000 partitions uses while nothing comes.
    Idle,
}

/// `vatic bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// What to measure; everything if nothing is said.
    #[arg(value_enum)]
    pub case: Option<Case>,
    /// How many rows [default: the case's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub rows: Option<u64>,
    /// Print one JSON object per case.
    #[arg(long)]
    pub json: bool,
}

/// `vatic topic ...`.
#[derive(Debug, Subcommand)]
pub enum TopicCommand {
    /// List all topics with their partitions and records.
    List,
    /// Create a topic.
    #[command(after_help = "Example:\n  vatic topic create payments --partitions 8 --config retention.ms=86400000")]
    Create {
        /// Its name.
        topic: String,
        /// How many partitions [default: the broker's]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
        partitions: Option<i32>,
        /// How many copies of each partition [default: the broker's]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(i16).range(1..))]
        replication: Option<i16>,
        /// A setting as Kafka names it; may be repeated.
        #[arg(long, value_name = "KEY=VALUE", value_parser = parse_property)]
        config: Vec<(String, String)>,
    },
    /// Show a topic's partitions and settings.
    Describe {
        /// Its name.
        topic: String,
    },
    /// Delete a topic and its records.
    Delete {
        /// Its name.
        topic: String,
    },
}

/// `vatic udf ...`.
#[derive(Debug, Subcommand)]
pub enum UdfCommand {
    /// Compile a function with cargo, load it, and print its signature and its library.
    #[command(after_help = "Example:\n  vatic udf build udfs/haversine")]
    Build {
        /// A .rs file, a crate's folder, or a library beside its source.
        path: PathBuf,
    },
    /// Compile a function as far as errors need it, and print its signature; nothing is loaded.
    Check {
        /// A .rs file, a crate's folder, or a library beside its source.
        path: PathBuf,
    },
    /// Write a crate to begin with into the folder NAME.
    #[command(after_help = "Example:\n  vatic udf new distance && vatic udf build distance")]
    New {
        /// The function's name.
        name: String,
        /// An async function, called with many rows at once.
        #[arg(long = "async", conflicts_with = "aggregate")]
        asynchronous: bool,
        /// An aggregate, called with the rows of a group.
        #[arg(long)]
        aggregate: bool,
    },
}

/// `embedded` gets its default directory; everything else must look like addresses.
fn parse_broker(text: &str) -> Result<String, String> {
    match text {
        "embedded" | "embedded:" => Ok("embedded:.vatic".to_owned()),
        _ if text.starts_with("embedded:") => Ok(text.to_owned()),
        _ if text.split(',').all(is_address) => Ok(text.to_owned()),
        _ => Err("write embedded, embedded:DIR or HOST:PORT, as in localhost:9092".to_owned()),
    }
}

fn is_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0))
}

pub(super) fn parse_property(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("write key=value".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_broker_has_a_default_and_is_checked() {
        assert_eq!(parse_broker("embedded").as_deref(), Ok("embedded:.vatic"));
        assert_eq!(parse_broker("embedded:/tmp/x").as_deref(), Ok("embedded:/tmp/x"));
        assert_eq!(parse_broker("a:9092,[::1]:9093").as_deref(), Ok("a:9092,[::1]:9093"));
        assert!(parse_broker("embeded").is_err());
        assert!(parse_broker("localhost:kafka").is_err());
    }

    #[test]
    fn global_options_stand_before_or_behind_the_subcommand() {
        let cli = Cli::try_parse_from(["vatic", "sql", "SELECT 1", "--broker", "embedded:d", "-X", "a.b=c=d"]).unwrap();
        assert_eq!(cli.global.broker, "embedded:d");
        assert_eq!(cli.global.properties, [("a.b".to_owned(), "c=d".to_owned())]);
        let cli = Cli::try_parse_from(["vatic", "--quiet", "run", "a.sql", "--final"]).unwrap();
        assert!(cli.global.quiet);
        assert!(matches!(cli.command, Some(Command::Run(RunArgs { close: true, until_end: false, .. }))));
        assert!(Cli::try_parse_from(["vatic"]).unwrap().command.is_none());
    }

    #[test]
    fn wrong_usage_is_exit_code_2() {
        for wrong in
            [&["vatic", "run"][..], &["vatic", "sql"], &["vatic", "--broker", "x", "topic", "list"], &["vatic", "fly"]]
        {
            assert_eq!(Cli::try_parse_from(wrong).unwrap_err().exit_code(), 2, "{wrong:?}");
        }
    }
}
