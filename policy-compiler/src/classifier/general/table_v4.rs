//! IPv4 addresses to classes in two to four loads, without a branch that depends on the address.
//!
//! ```text
//!  root[first 16 bits] ─► class
//!                      ├► line   up to 8 boundaries within the remaining bits, and the classes between them: 64 bytes
//!                      └► block[next 8 bits] ─► class | line | block[last 8 bits] ─► class
//! ```
//! Sparse prefixes, most of any firewall, cost one cache line for each of their /16; dense ones a block of 1 KiB for
//! the /16 and, where a /24 has more boundaries than a line, another. Equal blocks of last bits are stored once. A step
//! that does not apply reads entry 0 instead, which is always in the cache: cheaper than a branch that is mispredicted.
//! Bytes: 256 KiB, at most about 500 a prefix.

use super::addresses::AddressTable;
use super::prefixes::Run;
use super::record;
use crate::classifier::arch::Keys;
#[cfg(target_arch = "x86_64")]
use crate::classifier::arch::{Avx512, Lanes};
use ahash::AHashMap;
use std::hint::select_unpredictable;

const BLOCK: u32 = 1 << 31;
const LINE: u32 = 1 << 30;
const VALUE: u32 = LINE - 1;
/// Entries of the root: every number of 16 bits is one.
const ROOT: usize = 1 << 16;
/// Entries of a block.
const FAN: usize = 256;
/// Boundaries of a line.
const KEYS: usize = 8;
/// Up to so many bytes of blocks there are no lines: a step less.
const DENSE: usize = 640 << 10;

/// The classes of addresses whose first 16 bits (or 24) are known, by their last 16.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Line {
    /// A boundary less one each, ascending; 65535 is none.
    keys: Keys,
    /// One more than keys.
    classes: [u32; KEYS + 1],
    spare: [u32; 3],
}

const _: () = assert!(size_of::<Line>() == 64);

/// The table.
#[derive(Debug)]
pub(super) struct TableV4 {
    root: Box<[u32; ROOT]>,
    blocks: Vec<u32>,
    lines: Vec<Line>,
    /// Boundaries that make a line instead of a block, at most.
    keys: usize,
}

/// Walks the runs, part of the space by part.
struct Cursor<'a> {
    runs: &'a [Run],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The class at the start of a part and the runs that begin inside it. Parts ascend.
    fn part(&mut self, start: u32, len: u64) -> (u32, &'a [Run]) {
        let begin = |run: &Run| (run.0 >> 96) as u64;
        while self.runs.get(self.at + 1).is_some_and(|run| begin(run) <= u64::from(start)) {
            self.at += 1;
        }
        let class = self.runs.get(self.at).map_or(0, |run| run.1);
        let rest = self.runs.get(self.at + 1..).unwrap_or_default();
        let inside = rest.iter().take_while(|run| begin(run) < u64::from(start) + len).count();
        (class, rest.get(..inside).unwrap_or_default())
    }
}

impl Line {
    fn new(class: u32, inside: &[Run]) -> Self {
        let (mut keys, mut classes) = ([u16::MAX; KEYS], [class; KEYS + 1]);
        for (number, &(start, class)) in inside.iter().enumerate() {
            if let Some(key) = keys.get_mut(number) {
                *key = ((start >> 96) as u16).wrapping_sub(1);
            }
            classes.iter_mut().skip(number + 1).for_each(|place| *place = class);
        }
        Self { keys: Keys::new(keys), classes, spare: [0; 3] }
    }

    #[inline(always)]
    fn class(&self, low: u16) -> u32 {
        record::entry(&self.classes, self.keys.below(low), 0)
    }
}

impl TableV4 {
    fn line(&mut self, class: u32, inside: &[Run]) -> u32 {
        self.lines.push(Line::new(class, inside));
        (self.lines.len() as u32 - 1) | LINE
    }

    /// The entries of a /16.
    fn block(&mut self, high: u32, inside: &[Run], known: &mut AHashMap<Vec<u32>, u32>) -> u32 {
        let place = self.blocks.len();
        self.blocks.resize(place + FAN, 0);
        let mut cursor = Cursor { runs: inside, at: 0 };
        for middle in 0..FAN as u32 {
            let start = high << 16 | middle << 8;
            let (class, inside) = cursor.part(start, 1 << 8);
            let entry = match inside.len() {
                0 => class,
                few if few <= self.keys => self.line(class, inside),
                _ => self.last(class, inside, known),
            };
            if let Some(slot) = self.blocks.get_mut(place + middle as usize) {
                *slot = entry;
            }
        }
        (place / FAN) as u32 | BLOCK
    }

