//! The table against a naive model: a list of connections, searched from end to end, with the same state
//! machine and nothing of packed words, index, wheels, places and lists.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::time::Duration;

use ahash::RandomState;
use proptest::prelude::*;

use super::entry::Owners;
use super::life::{Effect, Life};
use super::state::{Shelf, State};
use super::*;
use crate::time::Timestamp;

const MAX: usize = 7;
const QUOTA: usize = 3;
const OWNERS: [Owner; 4] = [Owner(0), Owner(1), Owner(2), Owner::NONE];

#[derive(Debug, Clone)]
enum Op {
    /// A packet, treated as the pipeline does: updates its connection, or opens one.
    Packet {
        tuple: Tuple,
        owners: (Owner, Owner),
        signal: Signal,
    },
    /// Opens without looking first.
    Insert {
        tuple: Tuple,
        owners: (Owner, Owner),
        signal: Signal,
    },
    /// Time passes; the sweep gets this budget.
    Wait {
        quarters: u64,
        sweep: bool,
    },
    Remove {
        tuple: Tuple,
    },
    RemoveOwner {
        owner: Owner,
    },
}

fn tuples() -> impl Strategy<Value = (Tuple, (Owner, Owner))> {
    let protocols = prop::sample::select(vec![1_u8, 6, 6, 6, 17, 17, 132, 47]);
    (0..4_usize, 0..4_usize, protocols, any::<bool>(), any::<bool>()).prop_map(
        |(from, to, protocol, port, forward)| {
            let address = |end: usize| IpAddr::from([10, 0, 0, end as u8]);
            let tuple = match protocol {
                1 => Tuple::icmp_echo(address(from), address(to), 1, u16::from(port), forward),
                47 => Tuple::new(address(from), address(to), 47, 0, 0),
                _ => {
                    let (near, far) = (1000 + u16::from(port), 80);
                    let ports = if forward { (near, far) } else { (far, near) };
                    Tuple::new(address(from), address(to), protocol, ports.0, ports.1)
                }
            };
            (tuple.unwrap(), (OWNERS[from], OWNERS[to]))
        },
    )
}

fn packets() -> impl Strategy<Value = (Tuple, (Owner, Owner), Signal)> {
    let flags = prop::sample::select(vec![0x02_u8, 0x02, 0x12, 0x10, 0x10, 0x11, 0x04, 0x14, 0, 0x29]);
    let chunk = prop::sample::select(vec![1_u8, 1, 2, 10, 11, 0, 6, 7, 8, 14]);
    (tuples(), flags, chunk, 0..20_u8).prop_map(|((tuple, owners), flags, chunk, odd)| {
        let signal = match (odd, tuple.protocol()) {
            (0, _) => Signal::Continuation,
            (1, _) | (_, 17) => Signal::Udp,
            (_, 6) => Signal::Tcp { flags },
            (_, 132) => Signal::Sctp { chunk: Some(chunk) },
            (_, 1) => Signal::IcmpEcho { request: tuple.is_echo_request() },
            _ => Signal::Other,
        };
        (tuple, owners, signal)
    })
}

fn ops() -> impl Strategy<Value = Op> {
    prop_oneof![
        40 => packets().prop_map(|(tuple, owners, signal)| Op::Packet { tuple, owners, signal }),
        4 => packets().prop_map(|(tuple, owners, signal)| Op::Insert { tuple, owners, signal }),
        6 => (0..30_u64, any::<bool>()).prop_map(|(quarters, sweep)| Op::Wait { quarters, sweep }),
        1 => (0..4_000_u64, any::<bool>()).prop_map(|(quarters, sweep)| Op::Wait { quarters, sweep }),
        1 => (0..4_000_000_u64, any::<bool>()).prop_map(|(quarters, sweep)| Op::Wait { quarters, sweep }),
        1 => tuples().prop_map(|(tuple, _)| Op::Remove { tuple }),
        1 => prop::sample::select(OWNERS.to_vec()).prop_map(|owner| Op::RemoveOwner { owner }),
    ]
}

/// A connection as one would write it down without packing anything.
struct Entry {
    conn: Conn,
    charged: Owner,
    shelf: Shelf,
    /// When it was put on its shelf.
    shelved: u64,
}

