//! What `query` answers is what the reference says: probes by name and by address, the matrix and its ports, the
//! parts of the outside, and the difference of two states, over generated clusters.

mod support;

use policy_compiler::query::{Cell, End, EndKind, Judge, Probe, Transport, diff, ends, matrix};
use policy_compiler::semantics::reference::Reference;
use policy_compiler::{Action, Direction, Key, OnInvalid, Options, RuleInfo, Scope, Step};
use proptest::prelude::*;
use std::net::IpAddr;
use std::path::Path;
use support::compiler;
use support::generate::{L4, cluster, remotes, runner};

const CASES: u32 = 256;

fn judge(text: &str) -> Judge {
    let options = Options { on_invalid: OnInvalid::Isolate, ..Options::default() };
    match Judge::new(compiler(options, &[("generated.yaml", text)], true)) {
        Ok(judge) => judge,
        Err(errors) => panic!("{errors:?}"),
    }
}

fn transport((protocol, port): (u8, u16)) -> Transport {
    match protocol {
        1 => Transport::Icmp(None, 0),
        6 | 17 | 132 => Transport::Port(policy_compiler::model::Protocol::new(protocol), port),
        other => Transport::Other(policy_compiler::model::Protocol::new(other)),
    }
}

/// What the reference says at both ends.
fn expected(
    reference: &Reference<'_>,
    (src, source): (&End, IpAddr),
    (dst, destination): (&End, IpAddr),
    transport: Transport,
) -> [Option<RuleInfo>; 2] {
    let (protocol, dst_port) = transport.in_key(destination);
    let ask = |end: &End, direction| {
        let subject = end.subject()?;
        let key =
            Key { subject, direction, src: source, dst: destination, protocol, src_port: 49152, dst_port };
        Some(reference.judge(&key))
    };
    [ask(src, Direction::Egress), ask(dst, Direction::Ingress)]
}

fn allows(sides: &[Option<RuleInfo>; 2]) -> bool {
    sides.iter().flatten().all(|info| info.action == Action::Allow)
}

fn step(step: &Step) -> &'static str {
    match step {
        Step::Logged { .. } => "logged",
        Step::Passed { .. } => "passed",
        Step::Undecided { .. } => "undecided",
    }
}

