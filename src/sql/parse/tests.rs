//! What the parser makes of statements, and what it says of those that are none.

use arrow::datatypes::{DataType, TimeUnit};

use super::*;
use crate::sql::definition::{MetadataColumn, TableDefinition};
use crate::sql::names::Name;

fn one(text: &str) -> Statement {
    match parse(text, None) {
        Ok(mut all) => {
            assert_eq!(all.len(), 1, "{text}");
            all.remove(0).statement
        }
        Err(error) => unreachable!("{text}: {error:?}"),
    }
}

fn table(text: &str) -> TableDefinition {
    match one(text) {
        Statement::CreateTable { definition, .. } => *definition,
        other => unreachable!("{other:?}"),
    }
}

/// The text, the hint and the text under the caret of the error.
fn error(text: &str) -> (String, String, String) {
    let error = match parse(text, None) {
        Err(error) => error,
        Ok(all) => unreachable!("{text}: {all:?}"),
    };
    let place = error.position().map_or("no place", |p| &p.text[p.span.clone()]).to_owned();
    (error.message().to_owned(), error.get_hint().unwrap_or_default().to_owned(), place)
}

fn check_errors(cases: &[(&str, &str, &str, &str)]) {
    for (text, message, hint, place) in cases {
        assert_eq!(error(text), ((*message).to_owned(), (*hint).to_owned(), (*place).to_owned()), "{text}");
    }
}

#[test]
fn a_text_is_split_into_its_statements() {
    let text = "-- first\nSELECT ';' AS \"a;b\" ; ;\n  SELECT $$;$$ /* ; */ ;SELECT 3";
    let all = parse(text, Some("q.sql")).unwrap();
    let texts: Vec<_> = all.iter().map(|p| p.text.as_str()).collect();
    assert_eq!(texts, ["SELECT ';' AS \"a;b\"", "SELECT $$;$$", "SELECT 3"]);
    assert_eq!(all[0].position.line_column(), (2, 1));
    assert_eq!(all[2].position.file.as_deref(), Some("q.sql"));
    assert!(parse(" -- nothing\n;", None).unwrap().is_empty());
}

#[test]
fn a_mistake_in_a_later_statement_is_found_first() {
    let (message, _, place) = error("SELECT 1; CREATE TABEL t (a INT)");
    assert_eq!(
        (message.as_str(), place.as_str()),
        ("syntax error: expected TABLE, VIEW or FUNCTION, found \"TABEL\"", "TABEL")
    );
}

#[test]
fn queries_follow_only_with_emit_changes() {
    let emit = |text: &str| match one(text) {
        Statement::Query { emit, query } => {
            assert!(
                !query.to_string().to_uppercase().contains("EMIT") && (emit.is_none() || query.limit_clause.is_none()),
                "{text}"
            );
            emit.map(|e| e.limit)
        }
        other => unreachable!("{other:?}"),
    };
    assert_eq!(emit("SELECT a FROM t"), None);
    assert_eq!(emit("SELECT a FROM t LIMIT 3"), None);
    assert_eq!(emit("SELECT a FROM t EMIT CHANGES"), Some(None));
    assert_eq!(emit("select a from t as x emit changes limit 5;"), Some(Some(5)));
    assert_eq!(emit("SELECT a FROM t LIMIT 7 EMIT CHANGES"), Some(Some(7)));
    assert_eq!(emit("WITH x AS (SELECT 1) SELECT * FROM x EMIT CHANGES"), Some(None));
    // A word that means something only at the end stays usable.
    assert!(matches!(one("SELECT emit FROM t emit"), Statement::Query { emit: None, .. }));
    check_errors(&[
        (
            "SELECT a FROM t LIMIT 1 EMIT CHANGES LIMIT 2",
            "LIMIT is given twice",
            "Leave out one of them.",
            "EMIT CHANGES LIMIT 2",
        ),
        (
            "SELECT a FROM t LIMIT 1 OFFSET 2 EMIT CHANGES",
            "EMIT CHANGES takes only a LIMIT with a number",
            "Leave out OFFSET, and write LIMIT 10, for example.",
            "EMIT CHANGES",
        ),
        ("SELECT a FROM t EMIT CHANGES LIMIT x", "the LIMIT of EMIT CHANGES is not a whole number", "", "x"),
        (
            "SELECT a FROM t EMIT CHANGES WHERE a > 1",
            "syntax error: expected the end of the statement, found \"CHANGES\"",
            "Write EMIT CHANGES at the end of the statement.",
            "CHANGES",
        ),
        (
            "INSERT INTO t SELECT 1 EMIT CHANGES",
            "EMIT CHANGES is not for jobs, which run anyway",
            "Leave it out.",
            "EMIT CHANGES",
        ),
        ("SHOW TABLES EMIT CHANGES", "EMIT CHANGES is only for queries", "Leave it out.", "EMIT CHANGES"),
    ]);
}

