//! From a source to a library that is loaded.
//!
//! ```text
//! Source ─► in the cache under its fingerprint?  yes ─► load
//!       ─► cargo rustc --crate-type rlib ─► rustc: rlib + shim ─► cdylib named by its hash, in the cache ─► load
//! library named by the user ─► not older than its source? ─► copy named by its hash, in the cache ─► load
//! ```
//!
//! The user's crate is built as it stands; only its type is chosen here, so that the shim can be linked in, which keeps what a panic
//! says. Cache: `$XDG_CACHE_HOME/vatic-udfs`, else `~/.cache/vatic-udfs`; `tidy.rs` keeps it small.

use std::io::ErrorKind as Io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::SystemTime;

use arrow::datatypes::DataType;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::error::UdfError;
use super::signature::Kind;
use super::source::{INTERFACE, Origin, Source};
use super::tidy::{tidy, used};

const SHIM: &str = include_str!("shim.rs");

/// A library and what its source declares.
#[derive(Debug, Clone)]
pub struct Built {
    /// The source.
    pub source: Source,
    /// The library in the cache.
    pub library: PathBuf,
    /// The first 12 hex digits of the library's SHA-256.
    pub hash: String,
}

/// The folder in which built libraries and cargo's work are kept.
#[must_use]
pub fn cache_dir() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    let own = || std::env::temp_dir().join(format!("vatic-{}", nix::unistd::geteuid()));
    cache.unwrap_or_else(own).join("vatic-udfs")
}

/// What is said before a build that may take long: on a machine, the first one compiles Arrow 51.
#[must_use]
pub fn announcement(what: &str) -> String {
    let first = !cache_dir().join("target/release").is_dir();
    format!("building {what}{}", if first { "; the first one on a machine takes some minutes" } else { "" })
}

/// Makes `dir`, and refuses one that another user owns or may write to: its libraries run with our rights.
fn private(dir: &Path) -> Result<(), UdfError> {
    let wrong = |source| UdfError::Write { path: dir.to_owned(), source };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(wrong)?;
    let found = std::fs::metadata(dir).map_err(wrong)?;
    if found.uid() == nix::unistd::geteuid().as_raw() && found.mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(wrong(Io::PermissionDenied.into()))
}

/// The library of the function at `path`: from the cache if its source has not changed, unless `anew`; else built.
///
/// # Errors
/// If there is no function, no compiler, or it does not compile.
pub fn build(path: &Path, anew: bool) -> Result<Built, UdfError> {
    let source = Source::find(path)?;
    private(&cache_dir())?;
    let mut stale = String::new();
    if let (Some(library), false) = (&source.library, anew) {
        let unreadable = |e| UdfError::Unreadable { path: library.clone(), source: e };
        let written = std::fs::metadata(library).and_then(|m| m.modified()).map_err(unreadable)?;
        if written >= source.written {
            let bytes = std::fs::read(library).map_err(unreadable)?;
            return keep(source.clone(), &bytes);
        }
        stale = format!(": library \"{}\" is older than its source", library.display());
    }
    if !anew
        && let Ok(hash) = std::fs::read_to_string(note(&source))
        && let library = library_path(&source, &hash)
        && intact(&library, &hash)
    {
        used(&note(&source));
        used(&library);
        return Ok(Built { source, library, hash });
    }
    let bytes = compile(&source, &stale)?;
    // Cargo may have written a lock file, which is part of the source from now on.
    let built = keep(Source::find(path)?, &bytes)?;
    write(&note(&built.source), built.hash.as_bytes())?;
    Ok(built)
}

/// Compiles the function at `path` as far as errors need it; nothing is loaded.
///
/// # Errors
/// As [`build`].
pub fn check(path: &Path) -> Result<Source, UdfError> {
    let source = Source::find(path)?;
    // As for a build, so that both share their work.
    run(cargo(&source)?, "cargo", &source, "")?;
    Ok(source)
}

