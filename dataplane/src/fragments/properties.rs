//! The table against a naive model: datagrams as lists of byte ranges, searched from end to end, with shares
//! counted anew each time.

use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::buffer::Frame;
use crate::drop_reason::DropReason;
use crate::time::Timestamp;

const DATAGRAMS: usize = 16;
const HELD: usize = 16;
const HELD_PER_DATAGRAM: usize = 2;
const TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug, Clone)]
enum Op {
    First { key: FragKey, end: u32 },
    Later { key: FragKey, offset: u32, len: u32, more: bool },
    Wait { quarters: u64, expire: bool },
}

fn keys() -> impl Strategy<Value = FragKey> {
    (0..2_u32, 0..5_u8, 0..3_u32).prop_map(|(port, src, id)| FragKey {
        src: IpAddr::from([10, 0, 0, src]),
        dst: IpAddr::from([10, 0, 1, 1]),
        protocol: 17,
        id,
        port,
    })
}

fn ops() -> impl Strategy<Value = Op> {
    let len = prop::sample::select(vec![0, 5, 8, 8, 8, 8, 16, 65_528]);
    prop_oneof![
        8 => (keys(), prop::sample::select(vec![8, 8, 8, 16, 12, 65_544])).prop_map(|(key, end)| Op::First { key, end }),
        16 => (keys(), 0..5_u32, len, any::<bool>())
            .prop_map(|(key, block, len, more)| Op::Later { key, offset: block * 8, len, more }),
        2 => (0..6_u64, any::<bool>()).prop_map(|(quarters, expire)| Op::Wait { quarters, expire }),
    ]
}

struct Datagram {
    key: FragKey,
    deadline: Timestamp,
    first: Option<u32>,
    end: Option<u32>,
    killed: Option<DropReason>,
    seen: Vec<(u32, u32)>,
    held: Vec<u32>,
}

/// What becomes of a fragment, frames by their number.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Known(u32),
    Held,
    Drop(DropReason),
    Entered(Vec<u32>),
}

#[derive(Default)]
struct Model {
    datagrams: Vec<Datagram>,
    doomed: Vec<(u32, DropReason)>,
    now: Timestamp,
    next_sweep: Timestamp,
}

impl Model {
    fn close(&mut self, position: usize) {
        let gone = self.datagrams.remove(position);
        self.doomed.extend(gone.held.into_iter().map(|frame| (frame, DropReason::FragmentNoFirst)));
    }

    fn sweep(&mut self) {
        if self.now < self.next_sweep || self.datagrams.is_empty() {
            return;
        }
        self.next_sweep = self.now.plus(Duration::from_millis(250));
        while let Some(position) = self.datagrams.iter().position(|datagram| datagram.deadline <= self.now) {
            self.close(position);
        }
    }

    fn kill(&mut self, position: usize, reason: DropReason) -> Fate {
        let datagram = &mut self.datagrams[position];
        datagram.killed = Some(reason);
        let held = std::mem::take(&mut datagram.held);
        self.doomed.extend(held.into_iter().map(|frame| (frame, reason)));
        Fate::Drop(reason)
    }

    fn of(&self, wanted: impl Fn(&FragKey) -> bool) -> (usize, usize) {
        let theirs = || self.datagrams.iter().filter(|datagram| wanted(&datagram.key));
        (theirs().count(), theirs().map(|datagram| datagram.held.len()).sum())
    }

