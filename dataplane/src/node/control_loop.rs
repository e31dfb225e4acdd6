//! The control thread: takes events one at a time and keeps what is in force close to what is wanted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender};
use policy_compiler::{Cluster, Compiled};
use vxlan::encap::OuterChecksum;

use super::attachments::Attachments;
use super::identity::{self, Identity};
use super::lock::InstanceLock;
use super::next_hops::Resolver;
use super::{Died, Event, StartError, open};
use crate::config::{Attachment, Config};
use crate::conntrack::ConntrackConfig;
use crate::control::{DetachTarget, StateStatus, StateSummary};
use crate::fragments::FragConfig;
use crate::pipeline::{Role, Settings};
use crate::ports::raw::PortHold;
use crate::state::{Refresh, StateFollower, Watcher};
use crate::sys::scheduling::{self, Policy};
use crate::tables::{EndpointIds, Publisher};
use crate::telemetry::DenialLog;
use crate::workers::{AttachedPort, Placement, Workers, WorkersConfig};

/// How often attachments are tended and failed work is tried again when no event comes.
const TICK: Duration = Duration::from_millis(100);
/// How soon a directory that is being written is looked at again.
const SETTLE: Duration = Duration::from_millis(20);
/// How long a reload waits for the workers to take the generation up.
const TAKE_UP: Duration = Duration::from_secs(2);
/// Frames in each worker's pool: enough for every port's batch and the fragments that wait.
const POOL_FRAMES: usize = 4096;

/// The ports every node has, which are no pod's.
pub(super) struct Trunks {
    pub(super) gateway: AttachedPort,
    pub(super) underlay: AttachedPort,
    /// What the status calls it.
    pub(super) underlay_name: String,
    /// Of a raw underlay: who finds the next hops.
    pub(super) resolver: Option<Resolver>,
    /// Of a raw underlay: its UDP port.
    pub(super) _hold: Option<PortHold>,
    pub(super) gateway_mtu: u16,
    /// The gateway's interface was deleted.
    pub(super) gateway_lost: bool,
}

/// Everything the control thread owns.
pub(crate) struct ControlLoop {
    pub(super) config: Config,
    pub(super) workers: Workers,
    pub(super) publisher: Publisher,
    pub(super) denials: Arc<DenialLog>,
    pub(super) attachments: Attachments,
    pub(super) identity: Option<Identity>,
    pub(super) trunks: Option<Trunks>,
    pub(super) cluster: Option<Cluster>,
    pub(super) summary: StateSummary,
    pub(super) started: Instant,
    pub(super) follower: StateFollower,
    /// Compiled, but something else (an interface, an address) is in the way of putting it in force.
    pub(super) pending: Option<Compiled>,
    /// When what is pending is tried again.
    pub(super) retry_at: Option<Instant>,
    pub(super) ids: EndpointIds,
    pub(super) number: u64,
    pub(super) look_again: bool,
    /// Whether there has been a state whose nodes did not contradict one another. Until then there is no last
    /// good generation to stay with, and those that do are cut off, as always in the mode `isolate`.
    pub(super) nodes_agreed: bool,
    /// Why nodes and pods are cut off.
    pub(super) contradictions: Vec<String>,
    pub(super) events: Sender<Event>,
    watcher: Watcher,
    _lock: InstanceLock,
}

impl ControlLoop {
    pub(super) fn new(config: Config, lock: InstanceLock, events: Sender<Event>) -> Result<Self, StartError> {
        let publisher = Publisher::default();
        let denials = Arc::new(DenialLog::default());
        let workers = Workers::start(
            &WorkersConfig {
                settings: settings(&config),
                frames: POOL_FRAMES,
                placements: placements(&config)?,
                busy_poll: config.scheduling.busy_poll,
                latency_qos: config.scheduling.latency_qos,
            },
            &publisher,
            &denials,
        )?;
        let tell = events.clone();
        let watcher = Watcher::start(&config.state.directory, move || {
            // The control thread has ended: nobody is left to tell.
            let _ = tell.send(Event::StateChanged);
        })?;
        let node_addresses = identity::configured_addresses(&config);
        Ok(Self {
            follower: StateFollower::new(&config, node_addresses),
            workers,
            publisher,
            denials,
            attachments: Attachments::default(),
            identity: None,
            trunks: None,
            cluster: None,
            summary: StateSummary::default(),
            started: Instant::now(),
            pending: None,
            retry_at: None,
            ids: EndpointIds::default(),
            number: 0,
            look_again: false,
            nodes_agreed: false,
            contradictions: Vec::new(),
            events,
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
            self.attachments.add_configured(attachment, &mut self.workers, self.identity.as_ref());
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
                Ok(Event::NextHopsChanged) => {
                    if let Some(resolver) = self.trunks.as_mut().and_then(|trunks| trunks.resolver.as_mut()) {
                        resolver.hear();
                    }
                }
                Ok(Event::Request(request)) => request(&mut self),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if last_look.elapsed() >= patience {
                if std::mem::take(&mut self.look_again) {
                    self.refresh();
                }
                if self.retry_at.is_none_or(|at| Instant::now() >= at) {
                    self.retry();
                }
                last_look = Instant::now();
            }
            self.tend();
            self.write_notes();
        }
        tracing::info!(node = self.config.node, "stopping");
        self.workers.stop();
        Ok(())
    }

    /// Writes what rules asked to be noted.
    fn write_notes(&self) {
        let (lines, lost) = self.denials.notes.drain();
        for line in lines {
            tracing::info!(
                node = self.config.node,
                action = line.action.name(),
                direction = line.direction.name(),
                src = %line.src,
                dst = %line.dst,
                protocol = line.protocol,
                sport = line.src_port,
                dport = line.dst_port,
                rule = line.rule,
                logged_by = line.logged_by.join(", "),
                "policy log"
            );
        }
        if lost > 0 {
            tracing::warn!(node = self.config.node, lost, "policy log: more connections than lines");
        }
    }

    /// A thread that runs as long as the node does, and is over.
    fn dead_part(&self) -> Option<&'static str> {
        if self.workers.any_has_ended() {
            Some("a packet worker")
        } else if self.watcher.has_ended() {
            Some("the watcher of the state directory")
        } else {
            None
        }
    }

