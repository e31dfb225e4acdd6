//! `weir policy lint`: what is invalid, and what was probably not meant.

use std::fmt::Write;
use std::process::ExitCode;

use policy_compiler::query::{Finding, LintOptions, lint};
use policy_compiler::{Diagnostic, ObjectKey};
use serde::Serialize;

use super::state::{Refused, State};
use crate::cli::Outcome;
use crate::cli::output::{Output, Progress};
use crate::cli::snippet::{Located, with_snippets};

/// Find what is invalid or probably not meant: each finding with file, line, field and remedy
///
/// Exits 1 if there are findings, 2 if there is nothing to look at.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  weir policy lint --state configs/state
  weir policy lint --state configs/state --cluster flannel")]
pub(super) struct Args {
    #[command(flatten)]
    state: State,
    /// Also name what a cluster of this kind accepts and does not enforce
    #[arg(long, value_enum, value_name = "KIND")]
    cluster: Option<Cluster>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Cluster {
    /// flannel without an enforcer beside it
    Flannel,
}

/// A finding for scripts.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    severity: &'static str,
    lint: &'static str,
    file: String,
    line: u32,
    column: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<String>,
    field: String,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
    #[serde(skip)]
    text: String,
}

pub(super) fn run(args: &Args) -> Outcome {
    let findings: Vec<Row> = match args.state.with_errors() {
        Ok((judge, remarks)) => {
            let options = LintOptions { for_flannel: matches!(args.cluster, Some(Cluster::Flannel)) };
            let mut progress = Progress::new("policies looked at");
            let findings = lint(&judge, &remarks, options, |done, all| progress.at(done, all));
            findings.iter().map(row).collect()
        }
        // Problems of the directory or of a whole file stand at no line: then there is nothing to look at.
        Err(Refused(problems)) if problems.iter().all(|problem| problem.origin.line > 0) => {
            problems.iter().map(|problem| of("invalid", problem)).collect()
        }
        Err(refused) => return Err(refused.into()),
    };
    args.output.print_all(&findings, for_people)?;
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

pub(super) fn row(finding: &Finding) -> Row {
    of(finding.lint.name(), &finding.diagnostic)
}

fn of(lint: &'static str, diagnostic: &Diagnostic) -> Row {
    Row {
        severity: if diagnostic.is_error() { "error" } else { "warning" },
        lint,
        file: diagnostic.origin.file.to_string(),
        line: diagnostic.origin.line,
        column: diagnostic.origin.column,
        object: diagnostic.object.as_ref().map(ObjectKey::to_string),
        field: diagnostic.field.clone(),
        message: diagnostic.message.clone(),
        expected: diagnostic.expected.clone(),
        help: diagnostic.help.clone(),
        text: diagnostic.to_string(),
    }
}

pub(super) fn for_people(findings: &[Row]) -> String {
    let located: Vec<Located<'_>> = findings
        .iter()
        .map(|finding| Located {
            text: format!("{} [{}]", finding.text, finding.lint),
            file: &finding.file,
            line: finding.line as usize,
            column: finding.column as usize,
        })
        .collect();
    let mut text = with_snippets(&located);
    if !text.is_empty() {
        text.push('\n');
    }
    let errors = findings.iter().filter(|finding| finding.severity == "error").count();
    let warnings = findings.len() - errors;
    let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    // Writing to a String cannot fail.
    let _ = match findings.len() {
        0 => writeln!(text, "nothing found"),
        _ => writeln!(text, "{}, {}", count(errors, "error"), count(warnings, "warning")),
    };
    text
}
