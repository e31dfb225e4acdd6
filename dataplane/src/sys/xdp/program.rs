//! Which frames come to weir: the text of the XDP program.
//!
//! ```text
//!  frame ─► IPv4 or IPv6? ─► to one of our addresses? ─► UDP, unfragmented? ─► to the tunnel's port? ─► socket of the queue
//!              └──────────────────┴──────── no ────────────────┴───────────────────┴─► the kernel, untouched
//! ```
//! What is cut short, tagged or fragmented goes to the kernel too, and so does everything on a queue without a socket. (A tag
//! that a card has taken out of the frame is beside it, where XDP does not see it.) IPv4
//! options are stepped over. An IPv6 datagram behind extension headers is the kernel's: VTEPs send none (RFC 7348,
//! section 5). Nothing is believed but what decides whom a datagram is for: lengths and sums are checked by the pipeline's
//! decap.
//!
//! The kernel's verifier wants every load proven to be within the frame: hence a comparison with its end before each
//! header.

use std::net::IpAddr;

use crate::sys::bpf::{AND, Assembly, CALL, COPY, EXIT, Instruction, JUMP, JUMP_IF_NOT, SET, SHIFT_LEFT};

// Opcodes of `linux/bpf.h`.
const LOAD_U8: u8 = 0x71;
const LOAD_U16: u8 = 0x69;
const LOAD_U32: u8 = 0x61;
const LOAD_MAP: u8 = 0x18;
const MAP_BY_DESCRIPTOR: u8 = 1;
const ADD: u8 = 0x07;
const ADD_REGISTER: u8 = 0x0f;
const JUMP_IF: u8 = 0x15;
const JUMP_IF_ABOVE: u8 = 0x2d;
const JUMP_IF_BELOW_NUMBER: u8 = 0xa5;
/// Compares 32 bits.
const JUMP_IF_NOT_U32: u8 = 0x56;
const REDIRECT_MAP: i32 = 51;
/// On to the kernel.
pub(super) const XDP_PASS: i32 = 2;

// `struct xdp_md`.
const DATA: i16 = 0;
const DATA_END: i16 = 4;
const RX_QUEUE: i16 = 16;

// Registers. The context comes in the first.
const FOUND: u8 = 0;
const CONTEXT: u8 = 6;
const START: u8 = 7;
const END: u8 = 8;
/// Where the UDP header begins.
const UDP: u8 = 9;
const SCRATCH: u8 = 2;

const ETHERNET: i16 = 14;
const IPV4: i16 = 20;
const IPV6: i16 = 40;
const UDP_BYTES: i32 = 8;

/// Places that are jumped to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Label {
    V4,
    V6,
    /// Behind the comparison with the address of this number.
    NextAddress(usize),
    V4Ours,
    V6Ours,
    Port,
    Pass,
}

/// A number as a load of that many bytes of a frame finds it.
fn as_loaded_u16(value: u16) -> i32 {
    i32::from(u16::from_ne_bytes(value.to_be_bytes()))
}

/// The program that redirects datagrams to `port` of one of the `locals` by the map; where the map has no socket for the
/// queue it ends as told. Of the addresses, one at the least, [`MOST_LOCALS`] are looked at.
pub(super) fn program(locals: &[IpAddr], port: u16, map: i32, without_socket: i32) -> Vec<Instruction> {
    let mut program = Assembly::new();
    // The verifier refuses what cannot be reached: of a family without addresses there is nothing.
    let locals = locals.get(..MOST_LOCALS).unwrap_or(locals);
    let (v4, v6) = (locals.iter().any(IpAddr::is_ipv4), locals.iter().any(IpAddr::is_ipv6));
    program.put(COPY, CONTEXT, 1, 0);
    program.put_at(LOAD_U32, START, CONTEXT, DATA);
    program.put_at(LOAD_U32, END, CONTEXT, DATA_END);
    within(&mut program, ETHERNET);
    program.put_at(LOAD_U16, FOUND, START, 12);
    for (wanted, ethertype, label) in [(v4, 0x0800, Label::V4), (v6, 0x86dd, Label::V6)] {
        if wanted {
            program.jump(JUMP_IF, FOUND, as_loaded_u16(ethertype), label);
        }
    }
    program.jump(JUMP, 0, 0, Label::Pass);
    if v4 {
        over_ipv4(&mut program, locals);
    }
    if v6 {
        over_ipv6(&mut program, locals);
    }

    program.place(Label::Port);
    program.put(COPY, SCRATCH, UDP, 0);
    program.put(ADD, SCRATCH, 0, UDP_BYTES);
    program.jump_by(JUMP_IF_ABOVE, SCRATCH, END, Label::Pass);
    program.put_at(LOAD_U16, FOUND, UDP, 2);
    program.jump(JUMP_IF_NOT, FOUND, as_loaded_u16(port), Label::Pass);
    // bpf_redirect_map(map, queue, what to do without a socket)
    program.put_at(LOAD_U32, 2, CONTEXT, RX_QUEUE);
    program.put(LOAD_MAP, 1, MAP_BY_DESCRIPTOR, map);
    program.put(0, 0, 0, 0);
    program.put(SET, 3, 0, without_socket);
    program.put(CALL, 0, 0, REDIRECT_MAP);
    program.put(EXIT, 0, 0, 0);

    program.place(Label::Pass);
    program.put(SET, FOUND, 0, XDP_PASS);
    program.put(EXIT, 0, 0, 0);
    program.finish()
}

