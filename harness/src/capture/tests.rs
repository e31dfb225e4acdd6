//! Captures good and bad, built by hand in every form the formats know.

use std::fmt::Write as _;
use std::io::Write as _;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Little,
    Big,
}

impl End {
    fn u16(self, value: u16) -> [u8; 2] {
        if self == Self::Little { value.to_le_bytes() } else { value.to_be_bytes() }
    }

    fn u32(self, value: u32) -> [u8; 4] {
        if self == Self::Little { value.to_le_bytes() } else { value.to_be_bytes() }
    }
}

const ENDS: [End; 2] = [End::Little, End::Big];

fn pcap_header(end: End, nanos: bool) -> Vec<u8> {
    let magic = if nanos { 0xa1b2_3c4d } else { 0xa1b2_c3d4 };
    [end.u32(magic), [end.u16(2), end.u16(4)].concat().try_into().unwrap(), [0; 4], [0; 4]]
        .concat()
        .into_iter()
        .chain(end.u32(65_535))
        .chain(end.u32(1))
        .collect()
}

fn pcap_record(end: End, time: (u32, u32), bytes: &[u8], original: u32) -> Vec<u8> {
    let len = bytes.len() as u32;
    [&end.u32(time.0)[..], &end.u32(time.1), &end.u32(len), &end.u32(original), bytes].concat()
}

fn block(end: End, kind: u32, body: &[u8]) -> Vec<u8> {
    let padded = [body, &[0; 3][..(4 - body.len() % 4) % 4]].concat();
    let total = end.u32(padded.len() as u32 + 12);
    [&end.u32(kind)[..], &total, &padded, &total].concat()
}

fn section(end: End) -> Vec<u8> {
    let body = [&end.u32(0x1a2b_3c4d)[..], &end.u16(1), &end.u16(0), &[0xff; 8]].concat();
    block(end, 0x0a0d_0d0a, &body)
}

fn option(end: End, code: u16, value: &[u8]) -> Vec<u8> {
    let padding = (4 - value.len() % 4) % 4;
    [&end.u16(code)[..], &end.u16(value.len() as u16), value, &[0; 3][..padding]].concat()
}

fn interface(end: End, link: u16, snap: u32, options: &[u8]) -> Vec<u8> {
    block(end, 1, &[&end.u16(link)[..], &[0, 0], &end.u32(snap), options].concat())
}

fn enhanced(end: End, interface: u32, ticks: u64, bytes: &[u8], original: u32) -> Vec<u8> {
    let (high, low) = ((ticks >> 32) as u32, ticks as u32);
    let len = bytes.len() as u32;
    let fixed = [interface, high, low, len, original].map(|value| end.u32(value)).concat();
    let padded = [bytes, &[0; 3][..(4 - bytes.len() % 4) % 4]].concat();
    block(end, 6, &[fixed, padded].concat())
}

/// Interface, stamp, original length and bytes of each packet, and the fault that ended it.
type All = (Vec<(usize, Option<u64>, u32, Vec<u8>)>, Option<CaptureError>);

fn read(bytes: &[u8]) -> All {
    let mut packets = Vec::new();
    let mut reader = match CaptureReader::new("x.pcap", bytes) {
        Ok(reader) => reader,
        Err(error) => return (packets, Some(error)),
    };
    loop {
        match reader.next_packet() {
            Ok(None) => return (packets, None),
            Ok(Some(packet)) => {
                assert_eq!(packet.number, packets.len() as u64 + 1);
                packets.push((
                    packet.interface_number,
                    packet.time_ns,
                    packet.original_len,
                    packet.bytes.to_vec(),
                ));
            }
            Err(error) => return (packets, Some(error)),
        }
    }
}

fn fault(bytes: &[u8]) -> (usize, String) {
    let (packets, error) = read(bytes);
    (packets.len(), error.expect("a fault").to_string())
}

#[test]
fn pcap_is_read_in_both_byte_orders_and_resolutions() {
    for end in ENDS {
        for (nanos, expected) in [(false, 5_000_007_000), (true, 5_000_000_007)] {
            let mut file = pcap_header(end, nanos);
            file.extend(pcap_record(end, (5, 7), b"abc", 1500));
            file.extend(pcap_record(end, (6, 0), b"", 0));
            let (packets, error) = read(&file);
            assert!(error.is_none());
            assert_eq!(
                packets,
                [(0, Some(expected), 1500, b"abc".to_vec()), (0, Some(6_000_000_000), 0, Vec::new())]
            );
        }
    }
}

