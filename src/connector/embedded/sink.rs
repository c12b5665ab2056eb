//! The embedded broker's [`Sink`]: checks a commit, writes its large records ahead, hands the rest to the writer's thread.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::error::EmbeddedError;
use super::open::Open;
use super::shared::Shared;
use super::store::{Db, Result};
use super::writer::{Batches, Body, LARGE, Part, first_above, write_blob};
use crate::connector::{Commit, Committed, Output, Position, Sink, SinkSpec};

/// Kafka's `offset.metadata.max.bytes`.
const METADATA: usize = 4096;

/// A sink. Opening one with a group gives it the group's next number; the writer refuses commits under older ones.
#[derive(Debug)]
pub(super) struct EmbeddedSink {
    open: Arc<Open>,
    group: Option<(String, i64)>,
    timeout: Option<Duration>,
}

impl EmbeddedSink {
    pub(super) async fn open(open: Arc<Open>, spec: SinkSpec) -> crate::Result<Self> {
        let group = match spec.group {
            None => None,
            Some(name) => {
                let group = name.clone();
                let number = open.write(move |writer, _| {
                    let sql = "INSERT INTO groups (name, writer) VALUES (?1, 1)
                               ON CONFLICT DO UPDATE SET writer = writer + 1 RETURNING writer";
                    Ok(writer.db()?.write(|db| db.one(sql, [&group], |row| row.get::<_, i64>(0)))?)
                });
                Some((name, number.await?))
            }
        };
        Ok(Self { open, group, timeout: spec.timeout })
    }

    async fn write(&self, commit: Commit) -> crate::Result<Committed> {
        self.check(&commit.positions)?;
        let outputs = commit.outputs.len();
        let is_large = |output: &Output| first_above(&output.records, LARGE).is_some();
        let parts = if commit.outputs.iter().any(is_large) {
            let shared = Arc::clone(&self.open);
            self.open.read(move |db| Ok(write_ahead(db, &shared, commit.outputs)?)).await?
        } else {
            commit.outputs.into_iter().enumerate().map(|(index, output)| part(index, output)).collect()
        };
        let batches = Batches { group: self.group.clone(), parts, positions: commit.positions, outputs };
        let offsets = self.open.write(move |writer, given_up| Ok(writer.commit(&batches, given_up)?)).await?;
        Ok(Committed { offsets })
    }

    fn check(&self, positions: &[Position]) -> Result<()> {
        if self.group.is_none() && !positions.is_empty() {
            return Err(EmbeddedError::Misuse("a sink without a group cannot commit positions".to_owned()));
        }
        match positions.iter().find(|p| p.metadata.len() > METADATA) {
            None => Ok(()),
            Some(p) => Err(EmbeddedError::Misuse(format!(
                "the metadata of a position of topic \"{}\" has {} bytes, and at most {METADATA} are allowed",
                p.topic,
                p.metadata.len()
            ))),
        }
    }
}

fn part(index: usize, output: Output) -> Part {
    Part { output: index, topic: output.topic, partition: output.partition, body: Body::Records(output.records) }
}

/// Cuts outputs at their large records and writes those; the order of all stays.
fn write_ahead(db: &Db, shared: &Arc<Shared>, outputs: Vec<Output>) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    for (index, output) in outputs.into_iter().enumerate() {
        let topic = db.need_topic(&output.topic)?;
        super::writer::slot_of(&topic, output.partition)?;
        let mut rest = output.records.clone();
        let mut add =
            |body| parts.push(Part { output: index, topic: Arc::clone(&output.topic), partition: output.partition, body });
        while let Some(at) = first_above(&rest, LARGE) {
            if at > 0 {
                add(Body::Records(rest.slice(0, at)));
            }
            add(write_blob(db, shared, &rest.slice(at, 1), &topic)?);
            rest = rest.slice(at + 1, rest.len() - at - 1);
        }
        // An output without records still says where the next one would go.
        add(Body::Records(rest));
    }
    Ok(parts)
}

#[async_trait]
impl Sink for EmbeddedSink {
    async fn commit(&mut self, commit: Commit) -> crate::Result<Committed> {
        match self.timeout {
            None => self.write(commit).await,
            // Going away is noticed by the writer, which then writes nothing unless it was just about to end.
            Some(limit) => tokio::time::timeout(limit, self.write(commit)).await.unwrap_or_else(|_| {
                Err(EmbeddedError::TimedOut { file: self.open.file.display().to_string(), limit }.into())
            }),
        }
    }
}