#[test]
fn queries_have_what_our_dialect_has() {
    for text in [
        "SELECT payload.user.id, items[1].name, a::INT, x -> 'y' FROM t",
        "SELECT {'a': v, 'b': 1}, MAP {'a': 1}, STRUCT(a AS b), [1, 2], struct(a, b) FROM t",
        "SELECT score('fraud', {'amount': amount, 'hour': hour}) FROM t",
        "SELECT timestamp, key, headers, partition, \"offset\", topic, version, format, status FROM t WHERE partition = 0",
        "SELECT t.offset, name FROM t ORDER BY t.partition",
        "SELECT * EXCLUDE (a), `b c` FROM t WHERE a == 1 AND ts > TIMESTAMP '2026-01-01' - INTERVAL '5 seconds'",
        "SELECT predict('m', a).label, CAST(x AS STRUCT<a INT, b MAP<VARCHAR, DOUBLE>>), x::DOUBLE[] FROM t",
        "SELECT u.x FROM t, UNNEST(t.items) AS u(x) UNION ALL VALUES (1), (2)",
        "SELECT E'a\\n', $$it's$$, 1_000, 1e3, -5 % 3, a || b, NOT a IS NULL, a BETWEEN 1 AND 2",
        "SELECT * FROM topic('payments') AS p JOIN models ON p.m = models.name",
        "(SELECT 1)",
        "VALUES (1, 'a')",
        "SELECT count(*) FILTER (WHERE a > 1), row_number() OVER (PARTITION BY b ORDER BY c) FROM t",
    ] {
        assert!(matches!(one(text), Statement::Query { .. }), "{text}");
    }
}

#[test]
fn nothing_in_a_query_is_passed_over_in_silence() {
    check_errors(&[
        (
            "SELECT a INTO x FROM t",
            "SELECT INTO is not available",
            "Write CREATE TABLE ... AS SELECT.",
            "SELECT a INTO x FROM t",
        ),
        ("SELECT a FROM t FOR UPDATE", "FOR UPDATE is not available", "Leave it out: reading locks nothing.", "FOR UPDATE"),
        (
            "WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x",
            "writing inside a query is not available",
            "Write INSERT INTO ... SELECT, with WITH behind INSERT INTO.",
            "WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x",
        ),
        (
            "SELECT * FROM t TABLESAMPLE (10)",
            "TABLESAMPLE is not available",
            "Write WHERE random() < 0.1, for example.",
            "TABLESAMPLE",
        ),
    ]);
    assert!(parse("SELECT * FROM t FOR SYSTEM_TIME AS OF '2026-01-01'", None).is_err());
}

