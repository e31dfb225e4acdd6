//! TAP ports.

use std::collections::BTreeMap;
use std::io;
use std::net::UdpSocket;
use std::time::Instant;

use dataplane::buffer::{Frame, Pool};
use dataplane::ports::tap::{TapConfig, TapPort};
use dataplane::ports::{Capabilities, Port, Sent};

use crate::scratch::{
    PATIENCE, Scratch, ip, listener, relay, tcp_transfer, udp_frame, udp_super_packet, wait_for,
};

const OURS: [u8; 6] = [2, 0, 0, 0, 0, 1];
const POD: [u8; 6] = [2, 0, 0, 0, 0, 2];

fn config(scratch: &Scratch) -> TapConfig {
    TapConfig { netns: Some(scratch.path()), mac: Some(POD), mtu: Some(1450), ..TapConfig::named("eth0") }
}

#[test]
fn a_tap_is_made_in_the_namespace_with_mac_and_mtu_and_goes_with_its_port() {
    let Some(pod) = Scratch::new() else { return };
    let port = TapPort::open(config(&pod)).unwrap();
    let link = pod.run(|netlink| netlink.link("eth0")).unwrap();
    assert_eq!((link.mac, link.mtu, link.up), (POD, 1450, true));
    let info = port.info();
    assert_eq!((info.index, info.mac, info.mtu), (link.index, POD, 1450));
    assert_eq!(port.descriptors().len(), 1);
    assert!(port.capabilities().checksum && port.capabilities().tso);
    drop(port);
    assert_eq!(pod.run(|netlink| netlink.link("eth0")), None);
}

#[test]
fn a_persistent_tap_stays_and_is_taken_over_as_it_is() {
    let Some(pod) = Scratch::new() else { return };
    drop(TapPort::open(TapConfig { persistent: true, ..config(&pod) }).unwrap());
    let before = pod.run(|netlink| netlink.link("eth0")).unwrap();
    let again = TapConfig { must_exist: true, mac: None, mtu: None, ..config(&pod) };
    let port = TapPort::open(again).unwrap();
    assert_eq!((port.info().index, port.info().mac, port.info().mtu), (before.index, POD, 1450));
}

#[test]
fn a_tap_that_another_holds_is_refused_with_the_reason() {
    let Some(pod) = Scratch::new() else { return };
    let _first = TapPort::open(config(&pod)).unwrap();
    let error = TapPort::open(config(&pod)).unwrap_err();
    assert!(error.to_string().contains("another process holds it"), "{error}");
}

#[test]
fn datagrams_pass_both_ways() {
    let Some(pod) = Scratch::new() else { return };
    let mut port = TapPort::open(config(&pod)).unwrap();
    pod.address("eth0", 2, 1, OURS);
    let mut pool = Pool::new(64);

    let (socket, address) = listener(&pod, 2);
    socket.send_to(b"out of the pod", (ip(1), 53)).unwrap();
    let frame = wait_for(&mut port, &mut pool, |frame| frame.bytes().ends_with(b"out of the pod"));
    assert_eq!(frame.bytes()[..12], [OURS, POD].concat());
    assert_eq!(frame.headroom(), dataplane::buffer::HEADROOM + 10);
    pool.give(frame);

    let bytes = udp_frame((OURS, POD), (ip(1), ip(2)), address.port(), b"into the pod");
    let mut batch = vec![Frame::from_bytes(&bytes), Frame::from_bytes(&[0; 3]), Frame::from_bytes(&bytes)];
    assert_eq!(port.send(&mut pool, &mut batch).unwrap(), Sent { frames: 2, failed: 1, ..Sent::default() });
    let mut buffer = [0; 64];
    for _ in 0..2 {
        let len = socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], b"into the pod");
    }
}

