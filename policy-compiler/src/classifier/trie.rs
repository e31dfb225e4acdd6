//! Longest-prefix match by flat tables: 16 bits, then 8 at a time, leaf-pushed.
//!
//! An entry is a leaf (its value), the position of a block of 256 further entries, or (IPv6 only) a *skip*: bytes that
//! all prefixes below have in common, compared at once. IPv4 takes at most three loads; IPv6 two or three more than pods
//! have levels of numbering (node, pod), whatever the length of their common prefix, 15 at most. A prefix overwrites all
//! longer ones, so these are inserted after it. Root and blocks are one array; readers have copies (see [`Draft`]).
//! 256 KiB for the root, 1 KiB per block, 64 bytes per skip; a prefix takes two blocks and two skips at most.

use super::draft::Draft;
use std::sync::Arc;

/// The entry is the position of a block.
const BLOCK_TAG: u32 = 1 << 31;
/// The entry is the number of a skip.
const SKIP_TAG: u32 = 1 << 30;
const TAGS: u32 = BLOCK_TAG | SKIP_TAG;
const ROOT: usize = 1 << 16;
const BLOCK: usize = 1 << 8;

/// Bytes that have to be these for an address to be further inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(align(64))]
pub(crate) struct Skip {
    /// The address, and which of its bits are compared, in halves.
    expected: [u64; 2],
    mask: [u64; 2],
    /// The byte that is looked at next.
    next: u32,
    /// A block.
    inside: u32,
    /// A leaf.
    outside: u32,
}

impl Skip {
    fn expected(&self) -> u128 {
        let [high, low] = self.expected;
        u128::from(high) << 64 | u128::from(low)
    }
}

fn halves(bits: u128) -> [u64; 2] {
    [(bits >> 64) as u64, bits as u64]
}

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

/// The trie as it is read.
#[derive(Debug, Clone)]
pub(crate) struct TrieTable {
    pub(crate) words: Arc<Vec<u32>>,
    skips: Arc<Vec<Skip>>,
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

#[cfg(test)]
mod tests {
    use super::{BLOCK, ROOT, Skip, Trie, TrieTable};

    /// Bytes of the root table.
    const ROOT_BYTES: usize = ROOT * 4;
    /// Bytes of one further block.
    const BLOCK_BYTES: usize = BLOCK * 4;
    /// Bytes that one prefix takes at most.
    const MOST_PER_PREFIX: usize = 2 * (BLOCK_BYTES + size_of::<Skip>());

    impl TrieTable {
        fn lookup_v4(&self, address: u32) -> Option<u32> {
            self.view()?.lookup_v4(address)
        }

