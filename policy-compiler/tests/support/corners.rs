//! The corners of the policy languages, and how often generated cases and their probes came to each.
//!
//! A corner is found in the manifests by words that only it has. A rule says where it is written, so that a verdict can be
//! counted for the corners of the very rule that decided, logged or passed.

use policy_compiler::{Origin, RuleInfo, RuleKind, Step};

/// Where a corner's words stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Within {
    /// In the rule: probes must have come to such a rule.
    Rule,
    /// In the policy: probes must have come to a rule of such a policy.
    Policy,
    /// Anywhere: that it was generated is all there is to see.
    Object,
}

use Within::{Object, Policy, Rule};

/// Kind of object (or the beginning of it), what the corner is, where, and its words; `…` stands for anything.
pub(crate) type Corner = (&'static str, &'static str, Within, &'static str);

/// By number of the requirement they belong to: 0 is the cluster itself.
pub(crate) const CORNERS: &[(u8, &[Corner])] =
    &[(0, CLUSTER), (1, NETWORK_POLICY), (2, CLUSTER_POLICY), (3, CALICO), (4, CILIUM)];

const CLUSTER: &[Corner] = &[
    ("Pod", "both families", Object, "10.42.0.2\"}, {ip: \"fd00"),
    ("Pod", "no address", Object, "podIPs: []"),
    ("Pod", "on its node's network", Object, "hostNetwork: true"),
    ("Pod", "pending", Object, "phase: Pending"),
    ("Pod", "succeeded", Object, "phase: Succeeded"),
    ("Pod", "failed", Object, "phase: Failed"),
    ("Pod", "being deleted", Object, "deletionTimestamp"),
    ("Pod", "named port", Object, "name: http, containerPort: 80}"),
    ("Pod", "the same name, another number", Object, "name: http, containerPort: 8080}"),
    ("Pod", "one name for two protocols", Object, "name: dns, containerPort: 53, protocol: TCP"),
    ("Pod", "SCTP port", Object, "protocol: SCTP"),
    ("Pod", "several containers", Object, "}]}, {ports"),
    ("Pod", "no labels", Object, "labels: {}"),
    ("Pod", "an empty label", Object, "tier: \"\""),
    ("Pod", "service account", Object, "serviceAccountName"),
    ("Pod", "in a namespace without an object", Object, "namespace: n3"),
    ("Node", "labels", Object, "role: edge"),
    ("ServiceAccount", "labels", Object, "role: till"),
];

const NETWORK_POLICY: &[Corner] = &[
    ("NetworkPolicy", "empty podSelector", Policy, "podSelector: {}, policyTypes"),
    ("NetworkPolicy", "missing podSelector", Policy, "podSelector: , policyTypes"),
    ("NetworkPolicy", "matchLabels", Policy, "podSelector: {matchLabels: {app: a}}, policyTypes"),
    ("NetworkPolicy", "In", Policy, "operator: In,"),
    ("NetworkPolicy", "NotIn", Policy, "operator: NotIn"),
    ("NetworkPolicy", "Exists", Policy, "operator: Exists"),
    ("NetworkPolicy", "DoesNotExist", Policy, "operator: DoesNotExist"),
    ("NetworkPolicy", "a label that is empty", Rule, "tier: \"\""),
    ("NetworkPolicy", "policyTypes empty", Policy, "policyTypes: []"),
    ("NetworkPolicy", "policyTypes of one", Policy, "policyTypes: [Egress]"),
    ("NetworkPolicy", "no rules", Object, "ingress: [], egress: []"),
    ("NetworkPolicy", "missing from and ports", Rule, "{}"),
    ("NetworkPolicy", "empty from", Rule, "from: []"),
    ("NetworkPolicy", "empty to", Rule, "to: []"),
    ("NetworkPolicy", "missing from", Policy, "ingress: [{ports"),
    ("NetworkPolicy", "missing to", Policy, "egress: [{ports"),
    ("NetworkPolicy", "empty ports", Rule, "ports: []"),
    ("NetworkPolicy", "pods of the own namespace", Rule, ": [{podSelector"),
    ("NetworkPolicy", "namespaces", Rule, "{namespaceSelector: {}}"),
    ("NetworkPolicy", "namespaces AND pods", Rule, "{namespaceSelector: {}, podSelector"),
    ("NetworkPolicy", "namespaces OR pods", Rule, "}}, {podSelector"),
    ("NetworkPolicy", "ipBlock IPv4", Rule, "cidr: 10.42.0.0/24"),
    ("NetworkPolicy", "ipBlock IPv4 with except", Rule, "except: [10.42"),
    ("NetworkPolicy", "ipBlock IPv6", Rule, "cidr: \"::/0\""),
    ("NetworkPolicy", "ipBlock IPv6 with except", Rule, "except: [\"fd00"),
    ("NetworkPolicy", "port without a protocol", Rule, "{port: 80}"),
    ("NetworkPolicy", "protocol without a port", Rule, "{protocol: UDP}"),
    ("NetworkPolicy", "neither", Rule, "ports: [{}"),
    ("NetworkPolicy", "SCTP", Rule, "SCTP"),
    ("NetworkPolicy", "named port", Rule, "{port: http}"),
    ("NetworkPolicy", "named port of UDP", Rule, "{port: dns, protocol: UDP}"),
    ("NetworkPolicy", "endPort", Rule, "{port: 8000, endPort"),
    ("NetworkPolicy", "every port by endPort", Rule, "endPort: 65535"),
    ("NetworkPolicy", "the last port", Rule, "{port: 65535}"),
    ("NetworkPolicy", "invalid: endPort below port", Object, "endPort: 80}"),
    ("NetworkPolicy", "invalid: except outside cidr", Object, "except: [10.43"),
    ("NetworkPolicy", "invalid: endPort with a name", Object, "port: http, endPort"),
    ("NetworkPolicy", "invalid: label", Object, "app: \"-\""),
    ("NetworkPolicy", "invalid: operator", Object, "operator: Gt"),
    ("NetworkPolicy", "invalid: ipBlock beside a selector", Object, "/24}, podSelector"),
    ("NetworkPolicy", "invalid: unknown field", Object, "nonsense"),
    ("NetworkPolicy", "invalid: subject", Object, "matchLabels: 5"),
];

const CLUSTER_POLICY: &[Corner] = &[
    ("ClusterNetworkPolicy", "Admin", Policy, "tier: Admin"),
    ("ClusterNetworkPolicy", "Baseline", Policy, "tier: Baseline"),
    ("ClusterNetworkPolicy", "the first priority", Policy, "priority: 0"),
    ("ClusterNetworkPolicy", "the last priority", Policy, "priority: 1000"),
    ("ClusterNetworkPolicy", "namespaces as subject", Policy, "subject: {namespaces"),
    ("ClusterNetworkPolicy", "pods as subject", Policy, "subject: {pods: {namespaceSelector"),
    ("ClusterNetworkPolicy", "pods of all namespaces as subject", Policy, "subject: {pods: {podSelector"),
    ("ClusterNetworkPolicy", "no rules", Object, "ingress: [], egress: []"),
    ("ClusterNetworkPolicy", "Accept", Rule, "action: Accept"),
    ("ClusterNetworkPolicy", "Deny", Rule, "action: Deny"),
    ("ClusterNetworkPolicy", "Pass", Rule, "action: Pass"),
    ("ClusterNetworkPolicy", "from namespaces", Rule, "from: [{namespaces"),
    ("ClusterNetworkPolicy", "from pods", Rule, "from: [{pods"),
    ("ClusterNetworkPolicy", "to namespaces", Rule, "to: [{namespaces"),
    ("ClusterNetworkPolicy", "to pods", Rule, "to: [{pods"),
    ("ClusterNetworkPolicy", "to networks IPv4", Rule, "{networks: [198"),
    ("ClusterNetworkPolicy", "to networks IPv6", Rule, "{networks: [\"fd00"),
    ("ClusterNetworkPolicy", "to nodes", Rule, "{nodes: {}"),
    ("ClusterNetworkPolicy", "to nodes with a label", Rule, "{nodes: {matchLabels: {role: edge"),
    ("ClusterNetworkPolicy", "to domain names", Object, "domainNames"),
    ("ClusterNetworkPolicy", "TCP port", Rule, "{tcp: {destinationPort: {number"),
    ("ClusterNetworkPolicy", "TCP ports", Rule, "{tcp: {destinationPort: {range"),
    ("ClusterNetworkPolicy", "UDP", Rule, "{udp"),
    ("ClusterNetworkPolicy", "SCTP", Rule, "{sctp"),
    ("ClusterNetworkPolicy", "named port", Rule, "{destinationNamedPort"),
    ("ClusterNetworkPolicy", "invalid: peer", Object, "services: {}"),
    ("ClusterNetworkPolicy", "invalid: action", Object, "Reject"),
    ("ClusterNetworkPolicy", "invalid: priority or tier", Object, "nonsense"),
    ("AdminNetworkPolicy", "Allow", Rule, "action: Allow"),
    ("AdminNetworkPolicy", "Deny", Rule, "action: Deny"),
    ("AdminNetworkPolicy", "Pass", Rule, "action: Pass"),
    ("AdminNetworkPolicy", "port", Rule, "{portNumber"),
    ("AdminNetworkPolicy", "ports", Rule, "{portRange"),
    ("AdminNetworkPolicy", "named port", Rule, "{namedPort"),
    ("BaselineAdminNetworkPolicy", "Allow", Rule, "action: Allow"),
    ("BaselineAdminNetworkPolicy", "Deny", Rule, "action: Deny"),
];

const CALICO: &[Corner] = &[
    ("c:NetworkPolicy", "of a namespace", Policy, "kind: NetworkPolicy"),
    ("c:GlobalNetworkPolicy", "of all", Policy, "kind: GlobalNetworkPolicy"),
    ("c:GlobalNetworkPolicy", "namespaces as subject", Policy, "namespaceSelector: \"team"),
    ("c:", "service accounts as subject", Policy, "serviceAccountSelector"),
    ("c:", "no order", Policy, "spec: {ingress"),
    ("c:", "order", Policy, "order: 10,"),
    ("c:", "order below zero", Policy, "order: -0.5"),
    ("c:", "types missing", Policy, "spec: {ingress"),
    ("c:", "types of one", Policy, "types: [Egress]"),
    ("c:", "types empty", Policy, "types: []"),
    ("c:", "tier of its own", Policy, "tier: first"),
    ("c:", "tier that passes", Policy, "tier: second"),
    ("c:", "tier of ClusterNetworkPolicy", Policy, "tier: kube-admin"),
    ("Tier", "order and default action", Object, "order: 50, defaultAction: Pass"),
    ("Tier", "after all others", Object, "order: 2000000"),
    ("c:StagedNetworkPolicy", "staged", Object, "spec"),
    ("c:StagedGlobalNetworkPolicy", "staged", Object, "spec"),
    ("c:StagedKubernetesNetworkPolicy", "staged", Object, "spec"),
    ("GlobalNetworkSet", "of all", Object, "who: partner"),
    ("NetworkSet", "of a namespace", Object, "who: staff"),
    ("c:", "Allow", Rule, "action: Allow"),
    ("c:", "Deny", Rule, "action: Deny"),
    ("c:", "Pass", Rule, "action: Pass"),
    ("c:", "Log", Rule, "action: Log"),
    ("c:", "==", Rule, "app == 'a'"),
    ("c:", "!=", Rule, "app != 'b'"),
    ("c:", "in", Rule, "app in {'a', 'c'}"),
    ("c:", "in nothing", Rule, "app in {}"),
    ("c:", "not in", Rule, "app not in"),
    ("c:", "contains", Rule, "contains 'x'"),
    ("c:", "starts with", Rule, "starts with 'y'"),
    ("c:", "ends with", Rule, "ends with ''"),
    ("c:", "has()", Rule, "has(tier)"),
    ("c:", "all()", Rule, "all()"),
    ("c:", "global()", Rule, "global()"),
    ("c:", "&&", Rule, "&&"),
    ("c:", "||", Rule, "||"),
    ("c:", "!", Rule, "!("),
    ("c:", "network sets by label", Rule, "who =="),
    ("c:", "labels of namespaces", Rule, "pcns."),
    ("c:", "labels of service accounts", Rule, "pcsa."),
    ("c:", "source", Rule, "source: {selector"),
    ("c:", "destination", Rule, "destination: {selector"),
    ("c:", "notSelector", Rule, "notSelector"),
    ("c:", "namespaceSelector", Rule, "namespaceSelector"),
    ("c:", "nets IPv4", Rule, " nets: [10"),
    ("c:", "nets IPv6", Rule, "nets: [\"fd00"),
    ("c:", "notNets", Rule, "notNets"),
    ("c:", "service accounts by name", Rule, "{names: [default"),
    ("c:", "service accounts by selector", Rule, "serviceAccounts: {selector"),
    ("c:", "service accounts, none asked", Rule, "serviceAccounts: {}"),
    ("c:", "destination ports", Rule, "destination: {…ports: ["),
    ("c:", "source ports", Rule, "source: {…ports: […destination: {"),
    ("c:", "port ranges", Rule, "7:9000"),
    ("c:", "named ports", Rule, "http"),
    ("c:", "notPorts", Rule, "notPorts"),
    ("c:", "protocol by name", Rule, "protocol: UDP,"),
    ("c:", "protocol by number", Rule, "protocol: 47"),
    ("c:", "SCTP", Rule, "protocol: SCTP"),
    ("c:", "UDPLite", Rule, "protocol: UDPLite"),
    ("c:", "notProtocol", Rule, "notProtocol: TCP"),
    ("c:", "ICMP type", Rule, "icmp: {type"),
    ("c:", "ICMP type and code", Rule, "notICMP: {type: 8, code"),
    ("c:", "notICMP", Rule, "notICMP"),
    ("c:", "ipVersion 4", Rule, "ipVersion: 4"),
    ("c:", "ipVersion 6", Rule, "ipVersion: 6"),
    ("c:", "refused: HTTP", Object, "http: {methods"),
    ("c:", "refused: domains", Object, "domains"),
    ("c:", "refused: services", Object, "services: {"),
    ("c:", "invalid: selector", Object, "global() ||"),
    ("c:", "invalid: action", Object, "action: X"),
    ("c:", "invalid: ports", Object, "\"9:8\""),
    ("c:", "invalid: tier", Object, "tier: nowhere"),
];

const CILIUM: &[Corner] = &[
    ("CiliumNetworkPolicy", "of a namespace", Policy, "namespace: n1"),
    ("CiliumClusterwideNetworkPolicy", "of all", Policy, "spec"),
    ("Cilium", "several specs", Policy, "specs: ["),
    ("Cilium", "every endpoint", Policy, "endpointSelector: {}"),
    ("Cilium", "labels without a source", Policy, "endpointSelector: {matchLabels: {app: a"),
    ("Cilium", "labels of k8s and any", Policy, "endpointSelector: {matchLabels: {\"k8s:app\": b, \"any:"),
    ("Cilium", "reserved labels", Policy, "reserved:health"),
    ("Cilium", "labels of namespaces", Policy, "endpointSelector: {matchLabels: {io.cilium.k8s.namespace"),
    ("Cilium", "service accounts", Rule, "policy.serviceaccount"),
    ("Cilium", "fromEndpoints", Rule, "fromEndpoints: [{"),
    ("Cilium", "toEndpoints", Rule, "toEndpoints: [{"),
    ("Cilium", "every endpoint as peer", Rule, "fromEndpoints: [{}"),
    ("Cilium", "no endpoint", Object, "fromEndpoints: []"),
    ("Cilium", "In", Rule, "operator: In,"),
    ("Cilium", "NotIn", Rule, "operator: NotIn"),
    ("Cilium", "Exists", Rule, "operator: Exists"),
    ("Cilium", "DoesNotExist", Rule, "operator: DoesNotExist"),
    ("Cilium", "another namespace", Rule, "\"k8s:io.kubernetes.pod.namespace\": n2"),
    ("Cilium", "endpoints by reserved label", Rule, "\"reserved:kube-apiserver\""),
    ("Cilium", "fromEntities", Rule, "fromEntities: ["),
    ("Cilium", "toEntities", Rule, "toEntities: ["),
    ("Cilium", "no entity", Object, "toEntities: []"),
    ("Cilium", "entity all", Rule, "Entities: [all"),
    ("Cilium", "entity world", Rule, "Entities: [world]"),
    ("Cilium", "entity world-ipv4", Rule, "Entities: [world-ipv4"),
    ("Cilium", "entity world-ipv6", Rule, "Entities: [world-ipv6"),
    ("Cilium", "entity cluster", Rule, "Entities: [cluster"),
    ("Cilium", "entity host", Rule, "Entities: [host"),
    ("Cilium", "entity remote-node", Rule, "Entities: [remote-node"),
    ("Cilium", "entity kube-apiserver", Rule, "Entities: [kube-apiserver"),
    ("Cilium", "entity ingress", Object, "Entities: [ingress"),
    ("Cilium", "entity health", Object, "Entities: [health"),
    ("Cilium", "entity init", Object, "Entities: [init"),
    ("Cilium", "entity unmanaged", Object, "Entities: [unmanaged"),
    ("Cilium", "entity none", Object, "Entities: [none"),
    ("Cilium", "fromCIDR", Rule, "fromCIDR: [1"),
    ("Cilium", "toCIDR IPv6", Rule, "toCIDR: [\"::/0"),
    ("Cilium", "fromCIDRSet with except", Rule, "fromCIDRSet: [{cidr: 0.0.0.0/0, except"),
    ("Cilium", "toCIDRSet IPv6", Rule, "toCIDRSet: [{cidr: \"::/0"),
    ("Cilium", "CIDR group", Rule, "cidrGroupRef: some"),
    ("Cilium", "CIDR group that is not there", Object, "cidrGroupRef: nowhere"),
    ("Cilium", "CIDR groups by label", Rule, "cidrGroupSelector: {matchLabels: {kind: x"),
    ("Cilium", "fromNodes", Rule, "fromNodes"),
    ("Cilium", "toNodes", Rule, "toNodes"),
    ("Cilium", "toFQDNs", Object, "toFQDNs"),
    ("Cilium", "a rule without peers", Rule, "{toPorts: [{ports: [{port: \"80\""),
    ("Cilium", "no ports", Rule, "toPorts: []"),
    ("Cilium", "port", Rule, "{port: \"80\", protocol: TCP"),
    ("Cilium", "port of any protocol", Rule, "{port: \"53\"}"),
    ("Cilium", "port range", Rule, "endPort: 9000"),
    ("Cilium", "port 0", Rule, "port: \"0\""),
    ("Cilium", "named port", Rule, "{port: http"),
    ("Cilium", "SCTP", Rule, "protocol: SCTP"),
    ("Cilium", "protocol without ports", Rule, "protocol: VRRP"),
    ("Cilium", "ICMP type", Rule, "EchoRequest"),
    ("Cilium", "ICMPv6 type", Rule, "family: IPv6"),
    ("Cilium", "no ICMP", Object, "icmps: []"),
    ("Cilium", "ingressDeny", Policy, "ingressDeny: [{from"),
    ("Cilium", "egressDeny", Policy, "egressDeny: [{to"),
    ("Cilium", "default deny turned off", Policy, "enableDefaultDeny: {ingress: false}"),
    ("Cilium", "default deny turned on", Policy, "enableDefaultDeny: {egress: true}"),
    ("Cilium", "L7 rules", Object, "rules: {http"),
    ("Cilium", "invalid: unknown field", Object, "nonsense"),
];

/// What one corner came to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Count {
    /// Objects that have it.
    pub(crate) made: u64,
    /// Probes that a rule, or a policy, with it decided, logged or passed.
    pub(crate) reached: u64,
}

