//! What Tab offers.   line, cursor ─► [`Place`] ─► [`choices`] from the tables that SHOW prints and the [`Catalog`] ─► reedline
//!
//! Nothing here waits: names come from the catalog's present snapshot. A choice is what begins with what was typed, in any
//! case; inside a string it closes the string. To offer something new: a place in `place.rs`, an arm in [`choices`].

use std::path::Path;

use reedline::{Completer, CompletionResult, Span, Suggestion};

use super::catalog::{Catalog, ColumnName, Names, TableName};
use super::commands::COMMANDS;
use super::place::{At, Place, place};
use super::scope::{Relation, fields_of_call, members};
use super::words;
use crate::config::{OptionSpec, is_secret};
use crate::sql::options::TABLE_OPTIONS;
use crate::sql::quote::quote_name;
use crate::sql::settings::SETTINGS;

/// Something to choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    /// What is compared with what was typed, and shown.
    pub name: String,
    /// What it is.
    pub about: String,
    /// What is typed instead of the name.
    pub value: Option<String>,
    /// Whether a blank follows.
    pub blank: bool,
}

impl Choice {
    fn new(name: impl Into<String>, about: impl Into<String>) -> Self {
        Self { name: name.into(), about: about.into(), value: None, blank: false }
    }
    fn word(name: &str, about: &str, lower: bool) -> Self {
        let name = if lower { name.to_lowercase() } else { name.to_owned() };
        let blank = !name.ends_with(['(', '<']);
        Self { blank, ..Self::new(name, about) }
    }
    fn typed(mut self, value: impl Into<String>) -> Self {
        self.value = Some(value.into());
        self
    }
}

/// The completer of the line editor.
pub(super) struct SqlCompleter {
    pub catalog: Catalog,
}

impl Completer for SqlCompleter {
    fn complete(&mut self, line: &str, cursor: usize) -> CompletionResult {
        let cursor = cursor.min(line.len());
        let at = place(line, cursor);
        let names = self.catalog.names();
        let topics = at.scope.relations.iter().chain(&at.scope.parts).flat_map(Relation::topics);
        topics.filter(|topic| !names.topic_columns.contains_key(*topic)).for_each(|topic| self.catalog.want(topic));
        let closed = line.get(cursor..).is_some_and(|rest| rest.starts_with('\''));
        let span = Span::new(at.span.start, at.span.end.max(at.span.start));
        let typed = line.get(at.span.clone()).unwrap_or_default();
        let mut suggestions: Vec<Suggestion> = choices(&at, typed, &names)
            .into_iter()
            .map(|choice| {
                let mut value = choice.value.unwrap_or_else(|| choice.name.clone());
                if at.in_string && !closed && !value.ends_with('/') {
                    value.push('\'');
                }
                Suggestion {
                    display_override: (value != choice.name).then_some(choice.name),
                    description: Some(choice.about).filter(|about| !about.is_empty()),
                    append_whitespace: choice.blank,
                    value,
                    span,
                    ..Suggestion::default()
                }
            })
            .collect();
        if suggestions.is_empty() {
            // The only choice is taken at once: nothing happens, and the menu does not say that there are "no records".
            suggestions.push(Suggestion { value: typed.to_owned(), span, ..Suggestion::default() });
        }
        CompletionResult::fresh(suggestions)
    }
}

/// What may stand at `at` and begins with `typed`.
pub(super) fn choices(at: &At, typed: &str, names: &Names) -> Vec<Choice> {
    let wanted = typed.trim_start_matches('\\').to_lowercase();
    let mut found = candidates(at, typed, names);
    found.retain(|choice| choice.name.trim_start_matches(['\\', '\'']).to_lowercase().starts_with(&wanted));
    let mut seen = std::collections::BTreeSet::new();
    found.retain(|choice| seen.insert(choice.name.clone()));
    found
}

