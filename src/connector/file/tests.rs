//! Files of every format as source and as table: order, resuming, headers, bad lines, missing names.

use std::path::Path;

use arrow::array::{AsArray, Int64Array, StringArray};
use arrow::datatypes::{Int64Type, TimeUnit};
use arrow::util::pretty::pretty_format_batches;
use datafusion::datasource::MemTable;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::prelude::SessionContext;

use super::*;
use crate::connector::Rows;
use crate::error::ErrorKind;

const ALL: Limit = Limit { rows: usize::MAX, bytes: usize::MAX };

fn options(pairs: &[(&str, &str)]) -> Options {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn write(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn declared(fields: &[(&str, DataType)]) -> Option<SchemaRef> {
    Some(Arc::new(Schema::new(fields.iter().map(|(n, t)| Field::new(*n, t.clone(), true)).collect::<Vec<_>>())))
}

/// The first column, a BIGINT, of everything from `start` on, with the offset behind each cut.
async fn read(files: &Files, start: i64, limit: Limit) -> Result<(Vec<i64>, Vec<i64>)> {
    let mut source = files.source(start)?;
    let (mut numbers, mut offsets) = (Vec::new(), Vec::new());
    loop {
        match source.next(limit).await? {
            Event::Assigned(a) => assert_eq!(a[0].offset, start),
            Event::Cut(cut) => {
                for chunk in cut.chunks {
                    let Rows::Batch(batch) = chunk.rows else { panic!("a file makes batches") };
                    assert_eq!(batch.schema(), *files.schema());
                    numbers.extend(batch.column(0).as_primitive::<Int64Type>().values());
                    offsets.push(chunk.next_offset);
                }
            }
            _ => return Ok((numbers, offsets)),
        }
    }
}

async fn select(files: &Files, sql: &str) -> Result<String> {
    let context = SessionContext::new();
    let table = match files.table()? {
        Some(parquet) => parquet,
        None => {
            let (mut source, mut batches) = (files.source(0)?, Vec::new());
            loop {
                match source.next(ALL).await? {
                    Event::Cut(cut) => batches.extend(cut.chunks.into_iter().map(|chunk| match chunk.rows {
                        Rows::Batch(batch) => batch,
                        Rows::Records(_) => panic!("a file makes batches"),
                    })),
                    Event::Finished => break,
                    _ => {}
                }
            }
            Arc::new(MemTable::try_new(Arc::clone(files.schema()), vec![batches])?)
        }
    };
    context.register_table("t", table)?;
    let batches = context.sql(sql).await?.collect().await?;
    Ok(pretty_format_batches(&batches).unwrap().to_string())
}

#[tokio::test]
async fn files_are_read_in_the_order_of_their_names_and_resumed() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "b.jsonl", "{\"n\":3}\n\n{\"n\":4}");
    write(dir.path(), "a.jsonl", "\u{feff}{\"n\":1}\r\n{\"n\":2,\"x\":true}\n");
    write(dir.path(), "README", "not data");
    for path in [dir.path().to_str().unwrap().to_owned(), format!("{}/?.json*", dir.path().display())] {
        let files = Files::open(&path, &options(&[]), None).await.unwrap();
        assert_eq!(files.schema().fields().len(), 2);
        assert_eq!(read(&files, 0, ALL).await.unwrap(), (vec![1, 2, 3, 4], vec![2, 4]));
        assert_eq!(read(&files, 3, ALL).await.unwrap(), (vec![4], vec![4]));
        assert_eq!(read(&files, 9, ALL).await.unwrap().0, [] as [i64; 0]);
        let one = Limit { rows: 1, bytes: 0 };
        assert_eq!(read(&files, 1, one).await.unwrap(), (vec![2, 3, 4], vec![2, 3, 4]));
    }
}

