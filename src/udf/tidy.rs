//! What the cache lets go, so that it does not grow without end.
//!
//! ```text
//! libraries/name-hash.so     the newest 50 of each name that were used within 30 days; one in use may be removed, its memory stays
//! sources/fingerprint-...    which library a source became: 30 days
//! crates/name-place/         what a single file was built as: 30 days, and with it what cargo made of it
//! ```
//!
//! Used means built, loaded or found: each sets the file's time. It is looked at whenever a new library comes. What cargo keeps of the
//! crates that functions depend on stays: it is the same for all of them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const DAYS: Duration = Duration::from_secs(30 * 24 * 60 * 60);
const OF_ONE_NAME: usize = 50;

/// `path` was used now. Where its time cannot be set, it is built again one day.
pub fn used(path: &Path) {
    if let Ok(file) = File::open(path) {
        let _ = file.set_modified(SystemTime::now());
    }
}

/// Removes what is too old or too much in the cache at `root`. What cannot be removed stays: others may be at it as well.
pub fn tidy(root: &Path, now: SystemTime) {
    let old = |written: &SystemTime| now.duration_since(*written).is_ok_and(|age| age > DAYS);
    let mut names: BTreeMap<String, Vec<(SystemTime, PathBuf)>> = BTreeMap::new();
    for (written, path) in entries(&root.join("libraries")) {
        let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
        let name = stem.rsplit_once('-').map_or(stem, |(name, _)| name).to_owned();
        names.entry(name).or_default().push((written, path));
    }
    for mut libraries in names.into_values() {
        libraries.sort_by(|a, b| b.cmp(a)); // the newest first
        for (place, (written, path)) in libraries.iter().enumerate() {
            if place >= OF_ONE_NAME || old(written) {
                let _ = fs::remove_file(path);
            }
        }
    }
    for (_, path) in entries(&root.join("sources")).into_iter().filter(|(written, _)| old(written)) {
        let _ = fs::remove_file(path);
    }
    for (_, dir) in entries(&root.join("crates")) {
        // The folder's own time does not change with what is in it; without a manifest it is being made.
        if modified(&dir.join("Cargo.toml")).is_some_and(|written| old(&written)) {
            let _ = fs::remove_dir_all(&dir);
            forget_build(&root.join("target/release"), &dir);
        }
    }
}

/// Removes what cargo made of the crate in `dir`, whose name is that of the folder with `_` for `-`.
fn forget_build(release: &Path, dir: &Path) {
    let name = dir.file_name().and_then(|n| n.to_str()).unwrap_or_default().replace('-', "_");
    for folder in [release.to_owned(), release.join("deps"), release.join(".fingerprint")] {
        for (_, path) in entries(&folder) {
            let own = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            let own = own.strip_prefix("lib").filter(|rest| rest.starts_with(&name)).unwrap_or(own);
            if own.strip_prefix(&name).is_some_and(|rest| rest.starts_with(['-', '.'])) {
                let _ = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            }
        }
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

/// What is in a folder, with the times; nothing if it is not there.
fn entries(dir: &Path) -> Vec<(SystemTime, PathBuf)> {
    let paths = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    paths.filter_map(|path| Some((modified(&path)?, path))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_old_or_too_much_goes_and_the_rest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let make = |path: &str, days: u64| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            File::create(&path).unwrap().set_modified(now - Duration::from_secs(days * 24 * 60 * 60)).unwrap();
        };
        for (path, days) in [
            ("libraries/a_b-0123.so", 31),
            ("libraries/a_b-4567.so", 29),
            ("sources/old-0.1.0", 31),
            ("sources/new-0.1.0", 1),
            ("crates/f-aa/Cargo.toml", 31),
            ("crates/f-bb/Cargo.toml", 3),
            ("target/release/deps/libf_aa-77.rlib", 31),
            ("target/release/deps/f_aa-77.d", 31),
            ("target/release/libf_aa.rlib", 31),
            ("target/release/deps/libf_bb-77.rlib", 3),
            ("target/release/deps/libarrow-77.rlib", 400),
            ("target/release/.fingerprint/f_aa-77/lib", 31),
        ] {
            make(path, days);
        }
        for number in 0..OF_ONE_NAME as u64 + 3 {
            make(&format!("libraries/c-{number:04}.so"), number / 10);
        }
        tidy(dir.path(), now);
        let there = |path: &str| dir.path().join(path).exists();
        for gone in [
            "libraries/a_b-0123.so",
            "sources/old-0.1.0",
            "crates/f-aa",
            "target/release/deps/libf_aa-77.rlib",
            "target/release/deps/f_aa-77.d",
            "target/release/libf_aa.rlib",
            "target/release/.fingerprint/f_aa-77",
        ] {
            assert!(!there(gone), "{gone}");
        }
        for kept in [
            "libraries/a_b-4567.so",
            "sources/new-0.1.0",
            "crates/f-bb/Cargo.toml",
            "target/release/deps/libf_bb-77.rlib",
            "target/release/deps/libarrow-77.rlib",
            "libraries/c-0000.so",
        ] {
            assert!(there(kept), "{kept}");
        }
        let left = entries(&dir.path().join("libraries")).len();
        assert_eq!(left, OF_ONE_NAME + 1, "50 of c and one of a_b");
        used(&dir.path().join("libraries/c-0049.so"));
        tidy(dir.path(), now + Duration::from_secs((29 * 24 + 12) * 60 * 60));
        assert_eq!(
            entries(&dir.path().join("libraries")).len(),
            11,
            "the ten of the first day, and what was used meanwhile"
        );
    }
}
