//! `vatic sql` and `vatic run` among other programs: parameters, files written by COPY, readers that leave, manual pages.

use std::collections::BTreeSet;

use clap::CommandFactory;
use serde_json::json;

use crate::harness::{Place, Running};

const TABLE: &str =
    "CREATE TABLE p (id BIGINT, amount DOUBLE, card VARCHAR, at TIMESTAMP, paid BOOLEAN, net DECIMAL(10, 2));";

fn payments() -> Place {
    let place = Place::new();
    place.produce(
        "p",
        &[
            r#"{"id":1,"amount":2.5,"card":"7","at":"2026-11-21T04:40:49Z","paid":true,"net":1.99}"#,
            r#"{"id":2,"amount":10,"card":"x' OR '1'='1","at":"2026-11-22T00:00:00Z","paid":false,"net":2.00}"#,
            r#"{"id":3,"amount":100,"card":"O'Neil","at":"2026-11-23T00:00:00Z","paid":null,"net":2.01}"#,
        ],
    );
    place
}

/// The ids that `vatic sql --param ...` finds.
fn ids(place: &Place, params: &[&str], condition: &str) -> String {
    let sql = format!("{TABLE} SELECT id FROM p WHERE {condition} ORDER BY id");
    let mut args = vec!["sql", "--format", "csv"];
    params.iter().for_each(|param| args.extend(["--param", param]));
    args.push(&sql);
    place.ok(&args).lines().skip(1).collect::<Vec<_>>().join(",")
}

#[test]
fn a_parameter_has_the_type_that_its_place_wants() {
    let place = payments();
    for (params, condition, found) in [
        (&["limit=5"][..], "amount > $limit", "2,3"),
        (&["limit=2.5"], "amount > $limit", "2,3"),
        (&["limit=2.5"], "id > $limit", "3"),
        (&["c=7"], "card = $c", "1"),
        (&["c=x' OR '1'='1"], "card = $c", "2"),
        (&["c=O'Neil"], "card = $c", "3"),
        (&["since=2026-11-22"], "at >= $since", "2,3"),
        (&["since=2026-11-22T00:00:00Z", "till=2026-11-22T12:00:00+00:00"], "at BETWEEN $since AND $till", "2"),
        (&["since=2026-11-23"], "at >= CAST($since AS TIMESTAMP) - INTERVAL '1 day'", "2,3"),
        (&["back=1 day"], "at >= TIMESTAMP '2026-11-23' - INTERVAL $back", "2,3"),
        (&["paid=true"], "paid = $paid", "1"),
        (&["paid=NULL"], "paid IS NOT DISTINCT FROM $paid", "3"),
        (&["net=1.995"], "net > $net", "2,3"),
        (&["a=1", "b=3"], "id IN ($a, $b)", "1,3"),
        (&["like=O%"], "card LIKE $like", "3"),
        (&["n=1"], "round(amount, $n) = 2.5", "1"),
        (&["n=2"], "id + $n > 4", "3"),
        // A text of digits, since what it is compared with is a text.
        (&["c=7"], "CASE card WHEN $c THEN 1 ELSE 0 END = 1", "1"),
        (&["c=7"], "nullif(card, $c) IS NULL", "1"),
        (&["c=7"], "coalesce(card, $c) = '7'", "1"),
        (&["c=7"], "CASE $c WHEN card THEN true ELSE false END", "1"),
    ] {
        assert_eq!(ids(&place, params, condition), found, "{params:?} {condition}");
    }
    // Where nothing says what it is, its own form does; quotes make it a text.
    let sql = "SELECT $a AS a, $b AS b, $c AS c, $d AS d, $e AS e, $f AS f";
    let params = ["a=5", "b=-2.5", "c=true", "d=NULL", "e='5'", "f=2026-11-21"];
    let args: Vec<&str> =
        ["sql", "--format", "json"].into_iter().chain(params.iter().flat_map(|p| ["--param", p])).collect();
    let row = place.ok(&[&args[..], &[sql]].concat());
    assert_eq!(row, "{\"a\":5,\"b\":-2.5,\"c\":true,\"d\":null,\"e\":\"5\",\"f\":\"2026-11-21\"}\n");
}