#[test]
fn inserts_name_their_table_and_columns() {
    let Statement::Insert { target, columns, values, .. } = one("INSERT INTO Alerts (id, \"Risk\") SELECT 1, 2") else {
        unreachable!()
    };
    assert_eq!((target, values), (Name::unquoted("Alerts"), false));
    assert_eq!(columns, [Name::unquoted("id"), Name::exact("Risk")]);
    for (text, is_values) in [
        ("INSERT INTO t VALUES (1), (2)", true),
        ("INSERT INTO t (SELECT 1)", false),
        ("INSERT INTO t WITH x AS (SELECT 1) SELECT * FROM x", false),
        ("INSERT INTO \"a.b\" (VALUES (1))", false),
    ] {
        let Statement::Insert { columns, values, .. } = one(text) else { unreachable!() };
        assert!(columns.is_empty() && values == is_values, "{text}");
    }
    check_errors(&[
        ("INSERT INTO t (a, a) SELECT 1, 2", "column \"a\" is given twice", "", "a"),
        ("INSERT t SELECT 1", "syntax error: expected INTO, found \"t\"", "", "t"),
        (
            "INSERT INTO a.b SELECT 1",
            "table \"a\" cannot have a name of several parts",
            "Leave out the part before the dot, or put the whole name in double quotes.",
            ".",
        ),
    ]);
}

#[test]
fn a_table_has_columns_clock_key_and_options() {
    let it = table(
        "CREATE TABLE payments (id BIGINT NOT NULL, userId TEXT COMMENT 'who', amount DOUBLE,
           payload ROW(a INT, b ROW(c TEXT[])), s STRUCT(x INT), ts TIMESTAMP, part INT METADATA FROM 'partition',
           key VARCHAR METADATA, metadata BOOLEAN, watermark INT,
           WATERMARK FOR TS AS ts - INTERVAL '5 seconds', PRIMARY KEY (ID, userid) NOT ENFORCED)
         WITH (connector = 'kafka', 'topic' = 'p', \"format\" = json, topic.partitions = 8, topic.create = true, kafka.client.id = 'x')",
    );
    let types: Vec<_> = it.columns.iter().map(|c| format!("{} {}", c.name, c.sql_type())).collect();
    assert_eq!(
        types,
        [
            "id BIGINT",
            "userId VARCHAR",
            "amount DOUBLE",
            "payload STRUCT<a INT, b STRUCT<c ARRAY<VARCHAR>>>",
            "s STRUCT<x INT>",
            "ts TIMESTAMP(3)",
            "part INT",
            "key VARCHAR",
            "metadata BOOLEAN",
            "watermark INT"
        ]
    );
    assert_eq!((it.columns[0].nullable, it.columns[1].nullable), (false, true));
    assert_eq!(it.columns[1].comment.as_deref(), Some("who"));
    assert_eq!(
        (it.columns[6].metadata, it.columns[7].metadata),
        (Some(MetadataColumn::Partition), Some(MetadataColumn::Key))
    );
    assert_eq!(it.watermark.as_ref().map(|w| (w.column.as_str(), w.delay_ms)), Some(("ts", 5000)));
    assert_eq!(it.primary_key, ["id", "userId"]);
    let options: Vec<_> = it.options.iter().collect();
    assert_eq!(
        options,
        [
            ("connector", "kafka"),
            ("format", "json"),
            ("kafka.client.id", "x"),
            ("topic", "p"),
            ("topic.create", "true"),
            ("topic.partitions", "8")
        ]
    );
    assert_eq!(it.column("ts").map(|c| &c.data_type), Some(&DataType::Timestamp(TimeUnit::Millisecond, None)));
    assert_eq!(it.value_schema().fields().len(), 8);
    let Statement::CreateTable { if_not_exists, or_replace, query, definition } =
        one("CREATE OR REPLACE TABLE IF NOT EXISTS t WITH (topic = 'x') AS SELECT 1 AS a")
    else {
        unreachable!()
    };
    assert!(if_not_exists && or_replace && query.is_some() && definition.columns.is_empty());
    assert!(matches!(one("CREATE TABLE t AS SELECT 1"), Statement::CreateTable { query: Some(_), .. }));
    assert_eq!(table("CREATE TABLE t (id INT PRIMARY KEY, b INT)").primary_key, ["id"]);
}

