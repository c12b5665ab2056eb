//! `vatic produce TOPIC [FILE|-]`: one record per line.   lines ─► [`Reader`] (own thread) ─► batches ─► one commit each
//!
//! Bytes go as they are, without the line end (`\n`); an empty line is a record with an empty value. A batch is what is at
//! hand, up to 8,192 records or 1 MB, so that typed lines are visible at once and files go in large commits.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::Context;
use super::args::ProduceArgs;
use crate::connector::{Commit, NewTopic, Output, Partition, Sink, SinkSpec, Topic};
use crate::error::{Error, ErrorKind, Result};
use crate::format::RecordsBuilder;
use crate::format::partition::partition_for_key;
use crate::time;

/// At most so many records in one commit.
const BATCH_RECORDS: usize = 8_192;
/// At most so many bytes in one commit, and one record more.
const BATCH_BYTES: usize = 1 << 20;

/// Writes all lines, and says how many there were.
///
/// # Errors
/// `User` for a file that is missing or a bad topic name; `External` from the broker; `Interrupted` after a signal, when
/// all batches that were begun are committed.
pub(crate) async fn produce(cx: &Context, args: &ProduceArgs) -> Result<()> {
    let input = open(&args.file)?;
    let name = &args.topic;
    let engine = cx.until_signal(cx.engine()).await?;
    let broker = engine.broker();
    if broker.create_topic(&NewTopic { name: name.clone(), ..NewTopic::default() }).await? {
        cx.ui.info(&format!("created topic \"{name}\""));
    }
    let topic = broker.topic(name).await?.ok_or_else(|| Error::external(format!("topic \"{name}\" is gone")))?;
    let mut writer = Writer::new(&topic, broker.sink(SinkSpec::default()).await?);
    let (sender, mut batches) = mpsc::channel(1);
    let separator = args.key_separator.clone().map(String::into_bytes);
    let file = args.file.clone();
    // A thread, not a task: a read from a terminal cannot be called off, and must not keep the process from ending.
    std::thread::Builder::new()
        .name("vatic-lines".to_owned())
        .spawn(move || {
            let mut reader = Reader { input, separator, lines: 0 };
            loop {
                let Some(batch) = reader.next().map_err(|e| super::unreadable(&file, e)).transpose() else { return };
                let last = batch.is_err();
                if sender.blocking_send(batch).is_err() || last {
                    return; // nobody takes the lines any more, or there are no more to be had
                }
            }
        })
        .map_err(|e| Error::external("cannot start a thread").source(e))?;
    let outcome = loop {
        let batch = match cx.until_signal(async { batches.recv().await.transpose() }).await {
            Ok(Some(batch)) => batch,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        };
        if let Err(error) = writer.write(&batch).await {
            break Err(error);
        }
    };
    let what = if writer.records == 1 { "record" } else { "records" };
    cx.ui.info(&format!("produced {} {what} to \"{name}\"", writer.records));
    outcome
}

fn open(path: &Path) -> Result<Input> {
    let input: Box<dyn Read + Send> = if path.as_os_str() == "-" {
        Box::new(std::io::stdin())
    } else {
        let open = || -> std::io::Result<std::fs::File> {
            let file = std::fs::File::open(path)?;
            if file.metadata()?.is_dir() { Err(std::io::ErrorKind::IsADirectory.into()) } else { Ok(file) }
        };
        Box::new(open().map_err(|e| super::unreadable(path, e))?)
    };
    Ok(BufReader::with_capacity(BATCH_BYTES, input))
}

type Input = BufReader<Box<dyn Read + Send>>;

/// Some records, one after another in one buffer.
#[derive(Debug, Default)]
struct Batch {
    /// The number of the line before the first.
    lines_before: u64,
    bytes: Vec<u8>,
    /// Of each record: where its key ends (if it has one), where its value begins and ends. It begins where the last ended.
    records: Vec<(Option<usize>, usize, usize)>,
}

