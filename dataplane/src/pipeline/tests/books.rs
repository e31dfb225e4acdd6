//! The books when ways out refuse frames: a refused packet is taken off `forwarded` once, however many frames it left in,
//! and however many packets left in one. `World` holds `received = forwarded + answered + drops + held` after each batch.

use proptest::prelude::*;

use super::outer::Envelope;
use super::packets::*;
use super::world::*;
use crate::buffer::{Checksum, Frame, Gso, GsoKind};
use crate::drop_reason::DropReason;
use crate::ports::Capabilities;

const ALL: Capabilities = Capabilities { checksum: true, tso: true, uso: true };
const MSS: usize = 1300;

fn world() -> World {
    let [v4, _] = FAMILIES;
    let mut world = World::with(Plan { capabilities: ALL, ..Plan::default() });
    for dst in [green(v4), bee(v4)] {
        world.inject(world.blue, &Ip::new(blue(v4), dst, 6, tcp(4000, 80, SYN)).frame()).one();
    }
    let answer = Ip::new(green(v4), blue(v4), 6, tcp(80, 4000, SYN | ACK)).by_green();
    world.inject(world.green, &answer.frame()).one();
    let answer = Ip::new(bee(v4), blue(v4), 6, tcp(80, 4000, SYN | ACK)).by_b();
    world.inject_overlay(&Envelope::from_b(), &answer.frame()).one();
    world
}

/// Segments of blue's connection to green, one after the other: they are joined.
fn segments(count: u32) -> Vec<Vec<u8>> {
    let [v4, _] = FAMILIES;
    (0..count)
        .map(|index| {
            let mut segment = tcp_with(4000, 80, ACK, &[7; 100]);
            segment[4..8].copy_from_slice(&(1000 + index * 100).to_be_bytes());
            Ip::new(blue(v4), green(v4), 6, segment).df().frame()
        })
        .collect()
}

/// A super-packet of blue's connection to a pod of another node, which the tunnel takes in segments.
fn super_packet(world: &mut World, segments: usize) -> Frame {
    let [v4, _] = FAMILIES;
    let packet = Ip::new(blue(v4), bee(v4), 6, tcp_with(4000, 80, ACK, &vec![7; MSS * segments])).df();
    let mut frame = world.frame(&packet.frame());
    frame.checksum = Checksum::Complete;
    frame.gso = Some(Gso { kind: GsoKind::Tcp4, size: MSS as u16, ecn: false });
    frame
}

#[test]
fn a_super_packet_of_which_every_segment_is_refused_is_one_drop() {
    let mut world = world();
    world.refuse(|_| true);
    let frame = super_packet(&mut world, 44);
    let outcome = world.inject_frames(world.blue, vec![frame]);
    assert_eq!((outcome.drops, outcome.forwarded), (vec![(DropReason::TxFailed, 1)], 0));
}

#[test]
fn a_refused_frame_of_joined_segments_is_as_many_drops() {
    let mut world = world();
    let outcome = world.inject_all(world.blue, &segments(10));
    assert_eq!((outcome.forwarded, outcome.sent.len()), (10, 1), "they are joined");
    world.refuse(|_| true);
    let mut next = segments(20);
    let outcome = world.inject_all(world.blue, &next.split_off(10));
    assert_eq!((outcome.drops, outcome.forwarded), (vec![(DropReason::TxFailed, 10)], 0));
}

#[test]
fn a_refused_answer_and_a_refused_error_are_taken_off_nothing() {
    let [v4, _] = FAMILIES;
    let mut world = world();
    world.refuse(|_| true);
    let expired = Ip::new(blue(v4), bee(v4), 17, udp(4001, 53, b"query")).ttl(1);
    let outcome = world.inject(world.blue, &expired.frame());
    assert_eq!((outcome.drops, outcome.forwarded), (vec![(DropReason::TtlExpired, 1)], 0));
    let request = Ip::new(blue(v4), gateway(v4), 17, Vec::new());
    let outcome = world.inject(world.blue, &arp_request(&request));
    assert_eq!((outcome.drops, outcome.forwarded, outcome.answered), (Vec::new(), 0, 1));
}

