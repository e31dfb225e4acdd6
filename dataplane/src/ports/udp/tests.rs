//! The underlay over the loopback; no privilege needed.

use std::net::UdpSocket as StdSocket;
use std::thread::sleep;
use std::time::Duration;

use super::*;

/// An address of the loopback that no other test uses, nor another run of these tests.
fn loopback(last: u8) -> Ipv4Addr {
    let process = std::process::id();
    Ipv4Addr::new(127, (process % 250) as u8 + 1, (process / 250 % 256) as u8, last)
}

fn underlay(last: u8, change: impl FnOnce(&mut UdpConfig)) -> UdpUnderlay {
    let local = loopback(last);
    let mut config = UdpConfig { local_v4: Some(local), source_ports: 4, ..UdpConfig::default() };
    change(&mut config);
    UdpUnderlay::open(config).unwrap()
}

fn frame(peer: IpAddr, source_port: u16, tos: u8, bytes: &[u8]) -> Frame {
    let mut frame = Frame::from_bytes(bytes);
    frame.outer = Some(Outer { peer, local: peer, source_port, tos });
    frame
}

fn receive(port: &mut UdpUnderlay, pool: &mut Pool, count: usize) -> Batch {
    let mut batch = Batch::new();
    for _ in 0..200 {
        port.recv(pool, &mut batch, 64).unwrap();
        if batch.len() >= count {
            break;
        }
        sleep(Duration::from_millis(5));
    }
    batch
}

#[test]
fn a_datagram_arrives_with_peer_source_port_and_traffic_class() {
    let (mut one, mut two) = (underlay(1, |_| ()), underlay(2, |_| ()));
    let (mut pool, peer) = (Pool::new(64), IpAddr::V4(loopback(2)));
    let mut batch = vec![frame(peer, 49_155, 0xba, b"vxlan"), frame(peer, 50_000, 0, &vec![7; 60_000])];
    assert_eq!(one.send(&mut pool, &mut batch).unwrap(), Sent { frames: 2, ..Sent::default() });
    assert!(batch.is_empty());
    let mut batch = receive(&mut two, &mut pool, 2);
    batch.sort_by_key(Frame::len);
    assert_eq!(batch[0].bytes(), b"vxlan");
    assert_eq!(batch[1].bytes(), vec![7; 60_000]);
    let outer = batch[0].outer.unwrap();
    assert_eq!((outer.peer, outer.local, outer.tos), (IpAddr::V4(loopback(1)), peer, 0xba));
    assert!(one.source_ports(peer).contains(&outer.source_port));
    assert!(outer.source_port >= FIRST_SOURCE_PORT);
}

#[test]
fn frames_of_a_flow_keep_their_order_and_share_a_source_port() {
    let (mut one, mut two) = (underlay(3, |_| ()), underlay(4, |_| ()));
    let (mut pool, peer) = (Pool::new(256), IpAddr::V4(loopback(4)));
    let mut batch: Batch =
        (0..100_u8).map(|n| frame(peer, 49_152 + u16::from(n % 7), 0, &[n % 7, n])).collect();
    assert_eq!(one.send(&mut pool, &mut batch).unwrap().frames, 100);
    let batch = receive(&mut two, &mut pool, 100);
    assert_eq!(batch.len(), 100);
    for flow in 0..7 {
        let of_flow: Vec<&Frame> = batch.iter().filter(|frame| frame.bytes()[0] == flow).collect();
        assert!(of_flow.is_sorted_by_key(|frame| frame.bytes()[1]));
        let ports: std::collections::HashSet<_> =
            of_flow.iter().map(|frame| frame.outer.unwrap().source_port).collect();
        assert_eq!(ports.len(), 1);
    }
}

#[test]
fn a_socket_that_was_announced_is_looked_at_alone_until_it_is_drained() {
    let six = Ipv6Addr::LOCALHOST;
    if StdSocket::bind((six, 0)).is_err() {
        println!("skipped: no IPv6 on the loopback");
        return;
    }
    let mut port = underlay(13, |config| config.local_v6 = Some(six));
    let (mut pool, four, six) = (Pool::new(64), IpAddr::V4(loopback(13)), IpAddr::V6(six));
    let mut batch = vec![frame(four, 1, 0, b"four"), frame(six, 1, 0, b"six")];
    assert_eq!(port.send(&mut pool, &mut batch).unwrap().frames, 2);
    let peers = |batch: &Batch| batch.iter().map(|frame| frame.outer.unwrap().peer).collect::<Vec<_>>();

    port.announce(1);
    port.announce(7);
    let mut batch = Batch::new();
    port.recv(&mut pool, &mut batch, 16).unwrap();
    assert_eq!(peers(&batch), [six]);
    // It is drained, and nothing else is announced: everything is looked at.
    batch.clear();
    port.recv(&mut pool, &mut batch, 16).unwrap();
    assert_eq!(peers(&batch), [four]);
}

