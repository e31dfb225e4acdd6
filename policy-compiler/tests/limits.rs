//! What hostile or very large text costs: every bound is a located error within bounded memory and time, and what is
//! only large is read.
//!
//! Times are not asserted but for a ceiling that only quadratic work would reach.

mod counting;

use counting::{Memory, counted};
use policy_compiler::{ParseOutput, parse};
use std::fmt::Write;
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;
/// What linear work stays far below, on a loaded machine and without optimization.
const CEILING: Duration = Duration::from_secs(20);

/// Parses; the most memory it took beside the text, and how long.
fn measure(what: &str, text: &str) -> (ParseOutput, usize, Duration) {
    let start = Instant::now();
    let (output, Memory { peak, asked }) = counted(|| parse("hostile.yaml", text));
    let time = start.elapsed();
    println!(
        "{what}: {} KiB of text, {} KiB of memory at once, {} KiB in all, {time:?}, {} objects",
        text.len() / 1024,
        peak / 1024,
        asked / 1024,
        output.objects.len()
    );
    (output, peak, time)
}

/// The text is refused at a line and column, for this reason, in memory that does not depend on its size.
fn refused(what: &str, text: &str, reason: &str) {
    refused_within(what, text, reason, 48 * MIB);
}

fn refused_within(what: &str, text: &str, reason: &str, memory: usize) {
    let (output, peak, time) = measure(what, text);
    let errors: Vec<String> = output.diagnostics.iter().map(ToString::to_string).collect();
    assert!(errors.iter().any(|error| error.contains(reason)), "{what}: {:?}", errors.first());
    let located = output.diagnostics.iter().all(|error| error.is_error() && error.origin.line > 0);
    assert!(located && errors.len() <= 1002, "{what}: {} errors", errors.len());
    assert!(errors.iter().all(|error| error.len() < 600), "{what}: the messages are short");
    assert!(peak < memory, "{what}: {} MiB", peak / MIB);
    assert!(time < CEILING, "{what}: {time:?}");
}

const POLICY: &str = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: a}\n\
                      spec:\n  podSelector: {}\n";
const BYTES: &str = "4 MiB of text per object";
const NODES: &str = "250000 keys and values per object";

#[test]
fn a_document_of_100_mb_is_refused() {
    const SIZE: usize = 100_000_000;
    refused("one scalar", &format!("{POLICY}  x: {}\n", "a".repeat(SIZE)), BYTES);
    refused("one quoted scalar", &format!("{POLICY}  x: \"{}\"\n", "a b ".repeat(SIZE / 4)), BYTES);
    // The parser gathers the lines of such a scalar before anybody can stop it.
    let text = format!("{POLICY}  x: |\n{}", "    text\n".repeat(SIZE / 9));
    refused_within("one block scalar", &text, BYTES, text.len() + 48 * MIB);
    refused("comments", &format!("{POLICY}  {}x: [", "# a\n".repeat(SIZE / 4)), BYTES);
    refused("a flow list", &format!("{POLICY}  x: [{}]\n", "a,".repeat(SIZE / 2)), NODES);
    refused("a block list", &format!("{POLICY}  x:\n{}", "  - a\n".repeat(SIZE / 6)), NODES);
    let mut pairs = String::new();
    for number in 0..SIZE / 16 {
        let _ = writeln!(pairs, "    k{number:08}: v");
    }
    refused("a mapping", &format!("{POLICY}  x:\n{pairs}"), NODES);
    refused("one key", &format!("{POLICY}  {}: a\n", "a".repeat(SIZE)), "simple key");
    refused("tags", &format!("x: [{}]", "!a b,".repeat(SIZE / 5)), NODES);
    refused("documents without an end", &"]\n---\n".repeat(SIZE / 6), "too many problems");
    refused("items of nothing", &format!("kind: List\nitems: [{}]", "a,".repeat(SIZE / 2)), "");
}

#[test]
fn what_follows_a_document_that_is_too_large_is_read() {
    let list = format!("{POLICY}  x: [{}]\n", "a,".repeat(1_000_000));
    let good = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: b@d}\n";
    let output = parse("f.yaml", &format!("{list}{good}...\n{POLICY}"));
    let places: Vec<_> = output.diagnostics.iter().map(|error| error.origin.line).collect();
    assert_eq!((places, output.objects.len()), (vec![6, 10], 1), "{:?}", output.diagnostics);
    assert_eq!(output.objects[0].origin().line, 12);
}

