//! A child process that tries a model before this one touches it.
//!
//! ```text
//! bytes ─► this program again, as `vatic try-model`, with limits ─► loads, scores made-up rows ─► a verdict on stdout
//!                            └─ crash, too much memory, too much time ─► the reason          └─► only then loaded here
//! ```
//!
//! A model is data from outside, and the libraries that read it are large: no check of ours proves that they cannot be made to
//! allocate without end, to loop, or to crash. In the child they may. It has no environment, and after its start it can open no
//! file and no connection (no further file descriptor). Memory is address space in bytes; times are seconds.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, setrlimit};

use super::load::{load_any, sniff};
use super::registry::Loader;
use super::{ModelError, onnx};

/// The hidden subcommand that the child runs.
pub const COMMAND: &str = "try-model";

/// What trying one model may take: many times what real ones need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Address space, in bytes.
    pub memory: u64,
    /// CPU time, in whole seconds.
    pub cpu_s: u64,
    /// Time on the clock.
    pub wall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory: 3 << 30, cpu_s: 30, wall: Duration::from_secs(60) }
    }
}

/// How models are tried.
#[derive(Debug, Clone)]
pub struct Sandbox {
    program: PathBuf,
    limits: Limits,
}

impl Sandbox {
    /// With `program`, which must be a `vatic`.
    #[must_use]
    pub fn new(program: PathBuf, limits: Limits) -> Self {
        Self { program, limits }
    }

    /// With the running program; `None` if its file is not known.
    #[must_use]
    pub fn this_program() -> Option<Self> {
        // On Linux this name stands for the very file that runs, also after an upgrade has replaced it.
        let own = PathBuf::from("/proc/self/exe");
        let program = if own.exists() { own } else { std::env::current_exe().ok()? };
        Some(Self::new(program, Limits::default()))
    }

    /// Loads models as [`load_any`] does, but only those that were tried.
    #[must_use]
    pub fn loader(self) -> Loader {
        Arc::new(move |bytes| {
            self.try_model(bytes)?;
            load_any(bytes)
        })
    }

    /// Tries a model. Blocks, for the limits' time at most.
    ///
    /// # Errors
    /// `Unknown` if no format knows the bytes; `Load` with the reason why they cannot be used.
    pub fn try_model(&self, bytes: &[u8]) -> Result<(), ModelError> {
        // What no reader gets to see needs no process.
        if sniff(bytes).is_none() || bytes.len() > onnx::MAX_BYTES {
            return load_any(bytes).map(|_| ());
        }
        let mut child = Command::new(&self.program)
            .args([COMMAND, &self.limits.memory.to_string(), &self.limits.cpu_s.to_string()])
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| ModelError::Load {
                reason: "the process that tries models could not be started".to_owned(),
                source: Some(Box::new(e)),
            })?;
        let (status, said, complained) = std::thread::scope(|scope| {
            let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
            // A child that ends early closes the pipe: the verdict tells why.
            scope.spawn(move || stdin.map(|mut pipe| pipe.write_all(bytes)));
            let said = scope.spawn(move || text(stdout));
            let complained = scope.spawn(move || text(stderr));
            let status = self.wait(&mut child);
            (status, said.join().unwrap_or_default(), complained.join().unwrap_or_default())
        });
        match status {
            Ok(Some(status)) => self.verdict(status, &said, &complained),
            Ok(None) => Err(refuse(format!("loading it takes more than {} seconds", self.limits.wall.as_secs()))),
            Err(e) => Err(ModelError::Load {
                reason: "the process that tries models could not be waited for".to_owned(),
                source: Some(Box::new(e)),
            }),
        }
    }

    /// Waits for the child's end; `None` if it had to be killed.
    fn wait(&self, child: &mut Child) -> std::io::Result<Option<ExitStatus>> {
        let (begun, mut pause) = (Instant::now(), Duration::from_micros(500));
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(Some(status));
            }
            if begun.elapsed() > self.limits.wall {
                child.kill()?;
                child.wait()?;
                return Ok(None);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(10));
        }
    }

    fn verdict(&self, status: ExitStatus, said: &str, complained: &str) -> Result<(), ModelError> {
        match (status.code(), status.signal()) {
            (Some(0), _) => Ok(()),
            (Some(1), _) if !said.is_empty() => Err(refuse(said)),
            _ if complained.contains("memory allocation of") => {
                Err(refuse(format!("loading it takes more than {} MB of memory", self.limits.memory >> 20)))
            }
            _ if complained.contains("overflowed its stack") => Err(refuse("it is nested too deeply")),
            (_, Some(signal)) if signal == libc_signal::XCPU || signal == libc_signal::KILL => {
                Err(refuse(format!("loading it takes more than {} seconds of processor time", self.limits.cpu_s)))
            }
            (_, Some(signal)) => Err(refuse(format!("loading it ended a process with signal {signal}"))),
            (code, None) => {
                let code = code.unwrap_or_default();
                Err(refuse(format!("loading it ended a process with code {code}: {}", complained.trim())))
            }
        }
    }
}

/// Signals by number, as [`ExitStatusExt::signal`] has them.
mod libc_signal {
    use nix::sys::signal::Signal;
    pub const XCPU: i32 = Signal::SIGXCPU as i32;
    pub const KILL: i32 = Signal::SIGKILL as i32;
}

/// At most 64 KB of what a pipe gives.
fn text(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        let _ = pipe.by_ref().take(64 << 10).read_to_end(&mut bytes);
        let _ = std::io::copy(&mut pipe, &mut std::io::sink());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn refuse(reason: impl Into<String>) -> ModelError {
    ModelError::Load { reason: reason.into(), source: None }
}

/// The child's whole life: the model comes on stdin, a refusal goes to stdout. `memory` in bytes, `cpu` in seconds.
#[must_use]
pub fn child(memory: u64, cpu_s: u64) -> ExitCode {
    let mut bytes = Vec::new();
    let limits = [
        (Resource::RLIMIT_AS, memory),
        (Resource::RLIMIT_CPU, cpu_s),
        (Resource::RLIMIT_CORE, 0),
        // Standard input, output and error are open; nothing else can be.
        (Resource::RLIMIT_NOFILE, 3),
    ];
    let verdict = limits
        .into_iter()
        .try_for_each(|(resource, limit)| setrlimit(resource, limit, limit))
        .map_err(|e| format!("the limits for trying models could not be set: {e}"))
        .and_then(|()| std::io::stdin().read_to_end(&mut bytes).map_err(|e| format!("the model did not arrive: {e}")))
        .and_then(|_| load_any(&bytes).map_err(|e| super::registry::reason(&e)));
    match verdict {
        Ok(_) => ExitCode::SUCCESS,
        Err(reason) => {
            let written = std::io::stdout().write_all(reason.as_bytes());
            ExitCode::from(if written.is_ok() { 1 } else { 3 })
        }
    }
}
