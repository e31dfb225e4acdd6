//! Where packets enter, and what they are made into for that.

use super::*;

#[test]
fn packets_enter_where_their_addresses_say() {
    let bench = Bench::new();
    let inner = udp(FAR, WEB, (4000, 80));
    let frames = [
        udp(WEB, DB, (4000, 53)),
        udp(WEB, FAR, (4001, 80)),
        tunnel(NODE_B, NODE_A, &inner),
        // Captured behind the tunnel, and in front of it.
        udp(FAR, DB, (4002, 80)),
        tunnel(NODE_A, NODE_B, &udp(WEB, FAR, (4003, 80))),
        udp(OUTSIDE, WEB, (4004, 80)),
        udp(NODE_A, WEB, (4005, 80)),
        udp(OUTSIDE, NODE_A, (4006, 22)),
        udp(FAR, OUTSIDE, (4007, 80)),
        udp([10, 244, 1, 99], WEB, (4008, 80)),
        ethernet(0x88cc, &[0; 50]),
        b"short".to_vec(),
        udp(WEB, DB, (4009, 54)),
    ];
    assert_eq!(
        verdicts(&bench, &frames, |_| {}),
        [
            "FORWARDED  @ pod shop/web",
            "FORWARDED  @ pod shop/web",
            "FORWARDED  @ underlay",
            "DROPPED policy_deny @ underlay (unwrapped)",
            "FORWARDED  @ pod shop/web",
            "FORWARDED  @ node",
            "FORWARDED  @ node",
            "LEFT_OUT no_pod @ -",
            "LEFT_OUT other_nodes @ -",
            "LEFT_OUT unknown_pod @ -",
            "LEFT_OUT no_address @ -",
            "LEFT_OUT no_address @ -",
            "DROPPED policy_deny @ pod shop/web",
        ]
    );
}

#[test]
fn arp_of_a_pod_for_its_gateway_is_answered() {
    let bench = Bench::new();
    let mut arp = vec![0, 1, 8, 0, 6, 4, 0, 1];
    arp.extend(SOME_MAC);
    arp.extend(WEB);
    arp.extend([0; 6]);
    arp.extend([10, 244, 1, 1]);
    let mut frame = ethernet(0x0806, &arp);
    frame[..6].fill(0xff);
    assert_eq!(verdicts(&bench, &[frame], |_| {}), ["ANSWERED  @ pod shop/web"]);
}

#[test]
fn every_link_type_is_judged_alike() {
    let bench = Bench::new();
    let packets = [udp_packet(WEB, DB, (4000, 53), b"q"), udp_packet(WEB, DB, (4000, 54), b"q")];
    let expected = ["FORWARDED  @ pod shop/web", "DROPPED policy_deny @ pod shop/web"];
    let cooked = |packet: &[u8]| [&[0, 0, 0, 1, 0, 6][..], &SOME_MAC, &[0, 0, 8, 0], packet].concat();
    let cooked2 =
        |packet: &[u8]| [&[8, 0, 0, 0, 0, 0, 0, 5, 0, 1, 0, 6][..], &SOME_MAC, &[0, 0], packet].concat();
    let raw = |packet: &[u8]| packet.to_vec();
    let framed = |packet: &[u8]| ethernet(0x0800, packet);
    type Form<'a> = (u32, &'a dyn Fn(&[u8]) -> Vec<u8>);
    let forms: [Form<'_>; 4] = [(1, &framed), (101, &raw), (113, &cooked), (276, &cooked2)];
    for (link, form) in forms {
        let packets = packets.each_ref().map(|packet| {
            let bytes = form(packet);
            let len = bytes.len();
            (5, bytes, len)
        });
        // With a header of their own MACs are judged.
        for strict_mac in [false, link != 1] {
            let file = bench.file(&pcap(link, &packets));
            assert_eq!(
                outcomes(&bench, Options { strict_mac, ..options(&file) }),
                expected,
                "link type {link}"
            );
        }
    }
    let file = bench.file(&pcap(147, &[(5, vec![0; 60], 60)]));
    assert_eq!(outcomes(&bench, options(&file)), ["LEFT_OUT link_type @ -"]);
}

