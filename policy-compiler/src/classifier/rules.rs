//! What stands behind a rule id: the reason of a verdict, for people, counters and logs.
//!
//! Ids are dense and belong to one compilation. Id 0 is always [`RuleKind::UnknownSubject`].

use super::key::RuleId;
use crate::api::{ObjectKey, Provenance};
use crate::cluster::{Misplacement, PodName};
use crate::model::{Action, Direction, PolicyName};
use ahash::AHashMap;
use std::fmt;
use std::net::IpAddr;

/// Why a verdict is what it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RuleKind {
    /// A rule somebody wrote.
    Rule {
        /// The policy it is in.
        policy: PolicyName,
        /// Where.
        provenance: Provenance,
    },
    /// The subject is isolated by these policies and none of them allows the connection.
    DefaultDeny {
        /// The tier that denies.
        tier: String,
        /// The policies of the tier that apply to the subject, in order.
        policies: Vec<PolicyName>,
    },
    /// No policy applies to the subject in this direction, or those that do passed.
    NotIsolated,
    /// A pod's own node may always reach it (kubelet probes).
    OwnNode,
    /// A pod may always reach its own address.
    SelfTraffic,
    /// Something of this policy could not be read; it denies everything in its place.
    Unreadable {
        /// The policy.
        policy: PolicyName,
        /// What could not be read.
        provenance: Provenance,
    },
    /// Pod or namespace that could not be read: the pod is cut off.
    UnreadableObject {
        /// The object.
        object: ObjectKey,
        /// Where.
        provenance: Provenance,
    },
    /// Live pods that show one address: all of them are cut off.
    IpConflict {
        /// The address.
        address: IpAddr,
        /// The pods.
        pods: Vec<PodName>,
    },
    /// A live pod that shows an address no pod of its node can have: it is cut off.
    Misplaced {
        /// The pod.
        pod: PodName,
        /// Its node.
        node: String,
        /// The address.
        address: IpAddr,
        /// Why.
        reason: Misplacement,
    },
    /// The key's subject is none of this compilation's.
    UnknownSubject,
}

/// One rule id's meaning.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RuleInfo {
    /// What it does.
    pub action: Action,
    /// For which direction; rules that hold for both are listed once per direction.
    pub direction: Direction,
    /// Why.
    pub kind: RuleKind,
}

impl fmt::Display for RuleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule { policy, provenance } => {
                write!(f, "{policy} {} ({})", provenance.field, provenance.origin)
            }
            Self::DefaultDeny { policies, .. } => {
                f.write_str("default deny: isolated by ")?;
                let mut kind = None;
                for (position, policy) in policies.iter().enumerate() {
                    if position > 0 {
                        f.write_str(", ")?;
                    }
                    if kind == Some(policy.kind) {
                        f.write_str(&policy.path())?;
                    } else {
                        write!(f, "{policy}")?;
                    }
                    kind = Some(policy.kind);
                }
                Ok(())
            }
            Self::NotIsolated => f.write_str("not isolated: no policy applies"),
            Self::OwnNode => f.write_str("own node: a pod's node may always reach it"),
            Self::SelfTraffic => f.write_str("the pod itself"),
            Self::Unreadable { policy, provenance } => {
                write!(f, "unreadable, so it denies: {policy} {} ({})", provenance.field, provenance.origin)
            }
            Self::UnreadableObject { object, provenance } => {
                write!(f, "unreadable, so it is cut off: {object} ({})", provenance.origin)
            }
            Self::IpConflict { address, pods } => {
                write!(f, "address conflict: {address} is claimed by ")?;
                for (position, pod) in pods.iter().enumerate() {
                    write!(f, "{}{pod}", if position > 0 { ", " } else { "" })?;
                }
                Ok(())
            }
            Self::Misplaced { pod, node, address, reason } => match reason {
                Misplacement::OfANode => {
                    write!(f, "misplaced: {address} of {pod} is a node's or a gateway's")
                }
                Misplacement::OutsidePodCidrs => {
                    write!(f, "misplaced: {address} of {pod} is outside the podCIDRs of node {node}")
                }
            },
            Self::UnknownSubject => f.write_str("no policy has been compiled for the pod"),
        }
    }
}

impl fmt::Display for RuleInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

/// All rules that can decide, by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleTable {
    rules: Vec<RuleInfo>,
}

impl Default for RuleTable {
    /// The table of a classifier that knows no subject: id 0 alone.
    fn default() -> Self {
        RuleInterner::new().finish()
    }
}

impl RuleTable {
    /// What the id means. An id of another compilation yields some rule of this one, id 0 if out of range.
    pub fn get(&self, id: RuleId) -> &RuleInfo {
        const UNKNOWN: &RuleInfo =
            &RuleInfo { action: Action::Deny, direction: Direction::Ingress, kind: RuleKind::UnknownSubject };
        self.rules.get(id.0 as usize).unwrap_or(UNKNOWN)
    }

    /// How many there are; ids are below this.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Never: id 0 is always there.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// All rules with their ids, in order.
    pub fn iter(&self) -> impl Iterator<Item = (RuleId, &RuleInfo)> {
        (0..).map(RuleId).zip(self.rules.iter())
    }
}

/// Gives equal rules one id while compiling.
#[derive(Debug)]
pub(crate) struct RuleInterner {
    ids: AHashMap<RuleInfo, RuleId>,
    rules: Vec<RuleInfo>,
}

impl RuleInterner {
    pub(crate) fn new() -> Self {
        let mut interner = Self { ids: AHashMap::new(), rules: Vec::new() };
        interner.intern(RuleInfo {
            action: Action::Deny,
            direction: Direction::Ingress,
            kind: RuleKind::UnknownSubject,
        });
        interner
    }

    pub(crate) fn intern(&mut self, info: RuleInfo) -> RuleId {
        if let Some(&id) = self.ids.get(&info) {
            return id;
        }
        let id = RuleId(u32::try_from(self.rules.len()).unwrap_or(u32::MAX));
        self.rules.push(info.clone());
        self.ids.insert(info, id);
        id
    }

    pub(crate) fn finish(self) -> RuleTable {
        RuleTable { rules: self.rules }
    }
}
