//! The table under several real threads: each connection goes the way its packets say, whatever the others do.
//!
//! Two threads carry the packets of a few connections, each step compared with an unpacked [`Life`] and plain counters
//! behind a lock of its own, so that the table's answers to one connection are in a known order while those to
//! different connections are in none. Two more flood the same shards with connections of their own, which they open,
//! end and find against each other without any lock. Every order in the few steps that matter is loom's business
//! (`tests/conntrack_model.rs`).

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ahash::RandomState;
use proptest::prelude::*;

use super::life::{Effect, Life};
use super::state::State;
use super::*;
use crate::time::Timestamp;

const ENTRIES: usize = 8_192;
const QUOTA: usize = 48;
const FLOODER: Owner = Owner(9);
const CARRIED: u16 = 6;

fn tuple(host: u8, protocol: u8, src_port: u16) -> Tuple {
    let address = |last| IpAddr::from([10, 0, 0, last]);
    Tuple::new(address(host), address(200), protocol, src_port, 80).unwrap()
}

/// What one connection is expected to be.
struct Expected {
    tuple: Tuple,
    id: Option<ConnId>,
    life: Life,
    packets: [u64; 2],
}

struct World {
    table: ConnTable,
    carried: Vec<Mutex<Expected>>,
    clock: AtomicU64,
    is_over: AtomicBool,
}

impl World {
    fn new() -> Self {
        let config = ConntrackConfig { owner_quota: QUOTA, ..ConntrackConfig::with_max_entries(ENTRIES) };
        let expected = |port| {
            let protocol = if port % 3 == 0 { protocol::UDP } else { protocol::TCP };
            let tuple = tuple(1, protocol, port);
            Mutex::new(Expected { tuple, id: None, life: Life::opened(State::Udp), packets: [0; 2] })
        };
        Self {
            table: ConnTable::new(config, RandomState::with_seeds(1, 2, 3, 4)),
            carried: (0..CARRIED).map(expected).collect(),
            clock: AtomicU64::new(1),
            is_over: AtomicBool::new(false),
        }
    }

    /// Time passes, but nothing is idle for long.
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.clock.fetch_add(100_000, Ordering::Relaxed))
    }

    /// One packet of a carried connection, in the table and as it should be.
    fn carry(&self, (connection, back, flags): (usize, bool, u8)) {
        let mut expected = self.carried[connection].lock().unwrap();
        let is_tcp = expected.tuple.protocol() == protocol::TCP;
        let signal = if is_tcp { Signal::Tcp { flags } } else { Signal::Udp };
        let (key, dir) =
            if back { (expected.tuple.reversed(), Dir::Reply) } else { (expected.tuple, Dir::Original) };
        let Some(id) = expected.id else {
            let state = State::open(&expected.tuple, signal);
            let opened = self.table.insert(expected.tuple, Owner(1), Owner(2), 1, signal, 100, self.now());
            assert_eq!(opened.is_ok(), state.is_some());
            if let (Ok(id), Some(state)) = (opened, state) {
                expected.id = Some(id);
                expected.life = Life::opened(state);
                expected.packets = [1, 0];
            }
            return;
        };
        assert_eq!(self.table.lookup(&key), Some((id, dir)));
        let updated = self.table.update(id, dir, signal, 100, self.now());
        match expected.life.receive(dir, signal) {
            None => assert_eq!(updated, Err(Invalid)),
            Some((life, effect)) => {
                assert_eq!(updated, Ok(Updated { reopened: effect == Effect::Reopen }));
                expected.life = life;
                if effect == Effect::Reopen {
                    expected.packets = [0; 2];
                }
                expected.packets[dir.index()] += 1;
            }
        }
        let conn = self.table.get(id).unwrap();
        assert_eq!(conn.life, expected.life);
        assert_eq!([conn.packets(Dir::Original), conn.packets(Dir::Reply)], expected.packets);
        self.table.expire(self.now(), 8);
    }

    /// Opens, finds, moves on and ends connections that another thread does the same to. Returns those it opened.
    fn flood(&self, seed: u64) -> Vec<ConnId> {
        let (mut random, mut opened) = (seed | 1, Vec::new());
        while !self.is_over.load(Ordering::Relaxed) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let tuple = tuple(9, protocol::TCP, (random >> 8) as u16 % 128);
            let flags = [0x02, 0x12, 0x10, 0x11, 0x04][(random >> 32) as usize % 5];
            let signal = Signal::Tcp { flags };
            let key = if random & 1 == 0 { tuple } else { tuple.reversed() };
            if let Some((id, dir)) = self.table.lookup(&key) {
                if let Some(conn) = self.table.get(id) {
                    let found = if dir == Dir::Original { conn.original } else { *conn.reply() };
                    assert_eq!(found, key, "a name leads to the connection it was given for");
                }
                match random >> 40 & 7 {
                    0 => self.table.remove(id),
                    _ => drop(self.table.update(id, dir, signal, 100, self.now())),
                }
            } else if let Ok(id) =
                self.table.insert(tuple, FLOODER, Owner::NONE, 1, Signal::Tcp { flags: 2 }, 60, self.now())
            {
                opened.push(id);
            }
            assert!(self.table.held_by(FLOODER) <= QUOTA);
        }
        opened
    }

    /// Once all is quiet: everything is accounted for.
    fn balance(&self) {
        self.table.expire(self.now(), usize::MAX);
        let stats = self.table.stats();
        let gone = stats.expired + stats.removed + stats.evicted_unreplied + stats.evicted_closed;
        assert_eq!(stats.inserted - gone, self.table.len() as u64, "{stats:?}");
        assert_eq!(self.table.iter().count(), self.table.len());
        assert_eq!(self.table.held_by(FLOODER) + self.table.held_by(Owner(1)), self.table.len());
        for (id, conn) in self.table.iter() {
            assert_eq!(self.table.lookup(&conn.original), Some((id, Dir::Original)));
            assert_eq!(self.table.lookup(conn.reply()), Some((id, Dir::Reply)));
        }
        self.table.expire(Timestamp::from_nanos(u64::MAX), usize::MAX);
        assert!(self.table.is_empty());
        assert_eq!(self.table.held_by(FLOODER), 0);
    }
}

