//! What a list holds is read or refused, whatever shape the list has; and what lets no one tell what an object is.

use crate::api::{Object, ParseOutput, parse};

const POLICY: &str =
    "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: a}, spec: {podSelector: {}}}";

fn errors(output: &ParseOutput) -> Vec<String> {
    output.diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).map(ToString::to_string).collect()
}

fn names(output: &ParseOutput) -> Vec<String> {
    output.objects.iter().map(|object| object.key().to_string()).collect()
}

/// The text is refused as a whole: an error that is no object's.
fn refused(text: &str, reason: &str) {
    let output = parse("f", text);
    let found = output.diagnostics.iter().any(|problem| {
        problem.is_error() && problem.object.is_none() && problem.to_string().contains(reason)
    });
    assert!(found, "{text}\n{:?}\n{:?}", errors(&output), names(&output));
}

#[test]
fn lists_in_lists_are_read_as_kubectl_does() {
    let typed = "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicyList, metadata: {resourceVersion: '1'}, \
                 items: [{metadata: {name: b}, spec: {podSelector: {}}}]}";
    let inner = format!("{{apiVersion: v1, kind: List, items: [{POLICY}, {typed}]}}");
    let text = format!("{{apiVersion: v1, kind: List, items: [{inner}, {{apiVersion: v1, kind: List}}]}}");
    let output = parse("f", &text);
    assert_eq!(errors(&output), [""; 0]);
    assert_eq!(names(&output), ["NetworkPolicy default/a", "NetworkPolicy default/b"]);
    // JSON of several outputs, put together by jq.
    let json = r#"{"kind": "List", "apiVersion": "v1", "items": [
        {"items": [{"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p"}}], "kind": "List", "apiVersion": "v1"},
        {"items": [], "kind": "List", "apiVersion": "v1"}]}"#;
    assert_eq!(names(&parse("f", json)), ["Pod default/p"]);
}

#[test]
fn a_repeated_key_in_a_list_in_a_list_is_its_objects() {
    let broken = POLICY.replace("podSelector: {}", "podSelector: {}, podSelector: {matchLabels: {a: b}}");
    let inner = format!(
        "{{apiVersion: v1, kind: List, items: [{POLICY}, {}]}}",
        broken.replace("name: a", "name: b")
    );
    let output = parse("f", &format!("{{apiVersion: v1, kind: List, items: [{inner}]}}"));
    let sound: Vec<bool> = output.objects.iter().map(|object| !object.meta().has_errors()).collect();
    assert_eq!(sound, [true, false], "{:?}", errors(&output));
    assert!(errors(&output).iter().any(|error| error.contains("here twice")), "{:?}", errors(&output));
}

#[test]
fn items_of_a_list_that_come_by_another_way_are_read_too() {
    for text in [
        format!("apiVersion: v1\nkind: List\nmetadata: {{x: &all [{POLICY}]}}\nitems: *all\n"),
        format!("metadata: {{x: &base {{items: [{POLICY}]}}}}\napiVersion: v1\nkind: List\n<<: *base\n"),
    ] {
        let output = parse("f", &text);
        assert_eq!(errors(&output), [""; 0], "{text}");
        assert_eq!(names(&output), ["NetworkPolicy default/a"], "{text}");
    }
}

#[test]
fn a_list_of_which_something_is_left_over_is_refused() {
    for (list, reason) in [
        (format!("item: [{POLICY}]"), "item: unknown field"),
        (format!("items: {{a: {POLICY}}}"), "items: a mapping instead of a list"),
        (format!("items: [], spec: [{POLICY}]"), "spec: unknown field"),
    ] {
        for kind in
            ["{apiVersion: v1, kind: List", "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicyList"]
        {
            let list = format!("{kind}, {list}}}");
            refused(&list, reason);
            refused(&format!("{{apiVersion: v1, kind: List, items: [{list}]}}"), reason);
        }
    }
    // Kinds of others may end so and be no lists.
    let other = parse("f", "{apiVersion: example.com/v1, kind: AllowList, metadata: {name: a}, spec: {}}");
    assert_eq!((errors(&other).len(), other.skipped.get("AllowList")), (0, Some(&1)));
}

