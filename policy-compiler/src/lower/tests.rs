//! Every feature of the model, whether a policy language of this release can write it or not: generated models, and
//! the engines held to the reference on them, the way to a verdict included. Counters prove that each feature came up
//! and mattered.

use super::{Session, flat, linear};
use crate::api::{IpBlock, Kind, Object, Origin, Provenance, Requirement, Selector, parse};
use crate::classifier::{Classifier as _, Key, RuleKind, Step};
use crate::cluster::{SubjectId, View};
use crate::model::{
    Applies, Attribute, Direction, Expression, Model, Namespaces, Order, Peer, Peers, PodSelection, Policy,
    PolicyName, PortSpec, Ports, Protocol, Rule, RuleAction, Test, Tier, Undecided,
};
use crate::semantics::reference::Reference;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

const OBJECTS: &str = "
{apiVersion: v1, kind: Node, metadata: {name: n, labels: {role: worker}}, spec: {podCIDR: 10.0.0.0/30},
 status: {addresses: [{type: InternalIP, address: 192.0.2.1}, {type: InternalIP, address: 'fd00::f1'}]}}
---
{apiVersion: v1, kind: Node, metadata: {name: m, labels: {role: control}},
 status: {addresses: [{type: InternalIP, address: 192.0.2.2}, {type: InternalIP, address: 192.0.2.9}]}}
