//! Generated ClusterNetworkPolicies and their ancestors: the model says what a walk over the objects themselves says,
//! and what is broken never lets more through than if it were not there.
//!
//! Deterministic: the seed is fixed and printed; `PROPTEST_RNG_SEED` and `PROPTEST_CASES` change it.

mod support;

use policy_compiler::api::{
    ClusterAction, ClusterPeer, ClusterPods, ClusterPolicy, ClusterPort, ClusterRule, ClusterTier, Labels,
    Pod,
};
use policy_compiler::{
    Action, Compiler, Direction, Key, Kind, Misplacement, Object, OnInvalid, Options, PodName, RuleKind,
    Scope, SubjectId,
};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use support::compiler;
use support::generate::{L4, remotes, runner};
use support::generate_cluster_policy::cluster;

const CASES: u32 = 256;

fn compile(text: &str) -> Compiler {
    let options = Options { on_invalid: OnInvalid::Isolate, ..Options::default() };
    compiler(options, &[("generated.yaml", text)], true)
}

/// Every subject with every address and port, both ways.
fn keys(compiler: &Compiler) -> Vec<Key> {
    let cluster = compiler.cluster(&Scope::All);
    let mut keys = Vec::new();
    for (number, pod) in cluster.subjects.iter().enumerate() {
        let subject = SubjectId(u32::try_from(number).unwrap_or(u32::MAX));
        for remote in remotes() {
            let Some(&own) = pod.addresses.iter().find(|own| own.is_ipv4() == remote.is_ipv4()) else {
                continue;
            };
            for direction in Direction::ALL {
                let (src, dst) = if direction == Direction::Egress { (own, remote) } else { (remote, own) };
                for (protocol, dst_port) in L4 {
                    keys.push(Key { subject, direction, src, dst, protocol, src_port: 49152, dst_port });
                }
            }
        }
    }
    keys
}

/// A walk over the objects: Admin, NetworkPolicy, Baseline, allow.
struct Book<'o> {
    compiler: &'o Compiler,
    subjects: Vec<(String, String)>,
    misplaced: Vec<(PodName, IpAddr, Misplacement)>,
}

impl<'o> Book<'o> {
    fn new(compiler: &'o Compiler) -> Self {
        let cluster = compiler.cluster(&Scope::All);
        let names = cluster.subjects.iter().map(|pod| (pod.name.namespace.clone(), pod.name.name.clone()));
        Self { compiler, subjects: names.collect(), misplaced: cluster.misplaced }
    }

