//! The report of a replay. Fields may be added; none changes its meaning.

#![allow(clippy::cast_precision_loss, reason = "ratios for people")]

use std::collections::BTreeMap;
use std::time::Duration;

use dataplane::drop_reason::DropReason;
use policy_compiler::{PolicyName, RuleKind, RuleTable};
use serde::Serialize;

use super::books::{Books, Count, Tally};
use super::clock::Timeline;
use super::engine::Options;
use super::fit::Fitted;
use super::flows::{Flow, FlowLine};
use super::pace::Pacer;
use super::place::LeftOut;
use super::record::Verdicts;
use super::replica::Replica;
use crate::capture::CaptureError;

/// Talkers, flows and rules that are listed.
const LISTED: usize = 10;

/// Changed flows that are listed; the file of flows has all of them.
const MAX_CHANGES: usize = 1000;

/// What came of a replay.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The capture.
    pub capture: Capture,
    /// The state directory.
    pub state: String,
    /// The node.
    pub node: String,
    /// The sum.
    pub balance: Balance,
    /// What became of packets.
    pub verdicts: Vec<Row>,
    /// Dropped packets, by reason.
    pub drops: Vec<Row>,
    /// Packets that did not enter, by reason.
    pub left_out: Vec<Row>,
    /// Packets by the rule that decided, most packets first.
    pub rules: Vec<RuleRow>,
    /// The same by policy: a default deny counts under each policy that isolates.
    pub policies: Vec<PolicyRow>,
    /// Packets forwarded on an open connection whose rule is not known (flows beyond the table, ICMP errors).
    pub by_connection: Count,
    /// Packets by the port where they entered, and frames by the one where they left.
    pub ports: Vec<PortRow>,
    /// Who sent the most bytes.
    pub talkers: Vec<Talker>,
    /// The largest flows.
    pub largest_flows: Vec<FlowLine>,
    /// How many flows.
    pub flows: FlowCounts,
    /// How the capture was made to fit.
    pub fitted: Fitted,
    /// Speed and pacing.
    pub pacing: Pacing,
    /// Time in the pipeline.
    pub processing: Processing,
    /// Most memory the process had in use, as Linux counts it (`VmHWM`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<u64>,
    /// What another state makes of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against: Option<Against>,
    /// What recorded verdicts say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<Verdicts>,
}

/// The capture, as far as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Capture {
    /// Its name.
    pub file: String,
    /// How often it was begun.
    pub passes: u64,
    /// Packets read and their bytes on the wire.
    pub read: Count,
    /// Its length by its own stamps, all passes.
    pub nanoseconds: u64,
    /// Stamps that lay before the one before them.
    pub stamps_backwards: u64,
    /// Where and why it ended early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// Somebody ended it.
    pub interrupted: bool,
}

/// `read = left_out + entered`, `entered = forwarded + answered + dropped + held`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Balance {
    /// Packets read.
    pub read: u64,
    /// Packets that did not enter the pipeline.
    pub left_out: u64,
    /// Packets that did.
    pub entered: u64,
    /// Passed on.
    pub forwarded: u64,
    /// Answered by weir itself.
    pub answered: u64,
    /// Dropped.
    pub dropped: u64,
    /// Fragments that wait; 0 at the end.
    pub held: u64,
    /// Both sums hold, and the pipeline's own counters say the same.
    pub adds_up: bool,
}

/// A count under a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The name.
    pub name: &'static str,
    /// The count.
    #[serde(flatten)]
    pub count: Count,
    /// What the name means.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub description: &'static str,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleRow {
    /// `allow` or `deny`.
    pub action: &'static str,
    /// `egress` or `ingress`, of the pod.
    pub direction: &'static str,
    /// The rule in words, with file and line where it has one.
    pub rule: String,
    /// What it decided.
    #[serde(flatten)]
    pub count: Count,
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyRow {
    /// Kind, namespace and name.
    pub policy: String,
    /// Packets it allowed.
    pub allowed: Count,
    /// Packets it denied, by a rule or by isolating.
    pub denied: Count,
}

/// A port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PortRow {
    /// Which.
    pub port: String,
    /// Packets that entered there; bytes as on the captured wire.
    pub entered: Count,
    /// Frames that left there, ICMP errors among them; bytes as sent.
    pub sent: Count,
}

