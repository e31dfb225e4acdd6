//! The connection table's lock-free parts in every order in which threads may meet, under loom.
//!
//! Compiles the table's own files with loom's atomics in the place of std's. Modelled are the entry (`cell`, `word`), the
//! stacks of places (`stack`), a slot of the index and quota counting (`account`); a few steps of two or three threads
//! each, since the number of orders grows fast. What is not: the lists and wheels, which are under locks, and what
//! processors do beyond C11 with its relaxed reads (loom runs them, but bounds how stale they may be).

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "files of the table, of which parts are used here"
)]

#[path = "../src/conntrack/account.rs"]
mod account;
#[path = "../src/conntrack/cell.rs"]
mod cell;
#[path = "../src/conntrack/names.rs"]
mod names;
#[path = "../src/conntrack/stack.rs"]
mod stack;
#[path = "../src/conntrack/word.rs"]
mod word;

/// What `conntrack/sync.rs` is to the table.
mod sync {
    pub(super) const ADDRESS_WORDS: usize = 1;
    pub(super) use loom::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
}

use std::sync::Arc;

use account::Account;
use cell::{Cell, Filling, Key, Meta};
use loom::thread;
use names::Dir;
use stack::{BOTTOM, Moved, Vacant};
use sync::{AtomicU32, Ordering};
use word::Word;

/// A life of no meaning; the table's are nine bits.
const YOUNG: u16 = 16;
const OLD: u16 = 32;

/// Every order with up to two switches away from a thread that could go on, which is known to find nearly all that
/// can go wrong; without a bound the copy of a whole entry takes hours. `LOOM_MAX_PREEMPTIONS` asks for more.
fn every_order(run: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = model.preemption_bound.or(Some(2));
    model.check(run);
}

fn key(number: u64) -> Key {
    Key { addresses: [number; sync::ADDRESS_WORDS], ports: number as u32, kind: number as u16 }
}

fn filling(number: u64) -> Filling {
    let reply = Key { ports: number as u32 + 100, ..key(number) };
    let meta = Meta { created_ms: number, shard: number as u8, kind: number as u16 };
    Filling { original: key(number), reply, meta, state: Word::new(YOUNG, number), bytes: 1 }
}

fn open(cell: &Cell, number: u64, generation: u32) -> u32 {
    let serial = cell.fill(&filling(number));
    cell.publish(serial, generation);
    serial
}

#[test]
fn a_reader_never_sees_one_connection_under_another_ones_key() {
    every_order(|| {
        let cell = Arc::new(Cell::default());
        let first = open(&cell, 1, 7);
        let writer = {
            let cell = Arc::clone(&cell);
            thread::spawn(move || {
                cell.retire_if(|_| true).unwrap();
                open(&cell, 2, 8)
            })
        };
        for number in [1, 2] {
            if let Some((serial, state)) = cell.find(&key(number), Dir::Original) {
                assert_eq!(serial == first, number == 1, "found under its own key");
                assert!(state.is_over() || state.deadline_ns() == Word::new(0, number).deadline_ns());
            }
        }
        let second = writer.join().unwrap();
        assert!(cell.find(&key(1), Dir::Original).is_none());
        assert_eq!(cell.find(&key(2), Dir::Original).map(|(serial, _)| serial), Some(second));
    });
}

#[test]
fn a_copy_is_of_one_connection() {
    every_order(|| {
        let cell = Arc::new(Cell::default());
        open(&cell, 1, 1);
        let writer = {
            let cell = Arc::clone(&cell);
            thread::spawn(move || {
                cell.retire_if(|_| true).unwrap();
                open(&cell, 2, 2);
            })
        };
        if let Some(copy) = cell.snapshot() {
            let number = copy.original.addresses[0];
            assert_eq!((copy.original, copy.meta.shard), (key(number), number as u8));
            assert_eq!((u64::from(copy.generation), copy.reply.ports), (number, number as u32 + 100));
        }
        writer.join().unwrap();
    });
}

#[test]
fn an_update_that_comes_late_touches_neither_the_next_connection_nor_its_judgement() {
    every_order(|| {
        let cell = Arc::new(Cell::default());
        let first = open(&cell, 1, 1);
        let late = {
            let cell = Arc::clone(&cell);
            thread::spawn(move || {
                let moved = cell.advance(first, |word| Some((word.with_life(OLD).moved(), ())));
                cell.mark_judged(first, 9);
                moved.is_some()
            })
        };
        let last = cell.retire_if(|_| true).unwrap();
        // A place on its way to the stack is given to nobody.
        let second = (!last.is_moved()).then(|| open(&cell, 1, 2));
        let was_in_time = late.join().unwrap();
        assert_eq!(was_in_time, last.is_moved(), "in time or not at all");
        assert_eq!(last.life() == OLD, was_in_time);
        if let Some(second) = second {
            assert_eq!((cell.state().life(), cell.state().is_moved()), (YOUNG, false));
            assert_eq!(cell.generation(second), Some(2));
        }
    });
}

