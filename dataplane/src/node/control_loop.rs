//! The control thread: takes events one at a time and keeps what is in force close to what is wanted.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use policy_compiler::{Cluster, Compiled, Diagnostic};
use vxlan::encap::OuterChecksum;

use super::attachments::Attachments;
use super::identity::{self, Identity};
use super::lock::InstanceLock;
use super::{Died, Event, StartError, open};
use crate::config::{Attachment, Config, OnInvalid};
use crate::conntrack::ConntrackConfig;
use crate::control::{DetachTarget, Handler, StateStatus, StateSummary, Status};
use crate::fragments::FragConfig;
use crate::pipeline::{Binding, PortId, Role, Settings};
use crate::ports::Port;
use crate::state::{Refresh, StateFollower, Watcher};
use crate::tables::{EndpointIds, Generation, Publisher};
use crate::telemetry::{DenialLog, PacketCounters, PortCounters};
use crate::workers::{WorkerConfig, WorkerHandle};

/// How often attachments are tended and failed work is tried again when no event comes.
const TICK: Duration = Duration::from_millis(100);
/// How soon a directory that is being written is looked at again.
const SETTLE: Duration = Duration::from_millis(20);
/// How long a reload waits for the worker to take the generation up.
const TAKE_UP: Duration = Duration::from_secs(2);
/// Frames in the worker's pool: enough for every port's batch and the fragments that wait.
const POOL_FRAMES: usize = 4096;

/// A port that is not a pod's.
pub(super) struct Trunk {
    pub(super) counters: Arc<PortCounters>,
}

/// The ports every node has.
pub(super) struct Trunks {
    pub(super) gateway: Trunk,
    pub(super) underlay: Trunk,
    pub(super) gateway_mtu: u16,
}

/// Everything the control thread owns.
pub(crate) struct ControlLoop {
    pub(super) config: Config,
    pub(super) worker: WorkerHandle,
    pub(super) publisher: Publisher,
    pub(super) counters: Arc<PacketCounters>,
    pub(super) denials: Arc<DenialLog>,
    pub(super) attachments: Attachments,
    pub(super) identity: Option<Identity>,
    pub(super) trunks: Option<Trunks>,
    pub(super) cluster: Option<Cluster>,
    pub(super) summary: StateSummary,
    pub(super) started: Instant,
    follower: StateFollower,
    /// Compiled, but something else (an interface, an address) is in the way of putting it in force.
    pending: Option<Compiled>,
    ids: EndpointIds,
    number: u64,
    look_again: bool,
    /// Whether there has been a state whose nodes did not contradict one another. Until then there is no last
    /// good generation to stay with, and those that do are cut off, as always in the mode `isolate`.
    nodes_agreed: bool,
    /// Why nodes are cut off.
    contradictions: Vec<String>,
    watcher: Watcher,
    _lock: InstanceLock,
}

impl ControlLoop {
    pub(super) fn new(config: Config, lock: InstanceLock, events: Sender<Event>) -> Result<Self, StartError> {
        let publisher = Publisher::default();
        let counters = Arc::new(PacketCounters::default());
        let denials = Arc::new(DenialLog::default());
        let worker = WorkerHandle::start(
            WorkerConfig { settings: settings(&config), frames: POOL_FRAMES },
            &publisher,
            Arc::clone(&counters),
            Arc::clone(&denials),
        )?;
        let watcher = Watcher::start(&config.state.directory, move || {
            // The control thread has ended: nobody is left to tell.
            let _ = events.send(Event::StateChanged);
        })?;
        let node_addresses = identity::configured_addresses(&config);
        Ok(Self {
            follower: StateFollower::new(&config, node_addresses),
            worker,
            publisher,
            counters,
            denials,
            attachments: Attachments::default(),
            identity: None,
            trunks: None,
            cluster: None,
            summary: StateSummary::default(),
            started: Instant::now(),
            pending: None,
            ids: EndpointIds::default(),
            number: 0,
            look_again: false,
            nodes_agreed: false,
            contradictions: Vec::new(),
            watcher,
            _lock: lock,
            config,
        })
    }

