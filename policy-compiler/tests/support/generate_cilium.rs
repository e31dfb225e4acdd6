//! Policies of Cilium's as manifests, generated, over the pods and nodes of `generate`: every construct the language has.
//!
//! Each policy comes as written and mended. Where something is to be broken, a mark stands in the text: broken, one of them
//! is a field nobody knows, mended, none is.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Where a field nobody knows may stand: after another one, or alone.
const MARK: &str = "@";

/// Manifests as written, and without what is broken in them.
#[derive(Debug, Clone)]
pub(crate) struct Manifests {
    pub(crate) written: String,
    pub(crate) mended: String,
}

fn fixed(choices: Vec<&'static str>) -> impl Strategy<Value = String> {
    select(choices).prop_map(str::to_owned)
}

fn list(of: impl Strategy<Value = String>, count: std::ops::Range<usize>) -> impl Strategy<Value = String> {
    vec(of, count).prop_map(|parts| format!("[{}]", parts.join(", ")))
}

fn requirements() -> Vec<&'static str> {
    vec![
        "",
        "matchLabels: {app: a}",
        "matchLabels: {\"k8s:app\": b, \"any:tier\": x}",
        "matchLabels: {tier: \"\"}",
        "matchExpressions: [{key: app, operator: In, values: [a, c]}]",
        "matchExpressions: [{key: \"k8s:app\", operator: NotIn, values: [a]}]",
        "matchExpressions: [{key: tier, operator: Exists}, {key: app, operator: DoesNotExist}]",
        "matchLabels: {io.cilium.k8s.policy.serviceaccount: default, io.cilium.k8s.policy.cluster: default}",
    ]
}

fn subject() -> impl Strategy<Value = String> {
    let mut choices = requirements();
    choices.push("matchExpressions: [{key: \"reserved:health\", operator: DoesNotExist}]");
    choices.push("matchLabels: {\"reserved:ingress\": \"\"}");
    choices.push("matchExpressions: [{key: io.kubernetes.pod.namespace, operator: NotIn, values: [n2]}]");
    choices.push("matchLabels: {io.cilium.k8s.namespace.labels.team: red}");
    select(choices).prop_map(|inner| format!("{{{inner}{MARK}}}"))
}

fn endpoint() -> impl Strategy<Value = String> {
    let mut choices = requirements();
    choices.extend([
        "matchLabels: {\"k8s:io.kubernetes.pod.namespace\": n2}",
        "matchExpressions: [{key: io.kubernetes.pod.namespace, operator: NotIn, values: [n1]}]",
        "matchLabels: {io.cilium.k8s.namespace.labels.team: red, app: a}",
        "matchExpressions: [{key: io.cilium.k8s.namespace.labels.team, operator: DoesNotExist}]",
        "matchExpressions: [{key: io.kubernetes.pod.namespace, operator: Exists}]",
        "matchLabels: {\"reserved:world\": \"\"}",
        "matchLabels: {\"reserved:kube-apiserver\": \"\"}",
        "matchExpressions: [{key: \"reserved:host\", operator: DoesNotExist}, {key: app, operator: NotIn, values: [b]}]",
        "matchExpressions: [{key: \"reserved:kube-apiserver\", operator: NotIn, values: [\"\"]}]",
        "matchExpressions: [{key: \"reserved:remote-node\", operator: In, values: [x]}]",
    ]);
    select(choices).prop_map(|inner| format!("{{{inner}{MARK}}}"))
}

fn entity() -> impl Strategy<Value = String> {
    fixed(vec![
        "all",
        "world",
        "world-ipv4",
        "world-ipv6",
        "cluster",
        "host",
        "remote-node",
        "kube-apiserver",
        "ingress",
        "health",
        "init",
        "unmanaged",
        "none",
    ])
}

fn cidr() -> impl Strategy<Value = String> {
    fixed(vec![
        "0.0.0.0/0",
        "10.42.0.0/24",
        "198.51.100.0/24",
        "192.0.2.2",
        "\"::/0\"",
        "\"fd00:42::/32\"",
        "10.44.0.0/16",
    ])
}

