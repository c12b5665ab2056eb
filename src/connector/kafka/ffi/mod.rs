//! librdkafka behind safe types: the only folder of the connector that says `unsafe`.
//!
//! ```text
//! hooks      what librdkafka calls
//! client     properties ─► Client, which owns an rd_kafka_t
//! admin      what it asks: topics, settings, offsets, positions
//! queue      what it reads: Queue ─► Batch ─► Message
//! group      its place among others that read
//! producer   what it writes, and transactions
//! ```
//!
//! The rdkafka crate's own consumer hands over one message per call and its producer one per hash look-up; batches through the C
//! functions cost half (`docs/performance.md`). Pointers that C hands out live as long as the value they are wrapped in, and each
//! wrapper holds what must outlive it. Times are in milliseconds. To use another C function: wrap it here, with why it is sound.
#![allow(unsafe_code)]

mod admin;
mod client;
mod group;
mod hooks;
mod producer;
mod queue;

use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::types::{RDKafkaErrorCode as Code, RDKafkaRespErr as RespErr};

pub(super) use self::client::{BadProperty, Client, Kind, TopicMetadata};
pub(super) use self::group::{Answers, GroupMetadata};
pub(super) use self::hooks::{Delivered, Rebalance};
pub(super) use self::producer::Handle;
pub(super) use self::queue::{Batch, Message, Queue};

/// Takes a lock; a panic elsewhere does not make the data wrong, for all of it is replaced whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What librdkafka answered instead of success.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    /// Its code.
    pub code: Code,
    /// Its text.
    pub text: String,
    /// The same call may be made again.
    pub retriable: bool,
}

pub(super) type Outcome<T> = Result<T, Failure>;

impl Failure {
    pub(super) fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), retriable: false }
    }
    fn of(err: RespErr) -> Self {
        // Sound: librdkafka's texts are static.
        let text = unsafe { text(sys::rd_kafka_err2str(err)) };
        Self::new(err.into(), text.trim_start_matches("Local: ").trim_start_matches("Broker: "))
    }
}

fn check(err: RespErr) -> Outcome<()> {
    if err == RespErr::RD_KAFKA_RESP_ERR_NO_ERROR { Ok(()) } else { Err(Failure::of(err)) }
}

/// Takes an error object over; null means success.
fn check_error(error: *mut sys::rd_kafka_error_t) -> Outcome<()> {
    let Some(error) = NonNull::new(error) else { return Ok(()) };
    // Sound: the object is ours until it is destroyed, which happens once, here.
    unsafe {
        let failure = Failure {
            code: sys::rd_kafka_error_code(error.as_ptr()).into(),
            text: text(sys::rd_kafka_error_string(error.as_ptr())),
            retriable: sys::rd_kafka_error_is_retriable(error.as_ptr()) != 0,
        };
        sys::rd_kafka_error_destroy(error.as_ptr());
        Err(failure)
    }
}

/// A C string, copied. The pointer is null or points to one.
unsafe fn text(chars: *const c_char) -> String {
    if chars.is_null() { String::new() } else { unsafe { CStr::from_ptr(chars) }.to_string_lossy().into_owned() }
}

fn c_string(text: &str) -> Outcome<CString> {
    CString::new(text).map_err(|_| Failure::new(Code::InvalidArgument, "a name holds a zero byte"))
}

fn millis(time: Duration) -> c_int {
    c_int::try_from(time.as_millis()).unwrap_or(c_int::MAX)
}

/// `count` pointers or structs behind `first`. The memory must hold them for `'a`.
unsafe fn slice<'a, T>(first: *const T, count: usize) -> &'a [T] {
    if first.is_null() || count == 0 { &[] } else { unsafe { std::slice::from_raw_parts(first, count) } }
}

/// Keeps the C library from hoarding memory, once per process; records go through the hands of many threads here.
///
/// glibc gives each thread a heap of its own, up to eight per core, and what one thread frees is not another's to use; and the first
/// large block that is freed makes it take later ones from those heaps, too, where they leave holes. Measured with a backlog of
/// 4 M records: 11 and 12 MB. Whoever set `MALLOC_ARENA_MAX` or `GLIBC_TUNABLES` knows better.
pub(super) fn tame_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        use nix::libc::{M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, mallopt};
        static ONCE: std::sync::Once = std::sync::Once::new();
        if ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES"].iter().any(|name| std::env::var_os(name).is_some()) {
            return;
        }
        ONCE.call_once(|| {
            let cores = std::thread::available_parallelism().map_or(2, usize::from);
            // Sound: `mallopt` takes its own lock. A setting that is refused changes nothing.
            unsafe {
                mallopt(M_ARENA_MAX, c_int::try_from(cores.max(2)).unwrap_or(c_int::MAX));
                mallopt(M_MMAP_THRESHOLD, 256 << 10);
                mallopt(M_TRIM_THRESHOLD, 4 << 20);
            }
        });
    }
}

/// A partition as librdkafka lists it.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub topic: String,
    pub partition: i32,
    /// The offset asked for or answered; negative where there is none.
    pub offset: i64,
    pub metadata: String,
    /// What went wrong with this partition alone.
    pub failure: Option<Failure>,
}

unsafe fn entry(raw: &sys::rd_kafka_topic_partition_t) -> Entry {
    let metadata = unsafe { slice(raw.metadata.cast::<u8>().cast_const(), raw.metadata_size) };
    Entry {
        topic: unsafe { text(raw.topic) },
        partition: raw.partition,
        offset: raw.offset,
        metadata: String::from_utf8_lossy(metadata).into_owned(),
        failure: check(raw.err).err(),
    }
}

unsafe fn entries(list: *const sys::rd_kafka_topic_partition_list_t) -> Vec<Entry> {
    let Some(list) = (unsafe { list.as_ref() }) else { return Vec::new() };
    let all = unsafe { slice(list.elems.cast_const(), usize::try_from(list.cnt).unwrap_or(0)) };
    all.iter().map(|raw| unsafe { entry(raw) }).collect()
}
