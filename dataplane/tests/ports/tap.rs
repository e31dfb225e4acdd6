//! TAP ports.

use std::io;
use std::net::UdpSocket;

use dataplane::buffer::{Frame, Pool};
use dataplane::ports::tap::{TapConfig, TapPort};
use dataplane::ports::{Capabilities, Port, Sent};

use crate::scratch::{Scratch, ip, listener, relay, tcp_transfer, udp_frame, udp_super_packet, wait_for};

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
    assert_eq!(port.send(&mut pool, &mut batch).unwrap(), Sent { frames: 2, congested: 0, failed: 1 });
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
    assert_eq!(port.send(&mut pool, &mut batch).unwrap(), Sent { frames: 0, congested: 0, failed: 1 });
    assert_eq!(port.recv(&mut pool, &mut batch, 8).unwrap().frames, 0);

    pod.run(|netlink| netlink.set_up(index, true));
    let mut batch = vec![Frame::from_bytes(&bytes)];
    assert_eq!(port.send(&mut pool, &mut batch).unwrap().frames, 1);

    pod.run(|netlink| netlink.delete_link(index));
    let mut batch = vec![Frame::from_bytes(&bytes)];
    let error = port.send(&mut pool, &mut batch).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EBADFD));
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
