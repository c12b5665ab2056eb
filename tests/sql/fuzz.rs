//! Whatever is typed, nothing panics, and what comes out is an error of ours.
//!
//! The statements of all `.slt` files are the corpus; words are dropped, doubled, swapped and exchanged between them. The
//! changes come from a fixed seed, so a failure comes again: the statement is in the panic's text.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use vatic::engine::Outcome;
use vatic::error::{Error, ErrorKind};
use vatic::sql::{Parsed, Statement};

use super::{Vatic, folders, root};

/// How many statements are made; each takes some milliseconds to plan.
const STATEMENTS: usize = 5_000;

/// What the statements are about.
const TABLES: &str = "
CREATE TABLE t (id BIGINT, a DOUBLE, b VARCHAR, l ARRAY<BIGINT>, s STRUCT<f STRUCT<g BIGINT>>, m MAP<VARCHAR, DOUBLE>, ts TIMESTAMP);
CREATE TABLE o (a BIGINT) WITH (topic = 'o');
CREATE TABLE payments (id BIGINT, card VARCHAR, amount DOUBLE, hour INT, ts TIMESTAMP, items ARRAY<INT>, who STRUCT<name VARCHAR>) WITH (topic = 't');
CREATE TABLE orders (id BIGINT, customer VARCHAR, price DOUBLE, part INT METADATA FROM 'partition') WITH (topic = 't');
CREATE TABLE txns (card VARCHAR, amount DOUBLE, hour INT) WITH (topic = 't');
CREATE VIEW v AS SELECT id, upper(b) AS b FROM t;
INSERT INTO t VALUES (1, 1.5, 'x', [1, 2], {'f': {'g': 1}}, map(['k'], [1.0]), TIMESTAMP '2026-11-21');
";

/// xorshift64: the same numbers on every machine.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }
}

/// The statements of all files, as words.
fn corpus() -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for folder in folders() {
        let mut files: Vec<_> = std::fs::read_dir(root().join(folder)).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        for file in files {
            let text = std::fs::read_to_string(file).unwrap();
            let text: String = text.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect();
            let records = text.split("\n\n").filter(|r| r.starts_with("statement") || r.starts_with("query"));
            for record in records {
                let sql = record.split_once('\n').map_or("", |(_, sql)| sql);
                let sql = sql.split("\n----").next().unwrap_or_default();
                if !sql.starts_with('\\') {
                    found.push(words(sql));
                }
            }
        }
    }
    found
}

/// Names and numbers whole, every other character for itself; blanks are dropped.
fn words(sql: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut in_word = false;
    for c in sql.chars() {
        let part = c.is_alphanumeric() || c == '_';
        match words.last_mut() {
            Some(last) if part && in_word => last.push(c),
            _ if c.is_whitespace() => {}
            _ => words.push(c.to_string()),
        }
        in_word = part;
    }
    words
}

/// One change of `words`.
fn change(words: &mut Vec<String>, corpus: &[Vec<String>], numbers: &mut Numbers) {
    const ODD: &[&str] =
        &["'", "\"", ";", "(", ")", "é", "\u{0}", "-", "9223372036854775808", "''", "NULL", "*", "t", "id", "b"];
    let at = numbers.below(words.len());
    match numbers.below(7) {
        0 if !words.is_empty() => {
            words.remove(at);
        }
        1 if !words.is_empty() => words.insert(at, words[at].clone()),
        2 if !words.is_empty() => {
            let other = numbers.below(words.len());
            words.swap(at, other);
        }
        3 => words.truncate(at.max(1)),
        4 => words.insert(at, ODD[numbers.below(ODD.len())].to_owned()),
        5 => {
            let other = &corpus[numbers.below(corpus.len())];
            let from = numbers.below(other.len());
            let to = (from + 1 + numbers.below(6)).min(other.len());
            words.splice(at..at, other[from.min(to)..to].iter().cloned());
        }
        _ => {
            let other = &corpus[numbers.below(corpus.len())];
            if let (Some(word), false) = (other.get(numbers.below(other.len())), words.is_empty()) {
                words[at].clone_from(word);
            }
        }
    }
}

/// Whether it may be executed: what would run for long, or write, is only planned.
fn may_run(parsed: &Parsed) -> bool {
    let endless = ["recursive", "generate_series", "generator", "range"];
    let harmless = !matches!(
        &parsed.statement,
        Statement::Query { emit: Some(_), .. } | Statement::Insert { .. } | Statement::CreateTable { query: Some(_), .. }
    );
    harmless && !endless.iter().any(|word| parsed.text.to_lowercase().contains(word))
}

async fn execute(db: &mut Vatic, sql: &str) -> Result<(), Error> {
    for mut parsed in db.session.parse(sql, None)? {
        if !may_run(&parsed) {
            let statement = Box::new(parsed.statement);
            parsed.statement = Statement::Explain { how: Default::default(), statement };
        }
        if let Outcome::Rows(rows) = db.session.execute(&parsed).await? {
            rows.collect().await?;
        }
    }
    Ok(())
}