fn cidr_rule() -> impl Strategy<Value = String> {
    fixed(vec![
        "cidr: 0.0.0.0/0, except: [10.42.0.0/16, 198.51.100.128/25]",
        "cidr: 198.51.100.0/24, except: [198.51.100.0/24]",
        "cidr: \"::/0\", except: [\"2001:db8::/64\"]",
        "cidrGroupRef: some",
        "cidrGroupRef: some, except: [198.51.100.128/25]",
        "cidrGroupRef: nowhere",
        "cidrGroupSelector: {matchLabels: {kind: x}}",
        "cidrGroupSelector: {matchLabels: {kind: y}}",
    ])
    .prop_map(|inner| format!("{{{inner}{MARK}}}"))
}

fn node() -> impl Strategy<Value = String> {
    fixed(vec![
        "{}",
        "{matchLabels: {zone: z}}",
        "{matchExpressions: [{key: \"k8s:zone\", operator: DoesNotExist}]}",
    ])
}

/// The field of peers, with a comma before it; mostly one.
fn peers(from: &'static str, deny: bool) -> impl Strategy<Value = String> {
    let field = move |name: &'static str, list: BoxedStrategy<String>| {
        list.prop_map(move |list| format!(", {from}{name}: {list}")).boxed()
    };
    let names = if deny || from == "from" {
        Just(String::new()).boxed()
    } else {
        field("FQDNs", fixed(vec!["[{matchName: a.example}]", "[{matchPattern: \"*.example\"}]"]).boxed())
    };
    prop_oneof![
        2 => Just(String::new()),
        4 => field("Endpoints", list(endpoint(), 0..3).boxed()),
        3 => field("Entities", list(entity(), 0..3).boxed()),
        2 => field("CIDR", list(cidr(), 0..3).boxed()),
        2 => field("CIDRSet", list(cidr_rule(), 1..3).boxed()),
        1 => field("Nodes", list(node(), 1..2).boxed()),
        1 => names,
    ]
}

fn port() -> impl Strategy<Value = String> {
    fixed(vec![
        "port: \"80\", protocol: TCP",
        "port: \"53\"",
        "port: \"53\", protocol: ANY",
        "port: \"8000\", endPort: 9000, protocol: TCP",
        "port: \"0\", protocol: UDP",
        "port: http, protocol: TCP",
        "port: DNS",
        "port: \"7\", protocol: SCTP, endPort: 0",
        "port: \"8\", protocol: ICMP",
        "protocol: VRRP",
    ])
    .prop_map(|inner| format!("{{{inner}{MARK}}}"))
}

/// `toPorts` or `icmps`, with a comma before it, or nothing.
fn ports(deny: bool) -> impl Strategy<Value = String> {
    let plain = list(port(), 0..3).prop_map(|ports| format!("{{ports: {ports}{MARK}}}")).boxed();
    let http = Just(format!(
        "{{ports: [{{port: \"80\", protocol: TCP}}], rules: {{http: [{{method: GET}}]{MARK}}}}}"
    ));
    let rule = if deny { plain } else { prop_oneof![3 => plain, 1 => http].boxed() };
    let icmp = fixed(vec![
        "[{fields: [{type: EchoRequest}]}]",
        "[{fields: [{family: IPv6, type: 128}, {type: 0}]}]",
        "[{fields: []}]",
        "[]",
    ]);
    prop_oneof![
        4 => Just(String::new()),
        4 => list(rule, 0..3).prop_map(|rules| format!(", toPorts: {rules}")),
        1 => icmp.prop_map(|rules| format!(", icmps: {rules}")),
    ]
}

fn section(from: &'static str, deny: bool) -> impl Strategy<Value = String> {
    let rule = (peers(from, deny), ports(deny)).prop_map(|(peers, ports)| {
        let fields = format!("{peers}{ports}");
        format!("{{{}{MARK}}}", fields.strip_prefix(", ").unwrap_or(&fields))
    });
    list(rule, 0..3)
}

