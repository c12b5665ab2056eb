//! What `\d` and its like show: the answers of SHOW and DESCRIBE, those whose name fits.
//!
//! A name without `*` or `?` is looked for as it is; where there is none of that name, all that contain it are
//! shown; where there is none of those either, that is an error that names the nearest.

use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::compute::{cast, concat_batches, filter_record_batch};
use arrow::datatypes::DataType;

use super::catalog::{Names, rows};
use super::commands::Command;
use super::execute::Runner;
use super::functions;
use crate::cli::render::Layout;
use crate::connector::Broker;
use crate::engine::Rows;
use crate::error::{Error, Result, did_you_mean};
use crate::sql::quote::{quote_name, quote_text};

/// What is shown of models; the table has more.
const MODELS: &str = "SELECT name, version, format, status, inputs, outputs, error FROM models ORDER BY name, version";

/// Shows what `command` asks for, or `more` of it; `argument` is a name, a pattern, or nothing.
///
/// # Errors
/// `User` if nothing has the name; those of the statement behind it.
pub(super) async fn describe(runner: &mut Runner<'_>, command: Command, argument: &str, more: bool) -> Result<()> {
    let argument = argument.trim_matches('"');
    let pattern = argument.contains(['*', '?']);
    let (statement, what) = match command {
        Command::Describe if !argument.is_empty() && !pattern => return one(runner, argument).await,
        Command::Views => ("SHOW VIEWS", "view"),
        Command::Functions => ("SHOW FUNCTIONS", "function"),
        Command::Jobs => ("SHOW JOBS", "job"),
        Command::Topics => ("SHOW TOPICS", "topic"),
        Command::Models => (MODELS, "model"),
        _ => ("SHOW TABLES", "table or view"),
    };
    let cx = runner.cx;
    let found = async {
        let found = rows(&mut runner.script.session, statement).await?;
        if argument.is_empty() { gathered(found).await } else { fitting(found, argument, what).await }
    };
    let found = cx.until_signal(found).await?;
    if command == Command::Functions {
        let (found, layout) = functions::listed(&found, more, runner.display.width())?;
        return runner.display.show(Rows::of(found), cx, layout).await;
    }
    runner.display.show(Rows::of(found), cx, None).await
}

/// Shows the columns of a table or view, or of `topic('...')`, and the statement that makes it.
async fn one(runner: &mut Runner<'_>, name: &str) -> Result<()> {
    let cx = runner.cx;
    let (described, made) = match (topic_named(name), runner.catalog.names().table(name)) {
        (Some(topic), _) => {
            let topic = format!("topic({})", quote_text(topic));
            (topic.clone(), Some(format!("SHOW CREATE TABLE {topic}")))
        }
        (None, Some(table)) => {
            let quoted = quote_name(&table.name);
            let made = match table.kind.as_str() {
                "table" => Some(format!("SHOW CREATE TABLE {quoted}")),
                "view" => Some(format!("SHOW CREATE VIEW {quoted}")),
                _ => None,
            };
            (quoted, made)
        }
        (None, None) => {
            let (broker, names) = (runner.engine.broker(), runner.catalog.names());
            return Err(cx.until_signal(async { Ok(unknown(broker, &names, name).await) }).await?);
        }
    };
    let columns = cx.until_signal(rows(&mut runner.script.session, &format!("DESCRIBE {described}"))).await?;
    runner.display.show(columns, cx, None).await?;
    if let Some(statement) = made {
        let ddl = cx.until_signal(rows(&mut runner.script.session, &statement)).await?;
        runner.display.print(b"\n", cx)?;
        runner.display.show(ddl, cx, Some(Layout::Text)).await?;
    }
    Ok(())
}

/// The topic of `topic('...')`, as typed.
fn topic_named(typed: &str) -> Option<&str> {
    let (begin, rest) = typed.split_once('(')?;
    let inside = rest.trim_end().strip_suffix(')')?.trim();
    let name = inside.strip_prefix('\'')?.strip_suffix('\'')?;
    begin.trim().eq_ignore_ascii_case("topic").then_some(name)
}

