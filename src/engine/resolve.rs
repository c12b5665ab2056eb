//! What a query reads, by name.   AST ─► spelled names, the session's tables and views behind them, `topic('t')` inferred
//!
//! Views are resolved with the query that reads them, each once, those that others read first.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{Fields, Schema};
use datafusion::logical_expr::LogicalPlan;
use sqlparser::ast;
use sqlparser::tokenizer::Token;

use crate::config::Options;
use crate::connector::Topic;
use crate::error::{Error, Result};
use crate::format::{FORMATS, Note};
use crate::model::table::models_schema;
use crate::sql::names::{Name, Scope, TableUse, resolve, tables_in, topic_table};
use crate::sql::options::KafkaOptions;
use crate::sql::{OutputNames, Source, TableDefinition};

use super::absent::unknown_table;
use super::session::Session;
use super::tables::{SAMPLE, Table, sample};

/// A query with everything it reads.
pub struct Reads {
    /// The query, names spelled as declared.
    pub query: ast::Query,
    /// The text of the query and of all views it reads.
    pub text: String,
    /// The tables, each once, by the name in the query.
    pub tables: Vec<(String, Arc<Table>)>,
    /// The views, each once, those that others read first.
    pub views: Vec<(String, ast::Query)>,
    /// Whether it reads the table `models`.
    pub models: bool,
    names: OutputNames,
}

impl Reads {
    /// The names of the columns for people.
    pub fn output_names(&self, plan: &LogicalPlan) -> Vec<String> {
        plan.schema().fields().iter().map(|f| self.names.visible(f.name()).to_owned()).collect()
    }
}

/// The session's names, and the topics that the statement reads without a table.
struct Names<'a> {
    session: &'a Session,
    topics: &'a [(String, Arc<Table>)],
}

impl Scope for Names<'_> {
    fn table(&self, name: &Name) -> Option<String> {
        let session = self.session;
        let tables = session.tables.values().map(|t| t.definition.name.as_str());
        let views = session.views.values().map(|v| v.name.as_str());
        name.find(tables.chain(views).chain(["models"])).map(str::to_owned)
    }
    fn columns(&self, table: &str) -> Option<Fields> {
        if let Some((_, inferred)) = self.topics.iter().find(|(name, _)| name == table) {
            return Some(inferred.rows.schema.fields().clone());
        }
        let key = table.to_lowercase();
        if let Some(found) = self.session.tables.get(&key) {
            return Some(found.rows.schema.fields().clone());
        }
        if let Some(view) = self.session.views.get(&key) {
            return Some(view.fields.clone());
        }
        (key == "models").then(|| models_schema().fields().clone())
    }
}

impl Session {
    /// Finds what `query` reads.
    ///
    /// # Errors
    /// `User` for a name that nothing has, with the nearest; for a topic that does not exist.
    pub(super) async fn resolve(&self, query: &ast::Query) -> Result<Reads> {
        let (mut topics, mut notes) = (Vec::new(), Vec::new());
        self.infer_topics(query, &mut topics, &mut notes).await?;
        let names = Names { session: self, topics: &topics };
        let mut found = Found { names: &names, tables: Vec::new(), views: Vec::new(), models: false, unknown: None };
        let mut query = query.clone();
        let mut text = query.to_string();
        let resolved = resolve(&mut query, &names);
        self.spell_functions(&mut query);
        for used in &resolved.tables {
            if let Err(error) = found.add(used, &mut text) {
                return Err(match found.unknown {
                    Some(name) => error.hint(unknown_table(self.engine().broker(), &name).await),
                    None => error,
                });
            }
        }
        let Found { tables, views, models, .. } = found;
        let read = Mentioned::of(&text);
        let told = |note: &Note| note.column.as_ref().is_none_or(|column| read.may_be(column));
        notes.into_iter().filter(told).for_each(|note| self.tell_once(note.text));
        Ok(Reads { query, text, tables, views, models, names: resolved.names })
    }