/// A sender.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Talker {
    /// Pod or address that opened the flows.
    pub source: String,
    /// How many flows.
    pub flows: u64,
    /// Their packets and bytes, both directions.
    #[serde(flatten)]
    pub count: Count,
}

/// Flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct FlowCounts {
    /// Told apart.
    pub known: u64,
    /// Most that are.
    pub limit: u64,
    /// Packets of flows beyond that.
    pub packets_beyond: u64,
    /// Packets that belong to none.
    pub packets_without: u64,
}

/// How fast it was meant to be, and was.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pacing {
    /// As asked for.
    pub speed: String,
    /// Packets per second asked for; absent at `max`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set_pps: Option<f64>,
    /// Packets per second reached.
    pub reached_pps: f64,
    /// Bits per second reached, of the captured frames.
    pub reached_bps: f64,
    /// What it took.
    pub seconds: f64,
    /// What it should have taken; absent at `max`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set_seconds: Option<f64>,
    /// How far packets were from when they were due, in nanoseconds; absent at `max`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_ns: Option<Percentiles>,
    /// How often the scheduler took the processor away meanwhile: what pacing errors of milliseconds come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preempted: Option<u64>,
}

/// Time in the pipeline, in nanoseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Processing {
    /// From handing a packet's batch over until the batch was done.
    pub latency_ns: Percentiles,
    /// Time in the pipeline by packet.
    pub mean_ns_per_packet: f64,
}

/// Of an hdrhistogram, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Percentiles {
    /// Values.
    pub count: u64,
    /// Smallest.
    pub min: u64,
    /// Median.
    pub p50: u64,
    /// 90 %.
    pub p90: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.9 %.
    pub p999: u64,
    /// Largest.
    pub max: u64,
}

impl Percentiles {
    fn of(histogram: &hdrhistogram::Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile);
        Self {
            count: histogram.len(),
            min: histogram.min(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max(),
        }
    }
}

/// The older state's view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Against {
    /// Its directory.
    pub state: String,
    /// Its sum.
    pub balance: Balance,
    /// Packets whose verdict changes.
    pub packets_changed: u64,
    /// Those of them that belong to no flow that is kept.
    pub packets_without_flow: u64,
    /// Flows of which a packet's verdict changes.
    pub flows_changed: u64,
    /// These, in the order of the capture; at most a thousand.
    pub changes: Vec<Change>,
}

/// A flow whose verdict changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The flow, as the new state has it.
    #[serde(flatten)]
    pub flow: FlowLine,
    /// Its packets whose verdict changes.
    pub packets_changed: u64,
    /// The rules of the old state.
    pub old_rules: Vec<String>,
    /// Pod or address, for people.
    pub source: String,
    /// The same of the other end.
    pub destination: String,
}

impl Report {
    /// True when nothing asked for came otherwise: the sum, the recorded verdicts, the other state's.
    pub fn agrees(&self) -> bool {
        self.balance.adds_up
            && self.expected.as_ref().is_none_or(Verdicts::agree)
            && self
                .against
                .as_ref()
                .is_none_or(|against| against.packets_changed == 0 && against.balance.adds_up)
    }
}

/// Everything a report is made of.
pub(super) struct Ended<'a> {
    pub(super) options: &'a Options,
    pub(super) books: &'a Books,
    pub(super) replicas: &'a [Replica],
    pub(super) line: &'a Timeline,
    pub(super) passes: u64,
    pub(super) elapsed: Duration,
    pub(super) fault: Option<&'a CaptureError>,
    pub(super) interrupted: bool,
    pub(super) verdicts: Option<Verdicts>,
}

