//! Ensembles of decision trees: one form in memory for every source, and kernels that score rows by it.
//!
//! ```text
//! a reader (ONNX, ...) ─► Ensemble ─► compile ─► Forest ─► score(rows, scores, classes)
//! ```
//!
//! A reader describes its trees as an [`Ensemble`] and knows nothing of kernels; a [`Forest`] knows nothing of files. All
//! checks are made by [`Ensemble::compile`]: whatever an ensemble holds, compiling it ends with a forest or a
//! [`TreeError`], and scoring cannot fail on any value. The reference is ONNX Runtime.
//!
//! To add a source: lower it to an [`Ensemble`]. To add a processor: a module in [`simd`], compared with [`scalar`] by the
//! tests.

mod columns;
mod compile;
mod ensemble;
mod error;
mod finish;
mod forest;
mod layout;
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))] // the kernels for them are x86-64's
mod masks;
mod number;
mod scalar;
mod simd;
mod votes;

pub use ensemble::{
    Aggregate, Child, Ensemble, Head, MAX_DEPTH, MAX_NODES, MAX_TARGETS, MAX_WIDTH, Post, Precision, Split, Test, Weight,
};
pub use error::TreeError;
pub use forest::Forest;
pub use number::{Number, Value};
pub use simd::Simd;
pub(super) use simd::{Vectorized, products, vectorized};

#[cfg(test)]
mod tests;
