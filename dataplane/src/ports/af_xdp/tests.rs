//! What the port decides by itself, and what becomes of its chunks.

use super::*;
use crate::sys::netns::Netns;

#[test]
fn memory_is_cut_for_the_mtu() {
    for (mtu, chunk, in_parts) in [
        (0, 2048, false),
        (1500, 2048, false),
        (1774, 2048, false),
        (1775, 4096, false),
        (3502, 4096, false),
        (3503, 4096, true),
        (9000, 4096, true),
        (u32::MAX, 4096, true),
    ] {
        assert_eq!(Cut::of(mtu), Cut { chunk, in_parts }, "{mtu}");
    }
}

#[test]
fn the_outer_sum_of_a_frame_is_marked_where_there_is_one() {
    let marked = |bytes: &[u8]| {
        let mut frame = Frame::from_bytes(bytes);
        vouch(&mut frame);
        frame.checksum
    };
    let frame = |ethertype: [u8; 2], first: u8| [&[2; 12][..], &ethertype, &[first], &[0; 60]].concat();
    assert_eq!(marked(&frame([8, 0], 0x45)), Checksum::Partial { start: 34, offset: 6 });
    assert_eq!(marked(&frame([8, 0], 0x4f)), Checksum::Partial { start: 74, offset: 6 });
    assert_eq!(marked(&frame([0x86, 0xdd], 0x60)), Checksum::Partial { start: 54, offset: 6 });
    assert_eq!(marked(&frame([8, 6], 0)), Checksum::Complete);
    assert_eq!(marked(&[2; 14]), Checksum::Complete);
    assert_eq!(marked(&[]), Checksum::Complete);
}

#[test]
fn errors_say_what_to_do() {
    let text = |number| explain("eth0", &io::Error::from_raw_os_error(number)).to_string();
    for (number, words) in [
        (libc::EPERM, "CAP_NET_ADMIN"),
        (libc::EAFNOSUPPORT, "CONFIG_XDP_SOCKETS"),
        (libc::EBUSY, "ip -d link show"),
        (libc::ENOBUFS, "ulimit -l"),
        (libc::EINVAL, "Linux 5.9"),
    ] {
        let text = text(number);
        assert!(text.contains(words) && text.contains("eth0"), "{text}");
    }
}

/// A port on a veth of a namespace of its own; none, said aloud, where that is forbidden.
fn on_veth(mtu: u32) -> Option<AfXdpPort> {
    let open = || -> io::Result<AfXdpPort> {
        let netlink = Netlink::open()?;
        netlink.add_veth("one", "other", None)?;
        for name in ["one", "other"] {
            let index = netlink.link(name)?.map_or(0, |link| link.index);
            netlink.set_mtu(index, mtu)?;
            netlink.set_up(index, true)?;
        }
        let locals = vec![IpAddr::from([192, 0, 2, 1])];
        let config = AfXdpConfig { interface: "one".to_owned(), locals, port: 8472 };
        Ok(AfXdpPort::open_queues(&config, 1)?.remove(0))
    };
    match Netns::run_in_new(open).and_then(|port| port) {
        Ok(port) => Some(port),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            println!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn no_chunk_is_lost_by_sending() {
    for (mtu, len) in [(1500, 100), (9000, 9000)] {
        let Some(mut port) = on_veth(mtu) else { return };
        let mut pool = Pool::new(64);
        for _ in 0..100 {
            let mut batch: Batch = (0..40).map(|_| Frame::from_bytes(&vec![2; len])).collect();
            assert_eq!(port.send(&mut pool, &mut batch).unwrap().frames, 40);
        }
        port.queues[0].reap();
        assert_eq!(port.queues[0].sending_chunks(), TX_CHUNKS as usize, "{len}");
    }
}
