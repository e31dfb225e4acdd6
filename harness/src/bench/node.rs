//! The node that is measured: its pipeline, ports, cluster and packet memory.
//!
//! Client and server are pods of the node, the remote pod stands behind the VTEP of another. Default deny, then
//! policies about other peers and ports of the same pods, and last the one that allows what the benches send.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use dataplane::buffer::{BATCH_FRAMES, Batch, Frame, Outer, Pool};
use dataplane::conntrack::{ConnTable, ConntrackConfig};
use dataplane::drop_reason::DropReason;
use dataplane::fragments::FragConfig;
use dataplane::pipeline::{Binding, Outputs, Pipeline, PortId, Role, Settings};
use dataplane::ports::Capabilities;
use dataplane::tables::{EndpointIds, Generation, OwnNode, Underlay as OwnUnderlay};
use dataplane::telemetry::{PacketCounters, StageCounters, StageTimer};
use dataplane::time::Timestamp;
use policy_compiler::{Compiled, Compiler, Options, PodName, Scope, parse};
use vxlan::encap::OuterChecksum;
use vxlan::wire::vxlan as header;
use vxlan::{Mac, Vni, Vtep};

use super::lack::Lack;
use super::traffic::{Direction, FIRST_DST_PORT, LAST_DST_PORT};
use crate::manifest::{self, Namespace, Pod};

pub(super) const GATEWAY_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
pub(super) const VTEP_MAC: Mac = Mac([2, 0, 0, 0, 0, 0x0a]);
pub(super) const PEER_MAC: Mac = Mac([2, 0, 0, 0, 0, 0x0b]);
pub(super) const CLIENT_MAC: Mac = Mac([2, 0, 0, 0, 1, 2]);
pub(super) const SERVER_MAC: Mac = Mac([2, 0, 0, 0, 1, 3]);
pub(super) const UNDERLAY_MAC: Mac = Mac([2, 0, 0, 0, 2, 1]);
pub(super) const PEER_UNDERLAY_MAC: Mac = Mac([2, 0, 0, 0, 2, 2]);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 1);
pub(super) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 2);
pub(super) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 3);
pub(super) const REMOTE: Ipv4Addr = Ipv4Addr::new(10, 244, 2, 2);
pub(super) const UNDERLAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub(super) const PEER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// The largest IP packet of a pod.
pub(super) const MTU: u16 = 1450;
/// Ceiling of the compiled tables: how many policies there are is what is varied here.
const COMPILE_MEMORY: usize = 4 << 30;
/// All that there is room for, where room is to be lacking.
pub(super) const FEW_CONNECTIONS: usize = 1024;
/// Longer than any connection of the benches is kept.
const LONG_AFTER: Duration = Duration::from_hours(1);

/// The cluster but for its policies.
fn cluster() -> String {
    let pod = |name, node, tier, address| Pod::new("shop", name, node).label("tier", tier).address(address);
    format!(
        "{}{}{}{}{}{}",
        Namespace::new("shop"),
        manifest::Node::new("node-a").pod_cidr("10.244.1.0/24"),
        manifest::Node::new("node-b").pod_cidr("10.244.2.0/24"),
        pod("client", "node-a", "client", CLIENT),
        pod("server", "node-a", "server", SERVER),
        pod("remote", "node-b", "server", REMOTE),
    )
}

/// What the underlay hands over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Underlay {
    /// Datagrams: the kernel reads and writes the outer headers.
    Datagram,
    /// Whole frames: the pipeline reads and writes them too.
    Frame,
}

/// What a node is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Network policies, 2 at the least.
    pub policies: usize,
    /// Connections the table is to hold without an eviction.
    pub connections: usize,
    /// Kind of underlay.
    pub underlay: Underlay,
    /// What it does without.
    pub lack: Lack,
}

impl Shape {
    /// One that lacks nothing.
    pub const fn new(policies: usize, connections: usize, underlay: Underlay) -> Self {
        Self { policies, connections, underlay, lack: Lack::Nothing }
    }

    fn conntrack(&self) -> ConntrackConfig {
        match self.lack {
            Lack::Room => {
                return ConntrackConfig {
                    owner_quota: 2 * FEW_CONNECTIONS,
                    ..ConntrackConfig::with_max_entries(FEW_CONNECTIONS)
                };
            }
            Lack::Share => {
                return ConntrackConfig {
                    owner_quota: FEW_CONNECTIONS,
                    ..ConntrackConfig::with_max_entries(262_144)
                };
            }
            _ => {}
        }
        let entries = self.connections.next_power_of_two().max(262_144);
        ConntrackConfig { owner_quota: entries, ..ConntrackConfig::with_max_entries(entries) }
    }

