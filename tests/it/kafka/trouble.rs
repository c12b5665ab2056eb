//! Each row comes out once, whatever is killed, and while versions of its model change.

use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::cluster::{self, Cluster};
use super::trial::{Random, Trial, number};
use crate::harness::Running;

/// Longer than the session of a trial's processes.
const TAKEN_FOR_DEAD: Duration = Duration::from_millis(2_500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_row_comes_out_once_whatever_happens_to_its_processes() {
    let Some(cluster) = cluster::shared() else { return };
    let trial = Trial::new(cluster).await;
    storm(cluster, trial, "processes", number("VATIC_KILLS", 6)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_least_once_nothing_is_lost_whatever_happens_to_its_processes() {
    let Some(cluster) = cluster::shared() else { return };
    let mut trial = Trial::new(cluster).await;
    trial.once = false;
    trial.job(&trial.target, "job.sql", "SET delivery = 'at_least_once';");
    storm(cluster, trial, "processes, at least once", number("VATIC_KILLS", 6).div_ceil(2)).await;
}

/// Two processes of a job, `kills` times one of them is killed, and more happens beside that.
async fn storm(cluster: &Cluster, mut trial: Trial, what: &str, kills: u64) {
    let mut random = Random::new(what);
    trial.allowed.store(2_000, Ordering::Relaxed);
    trial.produce();
    let mut jobs = vec![trial.run(), trial.run()];
    for job in &mut jobs {
        job.says("reads");
    }
    for round in 0..kills {
        trial.allow(2_000);
        let swap = trial.models.publish_in(random.millis(1_500));
        // Now and then one is killed before it has done anything.
        if random.below(4) > 0 {
            trial.goes_on(&jobs).await;
        }
        tokio::time::sleep(random.millis(700)).await;
        let which = usize::try_from(random.below(2)).unwrap();
        let other = 1 - which;
        // The first rounds show each kind of further trouble; then it is chance.
        let mut stopping = None;
        match if round < 4 { round } else { random.below(8) } {
            0 => {
                // Its successor is there before it has gone.
                let new = trial.run();
                jobs[other].signal(Signal::SIGTERM);
                let old = std::mem::replace(&mut jobs[other], new);
                stopping = Some(tokio::task::spawn_blocking(move || old.end()));
                tokio::time::sleep(random.millis(300)).await;
                kill(&trial, &mut random, &mut jobs[which]);
            }
            1 => {
                // Taken for dead, it wakes up again with a commit in its hands.
                jobs[other].signal(Signal::SIGSTOP);
                tokio::time::sleep(TAKEN_FOR_DEAD + random.millis(1_000)).await;
                kill(&trial, &mut random, &mut jobs[which]);
                tokio::time::sleep(random.millis(1_500)).await;
                jobs[other].signal(Signal::SIGCONT);
            }
            2 => {
                kill(&trial, &mut random, &mut jobs[other]);
                kill(&trial, &mut random, &mut jobs[which]);
            }
            _ => kill(&trial, &mut random, &mut jobs[which]),
        }
        if let Some(ended) = stopping {
            let ended = ended.await.unwrap();
            assert_eq!(ended.code, 143, "{ended:#?}");
        }
        swap.await.unwrap();
        if round % 10 == 9 {
            println!("{what}: {} of {kills} kills", round + 1);
        }
    }
    trial.uses_newest(&jobs).await;
    trial.check(&jobs).await;
    for job in jobs {
        let ended = job.stop(Signal::SIGTERM);
        assert_eq!(ended.code, 143, "{ended:#?}");
    }
    if !trial.once {
        return;
    }
    // Nothing is left open, neither by those that were killed nor by those that were stopped.
    let table = cluster.tool("org.apache.kafka.tools.TransactionsCommand", &["list"]);
    let ours: Vec<&str> = table.lines().filter(|line| line.starts_with(&format!("vatic-{}-", trial.target))).collect();
    let is_open = |line: &&str| line.contains("Ongoing") || line.contains("Prepare");
    assert!(!ours.is_empty() && !ours.iter().any(is_open), "{table}");
}

/// kill -9 and another one in its place, which may meet trouble of its own.
fn kill(trial: &Trial, random: &mut Random, job: &mut Running) {
    job.signal(Signal::SIGKILL);
    let new = if random.below(3) == 0 { trial.run_badly(random) } else { trial.run() };
    let ended = std::mem::replace(job, new).end();
    assert_eq!(ended.code, -9, "it ended by itself: {ended:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_dies_and_comes_back_costs_nothing() {
    if !cluster::wanted() {
        return;
    }
    let mut cluster = tokio::task::spawn_blocking(|| Cluster::start(1)).await.unwrap();
    let mut random = Random::new("brokers");
    let mut trial = Trial::new(&cluster).await;
    // Small epochs, so that there is something to interrupt.
    trial.job(&trial.target, "job.sql", "SET epoch.max_rows = 50;");
    trial.write(1_000).await;
    let mut jobs = vec![trial.run(), trial.run()];
    jobs.iter_mut().for_each(|job| job.says("reads"));
    let kills = number("VATIC_BROKER_KILLS", 2);
    for round in 0..kills {
        // Input while the broker lives: a producer of ours would be in trouble too.
        trial.write(3_000).await;
        let swap = trial.models.publish_in(random.millis(3_000));
        tokio::time::sleep(random.millis(700)).await;
        let broker = usize::try_from(random.below(cluster.count() as u64)).unwrap();
        if random.below(3) == 0 {
            // It takes questions and does not answer any more.
            cluster.signal(broker, Signal::SIGSTOP);
            tokio::time::sleep(random.millis(2_000)).await;
        }
        cluster.kill(broker);
        tokio::time::sleep(random.millis(4_000)).await;
        cluster.run(broker);
        cluster = tokio::task::spawn_blocking(move || {
            cluster.wait();
            cluster
        })
        .await
        .unwrap();
        swap.await.unwrap();
        // Now and then the next blow comes while it still gets up.
        if random.below(4) > 0 {
            trial.is_done(&jobs).await;
        }
        if round % 10 == 9 {
            println!("brokers: {} of {kills} kills", round + 1);
        }
    }
    // Versions are still heard of.
    trial.models.publish().await;
    trial.uses_newest(&jobs).await;
    trial.check(&jobs).await;
    // Who is told to stop does, also while there is no broker to say goodbye to.
    cluster.kill(0);
    jobs.iter().for_each(|job| job.signal(Signal::SIGTERM));
    for job in jobs {
        let ended = job.end();
        assert_eq!(ended.code, 143, "{ended:#?}");
    }
}
