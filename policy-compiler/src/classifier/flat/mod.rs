//! The engine of the packet path: address → identity, port → class, `matrix[row][identity]` → cell,
//! `cell[class]` → verdict. Constant time whatever the number of rules; no hashing, no branch per rule.
//!
//! A row is what a subject's policies say in one direction to one address family. Where the answer also depends on the
//! source port, or on whether the address is the subject's own node, the matrix holds no cell but a *fan*: a cell
//! per (own node or not, source class). That is the one branch, and sets without such rules never take it but for
//! a node's own addresses.
//!
//! Every table is one array, and a generation's arrays are made from those of the one before (see `Draft`). Bursts are
//! looked up level by level, so that loads overlap (`steps`).
//!
//! Built by `lower`, which resolves tiers, order and actions; nothing of them is left here. What is lost on
//! the way is only what no rule can tell apart. The property tests hold it equal to `linear` and to
//! `semantics::reference`. A position outside a table (only a damaged one has it) denies.

mod steps;
mod subjects;

use super::Classifier;
use super::answer::{UNKNOWN, unpack, verdicts};
use super::burst::PairBurst;
use super::group::{Group, LANES};
use super::key::{Key, Pair, PairVerdict, Verdict};
use super::matrix::MatrixTable;
use super::port_table::PortTable;
use super::trie::TrieTable;
use crate::model::Direction;
use std::net::IpAddr;
use std::sync::Arc;
use steps::{Family, Steps};
pub(crate) use subjects::{FlatSubject, Subjects};

/// Keys looked up level by level, so that their loads overlap.
const BURST: usize = 32;
/// An entry of the matrix that is the number of a fan, not of a cell.
pub(crate) const FAN: u32 = 1 << 31;

/// The identity, class or cell of what is not there: beyond all others, so that it denies.
const NOWHERE: u32 = u32::MAX;

/// Source ports, where some rule asks for them.
#[derive(Debug, Clone)]
pub(crate) struct Sources {
    pub(crate) table: PortTable,
    /// How many classes there are.
    pub(crate) classes: usize,
}

/// The tables. Bytes: 256 KiB and 1 KiB per block for each trie, 256 KiB and 1 KiB per block for ports, what
/// [`MatrixTable`] says, 4 per class of each distinct cell and fan, 96 per subject.
#[derive(Debug, Clone)]
pub(crate) struct Flat {
    pub(crate) subjects: Arc<Subjects>,
    /// The own addresses of every node that subjects run on, sorted.
    pub(crate) nodes: Arc<Vec<Vec<IpAddr>>>,
    pub(crate) v4: TrieTable,
    pub(crate) v6: TrieTable,
    pub(crate) ports: Arc<PortTable>,
    pub(crate) sources: Option<Arc<Sources>>,
    /// A cell, or a fan in `fans`, by row and identity.
    pub(crate) matrix: MatrixTable,
    /// Cells by source class: for other addresses, then for those of the own node.
    pub(crate) fans: Arc<Vec<u32>>,
    /// Packed verdicts by class, cell after cell.
    pub(crate) cells: Arc<Vec<u32>>,
    /// Classes of a cell.
    pub(crate) stride: usize,
    /// Cells of a pod talking to itself: egress, ingress.
    pub(crate) self_traffic: [u32; 2],
}

/// What a lookup goes through, for one end of a connection.
#[derive(Clone, Copy)]
struct End {
    subject: u32,
    remote: IpAddr,
    /// Of the remote address.
    identity: u32,
    class: u32,
    protocol: u8,
    src_port: u16,
}

impl Flat {
    /// Without subjects, identities and verdicts.
    pub(crate) fn new(
        nodes: Vec<Vec<IpAddr>>,
        ports: PortTable,
        sources: Option<Arc<Sources>>,
        stride: usize,
    ) -> Self {
        Self {
            subjects: Arc::default(),
            nodes: Arc::new(nodes),
            v4: TrieTable::empty(),
            v6: TrieTable::empty(),
            ports: Arc::new(ports),
            sources,
            matrix: MatrixTable::default(),
            fans: Arc::default(),
            cells: Arc::default(),
            stride,
            self_traffic: [NOWHERE; 2],
        }
    }

    /// [`NOWHERE`] only for a table that is damaged.
    #[inline]
    fn identity(&self, address: IpAddr) -> u32 {
        let identity = match address {
            IpAddr::V4(address) => self.v4.view().and_then(|trie| trie.lookup_v4(address.to_bits())),
            IpAddr::V6(address) => self.v6.view().and_then(|trie| trie.lookup_v6(address.to_bits())),
        };
        identity.unwrap_or(NOWHERE)
    }

    #[inline]
    fn class(&self, protocol: u8, port: u16) -> u32 {
        self.ports.lookup(protocol, port).unwrap_or(NOWHERE)
    }

    /// The verdict at one end, in a word.
    #[inline]
    fn word(&self, side: usize, end: &End) -> u32 {
        self.verdict(self.cell(side, end), end.class)
    }

    /// The cell at one end.
    #[inline]
    fn cell(&self, side: usize, end: &End) -> u32 {
        let Some(subject) = self.subjects.get(end.subject) else { return NOWHERE };
        if subject.owns(end.remote) {
            return self.self_traffic[side];
        }
        let row = subject.rows[side * 2 + usize::from(end.remote.is_ipv6())];
        match self.matrix.get(row, end.identity) {
            None => NOWHERE,
            Some(entry) if entry & FAN == 0 => entry,
            Some(entry) => self.fan(end, subject.node, (entry & !FAN) as usize).unwrap_or(NOWHERE),
        }
    }

