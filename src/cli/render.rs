//! Rows as text.   batches ─► [`Printer`] ─► stdout
//!
//! CSV and JSON leave with each batch. A table first gathers some thousand rows, so that its columns are wide enough, and
//! prints larger results in pieces whose columns never get narrower; rows that are followed are printed as they come.
//! What is too wide for the screen can be printed one column per line instead ([`Layout`]).
//! To add a format: add a variant to [`OutputFormat`] and an arm to `Printer::write` and `Printer::finish`.

mod layout;

use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, BinaryArray};
use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow::util::display::ArrayFormatter;
use comfy_table::{Cell, CellAlignment, ColumnConstraint, Table, Width};
use futures::StreamExt;

use super::args::OutputFormat;
use super::output::Output;
use super::ui::Ui;
use crate::config::Options;
use crate::engine::Rows;
use crate::error::{Error, Result};
use crate::format::plain::{FORMAT, plain_batch, plain_schema};
use crate::format::{Encoder, format};

pub use layout::Layout;

/// So many rows decide how wide the columns of a table are at first.
pub const TABLE_ROWS: usize = 4_096;
/// psql's look: lines under the header and between the columns, none around.
const STYLE: &str = "     -+ |          ";
/// What NULL looks like in a table.
const NULL: &str = "NULL";

/// Prints all of `rows`, tables in this `layout`; gives their number.
///
/// # Errors
/// Those of the query, and of stdout.
pub async fn print(mut rows: Rows, format: OutputFormat, layout: Layout, out: &mut Output, ui: &Ui) -> Result<u64> {
    let mut printer = Printer::new(format, &rows.schema)?.laid_out(layout);
    let gather = if format == OutputFormat::Table && !rows.follows { TABLE_ROWS } else { 1 };
    let (mut waiting, mut gathered) = (Vec::new(), 0);
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        gathered += batch.num_rows();
        waiting.push(batch);
        if gathered >= gather {
            ui.make_room();
            printer.write(&waiting, out)?;
            out.flush()?;
            waiting.clear();
            gathered = 0;
        }
    }
    ui.make_room();
    printer.write(&waiting, out)?;
    printer.finish(out)?;
    out.flush()?;
    Ok(printer.rows)
}

/// Writes batches of one schema in one format.
#[derive(Debug)]
pub struct Printer {
    format: OutputFormat,
    /// As printed: views, dictionaries and types without a JSON form have become plain ones.
    schema: SchemaRef,
    json: Option<Box<dyn Encoder>>,
    /// Of a table's columns, in characters, with their padding.
    widths: Vec<u16>,
    layout: Layout,
    /// How many records have been numbered in the expanded layout.
    numbered: u64,
    begun: bool,
    rows: u64,
}

impl Printer {
    /// A printer of batches of `schema`.
    ///
    /// # Errors
    /// `User` if JSON cannot carry one of the types.
    pub fn new(format: OutputFormat, schema: &Schema) -> Result<Self> {
        let schema = plain_schema(schema);
        let json = match format {
            OutputFormat::Json => Some(json_encoder(Arc::clone(&schema))?),
            OutputFormat::Table | OutputFormat::Csv => None,
        };
        let widths = vec![0; schema.fields().len()];
        let layout = Layout::default();
        Ok(Self { format, schema, json, widths, layout, numbered: 0, begun: false, rows: 0 })
    }

    /// Writes `batches`; nothing is buffered here.
    ///
    /// # Errors
    /// `Data` if a value has no text; those of stdout.
    pub fn write<W: Write>(&mut self, batches: &[RecordBatch], out: &mut Output<W>) -> Result<()> {
        let mut plain = Vec::with_capacity(batches.len());
        for batch in batches.iter().filter(|b| b.num_rows() > 0) {
            plain.push(plain_batch(batch, &self.schema)?);
            self.rows += batch.num_rows() as u64;
        }
        if plain.is_empty() {
            return Ok(());
        }
        match self.format {
            OutputFormat::Table => self.table(&plain, out),
            OutputFormat::Csv => plain.iter().try_for_each(|batch| self.csv(batch, out)),
            OutputFormat::Json => plain.iter().try_for_each(|batch| self.json(batch, out)),
        }
    }

