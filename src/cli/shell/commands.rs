//! The shell's own commands.   `\d payments` ─► [`parse`] ─► a [`Command`] and its argument
//!
//! [`COMMANDS`] is the one table: `\?` prints it, completion offers it, an unknown command is compared with it, and
//! `docs/reference/shell.md` must list it. To add one: a variant, a line in the table, an arm where the shell obeys.

use crate::error::{Error, Result, nearest};
use crate::sql;

/// What a command does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    Help,
    Statements,
    Leave,
    Describe,
    Tables,
    Views,
    Functions,
    Models,
    Jobs,
    Topics,
    Connection,
    Demo,
    Again,
    AgainExpanded,
    Watch,
    Edit,
    Include,
    Output,
    Expanded,
    Timing,
    Pager,
    Echo,
    Set,
    Unset,
    Shell,
}

/// What stands behind a command, for completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Argument {
    Nothing,
    Table,
    Function,
    Model,
    Topic,
    File,
    Parameter,
    OneOf(&'static [&'static str]),
    Text,
}

/// A line of the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spec {
    pub command: Command,
    /// Without the backslash; the first is the one that is shown.
    pub names: &'static [&'static str],
    /// Its argument, for people.
    pub usage: &'static str,
    pub argument: Argument,
    /// What it does.
    pub doc: &'static str,
}

const ON_OFF: Argument = Argument::OneOf(&["on", "off"]);

/// All commands, as `\?` prints them.
pub(super) const COMMANDS: &[Spec] = &[
    spec(Command::Help, &["?", "help"], "", Argument::Nothing, "this list"),
    spec(Command::Statements, &["h"], "[WORD]", Argument::Text, "statements of SQL: all, or those with WORD"),
    spec(Command::Leave, &["q", "quit", "exit"], "", Argument::Nothing, "leave; jobs are stopped cleanly"),
    spec(Command::Describe, &["d"], "[NAME]", Argument::Table, "tables and views; of one its columns and its DDL"),
    spec(Command::Tables, &["dt"], "[PATTERN]", Argument::Table, "tables and views"),
    spec(Command::Views, &["dv"], "[PATTERN]", Argument::Table, "views with their queries"),
    spec(Command::Functions, &["df"], "[PATTERN]", Argument::Function, "functions; \\df+ all that is known of them"),
    spec(Command::Models, &["dm"], "[PATTERN]", Argument::Model, "models with their versions"),
    spec(Command::Jobs, &["dj"], "[PATTERN]", Argument::Nothing, "jobs of this session"),
    spec(Command::Topics, &["l", "list"], "[PATTERN]", Argument::Topic, "topics of the broker"),
    spec(Command::Connection, &["conninfo"], "", Argument::Nothing, "the broker and what is on it"),
    spec(Command::Demo, &["demo"], "", Argument::Nothing, "make data and a model to play with"),
    spec(Command::Again, &["g"], "", Argument::Nothing, "execute this, or the last statement again"),
    spec(Command::AgainExpanded, &["gx", "G"], "", Argument::Nothing, "the same, one column per line"),
    spec(Command::Watch, &["watch"], "[SECONDS] [c=TIMES]", Argument::Text, "the same every 2 seconds, until Ctrl-C"),
    spec(Command::Edit, &["e", "edit"], "[FILE]", Argument::File, "edit it in $EDITOR, then execute it"),
    spec(Command::Include, &["i", "include"], "FILE", Argument::File, "execute the statements of a file"),
    spec(
        Command::Output,
        &["o", "out"],
        "[FILE | |COMMAND]",
        Argument::File,
        "send rows there; without one back to the screen",
    ),
    spec(
        Command::Expanded,
        &["x"],
        "[on|off|auto]",
        Argument::OneOf(&["on", "off", "auto"]),
        "one column per line; auto: if too wide",
    ),
    spec(Command::Timing, &["timing"], "[on|off]", ON_OFF, "say how long statements take"),
    spec(Command::Pager, &["pager"], "[on|off]", ON_OFF, "show long results in $PAGER"),
    spec(Command::Echo, &["echo"], "TEXT", Argument::Text, "print a text among the rows"),
    spec(Command::Set, &["set"], "[NAME VALUE]", Argument::Parameter, "give $NAME a value; without one list them all"),
    spec(Command::Unset, &["unset"], "NAME", Argument::Parameter, "take the value of $NAME away"),
    spec(Command::Shell, &["!"], "COMMAND", Argument::Text, "run a command of the system's shell"),
];

