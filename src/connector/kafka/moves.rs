//! Positions that are committed without a transaction.   records acknowledged ─► [`Moves::send`] ─► answers, later ─► sent again?
//!
//! Nobody waits for the answers; what comes meanwhile goes with the next commit, of which one is on its way at a time: with hundreds,
//! heartbeats would wait behind them until the group gives the member up. But a partition may have nothing more to come, and a commit
//! that failed would leave its position behind for as long as it is silent: whoever starts next would repeat those rows. So once
//! the answer is there, what the broker does not have is sent again.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::admin::list;
use super::error::KafkaError;
use super::ffi::{Answers, Entry, Failure, Outcome};
use super::source::Member;
use crate::connector::{Partition, Position};

type At = (Arc<str>, Partition);

/// The positions of one writer.
#[derive(Debug, Default)]
pub(super) struct Moves {
    sent: Sent,
    /// The member that commits, and where its answers arrive.
    by: Option<(Arc<Member>, Answers)>,
}

impl Moves {
    /// Commits positions and does not wait.
    pub(super) fn send(&mut self, address: &str, member: &Arc<Member>, positions: &[&Position]) -> Result<(), KafkaError> {
        let failed = |failure: Failure| KafkaError::of(address, "commit offsets", failure);
        match &mut self.by {
            Some((known, answers)) if Arc::ptr_eq(answers.client(), member.client()) => *known = Arc::clone(member),
            other => {
                let answers = Answers::of(member.client()).ok_or_else(|| KafkaError::Start("it has no queue".to_owned()))?;
                (*other, self.sent) = (Some((Arc::clone(member), answers)), Sent::default());
            }
        }
        self.sent.want(positions.iter().copied());
        self.listen();
        self.send_behind().map_err(failed)
    }

    /// Commits what the broker does not have, unless a commit is on its way.
    fn send_behind(&mut self) -> Outcome<()> {
        let Some((member, answers)) = self.by.as_ref().filter(|_| !self.sent.open) else { return Ok(()) };
        // What became another member's is that one's to commit.
        self.sent.positions.retain(|at, _| member.holds(at));
        let behind: Vec<Position> = self.sent.behind().cloned().collect();
        let Ok(list) = list(behind.iter()) else { return Ok(()) };
        if behind.is_empty() {
            return Ok(());
        }
        answers.commit(&list)?;
        self.sent.note(behind.iter());
        Ok(())
    }

    /// Whether there is anything to be heard or sent again.
    pub(super) fn are_open(&self) -> bool {
        self.sent.open || self.sent.behind().next().is_some()
    }

    /// Hears what has arrived and sends again what has not.
    pub(super) fn settle(&mut self) {
        self.listen();
        if self.send_behind().is_err() {
            // Whoever cannot ask any more is leaving.
            self.sent = Sent::default();
        }
    }

    fn listen(&mut self) {
        while let Some(entries) = self.by.as_ref().and_then(|(_, answers)| answers.take()) {
            self.sent.hear(&entries);
        }
    }
}

/// What was sent and what became of it.
#[derive(Debug, Default)]
struct Sent {
    /// The newest position of each partition, and the one that the broker answered for last.
    positions: BTreeMap<At, (Position, Option<i64>)>,
    /// A commit has no answer yet.
    open: bool,
}

impl Sent {
    fn want<'p>(&mut self, positions: impl Iterator<Item = &'p Position>) {
        self.positions.extend(positions.map(|p| ((Arc::clone(&p.topic), p.partition), (p.clone(), None))));
    }

    /// Notes that these are on their way.
    fn note<'p>(&mut self, positions: impl Iterator<Item = &'p Position>) {
        self.open = true;
        for position in positions {
            let at = (Arc::clone(&position.topic), position.partition);
            self.positions.insert(at, (position.clone(), None));
        }
    }

    fn hear(&mut self, entries: &[Entry]) {
        self.open = false;
        for entry in entries {
            let at = (Arc::from(entry.topic.as_str()), entry.partition);
            if let Some((_, arrived)) = self.positions.get_mut(&at) {
                // After a failure nobody knows what the broker has.
                *arrived = entry.failure.is_none().then_some(entry.offset);
            }
        }
    }

    /// What the broker does not have.
    fn behind(&self) -> impl Iterator<Item = &Position> {
        self.positions.values().filter(|(position, arrived)| *arrived != Some(position.offset)).map(|(position, _)| position)
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::types::RDKafkaErrorCode as Code;

    use super::*;

    fn position(partition: Partition, offset: i64) -> Position {
        Position { topic: "t".into(), partition, offset, metadata: String::new() }
    }

    fn answer(partition: Partition, offset: i64, code: Option<Code>) -> Entry {
        let failure = code.map(|code| Failure::new(code, "no"));
        Entry { topic: "t".to_owned(), partition, offset, metadata: String::new(), failure }
    }

    #[test]
    fn what_failed_or_came_meanwhile_is_behind() {
        let mut sent = Sent::default();
        let behind = |sent: &Sent| sent.behind().map(|p| (p.partition, p.offset)).collect::<Vec<_>>();
        sent.note([position(0, 5), position(1, 5)].iter());
        sent.hear(&[answer(0, 5, None), answer(1, 5, Some(Code::RebalanceInProgress))]);
        assert_eq!((behind(&sent), sent.open), (vec![(1, 5)], false));
        sent.note([position(0, 7), position(1, 5)].iter());
        sent.want([position(0, 9)].iter());
        assert!(sent.open);
        sent.hear(&[answer(0, 7, None), answer(1, 5, None)]);
        assert_eq!((behind(&sent), sent.open), (vec![(0, 9)], false));
        sent.note([position(0, 9)].iter());
        sent.hear(&[answer(0, 9, None)]);
        assert_eq!((behind(&sent), sent.open), (Vec::new(), false));
    }
}
