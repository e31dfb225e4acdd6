//! Two workers that share a node's connections against a slow model: a list of connections, and the policy asked anew for
//! every packet.
//!
//! Datagrams and pings are predicted to the packet: which pass, which drop, and why. Of TCP it is said only that nothing
//! passes whose connection the policy forbids in the direction in which it was opened. Workers take up generations one
//! after the other; each judges by its own.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use policy_compiler::{Direction, Key};
use proptest::prelude::*;
use vxlan::mtu::Family;

use super::outer::Envelope;
use super::packets::*;
use super::world::*;
use crate::buffer::{Batch, Frame};
use crate::drop_reason::DropReason;
use crate::pipeline::flow_cache::FlowCache;
use crate::pipeline::{Pipeline, PortId};
use crate::time::Timestamp;

const V4: Family = Family::V4;

/// Idle times, as `Timeouts` has them.
const UNANSWERED: Duration = Duration::from_secs(30);
const STREAM: Duration = Duration::from_mins(2);
const PING: Duration = Duration::from_secs(30);
const STREAM_AGE: Duration = Duration::from_secs(2);
/// Deadlines count in 50 ms: what comes this close to one is no test.
const BLUR: Duration = Duration::from_millis(200);

/// A policy made of a number: what it allows has neither rhyme nor reason, and is the same each time.
fn allows(seed: u8, direction: Direction, flow: &Flow) -> bool {
    let last = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets()[3],
        IpAddr::V6(address) => address.octets()[15],
    };
    let ingress = u8::from(direction == Direction::Ingress);
    let [d0, d1] = flow.dst_port.to_be_bytes();
    let words = [seed, ingress, last(flow.src), last(flow.dst), flow.protocol, d0, d1];
    let mixed = words.iter().fold(0x9e37_u32, |sum, word| (sum ^ u32::from(*word)).wrapping_mul(0x0100_0193));
    seed == 0 || mixed >> 13 & 3 != 0
}

/// One direction of a connection, as policy has it: type and code of a ping stand in the destination port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Flow {
    src: IpAddr,
    dst: IpAddr,
    protocol: u8,
    src_port: u16,
    dst_port: u16,
    /// Identifier of a ping.
    id: u16,
}

impl Flow {
    fn of(key: &Key) -> Self {
        let &Key { src, dst, protocol, src_port, dst_port, .. } = key;
        Self { src, dst, protocol, src_port, dst_port, id: 0 }
    }

    fn reversed(self) -> Self {
        let Self { src, dst, protocol, src_port, dst_port, id } = self;
        if protocol == 1 {
            return Self { src: dst, dst: src, dst_port: dst_port ^ 0x0800, ..self };
        }
        Self { src: dst, dst: src, protocol, src_port: dst_port, dst_port: src_port, id }
    }
}

/// Who sends to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    BlueGreen,
    GreenBlue,
    BlueBee,
    BeeBlue,
    BlueOutside,
    OutsideBlue,
}

const WAYS: [Way; 6] =
    [Way::BlueGreen, Way::GreenBlue, Way::BlueBee, Way::BeeBlue, Way::BlueOutside, Way::OutsideBlue];

impl Way {
    fn ends(self) -> (IpAddr, IpAddr) {
        match self {
            Self::BlueGreen => (blue(V4), green(V4)),
            Self::GreenBlue => (green(V4), blue(V4)),
            Self::BlueBee => (blue(V4), bee(V4)),
            Self::BeeBlue => (bee(V4), blue(V4)),
            Self::BlueOutside => (blue(V4), outside(V4)),
            Self::OutsideBlue => (outside(V4), blue(V4)),
        }
    }

    fn port(self, world: &World) -> PortId {
        match self {
            Self::BlueGreen | Self::BlueBee | Self::BlueOutside => world.blue,
            Self::GreenBlue => world.green,
            Self::BeeBlue => world.underlay,
            Self::OutsideBlue => world.node,
        }
    }