#[test]
fn pcapng_is_read_with_sections_interfaces_and_resolutions() {
    let mut file = Vec::new();
    for end in ENDS {
        file.extend(section(end));
        let options = [option(end, 2, b"eth0"), option(end, 9, &[9]), option(end, 0, &[])].concat();
        file.extend(interface(end, 1, 0, &options));
        file.extend(block(end, 0x0bad, &[1; 100]));
        file.extend(interface(end, 101, 64, &option(end, 14, &[0; 8])));
        file.extend(enhanced(end, 0, 12_345, b"first", 5));
        file.extend(enhanced(end, 1, 12, b"second", 60));
        // Simple: cut at the snap length of interface 0, which has none.
        file.extend(block(end, 3, &[&end.u32(3)[..], b"abc\0"].concat()));
        // Obsolete.
        let fixed = [&end.u16(1)[..], &end.u16(0), &end.u32(0), &end.u32(9), &end.u32(2), &end.u32(2)];
        file.extend(block(end, 2, &[&fixed.concat()[..], b"xy\0\0"].concat()));
    }
    let (packets, error) = read(&file);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(packets.len(), 8);
    assert_eq!(packets[0], (0, Some(12_345), 5, b"first".to_vec()));
    assert_eq!(packets[1], (1, Some(12_000), 60, b"second".to_vec()));
    assert_eq!(packets[2], (0, None, 3, b"abc".to_vec()));
    assert_eq!(packets[3], (1, Some(9_000), 2, b"xy".to_vec()));
    // The second section has interfaces of its own.
    assert_eq!(packets[5], (3, Some(12_000), 60, b"second".to_vec()));
    let reader = CaptureReader::new("x", &file[..]).unwrap();
    assert!(reader.interfaces().is_empty(), "described as they come");
}

#[test]
fn every_fault_says_where_it_is_and_what_was_expected() {
    let end = End::Little;
    let pcap = pcap_header(end, false);
    let good = pcap_record(end, (1, 0), b"good", 4);
    let with = |record: &[u8]| [&pcap[..], &good, record].concat();
    let ng = [section(end), interface(end, 1, 0, &[]), enhanced(end, 0, 1, b"good", 4)].concat();
    let then = |more: &[u8]| [&ng[..], more].concat();
    let mut unequal = block(end, 6, &[0; 24]);
    *unequal.last_mut().unwrap() = 9;
    let huge = [end.u32(0x0bad), end.u32(0xffff_fffc)].concat();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("empty", Vec::new()),
        ("two bytes", vec![0xd4, 0xc3]),
        ("text", b"GET / HTTP/1.1".to_vec()),
        ("gzip", vec![0x1f, 0x8b, 8, 0, 0]),
        ("half a file header", pcap[..20].to_vec()),
        ("version", [&pcap[..4], &[9, 0, 4, 0], &pcap[8..]].concat()),
        ("half a record header", with(&good[..9])),
        ("half a record", with(&good[..18])),
        ("4 GB record", with(&[&[0; 8][..], &[0xff; 8]].concat())),
        ("byte order", block(end, 0x0a0d_0d0a, &[7; 16])),
        ("block of length 0", then(&[end.u32(6), end.u32(0), end.u32(0)].concat())),
        ("block of length 8", then(&[end.u32(5), end.u32(8), end.u32(8)].concat())),
        ("crooked length", then(&[end.u32(5), end.u32(13), end.u32(13), [0; 4]].concat())),
        ("4 GB block to skip", then(&huge)),
        ("4 GB packet block", then(&[end.u32(6), end.u32(0xffff_fffc), [0; 4]].concat())),
        ("lengths differ", then(&unequal)),
        ("unknown interface", then(&enhanced(end, 3, 1, b"bad", 3))),
        ("captured beyond the block", {
            let mut file = then(&enhanced(end, 0, 1, b"bad!", 4));
            let at = file.len() - 4 - 4 - 8;
            file[at..at + 4].copy_from_slice(&end.u32(0xffff_ffff));
            file
        }),
        ("packet block without a packet", then(&block(end, 6, &[0; 4]))),
        ("option beyond the block", then(&interface(end, 1, 0, &[2, 0, 0xff, 0xff]))),
        ("resolution", then(&interface(end, 1, 0, &option(end, 9, &[0x7f])))),
        ("half a block header", then(&[6, 0, 0])),
        ("second section cut off", then(&section(end)[..20])),
    ];
    let mut text = String::new();
    for (name, file) in cases {
        let (delivered, message) = fault(&file);
        writeln!(text, "{name} (after {delivered}): {message}").unwrap();
    }
    insta::assert_snapshot!(text);
}