#[test]
fn a_parameter_stands_where_a_text_is_wanted_too() {
    let place = payments();
    let sql = "CREATE TABLE q (id BIGINT) WITH (topic = $topic); SET score.on_error = $how; SELECT count(*) AS n FROM q;
               SELECT count(*) AS n FROM topic($topic) LIMIT $few;
               CREATE VIEW v AS SELECT id FROM q WHERE id > $least; SELECT id FROM v ORDER BY id DESC LIMIT $few";
    let args = [
        "sql", "--format", "json", "--param", "topic=p", "--param", "how=null", "--param", "few=1", "--param", "least=1",
        sql,
    ];
    assert_eq!(place.ok(&args), "{\"n\":3}\n{\"n\":3}\n{\"id\":3}\n");
}

#[test]
fn a_job_of_a_saved_file_takes_parameters() {
    let place = payments();
    place.file(
        "risky.sql",
        format!("{TABLE} CREATE TABLE risky WITH (topic = $to) AS SELECT id, $who AS who FROM p WHERE amount > $limit;"),
    );
    place.ok(&["run", "--until-end", "--param", "limit=9", "--param", "to=out", "--param", "who=me", "risky.sql"]);
    assert_eq!(place.values("out"), [r#"{"id":2,"who":"me"}"#, r#"{"id":3,"who":"me"}"#]);
}

#[test]
fn a_parameter_that_is_inserted_has_the_type_of_its_column() {
    let place = payments();
    let args = ["sql", "--param", "id=4", "--param", "card=123", "--param", "at=2026-11-21", "--param", "paid=NULL"];
    let sql = format!(
        "{TABLE} INSERT INTO p (card, id, at, paid, amount) VALUES ($card, $id, $at, $paid, $id), ('x', 5, NULL, true, 1)"
    );
    place.ok(&[&args[..], &[&sql]].concat());
    let select = format!("{TABLE} SELECT card, id, at, paid, amount FROM p WHERE id > 3 ORDER BY id");
    let expected = [
        json!({"card": "123", "id": 4, "at": "2026-11-21T00:00:00.000", "paid": null, "amount": 4.0}),
        json!({"card": "x", "id": 5, "at": null, "paid": true, "amount": 1.0}),
    ];
    assert_eq!(place.rows(&select), expected);
    // In a job, and never as another number.
    let job = format!(
        "{TABLE} CREATE TABLE q (id INT, card VARCHAR, who VARCHAR) WITH (topic = 'q'); INSERT INTO q SELECT id, $card, card FROM p WHERE id = 1;"
    );
    place.file("job.sql", job);
    place.ok(&["run", "--until-end", "--param", "card=007", "job.sql"]);
    assert_eq!(place.values("q"), [r#"{"id":1,"card":"007","who":"7"}"#]);
    let ended = place.vatic(&["sql", "--param", "at=soon", &format!("{TABLE} INSERT INTO p (at) VALUES ($at)")]);
    assert_eq!(ended.code, 1);
    assert!(ended.err.starts_with("error: parameter \"at\" is to be TIMESTAMP(3) here, and is 'soon'"), "{}", ended.err);
}

#[test]
fn a_parameter_that_is_missing_unknown_or_wrong_is_named() {
    let place = payments();
    for (params, sql, error, hint) in [
        (&[][..], "SELECT $limit", "parameter \"limit\" has no value", "Give it one: --param limit=VALUE"),
        (&["limti=5"], "SELECT $limit", "no statement has a parameter \"limti\"", "Did you mean \"limit\"?"),
        (&["a=1", "limit=5"], "SELECT $a", "no statement has a parameter \"limit\"", "Known parameters: a."),
        (
            &["limit=5"],
            "SELECT 1",
            "no statement has a parameter \"limit\"",
            "Write $limit where the value belongs, or leave out --param limit=...",
        ),
        (&["a=1", "a=2"], "SELECT $a", "parameter \"a\" is given twice", "Leave out one of them."),
        (
            &["a b=1"],
            "SELECT 1",
            "\"a b\" is not a parameter's name",
            "Use letters, digits and \"_\", with no digit at the begin: --param limit=5",
        ),
        (
            &["limit=abc"],
            "SELECT id FROM topic('p') WHERE amount > $limit",
            "parameter \"limit\" is to be DOUBLE here, and is 'abc'",
            "Give another value, or write CAST($limit AS TYPE).",
        ),
        (
            &["limit=abc"],
            "SELECT CASE amount WHEN $limit THEN 1 END FROM topic('p')",
            "parameter \"limit\" is to be DOUBLE here, and is 'abc'",
            "Give another value, or write CAST($limit AS TYPE).",
        ),
    ] {
        let mut args = vec!["sql", "--quiet"];
        params.iter().for_each(|param| args.extend(["--param", param]));
        args.push(sql);
        let ended = place.vatic(&args);
        assert_eq!((ended.code, ended.out.as_str()), (1, ""), "{sql} {ended:#?}");
        let lines: Vec<&str> = ended.err.lines().collect();
        assert_eq!(lines.first().copied(), Some(format!("error: {error}").as_str()), "{ended:#?}");
        assert_eq!(lines.last().copied(), Some(format!("hint: {hint}").as_str()), "{ended:#?}");
    }
    // A name cannot be given from outside: rows would be ordered by a text.
    let sql = "SELECT id FROM topic('p') ORDER BY $by";
    let ended = place.vatic(&["sql", "--param", "by=amount", sql]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.err.contains("ORDER BY $by does nothing: parameter \"by\" is the text 'amount'"), "{}", ended.err);
    // The place is pointed at, and nothing has run before.
    let ended = place.vatic(&["sql", "INSERT INTO p VALUES (1); SELECT $x"]);
    assert!(ended.err.contains("\n  |                                  ^^\n"), "{}", ended.err);
    let ended = place.vatic(&["sql", "--param", "limit=abc", "SELECT id FROM topic('p') WHERE amount > $limit"]);
    assert!(ended.err.contains("  |                                          ^^^^^^\n"), "{}", ended.err);
    assert_eq!(place.vatic(&["sql", "--param", "novalue", "SELECT 1"]).code, 2);
}

#[test]
fn copy_writes_what_a_file_table_reads() {
    let place = payments();
    for file in ["p.parquet", "p.csv", "p.jsonl", "zstd.parquet"] {
        let options = if file.starts_with("zstd") { " (COMPRESSION zstd)" } else { "" };
        let copy = format!("{TABLE} COPY (SELECT * FROM p ORDER BY id) TO '{file}'{options}");
        let ended = place.vatic(&["sql", &copy]);
        assert_eq!((ended.code, ended.out.as_str()), (0, ""), "{ended:#?}");
        assert_eq!(ended.err, format!("wrote 3 rows to \"{file}\"\n"));
        let read = TABLE.replace(");", &format!(") WITH (connector = 'file', path = '{file}');"));
        let query = format!("{read} SELECT * FROM p ORDER BY id");
        let original = format!("{TABLE} SELECT * FROM p ORDER BY id");
        assert_eq!(
            place.ok(&["sql", "--format", "json", &query]),
            place.ok(&["sql", "--format", "json", &original]),
            "{file}"
        );
    }
    // Nested values are kept in Parquet and JSON, and become JSON text in CSV.
    let nested = "SELECT id, named_struct('a', amount, 'b', [id, NULL]) AS s FROM topic('p') WHERE id = 1";
    for (file, text) in [
        ("n.json", "{\"id\":1,\"s\":{\"a\":2.5,\"b\":[1,null]}}\n"),
        ("n.csv", "id,s\n1,\"{\"\"a\"\":2.5,\"\"b\"\":[1,null]}\"\n"),
    ] {
        place.ok(&["sql", &format!("COPY ({nested}) TO '{file}'")]);
        assert_eq!(std::fs::read_to_string(place.path(file)).unwrap(), text);
    }
    place.ok(&["sql", &format!("COPY ({nested}) TO 'n.parquet'")]);
    let back = "CREATE TABLE n WITH (connector = 'file', path = 'n.parquet'); SELECT s.b AS b FROM n";
    assert_eq!(place.rows(back), [json!({"b": [1, null]})]);
    // The options of CSV, a whole table, the ending overruled, a parameter as the path, and the rights of a new file.
    let sql = "COPY (SELECT id, NULL AS x FROM topic('p') WHERE id < 3 ORDER BY id) TO $file (FORMAT csv, HEADER false, DELIMITER ';', NULL '-')";
    place.ok(&["sql", "--param", "file=out.txt", sql]);
    assert_eq!(std::fs::read_to_string(place.path("out.txt")).unwrap(), "1;-\n2;-\n");
    place.ok(&["sql", "COPY topic('p') TO 'all.csv'"]);
    let all = std::fs::read_to_string(place.path("all.csv")).unwrap();
    assert!(all.starts_with("id,amount,card,at,paid,net\n1,2.5,7,2026-11-21 04:40:49.000,true,1.99\n"), "{all}");
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: std::path::PathBuf| std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(place.path("all.csv")), mode(place.file("made.txt", "")));
}

#[test]
fn a_copy_that_fails_leaves_the_file_as_it_was() {
    let place = payments();
    for file in ["kept.csv", "kept.parquet", "kept.json"] {
        place.file(file, "what was there");
        let ended = place.vatic(&["sql", "-q", &format!("COPY (SELECT id, 1 / (3 - id) AS x FROM topic('p')) TO '{file}'")]);
        assert_eq!(ended.code, 1, "{ended:#?}");
        assert!(ended.err.starts_with("error: division by zero"), "{ended:#?}");
        assert_eq!(std::fs::read_to_string(place.path(file)).unwrap(), "what was there");
    }
    place.ok(&["sql", "COPY topic('p') TO 'kept.csv'"]);
    assert!(std::fs::read_to_string(place.path("kept.csv")).unwrap().starts_with("id,"));
    let left: Vec<String> =
        std::fs::read_dir(place.path(".")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    let known: BTreeSet<&str> = [".vatic", "kept.csv", "kept.parquet", "kept.json"].into();
    assert_eq!(left.iter().map(String::as_str).collect::<BTreeSet<_>>(), known, "nothing half-written stays");
    let ended = place.vatic(&["sql", "COPY topic('p') TO 'nowhere/x.csv'"]);
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("there is no folder \"nowhere\""), "{}", ended.err);
    let ended = place.vatic(&["sql", "COPY topic('p') TO '/dev/null' (FORMAT csv)"]);
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("\"/dev/null\" is not a file that could be replaced"), "{}", ended.err);
}

/// `... | head -1` must not wait for a second row that never comes.
#[test]
fn a_follower_ends_when_its_reader_has_left() {
    let place = payments();
    let follow = "SELECT id FROM topic('p') EMIT CHANGES";
    for args in [&["sql", "--format", "csv", follow][..], &["sql", follow], &["consume", "p", "--follow"]] {
        let mut child = place.command(args).spawn().unwrap();
        drop(child.stdout.take());
        let ended = child.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        assert!(!String::from_utf8_lossy(&ended.stderr).contains("error"), "{ended:?}");
    }
}

#[test]
fn a_saved_query_prints_in_each_format() {
    let place = payments();
    place.file("q.sql", "SELECT id, amount FROM topic('p') WHERE id = 1;");
    assert_eq!(place.ok(&["run", "--format", "csv", "q.sql"]), "id,amount\n1,2.5\n");
    assert_eq!(place.ok(&["run", "--format", "json", "q.sql"]), "{\"id\":1,\"amount\":2.5}\n");
    assert!(place.ok(&["run", "q.sql"]).ends_with("(1 row)\n"));
}

/// What inference chooses can be pasted, and then gives the same rows.
#[test]
fn inferred_ddl_can_be_pasted() {
    let place = Place::new();
    place.produce(
        "m",
        &[
            r#"{"id":1,"price":2,"tags":[1,"a"],"user":{"name":"x","Code":1},"big":18446744073709551615,"a b":{},"order":true}"#,
            r#"{"id":2.5,"price":"n/a","tags":[],"user":{"name":null,"Code":"k"},"at":"2026-11-21T04:40:49.123456Z","day":"2026-11-21"}"#,
            r#"{"id":3,"price":{"eur":5},"never":null,"deep":[{"x":[{"y":1}]}]}"#,
        ],
    );
    let shown = place.rows("SHOW CREATE TABLE topic('m')");
    let ddl = shown[0]["statement"].as_str().unwrap();
    let rows = place.ok(&["sql", "--format", "json", "SELECT * FROM topic('m')"]);
    assert_eq!(place.ok(&["sql", "--format", "json", &format!("{ddl} SELECT * FROM m")]), rows);
    assert_eq!(rows.lines().count(), 3, "no record is left out: {rows}");
    let created = place.vatic(&["sql", "CREATE TABLE t WITH (topic = 'm')"]);
    let printed = created.err.strip_prefix("columns found:\n").unwrap().split_inclusive(";\n").next().unwrap();
    assert_eq!(place.ok(&["sql", "--format", "json", &format!("{printed} SELECT * FROM t")]), rows);
    let note = "column \"user.Code\" holds text and numbers: it is VARCHAR, with the JSON text of what is no string\n";
    assert!(created.err.contains(note), "{}", created.err);
}

#[test]
fn a_column_of_several_kinds_is_told_of_to_those_who_read_it() {
    let place = Place::new();
    place.produce("m", &[r#"{"id":1,"price":2,"who":{"code":1}}"#, r#"{"id":2,"price":"n/a","who":{"code":"k"}}"#]);
    let told = |sql: &str| {
        let ended = place.vatic(&["sql", sql]);
        assert!(ended.code == 0 && ended.err.starts_with("columns found:\n"), "{ended:#?}");
        ["price", "who.code"].map(|column| ended.err.contains(&format!("topic \"m\": column \"{column}\" holds text and")))
    };
    assert_eq!(told("SELECT id FROM topic('m')"), [false, false]);
    assert_eq!(told("SELECT count(*), sum(id * 2) FROM topic('m')"), [false, false]);
    assert_eq!(told("SELECT id FROM topic('m') WHERE PRICE = '2'"), [true, false]);
    assert_eq!(told("SELECT m.who['code'] FROM topic('m')"), [false, true]);
    assert_eq!(told("CREATE VIEW v AS SELECT * FROM topic('m'); SELECT id FROM v"), [true, true]);
    assert_eq!(told("SELECT m.* FROM topic('m')"), [true, true]);
}

#[test]
fn manual_pages_say_what_the_command_line_says() {
    let place = Place::new();
    let page = place.ok(&["man"]);
    assert!(page.contains(".TH vatic 1") && page.contains("Exit codes: 0 done"), "{page}");
    place.ok(&["man", "pages"]);
    let cli = vatic::cli::args::Cli::command();
    for command in cli.get_subcommands().filter(|command| !command.is_hide_set()) {
        let page = std::fs::read_to_string(place.path(&format!("pages/vatic-{}.1", command.get_name()))).unwrap();
        for option in command.get_arguments().filter_map(clap::Arg::get_long) {
            assert!(page.contains(&option.replace('-', "\\-")), "{} --{option}", command.get_name());
        }
    }
    assert!(!place.path("pages/vatic-try-model.1").exists());
    assert!(!place.path(".vatic").exists(), "no broker is opened");
    let mut command = place.command(&["man", "/dev/null/pages"]);
    assert_eq!(Running::spawn(&mut command).end().code, 3);
}
