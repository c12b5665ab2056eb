//! Wrong usage, said in the shape of every other error.   clap's answer ─► `error: no command "sqll"`, hint ─► exit code 2
//!
//! Help and the version are printed as clap writes them.

use std::path::Path;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::args::ColorChoice;
use super::files::begins_a_statement;
use super::ui::Ui;
use crate::error::{Error, nearest};

/// Prints what clap answers to a command line that is no command, or that asks for help; gives the exit code.
pub(super) fn answer(answer: &clap::Error) -> ExitCode {
    match answer.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // A closed pipe behind `vatic --help | head` is nobody's trouble.
            let _ = answer.print();
        }
        _ => Ui::new(false, ColorChoice::Auto).with_json(wants_json(), false).error(&told(answer)),
    }
    ExitCode::from(u8::try_from(answer.exit_code()).unwrap_or(2))
}

/// Whether errors are for programs, as far as a command line tells that could not be read.
fn wants_json() -> bool {
    let args: Vec<String> = std::env::args().collect();
    let pair = |name: &str, value: &str| {
        args.windows(2).any(|two| two[0] == name && two[1] == value) || args.contains(&format!("{name}={value}"))
    };
    let env = std::env::var("VATIC_ERRORS").unwrap_or_default();
    if pair("--errors", "text") || (env == "text" && !pair("--errors", "json")) {
        return false;
    }
    env == "json" || pair("--errors", "json") || pair("--format", "json") || args.iter().any(|arg| arg == "--json")
}

/// clap's error as ours.
fn told(error: &clap::Error) -> Error {
    let one = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => texts.last().cloned(),
        _ => None,
    };
    let all = |kind| match error.get(kind) {
        Some(ContextValue::Strings(texts)) => texts.clone(),
        Some(ContextValue::String(text)) => vec![text.clone()],
        _ => Vec::new(),
    };
    let usage = usage(error);
    let command = command(&usage);
    let option = one(ContextKind::InvalidArg).unwrap_or_default();
    // `--format <FORMAT>` is called --format; `<FILE>` is called FILE.
    let name = option.split(' ').next().unwrap_or_default();
    let what =
        if name.starts_with('-') { format!("option \"{name}\"") } else { name.trim_matches(['<', '>', '.']).to_owned() };
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let given = one(ContextKind::InvalidSubcommand).unwrap_or_default();
            let hint = instead(&given).or_else(|| {
                let near = all(ContextKind::SuggestedSubcommand);
                let near =
                    nearest(&given, near.iter().map(String::as_str)).map(str::to_owned).or_else(|| near.last().cloned());
                near.map(|near| format!("Did you mean \"{near}\"?"))
            });
            let error = Error::usage(format!("no command \"{}\"", behind(&command, &given)));
            error.hint(hint.unwrap_or_else(|| format!("{command} --help lists the commands.")))
        }
        ErrorKind::UnknownArgument if name.starts_with('-') => {
            let error = Error::usage(format!("{command} has no option \"{name}\""));
            error.hint(match one(ContextKind::SuggestedArg) {
                Some(near) => format!("Did you mean \"{}\"?", near.split(' ').next().unwrap_or_default()),
                None => format!("{command} --help lists the options."),
            })
        }
        ErrorKind::UnknownArgument => {
            let hint = if command.ends_with(" sql") {
                "Put the statements in one pair of double quotes: vatic sql \"SELECT ...\".".to_owned()
            } else {
                format!("Write {usage}.")
            };
            Error::usage(format!("\"{option}\" is one argument too many for {command}")).hint(hint)
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let value = one(ContextKind::InvalidValue).unwrap_or_default();
            let valid = all(ContextKind::ValidValue);
            if value.is_empty() {
                return Error::usage(format!("{what} needs a value")).hint(match valid.as_slice() {
                    [] => format!("Write it behind it: {option}."),
                    _ => format!("It is one of: {}.", valid.join(", ")),
                });
            }
            let told = Error::usage(format!("{what} cannot be \"{value}\""));
            if valid.is_empty() {
                return told.hint(why(error));
            }
            let near = nearest(&value, valid.iter().map(String::as_str));
            let near = near.map(|near| format!("Did you mean \"{near}\"? ")).unwrap_or_default();
            told.hint(format!("{near}It is one of: {}.", valid.join(", ")))
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            // What is printed is the help, which names itself.
            let help = error.to_string();
            let usage = help.lines().find_map(|line| line.strip_prefix("Usage: ")).unwrap_or_default();
            let command = self::command(usage);
            let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
            let names = listed.filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).filter(|name| !name.is_empty());
            let names: Vec<&str> = names.filter(|name| *name != "help").collect();
            Error::usage(format!("{command} needs a command"))
                .hint(format!("Write one behind it: {}. {command} --help tells of each.", names.join(", ")))
        }
        ErrorKind::MissingRequiredArgument => {
            let missing = all(ContextKind::InvalidArg);
            let names: Vec<&str> = missing.iter().map(|arg| arg.trim_end_matches("...").trim_matches(['<', '>'])).collect();
            let told = Error::usage(format!("{command} needs {}", names.join(" and ")));
            if command == "vatic sql" {
                return told
                    .hint("Write vatic sql \"SELECT ...\"; what comes from a pipe or a file is executed by vatic < FILE.");
            }
            told.hint(format!("Write {}.", usage.trim_end_matches('.')))
        }
        _ => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
            Error::usage(first).hint(format!("{command} --help shows how it is used."))
        }
    }
}

