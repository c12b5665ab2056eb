//! Names and texts as they must be typed.   `order` ─► `"order"`,   `it's` ─► `'it''s'`

use sqlparser::keywords::{
    ALL_KEYWORDS, ALL_KEYWORDS_INDEX, RESERVED_FOR_COLUMN_ALIAS, RESERVED_FOR_IDENTIFIER, RESERVED_FOR_TABLE_ALIAS,
};

/// Words that begin something else where a column could stand.
const RESERVED_HERE: &[&str] = &["WATERMARK", "PRIMARY", "CONSTRAINT", "EMIT"];

/// `name` as it must be typed to be taken exactly: in double quotes if it is not a plain word, or a word with a meaning.
#[must_use]
pub fn quote_name(name: &str) -> String {
    let mut chars = name.chars();
    let plain = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_');
    if plain && !is_reserved(name) { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// Whether `word` has a meaning of its own where a name could stand.
#[must_use]
pub fn is_reserved(word: &str) -> bool {
    let upper = word.to_ascii_uppercase();
    let keyword = ALL_KEYWORDS.binary_search(&upper.as_str()).ok().and_then(|at| ALL_KEYWORDS_INDEX.get(at));
    RESERVED_HERE.contains(&upper.as_str())
        || keyword.is_some_and(|k| {
            RESERVED_FOR_COLUMN_ALIAS.contains(k)
                || RESERVED_FOR_IDENTIFIER.contains(k)
                || RESERVED_FOR_TABLE_ALIAS.contains(k)
        })
}

/// `text` as a string in SQL.
#[must_use]
pub fn quote_text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_where_they_must_be() {
        for (name, typed) in [
            ("userId", "userId"),
            ("a b", "\"a b\""),
            ("order", "\"order\""),
            ("say \"x\"", "\"say \"\"x\"\"\""),
            ("9a", "\"9a\""),
            ("watermark", "\"watermark\""),
            ("timestamp", "timestamp"),
            ("key", "key"),
            ("", "\"\""),
            ("größe", "\"größe\""),
        ] {
            assert_eq!(quote_name(name), typed);
        }
    }
}
