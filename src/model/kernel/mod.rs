//! Kernels of classical models: numbers in, numbers out, nothing of any file format or runtime.
//!
//! ```text
//! rows, row-major ─► prepare (scale, impute, normalise) ─► linear | svm ─► post (logistic, softmax, ...) ─► scores, winners
//! ```
//!
//! Everything works on whole batches of `f32` rows that lie one behind the other, and allocates at most per batch. Results
//! are those of ONNX Runtime, down to the order of additions where a label hangs on it. To add a kernel: a file of its own,
//! then its operator in `onnx/operators/`.

pub mod linear;
pub mod post;
pub mod prepare;
pub mod svm;