    /// The entries of a /24.
    fn last(&mut self, class: u32, inside: &[Run], known: &mut AHashMap<Vec<u32>, u32>) -> u32 {
        let mut entries = vec![class; FAN];
        for &(start, class) in inside {
            let low = usize::from((start >> 96) as u8);
            entries.iter_mut().skip(low).for_each(|entry| *entry = class);
        }
        if let Some(&block) = known.get(&entries) {
            return block;
        }
        let block = (self.blocks.len() / FAN) as u32 | BLOCK;
        self.blocks.extend_from_slice(&entries);
        known.insert(entries, block);
        block
    }

    /// The entry behind one that is a block, or the entry itself.
    #[inline(always)]
    fn below(&self, entry: u32, byte: u8) -> u32 {
        let is_block = entry & BLOCK != 0;
        let position = select_unpredictable(is_block, (entry & VALUE) as usize * FAN + usize::from(byte), 0);
        let below = record::entry(&self.blocks, position, 0);
        select_unpredictable(is_block, below, entry)
    }
}

/// How many runs begin inside each part of so many leading bits, not at its start; parts without any are left out.
fn parts(runs: &[Run], bits: u32) -> Vec<usize> {
    let mut counts: Vec<usize> = Vec::new();
    let mut current = None;
    for &(start, _) in runs.iter().filter(|run| !((run.0 >> 96) as u32).is_multiple_of(1 << (32 - bits))) {
        let part = start >> (128 - bits);
        match counts.last_mut().filter(|_| current == Some(part)) {
            Some(count) => *count += 1,
            None => counts.push(1),
        }
        current = Some(part);
    }
    counts
}

impl AddressTable for TableV4 {
    type Address = u32;

    #[allow(clippy::large_stack_arrays, reason = "never made: the vector has as many")]
    fn new(runs: &[Run]) -> Self {
        // Entry 0 of blocks and lines is what steps read that do not apply.
        let mut table = Self {
            root: vec![0; ROOT].try_into().unwrap_or_else(|_| Box::new([0; ROOT])),
            blocks: vec![0; FAN],
            lines: vec![Line::new(0, &[])],
            keys: if parts(runs, 16).len() + parts(runs, 24).len() <= DENSE / (FAN * 4) { 0 } else { KEYS },
        };
        let mut known = AHashMap::new();
        let begin = |run: &Run| (run.0 >> 96) as u32;
        for (number, run) in runs.iter().enumerate() {
            // The part of the root that lies in this run; a /16 with a boundary inside it is put right below.
            let from = (begin(run) >> 16) as usize;
            let to = runs.get(number + 1).map_or(ROOT, |next| (begin(next) >> 16) as usize);
            table.root.get_mut(from..to.max(from + 1)).unwrap_or_default().fill(run.1);
        }
        let mut at = 1;
        while let Some(run) = runs.get(at) {
            let high = begin(run) >> 16;
            if begin(run).is_multiple_of(1 << 16) {
                at += 1;
                continue;
            }
            // The run before is in force where the /16 begins.
            let rest = runs.get(at..).unwrap_or_default();
            let end = at + rest.iter().take_while(|run| begin(run) >> 16 == high).count();
            let part = runs.get(at - 1..end).unwrap_or_default();
            let entry = match part {
                [before, inside @ ..] if inside.len() <= table.keys => table.line(before.1, inside),
                part => table.block(high, part, &mut known),
            };
            if let Some(slot) = table.root.get_mut(high as usize) {
                *slot = entry;
            }
            at = end;
        }
        table.blocks.shrink_to_fit();
        table.lines.shrink_to_fit();
        table
    }

    fn bytes(runs: &[Run]) -> usize {
        let (parts_16, parts_24) = (parts(runs, 16), parts(runs, 24));
        let dense = parts_16.len() + parts_24.len();
        if dense <= DENSE / (FAN * 4) {
            return ROOT * 4 + size_of::<Line>() + (1 + dense) * FAN * 4;
        }
        let few =
            |parts: Vec<usize>| parts.into_iter().partition::<Vec<_>, _>(|&boundaries| boundaries <= KEYS);
        let (lines_16, blocks_16) = few(parts_16);
        // At most: a /24 whose /16 is a line has none of its own.
        let (lines_24, blocks_24) = few(parts_24);
        let lines = 1 + lines_16.len() + lines_24.len();
        let blocks = 1 + blocks_16.len() + blocks_24.len();
        (1 << 16) * 4 + lines * size_of::<Line>() + blocks * FAN * 4
    }