    /// The first look at the state and the first try of every attachment.
    ///
    /// # Errors
    /// The state is fine but the underlay or the gateway cannot be had: starting is pointless.
    pub(super) fn begin(&mut self) -> Result<(), StartError> {
        match self.follower.refresh() {
            Refresh::Compiled(compiled) => {
                self.pending = Some(compiled);
                self.put_in_force()?;
            }
            other => self.note(other),
        }
        for attachment in self.config.attachments.clone() {
            self.attachments.add_configured(attachment, &self.worker, self.identity.as_ref());
        }
        self.tend();
        tracing::info!(
            node = self.config.node,
            generation = self.number,
            socket = %self.config.control.socket.display(),
            "weir is up"
        );
        Ok(())
    }

    /// # Errors
    /// Another thread of the node has died.
    pub(super) fn run(mut self, inbox: &Receiver<Event>) -> Result<(), Died> {
        let mut last_look = Instant::now();
        loop {
            if let Some(part) = self.dead_part() {
                return Err(Died { part });
            }
            // Not since the last event: a client that asks for the status often must not keep work waiting.
            let patience = if self.look_again { SETTLE } else { TICK };
            match inbox.recv_timeout(patience.saturating_sub(last_look.elapsed())) {
                Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(Event::StateChanged | Event::Reload) => self.refresh(),
                Ok(Event::Request(request)) => request(&mut self),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if last_look.elapsed() >= patience {
                if std::mem::take(&mut self.look_again) {
                    self.refresh();
                }
                self.retry();
                last_look = Instant::now();
            }
            self.tend();
        }
        tracing::info!(node = self.config.node, "stopping");
        self.worker.stop();
        Ok(())
    }

    /// A thread that runs as long as the node does, and is over.
    fn dead_part(&self) -> Option<&'static str> {
        if self.worker.has_ended() {
            Some("the packet worker")
        } else if self.watcher.has_ended() {
            Some("the watcher of the state directory")
        } else {
            None
        }
    }

    /// Looks at the state and puts it in force where it changed and is sound.
    fn refresh(&mut self) {
        match self.follower.refresh() {
            Refresh::Compiled(compiled) => {
                self.pending = Some(compiled);
                self.retry();
            }
            other => self.note(other),
        }
    }

    fn note(&mut self, refresh: Refresh) {
        match refresh {
            Refresh::Unchanged => {
                let (status, problems) = self.standing();
                // Back to what is in force after a change that was refused; or still refused.
                if self.pending.is_none() && self.number > 0 && status != self.summary.status {
                    self.summary.status = status;
                    self.summary.problems = problems;
                }
            }
            Refresh::Waiting => self.look_again = true,
            // What is pending is good and stays wanted: should the directory turn back to it, that is no change.
            Refresh::Rejected(problems) => self.reject(texts(&problems)),
            Refresh::Compiled(compiled) => self.pending = Some(compiled),
        }
    }

    fn retry(&mut self) {
        if let Err(error) = self.put_in_force() {
            self.reject(vec![error.to_string()]);
        }
    }

    /// Says what is wrong, once, and keeps what is in force.
    fn reject(&mut self, problems: Vec<String>) {
        let status = if self.number == 0 { StateStatus::Starting } else { StateStatus::Rejected };
        if self.summary.problems != problems {
            for problem in &problems {
                tracing::error!(node = self.config.node, generation = self.number, "{problem}");
            }
            tracing::error!(
                node = self.config.node,
                generation = self.number,
                "state not put in force: {}",
                if self.number == 0 {
                    "nothing passes until it is mended"
                } else {
                    "the last good generation stays"
                }
            );
        }
        self.summary.status = status;
        self.summary.problems = problems;
    }

    /// Publishes the pending compilation, opening underlay and gateway first where they are not open yet.
    fn put_in_force(&mut self) -> Result<(), StartError> {
        let Some(mut compiled) = self.pending.take() else { return Ok(()) };
        let identity = match Identity::resolve(&self.config, &compiled.cluster) {
            Ok(identity) => identity,
            Err(error) => {
                self.reject(vec![error.to_string()]);
                self.pending = Some(compiled);
                return Ok(());
            }
        };
        // What the Node's annotations name as its own is the node to its pods too (kubelet probes from there).
        self.follower.set_node_addresses(identity.own.addresses.iter().copied().collect::<BTreeSet<_>>());
        match self.follower.refresh() {
            Refresh::Compiled(again) => compiled = again,
            Refresh::Waiting => self.look_again = true,
            Refresh::Unchanged | Refresh::Rejected(_) => {}
        }
        if self.underlay_moved(&identity) {
            self.reject(vec![
                "the node's underlay address changed; restart weir to bind the new one".to_owned(),
            ]);
            self.pending = Some(compiled);
            return Ok(());
        }
        if let Err(error) = self.open_trunks(&identity) {
            self.pending = Some(compiled);
            return Err(error);
        }
        let mut vteps = identity::vteps(&compiled.cluster, &identity.own.name);
        let mut contradictions = Vec::new();
        if self.config.state.on_invalid == OnInvalid::Isolate || !self.nodes_agreed {
            contradictions = identity::cut_contradictions(&mut vteps);
        }
        let number = self.number + 1;
        let generation = match Generation::new(number, &compiled, identity.own.clone(), vteps, &mut self.ids)
        {
            Ok(generation) => generation,
            Err(error) => {
                self.reject(vec![error.to_string()]);
                self.pending = Some(compiled);
                return Ok(());
            }
        };
        self.number = number;
        self.nodes_agreed |= contradictions.is_empty();
        self.contradictions = contradictions;
        self.attachments.set_mtu(&self.worker, identity.pod_mtu);
        self.identity = Some(identity);
        self.publisher.publish(generation);
        self.worker.wake();
        self.sum_up(&compiled);
        self.cluster = Some(compiled.cluster);
        Ok(())
    }

