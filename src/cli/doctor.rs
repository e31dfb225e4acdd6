//! `weir doctor`: what this host offers, what weir makes of it, and what stands in the way.
//!
//! Exits 0 where weir can run, 1 where it cannot.

use std::fmt::Write as _;
use std::process::ExitCode;

use dataplane::doctor::{Report, Standing, examine, probe};

use super::Outcome;
use super::output::{Colour, Output, paint, table, visible};

/// Show what this host supports, what weir does by default here and why, and what stands in the way
///
/// Changes nothing: what has to be tried is tried in a network namespace of its own. Exits 1 if weir cannot run here.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  weir doctor\n  weir doctor -o json")]
pub(super) struct Args {
    /// The UDP port of VXLAN
    #[arg(long, value_name = "PORT", default_value_t = dataplane::ports::udp::FLANNEL_PORT)]
    port: u16,
    #[command(flatten)]
    output: Output,
}

pub(super) fn run(args: &Args) -> Outcome {
    let report = examine(&probe(args.port));
    args.output.print(&report, for_people)?;
    Ok(if report.can_run { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn for_people(report: &Report) -> String {
    let rows = report.findings.iter().map(|finding| {
        [
            finding.check.to_owned(),
            finding.standing.name().to_owned(),
            visible(&finding.found),
            finding.default.to_owned(),
        ]
    });
    let mut text = table(["CHECK", "STANDING", "FOUND", "BY DEFAULT"], rows);
    let mended = report.findings.iter().filter_map(|finding| Some((finding, finding.remedy.as_ref()?)));
    for (index, (finding, remedy)) in mended.enumerate() {
        if index == 0 {
            let _ = write!(text, "\n\n{}\n", paint(Colour::Heading, "Remedies"));
        }
        let colour = if finding.standing == Standing::Blocks { Colour::Bad } else { Colour::Doubtful };
        let _ = writeln!(text, "{}: {}", paint(colour, finding.check), visible(remedy));
    }
    let (colour, verdict) = if report.can_run {
        (Colour::Good, "weir can run here")
    } else {
        (Colour::Bad, "weir cannot run here")
    };
    let _ = writeln!(text, "\n{} (Linux {})", paint(colour, verdict), visible(&report.kernel));
    text
}

#[cfg(test)]
mod tests;