    /// Writes the header of an empty result and the footer.
    ///
    /// # Errors
    /// Those of stdout.
    pub fn finish<W: Write>(&mut self, out: &mut Output<W>) -> Result<()> {
        if (self.format, self.layout) == (OutputFormat::Table, Layout::Text) {
            return Ok(());
        }
        if !self.begun {
            match self.format {
                OutputFormat::Table if !self.schema.fields().is_empty() => self.table(&[], out)?,
                OutputFormat::Csv => self.csv_header(out)?,
                OutputFormat::Table | OutputFormat::Json => {}
            }
        }
        match (self.format, self.rows) {
            (OutputFormat::Table, 1) => out.line("(1 row)"),
            (OutputFormat::Table, rows) => out.line(&format!("({rows} rows)")),
            (OutputFormat::Csv | OutputFormat::Json, _) => Ok(()),
        }
    }

    fn table<W: Write>(&mut self, batches: &[RecordBatch], out: &mut Output<W>) -> Result<()> {
        match self.layout {
            Layout::Expanded if !batches.is_empty() => return self.expanded(batches, out),
            Layout::Text => return self.text(batches, out),
            _ => {}
        }
        let mut table = Table::new();
        table.load_preset(STYLE);
        let names = self.schema.fields().iter().map(|f| Cell::new(one_line(f.name())).set_alignment(CellAlignment::Center));
        table.set_header(names);
        for batch in batches {
            let columns = columns(batch)?;
            for row in 0..batch.num_rows() {
                let mut cells = Vec::with_capacity(columns.len());
                for column in &columns {
                    let text = column.text(row)?.map_or_else(|| NULL.to_owned(), |t| tame(t.trim_end_matches('\n')));
                    let side = if column.numeric { CellAlignment::Right } else { CellAlignment::Left };
                    cells.push(Cell::new(text).set_alignment(side));
                }
                table.add_row(cells);
            }
        }
        let needed = table.column_max_content_widths();
        if self.does_not_fit(&needed) && !batches.is_empty() {
            return self.expanded(batches, out);
        }
        for ((width, needed), column) in self.widths.iter_mut().zip(needed).zip(table.column_iter_mut()) {
            *width = (*width).max(needed.saturating_add(2));
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(*width)));
        }
        let head = if self.begun { 2 } else { 0 }; // the names and the line under them
        self.begun = true;
        table.lines().skip(head).try_for_each(|line| out.line(line.trim_end()))
    }

    fn csv<W: Write>(&mut self, batch: &RecordBatch, out: &mut Output<W>) -> Result<()> {
        if !self.begun {
            self.csv_header(out)?;
        }
        let columns = columns(batch)?;
        let mut line = String::new();
        for row in 0..batch.num_rows() {
            line.clear();
            for (i, column) in columns.iter().enumerate() {
                if i > 0 {
                    line.push(',');
                }
                if let Some(text) = column.text(row)? {
                    push_csv(&mut line, &text);
                }
            }
            out.line(&line)?;
        }
        Ok(())
    }

    fn csv_header<W: Write>(&mut self, out: &mut Output<W>) -> Result<()> {
        self.begun = true;
        let mut line = String::new();
        for (i, field) in self.schema.fields().iter().enumerate() {
            if i > 0 {
                line.push(',');
            }
            push_csv(&mut line, field.name());
        }
        out.line(&line)
    }

    fn json<W: Write>(&mut self, batch: &RecordBatch, out: &mut Output<W>) -> Result<()> {
        self.begun = true;
        let Some(encoder) = &mut self.json else { return Ok(()) };
        for value in encoder.encode(batch)?.iter().flatten() {
            out.write(value)?;
            out.write(b"\n")?;
        }
        Ok(())
    }
}

/// One column of a batch, as text.
struct Column<'a> {
    numeric: bool,
    cells: Cells<'a>,
}

