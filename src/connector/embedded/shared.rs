//! What all users of one file in this process share: connections, the bell, what readers still need, the log's length.
//!
//! ```text
//! Broker ─► blocking pool, idle connections ─► file     short reads
//! writer ─► every 4 MiB ─► checkpoint thread ─► file    moves the log into the file without holding up commits
//! ```

use std::collections::HashMap;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, Once};

use super::error::EmbeddedError;
use super::store::{Db, Result, Settings};
use super::watch::{Bell, lock, watch};
use crate::connector::Partition;

/// The file's name in its directory.
pub(super) const FILE: &str = "broker.db";
/// So many bytes of log are a reason to move them into the file.
const CHECKPOINT_BYTES: u64 = 4 << 20;
/// So many pages of log are a reason to make readers wait, so that it begins anew: 64 MiB.
const LOG_PAGES: i64 = 8192;
/// Connections kept open for the next read.
const IDLE: usize = 4;

/// One broker file, open in this process.
#[derive(Debug)]
pub(super) struct Shared {
    pub dir: PathBuf,
    pub file: Arc<Path>,
    pub settings: Settings,
    pub bell: Arc<Bell>,
    pub holds: Holds,
    pub log: Log,
    idle: Mutex<Vec<Db>>,
    watching: Once,
}

/// How much of the log is not in the file yet.
#[derive(Debug, Default)]
pub(super) struct Log {
    unsaved: AtomicU64,
    /// The log has grown so long that a writer should make it begin anew.
    pub too_long: AtomicBool,
    checkpointer: Mutex<Option<SyncSender<()>>>,
}

impl Shared {
    /// Opens the broker in `dir`, which is made if it is missing.
    pub(super) fn open(dir: PathBuf, settings: Settings) -> Result<Self> {
        let file: Arc<Path> = dir.join(FILE).into();
        let db = Db::open(&file, &settings)?;
        Ok(Self {
            dir,
            file,
            settings,
            bell: Arc::default(),
            holds: Holds::default(),
            log: Log::default(),
            idle: Mutex::new(vec![db]),
            watching: Once::new(),
        })
    }

    /// A connection for a short use; blocks, so not on an executor's thread.
    pub(super) fn db(&self) -> Result<Pooled<'_>> {
        let idle = lock(&self.idle).pop();
        let db = idle.map_or_else(|| Db::open(&self.file, &self.settings), Ok)?;
        Ok(Pooled { db: Some(db), shared: self })
    }

    /// Runs a short piece of blocking work with a connection.
    ///
    /// # Errors
    /// The work's own; `Internal` if the runtime is being shut down.
    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Db) -> crate::Result<T> + Send + 'static,
    ) -> crate::Result<T> {
        let shared = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || work(&*shared.db()?)).await;
        done.unwrap_or_else(|e| Err(crate::Error::internal("the broker's work was broken off").source(e)))
    }

    /// A thread could not be started.
    pub(super) fn no_thread(&self, source: std::io::Error) -> EmbeddedError {
        EmbeddedError::Open { file: self.file.display().to_string(), source: Box::new(source) }
    }

    /// Begins to look for other processes' commits; later calls do nothing.
    pub(super) fn watch(&self) -> Result<()> {
        let mut result = Ok(());
        self.watching.call_once(|| {
            result = Db::open(&self.file, &self.settings)
                .and_then(|db| watch(&self.bell, move || db.pragma("data_version").ok()).map_err(|e| self.no_thread(e)));
        });
        result
    }

    /// Counts what a commit wrote, and has the log moved into the file when it is long enough.
    pub(super) fn wrote(self: &Arc<Self>, bytes: u64) {
        // Each transaction writes a few whole pages beside the data.
        let unsaved = self.log.unsaved.fetch_add(bytes + 4 * 8192, Ordering::Relaxed);
        if unsaved < CHECKPOINT_BYTES {
            return;
        }
        self.log.unsaved.store(0, Ordering::Relaxed);
        let mut checkpointer = lock(&self.log.checkpointer);
        if let Some(sender) = checkpointer.as_ref() {
            let _ = sender.try_send(());
            return;
        }
        let (sender, wanted) = sync_channel(1);
        let _ = sender.try_send(());
        let (weak, file, settings) = (Arc::downgrade(self), Arc::clone(&self.file), self.settings.clone());
        let started = std::thread::Builder::new().name("vatic-checkpoint".to_owned()).spawn(move || {
            let Ok(db) = Db::open(&file, &settings) else { return };
            while wanted.recv().is_ok() {
                // A failed checkpoint loses nothing: the log stays, and a full disk is told by the next commit.
                let pages = db.checkpoint(false).unwrap_or(0);
                let Some(shared) = weak.upgrade() else { return };
                if pages > LOG_PAGES {
                    shared.log.too_long.store(true, Ordering::Relaxed);
                }
            }
        });
        // Without that thread SQLite's log only grows longer.
        if started.is_ok() {
            *checkpointer = Some(sender);
        }
    }
}

