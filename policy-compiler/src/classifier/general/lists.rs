//! Lists of records in order of priority: what is left to compare at one place of the address space.
//!
//! The first record of a list is kept where the list is found; this holds what follows it. Up to [`SCAN`] records are
//! compared one after the other. A longer list has a segment tree beside it, over the intervals that its ranges of
//! ports cut the port space into (source or destination, whichever has more distinct ranges): a record stands at
//! the few nodes that make up its range, and only the nodes on the way from a port's interval to the root can match.
//! So 65,536 rules of one port each cost 17 nodes, and thousands of overlapping ranges a walk that stops at each node
//! with the first match. Bytes: 16 a record, and for long lists up to about 8 log2(records) + 40 more.

use super::record::{Fields, NONE, Record};
#[cfg(target_arch = "x86_64")]
use crate::classifier::arch::Avx512;

/// Records compared one after the other, before a tree is made.
const SCAN: usize = 32;
/// Records compared together, without a branch between them.
const CHUNK: usize = 4;

#[derive(Debug, Clone, Copy)]
struct List {
    start: u32,
    len: u32,
    /// Position in `trees`, or [`NONE`].
    tree: u32,
}

#[derive(Debug)]
struct Tree {
    /// Whether the ranges are those of source ports.
    by_source: bool,
    /// First port of each interval, ascending from 0.
    starts: Vec<u16>,
    /// By node, and one more: where its members begin. The root is 1, interval `i` is `starts.len() + i`.
    offsets: Vec<u32>,
    /// Positions within the list, node after node, ascending within each.
    members: Vec<u32>,
}

/// All lists of one family. List 0 is empty.
#[derive(Debug)]
pub(super) struct Lists {
    heads: Vec<List>,
    records: Vec<Record>,
    trees: Vec<Tree>,
}

impl Lists {
    pub(super) fn new() -> Self {
        Self { heads: vec![List { start: 0, len: 0, tree: NONE }], records: Vec::new(), trees: Vec::new() }
    }

    /// Bytes that lists of so many records in all take at most, however many lists they are.
    pub(super) fn bytes_at_most(records: usize) -> usize {
        let each = size_of::<List>() + CHUNK * size_of::<Record>();
        if records <= SCAN {
            return size_of::<List>() + records * each;
        }
        let intervals = (2 * records + 1).min(1 << 16);
        let nodes_each = 2 * (usize::BITS - intervals.leading_zeros()) as usize;
        // Of a tree: its head for each of more than SCAN records, three intervals, nodes that hold the record.
        let in_tree = size_of::<Tree>() / SCAN + 3 * 10 + nodes_each * 4;
        size_of::<List>() + records * (each + in_tree)
    }

    /// Adds a list; its number.
    pub(super) fn push(&mut self, records: &[Record]) -> u32 {
        if records.is_empty() {
            return 0;
        }
        let mut list = List { start: self.records.len() as u32, len: 0, tree: NONE };
        self.records.extend_from_slice(records);
        // Whole chunks; the records that never match are worse than all.
        let filled = records.len().next_multiple_of(CHUNK) - records.len();
        self.records.extend(std::iter::repeat_n(Record::NEVER, filled));
        list.len = (records.len() + filled) as u32;
        if records.len() > SCAN {
            list.tree = self.trees.len() as u32;
            self.trees.push(Tree::new(records));
        }
        self.heads.push(list);
        self.heads.len() as u32 - 1
    }

    pub(super) fn finish(&mut self) {
        self.heads.shrink_to_fit();
        self.records.shrink_to_fit();
        self.trees.shrink_to_fit();
    }

    fn records(&self, list: List) -> &[Record] {
        let start = list.start as usize;
        self.records.get(start..start + list.len as usize).unwrap_or_default()
    }

