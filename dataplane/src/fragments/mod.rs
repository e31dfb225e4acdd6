//! Virtual reassembly: policy for fragments, which forwards them as they are.
//!
//! Only the first fragment of a datagram has the transport header that policy and connection tracking need. The
//! pipeline shows it to [`FragTable::first`] with what it read there (`L`, opaque to the table), and every other
//! fragment to [`FragTable::later`], which gives that back. A later fragment that comes before the first is held
//! until that comes, within hard bounds, as it occupies packet memory. No byte is copied or put together.
//!
//! # What kills a datagram
//! Fragments that overlap, or contradict each other about where the datagram ends (RFC 1858, 3128, 5722;
//! RFC 8200 section 4.5): what follows, and what is held, is dropped until the entry's time is up, so that no
//! second transport header can replace the one that was judged. RFC 5722 forbids any overlap; as an exception
//! for networks that duplicate packets, a fragment with exactly the range of an earlier one is dropped alone
//! (whichever bytes it holds: the receiver never sees two versions). A datagram beyond 65,535 bytes, or of more
//! than 64 fragments, is killed too. Whether the first fragment holds the whole transport header is for the
//! parser to see to.
//!
//! # Bounds
//! All set at construction ([`FragConfig`]): datagrams and held frames in all, for each in-port (half of all),
//! for each source behind a port (an eighth and a quarter), and held for each datagram. When one is reached
//! the *newest* is dropped, so that a flood costs others nothing. About 350 bytes a datagram, allocated at
//! once. A datagram's entry goes when all of it has passed, or 30 s after its first sight (not prolonged by
//! further fragments). A fragment costs one hash lookup and a walk over the at most 64 ranges seen.
//!
//! # Threads
//! All workers share one table ([`FragTable`] is a handle of it), behind a lock that only fragments take: the kernel picks
//! a worker for each packet, by ports too where it finds them, and only the first fragment has them.
//!
//! # Known weaknesses
//! An identification that comes back within 30 s while the earlier datagram is incomplete (IPv4, fast senders,
//! loss) meets the earlier one's entry, as it would in the receiver, and may be dropped for overlap.

mod ranges;
mod shared;
mod shares;
mod table;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use shared::FragTable;
pub use table::{FragConfig, FragKey, Later};
