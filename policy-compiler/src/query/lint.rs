//! What is valid but probably not what its writer meant, beside everything that is invalid.
//!
//! Selectors and port names are held against the live pods of the state, so a finding may also mean that the state
//! lacks pods. Cost: policies × pods, and the probes of DNS.

use super::end::{End, ends};
use super::judge::Judge;
use super::ports::allowed;
use super::probe::Transport;
use super::words::{peers_in_words, pods as pods_in_words};
use crate::api::{
    Diagnostic, Labels, NAME_LABEL, NetworkPolicy, Object, Pod, PolicyPeer, PolicyPort, PolicyPortNumber,
    PolicyRule, Severity,
};
use crate::model::{Attributes, Direction, Namespaces, Peer, Peers, PodSelection, Protocol};
use crate::semantics::kubernetes;
use serde::Serialize;
use std::collections::BTreeMap;

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Lint {
    /// It cannot be enforced as written.
    Invalid,
    /// A remark of the reader.
    Remark,
    /// A policy that selects no pod.
    SelectsNoPod,
    /// A peer of a rule that no pod matches.
    PeerMatchesNoPod,
    /// A named port that no destination pod defines for that protocol.
    PortNameUndefined,
    /// Rules in a section that `policyTypes` leaves out.
    SectionIgnored,
    /// Two peers, namespaces here and pods there, that were probably meant as one.
    PeersProbablyOne,
    /// An ipBlock that covers addresses of pods.
    IpBlockCoversPods,
    /// A policy that allows egress, and not to DNS, for a pod that no other policy lets reach it.
    DnsForgotten,
}

impl Lint {
    /// As it is printed: `selects_no_pod`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Remark => "remark",
            Self::SelectsNoPod => "selects_no_pod",
            Self::PeerMatchesNoPod => "peer_matches_no_pod",
            Self::PortNameUndefined => "port_name_undefined",
            Self::SectionIgnored => "section_ignored",
            Self::PeersProbablyOne => "peers_probably_one",
            Self::IpBlockCoversPods => "ip_block_covers_pods",
            Self::DnsForgotten => "dns_forgotten",
        }
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub lint: Lint,
    /// Where, what, and what to do.
    pub diagnostic: Diagnostic,
}

/// Everything worth a look in the state, by place. `remarks`: what its source found, files that could not be read
/// and the like. For a state with errors the judge's compiler has to isolate, else there is no judge.
pub fn lint(judge: &Judge, remarks: &[Diagnostic]) -> Vec<Finding> {
    let compiled = judge.compiled();
    let known = remarks.iter().chain(&compiled.degraded).chain(&compiled.warnings);
    let mut findings: Vec<Finding> = Vec::new();
    for diagnostic in known {
        let lint = if diagnostic.is_error() { Lint::Invalid } else { Lint::Remark };
        findings.push(Finding { lint, diagnostic: diagnostic.clone() });
    }
    let mut others = judge.pods();
    others.extend(ends(&[judge]));
    let mut linter = Linter { namespaces: BTreeMap::new(), pods: Vec::new(), others, judge, findings };
    let mut policies = Vec::new();
    for object in judge.compiler().objects() {
        match object {
            Object::Namespace(namespace) => {
                linter.namespaces.insert(&namespace.meta.key.name, namespace.meta.labels.clone());
            }
            Object::Pod(pod) if pod.is_endpoint() => linter.pods.push(pod),
            Object::NetworkPolicy(policy) => policies.push(policy),
            _ => {}
        }
    }
    for pod in &linter.pods {
        let name = &pod.meta.key.namespace;
        let labels = || Labels::from([(NAME_LABEL.to_owned(), name.clone())]);
        linter.namespaces.entry(name).or_insert_with(labels);
    }
    for policy in policies {
        linter.policy(policy);
    }
    let mut findings = linter.findings;
    let place = |finding: &Finding| (finding.diagnostic.origin.clone(), finding.lint);
    findings
        .sort_by(|a, b| place(a).cmp(&place(b)).then_with(|| a.diagnostic.field.cmp(&b.diagnostic.field)));
    findings.dedup();
    findings
}

