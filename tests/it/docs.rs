//! What `docs/reference` says exists does, and what exists is documented.
//!
//! The pages list options, settings and functions in tables whose first cell is the name in backticks, one table per `##`
//! section. The comparison is a function from two lists to complaints, so that it can be shown to fail.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use vatic::cli::args::Cli;
use vatic::config::OptionSpec;
use vatic::connector::CONNECTORS;
use vatic::format::FORMATS;
use vatic::sql::copy::COPY_OPTIONS;
use vatic::sql::functions::FUNCTIONS;
use vatic::sql::options::TABLE_OPTIONS;
use vatic::sql::settings::SETTINGS;
use vatic::sql::{MetadataColumn, STATEMENTS};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page(name: &str) -> String {
    let path = root().join("docs/reference").join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The text below the heading `## title`, to the next `##`.
fn section<'a>(page: &'a str, title: &str) -> Option<&'a str> {
    let heading = format!("## {title}\n");
    let begin = match page.find(&format!("\n{heading}")) {
        Some(at) => at + 1 + heading.len(),
        None => page.starts_with(&heading).then_some(heading.len())?,
    };
    let rest = &page[begin..];
    Some(rest.find("\n## ").map_or(rest, |end| &rest[..end]))
}

/// The rows of all tables in `text` whose first cell is code: that code, and the other cells.
fn rows(text: &str) -> Vec<(String, Vec<String>)> {
    let cells = |line: &str| -> Vec<String> {
        line.trim().trim_start_matches('|').trim_end_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let mut rows = Vec::new();
    for line in text.lines().filter(|line| line.starts_with('|')) {
        let mut cells = cells(line).into_iter();
        let first = cells.next().unwrap_or_default();
        if let Some(name) = first.strip_prefix('`').and_then(|rest| rest.split('`').next()) {
            rows.push((name.to_owned(), cells.collect()));
        }
    }
    rows
}

/// What is documented and does not exist, exists and is not documented, or has another default (the third cell).
fn compare(place: &str, documented: &[(String, Vec<String>)], exists: &[OptionSpec]) -> Vec<String> {
    let mut complaints = Vec::new();
    for spec in exists {
        let Some((_, cells)) = documented.iter().find(|(name, _)| name == spec.name) else {
            complaints.push(format!("{place}: \"{}\" is not documented", spec.name));
            continue;
        };
        let said = cells.get(1).map(|cell| cell.trim_matches('`')).unwrap_or_default();
        if said != spec.default {
            complaints.push(format!("{place}: the default of \"{}\" is '{}', not '{said}'", spec.name, spec.default));
        }
    }
    let unknown = documented.iter().filter(|(name, _)| !exists.iter().any(|spec| spec.name == name));
    complaints.extend(unknown.map(|(name, _)| format!("{place}: \"{name}\" does not exist")));
    complaints
}

fn none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn every_table_option_is_documented_with_its_default() {
    let page = page("options.md");
    for (connector, specs) in TABLE_OPTIONS {
        let title = if connector.is_empty() { "Every table".to_owned() } else { format!("`{connector}`") };
        let text = section(&page, &title).unwrap_or_else(|| panic!("options.md has no section {title}"));
        none(&compare(&format!("options.md, {title}"), &rows(text), specs));
    }
}

#[test]
fn every_option_of_copy_is_documented_with_its_default() {
    let page = page("statements.md");
    let text = section(&page, "COPY").expect("statements.md has a section on COPY");
    none(&compare("statements.md, COPY", &rows(text), COPY_OPTIONS));
}

/// The table at the top of statements.md names each statement, and each list of SHOW.
#[test]
fn every_statement_is_documented() {
    let page = page("statements.md");
    let before_sections = &page[..page.find("\n## ").unwrap_or(page.len())];
    let first_cells = before_sections.lines().filter(|l| l.starts_with("| `")).filter_map(|l| l.split('|').nth(1));
    let code: Vec<&str> = first_cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    let words: BTreeSet<&str> = code.iter().filter_map(|code| code.split([' ', '.']).next()).collect();
    let lists: BTreeSet<&str> = vatic::sql::LISTS.iter().map(|(word, _)| *word).collect();
    for word in STATEMENTS.iter().chain(lists.iter().filter(|list| **list != "TABLES")) {
        assert!(words.contains(word), "{word} is not documented");
    }
    let unknown: Vec<&&str> =
        words.iter().filter(|word| !STATEMENTS.contains(word) && !lists.contains(*word) && **word != "DESC").collect();
    assert!(unknown.is_empty(), "these begin no statement: {unknown:?}");
}

#[test]
fn every_setting_is_documented_with_its_default() {
    none(&compare("settings.md", &rows(&page("settings.md")), SETTINGS));
}

#[test]
fn every_function_is_documented() {
    let page = page("functions.md");
    let before_sections = &page[..page.find("\n## ").unwrap_or(page.len())];
    let documented: BTreeSet<String> =
        rows(before_sections).into_iter().map(|(call, _)| call.split('(').next().unwrap_or_default().to_owned()).collect();
    let exist: BTreeSet<String> = FUNCTIONS.iter().map(|f| f.name.to_owned()).collect();
    assert_eq!(documented, exist);
}

#[test]
fn every_metadata_column_is_documented() {
    let page = page("statements.md");
    let text = section(&page, "CREATE TABLE").expect("statements.md has a section CREATE TABLE");
    let documented: BTreeMap<String, bool> = rows(text)
        .into_iter()
        .map(|(name, cells)| (name, cells.get(1).is_some_and(|cell| cell.starts_with("yes"))))
        .collect();
    let exist: BTreeMap<String, bool> = MetadataColumn::ALL.iter().map(|m| (m.name().to_owned(), m.writable())).collect();
    assert_eq!(documented, exist);
}

#[test]
fn the_columns_of_the_table_models_are_documented() {
    let page = page("functions.md");
    let text = section(&page, "The table `models`").expect("functions.md has a section on the table models");
    let first_cells = text.lines().filter(|l| l.starts_with("| `")).filter_map(|l| l.split('|').nth(1));
    let documented: Vec<&str> = first_cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    let schema = vatic::model::table::models_schema();
    let exist: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    assert_eq!(documented, exist);
}

#[test]
fn every_connector_and_format_is_a_value_in_the_docs() {
    let page = page("options.md");
    let documented = rows(section(&page, "Every table").expect("options.md has a section on every table"));
    let values = |option: &str| {
        documented.iter().find(|(name, _)| name == option).map(|(_, cells)| cells[0].clone()).unwrap_or_default()
    };
    for connector in CONNECTORS {
        assert!(values("connector").contains(&format!("`{}`", connector.name())), "connector {}", connector.name());
    }
    for format in FORMATS {
        assert!(values("format").contains(&format!("`{}`", format.name())), "format {}", format.name());
    }
}

/// A connector tells its options for SHOW CONNECTORS, the parser reads its own slice: they must not drift apart.
#[test]
fn connectors_and_the_parser_know_the_same_options() {
    for connector in CONNECTORS {
        let known: BTreeSet<&str> = TABLE_OPTIONS
            .iter()
            .filter(|(name, _)| name.is_empty() || *name == connector.name())
            .flat_map(|(_, specs)| specs.iter().map(|spec| spec.name))
            .collect();
        let told: BTreeSet<&str> = connector.options().iter().map(|spec| spec.name).collect();
        let unknown: Vec<_> = told.difference(&known).collect();
        assert!(unknown.is_empty(), "connector {} tells of options that the parser refuses: {unknown:?}", connector.name());
        let own: BTreeSet<&str> = TABLE_OPTIONS
            .iter()
            .filter(|(name, _)| *name == connector.name())
            .flat_map(|(_, specs)| specs.iter().map(|spec| spec.name))
            .collect();
        let untold: Vec<_> = own.difference(&told).collect();
        assert!(untold.is_empty(), "connector {} does not tell of {untold:?}", connector.name());
    }
}

/// The long options in code in `text`: `--until-end`.
fn flags(text: &str) -> BTreeSet<String> {
    let code = text.lines().filter(|line| line.starts_with("| ")).flat_map(|line| line.split('`').skip(1).step_by(2));
    code.filter_map(|code| code.strip_prefix("--"))
        .map(|rest| rest.split([' ', '=']).next().unwrap_or_default().to_owned())
        .collect()
}

fn long_options(command: &clap::Command, global: bool) -> BTreeSet<String> {
    let mut options: BTreeSet<String> = command
        .get_arguments()
        .filter(|argument| argument.is_global_set() == global)
        .filter_map(|argument| argument.get_long().map(str::to_owned))
        .filter(|name| name != "help" && name != "version")
        .collect();
    if !global {
        options.extend(command.get_subcommands().flat_map(|inner| long_options(inner, false)));
    }
    options
}

#[test]
fn every_command_and_its_options_are_documented() {
    let page = page("cli.md");
    let cli = Cli::command();
    let global = section(&page, "Global options").expect("cli.md has a section on global options");
    assert_eq!(flags(global), long_options(&cli, true), "global options");
    // A hidden one is a part of another's work.
    let shown = || cli.get_subcommands().filter(|command| command.get_name() != "help" && !command.is_hide_set());
    let commands: BTreeSet<&str> = shown().map(clap::Command::get_name).collect();
    let headings: BTreeSet<&str> = page.lines().filter_map(|line| line.strip_prefix("## vatic ")).collect();
    assert_eq!(headings, commands, "commands");
    for command in shown() {
        let name = command.get_name();
        let text = section(&page, &format!("vatic {name}")).unwrap_or_default();
        let said: BTreeSet<String> = flags(text);
        // In running text, too, an option may be named; what a table lists must be exactly what there is.
        assert_eq!(said, long_options(command, false), "options of vatic {name}");
    }
}

/// Every page for people: the README and all below `docs/`.
fn pages() -> Vec<(PathBuf, String)> {
    fn collect(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push((path.clone(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    collect(&root().join("docs"), &mut found);
    for name in ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "udfs/README.md"] {
        let path = root().join(name);
        found.extend(fs::read_to_string(&path).ok().map(|text| (path, text)));
    }
    found
}

/// The fenced blocks of a language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).map(|rest| rest.split("\n```").next().unwrap_or(rest)).collect()
}

#[test]
fn every_statement_in_the_docs_is_one() {
    let mut seen = 0;
    for (path, text) in pages() {
        for block in blocks(&text, "sql") {
            let statements = vatic::sql::parse(block, None).unwrap_or_else(|e| panic!("{}: {e}\n{block}", path.display()));
            seen += statements.len();
        }
    }
    assert!(seen > 5, "only {seen} statements were found");
}

#[test]
fn every_type_in_the_docs_is_one() {
    let page = page("types.md");
    let mut seen = 0;
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').collect();
        for sql_type in cells[1..3].iter().flat_map(|cell| cell.split('`').skip(1).step_by(2)) {
            let sql_type = sql_type.replace("(p, s)", "(10, 2)").replace("(n)", "(20)");
            let sql_type =
                if sql_type.contains("FLOAT") { sql_type.replace("(p)", "(24)") } else { sql_type.replace("(p)", "(6)") };
            let statement = format!("CREATE TABLE t (c {sql_type}) WITH (topic = 't')");
            vatic::sql::parse(&statement, None).unwrap_or_else(|e| panic!("{sql_type}: {e}"));
            seen += 1;
        }
    }
    assert!(seen > 30, "only {seen} types were found");
    let documented: BTreeSet<&str> =
        page.split('`').skip(1).step_by(2).filter_map(|code| code.split(['(', '<', '[']).next()).collect();
    let missing: Vec<&&str> = vatic::sql::types::KNOWN.iter().filter(|name| !documented.contains(**name)).collect();
    assert!(missing.is_empty(), "these types are not documented: {missing:?}");
}

/// Whether `value`, JSON text, is read into a column of a type.
fn json_takes(sql_type: &str, value: &str) -> bool {
    let statement = format!("CREATE TABLE t (v {sql_type}) WITH (topic = 't')");
    let statement = vatic::sql::parse(&statement, None).unwrap().remove(0).statement;
    let vatic::sql::Statement::CreateTable { definition, .. } = statement else { unreachable!() };
    let mut decoder =
        vatic::format::format("json").unwrap().decoder(definition.schema(), &[0], &definition.options).unwrap();
    let record = format!("{{\"v\": {value}}}");
    decoder.decode(&arrow::array::BinaryArray::from_vec(vec![record.as_bytes()])).bad.is_empty()
}

/// The types that the first words of a row in json.md stand for; none for rows whose examples are words.
fn types_of(cell: &str) -> Vec<&str> {
    match cell {
        "integers" => vec!["INT"],
        "integers, REAL, DOUBLE" => vec!["INT", "REAL", "DOUBLE"],
        "REAL, DOUBLE" => vec!["REAL", "DOUBLE"],
        "DECIMAL(p, s)" | "DECIMAL" | "DECIMAL(10, 2)" => vec!["DECIMAL(10, 2)"],
        plain @ ("BOOLEAN" | "BIGINT" | "DOUBLE" | "VARCHAR" | "DATE" | "TIMESTAMP") => vec![plain],
        _ => Vec::new(),
    }
}

/// The examples in json.md of what is read and what is not are read, and are not.
#[test]
fn the_rules_of_json_hold() {
    let page = page("json.md");
    let cells = |line: &str| -> Vec<String> { line.split('|').skip(1).map(|cell| cell.trim().to_owned()).collect() };
    let values = |cell: &str| -> Vec<String> {
        let codes = cell.split('`').skip(1).step_by(2).filter(|code| !code.contains("json."));
        codes
            .filter(|code| code.starts_with(['"', '{', '-', 't', 'f']) || code.starts_with(|c: char| c.is_ascii_digit()))
            .map(str::to_owned)
            .collect()
    };
    let mut seen = 0;
    let mut wrong = Vec::new();
    let mut expect = |sql_type: &str, value: &str, taken: bool| {
        seen += 1;
        if json_takes(sql_type, value) != taken {
            wrong.push(format!("json.md: {value} for {sql_type} is {}", if taken { "refused" } else { "read" }));
        }
    };
    let read = section(&page, "What is read").expect("json.md says what is read");
    for row in read.lines().filter(|line| line.starts_with('|')).map(cells) {
        for sql_type in types_of(&row[0]) {
            values(&row[1]).iter().for_each(|value| expect(sql_type, value, true));
            values(&row[2]).iter().for_each(|value| expect(sql_type, value, false));
        }
    }
    let coerced =
        section(&page, "Where arrow-json coerces and vatic does not").expect("json.md says where arrow-json coerces");
    for row in coerced.lines().filter(|line| line.starts_with('|')).map(cells).filter(|row| row[3].starts_with("bad")) {
        for sql_type in types_of(&row[1]) {
            values(&row[0]).iter().for_each(|value| expect(sql_type, value, false));
        }
    }
    assert!(seen > 40, "only {seen} examples were found");
    none(&wrong);
}

#[test]
fn every_link_between_pages_leads_somewhere() {
    let mut complaints = Vec::new();
    for (path, text) in pages() {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or_default();
            if !file.is_empty() && !link.contains("://") && !path.parent().unwrap().join(file).exists() {
                complaints.push(format!("{}: {link} leads nowhere", path.display()));
            }
        }
    }
    none(&complaints);
}

/// Files that a page names in code exist: `src/...`, and in architecture.md paths below `src/`.
#[test]
fn every_file_that_the_docs_name_exists() {
    let mut complaints = Vec::new();
    for (path, text) in pages() {
        let below_src = path.ends_with("docs/architecture.md");
        for code in text.split('`').skip(1).step_by(2).filter(|code| is_path(code)) {
            let exists = root().join(code).exists() || (below_src && root().join("src").join(code).exists());
            if !exists {
                complaints.push(format!("{}: there is no {code}", path.display()));
            }
        }
    }
    none(&complaints);
}

/// A path to a Rust file or a folder that begins like one of ours; places of things to come are named in [`TO_COME`].
fn is_path(code: &str) -> bool {
    let plain = code.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '.' | '-'));
    let ours = code.ends_with(".rs") || (code.ends_with('/') && code.len() > 1);
    plain && ours && code.contains('/') && !TO_COME.contains(&code)
}

