//! `vatic consume TOPIC`: values, one per line, from the earliest record to the present end, or on and on with `--follow`.
//!
//! Values are printed as the bytes they are, a tombstone as an empty line. `--json` prints one object per record, whose key
//! and value are text, null, or `{"base64": ...}` where they are not UTF-8.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BinaryArray};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::Context;
use super::args::ConsumeArgs;
use super::output::Output;
use crate::connector::{Event, Limit, OffsetAt, Partition, Rows, Source, SourceSpec, Start, TopicSource};
use crate::engine::{existing, presence};
use crate::error::Result;
use crate::format::Records;

/// So many bytes may be read ahead.
const BUDGET: usize = 16 << 20;
/// One step of reading and printing.
const LIMIT: Limit = Limit { rows: 8_192, bytes: 4 << 20 };

/// Prints a topic. Partitions come as they are read; the records of one partition keep their order.
///
/// # Errors
/// `User` if there is no such topic; `External` from the broker; those of stdout.
pub(crate) async fn consume(cx: &Context, args: &ConsumeArgs) -> Result<()> {
    let engine = cx.engine().await?;
    let broker = engine.broker();
    existing(broker, &args.topic).await?;
    let ends = if args.follow { None } else { Some(broker.offsets(&args.topic, OffsetAt::Latest).await?) };
    let topic: Arc<str> = args.topic.as_str().into();
    let read = TopicSource { topic: Arc::clone(&topic), start: Start::At(OffsetAt::Earliest), ends, partitions: None };
    let spec = SourceSpec { topics: vec![read], budget: BUDGET, ..SourceSpec::default() };
    let mut source = broker.source(spec).await?;
    let reading = print_all(source.as_mut(), &topic, args.json);
    if !args.follow {
        return reading.await;
    }
    tokio::select! {
        outcome = reading => outcome,
        never = presence::watch(broker.as_ref(), &topic, engine.notices()) => match never {},
    }
}

/// Prints what `source` reads, to its end.
async fn print_all(source: &mut dyn Source, topic: &str, json: bool) -> Result<()> {
    let mut out = Output::stdout();
    loop {
        match source.next(LIMIT).await? {
            Event::Cut(cut) => {
                for chunk in cut.chunks {
                    let Rows::Records(records) = chunk.rows else { continue };
                    if json {
                        print_objects(&mut out, topic, chunk.partition, &records)?;
                    } else {
                        for value in &records.values {
                            out.write(value.unwrap_or_default())?;
                            out.write(b"\n")?;
                        }
                    }
                }
                out.flush()?;
            }
            Event::Finished => return Ok(()),
            Event::Assigned(_) | Event::Revoked(_) | Event::Lost(_) => {}
        }
    }
}

fn print_objects(out: &mut Output, topic: &str, partition: Partition, records: &Records) -> Result<()> {
    for row in 0..records.len() {
        out.line(&object(topic, partition, records, row).to_string())?;
    }
    Ok(())
}

fn object(topic: &str, partition: Partition, records: &Records, row: usize) -> Value {
    json!({
        "topic": topic,
        "partition": partition,
        "offset": records.offsets[row],
        "timestamp": records.timestamps[row],
        "key": text(at(&records.keys, row)),
        "value": text(at(&records.values, row)),
        "headers": headers(records, row),
    })
}

fn at(array: &BinaryArray, row: usize) -> Option<&[u8]> {
    (!array.is_null(row)).then(|| array.value(row))
}

fn text(bytes: Option<&[u8]>) -> Value {
    match bytes.map(|bytes| std::str::from_utf8(bytes).map_err(|_| bytes)) {
        None => Value::Null,
        Some(Ok(text)) => Value::from(text),
        Some(Err(bytes)) => json!({ "base64": STANDARD.encode(bytes) }),
    }
}

/// Headers by name; a name that repeats has an array of its values, in their order.
fn headers(records: &Records, row: usize) -> Value {
    let mut object = Map::new();
    let Some(headers) = records.headers.as_ref().filter(|h| !h.is_null(row)) else { return Value::Object(object) };
    let entries = headers.value(row);
    let (names, values) = (entries.column(0).as_string_opt::<i32>(), entries.column(1).as_binary_opt::<i32>());
    let (Some(names), Some(values)) = (names, values) else { return Value::Object(object) };
    let mut repeated = std::collections::HashSet::new();
    for (i, name) in names.iter().flatten().enumerate() {
        let value = text(at(values, i));
        match object.get_mut(name) {
            None => {
                object.insert(name.to_owned(), value);
            }
            Some(Value::Array(all)) if repeated.contains(name) => all.push(value),
            Some(first) => {
                repeated.insert(name.to_owned());
                *first = Value::Array(vec![first.take(), value]);
            }
        }
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::RecordsBuilder;

    #[test]
    fn an_object_tells_everything_of_a_record() {
        let mut builder = RecordsBuilder::with_capacity(2);
        builder.push(
            7,
            1_700_000_000_123,
            Some(b"k"),
            Some(b"\xff\x00"),
            [("a", Some(&b"1"[..])), ("b", None), ("a", Some(b"2"))],
        );
        builder.push(9, 0, None, None, []);
        let records = builder.finish();
        assert_eq!(
            object("t", 3, &records, 0).to_string(),
            "{\"topic\":\"t\",\"partition\":3,\"offset\":7,\"timestamp\":1700000000123,\"key\":\"k\",\
             \"value\":{\"base64\":\"/wA=\"},\"headers\":{\"a\":[\"1\",\"2\"],\"b\":null}}"
        );
        assert_eq!(
            object("t", 0, &records, 1).to_string(),
            "{\"topic\":\"t\",\"partition\":0,\"offset\":9,\"timestamp\":0,\"key\":null,\"value\":null,\"headers\":{}}"
        );
    }
}
