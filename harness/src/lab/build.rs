//! From a description to a lab that is up.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use dataplane::config::UnderlayKind;

use super::cluster_state::{ClusterState, POLICIES};
use super::daemon::{self, Daemon};
use super::forwarder::{self, Scheduling};
use super::node_weir::{Keeper, NodeWeir, Setup};
use super::plan::{Family, OUTSIDE, PodPlan, Side, default_pods};
use super::pods::Pod;
use super::scenario::Place;
use super::teardown::fresh_id;
use super::topology::Topology;
use super::{Attach, End, Lab, LabError, NodeKind, node_kernel, node_ovs};
use crate::traffic::servers::Servers;

/// The smaller of the two tunnels': 1500 less IPv6's overhead.
const MTU: u32 = 1430;

/// Describes a lab.
#[derive(Debug, Clone)]
pub struct LabBuilder {
    nodes: [NodeKind; 2],
    attach: Attach,
    underlay: UnderlayKind,
    ring: bool,
    transmit_ring: bool,
    pods: Vec<PodPlan>,
    policies: Vec<(String, String)>,
    binary: Option<PathBuf>,
    extra: String,
    scheduling: Scheduling,
    mtu: u32,
    keep: bool,
    start: bool,
    interrupt: Arc<AtomicBool>,
}

impl Default for LabBuilder {
    fn default() -> Self {
        Self {
            nodes: [NodeKind::Weir, NodeKind::Kernel],
            attach: Attach::Tap,
            underlay: UnderlayKind::Udp,
            ring: false,
            transmit_ring: true,
            pods: default_pods(),
            policies: POLICIES.iter().map(|&(name, text)| (name.to_owned(), text.to_owned())).collect(),
            binary: None,
            extra: String::new(),
            scheduling: Scheduling::default(),
            mtu: MTU,
            keep: false,
            start: true,
            interrupt: Arc::default(),
        }
    }
}

impl LabBuilder {
    /// What node A and node B run.
    #[must_use]
    pub fn nodes(self, nodes: [NodeKind; 2]) -> Self {
        Self { nodes, ..self }
    }

    /// How pods are attached to weir.
    #[must_use]
    pub fn attach(self, attach: Attach) -> Self {
        Self { attach, ..self }
    }

    /// How weir sends and receives on the underlay.
    #[must_use]
    pub fn underlay(self, underlay: UnderlayKind) -> Self {
        Self { underlay, ..self }
    }

    /// Whether packet sockets receive by a ring, on that underlay.
    #[must_use]
    pub fn ring(self, ring: bool) -> Self {
        Self { ring, ..self }
    }

    /// Whether they send by one; they do unless told not to.
    #[must_use]
    pub fn transmit_ring(self, transmit_ring: bool) -> Self {
        Self { transmit_ring, ..self }
    }

    /// Which pods there are.
    #[must_use]
    pub fn pods(self, pods: Vec<PodPlan>) -> Self {
        Self { pods, ..self }
    }

    /// Which policies there are: names of files and their texts.
    #[must_use]
    pub fn policies(self, policies: &[(&str, &str)]) -> Self {
        let policies = policies.iter().map(|&(name, text)| (name.to_owned(), text.to_owned())).collect();
        Self { policies, ..self }
    }

    /// The `weir` program; the running one by default.
    #[must_use]
    pub fn binary(self, binary: &Path) -> Self {
        Self { binary: Some(binary.to_owned()), ..self }
    }

    /// Further top-level keys of weir's configuration.
    #[must_use]
    pub fn extra_config(self, extra: &str) -> Self {
        Self { extra: extra.to_owned(), ..self }
    }

    /// How the threads of [`NodeKind::Forwarder`] run.
    #[must_use]
    pub fn scheduling(self, scheduling: Scheduling) -> Self {
        Self { scheduling, ..self }
    }

    /// MTU of the pods.
    #[must_use]
    pub fn mtu(self, mtu: u32) -> Self {
        Self { mtu, ..self }
    }

    /// Leave everything up when the lab is dropped.
    #[must_use]
    pub fn keep(self, keep: bool) -> Self {
        Self { keep, ..self }
    }

    /// Whether weir is started, or left to [`Lab::start_weir`].
    #[must_use]
    pub fn start(self, start: bool) -> Self {
        Self { start, ..self }
    }

    /// A flag that ends the building, and what waits later, once it is set.
    #[must_use]
    pub fn interrupt(self, interrupt: Arc<AtomicBool>) -> Self {
        Self { interrupt, ..self }
    }