#[test]
fn a_packet_of_which_a_piece_could_not_be_made_is_dropped_once() {
    let mut world = world();
    world.refuse(|_| true);
    let frame = super_packet(&mut world, 44);
    world.borrow_frames(100);
    let outcome = world.inject_frames(world.blue, vec![frame]);
    assert_eq!((outcome.drops, outcome.forwarded), (vec![(DropReason::NoBuffer, 1)], 0));
    world.return_frames();
}

/// Blue asks for the MAC behind the destination of `packet`.
fn arp_request(packet: &Ip) -> Vec<u8> {
    let (std::net::IpAddr::V4(src), std::net::IpAddr::V4(dst)) = (packet.src, packet.dst) else {
        panic!("ARP is for IPv4")
    };
    let (mac, broadcast) = (packet.src_mac.0, [0xff; 6]);
    let head = [8, 6, 0, 1, 8, 0, 6, 4, 0, 1];
    [&broadcast[..], &mac, &head, &mac, &src.octets(), &[0; 6], &dst.octets()].concat()
}

/// One packet of a batch that blue sends.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// The next segment of a stream on this node.
    Segment,
    /// To another node, in so many segments.
    Super(usize),
    /// To another node, as it is.
    Datagram(u16),
    /// Too large for the tunnel, and to be fragmented.
    Large,
    Arp,
    Expired,
    /// To nobody.
    Stray,
    /// A later fragment, whose first comes with the next of these.
    Later(u16),
    First(u16),
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        6 => Just(Kind::Segment),
        2 => (1_usize..12).prop_map(Kind::Super),
        2 => (0_u16..4).prop_map(Kind::Datagram),
        1 => Just(Kind::Large),
        1 => Just(Kind::Arp),
        1 => Just(Kind::Expired),
        1 => Just(Kind::Stray),
        1 => (0_u16..3).prop_map(Kind::Later),
        1 => (0_u16..3).prop_map(Kind::First),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_books_balance_whatever_is_refused(
        batches in prop::collection::vec(prop::collection::vec(kind(), 1..12), 1..8),
        refused in prop::collection::vec(any::<bool>(), 1..64),
    ) {
        let [v4, _] = FAMILIES;
        let mut world = world();
        let mut turns = refused.into_iter().cycle();
        world.refuse(move |_| turns.next().unwrap_or(false));
        let mut stream = segments(100).into_iter();
        for batch in batches {
            let mut frames = Vec::new();
            for kind in batch {
                let to_bee = |l4| Ip::new(blue(v4), bee(v4), 17, l4);
                let fragments = |id: u16| {
                    Ip { id, ..to_bee(udp(4100, 53, &[1; 600])) }.fragments(304)
                };
                let bytes = match kind {
                    Kind::Segment => stream.next().expect("as many as there can be"),
                    Kind::Super(count) => {
                        let frame = super_packet(&mut world, count);
                        frames.push(frame);
                        continue;
                    }
                    Kind::Datagram(port) => to_bee(udp(4001 + port, 53, b"query")).frame(),
                    Kind::Large => to_bee(udp(4010, 53, &[1; 4000])).frame(),
                    Kind::Arp => arp_request(&Ip::new(blue(v4), gateway(v4), 17, Vec::new())),
                    Kind::Expired => to_bee(udp(4020, 53, b"query")).ttl(1).frame(),
                    Kind::Stray => Ip::new(blue(v4), nobody(v4), 17, udp(4030, 53, b"query")).frame(),
                    Kind::Later(id) => fragments(id).last().expect("two").frame(),
                    Kind::First(id) => fragments(id).first().expect("two").frame(),
                };
                let frame = world.frame(&bytes);
                frames.push(frame);
            }
            // Holds the books.
            world.inject_frames(world.blue, frames);
        }
    }
}
