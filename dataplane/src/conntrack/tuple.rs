//! The key of a connection: addresses, protocol and ports of one direction.
//!
//! An IPv4 address and the IPv6 address that maps it are different keys, as are equal ports of different
//! protocols: a connection is found by its exact tuple or not at all.
//!
//! # ICMP
//! Has no ports. As in netfilter, `src_port` is the identifier and `dst_port` is `type << 8 | code`; the
//! reverse of a query is the answer it asks for (echo 8 ↔ 0, timestamp 13 ↔ 14; ICMPv6 echo 128 ↔ 129) with
//! the *same* identifier and the addresses swapped. So the reply to a ping is found, and a ping the other way
//! with the same identifier is another connection.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::cell::Key;

/// The IP protocol numbers that are tracked by their own rules.
pub mod protocol {
    /// ICMP for IPv4.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
    /// SCTP.
    pub const SCTP: u8 = 132;
}

/// `dst_port` of an ICMP echo request.
const ECHO_REQUEST: u16 = 8 << 8;
/// `dst_port` of an ICMP echo reply.
const ECHO_REPLY: u16 = 0;
/// `dst_port` of an ICMP timestamp request and of its reply.
const TIMESTAMP: u16 = 13 << 8;
const TIMESTAMP_REPLY: u16 = 14 << 8;
/// `dst_port` of an ICMPv6 echo request and of its reply.
const ECHO_REQUEST_V6: u16 = 128 << 8;
const ECHO_REPLY_V6: u16 = 129 << 8;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

/// One direction of a connection. 38 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Tuple {
    src: [u8; 16],
    dst: [u8; 16],
    src_port: u16,
    dst_port: u16,
    protocol: u8,
    family: Family,
}

const _: () = assert!(size_of::<Tuple>() == 38);

impl Tuple {
    /// A tuple; `None` when one address is IPv4 and the other IPv6. Protocols without ports have 0 for both;
    /// for ICMP see the module's text, and [`Tuple::icmp_echo`].
    pub fn new(src: IpAddr, dst: IpAddr, protocol: u8, src_port: u16, dst_port: u16) -> Option<Self> {
        let (src, dst, family) = match (src, dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => (padded(src), padded(dst), Family::V4),
            (IpAddr::V6(src), IpAddr::V6(dst)) => (src.octets(), dst.octets(), Family::V6),
            _ => return None,
        };
        Some(Self { src, dst, src_port, dst_port, protocol, family })
    }

    /// The tuple of an ICMP or ICMPv6 echo request or reply with identifier `id`; `None` when the addresses
    /// are of two families or `protocol` is not the ICMP of theirs.
    pub fn icmp_echo(src: IpAddr, dst: IpAddr, protocol: u8, id: u16, is_request: bool) -> Option<Self> {
        let kind = match (protocol, src, is_request) {
            (protocol::ICMP, IpAddr::V4(_), true) => ECHO_REQUEST,
            (protocol::ICMP, IpAddr::V4(_), false) => ECHO_REPLY,
            (protocol::ICMPV6, IpAddr::V6(_), true) => ECHO_REQUEST_V6,
            (protocol::ICMPV6, IpAddr::V6(_), false) => ECHO_REPLY_V6,
            _ => return None,
        };
        Self::new(src, dst, protocol, id, kind)
    }

    /// The tuple of a packet going the other way. Reversing twice gives the tuple itself.
    #[must_use]
    pub fn reversed(&self) -> Self {
        let (src_port, dst_port) =
            if self.is_icmp() { (self.src_port, self.answer()) } else { (self.dst_port, self.src_port) };
        Self { src: self.dst, dst: self.src, src_port, dst_port, ..*self }
    }

    /// Source address.
    pub fn src(&self) -> IpAddr {
        self.address(self.src)
    }

    /// Destination address.
    pub fn dst(&self) -> IpAddr {
        self.address(self.dst)
    }

    /// IP protocol number.
    pub fn protocol(&self) -> u8 {
        self.protocol
    }

    /// Source port; the identifier for ICMP; 0 for protocols without ports.
    pub fn src_port(&self) -> u16 {
        self.src_port
    }

    /// Destination port; `type << 8 | code` for ICMP; 0 for protocols without ports.
    pub fn dst_port(&self) -> u16 {
        self.dst_port
    }

    /// True for IPv6.
    pub fn is_ipv6(&self) -> bool {
        self.family == Family::V6
    }

    /// True for ICMP over IPv4 and ICMPv6 over IPv6.
    pub fn is_icmp(&self) -> bool {
        match self.family {
            Family::V4 => self.protocol == protocol::ICMP,
            Family::V6 => self.protocol == protocol::ICMPV6,
        }
    }

    /// True for an echo request of either ICMP.
    pub(super) fn is_echo_request(&self) -> bool {
        self.is_icmp() && self.dst_port == if self.is_ipv6() { ECHO_REQUEST_V6 } else { ECHO_REQUEST }
    }

    /// True for an echo reply of either ICMP.
    pub(super) fn is_echo_reply(&self) -> bool {
        self.is_icmp() && self.dst_port == if self.is_ipv6() { ECHO_REPLY_V6 } else { ECHO_REPLY }
    }

