//! The shape of the project, as CONTRIBUTING.md and docs/architecture.md promise it.
//!
//! ```text
//! files ─► code without comments and strings ─► paths (`crate::a::b`, `super::c`, nested groups) ─► edges between modules ─► rules
//! ```
//!
//! A rule is a function from files (or text) to complaints, so that each can be shown to fail on something wrong. To add a
//! module at the top of `src/`: give it a floor in [`FLOORS`]. To add a rule: a function, a test on this project, a test on a
//! bad example.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The floors: a file imports its own floor or a lower one.
const FLOORS: &[(u8, &[&str])] = &[
    (0, &["error", "time", "config", "metrics"]),
    (1, &["format"]),
    (2, &["model"]),
    (3, &["state"]),
    (4, &["connector"]),
    (5, &["stream"]),
    (6, &["udf"]),
    (7, &["sql"]),
    (8, &["engine"]),
    (9, &["server", "cli"]),
];

/// What `lib.rs` offers at its top, and the module that it comes from.
const AT_THE_TOP: &[(&str, &str)] = &[("Error", "error"), ("ErrorKind", "error"), ("Result", "error")];

/// The only places for `unsafe`.
const UNSAFE_ALLOWED: &[&str] = &["src/connector/kafka/ffi/", "src/model/tree/simd.rs", "src/model/tree/simd/", "src/udf/"];

/// Modules whose files may need each other, each with its reason: here one type's methods are spread over several files, by
/// subject (`Session` in engine/).
const INTERWOVEN: &[&str] = &["engine"];

/// A file longer than this wants to be two.
const MAX_LINES: usize = 600;

/// Files that are longer and know why. Tests and generated code may be as long as they need.
const LONGER: &[&str] = &[];

/// Crates that must not be there twice: their types meet in our interfaces.
const ONCE: &[&str] = &["arrow", "arrow-*", "datafusion", "datafusion-*", "sqlparser", "parquet", "object_store"];

// ---------------------------------------------------------------------------------------------------- reading

/// A source file: its path from the project's root, with `/`, and its text.
struct File {
    path: String,
    text: String,
}

fn file(path: &str, text: &str) -> File {
    File { path: path.to_owned(), text: text.to_owned() }
}

/// Every `.rs` file below the folders of code.
fn project() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "tests", "proto", "benches", "udfs"] {
        collect(root, &root.join(folder), &mut files);
    }
    assert!(files.iter().any(|f| f.path == "src/lib.rs"), "the project's files are not where they are looked for");
    files
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<File>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                collect(root, &path, files);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
            files.push(File { path: name, text: fs::read_to_string(&path).unwrap() });
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
}

/// A token of code: a word, or one character of punctuation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Mark(char),
}

impl<'a> Token<'a> {
    fn word(self) -> Option<&'a str> {
        match self {
            Token::Word(word) => Some(word),
            Token::Mark(_) => None,
        }
    }
}

/// The tokens of Rust code; comments, strings, characters, numbers and lifetimes are left out.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let bytes = text.as_bytes();
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b >= 0x80;
    let (mut tokens, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let rest = &text[at..];
        let b = bytes[at];
        if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
        } else if rest.starts_with("/*") {
            at += block_comment(rest);
        } else if let Some(length) = string(rest) {
            at += length;
        } else if b == b'\'' {
            at += quote(rest);
        } else if is_word(b) {
            let length = rest.bytes().position(|b| !is_word(b)).unwrap_or(rest.len());
            if !b.is_ascii_digit() {
                tokens.push(Token::Word(&rest[..length]));
            }
            at += length;
        } else {
            if !b.is_ascii_whitespace() {
                tokens.push(Token::Mark(char::from(b)));
            }
            at += 1;
        }
    }
    tokens
}

/// The length of the comment (they nest) at the start of `text`.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

