//! From a pair of classes to what its packets still have to be compared with: a perfect hash, one probe and no loop.
//!
//! "Hash, displace": keys fall into small buckets, and each bucket has a displacement, found when building, that puts
//! its keys into slots nobody else has. A lookup reads the displacement (a small table) and one slot of 32 bytes, which
//! holds the key, the first record and where its list goes on. Four slots for three keys.

use super::record::{Record, entry, entry_ref};
#[cfg(target_arch = "x86_64")]
use crate::classifier::arch::{Avx512, Lanes};

/// One pair.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(32))]
pub(crate) struct Slot {
    pub(super) first: Record,
    /// The source's class in the upper half, the destination's in the lower.
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

/// Two numbers of 32 bits that say nothing of each other: which bucket, and where in the table. Multiplications of 32
/// bits, for vectors have them; each is a bijection of either class while the other stays, and between them no two keys
/// are likely to meet.
#[inline(always)]
fn mix(key: u64) -> (u32, u32) {
    let (src, dst) = ((key >> 32) as u32, key as u32);
    let one = src.wrapping_mul(K1).wrapping_add(dst.wrapping_mul(K2));
    let other = src.wrapping_mul(K3) ^ dst.wrapping_mul(K4);
    ((one ^ one >> 15).wrapping_mul(K5), (other ^ other >> 15).wrapping_mul(K6))
}

const K1: u32 = 0x9e37_79b1;
const K2: u32 = 0x85eb_ca77;
const K3: u32 = 0xc2b2_ae3d;
const K4: u32 = 0x27d4_eb2f;
const K5: u32 = 0x2c1b_3c6d;
const K6: u32 = 0x297a_2d39;
const K7: u32 = 0x85eb_ca6b;

/// A number below `size`, spread as the 32 bits of `hash` are.
#[inline(always)]
fn scale(hash: u32, size: usize) -> usize {
    ((u64::from(hash) * size as u64) >> 32) as usize
}

#[inline(always)]
fn place(hash: u32, displacement: u32, size: usize) -> usize {
    let moved = hash ^ displacement;
    scale((moved ^ moved >> 16).wrapping_mul(K7), size)
}

impl PairTable {
    /// Bytes of a table of so many pairs, unless it has to grow.
    pub(super) fn bytes(pairs: usize) -> usize {
        slots_for(pairs) * size_of::<Slot>() + buckets_for(pairs) * 4
    }

    /// A table of these pairs: key, first record, list behind it. Keys are distinct.
    pub(super) fn new(pairs: &[(u64, Record, u32)]) -> Self {
        let mut size = slots_for(pairs.len());
        // A table that fails is rare, and then it grows.
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
            .map(|(position, &(key, ..))| (scale(mix(key).0, count) as u32, position))
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
                    let place = place(mix(key).1, displacement, size);
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
        let (bucket, hash) = mix(key);
        let bucket = scale(bucket, self.displacements.len());
        let displacement = entry(&self.displacements, bucket, 0);
        place(hash, displacement, self.slots.len()) as u32
    }

    /// The second step: the slot, whoever's it is.
    #[inline(always)]
    pub(super) fn slot(&self, position: u32) -> &Slot {
        entry_ref(&self.slots, position as usize, &EMPTY)
    }

    /// Where sixteen pairs would be.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(super) fn positions(&self, v: Avx512, src: Lanes, dst: Lanes) -> Lanes {
        let by = |lanes: Lanes, factor: u32| v.multiply(lanes, v.splat(factor));
        let one = v.add(by(src, K1), by(dst, K2));
        let bucket = by(v.xor(one, v.right::<15>(one)), K5);
        let bucket = v.scale(bucket, self.displacements.len() as u32);
        let other = v.xor(by(src, K3), by(dst, K4));
        let hash = by(v.xor(other, v.right::<15>(other)), K6);
        let moved = v.xor(hash, v.gather(&self.displacements, bucket, v.splat(0)));
        v.scale(by(v.xor(moved, v.right::<16>(moved)), K7), self.slots.len() as u32)
    }

    /// Words of sixteen slots: the first record's four, and the pair (destination, source).
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(super) fn slots_of_lanes(&self, v: Avx512, position: Lanes) -> ([Lanes; 4], [Lanes; 2]) {
        let (src, dst) = v.gather_pair::<_, 0>(&self.slots, position);
        let (value, id) = v.gather_pair::<_, 1>(&self.slots, position);
        let (key_dst, key_src) = v.gather_pair::<_, 2>(&self.slots, position);
        ([src, dst, value, id], [key_dst, key_src])
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
