//! How far a long answer says it is, over files as over topics.

use std::fmt::Write;

use futures::StreamExt;
use vatic::connector::embedded::Embedded;
use vatic::engine::{Outcome, Rows};

use crate::rig::Rig;

const ROWS: u64 = 30_000;

async fn answer(rig: &mut Rig, text: &str) -> Rows {
    match rig.sql(text).await.unwrap() {
        Outcome::Rows(rows) => rows,
        _ => panic!("no rows: {text}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_know_their_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::over(Embedded::open(&dir.path().join("broker")).unwrap());
    rig.session.set_base(dir.path(), None);
    let (mut json, mut csv) = (String::new(), "n,name\n".to_owned());
    for n in 0..ROWS {
        writeln!(json, "{{\"n\":{n},\"name\":\"number {n}\"}}").unwrap();
        writeln!(csv, "{n},number {n}").unwrap();
    }
    std::fs::write(dir.path().join("rows.jsonl"), &json).unwrap();
    std::fs::write(dir.path().join("rows.csv"), &csv).unwrap();
    let table = |path: &str| format!("CREATE OR REPLACE TABLE t WITH (connector = 'file', path = '{path}')");
    rig.sql(&format!("{}; COPY (SELECT n, name FROM t) TO 'rows.parquet'", table("rows.jsonl"))).await.unwrap();
    for (path, all) in [("rows.jsonl", json.len() as u64), ("rows.csv", csv.len() as u64), ("rows.parquet", ROWS)] {
        let mut rows = answer(&mut rig, &format!("{}; SELECT n, upper(name) FROM t", table(path))).await;
        let mut read = 0;
        while let Some(batch) = rows.next().await {
            read += batch.unwrap().num_rows() as u64;
            let (seen, part) = rows.progress().unwrap();
            let (done, end) = part.unwrap();
            assert!(seen >= read && done > 0 && done <= end && end == all, "{path}: {read} of {seen}, {done} of {end}");
        }
        assert_eq!((read, rows.progress()), (ROWS, Some((ROWS, Some((all, all))))), "{path}");
    }
}
