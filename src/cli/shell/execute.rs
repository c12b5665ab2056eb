//! What was typed, executed in order.   text ─► statements and commands ─► session ─► [`Display`]
//!
//! The shell, the files of `\i` and a script on stdin that has commands all come here. SQL is read as a whole before anything
//! of it runs. What only the line editor can do is handed back as a [`Flow`].

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use futures::future::BoxFuture;

use super::catalog::Catalog;
use super::commands::{self, Command, Stuck, Typed, switch};
use super::describe;
use super::display::{Display, Expanded, time};
use super::jobs::Reports;
use super::pieces::{self, Piece};
use super::{banner, edit, params, samples, watch, words};
use crate::cli::Context;
use crate::cli::render::Layout;
use crate::cli::script::{Script, placed, read_text, shows_ddl};
use crate::cli::status::Jobs;
use crate::engine::{Engine, Outcome};
use crate::error::{Error, Result, did_you_mean};
use crate::sql::{Params, Parsed};

/// Files may include each other so deep.
const DEPTH: usize = 16;

/// What the shell does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// It reads the next line.
    Go,
    /// It ends.
    Leave,
    /// It goes on with a line that holds this text.
    Type(String),
    /// It executes what came out of the editor, and remembers it.
    Edited(String),
}

/// The shell's state behind its prompt.
pub(super) struct Runner<'a> {
    pub cx: &'a Context,
    pub engine: Arc<Engine>,
    pub script: Script<'a>,
    pub display: Display,
    pub catalog: Catalog,
    pub reports: Reports,
    /// Jobs of a script, which waits for them.
    pub jobs: Option<Jobs>,
    /// The statement that was executed last.
    pub last: Option<String>,
    /// The folders of the files that are being included.
    folders: Vec<PathBuf>,
}

/// What is done next.
enum Step<'t> {
    Statement(&'t Parsed),
    /// A command, and the statement before it that it takes.
    Command(&'t str, Option<&'t Parsed>),
}

impl<'a> Runner<'a> {
    /// A runner of `script`; `interactive` where a person sits before it.
    pub fn new(cx: &'a Context, engine: Arc<Engine>, mut script: Script<'a>, interactive: bool, jobs: Option<Jobs>) -> Self {
        script.session.set_params(Params::of_shell());
        Self {
            cx,
            engine,
            script,
            display: Display::new(interactive && std::io::IsTerminal::is_terminal(&std::io::stdout())),
            catalog: Catalog::default(),
            reports: Reports::new(&cx.ui),
            jobs,
            last: None,
            folders: Vec::new(),
        }
    }

    fn interactive(&self) -> bool {
        self.jobs.is_none()
    }

    /// Executes all of `text`; `file` is what errors call it.
    ///
    /// # Errors
    /// The first error; what stands behind it is not executed.
    pub async fn text(&mut self, text: &str, file: Option<&str>) -> Result<Flow> {
        if let Some(typed) = commands::spelling(text) {
            return self.command(typed?, None).await;
        }
        if let Some(stuck) = commands::stuck(text).filter(|_| file.is_none() && self.interactive()) {
            return Ok(self.help_out(text, stuck));
        }
        let pieces = pieces::read(text);
        // Behind an open statement a command is for now, and the statement waits for its rest.
        let whole = pieces.rest.filter(|_| file.is_none()).unwrap_or(pieces.sql.len());
        let (mut from, mut commands) = (0, pieces.commands.as_slice());
        loop {
            // A statement is read with the parameters that are set before it.
            let set = commands.iter().position(|piece| commands::sets(text.get(piece.span.clone()).unwrap_or_default()));
            let (to, now) = match set.and_then(|at| Some((commands.get(at)?, at))) {
                Some((piece, at)) => (piece.begin.clamp(from, whole), at + 1),
                None => (whole, commands.len()),
            };
            let blank = pieces.sql.get(from..to).unwrap_or_default().trim().is_empty();
            let statements = match blank {
                true => Vec::new(),
                false => self.script.session.parse(&pieces::only(&pieces.sql, from..to), file)?,
            };
            for step in steps(text, &statements, commands.get(..now).unwrap_or_default()) {
                let flow = match step {
                    Step::Statement(statement) => self.statement(statement, None).await?,
                    Step::Command(line, taken) => self.command(commands::parse(line)?, taken).await?,
                };
                if flow != Flow::Go {
                    return Ok(flow);
                }
            }
            if set.is_none() {
                break;
            }
            (from, commands) = (to, commands.get(now..).unwrap_or_default());
        }
        let rest = pieces.sql.get(whole..).unwrap_or_default();
        if rest.trim().is_empty() {
            return Ok(Flow::Go);
        }
        let command = pieces.commands.last().map_or(text.len(), |last| last.span.start);
        Ok(Flow::Type(text.get(whole..command).unwrap_or_default().trim().to_owned()))
    }