impl Batch {
    fn iter(&self) -> impl Iterator<Item = (Option<&[u8]>, &[u8])> {
        let starts = std::iter::once(0).chain(self.records.iter().map(|record| record.2));
        starts.zip(&self.records).map(|(start, &(key_end, value, end))| {
            (key_end.map(|key_end| &self.bytes[start..key_end]), &self.bytes[value..end])
        })
    }
}

/// Cuts lines into batches.
struct Reader {
    input: Input,
    separator: Option<Vec<u8>>,
    /// How many were read.
    lines: u64,
}

impl Reader {
    /// The lines at hand, at least one; `None` at the end.
    fn next(&mut self) -> std::io::Result<Option<Batch>> {
        let mut batch = Batch { lines_before: self.lines, ..Batch::default() };
        while batch.records.len() < BATCH_RECORDS && batch.bytes.len() < BATCH_BYTES {
            let start = batch.bytes.len();
            // Once there are lines to hand over, only a whole line is worth taking: the rest of it may be long in coming.
            if !batch.records.is_empty() && !self.input.buffer().contains(&b'\n') {
                break;
            }
            if self.input.read_until(b'\n', &mut batch.bytes)? == 0 {
                break;
            }
            if batch.bytes.last() == Some(&b'\n') {
                batch.bytes.pop();
            }
            let end = batch.bytes.len();
            let found = self.separator.as_deref().and_then(|separator| {
                let line = &batch.bytes[start..end];
                let at = line.windows(separator.len()).position(|window| window == separator)?;
                Some((start + at, start + at + separator.len()))
            });
            batch.records.push(match found {
                Some((key_end, value)) => (Some(key_end), value, end),
                None => (None, start, end),
            });
        }
        self.lines += batch.records.len() as u64;
        Ok((!batch.records.is_empty()).then_some(batch))
    }
}

/// Writes batches to a topic. A record with a key goes to its key's partition, as Java's producer does it; the others are
/// dealt in runs, one per partition and batch.
struct Writer {
    topic: Arc<str>,
    sink: Box<dyn Sink>,
    deal: Deal,
    /// The largest record that the topic takes.
    limit: usize,
    /// How many are committed.
    records: u64,
}

impl Writer {
    fn new(topic: &Topic, sink: Box<dyn Sink>) -> Self {
        // Anywhere, so that many calls with one line each do not all meet in partition 0.
        let first = Partition::try_from(time::now().rem_euclid(i64::from(topic.partitions.max(1)))).unwrap_or(0);
        let deal = Deal { partitions: topic.partitions.max(1), next: first };
        Self { topic: topic.name.as_str().into(), sink, deal, limit: topic.max_message_bytes(), records: 0 }
    }

    async fn write(&mut self, batch: &Batch) -> Result<()> {
        let outputs = self.deal.outputs(&self.topic, batch);
        let outcome = self.sink.commit(Commit { outputs, ..Commit::default() }).await;
        outcome.map_err(|error| self.with_line(error, batch))?;
        self.records += batch.records.len() as u64;
        Ok(())
    }
}

impl Writer {
    /// An error of a line that is too large, with its number.
    fn with_line(&self, error: Error, batch: &Batch) -> Error {
        /// What brokers count beside key and value, about; a record so close to the limit may be told without its line.
        const OVERHEAD: usize = 82;
        let too_large =
            |(key, value): (Option<&[u8]>, &[u8])| key.map_or(0, <[u8]>::len) + value.len() + OVERHEAD > self.limit;
        match (1..).zip(batch.iter()).find(|(_, record)| too_large(*record)) {
            Some((line, _)) if error.kind() == ErrorKind::Data => {
                error.context(format_args!("line {}", batch.lines_before + line))
            }
            _ => error,
        }
    }
}

/// Which record goes where.
#[derive(Debug)]
struct Deal {
    partitions: i32,
    /// The partition of the next run of records without a key.
    next: Partition,
}

