//! `vatic topic list | create | describe | delete`.

use std::sync::Arc;

use super::Context;
use super::args::TopicCommand;
use super::output::Output;
use super::render::listing;
use crate::connector::{Broker, NewTopic, OffsetAt, Topic};
use crate::error::{Error, Result, nearest};

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
        TopicCommand::Create { topic, partitions, config } => {
            let new = NewTopic { name: topic.clone(), partitions, replication: None, config: config.into_iter().collect() };
            if !broker.create_topic(&new).await? {
                let error = Error::user(format!("topic \"{topic}\" exists already"));
                return Err(error.hint(format!("Look at it: vatic topic describe {topic}")));
            }
            cx.ui.info(&format!("created topic \"{topic}\""));
            Ok(())
        }
        TopicCommand::Delete { topic } => {
            require(broker, &topic).await?;
            broker.delete_topic(&topic).await?;
            cx.ui.info(&format!("deleted topic \"{topic}\""));
            Ok(())
        }
    }
}

/// The topic that a command reads, which must exist.
///
/// # Errors
/// `User`, with the nearest name and the command that creates it.
pub(crate) async fn require(broker: &Arc<dyn Broker>, name: &str) -> Result<Topic> {
    if let Some(topic) = broker.topic(name).await? {
        return Ok(topic);
    }
    let topics = broker.topics().await?;
    let create = format!("reate it with: vatic topic create {name}");
    let hint = match nearest(name, topics.iter().map(|t| t.name.as_str())) {
        Some(near) => format!("Did you mean \"{near}\"? Otherwise c{create}"),
        None => format!("C{create}"),
    };
    Err(Error::user(format!("no topic \"{name}\" on broker \"{}\"", broker.address())).hint(hint))
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
    let topic = require(broker, name).await?;
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