fn spec() -> impl Strategy<Value = String> {
    let default_deny = fixed(vec![
        "",
        "",
        "",
        ", enableDefaultDeny: {egress: false, ingress: false}",
        ", enableDefaultDeny: {ingress: false}",
        ", enableDefaultDeny: {egress: true}",
    ]);
    let denies = |from| prop_oneof![2 => Just("[]".to_owned()), 1 => section(from, true)];
    (subject(), section("from", false), section("to", false), denies("from"), denies("to"), default_deny).prop_map(
        |(subject, ingress, egress, ingress_deny, egress_deny, default_deny)| {
            format!(
                "{{endpointSelector: {subject}, ingress: {ingress}, egress: {egress}, ingressDeny: {ingress_deny}, \
                 egressDeny: {egress_deny}{default_deny}{MARK}}}"
            )
        },
    )
}

fn policy(index: usize) -> impl Strategy<Value = String> {
    let meta = select(vec![
        ("CiliumNetworkPolicy", ", namespace: n1"),
        ("CiliumNetworkPolicy", ", namespace: n2"),
        ("CiliumClusterwideNetworkPolicy", ""),
    ]);
    (meta, vec(spec(), 1..3)).prop_map(move |((kind, namespace), specs)| {
        let body = match &specs[..] {
            [spec] => format!("spec: {spec}"),
            specs => format!("specs: [{}]", specs.join(", ")),
        };
        format!(
            "{{apiVersion: cilium.io/v2, kind: {kind}, metadata: {{name: c-{index}{namespace}}}, {body}{MARK}}}"
        )
    })
}

const GROUP: &str = "{apiVersion: cilium.io/v2, kind: CiliumCIDRGroup, metadata: {name: some, labels: {kind: x}}, \
     spec: {externalCIDRs: [198.51.100.0/24, \"2001:db8::/32\"]@}}";
const NODE: &str = "{apiVersion: v1, kind: Node, metadata: {name: c, labels: {zone: z, \
     node-role.kubernetes.io/control-plane: \"\"}}, status: {addresses: [{type: InternalIP, address: 192.0.2.3}]}}";

/// The text with the field nobody knows at one of its marks, if it has any.
fn broken(text: &str, place: Index) -> String {
    let parts: Vec<&str> = text.split(MARK).collect();
    let Some(marks) = parts.len().checked_sub(1).filter(|&marks| marks > 0) else { return text.to_owned() };
    let place = place.index(marks);
    let mut written = String::new();
    for (number, part) in parts.iter().enumerate() {
        written.push_str(part);
        if number == place {
            // What stands alone needs no comma.
            written.push_str(if part.ends_with('{') { "nonsense: 1" } else { ", nonsense: 1" });
        }
    }
    written
}

/// Up to four policies, a CIDR group, and sometimes a node of the control plane. Each object is broken with 1 in 15.
pub(crate) fn manifests() -> impl Strategy<Value = Manifests> {
    let policies = (0..4).map(policy).collect::<Vec<_>>();
    let places = vec((prop::bool::weighted(1.0 / 15.0), any::<Index>()), 5);
    (policies, 1_usize..=4, places, any::<bool>()).prop_map(|(policies, count, places, control_plane)| {
        let mut documents: Vec<String> = policies.into_iter().take(count).collect();
        documents.push(GROUP.to_owned());
        let mended: Vec<String> = documents.iter().map(|text| text.replace(MARK, "")).collect();
        let written: Vec<String> = documents
            .iter()
            .zip(&places)
            .map(|(text, (breaks, place))| if *breaks { broken(text, *place) } else { text.clone() })
            .map(|text| text.replace(MARK, ""))
            .collect();
        let join = |mut documents: Vec<String>| {
            documents.extend(control_plane.then(|| NODE.to_owned()));
            format!("---\n{}\n", documents.join("\n---\n"))
        };
        Manifests { written: join(written), mended: join(mended) }
    })
}
