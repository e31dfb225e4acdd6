//! Seeded rule sets of the shapes that firewalls and access lists have, and packets to try on them.
//!
//! ```text
//!  RuleSetShape ─► [Rule] ─► classifier                    packets(rules, …) ─► [Tuple]
//! ```
//! What makes such sets easy or hard is how many rules leave a side open, how scattered or dense addresses are, and how
//! many different ports there are. The families take these from what is published of the ClassBench filter sets
//! (D. Taylor and J. Turner, INFOCOM 2005) and from counting such sets; no parameter file is copied. They are stand-ins:
//! where the public sets are at hand, measure on those. The same shape gives the same rules for ever.

mod addresses;

use std::net::IpAddr;

use ipnet::IpNet;
use policy_compiler::ruleset::{Ports, ProtocolMask, Rule, RuleSet, Tuple};

use super::Rng;
use addresses::{Side, point};

/// A kind of rule set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Access lists: hosts to few servers, one service each; nearly all prefixes long.
    Acl,
    /// Firewalls: most rules leave one side open; addresses scattered; both ports matter.
    Fw,
    /// IP chains: between the two, nested networks on both sides.
    Ipc,
    /// A cluster's pods written out as rules: dense hosts, namespaces, a few blocks outside, some thirty services.
    K8s,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Acl, Self::Fw, Self::Ipc, Self::K8s];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Acl => "acl",
            Self::Fw => "fw",
            Self::Ipc => "ipc",
            Self::K8s => "k8s",
        }
    }
}

/// How packets choose the rules they are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skew {
    /// All alike.
    Uniform,
    /// By Zipf's law with exponent 1: the rule of rank n a share of 1/n.
    Zipf,
}

/// What a rule set is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleSetShape {
    /// Its kind.
    pub family: Family,
    /// Number of rules.
    pub rules: usize,
    /// IPv6 instead of IPv4.
    pub v6: bool,
    /// What chooses addresses, ports and order.
    pub seed: u64,
}

/// Which sides of a rule are open, in thousandths: source, destination, both; the rest have two long prefixes.
struct Open {
    src: usize,
    dst: usize,
    both: usize,
}

impl RuleSetShape {
    /// The rules, those with longer prefixes first, as people write them.
    pub fn rules(&self) -> RuleSet {
        let mut rng = Rng::new(self.seed);
        let (open, mut src, mut dst) = self.sides();
        let services = services(self.family, &mut rng);
        let mut rules: Vec<(u32, Rule)> = Vec::with_capacity(self.rules);
        while rules.len() < self.rules {
            let choice = rng.below(1000);
            let (src_open, dst_open) = match choice {
                choice if choice < open.both => (true, true),
                choice if choice < open.both + open.src => (true, false),
                choice if choice < open.both + open.src + open.dst => (false, true),
                _ => (false, false),
            };
            let src = if src_open { src.open(&mut rng) } else { src.long(&mut rng) };
            let dst = if dst_open { dst.open(&mut rng) } else { dst.long(&mut rng) };
            let (src_ports, dst_ports, protocol) = service(self.family, &services, &mut rng);
            let (src_net, dst_net) = (src.net(self.v6), dst.net(self.v6));
            if let Ok(rule) = Rule::new(src_net, dst_net, src_ports, dst_ports, protocol) {
                // Roughly by how specific they are, not strictly: some rules are shadowed, as in life.
                let disorder = rng.below(24) as u32;
                rules.push((200 - u32::from(src.len()) - u32::from(dst.len()) + disorder, rule));
            }
        }
        rules.sort_by_key(|&(place, _)| place);
        rules.into_iter().map(|(_, rule)| rule).collect()
    }

    fn sides(&self) -> (Open, Side, Side) {
        let rules = self.rules.max(1);
        let hosts = |pool: usize, networks: usize| Side::dense(pool.max(4), networks.max(2));
        match self.family {
            Family::Acl => (
                Open { src: 4, dst: 22, both: 5 },
                hosts(rules * 2 / 5, rules / 80),
                hosts(rules / 15, rules / 30),
            ),
            Family::Fw => (
                Open { src: 600, dst: 250, both: 35 },
                Side::scattered(rules / 2),
                Side::scattered(rules * 3 / 4),
            ),
            Family::Ipc => (
                Open { src: 125, dst: 90, both: 4 },
                hosts(rules / 6, rules / 90),
                hosts(rules / 3, rules / 45),
            ),
            Family::K8s => {
                (Open { src: 60, dst: 60, both: 2 }, Side::pods(rules / 20), Side::pods(rules / 20))
            }
        }
    }
}

/// Services of a rule set: few, whatever the number of rules.
fn services(family: Family, rng: &mut Rng) -> Vec<Ports> {
    let count = match family {
        Family::Acl => 160,
        Family::Fw => 90,
        Family::Ipc => 120,
        Family::K8s => 28,
    };
    (0..count)
        .filter_map(|number| {
            let port = if number % 3 == 0 { rng.below(1024) } else { rng.below(60_000) } as u16;
            if number % 8 == 7 {
                Ports::new(port, port.saturating_add(1 << rng.below(12)))
            } else {
                Some(Ports::one(port))
            }
        })
        .chain([Ports::ANY])
        .chain(Ports::new(1024, u16::MAX))
        .collect()
}