/// Of every corner, in the order of [`CORNERS`].
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) counts: Vec<Count>,
}

fn all() -> impl Iterator<Item = (u8, Corner)> {
    CORNERS.iter().flat_map(|(number, corners)| corners.iter().map(|corner| (*number, *corner)))
}

/// The kind of the object in a line, `c:` before it if it is Calico's.
fn kind_of(line: &str) -> String {
    let kind =
        line.split_once("kind: ").and_then(|(_, rest)| rest.split_once(',')).map_or("", |(kind, _)| kind);
    let calico = line.contains("apiVersion: projectcalico.org") && kind.contains("Policy");
    format!("{}{kind}", if calico { "c:" } else { "" })
}

fn is_of(corner: Corner, kind: &str) -> bool {
    match corner.0 {
        "c:" | "Cilium" => kind.starts_with(corner.0) && !kind.contains("Staged"),
        wanted => kind == wanted,
    }
}

fn has(text: &str, words: &str) -> bool {
    let mut rest = text;
    words.split('…').all(|part| match rest.split_once(part) {
        Some((_, after)) => {
            rest = after;
            true
        }
        None => false,
    })
}

/// What begins at a place, to the bracket that closes it.
fn fragment(line: &str, column: u32) -> &str {
    let start = line.char_indices().nth(usize::try_from(column.saturating_sub(1)).unwrap_or(0));
    let rest = start.and_then(|(start, _)| line.get(start..)).unwrap_or_default();
    let mut depth = 0_u32;
    for (at, c) in rest.char_indices() {
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return rest.get(..=at).unwrap_or(rest);
        }
    }
    rest
}

