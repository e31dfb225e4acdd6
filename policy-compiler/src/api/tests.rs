//! Reading text: formats, lists, limits, and what of each kind is kept.

use super::{Kind, Object, ParseOutput, Phase, parse};
use std::fmt::Write;

fn errors(output: &ParseOutput) -> Vec<String> {
    output.diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).map(ToString::to_string).collect()
}

fn names(output: &ParseOutput) -> Vec<String> {
    output.objects.iter().map(|object| object.key().to_string()).collect()
}

#[test]
fn output_of_kubectl_is_read_as_it_is() {
    let text = r#"
apiVersion: v1
items:
- apiVersion: v1
  kind: Pod
  metadata:
    annotations: {kubectl.kubernetes.io/last-applied-configuration: "{\"kind\":\"Pod\"}\n"}
    creationTimestamp: "2026-01-01T00:00:00Z"
    labels: {app: web}
    managedFields: [{fieldsV1: {"f:metadata": {}}}]
    name: web
    namespace: shop
    resourceVersion: "123"
    uid: 0e4c-1
  spec:
    containers: [{image: nginx, name: web, ports: [{containerPort: 80, name: http, protocol: TCP}], resources: {}}]
    nodeName: a
    tolerations: [{effect: NoExecute, operator: Exists}]
  status: {conditions: [], hostIP: 192.0.2.1, phase: Running, podIP: 10.42.0.5, podIPs: [{ip: 10.42.0.5}, {ip: "fd00::5"}]}
- {apiVersion: v1, kind: Service, metadata: {name: web}}
kind: List
metadata: {resourceVersion: ""}
"#;
    let output = parse("list.yaml", text);
    assert_eq!(errors(&output), [""; 0]);
    assert_eq!(output.skipped.get("Service"), Some(&1));
    let [Object::Pod(pod)] = &output.objects[..] else { panic!("{output:?}") };
    assert_eq!((pod.meta.uid.as_str(), pod.meta.resource_version.as_str()), ("0e4c-1", "123"));
    assert_eq!((pod.phase, pod.pod_ips.len(), pod.named_ports.len()), (Phase::Running, 2, 1));
    assert_eq!((pod.meta.origin.line, pod.meta.origin.column), (4, 3));
}

#[test]
fn json_and_typed_lists_are_read_too() {
    let text = "{\n\t\"kind\": \"PodList\", \"apiVersion\": \"v1\", \"items\": [\n\t\t{\"metadata\": {\"name\": \"a\"}},\n\
                \t\t{\"metadata\": {\"name\": \"b\", \"uid\": \"\\u00e9\\/\"}}\n\t]\n}\n";
    let output = parse("list.json", text);
    assert_eq!(errors(&output), [""; 0]);
    assert_eq!(names(&output), ["Pod default/a", "Pod default/b"]);
    assert_eq!(output.objects[1].meta().uid, "é/");
}

#[test]
fn items_of_something_that_is_no_list_are_not_objects() {
    let item = "{apiVersion: v1, kind: Namespace, metadata: {name: hidden}}";
    let output = parse("f", &format!("apiVersion: example.com/v1\nkind: Bundle\nitems: [{item}]\n"));
    assert_eq!((names(&output).len(), output.skipped.get("Bundle")), (0, Some(&1)));
    let output = parse("f", &format!("apiVersion: example.com/v1\nitems: [{item}]\nkind: Bundle\n"));
    assert_eq!((names(&output).len(), output.skipped.get("Bundle")), (0, Some(&1)));
}

#[test]
fn documents_after_a_broken_one_are_still_read() {
    let good = "apiVersion: v1\nkind: Namespace\nmetadata: {name: good}\n";
    let output = parse("f", &format!("a: [unclosed\n---\n{good}---\n\n---\n# nothing\n---\nb: }}\n"));
    assert_eq!(names(&output), ["Namespace good"]);
    assert_eq!(errors(&output).len(), 2, "{:?}", errors(&output));
}

#[test]
fn lines_are_counted_on_behind_a_broken_document() {
    for end in ["\n", "\r\n"] {
        let text = "a: [\n\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: B}\n...\n\n}\n--- \nc: ["
            .replace('\n', end);
        let output = parse("f", &text);
        let lines: Vec<u32> = output.diagnostics.iter().map(|problem| problem.origin.line).collect();
        assert_eq!(lines, [1, 6, 9, 11], "{:?}", errors(&output));
    }
}

#[test]
fn anchors_and_merge_keys_work_as_kubectl_has_them() {
    let text = "
apiVersion: v1
kind: Pod
metadata:
  name: web
  labels: &labels {app: web, tier: front}
---
apiVersion: v1
kind: Pod
metadata:
  name: x
  annotations: &defaults {app: web, tier: front}
  labels:
    <<: *defaults
    tier: back
";
    let output = parse("f", text);
    assert_eq!(errors(&output), [""; 0]);
    let labels = &output.objects[1].meta().labels;
    assert_eq!(labels.get("app").map(String::as_str), Some("web"));
    assert_eq!(labels.get("tier").map(String::as_str), Some("back"));
    // Anchors end with their document.
    let output = parse("f", "a: &x 1\n---\nb: *x\n");
    assert!(
        errors(&output).iter().any(|error| error.contains("not readable as YAML")),
        "{:?}",
        errors(&output)
    );
}

