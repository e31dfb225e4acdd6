//! Rules that no policy has: they say what holds of a pod without policies, of its own node, and of those cut off.

use crate::classifier::{Base, RuleId, RuleInfo, RuleInterner, RuleKind};
use crate::cluster::CutOff;
use crate::model::{Action, Direction};

/// Rule ids that no policy has, by direction (egress, ingress) where they have one.
#[derive(Debug)]
pub(crate) struct FixedRules {
    pub(crate) self_traffic: [RuleId; 2],
    pub(crate) not_isolated: [Base; 2],
    pub(crate) own_node: RuleId,
    /// By position in the view's list.
    pub(crate) cut_off: Vec<[RuleId; 2]>,
}

impl FixedRules {
    pub(crate) fn new(cut_offs: &[CutOff], interner: &mut RuleInterner) -> Self {
        let mut both = |action, kind: &RuleKind| {
            Direction::ALL.map(|direction| interner.direct(RuleInfo::direct(action, direction, kind.clone())))
        };
        let self_traffic = both(Action::Allow, &RuleKind::SelfTraffic);
        both(Action::Allow, &RuleKind::NotIsolated);
        let cut_off = cut_offs.iter().map(|cut_off| both(Action::Deny, &cut_off_kind(cut_off))).collect();
        let own_node = RuleInfo::direct(Action::Allow, Direction::Ingress, RuleKind::OwnNode);
        let own_node = interner.direct(own_node);
        let not_isolated = Direction::ALL.map(|direction| {
            interner.base(RuleInfo::direct(Action::Allow, direction, RuleKind::NotIsolated))
        });
        Self { self_traffic, not_isolated, own_node, cut_off }
    }
}

/// What a verdict says of a pod that is cut off.
pub(crate) fn cut_off_kind(cut_off: &CutOff) -> RuleKind {
    match cut_off.clone() {
        CutOff::Conflict { address, pods } => RuleKind::IpConflict { address, pods },
        CutOff::Misplaced { pod, node, address, reason } => {
            RuleKind::Misplaced { pod, node, address, reason }
        }
        CutOff::Unreadable { object, provenance } => RuleKind::UnreadableObject { object, provenance },
    }
}
