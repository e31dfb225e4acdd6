//! Rules that would blow up the products: looked up by pairs of prefixes around a packet's addresses.
//!
//! ```text
//!  src, dst class ─► path each: the prefixes around with rules ─► hints of all pairs ─► those worth a look, best first
//! ```
//! A rule stands once, at its own two prefixes, so memory is linear on any rule set. Of the pairs of prefixes around a
//! packet most have no rule, which a hint of 16 bits tells; the others are looked at in the order of their best rules,
//! until none can be better than what is found. Slower than products, and not constant: the nesting on both sides
//! bounds the pairs. Only asked where a set has such rules; most have none. Bytes: 68 a prefix on either side, 4 a class,
//! 59 a pair, and the lists.

use super::hints::Hints;
use super::lists::Lists;
use super::pairs::{PairTable, Slot, key};
use super::paths::Paths;
use super::prefixes::{Prefix, PrefixTree};
use super::record::{Fields, Record};
#[cfg(target_arch = "x86_64")]
use crate::classifier::arch::{Avx512, Lanes, Mask};
use ahash::AHashMap;
use std::hint::select_unpredictable;

/// Pairs that wait to be looked at, before some are.
const WAITING: usize = 64;
/// Room for them, and for those of one more row.
const ROOM: usize = WAITING + 16;

/// A rule and its prefixes.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChainRule {
    pub(super) record: Record,
    pub(super) src: Prefix,
    pub(super) dst: Prefix,
}

/// The pairs of one family.
#[derive(Debug)]
pub(super) struct Chains {
    src: Paths,
    dst: Paths,
    hints: Hints,
    pairs: PairTable,
}

/// A look at a pair: the first of its rules that matches, if its id is below `below`; else `below`. No closure: those are
/// not compiled for the vectors of who calls them.
trait Look: Copy {
    fn look(self, slot: &Slot, below: u32) -> u32;
}

#[derive(Clone, Copy)]
struct One<'a> {
    lists: &'a Lists,
    fields: Fields,
}

impl Look for One<'_> {
    #[inline(always)]
    fn look(self, slot: &Slot, below: u32) -> u32 {
        if slot.first.matches(self.fields, 0) {
            return slot.first.id();
        }
        self.lists.first(slot.rest, self.fields, 0, below)
    }
}

#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
struct InStep<'a> {
    v: Avx512,
    lists: &'a Lists,
    fields: Fields,
}

#[cfg(target_arch = "x86_64")]
impl Look for InStep<'_> {
    #[inline(always)]
    fn look(self, slot: &Slot, below: u32) -> u32 {
        if slot.first.matches(self.fields, 0) {
            return slot.first.id();
        }
        self.lists.first_in_step(self.v, slot.rest, self.fields, 0, below)
    }
}

#[derive(Clone, Copy)]
struct But<'a, S> {
    lists: &'a Lists,
    fields: Fields,
    skip: S,
}

impl<S: Fn(u32) -> bool + Copy> Look for But<'_, S> {
    #[inline(always)]
    fn look(self, slot: &Slot, below: u32) -> u32 {
        if slot.first.matches(self.fields, 0) && !(self.skip)(slot.first.id()) {
            return slot.first.id();
        }
        self.lists.first_but(slot.rest, self.fields, 0, below, self.skip)
    }
}

/// Pairs worth a look, a column for each thing to know of them.
struct Waiting {
    /// The hint, and below it the pair's place here: all are different, the least is the best. [`NOBODY`] from the count
    /// on, as far as sixteen at a time are looked through.
    hints: [u32; ROOM],
    src: [u32; ROOM],
    dst: [u32; ROOM],
    count: usize,
}

const NOBODY: u32 = u32::MAX;
/// Bits of a place.
const PLACE: u32 = 7;
const _: () = assert!(ROOM <= 1 << PLACE);

impl Waiting {
    #[inline(always)]
    fn new() -> Self {
        Self { hints: [NOBODY; ROOM], src: [0; ROOM], dst: [0; ROOM], count: 0 }
    }

