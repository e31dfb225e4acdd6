//! What is left of a rule once its prefixes are known to match: ports, protocol and the first byte of a short prefix.
//!
//! 16 bytes, four to a cache line; compared without a branch. All bits of every field count, nothing is lost.

use super::prefixes::Prefix;
use crate::ruleset::Rule;

/// No rule: worse than every id.
pub(super) const NONE: u32 = u32::MAX;
/// In a record's id: the list goes on behind this record.
pub(super) const MORE: u32 = 1 << 31;

/// The fields of a packet that are not addresses.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Fields {
    pub(super) src_port: u16,
    pub(super) dst_port: u16,
    pub(super) protocol: u8,
}

/// A rule without its long prefixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(16))]
pub(super) struct Record {
    pub(super) src: (u16, u16),
    pub(super) dst: (u16, u16),
    protocol: u8,
    protocol_mask: u8,
    /// First byte of the address on the side whose prefix is short.
    top: u8,
    top_mask: u8,
    id: u32,
}

const _: () = assert!(size_of::<Record>() == 16);

impl Record {
    /// Matches nothing.
    pub(super) const NEVER: Self =
        Self { src: (1, 0), dst: (1, 0), protocol: 1, protocol_mask: 0, top: 0, top_mask: 0, id: !MORE };

    /// The record of a rule; `short` is the prefix, of at most eight bits, that is left to compare.
    pub(super) fn new(rule: &Rule, id: u32, short: Option<Prefix>) -> Self {
        let (top, top_mask) = short.map_or((0, 0), Prefix::top);
        Self {
            src: (rule.src_ports().first(), rule.src_ports().last()),
            dst: (rule.dst_ports().first(), rule.dst_ports().last()),
            protocol: rule.protocol().value(),
            protocol_mask: rule.protocol().mask(),
            top,
            top_mask,
            id: id & !MORE,
        }
    }

    /// The same at the head of a list that goes on.
    pub(super) fn with_more(mut self) -> Self {
        self.id |= MORE;
        self
    }

    #[inline(always)]
    pub(super) fn id(&self) -> u32 {
        self.id & !MORE
    }

    /// Whether the list goes on, at the head of a list.
    #[inline(always)]
    pub(super) fn has_more(&self) -> bool {
        self.id & MORE != 0
    }

    #[inline(always)]
    pub(super) fn matches(&self, fields: Fields, top: u8) -> bool {
        (self.src.0 <= fields.src_port)
            & (fields.src_port <= self.src.1)
            & (self.dst.0 <= fields.dst_port)
            & (fields.dst_port <= self.dst.1)
            & (fields.protocol & self.protocol_mask == self.protocol)
            & (top & self.top_mask == self.top)
    }

    /// Ports and protocol alone.
    pub(super) fn spec(&self) -> ((u16, u16), (u16, u16), u8, u8) {
        (self.src, self.dst, self.protocol, self.protocol_mask)
    }

    pub(super) fn has_protocol(&self, protocol: u8) -> bool {
        protocol & self.protocol_mask == self.protocol
    }

    /// The id if the record matches, else [`NONE`].
    #[inline(always)]
    pub(super) fn answer(&self, fields: Fields, top: u8) -> u32 {
        if self.matches(fields, top) { self.id() } else { NONE }
    }
}

#[cfg(test)]
mod tests {
    use super::{Fields, NONE, Record};

    #[test]
    fn the_record_that_never_matches_never_does() {
        for protocol in [0, 1, 6, 255] {
            for port in [0, 1, 65_535] {
                let fields = Fields { src_port: port, dst_port: port, protocol };
                assert_eq!(Record::NEVER.answer(fields, protocol), NONE);
            }
        }
    }
}
