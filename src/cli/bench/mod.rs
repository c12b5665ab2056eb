//! `vatic bench [CASE]`: how fast this machine is with the embedded broker.   case ─► own process ─► [`Report`] ─► table or JSON
//!
//! Without a case, all of them run, each in a process of its own, so that none is charged for another's memory. Every case
//! works in a temporary directory (`TMPDIR` says where) that is gone afterwards. Units are in the fields' names:
//! `wall_s`, `cpu_s` seconds; `_us` microseconds; `_ms` milliseconds; `peak_rss_mb` MiB.
//! To add a case: a variant of [`Case`], a function in `cases`, one line in [`Case::run`].

mod cases;
mod input;
mod lab;
mod measure;

use std::process::Stdio;

use clap::ValueEnum;

use self::lab::Child;
use self::measure::Report;
use super::Context;
use super::args::{BenchArgs, Case};
use super::output::Output;
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
            Self::Latency => 20_000,
            Self::Start => 1_000,
        }
    }
    async fn run(self, cx: &Context, rows: u64) -> Result<Report> {
        match self {
            Self::PassThrough => cases::pass_through(cx, rows).await,
            Self::Mlp => cases::mlp(cx, rows).await,
            Self::Swap => cases::swap(cx, rows).await,
            Self::Latency => cases::latency(cx, rows).await,
            Self::Start => cases::start(cx, rows).await,
        }
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
            Some(_) => case.run(cx, rows).await?.named(&case.name()),
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

/// Runs one case in a process of its own.
async fn elsewhere(cx: &Context, case: Case, rows: u64) -> Result<Report> {
    let name = case.name();
    let mut command = std::process::Command::new(lab::this_program()?);
    command.args(["bench", &name, "--rows", &rows.to_string(), "--json"]).args(cx.ui.is_quiet().then_some("--quiet"));
    let mut child = Child::spawn(command.stdout(Stdio::piped()))?;
    let status = child.wait().await?;
    // One line, which the pipe has held for us.
    let said = child.said()?;
    match Report::parse(&said).filter(|_| status.success()) {
        Some(report) => Ok(report),
        None => Err(Error::external(format!("case \"{name}\" ended with {}", status)).hint("Its own words stand above.")),
    }
}
