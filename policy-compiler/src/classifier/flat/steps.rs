//! A group's way through the tables, level by level: a loop for each level, so that the loads of sixteen connections
//! overlap and each loop has few things to keep at hand.
//!
//! What depends on more than row, identity and class (addresses that may be the subject's own, fans) and what is not in
//! a table is found out on the way and left to the general form.
//!
//! Vectors were tried (AVX-512: sixteen connections in step, and loads by gathers or by sixteen loads each) and lost: the
//! work is nearly all loads that wait for each other, and these overlap best when the processor orders them itself.

use super::subjects::{Seats, sign_v4, sign_v6};
use super::{Flat, NOWHERE};
use crate::classifier::answer::NOBODY;
use crate::classifier::group::{Address, Group, LANES, NO_SUBJECT};
use crate::classifier::matrix::MatrixTable;
use crate::classifier::trie::TrieView;

const PLACE: u32 = (1 << MatrixTable::PLACE_BITS) - 1;

/// The tables at hand.
#[derive(Clone, Copy)]
pub(super) struct Steps<'a> {
    flat: &'a Flat,
    tries: [TrieView<'a>; 2],
    /// Blocks by protocol and high byte.
    port_top: &'a [u32; 1 << 16],
    port_blocks: &'a [u32],
    seats: &'a [Seats],
    top: &'a [u32],
    pages: &'a [u32],
    cells: &'a [u32],
    stride: usize,
}

/// Addresses of a family, as columns have them.
pub(super) trait Family: Copy + Default + Into<Address> {
    /// Which of the tries and of the seats.
    const NUMBER: usize;
    /// `None` only for a table that is damaged.
    fn identity(self, trie: TrieView<'_>) -> Option<u32>;
    /// The bits that seats have.
    fn sign(self) -> u32;
}

impl Family for u32 {
    const NUMBER: usize = 0;

    #[inline(always)]
    fn identity(self, trie: TrieView<'_>) -> Option<u32> {
        trie.lookup_v4(self)
    }

    #[inline(always)]
    fn sign(self) -> u32 {
        sign_v4(self)
    }
}

impl Family for u128 {
    const NUMBER: usize = 1;

    #[inline(always)]
    fn identity(self, trie: TrieView<'_>) -> Option<u32> {
        trie.lookup_v6(self)
    }

    #[inline(always)]
    fn sign(self) -> u32 {
        sign_v6(self)
    }
}

impl<'a> Steps<'a> {
    /// `None` only for tables that are damaged.
    pub(super) fn new(flat: &'a Flat) -> Option<Self> {
        Some(Self {
            flat,
            tries: [flat.v4.view()?, flat.v6.view()?],
            port_top: flat.ports.top.first_chunk()?,
            port_blocks: &flat.ports.blocks,
            seats: flat.subjects.seats(),
            top: &flat.matrix.top,
            pages: &flat.matrix.pages,
            cells: &flat.cells,
            stride: flat.stride,
        })
    }

    /// Judges a group.
    pub(super) fn judge<A: Family>(&self, group: &mut Group<A>) {
        let used = group.used.min(LANES);
        let mut identities = [[NOWHERE; LANES]; 2];
        let mut classes = [NOWHERE; LANES];
        let trie = self.tries[A::NUMBER];
        for lane in 0..used {
            // Each end is judged by who the other one is.
            identities[0][lane] = group.dst[lane].identity(trie).unwrap_or(NOWHERE);
            identities[1][lane] = group.src[lane].identity(trie).unwrap_or(NOWHERE);
        }
        for lane in 0..used {
            let l4 = group.l4[lane];
            let block = self.port_top[(l4 >> 8) as usize & 0xffff];
            let class = self.port_blocks.get(block as usize + (l4 & 0xff) as usize);
            classes[lane] = class.copied().unwrap_or(NOWHERE);
        }
        let [egress, ingress] = &identities;
        self.judge_end::<A, 0>(group, used, egress, &classes);
        self.judge_end::<A, 1>(group, used, ingress, &classes);
    }

    /// `SIDE`: 0 for the source's egress, 1 for the destination's ingress.
    #[inline(always)]
    fn judge_end<A: Family, const SIDE: usize>(
        &self,
        group: &mut Group<A>,
        used: usize,
        identities: &[u32; LANES],
        classes: &[u32; LANES],
    ) {
        let mut left = 0_u32;
        let mut pages = [0_usize; LANES];
        for lane in 0..used {
            let (subject, remote) = group.end(SIDE, lane);
            let identity = identities[lane];
            let seat = self.seats.get(subject as usize).map(|seats| seats[2 * SIDE + A::NUMBER]);
            let page = seat.filter(|&seat| (seat >> 32) as u32 != remote.sign()).and_then(|seat| {
                let page = seat as u32 as usize + (identity >> MatrixTable::PLACE_BITS) as usize;
                self.top.get(page)
            });
            let Some(&page) = page else {
                left |= 1 << lane;
                continue;
            };
            pages[lane] = page as usize + (identity & PLACE) as usize;
        }
        for lane in 0..used {
            let word = self.pages.get(pages[lane]).and_then(|&entry| {
                // Fans have numbers beyond those of all cells.
                self.cells.get(entry as usize * self.stride + classes[lane] as usize)
            });
            if let Some(&word) = word {
                group.words[SIDE][lane] = word;
            } else {
                left |= 1 << lane;
            }
        }
        while left != 0 {
            let lane = left.trailing_zeros() as usize % LANES;
            left &= left - 1;
            let (subject, _) = group.end(SIDE, lane);
            group.words[SIDE][lane] = if subject == NO_SUBJECT {
                NOBODY
            } else {
                self.flat.word_of(SIDE, group, lane, identities[lane], classes[lane])
            };
        }
    }
}
