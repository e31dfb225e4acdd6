//! Port ranges → port classes: ports that every range treats alike are one class.
//!
//! Input: all distinct ranges of one end, written and resolved. Output: per protocol the class of every port, and per
//! range the set of classes it covers. Class 0 is covered by none. A sweep over the ranges' ends; its work is bounded
//! by the ceiling, because nested ranges could otherwise make it quadratic.

use super::TooLarge;
use super::bits::Bits;
use super::catalogue::Range;
use crate::classifier::numbering::Numbering;
use crate::model::Protocol;
use ahash::AHashMap;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug)]
pub(crate) struct PortClasses {
    /// How many, class 0 included.
    pub(crate) count: usize,
    /// Per protocol that a range is of: the class of every port.
    pub(crate) tables: BTreeMap<u8, Vec<u16>>,
    /// Per range: the classes it covers.
    pub(crate) covered: Vec<Bits>,
    /// Per class: the ranges that cover it.
    sets: Vec<Vec<usize>>,
}

impl PortClasses {
    /// What each of these classes was a part of when there were fewer ranges.
    pub(crate) fn parents(&self, before: &Self) -> Vec<usize> {
        let old: AHashMap<&[usize], usize> =
            before.sets.iter().enumerate().map(|(class, set)| (&set[..], class)).collect();
        let parent = |set: &Vec<usize>| {
            let known = set.partition_point(|&range| range < before.covered.len());
            old.get(set.get(..known).unwrap_or_default()).copied().unwrap_or(0)
        };
        self.sets.iter().map(parent).collect()
    }

    /// The class of a port.
    pub(crate) fn class(&self, protocol: Protocol, port: u16) -> usize {
        let table = self.tables.get(&protocol.number());
        table.and_then(|table| table.get(usize::from(port))).copied().unwrap_or(0).into()
    }
}

/// What happens at a port: ranges that begin there, ranges that ended just before.
#[derive(Debug, Default)]
struct Edge {
    begin: Vec<usize>,
    end: Vec<usize>,
}

pub(crate) fn build(ranges: &[Range], ceiling: usize) -> Result<PortClasses, TooLarge> {
    let mut classes: Numbering<Vec<usize>> = Numbering::new();
    classes.number(Vec::new());
    let mut edges: BTreeMap<Protocol, BTreeMap<u32, Edge>> = BTreeMap::new();
    for (number, &(protocol, first, last)) in ranges.iter().enumerate() {
        if first <= last {
            let edges = edges.entry(protocol).or_default();
            edges.entry(u32::from(first)).or_default().begin.push(number);
            edges.entry(u32::from(last) + 1).or_default().end.push(number);
        }
    }
    let mut tables = BTreeMap::new();
    let mut work = 0_usize;
    for (protocol, edges) in edges {
        let mut table = Vec::with_capacity(1 << 16);
        let mut active: BTreeSet<usize> = BTreeSet::new();
        let mut class = 0_u16;
        let mut at = 0_u32;
        for (port, edge) in edges {
            table.extend((at..port).map(|_| class));
            at = port;
            for number in edge.end {
                active.remove(&number);
            }
            active.extend(edge.begin);
            work = work.saturating_add(active.len() * size_of::<usize>());
            if work > ceiling {
                return Err(TooLarge { part: "port classes", needed: work });
            }
            let number = classes.number(active.iter().copied().collect());
            class =
                u16::try_from(number).map_err(|_| TooLarge { part: "port classes", needed: usize::MAX })?;
        }
        table.extend((at..1 << 16).map(|_| class));
        tables.insert(protocol.number(), table);
    }
    let count = classes.len();
    let needed = ranges.len().saturating_mul(Bits::bytes(count));
    if needed > ceiling {
        return Err(TooLarge { part: "port classes", needed });
    }
    let mut covered = vec![Bits::none(count); ranges.len()];
    for (class, active) in classes.things().iter().enumerate() {
        for &number in active {
            if let Some(bits) = covered.get_mut(number) {
                bits.set(class);
            }
        }
    }
    Ok(PortClasses { count, tables, covered, sets: classes.things().to_vec() })
}

#[cfg(test)]
mod tests {
    use super::build;
    use crate::model::Protocol;

    const TCP: Protocol = Protocol::TCP;
    const UDP: Protocol = Protocol::UDP;

    #[test]
    fn classes_tell_exactly_the_ranges_apart() {
        let gre = Protocol::new(47);
        let ranges = [
            (TCP, 0, 65535),
            (TCP, 80, 80),
            (UDP, 53, 53),
            (TCP, 8000, 9000),
            (TCP, 8500, 65535),
            (gre, 0, 65535),
            (Protocol::ICMP, 0x0800, 0x08ff),
        ];
        let Ok(classes) = build(&ranges, 1 << 20) else { panic!("it is small") };
        for (number, &(protocol, first, last)) in ranges.iter().enumerate() {
            for of in [TCP, UDP, Protocol::SCTP, gre, Protocol::ICMP] {
                for port in 0..=u16::MAX {
                    let inside = of == protocol && (first..=last).contains(&port);
                    assert_eq!(classes.covered[number].has(classes.class(of, port)), inside, "{of} {port}");
                }
            }
        }
        assert!(classes.tables.values().all(|table| table.len() == 65536));
        assert_eq!(classes.tables.keys().copied().collect::<Vec<_>>(), [1, 6, 17, 47]);
    }

    #[test]
    fn a_finer_class_knows_what_it_was_part_of() {
        let ranges = [(TCP, 0, 100), (UDP, 53, 53), (TCP, 50, 60), (TCP, 90, 200)];
        let (Ok(before), Ok(after)) = (build(&ranges[..2], 1 << 20), build(&ranges, 1 << 20)) else {
            panic!("they are small")
        };
        let parents = after.parents(&before);
        for protocol in [TCP, UDP, Protocol::SCTP] {
            for port in 0..=u16::MAX {
                let parent = parents[after.class(protocol, port)];
                assert_eq!(parent, before.class(protocol, port), "{protocol} {port}");
            }
        }
    }

    #[test]
    fn nested_ranges_cannot_take_more_than_the_ceiling() {
        let ranges: Vec<_> = (0..20_000).map(|depth| (TCP, depth, 65535 - depth)).collect();
        assert!(build(&ranges, 1 << 20).is_err());
    }
}
