//! The nodes of the shared cluster, each with the packet path that `weir run` has, and one underlay between them.
//!
//! ```text
//!  pods ─┐                          ┌─ pods
//!        ├ pipeline a ── underlay ── pipeline b ┤
//!  node ─┘   (frames out of one go into the other) └─ node
//! ```
//! A packet starts at its pod's port; one from outside, or from a node's own address, at the node port of the node
//! it comes in by. Every packet meets fresh connection tables.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use dataplane::buffer::{Batch, Pool};
use dataplane::conntrack::ConntrackConfig;
use dataplane::drop_reason::DropReason;
use dataplane::fragments::FragConfig;
use dataplane::pipeline::{Binding, Outputs, Pipeline, PortId, Role, Settings};
use dataplane::ports::Capabilities;
use dataplane::tables::{EndpointIds, Generation, OwnNode, Underlay};
use dataplane::telemetry::{DenialLog, PacketCounters};
use dataplane::time::Timestamp;
use policy_compiler::{Compiler, NodeView, Scope};
use vxlan::encap::OuterChecksum;
use vxlan::mac::Mac;
use vxlan::vni::Vni;
use vxlan::vtep::Vtep;

const MTU: u16 = 1450;

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It came out at its destination.
    Arrived,
    /// Policy dropped it.
    Denied,
    /// Something else did.
    NoWay(DropReason),
}

/// A node, apart from what packets change.
struct Node {
    number: u8,
    view: NodeView,
    generation: Arc<Generation>,
}

pub(crate) struct Nodes(Vec<Node>);

impl Nodes {
    pub(crate) fn new(compiler: &Compiler) -> Self {
        let views = compiler.cluster(&Scope::All).nodes;
        let numbered: Vec<(u8, NodeView)> =
            (1..).zip(&views).map(|(number, view)| (number, view.clone())).collect();
        let nodes = numbered.iter().map(|(number, view)| {
            let compiled = match compiler.compile(&Scope::Node(view.name.clone())) {
                Ok(compiled) => compiled,
                Err(problems) => panic!("{problems:?}"),
            };
            let others = numbered.iter().filter(|(other, _)| other != number);
            let vteps = others.map(|(other, view)| vtep(*other, view)).collect();
            let own = own_node(*number, view);
            let generation = Generation::new(1, &compiled, own, vteps, &mut EndpointIds::default());
            Node {
                number: *number,
                view: view.clone(),
                generation: Arc::new(generation.expect("the nodes differ")),
            }
        });
        Self(nodes.collect())
    }

    /// Whether anything is at the address that a packet could arrive at.
    pub(crate) fn has_way(&self, dst: IpAddr) -> bool {
        let pod = self.0.iter().any(|node| node.pod_at(dst).is_some());
        let subnet = self.0.iter().any(|node| node.has_subnet_of(dst));
        pod || !subnet || self.0.iter().any(|node| node.generation.own.addresses.contains(&dst))
    }

    /// Sends an IP packet on its way.
    pub(crate) fn send(&self, src: IpAddr, dst: IpAddr, packet: &[u8]) -> Arrival {
        let home = |address| self.0.iter().find(|node| node.has_subnet_of(address));
        // From outside: in by the node that has the destination.
        let first = home(src).or_else(|| home(dst)).or(self.0.first()).expect("there are nodes");
        let mut ports = Ports::new(first);
        let (into, src_mac, dst_mac) = match first.pod_at(src) {
            Some(pod) => (pod, pod_mac(pod), gateway_mac(first.number)),
            None => (NODE, gateway_mac(first.number), vtep_mac(first.number)),
        };
        let frame = [&dst_mac.0[..], &src_mac.0, &ethertype(src), packet].concat();
        match ports.pass(into, &frame) {
            Err(reason) => denied(reason),
            Ok((UNDERLAY, frame)) => {
                let second = self.0.iter().find(|node| node.number != first.number);
                let second = second.expect("somebody else is on the underlay");
                match Ports::new(second).pass(UNDERLAY, &frame) {
                    Err(reason) => denied(reason),
                    Ok((out, _)) => second.expects(dst, out),
                }
            }
            Ok((out, _)) => first.expects(dst, out),
        }
    }
}

fn denied(reason: DropReason) -> Arrival {
    if reason == DropReason::PolicyDeny { Arrival::Denied } else { Arrival::NoWay(reason) }
}

/// Ports are named by number here: pods by their place in the generation, then these.
const NODE: usize = usize::MAX;
const UNDERLAY: usize = usize::MAX - 1;

impl Node {
    fn pod_at(&self, address: IpAddr) -> Option<usize> {
        self.generation.endpoints.iter().position(|endpoint| endpoint.addresses.contains(&address))
    }

    fn has_subnet_of(&self, address: IpAddr) -> bool {
        self.view.pod_cidrs.iter().any(|cidr| cidr.contains(&address))
    }

    /// What it means that a packet came out there.
    fn expects(&self, dst: IpAddr, out: usize) -> Arrival {
        assert_eq!(out, self.pod_at(dst).unwrap_or(NODE), "a packet to {dst} came out at the wrong port");
        Arrival::Arrived
    }
}

