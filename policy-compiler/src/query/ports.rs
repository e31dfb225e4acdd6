//! All ports at once: asked once per stretch of connections that nothing in the states can tell apart.
//!
//! A stretch is a protocol with a range of destination ports (of ICMP: of types and codes) and a range of source ports.
//! Asking one connection of each is exact, because a verdict can change only where a range of a rule, or a port that
//! a pod names, begins or ends; protocols that no rule mentions are all alike. Source ports are told apart only for
//! protocols whose source ports some rule tests. Number of stretches: the product of both numbers of ranges.

use super::judge::Judge;
use super::probe::SOURCE_PORT;
use super::reach::Reach;
use super::transport::Transport;
use crate::api::Object;
use crate::model::{Model, PortSpec, Protocol, Rule};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// First to last.
pub(super) type Range = (u16, u16);

/// All there is.
pub(super) const EVERY: Range = (0, u16::MAX);

/// Protocols that are asked about in one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Group {
    /// TCP, UDP or SCTP, or a protocol without ports that some rule mentions.
    Of(Protocol),
    /// ICMP, on IPv6 ICMPv6; its ports are `type << 8 | code`.
    Icmp,
    /// Every protocol that no rule mentions.
    Rest,
}

/// Connections that nothing tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) group: Group,
    pub(super) ports: Range,
    pub(super) sources: Range,
}

/// One connection of a stretch, as a key has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) protocol: u8,
    pub(super) src_port: u16,
    pub(super) dst_port: u16,
}

/// Where ranges begin, of one group.
#[derive(Debug, Clone, Default)]
struct Starts {
    ports: BTreeSet<u16>,
    sources: BTreeSet<u16>,
}

/// What is asked about a pair of ends: everything, or some ports. The same for every pair.
#[derive(Debug, Clone)]
pub struct PortSpace {
    stretches: Vec<Stretch>,
    /// By family, in the order of `stretches`.
    samples: [Vec<Sample>; 2],
    /// The protocols that have a group though they have no ports.
    mentioned: Arc<[Protocol]>,
    /// Protocols whose source ports some rule tests.
    by_source: BTreeSet<Protocol>,
}

impl PortSpace {
    /// Everything, as far as these states can tell it apart.
    pub fn new(judges: &[&Judge]) -> Self {
        Self::everything(Gathered::of(judges))
    }

    fn everything(mut space: Gathered) -> Self {
        let mut stretches = Vec::new();
        let rest = std::iter::once((Group::Rest, Starts::default()));
        let groups: Vec<(Group, Starts)> =
            std::mem::take(&mut space.groups).into_iter().chain(rest).collect();
        for (group, starts) in groups {
            for ports in ranges(&starts.ports) {
                stretches.extend(ranges(&starts.sources).map(|sources| Stretch { group, ports, sources }));
            }
        }
        Self::with(stretches, &space)
    }

    /// These ports alone, from every source port that these states can tell apart; the position of the port in the
    /// list beside each stretch.
    pub(super) fn of_ports(judges: &[&Judge], ports: &[Transport]) -> (Self, Vec<usize>) {
        let space = Gathered::of(judges);
        let (mut stretches, mut columns) = (Vec::new(), Vec::new());
        for (column, port) in ports.iter().enumerate() {
            let (group, port) = match *port {
                Transport::Port(protocol, port) => (Group::Of(protocol), (port, port)),
                // The echo request of the family is found by `sample`.
                Transport::Icmp(None, _) => (Group::Icmp, EVERY),
                Transport::Icmp(Some(kind), code) => {
                    let port = u16::from_be_bytes([kind, code]);
                    (Group::Icmp, (port, port))
                }
                Transport::Other(protocol) => (Group::Of(protocol), EVERY),
            };
            let sources = space.groups.get(&group).map(|starts| starts.sources.clone()).unwrap_or_default();
            for sources in ranges(&sources) {
                stretches.push(Stretch { group, ports: port, sources });
                columns.push(column);
            }
        }
        let mut space = Self::with(stretches, &space);
        for (family, samples) in [4, 6].into_iter().zip(&mut space.samples) {
            for (sample, &column) in samples.iter_mut().zip(&columns) {
                if let Some(Transport::Icmp(None, _)) = ports.get(column) {
                    sample.dst_port = if family == 4 { 0x0800 } else { 0x8000 };
                }
            }
        }
        (space, columns)
    }

