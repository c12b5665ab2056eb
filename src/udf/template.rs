//! `vatic udf new`: a crate to begin with, which builds as it is.

use std::path::Path;

use super::error::UdfError;

const SCALAR: &str = r#"use arroyo_udf_plugin::udf;

/// Called once per row. An argument that is NULL gives NULL without a call; take Option<f64> to see it.
#[udf]
fn NAME(x: f64, factor: f64) -> f64 {
    x * factor
}
"#;

const ASYNC: &str = r#"use arroyo_udf_plugin::udf;

/// Called with up to allowed_in_flight rows at once. What waits must await: a function that blocks holds up all of them.
#[udf(unordered, allowed_in_flight = 100, timeout = "5s")]
async fn NAME(key: &str) -> Option<String> {
    let key = key.to_owned();
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    Some(format!("found {key}"))
}
"#;

const AGGREGATE: &str = r#"use arroyo_udf_plugin::udf;

/// Called once per group with its rows. Vec<Option<f64>> would hold the NULLs, too.
#[udf]
fn NAME(values: Vec<f64>) -> Option<f64> {
    let (low, high) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(*v), high.max(*v)));
    (!values.is_empty()).then_some(high - low)
}
"#;

/// What `--async` or `--aggregate` chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Template {
    /// Row by row.
    Scalar,
    /// Many rows at once.
    Async,
    /// Over groups.
    Aggregate,
}

/// Writes a crate for a function called `name` into the folder `dir`, which must not be there yet.
///
/// # Errors
/// `Source` for a name that Rust does not take; `Exists` if the folder is there; `Write` if it cannot be written.
pub fn create(dir: &Path, name: &str, template: Template) -> Result<(), UdfError> {
    if syn::parse_str::<syn::Ident>(name).is_err() || name.to_lowercase() != name {
        return Err(UdfError::Source {
            path: dir.to_owned(),
            what: format!("a function cannot be called \"{name}\""),
            hint: "Take lower-case letters, digits and _, beginning with a letter.".to_owned(),
        });
    }
    let wrong = |source| UdfError::Write { path: dir.to_owned(), source };
    std::fs::create_dir(dir).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => UdfError::Exists { path: dir.to_owned() },
        _ => wrong(error),
    })?;
    std::fs::create_dir(dir.join("src")).map_err(wrong)?;
    let (text, more) = match template {
        Template::Scalar => (SCALAR, ""),
        Template::Async => (ASYNC, "tokio = { version = \"1\", features = [\"time\"] }\n"),
        Template::Aggregate => (AGGREGATE, ""),
    };
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[lib]\ncrate-type = [\"cdylib\"]\n\n\
         [dependencies]\narroyo-udf-plugin = \"0.2\"\n{more}\n# A crate of its own, wherever it lies.\n[workspace]\n"
    );
    std::fs::write(dir.join("Cargo.toml"), manifest).map_err(wrong)?;
    std::fs::write(dir.join("src/lib.rs"), text.replace("NAME", name)).map_err(wrong)
}
