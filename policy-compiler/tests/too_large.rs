//! Sound policies that do not fit: something that denies stands in their place, and everybody else's changes come into
//! force all the same. It closes more than the policies would, never less; all engines and the reference agree.

mod counting;
mod support;

use counting::counted;
use policy_compiler::{
    Action, Compiled, Compiler, Direction, Key, Kind, ObjectKey, OnTooLarge, Options, RuleKind, Scope,
    SubjectId, parse,
};
use std::fmt::Write;
use support::Engines;

const MIB: usize = 1 << 20;
const OUTSIDE: &str = "198.51.100.1";
/// An address that blocks in the policies here are about.
const INSIDE: &str = "10.200.0.1";

const CLUSTER: &str = "
{apiVersion: v1, kind: Node, metadata: {name: n}, spec: {podCIDR: 10.42.0.0/16}, status: {addresses: [{type: InternalIP, address: 192.0.2.1}]}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: tenant, labels: {kubernetes.io/metadata.name: tenant}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: tenant, labels: {app: web}}, spec: {nodeName: n}, status: {podIP: 10.42.0.5}}
---
{apiVersion: v1, kind: Pod, metadata: {name: api, namespace: tenant, labels: {app: api}}, spec: {nodeName: n}, status: {podIP: 10.42.0.6}}
---
{apiVersion: v1, kind: Pod, metadata: {name: shop, namespace: shop}, spec: {nodeName: n}, status: {podIP: 10.42.0.7}}
";

fn compiler(ceiling: usize) -> Compiler {
    let options =
        Options { memory_ceiling: ceiling, on_too_large: OnTooLarge::Isolate, ..Options::default() };
    support::compiler(options, &[("cluster.yaml", CLUSTER)], false)
}

fn upsert(compiler: &mut Compiler, text: &str) {
    let parsed = parse("policies.yaml", text);
    assert!(parsed.diagnostics.iter().all(|one| !one.is_error()), "{:?}", parsed.diagnostics.first());
    for object in parsed.objects {
        compiler.upsert(object);
    }
}

fn compiled(compiler: &Compiler) -> Compiled {
    match compiler.compile(&Scope::All) {
        Ok(compiled) => compiled,
        Err(errors) => panic!("{errors:?}"),
    }
}

/// What was isolated, by name.
fn isolated(compiled: &Compiled) -> Vec<String> {
    compiled.degraded.iter().filter_map(|one| Some(one.object.as_ref()?.path())).collect()
}

fn key(compiled: &Compiled, pod: &str, direction: Direction, remote: &str) -> Key {
    let position = compiled.cluster.subjects.iter().position(|subject| subject.name.name == pod);
    let position = position.unwrap_or_else(|| panic!("no subject {pod}"));
    let own = compiled.cluster.subjects[position].addresses[0];
    let remote = remote.parse().unwrap_or_else(|_| panic!("{remote}"));
    let (src, dst) = if direction == Direction::Egress { (own, remote) } else { (remote, own) };
    let subject = SubjectId(u32::try_from(position).unwrap_or(u32::MAX));
    Key { subject, direction, src, dst, protocol: 6, src_port: 49152, dst_port: 80 }
}

fn judge(compiled: &Compiled, pod: &str, direction: Direction, remote: &str) -> Action {
    compiled.classifier.classify(&key(compiled, pod, direction, remote)).action
}

fn ingress(compiled: &Compiled, pod: &str, remote: &str) -> Action {
    judge(compiled, pod, Direction::Ingress, remote)
}

/// Each of so many blocks leaves out another address: all of them meet.
fn blocks(count: usize) -> impl Iterator<Item = (&'static str, String)> {
    (0..count).map(|n| ("10.0.0.0/8", format!("10.{}.{}.1/32", n >> 8, n & 255)))
}

fn policy(namespace: &str, name: &str, rest: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
         spec:\n{rest}"
    )
}

fn with_blocks(namespace: &str, name: &str, pods: &str, count: usize) -> String {
    let mut peers = format!("  podSelector: {pods}\n  ingress:\n  - from:\n");
    for (cidr, except) in blocks(count) {
        let _ = writeln!(peers, "    - ipBlock: {{cidr: {cidr}, except: [{except}]}}");
    }
    policy(namespace, name, &peers)
}