#[test]
fn lists_of_a_million_entries_in_one_object_are_refused() {
    let peers = "    - ipBlock: {cidr: 10.0.0.0/8}\n".repeat(1_000_000);
    refused("a million peers", &format!("{POLICY}  ingress:\n  - from:\n{peers}"), NODES);
    refused("a million nothings", &format!("{POLICY}  ingress: [{}]\n", ",".repeat(1_000_000)), "");
    let mut labels = String::from("apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  labels:\n");
    for number in 0..1_000_000 {
        let _ = writeln!(labels, "    k{number}: v");
    }
    refused("a million labels", &labels, NODES);
}

/// Just within the bounds of one object: what is done with it must not be quadratic.
#[test]
fn as_much_as_an_object_may_hold_is_read_in_linear_time() {
    let policy = |spec: &str| format!("{POLICY}{spec}");
    let many = |entry: &dyn Fn(usize) -> String, count: usize| (0..count).map(entry).collect::<String>();
    let address = |n: usize| format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255);
    let peers = many(&|n| format!("    - ipBlock: {{cidr: {}/32}}\n", address(n)), 45_000);
    let except = many(&|n| format!("        - {}/32\n", address(n)), 120_000);
    let pod = |rest: &str| format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\n{rest}");
    let node = |rest: &str| format!("apiVersion: v1\nkind: Node\nmetadata: {{name: a}}\n{rest}");
    let wrong = "more problems like these";
    for (what, text, reason) in [
        ("peers", policy(&format!("  ingress:\n  - from:\n{peers}")), None),
        (
            "exceptions",
            policy(&format!(
                "  ingress:\n  - from:\n    - ipBlock:\n        cidr: 10.0.0.0/8\n        except:\n{except}"
            )),
            None,
        ),
        (
            "wrong peers",
            policy(&format!("  ingress:\n  - from:\n{}", "    - {pod: x}\n".repeat(60_000))),
            Some(wrong),
        ),
        ("unknown fields", policy(&many(&|n| format!("  podSelecto{n}: x\n"), 100_000)), Some(wrong)),
        (
            "addresses of a pod",
            pod(&format!("status:\n  podIPs:\n{}", many(&|n| format!("  - ip: {}\n", address(n)), 60_000))),
            Some(wrong),
        ),
        (
            "misspelled fields of a pod",
            pod(&format!("spec:\n{}", many(&|n| format!("  nodeNam{n}: x\n"), 100_000))),
            Some(wrong),
        ),
        (
            "addresses of a node",
            node(&format!(
                "status:\n  addresses:\n{}",
                many(&|n| format!("  - {{type: InternalIP, address: {}}}\n", address(n)), 35_000)
            )),
            Some(wrong),
        ),
        (
            "labels",
            pod("").replace(
                "{name: a}",
                &format!("\n  name: a\n  labels:\n{}", many(&|n| format!("    k{n}: v\n"), 110_000)),
            ),
            None,
        ),
    ] {
        let (output, peak, time) = measure(what, &text);
        let errors: Vec<String> = output.diagnostics.iter().map(ToString::to_string).collect();
        assert_eq!(output.objects.len(), 1, "{what}: {errors:?}");
        match reason {
            None => assert!(errors.is_empty(), "{what}: {errors:?}"),
            Some(reason) => assert!(errors.iter().any(|error| error.contains(reason)), "{what}: {errors:?}"),
        }
        assert!(errors.len() <= 51 && peak < 96 * MIB && time < CEILING, "{what}");
    }
}

#[test]
fn aliases_do_not_blow_up() {
    let mut laughs = String::from("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for level in 1..12 {
        let below = format!("*a{}, ", level - 1).repeat(9);
        let _ = writeln!(laughs, "a{level}: &a{level} [{below}]");
    }
    refused("a billion laughs", &laughs, "aliases expand to too much");
    let large = format!("a: &a [{}]\nb: [{}]\n", "x, ".repeat(20_000), "*a, ".repeat(20_000));
    refused("quadratic aliases", &large, "aliases expand to too much");
    let items =
        format!("kind: List\nx: &a [{}]\nitems: [{}]\n", "x, ".repeat(20_000), "*a, ".repeat(200_000));
    refused("the same in items", &items, "aliases expand to too much");
    let nested = format!("a: {}x{}\n", "&a [".repeat(60), "]".repeat(60));
    refused("nested anchors", &nested.repeat(100_000), "anchors hold too much");
    refused(
        "anchors within anchors",
        &format!("a: &a [&b [&c [{}]]]\n", "x, ".repeat(30_000)),
        "anchors hold too much",
    );
    refused("a merge of merges", &format!("a: &a {{k: v}}\nb: {{{}}}\n", "<<: *a, ".repeat(200_000)), NODES);
}

