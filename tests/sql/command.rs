//! What the test files can do beside SQL.
//!
//! | command | what it does |
//! |---|---|
//! | `\topic NAME PARTITIONS` | creates a topic |
//! | `\produce TOPIC [PARTITION]`, then lines | each line is a record; `key => value` gives it a key, a lone `key =>` is a tombstone |
//! | `\consume TOPIC` | the values of its records, NULL for a tombstone |
//! | `\records TOPIC` | partition, offset, key, value of its records |
//! | `\file NAME`, then lines | writes a file into the folder that relative paths begin in |
//! | `\publish NAME FILE` | publishes `tests/models/FILE`; the row is name, version, whether it is new |
//! | `\publish NAME constant VALUE INPUTS` | publishes a model that always answers VALUE |
//! | `\head N SQL` | the first N rows |
//! | `\masked SQL` | the rows with N for each figure that is measured: `N ns a row`, `N ms` |
//! | `\columns QUERY` | name and type of the query's columns |
//! | `\roundtrip TABLE` | its DDL, executed in the table's place, must give the same DDL; the row is the DDL |
//! | `\notices` | what people were told since the last time |

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use sqllogictest::{DBOutput, DefaultColumnType};
use vatic::connector::{Commit, NewTopic, Output, SinkSpec};
use vatic::engine::{Outcome, PublishOptions};
use vatic::format::RecordsBuilder;
use vatic::sql::types::sql_type;

use super::Vatic;
use super::render::{Failure, texts};

type Given = Result<DBOutput<DefaultColumnType>, Failure>;

