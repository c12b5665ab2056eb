//! The built binary in a directory of its own.   [`Place`] ─► [`Place::vatic`] (to its end) │ [`Place::start`] (in the background)
//!
//! A place is a temporary working directory whose broker is the default one, `embedded:.vatic`; dropping it removes both.
//! Nothing here waits for a time: conditions are waited for, with a deadline that only a hung process reaches, and every
//! process is killed by its id when its handle is dropped.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// So long may one process take, or one condition; far more than a loaded machine needs.
pub const DEADLINE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(10);

/// A working directory with a broker.
pub struct Place {
    dir: tempfile::TempDir,
}

/// How a process ended and what it said.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; -9 after a SIGKILL.
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Place {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file, and the directories it needs.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// The command `vatic args...` in this place, for what the other functions do not offer.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vatic"));
        command.args(args).current_dir(self.dir.path());
        command.env_remove("VATIC_BROKER").env("HOME", self.dir.path()).env_remove("XDG_STATE_HOME");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs `vatic args...` to its end.
    pub fn vatic(&self, args: &[&str]) -> Ended {
        self.start(args).end()
    }

    /// Runs `vatic args... < input` to its end.
    pub fn piped(&self, args: &[&str], input: &str) -> Ended {
        let (running, mut stdin) = Running::with_input(&mut self.command(args));
        // A process that ends early does not read it all.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        running.end()
    }

    /// Starts `vatic args...`.
    pub fn start(&self, args: &[&str]) -> Running {
        Running::spawn(&mut self.command(args))
    }

    /// What `vatic args...` prints; it must end well.
    pub fn ok(&self, args: &[&str]) -> String {
        let ended = self.vatic(args);
        assert_eq!(ended.code, 0, "{args:?}: {ended:#?}");
        ended.out
    }

    /// Writes lines to a topic.
    pub fn produce(&self, topic: &str, lines: &[&str]) {
        let ended = self.piped(&["produce", topic], &lines.iter().map(|line| format!("{line}\n")).collect::<String>());
        assert_eq!(ended.code, 0, "{ended:#?}");
    }

    /// A topic's records as `vatic consume --json` prints them, ordered by partition.
    pub fn records(&self, topic: &str) -> Vec<Value> {
        let text = self.ok(&["consume", topic, "--json"]);
        let mut records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        records.sort_by_key(|record| record["partition"].as_i64()); // stable: offsets keep their order
        records
    }

    /// A topic's values, ordered by partition.
    pub fn values(&self, topic: &str) -> Vec<String> {
        self.records(topic).iter().map(|record| record["value"].as_str().unwrap_or("NULL").to_owned()).collect()
    }

    /// Waits until a topic holds at least `count` records.
    pub fn await_records(&self, topic: &str, count: usize) {
        until(&format!("{count} records in {topic}"), || {
            let ended = self.vatic(&["consume", topic]);
            ended.code == 0 && ended.out.lines().count() >= count
        });
    }

    /// What of the table `vatic sql --format json` prints.
    pub fn rows(&self, sql: &str) -> Vec<Value> {
        self.ok(&["sql", "--format", "json", sql]).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Waits until `condition` holds.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < DEADLINE, "waited in vain for {what}");
        std::thread::sleep(POLL);
    }
}

/// A process in the background. Killed when dropped.
pub struct Running {
    child: Child,
    out: Text,
    err: Text,
    readers: Vec<JoinHandle<()>>,
}

type Text = Arc<Mutex<Vec<u8>>>;

impl Running {
    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let (out, err) = (Text::default(), Text::default());
        let readers = vec![
            collect(child.stdout.take().unwrap(), Arc::clone(&out)),
            collect(child.stderr.take().unwrap(), Arc::clone(&err)),
        ];
        Self { child, out, err, readers }
    }

    /// Spawns a process that reads what is written here.
    pub fn with_input(command: &mut Command) -> (Self, ChildStdin) {
        let mut running = Self::spawn(command.stdin(Stdio::piped()));
        let stdin = running.child.stdin.take().unwrap();
        (running, stdin)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed to stdout so far.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.out.lock().unwrap()).into_owned()
    }

    /// What it has printed to stderr so far.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.err.lock().unwrap()).into_owned()
    }

    /// Waits until stderr contains `text`.
    pub fn says(&mut self, text: &str) {
        let begun = Instant::now();
        while !self.err().contains(text) {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() || self.err().contains(text), "ended without {text:?}: {:?}\n{}", ended, self.err());
            assert!(begun.elapsed() < DEADLINE, "{text:?} was not said:\n{}", self.err());
            std::thread::sleep(POLL);
        }
    }

    /// Waits until stdout has `count` lines.
    pub fn prints(&mut self, count: usize) {
        until(&format!("{count} lines; stderr: {}", self.err()), || self.out().lines().count() >= count);
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ended {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(begun.elapsed() < DEADLINE, "it does not end:\n{}\n{}", self.out(), self.err());
            std::thread::sleep(Duration::from_millis(2));
        };
        self.readers.drain(..).for_each(|reader| reader.join().unwrap());
        Ended { code: code(status), out: self.out(), err: self.err() }
    }

    /// Stops it with `signal` and waits for its end.
    pub fn stop(self, signal: Signal) -> Ended {
        self.signal(signal);
        self.end()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| -status.signal().unwrap_or(1000))
}

fn collect(mut from: impl Read + Send + 'static, to: Text) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok(n @ 1..) = from.read(&mut buffer) {
            to.lock().unwrap().extend_from_slice(&buffer[..n]);
        }
    })
}

/// A committed model file.
pub fn model(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models").join(name).display().to_string()
}