fn candidates(at: &At, typed: &str, names: &Names) -> Vec<Choice> {
    let phrases = |list: &[(&str, &str)]| -> Vec<Choice> {
        list.iter().map(|(word, about)| Choice::word(word, about, at.lower)).collect()
    };
    let plain = |list: &[&str]| list.iter().map(|word| Choice::word(word, "", at.lower)).collect::<Vec<_>>();
    match &at.place {
        Place::Nothing => Vec::new(),
        Place::Start => phrases(words::STATEMENTS),
        Place::Clause => plain(words::CLAUSES),
        Place::Operand => operands(at, typed, names),
        Place::Model if !at.in_string && !at.in_command => [models(names, true), operands(at, typed, names)].concat(),
        Place::Model => models(names, false),
        Place::Relation => {
            let about = "a topic as it is, without CREATE TABLE";
            [parts(at, names), tables(names), vec![Choice::new("topic('", about)]].concat()
        }
        Place::Object => tables(names),
        Place::Declared("function") => {
            let own = names.functions.iter().filter(|function| function.own);
            own.map(|function| Choice::new(&function.name, &function.signature).typed(quote_name(&function.name))).collect()
        }
        Place::Declared(kind) => tables_of(names, |table| table.kind == *kind),
        Place::Explain { alone } => {
            let options = if *alone { Vec::new() } else { phrases(words::EXPLAIN) };
            let is_explained = |(word, _): &&(&str, &str)| words::EXPLAINED.contains(word);
            let explained = words::STATEMENTS.iter().filter(is_explained);
            options.into_iter().chain(explained.map(|(word, about)| Choice::word(word, about, at.lower))).collect()
        }
        Place::Member(path) => {
            let of = path.join(".");
            members(path, &at.scope.relations, names).iter().map(|it| column(it, &of)).collect()
        }
        Place::FieldOf(function) => fields_of_call(function, names).iter().map(|it| column(it, function)).collect(),
        Place::Parameter => names.params.iter().map(|(name, value)| Choice::new(name, value)).collect(),
        Place::Option(given) => options(given),
        Place::OptionValue(name) => option_values(name, at.in_string, typed, names),
        Place::Setting => SETTINGS.iter().map(setting).collect(),
        Place::SettingValue(name) if name == "models.topic" => topics(names, !at.in_string),
        Place::SettingValue(name) => {
            let spec = SETTINGS.iter().find(|spec| spec.name.eq_ignore_ascii_case(name));
            spec.map(|spec| values(spec, at.in_string)).unwrap_or_default()
        }
        Place::Show => {
            let words = words::SHOW.iter().map(|(word, about)| Choice::word(word, about, at.lower));
            words.chain(SETTINGS.iter().map(|spec| Choice::new(spec.name, spec.doc))).collect()
        }
        Place::Job => names
            .jobs
            .iter()
            .map(|job| Choice::new(job, "a job").typed(if at.in_string { job.clone() } else { quote_name(job) }))
            .collect(),
        Place::OneOf(words) => plain(words),
        Place::Topic => topics(names, !at.in_string && !at.in_command),
        Place::Command => COMMANDS
            .iter()
            .map(|spec| Choice {
                blank: !spec.usage.is_empty(),
                ..Choice::new(format!("\\{}", spec.names[0]), format!("{}  {}", spec.usage, spec.doc).trim().to_owned())
            })
            .collect(),
        Place::Function => names.functions.iter().map(|f| Choice::new(&f.name, &f.signature)).collect(),
        Place::File => files(typed),
    }
}

fn operands(at: &At, typed: &str, names: &Names) -> Vec<Choice> {
    let mut found: Vec<Choice> = at.scope.relations.iter().flat_map(|it| columns(it, names)).collect();
    found.extend(at.scope.outputs.iter().map(|name| Choice::new(name, "an output of this query").typed(quote_name(name))));
    for alias in at.scope.relations.iter().filter_map(|it| it.alias.as_ref()) {
        found.push(Choice::new(format!("{alias}."), "its columns"));
    }
    // All functions are too many to look through; what is ours comes first, and has a signature with an arrow.
    let functions = names.functions.iter().filter(|f| !typed.is_empty() || f.own || f.signature.contains("->"));
    found.extend(functions.map(|f| {
        let about = if f.signature.is_empty() { f.doc.clone() } else { format!("{}: {}", f.signature, f.doc) };
        Choice::new(&f.name, about).typed(format!("{}(", f.name))
    }));
    found.extend(words::OPERANDS.iter().map(|word| Choice::word(word, "", at.lower)));
    found
}

fn columns(relation: &Relation, names: &Names) -> Vec<Choice> {
    let of = relation.alias.as_ref().filter(|_| relation.name.is_empty()).unwrap_or(&relation.name);
    relation.columns(names).iter().map(|it| column(it, of)).collect()
}

/// A column or a field of `of`.
fn column(it: &ColumnName, of: &str) -> Choice {
    let about = if it.sql_type.is_empty() { of.to_owned() } else { format!("{}, {of}", it.sql_type) };
    Choice::new(&it.name, about).typed(quote_name(&it.name))
}

/// The parts of WITH.
fn parts(at: &At, names: &Names) -> Vec<Choice> {
    let choice = |part: &Relation| {
        let columns: Vec<String> = part.columns(names).into_iter().map(|column| column.name).collect();
        Choice::new(&part.name, format!("WITH: {}", columns.join(", "))).typed(quote_name(&part.name))
    };
    at.scope.parts.iter().map(choice).collect()
}

fn tables(names: &Names) -> Vec<Choice> {
    tables_of(names, |_| true)
}

