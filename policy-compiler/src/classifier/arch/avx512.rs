//! Sixteen lookups in step, with AVX-512: tables are read by gathers, and nothing branches.
//!
//! [`Avx512`] is a proof that this processor has what is needed; who holds one may call everything here, and all of it is
//! safe. Gathers never leave their table: positions beyond its end read the last element. What is measured to win is
//! the general engine's lookup (`general/vector.rs`), by a factor of two to three over the scalar form.
//!
//! # Invariants
//! 1. An `Avx512` exists only where `detect` has seen every feature that `FEATURES` lists.
//! 2. A `Words` type is made of 32-bit words, all of them initialised, without padding.

use std::arch::x86_64::{
    __m512i, _mm512_add_epi16, _mm512_add_epi32, _mm512_and_si512, _mm512_castsi512_si256,
    _mm512_cmpeq_epi32_mask, _mm512_cmpgt_epi16_mask, _mm512_cmple_epu32_mask, _mm512_extracti64x4_epi64,
    _mm512_i32gather_epi32, _mm512_i32gather_epi64, _mm512_loadu_si512, _mm512_madd_epi16,
    _mm512_mask_blend_epi32, _mm512_mask_i32gather_epi32, _mm512_maskz_compress_epi32, _mm512_min_epu32,
    _mm512_movm_epi16, _mm512_mul_epu32, _mm512_mullo_epi32, _mm512_or_si512, _mm512_permutex2var_epi32,
    _mm512_set_epi32, _mm512_set1_epi16, _mm512_set1_epi32, _mm512_setzero_si512, _mm512_slli_epi32,
    _mm512_srli_epi32, _mm512_srli_epi64, _mm512_srlv_epi32, _mm512_storeu_si512, _mm512_sub_epi16,
    _mm512_test_epi32_mask, _mm512_testn_epi32_mask, _mm512_xor_si512,
};

/// The proof.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx512(());

/// Sixteen 32-bit numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lanes(__m512i);

/// A bit for each lane.
pub(crate) type Mask = u16;

/// Plain words, for gathers.
///
/// # Safety
/// The type's bytes are whole 32-bit words, all initialised, and it is at least as aligned as they are.
#[allow(unsafe_code, reason = "a promise about bytes")]
pub(crate) unsafe trait Words: Copy {}

// SAFETY: it is a word.
#[allow(unsafe_code, reason = "says what the type is made of")]
unsafe impl Words for u32 {}

/// What is run with vectors. `run` and all that it calls has to be inlined to become vector code.
pub(crate) trait Work {
    fn run(self, vector: Avx512);
}

macro_rules! safe {
    ($($call:expr),*) => {
        // SAFETY: invariant 1: whoever has a `self` to call this with has the features; registers only, no memory.
        $(unsafe { $call })*
    };
}

#[allow(unsafe_code, reason = "vector instructions that the build target does not promise")]
impl Avx512 {
    /// The proof, where it can be had.
    pub(crate) fn detect() -> Option<Self> {
        let all = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt")
            && is_x86_feature_detected!("popcnt");
        all.then_some(Self(()))
    }

    /// Runs work that is compiled for these features.
    pub(crate) fn run(self, work: impl Work) {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,bmi1,bmi2,lzcnt,popcnt")]
        fn with_features<W: Work>(vector: Avx512, work: W) {
            work.run(vector);
        }
        // SAFETY: invariant 1: the processor has the features.
        unsafe { with_features(self, work) }
    }

    #[inline(always)]
    pub(crate) fn splat(self, number: u32) -> Lanes {
        Lanes(safe!(_mm512_set1_epi32(number.cast_signed())))
    }

    #[inline(always)]
    pub(crate) fn load(self, numbers: &[u32; 16]) -> Lanes {
        // SAFETY: invariant 1, and the array has the 64 bytes that are read.
        Lanes(unsafe { _mm512_loadu_si512(numbers.as_ptr().cast()) })
    }

    /// Elements that are 64 bytes together.
    #[inline(always)]
    pub(crate) fn load_all<T: Words, const N: usize>(self, elements: &[T; N]) -> Lanes {
        const { assert!(size_of::<[T; N]>() == 64, "sixteen words") };
        // SAFETY: invariants 1 and 2, and the array has the 64 bytes that are read.
        Lanes(unsafe { _mm512_loadu_si512(elements.as_ptr().cast()) })
    }

