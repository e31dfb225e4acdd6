//! A node in a test: one pipeline, its ports, and a cluster of three nodes around it.
//!
//! ```text
//!  blue  .1.10 ─┐                             ┌─ node-b 10.244.2.0/24, on the IPv4 underlay
//!  green .1.11 ─┤ pipeline of node-a ─underlay┤
//!  ghost (port without a pod)                 └─ node-c 10.244.3.0/24, on the IPv6 underlay
//!  node TAP ────┘   grey .1.12 is known and has no port
//! ```
//! [`World::inject`] passes a batch through and then holds the books: every packet taken in is forwarded, answered,
//! dropped under a reason or held, and every frame is back in the pool once the outputs are drained.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use policy_compiler::{
    Action, Classifier, Cluster, Compiled, Key, PodName, RuleId, RuleTable, Subject, Verdict,
};
use vxlan::encap::OuterChecksum;
use vxlan::mac::Mac;
use vxlan::vni::Vni;

use super::super::{Binding, Outputs, Pipeline, PortId, Role, Settings};
pub(super) use super::cluster::*;
use super::outer::Envelope;
use crate::buffer::{Batch, Checksum, Frame, Gso, Outer, Pool};
use crate::conntrack::ConntrackConfig;
use crate::drop_reason::DropReason;
use crate::fragments::FragConfig;
use crate::ports::Capabilities;
use crate::tables::{EndpointIds, Generation, OwnNode};
use crate::telemetry::{DenialLog, PacketCounters};
use crate::time::Timestamp;

/// Frames of the world's pool.
const POOL_FRAMES: usize = 128;

type Rule = Arc<dyn Fn(&Key) -> bool + Send + Sync>;

/// A policy that is a closure: `true` allows.
struct Rules(Rule);

impl Classifier for Rules {
    fn classify(&self, key: &Key) -> Verdict {
        let action = if (self.0)(key) { Action::Allow } else { Action::Deny };
        Verdict { action, rule: RuleId(0) }
    }

    fn memory_bytes(&self) -> usize {
        0
    }

    fn name(&self) -> &'static str {
        "closure"
    }
}

/// A frame that stood in the outputs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sent {
    pub(super) port: PortId,
    pub(super) bytes: Vec<u8>,
    pub(super) checksum: Checksum,
    pub(super) gso: Option<Gso>,
    pub(super) outer: Option<Outer>,
}

/// What one batch came to.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Outcome {
    pub(super) sent: Vec<Sent>,
    pub(super) drops: Vec<(DropReason, u64)>,
    pub(super) forwarded: u64,
    pub(super) answered: u64,
    pub(super) icmp_errors: u64,
}

impl Outcome {
    /// The one frame that came out, of one packet forwarded.
    #[track_caller]
    pub(super) fn one(&self) -> &Sent {
        assert_eq!(self.drops, [], "nothing is dropped");
        assert_eq!((self.forwarded, self.answered), (1, 0));
        assert_eq!(self.sent.len(), 1, "{self:?}");
        self.sent.first().expect("one frame")
    }

    /// Nothing came out, and everything was dropped for `reason`.
    #[track_caller]
    pub(super) fn dropped(&self, reason: DropReason) {
        assert_eq!(self.drops.iter().map(|(reason, _)| *reason).collect::<Vec<_>>(), [reason], "{self:?}");
        assert!(self.sent.is_empty(), "nothing leaves: {self:?}");
        assert_eq!((self.forwarded, self.answered), (0, 0));
    }

    /// Dropped for `reason`, and weir said something about it.
    #[track_caller]
    pub(super) fn dropped_with_error(&self, reason: DropReason) -> &Sent {
        assert_eq!(self.drops, [(reason, 1)]);
        assert_eq!((self.forwarded, self.answered, self.icmp_errors), (0, 0, 1), "{self:?}");
        assert_eq!(self.sent.len(), 1);
        self.sent.first().expect("one frame")
    }
}

