//! Arbitrary bytes and damaged packets at every port: nothing panics, the books hold (see [`super::world`]), and
//! what no rule allows does not come out.

use proptest::prelude::*;

use super::neighbours::{Arp, solicitation};
use super::outer::Envelope;
use super::packets::*;
use super::world::*;
use crate::buffer::{Checksum, Gso, GsoKind, Outer};
use crate::ports::Capabilities;
use policy_compiler::Key;
use vxlan::mtu::Family;
use vxlan::wire::ethernet;
use vxlan::wire::headers::{self, Network};

/// Blue may ask green for names and pages. Nobody else may reach green, not even the node, and green opens nothing.
fn narrow(key: &Key) -> bool {
    let is_green = |address| FAMILIES.map(green).contains(&address);
    let is_blue = |address| FAMILIES.map(blue).contains(&address);
    let service = matches!((key.protocol, key.dst_port), (17, 53) | (6, 80));
    if is_green(key.dst) { is_blue(key.src) && service } else { !is_green(key.src) }
}

/// Where a frame goes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum In {
    Blue,
    Green,
    Ghost,
    Node,
    Underlay,
}

/// One valid frame of many shapes for each way in.
fn samples(way: In) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    for family in FAMILIES {
        let (src, dst) = match way {
            In::Blue | In::Ghost => (blue(family), green(family)),
            In::Green => (green(family), blue(family)),
            In::Node => (gateway(family), green(family)),
            In::Underlay => (bee(family), blue(family)),
        };
        let (protocol, request) = echo(src, true, 9);
        let query = Ip::new(src, dst, 17, udp(4000, 53, b"query"));
        let asked = Ip::new(dst, src, 17, udp(4000, 53, b"query"));
        let (icmp, error) = icmp_error(if family == Family::V4 { 3 } else { 1 }, 3, 0, &asked);
        packets.extend([
            query.clone(),
            Ip::new(src, dst, 6, tcp(4000, 80, SYN)),
            Ip::new(src, dst, 6, tcp_with(80, 4000, ACK, b"page")),
            Ip::new(src, dst, 132, sctp(4000, 5000, 0, 1, &[0; 16])),
            Ip::new(src, dst, protocol, request),
            Ip::new(src, dst, icmp, error),
            Ip::new(src, bee(family), 17, udp(4000, 53, b"away")),
            Ip::new(src, outside(family), 6, tcp(4000, 443, SYN)),
            Ip::new(src, node(family), 17, udp(4000, 8472, &[8, 0, 0, 0, 0, 0, 1, 0])),
        ]);
        packets.extend(Ip::new(src, dst, 17, udp(4000, 53, &[7; 100])).fragments(64));
    }
    let [v4, v6] = FAMILIES;
    packets.push(solicitation(blue(v6), gateway(v6)));
    let wrapped = packets.into_iter().map(|packet| match way {
        In::Blue | In::Ghost => packet,
        In::Green => packet.by_green(),
        In::Node => packet.by_node(),
        In::Underlay => packet.by_b(),
    });
    let mut frames: Vec<_> = wrapped.map(|packet| packet.frame()).collect();
    frames.push(Arp::request(gateway(v4)).frame());
    frames
}

#[derive(Debug, Clone)]
enum Damage {
    None,
    Set(usize, u8),
    Cut(usize),
    Insert(usize, u8),
    /// Cut anywhere, but with the IPv4 header made right again afterwards.
    SetAndSum(usize, u8),
}

fn damaged(mut bytes: Vec<u8>, damage: &Damage) -> Vec<u8> {
    let len = bytes.len();
    match *damage {
        Damage::None => {}
        Damage::Set(at, value) => {
            if let Some(byte) = bytes.get_mut(at % len.max(1)) {
                *byte = value;
            }
        }
        Damage::Cut(at) => bytes.truncate(at % (len + 1)),
        Damage::Insert(at, value) => bytes.insert(at % (len + 1), value),
        Damage::SetAndSum(at, value) => {
            if let Some(byte) = bytes.get_mut(14 + at % 40).filter(|_| len > 54) {
                *byte = value;
            }
            let header = usize::from(bytes.get(14).map_or(0, |first| first & 15)) * 4;
            if header >= 20 && len > 14 + header && bytes.get(12) == Some(&8) {
                sum_header(&mut bytes[14..14 + header]);
            }
        }
    }
    bytes
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        2 => Just(Damage::None),
        4 => (any::<usize>(), any::<u8>()).prop_map(|(at, value)| Damage::Set(at, value)),
        2 => any::<usize>().prop_map(Damage::Cut),
        1 => (any::<usize>(), any::<u8>()).prop_map(|(at, value)| Damage::Insert(at, value)),
        4 => (any::<usize>(), any::<u8>()).prop_map(|(at, value)| Damage::SetAndSum(at, value)),
    ]
}

fn metadata() -> impl Strategy<Value = (Checksum, Option<Gso>)> {
    let checksum = prop_oneof![
        4 => Just(Checksum::Complete),
        1 => (prop_oneof![Just(34), Just(54), any::<u16>()], prop_oneof![Just(6), Just(16), any::<u16>()])
            .prop_map(|(start, offset)| Checksum::Partial { start, offset }),
    ];
    let kind = prop_oneof![Just(GsoKind::Tcp4), Just(GsoKind::Tcp6), Just(GsoKind::UdpL4)];
    let gso = prop_oneof![
        4 => Just(None),
        1 => (kind, any::<u16>(), any::<bool>()).prop_map(|(kind, size, ecn)| Some(Gso { kind, size, ecn })),
    ];
    (checksum, gso)
}

