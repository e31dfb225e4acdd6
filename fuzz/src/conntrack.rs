//! The connection table through a sequence of packets: no panic, within its bounds, and its books balance.
//!
//! A list of connections serves the table's own property tests as model. Here are the sequences those do not
//! generate: any flags, chunks and types, any time between two packets, tuples that are their own reverse.

use std::net::IpAddr;
use std::time::Duration;

use ahash::RandomState;
use dataplane::conntrack::{ConnTable, ConntrackConfig, Dir, Owner, Signal, Timeouts, Tuple, protocol};
use dataplane::time::Timestamp;

use crate::script::Script;

const ENTRIES: usize = 16;
const QUOTA: usize = 6;
const OWNERS: [Owner; 4] = [Owner(1), Owner(2), Owner(3), Owner::NONE];

/// One input.
pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let config = ConntrackConfig { max_entries: ENTRIES, owner_quota: QUOTA, timeouts: Timeouts::default() };
    let table = ConnTable::new(config, RandomState::with_seeds(1, 2, 3, 4));
    let mut now = Timestamp::ZERO;
    while !script.is_over() {
        match script.below(16) {
            0 => now = now.plus(Duration::from_millis(u64::from(script.word()) * 50)),
            1 => now = now.plus(Duration::from_secs(u64::from(script.word()) * 60)),
            2 => drop(table.expire(now, usize::from(script.byte()))),
            3 => {
                let owner = script.pick(&OWNERS);
                table.begin_purge(1);
                table.purge(1, u32::MAX, |conn| conn.source_owner == owner || conn.dest_owner == owner);
            }
            4 => {
                if let Some((id, _)) = tuple(&mut script).and_then(|tuple| table.lookup(&tuple)) {
                    table.remove(id);
                    assert!(table.get(id).is_none(), "a name leads nowhere afterwards");
                }
            }
            _ => packet(&mut script, &table, now),
        }
        assert_books(&table);
    }
    // What is hung up anew for a deadline that has passed meanwhile comes a tick later.
    for before_the_end in [1_000_000_000, 0] {
        table.expire(Timestamp::from_nanos(u64::MAX - before_the_end), ENTRIES * 64);
    }
    assert!(table.is_empty(), "time ends everything");
    assert_books(&table);
}

/// As the pipeline does: a packet belongs to a connection, or opens one.
fn packet(script: &mut Script<'_>, table: &ConnTable, now: Timestamp) {
    let Some(tuple) = tuple(script) else { return };
    let signal = signal(script, &tuple);
    if let Some((id, dir)) = table.lookup(&tuple) {
        let conn = table.get(id).expect("what is found is there");
        let same = if dir == Dir::Original { conn.original } else { *conn.reply() };
        assert_eq!(same, tuple, "found by its own tuple");
        let _ = table.update(id, dir, signal, 64, now);
        return;
    }
    let (source, destination) = (script.pick(&OWNERS), script.pick(&OWNERS));
    let opened = table.insert(tuple, source, destination, 1, signal, 64, now);
    if let Ok(id) = opened {
        assert!(ConnTable::may_open(signal));
        assert_eq!(table.lookup(&tuple), Some((id, Dir::Original)));
        assert_eq!(table.lookup(&tuple.reversed()), Some((id, Dir::Reply)));
    }
}

fn assert_books(table: &ConnTable) {
    assert!(table.len() <= ENTRIES && table.iter().count() <= table.len());
    let held: usize = OWNERS.iter().map(|owner| table.held_by(*owner)).sum();
    assert_eq!(held, table.len(), "every entry is charged to someone");
    assert!(OWNERS.iter().all(|owner| table.held_by(*owner) <= QUOTA));
    let stats = table.stats();
    let gone = stats.expired + stats.removed + stats.evicted_unreplied + stats.evicted_closed;
    assert_eq!(stats.inserted - gone, table.len() as u64, "{stats:?}");
}

fn tuple(script: &mut Script<'_>) -> Option<Tuple> {
    let choice = script.byte();
    let ends = [choice & 3, choice >> 2 & 3];
    let [src, dst] = ends.map(|end| match choice & 16 {
        0 => IpAddr::from([10, 0, 0, end]),
        _ => IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, u16::from(end)]),
    });
    let number = script.pick(&[6, 17, 132, protocol::ICMP, protocol::ICMPV6, 47]);
    if choice & 32 != 0 {
        return Tuple::icmp_echo(src, dst, number, u16::from(choice >> 6), script.flag());
    }
    let [src_port, dst_port] = match choice >> 6 {
        0 => [80, 80],
        1 => [80, 81],
        2 => [81, 80],
        _ => [script.word(), script.word()],
    };
    Tuple::new(src, dst, number, src_port, dst_port)
}

/// Mostly what fits the protocol.
fn signal(script: &mut Script<'_>, tuple: &Tuple) -> Signal {
    let (choice, value) = (script.byte(), script.byte());
    let kind = match (choice, tuple.protocol()) {
        (250.., _) => choice - 250,
        (_, 6) => 0,
        (_, 17) => 1,
        (_, 132) => 2,
        (_, protocol::ICMP | protocol::ICMPV6) if choice & 1 == 0 => 3,
        _ => 4,
    };
    match kind {
        0 => Signal::Tcp { flags: value },
        1 => Signal::Udp,
        2 => Signal::Sctp { chunk: (value != 255).then_some(value) },
        3 => Signal::IcmpEcho { request: value & 1 == 0 },
        4 => Signal::Other,
        _ => Signal::Continuation,
    }
}
