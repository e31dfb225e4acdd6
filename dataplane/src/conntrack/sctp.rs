//! The SCTP states of an association (RFC 9260, section 4), by the first chunk of each packet.
//!
//! ```text
//!         INIT>               COOKIE ECHO                COOKIE ACK
//!  (new) ──────► COOKIE_WAIT ────────────► COOKIE_ECHOED ───────────► ESTABLISHED
//!                                                                  SHUTDOWN> │ <SHUTDOWN
//!        ABORT in any state: CLOSED                          SHUTDOWN_SENT ◄─┴─► SHUTDOWN_RECD
//!        INIT> when over: (new), to be judged again              └─ SHUTDOWN ACK ──┘
//!                                           CLOSED ◄─ SHUTDOWN COMPLETE ─ SHUTDOWN_ACK_SENT
//! ```
//! The states are netfilter's (`nf_conntrack_proto_sctp`), but for HEARTBEAT_SENT: an association is tracked
//! from its INIT on or not at all. Both ends may start at once (section 5.2.1) or restart (5.2.2): an INIT, INIT
//! ACK or COOKIE ECHO in the unexpected direction passes while the association lives. Verification tags are
//! not followed.

use super::names::Dir;

const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const ABORT: u8 = 6;
const SHUTDOWN: u8 = 7;
const SHUTDOWN_ACK: u8 = 8;
const ERROR: u8 = 9;
const COOKIE_ECHO: u8 = 10;
const COOKIE_ACK: u8 = 11;
const SHUTDOWN_COMPLETE: u8 = 14;

/// Where an association is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SctpState {
    CookieWait,
    CookieEchoed,
    Established,
    ShutdownSent,
    ShutdownRecd,
    ShutdownAckSent,
    Closed,
}

/// What a packet does to an association.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SctpStep {
    /// It fits: the new state.
    Move(SctpState),
    /// A fresh INIT on an association that is over: a new one.
    Reopen,
    /// It does not fit.
    Invalid,
}

/// True for the only chunk that may open an association.
pub(super) const fn opens(chunk: Option<u8>) -> bool {
    matches!(chunk, Some(INIT))
}

impl SctpState {
    /// netfilter's name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::CookieWait => "COOKIE_WAIT",
            Self::CookieEchoed => "COOKIE_ECHOED",
            Self::Established => "ESTABLISHED",
            Self::ShutdownSent => "SHUTDOWN_SENT",
            Self::ShutdownRecd => "SHUTDOWN_RECD",
            Self::ShutdownAckSent => "SHUTDOWN_ACK_SENT",
            Self::Closed => "CLOSED",
        }
    }

    const fn is_ending(self) -> bool {
        matches!(self, Self::ShutdownSent | Self::ShutdownRecd | Self::ShutdownAckSent | Self::Closed)
    }

    /// What a packet whose first chunk is `chunk`, travelling in direction `dir`, does.
    #[expect(clippy::match_same_arms, reason = "a table by kind of chunk: merged rows would not read as one")]
    pub(super) const fn step(self, dir: Dir, chunk: Option<u8>) -> SctpStep {
        use Dir::{Original, Reply};
        let Some(chunk) = chunk else { return SctpStep::Invalid };
        SctpStep::Move(match (chunk, dir, self) {
            (ABORT, _, _) => Self::Closed,
            (INIT, Original, Self::Closed) => return SctpStep::Reopen,
            (INIT, Reply, state) if state.is_ending() => return SctpStep::Invalid,
            (COOKIE_ECHO, _, Self::CookieWait) => Self::CookieEchoed,
            (COOKIE_ACK, _, Self::CookieEchoed) => Self::Established,
            // A stale cookie: the opener starts over.
            (ERROR, Reply, Self::CookieEchoed) => Self::Closed,
            (SHUTDOWN, Original, Self::Established) => Self::ShutdownSent,
            (SHUTDOWN, Reply, Self::Established) => Self::ShutdownRecd,
            (SHUTDOWN_ACK, _, Self::ShutdownSent | Self::ShutdownRecd) => Self::ShutdownAckSent,
            (SHUTDOWN_COMPLETE, _, Self::ShutdownAckSent) => Self::Closed,
            // Nothing but the handshake travels before the cookie has been echoed.
            (INIT | INIT_ACK | ERROR, _, Self::CookieWait) => Self::CookieWait,
            (_, _, Self::CookieWait) => return SctpStep::Invalid,
            (_, _, state) => state,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: u8 = 0;
    const SENT: Dir = Dir::Original;
    const BACK: Dir = Dir::Reply;

    fn run(script: &[(Dir, u8, SctpState)]) {
        let mut state = SctpState::CookieWait;
        for (position, (dir, chunk, expected)) in script.iter().enumerate() {
            let SctpStep::Move(next) = state.step(*dir, Some(*chunk)) else {
                panic!("chunk {position}");
            };
            state = next;
            assert_eq!(state, *expected, "after chunk {position}");
        }
    }

    #[test]
    fn an_association_opens_carries_data_and_shuts_down() {
        run(&[
            (SENT, INIT, SctpState::CookieWait),
            (BACK, INIT_ACK, SctpState::CookieWait),
            (SENT, COOKIE_ECHO, SctpState::CookieEchoed),
            (BACK, COOKIE_ACK, SctpState::Established),
            (SENT, DATA, SctpState::Established),
            (BACK, SHUTDOWN, SctpState::ShutdownRecd),
            (SENT, SHUTDOWN_ACK, SctpState::ShutdownAckSent),
            (BACK, SHUTDOWN_COMPLETE, SctpState::Closed),
        ]);
    }

    #[test]
    fn abort_closes_and_only_the_opener_opens_again() {
        run(&[(SENT, COOKIE_ECHO, SctpState::CookieEchoed), (BACK, ABORT, SctpState::Closed)]);
        assert_eq!(SctpState::Closed.step(SENT, Some(INIT)), SctpStep::Reopen);
        assert_eq!(SctpState::Closed.step(BACK, Some(INIT)), SctpStep::Invalid);
    }

    #[test]
    fn data_before_the_cookie_and_packets_without_chunk_are_invalid() {
        assert_eq!(SctpState::CookieWait.step(SENT, Some(DATA)), SctpStep::Invalid);
        assert_eq!(SctpState::CookieWait.step(SENT, Some(COOKIE_ACK)), SctpStep::Invalid);
        assert_eq!(SctpState::Established.step(SENT, None), SctpStep::Invalid);
    }

    #[test]
    fn only_init_opens() {
        assert!(opens(Some(INIT)));
        assert!(!opens(Some(INIT_ACK)) && !opens(Some(DATA)) && !opens(None));
    }
}
