//! Which process of a job this is.   group ─► the first free lock file of this machine ─► transactional id
//!
//! Processes of one job write side by side, so each needs a transactional id of its own; and a process that is started again after
//! a crash should get the old one, because then opening its producer ends at once what the dead one left open (otherwise brokers
//! wait for the transaction's timeout, and readers with them). So ids are numbered, and a file lock, which the system frees even
//! after kill -9, says which numbers are in use on this machine. An id also holds a hash of machine and lock directory: processes
//! that do not see each other's locks never share an id. Within a process a group keeps its number until the process ends.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{LazyLock, Mutex};

use sha2::{Digest, Sha256};

use super::ffi::lock;

/// More processes of one job on one machine than this get an id that no successor finds again.
const MOST: usize = 1000;

/// The ids of this process.
static HELD: LazyLock<Mutex<HashMap<Job, Held>>> = LazyLock::new(Mutex::default);

/// Address and group.
type Job = (String, String);
/// The id, and the lock on its number if there is one.
type Held = (String, Option<File>);

/// This process's transactional id for a group of the brokers at `address`.
pub(super) fn transactional_id(address: &str, group: &str) -> String {
    let mut held = lock(&HELD);
    let key = (address.to_owned(), group.to_owned());
    if let Some((id, _)) = held.get(&key) {
        return id.clone();
    }
    let directory = std::env::temp_dir().join("vatic-kafka");
    let (id, file) = match claim(&directory, address, group) {
        Some((id, file)) => (id, Some(file)),
        // Without a place for locks a successor has to wait for the timeout; nothing is lost by that.
        None => (format!("{group}-{:x}-{}", crate::time::now(), std::process::id()), None),
    };
    held.insert(key, (id.clone(), file));
    id
}

/// The first number that nobody on this machine holds, and the lock on it.
fn claim(directory: &Path, address: &str, group: &str) -> Option<(String, File)> {
    std::fs::create_dir_all(directory).ok()?;
    let place = std::fs::metadata(directory).ok()?;
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let machine = format!(
        "{}/{}/{}/{}",
        read("/proc/sys/kernel/hostname"),
        read("/proc/sys/kernel/random/boot_id"),
        place.dev(),
        place.ino()
    );
    let machine = hash(&machine);
    let job = hash(&format!("{address}/{group}"));
    for number in 0..MOST {
        let path = directory.join(format!("{job}-{number}.lock"));
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path).ok()?;
        if file.try_lock().is_ok() {
            return Some((format!("{group}-{machine}-{number}"), file));
        }
    }
    None
}

/// A short name for a text.
fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_taken_and_given_back() {
        let directory = tempfile::tempdir().unwrap();
        let of = |group: &str| claim(directory.path(), "a:1", group).unwrap();
        let (first, held) = of("vatic-g");
        let (second, _also) = of("vatic-g");
        assert!(first.starts_with("vatic-g-") && first.ends_with("-0") && second.ends_with("-1"));
        assert!(of("vatic-other").0.ends_with("-0"));
        drop(held); // as the system does when a process dies
        assert_eq!(of("vatic-g").0, first);
    }

    #[test]
    fn a_process_keeps_its_id() {
        assert_eq!(transactional_id("a:1", "vatic-kept"), transactional_id("a:1", "vatic-kept"));
        assert_ne!(transactional_id("a:1", "vatic-kept"), transactional_id("a:1", "vatic-other"));
    }
}
