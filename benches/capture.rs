//! Captures: reading pcap and pcapng, and writing pcapng, from and to memory.
//!
//! Input: 10,000 UDP packets over IPv4 of 64 and of 1,400 bytes (frame length). Unit: packets. Left out: the disk,
//! and everything that a replay does with a packet.

mod support;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use harness::capture::{CaptureReader, PcapngWriter};

use support::udp_frame;

const PACKETS: u64 = 10_000;

fn pcapng(frame: &[u8]) -> Vec<u8> {
    let write = || {
        let mut writer = PcapngWriter::new(Vec::new())?;
        let interface = writer.add_interface("eth0")?;
        for number in 0..PACKETS {
            writer.packet(interface, number * 1_000, frame, frame.len(), None)?;
        }
        writer.finish()
    };
    write().unwrap_or_else(|error: std::io::Error| panic!("memory takes everything: {error}"))
}

fn pcap(frame: &[u8]) -> Vec<u8> {
    let mut file = [0xa1b2_3c4d_u32, 0x0004_0002, 0, 0, 65_535, 1].map(u32::to_le_bytes).concat();
    let len = frame.len() as u32;
    for number in 0..PACKETS {
        file.extend([0, number as u32 * 1_000, len, len].map(u32::to_le_bytes).concat());
        file.extend(frame);
    }
    file
}

fn read(file: &[u8]) -> u64 {
    let mut bytes = 0;
    let Ok(mut reader) = CaptureReader::new("bench", file) else { return 0 };
    while let Ok(Some(packet)) = reader.next_packet() {
        bytes += packet.bytes.len() as u64;
    }
    bytes
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("capture");
    group.throughput(Throughput::Elements(PACKETS));
    for size in [64, 1400] {
        let frame = udp_frame(size);
        for (name, file) in [("read pcap", pcap(&frame)), ("read pcapng", pcapng(&frame))] {
            assert_eq!(read(&file), PACKETS * size as u64, "every packet is read");
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter(|| read(black_box(&file)));
            });
        }
        group.bench_function(BenchmarkId::new("write pcapng", size), |bencher| {
            bencher.iter(|| pcapng(black_box(&frame)));
        });
    }
    group.finish();
    criterion.final_summary();
}