    /// An empty connection table for it.
    pub fn table(&self) -> Arc<ConnTable> {
        Arc::new(ConnTable::new(self.conntrack(), ahash::RandomState::new()))
    }
}

/// Nanoseconds since the first call.
fn nanoseconds() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// The node.
pub struct Node {
    /// Its pipeline.
    pub pipeline: Pipeline,
    /// What became of the packets.
    pub counters: Arc<PacketCounters>,
    /// What its stages took.
    pub stages: Arc<StageCounters>,
    /// Kind of underlay.
    pub underlay: Underlay,
    /// The frames to be passed through next.
    pub batch: Batch,
    /// Packet memory.
    pub pool: Pool,
    client: PortId,
    server: PortId,
    tunnel: PortId,
    out: Outputs,
    now: Timestamp,
}

impl Node {
    /// The node, ready to pass packets.
    ///
    /// # Errors
    /// The generated cluster does not compile: a bug, in words.
    pub fn new(shape: &Shape) -> Result<Self, String> {
        Self::sharing(shape, &shape.table())
    }

    /// A worker of it, with a connection table that others use too.
    ///
    /// # Errors
    /// The generated cluster does not compile: a bug, in words.
    pub fn sharing(shape: &Shape, table: &Arc<ConnTable>) -> Result<Self, String> {
        let counters = Arc::new(PacketCounters::default());
        let stages = Arc::new(StageCounters::default());
        let settings = Settings {
            vni: Vni::FLANNEL,
            vxlan_port: header::UDP_PORT_FLANNEL,
            strict_reserved: false,
            outer_checksum: OuterChecksum::Compute,
            conntrack: shape.conntrack(),
            fragments: FragConfig::default(),
        };
        let mut pipeline =
            Pipeline::sharing(settings, Arc::clone(&counters), Arc::default(), Arc::clone(table));
        pipeline.time_stages(StageTimer::new(nanoseconds, Arc::clone(&stages)));
        if shape.lack != Lack::Generation {
            pipeline.take_up(Arc::new(generation(shape.policies, shape.lack)?));
        }
        let pod = |name: &str| Role::Pod(PodName { namespace: "shop".into(), name: name.into() });
        if shape.lack == Lack::FirstPort {
            pipeline.attach(binding(pod("client"), Some(CLIENT_MAC)));
        }
        let name = if shape.lack == Lack::Pod { "stranger" } else { "client" };
        let client = pipeline.attach(binding(pod(name), Some(CLIENT_MAC)));
        let node = pipeline.attach(binding(Role::Node, Some(GATEWAY_MAC)));
        let server = match shape.lack {
            Lack::ServerPort => node,
            Lack::ServerMac => pipeline.attach(binding(pod("server"), None)),
            _ => pipeline.attach(binding(pod("server"), Some(SERVER_MAC))),
        };
        let role = match shape.underlay {
            Underlay::Datagram => Role::UnderlayDatagram,
            Underlay::Frame => Role::UnderlayFrame,
        };
        let tunnel = pipeline.attach(binding(role, None));
        Ok(Self {
            pipeline,
            counters,
            stages,
            underlay: shape.underlay,
            batch: Batch::with_capacity(BATCH_FRAMES),
            pool: Pool::new(4 * BATCH_FRAMES),
            client,
            server,
            tunnel,
            out: Outputs::default(),
            now: Timestamp::ZERO,
        })
    }

    /// What a datagram socket says beside a packet from the peer.
    pub fn outer() -> Outer {
        Outer { peer: PEER.into(), local: UNDERLAY.into(), source_port: 50_000, tos: 0 }
    }

    /// Has the stages of every batch timed, not of one in so many.
    pub fn time_every_batch(&mut self) {
        self.pipeline.time_stages(StageTimer::new(nanoseconds, Arc::clone(&self.stages)).every(1));
    }

    /// Passes the batch through, a microsecond after the last one; for the caller to time.
    pub fn pass(&mut self, direction: Direction) {
        let from = match direction {
            Direction::Encap | Direction::Local => self.client,
            Direction::Decap => self.tunnel,
        };
        self.pipeline.process(from, &mut self.batch, self.now, &mut self.pool, &mut self.out);
    }

    /// Adds a frame, written so, to the batch; false where the pool has none.
    pub(super) fn put(&mut self, write: impl FnOnce(&mut Frame)) -> bool {
        let Some(mut frame) = self.pool.take() else { return false };
        write(&mut frame);
        self.batch.push(frame);
        true
    }

    /// Passes the batch through as what the server sends.
    pub(super) fn answer(&mut self) {
        self.pipeline.process(self.server, &mut self.batch, self.now, &mut self.pool, &mut self.out);
    }

