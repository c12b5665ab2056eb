//! The subcommands as people use them: what they print, where, and their exit codes.

use std::io::Write;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::{Ended, Place, Running, model};

/// The words of a line, as an aligned table has them.
fn words(line: &str) -> Vec<&str> {
    line.split(['|', ' ']).filter(|word| !word.is_empty()).collect()
}

fn fails(ended: &Ended, code: i32, error: &str, hint: &str) {
    assert_eq!(ended.code, code, "{ended:#?}");
    assert_eq!(ended.out, "", "results only on stdout: {ended:#?}");
    assert!(ended.err.lines().any(|line| line == format!("error: {error}")), "no {error:?} in {}", ended.err);
    assert!(ended.err.lines().any(|line| line == format!("hint: {hint}")), "no {hint:?} in {}", ended.err);
}

// ---- topic -------------------------------------------------------------------------------------------------------------------

#[test]
fn topics_are_created_listed_described_and_deleted() {
    let place = Place::new();
    let created = place.vatic(&["topic", "create", "payments", "--partitions", "3", "--config", "retention.ms=60000"]);
    assert_eq!((created.code, created.out.as_str(), created.err.as_str()), (0, "", "created topic \"payments\"\n"));
    place.ok(&["topic", "create", "orders"]);
    place.produce("orders", &["a", "b"]);

    let list = place.ok(&["topic", "list"]);
    let rows: Vec<_> = list.lines().map(words).collect();
    assert_eq!(rows[0], ["topic", "partitions", "records"], "{list}");
    assert!(rows.contains(&vec!["orders", "1", "2"]) && rows.contains(&vec!["payments", "3", "0"]), "{list}");

    let described = place.ok(&["topic", "describe", "payments"]);
    assert_eq!(described.lines().next(), Some("topic \"payments\": partitions 3, replication 1"));
    assert!(described.lines().any(|line| words(line) == ["retention.ms", "60000"]), "{described}");
    assert!(described.lines().any(|line| words(line) == ["2", "0", "0", "0"]), "{described}");

    let again = place.vatic(&["topic", "create", "payments"]);
    fails(&again, 1, "topic \"payments\" exists already", "Look at it: vatic topic describe payments");
    let deleted = place.vatic(&["topic", "delete", "payments"]);
    assert_eq!((deleted.code, deleted.err.as_str()), (0, "deleted topic \"payments\"\n"));
    assert!(!place.ok(&["topic", "list"]).contains("payments"));
}

#[test]
fn a_missing_topic_is_told_with_the_nearest_name_and_what_creates_it() {
    let place = Place::new();
    place.ok(&["topic", "create", "payments"]);
    let error = "no topic \"paymnts\" on embedded:.vatic";
    let hint = "Did you mean \"payments\"? Create it: vatic topic create paymnts";
    for command in [&["consume", "paymnts"][..], &["topic", "describe", "paymnts"], &["topic", "delete", "paymnts"]] {
        fails(&place.vatic(command), 1, error, hint);
    }
    for sql in [
        "SELECT * FROM topic('paymnts')",
        "CREATE TABLE paymnts (a BIGINT); SELECT a FROM paymnts",
        "CREATE TABLE paymnts (a BIGINT); SELECT a FROM paymnts EMIT CHANGES",
        "CREATE TABLE paymnts (a BIGINT); CREATE TABLE t (a BIGINT); INSERT INTO t SELECT a FROM paymnts",
    ] {
        fails(&place.vatic(&["sql", sql]), 1, error, hint);
    }
    // Reading creates nothing.
    assert_eq!(place.ok(&["topic", "list"]).lines().filter(|line| line.contains("paymnts")).count(), 0);
    let hint = "Known topics: payments. Create it: vatic topic create zzz";
    fails(&place.vatic(&["consume", "zzz"]), 1, "no topic \"zzz\" on embedded:.vatic", hint);
}

// ---- produce, consume --------------------------------------------------------------------------------------------------------

