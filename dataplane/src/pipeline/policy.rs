//! Policy: may this packet pass.
//!
//! On entry the packet's connection, if any, is known. On exit it has been allowed: by a connection that the
//! generation in force allows, or by the classifier, and its connection is open and up to date. Otherwise it is
//! dropped: denied (`policy_deny`), belonging to a connection that a change of policy cut (`policy_revoked`), to a
//! pod that is another one now (`pod_gone`), or fit for no connection (`ct_*`).
//!
//! Two passes. The first collects the questions of the whole batch and puts them to the classifier at once; the
//! second settles packet by packet, in order, because one packet may open or cut the connection the next one belongs
//! to; what that leaves without an answer is asked for by itself.
//! A connection is judged once per generation, and when a packet opens it again, by its original direction: egress of the
//! pod that opened it, ingress of the pod it was opened to. Replies need no rule, and no rule can stop them. A packet that
//! `forward` is going to drop opens none.

use std::net::IpAddr;

use policy_compiler::{Action, Direction, Key, Pair, PairBurst, PairVerdict, Place, RuleId, Verdict};

use super::Pipeline;
use super::packet::Packet;
use super::refusals::Refusal;
use super::track::policy_ports;
use crate::conntrack::{Conn, ConnId, ConnTable, Dir, InsertError, Owner};
use crate::drop_reason::DropReason;
use crate::tables::{EndpointIndex, Generation, Party};
use crate::telemetry::Denial;
use crate::time::Timestamp;

/// The original direction of a connection, as the classifier sees it.
#[derive(Clone, Copy)]
struct Flow {
    src: IpAddr,
    dst: IpAddr,
    source: Party,
    destination: Party,
    protocol: u8,
    src_port: u16,
    dst_port: u16,
}

/// Why a connection that stands in the table is judged.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Occasion {
    /// Another generation allowed it.
    Generation,
    /// A packet began a new one in its place.
    Opened,
}

/// Questions and answers of one batch; kept for its capacity.
#[derive(Default)]
pub(super) struct Questions {
    burst: PairBurst,
    /// For each packet, where its answer stands.
    asked: Vec<Option<Place>>,
}

impl Pipeline {
    pub(super) fn policy(&mut self, generation: &Generation, packets: &mut [Packet], now: Timestamp) {
        let mut questions = std::mem::take(&mut self.questions);
        Self::ask(generation, packets, &mut questions);
        self.settle(generation, packets, &questions, now);
        self.questions = questions;
    }

    /// First pass: one batch of look-ups for every packet that has no connection yet.
    fn ask(generation: &Generation, packets: &[Packet], questions: &mut Questions) {
        questions.burst.clear();
        questions.asked.clear();
        for packet in packets {
            let opens = packet.is_live() && packet.connection.is_none();
            let flow = Flow::of(packet).filter(|_| opens);
            questions.asked.push(flow.map(|flow| questions.burst.push(&pair(generation, &flow))));
        }
        if !questions.burst.is_empty() {
            generation.classifier.classify_burst(&mut questions.burst);
        }
    }

    /// The original direction of the connection a packet belongs to.
    fn connection_flow(
        &self,
        generation: &Generation,
        packet: &Packet,
        id: ConnId,
        dir: Dir,
    ) -> Option<Flow> {
        let original = self.connections.get(id)?.original;
        // An ICMP error's own source may be any router: the ends are those of the connection.
        let (source, destination) = match dir {
            Dir::Original if !packet.related => (packet.source, packet.destination),
            Dir::Reply if !packet.related => (packet.destination, packet.source),
            Dir::Original | Dir::Reply => {
                (generation.party(original.src()), generation.party(original.dst()))
            }
        };
        // Type and code of an ICMP tuple stand where the classifier expects them.
        let src_port = if original.is_icmp() { 0 } else { original.src_port() };
        Some(Flow {
            src: original.src(),
            dst: original.dst(),
            source,
            destination,
            protocol: original.protocol(),
            src_port,
            dst_port: original.dst_port(),
        })
    }

