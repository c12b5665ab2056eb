//! What the shell does at a terminal, key by key: completion, history, commands, the pager, jobs behind the prompt.
//!
//! The terminal is that of `terminal.rs`. Nothing here waits for a time but for what is seen.

use std::time::{Duration, Instant};

use crate::harness::{DEADLINE, Place, model};
use crate::terminal::{CTRL_C, CTRL_D, PROMPT, Terminal};

const PAYMENTS: &[&str] =
    &[r#"{"id":1,"card":"a","amount":10.5}"#, r#"{"id":2,"card":"b","amount":null}"#, r#"{"id":3,"card":"a","amount":7}"#];
const TABLE: &str = "CREATE TABLE payments (id BIGINT, card VARCHAR, amount DOUBLE) WITH (topic = 'payments');";

/// Types `keys` and a Tab; the line must become `line`, at once or, where names are still being asked for, the next time.
#[track_caller]
fn completes(shell: &mut Terminal, keys: &str, line: &str) {
    let begun = Instant::now();
    loop {
        shell.press(&format!("{keys}\t"));
        let done = shell.sees(line, Duration::from_secs(2));
        if done || begun.elapsed() > DEADLINE {
            shell.expect(line);
        }
        shell.press(CTRL_C);
        shell.expect(PROMPT);
        if done {
            return;
        }
    }
}

fn declare(shell: &mut Terminal) {
    shell.enter(TABLE);
    shell.expect("CREATE TABLE\n");
    shell.expect(PROMPT);
}

#[test]
fn tab_completes_what_may_stand_there() {
    let place = Place::new();
    place.produce("payments", PAYMENTS);
    place.ok(&["publish", "fraud", &model("fraud_v1.onnx")]);
    place.file("questions.sql", "SELECT 1;");
    let mut shell = Terminal::open(&place);
    declare(&mut shell);
    for (keys, line) in [
        ("SEL", "vatic> SELECT "),
        ("select * fr", "vatic> select * from "),
        ("SELECT * FROM paym", "FROM payments"),
        ("SELECT id FROM payments WHERE am", "WHERE amount"),
        ("SELECT id FROM payments p WHERE p.am", "WHERE p.amount"),
        ("WITH big AS (SELECT id AS many FROM payments) SELECT * FROM b", "FROM big"),
        (
            "WITH big AS (SELECT id AS many FROM payments) SELECT b.m FROM big b\x1b[D\x1b[D\x1b[D\x1b[D\x1b[D\x1b[D\x1b[D\x1b[D\x1b[D\x1b[D\x1b[D",
            "b.many",
        ),
        ("SELECT predict('fraud', id).lab", "predict('fraud', id).label"),
        ("SELECT classi", "SELECT classify("),
        ("SELECT score('fraud:", "score('fraud:1'"),
        ("SELECT * FROM topic('pay", "topic('payments'"),
        ("CREATE TABLE t WITH (compr", "WITH (compression = "),
        ("CREATE TABLE t WITH (compression = 'zs", "compression = 'zstd'"),
        ("CREATE TABLE t WITH (topic = 'paym", "topic = 'payments'"),
        ("SET score.mis", "SET score.missing "),
        ("SET score.missing = 'wa", "score.missing = 'wait'"),
        ("SHOW TOP", "SHOW TOPICS "),
        ("\\tim", "\\timing"),
        ("\\d paym", "\\d payments"),
        ("\\i ques", "\\i questions.sql"),
        ("\\x au", "\\x auto"),
    ] {
        completes(&mut shell, keys, line);
    }
    // Several choices: what they have in common is typed, and a list says what they are.
    shell.press("SELECT score('fr\t");
    shell.expect("SELECT score('fraud");
    shell.expect("fraud:1");
    shell.expect("this version, the newest");
    shell.press(CTRL_C);
    shell.expect(PROMPT);
    shell.press("SELECT sco\t");
    shell.expect("SELECT score(");
    shell.press(CTRL_C);
    shell.expect(PROMPT);
    // The columns of a topic without a table are asked for when it is named.
    completes(&mut shell, "SELECT id FROM topic('payments') WHERE am", "WHERE amount");
    shell.press(CTRL_D);
    shell.ends_with(0);
}

#[test]
fn the_history_is_searched_and_hinted() {
    let place = Place::new();
    let mut shell = Terminal::open(&place);
    for statement in ["SELECT 'needle' AS found;", "SELECT 'hay' AS other;"] {
        shell.enter(statement);
        shell.expect("(1 row)");
        shell.expect("Time: ");
        shell.expect(PROMPT);
    }
    shell.enter("exit");
    shell.ends_with(0);
    let mut shell = Terminal::open(&place);
    shell.press("\x12needle");
    shell.expect("(history: needle)");
    shell.press("\r\r");
    shell.expect(" found");
    shell.expect("needle");
    shell.expect("(1 row)");
    shell.expect(PROMPT);
    // What began like this is offered in grey, and taken with the arrow.
    shell.press("SELECT 'ha");
    shell.expect("y' AS other;");
    shell.press("\x1b[C\r");
    shell.expect(" hay");
    shell.expect("(1 row)");
    shell.expect(PROMPT);
    shell.press(CTRL_D);
    shell.ends_with(0);
}

#[test]
fn a_semicolon_in_quotes_or_comments_ends_nothing() {
    let place = Place::new();
    let mut shell = Terminal::open(&place);
    shell.enter("SELECT 'a;");
    shell.expect("...> ");
    shell.enter("b' AS t -- not yet;");
    shell.expect("...> ");
    shell.enter(";");
    shell.expect("(1 row)");
    shell.expect(PROMPT);
    // A command behind an open statement is for now; the statement waits for its rest.
    shell.enter("SELECT 40 +");
    shell.expect("...> ");
    shell.enter("\\timing off");
    shell.expect("timing is off");
    shell.expect("SELECT 40 +");
    shell.enter(" 2 AS answer;");
    shell.expect("42");
    shell.expect("(1 row)");
    shell.expect(PROMPT);
    assert!(!shell.plain().split("timing is off").last().unwrap().contains("Time: "));
    shell.press(CTRL_D);
    shell.ends_with(0);
}

#[test]
fn commands_show_what_there_is() {
    let place = Place::new();
    place.produce("payments", PAYMENTS);
    place.ok(&["publish", "fraud", &model("fraud_v1.onnx")]);
    let mut shell = Terminal::of_size(&place, 200, 200, &[]);
    declare(&mut shell);
    let mut ask = |command: &str, seen: &[&str]| {
        shell.enter(command);
        for text in seen {
            shell.expect(text);
        }
        shell.expect(PROMPT);
    };
    ask("\\dt", &["connector", "payments", "(1 row)"]);
    ask("\\d", &["payments", "(1 row)"]);
    ask("\\d PAYMENTS", &["amount", "DOUBLE", "(3 rows)", "CREATE TABLE payments (", "topic = 'payments'"]);
    ask("\\d paymens", &["error: no table or view \"paymens\"", "hint: Did you mean \"payments\"?"]);
    ask("\\df scor", &["score(model VARCHAR, feature, ...) -> DOUBLE", "(1 row)"]);
    ask("\\df uni*", &["uniform(n BIGINT"]);
    ask("\\dm", &["fraud", "onnx", "(1 row)"]);
    ask("\\l pay*", &["payments", "3", "(1 row)"]);
    ask("\\l nothing", &["error: no topic fits \"nothing\"", "hint: Known topics: models, payments."]);
    ask("\\conninfo", &["embedded:.vatic, an embedded broker", "1 topic, 1 model"]);
    ask("\\timing", &["timing is off"]);
    ask("\\timing maybe", &["error: \"maybe\" is neither on nor off"]);
    ask("\\copy", &["error: unknown command \"\\copy\"", "hint: Write COPY (SELECT ...) TO 'file.csv';"]);
    ask(".tables", &["payments", "(1 row)"]);
    ask(".mode csv", &["error: unknown command \".mode\"", "Commands begin with a backslash here"]);
    ask("\\?", &["\\conninfo", "\\watch [SECONDS]"]);
    ask("\\echo said $HOME", &["said $HOME\n"]);
    ask("\\! echo from the system", &["from the system\n"]);
    ask("SELECT card FROM payments WHERE id = 2 \\gx", &["-[ RECORD 1 ]", "card | b", "(1 row)"]);
    ask("\\g", &[" card", " b", "(1 row)"]);
    shell.press(CTRL_D);
    shell.ends_with(0);
}

#[test]
fn a_row_wider_than_the_screen_has_one_column_per_line() {
    let place = Place::new();
    let mut shell = Terminal::of_size(&place, 80, 50, &[]);
    let wide = "SELECT repeat('a', 50) AS a, repeat('b', 50) AS b, CAST(NULL AS INT) AS c;";
    shell.enter(wide);
    shell.expect("-[ RECORD 1 ]");
    shell.expect("c | NULL");
    shell.expect(PROMPT);
    shell.enter("SELECT 1 AS narrow;");
    shell.expect(" narrow\n");
    shell.expect(PROMPT);
    shell.enter("\\x off");
    shell.expect("rows are printed as tables");
    shell.enter(wide);
    shell.expect("| NULL");
    shell.expect(PROMPT);
    shell.enter("\\x");
    shell.expect("one column per line");
    shell.enter("SELECT 1 AS narrow;");
    shell.expect("narrow | 1");
    shell.expect(PROMPT);
    shell.press(CTRL_D);
    shell.ends_with(0);
}

#[test]
fn words_for_people_fit_into_80_columns() {
    let place = Place::new();
    let mut shell = Terminal::of_size(&place, 80, 100, &[("NO_COLOR", "1")]);
    shell.enter("help");
    shell.expect("\\watch [SECONDS]");
    shell.expect("run a command of the system's shell");
    shell.expect(PROMPT);
    shell.press(CTRL_D);
    let raw = shell.raw();
    let colours = |c: char| c.is_ascii_digit() || c == ';';
    let painted = raw.split("\x1b[").skip(1).filter(|rest| rest.trim_start_matches(colours).starts_with('m'));
    assert_eq!(painted.filter(|rest| !rest.starts_with("0m")).collect::<Vec<_>>(), [""; 0], "NO_COLOR");
    let all = shell.ends_with(0);
    for line in all.lines() {
        assert!(line.contains(PROMPT) || line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
    }
}

#[test]
fn long_results_go_through_the_pager_and_short_ones_do_not() {
    let place = Place::new();
    let mut shell = Terminal::of_size(&place, 100, 20, &[("PAGER", "sed 's/^/PAGED /'")]);
    shell.enter("CREATE TABLE g (n BIGINT, ts TIMESTAMP) WITH (connector = 'generator', rows = 10000);");
    shell.expect("CREATE TABLE\n");
    shell.enter("SELECT n FROM g LIMIT 5;");
    let short = shell.expect("(5 rows)");
    assert!(!short.contains("PAGED"), "{short}");
    shell.expect(PROMPT);
    shell.enter("SELECT n FROM g;");
    shell.expect("PAGED ");
    shell.expect("PAGED (10000 rows)");
    shell.expect(PROMPT);
    shell.enter("\\pager off");
    shell.expect("the pager is off");
    shell.enter("SELECT n FROM g LIMIT 100;");
    let long = shell.expect("(100 rows)");
    assert!(!long.contains("PAGED"), "{long}");
    shell.expect(PROMPT);
    // A pager that is left early ends the reading, and nothing else.
    shell.enter("\\pager on");
    shell.expect("through the pager");
    shell.press(CTRL_D);
    shell.ends_with(0);
    let mut shell = Terminal::of_size(&place, 100, 20, &[("PAGER", "head -3")]);
    shell.enter("CREATE TABLE g (n BIGINT, ts TIMESTAMP) WITH (connector = 'generator', rows = 1000000);");
    shell.expect("CREATE TABLE\n");
    shell.enter("SELECT n FROM g;");
    shell.expect("-----");
    shell.expect(PROMPT);
    shell.enter("SELECT 1 + 1 AS two;");
    shell.expect("(1 row)");
    shell.expect(PROMPT);
    shell.press(CTRL_D);
    shell.ends_with(0);
}

#[test]
fn a_question_is_asked_again_until_ctrl_c() {
    let place = Place::new();
    let mut shell = Terminal::open(&place);
    shell.enter("SELECT 7 AS seven \\watch 0.1 c=2");
    for _ in 0..2 {
        shell.expect("(every 0.1 s)");
        shell.expect("(1 row)");
    }
    shell.expect(PROMPT);
    shell.enter("\\watch 0.05");
    for _ in 0..3 {
        shell.expect("(every 0.05 s)");
    }
    shell.press(CTRL_C);
    shell.expect(PROMPT);
    shell.enter("SET delivery = 'exactly_once' \\watch");
    shell.expect("error: \\watch asks a question again");
    shell.expect(PROMPT);
    shell.press(CTRL_D);
    let all = shell.ends_with(0);
    assert_eq!(all.matches("(every 0.1 s)").count(), 2, "{all}");
}

#[test]
fn the_editor_changes_a_statement() {
    let place = Place::new();
    place.file("whole.sh", "sed -i 's/1 AS first/2 AS edited/' \"$1\"\n");
    let mut shell = Terminal::of_size(&place, 120, 50, &[("EDITOR", "sh whole.sh")]);
    shell.enter("SELECT 1 AS first;");
    shell.expect("(1 row)");
    shell.expect(PROMPT);
    shell.enter("\\e");
    shell.expect("SELECT 2 AS edited;");
    shell.expect(" edited");
    shell.expect("(1 row)");
    shell.expect(PROMPT);
    // It is the last entry of the history.
    shell.press("\x1b[A");
    shell.expect("SELECT 2 AS edited;");
    shell.press(CTRL_C);
    shell.expect(PROMPT);
    shell.press(CTRL_D);
    shell.ends_with(0);
    // Without a semicolon it comes back to the prompt.
    place.file("part.sh", "printf 'SELECT 40 + ' > \"$1\"\n");
    let mut shell = Terminal::of_size(&place, 120, 50, &[("EDITOR", "sh part.sh")]);
    shell.enter("\\e");
    shell.expect("vatic> SELECT 40 +");
    shell.enter(" 2 AS answer;");
    shell.expect("42");
    shell.expect("Time: ");
    shell.expect(PROMPT);
    shell.press(CTRL_D);
    shell.ends_with(0);
}

#[test]
fn rows_go_to_files_and_statements_come_from_them() {
    let place = Place::new();
    place.produce("payments", PAYMENTS);
    place.file("sql/tables.sql", format!("{TABLE}\n\\i more.sql\n"));
    place.file("sql/more.sql", "SELECT id FROM payments\nWHERE amuont > 1;\nSELECT 'never';\n");
    let mut shell = Terminal::open(&place);
    shell.enter("\\i sql/tables.sql");
    shell.expect("CREATE TABLE\n");
    shell.expect("error: ");
    shell.expect("amuont");
    shell.expect("sql/more.sql:2:7");
    shell.expect(PROMPT);
    shell.enter("\\o rows.txt");
    shell.taken("\\o rows.txt");
    shell.expect(PROMPT);
    shell.enter("SELECT id, amount FROM payments ORDER BY id;");
    shell.expect("Time: ");
    shell.expect(PROMPT);
    shell.enter("\\o | sed 's/^/PIPED /'");
    shell.taken("\\o | sed 's/^/PIPED /'");
    shell.expect(PROMPT);
    assert_eq!(
        std::fs::read_to_string(place.path("rows.txt")).unwrap(),
        " id | amount\n----+--------\n  1 |   10.5\n  2 |   NULL\n  3 |    7.0\n(3 rows)\n"
    );
    shell.enter("SELECT 5 AS five;");
    shell.expect("PIPED (1 row)");
    shell.enter("\\o");
    shell.taken("\\o");
    shell.expect(PROMPT);
    shell.enter("SELECT 6 AS six;");
    shell.expect("\n six\n");
    shell.expect(PROMPT);
    shell.enter("\\i nothing.sql");
    shell.expect("error: there is no file \"nothing.sql\"");
    shell.expect(PROMPT);
    shell.press(CTRL_D);
    let all = shell.ends_with(0);
    assert!(!all.contains("never\n"), "{all}");
}

#[test]
fn a_job_tells_of_its_end_above_the_line_that_is_typed() {
    let place = Place::new();
    let mut shell = Terminal::open(&place);
    shell.enter("CREATE TABLE g (n BIGINT, ts TIMESTAMP) WITH (connector = 'generator', rows = 80, rate = 10);");
    shell.expect("CREATE TABLE\n");
    shell.enter("CREATE TABLE dst WITH (topic = 'dst') AS SELECT n FROM g;");
    shell.expect("job \"dst\" runs in the background");
    shell.expect(PROMPT);
    // Nobody presses Enter; the line stays what it was.
    shell.press("SELECT 40 +");
    shell.expect("SELECT 40 +");
    shell.expect("job \"dst\" finished: 80 rows in, 80 out, 0 dead letters");
    shell.expect("vatic> SELECT 40 +");
    shell.enter(" 2 AS answer;");
    shell.expect("42");
    shell.expect("(1 row)");
    shell.expect(PROMPT);
    shell.press(CTRL_D);
    let all = shell.ends_with(0);
    assert_eq!(all.matches("job \"dst\" finished").count(), 1, "{all}");
}

#[test]
fn a_long_statement_says_how_far_it_is_and_wipes_that_away() {
    let place = Place::new();
    let mut shell = Terminal::open(&place);
    shell.enter("CREATE TABLE much (n BIGINT, ts TIMESTAMP) WITH (connector = 'generator', rows = 100000000000);");
    shell.expect("CREATE TABLE\n");
    shell.enter("SELECT sum(n) AS all_of_them FROM much;");
    shell.expect(" rows read, ");
    shell.expect(" rows/s, 0 %, ");
    shell.press(CTRL_C);
    shell.expect("cancelled");
    shell.expect(PROMPT);
    let raw = shell.raw();
    let line = raw.rfind(" rows read, ").unwrap();
    assert!(raw[line..].contains("\x1b[1F\x1b[J"), "it is not wiped away: {:?}", &raw[line..]);
    shell.press(CTRL_D);
    shell.ends_with(0);
}

#[test]
fn rows_that_are_followed_are_appended_and_counted() {
    let place = Place::new();
    place.produce("src", &[r#"{"id":1,"note":"x"}"#]);
    let mut shell = Terminal::open(&place);
    shell.enter("SELECT id, note FROM topic('src') EMIT CHANGES;");
    shell.expect("following src from 0=1");
    place.produce("src", &[r#"{"id":22,"note":"short"}"#]);
    shell.expect(" 22 | short");
    place.produce("src", &[r#"{"id":333,"note":"a longer one"}"#]);
    shell.expect("333 | a longer one");
    let followed = shell.plain();
    shell.press(CTRL_C);
    shell.expect("(2 rows)");
    shell.expect(PROMPT);
    assert_eq!(followed.matches(" | short").count(), 1, "nothing is drawn twice: {followed}");
    assert_eq!(followed.matches("-+-").count(), 1, "one header: {followed}");
    let columns: Vec<_> = followed.lines().filter(|line| line.contains(" | ")).map(|line| line.find('|')).collect();
    assert!(columns.len() == 3 && columns.iter().all(|at| *at == columns[0]), "{columns:?} in {followed}");
    shell.press(CTRL_D);
    shell.ends_with(0);
}

#[test]
fn a_dumb_terminal_gets_plain_lines() {
    let place = Place::new();
    place.produce("payments", PAYMENTS);
    let mut shell = Terminal::of_size(&place, 80, 24, &[("TERM", "dumb"), ("PAGER", "cat")]);
    shell.enter("SELECT 40 +");
    shell.expect("...> ");
    shell.enter("2 AS answer;");
    shell.expect("42");
    shell.expect("(1 row)");
    shell.expect(PROMPT);
    shell.press("SELECT rubbish");
    shell.press(CTRL_C);
    shell.expect(PROMPT);
    shell.enter("SELECT id FROM topic('payments') EMIT CHANGES;");
    shell.expect("following payments");
    shell.press(CTRL_C);
    shell.expect("(0 rows)");
    shell.expect(PROMPT);
    shell.enter("\\l");
    shell.expect("payments");
    shell.expect(PROMPT);
    shell.press(CTRL_D);
    assert!(!shell.raw().contains('\x1b'), "{:?}", shell.raw());
    shell.ends_with(0);
}

#[test]
fn an_empty_broker_is_offered_data_and_demo_makes_them() {
    let place = Place::new();
    let mut shell = Terminal::of_size(&place, 100, 60, &[]);
    let greeting = shell.plain();
    assert!(greeting.contains("no topics yet, no models yet") && greeting.contains("\\demo"), "{greeting}");
    shell.enter("\\demo");
    shell.expect("There are 16,000 payments on topic \"payments\" now");
    shell.expect(PROMPT);
    shell.enter(
        "SELECT count(*) AS every, count(score('fraud', amount, hour, distance_km, tx_last_hour)) AS scored FROM payments;",
    );
    shell.expect("16000 |  16000");
    shell.expect(PROMPT);
    shell.enter("\\demo");
    shell.expect("error: topic \"payments\" exists already");
    shell.expect(PROMPT);
    shell.press(CTRL_D);
    shell.ends_with(0);
    let mut shell = Terminal::of_size(&place, 100, 60, &[]);
    let greeting = shell.plain();
    assert!(greeting.contains("1 topic, 1 model") && greeting.contains("FROM topic('payments') LIMIT 5;"), "{greeting}");
    shell.press(CTRL_D);
    shell.ends_with(0);
}

#[test]
fn a_script_on_stdin_may_hold_commands() {
    let place = Place::new();
    let ended = place.piped(&[], "\\x on\nSELECT 1 AS a; \\x off\n\\echo -- then\nSELECT 2 AS b \\g\n\\dt\nSELECT 3 AS c");
    assert_eq!(ended.code, 0, "{ended:#?}");
    let rows = "-[ RECORD 1 ]-\na | 1\n(1 row)\n-- then\n b\n---\n 2\n(1 row)\n";
    assert!(ended.out.starts_with(rows) && ended.out.ends_with(" c\n---\n 3\n(1 row)\n"), "{}", ended.out);
    assert!(ended.out.contains(" name | kind | connector | topic\n"), "{}", ended.out);
    assert!(!ended.err.contains("Time: ") && !ended.err.contains('\x1b'), "{}", ended.err);
    // The first error ends it, and has its place in the script.
    let ended = place.piped(&[], "\\echo one\nSELECT nothing;\nSELECT 2;\n");
    assert_eq!((ended.code, ended.out.as_str()), (1, "one\n"));
    assert!(ended.err.contains("stdin:2:8"), "{}", ended.err);
    let ended = place.piped(&[], "SELECT 1 AS a;\n\\wacht\nSELECT 2;\n");
    assert_eq!((ended.code, ended.out.matches("(1 row)").count()), (1, 1), "{ended:#?}");
    assert!(ended.err.contains("unknown command \"\\wacht\""), "{}", ended.err);
    // Jobs run beside it, and it waits for them.
    place.produce("src", &[r#"{"id":1}"#]);
    let script = "\\echo go\nCREATE TABLE g (n BIGINT, ts TIMESTAMP) WITH (connector = 'generator', rows = 5);\n\
                  CREATE TABLE dst WITH (topic = 'dst') AS SELECT n FROM g;\n";
    let ended = place.piped(&[], script);
    assert_eq!((ended.code, place.values("dst").len()), (0, 5), "{ended:#?}");
}
