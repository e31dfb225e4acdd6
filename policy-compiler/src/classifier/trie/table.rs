//! How a trie lies in memory, and lookups in it.

use std::sync::Arc;

/// The entry is the position of a block.
pub(super) const BLOCK_TAG: u32 = 1 << 31;
/// The entry is the number of a skip.
pub(super) const SKIP_TAG: u32 = 1 << 30;
pub(super) const TAGS: u32 = BLOCK_TAG | SKIP_TAG;
pub(super) const ROOT: usize = 1 << 16;
pub(super) const BLOCK: usize = 1 << 8;

/// Bytes that have to be these for an address to be further inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(align(64))]
pub(crate) struct Skip {
    /// The address, and which of its bits are compared, in halves.
    pub(super) expected: [u64; 2],
    pub(super) mask: [u64; 2],
    /// The byte that is looked at next.
    pub(super) next: u32,
    /// A block.
    pub(super) inside: u32,
    /// A leaf.
    pub(super) outside: u32,
}

impl Skip {
    pub(super) fn expected(&self) -> u128 {
        let [high, low] = self.expected;
        u128::from(high) << 64 | u128::from(low)
    }
}

pub(super) fn halves(bits: u128) -> [u64; 2] {
    [(bits >> 64) as u64, bits as u64]
}

/// The trie as it is read.
#[derive(Debug, Clone)]
pub(crate) struct TrieTable {
    pub(crate) words: Arc<Vec<u32>>,
    pub(super) skips: Arc<Vec<Skip>>,
}

impl TrieTable {
    /// What many lookups go through. `None` only for a table that is damaged.
    #[inline]
    pub(crate) fn view(&self) -> Option<TrieView<'_>> {
        Some(TrieView { root: self.words.first_chunk()?, words: &self.words, skips: &self.skips })
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        size_of_val(&self.words[..]) + size_of_val(&self.skips[..])
    }
}

/// The trie at hand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TrieView<'a> {
    root: &'a [u32; ROOT],
    words: &'a [u32],
    skips: &'a [Skip],
}

impl TrieView<'_> {
    /// The value of the longest prefix that holds an IPv4 address. `None` only for a table that is damaged.
    #[inline(always)]
    pub(crate) fn lookup_v4(&self, address: u32) -> Option<u32> {
        let [_, _, third, fourth] = address.to_be_bytes();
        let mut entry = self.root[(address >> 16) as usize];
        if entry & BLOCK_TAG != 0 {
            entry = *self.words.get((entry & !TAGS) as usize + usize::from(third))?;
            if entry & BLOCK_TAG != 0 {
                entry = *self.words.get((entry & !TAGS) as usize + usize::from(fourth))?;
            }
        }
        Some(entry)
    }

    /// The value of the longest prefix that holds an IPv6 address. `None` only for a table that is damaged.
    #[inline(always)]
    pub(crate) fn lookup_v6(&self, bits: u128) -> Option<u32> {
        let [high, low] = halves(bits);
        let mut entry = self.root[(high >> 48) as usize];
        let mut at = 2;
        while entry & TAGS != 0 {
            let mut block = entry;
            if entry & SKIP_TAG != 0 {
                let skip = self.skips.get((entry & !TAGS) as usize)?;
                let [expected_high, expected_low] = skip.expected;
                let [mask_high, mask_low] = skip.mask;
                if (high ^ expected_high) & mask_high | (low ^ expected_low) & mask_low != 0 {
                    return Some(skip.outside);
                }
                (block, at) = (skip.inside, skip.next);
            }
            let half = if at < 8 { high } else { low };
            // Of the shift no more than six bits count, and these are right.
            let byte = half.wrapping_shr(56_u32.wrapping_sub(8 * at)) as u8;
            entry = *self.words.get((block & !TAGS) as usize + usize::from(byte))?;
            at += 1;
        }
        Some(entry)
    }
}