#[test]
fn a_cut_capture_delivers_every_whole_packet_and_then_says_where_it_ends() {
    let end = End::Big;
    let pcap = [pcap_header(end, true), pcap_record(end, (1, 2), b"12345", 5).repeat(3)].concat();
    let ng = [section(end), interface(end, 1, 0, &[]), enhanced(end, 0, 1, b"12345", 5).repeat(3)].concat();
    for (file, first, record) in [(pcap, 24, 21), (ng, 28 + 20, 40)] {
        for cut in 0..=file.len() {
            let (packets, error) = read(&file[..cut]);
            let whole = cut.saturating_sub(first) / record;
            assert_eq!(packets.len(), whole, "cut at {cut}");
            let at_boundary = cut >= first && (cut - first) % record == 0;
            let pause = file.len() == 168 && cut == 28;
            assert_eq!(error.is_none(), at_boundary || pause, "cut at {cut}: {error:?}");
            if let Some(error) = error {
                assert!(error.offset <= cut as u64);
            }
        }
    }
}

#[test]
fn a_file_that_shrinks_is_an_error_with_both_sizes() {
    let end = End::Little;
    let record = pcap_record(end, (0, 0), &vec![9; 60_000], 60_000);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&pcap_header(end, false)).unwrap();
    for _ in 0..60 {
        file.write_all(&record).unwrap();
    }
    let mut reader = CaptureReader::open(file.path()).unwrap();
    assert!(reader.next_packet().unwrap().is_some());
    file.as_file().set_len(2_000_000).unwrap();
    let mut delivered = 1;
    let error = loop {
        match reader.next_packet() {
            Ok(Some(packet)) => {
                assert_eq!(packet.bytes.len(), 60_000);
                delivered += 1;
            }
            Ok(None) => panic!("an end, after a file shrank"),
            Err(error) => break error,
        }
    };
    assert_eq!(delivered, 33);
    assert!(matches!(error.kind, CaptureFault::Shrank { had, has } if had > 3_000_000 && has == 2_000_000));
    // At a boundary between records too.
    file.as_file().set_len(24).unwrap();
    let mut reader = CaptureReader::open(file.path()).unwrap();
    assert!(reader.next_packet().unwrap().is_none(), "its size is what it had when opened");
}

#[test]
fn what_is_written_is_read_again_with_names_and_stamps() {
    let mut writer = PcapngWriter::new(Vec::new()).unwrap();
    let pod = writer.add_interface("pod shop/web").unwrap();
    writer.packet(pod, 1_700_000_000_123_456_789, b"abc", 1500, Some("policy_deny: default deny")).unwrap();
    let node = writer.add_interface("node").unwrap();
    writer.packet(node, 5, b"defg", 4, None).unwrap();
    let file = writer.finish().unwrap();
    let (packets, error) = read(&file);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(
        packets,
        [(0, Some(1_700_000_000_123_456_789), 1500, b"abc".to_vec()), (1, Some(5), 4, b"defg".to_vec())]
    );
    let mut reader = CaptureReader::new("x", &file[..]).unwrap();
    while reader.next_packet().unwrap().is_some() {}
    let names: Vec<_> = reader.interfaces().iter().map(|interface| interface.name.clone().unwrap()).collect();
    assert_eq!(names, ["pod shop/web", "node"]);
}

/// Arbitrary bytes behind a good beginning, and arbitrary damage to a good file.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let end = End::Little;
    let pcap = [pcap_header(end, false), pcap_record(end, (1, 0), b"good", 4).repeat(5)].concat();
    let options = [option(end, 2, b"eth0"), option(end, 9, &[9])].concat();
    let ng =
        [section(end), interface(end, 1, 0, &options), enhanced(end, 0, 1, b"good", 4).repeat(5)].concat();
    let damage = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8);
    (prop_oneof![Just(pcap), Just(ng)], damage, proptest::collection::vec(any::<u8>(), 0..200)).prop_map(
        |(mut file, damage, tail)| {
            for (at, byte) in damage {
                let at = at.index(file.len());
                file[at] = byte;
            }
            file.extend(tail);
            file
        },
    )
}

proptest! {
    #[test]
    fn damaged_captures_end_and_never_deliver_more_than_they_hold(file in hostile()) {
        let (packets, error) = read(&file);
        let delivered: usize = packets.iter().map(|packet| packet.3.len()).sum();
        prop_assert!(delivered <= file.len());
        prop_assert!(packets.len() <= file.len() / 12);
        if let Some(error) = error {
            prop_assert!(error.offset <= file.len() as u64);
        }
    }

    #[test]
    fn any_packets_survive_writing_and_reading(
        frames in proptest::collection::vec((any::<u64>(), proptest::collection::vec(any::<u8>(), 0..99)), 0..20)
    ) {
        let mut writer = PcapngWriter::new(Vec::new()).unwrap();
        writer.add_interface("i").unwrap();
        for (time, bytes) in &frames {
            writer.packet(0, *time, bytes, bytes.len(), Some("why")).unwrap();
        }
        let file = writer.finish().unwrap();
        let (packets, error) = read(&file);
        prop_assert!(error.is_none());
        let read: Vec<_> = packets.into_iter().map(|packet| (packet.1.unwrap(), packet.3)).collect();
        prop_assert_eq!(read, frames);
    }
}