#[test]
fn packets_cut_by_a_snap_length_are_judged_whole_and_written_cut() {
    let bench = Bench::new();
    let plain = tcp(WEB, DB, (4000, 5432), SYN, 1000);
    let tunnelled =
        tunnel(NODE_B, NODE_A, &udp(FAR, WEB, (1, 2)).into_iter().chain([0; 900]).collect::<Vec<_>>());
    let packets = [(1, plain[..64].to_vec(), plain.len()), (2, tunnelled[..96].to_vec(), tunnelled.len())];
    let file = bench.file(&pcap(1, &packets));
    let mut options = options(&file);
    options.out = Some(bench.path("out.pcapng"));
    assert_eq!(outcomes(&bench, options), ["FORWARDED  @ pod shop/web", "FORWARDED  @ underlay"]);
    let mut reader = crate::capture::CaptureReader::open(&bench.path("out.pcapng")).unwrap();
    let first = reader.next_packet().unwrap().unwrap();
    assert_eq!((first.bytes.len(), first.original_len as usize), (64, plain.len()));
    assert_eq!(first.time_ns, Some(1));
    assert_eq!(first.interface.name.as_deref(), Some("pod shop/db"));
    // A length that no frame has is the capture's mistake, not ours.
    let file = bench.file(&pcap(1, &[(1, plain, 0xffff_ffff)]));
    assert_eq!(outcomes(&bench, super::options(&file)), ["FORWARDED  @ pod shop/web"]);
}

#[test]
fn segments_joined_by_an_offload_are_cut_again() {
    let bench = Bench::new();
    let open = tcp(FAR, WEB, (4000, 80), SYN, 0);
    let joined = tcp(FAR, WEB, (4000, 80), ACK, 20_000);
    let frames = [
        tunnel(NODE_B, NODE_A, &open),
        tcp(WEB, FAR, (80, 4000), SYN | ACK, 0),
        tunnel(NODE_B, NODE_A, &joined),
        tcp(WEB, FAR, (80, 4000), ACK, 20_000),
    ];
    let path = bench.capture(&frames);
    let report = replay(&bench, &options(&path));
    assert_eq!(report.balance.forwarded, 4, "{:?}", report.drops);
    assert_eq!(report.fitted.joined, 2);
    let sent = |name: &str| report.ports.iter().find(|row| row.port == name).unwrap().sent.packets;
    assert!(sent("pod shop/web") > 10 && sent("underlay") > 10);
}

#[test]
fn rules_of_a_map_come_before_addresses() {
    let bench = Bench::new();
    let frames = [udp(WEB, DB, (4000, 53)), udp(OUTSIDE, WEB, (4000, 80)), udp(OUTSIDE, DB, (4001, 80))];
    let map = |rules: &[&str]| {
        let rules: Vec<MapRule> = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        verdicts(&bench, &frames, |options| options.map = rules)
    };
    assert_eq!(
        map(&["dst:10.244.1.10=leave-out", "if:eth0,src:198.51.100.0/24=pod:shop/web", "if:#0=node"]),
        ["DROPPED spoofed_src @ node", "LEFT_OUT map @ -", "DROPPED spoofed_src @ pod shop/web"]
    );
    let path = bench.capture(&frames);
    let mut options = options(&path);
    options.map = vec!["any=pod:shop/nobody".parse().unwrap()];
    let error = run(bench.state(), None, &options, &AtomicBool::new(false), &mut |_| {}).unwrap_err();
    assert_eq!(
        error.to_string(),
        "--map: shop/nobody is no pod of node node-a: expected one of shop/db, shop/web"
    );
}

#[test]
fn strict_macs_show_who_speaks_as_another() {
    let bench = Bench::new();
    let gateway = bench.state().generation.own.gateway_mac;
    let mut first = udp(WEB, DB, (4000, 53));
    first[..6].copy_from_slice(&gateway.0);
    let mut spoofed = first.clone();
    spoofed[11] ^= 1;
    let frames = [first, spoofed];
    assert_eq!(
        verdicts(&bench, &frames, |options| options.strict_mac = true),
        ["FORWARDED  @ pod shop/web", "DROPPED spoofed_src @ pod shop/web"]
    );
    assert_eq!(verdicts(&bench, &frames, |_| {}), ["FORWARDED  @ pod shop/web"; 2]);
}
