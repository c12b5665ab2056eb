//! What people who come from psql try in their first half hour, key by key.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use crate::harness::{DEADLINE, Place};
use crate::terminal::{CTRL_C, CTRL_D, PROMPT, Terminal};

const PAYMENTS: &[&str] =
    &[r#"{"id":1,"card":"a","amount":10.5}"#, r#"{"id":2,"card":"b","amount":null}"#, r#"{"id":3,"card":"a","amount":7}"#];

/// Types a line; then all of `seen` is seen, in this order, and the next prompt.
#[track_caller]
fn ask(shell: &mut Terminal, line: &str, seen: &[&str]) {
    shell.enter(line);
    shell.taken(line);
    for text in seen {
        shell.expect(text);
    }
    shell.expect(PROMPT);
}

#[test]
fn parameters_are_set_listed_and_taken_away() {
    let place = Place::new();
    place.produce("payments", PAYMENTS);
    let mut shell = Terminal::open(&place);
    let shell = &mut shell;
    ask(shell, "\\set", &["(0 rows)"]);
    ask(shell, "\\set least 9", &[]);
    ask(shell, "\\set card 'a'", &[]);
    let select = "SELECT count(*) AS found FROM topic('payments') WHERE amount > $least AND card = $card;";
    ask(shell, select, &["found\n", "     1\n"]);
    ask(shell, "\\set least 5", &[]);
    ask(shell, select, &["found\n", "     2\n"]);
    ask(shell, "\\set", &["card  | 'a'", "least | 5", "(2 rows)"]);
    // A value is a value, whatever stands in it.
    ask(shell, "\\set card O'Neil; DROP", &[]);
    ask(shell, "SELECT $card AS name;", &["O'Neil; DROP\n"]);
    ask(shell, "\\unset laest", &["error: parameter \"laest\" has no value", "hint: Did you mean \"least\"?"]);
    ask(shell, "\\unset least", &[]);
    ask(shell, "SELECT $least;", &["error: parameter \"least\" has no value", "hint: Give it one: \\set least VALUE"]);
    ask(shell, "SELECT :card;", &["error: parameter \":card\" has no value", "hint: Write $card, and give it a value: "]);
    ask(shell, "\\set 1x 5", &["error: \"1x\" is not a parameter's name", "no digit at the begin: \\set limit 5"]);
    ask(shell, "\\set empty", &["error: \\set empty has no value", "hint: Write \\set empty VALUE"]);
    ask(shell, "\\unset", &["error: \\unset needs a name"]);
    shell.press("SELECT $ca\t");
    shell.expect("SELECT $card");
}

#[test]
fn what_is_typed_while_a_statement_runs_is_executed_line_by_line() {
    let place = Place::new();
    let mut shell = Terminal::open(&place);
    let shell = &mut shell;
    let slow = "CREATE TABLE g (n BIGINT) WITH (connector = 'generator', rows = '60', rate = '20');";
    ask(shell, slow, &["CREATE TABLE\n"]);
    shell.enter("SELECT count(*) AS rows_of_g FROM g;");
    shell.expect_signals();
    // The terminal itself takes these lines: it makes a line feed of each Enter.
    shell.press("\\set card 'a'\rSELECT 40 + 2 AS answer;\rSELECT 'it is '\r || $card || ' b' AS said;\rSELECT 'no end'");
    for text in ["rows_of_g\n", "60\n", "answer\n", "42\n", "said\n", "it is a b\n", "SELECT 'no end'"] {
        shell.expect(text);
    }
    ask(shell, " AS open;", &["open\n", "no end\n"]);
    shell.press(CTRL_D);
}

#[test]
fn a_script_reads_its_statements_with_the_parameters_before_them() {
    let place = Place::new();
    place.file("more.sql", "\\set n 40\nSELECT $n + 2 AS a;\n");
    let script = "\\set n 5\nSELECT $n + 1 AS a;\n\\set n 7\nSELECT $n\n + 1 AS a; \\echo between\nSELECT\n\\set n 8\n$n + 1 AS a;\n\
                  \\i more.sql\nSELECT 'ä', $n + 3 AS a;\n\\unset n\nSELECT 'ö',\n  $n;\n";
    let ended = place.piped(&[], script);
    let numbers: Vec<&str> =
        ended.out.lines().map(str::trim).filter(|line| !line.starts_with(['a', '-', '(', 'c'])).collect();
    assert_eq!(numbers, ["6", "8", "between", "9", "42", "ä       | 43"], "{ended:#?}");
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("parameter \"n\" has no value") && ended.err.contains("stdin:13:3"), "{}", ended.err);
    assert!(ended.err.contains("hint: Give it one: \\set n VALUE"), "{}", ended.err);
}

