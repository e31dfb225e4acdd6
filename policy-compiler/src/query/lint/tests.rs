//! What lint finds, as a snapshot, and what it leaves alone.

use super::{Lint, LintOptions, lint};
use crate::query::Judge;
use crate::{Compiler, OnInvalid, Options, parse};

const CLUSTER: &str = include_str!("../../../testdata/cluster.yaml");

fn judge(text: &str) -> Judge {
    let mut compiler = Compiler::new(Options { on_invalid: OnInvalid::Isolate, ..Options::default() });
    for object in parse("state.yaml", text).objects {
        compiler.upsert(object);
    }
    match Judge::new(compiler) {
        Ok(judge) => judge,
        Err(errors) => panic!("{errors:?}"),
    }
}

fn found(text: &str, options: LintOptions) -> Vec<(Lint, String)> {
    let findings = lint(&judge(text), &parse("state.yaml", text).diagnostics, options, |_, _| {});
    findings.into_iter().map(|finding| (finding.lint, finding.diagnostic.to_string())).collect()
}

fn policy(name: &str, spec: &str) -> String {
    format!(
        "---\n{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: {name}, namespace: shop}}, \
         spec: {{{spec}}}}}\n"
    )
}

/// What is found about policies of the shared cluster.
fn lints(policies: &[String]) -> Vec<&'static str> {
    let text = format!("{CLUSTER}{}", policies.concat());
    found(&text, LintOptions::default()).into_iter().map(|(lint, _)| lint.name()).collect()
}

