//! Super-packets and unfinished checksums: passed on where the way out takes them, finished where it does not.

use vxlan::mtu::Family;
use vxlan::wire::checksum;
use vxlan::wire::headers::L4;

use super::outer::{Envelope, opened};
use super::packets::*;
use super::world::*;
use crate::buffer::{Checksum, Frame, Gso, GsoKind};
use crate::drop_reason::DropReason;
use crate::ports::Capabilities;

const ALL: Capabilities = Capabilities { checksum: true, tso: true, uso: true };
const MSS: u16 = 1300;

fn world(capabilities: Capabilities) -> World {
    World::with(Plan { capabilities, ..Plan::default() })
}

/// A packet as a kernel hands it over unfinished: the pseudo header's sum in place of the checksum.
fn unfinished(world: &mut World, packet: &Ip, offset: u16) -> Frame {
    let start: u16 = if packet.src.is_ipv4() { 34 } else { 54 };
    let mut raw = Ip { sum_l4: false, ..packet.clone() };
    let sum = checksum::pseudo_header(packet.src, packet.dst, packet.protocol, raw.l4.len() as u32);
    let at = usize::from(offset);
    raw.l4[at..at + 2].copy_from_slice(&checksum::fold(sum).to_be_bytes());
    let mut frame = world.frame(&raw.frame());
    frame.checksum = Checksum::Partial { start, offset };
    frame
}

fn super_packet(world: &mut World, packet: &Ip) -> Frame {
    let (kind, offset) = match (packet.protocol, packet.src.is_ipv4()) {
        (17, _) => (GsoKind::UdpL4, 6),
        (_, true) => (GsoKind::Tcp4, 16),
        (_, false) => (GsoKind::Tcp6, 16),
    };
    let mut frame = unfinished(world, packet, offset);
    frame.gso = Some(Gso { kind, size: MSS, ecn: false });
    frame
}

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

/// Opens blue's connection to `dst` so that data may follow.
fn open(world: &mut World, family: Family) {
    for dst in [green(family), bee(family)] {
        let syn = Ip::new(blue(family), dst, 6, tcp(4000, 80, SYN));
        world.inject(world.blue, &syn.frame()).one();
    }
    let answer = Ip::new(green(family), blue(family), 6, tcp(80, 4000, SYN | ACK)).by_green();
    world.inject(world.green, &answer.frame()).one();
    let answer = Ip::new(bee(family), blue(family), 6, tcp(80, 4000, SYN | ACK)).by_b();
    world.inject_overlay(&Envelope::from_b(), &answer.frame()).one();
}

#[test]
fn an_unfinished_checksum_is_passed_to_a_port_that_takes_it() {
    for family in FAMILIES {
        let mut world = world(ALL);
        let packet = Ip::new(blue(family), green(family), 17, udp(4000, 53, b"query"));
        let frame = unfinished(&mut world, &packet, 6);
        let outcome = world.inject_frames(world.blue, vec![frame]);
        let start = if family == Family::V4 { 34 } else { 54 };
        assert_eq!(outcome.one().checksum, Checksum::Partial { start, offset: 6 });
    }
}

#[test]
fn an_unfinished_checksum_is_finished_for_a_port_that_does_not_take_it_and_for_the_tunnel() {
    for family in FAMILIES {
        let mut world = world(Capabilities::default());
        let packet = Ip::new(blue(family), green(family), 17, udp(4000, 53, b"query"));
        let frame = unfinished(&mut world, &packet, 6);
        let outcome = world.inject_frames(world.blue, vec![frame]);
        assert_eq!(outcome.one().checksum, Checksum::Complete);
        assert_valid(&outcome.one().bytes);
        let packet = Ip::new(blue(family), bee(family), 17, udp(4000, 53, b"query"));
        let frame = unfinished(&mut world, &packet, 6);
        let outcome = world.inject_frames(world.blue, vec![frame]);
        assert_eq!(outcome.one().checksum, Checksum::Complete);
        assert_valid(opened(outcome.one()).1);
    }
}