#[test]
fn a_frame_that_cannot_go_out_costs_no_other() {
    let mut port = underlay(5, |_| ());
    let (mut pool, peer) = (Pool::new(8), IpAddr::V4(loopback(5)));
    let unroutable = IpAddr::from([255, 255, 255, 255]);
    let mut batch = vec![
        frame(peer, 1, 0, b"one"),
        frame(peer, 1, 0, &vec![0; 65_520]),
        frame(unroutable, 1, 0, b"broadcast"),
        frame("2001:db8::1".parse().unwrap(), 1, 0, b"no such family"),
        Frame::from_bytes(b"no outer"),
        frame(peer, 1, 0, b"two"),
    ];
    assert_eq!(port.send(&mut pool, &mut batch).unwrap(), Sent { frames: 2, failed: 4, ..Sent::default() });
    assert_eq!(receive(&mut port, &mut pool, 2).len(), 2);
}

#[test]
fn a_second_underlay_on_the_port_is_refused_with_the_way_to_see_who_holds_it() {
    let first = underlay(6, |_| ());
    let config = UdpConfig { local_v4: Some(loopback(6)), ..UdpConfig::default() };
    let error = UdpUnderlay::open(config.clone()).err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains("ss -lunp"), "{error}");
    drop(first);
    assert!(UdpUnderlay::open(config).is_ok());
}

#[test]
fn an_address_of_another_node_and_no_address_are_refused() {
    let local_v4 = Some(Ipv4Addr::new(192, 0, 2, 77));
    let error = UdpUnderlay::open(UdpConfig { local_v4, ..UdpConfig::default() }).err().unwrap();
    assert!(error.to_string().contains("no interface here"), "{error}");
    assert!(UdpUnderlay::open(UdpConfig::default()).is_err());
    let config = UdpConfig { local_v4: Some(loopback(7)), source_ports: 0, ..UdpConfig::default() };
    assert!(UdpUnderlay::open(config).is_err());
}