impl Deal {
    fn outputs(&mut self, topic: &Arc<str>, batch: &Batch) -> Vec<Output> {
        let now = time::now();
        let keyless = batch.records.iter().filter(|record| record.0.is_none()).count();
        let run = keyless.div_ceil(usize::try_from(self.partitions).unwrap_or(1)).max(1);
        let mut builders: Vec<_> = (0..self.partitions).map(|_| RecordsBuilder::with_capacity(0)).collect();
        let mut in_run = 0;
        for (key, value) in batch.iter() {
            let partition = match key {
                Some(key) => partition_for_key(key, self.partitions),
                None => {
                    if in_run == run {
                        (self.next, in_run) = ((self.next + 1) % self.partitions, 0);
                    }
                    in_run += 1;
                    self.next
                }
            };
            if let Some(builder) = usize::try_from(partition).ok().and_then(|i| builders.get_mut(i)) {
                builder.push(0, now, key, Some(value), []);
            }
        }
        if in_run > 0 {
            self.next = (self.next + 1) % self.partitions;
        }
        let outputs = (0..).zip(&mut builders).filter(|(_, builder)| !builder.is_empty());
        outputs
            .map(|(partition, builder)| Output { topic: Arc::clone(topic), partition, records: builder.finish() })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(text: &'static [u8], capacity: usize, separator: Option<&str>) -> Reader {
        let input: Box<dyn Read + Send> = Box::new(text);
        let separator = separator.map(|s| s.as_bytes().to_vec());
        Reader { input: BufReader::with_capacity(capacity, input), separator, lines: 0 }
    }

    fn all(mut reader: Reader) -> Vec<(Option<String>, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut records = Vec::new();
        while let Some(batch) = reader.next().unwrap() {
            records.extend(batch.iter().map(|(key, value)| (key.map(text), text(value))));
        }
        records
    }

    #[test]
    fn every_line_is_a_record_whatever_the_buffer_holds() {
        let value = |text: &str| (None, text.to_owned());
        for capacity in [1, 2, 3, 7, 64] {
            assert_eq!(all(reader(b"a\n\nbcd\r\ne", capacity, None)), ["a", "", "bcd\r", "e"].map(value), "{capacity}");
            assert_eq!(all(reader(b"a\n", capacity, None)), [value("a")]);
            assert_eq!(all(reader(b"", capacity, None)), []);
        }
    }

    #[test]
    fn the_first_separator_ends_the_key() {
        let records = all(reader(b"k=>v=>w\n=>v\nno key\n", 5, Some("=>")));
        let expected = [(Some("k"), "v=>w"), (Some(""), "v"), (None, "no key")];
        assert_eq!(records, expected.map(|(k, v)| (k.map(str::to_owned), v.to_owned())));
    }

    #[test]
    fn keys_stay_together_and_the_rest_is_dealt_evenly() {
        let topic: Arc<str> = "t".into();
        let mut deal = Deal { partitions: 4, next: 3 };
        let batch = reader(b"1\n2\n3\n4\n5\n6\n7\n8\n", 64, None).next().unwrap().unwrap();
        let outputs = deal.outputs(&topic, &batch);
        let values =
            |output: &Output| output.records.values.iter().flatten().map(<[u8]>::to_vec).collect::<Vec<_>>().concat();
        let dealt: Vec<_> = outputs.iter().map(|o| (o.partition, values(o))).collect();
        let expected = [(0, b"34"), (1, b"56"), (2, b"78"), (3, b"12")].map(|(p, v)| (p, v.to_vec()));
        assert_eq!(dealt, expected);
        assert_eq!(deal.next, 3);
        let batch = reader(b"foobar|1\nfoobar|2\n", 64, Some("|")).next().unwrap().unwrap();
        let outputs = deal.outputs(&topic, &batch);
        assert_eq!(outputs.len(), 1);
        assert_eq!((outputs[0].partition, outputs[0].records.len()), (partition_for_key(b"foobar", 4), 2));
    }
}
