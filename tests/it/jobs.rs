//! Jobs as people run them: names, where they begin, how they stop and go on, what is refused; and followers.

use nix::sys::signal::Signal;
use serde_json::json;

use crate::harness::Place;

const COPY: &str = "CREATE TABLE src (id BIGINT);
CREATE TABLE dst (id BIGINT, twice BIGINT);
INSERT INTO dst SELECT id, id * 2 AS twice FROM src;
";

/// A place with a topic `src` of two partitions that holds the ids 1, 2, 3, and a saved query that copies it.
fn copying() -> Place {
    let place = Place::new();
    place.ok(&["topic", "create", "src", "--partitions", "2"]);
    place.produce("src", &[r#"{"id":1}"#, r#"{"id":2}"#, r#"{"id":3}"#]);
    place.file("copy.sql", COPY);
    place
}

fn ids(place: &Place, topic: &str) -> Vec<i64> {
    let id = |value: &String| serde_json::from_str::<serde_json::Value>(value).unwrap()["id"].as_i64().unwrap();
    let mut ids: Vec<i64> = place.values(topic).iter().map(id).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn until_end_reads_what_there_is_and_goes_on_from_there() {
    let place = copying();
    let first = place.vatic(&["run", "copy.sql", "--until-end"]);
    assert_eq!((first.code, first.out.as_str()), (0, ""), "{first:#?}");
    let lines: Vec<&str> = first.err.lines().collect();
    assert_eq!(lines[0], "created topic \"dst\" with 1 partition");
    let begin = "job \"copy.dst\" reads \"src\" from 0=0,1=0 (the earliest record; nothing was committed)";
    assert_eq!(lines[1], begin);
    assert_eq!(lines[2], "job \"copy.dst\" finished: 3 rows in, 3 out, 0 dead letters");
    assert_eq!(ids(&place, "dst"), [1, 2, 3]);
    // The dead letters' topic is there from the start, whether it is needed or not.
    assert_eq!(place.records("vatic-dead-letters").len(), 0);

    let second = place.vatic(&["run", "--until-end", "copy.sql"]);
    assert_eq!(second.code, 0);
    assert!(second.err.starts_with("job \"copy.dst\" reads \"src\" from its committed offsets 0="), "{}", second.err);
    assert!(second.err.ends_with("job \"copy.dst\" finished: 0 rows in, 0 out, 0 dead letters\n"), "{}", second.err);
    assert_eq!(ids(&place, "dst"), [1, 2, 3]);

    place.produce("src", &[r#"{"id":4}"#]);
    place.ok(&["run", "--until-end", "copy.sql"]);
    assert_eq!(ids(&place, "dst"), [1, 2, 3, 4]);
    place.ok(&["run", "--final", "copy.sql"]);
    assert_eq!(ids(&place, "dst"), [1, 2, 3, 4]);
}

#[test]
fn until_end_finishes_a_job_before_the_next_statement() {
    let place = copying();
    place.file(
        "two.sql",
        format!("{COPY} SELECT count(*) AS n FROM dst;\nCREATE TABLE last WITH (topic = 'last') AS SELECT id FROM dst;"),
    );
    let ended = place.vatic(&["run", "--until-end", "two.sql"]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert!(ended.out.contains("\n 3\n") || ended.out.contains(" 3\n"), "{ended:#?}");
    assert_eq!(ids(&place, "last"), [1, 2, 3]);
    // Without a table of that name before it, CREATE TABLE ... AS appends to the topic that is there.
    place.file("more.sql", "CREATE TABLE last AS SELECT id + 10 AS id FROM topic('src');");
    let ended = place.vatic(&["run", "--until-end", "more.sql"]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(ids(&place, "last"), [1, 2, 3, 11, 12, 13]);
}

#[test]
fn signals_stop_a_job_cleanly() {
    let place = copying();
    for (signal, code, id) in [(Signal::SIGINT, 130, 10), (Signal::SIGTERM, 143, 20)] {
        let mut job = place.start(&["run", "copy.sql"]);
        job.says("job \"copy.dst\" reads \"src\" from ");
        let before = if id == 10 { 3 } else { 4 };
        place.await_records("dst", before);
        place.produce("src", &[&format!("{{\"id\":{id}}}")]);
        place.await_records("dst", before + 1);
        let ended = job.stop(signal);
        assert_eq!((ended.code, ended.out.as_str()), (code, ""), "{ended:#?}");
        let last = ended.err.lines().last().unwrap();
        assert!(last.starts_with("job \"copy.dst\" stopped: ") && last.ends_with(" out, 0 dead letters"), "{last}");
    }
    // Nothing was written twice, and nothing is left to do.
    assert!(place.vatic(&["run", "--until-end", "copy.sql"]).err.contains("finished: 0 rows in"));
    assert_eq!(ids(&place, "dst"), [1, 2, 3, 10, 20]);
}

#[test]
fn a_signal_stops_a_job_that_reads_to_the_end() {
    let place = Place::new();
    // Its end is far away: the rate of the generator says so.
    place.file(
        "slow.sql",
        "CREATE TABLE g (n BIGINT, ts TIMESTAMP) WITH (connector = 'generator', rows = 100000000, rate = 100);
         CREATE TABLE dst (n BIGINT);
         INSERT INTO dst SELECT n FROM g;
         SELECT 'never' AS reached;",
    );
    let mut job = place.start(&["run", "--until-end", "slow.sql"]);
    job.says("reads \"");
    place.await_records("dst", 5);
    let ended = job.stop(Signal::SIGINT);
    assert_eq!((ended.code, ended.out.as_str()), (130, ""), "{ended:#?}");
    assert!(ended.err.contains("job \"slow.dst\" stopped: "), "{ended:#?}");
    let written = place.values("dst").len();
    // It goes on behind the last row.
    let mut job = place.start(&["run", "--until-end", "slow.sql"]);
    place.await_records("dst", written + 5);
    job.says("committed offsets");
    job.stop(Signal::SIGTERM);
    let mut numbers: Vec<i64> = place
        .values("dst")
        .iter()
        .map(|value| serde_json::from_str::<serde_json::Value>(value).unwrap()["n"].as_i64().unwrap())
        .collect();
    numbers.sort_unstable();
    let first = numbers[0];
    let expected: Vec<i64> = (first..).take(numbers.len()).collect();
    assert_eq!(numbers, expected);
}

#[test]
fn a_second_process_of_a_job_is_refused_until_the_first_is_gone() {
    let place = copying();
    let mut first = place.start(&["run", "copy.sql"]);
    first.says("reads \"src\"");
    let second = place.vatic(&["run", "copy.sql"]);
    assert_eq!((second.code, second.out.as_str()), (3, ""), "{second:#?}");
    assert!(second.err.contains(&format!("process {}", first.id())), "{second:#?}");
    assert!(second.err.contains("\nhint: "), "{second:#?}");
    // Other jobs are not concerned, nor are readers.
    place.file("other.sql", format!("SET job.name = 'other';\n{COPY}"));
    assert_eq!(place.vatic(&["run", "--until-end", "other.sql"]).code, 0);
    // A killed process leaves no lock.
    let killed = first.stop(Signal::SIGKILL);
    assert_eq!(killed.code, -9);
    assert_eq!(place.vatic(&["run", "--until-end", "copy.sql"]).code, 0);
}

#[test]
fn reset_job_forgets_where_it_was_and_keeps_what_it_wrote() {
    let place = copying();
    place.ok(&["run", "--until-end", "copy.sql"]);
    for (nth, spelling) in ["'copy.dst'", "\"copy.dst\"", "copy.dst"].iter().enumerate() {
        let reset = place.vatic(&["sql", &format!("RESET JOB {spelling}")]);
        assert_eq!(reset.code, 0, "{reset:#?}");
        assert!(reset.err.contains("job \"copy.dst\" forgot its positions"), "{reset:#?}");
        let again = place.vatic(&["run", "--until-end", "copy.sql"]);
        assert!(again.err.contains("(the earliest record; nothing was committed)"), "{again:#?}");
        assert_eq!(ids(&place, "dst").len(), 3 * (nth + 2));
    }
    // A name that is nobody's is most likely a slip.
    let slip = place.vatic(&["sql", "RESET JOB 'copy.dts'"]);
    assert!(slip.code == 0 && slip.err.contains("warning: no job \"copy.dts\" has committed anything"), "{slip:#?}");
    let mut running = place.start(&["run", "copy.sql"]);
    running.says("reads \"src\"");
    let refused = place.vatic(&["sql", "RESET JOB 'copy.dst'"]);
    assert_ne!(refused.code, 0, "{refused:#?}");
    assert!(refused.err.contains("cannot be reset while process") && refused.err.contains("\nhint: Stop"), "{refused:#?}");
}

#[test]
fn jobs_have_names_and_groups() {
    let place = copying();
    // In `sql` the target, for the next job only the setting; what a group cannot have becomes "-".
    let text = "SET job.name = 'my job/1'; CREATE TABLE a AS SELECT id FROM topic('src'); CREATE TABLE b AS SELECT id FROM topic('src')";
    let mut jobs = place.start(&["sql", text]);
    jobs.says("job \"my job/1\" reads \"src\" from ");
    jobs.says("job \"b\" reads \"src\" from ");
    place.await_records("a", 3);
    place.await_records("b", 3);
    // The group of "my job/1" is taken by one called "my-job-1", too.
    let same = place.vatic(&["sql", "SET job.name = 'my-job-1'; CREATE TABLE a AS SELECT id FROM topic('src')"]);
    assert_eq!(same.code, 3, "{same:#?}");
    assert!(same.err.contains("\"vatic-my-job-1\""), "{same:#?}");
    let ended = jobs.stop(Signal::SIGINT);
    assert_eq!(ended.code, 130);
    assert!(ended.err.contains("job \"my job/1\" stopped: 3 rows in, 3 out"), "{ended:#?}");
    assert!(ended.err.contains("job \"b\" stopped: 3 rows in, 3 out"), "{ended:#?}");
    // One name, two jobs of a file: refused.
    let twice = "CREATE TABLE src (id BIGINT); CREATE TABLE c (id BIGINT); INSERT INTO c SELECT id FROM src; INSERT INTO c SELECT id FROM src";
    let refused = place.vatic(&["sql", twice]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("job \"c\" is running already") && refused.err.contains("SET job.name"), "{refused:#?}");
}

#[test]
fn a_changed_query_goes_on_with_one_warning() {
    let place = copying();
    place.ok(&["run", "--until-end", "copy.sql"]);
    place.file("copy.sql", COPY.replace("id * 2", "id * 3"));
    place.produce("src", &[r#"{"id":4}"#]);
    let changed = place.vatic(&["run", "--until-end", "copy.sql"]);
    assert_eq!(changed.code, 0);
    let warning = "warning: job \"copy.dst\" was another query when it last ran; it goes on from where that one stopped\n\
                   hint: To begin anew instead, stop it and execute RESET JOB \"copy.dst\"; outputs stay.\n";
    assert_eq!(changed.err.matches(warning).count(), 1, "{changed:#?}");
    assert_eq!(place.values("dst").last().unwrap(), r#"{"id":4,"twice":12}"#);
}

#[test]
fn a_job_that_reads_what_it_writes_is_refused() {
    let place = copying();
    let direct = place.vatic(&["sql", "CREATE TABLE src (id BIGINT); INSERT INTO src SELECT id + 1 FROM src"]);
    assert_eq!(direct.code, 1, "{direct:#?}");
    assert!(direct.err.contains("job \"src\" would read what it writes: topic \"src\""), "{direct:#?}");
    // Under another name, through a view, and through another job of the same file.
    for text in [
        "CREATE TABLE s (id BIGINT) WITH (topic = 'src'); INSERT INTO s SELECT id FROM topic('src')",
        "CREATE VIEW v AS SELECT id FROM topic('src'); CREATE TABLE src AS SELECT id FROM v",
        "CREATE TABLE src (id BIGINT); CREATE TABLE mid (id BIGINT); INSERT INTO mid SELECT id FROM src; INSERT INTO src SELECT id FROM mid",
    ] {
        let refused = place.vatic(&["sql", text]);
        assert_eq!(refused.code, 1, "{text}: {refused:#?}");
        assert!(refused.err.contains("would read what it writes"), "{text}: {refused:#?}");
    }
    assert_eq!(ids(&place, "src"), [1, 2, 3]);
}

#[test]
fn a_job_begins_where_its_table_says() {
    let place = copying();
    let run = |name: &str, startup: &str| {
        let text = format!(
            "CREATE TABLE src (id BIGINT) WITH (scan.startup = '{startup}'); CREATE TABLE {name} (id BIGINT); INSERT INTO {name} SELECT id FROM src;"
        );
        place.file(&format!("{name}.sql"), text);
        let ended = place.vatic(&["run", "--until-end", &format!("{name}.sql")]);
        assert_eq!(ended.code, 0, "{ended:#?}");
        (ids(&place, name).len(), ended.err)
    };
    let (rows, said) = run("late", "latest");
    assert_eq!(rows, 0);
    assert!(said.contains("(the present end; nothing was committed)"), "{said}");
    assert_eq!(run("early", "earliest").0, 3);
    assert_eq!(run("old", "timestamp:2020-01-01T00:00:00Z").0, 3);
    assert_eq!(run("future", "timestamp:2100-01-01T00:00:00Z").0, 0);
    // Two of three are in partition 0 or in partition 1: one is left of it, and the other partition is read in whole.
    let first = place.records("src").iter().filter(|record| record["partition"] == 0).count();
    let (rows, said) = run("offsets", &format!("offsets:0={first}"));
    assert_eq!(rows, 3 - first);
    assert!(said.contains("(the offsets of scan.startup; nothing was committed)"), "{said}");
    // A plain SELECT reads it all.
    assert_eq!(place.rows("CREATE TABLE src (id BIGINT) WITH (scan.startup = 'latest'); SELECT id FROM src").len(), 3);
}

#[test]
fn several_files_run_at_once_and_an_error_of_one_ends_all() {
    let place = copying();
    place.file("a.sql", "CREATE TABLE a AS SELECT id FROM topic('src');");
    place.file("b.sql", "CREATE TABLE b AS SELECT id FROM topic('src');");
    let mut both = place.start(&["run", "a.sql", "b.sql"]);
    both.says("job \"a.a\" reads ");
    both.says("job \"b.b\" reads ");
    place.await_records("a", 3);
    place.await_records("b", 3);
    assert_eq!(both.stop(Signal::SIGINT).code, 130);
    // Nothing runs before all are parsed.
    place.file("c.sql", "CREATE TABLE c AS SELECT id FROM topic('src');");
    place.file("bad.sql", "SELECT 1;\nSELECT FROM WHERE;");
    let ended = place.vatic(&["run", "c.sql", "bad.sql"]);
    assert_eq!((ended.code, ended.out.as_str()), (1, ""), "{ended:#?}");
    assert!(ended.err.contains("--> bad.sql:2:"), "{ended:#?}");
    assert!(!place.ok(&["topic", "list"]).contains(" c "));
    // An error while jobs run stops them.
    place.file("late.sql", "CREATE TABLE d AS SELECT id FROM topic('src');\nSELECT * FROM nowhere;");
    let ended = place.vatic(&["run", "late.sql"]);
    assert_eq!(ended.code, 1, "{ended:#?}");
    assert!(ended.err.contains("job \"late.d\" stopped: ") && ended.err.contains("error: "), "{ended:#?}");
    assert_eq!(place.vatic(&["run", "nowhere.sql"]).code, 1);
}

#[test]
fn emit_changes_prints_where_it_begins_and_ends_at_its_limit() {
    let place = copying();
    let ends = {
        let zero = place.records("src").iter().filter(|record| record["partition"] == 0).count();
        format!("following src from 0={zero},1={}\n", 3 - zero)
    };
    let follow = ["sql", "--format", "json", "SELECT id FROM topic('src') WHERE id > 10 EMIT CHANGES LIMIT 2"];
    let mut follower = place.start(&follow);
    follower.says(&ends);
    place.produce("src", &[r#"{"id":5}"#, r#"{"id":11}"#]);
    follower.prints(1);
    assert!(!follower.has_ended());
    place.produce("src", &[r#"{"id":12}"#, r#"{"id":13}"#]);
    let ended = follower.end();
    // In front of it the columns that were found.
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert!(ended.err.starts_with("columns found:\n") && ended.err.ends_with(&format!("\n{ends}")), "{ended:#?}");
    let lines: Vec<_> = ended.out.lines().collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0], "{\"id\":11}");
    // It commits nothing and has no group: the next one begins anew, here from the start of the topic.
    let all = "CREATE TABLE src (id BIGINT) WITH (scan.startup = 'earliest'); SELECT id FROM src EMIT CHANGES LIMIT 7";
    for _ in 0..2 {
        assert_eq!(place.rows(all).len(), 7);
    }
    let mut follower = place.start(&["sql", "SELECT id FROM topic('src') EMIT CHANGES"]);
    follower.says("following src from ");
    assert_eq!(follower.stop(Signal::SIGINT).code, 130);
}

#[test]
fn bad_records_of_a_select_are_left_out_and_told() {
    let place = Place::new();
    place.produce("t", &[r#"{"a":1}"#, "nonsense", r#"{"a":2}"#, r#"{"a":"x"}"#]);
    let table = "CREATE TABLE t (a BIGINT)";
    let ended = place.vatic(&["sql", "--format", "json", &format!("{table}; SELECT a FROM t ORDER BY a")]);
    assert_eq!((ended.code, ended.out.as_str()), (0, "{\"a\":1}\n{\"a\":2}\n"));
    let first = "warning: left out 2 records that could not be read; the first: topic \"t\" partition 0 offset 1: ";
    assert!(ended.err.starts_with(first), "{ended:#?}");
    // Nothing was written, and a record is judged by the columns that are read.
    assert!(!place.ok(&["topic", "list"]).contains("vatic-dead-letters"));
    let failing = format!("{table} WITH (bad_records = 'fail'); SELECT a FROM t");
    let ended = place.vatic(&["sql", "--format", "json", &failing]);
    assert_eq!(ended.code, 1, "{ended:#?}");
    assert!(ended.err.contains(r#"{"error":"topic \"t\" partition 0 offset 1: "#), "{ended:#?}");
    let expression = place.vatic(&["sql", "--format", "json", &format!("{table}; SELECT 1 / (a - 1) AS b FROM t")]);
    assert_eq!(expression.code, 1, "{expression:#?}");
    assert!(
        place.vatic(&["sql", "CREATE TABLE t (a BIGINT, b BIGINT); SELECT b FROM t"]).err.contains("left out 1 record ")
    );
}

#[test]
fn endless_generators_are_refused_where_an_end_is_awaited() {
    let place = Place::new();
    let table = "CREATE TABLE g (n BIGINT, ts TIMESTAMP) WITH (connector = 'generator')";
    assert_eq!(place.vatic(&["sql", &format!("{table}; SELECT n FROM g")]).code, 1);
    place.file("g.sql", format!("{table}; CREATE TABLE t AS SELECT n FROM g;"));
    let refused = place.vatic(&["run", "--until-end", "g.sql"]);
    assert_eq!(refused.code, 1, "{refused:#?}");
    assert!(refused.err.contains("table \"g\" makes rows without end"), "{refused:#?}");
    let mut endless = place.start(&["run", "g.sql"]);
    endless.says("reads ");
    place.await_records("t", 10);
    assert_eq!(endless.stop(Signal::SIGTERM).code, 143);
    let followed = place.rows(&format!("{table}; SELECT n FROM g EMIT CHANGES LIMIT 5"));
    assert_eq!(followed.len(), 5);
}

#[test]
fn insert_values_writes_and_ends_and_options_are_kept() {
    let place = Place::new();
    let sql = "CREATE TABLE t (a BIGINT, b VARCHAR) WITH (topic = 'there', topic.partitions = 4); INSERT INTO t VALUES (1, 'x'), (2, NULL)";
    let ended = place.vatic(&["sql", sql]);
    assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (0, "", "created topic \"there\" with 4 partitions\n"));
    let mut values = place.values("there");
    values.sort();
    assert_eq!(values, [r#"{"a":1,"b":"x"}"#, r#"{"a":2,"b":null}"#]);
    let refused = place.vatic(&["sql", "CREATE TABLE n (a BIGINT) WITH (topic.create = false); INSERT INTO n VALUES (1)"]);
    assert_eq!(refused.code, 1, "{refused:#?}");
    assert!(refused.err.contains("vatic topic create n"), "{refused:#?}");
    let null = place.vatic(&["sql", "CREATE TABLE n (a BIGINT NOT NULL); INSERT INTO n VALUES (1), (NULL)"]);
    assert_eq!(null.code, 1, "{null:#?}");
    assert_eq!(place.records("n").len(), 0, "all or nothing");
}

#[test]
fn csv_and_raw_topics_are_read_and_written() {
    let place = Place::new();
    place.produce("c", &["1;x;2026-11-21", "2;;", "3;\"a;b\";2026-01-01", "four;x;"]);
    let table = "CREATE TABLE c (n BIGINT, t VARCHAR, d DATE) WITH (format = 'csv', csv.delimiter = ';')";
    let rows = place.rows(&format!("{table}; SELECT n, t, d FROM c ORDER BY n"));
    let expected = [
        json!({"n": 1, "t": "x", "d": "2026-11-21"}),
        json!({"n": 2, "t": null, "d": null}),
        json!({"n": 3, "t": "a;b", "d": "2026-01-01"}),
    ];
    assert_eq!(rows, expected);
    place.file(
        "c.sql",
        format!(
            "{table}; CREATE TABLE o (t VARCHAR, n BIGINT) WITH (format = 'csv'); INSERT INTO o SELECT t, n FROM c;
                 CREATE TABLE w (line VARCHAR) WITH (format = 'raw'); INSERT INTO w SELECT t FROM c WHERE t IS NOT NULL;"
        ),
    );
    assert_eq!(place.vatic(&["run", "--until-end", "c.sql"]).code, 0);
    assert_eq!(place.values("o"), ["x,1", ",2", "a;b,3"]);
    // A record is judged by the columns that are read: the second job does not read the one that is no number.
    assert_eq!(place.values("w"), ["x", "a;b", "x"]);
    assert_eq!(place.values("vatic-dead-letters").iter().filter(|value| *value == "four;x;").count(), 1);
    assert_eq!(
        place.rows("CREATE TABLE w (b BYTEA) WITH (format = 'raw'); SELECT b FROM w LIMIT 1"),
        [json!({"b": "eA=="})]
    );
    assert_eq!(place.rows("SELECT * FROM topic('w')").len(), 3);
}

#[test]
fn a_job_without_its_model_waits_for_it() {
    let place = Place::new();
    place.produce("src", &[r#"{"amount":10,"hour":3,"distance_km":1,"tx_last_hour":0}"#]);
    let features = "amount, hour, distance_km, tx_last_hour";
    place.file(
        "wait.sql",
        format!(
            "CREATE TABLE src (amount FLOAT, hour BIGINT, distance_km FLOAT, tx_last_hour BIGINT);
             CREATE TABLE scored AS SELECT score('fraud', {features}) AS p FROM src;"
        ),
    );
    let at_end = place.vatic(&["run", "--until-end", "wait.sql"]);
    assert_eq!(at_end.code, 1, "{at_end:#?}");
    assert!(at_end.err.contains("no model \"fraud\""), "{at_end:#?}");
    place.ok(&["publish", "fruad", &crate::harness::model("fraud_v2.onnx")]);
    let mut job = place.start(&["run", "wait.sql"]);
    job.says("warning: no model \"fraud\" on topic \"models\"; the job reads nothing until there is one\n");
    job.says("\nhint: Did you mean \"fruad\"?\n");
    assert_eq!(place.records("scored").len(), 0);
    // What waits can be stopped, and begins anew.
    assert_eq!(job.stop(Signal::SIGINT).code, 130);
    let mut job = place.start(&["run", "wait.sql"]);
    job.says("the job reads nothing until there is one");
    place.ok(&["publish", "fraud", &crate::harness::model("fraud_v1.onnx")]);
    place.await_records("scored", 1);
    let ended = job.stop(Signal::SIGINT);
    assert_eq!(ended.code, 130);
}
