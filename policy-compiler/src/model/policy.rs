//! Tiers, policies and rules of the model.

use super::{Direction, Order, Peer, Peers, PodSelection, PortSpec, Ports};
use crate::api::{ObjectKey, Provenance};

/// What identifies a policy: the object it was written in. One object may become several policies of the model.
pub type PolicyName = ObjectKey;

/// What a tier does when one of its policies applied to the subject and no rule decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Undecided {
    /// Deny: the subject is isolated.
    Deny,
    /// Go on with the next tier.
    Pass,
}

/// What a matching rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RuleAction {
    /// Allow, finally.
    Allow,
    /// Deny, finally.
    Deny,
    /// Leave the tier.
    Pass,
    /// Note it and go on with the next rule.
    Log,
}

/// Why something is not in force as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hole {
    /// It could not be read.
    Unreadable,
    /// With it the tables would not fit.
    TooLarge,
}

/// One rule of a policy: all its fields must match.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rule {
    /// The direction it judges.
    pub direction: Direction,
    /// Which of the policy's subjects it is about, by what they are and by their address of the connection's family;
    /// none: all of them. [`Peer::Nodes`] and [`Peer::OwnNode`] never hold here.
    pub local: Option<Peer>,
    /// The other ends it is about.
    pub peers: Peers,
    /// The protocols and destination ports it is about.
    pub ports: Ports,
    /// Destination ports and protocols it is not about.
    pub not_ports: Vec<PortSpec>,
    /// The source ports it is about; they are those of the subject for egress, of the other end for ingress.
    pub source_ports: Ports,
    /// Source ports it is not about.
    pub not_source_ports: Vec<PortSpec>,
    /// What it does.
    pub action: RuleAction,
    /// It stands in place of something that is not in force as written, and therefore denies.
    pub hole: Option<Hole>,
    /// Where it was written.
    pub provenance: Provenance,
}

impl Rule {
    /// The rule about every connection in a direction; for the others to be made from.
    pub fn about_all(direction: Direction, action: RuleAction, provenance: Provenance) -> Self {
        Self {
            direction,
            local: None,
            peers: Peers::Any,
            ports: Ports::Any,
            not_ports: Vec::new(),
            source_ports: Ports::Any,
            not_source_ports: Vec::new(),
            action,
            hole: None,
            provenance,
        }
    }

    /// What stands in place of something that could not be read: it denies everything in its direction.
    pub fn unreadable(direction: Direction, provenance: Provenance) -> Self {
        Self::hole(direction, Hole::Unreadable, provenance)
    }

    /// What stands in place of something: it denies everything in its direction.
    pub fn hole(direction: Direction, hole: Hole, provenance: Provenance) -> Self {
        Self { hole: Some(hole), ..Self::about_all(direction, RuleAction::Deny, provenance) }
    }
}

/// Whether a policy applies to a direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Applies {
    /// It has nothing to say.
    #[default]
    No,
    /// Its rules count; where none of the tier decides, nothing follows from this policy.
    RulesOnly,
    /// Its rules count; where none of the tier decides, the tier's [`Undecided`] does.
    Isolating,
}

/// A policy: whom it is about, in which directions it applies, and its rules.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Policy {
    /// Its name.
    pub name: PolicyName,
    /// Place in its tier; ties by name, then as written.
    pub order: Order,
    /// Whom it is about.
    pub subject: PodSelection,
    /// Whether it applies to connections the subject opens.
    pub egress: Applies,
    /// Whether it applies to connections to the subject.
    pub ingress: Applies,
    /// Its rules, in order.
    pub rules: Vec<Rule>,
    /// Where it was written.
    pub provenance: Provenance,
}

impl Policy {
    /// How it applies to the direction.
    pub fn applies(&self, direction: Direction) -> Applies {
        match direction {
            Direction::Egress => self.egress,
            Direction::Ingress => self.ingress,
        }
    }
}

/// A tier of policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tier {
    /// Its name.
    pub name: String,
    /// Place among the tiers; ties by name.
    pub order: Order,
    /// What happens when a policy that isolates applied and none decided.
    pub undecided: Undecided,
    /// Its policies, in order.
    pub policies: Vec<Policy>,
}
