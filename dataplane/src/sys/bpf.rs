//! eBPF programs: how they are written down and handed to the kernel, and the one that redirects.
//!
//! ```text
//!  packet of a link ─► tc ingress: bpf_redirect_neigh(interface) ─► route, neighbour ─► transmit queue
//! ```
//! Programs of a few instructions, written down rather than compiled: weir needs no compiler and no loader.
//! [`redirect_neigh`]'s helper looks up the route and the neighbour as the stack would (`bpf-helpers(7)`, Linux 5.10), so
//! the frame's own MACs mean nothing. The program that steers a TAP's queues is in [`super::steering`].
//!
//! `bpf(2)`. Needs `CAP_BPF` and, for [`redirect_neigh`], `CAP_NET_ADMIN`; or `CAP_SYS_ADMIN` before Linux 5.8. The kernel
//! checks a program before it takes it. Control side only.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

const BPF_PROG_LOAD: libc::c_int = 5;
const REDIRECT_NEIGH: i32 = 152;

// Opcodes of `linux/bpf.h` that more than one program has.
pub(super) const SET: u8 = 0xb7;
pub(super) const EXIT: u8 = 0x95;
const CALL: u8 = 0x85;

/// What a program is for: `BPF_PROG_TYPE_…`.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// Looks at a frame and returns a number.
    SocketFilter = 1,
    /// Decides in tc.
    SchedCls = 3,
}

/// `struct bpf_insn`.
pub(super) type Instruction = [u8; 8];

/// An instruction without a jump's distance, which goes into its third and fourth byte.
pub(super) fn instruction(code: u8, to: u8, from: u8, number: i32) -> Instruction {
    let [n0, n1, n2, n3] = number.to_ne_bytes();
    // Two fields of four bits share a byte, in the order of bytes.
    let registers = if cfg!(target_endian = "big") { to << 4 | from } else { from << 4 | to };
    [code, registers, 0, 0, n0, n1, n2, n3]
}

/// Loads a tc program that redirects every packet to the interface, with neighbour resolution.
///
/// # Errors
/// `PermissionDenied` without the capabilities, `EINVAL` where the kernel does not know the helper.
pub fn redirect_neigh(interface: u32) -> io::Result<OwnedFd> {
    let interface = i32::try_from(interface).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let program = [
        instruction(SET, 1, 0, interface),
        // No next hop given: the helper looks the route up.
        instruction(SET, 2, 0, 0),
        instruction(SET, 3, 0, 0),
        instruction(SET, 4, 0, 0),
        instruction(CALL, 0, 0, REDIRECT_NEIGH),
        instruction(EXIT, 0, 0, 0),
    ];
    load(Kind::SchedCls, &program)
}

/// The head of `union bpf_attr` for `BPF_PROG_LOAD`; fields behind it count as zero.
#[repr(C)]
struct LoadRequest {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

const _: () = assert!(size_of::<LoadRequest>() == 48, "no padding");

/// Loads a program.
///
/// # Errors
/// `PermissionDenied` without the capabilities, `EINVAL` where the kernel does not know a helper, `ENOSYS` without eBPF.
pub(super) fn load(kind: Kind, instructions: &[Instruction]) -> io::Result<OwnedFd> {
    let license = c"Apache-2.0";
    let request = LoadRequest {
        kind: kind as u32,
        instruction_count: instructions.len() as u32,
        instructions: instructions.as_ptr().addr() as u64,
        license: license.as_ptr().addr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    let len = size_of::<LoadRequest>();
    // SAFETY: the kernel reads `len` bytes of `request`, and through it the instructions and the text, whose addresses and
    // count it holds; all of them live to the end of the call.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const request, len) };
    let Ok(fd) = i32::try_from(fd) else { return Err(io::Error::from(io::ErrorKind::InvalidData)) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
