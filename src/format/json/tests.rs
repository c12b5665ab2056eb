//! The contract's rules for JSON: round trips over random schemas, every refusal of a coercion, exact messages.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int8Array, Int16Array, Int32Array, Int64Array, ListArray, MapArray, NullBufferBuilder, PrimitiveArray, StringArray,
    StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{
    DataType, Field, FieldRef, Fields, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow::record_batch::RecordBatch;
use proptest::prelude::*;

use super::Json;
use crate::config::Options;
use crate::format::{Decoded, Format, Reason};

fn decode(schema: &SchemaRef, values: &BinaryArray) -> Decoded {
    let all: Vec<usize> = (0..schema.fields().len()).collect();
    Json.decoder(Arc::clone(schema), &all, &Options::default()).unwrap().decode(values)
}

fn schema_of(fields: Vec<Field>) -> SchemaRef {
    Arc::new(Schema::new(fields))
}

/// What a nullable column `v` of this type makes of `{"v": <text>}`: the value as Arrow shows it, or the message.
fn value(data_type: &DataType, text: &str) -> Result<String, String> {
    let schema = schema_of(vec![Field::new("v", data_type.clone(), true)]);
    let record = format!(r#"{{"v": {text}}}"#);
    let decoded = decode(&schema, &BinaryArray::from_vec(vec![record.as_bytes()]));
    match decoded.bad.first() {
        Some(bad) => Err(bad.error.clone()),
        None => Ok(arrow::util::display::array_value_to_string(&decoded.columns[0], 0).unwrap()),
    }
}

fn refused(data_type: &DataType, text: &str, message: &str) {
    assert_eq!(value(data_type, text), Err(message.to_owned()), "{data_type} from {text}");
}

#[test]
fn text_is_no_number_and_a_number_no_text() {
    refused(&DataType::Int64, r#""12""#, r#"column "v": expected BIGINT, found "12""#);
    refused(&DataType::Float64, r#""abc""#, r#"column "v": expected DOUBLE, found "abc""#);
    refused(&DataType::Float64, r#""NaN""#, r#"column "v": expected DOUBLE, found "NaN""#);
    refused(&DataType::Decimal128(10, 2), r#""1.50""#, r#"column "v": expected DECIMAL(10, 2), found "1.50""#);
    refused(&DataType::Utf8, "12", r#"column "v": expected VARCHAR, found 12"#);
    refused(&DataType::Utf8, "true", r#"column "v": expected VARCHAR, found true"#);
    refused(&DataType::Utf8, r#"{"a":1}"#, r#"column "v": expected VARCHAR, found {"a":1}"#);
    refused(&DataType::Boolean, "1", r#"column "v": expected BOOLEAN, found 1"#);
    refused(&DataType::Boolean, r#""true""#, r#"column "v": expected BOOLEAN, found "true""#);
    refused(&DataType::Int64, "true", r#"column "v": expected BIGINT, found true"#);
}

#[test]
fn a_fraction_is_no_integer_and_nothing_overflows() {
    refused(&DataType::Int64, "1.0", r#"column "v": expected BIGINT, found 1.0"#);
    refused(&DataType::Int64, "1e3", r#"column "v": expected BIGINT, found 1e3"#);
    refused(&DataType::Int32, "2147483648", r#"column "v": expected INT, found 2147483648 (out of range)"#);
    refused(
        &DataType::Int64,
        "9223372036854775808",
        r#"column "v": expected BIGINT, found 9223372036854775808 (out of range)"#,
    );
    refused(&DataType::UInt8, "-1", r#"column "v": expected TINYINT UNSIGNED, found -1 (out of range)"#);
    refused(&DataType::Float64, "1e400", r#"column "v": expected DOUBLE, found 1e400 (out of range)"#);
    refused(&DataType::Float32, "1e39", r#"column "v": expected REAL, found 1e39 (out of range)"#);
    assert_eq!(value(&DataType::Int64, "-9223372036854775808"), Ok("-9223372036854775808".to_owned()));
    assert_eq!(value(&DataType::Float64, "5"), Ok("5.0".to_owned()));
}

#[test]
fn a_decimal_is_exact() {
    let decimal = DataType::Decimal128(20, 2);
    assert_eq!(value(&decimal, "123456789012345678.91"), Ok("123456789012345678.91".to_owned()));
    assert_eq!(value(&decimal, "1.500"), Ok("1.50".to_owned()));
    let note = "more digits behind the point than the type keeps";
    refused(&decimal, "1.005", &format!(r#"column "v": expected DECIMAL(20, 2), found 1.005 ({note})"#));
    refused(&DataType::Decimal128(3, 2), "10", r#"column "v": expected DECIMAL(3, 2), found 10 (out of range)"#);
}

#[test]
fn times_are_text_or_milliseconds_whatever_the_unit() {
    for unit in [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond] {
        let stamp = DataType::Timestamp(unit, None);
        for text in
            ["1795236049000", r#""2026-11-21T04:40:49Z""#, r#""2026-11-21 04:40:49.000""#, r#""2026-11-21T06:40:49+02:00""#]
        {
            assert_eq!(value(&stamp, text), Ok("2026-11-21T04:40:49".to_owned()), "{text}");
        }
    }
    let stamp = DataType::Timestamp(TimeUnit::Nanosecond, None);
    refused(&stamp, "1.5", r#"column "v": expected TIMESTAMP(9), found 1.5"#);
    refused(&stamp, "9223372036854775", r#"column "v": expected TIMESTAMP(9), found 9223372036854775 (out of range)"#);
    refused(&stamp, r#""20261121T044049""#, r#"column "v": expected TIMESTAMP(9), found "20261121T044049""#);
    refused(&stamp, r#""2026-11-21""#, r#"column "v": expected TIMESTAMP(9), found "2026-11-21""#);
    assert_eq!(value(&DataType::Date32, r#""2026-11-21""#), Ok("2026-11-21".to_owned()));
    refused(&DataType::Date32, "20778", r#"column "v": expected DATE, found 20778"#);
    refused(&DataType::Date32, r#""2026-11-21T00:00:00""#, r#"column "v": expected DATE, found "2026-11-21T00:00:00""#);
}

#[test]
fn bytes_are_base64_not_hexadecimal() {
    assert_eq!(value(&DataType::Binary, r#""3q2+7w==""#), Ok("deadbeef".to_owned()));
    refused(&DataType::Binary, r#""abc""#, r#"column "v": expected BYTEA, found "abc" (not base64)"#);
}

#[test]
fn nested_values_keep_their_types() {
    let list = DataType::new_list(DataType::Int64, true);
    refused(&list, "5", r#"column "v": expected BIGINT[], found 5"#);
    refused(&list, r#"[1, "2"]"#, r#"column "v[]": expected BIGINT, found "2""#);
    refused(&list, r#"{"0": 1}"#, r#"column "v": expected BIGINT[], found {"0": 1}"#);
    let inner =
        DataType::Struct(Fields::from(vec![Field::new("a", list.clone(), true), Field::new("b", DataType::Utf8, false)]));
    refused(&inner, r#"{"a": [true], "b": ""}"#, r#"column "v.a[]": expected BIGINT, found true"#);
    refused(&inner, r#"{"a": []}"#, r#"column "v.b" is NOT NULL, found no such field"#);
    refused(&inner, "[1]", r#"column "v": expected STRUCT<a BIGINT[], b VARCHAR>, found [1]"#);
    assert_eq!(value(&inner, "null"), Ok(String::new()));
    assert_eq!(value(&inner, r#"{"b": "x", "c": [{}]}"#), Ok("{a: , b: x}".to_owned()));
    let map = map_of(DataType::Int64);
    assert_eq!(value(&map, r#"{"x": 1, "y": null, "x": 3}"#), Ok("{y: , x: 3}".to_owned()));
    assert_eq!(value(&map, r#"{"x": 1, "\u0078": 3, "y": 2}"#), Ok("{x: 3, y: 2}".to_owned()));
    refused(&map, r#"{"x": "1"}"#, r#"column "v[]": expected BIGINT, found "1""#);
}

#[test]
fn a_long_wrong_value_is_cut() {
    let text = format!("\"{}\"", "é".repeat(100));
    let shown = format!("\"{}...", "é".repeat(39));
    refused(&DataType::Int64, &text, &format!(r#"column "v": expected BIGINT, found {shown}"#));
}

#[test]
fn a_record_is_one_json_object() {
    let schema = schema_of(vec![Field::new("a", DataType::Int64, true)]);
    let bad: [(&[u8], &str); 22] = [
        (b"", "the value is empty"),
        (b" ", "not JSON: expected a value at byte 1, found the end"),
        (b"null", "expected a JSON object, found null"),
        (b"[{\"a\":1}]", "expected a JSON object, found [{\"a\":1}]"),
        (b"hello", "not JSON: expected a value at byte 0, found 'h'"),
        (b"{\"a\":1} {\"a\":2}", "not JSON: expected the end of the record at byte 8, found '{'"),
        (b"{\"a\":1}x", "not JSON: expected the end of the record at byte 7, found 'x'"),
        (b"{\"a\":1", "not JSON: expected \",\" or \"}\" at byte 6, found the end"),
        (b"{\"a\":1,}", "not JSON: expected \"\"\" at byte 7, found '}'"),
        (b"{\"a\":1,,\"b\":2}", "not JSON: expected \"\"\" at byte 7, found ','"),
        (b"{\"a\":1 \"b\":2}", "not JSON: expected \",\" or \"}\" at byte 7, found '\"'"),
        (b"{\"a\" 1}", "not JSON: expected \":\" at byte 5, found '1'"),
        (b"{\"a\":}", "not JSON: expected a value at byte 5, found '}'"),
        (b"{\"a\":01}", "not JSON: expected a number at byte 5, found '0'"),
        (b"{\"a\":nul}", "not JSON: expected a value at byte 5, found 'n'"),
        (b"{\"b\":[1 2]}", "not JSON: expected \",\" or \"]\" at byte 8, found '2'"),
        (b"{\"b\":\"x\ny\"}", "not JSON: expected the rest of a string at byte 7, found '\\n'"),
        (b"{\"b\":\"\\x\"}", "not JSON: expected an escape at byte 7, found 'x'"),
        (b"{\"b\":\"\\ud800\"}", "not JSON: expected the other half of a surrogate pair at byte 12, found '\"'"),
        (b"{\"b\":\"\\u12\"}", "not JSON: expected four hexadecimal digits at byte 7, found 'u'"),
        (b"{\"b\":1e}", "not JSON: expected a number at byte 5, found '1'"),
        (b"{\"a\":\xff}", "the value is not UTF-8"),
    ];
    let values: Vec<&[u8]> = bad.iter().flat_map(|(value, _)| [*value, b"{\"a\":7}"]).collect();
    let decoded = decode(&schema, &BinaryArray::from_vec(values));
    assert_eq!(decoded.columns[0].as_primitive::<Int64Type>(), &Int64Array::from(vec![7; bad.len()]));
    for (found, (index, (value, error))) in decoded.bad.iter().zip(bad.iter().enumerate()) {
        let wanted = (index * 2, Reason::Decode, *error);
        assert_eq!((found.index, found.reason, found.error.as_str()), wanted, "{}", String::from_utf8_lossy(value));
    }
    assert_eq!(decoded.bad.len(), bad.len());
}

#[test]
fn deep_nesting_is_refused_not_followed() {
    let schema = schema_of(vec![]);
    let deep = format!("{{\"a\":{}", "[".repeat(1_000_000));
    let decoded = decode(&schema, &BinaryArray::from_vec(vec![deep.as_bytes()]));
    assert_eq!(decoded.bad[0].error, "nested deeper than 128 levels");
}

#[test]
fn null_and_missing_and_tombstones() {
    let schema = schema_of(vec![Field::new("a", DataType::Int64, false), Field::new("b", DataType::Utf8, true)]);
    let values = BinaryArray::from_opt_vec(vec![
        Some(b"{\"a\":1}"),
        Some(b"{\"a\":null}"),
        Some(b"{\"b\":\"x\"}"),
        None,
        Some(b"{\"a\":2,\"b\":null}"),
    ]);
    let decoded = decode(&schema, &values);
    assert_eq!(decoded.columns[0].as_primitive::<Int64Type>(), &Int64Array::from(vec![1, 2]));
    assert_eq!(decoded.columns[1].null_count(), 2);
    let bad: Vec<_> = decoded.bad.iter().map(|b| (b.index, b.reason, b.error.as_str())).collect();
    let expected = [
        (1, Reason::Null, "column \"a\" is NOT NULL, found null"),
        (2, Reason::Null, "column \"a\" is NOT NULL, found no such field"),
        (3, Reason::Null, "column \"a\" is NOT NULL, found a tombstone"),
    ];
    assert_eq!(bad, expected);
    let loose = schema_of(vec![Field::new("b", DataType::Utf8, true)]);
    let decoded = decode(&loose, &values);
    assert!(decoded.bad.is_empty());
    assert_eq!(decoded.columns[0].as_string::<i32>(), &StringArray::from(vec![None, None, Some("x"), None, None]));
}

#[test]
fn a_record_is_judged_by_the_columns_read() {
    let schema = schema_of(vec![Field::new("a", DataType::Int64, false), Field::new("b", DataType::Int64, true)]);
    let values = BinaryArray::from_vec(vec![br#"{"a":"x","b":1}"#, br#"{"b":2,"a":1}"#]);
    let decoded = Json.decoder(Arc::clone(&schema), &[1], &Options::default()).unwrap().decode(&values);
    assert!(decoded.bad.is_empty());
    assert_eq!(decoded.columns[0].as_primitive::<Int64Type>(), &Int64Array::from(vec![1, 2]));
    let none = Json.decoder(schema, &[], &Options::default()).unwrap().decode(&values);
    assert!(none.columns.is_empty() && none.bad.is_empty());
}

#[test]
fn keys_may_come_in_any_order_and_escaped() {
    let schema = schema_of(vec![Field::new("id", DataType::Int64, true), Field::new("é", DataType::Utf8, true)]);
    let values = BinaryArray::from_vec(vec![
        r#"{"id":1,"x":{"id":9},"é":"a\n\"\u00e9\ud83d\ude00"}"#.as_bytes(),
        r#"{"\u00e9":"b","id":2}"#.as_bytes(),
        r#"{ "Id" : 5 , "id":3, "id":4 , "é" : "" }"#.as_bytes(),
    ]);
    let decoded = decode(&schema, &values);
    assert!(decoded.bad.is_empty(), "{:?}", decoded.bad);
    assert_eq!(decoded.columns[0].as_primitive::<Int64Type>(), &Int64Array::from(vec![1, 2, 4]));
    assert_eq!(decoded.columns[1].as_string::<i32>(), &StringArray::from(vec!["a\n\"é😀", "b", ""]));
}

#[test]
fn a_character_cut_in_two_by_records_is_bad_in_both() {
    let schema = schema_of(vec![Field::new("a", DataType::Utf8, true)]);
    let values = BinaryArray::from_vec(vec![b"{\"a\":\"\xc3", b"\xa9\"}"]);
    assert_eq!(
        decode(&schema, &values).bad.iter().map(|b| b.error.as_str()).collect::<Vec<_>>(),
        ["the value is not UTF-8"; 2]
    );
}

#[test]
fn what_json_cannot_carry_is_refused_at_once() {
    let time = schema_of(vec![Field::new("t", DataType::Time64(TimeUnit::Nanosecond), true)]);
    let error = Json.decoder(time, &[0], &Options::default()).unwrap_err();
    assert!(error.message().starts_with("format json cannot carry column \"t\" of type Time64"), "{}", error.message());
    let interval = schema_of(vec![Field::new("t", DataType::new_list(DataType::Duration(TimeUnit::Second), true), true)]);
    assert!(Json.decoder(interval, &[0], &Options::default()).is_err());
}

/// The list in `docs/reference/json.md`: what arrow-json takes for something else, and this decoder calls bad.
#[test]
fn arrow_json_coerces_where_this_decoder_does_not() {
    let millis = DataType::Timestamp(TimeUnit::Millisecond, None);
    let list = DataType::new_list(DataType::Int64, true);
    let coerced = [
        (DataType::Int64, r#"{"v":"12"}"#),
        (DataType::Float64, r#"{"v":"1.5"}"#),
        (DataType::Float64, r#"{"v":"NaN"}"#),
        (DataType::Int64, r#"{"v":1.9}"#),
        (DataType::Int64, r#"{"v":1e3}"#),
        (DataType::Float64, r#"{"v":1e400}"#),
        (DataType::Decimal128(10, 2), r#"{"v":"1.50"}"#),
        (DataType::Decimal128(10, 2), r#"{"v":1.005}"#),
        (millis.clone(), r#"{"v":1.5}"#),
        (DataType::Date32, r#"{"v":20778}"#),
        (millis, r#"{"v":"2026-11-21"}"#),
        (DataType::Date32, r#"{"v":"2026-11-21T04:40:49"}"#),
        (DataType::Binary, r#"{"v":"deadbee"}"#),
        (DataType::Int64, r#"{"v":1,,"b":2}"#),
        (DataType::Int64, r#"{"v":1 "b":2}"#),
        (list, r#"{"v":[1 2]}"#),
        (DataType::Int64, r#"{"v":1}{"v":2}"#),
        (DataType::Utf8, "{\"v\":\"a\nb\"}"),
        (DataType::Int64, r#"{"b":1-2}"#),
        (DataType::Int64, r#"{"b":01}"#),
    ];
    for (data_type, text) in coerced {
        let schema = schema_of(vec![Field::new("v", data_type.clone(), true)]);
        let mut theirs = arrow_json::ReaderBuilder::new(Arc::clone(&schema)).build_decoder().unwrap();
        theirs.decode(text.as_bytes()).unwrap();
        assert!(
            theirs.flush().is_ok_and(|b| b.is_some_and(|b| b.num_rows() > 0)),
            "arrow-json refuses {data_type} in {text}"
        );
        assert_eq!(decode(&schema, &BinaryArray::from_vec(vec![text.as_bytes()])).bad.len(), 1, "{data_type} in {text}");
    }
}

fn encode(columns: Vec<(&str, ArrayRef)>) -> Result<Vec<String>, String> {
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, c)| (name, c, true))).unwrap();
    let values =
        Json.encoder(batch.schema(), &Options::default()).unwrap().encode(&batch).map_err(|e| e.message().to_owned())?;
    Ok(values.iter().flatten().map(|v| String::from_utf8(v.to_vec()).unwrap()).collect())
}

#[test]
fn every_type_has_its_text() {
    let millis = PrimitiveArray::<TimestampMillisecondType>::from(vec![1_795_236_049_120]);
    let micros = PrimitiveArray::<TimestampMicrosecondType>::from(vec![1_795_236_049_120_000]);
    let seconds = PrimitiveArray::<TimestampSecondType>::from(vec![-1]);
    let texts = encode(vec![
        ("i", Arc::new(Int64Array::from(vec![i64::MIN]))),
        ("f", Arc::new(Float64Array::from(vec![f64::NAN]))),
        ("g", Arc::new(Float32Array::from(vec![0.1]))),
        ("d", Arc::new(Decimal128Array::from(vec![-5]).with_precision_and_scale(10, 2).unwrap())),
        ("b", Arc::new(BinaryArray::from_vec(vec![b"\xde\xad\xbe\xef"]))),
        ("n", Arc::new(StringArray::from(vec![None::<&str>]))),
        ("s", Arc::new(StringArray::from(vec!["a\"\n"]))),
        ("day", Arc::new(Date32Array::from(vec![20_778]))),
        ("ms", Arc::new(millis.clone())),
        ("us", Arc::new(micros)),
        ("z", Arc::new(millis.with_timezone("UTC"))),
        ("sec", Arc::new(seconds)),
    ]);
    let expected = r#"{"i":-9223372036854775808,"f":null,"g":0.1,"d":-0.05,"b":"3q2+7w==","n":null,"s":"a\"\n","day":"2026-11-21","ms":"2026-11-21T04:40:49.120","us":"2026-11-21T04:40:49.120000","z":"2026-11-21T04:40:49.120Z","sec":"1969-12-31T23:59:59"}"#;
    assert_eq!(texts, Ok(vec![expected.to_owned()]));
}

#[test]
fn a_time_beyond_the_calendar_is_an_error_not_a_made_up_text() {
    let far = PrimitiveArray::<TimestampMillisecondType>::from(vec![i64::MAX]);
    let message = "column \"t\": time 9223372036854775807 lies outside the years 0001 to 9999";
    assert_eq!(encode(vec![("t", Arc::new(far))]), Err(message.to_owned()));
}

#[test]
fn columns_are_inferred_from_the_first_records() {
    let values: [&[u8]; 5] = [
        br#"{"id":1,"amount":2,"ok":true,"ts":"2026-11-21T04:40:49.123Z","user":{"name":"x"},"tags":[1]}"#,
        br#"not json"#,
        br#"{"id":2,"amount":2.5,"ok":null,"ts":"2026-11-21 04:40:49","user":{"age":3},"tags":[],"late":null}"#,
        br#"{"id":3,"amount":1,"mixed":1}"#,
        br#"{"mixed":"a","day":"2026-11-21"}"#,
    ];
    let inferred = Json.infer(&values, &Options::default()).unwrap();
    let user = Fields::from(vec![Field::new("name", DataType::Utf8, true), Field::new("age", DataType::Int64, true)]);
    let expected = Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("amount", DataType::Float64, true),
        Field::new("ok", DataType::Boolean, true),
        Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        Field::new("user", DataType::Struct(user), true),
        Field::new("tags", DataType::new_list(DataType::Int64, true), true),
        Field::new("late", DataType::Utf8, true),
        Field::new("mixed", DataType::Utf8, true),
        Field::new("day", DataType::Date32, true),
    ]);
    assert_eq!(inferred.schema.as_ref(), &expected);
    assert_eq!(inferred.options.get("json.mixed"), Some("late,mixed"));
    assert_eq!(inferred.notes, [MIXED_NOTE.replace("PATH", "mixed").replace("KINDS", "text and numbers")]);
    assert!(
        Json.infer(&[b"1", b"x"], &Options::default())
            .unwrap_err()
            .message()
            .starts_with("none of 2 values is a JSON object")
    );
}

const MIXED_NOTE: &str = "column \"PATH\" holds KINDS: it is VARCHAR, with the JSON text of what is no string";

/// What inference chooses reads every record that it saw.
#[test]
fn nothing_is_left_out_of_mixed_columns() {
    let values: [&[u8]; 4] = [
        br#"{"a":1,"b":{"x":[1,"two",{"z":null}],"y":true},"e":{},"big":18446744073709551615,"d":"2026-11-21","id":7}"#,
        br#"{"a":"one","b":{"x":[ 1.50 ],"y":"no"},"e":{},"big":1,"d":"2026-11-21T04:40:49Z","ID":8}"#,
        br#"{"a":{"k": [1, 2]},"b":{"x":null,"y":null},"e":null}"#,
        br#"{"a":null}"#,
    ];
    let inferred = Json.infer(&values, &Options::default()).unwrap();
    let b = Fields::from(vec![
        Field::new("x", DataType::new_list(DataType::Utf8, true), true),
        Field::new("y", DataType::Utf8, true),
    ]);
    let expected = Schema::new(vec![
        Field::new("a", DataType::Utf8, true),
        Field::new("b", DataType::Struct(b), true),
        Field::new("e", DataType::Utf8, true),
        Field::new("big", DataType::Decimal128(20, 0), true),
        Field::new("d", DataType::Utf8, true),
        Field::new("id", DataType::Int64, true),
    ]);
    assert_eq!(inferred.schema.as_ref(), &expected);
    assert_eq!(inferred.options.get("json.mixed"), Some("a,b,e"));
    let mixed = |path: &str, kinds: &str| MIXED_NOTE.replace("PATH", path).replace("KINDS", kinds);
    assert_eq!(
        inferred.notes,
        [
            "field \"ID\" is left out: it differs from \"id\" only in case".to_owned(),
            mixed("a", "text, numbers and objects"),
            mixed("b.x[]", "text, numbers and objects"),
            mixed("b.y", "text and booleans"),
            mixed("e", "objects"),
        ]
    );
    let all: Vec<usize> = (0..expected.fields().len()).collect();
    let mut decoder = Json.decoder(Arc::clone(&inferred.schema), &all, &inferred.options).unwrap();
    let decoded = decoder.decode(&BinaryArray::from_iter_values(values));
    assert!(decoded.bad.is_empty(), "{:?}", decoded.bad);
    let texts = |array: &ArrayRef| -> Vec<Option<String>> {
        array.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(texts(&decoded.columns[0]), [some("1"), some("one"), some(r#"{"k": [1, 2]}"#), None]);
    let items = decoded.columns[1].as_struct().column(0).as_list::<i32>().values();
    assert_eq!(texts(items), [some("1"), some("two"), some(r#"{"z":null}"#), some("1.50")]);
    assert_eq!(texts(&decoded.columns[2]), [some("{}"), some("{}"), None, None]);
    // Where it was not asked for, VARCHAR stays strict.
    let mut strict = Json.decoder(Arc::clone(&inferred.schema), &all, &Options::default()).unwrap();
    assert_eq!(strict.decode(&BinaryArray::from_iter_values(values)).bad.len(), 3);
}

fn map_of(value: DataType) -> DataType {
    let entries = Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", value, true)]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false)
}

/// Any type that JSON carries, three levels deep.
fn any_type() -> impl Strategy<Value = DataType> {
    let unit = prop_oneof![
        Just(TimeUnit::Second),
        Just(TimeUnit::Millisecond),
        Just(TimeUnit::Microsecond),
        Just(TimeUnit::Nanosecond)
    ];
    let leaf = prop_oneof![
        Just(DataType::Boolean),
        Just(DataType::Int8),
        Just(DataType::Int16),
        Just(DataType::Int32),
        Just(DataType::Int64),
        Just(DataType::Float32),
        Just(DataType::Float64),
        Just(DataType::Utf8),
        Just(DataType::Binary),
        Just(DataType::Date32),
        (1_u8..=38).prop_flat_map(|p| (Just(p), 0..=p)).prop_map(|(p, s)| DataType::Decimal128(p, i8::try_from(s).unwrap())),
        (unit, any::<bool>()).prop_map(|(unit, zone)| DataType::Timestamp(unit, zone.then(|| "UTC".into()))),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let fields = prop::collection::vec((inner.clone(), any::<bool>()), 0..3).prop_map(named);
        prop_oneof![
            (inner.clone(), any::<bool>()).prop_map(|(t, n)| DataType::List(Arc::new(Field::new("item", t, n)))),
            fields.prop_map(DataType::Struct),
            inner.prop_map(map_of),
        ]
    })
}

fn named(types: Vec<(DataType, bool)>) -> Fields {
    types.into_iter().enumerate().map(|(i, (t, nullable))| Field::new(format!("f \"{i}\" é"), t, nullable)).collect()
}

/// A small generator of repeatable numbers (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    /// Small and large numbers alike.
    fn integer(&mut self) -> i64 {
        let shift = self.below(64);
        self.next().cast_signed() >> shift
    }
    fn text(&mut self) -> String {
        let alphabet = ['a', '"', '\\', '\n', 'é', '😀', '\u{0}', '\u{7f}', ',', '{'];
        (0..self.below(6)).map(|_| alphabet[usize::try_from(self.below(10)).unwrap()]).collect()
    }
    fn array(&mut self, field: &Field, rows: usize) -> ArrayRef {
        let mut valid = NullBufferBuilder::new(rows);
        (0..rows).for_each(|_| valid.append(!field.is_nullable() || self.below(4) > 0));
        let nulls = valid.finish();
        let of = |valid: bool| valid.then_some(());
        let valid: Vec<Option<()>> = (0..rows).map(|i| of(nulls.as_ref().is_none_or(|n| n.is_valid(i)))).collect();
        macro_rules! each {
            ($array:ty, $value:expr) => {
                valid.iter().map(|v| v.map(|()| $value)).collect::<$array>()
            };
        }
        match field.data_type() {
            DataType::Boolean => Arc::new(each!(BooleanArray, self.below(2) == 0)),
            DataType::Int8 => Arc::new(each!(Int8Array, self.integer() as i8)),
            DataType::Int16 => Arc::new(each!(Int16Array, self.integer() as i16)),
            DataType::Int32 => Arc::new(each!(Int32Array, self.integer() as i32)),
            DataType::Int64 => Arc::new(each!(Int64Array, self.integer())),
            DataType::Float32 => Arc::new(each!(Float32Array, {
                let value = f32::from_bits(self.next() as u32);
                if value.is_finite() { value } else { self.integer() as f32 }
            })),
            DataType::Float64 => Arc::new(each!(Float64Array, {
                let value = f64::from_bits(self.next());
                if value.is_finite() { value } else { self.integer() as f64 / 100.0 }
            })),
            DataType::Utf8 => Arc::new(each!(StringArray, self.text())),
            DataType::Binary => Arc::new(each!(BinaryArray, self.text().into_bytes())),
            DataType::Date32 => Arc::new(each!(Date32Array, i32::try_from(self.below(3_652_059)).unwrap() - 719_162)),
            DataType::Decimal128(precision, scale) => {
                let limit = 10_i128.pow(u32::from(*precision));
                let array = each!(Decimal128Array, {
                    let wide = (i128::from(self.integer()) << 64) | i128::from(self.next());
                    (wide >> self.below(128)) % limit
                });
                Arc::new(array.with_precision_and_scale(*precision, *scale).unwrap())
            }
            DataType::Timestamp(unit, zone) => {
                // Within the calendar; nanoseconds reach from 1677 to 2262 only.
                let values = each!(
                    Int64Array,
                    match unit {
                        TimeUnit::Nanosecond => self.integer(),
                        unit => {
                            let per_second = crate::format::text::per_second(*unit);
                            self.integer() % (62_135_596_800 * per_second)
                        }
                    }
                );
                let zone = zone.clone();
                match unit {
                    TimeUnit::Second => Arc::new(values.reinterpret_cast::<TimestampSecondType>().with_timezone_opt(zone)),
                    TimeUnit::Millisecond => {
                        Arc::new(values.reinterpret_cast::<TimestampMillisecondType>().with_timezone_opt(zone))
                    }
                    TimeUnit::Microsecond => {
                        Arc::new(values.reinterpret_cast::<TimestampMicrosecondType>().with_timezone_opt(zone))
                    }
                    TimeUnit::Nanosecond => {
                        Arc::new(values.reinterpret_cast::<TimestampNanosecondType>().with_timezone_opt(zone))
                    }
                }
            }
            DataType::List(item) => {
                let lengths = self.lengths(rows);
                let items = self.array(item, lengths.iter().sum());
                Arc::new(ListArray::new(Arc::clone(item), OffsetBuffer::from_lengths(lengths), items, nulls))
            }
            DataType::Struct(fields) if fields.is_empty() => Arc::new(StructArray::new_empty_fields(rows, nulls)),
            DataType::Struct(fields) => {
                let columns = fields.iter().map(|f| self.array(f, rows)).collect();
                Arc::new(StructArray::new(fields.clone(), columns, nulls))
            }
            DataType::Map(entries, _) => Arc::new(self.map(entries, rows, nulls)),
            other => panic!("no values of {other}"),
        }
    }
    fn lengths(&mut self, rows: usize) -> Vec<usize> {
        (0..rows).map(|_| usize::try_from(self.below(4)).unwrap()).collect()
    }
    fn map(&mut self, entries: &FieldRef, rows: usize, nulls: Option<arrow::buffer::NullBuffer>) -> MapArray {
        let DataType::Struct(kv) = entries.data_type() else { panic!("a map of {entries}") };
        let lengths = self.lengths(rows);
        let keys: Vec<String> = lengths.iter().flat_map(|n| (0..*n).map(|i| format!("{i}\""))).collect();
        let values = self.array(&kv[1], keys.len());
        let columns: Vec<ArrayRef> = vec![Arc::new(StringArray::from(keys)), values];
        let structs = StructArray::new(kv.clone(), columns, None);
        MapArray::new(Arc::clone(entries), OffsetBuffer::from_lengths(lengths), structs, nulls, false)
    }
}

fn has_bytes(data_type: &DataType) -> bool {
    match data_type {
        DataType::Binary => true,
        DataType::List(f) | DataType::Map(f, _) => has_bytes(f.data_type()),
        DataType::Struct(fields) => fields.iter().any(|f| has_bytes(f.data_type())),
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_back(
        types in prop::collection::vec((any_type(), any::<bool>()), 1..5), rows in 0_usize..40, seed in 1_u64..
    ) {
        let schema = Arc::new(Schema::new(named(types)));
        let mut random = Random(seed);
        let columns: Vec<ArrayRef> = schema.fields().iter().map(|f| random.array(f, rows)).collect();
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
        let values = Json.encoder(Arc::clone(&schema), &Options::default()).unwrap().encode(&batch).unwrap();
        let decoded = decode(&schema, &values);
        prop_assert_eq!(&decoded.bad, &vec![]);
        let back = RecordBatch::try_new(Arc::clone(&schema), decoded.columns).unwrap();
        prop_assert_eq!(&back, &batch);
        // Where nothing has to be refused, arrow-json reads the same (but for bytes, which it has in hexadecimal).
        if rows > 0 && !schema.fields().iter().any(|f| has_bytes(f.data_type())) {
            let mut theirs = arrow_json::ReaderBuilder::new(Arc::clone(&schema)).build_decoder().unwrap();
            for value in values.iter().flatten() {
                theirs.decode(value).unwrap();
            }
            prop_assert_eq!(&theirs.flush().unwrap().unwrap(), &batch);
        }
    }

    #[test]
    fn no_bytes_make_the_decoder_panic_and_good_neighbours_stay(
        bytes in prop::collection::vec(prop::collection::vec(prop::sample::select(b"{}[]\",:ae\\u0019-.tnrl \xc3".as_slice()), 0..24), 0..12)
    ) {
        let schema = schema_of(vec![
            Field::new("a", DataType::new_list(DataType::Int64, true), true), Field::new("e", map_of(DataType::Utf8), true),
        ]);
        let good: &[u8] = br#"{"a":[1,2],"e":{"x":"y"}}"#;
        let values: Vec<&[u8]> = bytes.iter().flat_map(|b| [b.as_slice(), good]).collect();
        let decoded = decode(&schema, &BinaryArray::from_vec(values.clone()));
        let rows = decoded.columns[0].len();
        prop_assert_eq!(rows + decoded.bad.len(), values.len());
        prop_assert!(decoded.bad.iter().all(|b| b.index % 2 == 0));
        if let Some(last) = rows.checked_sub(1) {
            let list = decoded.columns[0].as_list::<i32>().value(last);
            prop_assert_eq!(list.as_primitive::<Int64Type>().values().as_ref(), &[1, 2]);
        }
    }
}
