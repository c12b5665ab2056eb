//! `\watch`: a question asked again and again, until Ctrl-C.

use std::time::Duration;

use super::execute::Runner;
use crate::cli::signals::Stop;
use crate::cli::stopped;
use crate::error::{Error, Result};
use crate::sql::Statement;

/// How often, and how many times.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Rhythm {
    pause: Duration,
    times: Option<u64>,
}

/// Asks `text` in the rhythm that `argument` gives.
///
/// # Errors
/// `User` for what is no question, or a rhythm that is none; those of the statement.
pub(super) async fn watch(runner: &mut Runner<'_>, text: &str, argument: &str) -> Result<()> {
    let rhythm = rhythm(argument)?;
    let statements = runner.script.session.parse(text, None)?;
    for statement in &statements {
        match &statement.statement {
            Statement::Query { emit: None, .. }
            | Statement::Show(_)
            | Statement::Describe(_)
            | Statement::Explain { .. } => {}
            Statement::Query { emit: Some(_), .. } => {
                let error = Error::user("\\watch asks a query that ends, and EMIT CHANGES follows");
                return Err(error.hint("Leave out EMIT CHANGES, or \\watch."));
            }
            _ => {
                let error = Error::user("\\watch asks a question again, and this statement is none");
                return Err(error.hint("Use it with SELECT, SHOW, DESCRIBE or EXPLAIN."));
            }
        }
    }
    let cx = runner.cx;
    let mut asked = 0;
    loop {
        let now = chrono::Local::now().format("%Y-%m-%d %H:%M:%S");
        let head = format!("\n{now} (every {} s)\n\n", rhythm.pause.as_secs_f64());
        runner.display.print(head.as_bytes(), cx)?;
        for statement in &statements {
            runner.statement(statement, None).await?;
        }
        asked += 1;
        if rhythm.times == Some(asked) {
            return Ok(());
        }
        tokio::select! {
            stop = cx.signals.wait() => {
                cx.ui.end_line();
                // A person has seen enough; whoever ends the process means all of it.
                return if stop == Stop::Interrupt { Ok(()) } else { Err(stopped()) };
            }
            () = tokio::time::sleep(rhythm.pause) => {}
        }
    }
}

/// `2`, `0.5 c=3`, `i=2`.
fn rhythm(argument: &str) -> Result<Rhythm> {
    let mut rhythm = Rhythm { pause: Duration::from_secs(2), times: None };
    for word in argument.split_whitespace() {
        let wrong = || {
            Error::user(format!("\\watch cannot use \"{word}\"")).hint("Write \\watch 2, or \\watch 2 c=5 for five times.")
        };
        if let Some(times) = word.strip_prefix("c=") {
            rhythm.times = Some(times.parse().ok().filter(|times| *times > 0).ok_or_else(wrong)?);
        } else {
            let seconds: f64 = word.strip_prefix("i=").unwrap_or(word).parse().map_err(|_| wrong())?;
            rhythm.pause = Duration::try_from_secs_f64(seconds).ok().filter(|pause| !pause.is_zero()).ok_or_else(wrong)?;
        }
    }
    Ok(rhythm)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rhythm_has_a_pause_and_an_end() {
        let of = |seconds: f64, times| Rhythm { pause: Duration::from_secs_f64(seconds), times };
        for (argument, wanted) in [("", of(2.0, None)), ("0.5", of(0.5, None)), ("i=3 c=4", of(3.0, Some(4)))] {
            assert_eq!(rhythm(argument).unwrap(), wanted);
        }
        for wrong in ["0", "-1", "c=0", "soon", "inf"] {
            assert!(rhythm(wrong).unwrap_err().message().contains(wrong));
        }
    }
}
