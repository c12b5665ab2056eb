//! What to do about a name behind FROM that nothing has.   name, topics there are ─► hint
//!
//! A topic is offered only if it is there. A broker without any topic is most often the embedded one of another directory.

use std::sync::Arc;

use crate::connector::Broker;
use crate::error::{did_you_mean, nearest};

/// What to do about a query that reads table `name`, which is neither declared nor nearly called like one that is.
pub(super) async fn unknown_table(broker: &Arc<dyn Broker>, name: &str) -> String {
    let declare = format!("Declare it: CREATE TABLE {name} (column TYPE, ...) WITH (topic = '...').");
    // Whether the broker answers is not what this error is about.
    let Ok(topics) = broker.topics().await else { return declare };
    let names = || topics.iter().map(|topic| topic.name.as_str());
    if names().any(|topic| topic == name) {
        return format!("Declare it with CREATE TABLE; or read the topic as it is: FROM topic('{name}').");
    }
    if let Some(near) = nearest(name, names()) {
        return format!("Did you mean topic('{near}')?");
    }
    if topics.is_empty() {
        return nowhere(broker.address()).map_or(declare.clone(), |nowhere| format!("{declare} {nowhere}"));
    }
    did_you_mean(name, "topics", names()).map_or(declare.clone(), |known| format!("{declare} {known}"))
}

/// Where to look for topics, if the broker at `address` has none.
pub(super) fn nowhere(address: &str) -> Option<String> {
    let directory = address.strip_prefix("embedded:")?;
    Some(if directory == ".vatic" {
        "There are no topics here: they live in .vatic of the directory that vatic was started in. Start it there, or name that \
         place: --broker embedded:DIR/.vatic (VATIC_BROKER)."
            .to_owned()
    } else {
        format!("There are no topics in \"{directory}\": check --broker (VATIC_BROKER).")
    })
}
