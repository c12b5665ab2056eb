//! Where a function comes from.   path ─► [`Source`]: the .rs file with `#[udf]`, what cargo builds it from, its fingerprint
//!
//! | path | what it is |
//! |---|---|
//! | `f.rs` | one file; dependencies stand in a `/* [dependencies] ... */` at its top, as Arroyo has it |
//! | `dir/`, `dir/Cargo.toml` | a crate |
//! | `libf.so` | a library; its source is `f.rs` or `libf.rs` beside it, or the crate that it lies in |

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use super::error::UdfError;
use super::files::files_of;
use super::signature::{Signature, parse};

/// The series of arroyo-udf-common whose calling convention is spoken here.
pub(super) const INTERFACE: &str = "0.2.";

/// A function's source.
#[derive(Debug, Clone)]
pub struct Source {
    /// The path as it was given.
    pub path: PathBuf,
    /// The .rs file with the function.
    pub main: PathBuf,
    /// What cargo builds.
    pub origin: Origin,
    /// The library that was named, if one was.
    pub library: Option<PathBuf>,
    /// What the source declares.
    pub signature: Signature,
    /// SHA-256 of everything that it is built from, in hex.
    pub fingerprint: String,
    /// When the newest of its files was written.
    pub written: SystemTime,
}

/// What cargo builds.
#[derive(Debug, Clone)]
pub enum Origin {
    /// A crate in this folder.
    Crate(PathBuf),
    /// A single file, with the lines of its `[dependencies]`.
    File(String),
}

impl Source {
    /// Looks at `path` and reads the source.
    ///
    /// # Errors
    /// If there is none, or it declares no function that can be called.
    pub fn find(path: &Path) -> Result<Self, UdfError> {
        let unreadable = |path: &Path| {
            let path = path.to_owned();
            move |source| UdfError::Unreadable { path, source }
        };
        let absolute = std::path::absolute(path).map_err(unreadable(path))?;
        let extension = absolute.extension().and_then(|e| e.to_str()).unwrap_or_default();
        let metadata = std::fs::metadata(&absolute).map_err(unreadable(path))?;
        if metadata.is_dir() {
            return Self::of_crate(path, &absolute, None);
        }
        match extension {
            "rs" => Self::of_file(path, &absolute, None),
            "toml" => Self::of_crate(path, absolute.parent().unwrap_or(&absolute), None),
            "so" | "dylib" | "dll" => Self::of_library(path, &absolute),
            _ => Err(UdfError::NotAFunction { path: path.to_owned(), what: "a file of another kind" }),
        }
    }

    fn of_crate(path: &Path, dir: &Path, library: Option<PathBuf>) -> Result<Self, UdfError> {
        if !dir.join("Cargo.toml").is_file() {
            return Err(UdfError::NotAFunction { path: path.to_owned(), what: "a folder without a Cargo.toml" });
        }
        let main = dir.join("src/lib.rs");
        let files = files_of(dir).map_err(|source| UdfError::Unreadable { path: dir.to_owned(), source })?;
        Self::new(path, main, Origin::Crate(dir.to_owned()), library, &files)
    }

    fn of_file(path: &Path, file: &Path, library: Option<PathBuf>) -> Result<Self, UdfError> {
        let text = read(file)?;
        Self::new(path, file.to_owned(), Origin::File(dependencies(&text).to_owned()), library, &[file.to_owned()])
    }

    fn of_library(path: &Path, library: &Path) -> Result<Self, UdfError> {
        let stem = library.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
        let dir = library.parent().unwrap_or(library);
        for name in [stem, stem.strip_prefix("lib").unwrap_or(stem)] {
            let file = dir.join(name).with_extension("rs");
            if file.is_file() {
                return Self::of_file(path, &file, Some(library.to_owned()));
            }
        }
        // target/release/libf.so lies in its crate; the nearest manifest above is that of a workspace as likely as not.
        match dir.ancestors().find(|dir| dir.join("Cargo.toml").is_file() && dir.join("src/lib.rs").is_file()) {
            Some(dir) => Self::of_crate(path, dir, Some(library.to_owned())),
            None => Err(UdfError::NoSource { path: path.to_owned() }),
        }
    }

