//! Calls into libraries that may panic on hostile bytes: a panic becomes an error, and nothing is printed.
//!
//! Model files come from outside; no parser of theirs is trusted never to panic. [`guard`] is around every call.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    static QUIET: Cell<u32> = const { Cell::new(0) };
}

/// Silences the panic message on threads that are inside [`guard`]; all others keep the hook they had.
fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if QUIET.with(Cell::get) == 0 {
                previous(info);
            }
        }));
    });
}

/// Runs `call`; a panic in it is an `Err` with the panic's text.
///
/// What `call` captured must not be used after an `Err`: it may be half changed.
///
/// # Errors
/// The text of the panic.
pub fn guard<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    install_hook();
    QUIET.with(|depth| depth.set(depth.get() + 1));
    let result = catch_unwind(AssertUnwindSafe(call));
    QUIET.with(|depth| depth.set(depth.get() - 1));
    result.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        format!("panic: {}", text.unwrap_or("no message"))
    })
}

#[cfg(test)]
mod tests {
    use super::guard;

    #[test]
    fn a_panic_is_an_error_with_its_text() {
        assert_eq!(guard(|| 7), Ok(7));
        assert_eq!(guard(|| -> i32 { panic!("bad bytes") }), Err("panic: bad bytes".to_owned()));
        assert_eq!(guard(|| -> i32 { panic!("bad {}", "dims") }), Err("panic: bad dims".to_owned()));
    }
}
