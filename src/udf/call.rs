//! The calls that a library offers, as safe functions.   arrays ─► [`Run::call`] ─► array, or what the panic said
//!
//! ```text
//! scalar, aggregate   __run(columns) -> column or "it panicked"
//! async               __start(ordered, timeout, in flight) -> handle; __send(handle, id, columns) -> future; __drain_results(handle); __stop_runtime(handle)
//! shim (ours)         __vatic_init(), __vatic_panic_here(), __vatic_panic_of(thread), __vatic_panic_last(), __vatic_panics()
//! ```

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, UInt64Type};
use async_ffi::FfiFuture;

use super::ffi::{Columns, RunResult};

type RunFn = unsafe extern "C-unwind" fn(Columns) -> RunResult;
type StartFn = unsafe extern "C-unwind" fn(bool, u64, u32) -> *mut c_void;
type SendFn = unsafe extern "C-unwind" fn(*mut c_void, u64, Columns) -> FfiFuture<bool>;
type DrainFn = unsafe extern "C-unwind" fn(*mut c_void) -> Drained;
type StopFn = unsafe extern "C-unwind" fn(*mut c_void);
type TellFn = unsafe extern "C" fn(*mut u8, usize) -> usize;
type TellOfFn = unsafe extern "C" fn(*const u8, usize, *mut u8, usize) -> usize;

/// A symbol's address as a function of type `F`, which must be a function pointer.
fn symbol<F: Copy>(library: &libloading::Library, name: &str) -> Option<F> {
    // SAFETY: the names are those of arroyo-udf-macros 0.2 and of the shim, and so are the types; the library is never closed.
    unsafe { library.get::<F>(name.as_bytes()) }.ok().map(|symbol| *symbol)
}

/// Why a call gave nothing.
#[derive(Debug)]
pub enum CallError {
    /// The function panicked.
    Panic,
    /// The arguments or the result are not what they should be.
    Border(String),
}

/// `__run`
#[derive(Debug, Clone, Copy)]
pub struct Run(RunFn);

impl Run {
    pub fn find(library: &libloading::Library) -> Option<Self> {
        symbol(library, "__run").map(Self)
    }

    /// Calls the function with whole columns, of exactly the declared types and at least one row: what else comes in aborts the
    /// process. The result is of type `returns`.
    pub fn call(self, arrays: &[ArrayRef], returns: &DataType) -> Result<ArrayRef, CallError> {
        let unfit = || CallError::Border("an argument of a type that no function takes".to_owned());
        let columns = Columns::of(arrays).ok_or_else(unfit)?;
        // SAFETY: the caller passes the declared types; the library catches panics and takes over the columns.
        match unsafe { (self.0)(columns) } {
            RunResult::Ok(column) => column.into_array(returns).map_err(CallError::Border),
            RunResult::Err => Err(CallError::Panic),
        }
    }
}

/// What the shim of a library that vatic built tells.
#[derive(Debug, Clone, Copy)]
pub struct ShimCalls {
    init: unsafe extern "C" fn(),
    here: TellFn,
    last: TellFn,
    of: Option<TellOfFn>,
    count: unsafe extern "C" fn() -> u64,
}

/// So much of a panic's words is kept.
const WORDS: usize = 2_000;

impl ShimCalls {
    pub fn find(library: &libloading::Library) -> Option<Self> {
        Some(Self {
            init: symbol(library, "__vatic_init")?,
            here: symbol(library, "__vatic_panic_here")?,
            last: symbol(library, "__vatic_panic_last")?,
            of: symbol(library, "__vatic_panic_of"),
            count: symbol(library, "__vatic_panics")?,
        })
    }
    pub fn init(self) {
        // SAFETY: it has no arguments and does not unwind.
        unsafe { (self.init)() }
    }
    /// How many panics there were, on all threads.
    pub fn count(self) -> u64 {
        // SAFETY: as above.
        unsafe { (self.count)() }
    }
    /// `file:line:column` and the words of this thread's last panic.
    pub fn here(self) -> Option<(String, String)> {
        // SAFETY: it writes at most as many bytes as there is room for.
        told(|out, room| unsafe { (self.here)(out, room) })
    }
    /// The same of the last panic of `runtime`, which is forgotten then. Where the panics of runtimes cannot be told apart, of any.
    pub fn of(self, runtime: &Runtime) -> Option<(String, String)> {
        match (self.of, &runtime.name) {
            (Some(of), Some(name)) => {
                // SAFETY: it reads as many bytes as the name has, and writes as many as there is room for.
                told(|out, room| unsafe { of(name.as_ptr(), name.len(), out, room) })
            }
            // SAFETY: as in `here`.
            _ => told(|out, room| unsafe { (self.last)(out, room) }),
        }
    }
}

