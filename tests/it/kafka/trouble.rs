//! Each row comes out once, whatever is killed.

use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::cluster::{self, Cluster};
use super::trial::{Random, Trial, number};
use crate::conformance::{output, values, write};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_row_comes_out_once_whatever_happens_to_its_processes() {
    let Some(cluster) = cluster::shared() else { return };
    let mut random = Random::new("processes");
    let mut trial = Trial::new(cluster).await;
    trial.produce();
    let mut jobs = vec![trial.run(), trial.run()];
    for job in &mut jobs {
        job.says("reads");
    }
    for round in 0..number("VATIC_KILLS", 6) {
        trial.goes_on(&jobs).await;
        tokio::time::sleep(Duration::from_millis(random.below(700))).await;
        let which = usize::try_from(random.below(2)).unwrap();
        // The first rounds show each kind; then it is chance.
        match if round < 3 { round } else { random.below(3) } {
            0 => jobs[which].signal(Signal::SIGKILL),
            1 => jobs[which].signal(Signal::SIGTERM),
            _ => {
                // Taken for dead, it wakes up again with a commit in its hands.
                jobs[which].signal(Signal::SIGSTOP);
                tokio::time::sleep(Duration::from_millis(3_500)).await;
                jobs[which].signal(Signal::SIGCONT);
                continue;
            }
        }
        jobs[which] = trial.run();
    }
    trial.check(&jobs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_dies_and_comes_back_costs_nothing() {
    if !cluster::wanted() {
        return;
    }
    let mut cluster = tokio::task::spawn_blocking(|| Cluster::start(1)).await.unwrap();
    let mut random = Random::new("brokers");
    let mut trial = Trial::new(&cluster).await;
    // All of the input first: a producer of ours would be in trouble too.
    for block in 0..40_u64 {
        let outputs = (0..8_u64).map(|partition| {
            let ids = (block * 800..(block + 1) * 800).filter(|id| id % 8 == partition);
            let text = |id| if id % 37 == 5 { format!("poison {id}") } else { format!("{{\"id\":{id}}}") };
            output(&trial.input, i32::try_from(partition).unwrap(), values(ids.map(text)))
        });
        write(&trial.broker, outputs.collect()).await;
    }
    trial.produced.store(40 * 800, Ordering::Relaxed);
    trial.producer = Some(tokio::spawn(async {}));
    // Small epochs, so that there is something to interrupt.
    let file = std::fs::read_to_string(trial.place.path("job.sql")).unwrap();
    trial.place.file("job.sql", format!("SET epoch.max_rows = 50;\n{file}"));
    let mut job = trial.run();
    job.says("reads");
    for _ in 0..number("VATIC_BROKER_KILLS", 2) {
        tokio::time::sleep(Duration::from_millis(random.below(500))).await;
        cluster.kill(0);
        tokio::time::sleep(Duration::from_millis(random.below(2_000))).await;
        cluster.run(0);
        cluster = tokio::task::spawn_blocking(move || {
            cluster.wait();
            cluster
        })
        .await
        .unwrap();
    }
    trial.check(std::slice::from_ref(&job)).await;
    job.signal(Signal::SIGTERM);
    assert_eq!(job.end().code, 143);
}