    /// Infers the tables of all `topic('t')` that a query and its views read, with what to know of them.
    async fn infer_topics(
        &self,
        query: &ast::Query,
        topics: &mut Vec<(String, Arc<Table>)>,
        notes: &mut Vec<Note>,
    ) -> Result<()> {
        for used in tables_in(query) {
            if let Some(topic) = &used.topic {
                if !topics.iter().any(|(name, _)| *name == topic_table(topic)) {
                    let (table, own) = self.infer(topic).await?;
                    self.tell_once(found(&table.definition));
                    notes.extend(own);
                    topics.push((topic_table(topic), Arc::new(table)));
                }
            } else if let Some(view) = self.views.get(&used.name.text.to_lowercase()) {
                Box::pin(self.infer_topics(&view.query, topics, notes)).await?;
            }
        }
        Ok(())
    }

    /// The table that stands for `topic('t')`, if that is what is `name`d. Its DDL is the answer, and not told beside it.
    pub(super) async fn inferred(&self, name: &str) -> Result<Option<Table>> {
        let Some(topic) = name.strip_prefix("topic('").and_then(|rest| rest.strip_suffix("')")) else { return Ok(None) };
        let (table, notes) = self.infer(topic).await?;
        notes.into_iter().for_each(|note| self.tell_once(note.text));
        Ok(Some(table))
    }

    /// Says what is worth knowing, and only once: a statement may be planned twice, and a topic read again and again.
    fn tell_once(&self, note: String) {
        let mut told = self.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if told.insert(note.clone()) {
            self.engine().notices().info(note);
        }
    }

    /// Says that an option of a table is not followed, because its topic exists.
    pub(super) fn tell_partitions(&self, kafka: &KafkaOptions, topic: &Topic) {
        let Some(wanted) = kafka.partitions.filter(|wanted| *wanted != topic.partitions) else { return };
        let (name, there) = (&topic.name, topic.partitions);
        let s = if there == 1 { "" } else { "s" };
        let text = format!("topic \"{name}\" exists with {there} partition{s}: topic.partitions = {wanted} is not followed");
        if self.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(text.clone()) {
            let hint =
                format!("Leave the option out, or write to a new topic: vatic topic create NAME --partitions {wanted}");
            self.engine().notices().warn(text, Some(hint));
        }
    }

    /// A table over a topic that nobody declared, in the first format that reads its first records; and what to know of it.
    async fn infer(&self, topic: &str) -> Result<(Table, Vec<Note>)> {
        let values = sample(self.engine().broker(), topic, &Options::default(), SAMPLE).await?;
        if values.is_empty() {
            let error = Error::data(format!("topic \"{topic}\" is empty: its columns cannot be told from its records"));
            return Err(error.hint("Declare them: CREATE TABLE name (column TYPE, ...) WITH (topic = '...');"));
        }
        let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        let mut definition = TableDefinition { name: topic.to_owned(), ..TableDefinition::default() };
        definition.options.set("topic", topic);
        for name in ["json", "raw"] {
            let Some(format) = FORMATS.iter().find(|f| f.name() == name) else { continue };
            if let Ok(inferred) = format.infer(&values, &definition.options) {
                definition.options.set("format", name);
                let of_topic = |note: &Note| Note { text: format!("topic \"{topic}\": {}", note.text), ..note.clone() };
                let notes = inferred.notes.iter().map(of_topic).collect();
                return Ok((Table::new(definition.with_inferred(&inferred), self.base()).await?, notes));
            }
        }
        Err(Error::data(format!("the records of topic \"{topic}\" are in no known format"))
            .hint("Declare a table with its format."))
    }
}

/// The words of a query, for what may be read before its plan is known.
struct Mentioned {
    /// In lower case.
    words: BTreeSet<String>,
    /// Whether a `*` stands for columns.
    star: bool,
}

