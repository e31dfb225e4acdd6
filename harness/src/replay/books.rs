//! The books of a replay: every packet once, under what became of it.
//!
//! Rules: a forwarded packet counts under the rules that allowed it, one at each end that is a pod of this node;
//! for the packets of an open connection those are the rules that opened it. A packet that policy dropped counts
//! under the one rule that denied it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::buffer::Frame;
use dataplane::drop_reason::DropReason;
use dataplane::pipeline::PortId;
use dataplane::time::Timestamp;
use hdrhistogram::Histogram;
use policy_compiler::{Action, RuleId, RuleTable, Verdict};

use super::ReplayError;
use super::compare::Comparison;
use super::flows::{FlowKey, Flows, Outcome};
use super::outputs::Outputs;
use super::pace::{Pacer, histogram};
use super::place::{LeftOut, PortNames};
use super::record::{Expected, Record};
use super::replica::{InFlight, Replica};

/// Packets and their bytes on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Count {
    pub(super) fn add(&mut self, bytes: u64) {
        self.packets += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// The counts of one state.
pub(super) struct Tally {
    pub(super) rules: Arc<RuleTable>,
    pub(super) forwarded: Count,
    pub(super) answered: Count,
    pub(super) dropped: Vec<Count>,
    pub(super) left_out: Vec<Count>,
    pub(super) by_rule: Vec<Count>,
    /// Forwarded without a rule known: flows beyond the table, and ICMP errors about an open connection.
    pub(super) by_connection: Count,
    /// By the port where packets entered, and by the one where frames left.
    pub(super) entered: Vec<Count>,
    pub(super) sent: Vec<Count>,
}

impl Tally {
    fn new(replica: &Replica) -> Self {
        let rules = Arc::clone(&replica.state.generation.rules);
        let ports = replica.names.len();
        Self {
            forwarded: Count::default(),
            answered: Count::default(),
            dropped: vec![Count::default(); DropReason::ALL.len()],
            left_out: vec![Count::default(); LeftOut::ALL.len()],
            by_rule: vec![Count::default(); rules.len()],
            by_connection: Count::default(),
            entered: vec![Count::default(); ports],
            sent: vec![Count::default(); ports],
            rules,
        }
    }

    pub(super) fn dropped_total(&self) -> u64 {
        self.dropped.iter().map(|count| count.packets).sum()
    }

    pub(super) fn left_out_total(&self) -> u64 {
        self.left_out.iter().map(|count| count.packets).sum()
    }

    pub(super) fn entered_total(&self) -> u64 {
        self.entered.iter().map(|count| count.packets).sum()
    }
}

/// Everything that is written down.
pub(super) struct Books {
    pub(super) read: Count,
    pub(super) tallies: Vec<Tally>,
    pub(super) flows: Flows,
    /// Time from handing a batch over until it was done, for each of its packets.
    pub(super) processing: Histogram<u64>,
    /// Time in the pipeline altogether.
    pub(super) busy: Duration,
    pub(super) pacer: Pacer,
    pub(super) comparison: Option<Comparison>,
    pub(super) record: Option<Record>,
    pub(super) expected: Option<Expected>,
    pub(super) outputs: Outputs,
    /// The first thing that could not be written; the replay ends with it.
    pub(super) error: Option<ReplayError>,
}

impl Books {
    pub(super) fn new(replicas: &[Replica], flows: usize, pacer: Pacer, outputs: Outputs) -> Self {
        Self {
            read: Count::default(),
            tallies: replicas.iter().map(Tally::new).collect(),
            flows: Flows::new(flows),
            processing: histogram(),
            busy: Duration::ZERO,
            pacer,
            comparison: (replicas.len() > 1).then(Comparison::default),
            record: None,
            expected: None,
            outputs,
            error: None,
        }
    }

    /// A batch has been through the pipeline.
    pub(super) fn processed(
        &mut self,
        side: usize,
        packets: &[InFlight],
        count: u64,
        begin: Instant,
        took: Duration,
    ) {
        if side != 0 {
            return;
        }
        for due in packets.iter().filter_map(|packet| packet.known.due) {
            self.pacer.handed(due, begin);
        }
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.processing.saturating_record_n(nanos, count);
        self.busy += took;
    }

    /// A packet that did not enter.
    pub(super) fn left_out(
        &mut self,
        side: usize,
        number: u64,
        flow: Option<FlowKey>,
        wire_len: u32,
        reason: LeftOut,
    ) {
        if let Some(tally) = self.tallies.get_mut(side)
            && let Some(count) = tally.left_out.get_mut(reason as usize)
        {
            count.add(wire_len.into());
        }
        self.conclude(side, number, flow, Outcome::LeftOut(reason), [None; 2], "-", None);
    }

    /// A packet that ended.
    pub(super) fn settle(
        &mut self,
        side: usize,
        packet: &InFlight,
        names: &PortNames,
        outcome: Outcome,
        judged: [Option<Verdict>; 2],
        original: &[u8],
    ) {
        let bytes = u64::from(packet.known.wire_len);
        let known = packet.known.flow.and_then(|key| self.flows.at(key));
        let known = known.and_then(|flow| flow.sides.get(side)).map_or([None; 2], |side| side.rules);
        let asked = judged != [None; 2];
        let rules = if asked { judged.map(|verdict| verdict.map(|verdict| verdict.rule)) } else { known };
        let mut decided = None;
        if let Some(tally) = self.tallies.get_mut(side) {
            if let Some(count) = tally.entered.get_mut(packet.port.0 as usize) {
                count.add(bytes);
            }
            match outcome {
                Outcome::Forwarded => {
                    tally.forwarded.add(bytes);
                    if rules == [None; 2] {
                        tally.by_connection.add(bytes);
                    }
                    for rule in rules.into_iter().flatten() {
                        add_rule(tally, rule, bytes);
                        decided = Some(rule);
                    }
                }
                Outcome::Answered => tally.answered.add(bytes),
                Outcome::Dropped(reason) => {
                    if let Some(count) = tally.dropped.get_mut(reason.index()) {
                        count.add(bytes);
                    }
                    let denied = judged.into_iter().flatten().find(|verdict| verdict.action == Action::Deny);
                    if let Some(verdict) = denied {
                        add_rule(tally, verdict.rule, bytes);
                        decided = Some(verdict.rule);
                    }
                }
                Outcome::LeftOut(_) => {}
            }
        }
        let port = names.of(packet.port);
        if let (0, Outcome::Dropped(reason)) = (side, outcome) {
            let rule = decided.and_then(|rule| self.tallies.first().map(|tally| tally.rules.get(rule)));
            let written = self.outputs.dropped(packet, names, reason, rule, original);
            self.note(written);
        }
        let rules = if asked { rules } else { [None; 2] };
        self.conclude(side, packet.known.number, packet.known.flow, outcome, rules, port, decided);
    }

    #[allow(clippy::too_many_arguments, reason = "one call for two kinds of end")]
    fn conclude(
        &mut self,
        side: usize,
        number: u64,
        flow: Option<FlowKey>,
        outcome: Outcome,
        rules: [Option<RuleId>; 2],
        port: &str,
        decided: Option<RuleId>,
    ) {
        if let Some(flow) = flow.and_then(|key| self.flows.at(key)) {
            flow.settle(side, number, outcome, rules);
        }
        if let Some(comparison) = &mut self.comparison {
            let changed = comparison.settle(side, number, outcome);
            if changed {
                match flow.and_then(|key| self.flows.at(key)) {
                    Some(flow) => flow.changed += 1,
                    None => comparison.without_flow += 1,
                }
            }
        }
        if side != 0 {
            return;
        }
        if let Some(record) = &mut self.record {
            let rule = decided.and_then(|rule| self.tallies.first().map(|tally| tally.rules.get(rule)));
            let written = record.write(number, outcome, port, rule);
            self.note(written);
        }
        if let Some(expected) = &mut self.expected {
            let compared = expected.compare(number, outcome);
            self.note(compared);
        }
    }

    /// A frame that left.
    pub(super) fn sent(
        &mut self,
        side: usize,
        port: PortId,
        names: &PortNames,
        packet: Option<&InFlight>,
        at: Timestamp,
        frame: &Frame,
    ) {
        if let Some(tally) = self.tallies.get_mut(side)
            && let Some(count) = tally.sent.get_mut(port.0 as usize)
        {
            count.add(frame.len() as u64);
        }
        if side == 0 {
            let written = self.outputs.forwarded(port, names, packet, at, frame);
            self.note(written);
        }
    }

    pub(super) fn note(&mut self, outcome: Result<(), ReplayError>) {
        if let Err(error) = outcome {
            self.error.get_or_insert(error);
        }
    }
}

fn add_rule(tally: &mut Tally, rule: RuleId, bytes: u64) {
    if let Some(count) = tally.by_rule.get_mut(rule.0 as usize) {
        count.add(bytes);
    }
}
