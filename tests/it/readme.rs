//! What README.md and docs/tutorial.md show in their `console` blocks is what happens.
//!
//! A line that begins with `$ ` is typed into a shell (with the lines behind `> `, or up to the END of a here-document), the
//! lines below it are what must be seen. `...` stands for anything, and a run of blanks or dashes for one of any length, so
//! that columns may be as wide as numbers shortened in that way.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Longer than any command takes, on any machine.
const DEADLINE: Duration = Duration::from_secs(120);

struct Step {
    command: String,
    shown: Vec<String>,
}

/// The commands of all blocks, in their order, and what is shown below each.
fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let (mut inside, mut document) = (false, false);
    for line in page.lines() {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if let (true, Some(command)) = (inside, line.strip_prefix("$ ")) {
            steps.push(Step { command: command.to_owned(), shown: Vec::new() });
            document = command.ends_with("<<'END'");
        } else if let (true, Some(step)) = (inside, steps.last_mut()) {
            match line.strip_prefix("> ") {
                _ if document => {
                    step.command += &format!("\n{line}");
                    document = line != "END";
                }
                Some(more) => step.command += &format!("\n{more}"),
                None => step.shown.push(line.to_owned()),
            }
        }
    }
    steps
}

/// Blanks and dashes, however many, are one.
fn squeezed(line: &str) -> String {
    let mut text = String::new();
    for c in line.trim().chars() {
        if !(matches!(c, ' ' | '-') && text.ends_with(c)) {
            text.push(c);
        }
    }
    text
}

/// Whether `line` is `pattern`, whose `...` stand for anything.
fn is_shown(pattern: &str, line: &str) -> bool {
    let (pattern, line) = (squeezed(pattern), squeezed(line));
    let mut parts = pattern.split("...");
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut last = None;
    for part in parts {
        if let Some(part) = last.replace(part) {
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
    }
    last.map_or(rest.is_empty(), |part| rest.ends_with(part))
}

#[test]
fn every_command_shows_what_the_readme_shows() {
    every_command_of("README.md");
}

#[test]
fn every_command_shows_what_the_tutorial_shows() {
    every_command_of("docs/tutorial.md");
}

/// What a page leaves running in the background ends with its test.
#[derive(Default)]
struct Groups(Vec<i32>);

impl Drop for Groups {
    fn drop(&mut self) {
        for group in &self.0 {
            let _ = nix::sys::signal::killpg(nix::unistd::Pid::from_raw(*group), nix::sys::signal::Signal::SIGKILL);
        }
    }
}

fn every_command_of(page: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let steps = steps(&std::fs::read_to_string(root.join(page)).unwrap());
    assert!(steps.len() > 10, "{} commands", steps.len());
    let mut groups = Groups::default();
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(root.join("queries"), dir.path().join("queries")).unwrap();
    let vatic = Path::new(env!("CARGO_BIN_EXE_vatic")).parent().unwrap();
    let path = std::env::join_paths(
        std::iter::once(vatic.to_owned()).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    );
    let path = path.unwrap();
    for Step { command, shown } in steps {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("exec 2>&1\n{command}")]).current_dir(dir.path()).stdin(Stdio::null());
        shell.env("PATH", &path).env_remove("VATIC_BROKER").process_group(0).stdout(Stdio::piped());
        let child = shell.spawn().unwrap();
        let group = i32::try_from(child.id()).unwrap();
        if command.contains(" & ") {
            groups.0.push(group);
        }
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || send.send(child.wait_with_output()));
        let output = receive.recv_timeout(DEADLINE).unwrap_or_else(|_| {
            drop(Groups(vec![group]));
            panic!("$ {command}\nwas not done after {DEADLINE:?}");
        });
        let output = output.unwrap();
        let seen = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<&str> = seen.lines().collect();
        let alike = lines.len() == shown.len() && shown.iter().zip(&lines).all(|(shown, line)| is_shown(shown, line));
        assert!(output.status.success() && alike, "$ {command}\n{seen}\n{page} shows:\n{}", shown.join("\n"));
    }
}

#[test]
fn a_difference_is_seen() {
    assert!(is_shown("a ... c", "a b c") && is_shown("x | 0.5...", "x |   0.51") && is_shown("a-+-b", "a---+----b"));
    assert!(!is_shown("a ... c", "a b d") && !is_shown("a", "a b") && !is_shown("a ... c ... e", "a b c d"));
    let page = "```console\n$ echo a\n> b\na\n```\n```sh\n$ no\n```\n";
    let steps = steps(page);
    assert_eq!((steps.len(), steps[0].command.as_str(), steps[0].shown.as_slice()), (1, "echo a\nb", &["a".to_owned()][..]));
}
