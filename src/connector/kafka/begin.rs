//! Where reading begins.   partitions ─► what the group committed, else the query's start ─► checked against what the topics hold
//!
//! Offsets are positions: the record that is read next. One outside of what a topic holds is an error, never a reset.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::admin::{Admin, Found, ranges};
use super::error::KafkaError;
use super::source::Place;
use crate::connector::{Assignment, OffsetAt, Partition, Position, SourceSpec, Start, TopicError};

type Result<T> = std::result::Result<T, KafkaError>;

/// Partitions and where their reading begins, checked against what the topics hold.
#[derive(Debug)]
pub(super) struct Begin {
    pub places: Vec<Assignment>,
    pub ends: BTreeMap<Place, i64>,
}

/// What becomes of partitions whose newest commit is not decided yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Undecided {
    /// It is waited for.
    Waited,
    /// They are left out.
    LeftOut,
}

/// Where partitions begin: at what the group committed, else where their topic's start says.
///
/// # Errors
/// `Data` if a committed position lies outside the topic, `User` if the query's start does.
pub(super) fn begin(
    admin: &Arc<Admin>,
    spec: &SourceSpec,
    known: &[i32],
    places: &[Place],
    undecided: Undecided,
) -> Result<Begin> {
    let topic = |place: &Place| spec.topics.get(place.0).map_or("", |topic| &*topic.topic);
    let names: Vec<(&str, Partition)> = places.iter().map(|place| (topic(place), place.1)).collect();
    let found = match &spec.group {
        Some(group) if !names.is_empty() => admin.committed(group, &names, undecided)?,
        _ => Found::default(),
    };
    let open = |(name, _): &(&(&str, Partition), &Place)| !found.undecided.contains(*name);
    let (names, places): (Vec<_>, Vec<Place>) = names.iter().zip(places).filter(open).map(|(n, p)| (*n, *p)).unzip();
    let (names, places) = (&names[..], &places[..]);
    let key = |position: Position| ((Arc::clone(&position.topic), position.partition), position);
    let committed: HashMap<(Arc<str>, Partition), Position> = found.positions.into_iter().map(key).collect();
    let ranges = ranges(admin, names)?;
    // Times are looked up together, one request per topic that wants it.
    let mut by_time: BTreeMap<Place, i64> = BTreeMap::new();
    for (input, source) in spec.topics.iter().enumerate() {
        if let Start::At(at @ OffsetAt::Timestamp(_)) = &source.start {
            let wanted: Vec<Place> = places.iter().copied().filter(|place| place.0 == input).collect();
            let names: Vec<(&str, Partition)> = wanted.iter().map(|place| (topic(place), place.1)).collect();
            by_time.extend(wanted.into_iter().zip(admin.offsets(&names, at)?));
        }
    }
    let mut begin = Begin { places: Vec::with_capacity(places.len()), ends: BTreeMap::new() };
    for (place, name) in places.iter().zip(names) {
        let (input, partition) = *place;
        let Some(source) = spec.topics.get(input) else { continue };
        let (earliest, latest) = ranges.get(&(name.0.to_owned(), partition)).copied().unwrap_or_default();
        let holds = earliest..=latest;
        let out_of_range = |what: String, offset: i64, group: Option<String>| TopicError::OutOfRange {
            topic: name.0.to_owned(),
            partition,
            earliest,
            end: latest,
            what,
            offset,
            asked: group.is_none(),
            group,
        };
        let found = committed.get(&(Arc::clone(&source.topic), partition));
        let is_new = partition >= known.get(input).copied().unwrap_or(i32::MAX);
        let offset = match (found, &source.start) {
            (Some(position), _) if holds.contains(&position.offset) => position.offset,
            (Some(position), _) => {
                let group = spec.group.clone().unwrap_or_default();
                return Err(out_of_range(format!("group \"{group}\" committed"), position.offset, Some(group)).into());
            }
            // A partition that was added since has nothing older than the query.
            (None, _) if is_new => earliest,
            (None, Start::At(OffsetAt::Earliest)) => earliest,
            (None, Start::At(OffsetAt::Latest)) => latest,
            (None, Start::At(OffsetAt::Timestamp(_))) => by_time.get(place).copied().unwrap_or(latest).max(earliest),
            (None, Start::Offsets(offsets)) => match offsets.get(&partition) {
                None => earliest,
                Some(offset) if holds.contains(offset) => *offset,
                Some(offset) => return Err(out_of_range("the query asked for".to_owned(), *offset, None).into()),
            },
        };
        begin.places.push(Assignment { input, partition, offset, committed: found.map(|p| p.metadata.clone()) });
        begin.ends.insert(*place, latest);
    }
    Ok(begin)
}
