//! The handle: an engine over one broker, sessions on it, jobs and their life, the model feed.
//!
//! ```text
//! Engine (broker, registry) ─► Session (tables, views, settings) ─► statement ─► Outcome: done, rows, or a job
//! ```
//!
//! Whoever serves people (command line, shell, network) holds an [`Engine`] and one [`Session`] per conversation.

mod absent;
mod blueprint;
mod casts;
mod copy;
mod explain;
mod fields;
mod functions;
mod insert;
pub mod job;
mod leased;
mod lookout;
pub mod models;
mod notices;
mod place;
mod plan;
pub mod presence;
mod query;
mod resolve;
mod run;
mod session;
mod show;
mod tables;
mod unmatched;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Mutex;

use crate::config::Options;
use crate::connector::Broker;
use crate::connector::embedded::Embedded;
use crate::connector::kafka::Kafka;
use crate::error::{Error, Result};
use crate::model::Sandbox;
use crate::model::registry::Settings;

pub use job::{EpochHook, Job, JobStatus};
pub use models::{MAX_MODEL_BYTES, Models, PublishOptions, Published};
pub use notices::{Level, Notice, Notices};
pub use query::Rows;
pub use session::{Outcome, Session, UntilEnd};
pub use tables::existing;

/// How an engine is opened.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// `embedded`, `embedded:DIR` or `HOST:PORT[,...]`.
    pub broker: String,
    /// Properties of the Kafka client (`-X`).
    pub properties: Options,
    /// Where models are tried before they are loaded; without one they are loaded at once.
    pub sandbox: Option<Sandbox>,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self { broker: "embedded:.vatic".to_owned(), properties: Options::default(), sandbox: None }
    }
}

/// An engine over one broker.
#[derive(Debug)]
pub struct Engine {
    broker: Arc<dyn Broker>,
    notices: Notices,
    sandbox: Option<Sandbox>,
    models: Mutex<BTreeMap<String, Arc<Models>>>,
    /// What every session begins with.
    functions: std::sync::Mutex<functions::Functions>,
}

impl Engine {
    /// Opens the broker.
    ///
    /// # Errors
    /// `Usage` for an address that is none; `External` if the broker cannot be opened.
    pub async fn open(config: EngineConfig, notices: Notices) -> Result<Arc<Self>> {
        let broker = open_broker(&config).await?;
        Ok(Arc::new(Self {
            broker,
            notices,
            sandbox: config.sandbox,
            models: Mutex::default(),
            functions: Default::default(),
        }))
    }

    /// An engine over a broker that is open already, without a sandbox for models.
    #[must_use]
    pub fn over(broker: Arc<dyn Broker>, notices: Notices) -> Arc<Self> {
        Arc::new(Self { broker, notices, sandbox: None, models: Mutex::default(), functions: Default::default() })
    }

    /// Where topics live.
    #[must_use]
    pub fn broker(&self) -> &Arc<dyn Broker> {
        &self.broker
    }

    /// Where notices go.
    #[must_use]
    pub fn notices(&self) -> &Notices {
        &self.notices
    }

    fn functions_mut(&self) -> std::sync::MutexGuard<'_, functions::Functions> {
        self.functions.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A session with no tables.
    #[must_use]
    pub fn session(self: &Arc<Self>) -> Session {
        Session::new(Arc::clone(self))
    }

    /// The models of `topic`, followed from the first call on.
    ///
    /// # Errors
    /// `User` if the topic has several partitions; whatever the broker says.
    pub async fn models(&self, topic: &str) -> Result<Arc<Models>> {
        let mut open = self.models.lock().await;
        if let Some(models) = open.get(topic) {
            return Ok(Arc::clone(models));
        }
        let loader = self.sandbox.clone().map_or_else(|| Settings::default().loader, Sandbox::loader);
        let models = Models::open(Arc::clone(&self.broker), topic, loader).await?;
        open.insert(topic.to_owned(), Arc::clone(&models));
        Ok(models)
    }

    /// Publishes a model file as a version of `name` on `topic`.
    ///
    /// # Errors
    /// As [`Models::publish`].
    pub async fn publish(&self, topic: &str, name: &str, bytes: Bytes, options: &PublishOptions) -> Result<Published> {
        self.models(topic).await?.publish(name, bytes, options).await
    }
}

async fn open_broker(config: &EngineConfig) -> Result<Arc<dyn Broker>> {
    let address = config.broker.as_str();
    if address == "embedded" || address.starts_with("embedded:") {
        let dir = address.strip_prefix("embedded").unwrap_or_default().trim_start_matches(':');
        let dir = if dir.is_empty() { ".vatic" } else { dir };
        let dir = Path::new(dir).to_owned();
        let opened = tokio::task::spawn_blocking(move || Embedded::open(&dir)).await;
        return opened.map_err(|e| Error::internal(format!("opening the broker ended early: {e}")))?;
    }
    // Hosts with ports; anything else is a slip of the pen, not a name to be looked up.
    let is_host =
        |part: &str| part.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if !address.is_empty() && address.split(',').all(|part| is_host(part.trim())) {
        let (address, properties) = (address.to_owned(), config.properties.clone());
        let opened = tokio::task::spawn_blocking(move || Kafka::open(&address, &properties)).await;
        return opened.map_err(|e| Error::internal(format!("opening the broker ended early: {e}")))?;
    }
    Err(Error::usage(format!("\"{address}\" is not a broker")).hint("Write embedded, embedded:DIR or HOST:PORT."))
}