fn over_ipv4(program: &mut Assembly<Label>, locals: &[IpAddr]) {
    program.place(Label::V4);
    within(program, ETHERNET + IPV4);
    program.put_at(LOAD_U8, FOUND, START, ETHERNET + 9);
    program.jump(JUMP_IF_NOT, FOUND, libc::IPPROTO_UDP, Label::Pass);
    // More fragments, or an offset.
    program.put_at(LOAD_U16, FOUND, START, ETHERNET + 6);
    program.put(AND, FOUND, 0, as_loaded_u16(0x3fff));
    program.jump(JUMP_IF_NOT, FOUND, 0, Label::Pass);
    program.put_at(LOAD_U32, FOUND, START, ETHERNET + 16);
    for (number, local) in locals.iter().enumerate() {
        if let IpAddr::V4(address) = local {
            compare(program, FOUND, address.octets(), Label::NextAddress(number));
            program.jump(JUMP, 0, 0, Label::V4Ours);
            program.place(Label::NextAddress(number));
        }
    }
    program.jump(JUMP, 0, 0, Label::Pass);

    program.place(Label::V4Ours);
    program.put_at(LOAD_U8, FOUND, START, ETHERNET);
    program.put(COPY, SCRATCH, FOUND, 0);
    program.put(AND, SCRATCH, 0, 0xf0);
    program.jump(JUMP_IF_NOT, SCRATCH, 0x40, Label::Pass);
    program.put(AND, FOUND, 0, 0x0f);
    program.put(SHIFT_LEFT, FOUND, 0, 2);
    program.jump(JUMP_IF_BELOW_NUMBER, FOUND, i32::from(IPV4), Label::Pass);
    program.put(COPY, UDP, START, 0);
    program.put(ADD, UDP, 0, i32::from(ETHERNET));
    program.put(ADD_REGISTER, UDP, FOUND, 0);
    program.jump(JUMP, 0, 0, Label::Port);
}

/// Ends in front of the comparison of the port.
fn over_ipv6(program: &mut Assembly<Label>, locals: &[IpAddr]) {
    program.place(Label::V6);
    within(program, ETHERNET + IPV6);
    program.put_at(LOAD_U8, FOUND, START, ETHERNET + 6);
    program.jump(JUMP_IF_NOT, FOUND, libc::IPPROTO_UDP, Label::Pass);
    for (number, local) in locals.iter().enumerate() {
        if let IpAddr::V6(address) = local {
            let octets = address.octets();
            for (at, word) in (ETHERNET + 24..).step_by(4).zip(octets.as_chunks::<4>().0) {
                program.put_at(LOAD_U32, FOUND, START, at);
                compare(program, FOUND, *word, Label::NextAddress(number));
            }
            program.jump(JUMP, 0, 0, Label::V6Ours);
            program.place(Label::NextAddress(number));
        }
    }
    program.jump(JUMP, 0, 0, Label::Pass);

    program.place(Label::V6Ours);
    program.put(COPY, UDP, START, 0);
    program.put(ADD, UDP, 0, i32::from(ETHERNET + IPV6));
}

/// More addresses than a node has on an interface; a bound on the program's length.
pub(super) const MOST_LOCALS: usize = 64;

/// On to the end if the frame does not have that many bytes.
fn within(program: &mut Assembly<Label>, bytes: i16) {
    program.put(COPY, SCRATCH, START, 0);
    program.put(ADD, SCRATCH, 0, i32::from(bytes));
    program.jump_by(JUMP_IF_ABOVE, SCRATCH, END, Label::Pass);
}

/// On to `otherwise` unless the register holds these four bytes of a frame.
fn compare(program: &mut Assembly<Label>, register: u8, bytes: [u8; 4], otherwise: Label) {
    program.jump(JUMP_IF_NOT_U32, register, i32::from_ne_bytes(bytes), otherwise);
}

#[cfg(test)]
mod tests;
