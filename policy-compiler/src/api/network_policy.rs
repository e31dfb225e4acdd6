//! networking.k8s.io/v1 NetworkPolicy as written, validated as the API server does.
//!
//! What cannot be read is kept as a hole (`None`) where it stood, so that the compiler can deny in its place.

use super::diagnostic::Provenance;
use super::meta::Meta;
use super::selector::Selector;
use ipnet::IpNet;
use std::net::IpAddr;

/// `ipBlock`: addresses inside `cidr` but in none of `except`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IpBlock {
    /// The block, without host bits.
    pub cidr: IpNet,
    /// Cut out of this block only, never a deny; strict subsets of `cidr`.
    pub except: Vec<IpNet>,
}

impl IpBlock {
    /// Whether the address is in the block. Families never match each other.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.cidr.contains(&address) && !self.except.iter().any(|except| except.contains(&address))
    }
}

/// One element of `from` or `to`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PolicyPeer {
    /// `podSelector` and `namespaceSelector`, at least one of them; both together are ANDed.
    Selectors {
        /// Missing: all pods.
        pods: Option<Selector>,
        /// Missing: the policy's own namespace.
        namespaces: Option<Selector>,
    },
    /// `ipBlock`.
    IpBlock(IpBlock),
}

/// The port of an element of `ports`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PolicyPortNumber {
    /// Missing: all ports of the protocol.
    All,
    /// `port`, up to `endPort`.
    Range(u16, u16),
    /// A container port's name.
    Named(String),
}

/// One element of `ports`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PolicyPort {
    /// IANA protocol number: 6, 17 or 132.
    pub protocol: u8,
    /// The port.
    pub port: PolicyPortNumber,
}

/// What a rule says. Empty lists mean "any", as in the API.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuleBody {
    /// `from` or `to`.
    pub peers: Vec<PolicyPeer>,
    /// `ports`.
    pub ports: Vec<PolicyPort>,
}

/// One element of `ingress` or `egress`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyRule {
    /// `None`: something in it could not be read.
    pub body: Option<RuleBody>,
    /// Where it stands.
    pub provenance: Provenance,
}

/// A network policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkPolicy {
    /// Name and labels.
    pub meta: Meta,
    /// Where `spec` stands.
    pub spec: Provenance,
    /// `spec.podSelector`; `None`: it could not be read.
    pub pod_selector: Option<Selector>,
    /// Whether it applies to ingress, by `policyTypes` or its default.
    pub applies_ingress: bool,
    /// Whether it applies to egress, by `policyTypes` or its default.
    pub applies_egress: bool,
    /// Whether `policyTypes` names the directions; else they follow from the sections.
    pub types_written: bool,
    /// `spec.egress`, where it is there without a rule.
    pub empty_egress: Option<Provenance>,
    /// `spec.ingress`.
    pub ingress: Vec<PolicyRule>,
    /// `spec.egress`.
    pub egress: Vec<PolicyRule>,
    /// Something outside the selector and the rules that could not be read.
    pub unreadable: Option<Provenance>,
}

impl NetworkPolicy {
    /// Notes that nothing of it is certain: whom it is about, what it says.
    pub(super) fn doubt(&mut self) {
        self.pod_selector = None;
        self.unreadable = Some(self.spec.clone());
    }
}
