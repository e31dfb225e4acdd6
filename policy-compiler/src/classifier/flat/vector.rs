//! A burst's way through the tables, sixteen or thirty-two connections in step. The same steps as in `flat`, the same
//! tables.
//!
//! Both ends of all connections take a level before any takes the next, so that their loads overlap. A position outside a
//! table reads as ones throughout, which are outside the next table too. Such lanes, and those whose answer depends on
//! more than row, identity and class (addresses that may be the subject's own, fans), are left to the scalar form.
//! IPv6 addresses are looked up one by one.

use super::subjects::{MOST_ROWS, ROW_BITS};
use super::{FAN, FEW, Flat, NOWHERE};
use crate::classifier::arch::{Avx512, Lanes, Mask, Table, Work};
use crate::classifier::burst::{Address, Group, LANES, NO_SUBJECT, NOBODY, PairBurst};
use crate::classifier::matrix::MatrixTable;
use crate::classifier::trie::BLOCK_TAG;

const PLACE: u32 = (1 << MatrixTable::PLACE_BITS) - 1;

/// A burst to be judged.
pub(super) struct Groups<'a> {
    pub(super) flat: &'a Flat,
    pub(super) burst: &'a mut PairBurst,
}

/// What a vector goes through.
#[derive(Clone, Copy)]
struct Tables<'a> {
    flat: &'a Flat,
    v4: Table<'a>,
    port_top: Table<'a>,
    port_blocks: Table<'a>,
    seats: Table<'a>,
    top: Table<'a>,
    pages: Table<'a>,
    cells: Table<'a>,
    width: u32,
    stride: u32,
}

/// For each group, what is known of both ends: of the source's egress and of the destination's ingress.
type Ends<const G: usize> = [[Lanes; 2]; G];

impl Work for Groups<'_> {
    #[inline(always)]
    fn run(self, v: Avx512) {
        let Some(tables) = Tables::new(self.flat) else {
            // A classifier without subjects.
            self.burst.v4().iter_mut().for_each(|group| self.flat.judge_group(group));
            self.burst.v6().iter_mut().for_each(|group| self.flat.judge_group(group));
            return;
        };
        let (twos, one) = self.burst.v4().as_chunks_mut::<2>();
        for groups in twos {
            tables.judge_v4(v, groups);
        }
        if let [group] = one {
            if group.used < FEW {
                self.flat.judge_group(group);
            } else {
                tables.judge_v4(v, std::array::from_mut(group));
            }
        }
        for group in self.burst.v6() {
            if group.used < FEW {
                self.flat.judge_group(group);
            } else {
                tables.judge_v6(v, group);
            }
        }
    }
}

impl<'a> Tables<'a> {
    #[inline(always)]
    fn new(flat: &'a Flat) -> Option<Self> {
        Some(Self {
            flat,
            v4: Table::new(&flat.v4.words)?,
            port_top: Table::new(&flat.ports.top)?,
            port_blocks: Table::new(&flat.ports.blocks)?,
            seats: Table::new(flat.subjects.seats())?,
            top: Table::new(&flat.matrix.top)?,
            pages: Table::new(&flat.matrix.pages)?,
            cells: Table::new(&flat.cells)?,
            width: u32::try_from(flat.matrix.width).ok()?,
            stride: u32::try_from(flat.stride).ok()?,
        })
    }

    #[inline(always)]
    fn judge_v4<const G: usize>(&self, v: Avx512, groups: &mut [Group<u32>; G]) {
        let remotes: Ends<G> = std::array::from_fn(|g| [v.load(&groups[g].dst), v.load(&groups[g].src)]);
        let (tag, byte) = (v.splat(BLOCK_TAG), v.splat(0xff));
        let mut entries = remotes.map(|ends| ends.map(|address| v.look_up(self.v4, v.right::<16>(address))));
        for g in 0..G {
            for side in 0..2 {
                let (entry, address) = (entries[g][side], remotes[g][side]);
                let position = v.or(v.xor(entry, tag), v.and(v.right::<8>(address), byte));
                entries[g][side] = v.look_up_tagged(self.v4, entry, tag, position);
            }
        }
        for g in 0..G {
            for side in 0..2 {
                let (entry, address) = (entries[g][side], remotes[g][side]);
                let position = v.or(v.xor(entry, tag), v.and(address, byte));
                entries[g][side] = v.look_up_tagged(self.v4, entry, tag, position);
            }
        }
        self.judge(v, groups, remotes, entries, 0);
    }

    #[inline(always)]
    fn judge_v6(&self, v: Avx512, group: &mut Group<u128>) {
        let mut identities = [[NOWHERE; LANES]; 2];
        for lane in 0..LANES {
            identities[0][lane] = self.flat.v6.lookup_v6(group.dst[lane]).unwrap_or(NOWHERE);
            identities[1][lane] = self.flat.v6.lookup_v6(group.src[lane]).unwrap_or(NOWHERE);
        }
        let low = |addresses: &[u128; LANES]| v.load(&addresses.map(|address| address as u32));
        let remotes = [[low(&group.dst), low(&group.src)]];
        let identities = [[v.load(&identities[0]), v.load(&identities[1])]];
        self.judge(v, std::array::from_mut(group), remotes, identities, 1);
    }

