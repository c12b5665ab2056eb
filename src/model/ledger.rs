//! The versions of all models: what the log says of them, and what this process made of them.
//!
//! ```text
//! record (log order) ─► number it ─► Pending ─► Loading ─► Ready (held in memory, or let go again)
//!                                                      └─► Failed
//! Ready and fit for all running queries, and the newest such: live
//! ```
//!
//! [`Ledger`] is a plain value without locks, tasks and clocks: the registry calls it under its lock, and does the loading
//! that it asks for. What a name's versions are is a pure function of the log; what is live depends on what loaded here.
//! Sizes are bytes of model files.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::Signature;
use super::descriptor::{Content, Descriptor, Hash, Parsed, hex};
use super::reference::ModelRef;
use super::snapshot::{Entry, LiveModel, Snapshot, Versions};
use super::stats::Stats;
use super::versions::{Applied, Change, Check, Numbering, Status};
use crate::time::{self, Millis};

/// Why a version could not be loaded.
#[derive(Debug)]
pub(super) struct Failure {
    pub reason: String,
    /// The trouble lies outside the model: whoever asks next may try again.
    pub again: bool,
}

#[derive(Debug)]
pub(super) enum Load {
    Pending,
    Loading,
    /// Verified; in memory, or let go.
    Ready(Option<Arc<LiveModel>>),
    Failed {
        reason: Arc<str>,
        again: bool,
    },
}

/// One version.
#[derive(Debug)]
pub(super) struct Version {
    pub number: u64,
    pub offset: i64,
    pub published_at: Option<Millis>,
    pub description: String,
    pub size: Option<u64>,
    pub format: Option<String>,
    pub sha256: Option<Hash>,
    pub signature: Option<Signature>,
    pub rejected: Option<Arc<str>>,
    pub load: Load,
    pub stats: Arc<Stats>,
    location: Option<String>,
    /// A query insists on it.
    pinned: bool,
    /// Stays in memory once loaded, as far as the budget goes.
    keep: bool,
    /// When it was last asked for, in steps of the ledger's clock.
    touched: u64,
}

impl Version {
    fn same_content(&self, hash: Option<Hash>, location: Option<&str>) -> bool {
        match (hash, location) {
            (_, Some(location)) => self.location.as_deref() == Some(location),
            (Some(hash), None) => self.location.is_none() && self.sha256 == Some(hash),
            (None, None) => false,
        }
    }
    /// It loads, as far as is known; perhaps it is just being loaded once more.
    fn verified(&self) -> bool {
        matches!(self.load, Load::Ready(_)) || (matches!(self.load, Load::Loading) && self.signature.is_some())
    }
}

/// One name. It may have no version yet, if a query waits for the first.
#[derive(Default)]
pub(super) struct Name {
    /// By rising number.
    pub versions: Vec<Version>,
    pub live: Option<u64>,
    wanted: bool,
    /// The live version that was told of in a [`Change`].
    told: Option<u64>,
    checks: Vec<(u64, Check)>,
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Name").field("live", &self.live).field("versions", &self.versions).finish_non_exhaustive()
    }
}

impl Name {
    fn version(&mut self, number: u64) -> Option<&mut Version> {
        let index = self.versions.binary_search_by_key(&number, |v| v.number).ok()?;
        self.versions.get_mut(index)
    }
    /// Why the running queries cannot use `version`.
    fn rejection(checks: &[(u64, Check)], version: &Version) -> Option<Arc<str>> {
        let signature = version.signature.as_ref()?;
        checks.iter().find_map(|(_, check)| check(signature).err()).map(Arc::from)
    }
    pub fn status(&self, version: &Version) -> Status {
        match &version.load {
            _ if self.live == Some(version.number) => Status::Live,
            Load::Failed { .. } => Status::Failed,
            Load::Ready(_) if version.rejected.is_some() => Status::Rejected,
            Load::Ready(_) => Status::Ready,
            Load::Pending | Load::Loading => Status::Loading,
        }
    }
}

/// A version to be loaded.
#[derive(Debug)]
pub(super) struct Start {
    pub name: Arc<str>,
    pub version: u64,
    pub offset: i64,
    pub sha256: Option<Hash>,
    pub stats: Arc<Stats>,
}

/// See the file's header.
#[derive(Debug)]
pub(super) struct Ledger {
    topic: Arc<str>,
    numbering: Numbering,
    /// How many bytes of models may stay loaded that nothing runs on.
    budget: u64,
    names: BTreeMap<Arc<str>, Name>,
    /// What each record with a version, or the content of one, became.
    by_offset: BTreeMap<i64, (Arc<str>, u64)>,
    next_offset: i64,
    ignored: (u64, Option<String>),
    clock: u64,
    changes: Vec<Change>,
    generation: u64,
    dirty: BTreeSet<Arc<str>>,
    snapshot: Arc<Snapshot>,
}

