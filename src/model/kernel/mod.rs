//! Kernels of classical models: numbers in, numbers out, nothing of any file format or runtime.
//!
//! ```text
//! rows, row-major ─► prepare (scale, impute, normalise) ─► linear | svm ─► post (logistic, softmax, ...) ─► scores, winners
//! ```
//!
//! Everything works on whole batches of `f32` rows that lie one behind the other, and allocates at most per batch. Results
//! are those of ONNX Runtime, down to the order of additions where a label hangs on it. To add a kernel: a file of its own,
//! then its operator in `onnx/operators/`.

pub mod distance;
pub mod linear;
pub mod post;
pub mod prepare;
pub mod svm;

/// `a * b + c`, rounded once (but for one case in a billion): what a processor's own instruction gives, and so what the
/// matrix products of ONNX Runtime are made of. Where large terms cancel, a label hangs on it. In `f64`, for a call to the
/// standard library's is not vectorised.
#[inline]
fn fused(a: f32, b: f32, c: f32) -> f32 {
    (f64::from(a) * f64::from(b) + f64::from(c)) as f32
}
