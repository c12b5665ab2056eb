//! The registry: the model topic as a table, and the versions that are ready to score.
//!
//! ```text
//! feed ─► apply (log order) ─► versions ─► load, off the hot path, two at once ─► versions ─► snapshot, watched
//! query ─► use_model, ready ─┘ (names to load)                 epoch ─► snapshot() ─► View ─► version
//! ```
//!
//! A name is loaded once a query wants it: its newest version; where that cannot be used, the next older; and from then on
//! every new version as it arrives. A version goes live only after it is verified, loaded, warmed and accepted by the
//! queries that run on its name, so a bad one never takes a good one's place. Model bytes are not kept: a version that is
//! loaded later is read from the topic again ([`Fetch`]). Offsets are Kafka's, sizes bytes, times milliseconds.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, broadcast, watch};
use tokio::task::JoinHandle;

use super::descriptor::{Content, Hash, Parsed, decode, hex, sha256};
use super::ledger::{Failure, Ledger, Load, Name, Start, Version};
use super::load::{load_any, sniff};
use super::reference::ModelRef;
use super::snapshot::{LiveModel, Resolution, Snapshot};
use super::stats::StatsReading;
use super::versions::{Applied, Change, Check, Numbering, Status};
use super::view::View;
use super::{Loaded, ModelError, Signature};
use crate::error::Result;
use crate::time::Millis;

/// How many models are loaded at once, so that running queries keep their cores.
const LOADS_AT_ONCE: usize = 2;
/// How many bytes of arrived models may wait for their loading; what exceeds it is read from the topic again.
const WAITING_BYTES: usize = 64 << 20;
/// How often, and how long apart, reading a record is tried.
const FETCH_PAUSES: [Duration; 4] =
    [Duration::from_millis(50), Duration::from_millis(200), Duration::from_millis(800), Duration::from_millis(3_200)];

/// Reads a record of the model topic again.
#[async_trait]
pub trait Fetch: Send + Sync + 'static {
    /// The value of the record at `offset` of the topic's one partition; `None` if it is no longer there.
    ///
    /// # Errors
    /// `External` from the broker; the registry tries again a few times.
    async fn fetch(&self, offset: i64) -> Result<Option<Bytes>>;
}

/// Makes a model from bytes; returns the format's name too. Runs on a thread of its own.
pub type Loader = Arc<dyn Fn(&[u8]) -> Result<(&'static str, Loaded), ModelError> + Send + Sync>;

/// How a registry works, where it is not as usual.
#[derive(Clone)]
pub struct Settings {
    /// Makes models from bytes: [`load_any`].
    pub loader: Loader,
    /// How many bytes of models (file sizes) stay loaded beside those that queries run on: 256 MB.
    pub memory: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { loader: Arc::new(load_any), memory: 256 << 20 }
    }
}

/// See the file's header. All methods may be called at once from many threads.
pub struct Registry {
    topic: Arc<str>,
    fetch: Arc<dyn Fetch>,
    loader: Loader,
    runtime: Handle,
    permits: Semaphore,
    ledger: Mutex<Ledger>,
    position: watch::Sender<i64>,
    generation: watch::Sender<u64>,
    changes: broadcast::Sender<Change>,
    waiting: AtomicUsize,
    next_check: AtomicU64,
}

/// One version as the `models` table shows it.
#[derive(Debug, Clone)]
pub struct VersionInfo {
    /// The model's name.
    pub name: Arc<str>,
    /// The version.
    pub version: u64,
    /// The format: of the bytes if they loaded or are known, else as the publisher says.
    pub format: Option<String>,
    /// Size of the model file.
    pub size: Option<u64>,
    /// Its SHA-256, hexadecimal.
    pub sha256: Option<String>,
    /// The publisher's words.
    pub description: String,
    /// The record's timestamp.
    pub published_at: Option<Millis>,
    /// The record's offset.
    pub offset: i64,
    /// What this process made of it.
    pub status: Status,
    /// Its inputs and outputs, once it was loaded here.
    pub signature: Option<Signature>,
    /// What it has done in this process.
    pub stats: StatsReading,
    /// Why it failed or was rejected.
    pub error: Option<Arc<str>>,
}

