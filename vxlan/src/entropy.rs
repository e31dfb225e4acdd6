//! The outer UDP source port, by which the underlay spreads flows over its paths and queues.
//!
//! RFC 7348 section 5: a hash of the inner headers, in the dynamic range 49152-65535. All packets of an inner
//! flow share one port, so that they stay in order.

/// First port of the range RFC 7348 section 5 recommends.
pub const FIRST_PORT: u16 = 49152;

/// Number of ports in the range: 14 bits.
pub const PORTS: u16 = 16384;

/// The outer source port for an inner flow with this hash.
///
/// ```
/// assert!(vxlan::entropy::source_port(0xdead_beef) >= 49152);
/// ```
pub const fn source_port(flow_hash: u32) -> u16 {
    // All 32 bits take part: some hashes are good in their high bits only, others in their low ones.
    let folded = flow_hash ^ (flow_hash >> 14) ^ (flow_hash >> 28);
    FIRST_PORT | (folded as u16 & (PORTS - 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    proptest! {
        #[test]
        fn rfc7348_s5_source_port_is_in_the_dynamic_range(hash: u32) {
            prop_assert!(source_port(hash) >= 49152);
        }
    }

    #[test]
    fn every_bit_of_the_hash_moves_the_port() {
        for bit in 0..32 {
            assert_ne!(source_port(0), source_port(1 << bit), "bit {bit}");
        }
    }

    #[test]
    fn the_whole_range_is_used() {
        let ports: HashSet<_> = (0..u32::from(PORTS)).map(source_port).collect();
        assert_eq!(ports.len(), usize::from(PORTS));
    }
}
