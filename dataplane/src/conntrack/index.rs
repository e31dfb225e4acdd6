//! From a tuple's hash to its entry: a hash table whose keys never move and are never far.
//!
//! Buckets of 8 slots, a cache line each; a key may stand in either of two, taken from two halves of its hash,
//! and goes into the emptier one. With four slots for each entry (two keys each: at most half full) the fullest
//! bucket of a million holds 7 or 8, so [`Index::insert`] refuses practically never, unless someone knows the hash
//! key. A slot holds a tag of the hash beside the entry's number and direction: the entries themselves are read
//! only where the tag agrees. Nothing moves on removal and there are no tombstones, so the cost of a lookup does
//! not depend on what went before.
//!
//! # Threads
//! Read by anybody at any time. A slot is taken by compare-exchange from vacant and given back by a store of who
//! took it, so slots need no lock among different keys; that one key is not entered twice is the caller's business
//! (the lock of the key's shard). A reader that follows a slot to an entry has to look whether the key is there:
//! the entry may have ended, and its place been taken, since the slot was read.
//!
//! 32 bytes for each entry the table may hold, in huge pages where it is large.

use crate::sys::huge::HugeSlice;

use super::names::Dir;
use super::sync::{AtomicU64, Ordering};

const WAYS: usize = 8;
const VACANT: u64 = 0;

/// Eight slots: a cache line, since the first begins a page. Zeros are vacant.
type Bucket = [AtomicU64; WAYS];

fn taken(bucket: &Bucket) -> usize {
    bucket.iter().filter(|slot| slot.load(Ordering::Relaxed) != VACANT).count()
}

fn take(bucket: &Bucket, content: u64) -> bool {
    bucket.iter().any(|slot| {
        slot.load(Ordering::Relaxed) == VACANT
            && slot.compare_exchange(VACANT, content, Ordering::Release, Ordering::Relaxed).is_ok()
    })
}

/// The hash table.
pub(super) struct Index {
    buckets: HugeSlice<Bucket>,
}

impl Index {
    /// An index for `entries` entries of two keys each.
    pub(super) fn new(entries: usize) -> Self {
        let count = entries.saturating_mul(4).div_ceil(WAYS).clamp(2, u32::MAX as usize);
        Self { buckets: HugeSlice::new(count) }
    }

    /// The first answer of `is_it` about entries with the tag of `hash`.
    #[inline]
    pub(super) fn find<T>(&self, hash: u64, is_it: impl Fn(u32, Dir) -> Option<T>) -> Option<T> {
        let tag = tag(hash);
        for bucket in self.places(hash) {
            for slot in self.buckets.get(bucket).into_iter().flatten() {
                let slot = slot.load(Ordering::Relaxed);
                if slot >> 32 == tag
                    && let Some((place, dir)) = unpack(slot)
                    && let Some(answer) = is_it(place, dir)
                {
                    return Some(answer);
                }
            }
        }
        None
    }

    /// Place and direction of an entry with the tag of `hash`; of which, where there are several, is all the same
    /// to who goes on to look.
    ///
    /// All 16 slots are compared without a branch, since which of them it is cannot be foreseen: for batches, which
    /// have both buckets at hand. For a single lookup it costs more than it saves, as fewer lookups fit into the
    /// processor's window at once.
    #[inline]
    pub(super) fn first(&self, hash: u64) -> Option<(u32, Dir)> {
        let tag = tag(hash);
        let mut found = VACANT;
        for bucket in self.places(hash) {
            for slot in self.buckets.get(bucket)? {
                let slot = slot.load(Ordering::Relaxed);
                found = if slot >> 32 == tag { slot } else { found };
            }
        }
        unpack(found)
    }

    /// Has both buckets of `hash` brought into the cache.
    #[inline]
    pub(super) fn bring(&self, hash: u64) {
        for bucket in self.places(hash) {
            self.buckets.prefetch(bucket);
        }
    }