#[test]
fn lines_become_records_with_or_without_keys() {
    let place = Place::new();
    let ended = place.piped(&["produce", "t", "--key-separator", "|"], "k|v|w\nno key\n|empty key\nk|\n\n");
    assert_eq!((ended.code, ended.out.as_str()), (0, ""), "{ended:#?}");
    assert_eq!(ended.err, "created topic \"t\"\nproduced 5 records to \"t\"\n");
    let records: Vec<_> = place.records("t").iter().map(|r| (r["key"].clone(), r["value"].clone())).collect();
    let expected = [
        (json!("k"), json!("v|w")),
        (Value::Null, json!("no key")),
        (json!(""), json!("empty key")),
        (json!("k"), json!("")),
        (Value::Null, json!("")),
    ];
    assert_eq!(records, expected);
    assert_eq!(place.ok(&["consume", "t"]), "v|w\nno key\nempty key\n\n\n");

    place.file("lines.txt", "from a file\nwithout a last line end");
    let ended = place.vatic(&["produce", "t", "lines.txt", "--quiet"]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    assert!(place.ok(&["consume", "t"]).ends_with("from a file\nwithout a last line end\n"));
    assert_eq!(place.vatic(&["produce", "t", "nowhere.txt"]).code, 1);
}

#[test]
fn consume_prints_whole_records_as_json() {
    let place = Place::new();
    place.file("bytes", b"\xff\xfe|\x00\xff\n");
    place.ok(&["produce", "b", "bytes", "--key-separator", "|"]);
    let sql = "CREATE TABLE t (v BIGINT, k VARCHAR METADATA FROM 'key', at TIMESTAMP METADATA FROM 'timestamp',
                 h MAP<VARCHAR, BYTEA> METADATA FROM 'headers');
               INSERT INTO t (v, k, at) VALUES (1, 'a', TIMESTAMP '2026-11-21T04:40:49.123')";
    place.ok(&["sql", sql]);
    assert_eq!(
        place.ok(&["consume", "t", "--json"]),
        "{\"topic\":\"t\",\"partition\":0,\"offset\":0,\"timestamp\":1795236049123,\"key\":\"a\",\"value\":\"{\\\"v\\\":1}\",\"headers\":{}}\n"
    );
    let record = &place.records("b")[0];
    assert_eq!(record["key"], json!({"base64": "//4="}));
    assert_eq!(record["value"], json!({"base64": "AP8="}));
    assert!(record["timestamp"].as_i64().unwrap() > 1_600_000_000_000);
}

#[test]
fn consume_follows_until_it_is_stopped() {
    let place = Place::new();
    place.produce("t", &["one"]);
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let mut follower = place.start(&["consume", "t", "--follow"]);
        follower.prints(1);
        let before = follower.out().lines().count();
        place.produce("t", &["more"]);
        follower.prints(before + 1);
        let ended = follower.stop(signal);
        assert_eq!((ended.code, ended.err.as_str()), (code, ""));
        assert!(ended.out.starts_with("one\nmore\n"), "{ended:?}");
    }
}

/// The partitions that Java's own producer chooses: the hashes are those of the test of its `murmur2`.
#[test]
fn keys_go_where_java_puts_them() {
    let hashes: [(&str, i32); 6] = [
        ("21", -973_932_308),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ("abc", 479_470_107),
    ];
    let place = Place::new();
    for topic in ["produced", "inserted"] {
        place.ok(&["topic", "create", topic, "--partitions", "7"]);
    }
    let lines: String = hashes.iter().map(|(key, _)| format!("{key}|{key}\n")).collect();
    place.piped(&["produce", "produced", "--key-separator", "|"], &lines);
    let values: Vec<_> = hashes.iter().map(|(key, _)| format!("('{key}', 1)")).collect();
    let sql = format!(
        "CREATE TABLE inserted (k VARCHAR, n BIGINT) WITH (key.format = 'raw', key.columns = 'k');
         INSERT INTO inserted VALUES {}",
        values.join(", ")
    );
    place.ok(&["sql", &sql]);
    for topic in ["produced", "inserted"] {
        let records = place.records(topic);
        assert_eq!(records.len(), hashes.len());
        for (key, hash) in hashes {
            let record = records.iter().find(|record| record["key"] == key).unwrap();
            assert_eq!(record["partition"], (hash & i32::MAX) % 7, "{topic}: {key}");
        }
    }
    // A key of several columns is an object; its columns stay in the value.
    let sql = "CREATE TABLE o (a BIGINT, b VARCHAR, c BIGINT) WITH (key.format = 'json', key.columns = 'b,a');
               INSERT INTO o VALUES (1, 'x', 2)";
    place.ok(&["sql", sql]);
    assert_eq!(place.records("o")[0]["key"], "{\"b\":\"x\",\"a\":1}");
    assert_eq!(place.records("o")[0]["value"], "{\"a\":1,\"b\":\"x\",\"c\":2}");
}

// ---- publish -----------------------------------------------------------------------------------------------------------------

const V1: &str =
    "fraud:1 format=onnx size=729 sha256=100f96738d12ea09693e0707eac7a6f39668806b68b73e9652686b049f3ce836 offset=0\n";

