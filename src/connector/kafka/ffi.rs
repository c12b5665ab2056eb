//! librdkafka behind safe types: the only file of the connector that says `unsafe`.
//!
//! [`Client`] owns an `rd_kafka_t`. librdkafka calls back into its [`Hooks`] (logs, errors, rebalances, delivery reports); nothing
//! but plain data is kept there, and other files act on it from their own threads. The rdkafka crate's own consumer hands over
//! one message per call and its producer one per hash look-up; batches through the C functions cost half (`docs/performance.md`).
//! Pointers that C hands out live as long as the value they are wrapped in, and each wrapper holds what must outlive it.
//! Times are in milliseconds. To use another C function: wrap it here, with why it is sound.
#![allow(unsafe_code)]

use std::collections::{BTreeMap, VecDeque};
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io::Write as _;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray, BinaryArray};
use rdkafka::TopicPartitionList;
use rdkafka::bindings as sys;
use rdkafka::types::{RDKafkaErrorCode as Code, RDKafkaRespErr as RespErr};

use crate::format::Records;
use crate::time::Millis;

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

// ---- what librdkafka calls ---------------------------------------------------------------------------------------------------

/// What librdkafka said by itself. It is written from librdkafka's threads and from those that call it.
#[derive(Debug, Default)]
pub(super) struct Hooks {
    /// The newest complaints, oldest first.
    notes: Mutex<VecDeque<String>>,
    /// Why the broker refused our credentials, or we its certificate.
    refused: Mutex<Option<Failure>>,
    /// A broker has let us in: what sounds like a refusal from then on (a broker that dies in a handshake, a token that is fetched
    /// too late) may pass.
    let_in: AtomicBool,
    rebalances: Mutex<VecDeque<Rebalance>>,
    /// The consumer is about to leave: partitions are given back at once.
    closing: AtomicBool,
    delivered: Mutex<Delivered>,
    /// Log lines go to stderr: somebody set `debug`.
    echo: bool,
}

/// The group changed.
#[derive(Debug)]
pub(super) enum Rebalance {
    /// These partitions are ours now; librdkafka waits for [`Client::assign`].
    Assign(Vec<Entry>),
    /// These are to be given back; librdkafka waits for [`Client::unassign`].
    Revoke(Vec<Entry>),
    /// These are another member's already; librdkafka waits for [`Client::unassign`].
    Lost(Vec<Entry>),
}

