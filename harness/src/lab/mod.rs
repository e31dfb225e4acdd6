//! A lab: two nodes, their pods, outside hosts, policies, and whatever runs on the nodes.
//!
//! ```no_run
//! use harness::lab::{Lab, NodeKind, plan::{Family, Side}};
//!
//! let lab = Lab::builder().nodes([NodeKind::Weir, NodeKind::Kernel]).build()?;
//! let backend = lab.pod("shop/backend")?.address(Family::V4);
//! let answer = lab.pod("shop/frontend")?.run(|| std::net::TcpStream::connect((backend, 8080)))?;
//! assert!(answer.is_ok());
//! lab.state().remove("policy-frontend-to-backend.yaml")?;
//! lab.wait_for_generation(Side::A, 2, std::time::Duration::from_secs(1))?;
//! # Ok::<(), harness::lab::LabError>(())
//! ```
//!
//! Everything a lab made goes with it when it is dropped; [`teardown`] says how.

pub mod bench;
pub mod cluster_state;
pub mod daemon;
pub mod demo;
pub mod expect;
pub mod forwarder;
pub mod matrix;
pub mod memory;
pub mod node_kernel;
pub mod node_ovs;
pub mod node_weir;
pub mod plan;
pub mod pods;
pub mod report;
pub mod scenario;
pub mod teardown;
pub mod topology;
pub mod userns;

mod build;
mod error;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dataplane::control::{AttachmentState, Status};
use dataplane::sys::netns::Netns;
use dataplane::sys::process::Signal;

pub use build::LabBuilder;
use cluster_state::ClusterState;
use daemon::Daemon;
pub use error::LabError;
use error::no_weir;
use node_weir::NodeWeir;
use plan::{Family, Side};
use pods::Pod;
use scenario::Place;
use topology::Topology;

use crate::traffic::servers::Servers;

/// How long a started weir has until its pods are attached.
const ATTACHED: Duration = Duration::from_secs(15);

/// What a node runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    /// weir.
    Weir,
    /// Plain Linux, set up as flannel does; enforces no policy.
    Kernel,
    /// Open vSwitch in user space; enforces no policy.
    Ovs,
    /// A thread for each processor that passes frames between the node's two pods, and knows of nothing else.
    Forwarder,
}

impl NodeKind {
    /// `weir`, `kernel`, `ovs` or `forwarder`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Weir => "weir",
            Self::Kernel => "kernel",
            Self::Ovs => "ovs",
            Self::Forwarder => "forwarder",
        }
    }
}

/// How pods are attached to weir.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attach {
    /// A TAP that weir makes inside the pod's namespace.
    Tap,
    /// The host end of a veth, through AF_PACKET.
    Veth,
}

/// Where hosts and wires come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// Network namespaces and the kernel's own links.
    Namespaces,
    /// Hosts within the process, on memory ports.
    Memory,
}

/// Somebody who can send and receive: a pod, an outside host, a node itself.
#[derive(Debug, Clone)]
pub struct End {
    /// `namespace/name` of a pod, else the host's name.
    pub name: String,
    /// What it is to policies.
    pub place: Place,
    /// Where its sockets are.
    pub netns: Arc<Netns>,
    v4: IpAddr,
    v6: IpAddr,
}

impl End {
    /// Its address in a family.
    pub fn address(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }

    /// Runs a closure in its namespace.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> io::Result<T> {
        self.netns.run(f)
    }
}

/// A lab that is up. Fields end in this order.
#[derive(Debug)]
pub struct Lab {
    servers: Vec<Servers>,
    weirs: [Option<NodeWeir>; 2],
    daemons: [Vec<Daemon>; 2],
    ends: Vec<End>,
    pods: Vec<Pod>,
    topology: Topology,
    state: ClusterState,
    kinds: [NodeKind; 2],
    attach: Attach,
    mtu: u32,
    interrupt: Arc<AtomicBool>,
    /// Holds the state, configurations and logs; removed last.
    _directory: Option<tempfile::TempDir>,
}

impl Lab {
    /// Begins a description: weir on node A, the kernel on node B, the pods and policies of the demonstration.
    pub fn builder() -> LabBuilder {
        LabBuilder::default()
    }

    /// Everybody who can be asked, pods first.
    pub fn ends(&self) -> &[End] {
        &self.ends
    }

    /// The pod, outside host or node of that name.
    pub fn pod(&self, name: &str) -> Result<&End, LabError> {
        let found = self.ends.iter().find(|end| end.name == name);
        found.ok_or_else(|| LabError::State(vec![format!("there is no {name} in this lab")]))
    }

    /// The pods' namespaces and links.
    pub fn pods(&self) -> &[Pod] {
        &self.pods
    }

    /// The cluster's state, as files.
    pub fn state(&self) -> &ClusterState {
        &self.state
    }

    /// Namespaces of nodes and outside hosts.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Which nodes enforce policies.
    pub fn enforces(&self) -> [bool; 2] {
        self.kinds.map(|kind| kind == NodeKind::Weir)
    }

