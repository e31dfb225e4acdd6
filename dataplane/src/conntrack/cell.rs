//! One entry's shared words, and the protocol by which workers read and write them without a lock.
//!
//! ```text
//!   line 0   name      serial (32) | generation (32)          odd serial: a connection lives here
//!            meta      created, ms (45) | shard | kind        kind: family and protocol
//!            state     deadline, 50 ms (39) | serial (15) | life (9) | moved (1)
//!            ports     of the original tuple (32) | of the reply (32)
//!            counters  packets and bytes, original and reply
//!   line 1   original  source and destination address (4 words)
//!            reply     source and destination address (4 words)
//! ```
//! A packet whose connection is known by name takes line 0 alone; who has to find it by its tuple reads both. `state` is
//! written only when the life or the deadline, which counts in 50 ms, moves on.
//!
//! # Invariants
//! 1. A place has one owner at a time: the worker that took it from the stack of vacant places, until
//!    [`Cell::publish`]; from then on the holder of its shard's lock. Only they call `fill`, `publish`, `retire_if`.
//! 2. `name` has an odd serial from `publish` to `retire_if` and no longer, and no serial twice (but for the wrap
//!    after 2^31 connections in one place). Keys and ports change only while it is even.
//! 3. Readers read `name` (acquire), then the words, then, behind an acquire fence, `name` again: if the serial is
//!    the same, all words were of that one connection. Partners: the release fence of `fill`, which puts the end
//!    of the last connection before the words of the next, and the release store of `publish`, which puts the
//!    words before the name.
//! 4. Nobody changes the life or the deadline of a connection but by compare-exchange of the whole `state`, which
//!    carries 15 bits of the serial. So a packet that was under way when its connection ended cannot touch the
//!    next one's state (it would have to be overtaken by exactly a multiple of 2^14 connections in one place, all
//!    within 50 ms and in the same state).
//! 5. The generation is changed by compare-exchange of the whole `name`, which carries the whole serial: no
//!    connection is ever marked as judged for another one's sake.
//! 6. `moved` is set by the worker whose change calls for bookkeeping, and that worker alone then puts the place on
//!    its shard's stack; until the holder of the lock has taken it down from there, the place is given to nobody.
//!
//! # What can be lost
//! Counters are added to by load and store, which costs a third of an atomic addition: where two workers receive
//! the same direction of one connection at the same instant, one of the additions may go missing. A packet overtaken
//! by the end of its connection may count in the next one's. Nothing is decided by counters.
//!
//! Checked by loom in `tests/conntrack_model.rs`: find against end and reuse, two updates at once, judging against
//! reuse.

use super::names::Dir;
use super::sync::{ADDRESS_WORDS, AtomicU64, Ordering, fence};
use super::word::Word;

/// One tuple as words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    /// Source and destination.
    pub(super) addresses: [u64; ADDRESS_WORDS],
    /// Source and destination port.
    pub(super) ports: u32,
    /// Family and protocol.
    pub(super) kind: u16,
}

/// What does not change over the life of a connection, but for `created`, which a reopening sets anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) created_ms: u64,
    pub(super) shard: u8,
    pub(super) kind: u16,
}

const KIND_BITS: u32 = 9;
const SHARD_BITS: u32 = 6;
const KIND: u64 = (1 << KIND_BITS) - 1;
const SHARD: u64 = (1 << SHARD_BITS) - 1;

impl Meta {
    const fn pack(self) -> u64 {
        self.created_ms << (KIND_BITS + SHARD_BITS)
            | (self.shard as u64 & SHARD) << KIND_BITS
            | self.kind as u64 & KIND
    }

    const fn unpack(word: u64) -> Self {
        Self {
            created_ms: word >> (KIND_BITS + SHARD_BITS),
            shard: (word >> KIND_BITS & SHARD) as u8,
            kind: (word & KIND) as u16,
        }
    }
}

/// What a place is filled with.
pub(super) struct Filling {
    pub(super) original: Key,
    pub(super) reply: Key,
    pub(super) meta: Meta,
    /// Its serial is put in by [`Cell::fill`].
    pub(super) state: Word,
    pub(super) bytes: u32,
}

