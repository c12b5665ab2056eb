//! What a crate is built from.   folder ─► its files, those of the crates that it depends on by path, its workspace's manifest and lock
//!
//! Manifests are not read as TOML: every `path = "..."` that leads to a crate counts. What is found too much costs a build that cargo has
//! nothing to do in; only the sources of crates in other places (a registry, a repository) are left out, and they do not change.

use std::collections::BTreeSet;
use std::io::Result;
use std::path::{Path, PathBuf};

/// The files that the crate in `dir` is built from, sorted.
pub fn files_of(dir: &Path) -> Result<Vec<PathBuf>> {
    let (mut files, mut seen) = (BTreeSet::new(), BTreeSet::new());
    crate_in(dir, &mut files, &mut seen)?;
    Ok(files.into_iter().collect())
}

fn crate_in(dir: &Path, files: &mut BTreeSet<PathBuf>, seen: &mut BTreeSet<PathBuf>) -> Result<()> {
    if !seen.insert(dir.canonicalize()?) {
        return Ok(());
    }
    collect(dir, files)?;
    let mut manifests = vec![dir.join("Cargo.toml")];
    let is_workspace = |manifest: &Path| text(manifest).lines().any(|line| line.trim_start().starts_with("[workspace"));
    if !is_workspace(&dir.join("Cargo.toml"))
        && let Some(above) = dir.ancestors().skip(1).find(|dir| is_workspace(&dir.join("Cargo.toml")))
    {
        files.extend(["Cargo.toml", "Cargo.lock"].map(|name| above.join(name)).into_iter().filter(|file| file.is_file()));
        manifests.push(above.join("Cargo.toml"));
    }
    for manifest in manifests {
        let from = manifest.parent().unwrap_or(dir);
        for path in paths_in(&text(&manifest)) {
            let other = from.join(path);
            if other.join("Cargo.toml").is_file() {
                crate_in(&other, files, seen)?;
            }
        }
    }
    Ok(())
}

/// The text of a manifest; nothing if there is none.
fn text(manifest: &Path) -> String {
    std::fs::read_to_string(manifest).unwrap_or_default()
}

/// The values of `path = "..."`.
fn paths_in(manifest: &str) -> Vec<&str> {
    let keys = manifest.match_indices("path");
    let values = keys.filter_map(|(at, key)| {
        let value = manifest.get(at + key.len()..)?.trim_start().strip_prefix('=')?.trim_start();
        let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        value.get(1..)?.split(quote).next()
    });
    values.collect()
}

/// Everything but what was built and what is hidden. Of any kind: a source may include a model.
fn collect(dir: &Path, files: &mut BTreeSet<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        if name.starts_with('.') || name == "target" {
            continue;
        }
        if path.is_dir() {
            collect(&path, files)?;
        } else if !path.extension().is_some_and(|e| e == "so" || e == "dylib" || e == "dll") {
            files.insert(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_is_built_from_its_workspace_and_its_neighbours_too() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("Cargo.toml", "[workspace]\nmembers = [\"f\"]\n[workspace.dependencies]\nshared = { path = \"shared\" }\n");
        write("Cargo.lock", "");
        write(
            "f/Cargo.toml",
            "[lib]\npath = \"src/lib.rs\"\n[dependencies]\nnear = { version = \"1\", path='../near' }\nshared.workspace = true\n",
        );
        write("f/src/lib.rs", "");
        write("f/target/x.rs", "");
        write("near/Cargo.toml", "[dependencies.f]\npath = \"../f\"\n");
        write("near/src/lib.rs", "");
        write("shared/Cargo.toml", "");
        write("shared/data.bin", "");
        write("other/Cargo.toml", "");
        let relative = |file: &PathBuf| {
            let real = file.canonicalize().unwrap();
            real.strip_prefix(root.path().canonicalize().unwrap()).unwrap().display().to_string()
        };
        let found: BTreeSet<String> = files_of(&root.path().join("f")).unwrap().iter().map(relative).collect();
        let wanted = [
            "Cargo.lock",
            "Cargo.toml",
            "f/Cargo.toml",
            "f/src/lib.rs",
            "near/Cargo.toml",
            "near/src/lib.rs",
            "shared/Cargo.toml",
            "shared/data.bin",
        ];
        assert_eq!(found, wanted.map(str::to_owned).into());
        // A workspace of its own has none above it.
        write("f/Cargo.toml", "[package]\n\n[workspace]\n");
        assert_eq!(files_of(&root.path().join("f")).unwrap().len(), 2);
    }
}