#[test]
fn a_bomb_of_aliases_is_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let below = format!("*a{}, ", level - 1).repeat(10);
        let _ = writeln!(text, "a{level}: &a{level} [{}]", below.trim_end_matches(", "));
    }
    let output = parse("f", &text);
    assert!(errors(&output)[0].contains("aliases expand to too much"), "{:?}", errors(&output));
}

#[test]
fn deep_and_large_objects_are_refused() {
    for text in [
        "[".repeat(100_000),
        format!("{}x{}", "[".repeat(65), "]".repeat(65)),
        "- ".repeat(70),
        "{a: ".repeat(65),
    ] {
        let output = parse("f", &text);
        assert!(errors(&output)[0].contains("64 levels"), "{:?}", errors(&output));
    }
    let large = format!("kind: Pod\nmetadata:\n  labels:\n{}", "    a: b\n".repeat(400_000));
    assert!(errors(&parse("f", &large))[0].contains("too large"));
    // A list may be larger than any of its items may.
    let items = "- {apiVersion: v1, kind: Service, metadata: {name: x}, pad: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}\n".repeat(30_000);
    let output = parse("f", &format!("kind: List\napiVersion: v1\nitems:\n{items}"));
    assert_eq!((errors(&output).len(), output.skipped.get("Service")), (0, Some(&30_000)));
}

#[test]
fn a_million_problems_are_not_a_million_messages() {
    let text =
        format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nx:\n{}", "  k: v\n".repeat(100_000));
    assert!(errors(&parse("f", &text)).len() <= 100);
}

#[test]
fn garbage_never_panics() {
    for text in [
        "\0",
        "\u{feff}",
        "%YAML 9.9\n---\n",
        "? [a]\n: b\n",
        "*x",
        "&a *a",
        "!!binary x",
        "<<: [1, {a: 1}]",
        "- - -\n -",
        "'",
        "\"\\u12\"",
        "|\n a",
        "---\n---\n...\n...",
        "a: b: c",
        "\t",
        "{",
        "}",
        "kind: List\nitems: {}",
        "kind: List\nitems: [1, [], null]",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: {}}",
    ] {
        let _ = parse("f", text);
    }
    // Every cut of a valid text.
    let text = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: a, labels: &l {a: \"b\"}}\nspec: {ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}], ports: [{port: 1, endPort: 2}]}]}\n";
    for cut in 0..text.len() {
        let _ = parse("f", &text[..cut]);
    }
}

#[test]
fn a_namespace_always_has_its_name_label() {
    let output = parse(
        "f",
        "{apiVersion: v1, kind: Namespace, metadata: {name: a, labels: {kubernetes.io/metadata.name: b}}}",
    );
    assert_eq!(output.objects[0].meta().labels.get(super::NAME_LABEL).map(String::as_str), Some("a"));
    assert_eq!(output.objects[0].key().kind, Kind::Namespace);
}

#[test]
fn flannel_annotations_of_a_node_are_read() {
    let text = r#"
apiVersion: v1
kind: Node
metadata:
  name: a
  annotations:
    flannel.alpha.coreos.com/backend-type: vxlan
    flannel.alpha.coreos.com/backend-data: '{"VNI":1,"VtepMAC":"02:00:00:00:00:0a"}'
    flannel.alpha.coreos.com/backend-v6-data: '{"vni":2,"vtepmac":"02:00:00:00:00:0b"}'
    flannel.alpha.coreos.com/public-ip: 192.0.2.1
    flannel.alpha.coreos.com/public-ip-overwrite: 192.0.2.9
    flannel.alpha.coreos.com/public-ipv6: "2001:db8::1"
    flannel.alpha.coreos.com/kube-subnet-manager: "true"
spec: {podCIDR: 10.42.0.0/24}
"#;
    let output = parse("f", text);
    assert_eq!(output.diagnostics, []);
    let [Object::Node(node)] = &output.objects[..] else { panic!("{output:?}") };
    let flannel = &node.flannel;
    assert_eq!((flannel.vtep_mac, flannel.vni), (Some([2, 0, 0, 0, 0, 10]), Some(1)));
    assert_eq!((flannel.vtep_mac_v6, flannel.vni_v6), (Some([2, 0, 0, 0, 0, 11]), Some(2)));
    assert_eq!(flannel.public_ip.map(|ip| ip.to_string()).as_deref(), Some("192.0.2.9"));
    assert_eq!(node.pod_cidrs.len(), 1);
    // A node of which flannel knows nothing is an ordinary state.
    assert_eq!(parse("f", "{apiVersion: v1, kind: Node, metadata: {name: a}}").diagnostics, []);
}
