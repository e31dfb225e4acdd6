//! TAP interfaces: `/dev/net/tun` and its ioctls.
//!
//! A descriptor belongs to the network namespace of the thread that opened `/dev/net/tun`, and so does the
//! interface it makes; afterwards it is read and written from anywhere. Reading and writing need no more
//! than [`std::fs::File`], so the frames themselves pass through safe code.
//!
//! Kernel: documentation/networking/tuntap, `drivers/net/tun.c`. Needs `CAP_NET_ADMIN` in the namespace, or
//! an interface that was made for this user (`ip tuntap add … user`). UDP segmentation (USO) from Linux 6.2.
#![allow(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

use super::vnet::VNET_LEN;

/// Longest interface name.
pub const NAME_BYTES: usize = libc::IFNAMSIZ - 1;

const DEVICE: &str = "/dev/net/tun";

/// What every kernel grants.
pub(super) const TCP_OFFLOADS: u32 =
    libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
const UDP_OFFLOADS: u32 = libc::TUN_F_USO4 | libc::TUN_F_USO6;

/// What the TAP hands over and takes without the kernel cutting or summing it first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offloads {
    /// Checksums and TCP super-packets.
    Tcp,
    /// Those and UDP super-packets.
    TcpAndUdp,
}

/// Opens one queue of the TAP `name` in the namespace of the calling thread, making the interface where it
/// does not exist: frames with a vnet header, non-blocking. An interface that was made for several queues or
/// without a vnet header is taken as well.
///
/// # Errors
/// What is missing, and how to mend it.
pub fn open(name: &str) -> io::Result<File> {
    open_as(name, [0, libc::IFF_MULTI_QUEUE]).map(|(device, _)| device)
}

/// Opens up to `count` queues of the TAP `name`, which is made for several where it does not exist. One that was
/// made for a single queue gives that one.
///
/// # Errors
/// As with [`open`]; what was opened is closed again.
pub fn open_queues(name: &str, count: usize) -> io::Result<Vec<File>> {
    if count <= 1 {
        return open(name).map(|device| vec![device]);
    }
    let (first, kind) = open_as(name, [libc::IFF_MULTI_QUEUE, 0])?;
    let mut queues = vec![first];
    while queues.len() < count && kind == libc::IFF_MULTI_QUEUE {
        queues.push(open_as(name, [kind, kind])?.0);
    }
    Ok(queues)
}

/// Opens a queue as one of these kinds of interface; which of them it is.
fn open_as(name: &str, [kind, other]: [libc::c_int; 2]) -> io::Result<(File, libc::c_int)> {
    check_name(name)?;
    let device = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(DEVICE)
        .map_err(|error| explain_device(&error))?;
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    let kind = match set_interface(&device, name, flags | kind) {
        // An interface made for several queues takes none without this flag, and one made for a single queue
        // none with it. There is no asking: sysfs shows the namespace it was mounted in, not this one.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            set_interface(&device, name, flags | other).map(|()| other)
        }
        outcome => outcome.map(|()| kind),
    }
    .map_err(|error| explain_interface(name, &error))?;
    set_vnet_len(&device, VNET_LEN)?;
    Ok((device, kind))
}

/// Asks for as much offload as the kernel has; what it granted.
///
/// # Errors
/// Not even TCP's, which every kernel since 2.6.27 has.
pub fn set_offloads(tap: &File) -> io::Result<Offloads> {
    if set_offload_flags(tap, TCP_OFFLOADS | UDP_OFFLOADS).is_ok() {
        return Ok(Offloads::TcpAndUdp);
    }
    set_offload_flags(tap, TCP_OFFLOADS)?;
    Ok(Offloads::Tcp)
}

/// Whether the TAP takes encapsulated super-packets whole (`TUN_F_UDP_TUNNEL_GSO`, `TUN_F_UDP_TUNNEL_GSO_CSUM`). To be
/// asked of a TAP made for the question: it is left with these offloads.
///
/// # Errors
/// The kernel does not have them.
pub fn try_tunnel_offload(tap: &File) -> io::Result<()> {
    const TUNNEL_OFFLOADS: u32 = 0x80 | 0x100;
    set_offload_flags(tap, TCP_OFFLOADS | UDP_OFFLOADS | TUNNEL_OFFLOADS)
}

/// Whether the interface outlives the descriptor.
pub fn set_persistent(tap: &File, persistent: bool) -> io::Result<()> {
    // SAFETY: the request takes a number, not a pointer, and the descriptor is open.
    check(unsafe { libc::ioctl(tap.as_raw_fd(), libc::TUNSETPERSIST, libc::c_ulong::from(persistent)) })
}

