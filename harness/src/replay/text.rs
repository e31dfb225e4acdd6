//! A report for people.

#![allow(clippy::cast_precision_loss, reason = "figures for people")]

use std::fmt::{self, Display, Formatter};

use super::books::Count;
use super::report::{Against, Pacing, Percentiles, Report, Row};
use crate::report::whether;

/// Rules, ports and changes that are shown; the other forms have all of them.
const SHOWN: usize = 20;

/// Prints a report.
pub struct Text<'a>(pub &'a Report);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(report) = self;
        let capture = &report.capture;
        write!(f, "{} through node {} of {}", capture.file, report.node, report.state)?;
        writeln!(
            f,
            "{}",
            if capture.passes > 1 { format!(", {} times", capture.passes) } else { String::new() }
        )?;
        if let Some(fault) = &capture.fault {
            writeln!(f, "the capture ends early: {fault}")?;
        }
        if capture.interrupted {
            writeln!(f, "interrupted: what follows is what was processed until then")?;
        }
        writeln!(f)?;
        for row in &report.verdicts {
            line(f, row.name, &row.count, "")?;
        }
        balance(f, report)?;
        rows(f, "dropped", &report.drops)?;
        rows(f, "left out", &report.left_out)?;
        if !report.rules.is_empty() {
            writeln!(f, "\nby rule")?;
            for row in report.rules.iter().take(SHOWN) {
                line(f, &format!("{} {}", row.action, row.direction), &row.count, &row.rule)?;
            }
            rest(f, report.rules.len())?;
        }
        if !report.policies.is_empty() {
            writeln!(f, "\nby policy\n  {:>12} {:>12}", "allowed", "denied")?;
            for row in report.policies.iter().take(SHOWN) {
                writeln!(f, "  {:>12} {:>12}  {}", row.allowed.packets, row.denied.packets, row.policy)?;
            }
            rest(f, report.policies.len())?;
        }
        if !report.talkers.is_empty() {
            writeln!(f, "\ntop talkers ({} flows)", report.flows.known)?;
            for talker in &report.talkers {
                line(f, &talker.source, &talker.count, &format!("{} flows", talker.flows))?;
            }
            if report.flows.packets_beyond > 0 {
                writeln!(
                    f,
                    "  {} packets are of flows beyond the {} that are told apart",
                    report.flows.packets_beyond, report.flows.limit
                )?;
            }
        }
        speed(f, report)?;
        if let Some(expected) = &report.expected {
            writeln!(
                f,
                "\nrecorded verdicts: {} the same, {} different, {} not recorded, {} missing",
                expected.same, expected.different, expected.unrecorded, expected.missing
            )?;
            for difference in expected.first.iter().take(SHOWN) {
                writeln!(
                    f,
                    "  packet {}: expected {}, found {}",
                    difference.packet, difference.expected, difference.found
                )?;
            }
        }
        report.against.as_ref().map_or(Ok(()), |against| changes(f, against))
    }
}

fn balance(f: &mut Formatter<'_>, report: &Report) -> fmt::Result {
    let sum = &report.balance;
    writeln!(
        f,
        "read {} = left out {} + entered {}; entered = forwarded {} + answered {} + dropped {} + held {}: {}",
        sum.read,
        sum.left_out,
        sum.entered,
        sum.forwarded,
        sum.answered,
        sum.dropped,
        sum.held,
        whether(sum.adds_up)
    )
}

fn rows(f: &mut Formatter<'_>, title: &str, rows: &[Row]) -> fmt::Result {
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(f, "\n{title}")?;
    rows.iter().try_for_each(|row| line(f, row.name, &row.count, row.description))
}

fn line(f: &mut Formatter<'_>, name: &str, count: &Count, more: &str) -> fmt::Result {
    let text = format!("  {name:<22} {:>12} packets {:>10}  {more}", count.packets, bytes(count.bytes));
    writeln!(f, "{}", text.trim_end())
}

