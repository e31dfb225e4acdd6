//! The pods' interfaces: what is wanted, what is there, and the way from one to the other.
//!
//! The configuration's list is only the beginning; `weir attach` and `weir detach` change what is wanted. An
//! interface or namespace that is not there yet, or goes away, is an ordinary state: it is tried again every
//! [`RETRY`], and until then the pod's traffic has nowhere to go and is dropped.

use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use policy_compiler::PodName;
use vxlan::mac::Mac;

use super::identity::Identity;
use super::open;
use crate::config::{Attachment, AttachmentKind};
use crate::control::DetachTarget;
use crate::pipeline::{Binding, PortId, Role};
use crate::tables::Generation;
use crate::workers::{AttachedPort, PortGone, Workers};

/// How often an interface that is not there is looked for.
const RETRY: Duration = Duration::from_millis(250);
/// MTU of a pod before the underlay's is known: the least every IPv6 link has (RFC 8200 section 5).
const MTU_UNKNOWN: u16 = 1280;

/// One pod's interface.
pub(super) struct Entry {
    pub(super) attachment: Attachment,
    pub(super) live: Option<Live>,
    /// Why it is not live.
    pub(super) waiting: Option<String>,
}

/// An interface in the workers' hands.
pub(super) struct Live {
    pub(super) port: AttachedPort,
    pub(super) mac: Option<Mac>,
    /// The addresses its TAP was given.
    configured: Vec<IpAddr>,
}

/// All of them.
#[derive(Default)]
pub(super) struct Attachments {
    entries: Vec<Entry>,
    next_try: Option<Instant>,
}

impl Attachments {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Adds an attachment and tries it at once. An interface that is not there yet is waited for.
    ///
    /// # Errors
    /// The pod or the interface is attached already, or the interface is refused; nothing was added then.
    pub(super) fn add(
        &mut self,
        attachment: Attachment,
        workers: &mut Workers,
        identity: Option<&Identity>,
    ) -> Result<(), String> {
        if let Some(other) = self.entries.iter().find(|entry| same_place(&entry.attachment, &attachment)) {
            return Err(format!(
                "interface {} is attached for pod {} already; detach that first",
                attachment.interface, other.attachment.pod
            ));
        }
        if let Some(other) = self.entries.iter().find(|entry| entry.attachment.pod == attachment.pod) {
            return Err(format!(
                "pod {} is attached by interface {} already; detach that first",
                attachment.pod, other.attachment.interface
            ));
        }
        let mut entry = Entry { attachment, live: None, waiting: None };
        match entry.open(workers, identity) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => entry.waiting = Some(error.to_string()),
            Err(error) => return Err(format!("{}: {error}", entry.attachment.interface)),
        }
        self.entries.push(entry);
        Ok(())
    }

    /// Adds one of the configuration's attachments: whatever stands in its way is waited for and shown.
    pub(super) fn add_configured(
        &mut self,
        attachment: Attachment,
        workers: &mut Workers,
        identity: Option<&Identity>,
    ) {
        let mut entry = Entry { attachment, live: None, waiting: None };
        entry.try_open(workers, identity);
        self.entries.push(entry);
    }

    /// Lets go of an interface; a TAP that weir made is taken away.
    ///
    /// # Errors
    /// Nothing of that name is attached.
    pub(super) fn remove(&mut self, target: &DetachTarget, workers: &mut Workers) -> Result<(), String> {
        let position = self.entries.iter().position(|entry| match target {
            DetachTarget::Pod(pod) => entry.attachment.pod == *pod,
            DetachTarget::Interface(interface) => entry.attachment.interface == *interface,
        });
        let Some(position) = position else {
            let target = match target {
                DetachTarget::Pod(pod) => format!("pod {pod}"),
                DetachTarget::Interface(interface) => format!("interface {interface}"),
            };
            return Err(format!("{target} is not attached; `weir status` lists what is"));
        };
        let entry = self.entries.remove(position);
        if let Some(live) = &entry.live {
            // The port is closed here, on the control thread: closing may take the kernel a while.
            drop(workers.detach(&live.port));
        }
        if entry.attachment.create && entry.attachment.kind == AttachmentKind::Tap {
            let removed = open::remove_tap(entry.attachment.netns.as_deref(), &entry.attachment.interface);
            if let Err(error) = removed {
                tracing::warn!(pod = %entry.attachment.pod, interface = entry.attachment.interface, %error, "TAP not taken away");
            }
        }
        Ok(())
    }

    /// Tries what is waiting, notes what died, gives addresses to TAPs whose pod is known by now.
    pub(super) fn tend(
        &mut self,
        gone: Vec<PortGone>,
        workers: &mut Workers,
        identity: Option<&Identity>,
        generation: Option<&Generation>,
    ) {
        for gone in gone {
            let entry = self
                .entries
                .iter_mut()
                .find(|entry| entry.live.as_ref().is_some_and(|live| live.port.is(&gone.port)));
            if let Some(entry) = entry {
                tracing::warn!(pod = %entry.attachment.pod, interface = entry.attachment.interface, error = %gone.error, "interface gone");
                entry.live = None;
                entry.waiting = Some(format!("gone: {}", gone.error));
            }
        }
        let due = self.next_try.is_none_or(|next| Instant::now() >= next);
        if due {
            self.next_try = Some(Instant::now() + RETRY);
        }
        for entry in &mut self.entries {
            if due && entry.live.is_none() {
                entry.try_open(workers, identity);
            }
            if let (Some(identity), Some(generation)) = (identity, generation) {
                entry.configure(workers, identity, generation);
            }
        }
    }

    /// Brings all ports to the pods' MTU, once that is known.
    pub(super) fn set_mtu(&self, workers: &Workers, mtu: u16) {
        for live in self.entries.iter().filter_map(|entry| entry.live.as_ref()) {
            workers.update(&live.port, None, Some(mtu));
        }
    }
}