    fn dressed(self, ip: Ip) -> Ip {
        match self {
            Self::BlueGreen | Self::BlueBee | Self::BlueOutside => ip,
            Self::GreenBlue => ip.by_green(),
            Self::BeeBlue => ip.by_b(),
            Self::OutsideBlue => ip.by_node(),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Udp,
    Ping(bool),
    Tcp(u8),
}

#[derive(Debug, Clone, Copy)]
struct Shot {
    way: Way,
    kind: Kind,
    /// Who has the well-known port.
    back: bool,
    flow: u8,
}

impl Shot {
    fn flow(self) -> Flow {
        let (src, dst) = self.way.ends();
        let near = 40_000 + u16::from(self.flow);
        let (src_port, dst_port) = if self.back { (8080, near) } else { (near, 8080) };
        match self.kind {
            Kind::Ping(request) => {
                let dst_port = if request { 0x0800 } else { 0 };
                Flow { src, dst, protocol: 1, src_port: 0, dst_port, id: u16::from(self.flow) }
            }
            Kind::Udp => Flow { src, dst, protocol: 17, src_port, dst_port, id: 0 },
            Kind::Tcp(_) => Flow { src, dst, protocol: 6, src_port, dst_port, id: 0 },
        }
    }

    fn frame(self, world: &mut World) -> Frame {
        let Flow { src, dst, src_port, dst_port, id, .. } = self.flow();
        let (protocol, l4) = match self.kind {
            Kind::Udp => (17, udp(src_port, dst_port, b"datagram")),
            Kind::Ping(request) => echo(src, request, id),
            Kind::Tcp(flags) => (6, tcp(src_port, dst_port, flags)),
        };
        let bytes = self.way.dressed(Ip::new(src, dst, protocol, l4)).frame();
        if self.way == Way::BeeBlue { world.sealed(&Envelope::from_b(), &bytes) } else { world.frame(&bytes) }
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// One batch for each run of shots at one port.
    Shots(Vec<Shot>),
    /// Another worker's turn.
    Turn,
    Pass(u64),
    /// Taken up by the worker whose turn it is alone.
    Policy(u8),
    Restart(usize),
    /// The other worker takes up what is newest.
    CatchUp,
    Tick,
}

fn shot() -> impl Strategy<Value = Shot> {
    let kind = prop_oneof![
        6 => Just(Kind::Udp),
        2 => any::<bool>().prop_map(Kind::Ping),
        2 => prop::sample::select(vec![SYN, SYN | ACK, ACK, ACK, FIN | ACK, RST]).prop_map(Kind::Tcp),
    ];
    (prop::sample::select(WAYS.to_vec()), kind, any::<bool>(), 0_u8..2)
        .prop_map(|(way, kind, back, flow)| Shot { way, kind, back, flow })
}

fn step() -> impl Strategy<Value = Step> {
    // What is known of a flow is used for some packets in a row.
    let train = (shot(), 1_usize..8).prop_map(|(shot, count)| vec![shot; count]);
    let trains = proptest::collection::vec(train, 1..6);
    prop_oneof![
        8 => proptest::collection::vec(shot(), 1..12).prop_map(Step::Shots),
        8 => trains.prop_map(|trains| Step::Shots(trains.concat())),
        3 => Just(Step::Turn),
        2 => prop::sample::select(vec![1_300_u64, 7_700, 19_100, 41_900, 133_000]).prop_map(Step::Pass),
        2 => (0_u8..6).prop_map(Step::Policy),
        1 => (0_usize..2).prop_map(Step::Restart),
        2 => Just(Step::CatchUp),
        1 => Just(Step::Tick),
    ]
}

/// What a worker knows of the cluster.
#[derive(Debug, Clone)]
struct Known {
    number: u64,
    policy: u8,
    /// Of blue and green.
    uids: [String; 2],
}

impl Known {
    fn uid(&self, address: IpAddr) -> Option<&String> {
        let [of_blue, of_green] = &self.uids;
        let pods = [(blue(V4), of_blue), (green(V4), of_green)];
        pods.into_iter().find(|(of, _)| *of == address).map(|(_, uid)| uid)
    }

    fn owners(&self, flow: &Flow) -> [Option<String>; 2] {
        [flow.src, flow.dst].map(|address| self.uid(address).cloned())
    }

    /// Egress of the source and ingress of the destination, where they are pods of this node.
    fn allows(&self, flow: &Flow) -> bool {
        let asked = |address, direction| self.uid(address).is_none() || allows(self.policy, direction, flow);
        asked(flow.src, Direction::Egress) && asked(flow.dst, Direction::Ingress)
    }
}

#[derive(Debug)]
struct Connection {
    flow: Flow,
    owners: [Option<String>; 2],
    answered: bool,
    created: Timestamp,
    deadline: Timestamp,
}

#[derive(Debug, Default)]
struct Model {
    connections: Vec<Connection>,
    /// Generation for which connections of pods that are gone are still to be looked for.
    purge: Option<u64>,
}

/// Too close to a deadline to tell.
struct Blurred;

impl Model {
    /// `None` where it passes.
    fn judge(&mut self, shot: Shot, known: &Known, now: Timestamp) -> Result<Option<DropReason>, Blurred> {
        if self.connections.iter().any(|it| it.deadline.since(now).max(now.since(it.deadline)) < BLUR) {
            return Err(Blurred);
        }
        self.connections.retain(|it| it.deadline > now);
        let flow = shot.flow();
        let place = self.connections.iter().position(|it| [it.flow, it.flow.reversed()].contains(&flow));
        let Some(place) = place else {
            if !known.allows(&flow) {
                return Ok(Some(DropReason::PolicyDeny));
            }
            if matches!(shot.kind, Kind::Ping(false)) {
                return Ok(Some(DropReason::ConntrackInvalid));
            }
            let owners = known.owners(&flow);
            let deadline = now.plus(UNANSWERED);
            self.connections.push(Connection { flow, owners, answered: false, created: now, deadline });
            return Ok(None);
        };
        let connection = &mut self.connections[place];
        let cut = if connection.owners != known.owners(&connection.flow) {
            Some(DropReason::PodGone)
        } else if !known.allows(&connection.flow) {
            Some(DropReason::PolicyRevoked)
        } else {
            None
        };
        if cut.is_some() {
            self.connections.remove(place);
            return Ok(cut);
        }
        connection.answered |= connection.flow != flow;
        let age = now.since(connection.created);
        if age < STREAM_AGE + BLUR && age + BLUR > STREAM_AGE {
            return Err(Blurred);
        }
        connection.deadline = now.plus(match shot.kind {
            Kind::Ping(_) => PING,
            _ if connection.answered && age >= STREAM_AGE => STREAM,
            _ => UNANSWERED,
        });
        Ok(None)
    }

    fn take_up(&mut self, number: u64) {
        self.purge = self.purge.max(Some(number));
    }

    fn tick(&mut self, known: &Known, newest_purged: &mut u64) {
        if self.purge == Some(known.number) && *newest_purged <= known.number {
            self.connections.retain(|it| it.owners.iter().flatten().all(|uid| known.uids.contains(uid)));
            self.purge = None;
            *newest_purged = known.number;
        }
    }
}

struct Node {
    world: World,
    /// The worker whose turn it is not.
    other: Pipeline,
    known: Known,
    other_known: Known,
    newest: Known,
    model: Model,
    purged: u64,
}

impl Node {
    fn new(crowded: bool, datagrams: bool) -> Self {
        let mut world = if datagrams { World::on_datagrams() } else { World::new() };
        let mut other = world.pipeline.beside(world.counters.clone());
        for binding in world.pipeline.bindings().iter() {
            other.attach(binding.clone());
        }
        other.take_up(world.pipeline.generation.clone().expect("started"));
        if crowded {
            world.pipeline.cache = FlowCache::holding(4);
            other.cache = FlowCache::holding(8);
        }
        let uids = [0, 1].map(|place: usize| world.pods[place].uid.clone());
        let known = Known { number: 1, policy: 0, uids };
        Self {
            world,
            other,
            other_known: known.clone(),
            newest: known.clone(),
            known,
            model: Model::default(),
            purged: 0,
        }
    }

    fn published(&mut self, policy: u8) {
        let number = self.world.pipeline.generation.as_ref().expect("started").number;
        let uids = [0, 1].map(|place: usize| self.world.pods[place].uid.clone());
        self.known = Known { number, policy, uids };
        self.newest = self.known.clone();
        self.model.take_up(number);
    }

    fn take(&mut self, step: &Step) -> Result<(), Blurred> {
        match step {
            Step::Shots(shots) => {
                let mut rest = shots.as_slice();
                while let Some(first) = rest.first() {
                    let port = first.way.port(&self.world);
                    let is_tcp = |shot: &Shot| matches!(shot.kind, Kind::Tcp(_));
                    let together =
                        |shot: &&Shot| shot.way.port(&self.world) == port && is_tcp(shot) == is_tcp(first);
                    let (now, later) = rest.split_at(rest.iter().take_while(together).count());
                    if is_tcp(first) {
                        self.tcp(port, now);
                    } else {
                        self.shots(port, now)?;
                    }
                    rest = later;
                }
            }
            Step::Turn => {
                std::mem::swap(&mut self.world.pipeline, &mut self.other);
                std::mem::swap(&mut self.known, &mut self.other_known);
            }
            Step::Pass(milliseconds) => self.world.pass(Duration::from_millis(*milliseconds)),
            Step::Policy(policy) => {
                let policy = *policy;
                self.world.allow(move |key| allows(policy, key.direction, &Flow::of(key)));
                self.published(policy);
            }
            Step::Restart(place) => {
                self.world.pods[*place].uid.push('x');
                self.world.publish();
                self.published(self.newest.policy);
            }
            Step::CatchUp => {
                let newest = [&self.world.pipeline, &self.other]
                    .into_iter()
                    .filter_map(|pipeline| pipeline.generation.clone())
                    .max_by_key(|generation| generation.number)
                    .expect("started");
                if self.other_known.number < newest.number {
                    self.other.take_up(newest);
                    self.other_known = self.newest.clone();
                    self.model.take_up(self.newest.number);
                }
            }
            Step::Tick => {
                self.world.tick();
                self.model.tick(&self.known, &mut self.purged);
            }
        }
        Ok(())
    }

    fn inject(&mut self, port: PortId, shots: &[Shot]) -> Outcome {
        let batch: Batch = shots.iter().map(|shot| shot.frame(&mut self.world)).collect();
        self.world.inject_frames(port, batch)
    }

    fn shots(&mut self, port: PortId, shots: &[Shot]) -> Result<(), Blurred> {
        let now = self.world.now.plus(Duration::from_millis(1));
        let mut drops = BTreeMap::new();
        let mut passing = Vec::new();
        for shot in shots {
            match self.model.judge(*shot, &self.known, now)? {
                None => passing.push(shot.flow()),
                Some(reason) => *drops.entry(reason).or_insert(0) += 1,
            }
        }
        let outcome = self.inject(port, shots);
        assert_eq!(outcome.drops, drops.into_iter().collect::<Vec<_>>(), "{shots:?}");
        assert_eq!(outcome.forwarded, passing.len() as u64);
        // Each to its own destination.
        let mut expected: Vec<_> = passing.iter().map(|flow| (self.due(flow.dst), flow.dst)).collect();
        let mut found: Vec<_> = outcome.sent.iter().map(|sent| (sent.port, self.inner(sent))).collect();
        expected.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, expected, "{shots:?}");
        Ok(())
    }

    fn tcp(&mut self, port: PortId, shots: &[Shot]) {
        let forbidden = shots.iter().filter(|shot| {
            let flow = shot.flow();
            !self.known.allows(&flow) && !self.known.allows(&flow.reversed())
        });
        let most = shots.len() - forbidden.count();
        let outcome = self.inject(port, shots);
        assert!(outcome.forwarded <= most as u64, "{shots:?}: {outcome:?}");
        for sent in &outcome.sent {
            assert_eq!(sent.port, self.due(self.inner(sent)));
        }
    }

    fn due(&self, dst: IpAddr) -> PortId {
        match dst {
            _ if dst == blue(V4) => self.world.blue,
            _ if dst == green(V4) => self.world.green,
            _ if dst == bee(V4) => self.world.underlay,
            _ => self.world.node,
        }
    }

    fn inner(&self, sent: &Sent) -> IpAddr {
        if sent.port == self.world.underlay {
            ip(super::outer::opened(sent).1).dst
        } else {
            ip(&sent.bytes).dst
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn two_workers_do_what_a_list_of_connections_does(
        steps in proptest::collection::vec(step(), 1..60),
        crowded: bool,
        datagrams: bool,
    ) {
        let mut node = Node::new(crowded, datagrams);
        for step in &steps {
            if node.take(step).is_err() {
                break;
            }
        }
    }
}