/// What became of the records of a commit.
#[derive(Debug, Default)]
pub(super) struct Delivered {
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

unsafe extern "C" fn on_log(rk: *const sys::rd_kafka_t, level: c_int, facility: *const c_char, line: *const c_char) {
    let (facility, line) = unsafe { (text(facility), text(line)) };
    let Some(hooks) = (unsafe { hooks(rk) }) else { return };
    if hooks.echo {
        // Not `eprintln!`, which panics if nobody reads it any more.
        let _ = writeln!(std::io::stderr(), "kafka: {facility}: {line}");
    } else if level <= 4 || facility == "FAIL" {
        hooks.note(line);
    }
}

unsafe extern "C" fn on_error(rk: *mut sys::rd_kafka_t, err: c_int, reason: *const c_char, _: *mut c_void) {
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

unsafe extern "C" fn on_rebalance(
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

unsafe extern "C" fn on_delivery(rk: *mut sys::rd_kafka_t, message: *const sys::rd_kafka_message_t, _: *mut c_void) {
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

// ---- lists of partitions -----------------------------------------------------------------------------------------------------

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

// ---- the client --------------------------------------------------------------------------------------------------------------

/// What a client is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It writes.
    Producer,
    /// It reads.
    Consumer,
    /// It asks. Underneath a consumer that reads nothing: librdkafka 2.12 crashes where a producer asks for a group's offsets and
    /// the answer is "another coordinator", since only consumers have what it then wakes.
    Admin,
}

/// Why a client could not be made.
#[derive(Debug)]
pub(super) enum BadProperty {
    /// There is none of that name; the names there are.
    Unknown(String, Vec<String>),
    /// A property does not take its value.
    Value { name: String, value: String, reason: String },
    /// Values do not fit together.
    Invalid(String),
}

/// A topic as the brokers' metadata describe it.
#[derive(Debug, Clone)]
pub(super) struct TopicMetadata {
    pub name: String,
    pub partitions: i32,
    pub replication: i16,
    /// Every partition has a leader.
    pub ready: bool,
}

/// A librdkafka client. All of its methods may be called from any thread; most of them block.
pub(super) struct Client {
    rk: NonNull<sys::rd_kafka_t>,
    hooks: Arc<Hooks>,
    /// `bootstrap.servers`
    address: CString,
}

// Sound: librdkafka's functions may be called from any thread at once, as its documentation says.
unsafe impl Send for Client {}
unsafe impl Sync for Client {}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("rk", &self.rk).finish_non_exhaustive()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Sound: nothing uses `rk` afterwards. A consumer that matters has been closed; without the flag this might wait for ever.
        unsafe { sys::rd_kafka_destroy_flags(self.rk.as_ptr(), sys::RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE as c_int) };
    }
}

impl Client {
    /// A client with these properties.
    pub(super) fn new(kind: Kind, properties: &BTreeMap<String, String>) -> Result<Self, BadProperty> {
        let hooks = Arc::new(Hooks { echo: properties.contains_key("debug"), ..Hooks::default() });
        let mut reason = [0 as c_char; 512];
        // Sound: `conf` is ours until `rd_kafka_new` succeeds; every way out before destroys it once.
        unsafe {
            let conf = sys::rd_kafka_conf_new();
            for (name, value) in properties {
                let outcome = match (CString::new(name.as_str()), CString::new(value.as_str())) {
                    (Ok(n), Ok(v)) => {
                        sys::rd_kafka_conf_set(conf, n.as_ptr(), v.as_ptr(), reason.as_mut_ptr(), reason.len())
                    }
                    _ => sys::rd_kafka_conf_res_t::RD_KAFKA_CONF_INVALID,
                };
                match outcome {
                    sys::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK => {}
                    sys::rd_kafka_conf_res_t::RD_KAFKA_CONF_UNKNOWN => {
                        let known = property_names(conf);
                        sys::rd_kafka_conf_destroy(conf);
                        return Err(BadProperty::Unknown(name.clone(), known));
                    }
                    sys::rd_kafka_conf_res_t::RD_KAFKA_CONF_INVALID => {
                        sys::rd_kafka_conf_destroy(conf);
                        let reason = text(reason.as_ptr());
                        return Err(BadProperty::Value { name: name.clone(), value: value.clone(), reason });
                    }
                }
            }
            sys::rd_kafka_conf_set_opaque(conf, Arc::as_ptr(&hooks).cast::<c_void>().cast_mut());
            sys::rd_kafka_conf_set_log_cb(conf, Some(on_log));
            sys::rd_kafka_conf_set_error_cb(conf, Some(on_error));
            let native = match kind {
                Kind::Consumer | Kind::Admin => {
                    sys::rd_kafka_conf_set_rebalance_cb(conf, Some(on_rebalance));
                    sys::rd_kafka_type_t::RD_KAFKA_CONSUMER
                }
                Kind::Producer => {
                    sys::rd_kafka_conf_set_dr_msg_cb(conf, Some(on_delivery));
                    sys::rd_kafka_type_t::RD_KAFKA_PRODUCER
                }
            };
            // Tokens are fetched in the background: nobody polls a client that waits.
            sys::rd_kafka_conf_enable_sasl_queue(conf, 1);
            let Some(rk) = NonNull::new(sys::rd_kafka_new(native, conf, reason.as_mut_ptr(), reason.len())) else {
                sys::rd_kafka_conf_destroy(conf);
                return Err(BadProperty::Invalid(text(reason.as_ptr())));
            };
            let address = properties.get("bootstrap.servers").and_then(|address| c_string(address).ok()).unwrap_or_default();
            let client = Self { rk, hooks, address };
            let _ = check_error(sys::rd_kafka_sasl_background_callbacks_enable(rk.as_ptr()));
            if kind == Kind::Consumer {
                sys::rd_kafka_poll_set_consumer(rk.as_ptr());
            }
            Ok(client)
        }
    }

    fn ptr(&self) -> *mut sys::rd_kafka_t {
        self.rk.as_ptr()
    }

    /// Lets librdkafka call what it has to call: errors, delivery reports.
    pub(super) fn poll(&self, wait: Duration) {
        // Sound: the callbacks only touch the hooks.
        unsafe { sys::rd_kafka_poll(self.ptr(), millis(wait)) };
    }

    /// Begins anew at the address that was given, if librdkafka knows no broker any more. A broker that has just come back from a long
    /// pause may answer that there is none, not even itself, and then librdkafka drops all it knows, the given ones too
    /// (`rd_kafka_metadata_decommission_unavailable_brokers`), and is mute for ever. Costs nothing while all is well.
    pub(super) fn revive(&self) {
        // Sound: both may be called from any thread; the list is copied. Without a wait the first only reads what is known. A broker
        // that is known already is not added again.
        unsafe {
            if sys::rd_kafka_controllerid(self.ptr(), 0) < 0 {
                sys::rd_kafka_brokers_add(self.ptr(), self.address.as_ptr());
            }
        }
    }

    /// The newest complaint of librdkafka's own.
    pub(super) fn note(&self) -> Option<String> {
        lock(&self.hooks.notes).back().cloned()
    }

    /// Its newest complaints, oldest first.
    pub(super) fn notes(&self) -> Vec<String> {
        lock(&self.hooks.notes).iter().cloned().collect()
    }

    /// Notes that a broker has let us in.
    pub(super) fn is_let_in(&self) {
        self.hooks.let_in.store(true, Ordering::Release);
        *lock(&self.hooks.refused) = None;
    }

