//! The node under test: two pods, another node's VTEP on the IPv4 underlay, and a fixed policy compiled as usual.
//!
//! ```text
//!  blue  10.244.1.10 fd00:244:1::a ─┐
//!  green 10.244.1.11 fd00:244:1::b ─┤ node-a ─ underlay ─ node-b 10.244.2.0/24 fd00:244:2::/64, with bee .10
//!  node TAP ────────────────────────┘
//! ```
//! green takes TCP 80 from blue, UDP from 10.244.2.0/25, ICMP from nobody; blue may reach all but 198.51.100.0/24.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use dataplane::conntrack::{ConntrackConfig, Timeouts};
use dataplane::fragments::FragConfig;
use dataplane::pipeline::{Binding, Pipeline, PortId, Role, Settings};
use dataplane::ports::Capabilities;
use dataplane::tables::{EndpointIds, Generation, OwnNode, Underlay};
use dataplane::telemetry::{DenialLog, PacketCounters};
use policy_compiler::semantics::reference::Reference;
use policy_compiler::{Action, Cluster, Compiler, Direction, Key, Options, PodName, Scope, SubjectId, parse};
use vxlan::encap::OuterChecksum;
use vxlan::mac::Mac;
use vxlan::vni::Vni;
use vxlan::vtep::Vtep;

pub(super) const BLUE_MAC: Mac = Mac([0x0a, 0x58, 0, 0, 1, 0x0a]);
pub(super) const GREEN_MAC: Mac = Mac([0x0a, 0x58, 0, 0, 1, 0x0b]);
pub(super) const GATEWAY_MAC: Mac = Mac([0x0a, 0x58, 0, 0, 1, 1]);
pub(super) const OWN_VTEP: Mac = Mac([0x0e, 0, 0, 0, 0xa, 4]);
pub(super) const B_VTEP: Mac = Mac([0x0e, 0, 0, 0, 0xb, 4]);
pub(super) const A_UNDERLAY: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 1);
pub(super) const B_UNDERLAY: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 2);
pub(super) const A_NIC: Mac = Mac([0x52, 0x54, 0, 0, 0, 0xa]);
pub(super) const B_NIC: Mac = Mac([0x52, 0x54, 0, 0, 0, 0xb]);
/// Of every port, and of the tunnel's inside.
pub(super) const MTU: u16 = 1450;

pub(super) const V4: [Ipv4Addr; 7] = [
    Ipv4Addr::new(10, 244, 1, 10),
    Ipv4Addr::new(10, 244, 1, 11),
    Ipv4Addr::new(10, 244, 2, 10),
    Ipv4Addr::new(10, 244, 2, 200),
    Ipv4Addr::new(10, 244, 1, 1),
    Ipv4Addr::new(198, 51, 100, 9),
    Ipv4Addr::new(203, 0, 113, 9),
];
pub(super) const V6: [Ipv6Addr; 6] = [
    Ipv6Addr::new(0xfd00, 0x244, 1, 0, 0, 0, 0, 0xa),
    Ipv6Addr::new(0xfd00, 0x244, 1, 0, 0, 0, 0, 0xb),
    Ipv6Addr::new(0xfd00, 0x244, 2, 0, 0, 0, 0, 0xa),
    Ipv6Addr::new(0xfd00, 0x244, 2, 0, 0, 0, 0, 0xc8),
    Ipv6Addr::new(0xfd00, 0x244, 1, 0, 0, 0, 0, 1),
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9),
];

const STATE: &str = r#"
{apiVersion: v1, kind: Namespace, metadata: {name: default}}
---
{apiVersion: v1, kind: Node, metadata: {name: node-a}, spec: {podCIDRs: [10.244.1.0/24, "fd00:244:1::/64"]},
 status: {addresses: [{type: InternalIP, address: 192.168.0.1}]}}
