//! What the node of a bench lacks, where packets are to end for want of it.

/// One thing at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lack {
    /// Nothing: the node forwards.
    #[default]
    Nothing,
    /// A generation.
    Generation,
    /// The client's pod in the state.
    Pod,
    /// That the client's port is the one that serves its pod: another was attached before it.
    FirstPort,
    /// The server's port.
    ServerPort,
    /// The server's MAC.
    ServerMac,
    /// An underlay address of the peer.
    PeerAddress,
    /// The MAC of the next hop to the peer, on an underlay of frames.
    NextHop,
    /// Room for another connection.
    Room,
    /// A share of the connections that is not used up.
    Share,
}
