//! Longest-prefix match by flat tables: 16 bits, then 8 at a time, leaf-pushed.
//!
//! An entry is a leaf (its value) or the position of a block of 256 further entries (high bit set). IPv4 takes
//! at most three loads, IPv6 as many as the prefixes around the address are deep, 15 at most. A prefix overwrites
//! all longer ones, so these are inserted after it. Copies share what did not change (see [`Chunks`]).
//! 256 KiB for the root, 1 KiB per block.
//! Known weakness: sparse IPv6 host prefixes take up to 14 blocks each; pods dense under one /64 share them.

use super::chunks::Chunks;
use std::sync::Arc;

const CHILD: u32 = 1 << 31;
const ROOT: usize = 1 << 16;
const BLOCK: usize = 1 << 8;

/// Bytes of the root table.
pub(crate) const ROOT_BYTES: usize = ROOT * 4;
/// Bytes of one further block.
pub(crate) const BLOCK_BYTES: usize = BLOCK * 4;

#[derive(Debug, Clone)]
pub(crate) struct Trie {
    root: Arc<[u32]>,
    blocks: Chunks,
    /// Blocks that are not part of it.
    free: Vec<u32>,
}

impl Trie {
    /// A trie in which every address has the value.
    pub(crate) fn new(value: u32) -> Self {
        Self { root: vec![value & !CHILD; ROOT].into(), blocks: Chunks::default(), free: Vec::new() }
    }

    /// Gives a prefix a value; longer prefixes inside it are forgotten.
    ///
    /// `None`: the address has fewer bits than the prefix, or the table is full.
    pub(crate) fn insert(&mut self, address: &[u8], prefix_len: u8, value: u32) -> Option<()> {
        let value = value & !CHILD;
        let prefix_len = usize::from(prefix_len);
        let (head, rest) = address.split_first_chunk::<2>()?;
        let root = usize::from(u16::from_be_bytes(*head));
        if prefix_len <= 16 {
            let span = 1_usize << (16 - prefix_len);
            let start = root & !(span - 1);
            for position in start..start + span {
                self.write_root(position, value)?;
            }
            return Some(());
        }
        // The root is copied only where it changes.
        let entry = *self.root.get(root)?;
        let mut block = self.child(entry)?;
        self.write_root(root, block | CHILD)?;
        let mut left = prefix_len - 16;
        for &byte in rest {
            let place = block as usize + usize::from(byte);
            if left <= 8 {
                let span = 1_usize << (8 - left);
                let start = block as usize + (usize::from(byte) & !(span - 1));
                for position in start..start + span {
                    let old = self.blocks.get(position)?;
                    self.blocks.set(position, value)?;
                    self.release(old);
                }
                return Some(());
            }
            let entry = self.blocks.get(place)?;
            block = self.child(entry)?;
            self.blocks.set(place, block | CHILD)?;
            left -= 8;
        }
        None
    }

    fn write_root(&mut self, position: usize, value: u32) -> Option<()> {
        let old = *self.root.get(position)?;
        if old != value {
            *Arc::make_mut(&mut self.root).get_mut(position)? = value;
            self.release(old);
        }
        Some(())
    }

    /// The block below an entry; a leaf becomes a block that says the same.
    fn child(&mut self, entry: u32) -> Option<u32> {
        if entry & CHILD != 0 {
            return Some(entry & !CHILD);
        }
        if let Some(block) = self.free.pop() {
            self.blocks.fill(block as usize, BLOCK, entry)?;
            return Some(block);
        }
        let block = u32::try_from(self.blocks.len()).ok().filter(|block| block & CHILD == 0)?;
        self.blocks.resize(block as usize + BLOCK, entry);
        Some(block)
    }

    /// Gives back the blocks below an entry that is no longer in the trie. As deep as an address has bytes.
    fn release(&mut self, entry: u32) {
        if entry & CHILD == 0 {
            return;
        }
        let block = entry & !CHILD;
        for place in block as usize..block as usize + BLOCK {
            if let Some(below) = self.blocks.get(place) {
                self.release(below);
            }
        }
        self.free.push(block);
    }

    /// The value of the longest prefix that holds the address. `None` only for a table that is damaged.
    #[inline]
    pub(crate) fn lookup<const N: usize>(&self, address: [u8; N]) -> Option<u32> {
        let (head, rest) = address.split_first_chunk::<2>()?;
        let mut entry = *self.root.get(usize::from(u16::from_be_bytes(*head)))?;
        for &byte in rest {
            if entry & CHILD == 0 {
                break;
            }
            entry = self.blocks.get((entry & !CHILD) as usize + usize::from(byte))?;
        }
        Some(entry)
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        ROOT_BYTES + self.blocks.memory_bytes()
    }

    /// Bytes in use, without what is spare in pieces.
    pub(crate) fn used_bytes(&self) -> usize {
        ROOT_BYTES + (self.blocks.len() - self.free.len() * BLOCK) * 4
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
    fn a_shorter_prefix_gives_back_what_was_inside() {
        let mut trie = Trie::new(0);
        let mut used = 0;
        for round in 0..50 {
            for host in 0..=255 {
                assert_eq!(trie.insert(&[10, 1, host, round], 32, 7), Some(()));
            }
            let before = trie.clone();
            if round == 0 {
                used = trie.memory_bytes();
                assert_eq!(trie.used_bytes(), ROOT_BYTES + 257 * BLOCK_BYTES);
            }
            assert_eq!(trie.insert(&[10, 0, 0, 0], if round % 2 == 0 { 8 } else { 16 }, 0), Some(()));
            if round % 2 != 0 {
                assert_eq!(trie.insert(&[10, 1, 0, 0], 16, 0), Some(()));
            }
            assert_eq!(trie.used_bytes(), ROOT_BYTES);
            assert_eq!(before.lookup([10, 1, 9, round]), Some(7), "a copy stays as it was");
            assert_eq!(trie.lookup([10, 1, 9, round]), Some(0));
            assert_eq!(trie.memory_bytes(), used);
        }
    }

    #[test]
    fn ipv6_goes_as_deep_as_its_prefixes() {
        let mut trie = Trie::new(0);
        let host = 0x2001_0db8_0042_0001_0000_0000_0000_0005_u128.to_be_bytes();
        assert_eq!(trie.insert(&host, 61, 1), Some(()));
        assert_eq!(trie.insert(&host, 128, 2), Some(()));
        assert_eq!(trie.lookup(host), Some(2));
        assert_eq!(trie.lookup((u128::from_be_bytes(host) ^ 1).to_be_bytes()), Some(1));
        assert_eq!(trie.lookup([0; 16]), Some(0));
    }

    #[test]
    fn a_prefix_longer_than_its_address_is_refused() {
        assert_eq!(Trie::new(0).insert(&[10, 0, 0, 0], 33, 1), None);
    }
}
