//! (protocol, port) → port class, in three loads and no branch.
//!
//! Every protocol some rule mentions has a row of 65,536 classes, cut into blocks of 256 of which equal ones are
//! stored once; all others share row 0, which is class 0 throughout. ICMP's port is `type << 8 | code`. The same
//! table serves destination and source ports.

use ahash::AHashMap;
use std::collections::BTreeMap;

const BLOCK: usize = 1 << 8;

#[derive(Debug, Clone)]
pub(crate) struct PortTable {
    /// Where each protocol's row of `top` starts.
    row_of: Box<[u32; 256]>,
    /// Start of the block of each (row, high byte).
    top: Vec<u32>,
    blocks: Vec<u16>,
}

/// Bytes of the largest table there can be for this many protocols: nothing shared.
pub(crate) const fn max_bytes(protocols: usize) -> usize {
    256 * 4 + BLOCK * 2 + (protocols + 1) * BLOCK * 4 + protocols * (1 << 16) * 2
}

impl PortTable {
    /// `classes`: per protocol the class of every port; where ports are missing, and for protocols that are: 0.
    pub(crate) fn new(classes: &BTreeMap<u8, Vec<u16>>) -> Self {
        let mut table = Self { row_of: Box::new([0; 256]), top: vec![0; BLOCK], blocks: vec![0; BLOCK] };
        let mut known: AHashMap<Vec<u16>, u32> = AHashMap::from([(vec![0; BLOCK], 0)]);
        for (&protocol, classes) in classes {
            if let Some(row) = table.row_of.get_mut(usize::from(protocol)) {
                *row = u32::try_from(table.top.len()).unwrap_or(0);
            }
            for high in 0..BLOCK {
                let block = classes
                    .get(high * BLOCK..(high + 1) * BLOCK)
                    .map_or_else(|| vec![0; BLOCK], <[u16]>::to_vec);
                let start = *known.entry(block).or_insert_with_key(|block| {
                    let start = u32::try_from(table.blocks.len()).unwrap_or(u32::MAX);
                    table.blocks.extend(block);
                    start
                });
                table.top.push(start);
            }
        }
        table.blocks.shrink_to_fit();
        table
    }

    /// The class. `None` only for a table that is damaged.
    #[inline]
    pub(crate) fn lookup(&self, protocol: u8, port: u16) -> Option<u16> {
        let row = self.row_of[usize::from(protocol)] as usize;
        let start = *self.top.get(row + usize::from(port >> 8))?;
        self.blocks.get(start as usize + usize::from(port & 0xff)).copied()
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.row_of) + self.top.len() * 4 + self.blocks.len() * 2
    }
}

#[cfg(test)]
mod tests {
    use super::{PortTable, max_bytes};
    use std::collections::BTreeMap;

    #[test]
    fn every_port_finds_its_class() {
        let mut tcp = vec![0_u16; 1 << 16];
        tcp[80] = 1;
        tcp[8000..=8100].fill(2);
        tcp[65535] = 3;
        let gre = vec![4_u16; 1 << 16];
        let table = PortTable::new(&BTreeMap::from([(6, tcp.clone()), (47, gre)]));
        for port in 0..=u16::MAX {
            assert_eq!(table.lookup(6, port), tcp.get(usize::from(port)).copied());
            assert_eq!(table.lookup(17, port), Some(0));
            assert_eq!(table.lookup(47, port), Some(4));
            assert_eq!(table.lookup(255, port), Some(0));
        }
        assert!(table.memory_bytes() < 8192 && table.memory_bytes() < max_bytes(2));
    }
}
