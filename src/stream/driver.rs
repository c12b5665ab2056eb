//! The epoch loop of one running query.
//!
//! ```text
//! sources ─► cut ─► lanes (plan, encode) ─► pending ─► commit ─► sink
//!                     ▲ one registry view             └ one at a time; epochs go on meanwhile
//! ```
//!
//! An epoch takes what the sources have now, runs the plan over exactly that and ends. Epoch is not commit: while one commit
//! is on its way, further epochs run and what they give goes with the next. Outputs, dead letters and input positions are
//! committed together; with each position goes the epoch's record, from which a successor learns which model versions it
//! must not fall behind. Everything that waits (read ahead, in epochs, for a commit) is bounded by one budget: when commits
//! are slow the loop stops taking, the sources' read-ahead fills, and they stop too.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use futures::FutureExt;
use futures::future::select_all;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::connector::{Assignment, Chunk, Commit, Committed, Cut, Event, Limit, Membership, Position, Sink, Source};
use crate::error::{Error, Result};
use crate::format::Reason;
use crate::metrics::JobMetrics;
use crate::model::{ModelRef, Registry, Snapshot, View};
use crate::stream::epoch_context::{EpochCell, EpochContext};
use crate::stream::lane::{Lane, LaneOutput};
use crate::stream::scan::offset_of;
use crate::time::{self, Millis};

/// A running query, ready to be driven.
pub struct Driver {
    /// Its instances; every chunk goes to lane `partition % lanes`.
    pub lanes: Vec<Lane>,
    /// Its sources with the names of their inputs. The inputs of the plan are numbered through all sources.
    pub inputs: Vec<Input>,
    /// Where it commits; `None` for a follower.
    pub sink: Option<Box<dyn Sink>>,
    /// Where a follower's rows go.
    pub follower: Option<mpsc::Sender<RecordBatch>>,
    /// The registry, if the query scores.
    pub registry: Option<Arc<Registry>>,
    /// What the operators read the epoch from.
    pub cell: Arc<EpochCell>,
    /// Its counters.
    pub metrics: Arc<JobMetrics>,
    /// The models that the query must have, if in the versions that earlier epochs used; others give NULL where they are missing.
    pub needs: BTreeSet<String>,
    /// The query's fingerprint, kept in the epoch records.
    pub fingerprint: String,
    /// How much one epoch takes.
    pub limit: Limit,
    /// How many bytes of outputs may wait for a commit.
    pub pending_bytes: usize,
    /// Turns true when the query shall end after the present epoch.
    pub stop: watch::Receiver<bool>,
    /// Told of assignments, warnings and epochs.
    pub observer: Arc<dyn Observer>,
}

/// One source of a query.
pub struct Input {
    /// The source.
    pub source: Box<dyn Source>,
    /// The names under which positions are committed, by the source's own index.
    pub topics: Vec<Arc<str>>,
    /// The leaves of the plan that read each topic, by the source's own index.
    pub feeds: Vec<Vec<usize>>,
    /// What was committed with its position, for a source that cannot ask a broker for it.
    pub committed: Option<String>,
    /// Whether it has reached its end.
    pub finished: bool,
    /// Which topics begin where they happened to end when the query was first started, by the source's own index. That place is
    /// committed at once, or whoever starts again would begin at a later end.
    pub anchored: Vec<bool>,
    /// What decides whether this process reads what its job's processes cannot share.
    pub lease: Option<Lease>,
}

/// A partition whose owner, among a job's processes, reads files and generators.
pub struct Lease {
    /// Its topic, by the source's own index.
    pub topic: usize,
    /// Turns true when it is ours.
    pub gate: watch::Sender<bool>,
}

impl Lease {
    /// Moved with every position that it guards, so that a broker refuses whoever has lost it.
    fn position(&self, name: &Arc<str>) -> Position {
        Position { topic: Arc::clone(name), partition: 0, offset: 0, metadata: String::new() }
    }
}

/// Who wants to know what a query does.
pub trait Observer: Send + Sync {
    /// The query reads these partitions from now on; `topic` by the assignment's input.
    fn assigned(&self, _topics: &[Arc<str>], _assignments: &[Assignment]) {}
    /// The query reads nothing until something is there.
    fn waiting(&self, _what: &str) {}
    /// An earlier run of the job was of another query.
    fn changed_query(&self) {}
    /// Records were at fault; `first` says where and what.
    fn bad_records(&self, _count: u64, _first: &str) {}
    /// An epoch has ended.
    fn epoch(&self, _report: &EpochReport<'_>) {}
}

/// Facts about one epoch.
#[derive(Debug)]
pub struct EpochReport<'a> {
    /// When it ended.
    pub ended: Instant,
    /// Rows read.
    pub rows_in: u64,
    /// Versions used, by model name.
    pub models: &'a BTreeMap<String, u64>,
}

