//! Functions written for Arroyo: built with cargo, loaded, called from SQL.
//!
//! Builds go to the user's cache (`~/.cache/vatic-udfs`), so that arrow 51 is compiled once on a machine; sources lie in one place per
//! target directory, so that unchanged ones are not built again.

mod faults;
mod names;
mod places;
mod stale;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use vatic::connector::embedded::Embedded;

use crate::harness::{Ended, Place};
use crate::rig::{Rig, until};

const LETTERS: &str = "vatic-dead-letters";

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("udfs")
}

/// A source file that stays where it is from run to run.
fn source(name: &str, text: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("udfs").join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    if std::fs::read_to_string(&path).ok().as_deref() != Some(text) {
        std::fs::write(&path, text).unwrap();
    }
    path
}

/// `vatic args...` with the user's own cargo and cache, which the harness keeps away from other tests.
fn command(place: &Place, args: &[&str]) -> Command {
    let home = PathBuf::from(std::env::var_os("HOME").unwrap());
    let or_home = |name: &str, folder: &str| std::env::var_os(name).map_or_else(|| home.join(folder), PathBuf::from);
    let mut command = place.command(args);
    command.env("CARGO_HOME", or_home("CARGO_HOME", ".cargo")).env("RUSTUP_HOME", or_home("RUSTUP_HOME", ".rustup"));
    command.env("XDG_CACHE_HOME", or_home("XDG_CACHE_HOME", ".cache"));
    command
}

fn vatic(place: &Place, args: &[&str]) -> Ended {
    crate::harness::Running::spawn(&mut command(place, args)).end()
}

/// The rows of the last statement.
fn rows(place: &Place, sql: &str) -> Vec<Value> {
    let ended = vatic(place, &["sql", "--format", "json", sql]);
    assert_eq!(ended.code, 0, "{sql}: {ended:#?}");
    ended.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Builds what is at `path`, if it can be built, so that no process of a test waits for cargo: the first build on a machine takes minutes.
fn warm(path: &Path) {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock();
    let _ = vatic::udf::build(path, false);
}

fn create(name: &str, path: &Path) -> String {
    warm(path);
    format!("CREATE FUNCTION {name} FROM '{}'; ", path.display())
}

/// What `sql` ends with: exit code and stderr.
fn error(place: &Place, sql: &str) -> (i32, String) {
    let ended = vatic(place, &["sql", sql]);
    (ended.code, ended.err)
}

/// A library that echoes, as if built against `version` of the interface, beside a source that says `signature`.
fn echo(place: &Place, name: &str, version: &str, signature: &str) -> PathBuf {
    place.file(&format!("{name}.rs"), format!("use arroyo_udf_plugin::udf;\n#[udf]\nfn {name}({signature} {{ x }}\n"));
    let text = include_str!("udfs/echo.txt").replace("VERSION", version);
    let shown = place.file(&format!("{name}-library/lib.rs"), text);
    let library = place.path(&format!("lib{name}.so"));
    let built = Command::new("rustc")
        .args(["--edition", "2024", "--crate-type", "cdylib", "--crate-name", name, "-o"])
        .args([&library, &shown])
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    library
}

#[test]
fn scalar_functions_of_a_crate_compute_like_sql() {
    let place = Place::new();
    let mut sql = create("haversine", &crates().join("haversine")) + &create("JSON_get", &crates().join("json_path"));
    sql += "CREATE TABLE g (n BIGINT, ts TIMESTAMP) WITH (connector = 'generator', rows = '20000');";
    let same = "SELECT count(*) AS n, max(abs(haversine(lat, 8.5, 52.5, n % 90) - 2 * 6371.0088 * asin(least(1.0, sqrt(
            power(sin(radians(52.5 - lat) / 2), 2) + cos(radians(lat)) * cos(radians(52.5)) * power(sin(radians(n % 90 - 8.5) / 2), 2))))))
            < 1e-9 AS same FROM (SELECT n, (n % 170)::DOUBLE - 85 AS lat FROM g) t";
    assert_eq!(rows(&place, &format!("{sql}{same}")), [json!({"n": 20000, "same": true})]);
    let query = r#"SELECT round(HAVERSINE(47.4, 8.5, 52.5, 13.4)) AS km, haversine(NULL, 8.5, 1, 1) AS none,
        json_GET('{"a": [{"b": "x"}, 7]}', '$.a[0].b') AS b, json_get('{"a": [1, {"c": 7}]}', 'a[1]') AS c,
        json_get('{"a": null}', 'a') AS nothing, json_get(NULL, 'a') AS missing"#;
    let expected = json!({"km": 666.0, "none": null, "b": "x", "c": "{\"c\":7}", "nothing": null, "missing": null});
    assert_eq!(rows(&place, &format!("{sql}{query}")), [expected]);
    // In WHERE, in a view, under an alias; and listed with what was counted.
    let listed = format!(
        "{sql} CREATE VIEW v AS SELECT n, haversine(0, 0, 0, n % 90) AS d FROM g; SELECT count(*) FROM v WHERE d > 5000; SHOW FUNCTIONS"
    );
    let listed = rows(&place, &listed);
    let of = |name: &str| listed.iter().find(|row| row["name"] == name).unwrap().clone();
    let haversine = of("haversine");
    assert_eq!(haversine["signature"], "haversine(lat1 DOUBLE, lon1 DOUBLE, lat2 DOUBLE, lon2 DOUBLE) -> DOUBLE");
    assert_eq!((&haversine["kind"], haversine["hash"].as_str().unwrap().len()), (&json!("scalar"), 12));
    assert!(haversine["path"].as_str().unwrap().ends_with("udfs/haversine"));
    assert!(haversine["rows"].as_str().unwrap().parse::<u64>().unwrap() >= 20_000, "{haversine}");
    assert_eq!((&of("json_get")["calls"], &of("abs")["kind"]), (&json!("0"), &json!("built in")));
}