#[tokio::test]
async fn the_elements_of_an_array_are_lines() {
    let dir = tempfile::tempdir().unwrap();
    for (text, numbers) in [
        ("[{\"n\":1},{\"n\":2}]", &[1, 2][..]),
        (
            "\u{feff}\n [\n  {\n    \"n\": 1, \"s\": \"]},\\\"[\"\n  }\n ,\r\n  {\"n\": 2, \"l\": [[1], {\"x\": 2}]}\n]\n\n",
            &[1, 2],
        ),
        // One after the other, and lines behind.
        ("[{\"n\":1}]\n[]\n[{\"n\":2}]{\"n\":3}\n{\"n\":4}", &[1, 2, 3, 4]),
        ("{\"n\":1}\n[{\"n\":2}]\n{\"n\":3}", &[1, 3]),
    ] {
        write(dir.path(), "a.json", text);
        let path = dir.path().join("a.json").display().to_string();
        let files = Files::open(&path, &options(&[("bad_records", "skip")]), None).await.unwrap();
        assert_eq!(read(&files, 0, ALL).await.unwrap().0, numbers, "{text}");
    }
    for (text, told) in [
        ("[{\"n\":1},", "the array is not closed"),
        ("[{\"n\":1", "the array is not closed"),
        ("[\n{\"n\":1},\n{\"n\":\"x\"}]", "line 3: column \"n\": expected BIGINT, found \"x\""),
        ("[{\"n\":1},]", "line 1: the value is empty"),
        ("[{\"n\":1},\n{\"n\":2} {\"n\":3}]", "line 2: not JSON: "),
    ] {
        write(dir.path(), "a.json", text);
        let path = dir.path().join("a.json").display().to_string();
        let declared = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
        let error = match Files::open(&path, &options(&[]), Some(declared)).await {
            Ok(files) => read(&files, 0, ALL).await.unwrap_err(),
            Err(error) => error,
        };
        assert!(error.message().contains(told), "{text}: {error:?}");
    }
}

#[tokio::test]
async fn a_header_is_matched_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), "a.csv", "name,id,when\n\"x\ny, z\",1,2026-11-21 04:40:49\n,2,\n");
    let files = Files::open(&path, &options(&[]), None).await.unwrap();
    let stamp = DataType::Timestamp(TimeUnit::Millisecond, None);
    let inferred = declared(&[("name", DataType::Utf8), ("id", DataType::Int64), ("when", stamp.clone())]).unwrap();
    assert_eq!(*files.schema(), inferred);
    let some = declared(&[("id", DataType::Int64), ("name", DataType::Utf8)]);
    let files = Files::open(&path, &options(&[]), some).await.unwrap();
    assert_eq!(read(&files, 0, ALL).await.unwrap().0, [1, 2]);
    let expected = "+----+------+\n| id | name |\n+----+------+\n| 1  | x    |\n|    | y, z |\n| 2  |      |\n+----+------+";
    assert_eq!(select(&files, "SELECT id, name FROM t ORDER BY id").await.unwrap(), expected);
    let error = Files::open(&path, &options(&[]), declared(&[("nam", DataType::Utf8)])).await.unwrap_err();
    assert_eq!(error.message(), format!("file \"{path}\" has no column \"nam\""));
    assert_eq!(error.get_hint(), Some("Did you mean \"name\"?"));
    write(dir.path(), "b.csv", "id,name\n1,2\n");
    let both = Files::open(dir.path().to_str().unwrap(), &options(&[]), declared(&[("id", DataType::Int64)])).await.unwrap();
    let message = read(&both, 0, ALL).await.unwrap_err().message().to_owned();
    assert!(message.ends_with("b.csv\" has another header than the first file"), "{message}");
}

#[tokio::test]
async fn without_a_header_columns_go_by_position() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), "a.txt", "1;a\n2;NA\n");
    let pairs = [("format", "csv"), ("csv.header", "false"), ("csv.delimiter", ";"), ("csv.null", "NA")];
    let files = Files::open(&path, &options(&pairs), None).await.unwrap();
    assert_eq!(*files.schema(), declared(&[("column1", DataType::Int64), ("column2", DataType::Utf8)]).unwrap());
    assert_eq!(select(&files, "SELECT count(column2) AS c FROM t").await.unwrap(), "+---+\n| c |\n+---+\n| 1 |\n+---+");
}

#[tokio::test]
async fn a_bad_line_is_named_or_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), "a.json", "{\"n\":1}\n{\"n\":\"2\"}\n{\"n\":3}\n");
    let schema = declared(&[("n", DataType::Int64)]);
    let files = Files::open(&path, &options(&[]), schema.clone()).await.unwrap();
    let message = format!("file \"{path}\", line 2: column \"n\": expected BIGINT, found \"2\"");
    assert_eq!(read(&files, 0, ALL).await.unwrap_err().message(), message);
    assert_eq!(select(&files, "SELECT sum(n) FROM t").await.unwrap_err().message(), message);
    let files = Files::open(&path, &options(&[("bad_records", "skip")]), schema).await.unwrap();
    assert_eq!(read(&files, 0, Limit { rows: 1, bytes: 0 }).await.unwrap(), (vec![1, 3], vec![1, 3]));
}

