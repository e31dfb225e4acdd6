//! Longest-prefix match by flat tables: 16 bits, then 8 at a time, leaf-pushed, equal blocks stored once.
//!
//! An entry is a leaf (its value) or the position of a block of 256 further entries (high bit set). IPv4 takes
//! at most three loads, IPv6 as many as the prefixes around the address are deep, 15 at most. Prefixes are
//! inserted shortest first, so that a longer one overwrites its part. 256 KiB for the root, 1 KiB per block.
//! Known weakness: sparse IPv6 host prefixes take up to 14 blocks each; pods dense under one /64 share them.

use ahash::AHashMap;

const CHILD: u32 = 1 << 31;
const ROOT: usize = 1 << 16;
const BLOCK: usize = 1 << 8;

/// Bytes of the root table.
pub(crate) const ROOT_BYTES: usize = ROOT * 4;
/// Bytes of one further block.
pub(crate) const BLOCK_BYTES: usize = BLOCK * 4;

#[derive(Debug)]
pub(crate) struct Trie {
    entries: Vec<u32>,
}

impl Trie {
    /// A trie in which every address has the value.
    pub(crate) fn new(value: u32) -> Self {
        Self { entries: vec![value & !CHILD; ROOT] }
    }

    /// Gives a prefix a value. Every prefix must come after all shorter ones.
    ///
    /// `None`: the address has fewer bits than the prefix, or the table is full.
    pub(crate) fn insert(&mut self, address: &[u8], prefix_len: u8, value: u32) -> Option<()> {
        let value = value & !CHILD;
        let prefix_len = usize::from(prefix_len);
        let (head, rest) = address.split_first_chunk::<2>()?;
        let root = usize::from(u16::from_be_bytes(*head));
        if prefix_len <= 16 {
            return self.fill(0, ROOT, root, 16 - prefix_len, value);
        }
        let mut slot = root;
        let mut left = prefix_len - 16;
        for &byte in rest {
            let block = self.child(slot)?;
            if left <= 8 {
                return self.fill(block, BLOCK, usize::from(byte), 8 - left, value);
            }
            slot = block + usize::from(byte);
            left -= 8;
        }
        None
    }

    /// Fills `2^free` entries of a table that starts at `base`; `index` lies in the filled part.
    fn fill(&mut self, base: usize, size: usize, index: usize, free: usize, value: u32) -> Option<()> {
        let span = 1_usize << free;
        let start = index & !(span - 1);
        debug_assert!(start + span <= size, "the part lies inside its table");
        self.entries.get_mut(base + start..base + start + span)?.fill(value);
        Some(())
    }

    /// The block below an entry; a leaf becomes a block that says the same.
    fn child(&mut self, slot: usize) -> Option<usize> {
        let entry = *self.entries.get(slot)?;
        if entry & CHILD != 0 {
            return usize::try_from(entry & !CHILD).ok();
        }
        let block = self.entries.len();
        let pointer = u32::try_from(block).ok().filter(|pointer| pointer & CHILD == 0)?;
        self.entries.resize(block + BLOCK, entry);
        *self.entries.get_mut(slot)? = pointer | CHILD;
        Some(block)
    }

    /// Stores equal blocks once. Call when all prefixes are in.
    pub(crate) fn compact(&mut self) {
        // Children come after their parents, so walking backwards meets every child in its final form.
        let count = (self.entries.len() - ROOT) / BLOCK;
        let mut blocks: Vec<[u32; BLOCK]> = Vec::new();
        let mut known: AHashMap<[u32; BLOCK], u32> = AHashMap::new();
        let mut place = vec![0_u32; count];
        for block in (0..count).rev() {
            let start = ROOT + block * BLOCK;
            let Some(entries) = self.entries.get(start..).and_then(<[u32]>::first_chunk::<BLOCK>) else {
                return;
            };
            let mut entries = *entries;
            relocate(&mut entries, &place);
            let next = u32::try_from(blocks.len()).unwrap_or(u32::MAX);
            let id = *known.entry(entries).or_insert_with(|| {
                blocks.push(entries);
                next
            });
            if let Some(place) = place.get_mut(block) {
                *place = id;
            }
        }
        self.entries.truncate(ROOT);
        relocate(&mut self.entries, &place);
        for block in blocks {
            self.entries.extend(block);
        }
        self.entries.shrink_to_fit();
    }