/// How a query ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Every input reached its end, and everything is committed.
    Finished,
    /// It was told to stop; everything it took is committed.
    Stopped,
}

/// What is committed beside each position: enough to run the epoch again, and to never fall behind its models.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// The first offset of the partition in the last epoch of the commit.
    pub from: i64,
    /// The epoch's time in milliseconds since the Unix epoch.
    pub time: Millis,
    /// The versions used, by model name, of this and earlier epochs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub models: BTreeMap<String, u64>,
    /// The query's fingerprint.
    #[serde(default)]
    pub query: String,
}

/// Room for the models of an epoch record: what stands beside a position has at most 4,096 bytes.
const MODELS_BYTES: usize = 3 << 10;

/// The versions to write down, if there is room for all of them; else the higher ones, for a low version is soon passed anyway.
fn written_down(versions: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    const PUNCTUATION: usize = 4;
    let size = |name: &str, version: u64| name.len() + PUNCTUATION + version.checked_ilog10().unwrap_or(0) as usize + 1;
    if versions.iter().map(|(name, version)| size(name, *version)).sum::<usize>() <= MODELS_BYTES {
        return versions.clone();
    }
    let mut highest: Vec<_> = versions.iter().collect();
    highest.sort_by_key(|(_, version)| std::cmp::Reverse(**version));
    let mut room = MODELS_BYTES;
    let fits = highest.into_iter().filter(|(name, version)| {
        let size = size(name, **version);
        let fits = size <= room;
        room -= if fits { size } else { 0 };
        fits
    });
    fits.map(|(name, version)| (name.clone(), *version)).collect()
}

/// What one output needs beside its records: arrays, buffers and their counts. Small epochs have little else.
const OUTPUT_BYTES: usize = 1 << 10;

/// What has been computed and not been committed.
#[derive(Default)]
struct Pending {
    commit: Commit,
    positions: BTreeMap<(usize, usize, i32), Position>,
    bytes: usize,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }
    fn take(&mut self) -> Commit {
        let mut commit = std::mem::take(&mut self.commit);
        commit.positions = std::mem::take(&mut self.positions).into_values().collect();
        self.bytes = 0;
        commit
    }
}

type InFlight = JoinHandle<(Box<dyn Sink>, Result<Committed>)>;

/// The loop's own state.
#[derive(Default)]
struct Run {
    pending: Pending,
    in_flight: Option<InFlight>,
    floors: BTreeMap<String, u64>,
    /// This process's place in the group, as the last thing heard of it was.
    membership: Option<Membership>,
    /// Places that are committed before anything was read of them.
    anchors: BTreeMap<(usize, i32), (i64, i64)>,
    /// The lease has come.
    leased: bool,
    /// The source that is asked first: the one after that which had something last, so that a busy one does not hide others.
    turn: usize,
    /// Whether it was said that the query changed.
    told_changed: bool,
    /// Versions of earlier epochs may be missing: no record is taken before they are there.
    unready: bool,
    /// The models of which it was said that they are missing.
    told_absent: BTreeSet<String>,
}

impl Driver {
    /// Runs until every input has ended, or until told to stop.
    ///
    /// # Errors
    /// Whatever ends the query: an error of a source or sink, a record at fault where the table says `fail`, a follower that
    /// hung up is none ([`End::Stopped`]).
    pub async fn run(mut self) -> Result<End> {
        let mut run = Run::default();
        self.metrics.begin_again();
        let end = AssertUnwindSafe(self.drive(&mut run)).catch_unwind().await;
        // A commit on its way ends before the inputs are let go: whoever takes over must find the positions that it commits.
        // How it ends is the successor's business; what ended this run comes first.
        if run.in_flight.is_some() {
            let made = matches!(wait(&mut run.in_flight).await, Ok((_, Ok(_))));
            self.metrics.commit_ends(made);
        }
        end.unwrap_or_else(|panic| resume_unwind(panic))
    }