#[test]
fn what_is_wrong_with_a_function_or_a_call_is_said() {
    let place = Place::new();
    let haversine = crates().join("haversine");
    let one = create("haversine", &haversine);
    for (sql, message, hint) in [
        (
            format!("{one} SELECT haversine(1, 2, 3)"),
            "haversine() takes 4 arguments, 3 were given",
            "Write haversine(lat1 DOUBLE, ",
        ),
        (
            format!("{one} SELECT haversine(1, 2, 3, 'x')"),
            "haversine() takes DOUBLE for \"lon2\", VARCHAR was given",
            "Write haversine(",
        ),
        (
            format!("{} SELECT picky(1.9, 'x')", create("picky", &source("picky.rs", PICKY))),
            "picky() takes BIGINT for \"n\", DOUBLE was given",
            "Write picky(",
        ),
        (format!("{one}{one}"), "function \"haversine\" exists already, from ", "CREATE OR REPLACE FUNCTION haversine"),
        (create("upper", &haversine), "function \"upper\" is built in", "Choose another name"),
        (create("score", &haversine), "function \"score\" is built in", "Choose another name"),
        (format!("{one} DROP FUNCTION haversine; SELECT haversine(1, 2, 3, 4)"), "no function \"haversine\"", ""),
        ("DROP FUNCTION nothing".into(), "no function \"nothing\"", ""),
        ("CREATE FUNCTION f FROM 'nowhere'".into(), "cannot read function file \"nowhere\"", "Name a .rs file"),
        ("CREATE FUNCTION f FROM 7".into(), "expected a path in single quotes", ""),
    ] {
        let (code, said) = error(&place, &sql);
        assert!(code == 1 && said.contains(message) && said.contains(hint), "{sql}\n{code} {said}");
    }
    place.file("two.rs", "#[udf] fn a(x: i64) -> i64 { x }\n#[udf] fn b(x: i64) -> i64 { x }");
    let (_, said) = error(&place, "CREATE FUNCTION f FROM 'two.rs'");
    assert!(said.contains("it has two functions with #[udf], \"a\" and \"b\""), "{said}");
    assert_eq!(
        rows(
            &place,
            &format!(
                "{one} CREATE FUNCTION IF NOT EXISTS haversine FROM 'nowhere'; DROP FUNCTION IF EXISTS x; SELECT 1 AS a"
            )
        )
        .len(),
        1
    );
}

#[test]
fn every_type_crosses_the_border_with_its_nulls() {
    let place = Place::new();
    for (rust, sql, values, arrow) in [
        ("i8", "TINYINT", "-128", "Int8"),
        ("i16", "SMALLINT", "-32768", "Int16"),
        ("i32", "INT", "-2147483648", "Int32"),
        ("i64", "BIGINT", "-9007199254740993", "Int64"),
        ("u8", "SMALLINT", "255", "UInt8"),
        ("u16", "INT", "65535", "UInt16"),
        ("u32", "BIGINT", "4294967295", "UInt32"),
        ("u64", "DECIMAL(20, 0)", "18446744073709551615", "UInt64"),
        ("f32", "REAL", "1.5", "Float32"),
        ("f64", "DOUBLE", "-0.1", "Float64"),
        ("bool", "BOOLEAN", "true", "Boolean"),
        ("SystemTime", "TIMESTAMP(6)", "'2026-11-21T04:40:49.123456'", "Timestamp(µs)"),
        ("&str", "VARCHAR", "'zwölf Boxkämpfer'", "Utf8"),
        ("&[u8]", "BYTEA", "'abc'", "Binary"),
    ] {
        let name = format!("echo_{}", rust.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase());
        let returns = match rust {
            "&str" => "String",
            "&[u8]" => "Vec<u8>",
            other => other,
        };
        let library = echo(&place, &name, "0.2.1", &format!("x: Option<{rust}>) -> Option<{returns}>"));
        let query = format!(
            "{} SELECT count(*) AS n, count(e) AS filled, bool_and(x IS NOT DISTINCT FROM e) AS same, min(arrow_typeof(e)) AS of
             FROM (SELECT x, {name}(x) AS e FROM (SELECT CASE WHEN n % 3 > 0 THEN CAST({values} AS {sql}) END AS x FROM g WHERE n % 7 > 0) a) b",
            create(&name, &library)
        );
        let table = "CREATE TABLE g (n BIGINT, ts TIMESTAMP) WITH (connector = 'generator', rows = '2100');";
        let expected = json!({"n": 1800, "filled": 1200, "same": true, "of": arrow});
        assert_eq!(rows(&place, &format!("{table}{query}")), [expected], "{rust}");
    }
}

#[test]
fn arroyos_macro_makes_functions_of_all_types_that_it_compiles() {
    let place = Place::new();
    let all = source(
        "all_types.rs",
        r#"use arroyo_udf_plugin::udf;
#[udf]
fn all_types(a: i8, b: i16, c: i32, d: i64, e: u8, f: u16, g: u32, h: u64, i: f32, j: f64, k: &str, l: &[u8], m: Option<i64>, n: Option<&str>) -> Option<String> {
    (a >= 0).then(|| format!("{a} {b} {c} {d} {e} {f} {g} {h} {i} {j} {k} {l:?} {m:?} {n:?}"))
}
"#,
    );
    let call = "all_types(n, 2, 3, 4, 5, 6, 7, 8, 9.5, 10.5, 'k', CAST('l' AS BYTEA), NULL, CAST(NULL AS VARCHAR)) AS x";
    let got = rows(&place, &format!("{} SELECT {call} FROM (VALUES (1), (-1), (NULL)) t (n)", create("all_types", &all)));
    assert_eq!(got, [json!({"x": "1 2 3 4 5 6 7 8 9.5 10.5 k [108] None None"}), json!({"x": null}), json!({"x": null})]);
    for (name, returns, value, expected) in [
        ("gives_i8", "i8", "x as i8", json!(-7)),
        ("gives_u16", "u16", "-x as u16", json!(7)),
        ("gives_u64", "u64", "u64::MAX", json!(u64::MAX)),
        ("gives_f32", "f32", "x as f32 / 2.0", json!(-3.5)),
        ("gives_bytes", "Vec<u8>", "x.to_string().into_bytes()", json!("-7")),
    ] {
        let text = format!("use arroyo_udf_plugin::udf;\n#[udf]\nfn {name}(x: i64) -> {returns} {{ {value} }}\n");
        let select = if returns == "Vec<u8>" { format!("CAST({name}(-7) AS VARCHAR)") } else { format!("{name}(-7)") };
        let got = rows(&place, &format!("{} SELECT {select} AS x", create(name, &source(&format!("{name}.rs"), &text))));
        assert_eq!(got, [json!({"x": expected})], "{name}");
    }
    // What Arroyo's own macro refuses at present is said with a way out.
    let text = "use arroyo_udf_plugin::udf;\n#[udf]\nfn negate(x: bool) -> bool { !x }\n";
    let (code, said) = error(&place, &create("negate", &source("negate.rs", text)));
    assert!(code == 1 && said.contains("does not compile") && said.contains("arroyo-udf-plugin 0.2.0"), "{said}");
}