    fn with(stretches: Vec<Stretch>, gathered: &Gathered) -> Self {
        let samples = [4, 6].map(|family| {
            stretches.iter().map(|stretch| sample(stretch, family, gathered.unmentioned)).collect()
        });
        let mentioned = gathered.mentioned.iter().copied().collect();
        Self { stretches, samples, mentioned, by_source: gathered.by_source.clone() }
    }

    /// Protocols whose source ports some rule tests: of these, what is open may depend on the source port.
    pub fn by_source(&self) -> impl Iterator<Item = Protocol> {
        self.by_source.iter().copied()
    }

    /// One connection of every stretch, in this family.
    pub(super) fn samples(&self, family: u8) -> &[Sample] {
        let [v4, v6] = &self.samples;
        if family == 4 { v4 } else { v6 }
    }

    /// The stretches of which `member` holds, by position.
    pub(super) fn reach(&self, member: impl Fn(usize) -> bool) -> Reach {
        Reach::collect(&self.stretches, &self.mentioned, member)
    }

    /// The source ports of the stretches of which `member` holds.
    pub(super) fn sources(&self, member: impl Fn(usize) -> bool) -> Vec<Range> {
        let stretches = self.stretches.iter().enumerate().filter(|(position, _)| member(*position));
        let mut joined: Vec<Range> = Vec::new();
        for (_, stretch) in stretches {
            join(&mut joined, stretch.sources);
        }
        joined
    }
}

/// Adds a range that begins after all others end.
pub(super) fn join(ranges: &mut Vec<Range>, (first, last): Range) {
    match ranges.last_mut() {
        Some((_, end)) if end.checked_add(1) == Some(first) => *end = last,
        _ => ranges.push((first, last)),
    }
}

/// What the rules and pods of some states mention.
struct Gathered {
    groups: BTreeMap<Group, Starts>,
    mentioned: BTreeSet<Protocol>,
    by_source: BTreeSet<Protocol>,
    /// A protocol that nothing mentions.
    unmentioned: u8,
}

impl Gathered {
    fn new<'m>(models: impl Iterator<Item = &'m Model>) -> Self {
        let always = Protocol::WITH_PORTS.map(Group::Of).into_iter().chain([Group::Icmp]);
        let groups = always.map(|group| (group, Starts::default())).collect();
        let mut gathered =
            Self { groups, mentioned: BTreeSet::new(), by_source: BTreeSet::new(), unmentioned: 0 };
        models.for_each(|model| gathered.rules(model));
        // 253 is for experiments (RFC 3692): no service is meant by it.
        let mut free = (0..=253).rev().map(Protocol::new);
        let free = free.find(|&protocol| !gathered.groups.contains_key(&group_of(protocol)));
        gathered.unmentioned = free.map_or(u8::MAX, Protocol::number);
        gathered
    }

    fn of(judges: &[&Judge]) -> Self {
        let mut gathered = Self::new(judges.iter().map(|judge| judge.model()));
        for judge in judges {
            for object in judge.compiler().objects() {
                let Object::Pod(pod) = object else { continue };
                for port in &pod.named_ports {
                    gathered.add(Protocol::new(port.protocol), (port.port, port.port));
                }
            }
        }
        gathered
    }

    fn rules(&mut self, model: &Model) {
        let policies = model.tiers.iter().flat_map(|tier| &tier.policies);
        for rule in policies.flat_map(|policy| &policy.rules) {
            let Rule { ports, not_ports, source_ports, not_source_ports, .. } = rule;
            for spec in ports.listed().iter().chain(not_ports) {
                match spec {
                    PortSpec::Range { protocol, first, last } => self.add(*protocol, (*first, *last)),
                    PortSpec::Named { protocol, .. } => self.add(*protocol, EVERY),
                }
            }
            for spec in source_ports.listed().iter().chain(not_source_ports) {
                let (&protocol, range) = match spec {
                    PortSpec::Range { protocol, first, last } => (protocol, (*first, *last)),
                    PortSpec::Named { protocol, .. } => (protocol, EVERY),
                };
                self.add(protocol, EVERY);
                if protocol.has_ports() && (range != EVERY || matches!(spec, PortSpec::Named { .. })) {
                    self.by_source.insert(protocol);
                }
                let starts = &mut self.groups.entry(group_of(protocol)).or_default().sources;
                starts.insert(range.0);
                starts.extend(range.1.checked_add(1));
            }
        }
    }

    fn add(&mut self, protocol: Protocol, (first, last): Range) {
        let group = group_of(protocol);
        let starts = self.groups.entry(group).or_default();
        // Only these have ports: of all others, every connection has port 0.
        if protocol.has_ports() || group == Group::Icmp {
            starts.ports.insert(first);
            starts.ports.extend(last.checked_add(1));
        } else {
            self.mentioned.insert(protocol);
        }
        // A pod's name may stand for a source port as well.
        if self.by_source.contains(&protocol) {
            let starts = &mut self.groups.entry(group).or_default().sources;
            starts.insert(first);
            starts.extend(last.checked_add(1));
        }
    }
}

