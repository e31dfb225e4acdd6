//! What a demonstration found, as a table for people and as JSON for scripts.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use dataplane::control::{Denial, PacketCounts};
use serde::Serialize;

use super::matrix::{Cell, Matrix};
use super::plan::Family;
use super::scenario::Service;
use crate::traffic::latency::Latency;

/// The outcome of a demonstration.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What runs on node A and node B: `weir` or `kernel`.
    pub nodes: [&'static str; 2],
    /// Whether everything came as expected.
    pub ok: bool,
    /// Who reached whom.
    pub matrix: Matrix,
    /// A TCP connection between two pods across the nodes.
    pub throughput: Option<Throughput>,
    /// UDP round trips between two pods across the nodes; absent in memory, where time is simulated.
    pub latency: Option<Latency>,
    /// What the nodes that run weir counted, by node.
    pub counted: BTreeMap<&'static str, Counted>,
    /// How to enter what was kept; empty where nothing was.
    pub kept: Vec<String>,
}

/// A throughput figure.
#[derive(Debug, Clone, Serialize)]
pub struct Throughput {
    /// Who sent.
    pub src: String,
    /// Who received.
    pub dst: String,
    /// Payload that arrived, in bits a second.
    pub bits_per_second: f64,
    /// How long it was measured.
    pub seconds: f64,
    /// Whether hosts and wires were simulated: then this is the speed of a simulation, not of a network.
    pub simulated: bool,
}

/// What one weir counted.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Counted {
    /// Packets by what became of them.
    pub packets: PacketCounts,
    /// Dropped packets by reason.
    pub drops: BTreeMap<String, u64>,
    /// What policies denied.
    pub denials: Vec<Denial>,
}

/// A report as text.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    /// What to show.
    pub report: &'a Report,
    /// Whether to use colours.
    pub color: bool,
}

const GREEN: &str = "32";
const RED: &str = "1;31";
const FAINT: &str = "2";

/// Denials listed for a node.
const DENIALS_SHOWN: usize = 12;

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.report;
        let [a, b] = report.nodes;
        writeln!(f, "node-a runs {a}, node-b runs {b}\n")?;
        self.legend(f)?;
        for family in Family::ALL {
            self.family(f, family)?;
        }
        self.mismatches(f)?;
        if let Some(measured) = &report.throughput {
            let gigabits = measured.bits_per_second / 1e9;
            let note = if measured.simulated { " (simulated hosts and wires, one core)" } else { "" };
            writeln!(
                f,
                "TCP {} -> {}: {gigabits:.2} Gbit/s over {:.1} s{note}",
                measured.src, measured.dst, measured.seconds
            )?;
        }
        if let Some(measured) = &report.latency {
            writeln!(
                f,
                "UDP round trip shop/frontend -> kube-system/dns: p50 {:.0} us, p99 {:.0} us, p99.9 {:.0} us ({} answered, {} lost)",
                measured.p50_us, measured.p99_us, measured.p999_us, measured.answered, measured.lost
            )?;
        }
        for (node, counted) in &report.counted {
            counts(f, node, counted)?;
        }
        for line in &report.kept {
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}

