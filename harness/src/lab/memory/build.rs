//! From pods and policies to a lab in memory that is up.

use dataplane::pipeline::Role;
use dataplane::ports::Capabilities;
use dataplane::ports::memory::{MemoryPort, pair};
use dataplane::time::Timestamp;
use policy_compiler::PodName;
use vxlan::mac::Mac;

use super::host::{Host, HostPlan};
use super::node::Node;
use super::router::{Router, outside_mac};
use super::wire::Wire;
use super::{MTU, MemoryLab};
use crate::lab::LabError;
use crate::lab::cluster_state::{ClusterState, POLICIES};
use crate::lab::plan::{Family, OUTSIDE, PodPlan, Side, default_pods};
use crate::lab::scenario::Place;

/// Frames on a wire, each way.
const WIRE: usize = 64;
/// Frames on the underlay, which several flows share.
const UNDERLAY: usize = 256;

impl MemoryLab {
    /// The pods and policies of the demonstration.
    ///
    /// # Errors
    /// The state is not valid, or cannot be written.
    pub fn demonstration() -> Result<Self, LabError> {
        let mut lab = Self::without_generation(&default_pods(), &POLICIES)?;
        lab.reload()?;
        Ok(lab)
    }

    /// A lab in which no node has compiled anything yet, so that nothing passes until [`Self::reload`].
    ///
    /// # Errors
    /// The state cannot be written.
    pub fn without_generation(pods: &[PodPlan], policies: &[(&str, &str)]) -> Result<Self, LabError> {
        let directory = tempfile::Builder::new().prefix("weir-memory-lab-").tempdir()?;
        let state = ClusterState::create(&directory.path().join("state"), pods, policies)?;
        let mut nodes = [Node::new(Side::A)?, Node::new(Side::B)?];
        let mut hosts = Vec::new();
        for pod in pods {
            let (near, far) = wire();
            let name = PodName { namespace: pod.namespace.clone(), name: pod.name.clone() };
            attach(&mut nodes, pod.side, Role::Pod(name), near);
            let plan = HostPlan {
                name: pod.full_name(),
                place: Place::Pod { name: pod.full_name(), side: pod.side },
                mac: Mac(pod.mac()),
                v4: pod.address(Family::V4),
                v6: pod.address(Family::V6),
                gateway: Some((pod.side.pod_v4(1), pod.side.pod_v6(1))),
            };
            add_host(&mut hosts, plan, far);
        }
        let gateway_macs = [&nodes[0], &nodes[1]].map(Node::gateway_mac);
        let outside = OUTSIDE.map(|plan| {
            let (near, far) = wire();
            let host = HostPlan {
                name: plan.name.to_owned(),
                place: Place::Outside,
                mac: outside_mac(plan.host),
                v4: plan.address(Family::V4),
                v6: plan.address(Family::V6),
                gateway: Some((Side::A.outside_v4(), Side::A.outside_v6())),
            };
            add_host(&mut hosts, host, far);
            Wire::new(near, MTU)
        });
        let own = Side::ALL.map(|side| {
            let (near, far) = wire();
            let host = HostPlan {
                name: side.name().to_owned(),
                place: Place::Node(side),
                mac: gateway_macs.get(side as usize).copied().unwrap_or(Mac::ZERO),
                v4: side.pod_v4(1).into(),
                v6: side.pod_v6(1).into(),
                gateway: None,
            };
            add_host(&mut hosts, host, far);
            Wire::new(near, MTU)
        });
        let taps = Side::ALL.map(|side| {
            let (near, far) = wire();
            attach(&mut nodes, side, Role::Node, near);
            Wire::new(far, MTU)
        });
        let (left, right) = pair(UNDERLAY, Capabilities::default());
        for (side, port) in Side::ALL.into_iter().zip([left, right]) {
            if let Some(node) = nodes.get_mut(side as usize) {
                node.attach(Role::UnderlayFrame, u16::MAX, port);
            }
        }
        Ok(Self {
            state,
            nodes,
            router: Router { taps, nodes: own, outside, gateway_macs },
            hosts,
            clients: Vec::new(),
            now: Timestamp::ZERO,
            next_tick: Timestamp::ZERO,
            met_until: Timestamp::ZERO,
            _directory: directory,
        })
    }
}

fn wire() -> (MemoryPort, MemoryPort) {
    pair(WIRE, Capabilities::default())
}

fn attach(nodes: &mut [Node; 2], side: Side, role: Role, port: MemoryPort) {
    if let Some(node) = nodes.get_mut(side as usize) {
        node.attach(role, MTU, port);
    }
}

fn add_host(hosts: &mut Vec<Host>, plan: HostPlan, port: MemoryPort) {
    let seed = hosts.len() as u64;
    hosts.push(Host::new(plan, Wire::new(port, MTU), seed));
}
