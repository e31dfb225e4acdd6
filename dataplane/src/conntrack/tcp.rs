//! The TCP states of a connection, as a packet filter in the middle sees them (RFC 9293, section 3.3.2).
//!
//! ```text
//!            SYN>            <SYN-ACK            ACK>
//!   (new) ─────────► SYN_SENT ───────► SYN_RECV ──────► ESTABLISHED
//!                       │<SYN            ▲                  │FIN
//!                       ▼      SYN-ACK   │                  ▼      ACK of the other end
//!                    SYN_SENT2 ──────────┘               FIN_WAIT ─────────► CLOSE_WAIT
//!                                                           └──────┬────────────┘ FIN of the other end
//!          RST in any state: CLOSE                                 ▼       ACK
//!          SYN> in TIME_WAIT or CLOSE: (new), to be judged again LAST_ACK ─────► TIME_WAIT
//! ```
//! `>` is the direction that opened, `<` the reply. The states and what moves them are netfilter's
//! (`nf_conntrack_proto_tcp`), with one addition: it is remembered which ends have sent FIN, so that a repeated
//! FIN, or data that the FIN overtook, is not taken for the other end's. As there, a packet may be *ignored*:
//! it passes, but moves nothing and refreshes nothing, because only the receiver can tell what it is worth (a
//! SYN on an open connection, answered by a challenge ACK or RST). There is no window tracking.

use super::names::Dir;

/// FIN: no more data from the sender.
const FIN: u8 = 0x01;
/// SYN.
const SYN: u8 = 0x02;
/// RST.
const RST: u8 = 0x04;
/// ACK.
const ACK: u8 = 0x10;
/// URG.
const URG: u8 = 0x20;

/// Where a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TcpState {
    SynSent,
    SynSent2,
    SynRecv,
    Established,
    FinWait,
    CloseWait,
    LastAck,
    TimeWait,
    Close,
}

impl TcpState {
    /// netfilter's name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::SynSent => "SYN_SENT",
            Self::SynSent2 => "SYN_SENT2",
            Self::SynRecv => "SYN_RECV",
            Self::Established => "ESTABLISHED",
            Self::FinWait => "FIN_WAIT",
            Self::CloseWait => "CLOSE_WAIT",
            Self::LastAck => "LAST_ACK",
            Self::TimeWait => "TIME_WAIT",
            Self::Close => "CLOSE",
        }
    }
}

/// What a segment is for the state machine; the flags not named here are of no account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Segment {
    Syn,
    SynAck,
    Fin,
    Ack,
    Rst,
}

impl Segment {
    /// `None` for a combination of flags that no TCP sends: none at all, SYN with FIN or RST, FIN without ACK,
    /// and their relatives. PSH, ECE and CWR (and the urgent pointer where there can be data) are free.
    pub(super) const fn from_flags(flags: u8) -> Option<Self> {
        match flags & (FIN | SYN | RST | ACK | URG) {
            f if f == SYN || f == SYN | URG => Some(Self::Syn),
            f if f == SYN | ACK => Some(Self::SynAck),
            f if f == FIN | ACK || f == FIN | ACK | URG => Some(Self::Fin),
            f if f == ACK || f == ACK | URG => Some(Self::Ack),
            f if f == RST || f == RST | ACK => Some(Self::Rst),
            _ => None,
        }
    }
}

/// True for the segment of data or acknowledgement that nearly all packets are: [`Segment::Ack`] and nothing else.
#[inline]
pub(super) const fn is_plain_ack(flags: u8) -> bool {
    flags & (FIN | SYN | RST | ACK) == ACK
}

/// Which ends have sent FIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Fins(u8);

impl Fins {
    const fn bit(dir: Dir) -> u8 {
        match dir {
            Dir::Original => 1,
            Dir::Reply => 2,
        }
    }

    const fn has(self, dir: Dir) -> bool {
        self.0 & Self::bit(dir) != 0
    }

    const fn with(self, dir: Dir) -> Self {
        Self(self.0 | Self::bit(dir))
    }

    /// In two bits.
    pub(super) const fn bits(self) -> u8 {
        self.0
    }

