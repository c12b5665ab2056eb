//! What one process of a job reads alone.   the lease comes ─► what the group committed ─► the table's own source ─► its events
//!
//! Processes of a job share the partitions of topics; a file or a generator cannot be shared. Where a job may have several
//! processes, one of them holds the lease ([`Broker::lease`](crate::connector::Broker::lease)) and reads them. Only with the lease in
//! hand the positions are looked up: before that, somebody else moves them.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::connector::{Event, Limit, Source};
use crate::error::Result;

use super::notices::Notices;

/// Who has waited for so long is told why.
const TOLD: Duration = Duration::from_secs(3);

/// A source, and what was committed with its position.
type Opened = (Box<dyn Source>, Option<String>);

/// A source that is opened when the lease comes.
pub struct Leased {
    gate: watch::Receiver<bool>,
    open: Box<dyn Fn() -> BoxFuture<'static, Result<Opened>> + Send + Sync>,
    /// Kept, for a call of `next` may be dropped while it waits.
    opening: Option<BoxFuture<'static, Result<Opened>>>,
    source: Option<Opened>,
    /// The table, and who is told that it is not read here, once.
    table: String,
    notices: Option<Notices>,
    since: Instant,
}

impl Leased {
    /// `open` makes the source of `table` once `gate` is true.
    pub fn new(
        gate: watch::Receiver<bool>,
        table: String,
        notices: Notices,
        open: impl Fn() -> BoxFuture<'static, Result<Opened>> + Send + Sync + 'static,
    ) -> Self {
        let since = Instant::now();
        Self { gate, open: Box::new(open), opening: None, source: None, table, notices: Some(notices), since }
    }
}

impl fmt::Debug for Leased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leased").field("table", &self.table).field("source", &self.source).finish_non_exhaustive()
    }
}

#[async_trait]
impl Source for Leased {
    async fn next(&mut self, limit: Limit) -> Result<Event> {
        loop {
            if let Some((source, committed)) = &mut self.source {
                let mut event = source.next(limit).await?;
                if let Event::Assigned(assignments) = &mut event {
                    assignments.iter_mut().for_each(|assignment| assignment.committed.clone_from(committed));
                }
                return Ok(event);
            }
            if self.opening.is_none() {
                let told = self.notices.is_none();
                let held = async { self.gate.wait_for(|held| *held).await.is_ok() };
                tokio::select! {
                    biased;
                    held = held => {
                        if !held {
                            return std::future::pending().await; // the driver is gone, and nobody asks any more
                        }
                    }
                    () = tokio::time::sleep_until(self.since + TOLD), if !told => {
                        if let Some(notices) = self.notices.take() {
                            let table = &self.table;
                            notices.info(format!(
                                "table \"{table}\" is read by another process of this job; this one takes over when that ends"
                            ));
                        }
                        continue;
                    }
                }
            }
            let opened = self.opening.get_or_insert_with(|| (self.open)()).await;
            self.opening = None;
            self.source = Some(opened?);
        }
    }
}
