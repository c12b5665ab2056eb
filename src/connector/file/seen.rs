//! How far lines of files have been read.   reader (own thread) ─► rows, and bytes behind them ─► [`Seen`]

use std::fmt;
use std::sync::Arc;

/// Who hears of each batch: how many rows it has, and how many of the files' bytes are behind it, about.
#[derive(Clone)]
pub struct Seen(Arc<dyn Fn(usize, u64) + Send + Sync>);

impl Seen {
    /// `ear` hears of it.
    pub fn new(ear: impl Fn(usize, u64) + Send + Sync + 'static) -> Self {
        Self(Arc::new(ear))
    }
    pub(super) fn tell(&self, rows: usize, bytes: u64) {
        (self.0)(rows, bytes);
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seen")
    }
}
