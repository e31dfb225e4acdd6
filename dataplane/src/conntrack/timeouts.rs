//! How long a connection is kept after its last packet, by protocol and state.
//!
//! Names and defaults are netfilter's (`net.netfilter.nf_conntrack_*_timeout_*`), so that what an operator knows
//! from the kernel holds here. Left out are those that need sequence numbers (`tcp_max_retrans`,
//! `tcp_unacknowledged`) and `sctp_heartbeat_sent` (no state of ours).

use std::time::Duration;

macro_rules! timeouts {
    ($($name:ident = $seconds:literal, $text:literal;)*) => {
        /// Idle time after which a connection ends, per protocol and state.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Timeouts {
            $(#[doc = $text] #[doc = concat!(" Default ", stringify!($seconds), " s.")] pub $name: Duration,)*
        }

        impl Default for Timeouts {
            fn default() -> Self {
                Self { $($name: Duration::from_secs($seconds),)* }
            }
        }
    };
}

timeouts! {
    tcp_syn_sent = 120, "SYN seen, from one or both ends.";
    tcp_syn_recv = 60, "SYN answered by SYN-ACK.";
    tcp_established = 432_000, "Handshake done.";
    tcp_fin_wait = 120, "One end has sent FIN.";
    tcp_close_wait = 60, "A FIN has been acknowledged; the other end may still send.";
    tcp_last_ack = 30, "Both ends have sent FIN.";
    tcp_time_wait = 120, "The last FIN has been acknowledged.";
    tcp_close = 10, "Reset.";
    udp = 30, "UDP seen from one end, or for less than two seconds.";
    udp_stream = 120, "UDP seen from both ends, for two seconds or more.";
    icmp = 30, "ICMP and ICMPv6 queries.";
    generic = 600, "Any other protocol.";
    sctp_cookie_wait = 3, "INIT or INIT ACK seen.";
    sctp_cookie_echoed = 3, "COOKIE ECHO seen.";
    sctp_established = 210, "COOKIE ACK seen.";
    sctp_shutdown_sent = 3, "SHUTDOWN from the end that opened.";
    sctp_shutdown_recd = 3, "SHUTDOWN from the other end.";
    sctp_shutdown_ack_sent = 3, "SHUTDOWN ACK seen.";
    sctp_closed = 10, "Aborted, or SHUTDOWN COMPLETE seen.";
}
