//! The whole pipeline, on frames in memory: what a packet costs between two ports, without the ports.
//!
//! Input: UDP packets without checksum over IPv4, in batches of [`BATCH_FRAMES`], on 1 and on 10,000 connections that
//! are open already; two pods here and one behind a VTEP, under default deny with one rule that allows them. Paths:
//! pod to pod on this node, pod into the tunnel, tunnel to pod; the underlay is the `udp` one, whose outer headers are
//! the kernel's work. Unit: frames. Frame sizes are those of the pod's frame. Left out: system calls, the copy into
//! the frame (outside the measured time), connections being opened, policy look-ups (a connection is judged once
//! per generation; `classifier` measures that).

mod support;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use dataplane::buffer::{BATCH_FRAMES, Batch, Outer, Pool};
use dataplane::conntrack::ConntrackConfig;
use dataplane::drop_reason::DropReason;
use dataplane::fragments::FragConfig;
use dataplane::pipeline::{Binding, Outputs, Pipeline, PortId, Role, Settings};
use dataplane::ports::Capabilities;
use dataplane::tables::{EndpointIds, Generation, OwnNode, Underlay};
use dataplane::telemetry::PacketCounters;
use dataplane::time::Timestamp;
use policy_compiler::{Compiled, Compiler, Options, PodName, Scope, parse};
use vxlan::encap::OuterChecksum;
use vxlan::wire::vxlan as header;
use vxlan::{Mac, Vni, Vtep};

use support::{Ends, udp_frame};

const GATEWAY_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const VTEP_MAC: Mac = Mac([2, 0, 0, 0, 0, 0x0a]);
const PEER_MAC: Mac = Mac([2, 0, 0, 0, 0, 0x0b]);
const CLIENT_MAC: Mac = Mac([2, 0, 0, 0, 1, 2]);
const SERVER_MAC: Mac = Mac([2, 0, 0, 0, 1, 3]);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 2);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 3);
const REMOTE: Ipv4Addr = Ipv4Addr::new(10, 244, 2, 2);
const UNDERLAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

const CLUSTER: &str = r"
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Node
metadata: {name: node-a}
spec: {podCIDRs: [10.244.1.0/24]}
---
apiVersion: v1
kind: Node
metadata: {name: node-b}
spec: {podCIDRs: [10.244.2.0/24]}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: shop, labels: {tier: client}}
spec: {nodeName: node-a}
status: {phase: Running, podIPs: [{ip: 10.244.1.2}]}
---
apiVersion: v1
kind: Pod
metadata: {name: server, namespace: shop, labels: {tier: server}}
spec: {nodeName: node-a}
status: {phase: Running, podIPs: [{ip: 10.244.1.3}]}
---
apiVersion: v1
kind: Pod
metadata: {name: remote, namespace: shop, labels: {tier: server}}
spec: {nodeName: node-b}
status: {phase: Running, podIPs: [{ip: 10.244.2.2}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: default-deny, namespace: shop}
spec: {podSelector: {}, policyTypes: [Ingress, Egress]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: within-the-shop, namespace: shop}
spec:
  podSelector: {}
  policyTypes: [Ingress, Egress]
  ingress: [{from: [{podSelector: {}}], ports: [{port: 8080, protocol: UDP}]}]
  egress: [{to: [{podSelector: {}}], ports: [{port: 8080, protocol: UDP}]}]
";

/// A way through the pipeline.
#[derive(Debug, Clone, Copy)]
enum Path {
    PodToPod,
    Encap,
    Decap,
}

impl Path {
    const ALL: [(Self, &str); 3] =
        [(Self::PodToPod, "pod to pod"), (Self::Encap, "encap"), (Self::Decap, "decap")];

    /// The frame of connection `flow`, as the port hands it over.
    fn frame(self, flow: u16, len: usize) -> Vec<u8> {
        let (src_mac, dst_mac, src, dst) = match self {
            Self::PodToPod => (CLIENT_MAC, GATEWAY_MAC, CLIENT, SERVER),
            Self::Encap => (CLIENT_MAC, GATEWAY_MAC, CLIENT, REMOTE),
            Self::Decap => (PEER_MAC, VTEP_MAC, REMOTE, SERVER),
        };
        let ends = Ends { src_mac, dst_mac, src, dst, src_port: 20_000 + flow, dst_port: 8080 };
        let frame = udp_frame(&ends, len);
        match self {
            Self::PodToPod | Self::Encap => frame,
            Self::Decap => [&header::emit(Vni::FLANNEL), frame.as_slice()].concat(),
        }
    }

    fn outer(self) -> Option<Outer> {
        match self {
            Self::PodToPod | Self::Encap => None,
            Self::Decap => {
                Some(Outer { peer: PEER.into(), local: UNDERLAY.into(), source_port: 50_000, tos: 0 })
            }
        }
    }
}

/// A pipeline with its ports, and the packet memory around it.
struct World {
    pipeline: Pipeline,
    counters: Arc<PacketCounters>,
    client: PortId,
    underlay: PortId,
    pool: Pool,
    batch: Batch,
    out: Outputs,
    now: Timestamp,
}

impl World {
    fn new() -> Self {
        let counters = Arc::new(PacketCounters::default());
        let settings = Settings {
            vni: Vni::FLANNEL,
            vxlan_port: header::UDP_PORT_FLANNEL,
            strict_reserved: false,
            outer_checksum: OuterChecksum::Compute,
            conntrack: ConntrackConfig::default(),
            fragments: FragConfig::default(),
        };
        let mut pipeline = Pipeline::new(settings, Arc::clone(&counters), Arc::default());
        pipeline.take_up(Arc::new(generation()));
        let pod = |name: &str| Role::Pod(PodName { namespace: "shop".into(), name: name.into() });
        let client = pipeline.attach(binding(pod("client"), Some(CLIENT_MAC)));
        pipeline.attach(binding(pod("server"), Some(SERVER_MAC)));
        pipeline.attach(binding(Role::Node, Some(GATEWAY_MAC)));
        let underlay = pipeline.attach(binding(Role::UnderlayDatagram, None));
        Self {
            pipeline,
            counters,
            client,
            underlay,
            pool: Pool::new(4 * BATCH_FRAMES),
            batch: Batch::with_capacity(BATCH_FRAMES),
            out: Outputs::default(),
            now: Timestamp::ZERO,
        }
    }

    /// Passes one batch through and returns how long the pipeline took.
    fn pass<'a>(&mut self, path: Path, frames: impl Iterator<Item = &'a Vec<u8>>) -> Duration {
        for bytes in frames {
            let Some(mut frame) = self.pool.take() else { break };
            frame.write(bytes);
            frame.outer = path.outer();
            self.batch.push(frame);
        }
        let from = match path {
            Path::PodToPod | Path::Encap => self.client,
            Path::Decap => self.underlay,
        };
        self.now = self.now.plus(Duration::from_micros(1));
        let start = Instant::now();
        self.pipeline.process(from, &mut self.batch, self.now, &mut self.pool, &mut self.out);
        let took = start.elapsed();
        let pool = &mut self.pool;
        self.out.drain(|_, batch| pool.give_all(batch.drain(..)));
        took
    }
}