---
{apiVersion: v1, kind: Node, metadata: {name: o, labels: {role: control}},
 status: {addresses: [{type: InternalIP, address: 192.0.2.3}, {type: InternalIP, address: 192.0.2.9}]}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: x, labels: {team: red}}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: robot, namespace: y, labels: {trust: low}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: x, labels: {app: a}},
 spec: {nodeName: n, containers: [{ports: [{name: http, containerPort: 80}]}]},
 status: {podIPs: [{ip: 10.0.0.2}, {ip: 'fd00::2'}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: b, namespace: x, labels: {app: b}},
 spec: {nodeName: m, containers: [{ports: [{name: http, containerPort: 81}, {name: http, containerPort: 80, protocol: UDP}]}]},
 status: {podIPs: [{ip: 10.0.0.3}, {ip: 'fd00::3'}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: c, namespace: y, labels: {app: a}},
 spec: {nodeName: n, serviceAccountName: robot}, status: {podIP: 10.0.0.4}}
---
{apiVersion: v1, kind: Pod, metadata: {name: d, namespace: y}, spec: {nodeName: o}, status: {podIP: 'fd00::5'}}
---
{apiVersion: v1, kind: Pod, metadata: {name: h, namespace: y, labels: {app: a}},
 spec: {nodeName: elsewhere, hostNetwork: true}, status: {podIP: 192.0.2.4}}
";

/// Addresses at which something begins or ends.
const REMOTES: [&str; 18] = [
    "10.0.0.0",
    "10.0.0.1",
    "10.0.0.2",
    "10.0.0.3",
    "10.0.0.4",
    "10.0.0.8",
    "10.0.0.9",
    "192.0.2.1",
    "192.0.2.2",
    "192.0.2.3",
    "192.0.2.4",
    "192.0.2.9",
    "198.51.100.1",
    "fd00::2",
    "fd00::3",
    "fd00::5",
    "fd00::f1",
    "fd01::1",
];

/// Protocol, source port, destination port.
const L4: [(u8, u16, u16); 14] = [
    (6, 49152, 80),
    (6, 80, 81),
    (6, 81, 80),
    (6, 1000, 82),
    (6, 999, 0),
    (17, 80, 80),
    (17, 53, 81),
    (132, 1, 80),
    (1, 0, 0x0800),
    (1, 0, 0x0801),
    (1, 0, 0x0301),
    (58, 0, 0x8000),
    (47, 0, 0),
    (99, 0, 0),
];

/// A small generator with a fixed seed (xorshift), so that a failure repeats.
struct Dice {
    state: u64,
    /// Plain models have no source ports, local parts and own nodes: they must not mend what the others break.
    plain: bool,
    seen: BTreeMap<&'static str, u32>,
}

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % bound
    }

    fn count(&mut self, feature: &'static str) {
        *self.seen.entry(feature).or_default() += 1;
    }

    fn one<T: Clone>(&mut self, from: &[T]) -> T {
        let number = self.below(from.len() as u64) as usize;
        from[number].clone()
    }

    fn pods(&mut self) -> Expression {
        let account =
            Expression::Is(Attribute::ServiceAccountLabel("trust".into()), Test::StartsWith("l".into()));
        let choices = [
            Expression::EVERYTHING,
            Expression::label("app", ["a"]),
            Expression::label("app", ["b"]),
            Expression::label("app", ["b"]).negated(),
            Expression::Any(vec![account, Expression::Is(Attribute::Namespace, Test::In(vec!["x".into()]))]),
            Expression::NOTHING,
        ];
        self.one(&choices)
    }

    fn applies(&mut self) -> Applies {
        let applies = self.one(&[Applies::No, Applies::RulesOnly, Applies::Isolating, Applies::Isolating]);
        if applies == Applies::RulesOnly {
            self.count("rules only");
        }
        applies
    }

    fn namespaces(&mut self) -> Namespaces {
        let red = Selector { requirements: vec![Requirement::In("team".into(), vec!["red".into()])] };
        let choices = [
            Namespaces::any(),
            Namespaces::Named("x".into()),
            Namespaces::Named("y".into()),
            Namespaces::Matching(red),
        ];
        self.one(&choices)
    }

    fn selection(&mut self) -> PodSelection {
        PodSelection { namespaces: self.namespaces(), pods: self.pods() }
    }

    fn block(&mut self) -> Peer {
        let cidr = self.one(&[
            "0.0.0.0/0",
            "10.0.0.0/30",
            "10.0.0.2/31",
            "192.0.2.0/30",
            "::/0",
            "fd00::/126",
            "10.0.0.3/32",
        ]);
        let Ok(cidr) = cidr.parse() else { panic!("{cidr}") };
        let mut block = IpBlock { cidr, except: Vec::new() };
        if self.below(3) == 0
            && let Ok(except) = "10.0.0.2/32".parse()
        {
            block.except.push(except);
        }
        Peer::Addresses(block)
    }

    fn peer(&mut self, depth: u8) -> Peer {
        match self.below(if depth == 0 { 8 } else { 14 }) {
            0..=2 => self.block(),
            3..=5 => Peer::Pods(self.selection()),
            6 => {
                self.count("nodes");
                let role = Requirement::In("role".into(), vec![self.one(&["worker", "control"]).to_owned()]);
                let selectors = [Selector::default(), Selector { requirements: vec![role] }];
                Peer::Nodes(self.one(&selectors))
            }
            7 if self.plain => self.block(),
            7 => {
                self.count("own node");
                Peer::OwnNode
            }
            8 => {
                self.count("outside");
                Peer::outside()
            }
            9 | 10 => {
                self.count("not");
                self.peer(depth - 1).negated()
            }
            11 | 12 => {
                self.count("all");
                Peer::All((0..self.below(3)).map(|_| self.peer(depth - 1)).collect())
            }
            _ => {
                self.count("any");
                Peer::Any((0..self.below(3)).map(|_| self.peer(depth - 1)).collect())
            }
        }
    }

    fn spec(&mut self) -> PortSpec {
        let range = |protocol, first, last| PortSpec::Range { protocol, first, last };
        let named = |protocol| PortSpec::Named { protocol, name: "http".into() };
        let choices = [
            range(Protocol::TCP, 80, 80),
            range(Protocol::TCP, 0, 80),
            range(Protocol::TCP, 81, 1000),
            PortSpec::all(Protocol::UDP),
            PortSpec::all(Protocol::TCP),
            named(Protocol::TCP),
            named(Protocol::TCP),
            named(Protocol::UDP),
            PortSpec::icmp(Protocol::ICMP, 8, None),
            PortSpec::icmp(Protocol::ICMP, 8, Some(1)),
            PortSpec::icmp(Protocol::ICMPV6, 128, None),
            PortSpec::all(Protocol::new(47)),
            PortSpec::all(Protocol::SCTP),
        ];
        self.one(&choices)
    }

    fn ports(&mut self) -> Ports {
        if self.below(2) == 0 {
            return Ports::Any;
        }
        Ports::OneOf((0..self.below(4)).map(|_| self.spec()).collect())
    }

    fn rule(&mut self, field: String) -> Rule {
        let actions = [RuleAction::Allow, RuleAction::Deny, RuleAction::Pass, RuleAction::Log];
        let origin = Origin { file: Arc::from("generated"), line: 1, column: 1 };
        let direction = self.one(&Direction::ALL);
        let action = self.one(&actions);
        let provenance = Provenance { origin, field };
        if self.below(20) == 0 {
            return Rule::unreadable(direction, provenance);
        }
        let mut rule = Rule::about_all(direction, action, provenance);
        if self.below(4) != 0 {
            rule.peers = Peers::OneOf((0..self.below(3)).map(|_| self.peer(2)).collect());
        }
        rule.ports = self.ports();
        if self.below(5) == 0 {
            self.count("not ports");
            rule.not_ports = vec![self.spec()];
        }
        if self.plain {
            return rule;
        }
        if self.below(5) == 0 {
            self.count("local");
            rule.local = Some(self.peer(1));
        }
        if self.below(5) == 0 {
            self.count("source ports");
            rule.source_ports = Ports::OneOf((0..self.below(4)).map(|_| self.spec()).collect());
        }
        if self.below(10) == 0 {
            self.count("not source ports");
            rule.not_source_ports = vec![self.spec()];
        }
        rule
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
                    subject: self.selection(),
                    egress: self.applies(),
                    ingress: self.applies(),
                    rules,
                });
            }
            let undecided = self.one(&[Undecided::Deny, Undecided::Pass]);
            let order = Order::at(f64::from(tier));
            tiers.push(Tier { name: format!("tier-{tier}"), order, undecided, policies });
        }
        Model { tiers }
    }
}

