//! Looking up a batch, level by level, so that the waits for memory overlap.
//!
//! A lookup in a table that does not fit the cache waits twice: for a bucket of the index, then for the entry. Here all
//! tuples of a burst wait for their buckets at the same time, then for their entries.

use crate::sys::huge::prefetch;

use super::names::{ConnId, Dir};
use super::table::{ConnTable, Found};
use super::tuple::Tuple;

/// Tuples looked up together: about as many lines as a core can wait for.
const BURST: usize = 32;

impl ConnTable {
    /// [`ConnTable::lookup`] for a batch, as many as `tuples` and `found` have in common.
    pub fn lookup_batch(&self, tuples: &[Tuple], found: &mut [Option<(ConnId, Dir)>]) {
        let now = self.now();
        let (mut hashes, mut candidates) = ([0; BURST], [None; BURST]);
        for (tuples, found) in tuples.chunks(BURST).zip(found.chunks_mut(BURST)) {
            for (tuple, hash) in tuples.iter().zip(&mut hashes) {
                *hash = self.hash(tuple);
                self.index.bring(*hash);
            }
            for ((_, hash), candidate) in tuples.iter().zip(&hashes).zip(&mut candidates) {
                *candidate = self.index.first(*hash).and_then(|(place, dir)| {
                    let cell = self.cells.get(place)?;
                    prefetch(cell);
                    prefetch(cell.addresses());
                    Some((cell, place, dir))
                });
            }
            for (((tuple, hash), candidate), found) in tuples.iter().zip(&hashes).zip(&candidates).zip(found)
            {
                *found = candidate.and_then(|(cell, place, dir)| {
                    let key = tuple.key();
                    let found = match cell.find(&key, dir) {
                        Some((serial, state)) => Found { place, dir, serial, state },
                        // Another key with the same tag, one in four billion, or it has just ended.
                        None => self.find(*hash, &key)?,
                    };
                    found.at(now)
                });
            }
        }
    }
}