        fn lookup_v6(&self, bits: u128) -> Option<u32> {
            self.view()?.lookup_v6(bits)
        }
    }

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
            assert_eq!(trie.copy().lookup_v4(u32::from_be_bytes(address)), Some(value), "{address:?}");
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
            let before = trie.copy();
            if round == 0 {
                used = trie.copy().memory_bytes();
                assert_eq!(trie.used_bytes(), ROOT_BYTES + 257 * BLOCK_BYTES);
            }
            assert_eq!(trie.insert(&[10, 0, 0, 0], if round % 2 == 0 { 8 } else { 16 }, 0), Some(()));
            if round % 2 != 0 {
                assert_eq!(trie.insert(&[10, 1, 0, 0], 16, 0), Some(()));
            }
            assert_eq!(trie.used_bytes(), ROOT_BYTES);
            assert_eq!(
                before.lookup_v4(u32::from_be_bytes([10, 1, 9, round])),
                Some(7),
                "a copy stays as it was"
            );
            assert_eq!(trie.copy().lookup_v4(u32::from_be_bytes([10, 1, 9, round])), Some(0));
            assert_eq!(trie.copy().memory_bytes(), used);
        }
    }

    #[test]
    fn ipv6_goes_as_deep_as_its_prefixes() {
        let mut trie = Trie::new(0);
        let host = 0x2001_0db8_0042_0001_0000_0000_0000_0005_u128.to_be_bytes();
        assert_eq!(trie.insert(&host, 61, 1), Some(()));
        assert_eq!(trie.insert(&host, 128, 2), Some(()));
        assert_eq!(trie.copy().lookup_v6(u128::from_be_bytes(host)), Some(2));
        assert_eq!(trie.copy().lookup_v6(u128::from_be_bytes(host) ^ 1), Some(1));
        assert_eq!(trie.copy().lookup_v6(0), Some(0));
    }

    #[test]
    fn a_prefix_longer_than_its_address_is_refused() {
        assert_eq!(Trie::new(0).insert(&[10, 0, 0, 0], 33, 1), None);
    }

    /// Prefixes as they are: what is inherited from none is 0.
    fn plainly(prefixes: &[(u128, u8, u32)], address: u128) -> u32 {
        let holds = |&&(prefix, len, _): &&(u128, u8, u32)| {
            len == 0 || (prefix ^ address) >> (128 - u32::from(len)) == 0
        };
        prefixes.iter().filter(holds).max_by_key(|(_, len, _)| *len).map_or(0, |&(.., value)| value)
    }

    #[test]
    fn any_order_of_changes_is_what_the_prefixes_say() {
        let mut state = 0x8472_u64;
        let mut below = |bound: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % bound
        };
        for v4 in [true, false] {
            let mut trie = Trie::new(0);
            let mut prefixes: Vec<(u128, u8, u32)> = Vec::new();
            for round in 0..3000_u32 {
                // Bytes of few values, so that prefixes share beginnings of every length.
                let bytes: [u8; 16] =
                    std::array::from_fn(
                        |at| if v4 && at >= 4 { 0 } else { [0, 0, 0, 1, 255][below(5) as usize] },
                    );
                let address = u128::from_be_bytes(bytes);
                let most = if v4 { 32 } else { 128 };
                let len = if below(2) == 0 { most } else { below(u64::from(most) + 1) as u8 };
                let len = if round % 400 == 399 { 0 } else { len.max(9) };
                let prefix =
                    if len == 0 { 0 } else { address >> (128 - u32::from(len)) << (128 - u32::from(len)) };
                prefixes.retain(|&(other, of, _)| {
                    of < len || (len != 0 && (other ^ prefix) >> (128 - u32::from(len)) != 0)
                });
                prefixes.push((prefix, len, round + 1));
                let used = trie.used_bytes();
                let given = if v4 { &bytes[..4] } else { &bytes[..] };
                assert_eq!(trie.insert(given, len, round + 1), Some(()));
                assert!(v4 || trie.used_bytes() <= used + MOST_PER_PREFIX, "no prefix takes more");
                let table = trie.copy();
                for _ in 0..8 {
                    let probe = match below(3) {
                        0 => address,
                        1 => address ^ (1 << if v4 { 96 + below(32) } else { below(128) }),
                        _ => prefixes[below(prefixes.len() as u64) as usize].0,
                    };
                    let found =
                        if v4 { table.lookup_v4((probe >> 96) as u32) } else { table.lookup_v6(probe) };
                    assert_eq!(found, Some(plainly(&prefixes, probe)), "{probe:x} in round {round}");
                }
                if len == 0 {
                    assert_eq!(trie.used_bytes(), ROOT_BYTES, "all is given back");
                }
            }
        }
    }

    #[test]
    fn pods_of_many_nodes_share_what_their_addresses_share() {
        let mut trie = Trie::new(0);
        for node in 0..100_u128 {
            for pod in 0..50 {
                let address = 0xfd00_0010_0244_u128 << 80 | node << 64 | pod;
                assert_eq!(trie.insert(&address.to_be_bytes(), 128, 7), Some(()));
            }
        }
        assert!(trie.used_bytes() < ROOT_BYTES + 102 * (BLOCK_BYTES + 64), "{}", trie.used_bytes());
    }
}