    #[inline(always)]
    pub(crate) fn store(self, lanes: Lanes, numbers: &mut [u32; 16]) {
        // SAFETY: invariant 1, and the array has the 64 bytes that are written.
        unsafe { _mm512_storeu_si512(numbers.as_mut_ptr().cast(), lanes.0) }
    }

    #[inline(always)]
    pub(crate) fn and(self, a: Lanes, b: Lanes) -> Lanes {
        Lanes(safe!(_mm512_and_si512(a.0, b.0)))
    }

    #[inline(always)]
    pub(crate) fn or(self, a: Lanes, b: Lanes) -> Lanes {
        Lanes(safe!(_mm512_or_si512(a.0, b.0)))
    }

    #[inline(always)]
    pub(crate) fn xor(self, a: Lanes, b: Lanes) -> Lanes {
        Lanes(safe!(_mm512_xor_si512(a.0, b.0)))
    }

    #[inline(always)]
    pub(crate) fn add(self, a: Lanes, b: Lanes) -> Lanes {
        Lanes(safe!(_mm512_add_epi32(a.0, b.0)))
    }

    #[inline(always)]
    pub(crate) fn multiply(self, a: Lanes, b: Lanes) -> Lanes {
        Lanes(safe!(_mm512_mullo_epi32(a.0, b.0)))
    }

    /// Halves of 16 bits subtracted each for itself.
    #[inline(always)]
    pub(crate) fn sub_16(self, a: Lanes, b: Lanes) -> Lanes {
        Lanes(safe!(_mm512_sub_epi16(a.0, b.0)))
    }

    #[inline(always)]
    pub(crate) fn left<const BITS: u32>(self, a: Lanes) -> Lanes {
        Lanes(safe!(_mm512_slli_epi32::<BITS>(a.0)))
    }

    #[inline(always)]
    pub(crate) fn right<const BITS: u32>(self, a: Lanes) -> Lanes {
        Lanes(safe!(_mm512_srli_epi32::<BITS>(a.0)))
    }

    /// Each lane shifted by its own number of bits.
    #[inline(always)]
    pub(crate) fn right_by(self, a: Lanes, bits: Lanes) -> Lanes {
        Lanes(safe!(_mm512_srlv_epi32(a.0, bits.0)))
    }

    #[inline(always)]
    pub(crate) fn min(self, a: Lanes, b: Lanes) -> Lanes {
        Lanes(safe!(_mm512_min_epu32(a.0, b.0)))
    }

    /// `a` where the mask is 0, `b` where it is 1.
    #[inline(always)]
    pub(crate) fn select(self, mask: Mask, a: Lanes, b: Lanes) -> Lanes {
        Lanes(safe!(_mm512_mask_blend_epi32(mask, a.0, b.0)))
    }

    #[inline(always)]
    pub(crate) fn equal(self, a: Lanes, b: Lanes) -> Mask {
        safe!(_mm512_cmpeq_epi32_mask(a.0, b.0))
    }

    /// Where `a` is not above `b`.
    #[inline(always)]
    pub(crate) fn at_most(self, a: Lanes, b: Lanes) -> Mask {
        safe!(_mm512_cmple_epu32_mask(a.0, b.0))
    }

    /// Where `a` and `b` have a one in common.
    #[inline(always)]
    pub(crate) fn any_of(self, a: Lanes, b: Lanes) -> Mask {
        safe!(_mm512_test_epi32_mask(a.0, b.0))
    }

    /// Lanes of the mask, moved to the front; the others are 0.
    #[inline(always)]
    pub(crate) fn compress(self, mask: Mask, a: Lanes) -> Lanes {
        Lanes(safe!(_mm512_maskz_compress_epi32(mask, a.0)))
    }

    /// Where `a` and `b` have no one in common.
    #[inline(always)]
    pub(crate) fn none_of(self, a: Lanes, b: Lanes) -> Mask {
        safe!(_mm512_testn_epi32_mask(a.0, b.0))
    }

