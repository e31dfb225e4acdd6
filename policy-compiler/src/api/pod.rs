//! v1 Pod: labels, node, addresses, phase and named ports. Everything else of a pod is ignored.

use super::meta::{Meta, RawMeta};
use super::reader::{Reader, as_integer};
use super::syntax::parse_address;
use super::tree::{Entry, Node, Value};
use super::words::{quoted, shortened};
use std::net::IpAddr;

/// `status.phase`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Not all containers have started; also what a manifest without status has. Counts as live.
    Pending,
    /// Running.
    Running,
    /// All containers have ended well; no longer an endpoint.
    Succeeded,
    /// All containers have ended; no longer an endpoint.
    Failed,
    /// The node cannot be asked. Counts as live.
    Unknown,
}

/// The fields of `spec` that weir reads; none of the others is spelled much like one of them.
const SPEC_FIELDS: [&str; 6] =
    ["nodeName", "hostNetwork", "serviceAccountName", "serviceAccount", "containers", "initContainers"];
/// Addresses kept of a pod that claims more than it may.
const MAX_ADDRESSES: usize = 16;
const PHASES: [&str; 5] = ["Pending", "Running", "Succeeded", "Failed", "Unknown"];

/// A named container port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NamedPort {
    /// Its name.
    pub name: String,
    /// IANA protocol number: 6, 17 or 132.
    pub protocol: u8,
    /// The port.
    pub port: u16,
}

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Name and labels.
    pub meta: Meta,
    /// `spec.nodeName`; empty while not scheduled.
    pub node_name: String,
    /// `spec.hostNetwork`: invisible to selectors; its traffic is its node's.
    pub host_network: bool,
    /// `spec.serviceAccountName`, else `spec.serviceAccount`; `default` where both are missing or empty.
    pub service_account: String,
    /// `status.phase`.
    pub phase: Phase,
    /// Whether `metadata.deletionTimestamp` is set. The pod stays an endpoint until it is finished or gone.
    pub deleting: bool,
    /// `status.podIPs`, else `status.podIP`: at most one per family in a valid pod.
    pub pod_ips: Vec<IpAddr>,
    /// Named ports of containers and of init containers that keep running (sidecars), sorted, without repeats.
    pub named_ports: Vec<NamedPort>,
}

impl Pod {
    /// Succeeded or Failed: its address may already be another pod's.
    pub fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Succeeded | Phase::Failed)
    }

    /// Whether policies can select it, as subject or as peer, once it has an address.
    pub fn is_endpoint(&self) -> bool {
        !self.host_network && !self.is_finished()
    }
}

impl Pod {
    /// Notes that nothing of it is certain: it may be live, and an endpoint.
    pub(super) fn doubt(&mut self) {
        self.phase = Phase::Unknown;
        self.host_network = false;
    }

