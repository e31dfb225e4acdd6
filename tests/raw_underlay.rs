//! An underlay of whole frames: the node keeps the rest of its interface, the kernel keeps silent on the tunnel's port,
//! and frames go where the kernel would send them, also when that changes.

mod support;

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use dataplane::config::UnderlayKind;
use dataplane::sys::netns::{Netns, sysctl_set};
use dataplane::sys::process::Signal;
use harness::lab::plan::{Family, PodPlan, Side};
use harness::lab::topology::{UNDERLAY, find, within};
use harness::lab::{Lab, NodeKind};
use harness::traffic::{Reach, ping};
use support::{build, drops, lab, must, status, turn, wait_until};

/// What a raw underlay is, and whether it receives by a ring.
type Raw = (UnderlayKind, bool);

const RAW: [Raw; 3] =
    [(UnderlayKind::AfPacket, false), (UnderlayKind::AfPacket, true), (UnderlayKind::AfXdp, false)];
const PORT: u16 = 8472;

fn raw_lab((underlay, ring): Raw, peer: NodeKind) -> Lab {
    let pods = vec![
        PodPlan::new(Side::A, 10, "shop", "near", ("app", "near")),
        PodPlan::new(Side::B, 10, "shop", "far", ("app", "far")),
    ];
    let lab =
        build(lab().nodes([NodeKind::Weir, peer]).underlay(underlay).ring(ring).pods(pods).policies(&[]));
    support::wait_for_next_hops(&lab);
    lab
}

fn reaches(lab: &Lab, from: &str, to: &str, family: Family) -> bool {
    let (from, to) = (must(lab.pod(from)), must(lab.pod(to)));
    ping::probe(&from.netns, to.address(family), 56, Duration::from_millis(300)).unwrap() == Reach::Open
}

fn underlay_of(side: Side, family: Family) -> IpAddr {
    match family {
        Family::V4 => side.underlay_v4().into(),
        Family::V6 => side.underlay_v6().into(),
    }
}

/// Whether a datagram to the tunnel's port is answered with "port unreachable".
fn is_refused(from: &Netns, to: IpAddr) -> bool {
    let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
    let socket = from.run(|| UdpSocket::bind((any, 0))).unwrap().unwrap();
    socket.connect((to, PORT)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    socket.send(b"no VXLAN").unwrap();
    match socket.recv(&mut [0; 8]).unwrap_err().kind() {
        ErrorKind::ConnectionRefused => true,
        ErrorKind::WouldBlock | ErrorKind::TimedOut => false,
        other => panic!("{other}"),
    }
}

#[test]
fn the_kernel_answers_nobody_on_the_tunnels_port_and_everybody_elsewhere() {
    let Some(_turn) = turn() else { return };
    for underlay in RAW {
        let mut lab = raw_lab(underlay, NodeKind::Kernel);
        for family in Family::ALL {
            assert!(reaches(&lab, "shop/near", "shop/far", family), "{underlay:?}");
            let (own, peer) = (lab.topology().node(Side::A).netns(), lab.topology().node(Side::B).netns());
            let to = underlay_of(Side::A, family);
            assert!(!is_refused(peer, to), "{underlay:?}: the kernel answers at {to}");
            let taken = own.run(|| UdpSocket::bind(SocketAddr::new(to, PORT))).unwrap();
            assert_eq!(taken.unwrap_err().kind(), ErrorKind::AddrInUse, "{underlay:?}");
            let reach = ping::probe(peer, to, 56, Duration::from_secs(2)).unwrap();
            assert_eq!(reach, Reach::Open, "{underlay:?}: the node itself at {to}");
        }
        must(lab.end_weir(Side::A, Signal::Kill));
        let peer = lab.topology().node(Side::B).netns();
        assert!(
            is_refused(peer, underlay_of(Side::A, Family::V4)),
            "{underlay:?}: something of weir is left"
        );
        must(lab.start_weir(Side::A));
        support::wait_for_next_hops(&lab);
        assert!(reaches(&lab, "shop/near", "shop/far", Family::V4), "{underlay:?}");
    }
}

#[test]
fn a_changed_mac_of_the_peer_is_followed_within_a_second() {
    let Some(_turn) = turn() else { return };
    for underlay in RAW {
        for peer in [NodeKind::Kernel, NodeKind::Weir] {
            let lab = raw_lab(underlay, peer);
            let far = lab.topology().node(Side::B).netns();
            // A node tells its neighbours when its MAC changes, if it is asked to.
            far.run(|| {
                sysctl_set(&format!("net/ipv4/conf/{UNDERLAY}/arp_notify"), "1")?;
                sysctl_set(&format!("net/ipv6/conf/{UNDERLAY}/ndisc_notify"), "1")
            })
            .unwrap()
            .unwrap();
            for family in Family::ALL {
                wait_until("the way there", Duration::from_secs(5), || {
                    reaches(&lab, "shop/near", "shop/far", family)
                });
            }
            let mac = [0x02, 0x57, 0xfe, 0, 0, peer as u8];
            within(far, |netlink| netlink.set_mac(find(netlink, UNDERLAY)?.index, mac)).unwrap();
            std::thread::sleep(Duration::from_secs(1));
            for family in Family::ALL {
                assert!(reaches(&lab, "shop/near", "shop/far", family), "{underlay:?}, {peer:?}, {family:?}");
            }
        }
    }
}

#[test]
fn without_a_next_hop_nothing_is_sent_and_the_reason_is_said() {
    let Some(_turn) = turn() else { return };
    let lab = raw_lab((UnderlayKind::AfPacket, false), NodeKind::Kernel);
    assert!(reaches(&lab, "shop/near", "shop/far", Family::V4));
    let unresolved = || status(&lab, Side::A).peers.iter().any(|peer| peer.state.starts_with("unresolved"));
    assert!(!unresolved());
    let far = lab.topology().node(Side::B).netns();
    let set_up = |up| within(far, |netlink| netlink.set_up(find(netlink, UNDERLAY)?.index, up)).unwrap();

    set_up(false);
    wait_until("the next hop to be unknown", Duration::from_secs(5), unresolved);
    assert!(!reaches(&lab, "shop/near", "shop/far", Family::V4));
    assert!(drops(&lab, Side::A, "underlay_unresolved") > 0, "{:?}", status(&lab, Side::A).drops);

    set_up(true);
    wait_until("the way back", Duration::from_secs(10), || {
        reaches(&lab, "shop/near", "shop/far", Family::V4)
    });
    support::assert_books_balance(&lab, Side::A);
}
