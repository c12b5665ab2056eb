//! Scoring in SQL against DataFusion itself: model `sum` adds its features, so a query that calls it must give what the same
//! query gives with a `+`; and the fake scorer counts the rows that reach it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Float64Type, Schema};
use arrow::util::pretty::pretty_format_batches;
use async_trait::async_trait;
use bytes::Bytes;
use datafusion::config::Dialect;
use datafusion::datasource::MemTable;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::{collect, displayable};
use datafusion::prelude::SessionContext;

use super::*;
use crate::error::{Error, ErrorKind};
use crate::model::descriptor::Descriptor;
use crate::model::registry::{Fetch, Registry, Settings};
use crate::model::{Input, Kind, Loaded, ModelError, ModelRef, Numbering, Output, Scorer, Signature, View};
use crate::stream::operators::score::{Missing, Notices, OnError, is_score_failure};
use crate::stream::{EpochCell, EpochContext};

type Calls = Arc<Mutex<Vec<(String, usize)>>>;

/// `sum:N` adds N features and fails on rows with a sum below -1000; `plus:X:N` adds X too; `two` says "no" or "yes" with the
/// first feature as the probability of "yes".
#[derive(Debug)]
struct Fake {
    what: String,
    plus: f64,
    calls: Calls,
}

impl Scorer for Fake {
    fn score(&self, features: &[ArrayRef], rows: usize) -> Result<Vec<ArrayRef>, ModelError> {
        self.calls.lock().unwrap().push((self.what.clone(), rows));
        let value =
            |row: usize| features.iter().map(|f| f.as_primitive::<Float64Type>().value(row)).sum::<f64>() + self.plus;
        let sums: Vec<f64> = (0..rows).map(value).collect();
        if sums.iter().any(|sum| *sum < -1000.0) {
            return Err(ModelError::Run { model: String::new(), reason: "too low".to_owned() });
        }
        if self.what == "two" {
            let both: Float64Array = sums.iter().flat_map(|p| [1.0 - p, *p]).collect();
            let field = Arc::new(Field::new_list_field(DataType::Float64, true));
            return Ok(vec![Arc::new(arrow::array::FixedSizeListArray::new(field, 2, Arc::new(both), None))]);
        }
        Ok(vec![Arc::new(Float64Array::from(sums))])
    }
}

fn load(bytes: &[u8], calls: &Calls) -> (&'static str, Loaded) {
    let what = String::from_utf8_lossy(bytes).into_owned();
    let parts: Vec<&str> = what.split(':').collect();
    let (plus, width) = match parts.as_slice() {
        ["sum", n] => (0.0, n.parse().unwrap()),
        ["plus", x, n] => (x.parse().unwrap(), n.parse().unwrap()),
        _ => (0.0, 1),
    };
    let names = ["amount", "hour", "third"];
    let input =
        |i: usize| Input { name: names[i].into(), data_type: DataType::Float64, width: 1, shape: vec![], takes_null: false };
    let list = DataType::FixedSizeList(Arc::new(Field::new_list_field(DataType::Float64, true)), 2);
    let two = what == "two";
    let signature = Signature {
        inputs: (0..width).map(input).collect(),
        outputs: vec![Output { name: "y".into(), data_type: if two { list } else { DataType::Float64 } }],
        kind: if two { Kind::Classification { label: None, probabilities: Some(0) } } else { Kind::Regression { value: 0 } },
        classes: if two { vec!["no".into(), "yes".into()] } else { vec![] },
    };
    ("fake", Loaded { signature, scorer: Arc::new(Fake { what, plus, calls: Arc::clone(calls) }) })
}

#[derive(Default)]
struct Log(Mutex<BTreeMap<i64, Bytes>>);

#[async_trait]
impl Fetch for Log {
    async fn fetch(&self, offset: i64) -> crate::Result<Option<Bytes>> {
        Ok(self.0.lock().unwrap().get(&offset).cloned())
    }
}

struct Session {
    context: SessionContext,
    scoring: Arc<ScoreConfig>,
    registry: Arc<Registry>,
    log: Arc<Log>,
    calls: Calls,
    said: Arc<Mutex<Vec<String>>>,
}

/// How a session differs from a plain SELECT's.
#[derive(Clone, Copy)]
struct With {
    missing: Missing,
    on_error: OnError,
    streaming: bool,
}

const SELECT: With = With { missing: Missing::Error, on_error: OnError::Fail, streaming: false };
const JOB: With = With { missing: Missing::Null, on_error: OnError::DeadLetter, streaming: true };

