//! Whether this thread tries a model out on made-up rows.
//!
//! A made-up value is rarely a category that the model knows, and where an unknown one is an error of its row, no such row
//! would have a result to compare. So in a trial an operator takes what it would otherwise refuse for a value that means
//! nothing: all 0. A panic ends a trial like a return does.

use std::cell::Cell;

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Ends a trial, also when it unwinds.
struct End;

impl Drop for End {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get().saturating_sub(1));
    }
}

/// Runs `call` as a trial.
pub(super) fn within<T>(call: impl FnOnce() -> T) -> T {
    DEPTH.set(DEPTH.get() + 1);
    let _end = End;
    call()
}

/// Whether this is one.
pub(super) fn is_on() -> bool {
    DEPTH.get() > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_ends_with_its_call() {
        assert!(!is_on());
        assert!(within(|| within(is_on) && is_on()));
        assert!(crate::model::guard(|| within(|| panic!("no"))).is_err_and(|e| e.contains("no")));
        assert!(!is_on());
    }
}
