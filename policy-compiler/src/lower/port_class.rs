//! Port ranges → port classes: ports that every range treats alike are one class.
//!
//! Input: all distinct ranges, numeric and resolved. Output: per protocol the class of every port, and per range
//! the set of classes it covers. Class 0 is covered by none. A sweep over the ranges' ends; its work is bounded
//! by the ceiling, because nested ranges could otherwise make it quadratic.

use super::TooLarge;
use super::bits::Bits;
use super::catalogue::{Numbering, Range};
use crate::model::Protocol;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug)]
pub(crate) struct PortClasses {
    /// How many, class 0 included.
    pub(crate) count: usize,
    /// Per protocol, in the order of [`Protocol::WITH_PORTS`]: the class of every port; empty: 0 throughout.
    pub(crate) tables: [Vec<u16>; 3],
    /// Per range: the classes it covers.
    pub(crate) covered: Vec<Bits>,
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
    let mut tables = [const { Vec::new() }; 3];
    let mut work = 0_usize;
    for (table, protocol) in tables.iter_mut().zip(Protocol::WITH_PORTS) {
        let mut edges: BTreeMap<u32, Edge> = BTreeMap::new();
        for (number, &(of, first, last)) in ranges.iter().enumerate() {
            if of == protocol && first <= last {
                edges.entry(u32::from(first)).or_default().begin.push(number);
                edges.entry(u32::from(last) + 1).or_default().end.push(number);
            }
        }
        if edges.is_empty() {
            continue;
        }
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
    Ok(PortClasses { count, tables, covered })
}

#[cfg(test)]
mod tests {
    use super::build;
    use crate::model::Protocol;

    const TCP: Protocol = Protocol::TCP;
    const UDP: Protocol = Protocol::UDP;

    #[test]
    fn classes_tell_exactly_the_ranges_apart() {
        let ranges = [(TCP, 0, 65535), (TCP, 80, 80), (UDP, 53, 53), (TCP, 8000, 9000), (TCP, 8500, 65535)];
        let Ok(classes) = build(&ranges, 1 << 20) else { panic!("it is small") };
        for (number, &(protocol, first, last)) in ranges.iter().enumerate() {
            for (table, of) in classes.tables.iter().zip(crate::model::Protocol::WITH_PORTS) {
                for (port, &class) in table.iter().enumerate() {
                    let inside = of == protocol && (usize::from(first)..=usize::from(last)).contains(&port);
                    assert_eq!(classes.covered[number].has(usize::from(class)), inside, "{of} {port}");
                }
            }
        }
        assert!(classes.tables[2].is_empty());
        assert_eq!(classes.tables[0].len(), 65536);
    }

    #[test]
    fn nested_ranges_cannot_take_more_than_the_ceiling() {
        let ranges: Vec<_> = (0..20_000).map(|depth| (TCP, depth, 65535 - depth)).collect();
        assert!(build(&ranges, 1 << 20).is_err());
    }
}
