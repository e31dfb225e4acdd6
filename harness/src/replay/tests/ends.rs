//! How packets end, how the replay does, and that everything is counted.

use proptest::prelude::*;

use super::*;
use crate::capture::CaptureReader;

#[test]
fn every_pass_counts() {
    let bench = Bench::new();
    let path = bench.capture(&[udp(WEB, DB, (4000, 53)), udp(WEB, DB, (4000, 54))]);
    let report = replay(&bench, &Options { passes: 3, ..options(&path) });
    assert_eq!((report.balance.read, report.balance.forwarded, report.balance.dropped), (6, 3, 3));
    assert_eq!(report.flows.known, 2);
    assert_eq!(report.capture.passes, 3);
}

#[test]
fn rules_are_told_with_file_and_line_and_count_what_they_decided() {
    let bench = Bench::new();
    let frames = [
        tcp(WEB, DB, (4000, 5432), SYN, 0),
        tcp(DB, WEB, (5432, 4000), SYN | ACK, 0),
        tcp(WEB, DB, (4000, 5432), ACK, 0),
        udp(WEB, DB, (4000, 99)),
    ];
    let report = replay(&bench, &options(&bench.capture(&frames)));
    let rule = |needle: &str| {
        let row = report.rules.iter().find(|row| row.rule.contains(needle));
        row.map(|row| (row.action, row.direction, row.count.packets))
    };
    assert_eq!(rule("spec.ingress[0]"), Some(("allow", "ingress", 3)));
    assert!(report.rules.iter().any(|row| row.rule.contains("policy.yaml:9:")), "{:?}", report.rules);
    assert_eq!(rule("default deny"), Some(("deny", "ingress", 1)));
    assert_eq!(rule("not isolated"), Some(("allow", "egress", 3)));
    let [policy] = &report.policies[..] else { panic!("{:?}", report.policies) };
    assert_eq!((policy.allowed.packets, policy.denied.packets), (3, 1));
}

#[test]
fn timeouts_follow_the_captures_stamps() {
    let bench = Bench::new();
    // A reply comes back while the connection lasts, and not after.
    let (question, answer) = (udp(WEB, DB, (4000, 53)), udp(DB, WEB, (53, 4000)));
    let policy = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: web, namespace: shop}\n\
                  spec: {podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress]}\n";
    std::fs::write(bench.path("state/web.yaml"), policy).unwrap();
    let second = 1_000_000_000;
    let packets = [(0, &question), (second, &answer), (400 * second, &answer)]
        .map(|(time, frame)| (time, frame.clone(), frame.len()));
    let file = bench.file(&pcap(1, &packets));
    let expected =
        ["FORWARDED  @ pod shop/web", "FORWARDED  @ pod shop/db", "DROPPED policy_deny @ pod shop/db"];
    for speed in [Speed::Max, Speed::Times(1e6), Speed::PerSecond(1e6)] {
        assert_eq!(outcomes(&bench, Options { speed, ..options(&file) }), expected);
    }
}

#[test]
fn fragments_that_wait_end_with_the_replay_at_the_latest() {
    let bench = Bench::new();
    let whole = [&[0x0f, 0xa0, 0, 53, 0, 24, 0, 0][..], &[1; 16]].concat();
    let first = ethernet(0x0800, &ipv4(WEB, DB, 17, 0x2000, &whole[..16]));
    let later = ethernet(0x0800, &ipv4(WEB, DB, 17, 2, &whole[16..]));
    let mut options = options(&bench.capture(&[later.clone(), first]));
    options.dropped = Some(bench.path("dropped.pcapng"));
    assert_eq!(outcomes(&bench, options.clone()), ["FORWARDED  @ pod shop/web"; 2]);
    options.input = Input::File(bench.capture(std::slice::from_ref(&later)));
    assert_eq!(outcomes(&bench, options), ["DROPPED frag_no_first @ pod shop/web"]);
    let mut reader = CaptureReader::open(&bench.path("dropped.pcapng")).unwrap();
    assert_eq!(reader.next_packet().unwrap().unwrap().bytes, later);
}

#[test]
fn dropped_packets_are_written_as_captured_with_the_deciding_rule() {
    let bench = Bench::new();
    let frames = [udp(WEB, DB, (4000, 53)), udp(WEB, DB, (4000, 99)), udp([10, 244, 1, 10], FAR, (1, 8472))];
    let mut options = options(&bench.capture(&frames));
    options.out = Some(bench.path("out.pcapng"));
    options.dropped = Some(bench.path("dropped.pcapng"));
    replay(&bench, &options);
    let mut reader = CaptureReader::open(&bench.path("dropped.pcapng")).unwrap();
    let packet = reader.next_packet().unwrap().unwrap();
    assert_eq!((packet.bytes, packet.time_ns), (&frames[1][..], Some(1_001_000_000)));
    assert!(reader.next_packet().unwrap().is_none());
    let bytes = std::fs::read(bench.path("dropped.pcapng")).unwrap();
    let comment = "policy_deny: ingress deny: default deny: isolated by NetworkPolicy shop/db";
    assert!(bytes.windows(comment.len()).any(|window| window == comment.as_bytes()));
    let mut reader = CaptureReader::open(&bench.path("out.pcapng")).unwrap();
    let mut names = Vec::new();
    while let Some(packet) = reader.next_packet().unwrap() {
        names.push(packet.interface.name.clone().unwrap());
    }
    assert_eq!(names, ["pod shop/db", "underlay"]);
}

