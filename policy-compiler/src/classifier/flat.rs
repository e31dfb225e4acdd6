//! The engine of the packet path: address → identity, port → class, `matrix[row][identity]` → cell,
//! `cell[class]` → verdict. Constant time whatever the number of rules; no hashing, no branch per rule.
//!
//! A row is what a subject's policies say in one direction to one address family. Where the answer also depends on the
//! source port, or on whether the address is the subject's own node, the matrix holds no cell but a *fan*: a cell
//! per (own node or not, source class). That is the one branch, and sets without such rules never take it but for
//! a node's own addresses.
//!
//! Built by `lower`, which resolves tiers, order and actions; nothing of them is left here. What is lost on
//! the way is only what no rule can tell apart. The property tests hold it equal to `linear` and to
//! `semantics::reference`. A position outside a table (only a damaged one has it) denies.

use super::Classifier;
use super::burst::unpack;
use super::chunks::Chunks;
use super::key::{Key, Pair, PairVerdict, Verdict};
use super::matrix::Matrix;
use super::port_table::PortTable;
use super::trie::Trie;
use crate::cluster::SubjectId;
use crate::model::Direction;
use std::net::IpAddr;
use std::sync::Arc;

/// Keys looked up level by level, so that their loads overlap.
const BURST: usize = 32;
/// An entry of the matrix that is the number of a fan, not of a cell.
pub(crate) const FAN: u32 = 1 << 31;

/// The identity, class or cell of what is not there: beyond all others, so that it denies.
const NOWHERE: u32 = u32::MAX;

/// A pod's rows, its node, and its own addresses (none if it is cut off: then even these are denied).
#[derive(Debug, Clone)]
pub(crate) struct FlatSubject {
    own_v4: Option<u32>,
    own_v6: Option<u128>,
    /// By direction (egress, ingress) and family (IPv4, IPv6).
    pub(crate) rows: [u32; 4],
    /// Position in [`Flat::nodes`].
    node: u32,
}

impl FlatSubject {
    /// `own`: at most one address per family.
    pub(crate) fn new(own: &[IpAddr], rows: [u32; 4], node: u32) -> Self {
        let mut subject = Self { own_v4: None, own_v6: None, rows, node };
        for address in own.iter().rev() {
            match address {
                IpAddr::V4(address) => subject.own_v4 = Some(address.to_bits()),
                IpAddr::V6(address) => subject.own_v6 = Some(address.to_bits()),
            }
        }
        subject
    }

    #[inline]
    fn owns(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.own_v4 == Some(address.to_bits()),
            IpAddr::V6(address) => self.own_v6 == Some(address.to_bits()),
        }
    }
}

/// Source ports, where some rule asks for them.
#[derive(Debug, Clone)]
pub(crate) struct Sources {
    pub(crate) table: PortTable,
    /// How many classes there are.
    pub(crate) classes: usize,
}

/// The tables. Bytes: 256 KiB and 1 KiB per block for each trie, up to 130 KiB per protocol for ports, what
/// [`Matrix`] says, 4 per class of each distinct cell and fan. A copy shares them: the next generation is made from one.
#[derive(Debug, Clone)]
pub(crate) struct Flat {
    pub(crate) subjects: Arc<Vec<FlatSubject>>,
    /// The own addresses of every node that subjects run on, sorted.
    pub(crate) nodes: Arc<Vec<Vec<IpAddr>>>,
    pub(crate) v4: Trie,
    pub(crate) v6: Trie,
    pub(crate) ports: Arc<PortTable>,
    pub(crate) sources: Option<Arc<Sources>>,
    /// A cell, or a fan in `fans`, by row and identity.
    pub(crate) matrix: Matrix,
    /// Cells by source class: for other addresses, then for those of the own node.
    pub(crate) fans: Chunks,
    /// Packed verdicts by class, cell after cell.
    pub(crate) cells: Chunks,
    /// Classes of a cell.
    pub(crate) stride: usize,
    /// Cells of a pod talking to itself: egress, ingress.
    pub(crate) self_traffic: [u32; 2],
}

impl Flat {
    /// [`NOWHERE`] only for a table that is damaged.
    #[inline]
    fn identity(&self, address: IpAddr) -> u32 {
        let identity = match address {
            IpAddr::V4(address) => self.v4.lookup_v4(address.octets()),
            IpAddr::V6(address) => self.v6.lookup_v6(address.octets()),
        };
        identity.unwrap_or(NOWHERE)
    }

    #[inline]
    fn class(&self, protocol: u8, port: u16) -> u32 {
        self.ports.lookup(protocol, port).map_or(NOWHERE, u32::from)
    }