    /// Second pass: opens, updates and cuts connections, in the order the packets came.
    fn settle(
        &mut self,
        generation: &Generation,
        packets: &mut [Packet],
        questions: &Questions,
        now: Timestamp,
    ) {
        // Once a packet of this batch opened or cut a connection, what `track` found may be out of date.
        let mut changed = false;
        for (packet, asked) in packets.iter_mut().zip(&questions.asked) {
            if !packet.is_live() {
                continue;
            }
            if changed {
                packet.connection = packet.tuple.as_ref().and_then(|tuple| self.connections.lookup(tuple));
            }
            let outcome = match packet.connection {
                Some((id, dir)) => self.continue_connection(generation, packet, id, dir, now, &mut changed),
                None => self.open_connection(generation, packet, *asked, questions, now, &mut changed),
            };
            if let Err(reason) = outcome {
                packet.drop(reason);
            }
        }
    }

    fn continue_connection(
        &mut self,
        generation: &Generation,
        packet: &Packet,
        id: ConnId,
        dir: Dir,
        now: Timestamp,
        changed: &mut bool,
    ) -> Result<(), DropReason> {
        let judged = self.connections.generation(id).ok_or(DropReason::ConntrackInvalid)?;
        if judged != generation.number
            && let Err(reason) = self.judge(generation, packet, id, dir, Occasion::Generation)
        {
            self.connections.remove(id);
            *changed = true;
            return Err(reason);
        }
        if packet.related {
            return Ok(());
        }
        let bytes = packet.frame.len() as u32;
        let updated = self
            .connections
            .update(id, dir, packet.signal, bytes, now)
            .map_err(|_| DropReason::ConntrackInvalid)?;
        if updated.reopened
            && let Err(reason) = self.judge(generation, packet, id, dir, Occasion::Opened)
        {
            self.connections.remove(id);
            *changed = true;
            return Err(reason);
        }
        Ok(())
    }

    /// Asks the classifier about a connection that stands in the table.
    fn judge(
        &mut self,
        generation: &Generation,
        packet: &Packet,
        id: ConnId,
        dir: Dir,
        occasion: Occasion,
    ) -> Result<(), DropReason> {
        let flow = self.connection_flow(generation, packet, id, dir).ok_or(DropReason::ConntrackInvalid)?;
        let connection = self.connections.get(id).ok_or(DropReason::ConntrackInvalid)?;
        if !same_pods(generation, &connection, &flow) {
            return Err(DropReason::PodGone);
        }
        let pair = pair(generation, &flow);
        for key in Direction::ALL.into_iter().filter_map(|direction| pair.key(direction)) {
            let verdict = generation.classifier.classify(&key);
            if verdict.action == Action::Deny {
                self.deny(generation, &key, verdict);
                return Err(match occasion {
                    Occasion::Generation => DropReason::PolicyRevoked,
                    Occasion::Opened => DropReason::PolicyDeny,
                });
            }
            if occasion == Occasion::Opened {
                self.denial_log.notes.note(&generation.rules, &key, verdict);
            }
        }
        self.connections.mark_judged(id, generation.number);
        Ok(())
    }

    fn open_connection(
        &mut self,
        generation: &Generation,
        packet: &mut Packet,
        asked: Option<Place>,
        questions: &Questions,
        now: Timestamp,
        changed: &mut bool,
    ) -> Result<(), DropReason> {
        if packet.related {
            return Err(DropReason::IcmpUnrelated);
        }
        // The overlay reaches the node itself only on connections the node opened.
        if matches!((packet.source, packet.destination), (Party::Vtep(_), Party::Node)) {
            packet.refusal = Some(Refusal::Closed(DropReason::NotLocal));
            return Err(DropReason::NotLocal);
        }
        let noted = self.allowed(generation, packet, asked, questions)?;
        if !ConnTable::may_open(packet.signal) {
            packet.refusal = (!noted).then_some(Refusal::Unopened);
            return Err(DropReason::ConntrackInvalid);
        }
        let tuple = packet.tuple.ok_or(DropReason::BadHeader)?;
        if let Err(stranded) = self.plan(generation, packet) {
            packet.refusal = stranded.refusal().filter(|_| !noted);
            packet.stranded = true;
            return Ok(());
        }
        let source = owner(generation, packet.source);
        let destination = owner(generation, packet.destination);
        let bytes = packet.frame.len() as u32;
        let opened =
            self.connections.insert(tuple, source, destination, generation.number, packet.signal, bytes, now);
        *changed = true;
        match opened {
            Ok(id) => {
                packet.opened = Some(id);
                Ok(())
            }
            // Another worker may have opened it since `track` looked.
            Err(InsertError::Invalid) => match self.connections.lookup(&tuple) {
                Some((id, dir)) => self.continue_connection(generation, packet, id, dir, now, changed),
                None => Err(DropReason::ConntrackInvalid),
            },
            Err(InsertError::Full) => Err(DropReason::ConntrackFull),
            Err(InsertError::Quota) => Err(DropReason::ConntrackQuota),
            Err(InsertError::BucketFull) => Err(DropReason::ConntrackBucketFull),
        }
    }

