//! What a classifier is asked and what it answers.

use crate::cluster::SubjectId;
use crate::model::{Action, Direction};
use std::net::IpAddr;

/// A connection to be judged, in its original direction: `src` opened it.
///
/// Only first packets are asked about; replies are the connection table's. For a pod-to-pod connection there
/// are two keys: egress at the source's pod and ingress at the destination's.
///
/// ICMP and ICMPv6 have no ports: `src_port` is 0 and `dst_port` is `type << 8 | code`. Other protocols
/// without ports carry 0 in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// The pod that is judged.
    pub subject: SubjectId,
    /// The pod's side: egress where it is the source.
    pub direction: Direction,
    /// Who opens the connection.
    pub src: IpAddr,
    /// To whom.
    pub dst: IpAddr,
    /// IANA protocol number of the transport header.
    pub protocol: u8,
    /// Source port.
    pub src_port: u16,
    /// Destination port, or ICMP `type << 8 | code`.
    pub dst_port: u16,
}

impl Key {
    /// The end that is not the subject.
    pub fn remote(&self) -> IpAddr {
        match self.direction {
            Direction::Egress => self.dst,
            Direction::Ingress => self.src,
        }
    }
}

/// A connection to be judged at each of its ends that is a subject: what two [`Key`]s say, with one pair of lookups of
/// addresses and one of ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pair {
    /// The subject that opens it, if it is one.
    pub source: Option<SubjectId>,
    /// The subject it is opened to, if it is one.
    pub destination: Option<SubjectId>,
    /// Who opens the connection.
    pub src: IpAddr,
    /// To whom.
    pub dst: IpAddr,
    /// As in [`Key`].
    pub protocol: u8,
    /// As in [`Key`].
    pub src_port: u16,
    /// As in [`Key`].
    pub dst_port: u16,
}

impl Pair {
    /// What is asked at one end, if that is a subject.
    pub fn key(&self, direction: Direction) -> Option<Key> {
        let subject = match direction {
            Direction::Egress => self.source?,
            Direction::Ingress => self.destination?,
        };
        let &Self { src, dst, protocol, src_port, dst_port, .. } = self;
        Some(Key { subject, direction, src, dst, protocol, src_port, dst_port })
    }
}

/// The answers at both ends; none where there is no subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PairVerdict {
    /// What the source's policies say.
    pub egress: Option<Verdict>,
    /// What the destination's policies say.
    pub ingress: Option<Verdict>,
}

impl PairVerdict {
    /// Whether no end denies. True where no end is a subject.
    pub fn allows(&self) -> bool {
        [self.egress, self.ingress].into_iter().flatten().all(|verdict| verdict.action == Action::Allow)
    }
}

/// Number of a rule in the [`super::RuleTable`] of the same compilation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId(pub u32);

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Verdict {
    /// What becomes of the connection.
    pub action: Action,
    /// The rule that decided.
    pub rule: RuleId,
}

impl Verdict {
    /// Answer to a subject the classifier does not know; also what a table that contradicts itself yields.
    pub const UNKNOWN_SUBJECT: Self = Self { action: Action::Deny, rule: RuleId(0) };
}
