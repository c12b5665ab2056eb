//! `COPY ... TO`: an answer, written to a file.   rows ─► [`FileWriter`], on a thread that may wait for the disk

use std::path::Path;

use futures::StreamExt;
use sqlparser::ast;

use crate::connector::file::{FileWriter, WriteOptions};
use crate::error::{Error, Result};

use super::session::{Outcome, Session, done};
use super::tables::resolve_path;

impl Session {
    /// Writes the answer of `query` to the file at `path`, which is there as a whole or not at all.
    pub(super) async fn copy(&mut self, query: &ast::Query, path: &str, options: &WriteOptions) -> Result<Outcome> {
        let mut rows = self.answer(query).await?;
        if let Some(name) = super::plan::doubled(&rows.schema.fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>())
        {
            let error = Error::user(format!("two columns of the file are called \"{name}\""));
            return Err(error.hint("Give one of them another name with AS."));
        }
        let place = resolve_path(self.base(), path);
        let (begun, schema, options) = (place.clone(), rows.schema.clone(), options.clone());
        let mut writer = blocking(move || FileWriter::new(Path::new(&begun), &schema, &options)).await?;
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            // The writer goes there and back: if this is called off, it is dropped, and its file removed.
            writer = blocking(move || writer.write(&batch).map(|()| writer)).await?;
        }
        let count = blocking(move || writer.finish()).await?;
        let s = if count == 1 { "" } else { "s" };
        self.engine().notices().info(format!("wrote {count} row{s} to \"{path}\""));
        Ok(done(&format!("COPY {count}")))
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| Error::internal(format!("writing a file broke off: {e}")))?
}
