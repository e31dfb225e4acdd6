//! Who reaches whom: every pair of ends, and what is open between them.
//!
//! Cost: pairs × families × stretches of ports, two lookups each in batches; or the ports asked for in place of
//! stretches. Memory: four bytes per pair, for what is open between few pairs is different.

use super::end::{End, EndKind};
use super::judge::Judge;
use super::owner::Roster;
use super::ports::{PortSpace, Range};
use super::reach::{Reach, ranges_in_words};
use super::sweep::{Mask, Sweep};
use super::transport::Transport;
use crate::model::Protocol;
use ahash::AHashMap;
use serde::ser::{SerializeMap, SerializeSeq, SerializeStruct};
use serde::{Serialize, Serializer};
use std::fmt;

/// What becomes of connections to a port that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PortVerdict {
    /// They are allowed.
    Allow,
    /// They are denied.
    Deny,
    /// They are allowed from these source ports alone.
    FromSources(Vec<(u16, u16)>),
}

impl PortVerdict {
    fn new(all: bool, sources: Vec<Range>) -> Self {
        match sources[..] {
            [] => Self::Deny,
            _ if all => Self::Allow,
            _ => Self::FromSources(sources),
        }
    }
}

impl fmt::Display for PortVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allow => f.write_str("allow"),
            Self::Deny => f.write_str("deny"),
            Self::FromSources(sources) => write!(f, "source ports {}", ranges_in_words(sources)),
        }
    }
}

/// What is open between two ends in one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// Everything that is open.
    Open(Reach),
    /// What becomes of the ports asked for, in their order.
    Ports(Vec<PortVerdict>),
}

/// One pair, in one address family.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'m> {
    /// Who connects.
    pub src: &'m End,
    /// To whom.
    pub dst: &'m End,
    /// 4 or 6.
    pub family: u8,
    /// What is open.
    pub cell: &'m Cell,
    ports: &'m [Transport],
}

/// Positions in [`Matrix::cells`] by family; none where the pair has no such family, or is not judged.
type Shade = [Option<u32>; 2];

/// All pairs.
#[derive(Debug, Clone)]
pub struct Matrix {
    /// The ends, in the order of rows and columns.
    pub ends: Vec<End>,
    /// The ports asked for; none: all of them.
    pub ports: Vec<Transport>,
    /// Protocols of which what is open may depend on the source port.
    pub by_source: Vec<Protocol>,
    /// Position in `shades`, row by row.
    pairs: Vec<u32>,
    shades: Vec<Shade>,
    cells: Vec<Cell>,
}

/// The matrix of these ends: with `ports` a verdict for each of them, without what is open at all. `done` is told
/// after each row how many of them are done.
pub fn matrix(judge: &Judge, ends: Vec<End>, ports: Vec<Transport>, mut done: impl FnMut(usize)) -> Matrix {
    let (space, columns) = if ports.is_empty() {
        (PortSpace::new(&[judge]), Vec::new())
    } else {
        PortSpace::of_ports(&[judge], &ports)
    };
    let mut builder = Builder {
        sweep: Sweep::new(judge),
        known_cells: AHashMap::new(),
        known_shades: AHashMap::new(),
        mask: Mask::default(),
        cells: Vec::new(),
        shades: Vec::new(),
        space: &space,
        columns: &columns,
        ports: ports.len(),
    };
    let mut pairs = Vec::with_capacity(ends.len().saturating_mul(ends.len()));
    for (row, src) in ends.iter().enumerate() {
        for dst in &ends {
            pairs.push(builder.pair(src, dst));
        }
        done(row + 1);
    }
    let (cells, shades) = (builder.cells, builder.shades);
    Matrix { by_source: space.by_source().collect(), ends, ports, pairs, shades, cells }
}

struct Builder<'s> {
    sweep: Sweep<'s>,
    space: &'s PortSpace,
    /// With ports: which of them each stretch is of.
    columns: &'s [usize],
    ports: usize,
    known_cells: AHashMap<Mask, u32>,
    known_shades: AHashMap<Shade, u32>,
    cells: Vec<Cell>,
    shades: Vec<Shade>,
    mask: Mask,
}

