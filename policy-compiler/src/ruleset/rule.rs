//! One rule, one packet's tuple, and what it means that the rule matches it.
//!
//! Everything here is a value that cannot be wrong: a range is not reversed, a protocol has no bits outside its mask,
//! a prefix has no host bits, both addresses of a rule are of one family. [`Rule::matches`] is the definition every
//! classifier is held to. 68 bytes a rule, 40 a tuple.

use ipnet::IpNet;
use std::net::IpAddr;

/// A range of ports, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ports {
    first: u16,
    last: u16,
}

impl Ports {
    /// Every port.
    pub const ANY: Self = Self { first: 0, last: u16::MAX };

    /// From `first` to `last`; `None` where they are reversed.
    ///
    /// ```
    /// use policy_compiler::ruleset::Ports;
    /// assert!(Ports::new(80, 90).is_some_and(|ports| ports.contains(90)));
    /// assert_eq!(Ports::new(90, 80), None);
    /// ```
    pub const fn new(first: u16, last: u16) -> Option<Self> {
        if first <= last { Some(Self { first, last }) } else { None }
    }

    /// A single port.
    pub const fn one(port: u16) -> Self {
        Self { first: port, last: port }
    }

    /// The lowest port.
    pub const fn first(self) -> u16 {
        self.first
    }

    /// The highest port.
    pub const fn last(self) -> u16 {
        self.last
    }

    /// Whether the port is one of these.
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

/// A protocol number under a mask: mask 0 is every protocol, 0xff exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProtocolMask {
    value: u8,
    mask: u8,
}

impl ProtocolMask {
    /// Every protocol.
    pub const ANY: Self = Self { value: 0, mask: 0 };

    /// Protocols equal to `value` where `mask` has ones. Bits of `value` outside the mask do not count.
    ///
    /// ```
    /// use policy_compiler::ruleset::ProtocolMask;
    /// assert!(ProtocolMask::new(6, 0xff).contains(6) && !ProtocolMask::new(6, 0xff).contains(17));
    /// assert_eq!(ProtocolMask::new(6, 0), ProtocolMask::ANY);
    /// ```
    pub const fn new(value: u8, mask: u8) -> Self {
        Self { value: value & mask, mask }
    }

    /// The bits that count.
    pub const fn value(self) -> u8 {
        self.value
    }

    /// Which bits count.
    pub const fn mask(self) -> u8 {
        self.mask
    }

    /// Whether the protocol is one of these.
    pub const fn contains(self, protocol: u8) -> bool {
        protocol & self.mask == self.value
    }
}

/// What a rule is asked about: the five fields of one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// Source address.
    pub src: IpAddr,
    /// Destination address; one of the other family matches no rule.
    pub dst: IpAddr,
    /// Source port. Ports are compared for every protocol; give 0 where there is none.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// IANA protocol number.
    pub protocol: u8,
}

/// Position of a rule in its rule set, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleIndex(pub u32);

/// Why five fields make no rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RuleProblem {
    /// One prefix is IPv4, the other IPv6.
    #[error("source {src} and destination {dst} are of different families; a rule has two prefixes of one")]
    MixedFamilies {
        /// The source prefix.
        src: IpNet,
        /// The destination prefix.
        dst: IpNet,
    },
}

/// A rule: a tuple matches if all five fields do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rule {
    src: IpNet,
    dst: IpNet,
    src_ports: Ports,
    dst_ports: Ports,
    protocol: ProtocolMask,
}

impl Rule {
    /// A rule of these fields. Host bits of the prefixes do not count.
    ///
    /// ```
    /// use policy_compiler::ruleset::{Ports, ProtocolMask, Rule, Tuple};
    /// let any = "0.0.0.0/0".parse()?;
    /// let rule = Rule::new(any, "10.1.0.0/16".parse()?, Ports::ANY, Ports::one(80), ProtocolMask::new(6, 0xff))?;
    /// let web = Tuple { src: [192, 0, 2, 1].into(), dst: [10, 1, 2, 3].into(), src_port: 4711, dst_port: 80, protocol: 6 };
    /// assert!(rule.matches(&web) && !rule.matches(&Tuple { dst_port: 81, ..web }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(
        src: IpNet,
        dst: IpNet,
        src_ports: Ports,
        dst_ports: Ports,
        protocol: ProtocolMask,
    ) -> Result<Self, RuleProblem> {
        let (src, dst) = (src.trunc(), dst.trunc());
        if src.addr().is_ipv4() != dst.addr().is_ipv4() {
            return Err(RuleProblem::MixedFamilies { src, dst });
        }
        Ok(Self { src, dst, src_ports, dst_ports, protocol })
    }

    /// Whether the rule matches; the definition.
    pub fn matches(&self, tuple: &Tuple) -> bool {
        self.src.contains(&tuple.src)
            && self.dst.contains(&tuple.dst)
            && self.src_ports.contains(tuple.src_port)
            && self.dst_ports.contains(tuple.dst_port)
            && self.protocol.contains(tuple.protocol)
    }

    /// Source prefix, without host bits.
    pub const fn src(&self) -> IpNet {
        self.src
    }

    /// Destination prefix, without host bits.
    pub const fn dst(&self) -> IpNet {
        self.dst
    }

    /// Source ports.
    pub const fn src_ports(&self) -> Ports {
        self.src_ports
    }

    /// Destination ports.
    pub const fn dst_ports(&self) -> Ports {
        self.dst_ports
    }

    /// Protocols.
    pub const fn protocol(&self) -> ProtocolMask {
        self.protocol
    }

    /// Whether both prefixes are IPv4.
    pub const fn is_ipv4(&self) -> bool {
        matches!(self.src, IpNet::V4(_))
    }
}

#[cfg(test)]
mod tests {
    use super::{Ports, ProtocolMask, Rule, RuleProblem, Tuple};
    use ipnet::IpNet;

    fn net(text: &str) -> IpNet {
        text.parse().expect("a prefix")
    }

    #[test]
    fn prefixes_of_two_families_are_refused() {
        let mixed =
            Rule::new(net("0.0.0.0/0"), net("::/0"), Ports::ANY, Ports::ANY, ProtocolMask::ANY).unwrap_err();
        assert!(matches!(mixed, RuleProblem::MixedFamilies { .. }), "{mixed}");
    }

    #[test]
    fn a_tuple_of_the_other_family_matches_nothing() {
        let rule = Rule::new(net("::/0"), net("::/0"), Ports::ANY, Ports::ANY, ProtocolMask::ANY).unwrap();
        let v6 = Tuple {
            src: "::1".parse().unwrap(),
            dst: "::2".parse().unwrap(),
            src_port: 0,
            dst_port: 0,
            protocol: 0,
        };
        assert!(rule.matches(&v6));
        assert!(!rule.matches(&Tuple { src: [10, 0, 0, 1].into(), dst: [10, 0, 0, 2].into(), ..v6 }));
        assert!(!rule.matches(&Tuple { src: [10, 0, 0, 1].into(), ..v6 }));
    }

    #[test]
    fn host_bits_do_not_count() {
        let with =
            Rule::new(net("10.1.2.3/8"), net("10.1.2.3/32"), Ports::ANY, Ports::ANY, ProtocolMask::ANY);
        assert_eq!(with.unwrap().src(), net("10.0.0.0/8"));
    }
}