    #[inline(always)]
    fn classes<const N: usize>(&self, addresses: &[u32; N]) -> [u32; N] {
        let mut entries = addresses.map(|address| {
            let [high, low, ..] = address.to_be_bytes();
            self.root[usize::from(u16::from_be_bytes([high, low]))]
        });
        if self.blocks.len() > FAN {
            for (entry, address) in entries.iter_mut().zip(addresses) {
                *entry = self.below(*entry, (address >> 8) as u8);
            }
            for (entry, address) in entries.iter_mut().zip(addresses) {
                *entry = self.below(*entry, *address as u8);
            }
        }
        if self.lines.len() > 1 {
            for (entry, &address) in entries.iter_mut().zip(addresses) {
                let is_line = *entry & LINE != 0;
                let position = select_unpredictable(is_line, (*entry & VALUE) as usize, 0);
                let Some(line) = self.lines.get(position) else { break };
                let found = line.class(address as u16);
                *entry = select_unpredictable(is_line, found, *entry);
            }
        }
        entries
    }

    fn top(address: u32) -> u8 {
        (address >> 24) as u8
    }

    fn memory_bytes(&self) -> usize {
        size_of_val(&self.root[..]) + size_of_val(&self.blocks[..]) + size_of_val(&self.lines[..])
    }
}

#[cfg(target_arch = "x86_64")]
impl TableV4 {
    /// Classes of sixteen addresses in step.
    #[inline(always)]
    pub(super) fn classes_of_lanes(&self, v: Avx512, address: Lanes) -> Lanes {
        let byte = v.splat(0xff);
        let value = v.splat(VALUE);
        let mut entry = v.gather(&self.root[..], v.right::<16>(address), v.splat(0));
        if self.blocks.len() > FAN {
            for low in [v.and(v.right::<8>(address), byte), v.and(address, byte)] {
                let is_block = v.any_of(entry, v.splat(BLOCK));
                let position = v.or(v.left::<8>(v.and(entry, value)), low);
                let below = v.gather_some(is_block, &self.blocks, position);
                entry = v.select(is_block, entry, below);
            }
        }
        if self.lines.len() > 1 {
            let is_line = v.any_of(entry, v.splat(LINE));
            let number = v.select(is_line, v.splat(0), v.and(entry, value));
            // The low half twice, less 2^15 each, as keys are.
            let low = v.and(address, v.splat(0xffff));
            let low = v.xor(v.or(low, v.left::<16>(low)), v.splat(0x8000_8000));
            let (a, b) = v.gather_pair::<_, 0>(&self.lines, number);
            let (c, d) = v.gather_pair::<_, 1>(&self.lines, number);
            let word = v.add(v.count_below(low, [a, b, c, d]), v.splat(4));
            entry = v.select(is_line, entry, v.gather(&self.lines, number, word));
        }
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::{AddressTable, TableV4};
    use crate::classifier::general::prefixes::{Prefix, PrefixTree};
    use proptest::prelude::*;

    fn class_of(tree: &PrefixTree, address: u32) -> u32 {
        (0..=32)
            .rev()
            .find_map(|len| {
                let mask = u32::MAX.checked_shl(32 - len).unwrap_or(0);
                tree.class(Prefix { bits: u128::from(address & mask) << 96, len: len as u8 })
            })
            .unwrap_or(0)
    }

    fn agree(prefixes: &[(u32, u8)], asked: &[u32]) {
        let prefixes = prefixes.iter().map(|&(address, len)| {
            let mask = u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
            Prefix { bits: u128::from(address & mask) << 96, len }
        });
        let tree = PrefixTree::new(prefixes.collect());
        let runs = tree.runs();
        let table = TableV4::new(&runs);
        assert!(table.memory_bytes() <= TableV4::bytes(&runs));
        let ends = runs.iter().flat_map(|run| [(run.0 >> 96) as u32, ((run.0 >> 96) as u32).wrapping_sub(1)]);
        for address in ends.chain(asked.iter().copied()) {
            let class = table.classes(&[address]);
            assert_eq!(class[0], class_of(&tree, address), "{address:#x}");
        }
    }

    proptest! {
        #[test]
        fn classes_are_longest_prefixes(
            sparse in prop::collection::vec((any::<u32>(), 0..=32_u8), 0..60),
            dense in prop::collection::vec((any::<u16>(), 17..=32_u8), 0..120),
            dense_24 in prop::collection::vec((any::<u8>(), 25..=32_u8), 0..60),
            asked in prop::collection::vec(any::<u32>(), 10),
        ) {
            let mut prefixes = sparse;
            prefixes.extend(dense.into_iter().map(|(low, len)| (0x0a01_0000 | u32::from(low), len)));
            prefixes.extend(dense_24.into_iter().map(|(low, len)| (0x0a02_0300 | u32::from(low), len)));
            agree(&prefixes, &asked);
        }
    }

    #[test]
    fn the_ends_of_the_space_have_classes() {
        agree(&[(0, 32), (u32::MAX, 32), (0, 0), (0xffff_0000, 16), (0x0a0a_ffff, 32)], &[0, u32::MAX]);
        agree(&[], &[0, 1, u32::MAX]);
    }
}