/// `place` and words of a panic, from a text that `tell` writes.
fn told(tell: impl FnOnce(*mut u8, usize) -> usize) -> Option<(String, String)> {
    let mut bytes = vec![0_u8; WORDS];
    let length = tell(bytes.as_mut_ptr(), bytes.len());
    bytes.truncate(length);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    text.split_once('\n').map(|(place, said)| (place.to_owned(), said.to_owned()))
}

/// The four calls of an async function.
#[derive(Debug, Clone, Copy)]
pub struct AsyncCalls {
    start: StartFn,
    send: SendFn,
    drain: DrainFn,
    stop: StopFn,
}

impl AsyncCalls {
    pub fn find(library: &libloading::Library) -> Option<Self> {
        Some(Self {
            start: symbol(library, "__start")?,
            send: symbol(library, "__send")?,
            drain: symbol(library, "__drain_results")?,
            stop: symbol(library, "__stop_runtime")?,
        })
    }
    /// Starts a runtime, which is a thread of the library.
    ///
    /// It is told of no limits: in Arroyo's runtime a timeout is a panic that takes all other rows with it, so time and number are
    /// watched on this side.
    pub fn start(self) -> Runtime {
        const A_YEAR_US: u64 = 365 * 24 * 3_600 * 1_000_000;
        static STARTED: AtomicU64 = AtomicU64::new(0);
        let name = format!("udf-{}", STARTED.fetch_add(1, Ordering::Relaxed) % 10_000_000_000); // at most 15 bytes
        // SAFETY: plain values; the handle that comes back is used by `Runtime` only.
        let (handle, named) = called_as(&name, || unsafe { (self.start)(false, A_YEAR_US, u32::MAX) });
        Runtime { calls: self, handle: Handle(handle), name: named.then_some(name) }
    }
}

/// Does `work` on this thread under another name, which the threads that it starts begin with: so the shim knows whose panic it sees.
/// Where threads have no such file, under its own, and that is told.
fn called_as<T>(name: &str, work: impl FnOnce() -> T) -> (T, bool) {
    const NAME: &str = "/proc/thread-self/comm";
    let own = std::fs::read_to_string(NAME).ok().filter(|_| std::fs::write(NAME, name).is_ok());
    let done = work();
    if let Some(own) = &own {
        // It was written to just before.
        let _ = std::fs::write(NAME, own.trim_end());
    }
    (done, own.is_some())
}

#[derive(Debug, Clone, Copy)]
struct Handle(*mut c_void);
// SAFETY: the library's own handle type is Send and Sync: a channel and a locked list.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

/// A running async function; dropping it ends its thread, with whatever is still on its way.
#[derive(Debug)]
pub struct Runtime {
    calls: AsyncCalls,
    handle: Handle,
    /// What its thread is called, where that can be decided.
    name: Option<String>,
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // SAFETY: the handle is ours alone and not used again.
        unsafe { (self.calls.stop)(self.handle.0) }
    }
}

impl Runtime {
    /// Sends one row (arrays of length 1) under `id`; false if the runtime has died of a panic.
    pub async fn send(&self, id: u64, row: &[ArrayRef]) -> Result<bool, CallError> {
        let unfit = || CallError::Border("an argument of a type that no function takes".to_owned());
        let columns = Columns::of(row).ok_or_else(unfit)?;
        // SAFETY: the handle is alive as long as `self`, which the future below borrows.
        let sending = unsafe { (self.calls.send)(self.handle.0, id, columns) };
        Ok(sending.await)
    }

    /// What is ready: ids and values, in the same order.
    pub fn drain(&self, returns: &DataType) -> Result<Option<(Vec<u64>, ArrayRef)>, CallError> {
        // SAFETY: the handle is alive.
        match unsafe { (self.calls.drain)(self.handle.0) } {
            Drained::None => Ok(None),
            Drained::Error => Err(CallError::Panic),
            Drained::Data(columns) => {
                let mut columns = columns.into_columns().into_iter();
                let (Some(ids), Some(values)) = (columns.next(), columns.next()) else {
                    return Err(CallError::Border("not two columns".to_owned()));
                };
                let ids = ids.into_array(&DataType::UInt64).map_err(CallError::Border)?;
                let values = values.into_array(returns).map_err(CallError::Border)?;
                if ids.len() != values.len() {
                    return Err(CallError::Border("columns of different lengths".to_owned()));
                }
                Ok(Some((ids.as_primitive::<UInt64Type>().values().to_vec(), values)))
            }
        }
    }
}

/// Runtimes that wait for work.
#[derive(Debug, Default)]
pub struct Idle(Mutex<Vec<Runtime>>);

impl Idle {
    /// One of them, if there is any.
    pub fn take(&self) -> Option<Runtime> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
    /// One more.
    pub fn give(&self, runtime: Runtime) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(runtime);
    }
}

/// arroyo-udf-common's `DrainResult`.
#[repr(C)]
#[allow(dead_code)] // made by libraries
enum Drained {
    Data(Columns),
    None,
    Error,
}