#[test]
fn the_delay_of_a_watermark_is_a_constant() {
    for (interval, ms) in [
        ("'5 seconds'", 5_000),
        ("'1 minute 30 seconds'", 90_000),
        ("'250 ms'", 250),
        ("'5' SECOND", 5_000),
        ("2 HOURS", 7_200_000),
        ("'1.5 seconds'", 1_500),
        ("'0 seconds'", 0),
        ("'1 day'", 86_400_000),
        ("'5s'", 5_000),
    ] {
        let it = table(&format!("CREATE TABLE t (ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL {interval})"));
        assert_eq!(it.watermark.map(|w| w.delay_ms), Some(ms), "{interval}");
    }
    assert_eq!(table("CREATE TABLE t (ts TIMESTAMP, WATERMARK FOR ts AS ts)").watermark.map(|w| w.delay_ms), Some(0));
}

#[test]
fn a_wrong_table_says_where_and_why() {
    check_errors(&[
        (
            "CREATE TABLE t (a INT, A TEXT)",
            "column \"A\" is given twice",
            "Names that differ only in case are the same.",
            "A",
        ),
        ("CREATE TABLE t (a BIGIT)", "unknown type \"BIGIT\"", "Did you mean \"BIGINT\"?", "BIGIT"),
        (
            "CREATE TABLE t (a, b INT)",
            "syntax error: expected the type of column \"a\", found \",\"",
            "Write a type behind it: a BIGINT, or a VARCHAR.",
            ",",
        ),
        (
            "CREATE TABLE t (a INT b TEXT)",
            "syntax error: expected \",\" or \")\", found \"b\"",
            "Put a comma before \"b\" if it is the next item of a list.",
            "b",
        ),
        (
            "CREATE TABLE t (a INT,)",
            "syntax error: expected a column, found \")\"",
            "Leave out the comma before \")\".",
            ")",
        ),
        (
            "CREATE TABLE t (a INT",
            "syntax error: expected \",\" or \")\", found the end of the statement",
            "Write \")\" where the part in parentheses ends.",
            "",
        ),
        (
            "CREATE TABLE t (a INT, WATERMARK FOR time AS time)",
            "column \"time\" of WATERMARK does not exist",
            "Known columns: a.",
            "WATERMARK FOR time AS time",
        ),
        (
            "CREATE TABLE t (a INT, WATERMARK FOR a AS a)",
            "column \"a\" of WATERMARK is INT",
            "Name a column of type TIMESTAMP.",
            "WATERMARK FOR a AS a",
        ),
        (
            "CREATE TABLE t (a TIMESTAMP, WATERMARK FOR a AS b)",
            "WATERMARK FOR \"a\" is computed from \"b\"",
            "Write WATERMARK FOR a AS a - INTERVAL '5 seconds'.",
            "b",
        ),
        (
            "CREATE TABLE t (a TIMESTAMP, WATERMARK FOR a AS a - INTERVAL '1 month')",
            "the INTERVAL of a WATERMARK is not a constant number of time units",
            "Write INTERVAL '5 seconds', for example; months and years have no fixed length.",
            "INTERVAL '1 month'",
        ),
        (
            "CREATE TABLE t (a INT, PRIMARY KEY (card))",
            "column \"card\" of PRIMARY KEY does not exist",
            "Known columns: a.",
            "card",
        ),
        (
            "CREATE TABLE t (a INT METADATA FROM 'ofset')",
            "unknown metadata \"ofset\"",
            "Did you mean \"offset\"?",
            "METADATA FROM 'ofset'",
        ),
        (
            "CREATE TABLE t (a INT METADATA FROM 'offset')",
            "column \"a\" is INT, but the offset of a record is BIGINT",
            "Write \"a BIGINT METADATA\".",
            "a INT METADATA FROM 'offset'",
        ),
        (
            "CREATE TABLE t (a INT DEFAULT 5)",
            "vatic has no DEFAULT for columns",
            "Leave it out, and compute the column in a query or a view.",
            "DEFAULT",
        ),
        (
            "CREATE TABLE t (a INT) WITH (fromat = 'json')",
            "unknown option \"fromat\"",
            "Did you mean \"format\"?",
            "fromat = 'json'",
        ),
        (
            "CREATE TABLE t (a INT) WITH (topic = 'x', format = 'xml')",
            "option \"format\" cannot be 'xml'",
            "It is one of: json, csv, raw.",
            "format = 'xml'",
        ),
        (
            "CREATE TABLE t (a INT) WITH (topic = 'x', topic = 'y')",
            "option \"topic\" is given twice",
            "Leave out one of them.",
            "topic = 'y'",
        ),
        (
            "CREATE TABLE t (a INT) WITH (topic = \"x\")",
            "syntax error: expected a value, found \"\"x\"\"",
            "Put values in single quotes: 'x'.",
            "\"x\"",
        ),
        (
            "CREATE TABLE t (a INT) AS SELECT 1",
            "CREATE TABLE ... AS takes its columns from the query",
            "Leave out the list of columns, or write CREATE TABLE and then INSERT INTO.",
            "AS SELECT 1",
        ),
    ]);
}

