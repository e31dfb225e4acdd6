//! Rules whose prefixes are both short: few of any set, and yet every packet may meet them. Crossed by product.
//!
//! ```text
//!  protocol, source port, destination port ─► class each ─► combo: the set of port specs that match
//!  first bytes of both addresses           ─► class each ─► cell:  the set of rules whose prefixes match
//!  table[cell][combo] ─► id                        or, where that is too large, cell's bits & combo's bits ─► id
//! ```
//! As in recursive flow classification (P. Gupta and N. McKeown, SIGCOMM 1999), with a bound on every product: what is
//! beyond one is not built, and the rules go to `chains`. Bytes: at most some 6 MiB; usually a few hundred KiB.

use super::prefixes::Prefix;
use super::record::{Fields, NONE, Record, entry};
#[cfg(target_arch = "x86_64")]
use crate::classifier::arch::{Avx512, Lanes};
use ahash::AHashMap;
use std::hint::select_unpredictable;

/// Rules taken at most.
const MAX_RULES: usize = 4096;
/// Entries of the table of combos at most.
const MAX_PORT_PRODUCT: usize = 1 << 17;
/// Entries of the table of ids at most; beyond, bits.
const MAX_TABLE: usize = 1 << 18;
/// Words of bits at most.
const MAX_WORDS: usize = 1 << 19;

/// One rule with both prefixes short.
#[derive(Debug, Clone, Copy)]
pub(super) struct WideRule {
    pub(super) record: Record,
    pub(super) src: Prefix,
    pub(super) dst: Prefix,
}

impl WideRule {
    /// Whether it matches a packet, given the first bytes of its addresses.
    fn matches(&self, fields: Fields, src: u8, dst: u8) -> bool {
        let inside = |prefix: Prefix, byte: u8| {
            let (top, mask) = prefix.top();
            byte & mask == top
        };
        self.record.matches(fields, 0) && inside(self.src, src) && inside(self.dst, dst)
    }
}

/// Sets of numbers, each distinct one stored once.
#[derive(Default)]
struct Sets {
    known: AHashMap<Vec<u64>, usize>,
    sets: Vec<Vec<u64>>,
}

impl Sets {
    fn number(&mut self, set: &[u64]) -> usize {
        if let Some(&number) = self.known.get(set) {
            return number;
        }
        self.known.insert(set.to_vec(), self.sets.len());
        self.sets.push(set.to_vec());
        self.sets.len() - 1
    }
}

fn set_of(len: usize, members: impl Iterator<Item = usize>) -> Vec<u64> {
    let mut set = vec![0; len.div_ceil(64)];
    for member in members {
        if let Some(word) = set.get_mut(member / 64) {
            *word |= 1 << (member % 64);
        }
    }
    set
}

fn has(set: &[u64], member: usize) -> bool {
    set.get(member / 64).is_some_and(|word| word >> (member % 64) & 1 == 1)
}

fn intersect(a: &[u64], b: &[u64]) -> Vec<u64> {
    a.iter().zip(b).map(|(a, b)| a & b).collect()
}

/// Ports to classes: two loads, equal pages of 256 ports stored once.
#[derive(Debug)]
struct PortClasses {
    pages: [u32; 256],
    classes: Vec<u32>,
}

impl PortClasses {
    /// Classes of ports by the ranges they are in; `None` if there are too many.
    fn new(ranges: &[(u16, u16)], sets: &mut Sets) -> Option<Self> {
        let mut starts: Vec<u16> = vec![0];
        for &(first, last) in ranges {
            starts.push(first);
            starts.extend(last.checked_add(1));
        }
        starts.sort_unstable();
        starts.dedup();
        let mut all = Vec::with_capacity(1 << 16);
        let ends = starts.iter().skip(1).map(|&next| usize::from(next)).chain([1 << 16]);
        for (&start, end) in starts.iter().zip(ends) {
            let inside = |&(_, &(first, last)): &(usize, &(u16, u16))| first <= start && start <= last;
            let members = ranges.iter().enumerate().filter(inside).map(|(number, _)| number);
            let class = u32::try_from(sets.number(&set_of(ranges.len(), members))).ok()?;
            all.resize(end, class);
        }
        let mut table = Self { pages: [0; 256], classes: Vec::new() };
        let mut known: AHashMap<&[u32], u32> = AHashMap::new();
        for (page, classes) in table.pages.iter_mut().zip(all.chunks_exact(256)) {
            *page = *known.entry(classes).or_insert_with(|| {
                table.classes.extend_from_slice(classes);
                (table.classes.len() / 256 - 1) as u32
            });
        }
        table.classes.shrink_to_fit();
        Some(table)
    }