impl Entry {
    fn new(tuple: Tuple, owners: Owners, state: State, now: Timestamp, shelved: u64) -> Self {
        let life = Life::opened(state);
        let conn = Conn {
            original: tuple,
            reply: tuple.reversed(),
            generation: 1,
            source_owner: owners.source,
            dest_owner: owners.dest,
            life,
            created: now,
            deadline: now.plus(life.timeout(Duration::ZERO, &Timeouts::default())),
            packets: [1, 0],
            bytes: [100, 0],
        };
        Self { conn, charged: owners.charged(), shelf: life.shelf(), shelved }
    }

    fn receive(&mut self, dir: Dir, signal: Signal, now: Timestamp, clock: u64) -> Option<bool> {
        let conn = &mut self.conn;
        let (life, effect) = conn.life.receive(dir, signal)?;
        conn.life = life;
        if effect == Effect::Reopen {
            (conn.created, conn.packets, conn.bytes) = (now, [0; 2], [0; 2]);
        }
        if effect != Effect::Pass {
            conn.deadline = now.plus(life.timeout(now.since(conn.created), &Timeouts::default()));
        }
        conn.packets[dir.index()] += 1;
        conn.bytes[dir.index()] += 100;
        if self.shelf != life.shelf() {
            (self.shelf, self.shelved) = (life.shelf(), clock);
        }
        Some(effect == Effect::Reopen)
    }
}

#[derive(Default)]
struct Model {
    entries: Vec<Entry>,
    now: Timestamp,
    clock: u64,
}

impl Model {
    fn position(&self, tuple: &Tuple) -> Option<(usize, Dir)> {
        self.entries.iter().enumerate().find_map(|(position, Entry { conn, .. })| {
            let live = conn.deadline > self.now;
            let dir = match *tuple {
                key if key == conn.original => Dir::Original,
                key if key == conn.reply => Dir::Reply,
                _ => return None,
            };
            live.then_some((position, dir))
        })
    }

    fn theirs(&self, owner: Owner) -> impl Iterator<Item = (usize, &Entry)> {
        self.entries.iter().enumerate().filter(move |(_, entry)| entry.charged == owner)
    }

    fn spare(&self, owner: Owner) -> impl Iterator<Item = (usize, &Entry)> {
        self.theirs(owner).filter(|(_, entry)| entry.shelf != Shelf::Kept)
    }

    fn sweep(&mut self) {
        self.entries.retain(|entry| entry.conn.deadline > self.now);
    }

    /// Evicts what `owner` misses least.
    fn evict(&mut self, owner: Owner) -> bool {
        let order = |entry: &Entry| (entry.shelf == Shelf::Tentative, entry.shelved);
        let victim = self.spare(owner).min_by_key(|(_, entry)| order(entry));
        let Some(position) = victim.map(|(position, _)| position) else { return false };
        self.entries.remove(position);
        true
    }

    fn richest(&self) -> Option<Owner> {
        let spare = |owner: Owner| self.spare(owner).count();
        OWNERS
            .into_iter()
            .filter(|owner| spare(*owner) > 0)
            .max_by_key(|owner| (spare(*owner), Reverse(*owner)))
    }

    fn insert(&mut self, tuple: Tuple, owners: (Owner, Owner), signal: Signal) -> Result<(), InsertError> {
        let state = State::open(&tuple, signal).ok_or(InsertError::Invalid)?;
        let reply = tuple.reversed();
        if reply == tuple || self.position(&tuple).is_some() || self.position(&reply).is_some() {
            return Err(InsertError::Invalid);
        }
        let owners = Owners { source: owners.0, dest: owners.1 };
        let owner = owners.charged();
        // An entry that has ended makes way for its own key, whether swept or not.
        self.entries.retain(|Entry { conn, .. }| {
            conn.deadline > self.now
                || ![conn.original, conn.reply].iter().any(|key| [tuple, reply].contains(key))
        });
        if self.theirs(owner).count() >= QUOTA || self.entries.len() >= MAX {
            self.sweep();
        }
        if self.theirs(owner).count() >= QUOTA && !self.evict(owner) {
            return Err(InsertError::Quota);
        }
        if self.entries.len() >= MAX && !self.evict(owner) {
            let richest = self.richest().ok_or(InsertError::Full)?;
            self.evict(richest);
        }
        self.clock += 1;
        self.entries.push(Entry::new(tuple, owners, state, self.now, self.clock));
        Ok(())
    }

