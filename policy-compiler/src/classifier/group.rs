//! Sixteen connections in columns: what is looked up in step.

use super::answer::{NOBODY, UNKNOWN};
use super::key::Pair;
use crate::cluster::SubjectId;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Connections of a group: what is looked up in step.
pub(crate) const LANES: usize = 16;

/// In the column of subjects: there is none.
pub(crate) const NO_SUBJECT: u32 = u32::MAX;

/// Sixteen connections in columns. Lanes from `used` on are whatever they were.
#[derive(Debug, Clone)]
pub(crate) struct Group<A> {
    pub(crate) src: [A; LANES],
    pub(crate) dst: [A; LANES],
    /// Subjects, or [`NO_SUBJECT`].
    pub(crate) source: [u32; LANES],
    pub(crate) destination: [u32; LANES],
    /// Protocol and destination port: `protocol << 16 | port`.
    pub(crate) l4: [u32; LANES],
    pub(crate) src_port: [u16; LANES],
    /// Answers: egress, ingress.
    pub(crate) words: [[u32; LANES]; 2],
    pub(crate) used: usize,
}

impl<A: Copy + Default> Group<A> {
    pub(crate) fn new() -> Self {
        Self {
            src: [A::default(); LANES],
            dst: [A::default(); LANES],
            source: [NO_SUBJECT; LANES],
            destination: [NO_SUBJECT; LANES],
            l4: [0; LANES],
            src_port: [0; LANES],
            words: [[UNKNOWN; LANES]; 2],
            used: 0,
        }
    }

    /// Writes the next lane. Does nothing where all are used.
    #[inline]
    pub(crate) fn push(&mut self, pair: &Pair, src: A, dst: A) {
        let lane = self.used;
        if lane >= LANES {
            return;
        }
        self.src[lane] = src;
        self.dst[lane] = dst;
        self.source[lane] = number(pair.source);
        self.destination[lane] = number(pair.destination);
        self.l4[lane] = u32::from(pair.protocol) << 16 | u32::from(pair.dst_port);
        self.src_port[lane] = pair.src_port;
        self.words[0][lane] = before(pair.source);
        self.words[1][lane] = before(pair.destination);
        self.used = lane + 1;
    }

    /// The subject at one end (0 the source, 1 the destination) and the address of the other.
    #[inline(always)]
    pub(crate) fn end(&self, side: usize, lane: usize) -> (u32, A) {
        if side == 0 { (self.source[lane], self.dst[lane]) } else { (self.destination[lane], self.src[lane]) }
    }

    pub(crate) fn pair(&self, lane: usize) -> Option<Pair>
    where
        A: Into<Address>,
    {
        if lane >= self.used.min(LANES) {
            return None;
        }
        let l4 = self.l4[lane];
        Some(Pair {
            source: subject(self.source[lane]),
            destination: subject(self.destination[lane]),
            src: self.src[lane].into().0,
            dst: self.dst[lane].into().0,
            protocol: (l4 >> 16) as u8,
            src_port: self.src_port[lane],
            dst_port: l4 as u16,
        })
    }
}

/// An address as columns have it.
pub(crate) struct Address(pub(crate) IpAddr);

impl From<u32> for Address {
    fn from(bits: u32) -> Self {
        Self(Ipv4Addr::from_bits(bits).into())
    }
}

impl From<u128> for Address {
    fn from(bits: u128) -> Self {
        Self(Ipv6Addr::from_bits(bits).into())
    }
}

#[inline]
fn number(subject: Option<SubjectId>) -> u32 {
    subject.map_or(NO_SUBJECT, |subject| subject.0)
}

pub(crate) fn subject(number: u32) -> Option<SubjectId> {
    (number != NO_SUBJECT).then_some(SubjectId(number))
}

/// The word of an end that has not been judged.
#[inline]
pub(super) fn before(subject: Option<SubjectId>) -> u32 {
    if subject.is_some() { UNKNOWN } else { NOBODY }
}
