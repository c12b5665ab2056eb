//! A topic's name and settings, checked as Kafka checks them.   given settings ─► [`check`] ─► stored;   stored ─► [`Policy`]
//!
//! Every setting that Kafka 4 knows is accepted with Kafka's default, so that a saved query runs unchanged on either broker.
//! Those that describe segments, replicas or remote storage have no effect here: `Topic` shows them and that is all.
//! To give one an effect: read it in [`Policy::of`].

use std::collections::BTreeMap;

use crate::error::{Error, Result, did_you_mean};

/// A setting: its name, its default, the values it takes.
struct Setting(&'static str, &'static str, Takes);

enum Takes {
    /// A whole number of at least this.
    Number(i64),
    /// A number between 0 and 1.
    Ratio,
    /// `true` or `false`.
    Flag,
    /// One of these.
    Choice(&'static [&'static str]),
    /// One or more of these, with commas between.
    Several(&'static [&'static str]),
    /// Any text.
    Text,
}

const FOREVER: &str = "9223372036854775807";

const SETTINGS: &[Setting] = &[
    Setting("cleanup.policy", "delete", Takes::Several(&["delete", "compact"])),
    Setting("compression.type", "producer", Takes::Choice(&["producer", "uncompressed", "zstd", "lz4", "snappy", "gzip"])),
    Setting("delete.retention.ms", "86400000", Takes::Number(0)),
    Setting("file.delete.delay.ms", "60000", Takes::Number(0)),
    Setting("flush.messages", FOREVER, Takes::Number(1)),
    Setting("flush.ms", FOREVER, Takes::Number(0)),
    Setting("follower.replication.throttled.replicas", "", Takes::Text),
    Setting("index.interval.bytes", "4096", Takes::Number(0)),
    Setting("leader.replication.throttled.replicas", "", Takes::Text),
    Setting("local.retention.bytes", "-2", Takes::Number(-2)),
    Setting("local.retention.ms", "-2", Takes::Number(-2)),
    Setting("max.compaction.lag.ms", FOREVER, Takes::Number(1)),
    Setting("max.message.bytes", "1048588", Takes::Number(0)),
    Setting("message.timestamp.after.max.ms", FOREVER, Takes::Number(0)),
    Setting("message.timestamp.before.max.ms", FOREVER, Takes::Number(0)),
    Setting("message.timestamp.type", "CreateTime", Takes::Choice(&["CreateTime", "LogAppendTime"])),
    Setting("min.cleanable.dirty.ratio", "0.5", Takes::Ratio),
    Setting("min.compaction.lag.ms", "0", Takes::Number(0)),
    Setting("min.insync.replicas", "1", Takes::Number(1)),
    Setting("preallocate", "false", Takes::Flag),
    Setting("remote.log.copy.disable", "false", Takes::Flag),
    Setting("remote.log.delete.on.disable", "false", Takes::Flag),
    Setting("remote.storage.enable", "false", Takes::Flag),
    Setting("retention.bytes", "-1", Takes::Number(-1)),
    Setting("retention.ms", "604800000", Takes::Number(-1)),
    Setting("segment.bytes", "1073741824", Takes::Number(14)),
    Setting("segment.index.bytes", "10485760", Takes::Number(4)),
    Setting("segment.jitter.ms", "0", Takes::Number(0)),
    Setting("segment.ms", "604800000", Takes::Number(1)),
    Setting("unclean.leader.election.enable", "false", Takes::Flag),
];

/// Checks a topic's name: 1 to 249 of `[A-Za-z0-9._-]`, neither `.` nor `..`.
///
/// # Errors
/// `User`.
pub(super) fn check_name(name: &str) -> Result<()> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > 249 || name == "." || name == ".." || !name.chars().all(fits) {
        let shown: String = name.chars().take(260).collect();
        return Err(Error::user(format!("\"{shown}\" is not a topic's name"))
            .hint("Use 1 to 249 letters, digits, \".\", \"_\" and \"-\"."));
    }
    Ok(())
}

