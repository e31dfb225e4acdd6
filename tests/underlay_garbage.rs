//! Garbage on the underlay ends nothing and gets nowhere, and each kind is counted under its reason.

mod support;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use harness::lab::cluster_state::POLICIES;
use harness::lab::plan::{Family, Side};
use harness::lab::topology::{find, within};
use harness::lab::{Attach, Lab, NodeKind};
use harness::traffic::pattern::Pattern;
use harness::traffic::{Reach, tcp};
use support::capture::{Capture, mentions};
use support::wire::{ARP, ICMP, IPV4, IPV6, UDP, echo_request, ethernet, ip, ipv4, udp, vxlan};
use support::{build, drops, lab, must, status, turn, wait_until};

/// The I flag (RFC 7348 section 5).
const VALID: u8 = 0x08;
const VNI: u32 = 1;
/// An address on node B's underlay interface that is no node's.
const STRANGER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);
/// A pod address of node B's subnet.
const FAR_POD: IpAddr = IpAddr::V4(Side::B.pod_v4(10));
/// A pod of node A.
const NEAR_POD: IpAddr = IpAddr::V4(Side::A.pod_v4(12));

/// A frame from node B's VTEP to node A's.
fn inner(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    ethernet(Side::A.vtep_mac(), Side::B.vtep_mac(), ethertype, payload)
}

/// A ping from `src` to `dst` in a VXLAN packet.
fn tunnelled(src: IpAddr, dst: IpAddr) -> Vec<u8> {
    let (ethertype, packet) = match src {
        IpAddr::V4(_) => ip(src, dst, ICMP, &echo_request(7)),
        IpAddr::V6(_) => ip(src, dst, UDP, &udp(src, dst, 7, 9090, b"weir")),
    };
    vxlan(VALID, VNI, &inner(ethertype, &packet))
}

/// Each kind, with the reason it is to be counted under.
fn kinds() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let v4 = |side: Side, host| IpAddr::from(side.pod_v4(host));
    let v6 = |side: Side, host| IpAddr::from(side.pod_v6(host));
    let good = tunnelled(FAR_POD, NEAR_POD);
    let frame = good[8..].to_vec();
    let (IpAddr::V4(far), IpAddr::V4(near)) = (FAR_POD, NEAR_POD) else { unreachable!("both are IPv4") };
    let packet = |ttl| ipv4(far, near, ttl, ICMP, &echo_request(7));
    let altered = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    let node_a = IpAddr::from(Side::A.underlay_v4());
    let within_udp = |dst: IpAddr, port, payload: &[u8]| {
        let (ethertype, packet) = ip(FAR_POD, dst, UDP, &udp(FAR_POD, dst, 50_000, port, payload));
        vxlan(VALID, VNI, &inner(ethertype, &packet))
    };
    let mut long = packet(64);
    long[2..4].copy_from_slice(&2000_u16.to_be_bytes());
    let outside = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 10));
    let mut group_source = frame.clone();
    group_source[6] |= 1;
    let mut broadcast = frame.clone();
    broadcast[..6].fill(0xff);
    vec![
        ("an empty datagram", Vec::new(), "truncated"),
        ("a cut VXLAN header", good[..7].to_vec(), "truncated"),
        ("nothing behind the VXLAN header", good[..8].to_vec(), "truncated"),
        ("a cut Ethernet header", good[..8 + 13].to_vec(), "truncated"),
        ("a cut IP header", good[..8 + 14 + 19].to_vec(), "truncated"),
        ("no I flag", altered(0, 0), "vxlan_flags"),
        ("another VNI", vxlan(VALID, 2, &frame), "vni_mismatch"),
        ("the largest VNI", vxlan(VALID, 0x00ff_ffff, &frame), "vni_mismatch"),
        ("an inner broadcast", vxlan(VALID, VNI, &broadcast), "inner_l2"),
        ("an inner group source", vxlan(VALID, VNI, &group_source), "inner_l2"),
        ("inner ARP", vxlan(VALID, VNI, &inner(ARP, &[0; 28])), "control_over_overlay"),
        (
            "an inner VLAN tag",
            vxlan(VALID, VNI, &inner(0x8100, &[&[0, 5, 8, 0][..], &packet(64)].concat())),
            "inner_l2",
        ),
        ("an inner source of node A", tunnelled(v4(Side::A, 10), NEAR_POD), "inner_src_mismatch"),
        ("an inner source that is the gateway", tunnelled(v4(Side::A, 1), NEAR_POD), "inner_src_mismatch"),
        ("an inner source of nobody", tunnelled(outside, NEAR_POD), "inner_src_mismatch"),
        ("an inner IPv6 source of node A", tunnelled(v6(Side::A, 10), v6(Side::A, 12)), "inner_src_mismatch"),
        ("a destination outside", tunnelled(FAR_POD, outside), "not_local"),
        ("a destination on the sender's node", tunnelled(FAR_POD, v4(Side::B, 12)), "not_local"),
        ("a pod that is not there", tunnelled(FAR_POD, v4(Side::A, 200)), "not_local"),
        ("a tunnel in the tunnel", within_udp(node_a, 8472, &good), "nested_tunnel"),
        ("an expired TTL", vxlan(VALID, VNI, &inner(IPV4, &packet(1))), "ttl_expired"),
        ("an IP length beyond the packet", vxlan(VALID, VNI, &inner(IPV4, &long)), "length_mismatch"),
        (
            "IPv4 that calls itself IPv6",
            vxlan(VALID, VNI, &inner(IPV6, &[packet(64), vec![0; 40]].concat())),
            "bad_header",
        ),
    ]
}