    fn sum_up(&mut self, compiled: &Compiled) {
        let warnings: Vec<String> = texts(&compiled.warnings);
        for warning in warnings.iter().filter(|warning| !self.summary.warnings.contains(*warning)) {
            tracing::warn!(node = self.config.node, generation = self.number, "{warning}");
        }
        let problems: Vec<String> =
            texts(&compiled.degraded).into_iter().chain(self.contradictions.clone()).collect();
        for problem in problems.iter().filter(|problem| !self.summary.problems.contains(*problem)) {
            tracing::error!(node = self.config.node, generation = self.number, "isolated: {problem}");
        }
        // Where it had to wait, the directory may have turned to something that is refused meanwhile.
        let (status, problems) = self.standing();
        self.summary = StateSummary {
            generation: self.number,
            compiled_at_unix_seconds: std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .ok()
                .map(|since| since.as_secs()),
            compile_microseconds: u64::try_from(self.follower.compile_time().as_micros()).unwrap_or(u64::MAX),
            status,
            problems,
            warnings,
            skipped: self.follower.skipped(),
        };
        tracing::info!(
            node = self.config.node,
            generation = self.number,
            pods = compiled.cluster.subjects.len(),
            nodes = compiled.cluster.nodes.len(),
            rules = compiled.rules.len(),
            bytes = compiled.classifier.memory_bytes(),
            microseconds = self.summary.compile_microseconds,
            "generation in force"
        );
    }

    /// How the directory relates to what is in force, once something is, and what is wrong with either.
    fn standing(&self) -> (StateStatus, Vec<String>) {
        let mut problems = texts(self.follower.problems());
        if self.follower.status() == StateStatus::Rejected {
            return (StateStatus::Rejected, problems);
        }
        problems.extend(self.contradictions.iter().cloned());
        (if problems.is_empty() { StateStatus::Ok } else { StateStatus::Degraded }, problems)
    }

    fn underlay_moved(&self, identity: &Identity) -> bool {
        let open = self.identity.as_ref().filter(|_| self.trunks.is_some());
        open.is_some_and(|open| {
            let address = |identity: &Identity| {
                (
                    identity.own.underlay_v4.map(|underlay| underlay.address),
                    identity.own.underlay_v6.map(|underlay| underlay.address),
                )
            };
            address(open) != address(identity)
        })
    }

    fn open_trunks(&mut self, identity: &Identity) -> Result<(), StartError> {
        if self.trunks.is_some() {
            return Ok(());
        }
        let underlay = open::underlay(&self.config, identity).map_err(StartError::Underlay)?;
        let gateway_mtu = self.config.gateway.mtu.unwrap_or(identity.pod_mtu);
        let gateway = open::gateway(&self.config, identity, gateway_mtu)
            .map_err(|error| StartError::Gateway { name: self.config.gateway.interface.clone(), error })?;
        let underlay = self.hand_over(Role::UnderlayDatagram, underlay, None, u16::MAX)?;
        let gateway = self.hand_over(Role::Node, gateway.port, gateway.mac, gateway_mtu)?;
        self.trunks = Some(Trunks { gateway, underlay, gateway_mtu });
        Ok(())
    }

