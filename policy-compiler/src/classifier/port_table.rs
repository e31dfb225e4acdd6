//! (protocol, destination port) → port class, in two loads.
//!
//! TCP, UDP and SCTP have a table of 65,536 classes each, cut into blocks of 256 of which equal ones are stored
//! once. Class 0 is what no rule's port list mentions, and every protocol without ports.

use crate::model::Protocol;
use ahash::AHashMap;

const BLOCK: usize = 1 << 8;

#[derive(Debug)]
pub(crate) struct PortTable {
    /// Start of the block of each (protocol, high byte).
    top: Vec<u32>,
    blocks: Vec<u16>,
}

/// Bytes of the largest table there can be: nothing shared.
pub(crate) const MAX_BYTES: usize = 3 * (BLOCK * 4 + (1 << 16) * 2);

impl PortTable {
    /// `classes`: per protocol, in the order of [`Protocol::WITH_PORTS`], the class of every port; an empty list is
    /// class 0 throughout.
    pub(crate) fn new(classes: &[Vec<u16>; 3]) -> Self {
        let mut table = Self { top: Vec::with_capacity(3 * BLOCK), blocks: Vec::new() };
        let mut known: AHashMap<Vec<u16>, u32> = AHashMap::new();
        for protocol in classes {
            for high in 0..BLOCK {
                let block = protocol
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
        let base = match Protocol::new(protocol) {
            Protocol::TCP => 0,
            Protocol::UDP => BLOCK,
            Protocol::SCTP => 2 * BLOCK,
            _ => return Some(0),
        };
        let start = *self.top.get(base + usize::from(port >> 8))?;
        self.blocks.get(start as usize + usize::from(port & 0xff)).copied()
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.top.len() * 4 + self.blocks.len() * 2
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_BYTES, PortTable};

    #[test]
    fn every_port_finds_its_class() {
        let mut tcp = vec![0_u16; 1 << 16];
        tcp[80] = 1;
        tcp[8000..=8100].fill(2);
        tcp[65535] = 3;
        let table = PortTable::new(&[tcp.clone(), Vec::new(), Vec::new()]);
        for port in 0..=u16::MAX {
            assert_eq!(table.lookup(6, port), tcp.get(usize::from(port)).copied());
            assert_eq!(table.lookup(17, port), Some(0));
            assert_eq!(table.lookup(1, port), Some(0));
        }
        assert!(table.memory_bytes() < 8192 && table.memory_bytes() < MAX_BYTES);
    }
}