    /// Type and code of the ICMP message that answers (or asks for) this one; its own where there is none.
    fn answer(&self) -> u16 {
        match (self.family, self.dst_port) {
            (Family::V4, ECHO_REQUEST) => ECHO_REPLY,
            (Family::V4, ECHO_REPLY) => ECHO_REQUEST,
            (Family::V4, TIMESTAMP) => TIMESTAMP_REPLY,
            (Family::V4, TIMESTAMP_REPLY) => TIMESTAMP,
            (Family::V6, ECHO_REQUEST_V6) => ECHO_REPLY_V6,
            (Family::V6, ECHO_REPLY_V6) => ECHO_REQUEST_V6,
            (_, other) => other,
        }
    }

    /// The same as words, as entries hold it.
    #[inline]
    pub(super) fn key(&self) -> Key {
        let [a, b] = halves(self.src);
        let [c, d] = halves(self.dst);
        Key {
            addresses: [a, b, c, d],
            ports: u32::from(self.src_port) << 16 | u32::from(self.dst_port),
            kind: u16::from(self.is_ipv6()) << 8 | u16::from(self.protocol),
        }
    }

    /// The reverse of [`Tuple::key`].
    pub(super) fn from_key(key: &Key) -> Self {
        let [a, b, c, d] = key.addresses;
        Self {
            src: joined(a, b),
            dst: joined(c, d),
            src_port: (key.ports >> 16) as u16,
            dst_port: key.ports as u16,
            protocol: key.kind as u8,
            family: if key.kind >> 8 == 0 { Family::V4 } else { Family::V6 },
        }
    }

    fn address(&self, octets: [u8; 16]) -> IpAddr {
        match self.family {
            Family::V4 => {
                let [a, b, c, d, ..] = octets;
                IpAddr::V4(Ipv4Addr::new(a, b, c, d))
            }
            Family::V6 => IpAddr::V6(Ipv6Addr::from(octets)),
        }
    }
}

/// Three words instead of the derived field-by-field hashing: this runs once per packet.
impl Hash for Tuple {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(u128::from_ne_bytes(self.src));
        state.write_u128(u128::from_ne_bytes(self.dst));
        let ports = u64::from(self.src_port) << 16 | u64::from(self.dst_port);
        state.write_u64(u64::from(self.is_ipv6()) << 40 | u64::from(self.protocol) << 32 | ports);
    }
}

impl fmt::Debug for Tuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { src_port, dst_port, protocol, .. } = self;
        write!(f, "{}[{src_port}] > {}[{dst_port}] protocol {protocol}", self.src(), self.dst())
    }
}

fn halves(octets: [u8; 16]) -> [u64; 2] {
    let both = u128::from_ne_bytes(octets);
    [both as u64, (both >> 64) as u64]
}

fn joined(low: u64, high: u64) -> [u8; 16] {
    (u128::from(high) << 64 | u128::from(low)).to_ne_bytes()
}

fn padded(address: Ipv4Addr) -> [u8; 16] {
    let [a, b, c, d] = address.octets();
    [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(last: u8) -> IpAddr {
        IpAddr::from([10, 42, 0, last])
    }

    fn v6(last: u16) -> IpAddr {
        IpAddr::from([0xfd42, 0, 0, 0, 0, 0, 0, last])
    }

    #[test]
    fn mixed_families_make_no_tuple() {
        assert!(Tuple::new(v4(1), v6(2), protocol::TCP, 1, 2).is_none());
        assert!(Tuple::icmp_echo(v4(1), v4(2), protocol::ICMPV6, 1, true).is_none());
    }

    #[test]
    fn reversing_swaps_both_ends_and_twice_is_nothing() {
        let tuple = Tuple::new(v6(1), v6(2), protocol::TCP, 1000, 80).unwrap();
        assert_eq!(tuple.reversed(), Tuple::new(v6(2), v6(1), protocol::TCP, 80, 1000).unwrap());
        assert_eq!(tuple.reversed().reversed(), tuple);
        assert_eq!((tuple.src(), tuple.dst()), (v6(1), v6(2)));
    }

    #[test]
    fn an_echo_reply_reverses_the_request_with_its_identifier() {
        for (a, b, icmp) in [(v4(1), v4(2), protocol::ICMP), (v6(1), v6(2), protocol::ICMPV6)] {
            let request = Tuple::icmp_echo(a, b, icmp, 77, true).unwrap();
            assert_eq!(request.reversed(), Tuple::icmp_echo(b, a, icmp, 77, false).unwrap());
            assert_eq!(request.reversed().reversed(), request);
            assert_ne!(request.reversed(), Tuple::icmp_echo(b, a, icmp, 77, true).unwrap());
        }
    }

    #[test]
    fn a_tuple_comes_back_from_its_words() {
        let six = Tuple::new(v6(1), v6(2), protocol::SCTP, 0xfffe, 80).unwrap();
        let four = Tuple::new(v4(1), v4(2), 255, 1, 0xffff).unwrap();
        for tuple in [six, four] {
            assert_eq!(Tuple::from_key(&tuple.key()), tuple);
            assert_ne!(tuple.key(), tuple.reversed().key());
        }
    }

    #[test]
    fn a_mapped_address_is_not_the_ipv4_address() {
        let mapped = |last| IpAddr::V6(Ipv4Addr::new(10, 42, 0, last).to_ipv6_mapped());
        let six = Tuple::new(mapped(1), mapped(2), protocol::UDP, 1, 2).unwrap();
        assert_ne!(six, Tuple::new(v4(1), v4(2), protocol::UDP, 1, 2).unwrap());
    }
}
