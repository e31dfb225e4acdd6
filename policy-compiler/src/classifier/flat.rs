//! The engine of the packet path: address → identity, port → class, `matrix[row][identity]` → cell,
//! `cell[class]` → verdict. Constant time whatever the number of rules; no hashing, no branch per rule.
//!
//! Built by `lower`, which resolves tiers, order and actions; nothing of them is left here. What is lost on
//! the way is only what no rule can tell apart. The property tests hold it equal to `linear` and to
//! `semantics::reference`. A position outside a table (only a damaged one has it) denies.

use super::Classifier;
use super::key::{Key, RuleId, Verdict};
use super::port_table::PortTable;
use super::trie::Trie;
use crate::model::{Action, Direction};
use std::net::IpAddr;

/// Keys looked up level by level, so that their loads overlap.
const BURST: usize = 32;
const DENY: u32 = 1 << 31;

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

/// A pod's rows and its own addresses (none if it is cut off: then even these are denied).
#[derive(Debug, Clone)]
pub(crate) struct FlatSubject {
    pub(crate) own: [Option<IpAddr>; 2],
    pub(crate) egress: u32,
    pub(crate) ingress: u32,
}

/// The tables. Bytes: 256 KiB and 1 KiB per block for each trie, up to 388 KiB for ports, 4 per row and
/// identity, 4 per class of each distinct cell.
#[derive(Debug)]
pub(crate) struct Flat {
    pub(crate) subjects: Vec<FlatSubject>,
    pub(crate) v4: Trie,
    pub(crate) v6: Trie,
    pub(crate) ports: PortTable,
    /// Identities, the width of a row of `matrix`.
    pub(crate) identities: usize,
    /// Start of a cell in `cells`, by row and identity.
    pub(crate) matrix: Vec<u32>,
    /// Packed verdicts by class, cell after cell.
    pub(crate) cells: Vec<u32>,
    /// Rule ids of a pod talking to itself: egress, ingress.
    pub(crate) self_traffic: [RuleId; 2],
}

impl Flat {
    #[inline]
    fn identity(&self, address: IpAddr) -> Option<u32> {
        match address {
            IpAddr::V4(address) => self.v4.lookup(address.octets()),
            IpAddr::V6(address) => self.v6.lookup(address.octets()),
        }
    }

    /// Where the cell of a pair starts, or the verdict that needs none.
    #[inline]
    fn cell(&self, key: &Key, identity: Option<u32>) -> Result<usize, Verdict> {
        let subject = self.subjects.get(key.subject.0 as usize).ok_or(Verdict::UNKNOWN_SUBJECT)?;
        let (row, own_rule) = match key.direction {
            Direction::Egress => (subject.egress, self.self_traffic[0]),
            Direction::Ingress => (subject.ingress, self.self_traffic[1]),
        };
        if subject.own.contains(&Some(key.remote())) {
            return Err(Verdict { action: Action::Allow, rule: own_rule });
        }
        identity
            .and_then(|identity| (row as usize).checked_mul(self.identities)?.checked_add(identity as usize))
            .and_then(|position| self.matrix.get(position))
            .map(|&start| start as usize)
            .ok_or(Verdict::UNKNOWN_SUBJECT)
    }

    #[inline]
    fn verdict(&self, cell: Result<usize, Verdict>, class: Option<u16>) -> Verdict {
        match cell {
            Err(verdict) => verdict,
            Ok(start) => class
                .and_then(|class| self.cells.get(start + usize::from(class)))
                .map_or(Verdict::UNKNOWN_SUBJECT, |&packed| unpack(packed)),
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
            + self.matrix.len() * 4
            + self.cells.len() * 4
            + self.subjects.len() * size_of::<FlatSubject>()
    }

    fn name(&self) -> &'static str {
        "flat"
    }
}