fn binding(role: Role, mac: Option<Mac>) -> Binding {
    Binding { id: PortId(0), role, mac, mtu: 1450, capabilities: Capabilities::default(), endpoint: None }
}

fn generation() -> Generation {
    let mut compiler = Compiler::new(Options::default());
    for object in parse("cluster.yaml", CLUSTER).objects {
        compiler.upsert(object);
    }
    let compiled: Compiled = compiler
        .compile(&Scope::Node("node-a".to_owned()))
        .unwrap_or_else(|problems| panic!("the cluster does not compile: {problems:?}"));
    let subnet = |cidr: &str| cidr.parse().into_iter().collect();
    let own = OwnNode {
        name: "node-a".to_owned(),
        pod_cidrs: subnet("10.244.1.0/24"),
        addresses: [GATEWAY, UNDERLAY].map(IpAddr::V4).into_iter().collect(),
        gateway_mac: GATEWAY_MAC,
        gateway_v4: Some(GATEWAY),
        gateway_v6: None,
        vtep_mac: VTEP_MAC,
        vtep_mac_v6: None,
        underlay_v4: Some(Underlay { address: UNDERLAY, tunnel_mtu: 1450 }),
        underlay_v6: None,
        underlay_neighbours: [].into_iter().collect(),
        underlay_mac: Mac::ZERO,
    };
    let peer = Vtep {
        name: "node-b".to_owned(),
        mac: PEER_MAC,
        mac_v6: None,
        underlay_v4: Some(PEER),
        underlay_v6: None,
        pod_cidrs: subnet("10.244.2.0/24"),
    };
    Generation::new(1, &compiled, own, vec![peer], &mut EndpointIds::default())
        .unwrap_or_else(|error| panic!("one peer does not contradict itself: {error}"))
}

fn drops(counters: &PacketCounters) -> String {
    let counted = DropReason::ALL.iter().filter(|reason| counters.dropped(**reason) > 0);
    counted.map(|reason| format!("{reason} {}", counters.dropped(*reason))).collect::<Vec<_>>().join(", ")
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("pipeline");
    group.throughput(Throughput::Elements(BATCH_FRAMES as u64));
    for (path, name) in Path::ALL {
        for len in [64, 1400] {
            for flows in [1, 10_000] {
                let mut world = World::new();
                let frames: Vec<_> = (0..flows).map(|flow| path.frame(flow, len)).collect();
                // Opens every connection, and shows that all of it passes.
                for batch in frames.chunks(BATCH_FRAMES) {
                    world.pass(path, batch.iter());
                }
                let counters = Arc::clone(&world.counters);
                assert_eq!(
                    counters.forwarded.get(),
                    counters.received.get(),
                    "dropped: {}",
                    drops(&counters)
                );
                let mut endless = frames.iter().cycle();
                group.bench_function(BenchmarkId::new(format!("{name}, {len} B"), flows), |bencher| {
                    bencher.iter_custom(|iterations| {
                        (0..iterations)
                            .map(|_| world.pass(path, endless.by_ref().take(BATCH_FRAMES)))
                            .sum::<Duration>()
                    });
                });
            }
        }
    }
    group.finish();
    criterion.final_summary();
}