fn rest(f: &mut Formatter<'_>, all: usize) -> fmt::Result {
    if all > SHOWN { writeln!(f, "  and {} more (-o json has all)", all - SHOWN) } else { Ok(()) }
}

fn speed(f: &mut Formatter<'_>, report: &Report) -> fmt::Result {
    writeln!(f)?;
    pacing(f, &report.pacing)?;
    percentiles(f, "in the pipeline", &report.processing.latency_ns)?;
    writeln!(f, "  mean cost {:.0} ns a packet", report.processing.mean_ns_per_packet)?;
    report.peak_memory_bytes.map_or(Ok(()), |peak| writeln!(f, "  peak memory {}", bytes(peak)))
}

pub(super) fn pacing(f: &mut Formatter<'_>, pacing: &Pacing) -> fmt::Result {
    writeln!(f, "speed {}", pacing.speed)?;
    if let Some(set) = pacing.set_pps {
        write!(f, "  set {set:.0} packets/s, ")?;
    } else {
        write!(f, "  ")?;
    }
    writeln!(
        f,
        "reached {:.0} packets/s, {:.3} Gbit/s, in {:.3} s{}",
        pacing.reached_pps,
        pacing.reached_bps / 1e9,
        pacing.seconds,
        pacing.set_seconds.map_or(String::new(), |set| format!(" (set: {set:.3} s)"))
    )?;
    let Some(errors) = &pacing.error_ns else { return Ok(()) };
    percentiles(f, "pacing error", errors)?;
    // A millisecond is far beyond what waiting costs: somebody else had the processor.
    if errors.p99 < 1_000_000 {
        return Ok(());
    }
    let preempted = pacing.preempted.unwrap_or(0);
    writeln!(
        f,
        "  the scheduler took the processor away {preempted} times: on an idle one, or by `chrt -f 1`, time is kept"
    )
}

fn percentiles(f: &mut Formatter<'_>, name: &str, of: &Percentiles) -> fmt::Result {
    writeln!(
        f,
        "  {name:<16} p50 {} p90 {} p99 {} p99.9 {} max {}",
        nanos(of.p50),
        nanos(of.p90),
        nanos(of.p99),
        nanos(of.p999),
        nanos(of.max)
    )
}

fn changes(f: &mut Formatter<'_>, against: &Against) -> fmt::Result {
    if against.packets_changed == 0 {
        return writeln!(f, "\nagainst {}: no verdict changes", against.state);
    }
    writeln!(
        f,
        "\nagainst {}: the verdict changes for {} packets of {} flows",
        against.state, against.packets_changed, against.flows_changed
    )?;
    for change in against.changes.iter().take(SHOWN) {
        let flow = &change.flow;
        let port = flow.port.map_or(String::new(), |port| format!("{port}/"));
        writeln!(
            f,
            "  {} -> {} {port}{}: {} -> {}{} ({} packets)",
            change.source,
            change.destination,
            flow.protocol,
            flow.old_verdict.as_deref().unwrap_or("?"),
            flow.verdict,
            flow.reason.as_ref().map_or(String::new(), |reason| format!(" ({reason})")),
            change.packets_changed,
        )?;
        for rule in &change.old_rules {
            writeln!(f, "    old: {rule}")?;
        }
        for rule in &flow.rules {
            writeln!(f, "    new: {rule}")?;
        }
    }
    rest(f, against.changes.len())?;
    if against.packets_without_flow > 0 {
        writeln!(f, "  and {} packets that belong to no flow that is kept", against.packets_without_flow)?;
    }
    Ok(())
}

fn bytes(count: u64) -> String {
    let units = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    let unit = units.into_iter().find(|(size, _)| count >= *size);
    unit.map_or(format!("{count} B"), |(size, name)| format!("{:.1} {name}", count as f64 / size as f64))
}

fn nanos(count: u64) -> String {
    let units = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs")];
    let unit = units.into_iter().find(|(size, _)| count >= *size);
    unit.map_or(format!("{count} ns"), |(size, name)| format!("{:.1} {name}", count as f64 / size as f64))
}