    fn fragment(
        &mut self,
        key: FragKey,
        range: (u32, u32),
        more: bool,
        first: Option<u32>,
        frame: u32,
    ) -> Fate {
        let (start, end) = range;
        if end <= start || (more && (end - start) % 8 != 0) {
            return Fate::Drop(DropReason::LengthMismatch);
        }
        let find = |model: &Self| model.datagrams.iter().position(|datagram| datagram.key == key);
        if let Some(position) = find(self)
            && self.datagrams[position].deadline <= self.now
        {
            self.close(position);
        }
        if end > 65_535 {
            return match find(self) {
                Some(position) => self.kill(position, DropReason::LengthMismatch),
                None => Fate::Drop(DropReason::LengthMismatch),
            };
        }
        if find(self).is_none() {
            if self.datagrams.len() >= DATAGRAMS {
                self.sweep();
            }
            let by_port = self.of(|other| other.port == key.port).0;
            let by_source = self.of(|other| (other.port, other.src) == (key.port, key.src)).0;
            if self.datagrams.len() >= DATAGRAMS || by_port >= DATAGRAMS / 2 || by_source >= DATAGRAMS / 8 {
                return Fate::Drop(DropReason::FragmentTableFull);
            }
            let deadline = self.now.plus(TIMEOUT);
            let (first, end, killed) = (None, None, None);
            self.datagrams.push(Datagram { key, deadline, first, end, killed, seen: vec![], held: vec![] });
        }
        let position = find(self).expect("there or made");
        let datagram = &mut self.datagrams[position];
        if let Some(reason) = datagram.killed {
            return Fate::Drop(reason);
        }
        let was_last = datagram.end == Some(end);
        if datagram.seen.contains(&range) && more != was_last {
            return Fate::Drop(DropReason::FragmentOverlap);
        }
        let overlap = datagram.seen.iter().any(|(from, to)| *from < end && start < *to);
        let beyond = datagram.end.is_some_and(|last| end > last || (!more && end != last));
        let cut = !more && datagram.seen.iter().any(|(_, to)| *to > end);
        if overlap || beyond || cut {
            return self.kill(position, DropReason::FragmentOverlap);
        }
        datagram.seen.push(range);
        if !more {
            datagram.end = Some(end);
        }
        let fate = if first.is_some() {
            datagram.first = first;
            Fate::Entered(std::mem::take(&mut datagram.held))
        } else if let Some(l4) = datagram.first {
            Fate::Known(l4)
        } else {
            let all = self.of(|_| true).1 + self.doomed.len();
            let by_port = self.of(|other| other.port == key.port).1;
            let by_source = self.of(|other| (other.port, other.src) == (key.port, key.src)).1;
            let own = self.datagrams[position].held.len();
            if all >= HELD || own >= HELD_PER_DATAGRAM || by_port >= HELD / 2 || by_source >= HELD / 4 {
                return self.kill(position, DropReason::FragmentTableFull);
            }
            self.datagrams[position].held.push(frame);
            return Fate::Held;
        };
        let datagram = &self.datagrams[position];
        let bytes: u32 = datagram.seen.iter().map(|(from, to)| to - from).sum();
        if datagram.end == Some(bytes) {
            self.close(position);
        }
        fate
    }
}

fn frame(number: u32) -> Frame {
    Frame::from_bytes(&number.to_be_bytes())
}

fn number(frame: &Frame) -> u32 {
    u32::from_be_bytes(frame.bytes().try_into().expect("four bytes"))
}

fn run(ops: Vec<Op>) {
    let mut table = FragTable::new(FragConfig {
        max_datagrams: DATAGRAMS,
        max_held_frames: HELD,
        max_held_per_datagram: HELD_PER_DATAGRAM,
        timeout: TIMEOUT,
    });
    let mut model = Model::default();
    for (name, op) in (0_u32..).zip(ops) {
        match op {
            Op::First { key, end } => {
                let mut released = Vec::new();
                let entered = table.first(key, end, name, model.now, &mut released);
                let released = released.iter().map(number).collect();
                let fate = entered.map_or_else(Fate::Drop, |()| Fate::Entered(released));
                assert_eq!(fate, model.fragment(key, (0, end), true, Some(name), name));
            }
            Op::Later { key, offset: 0, len, more } => {
                let later = table.later(key, 0, len, more, frame(name), model.now);
                assert!(matches!(later, Later::Drop(_, DropReason::BadHeader)));
            }
            Op::Later { key, offset, len, more } => {
                let fate = match table.later(key, offset, len, more, frame(name), model.now) {
                    Later::Known(l4, back) => {
                        assert_eq!(number(&back), name);
                        Fate::Known(l4)
                    }
                    Later::Held => Fate::Held,
                    Later::Drop(back, reason) => {
                        assert_eq!(number(&back), name);
                        Fate::Drop(reason)
                    }
                };
                assert_eq!(fate, model.fragment(key, (offset, offset + len), more, None, name));
            }
            Op::Wait { quarters, expire } => {
                model.now = model.now.plus(Duration::from_millis(250 * quarters));
                if expire {
                    let mut dropped = Vec::new();
                    table.expire(model.now, &mut dropped);
                    model.sweep();
                    let mut dropped: Vec<_> =
                        dropped.iter().map(|(frame, reason)| (number(frame), *reason)).collect();
                    let mut expected = std::mem::take(&mut model.doomed);
                    dropped.sort_unstable();
                    expected.sort_unstable();
                    assert_eq!(dropped, expected);
                }
            }
        }
        assert_eq!(table.len(), model.datagrams.len());
        assert_eq!(table.held_frames(), model.of(|_| true).1 + model.doomed.len());
        assert!(table.held_frames() <= HELD);
    }
    // Nothing is left once everything's time is up.
    table.expire(Timestamp::from_nanos(u64::MAX), &mut Vec::new());
    assert!(table.is_empty());
    assert_eq!(table.held_frames(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_table_does_what_a_list_of_ranges_does(ops in prop::collection::vec(ops(), 1..120)) {
        run(ops);
    }
}