    /// What is said to somebody who does not get out of a statement, which is theirs to go on with. In open quotes the word is
    /// kept, since it may belong to the text.
    fn help_out(&self, text: &str, stuck: Stuck<'_>) -> Flow {
        let (kept, word) = match stuck.quoted {
            true => {
                (text.trim_end(), "A quote or a comment is open: close it first, or press Ctrl-C to drop the statement.")
            }
            false => (stuck.before, "Use \\q to quit, Ctrl-C to drop the statement, ; to end it."),
        };
        self.cx.ui.say(word);
        Flow::Type(format!("{kept}\n"))
    }

    /// Executes one statement and shows what it gives.
    ///
    /// # Errors
    /// Those of the statement.
    pub async fn statement(&mut self, statement: &Parsed, layout: Option<Layout>) -> Result<Flow> {
        let began = Instant::now();
        self.last = Some(statement.text.clone());
        let outcome = match self.cx.until_signal(self.script.session.execute(statement)).await {
            Ok(Outcome::Rows(rows)) => {
                // What is to be pasted is laid out as it is, whatever was asked for.
                let layout = if shows_ddl(statement) { Some(Layout::Text) } else { layout };
                self.display.show(rows, self.cx, layout).await
            }
            Ok(Outcome::Done(tag)) => {
                self.cx.ui.info(&tag);
                Ok(())
            }
            Ok(Outcome::Job(job)) => {
                let name = job.name();
                match &self.jobs {
                    Some(jobs) => jobs.add(job),
                    None => self.cx.ui.info(&format!(
                        "job \"{name}\" runs in the background: SHOW JOBS shows it, STOP JOB {name} stops it"
                    )),
                }
                return Ok(Flow::Go);
            }
            Err(error) => Err(error),
        };
        outcome.map_err(|error| placed(error, &statement.position))?;
        if self.display.timing {
            self.cx.ui.info(&time(began.elapsed().saturating_sub(self.display.paged())));
        }
        Ok(Flow::Go)
    }

