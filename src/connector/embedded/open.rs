//! A broker file that is open in this process, once however often it is opened.   tasks ─► writer thread ─► file
//!
//! One thread per process and file does all writing, so that no two commits of a process get in each other's way.

use std::collections::HashMap;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, LazyLock, Mutex, Weak};

use tokio::sync::oneshot;

use super::error::EmbeddedError;
use super::shared::Shared;
use super::store::{Result, Settings};
use super::watch::lock;
use super::writer::{Task, Writer};

/// One open file. The writer's thread ends with it.
#[derive(Debug)]
pub(super) struct Open {
    shared: Arc<Shared>,
    writer: Mutex<Option<Sender<Task>>>,
}

/// Files that are open, so that a second `Embedded` on the same directory shares threads and bell with the first.
static FILES: LazyLock<Mutex<HashMap<PathBuf, Weak<Open>>>> = LazyLock::new(Mutex::default);

impl Deref for Open {
    type Target = Arc<Shared>;
    fn deref(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Open {
    /// Opens the broker in `dir`, which is made if it is missing. `settings` count for the first to open it in this process.
    pub(super) fn at(dir: &Path, settings: Settings) -> Result<Arc<Self>> {
        let open_error = |e: std::io::Error| EmbeddedError::Open { file: dir.display().to_string(), source: Box::new(e) };
        if dir.is_file() {
            return Err(EmbeddedError::NotADirectory { file: dir.display().to_string() });
        }
        std::fs::create_dir_all(dir).map_err(open_error)?;
        // Absolute, for the working directory may change while the file is open.
        let canonical = dir.canonicalize().map_err(open_error)?;
        let mut files = lock(&FILES);
        if let Some(open) = files.get(&canonical).and_then(Weak::upgrade) {
            return Ok(open);
        }
        let shared = Arc::new(Shared::open(canonical.clone(), settings)?);
        let open = Arc::new(Self { shared, writer: Mutex::default() });
        files.retain(|_, weak| weak.strong_count() > 0);
        files.insert(canonical, Arc::downgrade(&open));
        Ok(open)
    }

    /// Runs a task on the writer's thread, after those that were given before. A caller that goes away is asked about by
    /// `given_up`, the task's last argument.
    ///
    /// # Errors
    /// The task's own; `External` if the thread cannot be started.
    pub(super) async fn write<T: Send + 'static>(
        self: &Arc<Self>,
        task: impl FnOnce(&mut Writer, &dyn Fn() -> bool) -> crate::Result<T> + Send + 'static,
    ) -> crate::Result<T> {
        let (answer, answered) = oneshot::channel();
        let task: Task = Box::new(move |writer| {
            if answer.is_closed() {
                return;
            }
            let done = task(writer, &|| answer.is_closed());
            let _ = answer.send(done);
        });
        self.hand_over(task)?;
        answered.await.unwrap_or_else(|_| Err(EmbeddedError::Misuse("the broker's writer ended".to_owned()).into()))
    }

    fn hand_over(&self, task: Task) -> Result<()> {
        let mut writer = lock(&self.writer);
        let task = match writer.as_ref() {
            None => task,
            Some(sender) => match sender.send(task) {
                Ok(()) => return Ok(()),
                Err(returned) => returned.0,
            },
        };
        let (sender, tasks) = channel();
        let state = Writer::new(Arc::downgrade(&self.shared), Arc::clone(&self.file), self.settings.clone());
        let started = std::thread::Builder::new().name("vatic-broker".to_owned()).spawn(move || state.work(&tasks));
        started.map_err(|e| self.no_thread(e))?;
        let _ = sender.send(task);
        *writer = Some(sender);
        Ok(())
    }
}