/// Named as places where something will stand.
const TO_COME: &[&str] = &["queries/", "src/connector/kafka/ffi/", "src/model/tree/simd.rs", "src/udf/"];

#[test]
fn a_difference_between_docs_and_code_is_seen() {
    let exists = [
        OptionSpec { name: "a", values: "", default: "1", doc: "" },
        OptionSpec { name: "b.*", values: "", default: "", doc: "" },
    ];
    let page = "## One\n\n| option | values | default |\n|---|---|---|\n| `a` | n | `1` |\n| `b.*` | | |\n\n## Two\n\n| `c` | | |\n";
    let one = section(page, "One").unwrap();
    assert_eq!(compare("p", &rows(one), &exists), [""; 0]);
    assert_eq!(
        compare("p", &rows(&page.replace("`1`", "`2`").replace("`b.*`", "`d`")), &exists),
        [
            "p: the default of \"a\" is '1', not '2'",
            "p: \"b.*\" is not documented",
            "p: \"d\" does not exist",
            "p: \"c\" does not exist",
        ]
    );
    assert_eq!(section(page, "Three"), None);
    assert_eq!(flags("| `--a X`, `-a` | |\n`--b` in a text\n"), BTreeSet::from(["a".to_owned()]));
    assert_eq!(blocks("x\n```sql\nSELECT 1;\n```\n```text\nno\n```\n", "sql"), ["SELECT 1;"]);
}
