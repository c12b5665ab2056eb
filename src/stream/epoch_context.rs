//! What holds for one whole epoch: its time, and which model versions names mean.
//!
//! The driver sets the cell before it executes the plan for an epoch and leaves it alone until that execution has ended;
//! operators and functions read it. So `now()` is one instant, and a row is scored by exactly one version. A plain SELECT is
//! one single epoch: its cell is set once.

use std::sync::{Arc, PoisonError, RwLock};

use crate::model::View;
use crate::time::Millis;

/// What holds for one epoch.
#[derive(Debug)]
pub struct EpochContext {
    /// The epoch's time, which `now()` returns.
    pub time: Millis,
    /// What models' names mean in this epoch.
    pub models: Arc<View>,
}

/// The present [`EpochContext`] of one running plan (one lane of a job, or one SELECT), swapped between epochs.
#[derive(Debug)]
pub struct EpochCell(RwLock<Arc<EpochContext>>);

impl EpochCell {
    /// A cell that holds `context` until the first [`EpochCell::set`].
    #[must_use]
    pub fn new(context: EpochContext) -> Arc<Self> {
        Arc::new(Self(RwLock::new(Arc::new(context))))
    }
    /// Begins an epoch. The plan must not be executing.
    pub fn set(&self, context: EpochContext) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(context);
    }
    /// The present epoch's context. Cheap: a lock that is hardly ever contended, and a count.
    #[must_use]
    pub fn get(&self) -> Arc<EpochContext> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}
