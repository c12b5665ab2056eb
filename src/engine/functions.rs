//! CREATE FUNCTION, DROP FUNCTION, and functions in queries.   path ─► [`Function`] of the session ─► [`Bound`] in a plan
//!
//! Functions belong to a session, like tables; those of `--udfs` are in every session of the engine.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::prelude::SessionContext;
use sqlparser::ast::{self, VisitMut, VisitorMut};

use crate::error::{Error, Result};
use crate::sql::functions::names::taken;
use crate::sql::settings::OnError as OnErrorSetting;
use crate::sql::types::sql_type;
use crate::stream::epoch_context::EpochCell;
use crate::udf::{Bound, Callable, Function, Limits, OnError, Version, announcement, sources_in};

use super::plan::calls;
use super::session::{Outcome, Session, done};
use super::tables::resolve_path;
use super::{Engine, Notices};

/// The functions of a session or an engine, by name.
pub type Functions = BTreeMap<String, Arc<Function>>;

/// Builds and loads what is at `path`; `shown` is what people typed.
async fn open(path: &Path, shown: &Path, notices: &Notices) -> Result<Version> {
    let (path, shown) = (path.to_owned(), shown.to_owned());
    let announcement = announcement(&format!("function \"{}\"", shown.display()));
    let mut work = tokio::task::spawn_blocking(move || Version::open(&path, &shown));
    let version = match tokio::time::timeout(std::time::Duration::from_secs(3), &mut work).await {
        Ok(version) => version,
        Err(_) => {
            notices.info(announcement);
            work.await
        }
    };
    Ok(version.map_err(|e| Error::internal(format!("building a function broke off: {e}")))??)
}

impl Engine {
    /// Loads the functions in `dir`, or the one that it is, for every session of this engine: each is called as in its source.
    ///
    /// # Errors
    /// If one of them cannot be built or loaded; if two have the same name.
    pub async fn load_functions(&self, dir: &Path) -> Result<()> {
        let mut functions = Functions::new();
        let sources = sources_in(dir)?;
        if sources.is_empty() {
            let hint = "Put crates or .rs files into it, or name one of them; vatic udf new NAME writes a crate.";
            self.notices().warn(format!("folder \"{}\" has no functions in it", dir.display()), Some(hint.to_owned()));
        }
        for path in sources {
            let version = open(&path, &path, self.notices()).await?;
            let name = version.signature.name.to_lowercase();
            refuse_taken(&name)?;
            if let Some(other) = functions.get(&name) {
                let (other, path) = (other.present().path.display().to_string(), path.display());
                let error = Error::user(format!("two functions are called \"{name}\": \"{other}\" and \"{path}\""));
                return Err(
                    error.hint("Move one of them away, or load it under another name: CREATE FUNCTION name FROM 'path';")
                );
            }
            functions.insert(name.clone(), Function::new(&name, version));
        }
        *self.functions_mut() = functions;
        Ok(())
    }
}

/// Names that SQL has a meaning for already.
fn refuse_taken(name: &str) -> Result<()> {
    match taken(name) {
        None => Ok(()),
        Some(why) => Err(Error::user(why.text(name)).hint("Choose another name: CREATE FUNCTION other_name FROM 'path';")),
    }
}

/// Calls in double quotes: a function's name means the same in any spelling, as in CREATE and DROP FUNCTION.
struct Unquote<'a>(&'a Functions);

impl VisitorMut for Unquote<'_> {
    type Break = ();
    fn pre_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<()> {
        if let ast::Expr::Function(call) = expr
            && let [ast::ObjectNamePart::Identifier(ident)] = call.name.0.as_mut_slice()
            && ident.quote_style.is_some()
            && self.0.contains_key(&ident.value.to_lowercase())
        {
            ident.value = ident.value.to_lowercase();
        }
        ControlFlow::Continue(())
    }
}

impl Session {
    pub(super) async fn create_function(
        &mut self,
        name: &str,
        path: &str,
        if_not_exists: bool,
        or_replace: bool,
    ) -> Result<Outcome> {
        let key = name.to_lowercase();
        refuse_taken(&key)?;
        let old = self.functions.get(&key).cloned();
        if let Some(old) = &old {
            if if_not_exists {
                return Ok(done("CREATE FUNCTION"));
            }
            if !or_replace {
                let from = old.present().path.display().to_string();
                let error = Error::user(format!("function \"{key}\" exists already, from \"{from}\""));
                return Err(error.hint(format!("Choose another name, or write CREATE OR REPLACE FUNCTION {name} ...;")));
            }
        }
        let (shown, path) = (Path::new(path), PathBuf::from(resolve_path(self.base(), path)));
        let version = open(&path, shown, self.engine().notices()).await?;
        let Some(old) = old else {
            self.functions.insert(key.clone(), Function::new(&key, version));
            return Ok(done("CREATE FUNCTION"));
        };
        if let Some(job) = self.jobs.iter().find(|job| !job.status().ended() && job.calls(&old)) {
            let (was, becomes) = (old.present().signature.text(&key, sql_type), version.signature.text(&key, sql_type));
            if !old.replace(version) {
                let error = Error::user(format!("job \"{}\" calls {was}, which would become {becomes}", job.name()));
                return Err(error.hint(format!("Stop it first: STOP JOB '{}';", job.name())));
            }
        } else {
            self.functions.insert(key.clone(), Function::new(&key, version));
        }
        Ok(done("CREATE FUNCTION"))
    }

    /// Spells the calls of the session's functions in `query` as the planner looks for them.
    pub(super) fn spell_functions(&self, query: &mut ast::Query) {
        if !self.functions.is_empty() {
            let _ = query.visit(&mut Unquote(&self.functions));
        }
    }

    /// Registers the session's functions, all of them so that a name that none has finds the nearest; gives back those that the text of
    /// a query calls.
    pub(super) fn bind_functions(&self, context: &SessionContext, cell: &Arc<EpochCell>, text: &str) -> Vec<Arc<Function>> {
        let settings = self.settings();
        // Whether an error ends the query or makes a dead letter is the lane's policy; a plain SELECT ends.
        let on_error = if settings.udf_on_error == OnErrorSetting::Null { OnError::Null } else { OnError::Error };
        let limits = Limits { on_error, group_rows: settings.udf_group_rows, type_name: sql_type };
        for function in self.functions.values() {
            match Callable::of(Bound::new(function, cell, limits)) {
                Callable::Scalar(udf) => context.register_udf(udf),
                Callable::Aggregate(udf) => context.register_udaf(udf),
            }
        }
        self.functions.values().filter(|f| calls(text, &f.name)).cloned().collect()
    }

    /// Rows of SHOW FUNCTIONS: name, signature, description, kind, path, hash, calls, rows, errors, time.
    pub(super) fn own_functions(&self) -> Vec<Vec<Option<String>>> {
        let rows = self.functions.values().map(|function| {
            let (version, counts) = (function.present(), function.counts());
            let signature = version.signature.text(&function.name, sql_type);
            let kind = version.signature.kind.name();
            let cells = [
                function.name.clone(),
                signature,
                "A function of your own.".to_owned(),
                kind.to_owned(),
                version.path.display().to_string(),
                version.hash.clone(),
                counts.calls.to_string(),
                counts.rows.to_string(),
                counts.errors.to_string(),
                counts.time.as_micros().to_string(),
            ];
            cells.into_iter().map(Some).collect()
        });
        rows.collect()
    }
}
