//! The report of a replay. Fields may be added; none changes its meaning. `summary` makes it from the books.

use serde::Serialize;

use super::books::Count;
use super::fit::Fitted;
use super::flows::FlowLine;
use super::record::Verdicts;

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
    pub(super) fn of(histogram: &hdrhistogram::Histogram<u64>) -> Self {
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