/// Beyond any measure, in every language: about `web`, ingress.
fn monsters() -> Vec<(&'static str, String)> {
    let web = "{matchLabels: {app: web}}";
    let list = |text: &dyn Fn(&str, &str) -> String| {
        blocks(1500).map(|(cidr, except)| text(cidr, &except)).collect::<Vec<_>>()
    };
    let cilium = list(&|cidr, except| format!("{{cidr: {cidr}, except: [{except}]}}")).join(", ");
    let calico = list(&|cidr, except| {
        format!("    - {{action: Allow, source: {{nets: [{cidr}], notNets: [{except}]}}}}\n")
    });
    vec![
        ("tenant/monster", with_blocks("tenant", "monster", web, 1500)),
        (
            "tenant/monster",
            format!(
                "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {{name: monster, namespace: tenant}}\n\
                 spec:\n  endpointSelector: {web}\n  ingress:\n  - fromCIDRSet: [{cilium}]\n"
            ),
        ),
        (
            "tenant/monster",
            format!(
                "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {{name: monster, namespace: tenant}}\n\
                 spec:\n  selector: app == 'web'\n  types: [Ingress]\n  ingress:\n{}",
                calico.concat().replace("    - ", "  - ")
            ),
        ),
        (
            "monster",
            format!(
                "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {{name: monster}}\n\
                 spec:\n  selector: app == 'web'\n  types: [Ingress]\n  ingress:\n{}",
                calico.concat().replace("    - ", "  - ")
            ),
        ),
    ]
}

#[test]
fn a_policy_beyond_measure_denies_its_subjects_and_holds_nobody_back() {
    for (name, monster) in monsters() {
        let mut compiler = compiler(8 * MIB);
        upsert(&mut compiler, &policy("shop", "shop", "  podSelector: {}\n  ingress: [{}]\n"));
        assert!(compiled(&compiler).degraded.is_empty());
        upsert(&mut compiler, &monster);
        let first = compiled(&compiler);
        assert_eq!(isolated(&first), [name], "{:?}", first.degraded);
        let said = first.degraded[0].to_string();
        assert!(said.starts_with("policies.yaml:1:1: ") && said.contains("at most 8192 KiB"), "{said}");
        // Whom it is about, in the direction it is about, and nobody else.
        assert_eq!(ingress(&first, "web", INSIDE), Action::Deny);
        assert_eq!(judge(&first, "web", Direction::Egress, OUTSIDE), Action::Allow);
        assert_eq!(ingress(&first, "api", OUTSIDE), Action::Allow);
        assert_eq!(ingress(&first, "shop", OUTSIDE), Action::Allow);
        // Its node still reaches it, as any pod.
        assert_eq!(ingress(&first, "web", "192.0.2.1"), Action::Allow);
        // While it stands, others close and open.
        upsert(&mut compiler, &policy("shop", "shop", "  podSelector: {}\n  ingress: []\n"));
        let second = compiled(&compiler);
        assert_eq!(isolated(&second), [name]);
        assert_eq!(ingress(&second, "shop", OUTSIDE), Action::Deny);
        assert_eq!(ingress(&second, "web", INSIDE), Action::Deny);
        // From nothing it is the same.
        let fresh = compiled(&compiler.clone());
        assert_eq!(fresh.degraded, second.degraded);
        for pod in ["web", "api", "shop"] {
            for direction in Direction::ALL {
                let verdict = |compiled| judge(compiled, pod, direction, OUTSIDE);
                assert_eq!(verdict(&fresh), verdict(&second), "{pod} {direction}");
            }
        }
        // Mended, it is in force at once.
        let key = first.degraded[0].object.clone().unwrap_or_else(|| panic!("named"));
        assert!(compiler.delete(&key));
        let third = compiled(&compiler);
        assert!(third.degraded.is_empty());
        assert_eq!(ingress(&third, "web", OUTSIDE), Action::Allow);
    }
}

#[test]
fn all_engines_and_the_reference_say_why() {
    let mut compiler = compiler(8 * MIB);
    upsert(&mut compiler, &with_blocks("tenant", "monster", "{matchLabels: {app: web}}", 1500));
    let cluster = compiler.cluster(&Scope::All);
    let engines = Engines::new(&compiler, &Scope::All, &cluster);
    for (pod, remote, denied) in
        [("web", INSIDE, true), ("web", OUTSIDE, true), ("api", OUTSIDE, false), ("shop", OUTSIDE, false)]
    {
        let info = engines.judge(&key(&engines.compiled[0], pod, Direction::Ingress, remote));
        assert_eq!(matches!(info.kind, RuleKind::TooLarge { .. }), denied, "{pod} {remote}: {info}");
        assert_eq!(info.action == Action::Deny, denied);
        if denied {
            let why = "too large, so it denies: NetworkPolicy tenant/monster spec (policies.yaml:5:3)";
            assert_eq!(info.to_string(), why);
        }
    }
}

