//! Which queue of a TAP a frame comes by: a small eBPF program in place of the kernel's own choice.
//!
//! By itself the kernel moves a flow to the queue that last wrote frames of its other direction (`tun_automq_select_queue`
//! of `drivers/net/tun.c`). Frames that wait in the queue the flow leaves are then overtaken by those in the one it comes
//! to. This program picks by the frame alone, so a flow stays where it is: the addresses, and where there are any the
//! ports, of both ends XORed, so that both directions have the same number. Of fragments only the addresses count, so that
//! all fragments of a datagram come by one queue. What is neither IPv4 nor IPv6, or is cut short, comes by the first.
//!
//! A socket filter ([`super::bpf`]); `TUNSETSTEERINGEBPF` since Linux 4.16. Needs `CAP_BPF` (or
//! `CAP_SYS_ADMIN`), or `kernel.unprivileged_bpf_disabled` 0. It reads the frame and nothing else.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use super::bpf::{self, AND, Assembly, COPY, EXIT, Instruction, JUMP, JUMP_IF_NOT, Kind, SET, SHIFT_LEFT};

/// `_IOR('T', 224, int)` of `linux/if_tun.h`.
const TUNSETSTEERINGEBPF: libc::Ioctl = 0x8004_54e0_u32 as libc::Ioctl;

// Opcodes of `linux/bpf.h`; loads put what they find into register 0.
const LOAD_U8: u8 = 0x30;
const LOAD_U16: u8 = 0x28;
const LOAD_U32: u8 = 0x20;
const LOAD_U16_AT: u8 = 0x48;
const XOR: u8 = 0xaf;
const SHIFT_RIGHT: u8 = 0x77;
const MULTIPLY_U32: u8 = 0x24;
const JUMP_IF: u8 = 0x15;

// Registers: the result of loads, the context that loads need, the number, the length of the IP header.
const FOUND: u8 = 0;
const CONTEXT: u8 = 6;
const NUMBER: u8 = 7;
const HEADER: u8 = 8;

/// Places that are jumped to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Label {
    V4,
    V6,
    Transport,
    Ports,
    Mix,
}

/// Loads a word and mixes it in.
fn mix_in(program: &mut Assembly<Label>, load: u8, from: u8, at: i32) {
    program.put(load, 0, from, at);
    program.put(XOR, NUMBER, FOUND, 0);
}

/// The program. Offsets count from the start of the Ethernet frame.
fn program() -> Vec<Instruction> {
    let mut program = Assembly::new();
    program.put(COPY, CONTEXT, 1, 0);
    program.put(SET, NUMBER, 0, 0);
    program.put(LOAD_U16, 0, 0, 12);
    program.jump(JUMP_IF, FOUND, 0x0800, Label::V4);
    program.jump(JUMP_IF, FOUND, 0x86dd, Label::V6);
    program.jump(JUMP, FOUND, 0, Label::Mix);

    program.place(Label::V4);
    for address in [26, 30] {
        mix_in(&mut program, LOAD_U32, 0, address);
    }
    // More fragments, or an offset.
    program.put(LOAD_U16, 0, 0, 20);
    program.put(AND, FOUND, 0, 0x3fff);
    program.jump(JUMP_IF_NOT, FOUND, 0, Label::Mix);
    program.put(LOAD_U8, 0, 0, 14);
    program.put(AND, FOUND, 0, 0x0f);
    program.put(SHIFT_LEFT, FOUND, 0, 2);
    program.put(COPY, HEADER, FOUND, 0);
    program.put(LOAD_U8, 0, 0, 23);
    program.jump(JUMP, FOUND, 0, Label::Transport);

    program.place(Label::V6);
    for word in 0..8 {
        mix_in(&mut program, LOAD_U32, 0, 22 + 4 * word);
    }
    program.put(SET, HEADER, 0, 40);
    program.put(LOAD_U8, 0, 0, 20);

    program.place(Label::Transport);
    for protocol in [libc::IPPROTO_TCP, libc::IPPROTO_UDP, libc::IPPROTO_SCTP] {
        program.jump(JUMP_IF, FOUND, protocol, Label::Ports);
    }
    program.jump(JUMP, FOUND, 0, Label::Mix);

    program.place(Label::Ports);
    for port in [14, 16] {
        mix_in(&mut program, LOAD_U16_AT, HEADER, port);
    }

    program.place(Label::Mix);
    // The golden ratio of 2^32: its upper half depends on every bit.
    program.put(MULTIPLY_U32, NUMBER, 0, 0x9e37_79b1_u32.cast_signed());
    program.put(SHIFT_RIGHT, NUMBER, 0, 16);
    program.put(COPY, FOUND, NUMBER, 0);
    program.put(EXIT, 0, 0, 0);
    program.finish()
}

/// Makes the TAP's queues receive by flow, and by nothing else.
///
/// # Errors
/// `PermissionDenied` where programs may not be loaded; the kernel's own choice stays then.
pub fn by_flow(tap: &File) -> io::Result<()> {
    let program = bpf::load(Kind::SocketFilter, &program())?;
    let descriptor = program.as_raw_fd();
    // SAFETY: the kernel reads one `int`, which lives to the end of the call, and takes a reference of its own to what the
    // descriptor stands for.
    let result = unsafe { libc::ioctl(tap.as_raw_fd(), TUNSETSTEERINGEBPF, &raw const descriptor) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_takes_the_program() {
        match bpf::load(Kind::SocketFilter, &program()) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                println!("skipped: no right to load programs ({error})");
            }
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn every_jump_stays_inside() {
        let program = program();
        for (at, [code, _, d0, d1, ..]) in program.iter().enumerate() {
            if [JUMP, JUMP_IF, JUMP_IF_NOT].contains(code) {
                let distance = usize::from(u16::from_ne_bytes([*d0, *d1]));
                assert!(at + 1 + distance < program.len(), "{at}");
            }
        }
    }
}