fn keys(subjects: usize) -> Vec<Key> {
    let mut keys = Vec::new();
    for subject in (0..=subjects).filter_map(|number| u32::try_from(number).ok()).map(SubjectId) {
        for direction in Direction::ALL {
            for remote in REMOTES.iter().flat_map(|remote| remote.parse::<IpAddr>()) {
                for (protocol, src_port, dst_port) in L4 {
                    // The subject is known by its number, whatever its own address.
                    let (src, dst) = (remote, remote);
                    keys.push(Key { subject, direction, src, dst, protocol, src_port, dst_port });
                }
            }
        }
    }
    keys
}

#[test]
fn every_feature_of_the_model_is_resolved_as_the_reference_walks_it() {
    let objects: Vec<Object> = parse("objects", OBJECTS).objects;
    let extra = [IpAddr::from([10, 0, 0, 9])];
    let mut dice = Dice { state: 0x8472, plain: false, seen: BTreeMap::new() };
    let mut kinds: BTreeMap<&str, u32> = BTreeMap::new();
    for case in 0..300 {
        dice.plain = case % 4 == 0;
        let model = dice.model();
        let (scope, extra) = if case % 3 == 0 { (Some("n"), &extra[..]) } else { (None, &[][..]) };
        let view = View::new(objects.iter(), scope, extra);
        let Ok(compiled) = flat(&view, &model, 64 << 20) else { panic!("it is small") };
        let engines = [compiled, linear(&view, &model)];
        let keys = keys(view.cluster.subjects.len());
        let reference = Reference::new(objects.iter(), model, &view.cluster, scope.map(|node| (node, extra)));
        for key in &keys {
            let expected = reference.judge(key);
            for (engine, rules) in &engines {
                let verdict = engine.classify(key);
                let info = rules.get(verdict.rule);
                assert_eq!(
                    (verdict.action, info.action, &info.kind, &info.via),
                    (expected.action, expected.action, &expected.kind, &expected.via),
                    "{} on case {case}: {key:?}",
                    engine.name()
                );
            }
            let kind = match (expected.action, &expected.kind) {
                (action, RuleKind::Rule { .. }) => action.name(),
                (_, RuleKind::DefaultDeny { .. }) => "default deny",
                (_, RuleKind::NotIsolated) => "not isolated",
                (_, RuleKind::OwnNode) => "own node",
                (_, RuleKind::Unreadable { .. }) => "unreadable",
                (_, RuleKind::SelfTraffic) => "self",
                _ => "other",
            };
            *kinds.entry(kind).or_default() += 1;
            for step in &expected.via {
                *kinds
                    .entry(match step {
                        Step::Logged { .. } => "logged",
                        Step::Passed { .. } => "passed",
                        Step::Undecided { .. } => "undecided",
                    })
                    .or_default() += 1;
            }
        }
    }
    println!("{:#?} {kinds:#?}", dice.seen);
    for feature in [
        "rules only",
        "nodes",
        "own node",
        "outside",
        "not",
        "all",
        "any",
        "not ports",
        "local",
        "source ports",
        "not source ports",
    ] {
        assert!(dice.seen.get(feature).is_some_and(|&count| count > 100), "{feature}: {:?}", dice.seen);
    }
    for kind in [
        "allow",
        "deny",
        "default deny",
        "not isolated",
        "own node",
        "unreadable",
        "self",
        "logged",
        "passed",
        "undecided",
    ] {
        assert!(kinds.get(kind).is_some_and(|&count| count > 500), "{kind}: {kinds:?}");
    }
}

