//! Writing: records ─► [`Client::produce`] ─► librdkafka's queue ─► delivery reports; and transactions around it.

use std::ffi::{c_int, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray, BinaryArray};
use rdkafka::TopicPartitionList;
use rdkafka::bindings as sys;
use rdkafka::types::RDKafkaErrorCode as Code;

use super::{Client, Delivered, Failure, GroupMetadata, Outcome, c_string, check, check_error, lock, millis};
use crate::format::Records;

/// A topic that records are written to; a look-up by name per record would cost a third of the work.
#[derive(Debug)]
pub struct Handle {
    topic: NonNull<sys::rd_kafka_topic_t>,
    // Dropped after the topic.
    _client: Arc<Client>,
}

// Sound: topics are counted and locked inside librdkafka.
unsafe impl Send for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        // Sound: our reference, given back once.
        unsafe { sys::rd_kafka_topic_destroy(self.topic.as_ptr()) };
    }
}

impl Handle {
    pub fn new(client: &Arc<Client>, topic: &str) -> Outcome<Self> {
        let name = c_string(topic)?;
        // Sound: no settings are handed over; null means failure.
        match NonNull::new(unsafe { sys::rd_kafka_topic_new(client.ptr(), name.as_ptr(), ptr::null_mut()) }) {
            Some(topic) => Ok(Self { topic, _client: Arc::clone(client) }),
            None => Err(Failure::of(unsafe { sys::rd_kafka_last_error() })),
        }
    }
}

/// A producer's part of [`Client`].
impl Client {
    /// Forgets what became of earlier records and gets ready for `outputs` of them.
    pub fn expect(&self, outputs: usize) {
        *lock(&self.hooks.delivered) = Delivered { first: vec![-1; outputs], failure: None };
    }
    /// What became of the records since [`Client::expect`].
    pub fn delivered(&self) -> Delivered {
        std::mem::take(&mut *lock(&self.hooks.delivered))
    }

    /// Hands records to librdkafka, which copies them, from row `from` on and before row `to`. Returns the first row that did not
    /// fit into its queue any more. `output` counts from 0 and is where the first row's offset will be noted.
    pub fn produce(
        &self,
        handle: &Handle,
        partition: i32,
        records: &Records,
        (from, to): (usize, usize),
        output: usize,
    ) -> Outcome<usize> {
        use sys::rd_kafka_vtype_t as T;
        type Value = sys::rd_kafka_vu_s__bindgen_ty_1;
        let vu = |vtype: T, u: Value| sys::rd_kafka_vu_t { vtype, u };
        let none = sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 { ptr: ptr::null_mut(), size: 0 };
        let mut parts = [
            vu(T::RD_KAFKA_VTYPE_RKT, Value { rkt: handle.topic.as_ptr() }),
            vu(T::RD_KAFKA_VTYPE_PARTITION, Value { i32_: partition }),
            vu(T::RD_KAFKA_VTYPE_MSGFLAGS, Value { i: sys::RD_KAFKA_MSG_F_COPY as c_int }),
            vu(T::RD_KAFKA_VTYPE_KEY, Value { mem: none }),
            vu(T::RD_KAFKA_VTYPE_VALUE, Value { mem: none }),
            vu(T::RD_KAFKA_VTYPE_TIMESTAMP, Value { i64_: 0 }),
            vu(T::RD_KAFKA_VTYPE_OPAQUE, Value { ptr: ptr::null_mut() }),
            vu(T::RD_KAFKA_VTYPE_HEADERS, Value { headers: ptr::null_mut() }),
        ];
        let bytes = |array: &BinaryArray, row: usize| {
            if array.is_null(row) {
                return none;
            }
            let value = array.value(row);
            sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 { ptr: value.as_ptr().cast_mut().cast(), size: value.len() }
        };
        for row in from..to {
            parts[3].u.mem = bytes(&records.keys, row);
            parts[4].u.mem = bytes(&records.values, row);
            parts[5].u.i64_ = records.timestamps.get(row).copied().unwrap_or(0);
            parts[6].u.ptr = ptr::without_provenance_mut(if row == 0 { output + 1 } else { 0 });
            let headers = headers_of(records, row);
            let count = if headers.is_null() { 7 } else { 8 };
            parts[7].u.headers = headers;
            // Sound: keys and values outlive the call, which copies them; `count` parts are filled as their types say.
            let outcome = check_error(unsafe { sys::rd_kafka_produceva(self.ptr(), parts.as_ptr(), count) });
            if let Err(failure) = outcome {
                if !headers.is_null() {
                    // Sound: they become librdkafka's only on success.
                    unsafe { sys::rd_kafka_headers_destroy(headers) };
                }
                return if failure.code == Code::QueueFull { Ok(row) } else { Err(failure) };
            }
        }
        Ok(to)
    }

