//! Asking the kernel. Start-up only, and only for `weir doctor`.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;

use super::facts::{Facts, Privileges, Probed};
use crate::ports::af_xdp::{AfXdpConfig, AfXdpPort};
use crate::sys::latency_qos::LatencyQos;
use crate::sys::netlink::Netlink;
use crate::sys::netns::Netns;
use crate::sys::packet_socket::{PacketSocket, RingVersion};
use crate::sys::xdp::{FeatureList, Features};
use crate::sys::{scheduling, socket, steering, tun, udp_socket};

const CAP_NET_ADMIN: u32 = 12;
const CAP_NET_RAW: u32 = 13;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_SYS_NICE: u32 = 23;

/// Finds everything out, with `port` as the VXLAN port.
pub fn probe(port: u16) -> Facts {
    let made = Netns::run_in_new(Made::probe);
    let made =
        made.unwrap_or_else(|error| Made::missing(&format!("no network namespace to try it in: {error}")));
    Facts {
        kernel: read("/proc/sys/kernel/osrelease").unwrap_or_default(),
        processors: scheduling::allowed_processors().map_or(1, |processors| processors.len()),
        privileges: privileges(),
        tun: probed(fs::File::options().read(true).write(true).open("/dev/net/tun").map(drop)),
        tap: made.tap,
        tap_udp: made.tap_udp,
        tap_queues: made.tap_queues,
        tap_steering: made.tap_steering,
        tap_tunnel: made.tap_tunnel,
        packet: made.packet,
        packet_groups: made.packet_groups,
        packet_rings: made.packet_rings,
        ingress_drop: made.ingress_drop,
        xdp: made.xdp,
        xdp_drivers: xdp_drivers().map_err(|error| error.to_string()),
        udp_segment: udp_option(libc::UDP_SEGMENT),
        udp_gro: udp_option(libc::UDP_GRO),
        vxlan_port: probed(udp_socket::is_free(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))),
        latency_qos: probed(LatencyQos::open().map(drop)),
        port,
        vxlan_devices: vxlan_devices().unwrap_or_default(),
        ip_forward: number("/proc/sys/net/ipv4/ip_forward").map(|value| value != 0),
        rp_filter: number("/proc/sys/net/ipv4/conf/all/rp_filter").and_then(|value| u8::try_from(value).ok()),
        rmem_max: number("/proc/sys/net/core/rmem_max"),
        memlock: memlock(),
        huge_pages: read("/sys/kernel/mm/transparent_hugepage/enabled").and_then(|text| chosen(&text)),
    }
}

/// What can only be found out by making interfaces.
struct Made {
    tap: Probed,
    tap_udp: Probed,
    tap_queues: Probed,
    tap_steering: Probed,
    tap_tunnel: Probed,
    packet: Probed,
    packet_groups: Probed,
    packet_rings: Probed,
    ingress_drop: Probed,
    xdp: Probed,
}

impl Made {
    fn missing(reason: &str) -> Self {
        let no = || Err(reason.to_owned());
        Self {
            tap: no(),
            tap_udp: no(),
            tap_queues: no(),
            tap_steering: no(),
            tap_tunnel: no(),
            packet: no(),
            packet_groups: no(),
            packet_rings: no(),
            ingress_drop: no(),
            xdp: no(),
        }
    }

