//! The AF_XDP port on a veth pair: what comes to it, what stays with the kernel, and what it leaves behind.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use dataplane::buffer::{Batch, Checksum, Frame, Pool};
use dataplane::ports::af_packet::AfPacketPort;
use dataplane::ports::af_xdp::{AfXdpConfig, AfXdpPort};
use dataplane::ports::{Port, Sent};
use dataplane::sys::netlink::{Netlink, Vxlan};
use dataplane::sys::netns::{Netns, sysctl_set};
use dataplane::sys::xdp::XdpMode;

use crate::scratch::{PATIENCE, Scratch, udp_frame, wait_for};

const WEIR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const WEIR_6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const PEER_6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
const TUNNEL: u16 = 8472;

/// Two nodes joined by a veth.
struct Wire {
    ours: Scratch,
    theirs: Scratch,
}

impl Wire {
    fn new() -> Option<Self> {
        let wire = Self { ours: Scratch::new()?, theirs: Scratch::new()? };
        wire.ours.run(|netlink| netlink.add_veth("underlay", "underlay", Some(&wire.theirs.netns)));
        Some(wire.plugged())
    }

    /// With that many queues in either direction; none where there is no `ip`.
    fn with_queues(count: u32) -> Option<Self> {
        let wire = Self { ours: Scratch::new()?, theirs: Scratch::new()? };
        let script = format!(
            "ip link add underlay numrxqueues {count} numtxqueues {count} type veth peer name peer \
             numrxqueues {count} numtxqueues {count}"
        );
        let made = wire.ours.netns.run(|| Command::new("sh").args(["-c", &script]).status()).unwrap();
        if !made.is_ok_and(|status| status.success()) {
            println!("skipped: no `ip` that makes queues");
            return None;
        }
        wire.ours.run(|netlink| {
            let index = netlink.link("peer")?.unwrap().index;
            netlink.set_netns(index, &wire.theirs.netns)
        });
        wire.theirs.run(|netlink| netlink.rename(netlink.link("peer")?.unwrap().index, "underlay"));
        Some(wire.plugged())
    }

    fn plugged(self) -> Self {
        for (node, address, address_6) in [(&self.ours, WEIR, WEIR_6), (&self.theirs, PEER, PEER_6)] {
            node.run(|netlink| {
                sysctl_set("net/ipv6/conf/underlay/disable_ipv6", "0")?;
                sysctl_set("net/ipv6/conf/underlay/accept_dad", "0")?;
                let link = netlink.link("underlay")?.unwrap();
                netlink.add_address(link.index, format!("{address}/24").parse().unwrap())?;
                netlink.set_up(link.index, true)?;
                netlink.add_address(link.index, format!("{address_6}/64").parse().unwrap())
            });
        }
        self
    }

    fn open(&self, queues: usize) -> Option<Vec<AfXdpPort>> {
        opened(self.ours.netns.run(|| AfXdpPort::open_queues(&config("underlay"), queues)).unwrap())
    }

    fn port(&self) -> Option<AfXdpPort> {
        self.open(1)?.pop()
    }

    fn macs(&self) -> ([u8; 6], [u8; 6]) {
        let mac = |node: &Scratch| node.run(|netlink| netlink.link("underlay")).unwrap().mac;
        (mac(&self.theirs), mac(&self.ours))
    }

    /// A socket of the peer, that sends.
    fn peer(&self) -> UdpSocket {
        socket(&self.theirs, IpAddr::V4(PEER), 0)
    }

    fn has_program(&self) -> bool {
        self.ours.run(|netlink| netlink.link("underlay")).unwrap().xdp
    }
}

fn config(interface: &str) -> AfXdpConfig {
    AfXdpConfig {
        interface: interface.to_owned(),
        locals: vec![IpAddr::V4(Ipv4Addr::new(192, 0, 2, 77)), IpAddr::V4(WEIR), IpAddr::V6(WEIR_6)],
        port: TUNNEL,
    }
}

