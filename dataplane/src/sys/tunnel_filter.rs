//! Which frames of the underlay's interface are the tunnel's: a classic BPF program for packet sockets.
//!
//! ```text
//!  untagged ─► IPv4, UDP, no fragment, to our address ─┐
//!           └► IPv6, UDP next, to our address ─────────┴─► our port ─► all of the frame; else nothing
//! ```
//! Everything else on the interface is the node's own and never gets here. IPv6 extension headers are none of a VTEP's
//! (RFC 7348 section 5): what has them is not taken, nor are fragments, which a VTEP must not send (section 4.3). What it
//! takes is judged by the pipeline all the same.

use std::net::IpAddr;

use libc::sock_filter;

// Opcodes of `linux/filter.h`.
const LOAD_U32: u16 = 0x20;
const LOAD_U16: u16 = 0x28;
const LOAD_U8: u16 = 0x30;
const LOAD_U16_AT_X: u16 = 0x48;
const LOAD_HEADER_LENGTH: u16 = 0xb1;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

/// `SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT`: whether the kernel took a tag out of the frame.
const TAG_PRESENT: u32 = 0xffff_f000 + 48;

const UDP: u32 = 17;

fn instruction(code: u16, k: u32) -> sock_filter {
    sock_filter { code, jt: 0, jf: 0, k }
}

/// Goes on where the accumulator is `k`; else ends with nothing. Two instructions, so that no jump is too far.
fn require(program: &mut Vec<sock_filter>, k: u32) {
    program.push(sock_filter { jt: 1, ..instruction(JUMP_EQUAL, k) });
    program.push(instruction(RETURN, 0));
}

fn to_v4(octets: [u8; 4], port: u16) -> Vec<sock_filter> {
    let mut program = vec![instruction(LOAD_U8, 23)];
    require(&mut program, UDP);
    program.push(instruction(LOAD_U16, 20));
    // More fragments, or an offset.
    program.push(sock_filter { jf: 1, ..instruction(JUMP_ANY_BIT, 0x3fff) });
    program.push(instruction(RETURN, 0));
    program.push(instruction(LOAD_U32, 30));
    require(&mut program, u32::from_be_bytes(octets));
    program.push(instruction(LOAD_HEADER_LENGTH, 14));
    program.push(instruction(LOAD_U16_AT_X, 16));
    require(&mut program, port.into());
    program.push(instruction(RETURN, u32::MAX));
    program
}

fn to_v6(octets: [u8; 16], port: u16) -> Vec<sock_filter> {
    let mut program = vec![instruction(LOAD_U8, 20)];
    require(&mut program, UDP);
    for (word, at) in octets.chunks_exact(4).zip((38..).step_by(4)) {
        program.push(instruction(LOAD_U32, at));
        require(&mut program, word.try_into().map_or(0, u32::from_be_bytes));
    }
    program.push(instruction(LOAD_U16, 56));
    require(&mut program, port.into());
    program.push(instruction(RETURN, u32::MAX));
    program
}

/// The program for datagrams to `port` of any of `locals`, of each family one at the most.
pub fn program(locals: &[IpAddr], port: u16) -> Vec<sock_filter> {
    let mut program = vec![instruction(LOAD_U32, TAG_PRESENT)];
    require(&mut program, 0);
    for (ethertype, address) in [
        (0x0800, locals.iter().find(|local| local.is_ipv4())),
        (0x86dd, locals.iter().find(|local| local.is_ipv6())),
    ] {
        let Some(address) = address else { continue };
        let body = match address {
            IpAddr::V4(address) => to_v4(address.octets(), port),
            IpAddr::V6(address) => to_v6(address.octets(), port),
        };
        program.push(instruction(LOAD_U16, 12));
        program.push(sock_filter { jt: 1, ..instruction(JUMP_EQUAL, ethertype) });
        program.push(instruction(JUMP, body.len() as u32));
        program.extend(body);
    }
    program.push(instruction(RETURN, 0));
    program
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::socket;
    use std::os::fd::AsFd;

    #[test]
    fn the_kernel_takes_the_program() {
        let socket = socket::open(libc::AF_INET, libc::SOCK_DGRAM, 0).unwrap();
        let (v4, v6) = ("192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap());
        for locals in [&[v4, v6][..], &[v4], &[v6], &[]] {
            socket::filter_arrivals(socket.as_fd(), &program(locals, 8472)).unwrap();
        }
    }
}