/// The group of a protocol that rules mention.
fn group_of(protocol: Protocol) -> Group {
    match protocol {
        Protocol::ICMP | Protocol::ICMPV6 => Group::Icmp,
        protocol => Group::Of(protocol),
    }
}

/// From each start to the next.
fn ranges(starts: &BTreeSet<u16>) -> impl Iterator<Item = Range> {
    let firsts = std::iter::once(0).chain(starts.iter().copied().filter(|&start| start > 0));
    let ends = starts.iter().filter_map(|start| start.checked_sub(1)).chain([u16::MAX]);
    firsts.zip(ends)
}

fn sample(stretch: &Stretch, family: u8, unmentioned: u8) -> Sample {
    let protocol = match stretch.group {
        Group::Of(protocol) => protocol.number(),
        Group::Icmp if family == 4 => 1,
        Group::Icmp => 58,
        Group::Rest => unmentioned,
    };
    let has_ports = Protocol::new(protocol).has_ports();
    let (first, last) = stretch.sources;
    // The port that probes have if none is named, where it is in the stretch.
    let src_port = if !has_ports {
        0
    } else if (first..=last).contains(&SOURCE_PORT) {
        SOURCE_PORT
    } else {
        first
    };
    Sample { protocol, src_port, dst_port: stretch.ports.0 }
}

#[cfg(test)]
mod tests {
    use super::{Gathered, PortSpace};
    use crate::api::{Kind, ObjectKey, Origin, Provenance};
    use crate::model::{
        Applies, Direction, Model, Order, PodSelection, Policy, PortSpec, Ports, Protocol, Rule, RuleAction,
        Tier, Undecided,
    };
    use crate::query::transport::Transport;

    /// A space of a model with one rule of this form.
    fn space(rule: impl FnOnce(Rule) -> Rule) -> PortSpace {
        let provenance = Provenance { origin: Origin::of_file("a"), field: "spec".into() };
        let rule = rule(Rule::about_all(Direction::Egress, RuleAction::Allow, provenance.clone()));
        let name =
            ObjectKey { kind: Kind::CalicoGlobalNetworkPolicy, namespace: String::new(), name: "a".into() };
        let policy = Policy {
            name,
            order: Order::FIRST,
            subject: PodSelection::everyone(),
            egress: Applies::Isolating,
            ingress: Applies::No,
            rules: vec![rule],
            provenance,
        };
        let tier = Tier {
            name: "t".into(),
            order: Order::FIRST,
            undecided: Undecided::Deny,
            policies: vec![policy],
        };
        PortSpace::everything(Gathered::new([&Model { tiers: vec![tier] }].into_iter()))
    }

