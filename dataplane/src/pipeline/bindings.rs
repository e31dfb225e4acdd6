//! Which port is whose: the tie between a worker's ports and the pods of the generation in force.
//!
//! A port is bound to a pod by name. Whether that pod exists is a question to the generation, so the
//! endpoint behind each port is looked up anew when either side changes ([`Bindings::rebind`]), never per packet.

use policy_compiler::PodName;
use vxlan::mac::Mac;

use crate::ports::Capabilities;
use crate::tables::{EndpointIndex, Generation};

/// Number of a port in its worker: its place in the table. A place is used again after a detach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortId(pub u32);

/// What stands behind a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// A pod of this node.
    Pod(PodName),
    /// The node itself, and through it everything outside the cluster.
    Node,
    /// The underlay, as UDP datagrams: frames begin at the VXLAN header and carry their outer addresses.
    UnderlayDatagram,
    /// The underlay, as whole Ethernet frames of which weir builds the outer headers.
    UnderlayFrame,
}

/// A port as the pipeline knows it.
#[derive(Debug, Clone)]
pub struct Binding {
    /// The port.
    pub id: PortId,
    /// What stands behind it.
    pub role: Role,
    /// The MAC at the other end, once it is known.
    pub mac: Option<Mac>,
    /// Largest IP packet it takes, in bytes.
    pub mtu: u16,
    /// What its sending side takes as it is.
    pub capabilities: Capabilities,
    /// The pod behind it in the generation in force.
    pub endpoint: Option<EndpointIndex>,
}

/// All ports of a worker, by id.
#[derive(Debug, Default)]
pub struct Bindings {
    slots: Vec<Option<Binding>>,
    by_endpoint: Vec<Option<usize>>,
    node: Option<usize>,
    underlay: Option<usize>,
}

impl Bindings {
    /// Adds a port, whatever id it carries, and gives it its own; call [`Bindings::rebind`] afterwards.
    pub fn add(&mut self, mut binding: Binding) -> PortId {
        let slot = self.slots.iter().position(Option::is_none).unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        let id = PortId(slot as u32);
        binding.id = id;
        if let Some(place) = self.slots.get_mut(slot) {
            *place = Some(binding);
        }
        id
    }

    /// Takes a port out; call [`Bindings::rebind`] afterwards.
    pub fn remove(&mut self, id: PortId) -> Option<Binding> {
        self.slots.get_mut(id.0 as usize)?.take()
    }

    /// Ties the ports to the pods of `generation`. Where two ports are bound to one pod the one added first has it.
    pub fn rebind(&mut self, generation: Option<&Generation>) {
        self.by_endpoint.clear();
        self.by_endpoint.resize(generation.map_or(0, |generation| generation.endpoints.len()), None);
        self.node = None;
        self.underlay = None;
        for (slot, binding) in self.slots.iter_mut().enumerate() {
            let Some(binding) = binding else { continue };
            binding.endpoint = None;
            match &binding.role {
                Role::Pod(name) => {
                    let endpoint = generation.and_then(|generation| generation.endpoint_named(name));
                    let place = endpoint.and_then(|index| self.by_endpoint.get_mut(index as usize));
                    if let Some(place) = place.filter(|place| place.is_none()) {
                        *place = Some(slot);
                        binding.endpoint = endpoint;
                    }
                }
                Role::Node => self.node = Some(slot),
                Role::UnderlayDatagram | Role::UnderlayFrame => self.underlay = Some(slot),
            }
        }
    }

    /// The port with this id.
    pub fn get(&self, id: PortId) -> Option<&Binding> {
        self.slots.get(id.0 as usize)?.as_ref()
    }

    /// The port with this id, to be changed.
    pub fn get_mut(&mut self, id: PortId) -> Option<&mut Binding> {
        self.slots.get_mut(id.0 as usize)?.as_mut()
    }

    /// The port of a pod.
    pub fn of_endpoint(&self, endpoint: EndpointIndex) -> Option<&Binding> {
        let slot = (*self.by_endpoint.get(endpoint as usize)?)?;
        self.slots.get(slot)?.as_ref()
    }

    /// The port of the node.
    pub fn node(&self) -> Option<&Binding> {
        self.slots.get(self.node?)?.as_ref()
    }

    /// The underlay's port.
    pub fn underlay(&self) -> Option<&Binding> {
        self.slots.get(self.underlay?)?.as_ref()
    }

    /// All ports.
    pub fn iter(&self) -> impl Iterator<Item = &Binding> {
        self.slots.iter().flatten()
    }
}
