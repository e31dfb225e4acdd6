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
use super::chunks::Chunks;
use super::key::{Key, RuleId, Verdict};
use super::matrix::Matrix;
use super::port_table::PortTable;
use super::trie::Trie;
use crate::model::{Action, Direction};
use std::net::IpAddr;
use std::sync::Arc;

/// Keys looked up level by level, so that their loads overlap.
const BURST: usize = 32;
const DENY: u32 = 1 << 31;
/// An entry of the matrix that is the number of a fan, not of a cell.
pub(crate) const FAN: u32 = 1 << 31;

/// Puts a verdict into 32 bits.
pub(crate) const fn pack(action: Action, rule: RuleId) -> u32 {
    match action {
        Action::Allow => rule.0 & !DENY,
        Action::Deny => rule.0 | DENY,
    }
}

const fn unpack(packed: u32) -> Verdict {
    let action = if packed & DENY == 0 { Action::Allow } else { Action::Deny };
    Verdict { action, rule: RuleId(packed & !DENY) }
}

/// A pod's rows, its node, and its own addresses (none if it is cut off: then even these are denied).
#[derive(Debug, Clone)]
pub(crate) struct FlatSubject {
    pub(crate) own: [Option<IpAddr>; 2],
    /// By direction (egress, ingress) and family (IPv4, IPv6).
    pub(crate) rows: [u32; 4],
    /// Position in [`Flat::nodes`].
    pub(crate) node: u32,
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
    /// Rule ids of a pod talking to itself: egress, ingress.
    pub(crate) self_traffic: [RuleId; 2],
}

impl Flat {
    #[inline]
    fn identity(&self, address: IpAddr) -> Option<u32> {
        match address {
            IpAddr::V4(address) => self.v4.lookup_v4(address.octets()),
            IpAddr::V6(address) => self.v6.lookup_v6(address.octets()),
        }
    }

    /// Where the cell of a pair starts, or the verdict that needs none.
    #[inline]
    fn cell(&self, key: &Key, identity: Option<u32>) -> Result<usize, Verdict> {
        let subject = self.subjects.get(key.subject.0 as usize).ok_or(Verdict::UNKNOWN_SUBJECT)?;
        let (side, remote) = match key.direction {
            Direction::Egress => (0, key.dst),
            Direction::Ingress => (1, key.src),
        };
        if subject.own.contains(&Some(remote)) {
            return Err(Verdict { action: Action::Allow, rule: self.self_traffic[side] });
        }
        let row = subject.rows[side * 2 + usize::from(remote.is_ipv6())];
        let entry = identity.and_then(|identity| self.matrix.get(row, identity));
        let entry = entry.ok_or(Verdict::UNKNOWN_SUBJECT)?;
        if entry & FAN == 0 {
            return Ok(entry as usize * self.stride);
        }
        self.fan(key, subject, remote, (entry & !FAN) as usize).ok_or(Verdict::UNKNOWN_SUBJECT)
    }

    /// The cell of a pair that depends on more than the identity.
    #[inline(never)]
    fn fan(&self, key: &Key, subject: &FlatSubject, remote: IpAddr, fan: usize) -> Option<usize> {
        let (class, classes) = match &self.sources {
            Some(sources) => (sources.table.lookup(key.protocol, key.src_port)?, sources.classes),
            None => (0, 1),
        };
        let own = self.nodes.get(subject.node as usize).is_some_and(|own| own.binary_search(&remote).is_ok());
        let place = (fan * 2 + usize::from(own)) * classes + usize::from(class);
        self.fans.get(place).map(|cell| cell as usize * self.stride)
    }

    #[inline]
    fn verdict(&self, cell: Result<usize, Verdict>, class: Option<u16>) -> Verdict {
        match cell {
            Err(verdict) => verdict,
            Ok(start) => class
                .and_then(|class| self.cells.get(start + usize::from(class)))
                .map_or(Verdict::UNKNOWN_SUBJECT, unpack),
        }
    }
}

impl Classifier for Flat {
    fn classify(&self, key: &Key) -> Verdict {
        let identity = self.identity(key.remote());
        let class = self.ports.lookup(key.protocol, key.dst_port);
        self.verdict(self.cell(key, identity), class)
    }

    fn classify_batch(&self, keys: &[Key], out: &mut [Verdict]) {
        for (keys, out) in keys.chunks(BURST).zip(out.chunks_mut(BURST)) {
            let mut identities = [None; BURST];
            let mut classes = [None; BURST];
            let mut cells = [Err(Verdict::UNKNOWN_SUBJECT); BURST];
            for (identity, key) in identities.iter_mut().zip(keys) {
                *identity = self.identity(key.remote());
            }
            for (class, key) in classes.iter_mut().zip(keys) {
                *class = self.ports.lookup(key.protocol, key.dst_port);
            }
            for ((cell, &identity), key) in cells.iter_mut().zip(&identities).zip(keys) {
                *cell = self.cell(key, identity);
            }
            // Zipped with the keys as well, so that answers without a key stay as they were.
            for (((verdict, &cell), &class), _) in out.iter_mut().zip(&cells).zip(&classes).zip(keys) {
                *verdict = self.verdict(cell, class);
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
