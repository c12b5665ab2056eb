//! What `SET` sets: the settings of a session, typed.   `SET name = value` ─► [`Settings::set`] ─► fields
//!
//! A setting holds for what is started after it; `job.name` for the next job only. Sizes are bytes.
//! To add a setting: a line in [`SETTINGS`], a field with its default, an arm in [`Settings::set`].

use crate::config::{OptionSpec, Options, parse_bytes};
use crate::connector::Delivery;
use crate::error::{Error, Result, did_you_mean};

/// All settings.
pub const SETTINGS: &[OptionSpec] = &[
    spec("job.name", "text", "", "The name of the next job; by default <file>.<target>, in shell and sql <target>."),
    spec("delivery", "exactly_once, at_least_once", "exactly_once", "What is promised of a job's outputs."),
    spec(
        "memory.budget",
        "a size",
        "64MB",
        "What records read ahead, epochs in flight and outputs of a job may hold together.",
    ),
    spec("epoch.max_rows", "a number", "16384", "How many rows an epoch takes at most, over all lanes."),
    spec("models.topic", "a topic's name", "models", "The topic that models are published on."),
    spec(
        "score.missing",
        "wait, null, error",
        "",
        "What a model without a version means; by default a job waits, EMIT CHANGES gives NULL, SELECT fails.",
    ),
    spec("score.on_error", "dead_letter, null, fail", "dead_letter", "What becomes of a row that its model cannot score."),
    spec("udf.on_error", "dead_letter, null, fail", "dead_letter", "What becomes of a row that a CREATE FUNCTION fails on."),
    spec("udf.group_rows", "a number", "1000000", "How many rows of a group an aggregate of CREATE FUNCTION may keep."),
];

const fn spec(name: &'static str, values: &'static str, default: &'static str, doc: &'static str) -> OptionSpec {
    OptionSpec { name, values, default, doc }
}

/// What a model without a version means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Nothing is consumed until there is one.
    Wait,
    /// The score is NULL.
    Null,
    /// The statement fails.
    Error,
}

/// What becomes of a row that its model cannot score, or a function of the user's own fails on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// Its record goes to the dead-letter topic.
    #[default]
    DeadLetter,
    /// Its score is NULL.
    Null,
    /// The statement fails.
    Fail,
}

/// The settings of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The name of the next job, if it was set; whoever starts the job takes it away.
    pub job_name: Option<String>,
    /// What is promised of a job's outputs.
    pub delivery: Delivery,
    /// What a job may hold in memory, in bytes.
    pub memory_budget: usize,
    /// How many rows an epoch takes at most.
    pub epoch_max_rows: usize,
    /// The topic that models are published on.
    pub models_topic: String,
    /// What a model without a version means; `None`: the contract's default for each kind of statement.
    pub score_missing: Option<Missing>,
    /// What becomes of a row that its model cannot score.
    pub score_on_error: OnError,
    /// What becomes of a row that a function of the user's own fails on.
    pub udf_on_error: OnError,
    /// How many rows of a group an aggregate of the user's own may keep.
    pub udf_group_rows: usize,
    /// The values that were set, as text.
    given: Options,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            job_name: None,
            delivery: Delivery::ExactlyOnce,
            memory_budget: 64 << 20,
            epoch_max_rows: 16384,
            models_topic: "models".to_owned(),
            score_missing: None,
            score_on_error: OnError::DeadLetter,
            udf_on_error: OnError::DeadLetter,
            udf_group_rows: 1_000_000,
            given: Options::default(),
        }
    }
}

