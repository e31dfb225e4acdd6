//! SCTP by hand: an association's first two chunks (RFC 9260 section 5.1) over raw sockets, for kernels
//! without SCTP sockets.
//!
//! The client sends INIT, the [`Responder`] answers INIT ACK with the client's tag; whoever sees both has
//! seen an SCTP packet pass in either direction. Checksums are CRC32c (RFC 9260 appendix A).

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use dataplane::sys::netns::Netns;
use dataplane::sys::raw_ip;

use super::Reach;
use super::ping::without_ip_header;

/// IP protocol number of SCTP.
pub const PROTOCOL: u8 = 132;
/// Chunk type INIT.
pub const INIT: u8 = 1;
/// Chunk type INIT ACK.
pub const INIT_ACK: u8 = 2;

const COMMON_HEADER_BYTES: usize = 12;
const RESEND: Duration = Duration::from_millis(250);

/// Sends INIT from `src_port` until an INIT ACK comes back, for `timeout` at most.
pub fn probe(netns: &Netns, to: SocketAddr, src_port: u16, timeout: Duration) -> io::Result<Reach> {
    const TAG: u32 = 0x5eed_0001;
    let socket = netns.run(|| raw_ip::open(to.is_ipv6(), PROTOCOL))??;
    let init = packet(src_port, to.port(), 0, INIT, TAG);
    let mut buffer = vec![0; 2048];
    let start = Instant::now();
    while start.elapsed() < timeout {
        if let Err(error) = socket.send_to(&init, SocketAddr::new(to.ip(), 0)) {
            return Reach::of(error);
        }
        let sent = Instant::now();
        while let Some(wait) = RESEND.checked_sub(sent.elapsed()).filter(|wait| !wait.is_zero()) {
            socket.set_read_timeout(Some(wait))?;
            let Ok((count, from)) = socket.recv_from(&mut buffer) else { break };
            let seen = read(to.is_ipv6(), buffer.get(..count).unwrap_or_default());
            let expected = Seen { src_port: to.port(), dst_port: src_port, tag: TAG, chunk: INIT_ACK };
            if from.ip() == to.ip() && seen.is_some_and(|(seen, _)| seen == expected) {
                return Ok(Reach::Open);
            }
        }
    }
    Ok(Reach::Silent)
}

/// Answers every INIT that comes to `port` in a namespace; ends when dropped.
#[derive(Debug)]
pub struct Responder {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Responder {
    /// Starts answering, in both families.
    pub fn start(netns: &Netns, port: u16) -> io::Result<Self> {
        let mut responder = Self { stop: Arc::new(AtomicBool::new(false)), threads: Vec::new() };
        for ipv6 in [false, true] {
            let socket = netns.run(|| raw_ip::open(ipv6, PROTOCOL))??;
            socket.set_read_timeout(Some(Duration::from_millis(100)))?;
            let stop = Arc::clone(&responder.stop);
            let serve = move || respond(&socket, ipv6, port, &stop);
            responder.threads.push(Builder::new().name("sctp".to_owned()).spawn(serve)?);
        }
        Ok(responder)
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn respond(socket: &UdpSocket, ipv6: bool, port: u16, stop: &AtomicBool) {
    const TAG: u32 = 0x5eed_0002;
    let mut buffer = vec![0; 2048];
    while !stop.load(Ordering::SeqCst) {
        let Ok((count, from)) = socket.recv_from(&mut buffer) else { continue };
        let Some((seen, peer_tag)) = read(ipv6, buffer.get(..count).unwrap_or_default()) else { continue };
        if seen.dst_port == port && seen.chunk == INIT {
            let answer = packet(port, seen.src_port, peer_tag, INIT_ACK, TAG);
            let _ = socket.send_to(&answer, SocketAddr::new(from.ip(), 0));
        }
    }
}

/// An SCTP packet with one INIT or INIT ACK chunk that carries `initiate_tag`.
pub fn packet(src_port: u16, dst_port: u16, tag: u32, chunk: u8, initiate_tag: u32) -> Vec<u8> {
    const CHUNK_BYTES: u16 = 20;
    const WINDOW: u32 = 65_536;
    let mut bytes = Vec::with_capacity(COMMON_HEADER_BYTES + usize::from(CHUNK_BYTES));
    bytes.extend_from_slice(&src_port.to_be_bytes());
    bytes.extend_from_slice(&dst_port.to_be_bytes());
    bytes.extend_from_slice(&tag.to_be_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&[chunk, 0]);
    bytes.extend_from_slice(&CHUNK_BYTES.to_be_bytes());
    bytes.extend_from_slice(&initiate_tag.to_be_bytes());
    bytes.extend_from_slice(&WINDOW.to_be_bytes());
    // One stream each way, first transmission sequence number 1.
    bytes.extend_from_slice(&[0, 1, 0, 1, 0, 0, 0, 1]);
    let sum = crc32c(&bytes).to_le_bytes();
    if let Some(field) = bytes.get_mut(8..12) {
        field.copy_from_slice(&sum);
    }
    bytes
}

#[derive(Debug, PartialEq, Eq)]
struct Seen {
    src_port: u16,
    dst_port: u16,
    tag: u32,
    chunk: u8,
}

/// Reads a packet as a raw socket gives it: what it is, and the tag its first chunk initiates.
fn read(ipv6: bool, packet: &[u8]) -> Option<(Seen, u32)> {
    let bytes = if ipv6 { packet } else { without_ip_header(packet)? };
    let (header, chunks) = bytes.split_first_chunk::<COMMON_HEADER_BYTES>()?;
    let [s0, s1, d0, d1, t0, t1, t2, t3, c0, c1, c2, c3] = *header;
    let mut unsummed = bytes.to_vec();
    unsummed.get_mut(8..12)?.fill(0);
    if crc32c(&unsummed) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return None;
    }
    let [chunk, _, _, _, i0, i1, i2, i3] = *chunks.first_chunk::<8>()?;
    let seen = Seen {
        src_port: u16::from_be_bytes([s0, s1]),
        dst_port: u16::from_be_bytes([d0, d1]),
        tag: u32::from_be_bytes([t0, t1, t2, t3]),
        chunk,
    };
    Some((seen, u32::from_be_bytes([i0, i1, i2, i3])))
}

/// Whether `to` can be spoken to from `netns` at all: raw sockets need `CAP_NET_RAW`.
pub fn is_permitted(netns: &Netns, to: IpAddr) -> bool {
    netns.run(|| raw_ip::open(to.is_ipv6(), PROTOCOL)).is_ok_and(|opened| opened.is_ok())
}

fn crc32c(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (POLYNOMIAL & 0_u32.wrapping_sub(crc & 1)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_crc32c() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_packet_reads_back_and_a_damaged_one_does_not() {
        let mut bytes = packet(1, 2, 3, INIT, 4);
        assert_eq!(read(true, &bytes), Some((Seen { src_port: 1, dst_port: 2, tag: 3, chunk: INIT }, 4)));
        bytes[20] ^= 1;
        assert_eq!(read(true, &bytes), None);
        assert_eq!(read(false, &[]), None);
    }
}
