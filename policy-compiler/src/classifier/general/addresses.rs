//! From addresses to classes: what both families' tables have in common.

use super::prefixes::Run;

/// A table from addresses of one family to classes, made from runs.
pub(super) trait AddressTable: Sized + std::fmt::Debug + Send + Sync {
    /// An address; the default one only fills empty places.
    type Address: Copy + Default;

    /// The table of runs that cover the space, ascending from 0.
    fn new(runs: &[Run]) -> Self;

    /// The bytes it would take.
    fn bytes(runs: &[Run]) -> usize;

    /// Classes of a burst, level by level.
    fn classes<const N: usize>(&self, addresses: &[Self::Address; N]) -> [u32; N];

    /// The first byte.
    fn top(address: Self::Address) -> u8;

    fn memory_bytes(&self) -> usize;
}