    fn update(&mut self, position: usize, dir: Dir, signal: Signal) -> Option<bool> {
        self.clock += 1;
        self.entries[position].receive(dir, signal, self.now, self.clock)
    }
}

/// What can be seen of a connection.
fn face(conn: &Conn) -> impl PartialEq + std::fmt::Debug + use<> {
    let counters = [Dir::Original, Dir::Reply].map(|dir| (conn.packets(dir), conn.bytes(dir)));
    (conn.original, conn.state_name(), conn.replied(), conn.assured(), conn.deadline(), counters)
}

fn compare(table: &ConnTable, model: &Model, keys: &[Tuple]) {
    for key in keys.iter().flat_map(|key| [*key, key.reversed()]) {
        let in_table = table.lookup(&key).map(|(id, dir)| (dir, face(&table.get(id).unwrap())));
        let in_model = model.position(&key).map(|(position, dir)| (dir, face(&model.entries[position].conn)));
        assert_eq!(in_table, in_model, "{key:?}");
    }
    let live = model.entries.iter().filter(|entry| entry.conn.deadline > model.now).count();
    assert_eq!(table.iter().count(), live);
    assert!(table.len() <= MAX);
    for owner in OWNERS {
        assert!(table.held_by(owner) <= QUOTA);
    }
}

fn run(ops: Vec<Op>) {
    let config = ConntrackConfig { max_entries: MAX, owner_quota: QUOTA, timeouts: Timeouts::default() };
    let table = ConnTable::new(config, RandomState::with_seeds(1, 2, 3, 4));
    let mut model = Model::default();
    let mut keys = Vec::new();
    for op in ops {
        match op {
            Op::Packet { tuple, owners, signal } => {
                keys.push(tuple);
                if let Some((id, dir)) = table.lookup(&tuple) {
                    let (position, _) = model.position(&tuple).expect("the model has it too");
                    let updated = table.update(id, dir, signal, 100, model.now);
                    let expected = model.update(position, dir, signal);
                    assert_eq!(updated.ok().map(|updated| updated.reopened), expected);
                } else {
                    let inserted = table.insert(tuple, owners.0, owners.1, 1, signal, 100, model.now);
                    assert_eq!(inserted.map(|_| ()), model.insert(tuple, owners, signal));
                }
            }
            Op::Insert { tuple, owners, signal } => {
                keys.push(tuple);
                let inserted = table.insert(tuple, owners.0, owners.1, 1, signal, 100, model.now);
                assert_eq!(inserted.map(|_| ()), model.insert(tuple, owners, signal));
            }
            Op::Wait { quarters, sweep } => {
                model.now = model.now.plus(Duration::from_millis(250 * quarters));
                table.expire(model.now, if sweep { 100 } else { 0 });
                if sweep {
                    model.sweep();
                    assert_eq!(table.len(), model.entries.len());
                }
            }
            Op::Remove { tuple } => {
                if let Some((id, _)) = table.lookup(&tuple) {
                    table.remove(id);
                    assert!(table.get(id).is_none());
                }
                if let Some((position, _)) = model.position(&tuple) {
                    model.entries.remove(position);
                }
            }
            Op::RemoveOwner { owner } => {
                table.begin_purge(1);
                table.purge(1, u32::MAX, |conn| conn.source_owner == owner || conn.dest_owner == owner);
                model
                    .entries
                    .retain(|Entry { conn, .. }| conn.source_owner != owner && conn.dest_owner != owner);
            }
        }
        // As the pipeline does with each batch: what the packet moved is hung up where it belongs.
        table.expire(model.now, 0);
        compare(&table, &model, &keys);
    }
    // Nothing is left hanging anywhere once everything has gone.
    table.expire(Timestamp::from_nanos(u64::MAX), 1_000);
    assert!(table.is_empty());
    for owner in OWNERS {
        assert_eq!(table.held_by(owner), 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_table_does_what_a_list_of_connections_does(ops in prop::collection::vec(ops(), 1..150)) {
        run(ops);
    }
}
