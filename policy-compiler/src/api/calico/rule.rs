//! One rule of a Calico policy as written: everything that stands in it must match, and then its action is done.

use super::selector::{CalicoNamespaces, CalicoSelector};
use crate::api::diagnostic::Provenance;
use ipnet::IpNet;

/// `action`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CalicoAction {
    /// Allow, finally.
    Allow,
    /// Deny, finally.
    Deny,
    /// Note it and go on with the next rule.
    Log,
    /// Leave the tier.
    Pass,
}

/// `ipVersion`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IpFamily {
    /// 4.
    V4,
    /// 6.
    V6,
}

/// `icmp` or `notICMP`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CalicoIcmp {
    /// The type.
    pub kind: u8,
    /// The code; missing: all of the type.
    pub code: Option<u8>,
}

/// An element of `ports` or `notPorts`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CalicoPort {
    /// Both ends inclusive.
    Range(u16, u16),
    /// What the endpoint calls so, for the rule's protocol.
    Named(String),
}

/// `serviceAccounts`: an account of one of these names of which the selector holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct CalicoServiceAccounts {
    /// Empty: any name.
    pub names: Vec<String>,
    /// Over the labels of the account; missing: any.
    pub selector: Option<CalicoSelector>,
}

impl CalicoServiceAccounts {
    /// Whether it asks for anything.
    pub fn is_given(&self) -> bool {
        !self.names.is_empty() || self.selector.is_some()
    }
}

/// `source` or `destination`. Empty lists and missing selectors ask for nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct CalicoEntity {
    /// `nets`.
    pub nets: Vec<IpNet>,
    /// `notNets`.
    pub not_nets: Vec<IpNet>,
    /// `selector`.
    pub selector: Option<CalicoSelector>,
    /// `notSelector`.
    pub not_selector: Option<CalicoSelector>,
    /// `namespaceSelector`.
    pub namespaces: Option<CalicoNamespaces>,
    /// `serviceAccounts`.
    pub service_accounts: CalicoServiceAccounts,
    /// `ports`.
    pub ports: Vec<CalicoPort>,
    /// `notPorts`.
    pub not_ports: Vec<CalicoPort>,
}

/// What a rule says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CalicoRuleBody {
    /// What it does.
    pub action: CalicoAction,
    /// `ipVersion`.
    pub family: Option<IpFamily>,
    /// `protocol`: an IANA number.
    pub protocol: Option<u8>,
    /// `notProtocol`: an IANA number.
    pub not_protocol: Option<u8>,
    /// `icmp`.
    pub icmp: Option<CalicoIcmp>,
    /// `notICMP`.
    pub not_icmp: Option<CalicoIcmp>,
    /// Where the connection comes from.
    pub source: CalicoEntity,
    /// Where it goes to.
    pub destination: CalicoEntity,
}

/// One element of `ingress` or `egress`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalicoRule {
    /// `None`: something in it could not be read.
    pub body: Option<CalicoRuleBody>,
    /// Where it stands.
    pub provenance: Provenance,
}
