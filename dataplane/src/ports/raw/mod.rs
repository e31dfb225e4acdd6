//! Raw underlays: what the ports have in common that send and receive whole frames on the underlay's interface.
//!
//! ```text
//!  interface ─► VXLAN to us, by a filter ─► port ─► trains taken apart ─► pipeline (`decap` takes outer headers off)
//!       └─────► the kernel as ever; VXLAN ends at a socket that discards it
//!  pipeline (`emit` puts outer headers on) ─► port ─► frames of one flow joined to trains ─► interface
//! ```
//! The kernel goes on handling everything else on the interface. What it would do with VXLAN, and with the UDP port, is
//! prevented by a socket that [holds](PortHold) the port: it answers no sender with an ICMP error, and neither a second
//! weir nor a kernel device can open the port beside it. Routes and next hops are asked of the kernel by the control
//! thread (`node`), never here.
//!
//! [`AfPacketUnderlay`] does it through packet sockets.

mod af_packet;
mod departure;
mod hold;
mod trains;

use std::io;
use std::net::IpAddr;

use crate::sys::netlink::Netlink;

pub use af_packet::AfPacketUnderlay;
pub use hold::PortHold;
pub(crate) use trains::{Joining, Unpacking};

/// The underlay to be opened as whole frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawConfig {
    /// Its interface.
    pub interface: String,
    /// Own addresses on it, of each family one at the most: datagrams to others stay with the kernel.
    pub locals: Vec<IpAddr>,
    /// UDP port of the tunnel.
    pub port: u16,
    /// Whether to receive by a ring.
    pub ring: bool,
    /// Whether to send by one, where the kernel has such rings.
    pub transmit_ring: bool,
}

/// The interface that has all of `locals`, or the `named` one.
///
/// # Errors
/// There is none, or the named one lacks an address; the text says which.
pub fn interface_of(named: Option<&str>, locals: &[IpAddr]) -> io::Result<String> {
    let netlink = Netlink::open()?;
    let mut found = None;
    for link in netlink.links()? {
        if named.is_some_and(|named| named != link.name) {
            continue;
        }
        let own = netlink.addresses(link.index)?;
        let missing = locals.iter().find(|local| !own.iter().any(|net| net.addr() == **local));
        match (missing, named) {
            (None, _) => {
                found = Some(link.name);
                break;
            }
            (Some(local), Some(named)) => {
                let text = format!(
                    "underlay.interface {named} does not have the underlay address {local}: a raw underlay sends and \
                     receives on one interface; name the one that has it"
                );
                return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, text));
            }
            (Some(_), None) => {}
        }
    }
    found.ok_or_else(|| {
        let all = locals.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
        let text = format!(
            "no interface here has {all}: a raw underlay sends and receives on one interface; `ip address` lists \
             them, `underlay.interface` names one"
        );
        io::Error::new(io::ErrorKind::NotFound, text)
    })
}
