//! Offload features of an interface, read and set as `ethtool -k` and `ethtool -K` do, without that program.
//!
//! The kernel's netlink family `ethtool` (Linux 5.7; Documentation/networking/ethtool-netlink.rst), which names each
//! feature. One request, one answer; the kernel has answered when the request is written.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};

use dataplane::sys::{netns::Netns, socket};

const NLM_F_REQUEST_ACK: u16 = 0x1 | 0x4;
const NLMSG_ERROR: u16 = 2;
const MESSAGE_HEADER: usize = 16;
const GENERIC_HEADER: usize = 4;
const NESTED: u16 = 0x8000;

const CONTROL: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;

const FEATURES_GET: u8 = 11;
const FEATURES_SET: u8 = 12;
const FEATURES_HEADER: u16 = 1;
const FEATURES_WANTED: u16 = 3;
const FEATURES_ACTIVE: u16 = 4;
const HEADER_DEV_NAME: u16 = 2;
const BITSET_BITS: u16 = 3;
const BITSET_BIT: u16 = 1;
const BIT_NAME: u16 = 2;
const BIT_VALUE: u16 = 3;

/// The features of one interface.
pub(crate) struct Features {
    socket: File,
    family: u16,
    interface: String,
}

impl Features {
    /// Those of an interface in a namespace.
    pub(crate) fn of(netns: &Netns, interface: &str) -> io::Result<Self> {
        let fd = netns.run(|| socket::open(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_GENERIC))??;
        let mut features = Self { socket: File::from(fd), family: CONTROL, interface: interface.to_owned() };
        let answers = features.exchange(GET_FAMILY, &attribute(FAMILY_NAME, b"ethtool\0"))?;
        let id = answers.iter().find_map(|answer| find(answer, FAMILY_ID)?.first_chunk().copied());
        features.family = u16::from_ne_bytes(id.ok_or(io::ErrorKind::Unsupported)?);
        Ok(features)
    }

    /// The names of those that are in effect.
    pub(crate) fn active(&mut self) -> io::Result<BTreeSet<String>> {
        let answers = self.exchange(FEATURES_GET, &self.header())?;
        let bits = answers.iter().find_map(|answer| find(find(answer, FEATURES_ACTIVE)?, BITSET_BITS));
        let bits = attributes(bits.unwrap_or_default()).filter(|(kind, _)| *kind == BITSET_BIT);
        let names = bits.filter_map(|(_, bit)| find(bit, BIT_NAME));
        Ok(names.map(|name| String::from_utf8_lossy(name).trim_end_matches('\0').to_owned()).collect())
    }

    /// Turns some on or off. What the interface cannot change stays as it is.
    pub(crate) fn set(&mut self, names: &[&str], on: bool) -> io::Result<()> {
        let bits: Vec<u8> = names
            .iter()
            .flat_map(|name| {
                let mut bit = attribute(BIT_NAME, format!("{name}\0").as_bytes());
                if on {
                    bit.extend(attribute(BIT_VALUE, &[]));
                }
                attribute(BITSET_BIT | NESTED, &bit)
            })
            .collect();
        let wanted = attribute(FEATURES_WANTED | NESTED, &attribute(BITSET_BITS | NESTED, &bits));
        self.exchange(FEATURES_SET, &[self.header(), wanted].concat()).map(drop)
    }

    fn header(&self) -> Vec<u8> {
        let name = attribute(HEADER_DEV_NAME, format!("{}\0", self.interface).as_bytes());
        attribute(FEATURES_HEADER | NESTED, &name)
    }

    /// The attributes of the answers to a request.
    fn exchange(&mut self, command: u8, body: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let length = (MESSAGE_HEADER + GENERIC_HEADER + body.len()) as u32;
        let mut request = length.to_ne_bytes().to_vec();
        request.extend(self.family.to_ne_bytes());
        request.extend(NLM_F_REQUEST_ACK.to_ne_bytes());
        // Sequence number and sender, command and version, reserved.
        request.extend([0; 8]);
        request.extend([command, 1, 0, 0]);
        request.extend(body);
        self.socket.write_all(&request)?;
        let mut answers = Vec::new();
        loop {
            let mut datagram = vec![0; 64 * 1024];
            let count = self.socket.read(&mut datagram)?;
            let mut rest = &datagram[..count];
            while rest.len() >= MESSAGE_HEADER {
                let length = u32::from_ne_bytes(*rest.first_chunk().unwrap()) as usize;
                let (message, behind) = rest.split_at(length.clamp(MESSAGE_HEADER, rest.len()));
                rest = behind;
                if u16::from_ne_bytes([message[4], message[5]]) != NLMSG_ERROR {
                    answers.push(message.get(MESSAGE_HEADER + GENERIC_HEADER..).unwrap_or_default().to_vec());
                    continue;
                }
                let code =
                    message[MESSAGE_HEADER..].first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
                return if code == 0 { Ok(answers) } else { Err(io::Error::from_raw_os_error(-code)) };
            }
        }
    }
}

fn attribute(kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = ((payload.len() + 4) as u16).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let [l0, l1, k0, k1] = *bytes.first_chunk()?;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let payload = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([k0, k1]) & !NESTED, payload))
    })
}

fn find(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(kind, _)| *kind == wanted).map(|(_, payload)| payload)
}
