//! What became of jobs, told once.   jobs ─► [`Reports`] ─► at the prompt: at once, above the line;   else: before the next prompt

use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use crate::cli::status;
use crate::cli::ui::Ui;
use crate::engine::{Job, JobStatus};

/// Which jobs' ends were told. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Reports {
    ui: Arc<Ui>,
    told: Arc<Mutex<Vec<Arc<Job>>>>,
}

impl Reports {
    /// Nothing was told yet.
    pub fn new(ui: &Arc<Ui>) -> Self {
        Self { ui: Arc::clone(ui), told: Arc::default() }
    }

    /// Tells which of `jobs` have ended since.
    pub async fn tell(&self, jobs: &[Arc<Job>]) {
        for job in jobs.iter().filter(|job| job.status().ended()) {
            self.end(job).await;
        }
    }

    /// Tells of each of `jobs` when it ends; ends with the last of them.
    pub async fn watch(self, jobs: Vec<Arc<Job>>) {
        let running = jobs.into_iter().filter(|job| !job.status().ended());
        let mut ends: FuturesUnordered<_> = running
            .map(|job| async move {
                // How it ended is in its status.
                let _ = job.wait().await;
                job
            })
            .collect();
        while let Some(job) = ends.next().await {
            self.end(&job).await;
        }
    }

    async fn end(&self, job: &Arc<Job>) {
        {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            if told.iter().any(|other| Arc::ptr_eq(other, job)) {
                return;
            }
            told.push(Arc::clone(job));
        }
        match job.status() {
            JobStatus::Failed(_) => {
                if let Err(error) = job.wait().await {
                    self.ui.error(&error);
                }
            }
            status => self.ui.info(&status::ended(job.name(), &status, &job.metrics())),
        }
    }
}
