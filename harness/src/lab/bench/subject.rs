//! What is measured: a lab each, with weir or the kernel on its nodes and so many rules in force.
//!
//! All subjects are up at once and take turns, so that every figure is taken beside those it is compared with. Idle,
//! they cost next to nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::Setup;
use super::rules::{self, Tool};
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
    /// So many entries of one set.
    Set(usize),
}

/// What is to be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// What the nodes run.
    pub nodes: [NodeKind; 2],
    /// How pods are attached to weir.
    pub attach: Attach,
    /// Rules in force.
    pub rules: Rules,
}

impl Kind {
    /// weir on both nodes.
    pub const fn weir(attach: Attach, policies: usize) -> Self {
        let rules = if policies == 0 { Rules::None } else { Rules::Policies(policies) };
        Self { nodes: [NodeKind::Weir; 2], attach, rules }
    }

    /// weir on the node that sends, the kernel on the other one.
    pub const fn mixed() -> Self {
        Self { nodes: [NodeKind::Weir, NodeKind::Kernel], attach: Attach::Tap, rules: Rules::None }
    }

    /// The kernel on both nodes.
    pub const fn kernel(rules: Rules) -> Self {
        Self { nodes: [NodeKind::Kernel; 2], attach: Attach::Veth, rules }
    }

    /// What it is called in reports.
    pub fn name(&self) -> String {
        let base = match (self.nodes, self.attach) {
            ([NodeKind::Kernel, NodeKind::Kernel], _) => "kernel",
            ([NodeKind::Weir, NodeKind::Weir], Attach::Tap) => "weir tap",
            ([NodeKind::Weir, NodeKind::Weir], Attach::Veth) => "weir veth",
            _ => "weir to kernel",
        };
        match self.rules {
            Rules::None => base.to_owned(),
            Rules::Policies(count) => format!("{base}, {count} policies"),
            Rules::Chain(count) => format!("{base}, {count} rules in a chain"),
            Rules::Set(count) => format!("{base}, {count} rules in a set"),
        }
    }

    /// Whether pods of one node can be measured: the rules of a plain kernel stand where it routes, and within a
    /// node it switches.
    pub fn serves_one_node(&self) -> bool {
        !matches!(self.rules, Rules::Chain(_) | Rules::Set(_)) && *self != Self::mixed()
    }

    /// Whether IPv6 can be measured: kernels' rules are written for IPv4.
    pub fn serves_ipv6(&self) -> bool {
        self.rules == Rules::None
    }
}

/// A lab that is up, ready to be measured.
#[derive(Debug)]
pub struct Subject {
    /// What it is.
    pub kind: Kind,
    /// The lab.
    pub lab: Lab,
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
        tool: Tool,
        interrupt: &Arc<AtomicBool>,
    ) -> Result<Self, LabError> {
        let target = ("app", "target");
        let pods = vec![
            PodPlan::new(Side::A, 10, "bench", "client", ("app", "client")),
            PodPlan::new(Side::A, 11, "bench", "near", target),
            PodPlan::new(Side::B, 10, "bench", "far", target),
        ];
        let policies = match kind.rules {
            Rules::Policies(count) => rules::policies(count),
            _ => Vec::new(),
        };
        let policies: Vec<(&str, &str)> = policies.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
        let mut builder = Lab::builder()
            .nodes(kind.nodes)
            .attach(kind.attach)
            .pods(pods)
            .policies(&policies)
            .extra_config(&setup.extra_config)
            .interrupt(Arc::clone(interrupt));
        if let Some(binary) = &setup.binary {
            builder = builder.binary(binary);
        }
        let lab = builder.build()?;
        let node = lab.topology().node(Side::B).netns();
        rules::enforce(node, kind.rules, tool)?;
        let subject = Self { kind, lab };
        for far in [false, true] {
            for family in Family::ALL {
                if (far || kind.serves_one_node()) && (family == Family::V4 || kind.serves_ipv6()) {
                    subject.check(far, family)?;
                }
            }
        }
        Ok(subject)
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
        assert!(!Kind::kernel(Rules::Set(1)).serves_one_node());
    }
}
