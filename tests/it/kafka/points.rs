//! Jobs that die, or get no answer, before and after every step of a commit.   `VATIC_FAIL_POINT` ─► job ─► job again ─► verdict
//!
//! Each point has a job of its own; all of them read the same input and write to the same topic, a few at a time, while versions
//! of their model are published. Debug builds have the points (`connector/kafka/failpoint.rs`), a release has not.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use vatic::connector::kafka::STEPS;

use super::cluster;
use super::start;
use super::trial::Trial;
use crate::harness::{Ended, Running};

/// So many jobs at a time: most of the time they wait for the session of a dead one.
const AT_ONCE: usize = 5;
/// The shortest session that brokers allow.
const QUICKEST: [&str; 4] = ["-X", "session.timeout.ms=1000", "-X", "heartbeat.interval.ms=200"];
const ROWS: u64 = 1_600;

/// A job and where it fails.
struct Case {
    job: String,
    /// As `VATIC_FAIL_POINT` takes it; it fails for the last time at the last point.
    points: String,
    at_least_once: bool,
}

impl Case {
    fn dies(&self) -> bool {
        self.points.ends_with(":die")
    }
}

fn cases() -> Vec<Case> {
    let mut all: Vec<(String, bool)> = Vec::new();
    let sides = |step: &str, number: u32| {
        let of = |side: &'static str| ["die", "error"].map(|end| format!("{step}:{side}:{number}:{end}"));
        ["before", "after"].into_iter().flat_map(of).collect::<Vec<_>>()
    };
    // The second commit: the first has left something to go back to.
    for step in ["begin", "write", "positions", "settle", "commit"] {
        all.extend(sides(step, 2).into_iter().map(|points| (points, false)));
    }
    // Trouble within trouble: the abort of a commit that failed, the sink that is opened after it.
    all.extend(sides("abort", 1).into_iter().map(|points| (format!("settle:before:2:error,{points}"), false)));
    all.extend(sides("open", 2).into_iter().map(|points| (format!("commit:after:2:error,{points}"), false)));
    for step in ["write", "settle", "positions"] {
        all.extend(sides(step, 2).into_iter().map(|points| (points, true)));
    }
    let case = |(number, (points, at_least_once))| Case { job: format!("point-{number}"), points, at_least_once };
    (0..).zip(all).map(case).collect()
}

#[test]
fn every_step_of_a_commit_is_tried() {
    let cases = cases();
    for step in STEPS {
        for side in ["before", "after"] {
            for end in ["die", "error"] {
                let point = format!("{step}:{side}:");
                let tried = |case: &Case| case.points.rsplit(',').any(|p| p.starts_with(&point) && p.ends_with(end));
                assert!(cases.iter().any(tried), "{point}{end}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_fails_in_a_commit_each_row_comes_out_once() {
    let Some(cluster) = cluster::shared() else { return };
    let trial = Trial::new(cluster).await;
    trial.write(ROWS).await;
    let (trial, cases, room) = (Arc::new(trial), cases(), Arc::new(Semaphore::new(AT_ONCE)));
    let mut running = JoinSet::new();
    for case in cases {
        let (trial, room) = (Arc::clone(&trial), Arc::clone(&room));
        running.spawn(async move {
            let _held = room.acquire().await.unwrap();
            let said = try_out(&trial, &case).await;
            (case, said)
        });
    }
    let mut done = Vec::new();
    while let Some(tried) = running.join_next().await {
        done.push(tried.unwrap());
    }
    let name = |case: &Case| format!("{}-{}", trial.target, case.job);
    let names: Vec<(String, bool)> = done.iter().map(|(case, _)| (name(case), !case.at_least_once)).collect();
    let jobs: Vec<(&str, bool)> = names.iter().map(|(job, once)| (job.as_str(), *once)).collect();
    let said: Vec<String> = done.iter().map(|(case, said)| format!("{} {}:\n{said}", case.job, case.points)).collect();
    trial.judge(&jobs, &said.join("\n")).await;
}

/// Runs a job into its point, and again if it died there; what it said.
async fn try_out(trial: &Arc<Trial>, case: &Case) -> String {
    let (job, file) = (format!("{}-{}", trial.target, case.job), format!("{}.sql", case.job));
    let delivery = if case.at_least_once { "SET delivery = 'at_least_once';" } else { "" };
    // Many small epochs, so that there are several commits.
    trial.job(&job, &file, &format!("SET epoch.max_rows = 50; {delivery}"));
    let first = ended(command(trial, &file, Some(&case.points))).await;
    for point in case.points.split(',') {
        let place = point.rsplitn(3, ':').last().unwrap();
        assert!(first.err.contains(&format!("fail point {place} is reached")), "{point}: {first:#?}");
    }
    trial.models.publish().await;
    if !case.dies() {
        assert_eq!(first.code, 0, "{}: {first:#?}", case.points);
        return first.err;
    }
    assert_eq!(first.code, -6, "{}: {first:#?}", case.points);
    let second = ended(command(trial, &file, None)).await;
    assert_eq!(second.code, 0, "{}: {second:#?}", case.points);
    format!("{}\n{}", first.err, second.err)
}

fn command(trial: &Trial, file: &str, points: Option<&str>) -> Running {
    let args = [&QUICKEST[..], &["run", file, "--until-end"]].concat();
    match points {
        None => start(&trial.place, &trial.address, &args),
        Some(points) => {
            let mut command = trial.place.command(&[&["--broker", &trial.address], &args[..]].concat());
            Running::spawn(command.env("VATIC_FAIL_POINT", points))
        }
    }
}

async fn ended(running: Running) -> Ended {
    tokio::task::spawn_blocking(move || running.end()).await.unwrap()
}
