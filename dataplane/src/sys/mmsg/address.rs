//! Socket addresses as the kernel lays them out: `sockaddr_in` and `sockaddr_in6` as bytes.
//!
//! ```text
//!   0        2      4                                   16          (sockaddr_in)
//!   ├ family ┼ port ┼ IPv4 address ┼ zero                ┤
//!   ├ family ┼ port ┼ flow label   ┼ IPv6 address … ┼ scope ┤ 28    (sockaddr_in6)
//! ```
//! The family is in host order, port and address in network order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const INET_LEN: usize = 16;
const INET6_LEN: usize = 28;
const ROOM: usize = 32;

/// Room for an Internet address, aligned as the kernel's own structure.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(8))]
pub struct Address {
    bytes: [u8; ROOM],
    len: usize,
}

impl Address {
    /// Bytes of room.
    pub const ROOM: usize = ROOM;

    /// The address `to`. An IPv6 scope is left out: link-local underlays are not supported.
    pub fn new(to: SocketAddr) -> Self {
        let mut address = Self::default();
        match to.ip() {
            IpAddr::V4(ip) => {
                address.put(0, &(libc::AF_INET as u16).to_ne_bytes());
                address.put(4, &ip.octets());
                address.len = INET_LEN;
            }
            IpAddr::V6(ip) => {
                address.put(0, &(libc::AF_INET6 as u16).to_ne_bytes());
                address.put(8, &ip.octets());
                address.len = INET6_LEN;
            }
        }
        address.put(2, &to.port().to_be_bytes());
        address
    }

    /// The bytes in use.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// All room, for the kernel to write into.
    pub(super) fn room(&mut self) -> &mut [u8; ROOM] {
        &mut self.bytes
    }

    /// How many bytes the kernel wrote; clamped to the room.
    pub(super) fn set_len(&mut self, len: usize) {
        self.len = len.min(ROOM);
    }

    /// Address and port; `None` for another family or an address cut short.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        let bytes = self.bytes();
        let family = i32::from(u16::from_ne_bytes(*bytes.first_chunk()?));
        let port = u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
        let ip = match family {
            libc::AF_INET => IpAddr::V4(Ipv4Addr::from(*bytes.get(4..)?.first_chunk::<4>()?)),
            libc::AF_INET6 => IpAddr::V6(Ipv6Addr::from(*bytes.get(8..)?.first_chunk::<16>()?)),
            _ => return None,
        };
        Some(SocketAddr::new(ip, port))
    }

    fn put(&mut self, at: usize, from: &[u8]) {
        if let Some(to) = self.bytes.get_mut(at..at + from.len()) {
            to.copy_from_slice(from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_back_as_written() {
        for text in ["192.0.2.7:8472", "[2001:db8::7]:65535", "0.0.0.0:0"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(Address::new(address).socket_addr(), Some(address));
        }
    }

    #[test]
    fn an_address_cut_short_or_of_another_family_is_none() {
        let mut address = Address::new("[2001:db8::7]:1".parse().unwrap());
        for len in 0..24 {
            address.set_len(len);
            assert_eq!(address.socket_addr(), None, "{len}");
        }
        let mut other = Address::default();
        other.room()[0] = 17;
        other.set_len(20);
        assert_eq!(other.socket_addr(), None);
    }
}