impl Mentioned {
    fn of(text: &str) -> Self {
        let tokens = Source::new(text, None).tokens().unwrap_or_default();
        let word = |token: &Token| match token {
            Token::Word(word) => Some(word.value.to_lowercase()),
            Token::SingleQuotedString(text) => Some(text.to_lowercase()), // `payload['price']`
            _ => None,
        };
        // `count(*)` and `a * b` read no column by it.
        let stands_for_columns = |before: &Token| match before {
            Token::Comma | Token::Period => true,
            Token::Word(word) => ["SELECT", "DISTINCT", "ALL"].iter().any(|own| word.value.eq_ignore_ascii_case(own)),
            _ => false,
        };
        let star = tokens.windows(2).any(|pair| pair[1].token == Token::Mul && stands_for_columns(&pair[0].token));
        Self { words: tokens.iter().filter_map(|token| word(&token.token)).collect(), star }
    }

    fn may_be(&self, column: &str) -> bool {
        self.star || self.words.contains(&column.to_lowercase())
    }
}

/// The DDL that was chosen for columns nobody declared, ready to paste.
pub(super) fn found(definition: &TableDefinition) -> String {
    format!("columns found:\n{};", definition.to_sql())
}

struct Found<'a> {
    names: &'a Names<'a>,
    tables: Vec<(String, Arc<Table>)>,
    views: Vec<(String, ast::Query)>,
    models: bool,
    /// The name that ended the search, if no table's is near.
    unknown: Option<String>,
}

impl Found<'_> {
    fn add(&mut self, used: &TableUse, text: &mut String) -> Result<()> {
        let session = self.names.session;
        if used.topic.is_some() {
            let topic = self.names.topics.iter().find(|(name, _)| *name == used.name.text);
            if let Some((name, table)) = topic
                && !self.tables.iter().any(|(known, _)| known == name)
            {
                self.tables.push((name.clone(), Arc::clone(table)));
            }
            return Ok(());
        }
        let Some(spelled) = self.names.table(&used.name) else {
            let name = &used.name.text;
            let error = Error::user(format!("no table \"{name}\""));
            let tables = session.tables.values().map(|t| t.definition.name.as_str());
            let known = tables.chain(session.views.values().map(|v| v.name.as_str()));
            let error = match crate::error::nearest(name, known) {
                Some(near) => error.hint(format!("Did you mean \"{near}\"?")),
                None => {
                    self.unknown = Some(name.clone());
                    error
                }
            };
            return Err(error.spanned(used.span));
        };
        let key = spelled.to_lowercase();
        if let Some(table) = session.tables.get(&key) {
            if !self.tables.iter().any(|(known, _)| *known == spelled) {
                self.tables.push((spelled, Arc::clone(table)));
            }
        } else if let Some(view) = session.views.get(&key) {
            if self.views.iter().any(|(known, _)| *known == spelled) {
                return Ok(());
            }
            let mut query = view.query.clone();
            text.push(' ');
            text.push_str(&query.to_string());
            let resolved = resolve(&mut query, self.names);
            session.spell_functions(&mut query);
            for used in &resolved.tables {
                self.add(used, text)?;
            }
            self.views.push((spelled, query));
        } else {
            self.models = true;
        }
        Ok(())
    }
}

/// A view's query with the names that `CREATE VIEW v (a, b)` gives its columns.
///
/// # Errors
/// `User` if their number is not that of the query's.
pub fn with_column_names(query: &ast::Query, columns: &[String]) -> Result<ast::Query> {
    if columns.is_empty() {
        return Ok(query.clone());
    }
    let quoted: Vec<String> = columns.iter().map(|c| format!("\"{}\"", c.replace('"', "\"\""))).collect();
    Ok(*crate::sql::parse_query(&format!("SELECT * FROM ({query}) AS v ({})", quoted.join(", ")))?)
}

/// The schema of fields with the visible names.
#[must_use]
pub fn fields_of(schema: &Schema, names: &[String]) -> Fields {
    super::query::visible(schema, names).fields().clone()
}
