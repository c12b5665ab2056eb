//! Libraries in this process.   file ─► interface checked ─► dlopen ─► symbols ─► [`Library`], for good
//!
//! A library is never closed: threads of async functions and buffers of results live in it. One that changed has another file name (the
//! build puts its hash there), so the old and the new one are both loaded, and a running epoch keeps what it began with.

#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::build::Built;
use super::call::{AsyncCalls, Run, ShimCalls};
use super::error::UdfError;
use super::signature::Kind;
use super::source::INTERFACE;

/// A library in this process.
#[derive(Debug)]
pub struct Library {
    /// `__run` of scalar functions and aggregates.
    pub run: Option<Run>,
    /// What async functions have instead.
    pub asynchronous: Option<AsyncCalls>,
    /// What vatic linked in; a library that was built elsewhere has none.
    pub shim: Option<ShimCalls>,
    _open: ManuallyDrop<libloading::Library>,
}

static LOADED: Mutex<BTreeMap<PathBuf, Arc<Library>>> = Mutex::new(BTreeMap::new());

/// The library at `path`, for a function of `kind`; loaded once in a process.
///
/// # Errors
/// `Load` if it is of another interface or not of that kind.
pub fn load(path: &Path, kind: Kind) -> Result<Arc<Library>, UdfError> {
    let wrong = |what: String, hint: &str| UdfError::Load { path: path.to_owned(), what, hint: hint.to_owned() };
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    let library = match loaded.get(path) {
        Some(library) => Arc::clone(library),
        None => {
            check_interface(path)?;
            // SAFETY: loading runs the code of someone whom the user trusts: it was asked for by name.
            let open = unsafe { libloading::Library::new(path) };
            let open = open.map_err(|e| wrong(e.to_string(), "Build it for this machine: vatic udf build PATH."))?;
            let library = Library {
                run: Run::find(&open),
                asynchronous: AsyncCalls::find(&open),
                shim: ShimCalls::find(&open),
                _open: ManuallyDrop::new(open),
            };
            if let Some(shim) = library.shim {
                shim.init();
            }
            let library = Arc::new(library);
            loaded.insert(path.to_owned(), Arc::clone(&library));
            library
        }
    };
    let (here, other) = match kind {
        Kind::Async(_) => (library.asynchronous.is_some(), library.run.is_some()),
        Kind::Scalar | Kind::Aggregate => (library.run.is_some(), library.asynchronous.is_some()),
    };
    match (here, other) {
        (true, _) => Ok(library),
        (false, true) => Err(wrong(
            format!(
                "its source declares {} function, and it holds none",
                if matches!(kind, Kind::Async(_)) { "an async" } else { "a plain" }
            ),
            "Build it anew from the source beside it: vatic udf build PATH.",
        )),
        (false, false) => Err(wrong(
            "it was built for another interface: it has no function of arroyo-udf-plugin 0.2".to_owned(),
            "Build it with arroyo-udf-plugin = \"0.2\": vatic udf build PATH.",
        )),
    }
}

/// Loads what was built, to see that it can be loaded.
///
/// # Errors
/// `Load` if it cannot.
pub fn try_load(built: &Built) -> Result<(), UdfError> {
    load(&built.library, built.source.signature.kind).map(|_| ())
}

/// Refuses a library that was built against another series of arroyo-udf-common, whose structs may be laid out otherwise. What
/// it was built against stands in the places that its panics would name; a library without them is taken at its word.
fn check_interface(path: &Path) -> Result<(), UdfError> {
    let bytes = std::fs::read(path).map_err(|source| UdfError::Unreadable { path: path.to_owned(), source })?;
    match versions(&bytes).find(|version| !version.starts_with(INTERFACE)) {
        None => Ok(()),
        Some(version) => Err(UdfError::Load {
            path: path.to_owned(),
            what: format!("it was built for another interface: arroyo-udf-common {version}, not 0.2"),
            hint: "Build it with arroyo-udf-plugin = \"0.2\": vatic udf build PATH.".to_owned(),
        }),
    }
}

/// The versions of arroyo-udf-common that paths in `bytes` name.
fn versions(bytes: &[u8]) -> impl Iterator<Item = String> {
    const CRATE: &[u8] = b"arroyo-udf-common-";
    let starts = bytes.iter().enumerate().filter(|(at, byte)| **byte == b'a' && bytes[*at..].starts_with(CRATE));
    starts.filter_map(|(at, _)| {
        let rest = bytes.get(at + CRATE.len()..)?;
        let version: String =
            rest.iter().take_while(|b| b.is_ascii_digit() || **b == b'.').map(|b| char::from(*b)).collect();
        version.starts_with(|c: char| c.is_ascii_digit()).then_some(version)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_the_interface_is_found_in_paths() {
        let bytes = b"x/arroyo-udf-common-0.2.1/src/lib.rs\0/arroyo-udf-common-0.3.0/src/lib.rs arroyo-udf-common-x";
        assert_eq!(versions(bytes).collect::<Vec<_>>(), ["0.2.1", "0.3.0"]);
    }
}