    /// A node's weir, if it is to run one.
    pub fn weir(&self, side: Side) -> Option<&NodeWeir> {
        self.weirs.get(side as usize)?.as_ref()
    }

    /// The processes that forward on a node: weir's, or what runs in its place; none where the kernel does.
    pub fn forwarding(&self, side: Side) -> impl Iterator<Item = u32> {
        let weir = self.weir(side).and_then(NodeWeir::pid);
        let daemons = self.daemons.get(side as usize).into_iter().flatten().map(Daemon::pid);
        weir.into_iter().chain(daemons)
    }

    /// The status of a node's weir.
    pub fn status(&self, side: Side) -> Result<Status, LabError> {
        self.weir(side).ok_or_else(|| no_weir(side))?.status()
    }

    /// Ends a node's weir with a signal.
    pub fn end_weir(&mut self, side: Side, signal: Signal) -> Result<(), LabError> {
        self.weir_mut(side)?.end(signal)
    }

    /// Starts a node's weir and waits until it answers, whatever it makes of the state. TAPs it makes have no
    /// addresses yet.
    pub fn launch_weir(&mut self, side: Side) -> Result<Status, LabError> {
        let weir = self.weir_mut(side)?;
        weir.spawn()?;
        weir.wait_until_up()
    }

    /// Starts a node's weir and waits until its pods are attached and have their addresses.
    pub fn start_weir(&mut self, side: Side) -> Result<(), LabError> {
        self.launch_weir(side)?;
        if self.attach == Attach::Tap {
            for pod in self.pods.iter().filter(|pod| pod.plan.side == side) {
                pod.wait_for_interface(ATTACHED)?;
                pod.configure(self.mtu)?;
            }
        }
        self.wait_until_attached(side)
    }

    /// Waits until a node's weir has compiled a generation of at least that number.
    pub fn wait_for_generation(
        &self,
        side: Side,
        number: u64,
        timeout: Duration,
    ) -> Result<Status, LabError> {
        self.wait_for(side, timeout, &format!("generation {number}"), |status| {
            status.state.generation >= number
        })
    }

    /// Waits until a node's status is as wanted; `what` names that in the error.
    pub fn wait_for(
        &self,
        side: Side,
        timeout: Duration,
        what: &str,
        is_as_wanted: impl Fn(&Status) -> bool,
    ) -> Result<Status, LabError> {
        let start = Instant::now();
        loop {
            self.check_interrupt()?;
            let status = self.status(side)?;
            if is_as_wanted(&status) {
                return Ok(status);
            }
            if start.elapsed() > timeout {
                return Err(LabError::Weir { node: side.name(), text: late(what, timeout, &status) });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// An error once somebody asked the lab to end.
    pub fn check_interrupt(&self) -> Result<(), LabError> {
        if self.interrupt.load(Ordering::SeqCst) { Err(LabError::Interrupted) } else { Ok(()) }
    }

    /// For a lab that is kept: the lines that enter each namespace, and the one that ends it all.
    pub fn how_to_enter(&self) -> Vec<String> {
        let nodes = self.topology.nodes.iter().chain(&self.topology.outside);
        let names = self.pods.iter().map(|pod| &pod.netns).chain(nodes).map(topology_name);
        let enter = names.map(|name| format!("nsenter --net=/run/netns/{name} sh"));
        let directory = self.state.directory().display();
        let rest = [format!("state: {directory}"), "remove it all with: weir lab clean".to_owned()];
        enter.chain(rest).collect()
    }

    fn wait_until_attached(&self, side: Side) -> Result<(), LabError> {
        let wanted = self.pods.iter().filter(|pod| pod.plan.side == side).count();
        self.wait_for(side, ATTACHED, "the first generation and all pods attached", |status| {
            let attached = status.pods.iter().filter(|pod| pod.attachment == Some(AttachmentState::Attached));
            status.state.generation > 0 && attached.count() >= wanted
        })
        .map(drop)
    }

    fn weir_mut(&mut self, side: Side) -> Result<&mut NodeWeir, LabError> {
        self.weirs.get_mut(side as usize).and_then(Option::as_mut).ok_or_else(|| no_weir(side))
    }
}

/// What was waited for in vain, and what a person would look at next.
fn late(what: &str, timeout: Duration, status: &Status) -> String {
    let pods = status.pods.iter().map(|pod| {
        let state = pod.attachment.map_or("no attachment", AttachmentState::name);
        let reason = pod.reason.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
        format!("\n  | {}: {state}{reason}", pod.name)
    });
    let problems = status.state.problems.iter().map(|problem| format!("\n  | {problem}"));
    let (state, generation) = (status.state.status.name(), status.state.generation);
    let start =
        format!("waited {timeout:?} in vain for {what}; the state is {state}, generation {generation}");
    [start].into_iter().chain(problems).chain(pods).collect()
}

fn topology_name(netns: &teardown::OwnedNetns) -> &str {
    netns.name()
}