#[test]
fn what_nothing_fits_is_answered_with_what_does() {
    let place = Place::new();
    place.produce("payments", PAYMENTS);
    let mut shell = Terminal::of_size(&place, 80, 200, &[]);
    let shell = &mut shell;
    ask(shell, "CREATE TABLE payments (id BIGINT) WITH (topic = 'payments');", &["CREATE TABLE\n"]);
    ask(shell, "\\dt pamyents", &["error: no table or view fits \"pamyents\"", "hint: Did you mean \"payments\"?"]);
    ask(shell, "\\dt+ pay*", &[" payments | table", "(1 row)"]);
    ask(shell, "\\l paymnets", &["error: no topic fits \"paymnets\"", "hint: Did you mean \"payments\"?"]);
    ask(shell, "\\df socre", &["error: no function fits \"socre\"", "hint: Did you mean \"score\"?"]);
    ask(shell, "\\dm fraud", &["error: no model fits \"fraud\"", "hint: There is no model yet."]);
    // Many functions have a line each, one has everything.
    shell.enter("\\df array_*");
    let list = shell.expect(" rows)");
    assert!(
        list.contains(" array_append(array, element)           | Appends an element") && !list.contains("RECORD"),
        "{list}"
    );
    shell.expect(PROMPT);
    ask(shell, "\\df classify", &["signature   | classify(model VARCHAR", "description | The class or cluster", "(1 row)"]);
    ask(shell, "\\x foo", &["error: \"foo\" is neither on nor off", "hint: Write \\x on, \\x off or \\x auto."]);
    ask(shell, "\\o .", &["error: cannot write to file \".\"", "hint: Name a file in it: \\o ./rows.txt"]);
    ask(shell, "\\o no/such/file", &["error: cannot write to file \"no/such/file\"", "hint: Make its directory first"]);
    ask(shell, "SELECT 1 AS one \\watch 0", &["error: \\watch cannot use \"0\"", "hint: Write \\watch 2"]);
    ask(shell, "\\cd /tmp", &["error: unknown command \"\\cd\"", "hint: Paths begin in the directory"]);
    ask(shell, "help drop", &["DROP TABLE     forgets a table; its topic stays", "DROP FUNCTION  forgets a function"]);
    ask(shell, "\\h insert into", &["INSERT INTO ", "a job that writes"]);
    ask(shell, "\\h grant", &["error: no statement has the word \"grant\"", "hint: "]);
    // Where nothing can be completed nothing happens.
    shell.press("SELECT xyzzy\t");
    shell.expect("SELECT xyzzy");
    shell.press("y AS t");
    shell.expect("xyzzyy AS t");
    assert!(!shell.plain().contains("NO RECORDS"), "{}", shell.plain());
}

#[test]
fn a_command_that_takes_no_more_rows_is_an_error_and_the_screen_gets_them_again() {
    let place = Place::new();
    let mut shell = Terminal::open(&place);
    shell.enter("\\o | true");
    shell.expect(PROMPT);
    // As long as it has not ended its pipe takes rows.
    let begun = Instant::now();
    while !shell.sees("error: \"| true\" takes no more rows: it has ended", Duration::from_secs(1)) {
        assert!(begun.elapsed() < DEADLINE, "{}", shell.plain());
        shell.enter("SELECT 5 AS five;");
    }
    shell.expect("hint: Rows go to the screen again");
    ask(&mut shell, "SELECT 6 AS six;", &["\n six\n", "(1 row)"]);
    assert!(!shell.plain().contains("cancelled"), "{}", shell.plain());
}

#[test]
fn ctrl_c_forgets_all_lines_of_a_statement() {
    let place = Place::new();
    let mut shell = Terminal::open(&place);
    shell.enter("SELECT rubbish,");
    shell.expect("...> ");
    shell.press("more rubbish");
    shell.expect("more rubbish");
    shell.press(CTRL_C);
    shell.expect(PROMPT);
    ask(&mut shell, "SELECT 'clean' AS line;", &["line\n", " clean\n", "(1 row)"]);
    assert!(!shell.plain().contains("error"), "{}", shell.plain());
    // Pasted text is taken as it is: a tab completes nothing, and only Enter executes.
    shell.press("\x1b[200~SELECT\t'pasted'\n\tAS text;\x1b[201~");
    shell.expect("AS text;");
    ask(&mut shell, "", &["text\n", " pasted\n", "(1 row)"]);
}

