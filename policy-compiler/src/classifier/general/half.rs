//! The tables of one address family, and a burst's way through them.
//!
//! ```text
//!  src, dst ─► class each ─┬► by_dst[dst class]   record, first byte of src compared ─┐
//!                          ├► by_src[src class]   record, first byte of dst compared ─┤
//!                          ├► pairs[src class, dst class]  record ────────────────────┼─► least id
//!  ports, protocol, first bytes ─► wide ──────────────────────────────────────────────┤
//!  what is left: lists behind records that did not match, chains ─────────────────────┘
//! ```
//! All but the last line takes the same loads for every packet, level by level over the burst. Where a list goes on
//! behind its first record, the packet is noted without a branch, and the noted ones are looked after at the end.

use super::addresses::AddressTable;
use super::chains::{ChainRule, Chains};
use super::lists::Lists;
use super::pairs::{PairTable, key};
use super::plan::{Entry, Place, Plan};
use super::record::{Fields, NONE, Record, entry_ref};
use super::wide::Wide;
use std::hint::select_unpredictable;

/// Packets that go through together.
pub(super) const BURST: usize = 32;
const _: () = assert!(BURST <= 64);

/// Packets of one family, taken apart.
#[derive(Debug)]
pub(super) struct Burst<A, const N: usize> {
    pub(super) src: [A; N],
    pub(super) dst: [A; N],
    pub(super) fields: [Fields; N],
}

impl<A: Copy + Default, const N: usize> Burst<A, N> {
    #[inline(always)]
    pub(super) fn new() -> Self {
        Self { src: [A::default(); N], dst: [A::default(); N], fields: [Fields::default(); N] }
    }

    /// Packet number `at`; one beyond the burst is none.
    #[inline(always)]
    pub(super) fn set(&mut self, at: usize, src: A, dst: A, fields: Fields) {
        if at < N {
            (self.src[at], self.dst[at], self.fields[at]) = (src, dst, fields);
        }
    }
}

/// First records by class, and the lists behind them.
#[derive(Debug)]
pub(super) struct Direct {
    pub(super) first: Vec<Record>,
    pub(super) rest: Vec<u32>,
    pub(super) is_empty: bool,
}

/// One family.
#[derive(Debug)]
pub(super) struct Half<T> {
    pub(super) src: T,
    pub(super) dst: T,
    pub(super) by_src: Direct,
    pub(super) by_dst: Direct,
    pub(super) pairs: PairTable,
    pub(super) wide: Option<Wide>,
    pub(super) chains: Option<Chains>,
    pub(super) lists: Lists,
}

/// A plan and what it will take.
#[derive(Debug)]
pub(super) struct Estimate {
    pub(super) plan: Plan,
    src_runs: Vec<super::prefixes::Run>,
    dst_runs: Vec<super::prefixes::Run>,
    pub(super) bytes: usize,
}