#[test]
fn what_is_in_force_is_not_pushed_out_by_what_comes() {
    let mut compiler = compiler(16 * MIB);
    // The heaviest of all, and it fits.
    upsert(&mut compiler, &with_blocks("shop", "large", "{}", 500));
    assert!(compiled(&compiler).degraded.is_empty());
    for number in 0..6 {
        let blocks = with_blocks("tenant", &format!("a{number}"), "{}", 400 + number);
        let elsewhere = blocks.replace("cidr: 10.", &format!("cidr: {}.", 20 + number));
        let elsewhere = elsewhere.replace("except: [10.", &format!("except: [{}.", 20 + number));
        upsert(&mut compiler, &elsewhere);
    }
    let crowded = compiled(&compiler);
    let out = isolated(&crowded);
    assert!(!out.is_empty() && out.iter().all(|name| name.starts_with("tenant/a")), "{out:?}");
    assert_eq!(ingress(&crowded, "shop", INSIDE), Action::Allow);
    assert_eq!(ingress(&crowded, "web", INSIDE), Action::Deny);
    // Where one of those in force goes, there is room again.
    assert!(compiler.delete(&ObjectKey {
        kind: Kind::NetworkPolicy,
        namespace: "shop".into(),
        name: "large".into()
    }));
    assert!(isolated(&compiled(&compiler)).len() < out.len());
}

#[test]
fn a_subject_that_is_dear_to_tell_is_the_whole_namespace() {
    let values: Vec<String> = (0..2000).map(|n| format!("v{n}")).collect();
    let pods = format!(
        "{{matchExpressions: [{{key: app, operator: NotIn, values: [api, {}]}}]}}",
        values.join(", ")
    );
    let mut compiler = compiler(8 * MIB);
    upsert(&mut compiler, &with_blocks("tenant", "monster", &pods, 1500));
    let compiled = compiled(&compiler);
    assert_eq!(isolated(&compiled), ["tenant/monster"]);
    for (pod, action) in [("web", Action::Deny), ("api", Action::Deny), ("shop", Action::Allow)] {
        assert_eq!(ingress(&compiled, pod, OUTSIDE), action, "{pod}");
        assert_eq!(judge(&compiled, pod, Direction::Egress, OUTSIDE), Action::Allow, "{pod}");
    }
}

/// So many policies, each of them small, that what is known of pods is more than fits.
#[test]
fn a_namespace_of_too_many_policies_is_denied_and_holds_nobody_back() {
    let mut compiler = compiler(2 * MIB);
    let mut text = String::new();
    for number in 0..250 {
        let _ = write!(
            text,
            "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: p{number}, namespace: tenant, labels: {{l: a{number}}}}}, \
             spec: {{nodeName: n}}, status: {{podIP: 10.42.{}.{}}}}}\n",
            1 + (number >> 7),
            number & 127
        );
    }
    for number in 0..1500 {
        let _ = write!(text, "---\n{}", policy("tenant", &format!("a{number}"), "  podSelector: {}\n"));
    }
    upsert(&mut compiler, &text);
    let (crowded, memory) = counted(|| compiled(&compiler));
    println!("{} isolated, {} MiB at once", crowded.degraded.len(), memory.peak / MIB);
    assert!(crowded.degraded.len() < 1500);
    assert_eq!(ingress(&crowded, "web", OUTSIDE), Action::Deny);
    assert_eq!(ingress(&crowded, "shop", OUTSIDE), Action::Allow);
    upsert(&mut compiler, &policy("shop", "shop", "  podSelector: {}\n"));
    assert_eq!(ingress(&compiled(&compiler), "shop", OUTSIDE), Action::Deny);
    assert_eq!(compiler.full_builds(), 1);
}

#[test]
fn where_no_policy_is_to_blame_the_state_is_refused() {
    let options =
        Options { memory_ceiling: 100 << 10, on_too_large: OnTooLarge::Isolate, ..Options::default() };
    let mut compiler = support::compiler(options, &[("cluster.yaml", CLUSTER)], false);
    upsert(&mut compiler, &with_blocks("tenant", "monster", "{}", 100));
    let Err(errors) = compiler.compile(&Scope::All) else { panic!("fits") };
    assert!(errors[0].to_string().contains("at most 100 KiB"), "{errors:?}");
}

#[test]
fn to_find_what_does_not_fit_takes_no_more_memory_than_to_refuse_it() {
    let mut compiler = compiler(32 * MIB);
    assert!(compiled(&compiler).degraded.is_empty());
    for number in 0..3 {
        upsert(&mut compiler, &with_blocks("tenant", &format!("monster{number}"), "{}", 20_000));
    }
    let (found, memory) = counted(|| compiled(&compiler));
    println!("{} MiB at once, {} MiB in all", memory.peak / MIB, memory.asked / MIB);
    assert_eq!(isolated(&found), ["tenant/monster0", "tenant/monster1", "tenant/monster2"]);
    assert!(memory.peak < 160 * MIB && memory.asked < 4096 * MIB);
}