    pub(crate) fn read<'t>(reader: &mut Reader<'t>, raw: RawMeta<'_>, entries: &'t [Entry]) -> Self {
        let mut pod = Self {
            meta: raw.meta,
            node_name: String::new(),
            host_network: false,
            service_account: "default".to_owned(),
            phase: Phase::Pending,
            deleting: raw.deleting,
            pod_ips: Vec::new(),
            named_ports: Vec::new(),
        };
        reader.field(entries, "spec", |reader, node| pod.read_spec(reader, node));
        reader.field(entries, "status", |reader, node| pod.read_status(reader, node));
        pod.named_ports.sort();
        pod.named_ports.dedup();
        pod
    }

    fn read_spec<'t>(&mut self, reader: &mut Reader<'t>, node: &'t Node) {
        let Some(spec) = reader.mapping(node) else { return };
        reader.refuse_misspelled(spec, &SPEC_FIELDS, &[]);
        if let Some(Some(name)) = reader.field(spec, "nodeName", Reader::string) {
            name.clone_into(&mut self.node_name);
        }
        if let Some(Some(host_network)) = reader.field(spec, "hostNetwork", Reader::boolean) {
            self.host_network = host_network;
        }
        let account = |reader: &mut Reader<'t>, name| {
            let account = reader.field(spec, name, Reader::string).flatten();
            account.filter(|account| !account.is_empty())
        };
        let named = account(reader, "serviceAccountName");
        // The name it had before; the API server still fills in both.
        let deprecated = account(reader, "serviceAccount");
        if let (Some(named), Some(other)) = (named, deprecated)
            && named != other
        {
            reader.field(spec, "serviceAccount", |reader, node| {
                let message = format!("{} beside serviceAccountName {}", quoted(other), quoted(named));
                let expected = "both to be the same, or serviceAccountName alone";
                reader.error(node.mark, message, expected);
            });
        }
        if let Some(account) = named.or(deprecated) {
            account.clone_into(&mut self.service_account);
        }
        reader.field(spec, "containers", |reader, node| {
            reader.each(node, |reader, node| self.read_container(reader, node));
        });
        reader.field(spec, "initContainers", |reader, node| {
            reader.each(node, |reader, node| {
                // Only an init container that keeps running beside the others serves its ports.
                if node.child("restartPolicy").and_then(Node::text) == Some("Always") {
                    self.read_container(reader, node);
                }
            });
        });
    }

    fn read_container<'t>(&mut self, reader: &mut Reader<'t>, node: &'t Node) {
        let Some(container) = reader.mapping(node) else { return };
        reader.field(container, "ports", |reader, node| {
            reader.each(node, |reader, node| {
                let Some(entries) = reader.mapping(node) else { return };
                let others = ["hostPort", "hostIP"];
                reader.refuse_misspelled(entries, &["name", "containerPort", "protocol"], &others);
                // Ports without a name play no part in policies.
                let Some(Some(name)) = reader.field(entries, "name", Reader::string) else { return };
                let protocol = reader.field(entries, "protocol", read_protocol).unwrap_or(Some(6));
                let port = reader.field(entries, "containerPort", read_port);
                if port.is_none() {
                    reader.error(node.mark, format!("the port {} has no containerPort", quoted(name)), "");
                }
                if let (Some(protocol), Some(Some(port))) = (protocol, port) {
                    self.named_ports.push(NamedPort { name: name.to_owned(), protocol, port });
                }
            });
        });
    }

    fn read_status<'t>(&mut self, reader: &mut Reader<'t>, node: &'t Node) {
        let Some(status) = reader.mapping(node) else { return };
        reader.refuse_misspelled(status, &["phase", "podIP", "podIPs"], &["hostIP", "hostIPs"]);
        reader.field(status, "phase", |reader, node| {
            self.phase = match reader.string(node) {
                Some("Running") => Phase::Running,
                Some("Succeeded") => Phase::Succeeded,
                Some("Failed") => Phase::Failed,
                Some("Unknown") => Phase::Unknown,
                Some("Pending" | "") | None => Phase::Pending,
                Some(other) => {
                    reader.unknown_word(node.mark, other, "a phase", &PHASES);
                    Phase::Unknown
                }
            };
        });
        reader.field(status, "podIPs", |reader, node| {
            reader.each(node, |reader, node| {
                let Some(entries) = reader.mapping(node) else { return };
                reader.field(entries, "ip", |reader, node| self.read_address(reader, node));
            });
        });
        if self.pod_ips.is_empty() {
            reader.field(status, "podIP", |reader, node| self.read_address(reader, node));
        }
    }

    fn read_address<'t>(&mut self, reader: &mut Reader<'t>, node: &'t Node) {
        let Some(text) = reader.string(node) else { return };
        // An empty string is how a pod without an address is sometimes printed.
        if text.is_empty() {
            return;
        }
        let Some(address) = parse_address(text) else {
            reader.error(
                node.mark,
                format!("{} is not an IP address", quoted(text)),
                "an address like 10.42.0.7",
            );
            return;
        };
        if self.pod_ips.contains(&address) {
            return;
        }
        if self.pod_ips.iter().any(|other| other.is_ipv4() == address.is_ipv4()) {
            reader.error(
                node.mark,
                format!("{address} is the second of its family"),
                "one address per family",
            );
        }
        // The pod is cut off; that what else it claims is in conflict need not be known of more than a few.
        if self.pod_ips.len() < MAX_ADDRESSES {
            self.pod_ips.push(address);
        }
    }
}

/// Reads a protocol; its IANA number.
pub(crate) fn read_protocol<'t>(reader: &mut Reader<'t>, node: &'t Node) -> Option<u8> {
    match reader.string(node)? {
        "TCP" => Some(6),
        "UDP" => Some(17),
        "SCTP" => Some(132),
        other => {
            reader.unknown_word(node.mark, other, "a protocol", &["TCP", "UDP", "SCTP"]);
            None
        }
    }
}

/// Reads a port number.
pub(crate) fn read_port<'t>(reader: &mut Reader<'t>, node: &'t Node) -> Option<u16> {
    let Value::Scalar(scalar) = &node.value else {
        reader.error(node.mark, "not a port number", "a number from 1 to 65535");
        return None;
    };
    let port = as_integer(scalar).and_then(|number| u16::try_from(number).ok()).filter(|&port| port > 0);
    if port.is_none() {
        let message = format!("{} is not a port number", shortened(&scalar.text));
        reader.error(node.mark, message, "a number from 1 to 65535");
    }
    port
}

#[cfg(test)]
mod tests {
    use crate::api::{Object, ParseOutput, parse};

    fn read(spec: &str) -> ParseOutput {
        parse("f", &format!("{{apiVersion: v1, kind: Pod, metadata: {{name: a}}, spec: {{{spec}}}}}"))
    }

    #[test]
    fn a_service_account_has_two_names_and_a_default() {
        for (spec, account) in [
            ("", "default"),
            ("serviceAccountName: '', serviceAccount: ''", "default"),
            ("serviceAccountName: web", "web"),
            ("serviceAccount: web", "web"),
            ("serviceAccountName: '', serviceAccount: web", "web"),
            ("serviceAccountName: web, serviceAccount: web", "web"),
        ] {
            let output = read(spec);
            let [Object::Pod(pod)] = &output.objects[..] else { panic!("{output:?}") };
            assert_eq!((pod.service_account.as_str(), &output.diagnostics[..]), (account, &[][..]), "{spec}");
        }
        let output = read("serviceAccountName: web, serviceAccount: api");
        let [problem] = &output.diagnostics[..] else { panic!("{output:?}") };
        assert_eq!(
            problem.to_string(),
            "f:1:98: Pod default/a: spec.serviceAccount: \"api\" beside serviceAccountName \"web\": \
             expected both to be the same, or serviceAccountName alone"
        );
    }
}