/// All of an entry, as of one moment; the counters of about that moment.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) serial: u32,
    pub(super) generation: u32,
    pub(super) original: Key,
    pub(super) reply: Key,
    pub(super) meta: Meta,
    pub(super) state: Word,
    pub(super) packets: [u64; 2],
    pub(super) bytes: [u64; 2],
}

/// What a packet did to the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change<T> {
    pub(super) old: Word,
    pub(super) new: Word,
    pub(super) answer: T,
}

/// The words of one entry.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub(super) struct Cell {
    name: AtomicU64,
    meta: AtomicU64,
    state: AtomicU64,
    ports: AtomicU64,
    packets: [AtomicU64; 2],
    bytes: [AtomicU64; 2],
    original: [AtomicU64; ADDRESS_WORDS],
    reply: [AtomicU64; ADDRESS_WORDS],
}

const fn serial_of(name: u64) -> u32 {
    (name >> 32) as u32
}

const fn name_of(serial: u32, generation: u32) -> u64 {
    (serial as u64) << 32 | generation as u64
}

const fn is_live(serial: u32) -> bool {
    serial & 1 == 1
}

impl Cell {
    /// The beginning of its second line.
    #[inline]
    pub(super) fn addresses(&self) -> &[AtomicU64; ADDRESS_WORDS] {
        &self.original
    }

    /// Serial and state of the connection here, if `key` is its key of direction `dir`.
    #[inline]
    pub(super) fn find(&self, key: &Key, dir: Dir) -> Option<(u32, Word)> {
        let serial = serial_of(self.name.load(Ordering::Acquire));
        let ports = self.ports.load(Ordering::Relaxed);
        let (addresses, ports) = match dir {
            Dir::Original => (&self.original, ports >> 32),
            Dir::Reply => (&self.reply, ports & u64::from(u32::MAX)),
        };
        let mut difference = self.meta.load(Ordering::Relaxed) & KIND ^ u64::from(key.kind);
        difference |= ports ^ u64::from(key.ports);
        for (word, of_key) in addresses.iter().zip(key.addresses) {
            difference |= word.load(Ordering::Relaxed) ^ of_key;
        }
        let state = Word::from_bits(self.state.load(Ordering::Relaxed));
        (difference == 0 && is_live(serial) && self.still(serial)).then_some((serial, state))
    }

    /// All of the connection here, if there is one.
    pub(super) fn snapshot(&self) -> Option<Snapshot> {
        let name = self.name.load(Ordering::Acquire);
        let serial = serial_of(name);
        let load = |word: &AtomicU64| word.load(Ordering::Relaxed);
        let meta = Meta::unpack(load(&self.meta));
        let (ports, kind) = (load(&self.ports), meta.kind);
        let original =
            Key { addresses: self.original.each_ref().map(load), ports: (ports >> 32) as u32, kind };
        let reply = Key { addresses: self.reply.each_ref().map(load), ports: ports as u32, kind };
        let snapshot = Snapshot {
            serial,
            generation: name as u32,
            original,
            reply,
            meta,
            state: Word::from_bits(load(&self.state)),
            packets: self.packets.each_ref().map(load),
            bytes: self.bytes.each_ref().map(load),
        };
        (is_live(serial) && self.still(serial)).then_some(snapshot)
    }

    /// True if what was read since `name` was is of the connection `serial`.
    #[inline]
    pub(super) fn still(&self, serial: u32) -> bool {
        fence(Ordering::Acquire);
        serial_of(self.name.load(Ordering::Relaxed)) == serial
    }

    /// True while the connection `serial` is here.
    #[inline]
    pub(super) fn is(&self, serial: u32) -> bool {
        serial_of(self.name.load(Ordering::Acquire)) == serial
    }

    /// Shard, kind and age of whatever is here.
    #[inline]
    pub(super) fn meta(&self) -> Meta {
        Meta::unpack(self.meta.load(Ordering::Relaxed))
    }

    /// The state of whatever is here.
    #[inline]
    pub(super) fn state(&self) -> Word {
        Word::from_bits(self.state.load(Ordering::Acquire))
    }

    /// The generation that the connection `serial` was judged by last.
    #[inline]
    pub(super) fn generation(&self, serial: u32) -> Option<u32> {
        let name = self.name.load(Ordering::Acquire);
        (serial_of(name) == serial).then_some(name as u32)
    }

