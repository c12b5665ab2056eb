//! Times as the engine counts them: milliseconds since the Unix epoch, as Kafka's record timestamps.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970-01-01T00:00:00Z; negative before it.
pub type Millis = i64;

/// The present wall-clock time.
#[must_use]
pub fn now() -> Millis {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}
