//! The writer's own rules, without a broker.

use super::*;
use crate::format::RecordsBuilder;

#[tokio::test]
async fn a_writer_that_hangs_is_given_up() {
    let (work, _never_answered) = mpsc::channel();
    let patience = Duration::from_millis(50);
    let mut sink =
        KafkaSink { work, failed: false, address: "a:1".to_owned(), patience, thread: None, to: Leavers::default() };
    let error = sink.commit(Commit::default()).await.unwrap_err();
    assert_eq!(error.message(), "a commit to Kafka at \"a:1\" failed: no answer within 50ms");
    assert!(error.is_transient());
    assert_eq!(sink.commit(Commit::default()).await.unwrap_err().message(), "the sink has failed before");
}

#[test]
fn records_are_measured_as_kafka_does() {
    let mut builder = RecordsBuilder::with_capacity(3);
    builder.push(0, 0, Some(b"key"), Some(&[0; 100]), []);
    builder.push(0, 0, None, Some(&[0; 300]), [("name", Some(&b"value"[..])), ("none", None)]);
    builder.push(0, 0, None, None, []);
    let records = builder.finish();
    assert_eq!(size(&records, 0), 61 + 21 + 103);
    assert_eq!(size(&records, 1), 61 + 21 + 300 + 4 + 5 + 4 + 8);
    assert_eq!(size(&records, 2), 61 + 21);
    assert_eq!(above(&records, 200), Some(61 + 21 + 300 + 21));
    assert_eq!((above(&records, 403), above(&records.slice(0, 1), 200)), (None, None));
    // Slices are measured by their own rows.
    assert_eq!(size(&records.slice(1, 2), 0), size(&records, 1));
}

#[test]
fn small_topics_get_small_batches() {
    let mut builder = RecordsBuilder::with_capacity(5);
    (0..5).for_each(|_| builder.push(0, 0, None, Some(&[0; 100]), []));
    let records = builder.finish();
    assert_eq!((piece(&records, 0, 400), piece(&records, 2, 400), piece(&records, 4, 400)), (2, 4, 5));
    assert_eq!(piece(&records, 0, 10), 1);
}