impl Settings {
    /// The setting called `name`, in any case.
    ///
    /// # Errors
    /// `User`, with the nearest name.
    pub fn find(name: &str) -> Result<&'static OptionSpec> {
        SETTINGS.iter().find(|s| s.name.eq_ignore_ascii_case(name)).ok_or_else(|| {
            let error = Error::user(format!("unknown setting \"{name}\""));
            match did_you_mean(name, "settings", SETTINGS.iter().map(|s| s.name)) {
                Some(hint) => error.hint(hint),
                None => error,
            }
        })
    }
    /// Sets `name` to what `value` says.
    ///
    /// # Errors
    /// `User` for an unknown name or a value that it cannot have; then nothing is changed.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let spec = Self::find(name)?;
        let wrong = || {
            let error = Error::user(format!("setting \"{}\" cannot be '{value}'", spec.name));
            error.hint(format!("Its values: {}.", spec.values))
        };
        // Empty text is the default of a setting that has none.
        if value.is_empty() && spec.default.is_empty() {
            return self.reset(name);
        }
        match spec.name {
            "job.name" => self.job_name = Some(value.to_owned()),
            "delivery" => {
                self.delivery = match value.to_ascii_lowercase().as_str() {
                    "exactly_once" => Delivery::ExactlyOnce,
                    "at_least_once" => Delivery::AtLeastOnce,
                    _ => return Err(wrong()),
                }
            }
            "memory.budget" => {
                let bytes = parse_bytes(value).ok().and_then(|b| usize::try_from(b).ok()).ok_or_else(wrong)?;
                if bytes < MIN_BUDGET {
                    return Err(wrong().hint("Give it at least 1MB."));
                }
                self.memory_budget = bytes;
            }
            "epoch.max_rows" => {
                let rows = value.replace('_', "").parse::<usize>().ok().filter(|rows| *rows > 0);
                self.epoch_max_rows = rows.ok_or_else(wrong)?;
            }
            "models.topic" => {
                super::options::check_topic(value)?;
                value.clone_into(&mut self.models_topic);
            }
            "score.missing" => {
                self.score_missing = Some(match value.to_ascii_lowercase().as_str() {
                    "wait" => Missing::Wait,
                    "null" => Missing::Null,
                    "error" => Missing::Error,
                    _ => return Err(wrong()),
                });
            }
            "score.on_error" => self.score_on_error = on_error(value).ok_or_else(wrong)?,
            "udf.on_error" => self.udf_on_error = on_error(value).ok_or_else(wrong)?,
            "udf.group_rows" => {
                let rows = value.replace('_', "").parse::<usize>().ok().filter(|rows| *rows > 0);
                self.udf_group_rows = rows.ok_or_else(wrong)?;
            }
            other => return Err(Error::internal(format!("setting \"{other}\" is listed and not known"))),
        }
        self.given.set(spec.name, value);
        Ok(())
    }
    /// Gives `name` its default again.
    ///
    /// # Errors
    /// `User` for an unknown name.
    pub fn reset(&mut self, name: &str) -> Result<()> {
        let spec = Self::find(name)?;
        let mut fresh = Self::default();
        for (other, value) in self.given.iter().filter(|(other, _)| *other != spec.name) {
            fresh.set(other, value)?;
        }
        *self = fresh;
        Ok(())
    }
    /// The name for the next job, which holds for that one only.
    pub fn take_job_name(&mut self) -> Option<String> {
        let name = self.job_name.clone();
        // `job.name` is a known setting, so this cannot fail.
        let _ = self.reset("job.name");
        name
    }
    /// The value of `name` as text, its default if it was not set.
    ///
    /// # Errors
    /// `User` for an unknown name.
    pub fn get(&self, name: &str) -> Result<&str> {
        let spec = Self::find(name)?;
        Ok(self.given.or(spec.name, spec.default))
    }
    /// Every setting with its value as text, in the order of [`SETTINGS`].
    pub fn all(&self) -> impl Iterator<Item = (&'static OptionSpec, &str)> {
        SETTINGS.iter().map(|spec| (spec, self.given.or(spec.name, spec.default)))
    }
}

fn on_error(value: &str) -> Option<OnError> {
    match value.to_ascii_lowercase().as_str() {
        "dead_letter" => Some(OnError::DeadLetter),
        "null" => Some(OnError::Null),
        "fail" => Some(OnError::Fail),
        _ => None,
    }
}

/// Less than this holds no batch of records.
const MIN_BUDGET: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_takes_its_default() {
        let mut settings = Settings::default();
        for spec in SETTINGS {
            settings.set(spec.name, spec.default).unwrap();
            assert_eq!(settings.get(spec.name).unwrap(), spec.default);
        }
        settings.given = Options::default();
        assert_eq!(settings, Settings::default());
    }

    #[test]
    fn settings_are_typed() {
        let mut settings = Settings::default();
        for (name, value) in [
            ("job.name", "a.b"),
            ("DELIVERY", "AT_LEAST_ONCE"),
            ("memory.budget", "128MB"),
            ("epoch.max_rows", "1_000"),
            ("models.topic", "m"),
            ("score.missing", "null"),
            ("score.on_error", "fail"),
        ] {
            settings.set(name, value).unwrap();
        }
        assert_eq!((settings.delivery, settings.memory_budget), (Delivery::AtLeastOnce, 128 << 20));
        assert_eq!(settings.epoch_max_rows, 1000);
        assert_eq!((settings.score_missing, settings.score_on_error), (Some(Missing::Null), OnError::Fail));
        assert_eq!(settings.take_job_name().as_deref(), Some("a.b"));
        assert_eq!((settings.job_name.clone(), settings.get("job.name").unwrap()), (None, ""));
        assert_eq!(settings.models_topic, "m");
        settings.reset("models.topic").unwrap();
        assert_eq!((settings.models_topic.as_str(), settings.get("models.topic").unwrap()), ("models", "models"));
        assert_eq!(settings.get("delivery").unwrap(), "AT_LEAST_ONCE");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let mut settings = Settings::default();
        for (name, value, message, hint) in [
            ("memory.buget", "1", "unknown setting \"memory.buget\"", "Did you mean \"memory.budget\"?"),
            ("delivery", "maybe", "setting \"delivery\" cannot be 'maybe'", "Its values: exactly_once, at_least_once."),
            ("memory.budget", "12 apples", "setting \"memory.budget\" cannot be '12 apples'", "Its values: a size."),
            ("memory.budget", "1kB", "setting \"memory.budget\" cannot be '1kB'", "Give it at least 1MB."),
            ("epoch.max_rows", "0", "setting \"epoch.max_rows\" cannot be '0'", "Its values: a number."),
        ] {
            let error = settings.set(name, value).unwrap_err();
            assert_eq!((error.message(), error.get_hint()), (message, Some(hint)));
        }
        assert_eq!(settings, Settings::default());
    }
}
