//! Functions written for Arroyo, unmodified: `#[udf]` of `arroyo_udf_plugin` 0.2.
//!
//! ```text
//! path ─► Source (.rs, crate, library) ─► Signature (syn reads the types; the library does not tell them)
//!      ─► build: cargo, then a library with a shim that keeps what a panic says ─► Library (dlopen, never closed)
//!      ─► Function: what a name in SQL stands for; may be replaced ─► scalar, lookup (async) or aggregate, as DataFusion calls it
//! ```
//!
//! The library has an Arrow of its own (51); the two meet over Arrow's C Data Interface, whole columns at a time ([`ffi`]). What would
//! crash there is kept out before: arguments have exactly the declared types, a library is never closed, a changed one is another file.

mod aggregate;
mod arguments;
mod build;
mod call;
mod callable;
mod error;
mod failed;
mod ffi;
mod files;
mod function;
mod head;
mod library;
mod lookup;
mod scalar;
mod signature;
mod source;
mod template;
mod tidy;

pub use build::{Built, announcement, build, cache_dir, check, sources_in};
pub use callable::Callable;
pub use error::UdfError;
pub use function::{Bound, Counts, Function, Limits, OnError, Version};
pub use library::try_load;
pub use signature::{Argument, AsyncOptions, Kind, Signature};
pub use template::{Template, create};
