//! Names are found as SQL says: in any case, in the nearest scope, with the spelling of the DDL.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::common::TableReference;
use datafusion::datasource::MemTable;
use datafusion::execution::SessionStateBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};

use super::super::parse::parse_query;
use super::super::types::Types;
use super::*;

/// Tables by their spelling.
struct Tables(BTreeMap<String, Fields>);

impl Scope for Tables {
    fn table(&self, name: &Name) -> Option<String> {
        name.find(self.0.keys().map(String::as_str)).map(str::to_owned)
    }
    fn columns(&self, table: &str) -> Option<Fields> {
        self.0.get(table).cloned()
    }
}

fn tables() -> Tables {
    let strukt = |fields: Vec<Field>| DataType::Struct(Fields::from(fields));
    let item = strukt(vec![Field::new("itemName", DataType::Utf8, true)]);
    let user = strukt(vec![Field::new("userName", DataType::Utf8, true)]);
    let payload = strukt(vec![
        Field::new("appUser", user, true),
        Field::new("items", DataType::List(Arc::new(Field::new_list_field(item, true))), true),
    ]);
    let events = Fields::from(vec![
        Field::new("userId", DataType::Int64, true),
        Field::new("amount", DataType::Float64, true),
        Field::new("Name", DataType::Utf8, true),
        Field::new("payload", payload, true),
        Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), true),
    ]);
    let users = Fields::from(vec![Field::new("userId", DataType::Int64, true), Field::new("City", DataType::Utf8, true)]);
    let twins = Fields::from(vec![Field::new("a", DataType::Int64, true), Field::new("A", DataType::Int64, true)]);
    let all = [("Events", events.clone()), ("users", users), ("twins", twins), ("topic('e.v')", events)];
    Tables(all.into_iter().map(|(name, fields)| (name.to_owned(), fields)).collect())
}

fn resolved(text: &str) -> (String, Resolved) {
    let mut query = parse_query(text).unwrap();
    let it = resolve(&mut query, &tables());
    (query.to_string(), it)
}

/// The names that people see, from a real plan, which is also run once.
async fn names(text: &str) -> Vec<String> {
    let mut config = SessionConfig::new();
    config.options_mut().sql_parser.enable_ident_normalization = false;
    let state =
        SessionStateBuilder::new().with_config(config).with_default_features().with_type_planner(Arc::new(Types)).build();
    let context = SessionContext::new_with_state(state);
    let tables = tables();
    for (name, fields) in &tables.0 {
        let schema = Arc::new(Schema::new(fields.clone()));
        let columns: Vec<ArrayRef> = fields.iter().map(|f| arrow::array::new_null_array(f.data_type(), 1)).collect();
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
        let table = MemTable::try_new(schema, vec![vec![batch]]).unwrap();
        context.register_table(TableReference::bare(name.as_str()), Arc::new(table)).unwrap();
    }
    let mut query = parse_query(text).unwrap();
    let it = resolve(&mut query, &tables);
    let statement = datafusion::sql::parser::Statement::Statement(Box::new(sqlparser::ast::Statement::Query(query.clone())));
    let plan = match context.state().statement_to_plan(statement).await {
        Ok(plan) => plan,
        Err(error) => unreachable!("{text}\n{query}\n{error}"),
    };
    let schema = it.names.schema(plan.schema().as_arrow());
    match context.execute_logical_plan(plan).await.unwrap().collect().await {
        Ok(_) => schema.fields().iter().map(|f| f.name().clone()).collect(),
        Err(error) => unreachable!("{text}\n{query}\n{error}"),
    }
}