enum Cells<'a> {
    Scalar(&'a dyn Array, ArrayFormatter<'a>),
    /// Nested values, as JSON objects with the value under an empty name.
    Nested(&'a dyn Array, BinaryArray),
    Bytes(&'a BinaryArray),
}

impl Column<'_> {
    /// The text of a value; `None` is NULL.
    fn text(&self, row: usize) -> Result<Option<String>> {
        match &self.cells {
            Cells::Scalar(array, _) | Cells::Nested(array, _) if array.is_null(row) => Ok(None),
            Cells::Scalar(_, formatter) => {
                let text = formatter.value(row).try_to_string();
                text.map(Some).map_err(|e| Error::data("a value cannot be shown").source(e))
            }
            Cells::Nested(_, objects) => {
                let object = String::from_utf8_lossy(objects.value(row));
                let value = object.strip_prefix("{\"\":").and_then(|rest| rest.strip_suffix('}'));
                Ok(Some(value.unwrap_or(&object).to_owned()))
            }
            Cells::Bytes(array) if array.is_null(row) => Ok(None),
            Cells::Bytes(array) => {
                Ok(Some(array.value(row).iter().fold(String::from("\\x"), |text, byte| text + &format!("{byte:02x}"))))
            }
        }
    }
}

fn columns(batch: &RecordBatch) -> Result<Vec<Column<'_>>> {
    let columns = batch.columns().iter().zip(batch.schema_ref().fields());
    columns
        .map(|(array, field)| Ok(Column { numeric: field.data_type().is_numeric(), cells: cells(array, field)? }))
        .collect()
}

fn cells<'a>(array: &'a dyn Array, field: &FieldRef) -> Result<Cells<'a>> {
    if field.data_type().is_nested() {
        let field = Field::new("", field.data_type().clone(), true);
        let schema = Arc::new(Schema::new(vec![field]));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![array.slice(0, array.len())]);
        let batch = batch.map_err(|e| Error::internal("a column does not fit its own type").source(e))?;
        return Ok(Cells::Nested(array, json_encoder(schema)?.encode(&batch)?));
    }
    if let Some(bytes) = array.as_any().downcast_ref::<BinaryArray>() {
        return Ok(Cells::Bytes(bytes));
    }
    let formatter =
        ArrayFormatter::try_new(array, &FORMAT).map_err(|e| Error::data("a column cannot be shown").source(e))?;
    Ok(Cells::Scalar(array, formatter))
}

fn json_encoder(schema: SchemaRef) -> Result<Box<dyn Encoder>> {
    format("json")?.encoder(schema, &Options::default())
}

fn push_csv(line: &mut String, text: &str) {
    // An empty text is quoted, since an empty field is NULL.
    if text.is_empty() || text.contains([',', '"', '\n', '\r']) {
        line.push('"');
        line.push_str(&text.replace('"', "\"\""));
        line.push('"');
    } else {
        line.push_str(text);
    }
}

/// Text that cannot steer the terminal; lines stay lines, for plans have several.
fn tame(text: &str) -> String {
    super::errors::printable(&text.replace('\t', "    "))
}

fn one_line(text: &str) -> String {
    tame(text).replace('\n', "\\n")
}

