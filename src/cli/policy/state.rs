//! `--state`: a directory of manifests, read once and compiled for all pods.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use dataplane::state::{Changes, read_once};
use policy_compiler::query::Judge;
use policy_compiler::{Compiler, Diagnostic, OnInvalid, Options};

use crate::cli::snippet::{Located, with_snippets};

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

impl Refused {
    /// For these reasons.
    pub(in crate::cli) fn new(problems: Vec<Diagnostic>) -> Self {
        Self(problems)
    }
}

impl fmt::Display for Refused {
    /// Each problem begins with its file, line and column: editors find their way by that.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.0))
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
    if !warnings.is_empty() {
        // If standard error is closed there is nobody to tell.
        drop(writeln!(io::stderr().lock(), "{}", shown(&warnings)));
    }
    Ok(judge)
}

/// Problems for people, each with the line it is about.
pub(super) fn shown(problems: &[Diagnostic]) -> String {
    let located: Vec<Located<'_>> = problems
        .iter()
        .map(|problem| Located {
            text: problem.to_string(),
            file: &problem.origin.file,
            line: problem.origin.line as usize,
            column: problem.origin.column as usize,
        })
        .collect();
    with_snippets(&located)
}

fn load(directory: &Path, on_invalid: OnInvalid, staged: bool) -> Result<(Judge, Vec<Diagnostic>), Refused> {
    match read_once(directory, on_invalid) {
        Ok(changes) => compile(changes, on_invalid, staged),
        Err(problems) => Err(Refused(with_those_between(directory, problems, staged))),
    }
}

/// With the problems of single objects also those that they have with one another, so that nobody has to mend the
/// first to be told of the second.
fn with_those_between(directory: &Path, mut problems: Vec<Diagnostic>, staged: bool) -> Vec<Diagnostic> {
    let isolated = read_once(directory, OnInvalid::Isolate);
    if let Some(Err(Refused(more))) = isolated.ok().map(|changes| compile(changes, OnInvalid::Refuse, staged))
    {
        problems.extend(more);
    }
    let mut seen = BTreeSet::new();
    problems.retain(|problem| seen.insert(problem.to_string()));
    problems.sort_by(|a, b| a.origin.cmp(&b.origin));
    problems
}

fn compile(
    changes: Changes,
    on_invalid: OnInvalid,
    staged: bool,
) -> Result<(Judge, Vec<Diagnostic>), Refused> {
    let options = Options { on_invalid, memory_ceiling: MEMORY_CEILING, staged, ..Options::default() };
    let mut compiler = Compiler::new(options);
    for object in changes.upserts {
        compiler.upsert(object);
    }
    let mut remarks = changes.problems;
    remarks.extend(changes.warnings);
    Ok((Judge::new(compiler).map_err(Refused)?, remarks))
}