/// Probes between all names and addresses, as lines of JSON.
fn answers_agree(judge: &Judge, reference: &Reference<'_>) {
    let in_conflict =
        |address: &IpAddr| judge.compiled().cluster.conflicts.iter().any(|(conflict, _)| conflict == address);
    let mut texts: Vec<String> = judge.pods().into_iter().map(|pod| pod.name).collect();
    // An address in conflict is no one pod's; every third of the others is plenty.
    let addresses = remotes().into_iter().filter(|address| !in_conflict(address));
    texts.extend(addresses.step_by(3).map(|address| address.to_string()));
    for src in &texts {
        for dst in &texts {
            for (family, l4) in [4_u8, 6].into_iter().zip([L4[6], L4[10]]).chain([(4, L4[14]), (6, L4[14])]) {
                let transport = transport(l4);
                let wire = match transport {
                    Transport::Port(protocol, port) => format!(r#""protocol":"{protocol}","port":{port}"#),
                    Transport::Icmp(..) => r#""protocol":"ICMP""#.to_owned(),
                    Transport::Other(protocol) => format!(r#""protocol":{}"#, protocol.number()),
                };
                let line = format!(r#"{{"src":"{src}","dst":"{dst}",{wire},"family":{family}}}"#);
                let Ok(probe) = Probe::from_json(&line) else { panic!("{line}") };
                let Ok(answer) = judge.answer(&probe) else { continue };
                let (Ok(source), Ok(destination)) = (judge.end(src), judge.end(dst)) else {
                    panic!("{line}: answered without ends")
                };
                let ends = ((&source, answer.src_ip), (&destination, answer.dst_ip));
                let sides = expected(reference, ends.0, ends.1, transport);
                assert_eq!(answer.verdict == "allow", allows(&sides), "{line}");
                for (side, expected) in [&answer.egress, &answer.ingress].into_iter().zip(sides) {
                    match expected {
                        None => assert_eq!((side.verdict, side.reason), ("allow", "not_judged"), "{line}"),
                        Some(info) => {
                            assert_eq!(side.verdict, info.action.name(), "{line}");
                            assert_eq!(side.message, info.kind.to_string(), "{line}");
                            let steps: Vec<&str> = info.via.iter().map(step).collect();
                            let said: Vec<&str> = side.via.iter().map(|step| step.step).collect();
                            assert_eq!(said, steps, "{line}");
                        }
                    }
                }
            }
        }
    }
}

/// What is open between pods, port by port.
fn reach_agrees(judge: &Judge, reference: &Reference<'_>) {
    let open = matrix(judge, judge.pods(), Vec::new(), |_| {});
    let ports: Vec<Transport> = L4.into_iter().map(transport).collect();
    let asked = matrix(judge, judge.pods(), ports.clone(), |_| {});
    for (pair, by_port) in open.pairs().zip(asked.pairs()) {
        let (Some(source), Some(destination)) =
            (pair.src.address(pair.family), pair.dst.address(pair.family))
        else {
            panic!("a pair without addresses")
        };
        let (Cell::Open(reach), Cell::Ports(verdicts)) = (pair.cell, by_port.cell) else {
            panic!("{:?}", pair.cell)
        };
        for (&transport, verdict) in ports.iter().zip(verdicts) {
            let sides = expected(reference, (pair.src, source), (pair.dst, destination), transport);
            let (from, to) = (&pair.src.name, &pair.dst.name);
            let word = if allows(&sides) { "allow" } else { "deny" };
            assert_eq!(
                reach.contains(transport, 49152, pair.family),
                allows(&sides),
                "{from} to {to}, {transport}: {reach}"
            );
            assert_eq!(verdict.to_string(), word, "{from} to {to}, {transport}");
        }
    }
}

/// One address stands for all of its part of the outside.
fn outside_agrees(judge: &Judge, reference: &Reference<'_>) {
    let parts: Vec<(ipnet::IpNet, End)> = ends(&[judge])
        .into_iter()
        .filter(|end| end.kind == EndKind::Outside)
        .filter_map(|end| {
            let own = end.addresses.first().copied()?;
            let prefix = match end.name.strip_prefix("outside in ") {
                Some(prefix) => prefix.parse().ok()?,
                None => ipnet::IpNet::new(own, 0).ok()?.trunc(),
            };
            Some((prefix, end))
        })
        .collect();
    for address in remotes() {
        let Ok(end) = judge.end(&address.to_string()) else { panic!("{address}") };
        // The first two addresses of a node's pods are its own.
        let gateway = judge.compiled().cluster.nodes.iter().flat_map(|node| &node.pod_cidrs).any(|cidr| {
            [cidr.network(), cidr.hosts().next().unwrap_or(address)].contains(&address)
                || cidr.hosts().nth(1) == Some(address)
        });
        if end.kind != EndKind::Outside || gateway {
            continue;
        }
        let part = parts.iter().filter(|(prefix, _)| prefix.contains(&address));
        let Some((_, part)) = part.max_by_key(|(prefix, _)| prefix.prefix_len()) else {
            panic!("{address} is in no part")
        };
        let Some(&stand_in) = part.addresses.first() else { panic!("{part:?}") };
        for pod in judge.pods() {
            let Some(own) = pod.address(if address.is_ipv4() { 4 } else { 6 }) else { continue };
            for transport in L4.into_iter().map(transport) {
                let of = |remote: IpAddr| {
                    let out = expected(reference, (&pod, own), (part, remote), transport);
                    let back = expected(reference, (part, remote), (&pod, own), transport);
                    (out, back)
                };
                assert_eq!(of(address), of(stand_in), "{address} and {stand_in} of {}", part.name);
            }
        }
    }
}

#[test]
fn answers_are_those_of_the_reference() {
    let result = runner(CASES).run(&cluster(), |text| {
        let judge = judge(&text);
        let cluster = judge.compiler().cluster(&Scope::All);
        let reference = judge.compiler().reference(&Scope::All, &cluster);
        answers_agree(&judge, &reference);
        reach_agrees(&judge, &reference);
        outside_agrees(&judge, &reference);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

#[test]
fn a_difference_names_exactly_the_pairs_that_change() {
    let result = runner(CASES).run(&(cluster(), cluster()), |(old_text, new_text)| {
        // The pods of one with the policies of the other: a change of policies alone.
        let policies = |text: &str| -> Vec<String> {
            text.split("---\n").filter(|part| part.contains("NetworkPolicy")).map(str::to_owned).collect()
        };
        let rest: Vec<&str> =
            old_text.split("---\n").filter(|part| !part.contains("NetworkPolicy")).collect();
        let with = |policies: Vec<String>| format!("{}---\n{}", rest.join("---\n"), policies.join("---\n"));
        let (old, new) = (judge(&with(policies(&old_text))), judge(&with(policies(&new_text))));
        let difference = diff(&old, &new, |_, _| {});
        prop_assert!(difference.added_pods.is_empty() && difference.removed_pods.is_empty());
        let clusters = [&old, &new].map(|judge| judge.compiler().cluster(&Scope::All));
        let references = [
            old.compiler().reference(&Scope::All, &clusters[0]),
            new.compiler().reference(&Scope::All, &clusters[1]),
        ];
        let pods = old.pods();
        for src in &pods {
            for dst in &pods {
                for family in [4, 6] {
                    let (Some(source), Some(destination)) = (src.address(family), dst.address(family)) else {
                        continue;
                    };
                    for transport in L4.into_iter().map(transport) {
                        let [before, after] = [&references[0], &references[1]].map(|reference| {
                            allows(&expected(reference, (src, source), (dst, destination), transport))
                        });
                        let named = difference.changes.iter().find(|change| {
                            *change.src == *src.name
                                && *change.dst == *dst.name
                                && change.family == family
                                && change.ports.contains(transport, 49152, family)
                        });
                        let becomes = match (before, after) {
                            (true, false) => Some("deny"),
                            (false, true) => Some("allow"),
                            _ => None,
                        };
                        prop_assert_eq!(named.map(|change| change.becomes), becomes);
                    }
                }
            }
        }
        let same = diff(&old, &old, |_, _| {});
        prop_assert!(same.is_empty());
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

#[test]
fn every_case_has_the_verdicts_of_its_table() {
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let read = |path: &Path| match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => panic!("{}: {error}", path.display()),
    };
    let Ok(cases) = std::fs::read_dir(testdata.join("cases")) else { panic!("testdata/cases is there") };
    let mut asked = 0;
    for path in cases.flatten().map(|entry| entry.path()) {
        if path.extension().is_none_or(|extension| extension != "probes") {
            continue;
        }
        let texts = [read(&testdata.join("cluster.yaml")), read(&path.with_extension("yaml"))];
        let judge = judge(&texts.join("\n---\n"));
        for line in read(&path).lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [src, dst, protocol, port, verdict, ref family @ ..] = words[..] else { continue };
            if src == "#" {
                continue;
            }
            let family = family.first().map_or(String::new(), |family| format!(r#","family":{family}"#));
            let wire = match (protocol, port.parse::<u16>()) {
                ("ICMP" | "ICMPv6", Ok(port)) => {
                    format!(r#""icmp_type":{},"icmp_code":{}"#, port >> 8, port & 0xff)
                }
                _ => format!(r#""port":{port}"#),
            };
            let json = format!(r#"{{"src":"{src}","dst":"{dst}","protocol":"{protocol}",{wire}{family}}}"#);
            match Probe::from_json(&json).and_then(|probe| judge.answer(&probe)) {
                Ok(answer) => assert_eq!(answer.verdict, verdict, "{}: {line}", path.display()),
                Err(error) => panic!("{}: {line}: {error}", path.display()),
            }
            asked += 1;
        }
    }
    assert!(asked > 100, "only {asked} probes");
}