impl Ledger {
    pub fn new(topic: Arc<str>, numbering: Numbering, budget: u64) -> Self {
        let snapshot = Arc::new(Snapshot::new(Arc::clone(&topic), 0, BTreeMap::new()));
        Self {
            topic,
            numbering,
            budget,
            names: BTreeMap::new(),
            by_offset: BTreeMap::new(),
            next_offset: 0,
            ignored: (0, None),
            clock: 0,
            changes: Vec::new(),
            generation: 0,
            dirty: BTreeSet::new(),
            snapshot,
        }
    }

    /// How versions are numbered from now on: for a topic that did not exist when the registry was made.
    pub fn set_numbering(&mut self, numbering: Numbering) {
        self.numbering = numbering;
    }

    /// Takes the next record in log order, with the hash of its model's bytes. The bytes are not kept.
    pub fn apply(&mut self, offset: i64, timestamp: Millis, record: Result<(Parsed, Option<Hash>), String>) -> Applied {
        if offset < self.next_offset {
            return Applied::Again;
        }
        self.next_offset = offset + 1;
        let (descriptor, hash) = match record {
            Ok((Parsed::Version(descriptor), hash)) => (descriptor, hash),
            Ok((Parsed::Order { name, order }, _)) => {
                return self.ignore(format!("\"{order}\" of model \"{name}\" is not supported yet"));
            }
            Err(note) => return self.ignore(note),
        };
        let name: Arc<str> = descriptor.name.as_str().into();
        let number = self.names.get(&name).and_then(|n| n.versions.last()).map_or(1, |newest| newest.number + 1);
        let number = match self.numbering {
            Numbering::Dense => number,
            Numbering::Offset => u64::try_from(offset).unwrap_or(0),
        };
        let version = new_version(number, offset, timestamp, descriptor, hash);
        let entry = self.names.entry(Arc::clone(&name)).or_default();
        if let Some(newest) = entry.versions.last()
            && newest.same_content(version.sha256, version.location.as_deref())
        {
            let number = newest.number;
            self.by_offset.insert(offset, (Arc::clone(&name), number));
            return Applied::Same { name, version: number };
        }
        if let Load::Failed { reason, .. } = &version.load {
            let error = Some(Arc::clone(reason));
            self.changes.push(Change { name: Arc::clone(&name), version: number, status: Status::Failed, error });
        }
        entry.versions.push(version);
        self.by_offset.insert(offset, (Arc::clone(&name), number));
        self.touch(&name);
        Applied::Version { name, version: number }
    }

    fn ignore(&mut self, note: String) -> Applied {
        self.ignored.0 += 1;
        self.ignored.1 = Some(note.clone());
        Applied::Ignored(note)
    }

    /// Decides what of `name` is live, and returns the version that has to be loaded next, if any; it counts as loading from now.
    pub fn settle(&mut self, name: &str) -> Option<Start> {
        let (key, _) = self.names.get_key_value(name)?;
        let key = Arc::clone(key);
        let entry = self.names.get_mut(name)?;
        let Name { versions, live, wanted, told, checks } = entry;
        let before = *live;
        *live = None;
        for version in versions.iter_mut().rev() {
            if !version.verified() {
                continue;
            }
            // What is live has passed when it went live; a query that came later was planned on it.
            let rejected = if before == Some(version.number) { None } else { Name::rejection(checks, version) };
            if rejected.is_some() && rejected != version.rejected {
                let (status, error) = (Status::Rejected, rejected.clone());
                self.changes.push(Change { name: Arc::clone(&key), version: version.number, status, error });
            }
            version.rejected = rejected;
            if version.rejected.is_none() {
                *live = Some(version.number);
                if *wanted && *told != *live && matches!(version.load, Load::Ready(Some(_))) {
                    *told = *live;
                    version.stats.went_live(time::now());
                    let (name, version) = (Arc::clone(&key), version.number);
                    self.changes.push(Change { name, version, status: Status::Live, error: None });
                }
                break;
            }
        }
        let start = if *wanted { next_to_load(&key, versions) } else { None };
        self.touch(&key);
        start
    }

    /// Marks `name` as used by a running query, for good; a version to be loaded comes back.
    pub fn want(&mut self, name: &str) -> Option<Start> {
        let entry = self.names.entry(name.into()).or_default();
        entry.wanted = true;
        for version in &mut entry.versions {
            retry(version);
        }
        self.settle(name)
    }

