//! The VXLAN header (RFC 7348 section 5).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |R|R|R|R|I|R|R|R|            Reserved                           |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                VXLAN Network Identifier (VNI) |   Reserved    |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//!
//! Sent: the I flag, everything reserved zero. Received: the I flag must be set, what is reserved is ignored
//! and reported ([`VxlanHeader::reserved_set`]), for counting or for the strict setting that Linux has always
//! on. Extensions that use the reserved bits (GPE, group policy, remote checksum offload) are not spoken.

use crate::vni::Vni;

/// Size of the header.
pub const HEADER_BYTES: usize = 8;

/// The port of flannel and of the Linux kernel.
pub const UDP_PORT_FLANNEL: u16 = 8472;

/// The port of RFC 7348.
pub const UDP_PORT_IANA: u16 = 4789;

/// "The VNI is valid."
const I_FLAG: u8 = 0x08;

/// What a VXLAN header says.
///
/// ```
/// use vxlan::wire::vxlan::{VxlanError, parse};
///
/// // The group policy extension sets a reserved bit, here beside the I flag.
/// let (header, inner) = parse(&[0x88, 0, 0, 0, 0, 0, 42, 0, 0xee])?;
/// assert_eq!((header.vni.get(), header.reserved_set, inner), (42, true, &[0xee][..]));
/// # Ok::<(), VxlanError>(())
/// ```
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct VxlanHeader {
    /// The network.
    pub vni: Vni,
    /// Is any reserved bit set?
    pub reserved_set: bool,
}

/// Why bytes are no VXLAN packet.
#[derive(Debug, Copy, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VxlanError {
    /// Shorter than the header.
    #[error("the datagram is shorter than a VXLAN header")]
    Truncated,
    /// The I flag is clear: there is no VNI.
    #[error("the I flag is clear")]
    NoIFlag,
}

/// Splits a UDP payload into its header and the inner frame.
///
/// # Errors
/// Too short, or no I flag.
pub fn parse(bytes: &[u8]) -> Result<(VxlanHeader, &[u8]), VxlanError> {
    let Some((&[flags, r1, r2, r3, high, middle, low, r4], inner)) = bytes.split_first_chunk() else {
        return Err(VxlanError::Truncated);
    };
    if flags & I_FLAG == 0 {
        return Err(VxlanError::NoIFlag);
    }
    let reserved_set = (flags & !I_FLAG) | r1 | r2 | r3 | r4 != 0;
    Ok((VxlanHeader { vni: Vni::from_bytes([high, middle, low]), reserved_set }, inner))
}

/// The header of a packet in network `vni`.
pub const fn emit(vni: Vni) -> [u8; HEADER_BYTES] {
    let [high, middle, low] = vni.to_bytes();
    [I_FLAG, 0, 0, 0, high, middle, low, 0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rfc7348_s5_i_flag_is_set_and_reserved_bits_are_zero_on_transmission() {
        assert_eq!(emit(Vni::from_bytes([0xab, 0xcd, 0xef])), [8, 0, 0, 0, 0xab, 0xcd, 0xef, 0]);
    }

    #[test]
    fn rfc7348_s5_reserved_bits_are_ignored_on_receipt() {
        let clean = emit(Vni::FLANNEL);
        for bit in 0..64 {
            let mut bytes = clean;
            bytes[bit / 8] ^= 0x80 >> (bit % 8);
            let expected = match bit {
                4 => Err(VxlanError::NoIFlag),
                32..56 => Ok((
                    VxlanHeader { vni: Vni::from_bytes([bytes[4], bytes[5], bytes[6]]), reserved_set: false },
                    &[][..],
                )),
                _ => Ok((VxlanHeader { vni: Vni::FLANNEL, reserved_set: true }, &[][..])),
            };
            assert_eq!(parse(&bytes), expected, "bit {bit}");
        }
    }

    #[test]
    fn rfc7348_s5_clear_i_flag_is_rejected() {
        assert_eq!(parse(&[0xf7, 0xff, 0xff, 0xff, 0, 0, 1, 0xff]), Err(VxlanError::NoIFlag));
    }

    #[test]
    fn every_truncation_of_the_header_is_rejected() {
        let header = emit(Vni::FLANNEL);
        for length in 0..header.len() {
            assert_eq!(parse(&header[..length]), Err(VxlanError::Truncated));
        }
        assert!(parse(&header).is_ok());
    }

    #[test]
    fn header_agrees_with_pnet() {
        let Ok(vni) = Vni::new(0x0012_3456) else { panic!("24 bits are enough") };
        let bytes = emit(vni);
        let pnet = pnet_packet::vxlan::VxlanPacket::new(&bytes).unwrap();
        assert_eq!((pnet.get_flags(), pnet.get_vni()), (8, vni.get()));
    }

    proptest! {
        #[test]
        fn header_and_inner_frame_round_trip(vni in 0..=Vni::MAX.get(), inner: Vec<u8>) {
            let vni = Vni::new(vni).unwrap();
            let mut bytes = emit(vni).to_vec();
            bytes.extend_from_slice(&inner);
            prop_assert_eq!(parse(&bytes), Ok((VxlanHeader { vni, reserved_set: false }, &inner[..])));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
