//! Packet sockets as an underlay, on a veth pair: what they take, what they leave, and what arrives of what they send.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::thread::sleep;
use std::time::{Duration, Instant};

use dataplane::buffer::{Batch, Checksum, Frame, Pool};
use dataplane::ports::af_packet::AfPacketPort;
use dataplane::ports::raw::{AfPacketUnderlay, RawConfig};
use dataplane::ports::{Peers, Port, Received};
use dataplane::sys::socket;
use vxlan::Vni;
use vxlan::decap::{UdpChecksum, parse_outer_with};
use vxlan::encap::{OUTER_BYTES_V4, OuterChecksum, OuterConfig, TTL, write_outer};
use vxlan::mac::Mac;

use crate::scratch::{PATIENCE, Scratch, ip, udp_frame};

const PORT: u16 = 8472;

/// A node with weir's underlay, and a peer that uses the kernel's sockets.
struct Pair {
    node: Scratch,
    peer: Scratch,
}

impl Pair {
    fn new() -> Option<Self> {
        let (node, peer) = (Scratch::new()?, Scratch::new()?);
        node.run(|netlink| netlink.add_veth("eth0", "eth0", Some(&peer.netns)));
        let mac = |side: &Scratch| side.run(|netlink| netlink.link("eth0")).unwrap().mac;
        let (near, far) = (mac(&node), mac(&peer));
        node.address("eth0", 1, 2, far);
        peer.address("eth0", 2, 1, near);
        Some(Self { node, peer })
    }

    fn open(&self, ring: bool, queues: usize) -> Vec<AfPacketUnderlay> {
        self.open_with(ring, false, queues)
    }

    /// One queue, which sends by a ring or not.
    fn open_to_send(&self, transmit_ring: bool) -> AfPacketUnderlay {
        self.open_with(false, transmit_ring, 1).pop().unwrap()
    }

    fn open_with(&self, ring: bool, transmit_ring: bool, queues: usize) -> Vec<AfPacketUnderlay> {
        let interface = "eth0".to_owned();
        let config = RawConfig { interface, locals: vec![ip(1)], port: PORT, ring, transmit_ring };
        self.node.netns.run(|| AfPacketUnderlay::open_queues(&config, queues)).unwrap().unwrap()
    }

    /// Where the peer's kernel takes datagrams of the tunnel.
    fn receiver(&self) -> UdpSocket {
        let receiver = self.peer.netns.run(|| UdpSocket::bind((ip(2), PORT))).unwrap().unwrap();
        receiver.set_read_timeout(Some(PATIENCE)).unwrap();
        socket::receive_buffer(receiver.as_fd(), 8 << 20).unwrap();
        receiver
    }

    fn sender(&self) -> UdpSocket {
        self.peer.netns.run(|| UdpSocket::bind((ip(2), 0))).unwrap().unwrap()
    }

    fn macs(&self) -> (Mac, Mac) {
        let mac = |side: &Scratch| Mac(side.run(|netlink| netlink.link("eth0")).unwrap().mac);
        (mac(&self.node), mac(&self.peer))
    }
}

/// Receives until so many frames came; those and what was counted.
fn receive(port: &mut AfPacketUnderlay, pool: &mut Pool, wanted: usize) -> (Batch, Received) {
    let start = Instant::now();
    let (mut batch, mut total) = (Batch::new(), Received::default());
    while batch.len() < wanted && start.elapsed() < PATIENCE {
        let received = port.recv(pool, &mut batch, 64).unwrap();
        total.frames += received.frames;
        total.lost += received.lost;
        total.malformed += received.malformed;
        total.strangers += received.strangers;
        sleep(Duration::from_millis(1));
    }
    (batch, total)
}

fn payload(frame: &Frame) -> &[u8] {
    let trust = matches!(frame.checksum, Checksum::Partial { .. });
    let how = if trust { UdpChecksum::Trust } else { UdpChecksum::Verify };
    let outer = parse_outer_with(frame.bytes(), how).unwrap();
    &frame.bytes()[outer.payload]
}

