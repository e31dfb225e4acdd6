//! An underlay of whole frames: the node keeps the rest of its interface, the kernel keeps silent on the tunnel's port,
//! and frames go where the kernel would send them, also when that changes.

mod support;

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use dataplane::config::UnderlayKind;
use dataplane::sys::netlink::{Netlink, Route};
use dataplane::sys::netns::{Netns, sysctl_set};
use dataplane::sys::process::Signal;
use harness::lab::plan::{Family, PodPlan, Side};
use harness::lab::topology::{UNDERLAY, find, within};
use harness::lab::{Lab, NodeKind};
use harness::traffic::{Reach, latency, ping};
use support::{build, drops, lab, must, status, turn, turn_alone, wait_until};

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

/// Any own address, any port.
fn any(family: Family) -> (IpAddr, u16) {
    match family {
        Family::V4 => ([0; 4].into(), 0),
        Family::V6 => ([0_u16; 8].into(), 0),
    }
}

/// Whether a datagram to the tunnel's port is answered with "port unreachable".
fn is_refused(from: &Netns, to: IpAddr) -> bool {
    let family = if to.is_ipv4() { Family::V4 } else { Family::V6 };
    let socket = from.run(|| UdpSocket::bind(any(family))).unwrap().unwrap();
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

/// How soon frames go by what the kernel's tables have become. Without word of changes it would be some time in a second.
const AT_ONCE: Duration = Duration::from_millis(100);

/// How long no answer comes where traffic flows no more; a busy machine may take some of it for one.
const SILENCE: Duration = Duration::from_millis(80);

/// How long changes took until frames went by them.
#[derive(Default)]
struct Followed(Vec<Duration>);

impl Followed {
    /// Changes something at a node, and waits until traffic flows, or flows no more.
    fn change(
        &mut self,
        lab: &Lab,
        (side, family): (Side, Family),
        flows: bool,
        change: impl FnOnce(&Netlink, u32) -> io::Result<()> + Send,
    ) {
        let (near, far) = (must(lab.pod("shop/near")), must(lab.pod("shop/far")));
        let socket = near.netns.run(|| UdpSocket::bind(any(family))).unwrap().unwrap();
        socket.connect((far.address(family), 53)).unwrap();
        socket.set_nonblocking(true).unwrap();
        let node = lab.topology().node(side).netns();
        within(node, |netlink| change(netlink, find(netlink, UNDERLAY)?.index)).unwrap();
        let (begin, mut last_answer) = (Instant::now(), None);
        loop {
            assert!(begin.elapsed() < Duration::from_secs(5), "flows: {flows}, {side:?}, {family:?}");
            let _ = socket.send(b"still there?");
            std::thread::sleep(Duration::from_millis(2));
            while socket.recv(&mut [0; 64]).is_ok() {
                last_answer = Some(Instant::now());
            }
            let since = last_answer.unwrap_or(begin);
            let followed = if flows { last_answer.is_some() } else { since.elapsed() > SILENCE };
            if followed {
                self.0.push(since.duration_since(begin));
                return;
            }
        }
    }

    /// Three of four were followed at once; on a busy machine one may have had to wait.
    fn check(mut self) {
        println!("{:?}", self.0);
        self.0.sort();
        assert!(self.0[self.0.len() * 3 / 4] < AT_ONCE, "{:?}", self.0);
    }
}

#[test]
fn a_changed_mac_of_the_peer_is_followed_at_once() {
    let Some(_turn) = turn_alone() else { return };
    let mut followed = Followed::default();
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
            for (number, family) in (0..).zip(Family::ALL) {
                let mac = [0x02, 0x57, 0xfe, 0, number, peer as u8];
                followed.change(&lab, (Side::B, family), true, |netlink, index| netlink.set_mac(index, mac));
            }
        }
    }
    followed.check();
}

#[test]
fn changed_neighbours_and_routes_are_followed_at_once() {
    let Some(_turn) = turn_alone() else { return };
    const NOWHERE: [u8; 6] = [0x02, 0x57, 0xff, 0, 0, 0];
    let mut followed = Followed::default();
    for underlay in RAW {
        let lab = raw_lab(underlay, NodeKind::Kernel);
        let far = lab.topology().node(Side::B).netns();
        let mac = within(far, |netlink| find(netlink, UNDERLAY)).unwrap().mac;
        for family in Family::ALL {
            wait_until("the way there", Duration::from_secs(5), || {
                reaches(&lab, "shop/near", "shop/far", family)
            });
            let peer = underlay_of(Side::B, family);
            let router: IpAddr = match family {
                Family::V4 => "192.0.2.9".parse().unwrap(),
                Family::V6 => "2001:db8::9".parse().unwrap(),
            };
            let at = (Side::A, family);
            followed.change(&lab, at, false, |netlink, index| netlink.add_neighbour(index, peer, NOWHERE));
            followed.change(&lab, at, true, |netlink, index| netlink.add_neighbour(index, peer, mac));
            followed.change(&lab, at, false, |netlink, index| {
                netlink.add_neighbour(index, router, NOWHERE)?;
                netlink.add_route(&Route::to(peer.into(), index).via(router))
            });
            followed.change(&lab, at, true, |netlink, index| netlink.add_neighbour(index, router, mac));
        }
        support::assert_books_balance(&lab, Side::A);
    }
    followed.check();
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

/// A block of a ring is handed over a millisecond after its first frame; what that is to a round trip is printed.
#[test]
fn a_ring_holds_packets_back_for_no_longer_than_its_blocks_live() {
    let Some(_turn) = turn_alone() else { return };
    const ROUND_TRIPS: usize = 1_000;
    let labs = [(UnderlayKind::AfPacket, false), (UnderlayKind::AfPacket, true)]
        .map(|underlay| [NodeKind::Kernel, NodeKind::Weir].map(|peer| (peer, raw_lab(underlay, peer))));
    for round in 0..3 {
        for (ring, labs) in labs.iter().enumerate() {
            for (peer, lab) in labs {
                let (near, far) = (must(lab.pod("shop/near")), must(lab.pod("shop/far")));
                let to = SocketAddr::new(far.address(Family::V4), 53);
                let trips = latency::round_trips(&near.netns, to, ROUND_TRIPS).unwrap();
                let (p50, p99) = (trips.p50_us, trips.p99_us);
                println!(
                    "round {round}, ring: {}, peer {}: p50 {p50:.0} us, p99 {p99:.0} us",
                    ring == 1,
                    peer.name()
                );
                assert_eq!(trips.lost, 0);
                // One ring for a kernel peer, two for a weir; and the machine's own delays.
                assert!(p50 < 10_000.0, "{p50} us");
            }
        }
    }
}