#[test]
fn deep_nesting_is_refused() {
    const LEVELS: usize = 100_000;
    for (what, text) in [
        ("flow lists", "[".repeat(LEVELS)),
        ("closed flow lists", format!("{}{}", "[".repeat(LEVELS), "]".repeat(LEVELS))),
        ("flow mappings", "{a: ".repeat(LEVELS)),
        ("block lists", "- ".repeat(LEVELS)),
        ("complex keys", "? ".repeat(LEVELS)),
    ] {
        refused(what, &format!("a: 1\n---\n{text}"), "at most 64 levels of nesting");
    }
    let mut indented = String::new();
    for level in 0..2000 {
        let _ = writeln!(indented, "{:level$}a:", "");
    }
    refused("block mappings", &indented, "at most 64 levels of nesting");
}

#[test]
fn nul_is_refused_wherever_it_stands() {
    // A parser that takes it for the end would not see the policy behind it.
    for text in [
        "\0".to_owned(),
        format!("a: b\0\n---\n{POLICY}"),
        format!("a: \"\0\"\n{POLICY}"),
        format!("# \0\n{POLICY}"),
    ] {
        refused("NUL", &text, "a NUL character");
    }
}

#[test]
fn keys_that_are_there_twice_are_refused() {
    refused(
        "in the policy",
        &format!("{POLICY}  podSelector: {{}}\n"),
        "the key \"podSelector\" is here twice",
    );
    refused("kind", &format!("{POLICY}kind: Service\n"), "the key \"kind\" is here twice");
    let long = format!("{POLICY}  x: {{{}}}\n", "\"k\": v, ".repeat(20_000));
    refused("very often", &long, "the key \"k\" is here twice");
}

/// A pod as manifests have it, with more than weir reads.
fn pod(number: usize) -> String {
    format!(
        "apiVersion: v1\n  kind: Pod\n  metadata:\n    name: pod-{number}\n    namespace: shop\n    uid: uid-{number}\n    \
         labels: {{app: a, tier: b}}\n    annotations: {{note: \"nothing of interest\"}}\n  spec:\n    \
         nodeName: node-1\n    containers:\n    - name: main\n      image: example.org/main\n      \
         env: [{{name: A, value: b}}]\n      ports: [{{name: http, containerPort: 8080}}]\n  \
         status: {{phase: Running, podIPs: [{{ip: 10.{}.{}.{}}}]}}\n",
        number >> 16,
        number >> 8 & 255,
        number & 255
    )
}

/// What an object takes that is kept: itself, its strings, and the doubling of the vector it is in.
const KEPT: usize = 1500;

#[test]
fn a_list_of_100_000_pods_is_read_in_the_memory_of_its_pods() {
    const PODS: usize = 100_000;
    let mut list = String::from("apiVersion: v1\nitems:\n");
    let mut documents = String::new();
    let mut json = String::from("{\"kind\": \"PodList\", \"apiVersion\": \"v1\", \"items\": [");
    for number in 0..PODS {
        let pod = pod(number);
        let _ = write!(list, "- {pod}");
        let _ = write!(documents, "---\n{}", pod.replace("\n  ", "\n"));
        let comma = if number > 0 { "," } else { "" };
        let _ = writeln!(
            json,
            "{comma}{{\"metadata\": {{\"name\": \"pod-{number}\", \"labels\": {{\"app\": \"a\"}}}}}}"
        );
    }
    list.push_str("kind: List\n");
    json.push_str("]}\n");
    for (what, text) in [("a List", list), ("documents", documents), ("a PodList in JSON", json)] {
        let (output, peak, _) = measure(what, &text);
        assert!(output.diagnostics.is_empty(), "{what}: {:?}", output.diagnostics.first());
        assert_eq!(output.objects.len(), PODS, "{what}");
        assert!(peak < PODS * KEPT, "{what}: {} bytes per pod", peak / PODS);
    }
}

#[test]
fn a_list_of_objects_that_are_not_kept_takes_no_memory() {
    let item =
        "- {apiVersion: v1, kind: Service, metadata: {name: x}, spec: {clusterIP: None, ports: [1, 2, 3]}}\n";
    let text = format!("apiVersion: v1\nkind: List\nitems:\n{}", item.repeat(100_000));
    let (output, peak, _) = measure("services", &text);
    assert_eq!((output.diagnostics.len(), output.skipped.get("Service")), (0, Some(&100_000)));
    assert!(peak < MIB, "{} KiB", peak / 1024);
}
