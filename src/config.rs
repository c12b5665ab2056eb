//! Options and settings as data: what a name means, its default, and how a value is read.
//!
//! Every option of a table (`WITH (...)`) and every setting (`SET ...`) is an [`OptionSpec`] in a slice. The parser, SHOW, the
//! docs, the shell's completion and the did-you-mean errors all read the same slices.

use std::collections::BTreeMap;

use crate::error::{Error, Result, did_you_mean, nearest};

/// One option or setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptionSpec {
    /// Its name: `csv.delimiter`. A name that ends in `.*` stands for a family: `kafka.*`.
    pub name: &'static str,
    /// The values it takes, for people: `json, csv, raw`, `a number of bytes`.
    pub values: &'static str,
    /// Its default, as it would be typed; empty where there is none.
    pub default: &'static str,
    /// What it does, in one sentence.
    pub doc: &'static str,
}

impl OptionSpec {
    fn matches(&self, name: &str) -> bool {
        self.name.strip_suffix('*').map_or(self.name == name, |family| name.starts_with(family))
    }
}

/// Whether the value of this option or property must not be shown: passwords and keys, as librdkafka calls them.
#[must_use]
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let Some((_, last)) = name.rsplit_once('.') else { return false };
    last.contains("password")
        || last.contains("secret")
        || ["ssl.key.pem", "private.key.pem", "private.key.passphrase", "oauthbearer.config"]
            .iter()
            .any(|end| name.ends_with(end))
}

/// Options as given, by name; order does not matter, the last of a name wins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options(BTreeMap<String, String>);

impl Options {
    /// The value of `name` as given.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
    /// The value of `name`, or `default`.
    #[must_use]
    pub fn or<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        self.get(name).unwrap_or(default)
    }
    /// Sets `name`.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }
    /// All options, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }
    /// A whole number.
    ///
    /// # Errors
    /// `User` if the value is not a whole number of at least `min`.
    pub fn number(&self, name: &str, min: u64) -> Result<Option<u64>> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match text.replace('_', "").parse::<u64>() {
            Ok(n) if n >= min => Ok(Some(n)),
            _ => Err(Error::user(format!("option \"{name}\" = '{text}' is not a whole number of at least {min}"))
                .hint(format!("Write a whole number: {name} = {}.", min.max(8)))),
        }
    }
    /// `true` or `false`.
    ///
    /// # Errors
    /// `User` for any other value.
    pub fn boolean(&self, name: &str, default: bool) -> Result<bool> {
        match self.get(name) {
            None => Ok(default),
            Some(text) => match text.to_ascii_lowercase().as_str() {
                "true" => Ok(true),
                "false" => Ok(false),
                _ => Err(Error::user(format!("option \"{name}\" = '{text}' is neither true nor false"))
                    .hint(format!("Write {name} = true or {name} = false."))),
            },
        }
    }
    /// One of `choices`, of which the first is the default.
    ///
    /// # Errors
    /// `User` for any other value, with the choices.
    pub fn choice(&self, name: &str, choices: &[&'static str]) -> Result<&'static str> {
        let text = self.or(name, choices.first().copied().unwrap_or_default());
        choices.iter().find(|c| c.eq_ignore_ascii_case(text)).copied().ok_or_else(|| {
            let error = Error::user(format!("option \"{name}\" cannot be '{text}'"));
            let near = nearest(text, choices.iter().copied()).map(|near| format!("Did you mean '{near}'? "));
            error.hint(format!("{}It is one of: {}.", near.unwrap_or_default(), choices.join(", ")))
        })
    }
    /// Checks that every name is in one of `known`.
    ///
    /// # Errors
    /// `User` for the first unknown name, with the nearest known one.
    pub fn check(&self, known: &[&[OptionSpec]]) -> Result<()> {
        for name in self.0.keys() {
            if known.iter().any(|specs| specs.iter().any(|spec| spec.matches(name))) {
                continue;
            }
            let error = Error::user(format!("unknown option \"{name}\""));
            let names = known.iter().flat_map(|specs| specs.iter().map(|s| s.name));
            return Err(match did_you_mean(name, "options", names) {
                Some(hint) => error.hint(hint),
                None => error,
            });
        }
        Ok(())
    }
}

impl FromIterator<(String, String)> for Options {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(iter: I) -> Self {
        Self(iter.into_iter().collect())
    }
}

/// Bytes from text like `64MB`, `512 kB`, `1GiB`, `65536`; units are powers of 1024, as in PostgreSQL's settings.
///
/// # Errors
/// `User` for anything else.
pub fn parse_bytes(text: &str) -> Result<u64> {
    let trimmed = text.trim();
    let split = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
    let (digits, unit) = trimmed.split_at(split);
    let factor: u64 = match unit.trim().to_ascii_lowercase().trim_end_matches("ib").trim_end_matches('b') {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        _ => 0,
    };
    match digits.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)) {
        Some(bytes) if factor > 0 => Ok(bytes),
        _ => Err(Error::user(format!("'{text}' is not a size")).hint("Write a number and a unit, as in '64MB'.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_postgres_reads_them() {
        assert_eq!(parse_bytes("64MB").ok(), Some(64 << 20));
        assert_eq!(parse_bytes("1 GiB").ok(), Some(1 << 30));
        assert_eq!(parse_bytes("123").ok(), Some(123));
        assert!(parse_bytes("64 apples").is_err());
    }

    #[test]
    fn an_unknown_option_names_the_nearest() {
        const KNOWN: &[OptionSpec] = &[OptionSpec { name: "format", values: "", default: "json", doc: "" }];
        let options: Options = [("fromat".to_owned(), "json".to_owned())].into_iter().collect();
        let error = options.check(&[KNOWN]).unwrap_err();
        assert_eq!((error.message(), error.get_hint()), ("unknown option \"fromat\"", Some("Did you mean \"format\"?")));
    }
}