#[test]
fn items_of_a_kind_that_is_no_list_are_refused_in_every_group() {
    let unnamed = "{metadata: {name: a}, spec: {podSelector: {}}}";
    for kind in
        ["networking.k8s.io/v1\nkind: NetworkPolicylist", "v1\nkind: Lst", "example.com/v1\nkind: Bundle"]
    {
        for items in [POLICY, unnamed, "{apiVersion: v1, kind: Pod, metadata: {name: 5}}"] {
            let reason = "are not read: expected List";
            refused(&format!("apiVersion: {kind}\nitems: [{items}]\n"), reason);
            refused(&format!("items: [{items}]\napiVersion: {kind}\n"), reason);
            refused(&format!("x: &x [{items}]\nitems: *x\napiVersion: {kind}\n"), reason);
            let nested = format!("{{apiVersion: {}, items: [{items}]}}", kind.replace('\n', ", "));
            refused(&format!("apiVersion: v1\nkind: List\nitems: [{nested}]\n"), reason);
        }
    }
}

#[test]
fn a_policys_kind_in_another_languages_group_is_refused() {
    for (kind, api_version, right) in [
        ("ClusterNetworkPolicy", "networking.k8s.io/v1", "policy.networking.k8s.io/v1alpha2"),
        ("NetworkPolicy", "policy.networking.k8s.io/v1alpha2", "networking.k8s.io/v1"),
        ("NetworkPolicy", "cilium.io/v2", "networking.k8s.io/v1"),
        ("Tier", "networking.k8s.io/v1", "projectcalico.org/v3"),
        ("NetworkSet", "cilium.io/v2", "projectcalico.org/v3"),
        ("CiliumCIDRGroup", "projectcalico.org/v3", "cilium.io/v2"),
    ] {
        let text = format!("{{apiVersion: {api_version}, kind: {kind}, metadata: {{name: a}}}}");
        refused(&text, &format!("there is no {kind} in apiVersion {api_version:?}: expected {right}"));
    }
    // A version that is not read in the right group is still told that group's.
    let text = "{apiVersion: projectcalico.org/v2, kind: NetworkPolicy, metadata: {name: a}}";
    refused(text, "expected projectcalico.org/v3");
}

#[test]
fn an_object_of_which_kind_or_metadata_are_there_twice_is_no_object() {
    for text in [
        "{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: x, namespace: y}}",
        "{apiVersion: v1, kind: Pod, metadata: {name: a}, metadata: {name: b}}",
        "{apiVersion: v1, kind: Pod, metadata: {name: a, labels: {a: b, a: c}}}",
        "{apiVersion: v1, kind: Pod, kind: Node, metadata: {name: a}}",
        "{apiVersion: v1, kind: Pod, x: &m {name: a, name: b}, metadata: *m}",
    ] {
        assert_eq!(names(&parse("f", text)), [""; 0], "{text}");
        refused(text, "is here twice");
    }
    let text = "{apiVersion: v1, kind: Pod, metadata: {name: a, <<: 5}}";
    refused(text, "the merge key << takes mappings only");
}

#[test]
fn a_pod_with_a_repeated_key_is_live() {
    for text in [
        "spec: {hostNetwork: true, hostNetwork: false}",
        "status: {phase: Failed, phase: Running}",
        "spec: {hostNetwork: true}, spec: {}",
    ] {
        let output = parse("f", &format!("{{apiVersion: v1, kind: Pod, metadata: {{name: a}}, {text}}}"));
        let [Object::Pod(pod)] = &output.objects[..] else { panic!("{output:?}") };
        assert!(pod.is_endpoint() && pod.meta.has_errors(), "{text}");
    }
}