impl Estimate {
    pub(super) fn new<T: AddressTable>(entries: &[Entry<'_>]) -> Self {
        let plan = Plan::new(entries);
        let (src_runs, dst_runs) = (plan.src_tree.runs(), plan.dst_tree.runs());
        let bytes = plan.bytes_at_most() + T::bytes(&src_runs) + T::bytes(&dst_runs);
        Self { plan, src_runs, dst_runs, bytes }
    }
}

impl<T: AddressTable> Half<T> {
    /// The tables of rules of one family, ids ascending.
    pub(super) fn new(entries: &[Entry<'_>], estimate: Estimate) -> Self {
        let Estimate { plan, src_runs, dst_runs, .. } = estimate;
        let Plan { places, src_tree, dst_tree, wide, copies } = plan;
        let mut lists = Lists::new();
        let at = |wanted: Place| {
            let here = entries.iter().zip(&places).filter(move |(_, place)| **place == wanted);
            here.map(|(entry, _)| entry)
        };
        let mut pairs = Vec::with_capacity(copies.iter().sum());
        for entry in at(Place::Pair) {
            let record = entry.record(None);
            for src in src_tree.inside(entry.src) {
                pairs.extend(dst_tree.inside(entry.dst).map(|dst| (key(src, dst), record)));
            }
        }
        let mut by_src = Vec::new();
        for entry in at(Place::BySource) {
            let record = entry.record(Some(entry.dst));
            by_src.extend(src_tree.inside(entry.src).map(|class| (u64::from(class), record)));
        }
        let mut by_dst = Vec::new();
        for entry in at(Place::ByDestination) {
            let record = entry.record(Some(entry.src));
            by_dst.extend(dst_tree.inside(entry.dst).map(|class| (u64::from(class), record)));
        }
        let chained: Vec<_> = at(Place::Chain)
            .map(|entry| ChainRule { record: entry.record(None), src: entry.src, dst: entry.dst })
            .collect();
        let mut heads = Vec::new();
        heads_of(pairs, &mut lists, |head| heads.push(head));
        let half = Self {
            src: T::new(&src_runs),
            dst: T::new(&dst_runs),
            by_src: Direct::new(by_src, src_tree.classes(), &mut lists),
            by_dst: Direct::new(by_dst, dst_tree.classes(), &mut lists),
            pairs: PairTable::new(&heads),
            wide,
            chains: (!chained.is_empty()).then(|| Chains::new(&chained, &src_tree, &dst_tree, &mut lists)),
            lists,
        };
        half.finished()
    }

    fn finished(mut self) -> Self {
        self.lists.finish();
        self
    }

    /// The least id that matches each packet of a burst, or [`NONE`].
    #[inline(always)]
    pub(super) fn first<const N: usize>(&self, burst: &Burst<T::Address, N>) -> [u32; N] {
        let Burst { src, dst, fields } = burst;
        let src_classes = self.src.classes(src);
        let dst_classes = self.dst.classes(dst);
        let mut best = [NONE; N];
        if !self.by_dst.is_empty {
            self.by_dst.first::<T, N>(&self.lists, &dst_classes, fields, src, &mut best);
        }
        if !self.by_src.is_empty {
            self.by_src.first::<T, N>(&self.lists, &src_classes, fields, dst, &mut best);
        }
        if !self.pairs.is_empty() {
            self.pair_first(&src_classes, &dst_classes, fields, &mut best);
        }
        if let Some(wide) = &self.wide {
            for at in 0..N {
                best[at] = best[at].min(wide.first(fields[at], T::top(src[at]), T::top(dst[at])));
            }
        }
        if let Some(chains) = &self.chains {
            for at in 0..N {
                let classes = (src_classes[at], dst_classes[at]);
                best[at] = chains.first(&self.lists, classes, fields[at], best[at]);
            }
        }
        best
    }

    #[inline(always)]
    fn pair_first<const N: usize>(
        &self,
        src: &[u32; N],
        dst: &[u32; N],
        fields: &[Fields; N],
        best: &mut [u32; N],
    ) {
        let mut positions = [0; N];
        for at in 0..N {
            positions[at] = self.pairs.position(key(src[at], dst[at]));
        }
        let mut left = Left(0);
        for at in 0..N {
            let slot = self.pairs.slot(positions[at]);
            let is_here = slot.is(key(src[at], dst[at]));
            let matched = is_here & slot.first.matches(fields[at], 0);
            best[at] = best[at].min(select_unpredictable(matched, slot.first.id(), NONE));
            // What matched is here, so this is `here and not matched`.
            left.note(at, (is_here ^ matched) & slot.first.has_more());
        }
        for at in left {
            let at = at % N;
            let rest = self.pairs.slot(positions[at]).rest;
            best[at] = self.lists.first(rest, fields[at], 0, best[at]);
        }
    }

    /// The least id that matches one packet among those that `skip` does not name: everything looked at, one by one.
    pub(super) fn first_but(
        &self,
        src: T::Address,
        dst: T::Address,
        fields: Fields,
        skip: impl Fn(u32) -> bool + Copy,
    ) -> u32 {
        let ([src_class], [dst_class]) = (self.src.classes(&[src]), self.dst.classes(&[dst]));
        let (src_top, dst_top) = (T::top(src), T::top(dst));
        let mut best = self.by_dst.first_but(&self.lists, dst_class, fields, src_top, NONE, skip);
        best = self.by_src.first_but(&self.lists, src_class, fields, dst_top, best, skip);
        let pair = key(src_class, dst_class);
        let slot = self.pairs.slot(self.pairs.position(pair));
        if slot.is(pair) {
            best = first_but(&self.lists, &slot.first, slot.rest, fields, 0, best, skip);
        }
        if let Some(wide) = &self.wide {
            best = best.min(wide.first_but(fields, (src_top, dst_top), skip));
        }
        if let Some(chains) = &self.chains {
            best = chains.first_but(&self.lists, (src_class, dst_class), fields, best, skip);
        }
        best
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.src.memory_bytes()
            + self.dst.memory_bytes()
            + self.by_src.memory_bytes()
            + self.by_dst.memory_bytes()
            + self.pairs.memory_bytes()
            + self.wide.as_ref().map_or(0, Wide::memory_bytes)
            + self.chains.as_ref().map_or(0, Chains::memory_bytes)
            + self.lists.memory_bytes()
    }
}

impl Direct {
    fn new(copies: Vec<(u64, Record)>, classes: usize, lists: &mut Lists) -> Self {
        if copies.is_empty() {
            return Self { first: Vec::new(), rest: Vec::new(), is_empty: true };
        }
        let mut direct =
            Self { first: vec![Record::NEVER; classes], rest: vec![0; classes], is_empty: false };
        heads_of(copies, lists, |(class, first, rest)| {
            if let (Some(to_first), Some(to_rest)) =
                (direct.first.get_mut(class as usize), direct.rest.get_mut(class as usize))
            {
                (*to_first, *to_rest) = (first, rest);
            }
        });
        direct
    }

