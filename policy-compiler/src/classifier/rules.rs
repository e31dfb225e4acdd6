//! What stands behind a rule id: the reason of a verdict, for people, counters and logs.
//!
//! Ids are dense and belong to one compilation. Id 0 is always [`RuleKind::UnknownSubject`].

use super::key::RuleId;
use crate::api::{ObjectKey, Provenance};
use crate::cluster::{Misplacement, PodName};
use crate::model::{Action, Direction, Hole, PolicyName};
use ahash::AHashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock};

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
    /// With this policy the tables would not fit; it denies everything in its place.
    TooLarge {
        /// The policy.
        policy: PolicyName,
        /// Where.
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

/// Something on the way to a verdict that did not decide.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// A rule asks to note the connection.
    Logged {
        /// The policy it is in.
        policy: PolicyName,
        /// Where.
        provenance: Provenance,
    },
    /// A rule left its tier.
    Passed {
        /// The tier.
        tier: String,
        /// The policy the rule is in.
        policy: PolicyName,
        /// Where.
        provenance: Provenance,
    },
    /// Policies of a tier apply to the subject, and none of their rules decided.
    Undecided {
        /// The tier.
        tier: String,
    },
}

/// One rule id's meaning. The same rule reached on another way has another id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RuleInfo {
    /// What it does.
    pub action: Action,
    /// For which direction; rules that hold for both are listed once per direction.
    pub direction: Direction,
    /// Why.
    pub kind: RuleKind,
    /// What was on the way, in order.
    pub via: Vec<Step>,
}

impl RuleInfo {
    /// A verdict that nothing came before.
    pub const fn direct(action: Action, direction: Direction, kind: RuleKind) -> Self {
        Self { action, direction, kind, via: Vec::new() }
    }

    /// Whether a rule on the way asks to note the connection.
    pub fn is_logged(&self) -> bool {
        self.via.iter().any(|step| matches!(step, Step::Logged { .. }))
    }
}

impl RuleKind {
    /// That of a rule of a policy, which may stand in place of another.
    pub(crate) fn of(hole: Option<Hole>, policy: PolicyName, provenance: Provenance) -> Self {
        match hole {
            None => Self::Rule { policy, provenance },
            Some(Hole::Unreadable) => Self::Unreadable { policy, provenance },
            Some(Hole::TooLarge) => Self::TooLarge { policy, provenance },
        }
    }
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
            Self::TooLarge { policy, provenance } => {
                write!(f, "too large, so it denies: {policy} {} ({})", provenance.field, provenance.origin)
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

/// All rules that can decide, by id. The oracle engine meets ways to a rule only when it judges: those come later.
#[derive(Debug, Clone)]
pub struct RuleTable {
    /// Shared by the tables of one generation and the next.
    rules: Vec<Arc<RuleInfo>>,
    later: Option<Arc<LaterRules>>,
}

impl Default for RuleTable {
    /// The table of a classifier that knows no subject: id 0 alone.
    fn default() -> Self {
        Self::shared(vec![Arc::new(UNKNOWN)])
    }
}

const UNKNOWN: RuleInfo = RuleInfo::direct(Action::Deny, Direction::Ingress, RuleKind::UnknownSubject);

impl RuleTable {
    pub(crate) fn shared(rules: Vec<Arc<RuleInfo>>) -> Self {
        Self { rules, later: None }
    }

    pub(crate) fn with_later(rules: Vec<Arc<RuleInfo>>, later: Arc<LaterRules>) -> Self {
        Self { rules, later: Some(later) }
    }

    /// What the id means. An id of another compilation yields some rule of this one, id 0 if out of range.
    pub fn get(&self, id: RuleId) -> &RuleInfo {
        const NOBODY: &RuleInfo = &UNKNOWN;
        let later = || self.later.as_ref()?.get((id.0 as usize).checked_sub(self.rules.len())?);
        self.rules.get(id.0 as usize).map(Arc::as_ref).or_else(later).unwrap_or(NOBODY)
    }

    /// How many there are; ids are below this.
    pub fn len(&self) -> usize {
        self.rules.len() + self.later.as_ref().map_or(0, |later| later.len())
    }

    /// Never: id 0 is always there.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All rules with their ids, in order.
    pub fn iter(&self) -> impl Iterator<Item = (RuleId, &RuleInfo)> {
        let ids = (0..u32::try_from(self.len()).unwrap_or(u32::MAX)).map(RuleId);
        ids.map(|id| (id, self.get(id)))
    }
}

/// Slots of the first piece; each further one has twice as many.
const PIECE: usize = 64;
const PIECES: usize = 26;

/// A list that only grows, read without a lock: what was once added stays where it is.
#[derive(Debug, Default)]
pub(crate) struct LaterRules {
    pieces: [OnceLock<Box<[OnceLock<RuleInfo>]>>; PIECES],
    known: Mutex<AHashMap<RuleInfo, usize>>,
}

impl LaterRules {
    /// Piece and place in it.
    fn place(position: usize) -> Option<(usize, usize)> {
        let piece = (position / PIECE).checked_add(1)?.ilog2() as usize;
        Some((piece, position.checked_sub(PIECE * ((1 << piece) - 1))?))
    }

    fn get(&self, position: usize) -> Option<&RuleInfo> {
        let (piece, place) = Self::place(position)?;
        self.pieces.get(piece)?.get()?.get(place)?.get()
    }

    fn len(&self) -> usize {
        self.known().len()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, AHashMap<RuleInfo, usize>> {
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The position of a rule, which is added if it is new. `None`: the list is full.
    pub(crate) fn add(&self, info: RuleInfo) -> Option<usize> {
        let mut known = self.known();
        if let Some(&position) = known.get(&info) {
            return Some(position);
        }
        let position = known.len();
        let (piece, place) = Self::place(position)?;
        let slots =
            self.pieces.get(piece)?.get_or_init(|| (0..PIECE << piece).map(|_| OnceLock::new()).collect());
        slots.get(place)?.set(info.clone()).ok()?;
        known.insert(info, position);
        Some(position)
    }
}

#[cfg(test)]
mod tests {
    use super::{LaterRules, RuleId, RuleInfo, RuleKind, RuleTable, Step, UNKNOWN};
    use crate::model::{Action, Direction};
    use std::sync::Arc;

    #[test]
    fn rules_met_later_keep_their_place() {
        let later = Arc::new(LaterRules::default());
        let table = RuleTable::with_later(vec![Arc::new(UNKNOWN)], Arc::clone(&later));
        let info = |number: usize| RuleInfo {
            via: vec![Step::Undecided { tier: number.to_string() }],
            ..RuleInfo::direct(Action::Allow, Direction::Egress, RuleKind::NotIsolated)
        };
        for number in 0..1000 {
            assert_eq!(later.add(info(number)), Some(number));
            assert_eq!(later.add(info(number / 2)), Some(number / 2));
        }
        assert_eq!(table.len(), 1001);
        for (id, rule) in table.iter().skip(1) {
            assert_eq!(*rule, info(id.0 as usize - 1));
        }
        assert_eq!(table.get(RuleId(5000)), &UNKNOWN);
    }
}
