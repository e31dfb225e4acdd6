//! Tiers, order, Deny, Pass and Log: models that no policy language of this release can write, generated, and
//! the engines held to the reference on them.

use super::{flat, linear};
use crate::api::{IpBlock, Kind, Origin, Provenance, Selector, parse};
use crate::classifier::{Key, RuleKind};
use crate::cluster::{SubjectId, View};
use crate::model::{
    Applies, Direction, Expression, Model, Namespaces, Order, Peer, Peers, PodSelection, Policy, PolicyName,
    PortSpec, Ports, Protocol, Rule, RuleAction, Tier, Undecided,
};
use crate::semantics::reference::Reference;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

const OBJECTS: &str = "
{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: x, labels: {app: a}},
 spec: {containers: [{ports: [{name: http, containerPort: 80}]}]}, status: {podIP: 10.0.0.1}}
---
{apiVersion: v1, kind: Pod, metadata: {name: b, namespace: x, labels: {app: b}},
 spec: {containers: [{ports: [{name: http, containerPort: 81}]}]}, status: {podIP: 10.0.0.2}}
---
{apiVersion: v1, kind: Pod, metadata: {name: c, namespace: y, labels: {app: a}}, status: {podIP: 10.0.0.3}}
";

/// A small generator with a fixed seed (xorshift), so that a failure repeats.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn pods(&mut self) -> Expression {
        match self.below(3) {
            0 => Expression::EVERYTHING,
            1 => Expression::label("app", ["a"]),
            _ => Expression::label("app", ["b"]),
        }
    }

    fn applies(&mut self) -> Applies {
        [Applies::No, Applies::Isolating, Applies::Isolating][self.below(3) as usize]
    }

    fn namespaces(&mut self) -> Namespaces {
        match self.below(3) {
            0 => Namespaces::Matching(Selector::default()),
            1 => Namespaces::Named("x".into()),
            _ => Namespaces::Named("y".into()),
        }
    }

    fn peer(&mut self) -> Peer {
        match self.below(3) {
            0 => {
                let cidr = ["0.0.0.0/0", "10.0.0.0/30", "10.0.0.2/31"][self.below(3) as usize];
                let Ok(cidr) = cidr.parse() else { panic!("{cidr}") };
                Peer::Addresses(IpBlock { cidr, except: Vec::new() })
            }
            _ => Peer::Pods(PodSelection { namespaces: self.namespaces(), pods: self.pods() }),
        }
    }

    fn ports(&mut self) -> Ports {
        let range = |protocol, first, last| PortSpec::Range { protocol, first, last };
        match self.below(5) {
            0 | 1 => Ports::Any,
            2 => Ports::OneOf(vec![range(Protocol::TCP, 80, 80)]),
            3 => Ports::OneOf(vec![range(Protocol::TCP, 0, 80), range(Protocol::UDP, 0, u16::MAX)]),
            _ => Ports::OneOf(vec![PortSpec::Named { protocol: Protocol::TCP, name: "http".into() }]),
        }
    }

    fn rule(&mut self, field: String) -> Rule {
        let actions = [RuleAction::Allow, RuleAction::Deny, RuleAction::Pass, RuleAction::Log];
        let origin = Origin { file: Arc::from("generated"), line: 1, column: 1 };
        let peers = (0..self.below(3)).map(|_| self.peer()).collect();
        let direction = Direction::ALL[self.below(2) as usize];
        let action = actions[self.below(4) as usize];
        Rule {
            peers: if self.below(4) == 0 { Peers::Any } else { Peers::OneOf(peers) },
            ports: self.ports(),
            ..Rule::about_all(direction, action, Provenance { origin, field })
        }
    }

    fn model(&mut self) -> Model {
        let mut tiers = Vec::new();
        for tier in 0..3 {
            let mut policies = Vec::new();
            for policy in 0..self.below(4) {
                let name = format!("{tier}-{policy}");
                let rules: Vec<Rule> =
                    (0..self.below(5)).map(|rule| self.rule(format!("{name}[{rule}]"))).collect();
                policies.push(Policy {
                    provenance: self.rule(name.clone()).provenance,
                    name: PolicyName { kind: Kind::NetworkPolicy, namespace: String::new(), name },
                    order: Order::at(0.0),
                    subject: PodSelection { namespaces: self.namespaces(), pods: self.pods() },
                    egress: self.applies(),
                    ingress: self.applies(),
                    rules,
                });
            }
            let undecided = if self.below(2) == 0 { Undecided::Deny } else { Undecided::Pass };
            let order = Order::at(f64::from(tier));
            tiers.push(Tier { name: format!("tier-{tier}"), order, undecided, policies });
        }
        Model { tiers }
    }
}

#[test]
fn tiers_and_actions_are_resolved_as_the_reference_walks_them() {
    let objects = parse("objects", OBJECTS).objects;
    let view = View::new(objects.iter(), None, &[]);
    let mut dice = Dice(0x8472);
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    for case in 0..400 {
        let model = dice.model();
        let Ok(compiled) = flat(&view, &model, 64 << 20) else { panic!("it is small") };
        let engines = [compiled, linear(&view, &model)];
        let reference = Reference::new(objects.iter(), model, &view.cluster, None);
        for subject in 0..3 {
            for direction in Direction::ALL {
                for last in [1, 2, 3, 9] {
                    for (protocol, dst_port) in [(6, 80), (6, 81), (6, 82), (17, 80), (132, 80), (1, 8)] {
                        let remote = IpAddr::from([10, 0, 0, last]);
                        let (src, dst) = (remote, remote);
                        let subject = SubjectId(subject);
                        let key = Key { subject, direction, src, dst, protocol, src_port: 1, dst_port };
                        let expected = reference.judge(&key);
                        for (engine, rules) in &engines {
                            let verdict = engine.classify(&key);
                            let answer = (verdict.action, rules.get(verdict.rule).kind.clone());
                            let expected = (expected.action, expected.kind.clone());
                            assert_eq!(answer, expected, "{} on case {case}: {key:?}", engine.name());
                        }
                        *seen
                            .entry(match (expected.action, &expected.kind) {
                                (action, RuleKind::Rule { .. }) => action.name(),
                                (_, RuleKind::DefaultDeny { .. }) => "default deny",
                                (_, RuleKind::NotIsolated) => "not isolated",
                                _ => "other",
                            })
                            .or_default() += 1;
                    }
                }
            }
        }
    }
    for kind in ["allow", "deny", "default deny", "not isolated"] {
        assert!(seen.get(kind).is_some_and(|&count| count > 1000), "{seen:?}");
    }
}
