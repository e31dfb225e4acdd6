//! AF_PACKET ports on veth pairs.

use std::io;
use std::thread::sleep;
use std::time::Duration;

use dataplane::buffer::{Frame, Pool};
use dataplane::ports::Port;
use dataplane::ports::af_packet::AfPacketPort;

use crate::scratch::{Scratch, ip, listener, relay, tcp_transfer, udp_frame, udp_super_packet, wait_for};

/// A host namespace and pods, each with its eth0 and the host end `podN`.
struct Node {
    host: Scratch,
    pods: Vec<Scratch>,
}

impl Node {
    fn new(count: u8) -> Option<Self> {
        let host = Scratch::new()?;
        let pods: Vec<Scratch> = (0..count).map(|_| Scratch::new()).collect::<Option<_>>()?;
        for (number, pod) in pods.iter().enumerate() {
            let name = format!("pod{number}");
            host.run(|netlink| {
                netlink.add_veth(&name, "eth0", Some(&pod.netns))?;
                netlink.set_up(netlink.link(&name)?.unwrap().index, true)
            });
            pod.run(|netlink| netlink.set_up(netlink.link("eth0")?.unwrap().index, true));
        }
        Some(Self { host, pods })
    }

    fn port(&self, number: usize) -> AfPacketPort {
        AfPacketPort::open(&format!("pod{number}"), Some(&self.host.path())).unwrap()
    }

    fn mac(&self, number: usize) -> [u8; 6] {
        self.pods[number].run(|netlink| netlink.link("eth0")).unwrap().mac
    }
}

#[test]
fn the_port_knows_the_macs_of_both_ends() {
    let Some(node) = Node::new(1) else { return };
    let port = node.port(0);
    let link = node.host.run(|netlink| netlink.link("pod0")).unwrap();
    assert_eq!((port.info().index, port.info().mac), (link.index, link.mac));
    assert_eq!(port.info().peer_mac, Some(node.mac(0)));
}

#[test]
fn tcp_and_udp_super_packets_cross_whole_with_their_checksum_metadata() {
    let Some(node) = Node::new(2) else { return };
    let (mut one, mut other) = (node.port(0), node.port(1));
    node.pods[0].address("eth0", 1, 2, node.mac(1));
    node.pods[1].address("eth0", 2, 1, node.mac(0));
    let ((), seen) = relay(&mut one, &mut other, || {
        tcp_transfer(&node.pods[0], &node.pods[1], 2);
        udp_super_packet(&node.pods[0], &node.pods[1], 2);
    });
    println!("{seen:?}");
    assert!(seen.tcp_super > 10 && seen.partial > seen.tcp_super);
    assert_eq!(seen.udp_super, usize::from(one.capabilities().uso));
    assert_eq!((seen.malformed, seen.refused, seen.lost), (0, 0, 0));
    assert!(seen.frames < 4000);
}