pub(super) fn make(ended: &Ended<'_>) -> Report {
    let books = ended.books;
    let (Some(tally), Some(replica)) = (books.tallies.first(), ended.replicas.first()) else {
        unreachable!("a replay has a state")
    };
    let (rules, policies) = by_rule(tally);
    let read = books.read;
    Report {
        capture: Capture {
            file: ended.options.input.to_string(),
            passes: ended.passes,
            read,
            nanoseconds: u64::try_from(ended.line.length().as_nanos()).unwrap_or(u64::MAX),
            stamps_backwards: ended.line.backwards,
            fault: ended.fault.map(ToString::to_string),
            interrupted: ended.interrupted,
        },
        state: replica.state.directory.clone(),
        node: replica.state.generation.own.name.clone(),
        balance: balance(read.packets, tally, replica),
        verdicts: verdicts(tally),
        drops: drops(tally),
        left_out: left_out_rows(&tally.left_out),
        rules,
        policies,
        by_connection: tally.by_connection,
        ports: ports(tally, replica),
        talkers: talkers(books, replica),
        largest_flows: largest(books),
        flows: FlowCounts {
            known: books.flows.len() as u64,
            limit: ended.options.max_flows as u64,
            packets_beyond: books.flows.beyond,
            packets_without: books.flows.without,
        },
        fitted: replica.fitted,
        pacing: pacing_of(&books.pacer, read, ended.line.length(), ended.elapsed),
        processing: Processing {
            latency_ns: Percentiles::of(&books.processing),
            mean_ns_per_packet: ratio(books.busy.as_nanos() as f64, books.processing.len() as f64),
        },
        peak_memory_bytes: peak_memory(),
        against: against(ended),
        expected: ended.verdicts.clone(),
    }
}

/// `None` where there is no Linux `/proc`.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

fn ratio(of: f64, to: f64) -> f64 {
    if to > 0.0 { of / to } else { 0.0 }
}

fn balance(read: u64, tally: &Tally, replica: &Replica) -> Balance {
    let counters = &replica.counters;
    let (left_out, entered) = (tally.left_out_total(), tally.entered_total());
    let (forwarded, answered) = (tally.forwarded.packets, tally.answered.packets);
    let (dropped, held) = (tally.dropped_total(), counters.held.get());
    let sums = read == left_out + entered && entered == forwarded + answered + dropped + held;
    let pipeline = (counters.received.get(), counters.forwarded.get(), counters.answered.get())
        == (entered, forwarded, answered)
        && counters.dropped_total() == dropped;
    Balance { read, left_out, entered, forwarded, answered, dropped, held, adds_up: sums && pipeline }
}

fn verdicts(tally: &Tally) -> Vec<Row> {
    let sum = |counts: &[Count]| {
        counts.iter().fold(Count::default(), |sum, count| Count {
            packets: sum.packets + count.packets,
            bytes: sum.bytes.saturating_add(count.bytes),
        })
    };
    let rows = [
        ("FORWARDED", tally.forwarded),
        ("ANSWERED", tally.answered),
        ("DROPPED", sum(&tally.dropped)),
        ("LEFT_OUT", sum(&tally.left_out)),
    ];
    rows.map(|(name, count)| Row { name, count, description: "" }).into()
}

fn drops(tally: &Tally) -> Vec<Row> {
    let rows = DropReason::ALL.iter().zip(&tally.dropped).map(|(reason, count)| Row {
        name: reason.name(),
        count: *count,
        description: reason.description(),
    });
    most_first(rows)
}

pub(super) fn left_out_rows(counts: &[Count]) -> Vec<Row> {
    let rows = LeftOut::ALL.iter().zip(counts).map(|(reason, count)| Row {
        name: reason.name(),
        count: *count,
        description: reason.description(),
    });
    most_first(rows)
}

fn most_first(rows: impl Iterator<Item = Row>) -> Vec<Row> {
    let mut rows: Vec<Row> = rows.filter(|row| row.count.packets > 0).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.count.packets));
    rows
}

fn by_rule(tally: &Tally) -> (Vec<RuleRow>, Vec<PolicyRow>) {
    let mut policies: BTreeMap<String, (Count, Count)> = BTreeMap::new();
    let mut rules = Vec::new();
    for (number, count) in (0..).zip(&tally.by_rule).filter(|(_, count)| count.packets > 0) {
        let info = tally.rules.get(policy_compiler::RuleId(number));
        for name in named(&info.kind) {
            let (allowed, denied) = policies.entry(name.to_string()).or_default();
            let sum = if info.action == policy_compiler::Action::Allow { allowed } else { denied };
            sum.packets += count.packets;
            sum.bytes = sum.bytes.saturating_add(count.bytes);
        }
        rules.push(RuleRow {
            action: info.action.name(),
            direction: info.direction.name(),
            rule: info.to_string(),
            count: *count,
        });
    }
    rules.sort_by(|a, b| b.count.packets.cmp(&a.count.packets).then_with(|| a.rule.cmp(&b.rule)));
    let policies = policies
        .into_iter()
        .map(|(policy, (allowed, denied))| PolicyRow { policy, allowed, denied })
        .collect();
    (rules, policies)
}