fn tables_of(names: &Names, wanted: impl Fn(&TableName) -> bool) -> Vec<Choice> {
    let choice = |table: &TableName| {
        let columns: Vec<&str> = table.columns.iter().map(|c| c.name.as_str()).collect();
        Choice::new(&table.name, format!("{}: {}", table.kind, columns.join(", "))).typed(quote_name(&table.name))
    };
    names.tables.iter().filter(|table| wanted(table)).map(choice).collect()
}

fn topics(names: &Names, quoted: bool) -> Vec<Choice> {
    let value = |topic: &String| if quoted { format!("'{topic}'") } else { topic.clone() };
    names.topics.iter().map(|topic| Choice::new(topic, "a topic").typed(value(topic))).collect()
}

/// Each model, and each of its versions.
fn models(names: &Names, quoted: bool) -> Vec<Choice> {
    let choice = |name: String, about: String| {
        let value = if quoted { format!("'{name}'") } else { name.clone() };
        Choice::new(name, about).typed(value)
    };
    let mut found = Vec::new();
    for model in &names.models {
        let newest = model.versions.last().copied().unwrap_or_default();
        found.push(choice(model.name.clone(), format!("the newest version that loads, of {}", model.versions.len())));
        found.extend(model.versions.iter().rev().map(|version| {
            let about = if *version == newest { "this version, the newest" } else { "this version" };
            choice(format!("{}:{version}", model.name), about.to_owned())
        }));
    }
    found
}

/// The options that the connector given takes, without those that stand there already.
fn options(given: &[(String, String)]) -> Vec<Choice> {
    let connector = given.iter().find(|(name, _)| name == "connector").map_or("kafka", |(_, value)| value.as_str());
    let specs = TABLE_OPTIONS.iter().filter(|(owner, _)| owner.is_empty() || *owner == connector || given.is_empty());
    specs
        .flat_map(|(_, specs)| specs.iter())
        .filter(|spec| !given.iter().any(|(name, _)| name == spec.name))
        .map(|spec| match spec.name.strip_suffix('*') {
            Some(family) => Choice::new(family, spec.doc),
            None => Choice::new(spec.name, format!("{}  {}", spec.values, spec.doc)).typed(format!("{} = ", spec.name)),
        })
        .collect()
}

fn setting(spec: &OptionSpec) -> Choice {
    Choice { blank: true, ..Choice::new(spec.name, format!("{}  {}", spec.values, spec.doc)) }
}

fn option_values(name: &str, in_string: bool, typed: &str, names: &Names) -> Vec<Choice> {
    match name {
        "topic" => topics(names, !in_string),
        "path" if in_string => files(typed),
        _ if is_secret(name) => Vec::new(),
        _ => {
            let specs = TABLE_OPTIONS.iter().flat_map(|(_, specs)| specs.iter()).filter(|spec| spec.name == name);
            specs.flat_map(|spec| values(spec, in_string)).collect()
        }
    }
}

/// The values that a line of an option's table names; none where it only describes them.
fn values(spec: &OptionSpec, in_string: bool) -> Vec<Choice> {
    let parts: Vec<&str> = spec.values.split([',', ';']).map(|part| part.trim().trim_start_matches("of files ")).collect();
    if !spec.values.contains(',') || parts.iter().any(|part| part.contains(' ')) {
        return Vec::new();
    }
    let choice = |part: &&str| {
        let (value, open) = part.split_once(':').map_or((*part, false), |_| (*part, true));
        // `timestamp:RFC3339` is a form: its begin is typed, the rest is the person's.
        let name = if open { value.split_inclusive(':').next().unwrap_or(value) } else { value };
        let about = if *part == spec.default {
            "the default"
        } else if open {
            value
        } else {
            ""
        };
        Choice::new(name, about).typed(if in_string { name.to_owned() } else { format!("'{name}'") })
    };
    parts.iter().map(choice).collect()
}

/// Files and folders that begin with what was typed.
fn files(typed: &str) -> Vec<Choice> {
    let (folder, _) = typed.rsplit_once('/').map_or(("", typed), |(folder, file)| (&typed[..=folder.len()], file));
    let home = std::env::var("HOME").unwrap_or_default();
    let place = match folder.strip_prefix("~/") {
        Some(rest) => Path::new(&home).join(rest),
        None if folder.is_empty() => Path::new(".").to_owned(),
        None => Path::new(folder).to_owned(),
    };
    let Ok(entries) = std::fs::read_dir(place) else { return Vec::new() };
    let mut found: Vec<Choice> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let is_folder = entry.path().is_dir();
            let hidden = name.starts_with('.') && !typed.rsplit('/').next().unwrap_or_default().starts_with('.');
            (!hidden).then(|| Choice::new(format!("{folder}{name}{}", if is_folder { "/" } else { "" }), ""))
        })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

#[cfg(test)]
mod tests;
