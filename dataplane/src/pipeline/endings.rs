//! What became of single packets, for tools that look at each of them: replays, traces.
//!
//! Off unless asked for ([`Pipeline::note_endings`]): a worker counts and never looks at single packets. Frames are
//! known by their [tag](crate::buffer::Frame::tag). Every packet taken in has one entry per pass, in the order of its
//! batch; one that is held has another when it is set free or given up.

use policy_compiler::Verdict;

use super::Pipeline;
use super::packet::{Fate, Packet};
use crate::drop_reason::DropReason;

/// How a packet ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Passed on; the frames that left carry its tag, unless it was joined to the segment before it and left under the
    /// tag of the first. No segments are joined for a port that takes no super-packets.
    Forwarded,
    /// Answered by weir itself.
    Answered,
    /// Waits for the first fragment of its datagram.
    Held,
    /// Dropped.
    Dropped(DropReason),
}

/// A packet that ended, or is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// The frame's tag.
    pub tag: u64,
    /// How.
    pub ending: Ending,
    /// What the classifier said to egress and ingress; nothing where it was not asked: the packet of an open
    /// connection, or one that ended before.
    pub judged: [Option<Verdict>; 2],
}

impl Ended {
    pub(super) fn of(packet: &Packet) -> Self {
        let ending = match packet.fate {
            Fate::Forwarded => Ending::Forwarded,
            Fate::Answered => Ending::Answered,
            Fate::Held => Ending::Held,
            Fate::Dropped(reason) => Ending::Dropped(reason),
            // Counted so by the sweep.
            Fate::Live => Ending::Dropped(DropReason::NoRoute),
        };
        Self { tag: packet.tag, ending, judged: packet.judged }
    }
}

impl Pipeline {
    /// Begins to note what becomes of each packet.
    pub fn note_endings(&mut self) {
        self.endings.get_or_insert_default();
    }

    /// What was noted since the last call.
    pub fn drain_endings(&mut self) -> impl Iterator<Item = Ended> {
        self.endings.iter_mut().flat_map(|endings| endings.drain(..))
    }
}
