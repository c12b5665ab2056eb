//! How a query names a model: `'fraud'` (the newest version that loaded) or `'fraud:7'` (version 7, always).

use std::fmt;
use std::str::FromStr;

use super::ModelError;

/// A model as a query names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelRef {
    /// The model's name, `[A-Za-z0-9_.-]+`; case matters.
    pub name: String,
    /// The version, if the query insists on one.
    pub version: Option<u64>,
}

impl ModelRef {
    /// Reads `fraud` or `fraud:7`.
    ///
    /// # Errors
    /// `BadName` for anything else.
    pub fn parse(text: &str) -> Result<Self, ModelError> {
        let bad = || ModelError::BadName { name: text.to_owned() };
        let (name, version) = match text.split_once(':') {
            None => (text, None),
            // `u64::from_str` alone would take "+7".
            Some((name, digits)) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                (name, Some(digits.parse().map_err(|_| bad())?))
            }
            Some(_) => return Err(bad()),
        };
        if is_name(name) { Ok(Self { name: name.to_owned(), version }) } else { Err(bad()) }
    }
}

impl FromStr for ModelRef {
    type Err = ModelError;
    fn from_str(text: &str) -> Result<Self, ModelError> {
        Self::parse(text)
    }
}

impl fmt::Display for ModelRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            None => f.write_str(&self.name),
            Some(version) => write!(f, "{}:{version}", self.name),
        }
    }
}

/// Whether `name` may be a model's: `[A-Za-z0-9_.-]+`.
#[must_use]
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_a_name_and_perhaps_a_version() {
        let parse = |text: &str| ModelRef::parse(text).map(|r| (r.name.clone(), r.version, r.to_string())).ok();
        assert_eq!(parse("fraud"), Some(("fraud".into(), None, "fraud".into())));
        assert_eq!(parse("a_B-1.x:007"), Some(("a_B-1.x".into(), Some(7), "a_B-1.x:7".into())));
        for bad in
            ["", ":", "fraud:", ":7", "fraud:x", "fraud:+7", "fraud:1:2", "fr aud", "früh", "fraud:99999999999999999999"]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(ModelRef::parse("fr aud").unwrap_err().to_string(), "\"fr aud\" is not a model's name");
    }
}
