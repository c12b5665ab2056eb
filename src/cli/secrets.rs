//! Passwords in statements, kept from the screen.   text ─► the values of secret options ─► stars in what is shown of it
//!
//! An error shows the lines it is about, and these may hold `'kafka.sasl.password' = '...'`, or what was meant to be that: the text
//! need not be right, or there would be no error. So values are found by what stands before them, not by parsing.

use std::ops::Range;

use crate::config::is_secret;

/// Where the values of secret options stand in `text`, without their quotes.
fn values(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let mut at = 0;
    while let Some(from) = text.get(at..).and_then(|rest| rest.find(word)).map(|start| at + start) {
        let rest = text.get(from..).unwrap_or_default();
        let end = from + rest.find(|c| !word(c)).unwrap_or(rest.len());
        at = end;
        if !text.get(from..end).is_some_and(is_secret) {
            continue;
        }
        // The name's own quote, and whatever else was put between it and its value.
        let behind = text.get(end..).unwrap_or_default();
        let behind = behind.strip_prefix(['\'', '"']).unwrap_or(behind);
        let value = behind.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '=' | ',' | ':'));
        let Some(inside) = value.strip_prefix(['\'', '"']) else { continue };
        let quote = if value.starts_with('\'') { '\'' } else { '"' };
        let start = text.len() - inside.len();
        // A doubled quote stands for one; a value that nobody closed goes on to the end.
        let mut length = 0;
        while let Some(close) = inside.get(length..).and_then(|rest| rest.find(quote)) {
            length += close;
            if !inside.get(length + 1..).is_some_and(|rest| rest.starts_with(quote)) {
                break;
            }
            length += 2;
        }
        let closed = inside.get(length..).is_some_and(|rest| rest.starts_with(quote));
        at = if closed { start + length } else { text.len() };
        found.push(start..at);
    }
    found
}

/// `text` with stars in place of secret values, byte for byte, so that places in it stay where they are.
#[must_use]
pub fn starred(text: &str) -> String {
    let mut shown = text.to_owned();
    for value in values(text) {
        let stars = "*".repeat(value.len());
        shown.replace_range(value, &stars);
    }
    shown
}

/// What is said about `text`, without the secret values that stand in it.
#[must_use]
pub fn without(said: &str, text: &str) -> String {
    /// Shorter ones would take letters out of other words.
    const SHORTEST: usize = 3;
    let mut said = said.to_owned();
    for value in values(text) {
        if let Some(value) = text.get(value).filter(|value| value.len() >= SHORTEST) {
            said = said.replace(value, "***");
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_secrets_are_starred_and_nothing_else() {
        for (text, shown) in [
            ("WITH (kafka.sasl.password = 'top', topic = 't')", "WITH (kafka.sasl.password = '***', topic = 't')"),
            ("'kafka.ssl.key.password'='it''s' , x", "'kafka.ssl.key.password'='*****' , x"),
            ("kafka.sasl.password 'top'", "kafka.sasl.password '***'"),
            ("kafka.sasl.password = 'not closed\nat all", "kafka.sasl.password = '*****************"),
            ("kafka.sasl.password = \"ü\"", "kafka.sasl.password = \"**\""),
            ("SELECT password FROM t WHERE a = 'b'", "SELECT password FROM t WHERE a = 'b'"),
            ("kafka.sasl.password", "kafka.sasl.password"),
            ("", ""),
        ] {
            assert_eq!(starred(text), shown);
            assert_eq!(starred(text).len(), text.len());
        }
        let text = "kafka.sasl.password 'open sesame'";
        assert_eq!(without("expected =, found 'open sesame'", text), "expected =, found '***'");
    }
}
