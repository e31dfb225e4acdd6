//! `--state`: a directory of manifests, read once and compiled for all pods.

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use dataplane::state::read_once;
use policy_compiler::query::Judge;
use policy_compiler::{Compiler, Diagnostic, OnInvalid, Options};

use crate::cli::output::visible;

/// Ceiling of the classifier's tables: this process lives for one answer, so more than a node's daemon may have.
const MEMORY_CEILING: usize = 4 << 30;

/// `--state`.
#[derive(Debug, clap::Args)]
pub(super) struct State {
    /// Directory of manifests (*.yaml, *.yml, *.json): Namespaces, Pods, Nodes, policies
    #[arg(long = "state", value_name = "DIR")]
    directory: PathBuf,
    /// Judge as if staged policies were in force
    #[arg(long)]
    staged: bool,
}

/// Why a state was refused.
#[derive(Debug)]
pub(in crate::cli) struct Refused(pub(super) Vec<Diagnostic>);

impl fmt::Display for Refused {
    /// Each line begins with its file, line and column: editors find their way by that.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(|problem| visible(&problem.to_string())).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Refused {}

impl State {
    /// The directory, to be asked. Warnings go to standard error.
    pub(super) fn judge(&self) -> Result<Judge, Refused> {
        judge(&self.directory, self.staged)
    }

    /// What it is called.
    pub(super) fn name(&self) -> String {
        self.directory.display().to_string()
    }

    /// The directory with whatever is wrong with it, and what was remarked about it.
    pub(super) fn with_errors(&self) -> Result<(Judge, Vec<Diagnostic>), Refused> {
        load(&self.directory, OnInvalid::Isolate, self.staged)
    }
}

/// A directory, to be asked; `staged`: as if staged policies were in force. Warnings go to standard error.
pub(super) fn judge(directory: &Path, staged: bool) -> Result<Judge, Refused> {
    let (judge, warnings) = load(directory, OnInvalid::Refuse, staged)?;
    for warning in &warnings {
        // If standard error is closed there is nobody to tell.
        drop(writeln!(io::stderr().lock(), "{}", visible(&warning.to_string())));
    }
    Ok(judge)
}

fn load(directory: &Path, on_invalid: OnInvalid, staged: bool) -> Result<(Judge, Vec<Diagnostic>), Refused> {
    let changes = read_once(directory, on_invalid).map_err(Refused)?;
    let options = Options { on_invalid, memory_ceiling: MEMORY_CEILING, staged, ..Options::default() };
    let mut compiler = Compiler::new(options);
    for object in changes.upserts {
        compiler.upsert(object);
    }
    let mut remarks = changes.problems;
    remarks.extend(changes.warnings);
    Ok((Judge::new(compiler).map_err(Refused)?, remarks))
}