    #[inline(always)]
    fn class(&self, port: u16) -> usize {
        let [high, low] = port.to_be_bytes();
        let page = self.pages[usize::from(high)] as usize;
        entry(&self.classes, page * 256 + usize::from(low), 0) as usize
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn classes_of_lanes(&self, v: Avx512, port: Lanes) -> Lanes {
        let page = v.gather(&self.pages[..], v.right::<8>(port), v.splat(0));
        let low = v.and(port, v.splat(0xff));
        v.gather(&self.classes, v.or(v.left::<8>(page), low), v.splat(0))
    }

    fn memory_bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(&self.classes[..])
    }
}

/// Which rule wins in a cell for a combo.
#[derive(Debug)]
enum Answers {
    /// Ids, cell after cell.
    Table(Vec<u32>),
    /// Bits of the rules, `words` for each cell and each combo.
    Bits { words: usize, cells: Vec<u64>, combos: Vec<u64>, ids: Vec<u32> },
}

/// The product of a set of wide rules.
#[derive(Debug)]
pub(super) struct Wide {
    rules: Vec<WideRule>,
    src_ports: PortClasses,
    dst_ports: PortClasses,
    protocols: [u32; 256],
    /// Combo by (protocol, source port, destination port) class.
    combos: Vec<u32>,
    combos_row: usize,
    combos_plane: usize,
    src_tops: [u32; 256],
    dst_tops: [u32; 256],
    /// Cell by classes of first bytes.
    cells: Vec<u32>,
    cells_row: usize,
    combo_count: usize,
    answers: Answers,
}

impl Wide {
    /// The product of these rules, ids ascending; `None` if it is beyond a bound.
    pub(super) fn new(rules: Vec<WideRule>) -> Option<Self> {
        if rules.len() > MAX_RULES {
            return None;
        }
        // Port specs first: there are fewer of them than rules.
        let mut specs: Vec<Record> = Vec::new();
        let mut numbers = AHashMap::new();
        let mut spec_of = Vec::with_capacity(rules.len());
        for rule in &rules {
            let number = *numbers.entry(rule.record.spec()).or_insert_with(|| {
                specs.push(rule.record);
                specs.len() - 1
            });
            spec_of.push(number);
        }
        let (mut src_sets, mut dst_sets, mut protocol_sets) =
            (Sets::default(), Sets::default(), Sets::default());
        let ranges = |range: fn(&Record) -> (u16, u16)| specs.iter().map(range).collect::<Vec<_>>();
        let src_ports = PortClasses::new(&ranges(Record::src), &mut src_sets)?;
        let dst_ports = PortClasses::new(&ranges(Record::dst), &mut dst_sets)?;
        let mut protocols = [0; 256];
        for (number, class) in (0..=u8::MAX).zip(&mut protocols) {
            let matching = specs.iter().enumerate().filter(|(_, spec)| spec.has_protocol(number));
            *class = protocol_sets.number(&set_of(specs.len(), matching.map(|(spec, _)| spec))) as u32;
        }
        let combos_plane = src_sets.sets.len() * dst_sets.sets.len();
        if combos_plane * protocol_sets.sets.len() > MAX_PORT_PRODUCT {
            return None;
        }
        let mut combo_sets = Sets::default();
        let mut combos = Vec::with_capacity(combos_plane * protocol_sets.sets.len());
        for protocol in &protocol_sets.sets {
            for src in &src_sets.sets {
                let both = intersect(protocol, src);
                for dst in &dst_sets.sets {
                    combos.push(u32::try_from(combo_sets.number(&intersect(&both, dst))).ok()?);
                }
            }
        }
        let tops = |prefix: fn(&WideRule) -> Prefix| {
            let mut sets = Sets::default();
            let mut classes = [0; 256];
            for (byte, class) in (0..=u8::MAX).zip(&mut classes) {
                let matching = rules.iter().enumerate().filter(|(_, rule)| {
                    let (top, mask) = prefix(rule).top();
                    byte & mask == top
                });
                *class = sets.number(&set_of(rules.len(), matching.map(|(rule, _)| rule))) as u32;
            }
            (classes, sets.sets)
        };
        let (src_tops, src_top_sets) = tops(|rule| rule.src);
        let (dst_tops, dst_top_sets) = tops(|rule| rule.dst);
        let mut cell_sets = Sets::default();
        let mut cells = Vec::with_capacity(src_top_sets.len() * dst_top_sets.len());
        for src in &src_top_sets {
            for dst in &dst_top_sets {
                cells.push(u32::try_from(cell_sets.number(&intersect(src, dst))).ok()?);
            }
        }
        let by_combo: Vec<Vec<u64>> = combo_sets
            .sets
            .iter()
            .map(|combo| {
                let matching = spec_of.iter().enumerate().filter(|&(_, &spec)| has(combo, spec));
                set_of(rules.len(), matching.map(|(rule, _)| rule))
            })
            .collect();
        let answers = answers(&rules, &cell_sets.sets, &by_combo)?;
        Some(Self {
            src_ports,
            dst_ports,
            protocols,
            combos,
            combos_row: dst_sets.sets.len(),
            combos_plane,
            src_tops,
            dst_tops,
            cells,
            cells_row: dst_top_sets.len(),
            combo_count: by_combo.len(),
            answers,
            rules,
        })
    }

