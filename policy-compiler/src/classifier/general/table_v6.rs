//! IPv6 addresses to classes: a search among the upper halves, then, only within a /64 that has prefixes of its own,
//! among the lower halves.
//!
//! The first search has as many steps for every address, and takes them with the whole burst: no branch, loads overlap.
//! The second is short unless one /64 holds many prefixes. Bytes: at most 36 for each end of a prefix, whatever the
//! prefixes; no rule set can make it larger.

use super::addresses::AddressTable;
use super::prefixes::Run;
use super::record::entry;
use std::hint::select_unpredictable;

/// The table.
#[derive(Debug)]
pub(super) struct TableV6 {
    /// Upper halves at which some run begins, ascending from 0.
    uppers: Vec<u64>,
    /// By upper half, and one more: the first of its runs.
    groups: Vec<u32>,
    /// Lower halves at which runs begin.
    lowers: Vec<u64>,
    classes: Vec<u32>,
}

impl TableV6 {
    /// The class of an address whose group is known.
    #[inline(always)]
    fn class(&self, address: u128, group: u32) -> u32 {
        let group = group as usize;
        let upper = self.uppers.get(group).copied().unwrap_or(0);
        let from = self.groups.get(group).copied().unwrap_or(0) as usize;
        let to = self.groups.get(group + 1).copied().unwrap_or(0) as usize;
        let run = if upper == (address >> 64) as u64 {
            let lowers = self.lowers.get(from..to).unwrap_or_default();
            // Before the first run of this group the last one of the group before goes on.
            (from + lowers.partition_point(|&lower| lower <= address as u64)).saturating_sub(1)
        } else {
            to.saturating_sub(1)
        };
        self.classes.get(run).copied().unwrap_or(0)
    }
}

impl AddressTable for TableV6 {
    type Address = u128;

    fn new(runs: &[Run]) -> Self {
        let mut table = Self {
            uppers: Vec::new(),
            groups: Vec::new(),
            lowers: Vec::with_capacity(runs.len()),
            classes: Vec::with_capacity(runs.len()),
        };
        for (&(start, class), number) in runs.iter().zip(0_u32..) {
            let upper = (start >> 64) as u64;
            if table.uppers.last() != Some(&upper) {
                table.uppers.push(upper);
                table.groups.push(number);
            }
            table.lowers.push(start as u64);
            table.classes.push(class);
        }
        table.groups.push(runs.len() as u32);
        table.uppers.shrink_to_fit();
        table.groups.shrink_to_fit();
        table
    }

    fn bytes(runs: &[Run]) -> usize {
        runs.len() * (8 + 4 + 8 + 4) + 4
    }

    #[inline(always)]
    fn classes<const N: usize>(&self, addresses: &[u128; N]) -> [u32; N] {
        // The position of the last upper half that is not above the address's, halving what is left.
        let mut found = [0_u32; N];
        let mut left = self.uppers.len();
        while left > 1 {
            let half = left / 2;
            for (found, &address) in found.iter_mut().zip(addresses) {
                let middle = *found as usize + half;
                let upper = entry(&self.uppers, middle, u64::MAX);
                *found = select_unpredictable(upper <= (address >> 64) as u64, middle as u32, *found);
            }
            left -= half;
        }
        for (found, &address) in found.iter_mut().zip(addresses) {
            *found = self.class(address, *found);
        }
        found
    }

    fn top(address: u128) -> u8 {
        (address >> 120) as u8
    }

    fn memory_bytes(&self) -> usize {
        size_of_val(&self.uppers[..])
            + size_of_val(&self.groups[..])
            + size_of_val(&self.lowers[..])
            + size_of_val(&self.classes[..])
    }
}

#[cfg(test)]
mod tests {
    use super::{AddressTable, TableV6};
    use crate::classifier::general::prefixes::{Prefix, PrefixTree};
    use proptest::prelude::*;

    fn masked(address: u128, len: u8) -> Prefix {
        Prefix { bits: address & u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0), len }
    }

    fn agree(prefixes: &[(u128, u8)], asked: &[u128]) {
        let tree = PrefixTree::new(prefixes.iter().map(|&(address, len)| masked(address, len)).collect());
        let runs = tree.runs();
        let table = TableV6::new(&runs);
        assert!(table.memory_bytes() <= TableV6::bytes(&runs));
        let ends = runs.iter().flat_map(|run| [run.0, run.0.wrapping_sub(1)]);
        for address in ends.chain(asked.iter().copied()) {
            let class = table.classes(&[address]);
            let expected = (0..=128).rev().find_map(|len| tree.class(masked(address, len))).unwrap_or(0);
            assert_eq!(class[0], expected, "{address:#x}");
        }
    }

    proptest! {
        #[test]
        fn classes_are_longest_prefixes(
            sparse in prop::collection::vec((any::<u128>(), 0..=128_u8), 0..40),
            dense in prop::collection::vec((any::<u16>(), 50..=128_u8), 0..60),
            asked in prop::collection::vec(any::<u128>(), 10),
        ) {
            let pods = 0xfd00_0010_0244_0000_u128 << 64;
            let mut prefixes = sparse;
            prefixes.extend(dense.iter().map(|&(low, len)| (pods | u128::from(low) << 56 | u128::from(low), len)));
            agree(&prefixes, &asked);
        }
    }

    #[test]
    fn the_ends_of_the_space_have_classes() {
        agree(
            &[(0, 128), (u128::MAX, 128), (u128::MAX, 64), (1 << 64, 128), ((1 << 64) | 5, 128)],
            &[0, 1 << 64],
        );
        agree(&[], &[0, 1, u128::MAX]);
    }
}
