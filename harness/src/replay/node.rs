//! The node of a replay: what `weir run` would be on it, from a directory of manifests, without its interfaces.
//!
//! Identity, settings and generation come from the same code as in the daemon. What only a live host knows is
//! made up, once and for all: MACs of the underlay and of pods (those that CNI plugins derive from the address).

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use dataplane::config::Config;
use dataplane::node::{Identity, configured_addresses, settings, vteps};
use dataplane::pipeline::Settings;
use dataplane::state::read_once;
use dataplane::tables::{EndpointIds, Generation};
use policy_compiler::{ByAddress, Compiler, Diagnostic, OnInvalid, Options, PodName, Scope};
use vxlan::mac::Mac;

use super::ReplayError;

/// MTU of the underlay where no configuration names one.
const UNDERLAY_MTU: u16 = 1500;

/// Ceiling of the classifier's tables.
const MEMORY_CEILING: usize = 4 << 30;

/// One state as one node sees it.
pub struct NodeState {
    /// The directory it was read from.
    pub directory: String,
    /// What packets are judged and forwarded by.
    pub generation: Arc<Generation>,
    /// Pods of the whole cluster, by address.
    pub pods: ByAddress<PodName>,
    /// What was remarked about the manifests.
    pub warnings: Vec<Diagnostic>,
    /// MTU of pods and of the node's port.
    pub pod_mtu: u16,
    pub(super) settings: Settings,
}

impl NodeState {
    /// Reads `directory` for the node called `name`, with the daemon's configuration file where there is one.
    ///
    /// # Errors
    /// Whatever `weir run` would refuse: the configuration, an object, a node that does not say what it is.
    pub fn load(directory: &Path, name: &str, config: Option<&Path>) -> Result<Self, ReplayError> {
        let mut config = if let Some(file) = config {
            Config::load(file)?
        } else {
            // A JSON string is a YAML string, whatever is in the name.
            let name = serde_json::Value::from(name);
            Config::parse(&format!("node: {name}\n"), Path::new("--node"))?
        };
        name.clone_into(&mut config.node);
        // No interface of this host is asked.
        config.underlay.mtu.get_or_insert(UNDERLAY_MTU);

        let changes = read_once(directory, OnInvalid::Refuse).map_err(ReplayError::State)?;
        let options = Options {
            node_addresses: configured_addresses(&config),
            memory_ceiling: MEMORY_CEILING,
            ..Options::default()
        };
        let mut compiler = Compiler::new(options);
        for object in changes.upserts {
            compiler.upsert(object);
        }
        let compiled = compiler.compile(&Scope::Node(config.node.clone())).map_err(ReplayError::State)?;
        let identity = Identity::resolve(&config, &compiled.cluster)?;
        let peers = vteps(&compiled.cluster, &config.node);
        let mut own = identity.own;
        own.underlay_mac = Mac([0x02, 0x57, 0, 0, 0, 1]);
        for (number, peer) in (2_u32..).zip(&peers) {
            let [_, high, mid, low] = number.to_be_bytes();
            let mac = Mac([0x02, 0x57, 0, high, mid, low]);
            let addresses = [peer.underlay_v4.map(IpAddr::V4), peer.underlay_v6.map(IpAddr::V6)];
            own.underlay_neighbours.extend(addresses.into_iter().flatten().map(|address| (address, mac)));
        }
        let generation = Generation::new(1, &compiled, own, peers, &mut EndpointIds::default())?;
        let mut warnings = changes.warnings;
        warnings.extend(compiled.warnings.iter().cloned());
        Ok(Self {
            directory: directory.display().to_string(),
            generation: Arc::new(generation),
            pods: compiled.cluster.pod_addresses,
            warnings,
            pod_mtu: identity.pod_mtu,
            settings: settings(&config),
        })
    }

    /// The VXLAN network.
    pub fn vni(&self) -> vxlan::Vni {
        self.settings.vni
    }

    /// The UDP port VXLAN is spoken on.
    pub fn vxlan_port(&self) -> u16 {
        self.settings.vxlan_port
    }

    /// Who has an address, for people: a pod's name, `node`, or the address alone.
    pub fn name_of(&self, address: IpAddr) -> String {
        match self.pods.get(&address) {
            Some(pod) => pod.to_string(),
            None if self.generation.own.addresses.contains(&address) => format!("node ({address})"),
            None => address.to_string(),
        }
    }
}

/// The MAC of a pod: `0a:58` and its IPv4 address, as the bridge plugin has it, or its number where it has none.
pub(super) fn pod_mac(addresses: &[IpAddr], number: u32) -> Mac {
    let v4 = addresses.iter().find_map(|address| match address {
        IpAddr::V4(address) => Some(address.octets()),
        IpAddr::V6(_) => None,
    });
    let [a, b, c, d] = v4.unwrap_or(number.to_be_bytes());
    Mac([0x0a, if v4.is_some() { 0x58 } else { 0x59 }, a, b, c, d])
}