    /// Waits until every record has been answered for; `false` if some are not in time.
    pub fn flush(&self, wait: Duration) -> bool {
        const STEP: Duration = Duration::from_secs(3);
        let deadline = Instant::now() + wait;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // Sound: serves delivery reports.
            if check(unsafe { sys::rd_kafka_flush(self.ptr(), millis(left.min(STEP))) }).is_ok() {
                return true;
            }
            if left <= STEP {
                return false;
            }
            self.revive();
        }
    }
    /// Throws away what was not sent or answered yet.
    pub fn purge(&self) {
        // Sound: the reports come with the next poll.
        unsafe {
            sys::rd_kafka_purge(self.ptr(), (sys::RD_KAFKA_PURGE_F_QUEUE | sys::RD_KAFKA_PURGE_F_INFLIGHT) as c_int);
        }
        self.poll(Duration::ZERO);
    }

    /// Fences older producers of the same transactional id and ends what they began.
    pub fn init_transactions(&self, deadline: Instant) -> Outcome<()> {
        // Sound, as the next three: blocking calls without arguments to own.
        repeat(deadline, |wait| check_error(unsafe { sys::rd_kafka_init_transactions(self.ptr(), wait) }))
    }
    pub fn begin(&self) -> Outcome<()> {
        check_error(unsafe { sys::rd_kafka_begin_transaction(self.ptr()) })
    }
    pub fn commit(&self, deadline: Instant) -> Outcome<()> {
        repeat(deadline, |wait| check_error(unsafe { sys::rd_kafka_commit_transaction(self.ptr(), wait) }))
    }
    pub fn abort(&self, deadline: Instant) -> Outcome<()> {
        repeat(deadline, |wait| check_error(unsafe { sys::rd_kafka_abort_transaction(self.ptr(), wait) }))
    }
    /// Puts positions of a group into the transaction.
    pub fn send_positions(&self, positions: &TopicPartitionList, member: &GroupMetadata, deadline: Instant) -> Outcome<()> {
        // Sound: both are only read.
        repeat(deadline, |wait| {
            check_error(unsafe {
                sys::rd_kafka_send_offsets_to_transaction(self.ptr(), positions.ptr(), member.0.as_ptr(), wait)
            })
        })
    }
}

/// Makes a call again while librdkafka says that it may be made again and there is time.
fn repeat(deadline: Instant, mut call: impl FnMut(c_int) -> Outcome<()>) -> Outcome<()> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match call(millis(left.max(Duration::from_millis(1)))) {
            Err(failure) if failure.retriable && !left.is_zero() => std::thread::sleep(Duration::from_millis(2)),
            outcome => return outcome,
        }
    }
}

/// The headers of a row as librdkafka's own, or null if it has none.
fn headers_of(records: &Records, row: usize) -> *mut sys::rd_kafka_headers_t {
    let Some(map) = records.headers.as_ref().filter(|map| map.is_valid(row) && map.value_length(row) > 0) else {
        return ptr::null_mut();
    };
    let (Some(names), Some(values)) = (map.keys().as_string_opt::<i32>(), map.values().as_binary_opt::<i32>()) else {
        return ptr::null_mut();
    };
    let offsets = map.value_offsets();
    let at = |index: usize| offsets.get(index).map_or(0, |offset| usize::try_from(*offset).unwrap_or(0));
    // Sound: name and value are copied, with their lengths.
    unsafe {
        let headers = sys::rd_kafka_headers_new(at(row + 1) - at(row));
        for index in at(row)..at(row + 1) {
            let name = names.value(index);
            let (value, size) = match values.is_valid(index).then(|| values.value(index)) {
                Some(value) => (value.as_ptr().cast::<c_void>(), value.len()),
                None => (ptr::null(), 0),
            };
            let (length, size) = (isize::try_from(name.len()).unwrap_or(0), isize::try_from(size).unwrap_or(0));
            sys::rd_kafka_header_add(headers, name.as_ptr().cast(), length, value, size);
        }
        headers
    }
}