fn set_interface(tap: &File, name: &str, flags: libc::c_int) -> io::Result<()> {
    let mut name_bytes = [0; libc::IFNAMSIZ];
    for (to, from) in name_bytes.iter_mut().zip(name.bytes().take(NAME_BYTES)) {
        #[allow(clippy::cast_possible_wrap, reason = "signed on some targets, the same byte on all")]
        let byte = from as libc::c_char;
        *to = byte;
    }
    let mut request = libc::ifreq {
        ifr_name: name_bytes,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags as libc::c_short },
    };
    // SAFETY: the kernel reads and writes one `ifreq`, which lives to the end of the call, with name and flags set.
    check(unsafe { libc::ioctl(tap.as_raw_fd(), libc::TUNSETIFF, &raw mut request) })
}

pub(super) fn set_offload_flags(tap: &File, flags: u32) -> io::Result<()> {
    // SAFETY: the request takes a number, not a pointer, and the descriptor is open.
    check(unsafe { libc::ioctl(tap.as_raw_fd(), libc::TUNSETOFFLOAD, libc::c_ulong::from(flags)) })
}

/// Sets how long the vnet header of each frame is.
pub(super) fn set_vnet_len(tap: &File, len: usize) -> io::Result<()> {
    let len = libc::c_int::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the kernel reads one `int`, which lives to the end of the call.
    check(unsafe { libc::ioctl(tap.as_raw_fd(), libc::TUNSETVNETHDRSZ, &raw const len) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The kernel takes `%d` in a name for "choose a number", and cuts long names without a word.
fn check_name(name: &str) -> io::Result<()> {
    let bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | ':' | '%');
    if name.is_empty() || name.len() > NAME_BYTES || name == "." || name == ".." || name.contains(bad) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "{name:?} cannot name an interface: expected 1 to {NAME_BYTES} bytes without spaces, '/', ':' or '%'"
            ),
        ));
    }
    Ok(())
}

fn explain_device(error: &io::Error) -> io::Error {
    let remedy = match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => {
            ": the tun driver is missing: run `modprobe tun`, or start the container with `--device /dev/net/tun`"
        }
        Some(libc::EPERM | libc::EACCES) => {
            ": the device may not be opened: allow it to this user, or to the container with `--device /dev/net/tun`"
        }
        _ => "",
    };
    io::Error::new(error.kind(), format!("cannot open {DEVICE}{remedy} ({error})"))
}

fn explain_interface(name: &str, error: &io::Error) -> io::Error {
    let reason = match error.raw_os_error() {
        Some(libc::EPERM) => {
            ": CAP_NET_ADMIN is missing in its network namespace, or it belongs to another user"
        }
        Some(libc::EBUSY) => {
            ": another process holds it (`ls -l /proc/*/fd 2>/dev/null | grep net/tun` shows who)"
        }
        Some(libc::EINVAL) => ": an interface of this name exists that is no TAP",
        _ => "",
    };
    io::Error::new(error.kind(), format!("cannot attach to TAP {name}{reason} ({error})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_the_kernel_would_cut_or_expand_is_refused() {
        for name in ["", ".", "..", "sixteen-bytes-xx", "tap%d", "a b", "a/b", "a:b", "a\0b"] {
            assert_eq!(open(name).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{name:?}");
        }
        assert!(check_name("fifteen-bytes-x").is_ok());
    }

    #[test]
    fn a_tap_made_for_several_queues_and_without_vnet_header_is_taken() {
        use crate::sys::netns::Netns;
        let name = format!("d-tun-{}", std::process::id());
        let netns = match Netns::create(&name) {
            Ok(netns) => netns,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                assert!(
                    std::env::var("CI").as_deref() != Ok("true"),
                    "namespaces are needed under CI: {error}"
                );
                println!("skipped: no right to make a network namespace ({error})");
                return;
            }
            Err(error) => panic!("{error}"),
        };
        let reopened = netns.run(|| {
            for (interface, extra) in [("many0", libc::IFF_MULTI_QUEUE), ("one0", 0)] {
                let maker = OpenOptions::new().read(true).write(true).open(DEVICE)?;
                set_interface(&maker, interface, libc::IFF_TAP | libc::IFF_NO_PI | extra)?;
                set_persistent(&maker, true)?;
                drop(maker);
                set_offloads(&open(interface)?)?;
            }
            let tun = OpenOptions::new().read(true).write(true).open(DEVICE)?;
            set_interface(&tun, "tun0", libc::IFF_TUN | libc::IFF_NO_PI)?;
            Ok::<_, io::Error>(open("tun0").unwrap_err().to_string())
        });
        Netns::delete(&name).unwrap();
        let refused = reopened.unwrap().unwrap();
        assert!(refused.contains("no TAP"), "{refused}");
    }

    #[test]
    fn a_missing_device_names_the_module_and_a_busy_tap_its_holder() {
        let text = |number| explain_device(&io::Error::from_raw_os_error(number)).to_string();
        assert!(text(libc::ENOENT).contains("modprobe tun"));
        let text = |number| explain_interface("eth0", &io::Error::from_raw_os_error(number)).to_string();
        assert!(text(libc::EBUSY).contains("another process"));
        assert!(text(libc::EPERM).contains("CAP_NET_ADMIN"));
    }
}
