//! Prefixes of one side as a tree, and the classes of addresses it makes.
//!
//! In order of (bits, length) a prefix stands before everything inside it, so the classes inside a prefix are a range.
//! Class 0 is every address outside all prefixes; class `n` is what has prefix `n - 1` as its longest. Addresses of both
//! families are held in the high bits of 128, so that one tree serves both. 32 bytes a prefix, gone after the build.

use ipnet::IpNet;
use std::ops::Range;

/// A prefix in the high bits of 128.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Prefix {
    pub(super) bits: u128,
    pub(super) len: u8,
}

impl Prefix {
    pub(super) fn of(net: IpNet) -> Self {
        let bits = match net {
            IpNet::V4(net) => u128::from(net.network().to_bits()) << 96,
            IpNet::V6(net) => net.network().to_bits(),
        };
        Self { bits, len: net.prefix_len() }
    }

    /// The last address, all ones beyond the family's width.
    pub(super) fn last(self) -> u128 {
        self.bits | u128::MAX.checked_shr(u32::from(self.len)).unwrap_or(0)
    }

    /// The first eight bits and which of them count; all that a prefix of at most eight bits says.
    pub(super) fn top(self) -> (u8, u8) {
        let mask = !u8::MAX.checked_shr(u32::from(self.len)).unwrap_or(0);
        ((self.bits >> 120) as u8 & mask, mask)
    }
}

/// From this address on (up to the next run's) addresses are of this class.
pub(super) type Run = (u128, u32);

/// Distinct prefixes, sorted.
#[derive(Debug)]
pub(super) struct PrefixTree {
    prefixes: Vec<Prefix>,
    /// By class less one: the class after the last one inside.
    ends: Vec<u32>,
    /// By class less one: the class around, 0 for none.
    parents: Vec<u32>,
}

impl PrefixTree {
    /// A tree of these prefixes, in any order.
    pub(super) fn new(mut prefixes: Vec<Prefix>) -> Self {
        prefixes.sort_unstable();
        prefixes.dedup();
        let mut ends = vec![0; prefixes.len()];
        let mut parents = Vec::with_capacity(prefixes.len());
        let mut around: Vec<(u128, u32)> = Vec::new();
        let mut close = |class: u32, end: u32| {
            if let Some(place) = ends.get_mut(class as usize - 1) {
                *place = end;
            }
        };
        for (class, prefix) in (1..).zip(&prefixes) {
            while let Some(&(_, outer)) = around.last().filter(|&&(last, _)| last < prefix.bits) {
                close(outer, class);
                around.pop();
            }
            parents.push(around.last().map_or(0, |&(_, outer)| outer));
            around.push((prefix.last(), class));
        }
        let end = prefixes.len() as u32 + 1;
        for (_, class) in around {
            close(class, end);
        }
        Self { prefixes, ends, parents }
    }

    /// Classes, class 0 included.
    pub(super) fn classes(&self) -> usize {
        self.prefixes.len() + 1
    }

    /// The class whose longest prefix this is; `None` if it is not in the tree.
    pub(super) fn class(&self, prefix: Prefix) -> Option<u32> {
        self.prefixes.binary_search(&prefix).ok().map(|position| position as u32 + 1)
    }

    /// The classes inside a prefix: itself, and every longer one within it. Empty if it is not in the tree.
    pub(super) fn inside(&self, prefix: Prefix) -> Range<u32> {
        self.class(prefix)
            .and_then(|class| Some(class..*self.ends.get(class as usize - 1)?))
            .unwrap_or_default()
    }

    /// The class of the next shorter prefix around a class, 0 for none.
    pub(super) fn parent(&self, class: u32) -> u32 {
        (class as usize).checked_sub(1).and_then(|position| self.parents.get(position)).copied().unwrap_or(0)
    }

    /// The whole address space in runs of one class, ascending from address 0; neighbours differ.
    pub(super) fn runs(&self) -> Vec<Run> {
        let mut runs: Vec<Run> = vec![(0, 0)];
        let mut open: Vec<(u128, u32)> = Vec::new();
        let mut begin = |start: u128, class: u32| match runs.last_mut() {
            Some(run) if run.0 == start => run.1 = class,
            _ => runs.push((start, class)),
        };
        for (class, prefix) in (1..).zip(&self.prefixes) {
            while let Some(&(last, _)) = open.last().filter(|&&(last, _)| last < prefix.bits) {
                open.pop();
                begin(last + 1, open.last().map_or(0, |&(_, outer)| outer));
            }
            begin(prefix.bits, class);
            open.push((prefix.last(), class));
        }
        while let Some((last, _)) = open.pop() {
            if let Some(next) = last.checked_add(1) {
                begin(next, open.last().map_or(0, |&(_, outer)| outer));
            }
        }
        runs.dedup_by_key(|run| run.1);
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::{Prefix, PrefixTree};

    fn prefix(text: &str) -> Prefix {
        Prefix::of(text.parse().expect("a prefix"))
    }

    #[test]
    fn a_prefix_holds_the_classes_of_all_within_it() {
        let tree =
            PrefixTree::new(["10.1.0.0/16", "10.0.0.0/8", "10.1.2.0/24", "11.0.0.0/8"].map(prefix).into());
        assert_eq!(tree.classes(), 5);
        assert_eq!(tree.inside(prefix("10.0.0.0/8")), 1..4);
        assert_eq!(tree.inside(prefix("10.1.0.0/16")), 2..4);
        assert_eq!(tree.inside(prefix("11.0.0.0/8")), 4..5);
        assert_eq!(tree.inside(prefix("12.0.0.0/8")), 0..0);
        assert_eq!([0, 1, 2, 3, 4].map(|class| tree.parent(class)), [0, 0, 1, 2, 0]);
    }

    #[test]
    fn runs_cover_the_space_and_neighbours_differ() {
        let tree = PrefixTree::new(["::/0", "::/1", "ffff::/16", "4000::/2"].map(prefix).into());
        let runs = tree.runs();
        let class = |text: &str| tree.class(prefix(text)).expect("in the tree");
        let at = |text: &str| prefix(text).bits;
        assert_eq!(
            runs,
            [
                (0, class("::/1")),
                (at("4000::/2"), class("4000::/2")),
                (at("8000::/1"), class("::/0")),
                (at("ffff::/16"), class("ffff::/16")),
            ]
        );
    }

    #[test]
    fn short_prefixes_are_their_first_byte() {
        assert_eq!(prefix("0.0.0.0/0").top(), (0, 0));
        assert_eq!(prefix("192.0.0.0/3").top(), (0xc0, 0xe0));
        assert_eq!(prefix("fd00::/8").top(), (0xfd, 0xff));
    }
}
