//! The objects the compiler is fed, and how they are named.

use super::diagnostic::{Diagnostic, Origin};
use super::meta::Meta;
use super::namespace::Namespace;
use super::network_policy::NetworkPolicy;
use super::node::Node;
use super::pod::Pod;
use std::fmt;

/// The kinds of objects weir uses. Others are skipped and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// v1 Namespace.
    Namespace,
    /// v1 Node.
    Node,
    /// v1 Pod.
    Pod,
    /// networking.k8s.io/v1 NetworkPolicy.
    NetworkPolicy,
}

impl Kind {
    /// The kind as manifests spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace",
            Self::Node => "Node",
            Self::Pod => "Pod",
            Self::NetworkPolicy => "NetworkPolicy",
        }
    }

    /// The `apiVersion` this release reads.
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::NetworkPolicy => "networking.k8s.io/v1",
            Self::Namespace | Self::Node | Self::Pod => "v1",
        }
    }

    /// Whether objects of this kind live in a namespace.
    pub const fn is_namespaced(self) -> bool {
        matches!(self, Self::Pod | Self::NetworkPolicy)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What identifies an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; empty where the kind has none.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            return write!(f, "{} {}", self.kind, self.name);
        }
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// An object of the cluster, as far as weir reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Object {
    /// A namespace.
    Namespace(Namespace),
    /// A node.
    Node(Node),
    /// A pod.
    Pod(Pod),
    /// A network policy.
    NetworkPolicy(NetworkPolicy),
}

impl Object {
    /// The metadata every object has.
    pub fn meta(&self) -> &Meta {
        match self {
            Self::Namespace(object) => &object.meta,
            Self::Node(object) => &object.meta,
            Self::Pod(object) => &object.meta,
            Self::NetworkPolicy(object) => &object.meta,
        }
    }

    pub(super) fn meta_mut(&mut self) -> &mut Meta {
        match self {
            Self::Namespace(object) => &mut object.meta,
            Self::Node(object) => &mut object.meta,
            Self::Pod(object) => &mut object.meta,
            Self::NetworkPolicy(object) => &mut object.meta,
        }
    }

    /// Kind, namespace and name.
    pub fn key(&self) -> &ObjectKey {
        &self.meta().key
    }

    /// Where the object was read.
    pub fn origin(&self) -> &Origin {
        &self.meta().origin
    }

    /// The UID the API server gave it; empty in hand-written manifests.
    pub fn uid(&self) -> &str {
        &self.meta().uid
    }

    /// What was wrong with it when it was read. Also part of [`super::ParseOutput::diagnostics`].
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.meta().diagnostics
    }
}