/// Panics on 13; line 4.
const PICKY: &str = "use arroyo_udf_plugin::udf;\n#[udf]\nfn picky(n: i64, name: &str) -> i64 {\n    \
                     if n == 13 { panic!(\"no {name} here\") }\n    n * 2\n}\n";

#[test]
fn a_panic_is_that_rows_error_and_no_other_rows() {
    let place = Place::new();
    let picky = create("picky", &source("picky.rs", PICKY));
    let lines: Vec<String> = (0..100).map(|n| json!({"n": n}).to_string()).collect();
    place.produce("t", &lines.iter().map(String::as_str).collect::<Vec<_>>());
    let job = format!(
        "{picky} CREATE TABLE t (n BIGINT) WITH (topic = 't'); CREATE TABLE o (n BIGINT, d BIGINT) WITH (topic = 'TOPIC');
         INSERT INTO o SELECT n, picky(n, 'thirteen') FROM t;"
    );
    let run = |set: &str, topic: &str| {
        let file = place.file(&format!("{topic}.sql"), format!("{set} {}", job.replace("TOPIC", topic)));
        vatic(&place, &["run", "--until-end", file.to_str().unwrap()])
    };
    let ended = run("", "letters");
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert!(!ended.err.contains("thread '"), "a panic does not print itself: {}", ended.err);
    assert_eq!(place.records("letters").len(), 99);
    let letters = place.records(LETTERS);
    assert_eq!(letters.len(), 1);
    let headers = &letters[0]["headers"];
    assert_eq!(
        (&letters[0]["value"], &headers["vatic.reason"], &headers["vatic.offset"]),
        (&json!("{\"n\":13}"), &json!("udf"), &json!("13"))
    );
    let said = headers["vatic.error"].as_str().unwrap();
    for part in
        ["function \"picky\" panicked at ", "picky.rs:4:", "no thirteen here", "called with n = 13, name = 'thirteen'"]
    {
        assert!(said.contains(part), "{said}");
    }
    let ended = run("SET udf.on_error = 'null';", "nulls");
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(
        place.values("nulls").iter().filter(|v| v.contains("\"d\":null")).collect::<Vec<_>>(),
        ["{\"n\":13,\"d\":null}"]
    );
    let ended = run("SET udf.on_error = 'fail';", "fails");
    assert!(ended.code == 1 && ended.err.contains("no thirteen here"), "{ended:#?}");
    // A plain SELECT ends with it, unless it is to be NULL.
    let select = "SELECT sum(picky(n, 'x')) AS s FROM (VALUES (1), (13), (2)) t (n)";
    let (code, said) = error(&place, &format!("{picky}{select}"));
    assert!(code == 1 && said.contains("panicked at ") && said.contains("called with n = 13, name = 'x'"), "{said}");
    assert_eq!(rows(&place, &format!("{picky} SET udf.on_error = 'null'; {select}")), [json!({"s": 6})]);
}

#[test]
fn aggregates_see_the_rows_of_their_group() {
    let place = Place::new();
    let median = create("weighted_median", &crates().join("weighted_median"));
    let table = "CREATE TABLE g (n BIGINT, ts TIMESTAMP) WITH (connector = 'generator', rows = '30000');";
    // With equal weights it is the lower median: the middle of 0, 3, 6, ... for each remainder.
    let query = "SELECT n % 3 AS k, weighted_median(n, 1.5) AS m, count(*) AS c FROM g GROUP BY k ORDER BY k";
    let expected = [0, 1, 2].map(|k| json!({"k": k, "m": 14997.0 + f64::from(k), "c": 10000}));
    assert_eq!(rows(&place, &format!("{median}{table}{query}")), expected);
    let query = "SELECT weighted_median(v, w) AS m FROM (VALUES (1.0, 1.0), (2.0, 1.0), (100.0, 3.0), (NULL, 50.0), (5.0, NULL)) t (v, w)";
    assert_eq!(rows(&place, &format!("{median}{query}")), [json!({"m": 100.0})]);
    assert_eq!(
        rows(&place, &format!("{median}{query} WHERE v > 1000")),
        [json!({"m": null})],
        "no rows give NULL without a call"
    );
    let (code, said) =
        error(&place, &format!("{median}{table} SET udf.group_rows = 5000; SELECT weighted_median(n, 1) FROM g"));
    assert!(
        code == 1 && said.contains("would keep more than 5000 rows of one group") && said.contains("SET udf.group_rows"),
        "{said}"
    );
    let (code, said) =
        error(&place, &format!("{median} SELECT weighted_median(DISTINCT v, 1) FROM (VALUES (1), (2)) t (v)"));
    assert!(code == 1 && said.contains("does not take DISTINCT"), "{said}");
    for (call, message) in [
        ("weighted_median(v, 1 ORDER BY v DESC)", "does not take ORDER BY"),
        ("weighted_median(v, 1) OVER (ORDER BY v ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)", "a frame whose begin moves"),
    ] {
        let (code, said) = error(&place, &format!("{median} SELECT {call} FROM (VALUES (1), (2)) t (v)"));
        assert!(code == 1 && said.contains(message), "{call}: {said}");
    }
    let running = "SELECT weighted_median(v, 1) OVER (ORDER BY v) AS m FROM (VALUES (1), (2), (3)) t (v) ORDER BY v";
    assert_eq!(rows(&place, &format!("{median}{running}")), [1.0, 1.0, 2.0].map(|m| json!({"m": m})));
    let text = "use arroyo_udf_plugin::udf;\n#[udf]\nfn third(v: Vec<f64>) -> f64 {\n    v[2]\n}\n";
    let third = create("third", &source("third.rs", text));
    let query = "SELECT k, third(v) AS x FROM (VALUES (1, 1.0), (2, 2.0), (2, 4.0), (2, 8.0), (2, NULL)) t (k, v) GROUP BY k ORDER BY k";
    let (code, said) = error(&place, &format!("{third}{query}"));
    assert!(code == 1 && said.contains("function \"third\" panicked at ") && said.contains("third.rs:4:"), "{said}");
    let expected = [json!({"k": 1, "x": null}), json!({"k": 2, "x": 8.0})];
    assert_eq!(rows(&place, &format!("{third} SET udf.on_error = 'null'; {query}")), expected);
    let (code, said) = error(&place, &format!("{median} {table} SELECT weighted_median(n, 1) FROM g EMIT CHANGES"));
    assert!(code == 1 && said.contains("an aggregate function is not available in a running query yet"), "{said}");
}