fn packets() -> impl Strategy<Value = Vec<(usize, bool, u8)>> {
    let flags = prop::sample::select(vec![0x02_u8, 0x12, 0x10, 0x10, 0x11, 0x04, 0x29]);
    prop::collection::vec((0..usize::from(CARRIED), any::<bool>(), flags), 200..400)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn connections_of_several_threads_go_each_their_own_way(
        first in packets(),
        second in packets(),
        seed in any::<u64>(),
    ) {
        let world = World::new();
        let opened = std::thread::scope(|scope| {
            let floods = [seed, seed ^ 0x5555].map(|seed| scope.spawn({ let world = &world; move || world.flood(seed) }));
            let carriers = [first, second].map(|packets| {
                let world = &world;
                scope.spawn(move || packets.into_iter().for_each(|packet| world.carry(packet)))
            });
            let carried: Vec<_> = carriers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
            world.is_over.store(true, Ordering::Relaxed);
            let opened = floods.map(|flood| flood.join().unwrap());
            assert!(carried.into_iter().all(|result| result.is_ok()));
            opened
        });
        let names: HashSet<_> = opened.iter().flatten().collect();
        prop_assert_eq!(names.len(), opened.iter().map(Vec::len).sum::<usize>(), "no name twice");
        world.balance();
    }
}

#[test]
fn a_table_filled_by_several_threads_holds_as_many_as_it_should() {
    let config = ConntrackConfig { owner_quota: ENTRIES, ..ConntrackConfig::with_max_entries(ENTRIES) };
    let table = ConnTable::new(config, RandomState::with_seeds(1, 2, 3, 4));
    std::thread::scope(|scope| {
        for host in 1..=4 {
            let table = &table;
            scope.spawn(move || {
                for port in 0..ENTRIES as u16 / 2 {
                    let opened = table.insert(
                        tuple(host, protocol::UDP, port),
                        Owner(host.into()),
                        Owner::NONE,
                        1,
                        Signal::Udp,
                        60,
                        Timestamp::ZERO,
                    );
                    assert!(opened.is_ok(), "one's own oldest, or the richest's, makes way");
                }
            });
        }
    });
    assert_eq!(table.len(), ENTRIES);
    assert_eq!(table.stats().evicted_unreplied, ENTRIES as u64);
}
