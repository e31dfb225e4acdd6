//! ClusterNetworkPolicies and their ancestors as manifests, generated: every construct, and about one in thirty broken.

use super::generate;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// A policy, and what is left of it when its broken parts are taken away: nothing, where it is broken as a whole.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) text: String,
    pub(crate) mended: Option<String>,
}

/// A cluster with policies.
#[derive(Debug, Clone)]
pub(crate) struct Generated {
    pub(crate) text: String,
    /// The same without broken parts of cluster policies.
    pub(crate) mended: String,
    pub(crate) policies: Vec<Written>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    Cluster,
    Admin,
    Baseline,
}

const SELECTORS: [&str; 8] = [
    "{}",
    "{}",
    "{matchLabels: {app: a}}",
    "{matchLabels: {app: b, tier: x}}",
    "{matchExpressions: [{key: app, operator: In, values: [a, c]}]}",
    "{matchExpressions: [{key: app, operator: NotIn, values: [a]}]}",
    "{matchExpressions: [{key: tier, operator: Exists}]}",
    "{matchExpressions: [{key: tier, operator: DoesNotExist}]}",
];
const SPACES: [&str; 5] = [
    "{}",
    "{matchLabels: {team: red}}",
    "{matchLabels: {team: blue}}",
    "{matchLabels: {kubernetes.io/metadata.name: n3}}",
    "{matchExpressions: [{key: team, operator: NotIn, values: [red]}]}",
];
const NETWORKS: [&str; 9] = [
    "[0.0.0.0/0]",
    "[\"::/0\"]",
    "[0.0.0.0/0, \"::/0\"]",
    "[10.42.0.0/24]",
    "[10.42.0.4/31, 10.42.1.3/32]",
    "[198.51.100.0/24]",
    "[192.0.2.0/30]",
    "[\"fd00:42:0:1::/64\", 203.0.113.9/32]",
    "[\"fd00:42:0:1::4/126\"]",
];
const NODES: [&str; 4] = [
    "{}",
    "{matchLabels: {role: edge}}",
    "{matchExpressions: [{key: role, operator: DoesNotExist}]}",
    "{matchLabels: {role: nobody}}",
];
const NEW_PORTS: [&str; 8] = [
    "{tcp: {destinationPort: {number: 80}}}",
    "{tcp: {destinationPort: {range: {start: 8000, end: 9000}}}}",
    "{tcp: {destinationPort: {range: {start: 1, end: 65535}}}}",
    "{udp: {destinationPort: {number: 53}}}",
    "{sctp: {destinationPort: {number: 7}}}",
    "{sctp: {destinationPort: {range: {start: 7, end: 80}}}}",
    "{destinationNamedPort: http}",
    "{destinationNamedPort: dns}",
];
const OLD_PORTS: [&str; 7] = [
    "{portNumber: {port: 80}}",
    "{portNumber: {protocol: UDP, port: 53}}",
    "{portNumber: {protocol: SCTP, port: 7}}",
    "{portRange: {start: 8000, end: 9000}}",
    "{portRange: {protocol: TCP, start: 80, end: 80}}",
    "{namedPort: http}",
    "{namedPort: dns}",
];
/// Peers without which a rule is sound.
const BROKEN_PEERS: [&str; 6] =
    ["{}", "{services: {}}", "{namespaces: 5}", "{networks: []}", "{nodes: {matchLabels: 5}}", "null"];
/// Fields without which a rule is sound.
const BROKEN_FIELDS: [&str; 5] =
    ["nonsense: 1", "protocols: []", "ports: [{}]", "action: Reject", "name: {}"];
/// Fields without which an object is sound, or of which it has one already.
const BROKEN_SPECS: [&str; 5] =
    ["nonsense: 1", "subject: {namespaces: {}}", "priority: 1001", "tier: Middle", "ingres: []"];

fn pods(version: Version) -> impl Strategy<Value = String> {
    (select(SPACES.to_vec()), select(SELECTORS.to_vec()), prop::bool::weighted(0.3)).prop_map(
        move |(spaces, pods, all)| {
            if all && version == Version::Cluster {
                format!("{{pods: {{podSelector: {pods}}}}}")
            } else {
                format!("{{pods: {{namespaceSelector: {spaces}, podSelector: {pods}}}}}")
            }
        },
    )
}

fn selected(version: Version) -> impl Strategy<Value = String> {
    let namespaces = select(SPACES.to_vec()).prop_map(|spaces| format!("{{namespaces: {spaces}}}"));
    prop_oneof![namespaces, pods(version)]
}

/// Peers, and whether ports of theirs have names.
fn peers(version: Version, egress: bool) -> impl Strategy<Value = (Vec<String>, bool)> {
    let nameless = prop_oneof![
        3 => select(NETWORKS.to_vec()).prop_map(|networks| format!("{{networks: {networks}}}")),
        2 => select(NODES.to_vec()).prop_map(|nodes| format!("{{nodes: {nodes}}}")),
    ];
    (vec(selected(version), 0..3), vec(nameless, 0..3), selected(version)).prop_map(
        move |(mut peers, nameless, one)| {
            let named = !egress || nameless.is_empty();
            if egress {
                peers.extend(nameless);
            }
            if peers.is_empty() {
                peers.push(one);
            }
            (peers, named)
        },
    )
}

