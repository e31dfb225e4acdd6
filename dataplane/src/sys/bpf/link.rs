//! A program held at an interface: it goes with the last descriptor, so also with a killed process.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::call_for_descriptor;

const BPF_LINK_CREATE: libc::c_int = 28;
/// `enum bpf_attach_type`.
const BPF_XDP: u32 = 37;

/// Where an XDP program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver, before there is a packet of the stack's own (`XDP_FLAGS_DRV_MODE`).
    Native,
    /// In the stack, for drivers that run none (`XDP_FLAGS_SKB_MODE`).
    Generic,
}

impl XdpMode {
    /// The name, as in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }

    const fn flag(self) -> u32 {
        match self {
            Self::Generic => 1 << 1,
            Self::Native => 1 << 2,
        }
    }
}

/// `union bpf_attr` for `BPF_LINK_CREATE`.
#[repr(C)]
struct LinkRequest {
    program: u32,
    interface: u32,
    attach_type: u32,
    flags: u32,
}

const _: () = assert!(size_of::<LinkRequest>() == 16, "no padding");

/// Attaches a program to an interface of this thread's namespace (Linux 5.9).
///
/// # Errors
/// `EOPNOTSUPP` where the driver does not run programs, `EBUSY` or `EEXIST` where the interface has one, `EPERM` without
/// `CAP_NET_ADMIN`, what the driver says otherwise (an MTU too large: `ERANGE`, `EINVAL` or `EOPNOTSUPP`).
pub(in crate::sys) fn attach_xdp(
    program: BorrowedFd<'_>,
    interface: u32,
    mode: XdpMode,
) -> io::Result<OwnedFd> {
    let request = LinkRequest {
        program: program.as_raw_fd().cast_unsigned(),
        interface,
        attach_type: BPF_XDP,
        flags: mode.flag(),
    };
    // SAFETY: the request holds numbers alone, and makes a descriptor.
    unsafe { call_for_descriptor(BPF_LINK_CREATE, &request) }
}
