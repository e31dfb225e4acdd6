//! Ports of the underlay on a veth, side by side: what it costs to receive and to send small frames one by one.
//!
//! Input: VXLAN datagrams around 64-byte inner frames (with FCS), 32 source ports, over a veth between two namespaces. To
//! receive: a packet socket sends them in batches from the first processor, and the port receives on the second, asking
//! without rest (`spins`) or waiting for its descriptors (`sleeps`). To send: the port sends batches of 64 to an
//! interface that drops them. To `wait`: one datagram at a time, a fraction of a millisecond to some after the other, and
//! how long it takes from its sender's call to the port's, which sleeps. Rounds go through all ports in turn. Unit: packets per second, and nanoseconds of processor
//! time per packet: those of the receiving or sending thread, and those of the generator with what the kernel does in its
//! context. Of waiting, the microseconds that half and 99 of 100 datagrams took at the most. Median and range. Left out: the pipeline, neighbour resolution, segments.
//!
//! The generator is the limit of what is received: figures rank what a port costs, they are no maxima. Needs the right to
//! make namespaces, and two processors.
//!
//! ```sh
//! cargo bench -p dataplane --bench underlay -- [--quick] [ROUNDS [MILLISECONDS]] [KIND …]
//! ```

#![allow(clippy::cast_precision_loss, reason = "counts of a bench stay far below 2^52")]

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use dataplane::buffer::{Batch, Frame, Outer, Pool};
use dataplane::ports::Port;
use dataplane::ports::af_packet::AfPacketPort;
use dataplane::ports::af_xdp::{AfXdpConfig, AfXdpPort};
use dataplane::ports::raw::{AfPacketUnderlay, PortHold, RawConfig};
use dataplane::ports::udp::{UdpConfig, UdpUnderlay};
use dataplane::sys::netlink::Netlink;
use dataplane::sys::netns::Netns;
use dataplane::sys::scheduling::pin_to;
use ipnet::{IpNet, Ipv4Net};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

const OURS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const TUNNEL: u16 = 8472;
/// An inner frame of 64 bytes without its FCS, behind a VXLAN header.
const PAYLOAD: usize = 8 + 60;
const FLOWS: u16 = 32;
const BATCH: usize = 64;

/// `ring` is `af_packet` that receives by a ring, `transmit_ring` one that sends by one.
const KINDS: [&str; 5] = ["af_packet", "ring", "transmit_ring", "af_xdp", "udp"];
/// Datagrams that are waited for in a trial.
const WAITS: usize = 300;

/// Two namespaces joined by a veth.
struct Wire {
    ours: Netns,
    theirs: Netns,
    macs: [[u8; 6]; 2],
}

impl Wire {
    fn new() -> std::io::Result<Self> {
        let (ours, theirs) = (Netns::run_in_new(Netns::current)??, Netns::run_in_new(Netns::current)??);
        let plug = |address: Ipv4Addr| -> std::io::Result<[u8; 6]> {
            let netlink = Netlink::open()?;
            let Some(link) = netlink.link("underlay")? else {
                return Err(std::io::ErrorKind::NotFound.into());
            };
            netlink.add_address(link.index, IpNet::from(Ipv4Net::new_assert(address, 24)))?;
            netlink.set_up(link.index, true)?;
            Ok(link.mac)
        };
        ours.run(|| Netlink::open()?.add_veth("underlay", "underlay", Some(&theirs)))??;
        let macs = [ours.run(|| plug(OURS))??, theirs.run(|| plug(PEER))??];
        Ok(Self { ours, theirs, macs })
    }

