//! `vatic bench [CASE]`: how fast this machine is.   case ─► own process ─► [`Report`] ─► table or JSON
//!
//! Without a case, all of them run, each in a process of its own, so that none is charged for another's memory. Every case
//! works on an embedded broker in a temporary directory (`TMPDIR` says where), or on topics of its own on Kafka ([`lab`]); both
//! are gone afterwards. Units are in the fields' names: `wall_s`, `cpu_s` seconds; `_us` microseconds; `_ms` milliseconds;
//! `peak_rss_mb` MiB; `core_percent` of one core.
//! To add a case: a variant of [`Case`], a function in `cases` or a file, one line in [`Case::run`].

mod cases;
mod idle;
mod input;
mod lab;
mod latency;
mod measure;
mod outputs;
mod probe;

use std::process::Stdio;

use clap::ValueEnum;

use self::lab::{Child, Lab};
use self::measure::Report;
use super::Context;
use super::args::{BenchArgs, BenchPart, Case};
use super::output::Output;
use crate::connector::Delivery;
use crate::error::{Error, Result};

impl Case {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
    /// How many rows it takes if nobody says.
    fn rows(self) -> u64 {
        match self {
            Self::PassThrough | Self::Mlp => 1_000_000,
            Self::Swap => 2_500_000,
            Self::Latency | Self::LatencyAtLeastOnce => 20_000,
            Self::Start | Self::Idle => 1_000,
        }
    }
    async fn run(self, cx: &Context, lab: &Lab, rows: u64) -> Result<Report> {
        match self {
            Self::PassThrough => cases::pass_through(cx, lab, rows).await,
            Self::Mlp => cases::mlp(cx, lab, rows).await,
            Self::Swap => cases::swap(cx, lab, rows).await,
            Self::Latency => latency::latency(cx, lab, rows, Delivery::ExactlyOnce).await,
            Self::LatencyAtLeastOnce => latency::latency(cx, lab, rows, Delivery::AtLeastOnce).await,
            Self::Start => cases::start(lab, rows).await,
            Self::Idle => idle::idle(cx, lab, rows).await,
        }
    }
    /// Runs it in a lab, which is cleaned up however it ends.
    async fn measure(self, cx: &Context, rows: u64) -> Result<Report> {
        let lab = cx.until_signal(Lab::new(cx)).await?;
        let outcome = lab.until_signal(cx, self.run(cx, &lab, rows)).await;
        lab.close().await;
        outcome
    }
}

/// Runs one case, or all of them, and prints what they measured.
///
/// # Errors
/// `Usage` for too few rows; whatever stops a case.
pub(crate) async fn bench(cx: &Context, args: &BenchArgs) -> Result<()> {
    let mut out = Output::stdout();
    let mut reports = Vec::new();
    for case in Case::value_variants().iter().copied().filter(|case| args.case.is_none_or(|wanted| wanted == *case)) {
        let rows = args.rows.unwrap_or(case.rows());
        let report = match args.case {
            Some(_) => case.measure(cx, rows).await?.named(&case.name()),
            None => elsewhere(cx, case, rows).await?,
        };
        if args.json {
            out.line(&report.json())?;
            out.flush()?;
        }
        reports.push(report);
    }
    if !args.json {
        out.line(&measure::table(&reports))?;
    }
    out.flush()
}

/// What `vatic bench` starts beside a job on Kafka.
///
/// # Errors
/// Whatever the broker says.
pub(crate) async fn part(cx: &Context, part: &BenchPart) -> Result<()> {
    match part {
        BenchPart::Fill { topic, rows } => probe::fill(cx, topic, *rows).await,
        BenchPart::Probe { input, output, rows } => {
            let said = tokio::task::block_in_place(|| probe::probe(cx, input, output, *rows))?;
            let mut out = Output::stdout();
            out.line(&said.json())?;
            out.flush()
        }
    }
}

/// Runs one case in a process of its own.
async fn elsewhere(cx: &Context, case: Case, rows: u64) -> Result<Report> {
    let (name, rows) = (case.name(), rows.to_string());
    let args = ["bench", &name, "--rows", &rows, "--json"];
    let mut command = match lab::on_kafka(cx) {
        true => lab::command(&cx.config, &args)?,
        false => {
            let mut command = std::process::Command::new(lab::this_program()?);
            command.args(args);
            command
        }
    };
    command.args(cx.ui.is_quiet().then_some("--quiet"));
    let mut child = Child::spawn(command.stdout(Stdio::piped()))?;
    let waited = cx.until_signal(child.wait()).await;
    if waited.is_err() {
        child.stop().await;
    }
    let status = waited?;
    // One line, which the pipe has held for us.
    let said = child.said()?;
    match Report::parse(&said).filter(|_| status.success()) {
        Some(report) => Ok(report),
        None => Err(Error::external(format!("case \"{name}\" ended with {}", status)).hint("Its own words stand above.")),
    }
}
