//! One eBPF program: "hand every packet to that interface, and find its next hop".
//!
//! ```text
//!  packet of a link ─► tc ingress: bpf_redirect_neigh(interface) ─► route, neighbour ─► transmit queue
//! ```
//! Six instructions, written down here rather than compiled: weir needs no compiler and no loader. The helper looks up
//! the route and the neighbour as the stack would (`bpf-helpers(7)`, Linux 5.10), so the frame's own MACs mean nothing.
//!
//! Needs `CAP_BPF` and `CAP_NET_ADMIN`, or `CAP_SYS_ADMIN` before Linux 5.8. Control side only.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_TYPE_SCHED_CLS: u32 = 3;
const REDIRECT_NEIGH: i32 = 152;

/// `struct bpf_insn` of `linux/bpf.h`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Instruction {
    code: u8,
    /// Destination register in the lower half, source in the upper.
    registers: u8,
    offset: i16,
    immediate: i32,
}

impl Instruction {
    const fn load(register: u8, immediate: i32) -> Self {
        Self { code: 0xb7, registers: register, offset: 0, immediate }
    }

    const fn call(helper: i32) -> Self {
        Self { code: 0x85, registers: 0, offset: 0, immediate: helper }
    }

    const EXIT: Self = Self { code: 0x95, registers: 0, offset: 0, immediate: 0 };
}

/// The part of `union bpf_attr` that loading a program reads; the kernel takes what is not given for zero.
#[repr(C)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
}

/// Loads a tc program that redirects every packet to the interface, with neighbour resolution.
///
/// # Errors
/// `EPERM` without the capabilities, `EINVAL` where the kernel does not know the helper, `ENOSYS` without eBPF.
pub fn redirect_neigh(interface: u32) -> io::Result<OwnedFd> {
    let interface = i32::try_from(interface).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let program = [
        Instruction::load(1, interface),
        // No next hop given: the helper looks the route up.
        Instruction::load(2, 0),
        Instruction::load(3, 0),
        Instruction::load(4, 0),
        Instruction::call(REDIRECT_NEIGH),
        Instruction::EXIT,
    ];
    let load = Load {
        kind: BPF_PROG_TYPE_SCHED_CLS,
        count: program.len() as u32,
        instructions: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
    };
    // SAFETY: the kernel reads `Load`, the instructions and the license, all of which outlive the call, and no byte
    // beyond the length given.
    let descriptor = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const load, size_of::<Load>() as libc::c_uint)
    };
    let descriptor = i32::try_from(descriptor).ok().filter(|descriptor| *descriptor >= 0);
    // SAFETY: the descriptor is fresh, valid, and owned by nobody else.
    descriptor
        .map(|descriptor| unsafe { OwnedFd::from_raw_fd(descriptor) })
        .ok_or_else(io::Error::last_os_error)
}
