//! Whether the broker is there, for those who only read.   asked every [`LOOK`] ─► away for [`TOLD`] ─► warning ─► back ─► notice
//!
//! Who follows a topic cannot tell a quiet one from a broker that has gone: nothing comes either way, and Kafka's client tries
//! again for ever without a word. So the broker is asked for the topic meanwhile. A job has its commits to judge by
//! (`lookout.rs`).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::connector::Broker;
use crate::error::ErrorKind;

use super::notices::Notices;

/// How often the broker is asked.
const LOOK: Duration = Duration::from_secs(2);
/// It is said after this time without an answer.
const TOLD: Duration = Duration::from_secs(5);

/// Tells when the broker stops to answer, and when it answers again. Ends when dropped.
pub async fn watch(broker: &dyn Broker, topic: &str, notices: &Notices) -> Infallible {
    let address = broker.address();
    let (mut away, mut told) = (None::<Instant>, false);
    loop {
        tokio::time::sleep(LOOK).await;
        let asked = Instant::now();
        // One that takes the question and does not answer is away, too. Any other answer is one.
        let silent = match tokio::time::timeout(TOLD, broker.partitions(topic)).await {
            Ok(answer) => answer.is_err_and(|error| error.kind() == ErrorKind::External),
            Err(_) => true,
        };
        if !silent {
            if let (Some(since), true) = (away, told) {
                let seconds = since.elapsed().as_secs();
                notices.info(format!("broker \"{address}\" answers again, after {seconds} s; topic \"{topic}\" is read on"));
            }
            (away, told) = (None, false);
            continue;
        }
        let since = *away.get_or_insert(asked);
        if !told && since.elapsed() >= TOLD {
            let seconds = since.elapsed().as_secs();
            notices.warn(
                format!("broker \"{address}\" has not answered for {seconds} s: waiting for topic \"{topic}\""),
                Some("It goes on by itself once the broker is back; Ctrl-C ends it.".to_owned()),
            );
            told = true;
        }
    }
}

/// The same in the background, for a statement that holds what this gives.
pub(super) fn watching(broker: &Arc<dyn Broker>, topic: &Arc<str>, notices: &Notices) -> Watching {
    let (broker, topic, notices) = (Arc::clone(broker), Arc::clone(topic), notices.clone());
    Watching(tokio::spawn(async move { watch(broker.as_ref(), &topic, &notices).await }).abort_handle())
}

/// Ends the watch when dropped.
pub(super) struct Watching(tokio::task::AbortHandle);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.abort();
    }
}