    fn hand_over(
        &self,
        role: Role,
        port: Box<dyn Port>,
        mac: Option<vxlan::mac::Mac>,
        mtu: u16,
    ) -> Result<Trunk, StartError> {
        let counters = Arc::new(PortCounters::default());
        let capabilities = port.capabilities();
        let binding = Binding { id: PortId(0), role, mac, mtu, capabilities, endpoint: None };
        self.worker
            .attach(binding, port, Arc::clone(&counters))
            .map_err(|error| StartError::Io(std::io::Error::other(error)))?;
        Ok(Trunk { counters })
    }

    fn tend(&mut self) {
        let gone = self.worker.gone();
        for gone in &gone {
            let lost = |trunk: &Trunk| Arc::ptr_eq(&trunk.counters, &gone.counters);
            let trunk =
                self.trunks.as_ref().is_some_and(|trunks| lost(&trunks.gateway) || lost(&trunks.underlay));
            if trunk {
                tracing::error!(node = self.config.node, error = %gone.error, "gateway or underlay gone; restart weir once it is back");
            }
        }
        let generation = self.publisher.current();
        self.attachments.tend(gone, &self.worker, self.identity.as_ref(), generation.as_deref());
    }

    fn attach(&mut self, attachment: Attachment) -> Result<(), String> {
        self.attachments.add(attachment, &self.worker, self.identity.as_ref())?;
        self.tend();
        Ok(())
    }

    fn detach(&mut self, target: &DetachTarget) -> Result<(), String> {
        // What died since may have lost its id to another port.
        self.tend();
        self.attachments.remove(target, &self.worker)
    }

    /// Reads the state and waits until the worker judges by it.
    fn reload(&mut self) -> Result<u64, String> {
        self.refresh();
        let until = Instant::now() + TAKE_UP;
        while std::mem::take(&mut self.look_again) && Instant::now() < until {
            std::thread::sleep(SETTLE);
            self.refresh();
        }
        if !self.summary.problems.is_empty() && self.summary.status != StateStatus::Degraded {
            return Err(self.summary.problems.join("\n"));
        }
        let until = Instant::now() + TAKE_UP;
        while self.publisher.in_force() < self.number && Instant::now() < until {
            std::thread::sleep(Duration::from_micros(200));
        }
        let in_force = self.publisher.in_force();
        if in_force < self.number {
            return Err(format!(
                "generation {} is compiled, but the worker still judges by {in_force} after {} seconds",
                self.number,
                TAKE_UP.as_secs()
            ));
        }
        Ok(in_force)
    }
}

fn texts(diagnostics: &[Diagnostic]) -> Vec<String> {
    diagnostics.iter().map(Diagnostic::to_string).collect()
}

/// The pipeline's settings, as the configuration has them.
pub fn settings(config: &Config) -> Settings {
    Settings {
        vni: config.underlay.vni,
        vxlan_port: config.underlay.port,
        strict_reserved: config.underlay.strict_reserved,
        outer_checksum: if config.underlay.checksum { OuterChecksum::Compute } else { OuterChecksum::Zero },
        conntrack: ConntrackConfig {
            max_entries: config.conntrack.max_entries,
            owner_quota: config.conntrack.pod_quota,
            ..ConntrackConfig::default()
        },
        fragments: FragConfig::default(),
    }
}

/// Carries requests of the control socket's threads to the control thread, and the answers back.
pub(super) struct RequestHandler {
    events: Sender<Event>,
}

impl RequestHandler {
    pub(super) fn new(events: Sender<Event>) -> Self {
        Self { events }
    }

    fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut ControlLoop) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = bounded(1);
        let request = Box::new(move |control: &mut ControlLoop| {
            // The client has gone: nobody to answer.
            let _ = reply.send(question(control));
        });
        self.events.send(Event::Request(request)).ok()?;
        answer.recv().ok()
    }
}

const ENDED: &str = "weir is stopping";

impl Handler for RequestHandler {
    fn status(&self) -> Status {
        self.ask(ControlLoop::status).unwrap_or_default()
    }

    fn attach(&self, attachment: Attachment) -> Result<(), String> {
        self.ask(move |control| control.attach(attachment)).unwrap_or_else(|| Err(ENDED.into()))
    }

    fn detach(&self, target: DetachTarget) -> Result<(), String> {
        self.ask(move |control| control.detach(&target)).unwrap_or_else(|| Err(ENDED.into()))
    }

    fn reload(&self) -> Result<u64, String> {
        self.ask(ControlLoop::reload).unwrap_or_else(|| Err(ENDED.into()))
    }
}

#[cfg(test)]
mod tests;