/// What a server has seen.
#[derive(Default)]
struct Asked {
    count: AtomicUsize,
    /// At present, and at most.
    at_once: Mutex<(usize, usize)>,
}

/// A model server on loopback: `GET /score?features=1,2` answers with their sum after `pause`; `features=bad` with 500.
/// Tells how many asked and how many at once.
fn server(pause: Duration) -> (String, Arc<Asked>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let seen: Arc<Asked> = Arc::default();
    let shared = Arc::clone(&seen);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, seen) = (stream.unwrap(), Arc::clone(&shared));
            std::thread::spawn(move || {
                seen.count.fetch_add(1, Ordering::SeqCst);
                {
                    let mut now = seen.at_once.lock().unwrap();
                    *now = (now.0 + 1, now.1.max(now.0 + 1));
                }
                let mut request = [0; 1000];
                let n = stream.read(&mut request).unwrap_or(0);
                let request = String::from_utf8_lossy(&request[..n]).into_owned();
                let features =
                    request.split("features=").nth(1).and_then(|r| r.split(' ').next()).unwrap_or_default().to_owned();
                std::thread::sleep(if features == "slow" { Duration::from_secs(60) } else { pause });
                let sum: Option<f64> = features.split(',').map(|f| f.parse::<f64>().ok()).sum();
                let answer = match sum {
                    Some(sum) => format!("HTTP/1.1 200 OK\r\n\r\n{sum}"),
                    None => "HTTP/1.1 500 Broken\r\n\r\n".to_owned(),
                };
                let _ = stream.write_all(answer.as_bytes());
                seen.at_once.lock().unwrap().0 -= 1;
            });
        }
    });
    (address, seen)
}

#[test]
fn async_functions_have_many_rows_in_flight_and_keep_their_order() {
    let place = Place::new();
    let (address, seen) = server(Duration::from_millis(20));
    let create = create("remote_score", &crates().join("remote_score"));
    let table = "CREATE TABLE g (n BIGINT, ts TIMESTAMP) WITH (connector = 'generator', rows = '400');";
    let query = format!(
        "SELECT count(*) AS n, count(s) AS scored, bool_and(s = n + 0.5) AS right FROM (SELECT n, remote_score('{address}',
         CASE WHEN n % 10 > 0 THEN n::VARCHAR || ',0.5' END) AS s FROM g) t"
    );
    assert_eq!(rows(&place, &format!("{create}{table}{query}")), [json!({"n": 400, "scored": 360, "right": true})]);
    let (asked, most) = (seen.count.load(Ordering::SeqCst), seen.at_once.lock().unwrap().1);
    assert_eq!(asked, 360, "a NULL is not sent");
    assert!((2..=64).contains(&most), "at most allowed_in_flight = 64 at once: {most}");
    // In WHERE, above and below other things, and in a job.
    let query = format!("SELECT n FROM g WHERE n < 20 AND remote_score('{address}', n::VARCHAR) > 17.5 ORDER BY n");
    assert_eq!(rows(&place, &format!("{create}{table}{query}")), [json!({"n": 18}), json!({"n": 19})]);
}