/// A socket in node B's namespace, which the kernel there takes for an ordinary one.
fn sender(lab: &Lab, from: Ipv4Addr) -> UdpSocket {
    let socket = lab.topology().node(Side::B).netns().run(|| UdpSocket::bind((from, 0))).unwrap().unwrap();
    socket.connect((Side::A.underlay_v4(), 8472)).unwrap();
    socket
}

fn traffic_goes_on(lab: &Lab, pid: Option<u32>) {
    assert_eq!(lab.weir(Side::A).unwrap().pid(), pid);
    let to = must(lab.pod("shop/backend")).address(Family::V4);
    let frontend = must(lab.pod("shop/frontend"));
    let reach = tcp::probe(&frontend.netns, SocketAddr::new(to, 8080), Duration::from_secs(3)).unwrap();
    assert_eq!(reach, Reach::Open);
}

fn garbage_is_counted_by_its_kind(attach: Attach) {
    let Some(_turn) = turn() else { return };
    let lab = build(lab().nodes([NodeKind::Weir, NodeKind::Kernel]).attach(attach).policies(&POLICIES));
    let pid = lab.weir(Side::A).unwrap().pid();
    let outside = Capture::on(lab.topology().outside[0].netns(), Side::A.name());
    let node = sender(&lab, Side::B.underlay_v4());
    for (name, packet, reason) in kinds() {
        let before = status(&lab, Side::A);
        node.send(&packet).unwrap();
        let counted =
            |lab: &Lab| drops(lab, Side::A, reason) > before.drops.get(reason).copied().unwrap_or(0);
        let start = std::time::Instant::now();
        while !counted(&lab) {
            let now = status(&lab, Side::A);
            assert!(
                start.elapsed() < Duration::from_secs(2),
                "{name}: not counted as {reason}; before {:?}, now {:?}",
                before.drops,
                now.drops
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    let leaked: Vec<_> = outside.take().into_iter().filter(|frame| mentions(frame, FAR_POD)).collect();
    assert!(leaked.is_empty(), "{leaked:02x?}");
    support::assert_books_balance(&lab, Side::A);
    traffic_goes_on(&lab, pid);
}

#[test]
fn garbage_is_counted_by_its_kind_with_tap_pods() {
    garbage_is_counted_by_its_kind(Attach::Tap);
}

#[test]
fn garbage_is_counted_by_its_kind_with_veth_pods() {
    garbage_is_counted_by_its_kind(Attach::Veth);
}

#[test]
fn what_is_good_comes_through_the_same_socket() {
    let Some(_turn) = turn() else { return };
    // A control: were the packets above wrong in another way than meant, this one would be dropped as well.
    let lab = build(lab().nodes([NodeKind::Weir, NodeKind::Kernel]));
    let seen = Capture::on(&must(lab.pod("default/intruder")).netns, "eth0");
    sender(&lab, Side::B.underlay_v4()).send(&tunnelled(FAR_POD, NEAR_POD)).unwrap();
    wait_until("the ping to arrive at the pod", Duration::from_secs(3), || {
        seen.take().iter().any(|frame| mentions(frame, FAR_POD))
    });
}

#[test]
fn vxlan_from_a_host_that_is_no_node_is_not_looked_into() {
    let Some(_turn) = turn() else { return };
    let lab = build(lab().nodes([NodeKind::Weir, NodeKind::Kernel]));
    let pid = lab.weir(Side::A).unwrap().pid();
    within(lab.topology().node(Side::B).netns(), |netlink| {
        let net = format!("{STRANGER}/24").parse().unwrap();
        netlink.add_address(find(netlink, "eth0")?.index, net)
    })
    .unwrap();
    let stranger = sender(&lab, STRANGER);
    let seen = Capture::on(&must(lab.pod("default/intruder")).netns, "eth0");
    let before = status(&lab, Side::A);
    for packet in [tunnelled(FAR_POD, NEAR_POD), vec![0; 3], Vec::new()] {
        stranger.send(&packet).unwrap();
    }
    wait_until("all three to be counted", Duration::from_secs(2), || {
        drops(&lab, Side::A, "vtep_unknown") == 3
    });
    let after = status(&lab, Side::A);
    let others = |drops: &std::collections::BTreeMap<String, u64>| {
        ["truncated", "vxlan_flags", "inner_l2"].map(|reason| drops.get(reason).copied().unwrap_or(0))
    };
    assert_eq!(others(&before.drops), others(&after.drops));
    assert!(seen.take().iter().all(|frame| !mentions(frame, FAR_POD)));
    traffic_goes_on(&lab, pid);
}

#[test]
fn random_bytes_are_dropped_to_the_last_one() {
    const DATAGRAMS: u64 = 4000;
    let Some(_turn) = turn() else { return };
    let lab = build(lab().nodes([NodeKind::Weir, NodeKind::Kernel]));
    let pid = lab.weir(Side::A).unwrap().pid();
    let node = sender(&lab, Side::B.underlay_v4());
    let before = status(&lab, Side::A).packets;
    let seed = 0x5eed;
    println!("seed {seed:#x}");
    let mut pattern = Pattern::new(seed);
    for number in 0..DATAGRAMS {
        let mut length = [0; 2];
        pattern.fill(&mut length);
        let mut bytes = vec![0; usize::from(u16::from_le_bytes(length)) % 1400];
        pattern.fill(&mut bytes);
        // Three in four get past a layer more: header, MACs, a version nibble.
        let start = [vxlan(VALID, VNI, &inner(IPV4, &[0x45])), vxlan(VALID, VNI, &inner(IPV6, &[0x60]))];
        let right = &start[usize::from(number % 2 == 0)];
        let depth = [0, 8, 8 + 14, right.len()][usize::try_from(number % 4).unwrap()].min(bytes.len());
        bytes[..depth].copy_from_slice(&right[..depth]);
        node.send(&bytes).unwrap();
        if number % 64 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    wait_until("all to be counted as dropped", Duration::from_secs(3), || {
        status(&lab, Side::A).packets.dropped - before.dropped >= DATAGRAMS
    });
    println!("{:?}", status(&lab, Side::A).drops);
    support::assert_books_balance(&lab, Side::A);
    traffic_goes_on(&lab, pid);
}
