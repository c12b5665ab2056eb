//! What librdkafka calls: logs, errors, rebalances, delivery reports.   librdkafka's threads ─► [`Hooks`] ◄─ our threads
//!
//! Nothing but plain data is kept here; other files act on it from their own threads.

use std::collections::VecDeque;
use std::ffi::{c_char, c_int, c_void};
use std::io::Write as _;
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::bindings as sys;
use rdkafka::types::{RDKafkaErrorCode as Code, RDKafkaRespErr as RespErr};

use super::{Entry, Failure, entries, lock, text};

/// What librdkafka said by itself. It is written from librdkafka's threads and from those that call it.
#[derive(Debug, Default)]
pub struct Hooks {
    /// The newest complaints, oldest first.
    pub notes: Mutex<VecDeque<String>>,
    /// Why the broker refused our credentials, or we its certificate.
    pub refused: Mutex<Option<Failure>>,
    /// A broker has let us in: what sounds like a refusal from then on (a broker that dies in a handshake, a token that is fetched
    /// too late) may pass.
    pub let_in: AtomicBool,
    pub rebalances: Mutex<VecDeque<Rebalance>>,
    /// The consumer is about to leave: partitions are given back at once.
    pub closing: AtomicBool,
    pub delivered: Mutex<Delivered>,
    /// Log lines go to stderr: somebody set `debug`.
    pub echo: bool,
}

/// The group changed.
#[derive(Debug)]
pub enum Rebalance {
    /// These partitions are ours now; librdkafka waits for [`Client::assign`].
    Assign(Vec<Entry>),
    /// These are to be given back; librdkafka waits for [`Client::unassign`].
    Revoke(Vec<Entry>),
    /// These are another member's already; librdkafka waits for [`Client::unassign`].
    Lost(Vec<Entry>),
}

/// What became of the records of a commit.
#[derive(Debug, Default)]
pub struct Delivered {
    /// The offset of the first record of each output; -1 where it is not known.
    pub first: Vec<i64>,
    /// The first record that failed: its topic, and why.
    pub failure: Option<(String, Failure)>,
}

impl Hooks {
    fn note(&self, line: String) {
        let mut notes = lock(&self.notes);
        if notes.len() >= 8 {
            notes.pop_front();
        }
        notes.push_back(line);
    }
}

/// The hooks that belong to `rk`. Sound: the pointer was set by [`Client::new`], whose client holds the `Arc` longer than `rk` lives.
unsafe fn hooks<'a>(rk: *const sys::rd_kafka_t) -> Option<&'a Hooks> {
    if rk.is_null() {
        return None; // a complaint from before there is a client
    }
    unsafe { sys::rd_kafka_opaque(rk).cast::<Hooks>().as_ref() }
}

pub unsafe extern "C" fn on_log(rk: *const sys::rd_kafka_t, level: c_int, facility: *const c_char, line: *const c_char) {
    let (facility, line) = unsafe { (text(facility), text(line)) };
    let Some(hooks) = (unsafe { hooks(rk) }) else { return };
    if hooks.echo {
        // Not `eprintln!`, which panics if nobody reads it any more.
        let _ = writeln!(std::io::stderr(), "kafka: {facility}: {line}");
    } else if level <= 4 || facility == "FAIL" {
        hooks.note(line);
    }
}

pub unsafe extern "C" fn on_error(rk: *mut sys::rd_kafka_t, err: c_int, reason: *const c_char, _: *mut c_void) {
    let Some(hooks) = (unsafe { hooks(rk) }) else { return };
    let reason = unsafe { text(reason) };
    let is = |code: RespErr| err == code as c_int;
    for (native, code) in
        [(RespErr::RD_KAFKA_RESP_ERR__AUTHENTICATION, Code::Authentication), (RespErr::RD_KAFKA_RESP_ERR__SSL, Code::SSL)]
    {
        if is(native) && !hooks.let_in.load(Ordering::Acquire) {
            lock(&hooks.refused).get_or_insert_with(|| Failure::new(code, reason.clone()));
        }
    }
    hooks.note(reason);
}

pub unsafe extern "C" fn on_rebalance(
    rk: *mut sys::rd_kafka_t,
    err: RespErr,
    partitions: *mut sys::rd_kafka_topic_partition_list_t,
    _: *mut c_void,
) {
    let Some(hooks) = (unsafe { hooks(rk) }) else { return };
    if hooks.closing.load(Ordering::Acquire) {
        // Whoever leaves has committed what it wanted to; any answer is taken as "give all back" now.
        unsafe { sys::rd_kafka_assign(rk, ptr::null()) };
        return;
    }
    let entries = unsafe { entries(partitions) };
    let event = match err {
        RespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Rebalance::Assign(entries),
        _ if unsafe { sys::rd_kafka_assignment_lost(rk) } != 0 => Rebalance::Lost(entries),
        _ => Rebalance::Revoke(entries),
    };
    lock(&hooks.rebalances).push_back(event);
}

pub unsafe extern "C" fn on_delivery(rk: *mut sys::rd_kafka_t, message: *const sys::rd_kafka_message_t, _: *mut c_void) {
    let (Some(hooks), Some(message)) = (unsafe { (hooks(rk), message.as_ref()) }) else { return };
    // The usual record succeeded and is not its output's first: nothing to keep.
    let number = message._private.addr();
    let succeeded = message.err == RespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
    if succeeded && number == 0 {
        return;
    }
    let mut delivered = lock(&hooks.delivered);
    if succeeded {
        if let Some(first) = delivered.first.get_mut(number - 1) {
            *first = message.offset.max(-1);
        }
    } else if delivered.failure.is_none() {
        let topic = unsafe { text(sys::rd_kafka_topic_name(message.rkt)) };
        delivered.failure = Some((topic, Failure::of(message.err)));
    }
}
