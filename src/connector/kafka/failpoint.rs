//! Where a test can make a commit fail.   `VATIC_FAIL_POINT=commit:after:2:die` ─► [`step`] ─► the process dies, or the step fails
//!
//! A point is `STEP:before|after:N:die|error`: what happens the N-th time that this process comes there. Several are separated by
//! commas, for trouble within trouble. `die` ends the process as a crash does, `error` is an answer that never came: after a
//! step, the step has happened all the same. Debug builds only: a release has neither the variable nor a trace of it here.
//! To add a step: a variant and its name, then wrap the call in [`step`]; `tests/it/kafka/points.rs` goes through all of them.

use super::error::KafkaError;

/// The names of the steps, in the order of [`Step`]'s variants.
#[cfg(debug_assertions)]
pub const STEPS: &[&str] = &["open", "begin", "write", "positions", "settle", "commit", "abort"];

/// A step of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// A sink is opened, which ends what an older one began.
    Open,
    /// A transaction begins.
    Begin,
    /// Records are handed to librdkafka.
    Write,
    /// Positions go into the transaction; at least once: they are committed.
    Positions,
    /// All records are acknowledged.
    Settle,
    /// The transaction is committed.
    Commit,
    /// The transaction is aborted.
    Abort,
}

/// Does `work`, between the two points of `step`.
#[cfg(not(debug_assertions))]
#[inline]
pub(super) fn step<T>(_: &str, _: Step, work: impl FnOnce() -> Result<T, KafkaError>) -> Result<T, KafkaError> {
    work()
}

/// Does `work`, between the two points of `step`.
#[cfg(debug_assertions)]
pub(super) fn step<T>(address: &str, step: Step, work: impl FnOnce() -> Result<T, KafkaError>) -> Result<T, KafkaError> {
    armed::reach(address, step, "before")?;
    let done = work()?;
    armed::reach(address, step, "after")?;
    Ok(done)
}

#[cfg(debug_assertions)]
mod armed {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::{KafkaError, STEPS, Step};

    /// One point of the variable.
    #[derive(Debug)]
    pub(super) struct Point {
        step: String,
        when: String,
        /// How often it is still passed.
        left: AtomicU64,
        die: bool,
    }

    static POINTS: LazyLock<Result<Vec<Point>, String>> = LazyLock::new(|| match std::env::var("VATIC_FAIL_POINT") {
        Ok(text) => text.split(',').map(|point| parse(point).ok_or_else(|| point.to_owned())).collect(),
        Err(_) => Ok(Vec::new()),
    });

    pub(super) fn parse(text: &str) -> Option<Point> {
        let parts: Vec<&str> = text.split(':').collect();
        let &[step, when @ ("before" | "after"), number, what @ ("die" | "error")] = parts.as_slice() else { return None };
        let left = AtomicU64::new(number.parse().ok().filter(|number| *number > 0)?);
        STEPS.contains(&step).then(|| Point { step: step.to_owned(), when: when.to_owned(), left, die: what == "die" })
    }

    pub(super) fn reach(address: &str, step: Step, when: &str) -> Result<(), KafkaError> {
        let points = POINTS.as_ref().map_err(|point| {
            let steps = STEPS.join(", ");
            KafkaError::Misuse(format!("VATIC_FAIL_POINT: \"{point}\" is not STEP:before|after:N:die|error; steps: {steps}"))
        })?;
        let name = STEPS.get(step as usize).copied().unwrap_or_default();
        for point in points.iter().filter(|point| point.step == name && point.when == when) {
            // Below zero it wraps, and is not reached again.
            if point.left.fetch_sub(1, Ordering::Relaxed) != 1 {
                continue;
            }
            let reason = format!("fail point {name}:{when}");
            // Not every error is told to people; a test wants to know that it came.
            eprintln!("{reason} is reached");
            if point.die {
                std::process::abort();
            }
            return Err(KafkaError::Commit { address: address.to_owned(), reason });
        }
        Ok(())
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;

    #[test]
    fn a_point_names_a_step_a_side_a_number_and_an_end() {
        for step in STEPS {
            assert!(armed::parse(&format!("{step}:before:1:die")).is_some());
        }
        for wrong in ["", "commit", "comit:after:1:die", "commit:at:1:die", "commit:after:0:die", "commit:after:1:dye"] {
            assert!(armed::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn steps_are_named_in_the_order_of_the_variants() {
        assert_eq!((STEPS[Step::Open as usize], STEPS[Step::Settle as usize]), ("open", "settle"));
        assert_eq!(STEPS.len(), Step::Abort as usize + 1);
    }

    #[test]
    fn without_the_variable_every_step_is_just_done() {
        assert_eq!(step("a:1", Step::Commit, || Ok(7)).unwrap(), 7);
    }
}
