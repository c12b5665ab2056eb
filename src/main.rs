//! The `vatic` command: all of it is in [`vatic::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    vatic::cli::main()
}
