//! What the table tells its caller: why a packet was refused, what an update did, what happened so far.

use crate::drop_reason::DropReason;

/// Why no entry was made. The packet has to be dropped, never passed untracked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InsertError {
    /// The packet may not open a connection, or one of its keys is taken.
    #[error("packet may not open a connection")]
    Invalid,
    /// Every entry is taken by an established connection.
    #[error("connection table full")]
    Full,
    /// The owner's quota is taken by its established connections.
    #[error("connection quota of the endpoint used up")]
    Quota,
    /// Both places of a key are taken.
    #[error("too many connections in one hash bucket")]
    BucketFull,
}

impl From<InsertError> for DropReason {
    fn from(error: InsertError) -> Self {
        match error {
            InsertError::Invalid => Self::ConntrackInvalid,
            InsertError::Full => Self::ConntrackFull,
            InsertError::Quota => Self::ConntrackQuota,
            InsertError::BucketFull => Self::ConntrackBucketFull,
        }
    }
}

/// The packet does not fit its connection; nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("packet does not fit its connection")]
pub struct Invalid;

impl From<Invalid> for DropReason {
    fn from(_: Invalid) -> Self {
        Self::ConntrackInvalid
    }
}

/// What an update did beside taking in the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Updated {
    /// The packet, of the original direction, began a new connection in the place of one that was over. It has to be
    /// judged as the packet that opens it, and the entry removed if that is denied.
    pub reopened: bool,
}

/// What happened since the table was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConntrackStats {
    /// Connections opened.
    pub inserted: u64,
    /// Connections opened in the place of one that was over.
    pub reopened: u64,
    /// Ended by their timeout.
    pub expired: u64,
    /// Removed on demand.
    pub removed: u64,
    /// Evicted before they were established.
    pub evicted_unreplied: u64,
    /// Evicted when they were over.
    pub evicted_closed: u64,
    /// Packets that fitted no state, or might not open a connection.
    pub invalid: u64,
    /// Connections refused because the table was full.
    pub refused_full: u64,
    /// Connections refused because their owner's quota was used up.
    pub refused_quota: u64,
    /// Connections refused because a hash bucket was full.
    pub refused_bucket: u64,
}

impl ConntrackStats {
    pub(super) fn add(&mut self, other: &Self) {
        // Named one by one, so that a new counter cannot be left out.
        let Self {
            inserted,
            reopened,
            expired,
            removed,
            evicted_unreplied,
            evicted_closed,
            invalid,
            refused_full,
            refused_quota,
            refused_bucket,
        } = other;
        self.inserted += inserted;
        self.reopened += reopened;
        self.expired += expired;
        self.removed += removed;
        self.evicted_unreplied += evicted_unreplied;
        self.evicted_closed += evicted_closed;
        self.invalid += invalid;
        self.refused_full += refused_full;
        self.refused_quota += refused_quota;
        self.refused_bucket += refused_bucket;
    }
}