    /// The classifier's answers about a packet that may open a connection: those of the first pass, or, when an
    /// earlier packet of the batch cut its connection, asked for now. Says whether a rule wants it noted, each time.
    fn allowed(
        &mut self,
        generation: &Generation,
        packet: &mut Packet,
        asked: Option<Place>,
        questions: &Questions,
    ) -> Result<bool, DropReason> {
        let answer = asked.map(|place| questions.burst.answer(place));
        if let Some(answer) = answer.filter(|answer| answer.allows() && !answer.may_be_noted()) {
            packet.judged = [answer.egress(), answer.ingress()];
            return Ok(false);
        }
        let flow = Flow::of(packet).ok_or(DropReason::BadHeader)?;
        let pair = pair(generation, &flow);
        let verdicts = if let Some(answer) = answer {
            answer.verdicts()
        } else {
            let mut verdicts = [PairVerdict::default()];
            generation.classifier.classify_pairs(&[pair], &mut verdicts);
            let [verdicts] = verdicts;
            verdicts
        };
        let noted = [verdicts.egress, verdicts.ingress]
            .into_iter()
            .flatten()
            .any(|verdict| generation.rules.get(verdict.rule).is_logged());
        packet.judged = [verdicts.egress, verdicts.ingress];
        for (direction, verdict) in Direction::ALL.into_iter().zip(packet.judged) {
            let Some(key) = pair.key(direction) else { continue };
            // No engine leaves a question open; were one to, that would be no permission.
            let verdict = verdict.unwrap_or(Verdict { action: Action::Deny, rule: RuleId(0) });
            if verdict.action == Action::Deny {
                self.deny(generation, &key, verdict);
                packet.refusal = (!noted).then_some(Refusal::Denied(direction, verdict.rule));
                return Err(DropReason::PolicyDeny);
            }
            self.denial_log.notes.note(&generation.rules, &key, verdict);
        }
        Ok(noted)
    }

    fn deny(&mut self, generation: &Generation, key: &Key, verdict: Verdict) {
        self.denial_log.notes.note(&generation.rules, key, verdict);
        let Key { direction, src, dst, .. } = *key;
        self.count_denial(Denial { direction, src, dst, rule: verdict.rule });
    }
}

impl Pipeline {
    /// Counts a denial; those in a row that are alike at once.
    pub(super) fn count_denial(&mut self, denial: Denial) {
        match self.denials.last_mut() {
            Some((last, count)) if *last == denial => *count += 1,
            _ => self.denials.push((denial, 1)),
        }
    }
}

impl Flow {
    /// The flow that a packet would open.
    fn of(packet: &Packet) -> Option<Self> {
        let ip = packet.ip?;
        let (src_port, dst_port) = policy_ports(packet.l4);
        Some(Self {
            src: ip.src,
            dst: ip.dst,
            source: packet.source,
            destination: packet.destination,
            // Of a later fragment, `Packet::follow` has put in what its first said.
            protocol: ip.protocol,
            src_port,
            dst_port,
        })
    }
}

/// Egress of the source if it is a pod of ours, ingress of the destination if it is.
fn pair(generation: &Generation, flow: &Flow) -> Pair {
    let subject = |party| generation.endpoint(pod(party)?).map(|endpoint| endpoint.subject);
    Pair {
        source: subject(flow.source),
        destination: subject(flow.destination),
        src: flow.src,
        dst: flow.dst,
        protocol: flow.protocol,
        src_port: flow.src_port,
        dst_port: flow.dst_port,
    }
}

fn pod(party: Party) -> Option<EndpointIndex> {
    match party {
        Party::Pod(index) => Some(index),
        _ => None,
    }
}

fn owner(generation: &Generation, party: Party) -> Owner {
    pod(party).and_then(|index| generation.endpoint(index)).map_or(Owner::NONE, |endpoint| endpoint.owner)
}

/// A connection belongs to the pods that opened it, not to their addresses.
fn same_pods(generation: &Generation, connection: &Conn, flow: &Flow) -> bool {
    connection.source_owner == owner(generation, flow.source)
        && connection.dest_owner == owner(generation, flow.destination)
}
