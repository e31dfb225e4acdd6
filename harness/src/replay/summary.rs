//! From the books of a replay to its report.

#![allow(clippy::cast_precision_loss, reason = "ratios for people")]

use std::collections::BTreeMap;
use std::time::Duration;

use dataplane::drop_reason::DropReason;
use policy_compiler::{PolicyName, RuleKind, RuleTable};

use super::books::{Books, Count, Tally};
use super::clock::Timeline;
use super::engine::Options;
use super::flows::{Flow, FlowLine};
use super::pace::Pacer;
use super::place::LeftOut;
use super::record::Verdicts;
use super::replica::Replica;
use super::report::{
    Against, Balance, Capture, Change, FlowCounts, Pacing, Percentiles, PolicyRow, PortRow, Processing,
    Report, Row, RuleRow, Talker,
};
use crate::capture::CaptureError;

/// Talkers and flows that are listed.
const LISTED: usize = 10;

/// Changed flows that are listed; the file of flows has all of them.
const MAX_CHANGES: usize = 1000;

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
