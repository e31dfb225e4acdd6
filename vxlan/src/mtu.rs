//! What fits into the tunnel: the underlay's MTU less the outer headers.
//!
//! Flannel sets the same: 1450 on an IPv4 underlay of 1500, 1430 on an IPv6 one.

use std::fmt;
use std::net::IpAddr;

/// An address family.
#[derive(Debug, Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl From<IpAddr> for Family {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// Outer IPv4, UDP and VXLAN headers and the inner Ethernet header: 20 + 8 + 8 + 14.
pub const OVERHEAD_IPV4: u16 = 50;

/// Outer IPv6, UDP and VXLAN headers and the inner Ethernet header: 40 + 8 + 8 + 14.
pub const OVERHEAD_IPV6: u16 = 70;

/// The least that any IP link carries (RFC 791 section 3.2).
const LEAST: u16 = 68;

/// The MTU of pods behind a tunnel over an underlay of this family and MTU; `None` where no IP packet fits.
/// (IPv6 pods need 1280; whoever serves them checks.)
///
/// ```
/// use vxlan::mtu::{Family, tunnel_mtu};
///
/// assert_eq!(tunnel_mtu(1500, Family::V4), Some(1450));
/// assert_eq!(tunnel_mtu(1500, Family::V6), Some(1430));
/// assert_eq!(tunnel_mtu(60, Family::V6), None);
/// ```
pub fn tunnel_mtu(underlay_mtu: u16, family: Family) -> Option<u16> {
    let overhead = match family {
        Family::V4 => OVERHEAD_IPV4,
        Family::V6 => OVERHEAD_IPV6,
    };
    underlay_mtu.checked_sub(overhead).filter(|&mtu| mtu >= LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encap::{OUTER_BYTES_V4, OUTER_BYTES_V6};

    #[test]
    fn overhead_swaps_the_outer_ethernet_header_for_the_inner_one() {
        assert_eq!(usize::from(OVERHEAD_IPV4), OUTER_BYTES_V4);
        assert_eq!(usize::from(OVERHEAD_IPV6), OUTER_BYTES_V6);
    }

    #[test]
    fn underlay_too_small_for_any_packet_has_no_tunnel_mtu() {
        assert_eq!(tunnel_mtu(118, Family::V4), Some(68));
        assert_eq!(tunnel_mtu(117, Family::V4), None);
        assert_eq!(tunnel_mtu(0, Family::V4), None);
        assert_eq!(tunnel_mtu(u16::MAX, Family::V6), Some(65465));
    }
}