/// A connection on loan; goes back when dropped.
#[derive(Debug)]
pub(super) struct Pooled<'s> {
    db: Option<Db>,
    shared: &'s Shared,
}

impl Deref for Pooled<'_> {
    type Target = Db;
    #[allow(clippy::expect_used)] // Only drop takes it out, and nothing can look at it after that.
    fn deref(&self) -> &Db {
        self.db.as_ref().expect("taken only by drop")
    }
}

impl Drop for Pooled<'_> {
    fn drop(&mut self) {
        let mut idle = lock(&self.shared.idle);
        if idle.len() < IDLE {
            idle.extend(self.db.take());
        }
    }
}

/// What the readers of this process still need: retention does not go beyond.
#[derive(Debug, Default)]
pub(super) struct Holds(Mutex<HeldBy>);

#[derive(Debug, Default)]
struct HeldBy {
    next: u64,
    readers: HashMap<u64, Hold>,
}

/// One reader's needs. A job may go back to what its group committed, anybody else only goes forward.
#[derive(Debug, Default)]
pub(super) struct Hold {
    pub group: Option<String>,
    /// By topic and partition: the slot, and the lowest offset needed.
    pub needs: HashMap<(Arc<str>, Partition), (i64, i64)>,
}

impl Holds {
    /// A reader's needs; returns its number.
    pub(super) fn add(&self, hold: Hold) -> u64 {
        let mut held = lock(&self.0);
        held.next += 1;
        let number = held.next;
        held.readers.insert(number, hold);
        number
    }
    /// A reader has ended.
    pub(super) fn remove(&self, reader: u64) {
        lock(&self.0).readers.remove(&reader);
    }
    /// A reader's need of one partition has become known.
    pub(super) fn set(&self, reader: u64, topic: &Arc<str>, partition: Partition, offset: i64) {
        let mut held = lock(&self.0);
        let needs = held.readers.get_mut(&reader).map(|hold| &mut hold.needs);
        if let Some(need) = needs.and_then(|needs| needs.get_mut(&(Arc::clone(topic), partition))) {
            need.1 = offset;
        }
    }
    /// A group has committed.
    pub(super) fn committed(&self, group: &str, positions: &[crate::connector::Position]) {
        let mut held = lock(&self.0);
        for hold in held.readers.values_mut().filter(|hold| hold.group.as_deref() == Some(group)) {
            for position in positions {
                if let Some(need) = hold.needs.get_mut(&(Arc::clone(&position.topic), position.partition)) {
                    need.1 = position.offset;
                }
            }
        }
    }
    /// The lowest offset of a slot that somebody needs.
    pub(super) fn floor(&self, slot: i64) -> i64 {
        let held = lock(&self.0);
        let needs = held.readers.values().flat_map(|hold| hold.needs.values());
        needs.filter(|need| need.0 == slot).map(|need| need.1).min().unwrap_or(i64::MAX)
    }
}
