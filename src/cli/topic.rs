//! `vatic topic list | create | describe | delete`.

use std::sync::Arc;

use super::Context;
use super::args::TopicCommand;
use super::output::Output;
use super::render::listing;
use crate::connector::{Broker, NewTopic, OffsetAt};
use crate::engine::existing;
use crate::error::{Error, Result};

/// Does what was asked.
///
/// # Errors
/// `User` for a topic that is missing, or exists already, or whose name or settings are wrong; `External` from the broker.
pub(crate) async fn topic(cx: &Context, command: TopicCommand) -> Result<()> {
    let engine = cx.engine().await?;
    let broker = engine.broker();
    match command {
        TopicCommand::List => list(broker).await,
        TopicCommand::Describe { topic } => describe(broker, &topic).await,
        TopicCommand::Create { topic, partitions, replication, config } => {
            let new = NewTopic { name: topic.clone(), partitions, replication, config: config.into_iter().collect() };
            if !broker.create_topic(&new).await? {
                let error = Error::user(format!("topic \"{topic}\" exists already"));
                return Err(error.hint(format!("Look at it: vatic topic describe {topic}")));
            }
            cx.ui.info(&format!("created topic \"{topic}\""));
            Ok(())
        }
        TopicCommand::Delete { topic } => {
            existing(broker, &topic).await?;
            broker.delete_topic(&topic).await?;
            cx.ui.info(&format!("deleted topic \"{topic}\""));
            Ok(())
        }
    }
}

async fn list(broker: &Arc<dyn Broker>) -> Result<()> {
    let mut rows = Vec::new();
    for topic in broker.topics().await? {
        let records: i64 = spans(broker, &topic.name).await?.iter().map(|(from, to)| to - from).sum();
        rows.push(vec![topic.name, topic.partitions.to_string(), records.to_string()]);
    }
    print(&[listing(&["topic", "partitions", "records"], &rows, &[1, 2])])
}

async fn describe(broker: &Arc<dyn Broker>, name: &str) -> Result<()> {
    let topic = existing(broker, name).await?;
    let spans = spans(broker, name).await?;
    let partitions: Vec<_> = spans
        .iter()
        .enumerate()
        .map(|(i, (from, to))| vec![i.to_string(), from.to_string(), to.to_string(), (to - from).to_string()])
        .collect();
    let config: Vec<_> = topic.config.iter().map(|(k, v)| vec![k.clone(), v.clone()]).collect();
    print(&[
        format!("topic \"{name}\": partitions {}, replication {}\n", topic.partitions, topic.replication),
        listing(&["partition", "earliest", "latest", "records"], &partitions, &[0, 1, 2, 3]),
        String::new(),
        listing(&["config", "value"], &config, &[]),
    ])
}

/// The earliest offset and the end of each partition. Their difference counts markers and what compaction removed, too.
async fn spans(broker: &Arc<dyn Broker>, topic: &str) -> Result<Vec<(i64, i64)>> {
    let earliest = broker.offsets(topic, OffsetAt::Earliest).await?;
    let latest = broker.offsets(topic, OffsetAt::Latest).await?;
    Ok(earliest.into_iter().zip(latest).collect())
}

fn print(lines: &[String]) -> Result<()> {
    let mut out = Output::stdout();
    lines.iter().try_for_each(|line| out.line(line))?;
    out.flush()
}
