//! What a trial cost and what it met: processor time, and the counters of everybody who may drop a packet.
//!
//! Processor time is that of the whole machine (`/proc/stat`, all but idle, waiting and stolen time), for a kernel
//! forwards in whosever context it happens to be: generators, receivers and interrupts are all in it. Beside it stand
//! parts: that of the device's own processes (weir's, Open vSwitch's, the trivial forwarder's; none where the kernel
//! forwards), that of the generators and receivers (this process), and that of soft interrupts. The parts overlap: unless
//! the kernel is built with `IRQ_TIME_ACCOUNTING`, a soft interrupt is also on the account of the process it happened to
//! interrupt. All tick in hundredths of a second.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Instant;

use dataplane::sys::process;

use super::subject::Subject;
use crate::lab::LabError;
use crate::lab::plan::Side;
use crate::lab::topology::UNDERLAY;
use crate::report::Figure;

/// Ticks of `/proc` in a second: what Linux shows to processes on every machine.
const TICKS: f64 = 100.0;

/// Processor time at one moment, in seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Processors {
    at: Instant,
    /// The machine was busy.
    busy: f64,
    /// Processes ran that forward.
    device: f64,
    /// This process ran: generators, receivers.
    generators: f64,
    /// Soft interrupts ran.
    softirq: f64,
    /// Whether there are processes that forward.
    has_device: bool,
}

/// What passed between two moments, in seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Passed {
    pub(super) seconds: f64,
    busy: f64,
    device: Option<f64>,
    generators: f64,
    softirq: f64,
}

impl Processors {
    pub(super) fn now(subject: &Subject) -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let device: Vec<u32> = Side::ALL.into_iter().flat_map(|side| subject.lab.forwarding(side)).collect();
        Self {
            at: Instant::now(),
            busy: columns(&stat, &BUSY) / TICKS,
            device: device.iter().map(|&pid| of_process(pid)).sum::<f64>() / TICKS,
            generators: of_process(std::process::id()) / TICKS,
            softirq: columns(&stat, &[SOFTIRQ]) / TICKS,
            has_device: !device.is_empty(),
        }
    }

    pub(super) fn until(self, later: Self) -> Passed {
        let device = (later.device - self.device).max(0.0);
        Passed {
            seconds: later.at.duration_since(self.at).as_secs_f64(),
            busy: (later.busy - self.busy).max(0.0),
            device: self.has_device.then_some(device),
            generators: (later.generators - self.generators).max(0.0),
            softirq: (later.softirq - self.softirq).max(0.0),
        }
    }
}

impl Passed {
    /// What one of `count` pieces of work cost; `what` names the piece, `unit` is `s/` and its unit.
    pub(super) fn figures(&self, what: &str, unit: &str, count: f64) -> Vec<(Figure, f64)> {
        let parts = [
            (format!("CPU per {what}"), Some(self.busy)),
            (format!("CPU per {what}, device"), self.device),
            (format!("CPU per {what}, generators"), Some(self.generators)),
            (format!("CPU per {what}, softirq"), Some(self.softirq)),
        ];
        let parts = parts.into_iter().filter_map(|(name, seconds)| {
            let seconds = seconds.filter(|_| count > 0.0)?;
            Some((Figure::less(&name, unit), seconds / count))
        });
        let busy = (Figure::less("busy processors", "core"), self.busy / self.seconds.max(1e-9));
        parts.chain([busy]).collect()
    }
}

/// Columns of the line of all processors: user, nice, system, irq and softirq are work.
const BUSY: [usize; 5] = [0, 1, 2, 5, SOFTIRQ];
const SOFTIRQ: usize = 6;

fn columns(stat: &str, wanted: &[usize]) -> f64 {
    let line = stat.lines().next().unwrap_or_default();
    let fields: Vec<f64> = line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    wanted.iter().filter_map(|&at| fields.get(at)).sum()
}

/// utime and stime, behind the name, which may hold anything.
fn of_process(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields = rest.split_whitespace().skip(11).take(2);
    fields.filter_map(|field| field.parse::<f64>().ok()).sum()
}

/// Counters of drops, by reason, in the order in which they are believed.
#[derive(Debug, Clone, Default)]
pub(super) struct Drops(BTreeMap<String, u64>);

impl Drops {
    /// All counters as they are.
    pub(super) fn now(subject: &Subject, far: bool) -> Result<Self, LabError> {
        let mut drops = BTreeMap::new();
        let client = subject.client()?.run(device)?;
        let target = subject.target(far)?.run(device)?;
        drops.insert("1 queue of the sending pod".to_owned(), client.tx);
        drops.insert("6 interface of the receiving pod".to_owned(), target.rx);
        for side in Side::ALL {
            let underlay = subject.lab.topology().node(side).netns().run(device)?;
            let dropped = underlay.rx.saturating_add(underlay.tx);
            drops.insert(format!("4 underlay of {}", side.name()), dropped);
            if subject.lab.weir(side).is_none() {
                continue;
            }
            let status = subject.lab.status(side)?;
            for (reason, count) in status.drops {
                drops.insert(format!("2 {} {reason}", side.name()), count);
            }
            for port in status.ports {
                drops.insert(format!("3 {} queue of {}", side.name(), port.name), port.rx_lost);
            }
        }
        for side in Side::ALL {
            let full = subject.lab.topology().node(side).netns().run(connections_refused)?;
            drops.insert(format!("5 connection table of {}'s kernel", side.name()), full);
        }
        drops.insert("5 backlog of a processor".to_owned(), backlog());
        Ok(Self(drops))
    }