    /// The cell of a pair that depends on more than the identity.
    #[inline(never)]
    fn fan(&self, end: &End, node: u32, fan: usize) -> Option<u32> {
        let (class, classes) = match &self.sources {
            Some(sources) => (sources.table.lookup(end.protocol, end.src_port)?, sources.classes),
            None => (0, 1),
        };
        let own = self.nodes.get(node as usize).is_some_and(|own| own.binary_search(&end.remote).is_ok());
        self.fans.get((fan * 2 + usize::from(own)) * classes + class as usize).copied()
    }

    #[inline]
    fn verdict(&self, cell: u32, class: u32) -> u32 {
        // 32 bits times at most 16 leave room for 32 more.
        let position = u64::from(cell) * self.stride as u64 + u64::from(class);
        self.cells.get(position as usize).copied().unwrap_or(UNKNOWN)
    }

    /// One end of a connection of a group, whatever counts.
    #[cold]
    fn word_of<A: Family>(
        &self,
        side: usize,
        group: &Group<A>,
        lane: usize,
        identity: u32,
        class: u32,
    ) -> u32 {
        let (subject, remote) = group.end(side, lane);
        let (protocol, src_port) = ((group.l4[lane] >> 16) as u8, group.src_port[lane]);
        self.word(side, &End { subject, remote: remote.into().0, identity, class, protocol, src_port })
    }

    fn judge_pair(&self, pair: &Pair) -> PairVerdict {
        let [egress, ingress] =
            Direction::ALL.map(|direction| pair.key(direction).map(|key| self.classify(&key)));
        PairVerdict { egress, ingress }
    }
}

const fn side(direction: Direction) -> usize {
    match direction {
        Direction::Egress => 0,
        Direction::Ingress => 1,
    }
}

/// The answers to a group.
fn answer<A: Family>(group: &Group<A>, out: &mut [PairVerdict]) {
    for (lane, verdict) in out.iter_mut().enumerate().take(LANES) {
        *verdict = verdicts([group.words[0][lane], group.words[1][lane]]);
    }
}

impl Classifier for Flat {
    fn classify(&self, key: &Key) -> Verdict {
        let remote = key.remote();
        let class = self.class(key.protocol, key.dst_port);
        let (protocol, src_port) = (key.protocol, key.src_port);
        let end = End {
            subject: key.subject.0,
            remote,
            identity: self.identity(remote),
            class,
            protocol,
            src_port,
        };
        unpack(self.word(side(key.direction), &end))
    }

    fn classify_batch(&self, keys: &[Key], out: &mut [Verdict]) {
        for (keys, out) in keys.chunks(BURST).zip(out.chunks_mut(BURST)) {
            let mut identities = [NOWHERE; BURST];
            let mut classes = [NOWHERE; BURST];
            for (identity, key) in identities.iter_mut().zip(keys) {
                *identity = self.identity(key.remote());
            }
            for (class, key) in classes.iter_mut().zip(keys) {
                *class = self.class(key.protocol, key.dst_port);
            }
            for (((verdict, &identity), &class), key) in
                out.iter_mut().zip(&identities).zip(&classes).zip(keys)
            {
                let (protocol, src_port) = (key.protocol, key.src_port);
                let (subject, remote) = (key.subject.0, key.remote());
                let end = End { subject, remote, identity, class, protocol, src_port };
                *verdict = unpack(self.word(side(key.direction), &end));
            }
        }
    }

    fn classify_pairs(&self, pairs: &[Pair], out: &mut [PairVerdict]) {
        let steps = Steps::new(self);
        for (pairs, out) in pairs.chunks(LANES).zip(out.chunks_mut(LANES)) {
            let count = pairs.len().min(out.len());
            let out = out.get_mut(..count).unwrap_or_default();
            let (mut v4, mut v6) = (Group::<u32>::new(), Group::<u128>::new());
            for pair in pairs {
                match (pair.src, pair.dst) {
                    (IpAddr::V4(src), IpAddr::V4(dst)) => v4.push(pair, src.to_bits(), dst.to_bits()),
                    (IpAddr::V6(src), IpAddr::V6(dst)) => v6.push(pair, src.to_bits(), dst.to_bits()),
                    _ => {}
                }
            }
            match &steps {
                Some(steps) if v4.used == pairs.len() => {
                    steps.judge(&mut v4);
                    answer(&v4, out);
                }
                Some(steps) if v6.used == pairs.len() => {
                    steps.judge(&mut v6);
                    answer(&v6, out);
                }
                _ => {
                    for (pair, verdict) in pairs.iter().zip(out) {
                        *verdict = self.judge_pair(pair);
                    }
                }
            }
        }
    }

    fn classify_burst(&self, burst: &mut PairBurst) {
        let Some(steps) = Steps::new(self) else {
            burst.judge_each(|pair| self.judge_pair(pair));
            return;
        };
        for group in burst.v4() {
            steps.judge(group);
        }
        for group in burst.v6() {
            steps.judge(group);
        }
        burst.judge_mixed(|pair| self.judge_pair(pair));
    }

    fn memory_bytes(&self) -> usize {
        self.v4.memory_bytes()
            + self.v6.memory_bytes()
            + self.ports.memory_bytes()
            + self.sources.as_ref().map_or(0, |sources| sources.table.memory_bytes())
            + self.matrix.memory_bytes()
            + (self.fans.len() + self.cells.len()) * 4
            + self.subjects.memory_bytes()
            + self.nodes.iter().map(|own| size_of_val(&own[..])).sum::<usize>()
    }

    fn name(&self) -> &'static str {
        "flat"
    }
}