/// What is set before a world is made.
pub(super) struct Plan {
    pub(super) underlay: Role,
    pub(super) conntrack: ConntrackConfig,
    pub(super) fragments: FragConfig,
    pub(super) strict_reserved: bool,
    pub(super) pod_mtu: u16,
    /// Of the ports of pods and node.
    pub(super) capabilities: Capabilities,
    pub(super) started: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            underlay: Role::UnderlayFrame,
            conntrack: ConntrackConfig::with_max_entries(1024),
            fragments: FragConfig::default(),
            strict_reserved: false,
            pod_mtu: 1450,
            capabilities: Capabilities::default(),
            started: true,
        }
    }
}

pub(super) struct World {
    pub(super) pipeline: Pipeline,
    pub(super) counters: Arc<PacketCounters>,
    pub(super) denials: Arc<DenialLog>,
    pub(super) pods: Vec<Subject>,
    pub(super) conflicts: Vec<(IpAddr, Vec<PodName>)>,
    pub(super) blue: PortId,
    pub(super) green: PortId,
    pub(super) ghost: PortId,
    pub(super) node: PortId,
    pub(super) underlay: PortId,
    pub(super) now: Timestamp,
    pub(super) datagrams: bool,
    pub(super) own: OwnNode,
    rule: Rule,
    /// In place of the closure.
    compiled: Option<Compiled>,
    number: u64,
    ids: EndpointIds,
    pool: Pool,
    borrowed: Batch,
    out: Outputs,
    /// Which frames their way out refuses.
    refuses: Box<dyn FnMut(&Frame) -> bool>,
}

impl World {
    /// The world of the module text; everything is allowed.
    pub(super) fn new() -> Self {
        Self::with(Plan::default())
    }

    /// The same on an underlay of UDP sockets.
    pub(super) fn on_datagrams() -> Self {
        Self::with(Plan { underlay: Role::UnderlayDatagram, ..Plan::default() })
    }

    /// On either kind of underlay, one after the other.
    pub(super) fn on_both() -> [Self; 2] {
        [Self::new(), Self::on_datagrams()]
    }

    pub(super) fn with(plan: Plan) -> Self {
        let settings = Settings {
            vni: Vni::FLANNEL,
            vxlan_port: 8472,
            strict_reserved: plan.strict_reserved,
            outer_checksum: OuterChecksum::Compute,
            conntrack: plan.conntrack,
            fragments: plan.fragments,
        };
        let counters = Arc::new(PacketCounters::default());
        let denials = Arc::new(DenialLog::default());
        let mut pipeline = Pipeline::new(settings, Arc::clone(&counters), Arc::clone(&denials));
        let mut attach = |role: Role, mac: Option<Mac>| {
            let capabilities = match role {
                Role::Pod(_) | Role::Node => plan.capabilities,
                _ => Capabilities::default(),
            };
            let id = PortId(0);
            pipeline.attach(Binding { id, role, mac, mtu: plan.pod_mtu, capabilities, endpoint: None })
        };
        let datagrams = plan.underlay == Role::UnderlayDatagram;
        let blue = attach(Role::Pod(pod("blue")), Some(BLUE_MAC));
        let green = attach(Role::Pod(pod("green")), Some(GREEN_MAC));
        let ghost = attach(Role::Pod(pod("ghost")), Some(GHOST_MAC));
        let node = attach(Role::Node, Some(GATEWAY_MAC));
        let underlay = attach(plan.underlay, None);
        let mut world = Self {
            pipeline,
            counters,
            denials,
            pods: initial_pods(),
            conflicts: Vec::new(),
            blue,
            green,
            ghost,
            node,
            underlay,
            now: Timestamp::from_nanos(1_000_000_000),
            datagrams,
            own: own_node(),
            rule: Arc::new(|_| true),
            compiled: None,
            number: 0,
            ids: EndpointIds::default(),
            pool: Pool::new(POOL_FRAMES),
            borrowed: Batch::new(),
            out: Outputs::default(),
            refuses: Box::new(|_| false),
        };
        if plan.started {
            world.publish();
        }
        world
    }

