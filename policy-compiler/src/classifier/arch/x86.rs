//! The vector form for x86-64: SSE2 alone, which is part of it.

use std::arch::x86_64::{
    __m128i, _mm_cmpgt_epi16, _mm_movemask_epi8, _mm_packs_epi16, _mm_set1_epi16, _mm_setr_epi16,
};

/// Eight ascending numbers, kept less 2^15: SSE2 compares signed ones.
#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Keys(__m128i);

#[inline(always)]
fn signed(number: u16) -> i16 {
    (number ^ 0x8000).cast_signed()
}

#[target_feature(enable = "sse2")]
fn vector([a, b, c, d, e, f, g, h]: [i16; 8]) -> __m128i {
    _mm_setr_epi16(a, b, c, d, e, f, g, h)
}

#[inline]
#[target_feature(enable = "sse2")]
fn below(keys: __m128i, low: i16) -> usize {
    let less = _mm_cmpgt_epi16(_mm_set1_epi16(low), keys);
    // A bit a key, in both bytes. Keys ascend: the ones stand below the zeros, and the count is where they end.
    let bits = _mm_movemask_epi8(_mm_packs_epi16(less, less)) & 0xff;
    (!bits).trailing_zeros() as usize
}

#[allow(unsafe_code, reason = "SSE2 is there; the language does not know it")]
impl Keys {
    /// Ascending keys.
    pub(crate) fn new(keys: [u16; 8]) -> Self {
        // SAFETY: needs SSE2 and nothing else, and every x86-64 processor has it (System V ABI, AMD64, 3.1).
        Self(unsafe { vector(keys.map(signed)) })
    }

    /// How many keys are less than `low`.
    #[inline(always)]
    pub(crate) fn below(&self, low: u16) -> usize {
        // SAFETY: needs SSE2 and nothing else, and every x86-64 processor has it (System V ABI, AMD64, 3.1).
        unsafe { below(self.0, signed(low)) }
    }
}