fn way() -> impl Strategy<Value = In> {
    prop_oneof![Just(In::Blue), Just(In::Green), Just(In::Ghost), Just(In::Node), Just(In::Underlay)]
}

#[derive(Debug, Clone)]
struct Step {
    way: In,
    sample: usize,
    arbitrary: Option<Vec<u8>>,
    damage: Vec<Damage>,
    metadata: (Checksum, Option<Gso>),
    /// On the underlay: damage to the envelope rather than to what is in it.
    outside: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let arbitrary = prop_oneof![
        7 => Just(None),
        1 => prop::collection::vec(any::<u8>(), 0..200).prop_map(Some),
    ];
    (way(), any::<usize>(), arbitrary, prop::collection::vec(damage(), 1..4), metadata(), any::<bool>())
        .prop_map(|(way, sample, arbitrary, damage, metadata, outside)| Step {
            way,
            sample,
            arbitrary,
            damage,
            metadata,
            outside,
        })
}

/// What must hold of every frame that came out, wherever `way` in was.
fn check(world: &World, way: In, outcome: &Outcome) -> Result<(), TestCaseError> {
    for sent in &outcome.sent {
        prop_assert!(sent.port != world.ghost, "to a port without a pod");
        let frame = if sent.port == world.underlay { tunnelled(sent) } else { &sent.bytes[..] };
        let Some((eth, _)) = ethernet::parse(frame) else { panic!("no Ethernet header: {sent:?}") };
        if eth.ethertype == ethernet::ARP {
            prop_assert_eq!(outcome.answered > 0, true);
            continue;
        }
        let Ok(parsed) = headers::parse(frame, sent.gso.is_some()) else {
            return Err(TestCaseError::fail(format!("what leaves does not parse: {sent:?}")));
        };
        let Network::Ip(ip) = parsed.net else { continue };
        let own_answer = ip.src == gateway(ip.family) || outcome.answered > 0;
        if sent.port == world.green && way != In::Green {
            prop_assert!(way == In::Blue, "green was reached from {way:?}: {sent:?}");
            prop_assert_eq!(ip.src, blue(ip.family));
        }
        if way == In::Underlay {
            prop_assert!(
                sent.port != world.node || ip.dst == node(ip.family) || ip.dst == gateway(ip.family)
            );
            prop_assert!(sent.port != world.underlay || own_answer, "no transit: {sent:?}");
        }
        if matches!(way, In::Blue | In::Green) && !own_answer {
            let pod = if way == In::Blue { blue(ip.family) } else { green(ip.family) };
            prop_assert_eq!(ip.src, pod, "a pod speaks for itself");
        }
        if way == In::Ghost {
            return Err(TestCaseError::fail(format!("a port without a pod was heard: {sent:?}")));
        }
    }
    Ok(())
}

fn tunnelled(sent: &Sent) -> &[u8] {
    super::outer::opened(sent).1
}

fn run(datagrams: bool, steps: &[Step]) -> Result<(), TestCaseError> {
    let capabilities = Capabilities { checksum: false, tso: true, uso: false };
    let underlay =
        if datagrams { super::super::Role::UnderlayDatagram } else { super::super::Role::UnderlayFrame };
    let mut world = World::with(Plan { underlay, capabilities, ..Plan::default() });
    world.allow(narrow);
    for step in steps {
        let samples = samples(step.way);
        let mut bytes =
            step.arbitrary.clone().unwrap_or_else(|| samples[step.sample % samples.len()].clone());
        let envelope = Envelope::from_b();
        if step.way == In::Underlay && step.outside {
            bytes = if datagrams { envelope.datagram(&bytes) } else { envelope.frame(&bytes) };
        }
        for damage in &step.damage {
            bytes = damaged(bytes, damage);
        }
        let (port, mut frame) = match step.way {
            In::Blue => (world.blue, world.frame(&bytes)),
            In::Green => (world.green, world.frame(&bytes)),
            In::Ghost => (world.ghost, world.frame(&bytes)),
            In::Node => (world.node, world.frame(&bytes)),
            In::Underlay if step.outside => {
                let mut frame = world.frame(&bytes);
                frame.outer = datagrams.then(|| Outer { tos: bytes.len() as u8, ..envelope.metadata() });
                (world.underlay, frame)
            }
            In::Underlay => (world.underlay, world.sealed(&envelope, &bytes)),
        };
        if step.way != In::Underlay {
            (frame.checksum, frame.gso) = step.metadata;
        }
        let outcome = world.inject_frames(port, vec![frame]);
        check(&world, step.way, &outcome)?;
    }
    world.pass(std::time::Duration::from_mins(1));
    world.tick();
    prop_assert_eq!(world.counters.held.get(), 0);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_panic_leak_or_pass_what_is_denied(
        datagrams in any::<bool>(),
        steps in prop::collection::vec(step(), 1..150),
    ) {
        run(datagrams, &steps)?;
    }
}

/// Every sample at every way in, cut at every byte, in one world whose connections they open.
#[test]
fn every_shape_cut_at_every_byte_at_every_port_keeps_the_books() {
    for way in [In::Blue, In::Green, In::Ghost, In::Node, In::Underlay] {
        for (sample, frame) in samples(way).into_iter().enumerate() {
            let steps: Vec<Step> = (0..=frame.len())
                .map(|len| Step {
                    way,
                    sample,
                    arbitrary: None,
                    damage: vec![Damage::Cut(len)],
                    metadata: (Checksum::Complete, None),
                    outside: false,
                })
                .collect();
            for datagrams in [false, true] {
                run(datagrams, &steps).expect("the books hold");
            }
        }
    }
}