#[test]
fn views_keep_their_text() {
    let Statement::CreateView { name, columns, text, or_replace, .. } =
        one("CREATE OR REPLACE VIEW Big (a, b) AS SELECT x, /* c */ y FROM t -- end\n;")
    else {
        unreachable!()
    };
    assert_eq!((name.as_str(), text.as_str(), or_replace), ("Big", "SELECT x, /* c */ y FROM t", true));
    assert_eq!(columns, ["a", "b"]);
    check_errors(&[(
        "CREATE VIEW v AS SELECT 1 EMIT CHANGES",
        "EMIT CHANGES is not part of a view",
        "Leave it out, and write it behind the SELECT that reads the view.",
        "EMIT CHANGES",
    )]);
}

#[test]
fn small_statements_are_read() {
    let name = || Name::unquoted("t");
    for (text, statement) in [
        ("DROP TABLE IF EXISTS t", Statement::Drop { kind: ObjectKind::Table, name: name(), if_exists: true }),
        ("drop view \"T\"", Statement::Drop { kind: ObjectKind::View, name: Name::exact("T"), if_exists: false }),
        ("SHOW TABLES", Statement::Show(Show::Tables)),
        ("SHOW TOPICS", Statement::Show(Show::Topics)),
        ("SHOW MODELS", Statement::Show(Show::Models)),
        ("SHOW JOBS", Statement::Show(Show::Jobs)),
        ("SHOW FUNCTIONS", Statement::Show(Show::Functions)),
        ("SHOW ALL", Statement::Show(Show::All)),
        ("SHOW Memory.Budget", Statement::Show(Show::Setting("memory.budget"))),
        ("SHOW delivery", Statement::Show(Show::Setting("delivery"))),
        ("SHOW CREATE TABLE t", Statement::Show(Show::CreateTable(name()))),
        ("SHOW COLUMNS FROM t", Statement::Show(Show::Columns(name()))),
        ("DESCRIBE t", Statement::Describe(name())),
        ("DESC TABLE t", Statement::Describe(name())),
        ("DESCRIBE topic('p.q')", Statement::Describe(Name::exact("topic('p.q')"))),
        ("SET job.name = 'a.b'", Statement::Set { name: "job.name", value: "a.b".to_owned() }),
        ("SET memory.budget TO 128MB", Statement::Set { name: "memory.budget", value: "128MB".to_owned() }),
        ("SET DELIVERY = at_least_once", Statement::Set { name: "delivery", value: "at_least_once".to_owned() }),
        ("SET epoch.max_rows = 1000", Statement::Set { name: "epoch.max_rows", value: "1000".to_owned() }),
        ("SET job.name = wine-scores.v2", Statement::Set { name: "job.name", value: "wine-scores.v2".to_owned() }),
        ("RESET memory.budget", Statement::Reset("memory.budget")),
        ("RESET job.name", Statement::Reset("job.name")),
        ("RESET JOB demo.alerts", Statement::ResetJob("demo.alerts".to_owned())),
        ("RESET JOB 'a b'", Statement::ResetJob("a b".to_owned())),
        ("STOP JOB \"a.b\"", Statement::StopJob("a.b".to_owned())),
        ("STOP JOB wine-scores.v2", Statement::StopJob("wine-scores.v2".to_owned())),
    ] {
        assert_eq!(one(text), statement, "{text}");
    }
    for text in [
        "EXPLAIN SELECT 1",
        "EXPLAIN INSERT INTO t SELECT 1",
        "EXPLAIN CREATE TABLE t AS SELECT 1",
        "EXPLAIN SELECT 1 EMIT CHANGES",
    ] {
        assert!(
            matches!(one(text), Statement::Explain { how: Explaining { analyze: false, verbose: false, json: false }, .. }),
            "{text}"
        );
    }
    for (text, analyze, verbose, json) in [
        ("EXPLAIN ANALYZE VERBOSE SELECT 1", true, true, false),
        ("EXPLAIN (FORMAT JSON) SELECT 1", false, false, true),
        ("explain (analyze, format json, verbose false) SELECT 1", true, false, true),
        ("EXPLAIN (ANALYZE TRUE, FORMAT TEXT) (SELECT 1)", true, false, false),
        ("EXPLAIN (SELECT 1)", false, false, false),
    ] {
        let Statement::Explain { how, .. } = one(text) else { unreachable!("{text}") };
        assert_eq!(how, Explaining { analyze, verbose, json }, "{text}");
    }
    check_errors(&[
        ("EXPLAIN (FORMAT XML) SELECT 1", "EXPLAIN has no FORMAT xml", "Write FORMAT JSON, or FORMAT TEXT.", "XML"),
        ("EXPLAIN (ANALYSE) SELECT 1", "EXPLAIN has no option \"analyse\"", "Did you mean \"analyze\"?", "ANALYSE"),
    ]);
}