    /// `remotes`: the lowest words of the other ends' addresses; `identities`: theirs.
    #[inline(always)]
    fn judge<A: Copy + Default + Into<Address>, const G: usize>(
        &self,
        v: Avx512,
        groups: &mut [Group<A>; G],
        remotes: Ends<G>,
        identities: Ends<G>,
        family: u32,
    ) {
        let zero = v.splat(0);
        // A packet that leaves its node, or comes to it, is asked about at one end.
        let asked = [
            groups.iter().any(|group| group.source != [NO_SUBJECT; LANES]),
            groups.iter().any(|group| group.destination != [NO_SUBJECT; LANES]),
        ];
        let (row_mask, stride) = (v.splat(MOST_ROWS - 1), v.splat(self.stride));
        let mut classes = [zero; G];
        for g in 0..G {
            classes[g] = v.look_up(self.port_top, v.right::<8>(v.load(&groups[g].l4)));
        }
        let mut seats = [[zero; 2]; G];
        for g in 0..G {
            for side in (0..2).filter(|&side| asked[side]) {
                // Subjects that would count round are beyond all.
                let subject = v.min(subject_lanes(v, &groups[g], side), v.splat(u32::MAX >> 2));
                let position = v.or(v.left::<2>(subject), v.splat(2 * side as u32 + family));
                seats[g][side] = v.look_up(self.seats, position);
            }
        }
        for g in 0..G {
            let low = v.and(v.load(&groups[g].l4), v.splat(0xff));
            classes[g] = v.look_up(self.port_blocks, v.or(classes[g], low));
        }
        let mut entries = [[zero; 2]; G];
        for g in 0..G {
            for side in (0..2).filter(|&side| asked[side]) {
                let page = v.right::<{ MatrixTable::PLACE_BITS }>(identities[g][side]);
                let row = v.and(seats[g][side], row_mask);
                entries[g][side] = v.look_up(self.top, v.add(v.multiply(row, v.splat(self.width)), page));
            }
        }
        for g in 0..G {
            for side in (0..2).filter(|&side| asked[side]) {
                let place = v.and(identities[g][side], v.splat(PLACE));
                entries[g][side] = v.look_up(self.pages, v.or(entries[g][side], place));
            }
        }
        // What is above these is not plain: damage, or something the scalar form has to look at.
        let last_identity = v.splat((self.width << MatrixTable::PLACE_BITS).wrapping_sub(1));
        let last_class = v.splat(self.stride.wrapping_sub(1));
        let mut plain = [[0; 2]; G];
        for g in 0..G {
            for side in (0..2).filter(|&side| asked[side]) {
                let (seat, entry, class) = (seats[g][side], entries[g][side], classes[g]);
                let position = v.add(v.multiply(entry, stride), class);
                v.store(v.look_up(self.cells, position), &mut groups[g].words[side]);
                let near = v.at_most(v.xor(seat, v.left::<ROW_BITS>(remotes[g][side])), row_mask);
                plain[g][side] = v.at_most(identities[g][side], last_identity)
                    & v.at_most(entry, v.splat(FAN - 1))
                    & v.at_most(class, last_class)
                    & v.at_most(seat, v.splat(NOWHERE - 1))
                    & !near;
            }
        }
        for g in 0..G {
            for side in 0..2 {
                let left = !plain[g][side];
                if !asked[side] {
                    groups[g].words[side] = [NOBODY; LANES];
                } else if left != 0 {
                    self.finish(v, side, &mut groups[g], [identities[g][side], classes[g]], left);
                }
            }
        }
    }

    /// Lanes that are not plain.
    #[inline(always)]
    fn finish<A: Copy + Default + Into<Address>>(
        &self,
        v: Avx512,
        side: usize,
        group: &mut Group<A>,
        [identity, class]: [Lanes; 2],
        left: Mask,
    ) {
        let nobody = v.equal(subject_lanes(v, group, side), v.splat(NO_SUBJECT));
        let word = v.load(&group.words[side]);
        v.store(v.select(nobody, word, v.splat(NOBODY)), &mut group.words[side]);
        let used = Mask::MAX.checked_shr((LANES - group.used.min(LANES)) as u32).unwrap_or(0);
        let mut left = left & !nobody & used;
        if left == 0 {
            return;
        }
        let (mut identities, mut classes) = ([0; LANES], [0; LANES]);
        v.store(identity, &mut identities);
        v.store(class, &mut classes);
        while left != 0 {
            let lane = left.trailing_zeros() as usize % LANES;
            left &= left - 1;
            group.words[side][lane] = self.flat.word_of(side, group, lane, identities[lane], classes[lane]);
        }
    }
}

#[inline(always)]
fn subject_lanes<A>(v: Avx512, group: &Group<A>, side: usize) -> Lanes {
    v.load(if side == 0 { &group.source } else { &group.destination })
}
