//! From the file as written to values that can be used, collecting every problem on the way.

use std::collections::HashMap;
use std::fmt::Display;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use vxlan::{Mac, Vni};

use super::addresses::{derived_mac, gateway_address, host_v4, host_v6};
use super::attachment::{Attachment, AttachmentRequest, unicast_mac};
use super::checked::{
    Config, Conntrack, Control, Gateway, Limits, Log, Scheduling, State, Underlay, UnderlayKind, Vtep,
};
use super::error::{ConfigError, Problem};
use super::located::{Located, Place};
use super::raw::{
    RawAttachment, RawConfig, RawConntrack, RawGateway, RawLatencyQos, RawPolicy, RawScheduling, RawUnderlay,
};
use super::{defaults, names};
use crate::sys::scheduling::Policy;

/// `sun_path` holds 108 bytes with the terminating zero.
const MAX_SOCKET_PATH: usize = 107;

/// Checks the whole file.
pub(super) fn check(raw: RawConfig, file: &Path) -> Result<Config, ConfigError> {
    let mut check = Check { file, problems: Vec::new() };

    if !names::is_subdomain(&raw.node.value) {
        let message =
            format!("{:?} cannot be the name of a Node: expected {}", raw.node.value, names::SUBDOMAIN_FORM);
        check.problem(raw.node.place, "node", message);
    }
    let state = State {
        directory: check.path("state.directory", &raw.state.directory),
        on_invalid: raw.state.on_invalid,
    };
    let underlay = check.underlay(&raw.underlay);
    let vtep = Vtep {
        mac: check.mac("vtep.mac", raw.vtep.mac.as_ref()),
        mac_v6: check.mac("vtep.mac_v6", raw.vtep.mac_v6.as_ref()),
    };
    let gateway = check.gateway(&raw.gateway, &raw.node.value);
    let attachments = check.attachments(raw.attachments, &gateway.interface);
    let socket = check.path("control.socket", &raw.control.socket);
    if socket.as_os_str().len() > MAX_SOCKET_PATH {
        let message = format!(
            "{} has {} bytes: expected at most {MAX_SOCKET_PATH}, which is what a Unix socket takes",
            socket.display(),
            socket.as_os_str().len()
        );
        check.problem(raw.control.socket.place, "control.socket", message);
    }
    let scheduling = check.scheduling(&raw.scheduling);
    let conntrack = check.conntrack(&raw.conntrack);
    let memory = raw.limits.compile_memory;
    if !(1 << 20..=64 << 30).contains(&memory.value.0) {
        let message = format!("{} is out of range: expected 1MiB to 64GiB", memory.value);
        check.problem(memory.place, "limits.compile_memory", message);
    }
    let lock = match &raw.lock {
        Some(lock) => check.path("lock", lock),
        None => socket.parent().unwrap_or(Path::new("/")).to_owned(),
    };

    if check.problems.is_empty() {
        Ok(Config {
            file: file.to_owned(),
            node: raw.node.value,
            state,
            underlay,
            vtep,
            gateway,
            attachments,
            control: Control { socket },
            workers: raw.workers.value,
            scheduling,
            conntrack,
            limits: Limits { compile_memory: usize::try_from(memory.value.0).unwrap_or(usize::MAX) },
            lock,
            log: Log { level: raw.log.level, format: raw.log.format },
        })
    } else {
        check.problems.sort_by_key(|problem| (problem.line, problem.column));
        Err(ConfigError::Invalid(check.problems))
    }
}

