//! Longest-prefix match by flat tables: 16 bits, then 8 at a time, leaf-pushed.
//!
//! An entry is a leaf (its value), the position of a block of 256 further entries, or (IPv6 only) a *skip*: bytes that
//! all prefixes below have in common, compared at once. IPv4 takes at most three loads; IPv6 two or three more than pods
//! have levels of numbering (node, pod), whatever the length of their common prefix, 15 at most. A prefix overwrites all
//! longer ones, so these are inserted after it. Root and blocks are one array; readers have copies (see [`Draft`]).
//! 256 KiB for the root, 1 KiB per block, 64 bytes per skip; a prefix takes two blocks and two skips at most.
//!
//! Here is how it changes; `table` has its layout and how it is read.

mod table;

pub(crate) use table::{TrieTable, TrieView};

use super::draft::Draft;
use table::{BLOCK, BLOCK_TAG, ROOT, SKIP_TAG, Skip, TAGS, halves};

/// The trie as it is changed.
#[derive(Debug)]
pub(crate) struct Trie {
    /// The root, and blocks after it.
    words: Draft<u32>,
    /// Blocks that are not part of it.
    free: Vec<u32>,
    skips: Draft<Skip>,
    free_skips: Vec<u32>,
}

/// A prefix on its way down: address left-aligned, bits, value.
#[derive(Clone, Copy)]
struct Path {
    address: u128,
    len: usize,
    value: u32,
    /// Whether bytes may be skipped.
    skips: bool,
}

impl Path {
    fn byte(&self, at: usize) -> usize {
        byte(self.address, at)
    }
}

fn byte(address: u128, at: usize) -> usize {
    usize::from(address.to_be_bytes().get(at).copied().unwrap_or(0))
}

/// The bits of bytes `from..to`.
fn mask(from: usize, to: usize) -> u128 {
    let head = |bytes: usize| u128::MAX.checked_shl(128_u32.saturating_sub(bytes as u32 * 8)).unwrap_or(0);
    head(to) & !head(from)
}

impl Trie {
    /// A trie in which every address has the value.
    pub(crate) fn new(value: u32) -> Self {
        let mut words = Draft::default();
        words.grow(ROOT, value & !TAGS);
        Self { words, free: Vec::new(), skips: Draft::default(), free_skips: Vec::new() }
    }

    /// The trie as it is now, for readers.
    pub(crate) fn copy(&mut self) -> TrieTable {
        TrieTable { words: self.words.copy(), skips: self.skips.copy() }
    }

    /// Gives a prefix a value; longer prefixes inside it are forgotten.
    ///
    /// `None`: the address has fewer bits than the prefix, or the table is full.
    pub(crate) fn insert(&mut self, address: &[u8], prefix_len: u8, value: u32) -> Option<()> {
        let len = usize::from(prefix_len);
        if address.len() > 16 || len > address.len() * 8 {
            return None;
        }
        let mut bytes = [0; 16];
        bytes.iter_mut().zip(address).for_each(|(byte, given)| *byte = *given);
        let path = Path {
            address: u128::from_be_bytes(bytes),
            len,
            value: value & !TAGS,
            skips: address.len() == 16,
        };
        let root = (path.address >> 112) as usize;
        let span = 1_usize << 16_usize.saturating_sub(len);
        for position in root & !(span - 1)..(root & !(span - 1)) + span {
            let before = self.words.get(position)?;
            let after = self.put(before, 2, path)?;
            self.words.set(position, after)?;
        }
        Some(())
    }

    /// What an entry becomes that is reached with `at` bytes of the address behind it. As deep as an address has bytes.
    fn put(&mut self, entry: u32, at: usize, path: Path) -> Option<u32> {
        if path.len <= at * 8 {
            self.release(entry);
            return Some(path.value);
        }
        if entry & SKIP_TAG != 0 {
            return self.put_at_skip(entry & !TAGS, at, path);
        }
        if entry & BLOCK_TAG != 0 {
            self.put_in_block(entry & !TAGS, at, path)?;
            return Some(entry);
        }
        // A leaf: nothing is known further down but this prefix.
        let last = if path.skips { (path.len - 1) / 8 } else { at };
        let block = self.block(entry)?;
        self.put_in_block(block, last, path)?;
        self.skip(path.address, at, last, block | BLOCK_TAG, entry)
    }

