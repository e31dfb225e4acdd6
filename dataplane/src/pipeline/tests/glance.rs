//! A glance sees what the walk over all headers sees, or nothing.

use super::packets::{self, Ip, tcp, udp};
use crate::buffer::Frame;
use crate::pipeline::glance::{FlowKey, Glance};
use proptest::prelude::*;
use vxlan::wire::headers::{self, IpHeaders, Network};

/// What the walk over all headers says of the same frame.
fn walked(frame: &Frame) -> Option<IpHeaders> {
    match headers::parse(frame.bytes(), false).ok()?.net {
        Network::Ip(ip) => Some(ip),
        Network::Arp => None,
    }
}

fn agrees(bytes: &[u8]) -> Result<bool, TestCaseError> {
    let frame = Frame::from_bytes(bytes);
    let mut glance = Glance::EMPTY;
    if !glance.at(&frame) {
        return Ok(false);
    }
    // Martians are the flow's matter: its addresses were judged once.
    let ip = match headers::parse(bytes, false) {
        Err(headers::ParseError::Martian | headers::ParseError::Ipv6Martian) => return Ok(true),
        _ => walked(&frame),
    };
    prop_assert_eq!(ip.map(|ip| FlowKey::of(&ip)), Some(Some(glance.key)));
    prop_assert_eq!(ip, Some(glance.headers(frame.bytes())));
    Ok(true)
}

#[test]
fn plain_packets_are_taken_in() {
    for (src, dst) in [("10.1.0.1", "10.1.0.2"), ("2001:db8::1", "2001:db8::2")] {
        let (src, dst) = (src.parse().unwrap(), dst.parse().unwrap());
        for (protocol, l4) in [(17, udp(1, 2, b"abc")), (6, tcp(3, 4, 0x12))] {
            assert!(agrees(&Ip::new(src, dst, protocol, l4).frame()).is_ok_and(|taken| taken));
        }
    }
}

proptest! {
    #[test]
    fn what_is_taken_in_is_what_the_walk_finds(
        v6: bool,
        is_tcp: bool,
        payload in proptest::collection::vec(any::<u8>(), 0..40),
        changes in proptest::collection::vec((0_usize..80, any::<u8>()), 0..4),
        cut in 0_usize..120,
    ) {
        let (src, dst) = if v6 { ("2001:db8::1", "2001:db8::2") } else { ("10.1.0.1", "10.1.0.2") };
        let (protocol, l4) = if is_tcp { (6, tcp(3, 4, 0x10)) } else { (17, udp(1, 2, &payload)) };
        let mut bytes = Ip::new(src.parse().unwrap(), dst.parse().unwrap(), protocol, l4).frame();
        for (place, value) in changes {
            bytes.get_mut(place).into_iter().for_each(|byte| *byte = value);
        }
        if !v6 && bytes.len() > 34 && cut % 2 == 0 {
            packets::sum_header(&mut bytes[14..34]);
        }
        bytes.truncate(cut.max(20));
        agrees(&bytes)?;
    }
}
