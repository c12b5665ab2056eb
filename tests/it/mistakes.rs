//! The mistakes that people make first, and what they are told: all of `docs/reference/errors.md`, word for word.
//!
//! The page is made of [`MISTAKES`] and of what the program says; a text that differs from the page fails. To change one on
//! purpose: `VATIC_ERRORS_UPDATE=1 cargo test --workspace --test it mistakes::`, and read the diff of the page.

use std::fmt::Write;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use crate::harness::{Ended, Place};

/// What is declared before each statement.
const TABLES: &str = "\
CREATE TABLE payments (id BIGINT, card VARCHAR, amount DOUBLE, hour INT, ts TIMESTAMP) WITH (topic = 'payments');
CREATE TABLE alerts (id BIGINT, risk DOUBLE) WITH (topic = 'alerts');
CREATE TABLE events (id BIGINT, kind VARCHAR) WITH (topic = 'events');
";

/// What is typed: a statement behind `vatic sql`, or all words behind `vatic`.
enum Typed {
    Sql(&'static str),
    Words(&'static [&'static str]),
}
use Typed::{Sql, Words};

/// A mistake, and what is typed.
type Mistake = (&'static str, Typed);

/// Sections of the page: title, exit code, mistakes.
const MISTAKES: &[(&str, i32, &[Mistake])] = &[
    (
        "Reading SQL",
        1,
        &[
            ("A misspelt first word", Sql("SELCT * FROM payments")),
            ("A misspelt FROM", Sql("SELECT * FORM payments")),
            ("A misspelt WHERE", Sql("SELECT * FROM payments WERE id = 1")),
            ("A string that is not closed", Sql("SELECT * FROM payments WHERE card = 'a")),
            ("A FROM without SELECT", Sql("FROM payments LIMIT 2")),
            ("A comma that is missing", Sql("SELECT id amount hour FROM payments")),
            ("A comma too many", Sql("SELECT id, FROM payments")),
            ("A parenthesis that is missing", Sql("SELECT * FROM payments WHERE (id = 1")),
            ("A semicolon that is missing", Sql("SELECT id FROM payments SELECT id FROM alerts")),
            ("Half a condition", Sql("SELECT id FROM payments WHERE id = 1 AND")),
            ("Clauses in another order", Sql("SELECT id FROM payments LIMIT 10 ORDER BY id")),
            ("LIMIT as standard SQL has it", Sql("SELECT id FROM payments FETCH FIRST 3 ROWS ONLY")),
            ("A LIMIT that is no number", Sql("SELECT id FROM payments LIMIT 'ten'")),
            ("A word of SQL as a column", Sql("SELECT id, order FROM payments")),
            ("EMIT CHANGES, misspelt", Sql("SELECT id FROM payments EMIT CHANGE")),
            ("EMIT without CHANGES", Sql("SELECT id FROM payments WHERE id > 1 EMIT")),
            ("EMIT CHANGES in front", Sql("EMIT CHANGES SELECT id FROM payments")),
            ("A misspelt TABLE", Sql("CREATE TABEL t (id INT)")),
            ("A misspelt INTO", Sql("INSERT INOT alerts VALUES (1, 0.5)")),
            ("A misspelt WATERMARK", Sql("CREATE TABLE t (ts TIMESTAMP, WATERMRK FOR ts AS ts)")),
            ("A misspelt METADATA", Sql("CREATE TABLE t (id INT, key BYTEA METADTA)")),
            ("A misspelt KEY", Sql("CREATE TABLE t (id INT, PRIMARY KEZ (id))")),
            ("INTO where TO belongs", Sql("COPY (SELECT id FROM payments) INTO 'p.csv'")),
            ("A job without JOB", Sql("STOP alerts")),
            ("JOB, misspelt", Sql("RESET JBO alerts")),
            ("ANALYZE in British", Sql("EXPLAIN ANALYSE SELECT id FROM payments")),
            ("A statement of another database", Sql("UPDATE payments SET amount = 0")),
            ("A column without a type", Sql("CREATE TABLE t (id, card VARCHAR)")),
            ("A misspelt type", Sql("CREATE TABLE t (id INTEGR)")),
            ("A column that counts by itself", Sql("CREATE TABLE t (id INT AUTO_INCREMENT)")),
        ],
    ),
    (
        "Names, types and functions",
        1,
        &[
            ("A misspelt table", Sql("SELECT * FROM paymets")),
            ("A table that nobody declared", Sql("SELECT * FROM customers")),
            ("A topic without a table", Sql("SELECT * FROM clicks")),
            ("A misspelt topic without a table", Sql("SELECT * FROM click")),
            ("A file without a table", Sql("SELECT * FROM 'data/customers.csv'")),
            ("A function that reads files", Sql("SELECT * FROM read_csv('data/customers.csv')")),
            ("A table with a schema", Sql("SELECT * FROM public.payments")),
            ("A misspelt column", Sql("SELECT amonut FROM payments")),
            ("Another case, in quotes", Sql("SELECT \"Amount\" FROM payments")),
            ("A text in double quotes", Sql("SELECT id FROM payments WHERE card = \"visa\"")),
            ("A text in double quotes, nearly a column's name", Sql("SELECT id FROM payments WHERE card IN (\"card-1\")")),
            ("A text without quotes", Sql("SELECT id FROM payments WHERE card = visa")),
            ("An offset that is not declared", Sql("SELECT _offset, id FROM payments")),
            ("A column of the SELECT list in WHERE", Sql("SELECT id, amount * 2 AS twice FROM payments WHERE twice > 10")),
            ("A table's name where it has another", Sql("SELECT payments.id FROM payments p")),
            ("A column of two tables", Sql("SELECT id FROM payments, alerts")),
            ("A misspelt function", Sql("SELECT uppr(card) FROM payments")),
            ("A function of another database", Sql("SELECT IF(id = 1, 'a', 'b') FROM payments")),
            ("A number compared with a text", Sql("SELECT id FROM payments WHERE amount > 'ten'")),
            (
                "A text column compared with a number",
                Sql(
                    "CREATE TABLE clicks (page VARCHAR, seconds VARCHAR); SELECT page FROM clicks WHERE seconds BETWEEN 5 AND 60",
                ),
            ),
            ("A time that is none", Sql("SELECT id FROM payments WHERE ts > 'yesterday'")),
            ("A time minus a number", Sql("SELECT id FROM payments WHERE ts > now() - 5")),
            ("A text plus a number", Sql("SELECT card + 1 FROM payments")),
            ("A column outside of GROUP BY", Sql("SELECT card, sum(amount) FROM payments")),
            ("An aggregate in WHERE", Sql("SELECT card FROM payments WHERE sum(amount) > 3")),
            ("A division by zero", Sql("SELECT 1 / 0")),
        ],
    ),
    (
        "Writing, following, running",
        1,
        &[
            ("ORDER BY in a job", Sql("INSERT INTO alerts SELECT id, amount FROM payments ORDER BY id")),
            (
                "A join in a job",
                Sql("INSERT INTO alerts SELECT p.id, p.amount FROM payments p JOIN alerts a ON p.id = a.id"),
            ),
            ("An aggregate in EMIT CHANGES", Sql("SELECT count(*) FROM payments EMIT CHANGES")),
            ("GROUP BY in EMIT CHANGES", Sql("SELECT card, count(*) FROM payments GROUP BY card EMIT CHANGES")),
            ("A column too few", Sql("INSERT INTO alerts SELECT id FROM payments")),
            ("A value of another type", Sql("INSERT INTO alerts VALUES (1, 'high')")),
            ("A target that nobody declared", Sql("INSERT INTO scores VALUES (1, 0.5)")),
            ("A misspelt target", Sql("INSERT INTO alert VALUES (1, 0.5)")),
            ("A job that reads what it writes", Sql("INSERT INTO payments SELECT * FROM payments")),
            ("A table that is there already", Sql("CREATE TABLE payments (id INT)")),
            ("Rows without end", Sql("CREATE TABLE g (n BIGINT) WITH (connector = 'generator'); SELECT n FROM g")),
            ("A job of this name does not run", Sql("STOP JOB alrts")),
        ],
    ),
    (
        "Options and settings",
        1,
        &[
            ("A misspelt option", Sql("CREATE TABLE t (id INT) WITH (conector = 'kafka')")),
            ("A misspelt connector", Sql("CREATE TABLE t (id INT) WITH (connector = 'kafak')")),
            ("A format that there is not", Sql("CREATE TABLE t (id INT) WITH (format = 'xml')")),
            ("An option without =", Sql("CREATE TABLE t (id INT) WITH (topic 'payments')")),
            ("Options without parentheses", Sql("CREATE TABLE t (id INT) WITH topic = 'payments'")),
            ("An option given twice", Sql("CREATE TABLE t (id INT) WITH (topic = 'a', topic = 'b')")),
            ("An option of another connector", Sql("CREATE TABLE t (id INT) WITH (rows = 10)")),
            ("A start that is none", Sql("CREATE TABLE t (id INT) WITH (scan.startup = 'beginning')")),
            ("A misspelt setting", Sql("SET job.nme = 'alerts'")),
            ("A setting with another value", Sql("SET delivery = 'twice'")),
        ],
    ),
    (
        "Models",
        1,
        &[
            ("A misspelt model", Sql("SELECT score('fruad', amount, hour, 1.0, 1) FROM payments")),
            ("A version that is not there", Sql("SELECT score('fraud:7', amount, hour, 1.0, 1) FROM payments")),
            ("A model's name without quotes", Sql("SELECT score(fraud, amount, hour, 1.0, 1) FROM payments")),
            ("Features that are missing", Sql("SELECT score('fraud', amount, hour) FROM payments")),
            (
                "The same, twice in one statement",
                Sql("SELECT score('fraud', amount, hour) FROM payments WHERE score('fraud', amount, hour) > 0.9"),
            ),
            (
                "A misspelt model, twice in one statement",
                Sql("SELECT score('fruad', amount, hour) FROM payments WHERE score('fruad', amount, hour) > 0.9"),
            ),
            (
                "A feature that is computed, of another type",
                Sql("SELECT amount, score('fraud', upper(card), hour, 1.0, 1) FROM payments"),
            ),
            ("A number in the place of a model", Sql("SELECT score(1, amount) FROM payments")),
            ("A feature of another type", Sql("SELECT score('fraud', card, hour, 1.0, 1) FROM payments")),
            ("No features at all", Sql("SELECT score('fraud') FROM payments")),
            ("A name that no model can have", Sql("SELECT score('my model', amount) FROM payments")),
            ("A file that is no model", Words(&["publish", "fraud", "notes.txt"])),
            ("A damaged file", Words(&["publish", "fraud", "damaged.onnx"])),
            ("The same, inspected", Words(&["inspect", "damaged.onnx"])),
            ("Rows in another format than their file's name says", Words(&["score", "fraud.onnx", "data/misnamed.json"])),
            ("Objects over several lines", Words(&["score", "fraud.onnx", "data/pretty.json"])),
            ("Rows that do not fit the model", Words(&["score", "fraud.onnx", "data/customers.csv"])),
        ],
    ),
    (
        "Data and files",
        1,
        &[
            (
                "A record that is not JSON, with bad_records = 'fail'",
                Sql("CREATE TABLE e (id BIGINT) WITH (topic = 'events', bad_records = 'fail'); SELECT id FROM e"),
            ),
            ("An empty topic without columns", Sql("SELECT * FROM topic('alerts')")),
            ("A misspelt file", Sql("CREATE TABLE c (id INT) WITH (connector = 'file', path = 'data/custmers.csv')")),
            (
                "A directory that is not there",
                Sql("CREATE TABLE c (id INT) WITH (connector = 'file', path = 'dta/customers.csv')"),
            ),
            (
                "A misspelt column of a CSV file",
                Sql("CREATE TABLE c (id INT, nam VARCHAR) WITH (connector = 'file', path = 'data/customers.csv')"),
            ),
            (
                "A CSV file without a header",
                Sql("CREATE TABLE c (id INT, name VARCHAR) WITH (connector = 'file', path = 'data/headless.csv')"),
            ),
            (
                "A CSV file with semicolons",
                Sql("CREATE TABLE c (id INT, name VARCHAR) WITH (connector = 'file', path = 'data/semicolons.csv')"),
            ),
            (
                "A line that is no row, with bad_records = 'fail'",
                Sql(
                    "CREATE TABLE c (id INT, name BIGINT) WITH (connector = 'file', path = 'data/customers.csv', bad_records = 'fail'); SELECT * FROM c",
                ),
            ),
            ("Two columns of one name", Sql("CREATE TABLE c WITH (connector = 'file', path = 'data/twice.csv')")),
            (
                "The same, in a table with columns",
                Sql("CREATE TABLE c (id INT) WITH (connector = 'file', path = 'data/twice.csv')"),
            ),
            ("An array that was cut off", Sql("CREATE TABLE c WITH (connector = 'file', path = 'data/cut.json')")),
            ("A model file that is not there", Words(&["publish", "fraud", "frad.onnx"])),
            ("A directory in the place of a file", Words(&["produce", "payments", "data"])),
        ],
    ),
    (
        "Brokers and topics",
        1,
        &[
            ("A misspelt topic", Sql("SELECT * FROM topic('paymnts')")),
            ("A topic's name without quotes", Sql("SELECT * FROM topic(payments)")),
            (
                "A table over a topic that is not there",
                Sql("CREATE TABLE t (id INT) WITH (topic = 'orders'); SELECT id FROM t"),
            ),
            ("The same on the command line", Words(&["consume", "paymnts"])),
            ("A directory without topics", Words(&["--broker", "embedded:elsewhere", "consume", "payments"])),
            ("A topic that is there already", Words(&["topic", "create", "payments"])),
            ("A name that no topic can have", Words(&["topic", "create", "my payments"])),
            ("A property with another value", Words(&["--broker", "127.0.0.1:1", "-X", "linger.ms=abc", "topic", "list"])),
            ("A property out of its range", Words(&["--broker", "127.0.0.1:1", "-X", "batch.size=-5", "topic", "list"])),
            ("A misspelt property of the client", Words(&["--broker", "127.0.0.1:1", "-X", "ackss=1", "topic", "list"])),
        ],
    ),
    ("Outside trouble", 3, &[("Nobody answers", Words(&["--broker", "127.0.0.1:1", "topic", "list"]))]),
    (
        "Usage",
        2,
        &[
            ("A misspelt command", Words(&["sqll", "SELECT 1"])),
            ("A statement without sql", Words(&["SELECT 1"])),
            ("A file without run", Words(&["alerts.sql"])),
            ("A pipe behind sql", Words(&["sql", "-"])),
            ("Nothing behind sql", Words(&["sql"])),
            ("Nothing behind topic", Words(&["topic"])),
            ("A file behind sql", Words(&["sql", "alerts.sql"])),
            ("A statement without quotes", Words(&["sql", "SELECT", "1"])),
            ("A misspelt option", Words(&["sql", "--fromat", "json", "SELECT 1"])),
            ("A value that an option has not", Words(&["sql", "--format", "xml", "SELECT 1"])),
            ("An argument that is missing", Words(&["publish", "fraud"])),
            ("No partitions", Words(&["topic", "create", "t", "--partitions", "0"])),
            ("A broker without a port", Words(&["--broker", "localhost", "topic", "list"])),
            ("A broker that is a file", Words(&["--broker", "embedded:notes.txt", "topic", "list"])),
        ],
    ),
    (
        "Files behind run",
        1,
        &[
            ("A file that is not there", Words(&["run", "alert.sql"])),
            ("A pipe behind run", Words(&["run", "-"])),
            ("A statement behind run", Words(&["run", "SELECT 1"])),
            ("A mistake in a file", Words(&["run", "alerts.sql"])),
        ],
    ),
];

/// What is legal and probably not meant, and is told all the same. All but the last are silent with `--quiet`.
const WARNINGS: &[Mistake] = &[
    (
        "Columns that no record has",
        Sql("CREATE TABLE p (idd BIGINT, card VARCHAR, amout DOUBLE, coupon VARCHAR) WITH (topic = 'payments')"),
    ),
    ("Columns of another topic", Sql("CREATE TABLE p (name VARCHAR, address VARCHAR) WITH (topic = 'payments')")),
    ("A comparison with NULL", Sql("SELECT id FROM payments WHERE card = NULL")),
    ("A filter that is never true", Sql("SELECT id FROM payments WHERE hour > 3 AND 1 = 2")),
    ("A BETWEEN the wrong way round", Sql("SELECT id FROM payments WHERE amount BETWEEN 10 AND 5")),
    ("A column of WITH that nobody reads", Sql("WITH p AS (SELECT id, card FROM payments) SELECT id FROM p WHERE id > 5")),
    ("EMIT without CHANGES", Sql("SELECT id FROM payments EMIT")),
];

/// What happened and is not in the results: told with `--quiet`, too.
const HAPPENED: &[Mistake] = &[
    ("A model that nobody published", Sql("SELECT score('fruad', amount) FROM payments EMIT CHANGES LIMIT 0")),
    (
        "Lines that are no rows",
        Sql("CREATE TABLE c (id INT) WITH (connector = 'file', path = 'data/ragged.csv'); SELECT id FROM c WHERE id > 5"),
    ),
    (
        "Partitions that a topic does not have",
        Sql("CREATE TABLE a (id BIGINT) WITH (topic = 'alerts', topic.partitions = 5); INSERT INTO a VALUES (1)"),
    ),
    ("Columns that are no features, where names do not match", Words(&["score", "fraud.onnx", "data/wide.csv"])),
    ("More than one bad record in a hundred", Sql("SELECT id FROM events WHERE id > 5")),
];

/// A broker with three payments, an event that is none, clicks, an empty topic and a model; and some files.
fn place() -> Place {
    let place = Place::new();
    place.produce(
        "payments",
        &[
            r#"{"id": 1, "card": "visa", "amount": 2.5, "hour": 3, "ts": "2026-11-21T04:40:49"}"#,
            r#"{"id": 2, "card": "visa", "amount": 20, "hour": 4, "ts": "2026-11-21T04:41:49"}"#,
            r#"{"id": 3, "card": "amex", "amount": 200, "hour": 5, "ts": "2026-11-21T04:42:49"}"#,
        ],
    );
    place.produce("events", &[r#"{"id": 1, "kind": "login"}"#, "login", r#"{"id": 2}"#]);
    place.produce("clicks", &[r#"{"page": "/", "seconds": "52.1"}"#, r#"{"page": "/a", "seconds": "n/a"}"#]);
    place.ok(&["topic", "create", "alerts"]);
    place.ok(&["publish", "fraud", &crate::harness::model("fraud_v1.onnx")]);
    place.file("fraud.onnx", std::fs::read(crate::harness::model("fraud_v1.onnx")).unwrap());
    place.file("damaged.onnx", std::fs::read(crate::harness::model("broken.onnx")).unwrap());
    place.file("notes.txt", "hello\n");
    place.file("tables.sql", TABLES);
    place.file("alerts.sql", "CREATE TABLE payments (id BIGINT);\n\nSELECT id,\n       amuont\nFROM payments;\n");
    place.file("data/customers.csv", "id,name\n1,Ada\n2,Bob\n");
    place.file("data/headless.csv", "1,Ada\n2,Bob\n");
    place.file("data/semicolons.csv", "id;name\n1;Ada\n2;Bob\n");
    place.file("data/ragged.csv", "id,name\n1,Ada\n2,Bob,Berlin\n");
    place.file("data/twice.csv", "id,name,id\n1,Ada,2\n");
    place.file("data/misnamed.json", "amount,hour\n2.5,3\n");
    place.file("data/pretty.json", "{\n  \"amount\": 2.5\n}\n");
    place.file("data/cut.json", "[{\"id\": 1},\n {\"id\": 2");
    place.file("data/wide.csv", "a,b,c,d,e\n2.5,3,1.5,0,1\n");
    place
}

fn run(place: &Place, typed: &Typed, more: &[&str]) -> Ended {
    let mut args: Vec<&str> = more.to_vec();
    match typed {
        Sql(statement) => args.extend(["--init", "tables.sql", "sql", statement]),
        Words(words) => args.extend(*words),
    }
    place.vatic(&args)
}

/// As it would be typed.
fn command(typed: &Typed) -> String {
    let quoted = |word: &&str| match word.contains([' ', '(', '\'', '"']) {
        true => format!("\"{}\"", word.replace('"', "\\\"")),
        false => (*word).to_owned(),
    };
    match typed {
        Sql(statement) => format!("vatic sql {}", quoted(statement)),
        Words(words) => format!("vatic {}", words.iter().map(quoted).collect::<Vec<_>>().join(" ")),
    }
}

/// Runs all, two at a time, in their order.
fn run_all<'a>(place: &Place, all: &[&'a Mistake], more: &[&str]) -> Vec<(&'a Mistake, Ended)> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut ended = Vec::new();
        while let Some(mistake) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            ended.push((*mistake, run(place, &mistake.1, more)));
        }
        ended
    };
    let mut ended = std::thread::scope(|scope| {
        let other = scope.spawn(work);
        let mut ended = work();
        ended.extend(other.join().unwrap());
        ended
    });
    ended.sort_by_key(|(mistake, _)| all.iter().position(|other| std::ptr::eq(*other, *mistake)));
    ended
}

fn entry(page: &mut String, (title, typed): &Mistake, ended: &Ended) {
    let told = ended.err.trim_end();
    writeln!(page, "### {title}\n\n```text\n$ {}\n{told}\n```\n", command(typed)).unwrap();
}

/// The page between its mark and its end.
const MARK: &str = "<!-- From here on written by tests/it/mistakes.rs. -->\n";

#[test]
fn every_first_mistake_is_answered_as_the_page_says() {
    let place = place();
    let mut page = format!("\nBefore each statement `tables.sql` was read:\n\n```sql\n{TABLES}```\n\n");
    let mut complaints = Vec::new();
    for (section, code, mistakes) in MISTAKES {
        writeln!(page, "## {section}\n\nExit code {code}.\n").unwrap();
        for (mistake, ended) in run_all(&place, &mistakes.iter().collect::<Vec<_>>(), &[]) {
            if ended.code != *code || !ended.err.starts_with("error: ") || !ended.err.contains("\nhint: ") {
                complaints.push(format!("{}: {ended:#?}", mistake.0));
            }
            entry(&mut page, mistake, &ended);
        }
    }
    page.push_str("## Warnings\n\nThe statement is executed, exit code 0. With `--quiet` they are left out.\n\n");
    for (mistake, ended) in run_all(&place, &WARNINGS.iter().collect::<Vec<_>>(), &[]) {
        if ended.code != 0 || !ended.err.starts_with("warning: ") || !ended.err.contains("\nhint: ") {
            complaints.push(format!("{}: {ended:#?}", mistake.0));
        }
        entry(&mut page, mistake, &ended);
    }
    page.push_str("These tell what happened, with `--quiet`, too:\n\n");
    for (mistake, ended) in run_all(&place, &HAPPENED.iter().collect::<Vec<_>>(), &["--quiet"]) {
        if ended.code != 0 || !ended.err.starts_with("warning: ") || !ended.err.contains("\nhint: ") {
            complaints.push(format!("{}: {ended:#?}", mistake.0));
        }
        entry(&mut page, mistake, &ended);
    }
    assert!(complaints.is_empty(), "neither the exit code of its section nor text and hint:\n{}", complaints.join("\n"));
    let count: usize = MISTAKES.iter().map(|(_, _, mistakes)| mistakes.len()).sum();
    assert!(count >= 40, "only {count} mistakes");

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/errors.md");
    let written = std::fs::read_to_string(&path).unwrap();
    let (head, body) = written.split_once(MARK).expect("the page has its mark");
    let page = format!("{}\n", page.trim_end());
    if std::env::var_os("VATIC_ERRORS_UPDATE").is_some() {
        std::fs::write(&path, format!("{head}{MARK}{page}")).unwrap();
    } else if let Some((at, (said, shown))) = page.lines().zip(body.lines()).enumerate().find(|(_, (a, b))| a != b) {
        panic!("docs/reference/errors.md, line {} behind the mark: the page has\n{shown}\nand vatic says\n{said}", at + 1);
    } else {
        assert_eq!(page.lines().count(), body.lines().count(), "docs/reference/errors.md ends early or late");
    }
}

#[test]
fn advice_is_silent_with_quiet() {
    let place = place();
    for (mistake, ended) in run_all(&place, &WARNINGS.iter().collect::<Vec<_>>(), &["--quiet"]) {
        assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{}", mistake.0);
    }
}

#[test]
fn programs_get_errors_as_objects() {
    let place = place();
    let one = |args: &[&str]| -> Value {
        let ended = place.vatic(args);
        assert_eq!(ended.err.lines().count(), 1, "{ended:#?}");
        serde_json::from_str(&ended.err).unwrap_or_else(|e| panic!("{e}: {ended:#?}"))
    };
    let misspelt = "SELECT\n amonut FROM payments";
    let error = one(&["--init", "tables.sql", "sql", "--format", "json", misspelt]);
    let told = serde_json::json!({
        "error": "no column \"amonut\"",
        "kind": "user",
        "code": "42703",
        "at": {"file": null, "line": 2, "column": 2, "length": 6, "text": "amonut"},
        "hint": "Did you mean \"amount\"?",
    });
    assert_eq!(error, told);
    assert_eq!(one(&["--init", "tables.sql", "--errors", "json", "sql", misspelt]), told);
    let file = one(&["run", "--errors=json", "alerts.sql"]);
    assert_eq!((&file["at"]["file"], &file["at"]["line"]), (&"alerts.sql".into(), &4.into()));
    for (args, kind, code) in [
        (&["consume", "paymnts", "--json"][..], "user", "42000"),
        (&["sql", "--fromat", "json", "--errors", "json", "SELECT 1"], "usage", "22023"),
        (&["topic", "list", "--broker", "127.0.0.1:1", "--errors", "json"], "external", "58000"),
        (&["publish", "fraud", "notes.txt", "--json"], "data", "22000"),
        (&["sql", "--format", "json", "SELECT 1 / 0"], "data", "22012"),
    ] {
        let error = one(args);
        assert_eq!((error["kind"].as_str(), error["code"].as_str()), (Some(kind), Some(code)), "{args:?} {error}");
        assert!(error["hint"].is_string(), "{args:?} {error}");
    }
    // Text on request, and warnings only where JSON was asked for.
    let text = place.vatic(&["--init", "tables.sql", "--errors", "text", "sql", "--format", "json", misspelt]);
    assert!(text.err.starts_with("error: no column \"amonut\"\n"), "{text:#?}");
    let never = "SELECT id FROM payments WHERE card = NULL";
    let warned = place.vatic(&["--init", "tables.sql", "sql", "--format", "json", never]);
    assert!(warned.err.starts_with("warning: card = NULL is never true"), "{warned:#?}");
    let warned = one(&["--init", "tables.sql", "--errors", "json", "sql", never]);
    assert_eq!((&warned["hint"], &warned["at"]["text"]), (&"Write IS NULL.".into(), &"card = NULL".into()));
    let mut by_environment = place.command(&["sql", "SELECT amonut"]);
    let ended = crate::harness::Running::spawn(by_environment.env("VATIC_ERRORS", "json")).end();
    assert!(ended.err.starts_with("{\"error\":"), "{ended:#?}");
}

#[test]
fn a_job_with_many_bad_records_says_so_at_its_end() {
    let place = place();
    place.file(
        "copy.sql",
        "CREATE TABLE events (id BIGINT, kind VARCHAR) WITH (topic = 'events');
         CREATE TABLE kept WITH (topic = 'kept') AS SELECT id, kind FROM events;",
    );
    let ended = place.vatic(&["run", "--until-end", "copy.sql"]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    let told = "warning: job \"copy.kept\": 1 of 3 records (33.3 %) were at fault (decode 1); \
                the first: topic \"events\" partition 0 offset 1: not JSON: expected a value at byte 0, found 'l'\n\
                hint: Look at them, vatic consume vatic-dead-letters --json, and correct their producer or the table.\n";
    assert!(ended.err.contains(told), "{ended:#?}");
    // Where the query's own expression fails, producers have nothing to correct.
    place.file(
        "whole.sql",
        "CREATE TABLE clicks (page VARCHAR, seconds VARCHAR) WITH (topic = 'clicks');
         CREATE TABLE whole WITH (topic = 'whole') AS SELECT page, CAST(seconds AS DOUBLE) AS seconds FROM clicks;",
    );
    let ended = place.vatic(&["run", "--until-end", "whole.sql"]);
    let told = "warning: job \"whole.whole\": 1 of 2 records (50 %) were at fault (expression 1); the first: topic \"clicks\" \
                partition 0 offset 1: 'n/a' is not a DOUBLE\n\
                hint: Look at them, vatic consume vatic-dead-letters --json, and guard the expression: TRY_CAST, nullif(divisor, 0).\n";
    assert!(ended.err.contains(told), "{ended:#?}");
    // One in a thousand is nothing to speak of.
    place.produce("many", &[vec!["{\"id\": 1}"; 1_000], vec!["nonsense"]].concat());
    place.file("many.sql", "CREATE TABLE many (id BIGINT); CREATE TABLE all_of_them AS SELECT id FROM many;");
    let ended = place.vatic(&["run", "--until-end", "many.sql"]);
    assert_eq!((ended.code, ended.err.contains("at fault")), (0, false), "{ended:#?}");
}

#[test]
fn an_empty_broker_says_where_topics_live() {
    let place = Place::new();
    let here = "There are no topics here: they live in .vatic of the directory that vatic was started in.";
    for command in
        [&["consume", "payments"][..], &["sql", "SELECT * FROM topic('payments')"], &["sql", "SELECT * FROM payments"]]
    {
        let ended = place.vatic(command);
        assert!(ended.code == 1 && ended.err.contains(here), "{command:?} {ended:#?}");
    }
    // Nothing is said of it where there are some.
    place.ok(&["topic", "create", "orders"]);
    let ended = place.vatic(&["consume", "payments"]);
    assert!(ended.err.contains("hint: Known topics: orders. Create it: "), "{ended:#?}");
}