    /// Asks for one version, which stays loaded for good if `pin`, else as far as the budget goes.
    pub fn want_version(&mut self, name: &str, number: u64, pin: bool) -> Option<Start> {
        self.clock += 1;
        let clock = self.clock;
        let (key, _) = self.names.get_key_value(name)?;
        let key = Arc::clone(key);
        let version = self.names.get_mut(name)?.version(number)?;
        version.pinned |= pin;
        version.keep = true;
        version.touched = clock;
        retry(version);
        let start = matches!(version.load, Load::Pending | Load::Ready(None)).then(|| begin(&key, version));
        self.touch(&key);
        start
    }

    /// The next version with an offset below `end` that nobody has looked at, newest of its name first.
    pub fn next_pending(&mut self, end: i64) -> Option<Start> {
        let start = self.names.iter_mut().find_map(|(name, entry)| {
            let mut newest_first = entry.versions.iter_mut().rev();
            let version = newest_first.find(|v| v.offset < end && matches!(v.load, Load::Pending))?;
            Some(begin(name, version))
        })?;
        self.touch(&start.name);
        Some(start)
    }

    /// Lets versions be tried again that failed for reasons outside of them.
    pub fn retry_all(&mut self) {
        self.names.values_mut().flat_map(|n| &mut n.versions).for_each(retry);
    }

    /// What loading a version gave. Returns what has to be loaded next.
    pub fn finish(&mut self, name: &str, number: u64, result: Result<Arc<LiveModel>, Failure>) -> Option<Start> {
        self.clock += 1;
        let clock = self.clock;
        let entry = self.names.get_mut(name)?;
        let wanted = entry.wanted;
        let version = entry.version(number)?;
        match result {
            Ok(model) => {
                version.signature = Some(model.loaded.signature.clone());
                version.format = Some(model.format.to_owned());
                let keep = wanted || version.pinned || version.keep;
                version.load = Load::Ready(keep.then_some(model));
                version.touched = clock;
            }
            Err(Failure { reason, again }) => {
                let reason: Arc<str> = reason.into();
                version.load = Load::Failed { reason: Arc::clone(&reason), again };
                let (status, error) = (Status::Failed, Some(reason));
                self.changes.push(Change { name: name.into(), version: number, status, error });
            }
        }
        let start = self.settle(name);
        self.evict();
        start
    }

    /// Adds a check to `name`, or takes one away; what is live stays.
    pub fn set_check(&mut self, name: &str, id: u64, check: Option<Check>) -> Option<Start> {
        // A query may wait for a name that nobody has published yet.
        let entry = self.names.entry(name.into()).or_default();
        match check {
            Some(check) => entry.checks.push((id, check)),
            None => entry.checks.retain(|(known, _)| *known != id),
        }
        let Name { versions, live, checks, .. } = entry;
        for version in versions.iter_mut().filter(|v| *live != Some(v.number) && v.verified()) {
            version.rejected = Name::rejection(checks, version);
        }
        self.settle(name)
    }

    /// Lets go of loaded versions that nothing runs on, the longest untouched first, until the rest fits the budget.
    fn evict(&mut self) {
        let mut idle: Vec<(u64, u64, Arc<str>, u64)> = Vec::new();
        for (name, entry) in &self.names {
            for version in &entry.versions {
                let runs = version.pinned || (entry.wanted && entry.live == Some(version.number));
                if !runs && matches!(version.load, Load::Ready(Some(_))) {
                    idle.push((version.touched, version.size.unwrap_or(0), Arc::clone(name), version.number));
                }
            }
        }
        let mut total: u64 = idle.iter().map(|(_, size, ..)| size).sum();
        idle.sort_unstable();
        idle.pop(); // Someone has just asked for the last one.
        for (_, size, name, number) in idle {
            if total <= self.budget {
                break;
            }
            if let Some(version) = self.names.get_mut(&name).and_then(|n| n.version(number)) {
                version.load = Load::Ready(None);
                total -= size;
                self.touch(&name);
            }
        }
    }

    /// Whether what `reference` means is still being found out, among the versions with an offset below `end`. Only what is
    /// loading counts: what is pending and could matter was begun by `want`, and all else nobody has asked for.
    pub fn undecided(&self, reference: &ModelRef, end: i64) -> bool {
        let Some(entry) = self.names.get(reference.name.as_str()) else { return false };
        let loading = |v: &Version| v.offset < end && matches!(v.load, Load::Loading);
        match reference.version {
            Some(number) => entry.versions.iter().any(|v| v.number == number && loading(v)),
            None => {
                let held = |v: &&Version| entry.live == Some(v.number) && matches!(v.load, Load::Ready(Some(_)));
                entry.versions.iter().rev().take_while(|v| !held(v)).any(loading)
            }
        }
    }

