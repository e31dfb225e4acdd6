//! From a tuple to its entry: a hash table whose keys never move and are never far.
//!
//! Buckets of 8 slots, a cache line each; a key may stand in either of two, taken from two halves of its hash,
//! and goes into the emptier one. With as many slots as four for each entry (two keys each: at most half full)
//! the fullest bucket of a million holds 7 or 8, so [`Index::insert`] refuses practically never, unless someone
//! knows the hash key. A slot holds a tag of the hash beside the entry's number and direction: the entries
//! themselves are read only where the tag agrees. Nothing moves on removal and there are no tombstones, so the
//! cost of a lookup does not depend on what went before.
//!
//! Read and written by the table alone. 32 bytes for each entry the table may hold.

use ahash::RandomState;

use super::names::Dir;
use super::tuple::Tuple;

const WAYS: usize = 8;
const VACANT: u64 = 0;

#[repr(align(64))]
#[derive(Clone)]
struct Bucket([u64; WAYS]);

const _: () = assert!(size_of::<Bucket>() == 64);

/// Where a tuple may stand, and its tag.
struct Places {
    buckets: [usize; 2],
    tag: u32,
}

/// The hash table.
pub(super) struct Index {
    buckets: Vec<Bucket>,
    mask: usize,
    seed: RandomState,
}

impl Index {
    /// An index for `entries` entries of two keys each.
    pub(super) fn new(entries: usize, seed: RandomState) -> Self {
        let count = entries.saturating_mul(4).div_ceil(WAYS).next_power_of_two().max(2);
        Self { buckets: vec![Bucket([VACANT; WAYS]); count], mask: count - 1, seed }
    }

    /// The first entry with the tag of `tuple` for which `is_it` holds.
    pub(super) fn find(&self, tuple: &Tuple, is_it: impl Fn(u32, Dir) -> bool) -> Option<(u32, Dir)> {
        let Places { buckets, tag } = self.places(tuple);
        for bucket in buckets {
            for slot in self.buckets.get(bucket).map(|bucket| &bucket.0).into_iter().flatten() {
                if let Some((slot_tag, index, dir)) = unpack(*slot)
                    && slot_tag == tag
                    && is_it(index, dir)
                {
                    return Some((index, dir));
                }
            }
        }
        None
    }

    /// Enters a key that is not there. Returns its slot; `None` when both its buckets are full.
    pub(super) fn insert(&mut self, tuple: &Tuple, index: u32, dir: Dir) -> Option<u32> {
        let Places { buckets: [first, second], tag } = self.places(tuple);
        let bucket = if self.taken(second) < self.taken(first) { second } else { first };
        let slots = &mut self.buckets.get_mut(bucket)?.0;
        let way = slots.iter().position(|slot| *slot == VACANT)?;
        *slots.get_mut(way)? = pack(tag, index, dir);
        u32::try_from(bucket * WAYS + way).ok()
    }

    /// Empties the slot that [`Index::insert`] returned.
    pub(super) fn remove(&mut self, slot: u32) {
        let slot = slot as usize;
        if let Some(bucket) = self.buckets.get_mut(slot / WAYS)
            && let Some(way) = bucket.0.get_mut(slot % WAYS)
        {
            *way = VACANT;
        }
    }

    fn taken(&self, bucket: usize) -> usize {
        self.buckets
            .get(bucket)
            .map_or(WAYS, |bucket| bucket.0.iter().filter(|slot| **slot != VACANT).count())
    }

    fn places(&self, tuple: &Tuple) -> Places {
        let hash = self.seed.hash_one(tuple);
        let first = hash as u32 as usize & self.mask;
        let second = (hash >> 32) as usize & self.mask;
        let second = if second == first { first ^ 1 } else { second };
        // The high half of a product depends on all bits, so that keys of one bucket differ in their tags.
        let tag = (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32;
        Places { buckets: [first, second], tag }
    }
}

/// Tag in the high half; number, direction and a 1 that tells it from a vacant slot in the low one.
const fn pack(tag: u32, index: u32, dir: Dir) -> u64 {
    let direction = match dir {
        Dir::Original => 0,
        Dir::Reply => 1,
    };
    (tag as u64) << 32 | (index as u64) << 2 | direction << 1 | 1
}

const fn unpack(slot: u64) -> Option<(u32, u32, Dir)> {
    if slot == VACANT {
        return None;
    }
    let dir = if slot & 2 == 0 { Dir::Original } else { Dir::Reply };
    Some(((slot >> 32) as u32, (slot as u32) >> 2, dir))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn tuple(number: u32) -> Tuple {
        let [a, b, c, d] = number.to_be_bytes();
        let address = |last| IpAddr::from([10, a, b, last]);
        Tuple::new(address(1), address(2), 17, u16::from_be_bytes([c, d]), 53).unwrap()
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        for (tag, index, dir) in
            [(0, 0, Dir::Original), (u32::MAX, (1 << 30) - 1, Dir::Reply), (7, 1, Dir::Reply)]
        {
            assert_eq!(unpack(pack(tag, index, dir)), Some((tag, index, dir)));
        }
    }

    #[test]
    fn a_full_table_of_structured_tuples_finds_room_for_every_key() {
        let entries = 16_384;
        let mut index = Index::new(entries as usize, RandomState::with_seeds(1, 2, 3, 4));
        for number in 0..entries {
            assert!(index.insert(&tuple(number), number, Dir::Original).is_some(), "{number}");
            assert!(index.insert(&tuple(number).reversed(), number, Dir::Reply).is_some(), "{number}");
        }
        for number in 0..entries {
            let found = index.find(&tuple(number), |index, _| index == number);
            assert_eq!(found, Some((number, Dir::Original)));
        }
    }

    #[test]
    fn keys_of_one_place_are_refused_when_its_two_buckets_are_full() {
        let mut index = Index::new(4, RandomState::with_seeds(1, 2, 3, 4));
        let taken = (0..64).filter(|number| index.insert(&tuple(*number), *number, Dir::Original).is_some());
        assert_eq!(taken.count(), 16, "two buckets of eight");
    }

    #[test]
    fn a_removed_key_leaves_its_slot_to_another() {
        let mut index = Index::new(4, RandomState::with_seeds(1, 2, 3, 4));
        let slot = index.insert(&tuple(1), 1, Dir::Original).unwrap();
        index.remove(slot);
        assert!(index.find(&tuple(1), |_, _| true).is_none());
        assert_eq!(index.insert(&tuple(1), 9, Dir::Reply), Some(slot));
    }
}