    #[inline(always)]
    fn first<T: AddressTable, const N: usize>(
        &self,
        lists: &Lists,
        classes: &[u32; N],
        fields: &[Fields; N],
        addresses: &[T::Address; N],
        best: &mut [u32; N],
    ) {
        let mut left = Left(0);
        for at in 0..N {
            let record = entry_ref(&self.first, classes[at] as usize, &Record::NEVER);
            let matched = record.matches(fields[at], T::top(addresses[at]));
            best[at] = best[at].min(select_unpredictable(matched, record.id(), NONE));
            left.note(at, !matched & record.has_more());
        }
        for at in left {
            let at = at % N;
            let rest = self.rest.get(classes[at] as usize).copied().unwrap_or(0);
            best[at] = lists.first(rest, fields[at], T::top(addresses[at]), best[at]);
        }
    }

    fn first_but(
        &self,
        lists: &Lists,
        class: u32,
        fields: Fields,
        top: u8,
        below: u32,
        skip: impl Fn(u32) -> bool,
    ) -> u32 {
        let (Some(first), Some(&rest)) = (self.first.get(class as usize), self.rest.get(class as usize))
        else {
            return below;
        };
        first_but(lists, first, rest, fields, top, below, skip)
    }

    fn memory_bytes(&self) -> usize {
        size_of_val(&self.first[..]) + size_of_val(&self.rest[..])
    }
}

/// A whole list, its first record included.
fn first_but(
    lists: &Lists,
    first: &Record,
    rest: u32,
    fields: Fields,
    top: u8,
    below: u32,
    skip: impl Fn(u32) -> bool,
) -> u32 {
    if first.id() < below && first.matches(fields, top) && !skip(first.id()) {
        return first.id();
    }
    lists.first_but(rest, fields, top, below, skip)
}

/// Copies of records, grouped by their key: key, first record, list of the others. Ids ascend within a key, because
/// rules were taken in their order and the sort is stable.
fn heads_of(mut copies: Vec<(u64, Record)>, lists: &mut Lists, mut head: impl FnMut((u64, Record, u32))) {
    copies.sort_by_key(|&(key, _)| key);
    let mut rest = Vec::new();
    for group in copies.chunk_by(|a, b| a.0 == b.0) {
        let Some((&(key, first), others)) = group.split_first() else { continue };
        rest.clear();
        rest.extend(others.iter().map(|&(_, record)| record));
        let first = if rest.is_empty() { first } else { first.with_more() };
        head((key, first, lists.push(&rest)));
    }
}

/// Packets of a burst, a bit each: noted without a branch.
pub(super) struct Left(pub(super) u64);

impl Left {
    #[inline(always)]
    fn note(&mut self, at: usize, wanted: bool) {
        self.0 |= u64::from(wanted) << (at % 64);
    }
}

/// Those that were noted.
impl Iterator for Left {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        let first = self.0.trailing_zeros() as usize;
        let is_over = self.0 == 0;
        self.0 &= self.0.wrapping_sub(1);
        (!is_over).then_some(first)
    }
}
