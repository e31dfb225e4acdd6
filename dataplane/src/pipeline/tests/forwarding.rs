//! What has to pass, and how it looks afterwards.

use vxlan::mtu::Family;

use super::outer::{Envelope, opened};
use super::packets::*;
use super::world::*;

#[test]
fn a_packet_to_a_pod_of_the_same_node_is_switched_with_its_ttl_unchanged() {
    for family in FAMILIES {
        let mut world = World::new();
        let packet = Ip::new(blue(family), green(family), 17, udp(4000, 53, b"query")).ttl(1);
        let outcome = world.inject(world.blue, &packet.frame());
        let sent = outcome.one();
        assert_eq!(sent.port, world.green);
        assert_eq!(macs(&sent.bytes), (GATEWAY_MAC, GREEN_MAC));
        assert_eq!(sent.bytes[14..], packet.frame()[14..], "the IP packet is untouched");
    }
}

#[test]
fn a_packet_to_another_node_is_routed_into_the_tunnel_as_flannel_does() {
    for family in FAMILIES {
        for mut world in World::on_both() {
            let packet = Ip::new(blue(family), bee(family), 17, udp(4000, 53, b"query"));
            let outcome = world.inject(world.blue, &packet.frame());
            let sent = outcome.one();
            assert_eq!(sent.port, world.underlay);
            let (outer, inner) = opened(sent);
            assert_eq!(outer.dst, B_V4);
            assert_eq!(outer.dest_port, 8472);
            assert!((49_152..=65_535).contains(&outer.source_port));
            assert_eq!(macs(inner), (OWN_VTEP, B_VTEP));
            assert_eq!(ip(inner).ttl, 63);
            assert_valid(inner);
        }
    }
}