const fn spec(
    command: Command,
    names: &'static [&'static str],
    usage: &'static str,
    argument: Argument,
    doc: &'static str,
) -> Spec {
    Spec { command, names, usage, argument, doc }
}

/// Commands of psql that have no counterpart, and what to do instead.
const ELSEWHERE: &[(&str, &str)] = &[
    ("c", "The broker is chosen at the start: vatic --broker HOST:PORT"),
    ("connect", "The broker is chosen at the start: vatic --broker HOST:PORT"),
    ("copy", "Write COPY (SELECT ...) TO 'file.csv';, or send rows to a file with \\o FILE"),
    ("dn", "There are no schemas: \\dt lists the tables, \\l the topics."),
    ("du", "Users are the broker's business."),
    ("di", "There are no indexes: a topic is read from its start."),
    ("ds", "There are no sequences: \\dt lists the tables."),
    ("dT", "Types stand in docs/reference/types.md; \\d NAME shows those of a table."),
    ("pset", "Write \\x, \\pager or \\timing."),
    ("a", "Write \\x for one column per line, or from outside: vatic sql --format csv \"SELECT ...\""),
    ("s", "Search the history with Ctrl-R."),
    ("r", "Press Ctrl-C to clear what is typed."),
    ("p", "Press the arrow up to see the last statement, or write \\e to edit it."),
    ("w", "Write \\e FILE to edit a file, \\o FILE to send rows to one."),
    ("cd", "Paths begin in the directory where vatic was started; leave, and start it elsewhere."),
    ("sv", "Write \\d NAME, which shows the statement that makes a view."),
    ("sf", "Write \\df NAME, which shows a function's signature."),
    ("encoding", "Everything is UTF-8."),
    ("prompt", "Write \\set NAME VALUE."),
    ("gset", "Write \\set NAME VALUE."),
    ("if", "Scripts are executed line by line: write two files, and \\i one of them."),
    ("errverbose", "Errors always say all they know."),
];

/// What people type who come from DuckDB, SQLite or elsewhere, and the command they mean.
const SPELLINGS: &[(&str, &str)] = &[
    ("help", "?"),
    ("?", "?"),
    ("exit", "q"),
    ("quit", "q"),
    (".help", "?"),
    (".exit", "q"),
    (".quit", "q"),
    (".q", "q"),
    (".tables", "dt"),
    (".schema", "d"),
    (".databases", "l"),
    (".topics", "l"),
    (".models", "dm"),
    (".functions", "df"),
    (".read", "i"),
    (".output", "o"),
    (".timer", "timing"),
    (".edit", "e"),
    (".shell", "!"),
    (".system", "!"),
    (".print", "echo"),
];

/// A command as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Typed<'a> {
    pub command: Command,
    /// What stands behind its name, without blanks around it.
    pub argument: &'a str,
    /// Whether a `+` asks for more.
    pub more: bool,
}

/// Reads a command from its backslash on.
///
/// # Errors
/// `User` for one that does not exist, with the nearest, or for an argument where none is taken.
pub(super) fn parse(line: &str) -> Result<Typed<'_>> {
    let (name, argument) = split(line);
    let plain = name.strip_suffix('+').unwrap_or(name);
    // psql takes `\!ls` and `\?` without a blank.
    let (plain, argument) = match plain.strip_prefix('!') {
        Some(glued) if !glued.is_empty() => ("!", line.trim().get(2..).unwrap_or_default().trim()),
        _ => (plain, argument),
    };
    // Whoever asks for help with something means the statements.
    let plain = if plain == "help" && !argument.is_empty() { "h" } else { plain };
    let Some(spec) = COMMANDS.iter().find(|spec| spec.names.contains(&plain)) else { return Err(unknown(plain)) };
    if spec.argument == Argument::Nothing && spec.usage.is_empty() && !argument.is_empty() {
        let error = Error::user(format!("command \"\\{plain}\" takes no argument"));
        return Err(error.hint(format!("Leave out \"{argument}\".")));
    }
    Ok(Typed { command: spec.command, argument, more: name.ends_with('+') })
}

