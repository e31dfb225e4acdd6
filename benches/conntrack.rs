//! Connection table: finding, refreshing, opening and ending UDP connections.
//!
//! Input: IPv4 five-tuples of 256 clients, visited in an order that no prefetcher follows; tables of 1,024, 65,536 and
//! 1,048,576 entries, half of that in use, so that the small one stays in cache and the large one does not. Unit: one
//! table operation. Left out: policy, everything of the packet but its tuple.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use ahash::RandomState;
use criterion::{BenchmarkId, Criterion, Throughput};
use dataplane::conntrack::{ConnTable, ConntrackConfig, Owner, Signal, Tuple, protocol};
use dataplane::time::Timestamp;

const SIZES: [usize; 3] = [1 << 10, 1 << 16, 1 << 20];
/// Operations of one measured step.
const STEP: usize = 256;
const BYTES: u32 = 64;
const SOURCE: Owner = Owner(1);
const DESTINATION: Owner = Owner(2);

/// The connections' tuples; a set of its own for each `server`.
fn tuples(count: usize, server: u8) -> Vec<Tuple> {
    let destination = IpAddr::from(Ipv4Addr::new(10, 244, 1, server));
    // An odd stride goes over all of a power of two.
    (0..count)
        .filter_map(|number| {
            let mixed = number.wrapping_mul(0x9e37_79b1) & (count - 1);
            let source = Ipv4Addr::new(10, 244, 2, (mixed & 0xff) as u8);
            let src_port = (mixed >> 8) as u16;
            Tuple::new(source.into(), destination, protocol::UDP, src_port, 8080)
        })
        .collect()
}

fn table(size: usize, tuples: &[Tuple]) -> ConnTable {
    let config = ConntrackConfig { owner_quota: size, ..ConntrackConfig::with_max_entries(size) };
    let table = ConnTable::new(config, RandomState::with_seeds(1, 2, 3, 4));
    for tuple in tuples {
        open(&table, *tuple);
    }
    table
}

fn open(table: &ConnTable, tuple: Tuple) {
    let opened = table.insert(tuple, SOURCE, DESTINATION, 1, Signal::Udp, BYTES, Timestamp::ZERO);
    assert!(opened.is_ok(), "room for every connection: {opened:?}");
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("conntrack");
    group.throughput(Throughput::Elements(STEP as u64));
    for size in SIZES {
        let known = tuples(size / 2, 1);
        let strangers = tuples(size / 2, 2);
        let table = table(size, &known);

        let mut steps = known.chunks_exact(STEP).cycle();
        group.bench_function(BenchmarkId::new("lookup, found", size), |bencher| {
            bencher.iter(|| {
                for tuple in steps.next().unwrap_or_default() {
                    black_box(table.lookup(black_box(tuple)));
                }
            });
        });

        let mut steps = strangers.chunks_exact(STEP).cycle();
        group.bench_function(BenchmarkId::new("lookup, not found", size), |bencher| {
            bencher.iter(|| {
                for tuple in steps.next().unwrap_or_default() {
                    black_box(table.lookup(black_box(tuple)));
                }
            });
        });

        let mut steps = known.chunks_exact(STEP).cycle();
        group.bench_function(BenchmarkId::new("lookup and update", size), |bencher| {
            bencher.iter(|| {
                for tuple in steps.next().unwrap_or_default() {
                    if let Some((id, dir)) = table.lookup(tuple) {
                        let _ = black_box(table.update(id, dir, Signal::Udp, BYTES, Timestamp::ZERO));
                    }
                }
            });
        });

        let mut steps = strangers.chunks_exact(STEP).cycle();
        group.bench_function(BenchmarkId::new("insert and remove", size), |bencher| {
            bencher.iter(|| {
                let step = steps.next().unwrap_or_default();
                for tuple in step {
                    open(&table, *tuple);
                }
                for tuple in step {
                    if let Some((id, _)) = table.lookup(tuple) {
                        table.remove(id);
                    }
                }
            });
        });
    }
    group.finish();
    criterion.final_summary();
}