#[test]
fn a_row_that_times_out_or_panics_stops_no_other() {
    let place = Place::new();
    let (address, _) = server(Duration::from_millis(1));
    let text = std::fs::read_to_string(crates().join("remote_score/src/lib.rs")).unwrap();
    let text = text.replace("timeout = \"2s\"", "timeout = \"10s\"").replace("remote_score", "asked");
    let header = "/*\n[dependencies]\ntokio = { version = \"1\", features = [\"net\", \"io-util\"] }\n*/\n";
    let own: String = text.lines().filter(|line| !line.starts_with("//!")).map(|line| format!("{line}\n")).collect();
    let asked = create("asked", &source("asked.rs", &format!("{header}{own}")));
    let lines: Vec<String> = (0..60)
        .map(|n| match n {
            20 => json!({"f": "slow"}).to_string(),
            40 => json!({"f": "bad"}).to_string(),
            n => json!({"f": n.to_string()}).to_string(),
        })
        .collect();
    place.produce("t", &lines.iter().map(String::as_str).collect::<Vec<_>>());
    let job = format!(
        "{asked} CREATE TABLE t (f VARCHAR) WITH (topic = 't'); CREATE TABLE o (f VARCHAR, s DOUBLE) WITH (topic = 'TOPIC');
         INSERT INTO o SELECT f, asked('{address}', f) FROM t;"
    );
    let run = |set: &str, topic: &str| {
        let file = place.file(&format!("{topic}.sql"), format!("{set} {}", job.replace("TOPIC", topic)));
        let ended = vatic(&place, &["run", "--until-end", file.to_str().unwrap()]);
        assert_eq!(ended.code, 0, "{ended:#?}");
    };
    run("SET udf.on_error = 'null';", "nulls");
    let values = place.values("nulls");
    let nulls: Vec<&String> = values.iter().filter(|v| v.contains("\"s\":null")).collect();
    assert_eq!(
        (values.len(), nulls),
        (60, vec![&"{\"f\":\"slow\",\"s\":null}".to_owned(), &"{\"f\":\"bad\",\"s\":null}".to_owned()])
    );
    run("", "letters");
    assert_eq!(place.values("letters").len(), 58);
    let letters = place.records(LETTERS);
    let said: Vec<&str> = letters.iter().map(|l| l["headers"]["vatic.error"].as_str().unwrap()).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(
        said.iter().any(|s| s.contains("function \"asked\" gave no answer in 10s, called with address = '")
            && s.contains("features = 'slow'")),
        "{said:?}"
    );
    assert!(said.iter().any(|s| s.contains("asked.rs:") && s.contains("says HTTP/1.1 500 Broken")), "{said:?}");
}

#[test]
fn a_library_beside_its_source_is_used_until_the_source_is_newer() {
    let place = Place::new();
    let library = echo(&place, "same", "0.2.1", "x: i64) -> i64");
    let call = format!("{} SELECT same(7) AS x", create("same", &library));
    let without_compiler = |sql: &str| {
        let mut command = command(&place, &["sql", "--format", "json", sql]);
        crate::harness::Running::spawn(command.env("PATH", place.path("nothing"))).end()
    };
    assert_eq!(without_compiler(&call).out, "{\"x\":7}\n", "nothing has to be built");
    // The source is newer now: built anew where there is cargo, refused where there is none.
    let text = "use arroyo_udf_plugin::udf;\n#[udf]\nfn same(x: i64) -> i64 { x + 1 }\n";
    let file = place.file("same.rs", text);
    let later = SystemTime::now() + Duration::from_secs(5);
    std::fs::File::options().write(true).open(&file).unwrap().set_modified(later).unwrap();
    let ended = without_compiler(&call);
    assert_eq!(ended.code, 3, "{ended:#?}");
    for part in ["has to be compiled, and there is no cargo here", "is older than its source", "Install Rust"] {
        assert!(ended.err.contains(part), "{}", ended.err);
    }
    assert_eq!(rows(&place, &call), [json!({"x": 8})]);
    // What was built once is in the cache: no compiler is needed any more, until the source changes.
    let lone = create("same", &file) + "SELECT same(7) AS x";
    assert_eq!(without_compiler(&lone).out, "{\"x\":8}\n");
    place.file("same.rs", text.replace("+ 1", "+ 2"));
    assert_eq!(without_compiler(&lone).code, 3);
}

#[test]
fn a_library_of_another_interface_is_refused() {
    let place = Place::new();
    let library = echo(&place, "newer", "0.3.0", "x: i64) -> i64");
    let (code, said) = error(&place, &create("newer", &library));
    assert!(code == 1 && said.contains("built for another interface: arroyo-udf-common 0.3.0, not 0.2"), "{said}");
    assert!(said.contains("vatic udf build PATH"), "{said}");
    let library = echo(&place, "plain", "0.2.0", "x: i64) -> i64");
    place.file("plain.rs", "use arroyo_udf_plugin::udf;\n#[udf]\nasync fn plain(x: i64) -> i64 { x }\n");
    let sql = format!("{} SELECT 1", create("plain", &library));
    let bytes = std::fs::read(&library).unwrap();
    std::fs::write(&library, bytes).unwrap(); // newer than its source again
    let (code, said) = error(&place, &sql);
    assert!(code == 1 && said.contains("its source declares an async function, and it holds none"), "{said}");
    std::fs::write(&library, b"no library").unwrap();
    assert!(error(&place, &sql).1.contains("cannot load library"));
    let lonely = place.file("lonely/lonely.so", "");
    assert!(error(&place, &create("f", &lonely)).1.contains("has no source beside it"));
}

#[test]
fn a_folder_of_functions_is_loaded_when_asked_and_never_else() {
    let place = Place::new();
    warm(&place.file("fs/picky.rs", PICKY));
    let sql = ["sql", "--errors", "text", "--format", "json", "SELECT picky(4, 'x') AS x"];
    assert!(vatic(&place, &sql).err.contains("no function \"picky\""));
    let ended = vatic(&place, &[&sql[..], &["--udfs", "fs"]].concat());
    assert_eq!((ended.code, ended.out.as_str()), (0, "{\"x\":8}\n"), "{}", ended.err);
    warm(&place.file("fs/second.rs", PICKY));
    let ended = vatic(&place, &[&sql[..], &["--udfs", "fs"]].concat());
    assert!(ended.code == 1 && ended.err.contains("two functions are called \"picky\": "), "{ended:#?}");
    assert!(ended.err.contains("picky.rs") && ended.err.contains("second.rs"), "{}", ended.err);
}

#[test]
fn udfs_takes_one_function_and_says_when_there_is_none() {
    let place = Place::new();
    warm(&place.file("fs/picky.rs", PICKY));
    let with = |udfs: &str, sql: &str| vatic(&place, &["sql", "--errors", "text", "--format", "json", sql, "--udfs", udfs]);
    let ended = with("fs/picky.rs", "SELECT picky(4, 'x') AS x");
    assert_eq!((ended.code, ended.out.as_str()), (0, "{\"x\":8}\n"), "{}", ended.err);
    let haversine = crates().join("haversine");
    warm(&haversine);
    let ended = with(haversine.to_str().unwrap(), "SELECT haversine(1, 2, 1, 2) AS x");
    assert_eq!((ended.code, ended.out.as_str()), (0, "{\"x\":0.0}\n"), "{}", ended.err);
    let ended = with("nofolder", "SELECT 1 AS x");
    let said =
        ended.err.contains("there is no folder \"nofolder\" to load functions from") && ended.err.contains("--udfs udfs");
    assert!(ended.code == 1 && said, "{ended:#?}");
    place.file("empty/readme.txt", "");
    let ended = with("empty", "SELECT 1 AS x");
    assert!(ended.code == 0 && ended.err.contains("warning: folder \"empty\" has no functions in it"), "{ended:#?}");
    assert!(ended.err.contains("vatic udf new NAME"), "{}", ended.err);
}