/// The length of the string (plain, byte, C, raw) at the start of `text`, if there is one.
fn string(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "r", "b", "c", ""]
        .into_iter()
        .find(|prefix| text.strip_prefix(prefix).is_some_and(|rest| rest.trim_start_matches('#').starts_with('"')))?;
    let rest = &text[prefix.len()..];
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    if prefix.contains('r') {
        let end = format!("\"{}", "#".repeat(hashes));
        let begin = prefix.len() + hashes + 1;
        return Some(text[begin..].find(&end).map_or(text.len(), |at| begin + at + end.len()));
    }
    if hashes > 0 {
        return None; // `#"` outside raw strings is punctuation, then a string
    }
    let mut escaped = false;
    let begin = prefix.len() + 1;
    let end = text.as_bytes()[begin..].iter().position(|b| {
        let closes = *b == b'"' && !escaped;
        escaped = *b == b'\\' && !escaped;
        closes
    });
    Some(end.map_or(text.len(), |at| begin + at + 1))
}

/// The length of the character or lifetime at the start of `text`.
fn quote(text: &str) -> usize {
    let mut inside = text[1..].char_indices();
    match (inside.next(), inside.next()) {
        (Some((_, '\\')), _) => {
            // At least one character follows the backslash.
            let after = text[3..].find('\'').map_or(text.len(), |at| 3 + at + 1);
            after.min(text.len())
        }
        (Some(_), Some((at, '\''))) => 1 + at + 1,
        _ => 1, // a lifetime: its name is a word that means nothing to us
    }
}

/// Where a file stands in its crate's tree of modules: `src/a/b.rs` and `src/a/b/mod.rs` are `a::b`.
fn module_of(path: &str) -> Vec<String> {
    let inside = path.strip_prefix("src/").unwrap_or(path).trim_end_matches(".rs");
    let mut parts: Vec<String> = inside.split('/').map(str::to_owned).collect();
    if parts.last().is_some_and(|last| last == "mod") || matches!(inside, "lib" | "main") {
        parts.pop();
    }
    parts
}

/// A path that a file names, from the crate's root, and whether only its tests do.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Named {
    path: Vec<String>,
    in_tests: bool,
}

