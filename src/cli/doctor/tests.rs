//! What `weir doctor` prints of a host that lacks a few things, as a snapshot.

use dataplane::doctor::{Facts, Privileges, examine};
use dataplane::sys::xdp::Features;

use super::for_people;

fn host() -> Facts {
    let no = |reason: &str| Err(reason.to_owned());
    Facts {
        kernel: "5.15.0-100-generic".to_owned(),
        processors: 2,
        privileges: Privileges { net_admin: true, net_raw: true, sys_admin: true, sys_nice: false },
        tun: Ok(()),
        tap: Ok(()),
        tap_udp: no("operation not supported"),
        tap_queues: Ok(()),
        tap_steering: Ok(()),
        tap_tunnel: no("Invalid argument (os error 22)"),
        packet: Ok(()),
        packet_groups: no("Invalid argument (os error 22)"),
        packet_rings: Ok(()),
        ingress_drop: Ok(()),
        xdp: Ok(()),
        xdp_drivers: Ok(vec![(
            "eth0".to_owned(),
            Features { native: true, zero_copy: true, in_parts: true },
        )]),
        udp_segment: Ok(()),
        udp_gro: Ok(()),
        vxlan_port: no("Address already in use (os error 98)"),
        port: 8472,
        vxlan_devices: vec!["flannel.1".to_owned()],
        ip_forward: Some(false),
        rp_filter: Some(1),
        rmem_max: Some(212_992),
        memlock: Some(8_388_608),
        latency_qos: Ok(()),
        huge_pages: Some("madvise".to_owned()),
    }
}

#[test]
fn what_stands_in_the_way_comes_with_its_remedy() {
    insta::assert_snapshot!(for_people(&examine(&host())));
}

#[test]
fn scripts_read_the_same() {
    insta::assert_snapshot!(crate::cli::yaml::to_string(&examine(&host())).unwrap());
}
