//! The short way is the long way, only shorter: two worlds, one without a flow cache, see the same traffic and the same
//! changes, and everything that leaves, every counter and every connection has to be equal after each step.

use proptest::prelude::*;

use super::packets::{self, ACK, FIN, Ip, PSH, RST, SYN};
use super::world::*;
use crate::buffer::{Checksum, Frame, Gso, GsoKind};
use crate::conntrack::{ConntrackConfig, Dir};
use crate::pipeline::flow_cache::FlowCache;
use crate::pipeline::tests::outer::Envelope;
use crate::pipeline::{Binding, PortId, Role};
use crate::ports::Capabilities;
use crate::respond::RateLimiter;
use std::time::Duration;
use vxlan::mtu::Family;

/// One packet, or a few that belong together.
#[derive(Debug, Clone)]
struct Shot {
    way: Way,
    family: Family,
    flow: u8,
    reply: bool,
    kind: Kind,
    ttl: u8,
    tos: u8,
    size: u16,
    oddity: Oddity,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Local,
    Encap,
    Decap,
    Outside,
    /// From a pod to itself: the one way whose two directions come in at one port.
    Itself,
    /// To an address that nobody has.
    Nowhere,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Udp,
    Tcp(u8),
    Echo,
    Fragments,
    Dhcp,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Oddity {
    None,
    Padding,
    Options,
    DontFragment,
    ForeignMac,
    ForeignSource,
    Tunnel,
    GatewayByName,
    Partial,
    PartialElsewhere,
    BareSum,
    Super,
    Reserved,
    ForeignVni,
    OuterMark,
    BadSum,
    /// One byte of the frame changed by a pod or node, with the IPv4 header's checksum as it was or right again.
    Changed(u8, u8, bool),
    /// One byte of it changed on the underlay.
    ChangedOutside(u8, u8),
}

#[derive(Debug, Clone)]
enum Step {
    Shots(Vec<Shot>),
    Pass(u64),
    Policy(u8),
    Restart(bool),
    Mtu(u16),
    Mac(bool),
    Rewire,
    Tick,
}

fn shot() -> impl Strategy<Value = Shot> {
    let way = prop_oneof![
        2 => Just(Way::Local),
        2 => Just(Way::Encap),
        2 => Just(Way::Decap),
        2 => Just(Way::Outside),
        1 => Just(Way::Itself),
        1 => Just(Way::Nowhere),
    ];
    let flags = prop_oneof![
        Just(SYN),
        Just(SYN | ACK),
        Just(ACK),
        Just(ACK),
        Just(PSH | ACK),
        Just(FIN | ACK),
        Just(RST)
    ];
    let kind = prop_oneof![
        6 => Just(Kind::Udp),
        6 => flags.prop_map(Kind::Tcp),
        1 => Just(Kind::Echo),
        1 => Just(Kind::Fragments),
        1 => Just(Kind::Dhcp),
    ];
    let oddity = prop_oneof![
        14 => Just(Oddity::None),
        1 => Just(Oddity::Padding),
        1 => Just(Oddity::Options),
        1 => Just(Oddity::DontFragment),
        1 => Just(Oddity::ForeignMac),
        1 => Just(Oddity::ForeignSource),
        1 => Just(Oddity::Tunnel),
        1 => Just(Oddity::GatewayByName),
        1 => Just(Oddity::Partial),
        1 => Just(Oddity::PartialElsewhere),
        1 => Just(Oddity::BareSum),
        1 => Just(Oddity::Super),
        1 => Just(Oddity::Reserved),
        1 => Just(Oddity::ForeignVni),
        1 => Just(Oddity::OuterMark),
        1 => Just(Oddity::BadSum),
        2 => (0_u8..80, any::<u8>(), any::<bool>()).prop_map(|(at, xor, sum)| Oddity::Changed(at, xor, sum)),
        1 => (0_u8..120, any::<u8>()).prop_map(|(at, xor)| Oddity::ChangedOutside(at, xor)),
    ];
    let ttl = prop_oneof![8 => Just(64_u8), 1 => Just(2_u8), 1 => Just(1_u8), 1 => Just(0_u8)];
    let tos = prop_oneof![4 => Just(0_u8), 1 => 0_u8..4, 1 => Just(0xb8_u8)];
    let size = prop_oneof![6 => Just(20_u16), 1 => Just(1300_u16), 1 => Just(1440_u16)];
    let family = prop_oneof![3 => Just(Family::V4), 1 => Just(Family::V6)];
    (way, family, 0_u8..3, any::<bool>(), kind, ttl, tos, size, oddity).prop_map(
        |(way, family, flow, reply, kind, ttl, tos, size, oddity)| Shot {
            way,
            family,
            flow,
            reply,
            kind,
            ttl,
            tos,
            size,
            oddity,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    // Trains of one flow among them, so that something is known.
    let train = (shot(), 2_usize..10).prop_map(|(shot, count)| vec![shot; count]);
    let trains =
        proptest::collection::vec((shot(), 1_usize..7).prop_map(|(shot, count)| vec![shot; count]), 2..6);
    prop_oneof![
        8 => proptest::collection::vec(shot(), 1..10).prop_map(Step::Shots),
        8 => train.prop_map(Step::Shots),
        8 => trains.prop_map(|trains| Step::Shots(trains.concat())),
        1 => prop_oneof![Just(1_u64), Just(31), Just(130), Just(500_000)].prop_map(Step::Pass),
        1 => (0_u8..4).prop_map(Step::Policy),
        1 => any::<bool>().prop_map(Step::Restart),
        1 => prop_oneof![Just(1450_u16), Just(1280), Just(600)].prop_map(Step::Mtu),
        1 => any::<bool>().prop_map(Step::Mac),
        1 => Just(Step::Rewire),
        1 => Just(Step::Tick),
    ]
}

impl Shot {
    fn ip(&self) -> Ip {
        let (near, far) = match self.way {
            Way::Local => (blue(self.family), green(self.family)),
            Way::Encap | Way::Decap => (blue(self.family), bee(self.family)),
            Way::Outside => (blue(self.family), outside(self.family)),
            Way::Itself => (blue(self.family), blue(self.family)),
            Way::Nowhere => (blue(self.family), nobody(self.family)),
        };
        // Out of the tunnel comes the other end.
        let (src, dst) = match self.way {
            Way::Decap => (far, near),
            Way::Local if self.reply => (far, near),
            _ => (near, far),
        };
        let from_near = if self.way == Way::Itself { !self.reply } else { src == near };
        let src = if self.oddity == Oddity::ForeignSource { outside(self.family) } else { src };
        let dst = if self.oddity == Oddity::Tunnel { gateway(self.family) } else { dst };
        let (a, b) = if from_near {
            (40_000, 8080 + u16::from(self.flow))
        } else {
            (8080 + u16::from(self.flow), 40_000)
        };
        let payload = vec![self.flow; usize::from(self.size)];
        let (protocol, l4) = match self.kind {
            Kind::Udp if self.oddity == Oddity::Tunnel => (17, packets::udp(a, 8472, &payload)),
            Kind::Udp | Kind::Fragments => (17, packets::udp(a, b, &payload)),
            Kind::Dhcp => (17, packets::udp(68, 67, &payload)),
            Kind::Tcp(flags) => (6, packets::tcp_with(a, b, flags, &payload)),
            Kind::Echo => packets::echo(src, from_near, 7),
        };
        let ip = Ip::new(src, dst, protocol, l4).ttl(self.ttl).tos(self.tos);
        let mut ip = match self.way {
            Way::Decap => ip.by_b(),
            Way::Local if self.reply => ip.by_green(),
            _ => ip,
        };
        match self.oddity {
            Oddity::Options if self.family == Family::V4 => ip.options = vec![1, 1, 1, 0],
            Oddity::DontFragment => ip = ip.df(),
            Oddity::ForeignMac => ip.src_mac = GHOST_MAC,
            Oddity::GatewayByName if self.way == Way::Local => {
                ip.dst_mac = if self.reply { BLUE_MAC } else { GREEN_MAC }
            }
            _ => {}
        }
        ip
    }

    fn frames(&self, world: &mut World) -> Vec<Frame> {
        let ip = self.ip();
        let third = ip.l4.len().div_ceil(24) * 8;
        let ips = if matches!(self.kind, Kind::Fragments) { ip.fragments(third) } else { vec![ip] };
        ips.iter().map(|ip| self.frame(world, ip)).collect()
    }

    fn frame(&self, world: &mut World, ip: &Ip) -> Frame {
        let mut bytes = ip.frame();
        let l4 = if ip.src.is_ipv4() { 34 + ip.options.len() } else { 54 };
        let field = if ip.protocol == 6 { 16 } else { 6 };
        match self.oddity {
            Oddity::Padding => bytes.extend_from_slice(&[9; 7]),
            Oddity::BadSum if bytes.len() > 26 => bytes[24] ^= 0x55,
            Oddity::BareSum if [6, 17].contains(&ip.protocol) && bytes.len() > l4 + field + 2 => {
                let len = (bytes.len() - l4) as u32;
                let sum = vxlan::wire::checksum::pseudo_header(ip.src, ip.dst, ip.protocol, len);
                let sum = vxlan::wire::checksum::fold(sum).to_be_bytes();
                bytes[l4 + field..l4 + field + 2].copy_from_slice(&sum);
            }
            Oddity::Changed(at, xor, sum) => {
                let len = bytes.len();
                bytes[usize::from(at) % len] ^= xor;
                if sum && ip.src.is_ipv4() {
                    packets::sum_header(&mut bytes[14..34]);
                }
            }
            _ => {}
        }
        let mut frame = if self.way == Way::Decap {
            let mut envelope = Envelope::from_b();
            match self.oddity {
                Oddity::Reserved => envelope.vxlan[7] = 1,
                Oddity::ForeignVni => envelope.vxlan[6] = 9,
                Oddity::OuterMark => envelope.tos = 3,
                _ => {}
            }
            world.sealed(&envelope, &bytes)
        } else {
            world.frame(&bytes)
        };
        if let Oddity::ChangedOutside(at, xor) = self.oddity {
            let len = frame.len();
            frame.bytes_mut()[usize::from(at) % len] ^= xor;
        }
        if self.way != Way::Decap {
            match self.oddity {
                Oddity::Partial => {
                    frame.checksum = Checksum::Partial { start: l4 as u16, offset: field as u16 };
                }
                Oddity::PartialElsewhere => {
                    frame.checksum = Checksum::Partial { start: l4 as u16, offset: 30 }
                }
                Oddity::Super if ip.protocol == 6 => {
                    let kind = if ip.src.is_ipv4() { GsoKind::Tcp4 } else { GsoKind::Tcp6 };
                    frame.gso = Some(Gso { kind, size: 500, ecn: false });
                }
                _ => {}
            }
        }
        frame
    }

    fn port(&self, world: &World) -> PortId {
        match self.way {
            Way::Decap => world.underlay,
            Way::Local if self.reply => world.green,
            _ => world.blue,
        }
    }
}

/// Everything that can be seen of the connections.
fn connections(world: &World) -> Vec<String> {
    let mut lines: Vec<String> = world
        .pipeline
        .connections()
        .iter()
        .map(|(_, conn)| {
            let counts = [Dir::Original, Dir::Reply].map(|dir| (conn.packets(dir), conn.bytes(dir)));
            format!(
                "{:?} {} {:?} {} {:?}",
                conn.original,
                conn.state_name(),
                counts,
                conn.generation,
                conn.deadline()
            )
        })
        .collect();
    lines.sort();
    lines
}

fn take(world: &mut World, step: &Step) -> Vec<Outcome> {
    match step {
        Step::Shots(shots) => {
            // A batch for each run of shots at one port.
            let mut outcomes = Vec::new();
            let mut rest = shots.as_slice();
            while let Some(first) = rest.first() {
                let port = first.port(world);
                let count = rest.iter().take_while(|shot| shot.port(world) == port).count();
                let (now, later) = rest.split_at(count);
                let batch = now.iter().flat_map(|shot| shot.frames(world)).collect();
                outcomes.push(world.inject_frames(port, batch));
                rest = later;
            }
            outcomes
        }
        Step::Pass(seconds) => {
            world.pass(Duration::from_secs(*seconds));
            Vec::new()
        }
        Step::Policy(policy) => {
            let policy = *policy;
            world.allow(move |key| match policy {
                0 | 1 => true,
                2 => key.protocol == 6,
                _ => key.dst_port != 8081 && key.src_port != 8081,
            });
            Vec::new()
        }
        Step::Restart(green) => {
            // A pod with the name and address of the one before.
            let place = usize::from(*green);
            if let Some(pod) = world.pods.get_mut(place) {
                pod.uid.push('x');
            }
            world.publish();
            Vec::new()
        }
        Step::Mtu(mtu) => {
            let green = world.green;
            world.pipeline.bindings_mut().get_mut(green).expect("green").mtu = *mtu;
            Vec::new()
        }
        Step::Mac(known) => {
            let blue = world.blue;
            world.pipeline.bindings_mut().get_mut(blue).expect("blue").mac = known.then_some(BLUE_MAC);
            Vec::new()
        }
        Step::Rewire => {
            let old = world.pipeline.detach(world.green).expect("green");
            let outcome = {
                let lost =
                    Ip::new(blue(Family::V4), green(Family::V4), 17, packets::udp(40_000, 8080, b"lost"));
                world.inject(world.blue, &lost.frame())
            };
            world.green = world.pipeline.attach(Binding { role: Role::Pod(pod("green")), ..old });
            vec![outcome]
        }
        Step::Tick => vec![world.tick()],
    }
}

fn worlds(plan: impl Fn() -> Plan) -> [World; 2] {
    let [mut short, mut long] = [plan(), plan()].map(World::with);
    short.pipeline.flow_hash = ahash::RandomState::with_seeds(1, 2, 3, 4);
    long.pipeline.flow_hash = ahash::RandomState::with_seeds(1, 2, 3, 4);
    long.pipeline.caching = false;
    for world in [&mut short, &mut long] {
        world.pipeline.identification.set(0xfffc);
        // So few that they run out.
        world.pipeline.icmp_limit = RateLimiter::new(1, 2);
    }
    [short, long]
}

fn plan(offloads: bool, datagrams: bool) -> Plan {
    let underlay = if datagrams { Role::UnderlayDatagram } else { Role::UnderlayFrame };
    let capabilities = Capabilities { checksum: offloads, tso: offloads, uso: offloads };
    Plan { underlay, capabilities, conntrack: ConntrackConfig::with_max_entries(24), ..Plan::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn both_ways_do_the_same(
        steps in proptest::collection::vec(step(), 1..40),
        offloads: bool,
        datagrams in prop_oneof![3 => Just(true), 1 => Just(false)],
        crowded: bool,
    ) {
        let [mut short, mut long] = worlds(|| plan(offloads, datagrams));
        if crowded {
            // Two sets, in which flows take each other's places all the time.
            short.pipeline.cache = FlowCache::holding(8);
        }
        for (number, step) in steps.iter().enumerate() {
            let (found, expected) = (take(&mut short, step), take(&mut long, step));
            prop_assert_eq!(found, expected, "step {}: {:?}", number, step);
            prop_assert_eq!(connections(&short), connections(&long), "step {}: {:?}", number, step);
            prop_assert_eq!(short.denials.rows(), long.denials.rows(), "step {}: {:?}", number, step);
        }
        prop_assert_eq!(long.counters.flow_hits.get(), 0);
        prop_assert_eq!(
            short.counters.flow_hits.get() + short.counters.flow_misses.get(),
            short.counters.received.get()
        );
    }
}

fn plain(way: Way, family: Family, kind: Kind) -> Shot {
    Shot { way, family, flow: 0, reply: false, kind, ttl: 64, tos: 0, size: 20, oddity: Oddity::None }
}

#[test]
fn the_third_packet_of_a_flow_is_known() {
    for way in [Way::Local, Way::Encap, Way::Decap, Way::Outside] {
        for family in FAMILIES {
            let kind = Kind::Udp;
            let [mut world, _] = worlds(|| plan(false, true));
            // node-b's IPv6 packets come in the IPv4 tunnel too.
            for hits in [0, 0, 1, 2] {
                take(&mut world, &Step::Shots(vec![plain(way, family, kind)]));
                assert_eq!(world.counters.flow_hits.get(), hits, "{way:?} {family:?} {kind:?}");
            }
        }
    }
}

#[test]
fn a_packet_that_may_open_a_connection_again_is_put_to_all_stages() {
    for way in [Way::Local, Way::Encap, Way::Decap, Way::Outside] {
        let [mut world, _] = worlds(|| plan(false, true));
        for _ in 0..4 {
            take(&mut world, &Step::Shots(vec![plain(way, Family::V4, Kind::Tcp(SYN))]));
        }
        assert_eq!(world.counters.flow_hits.get(), 0, "{way:?}");
    }
}

#[test]
fn nothing_known_outlives_a_generation_or_a_port() {
    for change in [Step::Policy(0), Step::Restart(false), Step::Mtu(1450), Step::Rewire] {
        let [mut world, _] = worlds(|| plan(false, true));
        let train = Step::Shots(vec![plain(Way::Local, Family::V4, Kind::Udp); 4]);
        take(&mut world, &train);
        take(&mut world, &train);
        let before = world.counters.flow_hits.get();
        assert!(before > 0);
        take(&mut world, &change);
        take(&mut world, &Step::Shots(vec![plain(Way::Local, Family::V4, Kind::Udp)]));
        assert_eq!(world.counters.flow_hits.get(), before, "{change:?}");
    }
}

#[test]
fn a_flood_of_new_flows_enters_nothing() {
    let [mut world, _] = worlds(|| plan(false, true));
    let known = Step::Shots(vec![plain(Way::Local, Family::V4, Kind::Udp); 3]);
    take(&mut world, &known);
    for port in 0..500_u16 {
        let flood =
            Ip::new(blue(Family::V4), outside(Family::V4), 17, packets::udp(port + 1000, 9, b"flood"));
        world.inject(world.blue, &flood.frame());
    }
    assert_eq!(world.counters.flow_hits.get(), 0, "none came twice");
}
