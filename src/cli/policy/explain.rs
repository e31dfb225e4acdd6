//! `weir policy explain`: why one connection is allowed or denied, for people.

use std::fmt::Write;
use std::fs;
use std::net::IpAddr;
use std::process::ExitCode;

use policy_compiler::query::{Explanation, Place, Probe, SideDetail, Transport, fragment};

use super::state::State;
use crate::cli::Outcome;
use crate::cli::output::{Colour, Output, paint, visible};

/// Explain why a connection is allowed or denied: both directions, the deciding rule, and where it is written
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  weir policy explain shop/frontend shop/backend 8080/TCP --state configs/state
  weir policy explain 198.51.100.7 shop/backend ICMP --state configs/state")]
pub(super) struct Args {
    /// Who connects: namespace/name of a pod, or an address
    src: String,
    /// To whom: namespace/name of a pod, or an address
    dst: String,
    /// PORT/PROTOCOL like 8080/TCP, ICMP, ICMP:TYPE.CODE, or another protocol like GRE or PROTOCOL:47
    #[arg(value_name = "PORT/PROTO")]
    port: Transport,
    /// Address family; else the first that both ends have
    #[arg(long, value_name = "4|6", value_parser = ["4", "6"])]
    family: Option<String>,
    /// Source port, where a rule may ask for one
    #[arg(long, value_name = "PORT", default_value_t = 49152)]
    sport: u16,
    #[command(flatten)]
    state: State,
    #[command(flatten)]
    output: Output,
}

pub(super) fn run(args: &Args) -> Outcome {
    let judge = args.state.judge()?;
    let mut probe = Probe::new(&args.src, &args.dst, args.port);
    probe.family = args.family.as_deref().and_then(|family| family.parse().ok());
    if args.port.has_ports() {
        probe.src_port = args.sport;
    }
    let explanation = judge.explain(&probe)?;
    args.output.print(&explanation, for_people)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn for_people(explanation: &Explanation) -> String {
    // An address that is its own name is not said twice.
    let with_address = |name: &str, address: IpAddr| {
        let address = address.to_string();
        if name.contains(&address) { visible(name) } else { format!("{} ({address})", visible(name)) }
    };
    let Explanation { src, dst, port, src_ip, dst_ip, .. } = explanation;
    let mut text = format!(
        "{}: {} to {}, {port}\n",
        verdict(explanation.verdict),
        with_address(src, *src_ip),
        with_address(dst, *dst_ip)
    );
    for (direction, end, detail) in
        [("egress", src, &explanation.egress), ("ingress", dst, &explanation.ingress)]
    {
        side(&mut text, direction, end, detail);
    }
    text
}

fn verdict(verdict: &str) -> String {
    let colour = if verdict == "allow" { Colour::Good } else { Colour::Bad };
    paint(colour, verdict)
}

// Writing to a String cannot fail.
fn side(text: &mut String, direction: &str, end: &str, detail: &SideDetail) {
    let side = &detail.side;
    let _ = writeln!(text, "\n{direction} of {}: {}", visible(end), verdict(side.verdict));
    for (position, step) in detail.steps.iter().enumerate() {
        let when = if position == 0 { "first" } else { "then" };
        let policy = step.step.policy.as_ref().map(ToString::to_string).unwrap_or_default();
        let _ = match step.step.step {
            "logged" => writeln!(text, "  {when}, noted in the log by {}", visible(&policy)),
            "passed" => writeln!(text, "  {when}, passed on by {}", visible(&policy)),
            _ => writeln!(text, "  {when}, undecided"),
        };
        let _ = writeln!(text, "    {}", visible(&step.says));
        if let Some(place) = &step.step.place {
            written(text, "    ", place);
        }
    }
    match (&side.policy, &side.place) {
        (Some(policy), Some(place)) => {
            let tier = side.tier.as_deref().filter(|tier| *tier != "default");
            let tier = tier.map(|tier| format!(", tier {}", visible(tier))).unwrap_or_default();
            let _ = writeln!(text, "  by {}, {}{tier}", visible(&policy.to_string()), visible(&place.field));
        }
        _ if detail.isolated_by.is_empty() && detail.says.is_none() => {
            let _ = writeln!(text, "  {}", visible(&side.message));
        }
        _ => {}
    }
    if let Some(says) = &detail.says {
        let _ = writeln!(text, "  {}", visible(says));
    }
    for isolating in &detail.isolated_by {
        let place = isolating.policy.place.as_ref().map(|place| format!("  {place}")).unwrap_or_default();
        let _ = writeln!(text, "  - {}{}", visible(&isolating.policy.to_string()), visible(&place));
        if isolating.rules.is_empty() {
            let _ = writeln!(text, "      no {direction} rule: it allows nothing");
        }
        for rule in &isolating.rules {
            let _ = writeln!(text, "      {}", visible(rule));
        }
    }
    if let Some(place) = &side.place {
        written(text, "  ", place);
    }
}

/// The place and what stands there. Writing to a String cannot fail.
fn written(text: &mut String, indent: &str, place: &Place) {
    let _ = writeln!(text, "{indent}{}", visible(&place.to_string()));
    // A file that changed or went since it was read has no fragment to show; the answer stands.
    let shown = fs::read_to_string(&place.file).ok();
    let shown = shown.and_then(|shown| fragment(&shown, place.line, place.column));
    for line in shown.iter().flat_map(|shown| shown.lines()) {
        let _ = writeln!(text, "{indent}    {}", visible(line));
    }
}