    async fn drive(&mut self, run: &mut Run) -> Result<End> {
        loop {
            let finished = self.inputs.iter().all(|input| input.finished);
            if finished && run.in_flight.is_none() && run.pending.is_empty() {
                return Ok(End::Finished);
            }
            let room = run.pending.bytes < self.pending_bytes;
            let limit = if run.unready { Limit::NONE } else { self.limit };
            tokio::select! {
                biased;
                () = stopped(&mut self.stop) => {
                    self.flush(run).await?;
                    return Ok(End::Stopped);
                }
                done = wait(&mut run.in_flight), if run.in_flight.is_some() => self.committed(run, done)?,
                () = versions(&self.registry, &run.floors, &self.needs, &mut run.told_absent, &*self.observer),
                    if run.unready => run.unready = false,
                next = next_event(&mut self.inputs, run.turn, limit), if room && !finished => {
                    let (input, event) = next?;
                    run.turn = input + 1;
                    if self.handle(run, input, event).await? == Some(End::Stopped) {
                        return Ok(End::Stopped);
                    }
                }
            }
            self.start_commit(run);
        }
    }

    async fn handle(&mut self, run: &mut Run, input: usize, event: Event) -> Result<Option<End>> {
        match event {
            Event::Cut(cut) if cut.chunks.is_empty() => self.joined(run, input, cut.membership),
            Event::Cut(cut) => return self.epoch(run, input, cut).await,
            Event::Finished => self.inputs[input].finished = true,
            Event::Assigned(mut assignments) => {
                for assignment in &mut assignments {
                    assignment.committed = assignment.committed.take().or_else(|| self.inputs[input].committed.clone());
                }
                let here = &self.inputs[input];
                let lease = here.lease.as_ref().map(|lease| lease.topic);
                run.leased |= assignments.extract_if(.., |a| Some(a.input) == lease).count() > 0;
                let anchored = |a: &&Assignment| a.committed.is_none() && here.anchored.get(a.input) == Some(&true);
                let anchors = assignments.iter().filter(anchored);
                run.anchors.extend(anchors.map(|a| ((a.input, a.partition), (a.offset, a.offset))));
                self.assigned(run, input, &assignments);
            }
            Event::Revoked(places) => {
                self.flush(run).await?;
                self.inputs[input].source.release().await?;
                if self.inputs[input].lease.as_ref().is_some_and(|lease| places.contains(&(lease.topic, 0))) {
                    let what = "another process of the job takes over its files and generators";
                    return Err(Error::external(what).transient());
                }
                places.into_iter().for_each(|(topic, partition)| self.metrics.let_go((input, topic, partition)));
            }
            // What is pending holds rows of partitions that another process works on by now: none of it may be written.
            Event::Lost(_) => {
                let what = "this process and its group lost sight of each other (it stood still, or the broker did not answer); \
                            its partitions may be another process's by now";
                return Err(Error::external(what).hint("Start it again: it goes on from what was committed.").transient());
            }
        }
        Ok(None)
    }

    /// The source has its place in the group: what was just assigned can be committed.
    fn joined(&self, run: &mut Run, input: usize, membership: Option<Membership>) {
        run.membership.clone_from(&membership);
        let anchors = std::mem::take(&mut run.anchors);
        if !anchors.is_empty() && self.sink.is_some() || run.in_flight.is_some() {
            self.positions(run, input, anchors, time::now(), membership);
        }
        if let Some(lease) = self.inputs[input].lease.as_ref().filter(|_| run.leased) {
            lease.gate.send_replace(true);
        }
    }

    /// One epoch: everything in `cut` through all lanes.
    async fn epoch(&mut self, run: &mut Run, input: usize, cut: Cut) -> Result<Option<End>> {
        let began = Instant::now();
        let now = time::now();
        let snapshot = self.registry.as_ref().map_or_else(Snapshot::empty, |r| r.snapshot());
        let view = Arc::new(View::new(snapshot, run.floors.clone()));
        self.cell.set(EpochContext { time: now, models: Arc::clone(&view) });

        let mut shares: Vec<Vec<_>> = (0..self.lanes.len()).map(|_| Vec::new()).collect();
        let (mut rows_in, mut ranges) = (0_u64, std::mem::take(&mut run.anchors));
        for chunk in cut.chunks {
            rows_in += chunk.rows.len() as u64;
            let from = match offset_of(&chunk.rows, 0) {
                -1 => chunk.next_offset - i64::try_from(chunk.rows.len()).unwrap_or(0),
                offset => offset,
            };
            let range = ranges.entry((chunk.input, chunk.partition)).or_insert((from, chunk.next_offset));
            range.1 = chunk.next_offset;
            if let Some(end) = chunk.end {
                let lag = u64::try_from(end - chunk.next_offset).unwrap_or(0);
                self.metrics.lag((input, chunk.input, chunk.partition), lag);
            }
            let lane = usize::try_from(chunk.partition).unwrap_or(0) % shares.len();
            for &leaf in &self.inputs[input].feeds[chunk.input] {
                shares[lane].push(Chunk { input: leaf, ..chunk.clone() });
            }
        }
        let outputs = self.run_lanes(shares, rows_in, now).await?;
        let used: BTreeMap<String, u64> = view.used().into_iter().collect();
        self.metrics.models(&used);
        // A pinned version needs no floor.
        run.floors.extend(used.into_iter().filter(|(name, _)| !name.contains(':')));

        let mut rows_out = 0;
        for lane in outputs {
            rows_out += lane.rows_out;
            self.count_bad(&lane);
            if let Some(follower) = &self.follower {
                for batch in lane.batches {
                    if follower.send(batch).await.is_err() {
                        return Ok(Some(End::Stopped));
                    }
                }
            }
            run.pending.bytes += lane.outputs.iter().map(|o| o.records.bytes() + OUTPUT_BYTES).sum::<usize>();
            run.pending.commit.outputs.extend(lane.outputs);
        }
        self.metrics.epoch(rows_in, rows_out, began.elapsed());
        if self.sink.is_some() || run.in_flight.is_some() {
            self.positions(run, input, ranges, now, cut.membership);
        }
        self.observer.epoch(&EpochReport { ended: Instant::now(), rows_in, models: &run.floors });
        Ok(None)
    }

