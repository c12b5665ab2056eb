//! What can be wrong with a function of the user's own, from its path to its last call.

use std::path::PathBuf;

use crate::error::{ErrorKind, Explain};

/// Why a function cannot be had or used.
#[derive(Debug, thiserror::Error)]
pub enum UdfError {
    /// There is nothing at the path, or it cannot be read.
    #[error("cannot read function file \"{path}\": {source}", path = path.display())]
    Unreadable {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Functions were to be loaded from a folder that is not there.
    #[error("there is no folder \"{path}\" to load functions from", path = path.display())]
    NoFolder {
        /// Where.
        path: PathBuf,
    },
    /// The path is none of what a function can come from.
    #[error("\"{path}\" is no function: {what}", path = path.display())]
    NotAFunction {
        /// Where.
        path: PathBuf,
        /// What is there instead.
        what: &'static str,
    },
    /// A library whose source is not there: nobody can tell its types.
    #[error("library \"{path}\" has no source beside it, which tells its types", path = path.display())]
    NoSource {
        /// The library.
        path: PathBuf,
    },
    /// The source does not declare a function that can be called.
    #[error("function file \"{path}\": {what}", path = path.display())]
    Source {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
        /// What to do.
        hint: String,
    },
    /// Something has to be compiled, and there is no compiler.
    #[error("function file \"{path}\" has to be compiled, and there is no {program} here{stale}", path = path.display())]
    NoCompiler {
        /// The file.
        path: PathBuf,
        /// `cargo` or `rustc`.
        program: &'static str,
        /// `: library "x.so" is older than the source`, if there is one.
        stale: String,
    },
    /// The compiler refused it; what it said is part of the text.
    #[error("function file \"{path}\" does not compile\n{said}", path = path.display())]
    Compile {
        /// The file.
        path: PathBuf,
        /// The compiler's words, with the user's file and line.
        said: String,
        /// What to do.
        hint: String,
    },
    /// A signal ended the compiler, as Ctrl-C does.
    #[error("building function file \"{path}\" was interrupted", path = path.display())]
    Interrupted {
        /// The file.
        path: PathBuf,
    },
    /// There is something where a new crate was to be written.
    #[error("there is \"{path}\" already", path = path.display())]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// The library cannot be loaded or is not what its source says.
    #[error("cannot load library \"{path}\": {what}", path = path.display())]
    Load {
        /// The library.
        path: PathBuf,
        /// Why.
        what: String,
        /// What to do.
        hint: String,
    },
    /// Writing to the cache or beside it failed.
    #[error("cannot write \"{path}\": {source}", path = path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Number or types of arguments are wrong.
    #[error("{text}")]
    Arguments {
        /// What is wrong.
        text: String,
        /// How it is called.
        usage: String,
    },
    /// What came back is not what the source declares.
    #[error("function \"{function}\" gave {got}, its source says {wanted}")]
    Result {
        /// The function.
        function: String,
        /// What came.
        got: String,
        /// What was to come.
        wanted: String,
    },
    /// A group of an aggregate has more rows than may be kept.
    #[error("function \"{function}\" would keep more than {limit} rows of one group")]
    TooManyRows {
        /// The function.
        function: String,
        /// How many it may keep.
        limit: usize,
    },
}

impl Explain for UdfError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Unreadable { source, .. } if source.kind() != std::io::ErrorKind::NotFound => ErrorKind::External,
            Self::NoCompiler { .. } | Self::Write { .. } => ErrorKind::External,
            Self::Interrupted { .. } => ErrorKind::Interrupted,
            _ => ErrorKind::User,
        }
    }
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unreadable { .. } => {
                "Name a .rs file, a folder with a Cargo.toml, or a library beside its source; vatic udf new NAME writes one.".into()
            }
            Self::NoFolder { .. } => "Name a folder of crates and .rs files, one crate, or one .rs file: --udfs udfs.".into(),
            Self::NotAFunction { .. } => "Name a .rs file, a folder with a Cargo.toml, or a library beside its source.".into(),
            Self::NoSource { path } => {
                format!("Put the source beside it, as \"{}\".", path.with_extension("rs").display())
            }
            Self::Source { hint, .. } | Self::Load { hint, .. } | Self::Compile { hint, .. } => hint.clone(),
            Self::NoCompiler { .. } => {
                "Install Rust (https://rustup.rs), or build it with vatic udf build where Rust is, with the same cache folder.".into()
            }
            Self::Interrupted { .. } => "Begin again: what was compiled so far is kept.".into(),
            Self::Exists { .. } => "Choose another name, or remove it.".into(),
            Self::Write { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                "Set XDG_CACHE_HOME to a folder that is yours and that nobody else may write to: what lies there runs with your rights.".into()
            }
            Self::Write { .. } => "XDG_CACHE_HOME says where built functions are kept.".into(),
            Self::Arguments { usage, .. } => format!("Write {usage}."),
            Self::Result { .. } => "Build the library anew from the source beside it: vatic udf build PATH.".into(),
            Self::TooManyRows { .. } => "SET udf.group_rows to more, or make the groups smaller.".into(),
        })
    }
}
