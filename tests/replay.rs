//! `weir replay` as people and scripts meet it, and its promise: what it says of recorded traffic is what
//! `weir policy eval` says of the same connections, packet by packet.
//!
//! The size of the generated capture is 2 MB; `WEIR_REPLAY_BYTES` asks for another (1000000000 and a release build
//! for the whole promise, memory included).

mod support;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use dataplane::sys::netlink::Netlink;
use dataplane::sys::netns::Netns;
use harness::capture::CaptureReader;
use harness::generate::ClusterShape;
use serde_json::Value;

fn weir(directory: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(args).current_dir(directory).env("NO_COLOR", "1");
    command
}

fn run(directory: &Path, args: &[&str]) -> Output {
    weir(directory, args).stdin(Stdio::null()).output().unwrap()
}

/// Runs to its end, with a JSON report.
#[track_caller]
fn report(directory: &Path, args: &[&str], exit: i32) -> Value {
    let output = run(directory, &[args, &["-o", "json"]].concat());
    let problems = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(exit), "{args:?}: {problems}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {problems}"))
}

/// A directory with a generated cluster (in `state`) and a capture of node-0 (`made.pcapng`).
fn generated(bytes: u64) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let shape = ClusterShape { nodes: 4, pods_per_node: 40, namespaces: 6, policies: 80, seed: 3 };
    std::fs::create_dir(directory.path().join("state")).unwrap();
    std::fs::write(directory.path().join("state/cluster.yaml"), shape.manifests()).unwrap();
    let size = bytes.to_string();
    let args = ["lab", "capture", "--state", "state", "--node", "node-0", "--out", "made.pcapng", "--size"];
    let output = run(directory.path(), &[&args[..], &[&size, "--denied", "40", "--seed", "5"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    directory
}

const REPLAY: [&str; 6] = ["replay", "made.pcapng", "--state", "state", "--node", "node-0"];

fn replay<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&REPLAY[..], more].concat()
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

fn lines(path: &Path) -> impl Iterator<Item = Value> {
    let file = BufReader::new(std::fs::File::open(path).unwrap());
    file.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap())
}

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

