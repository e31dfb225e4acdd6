//! What a bench is asked to measure, and the two usual askings.

use std::path::PathBuf;
use std::time::Duration;

use dataplane::config::UnderlayKind;

use super::plan::Path;
use super::settings::Settings;
use super::workload::Workload;
use crate::lab::Attach;

/// What weir is measured beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Plain Linux, as flannel sets it up, also with rules.
    Kernel,
    /// Open vSwitch in user space.
    Ovs,
    /// A forwarder between two TAPs that does nothing else.
    Forwarder,
}

/// What to measure.
#[derive(Debug, Clone)]
pub struct Options {
    /// Kinds of traffic.
    pub workloads: Vec<Workload>,
    /// Whether loads without loss are searched for.
    pub ndr: bool,
    /// Between which pods.
    pub paths: Vec<Path>,
    /// How pods are attached to weir.
    pub attach: Vec<Attach>,
    /// What weir's underlay is; others than the first are measured across nodes, without rules.
    pub underlays: Vec<UnderlayKind>,
    /// Numbers of rules.
    pub rules: Vec<usize>,
    /// What is measured beside weir.
    pub against: Vec<Peer>,
    /// Whether the kernel's rules are also measured as sets, not only as chains.
    pub sets: bool,
    /// Whether weir is measured with a kernel at the other node.
    pub mixed: bool,
    /// Whether IPv6 is measured too.
    pub ipv6: bool,
    /// Silent pods on each node of one more weir; none for no such weir.
    pub idle_pods: u8,
    /// How often each subject has its turn.
    pub rounds: usize,
    /// How many turns more it has with packet rates and round trips, whose ratios should repeat from run to run.
    pub further_rounds: usize,
    /// How long a trial counts.
    pub window: Duration,
    /// How long traffic flows before it is counted.
    pub ramp: Duration,
    /// How the labs are set up.
    pub setup: Setup,
}

/// How the labs are set up.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// The `weir` program; none for the running one.
    pub binary: Option<PathBuf>,
    /// Another build of it that is to be measured; none for the same.
    pub measured: Option<PathBuf>,
    /// Congestion control of the TCP streams; none for the system's.
    pub congestion: Option<String>,
    /// Further keys of weir's configuration.
    pub settings: Settings,
}

impl Options {
    /// Everything there is to measure.
    pub fn full() -> Self {
        Self {
            workloads: vec![
                Workload::Tcp1,
                Workload::Tcp4,
                Workload::Udp,
                Workload::UdpFlows,
                Workload::RoundTrip,
                Workload::Connections,
            ],
            ndr: false,
            paths: vec![Path::OneNode, Path::AcrossNodes],
            attach: vec![Attach::Tap, Attach::Veth],
            underlays: vec![UnderlayKind::Udp],
            rules: vec![0, 100, 1_000, 10_000],
            against: vec![Peer::Kernel],
            sets: true,
            mixed: true,
            ipv6: true,
            idle_pods: 0,
            rounds: 5,
            further_rounds: 0,
            window: Duration::from_secs(2),
            ramp: Duration::from_millis(300),
            setup: Setup::default(),
        }
    }

    /// What says most in under three minutes.
    pub fn quick() -> Self {
        Self {
            workloads: vec![Workload::Tcp1, Workload::Tcp4, Workload::Udp, Workload::RoundTrip],
            attach: vec![Attach::Tap],
            rules: vec![0, 1_000],
            sets: false,
            mixed: false,
            ipv6: false,
            rounds: 3,
            further_rounds: 2,
            window: Duration::from_secs(1),
            ramp: Duration::from_millis(200),
            ..Self::full()
        }
    }
}

impl Options {
    /// How often a subject has its turn with a kind of traffic.
    pub(super) fn rounds_of(&self, workload: Workload) -> usize {
        let further = matches!(workload, Workload::Udp | Workload::UdpFlows | Workload::RoundTrip);
        self.rounds.saturating_add(if further { self.further_rounds } else { 0 })
    }
}
