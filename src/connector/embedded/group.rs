//! Membership of a job's group: one process at a time, by a lock on `DIR/jobs/<group>.lock`.
//!
//! The lock belongs to the open file, so the system frees it however the process ends, kill -9 included. The file says
//! whose it is; it stays behind, empty of meaning, when the lock is free.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::error::EmbeddedError;
use super::store::Result;

/// A held lock; dropping it ends the membership.
#[derive(Debug)]
pub(super) struct Member {
    file: File,
}

impl Member {
    /// Joins `group`.
    ///
    /// # Errors
    /// `GroupHeld` with the other process's id; `Open` if the lock's file cannot be made.
    pub(super) fn join(dir: &Path, group: &str) -> Result<Self> {
        match attempt(dir, group)? {
            Ok(mut file) => {
                // Who looks between these two steps reads an old number or none; the lock itself is what counts.
                let written =
                    file.set_len(0).and_then(|()| file.rewind()).and_then(|()| write!(file, "{}", std::process::id()));
                written.map_err(|e| open_error(&path_of(dir, group), e))?;
                Ok(Self { file })
            }
            Err(holder) => Err(EmbeddedError::GroupHeld { group: group.to_owned(), holder }),
        }
    }

    /// Keeps everybody out of `group` as long as the result lives, for a change of its positions.
    ///
    /// # Errors
    /// `GroupBusy` while it has a member.
    pub(super) fn shut_out(dir: &Path, group: &str) -> Result<Option<Self>> {
        if !path_of(dir, group).exists() {
            return Ok(None);
        }
        match attempt(dir, group)? {
            Ok(file) => Ok(Some(Self { file })),
            Err(holder) => Err(EmbeddedError::GroupBusy { group: group.to_owned(), holder }),
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Closing is not enough: a child process that is just being started has a copy of the file until it runs its program.
        let _ = self.file.unlock();
    }
}

/// The locked file, or who holds it.
fn attempt(dir: &Path, group: &str) -> Result<std::result::Result<File, String>> {
    let path = path_of(dir, group);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(|e| open_error(parent, e))?;
    }
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = opened.map_err(|e| open_error(&path, e))?;
    match file.try_lock() {
        Ok(()) => Ok(Ok(file)),
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            let known = !holder.is_empty() && holder.chars().all(|c| c.is_ascii_digit());
            Ok(Err(if known { holder } else { "unknown".to_owned() }))
        }
        Err(TryLockError::Error(e)) => Err(open_error(&path, e)),
    }
}

fn open_error(path: &Path, source: std::io::Error) -> EmbeddedError {
    EmbeddedError::Open { file: path.display().to_string(), source: Box::new(source) }
}

/// Letters, digits, `.`, `_` and `-` stay, everything else becomes `%XX`; long names are cut and told apart by a hash.
fn path_of(dir: &Path, group: &str) -> PathBuf {
    let mut name = String::with_capacity(group.len() + 5);
    for byte in group.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-') {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02X}"));
        }
    }
    if name.len() > 200 {
        let hash = twox_hash::XxHash64::oneshot(0, group.as_bytes());
        name.truncate(180);
        name.push_str(&format!("%{hash:016x}"));
    }
    dir.join("jobs").join(format!("{name}.lock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_member_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let member = Member::join(dir.path(), "vatic-a/b").unwrap();
        let error = Member::join(dir.path(), "vatic-a/b").unwrap_err();
        assert_eq!(error.to_string(), format!("job group \"vatic-a/b\" is running in process {}", std::process::id()));
        assert!(Member::join(dir.path(), "vatic-a-b").is_ok());
        assert!(Member::shut_out(dir.path(), "vatic-a/b").is_err());
        drop(member);
        assert!(Member::shut_out(dir.path(), "vatic-a/b").unwrap().is_some());
        assert!(Member::join(dir.path(), "vatic-a/b").is_ok());
        assert!(Member::join(dir.path(), &"ü".repeat(300)).is_ok());
    }
}
