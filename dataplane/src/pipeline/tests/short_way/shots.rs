//! What the two worlds see: packets of a few flows, with and without oddities, and changes around them.

use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;
use vxlan::mtu::Family;
use vxlan::wire::headers::{self, Network};

use crate::buffer::{Checksum, Frame, Gso, GsoKind};
use crate::conntrack::Dir;
use crate::pipeline::tests::neighbours::{Arp, nd};
use crate::pipeline::tests::outer::Envelope;
use crate::pipeline::tests::packets::{self, ACK, FIN, Ip, PSH, RST, SYN};
use crate::pipeline::tests::world::*;
use crate::pipeline::{Binding, PortId, Role};

/// One packet, or a few that belong together.
#[derive(Debug, Clone)]
pub(super) struct Shot {
    pub(super) way: Way,
    pub(super) family: Family,
    pub(super) flow: u8,
    pub(super) reply: bool,
    pub(super) kind: Kind,
    pub(super) ttl: u8,
    pub(super) tos: u8,
    pub(super) size: u16,
    pub(super) oddity: Oddity,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Way {
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
pub(super) enum Kind {
    Udp,
    Tcp(u8),
    Echo,
    Fragments,
    /// From this port to that one.
    Dhcp(u16, u16),
    /// An ICMP message that configures its receiver, or asks something.
    Message(u8),
    /// An ICMP error about a packet of the receiver's.
    Error(Quote),
    /// A message of neighbours about this, with the sender's own address in it or a foreign one.
    Neighbour(u8, About, bool),
}

/// What an ICMP error quotes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Quote {
    Udp,
    Tcp,
    Echo,
    /// Of the flow of another receiver.
    Foreign,
    /// Of a flow that nobody has.
    Unheard,
    /// Too little.
    Short,
}

/// Whom neighbours talk about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum About {
    Gateway,
    Green,
    Nobody,
    Sender,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Oddity {
    None,
    Padding,
    Options,
    /// In fragments.
    Cut,
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
pub(super) enum Step {
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
    let port = || prop_oneof![Just(67_u16), Just(68), Just(546), Just(547), Just(5353)];
    let dhcp = (port(), port()).prop_map(|(src, dst)| Kind::Dhcp(src, dst));
    let quote = prop_oneof![
        Just(Quote::Udp),
        Just(Quote::Tcp),
        Just(Quote::Echo),
        Just(Quote::Foreign),
        Just(Quote::Unheard),
        Just(Quote::Short),
    ];
    let message = 133_u8..138;
    let about =
        prop_oneof![Just(About::Gateway), Just(About::Green), Just(About::Nobody), Just(About::Sender)];
    let kind = prop_oneof![
        6 => Just(Kind::Udp),
        6 => flags.prop_map(Kind::Tcp),
        1 => Just(Kind::Echo),
        1 => Just(Kind::Fragments),
        1 => dhcp,
        1 => prop_oneof![Just(5_u8), Just(9), Just(13), Just(134), Just(137)].prop_map(Kind::Message),
        2 => quote.prop_map(Kind::Error),
        2 => (message, about, prop_oneof![3 => Just(true), 1 => Just(false)])
            .prop_map(|(message, about, honest)| Kind::Neighbour(message, about, honest)),
    ];
    let oddity = prop_oneof![
        14 => Just(Oddity::None),
        1 => Just(Oddity::Padding),
        1 => Just(Oddity::Options),
        1 => Just(Oddity::Cut),
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
    let size = prop_oneof![6 => Just(20_u16), 1 => Just(0_u16), 1 => Just(1300_u16), 1 => Just(1440_u16)];
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

pub(super) fn step() -> impl Strategy<Value = Step> {
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
            Kind::Dhcp(a, b) => (17, packets::udp(a, b, &payload)),
            Kind::Message(kind) => {
                let protocol = if src.is_ipv4() { 1 } else { 58 };
                (protocol, [&[kind, 0, 0, 0, 0, 0, 0, 0][..], &payload].concat())
            }
            Kind::Error(quote) => self.error(quote, (dst, b), (src, a), from_near),
            // Written anew below.
            Kind::Neighbour(..) => (58, payload),
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

    /// The error about a packet that `sender` has sent to `receiver`.
    fn error(
        &self,
        quote: Quote,
        sender: (IpAddr, u16),
        receiver: (IpAddr, u16),
        by_opener: bool,
    ) -> (u8, Vec<u8>) {
        let (protocol, l4) = match quote {
            Quote::Tcp => (6, packets::tcp(sender.1, receiver.1, ACK)),
            Quote::Echo => packets::echo(sender.0, !by_opener, 7),
            Quote::Unheard => (17, packets::udp(sender.1, 9, b"quoted")),
            Quote::Udp | Quote::Foreign | Quote::Short => (17, packets::udp(sender.1, receiver.1, b"quoted")),
        };
        let src = if quote == Quote::Foreign { grey(self.family) } else { sender.0 };
        let about = Ip::new(src, receiver.0, protocol, l4);
        let (kind, code) = if self.family == Family::V4 { (3, 3) } else { (1, 4) };
        let (protocol, mut message) = packets::icmp_error(kind, code, 0, &about);
        if quote == Quote::Short {
            message.truncate(8 + 24);
        }
        (protocol, message)
    }

    /// What neighbours say to one another, in ARP or IPv6.
    fn neighbour(&self, message: u8, about: About, honest: bool) -> Vec<u8> {
        let ip = self.ip();
        let target = match about {
            About::Gateway => gateway(self.family),
            About::Green => green(self.family),
            About::Nobody => nobody(self.family),
            About::Sender => ip.src,
        };
        let sender = if honest { ip.src } else { grey(self.family) };
        if self.family == Family::V4 {
            let eth_dst = if message == 136 { GATEWAY_MAC } else { vxlan::Mac::BROADCAST };
            let operation = if message == 136 { 2 } else { 1 };
            let arp = Arp { eth_dst, eth_src: ip.src_mac, operation, sender_mac: ip.src_mac, sender, target };
            return arp.frame();
        }
        let (dst, flags) = if message == 136 { ("fd00:10:244:1::1", 0x40) } else { ("ff02::1", 0) };
        let kind = if message == 136 { 2 } else { 1 };
        let option = [&[kind, 1][..], &ip.src_mac.0].concat();
        let nd = nd(sender, dst, message, flags, target, &option);
        Ip { src_mac: ip.src_mac, ttl: if self.ttl == 64 { 255 } else { self.ttl }, ..nd }.frame()
    }

    fn frames(&self, world: &mut World) -> Vec<Frame> {
        let ip = self.ip();
        if let Kind::Neighbour(message, about, honest) = self.kind {
            return vec![self.frame(world, &ip, self.neighbour(message, about, honest))];
        }
        let third = ip.l4.len().div_ceil(24) * 8;
        let cut = matches!(self.kind, Kind::Fragments) || self.oddity == Oddity::Cut;
        let ips = if cut { ip.fragments(third) } else { vec![ip] };
        ips.iter().map(|ip| self.frame(world, ip, ip.frame())).collect()
    }

    fn frame(&self, world: &mut World, ip: &Ip, mut bytes: Vec<u8>) -> Frame {
        let l4 = if ip.src.is_ipv4() { 34 + ip.options.len() } else { 54 };
        let field = if ip.protocol == 6 { 16 } else { 6 };
        match self.oddity {
            Oddity::Padding => bytes.extend_from_slice(&[2; 7]),
            Oddity::BadSum if bytes.len() > 26 => bytes[24] ^= 0x55,
            Oddity::BareSum if [6, 17].contains(&ip.protocol) && bytes.len() > l4 + field + 2 => {
                let len = (bytes.len() - l4) as u32;
                let sum = vxlan::wire::checksum::pseudo_header(ip.src, ip.dst, ip.protocol, len);
                let sum = vxlan::wire::checksum::fold(sum).to_be_bytes();
                bytes[l4 + field..l4 + field + 2].copy_from_slice(&sum);
            }
            Oddity::Changed(at, xor, sum) if !self.is_cut() => {
                let len = bytes.len();
                bytes[usize::from(at) % len] ^= xor;
                if sum && ip.src.is_ipv4() && bytes.len() > 34 {
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
        if let (Oddity::ChangedOutside(at, xor), false) = (self.oddity, self.is_cut()) {
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

    /// A segment out of the tunnel that is cut. That its sum is wrong shows only then, and whether the connection it
    /// may have opened has carried another by that time depends on where the batch falls apart.
    fn is_cut(&self) -> bool {
        self.way == Way::Decap && matches!(self.kind, Kind::Tcp(_)) && self.size > 1400
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
pub(super) fn connections(world: &World) -> Vec<String> {
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

/// What came of `step`. What leaves by one port keeps its order; answers to neighbours, which come of an early stage,
/// go ahead of the rest.
pub(super) fn take(world: &mut World, step: &Step) -> Vec<Outcome> {
    let mut outcomes = outcomes(world, step);
    for outcome in &mut outcomes {
        outcome.sent.sort_by_key(|sent| (sent.port, !is_neighbours(&sent.bytes)));
    }
    outcomes
}

fn is_neighbours(frame: &[u8]) -> bool {
    match headers::parse(frame, false).map(|headers| headers.net) {
        Ok(Network::Arp) => true,
        Ok(Network::Ip(ip)) => crate::respond::is_ndp(&ip),
        Err(_) => false,
    }
}

fn outcomes(world: &mut World, step: &Step) -> Vec<Outcome> {
    match step {
        Step::Shots(shots) => {
            // A batch for each run of shots at one port. ICMP errors stand apart: whether one sees a connection that a
            // packet of its own batch opens depends on where the batch falls apart, and no error is as fast as that.
            let mut outcomes = Vec::new();
            let mut rest = shots.as_slice();
            while let Some(first) = rest.first() {
                let port = first.port(world);
                let is_error = |shot: &Shot| matches!(shot.kind, Kind::Error(_));
                let alike = |shot: &&Shot| shot.port(world) == port && is_error(shot) == is_error(first);
                let count = rest.iter().take_while(alike).count();
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
