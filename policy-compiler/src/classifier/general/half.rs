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
use super::record::{Fields, NONE, Record};
use super::wide::Wide;

/// Packets that go through together.
pub(super) const BURST: usize = 32;

/// Packets of one family, taken apart.
#[derive(Debug)]
pub(super) struct Burst<A, const N: usize> {
    pub(super) src: [A; N],
    pub(super) dst: [A; N],
    pub(super) fields: [Fields; N],
    pub(super) len: usize,
}

impl<A: Copy + Default, const N: usize> Burst<A, N> {
    #[inline(always)]
    pub(super) fn new() -> Self {
        Self { src: [A::default(); N], dst: [A::default(); N], fields: [Fields::default(); N], len: 0 }
    }

    #[inline(always)]
    pub(super) fn push(&mut self, src: A, dst: A, fields: Fields) {
        let at = self.len;
        if let (Some(to_src), Some(to_dst), Some(to_fields)) =
            (self.src.get_mut(at), self.dst.get_mut(at), self.fields.get_mut(at))
        {
            (*to_src, *to_dst, *to_fields) = (src, dst, fields);
            self.len = at + 1;
        }
    }
}

/// First records by class, and the lists behind them.
#[derive(Debug)]
struct Direct {
    first: Vec<Record>,
    rest: Vec<u32>,
    is_empty: bool,
}

/// One family.
#[derive(Debug)]
pub(super) struct Half<T> {
    src: T,
    dst: T,
    by_src: Direct,
    by_dst: Direct,
    pairs: PairTable,
    wide: Option<Wide>,
    chains: Option<Chains>,
    lists: Lists,
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
        let len = burst.len.min(N);
        let mut best = [NONE; N];
        let (mut src_classes, mut dst_classes) = ([0; N], [0; N]);
        let (Some(src), Some(dst), Some(fields)) =
            (burst.src.get(..len), burst.dst.get(..len), burst.fields.get(..len))
        else {
            return best;
        };
        let (Some(src_classes), Some(dst_classes), Some(answers)) =
            (src_classes.get_mut(..len), dst_classes.get_mut(..len), best.get_mut(..len))
        else {
            return best;
        };
        self.src.classes(src, src_classes);
        self.dst.classes(dst, dst_classes);
        if !self.by_dst.is_empty {
            self.by_dst.first::<T, N>(&self.lists, dst_classes, fields, src, answers);
        }
        if !self.by_src.is_empty {
            self.by_src.first::<T, N>(&self.lists, src_classes, fields, dst, answers);
        }
        if !self.pairs.is_empty() {
            self.pair_first::<N>(src_classes, dst_classes, fields, answers);
        }
        if let Some(wide) = &self.wide {
            for (((answer, &fields), &src), &dst) in answers.iter_mut().zip(fields).zip(src).zip(dst) {
                *answer = (*answer).min(wide.first(fields, T::top(src), T::top(dst)));
            }
        }
        if let Some(chains) = &self.chains {
            for (((answer, &fields), &src), &dst) in
                answers.iter_mut().zip(fields).zip(&*src_classes).zip(&*dst_classes)
            {
                *answer = chains.first(&self.lists, (src, dst), fields, *answer, |_| false);
            }
        }
        best
    }

    #[inline(always)]
    fn pair_first<const N: usize>(&self, src: &[u32], dst: &[u32], fields: &[Fields], answers: &mut [u32]) {
        let mut positions = [0; N];
        for ((position, &src), &dst) in positions.iter_mut().zip(src).zip(dst) {
            *position = self.pairs.position(key(src, dst));
        }
        let mut left = Left::<N>::new();
        for (((((answer, &position), &src), &dst), &fields), number) in
            answers.iter_mut().zip(&positions).zip(src).zip(dst).zip(fields).zip(0_u32..)
        {
            let slot = self.pairs.slot(position);
            let is_here = slot.is(key(src, dst));
            let matched = is_here & slot.first.matches(fields, 0);
            *answer = (*answer).min(if matched { slot.first.id() } else { NONE });
            left.note(number, is_here & !matched & slot.first.has_more());
        }
        for number in left.iter() {
            if let (Some(answer), Some(&fields), Some(&position)) =
                (answers.get_mut(number), fields.get(number), positions.get(number))
            {
                let slot = self.pairs.slot(position);
                *answer = self.lists.first(slot.rest, fields, 0, *answer, |_| false);
            }
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
        let (mut src_class, mut dst_class) = ([0], [0]);
        self.src.classes(&[src], &mut src_class);
        self.dst.classes(&[dst], &mut dst_class);
        let ([src_class], [dst_class]) = (src_class, dst_class);
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
            best = chains.first(&self.lists, (src_class, dst_class), fields, best, skip);
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
        classes: &[u32],
        fields: &[Fields],
        addresses: &[T::Address],
        answers: &mut [u32],
    ) {
        let mut left = Left::<N>::new();
        for ((((answer, &class), &fields), &address), number) in
            answers.iter_mut().zip(classes).zip(fields).zip(addresses).zip(0_u32..)
        {
            let record = self.first.get(class as usize).unwrap_or(&Record::NEVER);
            let matched = record.matches(fields, T::top(address));
            *answer = (*answer).min(if matched { record.id() } else { NONE });
            left.note(number, !matched & record.has_more());
        }
        for number in left.iter() {
            if let (Some(answer), Some(&class), Some(&fields), Some(&address)) =
                (answers.get_mut(number), classes.get(number), fields.get(number), addresses.get(number))
            {
                let rest = self.rest.get(class as usize).copied().unwrap_or(0);
                *answer = lists.first(rest, fields, T::top(address), *answer, |_| false);
            }
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
    lists.first(rest, fields, top, below, skip)
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

/// Numbers of packets that are not done, noted without a branch.
struct Left<const N: usize> {
    numbers: [u32; N],
    len: usize,
}

impl<const N: usize> Left<N> {
    #[inline(always)]
    fn new() -> Self {
        Self { numbers: [0; N], len: 0 }
    }

    #[inline(always)]
    fn note(&mut self, number: u32, wanted: bool) {
        if let Some(place) = self.numbers.get_mut(self.len) {
            *place = number;
        }
        self.len += usize::from(wanted);
    }

    #[inline(always)]
    fn iter(&self) -> impl Iterator<Item = usize> {
        self.numbers.iter().take(self.len).map(|&number| number as usize)
    }
}