#[test]
fn tcp_and_udp_super_packets_cross_whole() {
    let (Some(here), Some(there)) = (Scratch::new(), Scratch::new()) else { return };
    let mut one = TapPort::open(TapConfig { mac: Some(OURS), ..config(&here) }).unwrap();
    let mut other = TapPort::open(config(&there)).unwrap();
    here.address("eth0", 1, 2, POD);
    there.address("eth0", 2, 1, OURS);
    let Capabilities { uso, .. } = one.capabilities();
    let ((), seen) = relay(&mut one, &mut other, || {
        tcp_transfer(&here, &there, 2);
        udp_super_packet(&here, &there, 2);
    });
    println!("{seen:?}");
    assert!(seen.tcp_super > 10 && seen.partial > seen.tcp_super);
    assert_eq!(seen.udp_super, usize::from(uso));
    assert_eq!((seen.malformed, seen.refused), (0, 0));
    // 8 MB in segments of 1398 bytes would be far more frames than that.
    assert!(seen.frames < 4000);
}

#[test]
fn an_interface_set_down_refuses_frames_and_a_deleted_one_ends_the_port() {
    let Some(pod) = Scratch::new() else { return };
    let mut port = TapPort::open(config(&pod)).unwrap();
    let index = port.info().index;
    let mut pool = Pool::new(8);
    let bytes = udp_frame((OURS, POD), (ip(1), ip(2)), 9, b"x");

    pod.run(|netlink| netlink.set_up(index, false));
    let mut batch = vec![Frame::from_bytes(&bytes)];
    assert_eq!(port.send(&mut pool, &mut batch).unwrap(), Sent { failed: 1, ..Sent::default() });
    assert_eq!(port.recv(&mut pool, &mut batch, 8).unwrap().frames, 0);

    pod.run(|netlink| netlink.set_up(index, true));
    let mut batch = vec![Frame::from_bytes(&bytes)];
    assert_eq!(port.send(&mut pool, &mut batch).unwrap().frames, 1);

    pod.run(|netlink| netlink.delete_link(index));
    let mut frame = Frame::from_bytes(&bytes);
    frame.packets = 3;
    let mut batch = vec![frame];
    let gone = port.send(&mut pool, &mut batch).unwrap_err();
    assert_eq!(gone.sent, Sent { failed: 1, failed_packets: 3, ..Sent::default() });
    assert_eq!(gone.error.raw_os_error(), Some(libc::EBADFD));
    assert!(batch.is_empty());
    assert!(port.recv(&mut pool, &mut batch, 8).is_err());
}

#[test]
fn a_name_taken_by_another_kind_of_interface_is_refused() {
    let Some(pod) = Scratch::new() else { return };
    pod.run(|netlink| netlink.add_veth("eth0", "eth1", None));
    let error = TapPort::open(config(&pod)).unwrap_err();
    assert!(error.to_string().contains("no TAP"), "{error}");
}

#[test]
fn the_limit_and_the_pool_bound_a_receive() {
    let Some(pod) = Scratch::new() else { return };
    let mut port = TapPort::open(config(&pod)).unwrap();
    pod.address("eth0", 2, 1, OURS);
    let socket: io::Result<UdpSocket> = pod.netns.run(|| UdpSocket::bind((ip(2), 0))).unwrap();
    let socket = socket.unwrap();
    for _ in 0..20 {
        socket.send_to(b"x", (ip(1), 9)).unwrap();
    }
    let (mut pool, mut batch) = (Pool::new(12), Vec::new());
    assert_eq!(port.recv(&mut pool, &mut batch, 5).unwrap().frames, 5);
    assert_eq!(port.recv(&mut pool, &mut batch, 64).unwrap().frames, 7);
    assert_eq!(port.recv(&mut pool, &mut batch, 64).unwrap().frames, 0);
    pool.give_all(batch.drain(..));
    assert_eq!(port.recv(&mut pool, &mut batch, 64).unwrap().frames, 8);
}

/// How many datagrams of each flow came by each queue, by source port.
fn by_queue(queues: &mut [TapPort], pool: &mut Pool, count: usize) -> BTreeMap<u16, Vec<usize>> {
    let mut seen: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
    let (mut total, all) = (0, queues.len());
    let begin = Instant::now();
    while total < count && begin.elapsed() < PATIENCE {
        for (place, queue) in queues.iter_mut().enumerate() {
            let mut batch = Vec::new();
            queue.recv(pool, &mut batch, 64).unwrap();
            for frame in batch.drain(..) {
                let bytes = frame.bytes();
                if bytes[12..14] == [8, 0] && bytes[23] == 17 {
                    let port = u16::from_be_bytes([bytes[34], bytes[35]]);
                    seen.entry(port).or_insert_with(|| vec![0; all])[place] += 1;
                    total += 1;
                }
                pool.give(frame);
            }
        }
    }
    assert_eq!(total, count);
    seen
}

