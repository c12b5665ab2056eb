//! A client: properties ─► [`Client`], which owns an `rd_kafka_t` and is asked, read from and written with in the files beside.

use std::collections::BTreeMap;
use std::ffi::{CString, c_char, c_int, c_void};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rdkafka::bindings as sys;

use super::hooks::{Hooks, on_delivery, on_error, on_log, on_rebalance};
use super::{Failure, c_string, check, check_error, lock, millis, slice, text};

/// What a client is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
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
pub enum BadProperty {
    /// There is none of that name; the names there are.
    Unknown(String, Vec<String>),
    /// A property does not take its value.
    Value { name: String, value: String, reason: String },
    /// Values do not fit together.
    Invalid(String),
}

/// A topic as the brokers' metadata describe it.
#[derive(Debug, Clone)]
pub struct TopicMetadata {
    pub name: String,
    pub partitions: i32,
    pub replication: i16,
    /// Every partition has a leader.
    pub ready: bool,
}

/// A librdkafka client. All of its methods may be called from any thread; most of them block.
pub struct Client {
    rk: NonNull<sys::rd_kafka_t>,
    pub hooks: Arc<Hooks>,
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
    pub fn new(kind: Kind, properties: &BTreeMap<String, String>) -> Result<Self, BadProperty> {
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

    /// The client as C knows it.
    pub fn ptr(&self) -> *mut sys::rd_kafka_t {
        self.rk.as_ptr()
    }

    /// Lets librdkafka call what it has to call: errors, delivery reports.
    pub fn poll(&self, wait: Duration) {
        // Sound: the callbacks only touch the hooks.
        unsafe { sys::rd_kafka_poll(self.ptr(), millis(wait)) };
    }

    /// Begins anew at the address that was given, if librdkafka knows no broker any more. A broker that has just come back from a long
    /// pause may answer that there is none, not even itself, and then librdkafka drops all it knows, the given ones too
    /// (`rd_kafka_metadata_decommission_unavailable_brokers`), and is mute for ever. Costs nothing while all is well.
    pub fn revive(&self) {
        // Sound: both may be called from any thread; the list is copied. Without a wait the first only reads what is known. A broker
        // that is known already is not added again.
        unsafe {
            if sys::rd_kafka_controllerid(self.ptr(), 0) < 0 {
                sys::rd_kafka_brokers_add(self.ptr(), self.address.as_ptr());
            }
        }
    }

    /// The newest complaint of librdkafka's own.
    pub fn note(&self) -> Option<String> {
        lock(&self.hooks.notes).back().cloned()
    }

    /// Its newest complaints, oldest first.
    pub fn notes(&self) -> Vec<String> {
        lock(&self.hooks.notes).iter().cloned().collect()
    }

    /// Notes that a broker has let us in.
    pub fn is_let_in(&self) {
        self.hooks.let_in.store(true, Ordering::Release);
        *lock(&self.hooks.refused) = None;
    }

    /// Why the broker refused the credentials, or we its certificate, if so.
    pub fn refused(&self) -> Option<Failure> {
        lock(&self.hooks.refused).clone()
    }

    /// What ended this client for good.
    pub fn fatal(&self) -> Option<Failure> {
        let mut reason = [0 as c_char; 512];
        // Sound: the text is cut to the buffer.
        let code = unsafe { sys::rd_kafka_fatal_error(self.ptr(), reason.as_mut_ptr(), reason.len()) };
        check(code).err().map(|failure| Failure { text: unsafe { text(reason.as_ptr()) }, ..failure })
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