    /// To be called in a namespace that nobody else is in.
    fn probe() -> Self {
        let tap = tun::open("probe0");
        let with_tap = |ask: fn(&fs::File) -> io::Result<()>| match &tap {
            Ok(tap) => probed(ask(tap)),
            Err(error) => Err(error.to_string()),
        };
        let link = (|| {
            let netlink = Netlink::open()?;
            netlink.add_veth("probe1", "probe2", None)?;
            let link = netlink.link("probe1")?.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
            netlink.set_up(link.index, true)?;
            Ok((netlink, link.index))
        })();
        let link = link.map_err(|error: io::Error| error.to_string());
        let packet = PacketSocket::open();
        let on_link = |ask: &dyn Fn(&Netlink, u32) -> io::Result<()>| match &link {
            Ok((netlink, index)) => probed(ask(netlink, *index)),
            Err(reason) => Err(reason.clone()),
        };
        let with_packet = |ask: &dyn Fn(&PacketSocket) -> io::Result<()>| match &packet {
            Ok(packet) => probed(ask(packet)),
            Err(error) => Err(error.to_string()),
        };
        Self {
            tap: with_tap(|tap| tun::set_offloads(tap).map(drop)),
            tap_udp: with_tap(|tap| match tun::set_offloads(tap)? {
                tun::Offloads::TcpAndUdp => Ok(()),
                tun::Offloads::Tcp => Err(io::Error::from(io::ErrorKind::Unsupported)),
            }),
            tap_queues: probed(tun::open_queues("probe3", 2).map(drop)),
            tap_steering: probed(
                tun::open_queues("probe4", 2)
                    .and_then(|queues| queues.first().map_or(Ok(()), steering::by_flow)),
            ),
            tap_tunnel: with_tap(tun::try_tunnel_offload),
            packet: with_packet(&|_| Ok(())),
            packet_rings: with_packet(&|_| PacketSocket::open()?.set_ring_version(RingVersion::V3)),
            packet_groups: on_link(&|_, index| {
                let socket = PacketSocket::open()?;
                socket.bind(index)?;
                socket.found_group().map(drop)
            }),
            ingress_drop: on_link(&|netlink, index| netlink.ensure_ingress_drop(index)),
            xdp: on_link(&|_, _| {
                let locals = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
                let config = AfXdpConfig { interface: "probe1".to_owned(), locals, port: 1 };
                AfXdpPort::open_queues(&config, 1).map(drop)
            }),
        }
    }
}

fn probed(outcome: io::Result<()>) -> Probed {
    outcome.map_err(|error| error.to_string())
}

fn udp_option(option: i32) -> Probed {
    let set = |value| {
        let udp = socket::open(libc::AF_INET, libc::SOCK_DGRAM, libc::IPPROTO_UDP)?;
        socket::set(udp.as_fd(), libc::SOL_UDP, option, value)
    };
    probed(set(1))
}

fn xdp_drivers() -> io::Result<Vec<(String, Features)>> {
    let list = FeatureList::open()?;
    let links = Netlink::open()?.links()?;
    let named = links.into_iter().filter(|link| link.up && link.mac != [0; 6]);
    // One that went away meanwhile is left out.
    Ok(named.filter_map(|link| Some((link.name, list.of(link.index).ok()?))).collect())
}

fn vxlan_devices() -> io::Result<Vec<String>> {
    let links = Netlink::open()?.links()?;
    let vxlan = links.into_iter().filter(|link| link.kind.as_deref() == Some("vxlan"));
    Ok(vxlan.map(|link| link.name).collect())
}

fn privileges() -> Privileges {
    let status = read("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let mask = effective.and_then(|text| u64::from_str_radix(text.trim(), 16).ok()).unwrap_or(0);
    let has = |number: u32| mask & (1 << number) != 0;
    Privileges {
        net_admin: has(CAP_NET_ADMIN),
        net_raw: has(CAP_NET_RAW),
        sys_admin: has(CAP_SYS_ADMIN),
        sys_nice: has(CAP_SYS_NICE),
    }
}

/// The soft limit; none where there is no limit, or no telling.
fn memlock() -> Option<u64> {
    let limits = read("/proc/self/limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max locked memory"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The word in brackets of a list like `always [madvise] never`.
fn chosen(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('[')?;
    rest.split_once(']').map(|(word, _)| word.to_owned())
}

fn number(path: &str) -> Option<u64> {
    read(path)?.parse().ok()
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_in_brackets_is_the_chosen_one() {
        assert_eq!(chosen("always [madvise] never").as_deref(), Some("madvise"));
        assert_eq!(chosen("always"), None);
    }

    #[test]
    fn every_question_is_answered_on_any_host() {
        let facts = probe(8472);
        assert!(!facts.kernel.is_empty());
        assert!(facts.processors >= 1);
    }
}