    /// Why the broker refused the credentials, or we its certificate, if so.
    pub(super) fn refused(&self) -> Option<Failure> {
        lock(&self.hooks.refused).clone()
    }

    /// What ended this client for good.
    pub(super) fn fatal(&self) -> Option<Failure> {
        let mut reason = [0 as c_char; 512];
        // Sound: the text is cut to the buffer.
        let code = unsafe { sys::rd_kafka_fatal_error(self.ptr(), reason.as_mut_ptr(), reason.len()) };
        check(code).err().map(|failure| Failure { text: unsafe { text(reason.as_ptr()) }, ..failure })
    }

    /// All topics. Asking for all never creates one, whatever the brokers' settings.
    pub(super) fn topics(&self, wait: Duration) -> Outcome<Vec<TopicMetadata>> {
        self.revive();
        let mut metadata: *const sys::rd_kafka_metadata = ptr::null();
        // Sound: on success the metadata are ours and freed below, after everything in them is copied.
        unsafe {
            check(sys::rd_kafka_metadata(self.ptr(), 1, ptr::null_mut(), &raw mut metadata, millis(wait)))?;
            let all = &*metadata;
            let topics = slice(all.topics.cast_const(), usize::try_from(all.topic_cnt).unwrap_or(0));
            let topics = topics.iter().map(|topic| {
                let count = usize::try_from(topic.partition_cnt).unwrap_or(0);
                let partitions = slice(topic.partitions.cast_const(), count);
                let replicas = partitions.first().map_or(0, |p| p.replica_cnt);
                TopicMetadata {
                    name: text(topic.topic),
                    partitions: topic.partition_cnt,
                    replication: i16::try_from(replicas).unwrap_or(i16::MAX),
                    ready: count > 0 && partitions.iter().all(|p| p.leader >= 0),
                }
            });
            let topics = topics.collect();
            sys::rd_kafka_metadata_destroy(metadata);
            Ok(topics)
        }
    }

    /// Sends one administrative request and reads its answer while it lives.
    fn ask<T>(
        &self,
        operation: sys::rd_kafka_admin_op_t,
        wait: Duration,
        send: impl FnOnce(*mut sys::rd_kafka_AdminOptions_t, *mut sys::rd_kafka_queue_t) -> Outcome<()>,
        read: impl FnOnce(*mut sys::rd_kafka_event_t) -> Outcome<T>,
    ) -> Outcome<T> {
        // Sound: options, queue and event are made and destroyed here, and the closures borrow them.
        unsafe {
            let options = sys::rd_kafka_AdminOptions_new(self.ptr(), operation);
            let queue = sys::rd_kafka_queue_new(self.ptr());
            let mut reason = [0 as c_char; 256];
            sys::rd_kafka_AdminOptions_set_request_timeout(options, millis(wait), reason.as_mut_ptr(), reason.len());
            let outcome = send(options, queue).and_then(|()| {
                // The request ends by its own timeout; a little more and it can only be a mistake.
                let event = sys::rd_kafka_queue_poll(queue, millis(wait + Duration::from_secs(2)));
                if event.is_null() {
                    return Err(Failure::of(RespErr::RD_KAFKA_RESP_ERR__TIMED_OUT));
                }
                let outcome = match check(sys::rd_kafka_event_error(event)) {
                    Ok(()) => read(event),
                    Err(failure) => {
                        let said = text(sys::rd_kafka_event_error_string(event));
                        Err(if said.is_empty() { failure } else { Failure { text: said, ..failure } })
                    }
                };
                sys::rd_kafka_event_destroy(event);
                outcome
            });
            sys::rd_kafka_queue_destroy(queue);
            sys::rd_kafka_AdminOptions_destroy(options);
            outcome
        }
    }

    /// Creates a topic; `None` leaves the number to the brokers.
    pub(super) fn create_topic(
        &self,
        name: &str,
        partitions: Option<i32>,
        replication: Option<i16>,
        config: &BTreeMap<String, String>,
        wait: Duration,
    ) -> Outcome<()> {
        let c_name = c_string(name)?;
        let settings = config.iter().map(|(k, v)| Ok((c_string(k)?, c_string(v)?))).collect::<Outcome<Vec<_>>>()?;
        let send = |options: *mut sys::rd_kafka_AdminOptions_t, queue: *mut sys::rd_kafka_queue_t| unsafe {
            let mut reason = [0 as c_char; 256];
            let replication = replication.map_or(-1, c_int::from);
            let (size, partitions) = (reason.len(), partitions.unwrap_or(-1));
            let topic = sys::rd_kafka_NewTopic_new(c_name.as_ptr(), partitions, replication, reason.as_mut_ptr(), size);
            let Some(topic) = NonNull::new(topic) else {
                return Err(Failure::new(Code::InvalidTopic, text(reason.as_ptr())));
            };
            let mut outcome = Ok(());
            for (name, value) in &settings {
                let set = check(sys::rd_kafka_NewTopic_set_config(topic.as_ptr(), name.as_ptr(), value.as_ptr()));
                outcome = outcome.and(set);
            }
            if outcome.is_ok() {
                sys::rd_kafka_AdminOptions_set_operation_timeout(options, millis(wait), reason.as_mut_ptr(), size);
                let mut topics = [topic.as_ptr()];
                sys::rd_kafka_CreateTopics(self.ptr(), topics.as_mut_ptr(), 1, options, queue);
            }
            sys::rd_kafka_NewTopic_destroy(topic.as_ptr());
            outcome
        };
        let read = |event| unsafe {
            let mut count = 0;
            let result = sys::rd_kafka_event_CreateTopics_result(event);
            topic_results(sys::rd_kafka_CreateTopics_result_topics(result, &raw mut count), count)
        };
        self.ask(sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_CREATETOPICS, wait, send, read)
    }