#[tokio::test]
async fn lines_can_stay_records() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), "a.csv", "id,x\n1,a\noops,b\n3,c\n");
    let schema = declared(&[("x", DataType::Utf8), ("id", DataType::Int64)]);
    let files = Files::open(&path, &options(&[]), schema).await.unwrap();
    let mut source = files.records(1, None).unwrap();
    source.next(ALL).await.unwrap();
    let Event::Cut(cut) = source.next(ALL).await.unwrap() else { panic!("a cut") };
    let Rows::Records(records) = &cut.chunks[0].rows else { panic!("records") };
    assert_eq!(records.offsets.as_ref(), [1, 2]);
    let decoded = files.decoder(&[1, 0]).unwrap().unwrap().decode(&records.values);
    assert_eq!(decoded.columns[0].as_primitive::<Int64Type>(), &Int64Array::from(vec![3]));
    assert_eq!(decoded.columns[1].as_string::<i32>(), &StringArray::from(vec!["c"]));
    assert_eq!(decoded.bad[0].index, 0);
}

#[tokio::test]
async fn parquet_is_read_and_resumed_by_row() {
    let dir = tempfile::tempdir().unwrap();
    for (name, range) in [("a*1.parquet", 0..20_000_i64), ("b.parquet", 20_000..20_003)] {
        let columns: Vec<(&str, arrow::array::ArrayRef)> = vec![
            ("s", Arc::new(StringArray::from_iter_values(range.clone().map(|n| n.to_string())))),
            ("n", Arc::new(Int64Array::from_iter_values(range))),
        ];
        let batch = arrow::record_batch::RecordBatch::try_from_iter(columns).unwrap();
        let mut writer =
            ArrowWriter::try_new(std::fs::File::create(dir.path().join(name)).unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }
    let path = dir.path().to_str().unwrap();
    let files = Files::open(path, &options(&[]), declared(&[("n", DataType::Int64)])).await.unwrap();
    let (numbers, offsets) = read(&files, 0, ALL).await.unwrap();
    assert!(numbers.into_iter().eq(0..20_003));
    assert_eq!(offsets.last(), Some(&20_003));
    assert!(read(&files, 19_999, ALL).await.unwrap().0.into_iter().eq(19_999..20_003));
    let all = Files::open(path, &options(&[]), None).await.unwrap();
    let found = select(&all, "SELECT s, n FROM t WHERE n > 20000 ORDER BY n").await.unwrap();
    assert_eq!(
        found,
        "+-------+-------+\n| s     | n     |\n+-------+-------+\n| 20001 | 20001 |\n| 20002 | 20002 |\n+-------+-------+"
    );
    let error = Files::open(path, &options(&[]), declared(&[("s", DataType::Int64)])).await.unwrap_err();
    assert!(error.message().ends_with("column \"s\" is VARCHAR, declared BIGINT"), "{}", error.message());
}

#[tokio::test]
async fn a_missing_file_names_the_nearest() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "payments.csv", "a\n1\n");
    let path = dir.path().join("paymnets.csv").display().to_string();
    let error = Files::open(&path, &options(&[]), None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::User);
    assert_eq!(error.message(), format!("there is no file \"{path}\""));
    assert_eq!(error.get_hint(), Some("Did you mean \"payments.csv\"?"));
    let error = Files::open(&format!("{}/*.json", dir.path().display()), &options(&[]), None).await.unwrap_err();
    assert!(error.message().ends_with("names no file"), "{}", error.message());
    let path = format!("{}/payments.csv", dir.path().display());
    let error = Files::open(&path, &options(&[("format", "avro")]), None).await.unwrap_err();
    assert_eq!(error.message(), "unknown format \"avro\" of files");
    let error = Files::open(&path, &options(&[("format", "parquet")]), None).await.unwrap_err();
    assert!(error.message().contains("is not Parquet"), "{}", error.message());
}

#[tokio::test]
async fn a_line_that_never_ends_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), "a.csv", &format!("a\n\"{}", "x\n".repeat(1 << 19)));
    let files = Files::open(&path, &options(&[("csv.header", "true")]), declared(&[("a", DataType::Utf8)])).await;
    assert!(files.unwrap_err().message().ends_with("line 2: longer than 1 MiB"));
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_the_thread() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), "a.json", &"{\"n\":1}\n".repeat(100_000));
    let files = Files::open(&path, &options(&[]), None).await.unwrap();
    let mut items = files.reader(0, false).unwrap().spawn().unwrap();
    items.recv().await.unwrap().unwrap();
    items.close();
    while items.recv().await.is_some() {}
}
