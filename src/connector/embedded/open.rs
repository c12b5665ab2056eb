//! A broker file that is open in this process, once however often it is opened.   tasks ─► writer thread ─► file
//!
//! Nothing is made for readers: a [`Site`] opens what is there, and makes a file when somebody writes.
//! One thread per process and file does all writing, so that no two commits of a process get in each other's way.

use std::collections::HashMap;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, Weak};

use tokio::sync::oneshot;

use super::error::EmbeddedError;
use super::shared::{FILE, Shared};
use super::store::{Result, Settings};
use super::watch::lock;
use super::writer::{Task, Writer};

/// One open file. The writer's thread ends with it.
#[derive(Debug)]
pub(super) struct Open {
    shared: Arc<Shared>,
    writer: Mutex<Option<Sender<Task>>>,
}

/// Where a broker is, or will be: whoever only reads makes no file.
#[derive(Debug)]
pub(super) struct Site {
    /// As given, for people.
    shown: PathBuf,
    /// Absolute, for the working directory may change before it is opened.
    dir: PathBuf,
    settings: Settings,
    open: OnceLock<Arc<Open>>,
}

impl Site {
    /// The place `dir`. What is there is opened, so that what is wrong with it is told at once.
    ///
    /// # Errors
    /// Those of opening it; `NotADirectory`, or `Open` where nothing could be made.
    pub(super) fn at(dir: &Path, settings: Settings) -> Result<Arc<Self>> {
        let absolute = std::path::absolute(dir).map_err(|e| open_error(dir, e))?;
        let site = Self { shown: dir.to_owned(), dir: absolute, settings, open: OnceLock::new() };
        site.there()?;
        Ok(Arc::new(site))
    }

    /// The open broker, if there is one; blocks.
    fn there(&self) -> Result<Option<Arc<Open>>> {
        if let Some(open) = self.open.get() {
            return Ok(Some(Arc::clone(open)));
        }
        if self.dir.is_file() {
            return Err(not_a_directory(&self.shown));
        }
        match std::fs::metadata(self.dir.join(FILE)) {
            Ok(_) => self.made().map(Some),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(open_error(&self.shown, e)),
        }
    }

    /// The open broker, made if there is none; blocks.
    fn made(&self) -> Result<Arc<Open>> {
        if let Some(open) = self.open.get() {
            return Ok(Arc::clone(open));
        }
        // Two that come here at once are given the same.
        let open = Open::at(&self.dir, &self.shown, self.settings.clone())?;
        Ok(Arc::clone(self.open.get_or_init(|| open)))
    }

    /// The broker for who reads: `None` as long as nobody has written.
    ///
    /// # Errors
    /// Those of opening it.
    pub(super) async fn to_read(self: &Arc<Self>) -> crate::Result<Option<Arc<Open>>> {
        match self.open.get() {
            Some(open) => Ok(Some(Arc::clone(open))),
            None => self.blocking(Self::there).await,
        }
    }

    /// The broker for who writes.
    ///
    /// # Errors
    /// Those of making and opening it.
    pub(super) async fn to_write(self: &Arc<Self>) -> crate::Result<Arc<Open>> {
        match self.open.get() {
            Some(open) => Ok(Arc::clone(open)),
            None => self.blocking(Self::made).await,
        }
    }

    async fn blocking<T: Send + 'static>(self: &Arc<Self>, work: fn(&Self) -> Result<T>) -> crate::Result<T> {
        let site = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || work(&site)).await;
        Ok(done.map_err(|e| crate::Error::internal("opening the broker was broken off").source(e))??)
    }
}

fn open_error(shown: &Path, source: std::io::Error) -> EmbeddedError {
    EmbeddedError::Open { file: shown.display().to_string(), source: Box::new(source) }
}

fn not_a_directory(shown: &Path) -> EmbeddedError {
    EmbeddedError::NotADirectory { file: shown.display().to_string() }
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
    /// Opens the broker in `dir`, which is made if it is missing; errors call it `shown`. `settings` count for the first to open
    /// it in this process.
    fn at(dir: &Path, shown: &Path, settings: Settings) -> Result<Arc<Self>> {
        let open_error = |e| open_error(shown, e);
        if dir.is_file() {
            return Err(not_a_directory(shown));
        }
        std::fs::create_dir_all(dir).map_err(open_error)?;
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