/// RFC 768 checksum offload over an unverified place: bytes would be written where no checksum is.
#[test]
fn a_checksum_place_that_is_not_the_transports_is_refused() {
    let [v4, _] = FAMILIES;
    let packet = Ip::new(blue(v4), green(v4), 17, udp(4000, 53, b"query"));
    for (start, offset) in
        [(34, 0), (34, 16), (26, 6), (14, 10), (0, 0), (60_000, 6), (34, 60_000), (u16::MAX, u16::MAX)]
    {
        let mut world = world(ALL);
        let mut frame = world.frame(&packet.frame());
        frame.checksum = Checksum::Partial { start, offset };
        world.inject_frames(world.blue, vec![frame]).dropped(DropReason::BadHeader);
    }
}

#[test]
fn a_super_packet_crosses_whole_where_the_port_takes_it() {
    for family in FAMILIES {
        let mut world = world(ALL);
        open(&mut world, family);
        let data = payload(40_000);
        let packet = Ip::new(blue(family), green(family), 6, tcp_with(4000, 80, ACK | PSH, &data)).df();
        let frame = super_packet(&mut world, &packet);
        let outcome = world.inject_frames(world.blue, vec![frame]);
        let sent = outcome.one();
        assert_eq!(sent.port, world.green);
        assert_eq!(sent.gso.map(|gso| gso.size), Some(MSS));
        assert!(matches!(sent.checksum, Checksum::Partial { .. }));
        assert_eq!(sent.bytes.len(), packet.frame().len());
    }
}

/// Holds segments to what the sender's own stack would have sent (RFC 9293: sequence numbers, flags).
#[track_caller]
fn assert_segments<'a>(frames: impl Iterator<Item = &'a [u8]>, data: &[u8]) {
    let mut whole: Vec<u8> = Vec::new();
    for frame in frames {
        assert_valid(frame);
        let L4::Tcp { seq, flags, .. } = ip(frame).l4 else { panic!("TCP") };
        assert_eq!(seq as usize, 1000 + whole.len());
        whole.extend_from_slice(&l4(frame)[20..]);
        let last = whole.len() == data.len();
        assert_eq!(flags & PSH != 0, last, "PSH on the last segment alone");
    }
    assert_eq!(whole, data);
}

#[test]
fn a_super_packet_is_cut_for_a_port_that_does_not_take_it() {
    for family in FAMILIES {
        let mut world = world(Capabilities { checksum: true, ..Capabilities::default() });
        open(&mut world, family);
        let data = payload(40_000);
        let packet = Ip::new(blue(family), green(family), 6, tcp_with(4000, 80, ACK | PSH, &data)).df();
        let frame = super_packet(&mut world, &packet);
        let outcome = world.inject_frames(world.blue, vec![frame]);
        assert_eq!((outcome.forwarded, outcome.drops.len()), (1, 0), "a super-packet counts as one");
        assert_eq!(outcome.sent.len(), data.len().div_ceil(MSS.into()));
        assert!(outcome.sent.iter().all(|sent| sent.gso.is_none() && sent.port == world.green));
        assert_segments(outcome.sent.iter().map(|sent| &sent.bytes[..]), &data);
    }
}

#[test]
fn a_super_packet_to_the_tunnel_is_cut_and_every_segment_is_valid() {
    for family in FAMILIES {
        for underlay in [super::super::Role::UnderlayFrame, super::super::Role::UnderlayDatagram] {
            let mut world = World::with(Plan { capabilities: ALL, underlay, ..Plan::default() });
            open(&mut world, family);
            let data = payload(60_000);
            let packet = Ip::new(blue(family), bee(family), 6, tcp_with(4000, 80, ACK | PSH, &data)).df();
            let frame = super_packet(&mut world, &packet);
            let outcome = world.inject_frames(world.blue, vec![frame]);
            assert_eq!((outcome.forwarded, outcome.drops.len()), (1, 0));
            let opened: Vec<_> = outcome.sent.iter().map(opened).collect();
            assert!(opened.iter().all(|(outer, _)| outer.source_port == opened[0].0.source_port));
            assert_segments(opened.iter().map(|(_, inner)| *inner), &data);
        }
    }
}

