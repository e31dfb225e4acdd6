//! The program as the kernel runs it (`BPF_PROG_TEST_RUN`), beside what it should say.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use proptest::prelude::*;

use super::*;
use crate::sys::bpf::{self, Kind, SocketMap};

/// What the program says in place of redirecting, in a map without sockets.
const TAKEN: i32 = 1;
const PORT: u16 = 8472;
const OURS: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 77), Ipv4Addr::new(192, 0, 2, 1)];
const OURS_6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

fn locals() -> Vec<IpAddr> {
    vec![OURS[0].into(), OURS_6.into(), OURS[1].into()]
}

/// The program and the map it holds on to; none, said aloud, where programs may not be loaded.
fn loaded() -> Option<(OwnedFd, SocketMap)> {
    let load = || {
        let map = SocketMap::new(1)?;
        let text = program(&locals(), PORT, map.as_fd().as_raw_fd(), TAKEN);
        Ok((bpf::load(Kind::Xdp, &text)?, map))
    };
    match load() {
        Ok(loaded) => Some(loaded),
        Err(error) if std::io::Error::kind(&error) == std::io::ErrorKind::PermissionDenied => {
            println!("skipped: no right to load programs ({error})");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// The kernel hands the program at least an Ethernet header; what is shorter never gets there.
fn says(program: &OwnedFd, frame: &[u8]) -> i32 {
    bpf::try_run(program.as_fd(), frame).unwrap().cast_signed()
}

/// What the program should say, slowly.
fn should_say(frame: &[u8]) -> i32 {
    let word = |at: usize| frame.get(at..at + 2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
    let taken = match word(12) {
        Some(0x0800) if frame.len() >= 34 => {
            let header = usize::from(frame[14] & 0x0f) * 4;
            let to = Ipv4Addr::from(<[u8; 4]>::try_from(&frame[30..34]).unwrap());
            frame[14] >> 4 == 4
                && header >= 20
                && frame[23] == 17
                && matches!(word(20), Some(0 | 0x4000 | 0x8000 | 0xc000))
                && OURS.contains(&to)
                && frame.len() >= 14 + header + 8
                && word(14 + header + 2) == Some(PORT)
        }
        Some(0x86dd) if frame.len() >= 54 => {
            let to = Ipv6Addr::from(<[u8; 16]>::try_from(&frame[38..54]).unwrap());
            frame[20] == 17 && to == OURS_6 && frame.len() >= 62 && word(56) == Some(PORT)
        }
        _ => false,
    };
    if taken { TAKEN } else { XDP_PASS }
}

fn over_ipv4(to: Ipv4Addr, options: usize) -> Vec<u8> {
    let mut frame = vec![2; 12];
    frame.extend([8, 0, 0x45 + options as u8, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0, 198, 51, 100, 1]);
    frame.extend(to.octets());
    frame.extend(vec![1; options * 4]);
    frame.extend([0xc0, 0, 0x21, 0x18, 0, 8, 0, 0]);
    frame
}

fn over_ipv6(to: Ipv6Addr) -> Vec<u8> {
    let mut frame = vec![2; 12];
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 8, 17, 64]);
    frame.extend([0x20; 16]);
    frame.extend(to.octets());
    frame.extend([0xc0, 0, 0x21, 0x18, 0, 8, 0, 0]);
    frame
}

#[test]
fn the_kernel_takes_the_program_for_any_number_of_addresses() {
    if loaded().is_none() {
        return;
    }
    let all = |addresses: &[IpAddr]| addresses.iter().copied().cycle().take(MOST_LOCALS).collect::<Vec<_>>();
    let (one, other) = (IpAddr::from(OURS[0]), IpAddr::from(OURS_6));
    for locals in [vec![one], vec![other], all(&[one, other]), all(&[one]), all(&[other])] {
        let map = SocketMap::new(4).unwrap();
        let text = program(&locals, PORT, map.as_fd().as_raw_fd(), XDP_PASS);
        bpf::load(Kind::Xdp, &text).unwrap();
        bpf::load_with(Kind::Xdp, &text, bpf::IN_PARTS).unwrap();
    }
}

#[test]
fn datagrams_of_the_tunnel_are_taken_and_what_differs_in_one_field_is_not() {
    let Some((program, _map)) = loaded() else { return };
    let taken = |frame: &[u8]| {
        let answer = says(&program, frame);
        assert_eq!(answer, should_say(frame), "{frame:02x?}");
        answer == TAKEN
    };
    for ours in OURS {
        for options in 0..=10 {
            assert!(taken(&over_ipv4(ours, options)), "{options}");
        }
    }
    assert!(taken(&over_ipv6(OURS_6)));
    assert!(!taken(&over_ipv4(Ipv4Addr::new(192, 0, 2, 2), 0)));
    assert!(!taken(&over_ipv6(Ipv6Addr::LOCALHOST)));
    // EtherType, version, header length, later fragment, more fragments, protocol, address, port.
    for (at, byte) in [
        (12, 0x81),
        (13, 6),
        (14, 0x65),
        (14, 0x44),
        (21, 1),
        (20, 0x20),
        (23, 6),
        (33, 3),
        (36, 0x20),
        (37, 0x19),
    ] {
        let mut frame = over_ipv4(OURS[1], 0);
        frame[at] = byte;
        assert!(!taken(&frame), "{at}");
    }
    // Do not fragment, TOS, source port: of no importance.
    for (at, byte) in [(20, 0), (15, 0xff), (34, 0)] {
        let mut frame = over_ipv4(OURS[1], 0);
        frame[at] = byte;
        assert!(taken(&frame), "{at}");
    }
    for (at, byte) in [(13, 0), (20, 44), (38, 0), (45, 1), (53, 2), (56, 0), (57, 0)] {
        let mut frame = over_ipv6(OURS_6);
        frame[at] = byte;
        assert!(!taken(&frame), "{at}");
    }
}

#[test]
fn a_frame_that_is_cut_short_is_left_to_the_kernel() {
    let Some((program, _map)) = loaded() else { return };
    for frame in [over_ipv4(OURS[0], 0), over_ipv4(OURS[0], 10), over_ipv6(OURS_6)] {
        for len in 14..frame.len() {
            assert_eq!(says(&program, &frame[..len]), XDP_PASS, "{len}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    /// Frames that are nearly right, and frames that are anything.
    #[test]
    fn the_program_says_what_it_should(
        changes in prop::collection::vec((0..20_usize, 0..60_usize, any::<u8>()), 0..200),
        anything in prop::collection::vec(prop::collection::vec(any::<u8>(), 14..200), 0..50),
    ) {
        if let Some((program, _map)) = loaded() {
            for (kind, at, byte) in changes {
                let mut frame = match kind {
                    0..10 => over_ipv4(OURS[kind % 2], kind),
                    _ => over_ipv6(OURS_6),
                };
                if let Some(field) = frame.get_mut(at) {
                    *field = byte;
                }
                prop_assert_eq!(says(&program, &frame), should_say(&frame), "{:02x?}", frame);
            }
            for frame in anything {
                prop_assert_eq!(says(&program, &frame), should_say(&frame));
            }
        }
    }
}
