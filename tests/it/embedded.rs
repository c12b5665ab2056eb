//! What only the embedded broker does: locks, retention and compaction on demand, damage, full disks.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vatic::connector::embedded::{Embedded, Settings};
use vatic::connector::{Broker, Commit, Event, OffsetAt, SourceSpec};
use vatic::error::ErrorKind;
use vatic::format::RecordsBuilder;

use crate::conformance::{
    ALL, EARLIEST, drain, name, output, read_all, reading, sink, spawn, take, texts, topic, values, write,
};

fn eager() -> Settings {
    Settings { sweep_every: Duration::from_millis(5), ..Settings::default() }
}

/// Asks until it is so.
async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < Duration::from_secs(90), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_runs_in_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Embedded::open(dir.path()).unwrap();
    let topic = topic(&broker, 1, &[]).await;
    let mut child = spawn(&["hold", broker.address(), &topic, "vatic-job"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("holding")));
    let spec = || SourceSpec { group: Some("vatic-job".to_owned()), ..reading(&topic, EARLIEST, None) };
    let error = broker.source(spec()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::External);
    assert_eq!(error.message(), format!("job group \"vatic-job\" is running in process {}", child.id()));
    let error = broker.reset_group("vatic-job", &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::User);
    child.kill().unwrap(); // SIGKILL
    child.wait().unwrap();
    broker.reset_group("vatic-job", &[]).await.unwrap();
    let source = broker.source(spec()).await.unwrap();
    drop(source);
    broker.source(spec()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_of_other_processes_are_seen_soon() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Embedded::open(dir.path()).unwrap();
    let topic = topic(&broker, 1, &[]).await;
    let mut source = broker.source(reading(&topic, EARLIEST, None)).await.unwrap();
    assert!(matches!(source.next(ALL).await.unwrap(), Event::Assigned(_)));
    let child = spawn(&["write", broker.address(), &topic, "w", "200", "1"]);
    // Were a look only taken four times per second, few cuts would hold all records.
    let (mut read, mut cuts) = (BTreeMap::new(), 0);
    while read.values().map(Vec::len).sum::<usize>() < 200 {
        let Event::Cut(cut) = source.next(ALL).await.unwrap() else { panic!("a follower never ends") };
        take(&cut, &mut read);
        cuts += 1;
    }
    assert!(child.wait_with_output().unwrap().status.success());
    assert!(cuts > 10, "{cuts} cuts");
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_by_time_and_size() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Embedded::open_with(dir.path(), eager()).unwrap();
    let timed = topic(&broker, 1, &[("retention.ms", "60000")]).await;
    let sized = topic(&broker, 1, &[("retention.bytes", "100000")]).await;
    let kept = topic(&broker, 1, &[("retention.ms", "-1")]).await;
    let old = vatic::time::now() - 120_000;
    for round in 0..10 {
        let mut builder = RecordsBuilder::with_capacity(8);
        (0..10).for_each(|_| builder.push(0, if round < 5 { old } else { vatic::time::now() }, None, Some(&[7; 3000]), []));
        let records = builder.finish();
        let outputs = [&timed, &sized, &kept].map(|t| output(t, 0, records.clone()));
        write(&broker, outputs.to_vec()).await;
    }
    let earliest = async |topic: &str| broker.offsets(topic, OffsetAt::Earliest).await.unwrap()[0];
    until("old records go", async || earliest(&timed).await == 50).await;
    until("records beyond the size go", async || earliest(&sized).await == 60).await;
    assert_eq!((earliest(&kept).await, read_all(&broker, &kept).await[&0].len()), (0, 100));
    // Reading begins at what is left, and what is gone is told.
    let read = read_all(&broker, &timed).await;
    assert_eq!(read[&0].iter().map(|r| r.offset).collect::<Vec<_>>(), (50..100).collect::<Vec<_>>());
    let found = broker.offsets(&timed, OffsetAt::Timestamp(0)).await.unwrap();
    assert_eq!(found, [50]);
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_waits_for_readers_of_this_process() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Embedded::open_with(dir.path(), eager()).unwrap();
    let topic = topic(&broker, 1, &[("retention.bytes", "1")]).await;
    let big = || values((0..10).map(|i| vec![b'0' + i; 100_000]));
    // The reader gets hold of the beginning, and its budget keeps it there.
    let mut source = broker.source(SourceSpec { budget: 200_000, ..reading(&topic, EARLIEST, None) }).await.unwrap();
    for _ in 0..10 {
        write(&broker, vec![output(&topic, 0, big())]).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(broker.offsets(&topic, OffsetAt::Earliest).await.unwrap()[0] <= 20);
    let mut read = BTreeMap::new();
    while read.values().map(Vec::len).sum::<usize>() < 100 {
        if let Event::Cut(cut) = source.next(ALL).await.unwrap() {
            take(&cut, &mut read);
        }
    }
    assert!(read[&0].iter().enumerate().all(|(i, r)| r.offset == i as i64));
    write(&broker, vec![output(&topic, 0, values(["x"]))]).await;
    until("what is read goes", async || broker.offsets(&topic, OffsetAt::Earliest).await.unwrap()[0] >= 100).await;
    drop(source);
    // A group's hold is what it committed, however far it has read; without a reader retention takes it, and that is told.
    let group = name("vatic-job");
    let position =
        vatic::connector::Position { topic: topic.as_str().into(), partition: 0, offset: 0, metadata: String::new() };
    sink(&broker, Some(&group)).await.commit(Commit { positions: vec![position], ..Commit::default() }).await.unwrap();
    let spec = SourceSpec { group: Some(group), ..reading(&topic, EARLIEST, None) };
    assert_eq!(broker.source(spec).await.unwrap_err().kind(), ErrorKind::Data);
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_leaves_gaps() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Embedded::open_with(dir.path(), eager()).unwrap();
    let config = [
        ("cleanup.policy", "compact"),
        ("min.cleanable.dirty.ratio", "0"),
        ("delete.retention.ms", "0"),
        ("max.message.bytes", "9000000"),
    ];
    let topic = topic(&broker, 1, &config).await;
    let large = vec![3; 2 << 20];
    let records = |rows: &[(&str, Option<&[u8]>)]| {
        let mut builder = RecordsBuilder::with_capacity(8);
        let time = vatic::time::now() - 1000;
        rows.iter().for_each(|(k, v)| builder.push(0, time, Some(k.as_bytes()), *v, [("h", Some(&b"1"[..]))]));
        output(&topic, 0, builder.finish())
    };
    // Four batches, in one commit so that no pass comes between.
    let first = vec![
        records(&[("a", Some(b"1")), ("b", Some(b"1")), ("c", Some(b"1"))]), // 0 1 2
        records(&[("a", Some(b"2"))]),                                       // 3
        records(&[("b", None), ("d", Some(b"1"))]),                          // 4 5
        records(&[("d", Some(b"2")), ("a", Some(b"3"))]),                    // 6 7
    ];
    write(&broker, first).await;
    let read = async || {
        let read = read_all(&broker, &topic).await.remove(&0).unwrap_or_default();
        read.into_iter().map(|r| (r.offset, String::from_utf8(r.key.unwrap()).unwrap(), r.headers.len())).collect::<Vec<_>>()
    };
    let left = |rows: &[(i64, &str)]| rows.iter().map(|(o, k)| (*o, (*k).to_owned(), 1)).collect::<Vec<_>>();
    until("replaced records go", async || read().await == left(&[(2, "c"), (4, "b"), (6, "d"), (7, "a")])).await;
    // The tombstone goes with a later pass; the last record may go too, and reading still reaches the end.
    write(&broker, vec![records(&[("c", Some(b"2")), ("c", Some(b"3"))])]).await; // 8 9
    until("the tombstone goes", async || read().await == left(&[(6, "d"), (7, "a"), (9, "c")])).await;
    assert_eq!(broker.offsets(&topic, OffsetAt::Earliest).await.unwrap(), [0]);
    assert_eq!(broker.offsets(&topic, OffsetAt::Latest).await.unwrap(), [10]);
    write(&broker, vec![records(&[("e", Some(&large))])]).await; // 10, in pieces
    write(&broker, vec![records(&[("e", Some(b"small"))])]).await; // 11
    until("a large one goes", async || read().await == left(&[(6, "d"), (7, "a"), (9, "c"), (11, "e")])).await;
    // A reader that stood in a gap goes on behind it.
    let start = vatic::connector::Start::Offsets(BTreeMap::from([(0, 3)]));
    let mut source = broker.source(reading(&topic, start, Some(vec![9]))).await.unwrap();
    assert_eq!(drain(&mut source, ALL).await[&0].iter().map(|r| r.offset).collect::<Vec<_>>(), [6, 7]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_file_says_so_and_stays_whole() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { max_pages: Some(200), ..Settings::default() };
    let broker = Embedded::open_with(dir.path(), settings).unwrap();
    fill(&broker, dir.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_says_so_and_the_file_stays_whole() {
    // A small disk of our own, where the system lets us have one.
    let dir = tempfile::tempdir().unwrap();
    let mount = std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=3m", "tmpfs"]).arg(dir.path()).output();
    if !mount.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no right to mount");
        return;
    }
    let broker = Embedded::open(&dir.path().join("b")).unwrap();
    fill(&broker, &dir.path().join("b")).await;
    drop(broker);
    let unmounted = std::process::Command::new("umount").arg("-l").arg(dir.path()).status().unwrap();
    assert!(unmounted.success());
}

async fn fill(broker: &Arc<dyn Broker>, dir: &Path) {
    let topic = topic(broker, 1, &[]).await;
    let mut commits = 0;
    let error = loop {
        let commit = Commit { outputs: vec![output(&topic, 0, values([vec![commits as u8; 50_000]]))], ..Commit::default() };
        match sink(broker, None).await.commit(commit).await {
            Ok(_) => commits += 1,
            Err(error) => break error,
        }
        assert!(commits < 1000, "it is never full");
    };
    assert_eq!(error.kind(), ErrorKind::External);
    assert_eq!(
        error.message(),
        format!(
            "no space left for broker file \"{}\"; nothing of the commit was written",
            dir.canonicalize().unwrap().join("broker.db").display()
        )
    );
    assert!(error.get_hint().is_some());
    let read = read_all(broker, &topic).await;
    assert!(commits > 3 && read[&0].len() == commits);
    assert!(read[&0].iter().enumerate().all(|(i, r)| r.value.as_deref() == Some(&vec![i as u8; 50_000][..])));
}

/// Lets go of the broker and waits until its file is closed: its log is gone then.
async fn close(broker: Arc<dyn Broker>, dir: &Path) {
    drop(broker);
    until("the file is closed", async || !dir.join("broker.db-wal").exists()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_noticed_and_its_place_named() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Embedded::open(dir.path()).unwrap();
    let topic = topic(&broker, 2, &[]).await;
    for i in 0..20 {
        let text = format!("the {i}th record of this topic");
        write(&broker, vec![output(&topic, 0, values([text])), output(&topic, 1, values(["well"]))]).await;
    }
    close(broker, dir.path()).await;
    let path = dir.path().join("broker.db");
    let mut file = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    let at = bytes.windows(12).position(|w| w == b"the 13th rec").unwrap();
    file.seek(SeekFrom::Start(at as u64 + 5)).unwrap();
    file.write_all(b"8").unwrap();
    drop(file);

    let broker = Embedded::open(dir.path()).unwrap();
    let mut source = broker.source(reading(&topic, EARLIEST, Some(vec![20, 20]))).await.unwrap();
    let error = loop {
        match source.next(ALL).await {
            Ok(Event::Finished) => panic!("damage was not noticed"),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::External);
    let file = dir.path().canonicalize().unwrap().join("broker.db");
    assert_eq!(
        error.message(),
        format!(
            "broker file \"{}\" is damaged at topic \"{topic}\" partition 0 offset 13: its checksum does not match",
            file.display()
        )
    );
    assert!(error.get_hint().unwrap().contains(&format!("vatic topic delete {topic}")));
    // The other partition can still be read, and the other records of this one.
    let mut spec = reading(&topic, EARLIEST, Some(vec![13, 20]));
    spec.budget = 1 << 20;
    let read = drain(&mut broker.source(spec).await.unwrap(), ALL).await;
    assert_eq!((read[&0].len(), read[&1].len()), (13, 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_no_broker_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap().join("broker.db");
    std::fs::write(&path, "this is a text, long enough to be looked at as a database header; ".repeat(20)).unwrap();
    let error = Embedded::open(dir.path()).unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (ErrorKind::External, format!("file \"{}\" is not an embedded broker", path.display()).as_str())
    );
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let error = Embedded::open(dir.path()).unwrap_err();
    assert_eq!(
        (error.kind(), error.message()),
        (ErrorKind::External, format!("could not open broker file \"{}\"", path.display()).as_str())
    );
    let error = Embedded::open(&path.join("..").join("broker.db/x/\0")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::External);
    // A database of somebody else.
    std::fs::remove_dir(&path).unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE people (name TEXT); PRAGMA user_version = 1").unwrap();
    drop(other);
    let error = Embedded::open(dir.path()).unwrap_err();
    assert_eq!(error.message(), format!("file \"{}\" is not an embedded broker", path.display()));
    // Its pages cut off: whatever is touched first says so, and nothing panics.
    std::fs::remove_file(&path).unwrap();
    let broker = Embedded::open(dir.path()).unwrap();
    let topic = topic(&broker, 1, &[]).await;
    write(&broker, vec![output(&topic, 0, values((0..100).map(|i| vec![i; 5000])))]).await;
    close(broker, dir.path()).await;
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(30_000).unwrap();
    drop(file);
    let error = match Embedded::open(dir.path()) {
        Err(error) => error,
        Ok(broker) => match broker.source(reading(&topic, EARLIEST, Some(vec![100]))).await {
            Err(error) => error,
            Ok(mut source) => loop {
                match source.next(ALL).await {
                    Err(error) => break error,
                    Ok(Event::Finished) => panic!("damage was not noticed"),
                    Ok(_) => {}
                }
            },
        },
    };
    assert_eq!(error.kind(), ErrorKind::External);
    assert!(error.message().contains("is damaged") && error.message().contains("broker.db"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_makes_nothing_and_finds_what_others_make() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new");
    let reader = Embedded::open(&path).unwrap();
    assert_eq!((reader.topics().await.unwrap().len(), reader.topic("t").await.unwrap()), (0, None));
    assert_eq!(reader.offsets("t", OffsetAt::Latest).await.unwrap_err().message(), "no topic \"t\"");
    assert_eq!(reader.source(reading("t", EARLIEST, None)).await.unwrap_err().message(), "no topic \"t\"");
    assert!(reader.positions("g", &[]).await.unwrap().is_empty());
    assert!(!reader.reset_group("g", &[]).await.unwrap() && !reader.delete_topic("t").await.unwrap());
    assert!(!path.exists());
    let writer = Embedded::open(&path).unwrap();
    let topic = topic(&writer, 1, &[]).await;
    write(&writer, vec![output(&topic, 0, values(["x"]))]).await;
    assert_eq!(texts(&read_all(&reader, &topic).await[&0]), ["x"]);
    // A file in the way is told of before anything is written.
    std::fs::write(dir.path().join("file"), "").unwrap();
    for wrong in ["file", "file/below"] {
        assert!(Embedded::open(&dir.path().join(wrong)).is_err(), "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_broker_on_one_directory_shares_it() {
    let dir = tempfile::tempdir().unwrap();
    let one = Embedded::open(&dir.path().join("new").join("deep")).unwrap();
    let two = Embedded::open(&dir.path().join("new").join("..").join("new").join("deep")).unwrap();
    let topic = topic(&one, 1, &[]).await;
    write(&two, vec![output(&topic, 0, values(["x"]))]).await;
    assert_eq!(texts(&read_all(&one, &topic).await[&0]), ["x"]);
    assert!(one.address().ends_with("new/deep") && one.address().starts_with("embedded:"));
}
