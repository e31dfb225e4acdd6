//! eBPF programs: how they are written down and handed to the kernel, and the one that redirects.
//!
//! ```text
//!  packet of a link ─► tc ingress: bpf_redirect_neigh(interface) ─► route, neighbour ─► transmit queue
//! ```
//! Programs of a few instructions, written down rather than compiled: weir needs no compiler and no loader.
//! [`redirect_neigh`]'s helper looks up the route and the neighbour as the stack would (`bpf-helpers(7)`, Linux 5.10), so
//! the frame's own MACs mean nothing. The program that steers a TAP's queues is in [`super::steering`], the one that takes
//! the tunnel's datagrams out of an interface in [`super::xdp`]. Those with jumps are written with `Assembly`; the sockets
//! a program may redirect to are in a `map`, what holds it at an interface is a `link`.
//!
//! `bpf(2)`. Needs `CAP_BPF` and, for all but socket filters, `CAP_NET_ADMIN`; or `CAP_SYS_ADMIN` before Linux 5.8. The
//! kernel checks a program before it takes it. Control side only.
#![allow(unsafe_code)]

mod assembly;
mod link;
mod map;

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

pub(super) use assembly::Assembly;
pub use link::XdpMode;
pub(super) use link::attach_xdp;
pub(super) use map::SocketMap;

const BPF_PROG_LOAD: libc::c_int = 5;
const REDIRECT_NEIGH: i32 = 152;

/// `BPF_F_XDP_HAS_FRAGS` (Linux 5.18): the program may see the first part of a frame only.
pub(super) const IN_PARTS: u32 = 1 << 5;

// Opcodes of `linux/bpf.h` that more than one program has.
pub(super) const SET: u8 = 0xb7;
pub(super) const EXIT: u8 = 0x95;
pub(super) const CALL: u8 = 0x85;
pub(super) const COPY: u8 = 0xbf;
pub(super) const JUMP: u8 = 0x05;
pub(super) const JUMP_IF_NOT: u8 = 0x55;
pub(super) const AND: u8 = 0x57;
pub(super) const SHIFT_LEFT: u8 = 0x67;

/// What a program is for: `BPF_PROG_TYPE_…`.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// Looks at a frame and returns a number.
    SocketFilter = 1,
    /// Decides in tc.
    SchedCls = 3,
    /// Decides in the driver, before the stack.
    Xdp = 6,
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
    load_with(kind, instructions, 0)
}

/// Loads a program with flags of `BPF_PROG_LOAD`.
///
/// # Errors
/// As with [`load`].
pub(super) fn load_with(kind: Kind, instructions: &[Instruction], flags: u32) -> io::Result<OwnedFd> {
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
        flags,
    };
    // SAFETY: through `request` the kernel reads the instructions and the text, whose addresses and count it holds; both
    // live to the end of the call.
    unsafe { call_for_descriptor(BPF_PROG_LOAD, &request) }
}

/// `bpf(2)`, with a request that the kernel only reads.
///
/// # Safety
/// `T` is the head of `union bpf_attr` as `command` has it, without padding; what its addresses stand for may be read,
/// where the command has the kernel read it, in the length the command says, to the end of the call.
unsafe fn call<T>(command: libc::c_int, request: &T) -> io::Result<libc::c_long> {
    // SAFETY: the kernel reads as many bytes of `request` as are given; what stands behind its addresses is the caller's
    // promise.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(request), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// A call that makes a descriptor.
///
/// # Safety
/// As with [`call`]; and the command makes a descriptor.
unsafe fn call_for_descriptor<T>(command: libc::c_int, request: &T) -> io::Result<OwnedFd> {
    // SAFETY: the caller's promise.
    let fd = unsafe { call(command, request) }?;
    let fd = i32::try_from(fd).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `union bpf_attr` for `BPF_PROG_TEST_RUN`.
#[cfg(test)]
#[repr(C)]
struct RunRequest {
    program: u32,
    answer: u32,
    input_bytes: u32,
    output_bytes: u32,
    input: u64,
    output: u64,
    repeat: u32,
    duration: u32,
}

/// Has the kernel run an XDP program on a frame, of 14 bytes at the least, that comes from nowhere; what it says.
#[cfg(test)]
pub(super) fn try_run(program: std::os::fd::BorrowedFd<'_>, frame: &[u8]) -> io::Result<u32> {
    use std::os::fd::AsRawFd;

    const BPF_PROG_TEST_RUN: libc::c_int = 10;
    let mut request = RunRequest {
        program: program.as_raw_fd().cast_unsigned(),
        answer: 0,
        input_bytes: frame.len() as u32,
        output_bytes: 0,
        input: frame.as_ptr().addr() as u64,
        output: 0,
        repeat: 1,
        duration: 0,
    };
    // SAFETY: the kernel reads `input_bytes` of `frame`, and writes the answer into `request`, which nobody else looks at;
    // both live to the end of the call.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_TEST_RUN, &raw mut request, size_of::<RunRequest>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(request.answer) }
}