    /// Gives back what came out.
    pub fn take_back(&mut self) {
        self.now = self.now.plus(Duration::from_micros(1));
        let pool = &mut self.pool;
        self.out.drain(|_, batch| pool.give_all(batch.drain(..)));
    }

    /// Lets so much time pass that every connection ends.
    ///
    /// # Errors
    /// One did not.
    pub fn outlive_connections(&mut self) -> Result<(), String> {
        self.now = self.now.plus(LONG_AFTER);
        let mut before = u64::MAX;
        loop {
            self.pipeline.tick(self.now, &mut self.pool, &mut self.out);
            match self.counters.connections.get() {
                0 => return Ok(()),
                left if left < before => before = left,
                left => return Err(format!("{left} connections have not ended in {LONG_AFTER:?}")),
            }
        }
    }

    /// Shows what came out to `seen` and gives it back. The next batch comes at `now`.
    pub fn hand_over(&mut self, now: Timestamp, mut seen: impl FnMut(&Frame)) {
        self.now = now;
        let pool = &mut self.pool;
        self.out.drain(|_, batch| {
            batch.iter().for_each(&mut seen);
            pool.give_all(batch.drain(..));
        });
    }

    /// Every drop reason counted so far, in words.
    pub fn drops(&self) -> String {
        let counted = DropReason::ALL.iter().filter(|reason| self.counters.dropped(**reason) > 0);
        let words = counted.map(|reason| format!("{reason} {}", self.counters.dropped(*reason)));
        words.collect::<Vec<_>>().join(", ")
    }
}

fn binding(role: Role, mac: Option<Mac>) -> Binding {
    Binding { id: PortId(0), role, mac, mtu: MTU, capabilities: Capabilities::default(), endpoint: None }
}

/// `count` policies about the shop's pods; the last allows the benches' datagrams.
fn policies(count: usize) -> String {
    let mut text = String::new();
    let head =
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {namespace: shop, name:";
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{head} deny}}\nspec: {{podSelector: {{}}, policyTypes: [Ingress, Egress]}}");
    for number in 0..count.saturating_sub(2) {
        let (a, b, port) = (number / 256 % 256, number % 256, 1000 + number % 5000);
        let _ = writeln!(
            text,
            "{head} other-{number}}}\nspec: {{podSelector: {{}}, policyTypes: [Ingress, Egress], \
             ingress: [{{from: [{{ipBlock: {{cidr: 198.18.{a}.{b}/32}}}}], ports: [{{port: {port}}}]}}], \
             egress: [{{to: [{{ipBlock: {{cidr: 198.19.{a}.{b}/32}}}}], ports: [{{port: {port}}}]}}]}}"
        );
    }
    let range =
        |protocol| format!("{{port: {FIRST_DST_PORT}, endPort: {LAST_DST_PORT}, protocol: {protocol}}}");
    let port = format!("{}, {}", range("UDP"), range("TCP"));
    let _ = writeln!(
        text,
        "{head} within}}\nspec: {{podSelector: {{}}, policyTypes: [Ingress, Egress], \
         ingress: [{{from: [{{podSelector: {{}}}}], ports: [{port}]}}], \
         egress: [{{to: [{{podSelector: {{}}}}], ports: [{port}]}}]}}"
    );
    text
}

fn generation(policy_count: usize, lack: Lack) -> Result<Generation, String> {
    let mut compiler = Compiler::new(Options { memory_ceiling: COMPILE_MEMORY, ..Options::default() });
    for object in parse("cluster.yaml", &format!("{}{}", cluster(), policies(policy_count))).objects {
        compiler.upsert(object);
    }
    let compiled: Compiled = compiler.compile(&Scope::Node("node-a".to_owned())).map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        format!("--policies {policy_count}: {}", problems.join("; "))
    })?;
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
        underlay_v4: Some(OwnUnderlay { address: UNDERLAY, tunnel_mtu: MTU }),
        underlay_v6: None,
        underlay_neighbours: (lack != Lack::NextHop)
            .then_some((IpAddr::V4(PEER), PEER_UNDERLAY_MAC))
            .into_iter()
            .collect(),
        underlay_mac: UNDERLAY_MAC,
    };
    let peer = Vtep {
        name: "node-b".to_owned(),
        mac: PEER_MAC,
        mac_v6: None,
        underlay_v4: (lack != Lack::PeerAddress).then_some(PEER),
        underlay_v6: None,
        pod_cidrs: subnet("10.244.2.0/24"),
    };
    Generation::new(1, &compiled, own, vec![peer], &mut EndpointIds::default())
        .map_err(|error| format!("one peer does not contradict itself: {error}"))
}
