//! Fragmentation against a plain reassembly.

use proptest::prelude::*;
use smoltcp::wire::Ipv4Packet;

use super::build::{Spec, ip_headers, pattern, plain_sum, specs};
use crate::buffer::{Frame, Pool};
use crate::offload::{FragmentError, fragment_ipv4};

fn cut(frame: &Frame, mtu: u16) -> Result<Vec<Frame>, FragmentError> {
    let mut out = Vec::new();
    let headers = ip_headers(frame);
    let made = fragment_ipv4(frame, &headers, mtu, &mut Pool::new(2_000), &mut out)?;
    assert_eq!(made, out.len());
    Ok(out)
}

/// Checks each fragment and puts the payload together; says whether the last one has the MF bit.
fn reassemble(fragments: &[Frame], mtu: u16, base: u16) -> (Vec<u8>, bool) {
    let mut payload = Vec::new();
    let mut more = true;
    for (index, fragment) in fragments.iter().enumerate() {
        let packet = Ipv4Packet::new_checked(&fragment.bytes()[14..]).expect("whole");
        assert!(packet.verify_checksum());
        assert_eq!(usize::from(packet.total_len()), fragment.len() - 14);
        assert!(packet.total_len() <= mtu);
        assert_eq!(usize::from(packet.frag_offset() - base), payload.len());
        payload.extend_from_slice(packet.payload());
        more = packet.more_frags();
        assert!(more || index + 1 == fragments.len());
        assert!(!packet.dont_frag());
    }
    (payload, more)
}

proptest! {
    #[test]
    fn fragments_reassemble_to_the_completed_packet(spec in specs(0..5_000), mtu in 68_u16..1_500) {
        let spec = Spec { v6: false, ..spec };
        let fragments = cut(&spec.partial(), mtu).expect("fragments");
        let (payload, more) = reassemble(&fragments, mtu, 0);
        prop_assert_eq!(&payload[..], &spec.bytes()[14 + 20 + spec.ip_options * 4..]);
        prop_assert!(!more);
        let id = |frame: &Frame| frame.bytes()[18..20].to_vec();
        prop_assert!(fragments.iter().all(|fragment| id(fragment) == spec.id.to_be_bytes()));
    }

    #[test]
    fn fragmenting_never_panics(spec in specs(0..300), wrong in specs(0..300), mtu: u16, cut in 0_usize..400) {
        let mut frame = spec.partial();
        frame.truncate(cut);
        let _ = fragment_ipv4(&frame, &ip_headers(&wrong.partial()), mtu, &mut Pool::new(9), &mut Vec::new());
    }
}

/// `bytes` with this fragment field, and options in place of those it has.
fn with_header(mut bytes: Vec<u8>, fragment_field: u16, options: &[u8]) -> Frame {
    bytes[20..22].copy_from_slice(&fragment_field.to_be_bytes());
    bytes[34..34 + options.len()].copy_from_slice(options);
    bytes[24..26].fill(0);
    let header = usize::from(bytes[14] & 15) * 4;
    let checksum = !plain_sum(&bytes[14..14 + header]);
    bytes[24..26].copy_from_slice(&checksum.to_be_bytes());
    Frame::from_bytes(&bytes)
}

#[test]
fn rfc791_a_fragment_is_cut_further_at_its_own_offset_and_keeps_more() {
    let spec = Spec { payload: pattern(992), ..Spec::udp4(0) };
    let middle = with_header(spec.bytes(), 0x2000 | 0x64, &[]);
    let fragments = cut(&middle, 300).expect("fragments");
    let (payload, more) = reassemble(&fragments, 300, 800);
    assert_eq!(payload, &spec.bytes()[34..]);
    assert!(more);
}

#[test]
fn rfc791_only_options_with_the_copy_flag_are_in_later_fragments() {
    // No-op; timestamp without room left, not copied; router alert, copied; end.
    let options = [1, 68, 4, 5, 0, 148, 4, 0, 0, 0, 0, 0];
    let spec = Spec { ip_options: 3, payload: pattern(500), ..Spec::udp4(0) };
    let frame = with_header(spec.bytes(), 0, &options);
    let fragments = cut(&frame, 200).expect("fragments");
    assert_eq!(fragments[0].bytes()[34..46], options);
    assert_eq!(fragments[0].bytes()[14], 0x48);
    for later in &fragments[1..] {
        assert_eq!(later.bytes()[14], 0x46);
        assert_eq!(later.bytes()[34..38], [148, 4, 0, 0]);
    }
    let (payload, _) = reassemble(&fragments, 200, 0);
    assert_eq!(payload, &spec.bytes()[46..]);
}

#[test]
fn what_may_not_be_fragmented_is_refused() {
    let df = with_header(Spec::udp4(2_000).bytes(), 0x4000, &[]);
    assert_eq!(cut(&df, 1_000).unwrap_err(), FragmentError::MayNotFragment);
    let v6 = Frame::from_bytes(&Spec { v6: true, ..Spec::udp4(2_000) }.bytes());
    assert_eq!(cut(&v6, 1_000).unwrap_err(), FragmentError::MayNotFragment);
    let plain = Frame::from_bytes(&Spec::udp4(2_000).bytes());
    assert_eq!(cut(&plain, 27).unwrap_err(), FragmentError::MtuTooSmall);
}

#[test]
fn a_dry_pool_says_how_many_were_made() {
    let frame = Frame::from_bytes(&Spec::udp4(2_000).bytes());
    let mut out = Vec::new();
    let result = fragment_ipv4(&frame, &ip_headers(&frame), 576, &mut Pool::new(2), &mut out);
    assert_eq!(result, Err(FragmentError::NoBuffer { made: 2 }));
    assert_eq!(out.len(), 2);
}
