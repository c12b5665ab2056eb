//! Ctrl-C and SIGTERM, in one place.   signal ─► [`Signals`] ─► whoever waits;   a second one ─► the process ends at once
//!
//! In the shell a second Ctrl-C ends nothing ([`Signals::be_patient`]): people press it twice, and jobs run behind the prompt.
//! A thread of its own listens, so that a busy executor or a full pipe on stdout cannot keep a signal waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::error::{Error, Result};

/// A wish to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

impl Stop {
    /// The process's exit code after a clean stop.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Stop::Interrupt => 130,
            Stop::Terminate => 143,
        }
    }
}

/// The process's signals. Clones share what was received.
#[derive(Debug, Clone)]
pub struct Signals {
    state: Arc<watch::Sender<Option<Stop>>>,
    terminated: Arc<AtomicBool>,
    patient: Arc<AtomicBool>,
}

impl Signals {
    /// Begins to listen.
    ///
    /// # Errors
    /// `External` if the system gives no thread.
    pub fn install() -> Result<Self> {
        let (state, terminated) = (Arc::new(watch::Sender::new(None)), Arc::new(AtomicBool::new(false)));
        let signals = Self { state, terminated, patient: Arc::default() };
        let listener = signals.clone();
        let (ready, installed) = std::sync::mpsc::channel();
        let failed = |e: std::io::Error| Error::external("cannot listen to signals").source(e);
        std::thread::Builder::new()
            .name("vatic-signals".to_owned())
            .spawn(move || {
                let runtime = match tokio::runtime::Builder::new_current_thread().enable_io().build() {
                    Ok(runtime) => runtime,
                    Err(e) => return ready.send(Err(e)).unwrap_or_default(),
                };
                runtime.block_on(listener.listen(ready));
            })
            .map_err(failed)?;
        match installed.recv() {
            Ok(outcome) => outcome.map(|()| signals).map_err(failed),
            Err(_) => Err(Error::internal("the thread that listens to signals ended")),
        }
    }

    async fn listen(self, ready: std::sync::mpsc::Sender<std::io::Result<()>>) {
        let (mut interrupt, mut terminate) = match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
            (Ok(interrupt), Ok(terminate)) => (interrupt, terminate),
            (Err(e), _) | (_, Err(e)) => return ready.send(Err(e)).unwrap_or_default(),
        };
        let _ = ready.send(Ok(()));
        loop {
            let stop = tokio::select! {
                _ = interrupt.recv() => Stop::Interrupt,
                _ = terminate.recv() => Stop::Terminate,
            };
            if stop == Stop::Terminate {
                self.terminated.store(true, Ordering::Relaxed);
            }
            if self.receive(stop) {
                // Asked twice: whoever should have stopped is stuck.
                std::process::exit(i32::from(stop.exit_code()));
            }
        }
    }

    /// Notes a wish to stop; whether the process must end at once.
    fn receive(&self, stop: Stop) -> bool {
        if stop == Stop::Interrupt && self.patient.load(Ordering::Relaxed) {
            // A SIGTERM before it stays one.
            self.state.send_if_modified(|state| {
                let first = state.is_none();
                state.get_or_insert(stop);
                first
            });
            return false;
        }
        let patient = self.patient.load(Ordering::Relaxed);
        let before = self.state.send_replace(Some(stop));
        // In the shell a Ctrl-C before a SIGTERM was for a statement.
        before.is_some_and(|before| !patient || before == Stop::Terminate)
    }

    /// What was received, if anything.
    #[must_use]
    pub fn received(&self) -> Option<Stop> {
        *self.state.borrow()
    }

    /// Waits for a signal; returns at once if there was one.
    pub async fn wait(&self) -> Stop {
        let mut state = self.state.subscribe();
        let received = state.wait_for(Option::is_some).await.ok().and_then(|stop| *stop);
        match received {
            Some(stop) => stop,
            None => std::future::pending().await, // the sender is ours, so it is never gone
        }
    }

    /// Forgets a Ctrl-C that has done its work; a SIGTERM stays.
    pub fn clear(&self) {
        self.state.send_if_modified(|state| state.take_if(|stop| *stop == Stop::Interrupt).is_some());
    }

    /// From now on a second Ctrl-C no longer ends the process; a second SIGTERM does.
    pub fn be_patient(&self) {
        self.patient.store(true, Ordering::Relaxed);
    }

    /// Becomes true with a SIGTERM: ends a line that is being typed.
    #[must_use]
    pub fn terminated(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.terminated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_wish_ends_the_process_but_not_the_shell() {
        let signals =
            || Signals { state: Arc::new(watch::Sender::new(None)), terminated: Arc::default(), patient: Arc::default() };
        let command = signals();
        assert!(!command.receive(Stop::Interrupt) && command.receive(Stop::Interrupt));
        let shell = signals();
        shell.be_patient();
        assert!(!shell.receive(Stop::Interrupt) && !shell.receive(Stop::Interrupt));
        assert!(!shell.receive(Stop::Terminate) && !shell.receive(Stop::Interrupt));
        assert_eq!(shell.received(), Some(Stop::Terminate));
        assert!(shell.receive(Stop::Terminate));
    }

    #[tokio::test]
    async fn a_ctrl_c_is_forgotten_and_a_sigterm_is_not() {
        let state = Arc::new(watch::Sender::new(Some(Stop::Interrupt)));
        let signals = Signals { state, terminated: Arc::default(), patient: Arc::default() };
        assert_eq!(signals.wait().await, Stop::Interrupt);
        signals.clear();
        assert_eq!(signals.received(), None);
        signals.state.send_replace(Some(Stop::Terminate));
        signals.clear();
        assert_eq!(signals.wait().await.exit_code(), 143);
    }
}