/// A node's packet path with its ports.
struct Ports {
    pipeline: Pipeline,
    counters: Arc<PacketCounters>,
    ids: BTreeMap<usize, PortId>,
}

impl Ports {
    fn new(node: &Node) -> Self {
        let settings = Settings {
            vni: Vni::FLANNEL,
            vxlan_port: 8472,
            strict_reserved: false,
            outer_checksum: OuterChecksum::Compute,
            conntrack: ConntrackConfig::with_max_entries(16),
            fragments: FragConfig { max_datagrams: 8, max_held_frames: 4, ..FragConfig::default() },
        };
        let counters = Arc::new(PacketCounters::default());
        let mut pipeline = Pipeline::new(settings, Arc::clone(&counters), Arc::new(DenialLog::default()));
        let mut attach = |role, mac| {
            let capabilities = Capabilities::default();
            pipeline.attach(Binding { id: PortId(0), role, mac, mtu: MTU, capabilities, endpoint: None })
        };
        let mut ids = BTreeMap::new();
        for (place, endpoint) in node.generation.endpoints.iter().enumerate() {
            ids.insert(place, attach(Role::Pod(endpoint.name.clone()), Some(pod_mac(place))));
        }
        ids.insert(NODE, attach(Role::Node, Some(gateway_mac(node.number))));
        ids.insert(UNDERLAY, attach(Role::UnderlayFrame, None));
        pipeline.take_up(Arc::clone(&node.generation));
        Self { pipeline, counters, ids }
    }

    /// Where a frame comes out and as what, or why it does not.
    fn pass(&mut self, into: usize, bytes: &[u8]) -> Result<(usize, Vec<u8>), DropReason> {
        let (mut pool, mut out) = (Pool::new(16), Outputs::default());
        let mut frame = pool.take().expect("a fresh pool");
        frame.write(bytes);
        let mut batch = Batch::new();
        batch.push(frame);
        let now = Timestamp::from_nanos(1_000_000_000);
        self.pipeline.process(self.ids[&into], &mut batch, now, &mut pool, &mut out);
        let dropped = DropReason::ALL.iter().copied().find(|reason| self.counters.dropped(*reason) > 0);
        if let Some(reason) = dropped {
            return Err(reason);
        }
        let mut came_out = Vec::new();
        out.drain(|port, frames| {
            let place = self.ids.iter().find(|(_, id)| **id == port).map(|(place, _)| *place);
            let place = place.expect("a port of this node");
            came_out.extend(frames.drain(..).map(|frame| (place, frame.bytes().to_vec())));
        });
        assert_eq!(came_out.len(), 1, "one frame in, one frame out");
        Ok(came_out.remove(0))
    }
}

fn ethertype(address: IpAddr) -> [u8; 2] {
    if address.is_ipv4() { [0x08, 0x00] } else { [0x86, 0xdd] }
}

fn pod_mac(place: usize) -> Mac {
    Mac([0x0a, 0x58, 0, 0, 1, u8::try_from(place).expect("few pods")])
}

fn gateway_mac(node: u8) -> Mac {
    Mac([0x0a, 0x58, 0, 0, 2, node])
}

fn vtep_mac(node: u8) -> Mac {
    Mac([0x0e, 0, 0, 0, 3, node])
}

fn nic_mac(node: u8) -> Mac {
    Mac([0x52, 0x54, 0, 0, 4, node])
}

fn underlay(node: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, node)
}

fn vtep(number: u8, view: &NodeView) -> Vtep {
    Vtep {
        name: view.name.clone(),
        mac: vtep_mac(number),
        mac_v6: None,
        underlay_v4: Some(underlay(number)),
        underlay_v6: None,
        pod_cidrs: view.pod_cidrs.clone(),
    }
}

fn own_node(number: u8, view: &NodeView) -> OwnNode {
    let gateway = |v4: bool| {
        let mut subnets = view.pod_cidrs.iter().filter(|cidr| cidr.network().is_ipv4() == v4);
        subnets.next().and_then(|cidr| cidr.hosts().nth(usize::from(!v4)))
    };
    let gateway_v4 = gateway(true).and_then(|address| match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    });
    let gateway_v6: Option<Ipv6Addr> = gateway(false).and_then(|address| match address {
        IpAddr::V6(address) => Some(address),
        IpAddr::V4(_) => None,
    });
    let gateways = gateway_v4.map(IpAddr::V4).into_iter().chain(gateway_v6.map(IpAddr::V6));
    let networks = view.pod_cidrs.iter().map(ipnet::IpNet::network);
    let others = (1..=2).filter(|other| *other != number);
    OwnNode {
        name: view.name.clone(),
        pod_cidrs: view.pod_cidrs.clone(),
        addresses: gateways.chain(networks).chain(view.addresses.iter().copied()).collect(),
        gateway_mac: gateway_mac(number),
        gateway_v4,
        gateway_v6,
        vtep_mac: vtep_mac(number),
        vtep_mac_v6: None,
        underlay_v4: Some(Underlay { address: underlay(number), tunnel_mtu: MTU }),
        underlay_v6: None,
        underlay_neighbours: others.map(|other| (underlay(other).into(), nic_mac(other))).collect(),
        underlay_mac: nic_mac(number),
    }
}