    /// The next generation, of the pods and the rule as they are.
    pub(super) fn publish(&mut self) {
        self.number += 1;
        let cluster = Cluster {
            subjects: self.pods.clone().into(),
            conflicts: self.conflicts.clone(),
            nodes: nodes().into(),
            pod_addresses: FAMILIES.map(|family| (stray(family), pod("stray"))).into_iter().collect(),
            own_node: self.own.addresses.iter().copied().collect(),
            ..Cluster::default()
        };
        let (classifier, rules): (Arc<dyn Classifier>, _) = match &self.compiled {
            Some(compiled) => (Arc::clone(&compiled.classifier), Arc::clone(&compiled.rules)),
            None => (Arc::new(Rules(Arc::clone(&self.rule))), Arc::new(RuleTable::default())),
        };
        let compiled = Compiled { classifier, rules, cluster, warnings: Vec::new(), degraded: Vec::new() };
        let generation = Generation::new(self.number, &compiled, self.own.clone(), vteps(), &mut self.ids)
            .expect("valid nodes");
        self.pipeline.take_up(Arc::new(generation));
    }

    /// The next generation, under another policy.
    pub(super) fn allow(&mut self, rule: impl Fn(&Key) -> bool + Send + Sync + 'static) {
        self.rule = Arc::new(rule);
        self.publish();
    }

    /// The next generation, under policies that were compiled for the world's pods.
    pub(super) fn enforce(&mut self, compiled: Compiled) {
        assert_eq!(compiled.cluster.subjects.len(), self.pods.len(), "subjects are numbered alike");
        for (subject, pod) in compiled.cluster.subjects.iter().zip(&self.pods) {
            assert_eq!(subject.name, pod.name, "subjects are numbered alike");
        }
        self.compiled = Some(compiled);
        self.publish();
    }

    /// From now on the ways out refuse the frames that `refuses` says.
    pub(super) fn refuse(&mut self, refuses: impl FnMut(&Frame) -> bool + 'static) {
        self.refuses = Box::new(refuses);
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now = self.now.plus(time);
    }

    /// One frame in at a port.
    #[track_caller]
    pub(super) fn inject(&mut self, port: PortId, bytes: &[u8]) -> Outcome {
        self.inject_all(port, &[bytes.to_vec()])
    }

    /// A batch of frames in at a port.
    #[track_caller]
    pub(super) fn inject_all(&mut self, port: PortId, frames: &[Vec<u8>]) -> Outcome {
        let batch = frames.iter().map(|bytes| self.frame(bytes)).collect();
        self.inject_frames(port, batch)
    }

    /// An inner frame in from another node, on either kind of underlay.
    #[track_caller]
    pub(super) fn inject_overlay(&mut self, envelope: &Envelope, inner: &[u8]) -> Outcome {
        self.inject_overlay_all(envelope, &[inner.to_vec()])
    }

    /// A batch of inner frames in from another node.
    #[track_caller]
    pub(super) fn inject_overlay_all(&mut self, envelope: &Envelope, inners: &[Vec<u8>]) -> Outcome {
        let batch = inners.iter().map(|inner| self.sealed(envelope, inner)).collect();
        self.inject_frames(self.underlay, batch)
    }

    /// An inner frame as the underlay hands it over.
    pub(super) fn sealed(&mut self, envelope: &Envelope, inner: &[u8]) -> Frame {
        if self.datagrams {
            let mut frame = self.frame(&envelope.datagram(inner));
            frame.outer = Some(envelope.metadata());
            frame
        } else {
            self.frame(&envelope.frame(inner))
        }
    }

    /// A frame of the pool with these bytes.
    pub(super) fn frame(&mut self, bytes: &[u8]) -> Frame {
        let mut frame = self.pool.take().expect("the pool is large enough");
        frame.write(bytes);
        frame
    }