struct Linter<'j> {
    namespaces: BTreeMap<&'j str, Labels>,
    pods: Vec<&'j Pod>,
    /// Everyone a connection can go to.
    others: Vec<End>,
    judge: &'j Judge,
    findings: Vec<Finding>,
}

impl<'j> Linter<'j> {
    fn policy(&mut self, policy: &'j NetworkPolicy) {
        let Some(selector) = &policy.pod_selector else { return };
        let subjects: Vec<&Pod> = self
            .pods
            .iter()
            .copied()
            .filter(|pod| {
                pod.meta.key.namespace == policy.meta.key.namespace && selector.matches(&pod.meta.labels)
            })
            .collect();
        if subjects.is_empty() {
            let who = pods_in_words(&PodSelection {
                namespaces: Namespaces::Named(policy.meta.key.namespace.clone()),
                pods: selector.into(),
            });
            let message =
                format!("the policy selects no pod: there are no {}", who.replace("all pods", "pods"));
            let help = "correct the selector or the namespace, or remove the policy";
            self.find(
                Lint::SelectsNoPod,
                policy,
                "spec.podSelector",
                policy.spec.origin.clone(),
                message,
                help,
            );
        }
        let sections = [
            (Direction::Ingress, policy.applies_ingress, &policy.ingress),
            (Direction::Egress, policy.applies_egress, &policy.egress),
        ];
        for (direction, applies, rules) in sections {
            if let (false, Some(rule)) = (applies, rules.first()) {
                let message =
                    format!("the {direction} rules have no effect: policyTypes leaves {direction} out");
                let (field, help) = (format!("spec.{direction}"), "name both directions in policyTypes");
                let origin = rule.provenance.origin.clone();
                self.find(Lint::SectionIgnored, policy, &field, origin, message, help);
                continue;
            }
            for rule in rules {
                self.rule(policy, direction, rule, &subjects);
            }
        }
        if policy.applies_egress && !policy.egress.is_empty() {
            self.dns(policy, &subjects);
        }
    }

    fn rule(
        &mut self,
        policy: &'j NetworkPolicy,
        direction: Direction,
        rule: &'j PolicyRule,
        subjects: &[&Pod],
    ) {
        let Some(body) = &rule.body else { return };
        let list = if direction == Direction::Ingress { "from" } else { "to" };
        let origin = &rule.provenance.origin;
        let mut destinations: Vec<&Pod> = Vec::new();
        for (position, peer) in body.peers.iter().enumerate() {
            let field = format!("{}.{list}[{position}]", rule.provenance.field);
            let matching = self.matching(policy, peer);
            if let PolicyPeer::IpBlock(block) = peer {
                let covered = self.pods.iter().find(|pod| pod.pod_ips.iter().any(|&ip| block.contains(ip)));
                if let Some(pod) = covered {
                    let pod = format!("{}/{}", pod.meta.key.namespace, pod.meta.key.name);
                    let message = format!("the ipBlock {} covers pods, {pod} for one", block.cidr);
                    let help = "select pods by their labels, and except the pod network from the block";
                    self.find(Lint::IpBlockCoversPods, policy, &field, origin.clone(), message, help);
                }
            } else if matching.is_empty() {
                let who = peers_in_words(&Peers::OneOf(vec![kubernetes::peer(policy, peer)]));
                let message = format!("the rule's peer matches no pod: {who}");
                let help = "correct the selectors, or remove the peer";
                self.find(Lint::PeerMatchesNoPod, policy, &field, origin.clone(), message, help);
            }
            destinations.extend(matching);
        }
        for (position, pair) in body.peers.windows(2).enumerate() {
            if let [
                PolicyPeer::Selectors { pods: None, namespaces: Some(_) },
                PolicyPeer::Selectors { pods: Some(_), namespaces: None },
            ] = pair
            {
                let field = format!("{}.{list}[{}]", rule.provenance.field, position + 1);
                let message =
                    "two peers: all pods of those namespaces, or these pods of the policy's own namespace";
                let help = "if pods in those namespaces were meant, write both selectors in one element: \
                            remove the '-' before podSelector";
                self.find(Lint::PeersProbablyOne, policy, &field, origin.clone(), message.to_owned(), help);
            }
        }
        let everyone = self.pods.clone();
        let targets: &[&Pod] = match direction {
            Direction::Ingress => subjects,
            Direction::Egress if body.peers.is_empty() => &everyone,
            Direction::Egress => &destinations,
        };
        // Without any destination the finding is that, and not its port.
        if targets.is_empty() && !body.peers.iter().any(|peer| matches!(peer, PolicyPeer::IpBlock(_))) {
            return;
        }
        for (position, port) in body.ports.iter().enumerate() {
            self.port_name(policy, rule, (position, port), targets);
        }
    }