impl Counts {
    pub(crate) fn new() -> Self {
        Self { counts: all().map(|_| Count::default()).collect() }
    }

    /// Counts the objects of a state.
    pub(crate) fn made(&mut self, text: &str) {
        for line in text.lines().filter(|line| line.starts_with('{')) {
            let kind = kind_of(line);
            for (count, (_, corner)) in self.counts.iter_mut().zip(all()) {
                count.made += u64::from(is_of(corner, &kind) && has(line, corner.3));
            }
        }
    }

    /// Counts what decided a probe, and what was on the way.
    pub(crate) fn reached(&mut self, lines: &[&str], info: &RuleInfo) {
        let decided = match &info.kind {
            RuleKind::Rule { provenance, .. } => Some(&provenance.origin),
            _ => None,
        };
        let on_the_way = info.via.iter().filter_map(|step| match step {
            Step::Logged { provenance, .. } | Step::Passed { provenance, .. } => Some(&provenance.origin),
            Step::Undecided { .. } => None,
        });
        for Origin { line, column, .. } in on_the_way.chain(decided) {
            let number = usize::try_from(line.saturating_sub(1)).unwrap_or(usize::MAX);
            let line = lines.get(number).copied().unwrap_or_default();
            let (kind, rule) = (kind_of(line), fragment(line, *column));
            for (count, (_, corner)) in self.counts.iter_mut().zip(all()) {
                let text = match corner.2 {
                    Within::Rule => rule,
                    Within::Policy => line,
                    Within::Object => continue,
                };
                count.reached += u64::from(is_of(corner, &kind) && has(text, corner.3));
            }
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (count, other) in self.counts.iter_mut().zip(&other.counts) {
            count.made += other.made;
            count.reached += other.reached;
        }
    }

    /// Every corner with its counts, a line each.
    pub(crate) fn table(&self) -> String {
        use std::fmt::Write as _;
        let mut table = String::new();
        for (count, (number, (kind, what, within, _))) in self.counts.iter().zip(all()) {
            let kind = kind.replace("c:", "Calico ");
            let reached = if within == Object { "-".to_owned() } else { count.reached.to_string() };
            let _ = writeln!(table, "{number} {:>8} {reached:>8}  {kind}: {what}", count.made);
        }
        table
    }

    /// Those that nothing came to.
    pub(crate) fn missing(&self) -> Vec<String> {
        let missing = self
            .counts
            .iter()
            .zip(all())
            .filter(|(count, (_, corner))| count.made == 0 || (corner.2 != Object && count.reached == 0));
        missing
            .map(|(count, (number, corner))| format!("{number} {} {}: {count:?}", corner.0, corner.1))
            .collect()
    }
}