fn unknown(name: &str) -> Error {
    let error = Error::user(format!("unknown command \"\\{name}\""));
    if let Some((_, hint)) = ELSEWHERE.iter().find(|(own, _)| *own == name) {
        return error.hint(*hint);
    }
    let known = COMMANDS.iter().flat_map(|spec| spec.names).copied();
    // A name of one or two letters is near to all others.
    let near = if name.chars().count() > 2 { nearest(name, known.filter(|own| own.len() > 1)) } else { None };
    match near
        .or_else(|| name.get(..1).and_then(|first| COMMANDS.iter().map(|s| s.names[0]).find(|own| own.starts_with(first))))
    {
        Some(near) => error.hint(format!("Did you mean \"\\{near}\"? \\? lists all commands.")),
        None => error.hint("Type \\? for a list of all commands."),
    }
}

/// What the last line of an open statement is by itself, if people type it to get out: `quit`, `exit`, `help`, `clear`. In
/// quotes that are open, too: there it is a part of the text, and may be meant as one.
pub(super) fn stuck(text: &str) -> Option<Stuck<'_>> {
    let (before, line) = text.trim_end().rsplit_once('\n')?;
    let word = line.trim();
    let known = ["quit", "exit", "help", "clear", "cls"].iter().any(|own| word.eq_ignore_ascii_case(own));
    if !known || before.trim().is_empty() {
        return None;
    }
    // What is behind a quote that is open cannot be told apart from its text.
    sql::incomplete(before).then(|| Stuck { before, quoted: sql::incomplete(&format!("{before}\n;")) })
}

/// A word that stands alone behind an open statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stuck<'a> {
    /// The statement, without the word's line.
    pub before: &'a str,
    /// Whether a quote or a comment is open.
    pub quoted: bool,
}

/// The command that a whole line means which does not begin with a backslash: `help`, `exit`, `.tables`.
///
/// # Errors
/// `User` for a command of another shell that is not known here.
pub(super) fn spelling(line: &str) -> Option<Result<Typed<'_>>> {
    let line = line.trim().trim_end_matches(';').trim_end();
    let (name, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let lower = name.to_ascii_lowercase();
    // No statement begins with it.
    if lower == "help" && !argument.is_empty() {
        return Some(Ok(Typed { command: Command::Statements, argument: argument.trim(), more: false }));
    }
    let found = SPELLINGS.iter().find(|(own, _)| *own == lower && (argument.is_empty() || own.starts_with('.')));
    if let Some((_, meant)) = found {
        let spec = COMMANDS.iter().find(|spec| spec.names.contains(meant))?;
        return Some(Ok(Typed { command: spec.command, argument: argument.trim(), more: false }));
    }
    let dotted = name.strip_prefix('.').filter(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic()))?;
    let error = Error::user(format!("unknown command \".{dotted}\""));
    let near = nearest(name, SPELLINGS.iter().map(|(own, _)| *own).filter(|own| own.starts_with('.')));
    let hint = match near {
        Some(near) => format!("Did you mean \"{near}\"? Commands begin with a backslash here: \\? lists them."),
        None => "Commands begin with a backslash here: \\? lists them.".to_owned(),
    };
    Some(Err(error.hint(hint)))
}

/// Whether the command takes the SQL before it that has no `;` yet.
pub(super) fn takes_sql(line: &str) -> bool {
    let (name, _) = split(line);
    ["g", "gx", "G", "watch", "e", "edit"].contains(&name)
}

/// Whether the command may change parameters, which statements behind it are read with; a file that is included may, too.
pub(super) fn sets(line: &str) -> bool {
    ["set", "unset", "i", "include"].contains(&split(line).0)
}