#[test]
fn unquoted_names_get_the_spelling_of_the_ddl() {
    for (typed, spelled) in [
        ("SELECT USERID FROM EVENTS", "SELECT \"userId\" FROM \"Events\""),
        ("SELECT events.name FROM events", "SELECT \"Events\".\"Name\" FROM \"Events\""),
        ("SELECT E.NAME FROM events e", "SELECT \"e\".\"Name\" FROM \"Events\" e"),
        ("SELECT x.city FROM users AS \"X\"", "SELECT \"X\".\"City\" FROM \"users\" AS \"X\""),
        ("SELECT \"userid\" FROM Events", "SELECT \"userid\" FROM \"Events\""),
        ("SELECT a, A FROM twins", "SELECT \"a\", \"A\" FROM \"twins\""),
        ("SELECT nothing FROM nowhere", "SELECT nothing FROM nowhere"),
        ("SELECT e.* FROM Events E", "SELECT \"E\".* FROM \"Events\" E"),
        ("SELECT * EXCLUDE (USERID) FROM Events", "SELECT * EXCLUDE (\"userId\") FROM \"Events\""),
        (
            "SELECT city FROM events JOIN users USING (USERID)",
            "SELECT \"City\" FROM \"Events\" JOIN \"users\" USING(\"userId\")",
        ),
        (
            "SELECT PAYLOAD.APPUSER.USERNAME AS x, events.payload.appuser FROM events",
            "SELECT \"payload\".\"appUser\".\"userName\" AS x, \"Events\".\"payload\".\"appUser\" AS \"appUser\" FROM \"Events\"",
        ),
        (
            "SELECT payload.ITEMS[1].ITEMNAME AS x FROM events",
            "SELECT \"payload\".\"items\"[1].'itemName' AS x FROM \"Events\"",
        ),
        ("SELECT amount AS Big FROM events ORDER BY BIG", "SELECT \"amount\" AS Big FROM \"Events\" ORDER BY \"Big\""),
        (
            "SELECT NAME AS n, count(*) AS c FROM events GROUP BY N HAVING C > 1 ORDER BY C",
            "SELECT \"Name\" AS n, count(*) AS c FROM \"Events\" GROUP BY \"n\" HAVING \"c\" > 1 ORDER BY \"c\"",
        ),
        (
            "WITH Big AS (SELECT USERID, amount AS Cost FROM events) SELECT COST FROM BIG WHERE userid > 1",
            "WITH Big AS (SELECT \"userId\", \"amount\" AS Cost FROM \"Events\") SELECT \"Cost\" FROM \"Big\" WHERE \"userId\" > 1",
        ),
        ("SELECT D.USERID FROM (SELECT * FROM events) AS d", "SELECT \"d\".\"userId\" FROM (SELECT * FROM \"Events\") AS d"),
        (
            "SELECT X FROM (SELECT userid, name FROM events) AS d(x, y)",
            "SELECT \"x\" FROM (SELECT \"userId\", \"Name\" FROM \"Events\") AS d (x, y)",
        ),
        (
            "SELECT name FROM events WHERE EXISTS (SELECT 1 AS one FROM users WHERE users.userid = EVENTS.userid AND CITY = NAME)",
            "SELECT \"Name\" FROM \"Events\" WHERE EXISTS (SELECT 1 AS one FROM \"users\" WHERE \"users\".\"userId\" = \"Events\".\"userId\" AND \"City\" = \"Name\")",
        ),
        (
            "(SELECT userid FROM events) UNION ALL SELECT userid FROM users ORDER BY USERID",
            "(SELECT \"userId\" FROM \"Events\") UNION ALL SELECT \"userId\" FROM \"users\" ORDER BY \"userId\"",
        ),
        (
            "SELECT ts FROM t WHERE ts > TIMESTAMP '2026-01-01 00:00:00.12345'",
            "SELECT ts FROM t WHERE ts > TIMESTAMP(6) '2026-01-01 00:00:00.12345'",
        ),
        ("SELECT x.userid FROM topic('e.v') AS x", "SELECT \"x\".\"userId\" FROM \"topic('e.v')\" AS x"),
        ("SELECT \"e.v\".userid FROM topic('e.v')", "SELECT \"e.v\".\"userId\" FROM \"topic('e.v')\" AS \"e.v\""),
    ] {
        assert_eq!(resolved(typed).0, spelled);
    }
}

#[test]
fn tables_are_found_and_ctes_are_not() {
    let text = "WITH users AS (SELECT * FROM Users), b AS (SELECT * FROM users)
                SELECT (SELECT max(x) FROM other) FROM b, topic('e.v') t JOIN Events ON true";
    let uses = tables_in(&parse_query(text).unwrap());
    let mut names: Vec<_> = uses.iter().map(|u| (u.name.text.as_str(), u.topic.as_deref())).collect();
    names.sort_unstable();
    assert_eq!(names, [("Events", None), ("Users", None), ("other", None), ("topic('e.v')", Some("e.v"))]);
    let used = uses.iter().find(|u| u.name.text == "Events").unwrap();
    let source = super::super::text::Source::new(text, None);
    assert_eq!(&text[source.bytes(used.span)], "Events");
}

