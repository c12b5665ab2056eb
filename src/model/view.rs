//! An epoch's view of the registry.   snapshot + floors ─► [`View`] ─► each reference resolved once ─► what was used
//!
//! An epoch resolves each reference once, so no row of it can meet a second version: [`View`] remembers its answers. It never
//! answers with a version below the one that an earlier epoch of the job used (its floor, from the epoch records), so that
//! along a partition the version never goes back. Lanes of one epoch share one view.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::reference::ModelRef;
use super::snapshot::{Resolution, Snapshot};

/// One epoch's view.
#[derive(Debug)]
pub struct View {
    snapshot: Arc<Snapshot>,
    floors: BTreeMap<String, u64>,
    resolved: Mutex<HashMap<String, Resolution>>,
}

impl View {
    /// A view of `snapshot` that does not go below `floors`: what [`View::used`] of earlier epochs said, the highest of each.
    #[must_use]
    pub fn new(snapshot: Arc<Snapshot>, floors: BTreeMap<String, u64>) -> Self {
        Self { snapshot, floors, resolved: Mutex::default() }
    }
    /// What `reference` (`fraud`, `fraud:7`) means in this epoch: the same at every call. What is no reference is missing.
    #[must_use]
    pub fn resolve(&self, reference: &str) -> Resolution {
        let mut resolved = self.lock();
        if let Some(known) = resolved.get(reference) {
            return known.clone();
        }
        let answer = match ModelRef::parse(reference) {
            Ok(parsed) => self.snapshot.resolve(&parsed, self.floor(&parsed)),
            Err(_) => self.snapshot.unknown(reference),
        };
        resolved.insert(reference.to_owned(), answer.clone());
        answer
    }
    /// Lets `reference` mean `answer` in this epoch, unless a version was given out for it before; returns what it means.
    /// For a reference that was not loaded when the epoch began, and that the epoch waited for.
    pub fn settle(&self, reference: &str, answer: Resolution) -> Resolution {
        let mut resolved = self.lock();
        let slot = resolved.entry(reference.to_owned()).or_insert_with(|| answer.clone());
        if !matches!(slot, Resolution::Live(_)) {
            *slot = answer;
        }
        slot.clone()
    }
    /// The version below which `reference` must not fall; 0 if there is none, or if it names its version itself.
    #[must_use]
    pub fn floor(&self, reference: &ModelRef) -> u64 {
        match reference.version {
            None => self.floors.get(&reference.name).copied().unwrap_or(0),
            Some(_) => 0,
        }
    }
    /// The versions given out so far, by reference as the query wrote it: what the epoch record stores.
    #[must_use]
    pub fn used(&self) -> Vec<(String, u64)> {
        let resolved = self.lock();
        let live = resolved.iter().filter_map(|(reference, resolution)| match resolution {
            Resolution::Live(model) => Some((reference.clone(), model.version)),
            _ => None,
        });
        let mut used: Vec<_> = live.collect();
        used.sort_unstable();
        used
    }
    /// The snapshot it looks at.
    #[must_use]
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Resolution>> {
        self.resolved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