#[test]
fn datagrams_sent_as_one_are_cut_into_what_they_were() {
    for family in FAMILIES {
        let mut world = world(Capabilities::default());
        let data = payload(4 * usize::from(MSS) + 100);
        let packet = Ip::new(blue(family), bee(family), 17, udp(4000, 53, &data)).df();
        let frame = super_packet(&mut world, &packet);
        let outcome = world.inject_frames(world.blue, vec![frame]);
        assert_eq!((outcome.forwarded, outcome.sent.len()), (1, 5));
        let mut whole = Vec::new();
        for sent in &outcome.sent {
            let (_, inner) = opened(sent);
            assert_valid(inner);
            whole.extend_from_slice(&l4(inner)[8..]);
        }
        assert_eq!(whole, data);
    }
}

/// A segment size that does not fit the tunnel: the sender is told, as for any packet of that size.
#[test]
fn segments_too_big_for_the_tunnel_are_answered() {
    for family in FAMILIES {
        let mut world = World::with(Plan { capabilities: ALL, pod_mtu: 9000, ..Plan::default() });
        open(&mut world, family);
        let packet = Ip::new(blue(family), bee(family), 6, tcp_with(4000, 80, ACK, &payload(20_000))).df();
        let mut frame = super_packet(&mut world, &packet);
        frame.gso = frame.gso.map(|gso| Gso { size: 1451, ..gso });
        let outcome = world.inject_frames(world.blue, vec![frame]);
        let sent = outcome.dropped_with_error(DropReason::TooBig);
        assert_valid(&sent.bytes);
        assert_eq!(l4(&sent.bytes)[4..8], u32::from(TUNNEL_MTU_4).to_be_bytes());
    }
}

#[test]
fn a_super_packet_that_claims_another_protocol_is_refused() {
    for family in FAMILIES {
        let kinds = [GsoKind::Tcp4, GsoKind::Tcp6, GsoKind::UdpL4];
        for (kind, size) in kinds.into_iter().flat_map(|kind| [(kind, 0), (kind, MSS)]) {
            let mut world = world(Capabilities::default());
            let packet = Ip::new(blue(family), green(family), 132, sctp(4000, 80, 0, 1, &payload(4000)));
            let mut frame = world.frame(&packet.frame());
            frame.gso = Some(Gso { kind, size, ecn: false });
            world.inject_frames(world.blue, vec![frame]).dropped(DropReason::BadHeader);
        }
    }
}

/// Out of packet memory half-way: what was cut has gone, what was not is lost, and the books hold.
#[test]
fn a_super_packet_cut_short_by_want_of_memory_keeps_the_books() {
    let [v4, _] = FAMILIES;
    let mut world = world(Capabilities::default());
    open(&mut world, v4);
    let packet = Ip::new(blue(v4), bee(v4), 6, tcp_with(4000, 80, ACK, &payload(60_000))).df();
    let batch = (0..4).map(|_| super_packet(&mut world, &packet)).collect();
    world.borrow_frames(100);
    let outcome = world.inject_frames(world.blue, batch);
    world.return_frames();
    assert!(outcome.drops.iter().all(|(reason, _)| *reason == DropReason::NoBuffer), "{outcome:?}");
    assert_eq!(outcome.forwarded + outcome.drops.iter().map(|(_, count)| count).sum::<u64>(), 4);
}

#[test]
fn bytes_behind_a_super_packet_are_not_forwarded() {
    for family in FAMILIES {
        let mut world = world(ALL);
        open(&mut world, family);
        let packet = Ip::new(blue(family), green(family), 6, tcp_with(4000, 80, ACK, &payload(4_000))).df();
        let super_frame = super_packet(&mut world, &packet);
        let mut frame = world.frame(&[super_frame.bytes(), &[0xee; 300]].concat());
        (frame.checksum, frame.gso) = (super_frame.checksum, super_frame.gso);
        let outcome = world.inject_frames(world.blue, vec![super_frame, frame]);
        assert_eq!(outcome.sent.len(), 2);
        assert_eq!(outcome.sent[0].bytes, outcome.sent[1].bytes);
    }
}