/// One policy about all pods, with these rules.
fn model(rules: Vec<Rule>) -> Model {
    let origin = Origin { file: Arc::from("generated"), line: 1, column: 1 };
    let policy = Policy {
        name: PolicyName { kind: Kind::NetworkPolicy, namespace: String::new(), name: "large".to_owned() },
        order: Order::at(0.0),
        subject: PodSelection::everyone(),
        egress: Applies::Isolating,
        ingress: Applies::Isolating,
        rules,
        provenance: Provenance { origin, field: String::new() },
    };
    let (order, undecided) = (Order::at(0.0), Undecided::Deny);
    Model { tiers: vec![Tier { name: "only".to_owned(), order, undecided, policies: vec![policy] }] }
}

fn numbered_rule(number: u16, action: RuleAction) -> Rule {
    let origin = Origin { file: Arc::from("generated"), line: 1, column: 1 };
    let provenance = Provenance { origin, field: format!("rules[{number}]") };
    Rule::about_all(Direction::ALL[usize::from(number % 2)], action, provenance)
}

#[test]
fn what_blows_up_is_refused_within_the_ceiling() {
    let objects: Vec<Object> = parse("objects", OBJECTS).objects;
    let view = View::new(objects.iter(), None, &[]);
    let range = |first, last| Ports::OneOf(vec![PortSpec::Range { protocol: Protocol::TCP, first, last }]);
    // Each port is reached on a longer way than the one before: the ways written out are quadratic.
    let ways = (0..1000_u16)
        .map(|number| Rule { ports: range(number, u16::MAX), ..numbered_rule(number, RuleAction::Log) });
    // Fans are as wide as there are source classes, and each pair of rules cuts cells and fans anew.
    let sources = (0..2000_u16).map(|number| Rule {
        source_ports: range(number * 10, number * 10 + 4),
        ports: range(number * 10, number * 10 + 4),
        ..numbered_rule(number, RuleAction::Allow)
    });
    for (rules, expected) in
        [(ways.collect::<Vec<_>>(), "cells"), (sources.collect(), "rules by source port")]
    {
        match flat(&view, &model(rules), 8 << 20) {
            Ok(_) => panic!("{expected} were not counted"),
            Err(too_large) => {
                assert!(["rules", "cells", expected].contains(&too_large.part), "{too_large:?}");
            }
        }
    }
}

/// A pod, for sessions that change.
fn pod(name: &str, rest: &str) -> String {
    format!("{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: {rest}}}\n")
}

/// Pods that come and go: on new and known addresses, of known and new looks, with names for new ports.
fn strangers() -> Vec<Object> {
    let text = [
        pod(
            "e",
            "x, labels: {app: a}}, spec: {nodeName: m}, status: {podIPs: [{ip: 10.0.0.9}, {ip: 'fd01::1'}]}",
        ),
        pod(
            "f",
            "x, labels: {app: b}}, spec: {nodeName: o, containers: [{ports: [{name: http, containerPort: 82}]}]}, status: {podIP: 198.51.100.1}",
        ),
        pod(
            "g",
            "y, labels: {app: z}}, spec: {nodeName: n, serviceAccountName: robot}, status: {podIP: 10.0.0.8}",
        ),
    ];
    parse("strangers", &text.join("---\n")).objects
}