#[test]
fn datagrams_of_the_tunnel_arrive_and_nothing_else_does() {
    let Some(pair) = Pair::new() else { return };
    for ring in [false, true] {
        let mut queue = pair.open(ring, 1).pop().unwrap();
        let sender = pair.sender();
        // The node's own: another port, and another of its addresses.
        let other = pair.node.netns.run(|| UdpSocket::bind((ip(1), 0))).unwrap().unwrap();
        other.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut pool = Pool::new(64);
        for n in 0..20_u8 {
            sender.send_to(b"the node's", other.local_addr().unwrap()).unwrap();
            sender.send_to(&[n; 100], (ip(1), PORT)).unwrap();
        }
        let (batch, counted) = receive(&mut queue, &mut pool, 20);
        assert_eq!((batch.len(), counted.malformed, counted.lost), (20, 0, 0), "ring: {ring}");
        for (n, frame) in batch.iter().enumerate() {
            assert_eq!(payload(frame), [n as u8; 100]);
        }
        for _ in 0..20 {
            assert_eq!(other.recv(&mut [0; 64]).unwrap(), 10);
        }
        sleep(Duration::from_millis(20));
        assert_eq!(queue.recv(&mut pool, &mut Batch::new(), 64).unwrap(), Received::default());
    }
}

#[test]
fn a_train_of_a_peer_arrives_as_its_datagrams_and_a_strangers_is_left_out() {
    let Some(pair) = Pair::new() else { return };
    for ring in [false, true] {
        let mut queue = pair.open(ring, 1).pop().unwrap();
        let sender = pair.sender();
        socket::set(sender.as_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, 1000).unwrap();
        let bytes: Vec<u8> = (0..40_u8).flat_map(|n| [n; 1000]).chain([40; 7]).collect();
        let mut pool = Pool::new(256);
        sender.send_to(&bytes, (ip(1), PORT)).unwrap();
        let (batch, counted) = receive(&mut queue, &mut pool, 41);
        assert_eq!((batch.len(), counted.malformed, counted.lost), (41, 0, 0), "ring: {ring}");
        for (n, frame) in batch.iter().enumerate() {
            assert_eq!(payload(frame), &vec![n as u8; if n == 40 { 7 } else { 1000 }][..]);
        }

        let peers: Peers = std::sync::Arc::new(|peer| peer == ip(77));
        queue.trust(&peers);
        sender.send_to(&bytes, (ip(1), PORT)).unwrap();
        let start = Instant::now();
        let mut strangers = 0;
        while strangers == 0 && start.elapsed() < PATIENCE {
            strangers += queue.recv(&mut pool, &mut Batch::new(), 64).unwrap().strangers;
        }
        assert_eq!(strangers, 41, "ring: {ring}");
    }
}

/// A frame as weir's pipeline makes it, from the node to the peer.
fn encapsulated((own, peer): (Mac, Mac), inner: &[u8], source_port: u16) -> Frame {
    let config = OuterConfig {
        source_mac: own,
        dest_mac: peer,
        src: ip(1),
        dst: ip(2),
        source_port,
        dest_port: PORT,
        vni: Vni::FLANNEL,
        tos: 0,
        ttl: TTL,
        checksum: OuterChecksum::PseudoHeader,
        identification: 0,
    };
    let mut bytes = vec![0; OUTER_BYTES_V4];
    write_outer(&mut bytes, inner, &config).unwrap();
    bytes.extend_from_slice(inner);
    let mut frame = Frame::from_bytes(&bytes);
    frame.packets = 1;
    frame.checksum = Checksum::Partial { start: 34, offset: 6 };
    frame
}

/// Asserts that exactly these datagrams arrive, in this order.
fn assert_arrive<'a>(receiver: &UdpSocket, wanted: impl IntoIterator<Item = &'a (Vec<u8>, u16)>) {
    let mut buffer = [0; 9000];
    for (inner, port) in wanted {
        let (len, from) = receiver.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[8..len], &inner[..]);
        assert_eq!(from, SocketAddr::new(ip(1), *port));
    }
}

#[test]
fn frames_leave_together_or_alone_and_arrive_as_they_were() {
    for (ring, mtu) in [(false, 1500), (true, 1500), (true, 9000)] {
        let Some(pair) = Pair::new() else { return };
        for side in [&pair.node, &pair.peer] {
            side.run(|netlink| netlink.set_mtu(netlink.link("eth0")?.unwrap().index, mtu));
        }
        let (mut queue, receiver, macs) = (pair.open_to_send(ring), pair.receiver(), pair.macs());
        let longest = mtu as usize - 100;
        // Trains of up to 50, single frames of flows of their own, and several rings full of them.
        let inners: Vec<(Vec<u8>, u16)> = (0..3000_u16)
            .map(|n| {
                let alone = n / 100 % 2 == 1;
                (
                    vec![n as u8; if n % 50 == 49 { 60 } else { longest }],
                    50_000 + if alone { n } else { n / 64 },
                )
            })
            .collect();
        let mut pool = Pool::new(8);
        for chunk in inners.chunks(64) {
            let mut batch: Batch =
                chunk.iter().map(|(inner, port)| encapsulated(macs, inner, *port)).collect();
            let sent = queue.send(&mut pool, &mut batch).unwrap();
            assert_eq!((sent.frames, sent.failed, sent.congested), (chunk.len(), 0, 0), "ring: {ring}");
            assert_arrive(&receiver, chunk);
        }
    }
}