    fn pods(&self) -> impl Iterator<Item = &'o Pod> {
        self.compiler.objects().filter_map(|object| match object {
            Object::Pod(pod) if !pod.is_finished() => Some(pod),
            _ => None,
        })
    }

    fn namespace_labels(&self, name: &str) -> Labels {
        let found = self.compiler.objects().find_map(|object| match object {
            Object::Namespace(namespace) if namespace.meta.key.name == name => {
                Some(namespace.meta.labels.clone())
            }
            _ => None,
        });
        found.unwrap_or_else(|| Labels::from([("kubernetes.io/metadata.name".to_owned(), name.to_owned())]))
    }

    fn selects(&self, selected: &ClusterPods, pod: &Pod) -> bool {
        selected.namespaces.matches(&self.namespace_labels(&pod.meta.key.namespace))
            && selected.pods.matches(&pod.meta.labels)
    }

    fn node_shows(&self, name: &str, address: IpAddr) -> bool {
        let host_pod = self
            .pods()
            .any(|pod| pod.host_network && pod.node_name == name && pod.pod_ips.contains(&address));
        let own = self.compiler.objects().any(|object| match object {
            Object::Node(node) if node.meta.key.name == name => {
                let gateways = node.pod_cidrs.iter().flat_map(|cidr| {
                    [Some(cidr.network()), cidr.hosts().find(|host| *host != cidr.network())]
                });
                node.addresses.contains(&address) || gateways.flatten().any(|gateway| gateway == address)
            }
            _ => false,
        });
        host_pod || own
    }

    /// Whether the pod has the address. Of a pod with one it cannot have, the others are cut off and never asked about.
    fn owns(&self, pod: &Pod, address: IpAddr) -> bool {
        let (namespace, name) = (&pod.meta.key.namespace, &pod.meta.key.name);
        pod.pod_ips.contains(&address)
            && !self.misplaced.iter().any(|(of, ..)| of.namespace == *namespace && of.name == *name)
    }

    /// The first rule of a tier that matches: what it does.
    fn tier(&self, tier: ClusterTier, key: &Key) -> Option<ClusterAction> {
        let mut policies: Vec<&ClusterPolicy> = self
            .compiler
            .objects()
            .filter_map(|object| match object {
                Object::ClusterPolicy(policy) if policy.place.is_some_and(|place| place.tier == tier) => {
                    Some(policy)
                }
                _ => None,
            })
            .collect();
        // Objects come by kind and name, and this sort is stable.
        policies.sort_by_key(|policy| policy.place.and_then(|place| place.priority).unwrap_or(u16::MAX));
        let (namespace, name) = &self.subjects[key.subject.0 as usize];
        let subject =
            self.pods().find(|pod| pod.meta.key.namespace == *namespace && pod.meta.key.name == *name)?;
        let owner = self.pods().find(|pod| !pod.host_network && self.owns(pod, key.remote()));
        for policy in policies {
            if !policy.subject.as_ref().is_some_and(|selected| self.selects(selected, subject)) {
                continue;
            }
            let rules = if key.direction == Direction::Egress { &policy.egress } else { &policy.ingress };
            for ClusterRule { body, .. } in rules {
                let Some(body) = body else { panic!("only sound policies are walked") };
                let destination = if key.direction == Direction::Egress { owner } else { Some(subject) };
                let port = body.ports.is_empty()
                    || body.ports.iter().any(|port| match port {
                        ClusterPort::Range { protocol, first, last } => {
                            key.protocol == *protocol && *first <= key.dst_port && key.dst_port <= *last
                        }
                        ClusterPort::Named(name) => destination.is_some_and(|pod| {
                            pod.named_ports.iter().any(|named| {
                                named.name == *name
                                    && named.protocol == key.protocol
                                    && named.port == key.dst_port
                            })
                        }),
                    });
                let peer = body.peers.iter().any(|peer| match peer {
                    ClusterPeer::Pods(selected) => owner.is_some_and(|owner| self.selects(selected, owner)),
                    ClusterPeer::Networks(networks) => {
                        networks.iter().any(|network| network.contains(&key.remote()))
                    }
                    ClusterPeer::Nodes(selector) => {
                        owner.is_none()
                            && self.compiler.objects().any(|object| match object {
                                Object::Node(node) => {
                                    selector.matches(&node.meta.labels)
                                        && self.node_shows(&node.meta.key.name, key.remote())
                                }
                                _ => false,
                            })
                    }
                    ClusterPeer::DomainNames(_) | ClusterPeer::Unknown => false,
                });
                if port && peer {
                    return Some(body.action);
                }
            }
        }
        None
    }
}

