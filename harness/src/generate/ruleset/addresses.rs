//! Where the prefixes of a rule set lie: dense hosts in few networks, or scattered over the whole space.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::generate::Rng;

/// An IPv4 prefix that may be told as an IPv6 one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    address: u32,
    len: u8,
}

impl Place {
    pub(super) fn len(self) -> u8 {
        self.len
    }

    /// In IPv6 the bits stand behind 2001:db8::/32, a host has an interface identifier, and short prefixes are open.
    pub(super) fn net(self, v6: bool) -> IpNet {
        if !v6 {
            let net = Ipv4Net::new(Ipv4Addr::from_bits(self.address), self.len);
            return IpNet::V4(net.unwrap_or_default().trunc());
        }
        let bits = 0x2001_0db8_u128 << 96 | u128::from(self.address) << 64 | u128::from(self.address & 0xff);
        let len = match self.len {
            0..=8 => 0,
            32 => 128,
            len => 32 + len,
        };
        IpNet::V6(Ipv6Net::new(Ipv6Addr::from_bits(bits), len).unwrap_or_default().trunc())
    }
}

/// Where one side's prefixes come from.
#[derive(Debug)]
pub(super) enum Side {
    /// Hosts, and some networks around them, drawn from a pool again and again.
    Dense { pool: usize, networks: usize },
    /// So many places of the whole space, hosts and networks of any length.
    Scattered { pool: usize },
    /// Pods in 10.0.0.0/8, namespaces, and blocks outside.
    Pods { pods: usize },
}

impl Side {
    pub(super) fn dense(pool: usize, networks: usize) -> Self {
        Self::Dense { pool, networks }
    }

    pub(super) fn scattered(pool: usize) -> Self {
        Self::Scattered { pool: pool.max(4) }
    }

    pub(super) fn pods(pods: usize) -> Self {
        Self::Pods { pods: pods.max(16) }
    }

    /// A long prefix.
    pub(super) fn long(&mut self, rng: &mut Rng) -> Place {
        match *self {
            Self::Dense { pool, networks } => {
                let host = rng.below(pool);
                let network = host % networks;
                // Networks lie in a few sites.
                let address = mixed(network as u64 / 16) << 16 & 0xffff_0000
                    | (mixed(network as u64) & 0xff) << 8
                    | mixed(host as u64 ^ 0x5555) & 0xff;
                Place { address, len: [32, 32, 32, 32, 32, 32, 32, 30, 28, 24, 24, 16][rng.below(12)] }
            }
            Self::Scattered { pool } => {
                let number = rng.below(pool) as u64;
                let len = [32, 32, 32, 32, 29, 28, 27, 26, 24, 24, 22, 20, 16][number as usize % 13];
                Place { address: mixed(number), len }
            }
            Self::Pods { pods } => match rng.below(20) {
                0 => Place { address: 198 << 24 | 51 << 16 | (rng.below(256) as u32) << 8, len: 24 },
                1 | 2 => Place { address: 10 << 24 | (rng.below(pods.div_ceil(250)) as u32) << 8, len: 24 },
                _ => {
                    let pod = rng.below(pods) as u32;
                    Place { address: 10 << 24 | (pod / 250) << 8 | (pod % 250 + 2), len: 32 }
                }
            },
        }
    }

    /// A prefix that says little: mostly nothing.
    pub(super) fn open(&mut self, rng: &mut Rng) -> Place {
        let len = match self {
            Self::Pods { .. } => [0, 0, 0, 8][rng.below(4)],
            Self::Dense { .. } | Self::Scattered { .. } => {
                [0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 6, 8][rng.below(12)]
            }
        };
        let address = if len == 8 { 10 << 24 } else { mixed(rng.below(40) as u64) };
        Place { address, len }
    }
}

/// A number that looks random and is always the same.
fn mixed(number: u64) -> u32 {
    Rng::new(number).number() as u32
}

/// A random address of a prefix.
pub(super) fn point(net: IpNet, rng: &mut Rng) -> IpAddr {
    match net {
        IpNet::V4(net) => {
            Ipv4Addr::from_bits(net.network().to_bits() | rng.number() as u32 & net.hostmask().to_bits())
                .into()
        }
        IpNet::V6(net) => {
            let random = u128::from(rng.number()) << 64 | u128::from(rng.number());
            Ipv6Addr::from_bits(net.network().to_bits() | random & net.hostmask().to_bits()).into()
        }
    }
}