    /// Notes a pair, if it is worth it. There has to be room.
    #[inline(always)]
    fn push(&mut self, is_worth: bool, hint: u32, src: u32, dst: u32) {
        let at = self.count % ROOM;
        let hint = select_unpredictable(is_worth, hint << PLACE | at as u32, NOBODY);
        (self.hints[at], self.src[at], self.dst[at]) = (hint, src, dst);
        self.count += usize::from(is_worth);
    }

    /// Notes those of sixteen pairs that are worth it. There has to be room.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn push_lanes(&mut self, v: Avx512, worth: Mask, hints: Lanes, src: u32, dst: Lanes) {
        let at = self.count;
        let (Some((hints_here, _)), Some((src_here, _)), Some((dst_here, _))) = (
            self.hints.get_mut(at..).and_then(<[u32]>::split_first_chunk_mut),
            self.src.get_mut(at..).and_then(<[u32]>::split_first_chunk_mut),
            self.dst.get_mut(at..).and_then(<[u32]>::split_first_chunk_mut),
        ) else {
            return;
        };
        let count = worth.count_ones();
        let places = v.add(v.load(&PLACES), v.splat(at as u32));
        let hints = v.or(v.left::<PLACE>(v.compress(worth, hints)), places);
        let is_here = ((1_u32 << count) - 1) as Mask;
        v.store(v.select(is_here, v.splat(NOBODY), hints), hints_here);
        v.store(v.splat(src), src_here);
        v.store(v.compress(worth, dst), dst_here);
        self.count += count as usize;
    }

    /// The best pair behind the one that was the last.
    #[inline(always)]
    fn next(&self, last: Option<u32>) -> Option<u32> {
        let (chunks, _) = self.hints.as_chunks::<16>();
        let from = last.map_or(0, |last| last + 1);
        let mut best = [NOBODY; 16];
        for chunk in chunks.iter().take(self.count.div_ceil(16)) {
            for (best, &hint) in best.iter_mut().zip(chunk) {
                *best = (*best).min(if hint >= from { hint } else { NOBODY });
            }
        }
        best.into_iter().min().filter(|&best| best != NOBODY)
    }
}