    /// Enters a key that is not there. False when both its buckets are full.
    pub(super) fn insert(&self, hash: u64, place: u32, dir: Dir) -> bool {
        let [first, second] = self.places(hash).map(|bucket| self.buckets.get(bucket));
        let (Some(first), Some(second)) = (first, second) else { return false };
        let content = pack(tag(hash), place, dir);
        let (emptier, other) = if taken(second) < taken(first) { (second, first) } else { (first, second) };
        take(emptier, content) || take(other, content)
    }

    /// Takes out a key.
    pub(super) fn remove(&self, hash: u64, place: u32, dir: Dir) {
        let content = pack(tag(hash), place, dir);
        for bucket in self.places(hash) {
            for slot in self.buckets.get(bucket).into_iter().flatten() {
                if slot.load(Ordering::Relaxed) == content {
                    slot.store(VACANT, Ordering::Release);
                    return;
                }
            }
        }
    }

    /// Bytes in use.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.buckets)
    }

    #[inline]
    fn places(&self, hash: u64) -> [usize; 2] {
        let count = self.buckets.len() as u64;
        // The high half of the product of a half of the hash and the number of buckets is below that number.
        let first = (((hash & u64::from(u32::MAX)) * count) >> 32) as usize;
        let second = (((hash >> 32) * count) >> 32) as usize;
        if second != first {
            return [first, second];
        }
        [first, if second == 0 { 1 } else { second - 1 }]
    }
}

/// The high half of a product depends on all bits, so that keys of one bucket differ in their tags.
#[inline]
const fn tag(hash: u64) -> u64 {
    hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32
}

/// Tag in the high half; number, direction and a 1 that tells it from a vacant slot in the low one.
const fn pack(tag: u64, place: u32, dir: Dir) -> u64 {
    let direction = match dir {
        Dir::Original => 0,
        Dir::Reply => 1,
    };
    tag << 32 | (place as u64) << 2 | direction << 1 | 1
}

#[inline]
const fn unpack(slot: u64) -> Option<(u32, Dir)> {
    if slot == VACANT {
        return None;
    }
    let dir = if slot & 2 == 0 { Dir::Original } else { Dir::Reply };
    Some(((slot as u32) >> 2, dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An even spread, as a keyed hash has it.
    fn hash(number: u32) -> u64 {
        let mixed = (u64::from(number) + 1).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 29).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 32
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        for (tag, place, dir) in
            [(0, 0, Dir::Original), (0xffff_ffff, (1 << 30) - 1, Dir::Reply), (7, 1, Dir::Reply)]
        {
            let slot = pack(tag, place, dir);
            assert_eq!((slot >> 32, unpack(slot)), (tag, Some((place, dir))));
        }
    }

    #[test]
    fn a_full_table_finds_room_for_every_key() {
        let entries = 16_384;
        let index = Index::new(entries as usize);
        for number in 0..entries {
            assert!(index.insert(hash(2 * number), number, Dir::Original), "{number}");
            assert!(index.insert(hash(2 * number + 1), number, Dir::Reply), "{number}");
        }
        for number in 0..entries {
            let found = index.find(hash(2 * number), |place, dir| (place == number).then_some(dir));
            assert_eq!(found, Some(Dir::Original));
        }
    }

    #[test]
    fn keys_of_one_place_are_refused_when_its_two_buckets_are_full() {
        let index = Index::new(4);
        let taken = (0..64).filter(|number| index.insert(hash(*number), *number, Dir::Original));
        assert_eq!(taken.count(), 16, "two buckets of eight");
    }

    #[test]
    fn a_removed_key_leaves_its_slot_to_another() {
        let index = Index::new(4);
        assert!((0..16).all(|number| index.insert(hash(number), number, Dir::Original)));
        index.remove(hash(1), 1, Dir::Original);
        assert!(index.find(hash(1), |place, _| (place == 1).then_some(())).is_none());
        assert!(index.insert(hash(99), 99, Dir::Reply) && !index.insert(hash(98), 98, Dir::Reply));
    }
}
