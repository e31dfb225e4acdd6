//! The outcome of counting a packet's TTL or hop limit down.

/// What became of the TTL.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum Ttl {
    /// It is one less, and the packet may go on.
    Decremented,
    /// It would have become zero (or there was no header to change). The packet is untouched and may not go on.
    Expired,
}