    /// How many of each lane's two 16-bit numbers in each of the four are below its `low` (16 bits, twice), all of them
    /// less 2^15.
    #[inline(always)]
    pub(crate) fn count_below(self, low: Lanes, keys: [Lanes; 4]) -> Lanes {
        let mut counts = safe!(_mm512_setzero_si512());
        for keys in keys {
            // Ones are minus one.
            let below = safe!(_mm512_cmpgt_epi16_mask(low.0, keys.0));
            counts = safe!(_mm512_add_epi16(counts, _mm512_movm_epi16(below)));
        }
        Lanes(safe!(_mm512_madd_epi16(counts, _mm512_set1_epi16(-1))))
    }

    /// The upper halves of the products: `a`, taken as a fraction of 2^32, of `size`.
    #[inline(always)]
    pub(crate) fn scale(self, a: Lanes, size: u32) -> Lanes {
        let size = self.splat(size).0;
        let even = safe!(_mm512_srli_epi64::<32>(_mm512_mul_epu32(a.0, size)));
        let odd = safe!(_mm512_mul_epu32(_mm512_srli_epi64::<32>(a.0), size));
        Lanes(safe!(_mm512_mask_blend_epi32(0xaaaa, even, odd)))
    }

    /// Word `word` of elements of a table that is not empty.
    #[inline(always)]
    pub(crate) fn gather<T: Words>(self, table: &[T], element: Lanes, word: Lanes) -> Lanes {
        let Some(offset) = self.offsets(table, element) else { return self.splat(0) };
        let word = self.min(word, self.splat(words_of::<T>() - 1));
        let position = self.add(offset, word);
        // SAFETY: invariants 1 and 2; `offsets` has put every element within the table, and the word lies within it.
        Lanes(unsafe { _mm512_i32gather_epi32::<4>(position.0, table.as_ptr().cast()) })
    }

    /// The same for lanes of the mask, 0 for the others.
    #[inline(always)]
    pub(crate) fn gather_some<T: Words>(self, mask: Mask, table: &[T], element: Lanes) -> Lanes {
        let Some(offset) = self.offsets(table, element) else { return self.splat(0) };
        let zero = self.splat(0);
        // SAFETY: invariants 1 and 2; `offsets` has put every element within the table.
        Lanes(unsafe { _mm512_mask_i32gather_epi32::<4>(zero.0, mask, offset.0, table.as_ptr().cast()) })
    }

    /// Words `2 * PAIR` and `2 * PAIR + 1` of elements of a table that is not empty.
    #[inline(always)]
    pub(crate) fn gather_pair<T: Words, const PAIR: u32>(
        self,
        table: &[T],
        element: Lanes,
    ) -> (Lanes, Lanes) {
        const { assert!(2 * PAIR + 1 < words_of::<T>(), "the pair lies within the element") };
        let Some(offset) = self.offsets(table, element) else { return (self.splat(0), self.splat(0)) };
        let position = self.add(offset, self.splat(2 * PAIR));
        let lower = safe!(_mm512_castsi512_si256(position.0));
        let upper = safe!(_mm512_extracti64x4_epi64::<1>(position.0));
        let base = table.as_ptr();
        // SAFETY: invariants 1 and 2; `offsets` has put every element within the table, and the pair lies within it.
        let lower = unsafe { _mm512_i32gather_epi64::<4>(lower, base.cast()) };
        // SAFETY: as above.
        let upper = unsafe { _mm512_i32gather_epi64::<4>(upper, base.cast()) };
        let even = safe!(_mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0));
        let odd = safe!(_mm512_set_epi32(31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1));
        (
            Lanes(safe!(_mm512_permutex2var_epi32(lower, even, upper))),
            Lanes(safe!(_mm512_permutex2var_epi32(lower, odd, upper))),
        )
    }

    /// First words of elements, those beyond the end taken for the last; `None` for a table that is empty, or of more
    /// words than a gather can count.
    #[inline(always)]
    fn offsets<T: Words>(self, table: &[T], element: Lanes) -> Option<Lanes> {
        let words = words_of::<T>();
        let last = table.len().checked_sub(1)?;
        let last = u32::try_from(last).ok().filter(|&last| last < (1 << 31) / words - 1)?;
        let element = self.min(element, self.splat(last));
        Some(self.multiply(element, self.splat(words)))
    }
}