#[test]
fn a_frame_that_cannot_leave_is_counted_and_holds_up_no_other() {
    for ring in [false, true] {
        let Some(pair) = Pair::new() else { return };
        let (mut queue, receiver, macs) = (pair.open_to_send(ring), pair.receiver(), pair.macs());
        let mut pool = Pool::new(8);
        // Longer than the interface takes; and with a checksum outside of it, which the ring's kernel side refuses.
        let too_long = || encapsulated(macs, &[0; 3000], 60_000);
        let senseless = || {
            let mut frame = encapsulated(macs, &[0; 100], 60_001);
            frame.checksum = Checksum::Partial { start: 60_000, offset: 6 };
            frame
        };
        for round in 0..200_u16 {
            let inners: Vec<(Vec<u8>, u16)> =
                (0..6).map(|n| (vec![n as u8; 100], 50_000 + round + n)).collect();
            let mut batch: Batch =
                inners.iter().map(|(inner, port)| encapsulated(macs, inner, *port)).collect();
            batch.insert(5, too_long());
            batch.insert(3, senseless());
            batch.insert(3, senseless());
            batch.insert(0, senseless());
            batch.push(senseless());
            let sent = queue.send(&mut pool, &mut batch).unwrap();
            assert_eq!((sent.frames, sent.failed, sent.congested), (6, 5, 0), "ring: {ring}");
            assert_arrive(&receiver, &inners);
        }
    }
}

#[test]
fn while_the_interface_is_down_frames_fail_and_then_leave_again() {
    for ring in [false, true] {
        let Some(pair) = Pair::new() else { return };
        let (mut queue, receiver, macs) = (pair.open_to_send(ring), pair.receiver(), pair.macs());
        let mut pool = Pool::new(8);
        let inners: Vec<(Vec<u8>, u16)> = (0..20).map(|n| (vec![n as u8; 100], 50_000 + n)).collect();
        let frames =
            || -> Batch { inners.iter().map(|(inner, port)| encapsulated(macs, inner, *port)).collect() };
        let index = queue.info().index;
        pair.node.run(|netlink| netlink.set_up(index, false));
        let sent = queue.send(&mut pool, &mut frames()).unwrap();
        assert_eq!((sent.frames, sent.failed + sent.congested), (0, 20), "ring: {ring}");
        pair.node.run(|netlink| netlink.set_up(index, true));
        // The socket says once more that it was down, to whoever asks first.
        let sent = queue.send(&mut pool, &mut frames()).unwrap();
        assert_eq!(sent.frames + sent.failed, 20, "ring: {ring}");
        assert!(sent.failed <= 1, "ring: {ring}: {sent:?}");
        assert_arrive(&receiver, &inners[sent.failed..]);
        let sent = queue.send(&mut pool, &mut frames()).unwrap();
        assert_eq!((sent.frames, sent.failed, sent.congested), (20, 0, 0), "ring: {ring}");
        assert_arrive(&receiver, &inners);
        pair.node.run(|netlink| netlink.delete_link(index));
        let gone = queue.send(&mut pool, &mut frames()).unwrap_err();
        assert_eq!((gone.sent.frames, gone.sent.failed), (0, 20), "ring: {ring}");
    }
}

#[test]
fn the_queues_share_datagrams_by_flow_and_see_none_twice() {
    let Some(pair) = Pair::new() else { return };
    for ring in [false, true] {
        let mut queues = pair.open(ring, 2);
        let senders: Vec<UdpSocket> = (0..32).map(|_| pair.sender()).collect();
        for sender in &senders {
            sender.send_to(b"x", (ip(1), PORT)).unwrap();
        }
        sleep(Duration::from_millis(100));
        let mut pool = Pool::new(256);
        let seen: Vec<usize> = queues
            .iter_mut()
            .map(|queue| {
                let mut batch = Batch::new();
                queue.recv(&mut pool, &mut batch, 64).unwrap();
                batch.len()
            })
            .collect();
        assert_eq!(seen.iter().sum::<usize>(), 32, "ring: {ring}: {seen:?}");
        assert!(seen.iter().all(|count| *count > 0), "ring: {ring}: {seen:?}");
    }
}