fn named(kind: &RuleKind) -> &[PolicyName] {
    match kind {
        RuleKind::Rule { policy, .. } | RuleKind::Unreadable { policy, .. } => std::slice::from_ref(policy),
        RuleKind::DefaultDeny { policies, .. } => policies,
        _ => &[],
    }
}

fn ports(tally: &Tally, replica: &Replica) -> Vec<PortRow> {
    let counts = tally.entered.iter().zip(&tally.sent);
    let rows = (0..).map(dataplane::pipeline::PortId).zip(counts).map(|(id, (entered, sent))| PortRow {
        port: replica.names.of(id).to_owned(),
        entered: *entered,
        sent: *sent,
    });
    rows.filter(|row| row.entered.packets + row.sent.packets > 0).collect()
}

fn talkers(books: &Books, replica: &Replica) -> Vec<Talker> {
    let mut sources: BTreeMap<String, (u64, Count)> = BTreeMap::new();
    for (key, flow) in books.flows.in_order() {
        let (flows, count) = sources.entry(replica.state.name_of(key.src)).or_default();
        *flows += 1;
        count.packets += flow.packets();
        count.bytes = count.bytes.saturating_add(flow.bytes);
    }
    let mut talkers: Vec<Talker> =
        sources.into_iter().map(|(source, (flows, count))| Talker { source, flows, count }).collect();
    talkers.sort_by_key(|talker| std::cmp::Reverse(talker.count.bytes));
    talkers.truncate(LISTED);
    talkers
}

fn largest(books: &Books) -> Vec<FlowLine> {
    let mut flows = books.flows.in_order();
    flows.sort_by_key(|(_, flow)| std::cmp::Reverse(flow.bytes));
    flows.truncate(LISTED);
    let two = books.tallies.len() > 1;
    flows.into_iter().map(|(key, flow)| FlowLine::new(key, flow, two, rules_of(flow, books))).collect()
}

/// The rules that decided about a flow, in words.
pub(super) fn rules_of(flow: &Flow, books: &Books) -> Vec<String> {
    let [side, _] = &flow.sides;
    books.tallies.first().map(|tally| in_words(side.rules, &tally.rules)).unwrap_or_default()
}

fn in_words(rules: [Option<policy_compiler::RuleId>; 2], table: &RuleTable) -> Vec<String> {
    let infos = rules.into_iter().flatten().map(|rule| table.get(rule));
    infos.map(|info| format!("{} {}: {info}", info.direction, info.action)).collect()
}

pub(super) fn pacing_of(pacer: &Pacer, read: Count, length: Duration, elapsed: Duration) -> Pacing {
    let seconds = elapsed.as_secs_f64();
    let set_pps = pacer.set_rate(read.packets, length);
    Pacing {
        speed: pacer.speed().to_string(),
        set_pps,
        reached_pps: ratio(read.packets as f64, seconds),
        reached_bps: ratio(read.bytes as f64 * 8.0, seconds),
        seconds,
        set_seconds: pacer.set_length(read.packets, length).map(|length| length.as_secs_f64()),
        error_ns: set_pps.map(|_| Percentiles::of(pacer.errors())),
        preempted: pacer.preempted(),
    }
}

fn against(ended: &Ended<'_>) -> Option<Against> {
    let (tally, replica) = (ended.books.tallies.get(1)?, ended.replicas.get(1)?);
    let new = ended.replicas.first()?;
    let comparison = ended.books.comparison.as_ref()?;
    let changed: Vec<_> =
        ended.books.flows.in_order().into_iter().filter(|(_, flow)| flow.changed > 0).collect();
    let changes = changed.iter().take(MAX_CHANGES).map(|(key, flow)| {
        let [_, old] = &flow.sides;
        Change {
            flow: FlowLine::new(*key, flow, true, rules_of(flow, ended.books)),
            packets_changed: flow.changed,
            old_rules: in_words(old.rules, &tally.rules),
            source: new.state.name_of(key.src),
            destination: new.state.name_of(key.dst),
        }
    });
    Some(Against {
        state: replica.state.directory.clone(),
        balance: balance(ended.books.read.packets, tally, replica),
        packets_changed: comparison.changed,
        packets_without_flow: comparison.without_flow,
        flows_changed: changed.len() as u64,
        changes: changes.collect(),
    })
}
