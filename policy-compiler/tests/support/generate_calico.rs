//! Policies, tiers and network sets of Calico's over a generated cluster, each construct of the language now and then.
//!
//! What stands between `⟦` and `⟧` makes its object invalid: [`broken`] keeps it, [`mended`] takes it out. About every
//! thirtieth place that can be broken is.

use super::generate::cluster;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// The text with everything that makes it invalid.
pub(crate) fn broken(text: &str) -> String {
    text.replace(['⟦', '⟧'], "")
}

/// The text without.
pub(crate) fn mended(text: &str) -> String {
    let mut parts = text.split('⟦');
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        kept.push_str(part.split_once('⟧').map_or("", |(_, rest)| rest));
    }
    kept
}

/// One of these in thirty, else nothing.
fn slip(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop_oneof![
        29 => Just(String::new()),
        1 => select(words.to_vec()).prop_map(|word| format!("⟦{word}⟧")),
    ]
}

fn word(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    select(words.to_vec()).prop_map(str::to_owned)
}

/// A selector for a double-quoted scalar.
fn selector() -> impl Strategy<Value = String> {
    let test = word(&[
        "app == 'a'",
        "app != 'b'",
        "app in {'a', 'c'}",
        "app not in {'a'}",
        "app in {}",
        "tier contains 'x'",
        "tier starts with 'y'",
        "tier ends with ''",
        "has(tier)",
        "has(who)",
        "who == 'partner'",
        "who starts with 'st'",
        "all()",
        "projectcalico.org/namespace == 'n1'",
        "projectcalico.org/serviceaccount in {'default', 'x'}",
        "projectcalico.org/orchestrator == 'k8s'",
        "pcns.team == 'red'",
        "pcsa.role != 'till'",
    ]);
    test.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            2 => inner.clone().prop_map(|part| format!("!({part})")),
            1 => inner.clone().prop_map(|part| format!("!{part}")),
            2 => vec(inner.clone(), 2..4).prop_map(|parts| parts.join(" && ")),
            2 => vec(inner.clone(), 2..4).prop_map(|parts| parts.join(" || ")),
            1 => vec(inner, 2..3).prop_map(|parts| format!("({})", parts.join(" || "))),
        ]
    })
}

fn namespaces() -> impl Strategy<Value = String> {
    word(&[
        "all()",
        "team == 'red'",
        "team != 'red'",
        "!has(team)",
        "has(team) && team in {'blue'}",
        "projectcalico.org/name == 'n2' || kubernetes.io/metadata.name == 'n3'",
    ])
}

/// Some of these fields, joined, or no field.
fn some(fields: Vec<(u32, BoxedStrategy<String>)>) -> impl Strategy<Value = String> {
    let fields: Vec<BoxedStrategy<String>> = fields
        .into_iter()
        .map(|(weight, field)| prop_oneof![10 - weight => Just(String::new()), weight => field].boxed())
        .collect();
    fields.prop_map(|fields| {
        fields.into_iter().filter(|field| !field.is_empty()).collect::<Vec<_>>().join(", ")
    })
}

fn quoted(field: &'static str, text: impl Strategy<Value = String> + 'static) -> BoxedStrategy<String> {
    (slip(&["&&", "'", "global() ||"]), text)
        .prop_map(move |(slip, text)| format!("{field}: \"{slip}{text}\""))
        .boxed()
}

fn nets(field: &'static str, v6: bool) -> BoxedStrategy<String> {
    let v4 = ["0.0.0.0/0", "10.42.0.0/24", "10.42.0.4/31", "10.42.1.3/32", "198.51.100.0/24", "192.0.2.0/24"];
    let net = if v6 {
        select(vec!["\"::/0\"", "\"fd00:42::/32\"", "\"fd00:42:0:1::4/126\"", "\"2001:db8::/64\""])
    } else {
        select(v4.to_vec())
    };
    (vec(net, 1..3), slip(&["10.0.0.0, ", "10.42.0.1/24, "]))
        .prop_map(move |(mut nets, slip)| {
            nets.sort_unstable();
            nets.dedup();
            format!("{field}: [{slip}{}]", nets.join(", "))
        })
        .boxed()
}

