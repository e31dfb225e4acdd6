//! The prefixes that matter and what stands at them: where blocks begin, what they leave out, whose addresses they are.
//!
//! A prefix inherits the blocks of the one around it; the trie says of every address which identity the longest prefix
//! around it has. Cost: a map operation per prefix; what lies in a block's exceptions is found in one pass over both.

use super::TooLarge;
use super::budget::Budget;
use super::identity::Owner;
use crate::classifier::trie::Trie;
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Address bits left-aligned, length.
pub(crate) type Prefix = (u128, u8);

/// What stands at a prefix.
#[derive(Debug, Default)]
pub(crate) struct Mark {
    /// Blocks that begin here, and those that leave it out, sorted.
    pub(crate) enter: Vec<usize>,
    pub(crate) leave: Vec<usize>,
    pub(crate) owner: Option<Owner>,
    pub(crate) nodes: Vec<usize>,
    pub(crate) own: bool,
    pub(crate) identity: usize,
}

impl Mark {
    pub(crate) fn is_empty(&self) -> bool {
        self.enter.is_empty()
            && self.leave.is_empty()
            && self.owner.is_none()
            && self.nodes.is_empty()
            && !self.own
    }
}

/// The prefixes of a family.
#[derive(Debug)]
pub(crate) struct Family {
    v4: bool,
    pub(crate) marks: BTreeMap<Prefix, Mark>,
    pub(crate) trie: Trie,
}

impl Family {
    pub(crate) fn new(v4: bool) -> Self {
        let marks = BTreeMap::from([((0, 0), Mark::default())]);
        Self { v4, marks, trie: Trie::new(0) }
    }

    /// The longest marked prefix around one, itself left out.
    pub(crate) fn around(&self, (address, len): Prefix) -> Option<&Mark> {
        (0..len).rev().find_map(|len| self.marks.get(&(address & mask(len), len)))
    }

    pub(crate) fn insert(
        &mut self,
        (address, len): Prefix,
        identity: usize,
        budget: &Budget,
    ) -> Result<(), TooLarge> {
        let done = u32::try_from(identity).ok().and_then(|identity| {
            if self.v4 {
                self.trie.insert(&((address >> 96) as u32).to_be_bytes(), len, identity)
            } else {
                self.trie.insert(&address.to_be_bytes(), len, identity)
            }
        });
        done.ok_or(TooLarge { part: "trie", needed: usize::MAX })?;
        // A prefix takes a few blocks at most, so this is never much more than the ceiling.
        budget.holds(self.trie.used_bytes(), if self.v4 { "IPv4 trie" } else { "IPv6 trie" })
    }

    /// Builds the trie from the marks.
    pub(crate) fn build(&mut self, budget: &Budget) -> Result<(), TooLarge> {
        self.trie = Trie::new(0);
        let mut prefixes: Vec<(u8, u128, usize)> =
            self.marks.iter().map(|(&(address, len), mark)| (len, address, mark.identity)).collect();
        prefixes.sort_unstable();
        prefixes
            .into_iter()
            .try_for_each(|(len, address, identity)| self.insert((address, len), identity, budget))
    }
}

/// Says of prefixes in order whether they lie in one of some, at the cost of reading both lists once.
pub(crate) struct CutOut {
    rest: std::iter::Peekable<std::vec::IntoIter<Prefix>>,
    /// The last address of those that began so far.
    last: Option<u128>,
}

impl CutOut {
    pub(crate) fn new(mut excepts: Vec<Prefix>) -> Self {
        excepts.sort_unstable();
        Self { rest: excepts.into_iter().peekable(), last: None }
    }

    /// Prefixes lie in one another or apart: one that begins no earlier and within lies in it.
    pub(crate) fn holds(&mut self, place: Prefix) -> bool {
        while let Some((address, len)) = self.rest.next_if(|except| *except <= place) {
            self.last = self.last.max(Some(address | !mask(len)));
        }
        self.last.is_some_and(|last| place.0 <= last)
    }
}

/// The bits of a prefix of this length.
pub(crate) fn mask(len: u8) -> u128 {
    u128::MAX.checked_shl(128_u32.saturating_sub(u32::from(len))).unwrap_or(0)
}

pub(crate) fn prefix(net: IpNet) -> (usize, Prefix) {
    match net.network() {
        IpAddr::V4(address) => (0, (u128::from(address.to_bits()) << 96, net.prefix_len())),
        IpAddr::V6(address) => (1, (address.to_bits(), net.prefix_len())),
    }
}

/// All three lists are sorted.
pub(crate) fn blocks(inherited: &[usize], mark: &Mark) -> Vec<usize> {
    let mut leave = mark.leave.iter().peekable();
    let stays = |block: &&usize| {
        while leave.next_if(|left| left < block).is_some() {}
        leave.peek() != Some(block)
    };
    let mut blocks: Vec<usize> = inherited.iter().filter(stays).chain(&mark.enter).copied().collect();
    blocks.sort_unstable();
    blocks
}

#[cfg(test)]
mod tests {
    use super::{CutOut, Mark, Prefix, blocks, mask};
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::any;
    use proptest::proptest;

    /// In a small corner, so that they meet.
    fn prefix((bits, len): (u8, u8)) -> Prefix {
        let len = len % 9;
        ((u128::from(bits) << 120) & mask(len), len)
    }

    proptest! {
        #[test]
        fn prefixes_in_order_are_cut_out_as_one_by_one(
            excepts in vec(any::<(u8, u8)>(), 0..12),
            places in btree_set(any::<(u8, u8)>(), 0..60),
        ) {
            let excepts: Vec<Prefix> = excepts.into_iter().map(prefix).collect();
            let mut places: Vec<Prefix> = places.into_iter().map(prefix).collect();
            places.sort_unstable();
            let mut outside = CutOut::new(excepts.clone());
            for (address, len) in places {
                let holds = |&(except, of): &Prefix| of <= len && (except ^ address) & mask(of) == 0;
                assert_eq!(outside.holds((address, len)), excepts.iter().any(holds), "{address:x}/{len}");
            }
        }

        #[test]
        fn what_is_left_out_is_taken_from_what_is_inherited(
            inherited in btree_set(0..40_usize, 0..20),
            leave in vec(0..40_usize, 0..20),
        ) {
            let (inherited, mut leave): (Vec<usize>, _) = (inherited.into_iter().collect(), leave);
            leave.sort_unstable();
            let plain: Vec<usize> =
                inherited.iter().filter(|block| !leave.contains(block)).chain([&50, &60]).copied().collect();
            assert_eq!(blocks(&inherited, &Mark { enter: vec![50, 60], leave, ..Mark::default() }), plain);
        }
    }
}