    /// Whether a version with an offset below `end` is being loaded.
    pub fn any_loading(&self, end: i64) -> bool {
        let mut versions = self.names.values().flat_map(|n| &n.versions);
        versions.any(|v| v.offset < end && matches!(v.load, Load::Loading))
    }

    /// The state as it is now, immutable; built anew only for names that changed since the last call.
    pub fn snapshot(&mut self) -> Arc<Snapshot> {
        if !self.dirty.is_empty() {
            let mut names = self.snapshot.versions().clone();
            for name in std::mem::take(&mut self.dirty) {
                if let Some(entry) = self.names.get(&name).filter(|entry| !entry.versions.is_empty()) {
                    names.insert(name, Arc::new(view_of(entry)));
                }
            }
            self.snapshot = Arc::new(Snapshot::new(Arc::clone(&self.topic), self.generation, names));
        }
        Arc::clone(&self.snapshot)
    }

    fn touch(&mut self, name: &Arc<str>) {
        self.generation += 1;
        self.dirty.insert(Arc::clone(name));
    }
    pub fn generation(&self) -> u64 {
        self.generation
    }
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }
    pub fn names(&self) -> &BTreeMap<Arc<str>, Name> {
        &self.names
    }
    pub fn at_offset(&self, offset: i64) -> Option<(Arc<str>, u64)> {
        self.by_offset.get(&offset).cloned()
    }
    pub fn ignored(&self) -> (u64, Option<String>) {
        self.ignored.clone()
    }
    /// The offset behind the newest record applied.
    pub fn end(&self) -> i64 {
        self.next_offset
    }
}

/// A version as its record describes it. What cannot be loaded whatever happens has failed already.
fn new_version(number: u64, offset: i64, timestamp: Millis, descriptor: Descriptor, hash: Option<Hash>) -> Version {
    let declared: Option<Hash> = descriptor.sha256.as_deref().and_then(|hash| hash.try_into().ok());
    let failed = |reason: &str| Load::Failed { reason: reason.into(), again: false };
    let (size, hash, location, load) = match descriptor.content {
        Content::Data(data) => {
            let load = match (descriptor.sha256, hash) {
                (Some(given), Some(hash)) if given != hash => {
                    let given = hex(given.get(..32).unwrap_or(&given));
                    failed(&format!("its bytes have sha256 {}, its descriptor says {given}", hex(&hash)))
                }
                _ if data.is_empty() => failed("its descriptor holds no bytes"),
                _ => Load::Pending,
            };
            (Some(data.len() as u64), hash, None, load)
        }
        Content::Location(location) => (None, declared, Some(location), failed("locations are not allowed here")),
        Content::Nothing => (None, declared, None, failed("its descriptor holds neither a model nor a location")),
    };
    Version {
        number,
        offset,
        published_at: Some(timestamp).filter(|t| *t >= 0).or(descriptor.created_at),
        description: descriptor.description,
        size,
        format: descriptor.format,
        sha256: hash,
        signature: None,
        rejected: None,
        load,
        stats: Arc::default(),
        location,
        pinned: false,
        keep: false,
        touched: 0,
    }
}

/// The newest version that could become live, if it has to be loaded for that.
fn next_to_load(name: &Arc<str>, versions: &mut [Version]) -> Option<Start> {
    for version in versions.iter_mut().rev() {
        match version.load {
            Load::Pending => return Some(begin(name, version)),
            Load::Ready(None) if version.rejected.is_none() => return Some(begin(name, version)),
            Load::Loading | Load::Ready(Some(_)) if version.rejected.is_none() => return None,
            Load::Loading | Load::Ready(_) | Load::Failed { .. } => {}
        }
    }
    None
}

fn begin(name: &Arc<str>, version: &mut Version) -> Start {
    version.load = Load::Loading;
    Start {
        name: Arc::clone(name),
        version: version.number,
        offset: version.offset,
        sha256: version.sha256,
        stats: Arc::clone(&version.stats),
    }
}

fn retry(version: &mut Version) {
    if matches!(version.load, Load::Failed { again: true, .. }) {
        version.load = Load::Pending;
    }
}

fn view_of(entry: &Name) -> Versions {
    let state = |version: &Version| match (&version.load, &version.rejected) {
        (Load::Failed { reason, .. }, _) => Entry::Failed(Arc::clone(reason)),
        (Load::Ready(model), Some(why)) => Entry::Rejected(Arc::clone(why), model.clone()),
        (Load::Ready(Some(model)), None) => Entry::Held(Arc::clone(model)),
        (Load::Ready(None) | Load::Pending | Load::Loading, _) => Entry::Away,
    };
    Versions { live: entry.live, all: entry.versions.iter().map(|v| (v.number, state(v))).collect() }
}