#[tokio::test]
async fn outputs_are_called_as_in_psql() {
    for (text, expected) in [
        (
            "SELECT lower(NAME), amount::INT, CAST(userid AS TEXT), amount + 1, payload.appuser.username FROM events",
            "lower,amount,userId,column4,userName",
        ),
        (
            "SELECT COUNT(*), 1, 'a', now() IS NULL, (amount) FROM events GROUP BY amount",
            "count,column2,column3,column4,amount",
        ),
        ("SELECT payload.items[1].itemname, payload.items[1], payload['appUser'] FROM events", "itemName,items,payload"),
        ("SELECT userid, userid, USERID FROM events", "userId,userId,userId"),
        ("SELECT *, userid FROM users", "userId,City,userId"),
        ("SELECT userid, * FROM users", "userId,userId,City"),
        ("SELECT * EXCLUDE (CITY), upper(city) AS \"City\" FROM users", "userId,City"),
        ("SELECT e.userid, u.userid FROM events e JOIN users u ON e.userid = u.userid", "userId,userId"),
        ("SELECT abs(amount), abs(userid) FROM events", "abs,abs"),
        ("SELECT 1 AS x, 2 AS x", "x,x"),
        ("SELECT ABS FROM (SELECT abs(amount), amount * 2 FROM events) t", "abs"),
        ("SELECT column2 FROM (SELECT abs(amount), amount * 2 FROM events) t", "column2"),
        ("SELECT * FROM (SELECT abs(amount), abs(userid) FROM events) t", "abs,abs"),
        ("SELECT lower(name) FROM events UNION ALL SELECT city FROM users", "lower"),
        ("VALUES (1, 'a')", "column1,column2"),
        ("SELECT extract(year FROM ts), date_trunc('day', ts), sum(amount) OVER () FROM events", "extract,date_trunc,sum"),
        ("SELECT t.x FROM (VALUES (1)) AS t(x)", "x"),
        ("SELECT (SELECT max(amount) FROM events)", "max"),
    ] {
        assert_eq!(names(text).await.join(","), expected, "{text}");
    }
}

#[tokio::test]
async fn names_do_not_get_in_the_way_of_the_planner() {
    for text in [
        "SELECT DISTINCT lower(name) FROM events ORDER BY lower(name)",
        "SELECT DISTINCT e.userid FROM events e ORDER BY e.userid",
        "SELECT lower(name), count(*) FROM events GROUP BY lower(name) HAVING count(*) > 0 ORDER BY count(*), lower(name)",
        "SELECT lower(name) FROM events GROUP BY 1 ORDER BY 1",
        "SELECT amount::INT FROM events GROUP BY amount ORDER BY amount",
        "SELECT userid::TEXT FROM events WHERE userid > 3 ORDER BY userid",
        "SELECT max(ts), ts FROM events GROUP BY ts",
        "SELECT payload.appuser.username FROM events GROUP BY payload.appuser.username",
        "SELECT userid, sum(amount) FROM events GROUP BY ALL ORDER BY ALL",
        "SELECT unnest(payload.items) FROM events",
        "SELECT i.x FROM events, UNNEST([1, 2]) AS i(x)",
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT N + 1 FROM R WHERE n < 3) SELECT N FROM r",
        "SELECT {'a': amount, 'b': NAME} AS s, MAP {'x': amount} AS m, struct(amount AS c) FROM events",
        "SELECT CASE WHEN amount > 1 THEN 'a' ELSE 'b' END, amount BETWEEN 1 AND 2 FROM events",
        "SELECT ts FROM events WHERE ts >= TIMESTAMP '2026-01-01' - INTERVAL '5 seconds' AND ts < now()",
        "SELECT name FROM events e WHERE amount > (SELECT avg(amount) FROM events x WHERE X.userid = E.userid)",
        "SELECT count(e.*) FROM events e",
    ] {
        assert!(!names(text).await.is_empty(), "{text}");
    }
}

#[test]
fn two_equal_names_are_found_for_sinks() {
    let (_, it) = resolved("SELECT abs(amount), abs(userid) FROM events");
    let schema = Schema::new(vec![Field::new("abs", DataType::Float64, true), Field::new("abs#1", DataType::Float64, true)]);
    assert_eq!(it.names.duplicate(&schema), Some("abs"));
    assert_eq!(it.names.duplicate(&Schema::empty()), None);
}

#[test]
fn deep_and_wide_queries_take_their_time_in_proportion() {
    let deep = format!("SELECT * FROM {}events{}", "(SELECT * FROM ".repeat(30), ") x".repeat(30));
    let wide = format!("SELECT {} FROM events", vec!["amount + 1"; 2_000].join(", "));
    assert!(resolved(&deep).0.contains("\"Events\""));
    assert!(resolved(&wide).0.contains("\"column2000\""));
}