    /// The id of the first record of a list that matches, if it is below `below`; else `below`.
    #[inline]
    pub(super) fn first(&self, list: u32, fields: Fields, top: u8, below: u32) -> u32 {
        let Some(&list) = self.heads.get(list as usize) else { return below };
        let records = self.records(list);
        if let Some(tree) = self.trees.get(list.tree as usize) {
            return tree.first(records, fields, top, below, |_| false);
        }
        let (chunks, _) = records.as_chunks::<CHUNK>();
        for chunk in chunks {
            let least = chunk.iter().fold(NONE, |least, record| least.min(record.answer(fields, top)));
            let [.., last] = chunk;
            if least < below || last.id() >= below {
                return least.min(below);
            }
        }
        below
    }

    /// [`Lists::first`], a chunk at a time.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(super) fn first_in_step(&self, v: Avx512, list: u32, fields: Fields, top: u8, below: u32) -> u32 {
        let Some(&list) = self.heads.get(list as usize) else { return below };
        let records = self.records(list);
        if let Some(tree) = self.trees.get(list.tree as usize) {
            return tree.first(records, fields, top, below, |_| false);
        }
        let packet = Record::four_of(v, fields, top);
        let (chunks, _) = records.as_chunks::<CHUNK>();
        for chunk in chunks {
            let found = chunk.get(Record::first_of_four(v, chunk, packet));
            let [.., last] = chunk;
            if found.is_some() || last.id() >= below {
                return found.map_or(below, |record| record.id().min(below));
            }
        }
        below
    }

    /// The same among records that `skip` does not name.
    pub(super) fn first_but(
        &self,
        list: u32,
        fields: Fields,
        top: u8,
        below: u32,
        skip: impl Fn(u32) -> bool,
    ) -> u32 {
        let Some(&list) = self.heads.get(list as usize) else { return below };
        let records = self.records(list);
        if let Some(tree) = self.trees.get(list.tree as usize) {
            return tree.first(records, fields, top, below, skip);
        }
        let found = records.iter().find(|record| record.matches(fields, top) && !skip(record.id()));
        found.map_or(below, |record| record.id().min(below))
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&self.heads[..])
            + size_of_val(&self.records[..])
            + self.trees.iter().map(Tree::memory_bytes).sum::<usize>()
    }
}

impl Tree {
    fn new(records: &[Record]) -> Self {
        let distinct = |range: fn(&Record) -> (u16, u16)| {
            let mut ranges: Vec<_> = records.iter().map(range).collect();
            ranges.sort_unstable();
            ranges.dedup();
            ranges.len()
        };
        let by_source = distinct(Record::src) > distinct(Record::dst);
        let range = |record: &Record| if by_source { record.src() } else { record.dst() };
        let mut starts: Vec<u16> = vec![0];
        for (first, last) in records.iter().map(range) {
            starts.push(first);
            starts.extend(last.checked_add(1));
        }
        starts.sort_unstable();
        starts.dedup();
        starts.shrink_to_fit();
        let mut offsets = vec![0_u32; 2 * starts.len() + 1];
        for record in records {
            nodes(&starts, range(record), |node| {
                if let Some(count) = offsets.get_mut(node + 1) {
                    *count += 1;
                }
            });
        }
        let mut total = 0;
        for offset in &mut offsets {
            total += *offset;
            *offset = total;
        }
        let mut members = vec![0_u32; total as usize];
        let mut next = offsets.clone();
        for (position, record) in (0..).zip(records) {
            nodes(&starts, range(record), |node| {
                let Some(place) = next.get_mut(node) else { return };
                if let Some(member) = members.get_mut(*place as usize) {
                    *member = position;
                }
                *place += 1;
            });
        }
        Self { by_source, starts, offsets, members }
    }

    fn first(
        &self,
        records: &[Record],
        fields: Fields,
        top: u8,
        mut below: u32,
        skip: impl Fn(u32) -> bool,
    ) -> u32 {
        let port = if self.by_source { fields.src_port } else { fields.dst_port };
        let interval = self.starts.partition_point(|&start| start <= port).saturating_sub(1);
        let mut node = self.starts.len() + interval;
        while node > 0 {
            let members = match (self.offsets.get(node), self.offsets.get(node + 1)) {
                (Some(&from), Some(&to)) => self.members.get(from as usize..to as usize).unwrap_or_default(),
                _ => &[],
            };
            for record in members.iter().filter_map(|&member| records.get(member as usize)) {
                if record.id() >= below {
                    break;
                }
                if record.matches(fields, top) && !skip(record.id()) {
                    below = record.id();
                    break;
                }
            }
            node /= 2;
        }
        below
    }

    fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + size_of_val(&self.starts[..])
            + size_of_val(&self.offsets[..])
            + size_of_val(&self.members[..])
    }
}

/// The nodes that together make up a range of ports.
fn nodes(starts: &[u16], (first, last): (u16, u16), mut visit: impl FnMut(usize)) {
    let size = starts.len();
    let mut from = size + starts.partition_point(|&start| start < first);
    let mut to = size + starts.partition_point(|&start| start <= last);
    while from < to {
        if from % 2 == 1 {
            visit(from);
            from += 1;
        }
        if to % 2 == 1 {
            to -= 1;
            visit(to);
        }
        from /= 2;
        to /= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::Lists;
    use crate::classifier::general::record::{Fields, NONE, Record};
    use crate::ruleset::{Ports, ProtocolMask, Rule};
    use proptest::prelude::*;

    fn record(id: u32, src: (u16, u16), dst: (u16, u16), mask: u8) -> Record {
        let any = "::/0".parse().expect("a prefix");
        let ports = |(a, b): (u16, u16)| Ports::new(a.min(b), a.max(b)).expect("in order");
        let rule =
            Rule::new(any, any, ports(src), ports(dst), ProtocolMask::new(6, mask)).expect("one family");
        Record::new(&rule, id, None)
    }

    fn agree(records: &[Record], asked: &[Fields]) {
        let mut lists = Lists::new();
        let list = lists.push(records);
        assert!(lists.memory_bytes() <= Lists::bytes_at_most(records.len()));
        for &fields in asked {
            for below in [NONE, records.len() as u32 / 2] {
                let expected =
                    records.iter().find(|record| record.matches(fields, 0)).map_or(NONE, Record::id);
                assert_eq!(lists.first(list, fields, 0, below), expected.min(below), "{fields:?}");
            }
            let odd = records.iter().find(|record| record.matches(fields, 0) && record.id() % 2 == 1);
            let expected = odd.map_or(NONE, Record::id);
            assert_eq!(lists.first_but(list, fields, 0, NONE, |id| id % 2 == 0), expected, "{fields:?}");
        }
    }

    proptest! {
        #[test]
        fn lists_answer_as_a_walk_over_the_records_does(
            rules in prop::collection::vec((any::<(u16, u16)>(), any::<(u16, u16)>(), any::<bool>()), 1..200),
            asked in prop::collection::vec((any::<u16>(), any::<u16>(), 5..8_u8), 1..50),
        ) {
            let records: Vec<_> = (0..).zip(&rules)
                .map(|(id, &(src, dst, one))| record(id, src, dst, if one { 0xff } else { 0 })).collect();
            let mut asked: Vec<_> = asked.into_iter()
                .map(|(src_port, dst_port, protocol)| Fields { src_port, dst_port, protocol }).collect();
            asked.extend(rules.iter().map(|&(src, dst, _)| Fields { src_port: src.0, dst_port: dst.1, protocol: 6 }));
            agree(&records, &asked);
        }
    }

    #[test]
    fn every_port_may_have_its_own_rule() {
        let records: Vec<_> =
            (0..=u16::MAX).map(|port| record(u32::from(port), (0, u16::MAX), (port, port), 0)).collect();
        let asked: Vec<_> =
            [0, 1, 80, 65_534, 65_535].map(|dst_port| Fields { src_port: 9, dst_port, protocol: 1 }).into();
        agree(&records, &asked);
        let by_source: Vec<_> =
            (0..=u16::MAX).map(|port| record(u32::from(port), (port, port), (0, 9), 0)).collect();
        agree(&by_source, &asked);
    }
}