#[test]
fn a_job_that_fails_says_so_above_the_line_that_is_typed() {
    let place = Place::new();
    place.produce("src", &[r#"{"id":1}"#]);
    let mut shell = Terminal::open(&place);
    ask(
        &mut shell,
        "CREATE TABLE src (id BIGINT) WITH (topic = 'src', bad_records = 'fail'); CREATE TABLE dst AS SELECT id FROM src;",
        &["job \"dst\" runs in the background"],
    );
    place.await_records("dst", 1);
    shell.press("SELECT 40 +");
    shell.expect("SELECT 40 +");
    place.produce("src", &["nonsense"]);
    shell.expect("error: job \"dst\"");
    shell.expect("vatic> SELECT 40 +");
    ask(&mut shell, " 2 AS answer;", &["\n answer\n", "42\n", "(1 row)"]);
    shell.press(CTRL_D);
    let all = shell.ends_with(0);
    assert_eq!(all.matches("error: job \"dst\"").count(), 1, "{all}");
}

#[test]
fn the_history_survives_kill_9_and_gives_statements_back_whole() {
    let place = Place::new();
    let mut shell = Terminal::open(&place);
    shell.enter("SELECT 'first line' AS a,");
    shell.expect("...> ");
    ask(&mut shell, "  'second line' AS b;", &["(1 row)"]);
    shell.kill();
    let mode = std::fs::metadata(place.path(".vatic_history")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "statements may hold passwords");
    let mut shell = Terminal::open(&place);
    shell.press("\x1b[A");
    shell.expect("'first line' AS a,");
    shell.expect("'second line' AS b;");
    shell.press("\r");
    shell.expect(" first line | second line\n");
    shell.expect("(1 row)");
}

#[test]
fn two_shells_share_one_history() {
    const EACH: usize = 12;
    let place = Place::new();
    let mut shells = [Terminal::open(&place), Terminal::open(&place)];
    // In each round both write at once.
    for round in 0..EACH {
        for (which, shell) in shells.iter_mut().enumerate() {
            shell.enter(&format!("SELECT 'of shell {which}, round {round}' AS t;"));
        }
        for (which, shell) in shells.iter_mut().enumerate() {
            shell.expect(&format!("\n of shell {which}, round {round}\n"));
            shell.expect("Time: ");
            shell.expect(PROMPT);
        }
    }
    let lines = || std::fs::read_to_string(place.path(".vatic_history")).unwrap_or_default();
    for which in 0..2 {
        for round in 0..EACH {
            let line = format!("SELECT 'of shell {which}, round {round}' AS t;");
            assert_eq!(lines().lines().filter(|own| *own == line).count(), 1, "{line} in {}", lines());
        }
    }
    for mut shell in shells {
        shell.press(CTRL_D);
        shell.ends_with(0);
    }
    assert_eq!(lines().lines().count(), 2 * EACH);
}

#[test]
fn a_word_that_wants_out_of_a_statement_is_told_the_way() {
    let place = Place::new();
    let mut shell = Terminal::open(&place);
    shell.enter("SELECT 40 +");
    shell.expect("...> ");
    shell.enter("quit");
    shell.expect("Use \\q to quit, Ctrl-C to drop the statement, ; to end it.\n");
    shell.expect("SELECT 40 +");
    shell.expect("...> ");
    // What was typed before it is still there, without the word.
    ask(&mut shell, " 2 AS answer;", &["\n answer\n", "42\n", "(1 row)"]);
    shell.enter("SELECT 'open");
    shell.expect("...> ");
    shell.enter("clear");
    shell.expect("A quote or a comment is open: close it first, or press Ctrl-C to drop the statement.\n");
    shell.expect("SELECT 'open");
    shell.press(CTRL_C);
    shell.expect(PROMPT);
    // By itself each is a command, or a statement.
    shell.enter("quit");
    shell.ends_with(0);
}

#[test]
fn what_is_to_be_pasted_is_printed_without_a_table() {
    let place = Place::new();
    place.produce("payments", PAYMENTS);
    const DDL: &str = "CREATE TABLE payments (\n  id BIGINT,\n  card VARCHAR,\n  amount DOUBLE\n) WITH (\n  format = 'json',\n  \
                       topic = 'payments'\n);\n";
    let show = "SHOW CREATE TABLE topic('payments')";
    assert_eq!(place.ok(&["sql", show]), DDL);
    assert!(place.ok(&["sql", "--format", "csv", show]).starts_with("table,statement\npayments,\"CREATE TABLE payments ("));
    let pasted = place.ok(&["sql", "--format", "csv", &format!("{DDL} SELECT sum(id) AS s FROM payments")]);
    assert_eq!(pasted, "s\n6\n");
    let view = "CREATE VIEW v AS SELECT 1 AS a; SHOW CREATE VIEW v";
    assert_eq!(place.ok(&["sql", view]), "CREATE VIEW v AS SELECT 1 AS a;\n");
    // A script's \d knows topics as the prompt's does.
    let ended = place.piped(&[], "\\d topic('payments')\n\\x on\nSHOW CREATE TABLE topic('payments');\n");
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert!(
        ended.out.starts_with(" column |   type  |") && ended.out.ends_with(&format!("(3 rows)\n\n{DDL}{DDL}")),
        "{}",
        ended.out
    );
    let ended = place.piped(&[], "\\d payments\n");
    assert!(ended.code == 1 && ended.err.contains("hint: It is a topic: \\d topic('payments'), SELECT"), "{ended:#?}");
    let mut shell = Terminal::open(&place);
    ask(&mut shell, "\\d topic('payments')", &["amount", "DOUBLE", "(3 rows)\n\nCREATE TABLE payments (\n"]);
    ask(&mut shell, "SHOW CREATE TABLE topic('payments');", &["\nCREATE TABLE payments (\n  id BIGINT,", "Time: "]);
    ask(&mut shell, "\\d topic('paymnts')", &["error: no topic \"paymnts\"", "hint: Did you mean \"payments\"?"]);
}

#[test]
fn functions_are_listed_in_80_columns() {
    let place = Place::new();
    let mut shell = Terminal::of_size(&place, 80, 50, &[]);
    shell.enter("\\df");
    shell.expect(" function ");
    shell.expect("score(model VARCHAR, feature, ...)");
    let lines = shell.expect(" rows)");
    assert!(lines.contains("\n abs(numeric_expression)") && lines.contains('…'), "{lines}");
    assert!(lines.lines().count() > 100 && lines.lines().all(|line| line.chars().count() <= 80), "{lines}");
    shell.expect(PROMPT);
    ask(&mut shell, "\\df abs", &["numeric_expression", "Returns the absolute value", "built in", "(1 row)"]);
    ask(&mut shell, "\\df+ ab*", &["abs(numeric_expression)", "built in", "row"]);
}

#[test]
fn functions_of_ones_own_are_completed_while_they_are_there() {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("udfs/haversine");
    // The first build on a machine takes longer than anybody waits at a prompt.
    vatic::udf::build(&source, false).unwrap();
    let place = Place::new();
    let home = std::path::PathBuf::from(std::env::var_os("HOME").unwrap());
    let user = |name: &str, folder: &str| {
        let path = std::env::var_os(name).map_or_else(|| home.join(folder), std::path::PathBuf::from);
        path.display().to_string()
    };
    let [cargo, rustup, cache] =
        [user("CARGO_HOME", ".cargo"), user("RUSTUP_HOME", ".rustup"), user("XDG_CACHE_HOME", ".cache")];
    let environment = [("CARGO_HOME", &*cargo), ("RUSTUP_HOME", &*rustup), ("XDG_CACHE_HOME", &*cache)];
    let mut shell = Terminal::of_size(&place, 160, 50, &environment);
    ask(&mut shell, &format!("CREATE FUNCTION km_between FROM '{}';", source.display()), &["CREATE FUNCTION\n"]);
    shell.press("SELECT km_b\t");
    shell.expect("SELECT km_between(");
    shell.press(CTRL_C);
    shell.expect(PROMPT);
    ask(&mut shell, "\\df km*", &["km_between(lat1 DOUBLE", "udfs/haversine", "(1 row)"]);
    shell.press("DROP FUNCTION \t");
    shell.expect("DROP FUNCTION km_between");
    ask(&mut shell, ";", &["DROP FUNCTION\n"]);
    // Nobody is offered what is gone: the Tab leaves the line as it is, and the next key goes behind it.
    shell.press("SELECT km_b\t1;\r");
    shell.expect("error: no column \"km_b1\"");
    shell.expect(PROMPT);
}

#[test]
fn the_time_of_a_statement_is_not_that_of_its_reader() {
    let place = Place::new();
    // The pager shows everything at once, and is left when the test says so.
    let pager = "cat; until test -e enough; do sleep 0.1; done";
    let mut shell = Terminal::of_size(&place, 100, 20, &[("PAGER", pager)]);
    let begun = Instant::now();
    shell.enter("SELECT unnest(range(0, 60)) AS n;");
    shell.expect("(60 rows)");
    // The reader takes far longer than the statement did, however slow this machine is.
    let statement = begun.elapsed();
    let reader = statement * 8 + Duration::from_secs(2);
    std::thread::sleep(reader);
    place.file("enough", "");
    shell.expect("Time: ");
    let shown = shell.expect("s\n");
    let (number, unit) = shown.trim().split_once(' ').unwrap();
    let seconds = number.parse::<f64>().unwrap() * if unit == "ms" { 1e-3 } else { 1.0 };
    assert!(seconds < reader.as_secs_f64(), "{shown} of {statement:?}, and the reader's {reader:?}");
    shell.expect(PROMPT);
}
