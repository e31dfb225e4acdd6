//! What a pair of prefixes is worth at best, in 16 bits found by a hash: most pairs do not exist, and need not be tried.
//!
//! By hash of the pair stands the least id of the pairs that share it, in steps so coarse that every id has 16 bits. It
//! is never more than the pair's best id, so what a hint passes over cannot be better than what is found; a hint that is
//! too good costs a look. Bytes: 8 to 16 a pair.

#[cfg(target_arch = "x86_64")]
use crate::classifier::arch::{Avx512, Lanes};

/// No pair has this hash.
const ABSENT: u32 = 0xffff;
/// Places for each pair at least.
const PLACES: usize = 4;

const K1: u32 = 0x9e37_79b1;
const K2: u32 = 0x85eb_ca77;
const K3: u32 = 0x2c1b_3c6d;

/// Two places a word.
#[derive(Debug)]
pub(super) struct Hints {
    words: Box<[u32]>,
    /// What is left of a hash to find the word.
    bits: u32,
    /// Bits of ids that are left out.
    coarse: u32,
}

impl Hints {
    fn words(pairs: usize) -> usize {
        (pairs.saturating_mul(PLACES) / 2).next_power_of_two().clamp(2, 1 << 31)
    }

    /// Bytes for so many pairs.
    pub(super) fn bytes(pairs: usize) -> usize {
        Self::words(pairs) * 4
    }

    /// Hints of pairs, with their best ids.
    pub(super) fn new(pairs: impl Iterator<Item = (u32, u32, u32)> + Clone) -> Self {
        let words = Self::words(pairs.clone().count());
        let worst = pairs.clone().map(|(.., id)| id).max().unwrap_or(0);
        let coarse = (u32::BITS - worst.leading_zeros()).saturating_sub(15);
        let mut hints =
            Self { words: vec![u32::MAX; words].into(), bits: 32 - words.trailing_zeros(), coarse };
        for (src, dst, id) in pairs {
            let (place, half) = hints.place(src, dst);
            if let Some(word) = hints.words.get_mut(place) {
                let hint = (*word >> half & ABSENT).min(id >> coarse);
                *word = *word & !(ABSENT << half) | hint << half;
            }
        }
        hints
    }

    /// Which word, and where in it.
    #[inline(always)]
    fn place(&self, src: u32, dst: u32) -> (usize, u32) {
        let sum = src.wrapping_mul(K1).wrapping_add(dst.wrapping_mul(K2));
        let hash = (sum ^ sum >> 15).wrapping_mul(K3);
        ((hash >> self.bits) as usize, (hash & 1) << 4)
    }

    /// The hint of a pair.
    #[inline(always)]
    pub(super) fn of(&self, src: u32, dst: u32) -> u32 {
        let (place, half) = self.place(src, dst);
        self.words.get(place).copied().unwrap_or(0) >> half & ABSENT
    }

    /// Hints below this may be of pairs with a rule better than `below`, others are not.
    #[inline(always)]
    pub(super) fn limit(&self, below: u32) -> u32 {
        (below.saturating_add((1 << self.coarse) - 1) >> self.coarse).min(ABSENT)
    }

    /// What [`Hints::of_lanes`] has to know of sixteen destinations.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(super) fn destinations(v: Avx512, dst: Lanes) -> Lanes {
        v.multiply(dst, v.splat(K2))
    }

    /// The hints of a source with sixteen destinations.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(super) fn of_lanes(&self, v: Avx512, src: u32, destinations: Lanes) -> Lanes {
        let sum = v.add(v.splat(src.wrapping_mul(K1)), destinations);
        let hash = v.multiply(v.xor(sum, v.right::<15>(sum)), v.splat(K3));
        let word = v.gather(&self.words, v.right_by(hash, v.splat(self.bits)), v.splat(0));
        let half = v.left::<4>(v.and(hash, v.splat(1)));
        v.and(v.right_by(word, half), v.splat(ABSENT))
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&self.words[..])
    }
}

#[cfg(test)]
mod tests {
    use super::{ABSENT, Hints};
    #[cfg(target_arch = "x86_64")]
    use crate::classifier::arch::Avx512;

    #[test]
    fn no_pair_is_worse_than_its_hint_and_most_others_have_none() {
        for step in [1, 5000] {
            let pairs = (0..3000_u32).map(|n| (n % 61 + 1, n * 7 % 3001 + 1, n * step));
            let hints = Hints::new(pairs.clone());
            for (src, dst, id) in pairs {
                let hint = hints.of(src, dst);
                assert!(hint < hints.limit(id + 1), "{src} {dst} {id}: {hint}");
            }
            assert!((0..3000).filter(|&n| hints.of(n, n * 3 + 5000) == ABSENT).count() > 2000);
            assert!(hints.memory_bytes() <= Hints::bytes(3000));
        }
        assert_eq!(Hints::new(std::iter::empty()).of(1, 1), ABSENT);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn lanes_have_the_hints_of_their_pairs() {
        let Some(v) = Avx512::detect() else {
            println!("skipped: this processor has no AVX-512");
            return;
        };
        let hints = Hints::new((0..500_u32).map(|n| (n % 7, n % 16, n)));
        let dst = std::array::from_fn(|at| at as u32);
        for src in 0..9 {
            let mut found = [0; 16];
            v.store(hints.of_lanes(v, src, Hints::destinations(v, v.load(&dst))), &mut found);
            assert_eq!(found, dst.map(|dst| hints.of(src, dst)));
        }
    }
}