#[test]
fn small_mistakes_are_named() {
    check_errors(&[
        ("SET memory.buget = 1", "unknown setting \"memory.buget\"", "Did you mean \"memory.budget\"?", "memory.buget"),
        (
            "SET delivery = 'maybe'",
            "setting \"delivery\" cannot be 'maybe'",
            "Its values: exactly_once, at_least_once.",
            "'maybe'",
        ),
        ("SET delivery", "syntax error: expected = or TO, found the end of the statement", "", ""),
        ("SHOW TABELS", "there is no SHOW TABELS", "Did you mean \"TABLES\"?", "TABELS"),
        ("STOP alerts", "syntax error: expected JOB, found \"alerts\"", "Write STOP JOB alerts.", "alerts"),
        (
            "EXPLAIN SHOW TABLES",
            "EXPLAIN takes a query, an INSERT or a CREATE TABLE ... AS",
            "Leave out EXPLAIN.",
            "SHOW TABLES",
        ),
        (
            "SHOW TABLES x",
            "unknown setting \"TABLES\"",
            "Known settings: job.name, delivery, memory.budget, epoch.max_rows, models.topic, score.missing, score.on_error, udf.on_error, udf.group_rows.",
            "TABLES",
        ),
    ]);
}

#[test]
fn common_mistakes_get_a_hint() {
    check_errors(&[
        ("SELCT 1", "syntax error: no statement begins with \"SELCT\"", "Did you mean \"SELECT\"?", "SELCT"),
        (
            "SELECT a FORM t",
            "syntax error: expected the end of the statement, found \"t\"",
            "Did you mean FROM instead of \"FORM\"?",
            "t",
        ),
        (
            "SELECT a FROM t WHER a > 1",
            "syntax error: expected the end of the statement, found \"a\"",
            "Did you mean WHERE instead of \"WHER\"?",
            "a",
        ),
        (
            "SELECT a, FROM t",
            "syntax error: expected an expression, found \"FROM\"",
            "Leave out the comma before FROM.",
            "FROM",
        ),
        (
            "SELECT a b c FROM t",
            "syntax error: expected the end of the statement, found \"c\"",
            "Put a comma before \"c\" if it is the next item of a list.",
            "c",
        ),
        (
            "SELECT order FROM t",
            "syntax error: expected an expression, found \"order\"",
            "\"order\" is a word of SQL: put it in double quotes to use it as a name.",
            "order",
        ),
        ("SELECT (1 + 2 FROM t", "syntax error: expected \")\", found \"FROM\"", "", "FROM"),
        ("SELECT 'it's'", "syntax error: this string is not closed", "Close it with a single quote.", "'"),
        (
            "SELECT 1 +",
            "syntax error: expected an expression, found the end of the statement",
            "Write what belongs behind +, or leave it out.",
            "",
        ),
        (
            "SELECT a FROM t LIMIT 1 ORDER BY a",
            "syntax error: expected the end of the statement, found \"ORDER\"",
            "Write ORDER BY before LIMIT.",
            "ORDER",
        ),
        (
            "SELECT a FROM t SELECT b FROM t",
            "syntax error: expected the end of the statement, found \"SELECT\"",
            "Put a semicolon before SELECT if another statement begins there.",
            "SELECT",
        ),
        (
            "UPDATE t SET a = 1",
            "vatic has no UPDATE",
            "Records of a topic never change: write new ones with INSERT INTO ... SELECT.",
            "UPDATE",
        ),
        (
            "CREATE INDEX i ON t (a)",
            "vatic has no CREATE INDEX",
            "There are no indexes: a topic is read from its start.",
            "CREATE",
        ),
        ("BEGIN", "vatic has no BEGIN", "Each job commits its epochs by itself: leave it out.", "BEGIN"),
    ]);
}

