//! What goes wrong with the embedded broker: always the file's name, and where data is concerned topic, partition and offset.

use std::path::Path;
use std::time::Duration;

use crate::connector::{Partition, TopicError};
use crate::error::{BoxError, ErrorKind, Explain};

/// An error of the embedded broker.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// A file stands where the broker's directory should be.
    #[error("\"{file}\" is a file, and an embedded broker is a directory")]
    NotADirectory {
        /// The path as given.
        file: String,
    },
    /// The directory or a file in it cannot be opened or made.
    #[error("could not open broker file \"{file}\"")]
    Open {
        /// The file or directory.
        file: String,
        /// The reason.
        source: BoxError,
    },
    /// The file is something else.
    #[error("file \"{file}\" is not an embedded broker")]
    NotABroker {
        /// The file.
        file: String,
    },
    /// The file's layout is newer than this program.
    #[error("broker file \"{file}\" has layout {found}, this vatic knows layout {known}")]
    Newer {
        /// The file.
        file: String,
        /// Its layout.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The file holds bytes that nobody wrote.
    #[error("broker file \"{file}\" is damaged{place}: {reason}")]
    Damaged {
        /// The file.
        file: String,
        /// ` at topic "t" partition 0 offset 12`, or empty where it is not known.
        place: String,
        /// The topic, where it is known.
        topic: Option<String>,
        /// What does not fit.
        reason: String,
    },
    /// There is no room left.
    #[error("no space left for broker file \"{file}\"; nothing of the commit was written")]
    Full {
        /// The file.
        file: String,
    },
    /// The file or its directory cannot be written.
    #[error("broker file \"{file}\" cannot be written")]
    ReadOnly {
        /// The file.
        file: String,
    },
    /// Another process holds the file's lock.
    #[error("broker file \"{file}\" was held by another process for {waited:?}")]
    Busy {
        /// The file.
        file: String,
        /// How long we tried.
        waited: Duration,
    },
    /// Anything else that SQLite reports.
    #[error("broker file \"{file}\" failed")]
    Sqlite {
        /// The file.
        file: String,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// A topic, a partition or an offset that is not there, or a record that the topic does not take.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// Another process runs the job.
    #[error("job group \"{group}\" is running in process {holder}")]
    GroupHeld {
        /// The group.
        group: String,
        /// Its process id, or `unknown` while it is being written.
        holder: String,
    },
    /// The group's offsets are in use.
    #[error("job group \"{group}\" cannot be reset while process {holder} runs it")]
    GroupBusy {
        /// The group.
        group: String,
        /// The process's id.
        holder: String,
    },
    /// A newer sink of the group was opened.
    #[error("a newer writer of group \"{group}\" has taken over; nothing of the commit was written")]
    Fenced {
        /// The group.
        group: String,
    },
    /// The caller went away before its work was done.
    #[error("the commit was given up before it was written")]
    Cancelled,
    /// A commit took longer than its sink allows.
    #[error("a commit to broker file \"{file}\" did not end within {limit:?}")]
    TimedOut {
        /// The file.
        file: String,
        /// The limit.
        limit: Duration,
    },
    /// A large value's pieces were cleaned away, because its writer slept for too long.
    #[error("a large record's pieces were cleaned away before it was committed")]
    Forgotten,
    /// The partition has no offset left.
    #[error("topic \"{topic}\" partition {partition} has used all of its offsets")]
    Exhausted {
        /// The topic.
        topic: String,
        /// The partition.
        partition: Partition,
    },
    /// What the engine hands over breaks the rules of the interface.
    #[error("{0}")]
    Misuse(String),
}

impl EmbeddedError {
    /// What SQLite says, with the file it is about.
    pub(super) fn sqlite(file: &Path, waited: Duration, source: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        let file = file.display().to_string();
        match source.sqlite_error_code() {
            Some(Code::DiskFull) => Self::Full { file },
            Some(Code::ReadOnly | Code::PermissionDenied) => Self::ReadOnly { file },
            Some(Code::NotADatabase) => Self::NotABroker { file },
            Some(Code::DatabaseCorrupt) => {
                Self::Damaged { file, place: String::new(), topic: None, reason: "its pages do not fit together".to_owned() }
            }
            Some(Code::DatabaseBusy | Code::DatabaseLocked) => Self::Busy { file, waited },
            Some(Code::CannotOpen) => Self::Open { file, source: Box::new(source) },
            _ => Self::Sqlite { file, source },
        }
    }

    /// With the place, if this is damage and the place is not known yet.
    pub(super) fn at(self, at_topic: &str, partition: Partition, offset: i64) -> Self {
        match self {
            Self::Damaged { file, place, reason, .. } if place.is_empty() => Self::Damaged {
                file,
                place: format!(" at topic \"{at_topic}\" partition {partition} offset {offset}"),
                topic: Some(at_topic.to_owned()),
                reason,
            },
            other => other,
        }
    }
}

impl Explain for EmbeddedError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Topic(error) => error.kind(),
            Self::GroupBusy { .. } => ErrorKind::User,
            Self::NotADirectory { .. } => ErrorKind::Usage,
            Self::Misuse(_) => ErrorKind::Internal,
            _ => ErrorKind::External,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Topic(error) => return error.hint(),
            Self::Open { .. } => "Check that the directory can be made and written by this user.".to_owned(),
            Self::NotADirectory { .. } | Self::NotABroker { .. } => {
                "Name another directory: --broker embedded:DIR.".to_owned()
            }
            Self::Newer { .. } => "Use the vatic that wrote it, or a newer one.".to_owned(),
            Self::Damaged { topic: Some(topic), .. } => {
                format!("Restore the file from a copy; or give the topic up: vatic topic delete {topic}")
            }
            Self::Damaged { .. } => "Restore the file from a copy, or move it away to begin anew.".to_owned(),
            Self::Full { .. } => "Make room on the disk, then start again; the file itself is whole.".to_owned(),
            Self::ReadOnly { .. } => "Give this user the right to write the file and its directory.".to_owned(),
            Self::Busy { .. } | Self::TimedOut { .. } => {
                "Try again; if it stays so, look for a process that is stopped with the file open.".to_owned()
            }
            Self::Sqlite { .. } => "Check the disk (free space, permissions, health), then try again.".to_owned(),
            Self::GroupHeld { holder, .. } => {
                format!("Stop process {holder}, or give this job a name of its own: SET job.name = '...'.")
            }
            Self::GroupBusy { .. } => "Stop the job first.".to_owned(),
            Self::Exhausted { .. } => "Go on with a new topic.".to_owned(),
            Self::Fenced { .. } => "Stop one of the two.".to_owned(),
            Self::Forgotten | Self::Cancelled => "Write it again.".to_owned(),
            Self::Misuse(_) => return None,
        })
    }
}
