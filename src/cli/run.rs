//! `vatic run FILE...`, `vatic sql "..."` and a script from a pipe: statements in order, jobs beside them, until all end.

use futures::future::try_join_all;

use super::Context;
use super::args::{OutputFormat, RunArgs};
use super::script::{Script, read_text, supervise};
use super::status::Jobs;
use crate::engine::UntilEnd;
use crate::error::Result;

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
    let engine = cx.until_signal(cx.sql_engine()).await?;
    let jobs = Jobs::default();
    let mut scripts = Vec::with_capacity(args.files.len());
    for path in &args.files {
        let script = Script::new(cx, &engine, jobs.clone(), OutputFormat::Table, until_end);
        let (text, name) = (read_text(path).await?, path.display().to_string());
        let statements = script.session.parse(&text, Some(&name))?;
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
    let engine = cx.until_signal(cx.sql_engine()).await?;
    let jobs = Jobs::default();
    let mut script = Script::new(cx, &engine, jobs.clone(), format, UntilEnd::No);
    let statements = script.session.parse(text, file)?;
    let work = async {
        script.init().await?;
        script.all(&statements).await
    };
    supervise(cx, &jobs, work).await
}