#[test]
fn the_model_says_what_a_walk_over_the_objects_says() {
    let seen = RefCell::new(BTreeMap::<String, u64>::new());
    let result = runner(CASES).run(&cluster(), |generated| {
        let compiler = compile(&generated.mended);
        let is_cluster_policy = |object: &Object| matches!(object, Object::ClusterPolicy(_));
        for object in compiler.objects().filter(|object| is_cluster_policy(object)) {
            assert!(!object.meta().has_errors(), "{:?}", object.diagnostics());
        }
        let mut without = compiler.clone();
        for object in compiler.objects().filter(|object| is_cluster_policy(object)) {
            without.delete(object.key());
        }
        let cluster = compiler.cluster(&Scope::All);
        let (model, rest) =
            (compiler.reference(&Scope::All, &cluster), without.reference(&Scope::All, &cluster));
        let book = Book::new(&compiler);
        for key in keys(&compiler) {
            let middle = rest.judge(&key);
            let decided = match middle.kind {
                RuleKind::Rule { .. }
                | RuleKind::DefaultDeny { .. }
                | RuleKind::NotIsolated
                | RuleKind::Unreadable { .. } => book.tier(ClusterTier::Admin, &key),
                // Settled before any policy is asked.
                _ => continue,
            };
            let isolated = middle.kind != RuleKind::NotIsolated;
            let (expected, by) = match decided {
                Some(ClusterAction::Accept) => (Action::Allow, "accept in admin"),
                Some(ClusterAction::Deny) => (Action::Deny, "deny in admin"),
                Some(ClusterAction::Pass) if isolated => (middle.action, "pass, then network policy"),
                None if isolated => (middle.action, "network policy"),
                passed => match (passed.is_some(), book.tier(ClusterTier::Baseline, &key)) {
                    (false, Some(ClusterAction::Accept)) => (Action::Allow, "accept in baseline"),
                    (true, Some(ClusterAction::Accept)) => (Action::Allow, "pass, then accept in baseline"),
                    (false, Some(ClusterAction::Deny)) => (Action::Deny, "deny in baseline"),
                    (true, Some(ClusterAction::Deny)) => (Action::Deny, "pass, then deny in baseline"),
                    (_, Some(ClusterAction::Pass)) => (Action::Allow, "pass in baseline"),
                    (_, None) => (Action::Allow, "nothing"),
                },
            };
            *seen.borrow_mut().entry(by.to_owned()).or_default() += 1;
            let answer = model.judge(&key);
            assert_eq!(answer.action, expected, "{by} on {key:?}: {:?}\n{}", answer.kind, generated.mended);
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let seen = seen.into_inner();
    println!("{seen:#?}");
    assert_eq!(seen.len(), 10, "every way to a verdict came up");
}

#[test]
fn what_is_broken_lets_nothing_through_that_its_absence_would_not() {
    let seen = RefCell::new(BTreeMap::<&str, u64>::new());
    let result = runner(CASES).run(&cluster(), |generated| {
        if generated.text == generated.mended {
            return Ok(());
        }
        let (broken, mended) = (compile(&generated.text), compile(&generated.mended));
        let cluster = mended.cluster(&Scope::All);
        let with = broken.reference(&Scope::All, &cluster);
        let without = mended.reference(&Scope::All, &cluster);
        for key in keys(&mended) {
            let answer = with.judge(&key);
            let allowed = without.judge(&key).action == Action::Allow;
            assert!(
                answer.action == Action::Deny || allowed,
                "{key:?}: {:?}\n{}",
                answer.kind,
                generated.text
            );
            let by = match (answer.action, &answer.kind, allowed) {
                (_, RuleKind::Unreadable { policy, .. }, true) if policy.kind != Kind::NetworkPolicy => {
                    "closed"
                }
                (Action::Allow, ..) => "still open",
                (Action::Deny, ..) => "denied",
            };
            *seen.borrow_mut().entry(by).or_default() += 1;
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let seen = seen.into_inner();
    println!("{seen:#?}");
    assert_eq!(seen.len(), 3, "some are closed, and not all");
}

#[test]
fn the_generator_makes_every_construct_and_one_in_thirty_broken() {
    const CONSTRUCTS: [&str; 34] = [
        "kind: ClusterNetworkPolicy",
        "kind: AdminNetworkPolicy",
        "kind: BaselineAdminNetworkPolicy",
        "tier: Admin",
        "tier: Baseline",
        "priority: 0",
        "priority: 1000",
        "subject: {namespaces",
        "subject: {pods: {podSelector",
        "subject: {pods: {namespaceSelector",
        "action: Accept",
        "action: Allow",
        "action: Deny",
        "action: Pass",
        "from: [{namespaces",
        "from: [{pods",
        "to: [{namespaces",
        "to: [{pods",
        "{networks: [10",
        "\"::/0\"",
        "{nodes: {}",
        "{nodes: {matchExpressions",
        "{domainNames",
        "{tcp: {destinationPort: {number",
        "{tcp: {destinationPort: {range",
        "{udp",
        "{sctp",
        "{destinationNamedPort",
        "{portNumber: {port",
        "{portNumber: {protocol: SCTP",
        "{portRange: {start",
        "{namedPort",
        "services: {}",
        "nonsense: 1",
    ];
    let seen = RefCell::new((BTreeMap::<&str, u32>::new(), 0_u32, 0_u32));
    let result = runner(CASES).run(&cluster(), |generated| {
        let (constructs, broken, all) = &mut *seen.borrow_mut();
        for policy in &generated.policies {
            *all += 1;
            *broken += u32::from(policy.mended.as_ref() != Some(&policy.text));
            for construct in CONSTRUCTS.into_iter().filter(|construct| policy.text.contains(construct)) {
                *constructs.entry(construct).or_default() += 1;
            }
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let (constructs, broken, all) = seen.into_inner();
    println!("{broken} of {all} broken; {constructs:#?}");
    assert!(broken * 30 >= all, "{broken} of {all}");
    for construct in CONSTRUCTS {
        assert!(constructs.contains_key(construct), "never made: {construct}");
    }
}