#[test]
fn no_text_panics() {
    let deep = format!("SELECT {}1{}", "(".repeat(5_000), ")".repeat(5_000));
    assert!(parse(&deep, None).is_err());
    let deep = format!("CREATE TABLE t (a {}INT{})", "STRUCT(c DECIMAL(1), b ".repeat(5_000), ")".repeat(5_000));
    let (message, hint, _) = error(&deep);
    assert_eq!((message.as_str(), hint.as_str()), ("the type nests too deeply", "Nest types at most 32 deep."));
    let deep = format!("SELECT a::{}INT{}", "ARRAY<".repeat(5_000), ">>".repeat(2_500));
    assert_eq!(error(&deep).0, "the type nests too deeply");
    let wide = format!("SELECT 1{}", " + 1".repeat(5_000));
    // It could be parsed, but not walked.
    assert_eq!(error(&wide).0, "an expression chains too many operators");
    let seeds = [
        "CREATE TABLE t (a ROW(b INT), WATERMARK FOR ts AS ts - INTERVAL '5 seconds', PRIMARY KEY (a)) WITH (k.l = 'v') AS SELECT 1",
        "INSERT INTO t (a) SELECT {'a': 1}, x[1].y, $t$z$t$ FROM topic('t') EMIT CHANGES LIMIT 5",
        "SET a.b = 'x'; RESET JOB a.b; EXPLAIN ANALYZE SELECT é FROM \"ü\"; SHOW COLUMNS FROM t",
    ];
    for seed in seeds {
        for (at, _) in seed.char_indices() {
            let _ = parse(&seed[..at], None);
            let _ = parse(&seed[at..], None);
            for sign in ["'", "\"", "(", ")", ",", ";", "$", "é", "/*", "<"] {
                let _ = parse(&format!("{}{sign}{}", &seed[..at], &seed[at..]), None);
            }
        }
    }
}