impl Text<'_> {
    fn paint(&self, text: &str, color: &str) -> String {
        if self.color { format!("\x1b[{color}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn legend(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let services = Service::ALL.map(|service| format!("{} {service}", letter(service))).join(", ");
        writeln!(f, "rows reach columns by: {services}; · closed, as the policies want")?;
        writeln!(f, "{} not as expected\n", self.paint("!", RED))
    }

    fn family(&self, f: &mut fmt::Formatter<'_>, family: Family) -> fmt::Result {
        let matrix = &self.report.matrix;
        let width = matrix.ends.iter().map(String::len).max().unwrap_or(0).saturating_add(4);
        let title = if family == Family::V4 { "IPv4" } else { "IPv6" };
        let mut header = format!("{title:width$}");
        for number in 1..=matrix.ends.len() {
            let _ = write!(header, " {number:>4}");
        }
        writeln!(f, "{header}")?;
        for (src, name) in matrix.ends.iter().enumerate() {
            let mut line =
                format!("{:>2}  {name:<rest$}", src.saturating_add(1), rest = width.saturating_sub(4));
            for dst in 0..matrix.ends.len() {
                line.push(' ');
                let cells = matrix.pair(src, dst, family);
                if cells.is_empty() {
                    line.push_str("    ");
                }
                for cell in cells {
                    line.push_str(&self.cell(cell));
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        writeln!(f)
    }

    fn cell(&self, cell: &Cell) -> String {
        match (cell.is_as_expected(), cell.expected) {
            (true, true) => self.paint(letter(cell.service), GREEN),
            (true, false) => self.paint("·", FAINT),
            (false, _) => self.paint("!", RED),
        }
    }

    fn mismatches(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let matrix = &self.report.matrix;
        let (all, wrong) = (matrix.cells.len(), matrix.mismatches().count());
        if wrong == 0 {
            return writeln!(f, "{}\n", self.paint(&format!("all {all} probes came as expected"), GREEN));
        }
        writeln!(f, "{}", self.paint(&format!("{wrong} of {all} probes did not come as expected:"), RED))?;
        for cell in matrix.mismatches() {
            writeln!(f, "  {}", matrix.describe(cell))?;
        }
        writeln!(f)
    }
}

fn counts(f: &mut fmt::Formatter<'_>, node: &str, counted: &Counted) -> fmt::Result {
    let packets = counted.packets;
    writeln!(
        f,
        "\n{node}: {} packets received, {} forwarded, {} answered, {} dropped",
        packets.received, packets.forwarded, packets.answered, packets.dropped
    )?;
    for (reason, count) in &counted.drops {
        writeln!(f, "  {count:>8} {reason}")?;
    }
    if !counted.denials.is_empty() {
        writeln!(f, "  denied by policy:")?;
    }
    for denial in counted.denials.iter().take(DENIALS_SHOWN) {
        writeln!(
            f,
            "  {:>8} {} {} -> {}: {}",
            denial.packets, denial.direction, denial.src, denial.dst, denial.rule
        )?;
    }
    let rest = counted.denials.len().saturating_sub(DENIALS_SHOWN);
    if rest > 0 { writeln!(f, "           and {rest} more pairs") } else { Ok(()) }
}

fn letter(service: Service) -> &'static str {
    match service {
        Service::Tcp(8080) => "8",
        Service::Tcp(9090) => "9",
        Service::Tcp(_) => "T",
        Service::Udp(_) => "d",
        Service::Ping => "p",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::Reach;

    fn report() -> Report {
        let cell = |src, dst, service, expected, observed| Cell {
            src,
            dst,
            family: Family::V4,
            service,
            expected,
            denied_by: (!expected).then(|| "ingress of shop/b: default deny".to_owned()),
            observed,
        };
        let matrix = Matrix {
            ends: vec!["shop/a".to_owned(), "shop/b".to_owned()],
            cells: vec![
                cell(0, 1, Service::Tcp(8080), true, Reach::Open),
                cell(0, 1, Service::Ping, false, Reach::Silent),
                cell(1, 0, Service::Tcp(8080), false, Reach::Open),
            ],
        };
        let denial = Denial { direction: "ingress".to_owned(), packets: 3, ..Denial::default() };
        let counted = Counted { denials: vec![denial], ..Counted::default() };
        Report {
            nodes: ["weir", "kernel"],
            ok: false,
            matrix,
            throughput: None,
            latency: None,
            counted: BTreeMap::from([("node-a", counted)]),
            kept: Vec::new(),
        }
    }

    #[test]
    fn a_mismatch_stands_out_without_colour_too() {
        let text = Text { report: &report(), color: false }.to_string();
        assert!(text.contains("1 of 3 probes did not come as expected"), "{text}");
        assert!(text.contains("shop/b -> shop/a, TCP 8080 over IPv4: expected closed"), "{text}");
        assert!(!text.contains('\x1b'), "{text}");
        assert!(Text { report: &report(), color: true }.to_string().contains("\x1b[1;31m!"));
    }

    #[test]
    fn json_names_what_was_asked_and_found() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!(json["matrix"]["cells"][2]["service"], "TCP 8080");
        assert_eq!(json["matrix"]["cells"][2]["observed"], "open");
        assert_eq!(json["matrix"]["cells"][2]["family"], "ipv4");
        assert_eq!(json["ok"], false);
    }
}