/// `text` with N for each number before a unit of time, and for those of JSON that are measured.
fn masked(text: &str) -> String {
    let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    for at in 1..words.len() {
        let unit = words[at].trim_end_matches(|c: char| !c.is_alphabetic());
        if matches!(unit, "ns" | "µs" | "ms") && words[at - 1].parse::<f64>().is_ok() {
            words[at - 1] = "N".to_owned();
        }
    }
    let mut text = words.join(" ");
    for key in ["\"time_ms\":", "\"ns_per_row\":"] {
        let mut parts = text.split(key);
        let first = parts.next().unwrap_or_default().to_owned();
        text = parts
            .fold(first, |text, rest| text + key + "N" + rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.'));
    }
    text
}

impl Vatic {
    pub async fn command(&mut self, command: &str) -> Given {
        let (head, body) = command.split_once('\n').unwrap_or((command, ""));
        let words: Vec<&str> = head.split_whitespace().collect();
        match words.as_slice() {
            ["topic", name, partitions] => {
                let topic = NewTopic {
                    name: (*name).to_owned(),
                    partitions: Some(partitions.parse().unwrap()),
                    ..NewTopic::default()
                };
                self.engine.broker().create_topic(&topic).await?;
                Ok(DBOutput::StatementComplete(0))
            }
            ["produce", topic] => self.produce(topic, 0, body).await,
            ["produce", topic, partition] => self.produce(topic, partition.parse().unwrap(), body).await,
            ["consume", topic] => self.read(topic, "value").await,
            ["records", topic] => self.read(topic, r#""partition", "offset", "key", value"#).await,
            ["file", name] => {
                std::fs::write(self.dir.path().join("files").join(name), format!("{body}\n")).unwrap();
                Ok(DBOutput::StatementComplete(0))
            }
            ["publish", name, "constant", value, inputs] => {
                let model = super::models::constant_model(value.parse().unwrap(), inputs.parse().unwrap());
                self.publish(name, model).await
            }
            ["publish", name, file] => {
                let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models").join(file);
                self.publish(name, std::fs::read(path).unwrap()).await
            }
            ["head", count, ..] => {
                let sql = command.trim_start_matches("head ").trim_start_matches(count);
                Ok(match Box::pin(self.execute(sql.trim_start())).await? {
                    DBOutput::Rows { types, mut rows } => {
                        rows.truncate(count.parse().unwrap());
                        DBOutput::Rows { types, rows }
                    }
                    other => other,
                })
            }
            ["masked", ..] => Ok(match Box::pin(self.execute(command.trim_start_matches("masked").trim_start())).await? {
                DBOutput::Rows { types, rows } => {
                    let masked = |row: Vec<String>| row.iter().map(|cell| masked(cell)).collect();
                    DBOutput::Rows { types, rows: rows.into_iter().map(masked).collect() }
                }
                other => other,
            }),
            ["columns", ..] => self.columns(command.trim_start_matches("columns")).await,
            ["roundtrip", table] => self.round_trip(table).await,
            ["notices"] => {
                let heard = std::mem::take(&mut *self.heard.lock().unwrap());
                Ok(texts(1, heard.into_iter().map(|text| vec![text]).collect()))
            }
            _ => panic!("no such command: \\{head}"),
        }
    }

    async fn produce(&mut self, topic: &str, partition: i32, lines: &str) -> Given {
        let broker = self.engine.broker();
        broker.create_topic(&NewTopic { name: topic.to_owned(), partitions: Some(1), ..NewTopic::default() }).await?;
        let mut records = RecordsBuilder::with_capacity(8);
        for (at, line) in lines.lines().enumerate() {
            let (key, value) = match line.split_once(" =>") {
                Some((key, value)) => (Some(key), Some(value.trim_start()).filter(|v| !v.is_empty())),
                None => (None, Some(line)),
            };
            // Near the present: retention would delete older records.
            let time = vatic::time::now() + at as i64;
            records.push(0, time, key.map(str::as_bytes), value.map(str::as_bytes), []);
        }
        let output = Output { topic: topic.into(), partition, records: records.finish() };
        broker.sink(SinkSpec::default()).await?.commit(Commit { outputs: vec![output], ..Commit::default() }).await?;
        Ok(DBOutput::StatementComplete(lines.lines().count() as u64))
    }

    async fn publish(&mut self, name: &str, model: Vec<u8>) -> Given {
        let published = self.engine.publish("models", name, Bytes::from(model), &PublishOptions::default()).await?;
        Ok(texts(1, vec![vec![format!("{}:{} new={}", published.name, published.version, published.new)]]))
    }

    /// Reads a topic in a session beside the file's own.
    async fn read(&mut self, topic: &str, columns: &str) -> Given {
        let mut session = self.engine.session();
        let sql = format!(
            "CREATE TABLE t (value VARCHAR, \"key\" VARCHAR METADATA, \"partition\" INT METADATA, \"offset\" BIGINT METADATA)
             WITH (topic = '{topic}', format = 'raw'); SELECT {columns} FROM t ORDER BY \"partition\", \"offset\""
        );
        let mut output = DBOutput::StatementComplete(0);
        for statement in session.parse(&sql, None)? {
            if let Outcome::Rows(rows) = session.execute(&statement).await? {
                let schema = Arc::clone(&rows.schema);
                output = super::render::rows(&schema, &rows.collect().await?);
            }
        }
        Ok(output)
    }

    async fn columns(&mut self, query: &str) -> Given {
        let mut found = Vec::new();
        for statement in self.session.parse(query, None)? {
            if let Outcome::Rows(rows) = self.session.execute(&statement).await? {
                let fields = rows.schema.fields().iter();
                found = fields.map(|f| vec![f.name().clone(), sql_type(f.data_type())]).collect();
            }
        }
        Ok(texts(2, found))
    }

    async fn round_trip(&mut self, table: &str) -> Given {
        let ddl = self.ddl(table).await?;
        for statement in self.session.parse(&format!("DROP TABLE {table}; {ddl}"), None)? {
            self.session.execute(&statement).await?;
        }
        assert_eq!(ddl, self.ddl(table).await?, "the DDL of {table} is not its own");
        Ok(texts(1, vec![vec![ddl]]))
    }

    async fn ddl(&mut self, table: &str) -> Result<String, Failure> {
        let show = self.session.parse(&format!("SHOW CREATE TABLE {table}"), None)?;
        let Outcome::Rows(rows) = self.session.execute(&show[0]).await? else { panic!("SHOW gave no rows") };
        let batches = rows.collect().await?;
        let column = batches[0].column(1).as_any().downcast_ref::<arrow::array::StringArray>().unwrap();
        Ok(column.value(0).to_owned())
    }
}
