//! The processes beside a job on Kafka.   [`fill`] ─► input;   [`probe`]: a record per millisecond ─► input ... output ─► latencies
//!
//! The probe is a plain client of librdkafka's, with nothing of ours between it and the broker: what it sees is what any consumer
//! with `read_committed` sees.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};

use super::input::{self, PARTITIONS, Producer};
use super::latency::{Latencies, Sent, warm_up};
use super::outputs::id_of;
use crate::cli::Context;
use crate::engine::{Engine, Notices};
use crate::error::{Error, Result};

/// How long the first record may take: a job that starts joins its group first.
const PATIENCE: Duration = Duration::from_secs(60);

/// Writes `rows` records to `topic`.
pub(super) async fn fill(cx: &Context, topic: &str, rows: u64) -> Result<()> {
    // The process that started this one has said what there is to say.
    let engine = Engine::open(cx.config.clone(), Notices::new(|_| {})).await?;
    Producer::new(engine.broker(), topic).await?.fill(rows).await
}

/// Writes a record per millisecond to `input` and waits until all are in `output`.
pub(super) fn probe(cx: &Context, input: &str, output: &str, rows: u64) -> Result<Latencies> {
    let consumer: BaseConsumer = config(cx)
        .set("group.id", "vatic-bench-probe") // never joined
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .create()
        .map_err(failed)?;
    let mut places = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        places.add_partition_offset(output, partition, Offset::Beginning).map_err(failed)?;
    }
    consumer.assign(&places).map_err(failed)?;
    let producer: BaseProducer = config(cx).set("linger.ms", "0").set("acks", "all").create().map_err(failed)?;
    let sent = Sent::new(rows + 1);
    // One record tells that the job reads; it is no part of the measurement.
    let first = rows;
    send(&producer, input, first)?;
    let begun = Instant::now();
    while see(&consumer)?.is_none_or(|id| id != first) {
        producer.poll(Duration::ZERO);
        if begun.elapsed() > PATIENCE {
            return Err(Error::external(format!("the job wrote nothing within {} s", PATIENCE.as_secs())));
        }
    }
    let feeding = feed(producer, input.to_owned(), rows, Arc::clone(&sent))?;
    let (mut there, mut latencies, mut last) = (0, Vec::new(), Instant::now());
    while there < rows {
        match see(&consumer)? {
            Some(id) => {
                (there, last) = (there + 1, Instant::now());
                latencies.extend(sent.since(id).filter(|_| id >= warm_up(rows)));
            }
            None if last.elapsed() > PATIENCE => {
                let seconds = PATIENCE.as_secs();
                return Err(Error::external(format!("{there} of {rows} rows came, and none for {seconds} s")));
            }
            None => {}
        }
    }
    feeding.join().map_err(|_| Error::internal("the producer ended early"))??;
    Ok(Latencies::of(&mut latencies))
}

/// The id of the next row, if one comes soon.
fn see(consumer: &BaseConsumer) -> Result<Option<u64>> {
    match consumer.poll(Duration::from_millis(100)) {
        None => Ok(None),
        Some(Ok(message)) => Ok(message.payload().and_then(id_of)),
        Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => Err(failed(error)),
        // A connection that broke, a leader that moved: the client goes on by itself, and whoever waits loses patience.
        Some(Err(_)) => Ok(None),
    }
}

/// Sends from a thread of its own, each record when its time has come.
fn feed(producer: BaseProducer, topic: String, rows: u64, sent: Arc<Sent>) -> Result<JoinHandle<Result<()>>> {
    let work = move || {
        let begun = Instant::now();
        for id in 0..rows {
            let due = Duration::from_millis(id);
            while let Some(left) = due.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) {
                std::thread::sleep(left);
            }
            sent.note(id);
            send(&producer, &topic, id)?;
            producer.poll(Duration::ZERO);
        }
        producer.flush(PATIENCE).map_err(failed)
    };
    let thread = std::thread::Builder::new().name("vatic-bench-feed".to_owned()).spawn(work);
    thread.map_err(|e| Error::external("a thread could not be started").source(e))
}

fn send(producer: &BaseProducer, topic: &str, id: u64) -> Result<()> {
    let mut text = Vec::with_capacity(160);
    input::record(id, &mut text);
    let partition = i32::try_from(id % u64::from(PARTITIONS.unsigned_abs())).unwrap_or(0);
    let record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic).payload(text.as_slice()).partition(partition);
    producer.send(record).map_err(|(error, _)| failed(error))
}

fn config(cx: &Context) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &cx.config.broker);
    cx.config.properties.iter().for_each(|(name, value)| {
        config.set(name, value);
    });
    config
}

fn failed(error: KafkaError) -> Error {
    Error::external("the benchmark's own client failed").source(error)
}
