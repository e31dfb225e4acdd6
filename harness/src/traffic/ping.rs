//! Ping: ICMP echo (RFC 792) and ICMPv6 echo (RFC 4443) over raw sockets, answered by the far kernel.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use dataplane::sys::netns::Netns;
use dataplane::sys::raw_ip;

use super::Reach;
use super::pattern::Pattern;

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const HEADER_BYTES: usize = 8;
/// A lost request is sent again after this long.
const RESEND: Duration = Duration::from_millis(250);

/// Pings `to` with `size` bytes behind the ICMP header until an echo comes back, for `timeout` at most.
pub fn probe(netns: &Netns, to: IpAddr, size: usize, timeout: Duration) -> io::Result<Reach> {
    match round_trip(netns, to, size, timeout) {
        Ok(Some(_)) => Ok(Reach::Open),
        Ok(None) => Ok(Reach::Silent),
        Err(error) => Reach::of(error),
    }
}

/// The same, with the time the echo took; none if there was none.
pub fn round_trip(netns: &Netns, to: IpAddr, size: usize, timeout: Duration) -> io::Result<Option<Duration>> {
    // An identifier of its own for each call: raw sockets see every echo of the namespace.
    static NEXT: AtomicU16 = AtomicU16::new(1);
    let identifier = NEXT.fetch_add(1, Ordering::Relaxed);
    let protocol = if to.is_ipv6() { ICMPV6 } else { ICMP };
    let socket = netns.run(|| raw_ip::open(to.is_ipv6(), protocol))??;
    let mut buffer = vec![0; 65_536];
    let start = Instant::now();
    let mut sequence = 0_u16;
    while start.elapsed() < timeout {
        sequence = sequence.wrapping_add(1);
        let sent = Instant::now();
        socket.send_to(&request(to.is_ipv6(), identifier, sequence, size), SocketAddr::new(to, 0))?;
        while let Some(wait) = RESEND.checked_sub(sent.elapsed()).filter(|wait| !wait.is_zero()) {
            socket.set_read_timeout(Some(wait))?;
            let (count, from) = match socket.recv_from(&mut buffer) {
                Ok(received) => received,
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    break;
                }
                Err(error) => return Err(error),
            };
            let packet = buffer.get(..count).unwrap_or_default();
            if from.ip() == to && is_reply(to.is_ipv6(), packet, identifier, size) {
                return Ok(Some(sent.elapsed()));
            }
        }
    }
    Ok(None)
}

fn request(ipv6: bool, identifier: u16, sequence: u16, size: usize) -> Vec<u8> {
    const ECHO_REQUEST: u8 = 8;
    const ECHO_REQUEST_V6: u8 = 128;
    let mut message = vec![if ipv6 { ECHO_REQUEST_V6 } else { ECHO_REQUEST }, 0, 0, 0];
    message.extend_from_slice(&identifier.to_be_bytes());
    message.extend_from_slice(&sequence.to_be_bytes());
    let mut payload = vec![0; size];
    Pattern::new(size as u64).fill(&mut payload);
    message.extend_from_slice(&payload);
    if !ipv6 {
        // The kernel sums ICMPv6, whose checksum covers addresses; the older one is ours to sum.
        let sum = checksum(&message).to_be_bytes();
        if let Some(field) = message.get_mut(2..4) {
            field.copy_from_slice(&sum);
        }
    }
    message
}

fn is_reply(ipv6: bool, packet: &[u8], identifier: u16, size: usize) -> bool {
    const ECHO_REPLY: u8 = 0;
    const ECHO_REPLY_V6: u8 = 129;
    let message = if ipv6 { Some(packet) } else { without_ip_header(packet) };
    let Some((header, payload)) = message.and_then(|message| message.split_first_chunk::<HEADER_BYTES>())
    else {
        return false;
    };
    let [kind, _, _, _, high, low, _, _] = *header;
    let mut expected = vec![0; size];
    Pattern::new(size as u64).fill(&mut expected);
    kind == if ipv6 { ECHO_REPLY_V6 } else { ECHO_REPLY }
        && u16::from_be_bytes([high, low]) == identifier
        && payload == expected
}

/// What an IPv4 packet carries.
pub(super) fn without_ip_header(packet: &[u8]) -> Option<&[u8]> {
    let header_bytes = usize::from(packet.first()? & 0x0f).checked_mul(4)?;
    packet.get(header_bytes..)
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let words = pairs.iter().map(|&pair| u32::from(u16::from_be_bytes(pair)));
    let odd = rest.first().map_or(0, |&byte| u32::from(byte) << 8);
    let mut sum = words.fold(odd, u32::wrapping_add);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_sums_to_zero() {
        for size in [0, 1, 56, 1001] {
            assert_eq!(checksum(&request(false, 7, 9, size)), 0, "{size}");
        }
    }

    #[test]
    fn only_the_own_reply_is_taken() {
        let mut reply = request(true, 7, 1, 4);
        reply[0] = 129;
        assert!(is_reply(true, &reply, 7, 4));
        assert!(!is_reply(true, &reply, 8, 4));
        assert!(!is_reply(true, &reply, 7, 5));
        assert!(!is_reply(true, &reply[..5], 7, 4));
        assert!(!is_reply(false, &[], 7, 4));
    }
}