/// A rule, and what it is without its broken part: nothing, where it has one.
fn rule(version: Version, egress: bool) -> impl Strategy<Value = (String, Option<String>)> {
    let (peers_field, ports_field) =
        (if egress { "to" } else { "from" }, if version == Version::Cluster { "protocols" } else { "ports" });
    let actions = match version {
        Version::Cluster => vec!["Accept", "Deny", "Pass"],
        Version::Admin => vec!["Allow", "Deny", "Pass"],
        Version::Baseline => vec!["Allow", "Deny"],
    };
    let ports = if version == Version::Cluster { NEW_PORTS.to_vec() } else { OLD_PORTS.to_vec() };
    let broken = (
        prop::bool::weighted(0.02),
        select(BROKEN_PEERS.to_vec()),
        prop::bool::weighted(0.02),
        select(BROKEN_FIELDS.to_vec()),
    );
    (select(actions), peers(version, egress), vec(select(ports), 0..3), prop::bool::weighted(0.4), broken)
        .prop_map(
            move |(action, (mut peers, named), mut ports, names, (bad_peer, peer, bad_field, field))| {
                ports.retain(|port| named || !port.contains("amedPort"));
                if names
                    && egress
                    && named
                    && ports.iter().all(|port| !port.contains("amedPort"))
                    && matches!(action, "Accept" | "Allow")
                    && version != Version::Baseline
                {
                    peers.push("{domainNames: [\"*.example.com\"]}".to_owned());
                }
                let mut fields = vec![format!("action: {action}")];
                if bad_peer {
                    peers.push(peer.to_owned());
                }
                fields.push(format!("{peers_field}: [{}]", peers.join(", ")));
                if !ports.is_empty() {
                    fields.push(format!("{ports_field}: [{}]", ports.join(", ")));
                }
                if bad_field {
                    fields.push(field.to_owned());
                }
                let text = format!("{{{}}}", fields.join(", "));
                (text.clone(), (!bad_peer && !bad_field).then_some(text))
            },
        )
}

fn rules(version: Version, egress: bool) -> impl Strategy<Value = (String, String)> {
    vec(rule(version, egress), 0..4).prop_map(|rules| {
        let (text, mended): (Vec<String>, Vec<Option<String>>) = rules.into_iter().unzip();
        (text.join(", "), mended.into_iter().flatten().collect::<Vec<_>>().join(", "))
    })
}

pub(crate) fn policy(index: usize, version: Version) -> impl Strategy<Value = Written> {
    let place = (select(vec!["Admin", "Baseline"]), select(vec![0_u16, 10, 10, 1000]));
    let broken = (prop::bool::weighted(0.03), select(BROKEN_SPECS.to_vec()));
    (place, selected(version), rules(version, false), rules(version, true), broken).prop_map(
        move |((tier, priority), subject, ingress, egress, (is_broken, broken))| {
            let (api, kind, name, place) = match version {
                Version::Cluster => (
                    "v1alpha2",
                    "ClusterNetworkPolicy",
                    format!("c-{index}"),
                    format!("tier: {tier}, priority: {priority}, "),
                ),
                Version::Admin => (
                    "v1alpha1",
                    "AdminNetworkPolicy",
                    format!("a-{index}"),
                    format!("priority: {priority}, "),
                ),
                Version::Baseline => {
                    ("v1alpha1", "BaselineAdminNetworkPolicy", "default".to_owned(), String::new())
                }
            };
            let write = |ingress: &str, egress: &str, more: &str| {
                format!(
                    "{{apiVersion: policy.networking.k8s.io/{api}, kind: {kind}, metadata: {{name: {name}}}, \
                     spec: {{{place}subject: {subject}, ingress: [{ingress}], egress: [{egress}]{more}}}}}"
                )
            };
            let more = if is_broken { format!(", {broken}") } else { String::new() };
            let mended = (!is_broken).then(|| write(&ingress.1, &egress.1, ""));
            Written { text: write(&ingress.0, &egress.0, &more), mended }
        },
    )
}

/// A node with a label, which `generate::cluster` has none of.
pub(crate) const NODE: &str = "{apiVersion: v1, kind: Node, metadata: {name: c, labels: {role: edge}}, \
                    status: {addresses: [{type: InternalIP, address: 192.0.2.3}]}}";

/// The clusters of `generate`, NetworkPolicies included, with up to six cluster policies of all kinds.
pub(crate) fn cluster() -> impl Strategy<Value = Generated> {
    let policies = (
        vec(prop::bool::weighted(0.6), 6),
        (0..4).map(|index| policy(index, Version::Cluster)).collect::<Vec<_>>(),
        policy(0, Version::Admin),
        policy(0, Version::Baseline),
    );
    (generate::cluster(), policies).prop_map(|(rest, (wanted, mut policies, admin, baseline))| {
        policies.extend([admin, baseline]);
        let policies: Vec<Written> = policies
            .into_iter()
            .zip(wanted)
            .filter(|(_, wanted)| *wanted)
            .map(|(policy, _)| policy)
            .collect();
        let join = |policies: Vec<&str>| format!("{rest}---\n{NODE}\n---\n{}\n", policies.join("\n---\n"));
        Generated {
            text: join(policies.iter().map(|policy| policy.text.as_str()).collect()),
            mended: join(policies.iter().filter_map(|policy| policy.mended.as_deref()).collect()),
            policies,
        }
    })
}
