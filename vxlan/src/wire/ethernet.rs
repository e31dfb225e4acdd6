//! The Ethernet II header (IEEE 802.3 clause 3): destination, source, type; no frame check sequence.
//!
//! Only untagged frames with a type are understood; [`super::headers`] refuses the rest.

use crate::mac::Mac;

/// Size of the header.
pub const HEADER_BYTES: usize = 14;

/// Ethernet type of IPv4.
pub const IPV4: u16 = 0x0800;

/// Ethernet type of ARP.
pub const ARP: u16 = 0x0806;

/// Ethernet type of IPv6.
pub const IPV6: u16 = 0x86dd;

/// Below this the field is a length (IEEE 802.3 clause 3.2.6).
pub const FIRST_TYPE: u16 = 0x0600;

/// An Ethernet header.
///
/// ```
/// use vxlan::{Mac, wire::ethernet::{self, Ethernet}};
///
/// let header = Ethernet { dst: Mac::BROADCAST, src: Mac([2, 0, 0, 0, 0, 1]), ethertype: ethernet::ARP };
/// assert_eq!(ethernet::parse(&header.to_bytes()), Some((header, &[][..])));
/// ```
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct Ethernet {
    /// The receiver.
    pub dst: Mac,
    /// The sender.
    pub src: Mac,
    /// What the payload is.
    pub ethertype: u16,
}

impl Ethernet {
    /// The header's bytes.
    pub const fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let [d0, d1, d2, d3, d4, d5] = self.dst.0;
        let [s0, s1, s2, s3, s4, s5] = self.src.0;
        let [high, low] = self.ethertype.to_be_bytes();
        [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, high, low]
    }
}

/// Is this the type of a VLAN tag (802.1Q, 802.1ad, and the two that came before it)?
pub const fn is_vlan(ethertype: u16) -> bool {
    matches!(ethertype, 0x8100 | 0x88a8 | 0x9100 | 0x9200)
}

/// Splits a frame into its header and payload; `None` where it is shorter than the header.
pub fn parse(frame: &[u8]) -> Option<(Ethernet, &[u8])> {
    let (&[d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, high, low], payload) =
        frame.split_first_chunk()?;
    let header = Ethernet {
        dst: Mac([d0, d1, d2, d3, d4, d5]),
        src: Mac([s0, s1, s2, s3, s4, s5]),
        ethertype: u16::from_be_bytes([high, low]),
    };
    Some((header, payload))
}

/// Overwrites both addresses of a frame; `false`, and nothing done, where it is too short.
pub fn set_macs(frame: &mut [u8], dst: Mac, src: Mac) -> bool {
    let Some((to, rest)) = frame.split_first_chunk_mut::<6>() else { return false };
    let Some(from) = rest.first_chunk_mut::<6>() else { return false };
    *to = dst.0;
    *from = src.0;
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_shorter_than_its_addresses_keeps_them() {
        let mut frame = [7; 11];
        assert!(!set_macs(&mut frame, Mac::BROADCAST, Mac::ZERO));
        assert_eq!(frame, [7; 11]);
    }

    #[test]
    fn setting_macs_changes_nothing_else() {
        let mut frame = [7; 16];
        assert!(set_macs(&mut frame, Mac([1; 6]), Mac([2; 6])));
        assert_eq!(frame, [1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 7, 7, 7, 7]);
    }

    #[test]
    fn header_shorter_than_fourteen_bytes_is_none() {
        assert_eq!(parse(&[0; 13]), None);
        assert!(parse(&[0; 14]).is_some());
    }
}