fn ports(field: &'static str) -> BoxedStrategy<String> {
    let port = select(vec!["80", "\"8080\"", "53", "\"7:9000\"", "8000:9000", "http", "dns", "65535"]);
    (vec(port, 1..3), slip(&["0, ", "\"9:8\", ", "Http, "]))
        .prop_map(move |(ports, slip)| format!("{field}: [{slip}{}]", ports.join(", ")))
        .boxed()
}

fn entity(v6: bool, with_ports: bool) -> impl Strategy<Value = String> {
    let weight = if with_ports { 4 } else { 0 };
    let accounts = word(&[
        "serviceAccounts: {names: [default]}",
        "serviceAccounts: {names: [other], selector: all()}",
        "serviceAccounts: {selector: \"role == 'till'\"}",
        "serviceAccounts: {}",
    ]);
    let fields = vec![
        (4, quoted("selector", selector())),
        (2, quoted("notSelector", selector())),
        (2, quoted("namespaceSelector", prop_oneof![4 => namespaces(), 1 => Just("global()".to_owned())])),
        (2, nets("nets", v6)),
        (1, nets("notNets", v6)),
        (1, accounts.boxed()),
        (weight, ports("ports")),
        (weight / 2, ports("notPorts")),
        (0, Just(String::new()).boxed()),
    ];
    let entity = (some(fields), slip(&["nonsense: 1, ", "services: {name: a}, ", "domains: [a.b], "]))
        .prop_map(|(fields, slip)| format!("{{{slip}{fields}}}"));
    prop_oneof![Just("{}".to_owned()), entity]
}

fn rule() -> impl Strategy<Value = String> {
    // Protocols as they are spelled, and what else may stand beside them.
    let protocol = select(vec![
        ("", false),
        ("", false),
        ("protocol: TCP, ", true),
        ("protocol: TCP, ", true),
        ("protocol: 6, ", true),
        ("protocol: UDP, ", true),
        ("protocol: SCTP, ", true),
        ("protocol: UDPLite, ", false),
        ("protocol: 47, ", false),
        ("notProtocol: TCP, ", false),
        ("protocol: ICMP, icmp: {type: 8}, ", false),
        ("protocol: ICMP, icmp: {}, notICMP: {type: 8, code: 0}, ", false),
        ("notICMP: {type: 8}, ", false),
        ("metadata: {annotations: {a: b}}, ", false),
    ]);
    let action = word(&["Allow", "Allow", "Allow", "Deny", "Deny", "Pass", "Log"]);
    (protocol, action, any::<bool>(), prop::bool::weighted(0.1)).prop_flat_map(
        |((protocol, with_ports), action, v6, family)| {
            let number = if v6 { 6 } else { 4 };
            // An ICMP that a family would contradict.
            let family = if family && !protocol.contains("ICMP") { format!("ipVersion: {number}, ") } else { String::new() };
            let slips = slip(&["nonsense: 1, ", "http: {methods: [GET]}, ", "notProtocol: tcp, "]);
            (entity(v6, with_ports), entity(v6, with_ports), slips, slip(&["X"])).prop_map(
                move |(source, destination, slip, bad)| {
                    format!(
                        "{{{slip}action: {bad}{action}, {protocol}{family}source: {source}, destination: {destination}}}"
                    )
                },
            )
        },
    )
}

