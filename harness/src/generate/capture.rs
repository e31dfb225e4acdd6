//! Seeded captures of a node's traffic: input for replays, of any size.
//!
//! ```text
//!  NodeState ─► ends: pods here, pods behind VTEPs, outside, the node ─► flows ─► packets, interleaved ─► pcapng
//!                                                                                 interfaces pods, underlay, node
//! ```
//! As if taken on a network where everybody may speak to everybody: a conversation is whole whatever policy says of
//! it, so that every packet's fate follows from its flow's. TCP conversations from handshake to FIN, UDP one way, ICMP
//! echo; between pods of the node, to and from pods of other nodes (those inside VXLAN), to and from outside and the
//! node; IPv4 and IPv6 where both ends have them. Which flows are drawn is steered by the classifier towards a share
//! of denied ones; what becomes of them is for the replay to say. Equal seeds and states give equal captures.
//!
//! Cost: [`ACTIVE`] conversations and the keys of all flows so far, some 50 bytes each.

mod conversation;
pub(crate) mod frame;

use std::collections::HashSet;
use std::io::{self, Write};
use std::net::IpAddr;

use dataplane::tables::{Generation, Party};
use policy_compiler::{Action, Direction, Key};
use vxlan::mac::Mac;

use super::rng::Rng;
use crate::capture::PcapngWriter;
use crate::replay::NodeState;
use conversation::{Conversation, Turn};
use frame::{Ends, Tunnel};

/// Conversations under way at a time.
const ACTIVE: usize = 512;

/// Mean time between two packets.
const GAP_NS: usize = 20_000;

/// When captures begin: 2026-01-01.
const EPOCH_NS: u64 = 1_767_225_600_000_000_000;

/// L4 ports that flows go to.
const PORTS: [u16; 9] = [53, 80, 443, 5432, 6379, 8000, 8080, 8500, 9090];

/// How often another flow is drawn because the last one had the wrong verdict.
const DRAWS: usize = 64;

/// What a capture is to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CaptureShape {
    /// Bytes of the file, about.
    pub bytes: u64,
    /// Share of flows that the node's policies deny, 0 to 1, where the cluster has both kinds.
    pub denied: f64,
    /// What chooses everything else.
    pub seed: u64,
}

/// What was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Made {
    /// Packets.
    pub packets: u64,
    /// Those of them inside VXLAN.
    pub tunnelled: u64,
    /// Flows begun.
    pub flows: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

/// Why no capture can be made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// There is nobody to speak.
    #[error("node {0} has no pods: expected a state with Pods whose spec.nodeName is {0}")]
    NoPods(String),
    /// Writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Where a packet enters the node, and so which interface it is captured at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Pod,
    Underlay,
    Node,
}

/// One end of flows.
#[derive(Debug, Clone, Copy)]
struct End {
    address: IpAddr,
    place: Place,
    mac: Mac,
    tunnel: Option<Tunnel>,
}