#[cfg(target_arch = "x86_64")]
const PLACES: [u32; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

impl Chains {
    /// The pairs of these rules, ids ascending; their prefixes are in the trees.
    pub(super) fn new(
        rules: &[ChainRule],
        src_tree: &PrefixTree,
        dst_tree: &PrefixTree,
        lists: &mut Lists,
    ) -> Self {
        let classes =
            |rule: &ChainRule| Some((src_tree.class(rule.src)?, dst_tree.class(rule.dst)?, rule.record));
        let placed: Vec<(u32, u32, Record)> = rules.iter().filter_map(classes).collect();
        let (src, src_numbers) =
            Paths::new(src_tree, placed.iter().map(|(class, _, record)| (*class, record.id())));
        let (dst, dst_numbers) =
            Paths::new(dst_tree, placed.iter().map(|(_, class, record)| (*class, record.id())));
        let mut at: AHashMap<(u32, u32), Vec<Record>> = AHashMap::new();
        for (src, dst, record) in placed {
            if let (Some(&src), Some(&dst)) = (src_numbers.get(src as usize), dst_numbers.get(dst as usize)) {
                at.entry((src, dst)).or_default().push(record);
            }
        }
        let mut at: Vec<_> = at.into_iter().collect();
        at.sort_unstable_by_key(|&(pair, _)| pair);
        let hints =
            at.iter().filter_map(|&((src, dst), ref records)| Some((src, dst, records.first()?.id())));
        let hints = Hints::new(hints);
        let pairs: Vec<_> = at
            .iter()
            .filter_map(|((src, dst), records)| {
                let (&first, rest) = records.split_first()?;
                Some((key(*src, *dst), first, lists.push(rest)))
            })
            .collect();
        Self { src, dst, hints, pairs: PairTable::new(&pairs) }
    }

    /// The first rule that matches a packet of these classes, if its id is below `below`; else `below`.
    pub(super) fn first(&self, lists: &Lists, classes: (u32, u32), fields: Fields, below: u32) -> u32 {
        self.walk(classes, below, One { lists, fields })
    }

    /// The same among rules that `skip` does not name.
    pub(super) fn first_but(
        &self,
        lists: &Lists,
        classes: (u32, u32),
        fields: Fields,
        below: u32,
        skip: impl Fn(u32) -> bool + Copy,
    ) -> u32 {
        self.walk(classes, below, But { lists, fields, skip })
    }

    /// [`Chains::first`], sixteen pairs in step: those of one prefix around the source with all around the destination.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(super) fn first_in_step(
        &self,
        v: Avx512,
        lists: &Lists,
        (src, dst): (u32, u32),
        fields: Fields,
        mut below: u32,
    ) -> u32 {
        let look = InStep { v, lists, fields };
        let mut waiting = Waiting::new();
        for dst_path in self.dst.around(dst) {
            let here = (1_u16 << dst_path.numbers().len()) - 1;
            let dst = v.load(&dst_path.0);
            let destinations = Hints::destinations(v, dst);
            for src_path in self.src.around(src) {
                if src_path.best().max(dst_path.best()) >= below {
                    break;
                }
                for &src in src_path.numbers() {
                    let hints = self.hints.of_lanes(v, src, destinations);
                    let worth = here & !v.at_most(v.splat(self.hints.limit(below)), hints);
                    waiting.push_lanes(v, worth, hints, src, dst);
                    if waiting.count >= WAITING {
                        below = self.look_at(&mut waiting, below, look);
                    }
                }
            }
        }
        self.look_at(&mut waiting, below, look)
    }

    /// Looks at the pairs of prefixes around a packet that may have a rule better than `below`.
    #[inline(always)]
    fn walk(&self, (src, dst): (u32, u32), mut below: u32, look: impl Look) -> u32 {
        let mut waiting = Waiting::new();
        for dst_path in self.dst.around(dst) {
            for src_path in self.src.around(src) {
                if src_path.best().max(dst_path.best()) >= below {
                    break;
                }
                for &src in src_path.numbers() {
                    let limit = self.hints.limit(below);
                    for &dst in dst_path.numbers() {
                        let hint = self.hints.of(src, dst);
                        waiting.push(hint < limit, hint, src, dst);
                    }
                    if waiting.count >= WAITING {
                        below = self.look_at(&mut waiting, below, look);
                    }
                }
            }
        }
        self.look_at(&mut waiting, below, look)
    }

    /// Looks at the pairs that wait, best first, until none can have a better rule than what is found.
    #[inline(always)]
    fn look_at(&self, waiting: &mut Waiting, mut below: u32, look: impl Look) -> u32 {
        let mut last = None;
        while let Some(next) = waiting.next(last).filter(|next| next >> PLACE < self.hints.limit(below)) {
            let place = (next % (1 << PLACE)) as usize % ROOM;
            let pair = key(waiting.src[place], waiting.dst[place]);
            let slot = self.pairs.slot(self.pairs.position(pair));
            if slot.is(pair) && slot.first.id() < below {
                below = look.look(slot, below);
            }
            last = Some(next);
        }
        if waiting.count >= WAITING {
            *waiting = Waiting::new();
        }
        below
    }

    /// Bytes for so many rules and classes at most, without lists.
    pub(super) fn bytes_at_most(rules: usize, src_classes: usize, dst_classes: usize) -> usize {
        if rules == 0 {
            return 0;
        }
        size_of::<Self>()
            + Paths::bytes_at_most(src_classes, rules)
            + Paths::bytes_at_most(dst_classes, rules)
            + Hints::bytes(rules)
            + PairTable::bytes(rules)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + self.src.memory_bytes()
            + self.dst.memory_bytes()
            + self.hints.memory_bytes()
            + self.pairs.memory_bytes()
    }
}