impl Builder<'_> {
    fn pair(&mut self, src: &End, dst: &End) -> u32 {
        let judged = [src, dst].iter().any(|end| matches!(end.kind, EndKind::Pod(_)));
        let shade = [4, 6].map(|family| {
            let (source, destination) = (src.address(family)?, dst.address(family)?);
            judged.then(|| {
                let samples = self.space.samples(family);
                self.sweep.ask((src, source), (dst, destination), samples);
                self.mask.reset(samples.len());
                for stretch in (0..samples.len()).filter(|&stretch| self.sweep.allows(stretch)) {
                    self.mask.set(stretch);
                }
                self.cell()
            })
        });
        let shades = &mut self.shades;
        *self.known_shades.entry(shade).or_insert_with(|| {
            shades.push(shade);
            number(shades.len() - 1)
        })
    }

    /// The number of the cell that `mask` says.
    fn cell(&mut self) -> u32 {
        if let Some(&known) = self.known_cells.get(&self.mask) {
            return known;
        }
        let cell = if self.ports == 0 {
            Cell::Open(self.space.reach(|stretch| self.mask.has(stretch)))
        } else {
            let verdict = |port| {
                let of = |stretch: usize| self.columns.get(stretch) == Some(&port);
                let all = (0..self.columns.len()).all(|stretch| !of(stretch) || self.mask.has(stretch));
                PortVerdict::new(all, self.space.sources(|stretch| of(stretch) && self.mask.has(stretch)))
            };
            Cell::Ports((0..self.ports).map(verdict).collect())
        };
        self.cells.push(cell);
        let id = number(self.cells.len() - 1);
        self.known_cells.insert(self.mask.clone(), id);
        id
    }
}

/// Distinct cells are never as many as this could not number: each takes more memory than its number.
fn number(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}

impl Matrix {
    /// What tells the pair from others: equal numbers, equal cells in both families.
    pub fn shade(&self, src: usize, dst: usize) -> Option<u32> {
        if dst >= self.ends.len() {
            return None;
        }
        self.pairs.get(src.checked_mul(self.ends.len())?.checked_add(dst)?).copied()
    }

    /// What is open in a shade, by family: 4, 6.
    pub fn cells(&self, shade: u32) -> [Option<&Cell>; 2] {
        let shade = self.shades.get(shade as usize).copied().unwrap_or_default();
        shade.map(|cell| self.cells.get(cell? as usize))
    }

    /// The ends at these positions in few words: whole namespaces and all replicas of an owner by one word each.
    pub fn name(&self, positions: &[usize]) -> String {
        Roster::new(&self.ends).name(positions)
    }

    /// Pairs at least one of which is a pod, once for each family that both ends have.
    pub fn pairs(&self) -> impl Iterator<Item = Pair<'_>> {
        let rows = self.ends.iter().zip(self.pairs.chunks(self.ends.len().max(1)));
        rows.flat_map(|(src, row)| row.iter().zip(&self.ends).map(move |(&shade, dst)| (src, dst, shade)))
            .flat_map(move |(src, dst, shade)| {
                let families = [4, 6].into_iter().zip(self.cells(shade));
                families.filter_map(move |(family, cell)| {
                    Some(Pair { src, dst, family, cell: cell?, ports: &self.ports })
                })
            })
    }
}

impl Serialize for Pair<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Ports<'p>(&'p [Transport], &'p [PortVerdict]);
        impl Serialize for Ports<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut map = serializer.serialize_map(None)?;
                for (port, verdict) in self.0.iter().zip(self.1) {
                    map.serialize_entry(&port.to_string(), &verdict.to_string())?;
                }
                map.end()
            }
        }
        let mut pair = serializer.serialize_struct("Pair", 4)?;
        pair.serialize_field("src", &self.src.name)?;
        pair.serialize_field("dst", &self.dst.name)?;
        pair.serialize_field("family", &self.family)?;
        match self.cell {
            Cell::Open(open) => pair.serialize_field("open", open)?,
            Cell::Ports(verdicts) => pair.serialize_field("ports", &Ports(self.ports, verdicts))?,
        }
        pair.end()
    }
}

impl Serialize for Matrix {
    /// `ends`, `ports`, with source ports that matter `by_source`, and `pairs`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Pairs<'m>(&'m Matrix);
        impl Serialize for Pairs<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut list = serializer.serialize_seq(None)?;
                for pair in self.0.pairs() {
                    list.serialize_element(&pair)?;
                }
                list.end()
            }
        }
        let mut matrix = serializer.serialize_struct("Matrix", 4)?;
        matrix.serialize_field("ends", &self.ends.iter().map(|end| &end.name).collect::<Vec<_>>())?;
        matrix.serialize_field("ports", &self.ports.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        if !self.by_source.is_empty() {
            let protocols: Vec<String> = self.by_source.iter().map(ToString::to_string).collect();
            matrix.serialize_field("by_source", &protocols)?;
        }
        matrix.serialize_field("pairs", &Pairs(self))?;
        matrix.end()
    }
}
