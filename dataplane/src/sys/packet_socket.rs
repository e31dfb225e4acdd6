//! Packet sockets: one interface, raw Ethernet frames, each with its vnet header.
//!
//! The socket is opened without a protocol, so that it sees nothing until every option is set, and starts to
//! receive with [`PacketSocket::bind`]. Kernel: packet(7); `PACKET_IGNORE_OUTGOING` needs Linux 4.20. Needs
//! `CAP_NET_RAW` in the interface's network namespace. No unsafe code here: the calls are in [`super::socket`].

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::mmsg::{ControlMessage, Message};
use super::socket;

const BUFFER_BYTES: i32 = 8 << 20;

/// `PACKET_FANOUT_FLAG_IGNORE_OUTGOING`, since Linux 6.1; unknown to libc.
const FANOUT_IGNORE_OUTGOING: u16 = 0x4000;

/// `struct sockaddr_ll`.
const ADDRESS_BYTES: usize = 20;

/// A VLAN tag, as it stands in a frame: protocol and control information.
pub type VlanTag = [u8; 4];

/// How the rings of a packet socket are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RingVersion {
    /// Slots, each with a frame (`TPACKET_V2`).
    V2,
    /// Blocks, each with as many frames as fit (`TPACKET_V3`).
    V3,
}

/// A packet socket.
#[derive(Debug)]
pub struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// A socket in the namespace of the calling thread that receives nothing yet: vnet headers, VLAN tags and
    /// losses reported, frames the node itself sends left out.
    pub fn open() -> io::Result<Self> {
        let fd = socket::open(libc::AF_PACKET, libc::SOCK_RAW, 0)?;
        let set = |level, option| socket::set(fd.as_fd(), level, option, 1);
        set(libc::SOL_PACKET, libc::PACKET_VNET_HDR)?;
        set(libc::SOL_PACKET, libc::PACKET_AUXDATA)?;
        set(libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING)?;
        set(libc::SOL_SOCKET, libc::SO_RXQ_OVFL)?;
        socket::receive_buffer(fd.as_fd(), BUFFER_BYTES)?;
        socket::send_buffer(fd.as_fd(), BUFFER_BYTES)?;
        Ok(Self(fd))
    }

    /// Makes the interface hand over frames to any MAC, for as long as the socket lives.
    pub fn set_promiscuous(&self, index: u32) -> io::Result<()> {
        // struct packet_mreq: interface, kind, address length and address.
        let mut request = [0_u8; 16];
        let [i0, i1, i2, i3] = index.to_ne_bytes();
        let [k0, k1] = (libc::PACKET_MR_PROMISC as u16).to_ne_bytes();
        for (to, from) in request.iter_mut().zip([i0, i1, i2, i3, k0, k1]) {
            *to = from;
        }
        socket::set_bytes(self.0.as_fd(), libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &request)
    }

    /// Starts to receive all frames that arrive at the interface, and sends through it.
    pub fn bind(&self, index: u32) -> io::Result<()> {
        self.bind_for(index, libc::ETH_P_ALL as u16)
    }

    /// Sends through the interface and receives nothing.
    pub fn bind_to_send(&self, index: u32) -> io::Result<()> {
        self.bind_for(index, 0)
    }

    fn bind_for(&self, index: u32, protocol: u16) -> io::Result<()> {
        let mut address = [0_u8; ADDRESS_BYTES];
        let [f0, f1] = (libc::AF_PACKET as u16).to_ne_bytes();
        let [p0, p1] = protocol.to_be_bytes();
        let [i0, i1, i2, i3] = index.to_ne_bytes();
        for (to, from) in address.iter_mut().zip([f0, f1, p0, p1, i0, i1, i2, i3]) {
            *to = from;
        }
        socket::bind(self.0.as_fd(), &address)
    }

    /// Opens a group of sockets of one interface, which share its frames by flow, with this socket, which is bound, as
    /// its first member; the group's number.
    ///
    /// # Errors
    /// `InvalidInput` on kernels before 6.1, whose groups also receive what the node itself sends.
    pub fn found_group(&self) -> io::Result<u16> {
        self.set_fanout(0, libc::PACKET_FANOUT_FLAG_UNIQUEID as u16)?;
        // The number stands in the lower half.
        Ok(socket::value(self.0.as_fd(), libc::SOL_PACKET, libc::PACKET_FANOUT)?.cast_unsigned() as u16)
    }

    /// Joins a group of sockets of the interface that this one is bound to.
    pub fn join_group(&self, group: u16) -> io::Result<()> {
        self.set_fanout(group, 0)
    }

    fn set_fanout(&self, group: u16, flags: u16) -> io::Result<()> {
        let kind = libc::PACKET_FANOUT_HASH as u16 | FANOUT_IGNORE_OUTGOING | flags;
        let [g0, g1] = group.to_le_bytes();
        let [k0, k1] = kind.to_le_bytes();
        let value = i32::from_le_bytes([g0, g1, k0, k1]);
        socket::set(self.0.as_fd(), libc::SOL_PACKET, libc::PACKET_FANOUT, value)
    }

    /// Asks for rings of that version; none is made.
    pub fn set_ring_version(&self, version: RingVersion) -> io::Result<()> {
        let version = match version {
            RingVersion::V2 => libc::tpacket_versions::TPACKET_V2,
            RingVersion::V3 => libc::tpacket_versions::TPACKET_V3,
        };
        socket::set(self.0.as_fd(), libc::SOL_PACKET, libc::PACKET_VERSION, version as i32)
    }

    /// Receives only what `program` lets through, from now on.
    pub fn filter(&self, program: &[libc::sock_filter]) -> io::Result<()> {
        socket::filter_arrivals(self.0.as_fd(), program)
    }

    /// Receives nothing, though bound, until [`PacketSocket::unmute`].
    pub fn mute(&self) -> io::Result<()> {
        socket::discard_arrivals(self.0.as_fd())
    }

    /// Receives again.
    pub fn unmute(&self) -> io::Result<()> {
        socket::accept_arrivals(self.0.as_fd())
    }

    /// The error that waits on the socket, which is then gone from there.
    pub fn take_error(&self) -> Option<io::Error> {
        let number = socket::value(self.0.as_fd(), libc::SOL_SOCKET, libc::SO_ERROR).unwrap_or(0);
        (number != 0).then(|| io::Error::from_raw_os_error(number))
    }

    /// False once the interface the socket was bound to has been deleted.
    pub fn is_bound(&self) -> io::Result<bool> {
        let mut address = [0_u8; ADDRESS_BYTES];
        socket::name(self.0.as_fd(), &mut address)?;
        let [_, _, _, _, i0, i1, i2, i3, ..] = address;
        Ok(i32::from_ne_bytes([i0, i1, i2, i3]) > 0)
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Whether the running kernel takes super-packets of UDP from a packet socket: from Linux 6.2, as there is no
/// way to ask.
pub fn takes_udp_super_packets() -> bool {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").is_ok_and(|release| is_from(&release, (6, 2)))
}

fn is_from(release: &str, wanted: (u32, u32)) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|text| text.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= wanted
}