/// Counts what goes to the file.
struct Counted<W>(W, u64);

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.0.write(bytes)?;
        self.1 = self.1.saturating_add(count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl CaptureShape {
    /// Writes the capture; `told` is called now and then with the bytes written so far, and ends it by `false`.
    ///
    /// # Errors
    /// The node has no pods, or writing failed.
    pub fn write(
        &self,
        state: &NodeState,
        to: impl Write,
        told: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Made, MakeError> {
        let cast = Cast::of(state);
        if cast.here.is_empty() {
            return Err(MakeError::NoPods(state.generation.own.name.clone()));
        }
        let mut written = Counted(to, 0);
        let mut made = Made::default();
        {
            let mut writer = PcapngWriter::new(&mut written)?;
            for name in ["pods", "underlay", "node"] {
                writer.add_interface(name)?;
            }
            self.conversations(state, &cast, writer, &mut made, told)?;
        }
        made.bytes = written.1;
        Ok(made)
    }

    fn conversations<W: Write>(
        &self,
        state: &NodeState,
        cast: &Cast,
        mut writer: PcapngWriter<W>,
        made: &mut Made,
        told: &mut dyn FnMut(u64) -> bool,
    ) -> Result<(), MakeError> {
        let mut rng = Rng::new(self.seed);
        let mut known = HashSet::new();
        let mut active: Vec<(Conversation, [End; 2])> = Vec::with_capacity(ACTIVE);
        let (mut time, mut bytes) = (EPOCH_NS, 0_u64);
        let mut buffer = Vec::with_capacity(2048);
        while bytes < self.bytes {
            if active.len() < ACTIVE
                && let Some(flow) = self.draw(state, cast, &mut rng, &mut known)
            {
                active.push(flow);
            }
            let number = rng.below(active.len());
            let Some((conversation, [opener, other])) = active.get_mut(number) else { break };
            made.flows += u64::from(!conversation.has_begun());
            let Some(turn) = conversation.next_turn(&mut rng) else {
                active.swap_remove(number);
                continue;
            };
            let (from, to) = if turn.by_opener { (&*opener, &*other) } else { (&*other, &*opener) };
            let interface = Self::frame(state, conversation, &turn, from, to, &mut buffer);
            writer.packet(interface, time, &buffer, buffer.len(), None)?;
            made.packets += 1;
            made.tunnelled += u64::from(interface == 1);
            bytes = bytes.saturating_add(buffer.len() as u64 + 32 + 2);
            time = time.saturating_add(rng.below(2 * GAP_NS) as u64);
            if made.packets.is_multiple_of(4096) && !told(bytes) {
                break;
            }
        }
        writer.finish()?;
        Ok(())
    }

    /// A flow that has not been drawn before, of the verdict that the dice want.
    fn draw(
        &self,
        state: &NodeState,
        cast: &Cast,
        rng: &mut Rng,
        known: &mut HashSet<(IpAddr, IpAddr, u8, u16, u16)>,
    ) -> Option<(Conversation, [End; 2])> {
        let deny = f64::from(rng.below(1 << 20) as u32) < self.denied * f64::from(1 << 20);
        let mut last = None;
        for _ in 0..DRAWS {
            let Some([opener, other]) = cast.pair(rng) else { continue };
            let conversation = Conversation::draw(rng, opener.address.is_ipv4(), &PORTS);
            let allowed = allows(&state.generation, &conversation, opener.address, other.address);
            let fits = allowed != deny;
            last = Some((conversation, [opener, other]));
            if fits {
                break;
            }
        }
        let (conversation, ends) = last?;
        let [opener, other] = ends;
        let (src_port, dst_port) = conversation.l4_ports();
        let key = (opener.address, other.address, conversation.protocol(), src_port, dst_port);
        let reply = (other.address, opener.address, conversation.protocol(), dst_port, src_port);
        if known.contains(&reply) || !known.insert(key) {
            return None;
        }
        Some((conversation, ends))
    }

    /// Writes one packet as it is seen where it enters the node; the interface of that.
    fn frame(
        state: &NodeState,
        conversation: &Conversation,
        turn: &Turn,
        from: &End,
        to: &End,
        buffer: &mut Vec<u8>,
    ) -> u32 {
        let own = &state.generation.own;
        let dst_mac = match from.place {
            Place::Pod => own.gateway_mac,
            Place::Node => own.vtep_mac,
            Place::Underlay => from.tunnel.map_or(own.vtep_mac, |tunnel| tunnel.inner_dst),
        };
        let ends = Ends { src_mac: from.mac, dst_mac, src: from.address, dst: to.address };
        conversation.write(turn, &ends, buffer);
        match (from.place, from.tunnel) {
            (Place::Underlay, Some(tunnel)) => {
                tunnel.wrap(buffer, conversation.entropy());
                1
            }
            (Place::Node, _) => 2,
            _ => 0,
        }
    }
}

/// What this node's policies say to a flow.
fn allows(generation: &Generation, conversation: &Conversation, src: IpAddr, dst: IpAddr) -> bool {
    let (src_port, dst_port) = conversation.policy_ports();
    [(src, Direction::Egress), (dst, Direction::Ingress)].into_iter().all(|(end, direction)| {
        let Party::Pod(index) = generation.party(end) else { return true };
        let Some(endpoint) = generation.endpoint(index) else { return true };
        let key = Key {
            subject: endpoint.subject,
            direction,
            src,
            dst,
            protocol: conversation.protocol(),
            src_port,
            dst_port,
        };
        generation.classifier.classify(&key).action == Action::Allow
    })
}

/// Everybody who may speak, by family.
struct Cast {
    here: Vec<End>,
    there: Vec<End>,
    node: Vec<End>,
}

impl Cast {
    fn of(state: &NodeState) -> Self {
        let generation = &state.generation;
        let own = &generation.own;
        let mut cast = Self { here: Vec::new(), there: Vec::new(), node: Vec::new() };
        for &address in state.pods.keys() {
            match generation.party(address) {
                Party::Pod(_) => {
                    let [.., a, b, c, d] = match address {
                        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
                        IpAddr::V6(address) => address.octets(),
                    };
                    let mac = Mac([0x02, u8::from(address.is_ipv6()), a, b, c, d]);
                    cast.here.push(End { address, place: Place::Pod, mac, tunnel: None });
                }
                Party::Vtep(id) => {
                    let Some(vtep) = generation.fdb.get(id) else { continue };
                    let Some((tunnel, mac)) = Tunnel::from(vtep, state) else { continue };
                    cast.there.push(End { address, place: Place::Underlay, mac, tunnel: Some(tunnel) });
                }
                _ => {}
            }
        }
        for address in [own.gateway_v4.map(IpAddr::V4), own.gateway_v6.map(IpAddr::V6)].into_iter().flatten()
        {
            cast.node.push(End { address, place: Place::Node, mac: own.gateway_mac, tunnel: None });
        }
        cast
    }

    /// Two ends of one family, one of them a pod of the node.
    fn pair(&self, rng: &mut Rng) -> Option<[End; 2]> {
        let here = *rng.pick(&self.here)?;
        let v4 = here.address.is_ipv4();
        let of_family = |ends: &[End], rng: &mut Rng| {
            (0..8).find_map(|_| rng.pick(ends).filter(|end| end.address.is_ipv4() == v4).copied())
        };
        Some(match rng.below(10) {
            0..3 => [here, of_family(&self.here, rng).filter(|end| end.address != here.address)?],
            3..5 => [here, of_family(&self.there, rng)?],
            5..7 => [of_family(&self.there, rng)?, here],
            7 => [here, self.outside(rng, v4)],
            8 => [self.outside(rng, v4), here],
            _ => [of_family(&self.node, rng)?, here],
        })
    }

    fn outside(&self, rng: &mut Rng, v4: bool) -> End {
        let mac = self.node.first().map_or(Mac([2, 0, 0, 0, 0, 1]), |end| end.mac);
        End { address: super::outside(rng, v4), place: Place::Node, mac, tunnel: None }
    }
}

#[cfg(test)]
mod tests;
