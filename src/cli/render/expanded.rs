//! Rows one column per line, for those that are wider than the screen.
//!
//! ```text
//! -[ RECORD 1 ]-----------
//! name        | fraud
//! description | trained on
//!             | October
//! ```

use std::fmt::Write;

/// How a table is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layout {
    /// One row per line.
    #[default]
    Aligned,
    /// One column per line.
    Expanded,
    /// One row per line, unless the first rows are wider than so many characters.
    Fitting(usize),
}

/// Adds record number `number` to `text`. A value may have several lines; `widest` is the screen's width.
pub fn record(text: &mut String, number: u64, names: &[String], values: &[String], widest: usize) {
    let width = |text: &str| text.chars().count();
    let names_width = names.iter().map(|name| width(name)).max().unwrap_or(0);
    let values_width = values.iter().flat_map(|value| value.lines()).map(width).max().unwrap_or(0);
    let mut head = format!("-[ RECORD {number} ]-");
    let total = (names_width + 3 + values_width).min(widest).max(width(&head));
    head.push_str(&"-".repeat(total - width(&head)));
    text.push_str(&head);
    text.push('\n');
    for (name, value) in names.iter().zip(values) {
        let mut lines = value.lines();
        let first = lines.next().unwrap_or_default();
        let blanks = " ".repeat(names_width - width(name));
        // A `String` takes all that is written to it.
        let _ = writeln!(text, "{}", format!("{name}{blanks} | {first}").trim_end());
        for line in lines {
            let _ = writeln!(text, "{}", format!("{} | {line}", " ".repeat(names_width)).trim_end());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_one_column_per_line() {
        let mut text = String::new();
        let names = ["id".to_owned(), "note".to_owned()];
        record(&mut text, 7, &names, &["1".to_owned(), "größer\nals".to_owned()], 80);
        record(&mut text, 8, &names, &["x".repeat(90), String::new()], 30);
        assert_eq!(
            text,
            format!(
                "-[ RECORD 7 ]-\nid   | 1\nnote | größer\n     | als\n-[ RECORD 8 ]-{}\nid   | {}\nnote |\n",
                "-".repeat(16),
                "x".repeat(90)
            )
        );
    }
}