    /// The port, and what keeps the kernel from answering in its place.
    fn open(&self, kind: &str) -> std::io::Result<(Box<dyn Port>, Option<PortHold>)> {
        let (interface, locals) = ("underlay".to_owned(), vec![OURS.into()]);
        self.ours.run(|| -> std::io::Result<(Box<dyn Port>, Option<PortHold>)> {
            if kind == "udp" {
                let config = UdpConfig { local_v4: Some(OURS), ..UdpConfig::default() };
                return Ok((Box::new(UdpUnderlay::open(config)?), None));
            }
            let hold = PortHold::take(&locals, TUNNEL)?;
            let port: Box<dyn Port> = if kind == "af_xdp" {
                let config = AfXdpConfig { interface, locals, port: TUNNEL };
                Box::new(AfXdpPort::open_queues(&config, 1)?.swap_remove(0))
            } else {
                let (ring, transmit_ring) = (kind == "ring", kind == "transmit_ring");
                let config = RawConfig { interface, locals, port: TUNNEL, ring, transmit_ring };
                Box::new(AfPacketUnderlay::open_queues(&config, 1)?.swap_remove(0))
            };
            Ok((port, Some(hold)))
        })?
    }

    /// A frame of flow `flow` from one end to the other.
    fn frame(&self, flow: u16, (from, to): (usize, usize)) -> Vec<u8> {
        let addresses = [OURS, PEER];
        let mut ip = vec![0x45, 0];
        ip.extend((20 + 8 + PAYLOAD as u16).to_be_bytes());
        ip.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
        ip.extend(addresses[from].octets());
        ip.extend(addresses[to].octets());
        let sum: u32 = ip.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
        let folded = (sum & 0xffff) + (sum >> 16);
        ip[10..12].copy_from_slice(&(!folded as u16).to_be_bytes());
        let mut frame = [self.macs[to], self.macs[from]].concat();
        frame.extend([8, 0]);
        frame.extend(ip);
        for field in [49_152 + flow, TUNNEL, 8 + PAYLOAD as u16, 0] {
            frame.extend(field.to_be_bytes());
        }
        frame.extend([8, 0, 0, 0, 0, 0, 1, 0]);
        frame.extend([0; PAYLOAD - 8]);
        frame
    }
}

/// Nanoseconds this thread has been on a processor.
fn processor_time() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// What one trial found.
#[derive(Clone, Copy)]
struct Trial {
    pps: f64,
    own_ns: f64,
    other_ns: f64,
}

/// Sends until told to stop; the time it took of a processor.
fn generate(wire: &Wire, stop: &AtomicBool) -> u64 {
    let port = wire.theirs.run(|| AfPacketPort::open_to_send("underlay")).and_then(|port| port);
    let mut port = port.expect("a packet socket");
    let frames: Vec<Vec<u8>> = (0..FLOWS).map(|flow| wire.frame(flow, (1, 0))).collect();
    let (mut pool, mut batch, mut next) = (Pool::new(BATCH), Batch::new(), frames.iter().cycle());
    let start = processor_time();
    while !stop.load(Ordering::Relaxed) {
        for bytes in next.by_ref().take(BATCH) {
            let mut frame = pool.take().expect("all came back");
            frame.write(bytes);
            batch.push(frame);
        }
        port.send(&mut pool, &mut batch).expect("the interface is there");
    }
    processor_time() - start
}

/// What is woken when something comes by the port.
fn waiting_for(port: &dyn Port) -> Poll {
    let poll = Poll::new().expect("epoll");
    for descriptor in port.descriptors() {
        let source = &mut SourceFd(&descriptor);
        poll.registry().register(source, Token(0), Interest::READABLE).expect("registered");
    }
    poll
}