/// Why there is nothing of this name: it may be a topic's.
async fn unknown(broker: &Arc<dyn Broker>, names: &Names, name: &str) -> Error {
    let error = Error::user(format!("no table or view \"{name}\" in this session"));
    // A script asks before anybody has looked what is on the broker.
    let is_topic = match broker.topic(name).await {
        Ok(topic) => topic.is_some(),
        Err(_) => names.topics.iter().any(|topic| topic == name),
    };
    if is_topic {
        return error.hint(format!(
            "It is a topic: \\d topic('{name}'), SELECT * FROM topic('{name}') LIMIT 5; or CREATE TABLE {} WITH (topic = '{name}');",
            quote_name(name)
        ));
    }
    match did_you_mean(name, "tables", names.tables.iter().map(|table| table.name.as_str())) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// All of `rows`.
async fn gathered(rows: Rows) -> Result<RecordBatch> {
    let schema = rows.schema.clone();
    concat_batches(&schema, &rows.collect().await?).map_err(|e| Error::internal(e.to_string()))
}

/// The rows whose first column fits `pattern`; `what` has these names.
///
/// # Errors
/// `User` if there are none, with the nearest.
async fn fitting(rows: Rows, pattern: &str, what: &str) -> Result<RecordBatch> {
    let internal = |e: arrow::error::ArrowError| Error::internal(e.to_string());
    let all = gathered(rows).await?;
    let names = cast(all.column(0), &DataType::Utf8).map_err(internal)?;
    // `fraud:2` is a version of the model fraud; that its name fits is enough.
    let wanted = pattern.split(':').next().unwrap_or(pattern).to_lowercase();
    let wild = wanted.contains(['*', '?']);
    let mask = |fits: &dyn Fn(&str) -> bool| -> BooleanArray {
        let names: &StringArray = names.as_string();
        names.iter().map(|name| Some(name.is_some_and(|name| fits(&name.to_lowercase())))).collect()
    };
    let mut fits = if wild { mask(&|name| fits(&wanted, name)) } else { mask(&|name| name == wanted) };
    if !wild && fits.true_count() == 0 {
        fits = mask(&|name| name.contains(&wanted));
    }
    if fits.true_count() == 0 {
        let error = Error::user(format!("no {what} fits \"{pattern}\""));
        let known: Vec<&str> = names.as_string::<i32>().iter().flatten().collect();
        return Err(match did_you_mean(pattern, &format!("{}s", what.replace(" or ", "s and ")), known) {
            Some(hint) => error.hint(hint),
            None => error.hint(format!("There is no {what} yet.")),
        });
    }
    filter_record_batch(&all, &fits).map_err(internal)
}

/// Whether `name` is of the form of `pattern`, where `*` stands for any characters and `?` for one.
fn fits(pattern: &str, name: &str) -> bool {
    let Some(first) = pattern.chars().next() else { return name.is_empty() };
    let rest = &pattern[first.len_utf8()..];
    match first {
        '*' => name.char_indices().map(|(at, _)| at).chain([name.len()]).any(|at| fits(rest, &name[at..])),
        _ => {
            let mut chars = name.chars();
            chars.next().is_some_and(|c| first == '?' || first == c) && fits(rest, chars.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_named_as_in_from() {
        for typed in ["topic('a-b')", "TOPIC( 'a-b' ) ", "topic ('a-b')"] {
            assert_eq!(topic_named(typed), Some("a-b"), "{typed}");
        }
        for typed in ["payments", "topic", "topic('a", "topics('a')", "topic(a)"] {
            assert_eq!(topic_named(typed), None, "{typed}");
        }
    }

    #[test]
    fn patterns_fit_names() {
        for (pattern, name) in
            [("pay*", "payments"), ("*", ""), ("?ay*s", "payments"), ("a*b*c", "a-b-b-c"), ("größe", "größe")]
        {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("pay", "payments"), ("?", ""), ("a*b", "abc"), ("*x", "payments")] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
    }
}