    /// Marks the connection `serial`, and no other, as judged by `generation`.
    pub(super) fn mark_judged(&self, serial: u32, generation: u32) {
        let mut name = self.name.load(Ordering::Relaxed);
        while serial_of(name) == serial {
            let judged = name_of(serial, generation);
            match self.name.compare_exchange_weak(name, judged, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => name = now,
            }
        }
    }

    /// Puts `step`'s first answer in the place of the state of the connection `serial`. `None` when it is here no
    /// more, or `step` has none. `step` may be asked again when another worker came first.
    #[inline]
    pub(super) fn advance<T>(
        &self,
        serial: u32,
        step: impl Fn(Word) -> Option<(Word, T)>,
    ) -> Option<Change<T>> {
        loop {
            let old = Word::from_bits(self.state.load(Ordering::Acquire));
            if !self.is(serial) || !old.is_of(serial) {
                return None;
            }
            let (new, answer) = step(old)?;
            if new == old || self.exchange(old, new) {
                return Some(Change { old, new, answer });
            }
        }
    }

    #[inline]
    fn exchange(&self, old: Word, new: Word) -> bool {
        let exchanged =
            self.state.compare_exchange(old.bits(), new.bits(), Ordering::AcqRel, Ordering::Relaxed);
        exchanged.is_ok()
    }

    /// Counts a packet of one direction.
    #[inline]
    pub(super) fn count(&self, dir: Dir, bytes: u32) {
        let [packets, total] = match dir {
            Dir::Original => [&self.packets[0], &self.bytes[0]],
            Dir::Reply => [&self.packets[1], &self.bytes[1]],
        };
        packets.store(packets.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        total.store(total.load(Ordering::Relaxed).wrapping_add(u64::from(bytes)), Ordering::Relaxed);
    }

    /// Begins age and counters anew, by the worker whose packet reopened the connection.
    pub(super) fn begin_again(&self, created_ms: u64) {
        let meta = Meta { created_ms, ..self.meta() };
        self.meta.store(meta.pack(), Ordering::Relaxed);
        for counter in self.packets.iter().chain(&self.bytes) {
            counter.store(0, Ordering::Relaxed);
        }
    }

    /// Writes a connection into a vacant place of one's own. Returns its serial, to be published.
    pub(super) fn fill(&self, filling: &Filling) -> u32 {
        let serial = serial_of(self.name.load(Ordering::Relaxed)).wrapping_add(1);
        fence(Ordering::Release);
        let store = |word: &AtomicU64, value| word.store(value, Ordering::Relaxed);
        store(&self.meta, filling.meta.pack());
        store(&self.ports, u64::from(filling.original.ports) << 32 | u64::from(filling.reply.ports));
        for (word, value) in self.original.iter().zip(filling.original.addresses) {
            store(word, value);
        }
        for (word, value) in self.reply.iter().zip(filling.reply.addresses) {
            store(word, value);
        }
        for counter in self.packets.iter().chain(&self.bytes) {
            store(counter, 0);
        }
        store(&self.state, filling.state.of(serial).bits());
        self.count(Dir::Original, filling.bytes);
        serial
    }

    /// Lets others find what [`Cell::fill`] wrote.
    pub(super) fn publish(&self, serial: u32, generation: u32) {
        self.name.store(name_of(serial, generation), Ordering::Release);
    }

    /// Ends the connection here if `may` agrees with the state it is in then. From the exchange on no packet moves
    /// it, and from the store on none finds it. Returns the last state, by which the caller knows whether the
    /// place is on its way to the shard's stack (`moved`).
    pub(super) fn retire_if(&self, may: impl Fn(Word) -> bool) -> Option<Word> {
        loop {
            let last = Word::from_bits(self.state.load(Ordering::Acquire));
            if last.is_over() || !may(last) {
                return None;
            }
            if self.exchange(last, last.ended()) {
                // An exchange rather than a store: it comes after whatever judgement came before it.
                let next = name_of(1, 0);
                self.name.fetch_add(next, Ordering::AcqRel);
                return Some(last);
            }
        }
    }

    /// Takes back the mark `moved`, by who took the place down from the stack. Returns the state.
    pub(super) fn settle(&self) -> Word {
        Word::from_bits(self.state.fetch_and(!Word::MOVED, Ordering::AcqRel)).settled()
    }
}
