//! Why an ensemble of trees cannot be used.

/// What is wrong with an ensemble; the indices are those of [`super::Ensemble`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// A reference points behind the last of what it refers to.
    #[error("{what} {index} does not exist: the ensemble of trees has {count}")]
    Missing {
        /// The kind of thing: `split`, `leaf`, `target`, ...
        what: &'static str,
        /// The one asked for.
        index: u64,
        /// How many there are.
        count: u64,
    },
    /// A node is its own descendant.
    #[error("the nodes of a tree form a cycle through split {split}")]
    Cycle {
        /// A split on the cycle.
        split: u32,
    },
    /// More than can be run in reasonable time and memory.
    #[error("the ensemble of trees has {count} {what}, more than {limit}")]
    TooLarge {
        /// The kind of thing.
        what: &'static str,
        /// How many there are.
        count: u64,
        /// How many there may be.
        limit: u64,
    },
    /// Something must have another number of values.
    #[error("the ensemble of trees has {count} {what} for {targets} targets")]
    Count {
        /// The kind of thing.
        what: &'static str,
        /// How many there are.
        count: u64,
        /// How many targets there are.
        targets: u64,
    },
    /// There is no tree.
    #[error("the ensemble has no tree")]
    Empty,
    /// The caller's buffers do not fit together.
    #[error("{what} of {given} values where {wanted} are needed")]
    Buffer {
        /// Which one.
        what: &'static str,
        /// Its length.
        given: u64,
        /// The right one.
        wanted: u64,
    },
}

impl TreeError {
    /// The error of an index out of range.
    pub(super) fn missing(what: &'static str, index: usize, count: usize) -> Self {
        Self::Missing { what, index: index as u64, count: count as u64 }
    }

    /// `Ok` if `count` is within `limit`.
    pub(super) fn at_most(what: &'static str, count: usize, limit: usize) -> Result<(), Self> {
        if count <= limit { Ok(()) } else { Err(Self::TooLarge { what, count: count as u64, limit: limit as u64 }) }
    }
}
