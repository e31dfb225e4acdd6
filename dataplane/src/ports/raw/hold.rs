//! Holding the tunnel's UDP port while its datagrams come by another way.
//!
//! A bound socket per family whose filter discards everything: nothing is queued, and the kernel, which finds a socket,
//! sends no "port unreachable". The port is bound alone, so whoever wants it too is refused. The sockets go with the
//! process, however that ends. Each datagram discarded counts in the host's `UdpInErrors`.

use std::io;
use std::net::{IpAddr, SocketAddr};

use crate::ports::udp;
use crate::sys::udp_socket::UdpSocket;

/// The port is ours as long as this lives.
#[derive(Debug)]
pub struct PortHold {
    _sockets: Vec<UdpSocket>,
}

impl PortHold {
    /// Takes `port` of each of `locals`.
    ///
    /// # Errors
    /// Somebody else has it, or an address is not this node's; the text says which.
    pub fn take(locals: &[IpAddr], port: u16) -> io::Result<Self> {
        let hold = |local: &IpAddr| {
            let at = SocketAddr::new(*local, port);
            UdpSocket::holder(at).map_err(|error| udp::explain(at, &error))
        };
        Ok(Self { _sockets: locals.iter().map(hold).collect::<io::Result<_>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_held_port_is_nobody_elses_and_answers_nobody() {
        let local = IpAddr::from([127, 0, 0, 1]);
        let port = std::net::UdpSocket::bind((local, 0)).unwrap().local_addr().unwrap().port();
        let hold = PortHold::take(&[local], port).unwrap();
        let refused = PortHold::take(&[local], port).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        assert!(refused.to_string().contains("another weir"), "{refused}");

        let sender = std::net::UdpSocket::bind((local, 0)).unwrap();
        sender.connect((local, port)).unwrap();
        sender.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        sender.send(b"x").unwrap();
        assert_eq!(sender.recv(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);

        drop(hold);
        sender.send(b"x").unwrap();
        assert_eq!(sender.recv(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }
}