    fn command<'s>(&'s mut self, typed: Typed<'s>, taken: Option<&'s Parsed>) -> BoxFuture<'s, Result<Flow>> {
        Box::pin(self.obey(typed, taken))
    }

    /// Does what a command says; `taken` is the statement before it.
    async fn obey(&mut self, Typed { command, argument, more }: Typed<'_>, taken: Option<&Parsed>) -> Result<Flow> {
        let cx = self.cx;
        match command {
            Command::Help => cx.ui.say(&help()),
            Command::Statements => cx.ui.say(&statements(argument)?),
            Command::Set => {
                if let Some(all) = params::set(&mut self.script.session, argument)? {
                    self.display.show(all, cx, None).await?;
                }
            }
            Command::Unset => params::unset(&mut self.script.session, argument)?,
            Command::Leave => return Ok(Flow::Leave),
            Command::Describe
            | Command::Tables
            | Command::Views
            | Command::Functions
            | Command::Models
            | Command::Jobs
            | Command::Topics => {
                cx.until_signal(self.catalog.refresh(&mut self.script.session)).await?;
                describe::describe(self, command, argument, more).await?;
            }
            Command::Connection => {
                cx.until_signal(self.catalog.ask_now(&self.engine, &mut self.script.session)).await?;
                cx.ui.say(&self.connection());
            }
            Command::Demo => {
                let made = samples::make(&self.engine, &mut self.script.session);
                cx.ui.say(cx.until_signal(made).await?);
            }
            Command::Again => self.again(taken, None).await?,
            Command::AgainExpanded => self.again(taken, Some(Layout::Expanded)).await?,
            Command::Watch => {
                let text = self.given(taken)?;
                watch::watch(self, &text, argument).await?;
            }
            Command::Edit if !self.interactive() => {
                return Err(Error::user("\\e needs a person at a terminal").hint("Leave it out of scripts."));
            }
            Command::Edit => {
                let before = taken.map(|taken| taken.text.clone()).or_else(|| self.last.clone()).unwrap_or_default();
                let edited = edit::edit(argument, &before)?;
                return Ok(if edited.trim().is_empty() { Flow::Go } else { Flow::Edited(edited) });
            }
            Command::Include => return self.include(argument).await,
            Command::Output => self.display.send_to(&self.path_or_command(argument))?,
            Command::Expanded => {
                self.display.expanded = match (argument.to_ascii_lowercase().as_str(), self.display.expanded) {
                    ("auto", _) => Expanded::Auto,
                    (argument, now) if expands(argument, now)? => Expanded::On,
                    _ => Expanded::Off,
                };
                cx.ui.info(match self.display.expanded {
                    Expanded::On => "rows are printed one column per line",
                    Expanded::Off => "rows are printed as tables",
                    Expanded::Auto => "rows wider than the screen are printed one column per line",
                });
            }
            Command::Timing => {
                self.display.timing = switch(argument, self.display.timing)?;
                cx.ui.info(if self.display.timing { "timing is on" } else { "timing is off" });
            }
            Command::Pager => {
                self.display.pager = switch(argument, self.display.pager)?;
                cx.ui.info(if self.display.pager { "long results go through the pager" } else { "the pager is off" });
            }
            Command::Echo => self.display.print(format!("{argument}\n").as_bytes(), cx)?,
            Command::Shell => edit::system(argument)?,
        }
        Ok(Flow::Go)
    }

    /// The text that `\g`, `\watch` and `\e` are about.
    fn given(&self, taken: Option<&Parsed>) -> Result<String> {
        taken.map(|taken| taken.text.clone()).or_else(|| self.last.clone()).ok_or_else(|| {
            Error::user("there is no statement yet").hint("Write one before the command: SELECT ... \\watch 2")
        })
    }

    async fn again(&mut self, taken: Option<&Parsed>, layout: Option<Layout>) -> Result<()> {
        if let Some(taken) = taken {
            return self.statement(taken, layout).await.map(|_| ());
        }
        for statement in self.script.session.parse(&self.given(None)?, None)? {
            self.statement(&statement, layout).await?;
        }
        Ok(())
    }

    /// Executes the statements and commands of a file; paths in it begin beside it.
    async fn include(&mut self, argument: &str) -> Result<Flow> {
        if argument.is_empty() {
            return Err(Error::user("\\i needs a file").hint("Write \\i queries.sql, for example."));
        }
        if self.folders.len() >= DEPTH {
            return Err(Error::user("files include each other too deep").hint("Look for a file that includes itself."));
        }
        let path = self.path(argument);
        let text = self.cx.until_signal(read_text(&path)).await?;
        let folder = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
        self.folders.push(folder);
        self.script.set_file(&path);
        let outcome = Box::pin(self.text(&text, Some(&path.display().to_string()))).await;
        self.folders.pop();
        let folder = self.folders.last().cloned().unwrap_or_else(|| PathBuf::from("."));
        self.script.session.set_base(folder, None);
        outcome
    }

    /// A path as typed: from the home directory with `~/`, else from the file it stands in.
    fn path(&self, typed: &str) -> PathBuf {
        let typed = unquoted(typed);
        if let (Some(rest), Some(home)) = (typed.strip_prefix("~/"), std::env::var_os("HOME")) {
            return Path::new(&home).join(rest);
        }
        match self.folders.last() {
            Some(folder) if !Path::new(typed).is_absolute() => folder.join(typed),
            _ => PathBuf::from(typed),
        }
    }

    fn path_or_command(&self, typed: &str) -> String {
        if typed.is_empty() || typed.starts_with('|') { typed.to_owned() } else { self.path(typed).display().to_string() }
    }

    fn connection(&self) -> String {
        let (names, address) = (self.catalog.names(), self.engine.broker().address());
        let kind = if address.starts_with("embedded") { "an embedded broker, for this machine" } else { "Apache Kafka" };
        let running = self.script.session.jobs().iter().filter(|job| !job.status().ended()).count();
        format!(
            "broker   {address}, {kind}\nthere    {}\nmodels   on topic \"{}\"\nsession  {} tables and views, {running} running jobs",
            banner::counted(&names),
            names.models_topic(),
            names.tables.len().saturating_sub(1), // the table models is everywhere
        )
    }
}