pub(crate) fn policy(index: usize) -> impl Strategy<Value = String> {
    let types =
        word(&["", "types: [Ingress], ", "types: [Egress], ", "types: [Ingress, Egress], ", "types: [], "]);
    let tier = word(&["", "", "tier: default, ", "tier: first, ", "tier: second, ", "tier: kube-admin, "]);
    let order = word(&["", "order: 1000, ", "order: 10, ", "order: -0.5, "]);
    let scope = select(vec![("NetworkPolicy", "n1"), ("NetworkPolicy", "n2"), ("GlobalNetworkPolicy", "")]);
    let subject =
        some(vec![(7, quoted("selector", selector())), (1, quoted("serviceAccountSelector", selector()))]);
    let rules = || vec(rule(), 0..4).prop_map(|rules| rules.join(", "));
    let slips =
        slip(&["nonsense: 1, ", "order: first, ", "types: [Sideways], ", "tier: nowhere, ", "selector: 5, "]);
    (scope, prop::bool::weighted(0.1), (tier, order, types), subject, namespaces(), rules(), rules(), slips).prop_map(
        move |((kind, namespace), staged, (tier, order, types), subject, namespaces, ingress, egress, slip)| {
            // A slip that repeats a field stands in its place.
            let slipped = slip.trim_start_matches('⟦').split(':').next().unwrap_or_default();
            let kept = |field: &str| if !slipped.is_empty() && field.starts_with(slipped) { "" } else { field }.to_owned();
            let subject = if slipped == "selector" { String::new() } else { subject };
            let namespaced = if namespace.is_empty() { String::new() } else { format!("namespace: {namespace}, ") };
            let global = if namespace.is_empty() && index.is_multiple_of(2) {
                format!("namespaceSelector: \"{namespaces}\", applyOnForward: false, ")
            } else {
                String::new()
            };
            let staged = if staged { "Staged" } else { "" };
            format!(
                "{{apiVersion: projectcalico.org/v3, kind: {staged}{kind}, metadata: {{{namespaced}name: c-{index}}}, \
                 spec: {{{slip}{}{}{}{global}ingress: [{ingress}], egress: [{egress}], {subject}}}}}",
                kept(&tier),
                kept(&order),
                kept(&types),
            )
        },
    )
}

/// Tiers and network sets, broken now and then, and service accounts.
pub(crate) fn surroundings() -> impl Strategy<Value = String> {
    let sets = [
        "kind: GlobalNetworkSet, metadata: {name: partners, labels: {who: partner}}, spec: {nets: [SLIP198.51.100.0/25, \"2001:db8::/126\"]}",
        "kind: NetworkSet, metadata: {name: staff, namespace: n1, labels: {who: staff}}, spec: {nets: [SLIP192.0.2.3, 10.42.0.2/31]}",
        "kind: NetworkSet, metadata: {name: rest, namespace: n3, labels: {app: a}}, spec: {nets: [SLIP198.51.100.200]}",
    ];
    let slips = || slip(&["x, ", "10.0.0.0/33, ", "{}, "]);
    let tiers = (
        word(&["order: 50", "order: 2000000", "defaultAction: Pass", "order: 50, defaultAction: Pass"]),
        slip(&["defaultAction: Maybe, ", "oder: 5, "]),
    );
    let set = || (prop::bool::weighted(0.8), slips());
    (tiers, [set(), set(), set()]).prop_map(move |((shape, slip), chosen)| {
        // A slip about the default action stands in its place.
        let shape = if slip.contains("defaultAction") { "order: 50" } else { shape.as_str() };
        let head = "{apiVersion: projectcalico.org/v3";
        let mut documents = vec![
            format!("{head}, kind: Tier, metadata: {{name: first}}, spec: {{{slip}{shape}}}}}"),
            format!("{head}, kind: Tier, metadata: {{name: second}}, spec: {{order: 60, defaultAction: Pass}}}}"),
            "{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: n1, labels: {role: till}}}".to_owned(),
        ];
        for (set, (there, slip)) in sets.into_iter().zip(chosen) {
            if there {
                documents.push(format!("{head}, {}}}", set.replace("SLIP", &slip)));
            }
        }
        documents.join("\n---\n")
    })
}

/// A generated cluster with Calico's objects, some of them marked as broken.
pub(crate) fn calico_cluster() -> impl Strategy<Value = String> {
    let policies = (0..5).map(policy).collect::<Vec<_>>();
    (cluster(), surroundings(), policies, 1_usize..=5).prop_map(|(cluster, surroundings, policies, count)| {
        let policies: Vec<String> = policies.into_iter().take(count).collect();
        format!("{cluster}---\n{surroundings}\n---\n{}\n", policies.join("\n---\n"))
    })
}