#[test]
fn a_fault_exits_2_with_its_place_after_everything_before_it_was_reported() {
    let directory = generated(300_000);
    let directory = directory.path();
    let mut bytes = std::fs::read(directory.join("made.pcapng")).unwrap();
    bytes.truncate(200_001);
    std::fs::write(directory.join("made.pcapng"), bytes).unwrap();
    let output = run(directory, &replay(&["--out", "out.pcapng"]));
    assert_eq!(output.status.code(), Some(2));
    let problems = String::from_utf8(output.stderr).unwrap();
    assert!(problems.contains("made.pcapng: byte ") && problems.contains("the file ends"), "{problems}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("adds up") && text.contains("the capture ends early"), "{text}");
    assert!(CaptureReader::open(&directory.join("out.pcapng")).unwrap().next_packet().unwrap().is_some());
    for (name, bytes) in [("empty", &b""[..]), ("text", b"no capture"), ("zipped", b"\x1f\x8b\x08\x00....")] {
        std::fs::write(directory.join("made.pcapng"), bytes).unwrap();
        let output = run(directory, &REPLAY);
        assert_eq!(output.status.code(), Some(2), "{name}");
        assert!(String::from_utf8(output.stderr).unwrap().contains("made.pcapng: byte 0"), "{name}");
    }
}

/// Packets on file.
fn packets_in(path: &Path) -> u64 {
    let mut reader = CaptureReader::open(path).unwrap();
    let mut count = 0;
    while reader.next_packet().unwrap().is_some() {
        count += 1;
    }
    count
}

#[test]
fn hostile_captures_end_in_a_located_error_after_everything_before_it_is_on_file() {
    let directory = generated(200_000);
    let directory = directory.path();
    let good = std::fs::read(directory.join("made.pcapng")).unwrap();
    let whole = report(directory, &REPLAY, 0);
    let number = |value: u32| value.to_le_bytes();
    let block = |kind: u32, length: u32, body: &[u8], again: u32| {
        [&number(kind)[..], &number(length), body, &number(again)].concat()
    };
    let faults: [(&str, Vec<u8>, &str); 7] = [
        ("half a block", block(6, 60, &[0; 20], 0), "the file ends"),
        ("a packet block of 4 GB", block(6, 0xffff_fffc, &[0; 40], 0), "4294967292"),
        ("a block of 4 GB to skip", block(0x0bad, 0xffff_fffc, &[0; 40], 0), "the file ends"),
        ("a block that loops on itself", block(6, 0, &[], 0), "block"),
        ("a block of its own header", block(5, 8, &[], 8), "block"),
        ("lengths that differ", block(5, 16, &[0; 4], 20), "20"),
        ("a packet of 4 GB in a small block", block(6, 36, &[[0; 12], [0xff; 12]].concat(), 36), "block"),
    ];
    for (name, fault, words) in faults {
        std::fs::write(directory.join("made.pcapng"), [&good[..], &fault].concat()).unwrap();
        let outputs = ["--out", "out.pcapng", "--dropped", "dropped.pcapng", "--record", "record.jsonl"];
        let output = run(directory, &replay(&[&outputs[..], &["-o", "json"]].concat()));
        let problems = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}: {problems}");
        let place = problems.split("made.pcapng: byte ").nth(1);
        let place = place.unwrap_or_else(|| panic!("{name}: {problems}"));
        let byte: usize = place.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap();
        assert!((good.len()..=good.len() + fault.len()).contains(&byte), "{name}: {problems}");
        assert!(problems.contains(words), "{name}: {problems}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["balance"], whole["balance"], "{name}");
        assert_eq!(report["balance"]["forwarded"], packets_in(&directory.join("out.pcapng")), "{name}");
        assert_eq!(report["balance"]["dropped"], packets_in(&directory.join("dropped.pcapng")), "{name}");
        let recorded = lines(&directory.join("record.jsonl")).count() as u64;
        assert_eq!(report["balance"]["read"], recorded, "{name}");
        assert!(count(&report["peak_memory_bytes"]) < 200_000_000, "{name}");
    }
}

fn interrupt(child: &Child) {
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
}

#[test]
fn ctrl_c_reports_what_was_processed_and_leaves_complete_files() {
    let directory = generated(300_000);
    let directory = directory.path();
    let mut child = weir(directory, &replay(&["--speed", "200pps", "--out", "out.pcapng", "-o", "json"]))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    interrupt(&child);
    let begin = Instant::now();
    let status = child.wait().unwrap();
    assert!(begin.elapsed() < Duration::from_secs(5));
    assert_eq!(status.code(), Some(130));
    let report: Value = serde_json::from_reader(child.stdout.take().unwrap()).unwrap();
    assert_eq!(report["capture"]["interrupted"], true);
    assert_eq!(report["balance"]["adds_up"], true);
    let forwarded = count(&report["balance"]["forwarded"]);
    assert!(forwarded > 0);
    assert_eq!(forwarded, packets_in(&directory.join("out.pcapng")));
}

#[test]
fn ctrl_c_at_full_speed_loses_nothing_from_any_file() {
    let directory = generated(300_000);
    let directory = directory.path();
    let files = ["--out", "out.pcapng", "--dropped", "dropped.pcapng", "--record", "record.jsonl"];
    let more = ["--flows", "flows.jsonl", "--loop", "1000000", "-o", "json"];
    let mut child = weir(directory, &replay(&[&files[..], &more].concat()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(700));
    interrupt(&child);
    let begin = Instant::now();
    let status = child.wait().unwrap();
    assert!(begin.elapsed() < Duration::from_secs(5));
    assert_eq!(status.code(), Some(130));
    let report: Value = serde_json::from_reader(child.stdout.take().unwrap()).unwrap();
    let balance = &report["balance"];
    assert_eq!((&report["capture"]["interrupted"], &balance["adds_up"]), (&true.into(), &true.into()));
    assert_eq!(balance["forwarded"], packets_in(&directory.join("out.pcapng")));
    assert_eq!(balance["dropped"], packets_in(&directory.join("dropped.pcapng")));
    assert_eq!(balance["read"], lines(&directory.join("record.jsonl")).count() as u64);
    let flows: Vec<Value> = lines(&directory.join("flows.jsonl")).collect();
    let sum = |field: &str| flows.iter().map(|flow| count(&flow[field])).sum::<u64>();
    assert_eq!(
        (&balance["forwarded"], &balance["dropped"]),
        (&sum("forwarded").into(), &sum("dropped").into())
    );
}

#[test]
fn a_capture_may_come_through_a_pipe() {
    let directory = generated(200_000);
    let directory = directory.path();
    let file = std::fs::File::open(directory.join("made.pcapng")).unwrap();
    let args = ["replay", "-", "--state", "state", "--node", "node-0", "-o", "json"];
    let output = weir(directory, &args).stdin(file).output().unwrap();
    assert!(output.status.success());
    let piped: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(piped["balance"], report(directory, &REPLAY, 0)["balance"]);
}

#[test]
fn bad_usage_exits_2_and_says_how_to_mend_it() {
    let directory = generated(50_000);
    let directory = directory.path();
    for (args, words) in [
        (&["replay", "made.pcapng", "--state", "state", "--node", "node-9"][..], "did you mean"),
        (&["replay", "made.pcapng", "--state", "gone", "--node", "node-0"], "gone"),
        (&["replay", "none.pcap", "--state", "state", "--node", "node-0"], "none.pcap"),
        (&["replay", "made.pcapng"], "--state"),
        (&["replay", "made.pcapng", "--to", "lo", "--state", "state"], "--to"),
        (&[&REPLAY[..], &["--speed", "fast"]].concat(), "500kpps"),
        (&[&REPLAY[..], &["--map", "x"]].concat(), "CONDITION"),
        (&[&REPLAY[..], &["--out", "made.pcapng"]].concat(), "named twice"),
        (&["replay", "-", "--loop", "2", "--state", "state", "--node", "node-0"], "--loop"),
        (&["lab", "capture", "--state", "state", "--node", "node-0", "--out", "x", "--size", "big"], "MB"),
    ] {
        let output = run(directory, args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let problems = String::from_utf8(output.stderr).unwrap();
        assert!(problems.contains(words), "{args:?}: {problems}");
    }
}

#[test]
fn a_capture_leaves_through_a_real_interface() {
    let Some(_turn) = support::turn() else { return };
    let directory = generated(100_000);
    let directory = directory.path();
    let name = format!("weir-replay-{}", std::process::id());
    let netns = Netns::create(&name).unwrap();
    let sent = netns.run(|| {
        let netlink = Netlink::open().unwrap();
        netlink.add_veth("out0", "in0", None).unwrap();
        for interface in ["out0", "in0"] {
            netlink.set_up(netlink.link(interface).unwrap().unwrap().index, true).unwrap();
        }
        report(directory, &["replay", "made.pcapng", "--to", "out0", "--loop", "2"], 0)
    });
    drop(netns);
    Netns::delete(&name).unwrap();
    let sent = sent.unwrap();
    let read = count(&sent["capture"]["read"]["packets"]);
    assert!(read > 100);
    assert_eq!((&sent["sent"], &sent["adds_up"]), (&read.into(), &true.into()));
    // The kernel's own packets (IPv6 configures itself) may be among those it counts. Its counters are those of the
    // namespace that /sys was mounted in: they are absent here.
    assert!(sent.get("interface_sent").is_none_or(|count| count.as_u64().unwrap() >= read));
}
