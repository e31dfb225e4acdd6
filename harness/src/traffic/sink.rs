//! A sink that counts datagrams to the packet and costs next to nothing.
//!
//! The socket discards everything that arrives by a filter of one instruction, and the kernel counts that in the
//! `drops` column of `/proc/net/udp`: every datagram that came all the way to the socket, and no other. A sink that
//! reads would take a share of the processor from the device under test, and would itself lose datagrams where its
//! buffer is full. Datagrams with a bad checksum are counted there as well; [`Sink::broken`] tells how many.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use dataplane::sys::netns::Netns;
use dataplane::sys::socket;

/// Longest wait for the last datagrams.
const DRAIN: Duration = Duration::from_millis(500);
/// Silence after which nothing more is expected.
const QUIET: Duration = Duration::from_millis(30);

/// Sockets that count.
#[derive(Debug)]
pub struct Sink {
    sockets: Vec<UdpSocket>,
    table: File,
    snmp: File,
    ipv6: bool,
    /// How a socket's line begins, behind its number, and the ports it may go on with.
    address: String,
    ports: RangeInclusive<u16>,
}

impl Sink {
    /// Opens a sink in `netns` at an address that is configured there.
    ///
    /// # Errors
    /// The port is taken, or the kernel's tables cannot be read.
    pub fn open(netns: &Netns, at: SocketAddr) -> io::Result<Self> {
        Self::open_ports(netns, at, 1)
    }

    /// The same, with so many ports from the one given on.
    ///
    /// # Errors
    /// A port is taken, there are no more, or the kernel's tables cannot be read.
    pub fn open_ports(netns: &Netns, at: SocketAddr, ports: u16) -> io::Result<Self> {
        let ipv6 = matches!(at.ip(), IpAddr::V6(_));
        let ports = at.port()..=at.port().saturating_add(ports.saturating_sub(1));
        let (sockets, table, snmp) = netns.run(|| -> io::Result<_> {
            let open = |port| {
                let socket = UdpSocket::bind(SocketAddr::new(at.ip(), port))?;
                socket::discard_arrivals(socket.as_fd())?;
                Ok(socket)
            };
            let sockets = ports.clone().map(open).collect::<io::Result<Vec<_>>>()?;
            // The thread's own view: `/proc/net` is that of the process.
            let names = if ipv6 { ["udp6", "snmp6"] } else { ["udp", "snmp"] };
            let [table, snmp] = names.map(|name| File::open(format!("/proc/thread-self/net/{name}")));
            Ok((sockets, table?, snmp?))
        })??;
        let mut sink = Self { sockets, table, snmp, ipv6, address: line_start(at.ip()), ports };
        sink.arrived()?;
        Ok(sink)
    }

    /// Datagrams that arrived so far, modulo 2^32.
    pub fn arrived(&mut self) -> io::Result<u32> {
        let text = reread(&mut self.table)?;
        let counts = text.lines().filter_map(|line| self.count_of(line));
        let (found, sum) =
            counts.fold((0, 0_u32), |(found, sum), count| (found + 1, sum.wrapping_add(count)));
        if found < self.sockets.len() {
            return Err(io::Error::other("the kernel's table of UDP sockets has no line for the sink"));
        }
        Ok(sum)
    }

    /// What a line of the table counted, if it is one of the sink's.
    fn count_of(&self, line: &str) -> Option<u32> {
        let rest = line.split_once(": ")?.1.strip_prefix(self.address.as_str())?;
        let port = u16::from_str_radix(rest.get(..4)?, 16).ok()?;
        if !self.ports.contains(&port) {
            return None;
        }
        rest.split_whitespace().last()?.parse().ok()
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

/// A local address as the kernel's table has it: words of four bytes in host order, and the colon before the port.
fn line_start(at: IpAddr) -> String {
    let words: Vec<u8> = match at {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let words = words.chunks(4).filter_map(|word| Some(u32::from_ne_bytes(*word.first_chunk()?)));
    let words = words.map(|word| format!("{word:08X}")).collect::<Vec<_>>().concat();
    format!("{words}:")
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
    fn several_ports_are_one_sink() {
        let here = Netns::current().unwrap();
        // Ports beside a free one are likely to be free; where they are not, others are tried.
        let (mut sink, first) = (0..20)
            .find_map(|_| {
                let free = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).unwrap();
                Some((Sink::open_ports(&here, free, 4).ok()?, free))
            })
            .unwrap();
        let before = sink.arrived().unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for number in 0..8 {
            sender.send_to(b"x", (first.ip(), first.port() + number % 4)).unwrap();
        }
        assert_eq!(sink.drained().unwrap().wrapping_sub(before), 8);
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