    /// The id of the first rule that matches, or [`NONE`].
    #[inline(always)]
    pub(super) fn first(&self, fields: Fields, src_top: u8, dst_top: u8) -> u32 {
        let class = |classes: &[u32; 256], byte: u8| classes[usize::from(byte)] as usize;
        let combo = class(&self.protocols, fields.protocol) * self.combos_plane
            + self.src_ports.class(fields.src_port) * self.combos_row
            + self.dst_ports.class(fields.dst_port);
        let combo = entry(&self.combos, combo, 0) as usize;
        let cell = class(&self.src_tops, src_top) * self.cells_row + class(&self.dst_tops, dst_top);
        let cell = entry(&self.cells, cell, 0) as usize;
        match &self.answers {
            Answers::Table(ids) => entry(ids, cell * self.combo_count + combo, NONE),
            Answers::Bits { words, cells, combos, ids } => {
                let row = |rows: &'_ [u64], row: usize| row * words..(row * words + words).min(rows.len());
                let cell = cells.get(row(cells, cell)).unwrap_or_default();
                let combo = combos.get(row(combos, combo)).unwrap_or_default();
                // From the last word to the first, all of them: no exit that could be mispredicted.
                let mut first = usize::MAX;
                for (number, (cell, combo)) in cell.iter().zip(combo).enumerate().rev() {
                    let both = cell & combo;
                    let found = number * 64 + both.trailing_zeros() as usize;
                    first = select_unpredictable(both == 0, first, found);
                }
                ids.get(first).copied().unwrap_or(NONE)
            }
        }
    }

    /// Whether answers are a table.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn is_table(&self) -> bool {
        matches!(self.answers, Answers::Table(_))
    }

    /// The same for sixteen packets, where the answers are a table.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(super) fn first_of_lanes(
        &self,
        v: Avx512,
        (src_port, dst_port, protocol): (Lanes, Lanes, Lanes),
        (src_top, dst_top): (Lanes, Lanes),
    ) -> Option<Lanes> {
        let Answers::Table(ids) = &self.answers else { return None };
        let zero = v.splat(0);
        let by = |lanes: Lanes, factor: usize| v.multiply(lanes, v.splat(factor as u32));
        let protocol = v.gather(&self.protocols[..], protocol, zero);
        let combo = v.add(
            v.add(
                by(protocol, self.combos_plane),
                by(self.src_ports.classes_of_lanes(v, src_port), self.combos_row),
            ),
            self.dst_ports.classes_of_lanes(v, dst_port),
        );
        let combo = v.gather(&self.combos, combo, zero);
        let src = v.gather(&self.src_tops[..], src_top, zero);
        let dst = v.gather(&self.dst_tops[..], dst_top, zero);
        let cell = v.gather(&self.cells, v.add(by(src, self.cells_row), dst), zero);
        Some(v.gather(ids, v.add(by(cell, self.combo_count), combo), zero))
    }

    /// The same among rules that `skip` does not name, one by one.
    pub(super) fn first_but(&self, fields: Fields, tops: (u8, u8), skip: impl Fn(u32) -> bool) -> u32 {
        let matching =
            self.rules.iter().find(|rule| rule.matches(fields, tops.0, tops.1) && !skip(rule.record.id()));
        matching.map_or(NONE, |rule| rule.record.id())
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let answers = match &self.answers {
            Answers::Table(ids) => size_of_val(&ids[..]),
            Answers::Bits { cells, combos, ids, .. } => {
                size_of_val(&cells[..]) + size_of_val(&combos[..]) + size_of_val(&ids[..])
            }
        };
        size_of::<Self>()
            + size_of_val(&self.rules[..])
            + self.src_ports.memory_bytes()
            + self.dst_ports.memory_bytes()
            + size_of_val(&self.combos[..])
            + size_of_val(&self.cells[..])
            + answers
    }
}

fn answers(rules: &[WideRule], cells: &[Vec<u64>], combos: &[Vec<u64>]) -> Option<Answers> {
    let ids: Vec<u32> = rules.iter().map(|rule| rule.record.id()).collect();
    let words = rules.len().div_ceil(64);
    if cells.len() * combos.len() <= MAX_TABLE {
        let first = |cell: &[u64], combo: &[u64]| {
            let both = cell.iter().zip(combo).map(|(cell, combo)| cell & combo).enumerate();
            let word = both.into_iter().find(|&(_, both)| both != 0);
            let position = word.map(|(number, both)| number * 64 + both.trailing_zeros() as usize);
            position.and_then(|position| ids.get(position)).copied().unwrap_or(NONE)
        };
        let table = cells.iter().flat_map(|cell| combos.iter().map(move |combo| first(cell, combo)));
        return Some(Answers::Table(table.collect()));
    }
    if (cells.len() + combos.len()) * words > MAX_WORDS {
        return None;
    }
    Some(Answers::Bits { words, cells: cells.concat(), combos: combos.concat(), ids })
}