/// The functions in a folder: its crates and its .rs files, by name. A crate or a file is what it is itself.
///
/// # Errors
/// If there is nothing, or it cannot be read.
pub fn sources_in(dir: &Path) -> Result<Vec<PathBuf>, UdfError> {
    let is_crate = |dir: &Path| dir.join("Cargo.toml").is_file() && dir.join("src/lib.rs").is_file();
    if dir.is_file() || is_crate(dir) {
        return Ok(vec![dir.to_owned()]);
    }
    let unreadable = |source: std::io::Error| match source.kind() {
        Io::NotFound => UdfError::NoFolder { path: dir.to_owned() },
        _ => UdfError::Unreadable { path: dir.to_owned(), source },
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if is_crate(&path) || (path.is_file() && path.extension().is_some_and(|e| e == "rs")) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// The file that says which library was built from a source, by a vatic of this version with this shim.
fn note(source: &Source) -> PathBuf {
    let shim = short_hash(SHIM.as_bytes());
    cache_dir().join("sources").join(format!("{}-{}-{shim}", source.fingerprint, env!("CARGO_PKG_VERSION")))
}

/// The first 12 hex digits of the SHA-256.
fn short_hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// Whether the library is there as it was built: one that was cut short or written over is not loaded.
fn intact(library: &Path, hash: &str) -> bool {
    std::fs::read(library).is_ok_and(|bytes| short_hash(&bytes) == hash)
}

fn library_path(source: &Source, hash: &str) -> PathBuf {
    cache_dir().join("libraries").join(format!("{}-{hash}.so", source.signature.name))
}

/// Puts a library into the cache under its hash: what is loaded never changes.
fn keep(source: Source, bytes: &[u8]) -> Result<Built, UdfError> {
    let hash = short_hash(bytes);
    let library = library_path(&source, &hash);
    if intact(&library, &hash) {
        used(&library);
    } else {
        write(&library, bytes)?;
        tidy(&cache_dir(), SystemTime::now());
    }
    Ok(Built { source, library, hash })
}

/// Writes a file as a whole: others may look for it at the same time.
fn write(path: &Path, bytes: &[u8]) -> Result<(), UdfError> {
    let wrong = |source| UdfError::Write { path: path.to_owned(), source };
    let dir = path.parent().unwrap_or(path);
    std::fs::create_dir_all(dir).map_err(wrong)?;
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(wrong)?;
    std::io::Write::write_all(&mut file, bytes).map_err(wrong)?;
    file.persist(path).map_err(|e| wrong(e.error))?;
    Ok(())
}

/// Builds the crate and links the shim to it; the library's bytes.
fn compile(source: &Source, stale: &str) -> Result<Vec<u8>, UdfError> {
    let cargo = cargo(source)?;
    let dir = cargo.get_current_dir().map(Path::to_owned).unwrap_or_default();
    let built = run(cargo, "cargo", source, stale)?;
    let messages: Vec<Value> =
        String::from_utf8_lossy(&built.stdout).lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
    let rlib = messages.iter().rev().filter(|m| m["reason"] == "compiler-artifact" && in_folder(&m["manifest_path"], &dir));
    let rlib = rlib
        .flat_map(|m| m["filenames"].as_array().into_iter().flatten())
        .filter_map(Value::as_str)
        .find(|f| f.ends_with(".rlib"));
    let missing = || UdfError::Compile {
        path: source.path.clone(),
        said: "cargo built no library of it".to_owned(),
        hint: hint(source),
    };
    let rlib = PathBuf::from(rlib.ok_or_else(missing)?);
    let wrong = |source| UdfError::Write { path: cache_dir(), source };
    let work = tempfile::tempdir_in(cache_dir()).map_err(wrong)?;
    let (shim, library) = (work.path().join("shim.rs"), work.path().join("library.so"));
    std::fs::write(&shim, SHIM).map_err(wrong)?;
    let mut rustc = Command::new("rustc");
    // The folder decides which toolchain rustup takes.
    rustc.current_dir(&dir).args(["--edition", "2024", "--crate-type", "cdylib", "--crate-name", "vatic_udf"]);
    rustc.args(["-C", "opt-level=3", "-C", "panic=unwind", "-C", "strip=debuginfo"]).arg(&shim).arg("-o").arg(&library);
    rustc.arg("--extern").arg(format!("udf_source={}", rlib.display()));
    for deps in rlib.ancestors().skip(1).take(2).flat_map(|dir| [dir.to_owned(), dir.join("deps")]) {
        rustc.arg("-L").arg(format!("dependency={}", deps.display()));
    }
    // Native libraries that build scripts have found.
    for path in messages.iter().filter_map(|m| m["linked_paths"].as_array()).flatten().filter_map(Value::as_str) {
        rustc.arg("-L").arg(path);
    }
    run(rustc, "rustc", source, stale)?;
    std::fs::read(&library).map_err(|source| UdfError::Unreadable { path: library.clone(), source })
}

fn in_folder(manifest: &Value, dir: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    manifest.as_str().is_some_and(|manifest| real(Path::new(manifest)) == real(&dir.join("Cargo.toml")))
}

/// `cargo rustc` for the crate of `source`, which for a single file is made in the cache.
fn cargo(source: &Source) -> Result<Command, UdfError> {
    let dir = match &source.origin {
        Origin::Crate(dir) => dir.clone(),
        Origin::File(dependencies) => crate_of_file(source, dependencies)?,
    };
    let target = cache_dir().join("target");
    std::fs::create_dir_all(&target).map_err(|source| UdfError::Write { path: target.clone(), source })?;
    let mut cargo = Command::new("cargo");
    cargo.current_dir(&dir).arg("rustc").arg("--manifest-path").arg(dir.join("Cargo.toml"));
    cargo
        .args([
            "--lib",
            "--release",
            "--crate-type",
            "rlib",
            "--quiet",
            "--message-format",
            "json-render-diagnostics",
            "--target-dir",
        ])
        .arg(target);
    // A panic must unwind to be caught; and what surrounds us (a cargo that runs tests) is not for this crate.
    cargo.env("CARGO_PROFILE_RELEASE_PANIC", "unwind");
    for name in ["CARGO", "CARGO_MANIFEST_DIR", "CARGO_TARGET_DIR", "RUSTC_WORKSPACE_WRAPPER", "CARGO_ENCODED_RUSTFLAGS"] {
        cargo.env_remove(name);
    }
    Ok(cargo)
}

/// Arroyo builds a single file as a crate whose manifest has the dependencies of its header; so do we. The file stays where it is, so
/// that errors name it.
fn crate_of_file(source: &Source, dependencies: &str) -> Result<PathBuf, UdfError> {
    let place = short_hash(source.main.as_os_str().as_encoded_bytes());
    let name = &source.signature.name;
    let dir = cache_dir().join("crates").join(format!("{name}-{place}"));
    let plugin = dependencies.lines().map(str::trim_start).find(|line| line.starts_with("arroyo-udf-plugin"));
    let has_plugin = plugin.is_some();
    // Another series takes minutes to compile, and is refused in the end.
    let version = plugin.and_then(|line| line.split('"').nth(1)).filter(|v| v.starts_with(|c: char| c.is_ascii_digit()));
    let other = |version: &&str| *version != "0" && !format!("{version}.").starts_with(INTERFACE);
    if let Some(version) = version.filter(other) {
        return Err(UdfError::Source {
            path: source.path.clone(),
            what: format!("its header asks for arroyo-udf-plugin {version}"),
            hint: "Take arroyo-udf-plugin = \"0.2\", or leave the line out: it is understood.".to_owned(),
        });
    }
    let plugin = if has_plugin { "" } else { "arroyo-udf-plugin = \"0.2\"\n" };
    let main = source.main.display().to_string();
    let manifest = format!(
        "[package]\nname = \"{name}_{place}\"\nversion = \"0.0.0\"\nedition = \"2021\"\n\n[lib]\npath = {}\n\n[dependencies]\n{plugin}{dependencies}\n\n[workspace]\n",
        Value::from(main), // JSON's quotes are TOML's
    );
    let path = dir.join("Cargo.toml");
    if std::fs::read_to_string(&path).is_ok_and(|old| old == manifest) {
        used(&path);
        return Ok(dir);
    }
    write(&path, manifest.as_bytes())?;
    // What is downloaded already will do; without a lock file cargo would ask the registry.
    let mut lock = Command::new("cargo");
    lock.current_dir(&dir).args(["generate-lockfile", "--offline", "--quiet"]);
    // Fails where something is missing, and then the build fetches it.
    let _ = lock.output();
    Ok(dir)
}

/// What to do about a source that does not compile.
fn hint(source: &Source) -> String {
    let signature = &source.signature;
    let refused = |t: &DataType| matches!(t, DataType::Boolean | DataType::Timestamp(..) | DataType::Duration(_));
    let text = |t: &DataType| matches!(t, DataType::Utf8 | DataType::Binary);
    let types = signature.types();
    let list_of_text = signature.kind == Kind::Aggregate && types.iter().any(text);
    if types.iter().chain([&signature.returns]).any(refused) || list_of_text {
        return "The macro of arroyo-udf-plugin 0.2.0 itself compiles no bool, SystemTime, Duration or Vec<&str>: pass numbers, such as \
                CASE WHEN x THEN 1 ELSE 0 END and microseconds since 1970."
            .to_owned();
    }
    "Mend the source where the compiler points.".to_owned()
}

/// Runs a compiler to its end.
fn run(mut command: Command, program: &'static str, source: &Source, stale: &str) -> Result<Output, UdfError> {
    let path = source.path.clone();
    let output = command.output().map_err(|e| match e.kind() {
        Io::NotFound => UdfError::NoCompiler { path: path.clone(), program, stale: stale.to_owned() },
        _ => UdfError::Unreadable { path: path.clone(), source: e },
    })?;
    if output.status.success() {
        return Ok(output);
    }
    // Cargo ends by the signal, or with 128 + its number where a shell is between.
    if output.status.signal().is_some() || output.status.code() == Some(130) {
        return Err(UdfError::Interrupted { path });
    }
    let said = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
    Err(UdfError::Compile { path, said, hint: hint(source) })
}
