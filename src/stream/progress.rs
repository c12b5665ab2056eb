//! How far a plain SELECT has read.   scans (after each cut) ─► [`Progress`] ─► whoever shows it
//!
//! Rows are counted as they are read. Where the end is known, the part is told by positions and not by rows: a log has gaps. A
//! partition counts from the position at which reading it began, so the part is known once all of them have begun.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::connector::Partition;

/// What one scan has read.
#[derive(Debug, Default)]
pub struct Progress {
    rows: AtomicU64,
    /// The positions at which partitions end.
    ends: OnceLock<Vec<i64>>,
    /// Where each partition began, and where it is.
    read: Mutex<BTreeMap<Partition, (i64, i64)>>,
}

impl Progress {
    /// Says where partitions end, by partition; the first who does is believed.
    pub fn set_ends(&self, ends: Vec<i64>) {
        // Set twice it is the same topic.
        let _ = self.ends.set(ends);
    }

    /// Notes `rows` rows of `partition`, of which `first` is the position of the first and `next` the one behind the last.
    pub fn add(&self, partition: Partition, rows: usize, first: i64, next: i64) {
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.entry(partition).or_insert((first, next)).1 = next;
    }

    /// How many rows were read.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Positions read and positions there are, once both are known.
    #[must_use]
    pub fn positions(&self) -> Option<(u64, u64)> {
        let ends = self.ends.get()?;
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut done, mut all) = (0, 0);
        for (partition, end) in (0..).zip(ends).filter(|(_, end)| **end > 0) {
            let (first, next) = read.get(&partition)?;
            done += u64::try_from(next.min(end) - first).unwrap_or(0);
            all += u64::try_from(end - first).unwrap_or(0);
        }
        (all > 0).then_some((done, all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_is_known_once_all_partitions_have_begun() {
        let progress = Progress::default();
        progress.add(0, 10, 100, 110);
        assert_eq!((progress.rows(), progress.positions()), (10, None));
        progress.set_ends(vec![200, 0, 50]);
        assert_eq!(progress.positions(), None);
        progress.add(2, 20, 0, 25);
        assert_eq!((progress.rows(), progress.positions()), (30, Some((35, 150))));
        progress.add(0, 90, 110, 230);
        progress.add(2, 25, 25, 50);
        assert_eq!(progress.positions(), Some((150, 150)));
    }
}