#[test]
fn publish_prints_the_version_and_takes_no_doubles() {
    let place = Place::new();
    let (v1, v2) = (model("fraud_v1.onnx"), model("fraud_v2.onnx"));
    assert_eq!(place.ok(&["publish", "fraud", &v1]), V1);
    let again = place.vatic(&["publish", "fraud", &v1]);
    assert_eq!((again.code, again.out.as_str()), (0, V1));
    assert_eq!(again.err, "nothing new: version 1 of model \"fraud\" has these bytes already\n");
    let json: Value = serde_json::from_str(&place.ok(&["publish", "fraud", &v2, "--json"])).unwrap();
    let expected = json!({"name": "fraud", "version": 2, "format": "onnx", "size": 2577,
        "sha256": "9cd848e658167b8bf66ca31a66efeb85687ab4a2353344cb959365d6578dd72d", "offset": 1});
    assert_eq!(json, expected);
    // The bytes of an older version are a new version.
    assert_eq!(place.ok(&["publish", "fraud", &v1]), V1.replace("fraud:1", "fraud:3").replace("offset=0", "offset=2"));
    assert!(place.ok(&["publish", "other", &v1, "--topic", "elsewhere"]).starts_with("other:1 format=onnx size=729 "));

    let described = place.ok(&["topic", "describe", "models"]);
    assert!(described.starts_with("topic \"models\": partitions 1, "), "{described}");
    for setting in ["cleanup.policy delete", "retention.ms -1", "retention.bytes -1", "max.message.bytes 67108864"] {
        let setting: Vec<_> = setting.split(' ').collect();
        assert!(described.lines().any(|line| words(line) == setting), "{setting:?} in {described}");
    }
}

#[test]
fn publish_refuses_what_cannot_be_used_unless_forced() {
    let place = Place::new();
    let (good, broken) = (model("fraud_v1.onnx"), model("broken.onnx"));
    place.ok(&["publish", "fraud", &good]);
    let refused = place.vatic(&["publish", "fraud", &broken]);
    let hint = "Publish it all the same with --force: it will be a failed row of the table models.";
    fails(&refused, 1, "model \"fraud\" was not published: the file is damaged", hint);
    assert!(place.ok(&["publish", "fraud", &broken, "--force"]).starts_with("fraud:2 "));
    let rows = place.rows("SELECT version, status, error FROM models ORDER BY version");
    let expected = [
        json!({"version": 1, "status": "live", "error": null}),
        json!({"version": 2, "status": "failed", "error": "the file is damaged"}),
    ];
    assert_eq!(rows, expected);
    let bad_name = place.vatic(&["publish", "a name", &good]);
    fails(
        &bad_name,
        1,
        "\"a name\" is not a model's name",
        "Use letters, digits, \"_\", \".\" and \"-\"; a version follows a colon: 'fraud:7'.",
    );
    assert_eq!(place.vatic(&["publish", "fraud", "nowhere.onnx"]).code, 1);
    place.ok(&["topic", "create", "wide", "--partitions", "2"]);
    assert_eq!(place.vatic(&["publish", "fraud", &good, "--topic", "wide"]).code, 1);
}

// ---- sql, pipes, options -----------------------------------------------------------------------------------------------------

const ROWS: &str = "SELECT * FROM (VALUES (1, 'a,\"b\"'), (2, NULL), (3, '')) AS v(n, t) ORDER BY n";

#[test]
fn rows_are_printed_as_a_table_as_csv_or_as_json() {
    let place = Place::new();
    let table = place.ok(&["sql", ROWS]);
    let lines: Vec<_> = table.lines().map(str::trim_end).collect();
    assert_eq!(lines[0].split('|').map(str::trim).collect::<Vec<_>>(), ["n", "t"], "{table}");
    assert_eq!(lines[3].split('|').map(str::trim).collect::<Vec<_>>(), ["2", "NULL"], "{table}");
    assert_eq!(lines.last(), Some(&"(3 rows)"));
    assert_eq!(place.ok(&["sql", ROWS, "--format", "csv"]), "n,t\n1,\"a,\"\"b\"\"\"\n2,\n3,\"\"\n");
    let json = "{\"n\":1,\"t\":\"a,\\\"b\\\"\"}\n{\"n\":2,\"t\":null}\n{\"n\":3,\"t\":\"\"}\n";
    assert_eq!(place.ok(&["sql", "--format", "json", ROWS]), json);
}