    /// Deletes a topic.
    pub(super) fn delete_topic(&self, name: &str, wait: Duration) -> Outcome<()> {
        let name = c_string(name)?;
        let send = |options: *mut sys::rd_kafka_AdminOptions_t, queue: *mut sys::rd_kafka_queue_t| unsafe {
            let mut reason = [0 as c_char; 256];
            sys::rd_kafka_AdminOptions_set_operation_timeout(options, millis(wait), reason.as_mut_ptr(), reason.len());
            let mut topics = [sys::rd_kafka_DeleteTopic_new(name.as_ptr())];
            sys::rd_kafka_DeleteTopics(self.ptr(), topics.as_mut_ptr(), 1, options, queue);
            sys::rd_kafka_DeleteTopic_destroy(topics[0]);
            Ok(())
        };
        let read = |event| unsafe {
            let mut count = 0;
            let result = sys::rd_kafka_event_DeleteTopics_result(event);
            topic_results(sys::rd_kafka_DeleteTopics_result_topics(result, &raw mut count), count)
        };
        self.ask(sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETETOPICS, wait, send, read)
    }

    /// Whether the brokers tell of a topic: what keeps them from it is the failure. Asking never creates it.
    pub(super) fn describe_topic(&self, name: &str, wait: Duration) -> Outcome<()> {
        let name = c_string(name)?;
        let send = |options: *mut sys::rd_kafka_AdminOptions_t, queue: *mut sys::rd_kafka_queue_t| unsafe {
            let mut names = [name.as_ptr()];
            let topics = sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), 1);
            sys::rd_kafka_DescribeTopics(self.ptr(), topics, options, queue);
            sys::rd_kafka_TopicCollection_destroy(topics);
            Ok(())
        };
        let read = |event| unsafe {
            let mut count = 0;
            let result = sys::rd_kafka_event_DescribeTopics_result(event);
            let topics = sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
            for topic in slice(topics.cast_const(), count) {
                // The error stays the event's.
                if let Some(error) = sys::rd_kafka_TopicDescription_error(*topic).as_ref() {
                    check(sys::rd_kafka_error_code(error))?;
                }
            }
            Ok(())
        };
        self.ask(sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, wait, send, read)
    }

    /// The settings of topics, by topic and name, defaults included; none where our principal may not know them.
    pub(super) fn settings(&self, topics: &[&str], wait: Duration) -> Outcome<BTreeMap<String, BTreeMap<String, String>>> {
        if topics.is_empty() {
            return Ok(BTreeMap::new());
        }
        let names = topics.iter().map(|name| c_string(name)).collect::<Outcome<Vec<_>>>()?;
        let send = |options: *mut sys::rd_kafka_AdminOptions_t, queue: *mut sys::rd_kafka_queue_t| unsafe {
            let kind = sys::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC;
            let mut resources: Vec<_> =
                names.iter().map(|name| sys::rd_kafka_ConfigResource_new(kind, name.as_ptr())).collect();
            sys::rd_kafka_DescribeConfigs(self.ptr(), resources.as_mut_ptr(), resources.len(), options, queue);
            sys::rd_kafka_ConfigResource_destroy_array(resources.as_mut_ptr(), resources.len());
            Ok(())
        };
        let read = |event| unsafe {
            let mut count = 0;
            let result = sys::rd_kafka_event_DescribeConfigs_result(event);
            let resources = sys::rd_kafka_DescribeConfigs_result_resources(result, &raw mut count);
            let mut all = BTreeMap::new();
            for resource in slice(resources.cast_const(), count) {
                match check(sys::rd_kafka_ConfigResource_error(*resource)) {
                    Ok(()) => {}
                    // Not ours to know.
                    Err(failure) if failure.code == Code::TopicAuthorizationFailed => {
                        all.insert(text(sys::rd_kafka_ConfigResource_name(*resource)), BTreeMap::new());
                        continue;
                    }
                    // A topic that was deleted meanwhile has no settings; it is left out.
                    Err(_) => continue,
                }
                let mut count = 0;
                let settings = sys::rd_kafka_ConfigResource_configs(*resource, &raw mut count);
                let of_entry = |entry: &*const sys::rd_kafka_ConfigEntry_t| {
                    (text(sys::rd_kafka_ConfigEntry_name(*entry)), text(sys::rd_kafka_ConfigEntry_value(*entry)))
                };
                let settings = slice(settings.cast_const(), count).iter().map(of_entry).collect();
                all.insert(text(sys::rd_kafka_ConfigResource_name(*resource)), settings);
            }
            Ok(all)
        };
        self.ask(sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, wait, send, read)
    }

    /// Offsets of partitions, where each entry of `wanted` holds a time in milliseconds, or -1 for the end (with
    /// `committed` that of what is decided, else that of the log), or -2 for the beginning. An answer of -1 means that no record is
    /// as young as the time.
    pub(super) fn offsets(&self, wanted: &TopicPartitionList, committed: bool, wait: Duration) -> Outcome<Vec<Entry>> {
        let level = match committed {
            true => sys::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED,
            false => sys::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED,
        };
        let send = |options: *mut sys::rd_kafka_AdminOptions_t, queue: *mut sys::rd_kafka_queue_t| unsafe {
            check_error(sys::rd_kafka_AdminOptions_set_isolation_level(options, level))?;
            sys::rd_kafka_ListOffsets(self.ptr(), wanted.ptr(), options, queue);
            Ok(())
        };
        let read = |event| unsafe {
            let mut count = 0;
            let result = sys::rd_kafka_event_ListOffsets_result(event);
            let infos = sys::rd_kafka_ListOffsets_result_infos(result, &raw mut count);
            let infos = slice(infos.cast_const(), count).iter();
            let partition = |info: &*const _| sys::rd_kafka_ListOffsetsResultInfo_topic_partition(*info).as_ref();
            Ok(infos.filter_map(partition).map(|raw| entry(raw)).collect())
        };
        self.ask(sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS, wait, send, read)
    }

    /// What a group committed of these partitions. While a transaction of it is undecided, its partitions answer with
    /// `UnstableOffsetCommit`.
    pub(super) fn committed(&self, group: &str, of: &TopicPartitionList, wait: Duration) -> Outcome<Vec<Entry>> {
        let group = c_string(group)?;
        let send = |options: *mut sys::rd_kafka_AdminOptions_t, queue: *mut sys::rd_kafka_queue_t| unsafe {
            check_error(sys::rd_kafka_AdminOptions_set_require_stable_offsets(options, 1))?;
            let mut asked = [sys::rd_kafka_ListConsumerGroupOffsets_new(group.as_ptr(), of.ptr().cast_const())];
            sys::rd_kafka_ListConsumerGroupOffsets(self.ptr(), asked.as_mut_ptr(), 1, options, queue);
            sys::rd_kafka_ListConsumerGroupOffsets_destroy(asked[0]);
            Ok(())
        };
        let read = |event| unsafe {
            let mut count = 0;
            let result = sys::rd_kafka_event_ListConsumerGroupOffsets_result(event);
            group_results(sys::rd_kafka_ListConsumerGroupOffsets_result_groups(result, &raw mut count), count)
        };
        self.ask(sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS, wait, send, read)
    }

    /// Sets what a group without members committed.
    pub(super) fn set_committed(&self, group: &str, offsets: &TopicPartitionList, wait: Duration) -> Outcome<Vec<Entry>> {
        let group = c_string(group)?;
        let send = |options: *mut sys::rd_kafka_AdminOptions_t, queue: *mut sys::rd_kafka_queue_t| unsafe {
            let mut asked = [sys::rd_kafka_AlterConsumerGroupOffsets_new(group.as_ptr(), offsets.ptr())];
            sys::rd_kafka_AlterConsumerGroupOffsets(self.ptr(), asked.as_mut_ptr(), 1, options, queue);
            sys::rd_kafka_AlterConsumerGroupOffsets_destroy(asked[0]);
            Ok(())
        };
        let read = |event| unsafe {
            let mut count = 0;
            let result = sys::rd_kafka_event_AlterConsumerGroupOffsets_result(event);
            group_results(sys::rd_kafka_AlterConsumerGroupOffsets_result_groups(result, &raw mut count), count)
        };
        self.ask(sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS, wait, send, read)
    }

    /// Deletes a group without members, with all it committed.
    pub(super) fn delete_group(&self, group: &str, wait: Duration) -> Outcome<()> {
        let group = c_string(group)?;
        let send = |options: *mut sys::rd_kafka_AdminOptions_t, queue: *mut sys::rd_kafka_queue_t| unsafe {
            let mut groups = [sys::rd_kafka_DeleteGroup_new(group.as_ptr())];
            sys::rd_kafka_DeleteGroups(self.ptr(), groups.as_mut_ptr(), 1, options, queue);
            sys::rd_kafka_DeleteGroup_destroy(groups[0]);
            Ok(())
        };
        let read = |event| unsafe {
            let mut count = 0;
            let result = sys::rd_kafka_event_DeleteGroups_result(event);
            group_results(sys::rd_kafka_DeleteGroups_result_groups(result, &raw mut count), count).map(|_| ())
        };
        self.ask(sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETEGROUPS, wait, send, read)
    }
}