    /// Looks at the state and puts it in force where it changed and is sound.
    pub(super) fn refresh(&mut self) {
        match self.follower.refresh() {
            Refresh::Compiled(compiled) => {
                self.pending = Some(compiled);
                self.retry();
            }
            other => self.note(other),
        }
    }

    fn tend(&mut self) {
        let gone = self.workers.tend();
        for gone in &gone {
            let Some(trunks) = &mut self.trunks else { continue };
            if trunks.gateway.is(&gone.port) {
                trunks.gateway_lost = true;
                tracing::error!(node = self.config.node, interface = self.config.gateway.interface, error = %gone.error, "gateway interface gone; it is made again, routes over it have to be set again");
            }
            if trunks.underlay.is(&gone.port) {
                tracing::error!(node = self.config.node, error = %gone.error, "underlay gone; restart weir");
            }
        }
        self.regain_gateway();
        self.tend_next_hops();
        let generation = self.publisher.current();
        self.attachments.tend(gone, &mut self.workers, self.identity.as_ref(), generation.as_deref());
    }

    /// Makes a gateway interface that was deleted under us anew.
    fn regain_gateway(&mut self) {
        let (Some(trunks), Some(identity)) = (&self.trunks, &self.identity) else { return };
        if !trunks.gateway_lost {
            return;
        }
        let mtu = trunks.gateway_mtu;
        // What fails is tried again at the next tick; that it is gone has been said.
        let Ok(opened) = open::gateway(&self.config, identity, mtu, self.workers.count()) else { return };
        let Ok(gateway) = self.hand_over(Role::Node, opened.queues, opened.mac, mtu) else { return };
        if let Some(trunks) = &mut self.trunks {
            trunks.gateway = gateway;
            trunks.gateway_lost = false;
            tracing::info!(
                node = self.config.node,
                interface = self.config.gateway.interface,
                "gateway interface back"
            );
        }
    }

    pub(super) fn attach(&mut self, attachment: Attachment) -> Result<(), String> {
        self.attachments.add(attachment, &mut self.workers, self.identity.as_ref())?;
        self.tend();
        Ok(())
    }

    pub(super) fn detach(&mut self, target: &DetachTarget) -> Result<(), String> {
        // What died since may have lost its id to another port.
        self.tend();
        self.attachments.remove(target, &mut self.workers)
    }

    /// Reads the state and waits until every worker judges by it.
    pub(super) fn reload(&mut self) -> Result<u64, String> {
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
                "generation {} is compiled, but a worker still judges by {in_force} after {} seconds",
                self.number,
                TAKE_UP.as_secs()
            ));
        }
        Ok(in_force)
    }
}

/// Where the workers are to run: one after the other over the processors that weir may use.
fn placements(config: &Config) -> std::io::Result<Vec<Placement>> {
    let processors = scheduling::allowed_processors()?;
    // What a control group grants of them may be less.
    let granted = std::thread::available_parallelism().map_or(usize::MAX, usize::from);
    let count = config.workers.on(processors.len().min(granted));
    let niceness = Some(config.scheduling.niceness).filter(|niceness| *niceness != 0);
    let policy = Some(config.scheduling.policy).filter(|policy| *policy != Policy::Other);
    let places = processors.iter().cycle().map(|processor| Placement {
        processor: config.scheduling.pin.then_some(*processor),
        policy,
        niceness,
    });
    Ok(places.take(count).collect())
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

#[cfg(test)]
mod tests;
