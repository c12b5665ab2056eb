//! The registry at one moment, immutable.   registry ─► [`Snapshot`] ─► what a reference means: [`Resolution`]
//!
//! A snapshot is shared by reference and never changes; an epoch works on one from its begin to its end (`view.rs`).
//! Building the next one copies only the names that changed.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use super::answer::ModelIdentity;
use super::reference::ModelRef;
use super::stats::Stats;
use super::{Loaded, ModelError};

/// One loaded version, ready to score. Shared; it stays usable as long as anyone holds it, whatever the registry does.
#[derive(Debug)]
pub struct LiveModel {
    /// The model's name.
    pub name: Arc<str>,
    /// The version.
    pub version: u64,
    /// SHA-256 of the model file, hexadecimal.
    pub sha256: Arc<str>,
    /// The offset of its record on the model topic.
    pub offset: i64,
    /// The format's name.
    pub format: &'static str,
    /// Signature and scorer.
    pub loaded: Loaded,
    /// What it has done in this process.
    pub stats: Arc<Stats>,
}

impl<'a> From<&'a LiveModel> for ModelIdentity<'a> {
    fn from(model: &'a LiveModel) -> Self {
        Self { name: &model.name, version: model.version, sha256: &model.sha256, offset: model.offset }
    }
}

/// What a reference means.
#[derive(Debug, Clone)]
pub enum Resolution {
    /// This version.
    Live(Arc<LiveModel>),
    /// There is a version that may fit; it is being loaded, or nobody has asked for it yet.
    /// [`Registry::ready`](super::registry::Registry::ready) asks and waits.
    Loading {
        /// As asked for.
        name: Arc<str>,
        /// The version that is looked at.
        version: u64,
    },
    /// Nobody published it.
    Missing {
        /// As asked for.
        name: Arc<str>,
        /// The model topic.
        topic: Arc<str>,
        /// The names there are; for a missing version of a known name, its versions.
        known: Arc<[String]>,
    },
    /// There are versions, and none of them can be used.
    Unusable {
        /// As asked for.
        name: Arc<str>,
        /// The newest.
        version: u64,
        /// Why.
        reason: Arc<str>,
    },
}

impl Resolution {
    /// The version, or why there is none.
    ///
    /// # Errors
    /// `Missing` or `Unusable`; a version that is still loading is `Unusable` with that reason.
    pub fn model(&self) -> Result<&Arc<LiveModel>, ModelError> {
        match self {
            Self::Live(model) => Ok(model),
            Self::Loading { name, version } => Err(ModelError::Unusable {
                name: name.to_string(),
                version: *version,
                reason: "it is still being loaded".to_owned(),
            }),
            Self::Missing { name, topic, known } => {
                Err(ModelError::Missing { name: name.to_string(), topic: topic.to_string(), known: known.to_vec() })
            }
            Self::Unusable { name, version, reason } => {
                Err(ModelError::Unusable { name: name.to_string(), version: *version, reason: reason.to_string() })
            }
        }
    }
}

/// What a snapshot knows of one version.
#[derive(Debug, Clone)]
pub(super) enum Entry {
    /// In memory.
    Held(Arc<LiveModel>),
    /// Not in memory: not asked for, being loaded, or let go.
    Away,
    /// Cannot be loaded.
    Failed(Arc<str>),
    /// Loads, but running queries cannot use its signature; a query that insists on this version can.
    Rejected(Arc<str>, Option<Arc<LiveModel>>),
}

/// What a snapshot knows of one name: at least one version.
#[derive(Debug, Clone, Default)]
pub(super) struct Versions {
    /// The version that the bare name means.
    pub live: Option<u64>,
    /// All of them.
    pub all: BTreeMap<u64, Entry>,
}

/// The registry at one moment.
#[derive(Debug)]
pub struct Snapshot {
    topic: Arc<str>,
    generation: u64,
    names: BTreeMap<Arc<str>, Arc<Versions>>,
    known: OnceLock<Arc<[String]>>,
}

impl Snapshot {
    pub(super) fn new(topic: Arc<str>, generation: u64, names: BTreeMap<Arc<str>, Arc<Versions>>) -> Self {
        Self { topic, generation, names, known: OnceLock::new() }
    }
    /// A registry in which nothing was published.
    #[must_use]
    pub fn empty() -> Arc<Self> {
        Arc::new(Self::new("models".into(), 0, BTreeMap::new()))
    }
    pub(super) fn versions(&self) -> &BTreeMap<Arc<str>, Arc<Versions>> {
        &self.names
    }
    /// Rises with every change of the registry.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }
    /// The names that have versions, sorted.
    #[must_use]
    pub fn names(&self) -> Arc<[String]> {
        Arc::clone(self.known.get_or_init(|| self.names.keys().map(ToString::to_string).collect()))
    }
    /// What `reference` means. A bare name never means a version below `floor` (0: any will do); one with a version ignores it.
    #[must_use]
    pub fn resolve(&self, reference: &ModelRef, floor: u64) -> Resolution {
        let Some(versions) = self.names.get(reference.name.as_str()) else {
            return self.missing(reference.to_string(), self.names());
        };
        match reference.version {
            Some(version) => self.exactly(reference, version, versions),
            None => newest(&reference.name, floor, versions),
        }
    }
    /// A resolution for text that is no reference at all: nobody can have published that.
    #[must_use]
    pub fn unknown(&self, text: &str) -> Resolution {
        self.missing(text.to_owned(), self.names())
    }
    fn missing(&self, name: String, known: Arc<[String]>) -> Resolution {
        Resolution::Missing { name: name.into(), topic: Arc::clone(&self.topic), known }
    }
    fn exactly(&self, reference: &ModelRef, version: u64, versions: &Versions) -> Resolution {
        let name: Arc<str> = reference.to_string().into();
        match versions.all.get(&version) {
            Some(Entry::Held(model) | Entry::Rejected(_, Some(model))) => Resolution::Live(Arc::clone(model)),
            Some(Entry::Away | Entry::Rejected(_, None)) => Resolution::Loading { name, version },
            Some(Entry::Failed(reason)) => Resolution::Unusable { name, version, reason: Arc::clone(reason) },
            None => {
                // The newest ones say the most.
                let known = versions.all.keys().rev().take(20).map(|v| format!("{}:{v}", reference.name)).collect();
                self.missing(reference.to_string(), known)
            }
        }
    }
}

fn newest(name: &str, floor: u64, versions: &Versions) -> Resolution {
    let live = versions.live.filter(|live| *live >= floor);
    if let Some(Entry::Held(model)) = live.and_then(|live| versions.all.get(&live)) {
        return Resolution::Live(Arc::clone(model));
    }
    let name: Arc<str> = name.into();
    if let Some((version, _)) = versions.all.range(floor..).rev().find(|(_, entry)| matches!(entry, Entry::Away)) {
        return Resolution::Loading { name, version: *version };
    }
    let (version, reason) = match versions.all.last_key_value() {
        Some((version, Entry::Failed(reason) | Entry::Rejected(reason, _))) if *version >= floor => {
            (*version, Arc::clone(reason))
        }
        Some((version, _)) if *version < floor => {
            (floor, format!("earlier epochs of this job scored with it, but the topic ends at version {version}").into())
        }
        _ => (floor, "it is still being loaded".into()),
    };
    Resolution::Unusable { name, version, reason }
}
