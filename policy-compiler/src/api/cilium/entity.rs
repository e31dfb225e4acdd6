//! Entities: peers that have no labels of their own.

/// A word of `fromEntities` and `toEntities`, and of the label source `reserved`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CiliumEntity {
    /// Everything.
    All,
    /// What is neither pod nor node.
    World,
    /// The same, IPv4 only.
    WorldIpv4,
    /// The same, IPv6 only.
    WorldIpv6,
    /// Pods and nodes.
    Cluster,
    /// The node the subject runs on.
    Host,
    /// The other nodes.
    RemoteNode,
    /// The nodes the API server runs on.
    KubeApiServer,
    /// Cilium's ingress proxies: weir has none.
    Ingress,
    /// Cilium's own health endpoints: weir has none.
    Health,
    /// Endpoints that have no identity yet: weir has none.
    Init,
    /// Pods of somebody else's network: weir has none.
    Unmanaged,
    /// Nobody.
    Nobody,
}

impl CiliumEntity {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::All,
        Self::World,
        Self::WorldIpv4,
        Self::WorldIpv6,
        Self::Cluster,
        Self::Host,
        Self::RemoteNode,
        Self::KubeApiServer,
        Self::Ingress,
        Self::Health,
        Self::Init,
        Self::Unmanaged,
        Self::Nobody,
    ];

    /// As manifests spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::World => "world",
            Self::WorldIpv4 => "world-ipv4",
            Self::WorldIpv6 => "world-ipv6",
            Self::Cluster => "cluster",
            Self::Host => "host",
            Self::RemoteNode => "remote-node",
            Self::KubeApiServer => "kube-apiserver",
            Self::Ingress => "ingress",
            Self::Health => "health",
            Self::Init => "init",
            Self::Unmanaged => "unmanaged",
            Self::Nobody => "none",
        }
    }

    /// The entity of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|entity| entity.name() == name)
    }

    /// Whether there is such a thing in Cilium's cluster but none in weir's.
    pub const fn is_absent(self) -> bool {
        matches!(self, Self::Ingress | Self::Health | Self::Init | Self::Unmanaged)
    }
}