impl Session {
    async fn new(with: With) -> Self {
        let (calls, log, said) = (Calls::default(), Arc::new(Log::default()), Arc::new(Mutex::new(Vec::new())));
        let of_loader = Arc::clone(&calls);
        let settings = Settings { loader: Arc::new(move |bytes| Ok(load(bytes, &of_loader))), ..Settings::default() };
        let registry = Registry::with("models", Numbering::Dense, Arc::clone(&log) as Arc<dyn Fetch>, settings);
        let cell =
            EpochCell::new(EpochContext { time: 0, models: Arc::new(View::new(registry.snapshot(), BTreeMap::new())) });
        let says = Arc::clone(&said);
        let scoring = Arc::new(ScoreConfig {
            cell,
            registry: Some(Arc::clone(&registry)),
            missing: with.missing,
            missing_in_column: Missing::Null,
            on_error: with.on_error,
            notices: Notices::new(move |text, _| says.lock().unwrap().push(text.to_owned())),
        });
        let context = SessionContext::new_with_state(session_state(&scoring, with.streaming, 2));
        let session = Self { context, scoring, registry, log, calls, said };
        for (name, model) in [("sum", "sum:2"), ("one", "sum:1"), ("two", "two"), ("far", "plus:100:2")] {
            session.publish(name, model).await;
        }
        session.epoch(1_000);
        session.table();
        session
    }

    /// A new version, loaded; live from the next epoch.
    async fn publish(&self, name: &str, model: &str) {
        let value = Bytes::from(Descriptor::new(name, Bytes::from(model.to_owned()), "fake", "").unwrap().encode());
        let offset = self.log.0.lock().unwrap().last_key_value().map_or(0, |(last, _)| last + 1);
        self.log.0.lock().unwrap().insert(offset, value.clone());
        self.registry.apply(offset, offset, Some(name.as_bytes()), Some(&value));
        self.registry.ready(&ModelRef::parse(name).unwrap()).await;
    }

    fn epoch(&self, time: i64) {
        let models = Arc::new(View::new(self.registry.snapshot(), BTreeMap::new()));
        self.scoring.cell.set(EpochContext { time, models });
    }