#[test]
fn the_command_line_builds_checks_and_begins_functions() {
    let place = Place::new();
    for (option, kind, call) in
        [("", "scalar", "f(2, 3)"), ("--async", "async", "f('k')"), ("--aggregate", "aggregate", "f(2)")]
    {
        let folder = format!("of{}", option.trim_start_matches('-'));
        let inside = place.path(&folder);
        std::fs::create_dir_all(&inside).unwrap();
        let args: Vec<&str> = ["udf", "new", "f", option].into_iter().filter(|arg| !arg.is_empty()).collect();
        let made = crate::harness::Running::spawn(command(&place, &args).current_dir(&inside)).end();
        assert_eq!(made.code, 0, "{made:#?}");
        let path = format!("{folder}/f");
        warm(&place.path(&path));
        let built = vatic(&place, &["udf", "build", &path]);
        assert!(built.code == 0 && built.out.contains(&format!("kind={kind} hash=")), "{built:#?}");
        let expected = match kind {
            "scalar" => json!(6.0),
            "async" => json!("found k"),
            _ => json!(0.0),
        };
        assert_eq!(rows(&place, &format!("CREATE FUNCTION f FROM '{path}'; SELECT {call} AS x")), [json!({"x": expected})]);
        let again = crate::harness::Running::spawn(command(&place, &args).current_dir(&inside)).end();
        let left = again.err.contains("there is \"f\" already") && again.err.contains("Choose another name");
        assert!(again.code == 1 && left, "a folder that is there is left alone: {}", again.err);
    }
    let broken =
        place.file("broken.rs", "use arroyo_udf_plugin::udf;\n\n#[udf]\nfn broken(x: i64) -> i64 {\n    x + missing\n}\n");
    for command in ["check", "build"] {
        let ended = vatic(&place, &["udf", command, broken.to_str().unwrap()]);
        assert_eq!(ended.code, 1, "{ended:#?}");
        for part in ["does not compile", "cannot find value `missing`", "broken.rs:5:9"] {
            assert!(ended.err.contains(part), "{}", ended.err);
        }
    }
    let checked = vatic(&place, &["udf", "check", source("picky.rs", PICKY).to_str().unwrap()]);
    assert_eq!(
        (checked.code, checked.out.as_str()),
        (0, "picky(n BIGINT, name VARCHAR) -> BIGINT  kind=scalar\n"),
        "{checked:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_job_takes_a_replaced_function_at_its_next_epoch() {
    let version = |add: &str| format!("use arroyo_udf_plugin::udf;\n#[udf]\nfn plus(x: i64) -> i64 {{ x + {add} }}\n");
    let (one, two) = (source("plus_1.rs", &version("1000")), source("plus_2.rs", &version("2000")));
    let other = source("plus_3.rs", &version("0").replace("-> i64 { x + 0", "-> f64 { x as f64"));
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::over(Embedded::open(dir.path()).unwrap());
    rig.topic("t", 1).await;
    let job = format!(
        "{} CREATE TABLE t (n BIGINT) WITH (topic = 't'); CREATE TABLE o WITH (topic = 'o') AS SELECT plus(n) AS p FROM t",
        create("plus", &one)
    );
    let job = rig.job(&job).await;
    rig.produce("t", 0, ["{\"n\":1}"]).await;
    until("the first row", async || rig.values("o").await.len() == 1).await;
    let replace = |path: &Path| format!("CREATE OR REPLACE FUNCTION plus FROM '{}'", path.display());
    // Other types would break the plan that runs.
    let refused = rig.sql(&replace(&other)).await.err().unwrap();
    assert_eq!(refused.message(), "job \"o\" calls plus(x BIGINT) -> BIGINT, which would become plus(x BIGINT) -> DOUBLE");
    rig.sql(&replace(&two)).await.unwrap();
    rig.produce("t", 0, ["{\"n\":2}", "{\"n\":3}"]).await;
    until("the next rows", async || rig.values("o").await.len() == 3).await;
    assert_eq!(rig.values("o").await, [json!({"p": 1001}), json!({"p": 2002}), json!({"p": 2003})]);
    // In the middle of rows that come, no row is lost or doubled, and each has one of the two.
    for round in 0..20 {
        rig.produce("t", 0, (0..50).map(|n| json!({"n": 10_000 * (1 + round * 50 + n)}).to_string())).await;
        rig.sql(&replace(if round % 2 == 0 { &one } else { &two })).await.unwrap();
    }
    until("all rows", async || rig.values("o").await.len() >= 1003).await;
    let got: Vec<i64> = rig.values("o").await.iter().skip(3).map(|row| row["p"].as_i64().unwrap()).collect();
    assert_eq!(got.iter().map(|p| p / 10_000).collect::<Vec<_>>(), (1..=1000).collect::<Vec<_>>());
    assert!(got.iter().all(|p| [1000, 2000].contains(&(p % 10_000))), "{got:?}");
    // Dropped, it is gone for new statements; the job keeps what it calls.
    rig.sql("DROP FUNCTION plus").await.unwrap();
    assert!(rig.sql("SELECT plus(1)").await.is_err());
    rig.produce("t", 0, ["{\"n\":4}"]).await;
    until("the last row", async || rig.values("o").await.len() == 1004).await;
    assert_eq!(rig.values("o").await[1003], json!({"p": 2004}));
    job.stop();
    job.wait().await.unwrap();
}

/// The last row of a model's reference, with 0.5 for what is missing there.
fn reference_row(model: &str, width: usize) -> Vec<f64> {
    let text = std::fs::read_to_string(crate::harness::model(&format!("{model}.json"))).unwrap();
    let reference: Value = serde_json::from_str(&text).unwrap();
    let values = reference["inputs"][0]["values"].as_array().unwrap();
    values[values.len() - width..].iter().map(|v| v.as_f64().unwrap_or(0.5)).collect()
}

/// Of 3,000 rows `scored` have a score, both ways the same, bit for bit, and there are enough different ones to mean something.
fn assert_same(place: &Place, setup: &str, ours: &str, theirs: &str, from: &str, scored: u32) {
    let query = format!(
        "SELECT count(*) AS n, count(theirs) AS scored, count(DISTINCT theirs) > 3 AS differ, bool_and(ours IS NOT DISTINCT FROM theirs) AS same,
         max(abs(ours - theirs)) AS off FROM (SELECT {ours} AS ours, {theirs} AS theirs FROM {from}) t"
    );
    let expected = json!({"n": 3000, "scored": scored, "differ": true, "same": true, "off": 0.0});
    assert_eq!(rows(place, &format!("{setup}{query}")), [expected], "{ours} and {theirs}");
}

#[test]
fn a_model_taken_along_in_a_function_scores_as_in_vatic() {
    let place = Place::new();
    let path = crates().join("vatic_score");
    place.ok(&["publish", "fraud", path.join("model.onnx").to_str().unwrap()]);
    // Cargo looks whether the scorer, which is this project's own source, has changed.
    vatic::udf::build(&path, true).unwrap();
    let table = "CREATE TABLE g (n BIGINT, ts TIMESTAMP) WITH (connector = 'generator', rows = '3000');";
    let from = "(SELECT (n * 37 % 4001) / 8.0 AS a, n % 24 AS h, CASE WHEN n % 10 > 0 THEN (n * 7 % 500) / 3.0 END AS d, n % 13 AS t FROM g) f";
    let setup = create("vatic_score", &path) + table;
    assert_same(&place, &setup, "vatic_score(a, h, d, t)", "score('fraud', a, h, d, t)", from, 2700);

    // Trees, a network, and classes with names: one function that has the models by name, as a library holds one.
    let models = [("tree_xgboost", 30, 3000), ("mlp_11_32_16_1", 11, 2700), ("tree_forest", 4, 2700)];
    let (mut statics, mut arms) = (String::new(), String::new());
    for (model, width, _) in models {
        let (file, row) = (crate::harness::model(&format!("{model}.onnx")), reference_row(model, width));
        place.ok(&["publish", model, &file]);
        let name = model.to_uppercase();
        statics +=
            &format!("static {name}: LazyLock<Model> = LazyLock::new(|| Model::new(include_bytes!({file:?})).unwrap());\n");
        arms += &format!("        \"{model}\" => (&*{name}, &{row:?}[..]),\n");
    }
    // With the versions and the profile of udfs/, so that what it depends on is compiled once.
    let read = |name: &str| std::fs::read_to_string(crates().join(name)).unwrap();
    let workspace = read("Cargo.toml");
    let profile = &workspace[workspace.find("[profile").unwrap()..];
    let scorer = path.join("scorer");
    let manifest = format!(
        "[package]\nname = \"taken_along\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[dependencies]\narroyo-udf-plugin = \"0.2\"\n\
         vatic-scorer = {{ path = {scorer:?} }}\n\n[workspace]\n\n{profile}"
    );
    let path = source("taken_along/Cargo.toml", &manifest).parent().unwrap().to_owned();
    source("taken_along/src/lib.rs", &TAKEN_ALONG.replace("STATICS", &statics).replace("ARMS", &arms));
    // Cargo takes out what is not needed.
    std::fs::write(path.join("Cargo.lock"), read("Cargo.lock")).unwrap();
    vatic::udf::build(&path, true).unwrap();
    let setup = create("taken_along", &path) + table;
    let from = "(SELECT CASE WHEN n % 10 > 0 THEN (n * 37 % 3001) / 1500.0 END AS x FROM g) f";
    let features = |model: &str, width: usize| {
        let row = reference_row(model, width);
        row.iter().map(|f| format!("x * {f:?}::DOUBLE")).collect::<Vec<_>>().join(", ")
    };
    for (model, width, scored) in models {
        let theirs = format!("score('{model}', {})", features(model, width));
        assert_same(&place, &setup, &format!("taken_along('score', '{model}', x)::DOUBLE"), &theirs, from, scored);
    }
    let labels = format!(
        "SELECT count(DISTINCT theirs) AS labels, bool_and(ours IS NOT DISTINCT FROM theirs) AS same FROM (SELECT taken_along('class', 'tree_forest', x) AS ours,
         classify('tree_forest', {}) AS theirs FROM {from}) t",
        features("tree_forest", 4)
    );
    assert_eq!(rows(&place, &format!("{setup}{labels}")), [json!({"labels": 3, "same": true})]);
}

