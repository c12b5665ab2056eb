//! `vatic udf build|check|new`: functions written for Arroyo, at the keyboard.

use std::path::{Path, PathBuf};

use super::args::UdfCommand;
use super::output::Output;
use super::ui;
use crate::error::{Error, Result};
use crate::sql::functions::names::taken;
use crate::sql::types::sql_type;
use crate::udf::{self, Template};

/// Builds, checks or begins a function.
///
/// # Errors
/// `User` with the compiler's words if it does not compile; `External` if there is no compiler.
pub(crate) async fn udf(command: UdfCommand) -> Result<()> {
    let work = tokio::task::spawn_blocking(move || match command {
        UdfCommand::Build { path } => build(&path),
        UdfCommand::Check { path } => check(&path),
        UdfCommand::New { name, asynchronous, aggregate } => {
            let template = match (asynchronous, aggregate) {
                (true, _) => Template::Async,
                (_, true) => Template::Aggregate,
                _ => Template::Scalar,
            };
            new(&name, template)
        }
    });
    let text = work.await.map_err(|e| Error::internal(format!("the compiler's thread broke off: {e}")))??;
    let mut out = Output::stdout();
    out.line(&text)?;
    out.flush()
}

fn build(path: &Path) -> Result<String> {
    ui::write(&format!("{}\n", udf::announcement(&format!("\"{}\"", path.display()))));
    let built = udf::build(path, true)?;
    udf::try_load(&built)?;
    let signature = &built.source.signature;
    let (kind, hash) = (signature.kind.name(), &built.hash);
    Ok(format!("{}  kind={kind} hash={hash} library={}", signature.text(&signature.name, sql_type), built.library.display()))
}

fn check(path: &Path) -> Result<String> {
    let source = udf::check(path)?;
    let signature = &source.signature;
    Ok(format!("{}  kind={}", signature.text(&signature.name, sql_type), signature.kind.name()))
}

fn new(name: &str, template: Template) -> Result<String> {
    if let Some(why) = taken(name) {
        return Err(Error::user(why.text(name)).hint(format!("Choose another name: vatic udf new my_{name}")));
    }
    let dir = PathBuf::from(name);
    udf::create(&dir, name, template)?;
    Ok(format!("{}\nCREATE FUNCTION {name} FROM '{name}';", dir.join("src/lib.rs").display()))
}