fn receive(wire: &Wire, kind: &str, sleeps: bool, length: Duration) -> Trial {
    let (mut port, _hold) = wire.open(kind).unwrap_or_else(|error| panic!("{kind}: {error}"));
    let (stop, other) = (AtomicBool::new(false), AtomicU64::new(0));
    let (got, took, own) = thread::scope(|scope| {
        scope.spawn(|| {
            pin_to(0).expect("pinned");
            other.store(generate(wire, &stop), Ordering::Relaxed);
        });
        let receiver = scope.spawn(|| {
            pin_to(1).expect("pinned");
            let mut poll = waiting_for(&*port);
            let (mut pool, mut batch, mut events) = (Pool::new(256), Batch::new(), Events::with_capacity(8));
            let (mut got, start, cpu) = (0, Instant::now(), processor_time());
            while start.elapsed() < length {
                let received = port.recv(&mut pool, &mut batch, BATCH).expect("the interface is there");
                got += received.frames;
                pool.give_all(batch.drain(..));
                if sleeps && !received.more {
                    let _ = poll.poll(&mut events, Some(Duration::from_millis(10)));
                }
            }
            let (took, own) = (start.elapsed(), processor_time() - cpu);
            stop.store(true, Ordering::Relaxed);
            (got as f64, took, own)
        });
        receiver.join().expect("the receiver ends")
    });
    let each = |ns: u64| ns as f64 / got.max(1.0);
    Trial { pps: got / took.as_secs_f64(), own_ns: each(own), other_ns: each(other.into_inner()) }
}

fn send(wire: &Wire, kind: &str, length: Duration) -> Trial {
    let (mut port, _hold) = wire.open(kind).unwrap_or_else(|error| panic!("{kind}: {error}"));
    let templates: Vec<Frame> = (0..FLOWS)
        .map(|flow| {
            let mut frame = Frame::from_bytes(&wire.frame(flow, (0, 1)));
            if kind == "udp" {
                frame.pull_front(42);
                frame.outer =
                    Some(Outer { peer: PEER.into(), local: OURS.into(), source_port: 49_152 + flow, tos: 0 });
            }
            frame
        })
        .collect();
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            pin_to(0).expect("pinned");
            let (mut pool, mut batch, mut next) = (Pool::new(BATCH), Batch::new(), templates.iter().cycle());
            let (mut sent, start, cpu) = (0, Instant::now(), processor_time());
            while start.elapsed() < length {
                for template in next.by_ref().take(BATCH) {
                    let mut frame = pool.take().expect("all came back");
                    frame.write(template.bytes());
                    frame.outer = template.outer;
                    batch.push(frame);
                }
                sent += port.send(&mut pool, &mut batch).expect("the interface is there").frames;
            }
            let (took, own) = (start.elapsed(), processor_time() - cpu);
            let sent = sent as f64;
            Trial { pps: sent / took.as_secs_f64(), own_ns: own as f64 / sent.max(1.0), other_ns: 0.0 }
        });
        sender.join().expect("the sender ends")
    })
}

/// Microseconds that datagrams took from one end to the other.
fn wait(wire: &Wire, kind: &str) -> Vec<f64> {
    let (mut port, _hold) = wire.open(kind).unwrap_or_else(|error| panic!("{kind}: {error}"));
    let (epoch, sent_at, arrived) = (Instant::now(), AtomicU64::new(0), AtomicU64::new(0));
    let now = || epoch.elapsed().as_nanos() as u64;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            pin_to(1).expect("pinned");
            let mut poll = waiting_for(&*port);
            let (mut pool, mut batch, mut events) = (Pool::new(256), Batch::new(), Events::with_capacity(8));
            while !stop.load(Ordering::Relaxed) {
                let received = port.recv(&mut pool, &mut batch, BATCH).expect("the interface is there");
                if received.frames > 0 {
                    arrived.store(now(), Ordering::Release);
                }
                pool.give_all(batch.drain(..));
                if !received.more {
                    let _ = poll.poll(&mut events, Some(Duration::from_millis(10)));
                }
            }
        });
        let sender = scope.spawn(|| {
            pin_to(0).expect("pinned");
            let bind = || UdpSocket::bind((PEER, 0));
            let socket = wire.theirs.run(bind).and_then(|socket| socket).expect("a socket");
            let mut took = Vec::with_capacity(WAITS);
            for number in 0..WAITS {
                // Steps that share no factor with a period of a millisecond.
                thread::sleep(Duration::from_micros(300 + (number as u64 * 617) % 2000));
                let before = arrived.load(Ordering::Acquire);
                sent_at.store(now(), Ordering::Relaxed);
                socket.send_to(&[0; PAYLOAD], (OURS, TUNNEL)).expect("sent");
                let give_up = Instant::now() + Duration::from_millis(100);
                while arrived.load(Ordering::Acquire) == before && Instant::now() < give_up {
                    thread::sleep(Duration::from_micros(50));
                }
                let at = arrived.load(Ordering::Acquire);
                assert_ne!(at, before, "{kind}: a datagram is lost");
                took.push((at - sent_at.load(Ordering::Relaxed)) as f64 / 1e3);
            }
            stop.store(true, Ordering::Relaxed);
            took
        });
        sender.join().expect("the sender ends")
    })
}

