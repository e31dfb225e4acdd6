//! Wire formats: reading the headers of a frame, and putting the tunnel's headers on and off.
//!
//! Input: one UDP packet over IPv4 of 64 and of 1,400 bytes (frame length), always the same and so always in the
//! cache. Unit: frames. Left out: memory, ports, policy. The outer checksum runs over the whole inner frame, which
//! is what the difference between `checksum` and `no checksum` shows.

mod support;

use std::hint::black_box;
use std::net::IpAddr;

use criterion::{BenchmarkId, Criterion, Throughput};
use vxlan::decap::parse_outer;
use vxlan::encap::{OUTER_BYTES_V4, OuterChecksum, OuterConfig, TTL, write_outer};
use vxlan::wire::headers;
use vxlan::{Mac, Vni, wire};

use support::udp_frame;

const SIZES: [usize; 2] = [64, 1400];

fn outer(checksum: OuterChecksum) -> OuterConfig {
    OuterConfig {
        source_mac: Mac([2, 0, 0, 0, 0, 1]),
        dest_mac: Mac([2, 0, 0, 0, 0, 2]),
        src: IpAddr::from([192, 0, 2, 1]),
        dst: IpAddr::from([192, 0, 2, 2]),
        source_port: 50_000,
        dest_port: wire::vxlan::UDP_PORT_FLANNEL,
        vni: Vni::FLANNEL,
        tos: 0,
        ttl: TTL,
        checksum,
        identification: 0,
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("vxlan");
    group.throughput(Throughput::Elements(1));
    for size in SIZES {
        let inner = udp_frame(size);
        assert!(headers::parse(&inner, false).is_ok(), "a packet that parses");
        group.bench_function(BenchmarkId::new("parse", size), |bencher| {
            bencher.iter(|| headers::parse(black_box(&inner), false));
        });

        for (name, checksum) in [("checksum", OuterChecksum::Compute), ("no checksum", OuterChecksum::Zero)] {
            let config = outer(checksum);
            let mut room = [0; OUTER_BYTES_V4];
            group.bench_function(BenchmarkId::new(format!("encap, {name}"), size), |bencher| {
                bencher.iter(|| write_outer(black_box(&mut room), black_box(&inner), &config));
            });

            let mut packet = room.to_vec();
            packet.extend_from_slice(&inner);
            assert!(parse_outer(&packet).is_ok(), "a packet that decapsulates");
            group.bench_function(BenchmarkId::new(format!("decap, {name}"), size), |bencher| {
                bencher.iter(|| parse_outer(black_box(&packet)));
            });
        }
    }
    group.finish();
    criterion.final_summary();
}
