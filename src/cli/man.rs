//! `vatic man`: manual pages, made of the definitions of the command line (`args.rs`), so that they cannot say anything else.

use std::path::Path;

use clap::CommandFactory;

use super::args::Cli;
use super::output::Output;
use super::ui::Ui;
use crate::error::{Error, Result};

/// Prints the page of `vatic`, or writes the pages of all commands into `dir`.
///
/// # Errors
/// `External` if a page cannot be written.
pub(crate) fn man(ui: &Ui, dir: Option<&Path>) -> Result<()> {
    let Some(dir) = dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command())
            .render(&mut page)
            .map_err(|e| Error::internal("the manual page cannot be made").source(e))?;
        let mut out = Output::stdout();
        out.write(&page)?;
        return out.flush();
    };
    let failed = |e| Error::external(format!("cannot write into folder \"{}\"", dir.display())).source(e);
    std::fs::create_dir_all(dir).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), dir).map_err(failed)?;
    ui.info(&format!("wrote the manual pages into \"{}\"; look at them: man -l {}/vatic.1", dir.display(), dir.display()));
    Ok(())
}