/// `None`, said aloud, where AF_XDP is forbidden or not there.
fn opened(outcome: io::Result<Vec<AfXdpPort>>) -> Option<Vec<AfXdpPort>> {
    match outcome {
        Ok(ports) => Some(ports),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "AF_XDP is needed under CI: {error}");
            println!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn socket(node: &Scratch, address: IpAddr, port: u16) -> UdpSocket {
    let socket = node.netns.run(|| UdpSocket::bind((address, port))).unwrap().unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn hears_nothing(socket: &UdpSocket) {
    socket.set_nonblocking(true).unwrap();
    assert_eq!(socket.recv(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    socket.set_nonblocking(false).unwrap();
}

/// Whole frames, in the order they came, until none has come for a while.
fn drain(port: &mut dyn Port, pool: &mut Pool) -> (Vec<Vec<u8>>, u64) {
    let (mut frames, mut lost) = (Vec::new(), 0);
    let mut last = Instant::now();
    while last.elapsed() < Duration::from_millis(50) {
        let mut batch = Batch::new();
        let received = port.recv(pool, &mut batch, 64).unwrap();
        lost += received.lost;
        if received.frames > 0 {
            last = Instant::now();
        }
        frames.extend(batch.iter().map(|frame| frame.bytes().to_vec()));
        pool.give_all(batch);
    }
    (frames, lost)
}

#[test]
fn datagrams_of_the_tunnel_come_to_the_port_and_all_else_stays_with_the_kernel() {
    let Some(wire) = Wire::new() else { return };
    let Some(mut port) = wire.port() else { return };
    let mut pool = Pool::new(256);
    let holder = socket(&wire.ours, IpAddr::V4(WEIR), TUNNEL);
    let other = socket(&wire.ours, IpAddr::V4(WEIR), 4789);
    let peer = wire.peer();

    peer.send_to(b"for the tunnel", (WEIR, TUNNEL)).unwrap();
    let frame = wait_for(&mut port, &mut pool, |frame| frame.bytes().ends_with(b"for the tunnel"));
    assert_eq!(frame.bytes()[..12], [wire.macs().1, wire.macs().0].concat());
    assert_eq!(frame.bytes()[26..34], [PEER.octets(), WEIR.octets()].concat());
    assert_eq!(frame.checksum, Checksum::Partial { start: 34, offset: 6 });
    hears_nothing(&holder);

    let mut buffer = [0; 4000];
    peer.send_to(b"another port", (WEIR, 4789)).unwrap();
    assert_eq!(other.recv(&mut buffer).unwrap(), 12);
    // From the tunnel's port, not to it.
    let from = socket(&wire.theirs, IpAddr::V4(PEER), TUNNEL);
    from.send_to(b"from the port", (WEIR, 4789)).unwrap();
    assert_eq!(other.recv(&mut buffer).unwrap(), 13);
    // Fragments: the kernel puts them together.
    peer.send_to(&[7; 3000], (WEIR, TUNNEL)).unwrap();
    assert_eq!(holder.recv(&mut buffer).unwrap(), 3000);

    let listener = wire.ours.netns.run(|| TcpListener::bind((WEIR, TUNNEL))).unwrap().unwrap();
    let mut stream = wire.theirs.netns.run(|| TcpStream::connect((WEIR, TUNNEL))).unwrap().unwrap();
    stream.write_all(&vec![3; 100_000]).unwrap();
    drop(stream);
    let mut bytes = Vec::new();
    listener.accept().unwrap().0.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len(), 100_000);
    if let Ok(status) = wire
        .theirs
        .netns
        .run(|| Command::new("ping").args(["-c1", "-W5", "192.0.2.1"]).stdout(Stdio::null()).status())
        .unwrap()
    {
        assert!(status.success(), "ping");
    }
    assert!(drain(&mut port, &mut pool).0.is_empty(), "nothing else came");
}

#[test]
fn the_tunnel_over_ipv6_comes_to_the_port() {
    let Some(wire) = Wire::new() else { return };
    let Some(mut port) = wire.port() else { return };
    let mut pool = Pool::new(64);
    let holder = socket(&wire.ours, IpAddr::V6(WEIR_6), TUNNEL);
    let peer = socket(&wire.theirs, IpAddr::V6(PEER_6), 0);
    peer.send_to(b"over IPv6", (WEIR_6, TUNNEL)).unwrap();
    let frame = wait_for(&mut port, &mut pool, |frame| frame.bytes().ends_with(b"over IPv6"));
    assert_eq!(frame.bytes()[22..54], [PEER_6.octets(), WEIR_6.octets()].concat());
    assert_eq!(frame.checksum, Checksum::Partial { start: 54, offset: 6 });
    hears_nothing(&holder);
    let mut buffer = [0; 4000];
    peer.send_to(&[7; 3000], (WEIR_6, TUNNEL)).unwrap();
    assert_eq!(holder.recv(&mut buffer).unwrap(), 3000, "fragments");
    let other = socket(&wire.ours, IpAddr::V6(WEIR_6), 4789);
    peer.send_to(b"another port", (WEIR_6, 4789)).unwrap();
    assert_eq!(other.recv(&mut buffer).unwrap(), 12);
}

#[test]
fn datagrams_to_another_address_of_the_node_stay_with_the_kernel() {
    let Some(wire) = Wire::new() else { return };
    wire.ours.run(|netlink| {
        let index = netlink.link("underlay")?.unwrap().index;
        netlink.add_address(index, "192.0.2.9/24".parse().unwrap())
    });
    let Some(mut port) = wire.port() else { return };
    let elsewhere = Ipv4Addr::new(192, 0, 2, 9);
    let holder = socket(&wire.ours, IpAddr::V4(elsewhere), TUNNEL);
    wire.peer().send_to(b"not ours", (elsewhere, TUNNEL)).unwrap();
    assert_eq!(holder.recv(&mut [0; 64]).unwrap(), 8);
    assert!(drain(&mut port, &mut Pool::new(8)).0.is_empty());
}

#[test]
fn frames_leave_in_order_and_what_is_no_frame_fails_alone() {
    let Some(wire) = Wire::new() else { return };
    let Some(mut port) = wire.port() else { return };
    let mut pool = Pool::new(512);
    let listener = socket(&wire.theirs, IpAddr::V4(PEER), 0);
    let to = listener.local_addr().unwrap().port();
    let (theirs, ours) = wire.macs();
    let frame = |payload: &[u8]| {
        let mut frame =
            Frame::from_bytes(&udp_frame((ours, theirs), (WEIR.into(), PEER.into()), to, payload));
        frame.packets = 1;
        frame
    };
    let mut batch: Batch = (0..200_u8).map(|n| frame(&[n; 40])).collect();
    for len in [0, 13, 1519, 2048, 2049, 65_000] {
        let mut odd = Frame::from_bytes(&vec![0; len]);
        odd.packets = 3;
        batch.insert(100, odd);
    }
    let sent = port.send(&mut pool, &mut batch).unwrap();
    assert_eq!(sent, Sent { frames: 200, failed: 6, failed_packets: 18, ..Sent::default() });
    assert!(batch.is_empty());
    for n in 0..200_u8 {
        let mut buffer = [0; 64];
        assert_eq!(listener.recv(&mut buffer).unwrap(), 40);
        assert_eq!(buffer[..40], [n; 40]);
    }
    // Chunks come back: far more frames than there are.
    let mut sent = Sent::default();
    for _ in 0..40 {
        let mut batch: Batch = (0..128_u8).map(|n| frame(&[n; 1400])).collect();
        let one = port.send(&mut pool, &mut batch).unwrap();
        sent.frames += one.frames;
        sent.congested += one.congested;
        while listener.set_nonblocking(true).is_ok() && listener.recv(&mut [0; 2000]).is_ok() {}
    }
    assert_eq!(sent, Sent { frames: 40 * 128, ..Sent::default() });
}

#[test]
fn what_the_ring_had_no_room_for_is_counted() {
    let Some(wire) = Wire::new() else { return };
    let Some(mut port) = wire.port() else { return };
    let mut pool = Pool::new(256);
    let peer = wire.peer();
    let mut sent = 0_u64;
    for _ in 0..3 {
        for n in 0..6000_u32 {
            sent += u64::from(peer.send_to(&n.to_be_bytes(), (WEIR, TUNNEL)).is_ok());
        }
        sleep(Duration::from_millis(20));
    }
    let (frames, lost) = drain(&mut port, &mut pool);
    println!("sent {sent}, got {}, lost {lost}", frames.len());
    assert_eq!(frames.len() as u64 + lost, sent);
    assert!(lost > 0);
    // And it goes on.
    peer.send_to(b"afterwards", (WEIR, TUNNEL)).unwrap();
    wait_for(&mut port, &mut pool, |frame| frame.bytes().ends_with(b"afterwards"));
}

#[test]
fn a_dry_pool_leaves_frames_in_the_ring() {
    let Some(wire) = Wire::new() else { return };
    let Some(mut port) = wire.port() else { return };
    let peer = wire.peer();
    for n in 0..20_u8 {
        peer.send_to(&[n], (WEIR, TUNNEL)).unwrap();
    }
    sleep(Duration::from_millis(20));
    let (mut pool, mut batch) = (Pool::new(8), Batch::new());
    let received = port.recv(&mut pool, &mut batch, 5).unwrap();
    assert_eq!((received.frames, received.more), (5, true));
    let received = port.recv(&mut pool, &mut batch, 64).unwrap();
    assert_eq!((received.frames, received.more), (3, true));
    pool.give_all(batch.drain(..));
    let (frames, lost) = drain(&mut port, &mut pool);
    assert_eq!((frames.len(), lost), (12, 0));
    assert_eq!(frames.last().unwrap().last(), Some(&19));
}

#[test]
fn a_port_that_is_closed_leaves_the_interface_as_it_was_and_a_second_one_is_refused() {
    let Some(wire) = Wire::new() else { return };
    assert!(!wire.has_program());
    let Some(port) = wire.port() else { return };
    assert!(wire.has_program());
    assert_eq!(port.mechanism().mode, XdpMode::Native);
    let again = wire.ours.netns.run(|| AfXdpPort::open_queues(&config("underlay"), 1)).unwrap();
    let text = again.err().unwrap().to_string();
    assert!(text.contains("another XDP program"), "{text}");
    assert!(wire.has_program());
    drop(port);
    assert!(!wire.has_program());
    let holder = socket(&wire.ours, IpAddr::V4(WEIR), TUNNEL);
    wire.peer().send_to(b"after", (WEIR, TUNNEL)).unwrap();
    assert_eq!(holder.recv(&mut [0; 8]).unwrap(), 5);
    assert!(wire.port().is_some(), "and it opens again");
}

const CHILD: &str = "WEIR_TEST_XDP_NAMESPACE";

/// Not a test by itself: what the next one kills.
#[test]
fn child_that_holds_the_interface() {
    let Ok(namespace) = std::env::var(CHILD) else { return };
    Netns::named(&namespace).unwrap().enter().unwrap();
    let _ports = AfXdpPort::open_queues(&config("underlay"), 1).unwrap();
    println!("open");
    sleep(PATIENCE * 3);
}

#[test]
fn a_killed_process_leaves_nothing_at_the_interface() {
    let Some(wire) = Wire::new() else { return };
    if wire.port().is_none() {
        return;
    }
    let name = wire.ours.path().file_name().unwrap().to_owned();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "af_xdp::child_that_holds_the_interface", "--nocapture"])
        .env(CHILD, name)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let wait = |wanted: bool| {
        let start = Instant::now();
        while wire.has_program() != wanted {
            assert!(start.elapsed() < PATIENCE, "the program is there: {}", !wanted);
            sleep(Duration::from_millis(5));
        }
    };
    wait(true);
    child.kill().unwrap();
    child.wait().unwrap();
    wait(false);
    assert!(wire.port().is_some(), "the queue is free again");
}

#[test]
fn an_interface_set_down_comes_back_and_a_deleted_one_ends_the_port() {
    let Some(wire) = Wire::new() else { return };
    let Some(mut port) = wire.port() else { return };
    let (mut pool, index) = (Pool::new(64), port.info().index);
    let (theirs, ours) = wire.macs();
    let bytes = udp_frame((ours, theirs), (WEIR.into(), PEER.into()), 9, b"x");
    let frame = || {
        let mut frame = Frame::from_bytes(&bytes);
        frame.packets = 1;
        vec![frame]
    };
    wire.ours.run(|netlink| netlink.set_up(index, false));
    assert_eq!(port.recv(&mut pool, &mut Batch::new(), 8).unwrap().frames, 0);
    for _ in 0..3 {
        let sent = port.send(&mut pool, &mut frame()).unwrap();
        assert_eq!(sent, Sent { failed: 1, failed_packets: 1, ..Sent::default() });
    }
    wire.ours.run(|netlink| netlink.set_up(index, true));
    assert_eq!(port.send(&mut pool, &mut frame()).unwrap().frames, 1);
    wire.peer().send_to(b"again", (WEIR, TUNNEL)).unwrap();
    wait_for(&mut port, &mut pool, |frame| frame.bytes().ends_with(b"again"));

    wire.ours.run(|netlink| netlink.delete_link(index));
    assert!((0..20).any(|_| port.recv(&mut pool, &mut Batch::new(), 8).is_err()));
    let mut batch = frame();
    assert_eq!(port.send(&mut pool, &mut batch).unwrap_err().sent.failed, 1);
    assert!(batch.is_empty());
}

#[test]
fn an_interface_that_is_not_there_or_down_is_said_to_be() {
    let Some(wire) = Wire::new() else { return };
    let open = |name: &str| wire.ours.netns.run(|| AfXdpPort::open_queues(&config(name), 1)).unwrap().err();
    let error = open("weir-none").unwrap();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(error.to_string().contains("there are: lo, underlay"), "{error}");
    wire.ours.run(|netlink| netlink.set_up(netlink.link("underlay")?.unwrap().index, false));
    let error = open("underlay").unwrap();
    assert!(error.to_string().contains("ip link set underlay up"), "{error}");
}

#[test]
fn a_worker_beyond_the_queues_only_sends() {
    let Some(wire) = Wire::new() else { return };
    let Some(mut ports) = wire.open(2) else { return };
    assert_eq!(ports[0].descriptors().len(), 1);
    assert!(ports[1].descriptors().is_empty());
    let mut pool = Pool::new(64);
    let listener = socket(&wire.theirs, IpAddr::V4(PEER), 0);
    let (theirs, ours) = wire.macs();
    let to = listener.local_addr().unwrap().port();
    for (port, text) in ports.iter_mut().zip([b"one", b"two"]) {
        let bytes = udp_frame((ours, theirs), (WEIR.into(), PEER.into()), to, text);
        assert_eq!(port.send(&mut pool, &mut vec![Frame::from_bytes(&bytes)]).unwrap().frames, 1);
        let mut buffer = [0; 8];
        assert_eq!(listener.recv(&mut buffer).unwrap(), 3);
        assert_eq!(&buffer[..3], text);
    }
    assert_eq!(ports[1].recv(&mut pool, &mut Batch::new(), 64).unwrap().frames, 0);
}

#[test]
fn every_queue_of_the_interface_has_a_worker() {
    let Some(wire) = Wire::with_queues(3) else { return };
    let flows: Vec<UdpSocket> = (0..64).map(|_| wire.peer()).collect();
    for workers in [1, 2, 3, 4] {
        let Some(mut ports) = wire.open(workers) else { return };
        let sockets: Vec<usize> = ports.iter().map(|port| port.descriptors().len()).collect();
        assert_eq!(sockets, [&[3][..], &[2, 1], &[1, 1, 1], &[1, 1, 1, 0]][workers - 1]);
        for flow in &flows {
            flow.send_to(b"x", (WEIR, TUNNEL)).unwrap();
        }
        let mut pool = Pool::new(128);
        let came: Vec<usize> = ports.iter_mut().map(|port| drain(port, &mut pool).0.len()).collect();
        assert_eq!(came.iter().sum::<usize>(), flows.len(), "{came:?}");
        assert!(came.iter().take(3).all(|&frames| frames > 0), "{came:?}");
    }
}

#[test]
fn frames_longer_than_a_page_come_and_go_in_parts() {
    let Some(wire) = Wire::new() else { return };
    for node in [&wire.ours, &wire.theirs] {
        node.run(|netlink| netlink.set_mtu(netlink.link("underlay")?.unwrap().index, 9000));
    }
    let Some(mut port) = wire.port() else { return };
    assert_eq!(port.mechanism().mode, XdpMode::Native);
    let mut pool = Pool::new(64);
    let payload: Vec<u8> = (0..8972_u32).map(|n| (n % 251) as u8).collect();
    for len in [8972, 4000, 3000, 10] {
        wire.peer().send_to(&payload[..len], (WEIR, TUNNEL)).unwrap();
        let frame = wait_for(&mut port, &mut pool, |_| true);
        assert_eq!(frame.bytes()[42..], payload[..len]);
    }
    let listener = socket(&wire.theirs, IpAddr::V4(PEER), 0);
    let (theirs, ours) = wire.macs();
    let to = listener.local_addr().unwrap().port();
    for len in [8972, 4096 - 42, 4097 - 42, 1] {
        let bytes = udp_frame((ours, theirs), (WEIR.into(), PEER.into()), to, &payload[..len]);
        assert_eq!(port.send(&mut pool, &mut vec![Frame::from_bytes(&bytes)]).unwrap().frames, 1, "{len}");
        let mut buffer = [0; 9000];
        assert_eq!(listener.recv(&mut buffer).unwrap(), len);
        assert!(buffer[..len] == payload[..len]);
    }
}

#[test]
fn of_frames_in_parts_that_cannot_leave_every_packet_is_counted() {
    let Some(wire) = Wire::new() else { return };
    for node in [&wire.ours, &wire.theirs] {
        node.run(|netlink| netlink.set_mtu(netlink.link("underlay")?.unwrap().index, 9000));
    }
    let Some(mut port) = wire.port() else { return };
    let (mut pool, index) = (Pool::new(64), port.info().index);
    let (theirs, ours) = wire.macs();
    wire.ours.run(|netlink| netlink.set_up(index, false));
    // Three parts, one part, three parts.
    let mut batch: Batch = [(8900, 4), (100, 2), (8900, 1)]
        .map(|(len, packets)| {
            let mut frame =
                Frame::from_bytes(&udp_frame((ours, theirs), (WEIR.into(), PEER.into()), 9, &vec![7; len]));
            frame.packets = packets;
            frame
        })
        .into();
    let sent = port.send(&mut pool, &mut batch).unwrap();
    assert_eq!(sent, Sent { failed: 3, failed_packets: 7, ..Sent::default() });
}

#[test]
fn an_interface_whose_driver_runs_no_program_is_served_by_the_stack() {
    let Some(wire) = Wire::new() else { return };
    wire.ours.run(|netlink| {
        netlink.add_bridge("bridge")?;
        let bridge = netlink.link("bridge")?.unwrap().index;
        let veth = netlink.link("underlay")?.unwrap().index;
        netlink.set_master(veth, Some(bridge))?;
        netlink.add_address(bridge, "192.0.2.1/32".parse().unwrap())?;
        netlink.set_up(bridge, true)
    });
    let mac = wire.ours.run(|netlink| netlink.link("bridge")).unwrap().mac;
    let ports = wire.ours.netns.run(|| AfXdpPort::open_queues(&config("bridge"), 1)).unwrap();
    let Some(mut ports) = opened(ports) else { return };
    let port = &mut ports[0];
    assert_eq!((port.mechanism().mode, port.mechanism().zero_copy), (XdpMode::Generic, false));
    let mut sender = wire.theirs.netns.run(|| AfPacketPort::open_to_send("underlay")).unwrap().unwrap();
    let mut pool = Pool::new(64);
    let bytes = udp_frame((wire.macs().0, mac), (PEER.into(), WEIR.into()), TUNNEL, b"by the stack");
    sender.send(&mut pool, &mut vec![Frame::from_bytes(&bytes)]).unwrap();
    let frame = wait_for(port, &mut pool, |_| true);
    assert_eq!(frame.bytes(), bytes);
    let listener = socket(&wire.theirs, IpAddr::V4(PEER), 0);
    let to = listener.local_addr().unwrap().port();
    let bytes = udp_frame((mac, wire.macs().0), (WEIR.into(), PEER.into()), to, b"back");
    assert_eq!(port.send(&mut pool, &mut vec![Frame::from_bytes(&bytes)]).unwrap().frames, 1);
    assert_eq!(listener.recv(&mut [0; 8]).unwrap(), 4);
}

#[test]
fn what_a_kernel_vtep_sends_comes_whole_and_unsummed() {
    let Some(wire) = Wire::new() else { return };
    let Some(mut port) = wire.port() else { return };
    let socket = wire.theirs.netns.run(|| {
        let netlink = Netlink::open().unwrap();
        let dev_index = netlink.link("underlay").unwrap().unwrap().index;
        let vxlan = Vxlan {
            name: "flannel.1",
            vni: 1,
            port: TUNNEL,
            local: IpAddr::V4(PEER),
            dev_index,
            learning: false,
            mac: Some([2, 0, 0, 0, 1, 2]),
        };
        netlink.add_vxlan(&vxlan).unwrap();
        let index = netlink.link("flannel.1").unwrap().unwrap().index;
        netlink.set_up(index, true).unwrap();
        netlink.add_address(index, "10.9.0.2/24".parse().unwrap()).unwrap();
        let inside = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 1));
        netlink.add_neighbour(index, inside, [2, 0, 0, 0, 1, 1]).unwrap();
        netlink.add_fdb(index, [2, 0, 0, 0, 1, 1], IpAddr::V4(WEIR)).unwrap();
        UdpSocket::bind("10.9.0.2:0").unwrap()
    });
    socket.unwrap().send_to(b"from the kernel", "10.9.0.1:9").unwrap();
    let frame = wait_for(&mut port, &mut Pool::new(64), |frame| frame.bytes().ends_with(b"from the kernel"));
    assert!(matches!(frame.checksum, Checksum::Partial { start: 34, .. }));
    assert_eq!(frame.bytes()[42..50], [8, 0, 0, 0, 0, 0, 1, 0]);
}

