//! The words of the registry: how versions are numbered, what becomes of a record, what a version's status is.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Signature;

/// How versions get their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbering {
    /// 1, 2, 3, ... per name in log order: for a topic that is never cut.
    Dense,
    /// The record's offset: for a topic that is compacted or has retention, where the first records may be gone.
    Offset,
}

impl Numbering {
    /// What a topic with these settings needs (Kafka's names; a setting that is not there has Kafka's default).
    #[must_use]
    pub fn of(config: &BTreeMap<String, String>) -> Self {
        let compacted = config.get("cleanup.policy").is_some_and(|policy| policy.contains("compact"));
        let kept_for_ever = config.get("retention.ms").is_some_and(|v| v == "-1");
        let of_any_size = config.get("retention.bytes").is_none_or(|v| v == "-1");
        if !compacted && kept_for_ever && of_any_size { Self::Dense } else { Self::Offset }
    }
}

/// What a running query asks of every new version of a name: whether it can use the signature. The text says why not:
/// `takes 3 features, 2 were given`. It is called under the registry's lock, so it must be quick and not call the registry.
pub type Check = Box<dyn Fn(&Signature) -> Result<(), String> + Send + Sync>;

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// It is a new version.
    Version {
        /// The model.
        name: Arc<str>,
        /// Its number.
        version: u64,
    },
    /// It has the content of the newest version, and so is no new one.
    Same {
        /// The model.
        name: Arc<str>,
        /// The number of the newest version.
        version: u64,
    },
    /// It is left out; why, for people.
    Ignored(String),
    /// It was applied before.
    Again,
}

/// What this process made of a version, as the `models` table says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// What the bare name means.
    Live,
    /// Loads, and is not live.
    Ready,
    /// Not decided yet.
    Loading,
    /// Cannot be loaded.
    Failed,
    /// Loads, but running queries cannot use its signature.
    Rejected,
}

impl Status {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Ready => "ready",
            Self::Loading => "loading",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
        }
    }
}

/// A version's new status, for people who watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The model.
    pub name: Arc<str>,
    /// The version.
    pub version: u64,
    /// Live, failed or rejected.
    pub status: Status,
    /// Why it failed or was rejected.
    pub error: Option<Arc<str>>,
}
