//! weir: a userspace overlay dataplane for Kubernetes nodes. This crate is the command line and nothing else:
//! one file per subcommand in `cli`, each of which reads its arguments, calls a library crate and prints.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
