//! What is sent: sizes, flows, addresses, the tunnel, the share of what a policy would deny.
//!
//! Flow `n` has source port `10000 + n mod 50000`; above that the source address counts up within its subnet, and
//! then the destination port, a hundred of them. Denied traffic is the same with another destination port.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use vxlan::encap::{OUTER_BYTES_V4, OUTER_BYTES_V6, OuterConfig};
use vxlan::mac::Mac;

use super::popularity::Popularity;
use super::stamp::STAMP_BYTES;

/// Frame check sequence, which sizes count and buffers do not hold.
pub(super) const FCS: usize = 4;
pub(super) const ETHERNET: usize = 14;
/// Source ports of flows.
pub(super) const FIRST_SRC_PORT: u16 = 10_000;
pub(super) const SRC_PORTS: u64 = 50_000;
/// Destination ports of flows.
pub(super) const DST_PORTS: u64 = 100;
/// Most source addresses that are counted through.
const MOST_SOURCES: u64 = 1 << 16;
/// Most flows that are sent by popularity: each takes eight bytes.
const MOST_FLOWS: u32 = 5_000_000;
/// Largest size: what 802.3 allows without a tag.
const LARGEST: usize = 1518;

/// Frame sizes with FCS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sizes {
    /// All of one size.
    Fixed(usize),
    /// 7 : 4 : 1 of 64 bytes, 594, and these: 1518, or less where no more fits.
    Imix(usize),
}

/// Why it is no frame size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no frame size: expected 64 to {LARGEST} bytes with FCS, or imix (7:4:1 of 64, 594 and 1518)")]
pub struct SizesError(String);

impl Sizes {
    /// Those of RFC 2544 section 9.1.
    pub const RFC2544: [Self; 7] = [
        Self::Fixed(64),
        Self::Fixed(128),
        Self::Fixed(256),
        Self::Fixed(512),
        Self::Fixed(1024),
        Self::Fixed(1280),
        Self::Fixed(LARGEST),
    ];

    /// 7 : 4 : 1 of 64, 594 and 1518 bytes.
    pub const IMIX: Self = Self::Imix(LARGEST);

    /// The sizes in their order, to be repeated; none comes thrice in a row.
    pub(super) fn all(self) -> Vec<usize> {
        match self {
            Self::Fixed(size) => vec![size],
            Self::Imix(most) => vec![64, 594, 64, 64, 594, 64, most, 64, 594, 64, 594, 64],
        }
    }

    /// The largest one.
    pub fn largest(self) -> usize {
        match self {
            Self::Fixed(size) => size,
            Self::Imix(most) => most.max(594),
        }
    }

    /// These sizes with none below `least` or above `most`.
    #[must_use]
    pub fn within(self, least: usize, most: usize) -> Self {
        match self {
            Self::Fixed(size) => Self::Fixed(size.min(most).max(least)),
            Self::Imix(size) => Self::Imix(size.min(most).max(594)),
        }
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(size) => write!(f, "{size}"),
            Self::Imix(LARGEST) => f.write_str("imix"),
            Self::Imix(most) => write!(f, "imix to {most}"),
        }
    }
}

impl FromStr for Sizes {
    type Err = SizesError;

    fn from_str(text: &str) -> Result<Self, SizesError> {
        if text.eq_ignore_ascii_case("imix") {
            return Ok(Self::IMIX);
        }
        let size = text.parse().ok().filter(|size| (64..=LARGEST).contains(size));
        size.map(Self::Fixed).ok_or_else(|| SizesError(text.to_owned()))
    }
}

/// Who sends to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// Source MAC.
    pub src_mac: Mac,
    /// Destination MAC: the device's where it routes, the other end's where it switches.
    pub dst_mac: Mac,
    /// Source addresses: the one named first, then the others of its subnet, 65,536 at the most.
    pub src: IpNet,
    /// Destination address, of the same family.
    pub dst: IpAddr,
}

impl Ends {
    /// How many source addresses there are to count through.
    pub(super) fn sources(&self) -> u64 {
        let bits = u32::from(self.src.max_prefix_len().saturating_sub(self.src.prefix_len()));
        1_u64.checked_shl(bits).unwrap_or(MOST_SOURCES).clamp(1, MOST_SOURCES)
    }

    /// What the last 16 bits of the first source grow by (modulo 2^16) for source `number`, which stays in the subnet.
    pub(super) fn source(&self, number: u64) -> u16 {
        let (mask, first) = (self.sources().saturating_sub(1) as u16, self.last_bits());
        let host = first.wrapping_add(number as u16) & mask;
        (first & !mask | host).wrapping_sub(first)
    }

    fn last_bits(&self) -> u16 {
        match self.src.addr() {
            IpAddr::V4(address) => address.to_bits() as u16,
            IpAddr::V6(address) => address.to_bits() as u16,
        }
    }
}

/// MACs that are counted through, frame by frame: `02:57` and four bytes that count up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Macs {
    /// Destination MACs instead of source MACs.
    pub destination: bool,
    /// Where they begin.
    pub first: u32,
    /// How many.
    pub count: u32,
}

