//! Which addresses a node, a gateway and an interface can have.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use vxlan::Mac;

/// An IPv4 address that a node can have.
pub(super) fn host_v4(text: &str) -> Result<Ipv4Addr, String> {
    let Ok(address) = text.parse::<Ipv4Addr>() else {
        return Err(format!("{text:?} is not an IPv4 address: expected one like 192.0.2.1"));
    };
    if address.is_unspecified() || address.is_broadcast() || address.is_multicast() {
        return Err(format!("{address} cannot be the address of a node: expected a unicast address"));
    }
    Ok(address)
}

/// An IPv6 address that a node can have on an underlay.
pub(super) fn host_v6(text: &str) -> Result<Ipv6Addr, String> {
    let Ok(address) = text.parse::<Ipv6Addr>() else {
        return Err(format!("{text:?} is not an IPv6 address: expected one like 2001:db8::1"));
    };
    if address.is_unspecified() || address.is_multicast() || address.to_ipv4_mapped().is_some() {
        return Err(format!("{address} cannot be the address of a node: expected a unicast address"));
    }
    if address.is_unicast_link_local() {
        return Err(format!("{address} is link-local: expected an address that other nodes can route to"));
    }
    Ok(address)
}

/// An address with prefix length that can be the gateway of a subnet.
pub(super) fn gateway_address(text: &str) -> Result<IpNet, String> {
    let Ok(net) = text.parse::<IpNet>() else {
        return Err(format!(
            "{text:?} is not an address with prefix length: expected one like 10.244.1.1/24 or fd00:10:244:1::1/64"
        ));
    };
    let (address, host_bits) = (net.addr(), net.max_prefix_len() - net.prefix_len());
    let unusable = match address {
        IpAddr::V4(v4) => v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast() || v4.is_loopback(),
        IpAddr::V6(v6) => {
            v6.is_unspecified() || v6.is_multicast() || v6.is_loopback() || v6.to_ipv4_mapped().is_some()
        }
    };
    if unusable {
        return Err(format!("{address} cannot be a gateway: expected a unicast address of the pods' subnet"));
    }
    if host_bits > 1 && address == net.network() {
        return Err(format!(
            "{address} is the address of the subnet {net} itself: expected an address within it, as its first, {}",
            net.hosts()
                .find(|host| *host != address)
                .map_or_else(String::new, |host| format!("{host}/{}", net.prefix_len()))
        ));
    }
    if host_bits > 1 && address.is_ipv4() && address == net.broadcast() {
        return Err(format!(
            "{address} is the broadcast address of {}: expected an address within it",
            net.trunc()
        ));
    }
    Ok(net)
}

/// A locally administered unicast MAC that is the same at every start (FNV-1a of the node's name): pods keep
/// the gateway's MAC in their neighbour tables over a restart of weir.
pub(super) fn derived_mac(node: &str) -> Mac {
    let hash = node.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let [_, _, mut octets @ ..] = (hash ^ (hash >> 32)).to_be_bytes();
    octets[0] = 0x02;
    Mac(octets)
}
