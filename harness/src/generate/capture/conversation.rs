//! One conversation: what its packets say, in order.

use super::super::rng::Rng;
use super::frame::{self, Ends};

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;

/// Most payload bytes of a packet: what fits into the tunnel, whatever the family.
const MAX_PAYLOAD: usize = 1300;

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tcp,
    Udp,
    Echo { v4: bool },
}

/// A conversation and how far it has come.
#[derive(Debug, Clone)]
pub(super) struct Conversation {
    kind: Kind,
    src_port: u16,
    dst_port: u16,
    /// Data packets still to come.
    left: usize,
    step: usize,
    /// Closing packets sent.
    closing: u8,
    /// Next sequence numbers, the opener's and the other's.
    seq: [u32; 2],
}

/// One packet of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) by_opener: bool,
    flags: u8,
    seq: u32,
    ack: u32,
    payload: usize,
}

impl Conversation {
    pub(super) fn draw(rng: &mut Rng, v4: bool, ports: &[u16]) -> Self {
        let kind = match rng.below(10) {
            0..6 => Kind::Tcp,
            6..9 => Kind::Udp,
            _ => Kind::Echo { v4 },
        };
        let dst_port = if rng.below(8) == 0 {
            1 + rng.below(65_535) as u16
        } else {
            rng.pick(ports).copied().unwrap_or(80)
        };
        let src_port = 32_768 + rng.below(28_232) as u16;
        Self {
            kind,
            src_port,
            dst_port,
            left: 1 + rng.below(20),
            step: 0,
            closing: 0,
            seq: [rng.number() as u32, rng.number() as u32],
        }
    }

    /// True once a packet of it was sent.
    pub(super) fn has_begun(&self) -> bool {
        self.step > 0
    }

    pub(super) fn protocol(&self) -> u8 {
        match self.kind {
            Kind::Tcp => 6,
            Kind::Udp => 17,
            Kind::Echo { v4: true } => 1,
            Kind::Echo { v4: false } => 58,
        }
    }

    /// What tells it from others of the same ends: an echo has its identifier.
    pub(super) fn l4_ports(&self) -> (u16, u16) {
        match self.kind {
            Kind::Echo { .. } => (self.src_port, 0),
            _ => (self.src_port, self.dst_port),
        }
    }

    /// As the classifier has them: type and code of an echo request.
    pub(super) fn policy_ports(&self) -> (u16, u16) {
        match self.kind {
            Kind::Echo { v4: true } => (0, 8 << 8),
            Kind::Echo { v4: false } => (0, 128 << 8),
            _ => (self.src_port, self.dst_port),
        }
    }

    /// Outer source port of its packets in a tunnel.
    pub(super) fn entropy(&self) -> u16 {
        0xc000 | self.src_port
    }

    /// The next packet; `None` when all is said.
    pub(super) fn next_turn(&mut self, rng: &mut Rng) -> Option<Turn> {
        self.step += 1;
        let mut size = || 1 + if rng.below(2) == 0 { rng.below(200) } else { rng.below(MAX_PAYLOAD) };
        match self.kind {
            Kind::Tcp => self.tcp(size),
            Kind::Udp => {
                self.left = self.left.checked_sub(1)?;
                Some(Turn { by_opener: true, flags: 0, seq: 0, ack: 0, payload: size() })
            }
            Kind::Echo { .. } => {
                let by_opener = self.step % 2 == 1;
                if !by_opener || self.left > 0 {
                    self.left -= usize::from(by_opener);
                    let seq = (self.step / 2) as u32;
                    return Some(Turn { by_opener, flags: 0, seq, ack: 0, payload: 56 });
                }
                None
            }
        }
    }

    fn tcp(&mut self, size: impl FnOnce() -> usize) -> Option<Turn> {
        let data = self.left;
        let turn = match self.step {
            1 => self.turn(true, SYN, 0),
            2 => self.turn(false, SYN | ACK, 0),
            3 => self.turn(true, ACK, 0),
            step if data > 0 => {
                self.left -= 1;
                self.turn(step % 2 == 0, PSH | ACK, size())
            }
            _ => {
                self.closing += 1;
                match self.closing {
                    1 => self.turn(true, FIN | ACK, 0),
                    2 => self.turn(false, FIN | ACK, 0),
                    3 => self.turn(true, ACK, 0),
                    _ => return None,
                }
            }
        };
        Some(turn)
    }

    fn turn(&mut self, by_opener: bool, flags: u8, payload: usize) -> Turn {
        let [opener, other] = self.seq;
        let (seq, ack) = if by_opener { (opener, other) } else { (other, opener) };
        let ack = if flags & ACK == 0 { 0 } else { ack };
        let consumed = payload as u32 + u32::from(flags & (SYN | FIN) != 0);
        let [opener, other] = &mut self.seq;
        let own = if by_opener { opener } else { other };
        *own = own.wrapping_add(consumed);
        Turn { by_opener, flags, seq, ack, payload }
    }

    /// Writes a packet's frame.
    pub(super) fn write(&self, turn: &Turn, ends: &Ends, to: &mut Vec<u8>) {
        let (src_port, dst_port) =
            if turn.by_opener { (self.src_port, self.dst_port) } else { (self.dst_port, self.src_port) };
        let payload = turn.payload;
        match self.kind {
            Kind::Tcp => frame::tcp(ends, src_port, dst_port, (turn.seq, turn.ack), turn.flags, payload, to),
            Kind::Udp => frame::udp(ends, src_port, dst_port, payload, to),
            Kind::Echo { .. } => {
                frame::echo(ends, turn.by_opener, self.src_port, turn.seq as u16, payload, to);
            }
        }
    }
}
