//! What is measured: a lab each, with weir or the kernel on its nodes and so many rules in force.
//!
//! All subjects are up at once and take turns, so that every figure is taken beside those it is compared with. Idle,
//! they cost next to nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use dataplane::config::UnderlayKind;
use dataplane::sys::process::{self, Signal};

use super::Setup;
use super::idle::{self, Idle};
use super::rules::{self, Tools};
use crate::lab::plan::{Family, PodPlan, Side};
use crate::lab::{Attach, End, Lab, LabError, NodeKind};
use crate::traffic::{Reach, udp};

/// How long the first packet may take in a fresh lab.
const FIRST: Duration = Duration::from_secs(5);

/// Which rules hold at the pod that receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// None: everything may talk.
    None,
    /// So many network policies, each of which selects the pod; the last one allows the traffic.
    Policies(usize),
    /// So many rules one after the other, the one that accepts the traffic last.
    Chain(usize),
    /// So many entries of one set of `ipset`.
    Ipset(usize),
    /// So many entries of one set of `nft`.
    NftSet(usize),
}

impl Rules {
    /// How many there are.
    pub const fn count(self) -> usize {
        match self {
            Self::None => 0,
            Self::Policies(count) | Self::Chain(count) | Self::Ipset(count) | Self::NftSet(count) => count,
        }
    }
}

/// What is to be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// What the nodes run.
    pub nodes: [NodeKind; 2],
    /// How pods are attached to weir.
    pub attach: Attach,
    /// How weir sends and receives on the underlay.
    pub underlay: UnderlayKind,
    /// Rules in force.
    pub rules: Rules,
    /// Pods on each node beside the measured ones, attached and silent.
    pub idle: u8,
}

impl Kind {
    /// weir on both nodes.
    pub const fn weir(attach: Attach, policies: usize) -> Self {
        let rules = if policies == 0 { Rules::None } else { Rules::Policies(policies) };
        Self { attach, rules, ..Self::of([NodeKind::Weir; 2]) }
    }

    /// The same on another underlay.
    #[must_use]
    pub const fn over(self, underlay: UnderlayKind) -> Self {
        Self { underlay, ..self }
    }

    /// The same among so many idle pods on each node.
    #[must_use]
    pub const fn among(self, idle: u8) -> Self {
        Self { idle, ..self }
    }

    /// weir on the node that sends, the kernel on the other one.
    pub const fn mixed() -> Self {
        Self { attach: Attach::Tap, ..Self::of([NodeKind::Weir, NodeKind::Kernel]) }
    }

    /// The kernel on both nodes.
    pub const fn kernel(rules: Rules) -> Self {
        Self { rules, ..Self::of([NodeKind::Kernel; 2]) }
    }

    /// Open vSwitch in user space on both nodes.
    pub const fn ovs() -> Self {
        Self::of([NodeKind::Ovs; 2])
    }

    /// A trivial forwarder between two pods of one node; the other node has no part.
    pub const fn forwarder() -> Self {
        Self { attach: Attach::Tap, ..Self::of([NodeKind::Forwarder, NodeKind::Kernel]) }
    }

    const fn of(nodes: [NodeKind; 2]) -> Self {
        Self { nodes, attach: Attach::Veth, underlay: UnderlayKind::Udp, rules: Rules::None, idle: 0 }
    }

    /// What it is called in reports.
    pub fn name(&self) -> String {
        let base = match (self.nodes, self.attach) {
            ([NodeKind::Weir, NodeKind::Weir], Attach::Tap) => "weir tap",
            ([NodeKind::Weir, NodeKind::Weir], Attach::Veth) => "weir veth",
            ([NodeKind::Weir, _], _) => "weir to kernel",
            ([other, _], _) => other.name(),
        };
        let base = match self.underlay {
            UnderlayKind::Udp => base.to_owned(),
            other => format!("{base}, {} underlay", other.name()),
        };
        match self.rules {
            Rules::None if self.idle > 0 => format!("{base}, {} idle pods", self.idle),
            Rules::None => base,
            Rules::Policies(count) => format!("{base}, {count} policies"),
            Rules::Chain(count) => format!("{base}, {count} rules in a chain"),
            Rules::Ipset(count) => format!("{base}, {count} rules in an ipset"),
            Rules::NftSet(count) => format!("{base}, {count} rules in an nft set"),
        }
    }

    /// Whether pods of one node can be measured: the rules of a plain kernel stand where it routes, and within a
    /// node it switches.
    pub fn serves_one_node(&self) -> bool {
        let is_mixed = self.nodes == Self::mixed().nodes;
        matches!(self.rules, Rules::None | Rules::Policies(_)) && !is_mixed
    }

    /// Whether pods of two nodes can be measured.
    pub fn serves_across_nodes(&self) -> bool {
        self.nodes != Self::forwarder().nodes
    }

    /// Whether IPv6 can be measured: kernels' rules are written for IPv4, and what stands beside weir and the kernel is
    /// measured once.
    pub fn serves_ipv6(&self) -> bool {
        let alone = self.nodes.iter().all(|node| matches!(node, NodeKind::Weir | NodeKind::Kernel));
        alone && self.rules == Rules::None && self.idle == 0
    }
}

impl Drop for Subject {
    /// One that is stopped would not hear that it is to end.
    fn drop(&mut self) {
        self.wake(|_| true);
    }
}

