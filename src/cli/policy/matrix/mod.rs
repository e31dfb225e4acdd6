//! `weir policy matrix`: who reaches whom, as a table, as CSV, or as a picture.

mod csv;
mod groups;
mod heat_map;
mod svg;

use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use policy_compiler::query::{Cell, Class, Matrix, Transport, matrix};

use groups::{Group, named};

use super::state::State;
use crate::cli::Outcome;
use crate::cli::output::{Colour, Output, Progress, grid, paint, print};

/// More ends than this, and those that behave alike share a row of the table.
const WIDE: usize = 24;

/// Print who reaches whom: what is open between every two pods, or a table for each port asked for
///
/// Of more than 24 pods, those that behave alike share a row of the table; csv and json have each of them. html is one
/// file with a heat map for each port, to be looked at in a browser or printed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  weir policy matrix --state configs/state
  weir policy matrix --state configs/state --port 8080/TCP --port ICMP --with 198.51.100.7
  weir policy matrix --state configs/state --port 8080/TCP --format html --out matrix.html")]
pub(super) struct Args {
    #[command(flatten)]
    state: State,
    /// A table for this port: 8080/TCP, ICMP, ICMP:TYPE.CODE, GRE; may be repeated
    #[arg(long = "port", value_name = "PORT/PROTO")]
    ports: Vec<Transport>,
    /// An address to show beside the pods, outside or a node's; may be repeated
    #[arg(long = "with", value_name = "ADDRESS")]
    addresses: Vec<IpAddr>,
    /// A form for other programs than scripts
    #[arg(long = "format", value_enum, value_name = "FORM", conflicts_with = "format")]
    form: Option<Form>,
    /// Write to this file in place of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Form {
    /// For people
    Table,
    /// A line for each pair, family and port, for spreadsheets
    Csv,
    /// A heat map
    Html,
}

pub(super) fn run(args: &Args) -> Outcome {
    let judge = args.state.judge()?;
    let mut ends = judge.pods();
    for address in &args.addresses {
        ends.push(judge.end(&address.to_string())?);
    }
    let all = ends.len();
    let mut progress = Progress::new("rows");
    let matrix = matrix(&judge, ends, args.ports.clone(), |done| progress.at(done, all));
    drop(progress);
    let text = match args.form {
        Some(Form::Csv) => csv::csv(&matrix),
        Some(Form::Html) => heat_map::html(&matrix, &args.state.name())?,
        Some(Form::Table) => for_people(&matrix),
        None => args.output.render(&matrix, for_people)?,
    };
    match &args.out {
        Some(path) => {
            fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        None => print(&text)?,
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn for_people(matrix: &Matrix) -> String {
    let classes = if matrix.ends.len() > WIDE {
        matrix.classes(WIDE)
    } else {
        let alone = |(position, end): (usize, &policy_compiler::query::End)| Class {
            namespace: None,
            owners: vec![end.name.clone()],
            members: vec![position],
        };
        matrix.ends.iter().enumerate().map(alone).collect()
    };
    let groups = named(matrix, classes);
    let mut text = String::new();
    if matrix.ports.is_empty() {
        text.push_str(&one(matrix, &groups, |cell| match cell {
            Cell::Open(open) => open.to_string(),
            Cell::Ports(_) => String::new(),
        }));
        text.push('\n');
    }
    for (position, port) in matrix.ports.iter().enumerate() {
        let shown = one(matrix, &groups, |cell| match cell {
            Cell::Ports(verdicts) => verdicts.get(position).map(ToString::to_string).unwrap_or_default(),
            Cell::Open(_) => String::new(),
        });
        let separator = if position == 0 { "" } else { "\n" };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{separator}{}\n{shown}", paint(Colour::Heading, &port.to_string()));
    }
    if !matrix.by_source.is_empty() {
        let protocols: Vec<String> = matrix.by_source.iter().map(ToString::to_string).collect();
        let _ = writeln!(text, "rules test source ports of {}: each is told apart", protocols.join(", "));
    }
    text
}

/// A row for each source, a column for each destination.
fn one(matrix: &Matrix, groups: &[Group], show: impl Fn(&Cell) -> String) -> String {
    let cell = |src: &Class, dst: &Class| {
        // A pod alone reaches itself, which the table of pods says and that of groups leaves out.
        let alone = src.members == dst.members && src.members.len() == 1;
        let shade = match (alone, src.members.first()) {
            (true, Some(&only)) => matrix.shade(only, only),
            _ => matrix.class_shade(src, dst),
        };
        let families = shade.map(|shade| matrix.cells(shade)).unwrap_or_default();
        let shown: Vec<(u8, String)> = [4, 6]
            .into_iter()
            .zip(families)
            .filter_map(|(family, cell)| Some((family, show(cell?))))
            .collect();
        match &shown[..] {
            [] => "-".to_owned(),
            [(_, first), rest @ ..] if rest.iter().all(|(_, other)| other == first) => first.clone(),
            _ => shown
                .iter()
                .map(|(family, shown)| format!("IPv{family}: {shown}"))
                .collect::<Vec<_>>()
                .join(" / "),
        }
    };
    let header = std::iter::once("FROM \\ TO".to_owned()).chain(groups.iter().map(Group::name));
    let rows = groups.iter().map(|src| {
        let cells = groups.iter().map(|dst| cell(&src.class, &dst.class));
        std::iter::once(src.name()).chain(cells).collect()
    });
    grid(header.collect(), rows)
}