/// What the control messages of a received frame say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Arrival {
    /// The VLAN tag that the kernel took out of the frame.
    pub vlan: Option<VlanTag>,
    /// Frames lost so far because the receive buffer was full, modulo 2^32; none until the first is lost.
    pub losses: Option<u32>,
}

impl Arrival {
    /// Reads the control messages.
    pub fn of(message: &Message<'_>) -> Self {
        let mut arrival = Self::default();
        for control in message.control.clone() {
            match (control.level, control.kind) {
                (libc::SOL_PACKET, libc::PACKET_AUXDATA) => arrival.vlan = tag_of(&control),
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => arrival.losses = control.int(),
                _ => {}
            }
        }
        arrival
    }
}

/// The tag in `struct tpacket_auxdata`: status at 0, control information at 16, protocol at 18.
fn tag_of(control: &ControlMessage<'_>) -> Option<VlanTag> {
    let half = |at: usize| Some(u16::from_ne_bytes(*control.data.get(at..)?.first_chunk()?));
    vlan_tag(control.int()?, half(16)?, half(18)?)
}

/// The tag that a frame's status, control information and protocol (`TP_STATUS_VLAN_…`) say was taken out of it.
pub(super) fn vlan_tag(status: u32, tci: u16, protocol: u16) -> Option<VlanTag> {
    const DEFAULT_PROTOCOL: u16 = 0x8100;
    if status & libc::TP_STATUS_VLAN_VALID == 0 {
        return None;
    }
    let protocol = if status & libc::TP_STATUS_VLAN_TPID_VALID == 0 { DEFAULT_PROTOCOL } else { protocol };
    let [p0, p1] = protocol.to_be_bytes();
    let [t0, t1] = tci.to_be_bytes();
    Some([p0, p1, t0, t1])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auxdata(status: u32, tci: u16, protocol: u16) -> [u8; 20] {
        let mut data = [0; 20];
        data[..4].copy_from_slice(&status.to_ne_bytes());
        data[16..18].copy_from_slice(&tci.to_ne_bytes());
        data[18..].copy_from_slice(&protocol.to_ne_bytes());
        data
    }

    fn tag(data: &[u8]) -> Option<VlanTag> {
        tag_of(&ControlMessage { level: libc::SOL_PACKET, kind: libc::PACKET_AUXDATA, data })
    }

    #[test]
    fn a_stripped_tag_is_found_also_when_it_is_zero() {
        let valid = libc::TP_STATUS_VLAN_VALID;
        let with_protocol = valid | libc::TP_STATUS_VLAN_TPID_VALID;
        assert_eq!(tag(&auxdata(1, 5, 0)), None);
        assert_eq!(tag(&auxdata(valid, 0, 0)), Some([0x81, 0, 0, 0]));
        assert_eq!(tag(&auxdata(with_protocol, 0x2005, 0x88a8)), Some([0x88, 0xa8, 0x20, 5]));
    }

    #[test]
    fn kernel_releases_compare_as_numbers() {
        for release in ["6.2.0", "6.18.44-fc-v509\n", "7.0-rc1", "10.1"] {
            assert!(is_from(release, (6, 2)), "{release}");
        }
        for release in ["6.1.0-40-amd64", "5.15.0", "", "six"] {
            assert!(!is_from(release, (6, 2)), "{release}");
        }
    }

    #[test]
    fn auxiliary_data_cut_short_is_no_tag() {
        let data = auxdata(libc::TP_STATUS_VLAN_VALID | libc::TP_STATUS_VLAN_TPID_VALID, 5, 0x8100);
        for len in 0..data.len() {
            assert_eq!(tag(&data[..len]), None, "{len}");
        }
    }
}