/// The names of all properties. Sound: the dump is an array of names and values in turn, freed once.
unsafe fn property_names(conf: *mut sys::rd_kafka_conf_t) -> Vec<String> {
    unsafe {
        let mut count = 0;
        let dump = sys::rd_kafka_conf_dump(conf, &raw mut count);
        let names = slice(dump.cast_const(), count).iter().step_by(2).map(|name| text(*name));
        // The dump has neither second names nor those of topics; these are the ones that people use.
        let others =
            ["acks", "compression.type", "delivery.timeout.ms", "linger.ms", "message.timeout.ms", "request.timeout.ms"];
        let more = ["fetch.max.bytes", "max.partition.fetch.bytes", "retries", "sasl.mechanism", "compression.level"];
        let names = names.chain(others.into_iter().chain(more).map(str::to_owned)).collect();
        sys::rd_kafka_conf_dump_free(dump, count);
        names
    }
}

unsafe fn topic_results(results: *mut *const sys::rd_kafka_topic_result_t, count: usize) -> Outcome<()> {
    for result in unsafe { slice(results.cast_const(), count) } {
        unsafe {
            check(sys::rd_kafka_topic_result_error(*result)).map_err(|failure| {
                let said = text(sys::rd_kafka_topic_result_error_string(*result));
                if said.is_empty() { failure } else { Failure { text: said, ..failure } }
            })?;
        }
    }
    Ok(())
}

