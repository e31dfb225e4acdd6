//! Cilium's policies as written: specs of four sections of rules, with holes where something could not be read.

use super::entity::CiliumEntity;
use super::l7::CiliumDnsMatch;
use super::ports::CiliumPortRule;
use super::selector::CiliumSelector;
use crate::api::diagnostic::Provenance;
use crate::api::meta::Meta;
use crate::api::network_policy::IpBlock;
use crate::api::selector::Selector;
use ipnet::IpNet;

/// Whom a spec is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CiliumSubject {
    /// `endpointSelector`.
    Pods(CiliumSelector),
    /// `nodeSelector`: a host policy, which weir refuses; it says nothing about pods.
    Nodes,
    /// It could not be read.
    Unreadable,
}

/// Which CIDR groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CiliumCidrGroups {
    /// `cidrGroupRef`: the one of this name.
    Named(String),
    /// `cidrGroupSelector`: those whose labels match.
    Labelled(Selector),
}

/// One end of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CiliumPeer {
    /// An element of `fromEndpoints` or `toEndpoints`.
    Endpoints(CiliumSelector),
    /// An element of `fromEntities` or `toEntities`.
    Entity(CiliumEntity),
    /// An element of `fromCIDR`, `toCIDR` or of their sets.
    Block(IpBlock),
    /// CIDR groups in `fromCIDRSet` or `toCIDRSet`.
    CidrGroups {
        /// Which.
        groups: CiliumCidrGroups,
        /// Cut out of them.
        except: Vec<IpNet>,
        /// Where they are named.
        provenance: Provenance,
    },
    /// An element of `fromNodes` or `toNodes`, by the labels of Nodes.
    Nodes(Selector),
    /// An element of `toFQDNs`: nobody, until weir learns addresses from DNS.
    Names(CiliumDnsMatch),
}

/// What a rule says. Without peers and ports it is about nobody.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CiliumRuleBody {
    /// Missing: everybody. An empty list is nobody.
    pub peers: Option<Vec<CiliumPeer>>,
    /// `toPorts` or `icmps`; missing: every protocol.
    pub ports: Option<Vec<CiliumPortRule>>,
}

/// One element of a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CiliumRule {
    /// `None`: something in it could not be read.
    pub body: Option<CiliumRuleBody>,
    /// Where it stands.
    pub provenance: Provenance,
}

/// `spec`, or one element of `specs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CiliumSpec {
    /// Whom it is about.
    pub subject: CiliumSubject,
    /// `egress`.
    pub egress: Vec<CiliumRule>,
    /// `egressDeny`.
    pub egress_deny: Vec<CiliumRule>,
    /// `ingress`.
    pub ingress: Vec<CiliumRule>,
    /// `ingressDeny`.
    pub ingress_deny: Vec<CiliumRule>,
    /// Whether it isolates for egress: `enableDefaultDeny.egress`, else whether it has rules for it.
    pub isolates_egress: bool,
    /// Whether it isolates for ingress: `enableDefaultDeny.ingress`, else whether it has rules for it.
    pub isolates_ingress: bool,
    /// Something outside subject and rules that could not be read.
    pub unreadable: Option<Provenance>,
    /// Where it stands.
    pub provenance: Provenance,
}

/// A CiliumNetworkPolicy or a CiliumClusterwideNetworkPolicy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CiliumPolicy {
    /// Name and labels.
    pub meta: Meta,
    /// `spec` and `specs`.
    pub specs: Vec<CiliumSpec>,
    /// It is unknown what the object as a whole was to say.
    pub unreadable: Option<Provenance>,
}

impl CiliumPolicy {
    /// Notes that nothing of it is certain.
    pub(in crate::api) fn doubt(&mut self) {
        let Meta { origin, .. } = &self.meta;
        let whole = Provenance { origin: origin.clone(), field: String::new() };
        self.unreadable.get_or_insert(whole);
    }

    /// The namespace it is confined to, if it is.
    pub fn namespace(&self) -> Option<&str> {
        self.meta.key.kind.is_namespaced().then_some(self.meta.key.namespace.as_str())
    }
}