fn service(family: Family, services: &[Ports], rng: &mut Rng) -> (Ports, Ports, ProtocolMask) {
    let any = Ports::ANY;
    let one = rng.pick(services).copied().unwrap_or(any);
    // In thousandths: the source port matters, the destination port does not, any protocol, UDP.
    let (by_source, any_port, any_protocol, udp) = match family {
        Family::Acl => (0, 60, 20, 100),
        Family::Fw => (300, 150, 80, 350),
        Family::Ipc => (200, 200, 100, 350),
        Family::K8s => (0, 80, 80, 150),
    };
    let chance = |rng: &mut Rng, thousandths: usize| rng.below(1000) < thousandths;
    if chance(rng, any_protocol) {
        return (any, any, ProtocolMask::ANY);
    }
    let protocol = ProtocolMask::new(if chance(rng, udp) { 17 } else { 6 }, u8::MAX);
    let src = if chance(rng, by_source) { rng.pick(services).copied().unwrap_or(any) } else { any };
    (src, if chance(rng, any_port) { any } else { one }, protocol)
}

/// Packets for a rule set: nine of ten a random point of a rule's box, one of ten random altogether.
pub fn packets(rules: &[Rule], skew: Skew, seed: u64, count: usize) -> Vec<Tuple> {
    let mut rng = Rng::new(seed);
    // Ranks are dealt to rules at random, so that frequent rules stand anywhere in the order.
    let mut ranked: Vec<usize> = (0..rules.len()).collect();
    for last in (1..ranked.len()).rev() {
        ranked.swap(last, rng.below(last + 1));
    }
    let mut sums = Vec::new();
    let mut sum = 0_u64;
    for rank in 1..=rules.len() as u64 {
        sum += match skew {
            Skew::Uniform => 1,
            Skew::Zipf => (1 << 32) / rank,
        };
        sums.push(sum);
    }
    let v6 = rules.first().is_some_and(|rule| !rule.is_ipv4());
    let everything: IpNet =
        if v6 { IpNet::V6(ipnet::Ipv6Net::default()) } else { IpNet::V4(ipnet::Ipv4Net::default()) };
    let mut packets = Vec::with_capacity(count);
    while packets.len() < count {
        let at = rng.number() % sum.max(1);
        let chosen = ranked.get(sums.partition_point(|&sum| sum <= at)).and_then(|&rule| rules.get(rule));
        let chosen = chosen.filter(|_| rng.below(10) != 0);
        let net = |net: fn(&Rule) -> IpNet| chosen.map_or(everything, net);
        let (src, dst): (IpAddr, IpAddr) = (point(net(Rule::src), &mut rng), point(net(Rule::dst), &mut rng));
        let mut port = |ports: fn(&Rule) -> Ports| {
            let ports = chosen.map_or(Ports::ANY, ports);
            let offset = rng.below(usize::from(ports.last() - ports.first()) + 1) as u16;
            ports.first().saturating_add(offset)
        };
        let (src_port, dst_port) = (port(Rule::src_ports), port(Rule::dst_ports));
        let protocol = chosen.map_or(ProtocolMask::ANY, Rule::protocol);
        let protocol = protocol.value() | rng.number() as u8 & !protocol.mask();
        packets.push(Tuple { src, dst, src_port, dst_port, protocol });
    }
    packets
}

#[cfg(test)]
mod tests {
    use super::{Family, RuleSetShape, Skew, packets};

    #[test]
    fn equal_shapes_give_equal_rules_and_the_number_asked_for() {
        for family in Family::ALL {
            for v6 in [false, true] {
                let shape = RuleSetShape { family, rules: 300, v6, seed: 1 };
                let rules = shape.rules();
                assert_eq!(rules.len(), 300);
                assert_eq!(rules, shape.rules());
                assert_ne!(rules, RuleSetShape { seed: 2, ..shape }.rules());
                assert!(rules.iter().all(|rule| rule.is_ipv4() != v6));
                assert_eq!(packets(&rules, Skew::Zipf, 3, 50), packets(&rules, Skew::Zipf, 3, 50));
            }
        }
    }

    #[test]
    fn most_packets_match_a_rule() {
        for skew in [Skew::Uniform, Skew::Zipf] {
            let rules = RuleSetShape { family: Family::Acl, rules: 200, v6: false, seed: 1 }.rules();
            let packets = packets(&rules, skew, 1, 500);
            let matching =
                packets.iter().filter(|packet| rules.iter().any(|rule| rule.matches(packet))).count();
            assert!(matching >= 430, "{matching} of 500");
        }
    }

    #[test]
    fn firewalls_leave_one_side_open_more_often_than_not() {
        let rules = RuleSetShape { family: Family::Fw, rules: 1000, v6: false, seed: 1 }.rules();
        let open =
            rules.iter().filter(|rule| rule.src().prefix_len().min(rule.dst().prefix_len()) <= 8).count();
        assert!((800..950).contains(&open), "{open}");
    }

    #[test]
    fn without_rules_packets_are_random() {
        assert_eq!(packets(&[], Skew::Uniform, 1, 3).len(), 3);
    }
}
