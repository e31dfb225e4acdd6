//! Captures: whatever the bytes, reading ends, never delivers more than there is, and a fault has a place in the file.
//!
//! What could be read is written again as pcapng and read back: the same packets. Both formats go through one door;
//! the targets `pcap` and `pcapng` differ in how their inputs begin.

use harness::capture::{CaptureReader, PcapngWriter};

/// The header of a little-endian pcap with nanoseconds and Ethernet, from its second field on.
const PCAP: [u32; 6] = [0xa1b2_3c4d, 0x0004_0002, 0, 0, 65_535, 1];

/// One input: the bytes as they are, and as the records of a pcap.
pub fn run(input: &[u8]) {
    whole(input);
    let mut file = PCAP.map(u32::to_le_bytes).concat();
    file.extend_from_slice(input);
    whole(&file);
}

/// Reads a file to its end or its first fault.
pub(crate) fn whole(file: &[u8]) {
    let mut packets = Vec::new();
    match CaptureReader::new("input", file) {
        Err(error) => assert_eq!(error.offset, 0, "a file that is no capture: {error}"),
        Ok(mut reader) => loop {
            match reader.next_packet() {
                Ok(None) => {
                    assert_eq!(reader.position(), file.len() as u64, "the end is the end");
                    break;
                }
                Ok(Some(packet)) => {
                    assert!(packet.original_len as usize >= packet.bytes.len());
                    packets.push((packet.time_ns.unwrap_or(0), packet.original_len, packet.bytes.to_vec()));
                }
                Err(error) => {
                    assert!(error.offset <= file.len() as u64 && error.block > 0, "{error}");
                    break;
                }
            }
        },
    }
    let delivered: usize = packets.iter().map(|(_, _, bytes)| bytes.len()).sum();
    assert!(delivered <= file.len(), "more was delivered than there is");
    again(&packets);
}

fn again(packets: &[(u64, u32, Vec<u8>)]) {
    let write = || {
        let mut writer = PcapngWriter::new(Vec::new())?;
        let interface = writer.add_interface("eth0")?;
        for (time, original_len, bytes) in packets {
            writer.packet(interface, *time, bytes, *original_len as usize, Some("why"))?;
        }
        writer.finish()
    };
    let Ok(file) = write() else { panic!("memory takes everything") };
    let Ok(mut reader) = CaptureReader::new("written", &file[..]) else { panic!("what was written reads") };
    for (time, original_len, bytes) in packets {
        let Ok(Some(packet)) = reader.next_packet() else { panic!("a packet was lost") };
        let read = (packet.time_ns, packet.original_len, packet.bytes);
        assert_eq!(read, (Some(*time), *original_len, bytes.as_slice()));
    }
    assert!(matches!(reader.next_packet(), Ok(None)));
}
