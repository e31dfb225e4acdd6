//! Verdicts: those of `weir policy eval`, those on record, those of another state.
//!
//! The size of the generated capture is 2 MB; `WEIR_REPLAY_BYTES` asks for another (1000000000 and a release build
//! for the whole promise, memory included).

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::Stdio;

use harness::capture::CaptureReader;
use serde_json::Value;

use super::{count, generated, lines, packets_in, replay, report, weir};

/// What `weir policy eval` says of each flow, as far as node-0 has a say: egress of its pods, ingress of its pods.
fn evaluated(directory: &Path, flows: &[Value]) -> Vec<bool> {
    let here = |address: &str| address.starts_with("10.244.0.") || address.starts_with("fd00:10:244::");
    let mut eval = weir(directory, &["policy", "eval", "--state", "state", "--probes", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut probes = String::new();
    for flow in flows {
        let mut probe = serde_json::Map::new();
        for field in ["src", "dst", "protocol", "port", "sport", "icmp_type", "icmp_code"] {
            if let Some(value) = flow.get(field) {
                probe.insert(field.to_owned(), value.clone());
            }
        }
        writeln!(probes, "{}", Value::from(probe)).unwrap();
    }
    let mut stdin = eval.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(probes.as_bytes()).unwrap());
    let answers = BufReader::new(eval.stdout.take().unwrap());
    let allowed = answers.lines().zip(flows).map(|(answer, flow)| {
        let answer: Value = serde_json::from_str(&answer.unwrap()).unwrap();
        let end = |end: &str, side: &str| {
            !here(flow[end].as_str().unwrap()) || answer[side]["verdict"].as_str().unwrap() == "allow"
        };
        end("src", "egress") && end("dst", "ingress")
    });
    let allowed: Vec<bool> = allowed.collect();
    writer.join().unwrap();
    assert!(eval.wait().unwrap().success());
    assert_eq!(allowed.len(), flows.len());
    allowed
}

/// Packets of each flow of a capture, told by code that shares nothing with the replay's.
fn packets_of_flows(path: &Path) -> HashMap<(String, String, String, u64, u64), u64> {
    use pnet_packet::Packet;
    use pnet_packet::ip::IpNextHeaderProtocols as Next;
    use pnet_packet::{ethernet, ipv4, ipv6, tcp, udp};
    let mut flows = HashMap::new();
    let mut reader = CaptureReader::open(path).unwrap();
    while let Some(packet) = reader.next_packet().unwrap() {
        let name = packet.interface.name.as_deref().unwrap();
        // Outer Ethernet, IPv4, UDP and VXLAN: the cluster's underlay is IPv4.
        let bytes = if name == "underlay" { &packet.bytes[50..] } else { packet.bytes };
        let eth = ethernet::EthernetPacket::new(bytes).unwrap();
        let (src, dst, next, payload) = match eth.get_ethertype() {
            ethernet::EtherTypes::Ipv4 => {
                let ip = ipv4::Ipv4Packet::new(eth.payload()).unwrap();
                let ends = (ip.get_source().to_string(), ip.get_destination().to_string());
                (ends.0, ends.1, ip.get_next_level_protocol(), ip.payload().to_vec())
            }
            ethernet::EtherTypes::Ipv6 => {
                let ip = ipv6::Ipv6Packet::new(eth.payload()).unwrap();
                let ends = (ip.get_source().to_string(), ip.get_destination().to_string());
                (ends.0, ends.1, ip.get_next_header(), ip.payload().to_vec())
            }
            other => panic!("{other}"),
        };
        let (protocol, sport, port) = match next {
            Next::Tcp => {
                let tcp = tcp::TcpPacket::new(&payload).unwrap();
                ("TCP", tcp.get_source(), tcp.get_destination())
            }
            Next::Udp => {
                let udp = udp::UdpPacket::new(&payload).unwrap();
                ("UDP", udp.get_source(), udp.get_destination())
            }
            // One flow per pair and identifier, which the replay does not print: pairs are compared.
            _ => ("ICMP", 0, 0),
        };
        let (sport, port) = (u64::from(sport), u64::from(port));
        let key = if (&src, sport) < (&dst, port) {
            (src, dst, protocol.to_owned(), sport, port)
        } else {
            (dst, src, protocol.to_owned(), port, sport)
        };
        *flows.entry(key).or_default() += 1;
    }
    flows
}

#[test]
fn every_flow_gets_the_verdict_of_policy_eval_and_packets_follow_from_flows() {
    let bytes = std::env::var("WEIR_REPLAY_BYTES").ok().map_or(2_000_000, |bytes| bytes.parse().unwrap());
    let directory = generated(bytes);
    let directory = directory.path();
    let report = report(directory, &replay(&["--flows", "flows.jsonl"]), 0);
    eprintln!(
        "{} bytes: {} packets, {} flows, {:.0} packets/s, peak memory {} bytes",
        bytes,
        report["balance"]["read"],
        report["flows"]["known"],
        report["pacing"]["reached_pps"].as_f64().unwrap(),
        report["peak_memory_bytes"]
    );
    assert!(count(&report["peak_memory_bytes"]) < 200_000_000);
    assert_eq!(report["balance"]["adds_up"], true);
    assert_eq!(report["flows"]["packets_beyond"], 0);

    let flows: Vec<Value> = lines(&directory.join("flows.jsonl")).collect();
    let allowed = evaluated(directory, &flows);
    let mut expected = (0, 0);
    let mut counted = packets_of_flows(&directory.join("made.pcapng"));
    for (flow, allowed) in flows.iter().zip(&allowed) {
        let verdict = if *allowed { "FORWARDED" } else { "DROPPED" };
        assert_eq!(flow["verdict"], verdict, "{flow}");
        let (forwarded, dropped) = (count(&flow["forwarded"]), count(&flow["dropped"]));
        let (passed, other) = if *allowed { (forwarded, dropped) } else { (dropped, forwarded) };
        assert_eq!(other, 0, "all of a flow goes the way of its first packet: {flow}");
        let text = |field: &str| flow[field].as_str().unwrap().to_owned();
        let port = |field: &str| flow.get(field).map_or(0, count);
        let (src, dst, sport, dport) = (text("src"), text("dst"), port("sport"), port("port"));
        let key = if (&src, sport) < (&dst, dport) {
            (src, dst, text("protocol"), sport, dport)
        } else {
            (dst, src, text("protocol"), dport, sport)
        };
        let left = counted.get_mut(&key).unwrap_or_else(|| panic!("not in the capture: {flow}"));
        *left = left.checked_sub(passed).unwrap_or_else(|| panic!("more than in the capture: {flow}"));
        if *allowed { expected.0 += passed } else { expected.1 += passed }
    }
    assert!(counted.values().all(|left| *left == 0), "every packet belongs to a flow");
    assert_eq!(report["balance"]["forwarded"], expected.0);
    assert_eq!(report["balance"]["dropped"], expected.1);
    assert!(expected.0 > 0 && expected.1 > 0);
}

#[test]
fn what_is_forwarded_and_dropped_is_on_file_to_the_packet() {
    let directory = generated(300_000);
    let directory = directory.path();
    let report = report(directory, &replay(&["--out", "out.pcapng", "--dropped", "dropped.pcapng"]), 0);
    assert_eq!(report["balance"]["forwarded"], packets_in(&directory.join("out.pcapng")));
    assert_eq!(report["balance"]["dropped"], packets_in(&directory.join("dropped.pcapng")));
}

#[test]
fn recorded_verdicts_hold_until_the_policy_changes() {
    let directory = generated(300_000);
    let directory = directory.path();
    let copy = std::fs::read_to_string(directory.join("state/cluster.yaml")).unwrap();
    std::fs::create_dir(directory.join("new")).unwrap();
    // The new state is without its last policies.
    let documents: Vec<&str> = copy.split("---\n").collect();
    std::fs::write(directory.join("new/cluster.yaml"), documents[..documents.len() - 60].join("---\n"))
        .unwrap();
    report(directory, &replay(&["--record", "old.jsonl"]), 0);
    let same = report(directory, &replay(&["--expect", "old.jsonl"]), 0);
    assert_eq!(same["expected"]["same"], same["balance"]["read"]);

    let new = ["replay", "made.pcapng", "--state", "new", "--node", "node-0"];
    let differs = report(directory, &[&new[..], &["--expect", "old.jsonl"]].concat(), 1);
    let against = report(directory, &[&new[..], &["--against", "state"]].concat(), 1);
    let changed = count(&against["against"]["packets_changed"]);
    assert!(changed > 0);
    assert_eq!(differs["expected"]["different"], changed);
    assert_eq!(against["against"]["flows_changed"], against["against"]["changes"].as_array().unwrap().len());
    report(directory, &replay(&["--against", "state"]), 0);
}