impl Entry {
    fn try_open(&mut self, workers: &mut Workers, identity: Option<&Identity>) {
        match self.open(workers, identity) {
            Ok(()) => self.waiting = None,
            Err(error) => {
                let reason = error.to_string();
                if self.waiting.as_deref() != Some(&reason) {
                    tracing::warn!(pod = %self.attachment.pod, interface = self.attachment.interface, %reason, "not attached; trying again");
                }
                self.waiting = Some(reason);
            }
        }
    }

    fn open(&mut self, workers: &mut Workers, identity: Option<&Identity>) -> io::Result<()> {
        let mtu = identity.map(|identity| identity.pod_mtu);
        let opened = open::attachment(&self.attachment, identity, workers.count())?;
        let binding = Binding {
            id: PortId(0),
            role: Role::Pod(self.pod_name()),
            mac: opened.mac,
            mtu: mtu.unwrap_or(MTU_UNKNOWN),
            capabilities: opened.capabilities(),
            endpoint: None,
        };
        let port = workers.attach(&binding, opened.queues).map_err(io::Error::other)?;
        tracing::info!(pod = %self.attachment.pod, interface = self.attachment.interface, kind = %self.attachment.kind, "attached");
        self.live = Some(Live { port, mac: opened.mac, configured: Vec::new() });
        Ok(())
    }

    /// Gives a TAP made by weir the addresses of its pod.
    fn configure(&mut self, workers: &Workers, identity: &Identity, generation: &Generation) {
        if !self.attachment.create {
            return;
        }
        let (Some(netns), Some(live)) = (&self.attachment.netns, &mut self.live) else { return };
        let name = PodName {
            namespace: self.attachment.pod.namespace.clone(),
            name: self.attachment.pod.name.clone(),
        };
        let endpoint = generation.endpoint_named(&name).and_then(|index| generation.endpoint(index));
        let Some(endpoint) = endpoint.filter(|endpoint| endpoint.addresses != live.configured) else {
            return;
        };
        match open::configure_pod(netns, &self.attachment.interface, &endpoint.addresses, identity) {
            Ok(()) => {
                live.configured.clone_from(&endpoint.addresses);
                workers.update(&live.port, None, Some(identity.pod_mtu));
                self.waiting = None;
            }
            Err(error) => {
                let reason = format!("cannot give it its addresses: {error}");
                if self.waiting.as_deref() != Some(&reason) {
                    tracing::warn!(pod = %self.attachment.pod, interface = self.attachment.interface, %reason);
                }
                self.waiting = Some(reason);
            }
        }
    }

    pub(super) fn pod_name(&self) -> PodName {
        PodName { namespace: self.attachment.pod.namespace.clone(), name: self.attachment.pod.name.clone() }
    }
}

/// Two attachments of one interface: same name in the same namespace.
fn same_place(a: &Attachment, b: &Attachment) -> bool {
    a.interface == b.interface && a.netns == b.netns
}

#[cfg(test)]
mod tests;