#[test]
fn a_session_that_changed_judges_as_the_reference_does() {
    let fixed: Vec<Object> = parse("objects", OBJECTS).objects;
    let strangers = strangers();
    assert_eq!(strangers.len(), 3);
    let mut dice = Dice { state: 0x4789, plain: false, seen: BTreeMap::new() };
    let (mut changes, mut full) = (0_u32, 0_u32);
    for case in 0..40 {
        // The tiers are those of both models; only what is in them changes.
        let (mut model, other) = (dice.model(), dice.model());
        for (tier, like) in model.tiers.iter_mut().zip(&other.tiers) {
            tier.undecided = like.undecided;
        }
        let mut here: Vec<&Object> = fixed.iter().collect();
        let view = View::new(here.iter().copied(), None, &[]);
        let Ok(mut session) = Session::new(&view, &model, 64 << 20) else { panic!("it is small") };
        let mut numbers: BTreeMap<String, usize> =
            view.pods.iter().enumerate().map(|(number, live)| (live.name().to_string(), number)).collect();
        for step in 0..10 {
            let made;
            if step % 2 == 0 {
                let stranger = dice.one(&[0_usize, 1, 2]);
                let Object::Pod(pod) = &strangers[stranger] else { panic!("they are pods") };
                let live = |objects: &[&Object], name: &str| {
                    let view = View::new(objects.iter().copied(), None, &[]);
                    let names: Vec<String> =
                        view.cluster.subjects.iter().map(|one| one.name.to_string()).collect();
                    names.iter().position(|one| one == name)
                };
                let name = format!("{}/{}", pod.meta.key.namespace, pod.meta.key.name);
                if let Some(number) = numbers.remove(&name) {
                    made = session.remove_pod(number, live(&here, &name));
                    here.retain(|object| object.key() != &pod.meta.key);
                } else {
                    here.push(&strangers[stranger]);
                    here.sort_by_key(|object| object.key().clone());
                    let view = View::new(here.iter().copied(), None, &[]);
                    let known = view.pods.iter().find(|live| live.name().to_string() == name);
                    let Some(known) = known else { panic!("it is live") };
                    let added = session.add_pod(known, live(&here, &name));
                    made = added.map(|number| {
                        numbers.insert(name, number);
                    });
                }
            } else {
                let (tier, policy) = (dice.below(3) as usize, dice.below(4) as usize);
                let name = format!("{tier}-{policy}");
                let place = |policies: &[Policy]| policies.iter().position(|one| one.name.name == name);
                let after =
                    place(&other.tiers[tier].policies).map(|at| other.tiers[tier].policies[at].clone());
                let policies = &mut model.tiers[tier].policies;
                if let Some(at) = place(policies) {
                    policies.remove(at);
                }
                policies.extend(after.clone());
                policies.sort_by(|a, b| a.name.cmp(&b.name));
                let object = PolicyName { kind: Kind::NetworkPolicy, namespace: String::new(), name };
                let view = View::new(here.iter().copied(), None, &[]);
                let tier = model.tiers[tier].name.clone();
                let after = after.iter().map(|policy| (tier.as_str(), policy));
                made = session.replace_policies(&object, after, |number| {
                    let name = numbers.iter().find(|(_, known)| **known == number)?.0;
                    view.cluster.subjects.iter().position(|one| one.name.to_string() == *name)
                });
            }
            changes += 1;
            let view = View::new(here.iter().copied(), None, &[]);
            if made.and_then(|()| session.finish()).is_err() {
                full += 1;
                let Ok(anew) = Session::new(&view, &model, 64 << 20) else { panic!("it is small") };
                session = anew;
                numbers = view
                    .pods
                    .iter()
                    .enumerate()
                    .map(|(number, live)| (live.name().to_string(), number))
                    .collect();
            }
            let (flat, rules) = (session.flat(), session.rules());
            let reference = Reference::new(here.iter().copied(), model.clone(), &view.cluster, None);
            for key in keys(view.cluster.subjects.len()) {
                let (verdict, expected) = (flat.classify(&key), reference.judge(&key));
                let info = rules.get(verdict.rule);
                assert_eq!(
                    (verdict.action, &info.kind, &info.via),
                    (expected.action, &expected.kind, &expected.via),
                    "step {step} of case {case}: {key:?}"
                );
            }
        }
    }
    println!("{changes} changes, of which {full} took a full build");
    assert!(full * 2 < changes, "{full} of {changes} took a full build");
}
