//! What a case's job has written.   output ─► ids ─► each once

use super::lab::Lab;
use crate::connector::{Event, Limit, OffsetAt, Rows, Source, SourceSpec, Start, TopicSource};
use crate::error::{Error, Result};

/// How many bytes of outputs are read ahead.
const BUDGET: usize = 8 << 20;

/// Reads the output from its beginning to its present end, or what comes from now on.
pub(super) async fn reader(lab: &Lab, from_now: bool) -> Result<Box<dyn Source>> {
    let output = lab.output();
    let (start, ends) = match from_now {
        true => (OffsetAt::Latest, None),
        false => (OffsetAt::Earliest, Some(lab.broker().offsets(&output, OffsetAt::Latest).await?)),
    };
    let topic = TopicSource { topic: output.into(), start: Start::At(start), ends, partitions: None };
    lab.broker().source(SourceSpec { topics: vec![topic], budget: BUDGET, ..SourceSpec::default() }).await
}

/// The ids of the rows that come next; `None` at the end.
pub(super) async fn next_ids(source: &mut dyn Source) -> Result<Option<Vec<u64>>> {
    loop {
        let cut = match source.next(Limit { rows: 8_192, bytes: 1 << 20 }).await? {
            Event::Cut(cut) => cut,
            Event::Finished => return Ok(None),
            _ => continue,
        };
        let mut ids = Vec::new();
        for chunk in cut.chunks {
            let Rows::Records(records) = &chunk.rows else { continue };
            ids.extend(records.values.iter().flatten().filter_map(id_of));
        }
        if !ids.is_empty() {
            return Ok(Some(ids));
        }
    }
}

/// Fails unless the ids below `rows` are in the output, each once, and nothing else.
///
/// # Errors
/// `Internal` with the numbers; whatever the broker says.
pub(super) async fn each_once(lab: &Lab, rows: u64) -> Result<()> {
    let mut source = reader(lab, false).await?;
    let mut seen = vec![false; usize::try_from(rows).unwrap_or(0)];
    let (mut all, mut different) = (0_u64, 0_u64);
    while let Some(ids) = next_ids(source.as_mut()).await? {
        all += ids.len() as u64;
        for id in ids {
            let place = usize::try_from(id).ok().and_then(|index| seen.get_mut(index));
            different += u64::from(place.is_some_and(|seen| !std::mem::replace(seen, true)));
        }
    }
    match (all, different) == (rows, rows) {
        true => Ok(()),
        false => Err(Error::internal(format!("{rows} rows went in and {all} came out, {different} of them different"))),
    }
}

/// The id of an output row, `{"id":17,...`.
pub(super) fn id_of(value: &[u8]) -> Option<u64> {
    let digits = value.strip_prefix(b"{\"id\":")?;
    let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_read_from_the_output() {
        assert_eq!(id_of(b"{\"id\":170,\"score\":0.5}"), Some(170));
        assert_eq!(id_of(b"{\"score\":0.5}"), None);
    }
}