/// Models by name, over a row of each that is multiplied by `x`.
const TAKEN_ALONG: &str = r#"use arroyo_udf_plugin::udf;
use std::sync::LazyLock;
use vatic_scorer::{Model, Value};
STATICS
#[udf]
fn taken_along(what: &str, model: &str, x: Option<f64>) -> Option<String> {
    let (model, row): (&Model, &[f64]) = match model {
ARMS        _ => return None,
    };
    let row: Vec<Value> = row.iter().map(|f| x.map(|x| x * f).into()).collect();
    match what {
        "score" => model.score(&row).unwrap().map(|s| s.to_string()),
        _ => model.classify(&row).unwrap(),
    }
}
"#;

/// Blocks its thread on 13 until there is a file at `path`; beside it, it makes another as soon as it does.
const BLOCKS: &str = r#"use std::path::Path;
use arroyo_udf_plugin::udf;
#[udf(allowed_in_flight = 4, timeout = "TIMEOUT")]
async fn blocks(path: &str, n: i64) -> i64 {
    if n == 13 {
        std::fs::write(format!("{path}.begun"), "").unwrap();
        while !Path::new(path).exists() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
    n * 2
}
"#;

#[test]
fn a_function_that_blocks_its_thread_is_late_and_the_process_goes_on() {
    let place = Place::new();
    let blocks = create("blocks", &source("blocks_5s.rs", &BLOCKS.replace("TIMEOUT", "5s")));
    let lines: Vec<String> = (0..40).map(|n| json!({"n": n}).to_string()).collect();
    place.produce("t", &lines.iter().map(String::as_str).collect::<Vec<_>>());
    let never = place.path("never");
    let job = format!(
        "SET udf.on_error = 'null'; {blocks} CREATE TABLE t (n BIGINT) WITH (topic = 't'); CREATE TABLE o (n BIGINT, d BIGINT) WITH (topic = 'o');
         INSERT INTO o SELECT n, blocks('{}', n) FROM t;",
        never.display()
    );
    let ended = vatic(&place, &["run", "--until-end", place.file("job.sql", job).to_str().unwrap()]);
    assert_eq!(ended.code, 0, "it ends, though the thread never does: {ended:#?}");
    assert!(place.path("never.begun").exists());
    let values: Vec<Value> = place.values("o").iter().map(|v| serde_json::from_str(v).unwrap()).collect();
    assert_eq!(values.len(), 40);
    for value in &values {
        // Those that were on their way with it are late as well.
        let n = value["n"].as_i64().unwrap();
        assert!(value["d"].is_null() || (value["d"] == n * 2 && n != 13), "{value}");
    }
    for n in [0, 39] {
        assert!(values.contains(&json!({"n": n, "d": n * 2})), "{n}: {values:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_blocks_its_thread_holds_up_no_other_query() {
    let path = source("blocks_10m.rs", &BLOCKS.replace("TIMEOUT", "10m"));
    let create = create("blocks", &path);
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let gate = dirs[0].path().join("gate");
    let query = format!("SELECT n, blocks('{}', n) AS d FROM (VALUES (1), (13), (2)) t (n) WHERE n IN ", gate.display());
    let mut other = Rig::over(Embedded::open(dirs[1].path()).unwrap());
    other.sql(&create).await.unwrap();
    let blocked = {
        let (dir, sql) = (dirs[0].path().to_owned(), format!("{create}{query} (1, 13, 2)"));
        tokio::spawn(async move { Rig::over(Embedded::open(&dir).unwrap()).rows(&sql).await.unwrap() })
    };
    until("the thread blocks", async || dirs[0].path().join("gate.begun").exists()).await;
    // The same function, in a thread of its own.
    let rows = other.rows(&format!("{query} (1, 2)")).await.unwrap();
    assert_eq!(rows, [json!({"n": 1, "d": 2}), json!({"n": 2, "d": 4})]);
    assert!(!blocked.is_finished());
    std::fs::write(&gate, "").unwrap();
    let rows = blocked.await.unwrap();
    assert_eq!(rows, [json!({"n": 1, "d": 2}), json!({"n": 13, "d": 26}), json!({"n": 2, "d": 4})]);
}

#[test]
fn rows_that_are_late_count_as_in_flight() {
    let place = Place::new();
    let text = r#"use std::cell::Cell;
use arroyo_udf_plugin::udf;
thread_local! { static ALIVE: Cell<usize> = const { Cell::new(0) }; }
struct Alive;
impl Drop for Alive {
    fn drop(&mut self) {
        let _ = ALIVE.try_with(|alive| alive.set(alive.get() - 1));
    }
}
#[udf(allowed_in_flight = 2, timeout = "1s")]
async fn hangs(path: &str, n: i64) -> i64 {
    ALIVE.set(ALIVE.get() + 1);
    let _alive = Alive;
    if ALIVE.get() > 2 {
        std::fs::write(path, "more than two").unwrap();
    }
    std::future::pending::<()>().await;
    n
}
"#;
    let hangs = create("hangs", &source("hangs.rs", text));
    let more = place.path("more");
    let table = "CREATE TABLE g (n BIGINT, ts TIMESTAMP) WITH (connector = 'generator', rows = '6');";
    let query =
        format!("SET udf.on_error = 'null'; SELECT count(*) AS n, count(hangs('{}', n)) AS answered FROM g", more.display());
    assert_eq!(rows(&place, &format!("{hangs}{table}{query}")), [json!({"n": 6, "answered": 0})]);
    assert!(!more.exists(), "a runtime had more than two rows");
}

#[test]
fn the_cache_lets_old_libraries_go_when_a_new_one_comes() {
    let place = Place::new();
    let library = echo(&place, "kept", "0.2.1", "x: i64) -> i64");
    let cached = |name: &str, days: u64| {
        let path = place.file(&format!("cache/vatic-udfs/libraries/{name}"), "");
        let written = SystemTime::now() - Duration::from_secs(days * 24 * 60 * 60);
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(written).unwrap();
        path
    };
    let (old, newer) = (cached("old-000000000000.so", 31), cached("old-111111111111.so", 29));
    let sql = format!("CREATE FUNCTION kept FROM '{}'; SELECT kept(7) AS x", library.display());
    let mut command = command(&place, &["sql", "--format", "json", &sql]);
    let ended = crate::harness::Running::spawn(command.env("XDG_CACHE_HOME", place.path("cache"))).end();
    assert_eq!((ended.code, ended.out.as_str()), (0, "{\"x\":7}\n"), "{ended:#?}");
    assert!(!old.exists() && newer.exists());
    // What others may write to could be anybody's code.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(place.path("cache/vatic-udfs"), open).unwrap();
    let ended = crate::harness::Running::spawn(command.env("XDG_CACHE_HOME", place.path("cache"))).end();
    assert!(ended.code == 3 && ended.err.contains("Set XDG_CACHE_HOME to a folder that is yours"), "{ended:#?}");
}
