//! How rows are laid out on a screen: aligned, or one column per line for those that are wider than it.
//!
//! ```text
//! -[ RECORD 1 ]-----------
//! name        | fraud
//! description | trained on
//!             | October
//! ```

use std::fmt::Write as _;
use std::io::Write;

use arrow::datatypes::{DataType, FieldRef};
use arrow::record_batch::RecordBatch;

use super::{Column, NULL, Printer, columns, one_line, tame};
use crate::cli::output::Output;
use crate::cli::ui;
use crate::error::Result;

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
    /// The last column's values as they are, without names, lines and number of rows.
    Text,
}

impl Printer {
    /// The same with tables laid out as `layout` says.
    #[must_use]
    pub fn laid_out(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// The same for rows that are followed on a screen `screen` characters wide: the first ones do not say how wide the columns
    /// will be, so these get room from the begin, as far as there is any.
    #[must_use]
    pub fn with_room(mut self, screen: usize) -> Self {
        let wish = |field: &FieldRef| match field.data_type() {
            DataType::Boolean => 5,
            DataType::Utf8 => 12,
            DataType::Timestamp(..) => 23,
            other if other.is_integer() => 8,
            other if other.is_numeric() => 10,
            _ => 0,
        };
        let name = |field: &FieldRef| u16::try_from(field.name().chars().count()).unwrap_or(u16::MAX);
        let widths: Vec<u16> =
            self.schema.fields().iter().map(|field| wish(field).max(name(field)).saturating_add(2)).collect();
        if widths.iter().map(|width| usize::from(*width) + 1).sum::<usize>() <= screen {
            self.widths = widths;
        }
        self
    }

    /// Whether rows as wide as `needed` are too wide for the screen; decided once.
    pub(super) fn does_not_fit(&mut self, needed: &[u16]) -> bool {
        if let Layout::Fitting(screen) = self.layout {
            // A blank on each side of a value, a line between two, and none behind the last.
            let width: usize = needed.iter().map(|needed| usize::from(*needed) + 3).sum();
            self.layout = if width.saturating_sub(2) > screen { Layout::Expanded } else { Layout::Aligned };
        }
        self.layout == Layout::Expanded
    }

    /// The last column as it is.
    pub(super) fn text<W: Write>(&self, batches: &[RecordBatch], out: &mut Output<W>) -> Result<()> {
        for batch in batches {
            let columns = columns(batch)?;
            let Some(last) = columns.last() else { continue };
            for row in 0..batch.num_rows() {
                out.line(last.text(row)?.map(|text| tame(&text)).unwrap_or_default().trim_end_matches('\n'))?;
            }
        }
        Ok(())
    }

    /// One column per line.
    pub(super) fn expanded<W: Write>(&mut self, batches: &[RecordBatch], out: &mut Output<W>) -> Result<()> {
        self.begun = true;
        let names: Vec<String> = self.schema.fields().iter().map(|f| one_line(f.name())).collect();
        let screen = ui::width();
        for batch in batches {
            let columns = columns(batch)?;
            for row in 0..batch.num_rows() {
                let value = |column: &Column<'_>| Ok(column.text(row)?.map_or_else(|| NULL.to_owned(), |text| tame(&text)));
                let values = columns.iter().map(value).collect::<Result<Vec<_>>>()?;
                self.numbered += 1;
                let mut text = String::new();
                record(&mut text, self.numbered, &names, &values, screen);
                out.write(text.as_bytes())?;
            }
        }
        Ok(())
    }
}

/// Adds record number `number` to `text`. A value may have several lines; `widest` is the screen's width.
fn record(text: &mut String, number: u64, names: &[String], values: &[String], widest: usize) {
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
    use super::super::tests::batch;
    use super::*;
    use crate::cli::args::OutputFormat;

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

    #[test]
    fn what_is_too_wide_is_printed_one_column_per_line() {
        let printed = |layout| {
            let (mut text, rows) = (Vec::new(), batch(&[1, 20], &[Some("ab"), None]));
            let mut out = Output::over(&mut text);
            let mut printer = Printer::new(OutputFormat::Table, &rows.schema()).unwrap().laid_out(layout);
            printer.write(&[rows], &mut out).unwrap();
            printer.finish(&mut out).unwrap();
            out.flush().unwrap();
            drop(out);
            String::from_utf8(text).unwrap()
        };
        // " id | name | half |   list   " without its last blank.
        assert_eq!(printed(Layout::Fitting(28)), printed(Layout::Aligned));
        assert_eq!(printed(Layout::Fitting(27)), printed(Layout::Expanded));
        assert_eq!(printed(Layout::Text), "[2,null]\n\n");
        assert_eq!(
            printed(Layout::Expanded),
            "-[ RECORD 1 ]--\nid   | 1\nname | ab\nhalf | 1.0\nlist | [2,null]\n\
             -[ RECORD 2 ]-\nid   | 20\nname | NULL\nhalf | NULL\nlist | NULL\n(2 rows)\n"
        );
    }

    #[test]
    fn rows_that_are_followed_have_room_where_there_is_any() {
        let printed = |screen| {
            let (mut text, mut all) = (Vec::new(), String::new());
            let mut printer = Printer::new(OutputFormat::Table, &batch(&[], &[]).schema()).unwrap().with_room(screen);
            for rows in [batch(&[1], &[Some("a")]), batch(&[12345], &[Some("longer")])] {
                let mut out = Output::over(&mut text);
                printer.write(&[rows], &mut out).unwrap();
                out.flush().unwrap();
                drop(out);
                all.push_str(std::str::from_utf8(&text).unwrap());
                text.clear();
            }
            all.lines().filter(|line| !line.contains('+')).map(|line| line.find('|').unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(printed(80), [10, 10, 10]);
        assert_eq!(printed(20), [4, 4, 7]);
    }
}
