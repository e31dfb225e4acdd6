//! From a pair of classes to what its packets still have to be compared with: a perfect hash, one probe and no loop.
//!
//! "Hash, displace": keys fall into small buckets, and each bucket has a displacement, found when building, that puts
//! its keys into slots nobody else has. A lookup reads the displacement (a small table) and one slot of 32 bytes, which
//! holds the key, the first record and where its list goes on. Four slots for three keys.

use super::record::{Record, entry, entry_ref};

/// One pair.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(32))]
pub(super) struct Slot {
    pub(super) first: Record,
    key: u64,
    /// The list behind the first record.
    pub(super) rest: u32,
    pub(super) spare: u32,
}

const _: () = assert!(size_of::<Slot>() == 32);

const EMPTY: Slot = Slot { first: Record::NEVER, key: u64::MAX, rest: 0, spare: 0 };
/// Keys in a bucket on average.
const BUCKET: usize = 4;
/// Displacements tried before the table grows.
const TRIES: u32 = 20_000;

/// A pair of classes as a key. Class numbers stay below 2^30, so no key is [`EMPTY`]'s.
#[inline(always)]
pub(super) fn key(src: u32, dst: u32) -> u64 {
    u64::from(src) << 32 | u64::from(dst)
}

#[derive(Debug)]
pub(super) struct PairTable {
    slots: Vec<Slot>,
    displacements: Vec<u32>,
}

#[inline(always)]
fn mix(key: u64) -> u64 {
    let product = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (product ^ (product >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93)
}

/// A number below `size`, spread as the 32 bits of `hash` are.
#[inline(always)]
fn scale(hash: u32, size: usize) -> usize {
    (u64::from(hash) * size as u64 >> 32) as usize
}

#[inline(always)]
fn place(hash: u64, displacement: u32, size: usize) -> usize {
    scale((hash as u32 ^ displacement).wrapping_mul(0x85eb_ca6b), size)
}

impl PairTable {
    /// Bytes of a table of so many pairs, unless it has to grow.
    pub(super) fn bytes(pairs: usize) -> usize {
        slots_for(pairs) * size_of::<Slot>() + buckets_for(pairs) * 4
    }

    /// A table of these pairs: key, first record, list behind it. Keys are distinct.
    pub(super) fn new(pairs: &[(u64, Record, u32)]) -> Self {
        let mut size = slots_for(pairs.len());
        // Keys are distinct and `mix` is a bijection; a table that fails is one in a million, and then it grows.
        loop {
            if let Some(table) = Self::with_slots(pairs, size) {
                return table;
            }
            size += size / 4 + 1;
        }
    }

    fn with_slots(pairs: &[(u64, Record, u32)], size: usize) -> Option<Self> {
        let count = buckets_for(pairs.len());
        let mut by_bucket: Vec<(u32, u32)> = (0..)
            .zip(pairs)
            .map(|(position, &(key, ..))| (scale((mix(key) >> 32) as u32, count) as u32, position))
            .collect();
        by_bucket.sort_unstable();
        let mut buckets: Vec<&[(u32, u32)]> = by_bucket.chunk_by(|a, b| a.0 == b.0).collect();
        // Large ones first, while there is room.
        buckets.sort_by_key(|bucket| usize::MAX - bucket.len());
        let mut table = Self { slots: vec![EMPTY; size], displacements: vec![0; count] };
        let mut places = Vec::new();
        for bucket in buckets {
            let found = (0..TRIES).map(|number| number.wrapping_mul(0x9e37_79b9)).find(|&displacement| {
                places.clear();
                bucket.iter().all(|&(_, position)| {
                    let Some(&(key, ..)) = pairs.get(position as usize) else { return false };
                    let place = place(mix(key), displacement, size);
                    let free = table.slots.get(place).is_some_and(|slot| slot.key == EMPTY.key)
                        && !places.contains(&place);
                    places.push(place);
                    free
                })
            })?;
            for (&(number, position), &place) in bucket.iter().zip(&places) {
                let (&(key, first, rest), slot) =
                    (pairs.get(position as usize)?, table.slots.get_mut(place)?);
                *slot = Slot { first, key, rest, spare: 0 };
                *table.displacements.get_mut(number as usize)? = found;
            }
        }
        Some(table)
    }

    /// Where the pair would be: the first step of a lookup.
    #[inline(always)]
    pub(super) fn position(&self, key: u64) -> u32 {
        let hash = mix(key);
        let bucket = scale((hash >> 32) as u32, self.displacements.len());
        let displacement = entry(&self.displacements, bucket, 0);
        place(hash, displacement, self.slots.len()) as u32
    }

    /// The second step: the slot, whoever's it is.
    #[inline(always)]
    pub(super) fn slot(&self, position: u32) -> &Slot {
        entry_ref(&self.slots, position as usize, &EMPTY)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.len() <= 1
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&self.slots[..]) + size_of_val(&self.displacements[..])
    }
}

impl Slot {
    #[inline(always)]
    pub(super) fn is(&self, key: u64) -> bool {
        self.key == key
    }
}

fn slots_for(pairs: usize) -> usize {
    pairs + pairs / 3 + 1
}

fn buckets_for(pairs: usize) -> usize {
    pairs / BUCKET + 1
}

#[cfg(test)]
mod tests {
    use super::{PairTable, key};
    use crate::classifier::general::record::Record;

    #[test]
    fn every_pair_has_a_slot_of_its_own() {
        for count in [0, 1, 2, 3, 10, 1000, 60_000] {
            let pairs: Vec<_> = (0..count).map(|n: u32| (key(n % 300, n / 300), Record::NEVER, n)).collect();
            let table = PairTable::new(&pairs);
            for &(key, _, rest) in &pairs {
                let slot = table.slot(table.position(key));
                assert!(slot.is(key) && slot.rest == rest);
            }
            assert!(!table.slot(table.position(key(1, 77_777))).is(key(1, 77_777)));
        }
    }
}