    fn new(
        path: &Path,
        main: PathBuf,
        origin: Origin,
        library: Option<PathBuf>,
        files: &[PathBuf],
    ) -> Result<Self, UdfError> {
        let wrong = |(what, hint): (String, &str)| UdfError::Source { path: path.to_owned(), what, hint: hint.to_owned() };
        let signature = parse(&read(&main)?).map_err(wrong)?;
        let mut hash = Sha256::new();
        let mut written = SystemTime::UNIX_EPOCH;
        for file in files {
            let unreadable = |source| UdfError::Unreadable { path: file.clone(), source };
            let bytes = std::fs::read(file).map_err(unreadable)?;
            hash.update(file.as_os_str().as_encoded_bytes());
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(&bytes);
            written = written.max(std::fs::metadata(file).and_then(|m| m.modified()).map_err(unreadable)?);
        }
        let fingerprint = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { path: path.to_owned(), main, origin, library, signature, fingerprint, written })
    }
}

fn read(file: &Path) -> Result<String, UdfError> {
    std::fs::read_to_string(file).map_err(|source| UdfError::Unreadable { path: file.to_owned(), source })
}

/// The lines behind `[dependencies]` in the comment that begins with it; empty if there is none.
fn dependencies(text: &str) -> &str {
    let comments = text.match_indices("/*").filter_map(|(at, open)| {
        let inside = text.get(at + open.len()..)?;
        inside.get(..inside.find("*/")?)?.trim_start().strip_prefix("[dependencies]")
    });
    comments.map(str::trim).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_stand_in_the_first_comment_that_has_them() {
        assert_eq!(
            dependencies("/*\n[dependencies]\nserde = \"1\"\nregex = \"1\"\n*/\nuse x;"),
            "serde = \"1\"\nregex = \"1\""
        );
        assert_eq!(dependencies("/* a */ /* [dependencies] a = \"1\" */"), "a = \"1\"");
        assert_eq!(dependencies("fn f() {} // [dependencies]"), "");
    }

    #[test]
    fn a_path_tells_what_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let source = "#[udf] fn f(x: i64) -> i64 { x }";
        std::fs::create_dir_all(at("c/src")).unwrap();
        std::fs::create_dir_all(at("c/target/release")).unwrap();
        std::fs::write(at("c/Cargo.toml"), "[package]").unwrap();
        std::fs::write(at("c/src/lib.rs"), source).unwrap();
        std::fs::write(at("c/target/release/libf.so"), "").unwrap();
        std::fs::write(at("f.rs"), source).unwrap();
        std::fs::write(at("libf.so"), "").unwrap();
        std::fs::write(at("lonely.so"), "").unwrap();
        std::fs::write(at("f.txt"), "").unwrap();
        for (path, main) in [
            ("c", "c/src/lib.rs"),
            ("c/Cargo.toml", "c/src/lib.rs"),
            ("c/target/release/libf.so", "c/src/lib.rs"),
            ("f.rs", "f.rs"),
            ("libf.so", "f.rs"),
        ] {
            let found = Source::find(&at(path)).unwrap();
            assert_eq!(found.main, at(main), "{path}");
            assert_eq!(found.library.is_some(), path.ends_with(".so"));
        }
        let before = Source::find(&at("c")).unwrap().fingerprint;
        std::fs::write(at("c/src/other.rs"), "").unwrap();
        let changed = Source::find(&at("c")).unwrap().fingerprint;
        assert_ne!(changed, before, "a new file is a change");
        std::fs::write(at("c/model.onnx"), "1").unwrap();
        assert_ne!(Source::find(&at("c")).unwrap().fingerprint, changed, "one that the source may include, too");
        assert!(matches!(Source::find(&at("lonely.so")), Err(UdfError::NoSource { .. })));
        assert!(matches!(Source::find(&at("f.txt")), Err(UdfError::NotAFunction { .. })));
        assert!(matches!(Source::find(&at("c/src")), Err(UdfError::NotAFunction { .. })));
        assert!(matches!(Source::find(&at("none.rs")), Err(UdfError::Unreadable { .. })));
    }
}
