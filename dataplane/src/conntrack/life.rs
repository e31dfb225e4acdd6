//! How far a connection has come: its protocol's state and who has been heard, in nine bits.

use std::time::Duration;

use crate::time::Timestamp;

use super::entry::MS;
use super::names::Dir;
use super::sctp::SctpState;
use super::state::{STREAM_AGE, Shelf, Signal, State, Step};
use super::tcp::{Fins, Tcp, TcpState, is_plain_ack};
use super::timeouts::Timeouts;
use super::word::{Word, units};

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

/// [`Life::receive`] on packed lives. Nearly all packets are UDP, or data and acknowledgements of an established TCP
/// connection: for these nothing is unpacked.
#[inline]
pub(super) fn receive(bits: u16, dir: Dir, signal: Signal) -> Option<(u16, Effect)> {
    let back = u16::from(dir == Dir::Reply) << 1;
    match (signal, bits >> 4) {
        (Signal::Udp, UDP) => {
            let heard = bits | back;
            Some((heard | (heard >> 1 & 1), Effect::Refresh))
        }
        (Signal::Tcp { flags }, ESTABLISHED) if is_plain_ack(flags) => {
            Some((bits | back | 1, Effect::Refresh))
        }
        _ => Life::unpack(bits).receive(dir, signal).map(|(life, effect)| (life.pack(), effect)),
    }
}

/// UDP seen from both ends becomes a stream when it is this old, in milliseconds.
const STREAM_AGE_MS: u64 = STREAM_AGE.as_millis() as u64;

/// The timeouts in units of deadlines, by code of the state: a packet costs an addition.
pub(super) struct Patience {
    by_code: [u64; 32],
    stream: u64,
}

impl Patience {
    pub(super) fn of(timeouts: &Timeouts) -> Self {
        let units = |timeout: Duration| units(u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX));
        let of_code = |code: usize| Life::unpack((code as u16) << 4).timeout(Duration::ZERO, timeouts);
        Self { by_code: std::array::from_fn(|code| units(of_code(code))), stream: units(timeouts.udp_stream) }
    }

    /// Life and deadline of a connection with the packed life `bits` that a packet came for.
    #[inline]
    pub(super) fn state(&self, bits: u16, created_ms: u64, now: Timestamp) -> Word {
        let is_answered_udp = bits >> 4 == UDP && bits & 2 != 0;
        let timeout = if is_answered_udp && now.as_nanos() / MS >= created_ms.saturating_add(STREAM_AGE_MS) {
            self.stream
        } else {
            self.by_code.get(usize::from(bits >> 4)).copied().unwrap_or_default()
        };
        Word::new(bits, units(now.as_nanos()).saturating_add(timeout))
    }
}

/// Codes of states: each protocol's first.
const TCP: u16 = 1;
const ESTABLISHED: u16 = TCP + TcpState::Established as u16;
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
    fn packed_lives_receive_as_unpacked_ones() {
        let tcp = (0..=255).map(|flags| Signal::Tcp { flags });
        let sctp = (0..=255).map(|chunk| Signal::Sctp { chunk: Some(chunk) });
        let others = [Signal::Udp, Signal::Other, Signal::Continuation, Signal::IcmpEcho { request: true }];
        let signals: Vec<Signal> = tcp.chain(sctp).chain(others).collect();
        for bits in (TCP << 4)..((OTHER + 1) << 4) {
            let life = Life::unpack(bits);
            // Lives of protocols other than TCP have no FINs.
            if life.pack() != bits {
                continue;
            }
            for (signal, dir) in signals.iter().flat_map(|s| [(*s, Dir::Original), (*s, Dir::Reply)]) {
                let expected = life.receive(dir, signal).map(|(life, effect)| (life.pack(), effect));
                assert_eq!(receive(bits, dir, signal), expected, "{life:?} {dir:?} {signal:?}");
            }
        }
    }

    #[test]
    fn patience_is_the_timeouts_rounded_up_to_units() {
        let timeouts = Timeouts { icmp: Duration::from_millis(30_020), ..Timeouts::default() };
        let patience = Patience::of(&timeouts);
        for code in 0..16 {
            let state = State::Sctp(sctp_state(code));
            let state =
                if code < 9 { State::Tcp(Tcp { state: tcp_state(code), ..Tcp::OPENED }) } else { state };
            for (replied, age_ms) in [(false, 0), (true, 0), (true, 1_999), (true, 2_000), (false, 9_000)] {
                for state in [state, State::Udp, State::IcmpEcho, State::Other] {
                    let life = Life { state, replied, assured: false };
                    let timeout = life.timeout(Duration::from_millis(age_ms), &timeouts);
                    let now = Timestamp::from_nanos((100_000 + age_ms) * MS);
                    let exact = now.plus(timeout).as_nanos();
                    let kept = patience.state(life.pack(), 100_000, now).deadline_ns();
                    assert!((exact..exact + 100_000_000).contains(&kept), "{life:?} {age_ms}");
                }
            }
        }
    }

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
