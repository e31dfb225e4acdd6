//! What a packet says about its connection, and what that does to the connection, for every protocol.
//!
//! The protocols' own states are in `tcp` and `sctp`; the rest knows only whether both ends have been heard.
//! Pure functions: the table keeps the entries, this decides.

use std::time::Duration;

use super::names::Dir;
use super::sctp::{self, SctpState, SctpStep};
use super::tcp::{Segment, Tcp, TcpState, TcpStep};
use super::timeouts::Timeouts;
use super::tuple::{Tuple, protocol};

/// What a packet's transport header says, as far as tracking goes. It has to be of the tuple's protocol:
/// anything else fits no connection and opens none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// A TCP segment.
    Tcp {
        /// The flags byte of the header (FIN is bit 0, CWR bit 7).
        flags: u8,
    },
    /// A UDP datagram.
    Udp,
    /// An SCTP packet.
    Sctp {
        /// Type of the first chunk; `None` when there is none.
        chunk: Option<u8>,
    },
    /// An ICMP or ICMPv6 echo.
    IcmpEcho {
        /// Request, or reply.
        request: bool,
    },
    /// A packet of any other protocol, or another ICMP query.
    Other,
    /// A later fragment. Belongs to a connection, but moves and refreshes nothing.
    Continuation,
}

impl Signal {
    /// True when such a packet may open a connection, if the policy allows it: a TCP SYN alone, an SCTP INIT,
    /// an echo request, any UDP datagram, any packet of an untracked protocol.
    pub(super) const fn may_open(self) -> bool {
        match self {
            Self::Tcp { flags } => matches!(Segment::from_flags(flags), Some(Segment::Syn)),
            Self::Sctp { chunk } => sctp::opens(chunk),
            Self::IcmpEcho { request } => request,
            Self::Udp | Self::Other => true,
            Self::Continuation => false,
        }
    }
}

/// Protocol and state of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Tcp(Tcp),
    Sctp(SctpState),
    Udp,
    IcmpEcho,
    Other,
}

/// What a packet does to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It fits: the new state, whose timeout starts anew.
    Move(State),
    /// It passes, and nothing changes.
    Ignore,
    /// It opens a new connection in the place of one that is over.
    Reopen,
    /// It does not fit.
    Invalid,
}

/// What an entry is worth when room is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shelf {
    /// It is over, and kept only for stragglers: goes first.
    Closed,
    /// It was never established: goes next.
    Tentative,
    /// It is never evicted.
    Kept,
}

/// UDP seen from both ends becomes a stream when it is this old, as in netfilter.
pub(super) const STREAM_AGE: Duration = Duration::from_secs(2);

impl State {
    /// The state of a connection opened by a packet with `tuple` and `signal`; `None` where none may be.
    pub(super) fn open(tuple: &Tuple, signal: Signal) -> Option<Self> {
        if !signal.may_open() {
            return None;
        }
        match (signal, tuple.protocol()) {
            (Signal::Tcp { .. }, protocol::TCP) => Some(Self::Tcp(Tcp::OPENED)),
            (Signal::Udp, protocol::UDP) => Some(Self::Udp),
            (Signal::Sctp { .. }, protocol::SCTP) => Some(Self::Sctp(SctpState::CookieWait)),
            (Signal::IcmpEcho { .. }, _) if tuple.is_echo_request() => Some(Self::IcmpEcho),
            (Signal::Other, protocol::TCP | protocol::UDP | protocol::SCTP) => None,
            (Signal::Other, _) if !tuple.is_echo_request() && !tuple.is_echo_reply() => Some(Self::Other),
            _ => None,
        }
    }