#[test]
fn of_two_updates_at_once_neither_is_lost_and_one_is_told_to_move_it() {
    every_order(|| {
        let cell = Arc::new(Cell::default());
        let serial = open(&cell, 1, 1);
        let update = move |cell: &Cell, bit: u16| {
            let change = cell.advance(serial, |word| Some((word.with_life(word.life() | bit).moved(), ())));
            let change = change.unwrap();
            change.new.is_moved() && !change.old.is_moved()
        };
        let other = {
            let cell = Arc::clone(&cell);
            thread::spawn(move || update(&cell, 1))
        };
        let here = update(&cell, 2);
        let there = other.join().unwrap();
        assert_eq!(cell.state().life(), YOUNG | 3);
        assert!(here != there);
    });
}

#[test]
fn nothing_ends_as_idle_that_was_refreshed_first() {
    every_order(|| {
        let cell = Arc::new(Cell::default());
        let serial = open(&cell, 1, 1);
        let packet = {
            let cell = Arc::clone(&cell);
            thread::spawn(move || {
                cell.advance(serial, |word| Some((word.with(Word::new(OLD, 99)), ()))).is_some()
            })
        };
        let ended = cell.retire_if(|word| word.deadline_ns() <= Word::new(0, 1).deadline_ns()).is_some();
        assert!(packet.join().unwrap() != ended);
        assert_eq!(cell.is(serial), !ended);
    });
}

fn links() -> Arc<[AtomicU32; 3]> {
    Arc::new(std::array::from_fn(|_| AtomicU32::new(BOTTOM)))
}

#[test]
fn a_vacant_place_is_given_to_one() {
    every_order(|| {
        let (stack, links) = (Arc::new(Vacant::new()), links());
        for place in [0, 1] {
            stack.push(place, &links[place as usize]);
        }
        let other = {
            let (stack, links) = (Arc::clone(&stack), Arc::clone(&links));
            // Takes two and gives one back: the top is the same again, and what is below it another one.
            thread::spawn(move || {
                let taken = [(); 2].map(|()| stack.pop(|place| links.get(place as usize)));
                let (first, second) = (taken[0]?, taken[1]);
                stack.push(first, &links[first as usize]);
                second
            })
        };
        let here = stack.pop(|place| links.get(place as usize));
        let there = other.join().unwrap();
        let mut rest = vec![here, there];
        rest.extend(std::iter::from_fn(|| stack.pop(|place| links.get(place as usize))).map(Some));
        let mut places: Vec<u32> = rest.into_iter().flatten().collect();
        places.sort_unstable();
        let all = places.len();
        places.dedup();
        assert_eq!(places.len(), all, "no place twice");
        assert_eq!(places, [0, 1]);
    });
}

#[test]
fn what_is_put_on_the_stack_of_the_moved_is_announced_and_taken_once() {
    every_order(|| {
        let (stack, links, bell) = (Arc::new(Moved::new()), links(), Arc::new(AtomicU32::new(0)));
        let pushers: Vec<_> = [0_u32, 1]
            .map(|place| {
                let (stack, links, bell) = (Arc::clone(&stack), Arc::clone(&links), Arc::clone(&bell));
                thread::spawn(move || {
                    if stack.push(place, &links[place as usize]) {
                        bell.fetch_or(1, Ordering::AcqRel);
                    }
                })
            })
            .into();
        let mut seen = Vec::new();
        let mut take = || {
            if bell.fetch_and(0, Ordering::AcqRel) == 1 {
                let mut place = stack.take(|place| links.get(place as usize));
                while place != BOTTOM {
                    seen.push(place);
                    place = links[place as usize].load(Ordering::Relaxed);
                }
            }
        };
        take();
        for pusher in pushers {
            pusher.join().unwrap();
        }
        take();
        seen.sort_unstable();
        assert_eq!(seen, [0, 1]);
    });
}

#[test]
fn a_quota_is_never_exceeded_and_what_is_released_can_be_had_again() {
    every_order(|| {
        let account = Arc::new(Account::new());
        let askers = [(); 2].map(|()| {
            let account = Arc::clone(&account);
            thread::spawn(move || {
                let had = account.reserve(1);
                if had {
                    assert_eq!(account.entries(), 1);
                    account.release();
                }
                had
            })
        });
        let had = askers.map(|asker| asker.join().unwrap());
        assert!(had.contains(&true));
        assert_eq!(account.entries(), 0);
    });
}
