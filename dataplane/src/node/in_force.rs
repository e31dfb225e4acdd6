//! Putting a compilation in force: identity, underlay and gateway, contradictions, publication, and what to say of
//! it.
//!
//! Whatever stands in the way is said once and tried again; until it is out of the way the generation before holds.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use policy_compiler::{Compiled, Diagnostic};

use super::control_loop::{ControlLoop, Trunks};
use super::identity::{self, Identity};
use super::open::OpenedUnderlay;
use super::{StartError, next_hops, open};
use crate::config::OnInvalid;
use crate::control::{StateStatus, StateSummary};
use crate::pipeline::{Binding, PortId, Role};
use crate::ports::Port;
use crate::state::Refresh;
use crate::tables::Generation;
use crate::workers::AttachedPort;

/// How soon something that could not be put in force is tried again.
const RETRY: Duration = Duration::from_secs(1);

impl ControlLoop {
    pub(super) fn note(&mut self, refresh: Refresh) {
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

    /// Where the directory is refused and something else is in the way of what was read before: both.
    fn with_rejection(&self, problems: Vec<String>) -> Vec<String> {
        if self.follower.status() != StateStatus::Rejected {
            return problems;
        }
        let mut all = texts(self.follower.problems());
        for problem in problems {
            if !all.contains(&problem) {
                all.push(problem);
            }
        }
        all
    }

    pub(super) fn retry(&mut self) {
        if let Err(error) = self.put_in_force() {
            self.reject(vec![error.to_string()]);
        }
        // Opening and asking the kernel costs: what failed is not tried at every tick.
        self.retry_at = self.pending.is_some().then(|| Instant::now() + RETRY);
    }

    /// Says what is wrong, once, and keeps what is in force.
    pub(super) fn reject(&mut self, problems: Vec<String>) {
        let problems = self.with_rejection(problems);
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
    pub(super) fn put_in_force(&mut self) -> Result<(), StartError> {
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
        let mut refused = None;
        match self.follower.refresh() {
            Refresh::Compiled(again) => compiled = again,
            Refresh::Waiting => self.look_again = true,
            Refresh::Rejected(problems) => refused = Some(texts(&problems)),
            Refresh::Unchanged => {}
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
        let mut own = identity.own.clone();
        if let Some(resolver) = self.trunks.as_mut().and_then(|trunks| trunks.resolver.as_mut()) {
            own.take_next_hops(resolver.resolve(&next_hops::addresses(&vteps)));
        }
        let generation = match Generation::new(number, &compiled, own, vteps, &mut self.ids) {
            Ok(generation) => generation,
            Err(error) => {
                self.reject(vec![error.to_string()]);
                self.pending = Some(compiled);
                return Ok(());
            }
        };
        self.number = number;
        self.nodes_agreed |= contradictions.is_empty();
        // Of those the compiler has found it has said so.
        let misplaced = generation
            .misplaced()
            .filter(|(pod, _)| !compiled.cluster.misplaced.iter().any(|(found, ..)| found == *pod));
        contradictions.extend(misplaced.map(|(pod, address)| {
            format!(
                "Pod {pod}: {address} is no address that a pod of node {} can have (the node's own, or outside its podCIDRs): it is cut off",
                self.config.node
            )
        }));
        self.contradictions = contradictions;
        self.attachments.set_mtu(&self.workers, identity.pod_mtu);
        self.identity = Some(identity);
        self.publisher.publish(generation);
        self.workers.wake();
        // The directory has turned to something that is refused since this was read.
        if let Some(problems) = refused {
            self.reject(problems);
        }
        self.sum_up(&compiled);
        self.cluster = Some(compiled.cluster);
        Ok(())
    }

    /// Has outer frames go where the kernel would send them by now.
    pub(super) fn tend_next_hops(&mut self) {
        let resolver = self.trunks.as_mut().and_then(|trunks| trunks.resolver.as_mut());
        let (Some(resolver), Some(generation)) = (resolver, self.publisher.current()) else { return };
        let Some(next_hops) = resolver.tend(&generation) else { return };
        self.number += 1;
        tracing::info!(
            node = self.config.node,
            generation = self.number,
            known = next_hops.peers.len(),
            "next hops on the underlay changed"
        );
        self.publisher.publish(generation.rerouted(self.number, next_hops));
        self.workers.wake();
        self.summary.generation = self.number;
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

    pub(super) fn open_trunks(&mut self, identity: &Identity) -> Result<(), StartError> {
        if self.trunks.is_some() {
            return Ok(());
        }
        let underlay = open::underlay(&self.config, identity, self.workers.count(), &self.events)
            .map_err(StartError::Underlay)?;
        let gateway_mtu = self.config.gateway.mtu.unwrap_or(identity.pod_mtu);
        let gateway = open::gateway(&self.config, identity, gateway_mtu, self.workers.count())
            .map_err(|error| StartError::Gateway { name: self.config.gateway.interface.clone(), error })?;
        let OpenedUnderlay { name, queues, role, resolver, hold } = underlay;
        let underlay = self.hand_over(role, queues, None, u16::MAX)?;
        let gateway = self.hand_over(Role::Node, gateway.queues, gateway.mac, gateway_mtu)?;
        self.trunks = Some(Trunks {
            gateway,
            underlay,
            underlay_name: name,
            resolver,
            _hold: hold,
            gateway_mtu,
            gateway_lost: false,
        });
        Ok(())
    }

    pub(super) fn hand_over(
        &mut self,
        role: Role,
        queues: Vec<Box<dyn Port>>,
        mac: Option<vxlan::mac::Mac>,
        mtu: u16,
    ) -> Result<AttachedPort, StartError> {
        let capabilities = open::capabilities(&queues);
        let binding = Binding { id: PortId(0), role, mac, mtu, capabilities, endpoint: None };
        self.workers.attach(&binding, queues).map_err(|error| StartError::Io(std::io::Error::other(error)))
    }
}

fn texts(diagnostics: &[Diagnostic]) -> Vec<String> {
    diagnostics.iter().map(Diagnostic::to_string).collect()
}