#[test]
fn lint_finds_each_of_these_at_its_place() {
    let text = include_str!("../../../testdata/lint/state.yaml");
    let found = found(text, LintOptions::default());
    for known in [
        Lint::Invalid,
        Lint::Remark,
        Lint::SelectsNoPod,
        Lint::NamespaceWithoutPods,
        Lint::PeerMatchesNoPod,
        Lint::PortNameUndefined,
        Lint::SectionIgnored,
        Lint::IsolatesIngressToo,
        Lint::EgressNotIsolated,
        Lint::AllowsEverything,
        Lint::PeersProbablyOne,
        Lint::PeersProbablyTwo,
        Lint::IpBlockCoversPods,
        Lint::DnsForgotten,
        Lint::RuleShadowed,
    ] {
        assert!(found.iter().any(|(lint, _)| *lint == known), "{}", known.name());
    }
    let lines: Vec<String> =
        found.into_iter().map(|(lint, text)| format!("[{}] {text}", lint.name())).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn a_state_without_mistakes_has_no_findings() {
    let text = format!("{CLUSTER}\n---\n{}", include_str!("../../../testdata/cases/default_deny.yaml"));
    assert_eq!(found(&text, LintOptions::default()), []);
}

#[test]
fn what_flannel_does_not_enforce_is_named_when_asked() {
    let text = format!("{CLUSTER}{}", policy("deny", "podSelector: {}"));
    assert_eq!(found(&text, LintOptions::default()), []);
    let found = found(&text, LintOptions { for_flannel: true });
    assert_eq!(found.iter().map(|(lint, _)| *lint).collect::<Vec<_>>(), [Lint::NotEnforcedByFlannel]);
}

#[test]
fn two_peers_that_are_clearly_two_are_left_alone() {
    // kube-system has pods, none of them app=web, and shop has one.
    let two = "{namespaceSelector: {matchLabels: {team: ops}}}, {podSelector: {matchLabels: {app: web}}}";
    assert_eq!(lints(&[policy("two", &format!("podSelector: {{}}, ingress: [{{from: [{two}]}}]"))]), [""; 0]);
    let one = two.replace("app: web", "k8s-app: kube-dns");
    assert_eq!(
        lints(&[policy("one", &format!("podSelector: {{}}, ingress: [{{from: [{one}]}}]"))]),
        ["peer_matches_no_pod", "peers_probably_one"]
    );
}

#[test]
fn one_peer_that_nobody_meets_was_two_if_each_half_is_met() {
    let one = |pods: &str| {
        let peer = format!(
            "{{namespaceSelector: {{matchLabels: {{team: ops}}}}, podSelector: {{matchLabels: {{{pods}}}}}}}"
        );
        lints(&[policy("one", &format!("podSelector: {{}}, ingress: [{{from: [{peer}]}}]"))])
    };
    assert_eq!(one("app: web"), ["peers_probably_two"]);
    assert_eq!(one("app: nowhere"), ["peer_matches_no_pod"]);
    assert_eq!(one("k8s-app: kube-dns"), [""; 0]);
}

#[test]
fn an_open_policy_is_found_only_where_it_contradicts_others_or_its_name() {
    let open = |name: &str| policy(name, "podSelector: {}, ingress: [{}]");
    let narrow = policy("web", "podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{port: 80}]}]");
    assert_eq!(lints(&[open("open")]), [""; 0]);
    assert_eq!(lints(&[open("deny-all")]), ["allows_everything"]);
    assert_eq!(lints(&[open("open"), narrow]), ["allows_everything"]);
}

#[test]
fn directions_that_follow_from_sections_are_found_only_where_they_surprise() {
    let egress = "egress: [{to: [{podSelector: {}}]}, {ports: [{port: 53, protocol: UDP}]}]";
    assert_eq!(lints(&[policy("a", &format!("podSelector: {{}}, {egress}"))]), ["isolates_ingress_too"]);
    assert_eq!(
        lints(&[policy("a", &format!("podSelector: {{}}, policyTypes: [Ingress, Egress], {egress}"))]),
        [""; 0]
    );
    assert_eq!(lints(&[policy("a", "podSelector: {}, egress: []")]), ["egress_not_isolated"]);
    assert_eq!(lints(&[policy("a", "podSelector: {}, policyTypes: [Egress], egress: []")]), [""; 0]);
}

#[test]
fn rules_of_one_policy_that_repeat_each_other_are_found_and_of_two_are_not() {
    let rule = "{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 80}]}";
    let wide = "{from: [{podSelector: {}}]}";
    let with = |rules: &str| format!("podSelector: {{matchLabels: {{app: db}}}}, ingress: [{rules}]");
    assert_eq!(lints(&[policy("a", &with(&format!("{wide}, {rule}")))]), ["rule_shadowed"]);
    assert_eq!(lints(&[policy("a", &with(&format!("{rule}, {wide}")))]), [""; 0]);
    assert_eq!(lints(&[policy("a", &with(wide)), policy("b", &with(rule))]), [""; 0]);
}

#[test]
fn a_block_beside_pods_is_held_against_the_pod_network() {
    let block = |block: &str| {
        lints(&[policy("a", &format!("podSelector: {{}}, ingress: [{{from: [{{ipBlock: {{{block}}}}}]}}]"))])
    };
    assert_eq!(block("cidr: 10.42.0.0/24"), ["ip_block_covers_pods"]);
    assert_eq!(block("cidr: 10.42.0.128/25"), ["ip_block_covers_pods"]);
    assert_eq!(block("cidr: 10.0.0.0/8, except: [10.42.0.0/15]"), [""; 0]);
    assert_eq!(block("cidr: 198.51.100.0/24"), [""; 0]);
}

fn admin(name: &str, priority: u32, rules: &str) -> String {
    format!(
        "---\n{{apiVersion: policy.networking.k8s.io/v1alpha2, kind: ClusterNetworkPolicy, metadata: {{name: {name}}}, \
         spec: {{tier: Admin, priority: {priority}, subject: {{namespaces: {{matchLabels: {{team: red}}}}}}, \
         ingress: [{rules}]}}}}\n"
    )
}

#[test]
fn a_rule_of_an_ordered_tier_that_comes_too_late_is_found() {
    let all = "{action: Deny, from: [{namespaces: {}}]}";
    let some = "{action: Accept, from: [{pods: {podSelector: {matchLabels: {app: web}}}}]}";
    assert_eq!(lints(&[admin("a", 1, &format!("{all}, {some}"))]), ["rule_shadowed"]);
    assert_eq!(lints(&[admin("a", 1, &format!("{some}, {all}"))]), [""; 0]);
    assert_eq!(lints(&[admin("a", 1, all), admin("b", 2, some)]), ["rule_shadowed"]);
    assert_eq!(lints(&[admin("a", 2, all), admin("b", 1, some)]), [""; 0]);
    // Part of it is left over.
    let port =
        "{action: Deny, from: [{namespaces: {}}], protocols: [{tcp: {destinationPort: {number: 80}}}]}";
    assert_eq!(lints(&[admin("a", 1, &format!("{port}, {some}"))]), [""; 0]);
    // What an Admin tier denies, no NetworkPolicy can allow.
    let allow = policy("web", "podSelector: {}, ingress: [{from: [{podSelector: {}}]}]");
    assert_eq!(lints(&[admin("a", 1, all), allow.clone()]), ["rule_shadowed"]);
    assert_eq!(lints(&[admin("a", 1, &all.replace("Deny", "Pass")), allow]), [""; 0]);
}

#[test]
fn what_is_found_in_the_truth_tables_of_all_languages() {
    let testdata = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut lines = Vec::new();
    let Ok(files) = std::fs::read_dir(testdata.join("cases")) else { panic!("testdata/cases is there") };
    for path in files.flatten().map(|entry| entry.path()) {
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let Ok(text) = std::fs::read_to_string(&path) else { panic!("{}", path.display()) };
            let found = found(&format!("{CLUSTER}\n---\n{text}"), LintOptions::default());
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let names: Vec<&str> = found.iter().map(|(lint, _)| lint.name()).collect();
            lines.push(format!("{name}: {}", names.join(", ")));
        }
    }
    lines.sort();
    insta::assert_snapshot!(lines.join("\n"));
}
