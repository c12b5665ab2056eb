//! What is kept an eye on while a job runs, beside its loop.
//!
//! ```text
//! a commit without an answer, a version of a model that goes live or cannot ─► notice;   the target's partitions ─► writers
//! ```
//!
//! The loop itself cannot tell: while a broker is silent it waits. What it waits for shows in [`JobStatus`](super::JobStatus) after
//! [`SHOWN`]; whoever has no status line before the eyes gets a notice after [`TOLD`], and another one when it is over.

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;

use crate::format::Reason;
use crate::metrics::JobMetrics;

use super::blueprint::Blueprint;
use super::insert::DEAD_LETTERS;
use super::notices::Notices;

/// A commit that takes longer than this is what the job's status says. The usual one takes milliseconds.
pub(super) const SHOWN: Duration = Duration::from_secs(2);
/// After this time a notice says so.
const TOLD: Duration = Duration::from_secs(5);
/// How often is looked.
const LOOK: Duration = Duration::from_millis(250);
/// How often the target's partitions are counted.
const GROWTH: Duration = Duration::from_secs(5);

/// Keeps an eye on a running job, for ever.
pub(super) async fn keep(blueprint: &Blueprint) -> Infallible {
    let waiting = tell_of_waiting(&blueprint.name, &blueprint.metrics, &blueprint.notices);
    tokio::select! {
        never = waiting => never,
        never = follow_growth(blueprint) => never,
        never = tell_of_models(blueprint) => never,
        never = count_faults(blueprint) => never,
    }
}

/// What the status says of a commit that has had no answer for so long.
pub(super) fn waiting_text(waited: Duration) -> String {
    format!("the broker has not answered a commit for {} s", waited.as_secs())
}

async fn tell_of_waiting(job: &str, metrics: &JobMetrics, notices: &Notices) -> Infallible {
    let mut told: Option<u64> = None;
    loop {
        tokio::time::sleep(LOOK).await;
        match (metrics.commit_waits(), told) {
            (Some(waited), None) if waited >= TOLD => {
                notices.warning(format!(
                    "job \"{job}\" waits: {}; it goes on by itself once there is an answer",
                    waiting_text(waited)
                ));
                told = Some(metrics.counts().commits);
            }
            // The next commit is on its way already, or none is: either way the one that was told of has ended.
            (waits, Some(before)) if waits.is_none_or(|waited| waited < TOLD) => {
                // One that failed is told of by whoever puts the job together again.
                if metrics.counts().commits > before {
                    notices.info(format!("job \"{job}\" goes on: the broker has answered the commit"));
                }
                told = None;
            }
            _ => {}
        }
    }
}

/// Says which versions of the job's models go live, and which cannot.
async fn tell_of_models(blueprint: &Blueprint) -> Infallible {
    let Some(registry) = &blueprint.registry else { return std::future::pending().await };
    let mut changes = registry.changes();
    loop {
        let change = match changes.recv().await {
            Ok(change) => change,
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return std::future::pending().await,
        };
        if !blueprint.needs.contains(&*change.name) {
            continue;
        }
        let (job, name, version) = (&blueprint.name, &change.name, change.version);
        match change.error {
            None => blueprint.notices.info(format!("job \"{job}\": model \"{name}\" goes on as version {version}")),
            Some(why) => blueprint.notices.warning(format!(
                "job \"{job}\": version {version} of model \"{name}\" is not used ({}): {why}",
                change.status.as_str()
            )),
        }
    }
}

/// So many records say enough about the rest.
const ENOUGH: u64 = 1_000;

/// Tells once of a running job that more than one record in a hundred is at fault.
async fn count_faults(blueprint: &Blueprint) -> Infallible {
    loop {
        tokio::time::sleep(GROWTH).await;
        if blueprint.metrics.counts().rows_in >= ENOUGH && tell_of_faults(blueprint) {
            return std::future::pending().await;
        }
    }
}

const PRODUCER: &str = "correct their producer or the table";

/// Whose work it is that records are at fault for these `reasons`: often not their producer's.
fn to_correct(reasons: &[&str]) -> &'static str {
    let only = |reason: Reason| matches!(reasons, [one] if *one == reason.as_str());
    if only(Reason::Udf) {
        "correct the function"
    } else if only(Reason::Expression) {
        "guard the expression: TRY_CAST, nullif(divisor, 0)"
    } else if only(Reason::Score) {
        "compare the features with what the model takes: vatic inspect FILE"
    } else if only(Reason::TooLarge) {
        "write fewer columns, or raise the topic's max.message.bytes"
    } else {
        PRODUCER
    }
}

/// Says how many records of a job were at fault, if that is more than one in a hundred; whether it was said.
pub(super) fn tell_of_faults(blueprint: &Blueprint) -> bool {
    let counts = blueprint.metrics.counts();
    let Some(part) = super::query::too_many(counts.bad.values().sum(), counts.rows_in) else { return false };
    let kinds: Vec<String> = counts.bad.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    let first = blueprint.metrics.get_first_bad().map(|first| format!("; the first: {first}")).unwrap_or_default();
    let text = format!("job \"{}\": {part} were at fault ({}){first}", blueprint.name, kinds.join(", "));
    let reasons: Vec<&str> = counts.bad.keys().copied().collect();
    let correct = to_correct(&reasons);
    let hint = match blueprint.policy.dead_letters {
        Some(_) => format!("Look at them, vatic consume {DEAD_LETTERS} --json, and {correct}."),
        None if correct == PRODUCER => format!("Compare the table's columns with the records, and {correct}."),
        None => format!("Find out what is special about them, and {correct}."),
    };
    blueprint.notices.warn(text, Some(hint));
    true
}

/// Lets writers use partitions that are added to the target, as a producer of Kafka's does.
async fn follow_growth(blueprint: &Blueprint) -> Infallible {
    let (topic, partitions) = (&blueprint.write.table.topic, &blueprint.write.partitions);
    loop {
        tokio::time::sleep(GROWTH).await;
        // Trouble with the broker is told of where it hurts; here the next look will do.
        if let Ok(Some(count)) = blueprint.broker.partitions(topic).await
            && partitions.grow(count)
        {
            let job = &blueprint.name;
            blueprint.notices.info(format!("job \"{job}\" writes to {count} partitions of topic \"{topic}\" from now on"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_to_correct_faults_is_told_by_their_reasons() {
        assert_eq!(to_correct(&["udf"]), "correct the function");
        assert_eq!(to_correct(&["decode"]), PRODUCER);
        // Of several reasons nobody knows which matters.
        assert_eq!(to_correct(&["decode", "udf"]), PRODUCER);
    }
}
