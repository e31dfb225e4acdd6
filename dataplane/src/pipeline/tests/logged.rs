//! Connections that a rule asks to be noted: allowed or denied, each leaves one note with the rule that asked; and a flood
//! of them leaves no more than there is room for.

use policy_compiler::{Action, Compiled, Compiler, Direction, Options, Scope, parse};

use super::packets::*;
use super::world::*;
use crate::drop_reason::DropReason;

/// TCP is logged; what goes to port 80 is let through, other TCP is not; the rest is nobody's business.
const POLICY: &str = "
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: watched}
spec:
  selector: app == 'green'
  types: [Ingress]
  ingress:
  - {action: Log, protocol: TCP}
  - {action: Allow, protocol: TCP, destination: {ports: [80]}}
  - {action: Deny, protocol: TCP}
  - {action: Allow}
";

/// The policy, compiled for the pods of the world.
pub(super) fn compiled() -> Compiled {
    let [v4, v6] = FAMILIES;
    let pods =
        [("blue", [blue(v4), blue(v6)]), ("green", [green(v4), green(v6)]), ("grey", [grey(v4), grey(v6)])];
    let mut compiler = Compiler::new(Options::default());
    let mut add = |file: &str, text: &str| {
        let parsed = parse(file, text);
        assert!(parsed.diagnostics.is_empty(), "{:?}", parsed.diagnostics);
        for object in parsed.objects {
            compiler.upsert(object);
        }
    };
    for (name, [one, other]) in pods {
        add(
            "pods.yaml",
            &format!(
                "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: default, labels: {{app: {name}}}}}, \
                 spec: {{nodeName: node-a}}, status: {{phase: Running, podIPs: [{{ip: {one}}}, {{ip: \"{other}\"}}]}}}}"
            ),
        );
    }
    add("policy.yaml", POLICY);
    compiler.compile(&Scope::All).expect("the policy is valid")
}

#[test]
fn an_allowed_and_a_denied_connection_leave_a_note_each_that_names_the_rule() {
    for family in FAMILIES {
        let mut world = World::new();
        world.enforce(compiled());
        let syn = |port| Ip::new(blue(family), green(family), 6, tcp(4000, port, SYN)).frame();
        world.inject(world.blue, &syn(80)).one();
        world.inject(world.blue, &syn(81)).dropped(DropReason::PolicyDeny);
        let (lines, lost) = world.denials.notes.drain();
        assert_eq!(lost, 0);
        let told: Vec<_> = lines.iter().map(|line| (line.action, line.src_port, line.dst_port)).collect();
        assert_eq!(told, [(Action::Allow, 4000, 80), (Action::Deny, 4000, 81)]);
        for (line, decided) in lines.iter().zip(["spec.ingress[1]", "spec.ingress[2]"]) {
            assert_eq!((line.direction, line.protocol), (Direction::Ingress, 6));
            assert_eq!((line.src, line.dst), (blue(family), green(family)));
            assert_eq!(line.logged_by, ["GlobalNetworkPolicy watched spec.ingress[0] (policy.yaml:9:5)"]);
            assert!(line.rule.contains(decided), "{}", line.rule);
        }
    }
}

#[test]
fn packets_of_a_noted_connection_and_connections_of_other_rules_leave_none() {
    for family in FAMILIES {
        let mut world = World::new();
        world.enforce(compiled());
        let there = |flags| Ip::new(blue(family), green(family), 6, tcp(4000, 80, flags)).frame();
        let back = Ip::new(green(family), blue(family), 6, tcp(80, 4000, SYN | ACK)).by_green().frame();
        world.inject(world.blue, &there(SYN)).one();
        assert_eq!(world.denials.notes.drain().0.len(), 1);
        world.inject(world.green, &back).one();
        world.inject(world.blue, &there(ACK)).one();
        world.inject(world.blue, &Ip::new(blue(family), green(family), 17, udp(4000, 53, b"")).frame()).one();
        let other = Ip::new(green(family), blue(family), 6, tcp(4001, 80, SYN)).by_green();
        world.inject(world.green, &other.frame()).one();
        assert_eq!(world.denials.notes.drain(), (Vec::new(), 0));
    }
}

#[test]
fn a_flood_of_noted_connections_leaves_a_bounded_number_of_lines_and_counts_the_rest() {
    const CONNECTIONS: u16 = 3000;
    let [v4, _] = FAMILIES;
    let mut world = World::new();
    world.enforce(compiled());
    for port in 0..CONNECTIONS {
        let syn = Ip::new(blue(v4), green(v4), 6, tcp(4000 + port, 81, SYN)).frame();
        world.inject(world.blue, &syn).dropped(DropReason::PolicyDeny);
    }
    let (lines, lost) = world.denials.notes.drain();
    assert_eq!(lines.len(), 100, "the oldest are told");
    assert_eq!(lines.first().map(|line| line.src_port), Some(4000));
    assert_eq!(lines.len() as u64 + lost, u64::from(CONNECTIONS), "every other one is counted");
    assert_eq!(world.denials.notes.drain(), (Vec::new(), 0), "and once");
}

#[test]
fn a_connection_opened_again_in_the_place_of_one_that_was_over_is_noted_again() {
    for family in FAMILIES {
        let mut world = World::new();
        world.enforce(compiled());
        let there = |flags| Ip::new(blue(family), green(family), 6, tcp(4000, 80, flags)).frame();
        let back = |flags| Ip::new(green(family), blue(family), 6, tcp(80, 4000, flags)).by_green().frame();
        for _ in 0..3 {
            world.inject(world.blue, &there(SYN)).one();
            world.inject(world.green, &back(SYN | ACK)).one();
            world.inject(world.blue, &there(ACK)).one();
            world.inject(world.green, &back(ACK | RST)).one();
            let (lines, _) = world.denials.notes.drain();
            let told: Vec<_> = lines.iter().map(|line| (line.action, line.src_port)).collect();
            assert_eq!(told, [(Action::Allow, 4000)]);
        }
        assert_eq!(world.pipeline.connections().len(), 1, "always in the same place");
    }
}
