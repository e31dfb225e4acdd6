//! CRC-32C (Castagnoli), the checksum of SCTP (RFC 9260 appendix A).
//!
//! Needed only where a sender's kernel left it to its interface (veth claims that it can), so a byte at a
//! time over a 1 KiB table is enough.

const POLYNOMIAL: u32 = 0x82f6_3b78;

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ POLYNOMIAL } else { value >> 1 };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
};

/// The checksum over `parts`, one behind the other; stored little-endian.
pub(super) fn crc32c(parts: &[&[u8]]) -> u32 {
    let mut value = u32::MAX;
    for byte in parts.iter().flat_map(|part| part.iter()) {
        let index = usize::from((value as u8) ^ byte);
        // The index is a byte and the table has an entry for each.
        value = (value >> 8) ^ TABLE.get(index).copied().unwrap_or_default();
    }
    !value
}

#[cfg(test)]
mod tests {
    use super::crc32c;

    #[test]
    fn rfc3720_appendix_b4_test_vectors_hold() {
        assert_eq!(crc32c(&[&[0; 32]]), 0x8a91_36aa);
        assert_eq!(crc32c(&[&[0xff; 32]]), 0x62a8_ab43);
        assert_eq!(crc32c(&[b"1234", b"", b"56789"]), 0xe306_9283);
    }
}
