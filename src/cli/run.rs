//! `vatic run FILE...`, `vatic sql "..."` and a script from a pipe: statements in order, jobs beside them, until all end.

use std::path::Path;

use futures::future::try_join_all;

use super::Context;
use super::args::{OutputFormat, RunArgs, SqlArgs};
use super::script::{Script, read_text, supervise};
use super::status::Jobs;
use crate::engine::UntilEnd;
use crate::error::{Error, Result};
use crate::sql::{Params, parameters_in};

/// Runs saved query files, each in a session of its own, all at once. Nothing runs before all of them are parsed.
///
/// # Errors
/// The first error of a file or of a job, after the other jobs have stopped; `Interrupted` after a signal.
pub(crate) async fn run(cx: &Context, args: &RunArgs) -> Result<()> {
    let until_end = match (args.close, args.until_end) {
        (true, _) => UntilEnd::Final,
        (false, true) => UntilEnd::Leave,
        (false, false) => UntilEnd::No,
    };
    let params = params_of(&args.params)?;
    let mut files = Vec::with_capacity(args.files.len());
    for path in &args.files {
        files.push((path, read_text(path).await?, path.display().to_string()));
    }
    check_used(cx, &params, files.iter().map(|(_, text, name)| (text.as_str(), Some(name.as_str())))).await?;
    let engine = cx.until_signal(cx.sql_engine()).await?;
    let jobs = Jobs::default();
    let mut scripts = Vec::with_capacity(args.files.len());
    for (path, text, name) in &files {
        let mut script = Script::new(cx, &engine, jobs.clone(), args.format, until_end);
        script.session.set_params(params.clone());
        let statements = script.session.parse(text, Some(name))?;
        scripts.push((path, script, statements));
    }
    let work = scripts.iter_mut().map(|(path, script, statements)| async move {
        script.init().await?;
        script.set_file(path);
        script.all(statements).await
    });
    let work = async { try_join_all(work).await.map(|_| ()) };
    supervise(cx, &jobs, work).await
}

/// Executes statements that were given as a text; `file` is what errors call it.
///
/// # Errors
/// As [`run`].
pub(crate) async fn text(cx: &Context, text: &str, file: Option<&str>, format: OutputFormat) -> Result<()> {
    execute(cx, text, file, format, Params::default()).await
}

/// `vatic sql`
///
/// # Errors
/// As [`run`].
pub(crate) async fn sql(cx: &Context, args: &SqlArgs) -> Result<()> {
    // A name of a file in the place of its text.
    let name = args.statements.trim();
    if !name.contains(char::is_whitespace) && Path::new(name).extension().is_some_and(|e| e == "sql") {
        let error = Error::usage(format!("\"{name}\" is the name of a file, not a statement"));
        return Err(error.hint(format!("To run its statements: vatic run {name}")));
    }
    if name == "-" {
        let error = Error::usage("\"-\" is not a statement");
        return Err(error.hint("To execute what comes from a pipe or a file: vatic < FILE, without sql."));
    }
    let params = params_of(&args.params)?;
    check_used(cx, &params, std::iter::once((args.statements.as_str(), None))).await?;
    execute(cx, &args.statements, None, args.format, params).await
}

async fn execute(cx: &Context, text: &str, file: Option<&str>, format: OutputFormat, params: Params) -> Result<()> {
    let engine = cx.until_signal(cx.sql_engine()).await?;
    let jobs = Jobs::default();
    let mut script = Script::new(cx, &engine, jobs.clone(), format, UntilEnd::No);
    script.session.set_params(params);
    let statements = script.session.parse(text, file)?;
    let work = async {
        script.init().await?;
        script.all(&statements).await
    };
    supervise(cx, &jobs, work).await
}

fn params_of(given: &[(String, String)]) -> Result<Params> {
    let mut params = Params::default();
    given.iter().try_for_each(|(name, value)| params.set(name, value))?;
    Ok(params)
}

/// Refuses a value for a parameter that stands in none of the texts, nor in the file of `--init`.
async fn check_used<'t>(
    cx: &Context,
    params: &Params,
    texts: impl Iterator<Item = (&'t str, Option<&'t str>)>,
) -> Result<()> {
    if *params == Params::default() {
        return Ok(());
    }
    let mut used = std::collections::BTreeSet::new();
    for (text, file) in texts {
        used.extend(parameters_in(text, file)?);
    }
    if let Some(path) = &cx.init {
        used.extend(parameters_in(&read_text(path).await?, Some(&path.display().to_string()))?);
    }
    params.check_used(&used)
}