    /// What a packet saying `signal`, travelling in direction `dir`, does.
    pub(super) fn step(self, dir: Dir, signal: Signal) -> Step {
        match (self, signal) {
            (_, Signal::Continuation) => Step::Ignore,
            (Self::Tcp(tcp), Signal::Tcp { flags }) => match Segment::from_flags(flags) {
                None => Step::Invalid,
                Some(segment) => match tcp.step(dir, segment) {
                    TcpStep::Move(tcp) => Step::Move(Self::Tcp(tcp)),
                    TcpStep::Ignore => Step::Ignore,
                    TcpStep::Reopen => Step::Reopen,
                    TcpStep::Invalid => Step::Invalid,
                },
            },
            (Self::Sctp(sctp), Signal::Sctp { chunk }) => match sctp.step(dir, chunk) {
                SctpStep::Move(sctp) => Step::Move(Self::Sctp(sctp)),
                SctpStep::Reopen => Step::Reopen,
                SctpStep::Invalid => Step::Invalid,
            },
            (Self::IcmpEcho, Signal::IcmpEcho { request }) if request == (dir == Dir::Original) => {
                Step::Move(self)
            }
            (Self::Udp, Signal::Udp) | (Self::Other, Signal::Other) => Step::Move(self),
            _ => Step::Invalid,
        }
    }

    /// The state of a connection reopened in the place of this one.
    pub(super) const fn reopened(self) -> Self {
        match self {
            Self::Tcp(_) => Self::Tcp(Tcp::OPENED),
            Self::Sctp(_) => Self::Sctp(SctpState::CookieWait),
            other => other,
        }
    }

    /// Idle time allowed in this state, for a connection `age` old that has been answered or not.
    pub(super) fn timeout(self, replied: bool, age: Duration, timeouts: &Timeouts) -> Duration {
        match self {
            Self::Tcp(tcp) => match tcp.state {
                TcpState::SynSent | TcpState::SynSent2 => timeouts.tcp_syn_sent,
                TcpState::SynRecv => timeouts.tcp_syn_recv,
                TcpState::Established => timeouts.tcp_established,
                TcpState::FinWait => timeouts.tcp_fin_wait,
                TcpState::CloseWait => timeouts.tcp_close_wait,
                TcpState::LastAck => timeouts.tcp_last_ack,
                TcpState::TimeWait => timeouts.tcp_time_wait,
                TcpState::Close => timeouts.tcp_close,
            },
            Self::Sctp(sctp) => match sctp {
                SctpState::CookieWait => timeouts.sctp_cookie_wait,
                SctpState::CookieEchoed => timeouts.sctp_cookie_echoed,
                SctpState::Established => timeouts.sctp_established,
                SctpState::ShutdownSent => timeouts.sctp_shutdown_sent,
                SctpState::ShutdownRecd => timeouts.sctp_shutdown_recd,
                SctpState::ShutdownAckSent => timeouts.sctp_shutdown_ack_sent,
                SctpState::Closed => timeouts.sctp_closed,
            },
            Self::Udp if replied && age >= STREAM_AGE => timeouts.udp_stream,
            Self::Udp => timeouts.udp,
            Self::IcmpEcho => timeouts.icmp,
            Self::Other => timeouts.generic,
        }
    }

    /// True once a connection in this state is not given up for a new one: its handshake is done, or, where
    /// there is none, it has been answered.
    pub(super) const fn assures(self, replied: bool) -> bool {
        match self {
            Self::Tcp(tcp) => matches!(tcp.state, TcpState::Established),
            Self::Sctp(sctp) => matches!(sctp, SctpState::Established),
            Self::Udp | Self::IcmpEcho | Self::Other => replied,
        }
    }

    /// What a connection in this state is worth when room is needed.
    pub(super) const fn shelf(self, assured: bool) -> Shelf {
        match self {
            Self::Tcp(Tcp { state: TcpState::TimeWait | TcpState::Close, .. })
            | Self::Sctp(SctpState::Closed) => Shelf::Closed,
            _ if assured => Shelf::Kept,
            _ => Shelf::Tentative,
        }
    }

    /// netfilter's name of the state, where the protocol has states.
    pub(super) const fn name(self) -> Option<&'static str> {
        match self {
            Self::Tcp(tcp) => Some(tcp.state.name()),
            Self::Sctp(sctp) => Some(sctp.name()),
            Self::Udp | Self::IcmpEcho | Self::Other => None,
        }
    }
}