    /// The value of the longest prefix that holds the address. `None` only for a table that is damaged.
    #[inline]
    pub(crate) fn lookup<const N: usize>(&self, address: [u8; N]) -> Option<u32> {
        let (head, rest) = address.split_first_chunk::<2>()?;
        let mut entry = *self.entries.get(usize::from(u16::from_be_bytes(*head)))?;
        for &byte in rest {
            if entry & CHILD == 0 {
                break;
            }
            entry = *self.entries.get((entry & !CHILD) as usize + usize::from(byte))?;
        }
        Some(entry)
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.entries.len() * 4
    }
}

/// Points entries at the places their blocks have moved to: `place[old block number]`.
fn relocate(entries: &mut [u32], place: &[u32]) {
    for entry in entries.iter_mut().filter(|entry| **entry & CHILD != 0) {
        let old = ((*entry & !CHILD) as usize - ROOT) / BLOCK;
        let new = place.get(old).copied().unwrap_or(0) as usize;
        // Not above the old position, which fitted.
        *entry = u32::try_from(ROOT + new * BLOCK).unwrap_or(0) | CHILD;
    }
}

#[cfg(test)]
mod tests {
    use super::{BLOCK_BYTES, ROOT_BYTES, Trie};

    #[test]
    fn the_longest_prefix_wins() {
        let mut trie = Trie::new(0);
        for (address, prefix_len, value) in
            [([10, 0, 0, 0], 8, 1), ([10, 1, 0, 0], 16, 2), ([10, 1, 2, 0], 23, 3), ([10, 1, 3, 7], 32, 4)]
        {
            assert_eq!(trie.insert(&address, prefix_len, value), Some(()));
        }
        trie.compact();
        for (address, value) in [
            ([9, 255, 255, 255], 0),
            ([10, 0, 0, 0], 1),
            ([10, 1, 255, 255], 2),
            ([10, 1, 2, 1], 3),
            ([10, 1, 3, 6], 3),
            ([10, 1, 3, 7], 4),
            ([10, 1, 4, 0], 2),
            ([11, 0, 0, 0], 0),
        ] {
            assert_eq!(trie.lookup(address), Some(value), "{address:?}");
        }
    }

    #[test]
    fn equal_blocks_are_stored_once() {
        let mut trie = Trie::new(0);
        for second in 0..=255 {
            assert_eq!(trie.insert(&[10, second, 1, 1], 32, 7), Some(()));
        }
        trie.compact();
        assert_eq!(trie.memory_bytes(), ROOT_BYTES + 2 * BLOCK_BYTES);
        assert_eq!(trie.lookup([10, 9, 1, 1]), Some(7));
        assert_eq!(trie.lookup([10, 9, 1, 2]), Some(0));
    }

    #[test]
    fn ipv6_goes_as_deep_as_its_prefixes() {
        let mut trie = Trie::new(0);
        let host = 0x2001_0db8_0042_0001_0000_0000_0000_0005_u128.to_be_bytes();
        assert_eq!(trie.insert(&host, 61, 1), Some(()));
        assert_eq!(trie.insert(&host, 128, 2), Some(()));
        trie.compact();
        assert_eq!(trie.lookup(host), Some(2));
        assert_eq!(trie.lookup((u128::from_be_bytes(host) ^ 1).to_be_bytes()), Some(1));
        assert_eq!(trie.lookup([0; 16]), Some(0));
    }

    #[test]
    fn a_prefix_longer_than_its_address_is_refused() {
        assert_eq!(Trie::new(0).insert(&[10, 0, 0, 0], 33, 1), None);
    }
}