    /// Builds it. What was made goes again if something fails on the way.
    pub fn build(self) -> Result<Lab, LabError> {
        let id = fresh_id(self.keep);
        let temporary = tempfile::Builder::new().prefix(&format!("{id}-")).tempdir()?;
        let (root, directory) =
            if self.keep { (temporary.keep(), None) } else { (temporary.path().to_owned(), Some(temporary)) };
        let policies: Vec<(&str, &str)> =
            self.policies.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
        let state = ClusterState::create(&root.join("state"), &self.pods, &policies)?;
        let topology = Topology::create(&id, self.keep)?;
        let mut pods = Vec::with_capacity(self.pods.len());
        for plan in &self.pods {
            pods.push(Pod::create(&id, plan.clone(), self.keep)?);
        }
        let mut lab = Lab {
            servers: Vec::new(),
            weirs: [None, None],
            daemons: [Vec::new(), Vec::new()],
            ends: ends(&topology, &pods),
            pods,
            topology,
            state,
            kinds: self.nodes,
            attach: self.attach,
            mtu: self.mtu,
            interrupt: Arc::clone(&self.interrupt),
            _directory: directory,
        };
        lab.check_interrupt()?;
        let keeper = Arc::new(Keeper::new()?);
        for (side, kind) in Side::ALL.into_iter().zip(self.nodes) {
            match kind {
                NodeKind::Kernel => {
                    node_kernel::build(&lab.topology, side, &pods_of(&lab.pods, side), self.mtu)?;
                }
                NodeKind::Weir => self.add_weir(&mut lab, side, &root, &keeper)?,
                NodeKind::Ovs | NodeKind::Forwarder => {
                    let daemons = self.daemons(&lab, side, kind, &root, &keeper)?;
                    if let Some(place) = lab.daemons.get_mut(side as usize) {
                        *place = daemons;
                    }
                }
            }
            lab.check_interrupt()?;
        }
        for end in &lab.ends {
            lab.servers.push(Servers::start(Arc::clone(&end.netns))?);
        }
        Ok(lab)
    }

    /// Starts what forwards on a node in weir's place.
    fn daemons(
        &self,
        lab: &Lab,
        side: Side,
        kind: NodeKind,
        root: &Path,
        keeper: &Arc<Keeper>,
    ) -> Result<Vec<Daemon>, LabError> {
        let directory = root.join(side.name());
        let place = daemon::Place {
            node: side.name(),
            netns: lab.topology.node(side).netns(),
            directory: &directory,
            keeper,
            keep: self.keep,
        };
        let pods = pods_of(&lab.pods, side);
        if kind == NodeKind::Ovs {
            return node_ovs::build(place, &lab.topology, side, &pods, self.mtu);
        }
        forwarder::build(place, &self.program()?, &pods, self.mtu, self.scheduling)
    }

    fn program(&self) -> Result<PathBuf, LabError> {
        match &self.binary {
            Some(binary) => Ok(binary.clone()),
            None => Ok(std::env::current_exe()?),
        }
    }

    fn add_weir(&self, lab: &mut Lab, side: Side, root: &Path, keeper: &Arc<Keeper>) -> Result<(), LabError> {
        let binary = self.program()?;
        let setup = Setup {
            side,
            binary: &binary,
            directory: root.join(side.name()),
            state: lab.state.directory(),
            netns: Arc::clone(lab.topology.node(side).netns()),
            keep: self.keep,
            underlay: self.underlay,
            ring: self.ring,
            transmit_ring: self.transmit_ring,
            extra: &self.extra,
        };
        let pods = pods_of(&lab.pods, side);
        if self.attach == Attach::Veth {
            for pod in &pods {
                pod.connect(lab.topology.node(side).netns())?;
                pod.configure(self.mtu)?;
            }
        }
        let weir = NodeWeir::prepare(setup, Arc::clone(keeper), &pods, self.attach)?;
        if let Some(place) = lab.weirs.get_mut(side as usize) {
            *place = Some(weir);
        }
        if self.start { lab.start_weir(side) } else { Ok(()) }
    }
}

fn pods_of(pods: &[Pod], side: Side) -> Vec<&Pod> {
    pods.iter().filter(|pod| pod.plan.side == side).collect()
}

fn ends(topology: &Topology, pods: &[Pod]) -> Vec<End> {
    let pods = pods.iter().map(|pod| End {
        name: pod.plan.full_name(),
        place: Place::Pod { name: pod.plan.full_name(), side: pod.plan.side },
        netns: Arc::clone(pod.netns.netns()),
        v4: pod.plan.address(Family::V4),
        v6: pod.plan.address(Family::V6),
    });
    let outside = OUTSIDE.iter().zip(&topology.outside).map(|(plan, netns)| End {
        name: plan.name.to_owned(),
        place: Place::Outside,
        netns: Arc::clone(netns.netns()),
        v4: plan.address(Family::V4),
        v6: plan.address(Family::V6),
    });
    // A node speaks to its pods with its gateway address, which is on their subnet.
    let nodes = Side::ALL.into_iter().map(|side| End {
        name: side.name().to_owned(),
        place: Place::Node(side),
        netns: Arc::clone(topology.node(side).netns()),
        v4: side.pod_v4(1).into(),
        v6: side.pod_v6(1).into(),
    });
    pods.chain(outside).chain(nodes).collect()
}