    fn table(&self) {
        let schema = Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("card", DataType::Utf8, true),
            Field::new("amount", DataType::Float64, true),
            Field::new("hour", DataType::Int64, true),
            Field::new("model", DataType::Utf8, true),
        ]));
        let batch = |ids: std::ops::Range<i64>| {
            let cards: StringArray = ids.clone().map(|i| Some(format!("c{}", i % 3))).collect();
            let amounts: Float64Array = ids.clone().map(|i| (i != 3).then_some(i as f64 * 10.0)).collect();
            let hours: Int64Array = ids.clone().map(|i| Some(i % 24)).collect();
            let models: StringArray = ids.clone().map(|i| ["sum", "far", "none"].get((i % 4) as usize).copied()).collect();
            let columns: Vec<ArrayRef> = vec![
                Arc::new(Int64Array::from_iter_values(ids)),
                Arc::new(cards),
                Arc::new(amounts),
                Arc::new(hours),
                Arc::new(models),
            ];
            RecordBatch::try_new(Arc::clone(&schema), columns).unwrap()
        };
        let table = MemTable::try_new(Arc::clone(&schema), vec![vec![batch(0..6), batch(6..12)]]).unwrap();
        self.context.register_table("t", Arc::new(table)).unwrap();
    }

    async fn try_run(&self, sql: &str) -> std::result::Result<RecordBatch, datafusion::error::DataFusionError> {
        let frame = self.context.sql(sql).await?;
        let wanted = Arc::clone(frame.schema().inner());
        let plan = frame.create_physical_plan().await?;
        assert_eq!(names(&plan.schema()), names(&wanted), "{sql}");
        let batches = collect(plan.clone(), self.context.task_ctx()).await?;
        Ok(concat_batches(&plan.schema(), &batches).unwrap())
    }

    async fn run(&self, sql: &str) -> RecordBatch {
        self.try_run(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    async fn error(&self, sql: &str) -> Error {
        Error::from(self.try_run(sql).await.expect_err(sql))
    }

    /// Rows as text, sorted unless the query orders them (and not only a window).
    async fn rows(&self, sql: &str) -> Vec<String> {
        let text = pretty_format_batches(&[self.run(sql).await]).unwrap().to_string();
        let mut rows: Vec<String> = text.lines().filter(|line| line.starts_with('|')).skip(1).map(str::to_owned).collect();
        if !sql.contains("ORDER BY") || sql.contains("OVER") {
            rows.sort_unstable();
        }
        rows
    }

    async fn plan(&self, sql: &str) -> String {
        let plan = self.context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        displayable(plan.as_ref()).indent(false).to_string()
    }

    /// Rows that reached models since the last call.
    fn scored(&self) -> usize {
        std::mem::take(&mut *self.calls.lock().unwrap()).iter().map(|(_, rows)| rows).sum()
    }
}

fn names(schema: &Schema) -> Vec<String> {
    schema.fields().iter().map(|f| format!("{} {}", f.name(), f.data_type())).collect()
}

#[tokio::test]
async fn a_call_is_worth_what_the_model_computes_wherever_it_stands() {
    let session = Session::new(SELECT).await;
    for query in [
        "SELECT id, {S} AS s FROM t",
        "SELECT id, {S} + 1 AS s, {S} * 2 AS d FROM t WHERE {S} > 50 AND id <> 7",
        "SELECT id FROM t WHERE {S} > 50 OR id = 1",
        "SELECT * FROM t WHERE {S} > 50",
        "SELECT id, CASE WHEN id > 5 THEN {S} ELSE -1 END AS s FROM t",
        "SELECT id FROM t ORDER BY {S} DESC NULLS LAST, id",
        "SELECT id, {S} AS s FROM t ORDER BY {S} DESC NULLS LAST LIMIT 3",
        "SELECT card, sum({S}) AS s, count(*) FILTER (WHERE {S} > 50) AS n FROM t GROUP BY card",
        "SELECT {S} AS s, count(*) AS n FROM t GROUP BY {S} HAVING {S} > 30",
        "SELECT {S} > 50 AS s, card, count(*) AS n FROM t GROUP BY ROLLUP (({S} > 50), card)",
        "SELECT {S} AS s, card, count(*) AS n FROM t GROUP BY GROUPING SETS (({S}), (card), ())",
        "SELECT max({S}) AS s FROM t HAVING max({S}) > 1",
        "SELECT id, rank() OVER (PARTITION BY card ORDER BY {S}) AS r, sum({S}) OVER (PARTITION BY card) AS s FROM t",
        "SELECT DISTINCT {S} > 50 AS s FROM t",
        "SELECT DISTINCT ON (card) card, {S} AS s FROM t ORDER BY card, {S} DESC NULLS LAST",
        "WITH x AS (SELECT id, {S} AS s FROM t WHERE {S} > 10) SELECT a.id, b.s FROM x a JOIN x b ON a.id = b.id WHERE b.s > 50",
        "SELECT s FROM (SELECT id, {S} AS s FROM t) q WHERE s > 50 AND id > 6",
        "SELECT id, {S} AS s FROM t UNION ALL SELECT id + 100, {S} * 2 FROM t WHERE {S} < 40",
        "SELECT {S} AS s FROM t UNION SELECT {S} FROM t",
        "SELECT {S} AS s FROM t INTERSECT SELECT {S} FROM t WHERE id > 4",
        "SELECT id FROM t WHERE {S} = (SELECT max({S}) FROM t)",
        "SELECT id FROM t WHERE {S} IN (SELECT {S} FROM t WHERE id > 9)",
        "SELECT id FROM t WHERE EXISTS (SELECT 1 FROM t AS u WHERE u.id = t.id + 1 AND {U} > 50)",
        "SELECT id, (SELECT max({U}) FROM t AS u WHERE u.card = t.card) AS m FROM t",
        "SELECT t.id, u.id AS uid FROM t JOIN t AS u ON {T} = {U}",
        "SELECT t.id, u.id AS uid FROM t LEFT JOIN t AS u ON t.id = u.id + 1 AND {U} > 60 AND {T} > 20",
        "SELECT t.id, u.id AS uid FROM t FULL JOIN t AS u ON t.id = u.id + 1 AND {U} > 60",
        "SELECT t.id FROM t JOIN t AS u ON {TU} > 150",
        "SELECT t.id, u.id AS uid FROM t, t AS u WHERE {TU} > 150 AND t.id < u.id",
        "SELECT id, abs({S}) AS s FROM t AS t WHERE id BETWEEN 2 AND 8 ORDER BY id OFFSET 2",
        "SELECT id FROM (SELECT * FROM t WHERE {S} > 20) t WHERE {S} < 90",
        "SELECT s, count(*) AS n FROM (SELECT {S} AS s FROM t) GROUP BY s",
        "SELECT sum(s) AS s FROM (SELECT unnest([{S}, 1.0]) AS s FROM t)",
    ] {
        let of = |s: &str, t: &str, u: &str, tu: &str| {
            query.replace("{S}", s).replace("{T}", t).replace("{U}", u).replace("{TU}", tu)
        };
        let plain = of("(amount + hour)", "(t.amount + t.hour)", "(u.amount + u.hour)", "(t.amount + u.amount)");
        let scored = of(
            "score('sum', amount, hour)",
            "score('sum', t.amount, t.hour)",
            "score('sum', u.amount, u.hour)",
            "score('sum', t.amount, u.amount)",
        );
        let (wanted, given) = (session.rows(&plain).await, session.rows(&scored).await);
        assert_eq!(given, wanted, "{scored}");
        assert!(!wanted.is_empty(), "{query} returns nothing and so shows nothing");
    }
}

#[tokio::test]
async fn names_of_columns_stay_those_of_the_query() {
    let session = Session::new(SELECT).await;
    // `try_run` compares the plan's names and types with those before the lifting.
    for query in [
        "SELECT score('sum', amount, hour) FROM t",
        "SELECT score('sum', amount, hour) + 1, score('sum', amount, hour) > 5 FROM t ORDER BY score('sum', amount, hour)",
        "SELECT score('sum', amount, hour), count(*) FROM t GROUP BY score('sum', amount, hour)",
        "SELECT sum(score('sum', amount, hour)), max(score('sum', amount, hour)) OVER () FROM t GROUP BY amount, hour",
        "SELECT * FROM (SELECT score('sum', amount, hour) FROM t) x",
        "SELECT score('sum', amount, hour) FROM t UNION ALL SELECT amount FROM t",
        "SELECT predict('two', amount / 200), classify('two', amount / 200) FROM t",
        "SELECT card, score('one', amount), count(*) FROM t GROUP BY ROLLUP (card, score('one', amount))",
    ] {
        session.run(query).await;
    }
}

#[tokio::test]
async fn a_call_runs_once_per_row_that_needs_it() {
    let session = Session::new(SELECT).await;
    let all = "score('sum', amount, hour)";
    for (query, rows) in [
        // Row 3 has a NULL feature but travels along in its batch.
        (format!("SELECT id, {all} FROM t WHERE {all} > 0.9"), 12),
        (format!("SELECT id, {all}, {all} + 1 FROM t WHERE {all} > 0.9 AND {all} < 99 AND id >= 6"), 6),
        (format!("SELECT id, {all} AS s FROM t WHERE {all} > 1 ORDER BY {all}"), 12),
        (format!("SELECT id, {all} FROM (SELECT * FROM t WHERE {all} > 0.9) AS v"), 12),
        (
            format!("WITH v AS (SELECT id, amount, hour FROM t WHERE {all} > 0.9) SELECT id, {all} FROM v WHERE {all} < 50"),
            12,
        ),
        (format!("SELECT s, p.version FROM (SELECT {all} AS s, predict('sum', amount, hour) AS p FROM t) q"), 12),
        // A condition above goes below the score.
        (format!("SELECT id FROM (SELECT id, {all} AS s FROM t) WHERE id = 4 AND s > 0"), 1),
        // Nobody reads it.
        (format!("SELECT id FROM (SELECT id, {all} AS s FROM t)"), 0),
        (format!("SELECT id FROM (SELECT id, {all} AS s, score('one', amount) AS o FROM t) WHERE s > 0"), 12),
        (format!("SELECT count(*) FROM (SELECT id, {all} AS s FROM t)"), 0),
        // Once per row of its side of a join, not per pair.
        ("SELECT t.id FROM t JOIN t AS u ON score('sum', t.amount, t.hour) > u.amount".to_owned(), 12),
        // Twins that differ by chance are two.
        ("SELECT score('sum', amount, random()) AS a, score('sum', amount, random()) AS b FROM t".to_owned(), 24),
    ] {
        session.run(&query).await;
        assert_eq!(session.scored(), rows, "{query}\n{}", session.plan(&query).await);
    }
    // A view is written out, so what it computed need not be computed again.
    session.context.sql(&format!("CREATE VIEW v AS SELECT id, amount, hour AS h FROM t WHERE {all} > 0.9")).await.unwrap();
    session.run("SELECT id, score('sum', amount, h) AS s FROM v WHERE score('sum', amount, h) > 50").await;
    assert_eq!(session.scored(), 12);
    // Limits go below the score: the first batch is enough.
    session.run(&format!("SELECT id, {all} FROM t LIMIT 2")).await;
    assert_eq!(session.scored(), 2);
}

#[tokio::test]
async fn columns_that_only_the_model_reads_end_at_the_score_and_others_never_reach_it() {
    let session = Session::new(SELECT).await;
    let plan = session.plan("SELECT id, score('sum', amount, hour) AS s FROM (SELECT * FROM t) WHERE card = 'c1'").await;
    let lines: Vec<&str> = plan.lines().map(str::trim).collect();
    assert_eq!(
        lines[..3],
        [
            "ProjectionExec: expr=[id@0 as id, __score_0@3 as s]",
            "ScoreExec: score(sum, amount@1, hour@2) AS __score_0",
            "FilterExec: card@1 = c1, projection=[id@0, amount@2, hour@3]",
        ],
        "{plan}"
    );
}

#[tokio::test]
async fn a_result_may_be_a_feature_of_another_call() {
    let session = Session::new(SELECT).await;
    let nested = "score('far', score('sum', amount, hour), score('one', hour))";
    let rows = session.rows(&format!("SELECT id, {nested} AS s FROM t WHERE {nested} > 200")).await;
    assert_eq!(
        rows,
        session.rows("SELECT id, amount + hour + hour + 100 AS s FROM t WHERE amount + hour + hour + 100 > 200").await
    );
    session.scored();
    session.run(&format!("SELECT {nested} FROM t WHERE {nested} > 0 AND score('one', hour) >= 0")).await;
    assert_eq!(session.scored(), 36);
}

#[tokio::test]
async fn features_come_as_arguments_as_a_list_or_as_a_struct_by_name() {
    let session = Session::new(SELECT).await;
    let wanted = session.rows("SELECT amount + hour AS s FROM t").await;
    for features in [
        "amount, hour",
        "[amount, CAST(hour AS DOUBLE)]",
        "named_struct('hour', hour, 'amount', amount)",
        "{'hour': hour, 'amount': amount}",
    ] {
        assert_eq!(session.rows(&format!("SELECT score('sum', {features}) AS s FROM t")).await, wanted, "{features}");
    }
}

#[tokio::test]
async fn a_column_may_name_the_model_and_rows_keep_their_order() {
    let session = Session::new(SELECT).await;
    let batch =
        session.run("SELECT id, score(model, amount, hour) AS s, predict(model, amount, hour)['model'] AS m FROM t").await;
    let scores = batch.column(1).as_primitive::<Float64Type>();
    for (row, id) in batch.column(0).as_primitive::<arrow::datatypes::Int64Type>().values().iter().enumerate() {
        let sum = *id as f64 * 10.0 + (*id % 24) as f64;
        let wanted = match id % 4 {
            0 => Some(sum),
            1 => Some(sum + 100.0),
            _ => None,
        };
        assert_eq!(scores.iter().nth(row).unwrap(), wanted, "{id}");
    }
    assert_eq!(*session.said.lock().unwrap(), ["no model \"none\" on topic \"models\": its scores are NULL"]);
    // Score and prediction share their runs: 3 rows of each of the two models.
    assert_eq!(session.scored(), 6);
}

#[tokio::test]
async fn a_model_that_a_column_names_is_loaded_while_the_epoch_waits() {
    let session = Session::new(SELECT).await;
    let value = Bytes::from(Descriptor::new("late", Bytes::from("sum:1"), "fake", "").unwrap().encode());
    session.log.0.lock().unwrap().insert(99, value.clone());
    session.registry.apply(99, 99, Some(b"late"), Some(&value));
    session.epoch(2_000);
    let rows = session.rows("SELECT score(concat('la', substr(card, 1, 0), 'te'), amount) AS s FROM t WHERE id = 2").await;
    assert_eq!(rows, ["| 20.0 |"]);
}

#[tokio::test]
async fn nothing_is_made_up() {
    let session = Session::new(SELECT).await;
    let rows = session.rows("SELECT id, score('sum', amount, hour) IS NULL AS n FROM t WHERE id IN (3, 4)").await;
    assert_eq!(rows, ["| 3  | true  |", "| 4  | false |"]);
    let error = session.error("SELECT score('smu', amount, hour) FROM t").await;
    assert_eq!(error.message(), "no model \"smu\" on topic \"models\"");
    assert_eq!(
        (error.kind(), error.get_hint()),
        (ErrorKind::User, Some("Did you mean \"sum\"? There are: far, one, sum, two."))
    );

    let job = Session::new(JOB).await;
    assert_eq!(job.rows("SELECT score('smu', amount, hour) AS s FROM t WHERE id < 2").await, ["|   |", "|   |"]);
    assert_eq!(job.said.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_call_that_does_not_fit_is_an_error_of_the_query() {
    let session = Session::new(SELECT).await;
    for (call, message) in [
        ("score()", "score() needs a model's name and features"),
        ("score('sum')", "score() has no features"),
        ("score(amount, hour)", "the first argument of score() is not a model's name but DOUBLE"),
        ("score('sum', amount)", "model \"sum:1\" takes 2 features, 1 was given"),
        ("score('sum', amount, card)", "model \"sum:1\" takes DOUBLE for \"hour\", \"card\" VARCHAR was given"),
        ("classify('sum', amount, hour)", "model \"sum:1\" has no classes"),
        ("score('sum', {'amount': amount})", "model \"sum:1\" takes \"hour\", which the struct does not have"),
    ] {
        // No row is needed to see it.
        for query in
            [format!("SELECT {call} FROM t WHERE id < 0"), format!("SELECT id FROM t WHERE {call} IS NULL AND id < 0")]
        {
            let error = session.error(&query).await;
            assert_eq!((error.message(), error.kind()), (message, ErrorKind::User), "{query}");
            assert!(error.get_hint().is_some(), "{query}");
        }
    }
    session.context.state_ref().write().config_mut().options_mut().sql_parser.dialect = Dialect::DuckDB;
    for (query, message) in [
        ("SELECT array_transform([1.0], x -> score('one', x)) FROM t", "a model cannot be called inside a lambda"),
        ("SELECT * FROM (VALUES (score('one', 1.0))) v", "a model cannot be called in VALUES"),
        (
            "SELECT t.id FROM t LEFT JOIN t AS u ON score('sum', t.amount, u.amount) > 1",
            "a call of a model in ON reads both sides of a LEFT join",
        ),
        (
            "SELECT (SELECT max(score('sum', u.amount, t.amount)) FROM t AS u) FROM t",
            "score() cannot read a column of the query around its subquery",
        ),
    ] {
        assert_eq!(session.error(query).await.message(), message);
    }
}

#[tokio::test]
async fn a_row_that_the_model_fails_on_does_what_is_set() {
    let query = "SELECT id, score('one', CASE id WHEN 4 THEN -5000 ELSE amount END) AS s FROM t WHERE id > 3";
    for on_error in [OnError::Fail, OnError::DeadLetter] {
        let session = Session::new(With { on_error, ..JOB }).await;
        let error = session.try_run(query).await.expect_err("row 4 fails");
        assert!(is_score_failure(&error), "{error}");
        let error = Error::from(error);
        assert_eq!((error.kind(), error.message()), (ErrorKind::Data, "model \"one:1\" failed: too low"));
    }
    let session = Session::new(With { on_error: OnError::Null, ..JOB }).await;
    let rows = session.rows(query).await;
    assert_eq!((rows.len(), rows.iter().filter(|row| row.contains("| 4  |      ")).count()), (8, 1), "{rows:?}");
    assert_eq!(session.said.lock().unwrap().len(), 1);
    let other = session.try_run("SELECT CAST(card AS BIGINT) FROM t").await.expect_err("a cast fails");
    assert!(!is_score_failure(&other));
}

#[tokio::test]
async fn a_plan_is_executed_again_with_what_the_new_epoch_says() {
    let session = Session::new(JOB).await;
    let sql = "SELECT id, score('one', amount) AS s, CAST(now() AS BIGINT) / 1000000 AS n, uniform(id, 1) AS u FROM t \
               WHERE score('one', amount) >= 0 AND id = 1";
    let frame = session.context.sql(sql).await.unwrap();
    let mut plan = frame.create_physical_plan().await.unwrap();
    allow::check_physical(&reset_plan_states(Arc::clone(&plan)).unwrap()).expect_err("a MemTable is no epoch's scan");
    let mut seen = Vec::new();
    for (time, model) in [(1_000, "plus:1:1"), (2_000, "plus:2:1"), (3_000, "plus:3:1"), (4_000, "sum:1")] {
        let batches = collect(Arc::clone(&plan), session.context.task_ctx()).await.unwrap();
        let batch = concat_batches(&plan.schema(), &batches).unwrap();
        let score = batch.column(1).as_primitive::<Float64Type>().value(0);
        seen.push((score, batch.column(2).as_primitive::<arrow::datatypes::Int64Type>().value(0)));
        // Published, but this epoch's view does not change.
        session.publish("one", model).await;
        let again = collect(reset_plan_states(Arc::clone(&plan)).unwrap(), session.context.task_ctx()).await.unwrap();
        assert_eq!(again, batches);
        session.epoch(time + 1_000);
        plan = reset_plan_states(plan).unwrap();
    }
    assert_eq!(seen, [(10.0, 1_000), (11.0, 2_000), (12.0, 3_000), (13.0, 4_000)]);
}

#[tokio::test]
async fn the_time_is_the_epochs_in_every_spelling() {
    let session = Session::new(JOB).await;
    session.epoch(86_400_000 + 1_500);
    let query = "SELECT now() = current_timestamp AS a, current_timestamp() AS b, current_date AS c, today() AS d, current_time AS e \
                 FROM t LIMIT 1";
    let rows = session.rows(query).await;
    assert_eq!(rows, ["| true | 1970-01-02T00:00:01.500 | 1970-01-02 | 1970-01-02 | 00:00:01.500 |"]);
    let plain = Session::new(SELECT).await.rows("SELECT current_date > DATE '2026-01-01' AS c").await;
    assert_eq!(plain, ["| true |"], "a plain SELECT has the real time");
}

#[tokio::test]
async fn models_are_found_before_the_analyzer_runs() {
    let session = Session::new(SELECT).await;
    let sql =
        "SELECT score('sum', amount, hour) FROM t WHERE id IN (SELECT id FROM t WHERE classify('two:7', amount) = 'no')";
    let plan = session.context.state().create_logical_plan(sql).await.unwrap();
    let called = models_in(&plan).unwrap();
    assert_eq!(called.literal.into_iter().collect::<Vec<_>>(), ["sum", "two:7"]);
    assert!(!called.from_column);
    let plan = session.context.sql("SELECT score(model, amount, hour) FROM t").await.unwrap().into_optimized_plan().unwrap();
    assert_eq!(models_in(&plan).unwrap(), ModelsCalled { literal: BTreeSet::new(), from_column: true });
}

#[tokio::test]
async fn a_running_query_may_be_what_is_on_the_list() {
    let session = Session::new(JOB).await;
    for query in [
        "SELECT id, score('sum', amount, hour) AS s FROM t WHERE score('sum', amount, hour) > 0.9 AND random() < 2",
        "SELECT id, uuid() FROM t UNION ALL SELECT id, card FROM t WHERE now() > TIMESTAMP '1970-01-01'",
        "SELECT id, unnest([1, 2]) FROM (SELECT * FROM t) x",
        "WITH v AS (SELECT id FROM t) SELECT * FROM v",
    ] {
        let plan = session.context.state().create_logical_plan(query).await.unwrap();
        allow::check_logical(&plan).unwrap_or_else(|error| panic!("{query}: {error}"));
        let optimized = session.context.state().optimize(&plan).unwrap();
        allow::check_logical(&optimized).unwrap_or_else(|error| panic!("{query}: {error}"));
    }
    for (query, what) in [
        ("SELECT card, count(*) FROM t GROUP BY card", "GROUP BY"),
        ("SELECT max(amount) FROM t", "an aggregate function"),
        ("SELECT DISTINCT card FROM t", "DISTINCT"),
        ("SELECT id FROM t UNION SELECT id FROM t", "UNION without ALL"),
        ("SELECT id FROM t ORDER BY id", "ORDER BY"),
        ("SELECT id FROM (SELECT id FROM t LIMIT 3) x", "LIMIT in a job or a subquery"),
        ("SELECT t.id FROM t JOIN t AS u ON t.id = u.id", "a join"),
        ("SELECT t.id FROM t, t AS u", "a join"),
        ("SELECT id FROM t EXCEPT SELECT id FROM t", "INTERSECT or EXCEPT"),
        ("SELECT id FROM t INTERSECT ALL SELECT id FROM t", "INTERSECT or EXCEPT"),
        ("SELECT id, row_number() OVER (ORDER BY id) FROM t", "OVER"),
        ("SELECT id FROM t WHERE id IN (SELECT id FROM t)", "a subquery in an expression"),
        ("SELECT id, (SELECT 1) FROM t", "a subquery in an expression"),
        ("WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT n FROM r", "WITH RECURSIVE"),
    ] {
        let plan = session.context.state().create_logical_plan(query).await.unwrap();
        let error = allow::check_logical(&plan).expect_err(query);
        assert_eq!(error.message(), format!("{what} is not available in a running query yet"), "{query}");
        assert!(error.get_hint().is_some());
    }
    for query in ["SELECT 1", "SELECT * FROM (VALUES (1)) v", "SELECT id FROM t UNION ALL SELECT 1"] {
        let plan = session.context.state().create_logical_plan(query).await.unwrap();
        let error = allow::check_logical(&plan).expect_err(query);
        assert!(error.message().starts_with("a running query cannot read constant rows"), "{query}");
    }
}

#[tokio::test]
async fn explain_reads_in_the_order_in_which_a_row_travels() {
    let session = Session::new(JOB).await;
    let sql =
        "SELECT id, score('sum', amount, hour) AS risk, card FROM t WHERE score('sum', amount, hour) > 0.9 AND amount > 10";
    let plan = session.context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
    let facts = explain::Facts { costs: [(("sum".into(), 1), 181.4)].into(), ..explain::Facts::default() };
    let root = explain::explain(&plan, &facts);
    let lines: Vec<String> = root.in_order().into_iter().map(|step| format!("{}: {}", step.name, step.text)).collect();
    assert_eq!(
        lines,
        [
            "read: rows at hand: id, card, amount, hour",
            "filter: amount > 10",
            "score: score('sum', amount, hour) by sum:1, fake",
            "kernel: 0.18 µs a row",
            "filter: score('sum', amount, hour) > 0.9",
            "output: id, score('sum', amount, hour) AS risk, card",
        ]
    );
}

/// A function that waits, such as one that asks a service.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Waits(datafusion::logical_expr::Signature);

impl datafusion::logical_expr::ScalarUDFImpl for Waits {
    fn name(&self) -> &str {
        "lookup"
    }
    fn signature(&self) -> &datafusion::logical_expr::Signature {
        &self.0
    }
    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Int64)
    }
    fn invoke_with_args(
        &self,
        _: datafusion::logical_expr::ScalarFunctionArgs,
    ) -> DataFusionResult<datafusion::logical_expr::ColumnarValue> {
        datafusion::common::internal_err!("only planned")
    }
}

#[async_trait]
impl datafusion::logical_expr::async_udf::AsyncScalarUDFImpl for Waits {
    async fn invoke_async_with_args(
        &self,
        _: datafusion::logical_expr::ScalarFunctionArgs,
    ) -> DataFusionResult<datafusion::logical_expr::ColumnarValue> {
        datafusion::common::internal_err!("only planned")
    }
}

#[tokio::test]
async fn explain_writes_a_function_that_waits_as_its_call() {
    use datafusion::logical_expr::async_udf::AsyncScalarUDF;
    use datafusion::logical_expr::{Signature, Volatility};
    let session = Session::new(JOB).await;
    let waits = Waits(Signature::any(2, Volatility::Volatile));
    session.context.register_udf(AsyncScalarUDF::new(Arc::new(waits)).into_scalar_udf());
    let sql = "SELECT id FROM t WHERE lookup(card, 'a@1') > 3";
    let plan = session.context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
    let root = explain::explain(&plan, &explain::Facts::default());
    let lines: Vec<String> = root.in_order().into_iter().map(|step| format!("{}: {}", step.name, step.text)).collect();
    assert_eq!(
        lines,
        ["read: rows at hand: id, card", "call: lookup(card, 'a@1')", "filter: lookup(card, 'a@1') > 3", "output: id",]
    );
}

#[tokio::test]
async fn numbers_from_n_are_the_same_each_time() {
    let session = Session::new(SELECT).await;
    let query = "SELECT uniform(id, 1) AS a, uniform(id, 'x') AS b, normal(id, hour) AS c, normal(id, card) AS d, uniform(NULL, 1) AS e FROM t";
    assert_eq!(session.rows(query).await, session.rows(query).await);
    let error = session.error("SELECT uniform(amount, 1) FROM t").await;
    assert_eq!(error.message(), "uniform(n, salt) makes numbers from an integer, not from Float64");
}
