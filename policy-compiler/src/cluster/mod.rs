//! Who is who in the cluster: live pods and their addresses, nodes and their VTEPs, and what is in conflict.
//!
//! A pod is *live* unless it has finished; host-network pods are part of their node. An address a live pod
//! shows is that pod, whatever else claims it; an address two live pods show is in conflict.

mod nodes;
mod shelves;
mod view;

pub(crate) use nodes::Places;
pub use shelves::{ByAddress, Shelves};
pub(crate) use view::{CutOff, LivePod, View, pod_name, wait_reason};

use ipnet::IpNet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Namespace and name of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for PodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Position in [`Cluster::subjects`] of the same compilation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubjectId(pub u32);

/// A pod that connections are judged for: live, in scope, not on the host network, with an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Its name.
    pub name: PodName,
    /// Its UID; empty in hand-written manifests.
    pub uid: String,
    /// Its addresses: one per family, unless it is cut off.
    pub addresses: Vec<IpAddr>,
    /// The node it runs on.
    pub node: String,
}

/// Why a pod in scope is no subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WaitReason {
    /// It has no address yet.
    NoAddress,
    /// It has finished.
    Finished,
    /// It is on the host network, hence part of its node.
    HostNetwork,
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoAddress => "no address yet",
            Self::Finished => "finished",
            Self::HostNetwork => "on the host network",
        })
    }
}

/// A pod in scope that is no subject, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The pod.
    pub name: PodName,
    /// Why.
    pub reason: WaitReason,
}

/// Why a pod cannot have an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Misplacement {
    /// It is a node's own address, or that of a gateway.
    OfANode,
    /// It is in none of the ranges that the pod's node has its pods' addresses from.
    OutsidePodCidrs,
}

/// A node, as the dataplane needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeView {
    /// Its name.
    pub name: String,
    /// Its own addresses.
    pub addresses: Vec<IpAddr>,
    /// The ranges its pods' addresses are from.
    pub pod_cidrs: Vec<IpNet>,
    /// MAC of its VTEP on the IPv4 underlay.
    pub vtep_mac: Option<[u8; 6]>,
    /// MAC of its VTEP on the IPv6 underlay.
    pub vtep_mac_v6: Option<[u8; 6]>,
    /// Underlay IPv4 address of its VTEP.
    pub public_ip: Option<Ipv4Addr>,
    /// Underlay IPv6 address of its VTEP.
    pub public_ipv6: Option<Ipv6Addr>,
    /// VNI it announces for the IPv4 underlay.
    pub vni: Option<u32>,
    /// VNI it announces for the IPv6 underlay.
    pub vni_v6: Option<u32>,
}

/// The cluster as one compilation saw it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cluster {
    /// The pods connections are judged for, sorted by name; the index is the [`SubjectId`].
    pub subjects: Shelves<Subject>,
    /// Pods in scope that are no subjects.
    pub waiting: Shelves<Waiting>,
    /// All nodes, sorted by name.
    pub nodes: Shelves<NodeView>,
    /// With a node's scope: every address that counts as that node towards its pods, sorted.
    pub own_node: Vec<IpAddr>,
    /// Addresses that several live pods show, with those pods.
    pub conflicts: Vec<(IpAddr, Vec<PodName>)>,
    /// Live pods that show an address no pod of their node can have, with the first such address: they are cut off,
    /// and the address stays whose it is.
    pub misplaced: Vec<(PodName, IpAddr, Misplacement)>,
    /// Addresses of all live pods of the cluster that one pod alone shows.
    pub pod_addresses: ByAddress<PodName>,
}
