//! What SHOW and DESCRIBE answer, and CREATE TABLE.   state of session and broker ─► one batch

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema};

use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::Documentation;

use crate::connector::file::Files;
use crate::connector::{CONNECTORS, OffsetAt};
use crate::error::{Error, Result};
use crate::format::{FORMATS, Inferred, Note, format};
use crate::model::table::{models_batch, models_schema};
use crate::sql::functions::FUNCTIONS;
use crate::sql::{Column, Show, TableDefinition, TableOptions};

use super::query::Rows;
use super::session::{Outcome, Session, done};
use super::tables::{SAMPLE, Table, sample};

/// Rows of text.
fn texts(names: &[&str], rows: Vec<Vec<Option<String>>>) -> Result<Rows> {
    let columns = (0..names.len()).map(|i| {
        let column: StringArray = rows.iter().map(|row| row.get(i).cloned().flatten()).collect();
        Arc::new(column) as ArrayRef
    });
    let fields: Vec<Field> = names.iter().map(|name| Field::new(*name, DataType::Utf8, true)).collect();
    batch(fields, columns.collect())
}

fn batch(fields: Vec<Field>, columns: Vec<ArrayRef>) -> Result<Rows> {
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(|e| Error::internal(e.to_string()))?;
    Ok(Rows::of(batch))
}

fn some(text: impl Into<String>) -> Option<String> {
    Some(text.into())
}

/// The functions that are built in, ours first, then DataFusion's by name.
fn functions() -> Vec<Vec<Option<String>>> {
    let ours = FUNCTIONS.iter().map(|f| vec![some(f.name), some(f.signature), some(f.doc)]);
    let mut others: Vec<Vec<Option<String>>> = Vec::new();
    let mut add = |name: &str, documentation: Option<&Documentation>| {
        if FUNCTIONS.iter().any(|f| f.name == name) {
            return;
        }
        let first_line = |d: &Documentation| d.description.trim().lines().next().unwrap_or_default().to_owned();
        others.push(vec![some(name), documentation.map(|d| d.syntax_example.clone()), documentation.map(first_line)]);
    };
    for function in SessionStateDefaults::default_scalar_functions() {
        add(function.name(), function.documentation());
    }
    for function in SessionStateDefaults::default_aggregate_functions() {
        add(function.name(), function.documentation());
    }
    for function in SessionStateDefaults::default_window_functions() {
        add(function.name(), function.documentation());
    }
    others.sort();
    others.dedup_by(|a, b| a.first() == b.first());
    ours.chain(others).collect()
}

impl Session {
    pub(super) async fn show(&mut self, show: &Show) -> Result<Rows> {
        match show {
            Show::Tables => {
                let tables = self.tables.values().map(|t| {
                    vec![some(&*t.definition.name), some("table"), some(t.options.connector()), some(&*t.rows.topic)]
                });
                let views = self.views.values().map(|v| vec![some(&*v.name), some("view"), None, None]);
                texts(&["name", "kind", "connector", "topic"], tables.chain(views).collect())
            }
            Show::Views => {
                texts(&["name", "query"], self.views.values().map(|v| vec![some(&*v.name), some(&*v.text)]).collect())
            }
            Show::Topics => self.topics().await,
            Show::Models => {
                let models = self.engine().models(&self.settings().models_topic).await?;
                models.caught_up().await?;
                models.registry().load_all().await;
                Ok(Rows::of(models_batch(models.registry())?))
            }
            Show::Jobs => {
                let names =
                    ["name", "status", "rows_in", "rows_out", "lag", "dead_letters", "epochs", "epoch_p99_us", "models"];
                let rows = self.jobs.iter().map(|job| {
                    let counts = job.metrics();
                    vec![
                        some(job.name()),
                        some(job.status().to_string()),
                        some(counts.rows_in.to_string()),
                        some(counts.rows_out.to_string()),
                        counts.lag.map(|lag| lag.to_string()),
                        some(counts.dead_letters.to_string()),
                        some(counts.epochs.to_string()),
                        some(counts.epoch_p99_us.to_string()),
                        some(counts.models_text()),
                    ]
                });
                texts(&names, rows.collect())
            }
            Show::Functions => {
                let names =
                    ["name", "signature", "description", "kind", "path", "hash", "calls", "rows", "errors", "time_us"];
                let mut rows = self.own_functions();
                rows.extend(functions().into_iter().map(|mut row| {
                    row.push(some("built in"));
                    row
                }));
                texts(&names, rows)
            }
            Show::Formats => {
                let rows = FORMATS.iter().map(|f| {
                    let options: Vec<&str> = f.options().iter().map(|o| o.name).collect();
                    vec![some(f.name()), some(options.join(", "))]
                });
                texts(&["name", "options"], rows.collect())
            }
            Show::Connectors => {
                let rows = CONNECTORS.iter().map(|c| {
                    let options: Vec<&str> = c.options().iter().map(|o| o.name).collect();
                    vec![some(c.name()), some(options.join(", "))]
                });
                texts(&["name", "options"], rows.collect())
            }
            Show::All => {
                let rows = self
                    .settings()
                    .all()
                    .map(|(spec, value)| vec![some(spec.name), some(value), some(spec.values), some(spec.doc)]);
                texts(&["name", "value", "values", "description"], rows.collect())
            }
            Show::Setting(name) => texts(&[name], vec![vec![some(self.settings().get(name)?)]]),
            Show::CreateTable(name) => {
                let inferred = self.inferred(&name.text).await?;
                let table = match &inferred {
                    Some(table) => table,
                    None => self.table(&name.text)?,
                };
                texts(
                    &["table", "statement"],
                    vec![vec![some(&*table.definition.name), some(format!("{};", table.definition.to_sql()))]],
                )
            }
            Show::CreateView(name) => match self.views.get(&name.text.to_lowercase()) {
                Some(view) => {
                    let text = format!("CREATE VIEW {} AS {};", crate::sql::quote::quote_name(&view.name), view.text);
                    texts(&["view", "statement"], vec![vec![some(&*view.name), some(text)]])
                }
                None => Err(Error::user(format!("no view \"{}\"", name.text)).hint("SHOW VIEWS; lists them.")),
            },
            Show::Columns(name) => self.describe(&name.text).await,
        }
    }

