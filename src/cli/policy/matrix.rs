//! `weir policy matrix`: who reaches whom.

use std::collections::HashMap;
use std::net::IpAddr;
use std::process::ExitCode;

use policy_compiler::query::{Matrix, Pair, Transport, matrix};

use super::state::State;
use crate::cli::Outcome;
use crate::cli::output::{Colour, Output, grid, paint};

/// Print who reaches whom: what is open between every two pods, or a table for each port asked for
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  weir policy matrix --state configs/state
  weir policy matrix --state configs/state --port 8080/TCP --port ICMP --with 198.51.100.7")]
pub(super) struct Args {
    #[command(flatten)]
    state: State,
    /// A table for this port: 8080/TCP, ICMP, ICMP:TYPE.CODE; may be repeated
    #[arg(long = "port", value_name = "PORT/PROTO")]
    ports: Vec<Transport>,
    /// An address to show beside the pods, outside or a node's; may be repeated
    #[arg(long = "with", value_name = "ADDRESS")]
    addresses: Vec<IpAddr>,
    #[command(flatten)]
    output: Output,
}

pub(super) fn run(args: &Args) -> Outcome {
    let judge = args.state.judge()?;
    let mut ends = judge.pods();
    for address in &args.addresses {
        ends.push(judge.end(&address.to_string())?);
    }
    args.output.print(&matrix(&judge, &ends, &args.ports), for_people)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn for_people(matrix: &Matrix) -> String {
    let mut pairs: HashMap<(&str, &str), Vec<&Pair>> = HashMap::new();
    for pair in &matrix.pairs {
        pairs.entry((&pair.src, &pair.dst)).or_default().push(pair);
    }
    if matrix.ports.is_empty() {
        let show = |pair: &Pair| pair.open.as_ref().map(ToString::to_string).unwrap_or_default();
        return one(matrix, &pairs, "FROM \\ TO", show);
    }
    let tables = matrix.ports.iter().map(|port| {
        let show = |pair: &Pair| pair.ports.get(port).copied().unwrap_or_default().to_owned();
        format!("{}\n{}\n", paint(Colour::Heading, port), one(matrix, &pairs, "FROM \\ TO", show))
    });
    tables.collect::<Vec<_>>().join("\n")
}

/// A row for each source, a column for each destination.
fn one(
    matrix: &Matrix,
    pairs: &HashMap<(&str, &str), Vec<&Pair>>,
    corner: &str,
    show: impl Fn(&Pair) -> String,
) -> String {
    let cell = |src: &str, dst: &str| {
        let found = pairs.get(&(src, dst)).map(Vec::as_slice).unwrap_or_default();
        let shown: Vec<String> = found.iter().map(|pair| show(pair)).collect();
        match &shown[..] {
            [] => "-".to_owned(),
            [only] => only.clone(),
            [first, rest @ ..] if rest.iter().all(|other| other == first) => first.clone(),
            _ => {
                let families = found.iter().zip(&shown);
                families
                    .map(|(pair, shown)| format!("IPv{}: {shown}", pair.family))
                    .collect::<Vec<_>>()
                    .join(" / ")
            }
        }
    };
    let header = std::iter::once(corner.to_owned()).chain(matrix.ends.iter().cloned());
    let rows = matrix.ends.iter().map(|src| {
        std::iter::once(src.clone()).chain(matrix.ends.iter().map(|dst| cell(src, dst))).collect()
    });
    grid(header.collect(), rows)
}