/// The name of a command without its backslash, and what stands behind it.
pub(super) fn split(line: &str) -> (&str, &str) {
    let line = line.trim().trim_start_matches('\\');
    let (name, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let argument = argument.trim();
    // `\dt;` is what fingers type.
    let stripped = argument.strip_suffix(';').unwrap_or(argument).trim_end();
    (name.strip_suffix(';').unwrap_or(name), stripped)
}

/// What `\?` prints.
pub(super) fn help() -> String {
    let left = |spec: &Spec| format!("\\{} {}", spec.names[0], spec.usage).trim_end().to_owned();
    let width = COMMANDS.iter().map(|spec| left(spec).len()).max().unwrap_or(0);
    let lines = COMMANDS.iter().map(|spec| format!("  {:<width$}  {}", left(spec), spec.doc));
    lines.collect::<Vec<_>>().join("\n")
}

/// `on`, `off`, or the other way round where nothing is said.
///
/// # Errors
/// `User` for anything else.
pub(super) fn switch(argument: &str, now: bool) -> Result<bool> {
    match argument.to_ascii_lowercase().as_str() {
        "" => Ok(!now),
        "on" | "true" | "1" | "yes" => Ok(true),
        "off" | "false" | "0" | "no" => Ok(false),
        _ => {
            Err(Error::user(format!("\"{argument}\" is neither on nor off")).hint("Write on, off, or nothing to change it."))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_with_their_argument() {
        let read = |line| parse(line).map(|typed| (typed.command, typed.argument)).unwrap();
        assert_eq!(read("\\d payments"), (Command::Describe, "payments"));
        assert_eq!(read("\\dt;"), (Command::Tables, ""));
        assert_eq!(read("\\d+ t;"), (Command::Describe, "t"));
        assert_eq!(read("\\!ls -l"), (Command::Shell, "ls -l"));
        assert_eq!(read("\\watch 3 c=2"), (Command::Watch, "3 c=2"));
        assert_eq!(read("\\?"), (Command::Help, ""));
        assert!(parse("\\q now").unwrap_err().message().contains("takes no argument"));
    }

    #[test]
    fn what_does_not_exist_is_answered_with_what_does() {
        for (line, hint) in [
            ("\\wacht", "Did you mean \"\\watch\"? \\? lists all commands."),
            ("\\timng", "Did you mean \"\\timing\"? \\? lists all commands."),
            ("\\copy", "Write COPY (SELECT ...) TO 'file.csv';"),
            ("\\dz", "Did you mean \"\\d\"?"),
            ("\\cd /tmp", "Paths begin in the directory"),
            ("\\zzz", "Type \\? for a list of all commands."),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.get_hint().is_some_and(|found| found.starts_with(hint)), "{line}: {:?}", error.get_hint());
        }
    }

    #[test]
    fn spellings_of_other_shells_are_known() {
        let read = |line| spelling(line).map(|typed| typed.map(|typed| (typed.command, typed.argument)));
        assert_eq!(read("EXIT;").unwrap().unwrap(), (Command::Leave, ""));
        assert_eq!(read("help").unwrap().unwrap(), (Command::Help, ""));
        assert_eq!(read(".schema t").unwrap().unwrap(), (Command::Describe, "t"));
        assert_eq!(read("help create table").unwrap().unwrap(), (Command::Statements, "create table"));
        assert!(read("quit now").is_none() && read("SELECT 1").is_none() && read(".5").is_none());
        assert_eq!(read(".tabels").unwrap().unwrap_err().message(), "unknown command \".tabels\"");
    }

    #[test]
    fn a_word_that_wants_out_is_seen_behind_an_open_statement() {
        let seen = |text| stuck(text).map(|it| (it.before, it.quoted));
        assert_eq!(seen("SELECT 1\nquit\n"), Some(("SELECT 1", false)));
        assert_eq!(seen("SELECT 1\n FROM t\n  EXIT"), Some(("SELECT 1\n FROM t", false)));
        assert_eq!(seen("SELECT 'it\nclear\n"), Some(("SELECT 'it", true)));
        assert_eq!(seen("SELECT \"it\n-- x\nhelp\n"), Some(("SELECT \"it\n-- x", true)));
        for text in ["quit", "\nquit", "SELECT 1;\nquit", "SELECT 1\nquit;", "SELECT 1 quit", "SELECT\nhelpful", ""] {
            assert_eq!(seen(text), None, "{text}");
        }
    }

    #[test]
    fn every_command_is_documented() {
        let page = include_str!("../../../docs/reference/shell.md");
        for spec in COMMANDS {
            let shown = format!("| `\\{}", spec.names[0]);
            assert!(page.lines().any(|line| line.starts_with(&shown)), "docs/reference/shell.md has no line {shown}");
        }
    }
}