/// A small table of texts, for what is not the result of a query; `numbers` are aligned to the right.
#[must_use]
pub fn listing(names: &[&str], rows: &[Vec<String>], numbers: &[usize]) -> String {
    let mut table = Table::new();
    table.load_preset(STYLE);
    table.set_header(names.iter().map(|name| Cell::new(name).set_alignment(CellAlignment::Center)));
    for row in rows {
        table.add_row(row.iter().enumerate().map(|(i, text)| {
            let side = if numbers.contains(&i) { CellAlignment::Right } else { CellAlignment::Left };
            Cell::new(one_line(text)).set_alignment(side)
        }));
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Float64Array, Int64Array, ListArray, StringViewArray};
    use arrow::datatypes::Int32Type;

    use super::*;

    pub(super) fn batch(ids: &[i64], names: &[Option<&str>]) -> RecordBatch {
        let numbers = names.iter().map(|n| n.map(|n| n.len() as f64 / 2.0));
        let lists = names.iter().map(|n| n.map(|n| vec![Some(n.len() as i32), None]));
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("id", Arc::new(Int64Array::from(ids.to_vec()))),
            ("name", Arc::new(names.iter().copied().collect::<StringViewArray>())),
            ("half", Arc::new(numbers.collect::<Float64Array>())),
            ("list", Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists))),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap()
    }

    fn printed(format: OutputFormat, pieces: &[&[RecordBatch]]) -> String {
        let mut text = Vec::new();
        let mut out = Output::over(&mut text);
        let mut printer = Printer::new(format, &batch(&[], &[]).schema()).unwrap();
        for piece in pieces {
            printer.write(piece, &mut out).unwrap();
        }
        printer.finish(&mut out).unwrap();
        out.flush().unwrap();
        drop(out);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_table_has_its_numbers_to_the_right_and_keeps_its_widths() {
        let (first, second) = (batch(&[1, 20], &[Some("ab"), None]), batch(&[3], &[Some("ü")]));
        assert_eq!(
            printed(OutputFormat::Table, &[std::slice::from_ref(&first), std::slice::from_ref(&second)]),
            " id | name | half |   list\n----+------+------+----------\n  1 | ab   |  1.0 | [2,null]\n \
             20 | NULL | NULL | NULL\n  3 | ü    |  1.0 | [2,null]\n(3 rows)\n"
        );
        assert_eq!(printed(OutputFormat::Table, &[]), " id | name | half | list\n----+------+------+------\n(0 rows)\n");
        assert_eq!(printed(OutputFormat::Table, &[&[first, second]]).lines().last(), Some("(3 rows)"));
    }

    #[test]
    fn csv_tells_null_from_an_empty_text() {
        let rows = batch(&[1, 2, 3], &[Some(""), None, Some("a \"b\",\nc")]);
        assert_eq!(
            printed(OutputFormat::Csv, &[&[rows]]),
            "id,name,half,list\n1,\"\",0.0,\"[0,null]\"\n2,,,\n3,\"a \"\"b\"\",\nc\",4.0,\"[8,null]\"\n"
        );
        assert_eq!(printed(OutputFormat::Csv, &[]), "id,name,half,list\n");
    }

    #[test]
    fn json_is_one_object_per_line_with_its_nulls() {
        let rows = batch(&[1, 2], &[Some("x"), None]);
        assert_eq!(
            printed(OutputFormat::Json, &[&[rows]]),
            "{\"id\":1,\"name\":\"x\",\"half\":0.5,\"list\":[1,null]}\n\
             {\"id\":2,\"name\":null,\"half\":null,\"list\":null}\n"
        );
        assert_eq!(printed(OutputFormat::Json, &[]), "");
    }

    #[test]
    fn types_that_no_format_carries_are_printed_as_text() {
        use arrow::array::{DurationMillisecondArray, Time64MicrosecondArray};
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("d", Arc::new(DurationMillisecondArray::from(vec![Some(61_000), None]))),
            ("t", Arc::new(Time64MicrosecondArray::from(vec![Some(3_600_000_000), None]))),
        ];
        let rows = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap();
        let mut text = Vec::new();
        let mut out = Output::over(&mut text);
        Printer::new(OutputFormat::Json, &rows.schema()).unwrap().write(&[rows], &mut out).unwrap();
        out.flush().unwrap();
        drop(out);
        let text = String::from_utf8(text).unwrap();
        assert!(text.starts_with("{\"d\":\"0 days 0 hours 1 mins 1.000 secs\",\"t\":\"01:00:00\"}\n"), "{text}");
        assert!(text.ends_with("{\"d\":null,\"t\":null}\n"), "{text}");
    }

    #[test]
    fn cells_cannot_steer_the_terminal() {
        let text = listing(&["a"], &[vec!["\x1b[31mred\nb".to_owned()]], &[]);
        assert_eq!(text.lines().nth(2), Some(" \\u{1b}[31mred\\nb"));
    }
}
