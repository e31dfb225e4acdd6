//! What is left of a rule once its prefixes are known to match: ports, protocol and the first byte of a short prefix.
//!
//! 16 bytes, four to a cache line; compared without a branch. All bits of every field count, nothing is lost.

use super::prefixes::Prefix;
#[cfg(target_arch = "x86_64")]
use crate::classifier::arch::{Avx512, Lanes, Mask};
use crate::ruleset::Rule;
use std::hint::{cold_path, select_unpredictable};

/// No rule: worse than every id.
pub(super) const NONE: u32 = !MORE;
/// In a record's id: the list goes on behind this record.
pub(super) const MORE: u32 = 1 << 31;

/// Element `at` of a table, or `absent` where there is none. No table is ever asked for more than it has, by how it
/// was built; saying that the other way is cold keeps the check to one branch that is never taken.
#[inline(always)]
pub(super) fn entry<T: Copy>(table: &[T], at: usize, absent: T) -> T {
    if let Some(&entry) = table.get(at) {
        entry
    } else {
        cold_path();
        absent
    }
}

/// The same without a copy.
#[inline(always)]
pub(super) fn entry_ref<'a, T>(table: &'a [T], at: usize, absent: &'a T) -> &'a T {
    if let Some(entry) = table.get(at) {
        entry
    } else {
        cold_path();
        absent
    }
}

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
pub(crate) struct Record {
    src_first: u16,
    /// How many ports follow the first.
    src_more: u16,
    dst_first: u16,
    dst_more: u16,
    /// Protocol, and in the high byte the first byte of the address on the side whose prefix is short.
    value: u16,
    mask: u16,
    id: u32,
}

const _: () = assert!(size_of::<Record>() == 16);

impl Record {
    /// Matches nothing: what it may match is no rule.
    pub(super) const NEVER: Self = Self {
        src_first: 0,
        src_more: 0,
        dst_first: 0,
        dst_more: 0,
        value: u16::MAX,
        mask: u16::MAX,
        id: NONE,
    };

    /// The record of a rule; `short` is the prefix, of at most eight bits, that is left to compare.
    pub(super) fn new(rule: &Rule, id: u32, short: Option<Prefix>) -> Self {
        let (top, top_mask) = short.map_or((0, 0), Prefix::top);
        let (src, dst, protocol) = (rule.src_ports(), rule.dst_ports(), rule.protocol());
        Self {
            src_first: src.first(),
            src_more: src.last() - src.first(),
            dst_first: dst.first(),
            dst_more: dst.last() - dst.first(),
            value: u16::from_be_bytes([top, protocol.value()]),
            mask: u16::from_be_bytes([top_mask, protocol.mask()]),
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

    /// First and last source port.
    pub(super) fn src(&self) -> (u16, u16) {
        (self.src_first, self.src_first.saturating_add(self.src_more))
    }

    /// First and last destination port.
    pub(super) fn dst(&self) -> (u16, u16) {
        (self.dst_first, self.dst_first.saturating_add(self.dst_more))
    }

    #[inline(always)]
    pub(super) fn matches(&self, fields: Fields, top: u8) -> bool {
        (fields.src_port.wrapping_sub(self.src_first) <= self.src_more)
            & (fields.dst_port.wrapping_sub(self.dst_first) <= self.dst_more)
            & (((u16::from(top) << 8 | u16::from(fields.protocol)) ^ self.value) & self.mask == 0)
    }

    /// Ports and protocol alone.
    pub(super) fn spec(&self) -> ((u16, u16), (u16, u16), u8, u8) {
        (self.src(), self.dst(), self.value as u8, self.mask as u8)
    }

    pub(super) fn has_protocol(&self, protocol: u8) -> bool {
        (protocol ^ self.value as u8) & self.mask as u8 == 0
    }

    /// The id if the record matches, else [`NONE`].
    #[inline(always)]
    pub(super) fn answer(&self, fields: Fields, top: u8) -> u32 {
        select_unpredictable(self.matches(fields, top), self.id(), NONE)
    }
}

/// Sixteen packets, and what they have in the words of records: ports in the low halves, and the high byte of an address
/// above the protocol.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(super) struct FieldLanes {
    pub(super) src_port: Lanes,
    pub(super) dst_port: Lanes,
    pub(super) value: Lanes,
}

#[cfg(target_arch = "x86_64")]
impl Record {
    /// What one packet has in the words of four records side by side.
    #[inline(always)]
    pub(super) fn four_of(v: Avx512, fields: Fields, top: u8) -> Lanes {
        let words = [
            fields.src_port.into(),
            fields.dst_port.into(),
            u32::from(top) << 8 | u32::from(fields.protocol),
            0,
        ];
        let [a, b, c, d] = words;
        v.load(&[a, b, c, d, a, b, c, d, a, b, c, d, a, b, c, d])
    }

    /// The position of the first of four records that matches the packet; four if none does.
    #[inline(always)]
    pub(super) fn first_of_four(v: Avx512, records: &[Self; 4], packet: Lanes) -> usize {
        let words = v.load_all(records);
        let (low, high) = (v.splat(0xffff), v.right::<16>(words));
        let ports = v.at_most(v.and(v.sub_16(packet, words), low), high);
        let values = v.none_of(v.and(v.xor(packet, words), high), low);
        // Of each record's four words two are ports, one is a value, and the id is no condition.
        let all = ports & 0x3333 | values & 0x4444 | 0x8888;
        let records = all & all >> 1 & all >> 2 & all >> 3 & 0x1111;
        (u32::from(records).trailing_zeros() / 4).min(4) as usize
    }

    /// Where sixteen records match: their first four words.
    #[inline(always)]
    pub(super) fn lanes_match(v: Avx512, words: [Lanes; 3], fields: FieldLanes) -> Mask {
        let [src, dst, value] = words;
        let low = v.splat(0xffff);
        let inside =
            |port: Lanes, range: Lanes| v.at_most(v.and(v.sub_16(port, range), low), v.right::<16>(range));
        let differs = v.and(v.xor(fields.value, value), v.right::<16>(value));
        inside(fields.src_port, src) & inside(fields.dst_port, dst) & v.none_of(differs, low)
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