#[test]
fn statements_stop_at_the_first_error() {
    let place = Place::new();
    let ended = place.vatic(&["sql", "--format", "json", "SELECT 1 AS a; SELECT b; SELECT 3 AS c"]);
    assert_eq!((ended.code, ended.out.as_str()), (1, "{\"a\":1}\n"), "{ended:#?}");
    assert_eq!(ended.err.matches("\"error\":").count(), 1, "{ended:#?}");
    // A text that cannot be read is not begun.
    let ended = place.vatic(&["sql", "SELECT 1; SELEC 2"]);
    assert_eq!((ended.code, ended.out.as_str()), (1, ""));
}

#[test]
fn a_pipe_is_a_script_and_its_errors_have_lines() {
    let place = Place::new();
    let ended = place.piped(&[], "SELECT 1 AS a;\n-- done\nSELECT 2 AS b");
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    assert_eq!(ended.out.matches("(1 row)").count(), 2, "{ended:#?}");
    assert_eq!(place.piped(&["shell"], "SELECT 1 AS a;").code, 0);
    assert_eq!(place.piped(&[], "").code, 0);
    let ended = place.piped(&[], "SELECT 1 AS a;\n\nSELECT *\nFROM nowhere;\nSELECT 3;");
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("--> stdin:"), "{}", ended.err);
    assert_eq!(ended.out.matches("(1 row)").count(), 1, "{ended:#?}");
}

#[test]
fn init_statements_run_first_and_their_paths_begin_beside_them() {
    let place = Place::new();
    place.file("setup/rows.csv", "n,t\n1,x\n2,y\n");
    place.file(
        "setup/init.sql",
        "CREATE TABLE f (n BIGINT, t VARCHAR) WITH (connector='file', path='rows.csv', format='csv');",
    );
    let sql = "SELECT n, t FROM f ORDER BY n";
    assert_eq!(place.ok(&["--init", "setup/init.sql", "sql", "--format", "csv", sql]), "n,t\n1,x\n2,y\n");
    // A saved query's paths begin beside it; those of `sql` in the working directory.
    place.file(
        "setup/q.sql",
        format!("CREATE TABLE f (n BIGINT, t VARCHAR) WITH (connector='file', path='rows.csv', format='csv'); {sql};"),
    );
    assert!(place.ok(&["run", "setup/q.sql"]).ends_with("(2 rows)\n"));
    let here = "CREATE TABLE f (n BIGINT, t VARCHAR) WITH (connector='file', path='setup/rows.csv', format='csv');";
    assert_eq!(place.ok(&["sql", "--format", "csv", &format!("{here} {sql}")]), "n,t\n1,x\n2,y\n");
    assert_eq!(place.vatic(&["--init", "nowhere.sql", "sql", "SELECT 1"]).code, 1);
    place.file("bad.sql", "SELECT nothing;");
    let bad = place.vatic(&["sql", "--init", "bad.sql", "SELECT 1"]);
    assert_eq!((bad.code, bad.out.as_str()), (1, ""));
}

#[test]
fn the_broker_is_an_option_or_a_variable_and_must_be_there() {
    let place = Place::new();
    place.ok(&["--broker", "embedded:one", "topic", "create", "t1"]);
    place.ok(&["topic", "create", "t2", "--broker", "embedded:two"]);
    let list = |broker: &str| Running::spawn(place.command(&["topic", "list"]).env("VATIC_BROKER", broker)).end();
    assert!(list("embedded:one").out.contains("t1"));
    assert!(list("embedded:two").out.contains("t2") && !list("embedded:two").out.contains("t1"));
    assert_eq!(list("nonsense").code, 2);
    place.file("a-file", "");
    let ended = place.vatic(&["--broker", "embedded:a-file/below", "topic", "list"]);
    assert_eq!((ended.code, ended.out.as_str()), (3, ""), "{ended:#?}");
    assert!(ended.err.starts_with("error: ") && ended.err.contains("\nhint: "), "{ended:#?}");
}

#[test]
fn reading_makes_no_broker() {
    let place = Place::new();
    place.file("rows.csv", "n,t\n1,x\n");
    let file = "CREATE TABLE f WITH (connector = 'file', path = 'rows.csv');";
    for sql in ["SELECT 1", "SHOW TOPICS", &format!("{file} SELECT * FROM f"), &format!("{file} COPY f TO 'f.json'")] {
        place.ok(&["sql", sql]);
    }
    assert_eq!(place.ok(&["topic", "list"]).lines().count(), 2, "its head");
    for absent in [["consume", "t"], ["sql", "SELECT * FROM topic('t')"]] {
        let ended = place.vatic(&absent);
        let said = ended.err.contains("error: no topic \"t\" on embedded:.vatic")
            && ended.err.contains("hint: There are no topics");
        assert!(ended.code == 1 && said, "{ended:#?}");
    }
    assert_eq!(place.vatic(&["topic", "delete", "t"]).code, 1);
    assert_eq!(place.piped(&[], "\\l\n\\dm\n\\conninfo\n").code, 0);
    assert!(!place.path(".vatic").exists());
    place.ok(&["sql", "CREATE TABLE t (a BIGINT); INSERT INTO t VALUES (1)"]);
    assert!(place.path(".vatic/broker.db").exists());
}