#[test]
fn a_queue_that_is_full_loses_and_says_so_though_nothing_comes_after() {
    for ring in [false, true] {
        let Some(pair) = Pair::new() else { return };
        let mut queue = pair.open(ring, 1).pop().unwrap();
        let sender = pair.sender();
        socket::send_buffer(sender.as_fd(), 1 << 20).unwrap();
        // Ring and buffer have 8 MiB, which the kernel doubles for the buffer.
        let sent = 15_000;
        for _ in 0..sent {
            sender.send_to(&[1; 1400], (ip(1), PORT)).unwrap();
        }
        sleep(Duration::from_millis(50));
        let mut pool = Pool::new(128);
        let (mut got, mut told) = (0, 0);
        loop {
            let mut batch = Batch::new();
            let received = queue.recv(&mut pool, &mut batch, 64).unwrap();
            pool.give_all(batch);
            got += received.frames as u64;
            told += received.lost;
            if received.frames == 0 {
                break;
            }
        }
        let lost = told + queue.losses();
        assert_eq!(queue.losses(), 0, "each is told of once");
        println!("ring: {ring}, sent {sent}, got {got}, lost {lost}");
        assert!(lost > 0);
        assert_eq!(got + lost, sent);
    }
}

#[test]
fn what_carries_a_vlan_tag_is_not_taken() {
    let Some(pair) = Pair::new() else { return };
    let (near, far) = pair.macs();
    let mut wire = pair.peer.netns.run(|| AfPacketPort::open_to_send("eth0")).unwrap().unwrap();
    let mut pool = Pool::new(16);
    for ring in [false, true] {
        let mut queue = pair.open(ring, 1).pop().unwrap();
        // On arrival the kernel takes the tag out of the frame and keeps it beside it.
        for tag in [&[][..], &[0x81, 0, 0, 5], &[0x81, 0, 0, 0], &[0x88, 0xa8, 0, 5, 0x81, 0, 0, 7]] {
            let mut bytes = udp_frame((far.0, near.0), (ip(2), ip(1)), PORT, b"by another network");
            bytes.splice(12..12, tag.iter().copied());
            let sent = wire.send(&mut pool, &mut vec![Frame::from_bytes(&bytes)]).unwrap();
            assert_eq!(sent.frames, 1);
        }
        sleep(Duration::from_millis(20));
        let mut batch = Batch::new();
        let received = queue.recv(&mut pool, &mut batch, 16).unwrap();
        assert_eq!((received.frames, received.malformed), (1, 0), "the untagged one; ring: {ring}");
        pool.give_all(batch);
    }
}

#[test]
fn a_deleted_interface_ends_the_port() {
    for ring in [false, true] {
        let Some(pair) = Pair::new() else { return };
        let mut queue = pair.open(ring, 1).pop().unwrap();
        let mut pool = Pool::new(8);
        let index = queue.info().index;
        pair.node.run(|netlink| netlink.delete_link(index));
        let first = queue.recv(&mut pool, &mut Batch::new(), 8);
        assert!(first.is_err() || queue.recv(&mut pool, &mut Batch::new(), 8).is_err(), "ring: {ring}");
    }
}

#[test]
fn an_address_of_another_host_stays_with_the_kernel() {
    let Some(pair) = Pair::new() else { return };
    let second: IpAddr = Ipv4Addr::new(10, 9, 0, 9).into();
    pair.node.run(|netlink| {
        let link = netlink.link("eth0")?.unwrap();
        netlink.add_address(link.index, "10.9.0.9/24".parse().unwrap())
    });
    let mut queue = pair.open(false, 1).pop().unwrap();
    let own = pair.node.netns.run(|| UdpSocket::bind((second, PORT))).unwrap().unwrap();
    own.set_read_timeout(Some(PATIENCE)).unwrap();
    pair.sender().send_to(b"to the other address", (second, PORT)).unwrap();
    assert_eq!(own.recv(&mut [0; 64]).unwrap(), 20);
    let received = queue.recv(&mut Pool::new(8), &mut Batch::new(), 8).unwrap();
    assert_eq!(received.frames, 0);
}
