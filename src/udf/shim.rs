//! Linked into libraries that vatic builds, beside the user's function: keeps what a panic says instead of printing it.
//!
//! Not a module of vatic: compiled by rustc with `--extern udf_source=...`. Sync functions panic on the thread that called them,
//! async ones on a thread of their runtime, which is known by its name: a thread begins with the name of the one that starts it.

extern crate udf_source as _;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

static INSTALLED: Once = Once::new();
static COUNT: AtomicU64 = AtomicU64::new(0);
static LAST: Mutex<String> = Mutex::new(String::new());
/// The last panic of each thread, by the thread's name.
static NAMED: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());
/// Of so many threads: most names are asked for as soon as there is something.
const NAMES: usize = 1_000;

thread_local! {
    static HERE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Once, before the first call.
#[unsafe(no_mangle)]
pub extern "C" fn __vatic_init() {
    INSTALLED.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            let said = info.payload().downcast_ref::<&str>().map(|s| (*s).to_owned());
            let said = said.or_else(|| info.payload().downcast_ref::<String>().cloned()).unwrap_or_default();
            let place = info.location().map(|l| format!("{}:{}:{}", l.file(), l.line(), l.column())).unwrap_or_default();
            let text = format!("{place}\n{said}");
            let _ = HERE.try_with(|here| here.borrow_mut().clone_from(&text));
            if let (Ok(name), Ok(mut named)) = (std::fs::read_to_string("/proc/thread-self/comm"), NAMED.lock()) {
                if named.len() < NAMES || named.contains_key(name.trim_end()) {
                    named.insert(name.trim_end().to_owned(), text.clone());
                }
            }
            if let Ok(mut last) = LAST.lock() {
                *last = text;
            }
            COUNT.fetch_add(1, Ordering::SeqCst);
        }));
    });
}

fn copy(text: &str, out: *mut u8, room: usize) -> usize {
    let mut length = text.len().min(room);
    while !text.is_char_boundary(length) {
        length -= 1;
    }
    unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), out, length) };
    length
}

/// `file:line:column`, a newline, the words of this thread's last panic, at most `room` bytes; then it is forgotten.
#[unsafe(no_mangle)]
pub extern "C" fn __vatic_panic_here(out: *mut u8, room: usize) -> usize {
    let text = HERE.try_with(|here| std::mem::take(&mut *here.borrow_mut())).unwrap_or_default();
    copy(&text, out, room)
}

/// The same of the last panic of any thread.
#[unsafe(no_mangle)]
pub extern "C" fn __vatic_panic_last(out: *mut u8, room: usize) -> usize {
    LAST.lock().map(|text| copy(&text, out, room)).unwrap_or(0)
}

/// The same of the last panic of a thread that is called `name`, which is forgotten then; 0 where there was none.
#[unsafe(no_mangle)]
pub extern "C" fn __vatic_panic_of(name: *const u8, length: usize, out: *mut u8, room: usize) -> usize {
    let name = unsafe { std::slice::from_raw_parts(name, length) };
    let Ok(name) = std::str::from_utf8(name) else { return 0 };
    let text = NAMED.lock().ok().and_then(|mut named| named.remove(name));
    text.map_or(0, |text| copy(&text, out, room))
}

/// How many there were on all threads.
#[unsafe(no_mangle)]
pub extern "C" fn __vatic_panics() -> u64 {
    COUNT.load(Ordering::SeqCst)
}
