//! The UDP underlay against a kernel VTEP.

use std::net::{IpAddr, Ipv4Addr};

use dataplane::buffer::{Checksum, Frame, Gso, GsoKind, Outer, Pool};
use dataplane::ports::Port;
use dataplane::ports::udp::{UdpConfig, UdpUnderlay};
use dataplane::sys::netlink::{Netlink, Vxlan};

use crate::scratch::{Scratch, ip, listener, udp_frame, wait_for};

const WEIR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const KERNEL: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const WEIR_MAC: [u8; 6] = [2, 0, 0, 0, 1, 1];
const KERNEL_MAC: [u8; 6] = [2, 0, 0, 0, 1, 2];
/// Flags with the I bit, VNI 1 (RFC 7348, section 5).
const VXLAN: [u8; 8] = [8, 0, 0, 0, 0, 0, 1, 0];

/// Two nodes joined by a veth: ours, and one that does VXLAN in the kernel.
fn nodes() -> Option<(Scratch, Scratch)> {
    let (ours, theirs) = (Scratch::new()?, Scratch::new()?);
    ours.run(|netlink| {
        netlink.add_veth("underlay", "underlay", Some(&theirs.netns))?;
        plug(netlink, WEIR)
    });
    theirs.run(|netlink| plug(netlink, KERNEL));
    Some((ours, theirs))
}

fn plug(netlink: &Netlink, address: Ipv4Addr) -> std::io::Result<()> {
    let link = netlink.link("underlay")?.unwrap();
    netlink.add_address(link.index, format!("{address}/24").parse().unwrap())?;
    netlink.set_up(link.index, true)
}

fn add_vtep(node: &Scratch, local: Ipv4Addr, mac: [u8; 6]) -> std::io::Result<u32> {
    node.netns
        .run(|| {
            let netlink = Netlink::open()?;
            let dev_index = netlink.link("underlay")?.unwrap().index;
            netlink.add_vxlan(&Vxlan {
                name: "flannel.1",
                vni: 1,
                port: 8472,
                local: IpAddr::V4(local),
                dev_index,
                learning: false,
                mac: Some(mac),
            })?;
            let index = netlink.link("flannel.1")?.unwrap().index;
            netlink.set_up(index, true).map(|()| index)
        })
        .unwrap()
}

fn open(node: &Scratch, checksum: bool) -> std::io::Result<UdpUnderlay> {
    node.netns
        .run(|| UdpUnderlay::open(UdpConfig { local_v4: Some(WEIR), checksum, ..UdpConfig::default() }))
        .unwrap()
}

#[test]
fn frames_pass_to_and_from_a_kernel_vtep_with_and_without_outer_checksum() {
    for checksum in [true, false] {
        let Some((ours, theirs)) = nodes() else { return };
        let mut port = open(&ours, checksum).unwrap();
        let vtep = add_vtep(&theirs, KERNEL, KERNEL_MAC).unwrap();
        theirs.run(|netlink| {
            netlink.add_address(vtep, "10.9.0.2/24".parse().unwrap())?;
            netlink.add_neighbour(vtep, ip(1), WEIR_MAC)?;
            netlink.add_fdb(vtep, WEIR_MAC, IpAddr::V4(WEIR))
        });
        let mut pool = Pool::new(64);
        let (socket, address) = listener(&theirs, 2);

        socket.send_to(b"from the kernel", (ip(1), 9)).unwrap();
        let frame = wait_for(&mut port, &mut pool, |frame| frame.bytes().ends_with(b"from the kernel"));
        assert_eq!(frame.bytes()[..8], VXLAN);
        assert_eq!(frame.bytes()[8..20], [WEIR_MAC, KERNEL_MAC].concat());
        let outer = frame.outer.unwrap();
        assert_eq!((outer.peer, outer.local, outer.tos), (IpAddr::V4(KERNEL), IpAddr::V4(WEIR), 0));
        assert_ne!(outer.source_port, 8472);

        let inner = udp_frame((WEIR_MAC, KERNEL_MAC), (ip(1), ip(2)), address.port(), b"from weir");
        let mut frame = Frame::from_bytes(&[&VXLAN[..], &inner].concat());
        frame.outer =
            Some(Outer { peer: IpAddr::V4(KERNEL), local: IpAddr::V4(WEIR), source_port: 60_000, tos: 0 });
        assert_eq!(port.send(&mut pool, &mut vec![frame]).unwrap().frames, 1);
        let mut buffer = [0; 64];
        let len = socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], b"from weir");
    }
}

#[test]
fn a_kernel_vtep_on_the_port_keeps_the_underlay_out_and_the_other_way_round() {
    let Some((ours, _theirs)) = nodes() else { return };
    let vtep = add_vtep(&ours, WEIR, WEIR_MAC).unwrap();
    let error = open(&ours, true).err().unwrap();
    assert!(error.to_string().contains("kernel vxlan device"), "{error}");
    ours.run(|netlink| netlink.delete_link(vtep));
    let _port = open(&ours, true).unwrap();
    assert!(add_vtep(&ours, WEIR, WEIR_MAC).is_err());
}

