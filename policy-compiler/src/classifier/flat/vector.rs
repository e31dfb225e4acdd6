//! A burst's way through the tables, sixteen connections in step. The same steps as in `flat`, the same tables.
//!
//! A lane that leaves a table is done, and denied. What depends on more than row, identity and class is answered by the
//! scalar form: addresses that may be the subject's own, and fans. IPv6 addresses are looked up one by one.

use super::subjects::{MOST_ROWS, ROW_BITS};
use super::{FAN, FEW, Flat, NOWHERE};
use crate::classifier::arch::{Avx512, Lanes, Mask, Work};
use crate::classifier::burst::{Address, Group, LANES, NO_SUBJECT, NOBODY, PairBurst, UNKNOWN};
use crate::classifier::matrix::MatrixTable;
use crate::classifier::trie::{BLOCK_TAG, TrieTable};

const ALL: Mask = Mask::MAX;

/// A burst to be judged.
pub(super) struct Groups<'a> {
    pub(super) flat: &'a Flat,
    pub(super) burst: &'a mut PairBurst,
}

impl Work for Groups<'_> {
    #[inline(always)]
    fn run(self, vector: Avx512) {
        for group in self.burst.v4() {
            if group.used < FEW {
                self.flat.judge_group(group);
                continue;
            }
            let (src, dst) = (vector.load(&group.src), vector.load(&group.dst));
            let identities = [self.flat.v4.lookup_lanes(vector, dst), self.flat.v4.lookup_lanes(vector, src)];
            self.flat.judge_in_step(vector, group, [dst, src], identities, 0);
        }
        for group in self.burst.v6() {
            if group.used < FEW {
                self.flat.judge_group(group);
                continue;
            }
            let mut identities = [[NOWHERE; LANES]; 2];
            for lane in 0..LANES {
                identities[0][lane] = self.flat.v6.lookup_v6(group.dst[lane]).unwrap_or(NOWHERE);
                identities[1][lane] = self.flat.v6.lookup_v6(group.src[lane]).unwrap_or(NOWHERE);
            }
            let low = |addresses: &[u128; LANES]| vector.load(&addresses.map(|address| address as u32));
            let remotes = [low(&group.dst), low(&group.src)];
            let identities = [vector.load(&identities[0]), vector.load(&identities[1])];
            self.flat.judge_in_step(vector, group, remotes, identities, 1);
        }
    }
}

impl TrieTable {
    /// As `lookup_v4`.
    #[inline(always)]
    fn lookup_lanes(&self, v: Avx512, address: Lanes) -> Lanes {
        let byte = v.splat(0xff);
        let tag = v.splat(BLOCK_TAG);
        let (entry, known) = v.look_up(v.splat(NOWHERE), ALL, &self.words, v.right::<16>(address));
        let deeper = known & v.any_of(entry, tag);
        let position = v.add(v.xor(entry, tag), v.and(v.right::<8>(address), byte));
        let (entry, known) = v.look_up(entry, deeper, &self.words, position);
        let deeper = known & v.any_of(entry, tag);
        let position = v.add(v.xor(entry, tag), v.and(address, byte));
        v.look_up(entry, deeper, &self.words, position).0
    }
}

impl Flat {
    /// `remotes`: the lowest words of the other end's addresses, and `identities`: their identities, by side.
    #[inline(always)]
    fn judge_in_step<A: Copy + Default + Into<Address>>(
        &self,
        v: Avx512,
        group: &mut Group<A>,
        remotes: [Lanes; 2],
        identities: [Lanes; 2],
        family: u32,
    ) {
        let l4 = v.load(&group.l4);
        let (start, known) = v.look_up(v.splat(NOWHERE), ALL, &self.ports.top, v.right::<8>(l4));
        let position = v.add(start, v.and(l4, v.splat(0xff)));
        let (class, known) = v.look_up(v.splat(NOWHERE), known, &self.ports.blocks, position);
        for side in 0..2 {
            let subjects = if side == 0 { &group.source } else { &group.destination };
            let subject = v.load(subjects);
            let nobody = v.equal(subject, v.splat(NO_SUBJECT));
            if nobody == ALL {
                group.words[side] = [NOBODY; LANES];
                continue;
            }
            let seat = 2 * side as u32 + family;
            let (word, special) =
                self.words_of_lanes(v, [subject, remotes[side], identities[side], class], known, seat);
            v.store(v.select(nobody, word, v.splat(NOBODY)), &mut group.words[side]);
            let mut special = special & !nobody;
            if special != 0 {
                let (mut identity, mut classes) = ([0; LANES], [0; LANES]);
                v.store(identities[side], &mut identity);
                v.store(class, &mut classes);
                while special != 0 {
                    let lane = special.trailing_zeros() as usize % LANES;
                    special &= special - 1;
                    group.words[side][lane] = self.word_of(side, group, lane, identity[lane], classes[lane]);
                }
            }
        }
    }

    /// Words at one end, and the lanes that they may not be right for.
    #[inline(always)]
    fn words_of_lanes(
        &self,
        v: Avx512,
        [subject, remote, identity, class]: [Lanes; 4],
        known: Mask,
        seat: u32,
    ) -> (Lanes, Mask) {
        let nowhere = v.splat(NOWHERE);
        let Some(last) = self.subjects.len().checked_sub(1) else { return (v.splat(UNKNOWN), 0) };
        let Some(last_page) = (self.matrix.width as u32).checked_sub(1) else {
            return (v.splat(UNKNOWN), 0);
        };
        let known = known & v.at_most(subject, v.splat(last as u32));
        let position = v.add(v.left::<2>(subject), v.splat(seat));
        let (seat, known) = v.look_up(nowhere, known, self.subjects.seats(), position);
        let row_mask = v.splat(MOST_ROWS - 1);
        let near = known & v.at_most(v.xor(seat, v.left::<ROW_BITS>(remote)), row_mask);
        let row = v.and(seat, row_mask);
        let page = v.right::<{ MatrixTable::PLACE_BITS }>(identity);
        let place = v.and(identity, v.splat((1 << MatrixTable::PLACE_BITS) - 1));
        let known = known & v.at_most(page, v.splat(last_page));
        let position = v.add(v.multiply(row, v.splat(last_page + 1)), page);
        let (start, known) = v.look_up(nowhere, known, &self.matrix.top, position);
        let (entry, known) = v.look_up(nowhere, known, &self.matrix.pages, v.add(start, place));
        let fan = known & v.any_of(entry, v.splat(FAN));
        let position = v.add(v.multiply(entry, v.splat(self.stride as u32)), class);
        let (word, _) = v.look_up(v.splat(UNKNOWN), known & !fan, &self.cells, position);
        (word, near | fan)
    }
}
