//! Rows out of nothing: `n` counts from 0, `ts` is the time.   clock ─► rows that are due ─► [`Event::Cut`]
//!
//! One partition, 0; a row's offset is its `n`, so a job goes on where it stopped. With a rate, row `n` is due at the start plus
//! `n / rate` seconds, and that moment is its `ts`: time that was spent elsewhere is caught up. Without one (only where `rows`
//! says how many) rows come as fast as they are taken, and `ts` is the present.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Int64Array, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use tokio::time::Instant;

use super::{Assignment, Chunk, Connector, Cut, Event, Limit, Rows, Source};
use crate::config::{OptionSpec, Options};
use crate::error::{Error, Result};
use crate::time::{Millis, now};

/// `connector = 'generator'`: what it is called and which options it reads.
#[derive(Debug)]
pub struct GeneratorConnector;

impl Connector for GeneratorConnector {
    fn name(&self) -> &'static str {
        "generator"
    }
    fn options(&self) -> &'static [OptionSpec] {
        &[
            OptionSpec { name: "rows", values: "a number", default: "endless", doc: "How many rows there are." },
            OptionSpec {
                name: "rate",
                values: "a number",
                default: "1000 when endless, else as fast as possible",
                doc: "Rows per second.",
            },
        ]
    }
}

/// Rows per second where neither `rows` nor `rate` is given.
const DEFAULT_RATE: u64 = 1_000;
/// Bytes of one row.
const ROW_BYTES: usize = 16;
/// The most rows in one batch, whatever the limit, so that an endless limit does not fill the memory.
const MAX_BATCH: i64 = 1 << 20;

/// Counts.
#[derive(Debug)]
pub struct Generator {
    schema: SchemaRef,
    /// The next row.
    next: i64,
    /// Behind the last row; `None`: there is no last.
    end: Option<i64>,
    /// Rows per second; `None`: as fast as possible.
    rate: Option<u64>,
    /// The row and the moment that the rate counts from: those of the first call.
    began: Option<(i64, Instant, Millis)>,
    assigned: bool,
}

impl Generator {
    /// A generator whose next row is `start`; it is finished at `rows`, if that is given.
    ///
    /// # Errors
    /// `User` if `rows` or `rate` is no whole number, or `rate` is 0.
    #[allow(clippy::new_ret_no_self)] // The engine knows sources, not kinds of them.
    pub fn new(options: &Options, start: i64) -> Result<Box<dyn Source>> {
        let end = options.number("rows", 0)?.map(|rows| i64::try_from(rows).unwrap_or(i64::MAX));
        let rate = options.number("rate", 1)?.or(if end.is_none() { Some(DEFAULT_RATE) } else { None });
        Ok(Box::new(Self { schema: Self::schema(), next: start.max(0), end, rate, began: None, assigned: false }))
    }

    /// The columns `n BIGINT, ts TIMESTAMP(3)`, never NULL.
    #[must_use]
    pub fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("n", DataType::Int64, false),
            Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), false),
        ]))
    }

    fn batch(&self, to: i64) -> Result<RecordBatch> {
        let numbers = Int64Array::from_iter_values(self.next..to);
        let times = match (self.rate, self.began) {
            (Some(rate), Some((first, _, start))) => TimestampMillisecondArray::from_iter_values(
                (self.next..to)
                    .map(|n| start.saturating_add(after(n - first, rate).as_millis().try_into().unwrap_or(i64::MAX))),
            ),
            _ => TimestampMillisecondArray::from_value(now(), numbers.len()),
        };
        RecordBatch::try_new(Arc::clone(&self.schema), vec![Arc::new(numbers), Arc::new(times)])
            .map_err(|e| Error::internal(format!("the generator made a wrong batch: {e}")))
    }
}