struct Check<'a> {
    file: &'a Path,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn problem(&mut self, place: Place, key: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem {
            file: self.file.to_owned(),
            line: place.line,
            column: place.column,
            key: key.into(),
            message: message.into(),
        });
    }

    /// Notes the problem and goes on with `instead`, which nobody will see.
    fn or_note<T, E: Display>(&mut self, place: Place, key: &str, result: Result<T, E>, instead: T) -> T {
        result.unwrap_or_else(|error| {
            self.problem(place, key, error.to_string());
            instead
        })
    }

    fn number<T: TryFrom<u64> + Copy + Into<u64>>(
        &mut self,
        key: &str,
        at: &Located<u64>,
        min: T,
        max: T,
    ) -> T {
        match T::try_from(at.value) {
            Ok(value) if (min.into()..=max.into()).contains(&at.value) => value,
            _ => {
                let (least, most) = (min.into(), max.into());
                let message = format!("{} is out of range: expected {least} to {most}", at.value);
                self.problem(at.place, key, message);
                min
            }
        }
    }

    fn path(&mut self, key: &str, at: &Located<String>) -> PathBuf {
        if at.value.is_empty() {
            self.problem(at.place, key, "is empty: expected a path");
        }
        self.resolve(Path::new(&at.value))
    }

    /// Relative paths are relative to the directory of the file. `/a/./b` and `/a/b` are the same.
    fn resolve(&self, path: &Path) -> PathBuf {
        let directory = self.file.parent().unwrap_or(Path::new(""));
        directory.join(path).components().collect()
    }

    fn mac(&mut self, key: &str, at: Option<&Located<String>>) -> Option<Mac> {
        let at = at?;
        Some(self.or_note(at.place, key, unicast_mac(&at.value), Mac::ZERO))
    }

    fn interface(&mut self, key: &str, at: &Located<String>) -> String {
        if !names::is_interface(&at.value) {
            let message = format!(
                "{:?} cannot be the name of an interface: expected {}",
                at.value,
                names::INTERFACE_FORM
            );
            self.problem(at.place, key, message);
        }
        at.value.clone()
    }

    fn underlay(&mut self, raw: &RawUnderlay) -> Underlay {
        if raw.ring.value && raw.kind != UnderlayKind::AfPacket {
            let message = format!(
                "is for `kind: af_packet` alone, and the kind is {}: expected false",
                raw.kind.name()
            );
            self.problem(raw.ring.place, "underlay.ring", message);
        }
        let vni = self.number("underlay.vni", &raw.vni, 0, Vni::MAX.get());
        Underlay {
            kind: raw.kind,
            address: raw.address.as_ref().map(|at| {
                self.or_note(at.place, "underlay.address", host_v4(&at.value), Ipv4Addr::UNSPECIFIED)
            }),
            address_v6: raw.address_v6.as_ref().map(|at| {
                self.or_note(at.place, "underlay.address_v6", host_v6(&at.value), Ipv6Addr::UNSPECIFIED)
            }),
            interface: raw.interface.as_ref().map(|at| self.interface("underlay.interface", at)),
            mtu: raw.mtu.as_ref().map(|at| self.number("underlay.mtu", at, 626, u16::MAX)),
            port: self.number("underlay.port", &raw.port, 1, u16::MAX),
            vni: Vni::new(vni).unwrap_or(Vni::FLANNEL),
            checksum: raw.checksum,
            segmentation: raw.segmentation,
            source_ports: self.number("underlay.source_ports", &raw.source_ports, 1u16, 256),
            ring: raw.ring.value,
            transmit_ring: raw.transmit_ring,
            strict_reserved: raw.strict_reserved,
        }
    }

    fn gateway(&mut self, raw: &RawGateway, node: &str) -> Gateway {
        let mut addresses: Vec<IpNet> = Vec::new();
        for (index, at) in raw.addresses.iter().enumerate() {
            let key = format!("gateway.addresses[{index}]");
            match gateway_address(&at.value) {
                Ok(net) if addresses.iter().any(|seen| seen.addr() == net.addr()) => {
                    self.problem(at.place, key, format!("{} is listed twice", net.addr()));
                }
                Ok(net) => addresses.push(net),
                Err(message) => self.problem(at.place, key, message),
            }
        }
        Gateway {
            interface: self.interface("gateway.interface", &raw.interface),
            mac: self.mac("gateway.mac", raw.mac.as_ref()).unwrap_or_else(|| derived_mac(node)),
            addresses,
            mtu: raw.mtu.as_ref().map(|at| self.number("gateway.mtu", at, 576, 65_485)),
        }
    }

    fn scheduling(&mut self, raw: &RawScheduling) -> Scheduling {
        let at = &raw.niceness;
        let niceness = i8::try_from(at.value).ok().filter(|niceness| (-20..=19).contains(niceness));
        if niceness.is_none() {
            let message = format!("{} is out of range: expected -20 to 19", at.value);
            self.problem(at.place, "scheduling.niceness", message);
        }
        let policy = match raw.policy {
            RawPolicy::Other => Policy::Other,
            RawPolicy::Batch => Policy::Batch,
        };
        Scheduling {
            pin: raw.pin,
            policy,
            niceness: niceness.unwrap_or(0),
            busy_poll: raw.busy_poll,
            latency_qos: matches!(raw.cpu_latency_qos, RawLatencyQos::Adaptive),
        }
    }

    fn conntrack(&mut self, raw: &RawConntrack) -> Conntrack {
        let max: u32 = self.number("conntrack.max_entries", &raw.max_entries, 1024, 1 << 24);
        let quota = match &raw.pod_quota {
            Some(at) => self.number("conntrack.pod_quota", at, 1, max),
            None => max / defaults::POD_QUOTA_SHARE,
        };
        Conntrack { max_entries: max as usize, pod_quota: quota as usize }
    }

    fn attachments(&mut self, raw: Vec<Located<RawAttachment>>, gateway: &str) -> Vec<Attachment> {
        let mut pods = HashMap::new();
        let mut interfaces = HashMap::new();
        let mut checked = Vec::new();
        for (index, Located { value: raw, .. }) in raw.into_iter().enumerate() {
            let places = Places::of(&raw);
            let key = |field: &str| format!("attachments[{index}].{field}");
            let request = AttachmentRequest {
                pod: raw.pod.value,
                kind: raw.kind,
                interface: raw.interface.value,
                netns: raw.netns.map(|at| {
                    if at.value.is_empty() { PathBuf::new() } else { self.resolve(Path::new(&at.value)) }
                }),
                create: raw.create.map(|at| at.value),
                mac: raw.mac.map(|at| at.value),
            };
            let attachment = match Attachment::check(request) {
                Ok(attachment) => attachment,
                Err(problems) => {
                    for problem in problems {
                        self.problem(places.at(problem.field), key(problem.field), problem.message);
                    }
                    continue;
                }
            };
            if let Some(first) = pods.insert(attachment.pod.clone(), index) {
                let message = format!(
                    "{} is attached already by attachments[{first}]: expected each pod once",
                    attachment.pod
                );
                self.problem(places.pod, key("pod"), message);
            }
            let wire = (attachment.netns.clone(), attachment.interface.clone());
            if let Some(first) = interfaces.insert(wire, index) {
                let message = format!(
                    "{} is used already by attachments[{first}]: expected each interface once",
                    attachment.interface
                );
                self.problem(places.interface, key("interface"), message);
            }
            if attachment.netns.is_none() && attachment.interface == gateway {
                let message = format!("{gateway} is the gateway.interface: expected the interface of a pod");
                self.problem(places.interface, key("interface"), message);
            }
            checked.push(attachment);
        }
        checked
    }
}

/// Where the fields of an attachment stand.
struct Places {
    pod: Place,
    interface: Place,
    netns: Place,
    create: Place,
    mac: Place,
}

impl Places {
    fn of(raw: &RawAttachment) -> Self {
        let pod = raw.pod.place;
        Self {
            pod,
            interface: raw.interface.place,
            netns: raw.netns.as_ref().map_or(pod, |at| at.place),
            create: raw.create.as_ref().map_or(pod, |at| at.place),
            mac: raw.mac.as_ref().map_or(pod, |at| at.place),
        }
    }

    fn at(&self, field: &str) -> Place {
        match field {
            "interface" => self.interface,
            "netns" => self.netns,
            "create" => self.create,
            "mac" => self.mac,
            _ => self.pod,
        }
    }
}