fn show(name: &str, trials: &[Trial]) {
    let spread = |of: fn(&Trial) -> f64| {
        let mut values: Vec<f64> = trials.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        (values[values.len() / 2], values[0], values[values.len() - 1])
    };
    let (pps, least, most) = spread(|trial| trial.pps / 1e3);
    let (own, other) = (spread(|trial| trial.own_ns).0, spread(|trial| trial.other_ns).0);
    println!(
        "{name:<24} {pps:6.0}k pps [{least:.0}..{most:.0}]   {own:5.0} ns own   {other:5.0} ns generator"
    );
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut numbers = arguments.iter().filter_map(|argument| argument.parse().ok());
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let (rounds, length) = if quick { (1, 100) } else { (5, 500) };
    let (rounds, length) =
        (numbers.next().unwrap_or(rounds), Duration::from_millis(numbers.next().unwrap_or(length)));
    let mut kinds: Vec<&str> =
        KINDS.into_iter().filter(|kind| arguments.iter().any(|argument| argument == kind)).collect();
    if kinds.is_empty() {
        kinds.extend(KINDS);
    }
    let to_receive: Vec<(&str, bool)> =
        [false, true].into_iter().flat_map(|sleeps| kinds.iter().map(move |kind| (*kind, sleeps))).collect();
    let mut received = vec![Vec::new(); to_receive.len()];
    let mut sent = vec![Vec::new(); kinds.len()];
    let mut waited = vec![Vec::new(); kinds.len()];
    for _ in 0..rounds {
        for ((kind, sleeps), trials) in to_receive.iter().zip(&mut received) {
            // The drop that a packet socket leaves on the interface would stand in the way of the others.
            match Wire::new() {
                Ok(wire) => trials.push(receive(&wire, kind, *sleeps, length)),
                Err(error) => return println!("skipped: no right to make a network namespace ({error})"),
            }
        }
        for (kind, trials) in kinds.iter().zip(&mut waited) {
            trials.extend(wait(&Wire::new().expect("as before"), kind));
        }
        for (kind, trials) in kinds.iter().zip(&mut sent) {
            let wire = Wire::new().expect("as before");
            let drop = || {
                let netlink = Netlink::open()?;
                let link = netlink.link("underlay")?.ok_or(std::io::ErrorKind::NotFound)?;
                let neighbour = wire.macs[1];
                netlink.ensure_ingress_drop(link.index).map(|()| neighbour)
            };
            let mac = wire.theirs.run(drop).and_then(|mac| mac).expect("a drop");
            let known = || {
                let netlink = Netlink::open()?;
                let link = netlink.link("underlay")?.ok_or(std::io::ErrorKind::NotFound)?;
                netlink.add_neighbour(link.index, PEER.into(), mac)
            };
            wire.ours.run(known).and_then(|known| known).expect("a neighbour");
            trials.push(send(&wire, kind, length));
        }
    }
    for ((kind, sleeps), trials) in to_receive.iter().zip(&received) {
        show(&format!("receive {kind} {}", if *sleeps { "sleeps" } else { "spins" }), trials);
    }
    for (kind, trials) in kinds.iter().zip(&sent) {
        show(&format!("send    {kind}"), trials);
    }
    for (kind, took) in kinds.iter().zip(&mut waited) {
        took.sort_by(f64::total_cmp);
        let (half, most) = (took[took.len() / 2], took[took.len() * 99 / 100]);
        println!("{:<24} {half:6.0} us half   {most:6.0} us 99 %", format!("wait    {kind}"));
    }
}
