//! The table against a naive model: a list of connections, searched from end to end, with the same state
//! machine and nothing of index, wheel, slab and lists.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::time::Duration;

use ahash::RandomState;
use proptest::prelude::*;

use super::entry::Opening;
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

#[derive(Default)]
struct Model {
    /// Connections, and when each was put on its shelf.
    conns: Vec<(Conn, u64)>,
    now: Timestamp,
    clock: u64,
}

impl Model {
    fn position(&self, tuple: &Tuple) -> Option<(usize, Dir)> {
        self.conns.iter().enumerate().find_map(|(position, (conn, _))| {
            let live = conn.deadline > self.now;
            let dir = match *tuple {
                key if key == conn.original => Dir::Original,
                key if key == conn.reply => Dir::Reply,
                _ => return None,
            };
            live.then_some((position, dir))
        })
    }

    fn held(&self, owner: Owner) -> usize {
        self.conns.iter().filter(|(conn, _)| conn.charged == owner).count()
    }

    fn sweep(&mut self) {
        self.conns.retain(|(conn, _)| conn.deadline > self.now);
    }

    /// Evicts what `owner` misses least.
    fn evict(&mut self, owner: Owner) -> bool {
        let theirs = self.conns.iter().enumerate().filter(|(_, (conn, _))| conn.charged == owner);
        let spare = theirs.filter(|(_, (conn, _))| conn.shelf != Shelf::Kept);
        let victim = spare.min_by_key(|(_, (conn, shelved))| (conn.shelf == Shelf::Tentative, *shelved));
        let Some(position) = victim.map(|(position, _)| position) else { return false };
        self.conns.remove(position);
        true
    }

    fn richest(&self) -> Option<Owner> {
        let spare = |owner: Owner| {
            let theirs = self.conns.iter().filter(|(conn, _)| conn.charged == owner);
            theirs.filter(|(conn, _)| conn.shelf != Shelf::Kept).count()
        };
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
        let opening = Opening {
            original: tuple,
            source_owner: owners.0,
            dest_owner: owners.1,
            generation: 1,
            state,
            bytes: 100,
        };
        let owner = opening.charged();
        // An entry that has ended makes way for its own key, whether swept or not.
        self.conns.retain(|(conn, _)| {
            conn.deadline > self.now
                || ![conn.original, conn.reply].iter().any(|key| [tuple, reply].contains(key))
        });
        if self.held(owner) >= QUOTA || self.conns.len() >= MAX {
            self.sweep();
        }
        if self.held(owner) >= QUOTA && !self.evict(owner) {
            return Err(InsertError::Quota);
        }
        if self.conns.len() >= MAX && !self.evict(owner) {
            let richest = self.richest().ok_or(InsertError::Full)?;
            self.evict(richest);
        }
        self.clock += 1;
        self.conns.push((Conn::new(&opening, self.now, &Timeouts::default()), self.clock));
        Ok(())
    }

    fn update(&mut self, position: usize, dir: Dir, signal: Signal) -> Option<bool> {
        self.clock += 1;
        let (conn, shelved) = &mut self.conns[position];
        let reopened = conn.receive(dir, signal, 100, self.now, &Timeouts::default())?;
        if conn.shelf != conn.wanted_shelf() {
            conn.shelf = conn.wanted_shelf();
            *shelved = self.clock;
        }
        Some(reopened)
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
        let in_model = model.position(&key).map(|(position, dir)| (dir, face(&model.conns[position].0)));
        assert_eq!(in_table, in_model, "{key:?}");
    }
    let live = model.conns.iter().filter(|(conn, _)| conn.deadline > model.now).count();
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
                    assert_eq!(table.len(), model.conns.len());
                }
            }
            Op::Remove { tuple } => {
                if let Some((id, _)) = table.lookup(&tuple) {
                    table.remove(id);
                    assert!(table.get(id).is_none());
                }
                if let Some((position, _)) = model.position(&tuple) {
                    model.conns.remove(position);
                }
            }
            Op::RemoveOwner { owner } => {
                table.remove_owner(owner);
                model.conns.retain(|(conn, _)| conn.source_owner != owner && conn.dest_owner != owner);
            }
        }
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