/// What is wrong with how an error is said.
fn fault(error: &Error) -> Option<&'static str> {
    let text = error.message();
    if error.kind() == ErrorKind::Internal {
        // DataFusion has such for odd queries; they are its own words.
        return None;
    }
    let mut first = text.chars();
    match (first.next(), first.next()) {
        (None, _) => return Some("no text"),
        (Some(a), Some(b)) if a.is_uppercase() && b.is_lowercase() => return Some("begins with a capital letter"),
        _ => {}
    }
    if text.ends_with('.') && !text.ends_with("...") {
        return Some("ends with a full stop");
    }
    if text.contains("Some(") || text.contains(": None") {
        return Some("shows our insides");
    }
    None
}

#[test]
fn no_statement_panics() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let corpus = corpus();
        assert!(corpus.len() > 300, "the corpus has {} statements", corpus.len());
        let mut numbers = Numbers(0x5eed_0f5a_1ad5_0001);
        let mut db = Vatic::open().await.unwrap();
        execute_all(&mut db, TABLES).await;
        let mut faults = Vec::new();
        for round in 0..STATEMENTS {
            let mut words = corpus[numbers.below(corpus.len())].clone();
            for _ in 0..=numbers.below(2) {
                change(&mut words, &corpus, &mut numbers);
            }
            let sql = words.join(" ").replace("' ", "'").replace(" '", "'");
            let work = AssertUnwindSafe(execute(&mut db, &sql)).catch_unwind();
            match tokio::time::timeout(Duration::from_secs(60), work).await {
                Ok(Ok(Ok(()))) => {}
                Ok(Ok(Err(error))) => {
                    if let Some(fault) = fault(&error) {
                        faults.push(format!("{fault}: {sql}\n    {error:?}"));
                    }
                }
                Ok(Err(_)) => panic!("round {round}: this panics: {sql}"),
                Err(_) => panic!("round {round}: this does not end: {sql}"),
            }
            if round % 200 == 199 {
                // What the statements changed is undone now and then.
                db = Vatic::open().await.unwrap();
                execute_all(&mut db, TABLES).await;
            }
        }
        assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    });
}

/// Statements that are far too deep or too long end, one way or the other, on the stack that a main thread has.
#[test]
fn no_depth_is_too_deep() {
    let main = std::thread::Builder::new().stack_size(8 << 20);
    main.spawn(|| (deep(2_000), deep(120))).unwrap().join().unwrap();
}

fn deep(n: usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut db = Vatic::open().await.unwrap();
        execute_all(&mut db, TABLES).await;
        let nested = |open: &str, close: &str| format!("SELECT {}1{}", open.repeat(n), close.repeat(n));
        for sql in [
            nested("(", ")"),
            nested("[", "]"),
            nested("abs(", ")"),
            nested("-", ""),
            nested("NOT ", ""),
            nested("CASE WHEN true THEN ", " END"),
            nested("(SELECT ", ")"),
            format!("SELECT {}1", "1 + ".repeat(50 * n)),
            nested("1 + ", ""),
            nested("1 = 1 OR ", ""),
            nested("'a' || ", ""),
            nested("1, ", ""),
            format!("SELECT {}", vec!["id IN (1)"; n].join(" AND ")),
            format!("SELECT 1 FROM {}t{}", "(SELECT * FROM ".repeat(n), ")".repeat(n)),
            format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(n)),
            format!("SELECT id{} FROM t", "::BIGINT".repeat(n)),
            format!("SELECT s{} FROM t", ".f".repeat(n)),
            format!("SELECT l{} FROM t", "[1]".repeat(n)),
            format!("SELECT 1 FROM t WHERE id IN ({}1)", "1,".repeat(n)),
            format!("CREATE TABLE deep (a {}INT{})", "ARRAY<".repeat(n), ">".repeat(n)),
            format!("CREATE TABLE wide ({}z INT)", (0..n).map(|i| format!("c{i} INT, ")).collect::<String>()),
            format!("EXPLAIN {}SELECT 1", "EXPLAIN ".repeat(n)),
            ";".repeat(n),
        ] {
            let start: String = sql.chars().take(60).collect();
            // A stack that overflows says no more than this.
            println!("{start}...");
            match tokio::time::timeout(Duration::from_secs(100), AssertUnwindSafe(execute(&mut db, &sql)).catch_unwind())
                .await
            {
                Ok(Ok(_)) => {}
                Ok(Err(_)) => panic!("this panics: {start}..."),
                Err(_) => panic!("this does not end: {start}..."),
            }
        }
    });
}

async fn execute_all(db: &mut Vatic, sql: &str) {
    for statement in db.session.parse(sql, None).unwrap() {
        db.session.execute(&statement).await.unwrap();
    }
}
