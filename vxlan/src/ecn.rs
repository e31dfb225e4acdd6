//! Congestion marks across the tunnel (RFC 6040, normal mode).
//!
//! On the way in the two ECN bits are copied outside; the six DSCP bits outside are zero, as flannel's
//! devices send them. On the way out the marks of both headers are combined (RFC 6040 section 4.2):
//!
//! | inner \ outer | Not-ECT | ECT(0) | ECT(1) | CE |
//! | --- | --- | --- | --- | --- |
//! | Not-ECT | keep | keep | keep | **drop** |
//! | ECT(0) | keep | keep | ECT(1) | CE |
//! | ECT(1) | keep | keep | keep | CE |
//! | CE | keep | keep | keep | keep |
//!
//! The drop is counted as `ecn_invalid`: a router outside said "slow down" to a sender that would not hear it.

use crate::wire::checksum;

/// The two ECN bits of a TOS or traffic class byte.
const MASK: u8 = 0b11;
const NOT_ECT: u8 = 0b00;
const ECT_1: u8 = 0b01;
const ECT_0: u8 = 0b10;
const CE: u8 = 0b11;

/// The outer TOS or traffic class of a packet whose inner one is `inner_tos`.
pub const fn encapsulate(inner_tos: u8) -> u8 {
    inner_tos & MASK
}

/// What decapsulation does to the inner packet's ECN field.
///
/// ```
/// use vxlan::ecn::{Decapsulated, decapsulate};
///
/// assert_eq!(decapsulate(0b11, 0b10), Decapsulated::MarkCe);
/// assert_eq!(decapsulate(0b11, 0b00), Decapsulated::Drop);
/// ```
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum Decapsulated {
    /// It stays as it is.
    Keep,
    /// It becomes CE: [`set_ce`].
    MarkCe,
    /// It becomes ECT(1): [`set_ect1`].
    SetEct1,
    /// The packet must not go on.
    Drop,
}

/// Combines the outer and the inner field (RFC 6040 section 4.2, figure 4).
pub const fn decapsulate(outer_tos: u8, inner_tos: u8) -> Decapsulated {
    match (outer_tos & MASK, inner_tos & MASK) {
        (CE, NOT_ECT) => Decapsulated::Drop,
        (CE, ECT_0 | ECT_1) => Decapsulated::MarkCe,
        (ECT_1, ECT_0) => Decapsulated::SetEct1,
        _ => Decapsulated::Keep,
    }
}

/// Marks an IP packet "congestion experienced". The IPv4 header checksum follows (RFC 1624). What has not even
/// the first bytes of an IPv4 or IPv6 header stays as it is.
pub fn set_ce(ip_packet: &mut [u8]) {
    set(ip_packet, CE);
}

/// Sets an IP packet's ECN field to ECT(1), otherwise as [`set_ce`].
pub fn set_ect1(ip_packet: &mut [u8]) {
    set(ip_packet, ECT_1);
}

fn set(ip_packet: &mut [u8], ecn: u8) {
    let version = ip_packet.first().map(|first| first >> 4);
    match version {
        Some(4) => {
            let Some([first, tos, _, _, _, _, _, _, _, _, high, low, ..]) = ip_packet.first_chunk_mut::<12>()
            else {
                return;
            };
            let old = u16::from_be_bytes([*first, *tos]);
            *tos = (*tos & !MASK) | ecn;
            let new = u16::from_be_bytes([*first, *tos]);
            [*high, *low] = checksum::update16(u16::from_be_bytes([*high, *low]), old, new).to_be_bytes();
        }
        Some(6) => {
            // The traffic class straddles the first two bytes; its ECN bits are bits 4 and 5 of the second.
            let Some([_, second]) = ip_packet.first_chunk_mut::<2>() else { return };
            *second = (*second & !(MASK << 4)) | (ecn << 4);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rfc6040_s4_1_normal_mode_copies_ecn_and_not_dscp() {
        for tos in 0..=u8::MAX {
            assert_eq!(encapsulate(tos), tos & 3);
        }
    }

    #[test]
    fn rfc6040_s4_2_marks_are_combined_as_in_figure_4() {
        use Decapsulated::{Drop, Keep, MarkCe, SetEct1};
        let outer = [NOT_ECT, ECT_0, ECT_1, CE];
        let figure = [
            (NOT_ECT, [Keep, Keep, Keep, Drop]),
            (ECT_0, [Keep, Keep, SetEct1, MarkCe]),
            (ECT_1, [Keep, Keep, Keep, MarkCe]),
            (CE, [Keep, Keep, Keep, Keep]),
        ];
        for (inner, row) in figure {
            for (outer, expected) in outer.into_iter().zip(row) {
                assert_eq!(
                    decapsulate(outer | 0xa0, inner | 0x5c),
                    expected,
                    "outer {outer:02b} inner {inner:02b}"
                );
            }
        }
    }

    #[test]
    fn marking_ipv4_keeps_dscp_and_the_checksum_right() {
        let mut packet = [0x45, 0xba, 0, 20, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        let sum = checksum::ipv4_header(&packet).to_be_bytes();
        packet[10..12].copy_from_slice(&sum);
        set_ce(&mut packet);
        assert_eq!(packet[1], 0xbb);
        assert_eq!(checksum::ipv4_header(&packet), 0);
        set_ect1(&mut packet);
        assert_eq!(packet[1], 0xb9);
        assert_eq!(checksum::ipv4_header(&packet), 0);
    }

    #[test]
    fn marking_ipv6_keeps_dscp_and_flow_label() {
        let mut packet = [0x6b, 0xaf, 0xff, 0xff];
        set_ce(&mut packet);
        assert_eq!(packet, [0x6b, 0xbf, 0xff, 0xff]);
    }

    proptest! {
        #[test]
        fn marking_never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            set_ce(&mut bytes);
            set_ect1(&mut bytes);
        }
    }
}
