//! `vatic demo`: it keeps its promise, and what it tells people to type works as it stands there.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The demo takes ten seconds; a loaded machine may need many more.
const DEADLINE: Duration = Duration::from_secs(180);

/// A demo that does not outlive the test.
struct Demo(Child);

impl Demo {
    fn start(dir: &std::path::Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vatic"));
        command.args(["demo", "--keep"]).arg(dir).stdin(Stdio::null());
        Self(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// Everything on stdout, and the exit code.
    fn end(mut self) -> (String, Option<i32>, String) {
        let mut stdout = self.0.stdout.take().unwrap();
        let mut stderr = self.0.stderr.take().unwrap();
        let out = std::thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).map(|_| text).unwrap()
        });
        let err = std::thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).map(|_| text).unwrap()
        });
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                break status;
            }
            assert!(began.elapsed() < DEADLINE, "the demo has not ended");
            std::thread::sleep(Duration::from_millis(50));
        };
        (out.join().unwrap(), status.code(), err.join().unwrap())
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn no_row_is_lost_or_doubled_and_its_commands_work_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("it's kept"); // a name that a shell must not misread
    let (text, code, said) = Demo::start(&home).end();
    assert_eq!(code, Some(0), "{text}{said}");
    assert!(text.contains("16,000 payments in, 16,000 scored: 0 lost, 0 doubled."), "{text}");
    assert!(text.contains("fraud:2 is live, with payment "), "{text}");
    let live = text.lines().find(|line| line.contains("|       2 | live")).unwrap_or_default();
    assert!(live.starts_with(" fraud |"), "{text}");
    let (shown, commands) = text.split_once("Try:\n").unwrap();
    for line in shown.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    let commands: Vec<&str> = commands.split("\n\n").map(str::trim).filter(|command| !command.is_empty()).collect();
    assert_eq!(commands.len(), 3, "{text}");
    for command in commands {
        assert!(command.contains(" --broker "), "{command}");
        let output = Command::new("sh").args(["-c", command]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && output.stdout.iter().filter(|b| **b == b'\n').count() >= 3, "{command}: {said}");
        let told = said.is_empty() || said.starts_with("columns found:\n");
        assert!(told && !said.contains("warning: ") && !said.contains("error: "), "{said}");
    }
}

#[test]
fn ctrl_c_stops_it_cleanly() {
    let dir = tempfile::tempdir().unwrap();
    let mut demo = Demo::start(dir.path());
    let mut stdout = std::io::BufReader::new(demo.0.stdout.take().unwrap());
    let mut lines = std::io::BufRead::lines(&mut stdout);
    let scored = lines.find(|line| line.as_ref().is_ok_and(|line| line.trim_end().ends_with(" fraud:1")));
    assert!(scored.is_some(), "a payment is shown");
    let id = demo.0.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    assert!(!rest.iter().any(|line| line.contains("Try:")), "{rest:?}");
    let began = Instant::now();
    while demo.0.try_wait().unwrap().is_none() {
        assert!(began.elapsed() < DEADLINE, "the demo has not ended");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(demo.0.wait().unwrap().code(), Some(130));
}

#[test]
fn a_directory_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mine"), "").unwrap();
    let (text, code, said) = Demo::start(dir.path()).end();
    assert_eq!((text.as_str(), code), ("", Some(1)));
    assert!(said.starts_with("error: directory ") && said.contains(" is not empty\nhint: Name a new one"), "{said}");
}