    fn put_in_block(&mut self, block: u32, at: usize, path: Path) -> Option<()> {
        let free = ((at + 1) * 8).saturating_sub(path.len).min(8);
        let span = 1_usize << free;
        let start = block as usize + (path.byte(at) & !(span - 1));
        for position in start..start + span {
            let before = self.words.get(position)?;
            let after = self.put(before, at + 1, path)?;
            self.words.set(position, after)?;
        }
        Some(())
    }

    fn put_at_skip(&mut self, number: u32, at: usize, path: Path) -> Option<u32> {
        let skip = self.skips.get(number as usize)?;
        let parts =
            |place: &usize| path.byte(*place) != byte(skip.expected(), *place) || path.len <= (place + 1) * 8;
        let Some(parting) = (at..skip.next as usize).find(parts) else {
            let inside = self.put(skip.inside, skip.next as usize, path)?;
            // What is inside may have moved others; this one is where it was.
            self.skips.set(number as usize, Skip { inside, ..skip })?;
            return Some(number | SKIP_TAG);
        };
        let rest = self.skip(skip.expected(), parting + 1, skip.next as usize, skip.inside, skip.outside)?;
        let block = self.block(skip.outside)?;
        self.words.set(block as usize + byte(skip.expected(), parting), rest)?;
        self.put_in_block(block, parting, path)?;
        self.free_skips.push(number);
        self.skip(path.address, at, parting, block | BLOCK_TAG, skip.outside)
    }

    /// An entry for addresses that have the bytes `from..to` of this one; without such bytes what is inside.
    fn skip(&mut self, address: u128, from: usize, to: usize, inside: u32, outside: u32) -> Option<u32> {
        if from >= to {
            return Some(inside);
        }
        let mask = mask(from, to);
        let (expected, mask) = (halves(address & mask), halves(mask));
        let skip = Skip { expected, mask, next: u32::try_from(to).ok()?, inside, outside };
        if let Some(number) = self.free_skips.pop() {
            self.skips.set(number as usize, skip)?;
            return Some(number | SKIP_TAG);
        }
        let number = u32::try_from(self.skips.len()).ok().filter(|number| number & TAGS == 0)?;
        self.skips.grow(number as usize + 1, skip);
        Some(number | SKIP_TAG)
    }

    /// A block that says one thing throughout.
    fn block(&mut self, entry: u32) -> Option<u32> {
        if let Some(block) = self.free.pop() {
            self.words.fill(block as usize, BLOCK, entry)?;
            return Some(block);
        }
        let block = u32::try_from(self.words.len()).ok().filter(|block| block & TAGS == 0)?;
        self.words.grow(block as usize + BLOCK, entry);
        Some(block)
    }

    /// Gives back what is below an entry that is no longer in the trie. As deep as an address has bytes.
    fn release(&mut self, entry: u32) {
        if entry & SKIP_TAG != 0 {
            if let Some(skip) = self.skips.get((entry & !TAGS) as usize) {
                self.release(skip.inside);
            }
            self.free_skips.push(entry & !TAGS);
        } else if entry & BLOCK_TAG != 0 {
            let block = entry & !TAGS;
            for place in block as usize..block as usize + BLOCK {
                if let Some(below) = self.words.get(place) {
                    self.release(below);
                }
            }
            self.free.push(block);
        }
    }

    /// Bytes in use, without free blocks and skips.
    pub(crate) fn used_bytes(&self) -> usize {
        let skips = self.skips.len() - self.free_skips.len();
        (self.words.len() - self.free.len() * BLOCK) * 4 + skips * size_of::<Skip>()
    }
}

impl TrieTable {
    /// A trie in which every address has the value 0.
    pub(crate) fn empty() -> Self {
        Trie::new(0).copy()
    }
}

#[cfg(test)]
mod tests;
