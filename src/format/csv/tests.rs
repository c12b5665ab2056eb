//! CSV: positions, quotes, NULL, exact messages, and a round trip over every delimiter.

use arrow::array::{Float64Array, Int64Array, StringArray};
use arrow::datatypes::{Field, Int64Type, Schema};
use proptest::prelude::*;

use super::*;

fn options(pairs: &[(&str, &str)]) -> Options {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn schema(fields: &[(&str, DataType, bool)]) -> SchemaRef {
    Arc::new(Schema::new(fields.iter().map(|(n, t, null)| Field::new(*n, t.clone(), *null)).collect::<Vec<_>>()))
}

fn decode(schema: &SchemaRef, projection: &[usize], pairs: &[(&str, &str)], lines: &[&str]) -> Decoded {
    let values = BinaryArray::from_vec(lines.iter().map(|l| l.as_bytes()).collect());
    Csv.decoder(Arc::clone(schema), projection, &options(pairs)).unwrap().decode(&values)
}

fn errors(decoded: &Decoded) -> Vec<(usize, &str)> {
    decoded.bad.iter().map(|b| (b.index, b.error.as_str())).collect()
}

#[test]
fn fields_go_by_position_and_only_the_wanted_ones_are_judged() {
    let schema = schema(&[("a", DataType::Int64, false), ("b", DataType::Utf8, true), ("c", DataType::Float64, true)]);
    let lines = ["1,x,2.5", "oops,y,-1e3\r", "3,\"z,\"\"q\"\"\n\",\n", "4,\"\",NaN"];
    let decoded = decode(&schema, &[2, 1], &[], &lines);
    assert_eq!(errors(&decoded), []);
    let numbers = decoded.columns[0].as_primitive::<arrow::datatypes::Float64Type>();
    assert_eq!((numbers.value(0), numbers.value(1), numbers.is_null(2)), (2.5, -1000.0, true));
    assert!(numbers.value(3).is_nan());
    assert_eq!(decoded.columns[1].as_string::<i32>(), &StringArray::from(vec!["x", "y", "z,\"q\"\n", ""]));
    let strict = decode(&schema, &[0], &[], &lines);
    assert_eq!(errors(&strict), [(1, "column \"a\": expected BIGINT, found \"oops\"")]);
    assert_eq!(strict.columns[0].as_primitive::<Int64Type>(), &Int64Array::from(vec![1, 3, 4]));
}

#[test]
fn a_line_has_exactly_the_tables_fields() {
    let schema = schema(&[("a", DataType::Int64, false), ("b", DataType::Int64, true)]);
    let lines = ["1", "1,2,3", "1, 2", "1.0,", ",", "\"1\",2", "1,\"2", "1,2\"", "1,\"2\"3", ""];
    let decoded = decode(&schema, &[0, 1], &[], &lines);
    let expected = [
        (0, "expected 2 fields, found 1"),
        (1, "expected 2 fields, found 3"),
        (2, "column \"b\": expected BIGINT, found \" 2\""),
        (3, "column \"a\": expected BIGINT, found \"1.0\""),
        (4, "column \"a\" is NOT NULL, found NULL"),
        (6, "not CSV: field 2 has an opening quote and no closing one"),
        (7, "not CSV: a quote inside of field 2 at byte 3"),
        (8, "not CSV: text behind the quotes of field 2 at byte 5"),
        (9, "expected 2 fields, found 1"),
    ];
    assert_eq!(errors(&decoded), expected);
    assert_eq!(decoded.columns[1].as_primitive::<Int64Type>(), &Int64Array::from(vec![2]));
}

#[test]
fn delimiter_header_and_null_are_options() {
    let schema = schema(&[("a", DataType::Utf8, true), ("b", DataType::Utf8, true)]);
    let pairs = [("csv.delimiter", ";"), ("csv.header", "true"), ("csv.null", "NA")];
    let decoded = decode(&schema, &[0, 1], &pairs, &["a;b", "NA;", "\"NA\";x"]);
    assert_eq!(errors(&decoded), [(0, "a header line, not a row")]);
    assert_eq!(decoded.columns[0].as_string::<i32>(), &StringArray::from(vec![None, Some("NA")]));
    assert_eq!(decoded.columns[1].as_string::<i32>(), &StringArray::from(vec!["", "x"]));
    for wrong in [("csv.delimiter", "ab"), ("csv.delimiter", "é"), ("csv.null", "a,b"), ("csv.header", "maybe")] {
        assert!(Csv.decoder(Arc::clone(&schema), &[0], &options(&[wrong])).is_err(), "{wrong:?}");
    }
}

#[test]
fn nested_columns_are_refused() {
    let schema = schema(&[("a", DataType::new_list(DataType::Int64, true), true)]);
    let error = Csv.decoder(Arc::clone(&schema), &[0], &Options::default()).unwrap_err();
    assert_eq!(error.message(), "format csv cannot carry column \"a\" of type BIGINT[]");
    assert!(Csv.encoder(schema, &Options::default()).is_err());
}

#[test]
fn columns_are_inferred_by_position() {
    let lines: [&[u8]; 4] = [b"id,zip,x", b"1,01234,1", b"2,99999,2.5", b"one field"];
    let inferred = Csv.infer(&lines, &options(&[("csv.header", "true")])).unwrap();
    let expected = schema(&[("id", DataType::Int64, true), ("zip", DataType::Utf8, true), ("x", DataType::Float64, true)]);
    assert_eq!(inferred.schema, expected);
    let inferred = Csv.infer(&[b"1,true", b",2026-11-21 04:40:49"], &Options::default()).unwrap();
    assert_eq!(inferred.schema, schema(&[("column1", DataType::Int64, true), ("column2", DataType::Utf8, true)]));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_back(
        texts in prop::collection::vec(prop::option::of("[a,\"\n\r;N\\-0é ]{0,5}"), 1..20),
        numbers in prop::collection::vec(any::<f64>(), 20),
        delimiter in prop::sample::select(vec![",", ";", "\\t", "-", "0", "a"]),
        null in prop::sample::select(vec!["", "N", "null"])
    ) {
        let schema = schema(&[("t", DataType::Utf8, true), ("x", DataType::Float64, true), ("n", DataType::Int64, true)]);
        let pairs = [("csv.delimiter", delimiter), ("csv.null", null)];
        let rows = texts.len();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(texts)),
            Arc::new(Float64Array::from(numbers[..rows].to_vec())),
            Arc::new(Int64Array::from_iter((0..rows).map(|i| (i % 3 > 0).then_some(i as i64 - 5)))),
        ];
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
        let values = Csv.encoder(Arc::clone(&schema), &options(&pairs)).unwrap().encode(&batch).unwrap();
        let decoded = Csv.decoder(Arc::clone(&schema), &[0, 1, 2], &options(&pairs)).unwrap().decode(&values);
        prop_assert_eq!(errors(&decoded), vec![]);
        prop_assert_eq!(RecordBatch::try_new(schema, decoded.columns).unwrap(), batch);
    }
}
