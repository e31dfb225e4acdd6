//! Trains against the frames they are made of, and what a stranger's hand over.

use std::sync::Arc;

use proptest::prelude::*;
use vxlan::Vni;
use vxlan::decap::{UdpChecksum, parse_outer_with};
use vxlan::encap::{OUTER_BYTES_V4, OUTER_BYTES_V6, OuterChecksum, OuterConfig, TTL, write_outer};
use vxlan::mac::Mac;

use super::*;
use crate::buffer::Gso;

/// A frame as `emit` makes it for a port that completes outer checksums.
fn frame(v6: bool, inner: &[u8], source_port: u16, tos: u8) -> Frame {
    let (src, dst): (IpAddr, IpAddr) = if v6 {
        ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap())
    } else {
        ([192, 0, 2, 1].into(), [192, 0, 2, 2].into())
    };
    let room = if v6 { OUTER_BYTES_V6 } else { OUTER_BYTES_V4 };
    let config = OuterConfig {
        source_mac: Mac([2, 0, 0, 0, 0, 1]),
        dest_mac: Mac([2, 0, 0, 0, 0, 2]),
        src,
        dst,
        source_port,
        dest_port: 8472,
        vni: Vni::FLANNEL,
        tos,
        ttl: TTL,
        checksum: OuterChecksum::PseudoHeader,
        identification: 0,
    };
    let mut bytes = vec![0; room];
    write_outer(&mut bytes, inner, &config).unwrap();
    bytes.extend_from_slice(inner);
    let mut frame = Frame::from_bytes(&bytes);
    frame.checksum = Checksum::Partial { start: room as u16 - 16, offset: UDP_CHECKSUM };
    frame
}

/// What the kernel on the other end of a veth hands over for these frames, sent as one.
fn train(frames: &[Frame]) -> Frame {
    let skip = outer_headers(&frames[0]).unwrap();
    let payload: Vec<u8> = frames.iter().flat_map(|frame| frame.bytes()[skip..].to_vec()).collect();
    let headers = TrainHeaders::new(&frames[0], payload.len()).unwrap();
    let mut whole = Frame::from_bytes(&[headers.bytes(), &payload].concat());
    whole.checksum = frames[0].checksum;
    whole.gso = Some(Gso { kind: GsoKind::UdpL4, size: headers.segment, ecn: false });
    whole
}

fn counts(joining: &mut Joining, frames: &[Frame]) -> Vec<usize> {
    joining.couple(frames).iter().map(|cars| cars.count).collect()
}

#[test]
fn frames_of_one_flow_and_length_leave_together_and_a_shorter_one_is_the_last() {
    for v6 in [false, true] {
        let of = |len: usize, port, tos| frame(v6, &vec![7; len], port, tos);
        let mut joining = Joining::default();
        assert_eq!(counts(&mut joining, &[]), [0; 0]);
        assert_eq!(counts(&mut joining, &[of(90, 1, 0), of(90, 1, 0), of(40, 1, 0), of(40, 1, 0)]), [3, 1]);
        assert_eq!(counts(&mut joining, &[of(40, 1, 0), of(90, 1, 0)]), [1, 1]);
        assert_eq!(counts(&mut joining, &[of(90, 1, 0), of(90, 2, 0), of(90, 2, 2)]), [1, 1, 1]);
        let many: Vec<Frame> = (0..150).map(|_| of(90, 1, 0)).collect();
        assert_eq!(counts(&mut joining, &many), [64, 64, 22]);
        let long: Vec<Frame> = (0..100).map(|_| of(1450, 1, 0)).collect();
        assert_eq!(counts(&mut joining, &long), [44, 44, 12]);
        let mut complete = of(90, 1, 0);
        complete.checksum = Checksum::Complete;
        assert_eq!(counts(&mut joining, &[of(90, 1, 0), complete, of(90, 1, 0)]), [1, 1, 1]);
    }
}

#[test]
fn identifications_that_count_up_keep_no_train_apart() {
    let frames: Vec<Frame> = (0xfffe_u16..=0xffff)
        .chain(0..3)
        .map(|id| {
            let mut frame = frame(false, &[7; 90], 9, 0);
            frame.bytes_mut()[18..20].copy_from_slice(&id.to_be_bytes());
            frame
        })
        .collect();
    assert_eq!(counts(&mut Joining::default(), &frames), [5]);
    assert_eq!(train(&frames).bytes()[18..20], [0xff, 0xfe], "the first one's");
}