#[test]
fn of_frames_that_lie_only_those_of_the_tunnel_come_and_unchanged() {
    let Some(wire) = Wire::new() else { return };
    let Some(mut port) = wire.port() else { return };
    let mut sender = wire.theirs.netns.run(|| AfPacketPort::open_to_send("underlay")).unwrap().unwrap();
    let mut pool = Pool::new(256);
    let good = udp_frame(wire.macs(), (PEER.into(), WEIR.into()), TUNNEL, &[9; 40]);
    // A plain generator (Knuth's), the same each time.
    let mut state = 1_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for _ in 0..20 {
        let mut sent: Vec<Vec<u8>> = Vec::new();
        for number in 0..50 {
            let mut bytes = good.clone();
            if number % 5 > 0 {
                // Lengths, versions, fragments, addresses, ports: anything but where the frame goes.
                for _ in 0..=random(3) {
                    bytes[12 + random(34)] = random(256) as u8;
                }
                bytes.truncate(15 + random(bytes.len() - 14));
            }
            sent.push(bytes);
        }
        let mut batch: Batch = sent.iter().map(|bytes| Frame::from_bytes(bytes)).collect();
        sender.send(&mut pool, &mut batch).unwrap();
        let (came, _) = drain(&mut port, &mut pool);
        let mut left = sent.iter();
        for frame in &came {
            assert!(left.any(|bytes| bytes == frame), "as sent, and in order: {frame:02x?}");
            assert!(frame[12..14] == [8, 0] && frame[23] == 17 && frame[30..34] == WEIR.octets());
        }
        assert!(came.iter().filter(|frame| **frame == good).count() >= 10);
    }
}
