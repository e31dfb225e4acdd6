//! How far a connection has come: its protocol's state and who has been heard, in nine bits.

use std::time::Duration;

use super::names::Dir;
use super::sctp::SctpState;
use super::state::{Shelf, Signal, State, Step};
use super::tcp::{Fins, Tcp, TcpState};
use super::timeouts::Timeouts;

/// State, and what was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) state: State,
    /// A packet came back.
    pub(super) replied: bool,
    /// It is not given up for a new one: handshake done, or answered where there is none.
    pub(super) assured: bool,
}

/// What a packet that fits does to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// It passes; the timeout goes on.
    Pass,
    /// The timeout begins anew.
    Refresh,
    /// A new connection begins.
    Reopen,
}

impl Life {
    /// A connection whose first packet has just come.
    pub(super) const fn opened(state: State) -> Self {
        Self { state, replied: false, assured: false }
    }

    /// What a packet makes of it. `None` when it does not fit.
    #[inline]
    pub(super) fn receive(self, dir: Dir, signal: Signal) -> Option<(Self, Effect)> {
        let back = dir == Dir::Reply;
        match self.state.step(dir, signal) {
            Step::Invalid => None,
            Step::Ignore => {
                let replied = self.replied || (back && signal != Signal::Continuation);
                Some((Self { replied, ..self }, Effect::Pass))
            }
            Step::Move(state) => {
                let replied = self.replied || back;
                let assured = self.assured || state.assures(replied);
                Some((Self { state, replied, assured }, Effect::Refresh))
            }
            Step::Reopen => Some((Self::opened(self.state.reopened()), Effect::Reopen)),
        }
    }

    /// Idle time allowed, at this age.
    #[inline]
    pub(super) fn timeout(self, age: Duration, timeouts: &Timeouts) -> Duration {
        self.state.timeout(self.replied, age, timeouts)
    }

    /// The shelf it belongs on.
    pub(super) const fn shelf(self) -> Shelf {
        self.state.shelf(self.assured)
    }

    /// netfilter's name of the state; `UNREPLIED` or `ASSURED` where the protocol has no states.
    pub(super) fn name(self) -> &'static str {
        self.state.name().unwrap_or(if self.replied { "ASSURED" } else { "UNREPLIED" })
    }

    /// In nine bits, never 0.
    #[inline]
    pub(super) const fn pack(self) -> u16 {
        let (code, fins) = match self.state {
            State::Tcp(Tcp { state, fins }) => (TCP + state as u16, fins.bits()),
            State::Sctp(state) => (SCTP + state as u16, 0),
            State::Udp => (UDP, 0),
            State::IcmpEcho => (ICMP_ECHO, 0),
            State::Other => (OTHER, 0),
        };
        code << 4 | (fins as u16) << 2 | (self.replied as u16) << 1 | self.assured as u16
    }

    /// The reverse of [`Life::pack`]; what it never gives is taken for a connection of no known protocol.
    #[inline]
    pub(super) const fn unpack(bits: u16) -> Self {
        let state = match bits >> 4 {
            code @ TCP..SCTP => {
                State::Tcp(Tcp { state: tcp_state(code - TCP), fins: Fins::from_bits((bits >> 2) as u8) })
            }
            code @ SCTP..UDP => State::Sctp(sctp_state(code - SCTP)),
            UDP => State::Udp,
            ICMP_ECHO => State::IcmpEcho,
            _ => State::Other,
        };
        Self { state, replied: bits & 2 != 0, assured: bits & 1 != 0 }
    }
}

/// Codes of states: each protocol's first.
const TCP: u16 = 1;
const SCTP: u16 = 10;
const UDP: u16 = 17;
const ICMP_ECHO: u16 = 18;
const OTHER: u16 = 19;

const fn tcp_state(code: u16) -> TcpState {
    match code {
        0 => TcpState::SynSent,
        1 => TcpState::SynSent2,
        2 => TcpState::SynRecv,
        3 => TcpState::Established,
        4 => TcpState::FinWait,
        5 => TcpState::CloseWait,
        6 => TcpState::LastAck,
        7 => TcpState::TimeWait,
        _ => TcpState::Close,
    }
}

const fn sctp_state(code: u16) -> SctpState {
    match code {
        0 => SctpState::CookieWait,
        1 => SctpState::CookieEchoed,
        2 => SctpState::Established,
        3 => SctpState::ShutdownSent,
        4 => SctpState::ShutdownRecd,
        5 => SctpState::ShutdownAckSent,
        _ => SctpState::Closed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_life_comes_back_from_its_nine_bits() {
        let mut seen = std::collections::HashSet::new();
        let tcp = (0..9).flat_map(|code| {
            (0..4).map(move |fins| State::Tcp(Tcp { state: tcp_state(code), fins: Fins::from_bits(fins) }))
        });
        let sctp = (0..7).map(|code| State::Sctp(sctp_state(code)));
        for state in tcp.chain(sctp).chain([State::Udp, State::IcmpEcho, State::Other]) {
            for (replied, assured) in [(false, false), (true, false), (false, true), (true, true)] {
                let life = Life { state, replied, assured };
                let bits = life.pack();
                assert!(bits != 0 && bits < 1 << 9 && seen.insert(bits), "{life:?}");
                assert_eq!(Life::unpack(bits), life);
            }
        }
    }
}