impl Macs {
    /// That of frame `number`.
    pub(super) fn of(self, number: u64) -> Mac {
        let place = number.checked_rem(u64::from(self.count)).unwrap_or(0) as u32;
        let [a, b, c, d] = self.first.wrapping_add(place).to_be_bytes();
        Mac([2, 0x57, a, b, c, d])
    }
}

/// What kind of traffic it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Datagrams of flows that go on.
    Flows,
    /// Datagrams that each begin a flow of their own, in no order.
    RandomFlows,
    /// TCP segments that each ask for a connection, and carry no stamp.
    SynFlood,
}

/// What is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// Frame sizes.
    pub sizes: Sizes,
    /// Between whom.
    pub ends: Ends,
    /// Headers around each frame; their source port is replaced by one that follows the flow.
    pub tunnel: Option<OuterConfig>,
    /// Kind of traffic.
    pub kind: Kind,
    /// Number of flows.
    pub flows: u32,
    /// How they share the frames.
    pub popularity: Popularity,
    /// Flows begun per second beside those, each with one frame.
    pub new_flows: f64,
    /// Share of frames, 0 to 1, to the destination port that is denied.
    pub denied: f64,
    /// First destination port of flows.
    pub dst_port: u16,
    /// Destination port of denied frames.
    pub denied_port: u16,
    /// MACs other than those of the ends.
    pub macs: Option<Macs>,
    /// What chooses.
    pub seed: u64,
}

/// A shape that cannot be sent.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ShapeError {
    /// Addresses that cannot talk.
    #[error(
        "source {from} and destination {to} are of different families: expected two IPv4 or two IPv6 addresses"
    )]
    Families {
        /// Source.
        from: IpNet,
        /// Destination.
        to: IpAddr,
    },
    /// A figure out of range.
    #[error("{field} is {value}: expected {expected}")]
    Range {
        /// Which.
        field: &'static str,
        /// What it is.
        value: f64,
        /// What it could be.
        expected: &'static str,
    },
    /// The tunnel cannot be written.
    #[error("the tunnel: {0}")]
    Tunnel(vxlan::encap::EncapError),
}

impl Shape {
    /// Datagrams of one flow.
    pub fn between(ends: Ends) -> Self {
        Self {
            sizes: Sizes::Fixed(64),
            ends,
            tunnel: None,
            kind: Kind::Flows,
            flows: 1,
            popularity: Popularity::Uniform,
            new_flows: 0.0,
            denied: 0.0,
            dst_port: 8000,
            denied_port: 7000,
            macs: None,
            seed: 1,
        }
    }

    /// Bytes of Ethernet, IP and UDP headers.
    fn headers(&self) -> usize {
        ETHERNET + if self.ends.dst.is_ipv4() { 20 } else { 40 } + 8
    }

    /// Smallest frame that has room for a stamp, with FCS.
    pub fn least_size(&self) -> usize {
        (self.headers() + STAMP_BYTES + FCS).max(64)
    }

    /// Bytes of the headers of the tunnel.
    pub fn tunnel_bytes(&self) -> usize {
        match &self.tunnel {
            None => 0,
            Some(outer) if outer.dst.is_ipv4() => OUTER_BYTES_V4,
            Some(_) => OUTER_BYTES_V6,
        }
    }

    /// The MTU that an interface needs for the largest of these frames.
    pub fn mtu_needed(&self) -> usize {
        let frame = self.sizes.largest().max(self.least_size()).saturating_sub(FCS);
        frame.saturating_add(self.tunnel_bytes()).saturating_sub(ETHERNET)
    }

    /// Flows there can be.
    pub fn most_flows(&self) -> u64 {
        SRC_PORTS.saturating_mul(self.ends.sources()).saturating_mul(DST_PORTS)
    }

    /// # Errors
    /// A field is out of range.
    pub fn check(&self) -> Result<(), ShapeError> {
        let wrong = |field, value, expected| Err(ShapeError::Range { field, value, expected });
        if self.ends.src.addr().is_ipv4() != self.ends.dst.is_ipv4() {
            return Err(ShapeError::Families { from: self.ends.src, to: self.ends.dst });
        }
        if !(1..=MOST_FLOWS).contains(&self.flows) {
            return wrong("flows", f64::from(self.flows), "1 to 5,000,000");
        }
        if !(0.0..=1.0).contains(&self.denied) {
            return wrong("denied", self.denied, "a share of 0 to 1");
        }
        if !(0.0..1e12).contains(&self.new_flows) {
            return wrong("new_flows", self.new_flows, "0 or more a second");
        }
        if let Popularity::Zipf(exponent) = self.popularity
            && !(0.0..=10.0).contains(&exponent)
        {
            return wrong("zipf", exponent, "an exponent of 0 to 10");
        }
        let last = u64::from(self.dst_port).saturating_add(DST_PORTS);
        if last > 65_536 || (u64::from(self.dst_port)..last).contains(&u64::from(self.denied_port)) {
            return wrong(
                "dst_port",
                f64::from(self.dst_port),
                "room for 100 ports above it, the denied one not among them",
            );
        }
        Ok(())
    }
}