---
{apiVersion: v1, kind: Node, metadata: {name: node-b}, spec: {podCIDRs: [10.244.2.0/24, "fd00:244:2::/64"]},
 status: {addresses: [{type: InternalIP, address: 192.168.0.2}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: blue, namespace: default, labels: {app: blue}}, spec: {nodeName: node-a},
 status: {phase: Running, podIPs: [{ip: 10.244.1.10}, {ip: "fd00:244:1::a"}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: green, namespace: default, labels: {app: green}}, spec: {nodeName: node-a},
 status: {phase: Running, podIPs: [{ip: 10.244.1.11}, {ip: "fd00:244:1::b"}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: bee, namespace: default, labels: {app: bee}}, spec: {nodeName: node-b},
 status: {phase: Running, podIPs: [{ip: 10.244.2.10}, {ip: "fd00:244:2::a"}]}}
---
{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: green, namespace: default},
 spec: {podSelector: {matchLabels: {app: green}}, policyTypes: [Ingress], ingress: [
  {from: [{podSelector: {matchLabels: {app: blue}}}], ports: [{port: 80}]},
  {from: [{ipBlock: {cidr: 10.244.2.0/25}}, {podSelector: {matchLabels: {app: bee}}}],
   ports: [{port: 1, endPort: 65535, protocol: UDP}]}]}}
---
{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: blue, namespace: default},
 spec: {podSelector: {matchLabels: {app: blue}}, policyTypes: [Egress], egress: [
  {to: [{ipBlock: {cidr: 0.0.0.0/0, except: [198.51.100.0/24]}}, {ipBlock: {cidr: "fd00::/16"}}]}]}}
"#;

/// What stays the same over all inputs.
pub(super) struct Node {
    pub(super) generation: Arc<Generation>,
    cluster: &'static Cluster,
    reference: Reference<'static>,
}

impl Node {
    pub(super) fn new() -> Self {
        let own = own_node();
        let options =
            Options { node_addresses: own.addresses.iter().copied().collect(), ..Options::default() };
        let mut compiler = Compiler::new(options);
        for object in parse("fixed.yaml", STATE).objects {
            compiler.upsert(object);
        }
        let scope = Scope::Node("node-a".into());
        let compiled = compiler.compile(&scope).expect("the fixed state is valid");
        let vtep = Vtep {
            name: "node-b".into(),
            mac: B_VTEP,
            mac_v6: None,
            underlay_v4: Some(B_UNDERLAY),
            underlay_v6: None,
            pod_cidrs: compiled.cluster.nodes[1].pod_cidrs.clone(),
        };
        let generation = Generation::new(1, &compiled, own, vec![vtep], &mut EndpointIds::default());
        // Once in a thread, for as long as it lives: the oracle borrows both.
        let compiler: &'static Compiler = Box::leak(Box::new(compiler));
        let cluster: &'static Cluster = Box::leak(Box::new(compiled.cluster));
        Self {
            generation: Arc::new(generation.expect("the fixed nodes differ")),
            cluster,
            reference: compiler.reference(&scope, cluster),
        }
    }

    /// Whether a connection with this key may be opened: egress of a source that is ours, ingress of a destination
    /// that is. Judged by the slow evaluator, which shares no code with the classifier.
    pub(super) fn allows(&self, src: IpAddr, dst: IpAddr, protocol: u8, ports: (u16, u16)) -> bool {
        [(src, Direction::Egress), (dst, Direction::Ingress)].into_iter().all(|(own, direction)| {
            let position = self.cluster.subjects.iter().position(|subject| subject.addresses.contains(&own));
            let Some(position) = position else { return true };
            let subject = SubjectId(u32::try_from(position).expect("few"));
            let (src_port, dst_port) = ports;
            let key = Key { subject, direction, src, dst, protocol, src_port, dst_port };
            self.reference.judge(&key).action == Action::Allow
        })
    }
}

/// A pipeline with its ports in the order of [`super::Place`].
pub(super) fn pipeline(
    node: &Node,
    underlay: Role,
    capabilities: Capabilities,
    counters: &Arc<PacketCounters>,
) -> (Pipeline, [PortId; 4]) {
    let settings = Settings {
        vni: Vni::FLANNEL,
        vxlan_port: 8472,
        strict_reserved: false,
        outer_checksum: OuterChecksum::Compute,
        conntrack: ConntrackConfig { max_entries: 16, owner_quota: 8, timeouts: Timeouts::default() },
        fragments: FragConfig { max_datagrams: 8, max_held_frames: 4, ..FragConfig::default() },
    };
    let mut pipeline = Pipeline::new(settings, Arc::clone(counters), Arc::new(DenialLog::default()));
    let mut attach = |role, mac, capabilities| {
        pipeline.attach(Binding { id: PortId(0), role, mac, mtu: MTU, capabilities, endpoint: None })
    };
    let ports = [
        attach(Role::Pod(pod("blue")), Some(BLUE_MAC), capabilities),
        attach(Role::Pod(pod("green")), Some(GREEN_MAC), capabilities),
        attach(Role::Node, Some(GATEWAY_MAC), capabilities),
        attach(underlay, None, Capabilities::default()),
    ];
    pipeline.take_up(Arc::clone(&node.generation));
    (pipeline, ports)
}

fn pod(name: &str) -> PodName {
    PodName { namespace: "default".into(), name: name.into() }
}

fn own_node() -> OwnNode {
    let mut underlay_neighbours = std::collections::HashMap::default();
    underlay_neighbours.insert(B_UNDERLAY.into(), B_NIC);
    let gateways = [IpAddr::from(V4[4]), IpAddr::from(V6[4])];
    OwnNode {
        name: "node-a".into(),
        pod_cidrs: ["10.244.1.0/24", "fd00:244:1::/64"].map(|cidr| cidr.parse().expect("a prefix")).into(),
        addresses: gateways.into_iter().chain([A_UNDERLAY.into()]).collect(),
        gateway_mac: GATEWAY_MAC,
        gateway_v4: Some(V4[4]),
        gateway_v6: Some(V6[4]),
        vtep_mac: OWN_VTEP,
        vtep_mac_v6: None,
        underlay_v4: Some(Underlay { address: A_UNDERLAY, tunnel_mtu: MTU }),
        underlay_v6: None,
        underlay_neighbours,
        underlay_mac: A_NIC,
    }
}
