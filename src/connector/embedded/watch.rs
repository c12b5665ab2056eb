//! How readers learn of new records.   commit here ─► [`Bell`] ─► readers;   commit elsewhere ─► watcher, each ms ─► [`Bell`] ─► readers
//!
//! A commit of this process rings at once. Commits of other processes are seen by one thread per file that asks SQLite for its
//! `data_version` (4 us) once a millisecond, and only while somebody waits. Units: milliseconds.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// How often other processes' commits are looked for while somebody waits.
pub(super) const POLL: Duration = Duration::from_millis(1);

/// Locks, and goes on where another thread panicked: what is kept behind our locks is whole between two statements.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Rings when there may be something new.
#[derive(Debug, Default)]
pub(super) struct Bell {
    state: Mutex<State>,
    rung: Condvar,
    wanted: Condvar,
}

#[derive(Debug, Default)]
struct State {
    rings: u64,
    waiting: usize,
}

impl Bell {
    /// How often it has rung; read it *before* looking for something new, and wait from there.
    pub(super) fn rings(&self) -> u64 {
        lock(&self.state).rings
    }
    /// Wakes everybody who waits.
    pub(super) fn ring(&self) {
        lock(&self.state).rings += 1;
        self.rung.notify_all();
    }
    /// Waits until it has rung more than `seen` times, at most for `limit`.
    pub(super) fn wait(&self, seen: u64, limit: Duration) {
        let mut state = lock(&self.state);
        if state.rings != seen {
            return;
        }
        state.waiting += 1;
        if state.waiting == 1 {
            self.wanted.notify_all();
        }
        let waited = self.rung.wait_timeout_while(state, limit, |state| state.rings == seen);
        waited.unwrap_or_else(PoisonError::into_inner).0.waiting -= 1;
    }
    /// Waits until somebody waits, at most for `limit`; whether somebody does.
    fn somebody_waits(&self, limit: Duration) -> bool {
        let waited = self.wanted.wait_timeout_while(lock(&self.state), limit, |state| state.waiting == 0);
        waited.unwrap_or_else(PoisonError::into_inner).0.waiting > 0
    }
}

/// Rings `bell` when `version`, called about once a millisecond while somebody waits, returns something new; it is called
/// once before this returns, so that nothing later is missed. The thread ends with the bell.
pub(super) fn watch(bell: &Arc<Bell>, mut version: impl FnMut() -> Option<i64> + Send + 'static) -> std::io::Result<()> {
    let bell: Weak<Bell> = Arc::downgrade(bell);
    let mut known = version();
    std::thread::Builder::new().name("vatic-watch".to_owned()).spawn(move || {
        while let Some(bell) = bell.upgrade() {
            if !bell.somebody_waits(Duration::from_millis(200)) {
                continue;
            }
            // Where the version cannot be read, readers still look for themselves a few times per second.
            let now = version();
            if known != now {
                bell.ring();
            }
            known = now;
            drop(bell);
            std::thread::sleep(POLL);
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicI64, Ordering};
    use std::time::Instant;

    #[test]
    fn a_ring_between_look_and_wait_is_not_missed() {
        let bell = Bell::default();
        let seen = bell.rings();
        bell.ring();
        let begun = Instant::now();
        bell.wait(seen, Duration::from_secs(5));
        assert!(begun.elapsed() < Duration::from_secs(1));
    }

    #[test]
    fn a_new_version_rings() {
        let bell = Arc::new(Bell::default());
        let version = Arc::new(AtomicI64::new(1));
        let shown = Arc::clone(&version);
        watch(&bell, move || Some(shown.load(Ordering::SeqCst))).unwrap();
        let setter = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            version.store(2, Ordering::SeqCst);
        });
        let (seen, begun) = (bell.rings(), Instant::now());
        bell.wait(seen, Duration::from_secs(5));
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        setter.join().unwrap();
    }
}