#[test]
fn quiet_leaves_results_errors_and_warnings_of_what_happened() {
    let place = Place::new();
    let ended = place.vatic(&[
        "--quiet",
        "sql",
        "--format",
        "csv",
        "CREATE TABLE t (a BIGINT); INSERT INTO t VALUES (1); SELECT a FROM t",
    ]);
    assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (0, "a\n1\n", ""));
    let ended = place.vatic(&["--quiet", "sql", "SELECT x FROM t"]);
    assert!(ended.err.starts_with("error: "));
    place.produce("t", &["bad"]);
    let ended = place.vatic(&["--quiet", "sql", "--format", "csv", "CREATE TABLE t (a BIGINT); SELECT a FROM t"]);
    assert!(ended.err.starts_with("warning: left out 1 record "), "{ended:#?}");
}

#[test]
fn wrong_usage_is_exit_code_2_and_help_is_0() {
    let place = Place::new();
    for wrong in [
        &["fly"][..],
        &["run"],
        &["sql"],
        &["sql", "SELECT 1", "--format", "xml"],
        &["topic"],
        &["topic", "create", "t", "--partitions", "0"],
        &["topic", "create", "t", "--config", "novalue"],
        &["--broker", "here", "topic", "list"],
        &["produce", "t", "--key-separator", ""],
        &["completions", "cmd"],
        &["publish", "only-a-name"],
    ] {
        let ended = place.vatic(wrong);
        assert_eq!((ended.code, ended.out.as_str()), (2, ""), "{wrong:?} {ended:#?}");
        let told = ended.err.starts_with("error: ") && ended.err.contains("\nhint: ");
        assert!(told || ended.err.contains("Usage"), "{wrong:?} {ended:#?}");
    }
    assert!(!place.path(".vatic").exists(), "wrong usage opens nothing");
    assert!(place.ok(&["--help"]).contains("Exit codes: 0 done"));
    assert!(place.ok(&["--version"]).starts_with("vatic 0."));
}

#[test]
fn completions_are_printed_for_each_shell() {
    let place = Place::new();
    for (shell, sign) in [("bash", "complete -F _vatic"), ("zsh", "#compdef vatic"), ("fish", "complete -c vatic")] {
        let ended = place.vatic(&["completions", shell]);
        assert_eq!((ended.code, ended.err.as_str()), (0, ""));
        assert!(ended.out.contains(sign) && ended.out.contains("publish"), "{shell}");
    }
    assert!(!place.path(".vatic").exists());
}

#[test]
fn colours_are_wanted_or_not() {
    let place = Place::new();
    let error = |color| place.vatic(&["--color", color, "sql", "SELEC 1"]).err;
    assert!(error("always").contains("\x1b["));
    assert!(!error("never").contains('\x1b') && !error("auto").contains('\x1b'));
}

#[test]
fn a_reader_that_leaves_ends_it_quietly() {
    let place = Place::new();
    place.produce("t", &vec!["a line that is longer than nothing"; 50_000]);
    for args in [&["consume", "t"][..], &["sql", "SELECT * FROM topic('t')", "--format", "csv"]] {
        let mut command = place.command(args);
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take()); // as `| head -0` does
        let ended = child.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        assert_eq!(String::from_utf8_lossy(&ended.stderr).matches("error").count(), 0, "{ended:?}");
    }
}

#[test]
fn produce_is_ended_by_a_signal_with_what_it_read_committed() {
    let place = Place::new();
    for (lines, signal, code) in [(1, Signal::SIGINT, 130), (2, Signal::SIGTERM, 143)] {
        let mut command = place.command(&["produce", "t"]);
        let (running, mut input) = Running::with_input(&mut command);
        input.write_all(b"a line\n").unwrap();
        place.await_records("t", lines);
        let ended = running.stop(signal);
        assert_eq!((ended.code, ended.out.as_str()), (code, ""), "{ended:#?}");
        assert!(ended.err.ends_with("produced 1 record to \"t\"\n"), "{ended:#?}");
    }
}