    /// Of the two lowest bits.
    pub(super) const fn from_bits(bits: u8) -> Self {
        Self(bits & 3)
    }
}

/// State and FINs of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tcp {
    pub(super) state: TcpState,
    pub(super) fins: Fins,
}

/// What a segment does to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TcpStep {
    /// It fits: the new state, and the timeout of that state from now on.
    Move(Tcp),
    /// It passes, and nothing changes.
    Ignore,
    /// A fresh SYN on a connection that is over: a new connection.
    Reopen,
    /// It does not fit.
    Invalid,
}

impl Tcp {
    /// The state after the SYN that opens.
    pub(super) const OPENED: Self = Self { state: TcpState::SynSent, fins: Fins(0) };

    /// What `segment`, travelling in direction `dir`, does.
    #[expect(
        clippy::match_same_arms,
        reason = "a table by kind of segment: merged rows would not read as one"
    )]
    pub(super) const fn step(self, dir: Dir, segment: Segment) -> TcpStep {
        use Dir::{Original, Reply};
        use TcpState::{
            Close, CloseWait, Established, FinWait, LastAck, SynRecv, SynSent, SynSent2, TimeWait,
        };
        let state = match (segment, dir, self.state) {
            (Segment::Rst, _, _) => Close,

            (Segment::Syn, Original, SynSent | SynSent2) => self.state,
            (Segment::Syn, Original, TimeWait | Close) => return TcpStep::Reopen,
            (Segment::Syn, Original, _) => return TcpStep::Ignore,
            (Segment::Syn, Reply, SynSent | SynSent2) => SynSent2,
            // The other end would be opening a connection of its own, which nobody has judged.
            (Segment::Syn, Reply, _) => return TcpStep::Invalid,

            (Segment::SynAck, Original, SynSent) => return TcpStep::Invalid,
            (Segment::SynAck, Original, SynSent2) => SynRecv,
            (Segment::SynAck, Reply, SynSent | SynSent2) => SynRecv,
            (Segment::SynAck, _, _) => return TcpStep::Ignore,

            (Segment::Fin, _, SynSent | SynSent2) => return TcpStep::Invalid,
            (Segment::Fin, _, SynRecv | Established) => FinWait,
            (Segment::Fin, _, FinWait | CloseWait) if self.fins.has(dir.opposite()) => LastAck,
            (Segment::Fin, _, _) => self.state,

            (Segment::Ack, Original, SynSent | SynSent2) => return TcpStep::Invalid,
            // The answer of a host that holds an old half-open connection: the opener resets it.
            (Segment::Ack, Reply, SynSent | SynSent2) => return TcpStep::Ignore,
            (Segment::Ack, Original, SynRecv) => Established,
            (Segment::Ack, _, FinWait) if self.fins.has(dir.opposite()) => CloseWait,
            (Segment::Ack, _, LastAck) => TimeWait,
            (Segment::Ack, _, _) => self.state,
        };
        let fins = match segment {
            Segment::Fin => self.fins.with(dir),
            _ => self.fins,
        };
        TcpStep::Move(Self { state, fins })
    }
}

#[cfg(test)]
mod tests {
    use super::TcpState::{
        Close, CloseWait, Established, FinWait, LastAck, SynRecv, SynSent, SynSent2, TimeWait,
    };
    use super::*;

    const SENT: Dir = Dir::Original;
    const BACK: Dir = Dir::Reply;

    /// Runs segments from the opening SYN on and checks the state after each.
    fn run(script: &[(Dir, Segment, TcpState)]) -> Tcp {
        let mut tcp = Tcp::OPENED;
        for (position, (dir, segment, expected)) in script.iter().enumerate() {
            match tcp.step(*dir, *segment) {
                TcpStep::Move(next) => tcp = next,
                TcpStep::Ignore => {}
                other => panic!("segment {position}: {other:?}"),
            }
            assert_eq!(tcp.state, *expected, "after segment {position}");
        }
        tcp
    }

