//! What the driver of an interface does with XDP programs, by its own account (`netdev` family of generic netlink, Linux
//! 6.3; `Documentation/netlink/specs/netdev.yaml`). Asking changes nothing. Needs no capability.

use std::io;

use netlink_packet_core::{NetlinkBuffer, NlasIterator};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};

const HEADER_BYTES: usize = 16;
const GENERIC_HEADER_BYTES: usize = 4;
const NLM_F_REQUEST: u16 = 1;
const NLMSG_ERROR: u16 = 2;

const GENL_ID_CTRL: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;

const NETDEV_CMD_DEV_GET: u8 = 1;
const NETDEV_A_DEV_IFINDEX: u16 = 1;
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;

// `enum netdev_xdp_act`.
const BASIC: u64 = 1;
const REDIRECT: u64 = 1 << 1;
const ZERO_COPY: u64 = 1 << 3;
const IN_PARTS: u64 = 1 << 5;

/// What a driver does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// It runs programs, and redirects by them.
    pub native: bool,
    /// It moves frames of AF_XDP sockets without a copy.
    pub zero_copy: bool,
    /// It takes frames in parts.
    pub in_parts: bool,
}

/// The family, looked up once.
#[derive(Debug)]
pub struct FeatureList {
    socket: Socket,
    family: u16,
}

impl FeatureList {
    /// Opens it in the namespace of the calling thread.
    ///
    /// # Errors
    /// `NotFound` from a kernel without the family.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_GENERIC)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        let answer = ask(&socket, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_NAME, b"netdev\0")?;
        let family = attribute(&answer, CTRL_ATTR_FAMILY_ID).map(u16::from_ne_bytes);
        Ok(Self { socket, family: family.ok_or(io::ErrorKind::InvalidData)? })
    }

    /// What the interface's driver does.
    ///
    /// # Errors
    /// There is no such interface.
    pub fn of(&self, interface: u32) -> io::Result<Features> {
        let index = interface.to_ne_bytes();
        let answer = ask(&self.socket, self.family, NETDEV_CMD_DEV_GET, NETDEV_A_DEV_IFINDEX, &index)?;
        let bits = attribute(&answer, NETDEV_A_DEV_XDP_FEATURES).map_or(0, u64::from_ne_bytes);
        let has = |wanted: u64| bits & wanted == wanted;
        Ok(Features { native: has(BASIC | REDIRECT), zero_copy: has(ZERO_COPY), in_parts: has(IN_PARTS) })
    }
}

/// One request with one attribute; the attributes of the answer.
fn ask(socket: &Socket, kind: u16, command: u8, attribute: u16, value: &[u8]) -> io::Result<Vec<u8>> {
    socket.send(&request(kind, command, attribute, value), 0)?;
    let mut datagram = Vec::with_capacity(16 * 1024);
    socket.recv(&mut datagram, 0)?;
    attributes(&datagram)
}

fn request(kind: u16, command: u8, attribute: u16, value: &[u8]) -> Vec<u8> {
    let len = HEADER_BYTES + GENERIC_HEADER_BYTES + 4 + value.len().next_multiple_of(4);
    let mut bytes = Vec::with_capacity(len);
    bytes.extend((len as u32).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(NLM_F_REQUEST.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([command, 1, 0, 0]);
    bytes.extend((4 + value.len() as u16).to_ne_bytes());
    bytes.extend(attribute.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(len, 0);
    bytes
}

/// The attributes of an answer, behind both headers.
fn attributes(datagram: &[u8]) -> io::Result<Vec<u8>> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let header = NetlinkBuffer::new_checked(datagram).map_err(|_| invalid())?;
    let end = usize::try_from(header.length()).map_err(|_| invalid())?;
    let body = datagram.get(HEADER_BYTES..end).ok_or_else(invalid)?;
    if header.message_type() == NLMSG_ERROR {
        let number = body.first_chunk().copied().map(i32::from_ne_bytes).ok_or_else(invalid)?;
        return Err(io::Error::from_raw_os_error(number.saturating_abs()));
    }
    body.get(GENERIC_HEADER_BYTES..).map(<[u8]>::to_vec).ok_or_else(invalid)
}

fn attribute<const N: usize>(attributes: &[u8], wanted: u16) -> Option<[u8; N]> {
    let found = NlasIterator::new(attributes).filter_map(Result::ok).find(|nla| nla.kind() == wanted)?;
    found.value().first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_runs_no_programs_in_its_driver() {
        match FeatureList::open() {
            Ok(list) => {
                assert!(!list.of(1).unwrap().native);
                assert!(list.of(u32::MAX).is_err());
            }
            Err(error) => println!("skipped: the kernel keeps no such list ({error})"),
        }
    }

    #[test]
    fn an_answer_cut_short_or_refused_is_an_error() {
        let mut answer = request(0x1d, NETDEV_CMD_DEV_GET, NETDEV_A_DEV_XDP_FEATURES, &7_u64.to_ne_bytes());
        let found = attributes(&answer).unwrap();
        assert_eq!(attribute(&found, NETDEV_A_DEV_XDP_FEATURES).map(u64::from_ne_bytes), Some(7));
        assert_eq!(attribute::<8>(&found, NETDEV_A_DEV_IFINDEX), None);
        for len in 0..answer.len() {
            assert!(attributes(&answer[..len]).is_err(), "{len}");
        }
        answer[4..6].copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
        answer[16..20].copy_from_slice(&(-2_i32).to_ne_bytes());
        assert_eq!(attributes(&answer).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