#[test]
fn every_flow_comes_by_one_queue_whichever_queue_answers_it() {
    const FLOWS: usize = 32;
    let Some(pod) = Scratch::new() else { return };
    let mut queues = TapPort::open_queues(&config(&pod), 3).unwrap();
    assert!(queues.iter().all(|queue| queue.descriptors().len() == 1));
    pod.address("eth0", 2, 1, OURS);
    let mut pool = Pool::new(256);
    let sockets: Vec<_> = (0..FLOWS).map(|_| listener(&pod, 2)).collect();
    let send_all = || {
        for (socket, _) in &sockets {
            socket.send_to(b"x", (ip(1), 53)).unwrap();
        }
    };
    send_all();
    let first = by_queue(&mut queues, &mut pool, FLOWS);
    let used = |place: usize| first.values().filter(|counts| counts[place] > 0).count();
    assert!((0..3).all(|place| used(place) > 0), "{first:?}");
    // Answers by every queue in turn move no flow.
    if !dataplane::sys::process::is_root() {
        return println!("skipped: only root may load programs");
    }
    for round in 0..6 {
        for (_, address) in &sockets {
            let bytes = udp_frame((OURS, POD), (ip(1), ip(2)), address.port(), b"answer");
            queues[round % 3].send(&mut pool, &mut vec![Frame::from_bytes(&bytes)]).unwrap();
        }
        send_all();
        assert_eq!(by_queue(&mut queues, &mut pool, FLOWS), first, "{round}");
    }
}

#[test]
fn all_fragments_of_a_datagram_come_by_one_queue() {
    let Some(pod) = Scratch::new() else { return };
    let mut queues = TapPort::open_queues(&config(&pod), 2).unwrap();
    pod.address("eth0", 2, 1, OURS);
    let (socket, _) = listener(&pod, 2);
    let mut pool = Pool::new(64);
    socket.send_to(&[0; 6000], (ip(1), 53)).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(50));
    let counts: Vec<usize> = queues
        .iter_mut()
        .map(|queue| {
            let mut batch = Vec::new();
            queue.recv(&mut pool, &mut batch, 64).unwrap();
            let is_ipv4 = |frame: &&Frame| frame.bytes()[12..14] == [8, 0];
            let count = batch.iter().filter(is_ipv4).count();
            pool.give_all(batch);
            count
        })
        .collect();
    assert!(counts.contains(&0) && counts.iter().sum::<usize>() >= 5, "{counts:?}");
}

#[test]
fn a_tap_made_for_one_queue_is_read_by_the_first_and_written_by_all() {
    let Some(pod) = Scratch::new() else { return };
    drop(TapPort::open(TapConfig { persistent: true, ..config(&pod) }).unwrap());
    let mut queues = TapPort::open_queues(&TapConfig { must_exist: true, ..config(&pod) }, 2).unwrap();
    assert_eq!(queues.iter().map(|queue| queue.descriptors().len()).collect::<Vec<_>>(), [1, 0]);
    pod.address("eth0", 2, 1, OURS);
    let (socket, address) = listener(&pod, 2);
    let mut pool = Pool::new(8);
    for queue in &mut queues {
        let bytes = udp_frame((OURS, POD), (ip(1), ip(2)), address.port(), b"in");
        assert_eq!(queue.send(&mut pool, &mut vec![Frame::from_bytes(&bytes)]).unwrap().frames, 1);
        assert_eq!(socket.recv(&mut [0; 8]).unwrap(), 2);
    }
}

#[test]
fn queues_that_another_process_holds_are_not_shared() {
    let Some(pod) = Scratch::new() else { return };
    let _first = TapPort::open_queues(&config(&pod), 2).unwrap();
    let error = TapPort::open_queues(&config(&pod), 2).unwrap_err();
    assert!(error.to_string().contains("held by another process"), "{error}");
}
