//! The shell at a pseudo-terminal.   test ─► master ═ tty ─► [`child`]: new session, the tty as its own ─► exec vatic
//!
//! The keys go in as a terminal sends them, so Ctrl-C is the terminal's own SIGINT while a query runs and a key while a
//! line is typed. What comes out is compared without escape sequences. To become the leader of a session without unsafe
//! code, the process in between is this test binary (see [`child`]).

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::{Pid, setsid, ttyname};

use crate::harness::{DEADLINE, Place, until};

pub const CTRL_C: &str = "\x03";
pub const CTRL_D: &str = "\x04";
pub const PROMPT: &str = "vatic> ";

/// A shell and the person before it.
pub struct Terminal {
    child: Child,
    keys: File,
    seen: Arc<Mutex<Vec<u8>>>,
    /// How much of what was seen is dealt with, in bytes of the plain text.
    mark: usize,
    /// Open here, too: the terminal is there before the child has opened it.
    tty: OwnedFd,
}

impl Terminal {
    pub fn open(place: &Place) -> Self {
        Self::of_size(place, 160, 200, &[])
    }

    /// A terminal of so many columns and rows, with these variables in the shell's environment.
    pub fn of_size(place: &Place, columns: u16, rows: u16, environment: &[(&str, &str)]) -> Self {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).unwrap();
        let tty = ttyname(&pty.slave).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "terminal::child", "--nocapture", "--test-threads=1"])
            .env("VATIC_IT_TERMINAL", &tty)
            .env("HOME", place.path("."))
            .env("TERM", "xterm")
            .env("EDITOR", "false")
            .env("PAGER", "")
            .envs(environment.iter().copied())
            .env_remove("VISUAL")
            .env_remove("XDG_STATE_HOME")
            .env_remove("VATIC_BROKER")
            .current_dir(place.path("."))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let keys = File::from(pty.master);
        let (screen, answers) = (keys.try_clone().unwrap(), keys.try_clone().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&seen);
        std::thread::spawn(move || watch(screen, answers, &to));
        let mut terminal = Self { child, keys, seen, mark: 0, tty: pty.slave };
        terminal.expect("Type help for help, \\q to leave.");
        terminal.expect(PROMPT);
        terminal
    }

    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    pub fn enter(&mut self, line: &str) {
        self.press(&format!("{line}\r"));
    }

    /// Waits until `text` is seen behind what was seen before; gives all that came with it.
    pub fn expect(&mut self, text: &str) -> String {
        let begun = Instant::now();
        loop {
            let plain = self.plain();
            if let Some(at) = plain[self.mark..].find(text) {
                let end = self.mark + at + text.len();
                let passage = plain[self.mark..end].to_owned();
                self.mark = end;
                return passage;
            }
            assert!(begun.elapsed() < DEADLINE, "{text:?} is not seen in:\n{}", &plain[self.mark..]);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until the line that was entered is taken: while it is typed its own prompt is drawn again and again, which whoever
    /// waits for the next one must not take for it. The line break behind it may be waited for once more.
    pub fn taken(&mut self, line: &str) {
        let end: String = line.trim_end().chars().rev().take(8).collect();
        if !end.is_empty() {
            self.expect(&format!("{}\n", end.chars().rev().collect::<String>()));
            self.mark -= 1;
        }
    }

    /// Whether `text` is seen within a time behind what was seen before; for those who will do something and look again.
    pub fn sees(&mut self, text: &str, within: Duration) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < within {
            if self.plain()[self.mark..].contains(text) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    /// Waits until no line is typed any more, and Ctrl-C is a signal.
    pub fn expect_signals(&self) {
        until("the terminal to make signals", || tcgetattr(&self.tty).unwrap().local_flags.contains(LocalFlags::ISIG));
    }

    /// All that was drawn, with its escape sequences.
    pub fn raw(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned()
    }

    /// All that was drawn, without escape sequences.
    pub fn plain(&self) -> String {
        plain(&self.seen.lock().unwrap())
    }

    /// kill -9 of the shell.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn ends_with(mut self, code: i32) -> String {
        let begun = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < DEADLINE, "it does not end:\n{}", self.plain());
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(self.child.wait().unwrap().code(), Some(code), "{}", self.plain());
        self.plain()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Both fail only if it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Takes down what the shell draws, and answers where the cursor is, as terminals do.
fn watch(mut screen: File, mut answers: File, to: &Mutex<Vec<u8>>) {
    const WHERE: &[u8] = b"\x1b[6n";
    let mut buffer = [0; 4096];
    let mut answered = 0;
    while let Ok(n @ 1..) = screen.read(&mut buffer) {
        let mut seen = to.lock().unwrap();
        seen.extend_from_slice(&buffer[..n]);
        let asked = seen.windows(WHERE.len()).filter(|window| *window == WHERE).count();
        drop(seen);
        for _ in answered..asked {
            if answers.write_all(b"\x1b[1;1R").is_err() {
                return;
            }
        }
        answered = asked;
    }
}

/// What was drawn, without escape sequences.
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let (mut plain, mut chars) = (String::new(), text.chars());
    while let Some(c) = chars.next() {
        match c {
            '\x1b' => {
                if chars.next() == Some('[') {
                    chars.by_ref().find(|c| ('@'..='~').contains(c));
                }
            }
            '\r' => {}
            c => plain.push(c),
        }
    }
    plain
}

/// The process between: it becomes the leader of a session whose terminal is the pseudo-terminal, and then vatic. As a test of
/// its own it does nothing.
#[test]
fn child() {
    let Some(tty) = std::env::var_os("VATIC_IT_TERMINAL") else { return };
    setsid().unwrap();
    // The first terminal that a session's leader opens is its own.
    let open = || Stdio::from(File::options().read(true).write(true).open(&tty).unwrap());
    let error = Command::new(env!("CARGO_BIN_EXE_vatic")).stdin(open()).stdout(open()).stderr(open()).exec();
    panic!("{error}");
}

#[test]
fn a_statement_spans_lines_until_its_semicolon() {
    let place = Place::new();
    let mut shell = Terminal::open(&place);
    shell.enter("SELECT 40 + 2");
    shell.expect("...> ");
    shell.enter("  AS answer;");
    shell.expect("42");
    shell.expect("(1 row)");
    shell.expect(PROMPT);
    // Errors are told, and it goes on.
    shell.enter("SELECT * FROM nowhere;");
    shell.expect("error: ");
    shell.expect("nowhere");
    shell.expect(PROMPT);
    shell.enter("\\wacht");
    shell.expect("error: unknown command \"\\wacht\"");
    shell.expect("hint: Did you mean \"\\watch\"?");
    shell.expect(PROMPT);
    shell.enter("help");
    shell.expect("A statement ends with \";\"");
    shell.expect(PROMPT);
    shell.enter("\\q");
    let all = shell.ends_with(0);
    assert!(!all.contains("vatic run"), "no job, no word of jobs: {all}");
}

#[test]
fn ctrl_c_ends_the_line_or_the_query_but_not_the_shell() {
    let place = Place::new();
    let mut shell = Terminal::open(&place);
    shell.press("SELECT rubbish");
    shell.expect("rubbish");
    shell.press(CTRL_C);
    shell.expect(PROMPT);
    shell.enter("CREATE TABLE g (n BIGINT, ts TIMESTAMP) WITH (connector = 'generator', rate = 50);");
    shell.expect("CREATE TABLE\n");
    shell.expect(PROMPT);
    for _ in 0..2 {
        shell.enter("SELECT n + 1000000 AS n FROM g EMIT CHANGES;");
        shell.expect("EMIT CHANGES;");
        shell.expect("10000");
        shell.press(CTRL_C);
        shell.press(CTRL_C); // it does not hurt
        shell.expect(" row");
        shell.expect(PROMPT);
    }
    // An answer that takes long ends as well.
    shell.enter("CREATE TABLE much (n BIGINT, ts TIMESTAMP) WITH (connector = 'generator', rows = 100000000000);");
    shell.expect("CREATE TABLE\n");
    shell.expect(PROMPT);
    shell.enter("SELECT sum(n) AS all_of_them FROM much;");
    shell.expect("FROM much;\n");
    shell.expect_signals();
    shell.press(CTRL_C);
    shell.expect("cancelled");
    shell.expect(PROMPT);
    shell.enter("SELECT 1 + 1 AS two;");
    shell.expect("(1 row)");
    shell.expect(PROMPT);
    shell.press(CTRL_D);
    shell.ends_with(0);
}

#[test]
fn leaving_stops_the_jobs_and_says_what_keeps_them_running() {
    let place = Place::new();
    place.produce("src", &[r#"{"id":1}"#, r#"{"id":2}"#]);
    let mut shell = Terminal::open(&place);
    shell.enter("CREATE TABLE dst AS SELECT id FROM topic('src');");
    shell.expect("job \"dst\" runs in the background: SHOW JOBS shows it, STOP JOB dst stops it");
    shell.expect(PROMPT);
    place.await_records("dst", 2);
    shell.enter("SHOW JOBS;");
    let jobs = shell.expect("(1 row)");
    assert!(jobs.contains("dst") && jobs.contains("running"), "{jobs}");
    shell.expect(PROMPT);
    shell.enter("DROP TABLE dst;");
    shell.expect("table \"dst\" is used by job \"dst\"");
    shell.expect(PROMPT);
    // A second one, stopped by hand, is no more there to be stopped.
    shell.enter("SET job.name = 'second'; CREATE TABLE other AS SELECT id FROM topic('src');");
    shell.expect("job \"second\" runs in the background");
    shell.expect(PROMPT);
    place.await_records("other", 2);
    shell.enter("STOP JOB second;");
    shell.expect("STOP JOB\n");
    shell.expect("job \"second\" stopped: 2 rows in, 2 out, 0 dead letters");
    shell.expect(PROMPT);
    shell.press(CTRL_D);
    shell.expect("job \"dst\" stopped: 2 rows in, 2 out, 0 dead letters");
    shell.expect("To keep them running, save the statements and: vatic run FILE");
    let all = shell.ends_with(0);
    assert_eq!(all.matches("job \"second\" stopped").count(), 1, "{all}");
    // Everything is committed: the same job in a file-less session goes on behind it.
    let mut job = place.start(&["sql", "CREATE TABLE dst AS SELECT id FROM topic('src')"]);
    job.says("from its committed offsets 0=2");
}

#[test]
fn sigterm_ends_the_shell_and_stops_its_jobs() {
    let place = Place::new();
    place.produce("src", &[r#"{"id":1}"#]);
    let mut shell = Terminal::open(&place);
    shell.enter("CREATE TABLE dst AS SELECT id FROM topic('src');");
    shell.expect("runs in the background");
    shell.expect(PROMPT);
    kill(Pid::from_raw(i32::try_from(shell.child.id()).unwrap()), Signal::SIGTERM).unwrap();
    shell.expect("job \"dst\" stopped: ");
    shell.ends_with(143);
}

#[test]
fn the_history_is_kept_between_shells() {
    let place = Place::new();
    let mut shell = Terminal::open(&place);
    shell.enter("SELECT 'remember me' AS t;");
    shell.expect("(1 row)");
    shell.expect(PROMPT);
    shell.enter("exit");
    shell.ends_with(0);
    let mut shell = Terminal::open(&place);
    shell.press("\x1b[A\x1b[A"); // the entry before "exit"
    shell.expect("remember me");
    shell.press("\r");
    shell.expect("(1 row)");
    shell.expect(PROMPT);
    shell.press(CTRL_D);
    shell.ends_with(0);
}
