//! Reading: [`Queue`] ─► [`Batch`] ─► [`Message`], whose bytes stay where librdkafka received them.

use std::ffi::CStr;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::types::RDKafkaRespErr as RespErr;

use super::{Client, Failure, check, millis, slice};
use crate::time::Millis;

/// A consumer's queue: records, and what goes wrong with partitions. Rebalances are served while one waits on it.
#[derive(Debug)]
pub struct Queue {
    queue: NonNull<sys::rd_kafka_queue_t>,
    // Dropped after the queue.
    client: Arc<Client>,
}

// Sound: queues are locked inside librdkafka.
unsafe impl Send for Queue {}
unsafe impl Sync for Queue {}

impl Drop for Queue {
    fn drop(&mut self) {
        // Sound: our reference, given back once.
        unsafe { sys::rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}

impl Queue {
    /// The queue of a consumer; `None` for another client.
    pub fn of(client: &Arc<Client>) -> Option<Self> {
        // Sound: the reference is ours.
        let queue = NonNull::new(unsafe { sys::rd_kafka_queue_get_consumer(client.ptr()) })?;
        Some(Self { queue, client: Arc::clone(client) })
    }

    /// Whoever waits in [`Queue::take`] returns, or the next one who comes.
    pub fn wake(&self) {
        // Sound: any thread may do this.
        unsafe { sys::rd_kafka_queue_yield(self.queue.as_ptr()) };
    }

    /// Waits up to `wait` for a message, then takes what else is there, at most `most` in all. (One call that asks for many waits
    /// the whole time unless it gets them all.)
    ///
    /// `singly`: one call per message, at twice the cost. librdkafka's call for many takes an event (a partition's end, an error) for
    /// a record and moves the application's position behind it (`rd_kafka_q_serve_rkmessages`), so that after the next rebalance or
    /// pause the first record that comes there would be skipped. Whoever takes many must have a partition that an event is about
    /// read again from where it is, before anything else is done with it.
    pub fn take(&self, wait: Duration, most: usize, singly: bool, batch: &mut Batch) {
        batch.clear();
        batch.messages.reserve(most);
        // Sound: librdkafka fills at most as many slots as it is told there are, with messages that are ours then.
        unsafe {
            let mut next = sys::rd_kafka_consume_queue(self.queue.as_ptr(), millis(wait));
            if next.is_null() {
                return;
            }
            if singly {
                while !next.is_null() {
                    batch.messages.push(next);
                    if batch.messages.len() >= most {
                        return;
                    }
                    next = sys::rd_kafka_consume_queue(self.queue.as_ptr(), 0);
                }
                return;
            }
            batch.messages.push(next);
            let room = most.saturating_sub(1);
            let more = sys::rd_kafka_consume_batch_queue(self.queue.as_ptr(), 0, batch.messages.as_mut_ptr().add(1), room);
            batch.messages.set_len(1 + usize::try_from(more).unwrap_or(0).min(room));
        }
    }

    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }
}

/// Messages taken from a queue, destroyed with the batch.
#[derive(Debug, Default)]
pub struct Batch {
    messages: Vec<*mut sys::rd_kafka_message_t>,
}

impl Batch {
    /// The messages.
    pub fn iter(&self) -> impl Iterator<Item = Message<'_>> {
        // Sound: the pointers are valid until `clear`, which needs the batch mutably.
        self.messages.iter().map(|message| Message(unsafe { &**message }))
    }
    fn clear(&mut self) {
        for message in self.messages.drain(..) {
            // Sound: ours, destroyed once.
            unsafe { sys::rd_kafka_message_destroy(message) };
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A record, or an error about a partition.
#[derive(Debug, Clone, Copy)]
pub struct Message<'b>(&'b sys::rd_kafka_message_t);

impl<'b> Message<'b> {
    /// What went wrong, if this is no record.
    pub fn failure(self) -> Option<Failure> {
        let mut failure = check(self.0.err).err()?;
        // Sound: the payload of an error is its text.
        let said = unsafe { slice(self.0.payload.cast::<u8>().cast_const(), self.0.len) };
        if !said.is_empty() {
            failure.text = String::from_utf8_lossy(said).trim_end_matches('\0').to_owned();
        }
        Some(failure)
    }
    /// The same for neighbours of one topic; may be another topic's later.
    pub fn topic_mark(self) -> usize {
        self.0.rkt.addr()
    }
    /// The topic's name; empty for an error that is about none.
    pub fn topic(self) -> &'b str {
        if self.0.rkt.is_null() {
            return "";
        }
        // Sound: the name lives as long as the topic, which the message holds.
        unsafe { CStr::from_ptr(sys::rd_kafka_topic_name(self.0.rkt)) }.to_str().unwrap_or_default()
    }
    pub fn partition(self) -> i32 {
        self.0.partition
    }
    pub fn offset(self) -> i64 {
        self.0.offset
    }
    /// The record's time; 0 where a very old record has none.
    pub fn timestamp(self) -> Millis {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // Sound: reads the message.
        unsafe { sys::rd_kafka_message_timestamp(self.0, &raw mut kind) }.max(0)
    }
    pub fn key(self) -> Option<&'b [u8]> {
        // Sound: key and payload live as long as the message.
        (!self.0.key.is_null()).then(|| unsafe { slice(self.0.key.cast::<u8>().cast_const(), self.0.key_len) })
    }
    pub fn value(self) -> Option<&'b [u8]> {
        (!self.0.payload.is_null()).then(|| unsafe { slice(self.0.payload.cast::<u8>().cast_const(), self.0.len) })
    }
    /// Headers in their order. A name that is not UTF-8 is read as far as it is one.
    pub fn headers(self) -> impl Iterator<Item = (&'b str, Option<&'b [u8]>)> {
        let mut headers = ptr::null_mut();
        // Sound: the headers stay the message's and live as long; they are read by index until there is none.
        let got = unsafe { sys::rd_kafka_message_headers(self.0, &raw mut headers) };
        let present = got == RespErr::RD_KAFKA_RESP_ERR_NO_ERROR && !headers.is_null();
        (0..if present { usize::MAX } else { 0 }).map_while(move |index| {
            let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
            let got = unsafe { sys::rd_kafka_header_get_all(headers, index, &raw mut name, &raw mut value, &raw mut size) };
            check(got).ok()?;
            let name: &[u8] = if name.is_null() { &[] } else { unsafe { CStr::from_ptr(name) }.to_bytes() };
            let name = std::str::from_utf8(name)
                .or_else(|e| std::str::from_utf8(name.get(..e.valid_up_to()).unwrap_or_default()))
                .unwrap_or_default();
            let value = (!value.is_null()).then(|| unsafe { slice(value.cast::<u8>(), size) });
            Some((name, value))
        })
    }
}