/// A lab that is up, ready to be measured.
#[derive(Debug)]
pub struct Subject {
    /// What it is.
    pub kind: Kind,
    /// Its idle pods.
    idle: Idle,
    /// The lab.
    pub lab: Lab,
    /// Number of the next flow that has not been seen here.
    pub(super) fresh: AtomicU64,
}

/// The pod that sends.
const CLIENT: &str = "bench/client";
/// The pod that receives on the same node.
const NEAR: &str = "bench/near";
/// The pod that receives on the other node.
const FAR: &str = "bench/far";

impl Subject {
    /// Builds the lab, puts the rules in force and makes sure that packets pass.
    ///
    /// # Errors
    /// The lab cannot be built, a tool for the rules is missing, or nothing passes.
    pub fn build(
        kind: Kind,
        setup: &Setup,
        tools: Tools,
        interrupt: &Arc<AtomicBool>,
    ) -> Result<Self, LabError> {
        let target = ("app", "target");
        let pods = vec![
            PodPlan::new(Side::A, 10, "bench", "client", ("app", "client")),
            PodPlan::new(Side::A, 11, "bench", "near", target),
            PodPlan::new(Side::B, 10, "bench", "far", target),
        ];
        let settings = setup.settings.to_string();
        let policies = match kind.rules {
            Rules::Policies(count) => rules::policies(count),
            _ => Vec::new(),
        };
        let policies: Vec<(&str, &str)> = policies.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
        let mut builder = Lab::builder()
            .nodes(kind.nodes)
            .attach(kind.attach)
            .underlay(kind.underlay)
            .pods(pods)
            .policies(&policies)
            .extra_config(&settings)
            .scheduling(setup.settings.scheduling())
            .interrupt(Arc::clone(interrupt));
        let other = setup.measured.as_ref().filter(|_| kind.nodes.contains(&NodeKind::Weir));
        if let Some(binary) = other.or(setup.binary.as_ref()) {
            builder = builder.binary(binary);
        }
        let lab = builder.build()?;
        let node = lab.topology().node(Side::B).netns();
        rules::enforce(node, kind.rules, tools)?;
        let idle = Idle::attach(kind, &lab)?;
        let subject = Self { kind, idle, lab, fresh: AtomicU64::new(0) };
        for far in [false, true] {
            let serves = if far { kind.serves_across_nodes() } else { kind.serves_one_node() };
            for family in Family::ALL {
                if serves && (family == Family::V4 || kind.serves_ipv6()) {
                    subject.check(far, family)?;
                }
            }
        }
        Ok(subject)
    }

    /// Lets the forwarding processes of the chosen nodes go on, and stops those of others.
    pub(super) fn wake(&self, chosen: impl Fn(Side) -> bool) {
        for side in Side::ALL {
            let signal = if chosen(side) { Signal::Continue } else { Signal::Stop };
            for pid in self.lab.forwarding(side) {
                // One that has ended by itself shows in its trial.
                let _ = process::signal(pid, signal);
            }
        }
    }

    /// What its forwarding processes have in memory on the node that sends; none where the kernel forwards.
    pub(super) fn resident(&self) -> Option<u64> {
        Some(idle::resident(&self.lab, Side::A)).filter(|bytes| *bytes > 0)
    }

    /// By how much an idle pod made them grow.
    pub(super) fn bytes_per_idle_pod(&self) -> Option<f64> {
        self.idle.bytes_per_pod
    }

    /// The pod that sends.
    pub fn client(&self) -> Result<&End, LabError> {
        self.lab.pod(CLIENT)
    }

    /// The pod that receives.
    pub fn target(&self, far: bool) -> Result<&End, LabError> {
        self.lab.pod(if far { FAR } else { NEAR })
    }

    /// An echo, which also resolves neighbours on the way.
    fn check(&self, far: bool, family: Family) -> Result<(), LabError> {
        let (client, target) = (self.client()?, self.target(far)?);
        let at = SocketAddr::new(target.address(family), 53);
        match udp::probe(&client.netns, at, FIRST)? {
            Reach::Open => Ok(()),
            other => {
                let name = self.kind.name();
                Err(LabError::State(vec![format!("{name}: nothing passes from {CLIENT} to {at}: {other:?}")]))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_runs_and_what_holds() {
        assert_eq!(Kind::weir(Attach::Tap, 0).name(), "weir tap");
        assert_eq!(Kind::weir(Attach::Veth, 1000).name(), "weir veth, 1000 policies");
        assert_eq!(Kind::kernel(Rules::Chain(100)).name(), "kernel, 100 rules in a chain");
        assert_eq!(Kind::mixed().name(), "weir to kernel");
        assert_eq!(Kind::kernel(Rules::NftSet(5)).name(), "kernel, 5 rules in an nft set");
        assert_eq!(Kind::ovs().name(), "ovs");
        assert_eq!(Kind::forwarder().name(), "forwarder");
        assert_eq!(Kind::weir(Attach::Tap, 0).among(108).name(), "weir tap, 108 idle pods");
        let raw = Kind::weir(Attach::Tap, 9).over(UnderlayKind::AfXdp);
        assert_eq!(raw.name(), "weir tap, af_xdp underlay, 9 policies");
        assert!(!Kind::mixed().over(UnderlayKind::AfPacket).serves_one_node());
        assert!(!Kind::kernel(Rules::Ipset(1)).serves_one_node());
        assert!(!Kind::forwarder().serves_across_nodes());
    }
}
