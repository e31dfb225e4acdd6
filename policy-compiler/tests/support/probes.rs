//! Probes that are likely to tell rules apart: of the addresses, ports, protocols and ICMP types that a state mentions, and
//! of their neighbours. Which of them are asked is drawn from a seed.

use super::generate::{L4, remotes};
use policy_compiler::{Cluster, Direction, Key, SubjectId};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a text mentions.
#[derive(Debug)]
pub(crate) struct Mentioned {
    addresses: Vec<IpAddr>,
    numbers: Vec<u16>,
}

impl Mentioned {
    /// Of manifests in flow style.
    pub(crate) fn new(text: &str) -> Self {
        let mut addresses = BTreeSet::new();
        let mut numbers = BTreeSet::from([0, 65535]);
        let ends = |c: char| c.is_whitespace() || "{}[],\"'".contains(c);
        for word in text.split(ends).filter(|word| word.starts_with(|c: char| c.is_ascii_hexdigit())) {
            if let Ok(net) = word.parse::<ipnet::IpNet>() {
                addresses.extend(neighbours(net.network()));
                addresses.extend(neighbours(net.broadcast()));
            } else if let Ok(address) = word.parse::<IpAddr>() {
                addresses.insert(address);
            } else {
                for number in word.split(':').filter_map(|number| number.parse::<u16>().ok()) {
                    numbers.extend([number.saturating_sub(1), number, number.saturating_add(1)]);
                }
            }
        }
        addresses.extend(remotes().into_iter().take(12));
        Self { addresses: addresses.into_iter().collect(), numbers: numbers.into_iter().collect() }
    }
}

/// The address between the one before and the one after.
fn neighbours(address: IpAddr) -> [IpAddr; 3] {
    let moved = |by: i8| -> IpAddr {
        match address {
            IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits().wrapping_add_signed(by.into())).into(),
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits().wrapping_add_signed(by.into())).into(),
        }
    };
    [moved(-1), address, moved(1)]
}

/// A small generator of numbers (splitmix64): probes need to be many and cheap, and need not shrink.
pub(crate) struct Draw(pub(crate) u64);

impl Draw {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.number() % u64::try_from(bound.max(1)).unwrap_or(1)).unwrap_or(0)
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> Option<T> {
        choices.get(self.below(choices.len())).copied()
    }

    /// One probe of a cluster.
    pub(crate) fn probe(&mut self, cluster: &Cluster, mentioned: &Mentioned) -> Key {
        // One subject too many: it must be unknown to all.
        let number =
            if self.one_in(50) { cluster.subjects.len() } else { self.below(cluster.subjects.len()) };
        let subject = SubjectId(u32::try_from(number).unwrap_or(u32::MAX));
        let own = cluster.subjects.get(number).and_then(|pod| self.of(&pod.addresses));
        let own = own.unwrap_or(IpAddr::from([203, 0, 113, 9]));
        let of_pod = if self.one_in(2) {
            let other = self.below(cluster.subjects.len());
            cluster.subjects.get(other).and_then(|pod| self.of(&pod.addresses))
        } else {
            None
        };
        let mut remote = of_pod.or_else(|| self.of(&mentioned.addresses)).unwrap_or(own);
        // Mostly of one family: a packet is, but the classifier is not to rely on it. And seldom the pod itself.
        let with_itself = self.one_in(20);
        for _ in 0..8 {
            if remote.is_ipv4() == own.is_ipv4() && (with_itself || remote != own) {
                break;
            }
            remote = self.of(&mentioned.addresses).unwrap_or(remote);
        }
        let direction = if self.one_in(2) { Direction::Egress } else { Direction::Ingress };
        let (src, dst) = if direction == Direction::Egress { (own, remote) } else { (remote, own) };
        let (protocol, src_port, dst_port) = self.transport(mentioned, own.is_ipv6());
        Key { subject, direction, src, dst, protocol, src_port, dst_port }
    }

    fn transport(&mut self, mentioned: &Mentioned, v6: bool) -> (u8, u16, u16) {
        if self.one_in(4) {
            let (protocol, port) = self.of(&L4).unwrap_or((6, 80));
            return (protocol, if matches!(protocol, 6 | 17 | 132) { 49152 } else { 0 }, port);
        }
        let icmp = if v6 == self.one_in(10) { 1 } else { 58 };
        let protocol = self.of(&[6, 6, 6, 17, 17, 132, icmp, icmp, 47, 112, 136]).unwrap_or(6);
        let port = |draw: &mut Self| draw.of(&mentioned.numbers).unwrap_or(80);
        match protocol {
            6 | 17 | 132 => {
                let src_port = if self.one_in(2) { 49152 } else { port(self) };
                (protocol, src_port, port(self))
            }
            1 | 58 => {
                let kind = self.of(&[0, 3, 8, 128, 129, 135]).unwrap_or(8);
                let code = self.of(&[0, 0, 0, 1]).unwrap_or(0);
                (protocol, 0, u16::from_be_bytes([kind, code]))
            }
            _ => (protocol, 0, 0),
        }
    }
}
