//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
//!
//! A *sum* is a partial result: not inverted, at most 16 bits and a few carries, so that sums of pieces can be
//! added and folded once. Only the last piece may have an odd number of bytes.
//!
//! Cost: one pass over the bytes, four at a time; the byte order is put right once, at the end (RFC 1071
//! section 2 B).

use std::net::IpAddr;

/// The ones' complement sum of `bytes`, at most `0xffff`.
#[inline]
pub fn sum(bytes: &[u8]) -> u32 {
    let (words, tail) = bytes.as_chunks::<4>();
    // 64 bits cannot overflow below 16 GiB.
    let mut total: u64 = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
    let mut last = [0; 4];
    for (to, from) in last.iter_mut().zip(tail) {
        *to = *from;
    }
    total = total.wrapping_add(u64::from(u32::from_ne_bytes(last)));

    let halves = (total & 0xffff_ffff) + (total >> 32);
    let halves = (halves & 0xffff_ffff) + (halves >> 32);
    let folded = (halves & 0xffff) + (halves >> 16);
    let folded = fold(folded as u32);
    u32::from(u16::from_be(folded))
}

/// The 16-bit sum of a partial one.
pub const fn fold(sum: u32) -> u16 {
    let once = (sum & 0xffff) + (sum >> 16);
    let twice = (once & 0xffff) + (once >> 16);
    twice as u16
}

/// The checksum of an IPv4 header as it stands: 0 if the header is right, what to write if its field is zero.
#[inline]
pub fn ipv4_header(header: &[u8]) -> u16 {
    !fold(sum(header))
}

/// The sum of the pseudo header (RFC 9293 section 3.1, RFC 8200 section 8.1).
pub fn pseudo_header(src: IpAddr, dst: IpAddr, protocol: u8, length: u32) -> u32 {
    let address = |address: IpAddr| match address {
        IpAddr::V4(address) => sum(&address.octets()),
        IpAddr::V6(address) => sum(&address.octets()),
    };
    address(src) + address(dst) + u32::from(protocol) + (length >> 16) + (length & 0xffff)
}

/// The checksum of a TCP, UDP or ICMPv6 segment as it stands: 0 if it is right, what to write if its field is
/// zero (UDP then writes `0xffff` in place of 0).
pub fn transport(src: IpAddr, dst: IpAddr, protocol: u8, segment: &[u8]) -> u16 {
    let length = u32::try_from(segment.len()).unwrap_or(u32::MAX);
    !fold(pseudo_header(src, dst, protocol, length) + sum(segment))
}

/// The checksum after a 16-bit word it covers changed from `old` to `new` (RFC 1624 equation 3, which unlike
/// RFC 1141 is right at zero as well).
pub const fn update16(checksum: u16, old: u16, new: u16) -> u16 {
    !fold(!checksum as u32 + !old as u32 + new as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 1071 read word by word.
    fn plain(bytes: &[u8]) -> u16 {
        let mut sum = 0u64;
        for pair in bytes.chunks(2) {
            sum += u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0));
        }
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    #[test]
    fn rfc1071_s3_example_sums_to_ddf2() {
        assert_eq!(fold(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7])), 0xddf2);
    }

    #[test]
    fn rfc1624_s4_example_gives_zero_and_not_ffff() {
        assert_eq!(update16(0xdd2f, 0x5555, 0x3285), 0x0000);
    }

    #[test]
    fn longest_packet_of_ones_does_not_overflow() {
        let ones = vec![0xff; 65535];
        assert_eq!(fold(sum(&ones)), plain(&ones));
        assert_eq!(fold(u32::MAX), 0xffff);
    }

    proptest! {
        #[test]
        fn sum_agrees_with_word_by_word(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(fold(sum(&bytes)), plain(&bytes));
            prop_assert!(sum(&bytes) <= 0xffff);
        }

        #[test]
        fn update_agrees_with_summing_again(mut words in proptest::collection::vec(any::<[u8; 2]>(), 2..20), new: [u8; 2]) {
            // A header is never all zero; for that one sum the two zeros of ones' complement differ.
            words[1] = [0x45, 0];
            let before = !fold(sum(words.as_flattened()));
            let old = std::mem::replace(&mut words[0], new);
            let after = !fold(sum(words.as_flattened()));
            let updated = update16(before, u16::from_be_bytes(old), u16::from_be_bytes(new));
            prop_assert_eq!(updated, after);
        }

        #[test]
        fn transport_agrees_with_pnet(payload in proptest::collection::vec(any::<u8>(), 8..100), src: [u8; 4], dst: [u8; 4], src6: [u8; 16], dst6: [u8; 16]) {
            use pnet_packet::util;
            let mut payload = payload;
            payload[6..8].fill(0);
            prop_assert_eq!(
                transport(src.into(), dst.into(), 17, &payload),
                util::ipv4_checksum(&payload, 3, &[], &src.into(), &dst.into(), pnet_packet::ip::IpNextHeaderProtocols::Udp)
            );
            prop_assert_eq!(
                transport(src6.into(), dst6.into(), 17, &payload),
                util::ipv6_checksum(&payload, 3, &[], &src6.into(), &dst6.into(), pnet_packet::ip::IpNextHeaderProtocols::Udp)
            );
        }
    }
}