    #[test]
    fn three_way_handshake_establishes() {
        run(&[
            (SENT, Segment::Syn, SynSent),
            (BACK, Segment::SynAck, SynRecv),
            (BACK, Segment::SynAck, SynRecv),
            (SENT, Segment::Ack, Established),
            (BACK, Segment::Ack, Established),
            (BACK, Segment::SynAck, Established),
            (SENT, Segment::Syn, Established),
        ]);
    }

    #[test]
    fn simultaneous_open_establishes() {
        run(&[
            (BACK, Segment::Syn, SynSent2),
            (SENT, Segment::Syn, SynSent2),
            (SENT, Segment::SynAck, SynRecv),
            (BACK, Segment::SynAck, SynRecv),
            (SENT, Segment::Ack, Established),
        ]);
    }

    const OPEN: [(Dir, Segment, TcpState); 2] =
        [(BACK, Segment::SynAck, SynRecv), (SENT, Segment::Ack, Established)];

    #[test]
    fn half_close_leaves_the_other_end_sending_until_its_own_fin() {
        let mut script = OPEN.to_vec();
        script.extend([
            (SENT, Segment::Fin, FinWait),
            (SENT, Segment::Ack, FinWait),
            (SENT, Segment::Fin, FinWait),
            (BACK, Segment::Ack, CloseWait),
            (SENT, Segment::Fin, CloseWait),
            (BACK, Segment::Ack, CloseWait),
            (SENT, Segment::Ack, CloseWait),
            (BACK, Segment::Fin, LastAck),
            (BACK, Segment::Fin, LastAck),
            (SENT, Segment::Ack, TimeWait),
            (SENT, Segment::Ack, TimeWait),
        ]);
        run(&script);
    }

    #[test]
    fn simultaneous_close_ends_in_time_wait() {
        let mut script = OPEN.to_vec();
        script.extend([
            (SENT, Segment::Fin, FinWait),
            (BACK, Segment::Fin, LastAck),
            (SENT, Segment::Ack, TimeWait),
            (BACK, Segment::Ack, TimeWait),
        ]);
        run(&script);
    }

    #[test]
    fn rst_of_either_end_closes_in_every_state() {
        for state in ALL {
            for dir in [SENT, BACK] {
                let TcpStep::Move(tcp) = (Tcp { state, ..Tcp::OPENED }).step(dir, Segment::Rst) else {
                    panic!("{state:?}");
                };
                assert_eq!(tcp.state, Close);
            }
        }
    }

    #[test]
    fn only_the_opener_reopens_and_only_what_is_over() {
        for state in ALL {
            let tcp = Tcp { state, ..Tcp::OPENED };
            let over = matches!(state, TimeWait | Close);
            assert_eq!(tcp.step(SENT, Segment::Syn) == TcpStep::Reopen, over, "{state:?}");
            let opening = matches!(state, SynSent | SynSent2);
            assert_eq!(tcp.step(BACK, Segment::Syn) == TcpStep::Invalid, !opening, "{state:?}");
        }
    }

    #[test]
    fn the_opener_may_not_finish_a_handshake_nobody_answered() {
        for segment in [Segment::SynAck, Segment::Ack, Segment::Fin] {
            assert_eq!(Tcp::OPENED.step(SENT, segment), TcpStep::Invalid, "{segment:?}");
        }
        assert_eq!(Tcp::OPENED.step(BACK, Segment::Fin), TcpStep::Invalid);
    }

    #[test]
    fn impossible_flags_are_no_segment() {
        let null = 0;
        let xmas = FIN | 0x08 | URG;
        for flags in [null, xmas, FIN, URG, SYN | FIN, SYN | RST, SYN | ACK | FIN, RST | FIN, 0x3f] {
            assert_eq!(Segment::from_flags(flags), None, "{flags:#x}");
        }
        assert_eq!(Segment::from_flags(SYN | 0xc0), Some(Segment::Syn), "ECN negotiation");
        assert_eq!(Segment::from_flags(ACK | 0x08), Some(Segment::Ack));
        assert_eq!(Segment::from_flags(RST | ACK), Some(Segment::Rst));
    }

    const ALL: [TcpState; 9] =
        [SynSent, SynSent2, SynRecv, Established, FinWait, CloseWait, LastAck, TimeWait, Close];
}