#[test]
fn a_fault_ends_the_replay_after_everything_before_it() {
    let bench = Bench::new();
    let path = bench.capture(&vec![udp(WEB, DB, (4000, 53)); 10]);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.truncate(bytes.len() - 3);
    let file = bench.file(&bytes);
    let mut options = options(&file);
    options.out = Some(bench.path("out.pcapng"));
    let report = replay(&bench, &options);
    assert_eq!(report.balance.forwarded, 9);
    let fault = report.capture.fault.unwrap();
    assert!(fault.contains("in.pcap: byte ") && fault.contains("block 12: the file ends"), "{fault}");
    let mut reader = CaptureReader::open(&bench.path("out.pcapng")).unwrap();
    let mut written = 0;
    while reader.next_packet().unwrap().is_some() {
        written += 1;
    }
    assert_eq!(written, 9);
}

#[test]
fn an_interrupt_leaves_complete_files() {
    let bench = Bench::new();
    let mut options = options(&bench.capture(&vec![udp(WEB, DB, (4000, 53)); 10]));
    options.out = Some(bench.path("out.pcapng"));
    options.record = Some(bench.path("record.jsonl"));
    let report = run(bench.state(), None, &options, &AtomicBool::new(true), &mut |_| {}).unwrap();
    assert!(report.capture.interrupted && report.balance.adds_up);
    assert_eq!(report.balance.read, 0);
    assert!(CaptureReader::open(&bench.path("out.pcapng")).unwrap().next_packet().unwrap().is_none());
}

#[test]
fn an_output_never_replaces_an_input_or_another_output() {
    let bench = Bench::new();
    let path = bench.capture(&[udp(WEB, DB, (4000, 53))]);
    let before = std::fs::read(&path).unwrap();
    let link = bench.path("link.pcapng");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for (out, dropped) in [(&path, None), (&link, None), (&bench.path("x"), Some(bench.path("x")))] {
        let options = Options { out: Some(out.clone()), dropped, ..options(&path) };
        let error = run(bench.state(), None, &options, &AtomicBool::new(false), &mut |_| {}).unwrap_err();
        assert!(matches!(error, ReplayError::SameFile(_)), "{error}");
    }
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn flows_beyond_the_bound_are_counted_together() {
    let bench = Bench::new();
    let frames: Vec<_> = (0..30).map(|port| udp(WEB, DB, (4000 + port, 53))).collect();
    let report = replay(&bench, &Options { max_flows: 10, ..options(&bench.capture(&frames)) });
    assert_eq!((report.flows.known, report.flows.packets_beyond), (10, 20));
    assert_eq!(report.balance.forwarded, 30);
}

#[test]
fn the_report_reads_well() {
    let bench = Bench::new();
    let frames = [udp(WEB, DB, (4000, 53)), udp(WEB, DB, (4000, 99)), udp(OUTSIDE, NODE_A, (4006, 22))];
    let mut report = replay(&bench, &options(&bench.capture(&frames)));
    report.state = "state".into();
    report.capture.file = "in.pcapng".into();
    let text = Text(&report).to_string();
    let (counts, _) = text.split_once("\nspeed").unwrap();
    let counts = counts.replace(&bench.path("state").display().to_string(), "state");
    insta::assert_snapshot!(counts);
}

fn frame() -> impl Strategy<Value = Vec<u8>> {
    let address = prop_oneof![
        Just(WEB),
        Just(DB),
        Just(FAR),
        Just(OUTSIDE),
        Just(NODE_A),
        Just(NODE_B),
        any::<[u8; 4]>()
    ];
    let plain = (
        address.clone(),
        address.clone(),
        any::<u8>(),
        any::<u16>(),
        prop::collection::vec(any::<u8>(), 0..60),
    )
        .prop_map(|(src, dst, protocol, fragment, l4)| {
            ethernet(0x0800, &ipv4(src, dst, protocol, fragment & 0x2003, &l4))
        });
    let ports = prop_oneof![Just(53), Just(5432), any::<u16>()];
    let good = (address.clone(), address.clone(), 4000_u16..4010, ports)
        .prop_map(|(src, dst, sport, dport)| udp(src, dst, (sport, dport)));
    let inner = prop_oneof![plain.clone(), good.clone()];
    let tunnelled = (address.clone(), address, inner).prop_map(|(src, dst, inner)| tunnel(src, dst, &inner));
    let noise = prop::collection::vec(any::<u8>(), 0..120);
    prop_oneof![plain, good, tunnelled, noise]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_is_replayed_every_packet_is_counted_once(
        frames in prop::collection::vec((frame(), prop::option::of((any::<prop::sample::Index>(), any::<u8>())), 0_usize..200), 1..60),
        strict_mac in any::<bool>(),
    ) {
        let bench = Bench::new();
        let packets: Vec<_> = (0..).zip(frames).map(|(number, (mut frame, damage, cut))| {
            if let Some((at, byte)) = damage && !frame.is_empty() {
                let at = at.index(frame.len());
                frame[at] = byte;
            }
            (number * 400_000_000, frame.clone(), frame.len() + cut)
        }).collect();
        let count = packets.len() as u64;
        let file = bench.file(&pcap(1, &packets));
        let mut options = options(&file);
        options.strict_mac = strict_mac;
        options.dropped = Some(bench.path("dropped.pcapng"));
        options.record = Some(bench.path("record.jsonl"));
        let report = replay(&bench, &options);
        prop_assert_eq!(report.balance.read, count);
        prop_assert_eq!(report.balance.held, 0);
        prop_assert_eq!(recorded(&bench.path("record.jsonl")).len() as u64, count);
        let mut reader = CaptureReader::open(&bench.path("dropped.pcapng")).unwrap();
        let mut dropped = 0;
        while reader.next_packet().unwrap().is_some() {
            dropped += 1;
        }
        prop_assert_eq!(dropped, report.balance.dropped);
    }
}
