//! What entries, directions and owners are called.

/// Names an entry of the table: its place, and which of the connections that ever stood there it is. A name
/// outlives its connection without harm: it then leads nowhere, never to another connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnId {
    pub(super) index: u32,
    pub(super) serial: u32,
}

/// Which way a packet goes, seen from the packet that opened the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dir {
    /// As the opening packet.
    Original,
    /// Against it.
    Reply,
}

impl Dir {
    /// The other direction.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Original => Self::Reply,
            Self::Reply => Self::Original,
        }
    }

    pub(super) const fn index(self) -> usize {
        self as usize
    }
}

/// Whose connection it is: the stable number of an endpoint attached here, or [`Owner::NONE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner(pub u32);

impl Owner {
    /// An end that is not here: on another node, or outside.
    pub const NONE: Self = Self(u32::MAX);
}