#[test]
fn the_kernel_handles_nothing_that_the_port_receives_also_after_the_port_is_gone() {
    let Some(node) = Node::new(1) else { return };
    let host_mac = node.host.run(|netlink| netlink.link("pod0")).unwrap().mac;
    node.pods[0].address("eth0", 2, 1, host_mac);
    node.host.address("pod0", 1, 2, node.mac(0));
    let (host, address) = listener(&node.host, 1);
    let (pod, _) = listener(&node.pods[0], 2);
    host.set_nonblocking(true).unwrap();
    let mut buffer = [0; 64];
    let mut heard = |text: &[u8]| {
        pod.send_to(text, address).unwrap();
        sleep(Duration::from_millis(50));
        host.recv(&mut buffer).map(|len| buffer[..len].to_vec())
    };
    assert_eq!(heard(b"before").unwrap(), b"before");

    let mut port = node.port(0);
    assert_eq!(heard(b"during").unwrap_err().kind(), io::ErrorKind::WouldBlock);
    wait_for(&mut port, &mut Pool::new(8), |frame| frame.bytes().ends_with(b"during"));
    drop(port);
    assert_eq!(heard(b"after").unwrap_err().kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn a_tagged_frame_is_seen_with_its_tag() {
    let Some(node) = Node::new(1) else { return };
    let mut port = node.port(0);
    // The other end through a port as well: the one way to send a frame of one's own making.
    let mut pod = AfPacketPort::open("eth0", Some(&node.pods[0].path())).unwrap();
    let plain = udp_frame((node.mac(0), [2; 6]), (ip(2), ip(1)), 9, b"tagged");
    for tag in [[0x81, 0, 0, 0], [0x81, 0, 0x20, 5], [0x88, 0xa8, 0, 7]] {
        let mut bytes = plain.clone();
        bytes.splice(12..12, tag);
        let mut pool = Pool::new(64);
        let mut batch = vec![Frame::from_bytes(&bytes)];
        assert_eq!(pod.send(&mut pool, &mut batch).unwrap().frames, 1);
        let frame = wait_for(&mut port, &mut pool, |frame| frame.bytes().ends_with(b"tagged"));
        assert_eq!(frame.bytes(), bytes);
    }
}

#[test]
fn an_interface_set_down_comes_back_and_a_deleted_one_ends_the_port() {
    let Some(node) = Node::new(1) else { return };
    let mut port = node.port(0);
    let index = port.info().index;
    let mut pool = Pool::new(8);
    let bytes = udp_frame(([2; 6], node.mac(0)), (ip(1), ip(2)), 9, b"x");
    let frame = || vec![Frame::from_bytes(&bytes)];

    node.host.run(|netlink| netlink.set_up(index, false));
    assert_eq!(port.recv(&mut pool, &mut Vec::new(), 8).unwrap().frames, 0);
    assert_eq!(port.send(&mut pool, &mut frame()).unwrap().failed, 1);

    node.host.run(|netlink| netlink.set_up(index, true));
    port.recv(&mut pool, &mut Vec::new(), 8).unwrap();
    assert_eq!(port.send(&mut pool, &mut frame()).unwrap().frames, 1);

    node.host.run(|netlink| netlink.delete_link(index));
    let mut batch = frame();
    assert!(port.recv(&mut pool, &mut Vec::new(), 8).is_err());
    assert!(port.send(&mut pool, &mut batch).is_err());
    assert!(batch.is_empty());
}

#[test]
fn a_full_receive_buffer_shows_as_loss_and_no_frame_is_unaccounted() {
    let Some(node) = Node::new(1) else { return };
    let mut port = node.port(0);
    let mut pod = AfPacketPort::open("eth0", Some(&node.pods[0].path())).unwrap();
    let mut pool = Pool::new(64);
    let bytes = udp_frame((node.mac(0), [2; 6]), (ip(2), ip(1)), 9, &[0; 1400]);
    let mut sent = 0;
    let mut send = |pool: &mut Pool, rounds: usize| {
        for _ in 0..rounds {
            let mut batch: Vec<Frame> = (0..64)
                .map_while(|_| {
                    let mut frame = pool.take()?;
                    frame.write(&bytes);
                    Some(frame)
                })
                .collect();
            sent += pod.send(pool, &mut batch).unwrap().frames as u64;
        }
        // Frames wait in the backlog of the receiving CPU for a moment.
        sleep(Duration::from_millis(50));
        sent
    };
    let mut got = 0;
    let mut drain = |port: &mut AfPacketPort, pool: &mut Pool| {
        let (mut batch, mut told) = (Vec::new(), 0);
        loop {
            let received = port.recv(pool, &mut batch, 64).unwrap();
            if received.frames == 0 {
                return (got, told);
            }
            got += received.frames as u64;
            told += received.lost;
            pool.give_all(batch.drain(..));
        }
    };
    send(&mut pool, 400);
    let (_, told) = drain(&mut port, &mut pool);
    // Nothing comes after what was lost.
    let mut lost = told + port.losses();
    assert_eq!(port.losses(), 0, "each is told of once");
    let sent = send(&mut pool, 1);
    let (got, told) = drain(&mut port, &mut pool);
    lost += told;
    println!("sent {sent}, got {got}, lost {lost}");
    assert!(lost > 0);
    assert_eq!(got + lost, sent);
}

#[test]
fn the_queues_of_an_interface_share_its_frames_by_flow_and_see_none_twice() {
    let Some(node) = Node::new(1) else { return };
    let mut queues = AfPacketPort::open_queues("pod0", Some(&node.host.path()), 2).unwrap();
    node.pods[0].address("eth0", 2, 1, [2, 0, 0, 0, 0, 1]);
    let sockets: Vec<_> = (0..32).map(|_| listener(&node.pods[0], 2)).collect();
    let mut pool = Pool::new(256);
    let mut first = None;
    for _ in 0..3 {
        for (socket, _) in &sockets {
            socket.send_to(b"x", (ip(1), 53)).unwrap();
        }
        sleep(Duration::from_millis(50));
        let seen: Vec<Vec<[u8; 2]>> = queues
            .iter_mut()
            .map(|queue| {
                let mut batch = Vec::new();
                queue.recv(&mut pool, &mut batch, 64).unwrap();
                let udp =
                    batch.iter().map(Frame::bytes).filter(|bytes| bytes[12..14] == [8, 0] && bytes[23] == 17);
                let mut ports: Vec<[u8; 2]> = udp.map(|bytes| [bytes[34], bytes[35]]).collect();
                ports.sort_unstable();
                pool.give_all(batch);
                ports
            })
            .collect();
        assert_eq!(seen.iter().map(Vec::len).sum::<usize>(), 32, "each once: {seen:?}");
        assert!(seen.iter().all(|ports| !ports.is_empty()));
        assert_eq!(first.get_or_insert_with(|| seen.clone()), &seen, "flows stay where they are");
    }
}