/// Statements and commands in the order in which they end.
fn steps<'t>(text: &'t str, statements: &'t [Parsed], commands: &[Piece]) -> Vec<Step<'t>> {
    let mut steps = Vec::new();
    let mut waiting = statements.iter().peekable();
    for piece in commands {
        while let Some(statement) = waiting.next_if(|statement| statement.position.span.end <= piece.span.start) {
            steps.push(Step::Statement(statement));
        }
        let taken = match steps.last() {
            Some(Step::Statement(statement)) if piece.takes => Some(*statement),
            _ => None,
        };
        if taken.is_some() {
            steps.pop();
        }
        steps.push(Step::Command(text.get(piece.span.clone()).unwrap_or_default(), taken));
    }
    steps.extend(waiting.map(Step::Statement));
    steps
}

fn unquoted(typed: &str) -> &str {
    let inside = |quote: char| typed.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    inside('\'').or_else(|| inside('"')).unwrap_or(typed)
}

/// Whether `\\x` with this argument asks for one column per line.
fn expands(argument: &str, now: Expanded) -> Result<bool> {
    switch(argument, now == Expanded::On).map_err(|error| error.hint("Write \\x on, \\x off or \\x auto."))
}

/// What `\\h` answers: all statements, or those with these words.
fn statements(wanted: &str) -> Result<String> {
    if wanted.is_empty() {
        return Ok(STATEMENTS.to_owned());
    }
    let upper = wanted.to_uppercase();
    let fits = |phrase: &str| phrase.split(' ').any(|word| word == upper) || phrase.starts_with(&upper);
    let phrases = || words::STATEMENTS.iter().chain(&words::MORE_HELP);
    let found: Vec<&(&str, &str)> = phrases().filter(|(phrase, _)| fits(phrase)).collect();
    if found.is_empty() {
        let error = Error::user(format!("no statement has the word \"{wanted}\""));
        let near = did_you_mean(&upper, "statements", phrases().map(|(phrase, _)| *phrase));
        return Err(error.hint(near.unwrap_or_else(|| "Type \\h for all of them.".to_owned())));
    }
    let width = found.iter().map(|(phrase, _)| phrase.len()).max().unwrap_or(0);
    Ok(found.iter().map(|(phrase, about)| format!("  {phrase:<width$}  {about}")).collect::<Vec<_>>().join("\n"))
}

/// What `help` answers.
fn help() -> String {
    format!(
        "A statement ends with \";\" and may span lines. Tab completes, Ctrl-R searches the\nhistory, Ctrl-C ends a query or clears \
         the line, Ctrl-D leaves.\n\n{STATEMENTS}\n\n{}",
        commands::help()
    )
}

const STATEMENTS: &str = "  \
  SELECT ...                       answers and ends, at the end of its topics
  SELECT ... EMIT CHANGES          follows new rows until Ctrl-C or LIMIT
  INSERT INTO t SELECT ...         runs in the background, as a job
  CREATE TABLE t (...) WITH (...)  names a topic, a file or a generator
  SHOW TABLES;                     also TOPICS, MODELS, JOBS, FUNCTIONS, ALL
  DESCRIBE t;  EXPLAIN SELECT ...;  SET name = value;  STOP JOB name;

  SELECT * FROM topic('payments') LIMIT 5;    any topic, without CREATE TABLE
  SELECT name, version, status FROM models;   from: vatic publish NAME FILE";
