//! Which messages count as rogue control.

use std::net::IpAddr;

use super::{FAR4, FAR6, POD4, POD6, ip_frame, ip_headers};
use crate::respond::is_rogue_control;

fn is_rogue(v6: bool, protocol: u8, upper: &[u8]) -> bool {
    let (src, dst): (IpAddr, IpAddr) =
        if v6 { (POD6.into(), FAR6.into()) } else { (POD4.into(), FAR4.into()) };
    let bytes = ip_frame(src, dst, protocol, 64, upper.to_vec(), None);
    is_rogue_control(&ip_headers(&bytes), &bytes)
}

fn udp(src_port: u16, dst_port: u16, message: u8) -> Vec<u8> {
    [&src_port.to_be_bytes()[..], &dst_port.to_be_bytes(), &[0, 9, 0, 0, message]].concat()
}

#[test]
fn dhcp_server_messages_are_rogue_from_whatever_port_and_client_messages_are_not() {
    assert!(is_rogue(false, 17, &udp(67, 68, 2)));
    assert!(is_rogue(false, 17, &udp(67, 67, 2)));
    assert!(is_rogue(false, 17, &udp(40_000, 68, 2)));
    assert!(!is_rogue(false, 17, &udp(68, 67, 1)));
    assert!(!is_rogue(false, 17, &udp(40_000, 68, 1)));
    assert!(is_rogue(true, 17, &udp(547, 546, 2)));
    for reply in [2, 7, 10] {
        assert!(is_rogue(true, 17, &udp(40_000, 546, reply)));
    }
    assert!(!is_rogue(true, 17, &udp(546, 547, 1)));
    // The ports of the other family mean nothing.
    assert!(!is_rogue(true, 17, &udp(67, 68, 2)));
    assert!(!is_rogue(false, 17, &udp(547, 546, 2)));
}

#[test]
fn redirects_and_router_advertisements_are_rogue_and_echo_and_errors_are_not() {
    let message = |kind: u8| [kind, 0, 0, 0, 0, 0, 0, 0];
    for (v6, protocol, rogue, fair) in
        [(false, 1, [5, 9], [0, 3, 8, 11]), (true, 58, [134, 137], [1, 2, 128, 135])]
    {
        assert!(rogue.into_iter().all(|kind| is_rogue(v6, protocol, &message(kind))));
        assert!(!fair.into_iter().any(|kind| is_rogue(v6, protocol, &message(kind))));
    }
}
