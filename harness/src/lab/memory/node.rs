//! A node of the lab: weir's pipeline with memory ports, on the thread and the clock of whoever calls it.
//!
//! What the node is comes from the same configuration, Node objects and code as in `weir run`
//! ([`dataplane::node::Identity`]); what a worker does between two sleeps is [`Node::round`]. The underlay
//! carries whole frames, so weir builds and checks the outer headers itself.

use std::io;
use std::path::Path;
use std::sync::Arc;

use dataplane::buffer::{BATCH_FRAMES, Batch, Pool};
use dataplane::config::Config;
use dataplane::control::{self, PacketCounts};
use dataplane::drop_reason::DropReason;
use dataplane::node::{Identity, configured_addresses, settings, vteps};
use dataplane::pipeline::{Binding, Outputs, Pipeline, PortId, Role};
use dataplane::ports::memory::MemoryPort;
use dataplane::ports::{Capabilities, Port};
use dataplane::tables::{EndpointIds, Generation};
use dataplane::telemetry::{DenialLog, PacketCounters};
use dataplane::time::Timestamp;
use policy_compiler::{ByAddress, Options, PodName, Scope};
use vxlan::mac::Mac;

use crate::lab::cluster_state::ClusterState;
use crate::lab::plan::Side;
use crate::lab::report::Counted;
use crate::lab::{LabError, expect};

/// Frames of a node: every port's batch and the fragments that wait.
const FRAMES: usize = 1024;
/// MTU of the underlay.
const UNDERLAY_MTU: u16 = 1500;

/// A node.
pub(super) struct Node {
    side: Side,
    config: Config,
    pipeline: Pipeline,
    generation: u64,
    ids: EndpointIds,
    names: ByAddress<PodName>,
    ports: Vec<(PortId, MemoryPort)>,
    pool: Pool,
    batch: Batch,
    out: Outputs,
    counters: Arc<PacketCounters>,
    denials: Arc<DenialLog>,
}

/// MAC of a node on the underlay.
fn underlay_mac(side: Side) -> Mac {
    let [.., number] = side.underlay_v4().octets();
    Mac([0x02, 0x57, 0, 0, 0, number])
}

impl Node {
    /// A node without ports and without a generation: nothing passes.
    pub(super) fn new(side: Side) -> Result<Self, LabError> {
        let text = format!(
            "node: {}\nunderlay: {{address: {}, address_v6: \"{}\", mtu: {UNDERLAY_MTU}}}\ngateway: \
             {{addresses: [{}/24, \"{}/64\"]}}\n",
            side.name(),
            side.underlay_v4(),
            side.underlay_v6(),
            side.pod_v4(1),
            side.pod_v6(1),
        );
        let config = Config::parse(&text, Path::new("weir.yaml"))
            .map_err(|error| trouble(side, &error.to_string()))?;
        let counters = Arc::new(PacketCounters::default());
        let denials = Arc::new(DenialLog::default());
        Ok(Self {
            side,
            pipeline: Pipeline::new(settings(&config), Arc::clone(&counters), Arc::clone(&denials)),
            config,
            generation: 0,
            ids: EndpointIds::default(),
            names: ByAddress::default(),
            ports: Vec::new(),
            pool: Pool::new(FRAMES),
            batch: Batch::with_capacity(BATCH_FRAMES),
            out: Outputs::default(),
            counters,
            denials,
        })
    }

    /// The gateway's MAC towards pods, and that of the node behind its TAP.
    pub(super) fn gateway_mac(&self) -> Mac {
        self.config.gateway.mac
    }

    /// Adds a port. The MAC at its other end is for weir to find out.
    pub(super) fn attach(&mut self, role: Role, mtu: u16, port: MemoryPort) -> PortId {
        let capabilities = Capabilities::default();
        let binding = Binding { id: PortId(0), role, mac: None, mtu, capabilities, endpoint: None };
        let id = self.pipeline.attach(binding);
        self.ports.push((id, port));
        id
    }

    /// Compiles the state as it is now and judges by it from the next round on.
    ///
    /// # Errors
    /// The state is not valid; the last generation stays.
    pub(super) fn reload(&mut self, state: &ClusterState) -> Result<u64, LabError> {
        let options = Options { node_addresses: configured_addresses(&self.config), ..Options::default() };
        let compiled = expect::compile(state, options, &Scope::Node(self.side.name().to_owned()))?;
        let side = self.side;
        let identity = Identity::resolve(&self.config, &compiled.cluster)
            .map_err(|error| trouble(side, &error.to_string()))?;
        let mut own = identity.own;
        let peer = side.other();
        own.underlay_mac = underlay_mac(side);
        own.underlay_neighbours.insert(peer.underlay_v4().into(), underlay_mac(peer));
        own.underlay_neighbours.insert(peer.underlay_v6().into(), underlay_mac(peer));
        let number = self.generation.saturating_add(1);
        let peers = vteps(&compiled.cluster, side.name());
        let generation = Generation::new(number, &compiled, own, peers, &mut self.ids)
            .map_err(|error| trouble(side, &error.to_string()))?;
        self.generation = number;
        self.pipeline.take_up(Arc::new(generation));
        self.names = compiled.cluster.pod_addresses;
        Ok(number)
    }

    /// One batch from each port, at `now`. Returns how many frames came in.
    pub(super) fn round(&mut self, now: Timestamp) -> io::Result<usize> {
        let mut total = 0;
        for position in 0..self.ports.len() {
            let Some((id, port)) = self.ports.get_mut(position) else { break };
            total += port.recv(&mut self.pool, &mut self.batch, BATCH_FRAMES)?.frames;
            if !self.batch.is_empty() {
                self.pipeline.process(*id, &mut self.batch, now, &mut self.pool, &mut self.out);
                self.flush()?;
            }
        }
        Ok(total)
    }

    /// Housekeeping at `now`.
    pub(super) fn tick(&mut self, now: Timestamp) -> io::Result<()> {
        self.pipeline.tick(now, &mut self.pool, &mut self.out);
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        let Self { out, ports, pool, counters, .. } = self;
        let mut outcome = Ok(());
        out.drain(|id, batch| {
            let Some((_, port)) = ports.iter_mut().find(|(known, _)| *known == id) else {
                let packets = batch.iter().map(|frame| u64::from(frame.packets)).sum();
                counters.refuse(DropReason::PortUnattached, packets);
                pool.give_all(batch.drain(..));
                return;
            };
            match port.send(pool, batch) {
                Ok(sent) => counters.refuse(DropReason::TxCongested, sent.congested_packets),
                Err(gone) => outcome = Err(gone.into()),
            }
        });
        outcome
    }

    /// Packets dropped so far for a reason.
    pub(super) fn dropped(&self, reason: DropReason) -> u64 {
        self.counters.dropped(reason)
    }

    /// Connections followed now.
    pub(super) fn connections(&self) -> usize {
        self.pipeline.connections().len()
    }

    /// What was counted so far.
    pub(super) fn counted(&self) -> Counted {
        Counted {
            packets: PacketCounts::from(self.counters.as_ref()),
            drops: control::drops(&self.counters),
            denials: control::denials(&self.denials, |address| self.names.get(&address)),
        }
    }
}

fn trouble(side: Side, text: &str) -> LabError {
    LabError::Weir { node: side.name(), text: text.to_owned() }
}