#[test]
fn a_train_says_how_long_it_is_and_its_partial_sum_agrees() {
    for v6 in [false, true] {
        let frames: Vec<Frame> = [100, 100, 30].iter().map(|&len| frame(v6, &vec![3; len], 9, 0)).collect();
        let whole = train(&frames);
        let outer = parse_outer_with(whole.bytes(), UdpChecksum::Trust).unwrap();
        assert_eq!(outer.payload.len(), 230 + 3 * 8);
        // Only the bare sum of the pseudo header passes without being complete.
        assert!(parse_outer_with(whole.bytes(), UdpChecksum::Verify).is_err());
        assert_eq!(parse_outer_with(whole.bytes(), UdpChecksum::VerifyUnlessPartial).unwrap(), outer);
    }
}

#[test]
fn a_strangers_train_takes_no_frame_and_each_of_its_datagrams_is_counted() {
    let (mut unpacking, mut pool) = (Unpacking::default(), Pool::new(8));
    let friend = IpAddr::from([192, 0, 2, 77]);
    let peers: Peers = Arc::new(move |peer| peer == friend);
    unpacking.trust(&peers);
    let frames: Vec<Frame> = (0..3).map(|_| frame(false, &[1; 50], 9, 0)).collect();
    let mut batch = vec![train(&frames)];
    assert_eq!(unpacking.unpack(0, &mut batch, &mut pool), LeftOut { lost: 0, strangers: 3 });
    assert!(batch.is_empty());
}

#[test]
fn what_there_is_no_memory_for_is_lost_and_counted() {
    let (mut unpacking, mut pool) = (Unpacking::default(), Pool::new(1));
    let frames: Vec<Frame> = (0..4).map(|_| frame(true, &[1; 50], 9, 0)).collect();
    let mut batch = vec![train(&frames)];
    assert_eq!(unpacking.unpack(0, &mut batch, &mut pool), LeftOut { lost: 2, strangers: 0 });
    assert_eq!(batch.len(), 2);
}

#[test]
fn a_super_packet_inside_the_tunnel_stays_whole() {
    let mut whole = train(&[frame(false, &[1; 500], 9, 0), frame(false, &[1; 500], 9, 0)]);
    whole.checksum = Checksum::Partial { start: 84, offset: 6 };
    let before = whole.bytes().to_vec();
    let mut batch = vec![whole];
    assert_eq!(Unpacking::default().unpack(0, &mut batch, &mut Pool::new(8)), LeftOut::default());
    assert_eq!((batch.len(), batch[0].bytes()), (1, &before[..]));
}

proptest! {
    #[test]
    fn trains_become_the_frames_they_were_made_of(
        v6: bool, tos: u8, lens in prop::collection::vec((30_usize..200, 1_usize..9), 1..8)
    ) {
        let frames: Vec<Frame> = lens
            .iter()
            .enumerate()
            .flat_map(|(flow, &(len, count))| {
                (0..count).map(move |n| frame(v6, &vec![n as u8; len], 50_000 + flow as u16 / 2, tos))
            })
            .collect();
        let mut joining = Joining::default();
        let cars = joining.couple(&frames).to_vec();
        let mut batch: Batch = cars
            .iter()
            .map(|cars| match &frames[cars.first..cars.first + cars.count] {
                [alone] => {
                    let mut copy = Frame::from_bytes(alone.bytes());
                    copy.checksum = alone.checksum;
                    copy
                }
                several => train(several),
            })
            .collect();
        prop_assert_eq!(Unpacking::default().unpack(0, &mut batch, &mut Pool::new(256)), LeftOut::default());
        prop_assert_eq!(batch.len(), frames.len());
        for (got, wanted) in batch.iter().zip(&frames) {
            // All but the outer UDP checksum, which nobody is to look at.
            let udp = outer_headers(wanted).unwrap() - 8;
            let but_sum = |bytes: &[u8]| [&bytes[..udp + 6], &bytes[udp + 8..]].concat();
            prop_assert_eq!(but_sum(got.bytes()), but_sum(wanted.bytes()));
            prop_assert_eq!((got.checksum, got.gso), (wanted.checksum, None));
        }
    }

    #[test]
    fn nothing_a_sender_writes_makes_it_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300), start: u16, size: u16, ip: bool
    ) {
        let mut bytes = bytes;
        if ip && bytes.len() > 14 {
            bytes[12..14].copy_from_slice(if start % 2 == 0 { &[8, 0] } else { &[0x86, 0xdd] });
        }
        let mut frame = Frame::from_bytes(&bytes);
        let start = if ip { [34, 54, 14][usize::from(size % 3)] } else { start };
        frame.checksum = Checksum::Partial { start, offset: UDP_CHECKSUM };
        frame.gso = Some(Gso { kind: GsoKind::UdpL4, size, ecn: false });
        let mut batch = vec![frame];
        Unpacking::default().unpack(0, &mut batch, &mut Pool::new(512));
        let _ = TrainHeaders::new(&batch[0], usize::from(size));
        Joining::default().couple(&batch);
    }
}
