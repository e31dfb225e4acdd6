//! What a trial cost and what it met: processor time, and the counters of everybody who may drop a packet.
//!
//! Processor time is that of the whole machine (`/proc/stat`, all but idle, waiting and stolen time), for a kernel
//! forwards in whosever context it happens to be: generators, receivers and interrupts are all in it. That of weir's
//! own processes is stated beside it. Both tick in hundredths of a second.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Instant;

use dataplane::sys::process;

use super::subject::Subject;
use crate::lab::LabError;
use crate::lab::plan::Side;
use crate::lab::topology::UNDERLAY;

/// Ticks of `/proc` in a second: what Linux shows to processes on every machine.
const TICKS: f64 = 100.0;

/// Processor time at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Processors {
    at: Instant,
    /// Seconds the machine was busy.
    busy: f64,
    /// Seconds weir's processes ran.
    weir: f64,
}

/// What passed between two moments.
#[derive(Debug, Clone, Copy)]
pub(super) struct Passed {
    pub(super) seconds: f64,
    pub(super) busy: f64,
    pub(super) weir: f64,
}

impl Processors {
    pub(super) fn now(subject: &Subject) -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let weir = Side::ALL.into_iter().filter_map(|side| subject.lab.weir(side)?.pid());
        Self {
            at: Instant::now(),
            busy: busy(&stat) / TICKS,
            weir: weir.map(of_process).sum::<f64>() / TICKS,
        }
    }

    pub(super) fn until(self, later: Self) -> Passed {
        Passed {
            seconds: later.at.duration_since(self.at).as_secs_f64(),
            busy: (later.busy - self.busy).max(0.0),
            weir: (later.weir - self.weir).max(0.0),
        }
    }
}

/// user, nice, system, irq and softirq of the line of all processors.
fn busy(stat: &str) -> f64 {
    let line = stat.lines().next().unwrap_or_default();
    let fields: Vec<f64> = line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    [0, 1, 2, 5, 6].iter().filter_map(|&at| fields.get(at)).sum()
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
        assert!((busy(stat) - 163.0).abs() < 1e-9);
        let table =
            "Inter-|   Receive\n face |bytes\n  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n eth01: 0\n";
        let device = device_in(table, "eth0");
        assert_eq!((device.rx, device.tx), (4, 12));
        let features =
            "Features for eth0:\ntx-checksumming: on\n\ttx-checksum-ipv4: off [fixed]\nrx-gro-list: off\n";
        assert_eq!(listed(features), "tx-checksumming on, rx-gro-list off");
        assert!(of_process(std::process::id()) >= 0.0);
    }
}