/// Every path in `text` that begins with `crate`, `super` or `self`, in `use` and elsewhere, with its groups taken apart.
fn named_in(text: &str, module: &[String]) -> Vec<Named> {
    let tokens = tokens(text);
    let mut named = Vec::new();
    // Modules written inside the file: their depth of braces, and whether they are tests.
    let (mut inner, mut depth): (Vec<(usize, &str, bool)>, usize) = (Vec::new(), 0);
    let mut test_item = false;
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at] {
            Token::Mark('{') => depth += 1,
            Token::Mark('}') => {
                depth = depth.saturating_sub(1);
                inner.retain(|(open, ..)| *open <= depth);
            }
            Token::Mark('#') if cfg_test(&tokens[at..]) => test_item = true,
            Token::Mark(';') => test_item = false,
            Token::Word("mod") => {
                if let [_, Token::Word(name), Token::Mark('{'), ..] = &tokens[at..] {
                    inner.push((depth + 1, name, test_item));
                    test_item = false;
                }
            }
            Token::Word("use" | "fn" | "impl" | "struct" | "enum") => test_item = false,
            Token::Word(word @ ("crate" | "super" | "self")) if is_path(&tokens, at) => {
                let here = module.iter().cloned().chain(inner.iter().map(|(_, name, _)| (*name).to_owned()));
                let begin: Vec<String> = match word {
                    "crate" => Vec::new(),
                    "self" => here.collect(),
                    _ => {
                        let mut here: Vec<String> = here.collect();
                        here.pop();
                        here
                    }
                };
                let in_tests = inner.iter().any(|(_, _, tests)| *tests);
                let mut paths = Vec::new();
                let end = path_from(&tokens, at + 1, begin, &mut paths);
                named.extend(paths.into_iter().map(|path| Named { path, in_tests }));
                // Braces of a group are balanced, so nothing is missed by going on behind them.
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    named.sort();
    named.dedup();
    named
}

fn cfg_test(tokens: &[Token<'_>]) -> bool {
    let words: Vec<&str> = tokens.iter().take(6).filter_map(|token| token.word()).collect();
    words.starts_with(&["cfg", "test"])
}

/// Whether the word at `at` begins a path: `::` follows, and none is before it.
fn is_path(tokens: &[Token<'_>], at: usize) -> bool {
    let colons = |at: usize| tokens.get(at..at + 2) == Some(&[Token::Mark(':'), Token::Mark(':')]);
    colons(at + 1) && !at.checked_sub(2).is_some_and(colons)
}

/// Reads on from behind a path's word at `at`; adds every path to `found` and returns where the path has ended.
fn path_from(tokens: &[Token<'_>], mut at: usize, mut path: Vec<String>, found: &mut Vec<Vec<String>>) -> usize {
    while tokens.get(at..at + 2) == Some(&[Token::Mark(':'), Token::Mark(':')]) {
        match tokens.get(at + 2) {
            Some(Token::Word("super")) => {
                path.pop();
            }
            Some(Token::Word("self")) => {}
            Some(Token::Word(word)) => path.push((*word).to_owned()),
            Some(Token::Mark('{')) => {
                at += 3;
                loop {
                    match tokens.get(at) {
                        Some(Token::Word("self")) => {
                            at = path_from(tokens, at + 1, path.clone(), found);
                        }
                        Some(Token::Word(word)) => {
                            let mut path = path.clone();
                            path.push((*word).to_owned());
                            at = path_from(tokens, at + 1, path, found);
                        }
                        Some(Token::Mark('}')) | None => return at + 1,
                        Some(Token::Mark(_)) => at += 1,
                    }
                    // `as name` renames; the name is no path.
                    if tokens.get(at) == Some(&Token::Word("as")) {
                        at += 2;
                    }
                }
            }
            _ => {
                at += 2; // `::*`, `::<T>`
                break;
            }
        }
        at += 3;
    }
    found.push(path);
    at
}

// ---------------------------------------------------------------------------------------------------- rules

fn floor_of(module: &str) -> Option<u8> {
    FLOORS.iter().find(|(_, modules)| modules.contains(&module)).map(|(floor, _)| *floor)
}

/// The module at the top that a path leads to; `None` for the crate's root itself.
fn top(path: &[String]) -> Option<&str> {
    let first = path.first()?.as_str();
    Some(AT_THE_TOP.iter().find(|(name, _)| *name == first).map_or(first, |(_, module)| module))
}

/// The files of the library's modules. `lib.rs` and `main.rs` stand above all floors.
fn modules(files: &[File]) -> impl Iterator<Item = (&File, Vec<String>)> {
    files.iter().filter(|f| f.path.starts_with("src/")).map(|f| (f, module_of(&f.path))).filter(|(_, m)| !m.is_empty())
}

/// Every file imports its own floor or a lower one, tests included.
fn check_floors(files: &[File]) -> Vec<String> {
    let mut complaints = Vec::new();
    for (file, module) in modules(files) {
        let here = &module[0];
        let Some(floor) = floor_of(here) else {
            complaints.push(format!("{}: module \"{here}\" has no floor", file.path));
            continue;
        };
        for named in named_in(&file.text, &module) {
            let Some(there) = top(&named.path) else { continue };
            match floor_of(there) {
                Some(other) if other <= floor => {}
                Some(other) => complaints.push(format!(
                    "{}: floor {floor} imports crate::{}, which is on floor {other}",
                    file.path,
                    named.path.join("::")
                )),
                // A macro or an item of the root; modules are told by their first letter and by not being followed by `!`.
                None => complaints.push(format!("{}: crate::{} is on no floor", file.path, named.path.join("::"))),
            }
        }
    }
    complaints
}

type Edges = BTreeMap<String, BTreeSet<String>>;

/// Which modules at the top import which.
fn top_edges(files: &[File]) -> Edges {
    let mut edges = Edges::new();
    for (file, module) in modules(files) {
        for named in named_in(&file.text, &module) {
            if let Some(there) = top(&named.path).filter(|there| *there != module[0]) {
                edges.entry(module[0].clone()).or_default().insert(there.to_owned());
            }
        }
    }
    edges
}

/// Which files and folders directly below `parent` import which. What the parent re-exports counts as its owner's; tests,
/// and the parent's own imports of its children, do not count.
fn sibling_edges(files: &[File], parent: &str) -> Edges {
    let own = |path: &str| path == format!("src/{parent}.rs") || path == format!("src/{parent}/mod.rs");
    let owners: BTreeMap<String, String> =
        files.iter().find(|f| own(&f.path)).map(|f| re_exports(&f.text)).unwrap_or_default();
    let inside: Vec<_> = modules(files).filter(|(_, m)| m[0] == parent && m.len() > 1).collect();
    let children: BTreeSet<String> = inside.iter().map(|(_, m)| m[1].clone()).collect();
    let mut edges = Edges::new();
    for (file, module) in inside.iter().filter(|(_, m)| !is_test_module(m)) {
        for named in named_in(&file.text, module).into_iter().filter(|named| !named.in_tests) {
            let [first, second, ..] = named.path.as_slice() else { continue };
            if first != parent {
                continue;
            }
            let there = if children.contains(second) { Some(second) } else { owners.get(second) };
            if let Some(there) = there.filter(|there| **there != module[1]) {
                edges.entry(module[1].clone()).or_default().insert(there.clone());
            }
        }
    }
    edges
}

fn is_test_module(module: &[String]) -> bool {
    module.iter().any(|part| part == "tests")
}

/// What `pub use child::{a, b as c}` makes visible: the visible name and the child it comes from.
fn re_exports(text: &str) -> BTreeMap<String, String> {
    let tokens = tokens(text);
    let mut owners = BTreeMap::new();
    for at in 0..tokens.len() {
        let [Token::Word("pub"), Token::Word("use"), Token::Word(child), ..] = &tokens[at..] else { continue };
        let end = tokens[at..].iter().position(|t| *t == Token::Mark(';')).map_or(tokens.len(), |end| at + end);
        for word in tokens[at + 3..end].iter().filter_map(|token| token.word()) {
            owners.insert(word.to_owned(), (*child).to_owned());
        }
    }
    owners
}

/// One way from a module back to itself, if there is any.
fn cycle(edges: &Edges) -> Option<String> {
    fn walk(edges: &Edges, way: &mut Vec<String>, done: &mut BTreeSet<String>) -> Option<String> {
        let here = way.last()?.clone();
        for next in edges.get(&here).into_iter().flatten() {
            if let Some(begin) = way.iter().position(|module| module == next) {
                way.push(next.clone());
                return Some(way[begin..].join(" -> "));
            }
            if !done.contains(next) {
                way.push(next.clone());
                if let Some(cycle) = walk(edges, way, done) {
                    return Some(cycle);
                }
                way.pop();
            }
        }
        done.insert(here);
        None
    }
    let mut done = BTreeSet::new();
    edges.keys().find_map(|start| walk(edges, &mut vec![start.clone()], &mut done))
}

/// Every file says first what it is for.
fn check_headers(files: &[File]) -> Vec<String> {
    let said = |f: &&File| f.text.lines().next().is_some_and(|line| line.starts_with("//! ") && line.len() > "//! ".len());
    files
        .iter()
        .filter(|f| !said(f))
        .map(|f| format!("{}: the first line is not //! and what the file is for", f.path))
        .collect()
}

/// `unsafe`, and leave to write it, only where it is allowed.
fn check_unsafe(files: &[File]) -> Vec<String> {
    let allowed = |path: &str| {
        UNSAFE_ALLOWED.iter().any(|place| if place.ends_with('/') { path.starts_with(place) } else { path == *place })
    };
    let mut complaints = Vec::new();
    for file in files.iter().filter(|f| !allowed(&f.path)) {
        let tokens = tokens(&file.text);
        if tokens.contains(&Token::Word("unsafe")) {
            complaints.push(format!("{}: unsafe code", file.path));
        }
        if tokens.contains(&Token::Word("unsafe_code")) {
            complaints.push(format!("{}: changes the lint unsafe_code", file.path));
        }
    }
    complaints
}

/// Files stay short enough to be read at once.
fn check_lengths(files: &[File], longer: &[&str]) -> Vec<String> {
    let exempt = |path: &str| path.starts_with("tests/") || path.ends_with("/tests.rs") || path.ends_with("generated.rs");
    let mut complaints = Vec::new();
    for file in files.iter().filter(|f| !exempt(&f.path)) {
        let lines = file.text.lines().count();
        match (lines > MAX_LINES, longer.contains(&file.path.as_str())) {
            (true, false) => complaints.push(format!("{}: {lines} lines are more than {MAX_LINES}", file.path)),
            (false, true) => complaints.push(format!("{}: is no exception any more, it has {lines} lines", file.path)),
            _ => {}
        }
    }
    complaints
}

/// One version of each crate whose types are in our interfaces, and nothing from git.
fn check_lock(lock: &str) -> Vec<String> {
    let field = |package: &str, name: &str| {
        let prefix = format!("{name} = \"");
        package.lines().find_map(|line| Some(line.strip_prefix(&prefix)?.trim_end_matches('"').to_owned()))
    };
    let watched =
        |name: &str| ONCE.iter().any(|once| once.strip_suffix('*').map_or(name == *once, |prefix| name.starts_with(prefix)));
    let (mut versions, mut complaints): (BTreeMap<String, Vec<String>>, Vec<String>) = (BTreeMap::new(), Vec::new());
    for package in lock.split("[[package]]").skip(1) {
        let (Some(name), Some(version)) = (field(package, "name"), field(package, "version")) else {
            complaints.push("Cargo.lock: a package without name and version".to_owned());
            continue;
        };
        if field(package, "source").is_some_and(|source| source.starts_with("git+")) {
            complaints.push(format!("Cargo.lock: {name} {version} comes from git"));
        }
        if watched(&name) {
            versions.entry(name).or_default().push(version);
        }
    }
    for name in ["arrow", "datafusion", "sqlparser"].into_iter().filter(|name| !versions.contains_key(*name)) {
        complaints.push(format!("Cargo.lock: {name} is missing"));
    }
    let doubled = versions.iter().filter(|(_, versions)| versions.len() > 1);
    complaints.extend(doubled.map(|(name, versions)| format!("Cargo.lock: {name} is there as {}", versions.join(" and "))));
    complaints
}

fn none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

// ---------------------------------------------------------------------------------------------------- this project

#[test]
fn files_import_their_own_floor_or_a_lower_one() {
    none(&check_floors(&project()));
}

#[test]
fn modules_at_the_top_form_no_cycle() {
    assert_eq!(cycle(&top_edges(&project())), None);
}

#[test]
fn modules_beside_each_other_form_no_cycle() {
    let files = project();
    let parents: BTreeSet<String> = modules(&files).map(|(_, module)| module[0].clone()).collect();
    let cycles: Vec<String> = parents
        .iter()
        .filter(|parent| !INTERWOVEN.contains(&parent.as_str()))
        .filter_map(|parent| Some(format!("in {parent}: {}", cycle(&sibling_edges(&files, parent))?)))
        .collect();
    none(&cycles);
}

#[test]
fn every_file_says_what_it_is_for() {
    none(&check_headers(&project()));
}

#[test]
fn unsafe_code_is_where_it_is_allowed() {
    none(&check_unsafe(&project()));
}

#[test]
fn files_are_short() {
    none(&check_lengths(&project(), LONGER));
}

#[test]
fn the_lock_file_has_one_arrow_and_nothing_from_git() {
    none(&check_lock(&fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock")).unwrap()));
}

// ---------------------------------------------------------------------------------------------------- the rules themselves

fn paths(text: &str, module: &str) -> Vec<String> {
    let module: Vec<String> = module.split("::").map(str::to_owned).collect();
    named_in(text, &module).into_iter().map(|named| named.path.join("::")).collect()
}

#[test]
fn comments_strings_and_characters_are_no_code() {
    let text = r####"
        // unsafe crate::a
        /* unsafe /* nested */ crate::b */
        let s = "unsafe \" crate::c"; let r = r#"unsafe " crate::d"#; let b = b"unsafe\\"; let q = '"'; let e = '\''; let u = '\u{1F600}';
        fn f<'a>(x: &'a str) -> crate::found::X { x }
    "####;
    assert_eq!(paths(text, "m"), ["found::X"]);
    assert!(!tokens(text).contains(&Token::Word("unsafe")));
}

#[test]
fn paths_are_found_wherever_they_stand() {
    assert_eq!(paths("use crate::a::{b::{C, D as E}, f::*, self};", "m"), ["a", "a::b::C", "a::b::D", "a::f"]);
    assert_eq!(paths("fn f() { super::x::y::<crate::z::T>(); self::k() }", "m::n"), ["m::n::k", "m::x::y", "z::T"]);
    assert_eq!(paths("use super::super::o; mod i { use super::super::p; use super::q; }", "m::n"), ["m::n::q", "m::p", "o"]);
    assert_eq!(paths("pub(crate) fn f(self) { self.x(); other::crate_name() }", "m"), [""; 0]);
    assert_eq!(paths("use crate::{error::{Error, Result}, time};", "m"), ["error::Error", "error::Result", "time"]);
}

#[test]
fn tests_are_told_from_code() {
    let text = "use super::a; #[cfg(test)] mod tests { use super::super::b; } mod code { use crate::c; }";
    let named = named_in(text, &["m".to_owned(), "n".to_owned()]);
    let tests: Vec<String> = named.iter().filter(|n| n.in_tests).map(|n| n.path.join("::")).collect();
    assert_eq!(tests, ["m::b"]);
}

#[test]
fn modules_follow_from_paths() {
    assert_eq!(module_of("src/a/b/mod.rs"), ["a", "b"]);
    assert_eq!(module_of("src/a/b.rs"), ["a", "b"]);
    assert_eq!(module_of("src/lib.rs"), [""; 0]);
}

#[test]
fn a_higher_floor_is_seen_from_code_and_from_tests() {
    let bad = [
        file("src/format/x.rs", "use crate::{error::Result, engine::Engine};"),
        file("src/model/x.rs", "#[cfg(test)] mod tests { fn f() { crate::sql::parse() } }"),
        file("src/error.rs", "use crate::connector::Broker;"),
        file("src/attic/mod.rs", ""),
        file("src/sql/x.rs", "use super::super::cli::main; use crate::Error;"),
    ];
    let complaints = check_floors(&bad);
    assert_eq!(
        complaints,
        [
            "src/format/x.rs: floor 1 imports crate::engine::Engine, which is on floor 8",
            "src/model/x.rs: floor 2 imports crate::sql::parse, which is on floor 7",
            "src/error.rs: floor 0 imports crate::connector::Broker, which is on floor 4",
            "src/attic/mod.rs: module \"attic\" has no floor",
            "src/sql/x.rs: floor 7 imports crate::cli::main, which is on floor 9",
        ]
    );
    assert_eq!(
        check_floors(&[file("src/engine/x.rs", "use crate::sql::A; use crate::Result; use super::Engine;")]),
        [""; 0]
    );
}

#[test]
fn a_cycle_is_seen_on_one_floor_and_between_siblings() {
    let bad = [
        file("src/time.rs", "use crate::config::Options;"),
        file("src/config.rs", "use crate::metrics::M;"),
        file("src/metrics/mod.rs", "fn f() -> crate::time::Millis {}"),
    ];
    assert_eq!(cycle(&top_edges(&bad)).unwrap(), "config -> metrics -> time -> config");
    let bad = [
        file("src/sql/mod.rs", "mod a; mod b; pub use b::{Old as New, Kept};"),
        file("src/sql/a.rs", "use super::New;"),
        file("src/sql/b/mod.rs", "mod c;"),
        file("src/sql/b/c.rs", "use crate::sql::a::A;"),
    ];
    assert_eq!(cycle(&sibling_edges(&bad, "sql")).unwrap(), "a -> b -> a");
    let good = [
        file("src/sql/mod.rs", "mod a; mod b; pub use a::A; pub use b::B;"),
        file("src/sql/a.rs", "use super::Shared; #[cfg(test)] mod tests { use super::super::b::B; }"),
        file("src/sql/b.rs", "use super::A; use super::Shared;"),
        file("src/sql/a/tests.rs", "use crate::sql::b::B;"),
    ];
    assert_eq!(cycle(&sibling_edges(&good, "sql")), None);
}

#[test]
fn a_missing_header_is_seen() {
    let bad = [file("src/a.rs", "\n//! Late."), file("src/b.rs", "//!"), file("src/c.rs", "")];
    assert_eq!(check_headers(&bad).len(), 3);
    assert_eq!(check_headers(&[file("src/a.rs", "//! Says it.\n")]), [""; 0]);
}

#[test]
fn unsafe_code_elsewhere_is_seen() {
    let bad = [
        file("src/model/tree/walk.rs", "fn f() { unsafe { g() } }"),
        file("src/sql/x.rs", "#[allow(unsafe_code)] mod y;"),
        file("src/connector/kafka/ffi_more.rs", "unsafe fn f() {}"),
    ];
    assert_eq!(check_unsafe(&bad).len(), 3);
    let good = [
        file("src/connector/kafka/ffi/mod.rs", "#![allow(unsafe_code)] unsafe fn f() {}"),
        file("src/udf/host/call.rs", "unsafe { g() }"),
        file("src/sql/x.rs", "// unsafe\nlet s = \"unsafe\";"),
    ];
    assert_eq!(check_unsafe(&good), [""; 0]);
}

#[test]
fn a_long_file_and_a_stale_exception_are_seen() {
    let long = "//! Long.\n".repeat(MAX_LINES + 1);
    let files = [file("src/a.rs", &long), file("src/b.rs", &long), file("src/c.rs", "//! Short.")];
    let complaints = check_lengths(&files, &["src/b.rs", "src/c.rs"]);
    assert_eq!(complaints, ["src/a.rs: 601 lines are more than 600", "src/c.rs: is no exception any more, it has 1 lines"]);
}

#[test]
fn a_second_arrow_and_a_git_dependency_are_seen() {
    let package = |name: &str, version: &str, source: &str| {
        format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\nsource = \"{source}\"\n\n")
    };
    let registry = "registry+https://github.com/rust-lang/crates.io-index";
    let good = [("arrow", "59.0.0"), ("datafusion", "55.2.0"), ("sqlparser", "0.62.0"), ("syn", "1.0.0"), ("syn", "2.0.0")];
    let good: String = good.iter().map(|(name, version)| package(name, version, registry)).collect();
    assert_eq!(check_lock(&good), [""; 0]);
    let bad = good
        + &package("arrow", "60.0.0", registry)
        + &package("arrow-schema", "59.0.0", registry)
        + &package("arrow-schema", "60.0.0", registry)
        + &package("forked", "0.1.0", "git+https://example.org/forked#abc");
    assert_eq!(
        check_lock(&bad),
        [
            "Cargo.lock: forked 0.1.0 comes from git",
            "Cargo.lock: arrow is there as 59.0.0 and 60.0.0",
            "Cargo.lock: arrow-schema is there as 59.0.0 and 60.0.0",
        ]
    );
    assert_eq!(check_lock("").len(), 3);
}
