//! What is in a topic, by somebody who is not us.   mark at the end ─► Kafka's console consumer, read_committed ─► [`Seen`]
//!
//! A mark in every partition ends the reading: whatever was committed lies before it, and a transaction that is still open holds
//! the mark back. So there is no waiting for silence, which on a loaded machine proves nothing.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;

use vatic::connector::{Broker, OffsetAt};

use super::jars::jars;
use crate::conformance::{name, output, values, write};

/// A record as the console consumer prints it.
#[derive(Debug)]
pub struct Seen {
    pub partition: i32,
    pub offset: i64,
    headers: String,
    pub value: String,
}

impl Seen {
    /// A header that is one of vatic's.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.split(',').find_map(|header| header.strip_prefix(name)?.strip_prefix(':'))
    }

    /// Partition, offset, headers (`name:value,...`) and value, with tabs between them.
    pub fn parse(line: &str) -> Option<Self> {
        let (partition, rest) = line.strip_prefix("Partition:")?.split_once('\t')?;
        let (offset, rest) = rest.strip_prefix("Offset:")?.split_once('\t')?;
        let (headers, value) = rest.rsplit_once('\t')?;
        let (headers, value) = (headers.to_owned(), value.to_owned());
        Some(Self { partition: partition.parse().ok()?, offset: offset.parse().ok()?, headers, value })
    }
}

/// All of a topic that is committed.
pub async fn read(broker: &Arc<dyn Broker>, address: &str, topic: &str) -> Vec<Seen> {
    let partitions = broker.offsets(topic, OffsetAt::Earliest).await.unwrap().len();
    let mark = name("mark");
    let marks = (0..partitions).map(|p| output(topic, i32::try_from(p).unwrap(), values([&mark])));
    write(broker, marks.collect()).await;
    let (address, topic) = (address.to_owned(), topic.to_owned());
    tokio::task::spawn_blocking(move || consume(&address, &topic, &mark, partitions)).await.unwrap()
}

fn consume(address: &str, topic: &str, mark: &str, partitions: usize) -> Vec<Seen> {
    let mut consumer = Command::new("java")
        .args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp"])
        .arg(format!("{}/*", jars().display()))
        .arg("org.apache.kafka.tools.consumer.ConsoleConsumer")
        .args(["--bootstrap-server", address, "--topic", topic])
        .args(["--from-beginning", "--isolation-level", "read_committed"])
        .args(["--property", "print.partition=true", "--property", "print.offset=true", "--property", "print.headers=true"])
        // A mark that a transaction holds back comes once brokers have ended that one.
        .args(["--timeout-ms", "90000"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut seen, mut marks) = (Vec::new(), 0);
    for line in BufReader::new(consumer.stdout.take().unwrap()).split(b'\n') {
        let line = String::from_utf8_lossy(&line.unwrap()).into_owned();
        match (Seen::parse(&line), seen.last_mut()) {
            (Some(record), _) if record.value == mark => {
                marks += 1;
                if marks == partitions {
                    break;
                }
            }
            (Some(record), _) => seen.push(record),
            // Somebody else's value has several lines.
            (None, Some(Seen { value, .. })) => value.push_str(&line),
            (None, None) => panic!("the console consumer printed {line:?}"),
        }
    }
    consumer.kill().unwrap();
    let output = consumer.wait_with_output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(marks, partitions, "the console consumer did not reach the end of {topic}:\n{complaint}");
    // Marks of others, who read this topic at the same time.
    seen.retain(|record| !record.value.starts_with("mark-"));
    seen
}