    /// The topics of the broker with the number of their records.
    async fn topics(&self) -> Result<Rows> {
        let broker = self.engine().broker();
        let (mut names, mut partitions, mut records) = (Vec::new(), Vec::new(), Vec::new());
        for topic in broker.topics().await? {
            let first = broker.offsets(&topic.name, OffsetAt::Earliest).await?;
            let end = broker.offsets(&topic.name, OffsetAt::Latest).await?;
            records.push(end.iter().zip(first).map(|(end, first)| u64::try_from(end - first).unwrap_or(0)).sum::<u64>());
            partitions.push(u64::try_from(topic.partitions).unwrap_or(0));
            names.push(topic.name);
        }
        let fields = vec![
            Field::new("name", DataType::Utf8, false),
            Field::new("partitions", DataType::UInt64, false),
            Field::new("records", DataType::UInt64, false),
        ];
        batch(
            fields,
            vec![
                Arc::new(StringArray::from(names)),
                Arc::new(UInt64Array::from(partitions)),
                Arc::new(UInt64Array::from(records)),
            ],
        )
    }

    pub(super) async fn describe(&self, name: &str) -> Result<Rows> {
        let names = ["column", "type", "null", "note"];
        let key = name.to_lowercase();
        if let Some(view) = self.views.get(&key) {
            let row =
                |f: &Arc<Field>| vec![some(f.name()), some(crate::sql::types::sql_type(f.data_type())), some("YES"), None];
            return texts(&names, view.fields.iter().map(row).collect());
        }
        if key == "models" {
            let schema = models_schema();
            let null = |f: &Field| some(if f.is_nullable() { "YES" } else { "NO" });
            let row = |f: &Arc<Field>| vec![some(f.name()), some(crate::sql::types::sql_type(f.data_type())), null(f), None];
            return texts(&names, schema.fields().iter().map(row).collect());
        }
        let inferred = self.inferred(name).await?;
        let table = match &inferred {
            Some(table) => &table.definition,
            None => &self.table(name)?.definition,
        };
        let rows = table.columns.iter().map(|column| {
            let null = some(if column.nullable { "YES" } else { "NO" });
            vec![some(&*column.name), some(column.sql_type()), null, note(table, column)]
        });
        texts(&names, rows.collect())
    }

    /// `CREATE TABLE` without a query. Columns that are not given are found in the first records, and the DDL chosen is told.
    pub(super) async fn create_table(&mut self, mut definition: TableDefinition) -> Result<Outcome> {
        let declared = !definition.columns.is_empty();
        if !declared {
            let notes;
            (definition, notes) = self.infer_columns(definition).await?;
            self.engine().notices().info(super::resolve::found(&definition));
            notes.into_iter().for_each(|note| self.engine().notices().info(note.text));
        }
        let table = Table::new(definition, self.base()).await?;
        if declared {
            self.advice = super::unmatched::advice(self.engine().broker(), &table).await;
        }
        let key = table.definition.name.to_lowercase();
        self.replace(&key, |session, key| drop(session.tables.insert(key, Arc::new(table))));
        Ok(done("CREATE TABLE"))
    }

    /// `definition` with the columns that its first records suggest, and what to know of them.
    async fn infer_columns(&self, definition: TableDefinition) -> Result<(TableDefinition, Vec<Note>)> {
        let inferred = match TableOptions::read(&definition)? {
            TableOptions::Generator(_) => Inferred::plain(crate::connector::generator::Generator::schema()),
            TableOptions::File(file) => {
                let path = super::tables::resolve_path(self.base(), &file.path);
                let files = Files::open(&path, &definition.options, None).await?;
                files.inferred().cloned().unwrap_or_else(|| Inferred::plain(Arc::clone(files.schema())))
            }
            TableOptions::Kafka(kafka) => {
                let values = sample(self.engine().broker(), &kafka.topic, &kafka.properties, SAMPLE).await?;
                if values.is_empty() {
                    let error = Error::data(format!(
                        "topic \"{}\" is empty: its columns cannot be told from its records",
                        kafka.topic
                    ));
                    return Err(error.hint(format!("Declare them: CREATE TABLE {} (column TYPE, ...);", definition.name)));
                }
                let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
                format(kafka.format)?.infer(&values, &definition.options)?
            }
        };
        Ok((definition.with_inferred(&inferred), inferred.notes))
    }
}

fn note(table: &TableDefinition, column: &Column) -> Option<String> {
    let mut notes = Vec::new();
    if let Some(metadata) = column.metadata {
        notes.push(format!("metadata {}", metadata.name()));
    }
    if table.primary_key.contains(&column.name) {
        notes.push("primary key".to_owned());
    }
    if let Some(watermark) = table.watermark.as_ref().filter(|w| w.column == column.name) {
        notes.push(format!("watermark, {} ms behind", watermark.delay_ms));
    }
    notes.extend(column.comment.clone());
    (!notes.is_empty()).then(|| notes.join("; "))
}