    /// What the stretches are whose sample `member` holds for, in words.
    fn reach(space: &PortSpace, member: impl Fn(u8, u16, u16) -> bool) -> String {
        let samples = space.samples(4);
        let reach = space.reach(|stretch| {
            samples
                .get(stretch)
                .is_some_and(|sample| member(sample.protocol, sample.src_port, sample.dst_port))
        });
        reach.to_string()
    }

    #[test]
    fn a_state_without_rules_has_a_stretch_for_each_protocol() {
        let space = space(|rule| rule);
        assert_eq!(space.samples(4).len(), 5);
        assert_eq!(reach(&space, |_, _, _| true), "all");
        assert_eq!(reach(&space, |_, _, _| false), "none");
        assert_eq!(reach(&space, |protocol, _, _| protocol == 6), "all TCP");
        assert_eq!(reach(&space, |protocol, _, _| protocol != 6), "all UDP; all SCTP; ICMP; other protocols");
    }

    #[test]
    fn icmp_types_are_told_apart_once_a_rule_names_one() {
        let echo = PortSpec::icmp(Protocol::ICMP, 8, None);
        let unreachable = PortSpec::icmp(Protocol::ICMP, 3, Some(4));
        let space = space(|rule| Rule { ports: Ports::OneOf(vec![echo, unreachable]), ..rule });
        assert_eq!(reach(&space, |protocol, _, port| protocol == 1 && port >> 8 == 8), "ICMP type 8");
        assert_eq!(
            reach(&space, |protocol, _, port| protocol == 1 && (port >> 8 == 8 || port == 0x304)),
            "ICMP type 3 code 4, type 8"
        );
        assert_eq!(space.samples(6).iter().filter(|sample| sample.protocol == 58).count(), 5);
    }

    #[test]
    fn protocols_without_ports_are_told_apart_once_a_rule_names_them() {
        let gre = PortSpec::all(Protocol::new(47));
        let space = space(|rule| Rule { not_ports: vec![gre], ..rule });
        let without = |protocol: u8, _: u16, _: u16| protocol != 47;
        assert_eq!(reach(&space, without), "all TCP; all UDP; all SCTP; ICMP; other protocols");
        assert_eq!(reach(&space, |protocol, _, _| protocol == 47), "GRE");
        let all = space.reach(|_| true);
        assert!(all.is_all() && all.contains(Transport::Other(Protocol::new(47)), 0, 4));
        let none = space.reach(|stretch| space.samples(4).get(stretch).is_some_and(|one| one.protocol != 47));
        assert!(!none.contains(Transport::Other(Protocol::new(47)), 0, 4));
        assert!(none.contains(Transport::Other(Protocol::new(50)), 0, 4));
    }

    #[test]
    fn source_ports_are_told_apart_once_a_rule_tests_them() {
        let low = PortSpec::Range { protocol: Protocol::UDP, first: 0, last: 1023 };
        let ntp = PortSpec::Range { protocol: Protocol::UDP, first: 123, last: 123 };
        let space = space(|rule| Rule {
            source_ports: Ports::OneOf(vec![low]),
            ports: Ports::OneOf(vec![ntp]),
            ..rule
        });
        assert_eq!(space.by_source().collect::<Vec<_>>(), [Protocol::UDP]);
        let open = |protocol: u8, src: u16, dst: u16| protocol == 17 && (src < 1024 || dst == 123);
        assert_eq!(
            reach(&space, open),
            "UDP 0-122 from source ports 0-1023; UDP 123; UDP 124-65535 from source ports 0-1023"
        );
        let reach = space.reach(|stretch| {
            space.samples(4).get(stretch).is_some_and(|one| open(one.protocol, one.src_port, one.dst_port))
        });
        for (port, sport, inside) in
            [(123, 49152, true), (53, 49152, false), (53, 1023, true), (53, 1024, false)]
        {
            assert_eq!(
                reach.contains(Transport::Port(Protocol::UDP, port), sport, 4),
                inside,
                "{port} {sport}"
            );
        }
    }
}
