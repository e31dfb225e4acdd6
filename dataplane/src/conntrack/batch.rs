//! Looking up a batch, level by level, so that the waits for memory overlap.
//!
//! A lookup in a table that does not fit the cache waits twice: for a bucket of the index, then for the entry. Here all
//! tuples of a burst wait for their buckets at the same time, then for their entries. The reads that bring the lines
//! are ordinary loads whose values nobody waits for.

use std::hint::black_box;

use super::cell::Cell;
use super::names::{ConnId, Dir};
use super::table::ConnTable;
use super::tuple::Tuple;

/// Tuples looked up together: about as many lines as a core can wait for.
const BURST: usize = 32;

impl ConnTable {
    /// [`ConnTable::lookup`] for a batch, as many as `tuples` and `found` have in common.
    pub fn lookup_batch(&self, tuples: &[Tuple], found: &mut [Option<(ConnId, Dir)>]) {
        let now = self.now();
        let mut hashes = [0; BURST];
        for (tuples, found) in tuples.chunks(BURST).zip(found.chunks_mut(BURST)) {
            let mut brought = 0;
            for (tuple, hash) in tuples.iter().zip(&mut hashes) {
                *hash = self.hash(tuple);
                brought ^= self.index.touch(*hash);
            }
            for (_, hash) in tuples.iter().zip(&hashes) {
                let place = self.index.first(*hash);
                brought ^= place.and_then(|place| self.cells.get(place)).map_or(0, Cell::touch);
            }
            black_box(brought);
            for ((tuple, hash), found) in tuples.iter().zip(&hashes).zip(found) {
                *found = self.find(*hash, &tuple.key()).and_then(|entry| entry.at(now));
            }
        }
    }
}