    /// Takes frames away, so that memory gets scarce.
    pub(super) fn borrow_frames(&mut self, count: usize) {
        self.borrowed.extend(std::iter::from_fn(|| self.pool.take()).take(count));
    }

    /// Gives them back.
    pub(super) fn return_frames(&mut self) {
        self.pool.give_all(self.borrowed.drain(..));
    }

    /// Gives a frame back unused.
    pub(super) fn give_back(&mut self, frame: Frame) {
        self.pool.give(frame);
    }

    /// Passes a batch through and holds the books.
    #[track_caller]
    pub(super) fn inject_frames(&mut self, port: PortId, mut batch: Batch) -> Outcome {
        self.now = self.now.plus(Duration::from_millis(1));
        let before = self.books();
        let received = batch.len() as u64;
        self.pipeline.process(port, &mut batch, self.now, &mut self.pool, &mut self.out);
        assert!(batch.is_empty(), "the batch is taken over whole");
        let outcome = self.settle(&before);
        assert_eq!(self.counters.received.get() - before.received, received);
        outcome
    }

    /// Housekeeping, and what it sends.
    #[track_caller]
    pub(super) fn tick(&mut self) -> Outcome {
        let before = self.books();
        self.pipeline.tick(self.now, &mut self.pool, &mut self.out);
        self.settle(&before)
    }

    #[track_caller]
    fn settle(&mut self, before: &Books) -> Outcome {
        let mut sent = Vec::new();
        let Self { pool, refuses, counters, .. } = self;
        self.out.drain(|port, batch| {
            for frame in batch.drain(..) {
                assert!(!frame.is_hollow(), "a hollow frame was sent");
                if refuses(&frame) {
                    counters.refuse(DropReason::TxFailed, u64::from(frame.packets));
                    pool.give(frame);
                    continue;
                }
                sent.push(Sent {
                    port,
                    bytes: frame.bytes().to_vec(),
                    checksum: frame.checksum,
                    gso: frame.gso,
                    outer: frame.outer,
                });
                pool.give(frame);
            }
        });
        let books = self.books();
        let dropped: u64 = books.drops.values().sum();
        assert_eq!(
            books.received,
            books.forwarded + books.answered + dropped + books.held,
            "received = forwarded + answered + drops + held: {books:?}"
        );
        let held = usize::try_from(books.held).expect("a count");
        assert_eq!(held, self.pipeline.fragments.held_frames(), "the gauge tells what the table holds");
        let free: Vec<Frame> = std::iter::from_fn(|| self.pool.take()).collect();
        assert_eq!(
            free.len() + held + self.borrowed.len(),
            POOL_FRAMES,
            "every frame is in the pool or held"
        );
        assert!(free.iter().all(Frame::is_empty));
        self.pool.give_all(free);
        let drops = books.drops.iter().filter_map(|(&reason, &count)| {
            let more = count - before.drops.get(&reason).copied().unwrap_or(0);
            (more > 0).then_some((reason, more))
        });
        Outcome {
            sent,
            drops: drops.collect(),
            forwarded: books.forwarded - before.forwarded,
            answered: books.answered - before.answered,
            icmp_errors: books.icmp_errors - before.icmp_errors,
        }
    }

    fn books(&self) -> Books {
        let counters = &self.counters;
        Books {
            received: counters.received.get(),
            forwarded: counters.forwarded.get(),
            answered: counters.answered.get(),
            held: counters.held.get(),
            icmp_errors: counters.icmp_errors.get(),
            drops: DropReason::ALL.iter().map(|&reason| (reason, counters.dropped(reason))).collect(),
        }
    }
}

#[derive(Debug)]
struct Books {
    received: u64,
    forwarded: u64,
    answered: u64,
    held: u64,
    icmp_errors: u64,
    drops: BTreeMap<DropReason, u64>,
}