#[test]
fn what_strangers_send_to_a_source_port_is_discarded() {
    let port = underlay(8, |_| ());
    let local = IpAddr::V4(loopback(8));
    for source_port in port.source_ports(local) {
        let stranger = StdSocket::bind("127.0.0.1:0").unwrap();
        stranger.connect((local, source_port)).unwrap();
        // A port that answers with ICMP would make the second send fail.
        for _ in 0..2 {
            stranger.send(b"x").unwrap();
        }
    }
    for sender in &port.families[0].senders {
        let mut frames = [Frame::new()];
        let error = crate::sys::mmsg::Incoming::new().recv(sender.as_fd(), &mut frames).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}

#[test]
fn datagrams_have_no_checksum_over_ipv4_alone_and_pass_in_both_families() {
    let six = Ipv6Addr::LOCALHOST;
    if StdSocket::bind((six, 0)).is_err() {
        println!("skipped: no IPv6 on the loopback");
        return;
    }
    let mut port = underlay(9, |config| {
        config.local_v6 = Some(six);
        config.port = 20_000 + (std::process::id() % 20_000) as u16;
        config.checksum = false;
    });
    let options = [(libc::SOL_SOCKET, libc::SO_NO_CHECK, 1), (libc::SOL_UDP, libc::UDP_NO_CHECK6_TX, 0)];
    for (family, (level, option, without)) in port.families.iter().zip(options) {
        for sender in &family.senders {
            assert_eq!(crate::sys::socket::value(sender.as_fd(), level, option).unwrap(), without);
        }
    }
    let mut pool = Pool::new(8);
    let peers = [IpAddr::V4(loopback(9)), IpAddr::V6(six)];
    let mut batch: Batch = peers.iter().map(|peer| frame(*peer, 60_000, 2, b"x")).collect();
    assert_eq!(port.send(&mut pool, &mut batch).unwrap().frames, 2);
    let batch = receive(&mut port, &mut pool, 2);
    let mut from: Vec<_> =
        batch.iter().map(|frame| frame.outer.unwrap()).map(|o| (o.peer, o.local, o.tos)).collect();
    from.sort();
    assert_eq!(from, peers.map(|peer| (peer, peer, 2)));
    assert_eq!(port.descriptors().len(), 2);
}

#[test]
fn a_full_receive_buffer_shows_as_loss() {
    let (mut one, mut two) = (underlay(10, |_| ()), underlay(11, |_| ()));
    let (mut pool, peer) = (Pool::new(64), IpAddr::V4(loopback(11)));
    crate::sys::socket::set(two.families[0].receiver.as_fd(), libc::SOL_SOCKET, libc::SO_RCVBUF, 4096)
        .unwrap();
    let mut sent = 0;
    for _ in 0..10 {
        // Each longer than the one before, so that none of them are a train, which is lost as one.
        let mut batch: Batch = (0..8).map(|n| frame(peer, 49_152, 0, &vec![0; 1400 + n])).collect();
        sent += one.send(&mut pool, &mut batch).unwrap().frames as u64;
    }
    let (mut got, mut lost) = (0, 0);
    for _ in 0..50 {
        let mut batch = Batch::new();
        let received = two.recv(&mut pool, &mut batch, 64).unwrap();
        got += received.frames as u64;
        lost += received.lost + two.losses();
        pool.give_all(batch.drain(..));
        sleep(Duration::from_millis(1));
    }
    assert!(lost > 0);
    assert_eq!(got + lost, sent);
}

#[test]
fn a_train_arrives_frame_by_frame_in_order() {
    let (mut one, mut two) = (underlay(20, |_| ()), underlay(21, |_| ()));
    let (mut pool, peer) = (Pool::new(512), IpAddr::V4(loopback(21)));
    let contents = |n: u8| vec![n; if n == 99 { 40 } else { 1200 }];
    let mut batch: Batch = (0..100).map(|n| frame(peer, 49_200, 0, &contents(n))).collect();
    assert_eq!(one.send(&mut pool, &mut batch).unwrap(), Sent { frames: 100, ..Sent::default() });
    let batch = receive(&mut two, &mut pool, 100);
    assert_eq!(batch.len(), 100);
    for (n, frame) in (0..).zip(&batch) {
        assert_eq!(frame.bytes(), contents(n));
        assert_eq!(frame.outer.unwrap().peer, IpAddr::V4(loopback(20)));
    }
}

#[test]
fn a_train_with_a_frame_that_is_too_long_for_it_loses_none() {
    let (mut one, mut two) = (underlay(22, |_| ()), underlay(23, |_| ()));
    let (mut pool, peer) = (Pool::new(64), IpAddr::V4(loopback(23)));
    // The loopback's MTU is 65,536: a frame with it as segment size does not fit, one alone is cut by IP.
    let mut batch: Batch =
        [65_500, 7, 7].into_iter().map(|len| frame(peer, 49_200, 0, &vec![1; len])).collect();
    assert_eq!(one.send(&mut pool, &mut batch).unwrap().frames, 3);
    assert_eq!(receive(&mut two, &mut pool, 3).len(), 3);
}

#[test]
fn what_a_queue_sends_arrives_at_the_queue_of_its_number() {
    let queues = |last| {
        let config = UdpConfig { local_v4: Some(loopback(last)), ..UdpConfig::default() };
        UdpUnderlay::open_queues(&config, 2).unwrap()
    };
    let (mut from, mut to) = (queues(40), queues(41));
    let (mut pool, peer) = (Pool::new(256), IpAddr::V4(loopback(41)));
    for (number, queue) in from.iter_mut().enumerate() {
        let text = [number as u8];
        let mut batch: Batch = (0..32).map(|flow| frame(peer, 50_000 + flow * 77, 0, &text)).collect();
        assert_eq!(queue.send(&mut pool, &mut batch).unwrap().frames, 32);
    }
    for (number, queue) in to.iter_mut().enumerate() {
        let batch = receive(queue, &mut pool, 32);
        assert_eq!(batch.len(), 32);
        assert!(batch.iter().all(|frame| frame.bytes() == [number as u8]), "queue {number}");
        let ports: std::collections::HashSet<u16> =
            batch.iter().map(|frame| frame.outer.unwrap().source_port).collect();
        assert!(ports.len() > 1, "flows are spread over the queue's ports");
    }
}