const fn words_of<T: Words>() -> u32 {
    assert!(size_of::<T>().is_multiple_of(4) && align_of::<T>() >= 4, "invariant 2");
    (size_of::<T>() / 4) as u32
}

#[cfg(test)]
mod tests {
    use super::{Avx512, Lanes};

    fn numbers(from: u32) -> [u32; 16] {
        std::array::from_fn(|at| from.wrapping_add(at as u32).wrapping_mul(0x9e37_79b9))
    }

    #[test]
    fn vectors_do_as_their_lanes_would() {
        let Some(v) = Avx512::detect() else {
            println!("skipped: this processor has no AVX-512");
            return;
        };
        let out = |lanes: Lanes| {
            let mut numbers = [0; 16];
            v.store(lanes, &mut numbers);
            numbers
        };
        let (a, b) = (numbers(1), numbers(77));
        let (la, lb) = (v.load(&a), v.load(&b));
        let both = |f: fn(u32, u32) -> u32| std::array::from_fn::<_, 16, _>(|at| f(a[at], b[at]));
        let mask =
            |f: fn(u32, u32) -> bool| (0..16).fold(0_u16, |m, at| m | u16::from(f(a[at], b[at])) << at);
        assert_eq!(out(v.and(la, lb)), both(|a, b| a & b));
        assert_eq!(out(v.or(la, lb)), both(|a, b| a | b));
        assert_eq!(out(v.xor(la, lb)), both(|a, b| a ^ b));
        assert_eq!(out(v.add(la, lb)), both(u32::wrapping_add));
        assert_eq!(out(v.multiply(la, lb)), both(u32::wrapping_mul));
        assert_eq!(out(v.min(la, lb)), both(u32::min));
        assert_eq!(out(v.left::<3>(la)), both(|a, _| a << 3));
        assert_eq!(out(v.right::<3>(la)), both(|a, _| a >> 3));
        assert_eq!(out(v.right_by(la, v.and(lb, v.splat(31)))), both(|a, b| a >> (b & 31)));
        assert_eq!(out(v.scale(la, 1000)), both(|a, _| ((u64::from(a) * 1000) >> 32) as u32));
        assert_eq!(
            out(v.sub_16(la, lb)),
            both(|a, b| {
                let half =
                    |shift: u32| u32::from(((a >> shift) as u16).wrapping_sub((b >> shift) as u16)) << shift;
                half(0) | half(16)
            })
        );
        assert_eq!(v.at_most(la, lb), mask(|a, b| a <= b));
        assert_eq!(v.equal(la, lb), mask(|a, b| a == b));
        assert_eq!(v.any_of(la, lb), mask(|a, b| a & b != 0));
        assert_eq!(v.none_of(la, lb), mask(|a, b| a & b == 0));
        assert_eq!(out(v.select(0x0ff0, la, lb))[3..6], [a[3], b[4], b[5]]);
        let front = out(v.compress(0x8005, la));
        assert_eq!((front[..3].to_vec(), front[3..].iter().max()), (vec![a[0], a[2], a[15]], Some(&0)));
        let low = v.splat(0x0005_0005);
        let keys = [v.splat(0x0004_0003), v.splat(0x0005_0005), v.splat(0x0006_8000), v.splat(0x7fff_7fff)];
        assert_eq!(out(v.count_below(low, keys)), [3; 16]);
    }

    #[test]
    fn gathers_never_leave_their_table() {
        let Some(v) = Avx512::detect() else {
            println!("skipped: this processor has no AVX-512");
            return;
        };
        let mut numbers = [0; 16];
        let table: Vec<u32> = (100..200).collect();
        let element: [u32; 16] = std::array::from_fn(|at| [0, 1, 99, 100, u32::MAX, 1 << 31][at % 6]);
        v.store(v.gather(&table, v.load(&element), v.splat(0)), &mut numbers);
        assert_eq!(numbers[..6], [100, 101, 199, 199, 199, 199]);
        v.store(v.gather_some(0b101, &table, v.load(&element)), &mut numbers);
        assert_eq!(numbers[..6], [100, 0, 199, 0, 0, 0]);
        v.store(v.gather::<u32>(&[], v.load(&element), v.splat(7)), &mut numbers);
        assert_eq!(numbers, [0; 16]);
    }
}