/// Checks settings: known names, values that they take.
///
/// # Errors
/// `User`, for an unknown name with the nearest known one.
pub(super) fn check(given: &BTreeMap<String, String>) -> Result<()> {
    for (name, value) in given {
        let Some(Setting(_, _, takes)) = SETTINGS.iter().find(|s| s.0 == name) else {
            let error = Error::user(format!("unknown topic setting \"{name}\""));
            return Err(match did_you_mean(name, "settings", SETTINGS.iter().map(|s| s.0)) {
                Some(hint) => error.hint(hint),
                None => error,
            });
        };
        let wanted = match takes {
            Takes::Number(least) => {
                (!value.parse::<i64>().is_ok_and(|n| n >= *least)).then(|| format!("a whole number of at least {least}"))
            }
            Takes::Ratio => {
                (!value.parse::<f64>().is_ok_and(|n| (0.0..=1.0).contains(&n))).then(|| "a number from 0 to 1".to_owned())
            }
            Takes::Flag => (!matches!(value.as_str(), "true" | "false")).then(|| "true or false".to_owned()),
            Takes::Choice(known) => (!known.contains(&value.as_str())).then(|| format!("one of {}", known.join(", "))),
            Takes::Several(known) => (!value.split(',').all(|one| known.contains(&one.trim())))
                .then(|| format!("one or more of {}, with commas between", known.join(", "))),
            Takes::Text => None,
        };
        if let Some(wanted) = wanted {
            return Err(
                Error::user(format!("topic setting \"{name}\" cannot be '{value}'")).hint(format!("Give it {wanted}."))
            );
        }
    }
    Ok(())
}

/// All settings: those given, and Kafka's defaults for the others.
pub(super) fn complete(given: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = SETTINGS.iter().map(|s| (s.0.to_owned(), s.1.to_owned())).collect();
    all.extend(given.iter().map(|(name, value)| (name.clone(), value.clone())));
    all
}

/// The settings that have an effect here. Times in milliseconds, sizes in bytes, -1 = no limit.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Policy {
    /// Whether old records go, by time or size.
    pub delete: bool,
    /// Whether only the newest record of a key stays.
    pub compact: bool,
    pub retention_ms: i64,
    pub retention_bytes: i64,
    /// How old a tombstone must be to go.
    pub delete_retention_ms: i64,
    /// How old a record must be to be compacted away.
    pub compaction_lag_ms: i64,
    /// The part of the bytes that must be new before a pass of compaction pays.
    pub dirty_ratio: f64,
    pub max_message_bytes: usize,
    /// Whether the broker stamps the records.
    pub append_time: bool,
}

impl Policy {
    /// From a topic's settings, of which missing ones have Kafka's defaults.
    pub(super) fn of(given: &BTreeMap<String, String>) -> Self {
        let all = complete(given);
        let text = |name: &str| all.get(name).map(String::as_str).unwrap_or_default();
        let number = |name: &str| text(name).parse::<i64>().unwrap_or(-1);
        Self {
            delete: text("cleanup.policy").contains("delete"),
            compact: text("cleanup.policy").contains("compact"),
            retention_ms: number("retention.ms"),
            retention_bytes: number("retention.bytes"),
            delete_retention_ms: number("delete.retention.ms"),
            compaction_lag_ms: number("min.compaction.lag.ms"),
            dirty_ratio: text("min.cleanable.dirty.ratio").parse().unwrap_or(0.5),
            max_message_bytes: usize::try_from(number("max.message.bytes")).unwrap_or(0),
            append_time: text("message.timestamp.type") == "LogAppendTime",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn defaults_pass_their_own_check() {
        assert!(check(&complete(&BTreeMap::new())).is_ok());
    }

    #[test]
    fn unknown_and_impossible_settings_are_refused() {
        let error = check(&one("retention.msec", "1")).unwrap_err();
        assert_eq!(error.message(), "unknown topic setting \"retention.msec\"");
        assert_eq!(error.get_hint(), Some("Did you mean \"retention.ms\"?"));
        let error = check(&one("retention.ms", "-2")).unwrap_err();
        assert_eq!(error.get_hint(), Some("Give it a whole number of at least -1."));
        assert!(check(&one("retention.ms", "soon")).is_err());
        assert!(check(&one("cleanup.policy", "compact,delete")).is_ok());
        assert!(check(&one("cleanup.policy", "shred")).is_err());
        assert!(check(&one("min.cleanable.dirty.ratio", "1.5")).is_err());
    }

    #[test]
    fn names_are_kafkas() {
        for bad in ["", ".", "..", "a b", "ü", &"x".repeat(250)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        for good in ["a", "a.b_c-9", &"x".repeat(249)] {
            assert!(check_name(good).is_ok(), "{good}");
        }
    }
}