    /// What was counted since `before`.
    pub(super) fn since(&self, before: &Self) -> Vec<(String, u64)> {
        let grown = self.0.iter().map(|(reason, count)| {
            let earlier = before.0.get(reason).copied().unwrap_or(0);
            // The first two characters are the order.
            (reason.get(2..).unwrap_or(reason).to_owned(), count.saturating_sub(earlier))
        });
        grown.filter(|(_, count)| *count > 0).collect()
    }
}

/// The offloads of the underlay's interface that decide about figures, as `ethtool` names them.
pub(super) fn offloads(subject: &Subject) -> String {
    let mut command = Command::new("ethtool");
    command.args(["-k", UNDERLAY]).stdin(Stdio::null()).stderr(Stdio::null());
    let node = subject.lab.topology().node(Side::A).netns();
    let output = process::run_in(&mut command, node).and_then(|()| command.output());
    let Ok(output) = output.map_err(|error| tracing::debug!(%error, "no ethtool")) else {
        return "the kernel's defaults; ethtool is not installed to list them".to_owned();
    };
    listed(&String::from_utf8_lossy(&output.stdout))
}

fn listed(text: &str) -> String {
    const TOLD: [&str; 7] = [
        "tx-checksumming",
        "tcp-segmentation-offload",
        "generic-segmentation-offload",
        "generic-receive-offload",
        "rx-gro-list",
        "tx-udp_tnl-segmentation",
        "tx-udp-segmentation",
    ];
    let told = text.lines().filter_map(|line| {
        let (name, state) = line.trim().split_once(": ")?;
        TOLD.contains(&name).then(|| format!("{name} {}", state.split(' ').next().unwrap_or_default()))
    });
    told.collect::<Vec<_>>().join(", ")
}

#[derive(Debug, Default)]
struct Device {
    rx: u64,
    tx: u64,
}

/// Drops of `eth0` in the thread's namespace; pods' and underlays' interfaces have that name alike.
fn device() -> Device {
    let table = fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
    device_in(&table, UNDERLAY)
}

/// `name: bytes packets errs drop … (8 of receive) bytes packets errs drop … (8 of transmit)`.
fn device_in(table: &str, name: &str) -> Device {
    let line = table.lines().find_map(|line| line.trim_start().strip_prefix(name)?.strip_prefix(':'));
    let fields: Vec<u64> =
        line.unwrap_or_default().split_whitespace().filter_map(|field| field.parse().ok()).collect();
    let at = |place: usize| fields.get(place).copied().unwrap_or(0);
    Device { rx: at(3), tx: at(11) }
}

/// Packets that the kernel's connection tracking dropped in the thread's namespace, most of all because its table was
/// full; 0 where it tracks nothing.
fn connections_refused() -> u64 {
    let table = fs::read_to_string("/proc/thread-self/net/stat/nf_conntrack").unwrap_or_default();
    connections_refused_in(&table)
}

/// A line of names, then one of hexadecimal counts for each processor.
fn connections_refused_in(table: &str) -> u64 {
    let mut lines = table.lines();
    let names = lines.next().unwrap_or_default();
    let Some(at) = names.split_whitespace().position(|name| name == "drop") else { return 0 };
    let counts = lines.filter_map(|line| u64::from_str_radix(line.split_whitespace().nth(at)?, 16).ok());
    counts.fold(0, u64::saturating_add)
}

/// Packets the processors dropped because their backlog was full, the machine over.
fn backlog() -> u64 {
    let table = fs::read_to_string("/proc/net/softnet_stat").unwrap_or_default();
    let dropped =
        table.lines().filter_map(|line| u64::from_str_radix(line.split_whitespace().nth(1)?, 16).ok());
    dropped.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables_are_read_as_they_are_written() {
        let stat = "cpu  100 20 30 4000 50 6 7 800 0 0\ncpu0 1 1 1\n";
        assert!((columns(stat, &BUSY) - 163.0).abs() < 1e-9);
        assert!((columns(stat, &[SOFTIRQ]) - 7.0).abs() < 1e-9);
        let table = "entries found drop early_drop\n0a 0 10 0\n0a 0 02 0\n";
        assert_eq!((connections_refused_in(table), connections_refused_in("")), (18, 0));
        let table =
            "Inter-|   Receive\n face |bytes\n  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n eth01: 0\n";
        let device = device_in(table, "eth0");
        assert_eq!((device.rx, device.tx), (4, 12));
        let features =
            "Features for eth0:\ntx-checksumming: on\n\ttx-checksum-ipv4: off [fixed]\nrx-gro-list: off\n";
        assert_eq!(listed(features), "tx-checksumming on, rx-gro-list off");
        assert!(of_process(std::process::id()) >= 0.0);
    }

    #[test]
    fn a_cost_has_its_parts_and_none_for_a_device_that_is_no_process() {
        let passed = Passed { seconds: 2.0, busy: 4.0, device: None, generators: 1.0, softirq: 0.5 };
        let figures = passed.figures("packet", "s/packet", 2.0);
        let named: Vec<(&str, f64)> =
            figures.iter().map(|(figure, value)| (figure.quantity.as_str(), *value)).collect();
        assert_eq!(
            named,
            [
                ("CPU per packet", 2.0),
                ("CPU per packet, generators", 0.5),
                ("CPU per packet, softirq", 0.25),
                ("busy processors", 2.0)
            ]
        );
        let nothing = Passed { device: Some(1.0), ..passed }.figures("packet", "s/packet", 0.0);
        assert_eq!(nothing.len(), 1, "nothing has no price");
    }
}