    fn positions(
        &self,
        run: &mut Run,
        input: usize,
        ranges: BTreeMap<(usize, i32), (i64, i64)>,
        now: Millis,
        membership: Option<Membership>,
    ) {
        let models = written_down(&run.floors);
        for ((topic, partition), (from, offset)) in ranges {
            let record = EpochRecord { from, time: now, models: models.clone(), query: self.fingerprint.clone() };
            let metadata = serde_json::to_string(&record).unwrap_or_default();
            let position = Position { topic: Arc::clone(&self.inputs[input].topics[topic]), partition, offset, metadata };
            run.pending.positions.insert((input, topic, partition), position);
        }
        let leases = self.inputs.iter().enumerate().filter_map(|(at, input)| Some((at, input, input.lease.as_ref()?)));
        for (at, other, lease) in leases.filter(|(at, ..)| *at != input) {
            run.pending.positions.insert((at, lease.topic, 0), lease.position(&other.topics[lease.topic]));
            run.pending.commit.membership.clone_from(&run.membership);
        }
        if membership.is_some() {
            run.membership.clone_from(&membership);
            run.pending.commit.membership = membership;
        }
    }

    /// Runs each lane over its share: beside each other if that is worth a thread, else one after the other.
    async fn run_lanes(&mut self, shares: Vec<Vec<Chunk>>, rows: u64, now: Millis) -> Result<Vec<LaneOutput>> {
        const WORTH_A_THREAD: u64 = 1024;
        let busy = shares.iter().filter(|share| !share.is_empty()).count();
        let mut outputs = Vec::with_capacity(busy);
        if busy < 2 || rows < WORTH_A_THREAD {
            for (lane, share) in self.lanes.iter_mut().zip(shares) {
                if !share.is_empty() {
                    outputs.push(lane.run(share, now).await?);
                }
            }
            return Ok(outputs);
        }
        let running: Vec<_> = std::mem::take(&mut self.lanes)
            .into_iter()
            .zip(shares)
            .map(|(mut lane, share)| {
                tokio::spawn(async move {
                    let output = if share.is_empty() { Ok(LaneOutput::default()) } else { lane.run(share, now).await };
                    (lane, output)
                })
            })
            .collect();
        let mut failed = None;
        for lane in running {
            let (lane, output) = lane.await.map_err(|e| Error::internal(format!("a lane ended early: {e}")))?;
            self.lanes.push(lane);
            match output {
                Ok(output) => outputs.push(output),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(outputs), Err)
    }

    fn count_bad(&self, lane: &LaneOutput) {
        let total: u64 = lane.bad.iter().sum();
        let Some(first) = lane.first_bad.as_ref().filter(|_| total > 0) else { return };
        for (reason, count) in Reason::ALL.iter().zip(lane.bad).filter(|(_, count)| *count > 0) {
            self.metrics.bad(reason.as_str(), count);
        }
        self.metrics.first_bad(first);
        self.metrics.dead_letters(lane.dead_letters);
        self.observer.bad_records(total, first);
    }

    /// New partitions: the versions that earlier epochs used must be loaded before the first row.
    fn assigned(&self, run: &mut Run, input: usize, assignments: &[Assignment]) {
        self.observer.assigned(&self.inputs[input].topics, assignments);
        let records = assignments.iter().filter_map(|a| a.committed.as_deref());
        for record in records.filter_map(|text| serde_json::from_str::<EpochRecord>(text).ok()) {
            let changed = !record.query.is_empty() && record.query != self.fingerprint;
            if changed && !std::mem::replace(&mut run.told_changed, true) {
                self.observer.changed_query();
            }
            for (name, version) in record.models {
                let floor = run.floors.entry(name).or_default();
                *floor = version.max(*floor);
            }
        }
        run.unready = self.registry.is_some() && !run.floors.is_empty();
    }

    fn start_commit(&mut self, run: &mut Run) {
        if run.in_flight.is_some() || run.pending.is_empty() {
            return;
        }
        if let Some(mut sink) = self.sink.take() {
            let commit = run.pending.take();
            self.metrics.commit_begins();
            run.in_flight = Some(tokio::spawn(async move {
                let result = sink.commit(commit).await;
                (sink, result)
            }));
        }
    }

    fn committed(&mut self, run: &mut Run, done: Result<(Box<dyn Sink>, Result<Committed>)>) -> Result<()> {
        run.in_flight = None;
        self.metrics.commit_ends(matches!(done, Ok((_, Ok(_)))));
        let (sink, result) = done?;
        result?;
        self.sink = Some(sink);
        Ok(())
    }

    /// Commits everything that is computed, and waits for it.
    async fn flush(&mut self, run: &mut Run) -> Result<()> {
        loop {
            if run.in_flight.is_some() {
                let done = wait(&mut run.in_flight).await;
                self.committed(run, done)?;
            }
            if run.pending.is_empty() {
                return Ok(());
            }
            self.start_commit(run);
        }
    }
}

/// How often a model that is waited for is asked for again, and how long a change of the registry settles before.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(50);

/// Waits until the versions that earlier epochs used are there. Cancel-safe.
async fn versions(
    registry: &Option<Arc<Registry>>,
    floors: &BTreeMap<String, u64>,
    needs: &BTreeSet<String>,
    told: &mut BTreeSet<String>,
    observer: &dyn Observer,
) {
    let Some(registry) = registry else { return };
    for (name, floor) in floors {
        let Ok(reference) = ModelRef::parse(name) else { continue };
        let mut changes = registry.watch();
        // A name from a column gives NULL where there is no such version; one that the query must have is waited for.
        while let Err(absent) = registry.ready_from(&reference, *floor).await.model().map(|_| ()) {
            if !needs.contains(name) {
                break;
            }
            if told.insert(name.clone()) {
                observer
                    .waiting(&format!("version {floor} of model \"{name}\" was used before and is not there now: {absent}"));
            }
            changes.borrow_and_update();
            tokio::select! {
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                _ = changes.changed() => tokio::time::sleep(PAUSE).await,
            }
        }
        told.remove(name);
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        // Nobody is left who could say stop.
        std::future::pending::<()>().await;
    }
}

async fn wait(in_flight: &mut Option<InFlight>) -> Result<(Box<dyn Sink>, Result<Committed>)> {
    match in_flight {
        Some(handle) => handle.await.map_err(|e| Error::internal(format!("a commit ended early: {e}"))),
        None => std::future::pending().await,
    }
}

/// The next event of any source that has not ended; of several that have one, the first from `turn` on.
async fn next_event(inputs: &mut [Input], turn: usize, limit: Limit) -> Result<(usize, Event)> {
    let count = inputs.len().max(1);
    let mut open: Vec<_> =
        inputs.iter_mut().enumerate().filter(|(_, input)| !input.finished || input.lease.is_some()).collect();
    open.sort_by_key(|(index, _)| (index + count - turn % count) % count);
    let waiting: Vec<_> =
        open.into_iter().map(|(index, input)| Box::pin(async move { (index, input.source.next(limit).await) })).collect();
    if waiting.is_empty() {
        return std::future::pending().await;
    }
    let ((index, event), _, _) = select_all(waiting).await;
    Ok((index, event?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_record_fits_beside_its_position() {
        let few = BTreeMap::from([("fraud".to_owned(), 8), ("churn".to_owned(), 1)]);
        assert_eq!(written_down(&few), few);
        let many: BTreeMap<String, u64> = (0..5_000).map(|n| (format!("model-of-customer-{n}"), n)).collect();
        let models = written_down(&many);
        assert_eq!(models.get("model-of-customer-4999"), Some(&4999));
        let record = EpochRecord { from: i64::MAX, time: i64::MAX, models, query: "0123456789ab".to_owned() };
        let text = serde_json::to_string(&record).unwrap();
        assert!((3_000..=4_096).contains(&text.len()), "{}", text.len());
    }
}