unsafe fn group_results(results: *mut *const sys::rd_kafka_group_result_t, count: usize) -> Outcome<Vec<Entry>> {
    let mut all = Vec::new();
    for result in unsafe { slice(results.cast_const(), count) } {
        unsafe {
            if let Some(error) = sys::rd_kafka_group_result_error(*result).as_ref() {
                let said = text(sys::rd_kafka_error_string(error));
                return Err(Failure::new(sys::rd_kafka_error_code(error).into(), said));
            }
            all.extend(entries(sys::rd_kafka_group_result_partitions(*result)));
        }
    }
    Ok(all)
}

// ---- reading -----------------------------------------------------------------------------------------------------------------

/// A consumer's queue: records, and what goes wrong with partitions. Rebalances are served while one waits on it.
#[derive(Debug)]
pub(super) struct Queue {
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
    pub(super) fn of(client: &Arc<Client>) -> Option<Self> {
        // Sound: the reference is ours.
        let queue = NonNull::new(unsafe { sys::rd_kafka_queue_get_consumer(client.ptr()) })?;
        Some(Self { queue, client: Arc::clone(client) })
    }

    /// Whoever waits in [`Queue::take`] returns, or the next one who comes.
    pub(super) fn wake(&self) {
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
    pub(super) fn take(&self, wait: Duration, most: usize, singly: bool, batch: &mut Batch) {
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

    pub(super) fn client(&self) -> &Arc<Client> {
        &self.client
    }
}

/// Messages taken from a queue, destroyed with the batch.
#[derive(Debug, Default)]
pub(super) struct Batch {
    messages: Vec<*mut sys::rd_kafka_message_t>,
}

impl Batch {
    /// The messages.
    pub(super) fn iter(&self) -> impl Iterator<Item = Message<'_>> {
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
pub(super) struct Message<'b>(&'b sys::rd_kafka_message_t);

impl<'b> Message<'b> {
    /// What went wrong, if this is no record.
    pub(super) fn failure(self) -> Option<Failure> {
        let mut failure = check(self.0.err).err()?;
        // Sound: the payload of an error is its text.
        let said = unsafe { slice(self.0.payload.cast::<u8>().cast_const(), self.0.len) };
        if !said.is_empty() {
            failure.text = String::from_utf8_lossy(said).trim_end_matches('\0').to_owned();
        }
        Some(failure)
    }
    /// The same for neighbours of one topic; may be another topic's later.
    pub(super) fn topic_mark(self) -> usize {
        self.0.rkt.addr()
    }
    /// The topic's name; empty for an error that is about none.
    pub(super) fn topic(self) -> &'b str {
        if self.0.rkt.is_null() {
            return "";
        }
        // Sound: the name lives as long as the topic, which the message holds.
        unsafe { CStr::from_ptr(sys::rd_kafka_topic_name(self.0.rkt)) }.to_str().unwrap_or_default()
    }
    pub(super) fn partition(self) -> i32 {
        self.0.partition
    }
    pub(super) fn offset(self) -> i64 {
        self.0.offset
    }
    /// The record's time; 0 where a very old record has none.
    pub(super) fn timestamp(self) -> Millis {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // Sound: reads the message.
        unsafe { sys::rd_kafka_message_timestamp(self.0, &raw mut kind) }.max(0)
    }
    pub(super) fn key(self) -> Option<&'b [u8]> {
        // Sound: key and payload live as long as the message.
        (!self.0.key.is_null()).then(|| unsafe { slice(self.0.key.cast::<u8>().cast_const(), self.0.key_len) })
    }
    pub(super) fn value(self) -> Option<&'b [u8]> {
        (!self.0.payload.is_null()).then(|| unsafe { slice(self.0.payload.cast::<u8>().cast_const(), self.0.len) })
    }
    /// Headers in their order. A name that is not UTF-8 is read as far as it is one.
    pub(super) fn headers(self) -> impl Iterator<Item = (&'b str, Option<&'b [u8]>)> {
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

/// A consumer's part of [`Client`].
impl Client {
    /// The oldest rebalance that waits for an answer.
    pub(super) fn rebalance(&self) -> Option<Rebalance> {
        lock(&self.hooks.rebalances).pop_front()
    }
    /// Joins the group and asks for a share of these topics.
    pub(super) fn subscribe(&self, topics: &TopicPartitionList) -> Outcome<()> {
        // Sound: the list is copied.
        check(unsafe { sys::rd_kafka_subscribe(self.ptr(), topics.ptr()) })
    }
    /// Adds partitions, each read from its offset: the answer to [`Rebalance::Assign`].
    pub(super) fn assign(&self, partitions: &TopicPartitionList) -> Outcome<()> {
        // Sound: the list is copied.
        check_error(unsafe { sys::rd_kafka_incremental_assign(self.ptr(), partitions.ptr()) })
    }
    /// Gives partitions back: the answer to [`Rebalance::Revoke`] and [`Rebalance::Lost`].
    pub(super) fn unassign(&self, partitions: &TopicPartitionList) -> Outcome<()> {
        // Sound: the list is copied.
        check_error(unsafe { sys::rd_kafka_incremental_unassign(self.ptr(), partitions.ptr()) })
    }
    /// Reads exactly these partitions, without a group.
    pub(super) fn read(&self, partitions: &TopicPartitionList) -> Outcome<()> {
        // Sound: the list is copied.
        check(unsafe { sys::rd_kafka_assign(self.ptr(), partitions.ptr()) })
    }
    /// Stops fetching; what was fetched and not taken is fetched again later.
    pub(super) fn pause(&self, partitions: &TopicPartitionList) {
        // Sound: the list is changed in place. What cannot be paused is not ours any more.
        unsafe { sys::rd_kafka_pause_partitions(self.ptr(), partitions.ptr()) };
    }
    /// Fetches again.
    pub(super) fn resume(&self, partitions: &TopicPartitionList) {
        // Sound: as above.
        unsafe { sys::rd_kafka_resume_partitions(self.ptr(), partitions.ptr()) };
    }
    /// The partition's end as the newest answer told it (the high watermark); negative if none came yet.
    pub(super) fn high(&self, topic: &str, partition: i32) -> i64 {
        let Ok(topic) = c_string(topic) else { return -1 };
        let (mut low, mut high) = (-1, -1);
        // Sound: writes two numbers.
        unsafe {
            sys::rd_kafka_get_watermark_offsets(self.ptr(), topic.as_ptr(), partition, &raw mut low, &raw mut high);
        }
        high
    }
    /// Leaves the group, so that others take over at once. Waits until the broker knows, or cannot be told.
    pub(super) fn close(&self) {
        self.hooks.closing.store(true, Ordering::Release);
        lock(&self.hooks.rebalances).clear();
        // Sound: serves callbacks until all partitions are given back.
        unsafe { sys::rd_kafka_consumer_close(self.ptr()) };
    }
    /// The group's state as this member knows it now; `None` while it has no place in it. (Brokers take a commit without a member
    /// for one of a job that shares with nobody, and would let a member that was thrown out write.)
    pub(super) fn group_metadata(&self) -> Option<GroupMetadata> {
        // Sound: the copy is ours, and its parts are only read.
        unsafe {
            let place = NonNull::new(sys::rd_kafka_consumer_group_metadata(self.ptr())).map(GroupMetadata)?;
            let generation = sys::rd_kafka_consumer_group_metadata_generation_id(place.0.as_ptr());
            let member = text(sys::rd_kafka_consumer_group_metadata_member_id(place.0.as_ptr()));
            (generation >= 0 && !member.is_empty()).then_some(place)
        }
    }
    /// Commits positions, and waits until the group's coordinator has them.
    pub(super) fn commit_now(&self, positions: &TopicPartitionList) -> Outcome<()> {
        // Sound: the list is copied.
        check(unsafe { sys::rd_kafka_commit(self.ptr(), positions.ptr(), 0) })
    }
}

/// Where the answers to a consumer's commits arrive.
#[derive(Debug)]
pub(super) struct Answers {
    queue: NonNull<sys::rd_kafka_queue_t>,
    // Dropped after the queue.
    client: Arc<Client>,
}

// Sound: queues are locked inside librdkafka.
unsafe impl Send for Answers {}

impl Drop for Answers {
    fn drop(&mut self) {
        // Sound: our reference, given back once.
        unsafe { sys::rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}

impl Answers {
    pub(super) fn of(client: &Arc<Client>) -> Option<Self> {
        // Sound: the reference is ours.
        let queue = NonNull::new(unsafe { sys::rd_kafka_queue_new(client.ptr()) })?;
        Some(Self { queue, client: Arc::clone(client) })
    }

    pub(super) fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// Commits positions without waiting for the answer.
    pub(super) fn commit(&self, positions: &TopicPartitionList) -> Outcome<()> {
        // Sound: the list is copied; without a callback the answer is an event of the queue.
        check(unsafe {
            let (rk, list, queue) = (self.client.ptr(), positions.ptr(), self.queue.as_ptr());
            sys::rd_kafka_commit_queue(rk, list, queue, None, ptr::null_mut())
        })
    }

    /// The next answer that has come: the positions of its commit, each with what went wrong.
    pub(super) fn take(&self) -> Option<Vec<Entry>> {
        // Sound: the event is ours until it is destroyed, after everything in it is copied.
        unsafe {
            let event = NonNull::new(sys::rd_kafka_queue_poll(self.queue.as_ptr(), 0))?.as_ptr();
            let mut all = entries(sys::rd_kafka_event_topic_partition_list(event));
            if let Err(failure) = check(sys::rd_kafka_event_error(event)) {
                all.iter_mut().for_each(|entry| entry.failure = Some(failure.clone()));
            }
            sys::rd_kafka_event_destroy(event);
            Some(all)
        }
    }
}

/// A member's place in its group at one moment: what lets a broker refuse a commit of one that was thought dead.
#[derive(Debug)]
pub(super) struct GroupMetadata(NonNull<sys::rd_kafka_consumer_group_metadata_t>);

// Sound: it is data that nobody changes.
unsafe impl Send for GroupMetadata {}
unsafe impl Sync for GroupMetadata {}

impl Drop for GroupMetadata {
    fn drop(&mut self) {
        // Sound: ours, destroyed once.
        unsafe { sys::rd_kafka_consumer_group_metadata_destroy(self.0.as_ptr()) };
    }
}

impl GroupMetadata {
    /// That of nobody in particular: for jobs whose inputs are not shared.
    pub(super) fn of_group(group: &str) -> Option<Self> {
        let group = c_string(group).ok()?;
        // Sound: the name is copied.
        NonNull::new(unsafe { sys::rd_kafka_consumer_group_metadata_new(group.as_ptr()) }).map(Self)
    }
}

// ---- writing -----------------------------------------------------------------------------------------------------------------

/// A topic that records are written to; a look-up by name per record would cost a third of the work.
#[derive(Debug)]
pub(super) struct Handle {
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
    pub(super) fn new(client: &Arc<Client>, topic: &str) -> Outcome<Self> {
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
    pub(super) fn expect(&self, outputs: usize) {
        *lock(&self.hooks.delivered) = Delivered { first: vec![-1; outputs], failure: None };
    }
    /// What became of the records since [`Client::expect`].
    pub(super) fn delivered(&self) -> Delivered {
        std::mem::take(&mut *lock(&self.hooks.delivered))
    }

    /// Hands records to librdkafka, which copies them, from row `from` on and before row `to`. Returns the first row that did not
    /// fit into its queue any more. `output` counts from 0 and is where the first row's offset will be noted.
    pub(super) fn produce(
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
    pub(super) fn flush(&self, wait: Duration) -> bool {
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
    pub(super) fn purge(&self) {
        // Sound: the reports come with the next poll.
        unsafe {
            sys::rd_kafka_purge(self.ptr(), (sys::RD_KAFKA_PURGE_F_QUEUE | sys::RD_KAFKA_PURGE_F_INFLIGHT) as c_int);
        }
        self.poll(Duration::ZERO);
    }

    /// Fences older producers of the same transactional id and ends what they began.
    pub(super) fn init_transactions(&self, deadline: Instant) -> Outcome<()> {
        // Sound, as the next three: blocking calls without arguments to own.
        repeat(deadline, |wait| check_error(unsafe { sys::rd_kafka_init_transactions(self.ptr(), wait) }))
    }
    pub(super) fn begin(&self) -> Outcome<()> {
        check_error(unsafe { sys::rd_kafka_begin_transaction(self.ptr()) })
    }
    pub(super) fn commit(&self, deadline: Instant) -> Outcome<()> {
        repeat(deadline, |wait| check_error(unsafe { sys::rd_kafka_commit_transaction(self.ptr(), wait) }))
    }
    pub(super) fn abort(&self, deadline: Instant) -> Outcome<()> {
        repeat(deadline, |wait| check_error(unsafe { sys::rd_kafka_abort_transaction(self.ptr(), wait) }))
    }
    /// Puts positions of a group into the transaction.
    pub(super) fn send_positions(
        &self,
        positions: &TopicPartitionList,
        member: &GroupMetadata,
        deadline: Instant,
    ) -> Outcome<()> {
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