    fn port_name(
        &mut self,
        policy: &NetworkPolicy,
        rule: &PolicyRule,
        (position, port): (usize, &PolicyPort),
        targets: &[&Pod],
    ) {
        let PolicyPortNumber::Named(name) = &port.port else { return };
        let named = |pod: &&Pod| pod.named_ports.iter().any(|known| known.name == *name);
        let defined = targets.iter().any(|pod| {
            pod.named_ports.iter().any(|known| known.name == *name && known.protocol == port.protocol)
        });
        if defined {
            return;
        }
        let protocol = Protocol::new(port.protocol);
        let mut message =
            format!("no destination pod names a {protocol} port {name:?}: the entry allows nothing");
        if targets.iter().any(named) {
            message.push_str(" (there is one of that name, of another protocol)");
        }
        let field = format!("{}.ports[{position}]", rule.provenance.field);
        let help = "use a name from the pods' containerPorts with its protocol, or the number";
        self.find(Lint::PortNameUndefined, policy, &field, rule.provenance.origin.clone(), message, help);
    }

    /// The pods a peer matches, by label or by address.
    fn matching(&self, policy: &NetworkPolicy, peer: &PolicyPeer) -> Vec<&'j Pod> {
        let peer = kubernetes::peer(policy, peer);
        let none = Labels::new();
        let matches = |pod: &&'j Pod| {
            let namespace = &pod.meta.key.namespace;
            let labels = self.namespaces.get(namespace.as_str()).unwrap_or(&none);
            let attributes = Attributes {
                namespace,
                namespace_labels: labels,
                labels: &pod.meta.labels,
                service_account: &pod.service_account,
                service_account_labels: &none,
            };
            match &peer {
                Peer::Pods(selection) => selection.matches(&attributes),
                Peer::Addresses(block) => pod.pod_ips.iter().any(|&address| block.contains(address)),
                _ => false,
            }
        };
        self.pods.iter().copied().filter(matches).collect()
    }

    /// Asks the classifier whether the first selected pod can reach port 53 anywhere.
    fn dns(&mut self, policy: &NetworkPolicy, subjects: &[&Pod]) {
        let deaf = subjects.iter().find(|pod| {
            let name = format!("{}/{}", pod.meta.key.namespace, pod.meta.key.name);
            let Ok(source) = self.judge.end(&name) else { return false };
            !source.addresses.iter().any(|&src| {
                let family = if src.is_ipv4() { 4 } else { 6 };
                self.others.iter().filter(|end| end.name != name).any(|end| {
                    end.address(family).is_some_and(|dst| {
                        let dns = Transport::Port(Protocol::UDP, 53);
                        let [egress, _] = self.judge.verdicts((&source, src), (end, dst), dns, 49152);
                        allowed([egress, None])
                    })
                })
            })
        });
        if let Some(pod) = deaf {
            let pod = format!("{}/{}", pod.meta.key.namespace, pod.meta.key.name);
            let message = format!("{pod} may open connections, but DNS (UDP 53) to nobody");
            let help = "allow egress to the cluster's DNS on UDP and TCP 53, if the pod resolves names";
            self.find(Lint::DnsForgotten, policy, "spec.egress", policy.spec.origin.clone(), message, help);
        }
    }

    fn find(
        &mut self,
        lint: Lint,
        policy: &NetworkPolicy,
        field: &str,
        origin: crate::api::Origin,
        message: String,
        help: &str,
    ) {
        let diagnostic = Diagnostic {
            severity: Severity::Warning,
            origin,
            object: Some(policy.meta.key.clone()),
            field: field.to_owned(),
            message,
            expected: None,
            help: Some(help.to_owned()),
        };
        self.findings.push(Finding { lint, diagnostic });
    }
}