#[test]
fn a_peer_without_a_route_costs_only_its_own_frame() {
    let Some((ours, theirs)) = nodes() else { return };
    let mut port = open(&ours, true).unwrap();
    let receiver = theirs.netns.run(|| std::net::UdpSocket::bind((KERNEL, 8472))).unwrap().unwrap();
    receiver.set_read_timeout(Some(crate::scratch::PATIENCE)).unwrap();
    let to = |peer: [u8; 4], bytes: &[u8]| {
        let mut frame = Frame::from_bytes(bytes);
        let (peer, local) = (IpAddr::from(peer), IpAddr::V4(WEIR));
        frame.outer = Some(Outer { peer, local, source_port: 50_000, tos: 0 });
        frame
    };
    // 3000 bytes: more than the underlay's MTU, and sent in fragments since the don't-fragment bit is clear.
    let mut batch =
        vec![to(KERNEL.octets(), b"one"), to([203, 0, 113, 9], b"nowhere"), to(KERNEL.octets(), &[2; 3000])];
    let sent = port.send(&mut Pool::new(8), &mut batch).unwrap();
    assert_eq!((sent.frames, sent.failed), (2, 1));
    let mut buffer = [0; 4000];
    for len in [3, 3000] {
        assert_eq!(receiver.recv(&mut buffer).unwrap(), len);
    }
}

/// An encapsulated TCP segment of so many bytes of payload, its checksum partial, towards the kernel's VTEP.
fn super_packet(payload: usize, source_port: u16) -> Frame {
    let total = u16::try_from(40 + payload).unwrap().to_be_bytes();
    let mut inner =
        [&KERNEL_MAC[..], &WEIR_MAC, &[8, 0, 0x45, 0], &total, &[0, 0, 0x40, 0, 64, 6, 0, 0]].concat();
    inner.extend([10, 9, 0, 1, 10, 9, 0, 2]);
    // Ports 1 and 2, sequence and acknowledgement 0, header of five words, ACK; window, checksum, urgent pointer.
    inner.extend([0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10, 1, 0, 0, 0, 0, 0]);
    inner.extend((0..payload).map(|place| place as u8));
    let mut frame = Frame::from_bytes(&[&VXLAN[..], &inner].concat());
    frame.checksum = Checksum::Partial { start: 42, offset: 16 };
    frame.gso = Some(Gso { kind: GsoKind::Tcp4, size: 1398, ecn: false });
    frame.outer = Some(Outer { peer: IpAddr::V4(KERNEL), local: IpAddr::V4(WEIR), source_port, tos: 0xb8 });
    frame
}

#[test]
fn a_super_packet_arrives_whole_and_in_its_place_among_its_flow() {
    for checksum in [true, false] {
        let Some((ours, theirs)) = nodes() else { return };
        let mut port = open(&ours, checksum).unwrap();
        if !port.capabilities().tso {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "Linux 6.17 or later is needed under CI");
            println!("skipped: this kernel does not segment inside tunnels");
            return;
        }
        let receiver = theirs.netns.run(|| std::net::UdpSocket::bind((KERNEL, 8472))).unwrap().unwrap();
        receiver.set_read_timeout(Some(crate::scratch::PATIENCE)).unwrap();
        let plain = |text: &[u8]| {
            let mut frame = Frame::from_bytes(text);
            frame.outer = Some(Outer {
                peer: IpAddr::V4(KERNEL),
                local: IpAddr::V4(WEIR),
                source_port: 50_001,
                tos: 0,
            });
            frame
        };
        let whole = super_packet(60_000, 50_001);
        let expected = whole.bytes().to_vec();
        let mut batch = vec![plain(b"before"), whole, plain(b"after")];
        let sent = port.send(&mut Pool::new(8), &mut batch).unwrap();
        assert_eq!((sent.frames, sent.congested, sent.failed), (3, 0, 0));
        let mut buffer = vec![0; 70_000];
        let mut ports = Vec::new();
        for expected in [&b"before"[..], &expected, b"after"] {
            let (len, from) = receiver.recv_from(&mut buffer).unwrap();
            assert_eq!(len, expected.len());
            assert!(buffer[..len] == *expected);
            ports.push(from);
        }
        // One source port: one way through the underlay.
        assert!(ports.iter().all(|from| *from == ports[0]), "{ports:?}");
    }
}

#[test]
fn an_underlay_told_to_cut_super_packets_itself_takes_none() {
    let Some((ours, _theirs)) = nodes() else { return };
    let port = ours
        .netns
        .run(|| UdpUnderlay::open(UdpConfig { local_v4: Some(WEIR), whole: false, ..UdpConfig::default() }));
    assert!(!port.unwrap().unwrap().capabilities().tso);
}