/// What the reader of a value has against it, as an order.
fn why(error: &clap::Error) -> String {
    let reason = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    if reason.contains("invalid digit") || reason.contains("empty string") {
        return "Write a whole number.".to_owned();
    }
    if let Some((_, range)) = reason.split_once(" is not in ") {
        let (first, last) = range.split_once("..").unwrap_or((range, ""));
        return match last.trim_start_matches('=') {
            "" | "2147483647" | "18446744073709551615" => format!("Write a whole number of at least {first}."),
            last => format!("Write a whole number from {first} to {last}."),
        };
    }
    let mut chars = reason.chars();
    let first: String = chars.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}.", chars.as_str().trim_end_matches('.'))
}

/// What was meant by something in the place of a command: a statement, or a file of statements.
fn instead(given: &str) -> Option<String> {
    let first = given.split_whitespace().next().unwrap_or_default();
    if begins_a_statement(first) {
        return Some("Write a statement in double quotes behind sql: vatic sql \"SELECT ...\".".to_owned());
    }
    let is_file = Path::new(given).extension().is_some_and(|e| e.eq_ignore_ascii_case("sql"));
    is_file.then(|| format!("To run the statements of a file: vatic run {given}"))
}

/// clap's line on how the command is used, without what may be left out.
fn usage(error: &clap::Error) -> String {
    let text = match error.get(ContextKind::Usage) {
        Some(ContextValue::StyledStr(text)) => text.to_string(),
        _ => String::new(),
    };
    let line = text.lines().next().unwrap_or_default().trim_start_matches("Usage: ").trim();
    if line.is_empty() { "vatic [COMMAND]".to_owned() } else { line.to_owned() }
}

/// The words of the command in a line of usage: `vatic topic create`.
fn command(usage: &str) -> String {
    let words = usage.split(' ').take_while(|word| !word.starts_with(['<', '[', '-']));
    let mut words: Vec<&str> = words.collect();
    // Whatever the file of the program is called.
    if let Some(first) = words.first_mut() {
        *first = "vatic";
    }
    words.join(" ")
}

/// `given` as the words behind `vatic`.
fn behind(command: &str, given: &str) -> String {
    format!("{} {given}", command.trim_start_matches("vatic")).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::args::Cli;
    use super::*;

    #[test]
    fn wrong_usage_has_the_shape_of_every_error() {
        for (line, message, hint) in [
            ("vatic sqll x", "no command \"sqll\"", "Did you mean \"sql\"?"),
            ("vatic topic lst", "no command \"topic lst\"", "Did you mean \"list\"?"),
            ("vatic zebra", "no command \"zebra\"", "vatic --help lists the commands."),
            (
                "vatic select 1",
                "no command \"select\"",
                "Write a statement in double quotes behind sql: vatic sql \"SELECT ...\".",
            ),
            ("vatic a/b.sql", "no command \"a/b.sql\"", "To run the statements of a file: vatic run a/b.sql"),
            ("vatic sql --fromat json x", "vatic sql has no option \"--fromat\"", "Did you mean \"--format\"?"),
            ("vatic run --zebra x", "vatic run has no option \"--zebra\"", "vatic run --help lists the options."),
            ("vatic sql --format xml x", "option \"--format\" cannot be \"xml\"", "It is one of: table, csv, json."),
            (
                "vatic sql --format jsno x",
                "option \"--format\" cannot be \"jsno\"",
                "Did you mean \"json\"? It is one of: table, csv, json.",
            ),
            (
                "vatic topic",
                "vatic topic needs a command",
                "Write one behind it: list, create, describe, delete. vatic topic --help tells of each.",
            ),
            (
                "vatic sql",
                "vatic sql needs STATEMENTS",
                "Write vatic sql \"SELECT ...\"; what comes from a pipe or a file is executed by vatic < FILE.",
            ),
            ("vatic publish fraud", "vatic publish needs FILE", "Write vatic publish <NAME> <FILE>."),
            (
                "vatic sql SELECT 1",
                "\"1\" is one argument too many for vatic sql",
                "Put the statements in one pair of double quotes: vatic sql \"SELECT ...\".",
            ),
            (
                "vatic topic create t --partitions 0",
                "option \"--partitions\" cannot be \"0\"",
                "Write a whole number of at least 1.",
            ),
            ("vatic topic create t --partitions x", "option \"--partitions\" cannot be \"x\"", "Write a whole number."),
            (
                "vatic --broker kafka topic list",
                "option \"--broker\" cannot be \"kafka\"",
                "Write embedded, embedded:DIR or HOST:PORT, as in localhost:9092.",
            ),
            ("vatic sql x --broker", "option \"--broker\" needs a value", "Write it behind it: --broker <BROKER>."),
        ] {
            let error = told(&Cli::try_parse_from(line.split(' ')).unwrap_err());
            assert_eq!((error.message(), error.get_hint(), error.exit_code()), (message, Some(hint), 2), "{line}");
        }
    }
}
