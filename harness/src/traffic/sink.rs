//! A sink that counts datagrams to the packet and costs next to nothing.
//!
//! The socket discards everything that arrives by a filter of one instruction, and the kernel counts that in the
//! `drops` column of `/proc/net/udp`: every datagram that came all the way to the socket, and no other. A sink that
//! reads would take a share of the processor from the device under test, and would itself lose datagrams where its
//! buffer is full. Datagrams with a bad checksum are counted there as well; [`Sink::broken`] tells how many.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use dataplane::sys::netns::Netns;
use dataplane::sys::socket;

/// Longest wait for the last datagrams.
const DRAIN: Duration = Duration::from_millis(500);
/// Silence after which nothing more is expected.
const QUIET: Duration = Duration::from_millis(30);

/// A socket that counts.
#[derive(Debug)]
pub struct Sink {
    _socket: UdpSocket,
    table: File,
    snmp: File,
    ipv6: bool,
    /// How the socket's line begins, behind its number.
    local: String,
}

impl Sink {
    /// Opens a sink in `netns` at an address that is configured there.
    ///
    /// # Errors
    /// The port is taken, or the kernel's tables cannot be read.
    pub fn open(netns: &Netns, at: SocketAddr) -> io::Result<Self> {
        let ipv6 = matches!(at.ip(), IpAddr::V6(_));
        let (socket, table, snmp) = netns.run(|| -> io::Result<_> {
            let socket = UdpSocket::bind(at)?;
            socket::discard_arrivals(socket.as_fd())?;
            // The thread's own view: `/proc/net` is that of the process.
            let names = if ipv6 { ["udp6", "snmp6"] } else { ["udp", "snmp"] };
            let [table, snmp] = names.map(|name| File::open(format!("/proc/thread-self/net/{name}")));
            Ok((socket, table?, snmp?))
        })??;
        let mut sink = Self { _socket: socket, table, snmp, ipv6, local: line_start(at) };
        sink.arrived()?;
        Ok(sink)
    }

    /// Datagrams that arrived so far, modulo 2^32.
    pub fn arrived(&mut self) -> io::Result<u32> {
        let text = reread(&mut self.table)?;
        let line = text.lines().find(|line| {
            let place = line.split_once(": ").map(|(_, rest)| rest);
            place.is_some_and(|rest| rest.starts_with(&self.local))
        });
        let count = line.and_then(|line| line.split_whitespace().last()?.parse().ok());
        count.ok_or_else(|| io::Error::other("the kernel's table of UDP sockets has no line for the sink"))
    }

    /// Datagrams of the namespace with a bad checksum so far.
    pub fn broken(&mut self) -> io::Result<u64> {
        let text = reread(&mut self.snmp)?;
        Ok(if self.ipv6 {
            value_of(&text, "Udp6InCsumErrors")
        } else {
            column_of(&text, "Udp:", "InCsumErrors")
        })
    }

    /// Waits until nothing more arrives, then says how much did so far, modulo 2^32.
    pub fn drained(&mut self) -> io::Result<u32> {
        let begin = Instant::now();
        let mut last = (self.arrived()?, begin);
        while begin.elapsed() < DRAIN && last.1.elapsed() < QUIET {
            std::thread::sleep(Duration::from_millis(5));
            let now = self.arrived()?;
            if now != last.0 {
                last = (now, Instant::now());
            }
        }
        Ok(last.0)
    }
}

/// A local address as the kernel's table has it: words of four bytes in host order, then the port.
fn line_start(at: SocketAddr) -> String {
    let words: Vec<u8> = match at.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let words = words.chunks(4).filter_map(|word| Some(u32::from_ne_bytes(*word.first_chunk()?)));
    let words = words.map(|word| format!("{word:08X}")).collect::<Vec<_>>().concat();
    format!("{words}:{:04X} ", at.port())
}

/// A file of `/proc` from its start.
fn reread(file: &mut File) -> io::Result<String> {
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// `Udp6InCsumErrors     3`.
fn value_of(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.trim().parse().ok()).unwrap_or(0)
}

/// A line of names and a line of values, both beginning with `prefix`.
fn column_of(text: &str, prefix: &str, name: &str) -> u64 {
    let mut lines = text.lines().filter(|line| line.starts_with(prefix));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else { return 0 };
    let mut pairs = names.split_whitespace().zip(values.split_whitespace());
    pairs.find(|(one, _)| *one == name).and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_datagram_is_counted_in_both_families() {
        let here = Netns::current().unwrap();
        for address in ["127.0.0.1", "::1"] {
            let free = UdpSocket::bind((address, 0)).and_then(|socket| socket.local_addr()).unwrap();
            let mut sink = match Sink::open(&here, free) {
                Ok(sink) => sink,
                Err(error) if free.is_ipv6() => {
                    println!("skipped: no IPv6 here ({error})");
                    continue;
                }
                Err(error) => panic!("{error}"),
            };
            let before = sink.arrived().unwrap();
            let sender = UdpSocket::bind((address, 0)).unwrap();
            for _ in 0..1_000 {
                sender.send_to(b"x", free).unwrap();
            }
            assert_eq!(sink.drained().unwrap().wrapping_sub(before), 1_000, "{address}");
            sink.broken().unwrap();
        }
    }

    #[test]
    fn columns_are_found_by_name() {
        let text =
            "Ip: A B\nIp: 1 2\nUdp: InDatagrams InCsumErrors\nUdp: 7 3\nUdpLite: InCsumErrors\nUdpLite: 9\n";
        assert_eq!(column_of(text, "Udp:", "InCsumErrors"), 3);
        assert_eq!(column_of(text, "Udp:", "None"), 0);
        assert_eq!(value_of("Udp6InErrors\t1\nUdp6InCsumErrors \t5\n", "Udp6InCsumErrors"), 5);
    }
}