/// A kernel sender over veth hands its segments over whole and unsummed, and a UDP socket tells nothing of it.
#[test]
fn a_whole_segment_of_a_kernel_sender_is_cut_and_summed_for_the_pod() {
    for family in FAMILIES {
        for mut world in World::on_both() {
            open(&mut world, family);
            let data = payload(20_000);
            let packet =
                Ip::new(bee(family), blue(family), 6, tcp_with(80, 4000, ACK | PSH, &data)).by_b().df();
            let inner = unfinished(&mut world, &packet, 16);
            let bytes = inner.bytes().to_vec();
            world.give_back(inner);
            let outcome = world.inject_overlay(&Envelope::from_b(), &bytes);
            assert_eq!((outcome.forwarded, outcome.drops.len()), (1, 0), "{outcome:?}");
            assert!(outcome.sent.len() > 10);
            assert!(outcome.sent.iter().all(|sent| ip(&sent.bytes).ip_len <= 1450));
            assert_segments(outcome.sent.iter().map(|sent| &sent.bytes[..]), &data);
        }
    }
}

/// The outer checksum holds, at best, once the inner one is written (Linux's local checksum offload).
#[test]
fn an_outer_packet_that_never_left_the_host_is_not_held_to_its_checksum() {
    for family in FAMILIES {
        let mut world = World::new();
        let packet = Ip::new(bee(family), blue(family), 17, udp(4000, 53, b"query")).by_b();
        let inner = unfinished(&mut world, &packet, 6);
        let outer = Envelope::from_b().packet(inner.bytes());
        let Checksum::Partial { start, offset } = inner.checksum else { panic!("unfinished") };
        world.give_back(inner);
        let mut outer = Ip { sum_l4: false, ..outer };
        outer.l4[6..8].copy_from_slice(&[0x12, 0x34]);
        let mut frame = world.frame(&outer.frame());
        frame.checksum = Checksum::Partial { start: start + 50, offset };
        let outcome = world.inject_frames(world.underlay, vec![frame]);
        assert_eq!(outcome.one().checksum, Checksum::Complete);
        assert_valid(&outcome.one().bytes);
    }
}

/// A packet socket tells how a super-packet inside the tunnel is to be cut.
#[test]
fn a_super_packet_of_a_kernel_sender_keeps_what_its_vnet_header_says() {
    for family in FAMILIES {
        let mut world = world(ALL);
        open(&mut world, family);
        let data = payload(20_000);
        let packet = Ip::new(bee(family), blue(family), 6, tcp_with(80, 4000, ACK | PSH, &data)).by_b().df();
        let inner = super_packet(&mut world, &packet);
        let outer = Envelope::from_b().packet(inner.bytes());
        let (checksum, gso) = (inner.checksum, inner.gso.map(|gso| Gso { size: 1000, ..gso }));
        let Checksum::Partial { start, offset } = checksum else { panic!("unfinished") };
        world.give_back(inner);
        let mut frame = world.frame(&outer.frame());
        (frame.checksum, frame.gso) = (Checksum::Partial { start: start + 50, offset }, gso);
        let outcome = world.inject_frames(world.underlay, vec![frame]);
        assert_eq!((outcome.one().checksum, outcome.one().gso), (checksum, gso));
    }
}

/// It would be cut where the datagram inside is, not where it was joined.
#[test]
fn a_train_that_nobody_took_apart_is_refused() {
    let [v4, _] = FAMILIES;
    let mut world = World::new();
    let packet = Ip::new(bee(v4), blue(v4), 17, udp(4000, 53, &payload(400))).by_b();
    let mut frame = world.frame(&Envelope::from_b().frame(&packet.frame()));
    frame.checksum = Checksum::Partial { start: 34, offset: 6 };
    frame.gso = Some(Gso { kind: GsoKind::UdpL4, size: 100, ecn: false });
    world.inject_frames(world.underlay, vec![frame]).dropped(DropReason::OuterInvalid);
}

#[test]
fn an_unfinished_checksum_of_a_kernel_sender_is_finished_for_the_pod() {
    for family in FAMILIES {
        for mut world in World::on_both() {
            // The second goes the short way.
            for _ in 0..3 {
                let packet = Ip::new(bee(family), blue(family), 17, udp(4000, 53, b"query")).by_b();
                let inner = unfinished(&mut world, &packet, 6);
                let bytes = inner.bytes().to_vec();
                world.give_back(inner);
                let outcome = world.inject_overlay(&Envelope::from_b(), &bytes);
                assert_eq!(outcome.one().checksum, Checksum::Complete);
                assert_valid(&outcome.one().bytes);
            }
        }
    }
}