impl Registry {
    /// An empty registry of `topic`. It learns versions by [`Registry::apply`].
    ///
    /// # Panics
    /// Outside of a tokio runtime, where it could not load anything.
    #[must_use]
    pub fn new(topic: &str, numbering: Numbering, fetch: Arc<dyn Fetch>) -> Arc<Self> {
        Self::with(topic, numbering, fetch, Settings::default())
    }

    /// As [`Registry::new`], with settings.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn with(topic: &str, numbering: Numbering, fetch: Arc<dyn Fetch>, settings: Settings) -> Arc<Self> {
        let topic: Arc<str> = topic.into();
        Arc::new(Self {
            ledger: Mutex::new(Ledger::new(Arc::clone(&topic), numbering, settings.memory)),
            topic,
            fetch,
            loader: settings.loader,
            runtime: Handle::current(),
            permits: Semaphore::new(LOADS_AT_ONCE),
            position: watch::Sender::new(0),
            generation: watch::Sender::new(0),
            changes: broadcast::Sender::new(1_024),
            waiting: AtomicUsize::new(0),
            next_check: AtomicU64::new(1),
        })
    }

    /// Makes a model as the registry does. Takes up to seconds, and blocks.
    ///
    /// # Errors
    /// As the loader of its [`Settings`].
    pub fn load_bytes(&self, bytes: &[u8]) -> Result<(&'static str, Loaded), ModelError> {
        (self.loader)(bytes)
    }

    /// The model topic.
    #[must_use]
    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// Takes the next record of the topic. Must be called in log order, by one caller; a record seen before changes nothing.
    /// It hashes the model (milliseconds per megabyte), so give large values from a thread that may block.
    pub fn apply(self: &Arc<Self>, offset: i64, timestamp: Millis, key: Option<&[u8]>, value: Option<&[u8]>) -> Applied {
        let mut fresh = None;
        let record = decode(key, value).map(|mut parsed| {
            if let Parsed::Version(descriptor) = &mut parsed
                && let Content::Data(bytes) = &descriptor.content
            {
                // The bytes decide what they are; the publisher's word stands where nobody knows them.
                descriptor.format = sniff(bytes).map(|f| f.name().to_owned()).or(descriptor.format.take());
                fresh = Some((bytes.clone(), sha256(bytes)));
            }
            (parsed, fresh.as_ref().map(|(_, hash)| *hash))
        });
        let apply = |ledger: &mut Ledger| {
            let applied = ledger.apply(offset, timestamp, record);
            let start = match &applied {
                Applied::Version { name, .. } => ledger.settle(name),
                _ => None,
            };
            (start, applied)
        };
        let applied = self.change(apply, fresh);
        self.reached(offset + 1);
        applied
    }

    /// Numbers versions as the topic's settings say, from now on: for a topic that did not exist when the registry was made.
    pub fn set_numbering(&self, numbering: Numbering) {
        self.lock().set_numbering(numbering);
    }

    /// Says that all records below `offset` were applied, also where there are none (markers and compaction leave gaps).
    pub fn reached(&self, offset: i64) {
        self.position.send_if_modified(|position| std::mem::replace(position, offset.max(*position)) < offset);
    }

    /// Waits until all records below `offset` were applied. With the topic's end: until the registry knows all there is.
    pub async fn wait_until(&self, offset: i64) {
        // The sender lives as long as `self`, so the only error cannot arise.
        let _ = self.position.subscribe().wait_for(|position| *position >= offset).await;
    }

    /// Marks `name` as used by a running query, for as long as the process lives. A name without a version is remembered.
    /// Call it when the registry has caught up ([`Registry::wait_until`]), or each old version is loaded in passing.
    pub fn want(self: &Arc<Self>, name: &str) {
        self.change(|ledger| (ledger.want(name), ()), None);
    }

    /// Loads one version and keeps it loaded, for as long as the process lives. Nothing happens if there is none.
    pub fn want_version(self: &Arc<Self>, name: &str, version: u64) {
        self.change(|ledger| (ledger.want_version(name, version, true), ()), None);
    }

    /// As [`Registry::want`] or, for a reference with a version, [`Registry::want_version`]. Until the guard is dropped,
    /// `check` decides for a bare name which new versions may go live; those that it refuses are `rejected`.
    #[must_use = "the check ends when the guard is dropped"]
    pub fn use_model(self: &Arc<Self>, reference: &ModelRef, check: Check) -> UseGuard {
        let id = self.next_check.fetch_add(1, Ordering::Relaxed);
        let name = reference.name.as_str();
        if let Some(version) = reference.version {
            self.want_version(name, version);
        } else {
            // The check comes first: what `want` loads must pass it.
            self.change(|ledger| (ledger.set_check(name, id, Some(check)), ()), None);
            self.want(name);
        }
        UseGuard { registry: Arc::downgrade(self), name: name.to_owned(), id }
    }

    /// Waits until it is decided what `reference` means: every version that could become live has been tried. A name or
    /// version that is not on the topic is `Missing` at once; one that is gets loaded, as by [`Registry::want`].
    pub async fn ready(self: &Arc<Self>, reference: &ModelRef) -> Resolution {
        self.ready_from(reference, 0).await
    }

    /// As [`Registry::ready`], and a bare name does not mean a version below `floor`.
    pub async fn ready_from(self: &Arc<Self>, reference: &ModelRef, floor: u64) -> Resolution {
        let mut generation = self.generation.subscribe();
        let snapshot = self.snapshot();
        if let missing @ Resolution::Missing { .. } = snapshot.resolve(reference, floor) {
            return missing;
        }
        loop {
            let start = |ledger: &mut Ledger| match reference.version {
                None => (ledger.want(&reference.name), ()),
                Some(version) => (ledger.want_version(&reference.name, version, false), ()),
            };
            self.change(start, None);
            // Versions that arrive from now on do not prolong the waiting.
            let end = self.lock().end();
            self.wait_while(&mut generation, |ledger| ledger.undecided(reference, end)).await;
            let resolution = self.snapshot().resolve(reference, floor);
            // Loaded, and let go again before anyone looked: once more.
            if !matches!(resolution, Resolution::Loading { .. }) {
                return resolution;
            }
            tokio::task::yield_now().await;
        }
    }

    /// What `reference` means in the epoch of `view`, waiting for the loading if need be: for names from a column. A name
    /// that is not on the topic is missing, at once.
    pub async fn resolve(self: &Arc<Self>, view: &View, reference: &str) -> Resolution {
        let known = view.resolve(reference);
        match (&known, ModelRef::parse(reference)) {
            (Resolution::Loading { .. }, Ok(parsed)) => {
                let answer = self.ready_from(&parsed, view.floor(&parsed)).await;
                view.settle(reference, answer)
            }
            _ => known,
        }
    }

    /// Loads and verifies every version there is, keeping in memory only what queries want. For reading `models`.
    pub async fn load_all(self: &Arc<Self>) {
        let mut generation = self.generation.subscribe();
        let end = {
            let mut ledger = self.lock();
            ledger.retry_all();
            ledger.end()
        };
        // One by one: a running query's new version need not wait for all of these. Each is a task of its own, so a caller
        // that goes away leaves none half done.
        loop {
            let next = self.lock().next_pending(end);
            let Some(start) = next else { break };
            let _ = self.begin(start, None).await;
        }
        self.wait_while(&mut generation, |ledger| ledger.any_loading(end)).await;
    }

    /// The state as it is now: one short lock, and a copy of what changed since the last call.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.lock().snapshot()
    }

    /// A number that rises with every change of what [`Registry::snapshot`] gives.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// What goes live, fails or is rejected from now on. A receiver that falls behind by 1,024 misses the oldest.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// How many records were left out, and why the last one was.
    #[must_use]
    pub fn ignored(&self) -> (u64, Option<String>) {
        self.lock().ignored()
    }

    /// All versions, by name and number.
    #[must_use]
    pub fn versions(&self) -> Vec<VersionInfo> {
        let ledger = self.lock();
        let infos = ledger.names().iter().flat_map(|(name, entry)| entry.versions.iter().map(move |v| info(name, entry, v)));
        infos.collect()
    }

    /// The newest version of `name`.
    #[must_use]
    pub fn newest(&self, name: &str) -> Option<VersionInfo> {
        let ledger = self.lock();
        let (name, entry) = ledger.names().get_key_value(name)?;
        entry.versions.last().map(|version| info(name, entry, version))
    }

    /// The newest version of `name` that running queries cannot use, if it is above `live`, and why they cannot.
    #[must_use]
    pub fn refused_above(&self, name: &str, live: u64) -> Option<(u64, Arc<str>)> {
        let ledger = self.lock();
        let newest = ledger.names().get(name)?.versions.last().filter(|version| version.number > live)?;
        Some((newest.number, Arc::clone(newest.rejected.as_ref()?)))
    }

    /// The version that the record at `offset` became, or whose content it repeats.
    #[must_use]
    pub fn at_offset(&self, offset: i64) -> Option<VersionInfo> {
        let ledger = self.lock();
        let (name, number) = ledger.at_offset(offset)?;
        let entry = ledger.names().get(&name)?;
        entry.versions.iter().find(|v| v.number == number).map(|version| info(&name, entry, version))
    }

    /// Whether publishing `data` as `name` would make no new version: the newest one, if it has the same bytes.
    #[must_use]
    pub fn same_as_newest(&self, name: &str, data: &[u8]) -> Option<VersionInfo> {
        let hash = hex(&sha256(data));
        self.newest(name).filter(|newest| newest.size.is_some() && newest.sha256.as_ref() == Some(&hash))
    }

    /// Changes the ledger, begins the loading that follows, and tells everyone. `fresh` are the bytes of a version just applied.
    fn change<T>(
        self: &Arc<Self>,
        change: impl FnOnce(&mut Ledger) -> (Option<Start>, T),
        fresh: Option<(Bytes, Hash)>,
    ) -> T {
        let (start, result, changes, generation) = {
            let mut ledger = self.lock();
            let (start, result) = change(&mut ledger);
            (start, result, ledger.take_changes(), ledger.generation())
        };
        if let Some(start) = start {
            self.begin(start, fresh);
        }
        for change in changes {
            let _ = self.changes.send(change); // Nobody need listen.
        }
        self.generation.send_if_modified(|known| std::mem::replace(known, generation.max(*known)) < generation);
        result
    }

    async fn wait_while(&self, generation: &mut watch::Receiver<u64>, condition: impl Fn(&Ledger) -> bool) {
        loop {
            // Seen before the look at the ledger, so a change between the look and the waiting ends the waiting.
            generation.borrow_and_update();
            if !condition(&self.lock()) || generation.changed().await.is_err() {
                return;
            }
        }
    }

    /// Loads a version in a task of its own.
    fn begin(self: &Arc<Self>, start: Start, fresh: Option<(Bytes, Hash)>) -> JoinHandle<()> {
        // Bytes at hand are taken along while there is room, so that a fresh version is not read twice.
        let room = |bytes: &Bytes| self.waiting.load(Ordering::Relaxed) + bytes.len() <= WAITING_BYTES;
        let fresh = fresh.filter(|(bytes, hash)| start.sha256 == Some(*hash) && room(bytes)).map(|(bytes, _)| bytes);
        let taken = fresh.as_ref().map_or(0, Bytes::len);
        self.waiting.fetch_add(taken, Ordering::Relaxed);
        let this = Arc::clone(self);
        self.runtime.spawn(async move {
            let loading = AssertUnwindSafe(this.load(&start, fresh)).catch_unwind();
            let panicked = |_| Failure { reason: "reading it failed (a panic)".to_owned(), again: false };
            let result = loading.await.map_err(panicked).flatten();
            this.waiting.fetch_sub(taken, Ordering::Relaxed);
            this.change(|ledger| (ledger.finish(&start.name, start.version, result), ()), None);
        })
    }

    async fn load(&self, start: &Start, fresh: Option<Bytes>) -> Result<Arc<LiveModel>, Failure> {
        let _permit = self.permits.acquire().await;
        let data = match fresh {
            Some(data) => data,
            None => self.read(start).await?,
        };
        let (loader, expected) = (Arc::clone(&self.loader), start.sha256);
        let work = tokio::task::spawn_blocking(move || {
            let hash = sha256(&data);
            if expected.is_some_and(|expected| expected != hash) {
                let reason = format!("its bytes have sha256 {} now", hex(&hash));
                return Err(Failure { reason, again: false });
            }
            let (format, loaded) = loader(&data).map_err(|error| Failure { reason: reason(&error), again: false })?;
            Ok((format, loaded, hash))
        });
        let (format, loaded, hash) = match work.await {
            Ok(result) => result?,
            Err(error) if error.is_panic() => {
                return Err(Failure { reason: "its format's loader failed on it (a panic)".to_owned(), again: false });
            }
            Err(_) => return Err(Failure { reason: "the process is ending".to_owned(), again: true }),
        };
        Ok(Arc::new(LiveModel {
            name: Arc::clone(&start.name),
            version: start.version,
            sha256: hex(&hash).into(),
            offset: start.offset,
            format,
            loaded,
            stats: Arc::clone(&start.stats),
        }))
    }

    /// The version's bytes, from its record.
    async fn read(&self, start: &Start) -> Result<Bytes, Failure> {
        let mut pauses = FETCH_PAUSES.iter();
        let value = loop {
            match (self.fetch.fetch(start.offset).await, pauses.next()) {
                (Ok(value), _) => break value,
                (Err(_), Some(pause)) => tokio::time::sleep(*pause).await,
                (Err(error), None) => {
                    let reason = format!("its record could not be read: {}", error.chain());
                    return Err(Failure { reason, again: true });
                }
            }
        };
        let gone = || Failure { reason: format!("its record is no longer on topic \"{}\"", self.topic), again: false };
        let value = value.ok_or_else(gone)?;
        match decode(Some(start.name.as_bytes()), Some(&value)) {
            Ok(Parsed::Version(descriptor)) => match descriptor.content {
                Content::Data(data) => Ok(data),
                Content::Location(_) | Content::Nothing => Err(gone()),
            },
            Ok(Parsed::Order { .. }) | Err(_) => Err(gone()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        // The ledger's methods leave it whole at every point where a check of a query could panic.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("topic", &self.topic).field("ledger", &self.lock()).finish_non_exhaustive()
    }
}

/// A running query's hold on a name: its check is asked until this is dropped.
#[derive(Debug)]
pub struct UseGuard {
    registry: Weak<Registry>,
    name: String,
    id: u64,
}

impl UseGuard {
    /// The model's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for UseGuard {
    fn drop(&mut self) {
        if let Some(registry) = self.registry.upgrade() {
            // What only this query refused may go live now.
            registry.change(|ledger| (ledger.set_check(&self.name, self.id, None), ()), None);
        }
    }
}

/// An error's text with its causes.
pub(super) fn reason(error: &ModelError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

fn info(name: &Arc<str>, entry: &Name, version: &Version) -> VersionInfo {
    let status = entry.status(version);
    VersionInfo {
        name: Arc::clone(name),
        version: version.number,
        format: version.format.clone(),
        size: version.size,
        sha256: version.sha256.as_ref().map(|hash| hex(hash)),
        description: version.description.clone(),
        published_at: version.published_at,
        offset: version.offset,
        status,
        signature: version.signature.clone(),
        stats: version.stats.read(),
        error: match &version.load {
            Load::Failed { reason, .. } => Some(Arc::clone(reason)),
            _ if status == Status::Rejected => version.rejected.clone(),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests;