    /// The cell of a subject and an identity, in a direction.
    #[inline]
    fn cell(&self, side: usize, subject: SubjectId, remote: IpAddr, identity: u32, l4: L4) -> u32 {
        let Some(subject) = self.subjects.get(subject.0 as usize) else { return NOWHERE };
        if subject.owns(remote) {
            return self.self_traffic[side];
        }
        let row = subject.rows[side * 2 + usize::from(remote.is_ipv6())];
        match self.matrix.get(row, identity) {
            None => NOWHERE,
            Some(entry) if entry & FAN == 0 => entry,
            Some(entry) => self.fan(l4, subject.node, remote, (entry & !FAN) as usize).unwrap_or(NOWHERE),
        }
    }

    /// The cell of a pair that depends on more than the identity.
    #[inline(never)]
    fn fan(&self, (protocol, src_port): L4, node: u32, remote: IpAddr, fan: usize) -> Option<u32> {
        let (class, classes) = match &self.sources {
            Some(sources) => (sources.table.lookup(protocol, src_port)?, sources.classes),
            None => (0, 1),
        };
        let own = self.nodes.get(node as usize).is_some_and(|own| own.binary_search(&remote).is_ok());
        self.fans.get((fan * 2 + usize::from(own)) * classes + usize::from(class))
    }

    #[inline]
    fn verdict(&self, cell: u32, class: u32) -> Verdict {
        // 32 bits times at most 16 leave room for 32 more.
        let position = u64::from(cell) * self.stride as u64 + u64::from(class);
        self.cells.read(position as usize).map_or(Verdict::UNKNOWN_SUBJECT, unpack)
    }
}

/// Protocol and source port.
type L4 = (u8, u16);

const fn side(direction: Direction) -> usize {
    match direction {
        Direction::Egress => 0,
        Direction::Ingress => 1,
    }
}

impl Classifier for Flat {
    fn classify(&self, key: &Key) -> Verdict {
        let remote = key.remote();
        let class = self.class(key.protocol, key.dst_port);
        let l4 = (key.protocol, key.src_port);
        self.verdict(self.cell(side(key.direction), key.subject, remote, self.identity(remote), l4), class)
    }

    fn classify_batch(&self, keys: &[Key], out: &mut [Verdict]) {
        for (keys, out) in keys.chunks(BURST).zip(out.chunks_mut(BURST)) {
            let mut identities = [NOWHERE; BURST];
            let mut classes = [NOWHERE; BURST];
            let mut cells = [NOWHERE; BURST];
            for (identity, key) in identities.iter_mut().zip(keys) {
                *identity = self.identity(key.remote());
            }
            for (class, key) in classes.iter_mut().zip(keys) {
                *class = self.class(key.protocol, key.dst_port);
            }
            for ((cell, &identity), key) in cells.iter_mut().zip(&identities).zip(keys) {
                let l4 = (key.protocol, key.src_port);
                *cell = self.cell(side(key.direction), key.subject, key.remote(), identity, l4);
            }
            // Zipped with the keys as well, so that answers without a key stay as they were.
            for (((verdict, &cell), &class), _) in out.iter_mut().zip(&cells).zip(&classes).zip(keys) {
                *verdict = self.verdict(cell, class);
            }
        }
    }

    fn classify_pairs(&self, pairs: &[Pair], out: &mut [PairVerdict]) {
        for (pairs, out) in pairs.chunks(BURST).zip(out.chunks_mut(BURST)) {
            let mut identities = [[NOWHERE; 2]; BURST];
            let mut classes = [NOWHERE; BURST];
            let mut cells = [[NOWHERE; 2]; BURST];
            for (identities, pair) in identities.iter_mut().zip(pairs) {
                // Each end is judged by who the other one is.
                *identities = [self.identity(pair.dst), self.identity(pair.src)];
            }
            for (class, pair) in classes.iter_mut().zip(pairs) {
                *class = self.class(pair.protocol, pair.dst_port);
            }
            for ((cells, identities), pair) in cells.iter_mut().zip(&identities).zip(pairs) {
                let l4 = (pair.protocol, pair.src_port);
                if let Some(subject) = pair.source {
                    cells[0] = self.cell(0, subject, pair.dst, identities[0], l4);
                }
                if let Some(subject) = pair.destination {
                    cells[1] = self.cell(1, subject, pair.src, identities[1], l4);
                }
            }
            for (((verdict, &[egress, ingress]), &class), pair) in
                out.iter_mut().zip(&cells).zip(&classes).zip(pairs)
            {
                *verdict = PairVerdict {
                    egress: pair.source.map(|_| self.verdict(egress, class)),
                    ingress: pair.destination.map(|_| self.verdict(ingress, class)),
                };
            }
        }
    }

    fn memory_bytes(&self) -> usize {
        self.v4.memory_bytes()
            + self.v6.memory_bytes()
            + self.ports.memory_bytes()
            + self.sources.as_ref().map_or(0, |sources| sources.table.memory_bytes())
            + self.matrix.memory_bytes()
            + self.fans.memory_bytes()
            + self.cells.memory_bytes()
            + self.subjects.len() * size_of::<FlatSubject>()
            + self.nodes.iter().map(|own| size_of_val(&own[..])).sum::<usize>()
    }

    fn name(&self) -> &'static str {
        "flat"
    }
}