/// When row `n` (counted from the first of this run) is due at `rate` rows per second.
fn after(n: i64, rate: u64) -> Duration {
    let nanos = i128::from(n.max(0)) * 1_000_000_000 / i128::from(rate.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[async_trait]
impl Source for Generator {
    async fn next(&mut self, limit: Limit) -> Result<Event> {
        if !self.assigned {
            self.assigned = true;
            return Ok(Event::Assigned(vec![Assignment { input: 0, partition: 0, offset: self.next, committed: None }]));
        }
        if limit.is_none() {
            return std::future::pending().await;
        }
        let end = self.end.unwrap_or(i64::MAX);
        if self.next >= end {
            return Ok(Event::Finished);
        }
        let (first, start, _) = *self.began.get_or_insert_with(|| (self.next, Instant::now(), now()));
        let due = match self.rate {
            None => end,
            Some(rate) => {
                // Nothing is taken before this wait ends, so a dropped call loses nothing.
                tokio::time::sleep_until(start + after(self.next - first, rate)).await;
                let passed = start.elapsed().as_nanos() * u128::from(rate) / 1_000_000_000;
                let due = first.saturating_add(i64::try_from(passed).unwrap_or(i64::MAX)).saturating_add(1);
                due.clamp(self.next + 1, end)
            }
        };
        let room = limit.rows.min(limit.bytes / ROW_BYTES).max(1);
        let to = due.min(self.next.saturating_add(i64::try_from(room).unwrap_or(i64::MAX).min(MAX_BATCH)));
        let batch = self.batch(to)?;
        self.next = to;
        let rows = Rows::Batch(batch);
        let chunk = Chunk { input: 0, partition: 0, next_offset: to, end: self.end, rows };
        Ok(Event::Cut(Cut { chunks: vec![chunk], membership: None }))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::{Int64Type, TimestampMillisecondType};

    use super::*;

    const ALL: Limit = Limit { rows: usize::MAX, bytes: usize::MAX };

    fn generator(pairs: &[(&str, &str)], start: i64) -> Box<dyn Source> {
        let options: Options = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Generator::new(&options, start).unwrap()
    }

    /// The numbers and times of the next cut; `None` at the end.
    async fn cut(source: &mut Box<dyn Source>, limit: Limit) -> Option<(Vec<i64>, Vec<i64>, i64)> {
        loop {
            match source.next(limit).await.unwrap() {
                Event::Assigned(_) => {}
                Event::Cut(mut cut) => {
                    let chunk = cut.chunks.remove(0);
                    let Rows::Batch(batch) = chunk.rows else { panic!("a generator makes batches") };
                    let numbers = batch.column(0).as_primitive::<Int64Type>().values().to_vec();
                    let times = batch.column(1).as_primitive::<TimestampMillisecondType>().values().to_vec();
                    return Some((numbers, times, chunk.next_offset));
                }
                _ => return None,
            }
        }
    }

    #[tokio::test]
    async fn rows_without_a_rate_come_at_once_and_end() {
        let mut source = generator(&[("rows", "10")], 3);
        assert!(matches!(source.next(ALL).await.unwrap(), Event::Assigned(a) if a[0].offset == 3));
        let (numbers, _, next) = cut(&mut source, Limit { rows: 4, bytes: usize::MAX }).await.unwrap();
        assert_eq!((numbers, next), (vec![3, 4, 5, 6], 7));
        assert_eq!(cut(&mut source, Limit { rows: 100, bytes: 0 }).await.unwrap().0, [7]);
        assert_eq!(cut(&mut source, ALL).await.unwrap().0, [8, 9]);
        assert!(cut(&mut source, ALL).await.is_none());
        assert!(cut(&mut source, ALL).await.is_none());
    }

    #[tokio::test]
    async fn a_rate_is_kept_and_a_dropped_call_loses_nothing() {
        let mut source = generator(&[("rate", "1000")], 0);
        let began = Instant::now();
        let (mut numbers, mut times) = (Vec::new(), Vec::new());
        while numbers.len() < 200 {
            let call = tokio::time::timeout(Duration::from_micros(100), cut(&mut source, ALL));
            if let Ok(Some((n, t, _))) = call.await {
                numbers.extend(n);
                times.extend(t);
            }
        }
        assert!(began.elapsed() >= Duration::from_millis(199), "{:?}", began.elapsed());
        assert!(numbers.iter().copied().eq(0..numbers.len() as i64));
        assert_eq!(times[150] - times[0], 150);
    }

    #[test]
    fn a_wrong_option_is_an_error() {
        for (name, value) in [("rate", "0"), ("rate", "1.5"), ("rows", "-1")] {
            let options: Options = [(name.to_owned(), value.to_owned())].into_iter().collect();
            assert!(Generator::new(&options, 0).is_err(), "{name} = {value}");
        }
    }
}
