//! (protocol, port) → port class, in two loads and no branch.
//!
//! Every protocol some rule mentions has 65,536 classes, cut into blocks of 256 of which equal ones are stored once; all
//! others share block 0, which is class 0 throughout. ICMP's port is `type << 8 | code`. The same table serves destination
//! and source ports. 256 KiB, of which lookups touch the lines of the protocols there are, and 1 KiB for each block.

use ahash::AHashMap;
use std::collections::BTreeMap;

const BLOCK: usize = 1 << 8;
const TOP: usize = 1 << 16;

#[derive(Debug, Clone)]
pub(crate) struct PortTable {
    /// Start of the block of each (protocol, high byte).
    pub(crate) top: Vec<u32>,
    pub(crate) blocks: Vec<u32>,
}

/// Bytes of the largest table there can be for this many protocols: nothing shared.
pub(crate) const fn max_bytes(protocols: usize) -> usize {
    (TOP + BLOCK + protocols * (1 << 16)) * 4
}

impl PortTable {
    /// `classes`: per protocol the class of every port; where ports are missing, and for protocols that are: 0.
    pub(crate) fn new(classes: &BTreeMap<u8, Vec<u16>>) -> Self {
        let mut table = Self { top: vec![0; TOP], blocks: vec![0; BLOCK] };
        let mut known: AHashMap<Vec<u16>, u32> = AHashMap::from([(vec![0; BLOCK], 0)]);
        for (&protocol, classes) in classes {
            let row = usize::from(protocol) * BLOCK;
            for (high, top) in table.top.iter_mut().skip(row).take(BLOCK).enumerate() {
                let block = classes
                    .get(high * BLOCK..(high + 1) * BLOCK)
                    .map_or_else(|| vec![0; BLOCK], <[u16]>::to_vec);
                *top = *known.entry(block).or_insert_with_key(|block| {
                    let start = u32::try_from(table.blocks.len()).unwrap_or(u32::MAX);
                    table.blocks.extend(block.iter().copied().map(u32::from));
                    start
                });
            }
        }
        table.blocks.shrink_to_fit();
        table
    }

    /// The class. `None` only for a table that is damaged.
    #[inline]
    pub(crate) fn lookup(&self, protocol: u8, port: u16) -> Option<u32> {
        let start = *self.top.get(usize::from(protocol) << 8 | usize::from(port >> 8))?;
        self.blocks.get(start as usize + usize::from(port & 0xff)).copied()
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        (self.top.len() + self.blocks.len()) * 4
    }
}

#[cfg(test)]
mod tests {
    use super::{BLOCK, PortTable, TOP, max_bytes};
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
            assert_eq!(table.lookup(6, port), tcp.get(usize::from(port)).copied().map(u32::from));
            assert_eq!(table.lookup(17, port), Some(0));
            assert_eq!(table.lookup(47, port), Some(4));
            assert_eq!(table.lookup(255, port), Some(0));
        }
        assert!(table.memory_bytes() < (TOP + 6 * BLOCK) * 4 && table.memory_bytes() < max_bytes(2));
    }
}
